"""The order of turns, and figures of them."""

import numpy as np

from densebone.comparison import measuring


class Recorder:
    """An engine that notes when it runs."""

    def __init__(self, name, notes):
        self.name, self.notes = name, notes

    def run(self, images):
        self.notes.append(self.name)


def test_turns_go_forwards_and_backwards():
    notes = []
    engines = [Recorder(name, notes) for name in "abc"]
    times = measuring.take_turns(engines, np.zeros((1, 3, 2, 2), "float32"), rounds=3, seconds=1e-9)
    each = [name for place, name in enumerate(notes[9:]) if not place % 5]  # 3 runs each to begin with; 2 + 3 in a turn
    assert each == ["a", "b", "c", "c", "b", "a", "a", "b", "c"]
    assert [[len(taken) for taken in rounds] for rounds in times] == [[3, 3, 3]] * 3
    assert all(time >= 0 for rounds in times for taken in rounds for time in taken)


def test_figures_of_turns():
    slow, fast = [[4.0, 6.0, 5.0], [10.0]], [[1.0, 2.0, 3.0], [5.0]]
    assert measuring.median(slow) == 5.5
    assert measuring.least(fast) == 1.0
    assert measuring.ratio(slow, fast) == np.median([2.5, 2.0])
