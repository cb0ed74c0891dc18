"""Feature maps and vectors of pictures: of a few in memory, of millions in files.

`FeatureExtractor` and `load_features` are the face. Imports engines, registry, backbones, weights, pictures, system and
errors.
"""

from .extractor import FeatureExtractor
from .shards import load_features

__all__ = ["FeatureExtractor", "load_features"]
