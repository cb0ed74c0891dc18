"""What the toolkits would run of an input, they do not run here.

Both toolkits unpickle weights, evaluate some strings of a configuration as Python, and unpack archives without looking
at the paths in them. PaddleDetection also unpickles its cache of decoded pictures. `guard` puts checks before these,
for calls that come from a toolkit. Calls of other code are as they were.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import sys
import tarfile
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import paddle

from ..errors import UserError
from ..system.files import atomic_path
from ..weights.reader import read_pickle

_TOOLKITS = ("ppdet", "paddleseg")
# A name such as LayerNorm or nn.LayerNorm, and a call of it without arguments. No part begins with an underscore.
_NAME = re.compile(r"[A-Za-z]\w*(\.[A-Za-z]\w*)*(\(\))?")


def guard() -> None:
    """Sets all guards, once. Call it after a toolkit was imported."""
    if not hasattr(paddle.load, "guarded"):
        paddle.load = _guarded(paddle.load)
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in _TOOLKITS and isinstance(module, ModuleType):
            vars(module)["eval"] = evaluate_name
    _guard_pictures()
    _guard_archives()
    _guard_cache()


def _from_toolkit(depth):
    return sys._getframe(depth).f_globals.get("__name__", "").partition(".")[0] in _TOOLKITS


def _guarded(load):
    @functools.wraps(load)
    def safe(path: Any, *arguments: Any, **options: Any) -> Any:
        if _from_toolkit(2):
            if not isinstance(path, (str, Path)):
                raise UserError(f"weights are given as {type(path).__name__}; a file is expected")
            read_pickle(path)  # refuses anything but weights, before Paddle unpickles the file
        return load(path, *arguments, **options)

    safe.guarded = True
    return safe


def evaluate_name(text: Any, *_: Any) -> Any:
    """What a toolkit's `eval` gives for the name of a class or function; UserError for any other expression."""
    if not isinstance(text, str) or not _NAME.fullmatch(text):
        raise UserError(
            f"{text!r} would be run as Python by the toolkit; the name of a layer is expected, such as nn.LayerNorm"
        )
    frame = sys._getframe(1)
    first, *rest = text.removesuffix("()").split(".")
    for names in (frame.f_locals, frame.f_globals):
        if first in names:
            found = names[first]
            break
    else:
        raise UserError(f"the toolkit knows no {first!r}, which the configuration names in {text!r}")
    for part in rest:
        if not hasattr(found, part):
            raise UserError(f"the toolkit knows no {text!r}, which the configuration names")
        found = getattr(found, part)
    if getattr(found, "__module__", "").partition(".")[0] not in ("paddle", *_TOOLKITS):
        raise UserError(f"{text!r} in the configuration is no class or function of Paddle or the toolkit")
    return found() if text.endswith("()") else found


def _guard_pictures():
    """Pillow starts Ghostscript for a PostScript file, whatever it is called."""
    from PIL import EpsImagePlugin

    EpsImagePlugin.gs_binary = False


def _guard_archives():
    """Tar archives are unpacked without links and devices, and not outside their folder. zipfile does so by itself."""
    if hasattr(tarfile, "data_filter"):
        tarfile.TarFile.extraction_filter = staticmethod(_checked_member)


def _checked_member(member, folder):
    try:
        return tarfile.data_filter(member, folder)
    except tarfile.FilterError as error:
        raise UserError(f"an archive that a toolkit unpacks is refused: {error}") from error


def _guard_cache():
    """PaddleDetection's cache of decoded pictures holds arrays, not pickles."""
    operators = sys.modules.get("ppdet.data.transform.operators")
    cache = getattr(operators, "DecodeCache", None)
    if cache is not None:
        cache.load, cache.dump = staticmethod(_load_picture), staticmethod(_dump_picture)
        cache.cache_path = staticmethod(_cached_name)


def _cached_name(folder, picture):
    """A name for each file, and another one when the file changes; PaddleDetection's is the same in every folder."""
    path, about = os.path.realpath(picture), os.stat(picture)
    key = hashlib.sha256(f"{path}\0{about.st_size}\0{about.st_mtime_ns}".encode("utf-8", "surrogateescape")).hexdigest()
    return os.path.join(folder, f"{key[:20]}.npy")


def _load_picture(path):
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is no cached picture ({error}); delete the folder cache_root") from error


def _dump_picture(image, path):
    with atomic_path(path) as temporary, open(temporary, "wb") as stream:
        np.save(stream, np.asarray(image), allow_pickle=False)
