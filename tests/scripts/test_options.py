"""Options that take several values leave the paths behind them to the command."""

import pytest

from densebone.scripts import options


@pytest.mark.parametrize(
    ("given", "paths", "overrides"),
    [
        (["-o", "a=b", "c=d", "pic.jpg"], ["pic.jpg"], ["a=b", "c=d"]),
        (["pic.jpg", "-o", "a=b"], ["pic.jpg"], ["a=b"]),
        (["-o", "a=b", "pic.jpg", "dir/", "-c", "x"], ["pic.jpg", "dir/"], ["a=b"]),
        (["-o", "a=b", "--", "p"], ["p"], ["a=b"]),
        (["--imgsz", "320", "pic.jpg", "-o", "a=b"], ["pic.jpg"], ["a=b"]),
        (["--imgsz", "320", "640", "7/pic.jpg"], ["7/pic.jpg"], []),
    ],
)
def test_paths_behind_overrides(given, paths, overrides):
    parser = options.parser("predict", "", config_needed=False)
    parser.add_argument("paths", nargs="+")
    options.add_size(parser)
    arguments = parser.parse_args(given)
    assert (arguments.paths, arguments.override) == (paths, overrides)


def test_an_override_without_a_value_stays_one_where_there_are_no_paths():
    parser = options.parser("train", "")
    assert parser.parse_args(["-c", "x", "-o", "epoch"]).override == ["epoch"]
