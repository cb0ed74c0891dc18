"""The file formats of an exported network: which files each has, which engines read it, which packages write it."""

from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError
from ..system.packages import CONVERTERS

#: the weights of a Paddle inference model
PARAMETERS = "model.pdiparams"
_PROGRAMS = ("model.json", "model.pdmodel")


@dataclass(frozen=True)
class Format:
    """One file format.

    Attributes:
        main (str): the file by which a folder is known to hold this format.
        files (tuple of str): all files that may belong to it.
        engines (tuple of str): the engines that read it, the fastest first.
        form (str): the engine for which the network is prepared before it is written.
        needs (tuple of str): the packages that write it.
    """

    main: str
    files: tuple[str, ...]
    engines: tuple[str, ...]
    form: str
    needs: tuple[str, ...] = ()


#: format -> its facts. A later one runs faster.
FORMATS: dict[str, Format] = {
    "paddle": Format(PARAMETERS, (*_PROGRAMS, PARAMETERS), ("paddle",), "paddle"),
    "onnx": Format("model.onnx", ("model.onnx",), ("openvino", "onnxruntime"), "onnxruntime", needs=CONVERTERS),
    "openvino": Format(
        "model.xml", ("model.xml", "model.bin"), ("openvino",), "openvino", needs=(*CONVERTERS, "openvino")
    ),
}


def program_file(folder: str | Path) -> Path:
    """The program of a Paddle inference model: model.json, or model.pdmodel when Paddle 2 wrote it."""
    current, old = (Path(folder) / name for name in _PROGRAMS)
    return current if current.is_file() else old


def megabytes(folder: str | Path, name: str) -> float:
    """The size of a format's files in a folder, in 10^6 bytes."""
    files = [Path(folder) / file for file in FORMATS[name].files]
    return round(sum(file.stat().st_size for file in files if file.is_file()) / 1e6, 2)


def holds_export(folder: str | Path) -> bool:
    """Whether a folder holds an exported network in any format."""
    return any((Path(folder) / each.main).is_file() for each in FORMATS.values())


def format_of(path: str | Path) -> Format:
    """The format of an exported model.

    Args:
        path: a folder with a Paddle inference model, an .onnx file, or an OpenVINO .xml file.

    Raises:
        UserError: there is no such file or folder, or it holds no exported model.
    """
    path = Path(path)
    for each in FORMATS.values():
        if path.is_file() and path.suffix == Path(each.main).suffix and each.main != PARAMETERS:
            return each
    if (path / PARAMETERS).is_file():
        return FORMATS["paddle"]
    what = "does not exist" if not path.exists() else "is no exported model"
    raise UserError(f"{path} {what}; give a folder with {PARAMETERS}, an .onnx file or an OpenVINO .xml file")


def exported_model(folder: str | Path, engine: str = "auto") -> Path:
    """What an engine opens of a folder that `densebone export` wrote.

    Args:
        folder: holds the files of one or more formats.
        engine: one of `system.packages.ENGINES`, or "auto" for the format that runs fastest.

    Returns:
        The .xml or .onnx file, or the folder itself for a Paddle inference model.

    Raises:
        UserError: the engine runs no exported model, or the folder holds no file that it reads.
    """
    fastest_first = list(reversed(FORMATS.values()))
    readable = [each for each in fastest_first if engine == "auto" or engine in each.engines]
    if not readable:
        engines = dict.fromkeys(name for each in fastest_first for name in each.engines)
        raise UserError(
            f"engine is {engine!r}, which runs no exported model; give one of {', '.join(['auto', *engines])}"
        )
    for each in readable:
        file = Path(folder) / each.main
        if file.is_file():
            return Path(folder) if each.main == PARAMETERS else file
    names = ", ".join(each.main for each in readable)
    raise UserError(f"{folder} holds none of {names}, which the engine {engine!r} reads")
