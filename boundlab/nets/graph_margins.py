"""Margins of nets on graphs that hold in exact arithmetic: the computed ones, less what rounding may have added."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from boundlab._errors import InvalidParameter
from boundlab._theory import implements
from boundlab.nets.graphs import LOST, Graph, GraphConvolution
from boundlab.nets.margin import margins
from boundlab.nets.message_passing import MessagePassing

GraphNet: TypeAlias = GraphConvolution | MessagePassing
"""What a bound for graphs is asked about."""

_UP = 1.0 + 1e-12
_LARGEST = 2.0**900  # of what a net may compute on its way, so that no sum overflows unseen


@implements("boundlab_graph_rounding")
def rounding(net: GraphNet, graph: Graph) -> float:
    """Return how far the outputs for one graph may be from those in exact arithmetic: in the Euclidean norm.

        deviation(u_i = K |W_i|_F),    K = 1.01 (nodes + width + 100) 2^-53:

    a product of a row with a matrix in floats is one with a matrix that has been moved by that much. Sums may be in any
    order, with or without fused operations; the maps of a message passing net are computed to 16 units in the last
    place of the bound C |a| on their value.

    Returns
    -------
    float
        Rounded up; inf where a number on the way may have left the range of floats.

    Examples
    --------
    >>> net = GraphConvolution(matrices=(np.eye(2),))
    >>> graph = Graph(adjacency=1.0 - np.eye(3), features=np.array([[0.1, 0.3], [0.2, 0.2], [0.3, 0.1]]))
    >>> float(np.ptp(net(graph))) <= 2 * rounding(net, graph) < 1e-13  # the outputs are 1/5 both: a tie
    True
    """
    nodes, degree, radius = len(graph.features), max(1, graph.degree), max(graph.radius, LOST)
    if math.inf in (radius, *net.frobenius):
        return math.inf
    if not net.deviation([max(1.0, f) for f in net.frobenius], radius, degree) <= _LARGEST / nodes:
        return math.inf
    unit = 1.01 * (nodes + net.width + 100) * 2.0**-53
    return net.deviation([unit * f for f in net.frobenius], radius, degree)


@implements("boundlab_graph_rounding")
def graph_margins(net: GraphNet, graphs: Sequence[Graph], y: np.ndarray) -> np.ndarray:
    """Return numbers that the margins in exact arithmetic are not below: those of the outputs less sqrt(2) `rounding`.

    Parameters
    ----------
    net : GraphConvolution or MessagePassing
    graphs : sequence of n Graph
    y : array (n,), labels

    Returns
    -------
    array (n,)
        At most 0 wherever there is a tie in exact arithmetic; -inf where nothing is known.

    Raises
    ------
    InvalidParameter
        If an output is not finite or a label does not fit.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused, or allowed for
        outputs = np.stack([net(g) for g in graphs])
    if not np.isfinite(outputs).all():
        raise InvalidParameter("the outputs of a net must be finite, got NaN or infinite ones.")
    allowance = np.array([rounding(net, g) for g in graphs])
    return margins(outputs, y) - math.sqrt(2.0) * allowance * _UP
