"""CoreNet's constants interlock: if no layer is wider than eta*, the failures of all neurons add up to delta exactly.

The statement. |S| = ⌈K ln(8 eta eta*/delta)⌉, kappa = sqrt(2 lambda*) + 2 lambda* ln(8 eta eta*/delta), lambda* = K/2,
and the logarithm ln(8 eta/delta) in m are what makes the union bounds of the main theorem close at delta.

Proof. One group loses delta/(8 eta) to the sensitivities (at most eta* edges, e^(-|S|/K) <= delta/(8 eta eta*) each)
and twice that to two tails; two signs and delta/(4 eta) for Delta (two events for at most eta* neurons) make delta/eta,
and eta neurons make delta. 8/eps_l² with eps_l = eps/(2 (L-1) Delta^{l->}) is 32 (L-1)² (Delta^{l->})²/eps².
With the widest of ALL layers for eta* ("repaired") the premise always holds; what happens without it is
`baykal2019_eta_star`. "sharp" counts each edge once: N edges in all at e^(-|S|/K) <= delta/(4 N) lose delta/4, where
the published |S| charges both signs with eta* edges although they share the fan-in; its kappa is that of
`baykal2019_condition_estimate`.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import sympy as sp
from flint import arb, ctx

from boundlab.compressors.constants import constants
from boundlab.nets.importance import sensitivities
from boundlab.network import Layer
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage, violated

THEOREM = Theorem(
    name="The constants of CoreNet's Algorithm 1",
    source="Baykal et al. 2019, arXiv:1804.05345; item number not known to us; as we understand the paper",
    given=(
        "L - 1 weight matrices, no layer wider than eta*",
        "Assumptions 1 and 2 with K = K' = ln(eta eta*) and lambda* = K/2",
    ),
    claim=r"|S| = \lceil K \ln(8\eta\eta^*/\delta) \rceil, \quad "
    r"\kappa = \sqrt{2\lambda^*} + 2\lambda^* \ln(8\eta\eta^*/\delta), \quad "
    r"\eta \cdot (2 \cdot 3\delta/(8\eta) + \delta/(4\eta)) = \delta",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="compressors/constants.py",
        old="union = math.log(8.0 * eta * widest / delta)",
        new="union = math.log(4.0 * eta * widest / delta)",
    ),
    Mutation(
        file="compressors/constants.py",
        old="union = math.log(max(4.0 * edges, 8.0 * eta) / delta)",
        new="union = math.log(8.0 * eta / delta)",
    ),
    Mutation(file="compressors/constants.py", old="points=math.ceil(K * union)", new="points=math.floor(K * union)"),
)

# (sizes, 1/delta, eta, eta*, |S|), and as printed: K, lambda*, ln(8 eta eta*/delta), kappa, ln(8 eta/delta)
TABLE = (
    ((784, 300, 100, 10), 10, 410, 300, 189, "11.719940", "5.859970", "16.101966", "192.137512", "10.398184"),
    ((784, 300, 100, 10), 100, 410, 300, 216, "11.719940", "5.859970", "18.404551", "219.123671", "12.700769"),
    ((784, 1000, 1000, 10), 10, 2010, 1000, 275, "14.513645", "7.256823", "18.895672", "278.054757", "11.987917"),
    ((2, 2, 1), 10, 3, 2, 12, "1.791759", "0.895880", "6.173786", "12.400506", "5.480639"),
)


def missed(edges: int, points: int, K: float, *, active: bool = False) -> float:
    """P(some of the edges is never active on the points, or with `active`: and is so at a fresh point), independent."""
    one = math.exp(-points / K) * (-math.expm1(-1 / K) if active else 1.0)
    return -math.expm1(edges * math.log1p(-one))


def symbolic() -> str:
    d, eta, star, kp = sp.symbols("delta eta eta* K'", positive=True)
    edges = star * d / (8 * eta * star)
    require(sp.simplify(edges - d / (8 * eta)) == 0, "eta* edges at delta/(8 eta eta*) each")
    sign = edges + 2 * d / (8 * eta)
    require(sp.simplify(sign - 3 * d / (8 * eta)) == 0, "3 delta/(8 eta) for a sign")
    condition = 2 * star * d / (8 * eta * star)
    require(sp.simplify(condition - d / (4 * eta)) == 0, "delta/(4 eta) for Delta: two events, eta* neurons")
    require(sp.simplify(2 * sign + condition - d / eta) == 0, "delta/eta for a neuron")
    require(sp.simplify(eta * (2 * sign + condition) - d) == 0, "delta in all")
    L, e, D = sp.symbols("L epsilon Delta", positive=True)
    layer = e / (2 * (L - 1) * D)
    require(sp.simplify(8 / layer**2 - 32 * (L - 1) ** 2 * D**2 / e**2) == 0, "8/eps_l² = 32 (L-1)² Delta²/eps²")
    Lg, lam = sp.symbols("Lg lambda", positive=True)
    n, t = 2 * lam * Lg, sp.sqrt(2 * lam)  # |S| = 2 lambda* Lg points
    require(sp.simplify(n * t**2 / (4 * lam**2) - Lg) == 0, "the mean's exponent must be Lg at t = sqrt(2 lambda*)")
    require(sp.simplify(2 * lam * Lg / (2 * lam) - Lg) == 0, "and a single point's at t = 2 lambda* Lg")
    require(sp.simplify(sp.exp(-kp * sp.log(8 * eta * star / d) / kp) - d / (8 * eta * star)) == 0, "|S| = K' ln(.)")
    N = sp.symbols("N", positive=True)
    require(sp.simplify(N * sp.exp(-kp * sp.log(4 * N / d) / kp) - d / 4) == 0, "sharp: N edges lose delta/4")
    return "3d/8n + 3d/8n + d/4n = d/n; 8/eps_l² = 32 (L-1)² D²/eps²; kappa's exponents are Lg; N edges lose d/4"


def exact() -> str:
    old, ctx.prec = ctx.prec, 120
    try:
        for sizes, inverse, eta, star, points, *printed in TABLE:
            own = constants(sizes, 1 / inverse)
            require((own.eta, own.eta_star, own.points) == (eta, star, points), f"eta, eta*, |S| of {sizes}: {own}")
            K, union, row = arb(eta * star).log(), arb(8 * eta * star * inverse).log(), arb(8 * eta * inverse).log()
            kappa = K.sqrt() + K * union
            require(bool((K * union <= points) & (K * union > points - 1)), f"{points} must be the ceiling")
            shipped = (own.K, own.lambda_star, math.log(8 * eta * star * inverse), own.kappa, own.log_row)
            for value, true, text in zip(shipped, (K, K / 2, union, kappa, row), printed, strict=True):
                require(f"{value:.6f}" == text, f"{value} is printed as {text}")
                require(bool(abs(true - value) < 1e-13 * true), f"{value} differs from {true}")
        closed = 0
        for sizes, delta in itertools.product(
            ((2, 10, 1), (20, 20, 20), (3, 9, 9, 4), (784, 300, 100, 10)), (0.9, 0.01)
        ):
            fixed, sharp = (constants(sizes, delta, variant=v) for v in ("repaired", "sharp"))
            N = sum(a * b for a, b in itertools.pairwise(sizes))
            for width in sizes[:-1]:  # ln of what is lost and of what may be, in ball arithmetic
                lost = arb(width).log() - arb(fixed.points) / arb(fixed.K)
                require(bool(lost <= (arb(delta) / (8 * fixed.eta)).log()), f"repaired |S| of {sizes}, fan-in {width}")
            lost = arb(N).log() - arb(sharp.points) / arb(sharp.K)
            require(bool(lost <= (arb(delta) / 4).log()), f"the sharp |S| of {sizes} must lose at most delta/4")
            require(sharp.points <= fixed.points and sharp.kappa < fixed.kappa, "sharp must not need more")
            closed += 1
    finally:
        ctx.prec = old
    return f"table to 6 digits, within 1e-13 of ball arithmetic; {closed} budgets close, repaired and sharp"


def misses(sizes: tuple[int, ...], delta: float, share: float, *, variant: str = "published"):
    """A trial: in a row of layer 2 that obeys Assumption 1, some shipped sensitivity is 0 at `share` of |S|.

    d - 1 coins, active with probability 1 - e^(-1/K), beside an edge that makes up a sum of 2 d: shares are 0 or
    1/(2 d) for the coins and above 1/2 for that edge. Rows with inputs of their own make one layer.
    """
    known, width, rows = constants(sizes, delta, variant=variant), sizes[0], max(15, 200 // sizes[0])
    points = math.ceil(share * known.points)
    layer = Layer(weight=np.kron(np.eye(rows), np.ones(width)), bias=np.zeros(rows), relu=True)

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        found = np.empty(0, bool)
        while len(found) < n:
            a = (rng.random((points, rows, width)) < -math.expm1(-1 / known.K)).astype(np.float64)
            a[:, :, 0] = 2 * width - a[:, :, 1:].sum(axis=2)
            s = sensitivities(layer, [a.reshape(points, -1)], theorem="baykal2019_constants")
            found = np.concatenate([found, s.groups.sums(s.values == 0) > 0])
        return found[:n]

    return trial


SIZES, DELTA = (2, 10, 1), 0.9  # eta = 11, eta* = 10, and 2 edges in a row of layer 2
ALLOWED = DELTA / (8 * 11)


def monte_carlo(effort: int = 1) -> Evidence:
    own = judge(misses(SIZES, DELTA, 1.0), delta=ALLOWED, trials=2_500 * effort, name="2-10-1, an edge is missed")
    law, points = missed(1, constants(SIZES, DELTA).points, constants(SIZES, DELTA).K), constants(SIZES, DELTA).points
    return Evidence(text=f"2-10-1, |S| = {points}, an edge is missed (law {law:.1e}): {own.text}", trials=own.trials)


def teeth() -> Evidence:
    known = constants(SIZES, DELTA)
    log2 = math.ceil(known.K * math.log2(8 * known.eta * known.eta_star / DELTA))
    require(log2 != known.points, "another base of the logarithm was not caught")

    def caught(factor: float) -> bool:  # by the exact law of a missed edge, at the most edges that eta* allows
        return missed(known.eta_star - 1, math.ceil(known.points / factor), known.K) > ALLOWED

    slack = smallest_sabotage(caught)
    half = misses(SIZES, DELTA, 0.5)
    require(violated(half, delta=ALLOWED, trials=4_000, name="half of |S|"), "half of |S| was not caught")
    return Evidence(text=f"refuted: |S| divided by {slack:g}, a logarithm to base 2", slack=slack)
