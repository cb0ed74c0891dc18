"""How often bf16 and float32 agree on the top-1 class: HarDNet-68 on generated pictures.

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
    """HarDNet-68 with random convolutions and a classifier fitted to the scenes, in eval mode."""
    import densebone as db
    from densebone.engines.opening import open_network

    net = db.create_model("hardnet68", num_classes=CLASSES)
    random = worker.random_tensors({name: tuple(value.shape) for name, value in net.state_dict().items()}, "_mean")
    net.set_state_dict(random)
    net.eval()
    backbone = db.create_backbone("hardnet68", out_indices=(4,))
    backbone.set_state_dict({name: value for name, value in net.state_dict().items() if name in backbone.state_dict()})
    numbers = [(scene, variant) for scene in range(CLASSES) for variant in range(FITTED)]
    size = (case["size"],) * 2
    with open_network(backbone, case["engine"], "fp32", case["threads"], size, case["cache"]) as engine:
        maps = [engine.run(picture(scene, variant, case["size"]))[0] for scene, variant in numbers]
    features = np.concatenate(maps).mean((2, 3))
    weight, bias = fit(features, np.array([scene for scene, _ in numbers]))
    classifier = net.base[-1][-1]
    classifier.weight.set_value(weight)
    classifier.bias.set_value(bias)
    return net


def agreement(case):
    """Compares bf16 with float32 on generated pictures that the classifier was not fitted to.

    Args:
        case (dict): size, engine, threads, cache, pictures (how many).

    Returns:
        dict: what `compare` returns and "emulated", whether bf16 was emulated; or {"failed": why}.
    """
    from densebone.engines.opening import open_network
    from densebone.errors import UserError

    size, outputs = (case["size"],) * 2, {}
    numbers = [(number % CLASSES, FITTED + number // CLASSES) for number in range(case["pictures"])]
    try:
        emulated = not has_bf16(case)
        net = fitted_network(case)
        for precision in ("bf16", "fp32"):
            if emulated and precision == "bf16":
                engine = emulated_bf16(net, case)
            else:
                engine = open_network(net, case["engine"], precision, case["threads"], size, case["cache"])
            with engine:
                found = [engine.run(picture(*number, case["size"]))[0] for number in numbers]
            outputs[precision] = np.concatenate(found)
    except (UserError, RuntimeError) as error:
        return {"failed": str(error).partition("\n")[0]}
    found = compare(outputs["fp32"], outputs["bf16"], np.array([scene for scene, _ in numbers]))
    return {**found, "emulated": emulated}


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


def compare(exact, rounded, scenes):
    """Compares two sets of logits.

    Args:
        exact (array): (pictures, CLASSES), computed in float32.
        rounded (array): the same in bf16.
        scenes (array): (pictures,), the right classes.

    Returns:
        dict: "pictures", their number; "agreement", the share with the same top-1 class in both; "right", the share
        that float32 classifies correctly; "difference", the root mean square of the logits' differences, divided by the
        standard deviation of the float32 logits.
    """
    top = exact.argmax(1)
    return {
        "pictures": len(top),
        "agreement": float((top == rounded.argmax(1)).mean()),
        "right": float((top == scenes).mean()),
        "difference": float(np.sqrt(((exact - rounded) ** 2).mean()) / exact.std()),
    }
