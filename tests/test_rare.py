"""Certified rare events: limits against exact binomial chances, from 1e-2 to 1e-300, one neuron and several."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from scipy.stats import beta, binom

from boundlab import CoreNetBudget, InvalidParameter, compress, random_network
from boundlab.compressors.method import draw_layer
from boundlab.concentration.betting import mean_lower_limit, mean_upper_limit
from boundlab.concentration.tilting import upper_tilt, whole_multiples
from boundlab.verification import tilted_sums
from boundlab.verification.judging.evidence import log_e_upheld, log_e_violated
from boundlab.verification.rare import rare_failure, rare_failure_of
from boundlab.verification.running.streams import stream
from boundlab.verification.tilted_sums import SampledSum, Tail, WholeSum, simulate

ZERO_ONE = np.array([0.0, 1.0])
# (m, chance of a 1, low, high): Bin(m, p) leaves [low, high]; at 1e-300 only the upper side can.
ORACLES = {
    "1e-2": (200, Fraction(1, 4), 35, 66),
    "1e-6": (500, Fraction(1, 10), 21, 84),
    "1e-9": (600, Fraction(1, 10), 18, 107),
    "1e-12": (2_000, Fraction(1, 20), 40, 174),
    "1e-300": (2_000, Fraction(1, 20), 0, 618),
}


def coin(m: int, p: Fraction, low: float, high: float) -> SampledSum:
    return SampledSum(values=ZERO_ONE, q=np.array([1 - float(p), float(p)]), m=m, low=low, high=high)


def exact(m: int, p: Fraction, low: int, high: int) -> Fraction:
    """P(Bin(m, p) < low or > high), in whole numbers."""
    a, b = p.numerator, p.denominator
    outside = (*range(low), *range(high + 1, m + 1))
    return Fraction(sum(math.comb(m, k) * a**k * (b - a) ** (m - k) for k in outside), b**m)


def log(value: Fraction) -> float:
    return math.log(value.numerator) - math.log(value.denominator)


def union(chances: list[Fraction]) -> float:
    return -math.expm1(sum(math.log1p(-float(p)) for p in chances))


@pytest.mark.parametrize("size", ORACLES)
def test_a_thousand_draws_a_side_pin_the_exact_chance_within_a_factor_of_two(size: str) -> None:
    truth = log(exact(*ORACLES[size]))
    assert abs(truth - math.log(float(size))) < math.log(10)
    found = rare_failure(coin(*ORACLES[size]), draws=1_000)
    assert found.log_lower <= truth <= found.log_upper < truth + math.log(2)
    assert truth - math.log(2) < found.log_estimate < found.log_upper <= found.log_chernoff <= found.log_bernstein


def test_limits_miss_the_exact_chance_no_more_often_than_alpha() -> None:
    # alpha = .05 for each limit; 60 seeds of each oracle, 200 draws. The claim P(miss) <= .05 fails if it is refuted
    # at level 1e-6; the 300 repeats uphold P(miss) <= .1 at level 1e-3, so that they could have refuted something.
    truths = {size: log(exact(*case)) for size, case in ORACLES.items()}
    found = [(truths[s], rare_failure(coin(*c), draws=200, seed=k)) for s, c in ORACLES.items() for k in range(60)]
    for misses in (sum(f.log_upper < t for t, f in found), sum(f.log_lower > t for t, f in found)):
        assert log_e_violated(len(found), misses, 0.05) < math.log(1e6)
        assert log_e_upheld(len(found), misses, 0.1) > math.log(1e3)


def test_far_below_the_smallest_float_the_logarithm_still_holds() -> None:
    truth = np.logaddexp.reduce(binom.logpmf(np.arange(3_001, 20_001), 20_000, 0.01))
    found = rare_failure(coin(20_000, Fraction(1, 100), 0, 3_000), draws=2_000)
    assert truth < math.log(1e-308) * 7
    assert found.log_lower <= truth <= found.log_upper < truth + math.log(4)
    assert found.upper == 5e-324, "a limit is 0 only where failing is impossible"
    assert f"e{math.floor(found.log_upper / math.log(10))} over" in found.statement


def test_the_limit_of_a_neuron_tightens_with_draws_and_replaces_hopeless_naive_trials() -> None:
    rng = np.random.default_rng(7)
    values = np.where(rng.random(784) < 0.2, rng.random(784), 0.0)
    q = values + rng.random(784) / 8
    q /= q.sum()
    total = 3_000 * float(values.sum())
    neuron = SampledSum(values=values / q, q=q, m=3_000, low=0.9 * total, high=1.1 * total)
    found = [rare_failure(neuron, draws=n) for n in (200, 1_000, 5_000)]
    assert all(f.lower <= g.upper for f in found for g in found)
    assert found[0].upper > found[1].upper > found[2].upper > 0
    assert found[2].upper < 1.35 * found[2].lower
    assert all(f.naive_trials >= math.log(20) / f.upper * 0.999 for f in found)


THREE = [(300, Fraction(1, 10), 5, 64), (200, Fraction(3, 10), 25, 99), (100, Fraction(1, 2), 22, 78)]


def test_a_layer_of_independent_neurons_has_the_exact_chance_of_its_union() -> None:
    # alpha = .05, 100 seeds of 300 draws; refuted at level 1e-6 or fine
    given, truth = [coin(*c) for c in THREE], union([exact(*c) for c in THREE])
    found = [rare_failure(given, draws=300, seed=k) for k in range(100)]
    for misses in (sum(f.upper < truth for f in found), sum(f.lower > truth for f in found)):
        assert log_e_violated(len(found), misses, 0.05) < math.log(1e6)
    more = rare_failure(given, draws=2_000)
    assert truth <= more.upper < 1.5 * truth
    assert len(more.sides) == 6
    parts = [part.log_estimate for part in more.sides]
    assert abs(np.logaddexp.reduce(parts) - more.log_events) < 1e-9
    for case, above, below in zip(THREE, more.sides[::2], more.sides[1::2], strict=True):
        m, p, low, high = case
        assert abs(above.log_estimate - log(exact(m, p, 0, high))) < 0.5
        assert abs(below.log_estimate - log(exact(m, p, low, m))) < 0.5


def test_failures_that_are_common_overlap_and_the_union_bound_pays_for_it() -> None:
    cases = [(50, Fraction(1, 2), 20, 29)] * 5
    truth = union([exact(*c) for c in cases])
    found = rare_failure([coin(*c) for c in cases], draws=3_000)
    assert found.lower <= truth <= found.upper < 1.1 * truth
    assert abs(math.exp(found.log_events) - 5 * float(exact(*cases[0]))) < 0.1
    assert found.log_events > found.log_estimate + math.log(1.3)


def test_a_sequence_of_one_neuron_is_that_neuron() -> None:
    neuron = coin(*ORACLES["1e-6"])
    assert rare_failure([neuron], draws=100) == rare_failure(neuron, draws=100)
    assert rare_failure(neuron, draws=100) != rare_failure(neuron, draws=100, seed=1)


def test_more_draws_continue_the_same_outcomes_at_any_block_size(monkeypatch: pytest.MonkeyPatch) -> None:
    read = [WholeSum.of(coin(*c)) for c in THREE]
    tails = [(r, tail) for r, whole in enumerate(read) for tail in whole.tails.values() if isinstance(tail, Tail)]

    def shares(draws: int) -> np.ndarray:
        return simulate(read, tails, draws, [stream("a", 0, k) for k in range(4)]).shares

    long = shares(400)
    assert np.array_equal(shares(150), long[:150])
    monkeypatch.setattr(tilted_sums, "BLOCK", 7)
    assert np.array_equal(shares(400), long)


def test_an_impossible_failure_has_the_limit_zero_and_says_so() -> None:
    sure = rare_failure(coin(10, Fraction(1, 2), 0, 10))
    assert (sure.upper, sure.estimate, sure.lower, sure.draws) == (0.0, 0.0, 0.0, 0)
    assert "= 0" in sure.statement
    assert all("impossible" in part.note for part in sure.sides)
    assert sure.naive_trials == math.inf
    half = rare_failure(coin(40, Fraction(1, 2), -math.inf, 38))
    assert [bool(part.note) for part in half.sides] == [False, True]
    truth = exact(40, Fraction(1, 2), 0, 38)
    assert half.lower <= truth <= half.upper < 2 * truth


def test_the_largest_sum_alone_is_certified_too() -> None:
    truth = exact(30, Fraction(1, 10), 0, 29)  # 1e-30
    found = rare_failure(coin(30, Fraction(1, 10), -math.inf, 29), draws=1_000)
    assert found.lower <= truth <= found.upper < 1.2 * truth


@pytest.mark.parametrize("chance", [1e-299, 1e-300])
@pytest.mark.parametrize(("values", "low", "high"), [([0.0, 1.0], 0.25, math.inf), ([1.0, 0.0], -math.inf, 0.75)])
def test_a_value_that_is_hardly_ever_drawn_is_certified(chance: float, values: list, low: float, high: float) -> None:
    found = rare_failure(
        SampledSum(values=np.array(values), q=np.array([chance, 1.0]), m=1, low=low, high=high), draws=1_000
    )
    assert found.log_lower <= math.log(chance) <= found.log_upper


def test_a_largest_sum_that_is_rounded_is_certified_too() -> None:
    # 6 * 0.3 alone is above; counted from 6 * (-2.5) on, it and 6 times the largest value are rounded apart
    neuron = SampledSum(
        values=np.array([-2.5, 0.3]), q=np.array([0.5, 0.5]), m=6, low=-math.inf, high=math.nextafter(1.8, 0.0)
    )
    found = rare_failure(neuron, draws=500)
    assert found.log_lower <= -6 * math.log(2) <= found.log_upper


@pytest.mark.parametrize(("low", "high"), [(0, 60), (140, 200), (-5, -1), (300, 400)])
def test_limits_that_do_not_enclose_the_mean_give_plain_monte_carlo(low: int, high: int) -> None:
    case = (200, Fraction(1, 2), min(max(low, 0), 201), max(high, -1))
    found = rare_failure(coin(200, Fraction(1, 2), low, high), draws=400)
    assert found.lower <= exact(*case) <= found.upper <= 1.0
    assert found.upper > 0.97
    assert 0 in [part.theta for part in found.sides if not part.note]


def test_an_outcome_within_the_blur_counts_against_both_limits() -> None:
    # Bin(200, .25) > 66 at blur 3: the upper limit is of > 63, the lower one of > 69
    p = Fraction(1, 4)
    found = rare_failure(
        SampledSum(values=ZERO_ONE, q=np.array([0.75, 0.25]), m=200, low=-math.inf, high=66.0, blur=3.0), draws=20_000
    )
    may, does = float(exact(200, p, 0, 63)), float(exact(200, p, 0, 69))
    assert may <= found.upper < 1.1 * may
    assert does > found.lower > 0.8 * does


def test_values_of_any_scale_and_offset_give_the_same_event() -> None:
    base, q = np.array([0.0, 0.7, 1.9, 5.3]), np.array([0.4, 0.3, 0.2, 0.1])
    limits = {}
    for scale, offset in ((1.0, 0.0), (1e200, 0.0), (-1e-200, 0.0), (1.0, 1e6)):
        ends = [scale * (x + 300 * offset / scale if offset else x) for x in (250.05, 620.05)]
        neuron = SampledSum(values=scale * base + offset, q=q, m=300, low=min(ends), high=max(ends))
        found = rare_failure(neuron, draws=4_000)
        limits[scale, offset] = found.log_estimate
        assert found.log_upper - found.log_lower < 0.5
    assert np.ptp(list(limits.values())) < 0.2


@pytest.mark.parametrize(
    "call",
    [
        lambda: SampledSum(values=ZERO_ONE, q=np.array([0.5, 0.6]), m=3, low=0, high=1),
        lambda: SampledSum(values=ZERO_ONE, q=np.array([-0.5, 1.5]), m=3, low=0, high=1),
        lambda: SampledSum(values=ZERO_ONE, q=np.array([math.nan, 1.0]), m=3, low=0, high=1),
        lambda: SampledSum(values=np.array([0.0, math.inf]), q=np.array([0.5, 0.5]), m=3, low=0, high=1),
        lambda: SampledSum(values=ZERO_ONE, q=np.array([1.0]), m=3, low=0, high=1),
        lambda: SampledSum(values=ZERO_ONE, q=np.array([0.5, 0.5]), m=0, low=0, high=1),
        lambda: SampledSum(values=ZERO_ONE, q=np.array([0.5, 0.5]), m=3, low=2, high=1),
        lambda: SampledSum(values=ZERO_ONE, q=np.array([0.5, 0.5]), m=3, low=math.nan, high=1),
        lambda: SampledSum(values=ZERO_ONE, q=np.array([0.5, 0.5]), m=3, low=0, high=1, blur=-1.0),
        lambda: SampledSum(values=ZERO_ONE, q=np.array([1e-310, 1.0]), m=3, low=1, high=2),  # no digits to tilt
        lambda: upper_tilt(ZERO_ONE, np.array([1.0, 1e-310]), 3, 2.5),
        lambda: rare_failure([]),
        lambda: rare_failure(coin(3, Fraction(1, 2), 0, 2), draws=0),
        lambda: rare_failure(coin(3, Fraction(1, 2), 0, 2), alpha=1.0),
        lambda: rare_failure(coin(3, Fraction(1, 2), 0, 2), seed=-1),
        lambda: upper_tilt(ZERO_ONE, np.array([0.5, 0.5]), 3, 3.5),
        lambda: upper_tilt(ZERO_ONE, np.array([0.5, math.nan]), 3, 2.5),
        lambda: whole_multiples(np.array([1e-300]), 3),
        lambda: mean_upper_limit(np.array([2.0]), 0.05),
        lambda: mean_lower_limit(np.array([0.5]), 0.0),
    ],
)
def test_a_broken_argument_is_refused(call) -> None:
    with pytest.raises(InvalidParameter, match="must"):
        call()


def test_no_value_at_all_bounds_no_mean() -> None:
    assert (mean_lower_limit(np.zeros(0), 0.05), mean_upper_limit(np.zeros(0), 0.05)) == (0.0, 1.0)


def plan_and_input():
    net = random_network([40, 12, 5], rng=3)
    points = np.random.default_rng(4).random((200, 40))
    compression = compress(net, CoreNetBudget(nnz=200), points, rng=0)
    return net.layers[0].weight, compression.plans[0], points[0]


def test_the_first_layer_of_a_net_fails_as_often_as_its_drawn_weights_do() -> None:
    weight, plan, x = plan_and_input()
    sampled = plan.draws > 0
    assert sampled.sum() > 5
    groups, truth = plan.groups, plan.groups.sums(np.abs(plan.groups.take(weight)) * x[plan.groups.columns])
    failures, trials, rng = 0, 2_000, np.random.default_rng(5)
    for _ in range(trials):
        drawn = groups.sums(np.abs(groups.take(draw_layer(weight, plan, rng))) * x[groups.columns])
        failures += bool((np.abs(drawn - truth)[sampled] > 0.5 * truth[sampled]).any())
    low = float(beta.ppf(1e-6, failures, trials - failures + 1))
    high = float(beta.ppf(1 - 1e-6, failures + 1, trials - failures))
    found = rare_failure_of(plan, weight, x, eps=0.5, draws=2_000)
    assert low <= found.upper
    assert found.lower <= high
    assert failures > 20, "the naive count has something to say"
    assert {part.neuron for part in found.sides} == set(np.flatnonzero(sampled))


def test_the_promise_of_a_plan_stands_above_what_is_certified_for_one_input() -> None:
    weight, plan, x = plan_and_input()
    found = rare_failure_of(plan, weight, x, draws=1_000)
    assert found.log_promised is not None
    assert found.log_upper < found.log_promised <= 0
    assert [row["quantity"] for row in found.rows()][-1] == "theorem, shares up to K s"
    assert "exact groups" in found.statement
    spike = np.zeros_like(x)
    spike[plan.groups.columns[np.argmin(plan.sensitivities.values)]] = (
        1.0  # one active input has a share of 1 in every group
    )
    assert rare_failure_of(plan, weight, spike, draws=50).log_promised is None, "its premise is broken"


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"x": np.full(40, -1.0)}, "at least 0"),
        ({"x": np.ones(7)}, "must fit"),
        ({"weight": np.ones((12, 7))}, "must fit"),
        ({"eps": 0.0}, "eps must be"),
    ],
)
def test_an_input_that_does_not_fit_the_plan_is_refused(change: dict, rule: str) -> None:
    weight, plan, x = plan_and_input()
    with pytest.raises(InvalidParameter, match=rule):
        rare_failure_of(**{"plan": plan, "weight": weight, "x": x, **change})


def test_the_looseness_budget_is_a_table_and_a_figure() -> None:
    found = rare_failure([coin(*c) for c in THREE], draws=500)
    rows = {row["quantity"]: row for row in found.rows()}
    assert rows["estimate"]["times_estimate"] == rows["certified upper limit"]["times_upper"] == 1.0
    order = [row["log10"] for name, row in rows.items() if not name.startswith("sum over events")]
    assert order == sorted(order)
    assert rows["certified upper limit"]["probability"] == found.upper
    ax = found.plot()
    assert [text.get_text() for text in ax.get_yticklabels()] == list(rows)
    assert len(found.to_frame()) == 6
    assert len(found.sides[0].rows()) == 1
