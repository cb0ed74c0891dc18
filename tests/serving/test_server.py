"""A server as users start it: one process answers all tests of this file."""

import base64
import contextlib
import gzip
import io
import json
import os
import re
import socket
import subprocess
import sys
import threading
import zlib

import numpy as np
import pytest

pytest.importorskip("uvicorn", reason="the server needs it: pip install densebone[serve]")
pytest.importorskip("onnx", reason="the models of these tests are written with it: pip install densebone[onnx]")

from exported import ONE, detector, mean_network, segmenter, write_model
from PIL import Image
from servers import form, halves, png, running

from densebone.runtime import Model
from densebone.scripts import main

KEY = "a-key"
LIMITS = (
    "--body",
    "0.3",
    "--pixels",
    "0.1",
    "--queue",
    "6",
    "--timeout",
    "2",
    "--connections",
    "40",
    "--allow-host",
    "Proxy.example",
)
BEARER = {"authorization": f"Bearer {KEY}"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    detector(folder / "det")
    segmenter(folder / "seg")
    mean_network(folder / "cls", "classification", ["r", "g<b>", "b"], ONE)
    mean_network(folder / "maps", "classification", None, ONE)
    mean_network(folder / "raw", None, None, {"steps": None})
    return folder


@pytest.fixture(scope="module")
def server(folder, tmp_path_factory):
    names = ("det", "seg", "cls", "maps", "raw")
    log = tmp_path_factory.mktemp("server") / "log"
    env = {**os.environ, "DENSEBONE_API_KEY": KEY}
    with running([*(f"{name}={folder / name}" for name in names), "--engine", "onnxruntime", *LIMITS], log, env) as one:
        plain = one.ask
        one.ask = lambda method, path, body=None, headers=(): plain(method, path, body, {**BEARER, **dict(headers)})
        one.without_key = plain
        yield one
        assert one.stop() == 0
        assert one.printed[-1].startswith("stopped after ")
        assert "Traceback" not in log.read_text() and str(folder) not in log.read_text()


def objects(found):
    rows = zip(found.labels.tolist(), found.names, found.scores.tolist(), found.boxes.tolist())
    return [{"label": label, "name": name, "score": score, "box": box} for label, name, score, box in rows]


def test_every_way_to_send_a_picture_finds_what_the_runtime_finds(server, folder):
    pixels = np.full((64, 200, 3), 230, np.uint8)
    data = png(pixels)
    found = {"width": 200, "height": 64, "objects": objects(Model(folder / "det", "onnxruntime")(pixels))}
    assert found["objects"][0]["name"] == "dog"
    text = base64.b64encode(data).decode()
    as_json = {"content-type": "application/json"}
    ways = [
        (data, {"content-type": "image/png"}),
        (data, {}),
        form(data),
        (json.dumps({"picture": text}), as_json),
        (json.dumps({"picture": "data:image/png;base64," + text}), as_json),
        (gzip.compress(data), {"content-type": "image/png", "content-encoding": "gzip"}),
        (zlib.compress(data), {"content-type": "image/png", "content-encoding": "deflate"}),
    ]
    for body, headers in ways:
        assert server.json("POST", "/predict/det", body, headers) == (
            200, {"model": "det", "task": "detection", "pictures": [found]}
        )  # fmt: skip
    status, several = server.json("POST", "/predict/det?threshold=0", *form(data, png(halves()), data))
    assert status == 200 and [len(one["objects"]) for one in several["pictures"]] == [2, 2, 2]
    assert [one["width"] for one in several["pictures"]] == [200, 60, 200]
    body = json.dumps({"pictures": [text, text], "threshold": 0.01})
    assert [len(one["objects"]) for one in server.json("POST", "/predict/det", body, as_json)[1]["pictures"]] == [2, 2]


def test_classes_pixels_and_maps(server, folder):
    data = png(halves(80, 80))
    (found,) = server.json("POST", "/predict/cls?top=2", data)[1]["pictures"]
    best = Model(folder / "cls", "onnxruntime", top=2)(halves(80, 80))
    assert [(one["name"], one["score"]) for one in found["classes"]] == list(zip(best.names, best.scores.tolist()))
    (found,) = server.json("POST", "/predict/seg", data)[1]["pictures"]
    assert [(one["name"], one["share"]) for one in found["shares"]] == [("r", 0.5), ("b", 0.5)]
    image = Image.open(io.BytesIO(base64.b64decode(found["labels"].partition(",")[2])))
    assert np.array_equal(np.asarray(image), Model(folder / "seg", "onnxruntime")(halves(80, 80)).labels)
    colours = {one["name"]: one["colours"] for one in server.json("GET", "/models")[1]["models"]}["seg"]
    assert bytes(image.getpalette()[6:9]).hex() == colours[2][1:]
    (found,) = server.json("POST", "/predict/maps", data)[1]["pictures"]
    expected = Model(folder / "maps", "onnxruntime")(halves(80, 80)).maps[0]
    assert found["maps"] == [{"shape": [3], "datatype": "FP32", "data": expected.tolist()}]


def cut(data):
    return data[: len(data) // 2]


def zipped(data):
    """Packed without the time: every process of the tests must give them the same names."""
    return gzip.compress(data, mtime=0)


DATA = png(halves())
BAD = [
    ("/predict/det", b"no picture", {}, 400, "the picture: is not a picture that Pillow can read"),
    ("/predict/det", cut(DATA), {}, 400, "the picture: is truncated or damaged"),
    ("/predict/det", png(np.zeros((400, 400, 3), np.uint8)), {}, 413, "400 x 400 pixels is too large, at most 0.1"),
    ("/predict/det", b"x" * 400_000, {}, 413, "the body has more than 0.3 million bytes"),
    ("/predict/det", b"", {}, 400, "there is no picture in the body"),
    ("/predict/det", DATA, {"content-type": "text/html"}, 415, "the content-type is 'text/html'"),
    ("/predict/det", DATA, {"content-encoding": "br"}, 415, "the content-encoding is 'br'"),
    ("/predict/det", DATA, {"content-encoding": "gzip"}, 400, "the body cannot be unpacked"),
    ("/predict/det", zipped(bytes(10**7)), {"content-encoding": "gzip"}, 413, "0.3 million bytes when it is"),
    ("/predict/det", cut(zipped(DATA)), {"content-encoding": "gzip"}, 400, "the packed body ends too early"),
    ("/predict/det", b"{", {"content-type": "application/json"}, 400, "the body is no JSON"),
    ("/predict/det", b"[" * 100_000, {"content-type": "application/json"}, 400, "the body is no JSON"),
    ("/predict/det", b"[]", {"content-type": "application/json"}, 400, "the JSON has no .picture. in base64"),
    ("/predict/det", b'{"picture": "http://a/b.png"}', {"content-type": "application/json"}, 400, "no base64; .*no ad"),
    ("/predict/det", b'{"picture": 3}', {"content-type": "application/json"}, 400, "is no text in base64"),
    ("/predict/det", b'{"pictures": []}', {"content-type": "application/json"}, 400, "no picture in the body"),
    ("/predict/det", *form(DATA, b"x"), 400, "picture 2: is not a picture"),
    ("/predict/det", *form(*[DATA] * 7), 413, "Too many files|7 pictures"),
    ("/predict/det", b"x", {"content-type": "multipart/form-data"}, 400, "the form cannot be read"),
    ("/predict/det", b"--edge\r\nx", {"content-type": "multipart/form-data; boundary=edge"}, 400, "form|no picture"),
    ("/predict/det?threshold=nan", DATA, {}, 400, "threshold is 'nan'"),
    ("/predict/det?threshold=2", DATA, {}, 400, "threshold is '2.0'"),
    ("/predict/cls?top=0", DATA, {}, 400, "top is '0'"),
    ("/predict/dat", DATA, {}, 404, "there is no model 'dat'; the nearest names are det"),
    ("/predict", DATA, {}, 404, "name a model"),
    ("/predict/raw", DATA, {}, 400, "takes prepared tensors alone"),
    ("/nothing", DATA, {}, 404, "there is no such path"),
    ("/metrics", DATA, {}, 405, "POST is not for this path"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body", "headers", "status", "message"), BAD)
def test_what_cannot_be_answered_is_told(path, body, headers, status, message, server, folder):
    found, content = server.json("POST", path, body, headers)
    assert found == status
    assert re.search(message, content["error"]), content
    assert str(folder) not in content["error"]


def connected(server, text):
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    connection.sendall(text)
    return connection


def answer(connection):
    with connection, connection.makefile("rb") as stream:
        return stream.read()


HEAD = f"POST /predict/det HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {KEY}\r\ncontent-length: {{}}\r\n\r\n"


def deaf(server):
    """A client that asks and asks, and does not read; (its connection, how long all answers would be)."""
    page = b"GET /page.js HTTP/1.1\r\nhost: localhost\r\n\r\n"
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", server.port))
    connection.setblocking(False)
    return connection, connection.send(page * 4000) // len(page) * len(server.ask("GET", "/page.js")[2])


def all_of(connection):
    """How many bytes come before the other side ends the connection."""
    connection.settimeout(30)
    total = 0
    with connection, contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(1 << 20):
            total += len(piece)
    return total


def test_clients_that_break_off_dawdle_or_say_nonsense(server):
    silent, wanted = deaf(server)
    slow = connected(server, HEAD.format(len(DATA)).encode() + cut(DATA))
    idle = connected(server, b"POST /predict/det HT")
    gone = connected(server, HEAD.format(len(DATA)).encode() + cut(DATA))
    gone.close()
    hung_up = connected(server, HEAD.format(len(DATA)).encode() + DATA)
    hung_up.close()
    longer = answer(connected(server, HEAD.format(len(DATA)).encode() + DATA + b"\0more than was said"))
    assert (
        b"HTTP/1.1 400" in longer and b"is no HTTP request, or" in longer and b"longer than its content-len" in longer
    )
    assert answer(connected(server, b"\x16\x03\x01 hello")).startswith(b"HTTP/1.1 400")
    assert answer(connected(server, HEAD.format(-5).encode())).startswith(b"HTTP/1.1 400")
    slow_answer, idle_answer = answer(slow), answer(idle)
    assert slow_answer.startswith(b"HTTP/1.1 408") and b"the body did not arrive within 2 s" in slow_answer
    assert idle_answer.startswith(b"HTTP/1.1 408") and b"the request did not arrive within 2 s" in idle_answer
    assert wanted > 10_000_000 and all_of(silent) < wanted
    assert server.json("POST", "/predict/det", DATA)[0] == 200


def test_the_memory_of_bodies_is_given_back(server):
    server.ask("POST", "/predict/det", b"x" * 200_000)
    metrics = server.ask("GET", "/metrics")[2].decode()
    assert "densebone_held_bytes 0.0" in metrics and "densebone_queue_pictures 0.0" in metrics
    assert 'densebone_requests_total{route="predict",status="200"}' in metrics
    assert 'densebone_pictures_total{model="det"}' in metrics and "densebone_batch_pictures_bucket" in metrics


def test_the_key(server):
    assert server.without_key("POST", "/predict/det", DATA)[0] == 401
    assert server.without_key("GET", "/metrics", headers={"authorization": "Bearer wrong"})[0] == 401
    assert server.without_key("GET", "/v2/models/det", headers={"x-api-key": "gr\u00fcn"})[0] == 401
    assert server.without_key("GET", "/v2/models/det", headers={"x-api-key": KEY})[0] == 200
    for path in ("/", "/page.js", "/page.css", "/v2/health/live", "/v2/health/ready"):
        assert server.without_key("GET", path)[0] == 200


def test_pages_of_other_servers_are_kept_out(server):
    assert server.ask("GET", "/models", headers={"host": "evil.example"})[0] == 403
    assert server.ask("POST", "/predict/det", DATA, {"origin": "http://evil.example"})[0] == 403
    assert server.ask("GET", "/models", headers={"host": "proxy.example"})[0] == 200
    own = f"127.0.0.1:{server.port}"
    assert server.ask("POST", "/predict/det", DATA, {"host": own, "origin": f"http://{own}"})[0] == 200
    _, headers, page = server.ask("GET", "/")
    assert "script-src 'self'" in headers["content-security-policy"] and b"<script src=" in page


def test_many_clients_at_once(server):
    statuses = []

    def client():
        for _ in range(5):
            statuses.append(server.ask("POST", "/predict/det", DATA)[0])

    threads = [threading.Thread(target=client) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 30


def test_neither_paddle_nor_a_toolkit_is_imported_and_nothing_is_called(folder, tmp_path):
    code = f"""
import sys
connected = []
sys.addaudithook(lambda event, what: connected.append(what) if event == "socket.connect" else None)
from densebone.serving import server
from densebone.scripts import main
server._Server.run = lambda self, sockets: None  # all but waiting for clients
main(["serve", {str(folder / "det")!r}, "--port", "0", "--engine", "onnxruntime"])
foreign = {{"paddle", "ppdet", "paddleseg", "matplotlib", "cv2", "torch", "pandas", "scipy", "onnx"}}
print(sorted(foreign & set(sys.modules)), connected)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[] []", done.stdout


def test_what_cannot_be_served(server, folder, tmp_path, capsys):
    def refused(*arguments):
        assert main(["serve", *map(str, arguments)]) == 2
        return capsys.readouterr().err

    assert f"port {server.port} (it is in use); give another" in refused(folder / "det", "--port", server.port)
    assert "two models are called 'tiny'" in refused(folder / "det", folder / "seg", "--port", 0)
    assert "holds no model_card.json" in refused(tmp_path, "--port", 0)
    assert "--workers is 0" in refused(folder / "det", "--workers", 0)
    assert "cannot listen at 192.0.2.1" in refused(folder / "det", "--host", "192.0.2.1")
    assert "--api-key-file" in refused(folder / "det", "--api-key-file", tmp_path / "gone")
    import onnx

    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    card = {"task": None, "classes": None, "preprocessing": {"steps": None}}
    shape = [4, 3, 8, 8]
    write_model(tmp_path / "four", [node], {"x": shape}, {"y": (onnx.TensorProto.FLOAT, shape)}, card)
    assert "takes 4 pictures at once; export it for any number" in refused(tmp_path / "four", "--port", 0)
    mean_network(tmp_path / "odd", None, None, {"steps": None})
    text = (tmp_path / "odd/model_card.json").read_text().replace('"tiny"', '"a b"')
    (tmp_path / "odd/model_card.json").write_text(text)
    assert "its name is 'a b', which no URL can hold; give NAME=" in refused(tmp_path / "odd", "--port", 0)
