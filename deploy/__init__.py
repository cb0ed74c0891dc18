"""A trained network as files for other programs: the exported model, its model card and its folder.

Start with `deploy.export.export_network`. Imports engines, registry, backbones, weights, pictures, system
and errors.
"""
