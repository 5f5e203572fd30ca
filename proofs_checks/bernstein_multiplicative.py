"""Bernstein's rate eps² p/(2 + 2 eps/3) is never above the kl rate, on either side; with S K - 1 for S K it is false.

Proof. kl((1+s)p || p) = p h(s) + (1-p) h(-sp/(1-p)) with h(u) = (1+u) ln(1+u) - u >= 0, hence kl >= p h(s). On
[0, inf) f = h(e)(2 + 2e/3) - e² vanishes at 0 with f' and f'', and f''' = 4e/(3(1+e)²) >= 0, so that f >= 0; on [0, 1)
g = h(-e) - e²/2 vanishes at 0 with g', and g'' = e/(1-e) >= 0. Both tails therefore inherit Chernoff's bound.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import sympy as sp
from scipy.stats import binom

from boundlab.concentration.multiplicative import bernstein_rate, lower_rate, upper_rate
from boundlab.coresets.alias import draw_counts
from boundlab.coresets.sensitivity_sampling import Rule, sample_size
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage, violated

THEOREM = Theorem(
    name="Bernstein's bound for a relative error",
    source="Bernstein's inequality as in Boucheron, Lugosi and Massart (2013), section 2.8, as we understand it; "
    "the relative form and its proof from kl are ours",
    given=("T_1..T_m independent, in [0, 1/p], mean 1", "p = 1/(S K), where no share exceeds K s_j", "eps > 0"),
    claim=r"\Pr[|\bar T - 1| \ge \epsilon] \le 2 e^{-m\epsilon^2 p/(2+2\epsilon/3)}",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="concentration/multiplicative.py",
        old="return eps * eps * p / (2.0 + 2.0 * eps / 3.0) * (1.0 - ROUNDING)",
        new="return eps * eps * p / 2.0",
    ),
    Mutation(
        file="coresets/sensitivity_sampling.py",
        old="events = np.log((upper + lower) / delta)",
        new="events = np.log(1.0 / delta)",
    ),
)

EPSILONS = (Fraction(1, 4), Fraction(1, 2), Fraction(3, 4), Fraction(1), Fraction(3, 2))


def naive(p: Fraction, m: int, eps: Fraction) -> float:
    """The tempting one-tail bound with S K - 1, the variance's factor, in the place of S K."""
    return math.exp(-m * float(eps) ** 2 / (2 * float(1 / p - 1) * (1 + float(eps) / 3)))


def coin(m: int, p: Fraction, eps: Fraction) -> tuple[Fraction, Fraction]:
    """P(Bin/(mp) >= 1 + eps) and P(Bin/(mp) <= 1 - eps), exactly."""
    law = [math.comb(m, k) * p**k * (1 - p) ** (m - k) for k in range(m + 1)]
    up = sum((w for k, w in enumerate(law) if k >= (1 + eps) * m * p), Fraction(0))
    return up, sum((w for k, w in enumerate(law) if k <= (1 - eps) * m * p), Fraction(0))


def row(rng: np.random.Generator) -> tuple[Fraction, dict[Fraction, Fraction]]:
    """(p, law of one term) of a random mean-1 law on {0, x, 1/p}; x = 0 is the coin, the extreme case."""
    top = Fraction(int(rng.integers(9, 41)), 8)
    x = Fraction(int(rng.integers(0, 9)), 8)  # at most 1, so that mean 1 can be met
    a = Fraction(int(rng.integers(0, 5)), 4)
    low = x * a  # {low with w, top with 1 - w}, mean 1
    w = (top - 1) / (top - low)
    return 1 / top, {low: w, top: 1 - w}


def worst_ratio(factor: float, count: int, seed: int) -> float:
    """Largest exact two-sided tail over the shipped bound, at `factor` times the rate."""
    rng, worst = np.random.default_rng(seed), 0.0
    for _ in range(count):
        p, law = row(rng)
        for m, eps in itertools.product((1, 2, 5, 12), EPSILONS):
            (low, w), (top, v) = law.items()
            sums = {low * (m - k) + top * k: math.comb(m, k) * v**k * w ** (m - k) for k in range(m + 1)}
            exact_tail = sum((q for t, q in sums.items() if abs(t / m - 1) >= eps), Fraction(0))
            below = np.nextafter(np.array(float(p)), 0.0)
            bound = 2 * math.exp(-factor * m * float(bernstein_rate(below, np.array(float(eps)))))
            worst = max(worst, float(exact_tail / Fraction(bound)))
    return worst


def symbolic() -> str:
    e, p, s = sp.symbols("e p s", positive=True)
    h = (1 + e) * sp.log(1 + e) - e
    f = h * (2 + 2 * e / 3) - e**2
    for order in range(3):
        require(sp.simplify(sp.diff(f, e, order).subs(e, 0)) == 0, f"derivative {order} of f must vanish at 0")
    require(sp.simplify(sp.diff(f, e, 3) - 4 * e / (3 * (1 + e) ** 2)) == 0, "f''' must be 4e/(3(1+e)²)")
    g = (1 - e) * sp.log(1 - e) + e - e**2 / 2
    require(g.subs(e, 0) == 0 and sp.diff(g, e).subs(e, 0) == 0, "g and g' must vanish at 0")
    require(sp.simplify(sp.diff(g, e, 2) - e / (1 - e)) == 0, "g'' must be e/(1-e)")
    y = sp.symbols("y", real=True)  # h(y) >= 0 for y > -1: h, h' vanish at 0 and h'' = 1/(1+y) > 0
    own = (1 + y) * sp.log(1 + y) - y
    require(own.subs(y, 0) == 0 and sp.diff(own, y).subs(y, 0) == 0, "h and h' must vanish at 0")
    require(sp.simplify(sp.diff(own, y, 2) - 1 / (1 + y)) == 0, "h must be convex")
    u = 1 + s
    kl = u * p * sp.log(u) + (1 - u * p) * sp.log((1 - u * p) / (1 - p))
    v = -s * p / (1 - p)  # 1 + v = (1 - up)/(1 - p)
    require(sp.simplify((1 + v) * (1 - p) - (1 - u * p)) == 0, "1 + v")
    parts = p * (u * sp.log(u) - s) + (1 - u * p) * sp.log((1 - u * p) / (1 - p)) - (1 - p) * v
    require(sp.simplify(parts - kl) == 0, "kl must be p h(s) + (1 - p) h(v)")
    slack = sp.simplify(p / 2 - p / (2 + 2 * e / 3))
    require(slack.is_nonnegative, "the lower rate p e²/2 must be at least p e²/(2 + 2e/3)")
    return "f''' = 4e/(3(1+e)²) and g'' = e/(1-e), with zeros of order 3 and 2 at 0: kl >= p h(+-e) >= e² p/(2+2e/3)"


def exact() -> str:
    worst = worst_ratio(1.0, 40, 30)
    require(worst <= 1, f"an exact tail is {worst} times the bound")
    grid = np.concatenate([np.logspace(-9, -0.01, 60), 1 - np.logspace(-2, -12, 20)])[:, None]
    eps = np.logspace(-6, 1, 71)
    both = np.minimum(upper_rate(grid, eps), lower_rate(grid, eps))
    require(np.all(bernstein_rate(grid, eps) <= both * (1 + 1e-11)), "a shipped Bernstein rate exceeds the kl rate")
    p, m, e = Fraction(17, 19), 5, Fraction(3, 4)
    up, down = coin(m, p, e)
    require(float(down) > 2 * naive(p, m, e) > 0, f"S K - 1 must fail at S K = 19/17, the lower tail is {float(down)}")
    require(up + down <= 2 * math.exp(-m * float(bernstein_rate(np.array(17 / 19), np.array(0.75)))), "S K must hold")
    for top, size, eps_ in itertools.product(range(2, 8), (1, 3, 10, 30), EPSILONS):  # S K >= 2, where it is valid
        require(sum(coin(size, Fraction(1, top), eps_)) <= 2 * naive(Fraction(1, top), size, eps_), "naive at S K >= 2")
    checked = 0
    for top, delta, eps_ in itertools.product((Fraction(19, 17), 2, 5), (0.3, 0.05, 1e-3), (0.25, 0.75, 1.0)):
        size = int(sample_size(np.array([1.0]), eps_, delta, K=float(top), rule=Rule.BERNSTEIN)[0])
        require(sum(coin(size, 1 / Fraction(top), Fraction(eps_))) <= Fraction(delta), f"m={size} is too small")
        rate = float(bernstein_rate(np.array(1 / float(top)), np.array(eps_)))
        require(2 * math.exp(-size * rate) <= delta, f"m={size} does not pay for two tails")
        checked += 1
    return (
        f"exact tails at most {worst:.3f} of the bound; S K - 1 fails at S K = 19/17, m=5, eps=3/4: "
        f"{float(down):.2e} > 2 x {naive(p, m, e):.1e}; {checked} sizes suffice"
    )


def misses(share: float):
    """A trial: `share` of Bernstein's m errs by more than eps on equal shares, a point active on one edge in 6."""
    edges, eps, delta = 60, 0.4, 0.1
    m = math.ceil(share * float(sample_size(np.array([1.0]), eps, delta, K=6.0, rule=Rule.BERNSTEIN)[0]))

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        indptr, q = np.arange(n + 1, dtype=np.int64) * edges, np.full(n * edges, 1 / edges)
        counts = draw_counts(q, indptr, np.full(n, m), rng).reshape(n, edges)
        return np.abs(counts[:, :10].sum(axis=1) * 6 / m - 1) > eps

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    return judge(misses(1.0), delta=0.1, trials=2_000 * effort, name="Bernstein's m, S K = 6")


def teeth() -> Evidence:
    require(violated(misses(0.25), delta=0.1, trials=1_000, name="fewer draws"), "m/4 was not caught")
    # long runs of coins, where the exponent alone decides: ln P(Bin >= (1 + eps) m p) against -m rate
    p, eps, m = 1e-3, 0.1, 10**8
    tail = float(binom.logsf(math.ceil((1 + eps) * m * p) - 1, m, p))
    rate = float(bernstein_rate(np.array(p), np.array(eps)))
    slack = smallest_sabotage(lambda factor: tail > -m * factor * rate)
    require(tail > -m * eps * eps * p / 2, "2 eps/3 dropped was not caught")
    spared = coin(5, Fraction(17, 19), Fraction(3, 4))[1]
    require(float(spared) > 2 * naive(Fraction(17, 19), 5, Fraction(3, 4)), "S K - 1 was not caught")
    return Evidence(text=f"refuted: rate x {slack:g}, m/4, 2 eps/3 dropped, S K - 1 for S K", slack=slack)
