"""The four exceptions of boundlab, and the argument checks at its border.

Every message states the rule first and then the fact: ``eps must be in (0, 1), got eps=1.5.``
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Any, TypeVar

import numpy as np

Choice = TypeVar("Choice", bound=StrEnum)


class BoundlabError(Exception):
    """Root of the exceptions below; catch it to catch them all."""


class InvalidParameter(BoundlabError, ValueError):
    """An argument, a file or a data set breaks a stated rule."""


class PremiseViolated(BoundlabError):
    """A theorem was asked for where one of its premises is known to fail."""


class UnsupportedLayer(BoundlabError):
    """A network holds an operation that the method does not cover."""


class GuaranteeViolated(BoundlabError):
    """A verdict that was required to be upheld is not."""


def probability(name: str, value: float) -> float:
    """Return `value` as a float in the open interval (0, 1), or raise InvalidParameter."""
    number = _number(name, value)
    if not 0.0 < number < 1.0:
        raise InvalidParameter(f"{name} must be in (0, 1), got {name}={value!r}.")
    if number < 1e-300:
        raise InvalidParameter(f"{name} must be at least 1e-300, got {name}={value!r}.")
    return number


def share(name: str, value: float) -> float:
    """Return `value` as a float in (0, 1], or raise InvalidParameter."""
    number = _number(name, value)
    if not 0.0 < number <= 1.0:
        raise InvalidParameter(f"{name} must be in (0, 1], got {name}={value!r}.")
    return number


def positive(name: str, value: float) -> float:
    """Return `value` as a finite float above 0, or raise InvalidParameter."""
    number = _number(name, value)
    if not (number > 0.0 and math.isfinite(number)):
        raise InvalidParameter(f"{name} must be finite and positive, got {name}={value!r}.")
    return number


def choice(name: str, value: Any, kind: type[Choice]) -> Choice:
    """Return `value` as a member of the StrEnum `kind`, or raise InvalidParameter."""
    try:
        return kind(value)
    except ValueError:
        raise InvalidParameter(f"{name} must be one of {', '.join(kind)}, got {value!r}.") from None


def positive_int(name: str, value: int) -> int:
    """Return `value` as an int of at least 1, or raise InvalidParameter."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise InvalidParameter(f"{name} must be a whole number of at least 1, got {name}={value!r}.")
    return int(value)


def matrix(name: str, value: Any, *, columns: int | None = None) -> np.ndarray:
    """Return `value` as a finite float64 array of shape (points, columns) with at least one row."""
    if np.ma.is_masked(value):
        raise InvalidParameter(f"{name} must have no masked entries, whose values are unknown, got some.")
    try:
        if np.asarray(value).dtype.kind not in "buifO":
            raise TypeError
        array = np.ascontiguousarray(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InvalidParameter(f"{name} must be an array of numbers, got {type(value).__name__}.") from None
    if array.ndim != 2 or array.shape[0] == 0:
        raise InvalidParameter(f"{name} must have shape (points, features) with at least one point, got {array.shape}.")
    if columns is not None and array.shape[1] != columns:
        raise InvalidParameter(f"{name} must have {columns} features, as the net does, got {array.shape[1]}.")
    if not np.isfinite(array).all():
        bad = int(np.size(array) - np.isfinite(array).sum())
        raise InvalidParameter(f"{name} must be finite, got {bad} NaN or infinite of {array.size} entries.")
    return array


def labels(name: str, value: Any, *, points: int, classes: int, present: int = 2) -> np.ndarray:
    """Return `value` as int64 labels in 0..classes-1, one per point, with at least `present` (1 or 2) classes."""
    if np.ma.is_masked(value):
        raise InvalidParameter(f"{name} must have no masked entries, whose values are unknown, got some.")
    try:
        array = np.asarray(value)
    except ValueError:
        raise InvalidParameter(f"{name} must be an array of whole numbers, got a ragged one.") from None
    if array.shape != (points,):
        raise InvalidParameter(f"{name} must have shape ({points},), one label per point, got {array.shape}.")
    if array.dtype.kind not in "buif" or not np.array_equal(array, np.floor(array)):
        raise InvalidParameter(f"{name} must be whole numbers 0..{classes - 1}, got dtype {array.dtype}.")
    array = array.astype(np.int64)
    low, high = int(array.min()), int(array.max())
    if low < 0 or high >= classes:
        raise InvalidParameter(f"{name} must be in 0..{classes - 1}, the net's outputs, got {low}..{high}.")
    if low == high and present > 1:
        raise InvalidParameter(f"{name} must hold at least two classes, got only class {low}.")
    return array


def one_line(error: BaseException) -> str:
    """Return the class and the text of an exception as one line of at most 200 characters, without a last stop."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return (text if len(text) <= 200 else text[:197] + "...").rstrip(".: ")


def _number(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise InvalidParameter(f"{name} must be a number, got {value!r}.")
    return float(value)
