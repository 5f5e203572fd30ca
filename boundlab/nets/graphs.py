"""Graphs and graph convolution nets, and how far a perturbation of their weights can move the output."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np

from boundlab._errors import InvalidParameter, matrix, positive, positive_int
from boundlab._theory import implements
from boundlab.nets.norms import frobenius_norm, spectral_norm

_UP = 1.0 + 1e-12
LOST = 2.0**-1000
"""More than numbers too small for a float lose in one layer; added at every step, it keeps what is rounded up above."""


def own_matrix(name: str, value: np.ndarray) -> np.ndarray:
    """A copy that nobody can change: what was computed from it once stays true."""
    copied = matrix(name, value).copy()
    copied.setflags(write=False)
    return copied


def product_above(*factors: float | Fraction) -> float:
    """The product of numbers of at least 0, rounded up, in whatever order it would leave the range of floats."""
    if 0 in factors:
        return 0.0
    if math.inf in factors:
        return math.inf
    try:
        return math.nextafter(float(math.prod([Fraction(f) for f in factors])) * _UP, math.inf)
    except OverflowError:
        return math.inf


@dataclass(frozen=True, kw_only=True, eq=False)
class Graph:
    """One graph, which is one example: an undirected adjacency and a row of features for each node; both are copied.

    Parameters
    ----------
    adjacency : array (nodes, nodes)
        Symmetric, of zeros and ones, without loops.
    features : array (nodes, p)

    Raises
    ------
    InvalidParameter
        If the adjacency is another matrix, or the features do not fit.

    Examples
    --------
    >>> pair = Graph(adjacency=np.array([[0, 1], [1, 0]]), features=np.array([[3.0, 4.0], [0.0, 1.0]]))
    >>> pair.degree, round(pair.radius, 6)
    (1, 5.0)
    """

    adjacency: np.ndarray
    features: np.ndarray

    def __post_init__(self) -> None:
        a, x = own_matrix("adjacency", self.adjacency), own_matrix("features", self.features)
        if not np.array_equal(a, a.T) or np.any(np.diag(a)) or not np.all((a == 0) | (a == 1)):
            raise InvalidParameter(
                f"adjacency must be symmetric, of zeros and ones, without loops, got shape {a.shape}."
            )
        if len(a) != len(x):
            raise InvalidParameter(f"features must have one row for each of {len(a)} nodes, got {len(x)}.")
        object.__setattr__(self, "adjacency", a)
        object.__setattr__(self, "features", x)

    @cached_property
    def degree(self) -> int:
        """The largest number of neighbours of a node, itself not counted."""
        return int(self.adjacency.sum(axis=1).max())

    @cached_property
    def radius(self) -> float:
        """The largest Euclidean norm of a node's features, rounded up; inf beyond the largest float."""
        top = float(np.abs(self.features).max(initial=0.0))
        if top == 0.0:
            return 0.0
        exponent = math.frexp(top)[1]
        scaled = np.ldexp(self.features, -exponent)  # by a power of two: no square leaves the range
        return product_above(float(np.linalg.norm(scaled, axis=1).max()) * _UP, Fraction(2) ** exponent)

    def within(self, radius: float) -> bool:
        """Whether every node's features have norm at most `radius`: in fractions where floats cannot tell."""
        if self.radius <= radius:
            return True
        if self.radius > radius * (1.0 + 1e-9):
            return False
        return all(sum(Fraction(v) ** 2 for v in row) <= Fraction(radius) ** 2 for row in self.features.tolist())


@dataclass(frozen=True, kw_only=True)
class GraphDomain:
    """Graphs whose node features have norm at most `radius` and whose nodes have at most `degree` neighbours.

    Parameters
    ----------
    radius : float
        Finite and positive. Features that were scaled to norm 1 in floats may exceed 1 by a rounding: leave room.
    degree : int
        At least 1; a node is not its own neighbour. Graph convolution nets need no degree, and look at none.

    Raises
    ------
    InvalidParameter
        If a number is out of its range.
    """

    radius: float
    degree: int

    def __post_init__(self) -> None:
        positive("radius", self.radius)
        positive_int("degree", self.degree)

    def __contains__(self, graph: Graph) -> bool:
        return graph.degree <= self.degree and graph.within(self.radius)


@implements("liao2021_graph_perturbation")
@dataclass(frozen=True, kw_only=True, eq=False)
class GraphConvolution:
    """A graph convolution net without biases: H_i = ReLU(L H_{i-1} W_i) for i < l, then mean over nodes(H_{l-1}) W_l.

    L = D^(-1/2) (A + I) D^(-1/2) with the degrees D of A + I.

    Parameters
    ----------
    matrices : tuple of l arrays
        W_i, (in, out), which are copied; the last gives one output for each class.

    Raises
    ------
    InvalidParameter
        If there is no matrix, one is not finite, or their shapes do not chain.

    Notes
    -----
    The net of Liao, Urtasun and Zemel (2021), arXiv:2012.07690, as we understand the paper.

    Examples
    --------
    >>> net = GraphConvolution(matrices=(np.eye(1), np.array([[1.0, -1.0]])))
    >>> net(Graph(adjacency=np.array([[0, 1], [1, 0]]), features=np.array([[1.0], [3.0]])))  # L averages the two
    array([ 2., -2.])
    """

    matrices: tuple[np.ndarray, ...]

    def __post_init__(self) -> None:
        weights = tuple(own_matrix("weight", w) for w in self.matrices)
        if not weights or any(a.shape[1] != b.shape[0] for a, b in itertools.pairwise(weights)):
            raise InvalidParameter(f"weights must chain as (in, out), got shapes {[w.shape for w in weights]}.")
        object.__setattr__(self, "matrices", weights)

    @property
    def width(self) -> int:
        """The largest layer size, the input's included."""
        return max(max(w.shape) for w in self.matrices)

    @cached_property
    def norms(self) -> tuple[float, ...]:
        """The spectral norm of each matrix, rounded up."""
        return tuple(spectral_norm(w) for w in self.matrices)

    @cached_property
    def frobenius(self) -> tuple[float, ...]:
        """The Frobenius norm of each matrix, rounded up."""
        return tuple(frobenius_norm(w) for w in self.matrices)

    def __call__(self, graph: Graph) -> np.ndarray:
        """One output per class for one graph: shape (classes,)."""
        loops = graph.adjacency + np.eye(len(graph.adjacency))
        root = 1.0 / np.sqrt(loops.sum(axis=1))
        spread, h = root[:, None] * loops * root[None, :], graph.features
        if h.shape[1] != len(self.matrices[0]):
            raise InvalidParameter(f"a graph must have {len(self.matrices[0])} features per node, got {h.shape[1]}.")
        for w in self.matrices[:-1]:
            h = np.maximum(spread @ h @ w, 0.0)
        return h.mean(axis=0) @ self.matrices[-1]

    def deviation(self, moves: Sequence[float], radius: float, degree: int) -> float:
        """Return B (prod (|W_i| + u_i) - prod |W_i|): how far moves of spectral norm u_i can take the output.

        On every graph whose node features have norm at most B; whatever the degree, which is an argument only because
        other nets need it. It is attained on a graph without edges.

        Parameters
        ----------
        moves : sequence of floats
            u_i >= 0, one for each matrix.
        radius : float
            B.
        degree : int
            Not used.

        Returns
        -------
        float
            In the Euclidean norm of the outputs, rounded up.

        Raises
        ------
        InvalidParameter
            If there is not one number at or above 0 for each matrix, or the radius is not positive.
        """
        steps = sizes_of_moves(moves, len(self.matrices))
        moved, size = LOST, positive("radius", radius)
        for norm, u in zip(self.norms, steps, strict=True):
            moved, size = (norm + u) * moved + u * size + LOST, norm * size + LOST
        return above(moved)


def above(moved: float) -> float:
    """A deviation rounded up; inf where an overflow has left no number."""
    return math.inf if math.isnan(moved) else moved * _UP


def sizes_of_moves(moves: Sequence[float], count: int) -> list[float]:
    """Validate the spectral norms of `count` moves: finite and at least 0."""
    steps = [float(u) for u in moves]
    if len(steps) != count or not all(0.0 <= u < math.inf for u in steps):
        raise InvalidParameter(f"moves must be {count} finite numbers of at least 0, one per matrix, got {steps}.")
    return steps


@implements("liao2021_graph_perturbation")
def gcn_perturbation(weights: Sequence[np.ndarray], moves: Sequence[np.ndarray], radius: float, degree: int) -> float:
    """Return e B d^((l-1)/2) prod |W_i| sum |U_i|/|W_i|, the published form of `GraphConvolution.deviation`.

    It holds where every |U_i| <= |W_i|/l (spectral norms), every node feature has norm at most B and every node of
    A + I has at most d neighbours, itself included. degree = 1 is enough for every graph: the factor
    d^((l-1)/2) of the source is not needed.

    Parameters
    ----------
    weights, moves : l matrices each, of equal shapes
    radius : float
        B.
    degree : int
        d, at least 1.

    Returns
    -------
    float
        Rounded up.

    Raises
    ------
    InvalidParameter
        If a move is larger than |W_i|/l, where the statement says nothing, or a number or a shape is out of range.
    """
    depth, b, d = positive_int("depth", len(weights)), positive("radius", radius), positive_int("degree", degree)
    own, shifts = [matrix("weight", w) for w in weights], [matrix("move", u) for u in moves]
    if [w.shape for w in own] != [u.shape for u in shifts]:
        raise InvalidParameter("moves must have the shapes of the weights.")
    norms = [float(np.linalg.norm(w, 2)) for w in own]
    steps = [float(np.linalg.norm(u, 2)) for u in shifts]
    for w, u in zip(norms, steps, strict=True):
        if not u <= w / depth:
            raise InvalidParameter(f"each move must have norm at most |W|/{depth} = {w / depth:g}, got {u:g}.")
    if min(norms) == 0.0:  # a layer of zeros, which cannot move: both outputs are 0
        return 0.0
    ratios = sum(Fraction(u) / Fraction(w) for w, u in zip(norms, steps, strict=True))
    return product_above(math.e, b, float(d) ** ((depth - 1) / 2.0), *norms, ratios)
