"""Makes the PyPI release paddleseg 2.8.0 work on Paddle 2.6 and 3: one function per repair.

    >>> from densebone.integrations.compat import paddleseg
    >>> [repair.name for repair in paddleseg.apply()]      # once, before training or evaluation

The release dates from 2023, before Paddle settled its 0-D tensors and its rules for mixed types. PyPI has nothing
newer. `apply` leaves every other version of the toolkit alone. Which Paddle needs a repair was measured on 2.6.2, 3.2.2
and 3.3.1, on a CPU, by running each function as it is released.
"""

from collections.abc import Callable

import paddle
import paddle.nn.functional as F

from . import RepairTable

TABLE = RepairTable("paddleseg", release="2.8.0")
apply = TABLE.apply
in_force = TABLE.in_force
reason_against = TABLE.reason_against

PROMOTION = "TypeError: (InvalidType) Type promotion only support calculations between floating-point numbers"


@TABLE.repair(
    symptom="IndexError: too many indices for array: array is 0-dimensional, but 1 were indexed",
    why="every training",
    paddle="2.6",
    sources={"paddleseg.core.train:loss_computation": "e612511f07a120bd"},
)
def one_element_losses(original: Callable) -> Callable:
    """The trainer logs `loss.numpy()[0]`, but a mean is 0-D since Paddle 2.5. The repair gives losses the shape [1]."""

    def losses_of_shape_one(*args, **kwargs):
        return [loss.reshape([1]) for loss in original(*args, **kwargs)]

    return losses_of_shape_one


@TABLE.repair(
    symptom=PROMOTION,
    why="training with CrossEntropyLoss, which most configurations use",
    paddle="3.0",
    sources={"paddleseg.models.losses.cross_entropy_loss:CrossEntropyLoss._post_process_loss": "3e9b4668d14f9172"},
)
def cross_entropy(original: Callable) -> Callable:
    """The average multiplies a float mask with integer labels and ones. The repair restates it in one type."""
    return average_cross_entropy


def average_cross_entropy(
    self,
    logit: paddle.Tensor,
    label: paddle.Tensor,
    semantic_weights: paddle.Tensor | None,
    loss: paddle.Tensor,
) -> paddle.Tensor:
    """Mean of the pixels' losses divided by the mean of their class weights.

    With `top_k_percent_pixels` below 1, both means are over this fraction of the pixels: those with the largest losses.
    `logit` is (N, H, W, classes) and `label` (N, H, W) int64. `semantic_weights` holds a factor for each pixel, or is
    None. `loss` is (N, H, W) or (N, H, W, 1) and already includes the class weights.
    """
    counts = label != self.ignore_index if self.avg_non_ignore else paddle.ones_like(label, dtype="bool")
    mask = counts.astype("float32")
    loss = loss.reshape(mask.shape) * mask
    if semantic_weights is not None:
        loss = loss * semantic_weights
    if self.weight is None:
        class_weight = paddle.ones_like(mask)
    else:
        classes = F.one_hot(label * counts.astype(label.dtype), logit.shape[-1])
        class_weight = (classes * self.weight).sum(axis=-1)
    if self.top_k_percent_pixels == 1.0:
        return loss.mean() / ((mask * class_weight).mean() + self.EPS)
    largest, where = paddle.topk(loss.flatten(), int(self.top_k_percent_pixels * loss.numel()))
    return largest.mean() / (class_weight.flatten().gather(where).mean() + self.EPS)


@TABLE.repair(
    symptom=PROMOTION,
    why="training with OhemCrossEntropyLoss: PP-LiteSeg, STDC, BiSeNet",
    paddle="3.0",
    sources={"paddleseg.models.losses.ohem_cross_entropy_loss:OhemCrossEntropyLoss.forward": "a74e15a9add662ee"},
)
def ohem_cross_entropy(original: Callable) -> Callable:
    """To choose hard pixels, the loss adds an integer mask to probabilities. The repair restates it with bool masks."""
    return hard_pixel_cross_entropy


def hard_pixel_cross_entropy(self, logit: paddle.Tensor, label: paddle.Tensor) -> paddle.Tensor:
    """Mean cross-entropy of the hard pixels: those whose own class gets a probability below `thresh`.

    When fewer than `min_kept` pixels are hard, the limit rises to the `min_kept`-th smallest probability. When no more
    than `min_kept` pixels are labelled, all of them count. `logit` is (N, C, H, W), `label` (N, H, W) or (N, 1, H, W).
    """
    n, _, h, w = logit.shape
    label = label.reshape([n, 1, h, w]).astype("int64")
    counts = label != self.ignore_index
    if 0 < self.min_kept < int(counts.sum()):
        labelled = paddle.where(counts, label, paddle.zeros_like(label))
        probability = paddle.take_along_axis(F.softmax(logit.detach(), axis=1), labelled, axis=1)
        # ignored pixels get 2, which is above every probability
        probability = paddle.where(counts, probability, paddle.full_like(probability, 2))
        limit = paddle.topk(probability.flatten(), self.min_kept, largest=False)[0][-1].clip(min=self.thresh)
        counts = paddle.logical_and(counts, probability < limit)
    label = paddle.where(counts, label, paddle.full_like(label, self.ignore_index))
    loss = F.cross_entropy(logit, label, ignore_index=self.ignore_index, reduction="none", axis=1)
    return loss.mean() / (counts.astype("float32").mean() + self.EPS)


@TABLE.repair(
    symptom="RuntimeError: Expected tensor_version == wrapper_version_snapshot (an inplace operator)",
    why="training with DiceLoss beside another loss, in a MixedLoss",
    paddle="2.6",
    sources={"paddleseg.models.losses.dice_loss:DiceLoss.forward": "9ec42f627ed521e8"},
)
def dice_labels(original: Callable) -> Callable:
    """Dice overwrites its label: ignored pixels become class 0 for every loss that shares it. Dice gets a copy.

    Without it, the backward pass of a loss computed before Dice fails: of the usual cross-entropy since Paddle 3, where
    its cast to int64 no longer copies, and of the bootstrapped one on 2.6 too. A loss computed after Dice would learn
    the ignored pixels.
    """

    def forward_on_a_copy(self, logits, labels):
        return original(self, logits, labels.clone())

    return forward_on_a_copy


@TABLE.repair(
    symptom="ValueError: Expected axis >= -rank && axis < rank (concat of 0-D tensors)",
    why="every evaluation",
    paddle="2.6",
    sources={"paddleseg.utils.metrics:calculate_area": "a111b0a0c0457960"},
)
def areas(original: Callable) -> Callable:
    """The pixel counts of the classes are concatenated, but are 0-D since Paddle 2.5. The repair stacks them."""
    return count_areas


def count_areas(
    pred: paddle.Tensor, label: paddle.Tensor, num_classes: int, ignore_index: int = 255
) -> tuple[paddle.Tensor, ...]:
    """Pixels per class: (where prediction and label agree, predicted, labelled), each (num_classes,) int64.

    `pred` and `label` are (N, H, W) or (N, 1, H, W) integers. Predictions count where the label is not `ignore_index`.
    """
    pred, label = (x.squeeze(1) if x.ndim == 4 else x for x in (pred, label))
    if pred.shape != label.shape:
        raise ValueError(f"the prediction has the shape {pred.shape} and the label {label.shape}; give equal ones")
    counts = label != ignore_index
    rows = []
    for i in range(num_classes):
        predicted, labelled = paddle.logical_and(pred == i, counts), label == i
        rows.append(paddle.stack([m.sum() for m in (paddle.logical_and(predicted, labelled), predicted, labelled)]))
    return tuple(paddle.stack(rows, axis=1))
