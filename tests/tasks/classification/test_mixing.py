"""Soft labels, mixup and cutmix."""

import numpy as np
import paddle
import pytest

from densebone.tasks.classification.mixing import mix, rectangle, soft_labels


def batch(size=4, side=8):
    """Pictures that are full of their own number, and their one-hot labels."""
    images = paddle.to_tensor(np.broadcast_to(np.arange(size).reshape(-1, 1, 1, 1), (size, 3, side, side)).astype("f"))
    return images, soft_labels(paddle.arange(size), size)


def test_soft_labels():
    found = soft_labels(paddle.to_tensor([2, 0]), 4, 0.1).numpy()
    np.testing.assert_allclose(found, [[0.025, 0.025, 0.925, 0.025], [0.925, 0.025, 0.025, 0.025]], atol=1e-7)
    np.testing.assert_array_equal(soft_labels(paddle.to_tensor([1]), 3).numpy(), [[0, 1, 0]])


def test_mixup_mixes_pictures_and_labels_alike():
    share = np.random.default_rng(3).beta(0.2, 0.2)
    images, labels = mix(*batch(), np.random.default_rng(3), mixup=0.2)
    expected = share * np.arange(4) + (1 - share) * np.arange(4)[::-1]
    np.testing.assert_allclose(images.numpy()[:, 1, 2, 3], expected, rtol=1e-6)
    np.testing.assert_allclose(labels.numpy(), share * np.eye(4) + (1 - share) * np.eye(4)[::-1], atol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_cutmix_labels_are_shares_of_the_area(seed):
    images, labels = mix(*batch(), np.random.default_rng(seed), cutmix=1.0)
    for number, (image, label) in enumerate(zip(images.numpy(), labels.numpy())):
        assert set(np.unique(image)) <= {number, 3 - number}
        assert label[number] == pytest.approx((image == number).mean(), abs=1e-6)
        assert label[3 - number] == pytest.approx((image == 3 - number).mean(), abs=1e-6)


def test_rectangles():
    class Middle:
        def uniform(self, low, high):
            return (low + high) / 2

    assert rectangle(32, 64, 0.25, Middle()) == (8, 24, 16, 48)
    rng = np.random.default_rng(0)
    for area in rng.uniform(0, 1, 50):
        top, bottom, left, right = rectangle(20, 30, area, rng)
        assert 0 <= top <= bottom <= 20 and 0 <= left <= right <= 30
        assert (bottom - top) * (right - left) <= area * 600


def test_both_take_turns_and_none_changes_nothing():
    images, labels = batch()
    assert mix(images, labels, None) == (images, labels)
    rng, kinds = np.random.default_rng(0), []
    for _ in range(40):
        mixed, _ = mix(images, labels, rng, mixup=1.0, cutmix=1.0)
        kinds.append(len(np.unique(mixed.numpy()[0])) == 1 and mixed.numpy()[0, 0, 0, 0] not in (0, 3))
    assert 8 < sum(kinds) < 32
