"""`python -m densebone.scripts COMMAND ...` is `densebone COMMAND ...`."""

import os
import sys

if sys.path and sys.path[0] in ("", os.getcwd()):  # where -m puts the current folder, which may hold files of any name
    del sys.path[0]

from . import console

console()
