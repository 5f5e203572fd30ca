"""A torch module as weight matrices and the vectors that they read: what methods need where no theorem speaks.

A weight layer is a matrix of rows (neurons, filters) on the columns of a patch, whatever module it stands in:

    Linear               W (out, in)                  one patch per position before the last axis
    Conv1d/2d/3d         W (out/g, in/g · kernel)     one matrix per group g, one patch per place that the filter visits

Everything else, biases too, is kept exactly, and `kept` names it with the reason. A module's own forward runs, so that
residual, concatenating and attention blocks need no special case; their batch norms run in eval mode.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from boundlab._errors import InvalidParameter
from boundlab.network import Space

if TYPE_CHECKING:
    import torch

BLOCK = 1 << 22
"""Entries of the largest block of patches that is ever laid out."""

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
        never changed; its parameters must be float32 or float64
    example : (points, ...) inputs as the module reads them; one point is run to see which layers are used

    Raises
    ------
    InvalidParameter
        If the module cannot be run on the example, or has no weight layer that it uses.

    Notes
    -----
    Layers that the forward pass never calls, transposed and padded-by-reflection convolutions, recurrent and embedding
    layers and shared weights are kept exactly and named in `kept`.
    """

    def __init__(self, module: torch.nn.Module, example: np.ndarray) -> None:
        """Copy the module, and run it once."""
        self.module = _copied(module)
        self.layers, self._places, self.kept = _layers(self.module, np.asarray(example)[:1])
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

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Outputs for inputs x, (points, ...) -> (points, ...), in float64; computed in the module's own precision."""
        import torch

        with torch.inference_mode():
            return self.module(self._tensor(x)).double().numpy()

    def visit(self, points: np.ndarray | Batches, see: Callable[[int, np.ndarray], None]) -> None:
        """Run the module on all points and show ``see(k, patches)`` what each weight layer k reads, block by block.

        Parameters
        ----------
        points : (points, ...) array, or a function without arguments that returns an iterator of such batches
        see : called with the number of the layer and its patches, (points of the block, positions, in) float64
        """
        import torch

        for batch in batches(points):
            with torch.inference_mode(), _Watched(self.module, self._places, see):
                self.module(self._tensor(batch))

    def with_weights(self, weights: Sequence[np.ndarray] | Iterable[np.ndarray]) -> ModuleNet:
        """The same net with other weight matrices, rounded to the module's precision; all else is kept exactly."""
        import torch

        new = copy.copy(self)
        new.module = _copied(self.module)
        modules: dict[str, Any] = dict(new.module.named_modules())
        layers = []
        with torch.no_grad():
            for layer, place, w in zip(self.layers, self._places, weights, strict=True):
                if w.shape != layer.weight.shape:
                    raise InvalidParameter(f"a weight of {layer.name} must be {layer.weight.shape}, got {w.shape}.")
                target = modules[place.module].weight
                target[place.rows] = torch.from_numpy(np.ascontiguousarray(w)).reshape(layer.shape).to(target.dtype)
                stored = target[place.rows].double().reshape(w.shape).numpy().copy()
                layers.append(
                    WeightLayer(name=layer.name, kind=layer.kind, weight=stored, shape=layer.shape, bias=layer.bias)
                )
        new.layers = tuple(layers)
        return new

    def with_module(self, module: torch.nn.Module) -> ModuleNet:
        """The same net with the values of another module of the same architecture, such as one that was trained on."""
        new = copy.copy(self)
        new.module = _copied(module)
        modules: dict[str, Any] = dict(new.module.named_modules())
        new.layers = tuple(
            next(own for own in _split(place.module, modules[place.module])[0] if own.name == layer.name)
            for layer, place in zip(self.layers, self._places, strict=True)
        )
        return new

    @property
    def spaces(self) -> tuple[Space, ...]:
        """The channels that can be removed; see `nets.module_channels`."""
        from boundlab.nets.module_channels import spaces  # it needs this class

        return spaces(self)

    def shrink(self, scales: Sequence[np.ndarray]) -> ModuleNet:
        """The net in which channel j of space k counts scales[k][j] times; those that count 0 times are gone."""
        from boundlab.nets.module_channels import shrink

        return shrink(self, scales)

    def _tensor(self, x: np.ndarray) -> torch.Tensor:
        import torch

        kind = next(self.module.parameters()).dtype
        return torch.from_numpy(np.ascontiguousarray(x)).to(kind)


def batches(points: np.ndarray | Batches, size: int = 256) -> Iterator[np.ndarray]:
    """Cut an array of points into batches; a function without arguments is called for its own."""
    if callable(points):
        yield from (np.asarray(batch) for batch in points())
        return
    for start in range(0, len(points), size):
        yield points[start : start + size]


def _copied(module: torch.nn.Module) -> torch.nn.Module:
    """A copy on the CPU in eval mode, without gradients."""
    import torch

    if not isinstance(module, torch.nn.Module):
        raise InvalidParameter(f"a net must be a torch.nn.Module, got {type(module).__name__}.")
    new = copy.deepcopy(module).cpu().eval()
    for p in new.parameters():
        p.requires_grad_(False)
    return new


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
    kind = next(module.parameters(), torch.zeros(0)).dtype
    try:
        with torch.inference_mode():
            module(torch.from_numpy(np.ascontiguousarray(example)).to(kind))
    except Exception as fault:
        raise InvalidParameter(f"a net must run on its example of shape {example.shape}, got: {fault}.") from fault
    finally:
        for hook in hooks:
            hook.remove()
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
    if type(m).forward not in {nn.Linear.forward, nn.Conv1d.forward, nn.Conv2d.forward, nn.Conv3d.forward}:
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

            def hook(m: Any, args: tuple[Any, ...], wanted: list[tuple[int, int]] = wanted) -> None:
                for k, group in wanted:
                    for block in patches(m, args[0], group):
                        see(k, block)

            self.hooks.append(modules[name].register_forward_pre_hook(hook))

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        for hook in self.hooks:
            hook.remove()


def patches(m: Any, x: torch.Tensor, group: int) -> Iterator[np.ndarray]:
    """The patches of one group that a layer reads, (points, positions, in) float64, in blocks of points."""
    import torch

    if isinstance(m, torch.nn.Linear):
        rows = x.reshape(len(x), -1, x.shape[-1]) if x.ndim > 1 else x[None, None]
        step = max(1, BLOCK // max(1, rows[0].numel()))
        for start in range(0, len(rows), step):
            yield rows[start : start + step].double().numpy()
        return
    dims = len(m.kernel_size)
    x = x if x.ndim == dims + 2 else x[None]
    width = m.in_channels // m.groups
    x = x[:, group * width : (group + 1) * width]
    before, after = _padding(m)
    flat = [side for pair in zip(reversed(before), reversed(after), strict=True) for side in pair]
    x = torch.nn.functional.pad(x, flat)
    spans = [d * (k - 1) + 1 for d, k in zip(m.dilation, m.kernel_size, strict=True)]
    for axis, (span, stride, dilation) in enumerate(zip(spans, m.stride, m.dilation, strict=True)):
        x = x.unfold(2 + axis, span, stride)[..., ::dilation]
    # (points, channels, *places, *kernel) -> (points, places, channels * kernel)
    x = x.permute(0, *range(2, 2 + dims), 1, *range(2 + dims, 2 + 2 * dims))
    places = int(np.prod(x.shape[1 : 1 + dims]))
    inner = width * int(np.prod(m.kernel_size))
    step = max(1, BLOCK // max(1, places * inner))
    for start in range(0, len(x), step):
        block = x[start : start + step]
        yield block.reshape(len(block), places, inner).double().numpy()


def _padding(m: Any) -> tuple[list[int], list[int]]:
    """Zeros before and after each axis; for "same" the longer side is the one after, as torch has it."""
    if m.padding == "valid":
        return [0] * len(m.kernel_size), [0] * len(m.kernel_size)
    if m.padding == "same":
        total = [d * (k - 1) for d, k in zip(m.dilation, m.kernel_size, strict=True)]
        return [t // 2 for t in total], [t - t // 2 for t in total]
    return list(m.padding), list(m.padding)
