"""The known checkpoints: what each one is, where it is published, and which hash its file has.

catalog.yml holds the data. An entry is called <network>.<source>, such as hardnet68.official.
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
    """The published hashes of a file. One match is enough: copies in different places may differ.

    Attributes:
        sha256_prefix: the first hex digits of its SHA-256, as in PyTorch Hub's file names.
        git_blob_sha1: its object name in a git tree: the SHA-1 of b"blob <size>", a zero byte, and the file.
        sha1: its SHA-1.
        of: "file", or "zip member" when the hash is of the file inside the published zip.
    """

    sha256_prefix: str | None = None
    git_blob_sha1: str | None = None
    sha1: str | None = None
    of: str = "file"

    @property
    def stated(self) -> bool:
        """Whether any hash is published."""
        return bool(self.sha256_prefix or self.git_blob_sha1 or self.sha1)


@dataclass(frozen=True)
class Entry:
    """One checkpoint.

    Attributes:
        name: <network>.<source>; or the URL, when that is not in the catalog.
        source: who publishes it; None for a URL that is not in the catalog.
        file: its name in the cache and on mirrors. A mirror holds a zip member with .zip after the name.
        model: the model of `densebone list` that it fits; None when it fits no model, and `reason` says why.
        form: the form of CondenseNetV2 that it fits, when that is not the default.
        urls: where a program downloads it, best first. Empty when a person has to download it.
        pages: where a person downloads it.
        accuracy, claimed_by: the claimed accuracy, and who claims it. Not measured here.
        licence: under which it is published.
        layout, container: the names of its tensors, and the kind of file.
        read_in: where all this was read.
        preprocessing: None when its source does not say.
        assumed: fields that are likely, but that the source does not state.
        integrity: its published hashes.
        title, note: what it holds, and what else to know.
    """

    name: str
    source: str | None
    file: str
    model: str | None = None
    form: str | None = None
    urls: tuple[str, ...] = ()
    pages: tuple[str, ...] = ()
    accuracy: str | None = None
    claimed_by: str | None = None
    licence: str | None = None
    layout: str | None = None
    container: str | None = None
    read_in: str | None = None
    preprocessing: Preprocessing | None = None
    assumed: tuple[str, ...] = ()
    integrity: Integrity = field(default_factory=Integrity)
    title: str | None = None
    reason: str | None = None
    note: str | None = None

    @property
    def network(self) -> str:
        """The part of the name before the source."""
        return self.name.partition(".")[0]

    @property
    def zipped(self) -> bool:
        """Whether the weights are published inside a zip."""
        return self.integrity.of == "zip member"

    def check_loadable(self) -> None:
        """Raises a UserError that says why, when none of our networks takes these weights."""
        if self.source and not self.model:
            raise UserError(f"{self.name} cannot be loaded: {self.reason}")


@functools.cache
def _catalog():
    """catalog.yml as ({name: Entry}, {model: name of its default entry})."""
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


def entries(model: str | None = None) -> list[Entry]:
    """All entries in the catalog's order, or only those of the network `model`."""
    return [entry for entry in _catalog()[0].values() if model in (None, entry.network)]


def find(name: str) -> Entry:
    """The entry with a name such as "hardnet68.official", or the default entry of a model such as "hardnet68".

    Raises:
        UserError: no such name. The message lists the nearest ones.
    """
    table, defaults = _catalog()
    name = defaults.get(name, name)
    if name not in table:
        near = [n for n in table if n.startswith(f"{str(name).partition('.')[0]}.")]
        nearest = f"its weights are {', '.join(near)}" if near else suggest(name, table)
        raise UserError(f"there are no weights called {name!r}; {nearest} (densebone weights list)")
    return table[name]


def default_for(model: str) -> Entry:
    """The entry that `pretrained=True` means for a model; UserError when it has none."""
    defaults = _catalog()[1]
    if model not in defaults:
        raise UserError(
            f"no pretrained weights are known for {model!r}; give a file, or one of the models {', '.join(defaults)}"
        )
    return find(defaults[model])


def is_published(text: str) -> bool:
    """Whether a text names published weights. False when a file of that name exists."""
    try:
        find(text)
    except UserError:
        return False
    return not Path(text).exists()


def is_url(text: object) -> bool:
    """Whether a text is meant as a URL: it starts with a scheme and ://."""
    return bool(re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", str(text)))


def of_url(url: object) -> Entry:
    """The entry that lists a URL; for other URLs a new entry, which knows nothing but the URL.

    Raises:
        UserError: the URL is neither http nor https, or has no host.
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
        raise UserError(f"{url} cannot be downloaded; only http:// and https:// can; give a local file by its path")
    said = re.search(r"filename\*?=\"?([^\";&]+)", unquote(parts.query))
    name = said.group(1) if said else unquote(parts.path)
    name = re.sub(r"[^A-Za-z0-9._-]", "_", name.rstrip("/").rpartition("/")[2]).lstrip(".")[-80:]
    # The hash keeps two URLs with the same last part apart.
    file = f"urls/{hashlib.sha256(url.encode()).hexdigest()[:12]}-{name or 'weights'}"
    return Entry(name=url, source=None, file=file, urls=(url,))


def shown(url: str) -> str:
    """A URL for messages and records, without its query, user and password."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"
