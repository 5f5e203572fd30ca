"""A PAC-Bayes margin bound for nets on graphs without a premise on the graphs, and without the factor 2 of the KL.

Statement. With probability at least 1 - delta over n i.i.d. graphs, for all weights, margins gamma and noise levels s_i
in the grid and all domains D in the grid at once: R_0 <= kl^-1(r, (KL + ln 2 + grids + ln(xi(n)/delta))/n), where r is
the share of the n graphs outside D or of margin at most gamma, KL = sum |W_i|_F²/(2 s_i²), and noise |U_i| <= s_i r_i,
r_i the smaller of sqrt rows + sqrt columns + sqrt(2 ln(2 L)) and the quantile at 1 - 1/(2 L) of a chi variable with
rows x columns degrees of freedom, L matrices, moves no output on D by more than gamma/(2 sqrt 2).

Proof. (1) Let A be the weights at |U_i| <= s_i r_i from W. A Gaussian matrix G of standard entries has P(|G| > sqrt
rows + sqrt columns + t) <= e^(-t²/2) (Davidson and Szarek 2001; cited, not proved here), which is 1/(2 L) at the first
r_i; and |G| <= |G|_F, whose square is a sum of rows x columns squares of independent standard normal numbers, exceeds
the second with probability 1/(2 L). Either way |U_i| > s_i r_i has probability at most 1/(2 L), and A mass at least
1 - L/(2 L) = 1/2 under Q = N(W, s²). A depends on the norm alone, whichever of the two bounds its mass. (2) With P =
N(0, s²) and U = W' - W, ln dQ/dP = (|W|² + 2 <W, U>)/(2 s²) layer by layer. A is symmetric around W, so that the second
part has mean 0 under Q restricted to A, Q_A, and

    KL(Q_A || P) = KL(Q || P) + ln(1/Q(A)) <= KL + ln 2.

The sources use that KL(Q_A || P) <= (KL + H(Q(A)))/Q(A) <= 2 KL + 2 ln 2 for every A of mass at least 1/2: the factor
2 is the price of forgetting the symmetry. (3) The loss of W' on a graph is 1 where the graph is outside D or its margin
at most gamma/2. On D a draw of Q_A moves the outputs by at most gamma/(2 sqrt 2) in the Euclidean norm, hence a margin
by at most gamma/2: R_0(W) <= R(Q_A), and r(Q_A) <= r. So the kl form of ``maurer2004_kl`` for Q_A gives the claim for
one P and one loss; weights on all integers k, 2/(3 (|k|+1)(|k|+2)) (``boundlab_norm_budgets``), and 1/(d(d+1)) on the
degrees d >= 1, make it one for all. Nothing is assumed of graphs outside D: they count as errors on both sides.

The published forms. GCN: ``neyshabur2018_perturbation`` with B d^((l-1)/2) for B. MPGNN: with beta = max(1/zeta,
(lambda xi)^(1/l)), zeta = min |W_i|, lambda = |W_1||W_l|, the move is at most e B l (t/zeta) lambda xi <= e B l t
beta^(l+1), t the noise's norm; below beta^l = gamma/(2B) no margin exceeds gamma, above sqrt n times that the root
exceeds 1. A beta known within 1 +- 1/(l+2) changes beta^(l+1) by at most a factor e in either direction ((1 - 1/m)^m
is below 1/e: the 1/(l+1) of a first guess does not do), hence (l+2) n^(1/(2l)) points, and 42 >= 4 e² sqrt 2 as there.
Three matrices of at most h rows and columns keep |U| <= s sqrt(2 h ln(4lh)) with mass 1/2 as 6h <= 2lh from l = 3 on.
Either form is in the thousands on a graph convolution net trained in the tests on 1,000 graphs.

The rival: every weight as one of 2^b - 1 numbers. Given e and b all z are equally likely, so the lengths obey Kraft's
inequality, and ``langford2005_occam_forms`` needs no radius, degree or margin. Margins, there and here, are in exact
arithmetic (``boundlab_graph_rounding``).
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import flint
import numpy as np
import sympy as sp

from boundlab.bounds.graph_nets import coded_graph_net, graph_occam, graph_pac_bayes, published_graph_bound
from boundlab.bounds.graph_noise import largest_noise, noise_spread, smallest_domain, symmetric_noise_nats
from boundlab.bounds.norm_budgets import budget_nats
from boundlab.bounds.occam import occam_binomial
from boundlab.bounds.pac_bayes import pac_bayes_kl
from boundlab.nets.graphs import Graph, GraphConvolution, GraphDomain
from boundlab.nets.message_passing import MessagePassing
from boundlab.nets.norms import spectral_norm
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage, violated
from proofs_checks.proving import exact as ball_of

THEOREM = Theorem(
    name="PAC-Bayes margin bound for nets on graphs",
    source="Liao, Urtasun and Zemel (2021), arXiv:2012.07690, theorems for GCN and MPGNN, as we understand the paper; "
    "item numbers not known to us; constants and the statement with symmetric noise ours",
    given=("n i.i.d. graphs (never nodes)", "shapes and maps fixed before them"),
    claim=r"R_0 \le \mathrm{kl}^{-1}\big(\hat r_{\gamma,D}, \tfrac1n(\mathrm{KL} + \ln 2 + \ln\tfrac{1}{\pi} + "
    r"\ln\tfrac{\xi(n)}{\delta})\big),\ \mathrm{KL} = \sum_i\tfrac{\|W_i\|_F^2}{2 s_i^2}",
    status="corrected",
    finding="the published forms pay 2 KL + 2 ln 2 where KL + ln 2 does, and take radius and degree as known; both "
    "and ours stay vacuous on a net trained in the tests, where coded weights give 0.15 on 1,000 graphs",
    ours="liao2021_graph_pac_bayes",
)

MUTATIONS = (
    Mutation(file="bounds/graph_nets.py", old="level / (2.0 * math.sqrt(2.0)) / _UP", new="level / math.sqrt(2.0)"),
    Mutation(file="bounds/graph_noise.py", old="symmetric_noise_nats(0.5)) * _UP", new="0.0) * _UP"),
    Mutation(
        file="bounds/graph_noise.py",
        old='-math.log(probability("mass", mass))',
        new='-0.5 * math.log(probability("mass", mass))',
    ),
    Mutation(
        file="bounds/graph_nets.py",
        old="sum(map(budget_nats, exponents or ()))",
        new="budget_nats((exponents or [0])[0])",
    ),
    Mutation(file="bounds/graph_nets.py", old="(gamma_nats + domain_nats +", new="(domain_nats +"),
    Mutation(file="bounds/graph_nets.py", old="np.where(inside, certain, -math", new="np.where(inside, certain, math"),
    Mutation(file="bounds/graph_noise.py", old="math.sqrt(2.0 * math.log(2.0 * count))", new="0.0 * count"),
    Mutation(file="bounds/graph_noise.py", old="columns, 0.5 / count)", new="columns, 0.51 / count)"),
    Mutation(file="bounds/graph_noise.py", old="0.5 * rows * columns", new="0.5 * (rows * columns - 1)"),
    Mutation(file="bounds/graph_noise.py", old="0.5 * ratio * ratio", new="0.4 * ratio * ratio"),
    Mutation(file="bounds/graph_noise.py", old="if not fits(low):", new="if False:"),
    Mutation(file="bounds/graph_noise.py", old="math.log(degree * (degree + 1.0))", new="math.log(degree)"),
    Mutation(file="bounds/graph_nets.py", old="1.0) + budget_nats(e)", new="1.0)"),
    Mutation(file="bounds/graph_nets.py", old="math.log(2.0 * top + 1.0)", new="math.log(2.0 * top)"),
    Mutation(file="bounds/graph_nets.py", old="+ math.log(len(tried)) + log_inverse", new="+ log_inverse"),
    Mutation(file="bounds/graph_nets.py", old="scale = 42.0 * math.e", new="scale = 21.0 * math.e"),
    Mutation(file="bounds/graph_nets.py", old="radius * degree ** (", new="radius * 1.0 ** ("),
    Mutation(file="bounds/graph_nets.py", old="beta ** (depth + 1)", new="beta**depth"),
    Mutation(file="bounds/graph_nets.py", old="math.log(8.0 * n)", new="math.log(2.0 * n)"),
    Mutation(file="bounds/graph_nets.py", old="math.log(depth + 2.0) + math.log(n)", new="math.log(n)"),
)


def symbolic() -> str:
    w, u, s, k, q = sp.symbols("w u s k q", positive=True)
    ratio = ((w + u) ** 2 - u**2) / (2 * s**2)  # ln dQ/dP at w + u
    require(sp.expand(ratio - (w**2 + 2 * w * u) / (2 * s**2)) == 0, "the log ratio")
    require(sp.expand((ratio + ratio.subs(u, -u)) / 2 - w**2 / (2 * s**2)) == 0, "its even part is KL(Q || P)")
    entropy = -q * sp.log(q) - (1 - q) * sp.log(1 - q)
    require(sp.simplify(sp.diff(entropy / q, q) - sp.log(1 - q) / q**2) == 0, "H(q)/q falls")
    require(sp.simplify((entropy / q).subs(q, sp.Rational(1, 2)) - 2 * sp.log(2)) == 0, "and is 2 ln 2 at 1/2")
    require(sp.simplify(k * sp.exp(-sp.log(2 * k)) - sp.Rational(1, 2)) == 0, "L matrices leave mass 1/2")
    require(sp.summation(1 / (k * (k + 1)), (k, 1, sp.oo)) == 1, "the weights of the degrees add up to 1")
    for m in range(2, 60):  # (1 - 1/m)^(m-1) > 1/e > (1 - 1/m)^m, in ball arithmetic
        base, inverse = ball_of(Fraction(m - 1, m)), (-flint.arb(1)).exp()
        require(base ** (m - 1) > inverse and base**m < inverse, f"m = {m}")
    x = sp.symbols("x", nonnegative=True)  # for every m: (m-1) ln(1 + 1/(m-1)) <= 1 and m ln(1 - 1/m) <= -1
    require(sp.simplify(sp.diff(x - sp.log(1 + x), x) - x / (1 + x)) == 0, "ln(1+x) <= x")
    require(sp.simplify(sp.diff(-x - sp.log(1 - x), x) - x / (1 - x)) == 0, "ln(1-x) <= -x")
    require(flint.arb(4) * flint.arb(2).exp() * flint.arb(2).sqrt() < 42, "4 e² sqrt 2 < 42")
    return "the odd part of ln dQ/dP vanishes on a symmetric set: KL + ln(1/mass); H(q)/q <= 2 ln 2 otherwise"


def lattice(inside, shift: int, variance: int, reach: int = 60) -> tuple[float, float, float]:
    """KL(Q_A || P), KL(Q || P) and Q(A) of a lattice Gaussian and its shift, A given by the noise."""
    law = {z: math.exp(-z * z / (2 * variance)) for z in range(-reach, reach + 1)}
    total = math.fsum(law.values())
    mass = math.fsum(law[u] for u in law if inside(u)) / total
    ratio = {u: ((shift + u) ** 2 - u * u) / (2 * variance) for u in law}
    kept = math.fsum(law[u] / total / mass * (ratio[u] - math.log(mass)) for u in law if inside(u))
    return kept, math.fsum(law[u] / total * ratio[u] for u in law), mass


def coin_graphs(n: int, feature: float = 1.0) -> tuple[list[Graph], np.ndarray]:
    """Pairs of nodes whose common feature is + or - `feature`, and its sign as the class."""
    signs = [1.0 if i % 3 else -1.0 for i in range(n)]
    pair = np.array([[0.0, 1.0], [1.0, 0.0]])
    graphs = [Graph(adjacency=pair, features=np.full((2, 1), feature * s)) for s in signs]
    return graphs, np.array([int(s < 0) for s in signs])


def exact() -> str:
    for shift, variance, half in itertools.product((1, 3, 8), (1, 9, 25), (0, 1, 2, 7)):
        kept, whole, mass = lattice(lambda u, a=half: abs(u) <= a, shift, variance)
        want = whole - math.log(mass)
        require(abs(kept - want) <= 1e-12 * (1 + want), f"{kept} is not KL + ln 1/mass = {want}")
        require(whole + symmetric_noise_nats(mass) >= want * (1 - 1e-15), "rounded up")
    kept, whole, mass = lattice(lambda u: u >= 0, 8, 9)
    require(mass >= 0.5 and kept > whole - math.log(mass) + 1, "a half-line is not symmetric, and costs more")
    require(kept <= 2 * whole + 2 * math.log(2), "the sources' 2 KL + 2 ln 2 covers it")
    # one layer, one matrix: everything by hand
    net, (graphs, y) = GraphConvolution(matrices=(np.array([[3.0, -3.0]]),)), coin_graphs(300)
    domain, gamma = GraphDomain(radius=1.5, degree=4), 5.0
    found = graph_pac_bayes(net, graphs, y, domain=domain, gamma=gamma)
    r = math.sqrt(2.0 * math.log(2.0))  # two degrees of freedom: the square exceeds x with probability e^(-x/2)
    require(0 <= noise_spread(net)[0] / r - 1 < 1e-9, "the norm of the noise")
    quantiles()
    require(largest_noise(net, 1e-320, domain) is None, "no noise of the grid moves so little")
    require(graph_pac_bayes(net, graphs, y, domain=domain, gamma=1e-320).value == 1.0, "and nothing is promised then")
    k = math.floor(8 * math.log2(gamma / (2 * math.sqrt(2) * 1.5 * r)))
    divergence, paid = 18 / (2 * 4.0 ** (k / 8)), budget_nats(k) + math.log(2)
    want = pac_bayes_kl(0.0, divergence + paid, 300, 0.05)
    require(abs(found.value - want) <= 1e-8, f"{found.value} against {want} by hand")
    require(found.value < found.chance, "and it is below chance")
    two = GraphConvolution(matrices=(np.array([[2.0]]), np.array([[5.0, -5.0]])))
    free = graph_pac_bayes(two, graphs, y).facts
    region = GraphDomain(radius=free["radius"], degree=1)
    exponents = largest_noise(two, free["gamma"] / math.sqrt(8.0) / (1.0 + 1e-12), region) or []
    want = sum(
        budget_nats(k) for k in (*exponents, *(round(8 * math.log2(free[name])) for name in ("gamma", "radius")))
    )
    require(abs(free["grid_nats"] - want) < 1e-8, f"the grids cost {want}, paid are {free['grid_nats']}")
    outlier = [*graphs[:-3], *coin_graphs(3, 2.0)[0]]
    outside = graph_pac_bayes(net, outlier, y, domain=domain, gamma=gamma)
    require(outside.facts["margin_errors"] == 3 == outside.facts["outside_domain"], "outside the domain is an error")
    one = np.ones((1, 1))
    passing = MessagePassing(features=one, neighbours=0.5 * one, readout=np.array([[3.0, -3.0]]), steps=2)
    extra = smallest_domain(passing, graphs)[1] - smallest_domain(net, graphs)[1]
    require(abs(extra - math.log(2)) < 1e-9, "degree 1 costs ln 2")
    published(net, passing, graphs, y)
    code()
    return f"lattice Gaussians: KL + ln(1/mass); one layer by hand: {found.value:.3f} on 300 graphs, below chance"


def quantiles() -> None:
    """Each norm is exceeded with probability at most 1/(2 L), by the chi law in balls or as cited."""
    for sizes in ((1, 2), (1, 1, 2), (2, 5, 2), (3, 6, 2), (900, 1, 2), (16, 16, 16, 3), (1, 3, 1, 3)):
        shapes = list(itertools.pairwise(sizes))
        net, count = GraphConvolution(matrices=tuple(np.ones(s) for s in shapes)), len(shapes)
        for (rows, columns), r in zip(shapes, noise_spread(net), strict=True):
            with flint.ctx.workprec(200):
                half = flint.arb(r) ** 2 / 2
                tail = half.gamma_upper(rows * columns / 2, regularized=1) * 2 * count
                wide = math.sqrt(rows) + math.sqrt(columns) + math.sqrt(2 * math.log(2 * count))
                require(tail <= 1 or wide <= r, f"{rows} x {columns} of {count}: exceeded with {tail} of its share")
                require(tail > 1 - 1e-6 or r < wide * (1 + 1e-9), f"{rows} x {columns}: the smaller of the two")


def published(net: GraphConvolution, passing: MessagePassing, graphs: list[Graph], y: np.ndarray) -> None:
    n, delta, gamma = len(y), 0.05, 1.0
    deep = GraphConvolution(matrices=(np.array([[2.0, 0.5]]), np.array([[1.0, -1.0], [0.0, 0.25]])))
    for subject, errors in ((net, 0), (deep, None)):
        s = [spectral_norm(w) for w in subject.matrices]
        f = [float(np.linalg.norm(w)) for w in subject.matrices]
        d = len(s)
        reach = 2.0 ** ((d - 1) / 2)
        kl = 0.5 * 42**2 * math.e**2 * d**2 * reach**2 * 2 * math.log(8 * d) * math.prod(s) ** 2 / gamma**2
        kl *= sum((b / a) ** 2 for a, b in zip(s, f, strict=True))
        want = math.sqrt((2 * kl + math.log(8 * n / delta) + math.log(d) + math.log(n) / (2 * d)) / (2 * (n - 1)))
        got = published_graph_bound(subject, graphs, y, gamma, delta)
        require(got >= want and (errors is None or abs(got - want) < 1e-6 * want), f"GCN: {got} for {want}")
    depth, h, d = 3, 2, 2
    q = d * 0.5
    beta = max(1 / 0.5, (1.0 * math.sqrt(18) * (1 + q)) ** (1 / depth))
    kl = 0.5 * 42**2 * math.e**2 * depth**2 * beta ** (2 * depth + 2) * h * math.log(4 * depth * h) * 19.25 / gamma**2
    cover = math.log(depth + 2) + math.log(n) / (2 * depth)
    want = math.sqrt((2 * kl + math.log(8 * n / delta) + cover) / (2 * (n - 1)))
    got = published_graph_bound(passing, graphs, y, gamma, delta) - 1 / 3  # a sign in three is lost by ReLU
    require(want <= got <= want * (1 + 1e-6), f"MPGNN: {got} for {want}")
    tiny = published_graph_bound(
        MessagePassing(features=np.ones((1, 1)), neighbours=np.ones((1, 1)), readout=np.array([[1.0, -1.0]]), steps=2),
        graphs,
        y,
        1e9,
        delta,
    )
    rest = 1.0 + math.sqrt((math.log(8 * n / delta) + cover) / (2 * (n - 1)))
    require(rest <= tiny <= rest * (1 + 1e-3), f"the logarithms alone: {tiny} for {rest}")


def code() -> None:
    """The code is a prior: enumerated on one matrix of two weights; and its bound is the binomial tail's."""
    total = Fraction(0)
    for b in (2, 3):
        top = 2 ** (b - 1) - 1
        for e in (-3, 0, 2):
            for z in itertools.product(range(-top, top + 1), repeat=2):
                if max(map(abs, z)) <= top // 2:
                    continue  # also a word of a smaller e, which is then taken
                net = GraphConvolution(matrices=(np.array([z], float) * 2.0**e,))
                coded, nats = coded_graph_net(net, b)
                require(np.array_equal(coded.matrices[0], net.matrices[0]), "a net on the grid is itself")
                exact_nats = 2 * math.log(2 * top + 1) + min(budget_nats(e - j) for j in range(4))
                require(nats >= exact_nats * (1 - 1e-12), f"{z} 2^{e}: {nats} below {exact_nats}")
                if b == 2:
                    total += Fraction(math.exp(-nats))
    require(total <= 1, "Kraft")
    graphs, y = coin_graphs(300)
    found = graph_occam(GraphConvolution(matrices=(np.array([[4.0, -4.0]]),)), graphs, y, bits=(2, 3))
    nats = 2 * math.log(3) + budget_nats(2) + math.log(2) - math.log(0.05)  # 4 = 2² 1
    require(found.value >= occam_binomial(0, 300, nats) * (1 - 1e-9), f"{found.value}: the choice of bits must be paid")


def escapes(factor: float, net: GraphConvolution):
    """Does standard noise have a norm above `noise_spread` divided by `factor` in some matrix?"""
    spread = [r / factor for r in noise_spread(net)]

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        return np.array(
            [
                any(np.linalg.norm(rng.normal(size=w.shape), 2) > r for w, r in zip(net.matrices, spread, strict=True))
                for _ in range(n)
            ]
        )

    return trial


ROW = GraphConvolution(matrices=(np.ones((1, 2)),))


def wide() -> GraphConvolution:
    rng = np.random.default_rng(0)
    return GraphConvolution(matrices=(rng.normal(size=(30, 40)), rng.normal(size=(40, 3))))


def moves_too_far(rng: np.random.Generator, n: int) -> np.ndarray:
    """Does the bound's noise move an output of a random net on a random graph of the domain by more than allowed?"""
    out = np.empty(n, bool)
    domain = GraphDomain(radius=1.0, degree=5)
    for i in range(n):
        matrices = tuple(rng.normal(size=s) for s in ((3, 4), (4, 4), (4, 2)))
        net = GraphConvolution(matrices=matrices)
        sigma = [2.0 ** (k / 8) for k in largest_noise(net, 0.5, domain) or []]
        a, x = np.triu((rng.random((6, 6)) < 0.5).astype(float), 1), rng.normal(size=(6, 3))
        graph = Graph(adjacency=a + a.T, features=x / np.linalg.norm(x, axis=1, keepdims=True))
        noisy = tuple(w + s * rng.normal(size=w.shape) for w, s in zip(matrices, sigma, strict=True))
        out[i] = np.linalg.norm(GraphConvolution(matrices=noisy)(graph) - net(graph)) > 0.5
    return out


def monte_carlo(effort: int = 1) -> Evidence:
    norms = judge(escapes(1.0, wide()), delta=0.5, trials=200 * effort, name="norms of noise")
    row = judge(escapes(1.0, ROW), delta=0.5, trials=2_000 * effort, name="norms of a row", expect="not violated")
    moved = judge(moves_too_far, delta=0.5, trials=200 * effort, name="noise on graph nets")
    text = f"norms: {norms.text}; of one row: {row.text}; outputs: {moved.text}"
    return Evidence(text=text, trials=norms.trials + row.trials + moved.trials)


def teeth() -> Evidence:
    slack = smallest_sabotage(
        lambda factor: violated(escapes(factor, ROW), delta=0.5, trials=2_000, name="a smaller norm of the noise")
    )
    kept, whole, mass = lattice(lambda u: u >= 0, 8, 9)
    require(kept > whole - math.log(mass), "the equality for a set that is not symmetric must be refuted")
    return Evidence(
        text=f"refuted: norms of the noise divided by {slack:g}; KL + ln(1/mass) on a half-line", slack=slack
    )
