"""A TestReader's transforms as the steps of a model card, which run without PaddleDetection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_METHODS = {0: "nearest", 1: "bilinear", 2: "bicubic"}  # OpenCV's numbers


def steps_of(cfg: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """The steps of `pictures.steps` that prepare pictures as the TestReader does; None where they cannot.

    Args:
        cfg: PaddleDetection's configuration.
    """
    reader = cfg.get("TestReader") or {}
    steps: list[dict[str, Any]] = []
    for transform in [*(reader.get("sample_transforms") or ()), *(reader.get("batch_transforms") or ())]:
        ((name, arguments),) = transform.items()
        given = dict(arguments or {})
        if name in ("Decode", "Permute"):
            continue
        make = _MAKERS.get(name)
        step = make(given) if make else None
        if step is None:
            return None
        steps.append(step)
    return steps


def _resize(given):
    size, method = given.get("target_size"), _METHODS.get(given.get("interp", 1))
    size = [size, size] if isinstance(size, int) else list(size or ())
    if len(size) != 2 or method is None:
        return None
    return {"resize": {"size": size, "keep_ratio": bool(given.get("keep_ratio", True)), "interpolation": method}}


def _normalize(given):
    if given.get("norm_type", "mean_std") != "mean_std":
        return None
    mean, std = given.get("mean", [0.485, 0.456, 0.406]), given.get("std", [0.229, 0.224, 0.225])
    return {"normalize": {"mean": list(mean), "std": list(std), "scale": 255 if given.get("is_scale", True) else 1}}


def _pad(given):
    stride = given.get("pad_to_stride", 0)
    return {"pad": {"stride": max(1, stride)}}


def _stretch(given):
    size = given.get("size", (512, 512))
    return None if given.get("random") else {"stretch": {"size": [size, size] if isinstance(size, int) else list(size)}}


_MAKERS = {"Resize": _resize, "NormalizeImage": _normalize, "PadBatch": _pad, "CenterNetStretch": _stretch}
