"""Coresets for support vector machines: borders, published numbers, limits."""

from __future__ import annotations

import numpy as np
import pytest

from boundlab._errors import InvalidParameter
from boundlab.coresets.svm.lower_bound import eps_floor, hard_instance, total_floor
from boundlab.coresets.svm.merging import level_eps, merged_eps
from boundlab.coresets.svm.objective import coreset_lam, dual_value, objective, signed_points
from boundlab.coresets.svm.sampling import draw_weights
from boundlab.coresets.svm.sensitivity import clusters_of, sensitivities
from boundlab.coresets.svm.size import certified_eps, coreset_size, published_size
from boundlab.coresets.svm.worst_query import extremes

Z, U = np.array([[1.0], [2.0], [2.5]]), np.ones(3)


@pytest.mark.parametrize(
    ("call", "rule"),
    [
        (lambda: signed_points([[1.0]], [0]), "-1 and +1 only"),
        (lambda: objective(Z, U, np.zeros(1), lam=0.0), "lam must be finite and positive"),
        (lambda: clusters_of(Z, [1.0, 0.0, 1.0], [0, 0, 1]), "u must be finite and positive"),
        (lambda: clusters_of(signed_points(Z, [1, 1, -1], intercept=True), U, [0, 0, 0], intercept=True), "one class"),
        (lambda: sensitivities(clusters_of(Z, U, [0, 0, 1]), lam=1.0, opt=0.0), "opt must be finite and positive"),
        (lambda: dual_value(Z, U, np.array([np.nan, 0, 0]), lam=1.0), "a must be finite"),
        (lambda: draw_weights(U, [1.0, 0.0, 1.0], 5, np.random.default_rng(0)), "bounds must be finite and positive"),
        (lambda: coreset_size(10.0, 0.0, 0.1, dimension=2), "eps must be finite and positive"),
        (lambda: hard_instance(3), "d must be even"),
        (lambda: extremes(Z, U, U, lam=1.0), "of shape (n,)"),
    ],
)
def test_broken_rules_are_refused(call, rule: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        call()
    assert rule in str(caught.value)


def test_total_sensitivities_of_the_paper_give_its_sizes() -> None:
    assert published_size(271.5, 0.2, 0.05, features=3) == pytest.approx(1.3e5, rel=0.05)
    assert coreset_size(475.8, 0.2, 0.05, dimension=9) == pytest.approx(9e6, rel=0.05)


def test_limits() -> None:
    assert coreset_lam(2.0, total=5.0, mass=5.0) == 2.0
    assert merged_eps(level_eps(0.3, 5), 5) == pytest.approx(0.3)
    assert total_floor(2, 1e9) == pytest.approx(2)
    assert eps_floor(2, 1e9) == pytest.approx(1)
    assert extremes(Z[:, 0], U, U, lam=1.0).error == pytest.approx(0, abs=1e-12)
    sizes = [coreset_size(10.0, eps, 0.1, dimension=3) for eps in (0.1, 0.2, 0.4)]
    assert sizes == sorted(sizes, reverse=True)
    assert certified_eps(10.0, sizes[0], 0.1, dimension=3) <= 0.1


def test_rescaling_weights_and_lam_changes_no_sensitivity() -> None:
    one = sensitivities(clusters_of(Z, U, [0, 0, 1]), lam=0.1, opt=0.2)
    other = sensitivities(clusters_of(Z, U / 16, [0, 0, 1]), lam=1.6, opt=0.2)
    assert np.allclose(one, other)
