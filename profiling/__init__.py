"""What networks cost: parameters, multiply-adds, CIO and MoC, layer by layer; tables and plots.

Imports registry, backbones, weights, pictures, system and errors.
"""

from .costs import BALANCE, PRECISIONS, LayerCost, Profile, check_size, count_parameters, profile, profile_all

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
