"""Checkpoints: the catalog of published ones, and how to download, read, recognise, load and write them.

`loader.load_weights` is the entry point. Nothing here executes what a file holds.
Imports backbones, pictures, system and errors.
"""
