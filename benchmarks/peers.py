"""The peers of the benchmark: the same networks from pytorchcv and paddleclas, and two as their authors published them.

Runs in an environment of its own, with the packages of `benchmarks/requirements.txt` and without densebone:

    python benchmarks/peers.py --make hardnet68 FOLDER 224x224 1  weights, picture, output, ONNX graph
    python benchmarks/peers.py --serve '{"network": ..., "engine": ...}'
    python benchmarks/peers.py --versions
"""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import worker

PACKAGES = ("torch", "pytorchcv", "onnx", "onnxruntime", "openvino", "paddlepaddle", "paddlepaddle-gpu", "paddleclas")
_PADDLECLAS = {
    "hardnet39ds": ("hardnet", "HarDNet39_ds"),
    "hardnet68ds": ("hardnet", "HarDNet68_ds"),
    "hardnet68": ("hardnet", "HarDNet68"),
    "hardnet85": ("hardnet", "HarDNet85"),
    "peleenet": ("peleenet", "PeleeNet"),
}


def torch_network(name):
    """The peer in PyTorch, in eval mode, with the initial weights of its library."""
    if name.startswith("condensenetv2"):
        from published_condensenetv2 import PublishedCondenseNetV2

        return PublishedCondenseNetV2(name).eval()
    if name == "fchardnet70":
        from published_fchardnet import PublishedFCHarDNet70

        return PublishedFCHarDNet70().eval()
    # Not through pytorchcv's table of models, which imports every one of them.
    module = importlib.import_module(f"pytorchcv.models.{'peleenet' if name == 'peleenet' else 'hardnet'}")
    return getattr(module, name)().eval()


def load(net, folder):
    """Fills a PyTorch network from weights.safetensors."""
    import torch
    from safetensors.numpy import load_file

    state = {}
    for key, value in load_file(Path(folder) / "weights.safetensors").items():
        value = torch.from_numpy(np.array(value))
        if key.endswith("sfr.index") and value.ndim == 1:  # published as a matrix of zeros and ones
            value = torch.nn.functional.one_hot(value.long(), len(value)).float()
        state[key] = value.long() if key.endswith("conv_1.index") else value
    missing, unexpected = net.load_state_dict(state, strict=False)
    left = [key for key in missing if not key.endswith("num_batches_tracked")]
    assert not left and not unexpected, (left, unexpected)
    return net


def make(name, folder, size, batch):
    """Writes what every engine reads and should return: weights.safetensors, picture.npy, expected.npy and peer.onnx.

    CondenseNetV2's weights.safetensors is in the folder already.
    """
    import torch

    folder = Path(folder)
    net = torch_network(name)
    if not name.startswith("condensenetv2"):
        from safetensors.numpy import save_file

        shapes = {key: tuple(value.shape) for key, value in net.state_dict().items() if value.ndim}
        save_file(worker.random_tensors(shapes), folder / "weights.safetensors")
    load(net, folder)
    image = worker.random_image(size, batch)
    np.save(folder / "picture.npy", image)
    with torch.no_grad():
        np.save(folder / "expected.npy", net(torch.from_numpy(image)).numpy())
    torch.onnx.export(net, (torch.from_numpy(image),), str(folder / "peer.onnx"), dynamo=False, opset_version=17)


def torch_runner(case, image):
    """PyTorch eager: the engines "torch" and "torch channels-last", on the CPU or, if the case says so, on the GPU."""
    import torch

    torch.set_num_threads(case["threads"])
    device = "cuda" if case.get("gpu") else "cpu"
    if case["precision"] == "bf16" and device == "cpu" and not _has_bf16(torch.cpu):
        raise RuntimeError("this CPU has no instructions for bf16")  # PyTorch would run, a hundred times slower
    net, x = load(torch_network(case["network"]), case["folder"]).to(device), torch.from_numpy(image).to(device)
    if case["engine"] == "torch channels-last":
        net, x = net.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    if case["precision"] == "bf16" and not case.get("gpu"):
        net, x = net.to(torch.bfloat16), x.to(torch.bfloat16)
    last = []

    def run():
        with torch.no_grad(), torch.autocast(device, torch.bfloat16, enabled=case["precision"] == "amp"):
            last[:] = [net(x)]
        if device == "cuda":
            torch.cuda.synchronize()

    return run, lambda: last[0].float().cpu().numpy(), f"torch {torch.__version__}"


def _has_bf16(cpu):
    return cpu._is_avx512_bf16_supported() or cpu._is_amx_tile_supported()


def onnxruntime_runner(case, image):
    """ONNX Runtime on the peer's graph."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = case["threads"]
    options.log_severity_level = 3
    path = str(Path(case["folder"]) / "peer.onnx")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name, last = session.get_inputs()[0].name, []

    def run():
        last[:] = session.run(None, {name: image})

    return run, lambda: last[0], f"onnxruntime {onnxruntime.__version__}"


def openvino_runner(case, image):
    """OpenVINO on the peer's graph."""
    import openvino

    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": case["threads"]}
    settings["INFERENCE_PRECISION_HINT"] = "f32" if case["precision"] == "fp32" else "bf16"
    model = openvino.Core().compile_model(str(Path(case["folder"]) / "peer.onnx"), "CPU", settings)
    request, last = model.create_infer_request(), []

    def run():
        last[:] = [request.infer([image], share_inputs=True)[0]]

    return run, lambda: last[0], f"openvino {openvino.__version__.partition('-')[0]}"


def paddleclas_runner(case, image):
    """paddleclas's network in Paddle eager, with its own random weights."""
    import paddle

    paddle.set_device("gpu" if case.get("gpu") else "cpu")
    if not case.get("gpu"):
        paddle.base.core.set_num_threads(case["threads"])
    net, x, last = paddleclas_network(case["network"]), paddle.to_tensor(image), []
    net.eval()

    def run():
        with paddle.no_grad(), paddle.amp.auto_cast(enable=case["precision"] == "amp", dtype="bfloat16"):
            last[:] = [net(x)]
        if case.get("gpu"):
            paddle.device.cuda.synchronize()

    title = f"paddleclas {worker.versions(['paddleclas'])['paddleclas']}, paddle {paddle.__version__}"
    return run, lambda: last[0].astype("float32").numpy(), title


def paddleclas_network(name):
    """paddleclas's network of a name, with random weights."""
    file, function = _PADDLECLAS[name]
    return getattr(importlib.import_module(f"paddleclas.ppcls.arch.backbone.model_zoo.{file}"), function)()


RUNNERS = {
    "torch": torch_runner,
    "torch channels-last": torch_runner,
    "onnxruntime": onnxruntime_runner,
    "openvino": openvino_runner,
    "paddleclas": paddleclas_runner,
}


def main(arguments):
    """Does one of the things that the module's docstring lists."""
    match arguments:
        case ["--versions"]:
            print(json.dumps(worker.versions(PACKAGES)))
        case ["--make", name, folder, size, batch]:
            make(name, folder, worker.size_of(size), int(batch))
        case ["--serve", text]:
            case = json.loads(text)
            worker.serve(case, RUNNERS[case["engine"]])
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
