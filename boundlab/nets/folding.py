"""Batch norms folded into the layer before them, where that changes no output."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from boundlab._errors import InvalidParameter, one_line
from boundlab.nets.given_points import finite, tensor

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True, eq=False)
class Folded:
    """A copy of a module without the batch norms that could be folded."""

    module: torch.nn.Module
    folded: Mapping[str, str]  # batch norm -> the layer that it was folded into
    kept: Mapping[str, str]  # batch norm -> why it was not


def fold_batchnorm(module: torch.nn.Module, example: np.ndarray) -> Folded:
    """Fold each batch norm into the convolution or linear layer that it alone reads, where the outputs stay the same.

    gamma (W x + b - mu) / sqrt(var + eps) + beta = (diag(s) W) x + (s (b - mu) + beta), s = gamma / sqrt(var + eps);
    computed in double precision and rounded once.

    Parameters
    ----------
    module : torch.nn.Module
        never changed; the copy is in eval mode, its folded batch norms are replaced by ``torch.nn.Identity``
    example : (points, ...) inputs as the module reads them; one point tells the shapes, and checks the outputs

    Returns
    -------
    Folded
        The smaller module, what was folded into what, and what was not with the reason: a batch norm stays where
        another reader sees the layer's output too, where either stands in more than one place, where it has no
        statistics of its own, or where the module's paths cannot be traced for all inputs (by ``torch.fx``).

    Raises
    ------
    InvalidParameter
        If the module does not run on the example, or gives it other outputs after folding (by more than 1e-4 of the
        largest, 1e-9 in double precision).

    Examples
    --------
    >>> from boundlab.nets.architectures import resnet
    >>> net = fold_batchnorm(resnet(20), np.zeros((1, 3, 32, 32)))
    >>> len(net.folded), net.kept, net.folded["layer1.0.bn2"]
    (19, {}, 'layer1.0.conv2')
    """
    import torch

    from boundlab.nets.torch_graph import copied

    if not isinstance(module, torch.nn.Module):
        raise InvalidParameter(f"a net must be a torch.nn.Module, got {type(module).__name__}.")
    before = copied(module)
    after = copy.deepcopy(before)
    parts: dict[str, Any] = dict(after.named_modules())
    norms = [name for name, part in parts.items() if isinstance(part, torch.nn.modules.batchnorm._BatchNorm)]
    ndim, want = _run(before, example)
    layers, kept = _layers(after, parts, norms, ndim)
    folded: dict[str, str] = {}
    for name, layer in layers.items():
        _fold(parts[layer], parts[name])
        for parent in parts.values():  # under each of the names that it may have
            for child in [own for own, part in parent._modules.items() if part is parts[name]]:
                setattr(parent, child, torch.nn.Identity())
        folded[name] = layer
    _, got = _run(after, example)
    eps = 1e-9 if want.dtype == torch.float64 else 1e-4
    difference = float((got - want).abs().max())
    if not difference <= eps * float(want.abs().max()):
        raise InvalidParameter(
            f"a module must have the same outputs after folding, got a difference of {difference:.3g}."
        )
    return Folded(module=after, folded=folded, kept=kept)


def _run(module: torch.nn.Module, example: np.ndarray) -> tuple[dict[str, int], torch.Tensor]:
    """The number of dimensions that each part reads on one point, and the output."""
    import torch

    ndim: dict[str, int] = {}
    hooks = []
    for name, part in module.named_modules():

        def see(_: Any, args: Any, name: str = name) -> None:
            ndim[name] = getattr(args[0], "ndim", 0) if args else 0

        hooks.append(part.register_forward_pre_hook(see))
    x = finite("example", example)[:1]
    try:
        with torch.inference_mode():
            output = module(tensor(module, x))
    except Exception as fault:
        raise InvalidParameter(
            f"a net must run on its example of shape {np.shape(example)}, got {one_line(fault)}."
        ) from None
    finally:
        for hook in hooks:
            hook.remove()
    if not isinstance(output, torch.Tensor) or not output.numel():
        raise InvalidParameter(f"a net must give one tensor that is not empty, got {type(output).__name__}.")
    return ndim, output


def _layers(
    module: torch.nn.Module, parts: Mapping[str, Any], norms: list[str], ndim: Mapping[str, int]
) -> tuple[dict[str, str], dict[str, str]]:
    """The layer that each batch norm can be folded into, and why the others cannot."""
    from torch import fx

    try:
        nodes = list(fx.Tracer().trace(module).nodes)
    except Exception as error:
        return {}, dict.fromkeys(norms, f"torch.fx cannot trace the module: {one_line(error)}")
    where = {id(part): name for name, part in parts.items()}  # one name for each, whatever path a call takes
    calls: dict[Any, str] = {}
    for node in nodes:
        if node.op == "call_module":
            calls[node] = where[id(module.get_submodule(str(node.target)))]
    times = Counter(calls.values())
    read = {str(node.target).rpartition(".")[0] for node in nodes if node.op == "get_attr"}  # past their forward
    layers: dict[str, str] = {}
    kept: dict[str, str] = {}
    for name in norms:
        node = next((node for node, called in calls.items() if called == name), None)
        reason = _reason(parts[name], times[name], ndim.get(name, 0))
        if reason is None and node is not None:
            source = node.args[0] if node.args else None
            layer = calls.get(source, "")
            reason = _refusal(parts.get(layer), times[layer], ndim.get(layer, 0)) if layer else "it reads no layer"
            if reason is None and isinstance(source, fx.Node) and len(source.users) > 1:
                reason = f"the output of {layer} has {len(source.users)} readers"
            if reason is None and {name, layer} & read:
                reason = f"the module reads the parameters of {layer} or of the batch norm elsewhere"
            if reason is None and _shared(parts, layer):
                reason = f"the weight of {layer} is shared"
            if reason is None:
                layers[name] = layer
        if reason is not None:
            kept[name] = reason
    return layers, kept


def _reason(norm: Any, calls: int, ndim: int) -> str | None:
    """Why a batch norm cannot be folded into any layer."""
    from torch import nn

    if type(norm) not in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d):
        return f"{type(norm).__name__} is no batch norm of fixed form"
    if norm.running_mean is None or norm.running_var is None:
        return "it has no statistics of its own"
    if norm._forward_hooks or norm._forward_pre_hooks:
        return "it has hooks"
    return None if calls == 1 and ndim else f"it is called {calls} times"


def _refusal(layer: Any, calls: int, ndim: int) -> str | None:
    """Why a layer cannot take a batch norm in."""
    from torch import nn

    kind = type(layer)
    if kind not in (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d):
        return f"it reads a {kind.__name__}"
    if "weight" not in dict(layer.named_parameters(recurse=False)):
        return f"it reads a {kind.__name__} whose weight is computed from other parameters"
    if layer._forward_hooks or layer._forward_pre_hooks:
        return f"it reads a {kind.__name__} with hooks"
    if kind is nn.Linear and ndim != 2:
        return "it normalises positions, not the neurons of the linear layer before it"
    return None if calls == 1 else f"it reads a {kind.__name__} that is called {calls} times"


def _shared(parts: Mapping[str, Any], layer: str) -> bool:
    """Whether a parameter of the layer belongs to another part too."""
    own = {id(p) for p in parts[layer].parameters(recurse=False)}
    others = (p for name, part in parts.items() if name != layer for p in part.parameters(recurse=False))
    return any(id(p) in own for p in others)


def _fold(layer: Any, norm: Any) -> None:
    """Multiply the rows of the layer and move its biases."""
    import torch

    with torch.no_grad():
        scale = 1.0 / torch.sqrt(norm.running_var.double() + norm.eps)
        scale = scale if norm.weight is None else norm.weight.double() * scale
        bias = -norm.running_mean.double() if layer.bias is None else layer.bias.double() - norm.running_mean.double()
        bias = scale * bias if norm.bias is None else scale * bias + norm.bias.double()
        weight = layer.weight.double() * scale.reshape(-1, *[1] * (layer.weight.ndim - 1))
        kind = layer.weight.dtype
        layer.weight = torch.nn.Parameter(weight.to(kind), requires_grad=layer.weight.requires_grad)
        layer.bias = torch.nn.Parameter(bias.to(kind), requires_grad=layer.weight.requires_grad)
