"""From a graph of ATen operations to a `Network`: the export of a torch module, and the walk."""

from __future__ import annotations

import copy
import io
import logging
import operator
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from boundlab._errors import BoundlabError, InvalidParameter, UnsupportedLayer, one_line, positive_int
from boundlab.nets.chain import Chain, product, require_equal, unsupported, walked
from boundlab.network import Network

if TYPE_CHECKING:
    import torch


class Ref(NamedTuple):
    """The name of a value, as an argument."""

    name: str


class Op(NamedTuple):
    """One call in a graph; `args` and `kwargs` hold plain values and `Ref`."""

    name: str
    target: str  # "aten.linear.default"
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @property
    def in_place(self) -> bool:
        """Whether the operation overwrites its first argument, as "aten.relu_.default" does."""
        return self.target.split(".")[1].endswith("_")


@dataclass(frozen=True, kw_only=True, eq=False)
class Graph:
    """An ATen graph with one input and one output."""

    ops: tuple[Op, ...]
    constants: Mapping[str, torch.Tensor]
    input: str
    shape: tuple[int, ...]
    output: str
    names: Mapping[str, str] = field(default_factory=dict)  # what the module calls its constants

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the weights, and so of the input."""
        import torch

        return next((t.dtype for t in self.constants.values() if t.is_floating_point()), torch.float32)

    def live(self) -> Iterator[Op]:
        """Yield the operations that the output depends on, in order."""
        needed, kept = {self.output}, []
        for op in reversed(self.ops):
            if op.name in needed or op.in_place:  # in place: it may change what is needed
                kept.append(op)
                needed |= set(_names((op.args, op.kwargs)))
        yield from reversed(kept)

    def double(self) -> Graph:
        """Return the same graph with its floating constants in double precision."""
        return replace(
            self, constants={k: t.double() if t.is_floating_point() else t for k, t in self.constants.items()}
        )

    def run(self, x: torch.Tensor) -> torch.Tensor:
        """Return the output for one input tensor, by calling every operation."""
        values: dict[str, Any] = {k: t.clone() for k, t in self.constants.items()} | {self.input: x.clone()}
        for op in self.live():
            values[op.name] = run_op(op, values)
        return values[self.output]

    def chain(self, shape: tuple[int, ...], batch: int) -> Chain:
        """Walk from the input to the output; constants are folded."""
        values: dict[str, Any] = {k: t.clone() for k, t in self.constants.items()}
        values[self.input] = Chain.start(shape, batch)
        for op in self.live():
            args = filled(op.args, values)
            kwargs = filled(op.kwargs, values)
            on_path = any(isinstance(item, Chain) for item in flat((args, kwargs)))
            values[op.name] = _step(op.target, args, kwargs) if on_path else run_op(op, values)
            if op.in_place and op.args and isinstance(op.args[0], Ref):
                values[op.args[0].name] = values[op.name]
        end = values[self.output]
        if not isinstance(end, Chain):
            raise unsupported("an output that does not depend on the input")
        return end


def network_of_graph(graph: Graph) -> Network:
    """Return the Network of a graph, checked against the graph itself on 8 random inputs."""
    import torch

    for candidate, dtype, eps in ((graph.double(), torch.float64, 1e-6), (graph, torch.float32, 1e-4)):

        def run(x: np.ndarray, candidate: Graph = candidate, dtype: torch.dtype = dtype) -> np.ndarray:
            return candidate.run(torch.tensor(x, dtype=dtype)).detach().double().numpy()

        try:
            with torch.no_grad():
                net, batch = walked(candidate.chain, graph.shape)
                require_equal(net, run, shape=graph.shape, batch=batch, points=8, eps=eps)
        except RuntimeError as error:  # a graph that names single precision cannot run in double precision
            failure = error
        else:
            return net
    raise unsupported(f"a graph that cannot be evaluated: {one_line(failure)}")


@contextmanager
def quiet() -> Iterator[None]:
    """Hold back what torch prints, logs and warns of: what matters becomes one exception."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


@quiet()
def network_of_module(module: Any, *, features: int | None) -> Network:
    """Return the Network of a torch.nn.Module, checked against the module itself on 8 random inputs.

    The module is copied, put in eval mode and exported in double precision (in single precision, with 1e-4 instead of
    1e-6 as the largest relative difference, where its code names single precision).

    Raises
    ------
    InvalidParameter
        If the module cannot be copied or run, or `features` is needed and not given.
    UnsupportedLayer
        If its graph holds anything but affine maps, ReLU and changes of shape, or differs from its layers.
    """
    import torch

    if features is not None:
        features = positive_int("features", features)
    module = copied(getattr(module, "_orig_mod", module))  # _orig_mod: what torch.compile wraps
    shapes = _shapes(module, features)
    failures: list[Exception] = []
    tries = [(torch.float64, 1e-6), (torch.float32, 1e-4)]
    if any(tensor.dtype == torch.float64 for tensor in module.state_dict().values()):
        tries.pop()  # single precision would round the weights
    for dtype, eps in tries:
        candidate = module.to(dtype)
        for shape in shapes:
            try:
                graph = graph_of_module(candidate, torch.zeros(shape, dtype=dtype))
                with torch.no_grad():
                    net = graph.chain(shape, 1).network()
                    require_equal(net, _runner(candidate, dtype), shape=shape, batch=1, points=8, eps=eps)
                    _require_same_in_a_batch(candidate, net, shape, dtype, eps)
            except BoundlabError:
                raise
            except Exception as error:  # whatever the module's own code raises for this shape or precision
                failures.append(error)
            else:
                return net
    known = tuple(
        getattr(torch.nn, name) for name in ("Linear", "ReLU", "Flatten", "Dropout", "Identity", "BatchNorm1d")
    )
    leaves = [m for m in module.modules() if not list(m.children()) and not isinstance(m, known)]
    foreign = sorted({type(m).__name__ for m in leaves if type(m).__module__.startswith("torch.nn")})
    if foreign:
        raise unsupported(f"{', '.join(foreign)} in the module")
    raise InvalidParameter(
        f"a module must run, and run under torch.export, on an input of shape {shapes[0]}, got {one_line(failures[0])}."
    )


# ---------------------------------------------------------------------------------------------- one step of the walk

_SAME = ("to", "_to_copy", "type_as", "clone", "alias", "contiguous", "detach", "lift_fresh_copy")
_MOVES = (
    "view",
    "_unsafe_view",
    "reshape",
    "flatten",
    "unflatten",
    "squeeze",
    "unsqueeze",
    "permute",
    "transpose",
    "t",
)


def _step(target: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return the value of one operation on the data path."""
    kind = _kind(target)
    refusal = unsupported(f"{target.rsplit('.', 1)[0]} in the graph")
    a, rest = args[0], list(args[1:])
    if kind in ("add", "sub", "mul", "div") and len(rest) == 1 and not set(kwargs) - {"alpha"}:
        return _elementwise(kind, a, rest[0], kwargs.get("alpha", 1), refusal)
    if kind == "rsub" and len(rest) == 1 and not kwargs:
        return _elementwise("sub", rest[0], a, 1, refusal)
    if kind in ("linear", "addmm", "mm", "matmul"):
        return _product(kind, args, kwargs, refusal)
    if not isinstance(a, Chain) or any(isinstance(item, Chain) for item in flat((rest, kwargs))):
        raise refusal
    if kind == "relu":
        return a.relu()
    if kind in ("clamp", "clamp_min") and [*rest, *kwargs.values(), None][:2] == [0, None]:
        return a.relu()
    if kind == "batch_norm" and a.where.ndim == 2 and not rest[4]:
        gamma, beta, mean, variance = (None if t is None else _float(t) for t in rest[:4])
        if mean is None or variance is None:
            raise refusal
        slope = (1.0 if gamma is None else gamma) / np.sqrt(variance + rest[6])
        return a.affine(slope, (0.0 if beta is None else beta) - mean * slope)
    if kind in _SAME:
        dtypes = [d for d in (*rest, *kwargs.values()) if type(d).__name__ == "dtype"]
        if not all(d.is_floating_point for d in dtypes):
            raise refusal
        return a
    if kind in ("dropout", "feature_dropout", "alpha_dropout"):
        if rest[1]:
            raise unsupported(f"{target.rsplit('.', 1)[0]} in training mode in the graph")
        return a
    if kind == "sym_size":
        return a.where.shape[rest[0]]
    if kind not in _MOVES:
        raise refusal
    return a.moved(_rearranged(kind, a.where, rest, kwargs))


def _kind(target: str) -> str:
    """Return "relu" for both "aten.relu.default" and the in-place "aten.relu_.default"."""
    kind = target.split(".")[1]
    return kind if kind.startswith("_") else kind.rstrip("_")


def _elementwise(kind: str, a: Any, b: Any, alpha: float, refusal: UnsupportedLayer) -> Chain:
    """Return a + alpha b, a - alpha b, a b or a / b, where exactly one of the two is a constant."""
    if isinstance(a, Chain) and not isinstance(b, Chain):
        c = _float(b)
        if kind == "div":
            with np.errstate(divide="ignore"):
                return a.affine(1.0 / c)
        return a.affine(c) if kind == "mul" else a.affine(shift=alpha * c if kind == "add" else -alpha * c)
    if isinstance(b, Chain) and not isinstance(a, Chain) and kind != "div":
        c = _float(a)
        return b.affine(c) if kind == "mul" else b.affine(alpha if kind == "add" else -alpha, c)
    raise refusal


def _product(kind: str, args: tuple[Any, ...], kwargs: dict[str, Any], refusal: UnsupportedLayer) -> Chain:
    """W a + b in the writings of torch; the other factor and the bias are constants."""
    if kind == "linear":
        x, w, b = (*args, None)[:3]
        if not isinstance(x, Chain) or isinstance(w, Chain) or isinstance(b, Chain):
            raise refusal
        return x.linear(_float(w), None if b is None else _float(b))
    bias, left, right = args if kind == "addmm" else (None, *args)
    result = product(_constant(left), _constant(right), refusal).affine(kwargs.get("alpha", 1))
    if isinstance(bias, Chain):
        raise refusal
    return result if bias is None else result.affine(shift=kwargs.get("beta", 1) * _float(bias))


def _rearranged(kind: str, where: np.ndarray, rest: list[Any], kwargs: dict[str, Any]) -> np.ndarray:
    """Return `where` after the very operation that torch would run on the tensor."""
    import torch

    positions = torch.from_numpy(np.ascontiguousarray(where))
    packet = torch.ops.aten.reshape if kind in ("view", "_unsafe_view") else getattr(torch.ops.aten, kind)
    try:
        return packet(positions, *rest, **kwargs).numpy()
    except (RuntimeError, IndexError, TypeError) as error:
        raise unsupported(f"aten.{kind} in the graph on a tensor of shape {where.shape}, {one_line(error)}") from None


def run_op(op: Op, values: Mapping[str, Any]) -> Any:
    """Run one operation on plain values; only ATen and the arithmetic of sizes may be called."""
    import torch

    namespace, kind, overload = [*op.target.split("."), ""][:3]
    if namespace == "_operator" and kind in ("add", "sub", "mul", "floordiv", "neg", "getitem"):
        call = getattr(operator, kind)
    elif namespace == "aten" and kind != "from_file" and hasattr(torch.ops.aten, kind):
        call = getattr(getattr(torch.ops.aten, kind), overload)
    else:
        raise unsupported(f"{op.target.rstrip('.')} in the graph")
    return call(*filled(op.args, values), **filled(op.kwargs, values))


def _float(value: Any) -> np.ndarray:
    """Return a constant as float64."""
    return np.asarray(value.detach().double().numpy() if hasattr(value, "detach") else value, dtype=np.float64)


def _constant(value: Any) -> Any:
    return value if isinstance(value, Chain) else _float(value)


def flat(value: Any) -> Iterator[Any]:
    """Yield the leaves of nested tuples, lists and dicts; a Ref is a leaf."""
    if isinstance(value, Ref) or not isinstance(value, (tuple, list, dict)):
        yield value
    else:
        for item in value.values() if isinstance(value, dict) else value:
            yield from flat(item)


def _names(value: Any) -> Iterator[str]:
    return (leaf.name for leaf in flat(value) if isinstance(leaf, Ref))


def filled(value: Any, values: Mapping[str, Any]) -> Any:
    """Return `value` with every Ref replaced by what it names."""
    if isinstance(value, Ref):
        return values[value.name]
    if isinstance(value, dict):
        return {key: filled(item, values) for key, item in value.items()}
    return type(value)(filled(item, values) for item in value) if isinstance(value, (tuple, list)) else value


# --------------------------------------------------------------------------------------------------------- a module


def copied(module: Any) -> Any:
    """Return a copy of the module on the CPU in eval mode; what torch.nn.utils.prune recomputes is copied by value."""
    import torch

    memo: dict[int, Any] = {}
    for part in module.modules():
        for value in vars(part).values():
            if isinstance(value, torch.Tensor) and not value.is_leaf:
                memo[id(value)] = value.detach().clone()
    try:
        return copy.deepcopy(module, memo).cpu().eval()
    except Exception as error:
        raise InvalidParameter(f"a module must be one that copy.deepcopy can copy, got {one_line(error)}.") from None


def _shapes(module: Any, features: int | None) -> list[tuple[int, ...]]:
    """Return the input shapes to try: a row of features, then a square image of them."""
    import torch

    if features is None:
        found = [m.in_features for m in module.modules() if isinstance(m, torch.nn.Linear) and m.in_features > 0]
        found += [p.shape[1] for p in module.parameters() if p.ndim == 2]
        if not found:
            raise InvalidParameter("features must be given for a module without a torch.nn.Linear, got None.")
        features = int(found[0])
    shapes: list[tuple[int, ...]] = [(1, features)]
    for channels in (1, 3):
        side = int(np.sqrt(features / channels))
        if channels * side * side == features:
            shapes.append((1, channels, side, side))
    return shapes


def graph_of_module(module: Any, example: torch.Tensor) -> Graph:
    """Return the ATen graph of a module for an example input, or raise what the module or torch.export raises."""
    import torch
    from torch.fx.node import map_arg

    with torch.no_grad():
        result = module(example)  # first without torch.export, whose own errors are long
        if not isinstance(result, torch.Tensor):
            raise unsupported(f"a module that returns a {type(result).__name__} instead of one tensor")
        program = torch.export.export(module, (example,), strict=False)
    signature = program.graph_signature
    tensors: dict[str, Any] = {**program.state_dict, **program.constants}
    held = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    held |= signature.inputs_to_lifted_tensor_constants
    inputs, ops, outputs = [], [], []
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name not in held:
            inputs.append(node.name)
        elif node.op == "call_function":
            args, kwargs = map_arg((node.args, dict(node.kwargs)), lambda n: Ref(n.name))
            ops.append(Op(node.name, _target(node.target), _plain(args), _plain(kwargs)))
        elif node.op == "get_attr":
            raise unsupported("a nested graph")
        elif node.op == "output":
            outputs = list(node.args[0])
    if len(inputs) != 1 or len(outputs) != 1 or not isinstance(outputs[0], torch.fx.Node):
        raise unsupported(f"a module with {len(inputs)} inputs and {len(outputs)} outputs")
    constants = {name: tensors[key].detach() for name, key in held.items()}
    return Graph(
        ops=tuple(ops),
        constants=constants,
        input=inputs[0],
        shape=tuple(example.shape),
        output=outputs[0].name,
        names=held,
    )


def _target(target: Any) -> str:
    if getattr(target, "__module__", "") == "_operator":
        return f"_operator.{target.__name__}"
    text = str(target)
    return text if text.count(".") == 2 else f"operator.{getattr(target, '__name__', text)}"


def _plain(value: Any) -> Any:
    """Return torch's immutable lists and dicts as plain ones."""
    if isinstance(value, Ref):
        return value
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return (tuple if isinstance(value, tuple) else list)(_plain(item) for item in value)
    return value


def _runner(module: Any, dtype: torch.dtype) -> Callable[[np.ndarray], np.ndarray]:
    import torch

    return lambda x: module(torch.tensor(x, dtype=dtype)).double().numpy()


def _require_same_in_a_batch(module: Any, net: Network, shape: tuple[int, ...], dtype: torch.dtype, eps: float) -> None:
    """Raise UnsupportedLayer if the module takes 8 points at once but gives them other outputs than one by one."""
    run = _runner(module, dtype)
    x = np.random.default_rng(1).standard_normal((8, *shape[1:]))
    try:
        together = run(x).reshape(8, -1)
    except Exception:  # a module written for one point at a time
        return
    alone = net(x.reshape(8, -1))
    if together.shape == alone.shape and not np.abs(together - alone).max() <= eps * np.abs(alone).max():
        raise unsupported("a module that mixes the points of a batch")
