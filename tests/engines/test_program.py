"""Paddle's inference programs are written and run."""

import numpy as np
import pytest
from on_engines import assert_equal, eager

from densebone.engines import agreement
from densebone.engines.program import open_program, run, save_program


@pytest.fixture(scope="module")
def folder(network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("program")
    save_program(network, folder, (-1, 3, -1, -1))
    return folder


def test_a_program_runs_any_number_of_times(folder, network):
    compute = open_program(folder)
    for shape in ((1, 3, 64, 64), (2, 3, 32, 96)):
        images = agreement.random_images(shape)
        assert_equal(eager(network, images), compute(images))


def test_inputs_by_name_and_names_that_it_does_not_ask_for(folder, network):
    images = agreement.random_images((1, 3, 64, 64))
    assert_equal(eager(network, images), run(folder, {"x": images, "scale_factor": np.ones((1, 2), "float32")}))
