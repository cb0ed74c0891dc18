"""The folder of an exported model, which is replaced as a whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..engines.formats import holds_export
from ..errors import UserError
from ..system.folders import new_folder, remove_leftovers
from ..system.locks import only_one


@contextmanager
def exported_folder(target: str | Path) -> Iterator[Path]:
    """Yields a folder to write an exported model to; see `system.folders.new_folder`.

    Args:
        target: the folder of the exported model. An earlier model there is replaced.

    Raises:
        UserError: `target` exists and is no exported model, another process writes it, or its parent folder cannot be
            written to.
    """
    target = Path(target)
    with only_one(target, "exports to"):
        remove_leftovers(target)
        if os.path.lexists(target) and not holds_export(target):
            raise UserError(
                f"{target} exists and is no exported model; only an exported model is replaced: give another -O DIR"
            )
        with new_folder(target) as folder:
            yield folder
