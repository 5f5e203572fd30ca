"""From a graph of ATen operations to an ONNX model: `torch.onnx.export` needs a package of its own, this only onnx."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from boundlab._errors import UnsupportedLayer, one_line
from boundlab.nets.torch_graph import Graph, Op, Ref, filled, flat, run_op

if TYPE_CHECKING:
    import torch

OPSET, IR = 17, 8
"""Versions of 2022: every runtime of today reads them."""


def model_of_graphs(one: Graph, other: Graph) -> Any:
    """Return the ``onnx.ModelProto`` of a net given by its graphs for two numbers of points.

    What differs between the two graphs is what depends on the number of points: it becomes a free dimension. For a
    graph of a fixed number of points give the same one twice.

    Raises
    ------
    UnsupportedLayer
        If an operation, named in the message, has no ONNX form here.
    """
    import onnx
    import torch

    writer = _Writer(one, other)
    ops, twins = list(one.live()), list(other.live())
    if [(op.name, op.target) for op in ops] != [(op.name, op.target) for op in twins]:
        raise unsupported("other operations for other numbers of points")
    with torch.no_grad():
        for op, twin in zip(ops, twins, strict=True):
            writer.add(op, twin)
    end = writer.wires.get(one.output)
    if not isinstance(end, Wire):
        raise unsupported("an output that is no tensor")
    writer.emit("Identity", [end], to=writer.output)
    describe = onnx.helper.make_tensor_value_info
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(str(end.example.dtype).removeprefix("torch.")))
    graph = onnx.helper.make_graph(
        writer.nodes,
        "net",
        [describe(writer.input, kind, _free(one.shape, other.shape))],
        [describe(writer.output, kind, _free(end.example.shape, writer.twins[other.output].shape))],
        list(writer.initializers.values()),
    )
    imports = [onnx.helper.make_opsetid("", OPSET)]
    model = onnx.helper.make_model(graph, producer_name="boundlab", opset_imports=imports, ir_version=IR)
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:
        raise unsupported(f"a graph that the checker of ONNX refuses, {one_line(error)}") from None
    return model


@dataclass(frozen=True, eq=False)
class Wire:
    """A tensor of the graph: its name in the model, what it is for the example, and whether it depends on the input."""

    name: str
    example: torch.Tensor
    live: bool = True

    @property
    def ndim(self) -> int:
        """How many dimensions it has."""
        return self.example.ndim


class _Writer:
    """The nodes and initializers written so far; both graphs are run along, so that every shape is known."""

    def __init__(self, one: Graph, other: Graph) -> None:
        import torch

        self.nodes: list[Any] = []
        self.initializers: dict[str, Any] = {}
        taken = set(one.names.values())
        self.input, self.output = (name if name not in taken else f"/{name}" for name in ("input", "output"))
        self.values: dict[str, Any] = {k: t.clone() for k, t in one.constants.items()}
        self.twins: dict[str, Any] = {k: t.clone() for k, t in other.constants.items()}
        self.values[one.input], self.twins[other.input] = (torch.ones(g.shape, dtype=g.dtype) for g in (one, other))
        self.wires: dict[str, Any] = {k: Wire(one.names.get(k, k), t, live=False) for k, t in one.constants.items()}
        self.wires[one.input] = Wire(self.input, self.values[one.input])

    def add(self, op: Op, twin: Op) -> None:
        """Write one operation."""
        self.values[op.name], self.twins[op.name] = run_op(op, self.values), run_op(twin, self.twins)
        found = self.values[op.name]
        args, kwargs = filled((op.args, op.kwargs), ChainMap(self.wires, self.values))  # a wire where it is a tensor
        on_path = any(isinstance(item, Wire) and item.live for item in flat((args, kwargs)))
        if isinstance(found, (int, float)):
            return  # a size, or what is computed from sizes
        if not on_path:
            if hasattr(found, "detach"):
                if found.shape != self.twins[op.name].shape:
                    raise unsupported(f"{op.target} of as many entries as points")
                self.wires[op.name] = Wire(f"/{op.name}", found, live=False)
            return
        kind = op.target.split(".")[1]
        kind = kind if kind.startswith("_") else kind.rstrip("_")
        if op.target == "_operator.getitem":
            self.wires[op.name] = args[0][args[1]]
            return
        if kind in _MOVES:
            result = self._reshaped(args[0], found, self.twins[op.name])
        elif kind not in _WRITERS:
            raise unsupported(op.target.rsplit(".", 1)[0])
        elif _plain((op.args, op.kwargs), self.values) != _plain((twin.args, twin.kwargs), self.twins):
            raise unsupported(f"{op.target} with an argument that depends on the number of points")
        else:
            try:
                result: Any = _WRITERS[kind](self, found, *args, **kwargs)
            except TypeError as error:  # an argument that the function does not know
                raise unsupported(f"{op.target}, {one_line(error)}") from None
        if isinstance(found, (tuple, list)):
            self.wires[op.name] = [Wire(w.name, t) for w, t in zip(result, found, strict=True)]
        else:
            self.wires[op.name] = Wire(result.name, found)
        if op.in_place and isinstance(op.args[0], Ref):
            self.wires[op.args[0].name] = self.wires[op.name]

    def _reshaped(self, x: Wire, found: torch.Tensor, twin: torch.Tensor) -> Wire:
        sizes = [-1 if isinstance(size, str) else size for size in _free(found.shape, twin.shape)]
        if sizes.count(-1) > 1:
            raise unsupported("a change of shape in which two dimensions depend on the number of points")
        return self.emit("Reshape", [x, np.array(sizes, dtype=np.int64)])

    def emit(self, operator: str, inputs: Sequence[Any], *, to: str = "", **attributes: Any) -> Wire:
        """Write a node; arrays and constants among its inputs become initializers."""
        import onnx

        names = [self._input(item) for item in inputs]
        while names and not names[-1]:
            names.pop()
        name = to or f"/{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(onnx.helper.make_node(operator, names, [name], **attributes))
        return Wire(name, next(item.example for item in inputs if isinstance(item, Wire)))

    def scalar(self, value: float, like: Wire) -> np.ndarray:
        """A number in the precision of a tensor."""
        return np.array(value, dtype=str(like.example.dtype).removeprefix("torch."))

    def _input(self, item: Any) -> str:
        import onnx

        if item is None:
            return ""
        if isinstance(item, Wire) and item.live:
            return item.name
        if isinstance(item, Wire):
            name, array = item.name, item.example.detach().numpy()
        else:
            name, array = f"/constant_{len(self.initializers)}", item
        if name not in self.initializers:
            self.initializers[name] = onnx.numpy_helper.from_array(np.array(array, order="C"), name)
        return name


def unsupported(fact: str) -> UnsupportedLayer:
    """Return the refusal of a graph, its rule first."""
    return UnsupportedLayer(f"a net to write as ONNX must have operations that have an ONNX form here; got {fact}.")


def _free(shape: Sequence[int], twin: Sequence[int]) -> list[int | str]:
    """Sizes, "points" where they depend on the number of points."""
    return [a if a == b else "points" for a, b in zip(shape, twin, strict=True)]


def _plain(value: Any, values: Mapping[str, Any]) -> list[Any]:
    """The arguments of an operation that are no tensors."""
    return [leaf for leaf in flat(filled(value, values)) if not hasattr(leaf, "detach")]


# ------------------------------------------------------------------------------ one function for each operation of ATen


def _unary(operator: str) -> Callable[..., Wire]:
    return lambda to, found, x: to.emit(operator, [x])


def _binary(operator: str) -> Callable[..., Wire]:
    def write(to: _Writer, found: Any, a: Any, b: Any, *, alpha: float = 1) -> Wire:
        like = a if isinstance(a, Wire) else b
        a, b = (item if isinstance(item, Wire) else to.scalar(item, like) for item in (a, b))
        if alpha != 1:
            b = to.emit("Mul", [b, to.scalar(alpha, like)]) if isinstance(b, Wire) and b.live else _times(b, alpha)
        return to.emit(operator, [a, b])

    return write


def _times(constant: Any, factor: float) -> np.ndarray:
    array = constant.example.detach().numpy() if isinstance(constant, Wire) else constant
    return (array * factor).astype(array.dtype)


def _same(to: _Writer, found: torch.Tensor, x: Wire, *_: Any, **__: Any) -> Wire:
    if found.dtype != x.example.dtype:
        raise unsupported(f"a conversion to {found.dtype}")
    return x


def _linear(to: _Writer, found: Any, x: Wire, w: Wire, b: Wire | None = None) -> Wire:
    if x.ndim == 2:
        return to.emit("Gemm", [x, w, b], transB=1)
    turned = to.emit("Transpose", [w], perm=[1, 0]) if w.live else Wire(f"{w.name}.T", w.example.T, live=False)
    product = to.emit("MatMul", [x, turned])
    return product if b is None else to.emit("Add", [product, b])


def _addmm(to: _Writer, found: Any, bias: Wire, a: Wire, b: Wire, *, beta: float = 1, alpha: float = 1) -> Wire:
    return to.emit("Gemm", [a, b, bias], alpha=float(alpha), beta=float(beta))


def _conv(
    to: _Writer,
    found: Any,
    x: Wire,
    w: Wire,
    b: Wire | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Wire:
    dims = w.ndim - 2
    stride, dilation = _each(stride, dims), _each(dilation, dims)
    if isinstance(padding, str):
        total = [
            d * (k - 1) if padding == "same" else 0 for d, k in zip(dilation, w.example.shape[2:], strict=True)
        ]  # the longer side is the one after
        pads = [t // 2 for t in total] + [t - t // 2 for t in total]
    else:
        pads = _each(padding, dims) * 2
    kernel = list(w.example.shape[2:])
    settings = {"strides": stride, "pads": pads, "dilations": dilation, "group": groups, "kernel_shape": kernel}
    return to.emit("Conv", [x, w, b], **settings)


def _each(value: Any, dims: int) -> list[int]:
    """One number for each axis."""
    value = list(value) if isinstance(value, (tuple, list)) else [value]
    return value * dims if len(value) == 1 else value


def _pool(operator: str, dims: int) -> Callable[..., Wire]:
    def write(to: _Writer, found: Any, x: Wire, kernel: Any, stride: Any = (), padding: Any = 0, *rest: Any) -> Wire:
        kernel = _each(kernel, dims)
        stride = _each(stride, dims) if stride != () and stride != [] else kernel
        settings: dict[str, Any] = {"kernel_shape": kernel, "strides": stride, "pads": _each(padding, dims) * 2}
        if operator == "MaxPool":
            dilation, ceil = [*rest, *[1, False][len(rest) :]]
            settings |= {"dilations": _each(dilation, dims), "ceil_mode": int(ceil)}
        else:
            ceil, counted = [*rest, *[False, True][len(rest) :]]
            settings |= {"ceil_mode": int(ceil), "count_include_pad": int(counted)}
        return to.emit(operator, [x], **settings)

    return write


def _adaptive(to: _Writer, found: Any, x: Wire, sizes: Any) -> Wire:
    wanted, given = list(found.shape[2:]), list(x.example.shape[2:])
    if set(wanted) == {1}:
        return to.emit("GlobalAveragePool", [x])
    if any(g % w for g, w in zip(given, wanted, strict=True)):
        raise unsupported(f"an adaptive average from {given} to {wanted} places")
    kernel = [g // w for g, w in zip(given, wanted, strict=True)]
    return to.emit("AveragePool", [x], kernel_shape=kernel, strides=kernel)


def _batch_norm(
    to: _Writer,
    found: Any,
    x: Wire,
    w: Wire | None,
    b: Wire | None,
    mean: Wire | None,
    var: Wire | None,
    training: bool,
    momentum: float,
    eps: float,
    cudnn: bool,
) -> Wire:
    if training or mean is None or var is None:
        raise unsupported("aten.batch_norm with the statistics of the batch")
    ones = np.ones_like(var.example.numpy())
    return to.emit("BatchNormalization", [x, w or ones, b or 0 * ones, mean, var], epsilon=eps)


def _layer_norm(
    to: _Writer, found: Any, x: Wire, shape: Any, w: Any = None, b: Any = None, eps: float = 1e-5, *_: Any
) -> Wire:
    w = np.ones(shape, dtype=str(x.example.dtype).removeprefix("torch.")) if w is None else w
    return to.emit("LayerNormalization", [x, w, b], axis=-len(shape), epsilon=eps)


def _transpose(to: _Writer, found: torch.Tensor, x: Wire, *dims: Any) -> Wire:
    order = list(range(x.ndim))
    if len(dims) == 1:
        order = [d % x.ndim for d in dims[0]]
    else:
        a, b = dims or (0, 1)
        order[a], order[b] = order[b], order[a]
    return to.emit("Transpose", [x], perm=order)


def _cat(to: _Writer, found: Any, parts: list[Wire], dim: int = 0) -> Wire:
    return to.emit("Concat", parts, axis=dim)


def _cut(to: _Writer, found: Any, x: Wire, sizes: Any, dim: int = 0) -> list[Wire]:
    """Write chunk, split and split_with_sizes: one slice for each of the pieces that came out."""
    ends = np.cumsum([0, *(t.shape[dim] for t in found)])
    return [_slice(to, found, x, dim, int(a), int(b)) for a, b in pairwise(ends)]


def _slice(
    to: _Writer, found: Any, x: Wire, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Wire:
    last = np.iinfo(np.int64).max
    bounds = [start or 0, last if end is None else end, dim, step]
    return to.emit("Slice", [x, *(np.array([k], dtype=np.int64) for k in bounds)])


def _select(to: _Writer, found: Any, x: Wire, dim: int, index: int) -> Wire:
    return to.emit("Gather", [x, np.array(index, dtype=np.int64)], axis=dim)


def _pad(to: _Writer, found: Any, x: Wire, pads: list[int], mode: Any = "constant", value: float | None = None) -> Wire:
    if not isinstance(mode, str):  # constant_pad_nd has the value here
        mode, value = "constant", mode
    if mode not in ("constant", "reflect", "replicate"):
        raise unsupported(f"aten.pad of mode {mode}")
    sides = np.zeros((2, x.ndim), dtype=np.int64)
    for k, (left, right) in enumerate(zip(pads[::2], pads[1::2], strict=True), 1):
        sides[:, -k] = left, right
    inputs = [x, sides.ravel(), to.scalar(value or 0.0, x)]
    return to.emit("Pad", inputs, mode="edge" if mode == "replicate" else mode)


def _mean(to: _Writer, found: Any, x: Wire, dims: Any = None, keepdim: bool = False) -> Wire:
    return to.emit("ReduceMean", [x], axes=_chosen(x, dims).tolist(), keepdims=int(keepdim))


def _sum(to: _Writer, found: Any, x: Wire, dims: Any = None, keepdim: bool = False) -> Wire:
    return to.emit("ReduceSum", [x, _chosen(x, dims)], keepdims=int(keepdim))


def _chosen(x: Wire, dims: Any) -> np.ndarray:
    return np.arange(x.ndim) if dims is None else np.array(_each(dims, 1), dtype=np.int64) % x.ndim


def _clip(to: _Writer, found: Any, x: Wire, low: Any = None, high: Any = None) -> Wire:
    return to.emit("Clip", [x, *(None if limit is None else to.scalar(limit, x) for limit in (low, high))])


def _softmax(operator: str) -> Callable[..., Wire]:
    return lambda to, found, x, dim, *_: to.emit(operator, [x], axis=dim)


def _silu(to: _Writer, found: Any, x: Wire) -> Wire:
    return to.emit("Mul", [x, to.emit("Sigmoid", [x])])


def _gelu(to: _Writer, found: Any, x: Wire, *, approximate: str = "none") -> Wire:
    """X (1 + erf(x / sqrt 2)) / 2."""
    if approximate != "none":
        raise unsupported(f"aten.gelu with approximate={approximate!r}")
    error = to.emit("Erf", [to.emit("Mul", [x, to.scalar(0.5**0.5, x)])])
    half = to.emit("Mul", [x, to.scalar(0.5, x)])
    return to.emit("Mul", [half, to.emit("Add", [error, to.scalar(1.0, x)])])


def _attention(
    to: _Writer,
    found: Any,
    q: Wire,
    k: Wire,
    v: Wire,
    mask: Any = None,
    dropout: float = 0.0,
    causal: bool = False,
    *,
    scale: float | None = None,
    **_: Any,
) -> Wire:
    """softmax(q k^T scale) v."""
    if mask is not None or causal or dropout:
        raise unsupported("aten.scaled_dot_product_attention with a mask or dropout")
    order = [*range(k.ndim - 2), k.ndim - 1, k.ndim - 2]
    scores = to.emit("MatMul", [q, to.emit("Transpose", [k], perm=order)])
    factor = q.example.shape[-1] ** -0.5 if scale is None else scale
    weights = to.emit("Softmax", [to.emit("Mul", [scores, to.scalar(factor, q)])], axis=-1)
    return to.emit("MatMul", [weights, v])


_MOVES = {"view", "_unsafe_view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze"}
_WRITERS: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(("contiguous", "clone", "alias", "detach", "to", "_to_copy", "lift_fresh_copy"), _same),
    **dict.fromkeys(("dropout", "feature_dropout", "alpha_dropout"), _same),
    **{name: _unary(name.capitalize()) for name in ("relu", "sigmoid", "tanh", "exp", "log", "sqrt", "abs", "neg")},
    **{name: _unary(name.capitalize()) for name in ("erf", "sin", "cos", "reciprocal")},
    **{name: _binary(name.capitalize()) for name in ("add", "sub", "mul", "div", "pow")},
    **dict.fromkeys(("matmul", "mm", "bmm"), _binary("MatMul")),
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), _conv),
    **{f"max_pool{n}d": _pool("MaxPool", n) for n in (1, 2, 3)},
    **{f"avg_pool{n}d": _pool("AveragePool", n) for n in (1, 2, 3)},
    **{f"adaptive_avg_pool{n}d": _adaptive for n in (1, 2, 3)},
    **dict.fromkeys(("permute", "transpose", "t"), _transpose),
    **dict.fromkeys(("chunk", "split", "split_with_sizes"), _cut),
    **dict.fromkeys(("pad", "constant_pad_nd"), _pad),
    **dict.fromkeys(("clamp", "clamp_min", "hardtanh"), _clip),
    "relu6": lambda to, found, x: _clip(to, found, x, 0, 6),
    "elu": lambda to, found, x, alpha=1.0: to.emit("Elu", [x], alpha=float(alpha)),
    "rsub": lambda to, found, a, b, alpha=1: _binary("Sub")(to, found, b, a, alpha=alpha),
    "linear": _linear,
    "addmm": _addmm,
    "batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
    "cat": _cat,
    "slice": _slice,
    "select": _select,
    "mean": _mean,
    "sum": _sum,
    "minimum": _binary("Min"),
    "maximum": _binary("Max"),
    "leaky_relu": lambda to, found, x, slope=0.01: to.emit("LeakyRelu", [x], alpha=float(slope)),
    "softmax": _softmax("Softmax"),
    "log_softmax": _softmax("LogSoftmax"),
    "softplus": _unary("Softplus"),
    "silu": _silu,
    "gelu": _gelu,
    "scaled_dot_product_attention": _attention,
}
