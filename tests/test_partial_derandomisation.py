"""Partial derandomisation: limits, inverses, border errors."""

from __future__ import annotations

import numpy as np
import pytest

from boundlab import InvalidParameter
from boundlab.coresets.partial_derandomisation import (
    best_split,
    derandomised_error,
    partial_eps,
    partial_size,
    published_partial_size,
)
from boundlab.coresets.sensitivity_sampling import Rule, sample_size


def test_without_kept_items_it_is_bernsteins_size() -> None:
    total = np.array([1.0, 5.0, 40.0])
    bernstein = sample_size(total, 0.3, 0.01, rule=Rule.BERNSTEIN)
    assert np.abs(partial_size(total, 0.3, 0.01) - bernstein).max() <= 1


def test_the_published_size_is_three_times_ours_at_a_large_rest() -> None:
    ours, published = partial_size(5.0, 0.5, 0.01, events=20), published_partial_size(5.0, 0.5, 0.01, K=1.0, filters=10)
    assert published / ours == pytest.approx(3.0, rel=1e-2)


def test_eps_inverts_the_size() -> None:
    for rest, eps in ((0.5, 0.2), (2.0, 0.4), (10.0, 0.05)):
        m = partial_size(rest, eps, 0.05, C=1.5, events=7)
        assert partial_eps(rest, m, 0.05, C=1.5, events=7) <= eps * (1 + 1e-9)
        assert partial_eps(rest, m - 2, 0.05, C=1.5, events=7) > eps


def test_a_small_rest_needs_no_draw_and_no_draw_certifies_the_rest() -> None:
    assert partial_size(0.1, 0.2, 0.01) == 0
    assert partial_eps(0.1, 0.0, 0.01) == pytest.approx(0.1)
    assert partial_eps(0.0, 0.0, 0.01) == 0.0


def test_dropping_everything_loses_at_most_the_whole_sum() -> None:
    assert derandomised_error(np.full((2, 4), 0.25)).round(6).tolist() == [[1.0, 0.75, 0.5, 0.25, 0.0]] * 2


def test_a_budget_of_all_items_makes_no_error() -> None:
    assert best_split(np.array([0.6, 0.3, 0.2]), 3, 0.1).eps == 0.0


def test_bad_arguments_are_refused() -> None:
    for call in (
        lambda: partial_size(1.0, 0.0, 0.1), lambda: partial_size(1.0, 0.1, 1.0), lambda: partial_size(-1.0, 0.1, 0.1),
        lambda: partial_size(1.0, 0.1, 0.1, C=0.9), lambda: partial_size(1.0, 0.1, 0.1, events=0),
        lambda: derandomised_error(np.array([-0.1])), lambda: best_split(np.ones(3), 4, 0.1),
        lambda: best_split(np.ones((2, 3)), 2, 0.1),
    ):  # fmt: skip
        with pytest.raises(InvalidParameter):
            call()
