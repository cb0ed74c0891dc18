"""Modules that others import at their start and mostly do not use: loaded when something of them is first used."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import PathFinder
from threading import RLock
from types import ModuleType
from typing import Any

_lock = RLock()


class _PutOff(ModuleType):
    """A module that is loaded when an attribute is asked for. Importing it again asks for none."""

    def __getattr__(self, name: str) -> Any:
        if "_put_off" not in vars(self) and type(self) is _PutOff:
            raise AttributeError(name)
        if name.startswith("__") and name != "__path__":  # which Python itself asks for
            raise AttributeError(name)
        with _lock:
            if type(self) is _PutOff:
                self.__class__ = ModuleType  # type: ignore[assignment]
                spec = self.__spec__
                assert spec is not None
                spec.loader, spec.submodule_search_locations = vars(self).pop("_put_off")
                self.__loader__, self.__package__ = spec.loader, spec.parent
                if spec.submodule_search_locations is not None:
                    self.__path__ = spec.submodule_search_locations
                if spec.origin is not None:
                    self.__file__ = spec.origin
                spec.loader.exec_module(self)
        return getattr(self, name)


class _Loader:
    """Stands in for a module's loader until the module is used."""

    def __init__(self, loader, path):
        self.loader, self.path = loader, path

    def create_module(self, spec: Any) -> ModuleType:
        """An empty module."""
        return _PutOff(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Keeps for later what loads it."""
        vars(module)["_put_off"] = self.loader, self.path


class _Finder:
    """Finds modules as Python does, and puts off their loading."""

    def __init__(self, names):
        self.names = names

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """The spec of one of the modules; None for others."""
        spec = PathFinder.find_spec(name, path, target) if name in self.names else None
        if spec is not None and spec.loader is not None:
            # without the folders of a package, so that importing one of its modules loads it
            loader: Any = _Loader(spec.loader, spec.submodule_search_locations)
            spec.loader, spec.submodule_search_locations = loader, None
        return spec


@contextmanager
def put_off(*names: str) -> Iterator[None]:
    """Within this context these modules are loaded only when something of them is used.

    `import name` then costs nothing; `from name import thing` loads it as ever.
    """
    finder: Any = _Finder(frozenset(names) - set(sys.modules))
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
