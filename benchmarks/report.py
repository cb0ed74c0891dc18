"""The page of the benchmark: machine, method, tables and a picture."""

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
# What our "auto" is set against, with its short name; the first two are in the table at the top.
RIVALS = (("torch", "fp32", "torch eager"), ("onnxruntime", "fp32", "ONNX Runtime"), ("openvino", "fp32", "OpenVINO"))
METHOD = """\
Each engine has a process of its own; a network's processes take turns, {rounds} times each, every other time backwards,
and are stopped in between, so that a busy machine slows all alike. Half-way all are started anew, because where its
memory comes to lie makes a process faster or slower. A turn begins with two runs that do not count. Times are medians
of all runs that count, in parentheses the shortest; a ratio is the median, over the turns, of the ratio of the medians
of a turn. All engines of a network have {threads} threads, the same picture of noise, {size} x {size}, batch {batch},
and the same random weights, and must return what PyTorch returns: the last column is the largest
difference, over the output's standard deviation. `paddleclas` starts with weights of its own. Memory is what the
process holds after its runs, Python and libraries included; engines of ours read what an earlier process exported.
Two processes that run the same network on the same engine can differ by a fifth: smaller differences say nothing.

The peers are pytorchcv's networks in PyTorch, and for CondenseNetV2 the form in which its weights are published
(`benchmarks/published_condensenetv2.py`); their graph is PyTorch's export of them, opset 17.
"""


def title(case):
    """What a case is called."""
    precision = "" if case["precision"] == "fp32" else f", {case['precision']}"
    return TITLES[case["side"], case["engine"]] + precision


def _measured(row):
    return [case for case in row["cases"] if case.get("times")]


def find(row, side, engine, precision):
    """The measured case of a network, or None."""
    wanted = (side, engine, precision)
    return next((c for c in _measured(row) if (c["side"], c["engine"], c["precision"]) == wanted), None)


def ratio(case, other):
    """The ratio of two cases as text; empty when one was not measured."""
    return f"{turns.ratio(case['times'], other['times']):.2f}" if case and other else ""


def summary(row):
    """One line for the terminal."""
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
    return "; ".join([f"{row['network']}: {time}", *parts])


def write(rows, arguments, machine, agreement, output):
    """Writes the page and the picture beside it, each whole or not at all."""
    from densebone.system.files import atomic_path

    count = max((len(case["times"]) for row in rows for case in _measured(row)), default=0)
    method = METHOD.format(rounds=count, threads=arguments.threads, size=arguments.size, batch=arguments.batch)
    device = "a GPU" if arguments.gpu else "a CPU"
    parts = [
        f"# How fast it is\n\nWritten by `python -m benchmarks.inference{' --gpu' * arguments.gpu}` on {device}:\n",
        "\n".join(f"- {line}" for line in machine) + "\n",
        method,
        "" if arguments.gpu else _top_table(rows),
        f"![Time of a run of each network]({picture(output).name})\n",
        _agreement(agreement) if agreement else "",
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
    lines = [f"| network | auto, ms | {names} | bf16 / torch eager |", "|---" * (len(RIVALS) + 3) + "|"]
    for row in rows:
        auto, half = find(row, "ours", "auto", "fp32"), find(row, "ours", "auto", "bf16")
        ratios = [ratio(auto, find(row, "peer", engine, precision)) for engine, precision, _ in RIVALS]
        ratios.append(ratio(half, find(row, "peer", "torch", "fp32")))
        time = f"{turns.median(auto['times']):.1f}" if auto else ""
        lines.append(f"| {row['network']} | {time} | {' | '.join(ratios)} |")
    return (
        "The engine that `auto` takes, in float32, against PyTorch eager, and against ONNX Runtime and OpenVINO on "
        "PyTorch's graph of the same network (below 1: ours is faster):\n\n" + "\n".join(lines) + "\n"
    )


def _agreement(found):
    if "failed" in found:
        return f"The top-1 of bf16 was not compared with float32's: {found['failed']}.\n"
    how = ""
    if found["emulated"]:
        how = (
            " This CPU has no instructions for bf16: float32 arithmetic was made to round as they do "
            "(`benchmarks/bf16_emulation.py`), which says nothing about the time."
        )
    return (
        f"On {found['pictures']} generated pictures, HarDNet-68 in bf16 has the top-1 class of float32 in "
        f"{100 * found['agreement']:.1f} %; its logits differ by {100 * found['difference']:.1f} % of their standard "
        f"deviation (root mean square). The convolutions' weights are random; the classifier was fitted to the 100 "
        f"scenes that the pictures show, and in float32 gets {100 * found['right']:.1f} % of them right "
        f"(`benchmarks/bf16_agreement.py`).{how}\n"
    )


def _table(row):
    reference = find(row, "peer", "torch", "fp32") or find(row, "ours", "eager", "fp32")
    name = title(reference) if reference else "torch eager"
    lines = [
        f"### {row['network']}\n",
        f"| | ms: median (least) | ratio to {name} | memory, MiB | difference |",
        "|---|---|---|---|---|",
    ]
    for case in sorted(_measured(row), key=lambda case: case["side"]):  # ours, then the peers'
        apart = "" if case["difference"] is None else f"{case['difference']:.0e}"
        lines.append(
            f"| {title(case)}{_chosen(case)} | {turns.median(case['times']):.1f} ({turns.least(case['times']):.1f}) "
            f"| {ratio(case, reference)} | {case['memory']:.0f} | {apart} |"
        )
    return "\n".join(lines) + "\n" + _left_out(row)


def _left_out(row):
    """A line on the cases that were not measured, those with the same reason together."""
    reasons = {}
    for case in row["cases"]:
        if not case.get("times"):
            reasons.setdefault(case.get("failed", "it ended"), []).append(title(case))
    return "".join(f"\nLeft out: {'; '.join(names)}: {reason}\n" for reason, names in reasons.items())


def _chosen(case):
    """In parentheses, what "auto" took."""
    return f" ({case['title'].partition(',')[0]})" if case["engine"] == "auto" else ""


def plot(rows, path):
    """Draws the time of every case, a panel for each network, the fastest engines of each side marked by colour."""
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
        axes.set(title=row["network"], xlim=(0, 1.12 * max(times, default=1)))
        axes.invert_yaxis()
        axes.tick_params(axis="x", labelsize=8)
        axes.grid(axis="x", alpha=0.3)
        axes.set_axisbelow(True)
    figure.supxlabel("ms for a run, median; blue: densebone, orange: others", fontsize=9)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    with atomic_path(path) as temporary, Image.open(drawn) as picture:  # 64 colours make a quarter of the file
        picture.convert("RGB").quantize(64).save(temporary, format="PNG", optimize=True)
