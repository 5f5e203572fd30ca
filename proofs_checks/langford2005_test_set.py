"""The test-set bound is exact on both sides for a net fixed before the test; M nets screened on one test cost delta/M.

Statement. h is fixed before m i.i.d. examples, on which it errs k times. P[R > Bin+(k, m, delta)] <= delta and P[R <
Bin-(k, m, delta)] <= delta. For M nets fixed before, at delta/M each, all statements hold together, whichever net is
then shown. The two-sided interval spends delta/2 on each side.

Proof. F(k; p) = P[Bin(m, p) <= k] has dF/dp = -m C(m-1, k) p^k (1-p)^(m-1-k) < 0: the derivatives of the single terms
telescope. So R > Bin+(k) means F(k; R) < delta, and with k* the largest such count P[k <= k*] = F(k*; R) < delta. The
lower side is the same for the complement, and M statements at delta/M fail together with probability at most delta.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab.bounds.test_set import screened_interval, screened_limit
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage, violated

THEOREM = Theorem(
    name="Test-set bound, two sides and screening",
    source="Langford, JMLR 6 (2005), test-set bound; as we understand the paper, its number is not known to us",
    given=("nets fixed before the m i.i.d. test examples", "M counts every net whose test errors could steer a choice"),
    claim=r"\Pr[\exists i \le M : R(h_i) > \mathrm{Bin}^+(k_i, m, \delta/M)] \le \delta",
    status="holds",
)

MUTATIONS = (
    Mutation(file="bounds/test_set.py", old='/ positive_int("models", models)', new='* positive_int("models", 1)'),
    Mutation(file="bounds/test_set.py", old="alpha = 0.5 * _each(delta, models)", new="alpha = _each(delta, models)"),
    Mutation(file="bounds/test_set.py", old="0.5 * _each(delta, models)", new="0.5 * _each(delta, 1)"),
)

ANCHORS = ((0, 10_000, "0.0300"), (100, 10_000, "1.180"), (200, 10_000, "2.246"), (450, 10_000, "4.856"))
SIZE, RISK, MODELS, DELTA = 10_000, 0.02, 20, 0.05


def law(n: int, p: Fraction) -> list[Fraction]:
    return [math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]


def symbolic() -> str:
    p, n, k = sp.symbols("p n k", positive=True)
    term = sp.binomial(n, k) * p**k * (1 - p) ** (n - k)
    step = sp.binomial(n - 1, k) * p**k * (1 - p) ** (n - 1 - k)
    before = step.subs(k, k - 1)
    change = sp.diff(term, p) / term - n * (before - step) / term
    require(sp.simplify(sp.combsimp(sp.expand_func(sp.simplify(change)))) == 0, "the derivatives must telescope")
    count, level = sp.symbols("M delta", positive=True)
    require(sp.simplify(count * (level / count) - level) == 0, "M statements at delta/M")
    return "d/dp of the k-th term is n (b(n-1,k-1) - b(n-1,k)): the sum up to k falls, with slope -n b(n-1,k)"


def exact() -> str:
    worst = {"upper": 0.0, "both": 0.0, "best of 3": 0.0}
    for n in (1, 4, 9, 25):
        limits = {d: [screened_limit(k, n, d) for k in range(n + 1)] for d in (0.3, 0.05)}
        pairs = {d: [screened_interval(k, n, d) for k in range(n + 1)] for d in (0.3, 0.05)}
        pairs_of_three = [screened_interval(k, n, 0.3, models=3) for k in range(n + 1)]
        three = [screened_limit(k, n, 0.3, models=3) for k in range(n + 1)]
        for j in range(1, 40):
            p = Fraction(j, 40)
            masses = law(n, p)
            for d in (0.3, 0.05):
                above = sum((w for w, u in zip(masses, limits[d], strict=True) if p > Fraction(u)), Fraction(0))
                out = sum((w for w, (a, b) in zip(masses, pairs[d], strict=True) if not a <= p <= b), Fraction(0))
                require(max(above, out) <= Fraction(d), f"n={n}, p={p}, delta={d}: {float(above)}, {float(out)}")
                worst["upper"] = max(worst["upper"], float(above / Fraction(d)))
                worst["both"] = max(worst["both"], float(out / Fraction(d)))
            one = sum((w for w, u in zip(masses, three, strict=True) if p > Fraction(u)), Fraction(0))
            best = 1 - (1 - one) ** 3  # three independent nets with the same risk: any failure
            require(best <= Fraction(0.3), f"best of 3 at n={n}, p={p}: {float(best)}")
            for side, outside in (("below", lambda a, b, p=p: p < a), ("above", lambda a, b, p=p: p > b)):
                one = sum((w for w, ab in zip(masses, pairs_of_three, strict=True) if outside(*ab)), Fraction(0))
                require(one <= Fraction(0.3) / 6, f"{side} one of 3 intervals at n={n}, p={p}: {float(one)}")
            worst["best of 3"] = max(worst["best of 3"], float(best) / 0.3)
    for k, n, percent in ANCHORS:
        digits = len(percent.split(".")[1])
        require(f"{100 * screened_limit(k, n, 0.05):.{digits}f}" == percent, f"Bin+({k}, {n}, 0.05)")
    shares = ", ".join(f"{name} {share:.2f}" for name, share in worst.items())
    return f"every count of errors, 39 risks: failure at most these shares of delta: {shares}; {len(ANCHORS)} anchors"


def screening(models: int):
    """A trial: the best of 20 nets with risk 2 % on 10 000 examples, its limit computed for `models` of them."""
    k = np.arange(int(SIZE * RISK))
    below = int(np.searchsorted([screened_limit(int(i), SIZE, DELTA, models=models) for i in k], RISK))
    return lambda rng, n: rng.binomial(SIZE, RISK, size=(n, MODELS)).min(axis=1) < below


def monte_carlo(effort: int = 1) -> Evidence:
    trial = screening(MODELS)
    return judge(trial, delta=DELTA, trials=20_000 * effort, name="best of 20 nets", expect="not violated")


def teeth() -> Evidence:
    def caught(factor: float) -> bool:
        return violated(screening(round(MODELS / factor)), delta=DELTA, trials=40_000, name="delta over fewer nets")

    slack = smallest_sabotage(caught, (1.25, 1.67, 2, 4, 10, 20))
    normal = 0.01 + 1.645 * math.sqrt(0.01 * 0.99 / SIZE)
    require(normal < screened_limit(100, SIZE, DELTA), "a normal interval")
    miss = sum(law(25, Fraction(1, 20))[:1])  # k = 0: the normal limit is 0
    require(miss > Fraction(1, 4), "the normal limit at k = 0 was not caught")
    text = f"refuted: M divided by {slack:g}; a normal limit, which at k = 0 fails with probability {float(miss):.2f}"
    return Evidence(text=text, slack=slack)
