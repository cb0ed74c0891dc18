"""Names of networks, packages that are missing, and published accuracies."""

import importlib.util

import pytest

from densebone.comparison import published, subjects
from densebone.comparison.subjects import SOURCES, parse, parse_all
from densebone.errors import UserError
from densebone.profiling.costs import published_top1


def test_names(tmp_path):
    ours, theirs = parse("hardnet68"), parse("ppdet:CSPResNet,width_mult=0.5,depth_mult=0.33,act=relu")
    assert (ours.name, ours.source, ours.network, ours.options) == ("hardnet68", "densebone", "hardnet68", {})
    assert (theirs.source, theirs.network) == ("ppdet", "CSPResNet")
    assert theirs.options == {"width_mult": 0.5, "depth_mult": 0.33, "act": "relu"}
    assert theirs.name == "ppdet:CSPResNet,act=relu,depth_mult=0.33,width_mult=0.5"
    assert [parse(f"{name}:a").is_torch for name in SOURCES] == [True, True, False, False, False, False]
    (tmp_path / "a,b=c.onnx").write_bytes(b"")
    assert parse(f"onnx:{tmp_path}/a,b=c.onnx").network == f"{tmp_path}/a,b=c.onnx"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], r"give networks to compare: models of ours \(densebone list\), or torchvision:resnet18"),
        (["hardnet67"], "there is no model 'hardnet67'; the nearest names are"),
        (["tensorflow:resnet18"], "there is no library 'tensorflow' to compare with; .*torchvision:, timm:"),
        (["onnx:nowhere.onnx"], "there is no file 'nowhere.onnx'"),
        (["timm:"], "'' is no name of a network; give timm:NAME, such as timm:mobilenetv3_large_100"),
        (["timm:hf-hub/a"], "is no name of a network"),
        (["timm:lcnet_100,drop"], "'drop' is no KEY=VALUE"),
        (["timm:lcnet_100,pretrained=True"], "leave pretrained out"),
        (["hardnet68", "peleenet", "hardnet68"], "hardnet68 is given twice"),
    ],
)
def test_names_that_are_none(names, message):
    with pytest.raises(UserError, match=message):
        parse_all(names)


@pytest.mark.parametrize(
    ("name", "missing", "message"),
    [
        ("torchvision:resnet18", "torchvision", r"torchvision is not installed; pip install 'densebone\[compare\]'"),
        ("timm:lcnet_100", "timm", r"timm is not installed; pip install 'densebone\[compare\]'"),
        (
            "paddleclas:PPLCNet_x1_0",
            "paddleclas",
            "paddleclas is not installed; pip install --no-deps paddleclas==2.6.0",
        ),
        ("ppdet:CSPResNet", "ppdet", r"ppdet is not installed; pip install 'densebone\[detection\]'"),
        ("paddleseg:STDC1", "paddleseg", r"paddleseg is not installed; pip install 'densebone\[segmentation\]'"),
        ("hardnet68", "paddle2onnx", r"paddle2onnx is not installed; pip install 'densebone\[onnx\]'"),
    ],
)
def test_a_missing_package_is_named_with_its_command(monkeypatch, name, missing, message):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: None if package == missing else find("json"))
    with pytest.raises(UserError, match=f"^{name}: {message}"):
        subjects.check_installed(parse(name))


def test_published_accuracies():
    assert published.of_ours("hardnet68").value == published_top1("hardnet68")[0]
    assert "hardnet68" in published.of_ours("hardnet68").source
    assert published.of_ours("hardnet70") is None
    street = published.of_ours("fchardnet70")
    assert (street.value, street.metric, street.size) == (77.7, "Cityscapes mIoU", (1024, 2048))
    assert published.of_others("timm:nothing") is None


def test_every_published_accuracy_has_a_source_and_a_name_that_is_read():
    table = published._table()
    assert len(table) > 60
    for name, accuracy in table.items():
        assert accuracy.source.startswith("https://"), name
        assert 50 < accuracy.value < 90, name
        assert parse(name).name == name  # the options are sorted, so it is found
