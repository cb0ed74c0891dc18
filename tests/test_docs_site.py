"""The documentation site: its navigation, the pages that are made from the code, and that it needs no network."""

import ast
import dataclasses
import importlib
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

import densebone
from densebone.scripts import COMMANDS
from densebone.scripts.options import shipped_configs

ROOT = Path(__file__).parents[1]
SITE = ROOT / "docs" / "site"
MKDOCS = yaml.safe_load((ROOT / "mkdocs.yml").read_text())


@pytest.fixture(scope="module")
def site():
    """The modules that make pages, which mkdocs imports from their folder."""
    sys.path.insert(0, str(SITE))
    names = ("commands", "configurations", "names", "repository", "pages")
    yield SimpleNamespace(**{name: importlib.import_module(name) for name in names})
    sys.path.remove(str(SITE))
    for name in names:
        del sys.modules[name]


@pytest.fixture(scope="module")
def generated(site):
    return site.pages.generated()


def leaves(nav):
    if isinstance(nav, dict):
        nav = [*nav.values()]
    return [nav] if isinstance(nav, str) else [page for entry in nav for page in leaves(entry)]


def test_every_page_is_in_the_navigation_once(site, generated):
    shown = leaves(site.pages.with_folders(MKDOCS["nav"], generated))
    pages = [path.name for path in (ROOT / "docs").glob("*.md")]
    pages += [f"notebooks/{path.stem}.md" for path in (ROOT / "docs" / "notebooks").glob("*.ipynb")]
    pages += [page for page in generated if not page.startswith(site.repository.FOLDER)]
    assert sorted(shown) == sorted(pages)


def parsers(parser):
    """A parser and those of its actions, such as `data check`."""
    yield parser
    for action in parser._actions:
        for sub in (action.choices or {}).values() if hasattr(action, "_name_parser_map") else ():
            yield from parsers(sub)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_page_of_a_command_has_all_of_its_help(command, site, generated):
    page = generated[f"reference/commands/{command}.md"]
    assert f"[`{command}`](commands/{command}.md)" in generated["reference/commands.md"]
    parser = site.commands.parser_of(command)
    if command == "run":  # it has no options of its own
        assert parser is None and "densebone run PaddleSeg/tools/train.py" in page
        return
    lines = page.splitlines()
    for one in parsers(parser):
        for action in one._actions[1:]:
            names = [f"`{name}`" for name in action.option_strings]
            assert not names or any(line.startswith(", ".join(names)) for line in lines), names
            if action.help and "%" not in action.help and not re.search(r"[\W_]", action.help.replace(" ", "")):
                assert f":   {action.help}" in lines


def test_help_becomes_markdown(site):
    assert site.commands.prose("Draw *all*.\n\n    densebone draw a_b\n\nOf <b>.") == (
        "Draw \\*all\\*.\n\n```sh\ndensebone draw a_b\n```\n\nOf \\<b\\>."
    )
    assert site.commands.prose("see docs/export.md, or 2/3 of a/b.yml (`set a_b c_d`); --top") == (
        "see [export.md](../../export.md), or 2/3 of `a/b.yml` (`set a_b c_d`); `--top`"
    )


def test_pages_are_made_without_paddle_and_toolkits():
    script = (
        f"import sys; sys.path.insert(0, {str(SITE)!r}); import pages; pages.generated(); "
        "print([name for name in ('paddle', 'ppdet', 'paddleseg', 'cv2', 'mkdocs') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_every_name_of_the_package_has_its_docstring_on_a_page(site, generated):
    text = "\n".join(page for name, page in generated.items() if name.startswith("reference/python/"))
    homes = re.findall(r"^::: densebone\.(\S+)$", text, flags=re.M)
    assert {f"{module}.{name}" for name, module in densebone._HOMES.items()} <= set(homes)
    for home in homes:
        module, _, name = home.rpartition(".")
        tree = ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text())
        (found,) = (node for node in tree.body if getattr(node, "name", None) == name)
        assert ast.get_docstring(found), home


def test_every_configuration_and_every_key_of_a_classifier_is_shown(generated):
    from densebone.tasks.classification.job import Job

    for name, path in shipped_configs().items():
        page = generated[f"reference/configurations/{path.parent.name}.md"]
        assert f"## {name}\n\n```yaml\n{path.read_text().strip()}\n```" in page
    rows = re.findall(r"^\| `(\w+)` \| (.+) \| (.+) \| (.*) \|$", generated["reference/configurations/keys.md"], re.M)
    top = rows[: len([field for field in dataclasses.fields(Job) if field.metadata])]
    assert [row[0] for row in top] == [field.name for field in dataclasses.fields(Job) if field.metadata]
    assert [row[0] for row in top if not row[3]] == []
    assert ("batch_size", "a whole number of at least 1", "`32`") in [row[:3] for row in top]


def test_links_lead_to_the_files_of_the_repository(site):
    def turned(page, link):
        return site.repository.in_site(page, f"[x]({link})")

    assert turned("security.md", "../SECURITY.md") == "[x](security_policy.md)"
    assert turned("features.md", "notebooks/retrieval.ipynb#index") == "[x](notebooks/retrieval.md#index)"
    assert turned("notebooks/retrieval.md", "../features.md") == "[x](../features.md)"
    assert turned("changelog.md", "docs/export.md#triton") == "[x](export.md#triton)"
    assert (
        turned("training.md", "../configs/detection/_base_/voc.yml") == "[x](files/configs/detection/_base_/voc.yml.md)"
    )
    assert turned("files/Makefile.md", "absent.md") == "[x](absent.md)"
    for link in ("export.md#triton", "#here", "https://example.org/a.md", "examples/detect.py"):
        assert turned("training.md", link) == f"[x]({link})"


# what stands for what changes, on the page of messages
PLACES = re.compile(
    r"\.\.\.|'?(?:\b(?:[NM]|32|NAME|FILE|FOLDER|KEY|OPTION|TASK|PATH|MODULE|VALUE|DEVICE|CHECKPOINT|CARD|DATASET|WEIGHTS|"
    r"DETECTOR|ENGINE|LOSS|trains into)\b|#RRGGBB|/dev/shm)'?"
)


def test_the_messages_of_the_page_on_troubles_are_the_codes():
    rooms = [ROOT / "errors.py", *(path for init in ROOT.glob("*/__init__.py") for path in init.parent.rglob("*.py"))]
    nodes = (node for path in rooms for node in ast.walk(ast.parse(path.read_text())))
    said = "\n".join(node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))
    messages = re.findall(r"^### `(.+)`$", (ROOT / "docs" / "troubleshooting.md").read_text(), flags=re.M)
    assert len(messages) > 25
    assert [(part, message) for message in messages for part in PLACES.split(message) if part not in said] == []


def test_an_opened_page_asks_nothing_of_the_network():
    assert MKDOCS["theme"]["font"] is False and "offline" in MKDOCS["plugins"]
    assert MKDOCS["extra"]["polyfills"] == ["site/iframe-worker.js"]  # else the offline plugin names one elsewhere
    files = [ROOT / "mkdocs.yml", *(path for path in SITE.iterdir() if path.suffix in (".css", ".js", ".py"))]
    addresses = {found for path in files for found in re.findall(r"https?://\S+|[\"'(]//\w\S+", path.read_text())}
    assert addresses == set()


def test_the_site_is_built_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs", reason="needs mkdocs and its plugins: pip install densebone[docs], or make docs")
    for module in ("material", "mkdocstrings_handlers.python", "mermaidx", "nbconvert"):
        pytest.importorskip(module, reason="needs the plugins of mkdocs: pip install densebone[docs], or make docs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pages = [*tmp_path.rglob("*.html")]
    assert len(pages) > 60
    loaded = r"<(?:script|img|iframe|source)[^>]*\ssrc=\"?(?:https?:)?//|<link[^>]*rel=\"?stylesheet[^>]*//"
    assert [page.name for page in pages if re.search(loaded, page.read_text())] == []
    assert "<svg" in (tmp_path / "architecture.html").read_text()
    notebook = (tmp_path / "notebooks" / "retrieval.html").read_text()
    pictures = re.findall(r'<img[^>]*src="([^"]+)"', notebook)
    assert pictures and all((tmp_path / "notebooks" / path).is_file() for path in pictures)
