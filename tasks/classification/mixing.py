"""Label smoothing, mixup and CutMix: labels as shares of classes, and batches whose pictures are mixed."""

from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F


def soft_labels(labels: paddle.Tensor, num_classes: int, smoothing: float = 0.0) -> paddle.Tensor:
    """(N,) int -> (N, num_classes) float32 with rows that sum to 1.

    `smoothing` is spread evenly over all classes; the right class gets the rest (arXiv 1512.00567).
    """
    return F.one_hot(labels, num_classes) * (1 - smoothing) + smoothing / num_classes


def mix(
    images: paddle.Tensor, labels: paddle.Tensor, rng: Any, mixup: float = 0.0, cutmix: float = 0.0
) -> tuple[paddle.Tensor, paddle.Tensor]:
    """Mixes image i of a batch with image N - 1 - i, and the labels in the same shares.

    Args:
        images: (N, C, H, W).
        labels: (N, classes).
        rng: NumPy's `random`, a `RandomState` or a `Generator`.
        mixup: alpha of the beta distribution of the shares (arXiv 1710.09412); 0 switches it off.
        cutmix: the same for replacing a rectangle (arXiv 1905.04899). With both, each batch gets one of them, with
            equal chances.

    Returns:
        (images, labels).
    """
    if not mixup and not cutmix:
        return images, labels
    use_cutmix = bool(cutmix) and (not mixup or rng.uniform() < 0.5)
    alpha = cutmix if use_cutmix else mixup
    share = float(rng.beta(alpha, alpha))
    if use_cutmix:
        height, width = images.shape[2:]
        top, bottom, left, right = rectangle(height, width, 1 - share, rng)
        share = 1 - (bottom - top) * (right - left) / (height * width)
        kept = np.ones((1, 1, *images.shape[2:]), "float32")
        kept[:, :, top:bottom, left:right] = 0
        kept = paddle.to_tensor(kept)
    else:
        kept = share
    return images * kept + images.flip([0]) * (1 - kept), labels * share + labels.flip([0]) * (1 - share)


def rectangle(height: int, width: int, area: float, rng: Any) -> tuple[int, int, int, int]:
    """(top, bottom, left, right) of a rectangle of the picture's shape around a random pixel.

    It covers `area` (0 to 1) of the picture, less what lies beyond the edges.
    """
    half_height, half_width = (int(side * area**0.5) // 2 for side in (height, width))
    y, x = int(rng.uniform(0, height)), int(rng.uniform(0, width))
    rows = max(y - half_height, 0), min(y + half_height, height)
    return *rows, max(x - half_width, 0), min(x + half_width, width)
