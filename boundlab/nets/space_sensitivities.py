"""How much each removable channel matters to all who read it, and what its removal saves: for any kind of net."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from boundlab._errors import InvalidParameter
from boundlab._theory import implements
from boundlab.nets.channels import channel_sensitivities
from boundlab.nets.groups import parts
from boundlab.nets.module_net import ModuleNet, batches
from boundlab.nets.passes import Pass, look
from boundlab.network import Network, Space

Net = Network | ModuleNet
Shares = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True, kw_only=True, eq=False)
class SpaceSensitivities:
    """The channels of one space, and how many sums read them."""

    space: Space
    values: np.ndarray  # (size,) in [0, 1], rounded up
    signs: int  # 1: all that is read is non-negative; 2: its two parts were seen
    filters: int  # that read the channels, of all readers
    events: int  # sums that read them at one point: filters x positions x signs of the weights x signs of the input
    positions: int  # patches of a point, of the reader with the most
    points: int


@implements("liebenwein2020_channel_sensitivity")
def space_sensitivities(net: Net, points: Any, shares: Shares = channel_sensitivities) -> list[SpaceSensitivities]:
    """Return the channel sensitivities of every space: the largest over readers, filters, patches and signs.

        s_j = max_{i, p, ±}  <w_ij^±, U_jp> / sum_k <w_ik^±, U_kp>,      0/0 := 0

    The sum is over all that a filter reads, channels of other spaces and those that stay too. Blocks of points are seen
    one by one: memory does not grow with their number, and any split into batches gives the same.

    Parameters
    ----------
    net : Network or ModuleNet
    points : (points, ...) array, or for a ModuleNet a function that returns batches
    shares : `channel_sensitivities`, or `single_weight_sensitivities`, the released code's variant

    Raises
    ------
    InvalidParameter
        If nothing of the net can be removed.

    Examples
    --------
    >>> from boundlab.network import Layer, Network
    >>> hidden = Layer(weight=np.eye(2), bias=np.zeros(2), relu=True)
    >>> net = Network(layers=(hidden, Layer(weight=np.array([[1.0, 3.0]]), bias=np.zeros(1), relu=False)))
    >>> space_sensitivities(net, np.ones((5, 2)))[0].values.round(6)
    array([0.25, 0.75])
    """
    removable(net)
    seen = look(_Channels(net, shares), batches(points))
    return [
        SpaceSensitivities(
            space=space,
            values=own.best,
            signs=own.signs,
            filters=sum(filters for filters, _ in own.sums.values()),
            events=2 * own.signs * sum(filters * positions for filters, positions in own.sums.values()),
            positions=max(positions for _, positions in own.sums.values()),
            points=seen.count,
        )
        for space, own in zip(net.spaces, seen.found, strict=True)
    ]


def removable(net: Net) -> tuple[Space, ...]:
    """Return the spaces of a net, or raise InvalidParameter where it has none."""
    if not net.spaces:
        stay = net.channels.stay if isinstance(net, ModuleNet) else {"weight 0": "they are outputs of the net"}
        told = "; ".join(f"{name}: {reason}" for name, reason in stay.items())
        raise InvalidParameter(f"a net to remove channels of must have some that can be removed, got none: {told}.")
    return net.spaces


@implements("boundlab_coupled_channels")
def parameters_left(net: Net, kept: Sequence[int] | np.ndarray) -> int:
    """Return the parameters of the net of which kept[k] channels of space k are left, biases and batch norms too.

    The exact count, without building the net: of a weight matrix both rows and columns go.

    Examples
    --------
    >>> from boundlab.nets.toy import random_network
    >>> net = random_network((5, 8, 8, 2), rng=0)
    >>> parameters_left(net, [8, 8]) == net.parameters, parameters_left(net, [3, 1])
    (True, 26)
    """
    rows = [layer.weight.shape[0] for layer in net.layers]
    columns = [layer.weight.shape[1] for layer in net.layers]
    left = net.parameters - sum(r * c for r, c in zip(rows, columns, strict=True))
    for space, n in zip(net.spaces, kept, strict=True):
        gone = space.size - int(n)
        left -= gone * space.own
        for k, own in space.writers:
            rows[k] -= gone * own.shape[1]
        for k, own in space.readers:
            columns[k] -= gone * own.shape[1]
    return left + sum(r * c for r, c in zip(rows, columns, strict=True))


class _Space:
    """What is known of one space so far."""

    def __init__(self, best: np.ndarray) -> None:
        self.best = best
        self.signs = 1
        self.sums: dict[int, tuple[int, int]] = {}  # of each reader: filters, positions


class _Channels(Pass):
    """What is known of all spaces so far."""

    def __init__(self, net: Net, shares: Shares) -> None:
        self.net, self.shares, self.layouts = net, shares, _layouts(net)
        self.found = [_Space(np.zeros(space.size)) for space in net.spaces]
        self.count = 0

    def see(self, batch: np.ndarray) -> None:
        calls: dict[tuple[int, int], tuple[int, int]] = {}  # (space, reader): its filters, and patches of this batch

        def see(k: int, patches: np.ndarray) -> None:
            sides = parts(patches.reshape(-1, patches.shape[-1])) if k in self.layouts else []
            for layout in self.layouts.get(k, ()):
                for side in sides:
                    values = self.shares(layout.weight, layout.of(side))
                    for s, first in layout.spaces:
                        best = self.found[s].best
                        np.maximum(best, values[first : first + len(best)], out=best)
                for s, _ in layout.spaces:
                    self.found[s].signs = max(self.found[s].signs, len(sides))
                    before = calls.get((s, k), (0, 0))[1]
                    calls[s, k] = (len(layout.weight), before + patches.shape[0] * patches.shape[1])

        self.net.visit(batch, see)
        self.count += len(batch)
        for (s, k), (filters, n) in calls.items():  # a reader may be called more than once, and images differ in size
            before = self.found[s].sums.get(k, (filters, 0))[1]
            self.found[s].sums[k] = (filters, max(before, -(-n // len(batch))))

    def state(self) -> dict[str, np.ndarray]:
        told = {"count": np.array(self.count)}
        for s, own in enumerate(self.found):
            sums = [(k, *both) for k, both in own.sums.items()]
            told |= {f"best {s}": own.best, f"signs {s}": np.array(own.signs), f"sums {s}": np.array(sums, np.int64)}
        return told

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        self.count = int(state["count"])
        for s, own in enumerate(self.found):
            own.best[...] = state[f"best {s}"]
            own.signs = int(state[f"signs {s}"])
            own.sums = {k: (filters, positions) for k, filters, positions in state[f"sums {s}"].tolist()}


class _Layout:
    """The columns of one layer in an order in which each channel's c of them stand together, zeros added at the end."""

    def __init__(self, weight: np.ndarray, readers: Sequence[tuple[int, np.ndarray]]) -> None:
        c = readers[0][1].shape[1]
        ordered = np.concatenate([columns.ravel() for _, columns in readers])
        width = weight.shape[1]
        rest = np.setdiff1d(np.arange(width), ordered)
        self.order = np.concatenate([ordered, rest, np.full(-len(rest) % c, width)])
        firsts = np.cumsum([0, *(len(columns) for _, columns in readers)])
        self.spaces = [(s, int(first)) for (s, _), first in zip(readers, firsts[:-1], strict=True)]
        self.c = c
        self.weight = self.of(weight)

    def of(self, vectors: np.ndarray) -> np.ndarray:
        """Vectors (n, in) as (n, channels, c)."""
        wide = np.pad(vectors, ((0, 0), (0, 1))) if len(self.order) > vectors.shape[1] else vectors
        return wide[:, self.order].reshape(len(vectors), -1, self.c)


def _layouts(net: Net) -> dict[int, list[_Layout]]:
    """For each weight layer, one layout for all spaces that have the same number of columns in it."""
    found: dict[tuple[int, int], list[tuple[int, np.ndarray]]] = {}
    for s, space in enumerate(net.spaces):
        for k, columns in space.readers:
            found.setdefault((k, columns.shape[1]), []).append((s, columns))
    layouts: dict[int, list[_Layout]] = {}
    for (k, _), readers in found.items():
        layouts.setdefault(k, []).append(_Layout(net.layers[k].weight, readers))
    return layouts
