"""Limits that hold at every n at once, by inverting one e-process for each candidate rate.

Proof. M-(n, k; c) is an e-process where the rate is at least c, M+ where it is at most c; both are at c = p. U_n < p
means M-(n, k; c) >= 1/alpha for some c < p; as M- rises in c, M-(n, k; p) >= 1/alpha, which happens at some n with
probability at most alpha by Ville's inequality. The lower limit is the same with M+, which falls in c. M- is a mean of
[k=0] (1-c)^-n and of (q/c)^k ((1-q)/(1-c))^(n-k) with q = c v, v uniform: v^k ((1-cv)/(1-c))^(n-k) rises in c for each
v <= 1. M+ has 1 - q = (1-c) e^(-E/b) with E exponential and b = 1/(2c): both q/c and (1-q)/(1-c) rise in h = 1/c - 1.
"""

from __future__ import annotations

import math

import numpy as np
import sympy as sp
from scipy.special import betainc

from boundlab.verification import interval, log_e_upheld, log_e_violated
from boundlab.verification.judging.evidence import lower_limit, upper_limit
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage
from proofs_checks.ville1939_e_process_pair import ever, never, pair

THEOREM = Theorem(
    name="A confidence sequence by inversion",
    source="Darling and Robbins, Confidence sequences for mean, variance, and median (1967), for the idea (item number "
    "not known to us); the monotonicity of this pair in its threshold is proved here",
    given=(
        "independent trials that fail with probability p",
        "M-(n, k; c) and M+(n, k; c): the e-processes at delta = c",
    ),
    claim="With U_n = sup{c: M-(n,k;c) < 1/alpha}, L_n = inf{c: M+(n,k;c) < 1/alpha}: P(exists n: U_n < p) <= alpha, "
    "P(exists n: L_n > p) <= alpha; M- rises and M+ falls in c, so that U_n <= c is 'upheld at c'.",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="verification/judging/evidence.py",
        old="perhaps = surely + _counts(n, unknown)[1]",
        new="perhaps = surely + 0 * _counts(n, unknown)[1]",
    ),
    Mutation(
        file="verification/judging/evidence.py",
        old="return _first(lambda c: _log_upheld(n, k, c) >= level, np.shape(n))[1]",
        new="return _first(lambda c: _log_upheld(n, k, c) >= level, np.shape(n))[0]",
    ),
    Mutation(
        file="verification/judging/evidence.py",
        old="below = _first(lambda c: ~(_log_violated(n, k, c) >= level), np.shape(n))[0]",
        new="below = _first(lambda c: ~(_log_violated(n, k, c) >= level), np.shape(n))[1]",
    ),
)

LAST, ALPHA = 40, 0.05
LOOKS = np.array([10, 20, 40, 80, 160, 320, 640])


def _lattice() -> tuple[np.ndarray, np.ndarray]:
    n = np.repeat(np.arange(LAST + 1), np.arange(1, LAST + 2))
    return n, np.concatenate([np.arange(m + 1) for m in range(LAST + 1)])


def symbolic() -> str:
    c, v, h, e, m = sp.symbols("c v h E m", positive=True)
    # M-: q = c v with the law of v in [0, 1] free of c.
    slope = sp.diff(m * sp.log((1 - c * v) / (1 - c)), c)
    require(sp.simplify(slope - m * (1 - v) / ((1 - c * v) * (1 - c))) == 0, "M- must rise in c: slope m(1-v)/...")
    # M+: 1 - q = (1-c) exp(-E/b) with E ~ Exp(1), h = 1/c - 1 and b = 1/(2c) = (h+1)/2.
    b = (h + 1) / 2
    require(sp.simplify(b.subs(h, 1 / c - 1) - 1 / (2 * c)) == 0, "b must be (h+1)/2")
    x = e / b
    share = (1 - (1 - c) * sp.exp(-e * 2 * c)) / c
    require(sp.simplify(share - (1 + h * (1 - sp.exp(-x))).subs(h, 1 / c - 1)) == 0, "q/c must be 1 + h(1-e^-x)")
    slope = sp.diff(h * (1 - sp.exp(-x)), h)
    require(sp.simplify(slope - (1 - sp.exp(-x) * (1 + x * h / (h + 1)))) == 0, "the slope of q/c in h")
    # 1 + x h/(h+1) <= 1 + x <= e^x, so that the slope is not negative; e^x - 1 - x has slope e^x - 1 > 0 from 0 on.
    y = sp.symbols("y", positive=True)
    require(sp.limit(sp.exp(y) - 1 - y, y, 0) == 0, "e^y - 1 - y must start at 0")
    require((sp.exp(y) - 1).diff(y).is_positive, "e^y - 1 must rise from 0")
    require(sp.simplify(sp.diff(-x, h) - 2 * e / (h + 1) ** 2) == 0, "(1-q)/(1-c) = e^-x must rise in h")
    return "M- rises in c; both factors of M+ rise in h = 1/c - 1, so M+ falls in c"


def exact() -> str:
    n, k = _lattice()
    upper, lower = upper_limit(n, k, ALPHA), lower_limit(n, k, ALPHA)
    for c in (0.003, 0.02, 0.05, 0.1, 0.3, 0.5, 0.7, 0.97):
        same = (upper <= c) == (log_e_upheld(n, k, c) >= -math.log(ALPHA))
        require(same.all(), f"U <= c must be the verdict 'upheld' at c = {c}")
        same = (lower >= c) == (log_e_violated(n, k, c) >= -math.log(ALPHA))
        require(same.all(), f"L >= c must be the verdict 'violated' at c = {c}")
    require(np.all(lower < upper), "the limits must not cross")
    for a, b, u, v in zip(n[::7], k[::7], upper[::7], lower[::7], strict=True):
        require(u == 1 or log_e_upheld(a, b, u) >= -math.log(ALPHA), f"{u} itself must be upheld at {b} of {a}")
        require(v == 0 or log_e_violated(a, b, v) >= -math.log(ALPHA), f"{v} itself must be violated at {b} of {a}")
    table = {(int(a), int(b)): (u, v) for a, b, u, v in zip(n, k, upper, lower, strict=True)}
    worst = [0.0, 0.0]
    for p in np.linspace(0.02, 0.98, 25):
        high = ever(p, _looked_up(table, 0, p), never, LAST)[0]
        low = ever(p, never, _looked_up(table, 1, p), LAST)[1]
        worst = [max(worst[0], high), max(worst[1], low)]
    require(max(worst) <= ALPHA, f"a limit must miss with probability at most {ALPHA}, it is {worst}")
    require(min(worst) > 0.01, f"the check must be able to see a miss, it is {worst}")
    return f"verdicts and limits agree on {8 * len(n)} cells; worst misses {worst[0]:.4f}, {worst[1]:.4f}"


def _looked_up(table: dict[tuple[int, int], tuple[float, float]], side: int, p: float):
    def hit(n: np.ndarray, k: np.ndarray) -> np.ndarray:
        limits = np.array([table[int(a), int(b)][side] for a, b in zip(n, k, strict=True)])
        return np.asarray(limits < p if side == 0 else limits > p)

    return hit


def missed(side: int, p: float):
    """A trial: at some look the limit on one side (0 upper, 1 lower) misses the rate p."""

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        k = np.cumsum(rng.binomial(np.diff(LOOKS, prepend=0), p, size=(n, len(LOOKS))), axis=1)
        stacked = np.stack([np.broadcast_to(LOOKS, k.shape), k]).reshape(2, -1)
        cells, index = np.unique(stacked, axis=1, return_inverse=True)
        limit = (upper_limit, lower_limit)[side](cells[0], cells[1], ALPHA)[index].reshape(k.shape)
        return np.count_nonzero(limit < p if side == 0 else limit > p, axis=1) > 0

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    found = [
        judge(missed(side, 0.03), delta=ALPHA, trials=3_000 * effort, name=f"confidence sequence, side {side}")
        for side in (0, 1)
    ]
    text = f"p = .03 at seven looks, from below: {found[0].text}; from above: {found[1].text}"
    return Evidence(text=text, trials=sum(e.trials for e in found))


def teeth() -> Evidence:
    p = 0.3

    def caught(factor: float) -> bool:
        """Whether limits from evidence that is `factor` times too large miss too often, exactly."""
        return max(ever(p, *pair(p, factor * ALPHA), 200)) > ALPHA

    slack = smallest_sabotage(caught)

    def pointwise(n: np.ndarray, k: np.ndarray) -> np.ndarray:
        return (k < n) & (betainc(np.maximum(n - k, 1), k + 1.0, 1 - p) <= ALPHA)  # P(Bin(n, p) <= k) <= alpha

    peeking = ever(p, pointwise, never, 200)[0]
    require(peeking > 2 * ALPHA, f"pointwise limits looked at 200 times must miss often, it is {peeking}")
    # An unknown outcome that is taken for a success makes the upper limit a lie where the failures hide in it.
    hidden, told = interval(100, 0, 0, alpha_upheld=ALPHA)[1], interval(100, 0, 50, alpha_upheld=ALPHA)[1]
    require(hidden < 0.5 < told, f"50 unknown of 100 must keep 0.5 inside: {hidden} against {told}")
    text = f"refuted exactly: evidence x {slack:g}; Clopper-Pearson at every trial misses with {peeking:.3f} at .05"
    return Evidence(text=text, slack=slack)
