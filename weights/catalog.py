"""The known checkpoints: what each one is, where it is, and how to tell that it is the right file.

catalog.yml is the data; an entry is called <network>.<source>, such as hardnet68.official.
"""

import functools
import hashlib
import re
from dataclasses import dataclass, field, fields
from pathlib import Path
from urllib.parse import unquote, urlsplit

import yaml

from ..errors import UserError, suggest
from ..pictures.preparing import Preprocessing

FILE = Path(__file__).with_name("catalog.yml")


@dataclass(frozen=True)
class Integrity:
    """What the publishers say about a file's bytes. One that agrees is enough: copies in different places may differ.

    Attributes:
        sha256_prefix (str | None): the first hex digits of its SHA-256, as in PyTorch Hub's file names.
        git_blob_sha1 (str | None): its object name in a git tree: SHA-1 of b"blob <size>", a zero byte, and the file.
        sha1 (str | None): its SHA-1.
        of (str): "file", or "zip member" when what is published is a zip around the file that is meant.
    """

    sha256_prefix: str | None = None
    git_blob_sha1: str | None = None
    sha1: str | None = None
    of: str = "file"

    @property
    def stated(self):
        """Whether anything is known about the bytes before they are seen."""
        return bool(self.sha256_prefix or self.git_blob_sha1 or self.sha1)


@dataclass(frozen=True)
class Entry:
    """One checkpoint.

    Attributes:
        name (str): <network>.<source>; the URL, for a URL that is not in the catalog.
        source (str): who publishes it; None for a URL that is not in the catalog.
        file (str): its name in the cache and on mirrors (there with .zip for a zip member).
        model (str | None): the model of `densebone list` that it fits; None when it fits none, and `reason` says why.
        form (str | None): the form of CondenseNetV2 that it fits, when not the default.
        urls (tuple of str): where a program gets it, best first. Empty: only by hand.
        pages (tuple of str): where a person gets it.
        accuracy, claimed_by (str | None): what is claimed for it, and by whom. Not measured here.
        licence, layout, container, read_in (str | None): `read_in` is where all this was read.
        preprocessing (Preprocessing | None): None when its source does not say.
        assumed (tuple of str): the fields that are likely, but not stated by the source.
        integrity (Integrity).
        title, note (str | None).
    """

    name: str
    source: str | None
    file: str
    model: str | None = None
    form: str | None = None
    urls: tuple = ()
    pages: tuple = ()
    accuracy: str | None = None
    claimed_by: str | None = None
    licence: str | None = None
    layout: str | None = None
    container: str | None = None
    read_in: str | None = None
    preprocessing: Preprocessing | None = None
    assumed: tuple = ()
    integrity: Integrity = field(default_factory=Integrity)
    title: str | None = None
    reason: str | None = None
    note: str | None = None

    @property
    def network(self):
        """The part of the name before the source."""
        return self.name.partition(".")[0]

    @property
    def zipped(self):
        """Whether the published file is a zip around the one that is meant."""
        return self.integrity.of == "zip member"

    def check_loadable(self):
        """UserError that says why, when no network of ours takes these weights."""
        if self.source and not self.model:
            raise UserError(f"{self.name} cannot be loaded: {self.reason}")


@functools.cache
def _catalog():
    """({name: Entry}, {model: name of its default}) of catalog.yml."""
    content = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    recipes = {name: Preprocessing(**row) for name, row in content["preprocessing"].items()}
    known = {f.name for f in fields(Entry)}
    table = {}
    for name, row in content["entries"].items():
        row = {**content["sources"][row["source"]], **row}
        for key in ("urls", "pages", "assumed"):
            row[key] = tuple(row.get(key, ()))
        row["preprocessing"] = recipes[row["preprocessing"]] if row.get("preprocessing") else None
        row["integrity"] = Integrity(**row.get("integrity", {}))
        if row.get("model"):
            row["title"] = row.get("title", f"{row['model']}, ImageNet")
            row.pop("reason", None)
        assert set(row) <= known, f"{name} in catalog.yml has unknown fields {set(row) - known}"
        table[name] = Entry(name=name, **row)
    return table, content["defaults"]


def entries(model=None):
    """The catalog's entries in its order; those of one network when `model` is given."""
    return [entry for entry in _catalog()[0].values() if model in (None, entry.network)]


def find(name):
    """The entry of a name such as "hardnet68.official", or a model's default; UserError with the nearest names."""
    table, defaults = _catalog()
    name = defaults.get(name, name)
    if name not in table:
        near = [n for n in table if n.startswith(f"{str(name).partition('.')[0]}.")]
        nearest = f"its weights are {', '.join(near)}" if near else suggest(name, table)
        raise UserError(f"there are no weights called {name!r}; {nearest} (densebone weights list)")
    return table[name]


def default_for(model):
    """The entry that `pretrained=True` means for a model; UserError when there is none."""
    defaults = _catalog()[1]
    if model not in defaults:
        raise UserError(
            f"no pretrained weights are known for {model!r}; give a file, or one of the models {', '.join(defaults)}"
        )
    return find(defaults[model])


def is_published(text):
    """Whether a text is the name of published weights, and of no file."""
    try:
        find(text)
    except UserError:
        return False
    return not Path(text).exists()


def is_url(text):
    """Whether a text is meant as a URL: it begins with a scheme and ://."""
    return bool(re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", str(text)))


def of_url(url):
    """The entry of a URL: the catalog's where it knows it, else one that is known by the URL alone.

    Raises:
        UserError: neither http nor https, or no host.
    """
    url = str(url)
    for entry in entries():
        if url in entry.urls:
            return entry
    try:
        parts = urlsplit(url)
        usable = parts.scheme.lower() in ("http", "https") and bool(parts.hostname)
    except ValueError:
        usable = False
    if not usable:
        raise UserError(f"{url} cannot be downloaded; only http:// and https:// can; a file of yours goes by its path")
    said = re.search(r"filename\*?=\"?([^\";&]+)", unquote(parts.query))
    name = said.group(1) if said else unquote(parts.path)
    name = re.sub(r"[^A-Za-z0-9._-]", "_", name.rstrip("/").rpartition("/")[2]).lstrip(".")[-80:]
    # Two URLs with the same last part are two files.
    file = f"urls/{hashlib.sha256(url.encode()).hexdigest()[:12]}-{name or 'weights'}"
    return Entry(name=url, source=None, file=file, urls=(url,))


def shown(url):
    """A URL for messages and records: without query, user and password."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"
