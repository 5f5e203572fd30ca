"""An SVM coreset that keeps the regulariser exactly samples hinges alone, with smaller sensitivities: ours.

F_C(w) = |w|²/2 + lam sum v h(p, w): only the hinge losses are sampled. What counts is the sensitivity of the hinge,
s_h(p) = sup_w u_p lam h(p, w)/F(P, w) <= s(p). With r = |w|, H the cluster's hinges, F >= r²/2 + lam H, and
h(p, w) <= H/U(B) + |p_D| r as in ``boundlab_svm_sensitivity``,

    lam h(p, w) <= (F - r²/2)/U(B) + lam |p_D| r = F/U(B) + lam (|p_D| r - alpha' r²),    alpha' = 1/(2 lam U(B)).

The supremum over r is E(z, alpha') as before, with alpha' > alpha = (U - U(B))/(2 lam U U(B)), and E falls with alpha:
s_h(p) <= min(1, u_p [1/U(B) + lam E(|p_D|/sqrt(opt), alpha')]), no larger than the bound for the whole objective. The
error is |F_C - F| = lam |sum (v - u) h|, and a query without hinges has none at all. The size needs no ln(2m + 1).
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab.coresets.svm.sampling import draw_weights
from boundlab.coresets.svm.sensitivity import clusters_of, sensitivities
from boundlab.coresets.svm.size import coreset_size
from boundlab.coresets.svm.worst_query import extremes, minimum, true_sensitivities
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.boundlab_svm_sensitivity import bounds_of, floats, line, random_line, reals, rounded
from proofs_checks.judging import judge, smallest_sabotage
from proofs_checks.proving import prove

THEOREM = Theorem(
    name="Sensitivities of hinges alone",
    source="ours",
    given=("as for the sensitivities of the whole objective", "the coreset keeps |w|²/2 unscaled"),
    claim=r"\sup_w \frac{u_p\lambda h(p,w)}{F(P,w)} \le \min\Big(1, u_p\Big[\frac1{U(B)} + \lambda E(z, \alpha')\Big]"
    r"\Big),\quad \alpha' = \frac1{2\lambda U(B)}",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="coresets/svm/sensitivity.py",
        old="rest = clusters.total if hinge_only else clusters.rest",
        new="rest = 2.0 * clusters.total if hinge_only else clusters.rest",
    ),
    Mutation(
        file="coresets/svm/sensitivity.py",
        old="return np.minimum(1.0, clusters.u * (1.0 / clusters.mass + lam * excess(z, alpha)) * clusters.up)",
        new="return np.minimum(1.0, clusters.u * lam * excess(z, alpha) * clusters.up)",
    ),
)

TIGHT = ((1, Fraction(3, 4), 1), (4, 1, 1930))


def symbolic() -> str:
    U, B, F, H, lam, r, p = sp.symbols("U B F H lambda r p", positive=True)
    alpha = 1 / (2 * lam * B)
    gap = F / B + lam * (p * r - alpha * r**2) - lam * (H / B + p * r)
    require(sp.simplify(gap - (F - r**2 / 2 - lam * H) / B) == 0, "the gap must be (F - r²/2 - lam H)/U(B)")
    require(sp.simplify(alpha - (U - B) / (2 * lam * U * B) - 1 / (2 * lam * U)) == 0, "alpha' = alpha + 1/(2 lam U)")
    a, b, z, root = reals("a b z root")
    given = (a > 0, a <= b, z >= 0, root > 0, root * root == 2)
    prove(z * z * a <= z * z * b, *given)  # z²/(4 b) <= z²/(4 a)
    prove(root * z - 2 * b <= root * z - 2 * a, *given)
    prove(z * z <= 4 * b * (root * z - 2 * a), *given, z >= 2 * root * a, z <= 2 * root * b)  # across the cases
    return "gap (F - r²/2 - lam H)/U(B); alpha' = alpha + 1/(2 lam U); E falls with alpha, also across its cases (z3)"


def exact() -> str:
    rng, decided, saved = np.random.default_rng(141), 0, []
    for _ in range(40):
        instance, cluster = random_line(rng, int(rng.integers(2, 7)))
        hinges, whole = (bounds_of(instance, cluster, hinge_only=only) for only in (True, False))
        require(np.all(hinges <= whole), "hinges alone must have bounds that are no larger")
        saved.append(float(hinges.sum() / whole.sum()))
        for p, bound in enumerate(hinges):
            w = instance.exceeding(p, Fraction(float(bound)), hinge_only=True)
            require(w is None, f"s_h > {bound} at point {p} of {instance}, w = {w}")
            decided += 1
    tight = rounded(line(*TIGHT))
    bound = float(bounds_of(tight, [0, 0, 1], hinge_only=True)[1])
    s = float(true_sensitivities(*floats(tight)[:2], lam=1.0, hinge_only=True)[1])
    require(tight.exceeding(1, Fraction(bound), hinge_only=True) is None and s > 0.99 * bound, f"{s} of {bound}")
    return f"{decided} bounds hold at every w, in fractions; total {np.mean(saved):.2f} of that of the whole objective"


def data() -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """(z, u, bounds for hinges, m at eps = 1/2, delta = 0.1) of twenty points."""
    z, u = np.r_[np.linspace(0.5, 1.5, 10), np.linspace(-0.5, 1, 10)], np.ones(20)
    opt = minimum(z, u, lam=1.0)[1]
    bound = sensitivities(clusters_of(z[:, None], u, np.repeat([0, 1], 10)), lam=1.0, opt=opt, hinge_only=True)
    return z, u, bound, int(coreset_size(float(bound.sum()), 0.5, 0.1, dimension=1))


def errs(rng: np.random.Generator, n: int) -> np.ndarray:
    """Trials: a coreset of hinges alone errs by more than eps = 1/2 at the exact worst query."""
    z, u, bound, m = data()
    return extremes(z, u, draw_weights(u, bound, m, rng, coresets=n), lam=1.0, share=1.0).error > 0.5


def exceeded(rng: np.random.Generator, n: int) -> np.ndarray:
    """Trials: on a random instance an exact hinge sensitivity is above its bound."""

    def one() -> bool:
        k, lam = int(rng.integers(3, 25)), float(10 ** rng.uniform(-1.5, 1))
        z, u = rng.normal(rng.uniform(-1, 2), rng.uniform(0.001, 1), k), rng.uniform(0.1, 5, k)
        c, opt = clusters_of(z[:, None], u, rng.integers(0, 3, k)), minimum(z, u, lam=lam)[1]
        bound = sensitivities(c, lam=lam, opt=opt, hinge_only=True)
        return bool(np.any(true_sensitivities(z, u, lam=lam, hinge_only=True) > bound * (1 + 1e-9)))

    return np.array([one() for _ in range(n)], bool)


def monte_carlo(effort: int = 1) -> Evidence:
    size = judge(errs, delta=0.1, trials=1_000 * effort, name="coreset of hinges")
    bound = judge(exceeded, delta=0.02, trials=400 * effort, name="hinge sensitivities")
    return Evidence(text=f"size: {size.text}; bounds: {bound.text}", trials=1_400 * effort)


def teeth() -> Evidence:
    tight = rounded(line(*TIGHT))
    bound = Fraction(float(bounds_of(tight, [0, 0, 1], hinge_only=True)[1]))

    def caught(factor: float) -> bool:
        return tight.exceeding(1, bound / Fraction(factor), hinge_only=True) is not None

    slack = smallest_sabotage(caught)
    # they are for hinges only: at this point of large losses the whole objective needs more than the hinge's bound
    z, u = np.array([1.0, 0.75, 1.0]), np.array([4.0, 1.0, 3.0])
    c, opt = clusters_of(z[:, None], u, [0, 0, 1]), minimum(z, u, lam=1.0)[1]
    hinges, whole = (sensitivities(c, lam=1.0, opt=opt, hinge_only=only) for only in (True, False))
    s = true_sensitivities(z, u, lam=1.0)
    require(np.any(s > hinges) and np.all(s <= whole), f"{s}, {hinges}")
    return Evidence(
        text=f"bounds divided by {slack:g} are refuted; for the whole objective they do not hold", slack=slack
    )
