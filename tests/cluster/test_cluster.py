"""Features and predictions on a Ray cluster of processes on this machine: those of one machine, each picture once."""

import json
import os
import threading

import drawn_pictures
import exported
import feature_runs
import fsspec
import numpy as np
import pytest
import web

from densebone.errors import UserError
from densebone.features import load_features
from densebone.scripts import main

pytest.importorskip("ray", reason="needs Ray: pip install densebone[cluster]")
import ray_nodes

from densebone.cluster import connecting, crew
from densebone.cluster.crew import Crew
from densebone.cluster.worker import Order

COUNT, MANY = 60, 1000
BROKEN = "0031.png"


@pytest.fixture(scope="module")
def cluster():
    found = ray_nodes.start()
    yield found
    found.shutdown()


def drawn(folder, count):
    drawn_pictures.draw(folder, count)
    (folder / BROKEN).write_bytes((folder / BROKEN).read_bytes()[:-60])
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return drawn(tmp_path_factory.mktemp("pictures"), COUNT)


@pytest.fixture(scope="module")
def many(tmp_path_factory, weights):
    """More pictures, whose work lasts until a worker of a new machine has begun, and their local features."""
    folder, output = drawn(tmp_path_factory.mktemp("many"), MANY), tmp_path_factory.mktemp("local_many")
    assert main(feature_runs.command(folder, output, weights, "--shard-size", 7)) == 1
    return folder, output


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return feature_runs.write_weights(tmp_path_factory.mktemp("weights") / "w.safetensors")


@pytest.fixture(scope="module")
def local(pictures, weights, tmp_path_factory):
    folder = tmp_path_factory.mktemp("local")
    assert main(feature_runs.command(pictures, folder, weights, "--shard-size", 7)) == 1
    return folder


def read(folder):
    """{picture: vector} of a folder that is complete, and the (name, reason) of what was left out."""
    names, features = load_features(folder)
    assert features.complete and len(set(names)) == len(names)
    assert not [path.name for path in folder.rglob(".*") if path.name != ".lock"]
    skipped = [tuple(json.loads(line).values()) for line in (folder / "skipped.jsonl").read_text().splitlines()]
    return dict(zip(names, np.asarray(features))), skipped


def check_same(folder, other):
    (found, left_out), (wanted, left_out_there) = read(folder), read(other)
    assert found.keys() == wanted.keys() and left_out == left_out_there
    worst = max(abs(found[name] - wanted[name]).max() for name in wanted)
    assert worst <= 1e-5 * np.stack([*wanted.values()]).std()


def files(folder):
    """The content of every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_driver_that_is_killed_goes_on_and_every_vector_is_there_once(
    cluster, pictures, weights, local, tmp_path, capfd
):
    more = ["--shard-size", 7, "--ray", cluster.address]
    arguments = feature_runs.command(pictures, tmp_path / "out", weights, *more)
    done = feature_runs.kill_when(feature_runs.start(arguments), tmp_path / "out", 2)
    assert 2 <= done < 9
    assert main(arguments) == 1
    assert f"{BROKEN}: is truncated or damaged" in capfd.readouterr().out
    check_same(tmp_path / "out", local)


@pytest.mark.parametrize("make", [exported.detector, exported.segmenter])
def test_predictions_are_those_of_one_machine(cluster, pictures, make, tmp_path, monkeypatch):
    make(tmp_path / "model")
    monkeypatch.chdir(pictures.parent)
    given = ["predict", "--model", str(tmp_path / "model"), pictures.name, "--engine", "onnxruntime", "-O"]
    assert main([*given, str(tmp_path / "here")]) == 1
    assert main([*given, str(tmp_path / "there"), "--ray", cluster.address, "--actors", "2"]) == 1
    here, there = files(tmp_path / "here"), files(tmp_path / "there")
    assert len(here) >= COUNT and here == there


@pytest.mark.acceptance
def test_classes_are_those_of_one_machine(cluster, pictures, tmp_path):
    model = exported.mean_network(tmp_path / "model", "classification", ["a", "b", "c"], exported.ONE)
    card = json.loads((model / "model_card.json").read_text())
    (model / "model_card.json").write_text(json.dumps({**card, "input_shape": [-1, 3, 64, 64]}))
    given = ["predict", "--model", str(tmp_path / "model"), str(pictures), "--engine", "onnxruntime", "-O"]
    assert main([*given, str(tmp_path / "here")]) == 1
    assert main([*given, str(tmp_path / "there"), "--ray", cluster.address]) == 1
    here, there = (json.loads((tmp_path / name / "predictions.json").read_text()) for name in ("here", "there"))
    assert [row["file_name"] for row in here] == [row["file_name"] for row in there] and len(here) == COUNT - 1
    scores = [[[top["score"] for top in row["top"]] for row in rows] for rows in (here, there)]
    np.testing.assert_allclose(*scores, atol=1e-6)


@pytest.mark.parametrize("kind", ["memory", pytest.param("server", marks=pytest.mark.acceptance)])
def test_pictures_of_the_drivers_memory_and_of_a_server_into_parquet(
    cluster, pictures, weights, local, kind, tmp_path, capfd
):
    import pyarrow
    from pyarrow import parquet

    memory = fsspec.filesystem("memory")
    names = [f"{number:04d}.png" for number in range(12)]
    for name in names:
        memory.pipe(f"/bucket/{name}", (pictures / name).read_bytes())
    with web.serve() as server:
        there = [server.put(f"/{name}", (pictures / name).read_bytes()) for name in names]
        parquet.write_table(pyarrow.table({"url": there, "size": range(12)}), tmp_path / "list.parquet")
        more = ["--shard-size", 5, "--format", "parquet", "--ray", cluster.address]
        wanted, _ = read(local)
        given = "memory://bucket" if kind == "memory" else tmp_path / "list.parquet"
        assert main(feature_runs.command(given, tmp_path / "out", weights, *more)) == 0
        table = parquet.read_table(tmp_path / "out" / "shards")
        assert table["name"].to_pylist() == names
        vectors = np.array(table["vector"].to_pylist())
        assert abs(vectors - [wanted[name] for name in names]).max() <= 1e-5 * np.std(vectors)
    sent = "does not see memory:///bucket/0000.png; this machine reads such pictures and sends them"
    assert (sent in capfd.readouterr().err) == (kind == "memory")


@pytest.mark.acceptance
def test_a_machine_that_sees_neither_the_pictures_nor_the_output(cluster, many, weights, tmp_path, capfd):
    pictures, local = many
    if not ray_nodes.can_hide():
        pytest.skip("this user may not give a process its own view of the files (unshare -m)")
    import ray

    (tmp_path / "out").mkdir()
    with connecting.connected(cluster.address):
        before = len(connecting.nodes(ray))
    with ray_nodes.without(cluster.address, [pictures, tmp_path / "out"]):
        with connecting.connected(cluster.address):
            ray_nodes.wait_until(lambda: len(connecting.nodes(ray)) > before)
        arguments = feature_runs.command(pictures, tmp_path / "out", weights, "--shard-size", 7)
        assert main([*arguments, "--ray", cluster.address]) == 1
    said = capfd.readouterr().err
    assert f"does not see {pictures}/" in said and "this machine reads such pictures and sends them" in said
    check_same(tmp_path / "out", local)


@pytest.mark.acceptance
def test_a_machine_with_too_little_memory_is_left_out(cluster, many, weights, tmp_path, capfd):
    """Ray's own watch over the memory ends every worker of a machine that may use almost none."""
    pictures, local = many
    little = {"RAY_memory_usage_threshold": "0.01", "RAY_memory_monitor_refresh_ms": "50"}
    with ray_nodes.one_more(cluster, env_vars=little):
        arguments = feature_runs.command(pictures, tmp_path / "out", weights, "--shard-size", 2)
        assert main([*arguments, "--ray", cluster.address]) == 1
    said = capfd.readouterr().err  # of the worker, or of what asks the machine for its version, whichever was first
    died, silent = (
        "died: its memory ran out; others do its work",
        "starts no worker (its memory ran out); it is left out",
    )
    assert died in said or silent in said
    check_same(tmp_path / "out", local)


@pytest.mark.acceptance
@pytest.mark.parametrize("make", [exported.detector, exported.segmenter])
def test_a_thousand_predictions(cluster, make, tmp_path):
    """1,000 pictures, a machine that goes in the middle."""
    make(tmp_path / "model")
    drawn_pictures.draw(tmp_path / "pictures", 1000)
    given = ["predict", "--model", str(tmp_path / "model"), str(tmp_path / "pictures"), "--engine", "onnxruntime", "-O"]
    assert main([*given, str(tmp_path / "here")]) == 0
    with ray_nodes.one_more(cluster) as node:
        part = tmp_path / "there" / "predictions.json.part"

        def lose():
            ray_nodes.wait_until(lambda: part.is_file() and part.read_text().count("\n# [[") > 300, 200)
            cluster.remove_node(node, allow_graceful=False)

        thread = threading.Thread(target=lose)
        thread.start()
        assert main([*given, str(tmp_path / "there"), "--ray", cluster.address]) == 0
        thread.join()
    here, there = files(tmp_path / "here"), files(tmp_path / "there")
    assert len(here) > 1000 and here == there


@pytest.mark.acceptance
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("__version__ = '0.0.1'", "has densebone 0.0.1, and this is "),
        (
            "raise ModuleNotFoundError(\"No module named 'densebone'\")",
            "has no densebone (ModuleNotFoundError: No module",
        ),
    ],
)
def test_a_machine_with_another_version_or_none_is_named(cluster, tmp_path, text, words):
    environment = {**ray_nodes.fake_package(tmp_path, text)}
    with ray_nodes.one_more(cluster, env_vars=environment) as node, connecting.connected(cluster.address) as ray:
        with pytest.raises(UserError) as error:
            Crew(ray, None, tmp_path, "mark")
        assert words in str(error.value) and node.node_ip_address in str(error.value)


def orders(count, paths=()):
    return (Order(f"order {number}", number, paths) for number in range(count))


def run(cluster, tmp_path, function, count=6, paths=()):
    """What a crew returns, whose workers call `function` (number, output folder)."""

    def opener(threads, output):
        return lambda number: function(number, output)

    (tmp_path / "mark").touch()
    with connecting.connected(cluster.address) as ray:
        workers = Crew(ray, opener, tmp_path, "mark", threads=1)
        try:
            return [(order.what, done.answer) for order, done in workers.results(orders(count, paths))]
        finally:
            workers.close()


def test_a_worker_that_dies_loses_nothing(cluster, tmp_path, capfd):
    def work(number, output):
        if number == 3 and not (output / "died").exists():
            (output / "died").touch()
            os._exit(1)
        return number * 10

    assert sorted(run(cluster, tmp_path, work)) == [(number, number * 10) for number in range(6)]
    assert "note: a worker on " in (said := capfd.readouterr().err) and "died: it was killed" in said


def test_modules_in_the_drivers_folder_are_not_imported(cluster, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def places(number, output):
        import os
        import sys

        return [os.path.realpath(place) for place in sys.path if place]

    ((_, found),) = run(cluster, tmp_path, places, 1)
    assert found and str(tmp_path.resolve()) not in found


@pytest.mark.acceptance
def test_an_order_that_ends_every_worker_is_named(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(crew, "LOOK", 0.5)

    def work(number, output):
        if number == 3:
            os._exit(1)
        return number

    with pytest.raises(UserError, match=r"order 3 ended \d workers, .* the first is .*|no worker is left: .* died"):
        run(cluster, tmp_path, work, paths=[__file__])


@pytest.mark.acceptance
def test_a_store_that_refuses_a_while_and_one_that_always_does(cluster, tmp_path, capfd):
    with web.serve() as server:
        page = server.put("/a.png", b"content", status=[503] * 5)
        refused = server.put("/b.png", b"content", status=[403] * 99)

        def work(address):
            def fetched(number, output):
                from densebone.pictures import remote

                remote.PAUSE = 0.01
                return remote.fetch(address).decode()

            return fetched

        assert run(cluster, tmp_path, work(page), 1) == [(0, "content")]
        assert "tried again" in capfd.readouterr().err
        with pytest.raises(UserError, match=r"may not be read .*403.* then the same command goes on"):
            run(cluster, tmp_path, work(refused), 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--ray", "127.0.0.1:1"], "no Ray cluster answers at 127.0.0.1:1 (Connection refused); start one there with"),
        (["--ray=ray://h:10001"], "--ray is ray://h:10001, Ray's protocol for clients; give HOST:PORT"),
        (["--ray=h"], "--ray is 'h'; give HOST:PORT, auto (the cluster of this machine), or local"),
        (["--actors", "2"], "--actors are workers of a cluster; add --ray ADDRESS"),
        (["--ray", "local", "--actors", "0"], "--actors is 0; give 1 or more"),
    ],
)
@pytest.mark.parametrize("command", ["features", "predict"])
def test_what_a_user_gets_wrong(command, arguments, message, pictures, weights, tmp_path, capsys):
    if command == "features":
        given = feature_runs.command(pictures, tmp_path / "out", weights)
    else:
        exported.detector(tmp_path / "model")
        given = ["predict", "--model", str(tmp_path / "model"), str(pictures), "-O", str(tmp_path / "out")]
    assert main([*given, *arguments]) == 2
    assert f"densebone: {message}" in capsys.readouterr().err
    assert not [*(tmp_path / "out").glob("[a-z]*")]


def test_no_cluster_of_this_machine(pictures, weights, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:2")
    assert main([*feature_runs.command(pictures, tmp_path / "out", weights), "--ray"]) == 2
    assert "densebone: no Ray cluster " in capsys.readouterr().err
