"""Rounding the weights of a sampled group to the log-grid turns a relative error eps into eps + rho + eps rho.

Statement. The grid is {±2^(k/s)}. The nearest level on the logarithmic scale is within a factor 2^(±1/(2s)), hence
within (1 ± rho) of the weight with rho = 2^(1/(2s)) - 1. If the sampled weights of a group with one sign satisfy
sum v a in (1 ± eps) sum w a for a >= 0, the rounded ones satisfy it with eps + rho + eps rho in place of eps.

Proof. With u = 2^(1/(2s)) >= 1 the ratio lies in [1/u, u], and 1 - 1/u <= u - 1, as (u - 1)² >= 0. Each term moves
within (1 ± rho) of itself and all have one sign, so the sum moves within (1 ± rho) of itself: it ends below
(1 + eps)(1 + rho) = 1 + eps + rho + eps rho times the original, and above (1 - eps)(1 - rho), which is nearer. Signs
are kept: whatever needs weights of one sign (the recursion of relative errors, the envelope) goes on to hold.
"""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab.codes.log_grid import STEPS, LogGrid
from boundlab.codes.rounding import grid_error, rounded_error
from boundlab.coresets.alias import draw_counts
from boundlab.coresets.sensitivity_sampling import sample_size
from boundlab.network import Layer, Network
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage
from proofs_checks.proving import prove, reals

THEOREM = Theorem(
    name="A relative error survives rounding to the grid",
    source="ours; a quantisation step that CoreNet's generalization corollary (arXiv:1804.05345) leaves open, as we "
    "understand the paper; item number not known to us",
    given=(
        "sampled weights of one sign, a >= 0",
        "sizes in [2^-1022, 2^1023]",
        "rounding on the logarithmic scale",
    ),
    claim=r"\sum \hat v a \in (1 \pm (\epsilon + \rho + \epsilon\rho)) \sum w a, \quad \rho = 2^{1/(2s)} - 1",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="codes/log_grid.py",
        old="k = np.rint(self.steps * np.log2(magnitudes)).astype(np.int64)",
        new="k = np.floor(self.steps * np.log2(magnitudes)).astype(np.int64)",
    ),
    Mutation(
        file="codes/log_grid.py",
        old="used = np.abs(w) >= 2.0**-1022",
        new="used = np.abs(w) >= 2.0**-10",
    ),
    Mutation(
        file="codes/rounding.py",
        old="return (eps + rho + eps * rho) * (1.0 + ROUNDING)",
        new="return (eps + rho) * (1.0 + ROUNDING)",
    ),
)


def symbolic() -> str:
    eps, rho, w, v, moved = reals("eps rho w v moved")
    t = eps + rho + eps * rho
    sampled = (v - w <= eps * w, w - v <= eps * w, v >= 0)
    rounded = (moved - v <= rho * v, v - moved <= rho * v)
    sizes = (w >= 0, eps >= 0, rho >= 0)
    prove(moved - w <= t * w, *sizes, *sampled, *rounded)
    prove(w - moved <= t * w, *sizes, *sampled, *rounded)
    v1, v2, m1, m2 = reals("v1 v2 m1 m2")  # two terms of one sign; more follow by induction
    terms = [m - x <= rho * x for m, x in ((m1, v1), (m2, v2))] + [x - m <= rho * x for m, x in ((m1, v1), (m2, v2))]
    prove(m1 + m2 - (v1 + v2) <= rho * (v1 + v2), *terms)
    prove(v1 + v2 - (m1 + m2) <= rho * (v1 + v2), *terms)
    u = sp.symbols("u", positive=True)
    gap = sp.factor((u - 1) - (1 - 1 / u))
    require(sp.simplify(gap - (u - 1) ** 2 / u) == 0, "u - 1 - (1 - 1/u) must be (u-1)²/u >= 0")
    return "z3: (1 ± eps)(1 ± rho) lies in 1 ± (eps + rho + eps rho), terms of one sign add up; 1 - 1/u <= u - 1"


def rounded(code: LogGrid, w: np.ndarray) -> np.ndarray:
    return code.round(Network(layers=(Layer(weight=w[None], bias=np.zeros(1), relu=False),))).layers[0].weight[0]


def exact() -> str:
    rng, count, nearest = np.random.default_rng(8), 0, Fraction(0)
    for steps in STEPS:
        code, rho = LogGrid(steps), Fraction(grid_error(steps))
        require((1 + rho) ** (2 * steps) >= 2, "rho must be rounded up")
        require((1 + rho) ** (2 * steps) <= 2 + Fraction(1, 10**10), "rho is loose")
        middles = 2.0 ** ((np.arange(-40, 40) + 0.5) / steps) * (1 + rng.uniform(-1e-9, 1e-9, 80))
        far = 2.0 ** (np.concatenate([np.arange(-1020, -1000), np.arange(1000, 1020)]) + 0.5 / steps)
        w = np.concatenate(
            [middles, far, rng.normal(size=60), rng.normal(size=20) * 1e-300, [1e300, -3.0, 2.0**-1022, 1e-5]]
        )
        for before, after in zip(w, rounded(code, w), strict=True):
            a, b = Fraction(float(before)), Fraction(float(after))
            require(a * b > 0, f"{before} became {after}")
            require(abs(b - a) <= rho * abs(a), f"{before} moved to {after}, by more than {float(rho)} of it")
            nearest, count = max(nearest, abs(b - a) / abs(a) / rho), count + 1
        require(not rounded(code, np.array([0.0, 2.0**-1023, -(2.0**-1060)])).any(), "0 and subnormal weights become 0")
    for e, r in itertools.product((0.0, 1e-9, 0.3, 1.0, 2.5), (0.0, 1e-9, 0.02, 0.41)):
        truth = Fraction(e) + Fraction(r) + Fraction(e) * Fraction(r)
        told = Fraction(float(rounded_error(e, r)))
        require(truth <= told <= truth * (1 + Fraction(1, 10**13)), f"{float(told)} for the exact {float(truth)}")
    return f"{count} weights on five grids moved by at most rho, up to {float(nearest):.9f} of it; signs kept"


def monte_carlo(effort: int = 1) -> Evidence:
    edges, eps, delta, steps = 60, 0.3, 0.1, 4
    m = int(sample_size(np.array([1.0]), eps, delta, K=3.0)[0])
    allowed, code = float(rounded_error(eps, grid_error(steps))), LogGrid(steps)

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        """A row of random weights w, sampled by w_j; a point that reads a third of their sum; then rounding."""
        w = rng.uniform(0.5, 1.5, edges)
        read = np.arange(edges) < edges // 3
        q = w / w.sum()
        counts = draw_counts(np.tile(q, n), np.arange(n + 1, dtype=np.int64) * edges, np.full(n, m), rng)
        sampled = rounded(code, np.tile(w / (m * q), n) * counts).reshape(n, edges)
        return np.abs(sampled[:, read].sum(axis=1) - w[read].sum()) > allowed * w[read].sum()

    return judge(trial, delta=delta, trials=2_000 * effort, name="sampled, then rounded")


def teeth() -> Evidence:
    def caught(factor: float) -> bool:
        """Whether some weight moves by more than rho / factor, or some sum by more than the rule / factor."""
        middle = np.array([2.0**0.125 * (1 - 1e-12), 2.0**0.125 * (1 + 1e-12)])
        moved = np.abs(rounded(LogGrid(4), middle) / middle - 1)
        return bool((moved > grid_error(4) / factor).any())

    slack = smallest_sabotage(caught)
    eps, rho = 0.5, grid_error(1)
    end = (1 + eps) * (1 + rho) - 1  # each weight at the end of its range, all in one direction
    require(end > eps + rho, "a rule without eps rho must be caught")
    require(end <= rounded_error(eps, rho), "the rule itself must hold at the end of the range")
    require(grid_error(1) < 1 - 1 / 1.98, "1.98 rounded down to 1 must break rho")
    return Evidence(text=f"refuted: rho divided by {slack:g}, eps rho dropped, levels rounded down", slack=slack)
