"""Channels in the graph of a torch module: which must go together, which must stay, and where each of them stands.

Every output channel of a weight layer gets a label, and labels travel along the graph. Element by element nothing
happens to them; where two tensors are added, the labels of a place are united; a concatenation puts them one after the
other; a grouped convolution unites each group with what it reads, so that it goes as a whole. What reads labels in any
other way makes them stay, for a reason that is told.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from boundlab._errors import UnsupportedLayer, one_line
from boundlab.nets.torch_graph import quiet

if TYPE_CHECKING:
    import torch

_CHANNELWISE = {
    *("dropout", "feature_dropout", "alpha_dropout", "contiguous", "clone", "to", "_to_copy", "detach", "alias"),
    *("lift_fresh_copy", "hardswish", "relu6", "log_sigmoid", "type_as"),
}
"""One value to one value, whatever tags this version of torch gives them."""
_POOLS = {f"{kind}_pool{d}d" for kind in ("max", "avg", "adaptive_avg", "adaptive_max") for d in (1, 2, 3)} | {
    *("max_pool1d_with_indices", "max_pool2d_with_indices", "max_pool3d_with_indices"),
    *("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "upsample_linear1d"),
    *("upsample_bilinear2d", "upsample_bicubic2d", "upsample_trilinear3d"),
}
_SHAPES = {"view", "_unsafe_view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze"}
_SPLITS = {"split", "split_with_sizes", "chunk", "tensor_split"}
_SILENT = {"sym_size", "_assert_tensor_metadata", "_assert_async", "_assert_scalar"}


class Labels(NamedTuple):
    """The labels of a tensor: one for each place along one of its axes."""

    axis: int
    ids: np.ndarray


class Reading:
    """The labels of a module's graph, once it is read.

    `cuts` has, for each (parameter or buffer, axis), the label of each entry; `grouped` the weights of which only whole
    groups can go. Of united labels the smallest stands for all.
    """

    def __init__(
        self, module: torch.nn.Module, example: torch.Tensor, layers: frozenset[str], others: Mapping[str, str]
    ) -> None:
        """Read the graph for an example; `layers` names the weights of layers, `others` tells why a weight is none."""
        self.layers, self.others = layers, others
        self.parent: list[int] = []
        self.reasons: dict[int, str] = {}
        self.cuts: dict[tuple[str, int], np.ndarray] = {}
        self.grouped: set[str] = set()
        self.labels: dict[Any, Labels | None] = {}
        self.cutters: dict[str, set[Any]] = {}
        self.shared = _shared(module)
        program = _exported(module, example)
        signature = program.graph_signature
        held: dict[str, str] = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
        self.held = {node: _first_name(module, name) for node, name in held.items()}
        for node in program.graph.nodes:
            if node.op == "call_function":
                self.labels[node] = self._step(node)
            elif node.op == "output":
                self._keep_all(node.all_input_nodes, "they are outputs of the module")
        for node in program.graph.nodes:  # what is cut must have no reader that knows nothing of it
            name = self.held.get(node.name)
            unaware = set(node.users) - self.cutters.get(name, set()) if name in self.cutters else set()
            for (cut, _), ids in self.cuts.items():
                if cut == name and unaware:
                    self.keep(ids, f"{name} is also read by {_kind(next(iter(unaware)))}")

    # ------------------------------------------------------------------------------------------------- labels

    def new(self, n: int) -> np.ndarray:
        """Return n fresh labels."""
        self.parent.extend(range(len(self.parent), len(self.parent) + n))
        return np.arange(len(self.parent) - n, len(self.parent))

    def find(self, label: int) -> int:
        """Return the label that stands for this one."""
        while self.parent[label] != label:
            self.parent[label] = label = self.parent[self.parent[label]]
        return label

    def unite(self, first: np.ndarray, second: np.ndarray) -> None:
        """Unite the labels of each place."""
        for a, b in zip(first.tolist(), second.tolist(), strict=True):
            low, high = sorted((self.find(a), self.find(b)))
            self.parent[high] = low

    def keep(self, ids: np.ndarray, reason: str) -> None:
        """Let these labels stay; the first reason given is the one that is told."""
        for label in np.unique(ids).tolist():
            self.reasons.setdefault(label, reason)

    def kept(self) -> dict[int, str]:
        """The labels that stay and stand for themselves, each with its reason."""
        found: dict[int, str] = {}
        for label, reason in self.reasons.items():
            found.setdefault(self.find(label), reason)
        return found

    def _cut(self, node: Any, name: str, axis: int, ids: np.ndarray) -> None:
        """Entry i along an axis of a parameter belongs to label i; `node` reads it so."""
        if name in self.shared:
            self.keep(ids, self.shared[name])
        self.cutters.setdefault(name, set()).add(node)
        self.unite(self.cuts.setdefault((name, axis), ids), ids)

    def _keep_all(self, nodes: Iterable[Any], reason: str) -> None:
        for node in nodes:
            found = self.labels.get(node)
            if found is not None:
                self.keep(found.ids, reason)

    # ------------------------------------------------------------------------------------------------- operations

    def _step(self, node: Any) -> Labels | None:
        """Return the labels of what an operation puts out."""
        import torch

        if node.target is operator.getitem:
            return self.labels.get(node.args[0])
        kind, args = _kind(node), _arguments(node)
        read = [n for n in node.all_input_nodes if self.labels.get(n) is not None]
        if kind in ("conv1d", "conv2d", "conv3d", "linear"):
            return self._weights(node, kind, args)
        if not read or kind in _SILENT:
            return None
        if kind == "cat":
            return self._concatenation(node, args["tensors"], args["dim"])
        if kind in _CHANNELWISE or torch.Tag.pointwise in getattr(node.target, "tags", ()):
            return self._elementwise(node, read)
        found = self.labels[node.args[0]] if isinstance(node.args[0], torch.fx.Node) else None
        passed = self._one(node, kind, args, found) if found is not None and len(read) == 1 else None
        if passed is None:
            self._keep_all(read, f"{kind} reads them, and not each by itself")
        return passed

    def _weights(self, node: Any, kind: str, args: Mapping[str, Any]) -> Labels | None:
        """A layer reads the labels of its input along one axis, and has labels of its own on its outputs."""
        source, weight, bias = args["input"], args["weight"], args["bias"]
        name = self.held.get(weight.name)
        if name not in self.layers:
            reason = self.others.get(name or "", "its weight is computed")
            self._keep_all([source], f"{name or kind} reads them and is no weight layer: {reason}")
            return None
        shape, groups = _shape(weight), args.get("groups", 1)
        axis = len(_shape(node)) - max(1, len(shape) - 1)
        read = self.labels.get(source)
        if read is not None and read.axis != axis:
            self.keep(read.ids, f"{name} reads them at all of its columns")
            read = None
        own = self.cuts[name, 0] if (name, 0) in self.cuts else self.new(shape[0])
        self._cut(node, name, 0, own)
        if bias is not None:
            self._vector(node, bias, 0, own)
        if groups > 1:
            self.grouped.add(name)
            if read is None:
                self.keep(own, "it is a grouped convolution of channels that stay")
                return Labels(axis, own)
            for inputs, outputs in zip(read.ids.reshape(groups, -1), own.reshape(groups, -1), strict=True):
                together = np.concatenate([inputs, outputs])
                self.unite(together, np.full(len(together), together[0]))
        elif read is not None:
            self._cut(node, name, 1, read.ids)
        return Labels(axis, own)

    def _vector(self, node: Any, operand: Any, axis: int, ids: np.ndarray) -> None:
        """A parameter has an entry for each label."""
        if operand is None:
            return
        name = self.held.get(operand.name)
        if name is None:
            self.keep(ids, f"{_kind(node)} combines them with {operand.name}, which keeps all of its entries")
        else:
            self._cut(node, name, axis, ids)

    def _concatenation(self, node: Any, tensors: Sequence[Any], dim: int) -> Labels | None:
        found = [self.labels.get(t) for t in tensors]
        axes = {f.axis for f in found if f is not None}
        if len(axes) != 1:
            self._keep_all(tensors, "cat reads them along several axes")
            return None
        (axis,) = axes
        ids = [f.ids if f is not None else self._staying(_shape(t)[axis]) for f, t in zip(found, tensors, strict=True)]
        if dim % len(_shape(node)) == axis:
            return Labels(axis, np.concatenate(ids))
        for other in ids[1:]:
            self.unite(ids[0], other)
        return Labels(axis, ids[0])

    def _staying(self, n: int) -> np.ndarray:
        ids = self.new(n)
        self.keep(ids, "they are put beside channels of the input")
        return ids

    def _elementwise(self, node: Any, read: Sequence[Any]) -> Labels | None:
        """Every operand is aligned at its last axis; where two have labels at one place, these are united."""
        found = {n: self.labels[n] for n in read}
        places = {f.axis - len(_shape(n)) for n, f in found.items() if f is not None}
        if len(places) != 1:
            self._keep_all(read, f"{_kind(node)} combines them with channels along another axis")
            return None
        (place,) = places
        most = max((f for f in found.values() if f is not None), key=lambda f: len(f.ids))
        for n in node.all_input_nodes:
            shape, own = _shape(n), found.get(n)
            if -place > len(shape) or (shape[place] == 1 and len(most.ids) > 1):
                if own is not None:
                    self.keep(own.ids, f"{_kind(node)} spreads them over other channels")
            elif own is not None:
                self.unite(own.ids, most.ids)
            else:
                self._vector(node, n, len(shape) + place, most.ids)
        return Labels(len(_shape(node)) + place, most.ids)

    def _one(self, node: Any, kind: str, args: Mapping[str, Any], found: Labels) -> Labels | None:
        """An operation on one tensor with labels; None where it does not leave each channel to itself."""
        axis, ids = found
        before, after = _shape(node.args[0]), _shape(node)
        rank = len(before)
        if kind in _POOLS:
            d = next(int(c) for c in kind if c.isdigit())
            return found if axis < rank - d else None
        if kind in ("batch_norm", "instance_norm") and axis == 1:
            for name in ("weight", "bias", "running_mean", "running_var"):
                self._vector(node, args[name], 0, ids)
            return found
        if kind == "prelu" and (axis == 1 or _shape(args["weight"])[0] == 1):
            if _shape(args["weight"])[0] > 1:
                self._vector(node, args["weight"], 0, ids)
            return found
        if kind in _SHAPES:
            return _reshaped(before, after, found)
        if kind in ("transpose", "permute", "t"):
            order = list(range(rank))
            if kind == "permute":
                order = [d % rank for d in args["dims"]]
            else:
                a, b = (args["dim0"] % rank, args["dim1"] % rank) if kind == "transpose" else (0, rank - 1)
                order[a], order[b] = order[b], order[a]
            return Labels(order.index(axis), ids)
        if kind in ("mean", "sum", "amax", "amin"):
            dims = args.get("dim")
            gone = range(rank) if dims in (None, []) else [d % rank for d in np.atleast_1d(dims).tolist()]
            fewer = 0 if args.get("keepdim") else sum(d < axis for d in gone)
            return None if axis in gone else Labels(axis - fewer, ids)
        if kind in ("slice", "select", "softmax", "log_softmax", "unbind") or kind in _SPLITS:
            dim = args["dim"] % rank
            if dim == axis:
                return found if kind == "slice" and before[dim] == after[dim] else None
            return Labels(axis - (kind in ("select", "unbind") and dim < axis), ids)
        if kind in ("pad", "constant_pad_nd"):
            own = args["pad"][2 * (rank - 1 - axis) : 2 * (rank - axis)]
            return None if any(own) else found
        if kind == "expand":
            place = len(after) - rank + axis
            return Labels(place, ids) if after[place] == len(ids) else None
        return None


def _reshaped(before: Sequence[int], after: Sequence[int], found: Labels) -> Labels | None:
    """The axis of labels may take up what stands beside it, as a flattening does, but for the axis of points."""
    lead, trail = int(np.prod(before[: found.axis])), int(np.prod(before[found.axis + 1 :]))
    for axis, n in enumerate(after):
        outer, more = divmod(lead, max(1, int(np.prod(after[:axis]))))
        inner, less = divmod(trail, max(1, int(np.prod(after[axis + 1 :]))))
        whole = more == less == 0 and n == outer * len(found.ids) * inner
        if whole and (outer == 1 or (axis > 0 and before[0] == after[0])):
            return Labels(axis, np.tile(np.repeat(found.ids, inner), outer))
    return None


def _shared(module: torch.nn.Module) -> dict[str, str]:
    """Tensors that two modules hold, with the reason why they must stay: one of the two would not be cut."""
    owners: dict[int, list[str]] = {}
    for prefix, m in module.named_modules():
        for name, tensor in (*m.named_parameters(recurse=False), *m.named_buffers(recurse=False)):
            owners.setdefault(id(tensor), []).append(f"{prefix}.{name}" if prefix else name)
    return {name: f"{' and '.join(own)} are one tensor" for own in owners.values() if len(own) > 1 for name in own}


def _first_name(module: torch.nn.Module, name: str) -> str:
    """A tensor by the name that ``named_modules`` gives its owner: a module may stand in several places."""
    owner, _, leaf = name.rpartition(".")
    held = module.get_submodule(owner)
    first = next(own for own, m in module.named_modules() if m is held)
    return f"{first}.{leaf}" if first else leaf


def _exported(module: torch.nn.Module, example: torch.Tensor) -> Any:
    """The program of a module for two points, so that the axis of points is told from one of size 1."""
    import torch

    try:
        with quiet(), torch.no_grad():
            return torch.export.export(module, (torch.cat([example, example]),), strict=False)
    except Exception as fault:  # whatever the module's own code or torch.export raises
        raise UnsupportedLayer(
            f"channels can be removed where torch.export can read the module's graph, got {one_line(fault)}. Methods "
            f"that thin out weights need no graph."
        ) from fault


def _kind(node: Any) -> str:
    """What an operation does, in one word: "conv2d" for aten.conv2d.default, "relu" for aten.relu_.default."""
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        return str(getattr(node.target, "__name__", node.op))
    return schema.name.split("::")[-1].rstrip("_")


def _arguments(node: Any) -> dict[str, Any]:
    """The arguments of an operation by name, defaults too."""
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        return {}
    names = [a.name for a in schema.arguments]
    defaults = {a.name: a.default_value for a in schema.arguments}
    return {**defaults, **dict(zip(names, node.args, strict=False)), **node.kwargs}


def _shape(node: Any) -> tuple[int, ...]:
    value = node.meta["val"]
    value = value[0] if isinstance(value, (tuple, list)) else value
    return tuple(int(n) for n in value.shape)
