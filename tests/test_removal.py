"""From which error on a group of edges can lose any of them."""

from __future__ import annotations

import numpy as np
import pytest

from boundlab._errors import InvalidParameter
from boundlab.coresets.removal import smallest_eps
from boundlab.coresets.sensitivity_sampling import Rule, sample_size


def test_one_edge_cannot_be_spared_and_a_dead_group_draws_nothing() -> None:
    eps = smallest_eps(np.array([1, 10, 10]), np.array([1.0, 0.0, 2.0]), 0.1)
    assert eps[0] == np.inf
    assert eps[1] == 0.0
    assert 0.0 < eps[2] < np.inf


@pytest.mark.parametrize("rule", [Rule.KL, Rule.BERNSTEIN])
def test_the_size_falls_below_the_edges_at_that_error(rule: Rule) -> None:
    edges, total = np.array([20.0, 500.0]), np.array([3.0, 7.0])
    eps = smallest_eps(edges, total, 0.01, K=2.0, rule=rule)
    assert (sample_size(total, eps, 0.01, K=2.0, rule=rule) < edges).all()
    assert (sample_size(total, 0.999 * eps, 0.01, K=2.0, rule=rule) >= edges).all()


def test_border_errors() -> None:
    one = np.ones(1)
    with pytest.raises(InvalidParameter, match="rule must be kl or bernstein"):
        smallest_eps(one, one, 0.1, rule=Rule.PUBLISHED)
    with pytest.raises(InvalidParameter, match="edges >= 1"):
        smallest_eps(0 * one, one, 0.1)
    with pytest.raises(InvalidParameter, match=r"delta must be in \(0, 1\)"):
        smallest_eps(one, one, 0.0)
