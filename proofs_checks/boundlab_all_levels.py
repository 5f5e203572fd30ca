r"""A bound for all failure probabilities at once is judged level by level, on the same trials, at alpha/J each.

Proof. The theorem bounds an error by eps(delta), which does not rise with delta. Let U be the largest delta with error
<= eps(delta), 0 if there is none. The levels that cover the error are (0, U], since eps does not rise; so the trial
failed at delta, error > eps(delta), if and only if U < delta, and "the claim holds at every level" reads P(U < u) <= u
for all u. At each of J levels the bits 1{U < delta_j} feed a pair of e-processes whose crossings of J/alpha have
probability at most alpha/J where the level's claim is false (M-) or true (M+); by the union bound no level is wrongly
upheld, but for alpha_upheld, and none wrongly violated, but for alpha_violated, however the bits of different levels
depend on each other, and at all times together. A level whose verdict is its first crossing keeps these levels.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import Any

import numpy as np
import z3

from boundlab.verification import Claim, State, log_e_upheld, log_e_violated
from boundlab.verification.levels import AllLevels, largest_level, verify_levels
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage
from proofs_checks.proving import prove, reals

THEOREM = Theorem(
    name="All levels of one theorem at once",
    source="ours; Bonferroni over Ville's inequality",
    given=("eps(delta) does not rise with delta", "independent trials, J levels fixed beforehand"),
    claim=r"\{\mathrm{error} > \varepsilon(\delta)\} = \{U < \delta\}, \qquad "
    r"\Pr[\exists n, j: M^+_n(\delta_j) \ge J/\alpha,\ \Pr[U < \delta_j] \le \delta_j] \le \alpha",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="verification/levels.py",
        old="part = (1.0 - 2.0**-50) / len(self.levels)",
        new="part = (1.0 - 2.0**-50)",
    ),
    Mutation(
        file="verification/levels.py",
        old="np.isnan(outcomes), Outcome.UNKNOWN, outcomes < delta)",
        new="np.isnan(outcomes), Outcome.UNKNOWN, outcomes <= delta)",
    ),
    Mutation(
        file="verification/levels.py",
        old="np.isnan(outcomes), Outcome.UNKNOWN, outcomes < delta)",
        new="np.isnan(outcomes), Outcome.OK, outcomes < delta)",
    ),
    Mutation(
        file="verification/levels.py", old='_grid(self.levels), side="left")', new='_grid(self.levels), side="right")'
    ),
    Mutation(file="verification/levels.py", old="taken = min(red)", new="taken = max(red)"),
    Mutation(
        file="verification/levels.py",
        old="error[:, None] <= bound[None, :], at[None, :], 0.0).max(axis=1)",
        new="error[:, None] <= bound[None, :], at[None, :], 0.0).min(axis=1)",
    ),
)

LEVELS = (0.5, 0.25)


def symbolic() -> str:
    eps: Any = z3.Function("eps", z3.RealSort(), z3.RealSort())
    error, u, d, a, b = reals("error u d a b")
    falls = z3.ForAll([a, b], z3.Implies(z3.And(a > 0, a <= b), eps(a) >= eps(b)))
    largest = z3.ForAll([a], z3.Implies(z3.And(a > 0, error <= eps(a)), a <= u))
    prove((error > eps(d)) == (u < d), falls, largest, u > 0, d > 0, error <= eps(u))
    prove(error > eps(d), largest, u == 0, d > 0)
    return "z3: for every non-increasing eps, error > eps(delta) if and only if U < delta; U = 0 fails everywhere"


def by_hand(row: tuple[float, ...], delta: float, up: float, down: float) -> tuple[State, int]:
    """One level's first crossing, from the evidence itself."""
    for n in range(1, len(row) + 1):
        failed, unknown = sum(u < delta for u in row[:n]), sum(math.isnan(u) for u in row[:n])
        if log_e_violated(n, failed, delta) >= -math.log(down):
            return State.VIOLATED, n
        if log_e_upheld(n, failed + unknown, delta) >= -math.log(up):
            return State.UPHELD, n
    return State.UNDECIDED, 0


def whole(row: tuple[float, ...], alpha: float) -> dict[float, tuple[State, int]]:
    """Every level's verdict by the shipped rule, fed in two blocks, up to the trial that ends the run."""
    rule = AllLevels(levels=LEVELS, alpha_upheld=alpha, alpha_violated=alpha)
    tally, values = rule.start(), np.array(row)
    half = len(row) // 2
    for part in (values[:half], values[half:]):
        state, tally, _ = rule.look(tally, part)
        if state is not State.UNDECIDED:
            break
    decided = zip(tally["states"], tally["decided"], strict=True)
    return {d: (State(s), n) for d, (s, n) in zip(LEVELS, decided, strict=True)}


def exact() -> str:
    # every row of five trials, with values on, between and below the levels, and unknown ones: as by hand
    checked = 0
    for row in itertools.product((0.1, 0.25, 0.5, math.nan), repeat=5):
        wanted = {d: by_hand(row, d, 0.7 / 2, 0.7 / 2) for d in LEVELS}
        red = [n for state, n in wanted.values() if state is State.VIOLATED]
        end = min(red) if red else len(row)
        wanted = {d: (s, n) if n <= end else (State.UNDECIDED, 0) for d, (s, n) in wanted.items()}
        require(whole(row, 0.7) == wanted, f"{row}: {whole(row, 0.7)}, by hand {wanted}")
        checked += 1
    # the law of U on the border of both claims: P(U < 1/4) = 1/4, P(U < 1/2) = 1/2
    law = {0.1: Fraction(1, 4), 0.3: Fraction(1, 4), 0.9: Fraction(1, 2)}
    alpha, wrong = Fraction(7, 10), {State.VIOLATED: Fraction(0), State.UPHELD: Fraction(0)}
    for row in itertools.product(law, repeat=6):
        found = {state for state, _ in whole(row, float(alpha)).values()}
        chance = math.prod((law[u] for u in row), start=Fraction(1))
        for state in wrong:
            wrong[state] += chance * (state in found)
    require(max(wrong.values()) <= alpha, f"on the border: {wrong}")
    table = largest_level(np.array([0.2, 0.4, 0.41, 1.0, 3.0]), (0.125, 0.25, 0.5), (2.0, 1.0, 0.4))
    require(table.tolist() == [0.5, 0.5, 0.25, 0.25, 0.0], f"the table's levels: {table}")
    return (
        f"{checked} rows judged as by hand; on the border of both levels any wrong verdict has probability "
        f"{float(wrong[State.VIOLATED]):.3f} and {float(wrong[State.UPHELD]):.3f} <= 0.7"
    )


def detected(sigma: float, trials: int, alpha: float = 0.05):
    """Is "sub-Gaussian with parameter 1" violated at some of twelve levels by normal errors of deviation sigma?"""
    claim = Claim(name="sub-Gaussian with parameter 1", delta=0.5)

    def levels(rng: np.random.Generator, n: int) -> np.ndarray:
        return np.minimum(1.0, 2.0 * np.exp(-((sigma * rng.normal(size=n)) ** 2) / 2))

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        return np.array(
            [
                verify_levels(
                    claim, levels, alpha_violated=alpha, seed=int(rng.integers(2**60)), max_trials=trials, batch=trials
                ).state
                is State.VIOLATED
                for _ in range(n)
            ]
        )

    return trial


def super_uniform(alpha: float, trials: int):
    """Is a law on the border of every level, U uniform, wrongly violated?"""
    claim = Claim(name="uniform", delta=0.5)

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        return np.array(
            [
                verify_levels(
                    claim,
                    lambda own, size: own.random(size),
                    alpha_violated=alpha,
                    seed=int(rng.integers(2**60)),
                    max_trials=trials,
                    batch=trials,
                ).state
                is State.VIOLATED
                for _ in range(n)
            ]
        )

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    found = judge(super_uniform(0.1, 200), delta=0.1, trials=200 * effort, name="all levels on the border")
    judge(detected(1.0, 200), delta=0.05, trials=150 * effort, name="a true theorem at all levels")
    return Evidence(text=f"uniform U, 12 levels, alpha 0.1: {found.text}", trials=found.trials + 150 * effort)


def teeth() -> Evidence:
    def caught(factor: float) -> bool:
        return bool(detected(factor, 3_000, 1e-6)(np.random.default_rng(7), 1)[0])

    slack = smallest_sabotage(caught, (1.2, 1.4, 1.6, 2.0, 2.5, 3.0))
    return Evidence(text=f"errors {slack:g} times too large are caught in 3,000 trials at 1e-6", slack=slack)
