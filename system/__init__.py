"""The machine: files that appear whole or not at all, processors, installed packages, and the noise of libraries.

Its modules are used one by one. Imports nothing of densebone but errors.
"""
