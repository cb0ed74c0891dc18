"""Feature maps and vectors of pictures: a few in memory with `FeatureExtractor`, millions in files with `job.extract`.

`load_features` reads such files. Imports engines, registry, backbones, weights, pictures, system and errors.
"""

from .extractor import FeatureExtractor
from .shards import load_features

__all__ = ["FeatureExtractor", "load_features"]
