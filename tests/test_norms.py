"""Norms and the bounds in them: what is refused, and limits."""

from __future__ import annotations

import math
from fractions import Fraction

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
from boundlab.network import Layer, Network

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


SLOWLY = (
    (spectral_norm, lambda w: np.linalg.svd(w)[1][0]),
    (frobenius_norm, lambda w: math.hypot(*w.ravel())),
    (group_norm, lambda w: math.fsum(math.hypot(*row) for row in w)),
)


@pytest.mark.parametrize("scale", [-1074, -1060, -700, -500, 0, 500, 1000])
@pytest.mark.parametrize(("norm", "slowly"), SLOWLY)
def test_norms_are_rounded_up_at_every_scale(norm, slowly, scale: int) -> None:
    """Squares of entries vanish below 2^-537 and overflow above 2^511; below 2^-1022 floats lie a fixed step apart."""
    for entries in ([[1.0, 1.0]], [[1.0, 2.0], [3.0, 5.0]], [[7.0], [1.0], [3.0]]):
        want = Fraction(float(slowly(np.array(entries)))) * Fraction(2) ** scale
        got = Fraction(norm(np.ldexp(entries, scale)))
        assert want * (1 - Fraction(1, 10**12)) <= got <= want * (1 + Fraction(1, 10**9)) + 2 * Fraction(2) ** -1074


@pytest.mark.parametrize("norm", [spectral_norm, frobenius_norm, group_norm])
def test_a_norm_that_no_float_holds_is_infinite(norm) -> None:
    assert norm(np.full((2, 2), 1.7e308)) == math.inf


@pytest.mark.parametrize("bad", [np.full((2, 2), np.nan), np.full((2, 2), 1j), [["a"]], np.zeros((2, 0))])
@pytest.mark.parametrize("norm", [spectral_norm, frobenius_norm, group_norm])
def test_a_matrix_must_hold_finite_numbers(norm, bad) -> None:
    with pytest.raises(InvalidParameter, match=r"weight must be a matrix \(out, in\)"):
        norm(bad)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_kernel_must_hold_finite_numbers(value: float) -> None:
    with pytest.raises(InvalidParameter, match="kernel must be"):
        convolution_norm(np.full((1, 1, 3, 3), value), 8, 8)


@pytest.mark.parametrize("p", [1.0, 2.0, 500.0, 1075.0, 1e6, 1e300])
def test_path_norms_do_not_underflow_for_large_p(p: float) -> None:
    """One path of weight 1 * 1/2 leads to an output; the larger weight beside it leads nowhere."""
    layers = (np.diag([1.0, 0.5]), np.array([[0.0, 1.0], [0.0, 0.0]]))
    net = Network(layers=tuple(Layer(weight=w, bias=np.zeros(2), relu=False) for w in layers))
    assert 0.5 <= path_norm(net, p) <= 0.5 * (1 + 1e-9)


def test_norms_of_the_identity() -> None:
    assert spectral_norm(EYE) == pytest.approx(1)
    assert frobenius_norm(EYE) == pytest.approx(2**0.5)
    assert group_norm(EYE) == pytest.approx(2)
    assert all(norm(EYE) >= exact for norm, exact in ((spectral_norm, 1.0), (group_norm, 2.0))), "rounded up"
