"""Splitting: near exact binomial tails from 1e-2 to 1e-10, right where scores tie, and never a verdict."""

from __future__ import annotations

import json
import math
from functools import cache

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from boundlab._errors import InvalidParameter
from boundlab.compressors.corenet import CoreNetBudget
from boundlab.compressors.method import Redraw, compress
from boundlab.nets.toy import random_network
from boundlab.records import Compression
from boundlab.verification.judging.evidence import log_e_upheld, log_e_violated
from boundlab.verification.rare import rare_failure_of
from boundlab.verification.running.streams import stream
from boundlab.verification.splitting import (
    NetCoins,
    SplittingEstimate,
    split_once,
    splitting_estimate,
    splitting_failure_of,
)

# (m, chance of a 1, level): P(Bin(m, p) > level), as a two-valued v makes of one sampled neuron
ORACLES = {"1e-2": (200, 0.25, 66), "1e-6": (500, 0.1, 84), "1e-10": (600, 0.1, 110)}


def binomial(m: int, p: float):
    """Draw and move for a count of m coins, of which a move tosses some again."""

    def draw(rng: np.random.Generator) -> int:
        return int(rng.binomial(m, p))

    def move(rng: np.random.Generator, count: int) -> int:
        share = 2.0 ** -rng.uniform(0, 8)
        ones, zeros = int(rng.binomial(count, share)), int(rng.binomial(m - count, share))
        return count - ones + int(rng.binomial(ones + zeros, p))

    return draw, move


def estimate(size: str, **settings: int) -> tuple[float, SplittingEstimate]:
    m, p, level = ORACLES[size]
    draw, move = binomial(m, p)
    return float(binom.sf(level, m, p)), splitting_estimate(draw, move, float, level, **settings)


def test_a_run_is_within_a_factor_of_four_of_the_exact_chance() -> None:
    # The claim: a run of N = 100 and 10 moves is off by more than a factor 4 with chance at most delta = .1, 24 runs of
    # each oracle pooled. It fails if that is refuted at level 1e-6, its rate of false alarms where the claim is true;
    # the same 72 runs uphold delta = .25 at level 1e-3, so that they could have refuted something. In the exact
    # setting ln p^ has a standard deviation of (22/100)^(1/2) = .47 at 1e-10, and moves make more of it.
    misses, runs = 0, 24
    for size in ORACLES:
        truth, found = estimate(size, particles=100, moves=10, runs=runs)
        misses += sum(not truth / 4 < value < 4 * truth for value in found.values)
    assert log_e_violated(3 * runs, misses, 0.1) < math.log(1e6)
    assert log_e_upheld(3 * runs, misses, 0.25) > math.log(1e3)


@pytest.mark.parametrize("size", ORACLES)
def test_the_mean_of_runs_is_within_four_standard_errors_and_cheaper_than_counting(size: str) -> None:
    # 4 ideal standard errors: (p^(-1/N) - 1)/runs is the relative variance in the exact setting, so that by Chebyshev
    # the chance of a false alarm is at most 1/16 there, 1/8 where moves double the variance, 5e-3 for a normal mean
    truth, found = estimate(size, particles=100, moves=10, runs=10, seed=1)
    reach = 4 * math.sqrt(math.expm1(-math.log(truth) / 100) / 10)
    assert abs(found.estimate / truth - 1) < reach
    assert found.standard_error < reach * truth
    if truth < 1e-5:
        assert found.evaluations < found.naive_trials / 50


def two_scores(p: float, particles: int, seed: int):
    """One run on scores 0 and 1 with exact replacements: above 0 there is only 1."""

    def draw(rng: np.random.Generator) -> int:
        return int(rng.random() < p)

    def renew(rng: np.random.Generator, survivor: tuple[float, int], floor: float) -> tuple[float, int]:
        return survivor

    return split_once(
        draw, renew, float, 0.0, stream("two scores", seed, 0), particles=particles, max_iterations=particles
    )


def test_where_scores_tie_one_factor_for_all_is_right_and_one_for_each_is_four_times_too_much() -> None:
    # p = 1/10, N = 200, 300 runs. Ours: the survivors of all runs are Bin(60,000, p), tested at level 1e-6, the rate of
    # false alarms. One by one: the mean is (1 - (1-p)/N)^N = e^-.9 in the limit, 4.06 p here; ln of it is
    # K/N, with a standard deviation of (p (1-p)/N)^(1/2) = .021 a run: 300 runs come within 1%, 8 standard errors.
    p, particles, runs = 0.1, 200, 300
    found = [two_scores(p, particles, seed) for seed in range(runs)]
    killed = np.array([run.killed[0] for run in found])
    assert binomtest(int((particles - killed).sum()), runs * particles, p).pvalue > 1e-6
    assert np.allclose([run.value for run in found], 1 - killed / particles, rtol=1e-12)
    naive = float(np.mean((1 - 1 / particles) ** killed))
    factor = (1 - (1 - p) / particles) ** particles / p
    assert 4.05 < factor < math.exp(-0.9) / 0.1 < 4.07
    assert abs(naive / p / factor - 1) < 0.01


def test_the_tie_at_the_level_itself_is_no_failure() -> None:
    # P(S > 1) for S uniform on 0, 1, 2: the states at 1 die; one step by chance reaches every score
    found = splitting_estimate(
        lambda rng: int(rng.integers(3)), lambda rng, _: int(rng.integers(3)), float, 1, particles=300, runs=10
    )
    assert abs(found.estimate - 1 / 3) < 0.1
    assert splitting_estimate(lambda rng: 1, lambda rng, s: s, float, 0.5).estimate == 1.0
    assert splitting_estimate(lambda rng: 1, lambda rng, s: s, float, 1).values == (0.0,) * 10


def test_runs_that_die_out_count_as_zero_and_say_so() -> None:
    draw, move = binomial(4, 0.5)
    found = splitting_estimate(draw, move, float, 4, particles=20, runs=3)  # 5 heads of 4
    assert (found.estimate, found.standard_error, found.died_out) == (0.0, 0.0, 3)
    assert "(3 died out at 0)" in found.statement
    assert math.isnan(found.naive_trials)
    _, some = estimate("1e-10", particles=4, moves=1, runs=12)
    assert some.died_out == sum(value == 0.0 for value in some.values) > 0
    assert some.estimate == math.fsum(some.values) / 12


def test_an_estimate_is_no_verdict() -> None:
    _, found = estimate("1e-2", particles=20, moves=2, runs=2)
    with pytest.raises(TypeError, match="no verdict"):
        bool(found)
    for name in ("state", "require", "delta", "interval", "upper"):
        assert not hasattr(found, name)
    assert "estimate without certificate" in found.statement
    assert "Only rare_failure certifies" in found.statement
    assert [row["certified"] for row in found.rows()] == [False]


def test_mean_and_standard_error_are_those_of_the_runs() -> None:
    found = SplittingEstimate(
        level=1.0,
        values=(1e-3, 3e-3, 0.0, 4e-3),
        iterations=(5, 4, 6, 3),
        levels=((0.5,), (0.25, 0.5), (), (0.75,)),
        particles=10,
        moves=2,
        evaluations=100,
        accepted=15,
        seed=0,
    )
    assert found.estimate == pytest.approx(2e-3)
    assert found.standard_error == pytest.approx(math.sqrt((1 + 1 + 4 + 4) / 3 / 4) * 1e-3)  # sum of squares/(4 x 3)
    assert (found.died_out, found.acceptance) == (1, 0.25)
    assert found.naive_trials == pytest.approx(2e-3 * (1 - 2e-3) / found.standard_error**2)
    told = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert told["values"] == [1e-3, 3e-3, 0.0, 4e-3]
    assert told["levels"][1] == [0.25, 0.5]
    assert (told["certified"], told["estimate"]) == (False, found.estimate)
    assert len(found.to_frame()) == 1


def test_levels_are_the_scores_at_which_a_run_halves() -> None:
    # P(Bin(20, 1/2) > z) is 1/2 to 1e-5 between z = 9 and 10: with 400 states the first halving is at 9, 10 or 11
    draw, move = binomial(20, 0.5)
    found = splitting_estimate(draw, move, float, 17, particles=400, moves=10, runs=3)
    for run, value in zip(found.levels, found.values, strict=True):
        assert len(run) == int(-math.log2(value))
        assert list(run) == sorted(run)
        assert 9 <= run[0] <= 11
        assert run[-1] <= 17


def test_same_seed_same_estimate_and_runs_have_streams_of_their_own() -> None:
    _, found = estimate("1e-2", particles=30, moves=3, runs=3)
    assert estimate("1e-2", particles=30, moves=3, runs=3)[1] == found
    assert estimate("1e-2", particles=30, moves=3, runs=5)[1].values[:3] == found.values
    assert estimate("1e-2", particles=30, moves=3, runs=3, seed=1)[1].values != found.values
    assert len(set(found.values)) == 3


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"level": math.inf}, "level must be finite"),
        ({"level": True}, "level must be finite"),
        ({"particles": 1}, "particles must be at least 2"),
        ({"runs": 1}, "runs must be at least 2"),
        ({"moves": 0}, "moves must be"),
        ({"max_iterations": 0}, "max_iterations must be"),
        ({"max_iterations": 3}, "within max_iterations=3 rounds"),
        ({"seed": -1}, "seed must be"),
        ({"level": "40"}, "level must be finite"),
        ({"score": lambda state: math.nan}, "got nan"),
        ({"score": lambda state: -math.inf}, "got -inf"),
    ],
)
def test_a_broken_argument_is_refused(change: dict, rule: str) -> None:
    draw, move = binomial(100, 0.1)
    with pytest.raises(InvalidParameter, match=rule):
        splitting_estimate(**{"draw": draw, "move": move, "score": float, "level": 40, "particles": 20, **change})


def test_a_level_out_of_reach_of_scores_that_never_tie_ends_with_an_error() -> None:
    with pytest.raises(InvalidParameter, match="above 1e-300"):
        splitting_estimate(lambda r: r.random(), lambda r, x: x + r.random(), float, 1e6, particles=2, moves=1)


@cache
def compressed(sizes: tuple[int, ...], nnz: int) -> tuple[Compression, np.ndarray]:
    points = np.random.default_rng(4).random((200, sizes[0]))
    net = random_network(list(sizes), rng=3, positive=True)
    return compress(net, CoreNetBudget(nnz=nnz), points, rng=0), points[0]


def test_the_score_of_a_draw_is_the_error_of_the_drawn_net_coin_for_coin() -> None:
    points = np.random.default_rng(4).random((50, 12))
    for net in (random_network([12, 8, 3], rng=1), random_network([12, 8, 3], rng=2, positive=True, bias=True)):
        compression = compress(net, CoreNetBudget(nnz=60), points, rng=0)
        coins, drawn, x = NetCoins(compression, points[0]), Redraw(compression), points[:1]
        f = net(x)
        for seed in range(20):
            outputs = drawn.outputs(x, np.random.default_rng(seed))
            score = coins.error(coins.draw(np.random.default_rng(seed)))
            assert score == pytest.approx(float((np.abs(outputs - f) / np.abs(f)).max()), rel=1e-9, abs=1e-12)


def test_a_move_keeps_the_number_of_draws_of_each_group() -> None:
    compression, x = compressed((12, 8, 3), 70)
    coins, rng = NetCoins(compression, x), np.random.default_rng(0)
    counts, changed = coins.draw(rng), []
    for _ in range(200):
        after = coins.move(rng, counts)
        assert np.array_equal(np.add.reduceat(after, coins.indptr[:-1]), coins.size)
        assert after.min() >= 0
        changed.append(np.abs(after - counts).sum() // 2)
        counts = after
    assert min(changed) == 0
    assert max(changed) > coins.size.sum() / 3


@pytest.mark.parametrize(("eps", "size"), [(0.28, 1e-4), (0.36, 1e-6)])
def test_on_one_layer_the_estimate_is_near_the_certified_limits(eps: float, size: float) -> None:
    # One neuron, positive weights and inputs, no bias: both speak of the same event. The relative variance of the mean
    # is (p^(-1/N) - 1)/runs in the exact setting, at most .05 here: a factor 3 below is 3 standard deviations and one
    # above is 9. By Chebyshev at most 1/9 of correct programs would fail, with a normal mean 2e-3.
    compression, x = compressed((40, 1), 25)
    sure = rare_failure_of(compression.plans[0], compression.original.layers[0].weight, x, eps=eps, draws=3_000)
    found = splitting_failure_of(compression, x, eps, particles=60, moves=10, runs=6)
    assert size / 10 < sure.estimate < 10 * size
    assert sure.lower / 3 < found.estimate < 3 * sure.upper


def test_on_a_whole_net_the_estimate_is_near_plain_counting() -> None:
    # 8,000 plain trials, Clopper-Pearson at level 1e-6; the estimate is allowed four ideal standard errors on top
    compression, x = compressed((12, 8, 3), 70)
    coins, rng, eps = NetCoins(compression, x), np.random.default_rng(0), 0.26
    failures = sum(coins.error(coins.draw(rng)) > eps for _ in range(8_000))
    limits = binomtest(failures, 8_000).proportion_ci(1 - 1e-6)
    found = splitting_failure_of(compression, x, eps, particles=60, moves=10, runs=6)
    slack = 4 * math.sqrt(math.expm1(-math.log(failures / 8_000) / 60) / 6)
    assert 20 < failures < 200
    assert limits.low * (1 - slack) < found.estimate < limits.high * (1 + slack)


def test_an_output_of_zero_fails_at_any_error() -> None:
    compression, x = compressed((12, 8, 3), 70)
    coins = NetCoins(compression, np.zeros_like(x))  # no bias: f = 0, and so is every drawn net
    assert coins.error(coins.draw(np.random.default_rng(0))) == 0.0
    coins = NetCoins(compression, x)
    coins.f = np.where(np.arange(3) == 1, 0.0, coins.f)
    assert coins.error(coins.draw(np.random.default_rng(0))) == math.inf


@pytest.mark.parametrize("x", [np.ones(7), np.full(12, np.nan), np.ones((1, 12))])
def test_an_input_that_does_not_fit_the_net_is_refused(x: np.ndarray) -> None:
    with pytest.raises(InvalidParameter, match="x must be"):
        splitting_failure_of(compressed((12, 8, 3), 70)[0], x, 0.5)


def test_a_compression_without_draws_is_refused() -> None:
    compression, x = compressed((12, 8, 3), 10**6)
    assert compression.unchanged
    with pytest.raises(InvalidParameter, match="must sample some group"):
        splitting_failure_of(compression, x, 0.5)
    with pytest.raises(InvalidParameter, match="eps must be"):
        splitting_failure_of(compressed((12, 8, 3), 70)[0], x, -1.0)
