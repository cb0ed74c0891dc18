"""Links between the pages of docs/ and the other files of the repository, which a Git host and the site show alike."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# file of the repository -> its page
ROOT_PAGES = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "CODE_OF_CONDUCT.md": "code_of_conduct.md",
    "SECURITY.md": "security_policy.md",
    "README.md": "README.md",
}
# of files that have no page of their own, such as a configuration that a page links to
FOLDER = "files"
_LINK = re.compile(r"(\]\()([^)\s:#]+)((?:#[^)\s]*)?\))")


def pages() -> dict[str, str]:
    """{path of a page: Markdown}: the pages of the repository's root, and of every other file that a page links to."""
    found = {page: (ROOT / name).read_text() for name, page in ROOT_PAGES.items() if name != "README.md"}
    texts = {f"docs/{path.name}": path.read_text() for path in sorted((ROOT / "docs").glob("*.md"))}
    texts |= {name: (ROOT / name).read_text() for name in ROOT_PAGES}
    for name in sorted({target for place, text in texts.items() for target in _outside(place, text)}):
        found[page_of(name)] = _listing(name)
    return found


def in_site(page: str, text: str) -> str:
    """The text of a page with its links to files outside docs/ turned into links to their pages.

    Args:
        page: its path in the site, such as "reference/commands/train.md".
        text: its Markdown.
    """
    place = next(
        (name for name, target in ROOT_PAGES.items() if target == page and name != "README.md"), f"docs/{page}"
    )

    def turned(found):
        target = _target(place, found[2])
        stays = place.startswith("docs/") and target.startswith("docs/") and not target.endswith(".ipynb")
        if stays or not (ROOT / target).is_file():
            return found[0]
        return found[1] + posixpath.relpath(page_of(target), posixpath.dirname(page) or ".") + found[3]

    return _LINK.sub(turned, text)


def page_of(name: str) -> str:
    """The page of a file of the repository; of a notebook, the one that hooks.py makes of it."""
    if name.startswith("docs/"):
        return name.removeprefix("docs/").replace(".ipynb", ".md")
    return ROOT_PAGES.get(name, f"{FOLDER}/{name}.md")


def _target(place, link):
    return posixpath.normpath(posixpath.join(posixpath.dirname(place), link))


def _outside(place, text) -> Iterable[str]:
    """The files outside docs/ that a text links to and that have no page yet."""
    targets = (_target(place, link) for _, link, _ in _LINK.findall(text))
    return [t for t in targets if not t.startswith("docs/") and t not in ROOT_PAGES and (ROOT / t).is_file()]


def _listing(name):
    language = {".yml": "yaml", ".py": "python", ".sh": "sh"}.get(Path(name).suffix, "text")
    return f"# {Path(name).name}\n\n`{name}` of the repository.\n\n````{language}\n{(ROOT / name).read_text()}\n````\n"
