"""Tables and plots of a comparison that was written down by hand."""

import csv

import pytest
from PIL import Image

from densebone.comparison import plots, tables
from densebone.comparison.comparing import Comparison
from densebone.errors import UserError


def row(name, macs, ms, accuracy, **more):
    about = {"metric": "top-1", "source": "https://example.org/a", "size": [224, 224], "note": ""}
    return {
        "name": name, "source": "densebone", "parameters": 1234567, "macs": macs, "cio": 2_000_000, "moc": macs / 2e6,
        "outputs": [[1, 1000]], "accuracy": accuracy and {**about, "value": accuracy, **more}, "checked": True,
        "ms": {"openvino": {"median": ms, "least": ms - 1, "ratio": ms / 10}},
    }  # fmt: skip


@pytest.fixture
def comparison():
    about = {
        "date": "2026-01-02", "processor": "Some CPU", "cpus": 2, "versions": {"openvino": "1.2"}, "size": [224, 224],
        "batch": 1, "threads": 2, "rounds": 3, "engines": ["openvino"],
    }  # fmt: skip
    rows = [
        row("hardnet68", 4_000_000_000, 10.0, 76.5),
        row("timm:slow", 5_000_000_000, 20.0, 75.0, size=[256, 256], note="about"),
        row("paddleseg:map", 1_000_000, 5.0, None),
        {"name": "timm:broken", "source": "timm", "failed": "it broke"},
    ]
    return Comparison(about, rows)


def test_markdown(comparison, tmp_path):
    tables.save_markdown(comparison, tmp_path / "a.md")
    lines = (tmp_path / "a.md").read_text().splitlines()
    assert lines[0] == "| network | parameters | MMACs | CIO, M | published, % | ms, OpenVINO | x hardnet68 |"
    assert lines[2] == "| hardnet68 | 1,234,567 | 4,000.0 | 2.00 | [76.50](https://example.org/a) | 10.0 | 1.00 |"
    assert "[75.00](https://example.org/a) at 256 x 256 | 20.0 | 2.00 |" in lines[3]
    assert "| not known here | 5.0 | 0.50 |" in lines[4]
    assert "- 2026-01-02, Some CPU, 2 of 2 CPUs; openvino 1.2" in lines
    assert "- left out: timm:broken: it broke" in lines
    assert "- timm:slow, accuracy: about" in lines
    assert len([line for line in lines if line.startswith("| ")]) == 5
    assert not any("load average" in line for line in lines)
    comparison.about["load"] = 7.5
    assert tables.notes(comparison)[3] == (
        "other programs ran too (load average 7.5): trust the ratios rather than the ms"
    )


def test_csv_and_json(comparison, tmp_path):
    tables.save_csv(comparison, tmp_path / "a.csv")
    with open(tmp_path / "a.csv", newline="") as stream:
        first, second, third, broken = csv.DictReader(stream)
    assert (first["macs"], first["accuracy"], first["openvino_median_ms"]) == ("4000000000", "76.5", "10")
    assert (second["accuracy_size"], second["openvino_ratio"], third["accuracy"]) == ("256x256", "2", "")
    assert (broken["name"], broken["failed"], broken["macs"]) == ("timm:broken", "it broke", "")
    tables.save_json(comparison, tmp_path / "a.json")
    assert tables.read_json(tmp_path / "a.json") == comparison


def test_the_printed_table(comparison, capsys):
    tables.print_comparison(comparison)
    out = capsys.readouterr().out
    assert ["hardnet68", "1,234,567", "4,000.0", "2.00", "76.50", "10.0", "1.00"] in [
        line.split() for line in out.splitlines()
    ]
    assert "left out: timm:broken: it broke" in out


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_the_front_is_drawn(comparison, tmp_path, ending):
    path = tmp_path / f"front.{ending}"
    plots.plot_front(comparison, path)
    if ending == "svg":
        assert "<svg" in path.read_text()
        return
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert picture.width > 700


def test_what_is_on_the_front():
    points = [(5.0, 70.0, "a"), (4.0, 72.0, "b"), (9.0, 72.0, "c"), (8.0, 75.0, "d"), (8.0, 76.0, "e")]
    assert plots.front(points) == [(4.0, 72.0), (8.0, 76.0)]


def test_nothing_to_draw(comparison, tmp_path):
    with pytest.raises(UserError, match="the picture is written as PNG or SVG"):
        plots.plot_front(comparison, tmp_path / "a.pdf")
    for one in comparison.rows:
        one["accuracy"] = None
    with pytest.raises(UserError, match="no accuracy is known here"):
        plots.plot_front(comparison, tmp_path / "a.png")
    comparison.about["rounds"] = 0
    with pytest.raises(UserError, match="--rounds 0 measures none"):
        plots.plot_front(comparison, tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []
