"""Networks for the contracts: every name of the registry, of which most runs take one for each family."""

import paddle
import pytest

import densebone as db

#: one small network of each family, and the one with six stages
SAMPLE = ("hardnet39ds", "hardnet70", "peleenet", "condensenetv2_a")
CLASSIFIERS = tuple(name for name in db.list_models() if db.model_info(name)["task"] == "classification")
WHOLE = tuple(name for name in db.list_models() if name not in CLASSIFIERS)


def marked(names):
    """The names as parameters; those that are not in the sample wait for `-m acceptance`."""
    return [name if name in SAMPLE else pytest.param(name, marks=pytest.mark.acceptance) for name in names]


@pytest.fixture(params=marked(CLASSIFIERS))
def name(request):
    """The name of a classifier and backbone."""
    return request.param


@pytest.fixture
def images():
    """Two pictures of 64 x 64, or of the size that is asked for."""

    def draw(height=64, width=None, channels=3, count=2):
        paddle.seed(5)
        return paddle.randn([count, channels, height, width or height])

    return draw
