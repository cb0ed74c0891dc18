"""`python -m densebone.scripts COMMAND ...` is `densebone COMMAND ...`."""

import sys

from . import main

sys.exit(main())
