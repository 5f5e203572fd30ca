"""Bounds for nets that classify graphs: a perturbation of the weights through PAC-Bayes, and their length in bits.

An example is a whole graph, drawn independently of the others. Nodes of a graph, and pieces of one graph, are no
independent examples: no bound here speaks of a classifier of nodes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from boundlab._errors import InvalidParameter, PremiseViolated, labels, positive, positive_int, probability
from boundlab._theory import implements
from boundlab.bounds.generalization_bound import telescope
from boundlab.bounds.norm_budgets import budget, budget_nats
from boundlab.bounds.occam import occam_binomial
from boundlab.bounds.pac_bayes import pac_bayes_kl
from boundlab.bounds.perturbation import perturbation_complexity
from boundlab.nets.graphs import Graph, GraphConvolution
from boundlab.nets.margin import margins
from boundlab.nets.message_passing import KNOWN, MessagePassing, published_reach
from boundlab.nets.norms import frobenius_norm
from boundlab.promises import Bound, Premise, Status

GraphNet: TypeAlias = GraphConvolution | MessagePassing
"""What a bound for graphs is asked about."""

_UP = 1.0 + 1e-12
_STEPS = 8  # points of a grid per factor of 2
_SCALES = 300 * _STEPS  # exponents of noise that are tried, in both directions

GRAPHS = Premise(
    text="the n examples are whole graphs, i.i.d. from the distribution whose risk is bounded",
    status=Status.ASSUMED,
    evidence="a property of how the graphs were collected: nodes or pieces of one graph are no examples",
)


@dataclass(frozen=True, kw_only=True)
class GraphDomain:
    """Graphs whose node features have norm at most `radius` and whose nodes have at most `degree` neighbours.

    Parameters
    ----------
    radius : float
        Finite and positive.
    degree : int
        At least 1; a node is not its own neighbour.

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
        return graph.radius <= self.radius and graph.degree <= self.degree


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
def graph_pac_bayes(
    net: GraphNet,
    graphs: Sequence[Graph],
    y: Sequence[int] | np.ndarray,
    delta: float = 0.05,
    *,
    domain: GraphDomain | None = None,
    gamma: float | None = None,
) -> Bound:
    """Bound the risk of a net on graphs from its margins on n graphs and the noise that its weights bear.

        R_0 <= kl^-1( r_gamma, (KL + ln 2 + grids + ln(xi(n)/delta))/n ),    KL = sum |W_i|_F²/(2 s_i²),

    where noise of standard deviation s_i on W_i moves the outputs of every graph of the domain by at most
    gamma/(2 sqrt 2) with probability at least 1/2, and r_gamma is the share of the n graphs that lie outside the
    domain or have a margin of at most gamma. A graph outside the domain counts as an error on both sides, so that
    nothing is assumed of the graphs to come. All s_i, and gamma and the domain unless given, are powers of 2^(1/8),
    or a whole number of neighbours, and are paid under priors on all integers.

    Parameters
    ----------
    net : GraphConvolution or MessagePassing
    graphs : sequence of n Graph, n >= 2
        Those the net was trained on, or any others.
    y : array (n,)
        One label per graph, 0..classes-1.
    delta : float
        In (0, 1).
    domain : GraphDomain, optional
        Fixed before the graphs were seen; None takes the smallest of the grid that holds them all, and pays.
    gamma : float, optional
        The margin, fixed before the graphs were seen; None takes the best of the grid, and pays.

    Returns
    -------
    Bound
        Of the net as it is. ``facts["published"]`` is the published form with its constants, at its best margin of
        the grid, with the radius and degree of these graphs as if they were the domain's and no price for the margin.

    Raises
    ------
    InvalidParameter
        If an argument is out of its range.
    PremiseViolated
        If there is a single graph or a label per node: nodes are not independent.

    Notes
    -----
    Liao, Urtasun and Zemel (2021), arXiv:2012.07690, the theorems for GCN and MPGNN, as we understand the paper;
    constants ours, ``proofs_checks/liao2021_graph_pac_bayes.py``.
    """
    outputs, truth = _evidence(net, graphs, y)
    n, delta = len(truth), probability("delta", delta)
    region, domain_nats = (domain, 0.0) if domain is not None else smallest_domain(net, graphs)
    inside = np.array([graph in region for graph in graphs])
    margin = np.where(inside, margins(outputs, truth), -math.inf)
    if gamma is None:
        grid = [(2.0 ** (k / _STEPS), budget_nats(k)) for k in _exponents(margin)]
    else:
        grid = [(positive("gamma", gamma), 0.0)]
    found = []
    for level, gamma_nats in grid:
        errors = int(np.count_nonzero(margin <= level * _UP))
        exponents = largest_noise(net, level / (2.0 * math.sqrt(2.0)) / _UP, region)
        divergence = _divergence(net, exponents)
        paid = (gamma_nats + domain_nats + sum(map(budget_nats, exponents)) + symmetric_noise_nats(0.5)) * _UP
        value = pac_bayes_kl(errors / n, (divergence + paid) * _UP, n, delta)
        found.append((value, divergence, paid, errors, level))
    value, divergence, paid, errors, level = min(found)
    levels = (errors / n, pac_bayes_kl(errors / n, 0.0, n, delta), pac_bayes_kl(errors / n, paid, n, delta), value)
    return Bound(
        name=f"PAC-Bayes, {_kind(net)}",
        terms=telescope(("margin risk", "confidence", "grids", "divergence"), levels),
        delta=delta,
        theorem="liao2021_graph_pac_bayes",
        chance=1.0 - 1.0 / outputs.shape[1],
        premises=(GRAPHS, *_premises(net, domain, gamma)),
        facts={
            "n": n,
            "gamma": level,
            "margin_errors": errors,
            "outside_domain": int(np.count_nonzero(~inside)),
            "divergence": divergence,
            "grid_nats": paid,
            "radius": region.radius,
            "degree": region.degree,
            "published": _published(net, graphs, margins(outputs, truth), [level for level, _ in grid], delta),
        },
    )


@implements("liao2021_graph_perturbation", "liao2021_message_passing")
def published_graph_bound(
    net: GraphNet, graphs: Sequence[Graph], y: Sequence[int] | np.ndarray, gamma: float, delta: float
) -> float:
    """Return r_gamma + sqrt((2 KL + ln(8 n N/delta))/(2 (n - 1))), the published form with its constants derived.

    For a graph convolution net `perturbation_complexity` with B d^((l-1)/2) for B. For message passing, with
    zeta = min |W_i|, lambda = |W_1| |W_l|, xi of `published_reach` and N = (l + 2) n^(1/(2l)),

        KL = (42² e²/2) B² l² max(1/zeta^(l+1), (lambda xi)^((l+1)/l))² h ln(4 l h) sum |W_i|_F² / gamma².

    B and d - 1 are the largest norm of a node's features and number of neighbours in these graphs, as if no graph had
    more: a bound only under that premise and for a gamma fixed before. Parameters and errors as in `graph_pac_bayes`;
    may exceed 1, and is inf where a matrix is 0.
    """
    outputs, truth = _evidence(net, graphs, y)
    return _published(net, graphs, margins(outputs, truth), [positive("gamma", gamma)], probability("delta", delta))


def _published(
    net: GraphNet, graphs: Sequence[Graph], margin: np.ndarray, gammas: Sequence[float], delta: float
) -> float:
    """The smallest value of the published form at the given margins."""
    n, radius, degree = len(margin), max(g.radius for g in graphs), max(g.degree for g in graphs) + 1
    spectral, frobenius = net.norms, [frobenius_norm(w) for w in net.matrices]
    if min(spectral) == 0.0 or radius == 0.0:
        return math.inf

    def complexity(gamma: float) -> float:
        if isinstance(net, GraphConvolution):
            reach = radius * degree ** ((len(spectral) - 1) / 2.0)
            return perturbation_complexity(spectral, frobenius, reach, net.width, gamma, n, delta)
        depth, h = net.steps + 1, net.width
        beta = max(1.0 / min(spectral), (spectral[0] * spectral[2] * published_reach(net, degree)) ** (1.0 / depth))
        scale = 42.0 * math.e * depth * radius * beta ** (depth + 1) / gamma
        kl = 0.5 * scale**2 * h * math.log(4.0 * depth * h) * sum(f * f for f in frobenius)
        cover = math.log(depth + 2.0) + math.log(n) / (2.0 * depth)
        log_term = math.log(8.0 * n) + cover - math.log(delta)
        return math.sqrt((2.0 * kl + log_term) / (2.0 * (n - 1)))

    return min(float(np.count_nonzero(margin <= gamma)) / n + complexity(gamma) for gamma in gammas) * _UP


@implements("liao2021_graph_pac_bayes")
def coded_graph_net(net: GraphNet, bits: int) -> tuple[GraphNet, float]:
    """Return the net with every weight on a grid of 2^bits - 1 numbers, and its length in nats, rounded up.

    Each matrix becomes 2^e z with whole numbers |z| < 2^(bits-1); its e has the smallest squared error of four, and
    costs `budget_nats(e)`; each z costs ln(2^bits - 1). Shapes, steps and maps are not coded.

    Parameters
    ----------
    net : GraphConvolution or MessagePassing
    bits : int
        At least 2; 2 is the ternary grid -1, 0, 1.

    Raises
    ------
    InvalidParameter
        If bits is not a whole number in 2..32.

    Examples
    --------
    >>> net = GraphConvolution(matrices=(np.array([[0.9, -0.1]]), np.array([[1.0], [0.6]])))
    >>> coded, nats = coded_graph_net(net, 2)
    >>> coded.matrices[0], round(nats, 3)
    (array([[ 1., -0.]]), 6.592)
    """
    if not 2 <= positive_int("bits", bits) <= 32:
        raise InvalidParameter(f"bits must be in 2..32, got bits={bits!r}.")
    top = 2 ** (bits - 1) - 1
    rounded, nats = [], 0.0
    for w in net.matrices:
        largest = float(np.abs(w).max())
        start = math.frexp(largest / top)[1] if largest else 0  # 2^start top >= the largest entry
        candidates = [(e, np.clip(np.rint(w / 2.0**e), -top, top) * 2.0**e) for e in range(start - 3, start + 1)]
        e, coded = min(candidates, key=lambda pair: float(((pair[1] - w) ** 2).sum()))
        rounded.append(coded)
        nats += w.size * math.log(2.0 * top + 1.0) + budget_nats(e)
    if isinstance(net, GraphConvolution):
        return GraphConvolution(matrices=tuple(rounded)), nats * _UP
    own, other, readout = rounded
    return replace(net, features=own, neighbours=other, readout=readout), nats * _UP


@implements("liao2021_graph_pac_bayes", "langford2005_occam_forms")
def graph_occam(
    net: GraphNet,
    graphs: Sequence[Graph],
    y: Sequence[int] | np.ndarray,
    delta: float = 0.05,
    *,
    bits: Sequence[int] = (2, 3, 4, 5, 6, 8),
) -> Bound:
    """Bound the risk of the net rounded to a grid, R <= Bin+(k, n, delta e^-nats), from its k errors on n graphs.

    The net certified is ``coded_graph_net(net, b)[0]``, b = ``facts["bits_per_weight"]`` the best of `bits`; the
    choice is paid with ln(len(bits)). Needs no radius, no degree and no margin.

    Parameters
    ----------
    net, graphs, y, delta : as in `graph_pac_bayes`
    bits : sequence of distinct whole numbers in 2..32, fixed before the data

    Returns
    -------
    Bound

    Raises
    ------
    InvalidParameter, PremiseViolated
        As in `graph_pac_bayes`; bits must not be empty or name a number twice.

    Notes
    -----
    Langford (JMLR 6, 2005), as we understand the paper; ``langford2005_occam_forms``. That the code is a prior is
    proved in ``liao2021_graph_pac_bayes``.
    """
    if not bits or len(set(bits)) != len(bits):
        raise InvalidParameter(f"bits must hold at least one number and none twice, got {bits!r}.")
    log_inverse = -math.log(probability("delta", delta))
    found = []
    for b in bits:
        coded, length = coded_graph_net(net, b)
        outputs, truth = _evidence(coded, graphs, y)
        errors = int(np.count_nonzero(margins(outputs, truth) <= 0.0))
        total = (length + math.log(len(bits)) + log_inverse) * _UP
        found.append((occam_binomial(errors, len(truth), total), total, b, errors))
    value, total, b, errors = min(found)
    n = len(y)
    levels = (errors / n, occam_binomial(errors, n, log_inverse * _UP), value)
    return Bound(
        name=f"Occam, {_kind(net)}",
        terms=telescope(("empirical risk", "confidence", "weights"), levels),
        delta=delta,
        theorem="langford2005_occam_forms",
        chance=1.0 - 1.0 / net.matrices[-1].shape[1],
        premises=(
            GRAPHS,
            Premise(
                text="the code is fixed before the graphs, and its lengths satisfy Kraft's inequality",
                status=Status.CHECKED,
                evidence="by construction: uniform given the exponents, whose prior adds up to 1",
            ),
            _ARCHITECTURE,
        ),
        facts={"n": n, "errors": errors, "bits_per_weight": b, "bits": (total - log_inverse) / math.log(2.0)},
    )


_ARCHITECTURE = Premise(
    text="the shapes, the number of steps and the maps of the net are fixed before the graphs",
    status=Status.ASSUMED,
    evidence="they are not coded; one chosen among M by looking at the data needs delta / M",
)


def _premises(net: GraphNet, domain: GraphDomain | None, gamma: float | None) -> list[Premise]:
    own = [_ARCHITECTURE]
    if domain is not None or gamma is not None:
        own.append(
            Premise(
                text="the given domain or margin was fixed before the graphs were seen",
                status=Status.ASSUMED,
                evidence="stated by the caller; without it, one of a grid is taken and paid",
            )
        )
    if isinstance(net, MessagePassing) and any(f not in KNOWN for f in (net.phi, net.rho, net.g)):
        own.append(
            Premise(
                text="phi, rho and g have the stated Lipschitz constants",
                status=Status.ASSUMED,
                evidence="stated by the caller; that they are 0 at 0 was looked at",
            )
        )
    return own


def _kind(net: GraphNet) -> str:
    return "graph convolution" if isinstance(net, GraphConvolution) else "message passing"


def _evidence(net: GraphNet, graphs: Sequence[Graph], y: Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Outputs, shape (graphs, classes), and labels of at least two graphs."""
    if not isinstance(net, (GraphConvolution, MessagePassing)):
        raise InvalidParameter(f"net must be a GraphConvolution or MessagePassing, got {type(net).__name__}.")
    if not graphs or not all(isinstance(g, Graph) for g in graphs):
        raise InvalidParameter("graphs must be a sequence of Graph, got something else or none.")
    nodes = sum(len(g.features) for g in graphs)
    if len(graphs) == 1 or np.shape(y) == (nodes,) != (len(graphs),):
        raise PremiseViolated(
            f"an example must be a whole graph: nodes of a graph are not independent, got {np.size(y)} labels for "
            f"{len(graphs)} graphs of {nodes} nodes."
        )
    outputs = np.stack([net(g) for g in graphs])
    if outputs.shape[1] < 2 or not np.isfinite(outputs).all():
        raise InvalidParameter(f"a net must have at least 2 outputs, all finite, got shape {outputs.shape}.")
    return outputs, labels("y", y, points=len(graphs), classes=outputs.shape[1], present=1)


@implements("liao2021_graph_pac_bayes")
def smallest_domain(net: GraphNet, graphs: Sequence[Graph]) -> tuple[GraphDomain, float]:
    """The smallest domain of the grid that holds the graphs, and its price in nats."""
    radius, degree = max(g.radius for g in graphs), max(1, *(g.degree for g in graphs))
    bound, nats = budget(max(radius, 2.0**-300), _STEPS)
    if isinstance(net, MessagePassing):  # the other bound is the same for every degree
        nats += math.log(degree * (degree + 1.0))
    return GraphDomain(radius=bound, degree=degree), nats * _UP


def _exponents(margin: np.ndarray) -> range:
    """Exponents of the margins worth trying: from the largest one down by 20 octaves."""
    largest = float(margin.max())
    top = math.floor(_STEPS * math.log2(largest)) if largest > 0.0 else 0
    return range(top, top - 20 * _STEPS, -1)


@implements("liao2021_graph_pac_bayes")
def largest_noise(net: GraphNet, reach: float, domain: GraphDomain) -> list[int]:
    """Exponents k_i, s_i = 2^(k_i/8), of noise that moves no output by more than `reach` with probability 1/2.

    |U_i| <= s_i (sqrt rows + sqrt columns + sqrt(2 ln(2 L))) for all L matrices. The s_i stand to one another as is
    best while the deviation is linear in them; any others would be as right.
    """
    spread = noise_spread(net)
    norms = [frobenius_norm(w) for w in net.matrices]
    frobenius = [max(f, 1e-9 * (max(norms) or 1.0)) for f in norms]
    slopes = [
        net.deviation([1e-9 * f if i == j else 0.0 for j in range(len(frobenius))], domain.radius, domain.degree) / f
        for i, f in enumerate(frobenius)
    ]
    shape = [
        (2.0 * math.log2(f) - math.log2(max(slope, 1e-9 * (max(slopes) or 1.0)) * r)) / 3.0
        for f, slope, r in zip(frobenius, slopes, spread, strict=True)
    ]

    def exponents(k: int) -> list[int]:
        return [math.floor(_STEPS * x) + k for x in shape]

    def fits(k: int) -> bool:
        moves = [2.0 ** (e / _STEPS) * r for e, r in zip(exponents(k), spread, strict=True)]
        return net.deviation(moves, domain.radius, domain.degree) <= reach

    low, high = -_SCALES, _SCALES
    if not fits(low):
        raise PremiseViolated(f"the weights must bear some noise, got none that moves the outputs by {reach:g} only.")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return exponents(low)


@implements("liao2021_graph_pac_bayes")
def noise_spread(net: GraphNet) -> list[float]:
    """Norms that matrices of standard Gaussians keep, all of them, with probability at least 1/2."""
    t = math.sqrt(2.0 * math.log(2.0 * len(net.matrices)))
    return [(math.sqrt(w.shape[0]) + math.sqrt(w.shape[1]) + t) * _UP for w in net.matrices]


def _divergence(net: GraphNet, exponents: Sequence[int]) -> float:
    """The divergence sum |W_i|_F²/(2 s_i²); rounded up, inf where it is no float."""
    parts = [0.5 * (frobenius_norm(w) / 2.0 ** (e / _STEPS)) ** 2 for w, e in zip(net.matrices, exponents, strict=True)]
    return math.fsum(parts) * _UP
