"""Small inputs that ask for much: memory, time, depth, or the attention of a terminal."""

import gzip
import json
import socket
import threading
import time

import pytest

from densebone import UserError
from densebone.datasets import coco
from densebone.datasets.report import Report
from densebone.errors import printable
from densebone.pictures.reading import read_image
from densebone.tasks import configuration
from densebone.weights.download import fetch
from densebone.weights.reader import read_arrays
from densebone.weights.transfer import Settings


def refuse(words, call, *arguments, seconds=10):
    """The call is refused in one line, soon."""
    started = time.monotonic()
    with pytest.raises(UserError, match=words) as caught:
        call(*arguments)
    assert time.monotonic() - started < seconds and "\n" not in str(caught.value)


def laughs(levels=9, width=10):
    rows = ["a0: &a0 [x]"]
    rows += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * width)}]" for i in range(1, levels)]
    return "\n".join(rows) + "\n"


def test_aliases_that_explode(tmp_path):
    (tmp_path / "a.yml").write_text(laughs())
    refuse(
        r"a\.yml, line 6: aliases make this more than 100000 values", configuration.with_bases, tmp_path / "a.yml", ()
    )
    text = laughs().replace("\n", ", ")
    refuse("aliases make this more than", configuration.apply_override, {"a": 1}, f"a={{{text}}}")
    (tmp_path / "a.yml").write_text(laughs(levels=5))  # 10,000 values
    assert configuration.with_bases(tmp_path / "a.yml", ())


def test_aliases_that_hold_themselves(tmp_path):
    (tmp_path / "a.yml").write_text("a: &a [1, *a]\n")
    refuse(r"a\.yml, line 1: an alias that holds itself", configuration.with_bases, tmp_path / "a.yml", ())


@pytest.mark.parametrize("text", ["a: " + "[" * 10_000 + "]" * 10_000, "a: " + "{b: " * 10_000 + "1" + "}" * 10_000])
def test_depth_of_ten_thousand(tmp_path, text):
    (tmp_path / "a.yml").write_text(text)
    refuse("nested too deeply", configuration.with_bases, tmp_path / "a.yml", ())
    refuse("nested too deeply", configuration.apply_override, {"a": 1}, f"a={text[3:]}")
    (tmp_path / "a.json").write_text('{"images": ' + "[" * 10_000)
    refuse("is not", coco.read, tmp_path / "a.json", Report("X"))


def test_gzip_that_unpacks_without_end(tmp_path):
    with gzip.open(tmp_path / "a.json", "wb", compresslevel=9) as stream:
        for _ in range(300):
            stream.write(b" " * 1_000_000)
    refuse("it unpacks to more than 100 MB", coco.read, tmp_path / "a.json", Report("X"))


def test_numbers_of_five_thousand_digits(tmp_path):
    digits = "9" * 5000
    (tmp_path / "a.json").write_text('{"images": [{"id": ' + digits + ', "file_name": "a"}], "categories": []}')
    refuse("is not JSON", coco.read, tmp_path / "a.json", Report("X"))
    settings = {"a": 1}
    refuse("is not YAML", configuration.apply_override, settings, f"a={digits}")


@pytest.mark.parametrize("length", [2**60, 2**63, 99_999_999])
def test_headers_of_safetensors_without_measure(tmp_path, length):
    (tmp_path / "w.safetensors").write_bytes(length.to_bytes(8, "little") + b'{"a": 1}')
    refuse(r"w\.safetensors", read_arrays, tmp_path / "w.safetensors")


ESCAPES = ["\x1b[2J", "\x1b]0;title\x07", "\r", "\n", "\x9b31m", "\u202e", "\x00", "\udcff"]


@pytest.mark.parametrize("sign", ESCAPES)
def test_names_do_not_speak_to_the_terminal(tmp_path, sign):
    assert sign not in printable(f"a{sign}b") and printable("caf\u00e9 \u5b57 a b") == "caf\u00e9 \u5b57 a b"
    assert sign not in str(UserError(f"a{sign}b"))
    report = Report("X")
    report.drop(f"boxes of class 'a{sign}b'", [f"c{sign}d.jpg"])
    assert sign not in report.lines()[0]
    if sign != "\x00":
        with pytest.raises(UserError) as caught:
            read_image(tmp_path / f"a{sign}b.jpg")
        assert sign not in str(caught.value)


def test_a_category_that_clears_the_screen(tmp_path):
    row = {"id": 1, "image_id": 1, "category_id": 2, "bbox": [0, 0, 1, 1]}
    categories = [{"id": 1, "name": "\x1b[2Jcat"}]
    content = {"images": [{"id": 1, "file_name": "a.jpg"}], "categories": categories, "annotations": [row]}
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"it defines 1 \(\\x1b\[2Jcat\)"):
        coco.read(tmp_path / "a.json", Report("X"))


@pytest.mark.parametrize("pace", ["nothing", "a byte a second"])
def test_a_server_that_keeps_one_waiting(tmp_path, monkeypatch, capsys, pace):
    monkeypatch.setenv("DENSEBONE_HOME", str(tmp_path))
    stop = threading.Event()

    def serve(server):
        while not stop.is_set():
            try:
                connection, _ = server.accept()
            except OSError:
                return
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\nContent-Type: application/x\r\n\r\n")
            while pace != "nothing" and not stop.wait(0.1):
                try:
                    connection.sendall(b"x")
                except OSError:
                    break

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, args=(server,), daemon=True).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/w.safetensors"
        settings = Settings(retries=1, backoff=0.01, timeout=(2, 1), patience=1, progress=False)
        refuse("no answer in time|sends 1?[0-9] bytes a second", fetch, url, settings)
        stop.set()
    assert "trying again" in capsys.readouterr().err
