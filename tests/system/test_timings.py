"""--timings: stages are counted over threads, and cost nothing while nobody asks."""

import time
from concurrent.futures import ThreadPoolExecutor

from densebone.system import timings


def work(_):
    with timings.stage("sleep"):
        time.sleep(0.01)


def test_stages_are_counted_over_threads():
    work(0)  # before the start: not counted
    timings.begin()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(8)))
    with timings.stage("nothing"):
        pass
    header, *rows, last = timings.end(4)
    assert header.split() == ["stage", "ms", "a", "picture", "share", "calls"]
    (name, ms, share, calls), (other, *_) = (row.split() for row in rows)
    assert (name, calls, other) == ("sleep", "8", "nothing")
    assert float(ms) >= 20 and int(share.rstrip("%")) > 90  # 80 ms of work for 4 pictures
    assert last.startswith("from start to end") and "4 pictures" in last
    assert timings.stage("a") is timings.stage("b")  # off again


def test_a_stage_that_fails_counts():
    timings.begin()
    try:
        with timings.stage("bad"):
            raise ValueError
    except ValueError:
        pass
    assert timings.end(0)[1].split()[0] == "bad"
