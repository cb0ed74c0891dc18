"""Serve exported models over HTTP: for programs, for clients of Triton and KServe, and on a page in the browser.

    densebone serve output_inference/birds
    densebone serve birds=exported/birds streets=exported/streets --workers 4 --port 8080
    curl -F picture=@picture.jpg http://127.0.0.1:8000/predict/birds

The folders are those of `densebone export --format onnx` (or openvino). Only this machine reaches the server, unless
--host says otherwise. Ctrl-C or SIGTERM stops it once every request that it took is answered. docs/serving.md has the
requests, the limits and the metrics. -v prints a line for every request.
"""

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from ..errors import UserError
from . import options

KEY = "DENSEBONE_API_KEY"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    arguments = _parser().parse_args(argv)
    try:
        from ..serving.answers import Choice
        from ..serving.server import serve
        from ..serving.settings import MEGA, Limits
    except ModuleNotFoundError as error:
        raise UserError(f"{error.name} is not installed; pip install 'densebone[serve]'") from error
    if not 0 <= arguments.threshold <= 1:
        raise UserError(f"--threshold is {arguments.threshold}; it must be from 0 to 1")
    if arguments.top < 1:
        raise UserError(f"--top is {arguments.top}; it must be 1 or more")
    limits = Limits(
        arguments.workers, arguments.batch, arguments.wait / 1000, arguments.queue, int(arguments.body * MEGA),
        int(arguments.memory * MEGA), int(arguments.pixels * MEGA), arguments.connections, arguments.timeout,
        arguments.grace,
    )  # fmt: skip
    engine = {"engine": arguments.engine, "threads": arguments.threads, "precision": arguments.precision}
    return serve(
        arguments.folders, arguments.host, arguments.port, _key(arguments), arguments.allow_host,
        Choice(arguments.threshold, arguments.top), limits, engine, arguments.verbose,
    )  # fmt: skip


def _parser() -> ArgumentParser:
    from ..runtime.sessions import ENGINES, PRECISIONS

    parser = options.plain_parser("serve", __doc__)
    parser.add_argument(
        "folders", nargs="+", metavar="[NAME=]FOLDER", help="an exported model; its name if not its own"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (127.0.0.1: this machine alone)")
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one (8000)")
    parser.add_argument("--api-key-file", metavar="FILE", help=f"requests must name the key in this file; or set {KEY}")
    parser.add_argument(
        "--allow-host", metavar="NAME", action="append", default=[],
        help="answer to this name too, which a proxy on this machine passes on; repeatable",
    )  # fmt: skip
    parser.add_argument("--threshold", type=float, default=0.5, help="boxes of a lower score are left out (0.5)")
    parser.add_argument("--top", type=int, default=5, help="classes that a classifier returns (5)")
    group = parser.add_argument_group("speed")
    group.add_argument("--workers", type=int, default=2, help="batches that are computed side by side (2)")
    group.add_argument("--batch", type=int, default=4, help="pictures that are computed together at most (4)")
    group.add_argument("--wait", type=float, default=0, metavar="MS", help="for others to join a batch (0)")
    group.add_argument("--engine", choices=ENGINES, help="default: the fastest that is installed")
    group.add_argument("--precision", choices=PRECISIONS, default="fp32", help="int8 for files of export --int8 (fp32)")
    group.add_argument("--threads", type=int, help="CPUs that the workers share; default: all")
    group = parser.add_argument_group("limits")
    group.add_argument("--queue", type=int, default=64, help="pictures that may wait; more are answered 429 (64)")
    group.add_argument("--body", type=float, default=32, metavar="MB", help="of a request; more is answered 413 (32)")
    group.add_argument("--memory", type=float, default=512, metavar="MB", help="of all bodies at a time (512)")
    group.add_argument("--pixels", type=float, default=64, metavar="MILLIONS", help="of a picture (64)")
    group.add_argument("--connections", type=int, default=512, help="at a time; more are answered 503 (512)")
    group.add_argument("--timeout", type=float, default=30, metavar="S", help="for a request to arrive (30)")
    group.add_argument("--grace", type=float, default=30, metavar="S", help="for requests to end when stopped (30)")
    return parser


def _key(arguments: Namespace) -> str | None:
    """The API key of the file or the environment. It is no option, because every user can see those of a process."""
    if arguments.api_key_file is None:
        return os.environ.get(KEY) or None
    try:
        key = Path(arguments.api_key_file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--api-key-file {arguments.api_key_file} cannot be read ({error})") from error
    if not key or not key.isprintable():
        raise UserError(f"--api-key-file {arguments.api_key_file} holds no key; write one line of text into it")
    return key
