"""`densebone features` on a cluster: every worker takes shards of the driver's list."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ..features import FeatureExtractor
from ..features.job import Hands, check_settings, compute_shard
from .hands import answers, crew
from .where import Where
from .worker import Order

#: threads, the path of a copy of the weights -> an extractor
Extractors = Callable[[int, str], FeatureExtractor]


def hands(ray: Any, where: Where, extractors: Extractors, weights: str | Path) -> Hands:
    """What `features.job.extract` takes to compute on a cluster.

    Args:
        ray: of `connecting.connected`.
        where: which cluster, how many workers.
        extractors: opens an extractor on a worker; it is pickled, so it must be importable there.
        weights: the file of weights, which is sent to the workers.
    """
    sent = Path(weights).name, Path(weights).read_bytes()

    def compute(shards: Iterator[tuple[int, list[str]]], folder: Path, settings: dict[str, Any]) -> Iterator[Any]:
        opener = partial(_open, extractors, [ray.put(sent)], settings)
        orders = (Order(f"shard {number}", (number, paths), paths) for number, paths in shards)
        with crew(ray, where, opener, folder) as workers:
            for order, record in answers(workers, orders, folder):
                yield order.what[0], record

    return compute


def _open(extractors, weights, settings, threads, output):
    import ray

    name, content = ray.get(weights[0])
    with TemporaryDirectory(prefix="densebone-") as folder:
        file = Path(folder, name)
        file.write_bytes(content)
        extractor = extractors(threads, str(file))
    check_settings(extractor, settings)

    def compute(what):
        number, paths = what
        return compute_shard(extractor, number, paths, output, settings)

    return compute
