"""Features of many pictures into files: in parts, with broken pictures, and resumed after a stop."""

import json

import drawn_pictures
import numpy as np
import pytest
import tiny

from densebone.errors import UserError
from densebone.features import FeatureExtractor, load_features, shards
from densebone.features.job import SHARD_SIZES, extract
from densebone.weights.catalog import find

OPTIONS = {"engine": "eager", "preprocessing": find("hardnet68.official").preprocessing, "batch_size": 4}
SMALL = {**OPTIONS, "size": (32, 32)}
BROKEN = ("0003.png", "0008.png")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = drawn_pictures.draw(tmp_path_factory.mktemp("pictures"), 23)
    for name in BROKEN:
        (folder / name).write_bytes((folder / name).read_bytes()[:-60])
    return folder


@pytest.fixture(scope="module")
def good(folder):
    return [path for path in sorted(folder.iterdir()) if path.name not in BROKEN]


@pytest.fixture(scope="module")
def vectors():
    return FeatureExtractor(tiny.build(out_indices=(2, 4)), pooled="avg", **SMALL)


def names_of(paths):
    return [path.name for path in paths]


def test_broken_pictures_are_named_and_the_rest_goes_on(vectors, folder, good, tmp_path):
    result = extract(vectors, [folder], tmp_path / "out", shard_size=5)
    assert (result["pictures"], result["skipped"], result["computed"]) == (21, 2, 23) and result["complete"]
    assert [name for name, _ in result["examples"]] == list(BROKEN)
    names, features = load_features(tmp_path / "out")
    assert names == names_of(good)
    np.testing.assert_allclose(np.asarray(features), vectors(good), atol=1e-6)
    rows = [json.loads(line) for line in (tmp_path / "out" / shards.SKIPPED).read_text().splitlines()]
    assert [row["name"] for row in rows] == list(BROKEN)
    assert all(row["reason"].startswith("is truncated or damaged") for row in rows)
    again = extract(vectors, [folder], tmp_path / "out", shard_size=5)
    assert (again["pictures"], again["skipped"], again["computed"]) == (21, 2, 0)


def test_a_run_that_stopped_goes_on(vectors, folder, good, tmp_path, monkeypatch):
    class Stop(Exception):
        pass

    def stop(number, name, *rest):
        if number == 13:
            raise Stop

    with pytest.raises(Stop):
        extract(vectors, [folder], tmp_path, shard_size=5, draw=stop)
    done = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*/0*")}
    assert sorted(done) == [f"00000{i}.{end}" for i in (0, 1) for end in ("json", "npz")]
    assert len(load_features(tmp_path)[1]) == 8 and not load_features(tmp_path)[1].complete
    # a shard without its record, as a kill between the two leaves it
    (tmp_path / "shards/000002.npz").write_bytes(b"half")
    result = extract(vectors, [folder], tmp_path, shard_size=5)
    assert result["computed"] == 13 and result["pictures"] == 21
    names, features = load_features(tmp_path)
    assert names == names_of(good)
    np.testing.assert_allclose(np.asarray(features), vectors(good), atol=1e-6)
    assert done.items() <= {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*/0*")}.items()


def test_parts_share_the_pictures_and_their_number_may_change(vectors, folder, good, tmp_path):
    first = extract(vectors, [folder], tmp_path, shard_size=2, part=(1, 3))
    assert not first["complete"] and first["pictures"] + first["skipped"] == first["computed"] == 8
    rest = [extract(vectors, [folder], tmp_path, shard_size=2, part=(i, 2)) for i in range(2)]
    assert [part["complete"] for part in rest] == [False, True]
    assert sum(part["computed"] for part in rest) == 23 - 8
    names, features = load_features(tmp_path)
    assert names == names_of(good)
    np.testing.assert_allclose(np.asarray(features), vectors(good), atol=1e-6)


@pytest.mark.parametrize("file_format", ["npz", "safetensors"])
@pytest.mark.parametrize("native", [False, True])
def test_maps(folder, good, tmp_path, native, file_format):
    options = {**OPTIONS, "size_mode": "native"} if native else SMALL
    maps = FeatureExtractor(tiny.build(out_indices=(2, 4)), **options)
    extract(maps, [folder], tmp_path, file_format)
    names, features = load_features(tmp_path)
    assert names == names_of(good) and features.settings["shard_size"] == SHARD_SIZES["maps"]
    expected = maps(good) if native else list(zip(*maps(good)))
    for found, wanted in zip(features, expected, strict=True):
        for have, want in zip(found, wanted, strict=True):
            np.testing.assert_allclose(have, want, atol=1e-6)


def test_draw_is_told_of_every_picture(vectors, folder, good, tmp_path):
    told = []
    extract(vectors, [folder], tmp_path, draw=lambda *what: told.append(what))
    assert [(number, name) for number, name, _, _ in told] == [(int(path.stem), path.name) for path in good]
    assert told[0][2].shape == (3, 32, 32) and told[0][3].shape == (vectors.vector_size,)


def test_other_settings_are_refused(vectors, folder, tmp_path):
    extract(vectors, [folder], tmp_path)
    other = FeatureExtractor(tiny.build(out_indices=(2, 4), seed=1), pooled="avg", **SMALL)
    reduced = FeatureExtractor(tiny.build(out_indices=(2, 4)), pooled="avg", reduced=True, **SMALL)
    with pytest.raises(UserError, match="was begun with reduced false, and now it is true"):
        extract(reduced, [folder], tmp_path)
    with pytest.raises(UserError, match="was begun with weights"):
        extract(other, [folder], tmp_path)
    for options, message in (
        ({"paths": [folder / "0000.png"]}, "was begun with paths"),
        ({"file_format": "safetensors"}, 'was begun with format "npz", and now it is "safetensors"'),
        ({"shard_size": 7}, "was begun with shard_size 1000, and now it is 7"),
        ({"file_format": "csv"}, "format is 'csv'; give one of npz, safetensors, parquet"),
        ({"shard_size": 0}, "shard_size is 0; give a number of pictures from 1"),
    ):
        with pytest.raises(UserError, match=message):
            extract(vectors, **{"paths": [folder], "output": tmp_path, **options})
    assert len(load_features(tmp_path)[0]) == 21


def test_what_cannot_be_begun_leaves_nothing(vectors, folder, tmp_path):
    maps = FeatureExtractor(tiny.build(), **SMALL)
    with pytest.raises(UserError, match="Parquet is for vectors, and these are maps"):
        extract(maps, [folder], tmp_path / "out", "parquet")
    with pytest.raises(UserError, match="how pictures are prepared for these weights is not known"):
        extract(FeatureExtractor(tiny.build(), engine="eager"), [folder], tmp_path / "out")
    with pytest.raises(UserError, match="does not exist; give pictures, folders"):
        extract(vectors, [folder / "none"], tmp_path / "out")
    assert not (tmp_path / "out").exists()
