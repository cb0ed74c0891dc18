"""What is not installed is named, with the command that installs it."""

import re
from pathlib import Path

import pytest

from densebone.system import packages

ROOT = Path(__file__).parents[2]


@pytest.fixture
def nothing_installed(monkeypatch):
    monkeypatch.setattr(packages.importlib.util, "find_spec", lambda name: None)


def test_engines_stand_in_order_and_need_packages_that_can_be_installed():
    assert list(packages.ENGINES) == ["openvino", "onnxruntime", "paddle", "eager"]
    needed = {name for names in packages.ENGINES.values() for name in names} | set(packages.CONVERTERS)
    assert needed == set(packages.PIP_INSTALL)


def test_every_extra_is_one_of_ours():
    extras = re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text(), flags=re.M)
    assert {command.partition("[")[2].rstrip("]") for command in packages.PIP_INSTALL.values()} <= set(extras)


@pytest.mark.parametrize("name", packages.PIP_INSTALL)
def test_a_missing_package(name, nothing_installed):
    reason = f"{name} is not installed; pip install '{packages.PIP_INSTALL[name]}'"
    assert packages.missing_package(name) == reason
    assert packages.missing_package(name, "onnxruntime") == reason  # the first one is named


def test_a_python_without_the_converter(nothing_installed, monkeypatch):
    monkeypatch.setattr(packages, "CONVERTER_ENDS", (3, 9))
    reason = packages.missing_package(*packages.CONVERTERS)
    assert re.fullmatch(
        r"paddle2onnx has no release for Python 3\.\d+; convert on Python 3\.9, and run the result here", reason
    )
    assert packages.missing_package("onnxruntime").startswith("onnxruntime is not installed; pip install")
    needs = re.findall(r"paddle2onnx\S*; python_version < '(3\.\d+)'", (ROOT / "pyproject.toml").read_text())
    monkeypatch.undo()
    assert needs == [f"{packages.CONVERTER_ENDS[0]}.{packages.CONVERTER_ENDS[1] + 1}"]


def test_the_command_of_a_toolkit(monkeypatch):
    monkeypatch.setattr(packages, "TOOLKITS_END", (9, 9))
    assert packages.toolkit_command("detection") == 'pip install "densebone[detection]"'
    monkeypatch.setattr(packages, "TOOLKITS_END", (3, 9))
    assert packages.toolkit_command("segmentation") == (
        'pip install "densebone[segmentation]" && pip install --no-deps paddleseg==2.8.0'
    )
    assert packages.toolkit_command("ghosts") == 'pip install "densebone[ghosts]"'


def test_the_releases_of_the_toolkits_are_those_of_the_extras():
    metadata = (ROOT / "pyproject.toml").read_text()
    asked = re.findall(r"(paddle(?:det|seg)==\S+); python_version < '(\d+)\.(\d+)'", metadata)
    assert [name for name, *_ in asked] == [*packages.TOOLKITS.values()]
    ends = packages.TOOLKITS_END
    assert {(int(major), int(minor)) for _, major, minor in asked} == {(ends[0], ends[1] + 1)}


def test_nothing_is_missing(monkeypatch):
    assert packages.missing_package() == ""
    monkeypatch.setattr(packages.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(packages, "paddle_version", lambda: "3.2.2")
    assert packages.missing_package(*packages.PIP_INSTALL) == ""


def test_the_converter_needs_paddle_3(monkeypatch):
    monkeypatch.setattr(packages.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(packages, "paddle_version", lambda: "2.6.2")
    assert packages.missing_package("onnxruntime", "openvino") == ""
    assert packages.missing_package(*packages.CONVERTERS) == "paddle2onnx needs PaddlePaddle 3, and this is 2.6.2"


def test_the_version_of_paddle():
    assert re.match(r"\d+\.\d+", packages.paddle_version())
