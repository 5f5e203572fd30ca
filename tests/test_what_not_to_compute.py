"""Faults that code for generalization bounds has been seen to have: what comes out, and what is right.

Each test computes the wrong thing by itself, in a few lines of numpy, shows the number or the statement that it breaks,
and compares the function that is shipped. No fault is here because it is likely; each was found somewhere.
"""

from __future__ import annotations

import itertools
import math
import warnings
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import binom

from boundlab import InvalidParameter
from boundlab.bounds.catoni import catoni
from boundlab.bounds.length_priors import length_nats, published_universal_nats
from boundlab.bounds.norm_budgets import budget_nats
from boundlab.bounds.occam import Occam, occam_kl
from boundlab.bounds.pac_bayes import pac_bayes_kl, root_bound
from boundlab.bounds.single_draw import gaussian_kl, gaussian_log_ratio, single_draw_catoni
from boundlab.bounds.test_set import TestSet, screened_limit
from boundlab.concentration.binomial import upper_limit
from boundlab.concentration.chernoff import kl, kl_inverse
from boundlab.coresets.activations import RELU
from boundlab.coresets.neuron_cleanup import clean
from boundlab.nets.norms import convolution_norm, flattened_kernel_norm
from boundlab.network import Layer, Network

N, DELTA = 60_000, 0.05


@pytest.mark.parametrize(("delta", "wrong"), [(0.05, 0.0968), (0.025, 0.1020)])
def test_the_confidence_divides_what_is_under_the_logarithm(delta: float, wrong: float) -> None:
    """KL = 1000: ln(2 sqrt n)/delta for ln(2 sqrt n/delta). Valid, for it is larger, and loose without need."""
    misplaced = math.sqrt((1_000 + math.log(2 * math.sqrt(N)) / delta) / (2 * N))
    assert round(misplaced, 4) == wrong
    ours = root_bound(0.0, 1_000.0, N, delta)
    assert round(ours, 4) == 0.0917
    assert ours < misplaced


def test_the_middle_of_the_last_bracket_is_no_upper_bound() -> None:
    """Bisection for kl(q || p) = c, ended when the bracket is 1e-5 wide, and its middle returned.

    At q = 0 the root is 1 - e^-c. Without an error on n examples, P[no error] = (1-p)^n = delta at the root: at a
    middle below it the classifier's risk may be p, and no error is seen with a probability above delta.
    """
    below = []
    for c in np.geomspace(1e-3, 1.0, 40).tolist():
        low, high = 0.0, 1.0
        while high - low > 1e-5:
            middle = 0.5 * (low + high)
            low, high = (low, middle) if kl(0.0, middle) > c else (middle, high)
        root = -mpmath.expm1(-mpmath.mpf(c))
        below.append(0.5 * (low + high) < root)
        assert kl_inverse(0.0, c) >= root
    assert 10 <= sum(below) <= 30, "about half of the middles lie below the root"


def test_a_middle_below_the_root_spends_more_than_delta() -> None:
    """The same as a level, in fractions: without an error on n examples, delta = 0.05 is exceeded, if by little."""
    exceeded = 0
    for n in range(20, 60):
        low, high, c = 0.0, 1.0, -math.log(DELTA) / n
        while high - low > 1e-5:
            middle = 0.5 * (low + high)
            low, high = (low, middle) if kl(0.0, middle) > c else (middle, high)
        exceeded += (1 - Fraction(0.5 * (low + high))) ** n > Fraction(DELTA)
        assert (1 - Fraction(kl_inverse(0.0, c))) ** n <= Fraction(DELTA)
    assert 10 <= exceeded <= 30


def test_a_mean_divides_by_the_number_of_batches() -> None:
    """Sums of batch means divided by the last index of the loop, B - 1; the last batch, a short one, weighs as much."""
    wrong = np.arange(23) < 3  # three errors, all in the first batch
    means = [wrong[k : k + 5].mean() for k in range(0, 23, 5)]
    last_index = len(means) - 1
    assert sum(means) / last_index == pytest.approx(0.15)
    assert np.mean(means) == pytest.approx(0.12)
    net = Network(layers=(Layer(weight=np.array([[1.0], [-1.0]]), bias=np.zeros(2), relu=False),))
    found = TestSet()(net, np.where(wrong, -1.0, 1.0)[:, None], np.zeros(23, int))
    assert found.terms[0][1] == pytest.approx(3 / 23)
    assert (found.facts["errors"], found.facts["n"]) == (3, 23)


def test_a_delta_is_spent_once() -> None:
    """Two limits at delta each, quoted together at confidence 1 - delta: they fail with probability 0.0975."""
    n = 200
    p = upper_limit(0, n, DELTA) * (1 + 1e-9)  # just above: a sample without an error breaks the limit

    def either_fails(limit: float) -> float:
        one = (1 - p) ** n if limit < p else 0.0
        return 1 - (1 - one) ** 2

    assert either_fails(upper_limit(0, n, DELTA)) == pytest.approx(0.0975, abs=1e-6)
    assert either_fails(screened_limit(0, n, DELTA, models=2)) == 0.0
    edge = screened_limit(0, n, DELTA, models=2) * (1 + 1e-9)
    assert 1 - (1 - (1 - edge) ** n) ** 2 == pytest.approx(DELTA - DELTA**2 / 4, abs=1e-6)


def test_a_temperature_that_the_data_chose_is_paid_for() -> None:
    """Catoni's bound at the best of lam = 1..100, without a union; fair labels, the draw that Markov allows.

    P is uniform on all functions, Q = P e^(n kl)/xi(n): the law of the errors is known, so that the failure
    probability is a sum.
    """
    n, delta = 20, 0.25
    k = np.arange(n + 1)
    law = binom.pmf(k, n, k / n)
    ratio = [n * kl(j / n, 0.5) - math.log(law.sum()) for j in k]
    pairs = list(zip(k, ratio, strict=True))
    unpaid = [min(catoni(j / n, max(0.0, r), n, delta, lam / n) for lam in range(1, 101)) for j, r in pairs]
    grid = [lam / n for lam in range(1, 101)]
    paid = [single_draw_catoni(j / n, r, n, delta, grid) for j, r in pairs]
    fails = [float(law[np.array(bounds) < 0.5].sum() / law.sum()) for bounds in (unpaid, paid)]
    assert fails[0] > 0.38
    assert fails[1] <= delta


def test_a_prior_scale_that_the_data_chose_is_no_prior() -> None:
    """The best of 8 scales: the largest of 8 Gaussian densities has a mass of 2.4, not 1; ln 8 more nats repair it."""
    scales = 2.0 ** np.arange(8)

    def largest(w: float) -> float:
        return float(np.max(np.exp(-0.5 * (w / scales) ** 2) / (scales * math.sqrt(2 * math.pi))))

    mass = 2 * sum(quad(largest, a, b)[0] for a, b in itertools.pairwise((0.0, *(2.0 ** np.arange(12)), 1e5)))
    assert mass > 2.4
    assert mass / len(scales) < 1


def test_the_index_of_a_prior_scale_may_be_negative() -> None:
    """With scale = base e^(-j/100) at weight 6/(pi j)^2, a scale above the base has j < 0: 2 ln j is no number."""
    base, scale = 0.1, 0.2
    j = 100 * math.log(base / scale)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        wrong = 2 * np.log(j) + math.log(math.pi**2 / 6)
    assert math.isnan(wrong)
    assert not wrong > 1.0, "what compares as no bound above 1 looks like a certificate"
    assert budget_nats(round(j)) == pytest.approx(math.log(3 * (70 * 71) / 2))
    assert sum(math.exp(-budget_nats(k)) for k in range(-2_000, 2_001)) < 1
    with pytest.raises(InvalidParameter, match="must be at least 0 nats"):
        pac_bayes_kl(0.1, float(wrong), N, DELTA)


def test_noise_has_a_standard_deviation_not_a_variance() -> None:
    """A sampler that asks for a standard deviation, given sigma^2 = 1/4: the Gibbs risk is measured on other noise.

    One weight, mean 1/2, w > 0 is right: Q with sigma = 1/2 errs with probability .159, noise of spread 1/4 with .023.
    """
    mean, sigma, n = 0.5, 0.5, 10_000
    rng = np.random.default_rng(0)
    paid = gaussian_kl([mean], sigma, 1.0)
    risk, wrong = (0.5 * math.erfc(mean / (s * math.sqrt(2))) for s in (sigma, sigma**2))
    measured = np.mean(rng.normal(mean, sigma**2, size=100_000) <= 0)
    assert measured == pytest.approx(wrong, abs=0.003)
    assert pac_bayes_kl(float(measured), paid, n, DELTA) < 0.04 < risk
    assert pac_bayes_kl(risk, paid, n, DELTA) >= risk
    draws, narrow = (  # the mean over 20,000 draws of the weight
        gaussian_log_ratio(rng.normal(mean, s, size=20_000), mean, sigma, 1.0) / 20_000 for s in (sigma, sigma**2)
    )
    assert draws == pytest.approx(paid, abs=0.03)  # 5 standard errors
    assert narrow > paid + 0.2


def test_a_flattened_kernel_is_no_convolution() -> None:
    """Nine ones: the kernel as a matrix has norm 3, the convolution multiplies a constant image by 9."""
    kernel, image = np.ones((1, 1, 3, 3)), np.ones((8, 8))
    moved = sum(np.roll(image, (a, b), (0, 1)) for a in (-1, 0, 1) for b in (-1, 0, 1))  # circular
    gain = np.linalg.norm(moved) / np.linalg.norm(image)
    assert np.linalg.norm(kernel.reshape(1, 9), 2) == pytest.approx(3.0)
    assert flattened_kernel_norm(kernel) == pytest.approx(3.0)
    assert gain == pytest.approx(9.0)
    assert convolution_norm(kernel, 8, 8) >= gain


def test_one_over_l_squared_is_a_prior_from_two_on_only() -> None:
    """2^-l/l^2 for each of the 2^l strings of length l: all lengths from 1 on have mass 1.64, from 2 on 0.64."""
    wrong = sum(1 / length**2 for length in range(1, 5_000))
    assert 1.64 < wrong < math.pi**2 / 6
    assert 0.64 < wrong - 1 < 1

    def mass(price, lengths: range) -> float:
        return math.fsum(math.exp(length * math.log(2) - price(length)) for length in lengths)

    assert mass(published_universal_nats, range(1, 1_000)) > 1.64
    assert mass(length_nats, range(1, 1_000)) == pytest.approx(1 - 1 / 1_000)


def test_an_error_is_counted_not_assumed() -> None:
    """A training accuracy of 0.985 written into the code, where the net's own is 0.9922.

    33,725 bits: with its own 470 errors of 60,000 the net is certified at 35.0 %, with the constant above that; and a
    net that is wrong on half of the points would be certified all the same.
    """
    nats = 33_725 * math.log(2) - math.log(DELTA)
    assert occam_kl(470, N, nats) == pytest.approx(0.350, abs=5e-4)
    assert occam_kl(round(0.015 * N), N, nats) > 0.365
    net = Network(layers=(Layer(weight=np.array([[1.0], [-1.0]]), bias=np.zeros(2), relu=False),))
    x, y = np.ones((10_000, 1)), np.arange(10_000) % 2
    found = Occam(delta=DELTA, steps=(1,))(net, x, y)
    assumed = occam_kl(round(0.015 * len(x)), len(x), found.facts["bits"] * math.log(2) - math.log(DELTA))
    assert assumed < 0.1 < 0.5 <= found.value
    assert found.facts["errors"] == 5_000


def test_units_that_nobody_reads_are_not_part_of_the_function() -> None:
    """8 hidden units, of which 5 have no outgoing weight: their incoming weights were coded all the same."""
    rng = np.random.default_rng(0)
    first, last = 2.0 ** rng.integers(-3, 3, size=(8, 12)), 2.0 ** rng.integers(-3, 3, size=(2, 8))
    last[0] *= -1
    last[:, [0, 2, 3, 5, 6]] = 0.0

    def net(a: np.ndarray, bias: np.ndarray, b: np.ndarray, end: np.ndarray) -> Network:
        return Network(layers=(Layer(weight=a, bias=bias, relu=True), Layer(weight=b, bias=end, relu=False)))

    whole = net(first, np.zeros(8), last, np.zeros(2))
    alive = clean(first, last, RELU, bias=np.zeros(8), next_bias=np.zeros(2))
    small = net(alive.points, alive.bias, alive.weights, alive.next_bias)
    x, y = rng.random((500, 12)), np.zeros(500, int)
    assert small.sizes == (12, 3, 2)
    np.testing.assert_allclose(small(x), whole(x), rtol=1e-12)
    bits = [Occam(delta=DELTA, steps=(1,))(f, x, y).facts["bits"] for f in (whole, small)]
    assert bits[0] - bits[1] > 5 * 12, "each dead weight cost more than its sign"


def test_a_mixture_of_mass_sixteen_is_no_prior() -> None:
    """A Gaussian on each of 16 codebook values as the prior of every weight, their weights left out.

    The divergence of a weight is then ln 16 too small, and negative: every weight pays a part of the code back.
    """
    values, spread = np.arange(16.0), 1.0
    grid = np.linspace(-8.0, 23.0, 20_001)
    kernels = np.exp(-0.5 * ((grid[:, None] - values) / spread) ** 2) / (spread * math.sqrt(2 * math.pi))
    posterior, prior, step = kernels[:, 5], kernels.sum(axis=1), grid[1] - grid[0]  # of a weight at the value 5
    assert prior.sum() * step == pytest.approx(16.0, rel=1e-6)
    wrong, right = (float((posterior * np.log(posterior / (prior / mass))).sum() * step) for mass in (1, 16))
    assert wrong < -0.7
    assert right == pytest.approx(wrong + math.log(16))
    assert 0 < right < math.log(16), "below the price of naming the value, for the bumps overlap"
    with pytest.raises(InvalidParameter, match="must be at least 0 nats"):
        pac_bayes_kl(0.1, wrong, N, DELTA)
    assert gaussian_kl([5.0], spread, spread, 5.0) >= 0
