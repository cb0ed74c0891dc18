"""Requests and answers of the Open Inference Protocol, version 2, with its extension for binary tensors.

It is what KServe, Triton and OpenVINO's model server speak. Arrays stand in JSON as flat lists, or behind the JSON as
bytes, little-endian, in C order; texts and files ("BYTES") there have their length in front, 4 bytes.
"""

from __future__ import annotations

import base64
import binascii
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from ..runtime.sessions import Tensor
from .settings import Refused

#: the header that says where the JSON ends
JSON_LENGTH = "inference-header-content-length"
#: the protocol's names of types -> NumPy's
TYPES = {
    "BOOL": "bool", "UINT8": "uint8", "UINT16": "uint16", "UINT32": "uint32", "UINT64": "uint64", "INT8": "int8",
    "INT16": "int16", "INT32": "int32", "INT64": "int64", "FP16": "float16", "FP32": "float32", "FP64": "float64",
    "BYTES": "object",
}  # fmt: skip
_NAMES = {dtype: name for name, dtype in TYPES.items()}
_ELSEWHERE = ("shared_memory_region", "shared_memory_offset", "shared_memory_byte_size")


@dataclass
class Wanted:
    """An output that a request asks for.

    Attributes:
        name: of the output.
        binary: whether it comes as bytes behind the JSON.
        best: so many "score:place" texts of the best classes in its place; 0 for the output as it is.
    """

    name: str
    binary: bool = False
    best: int = 0


@dataclass
class Asked:
    """A request for inference.

    Attributes:
        inputs: by name; BYTES are arrays of bytes objects.
        outputs: None for all.
        id: of the client's, returned to it.
        parameters: of the request.
    """

    inputs: dict[str, np.ndarray]
    outputs: list[Wanted] | None = None
    id: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)


def described(name: str, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> dict[str, Any]:
    """The metadata of a model."""
    return {
        "name": name, "versions": ["1"], "platform": "densebone",
        "inputs": [_described(one) for one in inputs], "outputs": [_described(one) for one in outputs],
    }  # fmt: skip


def _described(tensor):
    shape = [-1 if side is None else side for side in tensor.shape]
    return {"name": tensor.name, "datatype": _NAMES[tensor.dtype], "shape": shape}


def read_json(data: bytes) -> Any:
    """What a JSON text says; `Refused` when it is none."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Refused(400, f"the body is no JSON ({' '.join(str(error).split())})") from error


def read_request(body: bytes, json_length: str | None) -> Asked:
    """Reads a request.

    Args:
        body: the whole body.
        json_length: the value of the header `JSON_LENGTH`; None when all of the body is JSON.

    Raises:
        Refused: it is none; types, shapes and numbers of values do not fit together.
    """
    end = len(body)
    if json_length is not None:
        if not json_length.isascii() or not json_length.isdigit() or int(json_length[:12]) > len(body):
            raise Refused(400, f"{JSON_LENGTH} is {json_length[:20]!r}, and the body has {len(body)} bytes")
        end = int(json_length)
    request = read_json(body[:end])
    if not isinstance(request, dict) or not isinstance(request.get("inputs"), list) or not request["inputs"]:
        raise Refused(400, 'the body has no "inputs"; a list of one or more is expected')
    binary, inputs = memoryview(body)[end:], {}
    for one in request["inputs"]:
        name, value, taken = _read_tensor(one, binary)
        if name in inputs:
            raise Refused(400, f"the input {name!r} is there twice")
        inputs[name], binary = value, binary[taken:]
    if len(binary):
        raise Refused(400, f"{len(binary)} bytes stand behind the last input")
    parameters = _mapping(request.get("parameters"), "parameters")
    given = request.get("id", "")
    return Asked(
        inputs, _read_outputs(request.get("outputs"), parameters), given if isinstance(given, str) else "", parameters
    )


def _mapping(value, what):
    if not isinstance(value or {}, dict):
        raise Refused(400, f"{what} is no object")
    return value or {}


def _read_outputs(rows, parameters):
    binary = parameters.get("binary_data_output") is True
    if not rows:
        return [Wanted("", True)] if binary else None
    wanted = []
    for row in rows if isinstance(rows, list) else [None]:
        if not isinstance(row, dict) or not isinstance(row.get("name"), str):
            raise Refused(400, 'an output has no "name"')
        own = _mapping(row.get("parameters"), "parameters")
        _refuse_elsewhere(own)
        best = own.get("classification", 0)
        if type(best) is not int or best < 0:
            raise Refused(400, "classification is a number of classes")
        wanted.append(Wanted(row["name"], own.get("binary_data", binary) is True, best))
    return wanted


def _refuse_elsewhere(parameters):
    if any(key in parameters for key in _ELSEWHERE):
        raise Refused(400, "shared memory is not served; send the tensor in the request")


def _read_tensor(one, binary):
    """(name, array, how many of the bytes behind the JSON it took)."""
    if not isinstance(one, dict) or not isinstance(one.get("name"), str):
        raise Refused(400, 'an input has no "name"')
    name, shape, datatype = one["name"], one.get("shape"), one.get("datatype")
    if not isinstance(datatype, str) or datatype not in TYPES:
        raise Refused(400, f"the input {name!r} has the datatype {datatype!r}; one of {', '.join(TYPES)} is expected")
    good = isinstance(shape, list) and len(shape) <= 8 and all(type(side) is int and side >= 0 for side in shape)
    if not good:
        raise Refused(400, f"the shape of the input {name!r} is no list of up to 8 whole numbers")
    count, parameters = math.prod(shape), _mapping(one.get("parameters"), "parameters")
    _refuse_elsewhere(parameters)
    taken, size = 0, parameters.get("binary_data_size")
    if size is not None:
        if type(size) is not int or not 0 <= size <= len(binary):
            raise Refused(400, f"the input {name!r} has binary_data_size {size!r}; {len(binary)} bytes are left")
        values, taken = _from_bytes(name, bytes(binary[:size]), datatype, count), size
    else:
        values = _from_list(name, one.get("data"), datatype, count)
    return name, values.reshape(shape), taken


def _from_bytes(name, data, datatype, count):
    if datatype != "BYTES":
        dtype = np.dtype(TYPES[datatype]).newbyteorder("<")
        _check_count(name, len(data) / dtype.itemsize, count)
        return np.frombuffer(data, dtype).astype(TYPES[datatype], copy=False)
    found, place = [], 0
    while place < len(data):
        length = struct.unpack_from("<I", data, place)[0] if place + 4 <= len(data) else len(data)
        if place + 4 + length > len(data):
            raise Refused(400, f"the input {name!r} ends in the middle of a value")
        found.append(data[place + 4 : place + 4 + length])
        place += 4 + length
    _check_count(name, len(found), count)
    return _objects(found)


def _from_list(name, data, datatype, count):
    if not isinstance(data, list):
        raise Refused(400, f'the input {name!r} has no "data"; a list is expected, or bytes behind the JSON')
    if datatype == "BYTES":
        _check_count(name, len(data), count)
        return _objects([from_base64(one, f"the input {name!r}") for one in data])
    try:
        values = np.asarray(data)
    except (ValueError, TypeError, OverflowError):
        values = np.empty(0, object)
    dtype = np.dtype(TYPES[datatype])
    allowed = {"f": "iuf", "b": "b"}.get(dtype.kind, "iu")
    if count and values.dtype.kind not in allowed:
        raise Refused(400, f"the data of the input {name!r} are no {datatype} values, or lists of unlike lengths")
    _check_count(name, values.size, count)
    limits = np.iinfo(dtype) if dtype.kind in "iu" else None
    if limits and count and (values.min() < limits.min or values.max() > limits.max):
        raise Refused(400, f"the input {name!r} has values that {datatype} cannot hold")
    with np.errstate(over="ignore"):
        return values.astype(dtype).reshape(-1)


def _check_count(name, given, count):
    if given != count:
        raise Refused(400, f"the input {name!r} has {given:g} values, and its shape asks for {count}")


def _objects(values):
    array = np.empty(len(values), object)
    array[:] = values
    return array


def from_base64(text: Any, what: str) -> bytes:
    """The bytes of a base64 text, or of a data URL; `Refused` when it is none."""
    if not isinstance(text, str):
        raise Refused(400, f"{what} is no text in base64")
    if text[:5] == "data:":
        text = text.partition(",")[2]
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused(400, f"{what} is no base64; the bytes of a picture file are expected, no address") from error


def write_answer(name: str, outputs: Mapping[str, np.ndarray], asked: Asked) -> tuple[bytes, dict[str, str]]:
    """The body of an answer, and its headers.

    Args:
        name: of the model.
        outputs: all outputs by name.
        asked: the request, which says which ones are wanted and how.

    Raises:
        Refused: an output is wanted that there is not.
    """
    wanted = asked.outputs or [Wanted(name) for name in outputs]
    if wanted[0].name == "":
        wanted = [Wanted(name, True) for name in outputs]
    rows, tail = [], []
    for one in wanted:
        if one.name not in outputs:
            raise Refused(400, f"there is no output {one.name!r}; {', '.join(outputs)} are there")
        value = outputs[one.name] if not one.best else _best(one, outputs[one.name])
        row: dict[str, Any] = {
            "name": one.name, "datatype": _NAMES[str(value.dtype)], "shape": list(value.shape)
        }  # fmt: skip
        if one.binary:
            tail.append(_to_bytes(value))
            row["parameters"] = {"binary_data_size": len(tail[-1])}
        else:
            row["data"] = [text.decode() for text in value.ravel()] if value.dtype == object else value.ravel().tolist()
        rows.append(row)
    answer = {"model_name": name, "model_version": "1", "outputs": rows, **({"id": asked.id} if asked.id else {})}
    head = msgspec.json.encode(answer)
    if not tail:
        return head, {"content-type": "application/json"}
    return b"".join([head, *tail]), {"content-type": "application/octet-stream", JSON_LENGTH: str(len(head))}


def _to_bytes(value):
    if value.dtype == object:
        return b"".join(struct.pack("<I", len(text)) + text for text in value.ravel())
    return np.ascontiguousarray(value, value.dtype.newbyteorder("<")).tobytes()


def _best(wanted, scores):
    """Triton's extension: texts "score:place" of the best classes of each row."""
    if scores.ndim != 2 or scores.dtype.kind != "f":
        raise Refused(400, f"the output {wanted.name!r} has no scores of classes; leave out classification")
    order = np.argsort(-scores, axis=1, kind="stable")[:, : wanted.best]
    texts = [f"{row[place]:f}:{place}".encode() for row, places in zip(scores, order) for place in places]
    return _objects(texts).reshape(order.shape)
