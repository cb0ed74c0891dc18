"""The GPUs of this machine, and whether the installed Paddle can compute on them."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .fatbins import Code, code_in

#: what to read when a card and Paddle do not fit
PAGE = "docs/gpu.md"
_QUERY = "name,compute_cap,memory.total,driver_version"


@dataclass(frozen=True)
class Gpu:
    """A GPU.

    Attributes:
        name: as its maker calls it.
        capability: its compute capability, such as (9, 0).
        memory: bytes.
    """

    name: str
    capability: tuple[int, int]
    memory: int

    def __str__(self) -> str:
        return f"{self.name}, compute capability {_dotted(self.capability)}, {self.memory / 2**30:.0f} GiB"


@dataclass(frozen=True)
class Survey:
    """What is known of GPUs and Paddle.

    Attributes:
        driver: the version of NVIDIA's driver; None where nvidia-smi does not answer.
        present: the GPUs of the driver.
        seen: the GPUs that Paddle sees.
        cuda, cudnn: the versions that Paddle was built with; None for a CPU build.
        code: for which GPUs Paddle holds code; empty where that cannot be told.
    """

    driver: str | None
    present: tuple[Gpu, ...]
    seen: tuple[Gpu, ...]
    cuda: str | None
    cudnn: str | None
    code: Code

    def fits(self, gpu: Gpu) -> bool | None:
        """Whether Paddle holds code that the GPU runs; None where that cannot be told."""
        if self.cuda is None:
            return False
        return self.code.runs_on(gpu.capability) if any(self.code) else None

    def describe(self) -> list[str]:
        """All of it in lines."""
        lines = []
        for number, gpu in enumerate(self.seen or self.present):
            lines.append(f"GPU {number}: {gpu}{self._fit(gpu)}")
        if self.cuda is None:
            none = "none is used, because this Paddle is a CPU build" if lines else "none; this Paddle is a CPU build"
            return [*lines, f"GPUs: {none} ({PAGE})"]
        held = f"code for compute capability {' '.join(map(_dotted, self.code.binary)) or 'unknown'}"
        if self.code.portable:
            held += f", and to compile from {' '.join(map(_dotted, self.code.portable))} on"
        lines.append(f"GPU build of Paddle: CUDA {self.cuda}, cuDNN {self.cudnn}, {held}; driver {self.driver or '?'}")
        if not self.seen:
            lines.append(f"GPUs: Paddle sees none{self._blindness()}")
        return lines

    def _fit(self, gpu):
        if self.cuda is None:
            return ""
        words = {None: "whether it fits is unknown", True: "fits"}
        return f": {words.get(self.fits(gpu), f'does NOT fit, Paddle holds no code for it; see {PAGE}')}"

    def _blindness(self):
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        if not self.present:
            return ", and nvidia-smi names none"
        if visible is not None:
            return f", because CUDA_VISIBLE_DEVICES is {visible!r}"
        return f"; the driver {self.driver} may be too old for CUDA {self.cuda}"

    def facts(self) -> dict[str, Any]:
        """All of it for JSON."""
        return {
            "driver": self.driver,
            "cuda": self.cuda,
            "cudnn": self.cudnn,
            "code_for": [_dotted(one) for one in self.code.binary],
            "compiles_from": [_dotted(one) for one in self.code.portable],
            "present": [self._facts_of(gpu) for gpu in self.present],
            "seen_by_paddle": [self._facts_of(gpu) for gpu in self.seen],
        }

    def _facts_of(self, gpu):
        return {
            "name": gpu.name,
            "compute_capability": _dotted(gpu.capability),
            "memory_bytes": gpu.memory,
            "fits": self.fits(gpu),
        }


def survey() -> Survey:
    """Asks NVIDIA's driver and Paddle. Imports Paddle."""
    driver, present = _of_driver()
    return Survey(driver, present, *_of_paddle())


def _of_driver() -> tuple[str | None, tuple[Gpu, ...]]:
    """(version of the driver, its GPUs), by nvidia-smi."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None, ()
    command = [program, f"--query-gpu={_QUERY}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        rows = [[part.strip() for part in line.split(",")] for line in done.stdout.splitlines()]
        gpus = tuple(Gpu(name, _pair(capability), int(mib) << 20) for name, capability, mib, _ in rows)
    except (OSError, ValueError, subprocess.TimeoutExpired):  # an old driver does not know compute_cap
        return None, ()
    return (rows[0][3], gpus) if gpus and done.returncode == 0 else (None, ())


def _of_paddle() -> tuple[tuple[Gpu, ...], str | None, str | None, Code]:
    """(the GPUs that Paddle sees, its CUDA, its cuDNN, the code that it holds)."""
    import paddle

    if not paddle.is_compiled_with_cuda():
        return (), None, None, Code()
    found = [paddle.device.cuda.get_device_properties(n) for n in range(paddle.device.cuda.device_count())]
    seen = tuple(Gpu(one.name, (one.major, one.minor), int(one.total_memory)) for one in found)
    code = code_in(_libraries())
    if not any(code) and hasattr(paddle.version, "cuda_archs"):  # Paddle 3
        code = Code(tuple(sorted(divmod(int(one), 10) for one in paddle.version.cuda_archs())))
    return seen, paddle.version.cuda(), paddle.version.cudnn(), code


def _libraries() -> Iterable[Path]:
    """Paddle's own libraries with kernels."""
    spec = importlib.util.find_spec("paddle")
    for folder in spec.submodule_search_locations or () if spec else ():
        for pattern in ("base/libpaddle*.so", "libs/libphi*.so"):
            yield from sorted(Path(folder).glob(pattern))


def _pair(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return int(major), int(minor)


def _dotted(capability: tuple[int, int]) -> str:
    return f"{capability[0]}.{capability[1]}"
