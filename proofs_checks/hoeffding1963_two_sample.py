"""All T x N outcomes of T coins on N inputs certify their mean with the precision of min(T, N) trials.

Proof. Let h = min(T, N). For every injection of the smaller index set into the larger, the mean over its h pairs is a
mean of h independent outcomes with failure probability p, and the mean over all T N outcomes is the average of these
means over all injections. By convexity of exp, E e^(s mean) <= E e^(s mean of h) for every s; Chernoff's bound for
[0, 1] values gives P(mean <= q) <= exp(-h kl(q || p)) for q <= p, and inverting it kl^-1(mean, ln(1/alpha)/h).
"""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab.concentration.two_sample import cross_upper_limit
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage

THEOREM = Theorem(
    name="Hoeffding's bound for a two-sample mean",
    source="Hoeffding (1963), section 5b, as we understand the paper; kl form and proof ours",
    given=("T i.i.d. coins, N i.i.d. inputs, independent of each other", "outcome(coin, input) in [0, 1]"),
    claim=r"\Pr[p > \mathrm{kl}^{-1}(\bar X_{TN}, \ln(1/\alpha)/\min(T,N))] \le \alpha",
    status="holds",
)

MUTATIONS = (
    Mutation(file="concentration/two_sample.py", old="float(table.mean()) *", new="float(table[0].mean()) *"),
    Mutation(
        file="concentration/two_sample.py",
        old='positive_int("min(T, N)", min(table.shape))',
        new='positive_int("min(T, N)", table.size)',
    ),
    Mutation(
        file="concentration/two_sample.py",
        old='-np.log(probability("alpha", alpha)) / pairs',
        new='-np.log(probability("alpha", alpha)) / pairs / 2',
    ),
)


def law_of_mean(T: int, N: int, kernel: list[list[int]]) -> dict[Fraction, tuple[Fraction, np.ndarray]]:
    """Exact law of the mean of kernel[coin][input], coins and inputs uniform, with the last table of each mean."""
    law: dict[Fraction, tuple[Fraction, np.ndarray]] = {}
    sides = range(len(kernel)), range(len(kernel[0]))
    chance = Fraction(1, len(kernel) ** T * len(kernel[0]) ** N)
    for coins in itertools.product(sides[0], repeat=T):
        for xs in itertools.product(sides[1], repeat=N):
            table = np.array([[kernel[c][x] for x in xs] for c in coins])
            mean = Fraction(int(table.sum()), T * N)
            law[mean] = law[mean][0] + chance if mean in law else chance, table
    return law


def symbolic() -> str:
    # every pair (t, i) is in the same share of injections: (N-1)!/(N-T)! of N!/(N-T)!, that is 1/N, for T <= N
    T, N = sp.symbols("T N", positive=True, integer=True)
    share = sp.gamma(N) / sp.gamma(N - T + 1) / (sp.gamma(N + 1) / sp.gamma(N - T + 1))
    require(sp.simplify(sp.gammasimp(share) - 1 / N) == 0, "each pair must be in 1/N of the injections")
    require(sp.simplify(T * (1 / N) / T - T / (T * N)) == 0, "so that the average of the h-means is the mean of all")
    u, v, s = sp.symbols("u v s", real=True)
    gap = (sp.exp(s * u) + sp.exp(s * v)) / 2 - sp.exp(s * (u + v) / 2)
    square = (sp.exp(s * u / 2) - sp.exp(s * v / 2)) ** 2 / 2
    require(sp.simplify(sp.expand(gap - square)) == 0, "convexity of exp: the gap is a square")
    return "each (coin, input) is in 1/N of the injections; the convexity gap is (e^(su/2) - e^(sv/2))²/2"


def exact() -> str:
    worst = 0.0
    kernels = ([[0, 1], [1, 0]], [[0, 0, 1], [1, 1, 1]], [[0, 0], [0, 1]], [[0], [1]], [[0, 0, 0, 1]])
    for kernel, (T, N) in itertools.product(kernels, ((1, 3), (2, 2), (3, 2), (2, 4))):
        p = Fraction(sum(map(sum, kernel)), len(kernel) * len(kernel[0]))
        law = law_of_mean(T, N, kernel)
        for alpha in (0.5, 0.2, 0.05):
            miss = Fraction(0)
            for mean, (chance, table) in law.items():
                limit = cross_upper_limit(table, alpha)
                require(limit == cross_upper_limit(np.full((T, N), float(mean)), alpha), "only the mean may matter")
                miss += chance * (Fraction(limit) < p)
            require(miss <= Fraction(alpha), f"kernel {kernel}, {T} x {N}: missed with {miss} at alpha {alpha}")
            worst = max(worst, float(miss) / alpha)
    zero = cross_upper_limit(np.zeros((50, 1000)), 0.05)
    require(zero >= 1 - 0.05 ** (1 / 50) > zero - 1e-9, "without a failure it is 1 - alpha^(1/min(T, N))")
    return (
        f"20 exact worlds: missed at most {worst:.2f} times as often as it may; 50 x 1000 without a failure: {zero:.4f}"
    )


def missed(correlation: float, T: int = 40, N: int = 300, p: float = 0.05, shrink: float = 1.0):
    """Coins whose failure rates over inputs are Beta with mean p and the given intra-coin correlation."""
    a = p * (1 / correlation - 1)

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        rates = rng.beta(a, a * (1 - p) / p, size=(n, T))
        means = (rng.binomial(N, rates) / N).mean(axis=1)
        return np.array([cross_upper_limit(np.full((T, N), m), 0.05) / shrink < p for m in means])

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    found = judge(missed(0.2), delta=0.05, trials=1_000 * effort, name="40 coins on 300 inputs")
    return Evidence(text=f"intra-coin correlation 0.2: {found.text}", trials=found.trials)


def teeth() -> Evidence:
    def caught(factor: float) -> bool:  # `factor` times the pairs; coins that fail on every input or on none
        limit = cross_upper_limit(np.zeros((round(100 * factor), 1000)), 0.05)
        return (1 - limit) ** 100 > 0.05  # P(no failure in 100 coins) at a rate of just above the limit

    slack = smallest_sabotage(caught)
    return Evidence(text=f"{slack:g} times min(T, N) for the effective size is caught exactly", slack=slack)
