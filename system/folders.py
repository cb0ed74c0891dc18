"""Folders that appear whole or not at all: written under a hidden name beside their place, then renamed."""

import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import UserError


@contextmanager
def new_folder(target: str | Path) -> Iterator[Path]:
    """Yields an empty folder that becomes `target` at the end of the block, in place of what is there.

    It has the name of `target`, and lies in a hidden folder beside it. After an error the hidden folder is deleted, and
    `target` is as before. Hidden folders that a killed process left are deleted: no other process may write `target`.

    Raises:
        UserError: the folder of `target` cannot be written to.
    """
    target = Path(target)
    remove_leftovers(target)
    hidden = target.with_name(f".{target.name}-{secrets.token_hex(4)}")
    inner = hidden / target.name
    try:
        inner.mkdir(parents=True)
    except OSError as error:
        raise UserError(
            f"cannot write into the folder {target.parent} ({error.strerror or error}); give a folder that you may "
            f"write to"
        ) from error
    try:
        yield inner
        before = hidden / "before"
        try:
            if os.path.lexists(target):
                os.replace(target, before)
            os.replace(inner, target)
        except BaseException:  # Ctrl-C too: the old folder is never lost
            if os.path.lexists(before) and not os.path.lexists(target):
                os.replace(before, target)
            raise
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def remove_leftovers(target: Path) -> None:
    """Deletes the hidden folders that `new_folder` left when its process was killed.

    A process that was killed between its two renamings left the old folder there; it is put back.
    """
    if not target.parent.is_dir():
        return
    pattern = re.compile(re.escape(f".{target.name}-") + "[0-9a-f]{8}")
    for hidden in target.parent.iterdir():
        if pattern.fullmatch(hidden.name) and hidden.is_dir():
            if not os.path.lexists(target) and (hidden / "before").is_dir():
                os.replace(hidden / "before", target)
            shutil.rmtree(hidden, ignore_errors=True)
