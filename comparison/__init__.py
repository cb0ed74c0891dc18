"""Our networks side by side with those of other libraries: what they cost, how accurate they are, how fast they run.

Imports engines, profiling, registry, backbones, weights, pictures, system and errors.
"""
