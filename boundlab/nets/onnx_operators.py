"""What each operator of ONNX becomes in torch; `onnx_module` walks from one to the next."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from boundlab.nets.onnx_module import Value, unsupported
from boundlab.nets.onnx_windows import Operator, conv, global_pool, pad, pool

if TYPE_CHECKING:
    from boundlab.nets.onnx_module import Walk


# -------------------------------------------------------------------------------------------------- weight matrices


def _linear(walk: Walk, x: Value, weight: tuple[Any, np.ndarray], bias: tuple[Any, np.ndarray] | None) -> Value:
    """W a + b along the last axis, W of shape (out, in)."""
    from torch import nn

    out, inputs = weight[1].shape
    tensors = {"weight": weight} | ({} if bias is None else {"bias": (bias[0], bias[1].reshape(out))})
    return walk.layer(x, nn.Linear, tensors, in_features=inputs, out_features=out, bias=bias is not None)


def _gemm(walk: Walk, node: Any, args: list[Any], attributes: dict[str, Any]) -> Value:
    """Return alpha A' B' + beta C, where A' is A or its transpose."""
    import torch

    a, b, c = (*args, None)[:3]
    alpha, beta = attributes.get("alpha", 1.0), attributes.get("beta", 1.0)
    if isinstance(a, Value) and not attributes.get("transA") and isinstance(b, np.ndarray):
        width = b.shape[0] if attributes.get("transB") else b.shape[1]
        weight = _weight(walk, b, alpha, transposed=not attributes.get("transB"))
        if c is None or (isinstance(c, np.ndarray) and c.size == width and c.shape[-1:] == (width,)):
            return _linear(walk, a, weight, None if c is None else _weight(walk, c, beta))
        product = _linear(walk, a, weight, None)
    else:
        a = walk.call(torch.t, a) if attributes.get("transA") else a
        b = walk.call(torch.t, b) if attributes.get("transB") else b
        product = walk.call(torch.mul, walk.call(torch.matmul, a, b), alpha)
    return product if c is None else walk.call(torch.add, product, c, alpha=beta)


def _weight(walk: Walk, array: np.ndarray, factor: float, *, transposed: bool = False) -> tuple[Any, np.ndarray]:
    """Return a constant times a factor, and the name that it then goes by."""
    name = walk.name_of(array)
    scaled = array if factor == 1.0 else (factor * array.astype(np.float64)).astype(array.dtype)
    if factor == 1.0 and not transposed:
        return name, scaled
    return (name, factor, transposed), scaled.T if transposed else scaled


def _matmul(walk: Walk, node: Any, args: list[Any], attributes: dict[str, Any]) -> Value:
    import torch

    left, right = args
    if isinstance(left, Value) and isinstance(right, np.ndarray) and right.ndim == 2:
        following = walk.following_bias(node, right.shape[1])
        bias = None if following is None else _weight(walk, following[1], 1.0)
        product = _linear(walk, left, _weight(walk, right, 1.0, transposed=True), bias)
        if following is not None:
            walk.values[following[0]] = product
        return product
    if isinstance(right, Value) and isinstance(left, np.ndarray) and left.ndim == 2 and len(right.shape) > 2:
        turned = walk.call(torch.transpose, right, -1, -2)
        return walk.call(torch.transpose, _linear(walk, turned, _weight(walk, left, 1.0), None), -1, -2)
    return walk.call(torch.matmul, left, right)


# -------------------------------------------------------------------------------------------------------------- norms


def _batch_norm(walk: Walk, node: Any, args: list[Any], attributes: dict[str, Any]) -> Value:
    from torch import nn

    x, *tensors = args
    if attributes.get("training_mode") or not all(isinstance(t, np.ndarray) for t in tensors):
        raise unsupported("BatchNormalization in training mode in the graph")
    kinds = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
    names = ("weight", "bias", "running_mean", "running_var")
    held = {name: (walk.name_of(t), t) for name, t in zip(names, tensors, strict=True)}
    eps = attributes.get("epsilon", 1e-5)
    return walk.layer(x, kinds[len(x.shape)], held, num_features=len(tensors[0]), eps=eps)


def _layer_norm(walk: Walk, node: Any, args: list[Any], attributes: dict[str, Any]) -> Value:
    from torch import nn

    x, scale, bias = [*args, None][:3]
    shape = x.shape[attributes.get("axis", -1) % len(x.shape) :]
    if not isinstance(scale, np.ndarray) or isinstance(bias, Value) or scale.shape != shape:
        raise unsupported("LayerNormalization with a computed or broadcast scale in the graph")
    held = {"weight": (walk.name_of(scale), scale)}
    held |= {} if bias is None else {"bias": (walk.name_of(bias), bias)}
    eps = attributes.get("epsilon", 1e-5)
    return walk.layer(x, nn.LayerNorm, held, normalized_shape=shape, eps=eps, bias=bias is not None)


# --------------------------------------------------------------------------------------------------- shapes and order


def _reshape(walk: Walk, node: Any, args: list[Any], attributes: dict[str, Any]) -> Value:
    x, target = args[0], attributes.get("shape", [*args, None][1])
    if isinstance(target, Value) or attributes.get("allowzero"):
        raise unsupported("Reshape to computed sizes in the graph")
    wanted = [int(size) for size in np.ravel(target)]
    return _reshaped(walk, x, [size or x.shape[k] for k, size in enumerate(wanted)])


def _reshaped(walk: Walk, x: Value, sizes: list[int]) -> Value:
    """Reshape so that the first dimension counts the points, as many as there will be, where it does in the example."""
    import torch

    if -1 not in sizes or sizes[0] == walk.shape[0]:
        sizes = [-1, *x.example.reshape(sizes).shape[1:]]
    return walk.call(torch.reshape, x, tuple(sizes))


def _flatten(walk: Walk, node: Any, args: list[Any], attributes: dict[str, Any]) -> Value:
    import torch

    (x,) = args
    axis = attributes.get("axis", 1) % (len(x.shape) + 1)
    if axis == 1:
        return walk.call(torch.flatten, x, 1)
    return _reshaped(walk, x, [int(np.prod(x.shape[:axis])), int(np.prod(x.shape[axis:]))])


def _transpose(walk: Walk, node: Any, args: list[Any], attributes: dict[str, Any]) -> Value:
    import torch

    return walk.call(torch.permute, args[0], tuple(attributes.get("perm", range(len(args[0].shape))[::-1])))


def _axes(args: list[Any], attributes: dict[str, Any]) -> tuple[int, ...] | None:
    """Axes are an attribute in old opsets, an input since; None where they are left out."""
    axes = attributes.get("axes", [*args, None][1])
    return None if axes is None else tuple(int(axis) for axis in np.ravel(axes))


def _squeeze(walk: Walk, node: Any, args: list[Any], attributes: dict[str, Any]) -> Value:
    import torch

    x, axes = args[0], _axes(args, attributes)
    if axes is None:
        axes = tuple(k for k, size in enumerate(x.shape) if size == 1)
    return walk.call(torch.squeeze, x, axes)


def _unsqueeze(walk: Walk, node: Any, args: list[Any], attributes: dict[str, Any]) -> Value:
    import torch

    x, axes = args[0], _axes(args, attributes) or ()
    for axis in sorted(axis % (len(x.shape) + len(axes)) for axis in axes):
        x = walk.call(torch.unsqueeze, x, axis)
    return x


def _concat(walk: Walk, node: Any, args: list[Any], attributes: dict[str, Any]) -> Value:
    import torch

    return walk.call(torch.cat, list(args), attributes["axis"])


def _split(walk: Walk, node: Any, args: list[Any], attributes: dict[str, Any]) -> tuple[Value, ...]:
    import torch

    x, axis = args[0], attributes.get("axis", 0) % len(args[0].shape)
    size, parts = x.shape[axis], len(node.output)
    sizes = attributes.get("split", args[1] if len(args) > 1 else None)
    step = -(-size // parts)
    sizes = [min(step, size - k * step) for k in range(parts)] if sizes is None else [int(s) for s in sizes]
    starts = np.concatenate([[0], np.cumsum(sizes)])
    return tuple(walk.call(torch.narrow, x, axis, int(a), s) for a, s in zip(starts, sizes, strict=False))


def _slice(walk: Walk, node: Any, args: list[Any], attributes: dict[str, Any]) -> Value:
    x, *given = args
    given = [attributes.get(k) for k in ("starts", "ends", "axes")] if "starts" in attributes else given
    if any(isinstance(item, Value) for item in given):
        raise unsupported("Slice from computed places in the graph")
    starts, ends, axes, steps = (None if i is None else [int(k) for k in np.ravel(i)] for i in (*given, None, None)[:4])
    starts, ends = starts or [], ends or []
    window: list[slice] = [slice(None)] * len(x.shape)
    for start, end, axis, step in zip(
        starts, ends, axes or range(len(starts)), steps or [1] * len(starts), strict=True
    ):
        if step < 1:
            raise unsupported(f"Slice with a step of {step} in the graph")
        window[axis] = slice(start, None if end >= x.shape[axis] else end, step)
    return walk.call(operator.getitem, x, tuple(window))


def _gather(walk: Walk, node: Any, args: list[Any], attributes: dict[str, Any]) -> Value:
    import torch

    x, index = args
    if not isinstance(x, Value) or not isinstance(index, np.ndarray) or index.ndim > 1:
        raise unsupported("Gather by computed places in the graph")
    axis = attributes.get("axis", 0)
    if index.ndim == 0:
        return walk.call(torch.select, x, axis, int(index))
    return walk.call(torch.index_select, x, axis, np.where(index < 0, index + x.shape[axis], index).astype(np.int64))


def _shape(walk: Walk, node: Any, args: list[Any], attributes: dict[str, Any]) -> np.ndarray:
    return np.array(args[0].shape[attributes.get("start", 0) : attributes.get("end")], dtype=np.int64)


# --------------------------------------------------------------------------------------------------------- elementwise


def _function(name: str, home: str = "torch") -> Operator:
    """The torch function of the same arguments."""

    def call(walk: Walk, node: Any, args: list[Any], attributes: dict[str, Any]) -> Value:
        import torch

        return walk.call(getattr(torch if home == "torch" else torch.nn.functional, name), *args)

    return call


def _with(name: str, **settings: tuple[str, Any]) -> Operator:
    """A function of torch.nn.functional with attributes: ``its=(ONNX's name, default)``."""

    def call(walk: Walk, node: Any, args: list[Any], attributes: dict[str, Any]) -> Value:
        from torch.nn import functional

        given = {own: attributes.get(key, default) for own, (key, default) in settings.items()}
        return walk.call(getattr(functional, name), args[0], **given)

    return call


def _identity(walk: Walk, node: Any, args: list[Any], attributes: dict[str, Any]) -> Value:
    if node.op_type == "Dropout" and len(args) > 2 and args[2] is not None and np.any(args[2]):
        raise unsupported("Dropout in training mode in the graph")
    return args[0]


def _cast(walk: Walk, node: Any, args: list[Any], attributes: dict[str, Any]) -> Value:
    import onnx
    import torch

    kind = onnx.helper.tensor_dtype_to_np_dtype(attributes["to"])
    if kind not in (np.float32, np.float64):
        raise unsupported(f"Cast to {kind} in the graph")
    return walk.call(torch.Tensor.to, args[0], getattr(torch, str(kind)))


def _clip(walk: Walk, node: Any, args: list[Any], attributes: dict[str, Any]) -> Value:
    import torch

    x, *limits = (*args, None, None)[:3]
    low, high = (
        attributes.get(key) if limit is None else float(np.ravel(limit)[0])
        for key, limit in zip(("min", "max"), limits, strict=True)
    )
    return walk.call(torch.clamp, x, low, high)


def _softmax(name: str) -> Operator:
    def softmax(walk: Walk, node: Any, args: list[Any], attributes: dict[str, Any]) -> Value:
        from torch.nn import functional

        (x,) = args
        old = walk.opset < 13  # then all axes from `axis` on are one
        axis = attributes.get("axis", 1 if old else -1) % len(x.shape)
        if old and any(size != 1 for size in x.shape[axis + 1 :]):
            raise unsupported(f"{node.op_type} over more than one axis in the graph")
        return walk.call(getattr(functional, name), x, axis)

    return softmax


def _reduction(name: str) -> Operator:
    def reduce(walk: Walk, node: Any, args: list[Any], attributes: dict[str, Any]) -> Value:
        import torch

        x, axes = args[0], _axes(args, attributes)
        if axes is None and attributes.get("noop_with_empty_axes"):
            return x
        axes = tuple(range(len(x.shape))) if axes is None else axes
        return walk.call(getattr(torch, name), x, axes, bool(attributes.get("keepdims", 1)))

    return reduce


OPERATORS: Mapping[str, Operator] = {
    "Conv": conv,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Pad": pad,
    "MaxPool": pool("max_pool"),
    "AveragePool": pool("avg_pool"),
    "GlobalAveragePool": global_pool("avg_pool"),
    "GlobalMaxPool": global_pool("max_pool"),
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Transpose": _transpose,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Concat": _concat,
    "Split": _split,
    "Slice": _slice,
    "Gather": _gather,
    "Shape": _shape,
    "ReduceMean": _reduction("mean"),
    "ReduceSum": _reduction("sum"),
    "Identity": _identity,
    "Dropout": _identity,
    "Cast": _cast,
    "Clip": _clip,
    "Softmax": _softmax("softmax"),
    "LogSoftmax": _softmax("log_softmax"),
    "LeakyRelu": _with("leaky_relu", negative_slope=("alpha", 0.01)),
    "Elu": _with("elu", alpha=("alpha", 1.0)),
    "Relu": _function("relu", "functional"),
    "Softplus": _function("softplus", "functional"),
    **{name: _function(name.lower()) for name in ("Add", "Sub", "Mul", "Div", "Pow", "Neg", "Abs", "Exp", "Log")},
    **{name: _function(name.lower()) for name in ("Sqrt", "Erf", "Sigmoid", "Tanh", "Sin", "Cos", "Reciprocal")},
    "Min": _function("minimum"),
    "Max": _function("maximum"),
}
"""The operators that are read; every other one is refused by name."""
