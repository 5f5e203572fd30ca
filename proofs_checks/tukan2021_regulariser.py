"""A coreset's objective scales the regulariser by V/U, so that its solver must use lam' = lam U/V and not lam.

F_C(w) = sum_p v_p f(p, w) with f(p, w) = |w|²/(2U) + lam h(p, w), hence

    F_C(w) = (V/U) |w|²/2 + lam sum v h = (V/U) [ |w|²/2 + lam (U/V) sum v h ],

V/U times the objective of an ordinary SVM with weights v and lam' = lam U/V: same minimiser, same sensitivities, and
min F_C = (V/U) min. A solver left at lam minimises |w|²/2 + lam sum v h instead. That function is no coreset of the
same error: it differs from F_C by (1 - V/U) |w|²/2, and on long queries without hinges by the share |1 - V/U|. With |1
- V/U| <= eps (such a query shows it) its error is at most 2 eps, not eps.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab.coresets.svm.objective import coreset_lam, objective
from boundlab.coresets.svm.sampling import draw_weights
from boundlab.coresets.svm.worst_query import extremes, minimum, true_sensitivities
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.boundlab_svm_sensitivity import floats, line, random_line, rounded
from proofs_checks.judging import judge, smallest_sabotage

THEOREM = Theorem(
    name="The regulariser of an SVM coreset",
    source="Tukan et al. 2021, arXiv:2002.06469, as we understand the paper; item number not known to us",
    given=("v >= 0 of total weight V > 0 on points of total weight U", "lam > 0"),
    claim=r"\arg\min_w \Big[\frac VU\frac{|w|^2}2 + \lambda\sum_p v_p h(p,w)\Big] = \arg\min_w \Big[\frac{|w|^2}2 + "
    r"\lambda\frac UV\sum_p v_p h(p,w)\Big]",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="coresets/svm/objective.py",
        old='return positive("lam", lam) * positive("total", total) / positive("mass", mass)',
        new='return positive("lam", lam) * positive("mass", mass) / positive("total", total)',
    ),
    Mutation(
        file="coresets/svm/objective.py",
        old='share = 1.0 if total is None else float(v.sum()) / positive("total", total)',
        new='share = 1.0 if total is None else positive("total", total) / float(v.sum())',
    ),
    Mutation(
        file="coresets/svm/objective.py",
        old="slope = w[..., :-1] if intercept else w",
        new="slope = np.zeros(1) if intercept else w",
    ),
)


def symbolic() -> str:
    r, H, lam, U, V = sp.symbols("r H lambda U V", positive=True)
    coreset = V / U * r**2 / 2 + lam * H
    ordinary = r**2 / 2 + lam * U / V * H
    require(sp.simplify(coreset - V / U * ordinary) == 0, "F_C must be V/U times the SVM with lam U/V")
    left = r**2 / 2 + lam * H
    require(sp.simplify(left - coreset - (1 - V / U) * r**2 / 2) == 0, "unscaled, it differs by (1 - V/U) r²/2")
    require(sp.simplify((left / coreset).subs(H, 0) - U / V) == 0, "and by the factor U/V where no hinge is positive")
    return "F_C = (V/U) [|w|²/2 + lam (U/V) sum v h]; unscaled it differs by (1 - V/U) |w|²/2"


def exact() -> str:
    rng, moved = np.random.default_rng(131), 0
    for _ in range(60):
        whole, _ = random_line(rng, int(rng.integers(3, 7)))
        v = [Fraction(int(k), 2) for k in rng.integers(1, 9, len(whole.z))]
        U, V = sum(whole.u), sum(v)
        scaled = line(whole.z, v, whole.lam * U / V)
        z, weights, lam = floats(line(whole.z, v, whole.lam))
        given = coreset_lam(lam, total=float(U), mass=float(V))
        require(abs(Fraction(given) / scaled.lam - 1) < Fraction(1, 10**14), "lam' must be lam U/V")
        w, value = minimum(z, weights, lam=given)
        require(abs(Fraction(value) / scaled.optimum() - 1) < Fraction(1, 10**9), "the solver's optimum")
        own = float(objective(z[:, None], weights, np.array([w]), lam=lam, total=float(U)))
        require(abs(own / float(V / U * scaled.optimum()) - 1) < 1e-9, "min F_C must be V/U times the SVM's")
        for q in (Fraction(-1), Fraction(1, 3), Fraction(5, 2)):  # the shipped objective against fractions
            exact_value = V / U * q * q / 2 + whole.lam * sum(
                (b * max(Fraction(0), 1 - a * q) for a, b in zip(whole.z, v, strict=True)), Fraction(0)
            )
            got = float(objective(z[:, None], weights, np.array([float(q)]), lam=lam, total=float(U)))
            require(abs(got / float(exact_value) - 1) < 1e-12, "the shipped objective")
        wrong = minimum(z, weights, lam=lam)[0]
        moved += abs(wrong - w) > 1e-9
    require(moved > 10, "without the rescaling the minimiser must often move")
    bent = float(objective(np.array([[2.0, 1.0]]), np.ones(1), np.array([0.25, -3.0]), lam=2.0, intercept=True))
    require(bent == 1 / 32 + 2 * (1 - 0.5 + 3), f"an intercept must not be regularised: {bent}")
    # sensitivities of the coreset's objective are those of (v, lam')
    small = rounded(line([1, Fraction(1, 2), -1], [3, 1, 2]))
    z, weights, _ = floats(small)
    s = true_sensitivities(z, weights, lam=coreset_lam(1.0, total=24.0, mass=6.0))
    grid = np.linspace(-8, 8, 4001)[:, None]
    f = weights * (grid**2 / 48 + np.maximum(0, 1 - grid * z))
    share = (f / objective(z[:, None], weights, grid, lam=1.0, total=24.0)[:, None]).max(axis=0)
    require(np.all(share <= s * (1 + 1e-9)) and np.all(share > 0.99 * s), f"sensitivities {s}, a grid says {share}")
    return f"60 instances: min F_C = (V/U) min SVM(lam U/V) in fractions; left at lam, the minimiser moves on {moved}"


def beaten(rescaled: bool):
    """A trial: some other query has a smaller coreset objective than what the solver returned."""
    z, u, lam = np.array([1.0, 0.6, 0.2, -0.4]), np.array([4.0, 2.0, 2.0, 1.0]), 0.3

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        out = []
        for v in draw_weights(u, np.array([1.0, 1.0, 1.0, 3.0]), 30, rng, coresets=n):
            kept = v > 0
            used = coreset_lam(lam, total=9.0, mass=float(v.sum())) if rescaled else lam
            w = minimum(z[kept], v[kept], lam=used)[0]
            near = w + np.array([0.0, 1e-2, -1e-2, 1e-3, -1e-3])
            value = objective(z[:, None], v, near[:, None], lam=lam, total=9.0)
            out.append(bool(value[1:].min() < value[0] * (1 - 1e-12)))
        return np.array(out, bool)

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    trials = 500 * effort
    good = judge(beaten(True), delta=0.02, trials=trials, name="a solver with lam U/V")
    bad = judge(beaten(False), delta=0.02, trials=trials, name="a solver with lam", expect="violated")
    return Evidence(text=f"lam U/V: {good.text}; left at lam: {bad.text}", trials=2 * trials)


def teeth() -> Evidence:
    z, v = np.array([1.0, 0.5, -0.5]), np.array([2.0, 1.0, 1.0])

    def caught(factor: float) -> bool:
        """The solver uses `factor` times lam U/V, U = 16, V = 4, lam = 0.1."""
        w = minimum(z, v, lam=factor * coreset_lam(0.1, total=16.0, mass=4.0))[0]
        best = minimum(z, v, lam=coreset_lam(0.1, total=16.0, mass=4.0))[1] / 4
        return float(objective(z[:, None], v, np.array([w]), lam=0.1, total=16.0)) > best * (1 + 1e-9)

    slack = smallest_sabotage(caught)
    # an unscaled regulariser errs by |1 - V/U| on long queries even where v is a multiple of u
    half = float(extremes(z, v, v / 2, lam=1.0, share=1.0).error)
    fair = float(extremes(z, v, v / 2, lam=1.0).error)
    require(fair <= 0.5 + 1e-12 and half >= 0.5 - 1e-12, f"{fair}, {half}")
    return Evidence(text=f"lam' times {slack:g} is caught by the objective of its minimiser", slack=slack)
