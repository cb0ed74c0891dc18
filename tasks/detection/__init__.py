"""The detection jobs: train, evaluate, predict and export through PaddleDetection's own trainer.

PaddleDetection keeps its configuration in one global table and names optimizer state by the order in which layers are
built: one configuration per process.
"""
