"""How far two outputs differ."""

import numpy as np
import pytest

from densebone.engines import agreement


class TestOutputs:
    """`check_outputs` on values that are computed by hand."""

    def test_difference_over_the_standard_deviation(self):
        want = np.array([0.0, 2.0], "float32")  # standard deviation 1
        assert agreement.check_outputs([want], [want + np.float32(0.25)], 0.5) == pytest.approx(0.25)
        one = want.copy()
        one[0] += 0.5
        assert agreement.check_outputs([want], [one], 0.5, mean=True) == pytest.approx(0.5 / 2**0.5)
        with pytest.raises(RuntimeError, match=r"output 0 differs from Paddle's by 2\.5e-01"):
            agreement.check_outputs([want], [want + np.float32(0.25)], 0.2)

    def test_constants_and_what_is_not_finite(self):
        ones = np.ones(4, "float32")
        assert agreement.check_outputs([ones], [ones + np.float32(5e-7)], 1e-4) < 1e-4
        with pytest.raises(RuntimeError, match="differs from Paddle's by nan"):
            agreement.check_outputs([ones], [ones * np.float32("nan")], 1e-4)
        with pytest.raises(RuntimeError, match="returns"):
            agreement.check_outputs([ones], [ones, ones], 1e-4)

    def test_classes(self):
        want = np.arange(2000, dtype="int32")
        have = want.copy()
        have[0] = 7
        assert agreement.check_outputs([want], [have], 1e-4) == pytest.approx(1 / 2000)
        have[:4] = 9
        with pytest.raises(RuntimeError, match=r"differs from Paddle's in 0\.20% of its values"):
            agreement.check_outputs([want], [have], 1e-4)
