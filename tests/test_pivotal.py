"""Pivotal sampling: exact counts, limits, border errors."""

from __future__ import annotations

import numpy as np
import pytest

from boundlab import InvalidParameter
from boundlab.coresets.pivotal import pivotal_sample


def test_each_group_keeps_exactly_its_sum() -> None:
    rng = np.random.default_rng(1)
    p = rng.random((300, 40))
    p *= 7 / p.sum(axis=1, keepdims=True)
    kept = pivotal_sample(p.ravel(), np.arange(301) * 40, rng).reshape(300, 40)
    assert (kept.sum(axis=1) == 7).all()


def test_a_long_group_keeps_exactly_its_sum_in_spite_of_rounding() -> None:
    p = np.full(90_000, 1 / 9)
    assert pivotal_sample(p, np.array([0, len(p)]), np.random.default_rng(2)).sum() == 10_000


def test_a_sum_that_is_not_whole_gives_the_whole_numbers_beside_it() -> None:
    n = 20_000
    kept = pivotal_sample(np.full(3 * n, 0.5), np.arange(n + 1) * 3, np.random.default_rng(3)).reshape(n, 3)
    assert set(kept.sum(axis=1)) == {1, 2}
    assert kept.mean(axis=0) == pytest.approx(np.full(3, 0.5), abs=0.02)


def test_certain_and_impossible_items_and_empty_groups() -> None:
    p = np.array([1.0, 0.0, 0.5, 0.5])
    kept = pivotal_sample(p, np.array([0, 0, 4, 4]), np.random.default_rng(4))
    assert kept.tolist()[:2] == [True, False]
    assert kept.sum() == 2
    assert pivotal_sample(np.zeros(0), np.array([0, 0]), np.random.default_rng(5)).shape == (0,)


def test_same_seed_same_set() -> None:
    p, at = np.full(50, 0.3), np.array([0, 50])
    first, second = (pivotal_sample(p, at, np.random.default_rng(6)) for _ in range(2))
    assert np.array_equal(first, second)


@pytest.mark.parametrize(("p", "indptr"), [([0.5, 1.5], [0, 2]), ([0.5, np.nan], [0, 2]), ([0.5, 0.5], [0, 3])])
def test_bad_arguments_are_refused(p: list[float], indptr: list[int]) -> None:
    with pytest.raises(InvalidParameter):
        pivotal_sample(np.array(p), np.array(indptr), np.random.default_rng(0))
