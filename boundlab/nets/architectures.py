"""The convolutional nets whose trained weights others have published as bare arrays: residual nets and LeNet-5."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from boundlab._errors import InvalidParameter, positive_int

if TYPE_CHECKING:
    import torch


def resnet(depth: int = 20, *, classes: int = 10, rng: int | np.random.Generator = 0) -> torch.nn.Module:
    """Build the residual net for CIFAR-10, untrained, in eval mode: 3 stages of 16, 32, 64 filters, n blocks each.

    A block is x -> relu(bn2(conv2(relu(bn1(conv1(x))))) + shortcut(x)). Where it halves the image, the shortcut is
    "option A": every second pixel, and zeros for the new filters, so that no shortcut has a weight.

    Parameters
    ----------
    depth : int
        Layers with weights, 6 n + 2 for n >= 1: 20, 32, 44, 56, 110 ...
    classes : int
        Outputs, at least 1.
    rng : int or numpy.random.Generator
        A seed, or a generator to draw He's initial weights from; torch's own generator is neither read nor seeded.

    Returns
    -------
    torch.nn.Module
        A ``torch.fx.GraphModule`` that reads (points, 3, 32, 32); its state has the names of akamaster's
        pytorch_resnet_cifar10 (conv1.weight, layer1.0.bn1.bias, ... linear.bias).

    Raises
    ------
    InvalidParameter
        If `depth` is not 6 n + 2.

    Notes
    -----
    He, Zhang, Ren, Sun, "Deep residual learning for image recognition", 2016, section 4.2.

    Examples
    --------
    >>> sum(p.numel() for p in resnet(20).parameters()), sum(p.numel() for p in resnet(56).parameters())
    (269722, 853018)
    """
    from torch import fx, nn
    from torch.nn import functional

    if positive_int("depth", depth) % 6 != 2 or depth < 8:
        raise InvalidParameter(f"depth must be 6 n + 2 for a whole number n of at least 1, got depth={depth}.")
    graph, parts = fx.Graph(), OrderedDict[str, Any]()

    def through(name: str, part: Any, x: Any) -> Any:
        parts[name] = part
        return fx.Proxy(graph.call_module(name, (x.node,)))

    def conv_norm(name: str, number: int, x: Any, width: int, out: int, stride: int) -> Any:
        conv = _empty(nn.Conv2d, width, out, 3, stride=stride, padding=1, bias=False)
        return through(f"{name}bn{number}", nn.BatchNorm2d(out), through(f"{name}conv{number}", conv, x))

    x = functional.relu(conv_norm("", 1, fx.Proxy(graph.placeholder("x")), 3, 16, 1))
    width = 16
    for stage, out in enumerate((16, 32, 64), 1):
        for block in range((depth - 2) // 6):
            name, stride, shortcut = f"layer{stage}.{block}.", 1, x
            if out != width:
                added = out - width
                stride, shortcut = 2, functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, added // 2, added // 2))
            inner = functional.relu(conv_norm(name, 1, x, width, out, stride))
            x = functional.relu(conv_norm(name, 2, inner, out, out, 1) + shortcut)
            width = out
    pooled = functional.adaptive_avg_pool2d(x, 1).flatten(1)
    graph.output(through("linear", _empty(nn.Linear, 64, classes), pooled).node)
    return _initialised(fx.GraphModule(dict(parts), graph, class_name=f"ResNet{depth}"), rng)


def lenet5(*, rng: int | np.random.Generator = 0) -> torch.nn.Module:
    """Build caffe's LeNet-5 for MNIST, untrained, in eval mode: two convolutions without ReLU, two linear layers.

    conv1 (20 filters of 5 x 5) - max over 2 x 2 - conv2 (50 of 5 x 5) - max over 2 x 2 - ip1 (500) - ReLU - ip2 (10).

    Parameters
    ----------
    rng : int or numpy.random.Generator
        A seed, or a generator to draw He's initial weights from.

    Returns
    -------
    torch.nn.Module
        A ``torch.nn.Sequential`` that reads (points, 1, 28, 28), trained on pixels / 256; ip1 reads the 50 images of
        4 x 4 plane by plane, as caffe lays them out.

    Notes
    -----
    LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition", 1998, in the form of
    caffe's examples/mnist/lenet.prototxt.

    Examples
    --------
    >>> sum(p.numel() for p in lenet5().parameters())
    431080
    """
    from torch import nn

    parts = OrderedDict(
        conv1=_empty(nn.Conv2d, 1, 20, 5),
        pool1=nn.MaxPool2d(2),
        conv2=_empty(nn.Conv2d, 20, 50, 5),
        pool2=nn.MaxPool2d(2),
        flatten=nn.Flatten(),
        ip1=_empty(nn.Linear, 800, 500),
        relu1=nn.ReLU(),
        ip2=_empty(nn.Linear, 500, 10),
    )
    return _initialised(nn.Sequential(parts), rng)


ARCHITECTURES: Mapping[str, Callable[[], torch.nn.Module]] = {
    **{f"resnet{depth}": partial(resnet, depth) for depth in (20, 32, 44, 56, 110)},
    "lenet5": lenet5,
}
"""The architectures that a file of weights can name."""


def _empty(kind: Any, *sizes: int, **settings: Any) -> Any:
    """A layer with its memory as found: torch's own initial weights would move its global generator."""
    from torch.nn.utils import skip_init

    return skip_init(kind, *sizes, **settings)


def _initialised(net: Any, rng: int | np.random.Generator) -> torch.nn.Module:
    """He's initial weights, normal with variance 2 / (inputs of a neuron), and biases 0."""
    import torch

    rng = np.random.default_rng(rng)
    with torch.no_grad():
        for part in net.modules():
            if isinstance(part, (torch.nn.Conv2d, torch.nn.Linear)):
                shape = part.weight.shape
                values = rng.normal(0.0, np.sqrt(2.0 / shape[1:].numel()), tuple(shape))
                part.weight.copy_(torch.from_numpy(values))
                if part.bias is not None:
                    part.bias.zero_()
    return net.eval()
