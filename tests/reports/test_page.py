"""The page and its files: hostile names, many classes, no network, a browser that opens it."""

import csv
import json
import re

import browser
import numpy as np
import pytest
from PIL import Image

from densebone import UserError
from densebone.reports import classification, page, worst, writing
from densebone.reports.page import Column, Page, Section, Table

HOSTILE = [
    "<script>document.title='hacked'</script>",
    "<img src=x onerror=\"document.title='hacked'\">",
    "$\\frac{a}{b}$",
    "_hidden",
    "=1+1",
    "東京のねこ",
    "quote \" ' & </style>",
    "two\nlines\x1b[31m",
    "javascript:alert(1)",
    "a" * 300,
]


def no_picture(number):
    raise UserError(f"{number}.jpg: no such file")


def drawn(number):
    return Image.new("RGB", (90, 60), (number % 255, 80, 120))


def classified(classes, pictures, read=drawn, seed=0, names=None):
    """The findings of a classifier that is right half the time."""
    rng = np.random.default_rng(seed)
    answers = classification.Answers(classes)
    for start in range(0, pictures, 500):
        numbers = np.arange(start, min(start + 500, pictures))
        label = rng.integers(0, classes, len(numbers))
        logits = rng.normal(0, 1, (len(numbers), classes))
        logits[np.arange(len(numbers)), label] += 2.5
        answers.add(numbers, label, logits)
    names = names or [f"class {n}" for n in range(classes)]
    return classification.findings("job <b>", answers, names, "{}.jpg".format, read, [], [("weights", "w<i>")])


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile") / "report"
    return writing.write_report(folder, classified(10, 200, names=HOSTILE))


def test_names_of_others_run_nothing(hostile):
    dom, console = browser.dom_after(hostile)
    assert console == []
    assert "<title>job &lt;b&gt;</title>" in dom
    assert "東京のねこ" in dom and "<img src=x" not in dom and "onerror" in dom


def test_the_file_needs_no_other(hostile):
    text = hostile.read_text()
    assert not re.search(r"https?:|url\((?!#)|@import|<link|<iframe|<base", text)
    assert set(re.findall(r'(?:src|href)="([^"#]{,16})', text)) <= {"", "data:image/jpeg;"}
    assert text.count("<script>") == 1 and "default-src 'none'" in text
    assert text.lower().count("<svg") == 3


@pytest.mark.parametrize("width", [500, 1400])
def test_nothing_reaches_beyond_the_screen(hostile, tmp_path, width):
    """The page itself forbids the script that measures it."""
    text = re.sub(r"<meta http-equiv[^>]*>", "", hostile.read_text())
    measure = "<script>document.title = `${document.documentElement.scrollWidth} of ${innerWidth}`</script>"
    (tmp_path / "measured.html").write_text(text.replace("</body>", measure + "</body>"))
    dom, _ = browser.dom_after(tmp_path / "measured.html", width)
    needed, there = re.search(r"<title>(\d+) of (\d+)</title>", dom).groups()
    assert int(needed) <= int(there) and abs(int(there) - width) < 30


def test_headings_sort_and_a_field_finds(tmp_path):
    rows = [{"name": f"n{value}", "share": value} for value in (0.5, None, 0.9, 0.1, *np.linspace(0.2, 0.4, 20))]
    table = Table("T", [Column("name", "name", "text"), Column("share", "share")], rows)
    text = page.render(Page("t", "detection", [], [], [Section("S", [table])]))
    text = re.sub(r"<meta http-equiv[^>]*>", "", text)
    act = """<script>
    document.querySelectorAll("th button")[1].click();
    const first = document.querySelector("tbody").innerText.split(/\\s+/)[0];
    const last = [...document.querySelectorAll("tbody tr")].at(-1).innerText;
    const field = document.querySelector("input"); field.value = "N0.5"; field.dispatchEvent(new Event("input"));
    const seen = [...document.querySelectorAll("tbody tr")].filter((row) => !row.hidden).length;
    document.title = `${first} ${last} ${seen}`;
    </script></body>"""
    (tmp_path / "page.html").write_text(text.replace("</body>", act))
    dom, console = browser.dom_after(tmp_path / "page.html")
    assert console == [] and re.search(r"<title>(.*?)</title>", dom, re.DOTALL).group(1).split() == [
        "n0.9", "nNone", "-", "1",
    ]  # fmt: skip


def test_tables_hold_the_names_as_they_are(hostile):
    def read(name):
        with open(hostile.parent / name, encoding="utf-8", newline="") as stream:
            return list(csv.reader(stream))

    rows, matrix = read("classes.csv"), read("confusion.csv")
    shown = [row[0] for row in rows[1:]]
    assert shown == [f"'{name}" if name == "=1+1" else name for name in HOSTILE]
    assert len(matrix) == 11 and sum(int(cell) for row in matrix[1:] for cell in row[1:]) == 200
    metrics = json.loads((hostile.parent / "metrics.json").read_text(encoding="utf-8"))
    assert [row["name"] for row in metrics["classes"]] == HOSTILE
    assert len(metrics["worst"]) == 24 and len(list((hostile.parent / "worst").iterdir())) == 24
    assert Image.open(hostile.parent / "worst.jpg").size == (4 * 264 + 8, 6 * (256 + 21 + 8) + 8)


@pytest.mark.parametrize("classes", [1, 2, 80, 1000])
def test_any_number_of_classes_and_pictures_stays_small(tmp_path, classes):
    """Of 1000 classes and 10,000 pictures of noise too, the page has less than 10 MB and few lines in its charts."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (900, 900, 3)).astype(np.uint8))
    found = classified(classes, 10_000 if classes == 1000 else 300)
    parts = {part.title: part for section in found.page.sections for part in section.parts}
    if classes == 1000:
        pair = worst.draw_case("n.jpg", noise.copy, "t", [], lambda small, _: {"truth": small, "prediction": small})
        parts["The worst first"].cases = [pair] * worst.LIMIT
    assert writing.write_report(tmp_path / "report", found).stat().st_size < 10e6
    assert len(parts["Every class"].rows) == classes
    assert len(parts["Confusion matrix"].rows) == min(classes, page.MATRIX)
    assert parts["Precision and recall"].svg.count("class ") <= 10


def test_a_picture_that_cannot_be_read_any_more_is_named(tmp_path):
    found = classified(3, 20, no_picture)
    file = writing.write_report(tmp_path / "report", found)
    assert found.cases and all(case.fault == "no such file" and not case.drawings for case in found.cases)
    assert "This picture cannot be shown: no such file" in file.read_text()
    assert not list((tmp_path / "report").glob("worst*"))


def test_a_second_report_takes_the_place_of_the_first(tmp_path):
    writing.write_report(tmp_path, classified(3, 40))
    (tmp_path / "worst" / "mine.jpg").write_text("stays")
    assert len(list(tmp_path.glob("worst/*.jpg"))) > 2
    writing.write_report(tmp_path, classified(3, 40, no_picture))
    assert [file.name for file in tmp_path.glob("worst/*.jpg")] == ["mine.jpg"]


def test_cells():
    assert [page.shown(value, "share") for value in (None, float("nan"), 0.12345)] == ["-", "-", "0.123"]
    assert (page.shown(0.0123, "points"), page.shown(12345, "count")) == ("+1.2", "12,345")
    assert [page.short(n) for n in (9999, 10_000, 999_600, 12_345_678)] == ["9999", "10k", "1.0M", "12.3M"]
    assert writing.without_nan({"a": (np.float32("nan"), np.int64(3)), 1: np.array([0.5, np.inf])}) == {
        "a": [None, 3], "1": [0.5, None],
    }  # fmt: skip


def test_what_a_report_needs_is_found_before_the_work(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write into the folder"):
        writing.check_ready(tmp_path / "file" / "report")
    monkeypatch.setitem(__import__("sys").modules, "jinja2", None)
    with pytest.raises(UserError, match="needs Jinja2; run: pip install jinja2"):
        writing.check_ready(tmp_path)
