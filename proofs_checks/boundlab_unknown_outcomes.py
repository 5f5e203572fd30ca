"""An unknown outcome counts against whichever verdict is claimed: then no rule that hides outcomes can break a level.

Proof. M-(n, k) falls in k and M+(n, k) rises: each is an average of (q/delta)^k ((1-q)/(1-delta))^(n-k), and one more
failure multiplies a term by q (1-delta)/(delta (1-q)), at most 1 for q <= delta and at least 1 for q >= delta. If F of
the outcomes are failures, of which some were hidden as unknown, together with some successes, then
failed <= F <= failed + unknown. So M-(n, failed + unknown) <= M-(n, F) and M+(n, failed) <= M+(n, F) at every n, for
every way of hiding, even one that looks at the outcome: both inherit the levels of full sight.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np

from boundlab.verification import Claim, State, verify
from boundlab.verification.judging.evidence import log_e_upheld, log_e_violated
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage
from proofs_checks.proving import prove, reals

THEOREM = Theorem(
    name="Unknown outcomes count against the verdict",
    source="ours",
    given=("trials with failure probability p, whatever hides their outcomes",),
    claim=r"M^-(n, f+u) \le M^-(n, F), \quad M^+(n, f) \le M^+(n, F), \quad f \le F \le f+u",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="verification/judging/rules.py",
        old="upheld = self.upheld(trials, failures + unknown)",
        new="upheld = self.upheld(trials, failures)",
    ),
    Mutation(
        file="verification/judging/rules.py",
        old="violated = self.violated(trials, failures)",
        new="violated = self.violated(trials, failures + unknown)",
    ),
)


def symbolic() -> str:
    q, d = reals("q d")
    inside = [q >= 0, q < 1, d > 0, d < 1]
    prove(q * (1 - d) <= d * (1 - q), *inside, q <= d)
    prove(q * (1 - d) >= d * (1 - q), *inside, q >= d)
    return "z3: one more failure multiplies a term of M- by at most 1 and a term of M+ by at least 1"


def exact() -> str:
    for d in (0.01, 0.1, 0.4):
        for n in (1, 7, 60):
            k = np.arange(n + 1)
            down, up = log_e_upheld(n, k, d), log_e_violated(n, k, d)
            require(np.all(np.diff(down) <= 1e-12) and np.all(np.diff(up) >= -1e-12), f"monotone at n={n}, delta={d}")
    # the shipped run on every row of four outcomes: 0 ok, 1 failed, 2 unknown
    claim, checked, level = Claim(name="hidden outcomes", delta=0.3), 0, math.log(2)
    for row in itertools.product((0, 1, 2), repeat=4):
        got = verify(
            claim, lambda rng, n, row=row: np.array(row), alpha_upheld=0.5, alpha_violated=0.5, max_trials=4, batch=4
        )
        want = State.UNDECIDED
        for n in range(1, 5):
            failed, unknown = row[:n].count(1), row[:n].count(2)
            if log_e_violated(n, failed, 0.3) >= level:
                want = State.VIOLATED
            elif log_e_upheld(n, failed + unknown, 0.3) >= level:
                want = State.UPHELD
            if want is not State.UNDECIDED:
                break
        require(got.state is want, f"{row}: the run says {got.state}, the evidence {want}")
        checked += 1
    # all outcomes of 8 trials, hidden by an adversary: unknown exactly when that would hide the most
    p, level = Fraction(1, 4), math.log(4)
    wrong = Fraction(0)
    for row in itertools.product((0, 1), repeat=8):
        chance = math.prod((p if x else 1 - p for x in row), start=Fraction(1))
        failed, unknown = 0, sum(row)  # every failure is hidden
        wrong += chance * bool(max(log_e_upheld(n, sum(row[:n]), float(p)) for n in range(1, 9)) >= level)
        require(
            log_e_upheld(8, failed + unknown, 0.25) <= log_e_upheld(8, sum(row), 0.25), "hidden failures must count"
        )
    require(wrong <= Fraction(1, 4), f"P(ever upheld at p = delta) = {wrong}")
    return f"{checked} rows of outcomes judged as stated; every failure hidden: wrong with {float(wrong):.3f} <= 1/4"


def hidden(p: float, delta: float):
    """A whole run in which every failure is hidden: is the claim upheld although p > delta?"""
    claim = Claim(name="all failures time out", delta=delta)

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        def outcomes(inner: np.random.Generator, size: int) -> np.ndarray:
            return np.where(rng.random(size) < p, 2, 0)

        return np.array(
            [
                verify(claim, outcomes, alpha_upheld=0.1, max_trials=100, batch=100).state is State.UPHELD
                for _ in range(n)
            ]
        )

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    found = judge(hidden(0.11, 0.1), delta=0.1, trials=300 * effort, name="hidden failures")
    return Evidence(text=f"p = 0.11, delta = 0.1, every failure hidden, level 0.1: {found.text}", trials=found.trials)


def teeth() -> Evidence:
    p, last = 0.25, 10
    seen = np.cumsum(list(itertools.product((0, 1), repeat=last)), axis=1)  # failures after each trial, every row
    chance = p ** seen[:, -1] * (1 - p) ** (last - seen[:, -1])

    def caught(factor: float) -> bool:  # all but a share 1/factor of the hidden failures dropped: k too small
        evidence = log_e_upheld(np.arange(1, last + 1), np.floor(seen / factor).astype(int), p)
        return float(chance[(evidence >= math.log(4)).any(axis=1)].sum()) > 0.25

    slack = smallest_sabotage(caught, (1.5, 2, 3, 4))
    return Evidence(text=f"counting hidden failures {slack:g} times too few breaks the level, exactly", slack=slack)
