"""The files of a profile."""

import csv
import json

from densebone.profiling.costs import profile


def test_files_hold_what_was_counted(tmp_path):
    costs = profile("condensenetv2_a", (64, 64))
    costs.save_json(tmp_path / "costs.json")
    costs.save_csv(tmp_path / "costs.csv")
    saved = json.loads((tmp_path / "costs.json").read_text())
    rows = list(csv.DictReader((tmp_path / "costs.csv").open()))
    assert saved["macs"] == costs.macs == sum(layer["macs"] for layer in saved["layers"])
    assert saved["macs"] == sum(int(row["macs"]) for row in rows)
    assert [row["name"] for row in rows] == [layer.name for layer in costs.layers]
    assert (rows[0]["input_shape"], rows[0]["memory_bound"]) == ("1x3x64x64", "True")
    assert len(rows) == len(costs.layers) == 93
