"""The three jobs, detection, segmentation and classification: configure, train, evaluate, predict, export.

`tasks.task` is the face: the interface that all three have. Imports runtime, reports, deploy, training,
integrations, profiling, engines, registry, necks, backbones, weights, datasets, pictures, system and errors.
"""
