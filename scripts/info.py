"""Channels, strides and parameters of a model.

densebone info hardnet68
"""

import argparse
import dataclasses


def main(argv=None):
    """Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="densebone info", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="a name of densebone list")
    name = parser.parse_args(argv).model
    from ..registry import create_model, find_model

    _, variant = find_model(name)
    net = create_model(name)
    parameters = sum(p.size for p in net.parameters() if not p.stop_gradient)
    whole = hasattr(net, "backbone")  # a segmentation network; what stands in it is a backbone of its own
    backbone = net.backbone if whole else net
    last = len(backbone.channels) - 1
    use = "all go to the decoder" if whole else f"out_indices 0..{last}; return_idx is one less"
    fields = {f.name: getattr(variant, f.name) for f in dataclasses.fields(variant)}
    rows = [
        ("parameters", f"{parameters:,} with {net.published_classes} classes"),
        ("maps at strides", " ".join(map(str, backbone.strides)) + f"   ({use})"),
        ("their channels", " ".join(map(str, backbone.channels))),
        *((key.replace("_", " "), _name(value)) for key, value in fields.items()),
    ]
    print(name)
    print("\n".join(f"  {label:20} {value}" for label, value in rows))
    return 0


def _name(value):
    """A variant within a variant by its name in the registry; anything else as it is."""
    from ..registry import MODELS

    return next((name for name, (_, variant) in MODELS.items() if variant is value), value)
