"""The segmentation jobs: train, evaluate, predict and export models that PaddleSeg's builder makes."""
