"""Repairs of toolkit releases that a newer Paddle broke: the table that holds them, and the code that applies them.

`compat.paddledet` and `compat.paddleseg` hold the repairs, one function each, and offer `apply`, `in_force` and
`reason_against`. A repair is applied only where it is due. Three conditions must hold: the toolkit is the release that
the repair was written for; the source of every function it concerns is, byte for byte, the known defective one; the
installed libraries trigger the defect. A development checkout, or a copy that somebody has fixed, is therefore left
alone. Imports nothing of the package but errors.
"""

import hashlib
import importlib
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import reduce
from typing import Any, TypeVar

import paddle

from ...errors import UserError

Build = TypeVar("Build", bound=Callable[[Any], Any])


@dataclass(frozen=True)
class Repair:
    """One defect of one toolkit release, and its repair.

    Attributes:
        name: what `apply(skip=...)` and `densebone doctor` call it.
        symptom: the error text, or what goes wrong silently.
        why: what needs the repair, such as "SSD training".
        paddle: the oldest Paddle that needs it, such as "3.0". Every newer one needs it too.
        sources: {"module:qualified.name" of each defective function: its `fingerprint`}.
        seam: "module:qualified.name" of the one attribute that is replaced.
        needed: a further condition besides the version of Paddle, or None.
        build: maps the original value of the seam to its replacement. Its docstring explains the repair.
    """

    name: str
    symptom: str
    why: str
    paddle: str
    sources: dict[str, str]
    seam: str
    needed: Callable[[], bool] | None
    build: Callable[[Any], Any]

    @property
    def story(self) -> str:
        """The docstring of the repair: what is wrong, and what the repair does."""
        return inspect.getdoc(self.build) or ""


def _owner(path: str) -> tuple[Any, str]:
    """ "module:Class.attribute" -> (the class or module that holds the attribute, the attribute's name)."""
    module, _, qualified = path.partition(":")
    *parents, attribute = qualified.split(".")
    # importlib, not `import a.b as c`: packages of the toolkits shadow their own modules with star imports.
    return reduce(getattr, parents, importlib.import_module(module)), attribute


def fingerprint(path: str) -> str:
    """First 16 hex digits of the SHA-256 of the source of "module:qualified.name", or "" when it has no source."""
    try:
        source = inspect.getsource(getattr(*_owner(path)))
    except (ImportError, AttributeError, TypeError, OSError):
        return ""
    return hashlib.sha256(source.encode()).hexdigest()[:16]


def paddle_is_at_least(version: str) -> bool:
    """Whether the installed Paddle is `version`, such as "3.0", or newer. A nightly build, 0.0.0, counts as newer."""
    installed = [int(part) for part in paddle.__version__.split(".")[:2]]
    return installed == [0, 0] or installed >= [int(part) for part in version.split(".")]


class RepairTable:
    """The repairs of one toolkit release.

    Args:
        toolkit: its import name, such as "ppdet".
        release: the `__version__` that the repairs were written for. Any other version gets none.
    """

    def __init__(self, toolkit: str, release: str) -> None:
        self.toolkit, self.release = toolkit, release
        self.repairs: dict[str, Repair] = {}  # by name, in the order in which they are written
        self._originals: dict[str, Any] = {}  # name of a repair in force -> the original value of its seam

    def repair(
        self,
        *,
        symptom: str,
        why: str,
        paddle: str,
        sources: dict[str, str],
        seam: str | None = None,
        needed: Callable[[], bool] | None = None,
    ) -> Callable[[Build], Build]:
        """Enters the decorated function, original -> replacement, in the table under its own name.

        The arguments are those of `Repair`. Without `seam`, the function in `sources` is replaced.
        """

        def enter(build: Build) -> Build:
            name = build.__name__
            if name in self.repairs:
                raise KeyError(f"two repairs are called {name!r}")
            path = seam or next(iter(sources))
            self.repairs[name] = Repair(name, symptom, why, paddle, sources, path, needed, build)
            return build

        return enter

    def reason_against(self, name: str) -> str:
        """Why a repair that is not in force is not due here; "" when it is due."""
        repair = self.repairs[name]
        installed = getattr(importlib.import_module(self.toolkit), "__version__", "a source checkout")
        if installed != self.release:
            return f"{self.toolkit} is {installed}, the repairs are for release {self.release}"
        if not paddle_is_at_least(repair.paddle):
            return f"paddle {paddle.__version__} does not need it, {repair.paddle} and newer do"
        if repair.needed and not repair.needed():
            return "the installed libraries do not need it"
        changed = [path for path, known in repair.sources.items() if fingerprint(path) != known]
        return f"{', '.join(changed)} is not the source of release {self.release}" if changed else ""

    def apply(self, skip: str | Iterable[str] = ()) -> list[Repair]:
        """Applies every repair that is due and undoes those named in `skip`. Returns the repairs in force.

        A second call changes nothing.

        Raises:
            UserError: `skip` names an unknown repair.
        """
        skip = (skip,) if isinstance(skip, str) else tuple(skip)
        unknown = sorted(set(skip) - set(self.repairs))
        if unknown:
            raise UserError(f"no repair of {self.toolkit} is called {unknown}; there are {list(self.repairs)}")
        for name in skip:
            if name in self._originals:
                owner, attribute = _owner(self.repairs[name].seam)
                setattr(owner, attribute, self._originals.pop(name))
        for name, repair in self.repairs.items():
            if name in skip or name in self._originals or self.reason_against(name):
                continue
            owner, attribute = _owner(repair.seam)
            self._originals[name] = getattr(owner, attribute)
            setattr(owner, attribute, repair.build(self._originals[name]))
        return self.in_force()

    def in_force(self) -> list[Repair]:
        """The repairs that are applied now, in the order of the table."""
        return [repair for name, repair in self.repairs.items() if name in self._originals]
