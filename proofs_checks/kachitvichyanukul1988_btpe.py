"""BTPE with the last acceptance test as it is printed does not draw from Bin(n, p): two of its four signs are wrong.

Stirling's formula is ln x! = (x + 1/2) ln(x+1) - (x+1) + ln(2 pi)/2 + t(x+1), t(y) = 1/(12 y) - 1/(360 y^3) + ...; so

    ln(f(k)/f(m)) = ln(m! (n-m)!/(k! (n-k)!)) + (k-m) ln(p/(1-p)) = main + t(m+1) + t(n-m+1) - t(k+1) - t(n-k+1).

Step 5.3 adds all four. It is reached for 20 < |k - m| < n p (1-p)/2 - 1, where the squeeze of step 5.2 leaves the
answer open; there ln f is taken 2 (t(k+1) + t(n-k+1)) too large, about 1/(6 n p (1-p)), and counts more than 20 from
the mode come too often. The law is computed here: BTPE draws points evenly under a curve made of a triangle, a
parallelogram and two exponential tails, so that count k gets the area under the smaller of curve and test. With the
signs right the same computation gives Bin(n, p) within 1e-11.

numpy's Generator draws this way before version 2.5, its RandomState always, with 13680 in place of 13860 besides, which
matters a hundred times less. The authors of GSL saw the signs; numpy corrected both in 2026 (pull request 31238).
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import sympy as sp
from scipy.stats import binom

from boundlab.coresets.binomial_draws import printed_log_ratio
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import smallest_sabotage, verdict

THEOREM = Theorem(
    name="BTPE draws binomial counts",
    source="Kachitvichyanukul and Schmeiser, Commun. ACM 31 (1988), algorithm BTPE, step 5.3, as we understand it from "
    "its implementations and their corrections",
    given=("n p >= 30, p <= 1/2", "independent uniform numbers"),
    claim=r"\Pr[K = k] = \binom{n}{k} p^k (1-p)^{n-k}",
    status="refuted",
    finding="Two of four Stirling terms have the wrong sign: the total variation is 1.0e-4 at n = 3000, p = 0.1 and "
    "5.6e-5 at n = 1000, p = 0.1.",
    ours="hormann1993_btrs",
)

CODE = "coresets/binomial_draws.py"
MUTATIONS = (
    Mutation(file=CODE, old="leading: float = 13860.0", new="leading: float = 13680.0"),
    Mutation(file=CODE, old="(m + 0.5) * np.log(f1 / x1)", new="(m + 0.6) * np.log(f1 / x1)"),
    Mutation(file=CODE, old="for x in (f1, z, x1, w))", new="for x in (f1, z))"),
    Mutation(file=CODE, old="462.0 - (132.0", new="1462.0 - (132.0"),
)


def tail(x: np.ndarray | float) -> np.ndarray | float:
    """The Stirling series t(x), typed once more: what the printed form has too much is 2 (t(k+1) + t(n-k+1))."""
    return 1 / (12 * x) - 1 / (360 * x**3) + 1 / (1260 * x**5) - 1 / (1680 * x**7) + 1 / (1188 * x**9)


def corrected(k: np.ndarray, n: int, p: float) -> np.ndarray:
    """The shipped form with the two signs turned."""
    return printed_log_ratio(k, n, p) - 2 * (tail(k + 1.0) + tail(n - k + 1.0))


class Curve:
    """BTPE's curve over the counts: triangle, parallelogram, two exponential tails; p <= 1/2."""

    def __init__(self, n: int, p: float) -> None:
        """From n and p."""
        self.n, self.p, self.spread = n, p, n * p * (1 - p)
        centre = (n + 1) * p
        self.m = math.floor(centre)
        self.half = math.floor(2.195 * math.sqrt(self.spread) - 4.6 * (1 - p)) + 0.5  # of the triangle's base
        self.left, self.right = self.m + 0.5 - self.half, self.m + 0.5 + self.half
        self.height = 0.134 + 20.5 / (15.3 + self.m)
        slopes = (centre - self.left) / (centre - self.left * p), (self.right - centre) / (self.right * (1 - p))
        self.rates = [a * (1 + a / 2) for a in slopes]

    def ratios(self, k: np.ndarray, final: np.ndarray) -> np.ndarray:
        """What decides on a count: f(k)/f(m), or the last test between the squeezes of step 5.2."""
        d = np.abs(k - self.m)
        rough = -(d**2) / (2 * self.spread)
        slack = (d / self.spread) * ((d * (d / 3 + 0.625) + 1 / 6) / self.spread + 0.5)
        tested = (d > 20) & (d < self.spread / 2 - 1)
        true = binom.logpmf(k, self.n, self.p) - binom.logpmf(self.m, self.n, self.p)
        return np.exp(np.where(tested, np.clip(final, rough - slack, rough + slack), true))

    def area(self, k: int, ratio: float) -> float:
        """The area under the smaller of curve and ratio over [k, k + 1), in closed form."""
        if k + 1 <= self.left:
            return self.tail_area(self.left - k - 1, self.rates[0], ratio)
        if k >= self.right:
            return self.tail_area(k - self.right, self.rates[1], ratio)
        parts = (0.0, 0.5, 1.0) if k == self.m else (0.0, 1.0)
        rise = [1 - abs(self.m + 0.5 - k - x) / self.half for x in parts]
        level = min(ratio, 1.0)
        return sum(abs(self.under(a, level) - self.under(b, level)) * self.half for a, b in pairwise(rise))

    def under(self, t: float, level: float) -> float:
        """An integral in t of max(t, min(level, t + height)): the triangle is accepted without a test."""
        low = level - self.height
        if t < low:
            return ((t + self.height) ** 2 - level**2) / 2
        return level * (min(t, level) - low) + max(0.0, t**2 - level**2) / 2

    def tail_area(self, start: float, rate: float, ratio: float) -> float:
        """The integral of min(ratio, height e^(-rate x)) over [start, start + 1]."""
        cross = min(max(math.log(self.height / ratio) / rate, start), start + 1.0)
        ends = math.exp(-rate * cross) - math.exp(-rate * (start + 1.0))
        return ratio * (cross - start) + self.height * ends / rate


def law(n: int, p: float, final: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The chances of the counts under BTPE, where `final` is its last test."""
    curve = Curve(n, p)
    areas = np.array([curve.area(int(k), r) for k, r in zip(counts, curve.ratios(counts, final), strict=True)])
    return areas / areas.sum()


def around(n: int, p: float) -> np.ndarray:
    """All counts within 14 standard deviations."""
    reach = 14 * math.sqrt(n * p * (1 - p))
    return np.arange(max(0, int(n * p - reach)), min(n, int(n * p + reach)) + 1)


def off(n: int, p: float, final: np.ndarray) -> float:
    """Total variation between BTPE's law and Bin(n, p)."""
    counts = around(n, p)
    return float(np.abs(law(n, p, final, counts) - binom.pmf(counts, n, p)).sum() / 2)


def symbolic() -> str:
    n, m, k, p = sp.symbols("n m k p", positive=True)
    t = sp.Function("t")

    def log_factorial(x: sp.Expr) -> sp.Expr:
        return (x + sp.Rational(1, 2)) * sp.log(x + 1) - (x + 1) + sp.log(2 * sp.pi) / 2 + t(x + 1)

    true = log_factorial(m) + log_factorial(n - m) - log_factorial(k) - log_factorial(n - k)
    true += (k - m) * (sp.log(p) - sp.log(1 - p))
    x1, f1, z, w = k + 1, m + 1, n + 1 - m, n + 1 - k
    half = sp.Rational(1, 2)
    main = (m + half) * (sp.log(f1) - sp.log(x1)) + (n - m + half) * (sp.log(z) - sp.log(w))
    main += (k - m) * (sp.log(w) + sp.log(p) - sp.log(x1) - sp.log(1 - p))
    gap = sp.simplify(sp.expand(true - main - (t(f1) + t(z) - t(x1) - t(w))))
    require(gap == 0, f"ln(f(k)/f(m)) must be main + t(f1) + t(z) - t(x1) - t(w), not {gap} more")
    y = sp.symbols("y", positive=True)
    series = sp.series(sp.loggamma(1 / y) - ((1 / y - half) * sp.log(1 / y) - 1 / y + sp.log(2 * sp.pi) / 2), y, 0, 11)
    nested = (13860 - (462 - (132 - (99 - 140 * y**2) * y**2) * y**2) * y**2) * y / 166320
    require(sp.expand(series.removeO() - nested) == 0, f"the series of t is {series}, the nested form {nested}")
    return "t(k+1) and t(n-k+1) are subtracted in ln(f(k)/f(m)), and t = 1/(12 y) - ... starts with 13860/166320"


def exact() -> str:
    found = []
    for n, p, want in ((3_000, 0.1, 1.04e-4), (1_000, 0.1, 5.56e-5), (1_200, 0.1, 7.19e-5)):
        k = around(n, p)
        printed, numpys = off(n, p, printed_log_ratio(k, n, p)), off(n, p, printed_log_ratio(k, n, p, leading=13680.0))
        right = off(n, p, corrected(k, n, p))
        require(abs(printed / want - 1) < 0.01, f"n = {n}: the printed test is off by {printed}, {want} was known")
        require(numpys > 4e-5 and right < 1e-11, f"n = {n}: off by {numpys} as in numpy, {right} with the signs right")
        ratio = binom.logpmf(k, n, p) - binom.logpmf(math.floor((n + 1) * p), n, p)
        inner = np.abs(k - n * p) < 5 * math.sqrt(n * p)
        gap = np.abs(corrected(k, n, p) - ratio)[inner].max()
        require(gap < 1e-10, f"n = {n}: the turned signs leave {gap} of ln(f(k)/f(m))")
        found.append(f"{printed:.2e} at n = {n}")
    return f"total variation to Bin(n, 0.1): {', '.join(found)}; with the signs right below 1e-11"


N, P = 1_500, 0.1


def monte_carlo(effort: int = 1) -> Evidence:
    """Draw from the frozen stream of numpy: counts within 20 of the mode, whose chance the two laws disagree on."""
    size, hits = 10_000_000, 0
    for seed in range(effort):
        hits += int(np.count_nonzero(np.abs(np.random.RandomState(seed).binomial(N, P, size) - 150) <= 20))
    k, trials = around(N, P), size * effort
    inside = np.abs(k - 150) <= 20
    told = float(binom.pmf(k, N, P)[inside].sum())
    coded = float(law(N, P, printed_log_ratio(k, N, P, leading=13680.0), k)[inside].sum())
    require(told - coded > 8e-5, f"the laws must disagree: {told} against {coded}")
    for count, chance in ((hits, coded), (trials - hits, 1 - coded)):
        require(
            verdict(count, trials, chance) != "violated", f"{count} of {trials} refute the law computed from the code"
        )
    weight = hits * math.log(coded / told) + (trials - hits) * math.log((1 - coded) / (1 - told))
    z = [(hits - trials * c) / math.sqrt(trials * c * (1 - c)) for c in (coded, told)]
    text = f"{trials} draws of numpy's RandomState: z = {z[0]:.1f} by the law computed from its code, {z[1]:.1f} by "
    return Evidence(text=f"{text}Bin({N}, {P}), log likelihood ratio {weight:.1f}", trials=trials)


def teeth() -> Evidence:
    k = around(3_000, 0.1)

    def caught(factor: float) -> bool:  # the first coefficient of the series, divided by a factor, signs right
        lost = (1 - 1 / factor) / 12
        final = corrected(k, 3_000, 0.1)
        m = 300
        shift = lost * (1 / (m + 1) + 1 / (3_001 - m) - 1 / (k + 1) - 1 / (3_001 - k))
        return off(3_000, 0.1, final - shift) > 1e-9

    slack = smallest_sabotage(caught)
    return Evidence(
        text=f"a first coefficient divided by {slack:g} is seen in the law, with the signs right", slack=slack
    )
