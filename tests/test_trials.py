"""One trial for each quantifier: what it draws afresh, what it refuses, and what pooling would have done."""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
import pytest
from scipy.stats import beta, binom

from boundlab._errors import InvalidParameter
from boundlab.verification import Claim, Outcome, ProcessPool, State, replay, verify
from boundlab.verification.crossed import verify_crossed
from boundlab.verification.points import searched_point, verify_at_points
from boundlab.verification.trials import (
    AtPoint,
    Everywhere,
    FreshPairs,
    OverSet,
    Searched,
    SharedInputs,
    nested_trial,
)
from tests.schemas import validate

POINTS = np.arange(20.0)[:, None]
CLAIMS = {
    over: Claim(name=over, delta=0.1, over=over)
    for over in ("coins,x", "coins | x fixed", "coins, all x", "coins, mean over a set")
}
CLAIMS["coins, P_x"] = Claim(name="nested", delta=0.1, over="coins, P_x", gamma=0.1)
CLAIMS["x of a set | coins fixed"] = Claim(name="set", delta=0.1, over="x of a set | coins fixed", population=20)


def coin(rng: np.random.Generator) -> int:
    return int(rng.integers(100))


def hits(drawn: int, x: np.ndarray) -> np.ndarray:
    return x[:, 0] == drawn


def tens(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.integers(100, size=(n, 1)).astype(float)


def finds(drawn: int, rng: np.random.Generator) -> bool:
    return drawn < 20


def covers(drawn: int) -> bool:
    return drawn >= 20


TRIALS = {
    "coins,x": FreshPairs(coin, hits),
    "coins | x fixed": AtPoint(coin, hits, np.array([3.0])),
    "coins, all x": Everywhere(coin, hits, POINTS),
    "coins, P_x": nested_trial(CLAIMS["coins, P_x"], coin, hits, tens, 200),
    "coins, mean over a set": SharedInputs(coin, hits, POINTS),
    "x of a set | coins fixed": OverSet(3, hits),
}
INPUTS = {"coins,x": tens, "x of a set | coins fixed": POINTS}


@pytest.mark.parametrize("mine", TRIALS)
@pytest.mark.parametrize("other", CLAIMS)
def test_a_trial_is_refused_for_a_claim_over_another_quantifier(mine: str, other: str) -> None:
    if mine != other:
        with pytest.raises(InvalidParameter, match="must have a trial of its own"):
            verify(CLAIMS[other], TRIALS[mine], inputs=INPUTS.get(other))


def test_the_same_verdicts_come_from_two_processes() -> None:
    with ProcessPool(2) as pool:
        for over, trial in TRIALS.items():
            here, there = (
                verify(CLAIMS[over], trial, inputs=INPUTS.get(over), max_trials=60, executor=e) for e in (1, pool)
            )
            assert here.to_dict() == there.to_dict()
            assert here.trials > 0


# P(hit), exactly: 1/100 for a pair and for a point, 20/100 for some point of 20, 1/100 for a uniform member
@pytest.mark.parametrize(
    ("over", "delta", "state"),
    [
        ("coins,x", 0.02, State.UPHELD),
        ("coins,x", 0.005, State.VIOLATED),
        ("coins | x fixed", 0.02, State.UPHELD),
        ("coins | x fixed", 0.005, State.VIOLATED),
        ("coins, all x", 0.25, State.UPHELD),
        ("coins, all x", 0.1, State.VIOLATED),
        ("coins, mean over a set", 0.02, State.UPHELD),
        ("coins, mean over a set", 0.005, State.VIOLATED),
    ],
)
def test_each_quantifier_is_judged_at_its_own_rate(over: str, delta: float, state: State) -> None:
    claim = Claim(name=over, delta=delta, over=over)
    found = verify(claim, TRIALS[over], inputs=INPUTS.get(over), max_trials=20_000, batch=100, alpha_violated=1e-3)
    assert found.state is state


# The obvious harness and what it does: T = 50 compressions on the same N = 1,000 points, all T N outcomes pooled.

COINS, MEMBERS, RATE = 50, 1_000, 0.05


def correlated_rates(rng: np.random.Generator, n: int) -> np.ndarray:
    """Failure rates of n coins: mean 0.05, correlation 0.01 between two inputs of one coin."""
    a = RATE * (1 / 0.01 - 1)
    return rng.beta(a, a * (1 - RATE) / RATE, size=n)


def test_pooled_outcomes_uphold_falsely_in_a_third_of_runs() -> None:
    # delta = p = .05, 2,000 runs; a level-.05 test that errs in 32 % (a published simulation found 32 %).
    rng, runs = np.random.default_rng(0), 2_000
    k = rng.binomial(MEMBERS, correlated_rates(rng, runs * COINS).reshape(runs, COINS)).sum(axis=1)
    limit = beta.ppf(0.95, k + 1, COINS * MEMBERS - k)  # Clopper-Pearson
    wrong = int((limit <= RATE).sum())
    assert binom.sf(wrong - 1, runs, 0.05) < 1e-100
    assert binom.cdf(wrong, runs, 0.32) > 1e-4 < binom.sf(wrong - 1, runs, 0.32)


def share_of_a_coin(rng: np.random.Generator) -> np.ndarray:
    return rng.random(MEMBERS) < correlated_rates(rng, 1)


def row(failing: np.ndarray, x: np.ndarray) -> np.ndarray:
    return failing


def test_shares_of_the_same_coins_keep_alpha() -> None:
    # delta = p = .05 and just above it, alpha .05, 40 runs of 200 coins: refuted only below 1e-6.
    claim = Claim(name="shares", delta=RATE - 1e-9, over="coins, mean over a set")
    trial = SharedInputs(share_of_a_coin, row, np.zeros((MEMBERS, 1)))
    wrong = sum(
        verify(claim, trial, alpha_upheld=0.05, max_trials=200, batch=200, seed=s).state is State.UPHELD
        for s in range(40)
    )
    assert binom.sf(wrong - 1, 40, 0.05) > 1e-6


def test_a_whole_table_keeps_alpha() -> None:
    # delta just below p = .05, alpha .05, 200 tables of 300 x 300 with rows that share a coin.
    rng = np.random.default_rng(1)
    wrong = sum(
        verify_crossed(
            rng.random((300, 300)) < correlated_rates(rng, 300)[:, None], RATE - 1e-9, alpha_upheld=0.05
        ).state
        is State.UPHELD
        for _ in range(200)
    )
    assert binom.sf(wrong - 1, 200, 0.05) > 1e-6


def test_a_pooled_table_is_refused_and_told_where_to_go() -> None:
    with pytest.raises(InvalidParameter, match=r"no independent trials.*'coins, mean over a set'.*verify_crossed"):
        verify(CLAIMS["coins,x"], lambda rng, n: np.zeros((COINS, MEMBERS), bool))
    with pytest.raises(InvalidParameter, match=r"fails\(artefact, x\) must return 20 outcomes"):
        verify(CLAIMS["coins, all x"], Everywhere(coin, lambda c, x: np.zeros((20, 2), bool), POINTS))


def test_a_mean_over_inputs_is_no_outcome_of_a_joint_claim() -> None:
    with pytest.raises(InvalidParameter, match="shares are outcomes for 'coins, mean over a set' only"):
        verify(CLAIMS["coins,x"], lambda rng, n: np.full(n, 0.03))


def test_inputs_that_are_used_again_are_told() -> None:
    points = np.tile(POINTS, (10, 1))
    verdict = verify(CLAIMS["coins,x"], TRIALS["coins,x"], inputs=points)
    assert any(text.startswith("shared_inputs") for text in verdict.warnings)


def test_pooling_in_silence_is_told_by_the_failures_that_come_together() -> None:
    # 1,000 outcomes of one coin as one batch of "independent" trials: correlation .01 between two of them
    claim = Claim(name="pooled", delta=RATE)

    def pooled(rng: np.random.Generator, n: int) -> np.ndarray:
        return rng.random(n) < correlated_rates(rng, 1)

    def fresh(rng: np.random.Generator, n: int) -> np.ndarray:
        return rng.random(n) < correlated_rates(rng, n)

    for seed in range(30):
        runs = [
            verify(claim, trial, seed=seed, batch=MEMBERS, max_trials=COINS * MEMBERS, method="fixed")
            for trial in (pooled, fresh)
        ]
        told = [any(text.startswith("shared_coins") for text in run.warnings) for run in runs]
        assert told == [True, False]


def test_fresh_pairs_without_inputs_are_refused() -> None:
    with pytest.raises(InvalidParameter, match="fresh pairs must be given inputs"):
        verify(CLAIMS["coins,x"], TRIALS["coins,x"])


def test_a_joint_claim_holds_where_the_nested_one_fails() -> None:
    # every coin fails on 3 % of the inputs: P over both is .03 <= .05, and no coin is good at gamma = .01
    def fails(artefact: None, x: np.ndarray) -> np.ndarray:
        return x[:, 0] < 0.03

    def inputs(rng: np.random.Generator, n: int) -> np.ndarray:
        return rng.random((n, 1))

    joint = Claim(name="joint", delta=0.05)
    assert verify(joint, FreshPairs(lambda rng: rng.random(), fails), inputs=inputs).state is State.UPHELD
    nested = Claim(name="nested", delta=0.05, over="coins, P_x", gamma=0.01)
    trial = nested_trial(nested, lambda rng: rng.random(), fails, inputs, 5_000)
    assert verify(nested, trial).state is State.VIOLATED


def test_a_nested_trial_stops_early_and_says_unknown_at_the_border() -> None:
    claim = Claim(name="nested", delta=0.1, over="coins, P_x", gamma=0.1)
    used: list[int] = []

    def inputs(rng: np.random.Generator, n: int) -> np.ndarray:
        used.append(n)
        return rng.random((n, 1))

    def outcome(rate: float) -> int:
        used.clear()
        trial = nested_trial(claim, lambda rng: rate, lambda r, x: x[:, 0] < r, inputs, 3_000)
        return int(trial(np.random.default_rng(0), 1)[0])

    assert outcome(0.0) == Outcome.OK
    assert sum(used) == trial_fewest(claim)
    assert outcome(0.9) == Outcome.FAILED
    assert sum(used) <= 2 * trial_fewest(claim)
    assert outcome(0.1) == Outcome.UNKNOWN
    assert sum(used) == 3_000


def trial_fewest(claim: Claim) -> int:
    """The least n with 1/2 (1-gamma)^-n + 1/2 (1 - (1-gamma)^(n+1))/((n+1) gamma (1-gamma)^n) >= 1/beta_upper."""
    g = claim.gamma or 0.0
    for n in range(1, 1000):
        spike, rest = 0.5 * (1 - g) ** -n, 0.5 * (1 - (1 - g) ** (n + 1)) / ((n + 1) * g * (1 - g) ** n)
        if spike + rest >= 1 / (claim.beta_upper or 1.0):
            return n
    raise AssertionError


def test_nested_inner_errors_keep_their_levels() -> None:
    # 400 coins just above gamma: wrongly "ok" with probability at most beta_upper = .1; refuted only below 1e-6.
    claim = Claim(name="n", delta=0.2, over="coins, P_x", gamma=0.2, beta_upper=0.1, beta_lower=0.1)

    def outcomes(rate: float) -> np.ndarray:
        trial = nested_trial(claim, lambda rng: rate, lambda r, x: x[:, 0] < r, lambda rng, n: rng.random((n, 1)), 100)
        return trial(np.random.default_rng(3), 400)

    assert binom.sf((outcomes(0.2 + 1e-9) == Outcome.OK).sum() - 1, 400, 0.1) > 1e-6
    assert binom.sf((outcomes(0.2) == Outcome.FAILED).sum() - 1, 400, 0.1) > 1e-6


def test_a_nested_trial_needs_its_own_claim_and_enough_inputs() -> None:
    claim = CLAIMS["coins, P_x"]
    other = Claim(name="other", delta=0.1, over="coins, P_x", gamma=0.2)
    with pytest.raises(InvalidParameter, match="must have its claim's gamma"):
        verify(other, TRIALS["coins, P_x"])
    with pytest.raises(InvalidParameter, match="max_inputs must be at least"):
        nested_trial(claim, coin, hits, tens, 20)
    with pytest.raises(InvalidParameter, match="must have a claim over"):
        nested_trial(CLAIMS["coins,x"], coin, hits, tens, 200)


def test_a_search_refutes_and_never_upholds() -> None:
    claim = CLAIMS["coins, all x"]
    assert verify(claim, Searched(coin, finds)).state is State.VIOLATED  # 20 % of the coins
    blind = verify(claim, Searched(coin, lambda c, rng: False), max_trials=1_000)
    assert (blind.state, blind.unknown) == (State.UNDECIDED, 1_000)
    loose = Claim(name="all x", delta=0.3, over="coins, all x")
    assert verify(loose, Searched(coin, finds)).state is State.UNDECIDED
    assert verify(loose, Searched(coin, finds, covers)).state is State.UPHELD


def test_a_certificate_that_a_search_contradicts_is_refused() -> None:
    with pytest.raises(InvalidParameter, match=r"covers\(artefact\) must be false"):
        verify(CLAIMS["coins, all x"], Searched(coin, finds, lambda c: True))
    with pytest.raises(InvalidParameter, match=r"search\(artefact, rng\) must be a bool"):
        verify(CLAIMS["coins, all x"], Searched(coin, cast("Any", lambda c, rng: np.zeros(3))))


def test_a_finite_set_is_tried_once_each_in_an_order_of_the_seed() -> None:
    claim = Claim(name="set", delta=0.25, over="x of a set | coins fixed", population=200)
    members, seen = np.arange(200.0)[:, None], []

    def watched(k: int, x: np.ndarray) -> np.ndarray:
        seen.extend(x[:, 0].tolist())
        return x[:, 0] < k

    verdict = verify(claim, OverSet(50, watched), inputs=members)  # 50 of 200 is 0.25 exactly: it takes nearly all
    assert verdict.state is State.UPHELD
    assert len(set(seen)) == len(seen) >= verdict.trials > 190
    assert seen != sorted(seen)
    assert verify(claim, OverSet(51, watched), inputs=members).state is State.VIOLATED
    assert not verdict.warnings
    assert [bool(replay(claim, OverSet(50, watched), i, inputs=members)[0]) for i in verdict.first_failures] == [
        True
    ] * len(verdict.first_failures)


@pytest.mark.parametrize("inputs", [None, np.zeros((19, 1)), tens])
def test_a_finite_set_needs_all_its_members(inputs: object) -> None:
    with pytest.raises(InvalidParameter, match="members of the set"):
        verify(CLAIMS["x of a set | coins fixed"], OverSet(3, hits), inputs=inputs)


def test_a_searched_point_is_judged_on_fresh_coins() -> None:
    # the search takes the point at which its own coin fails; there, fresh coins fail with probability 1/100
    claim = Claim(name="each x", delta=0.05, over="coins | x fixed")
    for seed in range(10):
        x = searched_point(claim, lambda rng: [float(coin(rng))], seed=seed)
        assert np.array_equal(x, searched_point(claim, lambda rng: [float(coin(rng))], seed=seed))
        assert verify(claim, AtPoint(coin, hits, x), seed=seed).state is State.UPHELD
    with pytest.raises(InvalidParameter, match="must return one point"):
        searched_point(claim, lambda rng: np.zeros((2, 1)))
    with pytest.raises(InvalidParameter, match="must be over"):
        searched_point(CLAIMS["coins,x"], lambda rng: np.zeros(1))


def test_listed_points_share_alpha() -> None:
    claim = Claim(name="each x", delta=0.05, over="coins | x fixed")
    found = verify_at_points(claim, coin, lambda c, x: c < x[:, 0], [[0.0], [1.0], [50.0], [99.0]])
    assert [v.state for v in found.verdicts] == [State.UPHELD] * 2 + [State.VIOLATED] * 2
    assert found.state is State.VIOLATED
    assert all(4 * v.alpha_upheld <= 1e-3 and 4 * v.alpha_violated <= 1e-6 for v in found.verdicts)
    assert len({v.claim.id for v in found.verdicts}) == 4, "each point has coins of its own"
    validate(found.to_dict(), "points")
    assert len(found.rows()) == len(found.to_dict()["verdicts"]) == 4
    assert verify_at_points(claim, coin, lambda c, x: c < x[:, 0], [[0.0], [1.0]]).state is State.UPHELD
    with pytest.raises(TypeError):
        bool(found)


def test_limits_of_a_table_are_hoeffdings() -> None:
    # no failure: kl(0 || U) = -log(1 - U), so U = 1 - alpha^(1/h); no success: L = alpha^(1/h)
    empty, full = verify_crossed(np.zeros((200, 900), bool), 0.05), verify_crossed(np.ones((900, 200), bool), 0.05)
    assert empty.interval == (0.0, pytest.approx(1 - 1e-3 ** (1 / 200), rel=1e-9))
    assert full.interval == (pytest.approx(1e-6 ** (1 / 200), rel=1e-9), 1.0)
    assert (empty.state, full.state) == (State.UPHELD, State.VIOLATED)
    assert empty.interval[1] >= 1 - 1e-3 ** (1 / 200)
    assert full.interval[0] <= 1e-6 ** (1 / 200)
    assert empty.worth == full.worth == 200


def test_unknown_outcomes_of_a_table_count_against_either_verdict() -> None:
    table = np.zeros((300, 300), np.int8)
    table[:, :150] = Outcome.UNKNOWN
    found = verify_crossed(table, 0.2)
    assert (found.state, found.failures, found.unknown) == (State.UNDECIDED, 0, 45_000)
    assert found.interval[0] == 0.0
    assert found.interval[1] > 0.5
    validate(found.to_dict(), "crossed")
    assert found.to_dict()["unknown"] == 45_000
    with pytest.raises(TypeError):
        bool(found)


@pytest.mark.parametrize(
    "table",
    [
        np.zeros(9, bool),
        np.zeros((0, 3), bool),
        np.full((3, 3), 0.1),
        np.full((3, 3), 3),
        np.ma.masked_all((200, 200), bool),  # a mask hides outcomes: they are not the ok that lies beneath it
        [[True], [True, False]],
    ],
)
def test_what_is_no_table_of_outcomes_is_refused(table: np.ndarray) -> None:
    with pytest.raises(InvalidParameter, match=r"table|outcomes"):
        verify_crossed(table, 0.1)


def test_a_failing_share_with_an_unknown_member_is_unknown() -> None:
    trial = SharedInputs(coin, lambda c, x: np.where(x[:, 0] == 7, 2, 0), POINTS)
    assert math.isnan(trial(np.random.default_rng(0), 1)[0])
