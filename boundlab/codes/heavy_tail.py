"""The price of keeping the largest entries and replacing the rest by Gaussian noise of the same mean and spread."""

from __future__ import annotations

import math

import numpy as np

from boundlab._errors import InvalidParameter, positive_int
from boundlab._theory import implements

_UP = 1.0 + 1e-12
FLOATS = {16: np.float16, 32: np.float32}
"""What a value of 16 or 32 bits is."""

_SLACK = 64 * 2.0**-52  # relative error allowed for lgamma: their difference is far below them


@implements("shin2021_heavy_tail")
def heavy_tail_nats(kept: int, entries: int, value_bits: int = 32, moment_bits: int = 16) -> float:
    """Return ln(N + 1) + ln C(N, q) + (value_bits q + 2 moment_bits) ln 2: how many, where, values, mean and spread.

    The noise itself comes from a seed that is fixed before the data and is free. Its mean and its spread are computed
    from the trained weights: they are part of the message, rounded to `moment_bits` each. Noise that is not used
    (moment_bits = 0) costs nothing.

    Parameters
    ----------
    kept, entries : int
        q of N entries are kept, 0 <= q <= N.
    value_bits, moment_bits : int
        Bits per kept value, and for each of the two moments.

    Returns
    -------
    float
        Rounded up.

    Raises
    ------
    InvalidParameter
        If the counts or bits are out of range.

    Examples
    --------
    >>> round(heavy_tail_nats(1, 3, value_bits=1, moment_bits=0), 6) == round(math.log(4 * 3 * 2), 6)
    True
    """
    size = positive_int("entries", entries)
    if not 0 <= kept <= size or min(value_bits, moment_bits) < 0:
        raise InvalidParameter(
            f"kept must lie in [0, {size}] and bits be at least 0, got {kept!r}, {value_bits!r}, {moment_bits!r}."
        )
    whole, parts = math.lgamma(size + 1), math.lgamma(kept + 1) + math.lgamma(size - kept + 1)
    choose = whole - parts + _SLACK * (whole + parts)
    return (math.log(size + 1) + choose + (value_bits * kept + 2 * moment_bits) * math.log(2.0)) * _UP


@implements("shin2021_heavy_tail")
def stored(values: np.ndarray, bits: int) -> np.ndarray:
    """Return the values as floats of 16 or 32 bits hold them, in float64; beyond their range, the largest of these.

    Raises
    ------
    InvalidParameter
        If bits is neither 16 nor 32.

    Examples
    --------
    >>> stored(np.array([0.1, 1e9]), 16).tolist()
    [0.0999755859375, 65504.0]
    """
    if bits not in FLOATS:
        raise InvalidParameter(f"bits must be one of {tuple(FLOATS)}, got {bits!r}.")
    top = float(np.finfo(FLOATS[bits]).max)
    return np.clip(values, -top, top).astype(FLOATS[bits]).astype(np.float64)


@implements("shin2021_heavy_tail")
def kept_and_noise(weight: np.ndarray, threshold: float, noise: np.ndarray, value_bits: int) -> tuple[np.ndarray, int]:
    """Return the matrix that the message names: entries above the threshold, noise elsewhere; and how many are kept.

    Parameters
    ----------
    weight : array (out, in)
    threshold : float, at least 0
        Entries of larger absolute value are kept, as floats of `value_bits`. It is no part of the message.
    noise : array (out, in)
        Of mean 0 and variance 1, from a seed that is fixed before the data. What is not kept becomes
        mean + spread noise, with the mean and the standard deviation of those entries as floats of 16 bits.
    value_bits : int
        16 or 32.

    Examples
    --------
    >>> kept_and_noise(np.array([[3.0, 0.5, -0.5]]), 1.0, np.array([[9.0, 1.0, -1.0]]), 16)
    (array([[ 3. ,  0.5, -0.5]]), 1)
    """
    kept = np.abs(weight) > threshold
    rest = weight[~kept]
    mean, spread = stored(np.array([rest.mean(), rest.std()]) if rest.size else np.zeros(2), 16)
    return np.where(kept, stored(weight, value_bits), mean + spread * noise), int(np.count_nonzero(kept))
