"""A server that is stopped under load, that is starved, and that is lied to a thousand times."""

import http.client
import json
import os
import random
import signal
import socket
import threading
import time

import numpy as np
import pytest

pytest.importorskip("uvicorn", reason="the server needs it: pip install densebone[serve]")
pytest.importorskip("onnx", reason="the models of these tests are written with it: pip install densebone[onnx]")
pytest.importorskip("psutil", reason="it tells the memory of a process: pip install psutil")

import psutil
from exported import detector
from servers import halves, png, running

DATA = png(halves(600, 800))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return detector(tmp_path_factory.mktemp("models") / "det")


class Client(threading.Thread):
    """Sends pictures until the server lets nobody in any more.

    Attributes:
        answered: how many answers came, all of them 200.
        lost: what went wrong with a request that the server had let in.
    """

    def __init__(self, port, reuse):
        super().__init__()
        self.port, self.reuse, self.answered, self.lost = port, reuse, 0, []

    def run(self):
        connection = None
        while True:
            if connection is None:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
                try:
                    connection.connect()
                except ConnectionRefusedError:
                    return
            try:
                connection.request("POST", "/predict/det", DATA)
                answer = connection.getresponse()
                answer.read()
            except Exception as error:
                self.lost.append(repr(error))
                return
            if answer.status != 200:
                self.lost.append(answer.status)
                return
            self.answered += 1
            if not self.reuse or answer.headers.get("connection") == "close":
                connection.close()
                connection = None


def stopped_under_load(folder, log, clients, seconds, number):
    """(the clients, the server) after a signal that came while all clients were sending."""
    with running([f"det={folder}", "--engine", "onnxruntime", "--threads", "1"], log) as server:
        threads = [Client(server.port, reuse=place % 2 == 0) for place in range(clients)]
        for thread in threads:
            thread.start()
        while min(thread.answered for thread in threads) < 2:
            time.sleep(0.01)
        time.sleep(seconds)
        assert server.stop(number) == 0
        for thread in threads:
            thread.join(60)
        return threads, server


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_is_stopped_answers_what_it_took(number, folder, tmp_path):
    threads, server = stopped_under_load(folder, tmp_path / "log", 8, 0.1, number)
    assert [thread.lost for thread in threads if thread.lost] == []
    answered = sum(thread.answered for thread in threads)
    assert server.printed[-1] == f"stopped after {answered} requests\n"
    assert (tmp_path / "log").read_text() == ""


@pytest.mark.acceptance
@pytest.mark.parametrize("attempt", range(20))
def test_twenty_stops_of_sixteen_clients(attempt, folder, tmp_path):
    threads, _ = stopped_under_load(folder, tmp_path / "log", 16, random.Random(attempt).random(), signal.SIGTERM)
    assert [thread.lost for thread in threads if thread.lost] == []


def requests():
    """Pairs (what it is, bytes to send) of requests that are wrong, some cut short."""
    rng = random.Random(0)
    noise = bytes(rng.randrange(256) for _ in range(3000))

    def post(path, body, headers="", length=None):
        length = len(body) if length is None else length
        head = (
            f"POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n"
        )
        return head.encode() + body

    json_type, deep = "content-type: application/json\r\n", b"[" * 50_000
    infer = json.dumps({"inputs": [{"name": "image", "shape": [1, 3, 32, 64], "datatype": "FP32", "data": [1]}]})
    bomb = png(np.zeros((9000, 9000, 3), np.uint8))
    return [
        ("no picture", post("/predict/det", noise)),
        ("a truncated picture", post("/predict/det", DATA[: len(DATA) // 2])),
        ("a damaged picture", post("/predict/det", DATA[:200] + noise + DATA[200:])),
        ("too many pixels", post("/predict/det", bomb)),
        ("too long", post("/predict/det", b"", length=10**12)),
        ("cut short", post("/predict/det", DATA[:500], length=len(DATA))),
        ("longer than said", post("/predict/det", DATA, length=500)),
        ("no JSON", post("/predict/det", b"{", json_type)),
        ("deep JSON", post("/predict/det", deep, json_type)),
        ("no form", post("/predict/det", noise, "content-type: multipart/form-data; boundary=a\r\n")),
        ("a tensor of one value", post("/v2/models/det/infer", infer.encode())),
        ("no tensor", post("/v2/models/det/infer", noise)),
        ("another model", post("/v2/models/none/infer", infer.encode())),
        ("not unpacked", post("/predict/det", noise, "content-encoding: gzip\r\n")),
        ("noise", noise),
        ("half a head", b"POST /predict/det HTTP/1.1\r\nhost: loc"),
        ("a huge head", b"GET / HTTP/1.1\r\nhost: localhost\r\nx: " + b"a" * 200_000),
        ("nonsense in chunks", post("/predict/det", b"zz\r\n", "transfer-encoding: chunked\r\n")),
        ("nothing", b""),
    ]  # fmt: skip


def send(port, content, patient):
    """The status of the answer, None when there is none; an impatient client hangs up without looking."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        try:
            connection.sendall(content)
            if not patient:
                return None
            connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(65536)
        except OSError:  # the server has ended the connection
            return None
    return int(answer.split()[1]) if answer else None


@pytest.mark.acceptance
def test_a_thousand_wrong_requests_leave_it_as_it_was(folder, tmp_path):
    kinds, statuses = requests(), {}
    with running([f"det={folder}", "--engine", "onnxruntime", "--timeout", "5"], tmp_path / "log") as server:
        process, memory = psutil.Process(server.process.pid), []
        for place in range(1520):
            name, content = kinds[place % len(kinds)]
            statuses.setdefault(name, set()).add(send(server.port, content, patient=place % 3 > 0))
            if place % 20 == 0:
                assert server.ask("POST", "/predict/det", DATA)[0] == 200
            if place >= 500 and place % 100 == 0:
                memory.append(process.memory_info().rss / 1e6)
        time.sleep(7)  # the slow ones are sent away
        files = process.num_fds() if hasattr(process, "num_fds") else 0
        assert server.ask("POST", "/predict/det", DATA)[0] == 200
        assert "densebone_held_bytes 0.0" in server.ask("GET", "/metrics")[2].decode()
        print(f"statuses {statuses}\nmemory, MB: {memory}\nopen files: {files}, threads: {process.num_threads()}")
        assert max(memory[-3:]) < 1.05 * max(memory[:3])
        assert files < 60 and not any(status and status >= 500 for row in statuses.values() for status in row)
        assert server.stop() == 0
    assert os.path.getsize(tmp_path / "log") < 2000, (tmp_path / "log").read_text()[:3000]


@pytest.mark.acceptance
def test_a_full_queue_answers_429_at_once(folder, tmp_path):
    slow = ["--workers", "1", "--batch", "1", "--threads", "1", "--queue", "4"]
    with running([f"det={folder}", "--engine", "onnxruntime", *slow], tmp_path / "log") as server:
        big, found = png(halves(6000, 6000)), []

        def ask():
            start = time.perf_counter()
            status, _, _ = server.ask("POST", "/predict/det", big)
            found.append((status, time.perf_counter() - start))

        threads = [threading.Thread(target=ask) for _ in range(30)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        refused = sorted(seconds for status, seconds in found if status == 429)
        answered = sorted(seconds for status, seconds in found if status == 200)
        print(f"{len(answered)} answered within {answered[-1]:.2f} s; {len(refused)} refused, median "
              f"{refused[len(refused) // 2]:.3f} s")  # fmt: skip
        assert len(refused) + len(answered) == 30 and len(answered) >= 5 and refused
        assert server.stop() == 0
