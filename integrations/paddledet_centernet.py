"""CenterNet-HarDNet's neck, head and training data for PaddleDetection's `CenterNet`; `paddledet.py` registers them.

The authors' detector shares PaddleDetection's architecture, focal loss and `CenterNetPostProcess` (with regress_ltrb:
false). It differs from PaddleDetection's `CenterNetHead`, `Gt2CenterNetTarget` and `WarpAffine`. One branch predicts
both size and offset of a box, and learns them around the object's centre too, not only at it. Pictures are stretched to
the input size. This module holds these differences.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import paddle
import paddle.nn.functional as F
from ppdet.core.workspace import register
from ppdet.data import transform
from ppdet.data.transform.op_helper import draw_umich_gaussian, gaussian_radius
from ppdet.data.transform.operators import BaseOperator, register_op
from ppdet.modeling.losses import CTFocalLoss
from ppdet.modeling.shape_spec import ShapeSpec

from ..errors import UserError
from ..necks.centernet import CenterNetHead, CenterNetNeck

#: pixels of the input per pixel of the heatmap
STRIDE = 4


@register
class CenterNetHarDNetNeck(CenterNetNeck):
    """The neck for a backbone whose first map is at stride 4.

    Args:
        channels: of the backbone's maps; taken from the backbone.
        bottom, widths, shortcuts, growth_rates, layers, recompute: as in `necks.centernet.CenterNetNeck`.
    """

    def __init__(
        self,
        channels: Sequence[int],
        bottom: Sequence[int] = (256, 80, 8),
        widths: Sequence[int] = (224, 160, 96),
        shortcuts: Sequence[int] = (32, 32, 0),
        growth_rates: Sequence[int] = (64, 48, 28),
        layers: Sequence[int] = (8, 8, 4),
        recompute: bool = False,
    ) -> None:
        super().__init__(channels, bottom, widths, shortcuts, growth_rates, layers, recompute=recompute)

    @classmethod
    def from_config(cls, cfg: Mapping[str, Any], input_shape: Sequence[ShapeSpec]) -> dict[str, list[int]]:
        """Takes the channels from the backbone."""
        if input_shape[0].stride not in (None, STRIDE):
            raise UserError(
                f"CenterNetHarDNetNeck was given a backbone whose first map is at stride {input_shape[0].stride}; it "
                f"must be {STRIDE}, so let return_idx begin with 0"
            )
        return {"channels": [spec.channels for spec in input_shape]}

    @property
    def out_shape(self) -> list[ShapeSpec]:
        """Channels and stride of the only map."""
        return [ShapeSpec(channels=self.out_channels, stride=STRIDE)]


@register
class CenterNetHarDNetHead(CenterNetHead):
    """The head, with the authors' loss and the outputs that `CenterNetPostProcess` reads.

    Args:
        in_channels: taken from the neck.
        num_classes: of the heatmap.
        heatmap_channels, box_channels: as in `necks.centernet.CenterNetHead`.
        loss_weight: weights of the three parts of the loss: heatmap, size, offset.
    """

    __shared__ = ["num_classes"]  # noqa: RUF012  (PaddleDetection reads a list)

    def __init__(
        self,
        in_channels: int,
        num_classes: int = 80,
        heatmap_channels: int = 320,
        box_channels: int = 128,
        loss_weight: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(in_channels, num_classes, heatmap_channels, box_channels)
        default = {"heatmap": 1.0, "size": 0.05, "offset": 0.5}  # the authors' opts.py
        if unknown := set(loss_weight or {}) - set(default):
            raise UserError(
                f"CenterNetHarDNetHead.loss_weight has {', '.join(sorted(unknown))}; its keys are {', '.join(default)}"
            )
        self.loss_weight = {**default, **(loss_weight or {})}
        self.focal_loss = CTFocalLoss()

    @classmethod
    def from_config(cls, cfg: Mapping[str, Any], input_shape: Sequence[ShapeSpec]) -> dict[str, int]:
        """Takes the channels from the neck."""
        return {"in_channels": input_shape[0].channels}

    def forward(  # type: ignore[override]  # PaddleDetection passes the batch too
        self, feat: paddle.Tensor, inputs: Mapping[str, Any]
    ) -> dict[str, paddle.Tensor]:
        """Losses in training, predictions otherwise.

        Args:
            feat: (N, C, H, W).
            inputs: the batch.

        Returns:
            In training the losses, with their weighted sum as det_loss. Otherwise heatmap, (N, num_classes, H, W) after
            the sigmoid, size (width, height) and offset (x, y), both (N, 2, H, W).
        """
        heatmap, boxes = self.heatmap(feat), self.boxes(feat)
        if self.training:
            return self.losses(heatmap, boxes, inputs)
        return {"heatmap": F.sigmoid(heatmap), "size": boxes[:, :2], "offset": boxes[:, 2:]}

    def losses(
        self, heatmap: paddle.Tensor, boxes: paddle.Tensor, inputs: Mapping[str, Any]
    ) -> dict[str, paddle.Tensor]:
        """The losses, with their weighted sum as det_loss.

        `inputs` holds what `CenterNetDenseTarget` makes: heatmap (N, num_classes, H, W), box_target (N, 4, H, W) and
        box_weight (N, 1, H, W), which sums to 1 for each object.
        """
        weight = inputs["box_weight"]
        difference = paddle.abs(boxes - inputs["box_target"]) * weight
        count = 2 * weight.sum() + 1e-4
        losses = {
            "heatmap": self.focal_loss(paddle.clip(F.sigmoid(heatmap), 1e-4, 1 - 1e-4), inputs["heatmap"]),
            "size": difference[:, :2].sum() / count,
            "offset": difference[:, 2:].sum() / count,
        }
        total = sum(self.loss_weight[name] * loss for name, loss in losses.items())
        return {**{f"{name}_loss": loss for name, loss in losses.items()}, "det_loss": total}


@register_op
class CenterNetStretch(BaseOperator):
    """Stretches a picture to the input size. In training: to a random size, at a random place, flipped or not.

    Pixel (0, 0) of the picture becomes pixel (0, 0) of the input. OpenCV's resize keeps the outer corner of that pixel
    in place instead, which shifts the picture by up to half a pixel.

    Args:
        size: height and width of the input.
        random: for training.
        short_sides: lengths from which the shorter side of the stretched picture is drawn.
        distortion: the longer side is multiplied by a factor from 1 - distortion to 1 + distortion.
        flip: probability of a horizontal flip.
        room: the middle of the picture moves by up to this share of the input in either direction, or further while the
            picture still covers the input.
    """

    def __init__(
        self,
        size: int | Sequence[int] = (512, 512),
        random: bool = False,
        short_sides: Sequence[int] = (192, 256, 320, 384, 448, 512, 576, 640, 704, 768, 832, 896),
        distortion: float = 0.6,
        flip: float = 0.5,
        room: float = 0.2,
    ) -> None:
        super().__init__()
        sides = [size] if isinstance(size, int) else list(size)
        if len(sides) != 2 or any(not isinstance(side, int) or side < 32 or side % STRIDE for side in sides):
            raise UserError(f"CenterNetStretch.size is {size}; give height and width, multiples of {STRIDE} from 32 on")
        self.size, self.random, self.short_sides = sides, random, list(short_sides)
        self.distortion, self.flip, self.room = distortion, flip, room

    def apply(self, sample: dict[str, Any], context: Any = None) -> dict[str, Any]:
        """Changes image (H, W, 3) and, if it exists, gt_bbox (M, 4: x1, y1, x2, y2). Sets im_shape and scale_factor."""
        image = sample["image"]
        height, width = image.shape[:2]
        if self.random and np.random.rand() < self.flip:
            image = np.ascontiguousarray(image[:, ::-1])
            if "gt_bbox" in sample:
                sample["gt_bbox"][:, [0, 2]] = width - sample["gt_bbox"][:, [2, 0]]
        scale, shift = self._random(height, width) if self.random else self._whole(height, width)
        matrix = np.array([[scale[0], 0, shift[0]], [0, scale[1], shift[1]]])
        sample["image"] = cv2.warpAffine(image, matrix, tuple(self.size[::-1]), flags=cv2.INTER_LINEAR)
        if "gt_bbox" in sample:
            sample["gt_bbox"] = (sample["gt_bbox"] * np.tile(scale, 2) + np.tile(shift, 2)).astype("float32")
        sample["im_shape"] = np.array(self.size, "float32")
        sample["scale_factor"] = np.array([scale[1], scale[0]], "float32")
        return sample

    def _whole(self, height, width):
        """(scale, shift), both (x, y), that fit the whole picture into the input."""
        return np.array([self.size[1] / width, self.size[0] / height]), np.zeros(2)

    def _random(self, height, width):
        short = np.random.choice(self.short_sides)
        stretch = 1 + np.random.uniform(-self.distortion, self.distortion)
        longer = short * max(height, width) / min(height, width) * stretch
        new = np.array([short, longer] if height > width else [longer, short])  # width, height
        target = np.array(self.size[::-1])
        room = np.maximum((new - target) / 2, self.room * target)
        middle = target / 2 + np.random.uniform(-1, 1, 2) * room
        return new / [width, height], middle - new / 2


@register_op
class CenterNetColour(BaseOperator):
    """Random brightness, contrast and saturation in random order, then PCA lighting. Maps 0..255 to about 0..1.

    Args:
        strength: each of the three factors is drawn from 1 - strength to 1 + strength.
        lighting: standard deviation of the lighting, in units of the colours' principal components.
    """

    # principal components of ImageNet's colours; the rows are red, green, blue
    EIGENVALUES = np.array([0.2141788, 0.01817699, 0.00341571], "float32")
    EIGENVECTORS = np.array(
        [
            [-0.56089297, 0.71832671, 0.41158938],
            [-0.5832747, 0.00994535, -0.81221408],
            [-0.58752847, -0.69563484, 0.41340352],
        ],
        "float32",
    )

    def __init__(self, strength: float = 0.4, lighting: float = 0.1) -> None:
        super().__init__()
        self.strength, self.lighting = strength, lighting

    def apply(self, sample: dict[str, Any], context: Any = None) -> dict[str, Any]:
        """Changes image, (H, W, 3) in RGB, from uint8 to float32."""
        image = sample["image"].astype("float32") / 255
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[:, :, None]
        towards = [np.float32(0), grey.mean(), grey]  # black, the mean grey, the grey picture
        for i in np.random.permutation(3):
            factor = np.float32(1 + np.random.uniform(-self.strength, self.strength))
            image = image * factor + towards[i] * (1 - factor)
        light = self.EIGENVECTORS @ (self.EIGENVALUES * np.random.normal(scale=self.lighting, size=3))
        sample["image"] = (image + light).astype("float32")
        return sample


@register_op
class CenterNetDenseTarget(BaseOperator):
    """Makes the head's targets: a Gaussian at each object's centre, and the box at every place around the centre.

    A place near several centres learns the box with the largest weight there.

    Args:
        num_classes: of the heatmap; PaddleDetection's reader sets it.
        max_objects: number of objects of a picture that count.
    """

    def __init__(self, num_classes: int = 80, max_objects: int = 128) -> None:
        super().__init__()
        self.num_classes, self.max_objects = num_classes, max_objects

    def apply(self, sample: dict[str, Any], context: Any = None) -> dict[str, Any]:
        """Turns gt_bbox and gt_class of an image (3, H, W) into heatmap (num_classes, H / 4, W / 4), box_target
        (4, H / 4, W / 4) and box_weight (1, H / 4, W / 4)."""
        height, width = (side // STRIDE for side in sample["image"].shape[1:])
        heatmap = np.zeros((self.num_classes, height, width), "float32")
        target, weight = np.zeros((4, height, width), "float32"), np.zeros((1, height, width), "float32")
        boxes = sample["gt_bbox"][: self.max_objects] / STRIDE
        for box, cls in zip(boxes, np.ravel(sample["gt_class"])):
            whole = box[2:] - box[:2]
            box = np.clip(box, 0, [width, height, width, height])
            seen = box[2:] - box[:2]
            if not ((seen > 2) | (seen > 0.5 * (whole + 0.01))).all():
                continue  # hardly any of the object is inside the picture
            centre = (box[:2] + box[2:]) / 2
            place = centre.astype(int)
            radius = max(0, int(gaussian_radius((math.ceil(seen[1]), math.ceil(seen[0])), 0.7)))
            draw_umich_gaussian(heatmap[int(cls)], place, radius)
            draw_box(target, weight, centre, place, seen, radius)
        # arrays with a row per object cannot be stacked with those of other pictures
        kept = {k: v for k, v in sample.items() if not k.startswith("gt_") and k not in ("is_crowd", "difficult")}
        return {**kept, "heatmap": heatmap, "box_target": target, "box_weight": weight}


def draw_box(
    target: np.ndarray, weight: np.ndarray, centre: np.ndarray, place: np.ndarray, size: np.ndarray, radius: int
) -> None:
    """Writes the size and offsets of one object wherever its weight is the largest so far.

    Args:
        target: (4, H, W), changed in place.
        weight: (1, H, W), changed in place. The weights of an object are a Gaussian over a square and sum to 1.
        centre: (x, y) of the object's centre, in pixels of the map.
        place: the centre truncated to whole pixels.
        size: (width, height), in pixels of the map.
        radius: of the square.
    """
    height, width = weight.shape[1:]
    xs, ys = np.arange(place[0] - radius, place[0] + radius + 1), np.arange(place[1] - radius, place[1] + radius + 1)
    spread = (2 * radius + 1) / 24
    gaussian = np.exp(-((xs - place[0]) ** 2 + (ys[:, None] - place[1]) ** 2) / (2 * spread**2))
    gaussian[gaussian < np.finfo("float64").eps] = 0
    gaussian /= gaussian.sum()
    inside = np.ix_((ys >= 0) & (ys < height), (xs >= 0) & (xs < width))
    ys, xs = ys[(ys >= 0) & (ys < height)], xs[(xs >= 0) & (xs < width)]
    gaussian = gaussian[inside]
    region = slice(ys[0], ys[-1] + 1), slice(xs[0], xs[-1] + 1)
    wins = gaussian >= weight[0][region]
    values = np.empty((4, len(ys), len(xs)))
    values[:2] = size[:, None, None]
    values[2], values[3] = centre[0] - xs, (centre[1] - ys)[:, None]
    target[:, region[0], region[1]] = np.where(wins, values, target[:, region[0], region[1]])
    weight[0][region] = np.where(wins, gaussian, weight[0][region])


for _operator in (CenterNetStretch, CenterNetColour, CenterNetDenseTarget):
    setattr(transform, _operator.__name__, _operator)  # where PaddleDetection's readers look
