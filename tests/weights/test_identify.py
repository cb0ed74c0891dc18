"""Every form of given weights leads to its catalog entry, without a download."""

from dataclasses import replace

import pytest

from densebone.errors import UserError
from densebone.weights import integrity
from densebone.weights.catalog import Integrity, default_for, find
from densebone.weights.identify import entry_of


@pytest.fixture(autouse=True)
def no_network(tmp_path, monkeypatch):
    """An empty cache and no network: a download would fail."""
    monkeypatch.setenv("DENSEBONE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DENSEBONE_OFFLINE", "1")
    yield
    assert not (tmp_path / "home").exists()


@pytest.fixture
def published_file(tmp_path, monkeypatch):
    """A file whose hash the entries hardnet68.ppim and peleenet.paddleclas state, in this order."""
    path = tmp_path / "mine.pdparams"
    path.write_bytes(b"weights")
    stated = Integrity(sha1=integrity.digests(path).sha1)
    table = [replace(find(name), integrity=stated) for name in ("hardnet68.ppim", "peleenet.paddleclas")]
    monkeypatch.setattr(integrity, "entries", lambda: table)
    return path


def test_true_means_the_default_of_the_model():
    assert entry_of(True, "condensenetv2_a") is default_for("condensenetv2_a")
    for model in ("resnet50", None):
        with pytest.raises(UserError, match="no pretrained weights are known for"):
            entry_of(True, model)


@pytest.mark.parametrize("model", [None, "hardnet68", "peleenet"])
def test_a_name_means_its_entry_whatever_the_model(model):
    assert entry_of("hardnet68.paddleclas", model) is find("hardnet68.paddleclas")
    assert entry_of("hardnet68", model) is find("hardnet68.official")


def test_a_url_means_the_entry_that_lists_it():
    known = find("hardnet68.ppim")
    assert entry_of(known.urls[0]) is known
    other = entry_of("https://example.org/mine.pdparams", "hardnet68")
    assert (other.name, other.source, other.preprocessing) == ("https://example.org/mine.pdparams", None, None)
    with pytest.raises(UserError, match="only http:// and https:// can; give a local file by its path"):
        entry_of("ftp://example.org/mine.pdparams")


@pytest.mark.parametrize("kind", [str, lambda path: path])
def test_a_file_means_the_entry_with_its_hash(published_file, kind):
    assert entry_of(kind(published_file)).name == "hardnet68.ppim"
    assert entry_of(kind(published_file), "hardnet68").name == "hardnet68.ppim"
    assert entry_of(kind(published_file), "peleenet").name == "peleenet.paddleclas"
    assert entry_of(kind(published_file), "hardnet85") is None


def test_a_file_goes_before_published_weights_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hardnet68.official").write_bytes(b"something else")
    assert entry_of("hardnet68.official") is None
    (tmp_path / "peleenet.official").mkdir()
    assert entry_of("peleenet.official") is None


@pytest.mark.parametrize(
    "given", [None, False, {}, {"a": 1}, 3, "given arrays", "hardnet68.oficial", "no/such/file.pth"]
)
def test_other_weights_have_no_entry(given):
    assert entry_of(given) is entry_of(given, "hardnet68") is None
