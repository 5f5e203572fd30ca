"""An ONNX graph as a torch module: the walk from node to node; `onnx_operators` says what each operator becomes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from boundlab._errors import BoundlabError, InvalidParameter, UnsupportedLayer, one_line

if TYPE_CHECKING:
    import torch

EPS = 1e-4
"""Largest difference to ONNX's reference evaluator that is taken for rounding, relative to the largest output."""


def module_of_onnx(path: str) -> torch.nn.Module:
    """Read an .onnx or .onnx.gz file as a torch module that computes what the graph computes.

    Parameters
    ----------
    path : str
        A model with one floating input, whose first dimension counts the points and whose others are fixed, and one
        output.

    Returns
    -------
    torch.nn.Module
        A ``torch.fx.GraphModule`` in eval mode, for any number of points. Weights of Conv, and of Gemm and MatMul
        where they are a constant matrix, live in ``Conv1d/2d/3d`` and ``Linear`` submodules, batch norms in modules of
        theirs; other constants are parameters of the module itself, without gradient. Names come from the weights.
        On random points its outputs agree with ONNX's reference evaluator, to 1e-4 of the largest; this is checked,
        point by point and for several points at once.

    Raises
    ------
    InvalidParameter
        If the package onnx is missing, or the file is not a valid model with a fixed number of features.
    UnsupportedLayer
        If an operator, named in the message, has no torch form here, or the graph mixes its points.
    """
    try:
        import onnx
    except ImportError:
        raise InvalidParameter("reading .onnx needs the extra onnx: pip install 'boundlab[onnx]'.") from None
    del onnx
    from boundlab.nets.onnx_graph import read_model

    return module_of_model(read_model(path))


def module_of_model(model: Any) -> torch.nn.Module:
    """Return the torch module of an ``onnx.ModelProto``, as `module_of_onnx` does for a file."""
    walk = Walk(model)
    module = walk.module()
    _require_equal(model, module, walk)
    return module


@dataclass(frozen=True, eq=False)
class Value:
    """A value on the data path: its node in the torch graph, and what it is for an example input."""

    node: torch.fx.Node
    example: torch.Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes for the example input."""
        return tuple(self.example.shape)


class Walk:
    """The torch graph of an ONNX graph, built operator by operator; each one is run on an example as it is added.

    Operators on constants are folded by the reference evaluator. Shapes of values are constants: those of the example.
    """

    def __init__(self, model: Any) -> None:
        """Read the constants and the input."""
        import onnx
        import torch

        graph = model.graph
        self.model = model
        self.opset = max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=1)
        arrays = {tensor.name: onnx.numpy_helper.to_array(tensor).copy() for tensor in graph.initializer}
        inputs = [value for value in graph.input if value.name not in arrays]
        if len(inputs) != 1 or len(graph.output) != 1:
            raise unsupported(f"a graph with {len(inputs)} inputs and {len(graph.output)} outputs")
        kind = inputs[0].type.tensor_type
        sizes = [dim.dim_value for dim in kind.shape.dim]  # 0 where dynamic
        if len(sizes) < 2:
            raise unsupported(f"an input of sizes {sizes}, whose first dimension does not count points")
        if 0 in sizes[1:]:
            raise InvalidParameter(f"a net must have a fixed number of features, got input sizes {sizes}, 0 dynamic.")
        self.dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
        if self.dtype not in (np.float32, np.float64):
            raise unsupported(f"an input of type {self.dtype}")
        self.batch = sizes[0]  # 0 where any number of points can be given at once
        # 7 points where the graph takes any number: a size that no other dimension is likely to have
        self.shape = (sizes[0] or 7, *sizes[1:])
        self.graph, self.root = torch.fx.Graph(), dict[str, Any]()
        example = torch.zeros(self.shape, dtype=getattr(torch, str(self.dtype)))
        self.values: dict[str, Any] = {"": None, **arrays}
        self.values[inputs[0].name] = Value(self.graph.placeholder("x"), example)
        self._names = {id(array): (name, array) for name, array in arrays.items()}
        self.readers = Counter(name for node in graph.node for name in node.input)
        self.readers[graph.output[0].name] += 1
        self._layers: dict[tuple[Any, ...], str] = {}  # where a submodule lives
        self._constants: dict[str, str] = {}  # where a constant lives
        self._parameters: dict[tuple[Any, ...], torch.nn.Parameter] = {}

    def module(self) -> torch.nn.Module:
        """Walk from the input to the output."""
        import torch

        self._fold_constants()
        for node in needed(self.model.graph):
            if node.output[0] not in self.values:
                self._step(node)
        end = self.values.get(self.model.graph.output[0].name)
        if not isinstance(end, Value):
            raise unsupported("an output that does not depend on the input")
        self.graph.output(end.node)
        return torch.fx.GraphModule(self.root, self.graph, class_name="OnnxModule").eval()

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Value:
        """Add a call of a torch function; arrays become tensors of the module."""
        import torch

        args, kwargs = self._tensored(args), self._tensored(kwargs)
        with torch.no_grad():
            example = function(*_examples(args), **_examples(kwargs))
        return Value(self.graph.call_function(function, _nodes(args), _nodes(kwargs)), example)

    def layer(self, x: Value, kind: type[Any], tensors: dict[str, tuple[Any, np.ndarray]], **settings: Any) -> Value:
        """Add a call of a submodule ``kind(**settings)`` that holds `tensors`, each with the name that it goes by.

        The same kind, settings and names call the same submodule again; the same name is the same parameter.
        """
        import torch

        key = (kind, *((name, own) for name, (own, _) in tensors.items()), *sorted(settings.items()))
        if key not in self._layers:
            part = torch.nn.utils.skip_init(kind, **settings)
            for name, (own, array) in tensors.items():
                shared = self._parameters.setdefault((own, array.shape), torch.nn.Parameter(_tensor(array)))
                setattr(part, name, shared.detach() if name.startswith("running") else shared)
            for counter in part.buffers(recurse=False):
                if not counter.is_floating_point():
                    counter.zero_()  # num_batches_tracked
            own = tensors["weight"][0] if "weight" in tensors else ""
            self._layers[key] = self._unused(own[0] if isinstance(own, tuple) else own, kind.__name__.lower())
            self.root[self._layers[key]] = part.eval()
        name = self._layers[key]
        with torch.no_grad():
            example = self.root[name](x.example)
        return Value(self.graph.call_module(name, (x.node,)), example)

    def name_of(self, array: np.ndarray) -> str:
        """The name of a constant of the graph, the same for the same one."""
        name, _ = self._names.setdefault(id(array), (f"constant_{len(self._names)}", array))
        return name  # the array is kept alive, so that no other one gets its id

    def following_bias(self, node: Any, width: int) -> tuple[str, np.ndarray] | None:
        """The vector that the next node adds to a matrix product, and that node's output, if it is the only reader."""
        (name,) = node.output
        readers = [n for n in self.model.graph.node if name in n.input]
        if self.readers[name] != 1 or len(readers) != 1 or readers[0].op_type != "Add":
            return None
        (other,) = [i for i in readers[0].input if i != name]
        bias = self.values.get(other)
        if not isinstance(bias, np.ndarray) or bias.shape[-1:] != (width,) or bias.size != width:
            return None
        return readers[0].output[0], bias

    def _fold_constants(self) -> None:
        from boundlab.nets.onnx_graph import folded

        for node in needed(self.model.graph):
            if all(name in self.values and not isinstance(self.values[name], Value) for name in node.input):
                outputs = folded(self.model, node, [self.values[name] for name in node.input])
                self.values.update(zip(node.output, map(np.asarray, outputs), strict=False))

    def _step(self, node: Any) -> None:
        """Add one node."""
        import onnx

        from boundlab.nets.onnx_graph import folded
        from boundlab.nets.onnx_operators import OPERATORS

        missing = [name for name in node.input if name not in self.values]
        if missing:
            raise InvalidParameter(f"a graph must define a value before its use, got {missing[0]!r} undefined.")
        args = [self.values[name] for name in node.input]
        if not any(isinstance(value, Value) for value in args):  # constants that came from a shape
            outputs = map(np.asarray, folded(self.model, node, args))
            self.values.update(zip(node.output, outputs, strict=False))
            return
        kind = node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
        if kind not in OPERATORS:
            raise unsupported(f"{kind} in the graph")
        attributes = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
        try:
            found = OPERATORS[kind](self, node, args, attributes)
        except BoundlabError:
            raise
        except Exception as error:  # whatever torch says to sizes that do not fit
            raise unsupported(f"{kind} in the graph, {one_line(error)}") from None
        outputs = found if isinstance(found, tuple) else (found,)
        if any(self.readers[name] for name in node.output[len(outputs) :]):
            raise unsupported(f"{kind} with {len(node.output)} outputs in the graph")
        self.values.update(zip(node.output, outputs, strict=False))

    def _tensored(self, value: Any) -> Any:
        """Replace the arrays inside of `value` by values that read a parameter or, for whole numbers, a buffer."""
        if isinstance(value, np.ndarray):
            return self._constant(value)
        if isinstance(value, dict):
            return {key: self._tensored(item) for key, item in value.items()}
        return type(value)(map(self._tensored, value)) if isinstance(value, (tuple, list)) else value

    def _constant(self, array: np.ndarray) -> Value:
        import torch

        wish = self.name_of(array)
        if wish not in self._constants:
            path = self._unused(wish.replace(".", "_"), "constant")
            tensor = _tensor(array)
            self.root[path] = torch.nn.Parameter(tensor, requires_grad=False) if tensor.is_floating_point() else tensor
            self._constants[wish] = path
        path = self._constants[wish]
        return Value(self.graph.get_attr(path), self.root[path].detach())

    def _unused(self, wish: str, kind: str) -> str:
        """A path in the module that no other part has, close to the name of the weight: "layer1.0.conv1"."""
        import torch

        parts = [re.sub(r"\W", "_", part) for part in wish.removesuffix(".weight").split(".")]
        path = ".".join(parts) if all(parts) else kind
        reserved = {*dir(torch.fx.GraphModule), *dir(torch.nn.Module())}
        taken = {prefix for name in self.root for prefix in _prefixes(name)}
        k, free = 0, path
        while free in taken or any(p in self.root for p in _prefixes(free)) or reserved & set(free.split(".")):
            k += 1
            free = f"{path}_{k}"
        return free


def _tensor(array: np.ndarray) -> torch.Tensor:
    """A copy of an array as a tensor."""
    import torch

    return torch.from_numpy(np.array(array, order="C"))


def needed(graph: Any) -> list[Any]:
    """The nodes that the output depends on, in order."""
    wanted, kept = {graph.output[0].name}, []
    for node in reversed(graph.node):
        if wanted & set(node.output):
            kept.append(node)
            wanted |= set(node.input)
    return kept[::-1]


def unsupported(fact: str) -> UnsupportedLayer:
    """Return the refusal of a graph, its rule first."""
    return UnsupportedLayer(f"an ONNX graph must have operators that have a torch form here; got {fact}.")


def _prefixes(path: str) -> list[str]:
    parts = path.split(".")
    return [".".join(parts[:k]) for k in range(1, len(parts) + 1)]


def _examples(value: Any) -> Any:
    return _mapped(value, lambda v: v.example)


def _nodes(value: Any) -> Any:
    return _mapped(value, lambda v: v.node)


def _mapped(value: Any, of: Callable[[Value], Any]) -> Any:
    if isinstance(value, Value):
        return of(value)
    if isinstance(value, dict):
        return {key: _mapped(item, of) for key, item in value.items()}
    return type(value)(_mapped(item, of) for item in value) if isinstance(value, (tuple, list)) else value


def _without_momentum(model: Any) -> Any:
    """The model with momentum 1 in its batch norms.

    The momentum counts in training alone; but for opset 9 to 13 the reference evaluator mixes the statistics of the
    batch into those of the model, by 1 - momentum.
    """
    import onnx

    twin = onnx.ModelProto()
    twin.CopyFrom(model)
    for node in twin.graph.node:
        if node.op_type == "BatchNormalization":
            others = [attribute for attribute in node.attribute if attribute.name != "momentum"]
            del node.attribute[:]
            node.attribute.extend([*others, onnx.helper.make_attribute("momentum", 1.0)])
    return twin


def _require_equal(model: Any, module: torch.nn.Module, walk: Walk) -> None:
    """Raise UnsupportedLayer unless module and reference evaluator agree, also for other numbers of points at once."""
    import onnx.reference
    import torch

    rng = np.random.default_rng(0)
    shape = (walk.batch or 1, *walk.shape[1:])
    (name,) = [v.name for v in model.graph.input if isinstance(walk.values.get(v.name), Value)]
    inputs = [rng.standard_normal(shape).astype(walk.dtype) for _ in range(2 if walk.batch > 1 else 3)]
    try:
        session: Any = onnx.reference.ReferenceEvaluator(_without_momentum(model))
        want = np.concatenate([np.asarray(session.run(None, {name: x})[0], dtype=np.float64) for x in inputs])
    except Exception as error:
        raise InvalidParameter(f"a model must run in ONNX's reference evaluator, got {one_line(error)}.") from None
    with torch.inference_mode():
        alone = np.concatenate([module(torch.from_numpy(x)).double().numpy() for x in inputs])
        try:
            together = module(torch.from_numpy(np.concatenate(inputs))).double().numpy()
        except Exception as error:
            fact = f"a graph that takes {len(inputs[0])} points at once and no other number, {one_line(error)}"
            raise unsupported(fact) from None
    for got, fact in ((alone, "a graph whose torch form"), (together, "a graph that for several points at once")):
        if got.shape != want.shape:
            raise unsupported(f"{fact} gives outputs of shape {got.shape} instead of {want.shape}")
        difference = np.abs(got - want).max()
        if not difference <= EPS * np.abs(want).max():
            raise unsupported(f"{fact} gives other outputs, by {difference:.3g}")
