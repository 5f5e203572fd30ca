"""The price of keeping the largest entries and replacing the rest by Gaussian noise of the same mean and spread."""

from __future__ import annotations

import math

from boundlab._errors import InvalidParameter, positive_int
from boundlab._theory import implements

_UP = 1.0 + 1e-12
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
