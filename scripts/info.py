"""Channels, strides and parameters of a model.

densebone info hardnet68
"""

import dataclasses
from collections.abc import Sequence

from . import options


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    parser = options.plain_parser("info", __doc__)
    parser.add_argument("model", help="a name of densebone list")
    name = parser.parse_args(argv).model
    from ..registry import find_row, model_facts

    row, facts = find_row(name), model_facts(name)
    last = len(facts["channels"]) - 1
    use = "all go to the decoder" if row.is_whole else f"out_indices 0..{last}; return_idx is one less"
    fields = {f.name: getattr(row.variant, f.name) for f in dataclasses.fields(row.variant)}
    rows = [
        ("parameters", f"{facts['parameters']:,} with {facts['classes']} classes"),
        ("maps at strides", " ".join(map(str, facts["strides"])) + f"   ({use})"),
        ("their channels", " ".join(map(str, facts["channels"]))),
        *((key.replace("_", " "), _name(value)) for key, value in fields.items()),
    ]
    print(name)
    print("\n".join(f"  {label:20} {value}" for label, value in rows))
    return 0


def _name(value):
    """A variant within a variant by its name in the registry; anything else as it is."""
    from ..registry import MODELS

    return next((name for name, row in MODELS.items() if row.variant is value), value)
