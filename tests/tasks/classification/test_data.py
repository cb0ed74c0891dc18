"""Checks before training, names of classes, and samples for training and evaluation."""

import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import paddle
import pytest
from tiny_pictures import SYNSETS, cifar, tree

from densebone.datasets.imagenet import NAMES
from densebone.errors import UserError
from densebone.tasks.classification.data import EvalSamples, TrainSamples, check_pictures, class_names, normalized
from densebone.tasks.classification.layouts import Cifar10, Folder, ImageNetFolder
from densebone.tasks.classification.transforms import RandomErasing, RandomFlip, RandomResizedCrop
from densebone.weights import catalog

RECIPE = catalog.Preprocessing(32, 32, "bilinear", "pil", "rgb", [0.5, 0.4, 0.3], [0.2, 0.25, 0.5])


def test_files_that_are_no_pictures_are_named(tmp_path):
    tree(tmp_path)
    check_pictures(ImageNetFolder(root=str(tmp_path)).open("train", 3))
    (tmp_path / "train" / SYNSETS[0] / "x.png").write_text("x")
    (tmp_path / "train" / SYNSETS[1] / "y.png").symlink_to(tmp_path / "gone")
    pictures = ImageNetFolder(root=str(tmp_path)).open("train", 3)
    with pytest.raises(
        UserError, match=r"2 pictures of .* cannot be used: .*x\.png is no picture; .*y\.png is no picture"
    ):
        check_pictures(pictures)


def job(dataset, classes=3, names=None):
    return SimpleNamespace(
        path="my.yml", train_dataset=dataset, num_classes=classes, class_names=names, trained_classes=None
    )


def test_names_of_classes(tmp_path):
    tree(tmp_path)
    folder = ImageNetFolder(root=str(tmp_path))
    assert class_names(job(folder)) == ["tench", "goldfish", "great white shark"]
    assert class_names(job(folder, names=["a", "b", "c"])) == ["a", "b", "c"]
    (tmp_path / "names.txt").write_text("x\ny\n\nz\n")
    assert class_names(job(folder, names=str(tmp_path / "names.txt"))) == ["x", "y", "z"]
    assert class_names(job(Folder(root="gone"), 2)) == ["class 0", "class 1"]
    assert class_names(job(folder, 1000)) == list(NAMES)
    with pytest.raises(UserError, match="class_names must be 3 different names"):
        class_names(job(folder, names=["a", "b", "a"]))
    with pytest.raises(UserError, match="class_names gone cannot be read"):
        class_names(job(folder, names="gone"))


# samples


def samples(root, seed=0, transforms=(), raw=False):
    pictures = ImageNetFolder(root=str(root)).open("train", 3)
    return TrainSamples(SimpleNamespace(preprocessing=RECIPE, transforms=list(transforms)), pictures, seed, raw)


STEPS = [RandomResizedCrop(size=32), RandomFlip(), RandomErasing(prob=1)]


def test_a_training_sample_follows_from_seed_epoch_and_number(tmp_path):
    tree(tmp_path)
    first, again, other = (samples(tree(tmp_path), seed, STEPS) for seed in (3, 3, 4))
    before = np.random.get_state()[1].copy()
    one = first[(1, 4)]["img"]
    again[(0, 2)], again[(1, 5)]
    np.testing.assert_array_equal(again[(1, 4)]["img"], one)
    for key, dataset in (((2, 4), first), ((1, 5), first), ((1, 4), other)):
        assert not np.array_equal(dataset[key]["img"], one)
    assert (np.random.get_state()[1] == before).all()
    assert one.dtype == np.float32 and one.shape == (3, 32, 32)
    assert (first[(1, 4)]["label"], first.files(4).endswith("4.png")) == (2, True)


def test_bytes_that_the_device_normalises_give_the_same_values(tmp_path):
    tree(tmp_path)
    for recipe in (RECIPE, replace(RECIPE, channels="bgr", mean=[0.1, 0.5, 0.7])):
        exact, raw = samples(tmp_path, 3, STEPS[:2]), samples(tmp_path, 3, STEPS[:2], raw=True)
        exact.preprocessing = raw.preprocessing = recipe
        sent = np.stack([raw[(1, number)]["img"] for number in range(4)])
        assert sent.dtype == np.uint8 and sent.shape == (4, 3, 32, 32)
        values = np.stack([exact[(1, number)]["img"] for number in range(4)])
        np.testing.assert_allclose(normalized(paddle.to_tensor(sent), recipe).numpy(), values, rtol=1e-6, atol=1e-6)
        np.testing.assert_array_equal(normalized(paddle.to_tensor(values), recipe).numpy(), values)
    # what comes after the normalising needs its values
    assert samples(tmp_path, 3, STEPS, raw=True)[(1, 4)]["img"].dtype == np.float32


def test_training_without_transforms_crops_and_flips(tmp_path):
    assert samples(tree(tmp_path))[(0, 0)]["img"].shape == (3, 32, 32)


def test_a_training_picture_that_cannot_be_read_is_an_error_that_is_returned(tmp_path):
    dataset = samples(tree(tmp_path))
    with open(dataset.pictures.pictures[1], "r+b") as stream:
        stream.truncate(200)
    error = dataset[(0, 1)]
    assert isinstance(error, UserError)
    assert re.search(r"^train_dataset: .*1\.png: is truncated or damaged", str(error))


def test_evaluation_samples(tmp_path):
    pictures = ImageNetFolder(root=str(tree(tmp_path))).open("val", 3)
    with open(pictures.pictures[1], "r+b") as stream:
        stream.truncate(200)
    dataset = EvalSamples(pictures, RECIPE)
    assert dataset.parts(4) == [[0, 1, 2, 3], [4, 5]]
    assert dataset.parts(4, rank=1, ranks=2) == [[1, 3, 5]]
    (numbers, images, found), *_ = dataset.batches(dataset.parts(4))
    assert (numbers.tolist(), images.shape, found.tolist()) == ([0, 1, 2, 3], [4, 3, 32, 32], [0, -1, 1, 1])
    assert dataset.fault(1).startswith("is truncated or damaged")


def test_pictures_of_many_sizes_are_evaluated_one_by_one(tmp_path):
    pictures = ImageNetFolder(root=str(tree(tmp_path))).open("val", 3)
    any_size = catalog.Preprocessing(None, None, None, "pil", "rgb", [0.5] * 3, [0.5] * 3)
    assert [len(part) for part in EvalSamples(pictures, any_size).parts(4)] == [1] * 6
    in_memory = Cifar10(root=str(cifar(tmp_path, 10))).open("val", 10)
    assert EvalSamples(in_memory, any_size).parts(4) == [[0, 1, 2, 3]]


def test_the_size_of_the_input():
    assert RECIPE.input_size == (32, 32)
    assert catalog.find("centernet_hardnet85.official").preprocessing.input_size == (512, 512)
    assert catalog.find("fchardnet70.official").preprocessing.input_size is None
