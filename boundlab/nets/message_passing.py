"""Message passing nets with shared weights, and how far a perturbation of their weights can move the output."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from boundlab._errors import InvalidParameter, positive, positive_int
from boundlab._theory import implements
from boundlab.nets.graphs import LOST, Graph, above, own_matrix, product_above, sizes_of_moves
from boundlab.nets.norms import frobenius_norm, spectral_norm

_UP = 1.0 + 1e-12


@dataclass(frozen=True, kw_only=True)
class LipschitzMap:
    """A map of a node's vector to one of the same length: |f(a) - f(b)| <= constant |a - b| (Euclidean), f(0) = 0.

    Parameters
    ----------
    name : str
    function : callable
        Array (nodes, h) -> array (nodes, h), row by row.
    constant : float
        Positive. It is believed: only f(0) = 0 is looked at, by the net that uses the map and knows h.

    Raises
    ------
    InvalidParameter
        If the constant is not positive.
    """

    name: str
    function: Callable[[np.ndarray], np.ndarray]
    constant: float = 1.0

    def __post_init__(self) -> None:
        positive("constant", self.constant)

    def require_zero_at_zero(self, width: int) -> None:
        """Raise InvalidParameter unless a row of `width` zeros is mapped to itself."""
        try:
            value = np.asarray(self.function(np.zeros((1, width))))
        except (ValueError, TypeError, IndexError) as error:
            raise InvalidParameter(f"a map must take arrays (nodes, {width}), {self.name} says: {error}.") from error
        if value.shape != (1, width) or np.any(value):
            raise InvalidParameter(f"a map must be 0 at 0 and keep the shape, got another value from {self.name}.")


def _relu(h: np.ndarray) -> np.ndarray:
    return np.maximum(h, 0.0)


def _same(h: np.ndarray) -> np.ndarray:
    return h


RELU = LipschitzMap(name="relu", function=_relu)
TANH = LipschitzMap(name="tanh", function=np.tanh)
IDENTITY = LipschitzMap(name="identity", function=_same)
KNOWN = (RELU, TANH, IDENTITY)  # their constants need no belief


@implements("liao2021_message_passing")
@dataclass(frozen=True, kw_only=True, eq=False)
class MessagePassing:
    """A message passing net: H_0 = 0, H_k = phi(X W_1 + rho(A g(H_{k-1})) W_2) for k < l, then mean(H_{l-1}) W_l.

    A sums over the neighbours of a node, itself not among them; the weights are the same at every step.

    Parameters
    ----------
    features : array (p, h)
        W_1, what a node makes of its own features. All matrices are copied.
    neighbours : array (h, h)
        W_2, what it makes of its neighbours' messages.
    readout : array (h, classes)
        W_l.
    steps : int
        l - 1 >= 1; the messages of the first step are 0.
    phi, rho, g : LipschitzMap
        The update, what is done to the summed messages, and the message.

    Raises
    ------
    InvalidParameter
        If a matrix is not finite, the shapes do not fit, steps is below 1, or a map is not 0 at 0.

    Notes
    -----
    The net of Garg, Jegelka and Jaakkola (2020) in the form of Liao, Urtasun and Zemel (2021), arXiv:2012.07690, as we
    understand the papers.

    Examples
    --------
    >>> one = np.ones((1, 1))
    >>> net = MessagePassing(features=one, neighbours=one, readout=np.array([[1.0, -1.0]]), steps=2)
    >>> net(Graph(adjacency=np.array([[0, 1], [1, 0]]), features=np.array([[1.0], [3.0]])))  # both nodes reach 4
    array([ 4., -4.])
    """

    features: np.ndarray
    neighbours: np.ndarray
    readout: np.ndarray
    steps: int
    phi: LipschitzMap = RELU
    rho: LipschitzMap = IDENTITY
    g: LipschitzMap = IDENTITY

    def __post_init__(self) -> None:
        own, other, top = (
            own_matrix(name, w)
            for name, w in (("features", self.features), ("neighbours", self.neighbours), ("readout", self.readout))
        )
        h = own.shape[1]
        if other.shape != (h, h) or len(top) != h:
            raise InvalidParameter(
                f"neighbours must be ({h}, {h}) and readout ({h}, classes), got {other.shape} and {top.shape}."
            )
        positive_int("steps", self.steps)
        for each in (self.phi, self.rho, self.g):
            each.require_zero_at_zero(h)
        object.__setattr__(self, "features", own)
        object.__setattr__(self, "neighbours", other)
        object.__setattr__(self, "readout", top)

    @property
    def matrices(self) -> tuple[np.ndarray, ...]:
        """W_1, W_2, W_l."""
        return self.features, self.neighbours, self.readout

    @property
    def width(self) -> int:
        """The largest layer size, the input's included."""
        return max(max(w.shape) for w in self.matrices)

    @cached_property
    def norms(self) -> tuple[float, ...]:
        """The spectral norms of W_1, W_2 and W_l, rounded up."""
        return tuple(spectral_norm(w) for w in self.matrices)

    @cached_property
    def frobenius(self) -> tuple[float, ...]:
        """The Frobenius norms of W_1, W_2 and W_l, rounded up."""
        return tuple(frobenius_norm(w) for w in self.matrices)

    @property
    def constants(self) -> tuple[float, float]:
        """C_phi, and C_phi C_rho C_g."""
        return self.phi.constant, self.phi.constant * self.rho.constant * self.g.constant

    def __call__(self, graph: Graph) -> np.ndarray:
        """One output per class for one graph: shape (classes,)."""
        if graph.features.shape[1] != len(self.features):
            raise InvalidParameter(
                f"a graph must have {len(self.features)} features per node, got {graph.features.shape[1]}."
            )
        own = graph.features @ self.features
        h = np.zeros_like(own)
        for _ in range(self.steps):
            heard = graph.adjacency @ self.g.function(h)
            h = self.phi.function(own + self.rho.function(heard) @ self.neighbours)
        return h.mean(axis=0) @ self.readout

    def deviation(self, moves: Sequence[float], radius: float, degree: int) -> float:
        """Return how far moves of spectral norms u_1, u_2, u_l can take the output, |W_l + U_l| D_{l-1} + u_l S_{l-1}.

            S_k = C_phi B |W_1| + d c |W_2| S_{k-1},
            D_k = C_phi B u_1 + d c ((|W_2| + u_2) D_{k-1} + u_2 S_{k-1}),    c = C_phi C_rho C_g, S_0 = D_0 = 0,

        on every graph whose node features have norm at most B and whose nodes have at most d
        neighbours. It is attained on a d-regular graph.

        Parameters
        ----------
        moves : sequence of 3 floats
            At least 0.
        radius : float
            B.
        degree : int
            d, at least 1; the node itself is no neighbour.

        Returns
        -------
        float
            In the Euclidean norm of the outputs, rounded up.

        Raises
        ------
        InvalidParameter
            If there are not three numbers at or above 0, or radius or degree is out of range.

        Notes
        -----
        ``proofs_checks/liao2021_message_passing.py``; `message_passing_perturbation` is the published form.
        """
        u, v, last = sizes_of_moves(moves, 3)
        b, d = positive("radius", radius), positive_int("degree", degree)
        own, other, top = self.norms
        update, pass_on = self.constants
        size = moved = LOST
        for _ in range(self.steps):
            moved = update * b * u + pass_on * d * ((other + v) * moved + v * size) + LOST
            size = update * b * own + pass_on * d * other * size + LOST
        return above((top + last) * moved + last * size + LOST)


@implements("liao2021_message_passing")
def message_passing_perturbation(net: MessagePassing, eta: float, radius: float, degree: int) -> float:
    """Return e B l eta |W_1| |W_l| xi with xi = C_phi ((d C)^(l-1) - 1)/(d C - 1), C = C_phi C_rho C_g |W_2|.

    The published bound on how far the output moves where each |U_i| <= eta |W_i| and eta <= 1/l; at d C = 1 the
    quotient is 0/0 as it is printed, and stands for l - 1.

    Parameters
    ----------
    net : MessagePassing
    eta : float
        In [0, 1/l].
    radius : float
        B, the largest norm of a node's features.
    degree : int
        d, the largest number of neighbours; the source counts the node with them, which is not needed.

    Returns
    -------
    float
        Rounded up, never below `MessagePassing.deviation` of the same moves.

    Raises
    ------
    InvalidParameter
        If eta is outside [0, 1/l], where the statement says nothing, or a number is out of range.
    """
    depth = net.steps + 1
    if not 0.0 <= eta <= 1.0 / depth:
        raise InvalidParameter(f"eta must be in [0, 1/{depth}], got eta={eta!r}.")
    own, _, top = net.norms
    return product_above(math.e * depth, eta, positive("radius", radius), own, top, published_reach(net, degree))


@implements("liao2021_message_passing")
def published_reach(net: MessagePassing, degree: int) -> float:
    """Return xi = C_phi (1 + d C + ... + (d C)^(l-2)), printed as C_phi ((d C)^(l-1) - 1)/(d C - 1); rounded up."""
    update, pass_on = net.constants
    q, total = positive_int("degree", degree) * pass_on * net.norms[1], 0.0
    for _ in range(net.steps):
        total = 1.0 + q * total
    return update * total * _UP
