"""Catoni's bounds: no xi(n) at a temperature fixed beforehand, and what the choice among several costs.

Notation as in ``pac_bayes.py``. A temperature is beta > 0 for one example, lam = n beta for all of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from scipy.optimize import minimize_scalar

from boundlab._errors import InvalidParameter, positive, positive_int, probability
from boundlab._theory import implements
from boundlab.bounds.pac_bayes import nats, raised
from boundlab.concentration.chernoff import kl_inverse

_UP = 1.0 + 1e-14  # past the error of a handful of roundings


@implements("catoni2007_fixed_beta")
def catoni(risk: float, divergence: float, n: int, delta: float, beta: float) -> float:
    """R(Q) <= (1 - exp(-beta r - (KL + ln(1/delta))/n)) / (1 - exp(-beta)) for all Q at once; rounded up, at most 1.

    Parameters
    ----------
    risk : float
        r(Q) in [0, 1]; a quotient may be rounded.
    divergence : float
        KL(Q||P) in nats, >= 0.
    n : int
        Examples, >= 1.
    delta : float
        In (0, 1).
    beta : float
        The temperature, > 0, fixed before the examples.

    Raises
    ------
    InvalidParameter
        If an argument is out of its range.

    Notes
    -----
    Catoni, "PAC-Bayesian supervised classification" (2007), as we understand the book; its item number is not known to
    us. Proved in ``catoni2007_fixed_beta``; the infimum over beta is kl^-1(r, (KL + ln(1/delta))/n).

    Examples
    --------
    >>> f"{catoni(0.02, 1000.0, 60_000, 0.05, 1.0):.4f}"
    '0.0570'
    """
    beta, n = positive("beta", beta), positive_int("n", n)
    spent = (nats("divergence", divergence) - math.log(probability("delta", delta))) / n
    return min(1.0, math.expm1(-(beta * raised(risk) + spent) * _UP) / math.expm1(-beta) * _UP)


@implements("boundlab_catoni_grid")
def catoni_grid(risk: float, divergence: float, n: int, delta: float, betas: Sequence[float]) -> float:
    """The smallest of `catoni` over G temperatures fixed before the examples, each at delta / G; rounded up.

    Parameters and errors as in `catoni`; `betas` holds at least one temperature.

    Examples
    --------
    >>> f"{catoni_grid(0.02, 1000.0, 60_000, 0.05, [0.5, 1.0, 2.0]):.4f}"
    '0.0571'
    """
    if not len(betas):
        raise InvalidParameter("betas must hold at least one temperature, got none.")
    each = probability("delta", delta) / len(betas) * (1.0 - 1e-15)
    return min(catoni(risk, divergence, n, each, beta) for beta in betas)


@implements("boundlab_catoni_grid", "catoni2007_fixed_beta")
def catoni_unpaid(risk: float, divergence: float, n: int, delta: float) -> float:
    """kl^-1(r, (KL + ln(1/delta))/n), the infimum of `catoni` over beta without payment: kept to show.

    For one draw from Q, with ln(dQ/dP) for KL, it is refuted in ``boundlab_catoni_grid``. For a point mass on a
    countable class it is the Occam bound, and holds. Parameters and errors as in `catoni`.
    """
    n = positive_int("n", n)
    spent = nats("divergence", divergence) - math.log(probability("delta", delta))
    return kl_inverse(raised(risk), spent / n * _UP)


@implements("zhou2019_lambda_grid")
def lambda_grid(
    risk: float, divergence: float, n: int, delta: float, lam: float | None = None, alpha: float = 1e-4
) -> float:
    """R(Q) <= Phi^-1(r + (1+alpha)/lam (KL + ln(1/delta) + 2 ln(2 + ln(lam)/ln(1+alpha)))); rounded up, at most 1.

    Phi^-1(q) = (1 - exp(-lam q/n)) / (1 - exp(-lam/n)). It holds for all real lam >= 1 at once, the grid of powers of
    1 + alpha being paid; None takes the best lam found. For a point mass it is never below the Occam bound in its kl
    form, ``occam_kl``: certify with that one.

    Parameters and errors as in `catoni`; alpha > 0.

    Notes
    -----
    As in Zhou, Veitch, Austern, Adams and Orbanz (2019) and Lotfi et al. (2022), after Catoni (2007), as we understand
    the papers; proved in ``zhou2019_lambda_grid``.

    Examples
    --------
    >>> f"{lambda_grid(0.0423, 3200.0, 60_000, 0.05):.3f}"
    '0.142'
    """
    r, n, alpha = raised(risk), positive_int("n", n), positive("alpha", alpha)
    spent = nats("divergence", divergence) - math.log(probability("delta", delta))

    def value(log_lam: float) -> float:
        lam = math.exp(log_lam)
        q = r + (1.0 + alpha) / lam * (spent + 2.0 * math.log(2.0 + log_lam / math.log1p(alpha)))
        return math.expm1(-lam / n * q * _UP) / math.expm1(-lam / n)

    if lam is not None and not lam >= 1.0:
        raise InvalidParameter(f"lam must be at least 1, got lam={lam!r}.")
    if math.isinf(spent):
        return 1.0
    if lam is None:
        top = math.log(n) + 6.0
        found = minimize_scalar(value, bounds=(0.0, top), method="bounded", options={"xatol": 1e-9})
        log_lam = min((0.0, float(found.x), top), key=value)
    else:
        log_lam = math.log(lam)
    return min(1.0, value(log_lam) * (1.0 + 1e-12))
