"""A convolution is a fully connected layer on patches: channels are sampled by the 1-norm of their kernel slices.

Statement. Let h_p(y) = phi(F_p . patch_y(x) + b_p) be the channels of a convolution with filters F_p, and
f_j(y) = sum_p sum_delta W[j, p, delta] h_p(y + delta) the next convolution. With S(p) = sup |phi(F_p . v + b_p)| over
patches |v| <= beta and s(p) = S(p) max_j |W[j, p]|_1, each channel contributes at most s(p) to each f_j(y). Draw m
channels with pr = s/t and scale whole slices: What[j, p] = W[j, p] c(p)/(m pr(p)). Then E What = W, channels that were
never drawn have zero slices and can be removed, and fhat_j(y) is a mean of m independent terms within t of 0.

Proof. The outputs of the first convolution at y are those of a fully connected layer with rows F_p on the flattened
patch (im2col), and f_j(y) is the row (W[j, p, delta])_{p, delta} on the flattened patch of h: two products, equal
to the sums above term by term. |sum_delta W[j, p, delta] h_p(y + delta)| <= S(p) |W[j, p]|_1, and the largest over j
serves all outputs, as for neurons. The 1-norm is needed, not the largest entry: with all h_p = S(p) the contribution is
S(p) |W[j, p]|_1. The estimator is that of neurons, whose one value phi(p.x) is now the vector of the h_p(y + delta).
For the uniform bound the class at one y is sum_delta a_delta phi(F.v_delta)/S, sum |a_delta| <= 1. Its Rademacher mean
is at most the sum of those of its terms, so that kap_j = sum_delta (E a_j,delta^2 lam^2)^(1/2). By Minkowski this is at
least (E (sum_delta |a_j,delta|)^2 lam^2)^(1/2), and by Cauchy-Schwarz at most sqrt(number of offsets) max lam.
"""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab.coresets.activations import RELU, SIGMOID, Activation
from boundlab.coresets.channel_sampling import channel_plan
from boundlab.coresets.neuron_sampling import neuron_plan, reweight
from boundlab.coresets.uniform_error import fixed_inputs_error
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage, violated
from proofs_checks.mussay2020_unbiased import outcomes

THEOREM = Theorem(
    name="Sampling the channels of a convolution",
    source="Mussay et al. 2021, arXiv:2008.08316, as we understand the paper; item number not known to us",
    given=("patches of norm at most beta", "a linear next convolution, its slices scaled whole"),
    claim=r"s(p) = S(p)\max_j\|W_{j,p}\|_1, \quad E[\hat W] = W",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="coresets/channel_sampling.py",
        old="offsets = w.reshape(len(w), len(f), -1).transpose(0, 2, 1)",
        new="offsets = np.abs(w).reshape(len(w), len(f), -1).max(axis=2)[:, None, :]",
    ),
    Mutation(
        file="coresets/neuron_sampling.py",
        old="return w * factor.reshape(1, -1, *(1,) * (w.ndim - 2))",
        new="return w * factor.reshape(1, -1, *(1,) * (w.ndim - 2)) ** 2",
    ),
    Mutation(
        file="coresets/neuron_sampling.py",
        old="om = size.sum(axis=1).max(axis=0)",
        new="om = size.sum(axis=1).mean(axis=0)",
    ),
    Mutation(
        file="coresets/neuron_sampling.py",
        old=".sum(axis=1) * (1.0 + ROUNDING),\n        c0",
        new=".max(axis=1) * (1.0 + ROUNDING),\n        c0",
    ),
)


def patches(x: np.ndarray, height: int, width: int) -> np.ndarray:
    """Im2col: x (channels, H, W) -> (positions, channels * height * width)."""
    _, H, W = x.shape
    rows = [
        x[:, i : i + height, k : k + width].ravel()
        for i, k in itertools.product(range(H - height + 1), range(W - width + 1))
    ]
    return np.stack(rows)


def convolved(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """The sum by its definition, entry by entry: (out, H', W'); no padding, stride 1."""
    out, _, height, width = kernel.shape
    H, W = x.shape[1] - height + 1, x.shape[2] - width + 1
    result = np.zeros((out, H, W), x.dtype)
    for j, i, k in itertools.product(range(out), range(H), range(W)):
        result[j, i, k] = (kernel[j] * x[:, i : i + height, k : k + width]).sum()
    return result


def two_layers(rng: np.random.Generator, n: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(filters (n, 2, 2, 2), kernel (2, n, 2, 2), image (2, 4, 4)) of whole numbers."""
    return (
        rng.integers(-3, 4, size=(n, 2, 2, 2)).astype(float),
        rng.integers(-3, 4, size=(2, n, 2, 2)).astype(float),
        rng.integers(-2, 3, size=(2, 4, 4)).astype(float),
    )


def symbolic() -> str:
    a, b, s, t = sp.symbols("a b s t", positive=True)
    q = sp.Symbol("q", positive=True)
    # Minkowski for two offsets and two channels, squared twice: 4 (a^2+s^2)(b^2+t^2) >= (2 (a b + s t))^2
    gap = (a**2 + q * s**2) * (b**2 + q * t**2) - (a * b + q * s * t) ** 2
    require(sp.factor(gap - q * (a * t - b * s) ** 2) == 0, "Minkowski by Cauchy-Schwarz")
    sides = (sp.sqrt(a**2 + q * s**2) + sp.sqrt(b**2 + q * t**2)) ** 2 - ((a + b) ** 2 + q * (s + t) ** 2)
    cross = 2 * sp.sqrt(a**2 + q * s**2) * sp.sqrt(b**2 + q * t**2) - 2 * (a * b + q * s * t)
    require(sp.simplify(sp.expand(sides) - sp.expand(cross)) == 0, "kap is at least the norm of the summed slices")
    x, y = sp.symbols("x y", real=True)
    require(sp.expand(2 * (x**2 + y**2) - (x + y) ** 2 - (x - y) ** 2) == 0, "sum over K offsets <= sqrt(K) norm")
    return "kap = sum of the offsets' norms: above that of the slices' 1-norms, below sqrt(K) max lam"


def exact() -> str:
    rng, cases = np.random.default_rng(78), 0
    for _ in range(20):
        filters, kernel, image = two_layers(rng)
        n = len(filters)
        h = np.maximum(convolved(image, filters), 0.0)
        flat = np.maximum(patches(image, 2, 2) @ filters.reshape(n, -1).T, 0.0)  # (positions, n)
        require(np.array_equal(flat.T.reshape(h.shape), h), "the first convolution is a layer on patches")
        f = convolved(h, kernel)
        row = patches(h, 2, 2) @ kernel.reshape(2, -1).T
        require(np.array_equal(row.T.reshape(f.shape), f), "the second one too")
        beta = float(np.linalg.norm(patches(image, 2, 2), axis=1).max())
        plan = channel_plan(filters, kernel, RELU, beta)
        require(np.array_equal(plan.om, np.abs(kernel).sum(axis=(2, 3)).max(axis=0)), "the largest 1-norm of a slice")
        parts = np.stack([convolved(h[p : p + 1], kernel[:, p : p + 1]) for p in range(n)])
        require(np.allclose(parts.sum(axis=0), f), "channels add up")
        require(np.all(np.abs(parts).max(axis=(1, 2, 3)) <= plan.sensitivities), "a channel exceeds its sensitivity")
        dense = neuron_plan(filters.reshape(n, -1), np.abs(kernel).sum(axis=(2, 3)), RELU, beta)
        require(np.allclose(dense.sensitivities, plan.sensitivities), "the plan of the 1-norms of the slices")
        roof = 2.0 * plan.lam.max()
        require(np.all(dense.kap <= plan.kap * (1 + 1e-9)) and np.all(plan.kap <= roof * (1 + 1e-9)), "kap")
        if not np.all(plan.probabilities > 0):
            continue
        q = [Fraction(float(v)) for v in plan.probabilities]
        mean, scaled = np.zeros_like(f), np.zeros_like(kernel)
        for counts, p in outcomes(2, [v / sum(q, Fraction(0)) for v in q]):
            small = reweight(kernel, np.array(counts), plan.probabilities, 2)
            kept = [c for c in range(n) if counts[c]]
            mean += float(p) * convolved(h[kept], small[:, kept])  # the removed channels are not needed
            scaled += float(p) * small
        require(np.allclose(mean, f, atol=1e-10) and np.allclose(scaled, kernel, atol=1e-12), "the mean is f")
        cases += 1
    point = channel_plan(np.ones((1, 1, 1, 1)), np.ones((1, 1, 2, 3)), RELU, 2.0)
    require(abs(point.sensitivities[0] - 12) < 1e-9 and abs(point.kap[0] - 1) < 1e-9, "1-norm 6 at S = 2, kap = 1")
    full = convolved(np.full((1, 2, 3), 2.0), np.ones((1, 1, 2, 3)))
    require(full.max() == 12.0, "the 1-norm is attained")
    return f"conv = layer on im2col, bit for bit, in 20 nets; {cases} x all outcomes of 2 draws: E fhat = f"


def errs(phi: Activation, factor: float):
    """A trial: at some output of a fixed image the error exceeds Hoeffding's bound divided by `factor`."""
    rng = np.random.default_rng(79)
    filters, kernel, image = (
        rng.random((6, 2, 2, 2)) + 1.0,
        rng.choice([-1.0, 1.0], size=(3, 6, 1, 1)),
        np.ones((2, 3, 3)),
    )
    plan = channel_plan(filters, kernel, phi, float(np.linalg.norm(image[:, :2, :2])))
    h = phi.value(convolved(image, filters))
    m = 40
    places = 4  # all of one value, and three outputs
    bound = fixed_inputs_error(plan.total, m, 0.05, outputs=3, inputs=places, c0=plan.c0) / factor
    f = convolved(h, kernel)

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        rows = rng.multinomial(m, plan.probabilities, size=n)
        small = [reweight(kernel, c, plan.probabilities, m) for c in rows]
        return np.array([np.abs(np.tensordot(w[:, :, 0, 0], h, axes=1) - f).max() > bound for w in small])

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    trials = 500 * effort
    relu = judge(errs(RELU, 1.0), delta=0.05, trials=trials, name="channels, ReLU")
    sigmoid = judge(errs(SIGMOID, 1.0), delta=0.05, trials=trials, name="channels, sigmoid")
    return Evidence(text=f"ReLU: {relu.text}; sigmoid: {sigmoid.text}", trials=2 * trials)


def teeth() -> Evidence:
    def caught(factor: float) -> bool:
        return violated(errs(SIGMOID, factor), delta=0.05, trials=500, name="the bound divided")

    slack = smallest_sabotage(caught)
    largest = np.abs(np.ones((1, 1, 2, 3))).max() * 2.0  # the largest entry in the place of the 1-norm
    require(convolved(np.full((1, 2, 3), 2.0), np.ones((1, 1, 2, 3))).max() == 6 * largest, "six times the sensitivity")
    text = f"refuted: Hoeffding's bound divided by {slack:g}; the largest entry for the 1-norm (exceeded 6 times)"
    return Evidence(text=text, slack=slack)
