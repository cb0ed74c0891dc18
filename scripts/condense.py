"""Turn the weights of a CondenseNetV2 that was trained in the learned form into the small and fast condensed form.

densebone condense learned.safetensors condensed.safetensors

Reads every file that `pretrained=` reads, also the checkpoint of a whole detector. Other tensors stay as they are.
"""

from collections.abc import Sequence
from pathlib import Path

from ..errors import UserError
from . import options


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    parser = options.plain_parser("condense", __doc__)
    parser.add_argument("source", metavar="IN", help="a file of weights")
    parser.add_argument("target", metavar="OUT", type=Path, help="a .safetensors file, to be written")
    arguments = parser.parse_args(argv)
    target = arguments.target
    if target.suffix != ".safetensors":
        raise UserError(f"{target} would be written as safetensors; give it the ending .safetensors")
    from safetensors.numpy import save_file

    from ..backbones.condensing import condense_arrays
    from ..system.files import atomic_path, check_writable
    from ..weights.array_conversion import integer_indices
    from ..weights.layouts import one_framework
    from ..weights.reader import read_arrays

    _, learned = one_framework(read_arrays(arguments.source))
    learned = integer_indices(learned)
    try:
        condensed = condense_arrays(learned)
    except UserError as error:
        raise UserError(f"{arguments.source}: {error}") from None
    check_writable(target.parent)
    with atomic_path(target) as temporary:
        save_file({key: value.copy(order="C") for key, value in condensed.items()}, temporary)
    count = sum(key.endswith("._mask") for key in learned)
    sizes = [sum(v.nbytes for v in arrays.values()) / 1e6 for arrays in (learned, condensed)]
    print(f"wrote {target}: {count} convolutions condensed, {sizes[0]:.1f} MB -> {sizes[1]:.1f} MB")
    return 0
