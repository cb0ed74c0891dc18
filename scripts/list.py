"""List the models and the configurations that ship.

densebone list 'hardnet*'
"""

import fnmatch
from collections.abc import Sequence

from . import options


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    parser = options.plain_parser("list", __doc__)
    parser.add_argument("pattern", nargs="?", default="*", help="shell pattern; default *")
    pattern = parser.parse_args(argv).pattern
    from ..registry import list_models

    models = list_models(pattern)
    configs = {n: p for n, p in options.shipped_configs().items() if fnmatch.fnmatch(n, pattern)}
    for title, rows in (("models", models), ("configurations (densebone train -c NAME)", configs)):
        if rows:
            print(f"{title}:\n" + "\n".join(f"  {row}" for row in rows))
    if not models and not configs:
        print(f"nothing matches {pattern!r}")
    return 0
