"""Every method of judging: what goes with which claim, exact decisions, limits that agree, nothing lost on the way."""

from __future__ import annotations

import itertools
import json
import math
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest
from scipy.stats import binom, binomtest, hypergeom

from boundlab._errors import InvalidParameter
from boundlab.concentration.betting import mean_lower_limit, mean_upper_limit
from boundlab.verification import Claim, Method, Outcome, State, verify
from boundlab.verification.judging.bounded_mean import DISTINCT, BoundedMean
from boundlab.verification.judging.fixed_size import FixedSize, power_size, upholding_count, violating_count
from boundlab.verification.judging.lattice import stopping_law
from boundlab.verification.judging.methods import rule_for
from boundlab.verification.judging.repeated import RepeatedLimits, looks
from boundlab.verification.judging.rules import RateRule
from boundlab.verification.judging.spending import SpendingBoundary
from boundlab.verification.judging.without_replacement import WithoutReplacement

CLAIM = Claim(name="fails with probability at most 0.05", delta=0.05)
NESTED = Claim(name="at most 1 in 10 inputs fails", delta=0.05, over="coins, P_x", gamma=0.1)
SHARES = Claim(name="mean share at most 0.05", delta=0.05, over="coins, mean over a set")
BOTH: dict[str, Any] = {"alpha_upheld": 0.05, "alpha_violated": 0.05}


def members(population: int, delta: float = 0.05) -> Claim:
    return Claim(name="share of a set", delta=delta, over="x of a set | coins fixed", population=population)


def constant(value: int):
    return lambda rng, n: np.full(n, value, dtype=np.int8)


def coin(rate: float):
    return lambda rng, n: rng.random(n) < rate


def rate_rule(method: Method, claim: Claim = CLAIM, alpha: float = 0.05, size: int = 600) -> RateRule:
    rule = rule_for(claim, method, alpha, alpha, size)
    assert isinstance(rule, RateRule)
    return rule


def in_pieces(rule: Any, outcomes: np.ndarray, cuts: list[int]) -> tuple[State, Any]:
    """Look at the outcomes piece by piece, the tally put away as JSON in between."""
    state, tally = State.UNDECIDED, rule.start()
    for piece in np.split(outcomes, cuts):
        if len(piece) and state is State.UNDECIDED:
            state, tally, _ = rule.look(json.loads(json.dumps(tally, allow_nan=False)), piece)
    return state, tally


# -- which method for which claim


@pytest.mark.parametrize("method", [Method.SPENDING, Method.FIXED, Method.REPEATED])
@pytest.mark.parametrize("claim", [SHARES, members(100)])
def test_a_claim_over_a_set_has_evidence_of_its_own_and_no_other_method(claim: Claim, method: Method) -> None:
    with pytest.raises(InvalidParameter, match=r"method must be 'e-process' for a claim over '.*', got '\w+'"):
        rule_for(claim, method, 0.05, 0.05, 100)


@pytest.mark.parametrize(
    ("method", "trials"),
    # (1 - d)^n against .05 M-'s weights; alpha n/(n + 200); alpha; alpha/2: the last three by hand
    [("e-process", 68), ("spending", 83), ("fixed", 500), ("repeated", 72)],
)
def test_failure_free_trials_uphold_at_the_first_n_that_can(method: str, trials: int) -> None:
    verdict = verify(CLAIM, constant(Outcome.OK), method=method, max_trials=500, batch=50, **BOTH)
    assert (verdict.state, verdict.trials) == (State.UPHELD, trials)
    assert verdict.interval[0] < 0.05
    assert verdict.interval[1] <= 0.05
    assert math.isnan(verdict.log_e_upheld) == (method != "e-process")
    assert json.loads(verdict.to_json())["method"] == method


@pytest.mark.parametrize("method", Method)
def test_unknown_outcomes_decide_nothing(method: Method) -> None:
    verdict = verify(CLAIM, constant(Outcome.UNKNOWN), method=method, max_trials=500, batch=50, **BOTH)
    assert (verdict.state, verdict.unknown, verdict.interval) == (State.UNDECIDED, 500, (0.0, 1.0))


@pytest.mark.parametrize("method", Method)
@pytest.mark.parametrize("rate", [0.0, 0.02, 0.05, 0.12])
@pytest.mark.parametrize("claim", [CLAIM, NESTED])
def test_verdict_and_limits_agree_however_outcomes_are_cut_into_blocks(
    method: Method, rate: float, claim: Claim
) -> None:
    rule = rate_rule(method, claim)
    for seed in range(4):
        rng = np.random.default_rng(seed)
        outcomes = np.where(rng.random(600) < rate, 1, 2 * (rng.random(600) < 0.01)).astype(np.int8)
        cuts = np.sort(rng.integers(0, 600, 7)).tolist()
        state, tally = in_pieces(rule, outcomes, cuts)
        assert (state, tally) == in_pieces(rule, outcomes, [])
        low, high = rule.findings(tally, state).interval
        assert (high <= 0.05) == (state is State.UPHELD)
        assert (low >= 0.05) == (state is State.VIOLATED)


@pytest.mark.parametrize("method", Method)
def test_a_nested_verdict_speaks_of_the_outer_probability(method: Method) -> None:
    # P(Z^U) >= (1 - beta_U) p and P(Z^L) <= p + beta_L (1 - p), solved for p in exact arithmetic
    rule, plain = rate_rule(method, NESTED), rate_rule(method)
    beta_upper, beta_lower = Fraction(0.01), Fraction(0.05 / 100)
    assert rule.at_upheld < 0.05 < rule.at_violated
    for k in (0, 3, 30, 120):
        outcomes = np.repeat([1, 0], [k, 600 - k]).astype(np.int8)[::-1].copy()
        _, tally, _ = rule.look(rule.start(), outcomes)
        bits, outer = rule.seen(tally).interval, rule.findings(tally, State.UNDECIDED).interval
        assert bits == plain.seen(tally).interval or method is Method.REPEATED  # its first look comes later
        assert Fraction(outer[1]) >= min(Fraction(1), Fraction(bits[1]) / (1 - beta_upper))
        assert Fraction(outer[0]) <= max(Fraction(0), (Fraction(bits[0]) - beta_lower) / (1 - beta_lower))
        assert outer[1] == 1 or outer[1] < max(1.0102 * bits[1], 0.0501)
        assert outer[0] == 0 or outer[0] > min(bits[0] - 6e-4, 0.0499)


# -- one look at a fixed number of trials


@pytest.mark.parametrize(("n", "k"), [(59, 0), (58, 0), (300, 8), (300, 7), (300, 15), (300, 23), (300, 24), (10, 10)])
def test_a_fixed_size_decides_as_scipys_binomial_test(n: int, k: int) -> None:
    outcomes = np.repeat([1, 0], [k, n - k]).astype(np.int8)
    rule = rate_rule(Method.FIXED, size=n)
    state, tally, taken = rule.look(rule.start(), outcomes)
    less, more = (binomtest(k, n, 0.05, alternative=side) for side in ("less", "greater"))
    want = State.UPHELD if less.pvalue <= 0.05 else State.VIOLATED if more.pvalue <= 0.05 else State.UNDECIDED
    assert (state, taken) == (want, n)
    low, high = rule.findings(tally, state).interval
    assert high == pytest.approx(less.proportion_ci(0.95, "exact").high, rel=1e-9)
    assert low == pytest.approx(more.proportion_ci(0.95, "exact").low, rel=1e-9)


def test_critical_counts_are_those_of_the_binomial_law() -> None:
    for n, p, alpha in itertools.product((1, 2, 17, 60, 300), (0.06, 0.3, 0.9), (0.04, 0.2)):
        k = np.arange(n + 2)
        assert upholding_count(n, p, alpha) == np.count_nonzero(binom.cdf(k, n, p) <= alpha) - 1
        assert violating_count(n, p, alpha) == np.argmax(binom.sf(k - 1, n, p) <= alpha)


def test_nothing_is_decided_before_a_fixed_size_is_reached() -> None:
    verdict = verify(CLAIM, constant(Outcome.FAILED), method="fixed", max_trials=100, max_seconds=1e-9)
    assert (verdict.state, verdict.trials, verdict.interval) == (State.UNDECIDED, 1, (0.0, 1.0))
    done = verdict.resume(max_trials=100)
    assert (done.state, done.trials) == (State.VIOLATED, 100)
    assert verdict.resume(max_trials=1_000).trials == 100, "another budget must not move the one look"


def test_a_second_look_at_a_fixed_size_is_refused(tmp_path) -> None:
    path = tmp_path / "run.json"
    verdict = verify(CLAIM, coin(0.05), method="fixed", max_trials=200, record=path, seed=1)
    assert verdict.state is State.UNDECIDED
    with pytest.raises(InvalidParameter, match="200 were fixed beforehand"):
        verdict.resume(max_trials=400)
    with pytest.raises(InvalidParameter, match="another horizon"):
        verify(CLAIM, coin(0.05), method="fixed", max_trials=400, record=path, seed=1)
    again = verify(CLAIM, coin(0.05), method="fixed", max_trials=200, record=path, seed=1)
    assert (again.trials, again.failures) == (200, verdict.failures)


def test_a_fixed_size_looks_after_the_last_input() -> None:
    verdict = verify(CLAIM, lambda rng, x: x[:, 0] < 0, inputs=np.arange(60.0)[:, None], method="fixed", **BOTH)
    assert (verdict.state, verdict.trials) == (State.UPHELD, 60)


def test_a_rate_at_delta_has_no_size() -> None:
    with pytest.raises(InvalidParameter, match="rate must be in"):
        power_size(0.05, 0.05, 0.05, 0.9)
    with pytest.raises(InvalidParameter, match="rate must be further from"):
        power_size(0.001, 0.001 * (1 - 1e-6), 1e-6, 0.99)


# -- error spending and repeated limits


@pytest.mark.parametrize("delta", [0.1, 0.05, 0.01, 0.001])
@pytest.mark.parametrize("alpha", [0.05, 1e-6])
def test_spending_without_a_failure_takes_what_the_plan_says(delta: float, alpha: float) -> None:
    # k = 0 meets the lower boundary at the first n with (1 - delta)^n <= alpha n/(n + 10/delta)
    n = np.arange(1, round(20 / delta))
    first = int(n[np.argmax(n * math.log1p(-delta) <= np.log(alpha * n / (n + 10 / delta)))])
    assert rate_rule(Method.SPENDING, Claim(name="a", delta=delta), alpha).fewest == first
    assert 4.1 <= first * delta <= 4.22 if alpha == 0.05 else first * delta < 14.4


def test_a_short_run_by_spending_follows_no_boundary_to_its_end() -> None:
    claim = Claim(name="fails with probability at most 1e-9", delta=1e-9)  # 7.7e9 trials: a boundary of 60 GB
    verdict = verify(claim, constant(Outcome.OK), method="spending", max_trials=100, batch=100)
    assert (verdict.state, verdict.fewest * 1e-9) == (State.UNDECIDED, pytest.approx(7.7374, rel=1e-4))


def test_spending_boundaries_are_those_of_the_plain_recursion() -> None:
    p, alpha, last = 0.1, 0.05, 400
    for upper in (False, True):
        ends, mass, met = SpendingBoundary(p, alpha, upper=upper).up_to(last), np.ones(1), 0.0
        mass = np.zeros(last + 2)
        mass[0] = 1.0
        for n in range(1, last + 1):
            mass = (1 - p) * mass + p * np.concatenate([[0.0], mass[:-1]])
            cells = range(n, -1, -1) if upper else range(n + 1)
            end = n + 1 if upper else -1
            for k in cells:
                if met + mass[k] > alpha * n / (n + 10 / p):
                    break
                met, mass[k], end = met + mass[k], 0.0, k
            assert ends[n] == end, (upper, n)


def test_repeated_limits_are_clopper_pearson_at_the_last_look() -> None:
    rule = rate_rule(Method.REPEATED)
    assert isinstance(rule, RepeatedLimits)
    assert looks(rule.fewest, 200) == [72, 90, 113, 142, 178]
    outcomes = (np.arange(200) % 20 == 7).astype(np.int8)
    state, tally = in_pieces(rule, outcomes, [10, 72, 75, 140, 150])
    assert (state, tally) == (State.UNDECIDED, [200, 10, 0, 178, 9, 0])
    low, high = rule.findings(tally, state).interval
    level = 0.05 / (5 * 6)
    assert high == pytest.approx(binomtest(9, 178, alternative="less").proportion_ci(1 - level, "exact").high)
    assert low == pytest.approx(binomtest(9, 178, alternative="greater").proportion_ci(1 - level, "exact").low)
    assert rule.findings([71, 0, 0, 0, 0, 0], State.UNDECIDED).interval == (0.0, 1.0)


# -- a finite set, without replacement


@pytest.mark.parametrize(("delta", "population", "allowed"), [(0.05, 60_000, 3_000), (0.3, 10, 2), (0.5, 7, 3)])
def test_the_allowed_failures_are_counted_in_exact_arithmetic(delta: float, population: int, allowed: int) -> None:
    # 0.3 as a float is less than 3/10: three of ten are more than it allows
    assert WithoutReplacement(delta=delta, population=population, **BOTH).allowed == allowed


def test_the_limits_of_one_good_member_are_zero_and_printed_so() -> None:
    rule = WithoutReplacement(delta=0.5, population=1, **BOTH)
    state, tally = in_pieces(rule, np.zeros(1, np.int8), [])
    assert [f"{limit:g}" for limit in rule.findings(tally, state).interval] == ["0", "0"]


@pytest.mark.parametrize("failing", [0, 1, 2, 3, 12])
def test_a_whole_set_is_judged_exactly(failing: int) -> None:
    claim, points = members(12, 0.2), np.arange(12.0)[:, None]  # 2.4: two may fail
    verdict = verify(claim, lambda rng, x: x[:, 0] < failing, inputs=points, alpha_upheld=1e-9, alpha_violated=1e-9)
    assert verdict.state is (State.UPHELD if failing <= 2 else State.VIOLATED)
    low, high = verdict.interval
    assert low <= failing / 12 <= high
    rule = WithoutReplacement(delta=0.2, population=12, alpha_upheld=1e-9, alpha_violated=1e-9)
    found = rule.findings([12, failing, 0], verdict.state)
    assert found.interval == pytest.approx((failing / 12, failing / 12), abs=1e-15)
    assert math.inf in (found.log_e_upheld, found.log_e_violated)


def test_unknown_members_keep_a_whole_set_undecided() -> None:
    claim, points = members(12, 0.2), np.arange(12.0)[:, None]
    verdict = verify(claim, lambda rng, x: np.where(x[:, 0] < 4, 2, 0), inputs=points)
    assert (verdict.state, verdict.trials, verdict.interval) == (State.UNDECIDED, 12, (0.0, math.nextafter(4 / 12, 1)))
    with pytest.raises(InvalidParameter, match="all there is"):
        verdict.resume()


def test_limits_of_a_set_are_the_counts_that_no_evidence_refutes() -> None:
    rule = WithoutReplacement(delta=0.1, population=40, alpha_upheld=0.1, alpha_violated=0.1)
    for n, k in ((10, 0), (25, 4), (39, 3), (40, 4)):
        low, high = rule.findings([n, k, 0], State.UNDECIDED).interval
        # the ratio of mean likelihoods by its definition: prior K ~ Bin(N, q), q ~ Beta(1, b), plus a spike
        kept = []
        for b, spike in ((5.0, 0.0), (10.0, 0.5)):
            prior = np.array([math.comb(40, K) * b * math.gamma(K + 1) for K in range(41)])
            prior *= np.exp([math.lgamma(40 - K + b) - math.lgamma(41 + b) for K in range(41)])
            prior = (1 - spike) * prior + spike * (np.arange(41) == 0)
            likelihood = hypergeom.pmf(k, 40, np.arange(41), n)
            kept.append(np.flatnonzero(prior @ likelihood < 10 * likelihood))
        assert round(40 * low) == kept[0][0]
        assert round(40 * high) == kept[1][-1]


@pytest.mark.parametrize("population", [40, 600, 60_000])
@pytest.mark.parametrize("alpha", [0.05, 1e-3])
def test_false_verdicts_on_a_set_are_rarer_than_alpha(population: int, alpha: float) -> None:
    rule = WithoutReplacement(delta=0.05, population=population, alpha_upheld=alpha, alpha_violated=alpha)
    ends = rule.boundaries(population)
    at = [stopping_law(ends, K / population, population=population) for K in (rule.allowed, rule.allowed + 1)]
    assert at[0].high.sum() <= alpha, "exactly delta N fail"
    assert at[1].low.sum() <= alpha, "one more fails"
    assert at[0].low.sum() + at[0].high.sum() == pytest.approx(1.0), "the whole set decides"
    assert at[1].low.sum() + at[1].high.sum() == pytest.approx(1.0)
    assert np.argmax(ends.low >= 0) == rule.fewest


# -- shares in [0, 1]


def exact_evidence(shares: list[float], delta: float, stakes: np.ndarray) -> list[Any]:
    """The logarithm of both averages of products, in fractions."""
    c = Fraction(delta)
    found = []
    for top, sign in ((1 / (1 - c), 1), (1 / c, -1)):
        total = Fraction(0)
        for s in stakes:
            total += math.prod((1 + Fraction(float(s)) * top * sign * (c - Fraction(v)) for v in shares), start=1)
        with mpmath.workdps(40):
            found.append(mpmath.log(mpmath.mpf(total.numerator) / total.denominator / len(stakes)))
    return found


@pytest.mark.parametrize("delta", [0.3, 0.05, 1e-3])
@pytest.mark.parametrize(
    "shares", [[0.3, 0.0, 1.0, 0.5] * 5, [1.0] * 25 + [0.0] * 25, [1.0] + [0.0] * 80, [i / 37 for i in range(30)]]
)
def test_wealth_is_that_of_exact_arithmetic_and_never_above_it(shares: list[float], delta: float) -> None:
    rule = BoundedMean(delta=delta, alpha_upheld=1e-250, alpha_violated=1e-250)
    _, tally, taken = rule.look(rule.start(), np.array(shares))
    found = rule.findings(tally, State.UNDECIDED)
    for told, truth in zip(
        (found.log_e_upheld, found.log_e_violated), exact_evidence(shares, delta, rule.stakes), strict=True
    ):
        assert told <= truth < told + 1e-12
    assert taken == len(shares)


def test_shares_give_the_same_tally_however_they_are_cut_into_blocks() -> None:
    rng = np.random.default_rng(3)
    shares = rng.binomial(20, 0.05, 2_000) / 20
    shares[rng.random(2_000) < 0.01] = np.nan
    rule = BoundedMean(delta=0.05, alpha_upheld=1e-200, alpha_violated=1e-200)
    whole = in_pieces(rule, shares, [])
    assert whole == in_pieces(rule, shares, np.sort(rng.integers(0, 2_000, 60)).tolist())
    assert rule.counts(whole[1]) == (2_000, np.count_nonzero(shares > 0), np.count_nonzero(np.isnan(shares)))


@pytest.mark.parametrize(("mean", "state"), [(0.0, State.UPHELD), (0.01, State.UPHELD), (0.2, State.VIOLATED)])
def test_a_mean_share_is_judged_and_resumed_bit_by_bit(mean: float, state: State) -> None:
    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        return rng.binomial(10, mean, n) / 10

    verdict = verify(SHARES, trial, max_trials=2_000, batch=16, seed=2)
    assert verdict.state is state
    assert (verdict.interval[1] <= 0.05) == (state is State.UPHELD)
    assert (verdict.interval[0] >= 0.05) == (state is State.VIOLATED)
    assert verdict.interval[0] <= mean <= verdict.interval[1]
    short = verify(SHARES, trial, max_trials=7, batch=16, seed=2)
    assert short.state is State.UNDECIDED
    assert short.resume(max_trials=2_000) == verdict
    if mean == 0.0:
        assert verdict.trials == verdict.fewest


def test_an_unknown_share_counts_against_either_verdict() -> None:
    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        return np.where(rng.random(n) < 0.5, np.nan, 0.3)

    verdict = verify(SHARES, trial, max_trials=400, batch=100)
    assert (verdict.state, verdict.unknown + verdict.failures) == (State.VIOLATED, verdict.trials)
    assert verdict.interval[0] < 0.15, "half of them may be 0"
    assert verdict.interval[1] > 0.65, "half of them may be 1"
    nothing = verify(SHARES, lambda rng, n: np.full(n, np.nan), max_trials=300, batch=100)
    assert (nothing.state, nothing.interval) == (State.UNDECIDED, (0.0, 1.0))


def test_limits_of_a_mean_are_those_of_the_betting_module() -> None:
    # Where each value only adds to the evidence, the limits over the whole past and those of the present are the same.
    rule = BoundedMean(delta=0.05, alpha_upheld=0.05, alpha_violated=0.05)
    _, tally, _ = BoundedMean(delta=0.05, alpha_upheld=1e-250, alpha_violated=1e-250).look(rule.start(), np.zeros(300))
    assert rule.findings(tally, State.UNDECIDED).interval[1] == pytest.approx(
        max(0.05, mean_upper_limit(np.zeros(300), 0.05)), rel=2e-3
    )
    high = BoundedMean(delta=0.001, alpha_upheld=0.01, alpha_violated=0.01)
    _, tally, _ = BoundedMean(delta=0.001, alpha_upheld=1e-250, alpha_violated=1e-250).look(high.start(), np.ones(20))
    low = high.findings(tally, State.VIOLATED).interval[0]
    assert low == pytest.approx(mean_lower_limit(np.ones(20), 0.01), rel=0.02)  # its grid has a few stakes more


def test_too_many_distinct_shares_leave_the_limits_of_the_verdict() -> None:
    rule = BoundedMean(delta=0.5, alpha_upheld=1e-3, alpha_violated=1e-3)
    many = np.random.default_rng(0).random(DISTINCT + 5) * 0.2 + 0.4
    state, tally = in_pieces(rule, many, [5_000])
    assert (state, tally["shares"]) == (State.UNDECIDED, None)
    assert rule.findings(tally, state).interval == (0.0, 1.0)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (np.zeros((3, 1)), "trial must return 3 shares"),
        (np.array(["a", "b", "c"]), "shares must be numbers"),
        (np.array([0.5, 1.5, 0.0]), r"shares must be in \[0, 1\] or nan"),
        (np.array([0.5, math.inf, 0.0]), r"shares must be in \[0, 1\] or nan"),
        (np.ma.array([0.0, 0.0, 0.0], mask=[False, True, False]), "an outcome for each trial, got 1 masked"),
    ],
)
def test_anything_but_shares_is_refused(answer: np.ndarray, text: str) -> None:
    with pytest.raises(InvalidParameter, match=text):
        BoundedMean(delta=0.05, **BOTH).read(answer, 3)


@pytest.mark.parametrize(
    "rule",
    [
        lambda: BoundedMean(delta=1e-13, **BOTH),
        lambda: WithoutReplacement(delta=0.05, population=0, **BOTH),
        lambda: FixedSize(at_upheld=0.05, at_violated=1.0, size=10, **BOTH),
    ],
)
def test_a_broken_rule_is_refused(rule) -> None:
    with pytest.raises(InvalidParameter, match="must be"):
        rule()
