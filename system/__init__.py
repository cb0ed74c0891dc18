"""The machine: files that appear whole or not at all, processors, and the packages that are installed.

Its modules are used one by one. Imports nothing of densebone but errors.
"""
