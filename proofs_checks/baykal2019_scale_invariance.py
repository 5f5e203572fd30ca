"""Sensitivities do not change with the scale of a row, nor when a neuron's output and its weights trade a factor.

The statement. s_ij is the same for W and for D W with D a positive diagonal matrix (rows scaled), and for weights
w_ij/t_j read at activations a_j t_j (t_j > 0): both leave every share w_ij a_j / sum_k w_ik a_k as it is. The kernels
reproduce it to the last bits, at every scale that float64 can hold.

Proof. The factor of a row cancels between numerator and denominator; w_ij a_j does not change under the trade. Signs
are kept, and with them the groups. For factors that are powers of two every float operation commutes with the scaling,
so that the shipped values are equal bit by bit; a threshold on denominators, such as the float32 epsilon that some
released code uses, breaks this: a net with small weights loses its sensitivities.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab.nets.importance import sensitivities
from boundlab.network import Layer
from boundlab.records import Sensitivities
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.baykal2019_empirical_sensitivity import mismatch, shares
from proofs_checks.judging import judge, smallest_sabotage

THEOREM = Theorem(
    name="Sensitivities under scaling",
    source="ours, for the sensitivities of Baykal et al. 2019, arXiv:1804.05345, as we understand the paper",
    given=("activations >= 0", "positive factors for rows, and for a neuron against its weights"),
    claim=r"s(D W, a) = s(W, a), \quad s(W T^{-1}, T a) = s(W, a)",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="nets/importance.py",
        old="return np.divide(1.0, z, out=np.zeros_like(z), where=z > 0).T.copy()",
        new="return np.divide(1.0, z, out=np.zeros_like(z), where=z > 1.19e-7).T.copy()",
    ),
)

SLUG = "baykal2019_scale_invariance"


def values(weight: np.ndarray, a: np.ndarray) -> Sensitivities:
    """The shipped sensitivities."""
    return sensitivities(Layer(weight=weight, bias=np.zeros(len(weight)), relu=True), [a], theorem=SLUG)


def symbolic() -> str:
    w, a, t = (sp.symbols(f"{name}1:4", positive=True) for name in "wat")
    c = sp.symbols("c", positive=True)
    share = w[0] * a[0] / sp.Add(*(x * y for x, y in zip(w, a, strict=True)))
    scaled = share.subs({x: c * x for x in w}, simultaneous=True)
    require(sp.simplify(scaled - share) == 0, "a row's factor cancels")
    traded = share.subs({x: x / k for x, k in zip(w, t, strict=True)} | {y: y * k for y, k in zip(a, t, strict=True)})
    require(sp.simplify(traded - share) == 0, "a neuron's factor cancels")
    return "w a/sum w a is unchanged by w -> c w and by (w_j, a_j) -> (w_j/t_j, t_j a_j)"


def exact() -> str:
    rng, worst = np.random.default_rng(75), 0.0
    for _ in range(20):
        w, a = rng.integers(-4, 5, size=(3, 4)).astype(float), rng.integers(0, 4, size=(3, 4)).astype(float)
        if not w.any():
            continue
        plain = values(w, a)
        truth = shares(w.astype(int), a.astype(int))
        for power in (-900, -30, 30, 900):
            rows = 2.0 ** np.array([power, -power // 2, 3])
            require(np.array_equal(values(rows[:, None] * w, a).values, plain.values), f"rows times 2^{power}")
        for power in (-400, -20, 20, 400):
            trade = 2.0 ** np.array([power, 1, -power, 0])
            require(np.array_equal(values(w / trade, a * trade).values, plain.values), f"neurons times 2^{power}")
        third = values(w * 3.0 / 7.0, a)  # no power of two: to the last bits, against fractions
        worst = max(worst, mismatch(third, truth))
        require(np.array_equal(third.groups.columns, plain.groups.columns), "the groups stay")
    require(worst < 1e-15, f"rows times 3/7: off by {worst}")
    tiny = values(np.array([[2.0**-1000, 2.0**-1000]]), np.array([[1.0, 1.0]]))
    require(tiny.values.tolist() == [0.5, 0.5], "small weights keep their sensitivities")
    require(Fraction(float(tiny.total[0])) == 1, "and their total")
    return f"powers of two from 2^-900 to 2^900: equal bit by bit; times 3/7: within {worst:.0e} of fractions"


def changed(slip: float):
    """A trial: sensitivities differ by more than 1e-13 after random scalings, one weight of a row off by `slip`."""

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        rows, width = n, 6
        w = rng.normal(size=(rows, width))
        a = rng.pareto(1.0, size=(9, width)) * (rng.random((9, width)) < 0.7)
        scale, trade = 10.0 ** rng.uniform(-100, 100, rows), 10.0 ** rng.uniform(-50, 50, width)
        other = scale[:, None] * w / trade
        other[:, 0] *= slip
        gap = np.abs(values(other, a * trade).values - values(w, a).values).reshape(-1)
        neuron = values(w, a).groups.spread(values(w, a).groups.neuron)
        return np.bincount(neuron, weights=gap > 1e-13, minlength=rows) > 0

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    own = judge(changed(1.0), delta=0.005, trials=3_000 * effort, name="scales from 1e-150 to 1e150", block=300)
    return Evidence(text=f"random scales from 1e-150 to 1e150, gaps above 1e-13: {own.text}", trials=own.trials)


def teeth() -> Evidence:
    slack = smallest_sabotage(lambda factor: bool(changed(factor)(np.random.default_rng(10), 50).any()))
    w, a = np.array([1.0, 3.0]), np.array([1.0, 1.0])

    def thresholded(scale: float) -> np.ndarray:  # 0 where the denominator is below the float32 epsilon
        z = scale * w @ a
        return scale * w * a / z if z > 1.19e-7 else np.zeros(2)

    require(thresholded(1.0)[1] == 0.75 and not thresholded(1e-9).any(), "a threshold depends on the scale")
    require(values(1e-9 * w[None], a[None]).values[1] == 0.75, "the shipped kernel must not")
    return Evidence(text=f"refuted: one weight of a row times {slack:g}, a threshold on denominators", slack=slack)
