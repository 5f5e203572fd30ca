"""Channels of a torch module: which can be removed, which must stay and why, and the smaller module without them.

A channel is what goes together: a row of a convolution or linear layer, its bias and batch norm, and its columns in
every layer that reads it; along residual additions the rows of all that are added; of a grouped convolution a whole
group with what it reads. Channels of the same make form a `Space`. Exact is the removal of what is zero at all readers:
a batch norm's shift goes with its channel.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from boundlab._errors import InvalidParameter, UnsupportedLayer
from boundlab._theory import implements
from boundlab.nets.channel_graph import Reading
from boundlab.nets.module_net import ModuleNet
from boundlab.nets.torch_graph import quiet
from boundlab.network import Space

if TYPE_CHECKING:
    import torch

Cuts = Mapping[tuple[str, int], np.ndarray]


@dataclass(frozen=True, kw_only=True, eq=False)
class Channels:
    """What a graph tells of a module's channels. Counted through all spaces, each channel has a number."""

    spaces: tuple[Space, ...]
    stay: Mapping[str, str]  # layers that keep some or all of their channels, with the reasons
    cuts: Cuts  # (parameter or buffer, axis) -> number of the channel of each entry, -1 for those that stay


def spaces(net: ModuleNet) -> tuple[Space, ...]:
    """Return the channels that can be removed, in the order of the layers that put them out.

    Raises
    ------
    UnsupportedLayer
        If the module's graph cannot be read; weights can still be thinned out.

    Examples
    --------
    >>> from torch import nn
    >>> module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3))
    >>> net = ModuleNet(module, np.zeros((1, 1, 4, 4)))
    >>> [(s.name, s.size, s.own) for s in spaces(net)], untouchable(net)
    ([('0', 4, 1)], {'3': 'they are outputs of the module'})
    """
    return net.channels.spaces


def untouchable(net: ModuleNet) -> Mapping[str, str]:
    """Return the weight layers that keep some or all of their channels, each with the reason."""
    return net.channels.stay


@implements("boundlab_coupled_channels", "liebenwein2020_propagation")
def shrink(net: ModuleNet, scales: Sequence[np.ndarray]) -> ModuleNet:
    """Return the net in which channel j of space k counts scales[k][j] times; those that count 0 times are gone.

    It computes what the net does whose readers' columns are multiplied by the scales, to rounding. A space that would
    lose all of its channels keeps the first one, and its readers get a zero for it.

    Parameters
    ----------
    net : ModuleNet, which is not changed
    scales : one finite array for each of ``net.spaces``, of its size

    Raises
    ------
    InvalidParameter
        If the scales do not fit.
    """
    own = net.channels.spaces
    try:
        scales = [np.asarray(scale, dtype=np.float64) for scale in scales]
    except (TypeError, ValueError):
        raise InvalidParameter("scales must be one array of numbers for each space, got something else.") from None
    want, have = [(s.size,) for s in own], [np.shape(s) for s in scales]
    if have != want:
        raise InvalidParameter(f"scales must have shapes {want}, one for each space, got {have}.")
    if not all(np.isfinite(s).all() for s in scales):
        raise InvalidParameter("scales must be finite, got NaN or infinite entries.")
    return _shrunk(net, net.channels.cuts, scales)


def channels(net: ModuleNet, example: torch.Tensor) -> Channels:
    """Read the graph of a net and try its spaces out: a module's own code may hold the number of its channels.

    The net without the first channel of a space must run on the example, and put out what the net with zeros in this
    channel's columns does; spaces with which this fails stay.
    """
    names = {layer.name: k for k, layer in enumerate(net.layers)}
    reading = Reading(net.module, example, net.weight_names, net.kept)
    found = _gathered(net, reading, names)
    if found.spaces and not _holds(net, found, found.spaces):
        for space in found.spaces:
            if not _holds(net, found, (space,)):
                for k, rows in space.writers:
                    name = f"{net.layers[k].name}.weight"
                    reading.keep(reading.cuts[name, 0][rows.ravel()], "the module's own code fixes their number")
        found = _gathered(net, reading, names)
        if found.spaces and not _holds(net, found, found.spaces):
            raise UnsupportedLayer(
                "channels can be removed where a module computes without them what it computes with zeros at their "
                "readers, got a module that does not. Methods that thin out weights need no graph."
            )
    return found


def _gathered(net: ModuleNet, reading: Reading, names: Mapping[str, int]) -> Channels:
    """Labels that may go, gathered into spaces of the same make."""
    kept = reading.kept()
    roots = {cut: np.array([reading.find(i) for i in ids.tolist()]) for cut, ids in reading.cuts.items()}
    made: dict[int, list[tuple[str, int, int]]] = {}  # label -> (parameter, axis, how many of its entries)
    for (name, axis), ids in roots.items():
        for label, count in zip(*(v.tolist() for v in np.unique(ids, return_counts=True)), strict=True):
            made.setdefault(label, []).append((name, axis, count))
    alike: dict[tuple[tuple[str, int, int], ...], list[int]] = {}
    for label in sorted(made):
        if label not in kept:
            alike.setdefault(tuple(made[label]), []).append(label)
    found, number = [], {}
    for make, labels in alike.items():
        told = {(n, axis): _entries(roots[n, axis], labels) for n, axis, _ in make}
        whole = [(n, axis) for n, axis in told if n in net.weight_names and n not in reading.grouped]
        at = {cut: names[cut[0].rpartition(".")[0]] for cut in whole}
        writers = tuple((at[cut], told[cut]) for cut in whole if cut[1] == 0)
        readers = tuple((at[cut], _columns(net, at[cut], told[cut])) for cut in whole if cut[1] == 1)
        if len(labels) < 2 or not readers:
            reason = "it is a single one" if readers else "no weight layer reads them"
            kept |= dict.fromkeys(labels, reason)
            continue
        own = sum(_per_entry(net.module, n, axis) * told[n, axis].shape[1] for n, axis in told if (n, axis) not in at)
        name = " + ".join(net.layers[k].name for k, _ in writers)
        number |= {label: j for j, label in enumerate(labels, len(number))}
        found.append(Space(name=name, size=len(labels), writers=writers, readers=readers, own=own))
    cuts = {cut: np.array([number.get(label, -1) for label in ids.tolist()]) for cut, ids in roots.items()}
    modules = sorted(name.rpartition(".")[0] for name in net.weight_names)
    stay = dict.fromkeys(modules, "the graph does not show it as a layer")
    for (name, axis), ids in roots.items():
        if name in net.weight_names and axis == 0:
            staying = [label for label in ids.tolist() if label not in number]
            part = f"{len(staying)} of {len(ids)}: " if 0 < len(staying) < len(ids) else ""
            stay[name.rpartition(".")[0]] = part + kept[staying[0]] if staying else ""
    return Channels(
        spaces=tuple(found),
        stay={name: reason for name, reason in stay.items() if reason},
        cuts={cut: numbers for cut, numbers in cuts.items() if (numbers >= 0).any()},
    )


def _entries(ids: np.ndarray, labels: Sequence[int]) -> np.ndarray:
    """Where each label stands among the entries, (labels, places of each)."""
    order = np.argsort(ids, kind="stable")
    first = np.searchsorted(ids[order], labels)
    many = int(np.searchsorted(ids[order], labels[0], side="right") - first[0])
    return order[first[:, None] + np.arange(many)]


def _columns(net: ModuleNet, k: int, inputs: np.ndarray) -> np.ndarray:
    """The columns of a weight layer's matrix that belong to inputs (size, places) of its module."""
    kernel = int(np.prod(net.layers[k].shape[2:]))
    return (inputs[:, :, None] * kernel + np.arange(kernel)).reshape(len(inputs), -1)


def _per_entry(module: torch.nn.Module, name: str, axis: int) -> int:
    """Numbers that a parameter has for each entry along an axis; a buffer counts none."""
    if name not in dict(module.named_parameters()):
        return 0
    shape = module.get_parameter(name).shape
    return shape.numel() // shape[axis]


def _shrunk(net: ModuleNet, cuts: Cuts, scales: Sequence[np.ndarray]) -> ModuleNet:
    import torch

    kept = [scale != 0 for scale in scales]
    for own in kept:
        own[0] |= not own.any()
    stays = np.concatenate([*kept, [True]])  # number -1 is the last entry
    factor = np.concatenate([*scales, [1.0]])
    module = copy.deepcopy(net.module)
    for (name, axis), numbers in cuts.items():
        owner, _, leaf = name.rpartition(".")
        m: Any = module.get_submodule(owner)
        tensor = getattr(m, leaf).detach()
        left = torch.from_numpy(np.flatnonzero(stays[numbers]))
        cut = tensor.index_select(axis, left)
        if axis == 1 and name in net.weight_names:
            by = torch.from_numpy(factor[numbers])[left].reshape(-1, *[1] * (tensor.ndim - 2))
            cut = (cut.double() * by).to(tensor.dtype)
        if leaf in m._parameters:
            cut = torch.nn.Parameter(cut, requires_grad=False)
        setattr(m, leaf, cut)
        _resize(m, tensor.shape)
    return ModuleNet(module, net.example)


def _resize(m: Any, before: Sequence[int]) -> None:
    """Let a module's attributes say what its tensors are now; `before` is the shape that was cut."""
    from torch import nn

    if isinstance(m, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        rows = len(m.weight)
        if m.groups > 1 and rows != m.out_channels:
            m.groups = rows // (m.out_channels // m.groups)
        m.in_channels, m.out_channels = m.weight.shape[1] * m.groups, rows
    elif isinstance(m, nn.Linear):
        m.out_features, m.in_features = m.weight.shape
    elif isinstance(m, (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm)):
        m.num_features = len(m.running_mean) if m.running_mean is not None else len(m.weight)
    elif isinstance(m, nn.PReLU):
        m.num_parameters = len(m.weight)


def _holds(net: ModuleNet, found: Channels, tried: Sequence[Space]) -> bool:
    """Whether the net without the first channel of these spaces computes what zeros in its columns do."""
    scales = [np.ones(space.size) for space in found.spaces]
    weights = [layer.weight.copy() for layer in net.layers]
    for space, scale in zip(found.spaces, scales, strict=True):
        if space in tried:
            scale[0] = 0.0
            for k, columns in space.readers:
                weights[k][:, columns[0]] = 0.0
    want = net.with_weights(weights)(net.example)
    try:
        with quiet():  # a module that torch.fx made tells the terminal where it failed
            have = _shrunk(net, found.cuts, scales)(net.example)
    except (InvalidParameter, RuntimeError):  # the module's own code does not run with fewer channels
        return False
    eps = float(np.finfo(np.float32).eps) ** 0.5
    return have.shape == want.shape and bool(np.all(np.abs(have - want) <= eps * np.abs(want).max(initial=1e-30)))
