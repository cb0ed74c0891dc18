"""The catalog lists every published checkpoint, its fields are well formed, and it finds entries by name and URL."""

import re
from pathlib import Path

import pytest
import yaml

import densebone as db
from densebone.weights import catalog
from densebone.weights.catalog import default_for, entries, find, of_url

URLS = Path(__file__).parents[1] / "data" / "catalog_urls.txt"


def published():
    """The 63 places where checkpoints are published: a URL, and for a git tree the path in it."""
    return [line.split() for line in URLS.read_text().splitlines()]


def test_every_published_place_is_in_the_catalog():
    places = published()
    assert len(places) == 63
    for place, *path in places:
        holders = [e for e in entries() if place in (*e.urls, *e.pages)]
        if path:
            holders = [e for e in holders if any(url.endswith(path[0]) for url in e.urls)]
        assert holders, (place, *path)


def test_nothing_else_is_in_the_catalog():
    known = {place for place, *_ in published()}
    for entry in entries():
        for url in (*entry.urls, *entry.pages):
            assert url in known or re.match(r"https://github\.com/[\w-]+/[\w-]+/raw/[0-9a-f]{40}/", url), url


def test_urls_in_git_trees_name_the_commit_that_was_read():
    for entry in entries():
        for url in entry.urls:
            if commit := re.search(r"/raw/([0-9a-f]{40})/", url):
                repository, short = re.match(r"(\S+/\S+) @(\w+)", entry.read_in).groups()
                assert f"github.com/{repository}/" in url and commit[1].startswith(short)
                assert entry.integrity.git_blob_sha1


def test_names_and_files_are_unique_and_plain():
    content = yaml.safe_load(catalog.FILE.read_text())
    text = catalog.FILE.read_text()
    assert len(re.findall(r"^  [\w.]+:$", text.partition("\nentries:")[2], flags=re.M)) == len(content["entries"])
    files = [e.file for e in entries()]
    assert len(set(files)) == len(files)
    for entry in entries():
        assert re.fullmatch(r"[a-z0-9_]+\.[a-z0-9_]+", entry.name)
        assert re.fullmatch(r"[A-Za-z0-9._-]+", entry.file)


@pytest.mark.parametrize("entry", entries(), ids=lambda e: e.name)
def test_schema(entry):
    for name in ("source", "title", "licence", "layout", "read_in"):
        if entry.model or name != "title":
            assert isinstance(getattr(entry, name), str) and getattr(entry, name)
    for name in ("accuracy", "claimed_by", "container", "reason", "note", "form"):
        assert getattr(entry, name) is None or isinstance(getattr(entry, name), str)
    assert entry.urls or entry.pages
    assert all(url.startswith("https://") and " " not in url for url in (*entry.urls, *entry.pages))
    assert entry.accuracy is None or entry.claimed_by
    assert set(entry.assumed) <= {"preprocessing"}
    stated = entry.integrity
    for value, length in ((stated.sha256_prefix, 8), (stated.git_blob_sha1, 40), (stated.sha1, 40)):
        assert value is None or re.fullmatch(rf"[0-9a-f]{{{length}}}", value)
    assert stated.of == ("zip member" if any(url.endswith(".zip") for url in entry.urls) else "file")
    if stated.sha256_prefix:
        assert entry.file.endswith(f"-{stated.sha256_prefix}.pth")
    if entry.model:
        assert entry.model == entry.network and entry.model in db.list_models() and entry.reason is None
        if entry.model in ("hardnet70", "centernet_hardnet85_base"):  # published without a classifier
            assert entry.accuracy is None
        else:
            claims = {"fchardnet70": "Cityscapes mIoU ", "centernet_hardnet85": "COCO mAP "}
            assert entry.accuracy.startswith(claims.get(entry.model, "ImageNet top-1 "))
    else:
        assert entry.reason


@pytest.mark.parametrize("entry", [e for e in entries() if e.preprocessing], ids=lambda e: e.name)
def test_preprocessing(entry):
    p = entry.preprocessing
    assert p.backend in ("pil", "opencv") and p.channels in ("rgb", "bgr")
    assert (p.interpolation in ("bilinear", "bicubic")) == (p.resize is not None)
    assert len(p.mean) == len(p.std) == 3 and all(0 < value < 1 for value in (*p.mean, *p.std))
    if entry.model and entry.model not in ("fchardnet70", "centernet_hardnet85"):
        assert (p.resize, p.crop, p.channels) == (256, 224, "rgb")


def test_preprocessing_that_differs():
    assert find("hardnet68.official").preprocessing.backend == "pil"
    assert find("hardnet68.paddleclas").preprocessing.backend == "opencv"
    kinds = [find(f"condensenetv2_{x}.ppim").preprocessing.interpolation for x in "abc"]
    assert kinds == ["bicubic", "bicubic", "bilinear"]
    fchardnet = find("fchardnet70.official").preprocessing
    assert fchardnet.channels == "bgr" and fchardnet.mean == find("hardnet68.official").preprocessing.mean[::-1]
    sizes = [find(f"centernet_hardnet85.{name}").preprocessing.resize for name in ("official", "official_608")]
    assert sizes == [[512, 512], [608, 608]]
    assert str(fchardnet) == "not resized, BGR, mean 0.406 0.456 0.485, std 0.225 0.224 0.229"


@pytest.mark.parametrize("model", db.list_models())
def test_every_model_has_a_default_that_a_program_can_fetch(model):
    entry = default_for(model)
    assert entry.model == model and entry.urls and entry.form is None
    assert find(model) is entry
    assert entry in entries(model) and all(e.network == model for e in entries(model))
    assert entry.name == f"{model}.ppim" if "condense" in model else f"{model}.official"


def test_the_learned_form_is_said():
    assert find("condensenetv2_c.learned").form == "learned"


def test_names_that_do_not_exist():
    with pytest.raises(db.UserError, match=r"called 'hardnet68.oficial'; its weights are hardnet68.official"):
        find("hardnet68.oficial")
    with pytest.raises(db.UserError, match=r"no weights called 'pelenet.official'; the nearest names are peleenet"):
        find("pelenet.official")
    with pytest.raises(db.UserError, match=r"no pretrained weights are known for 'resnet50'; .* hardnet39ds,"):
        default_for("resnet50")


def test_weights_that_cannot_be_loaded_say_why():
    words = r"centernet_hardnet68_base.official cannot be loaded: CenterNet-HarDNet-68 is not built here"
    with pytest.raises(db.UserError, match=words):
        find("centernet_hardnet68_base.official").check_loadable()
    find("centernet_hardnet85.official").check_loadable()
    find("hardnet68.official").check_loadable()
    of_url("https://example.org/mine.pth").check_loadable()


def test_urls():
    known = find("hardnet68.ppim")
    assert of_url(known.urls[0]) is known
    one, two = (
        of_url("https://example.org/a/model.pdparams"),
        of_url("https://example.org/b/model.pdparams?token=secret"),
    )
    assert one.file != two.file and one.file.endswith("-model.pdparams") and two.file.endswith("-model.pdparams")
    assert of_url("https://example.org/x?download=attachment%3B%20filename%3Dnet.pth").file.endswith("-net.pth")
    assert of_url("https://example.org/..%2f..%2fetc").file.endswith("-etc")
    assert of_url("https://example.org").file.endswith("-weights")
    assert catalog.shown("https://me:secret@example.org/a?token=secret") == "https://example.org/a"


@pytest.mark.parametrize("url", ["ftp://example.org/a.pth", "file:///etc/passwd", "https:///a.pth", "https://[x/a"])
def test_urls_that_are_not_fetched(url):
    assert catalog.is_url(url)
    with pytest.raises(db.UserError, match="cannot be downloaded; only http:// and https:// can"):
        of_url(url)
