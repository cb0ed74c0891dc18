"""Classification: configuration, data, training, evaluation, prediction and export of the ImageNet and CIFAR jobs."""
