"""Precision, recall and F1 over the threshold on a score, and the best threshold of each class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: thresholds are 0, 1/STEPS, 2/STEPS, ... 1
STEPS = 1000
THRESHOLDS = np.arange(STEPS + 1) / STEPS


@dataclass(frozen=True)
class Best:
    """The threshold at which a class has its highest F1.

    Attributes:
        threshold: on the score, 0 to 1.
        precision, recall, f1: there, 0 to 1.
    """

    threshold: float
    precision: float
    recall: float
    f1: float


class ThresholdCounts:
    """Counts, for each class and threshold, the answers with a score of at least the threshold, and the right ones.

    It holds 16 KB for each class, however many answers are added. The figures at its thresholds are exact.

    Args:
        classes: how many.
    """

    def __init__(self, classes: int):
        self.classes = classes
        self._right = np.zeros((classes, STEPS + 1), np.int64)
        self._all = np.zeros((classes, STEPS + 1), np.int64)
        self.truths = np.zeros(classes, np.int64)

    def add(self, label: np.ndarray, score: np.ndarray, right: np.ndarray) -> None:
        """Adds answers: int (N,) classes, float (N,) scores of 0 to 1, bool (N,) whether they are right."""
        places = np.asarray(label, np.int64) * (STEPS + 1) + steps_of(score)
        size = self._all.size
        self._all += np.bincount(places, minlength=size).reshape(self._all.shape)
        self._right += np.bincount(places[np.asarray(right, bool)], minlength=size).reshape(self._all.shape)

    def add_shares(self, label: np.ndarray, shares: np.ndarray) -> None:
        """Adds the probabilities of all classes: each class against the rest.

        Args:
            label: int (N,), the true classes.
            shares: float (N, C), 0 to 1.
        """
        numbers = np.broadcast_to(np.arange(self.classes), shares.shape)
        self.add(numbers.ravel(), shares.ravel(), (numbers == label[:, None]).ravel())
        self.truths += np.bincount(label, minlength=self.classes)

    def curves(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(precision, recall, F1) at every threshold of `THRESHOLDS`, each float (C, STEPS + 1).

        precision = right / all, recall = right / truths, F1 = 2 right / (all + truths). Precision is nan where no
        answer is left; recall and F1 are nan for a class that does not occur.
        """
        right, all_ = (np.cumsum(c[:, ::-1], axis=1)[:, ::-1].astype(float) for c in (self._right, self._all))
        truths = np.where(self.truths > 0, self.truths, np.nan)[:, None].astype(float)
        with np.errstate(invalid="ignore", divide="ignore"):
            return right / np.where(all_ > 0, all_, np.nan), right / truths, 2 * right / (all_ + truths)

    def best(self) -> list[Best | None]:
        """The best threshold of each class, in the middle where several are best; None where no answer is right."""
        precision, recall, f1 = self.curves()
        return [_best(*rows) for rows in zip(precision, recall, f1)]

    def best_for_all(self) -> Best | None:
        """The one threshold at which the mean F1 of the classes that occur is highest; None where no answer is right.

        Precision and recall are means over these classes, and a class without an answer counts as precision 0.
        """
        precision, recall, f1 = (rows[self.truths > 0] for rows in self.curves())
        if not len(f1):
            return None
        return _best(np.nan_to_num(precision).mean(0), recall.mean(0), f1.mean(0))

    def average_precision(self) -> np.ndarray:
        """float (C,): the sum of (recall step) x precision over the thresholds; nan for a class that does not occur.

        It is scikit-learn's average precision of scores that are rounded down to thousandths.
        """
        precision, recall, _ = self.curves()
        steps = recall - np.append(recall[:, 1:], np.zeros((self.classes, 1)), axis=1)
        return (np.nan_to_num(precision) * steps).sum(1)


def steps_of(score: np.ndarray) -> np.ndarray:
    """float (N,) scores of 0 to 1 -> int (N,): the place of the highest threshold that each reaches."""
    return np.clip(np.floor(np.asarray(score, np.float64) * STEPS), 0, STEPS).astype(np.int64)


def thresholds_of(best: list[Best | None], for_all: Best | None) -> np.ndarray:
    """float (C,): each class's best threshold; for a class without one that for all classes, or else 0.5."""
    usual = 0.5 if for_all is None else for_all.threshold
    return np.array([usual if one is None else one.threshold for one in best])


def at_recalls(precision: np.ndarray, recall: np.ndarray) -> np.ndarray:
    """Precision at the recalls 0, 0.01, ... 1: the best one of all thresholds with this recall or a higher one.

    Args:
        precision, recall: float (C, N) from `ThresholdCounts.curves`.

    Returns:
        float (C, 101); 0 where the recall is not reached, nan for a class that does not occur.
    """
    wanted = np.linspace(0, 1, 101)
    rows = []
    for own_precision, own_recall in zip(np.nan_to_num(precision)[:, ::-1], recall[:, ::-1]):
        best = np.append(np.maximum.accumulate(own_precision[::-1])[::-1], 0.0)
        places = np.searchsorted(own_recall, wanted, side="left")  # from the highest threshold on, recall rises
        rows.append(best[places] if np.isfinite(own_recall).all() else np.full(101, np.nan))
    return np.array(rows).reshape(-1, 101)


def _best(precision, recall, f1):
    if not np.nanmax(np.nan_to_num(f1), initial=0) > 0:
        return None
    places = np.flatnonzero(f1 == np.nanmax(f1))
    run = places[: 1 + int(np.argmax(np.append(np.diff(places) != 1, True)))]  # the first of several plateaus
    place = run[len(run) // 2]
    return Best(float(THRESHOLDS[place]), float(precision[place]), float(recall[place]), float(f1[place]))
