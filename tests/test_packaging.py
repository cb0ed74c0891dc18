"""The wheel holds the package and nothing beside it, from a folder of any name."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("build")
    source = folder / "another_name"
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if files.returncode:
        pytest.skip("needs a git checkout, to know which files are the project's")
    for name in files.stdout.splitlines():
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    built = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", folder, source], capture_output=True, text=True
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return next(folder.glob("densebone-*.whl"))


def test_wheel_holds_only_densebone(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"densebone"}
    assert not [name for name in names if "/tests/" in name or "/benchmarks/" in name]
    packed = {name for name in names if name.endswith((".py", ".yml", ".pyi", "py.typed", ".html", ".css", ".js"))}
    kinds = ("*.py", "*.yml", "*.pyi", "*py.typed", "*.html", "*.css", "*.js")
    tracked = subprocess.run(["git", "ls-files", *kinds], cwd=ROOT, capture_output=True, text=True).stdout
    outside = ("tests/", "benchmarks/", "docs/", "setup.py", ".github/", "mkdocs.yml")
    assert packed == {f"densebone/{n}" for n in tracked.split() if not n.startswith(outside)}


def test_wheel_runs(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", "import densebone; from densebone.scripts import main; main(['list', 'ssd*'])"],
        cwd=tmp_path, capture_output=True, text=True, env={"PYTHONPATH": str(tmp_path), "PATH": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "ssd_hardnet68_300_150e_coco" in done.stdout
