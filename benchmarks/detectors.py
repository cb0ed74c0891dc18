"""Detectors from JPEG files to boxes: ours beside PaddleDetection's small ones, with the same head, readers and input.

    python benchmarks/detectors.py pictures/ --threads 2

Each pair of a backbone and a head has random weights and is exported as one file. "network" is that file alone in bare
ONNX Runtime on a prepared picture. The other columns are pictures a second from files to boxes, in processes that take
turns: `densebone.runtime`, two pictures side by side or one, and the loop that one would write by hand with ONNX
Runtime and OpenCV. With random weights every box is a candidate, and suppression would take most of the time, so the
score threshold is one that none reaches.
"""

import json
import sys
import tempfile
from pathlib import Path

import children

#: title, head of `tasks.detection.heads`, side of the input, backbone, the backbone's options
PAIRS = (
    ("HarDNet-39DS + PP-YOLOE-s", "PP-YOLOE", 320, "HarDNet39DS", {"return_idx": [1, 2, 3]}),
    ("PeleeNet + PP-YOLOE-s", "PP-YOLOE", 320, "PeleeNet", {"return_idx": [1, 2, 3]}),
    ("CSPResNet-s + PP-YOLOE-s (PaddleDetection's)", "PP-YOLOE", 320, "CSPResNet", {"return_idx": [1, 2, 3]}),
    ("HarDNet-39DS + PicoDet-s", "PicoDet", 416, "HarDNet39DS", {"return_idx": [1, 2, 3]}),
    ("PeleeNet + PicoDet-s", "PicoDet", 416, "PeleeNet", {"return_idx": [1, 2, 3]}),
    ("LCNet x0.75 + PicoDet-s (PaddleDetection's)", "PicoDet", 416, "LCNet", {"scale": 0.75}),
    ("LCNet x2 + PicoDet-s (PaddleDetection's)", "PicoDet", 416, "LCNet", {"scale": 2.0}),
)


def build(head, side, backbone, options, folder, picture):
    """Exports a pair with random weights; returns {"folder", "parameters" (millions), "macs" (billions)}."""
    import paddle
    from ppdet.core.workspace import create

    from densebone.profiling import profile
    from densebone.tasks.detection import config, exporting, heads, readers

    heads.prepare()
    if backbone == "CSPResNet":  # size s, as the head's
        options = {**options, "use_large_stem": True, "depth_mult": 0.33, "width_mult": 0.5}
    file = Path(folder) / f"{head}_{backbone}_{options.get('scale', 1)}.yml".lower()
    *lines, _ = heads.yaml_of(backbone, head).splitlines()  # the last one has the options of our backbones
    file.write_text("\n".join([*lines, json.dumps({backbone: options})[1:-1], ""]))
    suppression = f"{'PPYOLOEHead' if head == 'PP-YOLOE' else 'PicoHeadV2'}.nms.score_threshold=2.0"
    job = config.load(file, ("use_gpu=false", "worker_num=0", "norm_type=bn", suppression))
    readers.resize(job.cfg, (side, side), several=False)
    paddle.seed(0)
    model = create(job.cfg.architecture)
    model.eval()
    job.cfg["model"] = model  # PicoDet's neck becomes another network the second time in a process
    weights = Path(folder) / f"{file.stem}.pdparams"
    paddle.save(model.state_dict(), str(weights))
    inputs = {
        "image": paddle.zeros([1, 3, side, side]),
        "im_shape": paddle.to_tensor([[float(side)] * 2]),
        "scale_factor": paddle.ones([1, 2]),
    }
    cost = profile(model, inputs=inputs)
    exporting.export(job, folder, str(weights), picture, ("onnx", "openvino"))
    return {"folder": str(Path(folder) / job.name), "parameters": cost.parameters / 1e6, "macs": cost.macs / 1e9}


def bare(folder, files, threads):
    """[ms of the network alone, pictures/s from files] in bare ONNX Runtime and OpenCV, the loop of docs/examples."""
    import importlib.util
    import time

    import cv2
    import numpy as np
    import onnxruntime

    example = Path(__file__).resolve().parents[1] / "docs" / "examples" / "detect.py"
    spec = importlib.util.spec_from_file_location("detect", example)
    detect = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(detect)
    cv2.setNumThreads(1)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(f"{folder}/model.onnx", settings, providers=["CPUExecutionProvider"])
    steps = json.loads(Path(folder, "model_card.json").read_text())["preprocessing"]["steps"]
    wanted = [one.name for one in session.get_inputs()]
    alone, begun = [], 0.0
    for number, file in enumerate([*files[:8], *files]):
        if number == 8:
            begun = time.perf_counter()
        ready, scale, shape = detect.prepare(cv2.cvtColor(cv2.imread(file), cv2.COLOR_BGR2RGB), steps)
        feed = {"image": ready, "scale_factor": np.float32([scale]), "im_shape": np.float32([shape])}
        before = time.perf_counter()
        session.run(None, {name: feed[name] for name in wanted})
        alone.append(1e3 * (time.perf_counter() - before))
    return [float(np.median(alone)), len(files) / (time.perf_counter() - begun)]


def ours(folder, files, threads, engine, streams):
    """Pictures/s of `densebone.runtime`, from files."""
    import time
    from concurrent.futures import ThreadPoolExecutor

    from densebone.runtime import Model

    model = Model(folder, engine, threads=threads, streams=streams)
    with ThreadPoolExecutor(streams) as pool:
        list(pool.map(model, files[:8]))
        begun = time.perf_counter()
        list(pool.map(model, files))
        return len(files) / (time.perf_counter() - begun)


def main():
    """Builds every pair, measures it and prints a table."""
    parser = children.new_parser(__doc__)
    parser.add_argument("pictures", nargs="?", help="folder of JPEG files")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3, help="turns; the best of each figure counts")
    arguments = parser.parse_args()
    if arguments.child:
        return children.answer(arguments.child, build, bare, ours)
    files = sorted(str(path) for path in Path(arguments.pictures or ".").rglob("*.jpg"))
    if not files:
        sys.exit(f"benchmarks.detectors: {arguments.pictures} holds no .jpg; give a folder of pictures")
    with tempfile.TemporaryDirectory() as folder:
        built = [children.call(__file__, build, *pair, folder, files[0]) for _, *pair in PAIRS]
        best = [{} for _ in PAIRS]
        for _ in range(arguments.rounds):
            for row, facts in zip(best, built):
                _keep_best(row, _measured(facts["folder"], files, arguments.threads))
    header = (
        "| detector | input | parameters, M | GMACs | network, ms | runtime, OpenVINO, 2 streams "
        "| ONNX Runtime, 2 streams | ONNX Runtime, 1 stream | bare ONNX Runtime loop |\n|" + " --- |" * 9 + "\n"
    )
    rows = (
        f"| {title} | {side} | {facts['parameters']:.2f} | {facts['macs']:.2f} | {row['network']:.1f} "
        f"| {row['openvino']:.0f} | {row['onnxruntime']:.0f} | {row['one']:.0f} | {row['bare']:.0f} |\n"
        for (title, _, side, *_), facts, row in zip(PAIRS, built, best)
    )
    children.print_table(header, rows, arguments.output)
    return None


def _measured(folder, files, threads):
    network, bare_rate = children.call(__file__, bare, folder, files, threads)
    return {
        "network": network,
        "bare": bare_rate,
        "openvino": children.call(__file__, ours, folder, files, threads, "openvino", 2),
        "onnxruntime": children.call(__file__, ours, folder, files, threads, "onnxruntime", 2),
        "one": children.call(__file__, ours, folder, files, threads, "onnxruntime", 1),
    }


def _keep_best(row, measured):
    for name, value in measured.items():
        better = min if name == "network" else max
        row[name] = better(row.get(name, value), value)


if __name__ == "__main__":
    main()
