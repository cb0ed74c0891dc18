"""How often bf16 and 8 bits agree with float32 on the top-1 class, on generated pictures.

The convolutions have random weights. The classifier is fitted in closed form to tell the generated scenes apart,
because a random classifier would prove nothing: its two best classes of a thousand have almost equal logits, so any
rounding swaps some of them.

On a CPU without bf16 instructions, bf16_emulation.py rounds as they do.
"""

from pathlib import Path

import numpy as np
import worker

CLASSES, FITTED = 100, 6  # scenes, and the pictures of each that the classifier is fitted to
MEAN, STD = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])


def picture(scene, variant, size):
    """A generated picture, normalised as for ImageNet, float32 (1, 3, size, size).

    The scene decides a colour gradient and the flat shapes on it. The variant moves them, changes the brightness and
    adds noise.
    """
    random, change = np.random.default_rng(scene), np.random.default_rng((scene, variant))
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size + change.uniform(-0.04, 0.04, (2, 1, 1))
    corners = random.uniform(0, 1, (3, 3))
    image = corners[0] + (corners[1] - corners[0]) * x[..., None] + (corners[2] - corners[0]) * y[..., None] / 2
    for _ in range(random.integers(2, 9)):
        centre, reach = random.uniform(0, 1, 2), random.uniform(0.05, 0.35, 2)
        across, down = (x - centre[0]) / reach[0], (y - centre[1]) / reach[1]
        inside = across**2 + down**2 < 1 if random.random() < 0.5 else np.maximum(abs(across), abs(down)) < 1
        image[inside] = random.uniform(0, 1, 3)
    image = image * change.uniform(0.85, 1.15) + change.normal(0, 0.03, image.shape)
    image = np.clip(image, 0, 1).astype(np.float32)
    return np.ascontiguousarray(((image - MEAN) / STD).transpose(2, 0, 1)[None])


def fit(features, scenes):
    """Fits a linear classifier of the scenes by ridge regression.

    Args:
        features (array): (pictures, features).
        scenes (array): (pictures,), the class of each picture, 0..CLASSES-1.

    Returns:
        (weight (features, CLASSES), bias (CLASSES,)), float32.
    """
    mean, scale = features.mean(0), features.std(0) + 1e-6
    inputs = ((features - mean) / scale).astype(np.float64)
    targets = np.eye(CLASSES)[scenes] - 1 / CLASSES
    weight = np.linalg.solve(inputs.T @ inputs + 0.1 * len(inputs) * np.eye(inputs.shape[1]), inputs.T @ targets)
    weight = weight / scale[:, None]
    return weight.astype(np.float32), (-mean @ weight).astype(np.float32)


def fitted_network(case):
    """A network with random convolutions and a classifier fitted to the scenes, in eval mode."""
    from paddle import nn

    import densebone as db
    from densebone.engines.opening import open_network
    from densebone.features.networks import build

    name = case["network"]
    if name.startswith("condensenet"):
        from condensenetv2_forms import build as build_condensed

        net = build_condensed(name.rpartition("_")[2])
        net.reset_classifier(CLASSES)
    else:
        net = db.create_model(name, num_classes=CLASSES)
        shapes = {key: tuple(value.shape) for key, value in net.state_dict().items()}
        net.set_state_dict(worker.random_tensors(shapes, "_mean"))
    net.eval()
    numbers = [(scene, variant) for scene in range(CLASSES) for variant in range(FITTED)]
    size, vectors = (case["size"],) * 2, build(net, pooled="penultimate")
    with open_network(vectors, case["engine"], "fp32", case["threads"], size, case["cache"]) as engine:
        found = [engine.run(picture(scene, variant, case["size"]))[0] for scene, variant in numbers]
    weight, bias = fit(np.concatenate(found).reshape(len(found), -1), np.array([scene for scene, _ in numbers]))
    classifier = [layer for layer in net.sublayers() if isinstance(layer, nn.Linear)][-1]
    classifier.weight.set_value(weight)
    classifier.bias.set_value(bias)
    return net


def agreement(case):
    """Compares bf16 and 8 bits with float32 on generated pictures that the classifier was not fitted to.

    Args:
        case (dict): network, size, engine, threads, cache, pictures (how many).

    Returns:
        dict: network, pictures; right, the share that float32 classifies correctly; and for "bf16" and "int8" what
        `compare` returns, or {"failed": why}. "bf16" also has "emulated", whether it was.
    """
    net = fitted_network(case)
    numbers = [(number % CLASSES, FITTED + number // CLASSES) for number in range(case["pictures"])]
    exact, scenes = outputs_of(net, case, "fp32", numbers), np.array([scene for scene, _ in numbers])
    found = {"network": case["network"], "pictures": len(numbers), "right": float((exact.argmax(1) == scenes).mean())}
    for precision in ("bf16", "int8"):
        try:
            found[precision] = compare(exact, outputs_of(net, case, precision, numbers))
        except Exception as error:  # the engines' errors have no common class
            found[precision] = {"failed": str(error).partition("\n")[0]}
    return {**found, "emulated": not has_bf16(case)}


def outputs_of(net, case, precision, numbers):
    """The logits (pictures, CLASSES) of a network for some (scene, variant), in a precision."""
    from densebone.engines.opening import open_network

    size = (case["size"],) * 2
    if precision == "bf16" and not has_bf16(case):
        engine = emulated_bf16(net, case)
    elif precision == "int8":
        engine = open_network(
            net, "openvino", "int8", case["threads"], size, case["cache"], calibration=calibration(case)
        )
    else:
        engine = open_network(net, case["engine"], precision, case["threads"], size, case["cache"])
    with engine:
        return np.concatenate([engine.run(picture(*number, case["size"]))[0] for number in numbers])


def calibration(case):
    """Pictures of the scenes that the classifier was fitted to, for 8 bits."""
    from PIL import Image

    from densebone.engines.opening import Calibration
    from densebone.pictures.preparing import Preprocessing, denormalize

    side = case["size"]
    recipe = Preprocessing(side, side, "bilinear", "pil", "rgb", MEAN.tolist(), STD.tolist())
    folder = Path(case["cache"]) / f"scenes-{side}"
    folder.mkdir(parents=True, exist_ok=True)
    for scene in range(CLASSES):
        file = folder / f"{scene:03}.png"
        if not file.is_file():
            Image.fromarray(denormalize(picture(scene, 0, side)[0], recipe)).save(file)
    return Calibration(folder, recipe, (side, side))


def has_bf16(case):
    """Whether an engine can compute in bf16 on this CPU. Tries it with a network that exports quickly."""
    import densebone as db
    from densebone.engines.opening import open_network
    from densebone.engines.session import NO_BF16
    from densebone.errors import UserError

    tiny = db.create_backbone("hardnet39ds", out_indices=(0,))
    try:
        open_network(tiny, case["engine"], "bf16", case["threads"], cache=False).close()
    except UserError as error:
        if str(error) != NO_BF16:
            raise
        return False
    return True


def emulated_bf16(net, case):
    """The network on ONNX Runtime, computing in float32 and rounding as bf16 does."""
    from bf16_emulation import round_graph

    from densebone.deploy.export import export_network
    from densebone.engines.session import open_session

    folder = Path(case["cache"]) / "emulated"
    export_network(net, folder, formats=("onnx",), input_size=(case["size"],) * 2, batch=1)
    rounded = folder.with_suffix(".onnx")
    round_graph(folder / "model.onnx", rounded)
    return open_session("onnxruntime", rounded, threads=case["threads"])


def compare(exact, rounded):
    """Compares two sets of logits, (pictures, CLASSES): computed in float32, and in another precision.

    Returns:
        dict: "agreement", the share with the same top-1 class in both; "difference", the root mean square of the
        logits' differences, divided by the standard deviation of the float32 logits.
    """
    return {
        "agreement": float((exact.argmax(1) == rounded.argmax(1)).mean()),
        "difference": float(np.sqrt(((exact - rounded) ** 2).mean()) / exact.std()),
    }
