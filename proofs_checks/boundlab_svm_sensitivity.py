"""A point's share in an SVM objective is at most u [1/U(B) + lam E], E = z²/(4 alpha) or sqrt2 z - 2 alpha: ours.

Statement. Points z_p = y_p x_p (or y_p (x_p, 1)), weights u > 0 of sum U, F(P, w) = |w|²/2 + lam sum u_p h(p, w) with
h = [1 - <z_p, w>]_+, f(p, w) = |w|²/(2U) + lam h(p, w). Let B be any set of points of one class that contains p, of
weight U(B) and weighted mean c; p_D = c - z_p; opt > 0 at most min F; z = |p_D|/sqrt(opt) and
alpha = (U - U(B))/(2 lam U U(B)). Then the sensitivity s(p) = sup_w u_p f(p, w)/F(P, w) is at most
min(1, u_p [1/U(B) + lam E(z, alpha)]), E = z²/(4 alpha) where z <= 2 sqrt2 alpha, and sqrt2 z - 2 alpha beyond.

Proof. Let r = |w| and H = sum over B of u h. The hinge is convex, so that h(c, w) <= H/U(B) (Jensen; c must be the
weighted mean), and [a + b]_+ <= [a]_+ + [b]_+ gives h(p, w) <= h(c, w) + [<p_D, w>]_+ <= H/U(B) + |p_D| r: within one
class p_D has no intercept coordinate. As F >= r²/2 + lam H,

    f(p, w) <= r²/(2U) + (F - r²/2)/U(B) + lam |p_D| r = F/U(B) + lam (|p_D| r - alpha r²).

Also F >= max(opt, r²/2). With r = v sqrt(opt) the excess over 1/U(B) is at most lam (z v - alpha v²)/max(1, v²/2).
Where the denominator is 1, v <= sqrt2, the numerator is a parabola with its top z²/(4 alpha) at v = z/(2 alpha), which
is inside iff z <= 2 sqrt2 alpha; beyond sqrt2 the quotient 2 (z/v - alpha) falls; so its maximum is E(z, alpha), and
it is attained. A share is at most 1 in any case. The bound is tight: on three weighted points it exceeds the exact
sensitivity by a share below 3e-6.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp
import z3

from boundlab._errors import InvalidParameter
from boundlab.coresets.svm.sensitivity import clusters_of, excess, sensitivities
from boundlab.coresets.svm.worst_query import extremes, minimum, true_sensitivities
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage
from proofs_checks.proving import prove

THEOREM = Theorem(
    name="Sensitivities of an SVM from clusters",
    source="ours; the approach by clusters is that of Tukan et al. 2021 (arXiv:2002.06469), with another tail",
    given=(
        "u > 0, lam > 0, and 0 < opt <= min F: a certified lower bound",
        "B any set of points around p, all of one class if there is an intercept; p_D = weighted mean of B minus z_p",
        r"\alpha = (U - U(B))/(2\lambda U\,U(B)), z = |p_D|/\sqrt{opt}",
    ),
    claim=r"\sup_w \frac{u_p f(p,w)}{F(P,w)} \le \min\Big(1, u_p\Big[\frac1{U(B)} + \lambda E\Big]\Big),\quad"
    r"E = \frac{z^2}{4\alpha}\ (z \le 2\sqrt2\,\alpha),\ \sqrt2 z - 2\alpha\ (z > 2\sqrt2\,\alpha)",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="coresets/svm/sensitivity.py",
        old="return np.where(near, inner, math.sqrt(2.0) * z - 2.0 * alpha)",
        new="return np.where(near, inner, math.sqrt(2.0) * z - 3.0 * alpha)",
    ),
    Mutation(
        file="coresets/svm/sensitivity.py",
        old="inner = z * z / np.where(near & (alpha > 0), 4.0 * alpha, 1.0)",
        new="inner = z * z / np.where(near & (alpha > 0), 8.0 * alpha, 1.0)",
    ),
    Mutation(
        file="coresets/svm/sensitivity.py",
        old="mean = np.stack([np.bincount(which, u * column) for column in z.T], axis=1) / mass[:, None]",
        new="mean = np.stack([np.bincount(which, column) for column in z.T], axis=1) / np.bincount(which)[:, None]",
    ),
    Mutation(
        file="coresets/svm/sensitivity.py",
        old="if np.any(low != high):",
        new="if np.any(low > high):",
    ),
    Mutation(
        file="coresets/svm/sensitivity.py",
        old="distance=distance * (1.0 + step) + 2.0 * step",
        new="distance=distance * (1.0 - step) - 2.0 * step",
    ),
    Mutation(
        file="coresets/svm/sensitivity.py",
        old="UP = 1.0 + 1e-12",
        new="UP = 1.0 - 1e-9",
    ),
    Mutation(
        file="coresets/svm/worst_query.py",
        old="for s in (*_roots(x2, x1, x0), np.broadcast_to(stop, x1.shape)):",
        new="for s in (_roots(x2, x1, x0)[0], np.broadcast_to(stop, x1.shape)):",
    ),
)

TIGHT = (((1, Fraction(3, 4), 1), (4, 1, 1930)), ((1, Fraction(9942, 10000), 1), (198, 1, 6794)))
"""Three weighted points (z, u), clusters 0, 0, 1: nearly tight at the second, at z/alpha = 2.3 and 3.3."""


@dataclass(frozen=True)
class Line:
    """An SVM in one dimension without intercept, in fractions."""

    z: tuple[Fraction, ...]
    u: tuple[Fraction, ...]
    lam: Fraction

    def loss(self, p: int, w: Fraction) -> Fraction:
        """f(p, w)."""
        return w * w / (2 * sum(self.u)) + self.lam * max(Fraction(0), 1 - self.z[p] * w)

    def value(self, w: Fraction) -> Fraction:
        """F(P, w)."""
        return sum((u * self.loss(p, w) for p, u in enumerate(self.u)), Fraction(0))

    def pieces(self) -> list[tuple[Fraction | None, Fraction | None]]:
        """The intervals on which every hinge is linear; None stands for an infinite end."""
        ends = [None, *sorted({1 / z for z in self.z if z}), None]
        return list(itertools.pairwise(ends))

    def active(self, lo: Fraction | None, hi: Fraction | None) -> list[int]:
        """The points with positive hinge inside the interval."""
        middle = (lo + hi) / 2 if lo is not None and hi is not None else lo + 1 if lo is not None else (hi or 0) - 1
        return [p for p, z in enumerate(self.z) if z * middle < 1]

    def optimum(self) -> Fraction:
        """Return min F, exactly."""
        candidates = [1 / z for z in self.z if z]
        candidates += [self.lam * sum(self.u[p] * self.z[p] for p in self.active(*piece)) for piece in self.pieces()]
        return min(self.value(Fraction(w)) for w in candidates)

    def exceeding(self, p: int, bound: Fraction, *, hinge_only: bool = False) -> Fraction | None:
        """A query w with u_p f(p, w) > bound F(P, w), or None: there is no such query on the whole line.

        On each piece the difference is a quadratic with rational coefficients, whose minimum is decided exactly.
        """
        share = Fraction(0) if hinge_only else self.u[p] / sum(self.u)
        for lo, hi in self.pieces():
            on = self.active(lo, hi)
            own = self.u[p] if p in on else Fraction(0)
            q2 = (bound - share) / 2
            q1 = self.lam * (own * self.z[p] - bound * sum(self.u[k] * self.z[k] for k in on))
            q0 = self.lam * (bound * sum(self.u[k] for k in on) - own)
            tries = [end for end in (lo, hi) if end is not None]
            if q2 > 0:
                tries.append(-q1 / (2 * q2))
            far = max(map(abs, (q2, q1, q0))) * 1000 / abs(q2 or q1 or Fraction(1))  # beyond every root
            tries += [s * (far + 1) for s in (-1, 1)] if q2 <= 0 else []
            for w in tries:
                if (lo is None or w >= lo) and (hi is None or w <= hi) and q2 * w * w + q1 * w + q0 < 0:
                    return w
        return None


def line(z: Sequence[Fraction | int], u: Sequence[Fraction | int], lam: Fraction | int = 1) -> Line:
    """An instance from numbers; it must be the one that floats hold, so that the shipped code sees the same."""
    return Line(tuple(map(Fraction, z)), tuple(map(Fraction, u)), Fraction(lam))


def floats(instance: Line) -> tuple[np.ndarray, np.ndarray, float]:
    """The instance as the shipped functions take it: z (n,), u (n,) and lam."""
    return np.array(instance.z, float), np.array(instance.u, float), float(instance.lam)


def rounded(instance: Line) -> Line:
    """The instance whose numbers are floats."""
    z, u, lam = floats(instance)
    return line([Fraction(v) for v in z], [Fraction(v) for v in u], Fraction(lam))


def bounds_of(instance: Line, cluster: Sequence[int], *, hinge_only: bool = False) -> np.ndarray:
    """The shipped bounds, with the shipped lower bound on the optimum, which must be one."""
    z, u, lam = floats(instance)
    opt = minimum(z, u, lam=lam)[1]
    require(0 < Fraction(opt) <= instance.optimum(), "opt must be a lower bound")
    return sensitivities(clusters_of(z[:, None], u, cluster), lam=lam, opt=opt, hinge_only=hinge_only)


def random_line(rng: np.random.Generator, points: int) -> tuple[Line, list[int]]:
    """Eighths around 1, weights from 1/4 to 64, three clusters."""
    z = [Fraction(int(k), 8) for k in rng.choice(np.r_[-6:0, 1:17, 8, 8, 8, 7, 9], size=points)]
    u = [Fraction(int(k), 4) for k in rng.choice([1, 2, 4, 16, 64, 256], size=points)]
    return line(z, u, Fraction(int(rng.choice([1, 4, 8, 32])), 8)), rng.integers(0, 3, size=points).tolist()


def reals(names: str) -> list[Any]:
    """Real variables for z3."""
    return [z3.Real(name) for name in names.split()]


def symbolic() -> str:
    U, B, F, H, lam, r, p = sp.symbols("U B F H lambda r p", positive=True)
    alpha = (U - B) / (2 * lam * U * B)
    gap = F / B + lam * (p * r - alpha * r**2) - (r**2 / (2 * U) + lam * (H / B + p * r))
    require(sp.simplify(gap - (F - r**2 / 2 - lam * H) / B) == 0, "the gap must be (F - r²/2 - lam H)/U(B)")
    a, z, v, E, D, root, x, y = reals("a z v E D root x y")
    given = (a >= 0, z >= 0, v >= 0, D >= 1, v * v / 2 <= D, root > 0, root * root == 2)
    prove(z * v - a * v * v <= E * D, *given, a > 0, z <= 2 * root * a, 4 * a * E == z * z)
    prove(z * v - a * v * v <= E * D, *given, z >= 2 * root * a, root * z - 2 * a == E)
    prove(root * z >= E, *given, a > 0, z <= 2 * root * a, 4 * a * E == z * z)
    prove(z * z >= 4 * a * (root * z - 2 * a), *given)  # the parabola's top is never below the other form
    A, Z = sp.symbols("a z", positive=True)
    top = (Z * (Z / (2 * A)) - A * (Z / (2 * A)) ** 2) - Z**2 / (4 * A)
    edge = (Z * sp.sqrt(2) - A * 2) / 1 - (sp.sqrt(2) * Z - 2 * A)
    require(sp.simplify(top) == 0 and sp.simplify(edge) == 0, "both cases are attained, at z/(2 alpha) and sqrt2")
    prove(z3.And(x + y <= z + v, z + v >= 0), z >= x, z >= 0, v >= y, v >= 0)  # [x + y]_+ <= [x]_+ + [y]_+
    return "gap = (F - r²/2 - lam H)/U(B) >= 0; both cases of E proved by z3, attained at v = z/(2 alpha) and v = sqrt2"


def rounding_is_safe() -> int:
    """Check what a bound is made of in fractions: distances up, U - U(B) down, and equal points, whose share is u/U.

    A cluster of both classes must be refused with an intercept, since p_D would have an intercept coordinate.
    """
    rng, decided = np.random.default_rng(72), 0
    for _ in range(20):
        z, u, group = rng.normal(size=9), rng.uniform(0.1, 3, 9), rng.integers(0, 3, 9)
        c, w = clusters_of(z[:, None], u, group), [Fraction(v) for v in u.tolist()]
        for p in range(9):
            own = [k for k in range(9) if group[k] == group[p]]
            mass = sum(w[k] for k in own)
            mean = sum((w[k] * Fraction(z[k]) for k in own), Fraction(0)) / mass
            far = abs(mean - Fraction(z[p]))
            require(far <= Fraction(c.distance[p]) <= far + Fraction(1, 10**12), f"distance {c.distance[p]} of {p}")
            left = sum(w) - mass
            require(Fraction(c.rest[p]) <= left, f"U - U(B) = {float(left)} was rounded up to {c.rest[p]}")
        bounds = sensitivities(clusters_of(np.ones((9, 1)), u, np.zeros(9, int)), lam=1.0, opt=0.1)
        require(all(Fraction(b) >= v / sum(w) for b, v in zip(bounds.tolist(), w, strict=True)), f"{bounds} below u/U")
        decided += 9
    try:
        clusters_of(np.array([[1.0, 1.0], [1.0, -1.0]]), np.ones(2), [0, 0], intercept=True)
    except InvalidParameter:
        return decided
    raise AssertionError("a cluster of both classes must be refused where there is an intercept")


def extremes_are_exact() -> int:
    """Check that the shipped sensitivities are the suprema up to 1e-9, in fractions, and F_C/F stays inside."""
    rng, decided, grid = np.random.default_rng(73), 0, np.linspace(-6, 6, 1501)[:, None]
    for _ in range(20):
        instance = rounded(random_line(rng, int(rng.integers(2, 7)))[0])
        z, u, lam = floats(instance)
        for hinge_only in (False, True):
            for p, s in enumerate(true_sensitivities(z, u, lam=lam, hinge_only=hinge_only).tolist()):
                above, below = (Fraction(s) * (1 + side * Fraction(1, 10**9)) for side in (1, -1))
                require(instance.exceeding(p, above, hinge_only=hinge_only) is None, f"s > {s} at {p} of {instance}")
                require(instance.exceeding(p, below, hinge_only=hinge_only) is not None, f"s < {s}: {p} of {instance}")
                decided += 1
        v = u * rng.integers(0, 3, len(z))
        share, loss = v.sum() / u.sum(), lam * np.maximum(0.0, 1 - grid * z)
        ratio = (share * grid[:, 0] ** 2 / 2 + loss @ v) / (grid[:, 0] ** 2 / 2 + loss @ u)
        found = extremes(z, u, v, lam=lam)
        require(float(found.low) <= ratio.min() + 1e-9 and float(found.high) >= ratio.max() - 1e-9, f"{found}: {v}")
    return decided


def exact() -> str:
    rng, decided, worst = np.random.default_rng(71), 0, 0.0
    for _ in range(40):
        instance, cluster = random_line(rng, int(rng.integers(2, 7)))
        for p, bound in enumerate(bounds_of(instance, cluster)):
            w = instance.exceeding(p, Fraction(float(bound)))
            require(w is None, f"s > {bound} at point {p} of {instance}, w = {w}")
            decided += 1
    decided += rounding_is_safe() + extremes_are_exact()
    for z, u in TIGHT:
        instance = rounded(line(z, u))
        bound = Fraction(float(bounds_of(instance, [0, 0, 1])[1]))
        require(instance.exceeding(1, bound) is None, "a nearly tight instance exceeds its bound")
        require(instance.exceeding(1, bound * Fraction(998, 1000)) is not None, "it must be tight to a share of 0.002")
        worst = max(worst, float(true_sensitivities(*floats(instance)[:2], lam=1.0)[1] / float(bound)))
    require(worst > 0.99999, f"the bound must be tight, the largest share is {worst}")
    grid = np.linspace(0, 40, 4001)
    for z, alpha in itertools.product((0.0, 0.3, 1.0, 2.5, 7.0), (0.0, 0.1, 0.5, 2.0)):
        sup = float(np.max((z * grid - alpha * grid**2) / np.maximum(1.0, grid**2 / 2)))
        value = float(excess(np.array(z), np.array(alpha)))
        require(
            sup <= value * (1 + 1e-12) and value <= sup + 0.02 * z, f"E({z}, {alpha}) is {value}, a grid says {sup}"
        )
    return f"{decided} bounds hold at every w, decided in fractions; tight to a share of {1 - worst:.1e}"


def trial(factor: float):
    """A random instance in one dimension: does a bound, divided by `factor`, fall below the exact sensitivity?"""

    def one(rng: np.random.Generator) -> bool:
        n, lam = int(rng.integers(3, 30)), float(10 ** rng.uniform(-1.5, 1))
        z = rng.normal(rng.uniform(-1, 2), rng.uniform(0.001, 1), n) * rng.choice([0.1, 1.0, 10.0])
        u = rng.uniform(0.2, 2, n) * rng.choice([0.05, 1.0, 50.0], n)
        bounds = sensitivities(
            clusters_of(z[:, None], u, rng.integers(0, 3, n)), lam=lam, opt=minimum(z, u, lam=lam)[1]
        )
        return bool(np.any(true_sensitivities(z, u, lam=lam) * factor > bounds * (1 + 1e-9)))

    return lambda rng, n: np.array([one(rng) for _ in range(n)], bool)


def monte_carlo(effort: int = 1) -> Evidence:
    return judge(trial(1.0), delta=0.02, trials=600 * effort, name="a sensitivity above its bound, one dimension")


def teeth() -> Evidence:
    instances = [rounded(line(z, u)) for z, u in TIGHT]
    bounds = [Fraction(float(bounds_of(i, [0, 0, 1])[1])) for i in instances]

    def caught(factor: float) -> bool:
        pairs = zip(instances, bounds, strict=True)
        return any(i.exceeding(1, b / Fraction(factor)) is not None for i, b in pairs)

    slack = smallest_sabotage(caught)
    # the weighted mean is needed: with the plain mean of z = 1 (u = 99) and z = 3/4 (u = 1) the far point looks near
    z, u = np.array([1.0, 0.5, 1.0]), np.array([99.0, 1.0, 100.0])
    opt, s = minimum(z, u, lam=1.0)[1], float(true_sensitivities(z, u, lam=1.0)[1])
    fair = float(sensitivities(clusters_of(z[:, None], u, [0, 0, 1]), lam=1.0, opt=opt)[1])
    c = clusters_of(z[:, None], u, [0, 0, 1])
    plain = replace(c, distance=np.array([0.25, 0.25, 0.0]))
    wrong = float(sensitivities(plain, lam=1.0, opt=opt)[1])
    require(wrong < s <= fair, f"the plain mean must be caught: {wrong} < {s} <= {fair}")
    text = f"refuted: bounds divided by {slack:g}; the plain mean for the weighted one, {wrong:.3f} below s = {s:.3f}"
    return Evidence(text=text, slack=slack)
