"""A rule with boundaries errs most at its threshold, and nothing that hides outcomes can make it err more.

The rule upholds at the first n with k <= low[n] and refutes at the first with k >= high[n].

Proof. Let P_i be the chance that trial i fails, given the past, and X_i = 1{U_i <= P_i} with U_i uniform. If P_i >= p
for all i, then X_i >= 1{U_i <= p}: the walk lies above one of independent trials of rate p, which meets `low` before
`high` whenever the first does. So P(upheld) is at most that of independent trials at p; P(violated) at least that. Both
are monotone in a constant rate, and a level that holds for independent trials at the threshold holds on its whole side.
If F outcomes fail, of which some are hidden as unknown, together with some successes, then failed <= F <= failed +
unknown: failed + unknown <= low[n] implies F <= low[n], and failed >= high[n] implies F >= high[n]. So each verdict is
at most as likely to be ever met as with full sight, whatever hides the outcomes, also by looking at them.
"""

from __future__ import annotations

import itertools
from fractions import Fraction
from functools import cache

import numpy as np

from boundlab.verification import Claim, Method, State
from boundlab.verification.judging.boundaries import Boundaries
from boundlab.verification.judging.fixed_size import FixedSize
from boundlab.verification.judging.lattice import absorption, stopping_law
from boundlab.verification.judging.methods import rule_for
from boundlab.verification.judging.rules import CountRule
from boundlab.verification.planning import detectable
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage
from proofs_checks.proving import prove, reals

THEOREM = Theorem(
    name="Rules given by boundaries",
    source="ours; a coupling of walks",
    given=("P(X_i = 1 | past) on one side of p, the threshold", "outcomes hidden in any way"),
    claim=r"\Pr[\exists n: f_n + u_n \le \mathrm{low}_n] \le \Pr_p[\exists n: k_n \le \mathrm{low}_n], \quad "
    r"\Pr[\exists n: f_n \ge \mathrm{high}_n] \le \Pr_p[\exists n: k_n \ge \mathrm{high}_n]",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="verification/judging/rules.py",
        old="return k <= self.boundaries(int(np.max(n))).low[n]",
        new="return k <= self.boundaries(int(np.max(n))).low[n] + 1",
    ),
    Mutation(
        file="verification/judging/rules.py",
        old="return k >= self.boundaries(int(np.max(n))).high[n]",
        new="return k >= self.boundaries(int(np.max(n))).high[n] - 1",
    ),
    Mutation(
        file="verification/judging/lattice.py",
        old="fails = p if population == 0 else (failing - k + 1) / left",
        new="fails = p if population == 0 else (failing - k) / left",
    ),
    Mutation(
        file="verification/judging/lattice.py",
        old="at_high[n] += mass[end] if end >= high[n] else 0.0",
        new="at_high[n] += mass[end] if end > high[n] else 0.0",
    ),
    Mutation(
        file="verification/judging/lattice.py",
        old="while first <= end and (first <= low[n]",
        new="while (first < low[n]",
    ),
    Mutation(
        file="verification/judging/fixed_size.py",
        old='positive_int("n", n)) - 1',
        new='positive_int("n", n))',
    ),
    Mutation(
        file="verification/judging/boundaries.py",
        old='return Boundaries(np.searchsorted(first, n, "right") - 1,',
        new='return Boundaries(np.searchsorted(first, n, "right"),',
    ),
    Mutation(
        file="verification/planning.py",
        old="law(m / parts).low.sum()) < wanted, 0, stop) - 1",
        new="law(m / parts).low.sum()) < wanted, 0, stop)",
    ),
)

METHODS = tuple(Method)


def rule(method: Method, delta: float, alpha: float, size: int = 40) -> CountRule:
    """The shipped rule, at one level on both sides."""
    found = rule_for(Claim(name="boundaries", delta=delta), method, alpha, alpha, size)
    if not isinstance(found, CountRule):
        raise AssertionError("a rule for one rate must look at counts")
    return found


def symbolic() -> str:
    a, b, p, r = reals("a b p r")
    # Backwards in n: V(n, k) is 1 at `low`, 0 at `high` and else (1 - p) V(n + 1, k) + p V(n + 1, k + 1).
    prove((1 - r) * a + r * b <= (1 - p) * a + p * b, a >= b, r >= p)
    f, u, F, low, high = reals("f u F low high")
    prove(low >= F, f <= F, f + u >= F, f + u <= low)
    prove(high <= F, f <= F, f + u >= F, f >= high)
    c = reals("c")[0]
    prove((1 - p) * a + p * b >= (1 - p) * b + p * c, a >= b, b >= c, p >= 0, p <= 1)
    return "z3: P(upheld from here) falls in k, by induction backwards in n, and so in the rate; hidden outcomes"


def random_boundaries(rng: np.random.Generator, last: int) -> Boundaries:
    low = np.cumsum(rng.random(last + 1) < 0.3) - 2
    return Boundaries(low, low + 2 + np.cumsum(rng.random(last + 1) < 0.3))


def by_paths(ends: Boundaries, last: int, chance) -> tuple[list[Fraction], list[Fraction]]:
    """The law of the first meeting, over every path; chance(n, k) is that of the next failure.

    A path that stops at n is the beginning of 2^(last - n) paths of full length.
    """
    low, high = [Fraction(0)] * (last + 1), [Fraction(0)] * (last + 1)
    for path in itertools.product((0, 1), repeat=last):
        weight, k = Fraction(1), 0
        seen = 0
        for n, x in enumerate(path, 1):
            fails = chance(n - 1, k)
            weight, k, seen = weight * (fails if x else 1 - fails), k + x, n
            if k <= ends.low[n] or k >= ends.high[n]:
                break
        if k <= ends.low[seen] or k >= ends.high[seen]:
            (low if k <= ends.low[seen] else high)[seen] += weight / 2 ** (last - seen)
    return low, high


def exact() -> str:
    rng, last = np.random.default_rng(0), 9
    for trial in range(20):
        ends, p = random_boundaries(rng, last), Fraction(int(rng.integers(1, 16)), 16)
        population, failing = last + int(rng.integers(0, 4)), int(rng.integers(0, last))
        for size, share, chance in (
            (None, p, lambda n, k, p=p: p),
            (
                population,
                Fraction(failing, population),
                lambda n, k, K=failing, N=population: Fraction(max(0, K - k), N - n),
            ),
        ):
            want = by_paths(ends, last, chance)
            got = stopping_law(ends, float(share), population=size)
            for ours, theirs in zip((got.low, got.high), want, strict=True):
                require(np.allclose(ours, [float(w) for w in theirs], rtol=1e-12, atol=1e-15), f"walk {trial}")
    walks = f"20 random walks of {last}, with and without replacement, path by path"
    return f"{walks}; {_levels()}; {_hidden()}; {_both_ends()}"


def _levels() -> str:
    """Errors at the threshold, exactly, by the compiled recursion and by the plain one; their monotonicity in p."""
    found = []
    for method in METHODS:
        judged = rule(method, 0.05, 0.05, 600)
        ends = judged.boundaries(6_000 if method is not Method.FIXED else 600)
        at = stopping_law(ends, 0.05)
        errors = float(at.low.sum()), float(at.high.sum())
        require(max(errors) <= 0.05, f"{method}: errors {errors} at the threshold")
        require(min(errors) > 0.01, f"{method}: errors {errors} leave too much of the level")
        plain = absorption(judged.upheld, judged.violated, 0.05, 300)
        short = stopping_law(judged.boundaries(300), 0.05)
        require(abs(plain.low - short.low.sum()) + abs(plain.high - short.high.sum()) < 1e-12, f"{method}: recursions")
        path = [stopping_law(ends, p) for p in (0.01, 0.03, 0.05, 0.06, 0.1)]
        require(np.all(np.diff([law.low.sum() for law in path]) <= 1e-12), f"{method}: P(upheld) must fall in p")
        require(np.all(np.diff([law.high.sum() for law in path]) >= -1e-12), f"{method}: P(violated) must rise in p")
        found.append(f"{method} {errors[0]:.4f}, {errors[1]:.4f}")
    return f"false upheld and violated at p = delta = alpha = .05: {'; '.join(found)}"


def best_adversary(judged: CountRule, p: float, last: int, goal: State) -> float:
    """The largest P(goal) over every way to hide outcomes, also by looking at them and at the past."""

    @cache
    def value(n: int, failed: int, unknown: int) -> float:
        if n:
            if goal is State.UPHELD and failed + unknown <= ends.low[n]:
                return 1.0
            if goal is State.VIOLATED and failed >= ends.high[n]:
                return 1.0
        if n == last:
            return 0.0
        hidden = value(n + 1, failed, unknown + 1)
        return p * max(hidden, value(n + 1, failed + 1, unknown)) + (1 - p) * max(hidden, value(n + 1, failed, unknown))

    ends = judged.boundaries(last)
    return value(0, 0, 0)


def _hidden() -> str:
    last, worst = 40, 0.0
    for method, delta, alpha in itertools.product(METHODS, (0.1, 0.3), (0.05, 0.3)):
        judged = rule(method, delta, alpha, last)
        errors = [best_adversary(judged, delta, last, goal) for goal in (State.UPHELD, State.VIOLATED)]
        require(max(errors) <= alpha, f"{method}, delta {delta}: hiding outcomes reaches {errors} at level {alpha}")
        worst = max(worst, max(errors) / alpha)
    # the shipped look, on every row of outcomes: unknown counts against both verdicts
    for method in METHODS:
        judged = rule(method, 0.4, 0.4, 5)
        ends = judged.boundaries(5)
        for row in itertools.product((0, 1, 2), repeat=5):
            state, _, taken = judged.look(judged.start(), np.array(row, np.int8))
            want, at = State.UNDECIDED, 5
            for n in range(1, 6):
                failed, unknown = row[:n].count(1), row[:n].count(2)
                if failed >= ends.high[n] or failed + unknown <= ends.low[n]:
                    want, at = State.VIOLATED if failed >= ends.high[n] else State.UPHELD, n
                    break
            require((state, taken) == (want, at), f"{method}, {row}: {state} after {taken}, not {want} after {at}")
    return f"40 outcomes hidden as well as can be: at most {worst:.3f} of each level"


def _both_ends() -> str:
    found = detectable(0.1, 300, alpha_upheld=0.05, alpha_violated=0.05, power=0.9)
    ends = rule(Method.E_PROCESS, 0.1, 0.05).boundaries(300)
    for ratio, side, step in ((found.upheld, "low", 1e-4), (found.violated, "high", -1e-4)):
        if ratio is None:
            raise AssertionError("300 trials must tell something")
        at, beyond = (float(getattr(stopping_law(ends, 0.1 * r), side).sum()) for r in (ratio, ratio + step))
        require(at >= 0.9 > beyond, f"{side}: power {at} at {ratio} and {beyond} beyond it")
    return f"300 trials tell {found.upheld} delta and {found.violated} delta from delta, and no less"


def wrong(goal: State):
    """A dependent path on the null's side, its failures hidden with chance 1/2: does it end in the wrong verdict?"""
    judged = rule(Method.REPEATED, 0.1, 0.1)
    ends, last = judged.boundaries(600), 600
    jump = 1.3 if goal is State.UPHELD else 0.7

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        failed, unknown, before = (np.zeros(n, np.int64) for _ in range(3))
        met = np.zeros(n, bool)
        for m in range(1, last + 1):
            before = (rng.random(n) < np.where(before == 1, 0.1 * jump, 0.1)).astype(np.int64)
            hidden = rng.random(n) < 0.5 * before
            failed, unknown = failed + (before & ~hidden), unknown + hidden
            met |= failed + unknown <= ends.low[m] if goal is State.UPHELD else failed >= ends.high[m]
        return met

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    found = [
        judge(wrong(goal), delta=0.1, trials=2_000 * effort, name=f"hidden and dependent, {goal}")
        for goal in (State.UPHELD, State.VIOLATED)
    ]
    text = f"dependent failures, half of them hidden; wrongly upheld: {found[0].text}; violated: {found[1].text}"
    return Evidence(text=text, trials=sum(e.trials for e in found))


def teeth() -> Evidence:
    def caught(factor: float) -> bool:  # a boundary for another threshold
        wrong_one = FixedSize(
            at_upheld=0.05 * factor, at_violated=0.05 / factor, alpha_upheld=0.05, alpha_violated=0.05, size=900
        )
        law = stopping_law(wrong_one.boundaries(900), 0.05)
        return max(float(law.low.sum()), float(law.high.sum())) > 0.05

    slack = smallest_sabotage(caught)
    return Evidence(text=f"a threshold off by {slack:g} breaks the level, exactly", slack=slack)
