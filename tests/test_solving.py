"""The smallest size that is upheld: brackets around what is known exactly."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy.stats import binom

from boundlab._errors import InvalidParameter
from boundlab.promises import Status
from boundlab.report.guarantee_figures import plot_tightness
from boundlab.verification import Claim, ProcessPool, State
from boundlab.verification.solving import solve
from tests.schemas import validate

DELTA = 0.1


class Missed:
    """m draws all miss an item of probability q: a failure of probability (1 - q)^m, which falls in m."""

    def __init__(self, m: int, q: float) -> None:
        self.rate = (1 - q) ** m

    def __call__(self, rng: np.random.Generator, n: int) -> np.ndarray:
        return rng.random(n) < self.rate


def missed(m: int, q: float = 0.05) -> tuple[Claim, Missed]:
    return Claim(name="the item is found", delta=DELTA, parameters={"m": m, "q": q}), Missed(m, q)


def majority(half: int) -> tuple[Claim, Callable]:
    """2 half + 1 votes, each right with probability .6, have a wrong majority: falls in the number of votes."""
    votes = 2 * half + 1
    claim = Claim(name="the majority is right", delta=DELTA, parameters={"votes": votes})
    return claim, lambda rng, n: rng.binomial(votes, 0.6, size=n) <= half


@pytest.mark.parametrize("seed", range(4))
def test_the_bracket_holds_the_exact_answer(seed: int) -> None:
    needed = next(m for m in range(1, 500) if 0.95**m <= DELTA)
    found = solve(missed, low=1, high=500, seed=seed, max_trials=3_000, batch=100)
    assert found.violated is not None
    assert found.upheld is not None
    assert found.violated < needed == 45 <= found.upheld < 60


def test_the_bracket_of_a_majority_holds_the_binomial_answer() -> None:
    needed = next(h for h in range(1, 200) if binom.cdf(h, 2 * h + 1, 0.6) <= DELTA)
    found = solve(majority, low=1, high=200, over="half", max_trials=3_000, batch=100)
    assert found.violated is not None
    assert found.upheld is not None
    assert found.violated < needed <= found.upheld < 2 * needed


def test_an_undecided_size_narrows_nothing() -> None:
    # 110 trials decide little near the border
    found = solve(missed, low=1, high=500, max_trials=110, batch=110)
    undecided = [m for m, v in found.verdicts if v.state is State.UNDECIDED]
    assert undecided
    assert found.upheld == min(m for m, v in found.verdicts if v.state is State.UPHELD)
    assert all((found.violated or 0) < m < (found.upheld or 501) for m in undecided)


@pytest.mark.parametrize(("low", "high"), [(1, 500), (1, 2), (40, 43), (20, 148)])
def test_alpha_is_split_over_the_most_verdicts_there_can_be(low: int, high: int) -> None:
    most = 2 * math.ceil(math.log2(high - low)) + 2
    found = solve(missed, low=low, high=high, max_trials=300, batch=300, alpha_upheld=0.01, alpha_violated=0.02)
    assert len(found.verdicts) <= most
    for _, verdict in found.verdicts:
        assert 0.999 * 0.01 < verdict.alpha_upheld * most <= 0.01
        assert 0.999 * 0.02 < verdict.alpha_violated * most <= 0.02
    assert len({verdict.claim.id for _, verdict in found.verdicts}) == len(found.verdicts)


def test_a_search_ends_at_once_where_an_end_decides() -> None:
    short = solve(missed, low=1, high=20, max_trials=3_000, batch=100)  # .95^20 = .36
    assert (short.upheld, short.violated, len(short.verdicts)) == (None, 20, 1)
    assert short.ratio == (0.0, math.inf)
    loose = solve(missed, low=100, high=400, theory=400, max_trials=3_000, batch=100)  # .95^100 = .006
    assert (loose.upheld, loose.violated, len(loose.verdicts)) == (100, None, 2)
    assert loose.ratio == (pytest.approx(4.0), math.inf)
    assert loose.ratio[0] <= 4.0


def test_the_ratio_lies_between_its_limits() -> None:
    found = solve(missed, low=1, high=500, theory=90, max_trials=3_000, batch=100)
    assert found.ratio[0] <= 90 / 45 <= found.ratio[1]
    assert found.ratio[0] > 1.5


def test_the_premise_is_told_as_assumed() -> None:
    found = solve(missed, low=40, high=60, max_trials=200, batch=200)
    assert [p.status for p in found.premises] == [Status.ASSUMED]
    assert "does not rise with m" in found.premises[0].text


def test_two_processes_and_one_find_the_same() -> None:
    with ProcessPool(2) as pool:
        here, there = (solve(missed, low=1, high=100, max_trials=200, batch=50, executor=e) for e in (1, pool))
    assert here.to_dict() == there.to_dict()


def test_a_recorded_search_goes_on_where_it_stopped(tmp_path: Path) -> None:
    first = solve(missed, low=1, high=100, max_trials=200, batch=50, record=tmp_path)
    calls: list[int] = []

    def again(m: int) -> tuple[Claim, Any]:
        def trial(rng: np.random.Generator, n: int) -> np.ndarray:
            calls.append(m)
            return missed(m)[1](rng, n)

        return missed(m)[0], trial

    assert solve(again, low=1, high=100, max_trials=200, batch=50, record=tmp_path).to_dict() == first.to_dict()
    assert not calls


def test_inputs_are_drawn_afresh_for_each_size() -> None:
    def family(m: int) -> tuple[Claim, Callable]:
        claim = Claim(name="all m draws are above x", delta=DELTA, parameters={"m": m})
        return claim, lambda rng, x: rng.random(len(x)) < (1 - x[:, 0]) ** m

    # P = E[(1 - x)^m] = 1/(m + 1) for uniform x: at most 0.1 from m = 9 on
    found = solve(family, low=1, high=64, inputs=lambda rng, n: rng.random((n, 1)), max_trials=3_000, batch=100)
    assert found.violated is not None
    assert found.upheld is not None
    assert found.violated < 9 <= found.upheld < 15


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"low": 10, "high": 10}, "low must be below high"),
        ({"low": 0}, "low must be a whole number"),
        ({"theory": 0}, "theory must be a whole number"),
        ({"inputs": np.zeros((9, 1))}, "inputs must be a sampler"),
        ({"alpha_upheld": 0.0}, "alpha_upheld must be in"),
    ],
)
def test_a_broken_argument_is_refused(change: dict, rule: str) -> None:
    with pytest.raises(InvalidParameter, match=rule):
        solve(missed, **{"low": 1, "high": 100, **change})


def test_sizes_with_one_claim_are_refused() -> None:
    claim = Claim(name="whatever m", delta=DELTA)
    with pytest.raises(InvalidParameter, match="must name m among its claim's parameters"):
        solve(lambda m: (claim, Missed(m, 0.05)), low=1, high=500, batch=100)


def test_figures_stand_on_the_axes_that_they_are_given() -> None:
    found = solve(missed, low=1, high=500, theory=90, max_trials=1_000, batch=100)
    ax = Figure().subplots()
    assert found.plot(ax) is ax
    ax.figure.canvas.draw()
    ax = Figure().subplots()
    assert plot_tightness([(0.1, found), (0.2, found)], ax) is ax
    ax.figure.canvas.draw()
    with pytest.raises(InvalidParameter, match="tightness is drawn"):
        plot_tightness([(0.1, solve(missed, low=1, high=500, max_trials=200, batch=200))])
    validate(found.to_dict(), "tightness")
    assert found.to_dict()["upheld"] == found.upheld
    assert found.to_frame()["m"].is_monotonic_increasing
