"""Detection through PaddleDetection's own trainer: the parts that `tasks.task` lists, and its heads.

PaddleDetection keeps its configuration in one global table and names optimizer states by the order in which layers are
built. So a process loads one configuration.
"""
