"""Choosing between the largest edges and sampling by the smaller bound costs nothing, if the choice ignores the draws.

Statement. For one group let eps_det be C times the dropped sensitivities' sum, and eps_rand what N draws certify with
probability 1 - delta at any x of the event E (no share exceeds C s_j). Keep the largest edges where
eps_det <= eps_rand, sample otherwise, and promise eps = min(eps_det, eps_rand). Then

    P(E and |z_hat - z| > eps z) <= delta.

Proof. Both bounds are functions of S, C, m, N and delta, so the choice is made before any coin is tossed. On E the
deterministic choice never errs by more than eps_det, which is eps then. The other one errs by more than eps_rand, which
is eps then, with probability at most delta over its coins. Either way the probability is at most delta: no union bound.

The coins must not be looked at. "Sample, but keep the largest edges if the draw looks bad at a point of S" promises
eps_rand and uses the worse eps_det on an event of any probability: the enumeration below finds failures more often than
delta. The same holds for redrawing until a draw pleases.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import z3

from boundlab.coresets.alias import draw_counts
from boundlab.coresets.error_functions import bernstein_eps, hybrid_error
from boundlab.coresets.top_k import dropped_sum, keep_largest
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage, violated
from proofs_checks.proving import prove, reals

THEOREM = Theorem(
    name="The better of two bounds for each group",
    source="Baykal et al. 2022, arXiv:1910.05422, hybrid method; item number not known to us; as we understand it",
    given=("one row, one sign, terms >= 0", "g_j <= C s_j", "the choice made from the two bounds, before the draws"),
    claim=r"\Pr[E,\ |\hat z - z| > \min(\epsilon_{\mathrm{det}}, \epsilon_{\mathrm{rand}})\, z] \le \delta",
    status="holds",
)

MUTATIONS = (
    Mutation(file="coresets/error_functions.py", old="return dropped <= sampled,", new="return dropped >= sampled,"),
    Mutation(
        file="coresets/error_functions.py",
        old="np.minimum(dropped, sampled)",
        new="0.5 * np.minimum(dropped, sampled)",
    ),
)

DRAWS, ROW = 12, np.array([0, 3])
Case = tuple[list[Fraction], list[Fraction], list[Fraction]]


def symbolic() -> str:
    det, rand, p_det, p_rand, delta = reals("det rand p_det p_rand delta")
    promised = z3.If(det <= rand, det, rand)
    fails = z3.If(det <= rand, p_det, p_rand)  # p_det: chance that the kept edges err by more than the promise on E
    prove(
        fails <= delta,
        z3.Implies(promised >= det, p_det == 0),
        z3.Implies(promised >= rand, p_rand <= delta),
        delta > 0,
    )
    return "whichever is chosen is promised its own bound: failure 0 or at most delta"


def cases() -> list[Case]:
    """(s, shares at a fresh point, shares at a point of S) of rows of three edges, small whole activations."""
    rng, found = np.random.default_rng(90), []
    while len(found) < 40:
        a = rng.integers(0, 9, size=(3, 3))
        if not a.sum(axis=1).all():
            continue
        g = [[Fraction(int(v), int(row.sum())) for v in row] for row in a]
        s = [max(column) for column in zip(*g[1:], strict=True)]
        if all(s):
            found.append((s, g[0], g[1]))
    return found


def failure(case: Case, delta: float, *, m: int = 1, peek: bool = False) -> tuple[Fraction, bool]:
    """(P(error > promise), whether the largest edge is kept), m edges kept or twelve draws, over all draws."""
    s, g, known = case
    C = max([Fraction(1), *(a / b for a, b in zip(g, s, strict=True))])
    values, K = np.array([float(v) for v in s]), float(np.nextafter(float(C), 99.0))
    keep = keep_largest(values, ROW, np.array([m]))
    dropped = dropped_sum(values, ROW, keep, K=K)
    sampled = bernstein_eps(np.array([float(sum(s))]), DRAWS, delta, K=K)
    choice, promise = hybrid_error(dropped, sampled)
    eps = Fraction(float(promise[0]))
    loss = sum((v for v, k in zip(g, keep, strict=True) if not k), Fraction(0))
    if choice[0]:
        return Fraction(int(loss > eps)), True
    total, failed = sum(s, Fraction(0)), Fraction(0)
    for i, j in itertools.product(range(DRAWS + 1), repeat=2):
        n = (i, j, DRAWS - i - j)
        if n[2] < 0:
            continue
        error, seen = (
            abs(sum((c * a * total / b for c, a, b in zip(n, x, s, strict=True)), Fraction(0)) / DRAWS - 1)
            for x in (g, known)
        )
        if peek and seen > eps / 4:  # the draw looks bad at a point of S: keep the largest edge after all
            error = loss
        if error > eps:
            ways = math.comb(DRAWS, i) * math.comb(DRAWS - i, j)
            failed += ways * math.prod(((b / total) ** c for b, c in zip(s, n, strict=True)), start=Fraction(1))
    return failed, False


def exact() -> str:
    kept = sampled = 0
    for case, delta, m in itertools.product(cases(), (0.6, 0.3), (1, 2)):
        failed, deterministic = failure(case, delta, m=m)
        require(failed <= Fraction(delta), f"P = {float(failed)} at delta = {delta}")
        require(failed == 0 or not deterministic, "the kept edges must never err by more than promised")
        kept, sampled = kept + deterministic, sampled + (not deterministic)
    require(min(kept, sampled) > 10, f"both choices must occur, got {kept} and {sampled}")
    return f"all draws of {kept + sampled} cases ({kept} keep the largest edges, {sampled} sample): P <= delta"


def hybrid(factor: float, edges: int = 40, draws: int = 60):
    """Trials: does the choice err by more than the promise / factor at a point of S? Flat and peaked groups in turn."""

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        flat = rng.random((n, 6, edges)) < 0.5  # two activations, or heavy tails
        a = np.where(np.arange(n)[:, None, None] % 2 == 0, flat + 1e-9, rng.pareto(0.4, size=flat.shape))
        g = a / a.sum(axis=2, keepdims=True)
        s = g.max(axis=1)
        total, indptr = s.sum(axis=1), np.arange(n + 1, dtype=np.int64) * edges
        keep = keep_largest(s.ravel(), indptr, np.full(n, 20))
        dropped = dropped_sum(s.ravel(), indptr, keep)
        choice, eps = hybrid_error(dropped, bernstein_eps(total, draws, 0.05))
        counts = draw_counts((s / total[:, None]).ravel(), indptr, np.full(n, draws), rng).reshape(n, edges)
        scale = np.where(choice[:, None], keep.reshape(n, edges), counts * total[:, None] / (draws * s))
        return np.abs((g[:, 0] * scale).sum(axis=1) - 1) > eps * (1 + 1e-12) / factor

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    return judge(hybrid(1.0), delta=0.05, trials=2_000 * effort, name="hybrid, 60 draws or 20 of 40 edges")


def teeth() -> Evidence:
    def caught(factor: float) -> bool:
        return violated(hybrid(factor), delta=0.05, trials=1_000, name="promise divided")

    slack = smallest_sabotage(caught)
    worst = max(float(failure(case, d, peek=True)[0]) / d for case, d in itertools.product(cases(), (0.6, 0.3)))
    require(worst > 1, f"a choice that looks at the draws was not caught: at most {worst} delta")
    text = f"refuted: promise / {slack:g}; falling back after a draw that looks bad on S ({worst:.2f} delta)"
    return Evidence(text=text, slack=slack)
