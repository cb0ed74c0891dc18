"""What detectors and segmenters add to a backbone, in plain Paddle.

Its modules are used one by one. Imports backbones, system and errors.
"""
