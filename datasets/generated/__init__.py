"""Small seeded data sets in the layouts of the real ones, to try training and evaluation without a download."""

from .cityscapes import write_cityscapes
from .coco import CATEGORIES, MAX_BOX_IOU, write_coco
from .imagenet import write_imagenet
from .shared import MARKER, SampleSet

__all__ = ["CATEGORIES", "MARKER", "MAX_BOX_IOU", "SampleSet", "write_cityscapes", "write_coco", "write_imagenet"]
