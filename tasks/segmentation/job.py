"""What a segmentation configuration describes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from .. import task


@dataclass
class Job(task.Job):
    """What a segmentation configuration describes.

    Attributes:
        path: the file.
        dic: its settings with those of its bases, overrides applied.
        config: a `paddleseg.cvlibs.Config` made from `dic`, which PaddleSeg completes in it.
        builder: a `paddleseg.cvlibs.SegBuilder`. Its `model`, `train_dataset`, `val_dataset`, `loss`, `lr_scheduler`
            and `optimizer` are each built when first asked for. They raise UserError where a component does.
        save_dir: results go to save_dir/NAME.
        log_iters: iterations between two lines of the history.
        save_interval: iterations between two snapshots.
        num_workers: processes that read pictures; 0 reads them in this one, null takes what suits the machine.
        keep_checkpoints: how many snapshots are kept; 0 keeps all.
        class_names: one for each class, or None.
        label_map: what the configuration says of the labels' values, see `datasets.label_map.parse`; None: they are the
            class numbers.
        use_gpu: None takes a GPU when there is one.
        checked: what `data.check_data` found, by part.
        epochs: of the whole training, in place of the configuration's iters; None where those count.
    """

    task: ClassVar[str] = "segmentation"
    path: Path
    dic: dict[str, Any]
    config: Any
    builder: Any
    save_dir: str
    log_iters: int
    save_interval: int
    num_workers: int
    keep_checkpoints: int
    class_names: list[str] | None
    use_gpu: bool | None
    label_map: Any = None
    checked: dict[str, Any] = field(default_factory=dict)
    epochs: int | None = None

    @property
    def num_classes(self) -> int:  # type: ignore[override]
        """Classes of the model and of the data set."""
        from .checks import num_classes

        return num_classes(self.dic)

    @property
    def ignore_index(self) -> int:
        """The label value of pixels that do not count."""
        given = self.dic["train_dataset"].get("ignore_index", 255)
        return getattr(self.builder.train_dataset_class, "IGNORE_INDEX", given)

    @property
    def test_config(self) -> dict[str, Any]:
        """A copy of PaddleSeg's settings of an evaluation: aug_eval, scales, is_slide, ..."""
        return dict(self.dic.get("test_config") or {})
