"""`densebone serve` beside the runtime in a loop: pictures a second, latency, and how much of the runtime is left.

    python -m benchmarks.serving exported/birds pictures/
    python -m benchmarks.serving exported/birds pictures/ --requests 2000 --clients 16 --workers 2 --rounds 3

The loop and the server take turns on the same pictures: the loop opens each file and calls the model, as a program
would; the clients send the bytes of the files, each on one connection, the next request when the answer is there. The
clients run on the same machine, so their time is part of the server's.
"""

import argparse
import http.client
import json
import re
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil

LOOP = """
import sys, time
from densebone.runtime import Model
model, pictures = Model(sys.argv[1], sys.argv[2] or None), sys.argv[4:]
for picture in pictures[:10]:
    model(picture)
number, start = int(sys.argv[3]), time.perf_counter()
for place in range(number):
    model(pictures[place % len(pictures)])
print(number / (time.perf_counter() - start))
"""


def main():
    """Prints a line for each round, and the medians."""
    arguments = _parser().parse_args()
    pictures = sorted(str(path) for path in Path(arguments.pictures).iterdir() if path.suffix in (".jpg", ".png"))
    rounds = []
    for number in range(arguments.rounds):
        loop = _loop(arguments, pictures)
        served = _serve(arguments, [Path(picture).read_bytes() for picture in pictures])
        rounds.append({"loop": loop, **served, "share": served["rate"] / loop})
        print(f"round {number + 1}: " + ", ".join(f"{name} {value:.4g}" for name, value in rounds[-1].items()))
    print("medians: " + ", ".join(f"{name} {statistics.median(r[name] for r in rounds):.4g}" for name in rounds[0]))


def _parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="an exported model")
    parser.add_argument("pictures", help="a folder of JPEGs and PNGs")
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--engine", default="", help="default: the fastest that is installed")
    parser.add_argument("--rounds", type=int, default=3)
    return parser


def _loop(arguments, pictures):
    """Pictures a second of the runtime in a loop, in a process of its own."""
    command = [sys.executable, "-c", LOOP, arguments.folder, arguments.engine, str(arguments.requests // 4), *pictures]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def _serve(arguments, bodies):
    """Rate (pictures/s), errors, and latency (ms) of the server under load."""
    options = ["--workers", str(arguments.workers), "--batch", str(arguments.batch), "--port", "0"]
    engine = ["--engine", arguments.engine] if arguments.engine else []
    command = [sys.executable, "-m", "densebone.scripts", "serve", f"model={arguments.folder}", *options, *engine]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    process = psutil.Process(server.pid)
    try:
        address = next(found[1] for line in server.stdout if (found := re.search(r"//(\S+);", line)))
        _load(address, bodies, 200, arguments.clients)
        before = process.memory_info().rss
        seconds, times, errors = _load(address, bodies, arguments.requests, arguments.clients)
        memory = process.memory_info().rss
    finally:
        server.terminate()
        server.communicate(timeout=60)
    cuts = statistics.quantiles(times, n=100)
    return {
        "rate": len(times) / seconds, "errors": errors, "p50": cuts[49], "p95": cuts[94], "p99": cuts[98],
        "exit": server.returncode, "MB": memory / 1e6, "MB more": (memory - before) / 1e6,
    }  # fmt: skip


def _load(address, bodies, requests, clients):
    """(seconds, ms of each request, how many failed) of clients that each send one request after the other."""
    times, errors, numbers = [], [], iter(range(requests))
    turn = threading.Lock()

    def client():
        connection = http.client.HTTPConnection(address, timeout=60)
        while True:
            with turn:
                number = next(numbers, None)
            if number is None:
                connection.close()
                return
            start = time.perf_counter()
            headers = {"content-type": "image/jpeg"}
            connection.request("POST", "/predict/model", bodies[number % len(bodies)], headers)
            answer = connection.getresponse()
            content = json.loads(answer.read())
            times.append(1000 * (time.perf_counter() - start))
            if answer.status != 200 or len(content["pictures"]) != 1:
                errors.append(answer.status)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(times) != requests:
        errors.append(requests - len(times))
    return time.perf_counter() - start, times, len(errors)


if __name__ == "__main__":
    main()
