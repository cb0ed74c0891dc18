"""The page, in a headless browser: a picture is dropped on it, and boxes, classes of pixels or classes are seen."""

import os
import re

import numpy as np
import pytest

pytest.importorskip("uvicorn", reason="the server needs it: pip install densebone[serve]")
pytest.importorskip("aiohttp", reason="it talks to the browser: pip install tritonclient[http]")
pytest.importorskip("onnx", reason="the models of these tests are written with it: pip install densebone[onnx]")

from browser import CHROMIUM, Browser
from exported import ONE, detector, mean_network, segmenter
from servers import halves, png, running

BRIGHT = png(np.full((64, 200, 3), 230, np.uint8))
KEY = "a-key"

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A browser on the page of a server that asks for a key."""
    folder = tmp_path_factory.mktemp("page")
    detector(folder / "det")
    segmenter(folder / "seg")
    mean_network(folder / "cls", "classification", ["r", "<img src=x onerror=alert(1)>", "b"], ONE)
    models = [f"{name}={folder / name}" for name in ("det", "seg", "cls")]
    env = {**os.environ, "DENSEBONE_API_KEY": KEY}
    with running([*models, "--engine", "onnxruntime"], folder / "log", env) as server, Browser(folder / "b") as browser:
        browser.open(f"http://127.0.0.1:{server.port}/")
        browser.until("/an API key is needed/.test(document.getElementById('status').innerText)")
        assert not browser.value("document.getElementById('key-label').hidden")
        change(browser, "key", KEY)
        browser.until("document.getElementById('model').options.length == 3")
        yield browser
        refused = [text for text in browser.messages if '"error"' in text and "401" not in text and "400" not in text]
        assert refused == []


def change(page, name, value, event="change"):
    page.value(
        f"(() => {{ const one = document.getElementById('{name}'); one.value = '{value}';"
        f"one.dispatchEvent(new Event('{event}')); }})()"
    )


def sides(page, selector):
    """The place of an element in the window, in CSS pixels."""
    return page.value(f"document.querySelector('{selector}').getBoundingClientRect().toJSON()")


def drop(page, model, data):
    """The text of the side column once a dropped picture is answered."""
    change(page, "model", model)
    page.value("document.getElementById('another').click()")
    page.drop(data)
    page.until("!/No picture|Looking/.test(document.getElementById('status').innerText)")
    return page.value("document.querySelector('aside').innerText")


def test_boxes(page):
    assert re.search(r"1 object; 200 . 64 pixels, \d+ ms\s+Scores from 0.50\s+dog\s+0.90", drop(page, "det", BRIGHT))
    assert page.value("document.querySelectorAll('#boxes rect').length") == 1
    page.until("document.getElementById('picture').complete")
    box, picture = (sides(page, name) for name in ("#boxes rect", "#picture"))
    left, top = box["left"] - picture["left"], box["top"] - picture["top"]
    places = [left / picture["width"], top / picture["height"], box["width"] / picture["width"]]
    assert np.allclose(places, [0, 0, 0.5], atol=0.02)  # the left half of the picture
    assert page.value("document.querySelector('#boxes text').textContent") == "dog 0.90"
    change(page, "slider", 0.05, "input")
    assert page.value("document.querySelectorAll('#boxes rect').length") == 2
    change(page, "slider", 0.95, "input")
    assert "0 objects" in page.value("document.getElementById('status').innerText")


def test_classes_of_pixels(page):
    assert re.search(
        r"2 classes; 60 . 40 .*Opacity 0.60\s+r\s+50.0 %\s+b\s+50.0 %", drop(page, "seg", png(halves())), re.S
    )
    page.until("document.getElementById('labels').naturalWidth == 60")
    assert page.value("getComputedStyle(document.getElementById('labels')).opacity") == "0.6"


def test_names_of_classes_are_text(page):
    assert "<img src=x onerror=alert(1)>" in drop(page, "cls", png(halves(80, 80)))
    assert page.value("document.querySelectorAll('img').length") == 2


def test_what_is_no_picture(page):
    assert "the picture: is not a picture that Pillow can read" in drop(page, "det", b"nothing")
    assert page.value("document.getElementById('status').className") == "bad"


def test_a_narrow_window(page):
    page.resize(360, 700)
    drop(page, "det", BRIGHT)
    assert page.value("document.documentElement.scrollWidth") <= 360
    assert sides(page, "aside")["top"] > sides(page, "#shown")["bottom"]
    page.resize(1280, 800)
