"""Modules that are put off are loaded when something of them is used, however they are imported."""

import subprocess
import sys

CODE = """
import sys
from densebone.system.lazy import put_off
with put_off("plain", "pack", "pack.part"):
    import plain, pack
    import plain as again
    assert again is plain and "loaded" not in vars(plain) and not LOADED
import plain
assert not LOADED
WAY
assert LOADED == EXPECTED, LOADED
assert type(plain).__name__ == ("module" if "plain" in LOADED else "_PutOff")
"""


def run(tmp_path, way, expected):
    (tmp_path / "plain.py").write_text("import builtins; builtins.LOADED.append('plain'); loaded = 1\n")
    (tmp_path / "pack").mkdir(exist_ok=True)
    (tmp_path / "pack" / "__init__.py").write_text(
        "import builtins; builtins.LOADED.append('pack')\nfrom .part import value\n"
    )
    (tmp_path / "pack" / "part.py").write_text("value = 7\n")
    code = "import builtins; LOADED = builtins.LOADED = []\n" + CODE.replace("WAY", way).replace("EXPECTED", expected)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": str(tmp_path)}
    )
    assert done.returncode == 0, done.stderr


def test_nothing_is_loaded_until_it_is_used(tmp_path):
    run(tmp_path, "", "[]")
    run(tmp_path, "assert plain.loaded == 1 and plain.__file__.endswith('plain.py')", "['plain']")
    run(tmp_path, "from plain import loaded", "['plain']")
    run(tmp_path, "assert pack.value == 7", "['pack']")
    run(tmp_path, "from pack.part import value; assert value == 7", "['pack']")
    run(tmp_path, "import importlib; importlib.import_module('pack.part')", "['pack']")
    run(tmp_path, "assert not hasattr(plain, 'nothing')", "['plain']")
