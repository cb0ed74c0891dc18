"""Writes backbones/facts.yml, which tells the registry about its models without building them.

python tests/helpers/write_facts.py
"""

import zlib  # noqa: F401  (before Paddle, as in densebone/__init__.py)
from pathlib import Path

import yaml

from densebone import registry


def measure(name):
    """The facts of a model, read from the built network."""
    net = registry.create_model(name)
    backbone = getattr(net, "backbone", net)
    return {
        "parameters": sum(p.size for p in net.parameters() if not p.stop_gradient),
        "classes": net.published_classes,
        "channels": list(backbone.channels),
        "strides": list(backbone.strides),
    }


if __name__ == "__main__":
    file = Path(registry.__file__).parent / "backbones" / "facts.yml"
    rows = [f"{name}: {yaml.safe_dump(measure(name), default_flow_style=True, width=1000)}" for name in registry.MODELS]
    file.write_text("# Read off the built networks by tests/helpers/write_facts.py; a test compares.\n" + "".join(rows))
