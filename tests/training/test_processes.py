"""What processes do together, in two of them."""

import subprocess
import sys

import numpy as np
import paddle

from densebone.training import processes

# Gradients of two types in turn, one of no parameter, and one that is as large as the process's number.
SCRIPT = """
import sys
import numpy as np
import paddle
from densebone.training import processes

processes.start()
rank = paddle.distributed.get_rank()
parameters = [paddle.create_parameter([2, 3], dtype) for dtype in ("float32", "float64") * 2 + ("float32",)]
loss = sum((parameter * (number + rank)).sum().astype("float64") for number, parameter in enumerate(parameters[:4]))
loss.backward()
processes.average_gradients(parameters)
found = {str(number): parameter.grad.numpy() for number, parameter in enumerate(parameters[:4])}
assert parameters[4].grad is None
np.savez(f"{sys.argv[1]}/{rank}.npz", seed=processes.agree(None), given=processes.agree(rank), **found)
"""


def test_gradients_of_several_types_are_averaged_each_in_its_own(tmp_path):
    (tmp_path / "average.py").write_text(SCRIPT)
    launch = [sys.executable, "-m", "paddle.distributed.launch", "--nproc_per_node", "2", "--log_dir", tmp_path / "log"]
    done = subprocess.run([*launch, tmp_path / "average.py", tmp_path], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    first, second = (np.load(tmp_path / f"{rank}.npz") for rank in (0, 1))
    for number, dtype in enumerate(("float32", "float64") * 2):
        for one in (first, second):
            assert one[str(number)].dtype == dtype
            np.testing.assert_array_equal(one[str(number)], np.full((2, 3), number + 0.5))
    assert first["seed"] == second["seed"] and first["given"] == second["given"] == 0


def test_a_single_process_keeps_its_gradients():
    parameter = paddle.create_parameter([2], "float32")
    (parameter * 3).sum().backward()
    processes.average_gradients([parameter])
    assert parameter.grad.tolist() == [3, 3]
