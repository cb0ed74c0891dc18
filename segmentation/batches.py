"""PaddleSeg's training pictures in batches that follow from the seed and the iteration alone (see `loading`)."""

import paddle

from .. import loading

# What PaddleSeg's transforms leave for evaluation alone.
_EVALUATION_KEYS = ("trans_info", "gt_fields")


class Batches(loading.Batches):
    """Each epoch has the order in which PaddleSeg takes its pictures, and leaves out the last ones that do not fill a
    batch; with several processes each gets its own part.

    Args:
        dataset: of PaddleSeg.
        batch_size (int): pictures a process.
        start, iters (int): see `loading.Batches`.
    """

    def __init__(self, dataset, batch_size, start, iters):
        sampler = paddle.io.DistributedBatchSampler(dataset, batch_size, shuffle=True, drop_last=True)
        super().__init__(sampler, start, iters)


class SeededDataset(loading.SeededDataset):
    """PaddleSeg's data set, its transforms seeded: -> dict of the arrays img (3, H, W), label (H, W) and what else
    training needs."""

    def prepare(self, index):
        """See `loading.SeededDataset`."""
        return {name: value for name, value in self.dataset[index].items() if name not in _EVALUATION_KEYS}

    def files(self, index):
        """The names of a picture's files, as text."""
        listed = getattr(self.dataset, "file_list", None)
        return " and ".join(map(str, listed[index])) if listed else f"picture {index}"
