"""The networks of the three families, in plain Paddle: one file a family, `layers` and `base` shared.

`registry.create_model` and `create_backbone` build them. Imports system and errors.
"""
