"""The original net inherits the bound of its compression through unlabelled points that neither net has seen.

Proof. Let d = f(x) - g(x) and s(x) = max_j d_j - min_j d_j. As f_y - f_j = g_y - g_j + d_y - d_j, margins differ by at
most s, whatever the label; s <= 2 |d|_inf, and s <= sqrt(2) |d|_2 by Cauchy-Schwarz. So where s(x) <= t and g has
margin above t at (x, y), f classifies x as y: R_0(f) <= R_t(g) + P_x(s > t). The first term is bounded on n labelled
examples by Occam's bound for the loss 1{margin(g) <= t}, at the price of g; the second by Clopper-Pearson on u fresh
points, f, g and t being fixed. The risk R_t(g) and the probability of s > t are different ones for different t, so that
a choice among G thresholds costs a factor G on either side. Each side gets delta/2. Points used to train f or to choose
g are not fresh, and the second term is then wrong.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab.bounds.compressed_class import margin_shift, original_risk, priced
from boundlab.bounds.transfer import UnlabelledTransfer
from boundlab.concentration.binomial import tail_inverse, upper_limit
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.arora2018_random_failures import pair
from proofs_checks.judging import judge, smallest_sabotage
from proofs_checks.proving import prove, reals

THEOREM = Theorem(
    name="From the compressed net to the original, through unlabelled data",
    source="ours; the form with a worst case over the domain is Suzuki et al. (2019), as we understand the paper",
    given=("n labelled examples, g priced before them", "u fresh unlabelled points, used for neither f, g nor t"),
    claim=r"R_0(f) \le \mathrm{Bin}^+(k_t, n, \tfrac{\delta P(g)}{2G}) + \mathrm{Bin}^+(k_u, u, \tfrac{\delta}{2G})",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="bounds/compressed_class.py",
        old='/ (2.0 * positive_int("grid", grid))',
        new='* (2.0 * positive_int("grid", grid))',
    ),
    Mutation(
        file="bounds/compressed_class.py",
        old="(first + upper_limit(deviating, unlabelled, share))",
        new="(first + 0.0 * upper_limit(deviating, unlabelled, share))",
    ),
    Mutation(
        file="bounds/compressed_class.py",
        old="first = compressed_risk(margin_errors, 0, n, nats, share)",
        new="first = compressed_risk(0, margin_errors, n, 0.0 * nats, share)",
    ),
    Mutation(
        file="bounds/compressed_class.py",
        old="first = compressed_risk(margin_errors, 0, n, nats, share)",
        new="first = compressed_risk(margin_errors, 0, n, nats, delta)",
    ),
    Mutation(
        file="bounds/compressed_class.py",
        old="(first + upper_limit(deviating, unlabelled, share))",
        new="(first + upper_limit(deviating, unlabelled, delta))",
    ),
    Mutation(
        file="bounds/compressed_class.py",
        old="return d.max(axis=1) - d.min(axis=1) + np.abs(d).max(axis=1) * 2.0**-50",
        new="return np.abs(d).max(axis=1)",
    ),
    Mutation(file="bounds/compressed_class.py", old="np.abs(d).max(axis=1) * 2.0**-50", new="0.0"),
    Mutation(
        file="bounds/transfer.py",
        old="value = original_risk(small, n, nats, far, u, self.delta, grid=grid)",
        new="value = original_risk(small, n, nats, far, u, self.delta)",
    ),
    Mutation(
        file="bounds/transfer.py",
        old="value = original_risk(small, n, nats, far, u, self.delta, grid=grid)",
        new="value = original_risk(small, n, 0.0, far, u, self.delta, grid=grid)",
    ),
    Mutation(
        file="bounds/transfer.py",
        old='small = int(np.searchsorted(own, t, side="right"))',
        new='small = int(np.searchsorted(own, 0.0, side="right"))',
    ),
    Mutation(
        file="bounds/transfer.py",
        old="far = u - int(np.searchsorted(shifts, t",
        new="far = 0 * int(np.searchsorted(shifts, t",
    ),
    Mutation(
        file="bounds/transfer.py",
        old="seen, used = sum(d in labelled for d in digests), sum(d in planned for d in digests)",
        new="seen, used = 0, 0",
    ),
)


def symbolic() -> str:
    fy, fj, gy, gj, t, high, low = reals("fy fj gy gj t high low")
    spread = [fy - gy <= high, fj - gj <= high, low <= fy - gy, low <= fj - gj, high - low <= t]
    prove(fy > fj, *spread, gy - gj > t)
    prove((high - low) * (high - low) <= 2 * (high * high + low * low))  # s <= sqrt 2 |d|
    delta, G = sp.symbols("delta G", positive=True)
    require(sp.simplify(2 * G * (delta / (2 * G)) - delta) == 0, "G thresholds, two events each, spend delta")
    return "z3: a shift of at most t and margin(g) > t keep f's class, s <= sqrt 2 |d|; 2G events spend delta"


def exact() -> str:
    # a world of 4 points: f and g given by tables; all samples of n = 3 labelled and u = 3 unlabelled points
    wrong_f = (1, 0, 1, 0)  # f errs
    small_g = (0, 0, 1, 0)  # g has a margin of at most t
    far = (1, 0, 0, 1)  # |f - g| large; consistent: f errs only where g's margin is small or the nets are far
    require(all(w <= s + d for w, s, d in zip(wrong_f, small_g, far, strict=True)), "the premise of the world")
    risk, worst = Fraction(sum(wrong_f), 4), 0.0
    for delta in (0.9, 0.6, 0.3):
        fail = Fraction(0)
        for k, j in itertools.product(range(4), repeat=2):
            p = Fraction(math.comb(3, k)) * Fraction(1, 4) ** k * Fraction(3, 4) ** (3 - k)
            q = Fraction(math.comb(3, j)) * Fraction(1, 2) ** j * Fraction(1, 2) ** (3 - j)
            fail += p * q * (original_risk(k, 3, 0.0, j, 3, delta) < risk)
        require(fail <= Fraction(delta), f"delta = {delta}: fails with {fail}")
        worst = max(worst, float(fail) / delta)
    for k, j, nats, grid in ((5, 2, 1.0, 1), (0, 0, 3.0, 7), (40, 11, 0.0, 16)):  # either side apart, at delta/(2 G)
        got, part = original_risk(k, 100, nats, j, 150, 0.05, grid=grid), Fraction(5, 100) / (2 * grid)
        left, right = tail_inverse(k, 100, math.log(part) - nats), upper_limit(j, 150, float(part))
        require(left + right <= got <= (left + right) * (1 + 1e-9), f"{got} against {left} + {right}")
    for d in ((1.0, -2.0, 0.5), (-1.0, -3.0, -1.0), (0.1, 0.3, 0.7)):  # attained by the label with the smallest d
        f, g = np.array([d]) + 4.0, np.full((1, 3), 4.0)
        exactly = max(Fraction(float(a)) - 4 for a in f[0]) - min(Fraction(float(a)) - 4 for a in f[0])
        got = Fraction(float(margin_shift(f, g)[0]))
        require(exactly <= got <= exactly * (1 + Fraction(1, 10**12)), f"the shift of {d}: {float(got)}")
    small = float(margin_shift(np.array([[1.0, 0.0]]), np.array([[0.0, 1e-17]]))[0])  # 1 + 1e-17 is no float
    require(Fraction(small) >= 1 + Fraction(1e-17), "rounded up")
    the_class()
    one, many = original_risk(5, 100, 1.0, 2, 100, 0.05), original_risk(5, 100, 1.0, 2, 100, 0.05, grid=16)
    require(one < many <= 1, "a grid of thresholds must cost")
    return f"all samples of a 4-point world: P(fail)/delta <= {worst:.2f}; 16 thresholds cost {many - one:.3f}"


def the_class() -> None:
    """The shipped class against counts by hand: g = (x1, x2) at price P, f = (x1, x1/2 + x2), 3 thresholds."""
    both = pair([[1, 0], [0.5, 1]], [[1, 0], [0, 1]])
    x = np.tile([[4.0, 1.0], [4.0, 3.0], [1.0, 0.0], [8.0, 7.0], [6.0, 0.0]], (80, 1)) + np.arange(400)[:, None] / 1024
    fresh = np.array([[3.0, 0.5], [0.25, 5.0], [1.0, 2.5], [9.0, 1.0]]).repeat(50, axis=0)
    bound = UnlabelledTransfer(unlabelled=fresh, thresholds=(0.75, 2.0, 6.0))(both, x, np.zeros(400, int))
    margins, shifts = [Fraction(a) - Fraction(b) for a, b in x], [Fraction(a) / 2 for a, _ in fresh]
    nats = min(price for _, price in priced(both.net))  # powers of 2: the net is on every grid
    values = [
        original_risk(sum(m <= t for m in margins), 400, nats, sum(s > t for s in shifts), 200, 0.05, grid=3)
        for t in (0.75, 2.0, 6.0)
    ]
    require(min(values) < 1 and abs(bound.raw - min(values)) < 1e-12, f"{bound.raw} against {values}")
    require(not bound.void, "no point is known")
    known = UnlabelledTransfer(unlabelled=np.concatenate([fresh, x[:3]]))(both, x, np.zeros(400, int))
    require(known.void, "three unlabelled points are labelled examples")


def fails(shrink: float, fresh: bool = True):
    """Risk of f 0.05: a small margin of g has rate 0.02, the nets differ on 0.03; 300 labelled, 300 unlabelled."""

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        k, j = rng.binomial(300, 0.02, n), rng.binomial(300, 0.03 if fresh else 0.0, n)
        table: dict[tuple[int, int], bool] = {}
        for seen in set(zip(k.tolist(), j.tolist(), strict=True)):
            table[seen] = original_risk(seen[0], 300, 0.0, seen[1], 300, 0.05) / shrink < 0.05
        return np.array([table[seen] for seen in zip(k.tolist(), j.tolist(), strict=True)])

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    return judge(fails(1.0), delta=0.05, trials=1_000 * effort, name="fresh unlabelled points")


def teeth() -> Evidence:
    # points that chose g are not fresh: no deviation on them although the nets differ
    judge(fails(1.0, fresh=False), delta=0.05, trials=1_000, name="points that chose g", expect="violated")

    def caught(factor: float) -> bool:  # the second side alone, r = 0: its limit divided by a factor
        p = upper_limit(0, 300, 0.025) / factor * (1 + 1e-9)
        return (1 - p) ** 300 > 0.025

    slack = smallest_sabotage(caught)
    return Evidence(text=f"points that chose g violate it; a second term divided by {slack:g} is caught", slack=slack)
