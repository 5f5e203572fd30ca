r"""What one trial is, for each quantifier: its outcome has the probability that the claim speaks of, or errs safely.

Proof. Coins C are fresh in every trial, inputs x are fresh where the claim says so, and F(C, x) is the failure.
(joint) C and x both fresh: independent trials with P(F) over both. (point) x fixed: P_C(F(C, x)). (everywhere) the
trial's bit is "some x fails"; a search that finds such an x shows it, an analytic certificate shows that there is none,
and all else is unknown, which counts against either verdict. (nested) an e-process at the rate gamma says "ok" of an
artefact with rate above gamma with probability at most beta_U, "failed" of one with rate at most gamma with at most
beta_L (Ville, given C). (mean over a set) the share of failing members has the mean over coins and a uniform member,
and shares of different coins are independent, which their single outcomes are not. None of these follows from another:
coins that all fail at rate delta keep a joint claim at delta and break a nested one at any gamma < delta.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from boundlab.concentration.binomial import upper_limit
from boundlab.verification import Claim, Outcome, State, verify
from boundlab.verification.crossed import verify_crossed
from boundlab.verification.trials import AtPoint, Everywhere, FreshPairs, OverSet, Searched, SharedInputs, nested_trial
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage
from proofs_checks.proving import counterexample, prove, reals

THEOREM = Theorem(
    name="One trial for each quantifier",
    source="ours",
    given=("draw takes fresh coins at each call", "inputs are fresh where the claim says so"),
    claim=r"\Pr[\text{failed}] = \Pr_{C,x}[F],\ \Pr_C[F(C,x)],\ \Pr_C[\exists x: F];\quad "
    r"\mathbb{E}[V_C] = \Pr_{C, x \sim \text{set}}[F];\quad \Pr[\text{ok} \mid R_C > \gamma] \le \beta_U",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="verification/trials.py",
        old="np.concatenate([_answers(self.fails, self.draw(rng), x[k : k + 1]) for k in range(len(x))])",
        new="_answers(self.fails, self.draw(rng), x)",
    ),
    Mutation(
        file="verification/trials.py",
        old="np.concatenate([_answers(self.fails, self.draw(rng), self.x) for _ in range(n)])",
        new="np.repeat(_answers(self.fails, self.draw(rng), self.x), n)",
    ),
    Mutation(
        file="verification/trials.py",
        old="return Outcome.FAILED if found else Outcome.OK if covered else Outcome.UNKNOWN",
        new="return Outcome.FAILED if found else Outcome.OK",
    ),
    Mutation(
        file="verification/trials.py",
        old="return Outcome.UNKNOWN if (outcomes == Outcome.UNKNOWN).any() else Outcome.OK",
        new="return Outcome.OK",
    ),
    Mutation(
        file="verification/trials.py",
        old="np.nan if (o == Outcome.UNKNOWN).any() else np.mean(o == Outcome.FAILED)",
        new="np.mean(o == Outcome.FAILED)",
    ),
    Mutation(
        file="verification/trials.py",
        old="alpha_upheld=up, alpha_violated=down)",
        new="alpha_upheld=down, alpha_violated=up)",
    ),
    Mutation(
        file="verification/trials.py",
        old="return Outcome.OK if state is State.UPHELD else Outcome.FAILED",
        new="return Outcome.FAILED if state is State.UPHELD else Outcome.OK",
    ),
    Mutation(
        file="verification/crossed.py",
        old="cross_upper_limit(failed | unknown, alpha_upheld)",
        new="cross_upper_limit(failed, alpha_upheld)",
    ),
    Mutation(
        file="verification/crossed.py",
        old="cross_upper_limit(~failed, alpha_violated)",
        new="cross_upper_limit(~failed & ~unknown, alpha_violated)",
    ),
    Mutation(
        file="verification/running/course.py",
        old="seed, 0).permutation(members)",
        new="seed, 0).choice(members, len(members))",
    ),
)

WORLD = np.array([[0, 0, 0, 0], [1, 0, 0, 2], [1, 1, 0, 1]])  # coins by points: ok, failed, unknown
COINS = (Fraction(1, 2), Fraction(1, 4), Fraction(1, 4))
POINTS = np.arange(4.0)[:, None]
POINT = Claim(name="a point", delta=0.3, over="coins | x fixed")


class Script:
    """In place of a generator: its `integers` are written beforehand."""

    def __init__(self, values: tuple[int, ...]) -> None:
        """Take the values in their order."""
        self.values = list(values)

    def integers(self, top: int) -> int:
        """The next value."""
        return self.values.pop(0)


def script(*values: int) -> Any:
    return Script(values)


def draw(rng: np.random.Generator) -> int:
    return int(rng.integers(3))


def fails(coin: int, x: np.ndarray) -> np.ndarray:
    return WORLD[coin, x[:, 0].astype(int)]


def symbolic() -> str:
    share, low, high, gamma, delta = reals("share low high gamma delta")
    inside = [share >= 0, share <= 1, low >= 0, low <= gamma, gamma < high, high <= 1, gamma > 0, delta > 0, delta < 1]
    joint = share * high + (1 - share) * low  # a share of coins above gamma
    prove(share * gamma <= joint, *inside)  # Markov, the only way from joint to nested
    counterexample(share <= delta, *inside, joint <= delta)
    counterexample(joint <= delta, *inside, share <= delta)
    return "z3: P(R > gamma) <= joint/gamma, and neither the joint claim nor the nested one implies the other"


def exact() -> str:
    for pair in itertools.product(range(3), repeat=2):  # all coins of two trials: outcomes as if each were alone
        for rows in itertools.product(range(4), repeat=2):
            x = POINTS[list(rows)]
            got = FreshPairs(draw, fails)(script(*pair), x)
            require(got.tolist() == [WORLD[c, r] for c, r in zip(pair, rows, strict=True)], f"pairs {pair} at {rows}")
        for at in range(4):
            got = AtPoint(draw, fails, POINTS[at])(script(*pair), 2)
            require(got.tolist() == WORLD[list(pair), at].tolist(), f"point {at}, coins {pair}")
        got = Everywhere(draw, fails, POINTS)(script(*pair), 2)
        want = [1 if 1 in WORLD[c] else 2 if 2 in WORLD[c] else 0 for c in pair]
        require(got.tolist() == want, f"everywhere, coins {pair}: {got}")
        blind = Everywhere(draw, fails, POINTS[2:])(script(*pair), 2)  # without the points that fail for sure
        require(blind.tolist() == [{0: 0, 1: 2, 2: 1}[c] for c in pair], f"two points, coins {pair}: {blind}")
        shares = SharedInputs(draw, fails, POINTS)(script(*pair), 2)
        want = [math.nan if 2 in WORLD[c] else np.mean(WORLD[c] == 1) for c in pair]
        require(np.array_equal(shares, want, equal_nan=True), f"shares, coins {pair}: {shares}")
    members = SharedInputs(draw, lambda c, x: fails(c, x) == 1, POINTS)
    mean = sum(p * Fraction(float(members(script(c), 1)[0])) for c, p in enumerate(COINS))
    both = sum(p * Fraction(int((WORLD[c] == 1).sum()), 4) for c, p in enumerate(COINS))
    require(mean == both, f"the mean share {mean} is P over coins and a uniform member, {both}")
    for coin, known in itertools.product(range(3), (False, True)):  # a search that sees the first `reach` points only
        for reach in range(5):
            found = bool((WORLD[coin, :reach] == 1).any())
            trial = Searched(draw, lambda c, rng, f=found: f, (lambda c: 1 not in WORLD[c]) if known else None)
            got, truth = int(trial(script(coin), 1)[0]), int(1 in WORLD[coin])
            safe = got in (truth, 2) and (got != 2 or not (known and not truth)) and (known or got != 0)
            require(safe, f"search of {reach} points, coin {coin}: {got}, truth {truth}")
    inner = nested_by_rows()
    order = whole_set()
    table = np.array([[1, 2], [0, 0]])
    sides = verify_crossed(table, 0.3, alpha_upheld=0.3, alpha_violated=0.3)
    require(
        sides.interval[0] <= verify_crossed(table == 1, 0.3, alpha_upheld=0.3, alpha_violated=0.3).interval[0]
        and sides.interval[1] >= verify_crossed(table > 0, 0.3, alpha_upheld=0.3, alpha_violated=0.3).interval[1],
        "an unknown outcome widens the limits to either side",
    )
    return f"all coins of two trials, for every quantifier; {inner}; {order}"


def nested_by_rows() -> str:
    """P(ok | R just above gamma) and P(failed | R = gamma) of the shipped trial, by all rows of inner outcomes."""
    gamma, up, down, last = 0.5, 0.3, 0.1, 9
    claim = Claim(name="n", delta=0.2, over="coins, P_x", gamma=gamma, beta_upper=up, beta_lower=down)
    wrong = {Outcome.OK: Fraction(0), Outcome.FAILED: Fraction(0)}
    for row in itertools.product((0, 1), repeat=last):
        rest = iter(row)

        def take(rng: np.random.Generator, n: int, rest: Iterator[int] = rest) -> np.ndarray:
            return np.array([next(rest) for _ in range(n)], float)[:, None]

        trial = nested_trial(claim, draw, lambda c, x: x[:, 0] == 1, take, last)
        got = Outcome(int(trial(script(0), 1)[0]))
        if got in wrong:
            wrong[got] += Fraction(1, 2**last)  # at R = gamma = 1/2, the border of both
    require(0 < wrong[Outcome.OK] <= Fraction(up), f"P(ok) = {wrong[Outcome.OK]} at the border, beta_upper = {up}")
    require(0 < wrong[Outcome.FAILED] <= Fraction(down), f"P(failed) = {wrong[Outcome.FAILED]}, beta_lower = {down}")
    return (
        f"nested, {2**last} rows: ok {float(wrong[Outcome.OK]):.3f} <= {up}, failed {float(wrong[Outcome.FAILED]):.3f}"
    )


def whole_set() -> str:
    """A finite set is tried member by member, each once, in an order that claim and seed fix."""
    seen: list[float] = []

    def note(artefact: None, x: np.ndarray) -> np.ndarray:
        seen.extend(x[:, 0].tolist())
        return np.arange(len(x)) < 0

    claim = Claim(name="s", delta=0.001, over="x of a set | coins fixed", population=40)
    orders = set()
    for seed in (0, 0, 1):
        seen.clear()
        verify(claim, OverSet(None, note), inputs=np.arange(40.0)[:, None], seed=seed)
        require(sorted(seen) == list(range(len(seen))) or len(set(seen)) == len(seen), "each member at most once")
        orders.add(tuple(seen))
    require(len(orders) == 2, "the order is a function of the seed")
    return "a set's members once each"


T, N, P = 50, 1000, 0.05  # coins, inputs, and the failure rate, at which p <= P is false by a hair
MANY = 200  # coins that could uphold it, told as shares


def rates(rng: np.random.Generator, n: int, correlation: float = 0.01) -> np.ndarray:
    """Failure rates of n coins, with mean P and the given correlation between inputs of one coin."""
    a = P * (1 / correlation - 1)
    return rng.beta(a, a * (1 - P) / P, size=n)


def shares_upheld(rng: np.random.Generator, n: int) -> np.ndarray:
    """The same T coins on the same N inputs, told as shares: falsely upheld at level 0.05?"""
    members = np.arange(float(N))[:, None]
    trial = SharedInputs(lambda own: (float(rates(own, 1)[0]), own), _coin_on_members, members)
    claim = Claim(name="at the border", delta=P, over="coins, mean over a set")
    runs = (
        verify(claim, trial, alpha_upheld=0.05, max_trials=MANY, batch=MANY, seed=int(rng.integers(2**60)))
        for _ in range(n)
    )
    return np.array([run.state is State.UPHELD for run in runs])


def _coin_on_members(artefact: tuple[float, np.random.Generator], x: np.ndarray) -> np.ndarray:
    rate, own = artefact
    return own.random(len(x)) < rate


def pooled_upheld(rng: np.random.Generator, n: int) -> np.ndarray:
    """All T N outcomes in one Clopper-Pearson limit at level 0.05: falsely upheld?"""
    counts = np.array([int(rng.binomial(N, rates(rng, T)).sum()) for _ in range(n)])
    return np.array([upper_limit(k, T * N, 0.05) <= P for k in counts.tolist()])


def crossed_upheld(rng: np.random.Generator, n: int) -> np.ndarray:
    """A 200 x 200 table whose rows share a coin, judged as a table at level 0.05: falsely upheld?"""
    tables = (rng.random((200, 200)) < rates(rng, 200)[:, None] for _ in range(n))
    return np.array([verify_crossed(table, P, alpha_upheld=0.05).state is State.UPHELD for table in tables])


def monte_carlo(effort: int = 1) -> Evidence:
    wrong = judge(pooled_upheld, delta=0.05, trials=500 * effort, name="pooled", expect="violated")
    ours = judge(shares_upheld, delta=0.05, trials=300 * effort, name="shares")
    table = judge(crossed_upheld, delta=0.05, trials=200 * effort, name="crossed")
    return Evidence(
        text=f"falsely upheld at alpha 0.05, correlation 0.01: pooled {wrong.text}; as shares {ours.text}; "
        f"as a table {table.text}",
        trials=wrong.trials + ours.trials + table.trials,
    )


def teeth() -> Evidence:
    claim = Claim(name="at the border", delta=P, over="coins, mean over a set")

    def caught(factor: float) -> bool:  # shares that understate the failing ones
        def trial(rng: np.random.Generator, n: int) -> np.ndarray:
            return np.array([rng.binomial(N, rate) / N / factor for rate in rates(rng, n)])

        seeds = range(12)
        runs = [verify(claim, trial, alpha_upheld=0.05, max_trials=MANY, batch=MANY, seed=s).state for s in seeds]
        return sum(state is State.UPHELD for state in runs) > 6

    slack = smallest_sabotage(caught, (1.05, 1.1, 1.2, 1.35, 1.5, 2))
    return Evidence(text=f"shares told {slack:g} times too small are upheld falsely in most runs", slack=slack)
