"""What CondenseNetV2 gains from `deploy`: time, size and difference of the form for each engine and the published one.

    pip install onnxruntime onnx paddle2onnx==2.1.0
    python benchmarks/condensenetv2_forms.py --output forms.md

Both networks hold the same weights: a learned network, pruned and condensed as a user's is. The published form is
written here after the authors' code, as a test double. Each engine runs in a process of its own, with the two forms in
turn, so that a busy machine slows both alike; a turn is one run that is not counted, since the other form has emptied
the caches, and four that are. Two threads but for Paddle eager, which has the one that Paddle gives it. The difference
is that of the engine's output from what `deploy("eager")` returns in eager, over the largest output.
"""

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ENGINES = {"eager": "Paddle eager", "paddle": "Paddle Inference, oneDNN", "onnxruntime": "ONNX Runtime"}
FORMS = ("published", "ours")
PIP_INSTALL = "pip install onnxruntime onnx paddle2onnx==2.1.0"
THREADS = 2
TURN = 4
HEADER = (
    "| engine | pixels | published, ms: median (least) | ours, ms: median (least) | ratio of medians (of least) "
    "| published, MB | ours, MB | difference of published | of ours |\n|---|---|---|---|---|---|---|---|---|\n"
)


def published_form(network):
    """A copy of a condensed CondenseNetV2 that computes the same as the authors' code does.

    Differs from ours in what learns nothing: shuffles as reshape and transpose, hard-swish as its formula, and the
    places of SFR's outputs as a matrix of zeros and ones that every pixel is multiplied by.
    """
    from copy import deepcopy

    import paddle
    import paddle.nn.functional as F
    from paddle import nn

    from densebone.backbones.condensenetv2 import DenseLayer

    class Hardswish(nn.Layer):
        def forward(self, x):
            return x * F.relu6(x + 3) / 6

    def shuffle(x, groups):
        n, c, h, w = x.shape
        return x.reshape([n, groups, c // groups, h, w]).transpose([0, 2, 1, 3, 4]).reshape([n, c, h, w])

    class GroupConv(nn.Layer):
        def __init__(self, ours, activation):
            super().__init__()
            self.groups, self.norm, self.activation, self.conv = ours.groups, ours.norm, activation, ours.conv
            self.register_buffer("index", ours.index)

        def forward(self, x):
            x = paddle.index_select(x, self.index, axis=1)
            return shuffle(self.conv(self.activation(self.norm(x))), self.groups)

    class Reactivation(nn.Layer):
        def __init__(self, ours, activation):
            super().__init__()
            self.norm, self.activation, self.conv = ours.norm, activation, ours.conv
            self.members = ours.in_channels // ours.groups
            self.register_buffer("index", F.one_hot(ours.index, ours.out_channels))

        def forward(self, x):
            x = self.conv(shuffle(self.activation(self.norm(x)), self.members))
            pixels = x.flatten(2).transpose([0, 2, 1])  # (N, H W, C)
            return paddle.matmul(pixels, self.index).transpose([0, 2, 1]).reshape(x.shape)

    copy = deepcopy(network)
    for layer in [child for child in copy.sublayers() if isinstance(child, DenseLayer)]:
        activation = layer.conv_2.activation
        activation = Hardswish() if isinstance(activation, nn.Hardswish) else activation
        layer.conv_1 = GroupConv(layer.conv_1, activation)
        layer.conv_2.activation = activation
        layer.sfr = Reactivation(layer.sfr, activation)
    copy.eval()
    return copy


def build(variant):
    """A condensed network, made as a user's is: learned, with statistics in its batch norms, pruned and condensed."""
    import numpy as np
    import paddle
    from paddle import nn

    import densebone as db

    paddle.seed(0)
    random = np.random.default_rng(0)
    learned = db.create_model(f"condensenetv2_{variant}", form="learned")
    for norm in [layer for layer in learned.sublayers() if isinstance(layer, nn.BatchNorm2D)]:
        for tensor in (norm.weight, norm._variance):
            tensor.set_value(random.uniform(0.5, 1.5, tensor.shape).astype("float32"))
        for tensor in (norm.bias, norm._mean):
            tensor.set_value(random.normal(0, 0.1, tensor.shape).astype("float32"))
    learned.set_progress(0.5)
    network = db.condense(learned)
    network.eval()
    return network


def make_pair(variant, engine, image):
    """(the network in the published form, in ours for `engine`, output of ours in eager); both must return the same."""
    import numpy as np
    import paddle

    network = build(variant)
    pair = published_form(network), network.deploy(engine)
    with paddle.no_grad():
        expected, *outputs = [net(paddle.to_tensor(image)).numpy() for net in (network.deploy("eager"), *pair)]
    for form, output in zip(FORMS, outputs):
        assert np.isfinite(output).all() and difference(output, expected) < 1e-4, f"{form} computes something else"
    return pair, expected


def picture(size):
    """An image of noise."""
    import numpy as np

    return np.random.default_rng(1).standard_normal((1, 3, size, size)).astype("float32")


def difference(output, expected):
    """Largest difference, over the largest absolute value that was expected."""
    return float(abs(output - expected).max() / abs(expected).max())


def export(variant, engine, size, folder):
    """Writes both networks to FOLDER as Paddle inference models, and what they should return to expected.npy."""
    import numpy as np
    import paddle

    pair, expected = make_pair(variant, engine, picture(size))
    np.save(Path(folder) / "expected.npy", expected)
    for form, network in zip(FORMS, pair):
        spec = [paddle.static.InputSpec([1, 3, size, size], "float32")]
        paddle.jit.save(network, str(Path(folder) / form), input_spec=spec)


def convert(path):
    """Turns the Paddle inference model PATH.json into PATH.onnx; aborts the process on an operator it does not know."""
    import paddle2onnx

    # any other optimize_tool installs packages
    paddle2onnx.export(f"{path}.json", f"{path}.pdiparams", f"{path}.onnx", opset_version=17, optimize_tool="None")


def eager_runner(network):
    """A function from image to output."""
    import paddle

    def run(image):
        with paddle.no_grad():
            return network(paddle.to_tensor(image)).numpy()

    return run


def paddle_runner(path):
    """The same for an exported model in Paddle Inference."""
    from paddle import inference

    config = inference.Config(f"{path}.json", f"{path}.pdiparams")
    config.disable_gpu()
    config.enable_mkldnn()
    config.set_cpu_math_library_num_threads(THREADS)
    config.disable_glog_info()
    predictor = inference.create_predictor(config)
    source = predictor.get_input_handle(predictor.get_input_names()[0])

    def run(image):
        source.copy_from_cpu(image)
        predictor.run()
        return predictor.get_output_handle(predictor.get_output_names()[0]).copy_to_cpu()

    return run


def onnxruntime_runner(path):
    """The same in ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.log_severity_level = 3  # its warnings are about constants that paddle2onnx leaves behind
    # else the threads of the one form, waiting, take time from the other
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = onnxruntime.InferenceSession(f"{path}.onnx", options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda image: session.run(None, {name: image})[0]


def measure(variant, engine, size, repeats, folder):
    """{"times": ms of each counted run, "differences": of its output}, each [published, ours]."""
    import numpy as np

    image = picture(size)
    if engine == "eager":
        pair, expected = make_pair(variant, engine, image)
        runners = [eager_runner(network) for network in pair]
    else:
        expected = np.load(Path(folder) / "expected.npy")
        load = {"paddle": paddle_runner, "onnxruntime": onnxruntime_runner}[engine]
        runners = [load(Path(folder) / form) for form in FORMS]
    differences = [difference(run(image), expected) for run in runners]
    times = [[] for _ in runners]
    while len(times[0]) < repeats:
        for run, taken in zip(runners, times):
            run(image)
            for _ in range(TURN):
                start = time.perf_counter()
                run(image)
                taken.append((time.perf_counter() - start) * 1e3)
    return {"times": times, "differences": differences}


def in_new_process(name, *args):
    """The result of one of the functions above, run by a child."""
    command = [sys.executable, __file__, "--child", json.dumps([name, *args])]
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(run.stdout.splitlines()[-1])


def files_of(engine, path):
    """Those that a user ships."""
    endings = {"eager": (), "paddle": (".json", ".pdiparams"), "onnxruntime": (".onnx",)}[engine]
    return [path.with_name(path.name + ending) for ending in endings]


def measure_row(variant, engine, size, repeats):
    """One row of the table."""
    with tempfile.TemporaryDirectory() as folder:
        if engine != "eager":
            in_new_process("export", variant, engine, size, folder)
        if engine == "onnxruntime":
            for form in FORMS:
                in_new_process("convert", f"{folder}/{form}")
        result = in_new_process("measure", variant, engine, size, repeats, folder)
        sizes = [sum(f.stat().st_size for f in files_of(engine, Path(folder) / form)) / 1e6 for form in FORMS]
    medians, least = [[function(t) for t in result["times"]] for function in (statistics.median, min)]
    megabytes = [f"{size:.0f}" if size else "" for size in sizes]
    return (
        f"| {ENGINES[engine]} | {size} | {medians[0]:.1f} ({least[0]:.1f}) | {medians[1]:.1f} ({least[1]:.1f}) "
        f"| {medians[1] / medians[0]:.2f} ({least[1] / least[0]:.2f}) | {megabytes[0]} | {megabytes[1]} "
        f"| {result['differences'][0]:.0e} | {result['differences'][1]:.0e} |\n"
    )


def available(engine):
    """Whether what the engine needs is installed; says so where it is not."""
    needed = ("onnxruntime", "onnx", "paddle2onnx") if engine == "onnxruntime" else ()
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        print(f"{ENGINES[engine]} is left out: no {', '.join(missing)}; {PIP_INSTALL}", file=sys.stderr)
    return not missing


def main(argv=None):
    """Measures, prints the table and writes it where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", choices=("a", "b", "c"), default="c")
    parser.add_argument("--sizes", nargs="+", type=int, default=[224, 512], help="sides of the images, pixels")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--repeats", type=int, default=40, help="counted runs of each form, at least")
    parser.add_argument("--output", type=Path, help="Markdown file to write")
    parser.add_argument("--child", type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.child:
        name, *rest = args.child
        print(json.dumps({"export": export, "convert": convert, "measure": measure}[name](*rest)))
        return
    table = HEADER
    print(HEADER, end="", flush=True)
    for engine in filter(available, args.engines):
        for size in args.sizes:
            row = measure_row(args.variant, engine, size, args.repeats)
            print(row, end="", flush=True)
            table += row
    if args.output:
        args.output.write_text(table)


if __name__ == "__main__":
    main()
