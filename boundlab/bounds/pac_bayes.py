"""PAC-Bayes bounds for a randomised classifier: the kl form with its exact constant, and the relaxations of it.

A prior P is fixed before n i.i.d. examples, the posterior Q may depend on them; r(Q) and R(Q) are the expected
empirical and true risks of a classifier drawn from Q afresh for every example, for a loss in [0, 1]. Complexities are
in nats. Every value is rounded up. None of them is a statement about the network with the mean weights of Q.
"""

from __future__ import annotations

import math
from enum import StrEnum

import numpy as np

from boundlab._errors import InvalidParameter, choice, positive_int, probability
from boundlab._theory import implements
from boundlab.concentration.chernoff import kl_inverse

_EPS = 2.0**-52
_UP = 1.0 + 1e-14  # past the error of a handful of roundings


class Root(StrEnum):
    """The square-root forms in use, by the year of their source; n >= 2. Each adds sqrt(...) to r(Q)."""

    MAURER_2004 = "maurer2004"  # (KL + ln(2 sqrt(n) / delta)) / (2 n)
    MCALLESTER_2003 = "mcallester2003"  # (KL + ln(n / delta)) / (2 (n - 1))
    LIAO_2021 = "liao2021"  # (KL + ln(2 n / delta)) / (2 (n - 1))
    LOTFI_2022 = "lotfi2022"  # (KL + ln(n / delta)) / (2 n - 1), in released code


@implements("maurer2004_kl")
def log_xi(n: int) -> float:
    """Return ln xi(n), xi(n) = sum_k C(n,k) (k/n)^k (1-k/n)^(n-k), rounded up; sqrt(n) <= xi(n) <= 2 sqrt(n).

    Summed as xi(n) = sum_{j=0}^n (1 - 1/n)(1 - 2/n) ... (1 - (j-1)/n), which Abel's identity gives: about 9 sqrt(n)
    terms matter, and what is cut off is below a geometric series that is added.

    Parameters
    ----------
    n : int
        Examples, >= 1. O(sqrt(n)) operations.

    Returns
    -------
    float
        Above ln xi(n), by less than 1e-10 for n up to 10^8.

    Raises
    ------
    InvalidParameter
        If n is not a whole number of at least 1.

    Notes
    -----
    The constant of Maurer, "A note on the PAC-Bayesian theorem" (arXiv cs/0411099), as we understand the paper.

    Examples
    --------
    >>> f"{math.exp(log_xi(60_000)):.7f}"
    '307.6651049'
    """
    n = positive_int("n", n)
    total, last, done, block = 1.0, 1.0, 0, 4096  # total: the term j = 0; last: the term j = done
    while done < n:
        i = np.arange(done, min(done + block, n), dtype=np.float64)  # terms done + 1 .. done + block
        terms = last * np.cumprod(1.0 - i / n)
        total, last, done = total + float(terms.sum()), float(terms[-1]), done + len(i)
        rest = last * (n - done) / done  # the ratios fall: below a geometric series with ratio 1 - done/n
        if rest <= 1e-16:
            total += rest
            break
    return math.log(total) + (4.0 * done + 16.0) * _EPS


@implements("maurer2004_kl", "boundlab_data_dependent_prior")
def pac_bayes_kl(risk: float, divergence: float, n: int, delta: float) -> float:
    """R(Q) <= kl^-1(r(Q), (KL(Q||P) + ln(xi(n)/delta)) / n) for all Q at once, with probability at least 1 - delta.

    Parameters
    ----------
    risk : float
        r(Q) in [0, 1], or an upper limit of it (at a confidence of its own); a quotient k/n may be rounded.
    divergence : float
        KL(Q||P) in nats, >= 0; inf gives 1.
    n : int
        Examples, >= 1. With a prior from data: those that the prior has not seen.
    delta : float
        In (0, 1).

    Returns
    -------
    float
        In [0, 1], rounded up.

    Raises
    ------
    InvalidParameter
        If an argument is out of its range.

    Notes
    -----
    Langford and Seeger (2001); the constant is Maurer's (2004), as we understand the papers; proved in
    ``maurer2004_kl``.

    Examples
    --------
    >>> f"{pac_bayes_kl(0.0118, 5.0, 30_000, 0.025):.2%}"
    '1.54%'
    """
    r, n = raised(risk), positive_int("n", n)
    total = nats("divergence", divergence) + log_xi(n) - math.log(probability("delta", delta))
    return kl_inverse(r, total / n * _UP)


@implements("mcallester2003_root")
def root_bound(risk: float, divergence: float, n: int, delta: float, form: Root = Root.MAURER_2004) -> float:
    """McAllester's form, R(Q) <= r(Q) + sqrt(...), in the variant `form`; rounded up, may exceed 1.

    Every variant is implied by the kl form, through Pinsker's kl >= 2 (p-q)^2 and xi(n) <= min(2 sqrt(n), n) for
    n >= 3; none is below it. Parameters and errors as in `pac_bayes_kl`, with n >= 2.

    Examples
    --------
    >>> f"{root_bound(0.0, 1000.0, 60_000, 0.05):.4f}"
    '0.0917'
    """
    r, form, divergence = raised(risk), choice("form", form, Root), nats("divergence", divergence)
    n, log_inverse = _many(n), -math.log(probability("delta", delta))
    constant, divisor = {
        Root.MAURER_2004: (math.log(2.0 * math.sqrt(n)), 2.0 * n),
        Root.MCALLESTER_2003: (math.log(n), 2.0 * (n - 1)),
        Root.LIAO_2021: (math.log(2.0 * n), 2.0 * (n - 1)),
        Root.LOTFI_2022: (math.log(n), 2.0 * n - 1.0),
    }[form]
    return (r + math.sqrt((divergence + constant + log_inverse) / divisor)) * _UP


@implements("mcallester2003_root")
def released_pacbb_slack(divergence: float, n: int, delta: float) -> float:
    """sqrt((KL + ln(2 sqrt(n)) / delta) / (2n)): what the released code of pacbb adds; kept to show, not to use.

    The confidence divides the logarithm in place of the number under it. For n >= 2 that is never below the right
    ``ln(2 sqrt(n) / delta)``: valid, and loose without need. Parameters and errors as in `root_bound`.

    Examples
    --------
    >>> f"{released_pacbb_slack(1000.0, 60_000, 0.05):.4f}"
    '0.0968'
    """
    n, delta = _many(n), probability("delta", delta)
    return math.sqrt((nats("divergence", divergence) + math.log(2.0 * math.sqrt(n)) / delta) / (2.0 * n)) * _UP


@implements("perezortiz2021_quadratic")
def quadratic_bound(risk: float, divergence: float, n: int, delta: float) -> float:
    """R(Q) <= (sqrt(r + rho) + sqrt(rho))^2, rho = (KL + ln(2 sqrt(n) / delta)) / (2n); rounded up, may exceed 1.

    The kl form relaxed by kl(q||p) >= (p-q)^2 / (2p): never below it. Parameters and errors as in `pac_bayes_kl`.

    Notes
    -----
    The f_quad of Pérez-Ortiz, Rivasplata, Shawe-Taylor and Szepesvári, "Tighter risk certificates for neural networks"
    (JMLR 22, 2021), as we understand the paper; proved in ``perezortiz2021_quadratic``.

    Examples
    --------
    >>> f"{quadratic_bound(0.02, 1000.0, 60_000, 0.05):.4f}"
    '0.0677'
    """
    r, rho = raised(risk), 0.5 * _budget(divergence, n, delta)
    return (math.sqrt(r + rho) + math.sqrt(rho)) ** 2 * _UP


@implements("thiemann2017_lambda")
def lambda_bound(risk: float, divergence: float, n: int, delta: float, lam: float | None = None) -> float:
    """R(Q) <= r / (1 - lam/2) + C / (lam (1 - lam/2)), C = (KL + ln(2 sqrt(n) / delta)) / n; rounded up, may exceed 1.

    For all lam in (0, 2) at once: lam may be chosen from the data, and None takes the best, `best_lambda`, at which
    the value is `quadratic_bound`. Parameters and errors as in `pac_bayes_kl`.

    Notes
    -----
    Thiemann, Igel, Wintenberger and Seldin, "A strongly quasiconvex PAC-Bayesian bound" (ALT 2017), as we understand
    the paper; proved in ``thiemann2017_lambda``.

    Examples
    --------
    >>> f"{lambda_bound(0.02, 1000.0, 60_000, 0.05):.4f}"
    '0.0677'
    """
    r, budget = raised(risk), _budget(divergence, n, delta)
    lam = best_lambda(risk, divergence, n, delta) if lam is None else float(lam)
    if not 0.0 < lam < 2.0:
        raise InvalidParameter(f"lam must be in (0, 2), got lam={lam!r}.")
    return (r / (1.0 - 0.5 * lam) + budget / (lam * (1.0 - 0.5 * lam))) * _UP


@implements("thiemann2017_lambda")
def best_lambda(risk: float, divergence: float, n: int, delta: float) -> float:
    """2 / (sqrt(2 r / C + 1) + 1), the lam in (0, 1] at which `lambda_bound` is smallest; same parameters."""
    r, budget = raised(risk), _budget(divergence, n, delta)
    return 2.0 / (math.sqrt(2.0 * r / budget + 1.0) + 1.0)


@implements("boundlab_refined_pinsker")
def refined_pinsker(risk: float, divergence: float, n: int, delta: float) -> float:
    """R(Q) <= r + sqrt(2 r C) + 2 C, C = (KL + ln(2 sqrt(n) / delta)) / n; rounded up, may exceed 1.

    Never below `quadratic_bound`, and below Pinsker's root where r is small. Parameters and errors as in
    `pac_bayes_kl`.

    Examples
    --------
    >>> f"{refined_pinsker(0.02, 1000.0, 60_000, 0.05):.4f}"
    '0.0796'
    """
    r, budget = raised(risk), _budget(divergence, n, delta)
    root = math.sqrt(2.0 * r * budget) if r else 0.0  # 0 times inf
    return (r + root + 2.0 * budget) * _UP


@implements("langford2002_gibbs_vote")
def majority_vote(gibbs_risk: float) -> float:
    """2 R(Q), at most 1: bounds the risk of the plurality vote of Q, a tie counted as an error.

    The vote, not the network with the mean weights: that one may err everywhere where R(Q) = 0.

    Examples
    --------
    >>> f"{majority_vote(0.02):.2f}"
    '0.04'
    """
    return min(1.0, 2.0 * raised(gibbs_risk))


def raised(risk: float | np.floating) -> float:
    """A risk in [0, 1], moved up by the rounding of a quotient k/n in its own precision, float32 say; 0 stays 0."""
    if isinstance(risk, bool) or not isinstance(risk, (int, float, np.integer, np.floating)) or not 0.0 <= risk <= 1.0:
        raise InvalidParameter(f"a risk must be in [0, 1], got {risk!r}.")
    if isinstance(risk, np.floating) and risk.itemsize > 8:  # a double may lie below it
        return min(1.0, math.nextafter(float(risk), math.inf)) if risk else 0.0
    return min(1.0, float(np.nextafter(risk, math.inf))) if risk else 0.0


def nats(name: str, value: float) -> float:
    """A complexity in nats, at least 0; inf is allowed."""
    if not isinstance(value, (int, float, np.integer, np.floating)) or not value >= 0.0:
        raise InvalidParameter(f"{name} must be at least 0 nats, got {name}={value!r}.")
    return float(value)


def _budget(divergence: float, n: int, delta: float) -> float:
    """(KL + ln(2 sqrt(n) / delta)) / n, rounded up."""
    n, delta = positive_int("n", n), probability("delta", delta)
    return (nats("divergence", divergence) + math.log(2.0 * math.sqrt(n)) - math.log(delta)) / n * _UP


def _many(n: int) -> int:
    if positive_int("n", n) < 2:
        raise InvalidParameter(f"n must be at least 2, got n={n!r}.")
    return int(n)
