"""Label pictures and lists as people have them: each variant of a clean set gives the right labels and mIoU."""

import numpy as np
import paddle
import pytest
from PIL import Image

pytest.importorskip("paddleseg", reason="needs PaddleSeg: pip install densebone[segmentation]")

import tiny_training

from densebone import UserError
from densebone.tasks.segmentation import training
from densebone.tasks.segmentation.data import check_data, class_names, open_dataset
from densebone.tasks.segmentation.evaluation import evaluate, score
from densebone.training import checkpoints

CASES = {}


def case(right="same", says=None, name=None, overrides=()):
    """Registers change(folder), which changes the label pictures, the pictures or list.txt."""

    def register(change):
        CASES[name or change.__name__] = (change, right, says, list(overrides))
        return change

    return register


def relabel(convert, which=slice(None), **options):
    """Changes label pictures: convert(values) -> an array or a Pillow picture."""

    def change(folder):
        for file in sorted(folder.glob("*_label.png"))[which]:
            converted = convert(np.array(Image.open(file)))
            picture = converted if isinstance(converted, Image.Image) else Image.fromarray(converted)
            picture.save(file, **options)

    return change


def with_palette(values):
    picture = Image.fromarray(values, "P")
    picture.putpalette([0, 0, 0, 200, 10, 10, 10, 200, 10, *[9] * 759])
    return picture


def rgb(values):
    return np.repeat(values[..., None], 3, 2)


case(name="clean")(lambda folder: None)
case(name="palette")(relabel(with_palette))
case(name="16_bit")(relabel(lambda values: values.astype(np.uint16)))
case(name="32_bit")(relabel(lambda values: values.astype(np.int32), format="TIFF"))
case(name="three_equal_channels")(relabel(rgb))
case(name="equal_channels_and_opaque")(relabel(lambda values: np.dstack([rgb(values), np.full_like(values, 255)])))
case(name="gray_and_opaque")(relabel(lambda values: Image.fromarray(values).convert("LA")))
case(name="interlaced_and_compressed")(relabel(lambda values: values, compress_level=9))
case(("refused", r"0_label.png is in colour \(RGB\); labels are 8-bit gray PNG"), name="coloured")(
    relabel(lambda values: np.dstack([values, values * 0, values]))
)
case(("refused", r"_label.png is in colour \(RGBA\)"), name="transparent")(
    relabel(lambda values: np.dstack([rgb(values), values]))
)
case(
    ("refused", "2_label.png has the value 7 in 2048 pixels; allowed are the classes 0 to 2, and 255"), name="outside"
)(relabel(lambda values: values * 0 + 7, slice(2, 3)))
case(("refused", "0_label.png is 16-bit or 32-bit and has the value 100"), name="16_bit_and_outside")(
    relabel(lambda values: values.astype(np.uint16) + 1000)
)
case(("refused", "64 x 32 pixels, as it is shown, and its label .*0_label.png 32 x 16"), name="another_size")(
    relabel(lambda values: values[::2, ::2])
)
case(("refused", "is a JPEG; labels must be stored without loss"), name="jpeg")(
    relabel(lambda values: values, format="JPEG")
)
case("rest", says="labels in which no pixel counts: 1 (2_label.png)", name="one_label_all_ignored")(
    relabel(lambda values: values * 0 + 255, slice(2, 3))
)
case(("refused", "every pixel of the labels is 255"), name="all_ignored")(relabel(lambda values: values * 0 + 255))
case("rest", says="classes without a pixel, left out of the mean: 1 (class 2)", name="an_absent_class")(
    relabel(lambda values: np.where(values == 2, 255, values).astype(np.uint8))
)
ZERO = ["train_dataset.ignore_index=0", "val_dataset.ignore_index=0", "loss.types.0.ignore_index=0"]
case("rest", name="zero_is_ignored", overrides=ZERO)(lambda folder: None)
case("rest", name="a_value_beside_255_is_ignored", overrides=[o.replace("=0", "=9") for o in ZERO])(
    relabel(lambda values: np.where(values == 2, 9, values).astype(np.uint8))
)


def relist(change_line, first=""):
    """Changes the lines of list.txt: (picture, label) -> line."""

    def change(folder):
        rows = [change_line(*line.split()) for line in (folder / "list.txt").read_text().splitlines()]
        (folder / "list.txt").write_text(first + "".join(rows), encoding="utf-8", newline="")

    return change


LINES = {
    "list_with_tabs": lambda picture, label: f"{picture}\t{label}\n",
    "list_with_commas": lambda picture, label: f"{picture}, {label}\n",
    "list_with_semicolons": lambda picture, label: f"{picture};{label}\n",
    "list_with_quotes": lambda picture, label: f'"{picture}" "{label}"\n',
    "list_with_blank_lines": lambda picture, label: f"\n {picture}   {label} \n\n",
    "list_of_windows": lambda picture, label: f"{picture} {label}\r\n",
}
PLAIN = "{} {}\n".format
for key, line in LINES.items():
    case(name=key)(relist(line))
case(name="list_with_a_byte_order_mark")(relist(PLAIN, first="\ufeff"))
case(("refused", "line 1 of .*list.txt is 'hen.png'"), name="one_name_in_a_line")(relist(PLAIN, first="hen.png\n"))
case(("refused", "hen.png, in line 1 of .*list.txt, does not exist"), name="a_listed_picture_is_absent")(
    relist(PLAIN, first="hen.png hen_label.png\n")
)


@case()
def names_with_spaces(folder):
    for file in folder.glob("*.png"):
        file.rename(folder / f"my {file.name}")
    relist(lambda picture, label: f"my {picture} my {label}\n")(folder)


@case(("refused", "64 x 32 pixels|as it is shown"))
def pictures_that_exif_turns(folder):
    for file in sorted(folder.glob("?.png")):
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.open(file).save(file, "JPEG", exif=exif, quality=100)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(folder of the clean set, weights)."""
    folder = tmp_path_factory.mktemp("clean")
    run = training.train(tiny_training.job(tiny_training.write(folder)), seed=1)
    path, _ = checkpoints.last_whole(run)
    return folder, path.with_name(f"{path.name}.pdparams")


def labels_of(job, part):
    dataset = open_dataset(job, part)
    return [dataset[index]["label"].squeeze() for index in range(len(dataset))]


def score_by_hand(model, job):
    """mIoU over the classes with truth, from predictions and labels, in numpy."""
    dataset = open_dataset(job, "val")
    common, union, truth = np.zeros(3), np.zeros(3), np.zeros(3)
    model.eval()
    for index in range(len(dataset)):
        data = dataset[index]
        with paddle.no_grad():
            found = model(paddle.to_tensor(data["img"][None]))[0].numpy().argmax(1)[0]
        label = data["label"].squeeze()
        counts = label != job.ignore_index
        for cls in range(3):
            here, there = (found == cls) & counts, (label == cls) & counts
            common[cls] += (here & there).sum()
            union[cls] += (here | there).sum()
            truth[cls] += there.sum()
    return (common / np.maximum(union, 1))[truth > 0].mean()


@pytest.mark.parametrize("name", CASES)
def test_case(name, trained, tmp_path):
    clean, weights = trained
    change, right, says, overrides = CASES[name]
    folder = tmp_path / "set"
    folder.mkdir()
    path = tiny_training.write(folder)
    change(folder)
    job = tiny_training.job(path, *overrides)
    if isinstance(right, tuple):
        with pytest.raises(UserError, match=right[1]) as caught:
            check_data(job, "train")
        assert "\n" not in str(caught.value)
        return
    lines = [line for part in ("train", "val") for line in check_data(job, part).lines()]
    assert says is None or any(says in line for line in lines), lines
    result = evaluate(job, weights)
    model = job.builder.model
    miou = score_by_hand(model, job)
    assert result["mIoU"] == pytest.approx(miou, abs=1e-6)
    if right == "same":
        assert lines == []
        assert result["mIoU"] == evaluate(tiny_training.job(clean / "tiny.yml"), weights)["mIoU"]
        for ours, theirs in zip(labels_of(job, "val"), labels_of(tiny_training.job(clean / "tiny.yml"), "val")):
            np.testing.assert_array_equal(ours, theirs)
    # training reads the same labels: one step, with a loss that is a number
    run = training.train(tiny_training.job(path, *overrides, "iters=1", f"save_dir={tmp_path / 'runs'}"), seed=2)
    assert checkpoints.last_whole(run)[1]["iteration"] == 1


def test_binary_masks_of_one_bit(tmp_path):
    path = tiny_training.write(tmp_path)
    relabel(lambda values: Image.fromarray(np.where(values > 0, 255, 0).astype(np.uint8)).convert("1"))(tmp_path)
    job = tiny_training.job(path)
    assert {int(v) for label in labels_of(job, "val") for v in np.unique(label)} == {0, 1}


def test_labels_equal_those_of_the_toolkits_own_reader(trained):
    job = tiny_training.job(trained[0] / "tiny.yml")
    ours, theirs = open_dataset(job, "val"), job.builder.val_dataset
    assert len(ours) == len(theirs) == tiny_training.PICTURES
    for index in range(len(ours)):
        for key in ("img", "label"):
            np.testing.assert_array_equal(ours[index][key], theirs[index][key])
        assert ours[index]["trans_info"] == theirs[index]["trans_info"]


def test_class_names_are_kept_and_matched_by_name(trained, tmp_path):
    """Labels of a set whose classes are the same in another order are renumbered to what the network knows."""
    names, other = ["road", "car", "sky"], ["sky", "road", "car"]
    path = tiny_training.write(tmp_path)
    run = training.train(tiny_training.job(path, f"class_names=[{','.join(names)}]"), seed=1)
    weights = checkpoints.last_whole(run)[0]
    assert checkpoints.info(weights)["classes"] == names
    file = weights.with_name(f"{weights.name}.pdparams")
    right = evaluate(tiny_training.job(path, f"class_names=[{','.join(names)}]"), file)
    relabel(lambda values: np.array([other.index(name) for name in names], np.uint8)[values])(tmp_path)
    job = tiny_training.job(path, f"class_names=[{','.join(other)}]")
    result = evaluate(job, file)
    assert result["classes"] == right["classes"] and result["mIoU"] == right["mIoU"]
    assert class_names(job) == names


def test_other_class_names_are_said(trained, capsys):
    result = evaluate(tiny_training.job(trained[0] / "tiny.yml", "class_names=[x, y, z]"), trained[1])
    assert [row["name"] for row in result["classes"]] == ["x", "y", "z"]
    said = capsys.readouterr().err
    assert "was trained on the classes class 0, class 1, class 2, and" in said and "names x, y, z; the numbers" in said


def test_score_counts_every_label_once(trained):
    job = tiny_training.job(trained[0] / "tiny.yml")
    result = score(job.builder.model, job)
    total = sum(row["pixels"] for row in result["classes"])
    assert total == tiny_training.PICTURES * 64 * 32
