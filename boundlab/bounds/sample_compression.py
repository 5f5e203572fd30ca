"""Sample compression: a classifier rebuilt from k of the n examples is tested on the other n - k.

The dataset coreset is such a scheme. What the k examples do not determine - weights, preprocessing from all examples -
is a message, and is paid for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from boundlab._errors import InvalidParameter, positive_int, probability
from boundlab._theory import implements
from boundlab.bounds.compressed_class import told
from boundlab.bounds.generalization_bound import (
    IID,
    GeneralizationBound,
    Subject,
    alone,
    chance,
    classifier,
    count_errors,
    evidence,
    telescope,
)
from boundlab.bounds.pac_bayes import nats
from boundlab.concentration.binomial import tail_inverse
from boundlab.promises import Bound, Premise, Status


@implements("floyd1995_sample_compression")
def sample_compression(
    errors: int, kept: int, n: int, delta: float, *, message: float = 0.0, ordered: bool = False
) -> float:
    """R <= Bin+(errors, n - k, delta w(k) P(message) / C(n, k)), w(k) = 6 / (pi^2 (k+1)^2), for all k at once.

    Parameters
    ----------
    errors : int
        Errors on the n - k examples that were not kept, ties included.
    kept : int
        k in 0..n-1. Rebuilding must ignore the order of the k examples, else `ordered`.
    n : int
        All examples, >= 1, i.i.d.
    delta : float
        In (0, 1).
    message : float
        ln 1/P(message) in nats, >= 0, for a prior on messages that may depend on the k examples; 0 if there is none.
        Weights computed from all examples belong here.
    ordered : bool
        Whether rebuilding may use the order of the k examples: n! / (n-k)! for C(n, k).

    Returns
    -------
    float
        In (0, 1], rounded up.

    Raises
    ------
    InvalidParameter
        If an argument is out of its range.

    Notes
    -----
    Littlestone and Warmuth (1986), Floyd and Warmuth (1995), in Langford's binomial-tail form, as we understand the
    papers; proved in ``floyd1995_sample_compression``.

    Examples
    --------
    >>> f"{sample_compression(1_000, 300, 60_000, 0.05):.4f}"
    '0.0712'
    """
    n = positive_int("n", n)
    k = _count("kept", kept, n - 1)
    errors = _count("errors", errors, n - k)
    choices = log_choices(n, k, ordered=ordered)
    paid = nats("message", message) + choices + size_nats(k) - math.log(probability("delta", delta))
    return tail_inverse(errors, n - k, -paid * (1.0 + 1e-14))


@implements("floyd1995_sample_compression")
def log_choices(n: int, k: int, *, ordered: bool = False) -> float:
    """Return ln C(n, k), or ln n!/(n-k)! where `ordered`; rounded up.

    Examples
    --------
    >>> f"{log_choices(60_000, 300):.1f}"
    '1885.0'
    """
    n = positive_int("n", n)
    k = _count("k", k, n)
    if min(k, n - k) <= 64 and not ordered:
        return math.log(math.comb(n, k)) * (1.0 + 1e-15)
    parts = [math.lgamma(n + 1), math.lgamma(n - k + 1)] + ([] if ordered else [math.lgamma(k + 1)])
    return max(0.0, parts[0] - sum(parts[1:]) + 1e-14 * sum(parts))


@implements("floyd1995_sample_compression")
def size_nats(k: int) -> float:
    """Return ln(pi^2 (k+1)^2 / 6), the price of the size k >= 0; rounded up."""
    return (math.log(math.pi**2 / 6.0) + 2.0 * math.log1p(_count("k", k))) * (1.0 + 1e-14)


@implements("floyd1995_sample_compression")
@dataclass(frozen=True, kw_only=True, eq=False)
class SampleCompression(GeneralizationBound):
    """Risk of a net that was rebuilt from k of the n examples, tested on the other n - k.

        R <= Bin+( errors on the others, n - k, delta w(k) P(message)/C(n, k) ),    w(k) = 6/(pi^2 (k+1)^2).

    A net that was trained on a coreset of the examples, and on nothing else that depends on them, is such a net: the
    layer sizes, the epochs and the seed are fixed before the data, or in the message.

    Parameters
    ----------
    delta : float
        In (0, 1).
    kept : sequence of int
        Indices of the k examples in the x and y that the bound is evaluated on, none twice, fewer than n.
    message_nats : float
        ln 1/P of whatever else the net depends on, in nats, at least 0: weights of the examples that were computed
        from all of them, statistics of all inputs, a hyperparameter picked by looking.
    ordered : bool
        Whether the net depends on the order of the k examples, and not on the set alone: n!/(n-k)! for C(n, k).
    name : str
        What a table calls it.

    Raises
    ------
    InvalidParameter
        If a parameter is out of its range or an index names no example.

    Notes
    -----
    Littlestone and Warmuth (1986), Floyd and Warmuth (1995), in the tail form of Langford, as we understand the
    papers; ``floyd1995_sample_compression``. That the net is rebuilt so cannot be seen in it: it is assumed.
    """

    kept: Sequence[int] | np.ndarray = field(repr=False)
    name: str = "sample compression"
    message_nats: float = 0.0
    ordered: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        told("message_nats", self.message_nats)
        found = np.asarray(self.kept)
        if found.ndim != 1 or (found.size and not np.issubdtype(found.dtype, np.integer)):
            raise InvalidParameter(f"kept must be a row of whole numbers, got {found.dtype} of shape {found.shape}.")
        if found.size and found.max() > np.iinfo(np.int64).max:
            raise InvalidParameter(f"kept must hold indices of examples, got {found.max()}.")
        if len(np.unique(found)) != len(found):
            repeats = len(found) - len(np.unique(found))
            raise InvalidParameter(f"kept must name no example twice, got {repeats} repeats.")
        if found.size and found.min() < 0:
            raise InvalidParameter(f"kept must hold indices of at least 0, got {found.min()}.")
        object.__setattr__(self, "kept", found.astype(np.int64))  # a copy: the caller's may change

    def __call__(self, net: Subject, x: Any, y: Any) -> Bound:
        """Count errors on the examples that were not kept, and invert the tail at the price of naming the others."""
        own, (x, y) = classifier(net), evidence(net, x, y)
        n, kept = len(x), np.asarray(self.kept)
        k = len(kept)
        if k >= n or (k and kept.max() >= n):
            raise InvalidParameter(
                f"kept must name fewer than all of the examples 0..{n - 1}, got {k} indices up to {kept.max()}."
            )
        others = np.ones(n, dtype=bool)
        others[kept] = False
        errors = count_errors(own, x[others], y[others])
        confidence = math.log(self.delta) * (1.0 + 1e-14)
        named = confidence - (log_choices(n, k, ordered=self.ordered) + size_nats(k)) * (1.0 + 1e-14)
        value = sample_compression(errors, k, n, self.delta, message=self.message_nats, ordered=self.ordered)
        tails = [tail_inverse(errors, n - k, paid) for paid in (confidence, named)]
        return Bound(
            name=self.name,
            terms=telescope(
                ("risk on the others", "confidence", "which examples", "message"), (errors / (n - k), *tails, value)
            ),
            delta=self.delta,
            theorem="floyd1995_sample_compression",
            chance=chance(y),
            premises=(
                IID,
                Premise(
                    text=f"the net is rebuilt from the {k} examples that are kept and from a message of "
                    f"{self.message_nats:g} nats, by rules that are fixed before the data",
                    status=Status.ASSUMED,
                    evidence="a property of how the net was made, which the net does not show",
                ),
                Premise(
                    text="the order of the kept examples makes no difference to the net",
                    status=Status.CHECKED if self.ordered else Status.ASSUMED,
                    evidence="not needed: the order is paid for" if self.ordered else "stated by ordered=False",
                ),
                *alone(own, x),
            ),
            facts={
                "kept": k,
                "errors": errors,
                "n": n,
                "choice_nats": log_choices(n, k, ordered=self.ordered) + size_nats(k),
                "message_nats": self.message_nats,
            },
        )


def _count(name: str, value: int, top: int | None = None) -> int:
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or value < 0 or (top is not None and value > top):
        limit = "of at least 0" if top is None else f"in 0..{top}"
        raise InvalidParameter(f"{name} must be a whole number {limit}, got {name}={value!r}.")
    return int(value)
