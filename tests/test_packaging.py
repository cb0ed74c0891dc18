"""What is installed: the package and nothing beside it, from a folder of any name, with the version of git's tags."""

import importlib.metadata
import os
import re
import runpy
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

import densebone

ROOT = Path(__file__).parents[1]
BUILD = "import sys; from setuptools import build_meta; print(getattr(build_meta, sys.argv[1])(sys.argv[2]))"


def tracked(*patterns):
    """The project's files, as git knows them."""
    listed = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("needs a git checkout, to know which files are the project's")
    return [name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def ran(command, **options):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A source distribution of a copy in a folder of another name, and the wheel that is made of it, without git."""
    folder = tmp_path_factory.mktemp("build")
    source, tools = folder / "another_name", folder / "tools"
    for name in tracked():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    needed = re.findall(r'^requires = \["(.+)"\]$', (ROOT / "pyproject.toml").read_text(), flags=re.M)
    ran([sys.executable, "-m", "pip", "install", "--quiet", "--target", tools, *needed])
    environment = {**os.environ, "PYTHONPATH": str(tools)}
    ran([sys.executable, "-c", BUILD, "build_sdist", folder], cwd=source, env=environment)
    with tarfile.open(next(folder.glob("densebone-*.tar.gz"))) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    ran([sys.executable, "-c", BUILD, "build_wheel", folder], cwd=unpacked, env=environment)
    return unpacked, next(folder.glob("densebone-*.whl"))


def metadata(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return message_from_bytes(archive.read(name))


def test_the_wheel_holds_only_densebone(built):
    names = {name for name in zipfile.ZipFile(built[1]).namelist() if ".dist-info/" not in name}
    outside = ("tests/", "benchmarks/", "docs/", "setup.py", ".", "mkdocs.yml", "CITATION.cff")
    kinds = (".py", ".yml", ".pyi", "py.typed", ".html", ".css", ".js")
    assert names == {f"densebone/{n}" for n in tracked() if n.endswith(kinds) and not n.startswith(outside)}
    assert {"densebone/py.typed", "densebone/__init__.pyi", "densebone/serving/page/index.html"} <= names
    assert "densebone/configs/detection/ssd_hardnet68_300_150e_coco.yml" in names


def test_the_source_distribution_holds_every_file_of_the_project(built):
    held = {path.relative_to(built[0]).as_posix() for path in built[0].rglob("*") if path.is_file()}
    assert [name for name in tracked() if name not in held and name not in (".gitignore", ".gitattributes")] == []


def test_the_metadata_say_what_is_needed_where(built):
    said = metadata(built[1])
    assert (said["Name"], said["License-Expression"], said["Requires-Python"]) == ("densebone", "Apache-2.0", ">=3.10")
    assert said.get_all("License-File") == ["LICENSE", "NOTICE"]
    pythons = {line.rpartition(" ")[2] for line in said.get_all("Classifier") if re.search(r"Python :: 3\.\d+$", line)}
    workflow = (ROOT / ".github/workflows/ci.yml").read_text()
    assert pythons == set(re.findall(r'"(3\.\d+)"', workflow)) == {"3.10", "3.11", "3.12", "3.13"}
    needs = said.get_all("Requires-Dist")
    assert [line for line in needs if line.startswith("paddlepaddle") and "extra" not in line] == []
    assert 'paddle2onnx==2.1.0; python_version < "3.13" and extra == "onnx"' in needs
    assert {"detection", "segmentation", "classification", "onnx", "openvino"} <= set(said.get_all("Provides-Extra"))
    assert said.get_payload().startswith("# densebone\n")


def test_the_wheel_runs(built, tmp_path):
    with zipfile.ZipFile(built[1]) as archive:
        archive.extractall(tmp_path)
    code = "from densebone.scripts import main; main(['--version']); main(['list', 'ssd*'])"
    printed = ran(
        [sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(tmp_path), "PATH": os.environ["PATH"]}
    )
    assert printed.startswith(f"densebone {metadata(built[1])['Version']}\n")
    assert "ssd_hardnet68_300_150e_coco" in printed


def test_the_version_is_the_one_that_pip_knows():
    assert densebone.__version__ == importlib.metadata.version("densebone")


def test_files_that_nobody_installed_have_a_version(monkeypatch):
    def unknown(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", unknown)
    assert densebone.__version__ == f"{densebone._NEXT_VERSION}.dev0"


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """setup.py and what it reads, in a folder of its own; a function that gives the version, and one that runs git."""
    monkeypatch.delenv("DENSEBONE_VERSION", raising=False)
    folder = tmp_path / "checkout"
    folder.mkdir()
    for name in ("setup.py", ".git_archival.txt", ".gitattributes"):
        shutil.copy(ROOT / name, folder / name)
    (folder / "__init__.py").write_text('_NEXT_VERSION = "0.4.0"\n')

    def git(*words):
        who = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false", "-c", "tag.gpgsign=false")
        return ran(["git", *who, *words], cwd=folder)

    return folder, lambda: runpy.run_path(str(folder / "setup.py"))["version"](), git


def test_the_version_comes_from_tags(checkout):
    folder, version, git = checkout
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    assert re.fullmatch(r"0\.4\.0\.dev0\+g[0-9a-f]{7}", version())  # a clone without tags
    git("tag", "not-a-version")
    git("tag", "v0.3.9")
    assert version() == "0.3.9"
    (folder / "__init__.py").write_text('_NEXT_VERSION = "0.4.0"\nchanged = True\n')
    assert version() == "0.4.0.dev0"  # not what the tag holds
    git("commit", "-q", "-a", "-m", "second")
    assert re.fullmatch(r"0\.4\.0\.dev1\+g[0-9a-f]{7}", version())
    git("tag", "v0.4.0")
    git("commit", "-q", "--allow-empty", "-m", "third")
    assert re.fullmatch(r"0\.4\.1\.dev1\+g[0-9a-f]{7}", version())  # above the release, though nobody raised the number


def test_the_version_without_git(checkout, monkeypatch):
    folder, version, _ = checkout
    assert version() == "0.4.0.dev0"
    (folder / ".git_archival.txt").write_text("commit: 660a75b\ndescribe: \n")  # as `git archive` fills it in
    assert version() == "0.4.0.dev0+g660a75b"
    (folder / ".git_archival.txt").write_text("commit: 660a75b\ndescribe: v0.4.0\n")
    assert version() == "0.4.0"
    (folder / "PKG-INFO").write_text("Metadata-Version: 2.4\nName: densebone\nVersion: 0.3.2\n")
    assert version() == "0.3.2"
    monkeypatch.setenv("DENSEBONE_VERSION", "7.0")
    assert version() == "7.0"


def test_an_archive_of_git_knows_its_tag(checkout, tmp_path):
    _, _, git = checkout
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    git("tag", "v0.4.0")
    git("archive", "-o", str(tmp_path / "archive.tar"), "HEAD")
    with tarfile.open(tmp_path / "archive.tar") as archive:
        archive.extractall(tmp_path / "there", filter="data")
    assert runpy.run_path(str(tmp_path / "there/setup.py"))["version"]() == "0.4.0"
