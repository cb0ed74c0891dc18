"""Adapters that register our networks with PaddleDetection and PaddleSeg, and repairs of the two toolkits.

Importing `integrations.paddledet` or `integrations.paddleseg` registers the names in its `__all__` and applies the
repairs of `compat` that are due. `BACKBONES` of each lists the backbones. `adapter` holds what both share,
`paddledet_centernet` the CenterNet parts for PaddleDetection. Imports registry, necks, backbones, weights, system
and errors.
"""
