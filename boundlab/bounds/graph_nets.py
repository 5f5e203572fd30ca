"""Bounds for nets that classify graphs: a perturbation of the weights through PAC-Bayes, and their length in bits.

An example is a whole graph, drawn independently of the others. Nodes of a graph, and pieces of one graph, are no
independent examples: no bound here speaks of a classifier of nodes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from boundlab._errors import InvalidParameter, PremiseViolated, labels, positive, positive_int, probability
from boundlab._theory import implements
from boundlab.bounds.generalization_bound import chance, telescope
from boundlab.bounds.graph_noise import STEPS, largest_noise, noise_divergence, smallest_domain
from boundlab.bounds.norm_budgets import budget_nats
from boundlab.bounds.occam import occam_binomial
from boundlab.bounds.pac_bayes import pac_bayes_kl
from boundlab.bounds.perturbation import perturbation_complexity
from boundlab.nets.graph_margins import GraphNet, graph_margins
from boundlab.nets.graphs import Graph, GraphConvolution, GraphDomain, product_above
from boundlab.nets.message_passing import KNOWN, MessagePassing, published_reach
from boundlab.promises import Bound, Premise, Status

_UP = 1.0 + 1e-12
BITS = (2, 3, 4, 5, 6, 8)
"""Bits per weight that are tried unless others are given."""

GRAPHS = Premise(
    text="the n examples are whole graphs, i.i.d. from the distribution whose risk is bounded",
    status=Status.ASSUMED,
    evidence="a property of how the graphs were collected: nodes or pieces of one graph are no examples",
)
_ARCHITECTURE = Premise(
    text="the shapes, the number of steps and the maps of the net are fixed before the graphs",
    status=Status.ASSUMED,
    evidence="they are not coded; one chosen among M by looking at the data needs delta / M",
)
_FLOATS = Premise(
    text="floats are IEEE doubles, rounded to nearest, and sums of products are sums in some order",
    status=Status.ASSUMED,
    evidence="a property of the machine: no fast matrix product, no number flushed to 0; each margin is lowered by a "
    "bound on its rounding, so that the risk is that of the net in exact arithmetic",
)


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
    domain or whose margin in exact arithmetic is not surely above gamma. A graph outside the domain counts as an error
    on both sides, so that nothing is assumed of the graphs to come. All s_i, and gamma and the domain unless given, are
    powers of 2^(1/8), or a whole number of neighbours, and are paid under priors on all integers.

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
        Of the net as it is; 1 where it bears no noise at any margin. ``facts["divergence"]`` is KL + ln 2,
        ``facts["grid_nats"]`` what the grids cost, and ``facts["published"]`` the published form with its constants, at
        its best margin of the grid, with the radius and degree of these graphs as if they were the domain's and no
        price for the margin.

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
    graphs, truth = _examples(net, graphs, y)
    n, delta = len(truth), probability("delta", delta)
    if domain is not None and not isinstance(domain, GraphDomain):
        raise InvalidParameter(f"domain must be a GraphDomain, got {type(domain).__name__}.")
    region, domain_nats = (domain, 0.0) if domain is not None else smallest_domain(net, graphs)
    if isinstance(net, GraphConvolution):  # its deviation is the same for every degree
        inside = np.array([graph.within(region.radius) for graph in graphs])
    else:
        inside = np.array([graph in region for graph in graphs])
    certain = graph_margins(net, graphs, truth)
    margin = np.where(inside, certain, -math.inf)
    if gamma is None:
        grid = [(2.0 ** (k / STEPS), budget_nats(k)) for k in _exponents(margin)]
    else:
        grid = [(positive("gamma", gamma), 0.0)]
    found = []
    for level, gamma_nats in grid:
        errors = int(np.count_nonzero(margin <= level * _UP))
        exponents = largest_noise(net, level / (2.0 * math.sqrt(2.0)) / _UP, region)
        divergence = math.inf if exponents is None else noise_divergence(net, exponents)
        paid = (gamma_nats + domain_nats + sum(map(budget_nats, exponents or ()))) * _UP
        value = pac_bayes_kl(errors / n, (divergence + paid) * _UP, n, delta)
        found.append((value, divergence, paid, errors, level))
    value, divergence, paid, errors, level = min(found)
    levels = (errors / n, pac_bayes_kl(errors / n, 0.0, n, delta), pac_bayes_kl(errors / n, paid, n, delta), value)
    return Bound(
        name=f"PAC-Bayes, {_kind(net)}",
        terms=telescope(("margin risk", "confidence", "grids", "divergence"), levels),
        delta=delta,
        theorem="liao2021_graph_pac_bayes",
        chance=chance(truth),
        premises=(GRAPHS, *_premises(net), *_given("domain or margin", domain is not None or gamma is not None)),
        facts={
            "n": n,
            "gamma": level,
            "margin_errors": errors,
            "outside_domain": int(np.count_nonzero(~inside)),
            "divergence": divergence,
            "grid_nats": paid,
            "radius": region.radius,
            "degree": region.degree,
            "published": _published(net, graphs, certain, [level for level, _ in grid], delta),
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
    may exceed 1, and is inf where a matrix is 0 or a power of norms is no float.
    """
    graphs, truth = _examples(net, graphs, y)
    margin = graph_margins(net, graphs, truth)
    return _published(net, graphs, margin, [positive("gamma", gamma)], probability("delta", delta))


def _published(
    net: GraphNet, graphs: Sequence[Graph], margin: np.ndarray, gammas: Sequence[float], delta: float
) -> float:
    """The smallest value of the published form at the given margins."""
    n, radius, degree = len(margin), max(g.radius for g in graphs), max(g.degree for g in graphs) + 1
    spectral, frobenius = net.norms, net.frobenius
    if 0.0 in (*spectral, radius) or math.inf in (*spectral, *frobenius):
        return math.inf

    def complexity(gamma: float) -> float:
        if isinstance(net, GraphConvolution):
            reach = radius * degree ** ((len(spectral) - 1) / 2.0)
            return perturbation_complexity(spectral, frobenius, reach, net.width, gamma, n, delta)
        depth, h = net.steps + 1, net.width
        passed = product_above(spectral[0], spectral[2], published_reach(net, degree))
        beta = max(1.0 / min(spectral), passed ** (1.0 / depth))
        scale = 42.0 * math.e * depth * radius * beta ** (depth + 1) / gamma
        kl = 0.5 * h * math.log(4.0 * depth * h) * sum((scale * f) ** 2 for f in frobenius)
        cover = math.log(depth + 2.0) + math.log(n) / (2.0 * depth)
        log_term = math.log(8.0 * n) + cover - math.log(delta)
        return math.sqrt((2.0 * kl + log_term) / (2.0 * (n - 1)))

    def value(gamma: float) -> float:
        try:
            with np.errstate(over="ignore"):
                return float(np.count_nonzero(margin <= gamma)) / n + complexity(gamma)
        except OverflowError:  # a power beyond the largest float
            return math.inf

    return min(map(value, gammas)) * _UP


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
        mantissa, scale = math.frexp(float(np.abs(w).max()))
        unit = np.ldexp(w, -scale)  # between -1 and 1
        start = math.frexp(mantissa / top)[1] if mantissa else 0  # 2^start top >= the largest entry
        exponents = {min(max(scale + start - k, -1074), 1025 - bits) for k in range(4)}  # 2^e top is a float
        candidates = [(e, np.clip(np.rint(np.ldexp(unit, scale - e)), -top, top)) for e in sorted(exponents)]
        e, z = min(candidates, key=lambda pair: float(((np.ldexp(pair[1], pair[0] - scale) - unit) ** 2).sum()))
        rounded.append(np.ldexp(z, e))
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
    bits: Sequence[int] = BITS,
) -> Bound:
    """Bound the risk of the net rounded to a grid, R <= Bin+(k, n, delta e^-nats), from its k errors on n graphs.

    The net certified is ``coded_graph_net(net, b)[0]``, b = ``facts["bits_per_weight"]`` the best of `bits`, in exact
    arithmetic: a graph counts as an error unless its margin is surely above 0, which a tie is not, in whatever order
    its nodes come. The choice of b is paid with ln(len(bits)). Needs no radius, no degree and no margin.

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
    graphs, truth = _examples(net, graphs, y)
    try:
        tried = tuple(positive_int("bits", b) for b in bits)
    except TypeError:
        raise InvalidParameter(f"bits must be a sequence of whole numbers, got {bits!r}.") from None
    if not tried or len(set(tried)) != len(tried):
        raise InvalidParameter(f"bits must hold at least one number and none twice, got {bits!r}.")
    n, log_inverse = len(truth), -math.log(probability("delta", delta))
    found = []
    for b in tried:
        coded, length = coded_graph_net(net, b)
        errors = int(np.count_nonzero(graph_margins(coded, graphs, truth) <= 0.0))
        total = (length + math.log(len(tried)) + log_inverse) * _UP
        found.append((occam_binomial(errors, n, total), total, b, errors))
    value, total, b, errors = min(found)
    levels = (errors / n, occam_binomial(errors, n, log_inverse * _UP), value)
    return Bound(
        name=f"Occam, {_kind(net)}",
        terms=telescope(("empirical risk", "confidence", "weights"), levels),
        delta=delta,
        theorem="langford2005_occam_forms",
        chance=chance(truth),
        premises=(
            GRAPHS,
            Premise(
                text="the lengths of the code satisfy Kraft's inequality",
                status=Status.CHECKED,
                evidence="by construction: uniform given the exponents, whose prior adds up to 1",
            ),
            *_premises(net),
            *_given("bits per weight", tried != BITS),
        ),
        facts={"n": n, "errors": errors, "bits_per_weight": b, "bits": (total - log_inverse) / math.log(2.0)},
    )


def _premises(net: GraphNet) -> list[Premise]:
    own = [_ARCHITECTURE, _FLOATS]
    if isinstance(net, MessagePassing) and any(f not in KNOWN for f in (net.phi, net.rho, net.g)):
        own.append(
            Premise(
                text="phi, rho and g have the stated Lipschitz constants, and errors below 16 units in the last place",
                status=Status.ASSUMED,
                evidence="stated by the caller; that they are 0 at 0 was looked at",
            )
        )
    return own


def _given(what: str, given: bool) -> list[Premise]:
    """That the caller did not choose by looking at the graphs, where the caller chose."""
    if not given:
        return []
    return [
        Premise(
            text=f"the given {what} was fixed before the graphs were seen",
            status=Status.ASSUMED,
            evidence="stated by the caller; without it, a fixed grid is taken and paid",
        )
    ]


def _kind(net: GraphNet) -> str:
    return "graph convolution" if isinstance(net, GraphConvolution) else "message passing"


def _examples(
    net: GraphNet, graphs: Sequence[Graph], y: Sequence[int] | np.ndarray
) -> tuple[tuple[Graph, ...], np.ndarray]:
    """At least two graphs, and their labels."""
    if not isinstance(net, (GraphConvolution, MessagePassing)):
        raise InvalidParameter(f"net must be a GraphConvolution or MessagePassing, got {type(net).__name__}.")
    try:
        own, given = tuple(graphs), np.shape(y)
    except (TypeError, ValueError):
        raise InvalidParameter("graphs and y must be a sequence of Graph and one label for each, got others.") from None
    if not own or not all(isinstance(g, Graph) for g in own):
        raise InvalidParameter("graphs must be a sequence of Graph, got something else or none.")
    nodes = sum(len(g.features) for g in own)
    if len(own) == 1 or given == (nodes,) != (len(own),):
        raise PremiseViolated(
            f"an example must be a whole graph: nodes of a graph are not independent, got {np.size(y)} labels for "
            f"{len(own)} graphs of {nodes} nodes."
        )
    classes = net.matrices[-1].shape[1]
    if classes < 2:
        raise InvalidParameter(f"a net must have at least 2 outputs, got {classes}.")
    return own, labels("y", y, points=len(own), classes=classes, present=1)


def _exponents(margin: np.ndarray) -> range:
    """Exponents of the margins worth trying: from the largest one down by 20 octaves."""
    largest = min(float(margin.max()), 2.0**1000)
    top = math.floor(STEPS * math.log2(largest)) if largest > 0.0 else 0
    return range(top, top - 20 * STEPS, -1)
