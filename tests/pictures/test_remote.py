"""Pictures at addresses: found, read once, and told from stores that refuse."""

import pickle
from pathlib import Path

import drawn_pictures
import exported
import numpy as np
import pytest
import web

from densebone.errors import UserError
from densebone.features import listing
from densebone.pictures import finding, reading, remote
from densebone.scripts import main

fsspec = pytest.importorskip("fsspec", reason="needs fsspec: pip install densebone[addresses]")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return drawn_pictures.draw(tmp_path_factory.mktemp("pictures"), 4)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(remote, "PAUSE", 0.01)
    with web.serve() as found:
        yield found


@pytest.fixture
def memory(pictures):
    system = fsspec.filesystem("memory")
    for place, name in (("/box/a", "0000.png"), ("/box/a/b", "0001.png"), ("/box/.hidden", "0002.png")):
        system.pipe(f"{place}/{name}", (pictures / name).read_bytes())
    system.pipe("/box/a/._0003.png", b"of macOS")
    system.pipe("/box/a/notes.md", b"text")
    yield system
    system.rm("/box", recursive=True)


def test_folders_and_patterns(memory):
    whole = ["memory:///box/a/0000.png", "memory:///box/a/b/0001.png"]
    assert sorted(listing.iterate(["memory://box"])) == whole
    assert [str(path) for path in finding.find_images("memory://box")] == whole
    assert [str(path) for path in finding.find_images("memory://box/a/*.png")] == whole[:1]
    for given in ("memory://box/none", "memory://none"):
        with pytest.raises(UserError, match="does not exist; give the address of a picture, a folder"):
            list(listing.iterate([given]))


def test_an_address_is_a_path_that_keeps_its_text():
    path = remote.path_of("s3://bucket//a/x.jpg?version=2")
    assert str(path) == "s3://bucket//a/x.jpg?version=2" and path.suffix == ".jpg" and isinstance(path, Path)
    assert pickle.loads(pickle.dumps(path)) == path and hash(path) == hash(remote.path_of(str(path)))
    assert path != remote.path_of("s3://bucket/a/x.jpg?version=2") and path.resolve() is path
    assert remote.path_of("file:///a/x.jpg") == Path("/a/x.jpg") and remote.path_of("a.jpg") == Path("a.jpg")


def test_names_below_addresses_stay_in_the_output(tmp_path):
    given = ["http://h/../../a.jpg", "http://h/a.jpg?1", "s3://../b.jpg"]
    places = finding.output_names([remote.path_of(one) for one in given], tmp_path)
    assert len(set(places)) == 3 and all(tmp_path in place.parents and ".." not in place.parts for place in places)


@pytest.mark.parametrize("kind", ["txt", "parquet"])
def test_lists_of_paths_and_addresses(kind, pictures, server, tmp_path):
    there = server.put("/0001.png", (pictures / "0001.png").read_bytes())
    (tmp_path / "0000.png").write_bytes((pictures / "0000.png").read_bytes())
    names = ["0000.png", there]
    if kind == "txt":
        (tmp_path / "list.txt").write_text("\n".join(names))
    else:
        import pyarrow
        from pyarrow import parquet

        parquet.write_table(pyarrow.table({"label": ["x", "y"], "url": names}), tmp_path / "list.parquet")
    found = finding.find_images(tmp_path / f"list.{kind}")
    assert [str(path) for path in found] == [str(tmp_path / "0000.png"), there]
    assert list(listing.iterate([tmp_path / f"list.{kind}"])) == [str(path) for path in found]
    for path in found:
        assert np.array_equal(reading.read_image(path), reading.read_image(pictures / path.name))


def test_parquet_without_paths_is_refused(tmp_path):
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({"label": ["x"], "note": ["y"], "size": [1]}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match="has no column of paths; it has label, note, size"):
        finding.find_images(tmp_path / "a.parquet")
    (tmp_path / "b.parquet").write_bytes(b"no table")
    with pytest.raises(UserError, match="cannot be read as Parquet"):
        list(listing.iterate([tmp_path / "b.parquet"]))


def test_a_picture_is_fetched_once(pictures, server):
    address = server.put("/a.png", (pictures / "0000.png").read_bytes())
    with reading.turn_of(address):
        picture = reading.read_image(address)
    assert np.array_equal(picture, reading.read_image(pictures / "0000.png"))
    assert [path for path, _ in server.gets] == ["/a.png"]


@pytest.mark.parametrize(
    ("status", "error", "message", "gets"),
    [
        ([403] * 9, remote.Unreachable, "may not be read .*403.*give this machine the right", 1),
        ([503] * 9, remote.Unreachable, "cannot be reached .*503.*look at the network", 4),
        ([404] * 9, UserError, "does not exist; give a picture file", 1),
        ([503, 429], None, "", 3),
    ],
)
def test_stores_that_refuse(status, error, message, gets, pictures, server):
    address = server.put("/a.png", (pictures / "0000.png").read_bytes(), status=status)
    if error is None:
        assert reading.read_picture(address).size == (64, 64)
    else:
        with pytest.raises(error, match=message) as raised:
            reading.read_picture(address)
        assert type(raised.value) is error
    assert len(server.gets) == gets


def test_a_store_that_sends_nothing(pictures, server, monkeypatch):
    monkeypatch.setattr(remote, "READ", 0.2)
    fsspec.get_filesystem_class("http").clear_instance_cache()
    address = server.put("/a.png", bytes(200_000), pause=1)
    with pytest.raises(remote.Unreachable, match="did not come in time, 4 times"):
        reading.read_picture(address)


def test_what_is_missing_is_named():
    with pytest.raises(remote.Unreachable, match=r"nowhere://a.jpg cannot be opened \(Protocol not known: nowhere\)"):
        reading.read_picture("nowhere://a.jpg")


def test_predicting_at_addresses_leaves_no_picture_out_for_the_store(pictures, server, tmp_path, capsys):
    exported.detector(tmp_path / "model")
    good = [server.put(f"/p/{name}.png", (pictures / f"000{name}.png").read_bytes()) for name in range(3)]
    given = ["predict", "--model", str(tmp_path / "model"), "--engine", "onnxruntime", "-O", str(tmp_path / "out")]
    refused = server.put("/p/3.png", (pictures / "0003.png").read_bytes(), status=[403] * 2)
    assert main([*given, *good, refused]) == 2
    assert f"densebone: {refused} may not be read" in capsys.readouterr().err
    server.pages["/p/3.png"].status.clear()
    assert main([*given, *good, refused]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("4 pictures, ") and "were done before and are not done again" in captured.err
    assert sorted(path.name for path in (tmp_path / "out").glob("**/*.jpg")) == [f"{n}.jpg" for n in range(4)]
