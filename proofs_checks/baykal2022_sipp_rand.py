"""N draws by sensitivity err by more than eps = u + sqrt(u² + 6u), u = A ln(2/delta)/(3N), with chance at most delta.

Statement. One neuron, one sign, z = sum_j w_j u_j > 0 with shares g_j = w_j u_j/z, s_j > 0 where g_j > 0, S = sum s_j,
q_j = s_j/S. Draw N indices c_1..c_N independently from q and put z_hat = (1/N) sum_k w_{c_k} u_{c_k}/q_{c_k}: each
kept weight is w_j n_j/(N q_j). At a point with g_j <= C s_j for all j (the event E), with A = C S,

    P(|z_hat - z| >= eps z) <= delta        if N >= (6 + 2 eps) A ln(2/delta)/(3 eps²),

that is, at eps = u + sqrt(u² + 6u). Chernoff's kl form of the same assumptions needs no more draws.

Proof. On E: 1 = sum g_j <= C S = A. A term T_k = w u/(N q) has mean z/N, is in [0, A z/N], as g_j/q_j = S g_j/s_j <= A,
and E T_k² = (z/N)² S sum g_j²/s_j <= (z/N)² A, so that the sum's variance is at most (A - 1) z²/N. A centred term is at
most A z/N in size (max(A - 1, 1) z/N, in fact). Bernstein: each tail is at most
exp(-N eps²/(2 (A - 1) + 2 A eps/3)) <= exp(-3 N eps²/(A (6 + 2 eps))), for the denominators differ by 2 >= 0. Two tails
of delta/2 give N. Read as an equation in eps it is eps² = u (6 + 2 eps), whose positive root is u + sqrt(u² + 6u).

E and the coins: E is a statement about x and S alone, so the coins are fair at any x in E, and the chance that E holds
and the sum fails is at most delta.
"""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab.concentration.multiplicative import binomial_failure
from boundlab.coresets.alias import draw_counts
from boundlab.coresets.error_functions import bernstein_eps
from boundlab.coresets.sensitivity_sampling import Rule, certified_eps, sample_size
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.chernoff_multiplicative_kl import instances, tails
from proofs_checks.judging import judge, smallest_sabotage, violated

THEOREM = Theorem(
    name="The error of sampling by sensitivity",
    source="Baykal et al. 2022, arXiv:1910.05422, randomised method; item number not known to us; as we understand the "
    "paper",
    given=("one row, one sign, terms >= 0", "N independent draws from q_j = s_j/S", "g_j <= C s_j; A = C S"),
    claim=r"\Pr[|\hat z - z| \ge \epsilon z] \le \delta \text{ for } \epsilon = u + \sqrt{u^2+6u},\ "
    r"u = \frac{A \ln(2/\delta)}{3N} \iff N = \frac{(6+2\epsilon) A \ln(2/\delta)}{3\epsilon^2}",
    status="holds",
)

MUTATIONS = (
    Mutation(file="coresets/error_functions.py", old="np.sqrt(u * u + 6.0 * u)", new="np.sqrt(u * u + 4.0 * u)"),
    Mutation(
        file="coresets/error_functions.py", old='-np.log(0.5 * probability("delta"', new='-np.log(probability("delta"'
    ),
    Mutation(file="coresets/error_functions.py", old="np.maximum(1.0, K * s)", new="np.maximum(1.0, s)"),
)

ONE = np.array([1.0])


def symbolic() -> str:
    u, A, e, C, S = sp.symbols("u A epsilon C S", positive=True)
    eps = u + sp.sqrt(u**2 + 6 * u)
    require(sp.expand(eps**2 - u * (6 + 2 * eps)) == 0, "eps must solve eps² = u (6 + 2 eps)")
    other = u - sp.sqrt(u**2 + 6 * u)
    require(
        sp.expand((e - eps) * (e - other) - (e**2 - u * (6 + 2 * e))) == 0, "the other root is u - sqrt(u² + 6u) < 0"
    )
    require(sp.expand(eps * other) == -6 * u, "one root is negative")
    require(sp.expand(A * (6 + 2 * e) / 3 - (2 * (A - 1) + 2 * A * e / 3)) == 2, "the denominators must differ by 2")
    g, r = sp.symbols("g1:4", positive=True), sp.symbols("r1:4", nonnegative=True)
    s = [(v + w) / C for v, w in zip(g, r, strict=True)]  # E: C s_j = g_j + r_j
    gap = sp.Add(*(C * S * v - S * v**2 / t for v, t in zip(g, s, strict=True)))  # A sum g_j - second moment
    want = sp.Add(*(C * S * v * w / (v + w) for v, w in zip(g, r, strict=True)))
    require(sp.simplify(gap - want) == 0 and want.is_nonnegative, "the second moment must be at most A")
    require(sp.simplify(C * sum(s) - sum(g) - sum(r)) == 0, "and A at least 1")
    return "eps² = u (6 + 2 eps); Bernstein's denominators differ by 2; A - E T² = sum of C S g_j r_j/(g_j + r_j) >= 0"


def exact() -> str:
    cases, worst = 0, 0.0
    for total, C, law in instances(40, 60):
        K = max(1.0, float(np.nextafter(float(C), 9.0)))
        for n, delta in itertools.product((1, 3, 6, 9), (0.9, 0.5, 0.1)):
            eps = float(bernstein_eps(np.array([float(total)]), n, delta, K=K)[0])
            tail = sum(tails(law, n, Fraction(eps)))
            require(tail <= Fraction(delta), f"N = {n}, delta = {delta}: P = {float(tail)} at eps = {eps}")
            worst, cases = max(worst, float(tail) / delta), cases + 1
    total = np.array([1.0, 2.5, 8.0, 24.0])
    for n, delta, K in itertools.product((5, 100, 5_000, 10**6), (0.1, 1e-8, 1e-16), (1.0, 3.0)):
        eps = bernstein_eps(total, n, delta, K=K)
        u = [Fraction(K) * Fraction(v) * -Fraction(float(np.log(delta / 2))) / (3 * n) for v in total.tolist()]
        for e, v in zip(eps.tolist(), u, strict=True):
            require(Fraction(e) ** 2 >= v * (6 + 2 * Fraction(e)), "eps must be on the safe side of its equation")
        small = eps < 1e3
        draws = sample_size(total[small], eps[small], delta, K=K, rule=Rule.BERNSTEIN)
        require((np.abs(draws - n) <= 1 + 1e-8 * n).all(), f"the inverse must give back N = {n}, got {draws}")
        require((certified_eps(total, np.full(4, n), delta, K=K) <= eps * (1 + 1e-8)).all(), "kl must not be worse")
    coins = 0.0
    for A, n, delta in itertools.product((2.0, 8.0, 24.0), (50, 500, 5_000), (1e-2, 1e-8)):
        eps = float(bernstein_eps(A * ONE, n, delta)[0])
        coins = max(coins, float(binomial_failure(np.array(n), np.array(1 / A), np.array(eps))) / delta)
    require(coins <= 1, f"a coin fails {coins} times as often as promised")
    return f"{cases} exact two-sided tails at most {worst:.2f} delta; inverse of Bernstein's N; coins {coins:.2f} delta"


def misses(factor: float):
    """Trials: 400 draws of 60 equal shares err by more than eps/factor at a point on ten of the edges; K = 6."""
    edges, draws, delta = 60, 400, 0.05
    eps = float(bernstein_eps(ONE, draws, delta, K=6.0)[0]) / factor

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        indptr, q = np.arange(n + 1, dtype=np.int64) * edges, np.full(n * edges, 1 / edges)
        counts = draw_counts(q, indptr, np.full(n, draws), rng).reshape(n, edges)
        return np.abs(counts[:, :10].sum(axis=1) * 6 / draws - 1) >= eps

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    return judge(misses(1.0), delta=0.05, trials=2_000 * effort, name="400 draws, A = 6")


def teeth() -> Evidence:
    def caught(factor: float) -> bool:
        eps = float(bernstein_eps(24 * ONE, 5_000, 1e-8)[0]) / factor
        return float(binomial_failure(np.array(5_000), np.array(1 / 24), np.array(eps))) > 1e-8

    slack = smallest_sabotage(caught)
    require(violated(misses(2.0), delta=0.05, trials=2_000, name="half of eps"), "half of eps was not caught")
    eps = float(bernstein_eps(ONE, 400, 0.05)[0])  # K = 6 forgotten
    lost = float(binomial_failure(np.array(400), np.array(1 / 6), np.array(eps)))
    require(lost > 0.05, f"a forgotten C was not caught: {lost}")
    return Evidence(text=f"refuted: eps / {slack:g} (exact, A = 24), eps / 2, C forgotten ({lost:.2f})", slack=slack)
