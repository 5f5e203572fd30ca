"""All levels of one theorem at once: the single verdicts, and what no single level sees."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy.stats import norm

from boundlab._errors import GuaranteeViolated, InvalidParameter
from boundlab.verification import Claim, ProcessPool, State, verify
from boundlab.verification.levels import largest_level, verify_levels
from tests.schemas import validate

CLAIM = Claim(name="sub-Gaussian with parameter 1: P(|X| > t) <= 2 exp(-t^2/2)", delta=0.5)


def p_value(error: np.ndarray) -> np.ndarray:
    """The largest delta with sqrt(2 ln(2/delta)) >= |error|, at most 1."""
    return np.minimum(1.0, 2.0 * np.exp(-(error**2) / 2))


def normal(sigma: float) -> Callable[[np.random.Generator, int], np.ndarray]:
    return lambda rng, n: p_value(sigma * rng.normal(size=n))


def wide(rng: np.random.Generator, n: int) -> np.ndarray:
    return p_value(1.6 * rng.normal(size=n))


def given(values: np.ndarray) -> Callable[[np.random.Generator, int], np.ndarray]:
    return lambda rng, n: values[:n]


# Detection at alpha 1e-3: medians of 1,562, 297 and 60 trials were published for a simulation of 300 runs.
@pytest.mark.parametrize(
    ("sigma", "low", "high", "runs"), [(1.4, 900, 2500, 7), (1.6, 170, 450, 15), (2.0, 35, 90, 25)]
)
def test_errors_that_are_too_large_are_detected(sigma: float, low: int, high: int, runs: int) -> None:
    found = [
        verify_levels(CLAIM, normal(sigma), alpha_violated=1e-3, seed=s, max_trials=20_000, batch=64, executor=1)
        for s in range(runs)
    ]
    assert {v.state for v in found} == {State.VIOLATED}
    assert low < np.median([v.trials for v in found]) < high


def test_one_level_alone_can_hold_where_the_theorem_fails() -> None:
    # sigma = 1.4 at delta = .1: P(|X| > sqrt(2 ln 20)) = .080 <= .1
    t = math.sqrt(2 * math.log(2 / 0.1))
    assert 2 * norm.sf(t / 1.4) < 0.1
    single = verify(
        Claim(name="at 0.1", delta=0.1), lambda rng, n: normal(1.4)(rng, n) < 0.1, batch=64, max_trials=5_000
    )
    assert single.state is State.UPHELD


def test_a_true_theorem_gives_no_alarm() -> None:
    # alpha 1e-3, 10 runs of 2,000 trials each
    for seed in range(10):
        found = verify_levels(CLAIM, normal(1.0), alpha_violated=1e-3, seed=seed, max_trials=2_000, batch=500)
        assert found.state is State.UNDECIDED
        assert found.levels[0].state is State.UPHELD


def test_a_theorem_is_upheld_once_every_level_is() -> None:
    levels = (0.5, 0.25, 0.125)
    found = verify_levels(CLAIM, normal(0.5), levels=levels, batch=32)
    assert found.state is State.UPHELD
    assert found.require() is found
    assert found.trials == max(level.decided for level in found.levels)


@pytest.mark.parametrize("sigma", [0.7, 1.0, 1.6])
def test_each_level_has_the_verdict_that_it_would_have_alone(sigma: float) -> None:
    # the same 800 values through `verify` at alpha/12, up to the trial that ended the run of all levels
    values = normal(sigma)(np.random.default_rng(5), 800)
    found = verify_levels(CLAIM, given(values), batch=800, max_trials=800, alpha_violated=1e-3)
    part = (1 - 2.0**-50) / 12
    for level in found.levels:
        claim = Claim(name="alone", delta=level.delta)
        alone = verify(
            claim,
            lambda rng, n, d=level.delta: values[:n] < d,
            batch=800,
            max_trials=found.trials,
            alpha_upheld=1e-3 * part,
            alpha_violated=1e-3 * part,
        )
        assert level.state is alone.state
        assert level.decided == (alone.trials if alone.state is not State.UNDECIDED else 0)
        assert level.failures == (values[: found.trials] < level.delta).sum()
        assert (level.interval[0] >= level.delta) == (level.state is State.VIOLATED)
        assert (level.interval[1] <= level.delta) == (level.state is State.UPHELD)


def test_the_curve_counts_trials_below_each_point() -> None:
    values = np.random.default_rng(2).random(300)
    values[:3] = [0.5, 0.25, np.nan]
    found = verify_levels(CLAIM, given(values), batch=300, max_trials=300)
    assert found.trials == 300
    assert found.unknown == 1
    for u, count in found.curve:
        assert count == (values < u).sum()
    assert {level.delta for level in found.levels} <= {u for u, _ in found.curve}


def test_unknown_trials_count_against_either_verdict() -> None:
    found = verify_levels(CLAIM, given(np.full(500, np.nan)), batch=500, max_trials=500)
    assert (found.state, found.unknown, found.failures) == (State.UNDECIDED, 500, 0)
    assert {level.state for level in found.levels} == {State.UNDECIDED}
    assert {level.interval for level in found.levels} == {(0.0, 1.0)}


def test_two_processes_and_one_give_the_same_levels() -> None:
    with ProcessPool(2) as pool:
        here, there = (verify_levels(CLAIM, wide, executor=e, max_trials=150) for e in (1, pool))
    assert here.to_dict() == there.to_dict()


def test_a_resumed_or_recorded_run_is_one_longer_run(tmp_path: Path) -> None:
    whole = verify_levels(CLAIM, normal(1.0), max_trials=300)
    assert verify_levels(CLAIM, normal(1.0), max_trials=100).resume(max_trials=300).to_dict() == whole.to_dict()
    file = tmp_path / "levels.json"
    verify_levels(CLAIM, normal(1.0), max_trials=100, record=file)
    assert verify_levels(CLAIM, normal(1.0), max_trials=300, record=file).to_dict() == whole.to_dict()
    with pytest.raises(InvalidParameter, match="another method"):
        verify_levels(CLAIM, normal(1.0), levels=(0.5, 0.1), record=file)


def test_a_table_of_a_theorem_gives_the_largest_level_that_covers() -> None:
    levels, eps = (0.5, 0.1, 0.01), (1.0, 2.0, 3.0)
    errors = np.array([0.5, 1.0, 1.5, 2.5, 9.0, np.nan])
    found = largest_level(errors, levels, eps)
    for delta, bound in zip(levels, eps, strict=True):
        assert ((found < delta) == (errors > bound))[:-1].all()
    assert math.isnan(found[-1])
    with pytest.raises(InvalidParameter, match="must not rise"):
        largest_level(errors, levels, (3.0, 2.0, 1.0))
    with pytest.raises(InvalidParameter, match="rows of one length"):
        largest_level(errors, levels, (1.0,))
    with pytest.raises(InvalidParameter, match="a row of numbers"):
        largest_level(0.1, levels, eps)


@pytest.mark.parametrize(
    ("answer", "rule"),
    [
        (np.zeros(4, bool), "levels as floats"),
        (np.zeros(4, np.int8), "levels as floats"),
        (np.zeros((4, 2)), "levels as floats"),
        (np.full(4, 1.5), r"in \[0, 1\]"),
        (np.full(4, -0.1), r"in \[0, 1\]"),
        (np.full(4, np.inf), r"in \[0, 1\]"),
        (np.ma.array(np.ones(4), mask=[False, False, True, True]), "got 2 masked"),
    ],
)
def test_anything_but_levels_is_refused(answer: np.ndarray, rule: str) -> None:
    with pytest.raises(InvalidParameter, match=rule):
        verify_levels(CLAIM, lambda rng, n: answer, batch=4)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"levels": (0.25, 0.1)}, "largest level must be"),
        ({"levels": ()}, "largest level must be"),
        ({"levels": (0.5, 0.0)}, "a level must be in"),
        ({"alpha_upheld": 1.0}, "alpha_upheld must be in"),
        ({"max_trials": 0}, "max_trials must be"),
    ],
)
def test_a_broken_argument_is_refused(change: dict, rule: str) -> None:
    with pytest.raises(InvalidParameter, match=rule):
        verify_levels(CLAIM, normal(1.0), **change)


def test_shares_and_sets_have_no_levels() -> None:
    with pytest.raises(InvalidParameter, match="all levels are judged over"):
        verify_levels(Claim(name="a", delta=0.5, over="coins, mean over a set"), normal(1.0))


def test_a_verdict_on_all_levels_is_no_truth_value() -> None:
    found = verify_levels(CLAIM, normal(2.0), batch=64)
    with pytest.raises(TypeError):
        bool(found)
    with pytest.raises(GuaranteeViolated, match="violated at"):
        found.require()
    validate(found.to_dict(), "levels")
    assert found.to_dict()["verdict"] == "violated"
    assert len(found.to_frame()) == 12


def test_figures_stand_on_the_axes_that_they_are_given() -> None:
    found = verify_levels(CLAIM, normal(2.0), batch=64)
    for draw in (found.plot, found.plot_tail, partial(found.plot_tail, eps=lambda d: math.sqrt(2 * math.log(2 / d)))):
        ax = Figure().subplots()
        assert draw(ax) is ax
        assert ax.get_legend() is not None
        ax.figure.canvas.draw()


def test_the_band_of_a_figure_encloses_the_truth() -> None:
    # U uniform: P(U < u) = u lies inside the 95 % band at every u, in 40 runs; refuted only beyond 12 misses
    from boundlab.report.guarantee_figures import _band

    missed = 0
    for seed in range(40):
        found = verify_levels(CLAIM, lambda rng, n: rng.random(n), seed=seed, batch=400, max_trials=400)
        u, _, low, high = _band(found, 0.05)
        missed += bool(((low > u) | (high < u)).any())
    assert missed <= 12
