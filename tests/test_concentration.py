"""Binomial tails, Clopper-Pearson limits, the relative entropy and its inverses."""

from __future__ import annotations

import math
import time
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import beta, binom

from boundlab._errors import InvalidParameter
from boundlab.concentration.binomial import log_cdf, log_sf, lower_limit, tail_inverse, upper_limit
from boundlab.concentration.chernoff import kl, kl_inverse, kl_inverse_lower

DIGITS = mpmath.workdps(50)

# Upper limits at level 0.05, in per cent: Clopper and Pearson's method as a Beta quantile, computed independently.
LIMITS = [(0, 10_000, 0.0300), (100, 10_000, 1.180), (200, 10_000, 2.246), (450, 10_000, 4.856), (300, 30_000, 1.100)]


def true_log_cdf(k: int, n: int, p: float) -> Any:
    """Return ln P[Bin(n, p) <= k] to 40 digits, by summing terms from the top down (the complement above the mean)."""
    P = mpmath.mpf(p)
    if k >= n * P and k < n:
        return mpmath.log1p(-mpmath.exp(true_log_sum(n - k - 1, n, 1 - P)))
    return true_log_sum(k, n, P)


def true_log_sum(k: int, n: int, P: Any) -> Any:
    if k == n:
        return mpmath.mpf(0)
    top = mpmath.loggamma(n + 1) - mpmath.loggamma(k + 1) - mpmath.loggamma(n - k + 1)
    top += k * mpmath.log(P) + (n - k) * mpmath.log1p(-P)
    total = term = mpmath.mpf(1)
    odds = (1 - P) / P
    for i in range(k, 0, -1):
        term *= odds * i / (n - i + 1)
        total += term
        if term < total * mpmath.mpf(10) ** -45:
            break
    return top + mpmath.log(total)


@st.composite
def tails(draw: st.DrawFn, most: int = 100_000) -> tuple[int, int]:
    """(k, n) with 0 <= k < n, small counts and large ones."""
    n = draw(st.one_of(st.integers(1, 30), st.integers(1, most)))
    k = draw(st.one_of(st.integers(0, min(n - 1, 5)), st.integers(0, n - 1), st.just(n - 1)))
    return k, n


@pytest.mark.parametrize(("k", "n", "percent"), LIMITS)
def test_published_limits(k: int, n: int, percent: float) -> None:
    assert 100 * upper_limit(k, n, 0.05) == pytest.approx(percent, abs=6e-4 if percent > 1 else 6e-5)


@pytest.mark.parametrize("alpha", [1e-12, 1e-3, 0.05, 0.5, 0.999])
@pytest.mark.parametrize(("k", "n"), [(0, 1), (0, 59), (1, 2), (3, 100), (99, 100), (450, 10_000), (5_000_000, 10**7)])
def test_limits_agree_with_the_beta_quantile(k: int, n: int, alpha: float) -> None:
    high, low = upper_limit(k, n, alpha), lower_limit(k, n, alpha)
    assert high == pytest.approx(beta.isf(alpha, k + 1, n - k), rel=1e-9)
    assert low == pytest.approx(beta.ppf(alpha, k, n - k + 1) if k else 0.0, rel=1e-9)
    # a union of two one-sided limits: they may cross only where both levels together exceed 1
    assert low <= high or alpha > 0.5


def test_all_failures_and_none() -> None:
    assert upper_limit(7, 7, 0.05) == 1.0
    assert lower_limit(0, 7, 0.05) == 0.0
    assert upper_limit(0, 59, 0.05) == pytest.approx(1 - 0.05 ** (1 / 59), rel=1e-12)
    assert lower_limit(59, 59, 0.05) == pytest.approx(0.05 ** (1 / 59), rel=1e-12)


@settings(max_examples=150, deadline=None)
@given(counts=tails(), exponent=st.floats(-8, 6))
@example(counts=(9_999, 10_000), exponent=6.0)
@example(counts=(5_000_000, 10_000_000), exponent=0.5)
@example(counts=(5_000_000, 10_000_000), exponent=6.0)
@example(counts=(0, 1), exponent=-8.0)
def test_tail_inverse_is_never_below_the_truth_and_close_to_it(counts: tuple[int, int], exponent: float) -> None:
    (k, n), log_delta = counts, -(10.0**exponent)
    p = tail_inverse(k, n, log_delta)
    with DIGITS:
        assert p == 1.0 or true_log_cdf(k, n, p) < log_delta  # the cdf falls, so the supremum is smaller
        below = p - 1e-6 * min(p, 1 - p) if p < 1 else 1 - 2.0**-52
        if below < p and 1 - below > 1e-9:
            assert true_log_cdf(k, n, below) >= log_delta


@settings(max_examples=150, deadline=None)
@given(counts=tails(), z=st.floats(-6, 6), far=st.floats(0.001, 0.999), near=st.booleans())
def test_log_cdf_encloses_the_truth(counts: tuple[int, int], z: float, far: float, near: bool) -> None:
    k, n = counts
    p = min(max((k + z * math.sqrt(k + 1)) / n, 1e-9), 1 - 1e-9) if near else far
    low, high = log_cdf(k, n, p)
    with DIGITS:
        truth = true_log_cdf(k, n, p)
    assert low <= truth <= high <= 0
    assert high - low <= 1e-12 + 1e-14 * (n + abs(float(truth)))


@settings(max_examples=60, deadline=None)
@given(counts=tails(2_000), p=st.floats(0.01, 0.99))
def test_both_tails_agree_with_scipy(counts: tuple[int, int], p: float) -> None:
    k, n = counts
    for (low, high), other in ((log_cdf(k, n, p), binom.logcdf(k, n, p)), (log_sf(k + 1, n, p), binom.logsf(k, n, p))):
        if other > -500:
            assert low - 1e-8 * (1 + abs(other)) <= other <= high + 1e-8 * (1 + abs(other))


def test_impossible_and_certain_events() -> None:
    assert log_cdf(3, 3, 0.5) == (0.0, 0.0)
    assert log_cdf(0, 3, 0.0) == (0.0, 0.0)
    assert log_cdf(2, 3, 1.0) == (-math.inf, -math.inf)
    assert log_sf(0, 3, 0.5) == (0.0, 0.0)
    assert log_sf(1, 3, 0.0) == (-math.inf, -math.inf)


def test_tail_inverse_at_the_ends() -> None:
    assert tail_inverse(5, 5, -1.0) == 1.0
    assert tail_inverse(0, 5, -math.inf) == 1.0
    assert tail_inverse(0, 1, -1e9) == 1.0
    assert tail_inverse(0, 1, -1e-290) == pytest.approx(1e-290, rel=1e-6)


def test_ten_million_trials_take_milliseconds() -> None:
    tail_inverse(1, 10, -1.0)
    start = time.perf_counter()
    for log_delta in (-3.0, -1e3, -1e6):
        tail_inverse(5_000_000, 10_000_000, log_delta)
    assert time.perf_counter() - start < 1.0


@settings(max_examples=200, deadline=None)
@given(q=st.floats(0, 1), p=st.floats(0, 1))
@example(q=0.3, p=0.3 * (1 + 1e-12))
@example(q=1e-300, p=1e-299)
@example(q=0.106, p=0.117)
def test_kl_agrees_with_high_precision(q: float, p: float) -> None:
    value = kl(q, p)
    if p in (0.0, 1.0):
        assert value == (0.0 if p == q else math.inf)
        return
    with mpmath.workdps(700):
        Q, P = mpmath.mpf(q), mpmath.mpf(p)
        truth = (Q * mpmath.log(Q / P) if q else 0) + ((1 - Q) * mpmath.log((1 - Q) / (1 - P)) if q < 1 else 0)
        assert abs(value - truth) <= 1e-12 * truth + 1e-300


@settings(max_examples=200, deadline=None)
@given(q=st.floats(0, 1), exponent=st.floats(-12, 3))
def test_kl_inverses_are_outside_and_close(q: float, exponent: float) -> None:
    c = 10.0**exponent
    high, low = kl_inverse(q, c), kl_inverse_lower(q, c)
    assert 0 <= low <= q <= high <= 1
    assert high == 1.0 or kl(q, high) > c
    assert low == 0.0 or kl(q, low) > c
    for p in (high - 1e-9 * (high - q) - 4e-16, low + 1e-9 * (q - low) + 4e-16):
        assert not low < p < high or kl(q, p) <= c * (1 + 1e-6) + 1e-30


def test_kl_inverse_at_the_ends() -> None:
    assert kl_inverse(0.0, 0.1) == pytest.approx(1 - math.exp(-0.1), rel=1e-14)
    assert kl_inverse_lower(1.0, 0.1) == pytest.approx(math.exp(-0.1), rel=1e-14)
    assert kl_inverse(1.0, 0.1) == 1.0
    assert kl_inverse_lower(0.0, 0.1) == 0.0
    assert kl_inverse(0.2, math.inf) == 1.0
    assert kl_inverse(0.2, 0.0) == pytest.approx(0.2, rel=1e-15)


@settings(max_examples=100, deadline=None)
@given(counts=tails(10_000), exponent=st.floats(-3, 4))
def test_binomial_inverse_is_at_most_chernoff_at_most_hoeffding(counts: tuple[int, int], exponent: float) -> None:
    (k, n), nats = counts, 10.0**exponent
    chernoff = kl_inverse(k / n, nats / n)
    assert tail_inverse(k, n, -nats) <= chernoff * (1 + 1e-9)
    assert chernoff <= (k / n + math.sqrt(nats / (2 * n))) * (1 + 1e-9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: upper_limit(11, 10, 0.05), r"failures must be a whole number in 0\.\.10, got failures=11"),
        (lambda: upper_limit(-1, 10, 0.05), "failures must be a whole number"),
        (lambda: upper_limit(1, 0, 0.05), "trials must be a whole number of at least 1, got trials=0"),
        (lambda: lower_limit(1, 10, 1.0), r"alpha must be in \(0, 1\), got alpha=1.0"),
        (lambda: tail_inverse(1, 10, 0.0), "log_delta must be below 0, got log_delta=0.0"),
        (lambda: tail_inverse(1, 10, math.nan), "log_delta must be below 0"),
        (lambda: log_cdf(1, 10, 1.5), r"p must be in \[0, 1\], got p=1.5"),
        (lambda: kl(-0.1, 0.5), r"q must be in \[0, 1\], got q=-0.1"),
        (lambda: kl_inverse(0.1, -1.0), "c must be at least 0 nats, got c=-1.0"),
        (lambda: kl_inverse_lower(0.1, math.nan), "c must be at least 0 nats"),
    ],
)
def test_errors_state_the_rule_then_the_fact(call, message: str) -> None:
    with pytest.raises(InvalidParameter, match=message):
        call()


def test_numpy_integers_are_counts_too() -> None:
    k, n = np.array([3, 10])
    assert upper_limit(k, n, 0.05) == upper_limit(3, 10, 0.05)
