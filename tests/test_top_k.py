"""Keeping the most sensitive edges: groups, limits, border errors."""

from __future__ import annotations

import numpy as np
import pytest

from boundlab._errors import InvalidParameter
from boundlab.coresets.top_k import centred, dropped_shares, dropped_sum, keep_largest, nested_ratio

VALUES, GROUPS = np.array([0.1, 0.7, 0.2, 0.5, 0.5]), np.array([0, 3, 3, 5])


def test_each_group_keeps_its_own_largest() -> None:
    keep = keep_largest(VALUES, GROUPS, np.array([2, 4, 1]))
    assert keep.tolist() == [False, True, True, True, False]
    assert dropped_sum(VALUES, GROUPS, keep, K=3.0) == pytest.approx([0.3, 0.0, 1.5])


def test_nothing_dropped_costs_nothing_whatever_the_factor() -> None:
    keep = np.ones(5, bool)
    assert dropped_sum(VALUES, GROUPS, keep, K=np.inf).tolist() == [0.0, 0.0, 0.0]
    keep[0] = False
    assert dropped_sum(VALUES, GROUPS, keep, K=np.inf).tolist() == [np.inf, 0.0, 0.0]


def test_losses_of_all_sizes_fall_from_everything_to_nothing() -> None:
    shares = np.random.default_rng(1).dirichlet(np.ones(7), size=20)
    h = dropped_shares(shares, shares.max(axis=0))
    assert h[:, 0] == pytest.approx(np.ones(20))
    assert (h[:, -1] == 0).all()
    assert (np.diff(h, axis=1) <= 0).all()
    assert nested_ratio(h, h.max(axis=0)).max() == 1.0


def test_centring_halves_small_errors_and_gains_nothing_at_one() -> None:
    factor, error = centred(np.array([0.0, 1e-6, 0.5, 1.0]))
    assert factor == pytest.approx([1.0, 1.0 + 5e-7, 4 / 3, 2.0])
    assert error == pytest.approx([0.0, 5e-7, 1 / 3, 1.0])


@pytest.mark.parametrize(
    "call",
    [
        lambda: keep_largest(np.array([0.1, -0.1]), np.array([0, 2]), np.array([1])),
        lambda: keep_largest(np.array([0.1, np.nan]), np.array([0, 2]), np.array([1])),
        lambda: keep_largest(VALUES, np.array([0, 4]), np.array([1])),
        lambda: dropped_sum(VALUES, GROUPS, np.ones(5, bool), K=0.5),
        lambda: dropped_shares(np.ones((2, 3)), np.ones(4)),
        lambda: centred(1.5),
    ],
)
def test_border(call) -> None:
    with pytest.raises(InvalidParameter):
        call()
