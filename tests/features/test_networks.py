"""The network that runs, and the preprocessing that its weights expect."""

from dataclasses import replace

import numpy as np
import paddle
import pytest
import tiny
from safetensors.numpy import save_file

from densebone import create_backbone, create_model
from densebone.errors import UserError
from densebone.features.networks import build, named_preprocessing, preprocessing_of, weights_hash
from densebone.weights import catalog, integrity
from densebone.weights.catalog import find

IMAGENET = find("hardnet68.official").preprocessing


def outputs(network, images):
    with paddle.no_grad():
        return [out.numpy() for out in network(images)]


@pytest.mark.parametrize("out_indices", [(0,), (1, 3), (0, 1, 2, 3, 4), None])
def test_maps_of_a_classifier_are_those_of_its_backbone(out_indices):
    classifier = tiny.build()
    classifier.eval()
    network = build(classifier, out_indices)
    backbone = tiny.build(out_indices=out_indices or (1, 2, 3, 4))
    backbone.eval()
    backbone.set_state_dict(classifier.state_dict())
    assert (network.channels, network.strides) == (backbone.channels, backbone.strides)
    for found, expected in zip(outputs(network, tiny.images()), outputs(backbone, tiny.images()), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert classifier.with_head and classifier(tiny.images()).shape == [2, 5]  # the given network is unchanged


def test_some_maps_of_a_backbone():
    backbone = tiny.build(out_indices=(1, 2, 4))
    network = build(backbone, (2, 4))
    backbone.eval()
    assert network.strides == [8, 32] and backbone.strides == [4, 8, 32]
    expected = outputs(backbone, tiny.images())[1:]
    for found, want in zip(outputs(network, tiny.images()), expected, strict=True):
        np.testing.assert_array_equal(found, want)
    with pytest.raises(UserError, match=r"asks for \[3\], and this backbone was built with out_indices=\[1, 2, 4\]"):
        build(backbone, (2, 3))


def test_strides():
    assert build(tiny.build(), strides=[8, 32]).strides == [8, 32]
    assert build("hardnet39ds", strides=(4, 16), pretrained=None).channels == [96, 640]
    for strides in ([8, 7], [], 8):
        with pytest.raises(UserError, match=r"strides is .*; give a list of numbers from 2, 4, 8, 16, 32, 64"):
            build(tiny.build(), strides=strides)
    with pytest.raises(UserError, match="say the same; give one of them"):
        build(tiny.build(), (1,), [4])


@pytest.mark.parametrize("name, count", [("hardnet39ds", 4), ("hardnet70", 4), ("centernet_hardnet85_base", 3)])
def test_all_maps_by_default(name, count):
    assert build(name, pretrained=None).strides == [4, 8, 16, 32][:count]


@pytest.mark.parametrize("name, size", [("hardnet39ds", 1024), ("peleenet", 704), ("condensenetv2_a", 828)])
def test_penultimate_is_what_the_last_layer_reads(name, size):
    classifier = create_model(name)
    classifier.eval()
    network = build(classifier, pooled="penultimate")
    images = tiny.images((1, 3, 64, 64))
    with paddle.no_grad():
        vector = network(images)
        last = dict(classifier.named_sublayers())[classifier.last_linear()]
        np.testing.assert_allclose(last(vector).numpy(), classifier(images).numpy(), rtol=1e-5, atol=1e-6)
    assert list(vector.shape) == [1, size] and network.vector_size == size


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"model": "hardnet69"}, "there is no model 'hardnet69'; the nearest names are hardnet68"),
        ({"model": "fchardnet70"}, "fchardnet70 is a whole network for segmentation, no backbone"),
        ({"model": 68}, "model is a int; give a name of densebone list, or a network"),
        ({"model": "hardnet68", "pooled": "max"}, "pooled is 'max'; give None, 'avg', 'penultimate'"),
        ({"model": "hardnet68", "pooled": "penultimate", "strides": [8]}, "leave out_indices and strides out"),
        ({"model": "hardnet68", "out_indices": (1, 9)}, r"out_indices is \(1, 9\); give a list of different numbers"),
    ],
    ids=str,
)
def test_what_cannot_be_built(arguments, message):
    with pytest.raises(UserError, match=message):
        build(**arguments, pretrained=None)


def test_other_networks_that_cannot_be_built():
    with pytest.raises(UserError, match="'penultimate' needs a classifier, and this is a backbone"):
        build(tiny.build(out_indices=(1,)), pooled="penultimate")
    with pytest.raises(UserError, match="a copy for eager already"):
        build(tiny.build().deploy("eager"))


def test_preprocessing_is_that_of_the_weights():
    assert preprocessing_of("hardnet68", True) == preprocessing_of("hardnet68", None) == IMAGENET
    assert preprocessing_of("hardnet68", "hardnet68.paddleclas") == find("hardnet68.paddleclas").preprocessing
    assert preprocessing_of("hardnet68", "hardnet68.paddleclas") != IMAGENET
    assert preprocessing_of("hardnet68", find("hardnet68.official").urls[0]) == IMAGENET
    assert preprocessing_of("hardnet68", "https://host/mine.pdparams") is None
    assert preprocessing_of(tiny.build(), True) is None


def test_a_file_is_recognised_by_its_hash(tmp_path, monkeypatch):
    file = tmp_path / "w.safetensors"
    save_file({"a": np.zeros(3, np.float32)}, file)
    assert preprocessing_of("hardnet68", file) is None
    entry = replace(find("hardnet68.ppim"), integrity=catalog.Integrity(sha1=integrity.digests(file).sha1))
    monkeypatch.setattr(integrity, "entries", lambda: [entry])
    assert preprocessing_of("hardnet68", str(file)) == entry.preprocessing is not None


def test_preprocessing_of_a_network_follows_its_report():
    network = create_backbone("hardnet70", (1,))
    assert preprocessing_of(network, True) is None

    class Report:
        source, turned = "fchardnet70.official", False

    network.load_report = Report()
    recipe = preprocessing_of(network, True)
    assert recipe == find("fchardnet70.official").preprocessing
    Report.turned = True
    turned = preprocessing_of(network, True)
    assert {recipe.channels, turned.channels} == {"rgb", "bgr"}
    assert (turned.mean, turned.std) == (recipe.mean[::-1], recipe.std[::-1])


def test_named_preprocessing():
    assert named_preprocessing("hardnet68") == named_preprocessing(IMAGENET) == IMAGENET
    with pytest.raises(UserError, match="there are no weights called 'imagenet'"):
        named_preprocessing("imagenet")
    with pytest.raises(UserError, match=r"preprocessing is a int; give a densebone.weights.catalog.Preprocessing"):
        named_preprocessing(224)
    unknown = next(entry.name for entry in catalog.entries() if entry.preprocessing is None)
    with pytest.raises(UserError, match=f"the source of {unknown} does not say how pictures are prepared"):
        named_preprocessing(unknown)


def test_weights_hash():
    one, same, other = build(tiny.build()), build(tiny.build()), build(tiny.build(seed=1))
    assert weights_hash(one) == weights_hash(same) != weights_hash(other)
    assert len(weights_hash(one)) == 16
