"""From JPEG files to answers: densebone's features and predictions beside a PyTorch DataLoader with ONNX Runtime.

    python -m benchmarks.whole_way pictures/ --peers .venv-peers/bin/python
    python -m benchmarks.whole_way pictures/ --detector="-c birds/config.yml" --segmenter="-c streets/config.yml"

Features are pooled vectors at 224 x 224, prepared as the weights were evaluated. The PyTorch loop is the
straightforward one: Pillow and NumPy in the DataLoader's workers, the same ONNX file in ONNX Runtime, batches of 8.
Predictions run the command: the time of all pictures less that of one. Every row is a process of its own, in turns.
"""

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def prepared(path):
    """A picture as a user would prepare it: float32 (3, 224, 224), shorter side to 256, middle 224."""
    import numpy as np
    from PIL import Image

    image = Image.open(path).convert("RGB")
    width, height = image.size
    size = (256, int(256 * height / width)) if width <= height else (int(256 * width / height), 256)
    image = image.resize(size, Image.Resampling.BILINEAR)
    left, top = round((size[0] - 224) / 2), round((size[1] - 224) / 2)
    values = np.asarray(image.crop((left, top, left + 224, top + 224)), np.float32) / np.float32(255)
    values = (values - np.float32(MEAN)) / np.float32(STD)
    return np.ascontiguousarray(values.transpose(2, 0, 1))


def torch_loop(files, file, workers, threads):
    """Pictures a second of a PyTorch DataLoader and ONNX Runtime."""
    import numpy as np
    import onnxruntime
    import torch

    class Pictures(torch.utils.data.Dataset):
        def __len__(self):
            return len(files)

        def __getitem__(self, index):
            return torch.from_numpy(prepared(files[index]))

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    name, begun, done = session.get_inputs()[0].name, None, 0
    for batch in torch.utils.data.DataLoader(Pictures(), 8, num_workers=workers):
        np.concatenate([out.mean((2, 3)) for out in session.run(None, {name: batch.numpy()})], 1)
        if begun is None:
            begun = time.perf_counter()
        else:
            done += len(batch)
    return done / (time.perf_counter() - begun)


def features(files, model, options):
    """Pictures a second of `FeatureExtractor`."""
    from densebone.features import FeatureExtractor

    with FeatureExtractor(model, pretrained=None, pooled="avg", **options) as extractor:
        extractor(files[:32])
        begun = time.perf_counter()
        extractor(files)
        return len(files) / (time.perf_counter() - begun)


def onnx_of(model, folder):
    """Writes the network of `features` as ONNX; returns the file."""
    import densebone as db
    from densebone.deploy.export import export_network

    export_network(db.create_backbone(model, out_indices=(1, 2, 3, 4)), Path(folder, "network"), formats=("onnx",))
    return str(next(Path(folder).rglob("*.onnx")))


def predictions(files, options):
    """(seconds for one picture, pictures a second after that) of `densebone predict`."""
    seconds = []
    for some in (files[:1], files):
        with tempfile.TemporaryDirectory() as folder:
            command = [str(Path(sys.executable).with_name("densebone")), "predict", *options, "-O", folder, "--", *some]
            begun = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            seconds.append(time.perf_counter() - begun)
    return seconds[0], (len(files) - 1) / (seconds[1] - seconds[0])


def main():
    """Measures every row and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", help="folder of JPEG files")
    parser.add_argument("--model", default="hardnet68ds")
    parser.add_argument("--peers", help="the interpreter that has PyTorch and ONNX Runtime")
    parser.add_argument("--detector", metavar="OPTIONS", help="of densebone predict, such as '--detector=-c birds.yml'")
    parser.add_argument("--segmenter", metavar="OPTIONS", help="the same")
    parser.add_argument("--count", type=int, default=1000, help="pictures of a row; files are repeated")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2, help="turns; the best of each row counts")
    arguments = parser.parse_args()
    found = sorted(str(path) for path in Path(arguments.pictures).rglob("*.jpg"))
    files = (found * -(-arguments.count // len(found)))[: arguments.count]
    with tempfile.TemporaryDirectory() as folder:
        rows = _feature_rows(arguments, files, folder)
        best = dict.fromkeys(rows, 0.0)
        for _ in range(arguments.rounds):
            for name, row in rows.items():
                best[name] = max(best[name], _call(*row) or 0.0)
    base = max([best[name] for name in rows if name.startswith("PyTorch")], default=0.0)
    print(f"| {arguments.model}, pooled, from JPEG files | pictures/s | over PyTorch's best |\n|---|---|---|")
    for name, rate in best.items():
        print(f"| {name} | {rate:.0f} | {rate / base if base else float('nan'):.2f} |")
    for title, options in (("detector", arguments.detector), ("segmenter", arguments.segmenter)):
        if options:
            _print_predictions(title, shlex.split(options), found, arguments)


def _feature_rows(arguments, files, folder):
    file, threads = onnx_of(arguments.model, folder), {"threads": arguments.threads}
    rows = {}
    if arguments.peers:
        for workers in (0, 1, 2):
            name = f"PyTorch DataLoader, {workers} workers, ONNX Runtime"
            rows[name] = (arguments.peers, "torch_loop", files, file, workers, arguments.threads)
    ways = {
        "densebone, one batch at a time": {},
        "densebone, a batch in each thread (`densebone features`)": {"throughput": True},
        "the same, reduced decoding": {"throughput": True, "reduced": True},
        "the same, ONNX Runtime": {"throughput": True, "engine": "onnxruntime"},
        "the same, bf16 and reduced decoding": {"throughput": True, "reduced": True, "precision": "bf16"},
        "the same, int8 and reduced decoding": {
            "throughput": True, "reduced": True, "precision": "int8", "calibration": arguments.pictures,
        },
    }  # fmt: skip
    for name, options in ways.items():
        given = {"engine": "openvino", **threads, **options}
        rows[name] = (sys.executable, "features", files, arguments.model, given)
    return rows


def _print_predictions(title, options, files, arguments):
    ways = {
        "as it is (Paddle)": [], "--engine auto": ["--engine", "auto"],
        "--engine auto --draw png": ["--engine", "auto", "--draw", "png"],
        "--engine auto --no-draw": ["--engine", "auto", "--no-draw"],
    }  # fmt: skip
    files = files[: min(len(files), arguments.count)]
    print(f"\n| {title}, densebone predict | s for one picture | pictures/s after that |\n|---|---|---|")
    for name, more in ways.items():
        predictions(files[:1], [*options, *more])  # which may write what is kept
        taken = [predictions(files, [*options, *more]) for _ in range(arguments.rounds)]
        print(f"| {name} | {min(t[0] for t in taken):.1f} | {max(t[1] for t in taken):.1f} |", flush=True)


def _call(python, *what):
    from benchmarks.children import call_in  # which the peers' interpreter does not find

    return call_in(python, __file__, *what)


if __name__ == "__main__":
    if len(sys.argv) == 2 and sys.argv[1].endswith(".json"):
        name, *given = json.loads(Path(sys.argv[1]).read_text())
        print(json.dumps(globals()[name](*given)))
    else:
        main()
