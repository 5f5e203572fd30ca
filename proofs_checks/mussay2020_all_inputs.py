"""No additive error holds for every x in R^d: for ReLU it grows like |x|, and beyond the radius nothing is promised.

Refuted: "the coreset's error is at most eps for any input x in R^d, however adversarial", and with it a radius of 1
that is fixed in code for inputs (x, 1), whose norm is at least 1.

Proof. (ReLU) D(x) = f(x) - fhat(x) is a sum of ReLU(p.x), so that D(c x) = c D(x) for c > 0: sup |D| over R^d is 0 or
infinite, and 0 only if the coreset computes f exactly. What holds is |D(x)| <= (|x|/beta) sup over the ball.
(Radius of ReLU) S(p) = beta |p| is proportional to beta, so that pr does not depend on beta at all: a radius of 1 in
the code draws the right law for ReLU.
(Radius of others) For tanh S(p) = tanh(beta |p|), and for p -> 0 tanh(beta |p|)/tanh(|p|) -> beta. A plan for radius 1
has contributions at |x| = beta that exceed their s by nearly the factor beta, and a size computed from its t is too
small by nearly beta^2. Sigmoids lie between 1/2 and 1, and lose at most a factor 2. In a hidden layer beta must contain
the outputs of all layers before, a product of norms.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab.coresets.activations import RELU, SIGMOID, TANH
from boundlab.coresets.neuron_sampling import neuron_plan, reweight, sup_sensitivities
from boundlab.coresets.uniform_error import fixed_inputs_size
from boundlab.nets.layerwise import norm_reach
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage, violated
from proofs_checks.mussay2020_unbiased import outcomes

THEOREM = Theorem(
    name="An additive error for every input",
    source="the abstract of Mussay et al. 2020, arXiv:1907.04018, as we understand it; the radius 1 is in the released"
    " code of the paper",
    given=("phi is ReLU, or the plan was made for radius 1", "m draws, fewer than give f back exactly"),
    claim=r"\forall x \in \mathbb{R}^d: |f(x)-\hat f(x)| \le \epsilon",
    status="refuted",
    finding="For ReLU the error at c x is c times that at x, so that its supremum over R^d is 0 or infinite; for tanh "
    "a plan for radius 1 fails at larger inputs.",
    ours="boundlab_relu_uniform",
)

MUTATIONS = (
    Mutation(
        file="coresets/neuron_sampling.py",
        old="up = down = beta * np.linalg.norm(p, axis=1)",
        new="up = down = min(beta, 1.0) * np.linalg.norm(p, axis=1)",
    ),
    Mutation(
        file="nets/layerwise.py",
        old="path.append(float(lipschitz * (norm * path[-1] + bias)) * (1.0 + ROUNDING))",
        new="path.append(float(lipschitz * (norm * radius + bias)) * (1.0 + ROUNDING))",
    ),
)

BETA, DELTA = 10.0, 0.01


def symbolic() -> str:
    c, b, z = sp.symbols("c b z", positive=True)
    y = sp.symbols("y", real=True)
    require(sp.simplify((c * y + sp.Abs(c * y)) / 2 - c * (y + sp.Abs(y)) / 2) == 0, "ReLU(c y) = c ReLU(y)")
    sizes = sp.symbols("n1:4", positive=True)
    share = b * sizes[0] / (b * (sizes[0] + sizes[1] + sizes[2]))
    require(sp.diff(sp.simplify(share), b) == 0, "ReLU: pr is free of the radius")
    require(sp.limit(sp.tanh(b * z) / sp.tanh(z), z, 0) == b, "tanh: the ratio tends to beta")
    steps = norm_reach([2.0, 3.0, 5.0], [0.0, 0.0, 0.0], 7.0)
    require(np.allclose(steps, [7, 14, 42, 210], rtol=1e-11), "the radius of a hidden layer is a product of norms")
    return "D(c x) = c D(x); pr of ReLU is free of beta; tanh(beta z)/tanh(z) -> beta for z -> 0"


def exact() -> str:
    points, w = np.array([[1.0], [-2.0], [4.0], [1.0]]), np.array([[2.0, 1.0, 0.5, -2.0]])
    plan, m = neuron_plan(points, w, RELU, 1.0), 2
    q = [Fraction(1, 4)] * 4
    require(np.allclose(plan.probabilities, 0.25, rtol=1e-14), "s = |p| |w| = 2 for each neuron")
    chance, largest = Fraction(0), 0.0
    for counts, p in outcomes(m, q):
        u = reweight(w, np.array(counts), np.full(4, 0.25), m) - w
        for x, power in itertools.product((1.0, -1.0), range(60)):
            one, far = (float((u @ np.maximum(points * v, 0.0))[0, 0]) for v in (x, x * 2.0**power))
            require(far == one * 2.0**power, f"D({x * 2.0**power}) = {far}, D({x}) = {one}")
            largest = max(largest, abs(far))
        off = any(np.any(u @ np.maximum(points * x, 0.0) != 0) for x in (1.0, -1.0))
        chance += p if off else 0
    require(chance == 1, f"two draws miss f with probability {chance}")
    require(largest > 1e17, "the error must grow without end")
    radii = [neuron_plan(points, w, RELU, r).probabilities for r in (1.0, 15.57)]
    require(np.allclose(radii[0], radii[1], rtol=1e-14), "ReLU: the same law for every radius")
    small = np.array([[1e-3]])
    ratio = [
        float(sup_sensitivities(small, a, radius=BETA)[0] / sup_sensitivities(small, a, radius=1.0)[0])
        for a in (TANH, SIGMOID)
    ]
    require(9.99 < ratio[0] <= 10.0 and 1.0 < ratio[1] < 2.0, f"S(10)/S(1) is {ratio}")
    return f"every two draws miss f, D doubles with x up to {largest:.0e}; tanh: s of radius 1 exceeded x{ratio[0]:.2f}"


def errs(radius: float):
    """A trial: tanh neurons, plan and Hoeffding's m for `radius`; the error at |(x, 1)| = 10 exceeds eps.

    Half of the neurons are (0.1, 0), half (-0.1, 0); the input is (sqrt(99), 1).
    """
    points, w = np.array([[0.1, 0.0], [-0.1, 0.0]]), np.array([[1.0, 1.0]])
    plan = neuron_plan(points, w, TANH, radius)
    eps = 0.02
    m = int(fixed_inputs_size(plan.total, eps, DELTA))
    active = TANH.value(points @ np.array([math.sqrt(99.0), 1.0]))

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        rows = rng.multinomial(m, plan.probabilities, size=n)
        return np.array([abs(float((reweight(w, c, plan.probabilities, m) @ active)[0])) >= eps for c in rows])

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    bad = judge(errs(1.0), delta=DELTA, trials=400 * effort, name="tanh, radius 1", expect="violated")
    good = judge(errs(BETA), delta=DELTA, trials=2_000, name="tanh, radius 10")
    return Evidence(
        text=f"tanh at |(x, 1)| = 10, planned for radius 1: {bad.text}; for 10: {good.text}", trials=400 * effort
    )


def teeth() -> Evidence:
    def caught(factor: float) -> bool:
        return violated(errs(BETA / factor), delta=DELTA, trials=2_000, name="radius too small")

    slack = smallest_sabotage(caught)
    require(not violated(errs(2 * BETA), delta=DELTA, trials=500, name="radius too large"), "a larger radius is safe")
    text = f"within the radius the plan survives; the radius divided by {slack:g} is caught"
    return Evidence(text=text, slack=slack)
