"""Threshold sampling: border errors, limits, published bounds as limits."""

from __future__ import annotations

import numpy as np
import pytest

from boundlab import InvalidParameter
from boundlab.coresets.threshold_sampling import (
    bernstein_failure,
    certified_eps,
    failure,
    inverse_weights,
    poisson_variance,
    smallest_nnz,
    systematic_sample,
    threshold_probabilities,
)

ONE = np.array([0, 4])


@pytest.mark.parametrize(
    ("values", "indptr", "nnz"),
    [([1, -1.0, 1, 1], ONE, [2]), ([1, np.inf, 1, 1], ONE, [2]), ([1, 1, 1, 1.0], np.array([0, 3]), [2]),
     ([1, 1, 1, 1.0], ONE, [2.5]), ([1, 1, 1, 1.0], ONE, [-1]), ([1, 1, 1, 1.0], ONE, [1, 1])],
)  # fmt: skip
def test_bad_groups_are_refused(values: list[float], indptr: np.ndarray, nnz: list[float]) -> None:
    with pytest.raises(InvalidParameter):
        threshold_probabilities(np.array(values), indptr, np.array(nnz))


def test_bad_numbers_are_refused() -> None:
    for call in (
        lambda: failure(-1.0, 1.0, 0.5), lambda: failure(1.0, -1.0, 0.5), lambda: bernstein_failure(1.0, 1.0, 0.0),
        lambda: failure(1.0, 1.0, 0.5, C=0.5), lambda: poisson_variance(np.ones(1), np.array([1.5])),
        lambda: inverse_weights(np.array([True, True]), np.array([1.0, 0.0])),
    ):  # fmt: skip
        with pytest.raises(InvalidParameter):
            call()


def test_rounding_leaves_no_group_without_a_certificate() -> None:
    for values, nnz in (([1.0, 1e-30], 1), ([0.1] * 10 + [1e-30], 10), ([0.3, 0.3, 0.3, 1e-300], 3)):
        plan = threshold_probabilities(np.array(values), np.array([0, len(values)]), np.array([nnz]))
        assert np.isfinite(plan.tau[0])
        assert (plan.probabilities > 0).all()
        assert plan.probabilities.sum() == pytest.approx(nnz)


def test_nothing_left_to_chance_is_certain_and_nothing_kept_certifies_nothing() -> None:
    assert failure(0.0, 0.0, 0.1) == 0.0
    assert certified_eps(0.0, 0.0, 0.1) == 0.0
    assert failure(np.inf, 1.0, 0.5) == 1.0
    assert np.isinf(certified_eps(np.inf, 1.0, 0.1))


def test_the_smallest_number_is_smallest_and_inverts_the_failure() -> None:
    values, at = np.array([0.5, *[0.01] * 50, 0.0]), np.array([0, 52])
    nnz = smallest_nnz(values, at, 0.3, 0.05)
    now, before = (threshold_probabilities(values, at, n) for n in (nnz, nnz - 1))
    assert failure(now.tau, now.rest, 0.3) <= 0.05 < failure(before.tau, before.rest, 0.3)
    assert certified_eps(now.tau, now.rest, 0.05) <= 0.3 * (1 + 1e-9)
    assert smallest_nnz(np.zeros(3), np.array([0, 3]), 0.3, 0.05) == 0


def test_the_comb_keeps_the_whole_sum() -> None:
    p = np.array([0.25, 0.75, 0.5, 0.5])
    assert (systematic_sample(p, np.linspace(0, 0.99, 34)).sum(axis=1) == 2).all()
