"""Repairs of toolkit releases that a newer Paddle broke: the table they stand in and what switches them on.

The repairs stand in `densebone.integrations.compat.paddledet`, one function each. A repair is applied only
where it is due: the toolkit is the release it was written for, the source of every function it concerns is,
byte for byte, the one known to be defective, and the installed Paddle trips over it. A development
checkout or a copy that somebody has repaired is therefore left as it is.
"""

import hashlib
import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce

import paddle

from ...errors import UserError


@dataclass(frozen=True)
class Repair:
    """One defect of one toolkit release and the way round it.

    Args:
        name: how `apply(skip=...)` and `densebone doctor` call it.
        symptom: the error text, or what goes wrong silently.
        why: what needs the repair, e.g. "SSD training".
        paddle: the oldest Paddle that needs it, "3.0"; every newer one does too.
        sources: "module:qualified.name" of each defective function -> its `fingerprint`.
        seam: "module:qualified.name" of the one attribute that is replaced.
        needed: a further condition besides the version of Paddle, or None.
        build: original value of the seam -> its replacement; the docstring tells the whole story.
    """

    name: str
    symptom: str
    why: str
    paddle: str
    sources: dict
    seam: str
    needed: Callable | None
    build: Callable

    @property
    def story(self) -> str:
        """The docstring of the repair: symptom, versions, who needs it and what it does."""
        return inspect.getdoc(self.build)


def _owner(path: str) -> tuple:
    """ "module:Class.attribute" -> (the class or module that holds the attribute, the attribute's name)."""
    module, _, qualified = path.partition(":")
    *parents, attribute = qualified.split(".")
    # importlib, not `import a.b as c`: packages of the toolkits shadow their own modules with star imports.
    return reduce(getattr, parents, importlib.import_module(module)), attribute


def fingerprint(path: str) -> str:
    """First 16 hex digits of the SHA-256 of the source of "module:qualified.name"; "" without a source."""
    try:
        source = inspect.getsource(getattr(*_owner(path)))
    except (ImportError, AttributeError, TypeError, OSError):
        return ""
    return hashlib.sha256(source.encode()).hexdigest()[:16]


def paddle_is_at_least(version: str) -> bool:
    """Whether the installed Paddle is `version` ("3.0") or newer; a nightly build, 0.0.0, is newer."""
    installed = [int(part) for part in paddle.__version__.split(".")[:2]]
    return installed == [0, 0] or installed >= [int(part) for part in version.split(".")]


class RepairTable:
    """The repairs of one toolkit release.

    Args:
        toolkit: import name, "ppdet".
        release: the `__version__` the repairs were written for; any other gets none.
    """

    def __init__(self, toolkit: str, release: str):
        self.toolkit, self.release = toolkit, release
        self.repairs = {}  # name -> Repair, in the order they are written
        self._originals = {}  # name of a repair in force -> what stood at its seam before

    def repair(self, *, symptom, why, paddle, sources, seam=None, needed=None):
        """Enter the decorated function, original -> replacement, in the table under its own name.

        The arguments are those of `Repair`; without `seam`, the function in `sources` is replaced.
        """

        def enter(build):
            name = build.__name__
            if name in self.repairs:
                raise KeyError(f"two repairs are called {name!r}")
            path = seam or next(iter(sources))
            self.repairs[name] = Repair(name, symptom, why, paddle, sources, path, needed, build)
            return build

        return enter

    def reason_against(self, name: str) -> str:
        """Why the repair `name`, which is not in force, is not due here; "" where it is due."""
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

    def apply(self, skip=()) -> list:
        """Put every repair in force that is due, except those named in `skip`; return what is then in force.

        Calling it again changes nothing. A repair in force that `skip` names is taken back.
        """
        skip = (skip,) if isinstance(skip, str) else tuple(skip)
        unknown = sorted(set(skip) - set(self.repairs))
        if unknown:
            raise UserError(f"no repair of {self.toolkit} is called {unknown}; there are {list(self.repairs)}")
        for name in skip:
            if name in self._originals:
                setattr(*_owner(self.repairs[name].seam), self._originals.pop(name))
        for name, repair in self.repairs.items():
            if name in skip or name in self._originals or self.reason_against(name):
                continue
            owner, attribute = _owner(repair.seam)
            self._originals[name] = getattr(owner, attribute)
            setattr(owner, attribute, repair.build(self._originals[name]))
        return self.in_force()

    def in_force(self) -> list:
        """The repairs now in force, in the order of the table."""
        return [repair for name, repair in self.repairs.items() if name in self._originals]
