"""Sample sizes: published numbers, orders, limits, inverses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from boundlab import InvalidParameter, Rule, certified_eps, constants, sample_size
from boundlab.concentration.multiplicative import binomial_failure

ROW = 2 * 0.1 / (8 * 410)  # 2 delta/(8 eta) of LeNet-300-100 at delta = .1
ORDERED = [Rule.BINOMIAL, Rule.KL, Rule.BERNSTEIN, Rule.PUBLISHED]


@pytest.mark.parametrize(
    ("sizes", "delta", "eta", "eta_star", "K", "lambda_star", "points", "kappa", "log_row"),
    [
        ((784, 300, 100, 10), 0.1, 410, 300, 11.719940, 5.859970, 189, 192.137512, 10.398184),
        ((784, 300, 100, 10), 0.01, 410, 300, 11.719940, 5.859970, 216, 219.123671, 12.700769),
        ((784, 1000, 1000, 10), 0.1, 2010, 1000, 14.513645, 7.256823, 275, 278.054757, 11.987917),
        ((2, 2, 1), 0.1, 3, 2, 1.791759, 0.895880, 12, 12.400506, 5.480639),
    ],
)
def test_published_constants_to_the_printed_digits(
    sizes: tuple[int, ...], delta: float, eta: int, eta_star: int, K: float, lambda_star: float, points: int,
    kappa: float, log_row: float,
) -> None:  # fmt: skip
    c = constants(sizes, delta)
    assert (c.eta, c.eta_star, c.points) == (eta, eta_star, points)
    assert [round(v, 6) for v in (c.K, c.lambda_star, c.kappa, c.log_row)] == [K, lambda_star, kappa, log_row]


def test_repaired_points_count_the_input_layer() -> None:
    repaired = constants((784, 300, 100, 10), 0.1, variant="repaired")
    assert (repaired.eta_star, repaired.points) == (784, 200)


def test_a_net_without_hidden_layers_has_constants() -> None:
    assert constants((3, 2), 0.1).eta_star == 3


def test_the_tiny_instance_has_its_published_and_its_bernstein_size() -> None:
    total = np.array([8 / 5])
    assert sample_size(total, 0.5, ROW, rule=Rule.PUBLISHED)[0] == 533
    assert sample_size(total, 0.5, ROW, rule=Rule.BERNSTEIN)[0] == 156


@pytest.mark.parametrize(("eps", "ratio"), [(0.01, 0.225), (0.1, 0.226), (0.5, 0.239), (1.0, 0.263)])
def test_kl_over_published_matches_the_table(eps: float, ratio: float) -> None:
    total = np.array([10.0])
    kl, published = (sample_size(total, eps, ROW, rule=r)[0] for r in (Rule.KL, Rule.PUBLISHED))
    assert round(kl / published, 3) == ratio


@given(total=st.floats(1, 50), eps=st.floats(0.02, 1.0), delta=st.floats(1e-9, 0.3), K=st.floats(1, 12))
@settings(max_examples=60, deadline=None)
def test_rules_are_ordered_from_necessary_to_published(total: float, eps: float, delta: float, K: float) -> None:
    m = [float(sample_size(np.array([total]), eps, delta, K=K, rule=r)[0]) for r in ORDERED]
    assert m == sorted(m)


@given(total=st.floats(1.01, 40), eps=st.floats(0.05, 2.5), delta=st.floats(1e-8, 0.2))
@settings(max_examples=60, deadline=None)
def test_certified_eps_inverts_the_kl_size(total: float, eps: float, delta: float) -> None:
    s = np.array([total])
    m = sample_size(s, eps, delta)
    assert certified_eps(s, m, delta)[0] <= eps * (1 + 1e-9) + 1e-12
    if m[0] > 1:
        assert certified_eps(s, m - 1, delta)[0] >= eps * (1 - 1e-9) - 1e-6


@given(p=st.floats(0.02, 0.9), eps=st.floats(0.1, 1.0), delta=st.floats(1e-4, 0.2))
@example(p=0.0625, eps=1.0, delta=0.0625)  # one draw fails with probability delta exactly
@settings(max_examples=40, deadline=None)
def test_binomial_size_is_the_first_that_passes(p: float, eps: float, delta: float) -> None:
    total = np.array([1 / p])
    found = sample_size(total, eps, delta, rule=Rule.BINOMIAL)[0]
    p = float(1 / total[0])
    before = np.arange(1.0, found)
    assert (binomial_failure(before, np.array(p), np.array(eps)) > delta).all()
    assert binomial_failure(np.array(found), np.array(p), np.array(eps)) <= delta


def test_binomial_failure_agrees_with_scipy() -> None:
    from scipy.stats import binom

    for m, p, eps in ((7, 0.3, 0.5), (40, 0.1, 0.9), (5, 0.5, 1.0), (100, 0.02, 0.25)):
        k = np.arange(m + 1)
        outside = np.abs(k - m * p) > eps * m * p * (1 + 1e-12)
        assert binomial_failure(np.array(m), np.array(p), np.array(eps)) == pytest.approx(
            binom.pmf(k, m, p)[outside].sum(), abs=1e-13
        )


def test_huge_sizes_stay_finite_and_ordered() -> None:
    m = [sample_size(np.array([16.0]), 1e-11, 1e-5, K=12, rule=r)[0] for r in ORDERED]
    assert np.isfinite(m).all()
    assert m == sorted(m)
    assert m[-1] > 1e23


def test_a_group_without_sensitivity_makes_no_draw_and_no_error_needs_endless_ones() -> None:
    assert sample_size(np.array([0.0]), 0.5, 0.1)[0] == 0
    assert np.isinf(sample_size(np.array([2.0]), 0.0, 0.1)[0])


@pytest.mark.parametrize(
    ("eps", "delta", "K", "rule"),
    [(-0.1, 0.1, 1, Rule.KL), (0.5, 0.0, 1, Rule.KL), (0.5, 1.0, 1, Rule.KL), (0.5, 0.1, 0.5, Rule.KL),
     (1.5, 0.1, 1, Rule.PUBLISHED)],
)  # fmt: skip
def test_bad_numbers_are_refused(eps: float, delta: float, K: float, rule: Rule) -> None:
    with pytest.raises(InvalidParameter) as fault:
        sample_size(np.array([2.0]), eps, delta, K=K, rule=rule)
    assert "\n" not in str(fault.value)
