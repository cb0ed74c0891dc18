"""Every published kind of file, in its real container, loads and reproduces the official network's logits."""

import functools
import json
import pickle
import zipfile

import numpy as np
import paddle
import pytest
import recipe
import torch_files
from safetensors.numpy import save_file

import densebone as db
from densebone.weights.array_conversion import from_pytorch
from densebone.weights.layouts import recognise

HARDNETS = ("hardnet39ds", "hardnet68ds", "hardnet68", "hardnet85")
CONDENSED = tuple(f"condensenetv2_{v}" for v in "abc")
# the published classifiers; tests/necks covers other networks and their encoders
CLASSIFIERS = (*HARDNETS, "peleenet", *CONDENSED)
REFERENCE = {name: f"cdnv2_{name[-1]}_converted" for name in CONDENSED}


@functools.lru_cache(maxsize=1)
def drawn(reference):
    return recipe.weights(reference)


def official(model):
    return dict(drawn(REFERENCE.get(model, model)))


def paddle_names(model):
    """Weights as PaddleClas, ppim and flytocc publish them: the authors' keys, Paddle's names and axes."""
    return from_pytorch(official(model))


def pickled(path, content, protocol):
    path.write_bytes(pickle.dumps(content, protocol))
    return path


# One function per kind of file: (model, folder) -> path.


def authors_hardnet(model, folder):
    return torch_files.save_zip(folder / f"{model}.pth", torch_files.state_dict(official(model)))


def authors_peleenet(model, folder):
    content = {"epoch": 120, "state_dict": torch_files.state_dict(official(model), "module."), "best_prec1": 72.08}
    return torch_files.save_legacy(folder / "peleenet.pth.tar", content)


def authors_condensed(model, folder):
    content = {"epoch": 350, "state_dict": torch_files.state_dict(official(model), "module.")}
    return torch_files.save_zip(folder / "converted.pth", content)


def authors_learned(model, folder):
    average = torch_files.state_dict(drawn(f"cdnv2_{model[-1]}"), "module.")
    last = torch_files.state_dict({key: value * 0 for key, value in drawn(f"cdnv2_{model[-1]}").items()})
    return torch_files.save_zip(folder / "model_best.pth.tar", {"state_dict": last, "state_dict_ema": average})


def paddleclas(model, folder):
    table = {key: f"conv2d_{i}.w_0" for i, key in enumerate(paddle_names(model))}
    content = {**paddle_names(model), "StructuredToParameterName@@": table}
    return pickled(folder / f"{model}_pretrained.pdparams", content, 2)


def ppim(model, folder):
    state = {key: paddle.to_tensor(np.ascontiguousarray(value)) for key, value in paddle_names(model).items()}
    paddle.save(state, str(folder / f"{model}.pdparams"))
    return folder / f"{model}.pdparams"


def flytocc(model, folder):
    weights = paddle_names(model)
    other = {key: value * 0 for key, value in weights.items()}
    return pickled(
        folder / "best.pd", {"model": other, "model_ema": weights, "epoch": 119, "optimizer": {"lr": 0.1}}, 4
    )


def key_map(model):
    return json.loads((recipe.DATA / "layouts" / f"pytorchcv_{model}.json").read_text())["key_map"]


def pytorchcv_arrays(model):
    arrays = {theirs: official(model)[ours] for theirs, ours in key_map(model).items()}
    stem = "features.init_block.last_conv.conv.weight"
    if stem in arrays:  # pytorchcv concatenates the stem's branches in the other order
        arrays[stem] = np.concatenate(np.split(arrays[stem], 2, axis=1)[::-1], axis=1)
    return arrays


def pytorchcv(model, folder):
    return torch_files.save_zip(folder / f"{model}.pth", torch_files.state_dict(pytorchcv_arrays(model)))


def pytorchcv_zipped(model, folder):
    inner = torch_files.save_legacy(folder / f"{model}.pth", torch_files.state_dict(pytorchcv_arrays(model)))
    with zipfile.ZipFile(folder / f"{model}.pth.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(inner, inner.name)
    return folder / f"{model}.pth.zip"


def ours(model, folder):
    state = {key: np.ascontiguousarray(value) for key, value in recognise(official(model)).arrays.items()}
    save_file(state, folder / f"{model}.safetensors")
    return folder / f"{model}.safetensors"


def halved(model, folder):
    state = {
        key: v.astype("float16") if v.dtype.kind == "f" else v for key, v in recognise(official(model)).arrays.items()
    }
    np.savez(folder / f"{model}.npz", **state)
    return folder / f"{model}.npz"


KINDS = [
    *((authors_hardnet, model) for model in HARDNETS),
    (authors_peleenet, "peleenet"),
    *((authors_condensed, model) for model in CONDENSED),
    *((authors_learned, model) for model in CONDENSED),
    *((paddleclas, model) for model in (*HARDNETS, "peleenet")),
    *((ppim, model) for model in (*HARDNETS, *CONDENSED)),
    (flytocc, "peleenet"),
    *((pytorchcv, model) for model in (*HARDNETS, "peleenet")),
    (pytorchcv_zipped, "hardnet39ds"),
    *((ours, model) for model in CLASSIFIERS),
]


SMALL = ("hardnet39ds", "peleenet", "condensenetv2_a")
# The other files have tens of megabytes each and differ only in size. They take minutes: run with -m acceptance.
KINDS = [
    pytest.param(*row, marks=[] if row[1] in SMALL else pytest.mark.acceptance, id=f"{row[0].__name__}-{row[1]}")
    for row in sorted(KINDS, key=lambda row: row[1])
]
MODELS = [pytest.param(m, marks=[] if m in SMALL else pytest.mark.acceptance) for m in CLASSIFIERS]


def needs(kind, model):
    """The options that a file needs to be loaded. They make the network differ from the official one."""
    return {"block_activation": "relu"} if kind is pytorchcv and model in ("hardnet68", "hardnet85") else {}


@pytest.mark.parametrize("kind, model", KINDS)
def test_a_file_of_this_kind_gives_the_official_logits(kind, model, tmp_path):
    reference = REFERENCE.get(model, model).removesuffix("_converted" if kind is authors_learned else "\0")
    form = {"form": "learned"} if kind is authors_learned else {}
    about, arrays = recipe.outputs(reference, "224x224")
    path = kind(model, tmp_path)
    net = db.create_model(model, pretrained=path, **form, **needs(kind, model))
    if needs(kind, model):  # put the same tensors into the official network
        state, net = net.state_dict(), db.create_model(model)
        net.set_state_dict(state)
    net.eval()
    with paddle.no_grad():
        logits = net(paddle.to_tensor(recipe.image(about["input_shape"]))).numpy()
    difference = np.abs(logits - arrays["logits"]).max() / about["output"]["std"]
    print(f"{kind.__name__} | {model} | {difference:.1e}")
    assert difference <= recipe.TOLERANCE


def test_half_precision_is_read(tmp_path):
    about, arrays = recipe.outputs("hardnet39ds", "224x224")
    net = db.create_model("hardnet39ds", pretrained=halved("hardnet39ds", tmp_path))
    net.eval()
    assert {str(p.dtype).split(".")[-1] for p in net.parameters()} == {"float32"}
    with paddle.no_grad():
        logits = net(paddle.to_tensor(recipe.image(about["input_shape"]))).numpy()
    assert np.abs(logits - arrays["logits"]).max() <= 0.05 * about["output"]["std"]


@pytest.mark.parametrize("model", MODELS)
def test_converting_there_and_back_keeps_every_bit(model, tmp_path):
    from densebone.scripts import main
    from densebone.weights.reader import read_arrays

    start = source = ours(model, tmp_path)
    for name, layout in (
        ("a.pdparams", "paddleclas"),
        ("b.safetensors", "pytorch"),
        ("c.safetensors", "ours"),
        ("d.pdparams", "ours"),
    ):
        target = tmp_path / name
        assert main(["weights", "convert", str(source), str(target), "--layout", layout]) == 0
        source = target
    first, last = read_arrays(start), read_arrays(source)
    assert set(first) == set(last)
    for key, value in first.items():
        assert value.dtype == last[key].dtype and np.array_equal(value, last[key]), key
    theirs = read_arrays(tmp_path / "b.safetensors")
    expected = official(model)
    assert set(theirs) == set(expected)
    for key, value in expected.items():
        assert np.array_equal(theirs[key], value) and theirs[key].dtype == value.dtype, key


def test_what_another_file_could_not_say_is_not_converted(tmp_path, capsys):
    from densebone.scripts import main

    path = pytorchcv("hardnet68", tmp_path)
    assert main(["weights", "convert", str(path), str(tmp_path / "out.safetensors")]) == 2
    assert "whose network needs block_activation='relu'" in capsys.readouterr().err
    assert not (tmp_path / "out.safetensors").exists()
