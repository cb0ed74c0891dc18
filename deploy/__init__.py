"""A trained network as files for other programs: the export, its model card, its folder.

`deploy.export.export_network` is the face. Imports engines, registry, weights, pictures, system and errors.
"""
