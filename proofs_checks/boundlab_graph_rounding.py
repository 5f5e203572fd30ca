"""Margins of a net on graphs in exact arithmetic: rounding moves the outputs no more than a move of the weights does.

Statement. Let every sum of products be computed in float64, in any order, with or without fused operations, to nearest,
and each map of a message passing net to 16 units in the last place of C |a|. With K = 1.01 (nodes + width + 100) 2^-53
the computed outputs lie within `deviation` (K |W_i|_F), at the graph's own radius and degree, of those that the net has
in exact arithmetic on the float64 numbers of its weights and of the graph. So no margin in exact arithmetic is below a
number of `graph_margins`, and where one is above 0 there is no tie.

Proof. u = 2^-53, gamma_k = k u/(1 - k u) <= 1.01 k u for k u <= 0.009. A product of k factors 1 + d, |d| <= u, lies in
1 +- gamma_k (Higham, lemma 3.1), and in a sum of k products each passes at most k roundings, in whatever order. So the
computed row of a product with W is off by at most gamma_k |a| |W| entry by entry, in norm gamma_k |a| |W|_F, where k
counts all that the row passes since the last layer. Graph convolution: two roundings in each root, one in their
product, one a term in L h and in (L h) W, sums over the nodes and over the width: k <= nodes + width + 5; as L has no
negative entry and |L| <= 1, |L |h|| <= |h| in Frobenius norm, which over sqrt(nodes) is the norm of
``liao2021_graph_perturbation``. Message passing: 32 in each of g, rho and phi, sums over the neighbours and over the
width, one for adding what the node has itself: k <= nodes + width + 97. Readout: the mean is a sum and a quotient.
Let e be the distance of the computed row from the exact one, of norm at most S: the computed one has norm at most
S + e, and after the layer the distance is at most |W| e + K |W|_F (S + e) = (|W| + K |W|_F) e + K |W|_F S, times what
the maps and the degree contribute: the recursion of `deviation` with u_i = K |W_i|_F. As in those theorems
differences are taken node by node, nothing needs the move to be the same for all nodes.

What underflows is lost below 2^-1074 a time, sqrt(width) (nodes + width) times a layer: less than the 2^-1000 that the
recursion adds at its start and after each layer, before the next weights enlarge it. Overflow: with u_i = max(1,
|W_i|_F) the recursion exceeds every number that the net computes on its way, over sqrt(nodes), but for the constants of
the maps, for which 2^100 is left; beyond 2^900 nothing is promised (inf), so that no -inf is turned into 0 unseen. A
margin f_y - f_j is off by at most |e_y| + |e_j| <= sqrt 2 |e|; the two subtractions in floats keep the sign, and round
by a factor 1 +- 2u each.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import flint
import numpy as np
import sympy as sp

from boundlab.bounds.graph_nets import graph_occam
from boundlab.nets.graph_margins import GraphNet, graph_margins, rounding
from boundlab.nets.graphs import Graph, GraphConvolution
from boundlab.nets.message_passing import IDENTITY, RELU, TANH, MessagePassing
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage

THEOREM = Theorem(
    name="Margins of a net on graphs in exact arithmetic",
    source="ours; gamma_k of Higham, Accuracy and Stability of Numerical Algorithms (2002), lemma 3.1, as we "
    "understand the book, and the perturbation of liao2021_graph_perturbation and liao2021_message_passing",
    given=(
        "IEEE float64, to nearest, with gradual underflow",
        "sums of products in any order, not by a fast matrix product",
        "maps computed to 16 units in the last place of C |a|",
    ),
    claim=r"\|\hat f - f\|_2 \le \mathrm{deviation}(K\|W_i\|_F),\ "
    r"K = 1.01\,(\mathrm{nodes}+\mathrm{width}+100)\,2^{-53}",
    status="holds",
)

MUTATIONS = (
    Mutation(file="nets/graph_margins.py", old="1.01 * (nodes + net.width + 100)", new="0.01 * (net.width + 1)"),
    Mutation(file="nets/graph_margins.py", old="[unit * f for f in net.frobenius]", new="[0.0 for f in net.frobenius]"),
    Mutation(file="nets/graph_margins.py", old="- math.sqrt(2.0) * allowance * _UP", new="- 0.0 * allowance"),
    Mutation(file="nets/graph_margins.py", old="<= _LARGEST / nodes:", new="<= math.inf:"),
    Mutation(file="nets/graph_margins.py", old="max(1.0, f) for f", new="f for f"),
    Mutation(file="nets/graphs.py", old="(norm + u) * moved + u * size + LOST", new="(norm + u) * moved + u * size"),
    Mutation(file="nets/message_passing.py", old="+ v * size) + LOST", new="+ v * size)"),
)

PAIR = np.array([[0.0, 1.0], [1.0, 0.0]])


def symbolic() -> str:
    k, u, w, f, s, e, c = sp.symbols("k u w f s e c", positive=True)
    gap = sp.simplify((sp.Rational(101, 100) * k * u - k * u / (1 - k * u)) * (1 - k * u) / (k * u))
    require(sp.expand(gap - (sp.Rational(1, 100) - sp.Rational(101, 100) * k * u)) == 0, "gamma_k against 1.01 k u")
    require(sp.simplify(gap.subs(k, sp.Rational(9, 1000) / u)) > 0, "which falls in k u, up to k u = 0.009")
    require(sp.expand(w * e + c * f * (s + e) - ((w + c * f) * e + c * f * s)) == 0, "one layer is a step of deviation")
    a, b = sp.symbols("a b", real=True)
    require(sp.expand(2 * (a**2 + b**2) - (a + b) ** 2 - (a - b) ** 2) == 0, "|e_y| + |e_j| <= sqrt 2 |e|")
    return "gamma_k <= 1.01 k u up to k u = 0.009; rounding of a layer is one step of `deviation`"


def in_balls(net: GraphNet, graph: Graph) -> list[flint.arb]:
    """The outputs in ball arithmetic of 1,000 bits, on the numbers that the floats are."""
    zero = flint.arb(0)
    known: dict[str, Callable[[flint.arb], flint.arb]] = {
        RELU.name: lambda v: v.max(zero),
        TANH.name: lambda v: v.tanh(),
        IDENTITY.name: lambda v: v,
    }

    def product(a: list[list[flint.arb]], w: np.ndarray) -> list[list[flint.arb]]:
        columns = [[flint.arb(float(v)) for v in column] for column in w.T]
        return [[sum((p * q for p, q in zip(row, c, strict=True)), zero) for c in columns] for row in a]

    nodes = range(len(graph.features))
    near = [[j for j in nodes if graph.adjacency[i, j]] for i in nodes]
    x = [[flint.arb(float(v)) for v in row] for row in graph.features]
    if isinstance(net, GraphConvolution):
        h = x
        for w in net.matrices[:-1]:
            weight = [
                {j: 1 / flint.arb((len(near[i]) + 1) * (len(near[j]) + 1)).sqrt() for j in (*near[i], i)} for i in nodes
            ]
            spread = [[sum((weight[i][j] * h[j][k] for j in weight[i]), zero) for k in range(len(h[0]))] for i in nodes]
            h = [[v.max(zero) for v in row] for row in product(spread, w)]
    else:
        own, h = product(x, net.features), [[zero] * net.features.shape[1] for _ in nodes]
        phi, rho, g = (known[each.name] for each in (net.phi, net.rho, net.g))
        for _ in range(net.steps):
            heard = [[rho(sum((g(h[j][k]) for j in near[i]), zero)) for k in range(len(h[0]))] for i in nodes]
            h = [
                [phi(a + b) for a, b in zip(*rows, strict=True)]
                for rows in zip(own, product(heard, net.neighbours), strict=True)
            ]
    mean = [sum((row[k] for row in h), zero) / len(h) for k in range(len(h[0]))]
    return product([mean], net.matrices[-1])[0]


def distance(net: GraphNet, graph: Graph) -> float:
    """How far the computed outputs are from the exact ones, in the Euclidean norm."""
    with flint.ctx.workprec(1_000):
        squares = [(flint.arb(float(v)) - want) ** 2 for v, want in zip(net(graph), in_balls(net, graph), strict=True)]
        return float(sum(squares, flint.arb(0)).sqrt().mid())


def many_nodes() -> tuple[GraphConvolution, Graph]:
    """400 nodes without edges that are all the same: sums are rounded in one direction."""
    graph = Graph(adjacency=np.zeros((400, 400)), features=np.full((400, 2), 0.1))
    return GraphConvolution(matrices=(np.eye(2),)), graph


def exact() -> str:
    triangle, values = 1.0 - np.eye(3), np.array([[0.1, 0.3], [0.2, 0.2], [0.3, 0.1]])
    tie, signs = GraphConvolution(matrices=(np.eye(2),)), set()
    for order in itertools.permutations(range(3)):
        graph = Graph(adjacency=triangle, features=values[list(order)])
        signs.add(float(np.sign(np.subtract(*tie(graph)))))
        lowered = graph_margins(tie, [graph] * 2, np.array([0, 1]))
        require(bool(np.all(lowered <= 0.0)), f"a tie in exact arithmetic has a margin of {lowered.max()}")
        require(bool(np.all(lowered > -1e-13)), f"the allowance must be small, got {-lowered.min()}")
    require(len(signs) > 1, "computed margins differ with the order of the nodes")
    value = graph_occam(tie, [Graph(adjacency=triangle, features=values)] * 300, [0] * 300).value
    require(value == 1.0, f"a net that always ties is wrong always, got {value}")
    net, graph = many_nodes()
    require(0.0 < distance(net, graph) <= rounding(net, graph), "400 nodes")
    thin = [Graph(adjacency=PAIR, features=np.full((2, 1), v)) for v in (2.0**-600, 1.0)]
    lost = GraphConvolution(matrices=(np.array([[2.0**-500]]), np.array([[2.0**850, 0.0]])))
    require(lost(thin[0])[0] == 0.0 and distance(lost, thin[0]) == 2.0**-250, "a product that underflows")
    require(distance(lost, thin[0]) <= rounding(lost, thin[0]) < 2.0**-100, "is allowed for")
    faint = MessagePassing(
        features=np.array([[2.0**-500]]), neighbours=np.zeros((1, 1)), readout=np.array([[2.0**850, 0.0]]), steps=1
    )
    require(faint(thin[0])[0] == 0.0 and distance(faint, thin[0]) == 2.0**-250, "in a message passing net too")
    require(distance(faint, thin[0]) <= rounding(faint, thin[0]) < 2.0**-100, "is allowed for")
    for net, moves in ((lost, (2.0**-500, 0.0)), (faint, (2.0**-500, 0.0, 0.0))):  # 2^-1100 on its way to 2^-250
        require(2.0**-250 <= net.deviation(moves, 2.0**-600, 1) < 2.0**-100, "a deviation that underflows")
    for big in ((2.0**1000, 2.0**-1000), (2.0**600, 2.0**600), (2.0**600, 2.0**500, 2.0**-1000)):
        deep = GraphConvolution(matrices=(*(np.array([[v]]) for v in big), np.array([[1.0, 0.0]])))
        require(math.isinf(rounding(deep, thin[1])), f"what may overflow on its way: {big}")
    wide = GraphConvolution(matrices=(np.array([[2.0**901, 0.0]]),))
    require(graph_margins(wide, [thin[1]] * 2, np.array([0, 0])).tolist() == [-math.inf] * 2, "and is an error")
    return "ties of a triangle in six orders; sums, underflow and overflow of single nets"


def beyond(rng: np.random.Generator, n: int) -> np.ndarray:
    """Random nets of both kinds on random graphs: are the outputs further from the exact ones than allowed?"""
    out = np.empty(n, bool)
    for i in range(n):
        a = np.triu((rng.random((5, 5)) < 0.6).astype(float), 1)
        graph = Graph(adjacency=a + a.T, features=rng.normal(size=(5, 2)) * 10.0 ** rng.integers(-3, 4))
        matrices = [rng.normal(size=size) * 10.0 ** rng.integers(-3, 4) for size in ((2, 3), (3, 3), (3, 2))]
        if i % 2:
            net = GraphConvolution(matrices=tuple(matrices))
        else:
            phi, rho, g = ((RELU, TANH, IDENTITY)[j] for j in rng.integers(3, size=3))
            own, other, top = matrices
            net = MessagePassing(features=own, neighbours=other, readout=top, steps=3, phi=phi, rho=rho, g=g)
        out[i] = distance(net, graph) > rounding(net, graph)
    return out


def monte_carlo(effort: int = 1) -> Evidence:
    return judge(beyond, delta=0.05, trials=300 * effort, name="rounding of graph nets")


def teeth() -> Evidence:
    net, graph = many_nodes()
    slack = smallest_sabotage(lambda factor: distance(net, graph) > rounding(net, graph) / factor)
    return Evidence(text=f"the allowance divided by {slack:g} is exceeded on 400 nodes", slack=slack)
