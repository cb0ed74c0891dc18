"""Labels as shares of classes, and batches whose pictures are mixed with one another."""

import numpy as np
import paddle
import paddle.nn.functional as F


def soft_labels(labels, num_classes, smoothing=0.0):
    """(N,) int -> (N, num_classes) float32 that sum to 1: `smoothing` spread evenly over all classes, the rest on the
    right one (arXiv 1512.00567)."""
    return F.one_hot(labels, num_classes) * (1 - smoothing) + smoothing / num_classes


def mix(images, labels, rng, mixup=0.0, cutmix=0.0):
    """Mixes each picture of a batch with that at the same place from the end, and the labels in the same shares.

    Args:
        images (Tensor): (N, C, H, W).
        labels (Tensor): (N, classes).
        rng: NumPy's `random`, a `RandomState` or a `Generator`.
        mixup (float): alpha of the beta distribution of the shares (arXiv 1710.09412); 0: none.
        cutmix (float): the same for replacing a rectangle (arXiv 1905.04899); 0: none. With both, each batch gets one
            of them, with equal chances.

    Returns:
        (images, labels).
    """
    if not mixup and not cutmix:
        return images, labels
    use_cutmix = bool(cutmix) and (not mixup or rng.uniform() < 0.5)
    alpha = cutmix if use_cutmix else mixup
    share = float(rng.beta(alpha, alpha))
    if use_cutmix:
        top, bottom, left, right = rectangle(*images.shape[2:], 1 - share, rng)
        share = 1 - (bottom - top) * (right - left) / (images.shape[2] * images.shape[3])
        kept = np.ones((1, 1, *images.shape[2:]), "float32")
        kept[:, :, top:bottom, left:right] = 0
        kept = paddle.to_tensor(kept)
    else:
        kept = share
    return images * kept + images.flip([0]) * (1 - kept), labels * share + labels.flip([0]) * (1 - share)


def rectangle(height, width, area, rng):
    """(top, bottom, left, right) of a rectangle of the picture's shape around any of its pixels: `area` (0 to 1) of the
    picture, less what lies beyond its edges."""
    half_height, half_width = (int(side * area**0.5) // 2 for side in (height, width))
    y, x = int(rng.uniform(0, height)), int(rng.uniform(0, width))
    rows = max(y - half_height, 0), min(y + half_height, height)
    return *rows, max(x - half_width, 0), min(x + half_width, width)
