"""Run an unmodified script of PaddleDetection or PaddleSeg with densebone's networks registered.

    densebone run PaddleSeg/tools/train.py --config my.yml --do_eval
    python -m paddle.distributed.launch --nproc_per_node 2 $(which densebone) run tools/train.py --config my.yml

Everything after the script goes to the script. A script inside a checkout uses the checkout's toolkit. Any other script
uses the installed toolkit, repaired where the installed Paddle needs it. The exit status is the script's.
"""

import ast
import importlib
import os
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

from ..errors import UserError

# import name -> (densebone's adapter, the toolkit's title, the extra that installs it)
TOOLKITS = {
    "ppdet": ("paddledet", "PaddleDetection", "detection"),
    "paddleseg": ("paddleseg", "PaddleSeg", "segmentation"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the script argv[0] with the arguments argv[1:]; returns 0 when the script does not exit itself."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help"):
        print(f"usage: densebone run SCRIPT.py ...\n\n{__doc__}")
        return 0 if argv else 2
    script = _script(argv[0])
    repository = _repository(script)
    toolkits = _imported(script) or [name for name in TOOLKITS if repository and _holds(repository, name)]
    if not toolkits:
        raise UserError(f"{argv[0]} imports neither {' nor '.join(TOOLKITS)}; give a script of one of these toolkits")

    # As Python does for a script; the repository comes before an installed toolkit of the same name.
    sys.path[:0] = [str(script.resolve().parent)] + ([str(repository)] if repository else [])
    for name in toolkits:
        _register(name, repository, argv[0])
    sys.argv = [str(script), *argv[1:]]
    runpy.run_path(str(script), run_name="__main__")
    return 0


def _script(given):
    """The absolute path of the script; UserError when it is no Python script."""
    if given.startswith("-"):
        raise UserError(f"{given} stands where the script belongs: densebone run SCRIPT.py ...")
    path = Path(os.path.abspath(given))
    if path.is_dir() or path.suffix != ".py":
        raise UserError(f"{given} is not a Python script; give a .py file such as tools/train.py")
    if not path.is_file():
        raise UserError(f"script {given} does not exist; give a .py file such as PaddleSeg/tools/train.py")
    return path


def _holds(folder, toolkit):
    return (folder / toolkit / "__init__.py").is_file()


def _repository(script):
    """The nearest folder above the script that holds the package of a toolkit, or None."""
    folders = script.resolve().parents
    return next((folder for folder in folders if any(_holds(folder, name) for name in TOOLKITS)), None)


def _imported(script):
    """The toolkits that the script imports by name, anywhere in it."""
    try:
        tree = ast.parse(script.read_bytes())
    except (SyntaxError, ValueError, OSError) as error:
        raise UserError(f"{script} cannot be read as Python: {error}") from error
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module)
    tops = {name.partition(".")[0] for name in names}
    return [name for name in TOOLKITS if name in tops]


def _register(toolkit, repository, script):
    """Imports densebone's adapter, which registers the networks; UserError when the toolkit cannot be imported."""
    adapter, title, extra = TOOLKITS[toolkit]
    try:
        importlib.import_module(toolkit)
    except Exception as error:  # a broken installation can raise anything
        if isinstance(error, ModuleNotFoundError) and error.name == "paddle":
            raise
        inside = repository and _holds(repository, toolkit)
        place = f"of {repository}" if inside else "installed here"
        remedy = f"pip install -r {repository}/requirements.txt" if inside else f'pip install "densebone[{extra}]"'
        cause = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(
            f"{script} needs {title}, and the one {place} cannot be imported ({cause}); {remedy}"
        ) from error
    importlib.import_module(f"..integrations.{adapter}", __package__)
