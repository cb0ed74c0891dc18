"""The repository root is the package `densebone`. pyproject.toml has its metadata, and git's tags its version."""

import os
import re
import subprocess
from email import message_from_string
from pathlib import Path

from setuptools import find_namespace_packages, setup

HERE = Path(__file__).resolve().parent
FOLDERS = (
    "backbones",
    "cluster",
    "comparison",
    "configs",
    "datasets",
    "deploy",
    "engines",
    "features",
    "integrations",
    "necks",
    "pictures",
    "profiling",
    "reports",
    "runtime",
    "scripts",
    "serving",
    "system",
    "tasks",
    "training",
    "weights",
)


def version() -> str:
    """The version of these files.

    A commit with the tag v0.1.0 is 0.1.0. Any other is a development version of the one that is being worked on,
    such as 0.2.0.dev5+g660a75b, five commits after the newest tag. DENSEBONE_VERSION overrules it, for packers.
    """
    if given := os.environ.get("DENSEBONE_VERSION"):
        return given
    if (HERE / "PKG-INFO").is_file():  # a source distribution knows its version
        return str(message_from_string((HERE / "PKG-INFO").read_text("utf-8"))["Version"])
    next_one = re.findall(r'^_NEXT_VERSION = "(.+)"$', (HERE / "__init__.py").read_text("utf-8"), flags=re.M)[0]
    archived = (HERE / ".git_archival.txt").read_text("utf-8") if (HERE / ".git_archival.txt").is_file() else ""
    # `git archive` fills that file in; in a checkout it still holds its formats
    described = _git() if "$Format" in archived or not archived else archived
    tag = re.search(r"\bv(\d+\.\d+\.\d+)(?:-(\d+)-g(\w+))?(-dirty)?\s*$", described, flags=re.M)
    if tag is None:  # no git, or a clone without tags
        commit = re.search(r"\b[0-9a-f]{7,40}\b", described)
        return f"{next_one}.dev0" + (f"+g{commit[0][:7]}" if commit else "")
    released, commits, commit, dirty = tag.groups()
    if not int(commits or 0) and not dirty:
        return released
    if _numbers(next_one) <= _numbers(released):
        next_one = ".".join(map(str, (*_numbers(released)[:2], _numbers(released)[2] + 1)))
    return f"{next_one}.dev{commits or 0}" + (f"+g{commit[:7]}" if commit else "")


def _git() -> str:
    """What git says of these files: a tag, a commit, or "" where they are not the top of a working tree."""
    if not (HERE / ".git").exists():
        return ""
    command = ["git", "describe", "--tags", "--always", "--dirty", "--match", "v[0-9]*.[0-9]*.[0-9]*"]
    try:
        return subprocess.run(command, cwd=HERE, capture_output=True, text=True).stdout
    except OSError:  # git is not installed
        return ""


def _numbers(release: str) -> tuple[int, ...]:
    return tuple(map(int, release.split(".")))


if __name__ == "__main__":
    setup(
        script_name="setup.py",
        version=version(),
        package_dir={"densebone": "."},
        packages=["densebone"]
        + [f"densebone.{n}" for n in find_namespace_packages(include=[p for f in FOLDERS for p in (f, f"{f}.*")])],
        package_data={
            "": ["*.yml"],
            "densebone.reports": ["page.*"],
            "densebone.serving": ["page/*"],
            "densebone": ["py.typed", "*.pyi"],
        },
        exclude_package_data={"": ["mkdocs.yml"]},
    )
