"""Merge and reduce: errors multiply along a path, (1 + eps)^levels - 1, and failures add over the nodes: ours.

Union. If |A_i - F_i| <= eps F_i for the coresets A_i of disjoint sets, F_i >= 0, then |sum A_i - sum F_i| <= eps sum
F_i. Here F_i(w) = (U_i/U) |w|²/2 + lam sum u h uses the total weight U of the whole stream, so that objectives add up.

Reduction. If |A - F| <= eps F and |C - A| <= eps' A, then (1 - eps')(1 - eps) F <= C <= (1 + eps')(1 + eps) F. After L
reductions C/F is in [(1 - eps)^L, (1 + eps)^L], and 1 - (1 - eps)^L <= (1 + eps)^L - 1, for (1 + eps)^L + (1 - eps)^L
>= 2: it grows by eps ((1 + eps)^L - (1 - eps)^L) >= 0 from L to L + 1. (This for eps <= 1; beyond, C >= 0 makes 1 - C/F
<= 1 < (1 + eps)^L - 1.) Hence eps_level = (1 + eps)^(1/L) - 1 is enough.

Failures. A node's draws fail with probability at most delta/nodes given everything that it was handed, whatever that
was; its sensitivities must be computed for it, with lam U/V. The union bound over all nodes gives delta, although the
nodes are not independent. Merging neighbours pair by pair, K leaves have ceil(log2 K) merges on a path and K - 1 in
all; if leaves are reduced first, one level and K nodes more.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from boundlab.coresets.svm.merging import level_eps, merged_eps, node_delta, tree_shape
from boundlab.coresets.svm.objective import coreset_lam
from boundlab.coresets.svm.sampling import draw_weights
from boundlab.coresets.svm.sensitivity import clusters_of, sensitivities
from boundlab.coresets.svm.size import coreset_size
from boundlab.coresets.svm.worst_query import extremes, minimum
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.boundlab_svm_sensitivity import reals
from proofs_checks.judging import judge, smallest_sabotage
from proofs_checks.proving import prove

THEOREM = Theorem(
    name="Coresets of streams by merge and reduce",
    source="ours; the technique is folklore",
    given=(
        "each reduction has error at most eps with probability at least 1 - delta/nodes, given its input",
        "sensitivities at a node are those of the node's own objective",
    ),
    claim=r"\Pr\big[\forall w: |F_C(w) - F(P,w)| \le \big((1+\epsilon)^L - 1\big) F(P,w)\big] \ge 1 - \delta",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="coresets/svm/merging.py",
        old='return math.expm1(positive_int("levels", levels) * math.log1p(positive("eps", eps))) * UP',
        new='return positive_int("levels", levels) * positive("eps", eps) * UP',
    ),
    Mutation(
        file="coresets/svm/merging.py",
        old='return math.expm1(math.log1p(positive("eps", eps)) / positive_int("levels", levels)) / UP',
        new='return positive("eps", eps) / positive_int("levels", levels)',
    ),
    Mutation(
        file="coresets/svm/merging.py",
        old="return merges.bit_length() + reduce_leaves, merges + leaves * reduce_leaves",
        new="return merges.bit_length(), merges + leaves * reduce_leaves",
    ),
)

EPS, DELTA, LEAVES = 1.0, 0.2, 4


def merge(leaves: int, *, reduce_leaves: bool, queue: bool) -> tuple[int, int]:
    """(levels, nodes) by merging in fact: neighbours pair by pair, or the two at the front of a queue."""
    depth = [int(reduce_leaves)] * leaves
    nodes = leaves * reduce_leaves
    while len(depth) > 1:
        if queue:
            depth = [*depth[2:], max(depth[:2]) + 1]
            nodes += 1
        else:
            pairs = [max(depth[k : k + 2]) + 1 for k in range(0, len(depth) - 1, 2)]
            nodes += len(pairs)
            depth = pairs + depth[len(pairs) * 2 :]
    return depth[0], nodes


def symbolic() -> str:
    A, B, F, G, C, e, g, x, y = reals("A B F G C e g x y")
    near = (F >= 0, G >= 0, e >= 0, (1 + e) * F >= A, (1 - e) * F <= A, (1 + e) * G >= B, (1 - e) * G <= B)
    prove((1 + e) * (F + G) >= A + B, *near)
    prove((1 - e) * (F + G) <= A + B, *near)
    reduced = (F >= 0, e >= 0, e <= 1, g >= 0, g <= 1, (1 + e) * F >= A, (1 - e) * F <= A)
    prove((1 + g) * (1 + e) * F >= C, *reduced, (1 + g) * A >= C)
    prove((1 - g) * (1 - e) * F <= C, *reduced, (1 - g) * A <= C)
    # x = (1+e)^L, y = (1-e)^L: x + y >= 2 and x >= y >= 0 pass from L to L + 1
    step = (e >= 0, e <= 1, x >= y, y >= 0, x + y >= 2)
    prove((1 + e) * x + (1 - e) * y >= 2, *step)
    prove((1 + e) * x >= (1 - e) * y, *step)
    return "unions keep eps, reductions multiply (z3); (1+eps)^L + (1-eps)^L >= 2 by induction"


def exact() -> str:
    for eps in (0.001, 0.05, 0.3, 1.0, 2.0):
        for levels in (1, 2, 5, 12):
            total = (1 + Fraction(eps)) ** levels - 1
            given = Fraction(merged_eps(eps, levels))
            require(total <= given <= total * (1 + Fraction(1, 10**10)), f"{levels} levels of {eps}: {float(given)}")
            part = Fraction(level_eps(eps, levels))
            require((1 + part) ** levels <= 1 + Fraction(eps), f"the level's share of {eps} must be rounded down")
            require((1 + part * Fraction(1 + 1e-9)) ** levels > 1 + Fraction(eps), "and not by more than needed")
    for nodes in (1, 3, 7, 1000):
        require(Fraction(node_delta(0.05, nodes)) * nodes <= Fraction(0.05), "delta must not be exceeded")
    for leaves in range(1, 130):
        for first in (True, False):
            levels, nodes = tree_shape(leaves, reduce_leaves=first)
            pairs = merge(leaves, reduce_leaves=first, queue=False)
            require(pairs == (levels, nodes), f"{leaves} leaves: {pairs} in fact, {(levels, nodes)} given")
            require(merge(leaves, reduce_leaves=first, queue=True)[1] == nodes, "a queue makes as many merges")
            require(merge(leaves, reduce_leaves=first, queue=True)[0] <= levels, "and no longer paths")
    return "(1+eps)^L - 1 and its inverse on the safe side in fractions; levels and nodes of 129 trees by merging"


def stream(rng: np.random.Generator, share: float) -> tuple[float, float]:
    """(error at the root, product of 1 + errors on the worst path minus 1) of four leaves, sizes times `share`."""
    z = rng.normal(1, 0.5, 40)
    u, parts = np.ones(40), [np.arange(k, 40, LEAVES) for k in range(LEAVES)]
    levels, nodes = tree_shape(LEAVES, reduce_leaves=False)
    eps, delta = level_eps(EPS, levels), node_delta(DELTA, nodes)
    sets = [(index, u[index], 0.0) for index in parts]
    while len(sets) > 1:
        (a, va, ea), (b, vb, eb) = sets[:2]
        index, v = np.concatenate([a, b]), np.concatenate([va, vb])
        lam = coreset_lam(0.2, total=40.0, mass=float(v.sum()))  # the node's objective as an ordinary SVM
        group, opt = (z[index] > 1).astype(int), minimum(z[index], v, lam=lam)[1]
        bound = sensitivities(clusters_of(z[index][:, None], v, group), lam=lam, opt=opt)
        m = max(1, int(share * coreset_size(float(bound.sum()), eps, delta, dimension=1, hinge_only=False)))
        new = draw_weights(v, bound, m, rng)[0]
        error = float(extremes(z[index], v, new, lam=lam).error)
        kept = new > 0
        sets = [*sets[2:], (index[kept], new[kept], (1 + max(ea, eb)) * (1 + error) - 1)]
    index, v, product = sets[0]
    whole = np.zeros(40)
    whole[index] = v
    return float(extremes(z, u, whole, lam=0.2).error), product


def fails(rng: np.random.Generator, n: int) -> np.ndarray:
    """Trials at the advertised sizes: the error at the root exceeds the promised eps = 1."""
    return np.array([stream(rng, 1.0)[0] > EPS for _ in range(n)], bool)


def exceeds_product(rng: np.random.Generator, n: int) -> np.ndarray:
    """Trials at a hundredth of the sizes: the error at the root exceeds the product along the worst path."""
    pairs = [stream(rng, 0.01) for _ in range(n)]
    return np.array([error > product * (1 + 1e-9) for error, product in pairs], bool)


def monte_carlo(effort: int = 1) -> Evidence:
    promised = judge(fails, delta=DELTA, trials=60 * effort, name="four leaves, advertised sizes")
    law = judge(exceeds_product, delta=0.1, trials=90 * effort, name="four leaves, product of errors")
    return Evidence(text=f"eps = 1: {promised.text}; error above the product: {law.text}", trials=150 * effort)


def teeth() -> Evidence:
    e, levels = Fraction(1, 2), 3
    top = (1 + e) ** levels - 1  # attained: three reductions that each enlarge every value by 1 + e

    def caught(factor: float) -> bool:
        return Fraction(merged_eps(float(e), levels)) / Fraction(factor) < top

    slack = smallest_sabotage(caught)
    require(levels * e < top, "adding errors, 3 eps, must be caught by (1 + eps)³ - 1")
    rng = np.random.default_rng(151)
    pairs = [stream(rng, 0.002) for _ in range(40)]
    half = sum(error > 0.5 * product for error, product in pairs)
    require(half > 0, "half of the product must be exceeded")
    return Evidence(text=f"attained: divided by {slack:g} it fails, and so does adding errors", slack=slack)
