"""Reading segmentation configurations, and what is said of wrong ones."""

import numpy as np
import paddle
import pytest

pytest.importorskip("paddleseg", reason="needs PaddleSeg: pip install densebone[segmentation]")

from tiny_segmentation import write_config

from densebone import UserError
from densebone.scripts.options import shipped_configs
from densebone.tasks.segmentation import config
from densebone.tasks.segmentation.weights import load_trained
from densebone.tasks.task import task_of
from densebone.training import checkpoints

SHIPPED = [path for path in shipped_configs().values() if path.parent.name == "segmentation"]


@pytest.fixture
def tiny(tmp_path):
    return write_config(tmp_path / "tiny.yml", "data")


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_configuration_is_read(path):
    assert task_of(path).name == "segmentation"
    job = config.load(path)
    assert job.num_classes == len(job.class_names or range(19)) and job.ignore_index == 255


def test_a_job(tiny):
    job = config.load(tiny, ["save_dir=here", "iters=7", "train_dataset.transforms.1.crop_size=[32, 16]"])
    assert (job.name, str(job.folder), job.num_classes, job.ignore_index) == ("tiny", "here/tiny", 4, 255)
    assert (job.log_iters, job.save_interval, job.num_workers, job.keep_checkpoints) == (10, 1000, 0, 5)
    assert (job.config.iters, job.config.dic["iters"], job.dic["iters"]) == (7, 7, 7)
    assert job.dic["train_dataset"]["transforms"][1]["crop_size"] == [32, 16]
    assert job.dic["optimizer"]["weight_decay"] == 1e-4  # PyYAML reads 1e-4 as text
    assert (job.test_config, job.class_names) == ({}, None)
    assert [type(step).__name__ for step in job.builder.val_transforms] == ["Normalize"]


def test_bases_as_paddleseg_merges_them(tiny):
    leaf = tiny.with_name("leaf.yml")
    leaf.write_text(
        "_base_: tiny.yml\nmodel: {_inherited_: false, type: FCHarDNet, num_classes: 4}\nlr_scheduler: {power: 2}\n"
    )
    job = config.load(leaf)
    assert job.dic["model"] == {"type": "FCHarDNet", "num_classes": 4}
    assert job.dic["lr_scheduler"]["power"] == 2
    assert job.dic["lr_scheduler"]["learning_rate"] == 0.01


@pytest.mark.parametrize("old", ["data", "data/", "./data"])
def test_the_data_folder_moves_and_the_lists_below_it(tiny, old):
    elsewhere = ["val_dataset.val_path=lists/val.txt"]
    job = config.load(tiny, [*elsewhere, f"train_dataset.dataset_root={old}"], data="/new/place")
    train, val = job.dic["train_dataset"], job.dic["val_dataset"]
    assert (train["dataset_root"], train["train_path"]) == ("/new/place", "/new/place/train.txt")
    assert (val["dataset_root"], val["val_path"]) == ("/new/place", "lists/val.txt")


CASES = {
    "top-level key": (["iterations=3"], "no key 'iterations'; the nearest names are iters"),
    "model": (["model.type=FCNN"], "model has the unknown type 'FCNN'; the nearest names are FCN"),
    "model's argument": (["model.backbone_indexes=[0]"], "FCN has no argument 'backbone_indexes'; the nearest names"),
    "argument missing": (["model={type: FCN}"], "tiny.yml: model: FCN needs the argument 'backbone'"),
    "backbone": (["model.backbone.type=HarDNet86"], "model.backbone has the unknown type 'HarDNet86'; the nearest"),
    "a model is no backbone": (["model.backbone.type=FCHarDNet"], "model.backbone has the unknown type 'FCHarDNet'"),
    "backbone's argument": (["model.backbone.pretraind=true"], "HarDNet39DS has no argument 'pretraind'"),
    "no block": (["model.backbone=HarDNet68"], "model.backbone is 'HarDNet68'; a block with a type"),
    "section": (["loss=3"], "loss is 3; a block"),
    "transform": (["val_dataset.transforms.0.type=Normalise"], "transforms.0 has the unknown type 'Normalise'"),
    "transform's argument": (["val_dataset.transforms.0.means=1"], "transforms.0: Normalize has no argument 'means'"),
    "transform without type": (["val_dataset.transforms.0={Resize: 3}"], "transforms.0 is .*; a block with a type"),
    "data set": (["train_dataset.type=CityScape"], "unknown type 'CityScape'; the nearest names are Cityscapes"),
    "loss": (["loss.types.0.type=CrossEntropy"], "loss.types.0 has the unknown type 'CrossEntropy'"),
    "loss's argument": (["loss.types.0.weights=[1]"], "CrossEntropyLoss has no argument 'weights'"),
    "loss of losses": (
        ["loss.types.0={type: MixedLoss, losses: [{type: Dice}], coef: [1]}"],
        "loss.types.0.losses.0 has the unknown type 'Dice'",
    ),
    "optimizer": (["optimizer.type=Adamw"], "unknown type 'Adamw'; the nearest names are AdamW"),
    "optimizer's argument": (["optimizer.learning_rate=1"], "Momentum has no argument 'learning_rate'"),
    "schedule": (["lr_scheduler.type=Polynomial"], "lr_scheduler has the unknown type 'Polynomial'"),
    "schedule's argument": (["lr_scheduler.powr=1"], "PolynomialDecay has no argument 'powr'"),
    "warm-up": (["lr_scheduler.warmup_iters=5"], "lr_scheduler has warmup_iters alone"),
    "test_config": (
        ["test_config={fliphorizontal: true}"],
        "test_config has no key 'fliphorizontal'; the nearest names are flip_h",
    ),
    "scales": (["test_config={aug_eval: true, scales: [0]}"], r"scales are \[0\]; numbers above 0"),
    "window without size": (["test_config={is_slide: true, stride: [8, 8]}"], "is_slide needs crop_size"),
    "window's stride": (
        ["test_config={is_slide: true, crop_size: [32, 16], stride: [32, 17]}"],
        r"stride \[32, 17\] is larger than crop_size \[32, 16\] \[width, height\]",
    ),
    "iters": (["iters=0"], "iters is 0; a whole number of at least 1"),
    "batch_size": (["batch_size=two"], "batch_size is 'two'"),
    "workers": (["num_workers=-1"], "num_workers is -1; a whole number of at least 0"),
    "class names alike": (["class_names=[a, b, a, c]"], "a list of different names"),
    "class names": (["class_names=[a, b]"], r"numbers of classes differ \(.*class_names: 2\)"),
    "model's classes": (["model.num_classes=5"], r"model.num_classes: 5, train_dataset \(Dataset\): 4"),
    "evaluation's classes": (["val_dataset.num_classes=5"], r"val_dataset \(Dataset\): 5"),
    "loss's weights": (
        ["loss.types.0.weight=[1, 2, 3]"],
        r"the weights of loss.types.0 \(CrossEntropyLoss\): 3",
    ),
    "as many losses": (["loss.coef=[1, 1, 1]", "loss.types=[{type: DiceLoss}, {type: DiceLoss}]"], "length of types"),
    "ignore_index": (["train_dataset.ignore_index=0", "loss.types.0.ignore_index=255"], "ignore_index in loss"),
    "min_K": (
        ["loss.types.0={type: BootstrappedCrossEntropyLoss, loss_th: 0.3, min_K: 2048}"],
        "min_K is 2048, and a training sample of 64 x 32 has 2048 pixels; give fewer, such as 128",
    ),
    "no pixels": (["loss.types.0={type: BootstrappedCrossEntropyLoss, loss_th: 0.3, min_K: 0}"], "min_K is 0; a whole"),
    "text for a number": (["optimizer.momentum=high"], "optimizer: Momentum.momentum is 'high'; a number"),
    "text for a rate": (["lr_scheduler.learning_rate=high"], "PolynomialDecay.learning_rate is 'high'; a number"),
    "text for a warm-up": (["lr_scheduler.warmup_iters=a", "lr_scheduler.warmup_start_lr=1"], "warmup_iters is 'a'"),
    "text for a switch": (["model.align_corners=maybe"], "FCN.align_corners is 'maybe'; true or false"),
    "channels": (["train_dataset.img_channels=1"], "train_dataset.img_channels is 1 and val_dataset.img_channels is 3"),
    "no folder": (["save_dir=null"], "save_dir is None; the name of a folder"),
    "coef": (["loss.coef=[a]"], r"loss.coef is \['a'\]; a list of numbers"),
    "coef alone": (["loss.coef=1"], "loss.coef is 1; a list of numbers"),
    "size": (["train_dataset.transforms.1.crop_size=32"], r"RandomPaddingCrop.crop_size is 32; \[width, height\]"),
    "no size": (["train_dataset.transforms.1.crop_size=[0, 32]"], r"crop_size is \[0, 32\]; \[width, height\]"),
    "indices": (["model.backbone_indices=3"], "FCN.backbone_indices is 3; a list of whole numbers"),
    "no test_config": (["test_config=3"], "test_config is 3; a block"),
    "no such place": (["train_dataset.transforms.7.type=Resize"], "'7' is not a position in a list of 3"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_refused(case, tiny):
    overrides, words = CASES[case]
    with pytest.raises(UserError, match=words) as caught:
        config.load(tiny, overrides)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["model", "train_dataset", "loss", "optimizer", "lr_scheduler", "iters"])
def test_a_section_that_is_missing(key, tiny):
    text = tiny.read_text().replace(f"\n{key}:", f"\nother: &other\n{key}_: &it")
    tiny.write_text(text)
    with pytest.raises(UserError, match=f"tiny.yml has no '{key}'"):
        config.load(tiny)


def test_cityscapes_has_19_classes(tiny):
    cityscapes = "{type: Cityscapes, dataset_root: data, transforms: [{type: Normalize}]}"
    overrides = [f"{part}_dataset={cityscapes}" for part in ("train", "val")]
    with pytest.raises(UserError, match=r"model.num_classes: 4, train_dataset \(Cityscapes\): 19"):
        config.load(tiny, overrides)
    assert config.load(tiny, [*overrides, "model.num_classes=19"]).num_classes == 19


def test_the_aliases_of_a_file_are_apart(tiny):
    tiny.write_text(
        "all: &all {type: Normalize, mean: [0.5]}\n" + tiny.read_text().replace("[{type: Normalize}]", "[*all]")
    )
    job = config.load(tiny, ["val_dataset.transforms.0.mean=[0.1]"])
    assert job.dic["val_dataset"]["transforms"][0]["mean"] == [0.1]
    assert job.dic["all"]["mean"] == [0.5]


def test_a_component_speaks_for_itself(tiny):
    with pytest.raises(UserError, match="out_indices") as caught:
        _ = config.load(tiny, ["model.backbone.out_indices=[1, 9]"]).builder.model
    assert "\n" not in str(caught.value) and "Tried to create" not in str(caught.value)


def test_a_model_that_is_to_be_filled_needs_no_pretrained_weights(tiny):
    gone = ["model.backbone.pretrained=gone.pdparams", "model.pretrained=gone.pdparams"]
    assert config.load(tiny, gone).dic["model"]["backbone"]["pretrained"] == "gone.pdparams"
    model = config.load(tiny, gone, pretrained=False).dic["model"]
    assert (model["pretrained"], model["backbone"]) == (None, {"type": "HarDNet39DS", "pretrained": None})


def test_a_transform_that_refuses_its_value(tiny, tmp_path):
    (tmp_path / "train.txt").write_text("a b\n")
    job = config.load(tiny, ["train_dataset.transforms.2.std=[0, 1, 1]"], data=tmp_path)
    with pytest.raises(UserError, match=r"Normalize: .*std is invalid"):
        _ = job.builder.train_dataset


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["model.backbone_indices=[9]"], r"FCN: backbone_indices are \[9\], and HarDNet39DS returns 4 maps, 0 to 3"),
        (
            ["model={type: PPLiteSeg, num_classes: 4, backbone: {type: HarDNet39DS}}"],
            r"PPLiteSeg: backbone_indices are \[2, 3, 4\], and HarDNet39DS returns 4 maps",
        ),
        (
            [
                "model={type: SegFormer, num_classes: 4, embedding_dim: 8}",
                "model.backbone={type: HarDNet39DS, out_indices: [2]}",
            ],
            "SegFormer: not enough values",
        ),
    ],
    ids=["a map that is not there", "the head's default", "too few maps"],
)
def test_a_head_that_does_not_fit_its_backbone(tiny, overrides, words):
    with pytest.raises(UserError, match=words):
        _ = config.load(tiny, overrides).builder.model


def test_a_schedule_that_refuses_its_value(tiny):
    job = config.load(tiny, ["lr_scheduler={type: StepDecay, learning_rate: 0.1, step_size: 0}"])
    with pytest.raises(UserError, match="lr_scheduler: "):
        _ = job.builder.lr_scheduler


class Head(paddle.nn.Layer):
    """A model whose last layers have one map for each class."""

    def __init__(self, classes, width=3):
        super().__init__()
        self.body = paddle.nn.Conv2D(3, width, 1)
        self.norm = paddle.nn.BatchNorm2D(width)
        self.head = paddle.nn.Conv2D(width, classes, 1)


def test_weights_of_the_folder_are_loaded(tiny, tmp_path):
    job = config.load(tiny, [f"save_dir={tmp_path / 'out'}"])
    with pytest.raises(UserError, match=r"there is no trained segmentation model in .*tiny; train one"):
        load_trained(job, model=Head(4))
    trained, model = Head(4), Head(4)
    checkpoints.save(job.folder, "1000", {".pdparams": trained.state_dict()}, {"epoch": 1, "iteration": 1000})
    assert load_trained(job, model=model).path == job.folder / "1000.pdparams"
    np.testing.assert_array_equal(model.head.weight.numpy(), trained.head.weight.numpy())
    (job.folder / "1000.json").write_text("{}")
    with pytest.raises(UserError, match=r"1000.pdparams is half written"):
        load_trained(job, job.folder / "1000", model)


def test_weights_of_other_classes_and_of_another_model(tiny, tmp_path):
    job = config.load(tiny)
    paddle.save(Head(19).state_dict(), str(tmp_path / "city.pdparams"))
    with pytest.raises(UserError) as caught:
        load_trained(job, tmp_path / "city.pdparams", Head(4))
    assert "city.pdparams was trained with 19 classes" in str(caught.value)
    assert "num_classes 4 (key head.weight)" in str(caught.value)
    with pytest.raises(UserError, match=r"weights do not fit: .*city.pdparams"):
        load_trained(job, tmp_path / "city.pdparams", Head(4, width=5))


def test_a_model_of_ours_does_not_keep_a_random_last_layer(tiny, tmp_path):
    def model_of(classes):
        overrides = [f"model={{type: FCHarDNet, num_classes: {classes}}}"]
        overrides += [f"{part}_dataset.num_classes={classes}" for part in ("train", "val")]
        job = config.load(tiny, overrides)
        return job, job.builder.model

    paddle.save(model_of(19)[1].state_dict(), str(tmp_path / "city.pdparams"))
    job, model = model_of(4)
    with pytest.raises(UserError, match="was trained with 19 classes, and this configuration has num_classes 4"):
        load_trained(job, tmp_path / "city.pdparams", model)
    backbone = {k: v for k, v in model.state_dict().items() if k.startswith("backbone.")}
    paddle.save(backbone, str(tmp_path / "encoder.pdparams"))
    with pytest.raises(UserError, match=r"encoder.pdparams: the layout of these weights is not recognised"):
        load_trained(job, tmp_path / "encoder.pdparams", model)
