"""The original net inherits the bound of its compression through unlabelled points that neither net has seen.

Proof. Let d = f(x) - g(x) and s(x) = max_j d_j - min_j d_j. As f_y - f_j = g_y - g_j + d_y - d_j, margins differ by at
most s, whatever the label; s <= 2 |d|_inf, and s <= sqrt(2) |d|_2 by Cauchy-Schwarz. So where s(x) <= t and g has
margin above t at (x, y), f classifies x as y: R_0(f) <= R_t(g) + P_x(s > t). And where g is right and the largest
output of f is alone and at the same place as that of g, f is right: R_0(f) <= R_0(g) + P_x(f and g disagree), which is
the case t = 0. The first term is bounded on n labelled examples by Occam's bound for the loss 1{margin(g) <= t}, at the
price of g; the second by Clopper-Pearson on u fresh points, f, g and t being fixed. The risk R_t(g) and the probability
of s > t are different ones for different t, so that a choice among G thresholds costs a factor G on either side. The
price of g is a union over all nets of the code on the labelled side alone: on the unlabelled side each g is an event of
its own, and a choice among H nets that are known before these points costs a factor H there. Each side gets delta/2.
Points used to train f or to choose g are not fresh, and the second term is then wrong.

All of this is about functions of real numbers. Where outputs are known up to e, s is at most max_j (d_j + e_j) -
min_j (d_j - e_j).
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
    given=(
        "n labelled examples, g priced before them",
        "u fresh unlabelled points, used for neither f, t nor any of the H nets that g is one of",
    ),
    claim=r"R_0(f) \le \mathrm{Bin}^+(k_t, n, \tfrac{\delta P(g)}{2G}) + \mathrm{Bin}^+(k_u, u, \tfrac{\delta}{2GH})",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="bounds/compressed_class.py",
        old='halves = math.log(2.0 * positive_int("grid", grid))',
        new='halves = math.log(2.0) - math.log(positive_int("grid", grid))',
    ),
    Mutation(
        file="bounds/compressed_class.py",
        old="(first + tail_inverse(deviating,",
        new="(first + 0.0 * tail_inverse(deviating,",
    ),
    Mutation(
        file="bounds/compressed_class.py",
        old="first = compressed_risk(margin_errors, 0, n, nats + halves * _UP, delta)",
        new="first = compressed_risk(margin_errors, 0, n, halves * _UP, delta)",
    ),
    Mutation(
        file="bounds/compressed_class.py",
        old="first = compressed_risk(margin_errors, 0, n, nats + halves * _UP, delta)",
        new="first = compressed_risk(margin_errors, 0, n, nats, delta)",
    ),
    Mutation(
        file="bounds/compressed_class.py",
        old="total = halves + math.log(positive_int(",
        new="total = 0.0 * halves + math.log(positive_int(",
    ),
    Mutation(
        file="bounds/compressed_class.py",
        old='math.log(positive_int("nets", nets)) - math.log(probability("delta", delta))',
        new='math.log(positive_int("nets", nets) / nets) - math.log(probability("delta", delta))',
    ),
    Mutation(
        file="bounds/compressed_class.py",
        old="spread = (d + within).max(axis=1) - (d - within).min(axis=1)",
        new="spread = np.maximum((d + within).max(axis=1), -(d - within).min(axis=1))",
    ),
    Mutation(
        file="bounds/compressed_class.py",
        old="spread = (d + within).max(axis=1) - (d - within).min(axis=1)",
        new="spread = d.max(axis=1) - d.min(axis=1)",
    ),
    Mutation(file="bounds/compressed_class.py", old="(np.abs(d) + within).max(axis=1) * 2.0**-49", new="0.0"),
    Mutation(
        file="bounds/transfer.py",
        old="value = original_risk(small, n, nats, far, u, self.delta, grid=grid, nets=len(nets))",
        new="value = original_risk(small, n, nats, far, u, self.delta, nets=len(nets))",
    ),
    Mutation(
        file="bounds/transfer.py",
        old="value = original_risk(small, n, nats, far, u, self.delta, grid=grid, nets=len(nets))",
        new="value = original_risk(small, n, nats, far, u, self.delta, grid=grid)",
    ),
    Mutation(
        file="bounds/transfer.py",
        old="value = original_risk(small, n, nats, far, u, self.delta, grid=grid, nets=len(nets))",
        new="value = original_risk(small, n, 0.0, far, u, self.delta, grid=grid, nets=len(nets))",
    ),
    Mutation(
        file="bounds/transfer.py",
        old="grid, candidates = outputs.argmax(axis=1), len(self.thresholds) + 1, []",
        new="grid, candidates = outputs.argmax(axis=1), len(self.thresholds), []",
    ),
    Mutation(file="bounds/transfer.py", old="np.count_nonzero(sure & (", new="np.count_nonzero(("),
    Mutation(
        file="bounds/transfer.py",
        old="np.count_nonzero(sure & (after.certain_margins(fresh, said) > 0.0))",
        new="np.count_nonzero(sure)",
    ),
    Mutation(
        file="bounds/transfer.py",
        old="margin_shift(outputs, moved, off + more)",
        new="margin_shift(outputs, moved)",
    ),
    Mutation(
        file="bounds/transfer.py",
        old="own, (moved, more) = np.sort(after.certain_margins(x, y)), after.enclosed(fresh)",
        new="own, (moved, more) = np.sort(g(x)[np.arange(n), y] - g(x)[np.arange(n), 1 - y]), after.enclosed(fresh)",
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
        old="seen, used = sum(d in examples for d in digests), sum(d in compression.calibration for d in digests)",
        new="seen, used = 0, 0",
    ),
)


def symbolic() -> str:
    fy, fj, gy, gj, t, high, low = reals("fy fj gy gj t high low")
    spread = [fy - gy <= high, fj - gj <= high, low <= fy - gy, low <= fj - gj, high - low <= t]
    prove(fy > fj, *spread, gy - gj > t)
    prove((high - low) * (high - low) <= 2 * (high * high + low * low))  # s <= sqrt 2 |d|
    dy, dj, ey, ej = reals("dy dj ey ej")  # d as computed, and how far it may be from f - g
    near = [fy - gy <= dy + ey, fy - gy >= dy - ey, fj - gj <= dj + ej, fj - gj >= dj - ej]
    prove((gy - gj) - (fy - fj) <= high - low, *near, dy + ey <= high, dj + ej <= high, low <= dy - ey, low <= dj - ej)
    delta, G, H, P = sp.symbols("delta G H P", positive=True)  # P: the prior of all nets of the code, at most 1
    spent = G * P * delta / (2 * G) + G * H * (delta / (2 * G * H))
    require(sp.simplify(spent.subs(P, 1) - delta) == 0, "G thresholds, and on the unlabelled side H nets, spend delta")
    return "z3: a shift of at most t and margin(g) > t keep f's class, s <= sqrt 2 |d|; G + G H events spend delta"


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
    for k, j, nats, grid, nets in ((5, 2, 1.0, 1, 1), (0, 0, 3.0, 7, 3), (40, 11, 0.0, 16, 4)):  # either side apart
        got, part = original_risk(k, 100, nats, j, 150, 0.05, grid=grid, nets=nets), Fraction(5, 100) / (2 * grid)
        left, right = tail_inverse(k, 100, math.log(part) - nats), upper_limit(j, 150, float(part / nets))
        require((left + right) * (1 - 1e-12) <= got <= (left + right) * (1 + 1e-9), f"{got} against {left} + {right}")
    for d in ((1.0, -2.0, 0.5), (-1.0, -3.0, -1.0), (0.1, 0.3, 0.7)):  # attained by the label with the smallest d
        f, g = np.array([d]) + 4.0, np.full((1, 3), 4.0)
        exactly = max(Fraction(float(a)) - 4 for a in f[0]) - min(Fraction(float(a)) - 4 for a in f[0])
        got = Fraction(float(margin_shift(f, g)[0]))
        require(exactly <= got <= exactly * (1 + Fraction(1, 10**12)), f"the shift of {d}: {float(got)}")
    small = float(margin_shift(np.array([[1.0, 0.0]]), np.array([[0.0, 1e-17]]))[0])  # 1 + 1e-17 is no float
    require(Fraction(small) >= 1 + Fraction(1e-17), "rounded up")
    wide = float(margin_shift(np.array([[2.0, 0.0]]), np.array([[1.0, 0.5]]), np.array([[0.25, 0.125]]))[0])
    require(1.875 <= wide <= 1.875 * (1 + 1e-12), f"1 + 1/4 to -1/2 - 1/8 is 15/8, got {wide}")
    the_class()
    in_exact_arithmetic()
    one, many = original_risk(5, 100, 1.0, 2, 100, 0.05), original_risk(5, 100, 1.0, 2, 100, 0.05, grid=16)
    require(one < many <= 1, "a grid of thresholds must cost")
    return f"all samples of a 4-point world: P(fail)/delta <= {worst:.2f}; 16 thresholds cost {many - one:.3f}"


def the_class() -> None:
    """The shipped class against counts by hand: g = (x1, x2) at price P, f = (x1, x1/2 + x2), 3 thresholds and 0."""
    both = pair([[1, 0], [0.5, 1]], [[1, 0], [0, 1]])
    x = np.tile([[4.0, 1.0], [4.0, 0.5], [7.0, 0.0], [8.0, 1.0], [6.0, 0.0]], (80, 1)) + np.arange(400)[:, None] / 1024
    disagree = np.array([[3.0, 2.0], [0.25, 5.0], [1.0, 0.625], [9.0, 1.0]]).repeat(50, axis=0)
    agree = np.array([[3.0, 0.5], [0.25, 5.0], [1.0, 2.5], [9.0, 1.0], [4.0, 2.0]]).repeat((49, 50, 50, 50, 1), axis=0)
    nats = min(price for _, price in priced(both.net))  # powers of 2: the net is on every grid
    chosen = []
    for fresh, wrong in ((disagree, 0), (agree, 20)):
        y = np.arange(400) < wrong  # class 1, which g gets wrong there
        bound = UnlabelledTransfer(unlabelled=fresh, thresholds=(0.75, 2.0, 6.0))(both, x, y.astype(int))
        margins = [(Fraction(a) - Fraction(b)) * (-1) ** int(c) for (a, b), c in zip(x, y, strict=True)]
        shifts = [Fraction(a) / 2 for a, _ in fresh]
        apart = sum(a / 2 + b == a or (a > b) != (a > a / 2 + b) for a, b in fresh)  # a tie of f, or another class
        far = [apart, *(sum(s > t for s in shifts) for t in (0.75, 2.0, 6.0))]
        values = [
            original_risk(sum(m <= t for m in margins), 400, nats, k, 200, 0.05, grid=4, nets=4)
            for t, k in zip((0.0, 0.75, 2.0, 6.0), far, strict=True)
        ]
        require(min(values) < 1 and abs(bound.raw - min(values)) < 1e-12, f"{bound.raw} against {values}")
        chosen.append(bound.facts["threshold"])
        require(not bound.void, "no point is known")
    require(chosen == [2.0, 0.0], f"a threshold, then the classes: {chosen}")
    known = UnlabelledTransfer(unlabelled=np.concatenate([agree, x[:3]]))(both, x, np.zeros(400, int))
    require(known.void, "three unlabelled points are labelled examples")


def in_exact_arithmetic() -> None:
    """Sums that cancel: f = (128, 64) x2 errs on every point of class 1, whatever floats make of 2^60 + 128 - 2^60."""
    big, ones, y = 2.0**60, np.ones((500, 3)), np.ones(500, int)
    f, g = [[big, 128.0, -big], [0.0, 64.0, 0.0]], [[0.0, 1.0, 0.0], [0.0, 64.0, 0.0]]
    plain = np.column_stack([np.zeros(500), np.arange(500) + 1.0, np.zeros(500)])  # nothing cancels
    for after, fresh in ((g, 2.0 * ones), (f, plain)):
        bound = UnlabelledTransfer(unlabelled=fresh)(pair(f, after), ones, y)
        require(bound.raw == 1.0, f"f errs on every point, the bound is {bound.raw}")


def fails(shrink: float, fresh: bool = True):
    """Risk of f 0.05: a small margin of g has rate 0.02, the nets differ on 0.03; 300 labelled, 300 unlabelled."""

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        k, j = rng.binomial(300, 0.02, n), rng.binomial(300, 0.03 if fresh else 0.0, n)
        table: dict[tuple[int, int], bool] = {}
        for seen in set(zip(k.tolist(), j.tolist(), strict=True)):
            table[seen] = original_risk(seen[0], 300, 0.0, seen[1], 300, 0.05) / shrink < 0.05
        return np.array([table[seen] for seen in zip(k.tolist(), j.tolist(), strict=True)])

    return trial


def chosen(paid: int, p: float):
    """Four regions of mass p where f errs; g_s is right on region s alone, and differs from f there alone.

    n = 10^6 labelled and u = 30 unlabelled points; the best of the four bounds is shown, `paid` of them are paid.
    """
    law, n = [p] * 4 + [1 - 4 * p], 1_000_000
    table: dict[tuple[int, int], float] = {}

    def bound(small: int, far: int) -> float:
        key = (-(-small // 2_000) * 2_000, far)  # more errors, a larger bound
        if key not in table:
            table[key] = original_risk(key[0], n, 0.0, far, 30, 0.05, nets=paid)
        return table[key]

    def trial(rng: np.random.Generator, trials: int) -> np.ndarray:
        labelled, fresh = (rng.multinomial(size, law, size=trials)[:, :4] for size in (n, 30))
        small = labelled.sum(axis=1)[:, None] - labelled
        return np.array(
            [
                min(bound(k, j) for k, j in zip(row, own, strict=True)) < 4 * p
                for row, own in zip(small.tolist(), fresh.tolist(), strict=True)
            ]
        )

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    one = judge(fails(1.0), delta=0.05, trials=1_000 * effort, name="fresh unlabelled points")
    edge = upper_limit(0, 30, 0.05 / 8) + 0.005  # without a deviation the paid bound is just too small
    best = judge(chosen(4, edge), delta=0.05, trials=1_000 * effort, name="the best of four nets, paid")
    return Evidence(text=f"one net: {one.text}; the best of four, paid: {best.text}", trials=one.trials + best.trials)


def teeth() -> Evidence:
    edge = upper_limit(0, 30, 0.025) + 0.005
    judge(chosen(1, edge), delta=0.05, trials=4_000, name="the best of four nets, unpaid", expect="violated")
    # points that chose g are not fresh: no deviation on them although the nets differ
    judge(fails(1.0, fresh=False), delta=0.05, trials=1_000, name="points that chose g", expect="violated")

    def caught(factor: float) -> bool:  # the second side alone, r = 0: its limit divided by a factor
        p = upper_limit(0, 300, 0.025) / factor * (1 + 1e-9)
        return (1 - p) ** 300 > 0.025

    slack = smallest_sabotage(caught)
    text = f"the best of four nets unpaid, and points that chose g, violate it; a second term divided by {slack:g} does"
    return Evidence(text=text, slack=slack)
