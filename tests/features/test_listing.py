"""Lists of pictures: sorted, each picture once; and their parts."""

import json
import os

import pytest

from densebone.errors import UserError
from densebone.features import listing


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


def written(tmp_path, *paths):
    count, root = listing.write([str(path) for path in paths], tmp_path / "list.jsonl")
    found = [json.loads(line) for line in (tmp_path / "list.jsonl").read_text().splitlines()]
    assert len(found) == count
    return [os.path.relpath(path, root) for path in found], root


def test_a_folder(tmp_path):
    touch(
        tmp_path / "p", "b.jpg", "a.PNG", "c/d.webp", "c/notes.md", ".hidden.jpg", ".cache/e.jpg", "z/line\nbreak.jpg"
    )
    os.symlink(tmp_path / "p", tmp_path / "p/c/again")  # a loop
    os.symlink(tmp_path / "nothing", tmp_path / "p/gone.jpg")  # listed, so that the job can name it as skipped
    assert written(tmp_path, tmp_path / "p") == (
        ["a.PNG", "b.jpg", "c/d.webp", "gone.jpg", "z/line\nbreak.jpg"],
        str(tmp_path / "p"),
    )


def test_overlapping_arguments_give_each_picture_once(tmp_path):
    touch(tmp_path, "p/a.jpg", "p/b.jpg", "q/c.jpg", "q/c.txt")
    (tmp_path / "some.txt").write_text("p/a.jpg\n\nq/c.jpg\np/missing.jpg\n")
    names, root = written(tmp_path, tmp_path / "p/*", tmp_path / "some.txt", tmp_path / "p", tmp_path / "p/../p/b.jpg")
    assert names == ["p/a.jpg", "p/b.jpg", "p/missing.jpg", "q/c.jpg"] and root == str(tmp_path)


def test_more_than_is_sorted_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(listing, "CHUNK", 7)
    touch(tmp_path / "p", *(f"{(i * 37) % 100:03d}.jpg" for i in range(100)))
    chunks = []
    monkeypatch.setattr(listing, "sorted", lambda some: chunks.append(some := sorted(some)) or some, raising=False)
    names, _ = written(tmp_path, tmp_path / "p")
    assert [len(chunk) for chunk in chunks] == 14 * [7] + [2, 0]
    assert names == [f"{i:03d}.jpg" for i in range(100)]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".sorting")] == []


@pytest.mark.parametrize("count", [1, 9, 10, 11, 100, 101])
@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_parts_have_every_picture_once(tmp_path, count, parts):
    touch(tmp_path / "p", *(f"{i:03d}.jpg" for i in range(count)))
    listing.write([str(tmp_path / "p")], tmp_path / "list.jsonl")
    rows = []
    for part in range(parts):
        rows += listing.read(tmp_path / "list.jsonl", 10, lambda number, part=part: number % parts == part)
    assert sorted(place for _, place, _ in rows) == list(range(count))
    assert all(shard == place // 10 and path.endswith(f"{place:03d}.jpg") for shard, place, path in rows)


def test_which_part(monkeypatch):
    for name in ("PADDLE_TRAINER_ID", "PADDLE_TRAINERS_NUM", "PADDLE_LOCAL_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert listing.part_of() == (0, 1) and listing.threads_of() is None
    assert listing.part_of("2/3") == (1, 3)
    monkeypatch.setenv("PADDLE_TRAINER_ID", "5")
    monkeypatch.setenv("PADDLE_TRAINERS_NUM", "8")
    monkeypatch.setenv("PADDLE_LOCAL_SIZE", "4")
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    assert listing.part_of() == (5, 8) and listing.threads_of() == 4
    for text in ("0/2", "3/2", "1", "a/b", "1/"):
        with pytest.raises(UserError, match=f"--part is '{text}'; give I/N"):
            listing.part_of(text)


def test_what_holds_no_pictures(tmp_path):
    touch(tmp_path, "empty/notes.md", "none.txt")
    for given, message in (
        ("nowhere", "nowhere does not exist; give pictures, folders"),
        ("empty", "no pictures in .*empty; looked for .jpg"),
        ("none.txt", "no pictures in .*none.txt"),
        ("empty/*", "no pictures in .*empty/"),
    ):
        with pytest.raises(UserError, match=message):
            listing.write([str(tmp_path / given)], tmp_path / "list.jsonl")
    assert not (tmp_path / "list.jsonl").exists()
