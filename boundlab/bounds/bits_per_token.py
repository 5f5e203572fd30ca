"""Bounds for language models: bits per token of a smoothed predictor, and token errors, with documents as examples.

An example is a document, and its loss is the mean over its own tokens. Tokens of one document depend on one another
and are no examples. Total bits over total tokens is another number where documents differ in length: it is no mean of
n independent losses, and nothing here bounds it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from boundlab._errors import InvalidParameter, positive_int, probability
from boundlab._theory import implements
from boundlab.bounds.document_means import (
    array_of,
    level_names,
    mean_levels,
    population_of,
    premises,
    rows,
    split,
    split_nats,
)
from boundlab.bounds.generalization_bound import telescope
from boundlab.bounds.occam import occam_hoeffding
from boundlab.promises import Bound, Premise, Status

_UP = 1.0 + 1e-12  # past the error of logarithms, means over many tokens, and rescaling
ALPHAS = tuple(2.0**-k for k in range(1, 17))
"""Shares of the uniform guess that are tried unless others are given."""


@implements("lotfi2024_smoothed_bits")
def smoothed_bits(probabilities: np.ndarray, vocabulary: int, alpha: float) -> np.ndarray:
    """Return -log2 p' of the smoothed predictor p' = (1 - alpha) p + alpha/V, for each token that came.

    Parameters
    ----------
    probabilities : array
        p of the tokens that came, each in [0, 1].
    vocabulary : int
        V >= 2, tokens that can come.
    alpha : float
        In (0, 1).

    Returns
    -------
    array of the same shape
        In the interval of `smoothed_range`, which is not [0, its width].

    Raises
    ------
    InvalidParameter
        If an argument is out of its range.

    Examples
    --------
    >>> smoothed_bits(np.array([0.0, 1.0]), 50_257, 0.5).round(4)
    array([16.617,  1.   ])
    """
    p, (low, high) = array_of("probabilities", probabilities, "buif"), smoothed_range(vocabulary, alpha)
    if not p.size or not np.all((p >= 0.0) & (p <= 1.0)):
        raise InvalidParameter(f"probabilities must be in [0, 1] and not empty, got shape {p.shape}.")
    return np.clip(-np.log2((1.0 - alpha) * p.astype(np.float64) + alpha / vocabulary), low, high)


@implements("lotfi2024_smoothed_bits")
def smoothed_range(vocabulary: int, alpha: float) -> tuple[float, float]:
    """Return the smallest and largest loss of a token, -log2(1 - alpha + alpha/V) and log2(V/alpha), in bits.

    They are log2(1 + (1 - alpha) V/alpha) apart, and both are reached, at p = 1 and p = 0. Rounded outwards.

    Parameters and errors as in `smoothed_bits`.

    Examples
    --------
    >>> low, high = smoothed_range(50_257, 0.5)
    >>> f"{low:.4f} {high:.4f} {high - low:.4f}"
    '1.0000 16.6170 15.6171'
    """
    if positive_int("vocabulary", vocabulary) < 2:
        raise InvalidParameter(f"vocabulary must be at least 2, got vocabulary={vocabulary!r}.")
    alpha = probability("alpha", alpha)
    low = -math.log1p(-alpha * (1.0 - 1.0 / vocabulary)) / math.log(2.0)
    return low / _UP, (math.log2(vocabulary) - math.log2(alpha)) * _UP


@implements("lotfi2024_smoothed_bits")
def hoeffding_bits(bits: float, n: int, nats: float, delta: float, *, vocabulary: int, alpha: float) -> float:
    """Return r + Delta sqrt((nats + ln 1/delta)/(2n)), Delta the width of `smoothed_range`: the published form.

    Parameters
    ----------
    bits : float
        r, the mean over n documents of their mean bits per token; at least 0.
    n : int
    nats : float
        -ln of the prior of the model, at least 0.
    delta : float
        In (0, 1).
    vocabulary, alpha : as in `smoothed_bits`
        alpha fixed before the documents.

    Returns
    -------
    float
        Bits per token, rounded up; `bits_per_token_bound` is tighter, but for the ln 2 that its better of two costs.

    Raises
    ------
    InvalidParameter
        If an argument is out of its range.

    Notes
    -----
    Lotfi, Finzi, Kuang, Rudner, Goldblum and Wilson, "Non-vacuous generalization bounds for large language models"
    (2024), arXiv:2312.17173, as we understand the paper.

    Examples
    --------
    >>> f"{hoeffding_bits(6.0, 9_000_000, 2_000_000.0, 0.05, vocabulary=50_257, alpha=0.1):.2f}"
    '12.26'
    """
    low, high = smoothed_range(vocabulary, alpha)
    total = _at_least_0("nats", nats) - math.log(probability("delta", delta))
    return (_at_least_0("bits", bits) + (high - low) * occam_hoeffding(0, n, total)) * _UP


@implements("lotfi2024_subsampled")
def subsampled_hoeffding_bits(
    bits: float, drawn: int, documents: int, nats: float, delta: float, *, vocabulary: int, alpha: float
) -> float:
    """Return r_s + Delta (sqrt((nats - ln(rho delta))/(2m)) + sqrt(-ln((1-rho) delta)/(2 n_s))), rho = n_s/(n_s + m).

    The published form where r_s is the mean over n_s documents, drawn at random from the m that the model may have
    been fitted to, after it was fixed.

    Parameters
    ----------
    bits : float
        r_s.
    drawn, documents : int
        n_s and m, n_s <= m.
    nats, delta, vocabulary, alpha : as in `hoeffding_bits`

    Returns
    -------
    float
        Bits per token, rounded up.

    Raises
    ------
    InvalidParameter
        If an argument is out of its range.

    Examples
    --------
    >>> f"{subsampled_hoeffding_bits(6.0, 10_000, 9_000_000, 2e6, 0.05, vocabulary=50_257, alpha=0.1):.2f}"
    '12.49'
    """
    small, big, delta = positive_int("drawn", drawn), positive_int("documents", documents), probability("delta", delta)
    if small > big:
        raise InvalidParameter(f"drawn must be at most documents, got {small} of {big}.")
    low, high = smoothed_range(vocabulary, alpha)
    gap = _subsampled_gap(small, big, _at_least_0("nats", nats), -math.log(delta))
    return (_at_least_0("bits", bits) + (high - low) * gap) * _UP


@implements("lotfi2024_subsampled")
def _subsampled_gap(drawn: int, documents: int, nats: float, log_inverse: float) -> float:
    """The two roots of `subsampled_hoeffding_bits`, `log_inverse` = ln(1/delta)."""
    first, second = split(drawn, documents)
    return occam_hoeffding(0, documents, nats + log_inverse + first) + occam_hoeffding(0, drawn, log_inverse + second)


@implements("lotfi2024_smoothed_bits", "lotfi2024_subsampled")
def bits_per_token_bound(
    documents: Sequence[np.ndarray],
    nats: float,
    delta: float = 0.05,
    *,
    vocabulary: int,
    alphas: Sequence[float] | np.ndarray = ALPHAS,
    population: int | None = None,
) -> Bound:
    """Bound the expected bits per token of the smoothed model on a fresh document.

        R <= low + Delta kl^-1( (r - low)/Delta, (nats + ln G + ln 2/delta)/n ),    [low, low + Delta] the loss's range,

    or the same with the empirical Bernstein limit for kl^-1, whichever is smaller; G counts the alphas. With
    `population` = m, the documents are a subsample of the m that the model may have been fitted to, and r is first
    bounded by kl^-1 from the subsample, with the share 1 - rho = m/(n_s + m) of delta.

    The record speaks of the rescaled loss (bits - low)/Delta of the best alpha, and its `chance` is that of the
    uniform guess, log2 V bits: vacuous means no better than guessing. ``facts["bits"]`` is the bound in bits.

    Parameters
    ----------
    documents : sequence of n arrays, n >= 2
        For each document the model's probabilities of the tokens that came, in [0, 1].
    nats : float
        -ln of the model's prior, at least 0: 0 for a model that has not seen the documents.
    delta : float
        In (0, 1).
    vocabulary : int
        V >= 2.
    alphas : sequence of distinct floats in (0, 1)
        Fixed before the data, which is listed as assumed of any but the default; the best is paid with ln G.
    population : int, optional
        m >= n.

    Returns
    -------
    Bound
        ``facts["hoeffding_bits"]`` is the published form, with the best alpha for it, paid as here; ``facts["nats"]``
        all that is paid beside ln(1/delta) for the model: with the choice of alpha and the share of delta.

    Raises
    ------
    InvalidParameter
        If an argument is out of its range.

    Notes
    -----
    Lotfi et al. (2024), arXiv:2312.17173, as we understand the paper, for the smoothing, the documents and the split;
    ``lotfi2024_smoothed_bits`` and ``lotfi2024_subsampled`` prove the forms.

    Examples
    --------
    >>> model = [np.full(20, 0.5)] * 10_000  # a bit for each token
    >>> found = bits_per_token_bound(model, 100.0, vocabulary=50)
    >>> f"{found.facts['bits']:.2f} <= {found.facts['hoeffding_bits']:.2f} < {math.log2(50):.2f}", str(found.standing)
    ('1.31 <= 1.78 < 5.64', 'non-vacuous')
    """
    try:
        tried = tuple(probability("alpha", alpha) for alpha in alphas)
    except TypeError:
        raise InvalidParameter(f"alphas must be a sequence of numbers, got {alphas!r}.") from None
    if not tried or len(set(tried)) != len(tried):
        raise InvalidParameter(f"alphas must hold at least one number and none twice, got {alphas!r}.")
    own, total = rows("documents", documents, "buif"), _at_least_0("nats", nats)
    if not all(p.ndim == 1 for p in own):
        raise InvalidParameter(f"documents must be rows of probabilities, got {max(p.ndim for p in own)} axes.")
    n, log_inverse = len(own), -math.log(probability("delta", delta))
    size = population_of(n, population)
    choice = math.log(len(tried)) * _UP
    lengths = np.array([len(p) for p in own])
    tokens, starts = np.concatenate(own), np.cumsum(lengths) - lengths
    slack = 1.0 + float(lengths.max()) * 2.0**-52  # what summing a document may have lost
    found, published = [], []
    for alpha in tried:
        low, high = smoothed_range(vocabulary, alpha)
        bits = np.add.reduceat(smoothed_bits(tokens, vocabulary, alpha), starts) / lengths * slack
        values = np.clip((bits - low) / (high - low), 0.0, 1.0)
        levels = mean_levels(values, total, delta, choice=choice, population=size)
        found.append((low + (high - low) * levels[-1], alpha, levels, float(bits.mean()), low, high))
        gap = (
            occam_hoeffding(0, n, total + choice + log_inverse)
            if size is None
            else _subsampled_gap(n, size, total, choice + log_inverse)
        )
        published.append((float(bits.mean()) + (high - low) * gap) * _UP)
    bound, alpha, levels, empirical, low, high = min(found)
    return Bound(
        name="bits per token",
        terms=telescope(level_names(size), levels),
        delta=delta,
        theorem="lotfi2024_smoothed_bits" if size is None else "lotfi2024_subsampled",
        chance=(math.log2(vocabulary) - low) / (high - low) / _UP,
        premises=(*premises(size, given="" if tried == ALPHAS else "the given alphas were"), _NORMALISED),
        facts={
            "bits": bound * _UP,
            "empirical_bits": empirical,
            "chance_bits": math.log2(vocabulary),
            "hoeffding_bits": min(published),
            "alpha": alpha,
            "low": low,
            "width": high - low,
            "nats": total + choice + split_nats(n, size),
            "n": n,
            "population": n if size is None else size,
            "tokens": len(tokens),
        },
    )


@implements("lotfi2024_smoothed_bits", "lotfi2024_subsampled")
def token_error_bound(
    misses: Sequence[np.ndarray],
    nats: float,
    delta: float = 0.05,
    *,
    vocabulary: int,
    k: int = 1,
    population: int | None = None,
) -> Bound:
    """Bound the expected share of a fresh document's tokens that are not among the model's k best guesses.

    The mean of a document's misses is a loss in [0, 1], not a coin: the limits are those of `bits_per_token_bound`,
    and no binomial tail.

    Parameters
    ----------
    misses : sequence of n arrays of bool, n >= 2
        `top_k_misses` of each document.
    nats, delta, vocabulary, population : as in `bits_per_token_bound`
    k : int
        In 1..V-1, fixed before the data.

    Returns
    -------
    Bound
        Its `chance` is 1 - k/V.

    Raises
    ------
    InvalidParameter
        If an argument is out of its range.

    Examples
    --------
    >>> found = token_error_bound([np.array([True, False, False, False])] * 1_000, 100.0, vocabulary=50)
    >>> f"{found.value:.3f}", str(found.standing)
    ('0.471', 'non-vacuous')
    """
    if not 1 <= positive_int("k", k) < positive_int("vocabulary", vocabulary):
        raise InvalidParameter(f"k must be in 1..{vocabulary - 1}, got k={k!r}.")
    own, total = rows("misses", misses, "b"), _at_least_0("nats", nats)
    n = len(own)
    size = population_of(n, population)
    values = np.array([row.mean() for row in own])
    return Bound(
        name=f"top-{k} token error",
        terms=telescope(level_names(size), mean_levels(values, total, delta, population=size)),
        delta=delta,
        theorem="lotfi2024_smoothed_bits" if size is None else "lotfi2024_subsampled",
        chance=1.0 - k / vocabulary,
        premises=premises(size, given="k was"),
        facts={
            "n": n,
            "population": size or n,
            "nats": total + split_nats(n, size),
            "tokens": sum(row.size for row in own),
        },
    )


def top_k_misses(scores: np.ndarray, tokens: np.ndarray, k: int) -> np.ndarray:
    """Return for each token whether k other tokens of the vocabulary or more score at least as high: ties are misses.

    Parameters
    ----------
    scores : array (tokens, V)
        Logits or probabilities.
    tokens : array (tokens,) of whole numbers 0..V-1
        Those that came.
    k : int
        In 1..V-1.

    Raises
    ------
    InvalidParameter
        If the shapes do not fit, a score is NaN or a number is out of its range.

    Examples
    --------
    >>> top_k_misses(np.array([[0.5, 0.5, 0.0], [0.6, 0.3, 0.1]]), np.array([0, 1]), 1)
    array([ True,  True])
    """
    s, t, k = array_of("scores", scores, "buif"), array_of("tokens", tokens, "iu"), positive_int("k", k)
    fits = s.ndim == 2 and t.shape == (len(s),) and not np.isnan(s).any()
    if not fits or not len(t) or t.min() < 0 or t.max() >= s.shape[1] or k >= s.shape[1]:
        raise InvalidParameter(f"scores must be (tokens, V) for tokens 0..V-1 and k in 1..V-1, got {s.shape}, k={k!r}.")
    own = s[np.arange(len(t)), t]
    return (s >= own[:, None]).sum(axis=1) - 1 >= k


def _at_least_0(name: str, value: float) -> float:
    number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not number or not 0.0 <= value < math.inf:
        raise InvalidParameter(f"{name} must be a finite number of at least 0, got {name}={value!r}.")
    return float(value)


_NORMALISED = Premise(
    text="the probabilities are those of one normalised distribution over the V tokens, given the tokens before",
    status=Status.ASSUMED,
    evidence="only the probabilities of the tokens that came are seen",
)
