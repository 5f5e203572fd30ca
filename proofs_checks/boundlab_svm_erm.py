"""Training on an SVM coreset with error eps costs at most the factor (1 + eps)/(1 - eps): ours, and it is attained.

Let |F_C(w) - F(P, w)| <= eps F(P, w) for every w, let w* minimise F, and F_C(w_C) <= (1 + xi) min F_C. Then

    F(w_C) <= F_C(w_C)/(1 - eps) <= (1 + xi) F_C(w*)/(1 - eps) <= (1 + xi) (1 + eps)/(1 - eps) F(w*).

The three steps are the lower bound at w_C, near-optimality on the coreset, and the upper bound at w*. Nothing smaller
holds for all pairs of functions: F = 1, F_C = 1 + eps at w*, and F = (1 + eps)/(1 - eps), F_C = 1 + eps at w_C.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab.coresets.svm.objective import coreset_lam, erm_factor, objective
from boundlab.coresets.svm.sampling import draw_weights
from boundlab.coresets.svm.sensitivity import clusters_of, sensitivities
from boundlab.coresets.svm.worst_query import extremes, minimum
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.boundlab_svm_sensitivity import reals
from proofs_checks.judging import judge, smallest_sabotage
from proofs_checks.proving import prove

THEOREM = Theorem(
    name="Training on a coreset",
    source="ours; the standard consequence of a two-sided relative error",
    given=("|F_C - F| <= eps F everywhere, 0 <= eps < 1", "F_C(w_C) <= (1 + xi) min F_C"),
    claim=r"F(P, w_C) \le (1+\xi)\,\frac{1+\epsilon}{1-\epsilon}\,\min_w F(P, w)",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="coresets/svm/objective.py",
        old="return (1.0 + slack) * (1.0 + eps) / (1.0 - eps) * (1.0 + 8 * ROUNDING)",
        new="return (1.0 + slack) * (1.0 + eps) * (1.0 + 8 * ROUNDING)",
    ),
)

Z, U = np.array([1.0, 0.25, -0.5]), np.array([2.0, 1.0, 1.0])


def trained(v: np.ndarray, lam: float) -> float:
    """The minimiser of the coreset's objective, by the exact solver with lam' = lam U/V."""
    kept = v > 0
    return minimum(Z[kept], v[kept], lam=coreset_lam(lam, total=float(U.sum()), mass=float(v.sum())))[0]


def ratio(w: float, lam: float) -> float:
    """F(P, w) over the optimum."""
    return float(objective(Z[:, None], U, np.array([w]), lam=lam)) / minimum(Z, U, lam=lam)[1]


def symbolic() -> str:
    Fc, Fs, Cc, Cs, e, xi = reals("Fc Fs Cc Cs e xi")
    given = (e >= 0, e < 1, xi >= 0, Fc >= 0, Fs >= 0, Cc >= (1 - e) * Fc, Cs <= (1 + e) * Fs, Cc <= (1 + xi) * Cs)
    prove((1 - e) * Fc <= (1 + xi) * (1 + e) * Fs, *given)
    eps = sp.symbols("epsilon", positive=True)
    at = (1 + eps) / (1 - eps)  # the pair of functions that attains it
    require(sp.simplify((1 - eps) * at - (1 + eps)) == 0, "F_C(w_C) = (1 - eps) F(w_C) = 1 + eps = F_C(w*)")
    return "(1 - eps) F(w_C) <= (1 + xi)(1 + eps) F(w*) (z3); attained by two queries with F = 1 and (1+eps)/(1-eps)"


def exact() -> str:
    for e, xi in itertools.product((0.0, 0.1, 0.3, 0.9, 0.999), (0.0, 0.01, 2.0)):
        fact = (1 + Fraction(xi)) * (1 + Fraction(e)) / (1 - Fraction(e))
        given = Fraction(erm_factor(e, slack=xi))
        require(fact <= given <= fact * (1 + Fraction(1, 10**14)), f"the factor at eps = {e}, xi = {xi} is {given}")
    lam, m, good, closest = 2.0, 12, 0, 0.0
    q = sensitivities(clusters_of(Z[:, None], U, [0, 0, 1]), lam=lam, opt=minimum(Z, U, lam=lam)[1])
    q = q / q.sum()
    counts = [c for c in itertools.product(range(m + 1), repeat=3) if sum(c) == m]  # every outcome of m draws
    chance = 0.0
    for c in counts:
        v = U * np.array(c) / (m * q)
        eps = float(extremes(Z, U, v, lam=lam).error)
        if eps >= 1 or not np.any(v > 0):
            continue
        good += 1
        chance += math.factorial(m) * float(np.prod(q ** np.array(c))) / math.prod(math.factorial(k) for k in c)
        got = ratio(trained(v, lam), lam)
        require(got <= erm_factor(eps) * (1 + 1e-9), f"draws {c}: factor {got} above {erm_factor(eps)}")
        if eps > 0.01:
            closest = max(closest, (got - 1) / (erm_factor(eps) - 1))
    share = f"{good} of {len(counts)} outcomes of 12 draws have eps < 1 (probability {chance:.3f})"
    return f"{share}; training on them loses at most {closest:.2f} of what the factor allows"


def loses(power: float):
    """A trial: training on 40 draws loses more than the `power` of the factor at the exact error of the draws."""
    lam = 2.0
    bound = sensitivities(clusters_of(Z[:, None], U, [0, 0, 1]), lam=lam, opt=minimum(Z, U, lam=lam)[1])

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        v = draw_weights(U, bound, 40, rng, coresets=n)
        errors = extremes(Z, U, v, lam=lam).error
        return np.array(
            [
                e < 1 and ratio(trained(row, lam), lam) > erm_factor(float(e)) ** power * (1 + 1e-9)
                for row, e in zip(v, errors, strict=True)
            ],
            bool,
        )

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    return judge(loses(1.0), delta=0.01, trials=1_000 * effort, name="training on a coreset")


def teeth() -> Evidence:
    eps = 0.25

    def caught(factor: float) -> bool:
        """Two queries, F = 1 and (1+eps)/(1-eps), F_C = 1 + eps at both: the coreset's minimiser may be the second."""
        full = np.array([1.0, (1 + eps) / (1 - eps)])
        small = np.array([1 + eps, 1 + eps])
        require(np.all(np.abs(small - full) <= eps * full * (1 + 1e-12)), "it must be an eps-coreset")
        return full[1] > erm_factor(eps) / factor

    slack = smallest_sabotage(caught)
    require(1 + eps < (1 + eps) / (1 - eps), "1 + eps alone is too little")
    return Evidence(text=f"attained: the factor divided by {slack:g} is refuted, as is 1 + eps", slack=slack)
