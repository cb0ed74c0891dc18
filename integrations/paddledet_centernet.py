"""CenterNet-HarDNet's neck, head and training data for PaddleDetection's `CenterNet`; registered by `paddledet.py`.

PaddleDetection's architecture, focal loss and `CenterNetPostProcess` (with regress_ltrb: false) are the authors' too.
Theirs differ from its `CenterNetHead`, `Gt2CenterNetTarget` and `WarpAffine` in what is below: one branch gives size
and offset of a box, learnt around its centre and not there alone, and pictures are stretched to the input's size.
"""

import math

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

#: pixels of the picture for one of the heatmap
STRIDE = 4


@register
class CenterNetHarDNetNeck(CenterNetNeck):
    """The neck for a backbone whose first map is at stride 4.

    Args:
        channels (list of int): of the backbone's maps; taken from the backbone.
        bottom, widths, shortcuts, growth_rates, layers, recompute: as in `necks.centernet.CenterNetNeck`.
    """

    def __init__(
        self,
        channels,
        bottom=(256, 80, 8),
        widths=(224, 160, 96),
        shortcuts=(32, 32, 0),
        growth_rates=(64, 48, 28),
        layers=(8, 8, 4),
        recompute=False,
    ):
        super().__init__(channels, bottom, widths, shortcuts, growth_rates, layers, recompute=recompute)

    @classmethod
    def from_config(cls, cfg, input_shape):
        """Takes the channels from the backbone."""
        if input_shape[0].stride not in (None, STRIDE):
            raise UserError(
                f"CenterNetHarDNetNeck was given a backbone whose first map is at stride {input_shape[0].stride}; it "
                f"must be {STRIDE}, so let return_idx begin with 0"
            )
        return {"channels": [spec.channels for spec in input_shape]}

    @property
    def out_shape(self):
        """Channels and stride of the one map."""
        return [ShapeSpec(channels=self.out_channels, stride=STRIDE)]


@register
class CenterNetHarDNetHead(CenterNetHead):
    """The head, with the authors' loss and what `CenterNetPostProcess` wants.

    Args:
        in_channels (int): taken from the neck.
        num_classes (int): of the heatmap.
        heatmap_channels, box_channels (int): as in `necks.centernet.CenterNetHead`.
        loss_weight (dict): of the three parts of the loss: heatmap, size, offset.
    """

    __shared__ = ["num_classes"]  # noqa: RUF012  (PaddleDetection reads a list)

    def __init__(self, in_channels, num_classes=80, heatmap_channels=320, box_channels=128, loss_weight=None):
        super().__init__(in_channels, num_classes, heatmap_channels, box_channels)
        default = {"heatmap": 1.0, "size": 0.05, "offset": 0.5}  # the authors' opts.py
        if unknown := set(loss_weight or {}) - set(default):
            raise UserError(
                f"CenterNetHarDNetHead.loss_weight has {', '.join(sorted(unknown))}; its keys are {', '.join(default)}"
            )
        self.loss_weight = {**default, **(loss_weight or {})}
        self.focal_loss = CTFocalLoss()

    @classmethod
    def from_config(cls, cfg, input_shape):
        """Takes the channels from the neck."""
        return {"in_channels": input_shape[0].channels}

    def forward(self, feat, inputs):
        """(N, C, H, W) and the batch -> in training the losses, det_loss their sum; else heatmap (N, num_classes, H, W)
        after the sigmoid, size (width, height) and offset (x, y), both (N, 2, H, W)."""
        heatmap, boxes = self.heatmap(feat), self.boxes(feat)
        if self.training:
            return self.losses(heatmap, boxes, inputs)
        return {"heatmap": F.sigmoid(heatmap), "size": boxes[:, :2], "offset": boxes[:, 2:]}

    def losses(self, heatmap, boxes, inputs):
        """The batch has what `CenterNetDenseTarget` makes: heatmap (N, num_classes, H, W), boxes (N, 4, H, W) and their
        weights (N, 1, H, W), which sum to 1 for an object."""
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
    """Stretches a picture to the input's size; in training to a random size, flipped or not, at a random place.

    Pixel (0, 0) of the picture is pixel (0, 0) of the input; OpenCV's resize keeps the outer corner of that pixel in
    its place instead, which shifts the picture by up to half a pixel.

    Args:
        size (list of int): height and width of the input.
        random (bool): for training. Default False.
        short_sides (list of int): of which the shorter side of the stretched picture is drawn.
        distortion (float): the longer side is multiplied by 1 - distortion .. 1 + distortion.
        flip (float): how often a picture is flipped.
        room (float): the picture's middle moves up to this share of the input to every side, or further while the
            picture still covers the input.
    """

    def __init__(
        self,
        size=(512, 512),
        random=False,
        short_sides=(192, 256, 320, 384, 448, 512, 576, 640, 704, 768, 832, 896),
        distortion=0.6,
        flip=0.5,
        room=0.2,
    ):
        super().__init__()
        sides = [size] if isinstance(size, int) else list(size)
        if len(sides) != 2 or any(not isinstance(side, int) or side < 32 or side % STRIDE for side in sides):
            raise UserError(f"CenterNetStretch.size is {size}; give height and width, multiples of {STRIDE} from 32 on")
        self.size, self.random, self.short_sides = sides, random, list(short_sides)
        self.distortion, self.flip, self.room = distortion, flip, room

    def apply(self, sample, context=None):
        """Changes image (H, W, 3) and, where there is one, gt_bbox (M, 4: x1, y1, x2, y2); sets im_shape and
        scale_factor."""
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
        """(scale, shift), both (x, y), that put all of the picture into the input."""
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
    """Random brightness, contrast and saturation in random order, then PCA lighting; from 0..255 to 0..1.

    Args:
        strength (float): each of the three factors is drawn from 1 - strength .. 1 + strength.
        lighting (float): standard deviation of the lighting, in units of the colours' principal components.
    """

    # of ImageNet's colours, the rows in the order red, green, blue
    EIGENVALUES = np.array([0.2141788, 0.01817699, 0.00341571], "float32")
    EIGENVECTORS = np.array(
        [
            [-0.56089297, 0.71832671, 0.41158938],
            [-0.5832747, 0.00994535, -0.81221408],
            [-0.58752847, -0.69563484, 0.41340352],
        ],
        "float32",
    )

    def __init__(self, strength=0.4, lighting=0.1):
        super().__init__()
        self.strength, self.lighting = strength, lighting

    def apply(self, sample, context=None):
        """Changes image, (H, W, 3) in the order red, green, blue, from uint8 to float32."""
        image = sample["image"].astype("float32") / 255
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[:, :, None]
        towards = [np.float32(0), grey.mean(), grey]  # black, the mean grey, the picture without colours
        for i in np.random.permutation(3):
            factor = np.float32(1 + np.random.uniform(-self.strength, self.strength))
            image = image * factor + towards[i] * (1 - factor)
        light = self.EIGENVECTORS @ (self.EIGENVALUES * np.random.normal(scale=self.lighting, size=3))
        sample["image"] = (image + light).astype("float32")
        return sample


@register_op
class CenterNetDenseTarget(BaseOperator):
    """What the head learns: a Gaussian at each object's centre, and the box at every place around it.

    A place near several centres learns the box that has the most weight there.

    Args:
        num_classes (int): of the heatmap; PaddleDetection's reader sets it.
        max_objects (int): how many of a picture's objects count. Default 128.
    """

    def __init__(self, num_classes=80, max_objects=128):
        super().__init__()
        self.num_classes, self.max_objects = num_classes, max_objects

    def apply(self, sample, context=None):
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
                continue  # hardly any of it is inside
            centre = (box[:2] + box[2:]) / 2
            place = centre.astype(int)
            radius = max(0, int(gaussian_radius((math.ceil(seen[1]), math.ceil(seen[0])), 0.7)))
            draw_umich_gaussian(heatmap[int(cls)], place, radius)
            draw_box(target, weight, centre, place, seen, radius)
        # what has a row for each object cannot be stacked with other pictures'
        kept = {k: v for k, v in sample.items() if not k.startswith("gt_") and k not in ("is_crowd", "difficult")}
        return {**kept, "heatmap": heatmap, "box_target": target, "box_weight": weight}


def draw_box(target, weight, centre, place, size, radius):
    """Enters one object's size and offsets where its weight is the largest so far.

    Args:
        target (array): (4, H, W), changed.
        weight (array): (1, H, W), changed; each object's weights are a Gaussian over a square that sums to 1.
        centre, place, size (array): x and y of the centre, the same cut to whole numbers, width and height, all in
            pixels of the map.
        radius (int): of the square.
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
