"""PAC-Bayes, Catoni and single-draw bounds: published numbers, limits, what they refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest

from boundlab._errors import InvalidParameter
from boundlab.bounds.catoni import catoni, catoni_grid, catoni_unpaid, lambda_grid
from boundlab.bounds.informed_priors import break_even_risk, recursive_step
from boundlab.bounds.pac_bayes import (
    Root,
    lambda_bound,
    log_xi,
    majority_vote,
    pac_bayes_kl,
    quadratic_bound,
    refined_pinsker,
    released_pacbb_slack,
    root_bound,
)
from boundlab.bounds.single_draw import gaussian_kl, gaussian_log_ratio, single_draw, single_draw_catoni
from boundlab.concentration.chernoff import kl, kl_inverse


@pytest.mark.parametrize(("n", "xi"), [(1, 2.0), (2, 2.5), (3, 26 / 9), (60_000, 307.6651049)])
def test_xi_is_its_sum(n: int, xi: float) -> None:
    assert math.exp(log_xi(n)) == pytest.approx(xi, rel=1e-9)


@pytest.mark.parametrize(
    ("error", "bits", "stored"),  # in percent; bits with the 2 that the noiseless path rebates
    [
        (4.228329658508301, 4616.329813853351, 14.160186104573594),
        (11.8316650390625, 2520.573115523216, 21.109730663334876),
        (6.084996461868286, 4740.40669600596, 17.21459600107174),
    ],
)
def test_three_stored_rows_of_pactl(error: float, bits: float, stored: float) -> None:
    """experiments/equivariant/nonrot_mnist/results.df of activatedgeek/tight-pac-bayes at 09d838d, n = 60 000."""
    found = 100 * lambda_grid(error / 100, (bits - 2.0) * math.log(2), 60_000, 0.05)
    assert found == pytest.approx(stored, abs=1e-8)
    assert found > 100 * kl_inverse(error / 100, ((bits - 2.0) * math.log(2) - math.log(0.05)) / 60_000)


def test_the_imagenet_row_of_zhou_et_al() -> None:
    """350 KiB, 35 % training error, 1 281 167 images: 96.54 %."""
    found = lambda_grid(0.35, 350 * 1024 * 8 * math.log(2), 1_281_167, 0.05)
    assert 100 * found == pytest.approx(96.54, abs=5e-3)


def test_the_released_slack_of_pacbb_is_too_large() -> None:
    """What not to compute: ln(2 sqrt(n)) / delta. KL = 1000 nats, n = 60 000; 0.0917 is right at both confidences."""
    for delta, wrong in ((0.05, "0.0968"), (0.025, "0.1020")):
        assert f"{released_pacbb_slack(1_000.0, 60_000, delta):.4f}" == wrong
        assert f"{root_bound(0.0, 1_000.0, 60_000, delta):.4f}" == "0.0917"


def test_the_forms_are_in_order_on_a_random_grid() -> None:
    """The kl form <= quadratic = best lambda <= refined Pinsker; kl <= every root; Catoni above its unpaid infimum."""
    rng = np.random.default_rng(0)
    for _ in range(300):
        r, nats, n = float(rng.random() ** 3), float(10.0 ** rng.uniform(-2, 5)), int(10.0 ** rng.uniform(1, 6))
        delta, up = float(rng.uniform(0.001, 0.5)), 1.0 + 1e-12
        best = pac_bayes_kl(r, nats, n, delta)
        quadratic, lam = quadratic_bound(r, nats, n, delta), lambda_bound(r, nats, n, delta)
        assert best <= quadratic * up
        assert quadratic <= lam * up <= refined_pinsker(r, nats, n, delta) * up**2
        assert all(best <= root_bound(r, nats, n, delta, form) * up for form in Root)
        unpaid = catoni_unpaid(r, nats, n, delta)
        assert unpaid <= best * up
        assert unpaid <= catoni_grid(r, nats, n, delta, [0.3, 1.0, 3.0]) * up
        assert unpaid <= lambda_grid(r, nats, n, delta) * up


def test_the_inverse_of_kl_is_an_upper_bound() -> None:
    """What not to compute: the midpoint of a bisection, as released certificates do; kl(q || result) >= c."""
    rng = np.random.default_rng(1)
    for _ in range(300):
        q, c = float(rng.random() ** 4), float(10.0 ** rng.uniform(-6, 1))
        p = kl_inverse(q, c)
        assert p == 1.0 or kl(q, p) >= c


def test_limits_of_the_kl_form() -> None:
    assert pac_bayes_kl(0.1, math.inf, 100, 0.05) == 1.0
    assert pac_bayes_kl(1.0, 0.0, 100, 0.05) == 1.0
    assert 0.1 < pac_bayes_kl(0.1, 0.0, 10**6, 0.05) < 0.102
    assert majority_vote(0.0) == 0.0
    assert majority_vote(0.7) == 1.0


def test_single_draw_of_a_published_size() -> None:
    """1540 weights, training error 2.71 %, ln dQ/dP = 1908 nats with everything paid: 8.92 % to the rounding of r."""
    assert single_draw(0.0271, 1908.0, 60_000, 0.05) == pytest.approx(0.0892, abs=1e-4)
    assert single_draw(0.0271, 1908.0, 60_000, 0.05, draws=256) > single_draw(0.0271, 1908.0, 60_000, 0.05)
    assert single_draw(0.3, -1e6, 100, 0.05) < 0.3 + 1e-6
    assert single_draw_catoni(0.3, -1e6, 100, 0.05, [1.0]) >= 0.3


def test_a_posterior_equal_to_its_prior_costs_nothing() -> None:
    w = np.random.default_rng(0).normal(size=50).astype(np.float32)
    assert 0.0 <= gaussian_log_ratio(w, 0.0, 0.3, 0.3) < 1e-10
    assert 0.0 <= gaussian_kl(np.zeros(50), 0.3, 0.3) < 1e-10


@pytest.mark.parametrize(
    "call",
    [
        lambda: pac_bayes_kl(1.1, 1.0, 10, 0.05),
        lambda: pac_bayes_kl(0.1, -1.0, 10, 0.05),
        lambda: pac_bayes_kl(0.1, 1.0, 0, 0.05),
        lambda: root_bound(0.1, 1.0, 1, 0.05, Root.LOTFI_2022),
        lambda: lambda_bound(0.1, 1.0, 10, 0.05, 2.0),
        lambda: catoni(0.1, 1.0, 10, 0.05, 0.0),
        lambda: catoni_grid(0.1, 1.0, 10, 0.05, ()),
        lambda: single_draw_catoni(0.1, 1.0, 10, 0.05, ()),
        lambda: lambda_grid(0.1, 1.0, 10, 0.05, 0.5),
        lambda: single_draw(0.1, math.nan, 10, 0.05),
        lambda: single_draw(0.1, 1.0, 10, 0.05, draws=0),
        lambda: gaussian_log_ratio([1.0], [0.0], [0.0], [1.0]),
        lambda: gaussian_log_ratio([math.inf], [0.0], [1.0], [1.0]),
        lambda: gaussian_log_ratio([1.0, 2.0], [0.0, 1.0, 2.0], [1.0], [1.0]),
        lambda: gaussian_log_ratio([1e200], [0.0], [1.0], [1.0]),
        lambda: break_even_risk(11, 0.0, 10, 0.05),
        lambda: recursive_step(0.1, (0.5, 0.1), 0.0, 10, 0.05, steps=1),
        lambda: recursive_step(0.1, (0.5, 0.1, 0.0), 0.0, 10, 0.05, steps=1, gamma=1.5),
    ],
)
def test_what_is_out_of_range_is_refused(call) -> None:
    with pytest.raises(InvalidParameter, match="must"):
        call()
