"""What an inspection found: kinds of faults, each with its effect on training and every example."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ...errors import printable
from ..report import few

#: what training does about a fault: it ends in one line; it leaves something out; it goes on
LEVELS = ("stops", "left out", "used")
SHOWN = 5


@dataclass(frozen=True)
class Finding:
    """A kind of fault.

    Attributes:
        kind: what it is, in words that stand before a count.
        level: one of `LEVELS`.
        effect: what training does about it, or what it does to the score.
        examples: every case, by name.
    """

    kind: str
    level: str
    effect: str
    examples: tuple[str, ...]

    def line(self) -> str:
        """One line with the count and the first examples."""
        shown = printable(few(list(self.examples), SHOWN))
        return f"{self.kind}: {len(self.examples)} ({shown}); {self.effect}"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "kind": self.kind, "level": self.level, "effect": self.effect, "count": len(self.examples),
            "examples": list(self.examples),
        }  # fmt: skip


@dataclass
class Findings:
    """The faults of a data set, in the order in which they were found."""

    found: list[Finding] = field(default_factory=list)

    def add(self, kind: str, level: str, effect: str, examples: Iterable[Any]) -> None:
        """Adds a kind of fault, unless there is no example."""
        if cases := tuple(map(str, examples)):
            self.found.append(Finding(kind, level, effect, cases))

    def in_order(self) -> list[Finding]:
        """The worst first."""
        return sorted(self.found, key=lambda finding: LEVELS.index(finding.level))
