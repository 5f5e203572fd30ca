"""For the calibration points at hand the conformal failure rate is a Beta variable; a higher rank keeps it under delta.

Statement. R_1..R_n, R i.i.d. with distribution function F. Given the calibration points the failure probability is
1 - F(R_(k)). For continuous F, F(R_(k)) is Beta(k, n+1-k), and with or without ties

    P(1 - F(R_(k)) > delta) <= P(Bin(n, 1-delta) >= k),

with equality for continuous F. At the split-conformal rank k = ceil((1-delta)(n+1)) this is close to one half: the
promise "probability at most delta" is kept on average over the calibration points, and broken for about every second
set of them. The smallest k with P(Bin(n, 1-delta) >= k) <= alpha keeps it for all but a share alpha of the sets; there
is one exactly if (1-delta)^n <= alpha.

Proof. F(R_(k)) < 1 - delta says that at least k of the F(R_i) are below 1 - delta. These are independent events of
probability P(F(R) < 1 - delta) <= 1 - delta, equal for continuous F, where F(R) is uniform. So the number of them is
stochastically at most Bin(n, 1-delta), and k order statistics of n uniforms have the Beta law. The largest k is n,
whose tail is (1-delta)^n.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab.concentration.conformal import conditional_factor, conditional_index, conformal_factor, quantile_index
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage, violated

THEOREM = Theorem(
    name="Conformal quantile, given the calibration points",
    source="Vovk 2012, Conditional validity of inductive conformal predictors; item number not known to us; as we "
    "understand the paper",
    given=("calibration points and the fresh one i.i.d.", "the score fixed before they are drawn"),
    claim=r"\Pr[1 - F(R_{(k)}) > \delta] \le \Pr[\mathrm{Bin}(n, 1-\delta) \ge k], \quad F(R_{(k)}) \sim "
    r"\mathrm{Beta}(k, n+1-k) \text{ for continuous } F",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="concentration/conformal.py",
        old="if log_cdf(n - k, n, delta)[1]",
        new="if log_cdf(max(n - k - 1, 0), n, delta)[1]",
    ),
    Mutation(file="concentration/conformal.py", old="    return high\n", new="    return low\n"),
)

N, DELTA, ALPHA = 400, 0.05, 0.05


def tail(k: int, n: int, p: Fraction) -> Fraction:
    """P(Bin(n, p) >= k)."""
    a, b = p.numerator, p.denominator - p.numerator
    return Fraction(sum(math.comb(n, i) * a**i * b ** (n - i) for i in range(k, n + 1)), p.denominator**n)


def exact_index(n: int, delta: float, alpha: float) -> int:
    """The smallest k with P(Bin(n, 1-delta) >= k) <= alpha, in whole numbers."""
    p = 1 - Fraction(delta)
    a, b, limit = p.numerator, p.denominator - p.numerator, Fraction(alpha) * p.denominator**n
    k, above = n + 1, 0
    while (above := above + math.comb(n, k - 1) * a ** (k - 1) * b ** (n - k + 1)) <= limit:
        k -= 1
    return k


def symbolic() -> str:
    p = sp.symbols("p", positive=True)
    for n in (1, 2, 5, 8):
        for k in range(1, n + 1):  # P(F(R_(k)) <= p) is the tail; its derivative is the Beta(k, n+1-k) density
            cdf = sum(sp.binomial(n, i) * p**i * (1 - p) ** (n - i) for i in range(k, n + 1))
            density = p ** (k - 1) * (1 - p) ** (n - k) * sp.factorial(n) / sp.factorial(k - 1) / sp.factorial(n - k)
            require(sp.expand(sp.diff(cdf, p) - density) == 0, f"Beta({k}, {n + 1 - k})")
            require(density.subs(p, sp.Rational(1, 2)) > 0, "the tail rises in p: P(F(R) < 1-delta) <= 1-delta is safe")
    n, k = sp.symbols("n k", positive=True)
    require(sp.simplify(k / (k + (n + 1 - k)) - k / (n + 1)) == 0, "the Beta's mean is k/(n+1), the marginal promise")
    return "d/dp P(Bin(n, p) >= k) is the Beta(k, n+1-k) density, positive, with mean k/(n+1)"


def exact() -> str:
    ties = 0
    for n, atoms, delta in itertools.product((2, 3, 4), (2, 4), (0.5, 0.3, 0.2)):
        for k in range(1, n + 1):
            bad = sum(
                Fraction(atoms - sorted(draw)[k - 1], atoms) > Fraction(delta)
                for draw in itertools.product(range(1, atoms + 1), repeat=n)
            )
            require(Fraction(bad, atoms**n) <= tail(k, n, 1 - Fraction(delta)), f"n = {n}, k = {k}, {atoms} atoms")
            ties += 1
    sizes = list(itertools.product((1, 5, 19, 60, 200), (0.3, 0.1, 0.05), (0.5, 0.1, 1e-3)))
    for n, delta, alpha in sizes:
        want, got = exact_index(n, delta, alpha), conditional_index(n, delta, alpha)
        require(got == want, f"n = {n}, delta = {delta}, alpha = {alpha}: rank {got} for {want}")
        require(
            (got <= n) == ((1 - Fraction(delta)) ** n <= Fraction(alpha)), "a rank exists where (1-delta)^n <= alpha"
        )
    half = [float(tail(quantile_index(n, DELTA), n, 1 - Fraction(DELTA))) for n in (39, 99, 199, N)]
    require(min(half) > 0.35 and max(half) < 0.65, f"the split-conformal rank fails for about half of the sets: {half}")
    told = ", ".join(f"{v:.2f}" for v in half)
    return f"{ties} laws with ties <= binomial tail; {len(sizes)} ranks exact; split-conformal fails for {told} of sets"


def broken(alpha: float | None):
    """Trials: is P(R > factor | calibration points) above delta? Scores uniform, so that it is 1 - factor."""

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        u = rng.random((n, N))
        factor = conformal_factor(u, DELTA) if alpha is None else conditional_factor(u, DELTA, alpha)
        return 1 - factor > DELTA

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    kept = judge(broken(ALPHA), delta=ALPHA, trials=4_000 * effort, name="conditional rank", expect="upheld")
    split = judge(broken(None), delta=ALPHA, trials=300 * effort, name="split-conformal rank", expect="violated")
    return Evidence(text=f"{kept.text}; split-conformal rank: {split.text}", trials=kept.trials + split.trials)


def teeth() -> Evidence:
    def caught(factor: float) -> bool:
        return tail(conditional_index(N, DELTA, ALPHA * factor), N, 1 - Fraction(DELTA)) > Fraction(ALPHA)

    slack = smallest_sabotage(caught)
    require(violated(broken(3 * ALPHA), delta=ALPHA, trials=4_000, name="alpha tripled"), "alpha x 3 was not caught")
    require(violated(broken(None), delta=ALPHA, trials=300, name="split rank"), "the split rank was not caught")
    return Evidence(
        text=f"refuted: the rank for alpha x {slack:g} (exact) and x 3, the split-conformal rank", slack=slack
    )
