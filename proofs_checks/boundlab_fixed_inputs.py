"""At inputs that are fixed before the draws, t²/eps² draws suffice, with only the logarithm of their number.

Statement. f_j(x) = sum_p w_j(p) phi(<p, x>), sampled with pr = s/t and s(p) >= |w_j(p) phi(<p, x>)| for all k outputs j
at all N inputs x. With m draws fhat_j(x) = (t/m) sum_i Y_i, Y = w_j phi/s of the drawn neuron, and with probability at
least 1 - delta all k N errors are below eps, if with L = ln(2 k N/delta)
    m >= c0² t² L/(2 eps²)      (Hoeffding),      or      m >= (2 v/eps² + 2 c0 t/(3 eps)) L      (Bernstein).
c0 = 1 if all Y are in [0, 1], else 2, and v is at least the variance t sum_p c_p²/s(p) - f² of one draw, c_p = w_j phi.

Proof. Y has mean f/t. (Hoeffding) Let first Y be in [0, 1] with mean p. By convexity E e^(lY) <= 1 - p + p e^l, so that
P(mean >= p + u) <= exp(-m kl(p + u || p)) by Chernoff, and g(u) = kl(p + u || p) - 2u² has g(0) = g'(0) = 0 and
g'' = 1/(q(1-q)) - 4 = (1 - 2q)²/(q(1-q)) >= 0 at q = p + u: the tail is at most exp(-2 m u²), the lower one likewise by
1 - Y. Signed Y are in [-1, 1]; (Y + 1)/2 is in [0, 1] and halves u: exp(-m u²/2). Both are exp(-2 m u²/c0²), with
u = eps/t. (Bernstein) X = t Y - f has mean 0, variance at most v, and X <= b = c0 t on either side. Since
(e^z - 1 - z)/z² rises, ln E e^(lX) <= (v/b²)(e^(lb) - 1 - lb), and Chernoff's bound is exp(-m (v/b²) h(b eps/v)),
h(z) = (1 + z) ln(1 + z) - z >= z²/(2 + 2z/3): at most exp(-m eps²/(2 v + 2 b eps/3)). Two tails for each of k N events.
The second moment of tY is t sum_p c_p²/s(p), and c²/s <= |c|, so that v = t sum_p |c_p| always serves. The error
of a given m is the root of the quadratic in eps.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from fractions import Fraction

import flint
import numpy as np
import sympy as sp

from boundlab.concentration.binomial import log_sf
from boundlab.coresets.alias import draw_counts
from boundlab.coresets.uniform_error import draw_variance, fixed_inputs_error, fixed_inputs_size
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage, violated
from proofs_checks.proving import exact as around

THEOREM = Theorem(
    name="Sampled neurons at fixed inputs",
    source="ours, from the inequalities of Hoeffding (1963) and Bernstein, both proved here",
    given=("the inputs are fixed before the draws", "|w_j(p) phi(<p, x>)| <= s(p)", "pr = s/t, m independent draws"),
    claim=r"m \ge \frac{c_0^2t^2}{2\epsilon^2}\ln\frac{2kN}{\delta}\ \mathrm{or}\ "
    r"m \ge \Big(\frac{2v}{\epsilon^2}+\frac{2c_0t}{3\epsilon}\Big)\ln\frac{2kN}{\delta} \Rightarrow "
    r"\Pr[\exists j,x: |f_j-\hat f_j| \ge \epsilon] \le \delta",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="coresets/uniform_error.py",
        old="return _whole((_width(c0) * t / e) ** 2 / 2.0 * log_events)",
        new="return _whole((_width(c0) * t / e) ** 2 / 3.0 * log_events)",
    ),
    Mutation(
        file="coresets/uniform_error.py",
        old="return math.log(2.0) + sum(logs) - math.log(",
        new="return math.log(2.0) - math.log(",
    ),
    Mutation(
        file="coresets/uniform_error.py",
        old="linear * linear + 2.0 * _spread(variance) * rate",
        new="linear * linear + _spread(variance) * rate",
    ),
    Mutation(
        file="coresets/uniform_error.py",
        old="for c in counts]",
        new="for c in counts[:1]]",
    ),
    Mutation(
        file="coresets/uniform_error.py",
        old="return value * (1.0 + ROUNDING)",
        new="return value * (1.0 - ROUNDING)",
    ),
)

Row = tuple[Fraction, ...]
TINY = 1e-200  # where the exponent alone decides


def multinomial(q: Sequence[Fraction], m: int) -> Iterator[tuple[Fraction, tuple[int, ...]]]:
    """(probability, counts) of every outcome of m draws."""
    for bars in itertools.combinations(range(m + len(q) - 1), len(q) - 1):
        edges = (-1, *bars, m + len(q) - 1)
        counts = tuple(b - a - 1 for a, b in itertools.pairwise(edges))
        chance = Fraction(math.factorial(m))
        for c, p in zip(counts, q, strict=True):
            chance = chance * p**c / math.factorial(c)
        if chance:
            yield chance, counts


def estimate(c: Row, s: Row, counts: tuple[int, ...]) -> Fraction:
    """The estimate fhat = (t/m) sum of counts c/s."""
    total, m = sum(s), sum(counts)
    return sum((k * a / b for k, a, b in zip(counts, c, s, strict=True) if k), Fraction(0)) * total / m


def tiny_layer(rng: np.random.Generator, signed: bool) -> tuple[list[Row], Row]:
    """Contributions of 2 to 5 neurons in 1 to 3 events, and sensitivities that cover them."""
    n, events = int(rng.integers(2, 6)), int(rng.integers(1, 4))
    rows = [tuple(Fraction(int(v)) for v in rng.integers(-3 if signed else 0, 4, n)) for _ in range(events)]
    s = tuple(max(max(abs(r[i]) for r in rows), Fraction(1)) for i in range(n))
    return rows, s


def log_failure(m: float, p: float, eps: float) -> float:
    """A lower bound on ln P(|Bin(m, p)/m - p| >= eps): the upper tail alone."""
    return log_sf(math.ceil(m * (p + eps)), int(m), p)[0]


def agrees(got: float, want: flint.arb, what: str, *, whole: bool = False) -> None:
    """Check by ball arithmetic that a shipped bound is at least what was proved and not 1e-9 above, or 1 if `whole`."""
    value, near = around(Fraction(got)), 1 + around(Fraction(1, 10**9))
    top = want * near + 1 if whole else want * near
    require(bool(value >= want) and bool(value <= top), f"{what} must be just above {want}, got {got}")


def log_events(delta: float, events: int) -> flint.arb:
    """ln(events/delta) as a ball."""
    return around(events / Fraction(delta)).log()


def formulas() -> int:
    """Compare the shipped errors and sizes with the statement's right sides; how many."""
    checked = 0
    for delta, (k, n), c0 in itertools.product((0.5, 1e-9), ((1, 1), (7, 1), (3, 50)), (1.0, 2.0)):
        t, eps, v, m = Fraction(10), Fraction(1, 4), Fraction(9), 1_000
        log = log_events(delta, 2 * k * n)
        sure = {"outputs": k, "inputs": n, "c0": c0}
        want = around(Fraction(c0) ** 2 * t**2 / (2 * eps**2)) * log
        agrees(fixed_inputs_size(10.0, 0.25, delta, **sure), want, "Hoeffding's m", whole=True)
        want = around(2 * v / eps**2 + 2 * Fraction(c0) * t / (3 * eps)) * log
        agrees(fixed_inputs_size(10.0, 0.25, delta, variance=9.0, **sure), want, "Bernstein's m", whole=True)
        agrees(fixed_inputs_error(10.0, m, delta, **sure), around(Fraction(c0) * t) * (log / (2 * m)).sqrt(), "error")
        linear = around(Fraction(c0) * t) * log / (3 * m)
        want = linear + (linear * linear + around(2 * v) * log / m).sqrt()
        agrees(fixed_inputs_error(10.0, m, delta, variance=9.0, **sure), want, "Bernstein's error")
        checked += 4
    return checked


def symbolic() -> str:
    c, s = sp.symbols("c1:4", real=True), sp.symbols("s1:4", positive=True)
    t = sp.Add(*s)
    second = sp.Add(*(si / t * (t * ci / si) ** 2 for ci, si in zip(c, s, strict=True)))
    wanted = t * sp.Add(*(ci**2 / si for ci, si in zip(c, s, strict=True)))
    require(sp.simplify(second - wanted) == 0, "the second moment")
    p, u, q, e, b, v, r = sp.symbols("p u q epsilon b v r", positive=True)
    g = (p + u) * sp.log((p + u) / p) + (1 - p - u) * sp.log((1 - p - u) / (1 - p)) - 2 * u**2
    require(sp.simplify(g.subs(u, 0)) == 0 and sp.simplify(sp.diff(g, u).subs(u, 0)) == 0, "g and g' vanish at 0")
    bend = sp.diff(g, u, 2).subs(u, q - p)
    require(sp.simplify(bend - (1 - 2 * q) ** 2 / (q * (1 - q))) == 0, "g'' must be (1-2q)²/(q(1-q))")
    f = ((1 + e) * sp.log(1 + e) - e) * (2 + 2 * e / 3) - e**2
    require(all(sp.simplify(sp.diff(f, e, k).subs(e, 0)) == 0 for k in range(3)), "f vanishes at 0 to third order")
    require(sp.simplify(sp.diff(f, e, 3) - 4 * e / (3 * (1 + e) ** 2)) == 0, "f''' must be 4e/(3(1+e)²)")
    z = v / b**2 * (b * e / v) ** 2 / (2 + sp.Rational(2, 3) * b * e / v)
    require(sp.simplify(z - e**2 / (2 * v + 2 * b * e / 3)) == 0, "Bennett's exponent at z²/(2+2z/3) is Bernstein's")
    root = b * r / 3 + sp.sqrt((b * r / 3) ** 2 + 2 * v * r)
    require(sp.simplify(sp.expand(root**2 - r * (2 * v + 2 * b * root / 3))) == 0, "the root must invert m(eps)")
    return (
        "g'' = (1-2q)²/(q(1-q)) and f''' = 4e/(3(1+e)²) are >= 0; variance t sum c²/s - f²; the error inverts the size"
    )


def exact() -> str:
    rng, tried, worst = np.random.default_rng(60), 0, 0.0
    for k in range(24):
        signed = k % 2 == 0
        rows, s = tiny_layer(rng, signed)
        total, m, c0 = sum(s), 6, 2.0 if signed else 1.0
        law = list(multinomial([v / total for v in s], m))
        for row in rows:
            values = [(p, estimate(row, s, counts)) for p, counts in law]
            mean = sum(p * x for p, x in values)
            require(mean == sum(row), "the estimate must be unbiased")
            exact_variance = m * sum(p * (x - mean) ** 2 for p, x in values)
            shipped = float(draw_variance(np.array([row], float), np.array(s, float))[0])
            require(exact_variance <= Fraction(shipped) <= exact_variance + Fraction(1, 10**6), "variance of one draw")
        v = float(draw_variance(np.array(rows, float), np.array(s, float)).max())
        for delta, variance in itertools.product((0.9, 0.5, 0.1), (None, v)):
            eps = Fraction(fixed_inputs_error(float(total), m, delta, outputs=len(rows), c0=c0, variance=variance))
            far = sum(
                (p for p, counts in law if any(abs(estimate(r, s, counts) - sum(r)) >= eps for r in rows)), Fraction(0)
            )
            require(far <= Fraction(delta), f"P(error >= {float(eps)}) = {float(far)} exceeds {delta}: {rows}, {s}")
            tried, worst = tried + 1, max(worst, float(far) / delta)
    for delta, form in itertools.product(
        (0.1, 1e-6, TINY), (None, 9.0)
    ):  # a size is enough for its error, one less not
        size = fixed_inputs_size(10.0, 0.5, delta, inputs=7, variance=form)
        errors = [fixed_inputs_error(10.0, m, delta, inputs=7, variance=form) for m in (size, size - 1)]
        require(
            errors[0] <= 0.5 * (1 + 1e-11) and errors[1] > 0.5 * (1 - 1e-11), f"size and error at {delta}: {errors}"
        )
    for kind in ("hoeffding", "bernstein"):
        require(not too_small(kind, 1.0), f"{kind}: a coin's exact tail exceeds delta = {TINY:g}")
        require(too_small(kind, 1.2), f"{kind}: a size 20% smaller must fail for the coin at delta = {TINY:g}")
    return (
        f"{tried} exact multinomial tails at most {worst:.3f} of delta; {formulas()} sizes and errors just above the "
        f"formulas (balls); coins at delta = {TINY:g}"
    )


def too_small(kind: str, factor: float) -> bool:
    """Whether size/factor fails for a coin at delta = 1e-200 by its exact tail: t = 1, neurons equal, c0 = 1."""
    p, eps, variance = (0.5, 0.02, None) if kind == "hoeffding" else (0.02, 0.001, 0.02 * 0.98)
    m = math.floor(fixed_inputs_size(1.0, eps, TINY, c0=1.0, variance=variance) / factor)
    return log_failure(m, p, eps) > math.log(TINY)


def misses(share: float, *, union: bool = True):
    """A trial: one of 500 outputs errs by more than `share` of the bound; 400 draws, 200 neurons, weights ±1."""
    rows, m, delta = np.random.default_rng(61).choice([-1.0, 1.0], (500, 200)), 400, 0.1
    eps = share * fixed_inputs_error(200.0, m, delta, outputs=500 if union else 1)

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        indptr = np.arange(n + 1, dtype=np.int64) * 200
        counts = draw_counts(np.full(n * 200, 1 / 200), indptr, np.full(n, m), rng).reshape(n, 200)
        return (np.abs(counts @ rows.T * (200.0 / m) - rows.sum(axis=1)) >= eps).any(axis=1)

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    return judge(misses(1.0), delta=0.1, trials=1_000 * effort, name="500 outputs, Hoeffding", block=500)


def teeth() -> Evidence:
    slack = max(smallest_sabotage(lambda factor, k=kind: too_small(k, factor)) for kind in ("hoeffding", "bernstein"))
    require(violated(misses(1.0, union=False), delta=0.1, trials=300, name="no union"), "no union must be caught")
    signed_as_one = fixed_inputs_size(1.0, 0.02, TINY, c0=1.0)  # Y = ±1: a coin whose steps are 2, not 1
    require(log_failure(signed_as_one, 0.5, 0.01) > math.log(TINY), "c0 = 1 for signed terms must be caught")
    require(log_failure(4 * signed_as_one, 0.5, 0.01) <= math.log(TINY), "c0 = 2 must hold there")
    text = (
        f"refuted: m divided by {slack:g} (exact, delta = {TINY:g}), no union over 500 outputs, c0 = 1 for signed terms"
    )
    return Evidence(text=text, slack=slack)
