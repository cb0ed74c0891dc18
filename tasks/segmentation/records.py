"""A checked data set as PaddleSeg's transforms, training and evaluation take it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddleseg.transforms import functional

from ...datasets.label_map import LabelMap
from ...datasets.masks import read_mask, wrong_value
from ...errors import UserError
from ...pictures.reading import open_picture
from .pairs import Pair


class CheckedDataset(paddle.io.Dataset):
    """A `Dataset` of PaddleSeg, whose labels are read and checked here.

    Args:
        dataset: PaddleSeg's, for its transforms and settings.
        pairs: the pictures and labels.
        name: what messages call it.
        table: uint8 (256,), a label -> the number that the network has for it; None keeps the labels.
        mapping: what the labels' values mean; None: they are the class numbers.
    """

    def __init__(
        self,
        dataset: Any,
        pairs: Sequence[Pair],
        name: str,
        table: np.ndarray | None = None,
        mapping: LabelMap | None = None,
    ):
        super().__init__()
        self.file_list = [[str(image), str(label)] for image, label in pairs]
        self.name, self.table, self.mapping = name, table, mapping
        self.transforms, self.mode = dataset.transforms, dataset.mode
        self.num_classes, self.ignore_index = dataset.num_classes, dataset.ignore_index
        self.edge = getattr(dataset, "edge", False)

    def __len__(self) -> int:
        return len(self.file_list)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """A dict of img (3, H, W), label (H, W) or in mode val (1, H, W), trans_info, gt_fields, and edge if asked for.

        Raises:
            UserError: a label with a value that is neither a class nor ignored.
        """
        image, label = self.file_list[index]
        values = read_mask(label) if self.mapping is None else self.mapping.read(label)
        if wrong := wrong_value(values, self.num_classes, self.ignore_index):
            raise UserError(f"{self.name}: {wrong_label(Path(label), wrong, self.num_classes, self.ignore_index)}")
        if self.table is not None:
            values = self.table[values]
        fields = [] if self.mode == "val" else ["label"]  # what the transforms treat as they treat the picture
        data = self.transforms({"trans_info": [], "img": image, "label": values, "gt_fields": fields})
        if self.mode == "val":
            data["label"] = data["label"][np.newaxis]
        elif self.edge:
            data["edge"] = functional.mask_to_binary_edge(data["label"], radius=2, num_classes=self.num_classes)
        return data


def wrong_label(label: Path, wrong: tuple[int, int, int], num_classes: int, ignore_index: int) -> str:
    """What to say of a label with a value that is no class; `wrong` is from `datasets.masks.wrong_value`."""
    value, pixels, kinds = wrong
    more = f" ({kinds} such values)" if kinds > 1 else ""
    with open_picture(label) as picture:
        palette = "; it has a palette, and the indices of its colours count" if picture.mode == "P" else ""
    return (
        f"{label} has the value {value} in {pixels} pixels{more}; allowed are the classes 0 to {num_classes - 1}, and "
        f"{ignore_index} where no class counts{palette}"
    )
