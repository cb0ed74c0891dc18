"""The Open Inference Protocol, spoken by Triton's own client and by hand."""

import json
import struct

import numpy as np
import pytest

pytest.importorskip("uvicorn", reason="the server needs it: pip install densebone[serve]")
pytest.importorskip("onnx", reason="the models of these tests are written with it: pip install densebone[onnx]")
pytest.importorskip("tritonclient", reason="another's client: pip install tritonclient[http]")

import tritonclient.http as triton
from exported import ONE, detector, mean_network, segmenter
from servers import halves, png, running

from densebone.runtime import Model
from densebone.serving.inference_protocol import read_request
from densebone.serving.settings import Refused

BRIGHT = np.full((64, 200, 3), 230, np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    detector(folder / "det")
    segmenter(folder / "seg")
    mean_network(folder / "cls", "classification", ["r", "g", "b"], ONE)
    return folder


@pytest.fixture(scope="module")
def server(folder, tmp_path_factory):
    log = tmp_path_factory.mktemp("server") / "log"
    arguments = [*(f"{name}={folder / name}" for name in ("det", "seg", "cls")), "--engine", "onnxruntime"]
    with running(arguments, log) as one:
        yield one
        assert one.stop() == 0 and "Traceback" not in log.read_text()


@pytest.fixture
def client(server):
    client = triton.InferenceServerClient(f"127.0.0.1:{server.port}")
    yield client
    client.close()


def given(name, value, binary=True):
    kind = "BYTES" if value.dtype == object else {"f": "FP32", "u": "UINT8", "i": "INT64"}[value.dtype.kind]
    one = triton.InferInput(name, list(value.shape), kind)
    one.set_data_from_numpy(value, binary_data=binary)
    return one


def test_the_server_and_its_models(client):
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready("det") and client.is_model_ready("det_pictures", "1")
    assert not client.is_model_ready("dat") and not client.is_model_ready("det", "2")
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    assert [row["name"] for row in client.get_model_repository_index()][:2] == ["det", "det_pictures"]
    metadata = client.get_model_metadata("det")
    assert metadata["inputs"] == [
        {"name": "image", "datatype": "FP32", "shape": [-1, 3, 32, 64]},
        {"name": "scale_factor", "datatype": "FP32", "shape": [-1, 2]},
    ]
    assert metadata["outputs"][2] == {"name": "labels", "datatype": "INT64", "shape": [-1, 2]}
    assert client.get_model_metadata("det_pictures")["inputs"] == [
        {"name": "picture", "datatype": "BYTES", "shape": [-1]}
    ]


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("packed", [None, "gzip", "deflate"])
def test_tensors(binary, packed, client, folder):
    model = Model(folder / "det", "onnxruntime")
    feed = model.feed([model.prepare(BRIGHT)[0], model.prepare(halves())[0]])
    expected = model.run(feed)
    inputs = [given(name, value, binary) for name, value in feed.items()]
    found = client.infer("det", inputs, request_id="7", request_compression_algorithm=packed)
    assert found.get_response()["id"] == "7"
    assert all(np.array_equal(found.as_numpy(name), value) for name, value in expected.items())
    outputs = [triton.InferRequestedOutput("scores", binary), triton.InferRequestedOutput("count", not binary)]
    found = client.infer("det", inputs, "1", outputs)
    assert [one["name"] for one in found.get_response()["outputs"]] == ["scores", "count"]
    assert np.array_equal(found.as_numpy("scores"), expected["scores"])


def test_pictures(client, folder):
    files = np.array([png(BRIGHT), png(halves())], object)
    model = Model(folder / "det", "onnxruntime")
    one, none = model([BRIGHT, halves()])
    assert len(one) == 1 and not len(none)
    for value in (files, files[:1], BRIGHT, BRIGHT[None]):
        found = client.infer("det_pictures", [given("picture", value)])
        assert np.array_equal(found.as_numpy("boxes")[0], one.boxes)
        assert np.array_equal(found.as_numpy("scores")[0], one.scores)
        assert found.as_numpy("count").tolist() == ([1, 0] if len(value) == 2 else [1])
    assert client.infer("det_pictures", [given("picture", files)]).as_numpy("labels").tolist() == [[1], [-1]]
    all_boxes = client.infer("det_pictures", [given("picture", files)], parameters={"threshold": 0.0})
    assert all_boxes.as_numpy("count").tolist() == [2, 2]
    found = client.infer("seg_pictures", [given("picture", files[1:])])
    assert np.array_equal(found.as_numpy("labels")[0], Model(folder / "seg", "onnxruntime")(halves()).labels)
    best = Model(folder / "cls", "onnxruntime", top=2)(halves(80, 80))
    found = client.infer("cls_pictures", [given("picture", halves(80, 80))], parameters={"top": 2})
    assert found.as_numpy("names")[0].tolist() == [name.encode() for name in best.names]
    assert np.array_equal(found.as_numpy("scores")[0], best.scores)


def test_tritons_classification_extension(client, folder):
    model = Model(folder / "cls", "onnxruntime")
    feed = model.feed([model.prepare(halves(80, 80))[0]])
    scores = model.run(feed)["y"][0]
    wanted = [triton.InferRequestedOutput("y", class_count=2)]
    found = client.infer("cls", [given("x", feed["x"])], outputs=wanted).as_numpy("y")[0]
    order = np.argsort(-scores, kind="stable")[:2]
    assert [text.decode() for text in found] == [f"{scores[place]:f}:{place}" for place in order]


IMAGE, SCALE = np.zeros((1, 3, 32, 64), np.float32), np.ones((1, 2), np.float32)
PICTURE = np.array([png(halves())], object)
BAD = [
    ("det", [("image", IMAGE)], "the input 'scale_factor' is missing; image, scale_factor are expected"),
    ("det", [("image", IMAGE), ("scale_factor", SCALE), ("x", SCALE)], "there is no input 'x'"),
    ("det", [("image", IMAGE[:, :2]), ("scale_factor", SCALE)], r"'image' is float32 of shape \[1, 2, 32, 64\]; flo"),
    ("det", [("image", IMAGE.astype(np.uint8)), ("scale_factor", SCALE)], "'image' is uint8"),
    ("det", [("image", IMAGE[:0]), ("scale_factor", SCALE[:0])], r"of shape \[0, 3, 32, 64\].* of one picture or"),
    ("det", [("image", np.tile(IMAGE, (2, 1, 1, 1))), ("scale_factor", SCALE)], "of 1 and 2 pictures; one number"),
    ("det", [("image", np.tile(IMAGE, (65, 1, 1, 1))), ("scale_factor", np.tile(SCALE, (65, 1)))], "65 pictures in"),
    ("dat", [("image", IMAGE)], "there is no model 'dat'"),
    ("det_pictures", [("image", IMAGE)], "one input is expected, 'picture'"),
    ("det_pictures", [("picture", IMAGE)], "the input 'picture' is float32"),
    ("det_pictures", [("picture", PICTURE[:0])], r"the input 'picture' is object of shape \[0\]"),
    ("det_pictures", [("picture", np.array([b"x"], object))], "picture 1: is not a picture"),
    ("seg_pictures", [("picture", np.array([png(halves()), png(BRIGHT)], object))], "pictures have different sizes"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "inputs", "message"), BAD)
def test_inputs_that_do_not_fit(name, inputs, message, client):
    with pytest.raises(triton.InferenceServerException, match=message):
        client.infer(name, [given(*one) for one in inputs])


def test_outputs_that_there_are_not(client):
    inputs = [given("image", IMAGE), given("scale_factor", SCALE)]
    with pytest.raises(
        triton.InferenceServerException, match="there is no output 'mask'; boxes, scores, labels, count"
    ):
        client.infer("det", inputs, outputs=[triton.InferRequestedOutput("mask")])
    with pytest.raises(triton.InferenceServerException, match="the output 'boxes' has no scores of classes"):
        client.infer("det", inputs, outputs=[triton.InferRequestedOutput("boxes", class_count=2)])


def tensor(**changes):
    return {"name": "x", "shape": [2], "datatype": "FP32", "data": [1, 2.5], **changes}


@pytest.mark.parametrize(
    ("one", "message"),
    [
        (tensor(shape=[3]), "has 2 values, and its shape asks for 3"),
        (tensor(shape=[-1]), "is no list of up to 8 whole numbers"),
        (tensor(shape=[1] * 9), "is no list of up to 8"),
        (tensor(shape=[2.0]), "is no list"),
        (tensor(shape=[10**9, 10**9]), "its shape asks for 1000000000000000000"),
        (tensor(datatype="FP8"), "has the datatype 'FP8'; one of BOOL, "),
        (tensor(datatype="INT64"), "are no INT64 values"),
        (tensor(datatype="UINT8", data=[1, 256]), "has values that UINT8 cannot hold"),
        (tensor(datatype="BOOL"), "are no BOOL values"),
        (tensor(data=[[1], [2, 3]]), "are no FP32 values, or lists of unlike lengths"),
        (tensor(data=["1", "2"]), "are no FP32 values"),
        (tensor(data=None), 'has no "data"'),
        (tensor(datatype="BYTES", data=["a!", ""]), "the input 'x' is no base64"),
        (tensor(parameters={"shared_memory_region": "r"}), "shared memory is not served"),
        (tensor(parameters={"binary_data_size": 9}), "has binary_data_size 9; 0 bytes are left"),
        (tensor(parameters=3), "parameters is no object"),
        ({"shape": [1]}, 'an input has no "name"'),
        (3, 'an input has no "name"'),
    ],
)
def test_tensors_that_contradict_themselves(one, message):
    with pytest.raises(Refused, match=message):
        read_request(json.dumps({"inputs": [one]}).encode(), None)


def test_bytes_that_contradict_themselves():
    def read(tail, size, kind="FP32", length=None, shape=(1,)):
        one = tensor(datatype=kind, shape=list(shape), parameters={"binary_data_size": size})
        head = json.dumps({"inputs": [one]}).encode()
        return read_request(head + tail, str(len(head)) if length is None else length)

    assert read(b"\0\0\x80?", 4).inputs["x"].tolist() == [1.0]
    assert read(struct.pack("<I", 2) + b"ab", 6, "BYTES").inputs["x"].tolist() == [b"ab"]
    for arguments, message in [
        ((b"\0\0\x80", 3), "has 0.75 values, and its shape asks for 1"),
        ((b"\0\0\x80?\0", 4), "1 bytes stand behind the last input"),
        ((b"\0\0\x80?", 4, "FP32", "9999"), "inference-header-content-length is '9999', and the body has"),
        ((b"\0\0\x80?", 4, "FP32", "x"), "inference-header-content-length is 'x'"),
        ((struct.pack("<I", 3) + b"ab", 6, "BYTES"), "ends in the middle of a value"),
        ((b"\0", 1, "BYTES"), "ends in the middle of a value"),
    ]:
        with pytest.raises(Refused, match=message):
            read(*arguments)
    twice = json.dumps({"inputs": [tensor(), tensor()]}).encode()
    with pytest.raises(Refused, match="'x' is there twice"):
        read_request(twice, None)
    for body in (b"{}", b"[]", b'{"inputs": []}', b'{"inputs": 3}'):
        with pytest.raises(Refused, match='the body has no "inputs"'):
            read_request(body, None)
