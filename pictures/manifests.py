"""Lists of pictures: .txt with a path in each line, .parquet with a column of them."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from typing import BinaryIO

from ..errors import UserError
from ..system.packages import import_pyarrow

ENDINGS = (".txt", ".parquet")
#: names of the column in Parquet that holds the paths, the likeliest first
COLUMNS = ("path", "url", "uri", "file_name", "image_path", "image_url", "name")


def is_list(name: str) -> bool:
    """Whether a file with this name is a list."""
    return name.lower().endswith(ENDINGS)


def listed_in(name: str, opened: Callable[[], BinaryIO]) -> Iterator[str]:
    """Yields the paths and addresses that a list holds. Those that are relative are below the list's folder.

    Args:
        name: the path or the address of the list.
        opened: opens it; called when the first is asked for.

    Raises:
        UserError: it cannot be read, or has no column of paths.
    """
    folder = os.path.dirname(name.partition("?")[0])
    with opened() as stream:
        for line in (_of_parquet if name.lower().partition("?")[0].endswith(".parquet") else _of_text)(name, stream):
            yield line if "://" in line else os.path.join(folder, line)


def _of_text(name, stream):
    for line in io.TextIOWrapper(stream, encoding="utf-8", errors="surrogateescape"):
        if line.strip():
            yield line.strip()


def _of_parquet(name, stream):
    pyarrow, parquet = import_pyarrow()
    try:
        file = parquet.ParquetFile(stream)
        columns = {field.name: field.type for field in file.schema_arrow}
        texts = [key for key, kind in columns.items() if pyarrow.types.is_string(kind) or _is_long(pyarrow, kind)]
        column = next((key for key in COLUMNS if key in texts), None) or (texts[0] if len(texts) == 1 else None)
        if column is None:
            raise UserError(
                f"{name} has no column of paths; it has {', '.join(columns)}, and text in one called "
                f"{', '.join(COLUMNS)} is looked for"
            )
        for batch in file.iter_batches(columns=[column]):
            yield from (path for path in batch.column(0).to_pylist() if path)
    except (pyarrow.ArrowException, OSError) as error:
        words = " ".join(str(error).split())[:160]
        raise UserError(f"{name} cannot be read as Parquet ({words}); write it again") from error


def _is_long(pyarrow, kind):
    return pyarrow.types.is_large_string(kind) or (
        pyarrow.types.is_dictionary(kind) and pyarrow.types.is_string(kind.value_type)
    )
