"""Loggers behind one interface; one that fails is dropped. Packages that are not installed are played by modules."""

import struct
import sys
from types import ModuleType, SimpleNamespace

import pytest

from densebone import UserError
from densebone.training import loggers as rooms
from densebone.training.history import History
from densebone.training.loggers import LOGGERS, Loggers, check_loggers
from densebone.training.reporting import Plan, Reporter
from densebone.training.screen import Screen


def test_a_logger_that_is_not_known_or_not_installed_is_one_line(monkeypatch):
    with pytest.raises(UserError, match=r"^there is no logger 'tensorbord'; the nearest names are tensorboard"):
        check_loggers(["tensorbord"])
    monkeypatch.setattr(rooms.importlib.util, "find_spec", lambda name: None)
    for name, package in (
        ("vdl", "visualdl"),
        ("tensorboard", "tensorboardX"),
        ("wandb", "wandb"),
        ("mlflow", "mlflow"),
    ):
        with pytest.raises(UserError, match=f"^the logger {name} needs {package}, .*; pip install {package}$"):
            check_loggers([name])


class Bad(rooms.Logger):
    def open(self, rows):
        if self.name == "closed":
            raise OSError("no\nserver")

    def add(self, kind, iteration, values):
        raise RuntimeError(f"step {iteration}")


def test_one_that_fails_is_dropped_with_one_line(tmp_path, monkeypatch):
    said = []
    monkeypatch.setitem(LOGGERS, "bad", Bad)
    assert not Loggers(["bad"], tmp_path, "closed", (), said.append).open
    loggers = Loggers(["bad", "bad"], tmp_path, "open", (), said.append)
    for iteration in (1, 2):
        loggers.add("train", iteration, {"loss": 1.0})
    loggers.close()
    begin = "note: the logger bad failed and is left out from here on: "
    assert said == [f"{begin}no server", f"{begin}step 1"]


def reporter(folder, iteration, *names):
    plan = Plan(iters=10, per_epoch=5, save_interval=5, evaluates=True, images=1)
    made = Reporter(folder, "mine", iteration, plan, Screen(None, False), loggers=names)
    assert set(made.loggers.open) == set(names)
    return made


def run_twice(folder, name):
    """Logs iterations 1 to 4, and 3 to 5 again after a resume at iteration 2."""
    first = reporter(folder, 0, name)
    first.loggers.settings({"device": "cpu"})
    for iteration in (1, 2, 3, 4):
        first.note("train", iteration, {"loss": iteration / 10})
    first.note("eval", 4, {"mIoU": 0.5})
    first.close()
    second = reporter(folder, 2, name)
    for iteration in (3, 4, 5):
        second.note("train", iteration, {"loss": iteration / 10})
    second.close()
    assert [row["iteration"] for row in History(folder, 9, write=False).rows] == [1, 2, 3, 4, 5]


def test_visualdl_has_every_iteration_once_after_a_resume(tmp_path):
    visualdl = pytest.importorskip("visualdl")
    run_twice(tmp_path, "vdl")
    (file,) = (tmp_path / "vdl").iterdir()
    reader = visualdl.LogReader(file_path=str(file))
    points = [(point.id, point.value) for point in reader.get_data("scalar", "train/loss")]
    assert points == [(i, pytest.approx(i / 10)) for i in (1, 2, 3, 4, 5)]
    assert reader.get_tags()["scalar"] == ["train/loss"]


def test_tensorboard_has_every_iteration_once_after_a_resume(tmp_path):
    pytest.importorskip("tensorboardX", reason="pip install tensorboardX")
    from tensorboardX.proto.event_pb2 import Event

    run_twice(tmp_path, "tensorboard")
    (file,) = (tmp_path / "tensorboard").iterdir()
    content, start, points = file.read_bytes(), 0, []
    while start < len(content):
        (length,) = struct.unpack("<Q", content[start : start + 8])
        event = Event()
        event.ParseFromString(content[start + 12 : start + 12 + length])
        points += [(event.step, v.simple_value) for v in event.summary.value if v.tag == "train/loss"]
        start += length + 16
    assert points == [(i, pytest.approx(i / 10)) for i in (1, 2, 3, 4, 5)]


def test_wandb_goes_on_in_the_run_that_it_began(tmp_path, monkeypatch):
    calls = []

    class Run:
        def __init__(self, id):
            self.id, self.config = id or "abc", SimpleNamespace(update=lambda v, **_: calls.append(("config", v)))

        def log(self, values, step):
            calls.append((step, values))

        def finish(self):
            calls.append("finished")

    wandb = ModuleType("wandb")
    wandb.Settings = lambda **settings: settings
    wandb.init = lambda id, **options: calls.append((id, options["name"])) or Run(id)
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    run_twice(tmp_path, "wandb")
    assert calls[:3] == [(None, "mine"), ("config", {"device": "cpu"}), (1, {"train/loss": 0.1})]
    assert ("abc", "mine") in calls and calls.count("finished") == 2
    reporter(tmp_path, 0, "wandb").close()  # a new run is another one
    assert calls[-2] == (None, "mine")


def test_mlflow_leaves_out_what_its_run_has(tmp_path, monkeypatch):
    metrics, runs = [], []

    class Client:
        def __init__(self, tracking_uri):
            assert tracking_uri == f"sqlite:///{tmp_path / 'mlflow' / 'mlflow.db'}"

        def get_experiment_by_name(self, name):
            return SimpleNamespace(experiment_id="1")

        def create_run(self, experiment, run_name):
            runs.append(run_name)
            return SimpleNamespace(info=SimpleNamespace(run_id="77"))

        def get_metric_history(self, run, name):
            return [SimpleNamespace(step=m[2]) for m in metrics if m[0] == name]

        def log_batch(self, run, batch):
            metrics.extend((m.key, m.value, m.step) for m in batch)

        def set_terminated(self, run, status="FINISHED"):
            assert run == "77"

        def set_tag(self, run, key, value):
            assert (run, key, value) == ("77", "device", "cpu")

    mlflow, entities = ModuleType("mlflow"), ModuleType("mlflow.entities")
    mlflow.MlflowClient = Client
    entities.Metric = lambda key, value, time, step: SimpleNamespace(key=key, value=value, step=step)
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    monkeypatch.setitem(sys.modules, "mlflow.entities", entities)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    run_twice(tmp_path, "mlflow")
    assert runs == ["mine"]
    assert [m for m in metrics if m[0] == "train/loss"] == [("train/loss", i / 10, i) for i in (1, 2, 3, 4, 5)]
