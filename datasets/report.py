"""What the check of a data set found: one line for each kind, with a count and three examples."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..errors import UserError, printable

EXAMPLES = 3


class Report:
    """Findings about one data set.

    A finding is either a note, such as a field that was filled in, or something that is left out. The latter stops a
    strict check.

    Args:
        subject: what the lines begin with, such as "TrainDataset".
        lenient: collect what cannot be read in place of raising it: an inspection wants to find all of it.

    Attributes:
        faults: what was collected.
    """

    def __init__(self, subject: str, lenient: bool = False):
        self.subject, self.lenient = subject, lenient
        self.faults: list[str] = []
        self._notes: list[str] = []
        self._dropped: list[str] = []

    def fault(self, text: str) -> None:
        """Raises a UserError with this text, or collects it where the report is lenient."""
        if not self.lenient:
            raise UserError(text)
        self.faults.append(text)

    def note(self, kind: str, examples: Iterable[object] = (), count: int | None = None) -> None:
        """Adds a line about something that is used all the same.

        Args:
            kind: what was found, in words that stand before a count: "boxes without an area, which is computed".
            examples: some or all of them; three are shown. Nothing is added when there are none and no count.
            count: how many there are; None counts the examples.
        """
        if line := _line(kind, list(examples), count):
            self._notes.append(line)

    def drop(self, kind: str, examples: Iterable[object] = (), count: int | None = None) -> None:
        """Adds a line about something that is left out; arguments as for `note`."""
        if line := _line(kind, list(examples), count):
            self._dropped.append(line)

    def lines(self) -> list[str]:
        """All findings, what is left out first."""
        return [f"{self.subject}: {line}" for line in (*self._dropped, *self._notes)]

    def refuse_drops(self) -> None:
        """Raises UserError when something is left out: the strict check."""
        if self._dropped:
            raise UserError(f"{self.subject}: {'; '.join(self._dropped)}; mend the data, or leave out --strict")


def _line(kind, examples, count):
    count = len(examples) if count is None else count
    if not count:
        return None
    kind, shown = printable(kind), printable(", ".join(map(str, examples[:EXAMPLES])))
    shown += ", ..." if 0 < min(EXAMPLES, len(examples)) < count else ""
    return f"{kind}: {count}" + (f" ({shown})" if shown else "")


def few(items: Sequence[object], count: int = 8) -> str:
    """The first items of a list as text."""
    return ", ".join(map(str, items[:count])) + (", ..." if len(items) > count else "")
