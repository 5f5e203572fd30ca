"""No small subset of ReLU neurons, however chosen and weighted, has a small RELATIVE error at all inputs.

Refutation. p_i = (t_i, t_i², 1) with whole t_i, any positive weights w_i, f(x) = sum_i w_i ReLU(<p_i, x>). At
x_i = (2 t_i, -1, 1/2 - t_i²) one has <p_j, x_i> = 1/2 - (t_j - t_i)²: 1/2 for j = i, at most -1/2 for all others. So
f(x_i) = w_i/2, and a subset without p_i gives 0 there: relative error 1, for every subset but the whole. Three input
features suffice (two and a bias), and every neuron has sensitivity 1. The p_i are the extreme rays of a pointed cone.

What l_inf-coresets and Lewis weights bound is |<p, x>|: their honest error is eps F(x), F(x) = sum om(q) |<q, x>|
(`boundlab_homogeneous_sensitivity`). It is relative where the active half is a fair share of F. With g = sum om(p) p:
sum om ReLU(<p, x>) = (F(x) + <g, x>)/2, since ReLU(u) = (|u| + u)/2, so that for every x with F(x) > 0
    sum om ReLU(<p, x>) >= kappa F(x),   kappa = (1 - rho)/2,   rho = max {<g, x> : F(x) <= 1}
(x -> -x turns the minimum of <g, x> into rho). An error eps F is then an error (eps/kappa) sum om ReLU(<p, x>). rho is
a linear program; its dual is rho = min {max |y_p| : sum y_p om(p) p = g}, and any such y is a certificate, as
<g, x> = sum y_p om(p) <p, x> <= max |y_p| F(x). In a pointed cone some x has <p, x> <= 0 for all p: kappa = 0. With
weights of both signs nothing relative to |f| can hold at all, since f may vanish.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab.coresets.absolute_sensitivity import lewis_sensitivities, multiplicative_share
from boundlab.coresets.alias import draw_counts
from boundlab.coresets.layer_cake import layer_cake_size
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.cohen2015_lewis_weights import Point, integer_points
from proofs_checks.judging import judge, smallest_sabotage

THEOREM = Theorem(
    name="A relative error at all inputs from a small subset of neurons",
    source="Tukan, Mualem and Maalouf, arXiv:2209.08554, as its guarantee is summarised by others and as we understand "
    "it; item number not known to us",
    given=("ReLU neurons, positive outgoing weights", "no assumption on the inputs", "eps < 1"),
    claim=r"\exists C \subset P\ \mathrm{small}, u \ge 0:\ \forall x:\ "
    r"|\textstyle\sum_P w\,\phi(\langle p,x\rangle) - \sum_C u\,\phi(\langle p,x\rangle)| \le "
    r"\epsilon\sum_P w\,\phi(\langle p,x\rangle)",
    status="refuted",
    finding="On neurons in convex position in a pointed cone, three features are enough, every subset but the whole "
    "has relative error 1 at some input; what holds is an error relative to the sum of om |<p, x>|.",
    ours="boundlab_homogeneous_sensitivity",
)

MUTATIONS = (
    Mutation(
        file="coresets/absolute_sensitivity.py",
        old="0.5 * (1.0 - float(np.abs(y).max()))",
        new="0.5 * (1.0 - float(np.abs(y).mean()))",
    ),
    Mutation(
        file="coresets/absolute_sensitivity.py",
        old="goal = a.sum(axis=0)",
        new="goal = 0.9 * a.sum(axis=0)",
    ),
)


def parabola(n: int) -> tuple[list[tuple[int, int, int]], list[tuple[Fraction, ...]]]:
    """The neurons (t, t², 1) and for each one the input at which it alone is active."""
    return [(t, t * t, 1) for t in range(n)], [
        (Fraction(2 * t), Fraction(-1), Fraction(1, 2) - t * t) for t in range(n)
    ]


def exact_kappa(points: list[Point]) -> Fraction:
    """The exact inf over x of sum ReLU/sum |.| in the plane: rho is reached at some x orthogonal to a point."""
    g = (sum(p[0] for p in points), sum(p[1] for p in points))
    rho = Fraction(0)
    for x in [(-q[1], q[0]) for q in points] + list(points):
        total = sum(abs(p[0] * x[0] + p[1] * x[1]) for p in points)
        if total:
            rho = max(rho, Fraction(abs(g[0] * x[0] + g[1] * x[1]), total))
    return (1 - rho) / 2


def circle(n: int, *, both: bool) -> tuple[np.ndarray, np.ndarray]:
    """Neurons (cos, sin, 1), rays of a round cone, if asked with their opposites; and inputs active on one ray each."""
    angle = 2 * np.pi * np.arange(n) / n
    ray = np.stack([np.cos(angle), np.sin(angle), np.ones(n)], axis=1)
    alone = ray * np.array([1.0, 1.0, -0.5 * (1 + math.cos(2 * math.pi / n))])
    return (np.vstack([ray, -ray]) if both else ray), alone


def misses(*, both: bool, eps: float):
    """A trial: the sampled layer's relative error exceeds eps at an input that is active on one ray only.

    Draws by Lewis weights, as many as give 1/2 of the sum of |<p, x>| at all inputs.
    """
    p, x = circle(1_000, both=both)
    s = lewis_sensitivities(p)
    m = int(layer_cake_size(float(s.sum()), 0.5, 0.1, dimension=3))
    q = s / s.sum()
    values = np.maximum(p @ x.T, 0.0)

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        indptr = np.arange(n + 1, dtype=np.int64) * len(p)
        counts = draw_counts(np.tile(q, n), indptr, np.full(n, m), rng).reshape(n, len(p))
        error = np.abs((1.0 - counts / (m * q)) @ values)
        return np.any(error > eps * values.sum(axis=0), axis=1)

    return trial


def symbolic() -> str:
    t, ti = sp.symbols("t t_i", real=True)
    inner = 2 * ti * t - t**2 + sp.Rational(1, 2) - ti**2
    require(sp.expand(inner - (sp.Rational(1, 2) - (t - ti) ** 2)) == 0, "<p_j, x_i> = 1/2 - (t_j - t_i)²")
    u = sp.symbols("u", positive=True)
    for v in (u, -u):
        require(sp.Max(0, v) == (sp.Abs(v) + v) / 2, "ReLU(u) = (|u| + u)/2")
    total, linear, rho = sp.symbols("F L rho", positive=True)
    require(sp.expand((total - rho * total) / 2 - (1 - rho) / 2 * total) == 0, "kappa F at <g, x> = -rho F")
    require(sp.diff((total + linear) / 2, linear).is_positive, "the active half rises with <g, x>")
    return "<p_j, x_i> = 1/2 - (t_j - t_i)², so that each neuron is alone at one input; active half = (F + <g, x>)/2"


def exact() -> str:
    points, inputs = parabola(40)
    for i, x in enumerate(inputs):
        values = [sum(a * b for a, b in zip(p, x, strict=True)) for p in points]
        require(values[i] == Fraction(1, 2), "the i-th neuron is active")
        require(all(v <= -Fraction(1, 2) for j, v in enumerate(values) if j != i), "all others are not")
    require(multiplicative_share(np.array(points, float)) == 0.0, "kappa must be 0 in a pointed cone")
    sets, positive = 40, 0
    for k in range(sets):
        own = integer_points(np.random.default_rng([160, k]))
        want, got = exact_kappa(own), Fraction(multiplicative_share(np.array(own, float)))
        require(got <= want, f"kappa {float(got)} exceeds the exact {want}: {own}")
        require(got >= want - Fraction(1, 10**7), f"kappa {float(got)} is far below the exact {want}: {own}")
        positive += want > 0
    return (
        f"40 neurons in 3 features: each is alone at one input, every proper subset has relative error 1; kappa of "
        f"{sets} sets of whole points is never above the exact one, and positive in {positive}"
    )


def monte_carlo(effort: int = 1) -> Evidence:
    broken = judge(misses(both=False, eps=0.99), delta=0.1, trials=40 * effort, name="one cone", expect="violated")
    fair = judge(misses(both=True, eps=1.0), delta=0.1, trials=100 * effort, name="both cones, eps/kappa = 1")
    return Evidence(text=f"one cone: {broken.text}; both cones: {fair.text}", trials=broken.trials + fair.trials)


def teeth() -> Evidence:
    sets = [integer_points(np.random.default_rng([160, k])) for k in range(30)]
    known = [(exact_kappa(p), multiplicative_share(np.array(p, float))) for p in sets]
    slack = smallest_sabotage(lambda factor: any(Fraction(k * factor) > want for want, k in known))
    both = multiplicative_share(circle(50, both=True)[0])
    require(abs(both - 0.5) < 1e-6, f"with their opposites the same neurons have kappa = 1/2, got {both}")
    points, inputs = parabola(6)
    alone = [[sum(a * b for a, b in zip(p, x, strict=True)) > 0 for p in points] for x in inputs]
    require(np.array_equal(np.array(alone), np.eye(6, dtype=bool)), "each input must need its own neuron")
    text = (
        f"refuted: kappa times {slack:g} (exact); the counterexample ends with the cone: with opposites kappa is 1/2 "
        "and the relative error eps/kappa holds"
    )
    return Evidence(text=text, slack=slack)
