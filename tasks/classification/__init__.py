"""Classification on ImageNet, CIFAR or one's own pictures: the parts that `tasks.task` lists.

The training loop is `training.loop`. The other files hold what the recipes need: transforms, mixing, schedules,
optimizers, the moving average of weights, mixed precision.
"""
