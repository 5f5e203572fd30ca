"""From a torch module to a `FeedForward`: what its graph does to a point, one operation after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from boundlab._errors import InvalidParameter, PremiseViolated, UnsupportedLayer, one_line
from boundlab.nets.feedforward import AveragePool, Convolution, FeedForward, Linear, MaxPool, Op, Relu, Reshape
from boundlab.network import Layer

if TYPE_CHECKING:
    import torch


def feed_forward_of_module(module: torch.nn.Module, shape: tuple[int, ...]) -> FeedForward:
    """View a torch module on points of `shape` as a chain: the same function, in float64 on its own weights.

    Linear, Conv2d (no groups, no dilation, zero padding), ReLU, AvgPool2d and MaxPool2d without padding, Flatten;
    Dropout and Identity do nothing.

    Parameters
    ----------
    module : torch.nn.Module
        Its forward is a chain: torch.fx can trace it, and each operation reads the one before it alone.
    shape : tuple of int
        Of one point, as the module reads it: (features,) or (channels, height, width).

    Raises
    ------
    PremiseViolated
        If it holds batch norms: their statistics come from the data and no code describes them.
    UnsupportedLayer
        If it is no chain of these operations.
    """
    import torch

    for name, part in module.named_modules():
        if isinstance(part, torch.nn.modules.batchnorm._NormBase):
            raise PremiseViolated(
                f"what is computed from the data must be part of the message, got the statistics of {name or 'a norm'} "
                f"({type(part).__name__}): fold it into the layer before it, with fold_batchnorm."
            )
    try:
        graph = torch.fx.symbolic_trace(module.eval())
    except Exception as fault:
        raise UnsupportedLayer(f"a chain must be traced by torch.fx, got {one_line(fault)}.") from None
    ops: list[Op] = [Reshape(into=shape)] if len(shape) == 3 else []
    last = None
    for node in graph.graph.nodes:
        reads = node.all_input_nodes
        if node.op == "placeholder":
            if last is not None:
                raise UnsupportedLayer("a chain must read one tensor, got a module with more inputs.")
        elif reads != [last]:
            raise UnsupportedLayer(f"an operation of a chain must read the one before it alone, {node.name} does not.")
        elif node.op == "call_module":
            ops += _of_module(node.name, graph.get_submodule(str(node.target)))
        elif node.op == "call_function" and node.target in (torch.relu, torch.nn.functional.relu):
            ops.append(Relu())
        elif not _flattens(node) and node.op != "output":
            raise UnsupportedLayer(f"a chain must be made of operations that a message can name, got {node.target}.")
        last = node
    try:
        return FeedForward(features=int(np.prod(shape)), ops=tuple(ops))
    except InvalidParameter as fault:
        raise UnsupportedLayer(f"the operations of a chain must fit one another: {fault}") from None


def _flattens(node: Any) -> bool:
    """Whether the node makes one row of each point, by flatten, view or reshape."""
    import torch

    start = (node.args[1:2] or (node.kwargs.get("start_dim", 0),))[0]
    if node.target in (torch.flatten, "flatten"):
        return start == 1 and len(node.args) + len(node.kwargs) == 2
    if node.target in ("view", "reshape") and len(node.args) == 3:
        return node.args[2] == -1  # view(points, -1); another first size than the points would fail when it runs
    return False


def _of_module(name: str, part: Any) -> list[Op]:
    from torch import nn

    if isinstance(part, (nn.Identity, nn.Dropout, nn.Dropout2d, nn.Flatten)):
        if isinstance(part, nn.Flatten) and (part.start_dim, part.end_dim) != (1, -1):
            raise UnsupportedLayer(f"a Flatten must make one row of each point, {name} does not.")
        return []
    if isinstance(part, nn.ReLU):
        return [Relu()]
    if isinstance(part, nn.Linear):
        return [Linear(layer=_weights(part))]
    if isinstance(part, nn.Conv2d):
        size, stride, padding = (_square(name, v) for v in (part.kernel_size, part.stride, part.padding))
        if part.groups != 1 or _square(name, part.dilation) != 1 or part.padding_mode != "zeros":
            raise UnsupportedLayer(f"a convolution must have no groups, no dilation and zero padding, {name} has.")
        return [Convolution(layer=_weights(part), size=size, stride=stride, padding=padding)]
    if isinstance(part, (nn.AvgPool2d, nn.MaxPool2d)):
        size, stride, padding = (_square(name, v) for v in (part.kernel_size, part.stride, part.padding))
        dilation = _square(name, part.dilation) if isinstance(part, nn.MaxPool2d) else 1
        if padding or part.ceil_mode or dilation != 1:
            raise UnsupportedLayer(f"a pool must have no padding, no dilation and round down, {name} does not.")
        if isinstance(part, nn.MaxPool2d):
            return [MaxPool(size=size, stride=stride)]
        if stride != size or part.divisor_override:
            raise UnsupportedLayer(f"an average pool must have its size as its stride, {name} has not.")
        return [AveragePool(size=size)]
    raise UnsupportedLayer(f"a chain must be made of operations that a message can name, got {type(part).__name__}.")


def _weights(part: Any) -> Layer:
    weight = part.weight.detach().double().cpu().numpy().reshape(len(part.weight), -1)
    bias = np.zeros(len(weight)) if part.bias is None else part.bias.detach().double().cpu().numpy()
    return Layer(weight=weight.copy(), bias=bias.copy(), relu=False)


def _square(name: str, value: Any) -> int:
    """The one number of (k, k)."""
    sizes = set(value) if isinstance(value, (tuple, list)) else {value}
    if len(sizes) != 1 or not all(isinstance(v, int) for v in sizes):
        raise UnsupportedLayer(f"sizes must be whole numbers, alike in height and width, got {value!r} of {name}.")
    return sizes.pop()
