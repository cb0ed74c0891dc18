"""The configurations that ship, file by file, and the keys that a classifier's configuration may have."""

from __future__ import annotations

import json
import re
from dataclasses import MISSING, fields
from pathlib import Path

from densebone.scripts.options import CONFIGS, shipped_configs
from densebone.tasks.classification import job, layouts, schema, transforms

FOLDER = "reference/configurations"
TASKS = ("detection", "segmentation", "classification")


def pages() -> dict[str, str]:
    """{path of a page: Markdown}: the files of each task, the keys of classification, and the list of them."""
    shipped = shipped_configs()
    rows = "\n".join(
        f"| [{task}](configurations/{task}.md) | {sum(path.parent.name == task for path in shipped.values())} |"
        for task in TASKS
    )
    overview = (
        "---\ntitle: All configurations\n---\n\n# Configurations\n\n`densebone train -c NAME` takes the name of a "
        "configuration that ships, or your own file. Names are `DETECTOR_BACKBONE_SIZE_SCHEDULE_DATA`. A file holds "
        "what differs from its `_BASE_`, which stands on the same page.\n\n"
        f"| task | configurations |\n| --- | --- |\n{rows}\n\n"
        "PaddleDetection and PaddleSeg define the keys of their configurations. densebone's own blocks are on the "
        "pages [Names for PaddleDetection](python/paddledetection.md) and [Names for PaddleSeg](python/paddleseg.md). "
        "All [keys of a classifier](configurations/keys.md) are densebone's.\n"
    )
    return {
        f"{FOLDER}.md": overview,
        **{f"{FOLDER}/{task}.md": _files(task) for task in TASKS},
        f"{FOLDER}/keys.md": keys(),
    }


def _files(task):
    parts = [f"---\ntitle: {task.capitalize()}\n---\n\n# Configurations for {task}\n"]
    for path in sorted((CONFIGS / task).glob("*.yml")):
        parts.append(f"## {path.stem}\n\n{_yaml(path)}\n")
    parts.append("## Bases\n")
    for path in sorted((CONFIGS / task / "_base_").glob("*.yml")):
        parts.append(f"### {path.stem}\n\n{_yaml(path)}\n")
    return "\n".join(parts)


def _yaml(path: Path):
    return f"```yaml\n{path.read_text().strip()}\n```"


def keys() -> str:
    """The page of a classifier's keys, from the dataclasses that check them."""
    parts = [
        "---\ntitle: Keys of a classifier\n---\n\n# The keys of a classifier's configuration\n\nWritten from the "
        "classes that check a configuration. [Classification](../../classification.md) and "
        "[Training a classifier](../../classification_training.md) explain them.\n",
        f"## At the top\n\n{_table(job.Job)}\n",
        f"## model\n\n{_table(job.Model)}\n",
    ]
    for title, table in (
        ("optimizer", job.OPTIMIZERS), ("lr_scheduler", job.SCHEDULERS),
        ("train_dataset, val_dataset", layouts.DATASETS), ("train_dataset.transforms", transforms.TRANSFORMS),
    ):  # fmt: skip
        parts.append(f"## {title}\n")
        for name, kind in table.items():
            what = " ".join((kind.__doc__ or "").partition("\n\n")[0].split())
            parts.append(f"### {name}\n\n`type: {name}`. {what}\n\n{_table(kind)}\n")
    return "\n".join(parts)


def _table(kind):
    """The keys of a block: what each may hold, its default and its meaning."""
    meanings = _meanings(kind.__doc__ or "")
    settings = [field for field in fields(kind) if "kind" in field.metadata]
    if not settings:
        return "It has no keys."
    columns = ["key", "value", "default", *(["meaning"] if meanings else [])]
    rows = [columns, ["---"] * len(columns)]
    for field in settings:
        listed = "a list: " if field.metadata["kind"].endswith("s") and "choices" in field.metadata else ""
        row = [
            f"`{field.name}`",
            listed + schema._expected(field.metadata),
            _default(field),
            meanings.get(field.name, ""),
        ]
        rows.append(row[: len(columns)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _default(field):
    if field.default_factory is not MISSING:
        return "`{}`"
    if field.default is MISSING:
        return "needed"
    shown = field.default if isinstance(field.default, str) else json.dumps(field.default)
    return f"`{shown}`"


def _meanings(doc):
    """{name: text} of the section "Attributes:" of a docstring."""
    section = re.search(r"^ *Attributes:\n((?: {4,}.*\n?)+)", doc, re.M)
    entries = re.split(r"^ {8}(?=\S)", section[1], flags=re.M)[1:] if section else []
    found = {}
    for entry in entries:
        names, _, text = " ".join(entry.split()).partition(": ")
        text = re.sub(r"\bNone\b", "null", text)  # as YAML has it
        found.update(dict.fromkeys(re.split(r", ", re.sub(r" \(.*?\)", "", names)), text))
    return found
