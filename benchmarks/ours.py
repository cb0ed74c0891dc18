"""densebone's side of the benchmark: a process that writes weights, fills the export cache, or runs one engine.

python benchmarks/ours.py --weights condensenetv2_c FOLDER       weights of a condensed network, pruned as a user's is
python benchmarks/ours.py --make hardnet68 FOLDER 224x224 1      weights, picture and output, where no peer writes them
python benchmarks/ours.py --warm '{...}' '{...}'                 exports and checks each case once
python benchmarks/ours.py --serve '{"network": ..., "engine": ...}'
python benchmarks/ours.py --agreement '{...}'                    compares bf16 and 8 bits with float32
"""

import json
import sys
from pathlib import Path

import numpy as np
import worker


def options_of(name):
    """The options with which a network computes what pytorchcv's network of that name computes."""
    from densebone.weights.layouts import LAYOUTS

    return LAYOUTS["pytorchcv HarDNet"].needs(name)


def network(case):
    """The network with the case's weights, in eval mode."""
    import densebone as db

    name = case["network"]
    net = db.create_model(name, pretrained=Path(case["folder"]) / "weights.safetensors", **options_of(name))
    net.eval()
    return net


def engine(case, image, net=None):
    """The engine of a case; it reads its export from the cache if an earlier process left one there."""
    from densebone.engines.opening import open_network

    pictures = None
    if case["precision"] == "int8":
        from precision_agreement import calibration

        pictures = calibration({**case, "size": 224})
    return open_network(
        net or network(case), case["engine"], case["precision"], case["threads"], image.shape[2:], Path(case["cache"]),
        calibration=pictures,
    )  # fmt: skip


def runner(case, image):
    """What `worker.serve` needs to run a case."""
    if case.get("gpu"):
        return gpu_runner(case, image)
    opened, last = engine(case, image), []

    def run():
        last[:] = opened.run(image)

    return run, lambda: last[0], opened.description


def gpu_runner(case, image):
    """What `worker.serve` needs to run Paddle eager on a GPU; precision "amp" is bfloat16 mixed precision."""
    import paddle

    paddle.set_device("gpu")
    net, x, last = network(case), paddle.to_tensor(image), []

    def run():
        with paddle.no_grad(), paddle.amp.auto_cast(enable=case["precision"] == "amp", dtype="bfloat16"):
            last[:] = [net(x)]
        paddle.device.cuda.synchronize()

    return run, lambda: last[0].astype("float32").numpy(), f"Paddle {paddle.__version__}, eager"


def write_condensed(name, folder):
    """Writes the weights of a condensed CondenseNetV2 that was learned, pruned and condensed as a user's is."""
    from condensenetv2_forms import build

    from densebone.weights.writer import write

    state = build(name.rpartition("_")[2]).state_dict()
    write({key: value.numpy() for key, value in state.items()}, Path(folder) / "weights.safetensors", "pytorch")


def make(name, folder, size, batch):
    """Writes weights (unless they are there), a picture and the output in eager. For runs without peers."""
    import paddle

    import densebone as db
    from densebone.weights.writer import write

    folder = Path(folder)
    if not (folder / "weights.safetensors").is_file():
        state = db.create_model(name, **options_of(name)).state_dict()
        write({key: value.numpy() for key, value in state.items()}, folder / "weights.safetensors")
    image = worker.random_image(size, batch)
    np.save(folder / "picture.npy", image)
    with paddle.no_grad():
        np.save(folder / "expected.npy", network({"network": name, "folder": folder})(paddle.to_tensor(image)).numpy())


def warm(cases):
    """Opens and runs each engine once, which puts its export into the cache; {index: why a case cannot run}."""
    failures = {}
    for index, case in enumerate(cases):
        image = np.load(Path(case["folder"]) / "picture.npy")
        try:
            with engine(case, image) as opened:
                opened.run(image)
        except Exception as error:
            failures[index] = str(error).strip().partition("\n")[0]
    return failures


def main(arguments):
    """Does one of the things that the module's docstring lists."""
    match arguments:
        case ["--weights", name, folder]:
            write_condensed(name, folder)
        case ["--make", name, folder, size, batch]:
            make(name, folder, worker.size_of(size), int(batch))
        case ["--warm", *texts]:
            print(json.dumps(warm([json.loads(text) for text in texts])))
        case ["--serve", text]:
            worker.serve(json.loads(text), runner)
        case ["--agreement", text]:
            from precision_agreement import agreement

            print(json.dumps(agreement(json.loads(text))))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
