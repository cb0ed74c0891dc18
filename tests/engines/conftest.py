"""A tiny network and a cache folder, shared by the tests of a file so that each export is made once."""

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
