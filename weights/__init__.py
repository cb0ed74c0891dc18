"""Checkpoints: the catalog of published ones, downloading, reading, recognising, loading, writing.

`loader.load_weights` is the face. Never runs what a file holds. Imports backbones, pictures, system and errors.
"""
