"""The mean loss of a document: an example is a document, and what bounds the expected mean of its tokens' losses.

Tokens of one document depend on one another and are no examples. Losses are in [0, 1], and no coins: the limits are
those of means.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from boundlab._errors import InvalidParameter, positive_int, probability
from boundlab._theory import implements
from boundlab.concentration.chernoff import kl_inverse
from boundlab.concentration.empirical_bernstein import empirical_bernstein_nats
from boundlab.promises import Premise, Status

_UP = 1.0 + 1e-12  # past the error of logarithms and means over many tokens


@implements("lotfi2024_smoothed_bits", "lotfi2024_subsampled")
def mean_levels(
    values: np.ndarray, nats: float, delta: float, *, choice: float = 0.0, population: int | None = None
) -> tuple[float, ...]:
    """Limits of the expectation of losses in [0, 1], with one cause more each; the last is the bound.

    Without a population: the mean, then with `choice` + ln(1/delta), then with `nats` too, each the smaller of the
    Chernoff-kl and the empirical Bernstein limit at half the failure probability. With one, the mean of the subsample,
    its limit for the population, and two by kl. `choice` is paid at every step.

    Raises
    ------
    InvalidParameter
        If there are fewer than two values or one is outside [0, 1].
    """
    n, log_inverse = len(values), choice - math.log(probability("delta", delta))
    if n < 2 or not np.all((values >= 0.0) & (values <= 1.0)):
        raise InvalidParameter(f"losses must be at least two numbers in [0, 1], got {n}.")
    mean = min(1.0, math.fsum(values) / n * _UP)
    if population is None:
        variance = min(0.5, math.fsum((values - mean) ** 2) / (n - 1) * _UP)

        def limit(total: float) -> float:
            half = (total + math.log(2.0)) * _UP
            return min(1.0, kl_inverse(mean, half / n * _UP), empirical_bernstein_nats(mean, variance, n, half))

        return mean, limit(log_inverse), limit(log_inverse + nats)
    first, second = split(n, population)
    seen = kl_inverse(mean, (log_inverse + second) / n * _UP)
    paid = (log_inverse + first) * _UP
    return mean, seen, kl_inverse(seen, paid / population * _UP), kl_inverse(seen, (paid + nats) / population * _UP)


@implements("lotfi2024_subsampled")
def split(drawn: int, documents: int) -> tuple[float, float]:
    """Nats ln(1/rho) and ln(1/(1-rho)) that the two events pay, rho = n_s/(n_s + m)."""
    both = drawn + documents
    return math.log(both / drawn) * _UP, math.log(both / documents) * _UP


def split_nats(n: int, population: int | None) -> float:
    """What `mean_levels` pays beside ln(1/delta) and its nats: ln 2 for the better of two limits, or ln(1/rho)."""
    return math.log(2.0) * _UP if population is None else split(n, population)[0]


def level_names(population: int | None) -> tuple[str, ...]:
    """What the levels of `mean_levels` add, in their order."""
    seen = ("empirical loss",) if population is None else ("subsampled loss", "subsampling")
    return (*seen, "confidence", "description")


def population_of(n: int, population: int | None) -> int | None:
    """Validate the number of documents that n were drawn from."""
    if population is not None and positive_int("population", population) < n:
        raise InvalidParameter(f"population must be at least the {n} documents drawn from it, got {population}.")
    return population


def array_of(name: str, values: Any, kinds: str) -> np.ndarray:
    """Validate one array of dtypes of these kinds, none of it masked: what padding hides is no token."""
    if np.ma.is_masked(values):
        raise InvalidParameter(f"{name} must have no masked entries, whose values are unknown, got some: cut them off.")
    try:
        array = np.asarray(values)
    except ValueError:
        raise InvalidParameter(f"{name} must be an array, got a ragged one.") from None
    if array.dtype.kind not in kinds:
        wanted = {"b": "bool", "iu": "whole numbers"}.get(kinds, "real numbers")
        raise InvalidParameter(f"{name} must be an array of {wanted}, got {array.dtype}.")
    return array


def rows(name: str, values: Any, kinds: str) -> list[np.ndarray]:
    """Validate one array for each of at least two documents, as `array_of` does, and none empty."""
    try:
        own = [array_of(name, row, kinds) for row in values]
    except TypeError:
        raise InvalidParameter(f"{name} must be a sequence of arrays, got {type(values).__name__}.") from None
    if len(own) < 2 or not all(row.size for row in own):
        raise InvalidParameter(f"{name} must be at least two arrays, none of them empty, got {len(own)}.")
    return own


def premises(population: int | None, *, given: str = "") -> tuple[Premise, ...]:
    """What is assumed of documents and prior, of the subsample where there is one, and of what the caller chose."""
    own = [
        Premise(
            text="documents are i.i.d., and the model reads no document while it predicts another",
            status=Status.ASSUMED,
            evidence="a property of how the documents were collected: tokens and windows of one are no examples",
        ),
        Premise(
            text="nats is -ln of the model's mass under a prior fixed before the documents",
            status=Status.ASSUMED,
            evidence="stated by the caller: bits of a prefix code times ln 2, all choices coded",
        ),
    ]
    if population is not None:
        own.append(
            Premise(
                text="the subsample was drawn uniformly, with or without replacement, after the model was fixed",
                status=Status.ASSUMED,
                evidence="a property of how it was drawn; alpha may be chosen on it",
            )
        )
    if given:
        own.append(
            Premise(
                text=f"{given} fixed before the documents were seen",
                status=Status.ASSUMED,
                evidence="stated by the caller",
            )
        )
    return tuple(own)
