"""`densebone condense`: a file in, a file out, or one clear line."""

import numpy as np
import paddle
import pytest
import tiny
import tiny_condense
from safetensors.numpy import load_file, save_file

import densebone as db
from densebone.scripts import main


def saved(net, path):
    save_file({key: value.copy(order="C") for key, value in tiny_condense.arrays(net).items()}, path)
    return path


def test_a_classifiers_file(tmp_path, capsys):
    learned = tiny_condense.pruned()
    source, target = saved(learned, tmp_path / "in.safetensors"), tmp_path / "new" / "out.safetensors"
    assert main(["condense", str(source), str(target)]) == 0
    assert "14 convolutions condensed" in capsys.readouterr().out
    small = tiny_condense.build(seed=9)
    assert db.load_weights(small, target).complete
    small.eval()
    x = tiny.images((2, 3, 64, 64))
    with paddle.no_grad():
        expected = learned(x).numpy()
        assert np.abs(small(x).numpy() - expected).max() <= 1e-5 * np.abs(expected).max()
    assert [p.name for p in target.parent.iterdir()] == ["out.safetensors"]


def test_a_detectors_checkpoint_keeps_its_other_tensors(tmp_path):
    state = tiny_condense.pruned().state_dict()
    whole = {**{f"backbone.{key}": value for key, value in state.items()}, "head.weight": paddle.ones([2, 3, 1, 1])}
    paddle.save(whole, str(tmp_path / "model_final.pdparams"))
    assert main(["condense", str(tmp_path / "model_final.pdparams"), str(tmp_path / "out.safetensors")]) == 0
    arrays = load_file(tmp_path / "out.safetensors")
    assert (arrays.pop("head.weight") == 1).all()
    assert set(arrays) == {f"backbone.{key}" for key in tiny_condense.build().state_dict()}


@pytest.mark.parametrize("progress, count", [(0.0, 14), (0.49, 14)])
def test_a_network_that_is_not_fully_pruned(progress, count, tmp_path, capsys):
    source = saved(tiny_condense.pruned(progress=progress), tmp_path / "in.safetensors")
    assert main(["condense", str(source), str(tmp_path / "out.safetensors")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"densebone: {source}: not fully pruned: {count} of 14 learned convolutions keep too much")
    assert line.endswith("train on until set_progress has had 0.5 or more")
    assert [p.name for p in tmp_path.iterdir()] == ["in.safetensors"]


@pytest.mark.parametrize(
    "given, target, words",
    [
        ("gone.safetensors", "out.safetensors", "gone.safetensors does not exist"),
        ("condensed.safetensors", "out.safetensors", "there is nothing to condense: no tensor is called _mask"),
        ("in.safetensors", "out.pdparams", "out.pdparams would be written as safetensors"),
        ("in.safetensors", "/dev/null/x/out.safetensors", "cannot write into the folder /dev/null/x"),
    ],
)
def test_refusals(given, target, words, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    saved(tiny_condense.pruned(), "in.safetensors")
    saved(tiny_condense.build(), "condensed.safetensors")
    assert main(["condense", given, target]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert sorted(p.name for p in tmp_path.iterdir()) == ["condensed.safetensors", "in.safetensors"]
