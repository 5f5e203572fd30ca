"""From an ONNX graph to a `Network`: the walk, checked against the reference evaluator of ONNX."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np

from boundlab._errors import InvalidParameter, UnsupportedLayer, one_line
from boundlab.nets.chain import Chain, product, require_equal, unsupported, walked
from boundlab.network import Network


def network_of_onnx(path: str) -> Network:
    """Read an .onnx or .onnx.gz file as a Network.

    Constants are folded with the reference evaluator; the layers must agree with that evaluator, run on the whole
    graph, on 4 random inputs, to 1e-4 of the largest output.

    Raises
    ------
    InvalidParameter
        If the package onnx is missing, or the file is not a valid model with one input of a fixed number of features.
    UnsupportedLayer
        If the graph holds anything but affine maps, ReLU and changes of shape.
    """
    try:
        import onnx.reference
    except ImportError:
        raise InvalidParameter("reading .onnx needs the extra onnx: pip install 'boundlab[onnx]'.") from None
    model = read_model(path)
    walk = _Walk(model)
    net, batch = walked(walk.chain, walk.shape)
    try:
        session = onnx.reference.ReferenceEvaluator(model)

        def run(x: np.ndarray) -> np.ndarray:
            (out,) = session.run(None, {walk.input: x.astype(walk.dtype)})
            return np.asarray(out, dtype=np.float64)

        require_equal(net, run, shape=walk.shape, batch=batch, points=4, eps=1e-4)
    except UnsupportedLayer:
        raise
    except Exception as error:
        raise InvalidParameter(f"a model must run in ONNX's reference evaluator, got {one_line(error)}.") from None
    return net


def read_model(path: str) -> Any:
    """Return the checked ModelProto of an .onnx or .onnx.gz file, or raise InvalidParameter."""
    import onnx

    try:
        if path.endswith(".gz"):
            model = onnx.load_model_from_string(gzip.decompress(Path(path).read_bytes()))
        else:
            model = onnx.load(path)
        if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer):
            raise ValueError("weights in another file")
        onnx.checker.check_model(model)
    except Exception as error:
        rule = "an .onnx file must be a whole and valid ONNX model, its external data beside it"
        raise InvalidParameter(f"{rule}, got {one_line(error)}.") from None
    return model


class _Walk:
    """The one input, the one output and the constants of a model, and the walk between them."""

    def __init__(self, model: Any) -> None:
        import onnx

        graph = model.graph
        self._model = model
        self._constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
        inputs = [value for value in graph.input if value.name not in self._constants]
        if len(inputs) != 1 or len(graph.output) != 1:
            raise unsupported(f"a graph with {len(inputs)} inputs and {len(graph.output)} outputs")
        self.input = inputs[0].name
        kind = inputs[0].type.tensor_type
        sizes = [dim.dim_value for dim in kind.shape.dim]  # 0 where dynamic
        if not sizes or 0 in sizes[1:] or sizes == [0]:
            raise InvalidParameter(
                f"a net must have a fixed number of features, got input sizes {sizes}, 0 for dynamic."
            )
        self.shape = tuple(size or 1 for size in sizes)
        self.dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
        if not np.issubdtype(self.dtype, np.floating):
            raise unsupported(f"an input of type {self.dtype}")

    def chain(self, shape: tuple[int, ...], batch: int) -> Chain:
        """Walk from the input to the output."""
        values: dict[str, Any] = {"": None, **self._constants, self.input: Chain.start(shape, batch)}
        for node in self._needed():
            missing = [name for name in node.input if name not in values]
            if missing:
                raise InvalidParameter(f"a graph must define a value before its use, got {missing[0]!r} undefined.")
            args = [values[name] for name in node.input]
            if node.op_type == "Shape" and isinstance(args[0], Chain):
                args[0] = np.zeros(args[0].where.shape, dtype=np.float32)
            if any(isinstance(item, Chain) for item in args):
                values[node.output[0]] = _step(node, args)
            else:
                values.update(zip(node.output, folded(self._model, node, args), strict=False))
        end = values.get(self._model.graph.output[0].name)
        if not isinstance(end, Chain):
            raise unsupported("an output that does not depend on the input")
        return end

    def _needed(self) -> list[Any]:
        needed, kept = {self._model.graph.output[0].name}, []
        for node in reversed(self._model.graph.node):
            if needed & set(node.output):
                kept.append(node)
                needed |= set(node.input)
        return kept[::-1]


def folded(model: Any, node: Any, args: list[Any]) -> list[Any]:
    """Run one node of a model on constants, as a graph of its own, and return its outputs."""
    import onnx
    import onnx.reference

    given = {name: value for name, value in zip(node.input, args, strict=True) if name}
    inputs = [
        onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in given.items()
    ]
    outputs = [onnx.ValueInfoProto(name=name) for name in node.output]
    graph = onnx.helper.make_graph([node], "constant", inputs, outputs)
    alone = onnx.helper.make_model(graph, opset_imports=list(model.opset_import))
    try:
        return list(onnx.reference.ReferenceEvaluator(alone).run(None, given))
    except Exception as error:
        raise unsupported(f"{node.op_type} in the graph, {one_line(error)}") from None


def _step(node: Any, args: list[Any]) -> Chain:
    """Return the value of one node on the data path."""
    import onnx

    kind = node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
    refusal = unsupported(f"{kind} in the graph")
    attribute = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
    if kind in ("Add", "Sub", "Mul", "Div"):
        return _elementwise(kind, args[0], args[1], refusal)
    if kind == "MatMul":
        return product(args[0], args[1], refusal)
    if kind == "Gemm":
        return _gemm(args, attribute, refusal)
    a, rest = args[0], args[1:]
    if not isinstance(a, Chain) or any(isinstance(item, Chain) for item in rest):
        raise refusal
    if kind == "Relu":
        return a.relu()
    if kind == "Identity" or (kind == "Cast" and attribute["to"] in _floating()):
        return a
    if kind == "Dropout" and len(node.output) == 1 and not (len(rest) > 1 and rest[1] is not None and rest[1].any()):
        return a
    return a.moved(_rearranged(kind, a.where, rest, attribute, refusal))


def _elementwise(kind: str, a: Any, b: Any, refusal: UnsupportedLayer) -> Chain:
    if isinstance(a, Chain) and not isinstance(b, Chain):
        c = np.asarray(b, dtype=np.float64)
        with np.errstate(divide="ignore"):
            return {
                "Add": lambda: a.affine(shift=c),
                "Sub": lambda: a.affine(shift=-c),
                "Mul": lambda: a.affine(c),
                "Div": lambda: a.affine(1.0 / c),
            }[kind]()
    if isinstance(b, Chain) and not isinstance(a, Chain) and kind != "Div":
        c = np.asarray(a, dtype=np.float64)
        return b.affine(c) if kind == "Mul" else b.affine(1.0 if kind == "Add" else -1.0, c)
    raise refusal


def _gemm(args: list[Any], attribute: dict[str, Any], refusal: UnsupportedLayer) -> Chain:
    """Return alpha A' B' + beta C, where A' is A or its transpose and exactly one of A, B is on the data path."""
    left, right, *rest = args
    left = _transposed(left) if attribute.get("transA") else left
    right = _transposed(right) if attribute.get("transB") else right
    if rest and isinstance(rest[0], Chain):
        raise refusal
    result = product(left, right, refusal).affine(attribute.get("alpha", 1.0))
    if not rest or rest[0] is None:
        return result
    return result.affine(shift=attribute.get("beta", 1.0) * np.asarray(rest[0], dtype=np.float64))


def _transposed(value: Any) -> Any:
    return value.moved(value.where.T) if isinstance(value, Chain) else value.T


def _rearranged(
    kind: str, where: np.ndarray, rest: list[Any], attribute: dict[str, Any], refusal: UnsupportedLayer
) -> np.ndarray:
    """Return `where` after a change of shape or order; axes are an attribute up to opset 12, an input since."""
    if kind not in ("Flatten", "Reshape", "Transpose", "Squeeze", "Unsqueeze") or attribute.get("allowzero"):
        raise refusal
    axes = attribute.get("axes", rest[0] if rest else None)
    axes = None if axes is None else tuple(int(axis) for axis in np.atleast_1d(axes))
    try:
        if kind == "Flatten":
            axis = attribute.get("axis", 1) % (where.ndim + 1)
            return where.reshape(int(np.prod(where.shape[:axis])), -1)
        if kind == "Reshape":
            sizes = attribute.get("shape", axes) or ()
            return where.reshape([size or where.shape[k] for k, size in enumerate(sizes)])
        if kind == "Transpose":
            return where.transpose(attribute.get("perm"))
        if kind == "Squeeze":
            return where.squeeze(axes)
        if kind == "Unsqueeze" and axes is not None:
            return np.expand_dims(where, axes)
    except (ValueError, IndexError) as error:
        raise unsupported(f"{kind} in the graph on a tensor of shape {where.shape}, {one_line(error)}") from None
    raise refusal


def _floating() -> tuple[int, ...]:
    import onnx

    types = onnx.TensorProto
    return (types.FLOAT, types.DOUBLE, types.FLOAT16, types.BFLOAT16)
