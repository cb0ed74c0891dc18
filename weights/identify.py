"""Finds out what is known of given weights: their catalog entry, or what training kept beside them. Never downloads."""

import json
import os
from pathlib import Path
from typing import Any

from ..system.files import sha256_of
from .catalog import Entry, default_for, find, is_published, is_url, of_url
from .integrity import digests, owners


def entry_of(given: object, model: str | None = None) -> Entry | None:
    """The catalog entry of weights, in any form that `pretrained` of `create_model` takes.

    Args:
        given: True for the model's default weights; a URL; the name of published weights; or the path of a file, which
            is recognised by its published hash. A file takes precedence over published weights of the same name.
        model: the model that True refers to. When it is given, a file only counts as a checkpoint of this model.

    Returns:
        The entry. For a URL outside the catalog, an entry that knows only the URL. None when nothing is known about
        the weights: arrays, unknown files, a name that does not exist, False or None.

    Raises:
        UserError: `given` is True and the model has no default weights; or the URL is neither http nor https.
    """
    if given is True:
        return default_for(model or "")
    if not isinstance(given, (str, os.PathLike)):
        return None
    text = str(given)
    if is_url(text):
        return of_url(text)
    if is_published(text):
        return find(text)
    path = Path(text)
    known = owners(digests(path)) if path.is_file() else []
    return next((entry for entry in known if model in (None, entry.model)), None)


def kept_beside(given: object) -> dict[str, Any]:
    """What training wrote beside a weights file, into NAME.json: classes, preprocessing, ...

    Args:
        given: the path of a weights file, with its extension; anything else has nothing beside it.

    Returns:
        The JSON values; {} where there are none, or where the file is not the one that training wrote.
    """
    if not isinstance(given, (str, os.PathLike)) or is_url(given):
        return {}
    path = Path(given)
    try:
        content = json.loads(path.with_suffix(".json").read_text())
        listed = content["files"][path.name]["sha256"]
        return content if listed == sha256_of(path) else {}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
