"""What both adapters share: the names of the backbones, and how a toolkit's class becomes a network of the registry."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..backbones.base import Network
from ..registry import find_model, load_pretrained

#: the names of the backbones in either toolkit
BACKBONES = (
    "CondenseNetV2A",
    "CondenseNetV2B",
    "CondenseNetV2C",
    "HarDNet39DS",
    "HarDNet68",
    "HarDNet68DS",
    "HarDNet70",
    "HarDNet85",
    "PeleeNet",
)
#: what `pretrained` of a component may be; see `registry.create_model`
Pretrained = bool | str | Path | Mapping[str, Any] | None


class ToolkitBackbone(Network):
    """Base of the toolkits' backbone classes. A subclass also inherits from the class of its network.

    `model` is the network's name in the registry.
    """

    def _build_network(self, pretrained, **options):
        """Builds the network that `model` names, with these options, and loads its weights.

        Both toolkits feed RGB images, so weights of BGR images are reversed.
        """
        network, variant = find_model(self.model)
        network.__init__(self, variant, **options)
        load_pretrained(self, self.model, pretrained, adapt_input="rgb")
