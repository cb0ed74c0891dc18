"""What a detection configuration describes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from .. import task


@dataclass
class Job(task.Job):
    """What a detection configuration describes.

    Attributes:
        path: the file.
        cfg: PaddleDetection's global configuration, which its trainer and its components read.
        checked: what `data.check_data` found, by part.
        short_warmup: the warm-up is at most a tenth of the training, whatever the configuration says.
        given_weights: what an override said in PaddleDetection's spelling, `-o weights=FILE`; else None.
    """

    task: ClassVar[str] = "detection"
    path: Path
    cfg: Any
    given_weights: str | None = None
    short_warmup: bool = False
    checked: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The file's name without its extension, or the configuration's `filename`."""
        return self.cfg.filename

    @property
    def save_dir(self) -> str:  # type: ignore[override]
        """Results go to save_dir/NAME."""
        return self.cfg.save_dir

    @property
    def log_iters(self) -> int:
        """Iterations between two lines of the history."""
        return self.cfg.log_iter

    @property
    def num_workers(self) -> int:
        """Processes that read pictures; 0 reads them in this one."""
        return self.cfg.worker_num

    @property
    def keep_checkpoints(self) -> int:
        """0: all snapshots are kept, as in PaddleDetection."""
        return 0

    @property
    def num_classes(self) -> int:  # type: ignore[override]
        """Classes of the detector."""
        return self.cfg.num_classes
