"""The reference of the Python names: which docstrings stand on which page."""

from __future__ import annotations

import densebone

FOLDER = "reference/python"

# The classes whose arguments every backbone of a toolkit has carry no name of their own.
TITLES = {
    "integrations.paddledet._DetectionBackbone": "Every backbone",
    "integrations.paddleseg._SegmentationBackbone": "Every backbone",
}

# The methods that a user calls; of other classes, all public ones.
MEMBERS = {
    "backbones.base.Network": (
        "forward", "forward_maps", "forward_features", "forward_head", "forward_intermediates", "get_classifier",
        "reset_classifier", "output_shape", "freeze", "unfreeze", "set_grad_checkpointing", "no_weight_decay",
        "group_matcher", "parameter_groups", "deploy",
    ),
    "backbones.hardnet.HarDNet": (),
    "backbones.peleenet.PeleeNet": (),
    "backbones.condensenetv2.CondenseNetV2": ("set_progress", "lasso_loss"),
}  # fmt: skip

# page -> (title, what it is for, the names of `import densebone`, further ones with their module)
PAGES = {
    "networks": (
        "Networks",
        "`densebone.create_model` and `create_backbone` build every network; the others say what there is.",
        ("create_model", "create_backbone", "list_models", "is_model", "model_info"),
        ("backbones.base.Network", "backbones.hardnet.HarDNet", "backbones.peleenet.PeleeNet",
         "backbones.condensenetv2.CondenseNetV2"),
    ),
    "weights": (
        "Weights",
        "Files of every program that writes weights, loaded strictly and without running anything of them.",
        ("load_weights", "LoadReport"),
        ("weights.catalog.Entry", "pictures.preparing.Preprocessing"),
    ),
    "learning": (
        "Fine-tuning and pruning",
        "What stands still, what learns how fast, and how CondenseNetV2's learned form becomes the condensed one.",
        ("freeze", "unfreeze", "parameter_groups", "PruningProgress", "condense"),
        (),
    ),
    "features": (
        "Features",
        "Feature maps and vectors of pictures.",
        ("FeatureExtractor",),
        ("features.extractor.Row", "features.shards.load_features"),
    ),
    "engines": (
        "Engines and costs",
        "A network on the fastest engine of this CPU, as files, and what it costs.",
        ("profile",),
        ("engines.opening.open_network", "engines.opening.open_exported", "engines.opening.available",
         "engines.opening.missing", "engines.session.Engine", "deploy.export.export_network"),
    ),
    "runtime": (
        "Exported models, without Paddle",
        "What `densebone export` wrote, run with NumPy, Pillow, and ONNX Runtime or OpenVINO.",
        (),
        ("runtime.model.Model", "runtime.results.Boxes", "runtime.results.Pixels", "runtime.results.Classes",
         "runtime.results.Maps"),
    ),
    "paddledetection": (
        "Names for PaddleDetection",
        "Importing `densebone.integrations.paddledet` registers them. The arguments are the keys of a configuration.",
        (),
        ("integrations.paddledet._DetectionBackbone", "integrations.paddledet_ssd.SSDFeatures",
         "integrations.paddledet_ssd.PeleeSSDFeatures", "integrations.paddledet_ssd.HarDNetSSDFeatures",
         "integrations.paddledet_centernet.CenterNetHarDNetNeck",
         "integrations.paddledet_centernet.CenterNetHarDNetHead"),
    ),
    "paddleseg": (
        "Names for PaddleSeg",
        "Importing `densebone.integrations.paddleseg` registers them. The arguments are the keys of a configuration.",
        (),
        ("integrations.paddleseg._SegmentationBackbone", "integrations.paddleseg.FCHarDNet"),
    ),
    "errors": (
        "Errors",
        "What a user can get wrong raises one class.",
        ("UserError",),
        (),
    ),
}  # fmt: skip


def pages() -> dict[str, str]:
    """{path of a page: Markdown with mkdocstrings' blocks}: the pages of `PAGES`, and the list of them."""
    rows = []
    for page, (title, about, names, further) in PAGES.items():
        shown = [f"`{name}`" for name in (*names, *map(_last, further)) if name[0] != "_"]
        rows.append(f"| [{title}](python/{page}.md) | {about} | {', '.join(shown)} |")
    overview = (
        "---\ntitle: All names\n---\n\n# The Python names\n\n[The networks in Python](../api.md) shows them at work; "
        "these pages are their docstrings. `import densebone` takes no time: a name is loaded when it is used.\n\n"
        "| page | | names |\n| --- | --- | --- |\n" + "\n".join(rows) + "\n"
    )
    return {f"{FOLDER}.md": overview, **{f"{FOLDER}/{page}.md": _page(*content) for page, content in PAGES.items()}}


def _page(title, about, names, further):
    homes = [f"{densebone._HOMES[name]}.{name}" for name in names]
    imports = [f"from densebone import {name}" for name in names]
    imports += [
        f"from densebone.{home.rpartition('.')[0]} import {_last(home)}" for home in further if home not in TITLES
    ]
    code = "```python\n" + "\n".join(imports) + "\n```\n\n" if imports else ""
    return f"# {title}\n\n{about}\n\n{code}" + "\n\n".join(map(_block, [*homes, *further])) + "\n"


def _block(home):
    """mkdocstrings' block for a name."""
    title = TITLES.get(home, _last(home))
    options = [f"heading: {title}", f"toc_label: {title}"]
    if home in TITLES:
        options.append("show_signature: false")
    if members := MEMBERS.get(home, ()):
        options += [f"members: [{', '.join(members)}]", "inherited_members: true"]
    elif home in MEMBERS or home in TITLES:
        options.append("members: false")
    return f"::: densebone.{home}\n    options:" + "".join(f"\n      {option}" for option in options)


def _last(home):
    return home.rpartition(".")[2]
