"""Inputs that would run code: each attack plants a marker file where it succeeds, and none does."""

import io
import os
import pickle
import stat
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from densebone import UserError
from densebone.pictures.reading import read_header, read_image
from densebone.tasks import configuration

NAMES = ("paddle2onnx", "numpy", "yaml", "sitecustomize", "usercustomize", "onnx", "PIL", "paddle", "tqdm", "msgspec")


@pytest.fixture
def marker(tmp_path):
    path = tmp_path / "planted"
    yield path
    assert not path.exists(), "the attack ran"


class Attack:
    """Pickled, it calls os.system when it is loaded."""

    def __init__(self, marker):
        self.command = f"touch {marker}"

    def __reduce__(self):
        return os.system, (self.command,)


def write_pickle(path, marker, protocol=2):
    content = {"conv.weight": np.zeros((2, 2), np.float32), "attack": Attack(marker)}
    path.write_bytes(pickle.dumps(content, protocol))
    return path


# the current folder


def planted_folder(folder, marker):
    """A folder whose modules plant the marker when they are imported."""
    folder.mkdir()
    for name in NAMES:
        (folder / f"{name}.py").write_text(f"open({str(marker)!r}, 'w')\nraise SystemExit(7)\n")
    return folder


@pytest.mark.parametrize("start", ["script", "module"])
def test_modules_in_the_current_folder_are_not_imported(tmp_path, marker, start):
    folder = planted_folder(tmp_path / "here", marker)
    script = Path(sys.executable).with_name("densebone")
    command = [str(script)] if start == "script" else [sys.executable, "-m", "densebone.scripts"]
    if start == "script" and not script.exists():
        pytest.skip("densebone is not installed as a command here")
    if (
        start == "module"
    ):  # Python itself starts in the folder then, before any line of ours, and runs its sitecustomize
        for name in ("sitecustomize", "usercustomize"):
            (folder / f"{name}.py").unlink()
    export = ["export", "hardnet39ds", "--random", "--format", "paddle", "onnx", "-O", str(tmp_path / "out")]
    for arguments in (["list"], ["info", "hardnet39ds"], export):
        if arguments is export and start == "module":
            continue
        done = subprocess.run([*command, *arguments], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    if start == "script":
        assert list(tmp_path.glob("out/**/model.onnx"))


# pictures


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\nshowpage\n"


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.eps"])
def test_postscript_starts_no_ghostscript(tmp_path, marker, monkeypatch, name):
    for program in ("gs", "gswin64c"):
        fake = tmp_path / "bin" / program
        fake.parent.mkdir(exist_ok=True)
        fake.write_text(f"#!/bin/sh\ntouch {marker}\n")
        fake.chmod(fake.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    (tmp_path / name).write_bytes(POSTSCRIPT)
    for read in (read_image, read_header):
        with pytest.raises(UserError, match="is not a picture that Pillow can read"):
            read(tmp_path / name)
    pytest.importorskip("paddleseg", reason="needs PaddleSeg: pip install densebone[segmentation]")
    from densebone.tasks.segmentation import config

    config.import_toolkit()
    with pytest.raises(Exception, match=r"(?i)ghostscript|cannot"), Image.open(tmp_path / name) as picture:
        picture.load()  # as a data set of PaddleSeg does that reads labels in its own way


# configurations


def tags(marker):
    call = f'!!python/object/apply:os.system ["touch {marker}"]'
    return {
        "object/apply": call,
        "object/new": f'!!python/object/new:os.system ["touch {marker}"]',
        "module": "!!python/module:antigravity",
        "name": "!!python/name:os.system",
        "nested": f"[1, {{a: [{call}]}}]",
    }


@pytest.mark.parametrize("kind", ["object/apply", "object/new", "module", "name", "nested"])
@pytest.mark.parametrize("task", ["detection", "segmentation", "classification"])
def test_tags_of_configurations_run_nothing(tmp_path, marker, densebone, kind, task):
    shipped = {
        "detection": "smoke_ppyoloe_hardnet39ds_192_10e_sample",
        "segmentation": "smoke_fchardnet70_sample",
        "classification": "smoke_hardnet39ds_sample",
    }[task]
    from densebone.scripts.options import find_config

    base = "_BASE_" if task == "detection" else "_base_"
    value = [str(find_config(shipped))] if task == "detection" else str(find_config(shipped))
    text = f"{yaml.safe_dump({base: value})}save_dir: output\n"
    (tmp_path / "mine.yml").write_text(f"{text}log_iter: {tags(marker)[kind]}\n")
    done = densebone("train", "-c", tmp_path / "mine.yml", cwd=tmp_path)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    said = done.stderr.splitlines()[-1]
    line = len(text.splitlines()) + 1
    assert f"mine.yml, line {line}: the tag !!python/" in said and "would run Python; only !!python/module:" in said
    done = densebone("train", "-c", shipped, "-o", f"log_iter={tags(marker)[kind]}", cwd=tmp_path)
    assert done.returncode == 2 and "would run Python" in done.stderr.splitlines()[-1]


def test_a_base_is_checked_too(tmp_path, marker):
    (tmp_path / "base.yml").write_text(f"a: {tags(marker)['object/apply']}\n")
    (tmp_path / "mine.yml").write_text("_base_: base.yml\nb: 1\n")
    with pytest.raises(UserError, match=r"base\.yml, line 1: the tag !!python/object/apply:os.system would run Python"):
        configuration.with_bases(tmp_path / "mine.yml", ())


def test_plugins_that_are_named_may_be_imported(tmp_path, densebone):
    (tmp_path / "mine.yml").write_text("task: classification\nplugin: !!python/module:my_layers\n")
    with pytest.raises(UserError, match="modules that --plugin names"):
        configuration.with_bases(tmp_path / "mine.yml", ())
    assert configuration.with_bases(tmp_path / "mine.yml", ("my_layers",))
    done = densebone("train", "-c", tmp_path / "mine.yml", "--plugin", "no_such_module_here")
    assert done.returncode == 2 and "--plugin no_such_module_here cannot be imported" in done.stderr


# what the toolkits would run


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_detection_unpickles_no_code(tmp_path, marker, protocol):
    pytest.importorskip("ppdet", reason="needs PaddleDetection: pip install densebone[detection]")
    from densebone.tasks.detection import config

    config.import_toolkit()
    from ppdet.modeling.backbones.swin_transformer import SwinTransformer
    from ppdet.utils.checkpoint import load_pretrain_weight, load_weight

    file = write_pickle(tmp_path / "w.pdparams", marker, protocol)
    layer = __import__("paddle").nn.Linear(2, 2)
    for call in (
        lambda: SwinTransformer(pretrained=str(file), embed_dim=12, depths=[1, 1, 1, 1], num_heads=[1, 1, 1, 1]),
        lambda: load_pretrain_weight(layer, str(tmp_path / "w")),
        lambda: load_weight(layer, str(tmp_path / "w")),
    ):
        with pytest.raises(UserError, match=r"w\.pdparams"):
            call()


def test_segmentation_unpickles_and_evaluates_no_code(tmp_path, marker):
    pytest.importorskip("paddleseg", reason="needs PaddleSeg: pip install densebone[segmentation]")
    from densebone.tasks.segmentation import config

    config.import_toolkit()
    from paddleseg.models.backbones.vision_transformer import Block
    from paddleseg.utils.utils import load_pretrained_model

    file = write_pickle(tmp_path / "w.pdparams", marker)
    with pytest.raises(UserError, match=r"w\.pdparams"):
        load_pretrained_model(__import__("paddle").nn.Linear(2, 2), str(file))
    command = f"__import__('os').system('touch {marker}')"
    for text in (command, f"[{command}]", f"nn.LayerNorm if {command} else 0", "nn.__class__", "os.system"):
        with pytest.raises(UserError, match=r"would be run as Python|knows no|is no class or function of Paddle"):
            Block(12, 1, norm_layer=text)
    assert Block(12, 1, norm_layer="nn.LayerNorm").norm1.weight.shape == [12]


def test_the_cache_of_decoded_pictures_holds_no_pickles(tmp_path, marker):
    pytest.importorskip("ppdet", reason="needs PaddleDetection: pip install densebone[detection]")
    from densebone.tasks.detection import config

    config.import_toolkit()
    from ppdet.data.transform.operators import DecodeCache

    for folder, colour in (("x", "red"), ("y", "blue")):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (8, 6), colour).save(tmp_path / folder / "a.png")
    cache = DecodeCache(str(tmp_path / "cache"))
    for _ in range(2):  # decoded, then read again
        found = [cache.apply({"im_file": str(tmp_path / folder / "a.png")})["image"][0, 0].tolist() for folder in "xy"]
        assert found == [[255, 0, 0], [0, 0, 255]]
    for file in (tmp_path / "cache").iterdir():
        assert file.suffix == ".npy"
        write_pickle(file, marker)
    with pytest.raises(UserError, match="is no cached picture"):
        cache.apply({"im_file": str(tmp_path / "x" / "a.png")})


def archive(path, kind, target):
    """A tar archive with one entry that would leave its folder."""
    with tarfile.open(path, "w") as tar:
        tar.addfile(tarfile.TarInfo("data"), io.BytesIO())
        info = tarfile.TarInfo({"parent": "../../planted", "absolute": str(target)}.get(kind, "data2"))
        if kind in ("parent", "absolute"):
            info.size = 1
        elif kind == "link":
            info.type, info.linkname = tarfile.SYMTYPE, str(target.parent)
        else:
            info.type = tarfile.CHRTYPE
        tar.addfile(info, io.BytesIO(b"x"))


@pytest.mark.skipif(not hasattr(tarfile, "data_filter"), reason="this Python cannot check the entries of tar archives")
@pytest.mark.parametrize("kind", ["parent", "absolute", "link", "device"])
@pytest.mark.parametrize("toolkit", ["ppdet", "paddleseg"])
def test_archives_stay_in_their_folder(tmp_path, marker, kind, toolkit):
    pytest.importorskip(toolkit, reason=f"needs {toolkit}: pip install densebone[detection,segmentation]")
    place = tmp_path / "a" / "b"
    place.mkdir(parents=True)
    archive(place / "data.tar", kind, marker)
    if toolkit == "ppdet":
        from densebone.tasks.detection import config

        config.import_toolkit()
        from ppdet.utils.download import _decompress as unpack
    else:
        from densebone.tasks.segmentation import config

        config.import_toolkit()
        from paddleseg.utils import download

        def unpack(file):
            download._uncompress_file(file, str(place), False, False)

    if kind == "absolute":  # becomes a path inside, as tar itself does it
        with pytest.raises((UserError, OSError)):
            unpack(str(place / "data.tar"))
            raise OSError("unpacked inside")
    else:
        with pytest.raises(UserError, match="an archive that a toolkit unpacks is refused"):
            unpack(str(place / "data.tar"))
    assert not (tmp_path / "planted").exists() and not any(path.is_symlink() for path in place.rglob("*"))
