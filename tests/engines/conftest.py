"""A tiny network and a cache folder, shared by the tests of a file so that each export is made once."""

import logging

import pytest
import tiny


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("engines")


@pytest.fixture(scope="module")
def network():
    net = tiny.build()
    net.eval()
    return net


@pytest.fixture(autouse=True)
def what_is_logged_arrives(monkeypatch):
    """Tests of commands in the same process may have left the logger silent."""
    logger = logging.getLogger("densebone")
    monkeypatch.setattr(logger, "propagate", True)
    monkeypatch.setattr(logger, "disabled", False)
    monkeypatch.setattr(logger, "filters", [])
    monkeypatch.setattr(logging.getLogger(), "disabled", False)
    logging.disable(logging.NOTSET)
