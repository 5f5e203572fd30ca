"""Drawing until K distinct neurons were seen is biased: rare neurons are over-weighted, by a factor 2 in a small case.

Refuted: "u(p) = w(p) hist(p)/(pr(p) N) has mean w(p)", where N is the random number of draws until K distinct neurons
were seen, as in the released code of the paper. Its theorem is about an m that is fixed before the first draw.

Proof. For two neurons, K = 2 and pr = (p, q), the draws are one neuron N - 1 >= 1 times, then the other. With
sum_{N>=2} p^(N-1)/N = -ln(q)/p - 1,
    E u_1/w_1 = (1/p) [ sum p^(N-1) q (N-1)/N + sum q^(N-1) p/N ] = ( q + (q/p) ln q - (p/q) ln p )/p,
which is 0.880 at p = 9/10, and 2.076 for the other neuron. At p = 1/2 it is 1, and p (E u_1/w_1 - 1)
is below 0 on [0.51, 0.99], proved by ball arithmetic. K = n = 2 does not give w back. Always
sum_p pr(p) E u(p)/w(p) = E sum hist/N = 1, so that uniform probabilities have no bias, by symmetry. For any pr and
K = 2 the draws are r >= 1 times a, then b: all means are sums of geometric series, here to within 1e-18. The code
never ends if K exceeds the number of neurons of positive probability.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import sympy as sp
from flint import arb

from boundlab._errors import InvalidParameter
from boundlab.coresets.neuron_sampling import reweight
from boundlab.coresets.uniform_error import draw_variance
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage, violated
from proofs_checks.proving import prove_positive

THEOREM = Theorem(
    name="Drawing until K distinct neurons are seen",
    source="the released code of Mussay et al. 2020, arXiv:1907.04018",
    given=("draws with replacement, ended by the K-th distinct neuron", "u = w hist/(pr N), N the number of draws"),
    claim=r"E[u_j(p)] = w_j(p)",
    status="refuted",
    finding="The number of draws depends on what is drawn, and the weights are biased: 0.880 and 2.076 times the true "
    "ones at pr = (0.9, 0.1), K = 2.",
    ours="mussay2020_unbiased",
)

MUTATIONS = (Mutation(file="coresets/neuron_sampling.py", old=" or int(c.sum()) != m", new=""),)

Q = Fraction


def closed(p: arb) -> arb:
    """Return p (E u_1/w_1 - 1) for two neurons of probabilities p and 1 - p."""
    q = 1 - p
    return q - p + q / p * q.log() - p / q * p.log()


def means(pr: Sequence[Fraction], runs: int) -> tuple[list[Fraction], Fraction]:
    """E u/w at K = 2 through the shipped reweighting, and the probability of the runs longer than `runs`, left out."""
    n = len(pr)
    total, left = [Q(0)] * n, Q(0)
    floats = np.array([float(v) for v in pr])
    for a, first in enumerate(pr):
        left += first ** (runs + 1)
        for b, then in enumerate(pr):
            if a == b:
                continue
            for r in range(1, runs + 1):
                counts = np.zeros(n, np.int64)
                counts[a], counts[b] = r, 1
                u = reweight(np.ones((1, n)), counts, floats, r + 1)[0]
                for i in (a, b):
                    total[i] += first**r * then * Q(float(u[i]))
    return total, left


def symbolic() -> str:
    p, q = sp.symbols("p q", positive=True)
    N = sp.symbols("N", integer=True, positive=True)
    x = sp.Rational(9, 10)
    series = sp.summation(x ** (N - 1) / N, (N, 2, sp.oo))
    require(sp.simplify(series - (-sp.log(1 - x) / x - 1)) == 0, "sum x^(N-1)/N = -ln(1-x)/x - 1, at x = 9/10")
    own = q * (p / q - (-sp.log(q) / p - 1)) + p * (-sp.log(p) / q - 1)  # sum p^(N-1) = p/q
    require(sp.simplify((own - (q + q / p * sp.log(q) - p / q * sp.log(p))).subs(q, 1 - p)) == 0, "the closed form")
    other = p + p / q * sp.log(p) - q / p * sp.log(q)
    require(sp.simplify((own + other).subs(q, 1 - p)) == 1, "sum pr E u/w = 1")
    values = [float((own / p).subs({q: 1 - v, p: v})) for v in (x, 1 - x)]
    require([round(v, 3) for v in values] == [0.880, 2.076], f"the published case has {values}")
    require((own / p).subs({p: sp.Rational(1, 2), q: sp.Rational(1, 2)}).equals(1), "no bias at 1/2")
    boxes = prove_positive(lambda v: -closed(v), (Q(51, 100), Q(99, 100)))
    return f"E u_1/w_1 = (q + (q/p) ln q - (p/q) ln p)/p: 0.880 and 2.076 at p = 0.9; below 1 on [0.51, 0.99], {boxes}"


def exact() -> str:
    cases = {
        (Q(9, 10), Q(1, 10)): (0.880, 2.076),
        (Q(7, 10), Q(1, 5), Q(1, 20), Q(1, 20)): (0.859, 1.309, 1.370, 1.370),
        (Q(1, 3), Q(1, 3), Q(1, 3)): (1.0, 1.0, 1.0),
    }
    for pr, want in cases.items():
        total, left = means(pr, 400 if pr[0] > Q(4, 5) else 120)
        require(left < Q(1, 10**18), f"the runs left out have probability {float(left)}")
        got = [round(float(v), 3) for v in total]
        require(got == list(want), f"E u/w is {got} at {[str(v) for v in pr]}")
        require(abs(float(sum(a * b for a, b in zip(pr, total, strict=True))) - 1) < 1e-12, "sum pr E u/w = 1")
    try:
        reweight(np.ones((1, 2)), np.array([3, 1]), np.array([0.9, 0.1]), 2)
        require(False, "counts beyond the m that was fixed must be refused")
    except InvalidParameter:
        pass
    return "E u/w = (0.880, 2.076) at (.9, .1); (0.859, 1.309, 1.370, 1.370) at (.7, .2, .05, .05); 1 where uniform"


def until_two(rng: np.random.Generator, n: int, p: float) -> np.ndarray:
    """Counts (n, 2) of draws until both of two neurons were seen."""
    first = rng.random(n) < p
    r = rng.geometric(np.where(first, 1 - p, p))
    return np.where(first[:, None], np.stack([r, np.ones_like(r)], 1), np.stack([np.ones_like(r), r], 1))


def errs(p: float, *, stopped: bool, repeats: int = 2_000, factor: float = 1.0):
    """A trial: the mean of the released (or of the shipped) estimate of w = (1, 1) at phi = (0, 1) misses 1 by much.

    The limit is Chebyshev's at level 0.1 with the variance of ONE draw, more than that of two or more.
    """
    q = np.array([p, 1 - p])
    variance = float(draw_variance(np.array([[0.0, 1.0]]), q / q[1])[0])
    limit = math.sqrt(variance / repeats / 0.1)

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        if stopped:
            c = until_two(rng, n * repeats, p)
            u = (c[:, 1] / (c.sum(axis=1) * q[1])).reshape(n, repeats).mean(axis=1)
        else:
            rows = rng.multinomial(repeats, q, size=n)
            u = np.array([reweight(np.ones((1, 2)), row, q, repeats)[0, 1] for row in rows])
        return np.abs(factor * u - 1.0) >= limit

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    trials = 60 * effort
    ours = judge(errs(0.9, stopped=False), delta=0.1, trials=400, name="m fixed beforehand")
    bad = judge(
        errs(0.9, stopped=True), delta=0.1, trials=trials, name="until both are seen", expect="violated", block=100
    )
    return Evidence(text=f"{bad.text}; with m fixed: {ours.text}", trials=trials)


def teeth() -> Evidence:
    def caught(factor: float) -> bool:  # pr proportional to (factor, 1); at 1 symmetry leaves no bias
        p = factor / (1 + factor)
        return violated(errs(p, stopped=True, repeats=20_000), delta=0.1, trials=20, name="uneven probabilities")

    slack = smallest_sabotage(caught)
    require(not violated(errs(0.9, stopped=False), delta=0.1, trials=400, name="fixed m"), "m fixed must survive")
    text = f"the bias is seen from pr = ({slack:g}, 1)/{1 + slack:g} on, not at (1, 1)/2; m fixed beforehand survives"
    return Evidence(text=text, slack=slack)
