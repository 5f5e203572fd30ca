"""Merging collinear neurons, folding constants and centring leave the function as it is, and the total t does not grow.

Statement. Let f_j(x) = sum_p w_j(p) phi(p.x + b(p)) + a_j. Each step keeps f at every x:
1. a neuron with w_j(p) = 0 for all j is dropped;
2. a neuron with p = 0 is the constant phi(b): a_j += w_j(p) phi(b);
3. phi is replaced by psi = phi - phi(0), and a_j += sum_p w_j(p) phi(0);
4. (p', b') = c (p, b), c > 0, phi(c z) = c phi(z) for c > 0 (ReLU, leaky ReLU): w_j(p) += c w_j(p'), and p' is dropped;
   for any phi with c = 1.
The sum t of the sensitivities s(p) = S(p) max_j |w_j(p)| does not grow in steps 1, 2 and 4. On a ball without a bias
beside p it does not grow in step 3 either: the sigmoid's is at least halved, and the softplus's is smaller.

Proof. 1 and 2 by insertion. 3: sum w phi = sum w psi + sum w phi(0). 4: w' phi(p'.x + b') = c w' phi(p.x + b). Steps 1
and 2 remove terms s >= 0. In 4, S(p') = c S(p) and
    S(p) max_j |w_j + c w'_j| <= S(p) max_j |w_j| + c S(p) max_j |w'_j|,
strictly less where signs cancel. In 3, S is sig(r) - 1/2 <= sig(r)/2, as sig <= 1, and
ln(1 + e^r) - ln 2 for the softplus. What grows is c0: psi takes both signs, and where w >= 0 the range of w psi/s has
length 2 and not 1. For the sigmoid c0 t does not grow even so; for a softplus it does where ln(1 + e^r) > 2 ln 2.
With a bias b << 0 beside p centring makes t larger: sig(b) is near 0, and sig(b) - 1/2 near -1/2.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab.coresets.activations import LEAKY_RELU, RELU, SIGMOID, SOFTPLUS, TANH, Activation, centred
from boundlab.coresets.neuron_cleanup import CleanLayer, clean
from boundlab.coresets.neuron_sampling import neuron_plan
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage, violated

THEOREM = Theorem(
    name="Clean-up before sampling",
    source="ours",
    given=(
        "phi(c z) = c phi(z) for c > 0 where rows with c other than 1 are merged",
        "for t' <= t: phi(0) = 0, or no centring, or a sigmoid or softplus on a ball without a bias beside p",
    ),
    claim=r"f' = f, \quad t' \le t",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="coresets/neuron_cleanup.py",
        old="extra += w[:, ~moving] @ activation.value(b[~moving])",
        new="extra += w[:, ~moving] @ b[~moving]",
    ),
    Mutation(
        file="coresets/neuron_cleanup.py",
        old="(weights * (scale / scale[index[target]])).T",
        new="(weights * (scale[index[target]] / scale)).T",
    ),
    Mutation(
        file="coresets/neuron_cleanup.py",
        old="scale = np.abs(rows).max(axis=1) if homogeneous else np.ones(len(rows))",
        new="scale = np.abs(rows).max(axis=1)",
    ),
)


def layer(rng: np.random.Generator, n: int = 7) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(points, bias, weights, next bias) with dyadic entries: multiples, copies, constants and idle neurons."""
    points, bias = rng.integers(-4, 5, size=(n, 2)) / 2.0, rng.integers(-2, 3, size=n) / 2.0
    w, extra = rng.integers(-4, 5, size=(3, n)) / 4.0, rng.integers(-4, 5, size=3) / 4.0
    points[1], bias[1] = 4 * points[0], 4 * bias[0]
    points[2], bias[2] = points[0], bias[0]
    points[3], bias[3] = -points[0], -bias[0]  # the opposite direction is another neuron
    points[4] = 0.0
    w[:, 5] = 0.0
    return points, bias, w, extra


def outputs(points: np.ndarray, bias: np.ndarray, w: np.ndarray, extra: np.ndarray, phi: Activation, x: np.ndarray):
    return phi.value(x @ points.T + bias) @ w.T + extra


def cleaned(case: tuple[np.ndarray, ...], phi: Activation, *, centre: bool = True) -> CleanLayer:
    points, bias, w, extra = case
    return clean(points, w, phi, bias=bias, next_bias=extra, centre=centre)


def through(c: CleanLayer, x: np.ndarray) -> np.ndarray:
    return outputs(c.points, c.bias, c.weights, c.next_bias, c.activation, x)


def total(points: np.ndarray, w: np.ndarray, phi: Activation, bias: np.ndarray) -> float:
    return neuron_plan(points, w, phi, 1.5, bias=bias).total if len(points) else 0.0


def symbolic() -> str:
    w, v, c, S = sp.symbols("w v c S", positive=True)
    z, u = sp.symbols("z u", real=True)
    relu = (c * z + sp.Abs(c * z)) / 2 - c * (z + sp.Abs(z)) / 2
    require(sp.simplify(relu) == 0, "ReLU(c z) = c ReLU(z)")
    phi = sp.Function("phi")
    require(
        sp.expand(w * phi(z) + v * phi(u) - (w * (phi(z) - phi(0)) + v * (phi(u) - phi(0)) + (w + v) * phi(0))) == 0,
        "step 3",
    )
    r = sp.Symbol("r", positive=True)
    sig = 1 / (1 + sp.exp(-r))
    require(sp.simplify(sig / 2 - (sig - sp.Rational(1, 2)) - sp.exp(-r) * sig / 2) == 0, "sig/2 - (sig - 1/2) >= 0")
    switch = sp.log(1 + sp.exp(r)) - 2 * (sp.log(1 + sp.exp(r)) - sp.log(2))
    require(sp.solve(switch, r) == [sp.log(3)], "softplus: c0 t grows by centring beyond r = ln 3")
    require(sp.simplify(S * (w + c * v) - (S * w + c * S * v)) == 0, "equality where signs agree")
    return "each step by insertion; the sigmoid's t at least halved; softplus: c0 t grows by centring beyond r = ln 3"


def exact() -> str:
    rng, cases, removed, shrunk = np.random.default_rng(73), 0, 0, 0
    x = np.array([[0.5, -1.0], [2.0, 3.0], [-1.5, 0.25], [0.0, 0.0], [-4.0, 1.0]])
    for _ in range(60):
        case = layer(rng)
        points, bias, w, extra = case
        c = cleaned(case, RELU)
        want = [
            [
                Fraction(a)
                + sum(
                    Fraction(u)
                    * max(Fraction(0), sum(Fraction(s) * Fraction(t) for s, t in zip(p, v, strict=True)) + Fraction(b))
                    for u, p, b in zip(row, points, bias, strict=True)
                )
                for row, a in zip(w, extra, strict=True)
            ]
            for v in x
        ]
        got = through(c, x)
        # merged weights are dyadic too where the scales are powers of two apart
        require(np.allclose(got, np.array(want, float), rtol=0, atol=1e-12), "ReLU: the function has changed")
        for phi in (RELU, LEAKY_RELU, SIGMOID, TANH, SOFTPLUS):
            c = cleaned(case, phi)
            require(np.allclose(through(c, x), outputs(*case, phi, x), rtol=0, atol=1e-12), f"{phi.name} has changed")
            before, after = total(points, w, phi, bias), total(c.points, c.weights, c.activation, c.bias)
            if phi.at_zero == 0.0:
                require(after <= before * (1 + 1e-9), f"{phi.name}: t grew from {before} to {after}")
            shrunk += after < before * 0.999
            removed += len(points) - len(c.points)
            cases += 1
    bare = np.array([[1.0, 2.0], [0.5, -1.0]])
    weights, none = np.array([[1.0, 2.0]]), np.zeros(2)
    halves = [total(bare, weights, SIGMOID, none), total(bare, weights, centred(SIGMOID), none)]
    require(halves[1] <= halves[0] / 2, f"the sigmoid's t: {halves}")
    require(
        np.array_equal(cleaned(layer(rng), SIGMOID, centre=False).activation.value(np.zeros(1)), [0.5]), "on request"
    )
    single = clean(np.array([[3.0]]), np.array([[7.0]]), RELU, bias=np.array([1.0]), next_bias=np.zeros(1))
    require(single.points.tolist() == [[3.0]] and single.weights.tolist() == [[7.0]], "nothing to do")
    return (
        f"{cases} layers unchanged, {removed} neurons fewer, t smaller in {shrunk}; the sigmoid's t halved by centring"
    )


def errs(phi: Activation, factor: float = 1.0):
    """A trial: a random layer changes its function at a random input; merged weights are taken `factor` times."""

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        bad = np.zeros(n, bool)
        for k in range(n):
            case = layer(rng, 9)
            x = rng.normal(size=(4, 2)) * 3
            c = cleaned(case, phi)
            got = through(c, x) + (factor - 1.0) * (c.activation.value(x @ c.points.T + c.bias) @ c.weights.T)
            bad[k] = not np.allclose(got, outputs(*case, phi, x), rtol=1e-9, atol=1e-9)
        return bad

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    trials = 200 * effort
    relu = judge(errs(RELU), delta=0.05, trials=trials, name="ReLU layers cleaned")
    soft = judge(errs(SOFTPLUS), delta=0.05, trials=trials, name="softplus layers cleaned")
    return Evidence(text=f"ReLU: {relu.text}; softplus: {soft.text}", trials=2 * trials)


def teeth() -> Evidence:
    def caught(factor: float) -> bool:
        return violated(errs(RELU, factor), delta=0.05, trials=60, name="weights scaled")

    slack = smallest_sabotage(caught)
    # opposite directions are not collinear, and a sigmoid is not homogeneous
    p, w, x = np.array([[1.0], [-1.0]]), np.array([[1.0, 1.0]]), np.array([[2.0], [-3.0]])
    none = np.zeros(2)
    require(len(clean(p, w, RELU, bias=none, next_bias=np.zeros(1)).points) == 2, "p and -p are two neurons")
    merged = RELU.value(x @ p[:1].T) @ np.array([[0.0]])  # w(p) + (-1) w(-p)
    require(np.abs(merged - outputs(p, none, w, np.zeros(1), RELU, x)).max() == 3.0, "merging p and -p changes f")
    twice = np.array([[1.0], [2.0]])
    require(len(clean(twice, w, SIGMOID, bias=none, next_bias=np.zeros(1)).points) == 2, "sig(2z) is not 2 sig(z)")
    lost = SIGMOID.value(x @ twice.T) @ w.T - centred(SIGMOID).value(x @ twice.T) @ w.T
    require(np.allclose(lost, 1.0), "centring without the fold loses sum w phi(0)")
    cold = [total(p[:1], w[:, :1], phi, np.array([-20.0])) for phi in (SIGMOID, centred(SIGMOID))]
    require(cold[1] > 1e6 * cold[0], f"a large negative bias: centring takes t from {cold[0]} to {cold[1]}")
    return Evidence(
        text=f"refuted: weights {slack:g} times too large; p merged with -p; centring without the fold", slack=slack
    )
