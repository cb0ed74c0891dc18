"""Measures the tables of docs/zoo.md: our networks beside those that people take instead.

    make zoo                                     all of it, in an environment of its own; half an hour on two cores
    python -m benchmarks.zoo --only segmenters   one table
    python -m benchmarks.zoo --draw              writes tables and pictures anew from the figures that are there

Each table is one run of `densebone compare`, whose figures are kept in docs/zoo/NAME.json. From these the page gets the
table between its two marks, and docs/images its picture. What is written by hand around the tables stays.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from densebone.comparison import plots, tables
from densebone.comparison.comparing import compare
from densebone.errors import UserError
from densebone.system.files import atomic_path

ROOT = Path(__file__).resolve().parent.parent
PAGE, FIGURES, PICTURES = ROOT / "docs" / "zoo.md", ROOT / "docs" / "zoo", ROOT / "docs" / "images"
ENGINES = ("openvino", "onnxruntime")


@dataclass(frozen=True)
class Table:
    """One table of the page.

    Attributes:
        size: (height, width) of the pictures in pixels.
        networks: as `densebone compare` names them.
        rounds: turns of each network.
        has_picture: whether accuracy is drawn against time.
    """

    size: tuple[int, int]
    networks: tuple[str, ...]
    rounds: int = 9
    has_picture: bool = True


def _maps(name):
    return f"{name},features_only=True"


TABLES = {
    "classifiers": Table(
        (224, 224),
        (
            "hardnet39ds", "hardnet68ds", "hardnet68", "hardnet85", "peleenet",
            "condensenetv2_a", "condensenetv2_b", "condensenetv2_c",
            "paddleclas:PPLCNet_x0_5", "paddleclas:PPLCNet_x1_0", "paddleclas:PPLCNet_x2_5",
            "paddleclas:PPLCNetV2_base",
            "paddleclas:MobileNetV3_small_x1_0", "paddleclas:MobileNetV3_large_x1_0", "paddleclas:PPHGNetV2_B0",
            "paddleclas:ResNet18_vd", "paddleclas:ResNet50_vd", "torchvision:resnet18", "torchvision:mobilenet_v2",
            "timm:mobilenetv3_large_100", "timm:efficientnet_b0", "timm:ghostnet_100", "timm:densenet121.tv_in1k",
        ),
    ),
    "backbones": Table(
        (640, 640),
        (
            _maps("hardnet39ds"), _maps("hardnet68ds"), _maps("hardnet68"), _maps("hardnet85"), _maps("peleenet"),
            _maps("condensenetv2_a"), _maps("condensenetv2_b"), _maps("condensenetv2_c"),
            "ppdet:CSPResNet,depth_mult=0.33,width_mult=0.5", "ppdet:CSPResNet", "ppdet:DarkNet", "ppdet:CSPDarkNet",
            "ppdet:LCNet", "ppdet:MobileNetV3", "paddleseg:STDC1", "paddleseg:STDC2",
        ),
        rounds=7,
        has_picture=False,
    ),
    "segmenters": Table(
        (1024, 2048),
        (
            "fchardnet70", "paddleseg:PPLiteSeg,backbone=STDC1", "paddleseg:PPLiteSeg,backbone=STDC2",
            "paddleseg:STDCSeg,backbone=STDC1", "paddleseg:STDCSeg,backbone=STDC2", "paddleseg:BiSeNetV2",
        ),
        rounds=5,
        has_picture=False,
    ),
}  # fmt: skip


def main(argv=None):
    """Measures and writes; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=TABLES, default=list(TABLES), help="some of the tables")
    parser.add_argument("--draw", action="store_true", help="measure nothing; write from the figures that are there")
    parser.add_argument("--threads", type=int, help="CPU threads of every engine; default: all CPUs")
    parser.add_argument("--rounds", type=int, help="turns of each network")
    arguments = parser.parse_args(argv)
    try:
        for name in arguments.only:
            if not arguments.draw:
                measure(name, arguments.threads, arguments.rounds)
            write(name)
    except UserError as error:
        print(f"benchmarks.zoo: {error}", file=sys.stderr)
        return 2
    return 0


def measure(name, threads, rounds):
    """Measures one table and keeps its figures."""
    table = TABLES[name]
    rounds = table.rounds if rounds is None else rounds
    found = compare(table.networks, table.size, engines=ENGINES, threads=threads, rounds=rounds)
    tables.print_comparison(found)
    tables.save_json(found, FIGURES / f"{name}.json")


def write(name):
    """Writes one table into the page, and its picture, from the figures that are kept."""
    found = tables.read_json(FIGURES / f"{name}.json")
    lines = "".join(f"- {line}\n" for line in tables.notes(found))
    begin, end = f"<!-- {name}: written by make zoo -->\n", f"<!-- {name}: end -->"
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(begin)
    _, mark, after = rest.partition(end)
    if not mark:
        raise UserError(f"{PAGE} has no lines {begin.strip()} and {end}, between which the table stands")
    picture = ""
    if TABLES[name].has_picture and found.about["rounds"]:
        plots.plot_front(found, PICTURES / f"zoo_{name}.png")
        picture = f"\n![Published accuracy against the time of a run](images/zoo_{name}.png)\n"
    with atomic_path(PAGE) as temporary:
        written = f"{before}{begin}\n{tables.markdown(found)}{picture}\n{lines}\n{end}{after}"
        temporary.write_text(written, encoding="utf-8")
    print(f"written: {PAGE}, table {name}")


if __name__ == "__main__":
    sys.exit(main())
