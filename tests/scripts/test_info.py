"""`densebone info` of every model."""

import pytest

from densebone.registry import list_models
from densebone.scripts import main


@pytest.mark.parametrize("name", list_models())
def test_every_model_has_as_many_channels_as_strides(name, capsys):
    assert main(["info", name]) == 0
    title, parameters, strides, channels, *_ = capsys.readouterr().out.splitlines()
    assert title == name
    assert " with " in parameters
    strides = strides.removeprefix("  maps at strides").partition("(")
    count = len(strides[0].split())
    assert count == len(channels.removeprefix("  their channels").split()) >= 3
    assert strides[2].startswith((f"out_indices 0..{count - 1};", "all go to the decoder"))


def test_a_whole_network(capsys):
    assert main(["info", "fchardnet70"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["parameters", "4,119,257", "with", "19", "classes"] in lines
    assert ["encoder", "hardnet70"] in lines
