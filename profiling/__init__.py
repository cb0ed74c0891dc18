"""What networks cost, layer by layer: parameters, multiply-adds, CIO and MoC; as tables and plots.

Imports registry, backbones, weights, pictures, system and errors.
"""

from .costs import BALANCE, PRECISIONS, check_size, count_parameters, profile, profile_all
from .results import LayerCost, Profile

__all__ = [
    "BALANCE",
    "PRECISIONS",
    "LayerCost",
    "Profile",
    "check_size",
    "count_parameters",
    "profile",
    "profile_all",
]
