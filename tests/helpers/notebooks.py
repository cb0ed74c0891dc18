"""Executes the notebooks of docs/notebooks, each from a clean kernel.

    python tests/helpers/notebooks.py                      all of them; minutes
    python tests/helpers/notebooks.py retrieval pruning    some

writes into each what it prints and shows, which is what the site shows. Pictures are kept as JPEG.
"""

import base64
import io
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "notebooks"


def read(name):
    """A notebook of docs/notebooks."""
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def names():
    """The names of all notebooks."""
    return sorted(path.stem for path in FOLDER.glob("*.ipynb"))


def execute(name, folder, timeout=3000, **parameters):
    """Executes a notebook in a folder; returns it with its outputs.

    Args:
        name: of a file in docs/notebooks.
        folder: where it writes.
        timeout: of a cell, seconds.
        parameters: values in the place of those of the cell that is tagged "parameters".
    """
    notebook = read(name)
    place = next(i for i, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", ()))
    given = notebook.cells[place].source
    assert all(f"{parameter}" in given for parameter in parameters), f"{name} has other parameters: {given}"
    lines = "\n".join(f"{parameter} = {value!r}" for parameter, value in parameters.items())
    notebook.cells.insert(place + 1, nbformat.v4.new_code_cell(lines))
    NotebookClient(notebook, timeout=timeout, resources={"metadata": {"path": str(folder)}}).execute()
    del notebook.cells[place + 1]
    return notebook


def shown(notebook):
    """The texts that the cells print, one after the other."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return "\n".join(output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs)


def slim(notebook, folder):
    """Keeps of the outputs what a reader looks at: texts but for progress bars and machine paths, pictures as JPEG."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type != "code":
            continue
        cell.execution_count, kept = None, []
        for output in cell.outputs:
            output.pop("execution_count", None)
            if output.output_type == "stream":
                text = output.text.replace(f"{folder}/", "").replace(f"{FOLDER.parents[1]}/", "")
                if output.name == "stdout" and kept and kept[-1].output_type == "stream":
                    kept[-1].text += text
                elif output.name == "stdout":
                    kept.append(nbformat.v4.new_output("stream", name="stdout", text=text))
            elif pictures := [kind for kind in ("image/png", "image/jpeg") if kind in output.data]:
                data = {"image/jpeg": _jpeg(output.data[pictures[0]])}
                kept.append(nbformat.v4.new_output("display_data", data=data))
            elif "text/plain" in output.data:
                data = {"text/plain": output.data["text/plain"]}
                kept.append(nbformat.v4.new_output("display_data", data=data))
        cell.outputs = kept
    notebook.metadata.language_info = {"name": "python"}
    return notebook


def _jpeg(text):
    picture, out = Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB"), io.BytesIO()
    picture.thumbnail((900, 900))
    picture.save(out, format="JPEG", quality=80, optimize=True)
    return base64.b64encode(out.getvalue()).decode()


def main(chosen):
    """Executes notebooks at their full size, and writes them with their outputs."""
    for name in chosen or names():
        with tempfile.TemporaryDirectory() as folder:
            notebook = slim(execute(name, folder), folder)
        nbformat.write(notebook, FOLDER / f"{name}.ipynb")
        print(f"{name}: {(FOLDER / f'{name}.ipynb').stat().st_size / 1e3:.0f} kB", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
