"""Jobs that wait, join and end, with a model that stands still until it is told to go on."""

import threading
from concurrent.futures import CancelledError

import numpy as np
import pytest

pytest.importorskip("prometheus_client", reason="the server needs it: pip install densebone[serve]")
pytest.importorskip("onnx", reason="the models of these tests are written with it: pip install densebone[onnx]")

from exported import detector, mean_network
from servers import halves, png

from densebone.errors import UserError
from densebone.serving.batching import Job, Queue
from densebone.serving.metrics import Metrics
from densebone.serving.models import open_models
from densebone.serving.settings import Limits, Refused


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    detector(folder / "det")
    mean_network(folder / "maps", None, None, {"steps": None})
    return open_models([f"{name}={folder / name}" for name in ("det", "maps")], {"engine": "onnxruntime"})


class Gate:
    """A job that keeps its thread busy until it is opened."""

    def __init__(self, queue, served):
        self.busy, self.opened = threading.Event(), threading.Event()
        (self.future,) = queue.submit([Job(served, self.wait, picture=halves())])
        assert self.busy.wait(30)

    def wait(self, _):
        self.busy.set()
        assert self.opened.wait(30)


@pytest.fixture
def queue():
    queue = Queue(Limits(workers=1, batch=4, queue=8), Metrics())
    yield queue
    queue.close(30)


def picture(served, answer=lambda one: one[0], data=None):
    return Job(served, answer, picture=halves() if data is None else data)


def tensors(served, values):
    return Job(served, lambda outputs: outputs["y"], feed={"x": np.asarray(values, np.float32)})


def sizes(queue):
    text = queue.metrics.text().decode()
    return next(float(line.split()[1]) for line in text.splitlines() if "batch_pictures_sum" in line)


def batches(queue):
    text = queue.metrics.text().decode()
    return next(line for line in text.splitlines() if line.startswith("densebone_batch_pictures_count"))


def test_what_waits_is_computed_together_and_every_job_gets_its_own(queue, models):
    gate = Gate(queue, models["det"])
    values = np.arange(5 * 3 * 4 * 6, dtype=np.float32).reshape(5, 3, 4, 6)
    futures = queue.submit([tensors(models["maps"], values[i : i + 1]) for i in range(3)])
    other = queue.submit([tensors(models["maps"], np.ones((1, 3, 9, 9)))])
    pair = queue.submit([tensors(models["maps"], values[3:])])
    gate.opened.set()
    found = [future.result(30) for future in futures]
    assert np.allclose(np.concatenate(found), values[:3].mean((2, 3))) and [len(one) for one in found] == [1, 1, 1]
    assert np.allclose(other[0].result(30), 1) and np.allclose(pair[0].result(30), values[3:].mean((2, 3)))
    # the gate's; the three; the one of another size; the pair, which four places had no room for
    assert batches(queue).endswith(" 4.0") and sizes(queue) == 1 + 3 + 1 + 2


def test_a_full_queue_refuses_at_once(queue, models):
    gate = Gate(queue, models["det"])
    futures = queue.submit([picture(models["det"]) for _ in range(7)])
    with pytest.raises(Refused, match="7 pictures wait already, the most that may") as error:
        queue.submit([picture(models["det"]), picture(models["det"])])
    assert error.value.status == 429 and len(queue) == 7
    futures += queue.submit([picture(models["det"])])
    with pytest.raises(Refused) as error:
        queue.check_room()
    assert error.value.status == 429
    with pytest.raises(Refused, match="9 pictures in one request; at most 8") as error:
        queue.submit([picture(models["det"]) for _ in range(9)])
    assert error.value.status == 413
    gate.opened.set()
    assert all(future.result(30) is not None for future in futures) and len(queue) == 0


def test_a_full_queue_answers_429_before_it_reads_the_body(queue, models):
    testclient = pytest.importorskip("starlette.testclient", reason="it needs httpx")
    from densebone.serving.answers import Choice
    from densebone.serving.application import Service, application
    from densebone.serving.bodies import Bodies

    service = Service(models, queue, Bodies(queue.limits), queue.limits, queue.metrics, Choice())
    client = testclient.TestClient(application(service))
    gate = Gate(queue, models["det"])
    queue.submit([picture(models["det"]) for _ in range(8)])
    for path in ("/predict/det", "/v2/models/det/infer"):
        answer = client.post(path, content=b"anything")
        assert answer.status_code == 429 and answer.headers["retry-after"] == "1"
        assert "8 pictures wait already" in answer.json()["error"]
    gate.opened.set()


def test_a_job_whose_client_is_gone_is_not_computed(queue, models):
    gate, computed = Gate(queue, models["det"]), []
    dropped, kept = queue.submit([picture(models["det"], computed.append), picture(models["det"])])
    assert dropped.cancel()
    gate.opened.set()
    assert kept.result(30) is not None and computed == []
    with pytest.raises(CancelledError):
        dropped.result(0)


def test_one_that_fails_does_not_spoil_the_others(queue, models, caplog):
    gate = Gate(queue, models["det"])

    def fails(_):
        raise RuntimeError("a bug")

    bad, broken, good = queue.submit(
        [picture(models["det"], data=b"x"), picture(models["det"], fails), picture(models["det"])]
    )
    gate.opened.set()
    with pytest.raises(Refused, match="the picture: is not a picture") as error:
        bad.result(30)
    assert error.value.status == 400
    with pytest.raises(Refused, match="the log of the server says why") as error:
        broken.result(30)
    assert error.value.status == 500 and "a bug" in caplog.text
    assert good.result(30) is not None
    assert queue.submit([picture(models["det"], data=png(halves()))])[0].result(30) is not None


def test_a_model_that_fails_on_a_batch_is_asked_for_each(queue, models, monkeypatch):
    served, find = models["det"], models["det"].model.find
    gate = Gate(queue, served)

    def alone(ready):
        if len(ready) > 1:
            raise RuntimeError("too many")
        return find(ready)

    monkeypatch.setattr(served.model, "find", alone)
    futures = queue.submit([picture(served) for _ in range(3)])
    gate.opened.set()
    assert all(future.result(30) is not None for future in futures)


def test_a_closed_queue_does_what_it_took(models):
    queue = Queue(Limits(workers=1), Metrics())
    gate = Gate(queue, models["det"])
    futures = queue.submit([picture(models["det"]) for _ in range(5)])
    closing = threading.Thread(target=queue.close, args=(30,))
    closing.start()
    gate.opened.set()
    closing.join()
    assert all(future.result(0) is not None for future in futures)
    with pytest.raises(Refused, match="is being stopped") as error:
        queue.submit([picture(models["det"])])
    assert error.value.status == 503


def test_a_picture_waits_for_others_when_it_is_told_to(models):
    queue = Queue(Limits(workers=1, batch=2, wait=30.0), Metrics())
    first = queue.submit([picture(models["det"])])
    second = queue.submit([picture(models["det"])])
    assert first[0].result(20) is not None and second[0].result(20) is not None
    assert batches(queue).endswith(" 1.0")
    queue.close(30)


def test_limits_that_are_none():
    for values, message in (({"queue": 0}, "--queue is 0; it must be above 0"), ({"wait": -1}, "--wait is -1")):
        with pytest.raises(UserError, match=message):
            Limits(**values)
