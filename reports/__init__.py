"""What an evaluation says of a model: figures of each class, curves, confusions, kinds of errors, calibration, a page.

The measures are NumPy functions that know no network and no toolkit: `boxes`, `breakdown`, `curves`, `calibration`,
`confusion`. `page` makes report.html of them, `folder` writes all files. Imports pictures, system and errors.
"""
