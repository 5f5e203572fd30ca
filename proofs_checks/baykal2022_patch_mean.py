"""A sensitivity averaged over the patches of a convolution bounds an average loss; no single output is bounded by it.

Refuted. In a convolution one filter acts on P patches: z_p = sum_j w_j U_jp, shares g_j(x, p). The released code's
deterministic method uses s_j = max over x of the MEAN over p of g_j(x, p), and the bound C (sum of the dropped s_j),
C = 3. Take one x whose P patches are the P unit vectors, all weights 1: s_j = 1/P for every j, and dropping one edge is
promised an error of C/P. The patch that this edge alone feeds loses everything: error 1, on S itself. With C = 3 four
patches are enough for the promise 3/4; with many it is as small as one likes.

A further effect: sum of s_j >= 1, which holds for maxima over patches wherever some z_p > 0, fails. Patches with
z_p = 0 count as 0 in the mean, so that the sum is the share of active patches, which may be below 1: then A = C S can
be below 1, outside the range of the sampling bound.

What is left: the mean over patches of the loss is at most the sum of the dropped s_j on S, as the mean of a sum is the
sum of the means. With the maximum over x AND p in the place of the mean each patch is a point, and the bound of
baykal2022_sipp_det holds for every patch.
"""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab.concentration.conformal import conformal_factor
from boundlab.coresets.top_k import dropped_sum, keep_largest, patch_mean_sensitivities, patch_sensitivities
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage

THEOREM = Theorem(
    name="Sensitivities averaged over patches",
    source="in the released code of Baykal et al. 2022, arXiv:1910.05422 (deterministic method, convolutions)",
    given=("one filter, one sign, terms >= 0", "s_j the largest mean over patches of the shares", "C = 3"),
    claim=r"z_p - \hat z_p \le C \Big(\sum_{j \notin I} s_j\Big) z_p \text{ for every patch } p, \quad "
    r"s_j = \max_{x \in S} \frac{1}{P} \sum_p g_j(x, p)",
    status="refuted",
    finding="Four patches that are unit vectors are promised an error of 3/4 with C = 3, and one of them loses "
    "everything; with P patches the promise is 3/P.",
    ours="baykal2022_sipp_det",
)

MUTATIONS = (
    Mutation(
        file="coresets/top_k.py",
        old="return np.asarray(shares, np.float64).max(axis=(0, 1))",
        new="return np.asarray(shares, np.float64).mean(axis=1).max(axis=0)",
    ),
    Mutation(
        file="coresets/top_k.py",
        old="return np.asarray(shares, np.float64).mean(axis=1).max(axis=0)",
        new="return np.asarray(shares, np.float64).max(axis=(0, 1))",
    ),
)


def promise(shares: np.ndarray, kept: int, sensitivities, K: float = 1.0) -> tuple[float, np.ndarray]:
    """(bound of the dropped edges, which are kept) when the `kept` largest sensitivities are kept."""
    values, row = sensitivities(shares), np.array([0, shares.shape[2]])
    keep = keep_largest(values, row, np.array([kept]))
    return float(dropped_sum(values, row, keep, K=K)[0]), keep


def symbolic() -> str:
    P, C = sp.symbols("P C", positive=True)
    require(sp.solve(sp.Eq(C / P, 1), P) == [C], "one dropped edge is promised C/P: below 1 as soon as P > C")
    require(sp.limit(C / P, P, sp.oo) == 0, "and as small as one likes")
    a, b = sp.symbols("a1:4", nonnegative=True), sp.symbols("b1:4", nonnegative=True)  # shares of two dropped edges
    mean = sp.Add(*(x + y for x, y in zip(a, b, strict=True))) / 3
    require(sp.expand(mean - sp.Add(*a) / 3 - sp.Add(*b) / 3) == 0, "the mean of the loss is the sum of the means")
    top, r = sp.symbols("top r1:4", nonnegative=True)[0], sp.symbols("r1:4", nonnegative=True)
    gap = sp.expand(top - sp.Add(*(top - v for v in r)) / 3)  # the mean of values at most top
    require(gap == sp.Add(*r) / 3 and gap.is_nonnegative, "a mean is at most the maximum: the code's s_j are too small")
    return "promise C/P against an error of 1; mean of the loss = sum of the means; mean <= maximum"


def exact() -> str:
    for P in range(2, 12):
        unit = np.eye(P)[None]  # one point, patches x edges
        told, keep = promise(unit, P - 1, patch_mean_sensitivities, K=3.0)
        worst = max(sum(int(v) for v, k in zip(row, keep, strict=True) if not k) for row in unit[0])
        require(worst == 1, "the patch of the dropped edge must lose everything")
        require(abs(told - 3 / P) < 1e-12, f"the promise must be 3/{P}, got {told}")
        require((told < worst) == (P > 3), "false from four patches on")
        sharp, _ = promise(unit, P - 1, patch_sensitivities)
        require(sharp >= 1, f"with the maximum over patches the bound must be 1, got {sharp}")
        blank = np.concatenate([unit, np.zeros((1, 2 * P, P))], axis=1)  # two of three patches without activation
        total = float(patch_mean_sensitivities(blank).sum())
        require(abs(total - 1 / 3) < 1e-12, f"the total must fall to 1/3, got {total}")
        require(float(patch_sensitivities(blank).sum()) >= 1, "the maxima must add up to at least 1")
    rng, average = np.random.default_rng(100), 0
    for _ in range(60):  # what is left: the mean over patches, on S, in fractions
        a = rng.integers(0, 4, size=(2, 3, 4))
        g = [[[Fraction(int(v), max(int(p.sum()), 1)) for v in p] for p in x] for x in a]
        shares = np.array(g, float)
        for kept, rule in itertools.product(range(4), (patch_mean_sensitivities, patch_sensitivities)):
            told, keep = promise(shares, kept, rule)
            losses = [[sum((v for v, k in zip(p, keep, strict=True) if not k), Fraction(0)) for p in x] for x in g]
            for x in losses:
                require(sum(x, Fraction(0)) / 3 <= Fraction(told), "the mean over patches must obey both bounds")
                if rule is patch_sensitivities:
                    require(max(x) <= Fraction(told), "with the maximum every patch must obey")
                else:
                    average += max(x) > Fraction(told)
    return f"unit patches: promise 3/P, loss 1, total 1/3 with blank ones; means broken in {average} of 480 small cases"


def convolution(rng: np.random.Generator, n: int, points: int) -> np.ndarray:
    """Shares of a filter of nine edges on 36 sparse patches, (n, points, 36, 9); blank patches have shares 0."""
    a = rng.random((n, points, 36, 9)) * (rng.random((n, points, 36, 9)) < 0.1)
    z = a.sum(axis=3, keepdims=True)
    return np.divide(a, z, out=np.zeros_like(a), where=z > 0)


def coded(rng: np.random.Generator, n: int) -> np.ndarray:
    """Trials: does some patch of a fresh x lose more than the code's bound, 20 points, C = 3, seven of nine kept?"""
    failed = np.zeros(n, bool)
    for k, g in enumerate(convolution(rng, n, 21)):
        told, keep = promise(g[:20], 7, patch_mean_sensitivities, K=3.0)
        failed[k] = g[20][:, ~keep].sum(axis=1).max() > told
    return failed


def corrected(rng: np.random.Generator, n: int) -> np.ndarray:
    """The same with maxima over patches and a conformal factor from 39 further points, delta = 0.05."""
    failed = np.zeros(n, bool)
    for k, g in enumerate(convolution(rng, n, 60)):
        values = patch_sensitivities(g[:20])
        C = max(1.0, float(conformal_factor((g[20:59] / values).max(axis=(1, 2)), 0.05)))
        told, keep = promise(g[:20], 7, patch_sensitivities, K=C)
        failed[k] = g[59][:, ~keep].sum(axis=1).max() > told
    return failed


def monte_carlo(effort: int = 1) -> Evidence:
    broken = judge(coded, delta=0.05, trials=150 * effort, name="mean over patches, C = 3", expect="violated")
    kept = judge(corrected, delta=0.05, trials=600 * effort, name="maximum over patches, conformal C")
    return Evidence(text=f"coded: {broken.text}; corrected: {kept.text}", trials=broken.trials + kept.trials)


def teeth() -> Evidence:
    unit = np.eye(4)[None]

    def caught(factor: float) -> bool:
        return promise(unit, 3, patch_sensitivities)[0] / factor < 1

    slack = smallest_sabotage(caught)
    mixed = (patch_mean_sensitivities(unit) + patch_sensitivities(unit)) / 2  # half way to the maximum
    row, keep = np.array([0, 4]), np.array([True, True, True, False])
    require(float(dropped_sum(mixed, row, keep)[0]) < 1, "half way between mean and maximum was not caught")
    text = f"unit patches obey the maximum; refuted: it divided by {slack:g}, half way to the mean"
    return Evidence(text=text, slack=slack)
