"""A torch module as weight matrices and the vectors that they read: what methods need where no theorem speaks.

A weight layer is a matrix of rows (neurons, filters) on the columns of a patch, whatever module it stands in:

    Linear               W (out, in)                  one patch per position before the last axis
    Conv1d/2d/3d         W (out/g, in/g · kernel)     one matrix per group g, one patch per place that the filter visits

Everything else, biases too, is kept exactly, and `kept` names it with the reason. A module's own forward runs, so that
residual, concatenating and attention blocks need no special case; their batch norms run in eval mode.

A patch is what one row is multiplied with: patches @ weight.T + bias are the layer's outputs, place by place.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from boundlab import _errors
from boundlab._errors import InvalidParameter
from boundlab.nets.given_points import finite, run, tensor
from boundlab.nets.patches import patches
from boundlab.network import Space

if TYPE_CHECKING:
    import torch

    from boundlab.nets.module_channels import Channels

Batches = Callable[[], Iterable[np.ndarray]]


@dataclass(frozen=True, kw_only=True, eq=False)
class WeightLayer:
    """One weight matrix of a module: `weight` has shape (out, in), its rows are neurons or filters."""

    name: str  # of the module, with "[g]" behind it for group g of a grouped convolution
    kind: str  # "Linear", "Conv2d" ...
    weight: np.ndarray  # (out, in) float64
    shape: tuple[int, ...]  # of the rows as the module stores them: (out, in) or (out, in, *kernel)
    bias: np.ndarray  # (out,) float64, 0 where the module has none


@dataclass(frozen=True, kw_only=True, eq=False)
class _Place:
    """Where a weight layer lives: a module, a group of it, and rows of its weight."""

    module: str
    group: int
    rows: slice


class ModuleNet:
    """A copy of a torch module, in eval mode on the CPU, with its weight layers in the order of their first use.

    Parameters
    ----------
    module : torch.nn.Module
        never changed; it takes one tensor and gives one, and its parameters are finite and float32 or float64
    example : (points, ...) inputs as the module reads them; one point is run to see which layers are used

    Raises
    ------
    InvalidParameter
        If the module cannot be copied or run on the example, or has no weight layer that it uses.

    Notes
    -----
    Layers that the forward pass never calls, transposed and padded-by-reflection convolutions, recurrent and embedding
    layers, shared and parametrised weights are kept exactly and named in `kept`. Points are converted to the module's
    precision, but for whole numbers where it has an embedding.

    Examples
    --------
    >>> import torch
    >>> module = torch.nn.Sequential(torch.nn.Conv1d(2, 4, 3, groups=2), torch.nn.Flatten(), torch.nn.Linear(8, 2))
    >>> net = ModuleNet(module, np.zeros((1, 2, 4)))
    >>> [(layer.name, layer.weight.shape) for layer in net.layers]
    [('0[0]', (2, 3)), ('0[1]', (2, 3)), ('2', (2, 8))]
    """

    def __init__(self, module: torch.nn.Module, example: np.ndarray) -> None:
        """Copy the module, and run it once."""
        self.module = _copied(module)
        for name, p in self.module.named_parameters():
            if str(p.dtype) not in ("torch.float32", "torch.float64") or not p.isfinite().all():
                raise InvalidParameter(
                    f"a net's parameters must be finite, float32 or float64, {name} ({p.dtype}) is not."
                )
        self.example = np.array(finite("example", example)[:1])
        if not len(self.example):
            raise InvalidParameter("example must hold at least one point, got none.")
        for name, b in self.module.named_buffers():
            if b.is_floating_point() and not b.isfinite().all():
                raise InvalidParameter(f"a net's buffers must be finite, {name} is not.")
        self.layers, self._places, self.kept = _layers(self.module, self.example)
        if not self.layers:
            raise InvalidParameter(
                f"a net to compress must use at least one linear or convolutional layer, got {sorted(self.kept)}."
            )

    @property
    def nnz(self) -> int:
        """Non-zero entries of the weight layers."""
        return sum(int(np.count_nonzero(layer.weight)) for layer in self.layers)

    @property
    def weight_names(self) -> frozenset[str]:
        """The parameters that hold the weight layers, as ``module.named_parameters()`` calls them."""
        return frozenset(f"{place.module}.weight" if place.module else "weight" for place in self._places)

    @property
    def parameters(self) -> int:
        """All parameters of the module, batch norms and biases too; shared ones count once."""
        return sum(p.numel() for p in self.module.parameters())

    @property
    def digest(self) -> str:
        """The blake2b-128 digest, in hex, of the module's parts, state and outputs on the example."""
        found = hashlib.blake2b(repr(self.module).encode(), digest_size=16)
        for name, value in sorted(self.module.state_dict().items()):
            if not hasattr(value, "is_quantized") or value.is_quantized:
                raise InvalidParameter(f"a net's state must be plain tensors, {name} is a {type(value).__name__}.")
            found.update(name.encode())
            found.update(value.numpy().tobytes())
        found.update(self(self.example).tobytes())  # what its own code makes of them
        return found.hexdigest()

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Outputs for inputs x, (points, ...) -> (points, ...), in float64; computed in the module's own precision."""
        import torch

        with torch.inference_mode():
            found = [run(self.module, b).double().numpy() for b in list(batches(x)) or [np.asarray(x)]]
        return np.concatenate(found)

    def visit(self, points: np.ndarray | Batches, see: Callable[[int, np.ndarray], None]) -> None:
        """Run the module on all points and show ``see(k, patches)`` what each weight layer k reads, block by block.

        Parameters
        ----------
        points : (points, ...) array, or a function without arguments that returns an iterator of such batches
        see : called with the number of the layer and its patches, (points of the block, positions, in) float64, which
            are its own to keep; the first axis of what a layer reads counts as points

        Raises
        ------
        InvalidParameter
            If there is no point, as when a function gives the same used-up iterator again.
        """
        import torch

        seen = 0
        for batch in batches(points):
            with torch.inference_mode(), _Watched(self.module, self._places, see):
                run(self.module, batch)
            seen += len(batch)
        if not seen:
            raise InvalidParameter("points must hold at least one point each time they are asked for, got none.")

    def gradients(self, batch: np.ndarray, labels: np.ndarray) -> list[np.ndarray]:
        """Return the gradient of the cross-entropy, summed over a batch, in every weight matrix; (out, in) float64.

            G_k = sum_x d/dW_k [ln sum_c exp f_c(x) - f_y(x)],      in the module's precision

        Raises InvalidParameter if the module does not give (points, classes), its outputs have no gradient, or the
        labels do not fit. `boundlab.nets.gradients.gradients` is for any number of points.
        """
        import torch

        names = {place.module: f"{place.module}.weight" if place.module else "weight" for place in self._places}
        with torch.inference_mode(False), torch.enable_grad():
            modules: dict[str, Any] = dict(self.module.named_modules())
            leaves = {names[m]: modules[m].weight.detach().clone().requires_grad_() for m in names}
            f = torch.func.functional_call(self.module, leaves, (tensor(self.module, batch),))
            if f.ndim != 2 or f.shape[1] < 2 or len(f) != len(batch) or not f.requires_grad:
                raise InvalidParameter(
                    "a net with gradients must give (points, classes >= 2) and be free of no_grad, "
                    f"got shape {tuple(f.shape)} for {len(batch)} points."
                )
            own = _errors.labels("labels", labels, points=len(batch), classes=f.shape[1], present=1)
            loss = torch.nn.functional.cross_entropy(f.double(), torch.tensor(own), reduction="sum")
            found = torch.autograd.grad(loss, list(leaves.values()), materialize_grads=True)
        of_module = dict(zip(names, found, strict=True))
        return [
            of_module[place.module][place.rows].double().numpy().reshape(layer.weight.shape)
            for layer, place in zip(self.layers, self._places, strict=True)
        ]

    def with_weights(self, weights: Sequence[np.ndarray] | Iterable[np.ndarray]) -> ModuleNet:
        """The same net with other weight matrices, rounded to the module's precision; all else is kept exactly."""
        import torch

        new = copy.copy(self)
        new.module = _copied(self.module)
        modules: dict[str, Any] = dict(new.module.named_modules())
        weights, layers = [np.asarray(w, dtype=np.float64) for w in weights], []
        if len(weights) != len(self.layers):
            raise InvalidParameter(f"weights must be {len(self.layers)}, one for each layer, got {len(weights)}.")
        with torch.no_grad():
            for layer, place, w in zip(self.layers, self._places, weights, strict=True):
                if w.shape != layer.weight.shape:
                    raise InvalidParameter(f"a weight of {layer.name} must be {layer.weight.shape}, got {w.shape}.")
                target = modules[place.module].weight
                target[place.rows] = torch.from_numpy(np.ascontiguousarray(w)).reshape(layer.shape).to(target.dtype)
                stored = target[place.rows].double().reshape(w.shape).numpy().copy()
                if not np.isfinite(stored).all():
                    raise InvalidParameter(f"a weight of {layer.name} must be finite as {target.dtype}, got others.")
                layers.append(
                    WeightLayer(name=layer.name, kind=layer.kind, weight=stored, shape=layer.shape, bias=layer.bias)
                )
        new.layers = tuple(layers)
        return new

    def with_module(self, module: torch.nn.Module) -> ModuleNet:
        """The same net with the values of another module of the same architecture, such as one that was trained on."""
        new = copy.copy(self)
        new.module = _copied(module)
        have, want = ({k: v.shape for k, v in m.state_dict().items()} for m in (new.module, self.module))
        if have != want:
            raise InvalidParameter("a module must have the state of the net whose place it takes, got another.")
        modules: dict[str, Any] = dict(new.module.named_modules())
        new.layers = tuple(
            next(own for own in _split(place.module, modules[place.module])[0] if own.name == layer.name)
            for layer, place in zip(self.layers, self._places, strict=True)
        )
        return new

    @cached_property
    def channels(self) -> Channels:
        """The channels of its graph: which can be removed, which must stay and why; see `nets.module_channels`."""
        from boundlab.nets.module_channels import channels  # it needs this class

        return channels(self, tensor(self.module, self.example))

    @property
    def modules(self) -> dict[str, tuple[int, ...]]:
        """The numbers of each module's weight layers, more than one where it has groups; by the module's name."""
        names = dict.fromkeys(place.module for place in self._places)
        return {name: tuple(k for k, p in enumerate(self._places) if p.module == name) for name in names}

    def with_modules(self, new: Mapping[str, torch.nn.Module]) -> ModuleNet:
        """The same net with other modules in the places of those named, wherever they are used."""
        if "" in new:
            return ModuleNet(new[""], self.example)
        module = _copied(self.module)
        by_old = {id(module.get_submodule(name)): m for name, m in new.items()}
        for parent in list(module.modules()):
            for name, child in parent._modules.items():
                if id(child) in by_old:
                    setattr(parent, name, by_old[id(child)])
        return ModuleNet(module, self.example)

    @property
    def spaces(self) -> tuple[Space, ...]:
        """The channels that can be removed."""
        return self.channels.spaces

    def shrink(self, scales: Sequence[np.ndarray]) -> ModuleNet:
        """The net in which channel j of space k counts scales[k][j] times; those that count 0 times are gone."""
        from boundlab.nets.module_channels import shrink

        return shrink(self, scales)


def batches(points: np.ndarray | Batches, size: int = 256) -> Iterator[np.ndarray]:
    """Cut an array of points into batches; a function without arguments is called for its own, empty ones left out."""
    if callable(points):
        given = points()
        if not isinstance(given, Iterable):
            raise InvalidParameter(f"points() must return an iterator of batches, got {type(given).__name__}.")
        yield from (batch for batch in (finite("points", b) for b in given) if len(batch))
        return
    array = finite("points", points)
    for start in range(0, len(array), size):
        yield array[start : start + size]


def _copied(module: torch.nn.Module) -> torch.nn.Module:
    """A copy on the CPU in eval mode, without gradients."""
    import torch

    if not isinstance(module, torch.nn.Module):
        raise InvalidParameter(f"a net must be a torch.nn.Module, got {type(module).__name__}.")
    # weights that a hook computes, as old weight norms and prunings do, cannot be copied with what made them
    computed = [t for m in module.modules() for t in vars(m).values() if isinstance(t, torch.Tensor) and not t.is_leaf]
    try:
        return copy.deepcopy(module, {id(t): t.detach().clone() for t in computed}).cpu().eval().requires_grad_(False)
    except Exception as fault:
        raise InvalidParameter(f"a net must be a module that can be copied, got: {fault}.") from fault


def _layers(
    module: torch.nn.Module, example: np.ndarray
) -> tuple[tuple[WeightLayer, ...], tuple[_Place, ...], Mapping[str, str]]:
    """The weight layers in the order of their first call, where they live, and what is kept, with the reasons."""
    import torch

    calls: list[str] = []
    names = {id(m): name for name, m in module.named_modules()}
    owners: dict[int, list[str]] = {}
    for name, m in module.named_modules():
        for p in m.parameters(recurse=False):
            owners.setdefault(id(p), []).append(name)
    hooks = [m.register_forward_pre_hook(lambda m, _: calls.append(names[id(m)])) for m in module.modules()]
    try:
        with torch.inference_mode():
            found = module(tensor(module, example))
    except Exception as fault:
        raise InvalidParameter(f"a net must run on its example of shape {example.shape}, got: {fault}.") from fault
    finally:
        for hook in hooks:
            hook.remove()
    if not isinstance(found, torch.Tensor):
        raise InvalidParameter(f"a net must give one tensor, got {type(found).__name__}.")
    if found.ndim < 1 or len(found) != len(example):
        raise InvalidParameter(f"a net must give (points, ...), got shape {tuple(found.shape)} for one point.")
    layers: list[WeightLayer] = []
    places: list[_Place] = []
    kept: dict[str, str] = {}
    modules: dict[str, Any] = dict(module.named_modules())
    for name in [*dict.fromkeys(calls), *(n for n in modules if n not in calls)]:
        m = modules[name]
        own = dict(m.named_parameters(recurse=False))
        reason = _reason(m, calls.count(name), own, owners) if own else None
        if reason is None and own:
            found, where = _split(name, m)
            layers += found
            places += where
            own.pop("weight")
            reason = "biases are kept exactly"
        for parameter in own:
            kept[f"{name}.{parameter}" if name else parameter] = str(reason)
    return tuple(layers), tuple(places), kept


def _reason(m: Any, calls: int, own: Mapping[str, Any], owners: Mapping[int, list[str]]) -> str | None:
    """Why the parameters of a module are kept exactly, or None where it is a weight layer."""
    from torch import nn

    if not isinstance(m, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        return f"{type(m).__name__} is no linear or convolutional layer"
    plain = {nn.Linear.forward, nn.Conv1d.forward, nn.Conv2d.forward, nn.Conv3d.forward}
    if type(m).forward not in plain or "forward" in vars(m):
        return f"{type(m).__name__} has a forward of its own"
    if "weight" not in own:
        return "the weight is computed from other parameters"
    if calls == 0:
        return "the forward pass does not call this layer"
    if len(owners[id(own["weight"])]) > 1:
        return f"the weight is shared by {', '.join(owners[id(own['weight'])])}"
    if isinstance(m, nn.Linear):
        return None
    return None if m.padding_mode == "zeros" else f"padding_mode is {m.padding_mode!r}"


def _split(name: str, m: Any) -> tuple[list[WeightLayer], list[_Place]]:
    """A weight layer for each group of a module, and where they live."""
    weight = m.weight.detach().double().numpy()
    bias = np.zeros(len(weight)) if m.bias is None else m.bias.detach().double().numpy().copy()
    groups = getattr(m, "groups", 1)
    step = len(weight) // groups
    layers, places = [], []
    for g in range(groups):
        rows = slice(g * step, (g + 1) * step)
        layers.append(
            WeightLayer(
                name=name if groups == 1 else f"{name}[{g}]",
                kind=type(m).__name__,
                weight=weight[rows].reshape(step, -1).copy(),
                shape=weight[rows].shape,
                bias=bias[rows],
            )
        )
        places.append(_Place(module=name, group=g, rows=rows))
    return layers, places


class _Watched:
    """Shows what each weight layer reads while a module runs."""

    def __init__(
        self, module: torch.nn.Module, places: Sequence[_Place], see: Callable[[int, np.ndarray], None]
    ) -> None:
        modules = dict(module.named_modules())
        of_module: dict[str, list[tuple[int, int]]] = {}
        for k, place in enumerate(places):
            of_module.setdefault(place.module, []).append((k, place.group))
        self.hooks = []
        for name, wanted in of_module.items():

            def hook(
                m: Any,
                args: tuple[Any, ...],
                named: dict[str, Any],
                wanted: list[tuple[int, int]] = wanted,
                name: str = name,
            ) -> None:
                for k, group in wanted:
                    for block in patches(m, args[0] if args else named["input"], group):
                        if not np.isfinite(block).all():  # NaN compares as no error at all
                            raise InvalidParameter(f"what {name} reads must be finite, got NaN or infinite entries.")
                        see(k, block)

            self.hooks.append(modules[name].register_forward_pre_hook(hook, with_kwargs=True))

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        for hook in self.hooks:
            hook.remove()
