"""A local web server that misbehaves on request."""

import threading
import time
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Page:
    """How the server answers requests for a path.

    Args:
        body (bytes): the file.
        ranges (bool): whether the server honours Range.
        etag (str | None): the file's ETag; None sends no validator.
        cut (list of int): the number of bytes after which the connection breaks, for each of the first requests.
        status (list of int): the status of each of the first requests, which get no file.
        heed_if_range (bool): whether the server honours If-Range.
        headers (dict): additional headers, such as Location for a redirect.
        piece (int | None): the largest answer to a Range, bytes.
        hold (threading.Event | None): after half of the file, the server waits for this event.
        pause (float): seconds after each 64 KiB.
    """

    def __init__(
        self, body=b"", ranges=True, etag='"1"', cut=(), status=(), heed_if_range=True, headers=(), hold=None,
        piece=None, pause=0,
    ):  # fmt: skip
        self.body, self.ranges, self.etag, self.heed_if_range, self.hold = body, ranges, etag, heed_if_range, hold
        self.cut, self.status, self.headers, self.piece = list(cut), list(status), dict(headers), piece
        self.pause = pause


class Web:
    """The pages of a server.

    Attributes:
        address (str): of the server, "http://...".
        pages (dict): path -> `Page`.
        gets (list): (path, Range header or None) of every request so far.
    """

    def __init__(self, address):
        self.address, self.pages, self.gets = address, {}, []

    def put(self, path, *args, **options):
        self.pages[path] = Page(*args, **options)
        return self.address + path


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        web = self.server.web
        asked = self.headers.get("Range")
        web.gets.append((self.path, asked))
        page = web.pages.get(self.path)
        if page is None or page.status:
            self.send_response(page.status.pop(0) if page else 404)
            for header in page.headers.items() if page else ():
                self.send_header(*header)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = int(asked[len("bytes=") : -1]) if asked and page.ranges else 0
        if start and page.heed_if_range and self.headers.get("If-Range") != page.etag:
            start = 0
        if start >= len(page.body) > 0:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(page.body)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        end = min(start + page.piece, len(page.body)) if start and page.piece else len(page.body)
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(page.body)}")
        if page.etag:
            self.send_header("ETag", page.etag)
        for header in page.headers.items():
            self.send_header(*header)
        if "Transfer-Encoding" not in page.headers:
            self.send_header("Content-Length", str(end - start))
        self.end_headers()
        self._send(page, page.body[start:end])

    def _send(self, page, body):
        if page.cut:
            body = body[: page.cut.pop(0)]
            self.close_connection = True
        if page.hold:
            half = len(body) // 2
            self.wfile.write(body[:half])
            self.wfile.flush()
            page.hold.wait(30)
            body = body[half:]
        with suppress(BrokenPipeError, ConnectionResetError):
            step = 1 << 16 if page.pause else max(1, len(body))
            for start in range(0, len(body), step):
                self.wfile.write(body[start : start + step])
                time.sleep(page.pause)


@contextmanager
def serve():
    """Serves in the background while the block runs; yields the `Web`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.web = Web(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.web
    finally:
        server.shutdown()
        server.server_close()
