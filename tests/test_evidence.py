"""The evidence: exact where it can be enumerated, never above the truth, and wrong as rarely as it says."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

from boundlab._errors import InvalidParameter
from boundlab.verification import interval, log_e_upheld, log_e_violated, trials_if_no_failure
from boundlab.verification.judging.evidence import lower_limit, upper_limit
from proofs_checks.ville1939_e_process_pair import ever, never, pair

DELTAS = (0.1, 0.05, 0.01, 0.001)


@pytest.mark.parametrize(
    ("alpha", "trials"),
    [(0.05, (33, 68, 343, 3440)), (1e-3, (71, 146, 744, 7472)), (1e-6, (138, 282, 1437, 14435))],
)
def test_failure_free_trials_as_found_by_exact_recursion(alpha: float, trials: tuple[int, ...]) -> None:
    assert tuple(trials_if_no_failure(delta, alpha) for delta in DELTAS) == trials


@pytest.mark.parametrize("delta", [1e-12, 1e-6, 0.01, 0.5, 0.999])
@pytest.mark.parametrize("alpha", [0.9, 0.05, 1e-6, 1e-300])
def test_one_failure_free_trial_less_is_not_enough(delta: float, alpha: float) -> None:
    n = trials_if_no_failure(delta, alpha)
    assert log_e_upheld(n, 0, delta) >= -math.log(alpha) > log_e_upheld(n - 1, 0, delta)
    assert (1 - delta) ** n <= alpha * (1 + 1e-9), "no valid test decides before (1-delta)^n <= alpha"


@pytest.mark.parametrize("delta", [1e-30, 1e-12, 0.05, 0.5, 0.999, 1 - 2**-53])
def test_no_trial_is_no_evidence(delta: float) -> None:
    assert log_e_upheld(0, 0, delta) == 0
    assert log_e_violated(0, 0, delta) == 0


def test_one_trial_by_hand() -> None:
    # M- = w/(1-d) [k=0] + (1-w) E[...] with E[q/d] = 1/2, E[(1-q)/(1-d)] = (1-d/2)/(1-d); M+ is 1 on average at p = d.
    d = 0.25
    assert float(log_e_upheld(1, 1, d)) == pytest.approx(math.log(0.25), abs=1e-12)
    assert float(log_e_upheld(1, 0, d)) == pytest.approx(math.log((0.5 + 0.5 * (1 - d / 2)) / (1 - d)), abs=1e-12)
    # q ~ Beta(1, 2) cut to [1/4, 1]: E[1-q] = (2/3)(1-d), so M+(1, 0) = 2/3 and M+(1, 1) = (1 - 2/3 * 3/4)/d = 2.
    assert float(log_e_violated(1, 0, d)) == pytest.approx(math.log(2 / 3), abs=1e-12)
    assert float(log_e_violated(1, 1, d)) == pytest.approx(math.log(2), abs=1e-12)


def test_reported_evidence_never_exceeds_ball_arithmetic() -> None:
    flint = pytest.importorskip("flint")
    arb, before = flint.arb, flint.ctx.prec
    flint.ctx.prec = 400
    rng = np.random.default_rng(7)
    compared = 0
    try:
        for _ in range(300):
            n, d = int(10 ** rng.uniform(0, 9)), float(10 ** rng.uniform(-12, -0.001))
            k = int(np.clip(round(n * d + 5 * rng.standard_normal() * math.sqrt(n * d + 1)), 0, n))
            for got, truth in zip((log_e_upheld(n, k, d), log_e_violated(n, k, d)), _balls(arb, n, k, d), strict=True):
                if truth.rel_accuracy_bits() > 60 and truth > 0:
                    compared += 1
                    gap = truth.log() - arb(float(got))
                    assert gap >= 0, (n, k, d)
                    assert got < 0 or gap < 1e-5 + 1e-9 * float(got), (n, k, d)
    finally:
        flint.ctx.prec = before
    assert compared > 500


def _balls(arb, n: int, k: int, d: float):
    D, a = arb(d), arb(k + 1)

    def kernel(c, power):
        return (a.lgamma() + c.lgamma() - (a + c).lgamma() - k * D.log() - power * (1 - D).log()).exp()

    c, b = arb(n - k + 1), 1 / (2 * D)
    below = kernel(c, arb(n - k)) * D.beta_lower(a, c, regularized=True) / D / 2
    spike = (-n * (1 - D).log()).exp() / 2 if k == 0 else 0
    above = b * kernel(b + n - k, b + n - k) * (1 - D.beta_lower(a, b + n - k, regularized=True))
    return below + spike, above


@pytest.mark.parametrize("delta", [0.1, 0.05])
@pytest.mark.parametrize("alpha", [0.2, 0.05, 1e-3])
def test_false_verdicts_at_the_threshold_are_rarer_than_alpha(delta: float, alpha: float) -> None:
    assert max(ever(delta, *pair(delta, alpha), round(300 / delta))) <= alpha


@pytest.mark.parametrize("delta", [0.1, 0.05])
def test_false_verdicts_at_five_percent_as_found_by_exact_recursion(delta: float) -> None:
    upheld, violated = ever(delta, *pair(delta, 0.05), round(300 / delta))
    assert 0.044 <= upheld < 0.046
    assert 0.0325 <= violated < 0.0345


@pytest.mark.parametrize("delta", [0.1, 0.05])
def test_wrong_verdicts_away_from_the_threshold_are_rare(delta: float) -> None:
    assert ever(delta / 2, *pair(delta, 0.05), round(300 / delta))[1] < 1e-3
    assert ever(2 * delta, *pair(delta, 0.05), round(300 / delta))[0] < 1.1e-3


def test_the_evidence_decides_when_there_is_something_to_find() -> None:
    upheld, violated = pair(0.05, 0.05)
    assert 0.5 <= ever(0.025, upheld, never, 427)[0] < 0.52, "median 427 trials at delta/2"
    assert 0.5 <= ever(0.1, never, violated, 144)[1] < 0.52, "median 144 trials at 2 delta"


def test_ten_times_too_much_evidence_is_refuted() -> None:
    assert min(ever(0.05, *pair(0.05, 0.5), 6000)) > 0.05


def test_evidence_is_monotone_in_failures() -> None:
    k = np.arange(201)
    assert np.all(np.diff(log_e_upheld(200, k, 0.05)) <= 0)
    assert np.all(np.diff(log_e_violated(200, k, 0.05)) >= 0)


@pytest.mark.parametrize("n", [1, 17, 400, 10**6, 10**9])
def test_the_limits_are_the_verdicts(n: int) -> None:
    ks = np.unique(np.minimum(n, np.array([0, 1, 2, 5, n // 100, n // 2, n - 1, n])))
    trials = np.full(ks.shape, n)
    for alpha in (0.05, 1e-6):
        high, low = upper_limit(trials, ks, alpha), lower_limit(trials, ks, alpha)
        assert np.all(low < high)
        for k, lo, hi in zip(ks, low, high, strict=True):
            if hi < 1:
                assert log_e_upheld(n, k, hi) >= -math.log(alpha) > log_e_upheld(n, k, hi * (1 - 1e-6))
            if lo > 0:
                assert (
                    log_e_violated(n, k, lo) >= -math.log(alpha) > log_e_violated(n, k, min(lo * (1 + 1e-6), 1 - 1e-16))
                )


def test_limits_without_trials_say_nothing() -> None:
    assert interval(0, 0) == (0.0, 1.0)


def test_all_failed_has_no_upper_limit_and_none_failed_no_lower_one() -> None:
    assert interval(50, 50)[1] == 1.0
    assert interval(50, 0)[0] == 0.0


def test_unknown_outcomes_widen_both_sides() -> None:
    low, high = interval(1000, 100, 200)
    assert low == interval(1000, 100)[0] < 0.1
    assert high == interval(1000, 300)[1] > 0.3
    assert interval(20, 0, 20) == (0.0, 1.0)


def test_no_warning_at_the_edges() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for delta in (1e-30, 1e-12, 0.5, 1 - 2**-53):
            for n, k in ((0, 0), (1, 0), (1, 1), (10**9, 0), (10**9, 7), (10**9, 10**9)):
                assert np.isfinite(log_e_upheld(n, k, delta))
                assert np.isfinite(log_e_violated(n, k, delta))


@pytest.mark.parametrize(("n", "k"), [(1, 2), (1, -1), (1.5, 1), (np.array([3, 4]), np.array([0, 5])), (2**60, 0)])
def test_impossible_counts_are_refused(n, k) -> None:
    for function in (log_e_upheld, log_e_violated):
        with pytest.raises(InvalidParameter, match="counts must"):
            function(n, k, 0.1)


@pytest.mark.parametrize("delta", [0.0, 1.0, -0.1, math.nan, 1e-31])
def test_an_impossible_delta_is_refused(delta: float) -> None:
    for call in (lambda: log_e_upheld(1, 0, delta), lambda: trials_if_no_failure(delta, 0.05)):
        with pytest.raises(InvalidParameter, match="delta must be"):
            call()


def test_more_unknown_than_trials_are_refused() -> None:
    with pytest.raises(InvalidParameter, match=r"k \+ unknown must be at most n"):
        interval(10, 6, 5)
