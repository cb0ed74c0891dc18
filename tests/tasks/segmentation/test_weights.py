"""Published weights of whole networks in `eval`, `predict` and `export`: turned round, or refused, as they need."""

import json
import pickle

import numpy as np
import paddle
import pytest
import recipe
import tiny

import densebone as db

pytest.importorskip("paddleseg", reason="needs PaddleSeg: pip install densebone[segmentation]")

from tiny_segmentation import write_config

from densebone.scripts.options import find_config
from densebone.tasks.segmentation.config import load
from densebone.tasks.segmentation.weights import load_trained

AUTHORS, PADDLESEG = "fchardnet70_cityscapes_1024x1024_90k", "fchardnet70_paddleseg_cityscapes_1024x1024_160k"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The authors' and PaddleSeg's layout with drawn numbers."""
    folder = tmp_path_factory.mktemp("weights")
    np.savez(folder / "authors.npz", **recipe.weights("fchardnet70"))
    about = json.loads((recipe.DATA / "layouts" / "paddleseg_hardnet.json").read_text())
    np.savez(folder / "paddleseg.npz", **{key: recipe.tensor(key, tuple(shape)) for key, shape in about["state_dict"]})
    return folder


def job(name, *overrides):
    return load(find_config(name), overrides, pretrained=False)


def test_the_authors_weights_see_the_same_picture(files):
    given = job(AUTHORS)
    model = given.builder.model
    assert load_trained(given, str(files / "authors.npz"), model).path == files / "authors.npz"
    official = db.create_model("fchardnet70", pretrained=str(files / "authors.npz"))
    model.eval(), official.eval()
    x = tiny.images((1, 3, 64, 96))
    with paddle.no_grad():
        expected, (found,) = official(x[:, [2, 1, 0]]).numpy(), model(x)
    assert np.abs(found.numpy() - expected).max() <= 1e-5 * np.abs(expected).max()


def test_a_name_of_the_catalog_is_taken_from_the_cache(files, monkeypatch, tmp_path):
    monkeypatch.setenv("DENSEBONE_HOME", str(tmp_path))
    monkeypatch.setenv("DENSEBONE_OFFLINE", "1")
    given = job(PADDLESEG)
    with pytest.raises(db.UserError, match=r"fchardnet70.paddleseg is not in the cache, .* DENSEBONE_OFFLINE is set"):
        load_trained(given, "fchardnet70.paddleseg", given.builder.model)
    load_trained(given, str(files / "paddleseg.npz"), given.builder.model)


@pytest.mark.parametrize(
    "config, overrides, file, message",
    [
        (AUTHORS, (), "paddleseg.npz", "build yours with stem_stride=1, stride_padding='same', align_corners=False"),
        (PADDLESEG, (), "authors.npz", "build yours with stem_stride=2, stride_padding='both', align_corners=True"),
        (
            AUTHORS,
            ("val_dataset.transforms.0.mean=[0.5,0.5,0.5]",),
            "authors.npz",
            r"want pictures with mean \[0.485, 0.456, 0.406\], and val_dataset normalises with mean \[0.5, 0.5, 0.5\]",
        ),
        (
            PADDLESEG,
            ("val_dataset.transforms=[{type: Resize, target_size: [64, 64]}]",),
            "paddleseg.npz",
            r"want pictures with mean \[0.5, 0.5, 0.5\], and val_dataset does not normalise; set Normalize there",
        ),
    ],
    ids=["PaddleSeg's in the authors'", "the authors' in PaddleSeg's", "other figures", "none"],
)
def test_what_they_were_not_trained_for_is_refused(files, config, overrides, file, message):
    given = job(config, *overrides)
    with pytest.raises(db.UserError, match=message) as caught:
        load_trained(given, str(files / file), given.builder.model)
    assert file in str(caught.value)


class Trap:
    """Unpickling this creates a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


ENET = "model={{type: ENet, num_classes: {classes}, pretrained: {file}}}"
BACKBONE = "model={{type: FCN, num_classes: {classes}, backbone: {{type: ResNet18_vd, pretrained: {file}}}}}"


def enet(folder, file, model=ENET, classes=4):
    """The network that a configuration with `pretrained` builds."""
    sets = [f"{part}_dataset.num_classes={classes}" for part in ("train", "val")]
    return load(
        write_config(folder / "tiny.yml", "data"), [model.format(classes=classes, file=file), *sets]
    ).builder.model


@pytest.mark.parametrize("model", [ENET, BACKBONE], ids=["model", "backbone"])
def test_paddlesegs_networks_run_nothing_of_their_weights(tmp_path, model):
    file, sprung = tmp_path / "trap.pdparams", tmp_path / "sprung"
    file.write_bytes(pickle.dumps({"weight": Trap(sprung)}, protocol=2))
    with pytest.raises(db.UserError, match=r"trap.pdparams is refused: it asks for (_io|io)\.open"):
        enet(tmp_path, file, model)
    assert not sprung.exists()
    with pytest.raises(db.UserError, match=r"pretrained: gone.pdparams does not exist"):
        enet(tmp_path, "gone.pdparams", model)
    with pytest.raises(db.UserError, match=r"pretrained is True; PaddleSeg's networks take a .pdparams file"):
        enet(tmp_path, "true", model)


def test_what_paddleseg_leaves_of_its_networks_is_said(tmp_path, capsys):
    net = enet(tmp_path, "null")
    paddle.save(net.state_dict(), str(tmp_path / "four.pdparams"))
    capsys.readouterr()
    again = enet(tmp_path, tmp_path / "four.pdparams")
    assert "note: ENet" not in capsys.readouterr().err
    key = next(iter(net.state_dict()))
    assert (again.state_dict()[key].numpy() == net.state_dict()[key].numpy()).all()
    enet(tmp_path, tmp_path / "four.pdparams", classes=5)
    total = len(net.state_dict())
    line = capsys.readouterr().err
    assert f"note: ENet: {tmp_path / 'four.pdparams'} has {total - 1} of the {total} tensors, by name and shape" in line
    assert line.strip().endswith("stay as they start: transposed_conv.weight")
