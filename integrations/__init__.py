"""Adapters to PaddleDetection and PaddleSeg: they register our networks there; `compat` repairs the toolkits.

Importing `integrations.paddledet` or `integrations.paddleseg` registers the names. Imports registry, necks, backbones,
weights and errors.
"""
