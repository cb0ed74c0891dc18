"""PaddleSeg's bootstrapped cross-entropy, which FC-HarDNet's configurations name, is the one of its authors."""

import numpy as np
import paddle
import pytest

pytest.importorskip("paddleseg", reason="needs PaddleSeg: pip install densebone[segmentation]")

from paddleseg.models.losses import BootstrappedCrossEntropyLoss


def authors_loss(logits, labels, min_k, threshold, weights=None, ignore=255):
    """Logits (N, C, H, W), labels (N, H, W) -> a number, and which pixels (N, H * W) it is a mean over.

    Of each picture: the pixels whose loss is above the threshold where the loss of rank min_k (from 0) is, else the
    min_k largest. An ignored pixel has a loss of 0, and still counts when it is among them.
    """
    total, chosen = 0.0, []
    for picture, label in zip(logits, labels):
        scores = picture.reshape(len(picture), -1)
        label = label.ravel()
        exponentials = np.exp(scores - scores.max(0))
        share = exponentials / exponentials.sum(0)
        valid = label != ignore
        safe = np.where(valid, label, 0)
        loss = -np.log(share[safe, np.arange(label.size)]) * valid
        if weights is not None:
            loss = loss * np.asarray(weights)[safe]
        order = np.argsort(-loss, kind="stable")
        mask = loss > threshold if loss[order[min_k]] > threshold else np.isin(np.arange(label.size), order[:min_k])
        total += loss[mask].mean()
        chosen.append(mask)
    return total / len(logits), np.array(chosen)


def example(seed, ignored, scale=2.0):
    rng = np.random.default_rng(seed)
    logits = rng.standard_normal((3, 5, 6, 7)) * scale
    labels = rng.integers(0, 5, (3, 6, 7))
    labels[rng.random(labels.shape) < ignored] = 255
    return logits, labels


CASES = [
    pytest.param(10, 0.3, 0.0, None, id="threshold"),
    pytest.param(10, 6.0, 0.0, None, id="the K largest"),
    pytest.param(10, 0.3, 0.4, None, id="ignored pixels"),
    pytest.param(38, 0.01, 0.6, None, id="ignored pixels among the K largest"),
    pytest.param(10, 0.3, 0.2, [0.5, 1.0, 2.0, 1.5, 0.8], id="class weights"),
]


@pytest.mark.parametrize("min_k, threshold, ignored, weights", CASES)
def test_values_and_gradients(min_k, threshold, ignored, weights):
    for seed in range(3):
        logits, labels = example(seed, ignored)
        expected, chosen = authors_loss(logits, labels, min_k, threshold, weights)
        x = paddle.to_tensor(logits.astype("float32"), stop_gradient=False)
        loss = BootstrappedCrossEntropyLoss(min_K=min_k, loss_th=threshold, weight=weights)
        value = loss(x, paddle.to_tensor(labels))
        value.backward()
        assert abs(float(value) - expected) <= 1e-5 * expected
        gradient, step = x.grad.numpy(), 1e-4
        flat = np.flatnonzero(np.repeat(chosen[:, None], 5, axis=1).ravel())
        others = np.setdiff1d(np.arange(gradient.size), flat)
        assert not gradient.ravel()[others].any()
        for place in np.random.default_rng(seed).permutation(gradient.size)[:40]:
            moved = [logits.copy(), logits.copy()]
            moved[0].ravel()[place] -= step
            moved[1].ravel()[place] += step
            low, high = (authors_loss(m, labels, min_k, threshold, weights) for m in moved)
            if (low[1] == high[1]).all():  # where the choice of pixels changes there is no derivative
                assert abs(gradient.ravel()[place] - (high[0] - low[0]) / (2 * step)) <= 1e-5


def test_both_branches_are_reached():
    """In one batch, one picture is above the threshold at rank K and the other is not."""
    logits, labels = example(0, 0.0)
    logits[1, :] = 0
    logits[1][labels[1], np.arange(6)[:, None], np.arange(7)] = 6
    expected, chosen = authors_loss(logits, labels, 10, 0.3)
    assert chosen[1].sum() == 10 and chosen[0].sum() > 10
    loss = BootstrappedCrossEntropyLoss(min_K=10, loss_th=0.3)
    value = loss(paddle.to_tensor(logits.astype("float32")), paddle.to_tensor(labels))
    assert abs(float(value) - expected) <= 1e-5 * expected
