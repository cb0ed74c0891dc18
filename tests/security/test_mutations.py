"""Seeded mutations of every kind of input: a clear line or a result, never a traceback, a hang or a full memory.

CI tries 1,000. `DENSEBONE_MUTATIONS=20000 pytest tests/security/test_mutations.py` tries more.
"""

import json
import os
import pickle
import resource
import signal
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tiny_voc
import yaml
from PIL import Image
from safetensors.numpy import save_file

from densebone import UserError
from densebone.datasets import coco, formats, inspection, label_map, voc
from densebone.datasets.annotations import check_boxes, locate, match_classes
from densebone.datasets.labelled import read_list
from densebone.datasets.masks import read_mask
from densebone.datasets.report import Report
from densebone.deploy.cards import read_card
from densebone.pictures.reading import read_header, read_image
from densebone.scripts.options import find_config
from densebone.tasks import configuration
from densebone.tasks.task import task_of
from densebone.weights.reader import read_arrays

COUNT = int(os.environ.get("DENSEBONE_MUTATIONS", 1000))
SECONDS = 10
MEGABYTES = 2000
# What breaks parsers: numbers without measure, depth, references, other encodings, terminal escapes.
PIECES = [
    b"9" * 400, b"-1", b"1e999", b"NaN", b"null", b"[" * 300, b"{" * 300, b"\x00", b"\xff\xfe", b"\xef\xbb\xbf",
    b"\x1b[2J", b"../../../etc/passwd", b"/dev/zero", b"%s%n", b"&a [*a, *a]", b"!!python/name:os.system", b"<<: *a",
    b"\x80\x04cos\nsystem\n", b"'", b'"', b"\r\n", b"\n\n", b" ", b"\t", b"<!ENTITY a 'b'>", b"&a;", b"true", b"{}",
    b"[]",
]  # fmt: skip


def mutated(data, rng):
    """One to four changes of some bytes."""
    data = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        place = int(rng.integers(0, max(1, len(data))))
        length = int(rng.integers(1, 40))
        kind = rng.integers(0, 7)
        if kind == 0 and data:
            data[place % len(data)] ^= 1 << int(rng.integers(0, 8))
        elif kind == 1:
            del data[place : place + length]
        elif kind == 2:
            data[place:place] = data[place : place + length] * int(rng.integers(1, 30))
        elif kind == 3:
            del data[place:]
        elif kind == 4:
            data[place : place + length] = rng.integers(0, 256, length, np.uint8).tobytes()
        else:
            data[place : place + int(rng.integers(0, 10))] = PIECES[int(rng.integers(0, len(PIECES)))]
    return bytes(data)


class Kind:
    """A kind of input: a good example, the file's name, and what reads it."""

    def __init__(self, name, examples, read):
        self.name, self.examples, self.read = name, examples, read


def load_job(file):
    task_of(file).part("config").load(file)


def read_coco(file):
    report = Report("X")
    found = coco.read(file, report, masks=file.stat().st_size % 2 == 0)
    locate(found, [file.parent], report)
    match_classes(found, ["cat", "dog"], report)
    check_boxes(found, report)
    json.dumps(coco.content_of(found), allow_nan=False)
    report.lines()


def read_overrides(file):
    settings = {"a": {"b": [1, 2]}, "save_dir": "x", "pretrained": None}
    for line in file.read_text(errors="replace").splitlines():
        configuration.apply_override(settings, line)


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("examples")
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8))
    pictures, masks = [], []
    for name, options in (("a.jpg", {}), ("b.png", {}), ("c.webp", {}), ("d.gif", {}), ("e.tiff", {}), ("f.bmp", {})):
        picture.save(folder / name, **options)
        pictures.append((folder / name).read_bytes())
    for mode in ("L", "P", "I;16"):
        Image.fromarray(np.arange(600, dtype=np.uint8).reshape(20, 30)).convert(mode).save(folder / "mask.png")
        masks.append((folder / "mask.png").read_bytes())
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 50, "height": 40}],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        "annotations": [
            {"id": i, "image_id": 1, "category_id": 1 + i % 2, "bbox": [1, 2, 10, 10 + i], "area": 100, "iscrowd": 0,
             "segmentation": [[1, 2, 11, 2, 11, 12]]} for i in range(4)
        ],
    }  # fmt: skip
    arrays = {"conv.weight": np.zeros((3, 4), np.float32), "conv.bias": np.ones(3, np.float32)}
    save_file(arrays, folder / "w.safetensors")
    np.savez(folder / "w.npz", **arrays)
    with zipfile.ZipFile(folder / "w.zip", "w") as archive:
        archive.write(folder / "w.npz", "w.npz")
    card = {
        "name": "x", "classes": ["a"], "input_shape": [1, 3, 64, 64], "outputs": [{"name": "y", "shape": [1, 2]}],
        "preprocessing": {"resize": 36, "crop": 32, "interpolation": "bilinear", "backend": "pil", "channels": "rgb",
                          "mean": [0, 0, 0], "std": [1, 1, 1]},
    }  # fmt: skip
    configs = [yaml.safe_dump(_flat("smoke_hardnet39ds_sample")).encode()]
    weights = [(folder / name).read_bytes() for name in ("w.safetensors", "w.npz", "w.zip")]
    weights += [pickle.dumps(arrays, protocol) for protocol in (2, 4)]
    sheet = tiny_voc.xml("a", (50, 40), [("dog", 0, [1, 2, 30, 20])]).encode()
    lists = [b"a.jpg 0\nb.png 1\n", b'"a b.jpg",1\n', b"a.jpg\t0\r\n"]
    overrides = [b"a.b.0=3\nsave_dir=2007\n", b"a={x: [1, 2]}\n", b"pretrained=true\n"]
    return [
        Kind("mine.yml", configs, load_job),
        Kind("base.yml", _shipped(), lambda file: configuration.with_bases(file, ())),
        Kind("overrides.txt", overrides, read_overrides),
        Kind("a.json", [json.dumps(content).encode()], read_coco),
        Kind("a.xml", [sheet], voc.read_annotation),
        Kind("list.txt", lists, lambda file: read_list(file, [file.parent], 2, None)),
        Kind("picture", pictures, lambda file: (read_header(file), read_image(file))),
        Kind("mask.png", masks, read_mask),
        Kind("weights", weights, read_arrays),
        *_own_data(),
        Kind("model_card.json", [json.dumps(card).encode()], lambda file: read_card(file.parent)),
    ]


def _own_data():
    """The files of `densebone init`: read as training would, and inspected. Each in a folder with one picture."""
    labelme = {"shapes": [{"label": "cat", "points": [[1, 2], [9, 2], [9, 8]], "shape_type": "polygon"}],
               "imagePath": "a.jpg", "imageWidth": 50, "imageHeight": 40}  # fmt: skip
    cvat = """<annotations><image id="0" name="a.jpg" width="50" height="40">
        <box label="cat" xtl="1" ytl="2" xbr="20" ybr="30"/><polygon label="dog" points="1,2;9,2;9,8"/>
        </image></annotations>"""
    files = {
        "yolo/a.txt": b"0 0.5 0.5 0.25 0.2\n1 0.1 0.1 0.3 0.1 0.3 0.4\n",
        "described/data.yaml": b"path: .\ntrain: .\nnames: {0: cat, 1: dog}\n",
        "labelme/a.json": json.dumps(labelme).encode(),
        "cvat/all.xml": cvat.encode(),
        "csv/boxes.csv": b"filename,class,xmin,ymin,xmax,ymax,split\na.jpg,cat,1,2,20,30,train\n",
        "labels/labels.csv": b"file,label\na.jpg,cat\n",
        "map/classes.csv": b"name,r,g,b\nvoid,0,0,0\nroad,128,0,0\n",
    }
    names = {"described": "yolo"}

    def read(file):
        name = file.parent.name
        if name == "map":
            return label_map.read_table(file)
        if not (file.parent / "a.jpg").exists():
            Image.new("RGB", (50, 40)).save(file.parent / "a.jpg")
        source, _ = inspection.inspect(file.parent, names.get(name, name))
        return formats.read(source, Report("data"))

    return [Kind(name, [example], read) for name, example in files.items()]


def _flat(name):
    from densebone.tasks.classification.config import _read

    return _read(find_config(name))


def _shipped():
    names = ("pelee_ssd_304_100k_coco", "fchardnet70_cityscapes_1024x1024_90k")
    return [configuration.flatten([find_config(name)], "{}").encode() for name in names]


class Hang(Exception):
    pass


def _hang(*_):
    raise Hang


def test_mutated_inputs(kinds, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (50, 40)).save(tmp_path / "a.jpg")
    rng = np.random.default_rng(int(os.environ.get("DENSEBONE_SEED", 0)))
    for kind in kinds:
        for example in kind.examples:  # an example that is refused would try nothing
            (tmp_path / kind.name).parent.mkdir(exist_ok=True)
            (tmp_path / kind.name).write_bytes(example)
            kind.read(tmp_path / kind.name)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    signal.signal(signal.SIGALRM, _hang)
    good, refused, slowest = 0, 0, 0.0
    for number in range(COUNT):
        kind = kinds[number % len(kinds)]
        file = Path(tmp_path / kind.name)
        data = mutated(kind.examples[int(rng.integers(0, len(kind.examples)))], rng)
        file.write_bytes(data)
        started = time.monotonic()
        signal.alarm(SECONDS)
        try:
            kind.read(file)
            good += 1
        except UserError as error:
            refused += 1
            assert "\n" not in str(error) and "\x1b" not in str(error), f"{number}: {kind.name}"
        except Exception as error:
            (tmp_path / f"failed-{number}").write_bytes(data)
            pytest.fail(f"{kind.name}, number {number}: {type(error).__name__}: {error}; {tmp_path}/failed-{number}")
        finally:
            signal.alarm(0)
        slowest = max(slowest, time.monotonic() - started)
    used = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"{good} read, {refused} refused, slowest {slowest:.2f} s, memory {used:.0f} MB more")
    assert good and refused and used < MEGABYTES
