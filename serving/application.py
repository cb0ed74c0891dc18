"""The application: which request does what.

POST /predict/NAME                   pictures in, boxes, classes of pixels or classes out, as JSON
GET  /models                         what there is
POST /v2/models/NAME/infer           the Open Inference Protocol: tensors for NAME, pictures for NAME_pictures
GET  /v2, /v2/health/live, /v2/health/ready, /v2/models/NAME, /v2/models/NAME/ready
GET  /metrics                        for Prometheus
GET  /                               a page on which one drops a picture
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .. import __version__
from .answers import Choice, as_arrays, as_json, stacked, summary
from .batching import Job, Queue
from .bodies import Bodies, Gone, aside, pictures_in
from .inference_protocol import JSON_LENGTH, Asked, described, read_request, write_answer
from .metrics import CONTENT_TYPE, Metrics
from .models import Models, Served
from .settings import Limits, Refused

_PAGE = Path(__file__).parent / "page"
_FILES = {
    "": ("index.html", "text/html"),
    "page.js": ("page.js", "text/javascript"),
    "page.css": ("page.css", "text/css"),
}


@dataclass
class Service:
    """What the requests share.

    Attributes:
        models: by name.
        queue: where pictures wait.
        bodies: reads bodies.
        limits: of a request.
        metrics: counts.
        choice: what of the result a request gets when it does not say.
        ready: whether new requests are welcome.
    """

    models: Models
    queue: Queue
    bodies: Bodies
    limits: Limits
    metrics: Metrics
    choice: Choice
    ready: bool = True


def application(service: Service) -> Starlette:
    """The application of a server."""
    return Starlette(
        routes=[*_pages(service), *_predict(service), *_protocol(service)],
        exception_handlers={
            Refused: _refused, HTTPException: _unknown, Gone: _gone, Exception: _broken
        },
    )  # fmt: skip


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(value), status, headers, "application/json")


async def _refused(_: Request, error: Any) -> Response:
    headers = {"retry-after": "1"} if error.status in (429, 503) else None
    return _json({"error": str(error)}, error.status, headers)


async def _unknown(request: Request, error: Any) -> Response:
    words = {404: "there is no such path", 405: f"{request.method} is not for this path"}
    return _json({"error": words.get(error.status_code, str(error.detail))}, error.status_code, error.headers)


async def _gone(_: Request, __: Any) -> Response:
    return Response(status_code=499)


async def _broken(_: Request, __: Any) -> Response:
    return _json({"error": "the server failed; its log says why"}, 500)


def _pages(service):
    def page(name, file, kind):
        content = (_PAGE / file).read_bytes()

        async def show(_: Request) -> Response:
            return Response(content, media_type=kind)

        return Route(f"/{name}", show)

    async def models(_: Request) -> Response:
        rows = [summary(served) for served in service.models.values()]
        return _json({"models": rows, "threshold": service.choice.threshold, "top": service.choice.top})

    async def metrics(_: Request) -> Response:
        return Response(service.metrics.text(), media_type=CONTENT_TYPE)

    return [
        *[page(name, *facts) for name, facts in _FILES.items()], Route("/models", models), Route("/metrics", metrics)
    ]  # fmt: skip


def _predict(service):
    async def predict(request: Request) -> Response:
        name = request.path_params.get("name")
        if name is None and len(service.models) != 1:
            raise Refused(404, f"name a model: /predict/NAME, one of {', '.join(service.models)}")
        served = service.models[name or next(iter(service.models))]
        if not served.takes_pictures:
            raise Refused(400, f"{served.name} takes prepared tensors alone; its card does not say how to prepare them")
        service.queue.check_room()  # before the body is read
        async with service.bodies.read(request) as body:
            files, more = await pictures_in(body, request, service.limits.queue)
            del body
            choice = _choice(service.choice, {**more, **_numbers(request)})
            jobs = [
                Job(served, lambda one: as_json(served, choice, *one), picture=data, name=given)
                for given, data in files
            ]
            del files
            found = await _outcome(request, service.queue.submit(jobs))
        return _json({"model": served.name, "task": served.task, "pictures": found})

    return [Route(path, predict, methods=["POST"]) for path in ("/predict", "/predict/{name}")]


def _numbers(request):
    """threshold and top of the address, as numbers where they are some."""
    given: dict[str, Any] = {}
    for name, kind in (("threshold", float), ("top", int)):
        if (text := request.query_params.get(name)) is not None:
            try:
                given[name] = kind(text)
            except ValueError:
                given[name] = text
    return given


def _choice(usual: Choice, given: Mapping[str, Any]) -> Choice:
    """What a request wants of the result; what it does not say is as usual."""
    threshold, top = given.get("threshold", usual.threshold), given.get("top", usual.top)
    if type(threshold) not in (int, float) or not 0 <= threshold <= 1:
        raise Refused(400, f"threshold is {str(threshold)[:40]!r}; a number from 0 to 1 is expected")
    if type(top) is not int or top < 1:
        raise Refused(400, f"top is {str(top)[:40]!r}; a whole number from 1 on is expected")
    return Choice(threshold, top)


async def _outcome(request: Request, futures: Sequence[Future]) -> list[Any]:
    """The results of jobs. When the client hangs up first, jobs that still wait are dropped.

    Raises:
        Refused: a job was.
        Gone: the client hung up.
    """
    waiting = [asyncio.wrap_future(future) for future in futures]
    watch = asyncio.ensure_future(_hung_up(request))
    left: set[asyncio.Future] = set(waiting)
    try:
        while left:
            done, _ = await asyncio.wait({*left, watch}, return_when=asyncio.FIRST_COMPLETED)
            left -= done
            if watch in done and left:
                raise Gone
            for one in done - {watch}:
                one.result()
        return [one.result() for one in waiting]
    finally:
        watch.cancel()
        for one in waiting:
            if not one.cancel() and not one.cancelled():
                one.exception()  # else asyncio writes about those behind one that was refused


async def _hung_up(request):
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _protocol(service):
    async def server(_: Request) -> Response:
        return _json({"name": "densebone", "version": __version__, "extensions": ["binary_tensor_data"]})

    async def live(_: Request) -> Response:
        return _json({"live": True})

    async def ready(_: Request) -> Response:
        return _json({"ready": service.ready}, 200 if service.ready else 503)

    async def index(_: Request) -> Response:
        rows = [{"name": name, "version": "1", "state": "READY", "reason": ""} for name in service.models.endpoints()]
        return _json(rows)

    def called(request: Request) -> tuple[Served, bool]:
        return service.models.endpoint(request.path_params["name"], request.path_params.get("version"))

    async def metadata(request: Request) -> Response:
        served, pictures = called(request)
        tensors = served.picture_tensors() if pictures else (served.inputs, served.outputs)
        return _json(described(request.path_params["name"], *tensors))

    async def model_ready(request: Request) -> Response:
        called(request)
        return _json({"ready": service.ready}, 200 if service.ready else 503)

    async def infer(request: Request) -> Response:
        served, pictures = called(request)
        service.queue.check_room()  # before the body is read
        async with service.bodies.read(request) as body:
            asked = await aside(body, lambda body: read_request(body, request.headers.get(JSON_LENGTH)))
            del body
            found = await (_infer_pictures if pictures else _infer_tensors)(service, served, request, asked)
        content, headers = write_answer(request.path_params["name"], found, asked)
        return Response(content, headers=headers)

    of_model = [("", metadata, "GET"), ("/ready", model_ready, "GET"), ("/infer", infer, "POST")]
    return [
        Route("/v2", server), Route("/v2/health/live", live), Route("/v2/health/ready", ready),
        Route("/v2/repository/index", index, methods=["POST"]),
        *[
            Route(f"/v2/models/{{name}}{version}{what}", work, methods=[method])
            for version in ("", "/versions/{version}")
            for what, work, method in of_model
        ],
    ]  # fmt: skip


async def _infer_tensors(service: Service, served: Served, request: Request, asked: Asked) -> dict[str, np.ndarray]:
    names = [one.name for one in served.inputs]
    if unknown := set(asked.inputs) - set(names):
        raise Refused(400, f"there is no input {min(unknown)!r}; {', '.join(names)} are expected")
    for one in served.inputs:
        value = asked.inputs.get(one.name)
        if value is None:
            raise Refused(400, f"the input {one.name!r} is missing; {', '.join(names)} are expected")
        fits = value.ndim == len(one.shape) and all(want in (None, have) for want, have in zip(one.shape, value.shape))
        if value.dtype != one.dtype or not fits or not value.size:
            sides = ", ".join("any" if side is None else str(side) for side in one.shape)
            raise Refused(
                400, f"the input {one.name!r} is {value.dtype} of shape {list(value.shape)}; {one.dtype} ({sides}) of "
                f"one picture or more is expected",
            )  # fmt: skip
    rows = {len(value) for value in asked.inputs.values()}
    if served.joins and len(rows) > 1:
        raise Refused(400, f"the inputs are of {' and '.join(map(str, sorted(rows)))} pictures; one number is expected")
    (found,) = await _outcome(request, service.queue.submit([Job(served, lambda outputs: outputs, feed=asked.inputs)]))
    return found


async def _infer_pictures(service: Service, served: Served, request: Request, asked: Asked) -> dict[str, np.ndarray]:
    value = asked.inputs.get("picture")
    if value is None or len(asked.inputs) > 1:
        raise Refused(
            400, "one input is expected, 'picture': BYTES (N) of files, or UINT8 (N, height, width, 3) in RGB"
        )
    if value.dtype == np.uint8 and value.ndim in (3, 4) and value.shape[-1] == 3 and value.size:
        pictures: list[Any] = [value] if value.ndim == 3 else list(value)
    elif value.dtype == object and value.size:
        pictures = list(value.ravel())
    else:
        raise Refused(
            400, f"the input 'picture' is {value.dtype} of shape {list(value.shape)}; BYTES (N) of files, or UINT8 "
            f"(N, height, width, 3) in RGB, are expected",
        )  # fmt: skip
    choice, outputs = _choice(service.choice, asked.parameters), [one.name for one in served.outputs]
    jobs = [
        Job(served, lambda one: as_arrays(one[0], choice, outputs), picture=picture, name=f"picture {number}")
        for number, picture in enumerate(pictures, 1)
    ]
    return stacked(await _outcome(request, service.queue.submit(jobs)))
