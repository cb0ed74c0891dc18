"""Chromium without a window, where it is installed: a page's content once, or a page that a test drives."""

import asyncio
import base64
import json
import re
import shutil
import subprocess
import time

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)


def dom_after(page, width=1400):
    """(the page's HTML after its scripts have run, what the browser's console said); skips where there is no browser.

    The browser has no network: names cannot be resolved.
    """
    if CHROMIUM is None:
        pytest.skip(f"needs a browser: one of {', '.join(NAMES)}")
    done = subprocess.run(
        [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom",
            "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={page.parent / 'browser'}",
            f"--window-size={width},900", page.as_uri(),
        ],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


class Browser:
    """One page of a browser, over its debugging protocol. Use it as a context.

    Args:
        folder (Path): of the browser's own files.
        width, height (int): of the window, CSS pixels.
    """

    def __init__(self, folder, width=1280, height=800):
        self.folder, self.size, self.number, self.messages = folder, (width, height), 0, []

    def __enter__(self):
        self.loop = asyncio.new_event_loop()
        self.process = subprocess.Popen(
            [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
             "--disable-background-networking", "--remote-debugging-port=0", f"--user-data-dir={self.folder}",
             "about:blank"],
            stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        port = next(found[1] for line in self.process.stderr if (found := re.search(r"ws://[\d.]+:(\d+)/", line)))
        self.loop.run_until_complete(self._connect(port))
        self.call("Page.enable")
        self.call("Runtime.enable")
        self.call("Log.enable")
        self.resize(*self.size)
        return self

    def __exit__(self, *_):
        self.loop.run_until_complete(self.session.close())
        self.loop.close()
        self.process.terminate()
        self.process.wait()
        self.process.stderr.close()

    async def _connect(self, port):
        import aiohttp

        self.session = aiohttp.ClientSession()
        async with self.session.get(f"http://127.0.0.1:{port}/json/list") as answer:
            (page,) = [one for one in await answer.json(content_type=None) if one["type"] == "page"]
        self.socket = await self.session.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=0)

    def call(self, method, **values):
        """The result of a command of the debugging protocol; what the page writes on its console is kept."""
        return self.loop.run_until_complete(self._call(method, values))

    async def _call(self, method, values):
        self.number += 1
        await self.socket.send_json({"id": self.number, "method": method, "params": values})
        while True:
            message = json.loads((await self.socket.receive()).data)
            if message.get("id") == self.number:
                assert "error" not in message, message
                return message["result"]
            if message.get("method") in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
                self.messages.append(json.dumps(message["params"]))

    def resize(self, width, height):
        """Gives the window another size."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    def open(self, url):
        """Opens a page."""
        self.call("Page.navigate", url=url)
        self.until("document.readyState === 'complete'")

    def value(self, script):
        """What a line of JavaScript returns, as JSON has it."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def until(self, script, seconds=30):
        """Waits until a line of JavaScript returns true."""
        end = time.monotonic() + seconds
        while not self.value(script):
            assert time.monotonic() < end, (script, self.messages, self.value("document.body.innerText"))
            time.sleep(0.05)

    def drop(self, data, name="a.png", kind="image/png"):
        """Drops a file on the page, as a person does with the mouse."""
        text = base64.b64encode(data).decode()
        self.value(
            f"""(() => {{
                const bytes = Uint8Array.from(atob("{text}"), (c) => c.charCodeAt(0));
                const files = new DataTransfer();
                files.items.add(new File([bytes], "{name}", {{ type: "{kind}" }}));
                const target = document.elementFromPoint(innerWidth / 3, innerHeight / 2);
                const facts = {{ bubbles: true, cancelable: true, dataTransfer: files }};
                for (const type of ["dragover", "drop"]) target.dispatchEvent(new DragEvent(type, facts));
            }})()"""
        )

    def screenshot(self, path):
        """Writes a PNG of the window."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))
