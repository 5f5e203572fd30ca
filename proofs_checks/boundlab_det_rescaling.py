"""A sum that is known to lie in [(1-eps) z, z] is better told divided by 1 - eps/2: error eps/(2-eps) in place of eps.

Statement. If (1-eps) z <= z_hat <= z, z > 0 and 0 <= eps < 1, then f z_hat with f = 1/(1-eps/2) satisfies
|f z_hat - z| <= eps/(2-eps) z. No factor does better on the whole interval: the error of a factor f is
max(f - 1, 1 - f (1-eps)), the first of which rises and the second of which falls in f, and they meet at
f = 1/(1-eps/2).

Proof. f z_hat - z lies between f (1-eps) z - z = -eps/(2-eps) z and f z - z = eps/(2-eps) z. Since
eps - eps/(2-eps) = eps (1-eps)/(2-eps) >= 0, nothing is lost; for small eps the error is halved. A ReLU and the later
layers see a factor that is common to one group of one neuron: it may be stored in the weights.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab.coresets.top_k import centred, dropped_sum, keep_largest
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage, violated

THEOREM = Theorem(
    name="Centring a sum that only loses",
    source="ours, for the deterministic method of Baykal et al. 2022, arXiv:1910.05422",
    given=("(1-eps) z <= z_hat <= z", "eps in [0, 1)"),
    claim=r"\Big|\frac{\hat z}{1-\epsilon/2} - z\Big| \le \frac{\epsilon}{2-\epsilon}\, z",
    status="holds",
)

MUTATIONS = (
    Mutation(file="coresets/top_k.py", old="np.maximum(above, below)", new="below"),
    Mutation(file="coresets/top_k.py", old="factor = 1.0 / (1.0 - 0.5 * eps)", new="factor = 1.0 / (1.0 - eps)"),
    Mutation(file="coresets/top_k.py", old="return factor, np.maximum(above, below)", new="return factor, 0.5 * eps"),
    Mutation(file="coresets/top_k.py", old="below = (factor * eps - above) *", new="below = 0.0 *"),
)

GRID = np.concatenate([np.linspace(0, 1, 257), 10.0 ** np.arange(-20, 0), 1 - 10.0 ** np.arange(-16, 0)])


def error(factor: float, eps: float) -> Fraction:
    """The largest relative error of factor * z_hat over z_hat in [(1-eps) z, z], exactly."""
    f, e = Fraction(factor), Fraction(eps)
    return max(abs(f - 1), abs(1 - f * (1 - e)))


def symbolic() -> str:
    e, t = sp.symbols("e t", nonnegative=True)
    f, r = 1 / (1 - e / 2), e / (2 - e)
    require(sp.simplify(f - 1 - r) == 0 and sp.simplify(1 - f * (1 - e) - r) == 0, "both ends must err by eps/(2-eps)")
    kept = sp.factor((e - r).subs(e, 1 / (1 + t)))  # eps in (0, 1] is 1/(1+t) with t >= 0
    require(kept.is_nonnegative, f"eps/(2-eps) <= eps, got {kept}")
    g = sp.symbols("g")
    require(sp.diff(g - 1, g) == 1, "the upper end rises in the factor")
    require((-sp.diff(1 - g * (1 - e), g)).subs(e, t / (1 + t)).simplify().is_positive, "the lower end falls")
    return "both ends err by eps/(2-eps) <= eps; one rises and one falls in the factor, so no other factor is better"


def exact() -> str:
    factors, told = centred(GRID)
    loosest = Fraction(0)
    for eps, f, own in zip(GRID.tolist(), factors.tolist(), told.tolist(), strict=True):
        truth = error(f, eps)
        require(truth <= Fraction(own), f"eps = {eps}: the error is {float(truth)}, told {own}")
        ideal = Fraction(eps) / (2 - Fraction(eps))
        require(Fraction(own) <= ideal + Fraction(1, 2**48), f"eps = {eps}: told {own}, far above {float(ideal)}")
        require(own <= eps * (1 + 1e-14), "rescaling must not lose")
        if eps > 1e-3:
            loosest = max(loosest, Fraction(own) / ideal)
    for eps in (Fraction(k, 16) for k in range(1, 16)):  # no factor on a grid is better
        best = min(max(abs(g - 1), abs(1 - g * (1 - eps))) for g in (1 + Fraction(k, 64) for k in range(65)))
        require(best >= eps / (2 - eps), "a better factor was found")
    return f"{len(GRID)} values of eps: error of the shipped factor <= what is told, within {float(loosest - 1):.0e}"


def rescaled(factor: float):
    """Trials: does the centred sum of a random group, at a point of S, err by more than what is told / factor?"""

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        edges = 8
        a = rng.pareto(1.5, size=(n, 4, edges))
        g = a / a.sum(axis=2, keepdims=True)
        s, indptr = g.max(axis=1), np.arange(n + 1) * edges
        keep = keep_largest(s.ravel(), indptr, rng.integers(2, edges, size=n))
        f, told = centred(np.minimum(dropped_sum(s.ravel(), indptr, keep), 1.0))
        held = np.where(keep.reshape(n, 1, edges), g, 0.0).sum(axis=2)
        return (np.abs(f[:, None] * held - 1) > told[:, None] * (1 + 1e-12) / factor).any(axis=1)

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    return judge(rescaled(1.0), delta=0.01, trials=2_000 * effort, name="centred top m at the points of S")


def teeth() -> Evidence:
    def caught(factor: float) -> bool:
        return any(
            error(float(centred(e)[0]), e) > Fraction(float(centred(e)[1])) / Fraction(factor) for e in (0.1, 0.9)
        )

    slack = smallest_sabotage(caught)
    for name, wrong in {
        "1/(1-eps)": lambda e: 1 / (1 - e),
        "1 + eps/2": lambda e: 1 + e / 2,
        "1": lambda e: 1.0,
    }.items():
        require(error(wrong(0.5), 0.5) > Fraction(float(centred(0.5)[1])), f"the factor {name} was not caught")
    require(violated(rescaled(2.0), delta=0.01, trials=1_000, name="error halved"), "half of the error was not caught")
    return Evidence(text=f"refuted: error / {slack:g}; factors 1/(1-eps), 1 + eps/2 and 1", slack=slack)
