"""Reading a classification configuration."""

import re
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

from densebone.errors import UserError
from densebone.tasks.classification.config import load
from densebone.tasks.classification.job import Cosine, Momentum
from densebone.tasks.classification.layouts import ImageNetFolder
from densebone.tasks.classification.training import checkpoint_facts
from densebone.tasks.classification.transforms import RandomFlip, RandomResizedCrop
from densebone.weights import catalog

SETTINGS = {
    "task": "classification",
    "model": {"name": "hardnet39ds", "num_classes": 10},
    "train_dataset": {
        "type": "ImageNetFolder",
        "root": "data",
        "transforms": [{"type": "RandomResizedCrop", "size": 64}, {"type": "RandomFlip"}],
    },
    "val_dataset": {"type": "ImageNetFolder", "root": "data"},
    "optimizer": {"type": "Momentum", "weight_decay": "6e-5"},
    "lr_scheduler": {"type": "Cosine", "learning_rate": 0.05},
    "epochs": 3,
}
CONFIGS = sorted((Path(__file__).parents[3] / "configs" / "classification").glob("*.yml"))


@pytest.fixture
def path(tmp_path):
    return write(tmp_path)


def write(folder, name="mine.yml", **changes):
    content = {key: value for key, value in {**SETTINGS, **changes}.items() if value is not ...}
    (folder / name).write_text(yaml.safe_dump(content))
    return folder / name


def test_a_job(path):
    job = load(path)
    assert (job.name, str(job.folder), job.num_classes, job.epochs) == ("mine", "output/mine", 10, 3)
    assert job.optimizer == Momentum(momentum=0.9, nesterov=False, weight_decay=6e-5)
    assert job.lr_scheduler == Cosine(learning_rate=0.05)
    assert job.transforms == [RandomResizedCrop(size=64), RandomFlip()]
    assert job.val_dataset == ImageNetFolder(root="data")
    assert (job.batch_size, job.amp, job.ema, job.num_workers) == (32, "O0", None, 0)


def test_overrides_and_data(path):
    overrides = ["epochs=5", "train_dataset.transforms.0.size=32", "preprocessing.resize=72"]
    job = load(path, [*overrides, "lr_scheduler.learning_rate=1e-3"], data="elsewhere")
    assert (job.epochs, job.transforms[0].size, job.lr_scheduler.learning_rate) == (5, 32, 1e-3)
    assert job.train_dataset.root == job.val_dataset.root == "elsewhere"
    assert (job.preprocessing.resize, job.preprocessing.crop) == (72, 224)
    assert load(path, ["model.options.recompute=true"]).model.options == {"recompute": True}


def test_bases(tmp_path):
    write(tmp_path, "base.yml")
    leaf = tmp_path / "leaf.yml"
    leaf.write_text(
        "_base_: base.yml\nepochs: 7\noptimizer: {type: Adam, beta1: 0.8}\nlr_scheduler: {end_lr: 0.01}\n"
        "train_dataset: {root: other}\n"
    )
    job = load(leaf)
    assert job.epochs == 7
    assert (type(job.optimizer).__name__, job.optimizer.beta1, job.optimizer.weight_decay) == (
        "Adam",
        0.8,
        0,
    )  # replaced
    assert job.lr_scheduler == Cosine(learning_rate=0.05, end_lr=0.01)  # merged
    assert (job.train_dataset.root, len(job.transforms)) == ("other", 2)
    leaf.write_text("_base_: [base.yml, second.yml]\n")
    (tmp_path / "second.yml").write_text("epochs: 9\n")
    assert load(leaf).epochs == 9


def test_preprocessing_is_that_of_the_weights(path):
    own = catalog.find("hardnet39ds.official").preprocessing
    assert load(path).preprocessing == own
    assert load(path, ["model.pretrained=hardnet39ds.paddleclas"]).preprocessing.backend == "opencv"
    assert load(path, ["model.name=condensenetv2_a", "model.pretrained=true"]).preprocessing.interpolation == "bicubic"
    url = catalog.find("hardnet39ds.paddleclas").urls[0]
    assert load(path, [f"model.pretrained={url}"]).preprocessing.backend == "opencv"
    assert load(path, ["model.pretrained=some.npz"]).preprocessing == own
    assert load(path, ["model.name=hardnet70"]).preprocessing == own  # made for segmentation, and does not say
    given = load(path, ["preprocessing={crop: 64, mean: [0.5, 0.5, 0.5]}"])
    assert given.preprocessing_for(catalog.find("hardnet68.paddleclas").preprocessing) == catalog.Preprocessing(
        256, 64, "bilinear", "opencv", "rgb", [0.5] * 3, own.std
    )


def test_what_is_kept_with_a_checkpoint(path):
    facts = checkpoint_facts(load(path))
    assert catalog.Preprocessing(**facts.pop("preprocessing")) == load(path).preprocessing
    names = [f"class {i}" for i in range(10)]
    assert facts == {"model": "hardnet39ds", "num_classes": 10, "classes": names, "folders": None}


def test_pretrained_weights_are_left_out_for_trained_ones(path):
    assert load(path, ["model.pretrained=gone.npz"], pretrained=False).model.pretrained is None


CIFAR = {"type": "Cifar10", "root": "x"}
WRONG = {
    "task": ({"task": "classify"}, "task is 'classify'; classification is expected"),
    "no model": ({"model": ...}, "model.name is missing; a text is expected"),
    "no optimizer": ({"optimizer": ...}, "has no 'optimizer'; a classification configuration needs it"),
    "no epochs": ({"epochs": ...}, "epochs is missing; a whole number of at least 1 is expected"),
    "unknown key": ({"epoch": 3}, "epoch is no key that is known; the nearest names are epochs"),
    "unknown model": ({"model": {"name": "hardnet_68"}}, "model.name: there is no model 'hardnet_68'; the nearest"),
    "no classifier": ({"model": {"name": "fchardnet70"}}, "'fchardnet70', a network for segmentation; known names are"),
    "no block": ({"model": "hardnet68"}, "model is 'hardnet68'; a block of keys and values is expected"),
    "kind": ({"epochs": 2.5}, "epochs is 2.5; a whole number of at least 1 is expected"),
    "truth": ({"sync_bn": "yes"}, "sync_bn is 'yes'; true or false is expected"),
    "not a truth": ({"batch_size": True}, "batch_size is True; a whole number"),
    "null": ({"save_dir": None}, "save_dir is None; a text is expected"),
    "nullable": ({"use_gpu": 1}, "use_gpu is 1; true or false is expected, or null"),
    "range": ({"mixup": -1}, "mixup is -1; a number of at least 0 is expected"),
    "choice": ({"amp": "O3"}, "amp is 'O3'; one of O0, O1, O2 is expected"),
    "type": ({"val_dataset": {"type": "Imagenet"}}, "val_dataset.type is 'Imagenet'; the nearest names are ImageNet"),
    "no type": ({"lr_scheduler": {}}, "lr_scheduler is {}; a block with a type: is expected, one of Constant, "),
    "argument": ({"lr_scheduler": {"type": "Step", "learning_rate": 1}}, "lr_scheduler.milestones is missing; a list"),
    "transforms": ({"train_dataset": {**CIFAR, "transforms": "flip"}}, "transforms is 'flip'; a list of blocks"),
    "transform": ({"train_dataset": {**CIFAR, "transforms": [{"type": "Resize"}]}}, "transforms.0.size is missing"),
    "resize": ({"preprocessing": {"resize": "256"}}, "preprocessing.resize is '256'; the length of the shorter side"),
    "mean": ({"preprocessing": {"mean": [0.5]}}, "mean is [0.5]; a list of 3 numbers is expected"),
    "std": ({"preprocessing": {"std": [1, 1, 0]}}, "std is [1, 1, 0]; a list of 3 numbers of at least 1e-06"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_refused(tmp_path, case):
    changes, words = WRONG[case]
    path = write(tmp_path, **changes)
    with pytest.raises(UserError, match=re.escape(words)) as caught:
        load(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def test_files_that_are_refused(tmp_path):
    for text, words in (
        ("a: [", "is not YAML"),
        ("- 1", "holds no keys"),
        ("_base_: gone.yml", "builds on .*gone.yml, which does not exist"),
        (
            "task: !!python/object/apply:os.system [ls]",
            "line 1: the tag !!python/object/apply:os.system would run Python",
        ),
    ):
        (tmp_path / "bad.yml").write_text(text)
        with pytest.raises(UserError, match=words):
            load(tmp_path / "bad.yml")
    with pytest.raises(UserError, match="no key 'epoch'; the nearest names are epochs"):
        load(write(tmp_path), ["epoch=3"])


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_configurations_are_read(path):
    job = load(path)
    assert job.val_dataset is not None
    assert asdict(job.preprocessing)["mean"]
