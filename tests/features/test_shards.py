"""Files of features: reading returns what was written, in every format."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open

from densebone.errors import UserError
from densebone.features import load_features, shards

RNG = np.random.default_rng(0)
MAPS = {"pooled": None, "strides": [8, 16], "fixed_size": [32, 64], "shard_size": 3, "vector_size": None}
VECTORS = {**MAPS, "pooled": "avg", "vector_size": 5}
NAMES = ["a.png", "b/ö.png", "c\n.png", "d.png", "e.png"]


def rows(settings, count=5):
    if settings["pooled"]:
        return list(RNG.standard_normal((count, 5), np.float32))
    sides = [(4, 8)] * count if settings["fixed_size"] else [(4 + 2 * i, 6) for i in range(count)]
    return [[RNG.standard_normal((c, h // s, w // s), np.float32) for c, s in ((2, 1), (3, 2))] for h, w in sides]


def pictures(folder):
    for name in NAMES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(folder / name)
    return folder


def write(tmp_path, settings, values, skipped=()):
    folder = tmp_path / "out"
    settings = shards.begin(folder, settings, [str(pictures(tmp_path / "p"))])
    assert settings["pictures"] == 5 and shards.shard_count(settings) == 2
    shards.write(folder, 0, settings, NAMES[:3], values[:3], [])
    shards.write(folder, 1, settings, NAMES[3:], values[3:], skipped)
    return folder, settings


def same(found, expected):
    if isinstance(expected, list):
        assert len(found) == len(expected)
        for have, want in zip(found, expected):
            np.testing.assert_array_equal(have, want)
    else:
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("file_format", shards.FORMATS)
@pytest.mark.parametrize(
    "settings", [VECTORS, MAPS, {**MAPS, "fixed_size": None}], ids=["vectors", "maps", "maps of all sizes"]
)
def test_what_is_written_is_read(tmp_path, settings, file_format):
    if file_format == "parquet":
        pytest.importorskip("pyarrow", reason="needs pyarrow: pip install densebone[features]")
        if not settings["pooled"]:
            pytest.skip("Parquet is for vectors")
    values = rows(settings)
    folder, _ = write(tmp_path, {**settings, "format": file_format}, values)
    names, features = load_features(folder)
    assert names == NAMES and len(features) == 5 and features.complete
    for index in (3, 0, 4, 1, 2, -1, -5):
        same(features[index], values[index])
    same(features[1:4][2], values[3])
    assert [len(names) for names, _ in features.shards()] == [3, 2]
    with pytest.raises(IndexError):
        features[5]
    if settings["pooled"]:
        np.testing.assert_array_equal(np.asarray(features), np.stack(values))
        assert np.asarray(features).dtype == np.float32
    else:
        with pytest.raises(UserError, match="these are maps, which are not put into one array"):
            np.asarray(features)


def test_other_tools_read_the_files(tmp_path):
    values = rows(MAPS)
    folder, _ = write(tmp_path, {**MAPS, "format": "npz"}, values)
    with np.load(folder / "shards/000001.npz") as content:  # no pickle in it
        assert content["names"].tolist() == NAMES[3:] and content["stride8"].shape == (2, 2, 4, 8)
    vectors = rows(VECTORS)
    folder, _ = write(tmp_path / "2", {**VECTORS, "format": "safetensors"}, vectors)
    with safe_open(folder / "shards/000000.safetensors", "np") as content:
        assert json.loads(content.metadata()["names"]) == NAMES[:3]
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow: pip install densebone[features]")
    folder, _ = write(tmp_path / "3", {**VECTORS, "format": "parquet"}, vectors)
    table = parquet.read_table(folder / "shards").to_pydict()
    assert table["name"] == NAMES
    np.testing.assert_array_equal(np.float32(table["vector"]), np.stack(vectors))


def test_a_shard_without_a_readable_picture(tmp_path):
    folder = tmp_path / "out"
    settings = shards.begin(folder, {**VECTORS, "format": "npz"}, [str(pictures(tmp_path / "p"))])
    shards.write(folder, 0, settings, [], [], [(name, "is broken") for name in NAMES[:3]])
    assert not shards.finish(folder, settings) and not (folder / shards.SKIPPED).exists()
    names, features = load_features(folder)
    assert (names, len(features), features.complete) == ([], 0, False) and np.asarray(features).shape == (0, 5)
    values = rows(VECTORS)
    shards.write(folder, 1, settings, NAMES[3:], values[3:], [])
    assert shards.finish(folder, settings)
    names, features = load_features(folder)
    assert names == NAMES[3:] and features.complete
    same(features[0], values[3])
    lines = [json.loads(line) for line in (folder / shards.SKIPPED).read_text().splitlines()]
    assert lines == [{"name": name, "reason": "is broken"} for name in NAMES[:3]]


def test_a_folder_is_gone_on_with_by_the_same_settings_alone(tmp_path):
    paths = [str(pictures(tmp_path / "p"))]
    first = shards.begin(tmp_path / "out", {**VECTORS, "format": "npz"}, paths)
    (tmp_path / "p/new.png").write_bytes(b"")  # the list stands
    assert shards.begin(tmp_path / "out", {**VECTORS, "format": "npz"}, paths) == first
    for change, message in (
        ({"pooled": None}, 'begun with pooled "avg", and now it is null'),
        ({"strides": [8]}, r"begun with strides \[8, 16\], and now it is \[8\]"),
        ({"paths": ["x" * 200]}, r"begun with paths null, and now it is .*\.\.\. \(204 letters\)"),
    ):
        with pytest.raises(UserError, match=message):
            shards.begin(tmp_path / "out", {**VECTORS, "format": "npz", **change}, paths)


def test_what_killed_processes_left(tmp_path):
    folder = tmp_path / "out"
    (folder / ".sorting-abc").mkdir(parents=True)
    settings = shards.begin(folder, {**VECTORS, "format": "npz"}, [str(pictures(tmp_path / "p"))])
    for name in ("shards/.000000-0123abcd.npz", "records/.000000-0123abcd.json", ".skipped-0123abcd.jsonl"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"half")
    shards.clean(folder, settings)
    left = [path.name for path in folder.rglob("*") if path.is_file()]
    assert sorted(left) == [".lock", "pictures.jsonl", "settings.json"]


def test_no_such_folder(tmp_path):
    with pytest.raises(UserError, match=r"holds no settings.json; give a folder that densebone features wrote"):
        load_features(tmp_path)
    (tmp_path / "settings.json").write_text("{")
    with pytest.raises(UserError, match=r"settings.json is not JSON"):
        load_features(tmp_path)


def test_names_that_are_no_text():
    assert shards.plain("a\udcffb") == "a\\udcffb"
    assert shards.plain("ö\n") == "ö\n"


def spoil_a_bit(file):
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 4
    file.write_bytes(data)


HARMS = {
    "a bit of the features": (lambda f, o: spoil_a_bit(f / "shards" / "000001.npz"), "000001.npz has changed"),
    "features cut short": (
        lambda f, o: (f / "shards" / "000001.npz").write_bytes((f / "shards" / "000001.npz").read_bytes()[:-9]),
        "000001.npz has changed",
    ),
    "features gone": (lambda f, o: (f / "shards" / "000001.npz").unlink(), "000001.npz is missing"),
    "features of another shard": (
        lambda f, o: shutil.copy(f / "shards" / "000000.npz", f / "shards" / "000001.npz"), "000001.npz has changed",
    ),
    "a record of another shard": (
        lambda f, o: shutil.copy(f / "records" / "000000.json", f / "records" / "000001.json"),
        "000001.json is the record of other features",
    ),
    "a damaged record": (lambda f, o: (f / "records" / "000001.json").write_text("{"), "000001.json is damaged"),
    "shard and record of other settings": (
        lambda f, o: [shutil.copy(o / name, f / name) for name in ("shards/000001.npz", "records/000001.json")],
        "000001.json is the record of other features",
    ),
}  # fmt: skip


@pytest.mark.parametrize("harm", HARMS)
def test_a_shard_that_is_not_what_was_written_is_refused(tmp_path, harm):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    folder, settings = write(tmp_path / "a", {**VECTORS, "format": "npz"}, rows(VECTORS))
    other, _ = write(tmp_path / "b", {**VECTORS, "format": "npz", "weights": "others"}, rows(VECTORS))
    assert [shards.fault(folder, number, settings) for number in (0, 1)] == [None, None]
    harm, reason = HARMS[harm]
    harm(folder, other)
    assert shards.fault(folder, 0, settings) is None and shards.fault(folder, 1, settings).endswith(reason)
    with pytest.raises(UserError, match="give the same densebone features command again"):
        np.asarray(load_features(folder)[1])


def test_another_list_of_pictures_is_refused(tmp_path):
    settings = {**VECTORS, "format": "npz"}
    folder, _ = write(tmp_path, settings, rows(VECTORS))
    (folder / "pictures.jsonl").write_text((folder / "pictures.jsonl").read_text().replace("a.png", "d.png"))
    with pytest.raises(UserError, match=r"pictures\.jsonl is not the list that the folder was begun with"):
        shards.begin(folder, settings, [str(tmp_path / "p")])
