"""`densebone weights`: finding, getting, recognising and converting, each with one clear line when it cannot be."""

import hashlib
import json
import re

import numpy as np
import paddle
import pytest
import recipe
import web
from safetensors.numpy import load_file, save_file

import densebone as db
from densebone.scripts import main
from densebone.weights import layouts
from densebone.weights.catalog import entries, find
from densebone.weights.download import cache_path
from densebone.weights.reader import read_arrays
from densebone.weights.writer import write


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    for name in ("DENSEBONE_OFFLINE", "DENSEBONE_MIRROR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DENSEBONE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    """{model: file with weights in the authors' layout}, made by the formula of the references."""
    folder = tmp_path_factory.mktemp("official")
    result = {}
    for model in ("peleenet", "cdnv2_a", "cdnv2_a_converted"):
        result[model] = folder / f"{model}.safetensors"
        save_file({key: np.array(value, order="C") for key, value in recipe.weights(model).items()}, result[model])
    return result


def run(*arguments):
    return main(["weights", *map(str, arguments)])


def refused(capsys, *arguments):
    """The one line that a command prints when it refuses."""
    assert run(*arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("densebone: ")
    return line


def same(one, other):
    """Whether two dictionaries hold the same tensors, bit by bit."""
    return set(one) == set(other) and all(
        one[k].dtype == other[k].dtype and one[k].shape == other[k].shape and one[k].tobytes() == other[k].tobytes()
        for k in one
    )


def test_list(capsys):
    assert run("list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [entry.name for entry in entries()]
    assert sum("the default; " in line for line in lines) == len(db.list_models())
    assert run("list", "peleenet.ca*") == 0
    out = capsys.readouterr().out
    assert re.sub(" +", " ", out.splitlines()[0]) == "peleenet.caffe download cannot be loaded; no claimed accuracy"
    assert "by hand" in out.splitlines()[1]
    cache_path(find("peleenet.caffe")).parent.mkdir(parents=True)
    cache_path(find("peleenet.caffe")).write_bytes(b"1")
    assert run("list", "peleenet.caffe") == 0
    assert "cached" in capsys.readouterr().out
    assert run("list", "resnet*") == 0
    assert capsys.readouterr().out == "nothing matches 'resnet*'\n"


@pytest.mark.parametrize("entry", entries(), ids=lambda e: e.name)
def test_info(entry, capsys):
    assert run("info", entry.name) == 0
    out = capsys.readouterr().out
    for fact in (*entry.urls, *entry.pages, entry.licence, entry.integrity.git_blob_sha1, entry.integrity.sha1):
        assert fact is None or fact in out
    assert (entry.accuracy or "nothing") in out
    assert ("none of ours" in out) == (entry.model is None)
    assert (f"densebone weights add FILE --as {entry.name}" in out) == (not entry.urls)


def test_info_of_a_model_and_of_nothing(capsys):
    assert run("info", "hardnet68") == 0
    assert capsys.readouterr().out.startswith("hardnet68.official\n")
    assert "its weights are hardnet68.official" in refused(capsys, "info", "hardnet68.x")


def test_download(official, tmp_path, capsys):
    with web.serve() as server:
        url = server.put("/net.safetensors", official["peleenet"].read_bytes())
        assert run("download", url, "-O", tmp_path / "new") == 0
        assert run("download", url) == 0
        assert len(server.gets) == 1
    copied, cached = capsys.readouterr().out.splitlines()
    assert copied.startswith(str(tmp_path / "new")) and cached.startswith(str(tmp_path / "home"))
    assert same(load_file(copied), load_file(cached))
    line = refused(capsys, "download", "condensenetv2_a.official")
    assert "https://drive.google.com/" in line and "densebone weights add FILE --as condensenetv2_a.official" in line
    assert "cannot write into the folder /dev/null/x" in refused(capsys, "download", url, "-O", "/dev/null/x")


def test_verify(official, capsys):
    path = official["cdnv2_a_converted"]
    assert run("verify", path) == 0
    out = capsys.readouterr().out
    assert hashlib.sha256(path.read_bytes()).hexdigest() in out
    assert all(word in out for word in ("container      safetensors", "official", "model          condensenetv2_a"))


def test_verify_finds_what_is_published(official, capsys, monkeypatch):
    path = official["peleenet"]
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    stated = find("hardnet68.official").integrity
    monkeypatch.setitem(stated.__dict__, "sha256_prefix", sha256[:8])
    assert run("verify", path) == 0
    assert "hardnet68.official: first 8 digits of the SHA-256 agrees" in capsys.readouterr().out


def test_verify_refuses(official, tmp_path, capsys):
    assert "weights file gone does not exist" in refused(capsys, "verify", "gone")
    (tmp_path / "hardnet68-5d684880.pth").write_bytes(official["peleenet"].read_bytes())
    line = refused(capsys, "verify", "hardnet68-5d684880.pth")
    assert "has the name of hardnet68.official and is not that file" in line
    (tmp_path / "text.pth").write_text("hello")
    assert "text.pth" in refused(capsys, "verify", "text.pth")


@pytest.mark.parametrize("model", ["peleenet", "cdnv2_a", "cdnv2_a_converted"])
def test_every_round_trip_is_exact(model, official, capsys):
    source = official[model]
    for arguments in (
        (source, "ours.safetensors"),
        ("ours.safetensors", "ours.pdparams"),
        ("ours.pdparams", "clas.pdparams", "--layout", "paddleclas"),
        ("clas.pdparams", "clas.safetensors", "--layout", "paddleclas"),
        ("clas.safetensors", "back.safetensors"),
        ("clas.pdparams", "torch.safetensors", "--layout", "pytorch"),
        ("torch.safetensors", "again.safetensors"),
    ):
        assert run("convert", *arguments) == 0
        assert f"wrote {arguments[1]}: " in capsys.readouterr().out
    ours = load_file("ours.safetensors")
    assert same(load_file("torch.safetensors"), load_file(source))
    for name in ("ours.pdparams", "clas.pdparams", "clas.safetensors", "back.safetensors", "again.safetensors"):
        assert same(read_arrays(name), ours), name


def test_fchardnet_is_for_rgb_images_in_our_layout(tmp_path, capsys):
    theirs = recipe.weights("fchardnet70")
    save_file(theirs, "authors.safetensors")
    assert run("convert", "authors.safetensors", "ours.safetensors") == 0
    out = capsys.readouterr().out
    assert "fchardnet70, FC-HarDNet -> ours; for RGB images, where the file was for BGR ones" in out
    ours = load_file("ours.safetensors")
    assert np.array_equal(ours["backbone.base.0.conv.weight"], theirs["base.0.conv.weight"][:, ::-1])
    assert db.create_model("fchardnet70", pretrained="ours.safetensors").load_report.channels == "rgb"
    assert run("convert", "ours.safetensors", "back.safetensors", "--layout", "pytorch") == 0
    assert "RGB" not in capsys.readouterr().out
    assert same(load_file("back.safetensors"), theirs)
    assert run("convert", "authors.safetensors", "again.safetensors", "--layout", "pytorch") == 0
    assert same(load_file("again.safetensors"), theirs)


def test_a_pdparams_file_is_what_paddle_reads(official, tmp_path):
    assert run("convert", official["peleenet"], "clas.pdparams", "--layout", "paddleclas") == 0
    state = paddle.load("clas.pdparams")
    assert all(isinstance(value, paddle.Tensor) for value in state.values())
    net = db.create_model("peleenet")
    assert net.set_state_dict(state) == ([], [])
    assert tuple(state["classifier.weight"].shape) == (704, 1000)


def test_what_the_network_computes_stays(official, capsys):
    run("convert", official["cdnv2_a_converted"], "net.pdparams")
    x = paddle.to_tensor(recipe.image((1, 3, 64, 64)))
    outputs = []
    for file in (official["cdnv2_a_converted"], "net.pdparams"):
        net = db.create_model("condensenetv2_a", pretrained=str(file))
        net.eval()
        with paddle.no_grad():
            outputs.append(net(x).numpy())
    assert (outputs[0] == outputs[1]).all()


@pytest.mark.parametrize(
    ("target", "options", "words"),
    [
        ("out.pth", (), "out.pth: weights in the layout 'ours' are written as .safetensors or .pdparams"),
        ("out.pdparams", ("--layout", "pytorch"), "in the layout 'pytorch' are written as .safetensors"),
        ("/dev/null/x/out.safetensors", (), "cannot write into the folder /dev/null/x"),
    ],
)
def test_convert_refuses(target, options, words, official, tmp_path, capsys):
    assert words in refused(capsys, "convert", official["peleenet"], target, *options)
    assert list(tmp_path.iterdir()) == []


def test_convert_refuses_what_it_does_not_know(tmp_path, capsys):
    save_file({"a.running_mean": np.ones(3, "float32")}, "in.safetensors")
    assert "is not recognised" in refused(capsys, "convert", "in.safetensors", "out.safetensors")
    assert "weights file gone does not exist" in refused(capsys, "convert", "gone", "out.safetensors")
    assert [p.name for p in tmp_path.iterdir()] == ["in.safetensors"]


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ({"needs": {"block_activation": "relu"}}, "whose network needs block_activation='relu'"),
        ({"foreign": "PaddleSeg's HarDNet"}, "holds weights of PaddleSeg's HarDNet; they are not converted"),
    ],
)
def test_weights_of_other_networks_are_not_converted(what, words, official, tmp_path, capsys, monkeypatch):
    found = layouts.Recognised("some layout", "hardnet68", {}, **what)
    monkeypatch.setattr(layouts, "recognise", lambda arrays, layout: found)
    assert words in refused(capsys, "convert", official["cdnv2_a"], "out.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_odd_arrays_are_written_bit_by_bit(tmp_path):
    arrays = {
        "turned": np.arange(6, dtype="float32").reshape(2, 3).T,
        "part": np.arange(10, dtype="int64")[::2],
        "nan": np.array([0x7FC12345, 0xFF800001], "uint32").view("float32"),
        "half": np.array([1.5], "float16"),
        "number": np.float64(3),
        "none": np.zeros((0, 3), "float32"),
    }
    wanted = {key: np.array(value, order="C") for key, value in arrays.items()}
    for name in ("a.safetensors", "a.pdparams"):
        write(arrays, tmp_path / name, "paddleclas")
        assert same(read_arrays(tmp_path / name), wanted), name


def test_add(official, capsys, tmp_path):
    assert run("add", official["cdnv2_a_converted"], "--as", "condensenetv2_a.official") == 0
    assert capsys.readouterr().out.rstrip().endswith("; use it as pretrained: condensenetv2_a.official")
    assert run("download", "condensenetv2_a.official") == 0
    path = cache_path(find("condensenetv2_a.official"))
    assert capsys.readouterr().out == f"{path}\n"
    assert path.read_bytes() == official["cdnv2_a_converted"].read_bytes()
    assert path.name in json.loads((tmp_path / "home" / "weights.lock.json").read_text())


def test_add_refuses(official, capsys, tmp_path):
    line = refused(capsys, "add", official["peleenet"], "--as", "condensenetv2_b.official")
    assert "it is not condensenetv2_b.official: it holds weights of peleenet, and condensenetv2_b is expected" in line
    assert "no published hash says what" in refused(capsys, "add", official["peleenet"])
    assert "is not the published file" in refused(capsys, "add", official["peleenet"], "--as", "peleenet.official")
    assert "does not exist" in refused(capsys, "add", "gone.pth")
    assert not [p for p in (tmp_path / "home").rglob("*") if p.is_file() and p.suffix != ".lock"]


def test_no_subcommand():
    with pytest.raises(SystemExit):
        run()
