"""Graph convolution nets on one graph, and how far a perturbation of their weights can move the output."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from boundlab._errors import InvalidParameter, positive, positive_int
from boundlab._theory import implements


@implements("liao2021_graph_perturbation")
def gcn_output(adjacency: np.ndarray, features: np.ndarray, weights: Sequence[np.ndarray]) -> np.ndarray:
    """Return the readout of a graph convolution net: H_i = ReLU(L H_{i-1} W_i) for i < l, then mean(H_{l-1}) W_l.

    L = D^(-1/2) (A + I) D^(-1/2) with the degrees D of A + I.

    Parameters
    ----------
    adjacency : array (nodes, nodes), symmetric, of zeros and ones, no loops
    features : array (nodes, p)
    weights : l matrices; W_i is (in, out)

    Returns
    -------
    array (out,)

    Raises
    ------
    InvalidParameter
        If the adjacency is not symmetric or has loops.
    """
    a = np.asarray(adjacency, np.float64)
    if a.ndim != 2 or not np.array_equal(a, a.T) or np.any(np.diag(a)) or not np.all((a == 0) | (a == 1)):
        raise InvalidParameter(f"adjacency must be symmetric, of zeros and ones, without loops, got shape {a.shape}.")
    loops = a + np.eye(len(a))
    root = 1.0 / np.sqrt(loops.sum(axis=1))
    spread, h = root[:, None] * loops * root[None, :], np.asarray(features, np.float64)
    for w in weights[:-1]:
        h = np.maximum(spread @ h @ np.asarray(w), 0.0)
    return h.mean(axis=0) @ np.asarray(weights[-1])


@implements("liao2021_graph_perturbation")
def gcn_perturbation(weights: Sequence[np.ndarray], moves: Sequence[np.ndarray], radius: float, degree: int) -> float:
    """Return e B d^((l-1)/2) prod |W_i| sum |U_i|/|W_i|: how far the output can move when W becomes W + U.

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
    if [np.shape(w) for w in weights] != [np.shape(u) for u in moves]:
        raise InvalidParameter("moves must have the shapes of the weights.")
    norms = [float(np.linalg.norm(w, 2)) for w in weights]
    steps = [float(np.linalg.norm(u, 2)) for u in moves]
    for w, u in zip(norms, steps, strict=True):
        if not u <= w / depth:
            raise InvalidParameter(f"each move must have norm at most |W|/{depth} = {w / depth:g}, got {u:g}.")
    if min(norms) == 0.0:  # a layer of zeros, which cannot move: both outputs are 0
        return 0.0
    product = math.prod(norms) * sum(u / w for w, u in zip(norms, steps, strict=True))
    return math.e * b * float(d) ** ((depth - 1) / 2.0) * product * (1.0 + 1e-12)
