"""CoreNet's constants: how they interlock, what they are, and where the union bound counts too few edges.

Proof. One row and sign loses delta/(8 eta) to the sensitivities (eta* edges at delta/(8 eta eta*)) and twice that to
two tails; two signs and delta/(4 eta) for Delta make delta/eta, and eta neurons make delta. A row of layer 2 has d
edges, and d > eta* is allowed: if each edge obeys Assumption 1 with equality and independently, then at the
published |S| some edge is missed with probability 1 - (1 - e^(-|S|/K'))^(d-1) > delta/(8 eta). With the widest of ALL
layers for eta* inside the logarithm the count is right again.
"""

from __future__ import annotations

import math

import numpy as np
import sympy as sp
from flint import arb, ctx
from scipy.stats import binom, binomtest

from boundlab.compressors.constants import constants
from boundlab.nets.importance import sensitivities
from boundlab.network import Layer
from proofs_checks import Theorem, require

THEOREM = Theorem(
    name="The constants of CoreNet's Algorithm 1",
    source="Baykal et al. 2019, arXiv:1804.05345; item number not known to us; as we understand the paper",
    given=("L - 1 weight matrices", "Assumptions 1 and 2 with K = K' = ln(eta eta*) and lambda* = K/2"),
    claim=r"|S| = \lceil K \ln(8\eta\eta^*/\delta) \rceil, \quad "
    r"\kappa = \sqrt{2\lambda^*} + 2\lambda^* \ln(8\eta\eta^*/\delta), \quad "
    r"\eta \cdot (2 \cdot 3\delta/(8\eta) + \delta/(4\eta)) = \delta, \quad \eta^* = \max_{1 \le \ell \le L} \eta^\ell",
    status="corrected",
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
    width = sp.symbols("w", positive=True)  # the union over w edges at the published |S|
    require(sp.simplify(width * d / (8 * eta * star) / (d / (8 * eta)) - width / star) == 0, "it overspends by w/eta*")
    return "3d/8n + 3d/8n + d/4n = d/n; 8/eps_l² = 32 (L-1)² D²/eps²; kappa; d edges overspend by d/eta*"


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
        lenet, repaired = (784, 300, 100, 10), constants((784, 300, 100, 10), 0.1, variant="repaired")
        need = arb(410 * 300).log() * arb(8 * 410 * 784 * 10).log()
        require(repaired.points == 200 and bool((need <= 200) & (need > 199)), f"the repaired |S| is {repaired.points}")
        require(repaired.eta_star == 784 and repaired.K == constants(lenet, 0.1).K, "K stays, eta* is 784")
    finally:
        ctx.prec = old
    share = 0.1 / (8 * 410)
    own = constants(lenet, 0.1)
    lost = missed(783, own.points, own.K)
    require(lost > 2 * share, f"d = 784: an edge is missed with {lost}, the proof allows {share}")
    require(missed(783, repaired.points, repaired.K) <= share, "the repaired |S| must keep the budget")
    wide = constants((5000, 300, 100, 10), 0.1)  # the published |S| does not see d
    fails = missed(4999, wide.points, wide.K, active=True)
    require(wide.points == 189 and fails > share, f"d = 5000: the lemma itself fails with {fails} against {share}")
    for sizes, delta in ((lenet, 0.1), ((5000, 300, 100, 10), 0.1), ((40, 2, 1), 0.5), ((3, 4, 9), 0.3)):
        fixed, eta = constants(sizes, delta, variant="repaired"), sum(sizes[1:])
        require(missed(max(sizes), fixed.points, fixed.K) <= delta / (8 * eta), f"repaired, {sizes}")
    return (
        f"table to 6 digits, within 1e-13 of ball arithmetic; d = 784: an edge is missed with {lost:.1e}, allowed "
        f"{share:.1e}; d = 5000: the claim itself fails, {fails:.1e}; repaired |S| = 200"
    )


def misses(points: int, K: float, trials: int = 3_000) -> int:
    """Trials in which a shipped sensitivity is 0, in a row of 40 edges that obeys Assumption 1.

    39 coins, active with probability 1 - e^(-1/K), beside an edge that makes up a sum of 80: shares are 0 or 1/80
    for the coins and mostly above 1/2 for that edge. Thirty rows with inputs of their own make one layer.
    """
    rng, rows, count = np.random.default_rng(100), 30, 0
    layer = Layer(weight=np.kron(np.eye(rows), np.ones(40)), bias=np.zeros(rows), relu=True)
    for _ in range(trials // rows):
        a = (rng.random((points, rows, 40)) < -math.expm1(-1 / K)).astype(np.float64)
        a[:, :, 0] = 80.0 - a[:, :, 1:].sum(axis=2)
        s = sensitivities(layer, [a.reshape(points, -1)], theorem="baykal2019_constants")
        count += int(np.count_nonzero(s.groups.sums(s.values == 0)))
    return count


def refuted(count: int, trials: int, delta: float) -> bool:
    """Exact one-sided binomial test of P(failure) <= delta at level 1e-6."""
    return bool(binom.sf(count - 1, trials, delta) < 1e-6)


SMALL, SMALL_DELTA = (40, 2, 1), 0.5  # eta = 3, eta* = 2 in the hidden layers, 40 edges in a row of layer 2


def monte_carlo() -> str:
    fixed = constants(SMALL, SMALL_DELTA, variant="repaired")
    allowed = SMALL_DELTA / (8 * fixed.eta)
    count, law = misses(fixed.points, fixed.K), missed(39, fixed.points, fixed.K)
    require(not refuted(count, 3_000, allowed), f"repaired: {count} of 3000 against {allowed}")
    p = binomtest(count, 3_000, law).pvalue
    require(p > 1e-6, f"{count} of 3000 against the exact {law}")
    return f"40-2-1, repaired |S| = {fixed.points}: {count} of 3000 rows miss one; law {law:.4f}, allowed {allowed:.4f}"


def teeth() -> str:
    own, fixed = constants(SMALL, SMALL_DELTA), constants(SMALL, SMALL_DELTA, variant="repaired")
    allowed = SMALL_DELTA / (8 * own.eta)
    count = misses(own.points, own.K)
    require(refuted(count, 3_000, allowed), f"published |S| = {own.points}: {count} of 3000 were not caught")
    half = misses(fixed.points // 2, fixed.K)
    require(refuted(half, 3_000, allowed), f"half of the repaired |S|: {half} of 3000 were not caught")
    log2 = math.ceil(own.K * math.log2(8 * own.eta * own.eta_star / SMALL_DELTA))
    require(log2 != own.points, "another base of the logarithm was not caught")
    return f"refuted: published |S| = {own.points} at d = 40 > eta* ({count} of 3000), half of the repaired ({half})"
