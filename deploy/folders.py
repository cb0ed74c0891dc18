"""The folder of an exported model, which is replaced as a whole or not at all."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..engines.formats import holds_export
from ..errors import UserError


@contextmanager
def exported_folder(target: str | Path) -> Iterator[Path]:
    """Yields a path to write an exported model to. At the end of the block it becomes `target`.

    The path has the name of `target` and lies in a new hidden folder beside it. The block creates it. After an error
    the hidden folder is deleted and `target` is as before.

    Args:
        target: the folder of the exported model. An earlier model there is replaced.

    Raises:
        UserError: `target` exists and is no exported model, or its parent folder cannot be written to.
    """
    target = Path(target)
    if os.path.lexists(target) and not holds_export(target):
        raise UserError(
            f"{target} exists and is no exported model; only an exported model is replaced: give another -O DIR"
        )
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
