"""Hörmann's transformed rejection draws from Bin(n, p), and the shipped draws do within a stated total variation.

The law. With A = (n+1) p, B = (n+1) (1-p), k + 1/2 = A + D and e(x) = X ln X - X + ln(2 pi)/2 - ln x! at X = x + 1/2,

    ln f(k) = const + e(k) + e(n-k) - H,   H = (A+D) ln(1 + D/A) + (B-D) ln(1 - D/B):

the linear terms cancel. So T(k) = exp(e(k) + e(n-k) - H) is f(k) times a constant C, and all that is evaluated. With u
uniform, k = floor(G(u)), G' = a/us^2 + b, us = 1/2 - |u|, a proposal that is accepted with chance T(k) G'(u)/alpha
gives k with chance T(k)/alpha times the integral of G' over {u: floor(G(u)) = k}, which is 1. This takes

    the hat: T(k) G'(u) <= alpha for all u,   the squeeze: v_r alpha <= T(k) G'(u), 0 <= k <= n where us >= 0.07.

Both are proved in `symbolic` for all n p >= 10, p <= 1/2, with balls for us, 1/sigma and p, and for every real k with
G(u) - 1 <= k <= G(u); counts across the mode from u are those of the other side at us = 1/2, where G' is smallest.
There H = d^2/c (q h(q t) + p h(-p t)) at D = d sigma, c = 1 + p q/sigma^2, t = d/(c sigma), and h(t), the integral of
(1-x)/(1+tx) over [0, 1], ((1+t) ln(1+t) - t)/t^2, falls and is convex. 0 < e(x) <= 1/(24 X): with y = x + 1,
e(x) - e(x+1) = ln y - (the mean of ln on [y - 1/2, y + 1/2]) = sum_j y^(-2j)/(2j (2j+1) 4^j), term by term at most
sum_j 4^(1-j) y^(-2j)/24 = (1/(y - 1/2) - 1/(y + 1/2))/24. Below us = 1/60 take 1/6 for both e; with the distance, in
units of sigma, ln(T G'/alpha) then falls at a rate of at least H/d - 2 us/a >= 1/2, as H' >= H/d grows, G' >= a/us^2.

Rounding where n p >= 10, eps = 2^-53. Masses w_k + r_k in place of w_k move the law by at most
(sum |r_k| + |sum r_k|)/(2 sum w_k), and sum w_k = C/alpha >= 0.69, as C >= sqrt(2 pi) sigma e^(-1/(12 (n+1))). What a
moved limit between two counts takes from one and gives to the other enters once.

- Count: three roundings in the product and one in the sum move the limit at distance j from the mode by at most
  4 eps (|j| + 2), in all 4 eps (E|k - m| + 4). By de Moivre E|k - np| = 2 v (1-p) f(v), v = floor(np) + 1, and by
  Stirling's bound of f(v) this is at most 0.882 sigma: 3.53 eps sigma + 20 eps.
- Word: u = word/2^64 is off by 2^-55, and so is the mass at each limit, times the chance of acceptance: 1 for at most
  9.8 sigma + 2 limits with us >= 1/60, and in sum 4 sigma + 2 beyond, by the rate 1/2: 4.95 eps sigma + 2 eps.
- A and B: ln(A/B) is off by 3 eps, ln T by 3 eps D: 1.33 eps sigma.
- T: H is evaluated within 80 eps H, and E H <= 1; e within 1e-16; exp, the hat and v within 20 eps: 101 eps.

Together below 9.9 eps sigma + 130 eps. Inversion, n p < 10: the first term is within 58 eps and each further one within
5 eps more, 108 eps in the mean; u loses eps times its size in each difference, at most 11 eps at each of 48 limits, and
the mass beyond is below eps: below 700 eps. Both are below 1024 eps + 10 eps sigma.

Multinomials. Edge j gets a binomial of what the edges before it have left, with q_j/(q_j + after_j) or its complement,
whichever is smaller, within a relative 4 eps. The divergence between the chains is at most sum_j E[n_j] 2 (4 eps)^2 s_j
with s_j the smaller one, at most 2 (4 eps)^2 N: by Pinsker 4 eps sqrt(N). The distances of the binomials add to it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import flint
import numpy as np
import sympy as sp
from flint import arb
from numba import njit
from scipy.stats import binom

from boundlab.coresets.alias import MULTINOMIAL_ABOVE, Multinomials
from boundlab.coresets.binomial_draws import (
    INVERT_BELOW,
    _accepted,
    _deviance,
    _excess,
    _inverted,
    _proposal,
    _shape,
    distance,
    draw_binomials,
    masses_after,
)
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import smallest_sabotage, verdict
from proofs_checks.proving import exact as enclosed

THEOREM = Theorem(
    name="Transformed rejection draws binomial counts",
    source="Hörmann, J. Stat. Comput. Simul. 46 (1993), algorithm BTRS, as we understand the paper; the proof that its "
    "constants suffice, the form of the density and the bounds of the rounding are ours",
    given=("0 <= n <= 2^53, 0 <= p <= 1", "independent uniform words of 64 bits"),
    claim=r"TV(\text{draw}, \text{Bin}(n, p)) \le 2^{-43} + 10 \cdot 2^{-53} \sqrt{n p (1-p)}",
    status="holds",
)

CODE = "coresets/binomial_draws.py"
MUTATIONS = (
    Mutation(file=CODE, old="0.92 - 4.2 / b", new="0.93 - 4.2 / b"),
    Mutation(file=CODE, old="2.83 + 5.1 / b", new="2.81 + 5.1 / b"),
    Mutation(file=CODE, old="us >= 0.07 and", new="us >= 0.05 and"),
    Mutation(file=CODE, old="_excess(k) + _excess(n - k)", new="_excess(k) - _excess(n - k)"),
    Mutation(file=CODE, old="s * (1 / 3 + s", new="s * (1 / 3 - s"),
    Mutation(file=CODE, old="s * (7 / 2880", new="s * (7 / 2888"),
    Mutation(file=CODE, old="(n + 1.0 - k) * odds / k", new="(n - k) * odds / k"),
    Mutation(file=CODE, old="INVERT_BELOW = 10.0", new="INVERT_BELOW = 5.0"),
    Mutation(file=CODE, old="MOST_INVERTED = 110.0", new="MOST_INVERTED = 22.0"),
    Mutation(file=CODE, old="k = n[i] - k", new="k = n[i] - k - (k > 0.0)"),
    Mutation(file=CODE, old="left, after[j] / (q[j] + after[j])", new="left, after[j] / q[j]"),
    Mutation(file=CODE, old="total = grown", new="total = grown * (1.0 + 2.0**-50)"),
)

PAIRS = ((20, 0.5), (37, 0.3), (101, 0.1), (1_000, 0.01001), (300, 0.25), (3_000, 0.1), (10**5, 0.37), (10**6, 0.5))
SMALL_PAIRS = ((1, 0.5), (19, 0.5), (50, 0.19), (1_000, 0.00999), (10**9, 5e-9), (30, 0.01), (10**15, 1e-20))


@dataclass(slots=True)
class Jet:
    """A ball and the balls of its partial derivatives."""

    value: arb
    slopes: list[arb]

    def through(self, value: arb, slope: arb) -> Jet:
        """The chain rule."""
        return Jet(value, [s * slope for s in self.slopes])

    def __add__(self, other: Any) -> Jet:
        if isinstance(other, Jet):
            return Jet(self.value + other.value, [s + t for s, t in zip(self.slopes, other.slopes, strict=True)])
        return Jet(self.value + other, self.slopes)

    def __mul__(self, other: Any) -> Jet:
        if isinstance(other, Jet):
            v, w = self.value, other.value
            return Jet(v * w, [s * w + v * t for s, t in zip(self.slopes, other.slopes, strict=True)])
        return self.through(self.value * other, other)

    def __neg__(self) -> Jet:
        return self * arb(-1)

    def __sub__(self, other: Any) -> Jet:
        return self + (-other)

    def __rsub__(self, other: Any) -> Jet:
        return -self + other

    def __rtruediv__(self, other: Any) -> Jet:
        inverse = 1 / self.value
        return self.through(other * inverse, -other * inverse * inverse)

    def __truediv__(self, other: Any) -> Jet:
        return self * (1 / other)

    __radd__, __rmul__ = __add__, __mul__


def log(x: Any) -> Any:
    return x.through(x.value.log(), 1 / x.value) if isinstance(x, Jet) else x.log()


def h(t: Any) -> Any:
    """((1+t) ln(1+t) - t)/t^2, which falls and is convex; as 1 below t = -1, where there is no count."""
    if isinstance(t, Jet):
        ends = [(_h(x), _h_slope(x)) for x in (t.value.lower(), t.value.upper())]
        return t.through(ends[0][0].union(ends[1][0]), ends[0][1].union(ends[1][1]))
    return _h(t.lower()).union(_h(t.upper()))


def _h(t: arb) -> arb:
    if abs(t) < 0.01:
        return sum(((-t) ** j / ((j + 1) * (j + 2)) for j in range(8)), arb(0)) + abs(t) ** 8 * arb(0, 1)
    return arb(1) if t <= -1 else ((1 + t) * (1 + t).log() - t) / t**2


def _h_slope(t: arb) -> arb:
    if abs(t) < 0.01:
        return sum((-((-t) ** (j - 1)) * j / ((j + 1) * (j + 2)) for j in range(1, 9)), arb(0)) + abs(t) ** 8 * arb(
            0, 1
        )
    return arb("nan") if t <= -1 else (2 * t - (2 + t) * (1 + t).log()) / t**3


Point = tuple[Any, ...]  # us, 1/sigma, p: balls or jets
PRINTED = ("0.92", "4.2", "2.83", "5.1", "1.15", "2.53", "0.0873", "0.0248", "0.01")
DECIMALS = {text: enclosed(Fraction(text)) for text in PRINTED}


def constants(s: Any, p: Any) -> tuple[Any, Any, Any, Any]:
    """a, b and alpha over sigma, and v_r."""
    c = DECIMALS
    b = c["1.15"] * s + c["2.53"]
    a = c["0.0248"] * b - c["0.0873"] * s + c["0.01"] * (p * s)
    return a, b, c["0.92"] - c["4.2"] * (s / b), c["2.83"] + c["5.1"] * (s / b)


class Side:
    """One side of the mode, u > 0 or u < 0, in units of sigma: what is known of a proposal at us."""

    def __init__(self, point: Point, left: bool) -> None:
        """From us, 1/sigma and p."""
        us, s, p = point
        q = 1 - p
        self.s, self.c = s, 1 + p * q * (s * s)
        self.one, self.other = (q, p) if left else (p, q)  # k - np has moved towards the end of n p/one counts
        self.a, self.b, self.squeeze, self.alpha = constants(s, p)
        self.hat = self.a / (us * us) + self.b
        away = (2 * (self.a / us) + self.b) * (0.5 - us)
        self.near, self.far = away - self.one * s, away + self.other * s  # of |D|: G(u) lies in the count's cell

    def H(self, d: Any) -> Any:
        """The deviance at distance d from (n+1) p."""
        t = d * self.s / self.c
        return d * d / self.c * (self.other * h(self.other * t) + self.one * h(-(self.one * t)))

    def room(self, d: Any) -> Any:
        """The number of counts left on this side, plus 1/2, as a share: no count lies where it is not positive."""
        return 1 - self.one * (d * self.s / self.c)

    def excess(self) -> arb:
        """An upper bound of e(k) + e(n-k) over the cell, on plain balls."""
        unit = self.s * self.s / (24 * self.c)
        towards = (self.other * unit, 1 + self.other * (self.near * self.s / self.c))
        from_end = (self.one * unit, self.room(self.far))
        return sum((_at_most_twelfth(x, y) for x, y in (towards, from_end)), arb(0))


def _at_most_twelfth(x: arb, y: arb) -> arb:
    """The upper end of min(x/y, 1/12): e(x) <= 1/(24 (x + 1/2)) <= 1/12."""
    return (x / y).upper() if y > 0 and x / y < arb(1) / 12 else arb(1) / 12


Margin = Callable[[Point], Any]


def hat_margin(balls: Point, left: bool) -> Margin | None:
    """ln(alpha/(T G')), or None where no count is proposed."""
    side = Side(balls, left)
    if side.room(side.near) < 0:
        return None
    excess, beyond = side.excess(), side.near > 0

    def margin(point: Point) -> Any:
        at = Side(point, left)
        return log(at.alpha) - log(at.hat) - excess + (at.H(at.near) if beyond else 0)

    return margin


def tail_margin(balls: Point, left: bool) -> Margin | None:
    """The same with 1/6 for the two e, at us = 1/60."""
    side = Side(balls, left)
    if side.room(side.near) < 0:
        return None

    def margin(point: Point) -> Any:
        at = Side(point, left)
        return log(at.alpha) - log(at.hat) - arb(1) / 6 + at.H(at.near)

    return margin


def tail_slope(balls: Point, left: bool) -> Margin | None:
    """Return a (H/d - 1/2) - 2 us at us = 1/60, in units of sigma."""
    side = Side(balls, left)
    if side.room(side.near) < 0:
        return None

    def margin(point: Point) -> Any:
        at = Side(point, left)
        return at.a * (at.H(at.near) / at.near - 0.5) - 2 * TAIL

    return margin


def squeeze_margin(balls: Point, left: bool) -> Margin | None:
    """ln(T G'/(v_r alpha)); nan where a count outside 0 .. n might be proposed."""
    side = Side(balls, left)
    inside = arb(0) if side.room(side.far) > 0 else arb("nan")

    def margin(point: Point) -> Any:
        at = Side(point, left)
        return log(at.hat) - log(at.squeeze * at.alpha) - at.H(at.far) + inside

    return margin


TAIL = 1 / 60
MOST_S = 0.448  # 1/sigma is at most 1/sqrt(5)


def prove_margin(setup: Callable[[Point, bool], Margin | None], us: tuple[float, float], left: bool) -> int:
    """Prove margin > 1e-6 for us in the interval and all n p >= 10, p <= 1/2; return the number of boxes.

    On each box the margin is enclosed directly, then by its value in the middle and the slopes over the box; an
    undecided box is cut where slope times side is largest. 1e-6 is far above the rounding of the shipped constants.
    """
    todo, seen = [(us, (0.0, MOST_S), (0.0, 0.5))], 0
    while todo:
        box = todo.pop()
        seen += 1
        require(seen < 50_000, f"not proved with {seen} boxes; the last one was {box}")
        balls = tuple(arb((lo + hi) / 2, (hi - lo) / 2) for lo, hi in box)
        _, s, p = balls
        if 10 * (1 - p) * s * s > 1.001:
            continue  # n p < 10
        margin = setup(balls, left)
        if margin is None:
            continue
        jets = [Jet(x, [arb(int(i == j)) for j in range(3)]) for i, x in enumerate(balls)]
        whole = margin(tuple(jets))
        if whole.value > 1e-6:
            continue
        middle = margin(tuple(x.mid() for x in balls))
        if sum((g * (x - x.mid()) for g, x in zip(whole.slopes, balls, strict=True)), middle) > 1e-6:
            continue
        cost = [float(abs(g).upper()) * (hi - lo) for g, (lo, hi) in zip(whole.slopes, box, strict=True)]
        if not all(map(math.isfinite, cost)):
            cost = [
                (hi - lo) * weight for (lo, hi), weight in zip(box, (1.0, 1.0, 0.1), strict=True)
            ]  # p matters least
        side = cost.index(max(cost))
        lo, hi = box[side]
        cut = (lo + hi) / 2
        todo += [(*box[:side], half, *box[side + 1 :]) for half in ((lo, cut), (cut, hi))]
    return seen


def symbolic() -> str:
    u, a, b = sp.symbols("u a b", positive=True)
    require(
        sp.simplify(sp.diff((2 * a / (sp.Rational(1, 2) - u) + b) * u, u) - a / (sp.Rational(1, 2) - u) ** 2 - b) == 0,
        "G' must be a/us^2 + b",
    )
    n, p, k, j = sp.symbols("n p k j", positive=True)

    def log_t(k: sp.Expr) -> sp.Expr:
        def e(x: sp.Expr) -> sp.Expr:
            X = x + sp.Rational(1, 2)
            return X * sp.log(X) - X - sp.loggamma(x + 1)

        K, L, A, B = k + sp.Rational(1, 2), n - k + sp.Rational(1, 2), (n + 1) * p, (n + 1) * (1 - p)
        return e(k) + e(n - k) - (K * sp.log(K / A) + L * sp.log(L / B))  # the linear terms of H cancel

    step = sp.expand_log(log_t(k + 1) - log_t(k), force=True).subs(
        {
            sp.loggamma(k + 2): sp.loggamma(k + 1) + sp.log(k + 1),
            sp.loggamma(n - k + 1): sp.loggamma(n - k) + sp.log(n - k),
        }
    )
    want = sp.log(n - k) - sp.log(k + 1) + sp.log(p) - sp.log(1 - p)
    require(sp.simplify(sp.expand(step - want)) == 0, "T(k+1)/T(k) must be f(k+1)/f(k)")
    gap = sp.Rational(1, 24) * 4 ** (1 - j) - 1 / (2 * j * (2 * j + 1) * 4**j)
    require(sp.simplify(gap * 4**j - (j * (2 * j + 1) - 3) / (6 * j * (2 * j + 1))) == 0, "e's series, term by term")
    for trials, chance in ((20, 0.5), (10**6, 0.01), (10**9, 1e-8)):  # the constants are those of the shipped code
        sigma = math.sqrt(trials * chance * (1 - chance))
        shipped = np.array(_shape(float(trials), chance)) / (sigma, sigma, 1, sigma)
        proved = [float(x.mid()) for x in constants(arb(1) / sigma, arb(chance))]
        require(np.allclose(shipped, proved, rtol=1e-12), f"constants {shipped} against {proved}")
    before, flint.ctx.prec = flint.ctx.prec, 64
    try:
        boxes = [
            prove_margin(setup, us, left)
            for setup, us in (
                (hat_margin, (TAIL, 0.5)),
                (squeeze_margin, (0.0699, 0.5)),
                (tail_margin, (TAIL, TAIL)),
                (tail_slope, (TAIL, TAIL)),
            )
            for left in (False, True)
        ]
    finally:
        flint.ctx.prec = before
    return f"T is proportional to f; hat above and squeeze below on all n p >= 10, p <= 1/2: {sum(boxes)} boxes"


@njit
def first_word(k, n, p, a, b):
    """The smallest signed word that proposes at least k: proposals rise with the word."""
    low, high = np.int64(-(2**63)), np.int64(2**63 - 1)  # they propose minus and plus infinity
    while low + 1 < high:
        middle = (low & high) + ((low ^ high) >> 1)  # their mean, without overflow
        if _proposal(middle, n, p, a, b)[0] >= k:
            high = middle
        else:
            low = middle
    return high


@njit
def accepted_share(k, us, n, p, a, b, squeeze, alpha):
    """The share of words v that accept a proposal: found by bisection, as the test rises with v."""
    low, high = 0.0, 1.0
    if _accepted(1.0, k, us, n, p, a, b, squeeze, alpha):
        return 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if _accepted(middle, k, us, n, p, a, b, squeeze, alpha):
            low = middle
        else:
            high = middle
    return low


@njit
def rejection_masses(first, last, n, p, nodes, weights, ease):
    """The mass of words that give each count first .. last, before normalising; `ease` multiplies the squeeze."""
    a, b, squeeze, alpha = _shape(n, p)
    edges = np.array([-(0.43 * 2.0**64), 0.0, 0.43 * 2.0**64])  # of the squeeze, and where the density has a kink
    masses = np.zeros(last - first + 1)
    for i in range(len(masses)):
        k = float(first + i)
        start, end = first_word(k, n, p, a, b), first_word(k + 1.0, n, p, a, b)
        low = float(start)
        for edge in edges:
            if low < edge < float(end):
                masses[i] += stretch(low, edge, k, n, p, a, b, squeeze * ease, alpha, nodes, weights)
                low = edge
        masses[i] += stretch(low, float(end), k, n, p, a, b, squeeze * ease, alpha, nodes, weights)
    return masses


@njit
def stretch(low, high, k, n, p, a, b, squeeze, alpha, nodes, weights):
    """Gauss's rule for the accepted share over a stretch of words, in units of 2^64 words."""
    total = 0.0
    for i in range(len(nodes)):
        us = 0.5 - abs(low + (high - low) * nodes[i]) * 2.0**-64
        total += weights[i] * accepted_share(k, us, n, p, a, b, squeeze, alpha)
    return total * (high - low) * 2.0**-64


@njit
def inversion_masses(last, n, p):
    """The mass of words that give each count 0 .. last, before normalising."""
    masses, before = np.zeros(last + 1), 0.0
    for k in range(last + 1):
        low, high = np.uint64(0), np.uint64(2**64 - 1)  # the last word that gives at most k
        while low < high:
            middle = low + (high - low) // np.uint64(2) + np.uint64(1)
            if 0.0 <= _inverted(middle, n, p) <= k:
                low = middle
            else:
                high = middle - np.uint64(1)
        below = (float(low) + 1.0) * 2.0**-64
        masses[k] = below - before
        before = below
    return masses


def law(n: int, p: float, ease: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Counts and their chances, as the shipped code gives them: limits by bisection of words, shares by integration."""
    if n * p < INVERT_BELOW:
        counts = np.arange(min(n, 120) + 1)
        masses = inversion_masses(int(counts[-1]), float(n), p)
    else:
        sigma = math.sqrt(n * p * (1 - p))
        reach = (12.0 if sigma < 5_000 else 8.5) * sigma
        counts = np.arange(max(0, int(n * p - reach)), min(n, int(n * p + reach + 30)) + 1)
        nodes, weights = np.polynomial.legendre.leggauss(16 if sigma < 30 else 6 if sigma < 1_000 else 2)
        masses = rejection_masses(int(counts[0]), int(counts[-1]), float(n), p, (nodes + 1) / 2, weights / 2, ease)
    return counts, masses / masses.sum()


def truth(counts: np.ndarray, n: int, p: float) -> np.ndarray:
    """The binomial chances by their ratios from the mode outwards, in the widest floats there are."""
    k, chance = counts.astype(np.longdouble), np.longdouble(p)
    m = int(np.clip(math.floor((n + 1) * p), counts[0], counts[-1]) - counts[0])
    ratios = (n - k[:-1]) / (k[1:]) * (chance / (1 - chance))
    found = np.ones(len(k), np.longdouble)
    found[m + 1 :] = np.cumprod(ratios[m:])
    found[:m] = np.cumprod(1 / ratios[:m][::-1])[::-1]
    return found / found.sum()


def off(n: int, p: float, ease: float = 1.0) -> float:
    """The total variation between the shipped law and Bin(n, p)."""
    counts, chances = law(n, p, ease)
    return float(np.abs(chances - truth(counts, n, p)).sum() / 2)


def ball_of(value: float) -> arb:
    """The float itself."""
    return enclosed(Fraction(value))


def evaluation() -> tuple[float, float]:
    """The largest errors of e, in all, and of the deviance, as a share: against ball arithmetic."""
    half, worst_excess, worst_share = arb(1) / 2, 0.0, 0.0
    for x in (*range(60), 10**3, 10**6, 10**9):
        X = x + half
        e = X * X.log() - X + (2 * arb.pi()).log() / 2 - arb(x + 1).lgamma()
        worst_excess = max(worst_excess, float(abs(ball_of(_excess(float(x))) - e).upper()))
    for a, t in itertools.product(
        (20.3, 1e3, 1e8), (-0.97, -0.6, -0.13, -0.12, -1e-2, -1e-5, 1e-6, 0.11, 0.126, 0.5, 4.0)
    ):
        A, D = ball_of(a), ball_of(a * t)
        want = (A + D) * (1 + D / A).log() - D
        worst_share = max(worst_share, float(abs((ball_of(_deviance(a, a * t)) - want) / want).upper()))
    return worst_excess, worst_share


def chained() -> int:
    """Conditional probabilities against fractions, and counts that add up; returns how many edges were compared."""
    rng, compared = np.random.default_rng(70), 0
    for q in (rng.random(300) ** 12, 0.5 ** np.arange(60.0), np.array([0.0, 1e-300, 1.0, 0.0, 1e-9, 0.0])):
        own = q / q.sum()
        indptr, m = np.array([0, len(q)]), (MULTINOMIAL_ABOVE + 1) * len(q)
        after, rest = masses_after(own, indptr, np.array([m])), Fraction(0)
        for value, mass in zip(own[::-1].tolist(), after[::-1].tolist(), strict=True):
            require(abs(Fraction(mass) - rest) <= Fraction(1, 2**52) * rest, f"after: {mass} in place of {float(rest)}")
            rest += Fraction(value)
            compared += 1
        groups = Multinomials(own, indptr, np.array([m]))
        for seed in range(20):
            counts = groups.draw(np.random.default_rng(seed))
            require(counts.sum() == m and np.all(counts >= 0) and not counts[q == 0].any(), f"{counts} of {m} draws")
        a, b = np.random.default_rng(71), np.random.default_rng(71)
        worth, columns = rng.random(len(q)), rng.integers(0, 5, len(q))
        got, want = groups.draw_sums(worth, columns, np.arange(5.0), a), groups.draw(b) @ (worth * columns)
        require(np.allclose(got, want, rtol=1e-12), f"sums {got} of counts that give {want}")
    return compared


def exact() -> str:
    before, flint.ctx.prec = flint.ctx.prec, 150
    try:
        excess, share = evaluation()
    finally:
        flint.ctx.prec = before
    require(excess < 1e-16 and share < 80 * 2.0**-53, f"e is off by {excess}, the deviance by a share of {share}")
    found = {(n, p): off(n, p) for n, p in SMALL_PAIRS + PAIRS}
    for (n, p), gap in found.items():
        require(gap <= distance(n, p), f"the law at n = {n}, p = {p} is off by {gap}")
    compared = chained()
    (n, p), worst = max(found.items(), key=lambda item: item[1])
    return (
        f"the law of the shipped code by integration at {len(found)} pairs: at most {worst:.1e} from Bin(n, p), at "
        f"n = {n}, p = {p}; e within {excess:.0e}, H within {share:.0e} H; {compared} conditional chances in fractions"
    )


def fits(counts: np.ndarray, n: int, p: float) -> bool:
    """Whether no tail of the draws refutes its own probability, by the e-processes, from above or from below."""
    total = len(counts)
    for share in (0.001, 0.1, 0.3, 0.5, 0.7, 0.9, 0.999):
        most = int(binom.ppf(share, n, p))
        chance, hits = float(binom.cdf(most, n, p)), int(np.count_nonzero(counts <= most))
        sides = ((hits, chance), (total - hits, 1.0 - chance))
        if any(0.0 < c < 1.0 and verdict(k, total, c) == "violated" for k, c in sides):
            return False
    return True


DRAWN = ((5, 0.3), (100, 0.003), (19, 0.5), (30, 0.99), (20, 0.5), (64, 0.8), (1_500, 0.1), (10**5, 0.01), (10**9, 0.7))


def monte_carlo(effort: int = 1) -> Evidence:
    size = 100_000 * effort
    for seed, (n, p) in enumerate(DRAWN):
        draws = draw_binomials(np.full(size, n), p, np.random.default_rng(seed))
        require(fits(draws, n, p), f"draws refute Bin({n}, {p})")
    q = np.array([0.1, 0.0, 0.6, 0.25, 0.05])
    groups, m = 2_000 * effort, 5 * MULTINOMIAL_ABOVE + 1
    made = Multinomials(np.tile(q, groups), np.arange(groups + 1) * 5, np.full(groups, m))
    counts = made.draw(np.random.default_rng(72)).reshape(groups, 5)
    for j in np.flatnonzero(q):
        require(fits(counts[:, j], m, float(q[j])), f"counts of edge {j} refute Bin({m}, {q[j]})")
    require(fits(counts[:, 2] + counts[:, 4], m, 0.65), "the sum of two counts refutes its binomial")
    trials = size * len(DRAWN) + groups
    return Evidence(
        text=f"{trials} draws at {len(DRAWN)} pairs and of a multinomial: no tail refutes its law", trials=trials
    )


def teeth() -> Evidence:
    slack = smallest_sabotage(lambda factor: off(10**5, 0.37, factor) > 1e-9)
    draws = draw_binomials(np.full(200_000, 1_500), 0.1, np.random.default_rng(73))
    require(fits(draws, 1_500, 0.1) and not fits(draws, 1_500, 0.1002), "p off by 0.2 % must be refuted")
    rough = off(3_000, 0.1, 1.05)
    text = f"a squeeze {slack:g} times as generous moves the law, at 1.05 by {rough:.0e}; draws refute p off by 0.2 %"
    return Evidence(text=text, slack=slack)
