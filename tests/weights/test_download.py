"""Downloads are complete, correct and done once, whatever happens to the network, the disk or the process."""

import dataclasses
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import web

from densebone.errors import UserError
from densebone.weights import download, transfer
from densebone.weights.catalog import Entry, Integrity, find
from densebone.weights.download import add, cache_path, fetch
from densebone.weights.transfer import Settings

BODY = bytes(range(256)) * 1200  # 300 kB, several chunks
FAST = Settings(retries=2, backoff=0.01, backoff_limit=0.05, timeout=(3, 3), progress=False)


@pytest.fixture
def server():
    with web.serve() as running:
        yield running


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    folder = tmp_path / "home"
    for name in ("DENSEBONE_OFFLINE", "DENSEBONE_MIRROR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DENSEBONE_HOME", str(folder))
    return folder


def entry(*urls, file="net-1.pth", integrity=None, **options):
    """An entry with the SHA-1 of BODY, or with the given integrity."""
    integrity = Integrity(sha1=hashlib.sha1(BODY).hexdigest()) if integrity is None else integrity
    return Entry(name="net.test", source="test", file=file, urls=urls, integrity=integrity, **options)


def left(home):
    """Names of the files under weights/."""
    return sorted(path.name for path in (home / "weights").rglob("*") if path.is_file())


def sha256(body):
    return hashlib.sha256(body).hexdigest()


def test_a_file_is_fetched_once_and_checked(server, home):
    wanted = entry(server.put("/net-1.pth", BODY))
    assert fetch(wanted, FAST) == cache_path(wanted) == home / "weights" / "net-1.pth"
    assert fetch(wanted, FAST).read_bytes() == BODY
    assert server.gets == [("/net-1.pth", None)]
    assert left(home) == ["net-1.pth"]


@pytest.mark.parametrize(
    "integrity",
    [
        Integrity(sha256_prefix=sha256(BODY)[:8]),
        Integrity(git_blob_sha1=hashlib.sha1(b"blob %d\0" % len(BODY) + BODY).hexdigest()),
        Integrity(sha256_prefix="00000000", git_blob_sha1=hashlib.sha1(b"blob %d\0" % len(BODY) + BODY).hexdigest()),
    ],
)
def test_kinds_of_published_hashes(integrity, server):
    assert fetch(entry(server.put("/a", BODY), integrity=integrity), FAST).read_bytes() == BODY


def test_git_agrees_about_blob_names(tmp_path):
    (tmp_path / "a").write_bytes(BODY)
    said = subprocess.run(["git", "hash-object", "--no-filters", "a"], cwd=tmp_path, capture_output=True, text=True)
    if said.returncode:
        pytest.skip("needs git")
    from densebone.weights.integrity import digests

    assert digests(tmp_path / "a").git_blob_sha1 == said.stdout.strip()


def test_a_cut_connection_is_resumed(server, home):
    wanted = entry(server.put("/a", BODY, cut=[100_000, 100_000]))
    assert fetch(wanted, FAST).read_bytes() == BODY
    first, second, third = (asked for _, asked in server.gets)
    assert first is None
    assert 0 < int(second[6:-1]) <= 100_000 < int(third[6:-1]) < len(BODY)
    assert left(home) == ["net-1.pth"]


def test_a_server_that_gives_less_than_is_asked_for(server):
    wanted = entry(server.put("/a", BODY, cut=[150_000], piece=120_000))
    assert fetch(wanted, FAST).read_bytes() == BODY
    assert len(server.gets) == 3


@pytest.mark.parametrize("options", [{"ranges": False}, {"etag": None}], ids=["no ranges", "no validator"])
def test_a_server_that_cannot_resume(options, server):
    wanted = entry(server.put("/a", BODY, cut=[100_000], **options))
    assert fetch(wanted, FAST).read_bytes() == BODY
    assert len(server.gets) == 2


@pytest.mark.parametrize("heed_if_range", [True, False])
def test_a_file_that_changes_while_it_is_fetched(heed_if_range, server):
    wanted = entry(server.put("/a", BODY[::-1], cut=[100_000], etag='"old"'), integrity=Integrity())
    with pytest.raises(UserError, match="the connection broke"):
        fetch(wanted, dataclasses.replace(FAST, retries=0))
    server.put("/a", BODY, etag='"new"', heed_if_range=heed_if_range)
    assert fetch(wanted, FAST).read_bytes() == BODY


def test_all_bytes_are_there_already(server, home):
    wanted = entry(server.put("/a", BODY, cut=[200_000]))
    with pytest.raises(UserError, match="the connection broke"):
        fetch(wanted, dataclasses.replace(FAST, retries=0))
    part = home / "weights" / "net-1.pth.part"
    part.write_bytes(BODY)  # killed after the last byte, before the rename
    assert fetch(wanted, FAST).read_bytes() == BODY
    assert len(server.gets) == 1
    # the same when the server did not say the length
    cache_path(wanted).unlink()
    part.write_bytes(BODY)
    notes = {"url": wanted.urls[0], "validator": '"1"', "total": None}
    (home / "weights" / "net-1.pth.part.json").write_text(json.dumps(notes))
    assert fetch(wanted, FAST).read_bytes() == BODY
    assert server.gets[1:] == [("/a", f"bytes={len(BODY)}-")]


def test_a_part_that_was_spoilt_is_fetched_anew(server, home):
    wanted = entry(server.put("/a", BODY, cut=[200_000]))
    with pytest.raises(UserError, match="the connection broke"):
        fetch(wanted, dataclasses.replace(FAST, retries=0))
    part = home / "weights" / "net-1.pth.part"
    part.write_bytes(bytes(part.stat().st_size))
    assert fetch(wanted, FAST).read_bytes() == BODY
    assert [asked is None for _, asked in server.gets] == [True, False, True]


def test_passing_failures_are_tried_again(server):
    wanted = entry(server.put("/a", BODY, status=[503, 429], headers={"Retry-After": "600"}))
    start = time.monotonic()
    assert fetch(wanted, FAST).read_bytes() == BODY
    assert time.monotonic() - start < 3  # backoff_limit bounds what the server asks for


def test_tries_are_bounded(server, home):
    wanted = entry(server.put("/a", BODY, status=[503] * 9))
    with pytest.raises(UserError, match=r"net.test could not be downloaded: .*/a HTTP 503 .* \(3 tries\)"):
        fetch(wanted, FAST)
    assert len(server.gets) == 3 and left(home) == []


def test_waits_double_up_to_the_limit(server, monkeypatch):
    waits = []
    monkeypatch.setattr(transfer.time, "sleep", waits.append)
    monkeypatch.setattr(transfer.random, "uniform", lambda low, high: high)
    with pytest.raises(UserError, match="5 tries"):
        wanted = entry(server.put("/a", status=[500] * 9))
        fetch(wanted, Settings(retries=4, backoff=1, backoff_limit=5))
    assert waits == [1, 2, 4, 5]


def test_no_answer(home):
    with pytest.raises(UserError, match=r"127.0.0.1:9/a .*refused.*densebone weights add FILE --as net.test"):
        fetch(entry("http://127.0.0.1:9/a"), dataclasses.replace(FAST, retries=0))


def test_a_silent_server(server):
    hold = threading.Event()
    wanted = entry(server.put("/a", BODY, hold=hold))
    with pytest.raises(UserError, match="no answer in time"):
        fetch(wanted, dataclasses.replace(FAST, retries=0, timeout=(1, 0.3)))
    hold.set()


def test_a_wrong_file_is_refused_and_removed(server, home):
    wanted = entry(server.put("/a", BODY[::-1]))
    right, wrong = hashlib.sha1(BODY).hexdigest(), hashlib.sha1(BODY[::-1]).hexdigest()
    with pytest.raises(UserError, match=f"is not the published file: SHA-1 {right} is expected, its SHA-1 is {wrong}"):
        fetch(wanted, FAST)
    assert left(home) == []


@pytest.mark.parametrize("first", [{"status": [404]}, {"status": [500] * 9}, {"body": b"another file"}])
def test_the_next_mirror_is_used(first, server, home):
    wanted = entry(server.put("/first", **first), server.put("/second", BODY))
    assert fetch(wanted, FAST).read_bytes() == BODY
    assert server.gets[-1][0] == "/second" and left(home) == ["net-1.pth"]


def test_a_part_of_one_mirror_is_not_continued_from_another(server, home):
    wanted = entry(server.put("/first", BODY[::-1], cut=[100_000] * 3), server.put("/second", BODY))
    assert fetch(wanted, FAST).read_bytes() == BODY
    assert [asked for path, asked in server.gets if path == "/second"] == [None]


def test_the_users_mirror_comes_first(server, monkeypatch):
    monkeypatch.setenv("DENSEBONE_MIRROR", f"{server.address}/mirror/")
    wanted = entry(server.put("/a", BODY))
    assert fetch(wanted, FAST).read_bytes() == BODY
    server.put("/mirror/net-2.pth", BODY)
    fetch(dataclasses.replace(wanted, file="net-2.pth", urls=()), FAST)
    assert [path for path, _ in server.gets] == ["/mirror/net-1.pth", "/a", "/mirror/net-2.pth"]
    fetch(server.put("/a?plain", BODY), FAST)
    assert [path for path, _ in server.gets[3:]] == ["/a?plain"]  # a mirror holds only the catalog's files
    monkeypatch.setenv("DENSEBONE_MIRROR", "/a/folder")
    with pytest.raises(UserError, match="/a/folder cannot be downloaded; only http"):
        fetch(dataclasses.replace(wanted, file="net-3.pth"), FAST)


def test_offline(server, home, monkeypatch):
    wanted = entry(server.put("/a", BODY))
    monkeypatch.setenv("DENSEBONE_OFFLINE", "1")
    with pytest.raises(UserError, match=r"net.test is not in the cache, .*net-1.pth, and DENSEBONE_OFFLINE is"):
        fetch(wanted, FAST)
    with pytest.raises(UserError, match="give the path of the file"):
        fetch(f"{server.address}/a", FAST)
    assert server.gets == [] and not home.exists()
    monkeypatch.setenv("DENSEBONE_OFFLINE", "0")
    fetch(wanted, FAST)
    monkeypatch.setenv("DENSEBONE_OFFLINE", "1")
    assert fetch(wanted, FAST).read_bytes() == BODY
    cache_path(wanted).write_bytes(b"spoilt")
    with pytest.raises(UserError, match=r"net.test has changed in the cache"):
        fetch(wanted, FAST)


def test_a_spoilt_file_of_the_cache_is_fetched_anew(server):
    wanted = entry(server.put("/a", BODY))
    fetch(wanted, FAST).write_bytes(BODY[:-1])
    assert fetch(wanted, FAST).read_bytes() == BODY
    assert len(server.gets) == 2


def test_a_first_seen_hash_is_recorded_and_enforced(server, home):
    wanted = entry(server.put("/a?token=secret", BODY), integrity=Integrity())
    fetch(wanted, FAST)
    record = json.loads((home / "weights.lock.json").read_text())
    assert record["net-1.pth"]["sha256"] == sha256(BODY)
    assert record["net-1.pth"]["from"] == f"{server.address}/a"
    cache_path(wanted).unlink()
    server.put("/a?token=secret", BODY[::-1])
    with pytest.raises(UserError, match=rf"SHA-256 {sha256(BODY[::-1])}, and {sha256(BODY)} was recorded .* remove"):
        fetch(wanted, FAST)
    assert left(home) == []
    by_hand = dataclasses.replace(wanted, urls=(), pages=("https://example.org/page",))
    cache_path(wanted).write_bytes(BODY[1:])
    with pytest.raises(UserError, match=rf"has SHA-256 {sha256(BODY[1:])}, and {sha256(BODY)} was recorded"):
        fetch(by_hand, FAST)
    (home / "weights.lock.json").write_text("{}")
    cache_path(wanted).unlink()
    assert fetch(wanted, FAST).read_bytes() == BODY[::-1]


def test_a_prefix_is_completed_by_the_record(server, home):
    wanted = entry(server.put("/a", BODY), integrity=Integrity(sha256_prefix=sha256(BODY)[:8]))
    fetch(wanted, FAST)
    record = home / "weights.lock.json"
    record.write_text(record.read_text().replace(sha256(BODY), sha256(BODY)[:8] + "0" * 56))
    with pytest.raises(UserError, match="was recorded"):
        fetch(wanted, FAST)


@pytest.mark.parametrize("content", ["{", "[]", '{"net-1.pth": {}}', '{"net-1.pth": 3}'])
def test_a_damaged_record(content, server, home):
    home.mkdir()
    (home / "weights.lock.json").write_text(content)
    with pytest.raises(UserError, match=r"weights.lock.json cannot be read \(.*\); mend it, or remove it"):
        fetch(entry(server.put("/a", BODY), integrity=Integrity()), FAST)


def test_a_cache_that_others_fill(server, home, monkeypatch):
    wanted = entry(server.put("/a", BODY), integrity=Integrity())
    fetch(wanted, FAST)
    (home / "weights.lock.json").unlink()

    def forbidden(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(download.Record, "add", forbidden)
    with pytest.raises(UserError, match=r"cannot write into .* set DENSEBONE_HOME"):
        fetch(wanted, FAST)
    monkeypatch.setattr(download.os, "access", lambda path, mode: mode != os.W_OK)
    assert fetch(wanted, FAST).read_bytes() == BODY


def test_urls_as_sources(server, home):
    url = server.put("/a/model.pdparams?x=1", BODY)
    path = fetch(url, FAST)
    assert path.read_bytes() == BODY and path.parent == home / "weights" / "urls"
    assert path.name.endswith("-model.pdparams") and fetch(url, FAST) == path
    assert len(server.gets) == 1
    with pytest.raises(UserError, match=r"/gone could not be downloaded: .* HTTP 404 .* give another URL, or the path"):
        fetch(f"{server.address}/gone", FAST)


def test_redirects(server):
    server.put("/b", BODY)
    url = server.put("/a", status=[302] * 9, headers={"Location": "/b"})
    assert fetch(entry(url), FAST).read_bytes() == BODY
    url = server.put("/loop", status=[302] * 99, headers={"Location": "/loop"})
    with pytest.raises(UserError, match="redirects"):
        fetch(entry(url, file="net-2.pth"), FAST)
    url = server.put("/file", status=[302] * 9, headers={"Location": "file:///etc/passwd"})
    with pytest.raises(UserError, match=r"/file .*file:"):
        fetch(entry(url, file="net-2.pth"), FAST)


def test_no_way_from_https_to_http():
    hop = SimpleNamespace(url="https://example.org/a")
    with pytest.raises(transfer.Failed, match="leads from https to http"):
        transfer._check_answer(SimpleNamespace(url="http://example.org/a", history=[hop]))


@pytest.mark.parametrize(
    "page",
    [
        {"body": BODY, "headers": {"Content-Type": "text/html; charset=utf-8"}},
        {"body": b"\n<!DOCTYPE html><html>log in</html>"},
    ],
)
def test_a_web_page_is_not_weights(page, server, home):
    wanted = entry(server.put("/a", **page), integrity=Integrity())
    with pytest.raises(UserError, match="/a is a web page, not a file of weights"):
        fetch(wanted, FAST)
    assert len(server.gets) == 1 and left(home) == []


def test_an_empty_answer(server, home):
    with pytest.raises(UserError, match="gave an empty file"):
        fetch(entry(server.put("/a"), integrity=Integrity()), FAST)
    assert left(home) == []


def test_only_by_hand():
    wanted = entry(pages=("https://example.org/page",))
    with pytest.raises(UserError, match=r"no program can fetch it; get it from https://example.org/page, then .* add"):
        fetch(wanted, FAST)


def test_a_full_disk_is_seen_before(server, home, monkeypatch):
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(UserError, match=r"0.3 MB are needed and 0.0 MB are free .* make room, or set DENSEBONE_HOME"):
        fetch(entry(server.put("/a", BODY)), FAST)
    assert left(home) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_disk_that_fills_up(server, home):
    (home / "weights").mkdir(parents=True)
    part = home / "weights" / "net-1.pth.part"
    part.symlink_to("/dev/full")
    with pytest.raises(UserError, match=r"the disk is full, and net-1.pth.part in .* is incomplete"):
        fetch(entry(server.put("/a", BODY)), FAST)
    assert not (home / "weights" / "net-1.pth").exists()
    part.unlink()
    assert fetch(entry(server.put("/a", BODY)), FAST).read_bytes() == BODY


def test_a_home_that_cannot_be_written(server, monkeypatch):
    monkeypatch.setenv("DENSEBONE_HOME", "/dev/null/home")
    with pytest.raises(UserError, match=r"cannot write into the folder /dev/null/home.*set DENSEBONE_HOME to a folder"):
        fetch(entry(server.put("/a", BODY)), FAST)
    assert server.gets == []


def test_where_the_cache_is(monkeypatch, tmp_path):
    assert download.home() == tmp_path / "home"
    monkeypatch.setenv("DENSEBONE_HOME", "~/x")
    assert download.home() == Path.home() / "x"
    monkeypatch.setenv("DENSEBONE_HOME", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert download.home() == tmp_path / "densebone"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert download.home() == Path.home() / ".cache" / "densebone"


def test_proxies_are_no_way_to_this_machine(server, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert fetch(entry(server.put("/a", BODY)), FAST).read_bytes() == BODY


def test_progress_goes_to_stderr(server, capsys):
    fetch(entry(server.put("/a", BODY)), dataclasses.replace(FAST, progress=True))
    out, err = capsys.readouterr()
    assert out == "" and "net-1.pth" in err
    fetch(entry(server.put("/b", BODY), file="net-2.pth"), dataclasses.replace(FAST, progress=None))
    assert capsys.readouterr().err == ""  # no terminal


def zipped(**members):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, body in members.items():
            archive.writestr(name, body)
    return stream.getvalue()


def test_a_file_in_a_zip(server, home):
    integrity = Integrity(sha1=hashlib.sha1(BODY).hexdigest(), of="zip member")
    wanted = entry(server.put("/net-1.pth.zip", zipped(inside=BODY)), integrity=integrity)
    assert fetch(wanted, FAST).read_bytes() == BODY
    assert left(home) == ["net-1.pth"]
    bodies = (zipped(inside=BODY[1:]), BODY[1:], zipped(a=BODY, b=BODY), zipped(inside=BODY)[:-30], b"PK" + BODY)
    for number, body in enumerate(bodies):
        wrong = entry(server.put(f"/{number}.zip", body), file=f"wrong-{number}.pth", integrity=integrity)
        with pytest.raises(UserError, match=r"is not the published file: SHA-1|is a damaged zip"):
            fetch(wrong, FAST)
    assert left(home) == ["net-1.pth"]


CHILD = """
import sys
from densebone.weights.download import fetch
print(fetch(sys.argv[1]))
"""


def start(url):
    command = [sys.executable, "-c", CHILD, url]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_two_processes_download_once(server):
    hold = threading.Event()
    url = server.put("/a.pth", BODY, hold=hold)
    children = [start(url), start(url)]
    deadline = time.monotonic() + 20
    while not server.gets and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(1)  # the other one is at the lock by now
    hold.set()
    outputs = [child.communicate(timeout=30) for child in children]
    assert [child.returncode for child in children] == [0, 0], outputs
    assert outputs[0][0] == outputs[1][0] and Path(outputs[0][0].strip()).read_bytes() == BODY
    assert len(server.gets) == 1


def test_killed_in_the_middle_then_resumed(server, home):
    hold = threading.Event()
    url = server.put("/a.pth", BODY, hold=hold)
    child = start(url)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if any(path.stat().st_size for path in (home / "weights").rglob("*.part")):
            break
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert child.returncode == -signal.SIGKILL
    assert not [name for name in left(home) if name.endswith(".pth")]
    hold.set()
    path = fetch(url, FAST)
    assert path.read_bytes() == BODY
    assert int(server.gets[1][1][6:-1]) > 0
    assert left(home) == [path.name]


def test_add_by_name(tmp_path, home, monkeypatch):
    mine = tmp_path / "mine.bin"
    mine.write_bytes(BODY)
    seen = []
    got, path = add(mine, "condensenetv2_a.official", lambda copy, found: seen.append((copy.read_bytes(), found.name)))
    assert path == cache_path(got) and path.read_bytes() == BODY and mine.exists()
    assert seen == [(BODY, "condensenetv2_a.official")]
    monkeypatch.setenv("DENSEBONE_OFFLINE", "1")
    assert fetch("condensenetv2_a.official", FAST) == path
    mine.write_bytes(BODY[1:])
    with pytest.raises(UserError, match=r"is not added as condensenetv2_a.official: it has SHA-256 .* was recorded"):
        add(mine, "condensenetv2_a.official")
    assert path.read_bytes() == BODY

    def refuse(copy, found):
        raise UserError("other weights")

    with pytest.raises(UserError, match="other weights"):
        add(mine, "condensenetv2_b.official", refuse)
    assert left(home) == [path.name]


def test_add_by_hash(tmp_path, monkeypatch):
    wanted = dataclasses.replace(find("peleenet.pytorchcv"), integrity=entry().integrity)
    zipped_too = dataclasses.replace(
        find("hardnet68.pytorchcv"), integrity=dataclasses.replace(wanted.integrity, of="zip member")
    )
    table = {e.name: e for e in (wanted, zipped_too)}
    monkeypatch.setattr("densebone.weights.catalog._catalog", lambda: (table, {}))
    mine = tmp_path / "any name"
    mine.write_bytes(BODY)
    assert add(mine)[0] is wanted
    mine = tmp_path / f"{zipped_too.file}.zip"
    mine.write_bytes(zipped(inside=BODY))
    got, path = add(mine)
    assert got is zipped_too and path.read_bytes() == BODY
    mine.write_bytes(zipped(inside=b"else"))
    with pytest.raises(UserError, match=r"is not added as hardnet68.pytorchcv: it is not the published file"):
        add(mine)


def test_add_refuses(tmp_path):
    with pytest.raises(UserError, match=r"gone.pth does not exist"):
        add(tmp_path / "gone.pth")
    mine = tmp_path / "hardnet68-5d684880.pth"
    mine.write_bytes(BODY)
    with pytest.raises(UserError, match=r"no published hash says what .*; its name is that of hardnet68.official;"):
        add(mine)
    with pytest.raises(UserError, match=r"not added as hardnet68.official: it is not the published file: a SHA-256"):
        add(mine, "hardnet68.official")
    with pytest.raises(UserError, match=r"no weights called 'mine.net'"):
        add(mine, "mine.net")
