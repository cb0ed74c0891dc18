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
    rows = [
        ("parameters", f"{parameters:,} with 1000 classes"),
        ("maps at strides", " ".join(map(str, net.strides)) + "   (out_indices 0..4; return_idx is one less)"),
        ("their channels", " ".join(map(str, net.channels))),
        *((f.name.replace("_", " "), getattr(variant, f.name)) for f in dataclasses.fields(variant)),
    ]
    print(name)
    print("\n".join(f"  {label:20} {value}" for label, value in rows))
    return 0
