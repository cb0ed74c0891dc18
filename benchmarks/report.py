"""The benchmark's page: machine, method, tables and a picture."""

import io
from pathlib import Path

from PIL import Image

from benchmarks import turns

TITLES = {
    ("ours", "auto"): "densebone, engine auto",
    ("ours", "openvino"): "densebone, OpenVINO",
    ("ours", "onnxruntime"): "densebone, ONNX Runtime",
    ("ours", "paddle"): "densebone, Paddle Inference",
    ("ours", "eager"): "densebone, Paddle eager",
    ("peer", "torch"): "torch eager",
    ("peer", "torch channels-last"): "torch eager, channels-last",
    ("peer", "onnxruntime"): "ONNX Runtime, peer's graph",
    ("peer", "openvino"): "OpenVINO, peer's graph",
    ("peer", "paddleclas"): "paddleclas, Paddle eager",
}
# What the top table compares densebone's "auto" with: engine, precision, short name. `summary` names the first two.
RIVALS = (("torch", "fp32", "torch eager"), ("onnxruntime", "fp32", "ONNX Runtime"), ("openvino", "fp32", "OpenVINO"))
METHOD = """\
Each engine runs in a process of its own. The processes of a network take turns, {rounds} times each, every other time
in reverse order. Outside its turn a process is paused, so a busy machine slows all of them alike. A full run restarts
all processes half-way, because the addresses that a process gets for its memory can make it faster or slower. A turn
starts with two warm-up runs that do not count.

- Time is the median of all runs that count; the shortest run is in parentheses.
- A ratio is taken within each turn, from the medians of that turn; the table shows its median over the turns.
- Start is the time from the start of Python to the first output, with the processor to itself. Memory is what the
  process holds after its runs, including Python and the libraries. densebone's engines load what an earlier process
  exported.
- Difference is the largest difference from PyTorch's output, divided by the standard deviation of that output.

All engines of a network use {threads} threads, batch size {batch}, the same random weights and the same noise picture
of {size} (FC-HarDNet-70: of Cityscapes' size and of half of it). Only `paddleclas` has weights of its own, so its
output is not compared. Two processes that run the same network on the same engine can differ by a fifth, so smaller
differences mean nothing.

The peers are pytorchcv's networks in PyTorch and, for CondenseNetV2 and FC-HarDNet, PyTorch networks in the form that
their authors published (`benchmarks/published_condensenetv2.py`, `benchmarks/published_fchardnet.py`). "Peer's graph"
is the ONNX file, opset 17, that PyTorch exports of them.
"""


def title(case):
    """The name of a case in the tables."""
    precision = "" if case["precision"] == "fp32" else f", {case['precision']}"
    return TITLES[case["side"], case["engine"]] + precision


def name_of(row):
    """The name of a network, with the size of its pictures where that is not a square."""
    height, width = row["size"]
    return row["network"] + (f" at {height}x{width}" if height != width else "")


def _measured(row):
    return [case for case in row["cases"] if case.get("times")]


def find(row, side, engine, precision):
    """The case of a network with this side, engine and precision; None if it was not measured."""
    wanted = (side, engine, precision)
    return next((c for c in _measured(row) if (c["side"], c["engine"], c["precision"]) == wanted), None)


def ratio(case, other):
    """The ratio of the times of two cases as text; "" when one was not measured."""
    return f"{turns.ratio(case['times'], other['times']):.2f}" if case and other else ""


def summary(row):
    """One line about a network for the terminal."""
    auto, parts = find(row, "ours", "auto", "fp32"), []
    for engine, precision, name in RIVALS[:2]:
        if text := ratio(auto, find(row, "peer", engine, precision)):
            parts.append(f"{text} x {name}")
    half = find(row, "ours", "auto", "bf16")
    if text := ratio(half, find(row, "peer", "torch", "fp32")):
        parts.append(f"bf16 {text} x torch eager")
    failed = sum("failed" in case for case in row["cases"])
    time = f"{turns.median(auto['times']):.1f} ms" if auto else "measured"
    parts += [f"{failed} left out"] if failed else []
    return "; ".join([f"{name_of(row)}: {time}", *parts])


def write(rows, many, arguments, machine, agreements, output):
    """Writes the page and its picture beside it, each of them completely or not at all.

    Args:
        rows (list of dict): "network", "size", "batch" and "cases" of each network.
        many (list of dict): the same with several pictures at once.
        arguments (Namespace): of the command line.
        machine (list of str): see `machine.describe`.
        agreements (list of dict): see `precision_agreement.agreement`.
        output (Path): the page.
    """
    from densebone.system.files import atomic_path

    count = max((len(case["times"]) for row in rows for case in _measured(row)), default=0)
    size = " x ".join(map(str, arguments.size or (224, 224)))
    method = METHOD.format(rounds=count, threads=arguments.threads, size=size, batch=arguments.batch)
    device = "a GPU" if arguments.gpu else "a CPU"
    parts = [
        f"# How fast it is\n\nWritten by `python -m benchmarks.inference{' --gpu' * arguments.gpu}` on {device}:\n",
        "\n".join(f"- {line}" for line in machine) + "\n",
        method,
        "" if arguments.gpu else _top_table(rows),
        _throughput_table(many) if many else "",
        f"![Median time of a run, for every network and engine]({picture(output).name})\n",
        _agreement_table(agreements) if agreements else "",
        "## Every engine\n",
        *(_table(row) for row in rows),
    ]
    plot(rows, picture(output))
    with atomic_path(output) as temporary:
        temporary.write_text("\n".join(part for part in parts if part))


def picture(output):
    """The path of the picture that belongs to a page."""
    return Path(output).with_suffix(".png")


def _top_table(rows):
    names = " | ".join(f"auto / {name}" for *_, name in RIVALS)
    lines = [
        f"| network | auto, ms | {names} | bf16 / torch eager | int8 / float32, OpenVINO | ONNX Runtime |",
        "|---" * (len(RIVALS) + 5) + "|",
    ]
    for row in rows:
        auto, half = find(row, "ours", "auto", "fp32"), find(row, "ours", "auto", "bf16")
        ratios = [ratio(auto, find(row, "peer", engine, precision)) for engine, precision, _ in RIVALS]
        ratios.append(ratio(half, find(row, "peer", "torch", "fp32")))
        for engine in ("openvino", "onnxruntime"):
            ratios.append(ratio(find(row, "ours", engine, "int8"), find(row, "ours", engine, "fp32")))
        time = f"{turns.median(auto['times']):.1f}" if auto else ""
        lines.append(f"| {name_of(row)} | {time} | {' | '.join(ratios)} |")
    return (
        "The engine that `auto` picks, in float32, against PyTorch eager and against ONNX Runtime and OpenVINO on "
        "PyTorch's ONNX export of the same network. Below 1, densebone is faster:\n\n" + "\n".join(lines) + "\n"
    )


def _throughput_table(rows):
    """Pictures a second of a batch, and how that compares: above 1, densebone is faster."""
    rivals = [*RIVALS, ("openvino", "bf16", "OpenVINO, bf16")]
    lines = [
        f"| network | pictures/s | {' | '.join(f'over {name}' for *_, name in rivals[:3])} | bf16: pictures/s "
        "| over OpenVINO, bf16 |",
        "|---" * 7 + "|",
    ]
    for row in rows:
        auto, half = find(row, "ours", "auto", "fp32"), find(row, "ours", "auto", "bf16")
        rates = [f"{1e3 * row['batch'] / turns.median(c['times']):.0f}" if c else "" for c in (auto, half)]
        over = [
            ratio(find(row, "peer", engine, precision), half if precision == "bf16" else auto)
            for engine, precision, _ in rivals
        ]
        lines.append(f"| {name_of(row)} | {rates[0]} | {' | '.join(over[:3])} | {rates[1]} | {over[3]} |")
    return (
        f"{rows[0]['batch']} pictures at once, `auto` in float32 and in bf16 (above 1, densebone is faster):\n\n"
        + "\n".join(lines)
        + "\n"
    )


def _agreement_table(rows):
    """How often the top-1 class stays in bf16 and in 8 bits."""
    lines = [
        "| network | float32 right | bf16: same class | logits' difference | int8: same class | logits' difference |",
        "|---" * 6 + "|",
    ]
    for row in rows:
        cells = []
        for precision in ("bf16", "int8"):
            found = row[precision]
            cells += (
                [found["failed"], ""]
                if "failed" in found
                else [f"{100 * found['agreement']:.1f} %", f"{100 * found['difference']:.1f} %"]
            )
        lines.append(f"| {row['network']} | {100 * row['right']:.1f} % | {' | '.join(cells)} |")
    emulated = (
        " This CPU has no bf16 instructions, so the benchmark emulated them by rounding float32 numbers "
        "(`benchmarks/bf16_emulation.py`). The emulation says nothing about the speed of bf16."
    )
    return (
        f"Top-1 classes on {rows[0]['pictures']} generated pictures. The convolutions have random weights. The "
        "classifiers were fitted to the 100 scenes that the pictures show; other pictures of the scenes calibrated the "
        "8 bits, on OpenVINO. The logits' difference is its root mean square over their standard deviation "
        f"(`benchmarks/precision_agreement.py`).{emulated * rows[0]['emulated']}\n\n" + "\n".join(lines) + "\n"
    )


def _table(row):
    reference = find(row, "peer", "torch", "fp32") or find(row, "ours", "eager", "fp32")
    name = title(reference) if reference else "torch eager"
    lines = [
        f"### {name_of(row)}\n",
        f"| | ms: median (least) | ratio to {name} | start, s | memory, MiB | difference |",
        "|---|---|---|---|---|---|",
    ]
    for case in sorted(_measured(row), key=lambda case: case["side"]):  # densebone's, then the peers'
        apart = "" if case["difference"] is None else f"{case['difference']:.0e}"
        lines.append(
            f"| {title(case)}{_chosen(case)} | {turns.median(case['times']):.1f} ({turns.least(case['times']):.1f}) "
            f"| {ratio(case, reference)} | {case['start']:.1f} | {case['memory']:.0f} | {apart} |"
        )
    return "\n".join(lines) + "\n" + _left_out(row)


def _left_out(row):
    """A line for each reason why cases were not measured."""
    reasons = {}
    for case in row["cases"]:
        if not case.get("times"):
            reasons.setdefault(case.get("failed", "it ended"), []).append(title(case))
    return "".join(f"\nLeft out: {'; '.join(names)}: {reason}\n" for reason, names in reasons.items())


def _chosen(case):
    """The engine that "auto" picked, in parentheses; "" for other cases."""
    return f" ({case['title'].partition(',')[0]})" if case["engine"] == "auto" else ""


def plot(rows, path):
    """Draws the median time of every case: a panel for each network, densebone blue and the peers orange."""
    from densebone.pictures.plots import new_figure
    from densebone.system.files import atomic_path

    columns = min(2, len(rows))
    lines = -(-len(rows) // columns)
    most = max(len(_measured(row)) for row in rows)
    figure = new_figure(6.6 * columns, lines * (0.24 * most + 0.75))
    for axes in figure.subplots(lines, columns, squeeze=False).flat[len(rows) :]:
        axes.set_axis_off()
    for axes, row in zip(figure.axes, rows):
        cases = sorted(_measured(row), key=lambda case: turns.median(case["times"]))
        times = [turns.median(case["times"]) for case in cases]
        colours = ["tab:blue" if case["side"] == "ours" else "tab:orange" for case in cases]
        axes.barh(range(len(cases)), times, color=colours, height=0.72)
        axes.set_yticks(range(len(cases)), [title(case) + _chosen(case) for case in cases], fontsize=8)
        for place, time in enumerate(times):
            axes.annotate(f"{time:.1f}", (time, place), (3, 0), textcoords="offset points", va="center", fontsize=8)
        axes.set(title=name_of(row), xlim=(0, 1.12 * max(times, default=1)))
        axes.invert_yaxis()
        axes.tick_params(axis="x", labelsize=8)
        axes.grid(axis="x", alpha=0.3)
        axes.set_axisbelow(True)
    figure.supxlabel("ms for a run, median; blue: densebone, orange: others", fontsize=9)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    with atomic_path(path) as temporary, Image.open(drawn) as picture:  # 64 colours: a quarter of the size
        picture.convert("RGB").quantize(64).save(temporary, format="PNG", optimize=True)
