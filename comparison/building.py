"""Builds one network, runs it once and writes it as ONNX, in a process of its own.

PyTorch and Paddle disturb each other in one process.

`exporting` starts the process, with what to do as JSON, and reads the answer that it leaves in the folder.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from .subjects import OURS, Subject, unknown

#: in the folder: the graph layer by layer, the outputs for the random pictures, and what else is known
RAW, EXPECTED, ANSWER = "raw.onnx", "expected.npz", "answer.json"
_OPSET = 17


def main(order: str) -> None:
    """Builds and writes the network of an order, JSON as `exporting.export` gives it; writes the answer last."""
    given = json.loads(order)
    folder, subject = Path(given["folder"]), Subject(**given["subject"])
    images = random_pictures(given["shape"])
    answer: dict[str, Any] = {}
    try:
        write = _write_torch if subject.is_torch else _write_paddle
        answer = write(subject, folder, images, given["engines"])
    except UserError as error:
        answer = {"error": str(error)}
    (folder / ANSWER).write_text(json.dumps(answer))


def random_pictures(shape: list[int]) -> np.ndarray:
    """Normally distributed numbers, float32, always the same."""
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def _write_torch(subject, folder, images, engines):
    import torch

    torch.manual_seed(0)
    build: Callable[[Subject], tuple[Any, dict]] = {"torchvision": _torchvision, "timm": _timm}[subject.source]
    network, answer = build(subject)
    network.eval()
    pictures = torch.from_numpy(images)
    with torch.no_grad():
        for parameter in network.parameters():  # PyTorch writes equal tensors once, and new norms are all equal
            parameter.add_(0.01 * torch.randn_like(parameter))
        outputs = network(pictures)
        named = isinstance(outputs, dict)
        outputs = list(outputs.values()) if named else outputs if isinstance(outputs, (list, tuple)) else [outputs]
        _keep(folder, [output.numpy() for output in outputs])
        # PRESERVE keeps batch norms apart from the convolutions, so that their parameters are seen
        torch.onnx.export(
            network, (pictures,), str(folder / RAW), dynamo=False, opset_version=_OPSET, do_constant_folding=False,
            training=torch.onnx.TrainingMode.PRESERVE, input_names=["x"],
        )  # fmt: skip
    return answer


def _torchvision(subject):
    """(a network of torchvision, what the package says of its accuracy)."""
    from importlib.metadata import version

    from torchvision import models

    known = models.list_models(module=models)
    segmenters = models.list_models(module=models.segmentation)
    if subject.network in segmenters:
        return models.get_model(subject.network, weights=None, weights_backbone=None, **subject.options), {}
    if subject.network not in known:
        raise unknown(subject, [*known, *segmenters])
    weights = models.get_model_weights(subject.network).DEFAULT
    top1 = weights.meta.get("_metrics", {}).get("ImageNet-1K", {}).get("acc@1")
    about = {"value": top1, "metric": "top-1", "source": f"torchvision {version('torchvision')}, {weights}"}
    crop = getattr(weights.transforms(), "crop_size", [224])[0]
    known_accuracy = {"accuracy": {**about, "size": [crop, crop]}} if top1 else {}
    return models.get_model(subject.network, weights=None, **subject.options), known_accuracy


def _timm(subject):
    """(a network of timm, the name of its default weights)."""
    import timm

    name = subject.network.partition(".")[0]
    if not timm.is_model(name):
        raise unknown(subject, timm.list_models())
    network = timm.create_model(name, pretrained=False, exportable=True, **subject.options)
    tag = subject.network.partition(".")[2] or getattr(timm.get_pretrained_cfg(name), "tag", "")
    return timm.utils.reparameterize_model(network), {"weights": f"timm:{name}.{tag}"}


def _write_paddle(subject, folder, images, engines):
    import paddle

    from ..engines.conversion import to_onnx, to_raw_onnx
    from ..engines.program import save_program

    paddle.seed(0)
    network = _ours(subject) if subject.source == OURS else _PADDLE[subject.source](subject)
    network.eval()
    with paddle.no_grad():
        outputs = network(paddle.to_tensor(images))
        _keep(folder, [one.numpy() for one in (outputs if isinstance(outputs, (list, tuple)) else [outputs])])
    for engine in engines if subject.source == OURS else ():
        if (fast := _in_form_of(network, engine)) is not None:
            _save(save_program, fast, folder, images)
            to_onnx(folder, folder / f"{engine}.onnx", *_sizes(images))
    _save(save_program, _spelled_out(network), folder, images)
    to_raw_onnx(folder, folder / RAW)
    return {}


def _save(save_program, network, folder, images):
    save_program(network, folder, list(images.shape))


def _sizes(images):
    return images.shape[0], images.shape[2:]


def _keep(folder, outputs):
    np.savez(folder / EXPECTED, *outputs)


def _ours(subject):
    from ..registry import create_model

    return create_model(subject.network, **subject.options)


def _folding(network):
    """The networks of ours in a layer that have faster forms for engines."""
    from ..backbones.base import Network

    return [one for one in network.sublayers(include_self=True) if isinstance(one, Network) and one.has_forms]


def _in_form_of(network, engine):
    """A copy of one of our networks in the form that is fastest on an engine; None when it has one form alone."""
    from ..engines.conversion import prepared

    return prepared(network, engine) if _folding(network) else None


def _spelled_out(network):
    """The network with the layers that were published, in a form that ONNX can express."""
    from ..engines.conversion import prepared

    if not _folding(network):
        return network
    copy = prepared(network, "eager")
    for one in _folding(copy):
        one.spell_out()
    return copy


def _paddle_vision(subject):
    from paddle.vision import models

    return _function_of(models, subject)


def _paddleclas(subject):
    import paddleclas.ppcls.arch.backbone as backbones

    network = _function_of(backbones, subject)
    for layer in network.sublayers(include_self=True):  # branches that are one convolution once training is over
        if hasattr(layer, "re_parameterize"):
            layer.re_parameterize()
    return network


def _function_of(module, subject):
    """Calls the function or class of a module that a subject names."""
    known = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
    if subject.network not in known:
        raise unknown(subject, known)
    return getattr(module, subject.network)(**subject.options)


def _ppdet(subject):
    """A backbone of PaddleDetection, whose input is a dict."""
    import paddle
    from ppdet.modeling import backbones

    class OnImages(paddle.nn.Layer):
        def __init__(self, backbone):
            super().__init__()
            self.backbone = backbone

        def forward(self, images):
            return self.backbone({"image": images})

    backbone = _function_of(backbones, subject)
    for layer in backbone.sublayers(include_self=True):
        if hasattr(layer, "convert_to_deploy"):
            layer.convert_to_deploy()
    return OnImages(backbone)


def _paddleseg(subject):
    """A backbone of PaddleSeg, or a model of 19 classes on the backbone that `backbone=` names."""
    from paddleseg.cvlibs import manager

    backbones, models = manager.BACKBONES.components_dict, manager.MODELS.components_dict
    if subject.network in backbones:
        return backbones[subject.network](**subject.options)
    if subject.network not in models:
        raise unknown(subject, [*backbones, *models])
    options = {"num_classes": 19, **subject.options}
    if isinstance(name := options.get("backbone"), str):
        if name not in backbones:
            raise UserError(f"{subject.name}: paddleseg has no backbone {name!r}")
        options["backbone"] = backbones[name]()
    return models[subject.network](**options)


_PADDLE: dict[str, Callable[[Subject], Any]] = {
    "paddle.vision": _paddle_vision,
    "paddleclas": _paddleclas,
    "ppdet": _ppdet,
    "paddleseg": _paddleseg,
}
