"""ln dQ/dP of two Gaussians at the shipped weights, in float64 and rounded up; its mean under Q is KL(Q||P).

Statement. For independent weights with Q = N(mu, s^2) and P = N(m, t^2), ln (dQ/dP)(w) = sum (w - m)^2/(2 t^2) - (w -
mu)^2/(2 s^2) + ln(t/s). Its mean over w ~ Q is sum ((mu - m)^2 + s^2)/(2 t^2) - 1/2 + ln(t/s) = KL(Q||P), its variance
sum over the weights of (s^4/t^4 - 2 s^2/t^2 + 1)/2 + (mu - m)^2 s^2/t^4, so that one draw scatters around KL.

Proof. The normalisations leave t/s, the exponents the two squares; with w = mu + s z the summand is a polynomial in a
standard normal z, whose moments 0, 1, 0, 3 give both numbers.

Rounding. A difference of two floats, a quotient, a square and a logarithm err by at most a few units of roundoff each
relative to the term; the terms are added without error, and 16 units of roundoff of the sum of their magnitudes are
put on top. ln t and ln s are separate terms, because ln t - ln s would hide the error of either behind a small
difference. The ratio belongs to the weights that are shipped: rounding w to float32 moves it, and it is the rounded w
that is scored.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import sympy as sp

from boundlab.bounds.single_draw import gaussian_kl, gaussian_log_ratio
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage, violated

THEOREM = Theorem(
    name="Log-ratio of Gaussian posterior and prior",
    source="textbook formula; the enclosure in floating point is ours",
    given=("independent Gaussian weights", "positive standard deviations", "the ratio is taken at the shipped weights"),
    claim=r"\ln\tfrac{dQ}{dP}(w) = \sum_j \tfrac{(w_j-m_j)^2}{2t_j^2} - \tfrac{(w_j-\mu_j)^2}{2s_j^2} + "
    r"\ln\tfrac{t_j}{s_j},\ \mathbb{E}_{w \sim Q} = \mathrm{KL}(Q\|P)",
    status="holds",
)

MUTATIONS = (
    Mutation(file="bounds/single_draw.py", old="-_square(w - mean, std)", new="-_square(w, std)"),
    Mutation(file="bounds/single_draw.py", old="_square(w - prior_mean, prior_std)", new="_square(w, prior_std)"),
    Mutation(file="bounds/single_draw.py", old="_square(mean - prior_mean, prior_std)", new="_square(mean, prior_std)"),
    Mutation(file="bounds/single_draw.py", old="np.log(prior_std), -np.log(std)])\n\n\n@", new="-np.log(std)])\n\n\n@"),
    Mutation(
        file="bounds/single_draw.py", old="return math.fsum(terms) + _TERM", new="return math.fsum(terms) - _TERM"
    ),
)

SIZE = 200  # weights of the Monte Carlo posterior


def true_ratio(w: np.ndarray, mean: np.ndarray, std: np.ndarray, prior: np.ndarray, centre: np.ndarray) -> Any:
    """The exact ratio of the given floats to 40 digits, by mpmath's normal densities."""
    with mpmath.workdps(40):
        total = mpmath.mpf(0)
        for a, b, s, t, m in zip(*(v.tolist() for v in (w, mean, std, prior, centre)), strict=True):
            total += mpmath.log(mpmath.npdf(a, b, s) / mpmath.npdf(a, m, t))
        return total


def true_kl(mean: np.ndarray, std: np.ndarray, prior: np.ndarray, centre: np.ndarray) -> Any:
    """The exact divergence of the given floats to 40 digits."""
    with mpmath.workdps(40):
        total = mpmath.mpf(0)
        for b, s, t, m in zip(*(map(mpmath.mpf, v.tolist()) for v in (mean, std, prior, centre)), strict=True):
            total += ((b - m) ** 2 + s**2) / (2 * t**2) - mpmath.mpf("0.5") + mpmath.log(t / s)
        return total


def posterior(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means, standard deviations and prior scales over several orders of magnitude."""
    return rng.normal(size=size), 2.0 ** rng.uniform(-9, 0, size), 2.0 ** (np.round(8 * rng.uniform(-3, 1, size)) / 8)


def symbolic() -> str:
    w, mu, m, z = sp.symbols("w mu m z", real=True)
    s, t = sp.symbols("s t", positive=True)

    def density(x: sp.Expr, centre: sp.Expr, spread: sp.Expr) -> sp.Expr:
        return sp.exp(-((x - centre) ** 2) / (2 * spread**2)) / (spread * sp.sqrt(2 * sp.pi))

    ratio = (w - m) ** 2 / (2 * t**2) - (w - mu) ** 2 / (2 * s**2) + sp.log(t / s)
    quotient = sp.simplify(sp.log(density(w, mu, s) / density(w, m, t)))
    require(sp.simplify(sp.expand_log(quotient - ratio, force=True)) == 0, "the logarithm of the quotient")
    moments = {0: 1, 1: 0, 2: 1, 3: 0, 4: 3}

    def mean_of(expression: sp.Expr) -> sp.Expr:
        return sum((c * moments[k[0]] for k, c in sp.Poly(sp.expand(expression), z).terms()), sp.Integer(0))

    drawn = ratio.subs(w, mu + s * z)
    kl = ((mu - m) ** 2 + s**2) / (2 * t**2) - sp.Rational(1, 2) + sp.log(t / s)
    require(sp.simplify(mean_of(drawn) - kl) == 0, "the mean under Q is KL")
    spread = (s**4 / t**4 - 2 * s**2 / t**2 + 1) / 2 + (mu - m) ** 2 * s**2 / t**4
    require(sp.simplify(mean_of((drawn - kl) ** 2) - spread) == 0, "the variance under Q")
    return "the quotient of the densities, its mean KL and its variance, by the moments 0, 1, 0, 3 of a standard normal"


def exact() -> str:
    rng, worst = np.random.default_rng(7), 0.0
    for size in (1, 5, 60):
        for _ in range(4):
            mean, std, prior = posterior(rng, size)
            w = (mean + std * rng.normal(size=size)).astype(np.float32).astype(np.float64)
            centre = rng.normal(size=size)
            logs = np.abs(np.log(prior)) + np.abs(np.log(std))
            scales = ((w - centre) ** 2 / prior**2 + (w - mean) ** 2 / std**2 + logs).sum()
            divergence_scales = (((mean - centre) ** 2 + std**2) / prior**2 + 0.5 + logs).sum()
            for shipped, want, magnitude in (
                (gaussian_log_ratio(w, mean, std, prior, centre), true_ratio(w, mean, std, prior, centre), scales),
                (gaussian_kl(mean, std, prior, centre), true_kl(mean, std, prior, centre), divergence_scales),
            ):
                require(want <= shipped, f"below the exact value: {shipped} < {want}")
                require(shipped - want < 1e-14 * float(magnitude), f"too far above: {shipped} > {want}")
                worst = max(worst, float(shipped - want))
    close = gaussian_log_ratio([1.0], [1.0], [1.0], [1.0 + 2**-40], [1.0])  # cancelling logarithms
    require(close >= math.log1p(2**-40), "ln(t/s) for nearly equal scales")
    own = gaussian_kl([0.5], [1.0], [1.0])
    require(Fraction(own) >= Fraction(1, 8) and own < 0.125 + 1e-13, "KL of a shifted Gaussian is 1/8")
    return f"12 posteriors of up to 60 float32 weights: ratio and KL at or above 40 digits by at most {worst:.1e} nats"


def exceeds(nats: float, factor: float = 1.0):
    """A trial: ln dQ/dP at a draw exceeds `factor` times KL by `nats` or more; Chebyshev's inequality bounds it."""
    mean, std, prior = posterior(np.random.default_rng(11), SIZE)
    divergence = factor * gaussian_kl(mean, std, prior)

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        draws = mean + std * rng.normal(size=(n, len(mean)))
        return np.array([gaussian_log_ratio(w, mean, std, prior) - divergence >= nats for w in draws])

    return trial


def spread() -> float:
    """Standard deviation of ln dQ/dP under Q, by the formula."""
    mean, std, prior = posterior(np.random.default_rng(11), SIZE)
    ratio = (std / prior) ** 2
    return math.sqrt(float(np.sum((1 - ratio) ** 2 / 2 + (mean * std) ** 2 / prior**4)))


def monte_carlo(effort: int = 1) -> Evidence:
    """Exceeds KL by 4 standard deviations with probability at most 1/17 (Cantelli)."""
    return judge(exceeds(4 * spread()), delta=1 / 17, trials=2_000 * effort, name="log-ratio around KL")


def teeth() -> Evidence:
    def caught(factor: float) -> bool:
        return violated(exceeds(4 * spread(), 1 / factor), delta=1 / 17, trials=300, name="KL divided")

    slack = smallest_sabotage(caught)
    w, mean, std, prior = np.array([[3.0], [2.5], [0.5], [1.0]])
    halved = gaussian_log_ratio(w, mean, std, prior) - 0.5 * 9.0 / 2.0
    require(halved < true_ratio(w, mean, std, prior, np.zeros(1)), "a halved prior term was not caught")
    return Evidence(text=f"refuted: a mean of KL divided by {slack:g}; a halved prior term", slack=slack)
