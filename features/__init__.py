"""Feature maps and vectors of pictures: for a few in memory, and for millions in files."""

from .extractor import FeatureExtractor
from .shards import load_features

__all__ = ["FeatureExtractor", "load_features"]
