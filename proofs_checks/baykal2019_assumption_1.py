"""Assumption 1 asks F_j(M_j/K) <= e^(-1/K') of every edge: sparse inputs refute it, whatever K is.

Proof. Where a_j(x) = 0 the share g_j(x) is 0 <= M_j/K, so that P(a_j = 0) <= F_j(0) <= F_j(M_j/K). An edge that is
active with probability p_j in (0, 1 - e^(-1/K')) has F_j(M_j/K) >= 1 - p_j > e^(-1/K') for every K > 0.
The shipped test calls a feature refuting where the Clopper-Pearson upper limit of its activity, at ALPHA over the
number of features, is below the threshold. If p_j >= threshold that limit is below p_j, of probability at most
ALPHA/features; the union bound gives ALPHA for the layer and for the net.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import sympy as sp
from flint import arb, ctx
from scipy.stats import binom
from sklearn.datasets import load_digits

from boundlab.compressors.constants import constants
from boundlab.concentration.binomial import lower_limit, upper_limit
from boundlab.nets.importance import sensitivities
from boundlab.network import Layer, Network
from boundlab.premises import ALPHA, assumption_1
from boundlab.promises import Status
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage

THEOREM = Theorem(
    name="Assumption 1 of CoreNet against sparse inputs",
    source="Baykal et al. 2019, arXiv:1804.05345; item number not known to us; as we understand the paper",
    given=("K' = ln(eta eta*)", "a feature >= 0 with a non-zero weight to some neuron", "i.i.d. fresh points"),
    claim=r"0 < \Pr[a_j > 0] < 1 - e^{-1/K'} \Rightarrow \forall K: F_j(M_j/K) > e^{-1/K'}",
    status="refuted",
    finding="An edge that is active on fewer than 1 - e^(-1/K') of the inputs (8.2 % for 784-300-100-10) breaks the "
    "assumption for every K; border pixels of real images do.",
    ours="boundlab_theorem_b",
)

MUTATIONS = (
    Mutation(
        file="premises.py",
        old="upper_limit(int(c), len(x), ALPHA / features) < threshold for c",
        new="upper_limit(int(c), len(x), ALPHA) < threshold for c",
    ),
    Mutation(
        file="premises.py",
        old="threshold = -math.expm1(-1.0 / constants(network.sizes, delta).K)",
        new="threshold = 1.0 / constants(network.sizes, delta).K",
    ),
    Mutation(
        file="premises.py",
        old="refutes = np.array([below[int(c)] and c > 0 for c in counts], bool)",
        new="refutes = np.array([below[int(c)] and c > 1 for c in counts], bool)",
    ),
)


def net(width: int, seed: int = 80) -> Network:
    """One hidden layer of 8 neurons, 3 outputs; the hidden activity is kept away from zero by a bias."""
    rng = np.random.default_rng(seed)
    first = Layer(weight=rng.normal(size=(8, width)), bias=np.full(8, 100.0 * width), relu=True)
    return Network(layers=(first, Layer(weight=rng.normal(size=(3, 8)), bias=np.zeros(3), relu=False)))


def threshold(network: Network) -> float:
    return -math.expm1(-1 / constants(network.sizes, 0.1).K)


def alarms(n: int, level: float, limit: float) -> list[int]:
    """The activity counts, out of n, that refute a threshold at a level."""
    return [k for k in range(1, math.ceil(limit * n)) if upper_limit(k, n, level) < limit]  # the limit is >= k/n


def symbolic() -> str:
    p, kp = sp.symbols("p K'", positive=True)
    gap = sp.solve(sp.Eq(1 - p, sp.exp(-1 / kp)), p)
    require(gap == [1 - sp.exp(-1 / kp)], f"1 - p = e^(-1/K') at {gap}")
    require(sp.diff(1 - p, p) == -1, "1 - p falls with p: below the threshold it is above e^(-1/K')")
    K, t = sp.symbols("K t", positive=True)  # the coin: share M with probability p, else 0
    F = sp.Piecewise((1 - p, t < 1), (1, True))  # in units of M
    large = F.subs(t, 1 / (1 + K))  # any K' > 1, written as 1 + K
    require(sp.simplify(large - (1 - p)) == 0, "the coin has F(M/K) = 1 - p for every K > 1")
    return "F(M/K) >= 1 - p, and 1 - p > e^(-1/K') iff p < 1 - e^(-1/K'); a coin has F(M/K) = 1 - p for every K > 1"


def exact() -> str:
    # a coin edge beside one that makes up the sum, so that M_1 = 1/4; the sample misses it with (1 - p)^n
    layer = Layer(weight=np.ones((1, 2)), bias=np.zeros(1), relu=True)
    points = [np.array([[1.0, 3.0]]), np.array([[0.0, 4.0]])]
    both = [sensitivities(layer, [a], theorem="baykal2019_assumption_1").values[0] for a in points]
    require(both == [0.25, 0.0], f"the shares must be 1/4 and 0, got {both}")
    sizes = (784, 300, 100, 10)
    old, ctx.prec = ctx.prec, 100
    try:
        limit = 1 - (-1 / arb(410 * 300).log()).exp()
        require(bool(limit > arb("0.0817")) and bool(limit < arb("0.0819")), f"8.2 % for 784-300-100-10, got {limit}")
    finally:
        ctx.prec = old
    size = constants(sizes, 0.1).points
    p = Fraction(1, 50)
    missed = float((1 - p) ** size)
    promised = 0.1 / (8 * 410 * 300)
    require(missed > 1e5 * promised, f"a 2 % edge is missed with {missed}, the proof needs {promised}")
    # false alarms, exactly: through the shipped test, one feature of `features`, for every count k
    network, n = net(4), 60
    tau, features = threshold(network), 12
    seen = []
    for k in range(n + 1):
        x = np.ones((n, 4))
        x[k:, 0] = 0.0
        seen.append(assumption_1(network, x, delta=0.1).status is Status.VIOLATED)
    level = ALPHA / features
    require([k for k in range(n + 1) if seen[k]] == alarms(n, level, tau), "the test and its limits disagree")
    worst = 0.0
    for size in (n, 100, 300):
        for count in (12, 410):
            hit = alarms(size, ALPHA / count, tau)
            top = max(hit, default=-1)
            require(hit == list(range(1, top + 1)), "the alarms must be the counts 1..c")
            # P(1 <= Bin(n, p) <= c) <= P(Bin(n, tau) <= c) for every p >= tau
            worst = max(worst, float(binom.cdf(top, size, tau)) * count / ALPHA)
    require(0.1 < worst <= 1, f"a feature's false alarm is {worst} of its share of ALPHA")
    return f"2 % edge missed with {missed:.3f}, where {promised:.0e} is needed; false alarm <= {worst:.3f} of its share"


def digits() -> tuple[float, int, int]:
    """(threshold, pixels proved below it at level 1e-6, pixels never active) on real images."""
    x = np.asarray(load_digits(return_X_y=True)[0], dtype=np.float64)
    network = net(x.shape[1])
    tau, counts = threshold(network), np.count_nonzero(x, axis=0)
    below = [upper_limit(int(c), len(x), 1e-6 / 64) < tau for c in counts if c]
    report = assumption_1(network, x, delta=0.1)
    require(report.status is Status.VIOLATED, "the shipped test must refute Assumption 1 on the digits")
    share = report.numbers["layer 2: share of features that refute it"]
    require(round(share * 64) >= sum(below) > 0, f"the shipped share {share} is below {sum(below)} of 64")
    return tau, sum(below), int((counts == 0).sum())


SPARSE = 0.02  # the activity of an edge, below the threshold of 8.2 %


def unseen(rng: np.random.Generator, n: int) -> np.ndarray:
    """Rows of two edges, one active on 2 % of the inputs: is its shipped sensitivity 0 at the published |S|?"""
    points, rows, missed = constants((784, 300, 100, 10), 0.1).points, 100, np.empty(0, bool)
    layer = Layer(weight=np.kron(np.eye(rows), np.ones(2)), bias=np.zeros(rows), relu=True)
    while len(missed) < n:
        a = np.ones((points, rows, 2))
        a[:, :, 0] = rng.random((points, rows)) < SPARSE
        s = sensitivities(layer, [a.reshape(points, -1)], theorem="baykal2019_assumption_1")
        missed = np.concatenate([missed, s.values[::2] == 0])
    return missed[:n]


def false_alarm(rng: np.random.Generator, n: int) -> np.ndarray:
    """Every feature active with probability threshold exactly: does the shipped test refute?"""
    network = net(20)
    tau = threshold(network)
    x = (rng.random((n, 200, 20)) < tau).astype(np.float64)
    return np.array([assumption_1(network, own, delta=0.1).status is Status.VIOLATED for own in x])


def monte_carlo(effort: int = 1) -> Evidence:
    tau, below, never = digits()
    share = 0.1 / (8 * 410 * 300)  # delta/(8 eta eta*), what the proof grants to one edge
    lost = judge(unseen, delta=share, trials=500 * effort, name="a 2 % edge at |S| = 189", expect="violated")
    alarm = judge(false_alarm, delta=ALPHA, trials=60 * effort, name="false alarm", expect="not violated")
    text = (
        f"a 2 % edge is missed by all |S| = 189 points: {lost.text}; digits: {below} of 64 pixels proved active below "
        f"{tau:.1%}, {never} never active; false alarms at the threshold: {alarm.text}"
    )
    return Evidence(text=text, trials=lost.trials + alarm.trials)


def any_alarm(level: float, tau: float, n: int, features: int) -> float:
    """Exact probability that one of the features, independent and active with probability tau, is called refuting."""
    top = max(alarms(n, level, tau), default=0)
    one = float(binom.cdf(top, n, tau) - binom.pmf(0, n, tau)) if top else 0.0
    return -math.expm1(features * math.log1p(-one))


def teeth() -> Evidence:
    network, n = net(4), 600
    tau = threshold(network)

    def caught(factor: float) -> bool:
        return max(any_alarm(factor * ALPHA / 28, tau, size, 28) for size in (200, 300, n)) > ALPHA

    slack = smallest_sabotage(caught)
    require(any_alarm(ALPHA, tau, n, 28) > 10 * ALPHA, "ALPHA for each of 28 features was not caught")
    wrong = float(binom.cdf(math.ceil(tau * n) - 1, n, tau))  # the plain rate for its upper limit
    lower = float(binom.cdf(max(k for k in range(int(tau * n), n // 2) if lower_limit(k, n, ALPHA) < tau), n, tau))
    require(wrong > 0.4 and lower > 0.9, f"rate or lower limit for the upper one: {wrong}, {lower} were not caught")
    x = np.ones((n, 4))
    require(assumption_1(network, x, delta=0.1).status is Status.ASSUMED, "dense inputs must not be flagged")
    x[int(tau / 2 * n) :, 1] = 0.0
    require(assumption_1(network, x, delta=0.1).status is Status.VIOLATED, "half the threshold must be flagged")
    text = f"refuted: error level times {slack:g}, no union over features, the rate for its limit ({wrong:.2f})"
    return Evidence(text=text, slack=slack)
