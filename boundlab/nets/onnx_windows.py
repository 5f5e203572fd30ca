"""Convolutions, pools and pads of ONNX in torch, whose windows are padded by the same number on both sides."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from boundlab.nets.onnx_module import Value, unsupported

if TYPE_CHECKING:
    from boundlab.nets.onnx_module import Walk

Operator = Callable[["Walk", Any, list[Any], dict[str, Any]], Any]
"""A function of (walk, node, args, attributes).

`args` holds a `Value` on the data path, an array where the graph has a constant, None where an input is left out.
"""


def conv(walk: Walk, node: Any, args: list[Any], attributes: dict[str, Any]) -> Value:
    """A convolution by a constant weight: a submodule."""
    from torch import nn

    x, weight, bias = (*args, None)[:3]
    if not isinstance(x, Value) or not isinstance(weight, np.ndarray) or isinstance(bias, Value):
        raise unsupported("Conv with computed weights in the graph")
    dims = weight.ndim - 2
    if not 1 <= dims <= 3:
        raise unsupported(f"Conv with a weight of shape {weight.shape} in the graph")
    strides, dilations = (list(attributes.get(k, [1] * dims)) for k in ("strides", "dilations"))
    before, after = _pads(attributes, x.shape[2:], weight.shape[2:], strides, dilations)
    if before != after:
        x = _padded(walk, x, [0, 0, *before], [0, 0, *after], 0.0)
        before = [0] * dims
    groups = attributes.get("group", 1)
    tensors = {"weight": (walk.name_of(weight), weight)}
    if bias is not None:
        tensors["bias"] = (walk.name_of(bias), bias)
    return walk.layer(
        x,
        (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dims - 1],
        tensors,
        in_channels=weight.shape[1] * groups,
        out_channels=weight.shape[0],
        kernel_size=weight.shape[2:],
        stride=tuple(strides),
        padding=tuple(before),
        dilation=tuple(dilations),
        groups=groups,
        bias=bias is not None,
    )


def _pads(
    attributes: Mapping[str, Any],
    sizes: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> tuple[list[int], list[int]]:
    """Zeros before and after each axis, as given or as auto_pad wants them for these sizes."""
    dims = len(kernel)
    mode = attributes.get("auto_pad", b"NOTSET")
    if mode == b"NOTSET":
        pads = list(attributes.get("pads", [0] * (2 * dims)))
        return pads[:dims], pads[dims:]
    if mode == b"VALID":
        return [0] * dims, [0] * dims
    spans = [d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True)]
    total = [
        max((-(-size // stride) - 1) * stride + span - size, 0)
        for size, stride, span in zip(sizes, strides, spans, strict=True)
    ]
    less, more = [t // 2 for t in total], [t - t // 2 for t in total]
    return (less, more) if mode == b"SAME_UPPER" else (more, less)


def _padded(walk: Walk, x: Value, before: Sequence[int], after: Sequence[int], value: float) -> Value:
    from torch.nn import functional

    flat = [side for pair in zip(reversed(before), reversed(after), strict=True) for side in pair]
    while flat[-2:] == [0, 0]:
        flat = flat[:-2]
    return walk.call(functional.pad, x, tuple(flat), "constant", value) if flat else x


def pad(walk: Walk, node: Any, args: list[Any], attributes: dict[str, Any]) -> Value:
    """Pads of any axis."""
    from torch.nn import functional

    x, pads, value, axes = [*args, None, None, None][:4]
    ndim = len(x.shape)
    sides = [int(side) for side in (attributes["pads"] if pads is None else pads)]
    before, after = [0] * ndim, [0] * ndim
    chosen = [int(axis) % ndim for axis in (range(ndim) if axes is None else axes)]
    for axis, left, right in zip(chosen, sides[: len(chosen)], sides[len(chosen) :], strict=True):
        before[axis], after[axis] = left, right
    mode = attributes.get("mode", b"constant")
    fill = float(np.ravel(value)[0]) if value is not None else float(attributes.get("value", 0.0))
    if mode == b"constant":
        return _padded(walk, x, before, after, fill)
    if mode not in (b"reflect", b"edge") or any(before[:2] + after[:2]):
        raise unsupported(f"Pad of mode {mode.decode()} in the graph")
    flat = [side for pair in zip(before[:1:-1], after[:1:-1], strict=True) for side in pair]
    return walk.call(functional.pad, x, tuple(flat), "replicate" if mode == b"edge" else "reflect")


def pool(name: str) -> Operator:
    """Pooling over windows, name "max_pool" or "avg_pool"."""

    def call(walk: Walk, node: Any, args: list[Any], attributes: dict[str, Any]) -> Value:
        from torch.nn import functional

        x, kernel = args[0], list(attributes["kernel_shape"])
        dims, largest = len(kernel), name == "max_pool"
        strides, dilations = (list(attributes.get(k, [1] * dims)) for k in ("strides", "dilations"))
        before, after = _pads(attributes, x.shape[2:], kernel, strides, dilations)
        if not largest and dilations != [1] * dims:
            raise unsupported("AveragePool with dilations in the graph")
        settings: dict[str, Any] = {"stride": tuple(strides), "ceil_mode": bool(attributes.get("ceil_mode", 0))}
        counted = bool(attributes.get("count_include_pad", 0))
        if before != after:
            if largest or settings["ceil_mode"] or not counted:
                raise unsupported(f"{node.op_type} with pads of {before} before and {after} after in the graph")
            x = _padded(walk, x, [0, 0, *before], [0, 0, *after], 0.0)
            before = [0] * dims
        settings["padding"] = tuple(before)
        settings |= {"dilation": tuple(dilations)} if largest else {"count_include_pad": counted}
        return walk.call(getattr(functional, f"{name}{dims}d"), x, tuple(kernel), **settings)

    return call


def global_pool(name: str) -> Operator:
    """Pooling over whole images."""

    def call(walk: Walk, node: Any, args: list[Any], attributes: dict[str, Any]) -> Value:
        from torch.nn import functional

        return walk.call(getattr(functional, f"adaptive_{name}{len(args[0].shape) - 2}d"), args[0], 1)

    return call
