"""Norms and the bounds in them: what is refused, and limits."""

from __future__ import annotations

import numpy as np
import pytest

from boundlab import InvalidParameter, random_network
from boundlab.bounds.fixed_features import linear_head_complexity
from boundlab.bounds.norm_budgets import rademacher_confidence
from boundlab.bounds.parameter_count import lipschitz_cover_complexity
from boundlab.bounds.path_norm import path_complexity
from boundlab.bounds.perturbation import perturbation_complexity
from boundlab.bounds.size_independent import frobenius_complexity
from boundlab.bounds.spectral import spectral_complexity
from boundlab.nets.norms import convolution_norm, frobenius_norm, group_norm, path_norm, spectral_norm

EYE = np.eye(2)


@pytest.mark.parametrize(
    "call",
    [
        lambda: spectral_norm(np.zeros(3)),
        lambda: path_norm(random_network((3, 2), rng=0), p=0.5),
        lambda: path_norm(random_network((3, 2), rng=0), p=np.inf),
        lambda: convolution_norm(np.ones((1, 1, 3, 3)), 2, 3),
        lambda: convolution_norm(np.ones((3, 3)), 4, 4),
        lambda: spectral_complexity([1.0, 2.0], [1.0], 1.0, 3, 0.1, 100),
        lambda: spectral_complexity([0.0], [1.0], 1.0, 3, 0.1, 100),
        lambda: spectral_complexity([1.0], [1.0], 1.0, 3, 0.1, 1),
        lambda: perturbation_complexity([1.0], [1.0, 2.0], 1.0, 3, 0.1, 100, 0.05),
        lambda: frobenius_complexity([], 1.0, 2, 0.1, 100),
        lambda: path_complexity(1.0, 0, 1.0, 3, 100),
        lambda: lipschitz_cover_complexity(3, 1e-6, 100, 0.05),
        lambda: rademacher_confidence(100, 1.5),
        lambda: linear_head_complexity(np.zeros(3), 2, 1.0, 1.0, 0.05),
        lambda: linear_head_complexity(np.ones((3, 1)), 1, 1.0, 1.0, 0.05),
    ],
)
def test_bad_input_is_refused(call) -> None:
    with pytest.raises(InvalidParameter, match="must"):
        call()


def test_norms_of_the_identity() -> None:
    assert spectral_norm(EYE) == pytest.approx(1)
    assert frobenius_norm(EYE) == pytest.approx(2**0.5)
    assert group_norm(EYE) == pytest.approx(2)
    assert all(norm(EYE) >= exact for norm, exact in ((spectral_norm, 1.0), (group_norm, 2.0))), "rounded up"
