"""The parts of the benchmark on tiny cases; no test judges a time."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
# A worker whose network is a sum; runs in a process of its own.
SUM = """
import json, sys, worker
def make(case, image):
    if case["fails"]:
        raise OSError("no such engine")
    return (lambda: image.sum(3)), (lambda: image.sum(3) + case["error"]), "sum 1.0"
worker.serve(json.loads(sys.argv[1]), make)
"""


@pytest.fixture
def benchmarks(monkeypatch):
    """The modules of the repository's benchmarks, which are not installed."""
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    from benchmarks import inference, report, turns

    return SimpleNamespace(inference=inference, report=report, turns=turns)


def sums(turns, folder, monkeypatch, *cases):
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "benchmarks"))
    image = np.arange(24, dtype="float32").reshape(1, 2, 3, 4)
    np.save(folder / "picture.npy", image)
    np.save(folder / "expected.npy", image.sum(3))
    jobs = []
    for number, case in enumerate(cases):
        case = {"folder": str(folder), "error": 0, "fails": False, **case}
        jobs.append(([sys.executable, "-c", SUM, json.dumps(case)], folder / f"{number}.log"))
    return turns.start(jobs, threads=1)


def test_processes_take_turns_and_those_that_fail_are_named(benchmarks, tmp_path, monkeypatch):
    turns = benchmarks.turns
    (one, said), (two, other), (none, why) = sums(turns, tmp_path, monkeypatch, {}, {"error": 20}, {"fails": True})
    try:
        assert said.pop("start") > 0
        assert (said, none, why) == ({"title": "sum 1.0", "difference": 0.0}, None, "no such engine")
        assert other["difference"] == pytest.approx(20 / np.load(tmp_path / "expected.npy").std())
        times = turns.take_turns([one, two], rounds=3, seconds=0.001)
        assert [len(taken) for taken in times] == [3, 3]
        assert all(len(runs) >= 3 and min(runs) >= 0 for taken in times for runs in taken)
        assert 5 < one.stop() < 2000
        assert one.process.returncode == 0
    finally:
        for worker in (one, two):
            worker.kill()
    assert two.process.returncode != 0


def test_a_process_that_dies_has_no_times(benchmarks, tmp_path, monkeypatch):
    ((worker, _),) = sums(benchmarks.turns, tmp_path, monkeypatch, {})
    worker.process.kill()
    worker.process.wait()
    try:
        assert benchmarks.turns.take_turns([worker], rounds=2, seconds=0.001) == [[]]
    finally:
        worker.kill()


def test_ratios_are_taken_within_a_turn(benchmarks):
    turns = benchmarks.turns
    slow, fast = [[2, 4, 6], [40, 40], [8, 8]], [[1, 2, 3], [10, 10], [4, 4]]
    assert turns.ratio(slow, fast) == 2
    assert (turns.median(slow), turns.least(fast)) == (8, 1)


def case(side, engine, precision, times, **more):
    made = {"side": side, "engine": engine, "precision": precision, "times": times, "memory": 100.4, "start": 1.25}
    return {**made, "difference": 1e-6, "title": "OpenVINO 1, fp32", **more}


def test_the_page_and_its_picture(benchmarks, tmp_path):
    rows = [
        {
            "network": name,
            "size": (64, 64) if name == "peleenet" else (64, 96),
            "batch": 1,
            "cases": [
                case("ours", "auto", "fp32", [[1.0, 1.0], [2.0, 2.0]]),
                {"side": "ours", "engine": "auto", "precision": "bf16", "failed": "no instructions for it"},
                case("peer", "torch", "fp32", [[4.0, 4.0], [8.0, 8.0]], difference=None),
                case("peer", "onnxruntime", "fp32", [[2.0], [4.0]]),
            ],
        }
        for name in ("hardnet68", "peleenet", "hardnet39ds")
    ]
    arguments = SimpleNamespace(threads=2, size=None, batch=1, gpu=False)
    found = {"agreement": 0.9, "difference": 0.01}
    agreements = [
        {"network": "peleenet", "pictures": 10, "right": 0.8, "bf16": found, "int8": {"failed": "no"}, "emulated": True}
    ]
    output = tmp_path / "new" / "benchmarks.md"
    many = [{**rows[1], "batch": 8}]
    benchmarks.report.write(rows, many, arguments, ["Processor: Z80"], agreements, output)
    page = output.read_text()
    assert "- Processor: Z80" in page
    assert "| peleenet | 1.5 | 0.25 | 0.50 |  |  |  |  |" in page
    assert "| peleenet | 5333 | 4.00 | 2.00 |  |  |  |" in page  # eight pictures in 1.5 ms
    assert "| densebone, engine auto (OpenVINO 1) | 1.5 (1.0) | 0.25 | 1.2 | 100 | 1e-06 |" in page
    assert "| torch eager | 6.0 (4.0) | 1.00 | 1.2 | 100 |  |" in page
    assert "Left out: densebone, engine auto, bf16: no instructions for it" in page
    assert "Top-1 classes on 10 generated pictures" in page
    assert "| peleenet | 80.0 % | 90.0 % | 1.0 % | no |  |" in page
    assert "emulated them by rounding float32 numbers" in page
    assert benchmarks.report.summary(rows[0]) == (
        "hardnet68 at 64x96: 1.5 ms; 0.25 x torch eager; 0.50 x ONNX Runtime; 1 left out"
    )
    with Image.open(output.with_suffix(".png")) as picture:
        assert picture.format == "PNG"


def test_agreement_of_two_precisions(benchmarks):
    import precision_agreement as agreement

    scenes = np.repeat(np.arange(agreement.CLASSES), 3)
    features = np.random.default_rng(0).standard_normal((agreement.CLASSES, 64)).astype("float32")[scenes]
    weight, bias = agreement.fit(features, scenes)
    logits = features @ weight + bias
    found = agreement.compare(logits, logits + 0.001)
    assert found["agreement"] == 1
    assert (logits.argmax(1) == scenes).mean() > 0.95
    assert found["difference"] == pytest.approx(0.001 / logits.std(), rel=1e-3)
    one, two = (agreement.picture(3, variant, 32) for variant in (0, 1))
    assert one.shape == (1, 3, 32, 32)
    assert np.array_equal(one, agreement.picture(3, 0, 32))
    assert not np.array_equal(one, two)


def test_emulated_bf16_rounds_what_is_multiplied(benchmarks, tmp_path):
    """A convolution and the matrix product after it give the results of rounded operands."""
    import onnx
    from bf16_emulation import round_graph, to_bf16
    from onnx import helper, numpy_helper

    from densebone.engines.session import open_session

    random = np.random.default_rng(0)
    picture, weight, bias, last = (
        random.standard_normal(shape).astype(np.float32) for shape in [(2, 3, 5, 6), (4, 3, 1, 1), (4,), (4, 7)]
    )
    nodes = [
        helper.make_node("Conv", ["picture", "weight", "bias"], ["map"]),
        helper.make_node("Relu", ["map"], ["active"]),
        helper.make_node("GlobalAveragePool", ["active"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "last"], ["out"]),
    ]
    named = {"weight": weight, "bias": bias, "last": last}
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("picture", 1, picture.shape)],
        [helper.make_tensor_value_info("out", 1, [2, 7])],
        [numpy_helper.from_array(value, name) for name, value in named.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(tmp_path / "exact.onnx"))
    round_graph(tmp_path / "exact.onnx", tmp_path / "rounded.onnx")

    def compute(rounding):
        maps = np.einsum("nchw,oc->nohw", rounding(picture), rounding(weight[:, :, 0, 0])) + bias[:, None, None]
        return rounding(np.maximum(maps, 0).mean((2, 3))) @ rounding(last)

    for name, rounding in (("exact", lambda values: values), ("rounded", to_bf16)):
        with open_session("onnxruntime", tmp_path / f"{name}.onnx") as runner:
            (found,) = runner.run(picture)
        np.testing.assert_allclose(found, compute(rounding), rtol=1e-5, atol=1e-5)
    assert not np.allclose(compute(to_bf16), compute(lambda values: values), rtol=1e-4)
    # Ties go to the even mantissa: 1 + 2^-8 lies half-way between 1 and 1 + 2^-7.
    assert to_bf16(np.float32([1 + 2**-8, 1 + 3 * 2**-8, -1.7, 0])).tolist() == [1, 1 + 2**-6, -1.703125, 0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--models", "resnet50"], "there is no network 'resnet50'"),
        (["--engines", "tensorrt"], "there is no engine 'tensorrt'"),
        (["--size", "16"], "--size must be 32 or more"),
        (["--peers", "no/such/python"], "--peers no/such/python does not exist"),
    ],
)
def test_what_a_user_gets_wrong(arguments, message, benchmarks, capsys, tmp_path):
    assert benchmarks.inference.main([*arguments, "--work", str(tmp_path / "work")]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_gpu_mode_refuses_without_one(benchmarks, capsys, tmp_path):
    import paddle

    if paddle.is_compiled_with_cuda() and paddle.device.cuda.device_count():
        pytest.skip("there is a GPU")
    assert benchmarks.inference.main(["--gpu", "--work", str(tmp_path / "work")]) == 2
    assert "--gpu needs a" in capsys.readouterr().err


def test_a_network_is_measured_and_kept(tmp_path):
    """Runs the command on the smallest network, in eager only and without peers. The second run measures nothing."""
    arguments = ["--models", "condensenetv2_a", "--engines", "eager", "--size", "32", "--quick", "--agreement", "0"]
    arguments += ["--work", tmp_path / "work", "--output", tmp_path / "page.md"]
    command = [sys.executable, "-m", "benchmarks.inference", *map(str, arguments)]
    for _ in range(2):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        kept = list((tmp_path / "work").glob("condensenetv2_a-*.json"))
        assert len(kept) == 1
        page, moment = (tmp_path / "page.md").read_text(), kept[0].stat().st_mtime_ns
    assert kept[0].stat().st_mtime_ns == moment
    assert "| densebone, Paddle eager |" in page
    row = json.loads(kept[0].read_text())
    assert row["cases"][0]["difference"] < 1e-4
    assert (tmp_path / "page.png").is_file()
