"""Which files belong to a format, and which of them an engine opens."""

import pytest

from densebone.engines.formats import (
    FORMATS,
    PARAMETERS,
    exported_model,
    format_of,
    holds_export,
    megabytes,
    program_file,
)
from densebone.errors import UserError
from densebone.system.packages import ENGINES


def fill(folder, *names):
    """Writes files of 500 000 bytes."""
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_bytes(bytes(500_000))
    return folder


@pytest.fixture
def everything(tmp_path):
    """A folder with all files of all formats."""
    return fill(tmp_path / "all", *(name for each in FORMATS.values() for name in each.files))


def test_every_engine_but_eager_reads_a_format():
    assert {name for each in FORMATS.values() for name in each.engines} == set(ENGINES) - {"eager"}
    for each in FORMATS.values():
        assert each.main in each.files
        assert each.form in each.engines
        assert list(each.engines) == [name for name in ENGINES if name in each.engines]  # the fastest first


def test_the_program_of_either_paddle(tmp_path):
    assert program_file(tmp_path) == tmp_path / "model.pdmodel"
    (tmp_path / "model.json").touch()
    assert program_file(tmp_path) == tmp_path / "model.json"


def test_the_format_of_a_model(everything):
    assert format_of(everything) is FORMATS["paddle"]
    assert format_of(everything / "model.onnx") is FORMATS["onnx"]
    assert format_of(str(everything / "model.xml")) is FORMATS["openvino"]
    (everything / "mine.onnx").touch()  # the name is free, the extension is not
    assert format_of(everything / "mine.onnx") is FORMATS["onnx"]


def test_what_is_no_exported_model(everything, tmp_path):
    with pytest.raises(UserError, match=r"does not exist; give a folder with model\.pdiparams, an \.onnx file or"):
        format_of(tmp_path / "nowhere.onnx")
    for path in (everything / PARAMETERS, everything / "model.json", fill(tmp_path / "empty")):
        with pytest.raises(UserError, match="is no exported model; give a folder"):
            format_of(path)


@pytest.mark.parametrize(
    ("engine", "names", "opened"),
    [
        ("auto", ["model.xml", "model.onnx", PARAMETERS], "model.xml"),
        ("auto", ["model.onnx", PARAMETERS], "model.onnx"),
        ("auto", [PARAMETERS], ""),
        ("openvino", ["model.xml", "model.onnx"], "model.xml"),
        ("openvino", ["model.onnx", PARAMETERS], "model.onnx"),
        ("onnxruntime", ["model.xml", "model.onnx", PARAMETERS], "model.onnx"),
        ("paddle", ["model.xml", "model.onnx", PARAMETERS], ""),
    ],
)
def test_what_an_engine_opens(engine, names, opened, tmp_path):
    folder = fill(tmp_path / "mine", *names)
    assert exported_model(str(folder), engine) == folder / opened


@pytest.mark.parametrize(
    ("engine", "message"),
    [
        ("eager", "engine is 'eager', which runs no exported model; give one of auto, openvino, onnxruntime, paddle"),
        ("onnxruntime", "holds none of model.onnx, which the engine 'onnxruntime' reads"),
        ("openvino", "holds none of model.xml, model.onnx, which the engine 'openvino' reads"),
        ("paddle", "holds none of model.pdiparams, which the engine 'paddle' reads"),
        ("auto", "holds none of model.xml, model.onnx, model.pdiparams, which the engine 'auto' reads"),
    ],
)
def test_an_engine_that_finds_nothing(engine, message, tmp_path):
    with pytest.raises(UserError, match=message):
        exported_model(fill(tmp_path / "mine", "model.txt"), engine)


def test_a_folder_holds_an_export_of_any_format(tmp_path):
    for number, each in enumerate(FORMATS.values()):
        assert holds_export(fill(tmp_path / str(number), each.main))
    assert not holds_export(fill(tmp_path / "other", "model.json", "model.bin", "notes.txt"))
    assert not holds_export(tmp_path / "nowhere")


def test_megabytes_count_the_files_that_are_there(tmp_path):
    folder = fill(tmp_path / "mine", "model.json", PARAMETERS, "model.xml", "model.bin", "notes.txt")
    assert [megabytes(folder, name) for name in FORMATS] == [1.0, 0.0, 1.0]
