"""One sequence of m draws reweights the neurons for all k outputs without bias, at a known variance at every input.

Statement. Draw m neurons independently with pr = s/t, where s(p) = S(p) max_j |w_j(p)|, and let c be the counts. Then
u_j(p) = w_j(p) c(p)/(m pr(p)) has mean w_j(p) for every neuron with s(p) > 0 and every output j, and
fhat_j(x) = sum_p u_j(p) phi(p.x) has mean f_j(x) and variance (1/m) (t sum_p w_j(p)^2 phi(p.x)^2/s(p) - f_j(x)^2) for
each x of the domain.

Proof. c(p) is a sum of m indicators of probability pr(p), for every output the same ones, so E c(p) = m pr(p). A neuron
with s(p) = 0 has w_j(p) = 0 for all j or phi(p.x) = 0 on the whole domain: it contributes nothing and is lost without
loss. f_hat is the mean of m independent copies of Y = w_j phi/pr at the drawn neuron, with E Y = f and
E Y^2 = sum_p w_j^2 phi^2/pr = t sum_p w_j^2 phi^2/s. The maximum over j in s is needed: drawn by one output's
weights alone, a neuron that only another output reads is never drawn.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab.coresets.activations import RELU, SIGMOID
from boundlab.coresets.neuron_sampling import NeuronPlan, neuron_plan, reweight
from boundlab.coresets.uniform_error import draw_variance
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage, violated

THEOREM = Theorem(
    name="Shared draws of neurons are unbiased for all outputs",
    source="Mussay et al. 2020, arXiv:1907.04018, the algorithm for one layer as we understand the paper; item number "
    "not known to us; the variance is ours",
    given=("m fixed before the first draw", "pr = s/t, s(p) = S(p) max_j |w_j(p)|"),
    claim=r"E[u_j(p)] = w_j(p), \quad \mathrm{Var}\,\hat f_j(x) = \frac1m\Big(t\sum_p"
    r"\frac{w_j(p)^2\varphi(p\cdot x)^2}{s(p)} - f_j(x)^2\Big)",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="coresets/neuron_sampling.py",
        old="factor[drawn] = c[drawn] / (m * q[drawn])",
        new="factor[drawn] = 1.0 / (m * q[drawn])",
    ),
    Mutation(
        file="coresets/neuron_sampling.py",
        old="om = size.sum(axis=1).max(axis=0)",
        new="om = size.sum(axis=1)[0]",
    ),
    Mutation(
        file="coresets/neuron_sampling.py",
        old="total=total * (1.0 + ROUNDING),\n        probabilities=q",
        new="total=total * 0.5,\n        probabilities=q",
    ),
)


def outcomes(m: int, q: Sequence[Fraction]) -> Iterator[tuple[list[int], Fraction]]:
    """Every count vector of positive probability with that probability, exactly."""
    if len(q) == 1:
        if m == 0 or q[0] > 0:
            yield [m], q[0] ** m
        return
    for k in range(m + 1 if q[0] > 0 else 1):
        for rest, p in outcomes(m - k, q[1:]):
            yield [k, *rest], math.comb(m, k) * q[0] ** k * p


def layer(rng: np.random.Generator) -> tuple[NeuronPlan, np.ndarray, list[int], np.ndarray]:
    """Neurons on a line with whole weights, so that s, f and the variance are rational: (plan, w, points, whole w)."""
    n, k = int(rng.integers(2, 5)), int(rng.integers(1, 4))
    points = [int(v) for v in rng.integers(-4, 5, size=n)]
    w = rng.integers(-3, 4, size=(k, n))
    points[0], w[0, 0] = 2, 1
    return neuron_plan(np.array(points, float)[:, None], w.astype(float), RELU, 1.0), w.astype(float), points, w


def symbolic() -> str:
    m, t = sp.symbols("m t", positive=True)
    s, c = sp.symbols("s1:4", positive=True), sp.symbols("c1:4", real=True)
    q = [v / t for v in s]
    draws = [x / p for x, p in zip(c, q, strict=True)]
    first = sum(p * y for p, y in zip(q, draws, strict=True))
    second = sum(p * y**2 for p, y in zip(q, draws, strict=True))
    require(sp.simplify(first - (c[0] + c[1] + c[2])) == 0, "one draw has mean f")
    claim = (t * sum(x**2 / v for x, v in zip(c, s, strict=True)) - sum(c) ** 2) / m
    require(sp.simplify((second - first**2) / m - claim) == 0, "the variance")
    proportional = claim.subs({x: sp.Symbol("a") * v for x, v in zip(c, s, strict=True)}).subs(t, sum(s))
    require(sp.simplify(proportional) == 0, "a contribution proportional to s has no variance")
    return "E Y = f, Var = (t sum c^2/s - f^2)/m, and 0 where the contributions are proportional to s"


def exact() -> str:
    rng, cases, lost = np.random.default_rng(60), 0, 0
    for _ in range(30):
        plan, w, points, whole = layer(rng)
        s = [Fraction(abs(p)) * int(max(abs(whole[:, i]))) for i, p in enumerate(points)]
        t = sum(s, Fraction(0))
        require(np.allclose(plan.sensitivities, [float(v) for v in s], rtol=1e-11, atol=0), "s = S max |w|")
        require(t <= Fraction(plan.total) <= t * Fraction(10**9 + 1, 10**9), "t, rounded up")
        q = [v / t for v in s]
        for m in (1, len(points) + 1):
            table = [(reweight(w, np.array(c), plan.probabilities, m), p) for c, p in outcomes(m, q)]
            mean = np.sum([u * float(p) for u, p in table], axis=0)
            live = np.array(s) > 0
            require(np.allclose(mean[:, live], w[:, live], rtol=1e-11, atol=1e-12), f"E u = {mean}, w = {w}")
            for x in (1, -1):
                active = np.array([max(0, p * x) for p in points], float)
                lost += int(np.count_nonzero(active[~live] * np.abs(w[:, ~live]).max(axis=0)))
                f = whole @ active
                parts = [[Fraction(int(v * a)) for v, a in zip(row, active, strict=True)] for row in whole]
                want = [
                    (t * sum((c * c / v for c, v in zip(row, s, strict=True) if v), Fraction(0)) - sum(row) ** 2) / m
                    for row in parts
                ]
                got = np.sum([(u @ active - f) ** 2 * float(p) for u, p in table], axis=0)
                require(np.allclose(got, [float(v) for v in want], rtol=1e-10, atol=1e-10), f"Var {got}, want {want}")
                shipped = draw_variance(w * active, plan.sensitivities) / m
                require(np.allclose(shipped, [float(v) for v in want], rtol=1e-10, atol=1e-9), "the shipped variance")
                cases += len(w)
    require(lost == 0, "a neuron of probability 0 contributes nothing")
    return f"every count vector through reweight, {cases} outputs: E u = w, the variance, nothing lost where s = 0"


def errs(draws: int = 10_000_000, *, only_first: bool = False, factor: float = 1.0):
    """A trial: `factor` times the estimate of the second output leaves Chebyshev's interval at level 0.1."""
    rng = np.random.default_rng(61)
    points, w, x = rng.normal(size=(9, 4)), rng.normal(size=(2, 9)), rng.normal(size=4)
    w[0, :3] = 0.0
    radius = float(np.linalg.norm(x))
    plan = neuron_plan(points, w, SIGMOID, radius)
    q = neuron_plan(points, w[:1], SIGMOID, radius).probabilities if only_first else plan.probabilities
    active = SIGMOID.value(points @ x)
    limit = math.sqrt(float(draw_variance(w[1:] * active, plan.sensitivities)[0]) / draws / 0.1)

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        live = np.flatnonzero(q)
        rows = np.zeros((n, 9), np.int64)
        rows[:, live] = rng.multinomial(draws, q[live], size=n)
        estimate = np.array([reweight(w, row, q, draws)[1] @ active for row in rows])
        return np.abs(factor * estimate - w[1] @ active) >= limit

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    return judge(errs(), delta=0.1, trials=1_000 * effort, name="ten million shared draws, Chebyshev")


def teeth() -> Evidence:
    def caught(factor: float) -> bool:
        return violated(errs(factor=factor), delta=0.1, trials=400, name="weights too large")

    slack = smallest_sabotage(caught)
    alone = errs(only_first=True)
    require(violated(alone, delta=0.1, trials=400, name="one output's probabilities"), "one output's pr was not caught")
    text = f"refuted: weights {slack:g} times too large; drawn by the first output's weights alone"
    return Evidence(text=text, slack=slack)
