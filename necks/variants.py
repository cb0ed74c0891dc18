"""The variants of the whole networks for segmentation and detection, as data. Does not import Paddle."""

from dataclasses import dataclass

from ..backbones.variants import HARDNETS, HarDNetVariant


@dataclass(frozen=True)
class FCHarDNetVariant:
    """One row of the table below.

    Args:
        encoder: the HarDNet whose block maps the decoder reads.
        num_classes: number of classes of the published weights' data set, Cityscapes.
    """

    encoder: HarDNetVariant
    num_classes: int = 19


FCHARDNETS: dict[str, FCHarDNetVariant] = {"fchardnet70": FCHarDNetVariant(HARDNETS["hardnet70"])}


@dataclass(frozen=True)
class CenterNetVariant:
    """One row of the table below.

    Args:
        encoder: the HarDNet whose block maps at strides 4, 8 and 16 the neck reads.
        num_classes: number of classes of the published weights' data set, COCO.
    """

    encoder: HarDNetVariant
    num_classes: int = 80


CENTERNETS: dict[str, CenterNetVariant] = {
    "centernet_hardnet85": CenterNetVariant(HARDNETS["centernet_hardnet85_base"])
}
