"""What `deploy` gains for CondenseNetV2: speed, file size and accuracy of its form against the published form.

    pip install 'densebone[onnx]'
    python benchmarks/condensenetv2_forms.py --output forms.md

Both networks hold the same weights: those of a learned network, pruned and condensed as a user's is. The published form
is written after the authors' code, in `published_in_paddle.py`. Each engine runs in a process of its own, in which the
two forms take turns, so a busy machine slows both alike. A turn starts with one run that does not count, because the
other form has evicted the caches; four runs that count follow. All engines use two threads, except Paddle eager, which
uses the one thread that Paddle gives it. The difference is the largest one between the engine's output and the output
of `deploy("eager")` in eager, divided by the largest absolute value of that output.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

import children

#: engine -> its name in the table
ENGINES = {"eager": "Paddle eager", "paddle": "Paddle Inference, oneDNN", "onnxruntime": "ONNX Runtime"}
FORMS = ("published", "ours")
THREADS = 2
TURN = 4
HEADER = (
    "| engine | pixels | published, ms: median (least) | ours, ms: median (least) | ratio of medians (of least) "
    "| published, MB | ours, MB | difference of published | of ours |\n|---|---|---|---|---|---|---|---|---|\n"
)


def build(variant):
    """A condensed network, made as a user's is: learned, pruned and condensed, with random batch-norm statistics."""
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
    """Both networks, and the expected output.

    Returns:
        ((published form, our form for `engine`), output of our form in eager). Checks that all three agree.
    """
    import numpy as np
    import paddle
    from published_in_paddle import published_form

    network = build(variant)
    pair = published_form(network), network.deploy(engine)
    with paddle.no_grad():
        expected, *outputs = [net(paddle.to_tensor(image)).numpy() for net in (network.deploy("eager"), *pair)]
    for form, output in zip(FORMS, outputs):
        assert np.isfinite(output).all() and difference(output, expected) < 1e-4, f"{form} computes something else"
    return pair, expected


def difference(output, expected):
    """Largest difference, divided by the largest absolute value of `expected`."""
    return float(abs(output - expected).max() / abs(expected).max())


def export(variant, engine, size, folder):
    """Writes both networks in the format that `engine` reads, and the output that they should give to expected.npy.

    Returns:
        [size of the published form's files, of ours], in 10^6 bytes.
    """
    import numpy as np
    from worker import random_image

    from densebone.engines.conversion import to_onnx
    from densebone.engines.formats import megabytes
    from densebone.engines.program import save_program

    image = random_image(size)
    pair, expected = make_pair(variant, engine, image)
    np.save(Path(folder) / "expected.npy", expected)
    sizes = []
    for form, network in zip(FORMS, pair):
        target = Path(folder) / form
        save_program(network, target, image.shape)
        if engine == "onnxruntime":
            to_onnx(target, target / "model.onnx", 1, (size, size))
        sizes.append(megabytes(target, "onnx" if engine == "onnxruntime" else "paddle"))
    return sizes


def open_pair(variant, engine, image, folder):
    """(the two forms on an engine, the expected output); for every engine but eager, `export` has written the files."""
    import numpy as np

    from densebone.engines.formats import exported_model
    from densebone.engines.session import Eager, open_session

    if engine == "eager":
        pair, expected = make_pair(variant, engine, image)
        return [Eager(network) for network in pair], expected
    files = [exported_model(Path(folder) / form, engine) for form in FORMS]
    return [open_session(engine, file, threads=THREADS) for file in files], np.load(Path(folder) / "expected.npy")


def measure(variant, engine, size, repeats, folder):
    """{"times": ms of each counted run, "differences": of the outputs}, each as [published, ours]."""
    from worker import random_image

    image = random_image(size)
    engines, expected = open_pair(variant, engine, image, folder)
    differences = [difference(each.run(image)[0], expected) for each in engines]
    times = [[] for _ in engines]
    while len(times[0]) < repeats:
        for each, taken in zip(engines, times):
            each.run(image)
            for _ in range(TURN):
                start = time.perf_counter()
                each.run(image)
                taken.append((time.perf_counter() - start) * 1e3)
    return {"times": times, "differences": differences}


def measure_row(variant, engine, size, repeats):
    """One row of the table."""
    megabytes = ["", ""]
    with tempfile.TemporaryDirectory() as folder:
        if engine != "eager":
            megabytes = [f"{each:.0f}" for each in children.call(__file__, export, variant, engine, size, folder)]
        result = children.call(__file__, measure, variant, engine, size, repeats, folder)
    medians, least = [[function(t) for t in result["times"]] for function in (statistics.median, min)]
    return (
        f"| {ENGINES[engine]} | {size} | {medians[0]:.1f} ({least[0]:.1f}) | {medians[1]:.1f} ({least[1]:.1f}) "
        f"| {medians[1] / medians[0]:.2f} ({least[1] / least[0]:.2f}) | {megabytes[0]} | {megabytes[1]} "
        f"| {result['differences'][0]:.0e} | {result['differences'][1]:.0e} |\n"
    )


def available(engine):
    """Whether the engine and its converter are installed; prints what is missing."""
    from densebone.engines.opening import missing

    reason = missing().get(engine)
    if reason:
        print(f"{ENGINES[engine]} is left out: {reason}", file=sys.stderr)
    return not reason


def main(argv=None):
    """Measures and prints the table."""
    parser = children.new_parser(__doc__)
    parser.add_argument("--variant", choices=("a", "b", "c"), default="c")
    parser.add_argument("--sizes", nargs="+", type=int, default=[224, 512], help="sides of the images, pixels")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--repeats", type=int, default=40, help="counted runs of each form, at least")
    args = parser.parse_args(argv)
    if args.child:
        children.answer(args.child, export, measure)
        return
    engines = filter(available, args.engines)
    rows = (measure_row(args.variant, engine, size, args.repeats) for engine in engines for size in args.sizes)
    children.print_table(HEADER, rows, args.output)


if __name__ == "__main__":
    main()
