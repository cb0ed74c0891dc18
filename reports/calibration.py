"""Whether a confidence is what it says: of the answers given with 80 %, are 80 % right?

Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks", ICML 2017.
"""

from __future__ import annotations

import numpy as np

#: as in the paper
BINS = 15


class Calibration:
    """Collects answers in bins of equal width: (0, 1/bins], (1/bins, 2/bins], ...

    Args:
        bins: how many.
    """

    def __init__(self, bins: int = BINS):
        self.bins = bins
        self.count = np.zeros(bins, np.int64)
        self._confidence = np.zeros(bins)
        self._right = np.zeros(bins, np.int64)

    def add(self, confidence: np.ndarray, right: np.ndarray) -> None:
        """Adds answers: float (N,) probability of the answer, 0 to 1; bool (N,) whether it is right."""
        confidence = np.asarray(confidence, np.float64).ravel()
        place = np.clip(np.ceil(confidence * self.bins).astype(np.int64) - 1, 0, self.bins - 1)
        self.count += np.bincount(place, minlength=self.bins)
        self._confidence += np.bincount(place, confidence, self.bins)
        self._right += np.bincount(place[np.asarray(right, bool).ravel()], minlength=self.bins)

    @property
    def confidence(self) -> np.ndarray:
        """float (bins,): the mean confidence in each bin; nan in an empty one."""
        return self._mean(self._confidence)

    @property
    def accuracy(self) -> np.ndarray:
        """float (bins,): the share of right answers in each bin; nan in an empty one."""
        return self._mean(self._right)

    def _mean(self, total):
        return np.divide(total, self.count, out=np.full(self.bins, np.nan), where=self.count > 0)

    def error(self) -> float:
        """ECE, the expected calibration error, 0 to 1: the mean of |accuracy - confidence| over the answers' bins."""
        if not self.count.sum():
            return float("nan")
        return float(np.nansum(np.abs(self.accuracy - self.confidence) * self.count) / self.count.sum())

    def largest_error(self) -> float:
        """MCE, the maximum calibration error: the largest |accuracy - confidence| of a bin; 0 to 1."""
        return float(np.nanmax(np.abs(self.accuracy - self.confidence))) if self.count.sum() else float("nan")
