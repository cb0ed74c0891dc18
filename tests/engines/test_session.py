"""One engine: what it refuses, what it compiles for, and how it ends."""

import ctypes
from pathlib import Path

import numpy as np
import paddle
import pytest
from on_engines import INSTALLED, assert_equal, eager, needs_openvino

from densebone.engines import agreement, opening, session
from densebone.errors import UserError
from densebone.system.processors import available_cpus


@pytest.mark.parametrize(
    "images, message",
    [
        (np.zeros((1, 3, 64, 64), "uint8"), r"images are uint8 of shape \[1, 3, 64, 64\]; give float32 \(N, C, H, W\)"),
        (np.zeros((3, 64, 64), "float32"), r"images are float32 of shape \[3, 64, 64\]"),
        (np.zeros((1, 1, 64, 64), "float32"), r"shape \[1, 1, 64, 64\]; this model takes \(N, 3, H, W\)"),
        (np.zeros((1, 3, 64, 16), "float32"), r"with sides of 32 pixels or more"),
        (np.zeros((0, 3, 64, 64), "float32"), r"images have shape \[0, 3, 64, 64\]"),
    ],
)
@pytest.mark.parametrize("name", INSTALLED)
def test_images_that_it_does_not_take(name, network, cache, images, message):
    with opening.open_network(network, name, cache=cache) as engine, pytest.raises(UserError, match=message):
        engine.run(images)


@pytest.mark.parametrize("name", INSTALLED)
def test_a_closed_engine_says_so(name, network, cache):
    engine = opening.open_network(network, name, cache=cache)
    engine.close()
    with pytest.raises(RuntimeError, match="closed"):
        engine.run(agreement.random_images((1, 3, 64, 64)))


@needs_openvino
def test_openvino_compiles_for_sizes_that_come_often_and_forgets_them(network, cache):
    with opening.open_network(network, "openvino", cache=cache, input_size=(32, 48)) as engine:
        sides = [32 + 8 * number for number in range(session.KEPT + 2)]
        for side in sides:
            images = agreement.random_images((1, 3, side, 48))
            for _ in range(session.PATIENCE + 2):
                found = engine.run(images)
            assert_equal(eager(network, images), found)
        assert [shape[2] for shape in engine._by_shape] == sides[-session.KEPT :]


def test_an_engine_in_the_place_of_a_network(network, cache):
    images = agreement.random_images((2, 3, 64, 64))
    layer = opening.EngineLayer(opening.open_network(network, "paddle", cache=cache))
    (found,) = layer(paddle.to_tensor(images))
    assert_equal(eager(network, images), [found.numpy()])


@pytest.mark.parametrize("name", ["paddle", "eager"])
def test_an_engine_leaves_the_threads_of_paddle_as_they_were(name, network, cache):
    libraries = list((Path(paddle.__file__).parent / "libs").glob("libmklml_intel.*"))
    if not libraries:
        pytest.skip("this build of Paddle multiplies matrices without MKL, which alone says its number of threads")
    mkl = ctypes.CDLL(str(libraries[0]))
    before = mkl.MKL_Get_Max_Threads()
    seen = []
    hook = network.register_forward_pre_hook(lambda *_: seen.append(mkl.MKL_Get_Max_Threads()))
    if name == "paddle":
        engine = opening.open_network(network, name, cache=cache, threads=2)
    else:
        engine = session.Eager(network, threads=2)
    with engine:
        engine.run(agreement.random_images((1, 3, 64, 64)))
        assert mkl.MKL_Get_Max_Threads() == before
    hook.remove()
    if name == "eager" and available_cpus() > 1:
        assert seen == [2]
