"""Data sets: the layouts of CIFAR, COCO, Cityscapes, ImageNet and Pascal VOC, labelled pictures, generated sets.

Its modules are used one by one. `generated` writes the sample sets. Nothing here knows a network. Imports weights (for
reading pickles), pictures, system and errors.
"""
