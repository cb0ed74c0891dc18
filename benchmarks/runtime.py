"""An exported model in `densebone.runtime`, beside bare ONNX Runtime and Paddle, from JPEG files to answers.

    python -m benchmarks.runtime exported/birds pictures/ --threads 2

Every row is a process of its own: seconds from its start to the first answer, the most memory it held, and pictures a
second after that. "bare" is docs/examples/detect.py without printing, the loop that one would write by hand.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

WAYS = {
    "densebone.runtime, ONNX Runtime": """
from densebone.runtime import Model
model = Model(folder, "onnxruntime", threads=threads)
answer = model
""",
    "densebone.runtime, OpenVINO": """
from densebone.runtime import Model
model = Model(folder, "openvino", threads=threads)
answer = model
""",
    "bare ONNX Runtime, OpenCV": """
import importlib.util
import cv2, onnxruntime
import numpy as np
spec = importlib.util.spec_from_file_location("detect", example)
detect = importlib.util.module_from_spec(spec)
spec.loader.exec_module(detect)
cv2.setNumThreads(1)
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = threads
session = onnxruntime.InferenceSession(folder + "/model.onnx", options, providers=["CPUExecutionProvider"])
steps = json.load(open(folder + "/model_card.json"))["preprocessing"]["steps"]
wanted = {one.name for one in session.get_inputs()}
def answer(file):
    image = cv2.cvtColor(cv2.imread(file), cv2.COLOR_BGR2RGB)
    ready, scale, shape = detect.prepare(image, steps)
    feed = {"image": ready, "scale_factor": np.float32([scale]), "im_shape": np.float32([shape])}
    return session.run(None, {name: feed[name] for name in wanted})
""",
    "Paddle Inference, densebone predict's way": """
from pathlib import Path
from densebone.tasks.exported import open_exported
from densebone.pictures.reading import read_image
import paddle
find, _, _ = open_exported(Path(folder), {"engine": "paddle"})
def answer(file):
    return find(read_image(file))
""",
}
_MEASURE = """
import time
started = time.perf_counter()
import json, resource, sys
folder, example, threads, files = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:]
{way}
answer(files[0])
first = time.perf_counter() - started
for file in files[:8]:
    answer(file)
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
begun = time.perf_counter()
for file in files:
    answer(file)
print(json.dumps([first, memory, len(files) / (time.perf_counter() - begun)]))
"""


def main() -> None:
    """Measures every way, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="an exported detector")
    parser.add_argument("pictures", help="folder of pictures")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3, help="processes of each way; the best of each figure counts")
    arguments = parser.parse_args()
    files = sorted(str(path) for path in Path(arguments.pictures).rglob("*.jpg"))
    example = Path(__file__).resolve().parents[1] / "docs" / "examples" / "detect.py"
    print("| way | first answer, s | memory, MB | pictures/s |\n| --- | --- | --- | --- |")
    for name, way in WAYS.items():
        rows = [_run(way, arguments.folder, example, arguments.threads, files) for _ in range(arguments.repeat)]
        first, memory, speed = min(r[0] for r in rows), min(r[1] for r in rows), max(r[2] for r in rows)
        print(f"| {name} | {first:.2f} | {memory:.0f} | {speed:.0f} |", flush=True)


def _run(way, folder, example, threads, files):
    command = [sys.executable, "-c", _MEASURE.format(way=way), str(Path(folder).resolve()), str(example), str(threads)]
    done = subprocess.run([*command, *files], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
