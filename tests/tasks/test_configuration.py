"""What configurations of both toolkits share."""

import pytest

from densebone import UserError
from densebone.tasks import configuration


def test_bases_of_both_spellings_are_followed(tmp_path):
    (tmp_path / "c.yml").write_text("three: 3\n")
    (tmp_path / "b.yml").write_text("_BASE_: [c.yml]\ntwo: 2\n")
    for bases in ("b.yml", "[b.yml]", "[b.yml, c.yml]"):
        (tmp_path / "a.yml").write_text(f"_base_: {bases}\none: !!python/name:os.system 1\n")
        assert configuration.top_level_keys(tmp_path / "a.yml") == {"_base_", "one", "_BASE_", "two", "three"}
    assert [file.name for file, _ in configuration.with_bases(tmp_path / "b.yml")] == ["b.yml", "c.yml"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[1, 2", "a.yml is not YAML"),
        ("just text", "a.yml holds no keys"),
        ("", "a.yml holds no keys"),
        ("_base_: gone.yml", "builds on .*gone.yml, which does not exist"),
        ("_base_: a.yml", "which builds on a.yml again"),
        ("_base_: b.yml", "which builds on b.yml again"),
    ],
)
def test_files_that_are_refused(text, words, tmp_path):
    (tmp_path / "a.yml").write_text(text)
    (tmp_path / "b.yml").write_text("_base_: a.yml")
    with pytest.raises(UserError, match=words):
        configuration.with_bases(tmp_path / "a.yml")


def test_keys_that_hold_anchors(tmp_path):
    (tmp_path / "a.yml").write_text("size: &size [1, 2]\nother: 3\ninner: {deep: &deep 1, use: *size}\n")
    assert configuration.anchored_keys(tmp_path / "a.yml") == {"size"}


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("a.b.0.c=5", {"a": {"b": [{"c": 5}, 2]}}),
        ("a.b.1=[x, y]", {"a": {"b": [{"c": 1}, ["x", "y"]]}}),
        ("a.new={k: null}", {"a": {"b": [{"c": 1}, 2], "new": {"k": None}}}),
        ("known=a=b", {"a": {"b": [{"c": 1}, 2]}, "known": "a=b"}),
    ],
)
def test_an_override_is_applied(override, expected):
    content = {"a": {"b": [{"c": 1}, 2]}}
    configuration.apply_override(content, override, {"known"})
    assert content == expected


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("a", "not of the form key=value"),
        ("=1", "not of the form key=value"),
        ("a=[1", "is not YAML"),
        ("knwon=1", "no key 'knwon'; the nearest names are known"),
        ("a.bb.0=1", "there is no 'bb' in a; the nearest names are b"),
        ("a.b.2=1", "'2' is not a position in a list of 2"),
        ("a.b.-1=1", "'-1' is not a position"),
        ("a.b.1.c=1", "a.b.1 is a int, it has no keys"),
    ],
)
def test_an_override_that_leads_nowhere(override, words):
    content = {"a": {"b": [{"c": 1}, 2]}}
    with pytest.raises(UserError, match=words):
        configuration.apply_override(content, override, {"known"})
    assert content == {"a": {"b": [{"c": 1}, 2]}}


def test_plain_values_share_nothing_and_read_1e_3_as_a_number():
    shared = {"rate": "1e-3"}
    content = configuration.plain({"a": shared, "b": [shared, "2E5", "e3", "1.5", (1, 2)]})
    assert content == {"a": {"rate": 0.001}, "b": [{"rate": 0.001}, 2e5, "e3", "1.5", [1, 2]]}
    assert content["a"] is not content["b"][0]


@pytest.mark.parametrize(("gpus", "asked", "expected"), [
    (0, None, False), (0, True, False), (0, False, False), (1, None, True), (1, True, True), (1, False, False),
])  # fmt: skip
def test_the_device(gpus, asked, expected, monkeypatch, capsys):
    import paddle

    monkeypatch.setattr(paddle, "is_compiled_with_cuda", lambda: gpus > 0)
    monkeypatch.setattr(paddle.device.cuda, "device_count", lambda: gpus)
    assert configuration.gpu_to_use(asked) is expected
    assert ("Paddle sees no GPU" in capsys.readouterr().err) == (asked is True and gpus == 0)


def test_flatten_puts_files_over_their_bases_and_text_over_all(tmp_path):
    (tmp_path / "low.yml").write_text("a: 1\nblock: {x: 1, y: [1, 2]}  # a remark\nplugin: !!python/module:os\n")
    (tmp_path / "middle.yml").write_text("_BASE_: [low.yml]\na: 2\nblock: {y: [3]}\n")
    (tmp_path / "other.yml").write_text("b: &anchor {k: v}\nc: *anchor\nblock: {z: ~}\n")
    (tmp_path / "top.yml").write_text("_BASE_: [middle.yml, other.yml]\nb: 5\n")
    text = configuration.flatten([tmp_path / "top.yml"], "block: {x: 9}\nlast: yes\n")
    assert text == (
        "a: 2\nblock: {x: 9, y: [3], z: ~}\nplugin: !!python/module:os ''\nb: 5\nc: &id001 {k: v}\nlast: yes\n"
    ).replace("&id001 ", "")


def test_flatten_of_what_builds_on_itself(tmp_path):
    (tmp_path / "a.yml").write_text("_base_: b.yml\n")
    (tmp_path / "b.yml").write_text("_base_: a.yml\n")
    with pytest.raises(UserError, match="which builds on"):
        configuration.flatten([tmp_path / "a.yml"], "x: 1")


NAMES = ["2007", "007", "a: b", "{x}", "[1]", "no", "1e3", "run #2", "2026-11-29", "a b", "- x", "!!python/name:os"]


@pytest.mark.parametrize("name", NAMES)
def test_names_of_files_and_folders_are_never_yaml(name):
    settings = {"save_dir": "output", "TrainDataset": {"dataset_dir": "x"}, "model": {"pretrained": None}}
    for key in ("save_dir", "TrainDataset.dataset_dir"):
        configuration.apply_override(settings, f"{key}={name}")
    assert settings["save_dir"] == settings["TrainDataset"]["dataset_dir"] == name
    configuration.apply_override(settings, "save_dir=null")
    assert settings["save_dir"] is None
    configuration.apply_override(settings, "save_dir='null'")
    assert settings["save_dir"] == "null"


def test_numbers_with_an_exponent_are_numbers():
    settings = {"LearningRate": {"base_lr": 0.1}, "steps": []}
    configuration.apply_override(settings, "LearningRate.base_lr=1e-3")
    configuration.apply_override(settings, "steps=[1e3, {a: 2E2}]")
    assert settings == {"LearningRate": {"base_lr": 0.001}, "steps": [1000.0, {"a": 200.0}]}


@pytest.mark.parametrize(("text", "value"), [("true", True), ("null", None), ("7.pdparams", "7.pdparams"), ("7", "7")])
def test_pretrained_is_a_name_or_a_flag(text, value):
    settings = {"model": {"pretrained": None}}
    configuration.apply_override(settings, f"model.pretrained={text}")
    assert settings["model"]["pretrained"] == value and type(settings["model"]["pretrained"]) is type(value)


def test_a_number_in_the_place_of_a_name_is_named():
    configuration.check_texts({"train_dataset": {"dataset_root": "007"}, "list": [{"root": None}]}, "a.yml")
    with pytest.raises(UserError, match=r"a\.yml: dataset_root is 7, which is no text; put it in quotes"):
        configuration.check_texts({"train_dataset": {"dataset_root": 7}}, "a.yml")


@pytest.mark.parametrize("name", [*NAMES, "null", '"q"'])
def test_the_folder_of_the_data_is_the_given_text(name):
    for needed in ("ppdet", "paddleseg"):
        pytest.importorskip(needed, reason=f"needs {needed}: pip install densebone[detection,segmentation]")
    from densebone.scripts.options import find_config
    from densebone.tasks.task import task_of

    def load(config):
        path = find_config(config)
        return task_of(path).part("config").load(path, data=name)

    cfg = load("ssd_hardnet68_300_150e_coco").cfg
    assert [cfg[f"{part}Dataset"]["dataset_dir"] for part in ("Train", "Eval", "Test")] == [name] * 3
    dic = load("fchardnet70_cityscapes_1024x1024_90k").dic
    assert dic["train_dataset"]["dataset_root"] == dic["val_dataset"]["dataset_root"] == name
    job = load("hardnet68_150e_imagenet")
    assert job.train_dataset.root == job.val_dataset.root == name
