"""Small data sets in the layouts of COCO, Cityscapes and ImageNet, to try training and evaluation without a download.

The pictures are drawn from a seed: the same arguments give the same files. `write_coco`, `write_cityscapes` and
`write_imagenet` are the face; each writes a folder and returns a `SampleSet`. `painting`, `things` and `street` draw
street scenes, `shared` holds the camera, the checks of arguments and the writing. Imports `datasets.cityscapes` for its
table of labels, system and errors.
"""

from .cityscapes import write_cityscapes
from .coco import CATEGORIES, MAX_BOX_IOU, write_coco
from .imagenet import write_imagenet
from .shared import MARKER, SampleSet

__all__ = ["CATEGORIES", "MARKER", "MAX_BOX_IOU", "SampleSet", "write_cityscapes", "write_coco", "write_imagenet"]
