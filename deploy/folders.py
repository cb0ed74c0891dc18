"""The folder of an exported model, which is replaced as a whole or not at all."""

import os
import secrets
import shutil
from contextlib import contextmanager
from pathlib import Path

from ..engines.formats import PARAMETERS, holds_export
from ..errors import UserError


@contextmanager
def exported_folder(target):
    """Yield a path of the same name in a new hidden folder beside `target`; on success it becomes `target`.

    The hidden folder is there, the yielded one is not yet. On failure both are removed and `target` is as before.

    Args:
        target (str | Path): the folder of the exported model; an earlier model there is replaced.

    Raises:
        UserError: `target` is there and is not an exported model, or its parent cannot be written to.
    """
    target = Path(target)
    if os.path.lexists(target) and not holds_export(target):
        raise UserError(f"{target} is there and holds no {PARAMETERS}; only an exported model is replaced: give -O DIR")
    hidden = target.with_name(f".{target.name}-{secrets.token_hex(4)}")
    try:
        hidden.mkdir(parents=True)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"cannot write into the folder {target.parent} ({reason}); give another -O DIR") from error
    try:
        yield hidden / target.name
        before = hidden / "before"
        if target.exists():
            os.replace(target, before)
        try:
            os.replace(hidden / target.name, target)
        except OSError:
            if before.exists():
                os.replace(before, target)
            raise
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
