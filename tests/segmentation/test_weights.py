"""Published weights of whole networks in `eval`, `predict` and `export`: turned round, or refused, as they need."""

import json

import numpy as np
import paddle
import pytest
import recipe
import tiny

import densebone as db

pytest.importorskip("paddleseg", reason="needs PaddleSeg: pip install densebone[segmentation]")

from densebone.scripts.options import find_config
from densebone.segmentation.config import load
from densebone.segmentation.weights import load_segmenter

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
    assert load_segmenter(model, given, str(files / "authors.npz")) == files / "authors.npz"
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
        load_segmenter(given.builder.model, given, "fchardnet70.paddleseg")
    load_segmenter(given.builder.model, given, str(files / "paddleseg.npz"))


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
        load_segmenter(given.builder.model, given, str(files / file))
    assert file in str(caught.value)
