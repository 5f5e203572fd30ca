"""The noise that the weights of a net on graphs bear: what it moves, and what the divergence of it costs."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scipy.special import gammainccinv

from boundlab._errors import probability
from boundlab._theory import implements
from boundlab.bounds.norm_budgets import budget
from boundlab.nets.graph_margins import GraphNet
from boundlab.nets.graphs import Graph, GraphDomain
from boundlab.nets.message_passing import MessagePassing

_UP = 1.0 + 1e-12
STEPS = 8
"""Points of a grid per factor of 2."""
_LARGEST = 1_000 * STEPS  # exponents of the grid: from 2^-1000 to 2^1000


@implements("liao2021_graph_pac_bayes")
def symmetric_noise_nats(mass: float) -> float:
    """Return ln(1/mass): what it costs to keep Gaussian noise inside a symmetric set of at least that mass.

    KL(Q_A || P) = KL(Q || P) + ln(1/Q(A)) for P = N(0, s²), Q = N(w, s²) and A = w + S with S = -S. For an A that is
    not symmetric around w it may be up to (KL(Q || P) + H(Q(A)))/Q(A), the 2 KL + 2 ln 2 of the sources at mass 1/2.

    Raises
    ------
    InvalidParameter
        If the mass is not in (0, 1).
    """
    return -math.log(probability("mass", mass)) * _UP


@implements("liao2021_graph_pac_bayes")
def smallest_domain(net: GraphNet, graphs: Sequence[Graph]) -> tuple[GraphDomain, float]:
    """The smallest domain of the grid that holds the graphs, and its price in nats."""
    radius, degree = max(g.radius for g in graphs), max(1, *(g.degree for g in graphs))
    bound, nats = budget(max(radius, 2.0**-1000), STEPS)
    if isinstance(net, MessagePassing):  # the other bound is the same for every degree
        nats += math.log(degree * (degree + 1.0))
    return GraphDomain(radius=bound, degree=degree), nats * _UP


@implements("liao2021_graph_pac_bayes")
def noise_spread(net: GraphNet) -> list[float]:
    """Norms that matrices of standard Gaussians keep, all L of them, with probability at least 1/2.

    The smaller of sqrt rows + sqrt columns + sqrt(2 ln(2 L)) and the quantile at 1 - 1/(2 L) of the Frobenius norm,
    whose square is a chi-squared variable with rows x columns degrees of freedom.
    """
    count = len(net.matrices)
    t = math.sqrt(2.0 * math.log(2.0 * count))
    found = []
    for rows, columns in (w.shape for w in net.matrices):
        # a relative 1e-9: far beyond the error of the incomplete gamma function
        frobenius = math.sqrt(2.0 * float(gammainccinv(0.5 * rows * columns, 0.5 / count)) * (1.0 + 1e-9))
        found.append(min(math.sqrt(rows) + math.sqrt(columns) + t, frobenius) * _UP)
    return found


@implements("liao2021_graph_pac_bayes")
def largest_noise(net: GraphNet, reach: float, domain: GraphDomain) -> list[int] | None:
    """Exponents k_i, s_i = 2^(k_i/8), of noise that moves no output by more than `reach` with probability 1/2.

    |U_i| <= s_i r_i for all matrices, r_i of `noise_spread`. The s_i stand to one another as is best while the
    deviation is linear in them; any others would be as right. None where the smallest noise of the grid moves more.
    """
    spread, largest = noise_spread(net), max(net.frobenius)
    frobenius = [min(f or 1e-9 * (largest or 1.0), 2.0**1000) for f in net.frobenius]  # 0 bears whatever it is given
    shape = []
    for i, (f, r) in enumerate(zip(frobenius, spread, strict=True)):
        alone = [1e-9 * f if i == j else 0.0 for j in range(len(frobenius))]
        slope = net.deviation(alone, domain.radius, domain.degree) / f
        shape.append((2.0 * math.log2(f) - math.log2(min(max(slope, 2.0**-1000), 2.0**1000) * r)) / 3.0)

    def exponents(k: int) -> list[int]:
        return [min(max(math.floor(STEPS * x) + k, -_LARGEST), _LARGEST) for x in shape]

    def fits(k: int) -> bool:
        moves = [2.0 ** (e / STEPS) * r for e, r in zip(exponents(k), spread, strict=True)]
        return net.deviation(moves, domain.radius, domain.degree) <= reach

    low, high = -2 * _LARGEST, 2 * _LARGEST
    if not fits(low):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return exponents(low)


@implements("liao2021_graph_pac_bayes")
def noise_divergence(net: GraphNet, exponents: Sequence[int]) -> float:
    """KL(Q_A || P) <= sum |W_i|_F²/(2 s_i²) + ln 2, the price of keeping the noise in a symmetric set A of mass 1/2.

    Rounded up; inf where it is no float.
    """
    ratios = [f / 2.0 ** (e / STEPS) for f, e in zip(net.frobenius, exponents, strict=True)]
    return (math.fsum(0.5 * ratio * ratio for ratio in ratios) + symmetric_noise_nats(0.5)) * _UP
