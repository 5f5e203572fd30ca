"""Binomial draws: the law, the ends of its parameters, and multinomial counts as a chain of them."""

from __future__ import annotations

import itertools
import math
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import numpy as np
import pytest
from scipy.stats import binom, chi2

from boundlab._errors import InvalidParameter
from boundlab.coresets import binomial_draws
from boundlab.coresets.alias import MULTINOMIAL_ABOVE, Multinomials
from boundlab.coresets.binomial_draws import MOST_DRAWS, distance, draw_binomials, printed_log_ratio

PAIRS = [
    (7, 0.4), (60, 0.05), (1_000, 0.0099), (19, 0.5), (20, 0.5), (1_000, 0.0101), (40, 0.7), (300, 0.1),
    (1_500, 0.1), (1_500, 0.95), (10**5, 0.3), (10**6, 1e-4), (10**9, 0.5),
]  # fmt: skip


@pytest.mark.parametrize(("n", "p"), PAIRS)
def test_seeded_draws_fit_the_binomial_by_chi_square(n: int, p: float) -> None:
    # 200,000 draws, cells of at least 100 expected: delta = the law itself, alpha = 1e-6 at each of the 13 pairs
    draws = draw_binomials(np.full(200_000, n), p, np.random.default_rng(n))
    limits = np.unique(binom.ppf(np.linspace(0.001, 0.999, 60), n, p))
    chances = np.diff(np.concatenate([[0.0], binom.cdf(limits, n, p), [1.0]]))
    cells = np.bincount(np.searchsorted(limits, draws), minlength=len(chances))
    used = chances * len(draws) >= 100
    observed = np.append(cells[used], cells[~used].sum())
    expected = np.append(chances[used], chances[~used].sum()) * len(draws)
    observed, expected = observed[expected > 0], expected[expected > 0]
    assert chi2.sf(((observed - expected) ** 2 / expected).sum(), len(observed) - 1) > 1e-6


def exact_chances(n: int, p: float) -> list[Fraction]:
    share = Fraction(p)
    return [math.comb(n, k) * share**k * (1 - share) ** (n - k) for k in range(n + 1)]


@pytest.mark.parametrize(("n", "p"), [(1, 0.5), (6, 0.3), (12, 0.5), (19, 0.5), (40, 0.2)])
def test_the_words_of_an_inversion_end_at_each_count_as_often_as_they_should(n: int, p: float) -> None:
    # the last of the 2^64 words for each count, by bisection
    before, got = -1, []
    for k in range(n + 1):
        low, high = before, 2**64 - 1
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (
                (middle, high) if 0 <= binomial_draws._inverted(np.uint64(middle), n, p) <= k else (low, middle - 1)
            )
        got.append(Fraction(low - before, 2**64))
        before = low
    assert sum(abs(a - b) for a, b in zip(got, exact_chances(n, p), strict=True)) / 2 <= distance(n, p)


@pytest.mark.parametrize(("n", "p"), [(20, 0.5), (60, 0.2), (300, 0.04), (500, 0.5)])
def test_relative_probabilities_are_those_of_whole_numbers(n: int, p: float) -> None:
    want = exact_chances(n, p)
    mode = max(range(n + 1), key=want.__getitem__)
    at_mode = Fraction(binomial_draws._relative_probability(mode, n, p))
    assert abs(at_mode - 1) < 0.02
    for k in range(n + 1):
        ratio = want[k] / want[mode]
        if ratio > 1e-280:  # errors are relative to the exponent
            got = Fraction(binomial_draws._relative_probability(k, n, p)) / at_mode
            assert float(abs(got / ratio - 1)) <= 80 * 2**-53 * (1 - math.log(ratio))


@pytest.mark.parametrize(("n", "p"), [(20, 0.5), (37, 0.3), (1_000, 0.0101), (3_000, 0.1), (10**5, 0.5)])
def test_the_hat_is_above_and_the_squeeze_below_at_every_proposal(n: int, p: float) -> None:
    a, b, squeeze, alpha = binomial_draws._shape(float(n), p)
    for word in np.linspace(-(2**63) * 0.999, 2**63 * 0.999, 5_000).astype(np.int64):
        k, us = binomial_draws._proposal(word, float(n), p, a, b)
        share = (a / us**2 + b) * binomial_draws._relative_probability(k, n, p) / alpha if 0 <= k <= n else 0.0
        assert share < 0.998
        assert share > squeeze or us < 0.07


def test_the_promised_distance_is_small() -> None:
    assert distance(10**9, 0.5) < 2e-11
    assert distance(100, 0.0) == distance(0, 0.3) == 2.0**-43


def test_counts_that_are_certain() -> None:
    n = np.array([0, 0, 0, 5, 5, MOST_DRAWS, MOST_DRAWS])
    p = np.array([0.0, 0.7, 1.0, 0.0, 1.0, 0.0, 1.0])
    assert draw_binomials(n, p, np.random.default_rng(0)).tolist() == [0, 0, 0, 0, 5, 0, MOST_DRAWS]
    rare = draw_binomials(np.full(1_000, 10**12), 5e-324, np.random.default_rng(0))
    assert not rare.any()


def test_draws_stay_within_0_and_n() -> None:
    for n, p in itertools.product((1, 2, 20, 21, 1_000, MOST_DRAWS), (1e-300, 1e-9, 0.2, 0.5, 0.8, 1 - 2**-53)):
        draws = draw_binomials(np.full(2_000, n), p, np.random.default_rng(3))
        assert 0 <= draws.min() <= draws.max() <= n


def test_shapes_are_broadcast_and_a_seed_repeats() -> None:
    n, p = np.array([[3], [1_000]]), np.array([0.0, 0.3, 0.9])
    first, again = (draw_binomials(n, p, np.random.default_rng(5)) for _ in range(2))
    assert first.shape == (2, 3)
    assert first.dtype == np.int64
    assert np.array_equal(first, again)
    assert draw_binomials(4, 1.0, np.random.default_rng(5)).tolist() == 4
    assert draw_binomials(np.zeros(0, int), 0.5, np.random.default_rng(5)).shape == (0,)


def test_draws_take_one_key_of_the_generator() -> None:
    used, other = np.random.default_rng(6), np.random.default_rng(6)
    draw_binomials(np.arange(50), 0.5, used)
    other.integers(2**64, dtype=np.uint64)
    assert used.integers(2**63) == other.integers(2**63)


@pytest.mark.parametrize("n", [[3, -1], [2**53 + 1], [3.0], [True]])
def test_what_is_no_number_of_trials_is_refused(n: list[int]) -> None:
    with pytest.raises(InvalidParameter, match=r"n must be whole numbers in \[0, 2\^53\]"):
        draw_binomials(np.array(n), 0.5, np.random.default_rng(0))


@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan, math.inf])
def test_what_is_no_probability_is_refused(p: float) -> None:
    with pytest.raises(InvalidParameter, match=r"p must be in \[0, 1\]"):
        draw_binomials(5, np.array([0.5, p]), np.random.default_rng(0))


# chains


def chain(q: np.ndarray, groups: int, per_edge: int = MULTINOMIAL_ABOVE + 1) -> Multinomials:
    return Multinomials(np.tile(q, groups), np.arange(groups + 1) * len(q), np.full(groups, per_edge * len(q)))


SKEWED = np.array([0.0, 0.3, 1e-4, 0.0, 0.5, 0.1999, 0.0])


def test_chained_counts_have_the_covariances_of_a_multinomial() -> None:
    # 20,000 groups: each of 7 x 7 sample covariances within 6 of its standard deviations, exceeded once in 10^7
    m, groups = (MULTINOMIAL_ABOVE + 1) * 7, 20_000
    counts = chain(SKEWED, groups).draw(np.random.default_rng(8)).reshape(groups, 7)
    assert (counts.sum(axis=1) == m).all()
    assert not counts[:, SKEWED == 0].any()
    want = m * (np.diag(SKEWED) - np.outer(SKEWED, SKEWED))
    products = (counts - m * SKEWED)[:, :, None] * (counts - m * SKEWED)[:, None, :]
    deviation = products.std(axis=0) / math.sqrt(groups)
    assert np.all(np.abs(products.mean(axis=0) - want) <= 6 * deviation)


def test_an_edge_that_is_almost_certain_keeps_the_others_possible() -> None:
    # what passes on is drawn, not 1 - q: P(no other edge in 10^6 draws) = e^-1 at a share of 1e-6
    q = np.array([1 - 1e-6, 1e-6])
    groups = Multinomials(np.tile(q, 4_000), np.arange(4_001) * 2, np.full(4_000, 10**6))
    none = int(np.count_nonzero(groups.draw(np.random.default_rng(9)).reshape(-1, 2)[:, 1] == 0))
    assert 1e-9 < binom.cdf(none, 4_000, math.exp(-1)) < 1 - 1e-9


def test_a_chain_depends_on_its_own_key_only() -> None:
    groups = chain(SKEWED, 30)
    keys = np.random.default_rng(1).integers(0, 2**64, size=30, dtype=np.uint64)
    counts = np.full(210, -1)
    for r in reversed(range(30)):
        binomial_draws.draw_chains(
            groups.probabilities,
            groups.after,
            groups.indptr[r : r + 2],
            groups.chained[r : r + 1],
            keys[r : r + 1],
            counts,
        )
    assert np.array_equal(counts, groups.draw(np.random.default_rng(1)))


def test_threads_draw_the_same_chains() -> None:
    groups = chain(SKEWED, 50)
    alone = [groups.draw(np.random.default_rng(seed)) for seed in range(20)]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda seed: groups.draw(np.random.default_rng(seed)), range(20)))
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))


def test_both_kinds_of_groups_stand_side_by_side() -> None:
    q, m = np.array([0.25, 0.75, 0.25, 0.75, 0.5, 0.5]), np.array([10**6, 5, 0])
    groups = Multinomials(q, np.array([0, 2, 4, 6]), m)
    assert groups.chained.tolist() == [10**6, 0, 0]
    counts = groups.draw(np.random.default_rng(2))
    assert counts.reshape(3, 2).sum(axis=1).tolist() == m.tolist()
    sums = groups.draw_sums(np.ones(6), np.zeros(6, int), np.array([2.0]), np.random.default_rng(2))
    assert sums.tolist() == (2.0 * m).tolist()


def test_more_draws_than_float64_counts_are_refused() -> None:
    with pytest.raises(InvalidParameter, match=r"at most 2\^53 draws"):
        Multinomials(np.array([0.5, 0.5]), np.array([0, 2]), np.array([2**53 + 1]))


# the test that is printed


def test_the_printed_acceptance_test_takes_other_counts_for_too_likely() -> None:
    n, p, k = 3_000, 0.1, np.array([330, 260, 400])
    want = binom.logpmf(k, n, p) - binom.logpmf(300, n, p)
    too_much = 2 / (12 * (k + 1)) + 2 / (12 * (n - k + 1))
    np.testing.assert_allclose(printed_log_ratio(k, n, p) - want, too_much, rtol=1e-5)
