"""A server in a process of its own, and what its tests send to it."""

import io
import json
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from http.client import HTTPConnection

import numpy as np
from PIL import Image


class Server:
    """A running `densebone serve`.

    Args:
        arguments: of the command, beside --port 0.
        log (Path): gets what it prints on stderr.
        env (dict | None): of the process.
    """

    def __init__(self, arguments, log, env=None):
        command = [sys.executable, "-m", "densebone.scripts", "serve", "--port", "0", *map(str, arguments)]
        self.log = log
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log.open("w"), text=True, env=env)
        self.printed = []
        for line in self.process.stdout:
            self.printed.append(line)
            if found := re.search(r"serving on http://(\S+):(\d+);", line):
                self.port = int(found[2])
                return
        raise AssertionError(log.read_text())

    def ask(self, method, path, body=None, headers=()):
        """(status, headers, body) of the answer to a request on a connection of its own."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, body, dict(headers))
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, answer.headers, content

    def json(self, method, path, body=None, headers=()):
        """(status, content) of an answer in JSON."""
        status, _, content = self.ask(method, path, body, headers)
        return status, json.loads(content)

    def stop(self, number=signal.SIGTERM):
        """Ends the server as a signal does; returns its exit status."""
        self.process.send_signal(number)
        self.printed += self.process.stdout.readlines()
        return self.process.wait(60)


@contextmanager
def running(arguments, log, env=None):
    """Yields a `Server`, which is gone at the end of the block."""
    server = Server(arguments, log, env)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait()
        server.process.stdout.close()


def png(pixels):
    """The bytes of a PNG file of uint8 (H, W, 3) in RGB."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def halves(height=40, width=60):
    """A picture whose left half is red and whose right half is blue."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2, 0] = pixels[:, width // 2 :, 2] = 230
    return pixels


def form(*files):
    """(body, headers) of a multipart form that holds files."""
    parts = [
        b'--edge\r\ncontent-disposition: form-data; name="picture"; filename="a.png"\r\n\r\n' + data for data in files
    ]
    body = b"\r\n".join([*parts, b"--edge--\r\n"])
    return body, {"content-type": "multipart/form-data; boundary=edge"}
