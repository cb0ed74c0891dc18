"""Segmentation with models, data sets and losses of PaddleSeg: the parts that `tasks.task` lists, and its heads.

The training loop is `training.loop`. `builder` and `checks` stand between the configuration and PaddleSeg.
"""
