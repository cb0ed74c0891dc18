"""The networks of the three families, in plain Paddle: one file per family; `layers` and `base` are shared.

`registry.create_model` and `create_backbone` build them. Imports system and errors.
"""
