"""All sets of a class of finite VC-dimension have their frequencies within eta times the square root of themselves.

Statement. m independent draws, a class of sets with growth function G (it cuts at most G(n) subsets out of n points):
    P(some A: P(A) - P_m(A) > eta sqrt(P(A)))   <= 4 G(2m) e^(-m eta²/4)   and
    P(some A: P_m(A) - P(A) > eta sqrt(P_m(A))) <= 4 G(2m) e^(-m eta²/4).
With Sauer's G(n) <= (e n/v)^v, v the VC-dimension and n >= v, both fail together with probability at most delta if
eta² = (4/m)(v ln(2 e m/v) + ln(8/delta)); a further factor c of classes is a further ln c.

Proof. Let the right side be below 1: m eta² > 4 ln 4 > 5.5. A set can fail only if eta < 1, since eta sqrt(P) < P or
eta sqrt(P_m) < P_m: so m > 5. Take a second sample P' of m draws, independent of the first. Sauer's lemma and Greenberg
and Mohri's are cited, not proved here.
 (1) Let A fail in the first sense. P(A) > eta², so m P(A) > 5.5 > 1, and P'(A) >= P(A) has probability at least 1/4
     (Greenberg and Mohri: P(Bin(m, p) >= m p) > 1/4 for p > 1/m). Then (P' - P_m)/sqrt((P' + P_m)/2), which rises in
     P', is at least (P - P_m)/sqrt((P + P_m)/2) >= (P - P_m)/sqrt(P) > eta, as P_m < P.
 (2) Let A fail in the second sense. P'(A) <= P(A) has probability at least 1/4: apply the lemma to 1 - P if
     P < 1 - 1/m; otherwise P_m - P <= 1/m, and failing would need m eta² < 1/(m - 1). Then the mirrored quotient,
     which falls in P', is at least (P_m - P)/sqrt((P_m + P)/2) >= (P_m - P)/sqrt(P_m) > eta, as P < P_m.
 So the failure has at most 4 times the probability that some A has its two samples apart:
 ±(P' - P_m) > eta sqrt((P' + P_m)/2).
 (3) Swapping the i-th draws of both samples by fair coins changes nothing in the law. Given the 2m points, the sum of
     ±1 over those D pairs of which one point is in A must exceed eta m sqrt(S/(2m)), S >= D the points in A.
     Hoeffding: probability at most exp(-eta² m² S/(2m)/(2 D)) <= e^(-m eta²/4), for each of the G(2m) subsets.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab.concentration.binomial import log_cdf, log_sf
from boundlab.coresets.layer_cake import log_growth, relative_deviation
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.boundlab_fixed_inputs import TINY, agrees, log_events, multinomial
from proofs_checks.judging import judge, smallest_sabotage, violated
from proofs_checks.proving import exact as around

THEOREM = Theorem(
    name="Relative deviations of frequencies, uniformly over a class of sets",
    source="Anthony and Shawe-Taylor, Discrete Applied Mathematics 47 (1993), after Vapnik, as we understand the "
    "paper; item number not known to us",
    given=(
        "m independent draws from one law",
        "the class has a finite VC-dimension",
        "P(Bin(m, p) >= m p) >= 1/4 for p > 1/m",
    ),
    claim=r"\Pr\big[\exists A: P - P_m > \eta\sqrt{P}\ \mathrm{or}\ P_m - P > \eta\sqrt{P_m}\big] "
    r"\le 8\,G(2m)\,e^{-m\eta^2/4}",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="coresets/layer_cake.py",
        old="math.sqrt(4.0 / m * (log_growth(2.0 * m, vc) + log_events))",
        new="math.sqrt(1.0 / m * (log_growth(2.0 * m, vc) + log_events))",
    ),
    Mutation(
        file="coresets/layer_cake.py",
        old="v * (1.0 + math.log(n / v))",
        new="v * math.log(n / v)",
    ),
    Mutation(
        file="coresets/layer_cake.py",
        old="log_events = math.log(8.0) + log_classes - math.log(",
        new="log_events = math.log(8.0) - math.log(",
    ),
    Mutation(
        file="coresets/layer_cake.py",
        old="log_growth(2.0 * m, vc)",
        new="log_growth(m, vc)",
    ),
)


def thresholds_fail(q: list[Fraction], m: int, eta: Fraction) -> tuple[Fraction, Fraction]:
    """The exact probabilities of the two failures for the sets {1..i} of a law on a few atoms."""
    mass = [sum(q[: i + 1], Fraction(0)) for i in range(len(q))]
    below = above = Fraction(0)
    for chance, counts in multinomial(q, m):
        seen = [Fraction(sum(counts[: i + 1]), m) for i in range(len(q))]
        below += chance * any(p > s and (p - s) ** 2 > eta**2 * p for p, s in zip(mass, seen, strict=True))
        above += chance * any(s > p and (s - p) ** 2 > eta**2 * s for p, s in zip(mass, seen, strict=True))
    return below, above


def coin_fails(factor: float) -> bool:
    """Whether eta of `factor` times as many draws is refuted by one rare set at delta = 1e-200, by its exact tail."""
    m, p = 1_000_000, 0.01
    eta = relative_deviation(m * factor, TINY, vc=1)
    return log_cdf(math.floor(m * (p - eta * math.sqrt(p))), m, p)[0] > math.log(TINY)


def misses(share: float, m: int = 300):
    """A trial: some interval [0, r] deviates by more than `share` of eta; uniform draws, delta = 1/2.

    The extremes are just before a draw, where the frequency lags most, and at it.
    """
    eta = share * relative_deviation(m, 0.5, vc=1)
    rank = np.arange(1, m + 1)

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        r = np.sort(rng.random((n, m)), axis=1)
        lags = (r - (rank - 1) / m) > eta * np.sqrt(r)
        leads = (rank / m - r) > eta * np.sqrt(rank / m)
        return np.any(lags | leads, axis=1)

    return trial


def all_subsets_miss(*, growth: bool):
    """A trial: the unseen points of 2000, a set of the class of all subsets, deviate by more than eta; 20 draws."""
    m, n = 20, 2_000
    eta = relative_deviation(m, 0.9, vc=n) if growth else math.sqrt(4 / m * math.log(8 / 0.9))

    def trial(rng: np.random.Generator, trials: int) -> np.ndarray:
        drawn = np.sort(rng.integers(0, n, (trials, m)), axis=1)
        unseen = 1.0 - (1 + np.count_nonzero(np.diff(drawn, axis=1), axis=1)) / n
        return np.sqrt(unseen) > eta

    return trial


def symbolic() -> str:
    a, b = sp.symbols("a b", positive=True)
    quotient = (a - b) / sp.sqrt((a + b) / 2)
    rises, falls = sp.simplify(sp.diff(quotient, a)), sp.simplify(sp.diff(quotient, b))
    require(sp.simplify(rises - sp.sqrt(2) * (a + 3 * b) / (2 * (a + b) ** sp.Rational(3, 2))) == 0, "rises in a")
    require(sp.simplify(falls + sp.sqrt(2) * (3 * a + b) / (2 * (a + b) ** sp.Rational(3, 2))) == 0, "falls in b")
    m, eta, pairs, spare = sp.symbols("m eta D s", positive=True)
    threshold = eta * m * sp.sqrt((pairs + spare) / (2 * m))  # S = D + spare
    exponent = sp.simplify(threshold**2 / (2 * pairs) - m * eta**2 / 4)
    require(exponent.is_positive and sp.simplify(exponent.subs(spare, 0)) == 0, "at least m eta²/4, equal at S = D")
    require(4 * sp.log(4) > sp.Rational(11, 2), "m eta² > 4 ln 4 > 5.5 where the bound says anything")
    v, d = sp.symbols("v delta", positive=True)
    square = 4 / m * (v * sp.log(2 * sp.E * m / v) + sp.log(8 / d))
    bound = sp.log(8) + v * sp.log(2 * sp.E * m / v) - m * square / 4
    require(sp.simplify(sp.expand_log(bound - sp.log(d), force=True)) == 0, "the bound must be delta at eta")
    return "the quotient rises in P' and falls in P_m; the exponent is at least m eta²/4; the bound at eta is delta"


def exact() -> str:
    lowest = Fraction(1)
    for m in range(2, 31):  # P(Bin >= k) rises in p: on (k-1)/m < p <= k/m it is above its value at (k-1)/m
        for k in range(2, m + 1):
            p = Fraction(k - 1, m)
            tail = sum((math.comb(m, i) * p**i * (1 - p) ** (m - i) for i in range(k, m + 1)), Fraction(0))
            lowest = min(lowest, tail)
    require(lowest >= Fraction(1, 4), f"P(Bin >= m p) is {lowest} for some p > 1/m")
    far = min(log_sf(k, m, (k - 1) / m)[0] for m in (100, 400) for k in range(2, m + 1))
    require(far > math.log(0.25), "P(Bin >= m p) >= 1/4 at m = 100 and 400")
    worst = Fraction(0)
    for q in ([Fraction(1, 10), Fraction(3, 10), Fraction(6, 10)], [Fraction(1, 3), Fraction(1, 3), Fraction(1, 3)]):
        for m, delta in ((30, 0.9), (50, 0.9), (50, 0.1)):
            eta = Fraction(relative_deviation(m, delta, vc=1))
            fails = thresholds_fail(q, m, eta)
            require(sum(fails) <= Fraction(delta), f"exact failure {fails} at delta = {delta}")
            worst = max(worst, sum(fails) / Fraction(delta))
            plain = thresholds_fail(q, m, eta / 3)  # against the bound itself, at a third of eta
            limit = 4 * math.exp(log_growth(2 * m, 1) - m * float(eta / 3) ** 2 / 4)
            require(max(plain) <= min(1, limit), f"exact failure {plain} above {limit}")
    for points, vc in ((2, 2), (5, 2), (40, 3), (1_000, 10)):  # Sauer's own sum, in whole numbers
        cut = sum(math.comb(points, i) for i in range(vc + 1))
        require(log_growth(points, vc) >= math.log(cut), f"growth at {points}, {vc}: below the number of subsets {cut}")
    for m, v, c, delta in ((100, 2, 1, 0.9), (10_000, 30, 7, 1e-9), (3, 40, 2, 0.5)):
        cuts = v * (around(Fraction(2 * m, v)).log() + 1) if 2 * m >= v else 2 * m * around(2).log()
        eta = (4 * (cuts + log_events(delta, 8 * c)) / m).sqrt()
        agrees(relative_deviation(m, delta, vc=v, classes=c), eta, f"eta at m = {m}, v = {v}")
    union = relative_deviation(100, 0.1, vc=2, classes=7) / relative_deviation(100, 0.1 / 7, vc=2)
    require(abs(union - 1) < 1e-11, "7 classes must cost what delta/7 costs")
    require(not coin_fails(1.0), "a rare set's exact tail exceeds delta")
    return (
        f"P(Bin >= m p) >= {float(lowest):.4f} for all p > 1/m, m <= 30; thresholds on 3 atoms, all draws: at most "
        f"{float(worst):.2g} of delta; a rare set at delta = {TINY:g} holds"
    )


def monte_carlo(effort: int = 1) -> Evidence:
    runs = [
        judge(misses(1.0), delta=0.5, trials=500 * effort, name="intervals [0, r]", block=500),
        judge(all_subsets_miss(growth=True), delta=0.9, trials=300 * effort, name="all subsets of 2000 points"),
    ]
    return Evidence(text="; ".join(run.text for run in runs), trials=sum(run.trials for run in runs))


def teeth() -> Evidence:
    slack = smallest_sabotage(coin_fails)
    blind = all_subsets_miss(growth=False)
    require(violated(blind, delta=0.9, trials=300, name="no growth"), "eta without the growth function must be caught")
    require(violated(misses(0.1), delta=0.5, trials=300, name="a tenth"), "a tenth of eta must be caught")
    text = (
        f"refuted: eta of {slack:g} times as many draws (exact, delta = {TINY:g}; one set alone needs half of 4/m), "
        "no growth function (all subsets), eta/10 (intervals)"
    )
    return Evidence(text=text, slack=slack)
