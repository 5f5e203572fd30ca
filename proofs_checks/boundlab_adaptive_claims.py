r"""Which claim is judged next may depend on all that was seen, as long as its coins are fresh: the levels add up.

Proof. Let the k-th claim, k = 1 ... K, be any function of the coins of the verdicts before it and of a search on yet
other coins. Given these, it is a fixed claim, and its trials are independent of them: the verdict is wrong with
probability at most alpha/K, given the past, hence without it, and the union bound over k gives alpha for all. One
search and one verdict, K = 1, cost nothing. A bisection between two sizes is such a choice: it asks for both ends and
for midpoints, towards the smallest upheld and then towards the largest violated size: 2 ceil(log2(high - low)) + 2
sizes at most, since d > 1 leaves at most ceil(d/2). If no verdict is wrong, every upheld size keeps the
promise and no violated one does; where the failure probability does not rise with the size, the smallest size that
keeps it lies above every violated size and not above any upheld one.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import Any

import numpy as np
import z3

from boundlab.verification import Claim, State, verify
from boundlab.verification.judging.rules import EProcesses
from boundlab.verification.points import searched_point, verify_at_points
from boundlab.verification.solving import _search, _share, solve
from boundlab.verification.trials import AtPoint
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage
from proofs_checks.proving import prove, reals

THEOREM = Theorem(
    name="Claims chosen by what was seen",
    source="ours; the union bound over fresh coins",
    given=("each verdict on coins that are independent of what chose its claim", "K verdicts at most, K fixed"),
    claim=r"\Pr[\text{some verdict is wrong}] \le \sum_{k \le K} \alpha/K = \alpha; \qquad p \text{ falling in } m: "
    r"m_{\text{violated}} < m^* \le m_{\text{upheld}}",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="verification/solving.py",
        old="(1.0 - 2.0**-50) / (2 * (high - low - 1).bit_length() + 2)",
        new="(1.0 - 2.0**-50) / (2 * (high - low - 1).bit_length() + 1)",
    ),
    Mutation(file="verification/solving.py", old="alpha_upheld=levels[0] * share", new="alpha_upheld=levels[0]"),
    Mutation(file="verification/solving.py", old="alpha_violated=levels[1] * share", new="alpha_violated=levels[1]"),
    Mutation(file="verification/solving.py", old="middle = (low + high) // 2", new="middle = (low + 3 * high) // 4"),
    Mutation(
        file="verification/solving.py",
        old="if state is State.UPHELD:",
        new="if state is not State.VIOLATED:",
    ),
    Mutation(file="verification/points.py", old='f"{claim.id}*search"', new="claim.id"),
    Mutation(file="verification/points.py", old="level / len(listed) * (1.0", new="level * (1.0"),
)

LOW, HIGH, DELTA, HORIZON = 1, 9, 0.3, 40


def symbolic() -> str:
    whole: list[Any] = list(z3.Ints("d half power"))
    d, half, power = whole
    # half = ceil(d/2): a distance in (power, 2 power] leaves one in (power/2, power], one step of the logarithm
    rounded = [2 * half >= d, 2 * half <= d + 1, d >= 2, power >= 1]
    prove(z3.And(half <= power, 2 * half > power), *rounded, d > power, d <= 2 * power)
    alpha, K = reals("alpha K")
    prove(K * (alpha / K) == alpha, K >= 1, alpha > 0)
    return "z3: a midpoint leaves at most ceil(d/2), one step of ceil(log2 d); K verdicts at alpha/K add up to alpha"


def asked(low: int, high: int, answers: tuple[State, ...]) -> list[tuple[int, State]]:
    """The shipped search on scripted answers, in turn."""
    seen: list[tuple[int, State]] = []

    def ask(m: int) -> State:
        seen.append((m, answers[len(seen)]))
        return seen[-1][1]

    _search(low, high, ask)
    return seen


def law(p: float, alpha: float) -> dict[State, float]:
    """The exact law of one verdict: the shipped e-processes on trials that fail with p, up to the horizon."""
    rule = EProcesses(at_upheld=DELTA, at_violated=DELTA, alpha_upheld=alpha, alpha_violated=alpha)
    alive, out = {0: 1.0}, {State.UPHELD: 0.0, State.VIOLATED: 0.0, State.UNDECIDED: 0.0}
    for n in range(1, HORIZON + 1):
        after: dict[int, float] = {}
        for k, mass in alive.items():
            for step, chance in ((0, 1 - p), (1, p)):
                after[k + step] = after.get(k + step, 0.0) + mass * chance
        k = np.array(sorted(after))
        high, low = rule.violated(np.full_like(k, n), k), rule.upheld(np.full_like(k, n), k)
        alive = {}
        for j, up, down in zip(k.tolist(), low, high, strict=True):
            state = State.VIOLATED if down else State.UPHELD if up else None
            if state is None:
                alive[j] = after[j]
            else:
                out[state] += after[j]
    out[State.UNDECIDED] = sum(alive.values())
    return out


def wrong(split: float) -> float:
    """P(some wrongly upheld size) of the whole search, exactly: all sizes but the largest fail a little too often."""
    laws = {HIGH: law(0.01, 0.3 * split)} | {m: law(DELTA + 1e-9, 0.3 * split) for m in range(LOW, HIGH)}
    total = 0.0
    todo: list[tuple[State, ...]] = [()]
    while todo:
        start = todo.pop()
        try:
            seen = asked(LOW, HIGH, start)
        except IndexError:  # the search asks for more
            todo += [(*start, state) for state in State]
            continue
        if len(seen) == len(start):
            chance = math.prod(laws[m][state] for m, state in seen)
            total += chance * any(state is State.UPHELD and m < HIGH for m, state in seen)
    return total


def exact() -> str:
    longest = 0
    for low, high in itertools.chain(((1, d + 1) for d in range(1, 40)), ((7, 1007), (50, 20_000))):
        most = 2 * math.ceil(math.log2(high - low)) + 2
        share = Fraction(_share(low, high))
        require(share * most <= 1 < share * most * Fraction(1000001, 1000000), f"alpha/K for {low} to {high}")
        for truth in {low, low + 1, (low + high) // 2, high - 1, high}:  # the smallest size that keeps the promise
            for veil in (0, 1, 3):  # sizes this near to it stay undecided
                seen: list[tuple[int, State]] = []

                def ask(m: int, truth: int = truth, veil: int = veil, seen: list[tuple[int, State]] = seen) -> State:
                    near = truth - veil <= m < truth + veil
                    seen.append((m, State.UNDECIDED if near else State.UPHELD if m >= truth else State.VIOLATED))
                    return seen[-1][1]

                _search(low, high, ask)
                longest = max(longest, len(seen) - most)
                require(len({m for m, _ in seen}) == len(seen) <= most, f"{len(seen)} sizes asked, at most {most}")
                above = [m for m, state in seen if state is State.UPHELD]
                if truth + veil <= high:
                    require(min(above) == max(truth + veil, low), f"upheld from {min(above)}, not {truth + veil}")
                below = [m for m, state in seen if state is State.VIOLATED]
                if above and truth - veil > low:
                    require(max(below) == truth - veil - 1, f"violated to {max(below)}, not {truth - veil - 1}")
    require(longest >= -2, "the count of verdicts is nearly reached")
    full, none = wrong(_share(LOW, HIGH)), wrong(1.0)
    require(full <= 0.3 < none, f"P(wrong) = {full} split, {none} not split")
    return f"at most 2 ceil(log2 d) + 2 sizes; P(wrongly upheld) = {full:.3f} <= 0.3, and {none:.3f} without the split"


def promise(m: int) -> tuple[Claim, object]:
    claim = Claim(name="a size", delta=DELTA, parameters={"m": m})
    return claim, lambda rng, n: rng.random(n) < (0.01 if m == HIGH else DELTA + 1e-9)


def searches(alpha: float):
    """A whole search: is a size upheld that fails a little too often?"""

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        seeds = rng.integers(2**60, size=n).tolist()
        return np.array([_upheld(solve(promise, low=LOW, high=HIGH, seed=s, **_levels(alpha))) < HIGH for s in seeds])

    return trial


def _levels(alpha: float) -> dict:
    return {"alpha_upheld": alpha, "alpha_violated": 1e-6, "max_trials": HORIZON, "batch": HORIZON}


def _upheld(found) -> int:
    return HIGH if found.upheld is None else found.upheld


def coin(rng: np.random.Generator) -> int:
    return int(rng.integers(20))


def hit(artefact: int, x: np.ndarray) -> np.ndarray:
    return x[:, 0] == artefact


def biased(rng: np.random.Generator, n: int) -> np.ndarray:
    """The search takes the point at which its own coin fails: does the first trial of the verdict fail there too?"""
    claim, outcomes = Claim(name="each x fails with 1/20", delta=0.5, over="coins | x fixed"), np.zeros(n, bool)
    for k, seed in enumerate(rng.integers(2**60, size=n).tolist()):
        x = searched_point(claim, lambda own: np.array([coin(own)]), seed=seed)
        outcomes[k] = verify(claim, AtPoint(coin, hit, x), seed=seed, max_trials=1).failures == 1
    return outcomes


def monte_carlo(effort: int = 1) -> Evidence:
    found = judge(searches(0.3), delta=0.3, trials=150 * effort, name="bisection on the border")
    levels = {v.alpha_upheld for _, v in solve(promise, low=LOW, high=HIGH, **_levels(0.3)).verdicts}
    require(levels == {0.3 * _share(LOW, HIGH)}, f"each verdict at alpha/K, got {levels}")
    violating = {v.alpha_violated for _, v in solve(promise, low=LOW, high=HIGH, **_levels(0.3)).verdicts}
    require(violating == {1e-6 * _share(LOW, HIGH)}, f"each verdict at alpha/K, got {violating}")
    listed = verify_at_points(Claim(name="p", delta=0.5, over="coins | x fixed"), coin, hit, [[1.0], [2.0]])
    require(all(0.99 < 2 * v.alpha_upheld / 1e-3 <= 1 for v in listed.verdicts), "alpha/2 at each of two points")
    search = judge(biased, delta=0.15, trials=200 * effort, name="search, then fresh coins")
    return Evidence(
        text=f"P(wrongly upheld) at alpha 0.3: {found.text}; at a searched point: {search.text}",
        trials=found.trials + search.trials,
    )


def teeth() -> Evidence:
    def caught(factor: float) -> bool:  # alpha/K that many times too large
        return wrong(min(1.0, factor * _share(LOW, HIGH))) > 0.3

    slack = smallest_sabotage(caught, (1.5, 2, 2.5, 3, 4, 5, 6))
    return Evidence(text=f"levels {slack:g} times too large break alpha over the whole search, exactly", slack=slack)
