"""A bias that was appended as the last column must come back from the last column; the released code takes the second.

Refuted: "a layer that keeps all of its neurons keeps its function", in the released code of the paper, which appends
the bias to the points, (p, b), and gives the kept neurons column 1 of the points as their bias, not the last one.

Proof. phi(p.x + p_2) = phi(p.x + b) for all x iff p_2 = b, for ReLU and every strictly rising phi: at an x with
p.x + min(p_2, b) > 0 the two differ. For a fan-in of 1 the second column is the bias, so that tests on a line do not
see it. With the last column the function is the same, bit for bit, where all neurons are kept.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab.coresets.activations import RELU
from boundlab.coresets.neuron_cleanup import append_bias, split_bias
from boundlab.coresets.neuron_sampling import include, neuron_plan, reweight
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage, violated

THEOREM = Theorem(
    name="Restoring the bias from the second column",
    source="the released code of Mussay et al. 2020, arXiv:1907.04018",
    given=("points (p, b) with the bias as the last column", "all neurons are kept", "fan-in at least 2"),
    claim=r"\text{bias} := \text{column 1 of the points} \Rightarrow \hat f = f",
    status="refuted",
    finding="The kept neurons get their second weight as bias: the function changes even where nothing is removed.",
)

MUTATIONS = (
    Mutation(
        file="coresets/neuron_cleanup.py",
        old="return p[:, :-1].copy(), p[:, -1].copy()",
        new="return p[:, :-1].copy(), p[:, 1].copy()",
    ),
)

Split = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def released(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The released code's split: column 1 as bias."""
    return points[:, :-1], points[:, 1]


def kept(points: np.ndarray, bias: np.ndarray, weights: np.ndarray, x: np.ndarray, split: Split) -> np.ndarray:
    """Outputs (inputs, k) of the layer after a compression that keeps every neuron."""
    joined = append_bias(points, bias)
    plan = neuron_plan(joined, weights, RELU, 2.0)
    rule = include(plan.sensitivities, len(points))
    u = reweight(weights, np.zeros(len(points), int), rule.probabilities, 0, kept=rule.kept)
    p, b = split(joined)
    return RELU.value(x @ p.T + b) @ u.T


def true(points: np.ndarray, bias: np.ndarray, weights: np.ndarray, x: np.ndarray) -> np.ndarray:
    return RELU.value(x @ points.T + bias) @ weights.T


def symbolic() -> str:
    z, b, second = sp.symbols("z b c", real=True)
    active = z + sp.Abs(b) + sp.Abs(second) + 1  # at p.x = |b| + |c| + 1 + z both are active for z >= 0
    require(sp.simplify((active + b) - (active + second) - (b - second)) == 0, "the outputs differ by b - p_2")
    return "where both are active phi(p.x + b) - phi(p.x + p_2) = b - p_2"


def exact() -> str:
    points, bias = np.array([[1.0, 2.0, -1.0], [3.0, 1.0, 1.0]]), np.array([0.5, 1.0])
    w, x = np.array([[1.0, -1.0], [2.0, 4.0]]), np.array([[1.0, 1.0, 1.0], [2.0, 0.0, -1.0], [0.0, 0.5, 0.25]])
    want = []
    for row in x:
        z = [sum(Fraction(a) * Fraction(v) for a, v in zip(p, row, strict=True)) for p in points]
        active = [max(Fraction(0), v + Fraction(b)) for v, b in zip(z, bias, strict=True)]
        want.append([sum(Fraction(u) * a for u, a in zip(us, active, strict=True)) for us in w])
    ours, theirs = kept(points, bias, w, x, split_bias), kept(points, bias, w, x, released)
    require([[Fraction(v) for v in row] for row in ours] == want, "with the last column f must come back exactly")
    gap = float(np.abs(theirs - ours).max())
    require(gap == 3.0, f"the released split must err by 3 on this layer, got {gap}")
    rng = np.random.default_rng(77)
    lone = rng.normal(size=(5, 1)), rng.normal(size=5), rng.normal(size=(2, 5)), rng.normal(size=(9, 1))
    require(np.array_equal(kept(*lone, released), true(*lone)), "a fan-in of 1 does not show the error")
    return (
        f"all neurons kept: the last column gives f back exactly, column 1 errs by {gap:g}; at fan-in 1 both are right"
    )


def changes(split: Split, factor: float = 1.0):
    """A trial: a random layer keeps every neuron, and its function changes at a random input."""

    def wrong(joined: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        p, b = split(joined)
        return p, b * factor

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        failed = np.zeros(n, bool)
        for k in range(n):
            case = rng.normal(size=(6, 4)), rng.normal(size=6), rng.normal(size=(3, 6)), rng.normal(size=(5, 4))
            failed[k] = not np.allclose(kept(*case, wrong), true(*case), rtol=1e-9, atol=1e-9)
        return failed

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    trials = 200 * effort
    bad = judge(changes(released), delta=0.01, trials=trials, name="bias from column 1", expect="violated")
    good = judge(changes(split_bias), delta=0.05, trials=trials, name="bias from the last column")
    return Evidence(text=f"column 1: {bad.text}; the last column: {good.text}", trials=2 * trials)


def teeth() -> Evidence:
    def caught(factor: float) -> bool:
        return violated(changes(split_bias, factor), delta=0.01, trials=60, name="bias scaled")

    slack = smallest_sabotage(caught)
    text = f"the last column survives; a bias {slack:g} times too large does not"
    return Evidence(text=text, slack=slack)
