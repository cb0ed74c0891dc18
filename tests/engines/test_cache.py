"""Exports are made once, appear whole, and the oldest are deleted."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tiny
from on_engines import EXPORTING

from densebone import UserError
from densebone.engines import agreement, exports, opening
from densebone.engines.cache import MAX_EXPORTS, MIN_AGE_S, SEAL, broken, delete_oldest, sealed
from densebone.system.files import sha256_of
from densebone.system.folders import new_folder


@pytest.mark.parametrize("name", EXPORTING)
def test_an_export_is_made_and_checked_once(name, network, cache, monkeypatch):
    opening.open_network(network, name, cache=cache).close()
    again = tiny.build()  # the same weights, under other names of Paddle's
    again.eval()
    monkeypatch.setattr(exports, "save_program", None)
    monkeypatch.setattr(exports, "check_outputs", None)
    with opening.open_network(again, name, cache=cache) as engine:
        assert "differs from eager by" in engine.description


def test_without_a_cache_nothing_is_kept(network, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("DENSEBONE_HOME", str(tmp_path / "home"))
    with opening.open_network(network, "paddle", cache=False) as engine:
        engine.run(agreement.random_images((1, 3, 64, 64)))
    assert not (tmp_path / "home").exists()
    (tmp_path / "file").touch()
    opening.open_network(network, "paddle", cache=tmp_path / "file" / "x").close()
    assert "exported networks are not kept: cannot write into the folder" in caplog.text


def test_a_full_disk_keeps_nothing_and_says_so(network, tmp_path, monkeypatch, caplog):
    usage = type("Usage", (), {"free": 1 << 20})
    monkeypatch.setattr(exports.shutil, "disk_usage", lambda folder: usage)
    with opening.open_network(network, "paddle", cache=tmp_path / "cache") as engine:
        engine.run(agreement.random_images((1, 3, 64, 64)))
    assert "cache has 1 MB free, and this network needs" in caplog.text
    assert not list((tmp_path / "cache").iterdir())


def test_the_cache_is_in_the_home_of_densebone(network, tmp_path, monkeypatch):
    monkeypatch.setenv("DENSEBONE_HOME", str(tmp_path))
    opening.open_network(network, "paddle").close()
    (folder,) = (f for f in (tmp_path / "engines").iterdir() if f.is_dir())
    assert (folder / "model.pdiparams").is_file()


def test_two_processes_export_once(tmp_path):
    helpers = Path(tiny.__file__).parent
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(helpers), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, str(helpers / "open_twice.py"), EXPORTING[0], str(tmp_path)]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) for _ in range(2)]
    sums = [run.communicate(timeout=300)[0].split()[-1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert float(sums[0]) == pytest.approx(float(sums[1]))
    assert len([f for f in tmp_path.iterdir() if f.is_dir()]) == 1


def test_a_killed_export_is_cleared_away(tmp_path):
    target = tmp_path / "abc-onnx"
    (tmp_path / ".abc-onnx-12345678").mkdir()
    with new_folder(target) as folder, sealed(folder):
        (folder / "model.onnx").touch()
        assert [f.name for f in tmp_path.iterdir()] == [folder.parent.name]
    assert [f.name for f in tmp_path.iterdir()] == ["abc-onnx"]
    assert broken(target) is None


def flip(file):
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 4
    file.write_bytes(data)


HARMS = {
    "a bit": flip,
    "cut": lambda file: file.write_bytes(file.read_bytes()[:-50]),
    "gone": lambda file: file.unlink(),
    "exchanged": lambda file: file.write_bytes(b"another model"),
}


# every engine once; the other pairs take minutes together
SOME = {"openvino": ("a bit",), "onnxruntime": ("exchanged",), "paddle": ("gone",)}
PAIRS = [
    pytest.param(name, harm, marks=() if harm in SOME[name] else pytest.mark.acceptance)
    for name in EXPORTING
    for harm in HARMS
]


@pytest.mark.parametrize(("name", "harm"), PAIRS)
def test_a_damaged_export_is_made_anew_and_never_answers(name, harm, network, tmp_path, caplog):
    images = agreement.random_images((1, 3, 64, 64))
    with opening.open_network(network, name, cache=tmp_path) as engine:
        right = engine.run(images)
    (folder,) = (f for f in tmp_path.iterdir() if f.is_dir())
    for file in list(folder.iterdir()):
        HARMS[harm](folder / file.name)
        caplog.clear()
        with opening.open_network(network, name, cache=tmp_path) as engine:
            again = engine.run(images)
        for ours, expected in zip(again, right):
            np.testing.assert_allclose(ours, expected, atol=1e-5)
        assert "is made anew: " in caplog.text and broken(folder) is None
        with opening.open_network(network, name, cache=tmp_path):
            pass
        assert caplog.text.count("is made anew") == 1


def test_the_check_of_another_export_does_not_count(network, tmp_path, monkeypatch):
    opening.open_network(network, EXPORTING[0], cache=tmp_path).close()
    (folder,) = (f for f in tmp_path.iterdir() if f.is_dir())
    (record,) = tmp_path.glob(f"{EXPORTING[0]}-*.json")
    content, compared = json.loads(record.read_text()), []
    assert content["export"] == sha256_of(folder / SEAL)
    monkeypatch.setattr(exports, "check_outputs", lambda *_, **__: compared.append(1) or 0.0)
    opening.open_network(network, EXPORTING[0], cache=tmp_path).close()
    assert not compared
    record.write_text(json.dumps({**content, "export": "another"}))
    opening.open_network(network, EXPORTING[0], cache=tmp_path).close()
    assert compared and json.loads(record.read_text())["export"] == content["export"]


def test_an_export_that_a_full_disk_cut_short_is_not_kept(network, tmp_path, monkeypatch):
    def cut(layer, folder, shape):
        save(layer, folder, shape)
        file = Path(folder) / "model.pdiparams"
        file.write_bytes(file.read_bytes()[:100])

    save = exports.save_program
    monkeypatch.setattr(exports, "save_program", cut)
    with pytest.raises(UserError, match="is cut short; make room on the disk and export it again"):
        opening.open_network(network, "paddle", cache=tmp_path)
    assert not [f for f in tmp_path.iterdir() if f.is_dir()]
    monkeypatch.undo()
    opening.open_network(network, "paddle", cache=tmp_path).close()


def test_the_oldest_exports_go(tmp_path):
    for number in range(MAX_EXPORTS + 3):
        folder = tmp_path / f"{number}-onnx"
        folder.mkdir()
        age = 10 if number == 2 else 2 * MIN_AGE_S + MAX_EXPORTS - number
        os.utime(folder, (time.time() - age,) * 2)
    delete_oldest(tmp_path)
    gone = {number for number in range(MAX_EXPORTS + 3) if not (tmp_path / f"{number}-onnx").exists()}
    assert gone == {0, 1, 3}
