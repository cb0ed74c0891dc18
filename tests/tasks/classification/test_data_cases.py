"""Pictures in folders and lists as people have them: each variant of a clean set gives the right labels and top-1."""

import shutil

import numpy as np
import paddle
import pytest
import tiny_classification as tiny
import yaml
from PIL import Image

from densebone import UserError
from densebone.tasks.classification import training
from densebone.tasks.classification.data import EvalSamples, check_data, class_names, open_set, report_of
from densebone.tasks.classification.evaluation import evaluate
from densebone.tasks.classification.weights import load_trained
from densebone.training import checkpoints

NAMES = ("ant", "big bee", "cow")
OTHER_ORDER = ["cow", "ant", "big bee"]
CASES = {}


def case(right="same", says=None, name=None, kind="folders"):
    """Registers change(folder); it changes FOLDER/train and FOLDER/val, or the lists beside them."""

    def register(change):
        CASES[name or change.__name__] = (change, right, says, kind)
        return change

    return register


def parts(folder):
    return [folder / "train", folder / "val"]


case(name="clean")(lambda folder: None)


@case()
def folders_of_systems(folder):
    for place in parts(folder):
        for name in ("__MACOSX", ".ipynb_checkpoints", "@eaDir", ".thumbnails", "lost+found"):
            shutil.copytree(place / "ant", place / name)


@case()
def other_files_beside_the_pictures(folder):
    for place in parts(folder):
        for name in ("Thumbs.db", "notes.txt", "._0.png", "labels.csv"):
            (place / "ant" / name).write_text("no picture")
        (place / "readme.md").write_text("a file beside the folders")


@case()
def pictures_in_deeper_folders(folder):
    for place in parts(folder):
        for number, file in enumerate(sorted((place / "cow").iterdir())):
            (place / "cow" / f"herd {number}").mkdir()
            file.rename(place / "cow" / f"herd {number}" / file.name)


@case()
def extensions_in_capitals(folder):
    for file in folder.rglob("*.png"):
        file.rename(file.with_suffix(".PNG"))


@case()
def links_to_class_folders(folder):
    for place in parts(folder):
        shutil.move(place / "ant", folder / f"elsewhere {place.name}")
        (place / "ant").symlink_to(folder / f"elsewhere {place.name}")


@case("rest", says="'wasp', which is no class of the training pictures, left out: 4")
def a_class_renamed_in_val(folder):
    (folder / "val" / "ant").rename(folder / "val" / "wasp")


@case("rest", says="labels that never occur, so the result says nothing of them: 1 (2: cow)")
def a_class_put_before_and_another_removed(folder):
    shutil.copytree(folder / "val" / "ant", folder / "val" / "aaa")
    shutil.rmtree(folder / "val" / "cow")


@case("rest", says="never occur, so the result says nothing of them: 1 (0: ant)")
def a_class_is_absent_from_val(folder):
    shutil.rmtree(folder / "val" / "ant")


@case("rest", says="never occur, so the result says nothing of them: 1 (0: ant)")
def an_empty_class_in_val(folder):
    for file in (folder / "val" / "ant").iterdir():
        file.unlink()


@case(("refused", "has the folder 'x ant', which is no class of the training pictures"))
def every_class_renamed_in_val(folder):
    for name in NAMES:
        (folder / "val" / name).rename(folder / "val" / f"x {name}")


@case(says="folders that are taken for a class by another spelling")
def capitals_and_underscores_in_val(folder):
    for name in NAMES:
        (folder / "val" / name).rename(folder / "val" / name.upper().replace(" ", "_"))


@case()
def an_empty_folder_too_many(folder):
    for place in parts(folder):
        (place / "a new class").mkdir()


@case(("refused", "has 2 classes, and model.num_classes is 3"))
def a_class_too_few(folder):
    for place in parts(folder):
        shutil.rmtree(place / "ant")


@case(("refused", "hold no pictures"))
def no_pictures(folder):
    for file in folder.rglob("*.png"):
        file.unlink()


@case("rest")
def a_picture_that_cannot_be_read(folder):
    file = sorted((folder / "val" / "cow").iterdir())[0]
    file.write_bytes(file.read_bytes()[:60])


def lists(change_line, label=str, first=""):
    """Writes train.txt and val.txt from the folders, a changed line for each picture."""

    def change(folder):
        for place in parts(folder):
            rows = [
                change_line(str(file.relative_to(folder)), label(number))
                for number, name in enumerate(NAMES)
                for file in sorted((place / name).iterdir())
            ]
            (folder / f"{place.name}.txt").write_text(first + "".join(rows), encoding="utf-8", newline="")

    return change


LINES = {
    "list": lambda path, label: f"{path} {label}\n",
    "list_with_tabs": lambda path, label: f"{path}\t{label}\n",
    "list_with_commas": lambda path, label: f"{path}, {label}\n",
    "list_with_semicolons": lambda path, label: f"{path};{label}\n",
    "list_with_quotes": lambda path, label: f'"{path}","{label}"\n',
    "list_with_blank_lines": lambda path, label: f"\n  {path} {label}  \n\n",
    "list_of_windows": lambda path, label: f"{path} {label}\r\n",
}
PLAIN = LINES["list"]
for key, line in LINES.items():
    case(name=key, kind="lists")(lists(line))
case(name="list_with_a_byte_order_mark", kind="lists")(lists(PLAIN, first="\ufeff"))
case(("refused", "from 0 to 2 is expected"), name="labels_from_one", kind="lists")(lists(PLAIN, lambda n: str(n + 1)))
case(("refused", "the label is '1.5'"), name="labels_with_points", kind="lists")(lists(PLAIN, lambda n: f"{n + 1}.5"))
case(("refused", "hen.png"), name="a_listed_picture_is_absent", kind="lists")(lists(PLAIN, first="hen.png 0\n"))


@case("wrong", says="so the result says nothing of them (labels count from 0): 1 (0: ant)", kind="lists")
def labels_from_one_without_the_last(folder):
    lists(lambda path, label: "" if label == "3" else PLAIN(path, label), lambda number: str(number + 1))(folder)


def draw(folder):
    """FOLDER/train and FOLDER/val: noise, and a colour for each class."""
    rng = np.random.default_rng(0)
    for part, each in (("train", 6), ("val", 4)):
        for number, name in enumerate(NAMES):
            place = folder / part / name
            place.mkdir(parents=True)
            for index in range(each):
                picture = rng.integers(0, 40, (40, 40, 3))
                picture[..., number] += 200
                Image.fromarray(picture.astype("uint8")).save(place / f"{index}.png")


def job_of(folder, kind="folders", *overrides, **settings):
    """The job of a configuration that is written beside the data."""
    if kind == "folders":
        sets = [{"type": "Folder", "root": str(folder), "part": part} for part in ("train", "val")]
    else:
        sets = [{"type": "ListFile", "list": str(folder / f"{part}.txt")} for part in ("train", "val")]
    content = {
        **tiny.SETTINGS,
        "epochs": 1,
        "save_dir": str(folder.parent / "output"),
        "train_dataset": {**sets[0], "transforms": tiny.TRANSFORMS},
        "val_dataset": sets[1],
        "preprocessing": {"resize": 36, "crop": 32},
        **settings,
    }
    path = folder.parent / "tiny.yml"
    path.write_text(yaml.safe_dump(content))
    return tiny.job(path, *overrides)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(folder of the clean data, weights of a network that tells the three classes apart)."""
    folder = tmp_path_factory.mktemp("clean") / "data"
    draw(folder)
    run = training.train(job_of(folder), seed=3)
    path, about = checkpoints.last_whole(run)
    weights = path.with_name(f"{path.name}.pdparams")
    separate(job_of(folder), weights, about)
    assert evaluate(job_of(folder), weights)["top1"] == 1
    return folder, weights


def separate(job, weights, about):
    """Fits the last layer of trained weights to the training pictures by least squares. A long training would do it."""
    model = load_trained(job, weights).model
    (*_, last) = (layer for layer in model.sublayers() if isinstance(layer, paddle.nn.Linear))
    found = []
    hook = last.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0].numpy()))
    samples = EvalSamples(open_set(job, "train"), job.preprocessing)
    with paddle.no_grad():
        for _, images, _ in samples.batches(samples.parts(4)):
            model(images)
    hook.remove()
    features = np.concatenate(found).astype(float)
    centre = features.mean(0)
    wanted = np.eye(len(NAMES))[samples.pictures.labels] - 1 / len(NAMES)
    matrix = np.linalg.lstsq(features - centre, wanted, rcond=1e-3)[0]
    last.weight.set_value(matrix.astype("float32"))
    last.bias.set_value((-centre @ matrix).astype("float32"))
    checkpoints.save(weights.parent, weights.stem, {".pdparams": model.state_dict(), ".pdopt": {}}, about)


@pytest.fixture
def copy(trained, tmp_path):
    return shutil.copytree(trained[0], tmp_path / "data")


def in_other_order(pictures):
    return all(OTHER_ORDER[label] in path for path, label in zip(pictures.pictures, pictures.labels))


@pytest.mark.parametrize("name", CASES)
def test_case(name, trained, copy, capsys):
    clean, weights = trained
    change, right, says, kind = CASES[name]
    change(copy)
    if isinstance(right, tuple):
        with pytest.raises(UserError, match=right[1]) as caught:
            for part in ("train", "val"):
                check_data(job_of(copy, kind), part)
        assert "\n" not in str(caught.value)
        return
    job = job_of(copy, kind)
    pictures = open_set(job, "train")
    if right != "wrong":
        assert sorted(pictures.labels.tolist()) == sorted(open_set(job_of(clean), "train").labels.tolist())
        for path, label in zip(pictures.pictures, pictures.labels):
            assert f"/{NAMES[label]}/" in path
        assert class_names(job, pictures) == (list(NAMES) if kind == "folders" else [f"class {i}" for i in range(3)])
    result = evaluate(job_of(copy, kind), weights)
    assert result["top1"] == (0 if right == "wrong" else 1)
    said = capsys.readouterr().err
    assert says is None or says in said, said
    assert {"same": result["images"] == 12, "rest": 4 <= result["images"] < 12, "wrong": result["images"] == 8}[right]


def test_what_is_kept_with_the_weights(trained):
    about = checkpoints.info(trained[1])
    assert about["classes"] == about["folders"] == list(NAMES)


def test_evaluation_does_not_need_the_training_pictures(trained, copy):
    shutil.rmtree(copy / "train")
    shutil.rmtree(copy / "val" / "ant")
    assert evaluate(job_of(copy), trained[1])["top1"] == 1


def test_names_of_the_configuration_are_for_people_and_folders_decide(trained, copy):
    shutil.rmtree(copy / "val" / "ant")
    assert evaluate(job_of(copy, class_names=["x", "y", "z"]), trained[1])["top1"] == 1


def test_resuming_refuses_other_classes(trained, copy, tmp_path):
    shutil.copytree(trained[1].parent, tmp_path / "output" / trained[1].parent.name)
    (copy / "train" / "ant").rename(copy / "train" / "wasp")
    with pytest.raises(UserError, match="has the folder 'wasp', which is no class of the training pictures"):
        training.train(job_of(copy, epochs=2), resume="auto")


def test_resuming_keeps_the_places_of_classes(copy):
    job = job_of(copy)
    job.learn_classes({"classes": OTHER_ORDER, "folders": OTHER_ORDER})
    pictures = open_set(job, "train")
    assert in_other_order(pictures) and class_names(job, pictures) == OTHER_ORDER


def test_a_training_that_starts_from_our_weights_keeps_their_places(trained, copy, tmp_path):
    about, states = checkpoints.info(trained[1]), {".pdparams": paddle.load(str(trained[1]))}
    checkpoints.save(tmp_path, "x", states, {**about, "folders": OTHER_ORDER})
    job = job_of(copy, "folders", f"model.pretrained={tmp_path / 'x.pdparams'}")
    assert in_other_order(open_set(job, "train")) and in_other_order(open_set(job, "val"))


def test_a_class_without_pictures_is_never_learned(copy):
    for file in (copy / "train" / "cow").iterdir():
        file.unlink()
    (line,) = report_of(job_of(copy), "train").lines()
    assert line == "train_dataset: labels that never occur, never learned: 1 (2: cow)"


def test_a_strict_job_stops(trained, copy, densebone, tmp_path):
    (copy / "val" / "ant").rename(copy / "val" / "wasp")
    job_of(copy)
    done = densebone("eval", "-c", tmp_path / "tiny.yml", "-w", trained[1], "--strict")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("densebone: val_dataset: pictures of 'wasp', which is no class")
