"""Counts what a forward pass costs, independently of the package's own profiler."""

import paddle


def count(net, x):
    """Counts during one forward pass.

    Returns:
        (MACs of the convolutions and linear layers, number of input and output values of the convolutions).
    """
    total = {"macs": 0, "cio": 0}

    def convolution(layer, inputs, output):
        kernel = layer.weight.shape[1] * layer.weight.shape[2] * layer.weight.shape[3]
        total["macs"] += output.size * kernel
        total["cio"] += inputs[0].size + output.size

    def linear(layer, inputs, output):
        total["macs"] += inputs[0].size * output.shape[-1]

    for layer in net.sublayers():
        if isinstance(layer, paddle.nn.Conv2D):
            layer.register_forward_post_hook(convolution)
        elif isinstance(layer, paddle.nn.Linear):
            layer.register_forward_post_hook(linear)
    with paddle.no_grad():
        net(x)
    return int(total["macs"]), int(total["cio"])
