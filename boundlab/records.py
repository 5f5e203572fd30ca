"""The nouns of sampling: frozen records, from the groups of edges to the compressed net.

Each record gives `rows()` (a list of flat dicts), `to_frame()` and an HTML view; the numbers stay integers where they
are counts. Arrays inside a record are read-only by convention: make a new record instead of changing one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from boundlab._theory import implements
from boundlab.network import Network

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]


class Record(ABC):
    """What all nouns share: rows, a frame, an HTML table."""

    @abstractmethod
    def rows(self) -> list[Row]:
        """One flat dict per line of the record's table."""

    def to_frame(self) -> pd.DataFrame:
        """The rows as a pandas frame."""
        import pandas as pd

        return pd.DataFrame(self.rows())

    def _repr_html_(self) -> str:
        return f"<b>{type(self).__name__}</b>{self.to_frame().to_html(index=False)}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Groups(Record):
    """Ragged groups of edges: one group for each neuron and sign, empty groups left out.

    Group r is row `neuron[r]` of a weight matrix, restricted to the entries of sign `sign[r]`; its edges stand at
    `columns[indptr[r]:indptr[r+1]]`.
    """

    neuron: np.ndarray  # (R,) int64
    sign: np.ndarray  # (R,) int8, +1 or -1
    indptr: np.ndarray  # (R + 1,) int64
    columns: np.ndarray  # (edges,) int64

    @classmethod
    def single(cls, n: int) -> Groups:
        """One group of n edges, such as the neurons or channels of a layer."""
        return cls(
            neuron=np.zeros(1, np.int64), sign=np.ones(1, np.int8), indptr=np.array([0, n]), columns=np.arange(n)
        )

    @property
    def edges(self) -> np.ndarray:
        """Edges in each group, shape (R,)."""
        return np.diff(self.indptr)

    def __len__(self) -> int:
        return len(self.neuron)

    def spread(self, values: np.ndarray) -> np.ndarray:
        """Repeat one value per group over the group's edges: (R,) -> (edges,)."""
        return np.repeat(values, self.edges)

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Sum edge values over each group: (edges,) -> (R,)."""
        return np.add.reduceat(values, self.indptr[:-1]) if len(self) else np.zeros(0)

    def take(self, dense: np.ndarray) -> np.ndarray:
        """Read a dense (out, in) matrix along the edges: -> (edges,)."""
        return dense[self.spread(self.neuron), self.columns]

    def rows(self) -> list[Row]:
        """One line per group."""
        return [
            {"neuron": int(i), "sign": int(s), "edges": int(k)}
            for i, s, k in zip(self.neuron, self.sign, self.edges, strict=True)
        ]


@dataclass(frozen=True, kw_only=True, eq=False)
class Sensitivities(Record):
    """How much each edge can matter: s_j = max over points of its share of the group's pre-activation, in [0, 1].

    For a baseline, which follows no theorem (''), any finite numbers >= 0.
    """

    values: np.ndarray  # (edges,)
    groups: Groups
    points: int  # how many points the maximum was taken over; 0 where none is looked at
    unit: str = "weight"
    theorem: str

    @property
    def total(self) -> np.ndarray:
        """S = sum of s_j in each group, shape (R,); 0 where no point activates the group."""
        return self.groups.sums(self.values)

    @property
    def probabilities(self) -> np.ndarray:
        """q_j = s_j / S, shape (edges,); 0 in a group with S = 0."""
        total = self.groups.spread(self.total)
        return np.divide(self.values, total, out=np.zeros_like(self.values), where=total > 0)

    def rows(self) -> list[Row]:
        """One line per group, with its total sensitivity S."""
        return [row | {"total": float(t)} for row, t in zip(self.groups.rows(), self.total, strict=True)]


class Law(StrEnum):
    """How the edges of a group that are not kept for certain are chosen."""

    MULTINOMIAL = "multinomial"
    """`size` draws with replacement from q = s/S; an edge drawn c times weighs c/(size q)."""
    POISSON = "poisson"
    """Each edge by its own coin, with pi = min(1, s/tau), sum pi = `size`; it then weighs 1/pi."""
    PIVOTAL = "pivotal"
    """The same pi, and exactly `size` edges."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SamplePlan(Record):
    """One layer, before any coin is drawn: from which distribution, how often, with which promise.

    A group with `exact` True keeps all its edges and has error 0. In the others the `top` edges of largest s are kept
    with their own weights, and `size` of the rest are chosen by `law`; where `size` is 0 the rest is dropped.
    `eps` is the relative error promised for each group's sum (0 where exact), at failure probability `delta` for
    the whole layer plan; it is inf, and `theorem` is '', where nothing is promised. Plans of data-independent neuron
    coresets state an absolute error, the largest one on the ball.
    """

    layer: int  # 2..L, the paper's index: layer 1 is the input
    sensitivities: Sensitivities
    size: np.ndarray  # (R,) float64: the theorem's m, a whole number; inf where it overflows
    exact: np.ndarray  # (R,) bool
    eps: np.ndarray  # (R,) float64
    K: float  # how far a fresh point's share may exceed s_j
    parts: int  # 1: the coins are paid for non-negative inputs of this layer; 2: for signed ones, a^+ and a^-
    condition: float  # the bound on Delta^l that the schedule used; nan where the theorem needs none
    theorem: str
    law: Law = Law.MULTINOMIAL
    top: np.ndarray | None = None  # (R,) int64; None: no edge is kept for certain outside the exact groups

    @property
    def groups(self) -> Groups:
        """The groups that the plan samples."""
        return self.sensitivities.groups

    @property
    def draws(self) -> np.ndarray:
        """Edges to draw in each group, shape (R,) int64: 0 where the group is kept exactly or has S = 0."""
        idle = self.exact | (self.sensitivities.total <= 0)
        return np.where(idle, 0, np.minimum(self.size, 2.0**62)).astype(np.int64)

    @property
    def certain(self) -> np.ndarray:
        """Which edges keep their own weights whatever the coins show: exact groups, and the top of others; (edges,).

        Of equal sensitivities the first ones count as larger.
        """
        kept = self.groups.spread(self.exact)
        if self.top is None:
            return kept
        order = np.lexsort((-self.sensitivities.values, self.groups.spread(np.arange(len(self.groups)))))
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order)) - self.groups.spread(self.groups.indptr[:-1])
        return kept | (rank < self.groups.spread(self.top))

    @property
    def probabilities(self) -> np.ndarray:
        """q_j of a draw, shape (edges,): s_j over the sum of all s that are left to chance; 0 for the certain edges."""
        left = np.where(self.certain, 0.0, self.sensitivities.values)
        total = self.groups.spread(self.groups.sums(left))
        return np.divide(left, total, out=np.zeros_like(left), where=total > 0)

    @property
    @implements("boundlab_expected_distinct")
    def expected_distinct(self) -> np.ndarray:
        """E[number of kept edges] in each group: the certain ones, and sum_j 1 - (1 - q_j)^m or m of the others."""
        certain, q, m = self.certain, self.probabilities, self.draws
        if self.law is Law.MULTINOMIAL:
            draws = self.groups.spread(m).astype(np.float64)
            with np.errstate(divide="ignore", invalid="ignore"):
                kept = self.groups.sums(np.where(draws > 0, -np.expm1(draws * np.log1p(-q)), 0.0))
        else:
            kept = np.minimum(m, self.groups.sums((q > 0).astype(np.float64)))
        return self.groups.sums(certain.astype(np.float64)) + kept

    def rows(self) -> list[Row]:
        """One line per group."""
        extra = zip(self.size, self.exact, self.eps, self.expected_distinct, strict=True)
        return [
            row | {"layer": self.layer, "size": float(m), "exact": bool(x), "eps": float(e), "expected_nnz": float(d)}
            for row, (m, x, e, d) in zip(self.sensitivities.rows(), extra, strict=True)
        ]


@dataclass(frozen=True, kw_only=True, eq=False)
class Coreset(Record):
    """What one draw kept of one layer: positions in the (out, in) weight matrix and their new values."""

    neuron: np.ndarray  # (nnz,) int64
    column: np.ndarray  # (nnz,) int64
    weights: np.ndarray  # (nnz,) float64
    plan: SamplePlan

    @property
    def nnz(self) -> int:
        """Distinct edges kept."""
        return len(self.weights)

    @property
    def silent(self) -> np.ndarray:
        """Neurons that had edges and kept none, (neurons,) int64."""
        return np.setdiff1d(self.plan.groups.neuron, self.neuron)

    def rows(self) -> list[Row]:
        """One line: the layer, its edges and what is kept."""
        edges = int(self.plan.groups.edges.sum())
        return [
            {
                "layer": self.plan.layer,
                "edges": edges,
                "nnz": self.nnz,
                "kept": self.nnz / edges if edges else 1.0,
                "groups": len(self.plan.groups),
                "exact_groups": int(self.plan.exact.sum()),
                "silent": len(self.silent),
            }
        ]


@dataclass(frozen=True, kw_only=True, eq=False)
class Compressed(Record):
    """Weight matrices before and after, with everything needed to draw them again with fresh coins."""

    coresets: tuple[Coreset, ...]
    compressor: Any  # the method: a frozen dataclass of boundlab.compressors
    calibration: frozenset[bytes] = frozenset()  # digests of the points that the plan was made on
    seed: int | None

    @property
    def plans(self) -> tuple[SamplePlan, ...]:
        """The sampling plan of each layer."""
        return tuple(c.plan for c in self.coresets)

    @property
    def nnz(self) -> int:
        """Non-zero weights kept."""
        return sum(c.nnz for c in self.coresets)

    @property
    def unchanged(self) -> bool:
        """True where every group is kept exactly: the net is the original."""
        return all(p.exact.all() for p in self.plans)

    @property
    def missed(self) -> int:
        """Non-zeros above (+) or below (-) the number asked for; 0 for a method that asks for none."""
        target = getattr(self.compressor, "nnz", None)
        return 0 if target is None else self.nnz - int(target)

    @property
    def ratio(self) -> float:
        """Weights kept, as a share of the original's non-zero weights."""
        return self.nnz / max(1, sum(int(p.groups.edges.sum()) for p in self.plans))

    @property
    @implements("boundlab_expected_distinct")
    def expected_nnz(self) -> float:
        """The mean of `nnz` over the coins."""
        return float(sum(p.expected_distinct.sum() for p in self.plans))

    def rows(self) -> list[Row]:
        """One line per layer."""
        return [row for c in self.coresets for row in c.rows()]


@dataclass(frozen=True, kw_only=True, eq=False)
class Compression(Compressed):
    """A fully connected net before and after: what theorems can speak of."""

    net: Network
    original: Network
