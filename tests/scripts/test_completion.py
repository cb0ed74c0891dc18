"""`densebone completion`: what Tab offers in the shells that are installed."""

import shutil
import subprocess
import sys

import pytest

from densebone.errors import UserError
from densebone.registry import list_models
from densebone.scripts import COMMANDS, completion, options

# does what bash does when Tab is pressed at the end of the given words
PRESS_TAB = """
source "$1"; shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
function=$(complete -p densebone | sed 's/.*-F \\([^ ]*\\).*/\\1/')
$function densebone "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    """A folder with a script for each shell, written in one process that must not load what is heavy."""
    folder = tmp_path_factory.mktemp("completion")
    code = """
import contextlib, sys
from densebone.scripts import main
for shell in ("bash", "zsh", "fish"):
    with open(f"{sys.argv[1]}/densebone.{shell}", "w") as file, contextlib.redirect_stdout(file):
        assert main(["completion", shell]) == 0
heavy = ("paddle", "ppdet", "paddleseg", "cv2", "matplotlib", "onnx", "openvino")
print([name for name in heavy if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
    return folder


def shell(name, *arguments):
    """What a shell prints; skips where it is not installed."""
    program = shutil.which(name)
    if program is None:
        pytest.skip(f"{name} is not installed")
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


# words of the line -> what is offered
OFFERED = [
    ("tra", ["train"]),
    ("weights conv", ["convert"]),
    ("train --pat", ["--patience"]),
    ("train -c ssd_hardnet68_", ["ssd_hardnet68_300_150e_coco", "ssd_hardnet68_512_150e_coco"]),
    ("export hardnet68", ["hardnet68", "hardnet68ds"]),
    ("features -m pel", ["peleenet"]),
    ("weights info hardnet85.off", ["hardnet85.official"]),
    ("export --format o", ["onnx", "openvino"]),
    ("data convert --to y", ["yolo"]),
    ("completion ", ["bash", "fish", "zsh"]),
]


@pytest.mark.parametrize(("line", "offered"), OFFERED)
def test_bash(scripts, line, offered):
    words = ["densebone", *line.split(" ")]
    found = shell("bash", "--norc", "-c", PRESS_TAB, "bash", scripts / "densebone.bash", *words)
    assert sorted(found.split()) == offered


def test_bash_offers_files_beside_names(scripts, tmp_path):
    for name in ("mine.yml", "mine.txt"):
        (tmp_path / name).touch()
    words = ["densebone", "train", "--config", f"{tmp_path}/mi"]
    found = shell("bash", "--norc", "-c", PRESS_TAB, "bash", scripts / "densebone.bash", *words)
    assert found.split() == [f"{tmp_path}/mine.yml"]


@pytest.mark.parametrize(("line", "offered"), [row for row in OFFERED if row[0] != "train --pat"])
def test_fish(scripts, line, offered):
    found = shell("fish", "--no-config", "-c", f"source {scripts}/densebone.fish; complete -C 'densebone {line}'")
    assert sorted(row.split("\t")[0] for row in found.splitlines()) == offered


def test_zsh(scripts):
    code = f'autoload -Uz compinit; compinit -u -D; eval "$(<{scripts}/densebone.zsh)"; print $_comps[densebone]'
    assert shell("zsh", "-f", "-c", code) == "_shtab_densebone\n"


def test_every_command_and_model_is_offered(scripts):
    for name in completion.SHELLS:
        text = (scripts / f"densebone.{name}").read_text()
        assert [word for word in (*COMMANDS, *list_models(), *options.shipped_configs()) if word not in text] == []


def test_a_command_that_hides_its_parser_is_our_mistake():
    with pytest.raises(RuntimeError, match="does not show its parser"):
        options.parser_of(lambda argv: 0)


def test_without_shtab(monkeypatch):
    monkeypatch.setitem(sys.modules, "shtab", None)
    with pytest.raises(UserError, match=r"pip install 'densebone\[completion\]'"):
        completion.script("bash")
