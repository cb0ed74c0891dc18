"""What mkdocs calls while it builds the site: it adds the generated pages, and draws the diagrams."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mermaidx
import pages
import repository
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, InclusionLevel
from nbconvert import MarkdownExporter

ROOT = repository.ROOT
# of diagrams, in pixels: close enough for the width of a page
SPACING = {"nodeSpacing": 14, "rankSpacing": 40, "wrappingWidth": 110, "padding": 8}
# Holds `densebone` for griffe, which looks for a folder of the package's name.
_package = tempfile.TemporaryDirectory(prefix="densebone-docs-")


@event_priority(100)  # before mkdocstrings reads its options
def on_config(config: Any) -> Any:
    """Shows griffe the package, adds the generated pages to the navigation, and says how diagrams are drawn."""
    package = Path(_package.name, "densebone")
    package.mkdir(exist_ok=True)
    for path in [*ROOT.glob("*.py"), *ROOT.glob("*.pyi"), *(init.parent for init in ROOT.glob("*/__init__.py"))]:
        link = package / path.name
        if path.name != "setup.py" and not link.exists():
            link.symlink_to(path)
    config.plugins["mkdocstrings"].config.handlers["python"]["paths"] = [_package.name]
    config.nav = pages.with_folders(config.nav, pages.generated())
    config.mdx_configs["pymdownx.superfences"] = {
        "custom_fences": [{"name": "mermaid", "class": "diagram", "format": _diagram}]
    }
    return config


def _diagram(source, language, css_class, options, md, **more):
    """The SVG of a diagram of mermaid, drawn now, so that a page needs no script for it."""
    drawing = mermaidx.render(source, theme="neutral", config={"flowchart": SPACING})
    return f'<div class="{css_class}" tabindex="0">{drawing.svg()}</div>'


def on_files(files: Any, config: Any) -> Any:
    """Adds the generated pages; those of other files of the repository are reached by links alone."""
    for path, text in pages.generated().items():
        file = File.generated(config, path, content=text)
        if path.startswith(f"{repository.FOLDER}/"):
            file.inclusion = InclusionLevel.NOT_IN_NAV
        files.append(file)
    for file in _notebooks(config):
        files.append(file)
    return files


def _notebooks(config) -> Iterator[File]:
    """A page of each notebook, with the pictures that it shows."""
    for path in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")):
        names = {"unique_key": path.stem, "output_files_dir": f"{path.stem}_files"}
        text, resources = MarkdownExporter().from_filename(str(path), resources=names)
        yield File.generated(config, f"notebooks/{path.stem}.md", content=text)
        for name, content in resources["outputs"].items():
            yield File.generated(config, f"notebooks/{name}", content=content)


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Turns links to files outside docs/ into links to their pages."""
    return repository.in_site(page.file.src_uri, markdown)


def on_shutdown() -> None:
    """Removes the folder that griffe read."""
    _package.cleanup()
