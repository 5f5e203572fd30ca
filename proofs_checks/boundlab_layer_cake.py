"""For w >= 0 and ReLU, m of order t/eps² gives the error eps max(1, f) at all inputs, not the eps that was claimed.

Statement. w_j(p) >= 0, ReLU (a bias is one of the d inputs), s(p) = S(p) max_j w_j(p), t = sum s, pr = s/t, m draws
with 2m >= d + 1. With eta² = (4/m)((d+1) ln(2em/(d+1)) + ln(8k/delta)), with probability at least 1 - delta, for all k
outputs and all x of the domain,
    |f_j(x) - fhat_j(x)| <= eta sqrt(t max(f_j(x), fhat_j(x))).
Hence m >= (4(1 + eps) t/eps²)((d+1) ln(2em/(d+1)) + ln(8k/delta)) gives |f_j - fhat_j| <= eps max(1, f_j(x)). For
weights of both signs: apply it to the positive and to the negative parts, 2k outputs, and add the errors.

The published statement promises an ADDITIVE error eps from t/eps² draws. That is false, since fhat is t times a mean:
with f of order t the error is of order t/sqrt(m). What is true is relative where f > 1.

Proof. h(q) = w_j(q) ReLU(<q, x>)/s(q) is in [0, 1], f = t E h, fhat = t P_m h. For r >= 0 the set {h > r} is
{q: <(w_j/s) q, x> > r}, a half-space in the d coordinates of (w_j/s) q: VC-dimension d + 1 at most. By
`anthony1993_relative_deviation`, k classes: P - P_m <= eta sqrt(P) and P_m - P <= eta sqrt(P_m) for all of them. Layer
cake: f - fhat = t int_0^1 (P(h > r) - P_m(h > r)) dr <= t eta int sqrt(P(h > r)) dr <= t eta sqrt(int P(h > r) dr)
= eta sqrt(t f) by Cauchy and Schwarz; fhat - f <= eta sqrt(t fhat) likewise.
Let a = eta sqrt(t). Whichever value is known, the other is at most it plus E with E = a sqrt(value + E), whose root is
a (a + sqrt(a² + 4 value))/2. And let a² <= eps²/(1 + eps), F = max(1, f): if fhat <= F, the error is at most
a sqrt(F) <= eps F. Else, with R = fhat/F, R - 1 <= (fhat - f)/F <= a sqrt(R/F) <= a sqrt(R), so that R <= 1 + eps and
fhat - f <= a sqrt((1 + eps) F) <= eps sqrt(F) <= eps F. Beyond m = (4(1 + eps)t/eps²)(d + 1) the left side of the size
condition grows faster than the right one: every larger m satisfies it, too.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp
import z3

from boundlab.concentration.binomial import log_sf
from boundlab.coresets.activations import RELU
from boundlab.coresets.alias import draw_counts
from boundlab.coresets.layer_cake import layer_cake_error, layer_cake_size, relative_deviation
from boundlab.coresets.neuron_sampling import neuron_plan
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.boundlab_fixed_inputs import TINY, multinomial
from proofs_checks.boundlab_relu_uniform import DIRECTIONS, tiny_layer
from proofs_checks.judging import judge, smallest_sabotage, violated
from proofs_checks.proving import counterexample, prove

THEOREM = Theorem(
    name="An error relative to max(1, f) from t/eps² draws",
    source="ours; it is what the main theorem of Mussay et al. (arXiv:1907.04018), as we understand the paper, "
    "becomes; from the relative deviations of Vapnik, Anthony and Shawe-Taylor",
    given=("w >= 0, ReLU; the bias is one of the d inputs", "pr = s/t, m independent draws, 2m >= d + 1"),
    claim=r"m \ge \frac{4(1+\epsilon)t}{\epsilon^2}\Big((d+1)\ln\frac{2em}{d+1}+\ln\frac{8k}{\delta}\Big) \Rightarrow "
    r"\Pr[\exists j,x: |f_j-\hat f_j| > \epsilon\max(1,f_j)] \le \delta",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="coresets/layer_cake.py",
        old="factor = 4.0 * (1.0 + e) * t / e / e",
        new="factor = 1.0 * (1.0 + e) * t / e / e",
    ),
    Mutation(
        file="coresets/layer_cake.py",
        old="0.5 * a * (a + np.sqrt(a * a + 4.0 * f))",
        new="0.5 * a * (a + np.sqrt(a * a + f))",
    ),
    Mutation(
        file="coresets/layer_cake.py",
        old="factor * (v * (1.0 + math.log(2.0 * m / v)) + log_events)",
        new="factor * (1.0 + math.log(2.0 * m / v) + log_events)",
    ),
)


def rare_fails(factor: float) -> bool:
    """Whether size/factor fails at delta = 1e-200 by an exact tail: t = 100 on a line, f = 1, error eps = 1/10."""
    eps, t = 0.1, 100.0
    m = math.floor(layer_cake_size(t, eps, TINY, dimension=1) / factor)
    return log_sf(math.ceil(m * (1 + eps) / t) + 1, m, 1 / t)[0] > math.log(TINY)


def misses(share: float):
    """A trial: at one of 360 directions, at full length, an output errs by more than eps max(1, f) after share m draws.

    Shorter inputs are no worse: error and f shrink together, and eps max(1, f) does not shrink faster.
    """
    fixed, eps, delta = np.random.default_rng(110), 0.5, 0.1
    p, w = fixed.standard_normal((20, 2)), np.abs(fixed.standard_normal((3, 20)))
    w *= 20.0 / neuron_plan(p, w, RELU, 1.0).total
    plan = neuron_plan(p, w, RELU, 1.0)
    m = math.ceil(share * layer_cake_size(plan.total, eps, delta, dimension=2, outputs=3))
    angle = np.linspace(0, 2 * np.pi, 360, endpoint=False)
    values = np.maximum(p @ np.stack([np.cos(angle), np.sin(angle)]), 0.0)
    allowed = eps * np.maximum(1.0, w @ values)

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        indptr = np.arange(n + 1, dtype=np.int64) * 20
        counts = draw_counts(np.tile(plan.probabilities, n), indptr, np.full(n, m), rng).reshape(n, 1, 20)
        error = np.abs((w * (1.0 - counts / (m * plan.probabilities))) @ values)
        return np.any(error > allowed, axis=(1, 2))

    return trial


def symbolic() -> str:
    reals: Any = z3.Reals("h f a eps F s")
    h, f, a, eps, top, s = reals  # fhat = h², F = max(1, f) = s²
    given = z3.And(h >= 0, f >= 0, a >= 0, eps > 0, s >= 1, top == s * s, top >= f, a * a * (1 + eps) == eps * eps)
    prove(a <= eps, given)
    ratio: Any = z3.Real("rho")  # sqrt(R)
    prove(ratio * ratio <= 1 + eps, given, ratio >= 0, ratio * ratio - 1 <= a * ratio)
    prove(a * s <= eps * top, given)  # fhat <= F, and f > fhat
    prove(eps * s <= eps * top, given)  # fhat > F: a sqrt(1 + eps) = eps
    counterexample(
        ratio * ratio <= 1 + eps, eps > 0, ratio >= 0, ratio * ratio - 1 <= eps * ratio
    )  # a = eps is too big
    p, q, r = sp.symbols("p q r", nonnegative=True)  # three layers of heights p, q, r
    require(
        sp.expand(3 * (p**2 + q**2 + r**2) - (p + q + r) ** 2 - (p - q) ** 2 - (p - r) ** 2 - (q - r) ** 2) == 0, "CS"
    )
    b, value = sp.symbols("b v", positive=True)
    root = b * (b + sp.sqrt(b**2 + 4 * value)) / 2
    require(sp.simplify(sp.expand(root**2 - b**2 * (value + root))) == 0, "E must solve E = a sqrt(value + E)")
    m, big_a, v, log_ = sp.symbols("m A v L", positive=True)
    slope = sp.diff(m - big_a * (v * sp.log(2 * sp.E * m / v) + log_), m)
    require(sp.simplify(slope - (m - big_a * v) / m) == 0, "the size condition's slope changes sign at m = A v only")
    return "R <= 1 + eps from a² = eps²/(1 + eps) (z3; with a = eps it fails); E = a sqrt(value + E); Cauchy-Schwarz"


def exact() -> str:
    rng, outcomes, nearest = np.random.default_rng(111), 0, Fraction(0)
    for _ in range(12):
        points, weights, q = tiny_layer(rng, signed=False)
        s = [Fraction(w * math.isqrt(a * a + b * b)) for w, (a, b) in zip(weights, points, strict=True)]
        t = sum(s)
        for x in DIRECTIONS[:5]:
            length = math.isqrt(x[0] ** 2 + x[1] ** 2)
            h = [
                w * Fraction(max(0, p[0] * x[0] + p[1] * x[1]), length) / v
                for w, p, v in zip(weights, points, s, strict=True)
            ]
            for _, counts in multinomial(q, 3):
                seen = [Fraction(n, 3) for n in counts]
                f, fhat = (t * sum(a * b for a, b in zip(law, h, strict=True)) for law in (q, seen))
                levels = [
                    tuple(sum((a for a, b in zip(law, h, strict=True) if b > r), Fraction(0)) for law in (q, seen))
                    for r in {Fraction(0), *h}
                ]
                for big, small, pairs in ((f, fhat, levels), (fhat, f, [(b, a) for a, b in levels])):
                    square = max(
                        ((a - b) ** 2 / a for a, b in pairs if a > b), default=Fraction(0)
                    )  # eta² of the outcome
                    require(big <= small or (big - small) ** 2 <= square * t * big, "the layer cake fails")
                    if big > small:
                        nearest = max(nearest, (big - small) ** 2 / (square * t * big))
                outcomes += 1
    for value in (0.0, 0.3, 7.0):
        a = relative_deviation(500, 0.1, vc=3, classes=4) * math.sqrt(12.0)
        error = float(layer_cake_error(value, 12.0, 500, 0.1, dimension=2, outputs=4))
        require(0 <= error - a * math.sqrt(value + error) < 1e-9, f"the error must solve its equation at {value}")
    for t, eps, delta, d, k in ((10.0, 0.5, 0.05, 2, 1), (3.0, 0.1, 1e-9, 30, 10), (0.01, 1.0, 0.5, 3, 1)):
        m = layer_cake_size(t, eps, delta, dimension=d, outputs=k)
        eta = relative_deviation(m, delta, vc=d + 1, classes=k)
        require(eta**2 * t <= eps**2 / (1 + eps) * (1 + 1e-10), f"m = {m} does not give eps = {eps}")
        require(layer_cake_size(t, eps, delta / k, dimension=d) == m, "k outputs must cost what delta/k costs")
    require(not rare_fails(1.0), "an exact tail exceeds delta")
    return (
        f"{outcomes} outcomes: |f - fhat|² <= eta² t max(f, fhat) with the outcome's own eta, up to "
        f"{float(nearest):.3f} of it; sizes give eta² t <= eps²/(1+eps); a rare set at delta = {TINY:g} holds"
    )


def monte_carlo(effort: int = 1) -> Evidence:
    return judge(misses(1.0), delta=0.1, trials=200 * effort, name="plane, 3 outputs, eps = 1/2", block=200)


def additive_claim_fails(constant: float) -> bool:
    """Whether the additive claim with m = c (t/eps²)(d ln t + ln(1/delta)) fails by an exact tail, d = 1, f = t/2."""
    t, eps, delta = 1e8, 0.5, 0.01
    m = math.ceil(constant * t / eps**2 * (math.log(t) + math.log(1 / delta)))
    return log_sf(math.floor(m * (0.5 + eps / t)) + 1, m, 0.5)[0] + math.log(2) > math.log(delta)


def teeth() -> Evidence:
    slack = smallest_sabotage(rare_fails)
    require(violated(misses(1e-3), delta=0.1, trials=200, name="m/1000"), "a thousandth of m must be caught")
    require(all(additive_claim_fails(c) for c in (1.0, 100.0)), "the additive reading must be caught, whatever c")
    text = (
        f"refuted: m divided by {slack:g} (exact, delta = {TINY:g}), by 1000 (plane); an additive eps from t/eps² "
        "draws (exact, t = 1e8, c = 1 and 100)"
    )
    return Evidence(text=text, slack=slack)
