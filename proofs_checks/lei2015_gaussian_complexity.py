"""A linear head on features fixed before the data: the Gaussian complexity bound; on learned features it is a measure.

Derivation. sup over |W|_F <= Lambda of sum_ij g_ij (W phi(x_i))_j is Lambda |sum_i phi_i g_i^T|_F, whose mean is at
most Lambda sqrt(c sum |phi_i|²) by Jensen. The Gaussian comparison for a loss that is L-Lipschitz in the largest entry
of the margin costs 2 L sqrt(2 pi)/n, bounded differences 3 B sqrt(ln(2/delta)/(2n)). Features that were learned from
the same sample break the premise: the class is then random, and one can choose features that make a random labelling
linear, of empirical risk 0 and risk 1/2, at any budget.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import sympy as sp

from boundlab.bounds.fixed_features import linear_head_complexity
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage

THEOREM = Theorem(
    name="The Gaussian complexity of a multi-class linear head",
    source="Lei, Dogan, Binder and Kloft (2015), arXiv:1506.04359, as we understand the paper; item number not known",
    given=(
        "features fixed before the sample",
        "|W|_F <= Lambda fixed before the sample",
        "loss L-Lipschitz, at most B",
    ),
    claim=r"R_\ell \le \hat R_\ell + \frac{2L\sqrt{2\pi}}{n}\Lambda\sqrt{c\sum\|\varphi_i\|^2} "
    r"+ 3B\sqrt{\frac{\ln(2/\delta)}{2n}}",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="bounds/fixed_features.py",
        old="math.sqrt(c * float((phi**2).sum()))",
        new="math.sqrt(float((phi**2).sum()) / c / n)",
    ),
    Mutation(file="bounds/fixed_features.py", old="confidence = 3.0 * top *", new="confidence = 0.1 * top *"),
)


def symbolic() -> str:
    a, b, c, lam = sp.symbols("a b c Lambda", positive=True)
    # E |sum phi_i g_i^T|_F² = c sum |phi_i|²: independent entries of variance one, c columns
    mean_square = c * (a**2 + b**2)
    require(sp.simplify(lam * sp.sqrt(mean_square) - lam * sp.sqrt(c) * sp.sqrt(a**2 + b**2)) == 0, "Jensen")
    t = sp.symbols("t", real=True)
    density = sp.exp(-(t**2) / 2) / sp.sqrt(2 * sp.pi)
    require(sp.integrate(sp.Abs(t) * density, (t, -sp.oo, sp.oo)) == sp.sqrt(2 / sp.pi), "E|g| = sqrt(2/pi)")
    require(
        sp.simplify(2 * sp.sqrt(sp.pi / 2) * 2 - 2 * sp.sqrt(2 * sp.pi)) == 0,
        "Rademacher <= sqrt(pi/2) Gaussian: 2 sqrt(2 pi)",
    )
    return "Jensen: Lambda sqrt(c sum |phi|²); E|g| = sqrt(2/pi) turns signs into Gaussians: 2 L sqrt(2 pi)"


def exact() -> str:
    # two classes, one feature: the exact sign complexity of margins under |W|_F <= 1, all 2^n signs
    worst = 0.0
    for phi in ((1.0, 2.0), (1.0, 1.0, 1.0), (0.5, 2.0, 1.0, 3.0)):
        n = len(phi)
        total = 0.0
        for sign in itertools.product((-1, 1), repeat=n):
            # margin w_1 phi - w_2 phi: the supremum over |(w_1, w_2)| <= 1 is sqrt 2 |sum sigma phi|
            total += math.sqrt(2) * abs(sum(s * v for s, v in zip(sign, phi, strict=True)))
        need = 2 * total / 2**n / n
        bound = linear_head_complexity(np.array(phi)[:, None], 2, 1.0, 1.0, 1 - 1e-12) - 3 * math.sqrt(
            math.log(2) / (2 * n)
        )
        require(need <= bound, f"phi = {phi}: {need} exceeds {bound}")
        worst = max(worst, need / bound)
    # learned features: phi(x_i) = +-1 equal to the label; any budget gives margin, the risk is 1/2
    got = linear_head_complexity(np.ones((10_000, 1)), 2, 3.0, 1.0, 0.05)
    require(got < 0.5, f"on features learned from 10000 fair labels it would claim a risk of {got} where 1/2 is true")
    return f"two classes: at most {worst:.2f} of the term; on learned features it would say {got:.2f} for a risk of 1/2"


def fails(factor: float):
    """A ramp loss, one fixed feature, fair labels, |W| <= 3: is some risk above its empirical one plus term/factor?"""
    n, budget = 60, 3.0

    def trial(rng: np.random.Generator, size: int) -> np.ndarray:
        phi, signs = np.ones((n, 1)), rng.choice((-1.0, 1.0), size=(size, n))
        term = linear_head_complexity(phi, 2, budget, 1.0, 0.05) / factor
        slopes = np.linspace(-budget * math.sqrt(2), budget * math.sqrt(2), 41)
        share = (signs > 0).mean(axis=1)[:, None]
        loss_up, loss_down = np.clip(1 - slopes, 0, 1), np.clip(1 + slopes, 0, 1)
        empirical, truth = share * loss_up + (1 - share) * loss_down, (loss_up + loss_down) / 2
        return np.asarray(((truth - empirical) > term).any(axis=1))

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    return judge(fails(1.0), delta=0.05, trials=2_000 * effort, name="fixed feature")


def teeth() -> Evidence:
    rng = np.random.default_rng(4)
    slack = smallest_sabotage(
        lambda factor: bool(fails(factor)(rng, 4_000).mean() > 0.1), (1.5, 2, 4, 8, 16, 32, 64, 128)
    )
    return Evidence(text=f"the term divided by {slack:g} is caught", slack=slack)
