"""Pelee's detector as the shipped configurations build it, without PaddleDetection's global configuration.

`tests/data/reference/pelee_ssd304_merged` holds the layers of the authors' merged Caffe graph, and its outputs on
weights from recipe.py, with Caffe's layer names as keys. It has the anchor boxes of the COCO detector and the classes
of VOC.
"""

from pathlib import Path

import numpy as np
import recipe
import yaml

REFERENCE = "pelee_ssd304_merged"
CONFIGS = Path(__file__).parents[2] / "configs" / "detection"
COCO, VOC = "pelee_ssd_304_100k_coco", "pelee_ssd_304_120k_voc"


def weights():
    """{Caffe layer.weight or .bias: array} of the merged network."""
    arrays = {}
    for name, _, inputs, outputs, kernel, *_ in recipe.description(REFERENCE)["convs"]:
        for key, shape in ((f"{name}.weight", (outputs, inputs, kernel, kernel)), (f"{name}.bias", (outputs,))):
            arrays[key] = recipe.tensor(key, shape)
    return arrays


def blocks(config):
    """The SSDHead and PeleeNet blocks of a configuration, merged with those of its base file."""
    base, leaf = (yaml.safe_load((CONFIGS / f"{name}.yml").read_text()) for name in ("_base_/pelee_ssd304", config))
    head = {**base["SSDHead"], "anchor_generator": {**base["SSDHead"]["anchor_generator"]}}
    head["anchor_generator"].update(leaf["SSDHead"]["anchor_generator"])
    return head, base["PeleeNet"]


def detector(config=COCO, num_classes=20, **pelee_options):
    """PaddleDetection's SSD on densebone's feature maps; `pelee_options` go to the PeleeNet."""
    from ppdet.modeling.architectures.ssd import SSD
    from ppdet.modeling.heads.ssd_head import SSDHead

    from densebone.integrations.paddledet import PeleeNet, PeleeSSDFeatures

    head, backbone = blocks(config)
    features = PeleeSSDFeatures(PeleeNet(**{**backbone, **pelee_options}))
    channels = [spec.channels for spec in features.out_shape]
    return SSD(features, SSDHead(num_classes=num_classes, in_channels=channels, **head), post_process=None)


def raw(model, image):
    """The outputs before decoding, as arrays.

    Returns:
        [boxes (N, 5142, 4), scores (N, 5142, classes + background), priors (5142, 4)].
    """
    import paddle

    model.eval()
    with paddle.no_grad():
        (boxes, scores), priors = model.ssd_head(model.backbone({"image": image}), image)
    parts = ((boxes, 1), (scores, 1), (priors, 0))
    return [np.concatenate([part.numpy() for part in many], axis=axis) for many, axis in parts]
