"""All pages that are made from the code, and their places in the navigation.

Nothing here needs mkdocs, Paddle or a toolkit: the commands' parsers, the configurations and the docstrings are read
without.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import commands
import configurations
import names
import repository


def generated() -> dict[str, str]:
    """{path of a page: Markdown} of every page that is not a file of docs/."""
    return {**commands.pages(), **names.pages(), **configurations.pages(), **repository.pages()}


def with_folders(nav: Any, pages: Iterable[str]) -> Any:
    """The navigation with the pages of the folder reference/x/ after each page reference/x.md."""
    pages = [*pages]
    if isinstance(nav, dict):
        return {title: with_folders(entry, pages) for title, entry in nav.items()}
    if not isinstance(nav, list):
        return nav
    entries = []
    for entry in nav:
        entries.append(with_folders(entry, pages))
        if isinstance(entry, str) and entry in pages:
            entries += [page for page in pages if page.startswith(entry.removesuffix(".md") + "/")]
    return entries
