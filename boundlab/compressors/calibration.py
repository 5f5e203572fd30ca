"""What calibration points tell before a budget is shared out: sensitivities, and how far a fresh point may exceed them.

The factor C with g_j(x) <= C s_j is given, or comes from the points themselves: every second one gives s_j, the others
C, the k-th smallest of their ratios

    R(x) = max over layers, rows, signs, patches and edges of  g_j(x)/s_j        (0/0 = 0, positive/0 = inf).

A fresh point then has R(x) <= C with probability at least 1 - delta, without a premise on the law of the points.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numba import njit, prange

from boundlab._errors import InvalidParameter
from boundlab._theory import implements
from boundlab.compressors.method import fingerprints
from boundlab.concentration.conformal import conformal_factor
from boundlab.coresets.sensitivity_sampling import SLACK
from boundlab.coresets.top_k import keep_largest
from boundlab.nets.groups import parts, side_sums, sign_groups
from boundlab.nets.importance import LargestShares
from boundlab.nets.module_net import Batches, ModuleNet, batches
from boundlab.nets.passes import Pass, look
from boundlab.nets.propagate import envelope
from boundlab.network import Network
from boundlab.records import Sensitivities

LARGEST = 1e9
"""The largest factor C that can be given."""


REPEATED = 0.01
"""The share of the points of one half that may occur in the other too; from there on C is inf."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """What was seen, layer by layer; and all groups of all layers in one row, as a common budget sees them."""

    own: tuple[Sensitivities, ...]
    signs: tuple[int, ...]  # 2 where a layer reads negative numbers, else 1
    positions: tuple[int, ...]  # the most patches that one point has
    passed: bool  # whether the errors that layers pass on were seen too
    C: float  # inf: the points are too few, or too many fresh ones show an edge that was never active

    @cached_property
    def values(self) -> np.ndarray:
        """All sensitivities, (edges,)."""
        return np.concatenate([s.values for s in self.own])

    @cached_property
    def edges(self) -> np.ndarray:
        """Edges of each group, (R,)."""
        return np.concatenate([s.groups.edges for s in self.own])

    @cached_property
    def indptr(self) -> np.ndarray:
        """Where each group starts among all edges, (R + 1,)."""
        return np.concatenate([[0], np.cumsum(self.edges)])

    @cached_property
    def layer(self) -> np.ndarray:
        """The layer of each group, (R,)."""
        return np.repeat(np.arange(len(self.own)), [len(s.groups) for s in self.own])

    @property
    def live(self) -> np.ndarray:
        """Edges of each group with s_j > 0, (R,)."""
        return self.sums((self.values > 0).astype(np.int64))

    @cached_property
    def group(self) -> np.ndarray:
        """The group of each edge, (edges,)."""
        return np.repeat(np.arange(len(self.edges)), self.edges)

    @property
    def largest(self) -> np.ndarray:
        """The most sensitive edge of each layer that has edges, the first one among equals; (layers,)."""
        ends = np.cumsum([0, *(len(s.values) for s in self.own)])
        found = [start + int(s.values.argmax()) for start, s in zip(ends[:-1], self.own, strict=True) if len(s.values)]
        return np.array(found, np.int64)

    @property
    def first(self) -> np.ndarray:
        """The groups that hold these edges, (layers,)."""
        return self.group[self.largest]

    @cached_property
    def total(self) -> np.ndarray:
        """S of each group, (R,)."""
        return self.sums(self.values)

    @property
    def factor(self) -> float:
        """C, enlarged for shares measured in float64; 1 where it is not known: a budget is shared out all the same."""
        return self.C * (1.0 + SLACK) if math.isfinite(self.C) else 1.0

    @property
    def spread(self) -> np.ndarray:
        """A = max(1, C S) of each group, (R,)."""
        return np.maximum(1.0, self.factor * self.total)

    @property
    def events(self) -> np.ndarray:
        """How many sums of a group must hold together: of each patch and sign, and of the error passed on; (R,)."""
        per_layer = np.array(self.signs) * np.array(self.positions)
        per_layer[1:] += self.passed
        return per_layer[self.layer]

    @property
    def layers(self) -> list[np.ndarray]:
        """The groups of each layer that has some."""
        return [at for k in range(len(self.own)) if len(at := np.flatnonzero(self.layer == k))]

    def left(self, top: np.ndarray) -> np.ndarray:
        """The sensitivities of what is not among each group's `top` (R,) largest, and 0 for these; (edges,)."""
        return np.where(keep_largest(self.values, self.indptr, top), 0.0, self.values)

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Sum edge values over each group: (edges,) -> (R,)."""
        return np.add.reduceat(values, self.indptr[:-1]) if len(self.edges) else values[:0]

    def split(self, values: np.ndarray) -> list[np.ndarray]:
        """Cut one value per group, or per edge, into layers."""
        per_group = len(values) == len(self.edges) != len(self.values)
        return np.split(values, np.cumsum([len(s.groups if per_group else s.values) for s in self.own])[:-1])


def calibrate(
    net: Network | ModuleNet,
    points: np.ndarray | Batches,
    C: float | None,
    delta: float,
    *,
    theorem: str,
    passed: bool = False,
    mean: bool = False,
) -> Calibration:
    """Measure the sensitivities of all layers, and C where it is not given; in one or two passes over the points.

    Parameters
    ----------
    points : array, or a function that returns an iterator of batches; one batch is held at a time
    C : finite number >= 1; None: split-conformal at `delta`, half of the points give s and half C; inf where too many
        points occur in both halves
    delta : in (0, 1), the chance that a fresh point exceeds C s_j somewhere
    theorem : slug of the statement that uses the sensitivities
    passed : whether they also cover the error that earlier layers pass on (Theorem B); of a Network only. The envelope
        at eps = 1 stands in for the final one, which the sizes decide only afterwards
    mean : the largest mean over patches in place of the largest share; refuted, see `LargestMeans`

    Raises
    ------
    InvalidParameter
        If C is no number in [1, 1e9], or there is no point.

    Examples
    --------
    >>> from boundlab.nets.toy import random_network
    >>> seen = calibrate(random_network((3, 2), rng=0), np.eye(3) + 1.0, 2.0, 0.05, theorem="baykal2022_sipp_det")
    >>> len(seen.own), seen.C, seen.positions
    (1, 2.0, (1,))
    """
    if C is not None and (isinstance(C, bool | str) or not 1.0 <= C <= LARGEST):
        raise InvalidParameter(f"C must be at least 1 and at most 1e9, or None, got C={C!r}.")
    used = points if C is not None else every_second(points, 0)
    seen = look(_Shares(net, passed=passed, mean=mean), batches(used))
    if not seen.count:
        raise InvalidParameter("points must hold at least one point each time they are asked for, got none.")
    own = tuple(s.sensitivities(points=seen.count, theorem=theorem) for s in seen.shares)
    if C is None:
        C = look(_Ratios(net, own, passed, seen.digests), batches(every_second(points, 1))).factor(delta)
    return Calibration(own=own, signs=tuple(seen.signs), positions=tuple(seen.positions), passed=passed, C=float(C))


class _Shares(Pass):
    """The sensitivities of all layers, and what else a batch tells."""

    def __init__(self, net: Network | ModuleNet, *, passed: bool, mean: bool) -> None:
        self.net, self.passed = net, passed
        self.shares = [(LargestMeans if mean else LargestShares)(layer.weight) for layer in net.layers]
        self.signs, self.positions = [1] * len(self.shares), [1] * len(self.shares)
        self.count, self.digests = 0, set[bytes]()

    def see(self, batch: np.ndarray) -> None:
        vectors = [0] * len(self.shares)

        def see(k: int, found: list[np.ndarray]) -> None:
            share = self.shares[k]
            self.signs[k] = max(self.signs[k], len(found))
            vectors[k] += found[0].shape[0] * found[0].shape[1]
            for part in found:
                share.see(part if isinstance(share, LargestMeans) else part.reshape(-1, part.shape[-1]))

        _visit(self.net, batch, see)
        for k, n in enumerate(vectors):
            self.positions[k] = max(self.positions[k], -(-n // len(batch)))
        errors = _passed_on(self.net, batch) if self.passed else []
        for share, error in zip(self.shares, errors, strict=self.passed):
            share.see(error[:, None, :] if isinstance(share, LargestMeans) else error)
        self.count += len(batch)
        self.digests.update(fingerprints(batch))

    def state(self) -> dict[str, np.ndarray]:
        told = {"signs": self.signs, "positions": self.positions, "count": self.count}
        best = {f"best {k}": share.best for k, share in enumerate(self.shares)}
        return {k: np.array(v) for k, v in told.items()} | best | {"digests": _rows(self.digests)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        self.signs, self.positions = state["signs"].tolist(), state["positions"].tolist()
        self.count, self.digests = int(state["count"]), {row.tobytes() for row in state["digests"]}
        for k, share in enumerate(self.shares):
            share.best[...] = state[f"best {k}"]


def _rows(digests: set[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(sorted(digests)), np.uint8).reshape(-1, 16)


def every_second(points: np.ndarray | Batches, start: int) -> np.ndarray | Batches:
    """Points number start, start + 2, ...; of a stream the same ones, however it is cut into batches."""
    if not callable(points):
        return np.asarray(points)[start::2]

    def half() -> Iterator[np.ndarray]:
        before = 0
        for batch in batches(points):
            chosen = batch[(start - before) % 2 :: 2]
            before += len(batch)
            if len(chosen):
                yield chosen

    return half


@implements("baykal2022_patch_mean")
class LargestMeans:
    """The largest mean over a point's patches of each edge's share; refuted as a bound, kept to show.

    What `LargestShares` is for the largest share. A patch whose sum is 0 counts as a share of 0.
    """

    def __init__(self, weight: np.ndarray) -> None:
        """Nothing is seen yet of a layer with this weight matrix, (out, in)."""
        self.weight = weight
        self.best = np.zeros_like(weight)

    def see(self, patches: np.ndarray) -> None:
        """Take points into account, (points, positions, in); all entries must be >= 0."""
        for u in patches:
            plus, minus = (
                np.divide(1.0, z, out=np.zeros_like(z), where=z > 0).T @ u / len(u) for z in side_sums(self.weight, u)
            )
            np.maximum(self.best, np.where(self.weight > 0, plus, minus), out=self.best)

    def sensitivities(self, *, points: int, theorem: str) -> Sensitivities:
        """What was seen, as sensitivities; `points` tells from how many inputs."""
        groups = sign_groups(self.weight)
        values = np.minimum(groups.take(np.abs(self.weight) * self.best), 1.0)
        return Sensitivities(values=values, groups=groups, points=points, theorem=theorem)


@implements("vovk2005_split_conformal")
class _Ratios(Pass):
    """R(x) of each point of the half that gave no sensitivities, and how many of them stand in the other half too."""

    def __init__(
        self, net: Network | ModuleNet, own: Sequence[Sensitivities], passed: bool, digests: set[bytes]
    ) -> None:
        self.net, self.own, self.passed, self.digests = net, own, passed, digests
        self.ratios, self.repeated = [np.zeros(0)], 0

    def see(self, batch: np.ndarray) -> None:
        self.ratios.append(largest_ratios(self.net, batch, self.own, passed=self.passed))
        self.repeated += sum(digest in self.digests for digest in fingerprints(batch))

    def state(self) -> dict[str, np.ndarray]:
        return {"ratios": np.concatenate(self.ratios), "repeated": np.array(self.repeated)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        self.ratios, self.repeated = [state["ratios"]], int(state["repeated"])

    def factor(self, delta: float) -> float:
        """The k-th smallest ratio, k = ceil((1-delta)(n+1)), at least 1; inf where n < 1/delta - 1.

        Also inf where too many of the points occur in both halves: these must be independent.
        """
        ratios = np.concatenate(self.ratios)
        if self.repeated >= REPEATED * len(ratios):
            return math.inf
        return max(1.0, float(conformal_factor(ratios, delta)))


def largest_ratios(
    net: Network | ModuleNet, points: np.ndarray, own: Sequence[Sensitivities], *, passed: bool = False
) -> np.ndarray:
    """Return R(x) of each point, (points,): by which factor its shares exceed the sensitivities; see the page's top.

    Where a layer of a module does not read one block per point, each point is told the largest ratio of them all.

    Examples
    --------
    >>> from boundlab.nets.toy import random_network
    >>> net, points = random_network((3, 2), rng=0), np.eye(3) + 1.0
    >>> own = calibrate(net, points, 2.0, 0.05, theorem="baykal2022_sipp_det").own
    >>> largest_ratios(net, points, own).round(6)
    array([1., 1., 1.])
    """
    limits = [_dense(layer.weight, s) for layer, s in zip(net.layers, own, strict=True)]
    found: list[list[np.ndarray]] = [[] for _ in limits]

    def worst(k: int, vectors: list[np.ndarray]) -> np.ndarray:
        told = np.zeros(len(vectors[0]))
        for part in vectors:
            rows = np.ascontiguousarray(part.reshape(-1, part.shape[-1]))
            plus, minus = side_sums(net.layers[k].weight, rows)
            each = _ratios(rows, plus, minus, net.layers[k].weight, limits[k])
            np.maximum(told, each.reshape(len(part), -1).max(axis=1), out=told)
        return told

    _visit(net, points, lambda k, vectors: found[k].append(worst(k, vectors)))
    ratios, of_one = np.zeros(len(points)), [0] * len(limits)

    def count(k: int, vectors: list[np.ndarray]) -> None:
        of_one[k] += len(vectors[0])

    _visit(net, points[:1], count)  # a layer whose first axis is not the points has other numbers of rows for one point
    for blocks, one in zip(found, of_one, strict=True):
        told = np.concatenate([np.zeros(0), *blocks])
        by_point = one == 1 and len(told) == len(points)
        np.maximum(ratios, told if by_point else told.max(initial=0.0), out=ratios)
    for k, error in enumerate(_passed_on(net, points) if passed else []):
        np.maximum(ratios, worst(k, [error[:, None, :]]), out=ratios)
    return ratios


def _visit(net: Network | ModuleNet, points: np.ndarray, see: Callable[[int, list[np.ndarray]], object]) -> None:
    """Show ``see(k, parts)`` the non-negative parts of what layer k reads, each (points, positions, in)."""

    def split(k: int, patches: np.ndarray) -> None:
        see(k, parts(patches))

    net.visit(points, split)


def _passed_on(net: Network | ModuleNet, points: np.ndarray) -> list[np.ndarray]:
    """The envelope at eps = 1 of what each layer reads, (points, in)."""
    if not isinstance(net, Network):
        raise InvalidParameter(f"the error that layers pass on is bounded in a Network, got {type(net).__name__}.")
    groups = [sign_groups(layer.weight) for layer in net.layers]
    return envelope(net, points, groups, [np.ones(len(g)) for g in groups])[0]


def _dense(weight: np.ndarray, own: Sensitivities) -> np.ndarray:
    """|w|/s as (out, in): inf where s = 0, and 0 where there is no edge."""
    dense, groups = np.zeros_like(weight), own.groups
    with np.errstate(divide="ignore", over="ignore"):
        dense[groups.spread(groups.neuron), groups.columns] = np.abs(groups.take(weight)) / own.values
    return dense


@njit(cache=True, parallel=True)
def _ratios(a, plus, minus, weight, limit):
    """Return max over i, j of a_j |w_ij| / (s_ij z_i) for each row of a; terms of 0 do not count."""
    points, width = a.shape
    ratio = np.zeros(points)
    for x in prange(points):
        worst = 0.0
        for i in range(weight.shape[0]):
            up = down = 0.0
            for j in range(width):
                if a[x, j] > 0.0:
                    value = a[x, j] * limit[i, j]
                    if weight[i, j] > 0.0:
                        up = max(up, value)
                    else:
                        down = max(down, value)
            if up > 0.0:
                worst = max(worst, up / plus[x, i] if plus[x, i] > 0.0 else np.inf)
            if down > 0.0:
                worst = max(worst, down / minus[x, i] if minus[x, i] > 0.0 else np.inf)
        ratio[x] = worst
    return ratio
