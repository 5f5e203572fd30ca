"""What every bound on a risk shares: its fields, its validated evidence, terms that add up to no less than it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from boundlab._errors import InvalidParameter, labels, matrix, probability
from boundlab.network import Network
from boundlab.records import Bound, Compression


@dataclass(frozen=True, kw_only=True)
class GeneralizationBound(ABC):
    """A theorem that turns a compressed net and labelled points into an upper bound on a risk.

    Parameters
    ----------
    delta : float
        Probability, in (0, 1), over the points that the bound fails.
    name : str
        What a table calls it.

    Raises
    ------
    InvalidParameter
        If delta is not in (0, 1).
    """

    delta: float = 0.05
    name: str = ""

    def __post_init__(self) -> None:
        probability("delta", self.delta)

    @abstractmethod
    def __call__(self, compression: Compression, x: Any, y: Any) -> Bound:
        """Evaluate the bound on points x, shape (n, features), and labels y, shape (n,)."""


def evidence(compression: Compression, x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Validate what every bound is given: a Compression, finite points, labels of its classes."""
    if not isinstance(compression, Compression):
        raise InvalidParameter(f"a bound needs a Compression, got {type(compression).__name__}.")
    sizes = compression.net.sizes
    x = matrix("x", x, columns=sizes[0])
    return x, labels("y", y, points=len(x), classes=sizes[-1], present=1)


def chance(compression: Compression) -> float:
    """Risk of a uniform random guess among the net's classes."""
    return 1.0 - 1.0 / compression.net.sizes[-1]


def count_errors(net: Network, x: np.ndarray, y: np.ndarray) -> int:
    """Wrongly classified points, ties included, of a net whose outputs cannot overflow."""
    net.require_finite(x)
    return net.errors(x, y)


def telescope(names: Sequence[str], levels: Sequence[float]) -> tuple[tuple[str, float], ...]:
    """Terms whose sum, as floats, is the largest of the levels or one step above it.

    Term i is what level i adds to the largest level before it; the levels are the bound with one cause more each.
    """
    terms: list[tuple[str, float]] = []
    reached = 0.0
    for name, level in zip(names, levels, strict=True):
        terms.append((name, max(0.0, level - reached)))
        reached = max(reached, level)
    while math.fsum(value for _, value in terms) < reached:  # the subtractions were rounded
        # One step of the largest term is felt by the sum; one step of a term that is 0 would not be, for ever.
        i = max(range(len(terms)), key=lambda i: terms[i][1])
        terms[i] = (terms[i][0], math.nextafter(terms[i][1], math.inf))
    return tuple(terms)
