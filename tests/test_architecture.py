"""The house: which room may import which, and that files stay small, typed and free of copies."""

import ast
import itertools
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import densebone

ROOT = Path(__file__).parents[1]
OUTSIDE = ("docs", "tests", "benchmarks", "build", "dist", "output")

# Room -> the rooms that it may import. Every room may import errors and the version in the root's __init__.
FLOORS = {
    "errors": "",
    "system": "",
    "pictures": "system",
    "runtime": "pictures system",
    "reports": "pictures system",
    "serving": "runtime pictures system",
    "backbones": "system",
    "necks": "backbones system",
    "weights": "backbones pictures system",
    "datasets": "weights pictures system",
    "registry": "necks backbones weights",
    "engines": "backbones weights pictures system",
    "training": "backbones weights pictures system",
    "profiling": "registry backbones weights pictures system",
    "comparison": "engines profiling registry backbones weights pictures system",
    "features": "engines registry backbones weights pictures system",
    "integrations": "registry necks backbones weights system",
    "deploy": "engines registry backbones weights pictures system",
    "tasks": (
        "runtime reports deploy training integrations profiling engines registry necks backbones weights datasets "
        "pictures system"
    ),
    "cluster": "features tasks pictures system",
    "scripts": (
        "cluster serving runtime tasks deploy features comparison profiling engines registry backbones weights "
        "datasets pictures system"
    ),
}
LINES, FUNCTION_LINES, COPIED_LINES = 400, 60, 10
# file -> why it may be longer
LONG_FILES: dict[str, str] = {}
LONG_FUNCTIONS: dict[str, str] = {}


@cache
def sources():
    """{module: (path, tree)} of the package."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).parts
        if parts[0] in OUTSIDE or parts[0].startswith(".") or parts == ("setup.py",):
            continue
        name = ".".join(["densebone", *parts]).removesuffix(".py").removesuffix(".__init__")
        found[name] = path, ast.parse(path.read_text())
    return found


def imports(name, path, tree):
    """Yields (line, module of the package that is imported, whether the import is relative)."""
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, a.name, False) for a in node.names if a.name.split(".")[0] == "densebone")
        if isinstance(node, ast.ImportFrom):
            base = ".".join([*package[: len(package) - node.level + 1], *filter(None, [node.module])])
            base = base if node.level else node.module
            if base.split(".")[0] == "densebone":
                for alias in node.names:
                    module = f"{base}.{alias.name}"
                    yield node.lineno, module if module in sources() else base, bool(node.level)


def room(module):
    return module.split(".")[1] if "." in module else ""


def test_rooms_import_downwards_only():
    assert {room(name) for name in sources()} - {"", "configs"} == set(FLOORS)
    wrong = []
    for name, (path, tree) in sources().items():
        for line, module, _ in imports(name, path, tree):
            allowed = {"", "errors", room(name), *FLOORS.get(room(name), "").split()}
            if name != "densebone" and room(module) not in allowed:
                wrong.append(f"{path.relative_to(ROOT)}:{line}: {room(name)} may not import {room(module)}")
    assert not wrong, "\n".join(wrong)


def test_the_floors_have_no_circle():
    below = {name: set(allowed.split()) for name, allowed in FLOORS.items()}
    while ready := [name for name, allowed in below.items() if not allowed & set(below)]:
        for name in ready:
            del below[name]
    assert not below


def test_imports_inside_the_package_are_relative():
    absolute = [
        f"{path.relative_to(ROOT)}:{line}"
        for name, (path, tree) in sources().items()
        for line, _, is_relative in imports(name, path, tree)
        if not is_relative
    ]
    assert absolute == []


def test_no_two_files_import_each_other():
    left = {name: {m for _, m, _ in imports(name, *found)} - {name} for name, found in sources().items()}
    while ready := [name for name, needed in left.items() if not needed & set(left)]:
        for name in ready:
            del left[name]
    # what is left is a circle, or imports one: only the circles stay
    while ready := [name for name in left if not any(name in needed for needed in left.values())]:
        for name in ready:
            del left[name]
    assert sorted(left) == []


def test_the_root_holds_four_files():
    assert {path.name for path in ROOT.glob("*.py")} == {"__init__.py", "errors.py", "registry.py", "setup.py"}


def test_every_file_says_what_it_is():
    assert [str(path) for path, tree in sources().values() if not ast.get_docstring(tree)] == []


@pytest.mark.parametrize("name", [name for name in FLOORS if name not in ("errors", "registry", "scripts")])
def test_a_room_says_what_it_may_import(name):
    _, tree = sources()[f"densebone.{name}"]
    said = re.search(r"Imports ([^.]*)\.", " ".join(ast.get_docstring(tree).split())).group(1)
    assert set(re.findall(r"\w+", said)) & {*FLOORS} == {"errors", *FLOORS[name].split()}


def test_files_and_functions_are_short():
    long = []
    for path, tree in sources().values():
        place = path.relative_to(ROOT).as_posix()
        if (count := len(path.read_text().splitlines())) > LINES and place not in LONG_FILES:
            long.append(f"{place} has {count} lines")
        for node in ast.walk(tree):
            count = node.end_lineno - node.lineno + 1 if isinstance(node, ast.FunctionDef) else 0
            if count > FUNCTION_LINES and f"{place}:{node.name}" not in LONG_FUNCTIONS:
                long.append(f"{place}:{node.lineno}: {node.name} has {count} lines")
    assert long == []


def public(tree, prefix=""):
    """Yields (qualified name, function) of all public functions and methods."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public(node, f"{node.name}.")
        if isinstance(node, ast.FunctionDef) and (not node.name.startswith("_") or node.name == "__init__"):
            yield prefix + node.name, node


def test_public_functions_have_type_hints():
    bare = []
    for path, tree in sources().values():
        for name, function in public(tree):
            given = function.args
            every = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
            without = [a.arg for a in every if a and not a.annotation and a.arg not in ("self", "cls")]
            if without or (function.returns is None and function.name != "__init__"):
                bare.append(f"{path.relative_to(ROOT)}:{function.lineno}: {name}")
    assert bare == []


@pytest.mark.parametrize("folder", ["", "benchmarks"])
def test_no_code_stands_in_two_files(folder):
    """Runs of lines that are equal but for indentation; imports and blank lines do not count."""
    files = [path for path, _ in sources().values()] if not folder else sorted((ROOT / folder).glob("*.py"))
    places = {}
    for path in files:
        lines = [line.strip() for line in path.read_text().splitlines()]
        lines = [line for line in lines if line and not line.startswith(("import ", "from ", "#"))]
        for start in range(len(lines) - COPIED_LINES + 1):
            places.setdefault(tuple(lines[start : start + COPIED_LINES]), set()).add(path)
    pairs = {pair for found in places.values() if len(found) > 1 for pair in itertools.combinations(sorted(found), 2)}
    assert sorted(f"{a.relative_to(ROOT)} and {b.relative_to(ROOT)}" for a, b in pairs) == []


def test_the_stub_has_the_names_that_the_package_offers():
    stub = ast.parse((ROOT / "__init__.pyi").read_text())
    homes = {alias.name: node.module for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert homes == densebone._HOMES


def test_the_package_is_imported_at_once():
    """Neither Paddle nor NumPy nor Pillow is loaded before a name is used."""
    script = "import sys, densebone; print([n for n in ('paddle', 'numpy', 'PIL', 'yaml') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_names_are_listed_without_paddle():
    script = (
        "import sys; from densebone.scripts import main; main(['list']); main(['info', 'hardnet68']); "
        "assert 'paddle' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
