"""Necks, decoders and heads for the maps of a backbone, in plain Paddle, and whole networks that are built from them.

Import the modules directly; this file is empty. Imports backbones, system and errors.
"""
