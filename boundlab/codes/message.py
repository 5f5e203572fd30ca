"""A message as a byte string, described once for both ways: arithmetic coding in whole numbers, the same everywhere.

A description is a function that walks through choices: `numbers` (uniform), `choice` (a law in whole numbers), `subset`
(uniform among the sets of its size), `letters` (Krichevsky and Trofimov's mixture), `whole` (Elias' gamma). Handed a
`Message` that writes, it puts each value down; handed one that reads, it gets each value back: every choice narrows the
same interval alike. A writer ends with the shortest string all of whose continuations lie in the interval, so that no
message is the beginning of another one: over all messages sum 256^-bytes <= 1 (Kraft), and the length of the file is
what a bound pays.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

import numpy as np
from numba import njit

from boundlab._errors import InvalidParameter
from boundlab._theory import implements

MOST = 2**32
"""The largest alphabet or set: an interval of 2^48 is then cut with a relative loss of at most 2^-16."""
LETTERS = 2**20
"""The largest alphabet of a mixture, which keeps a count of each letter."""

_LOW, _RANGE, _AT, _FAULT = 0, 1, 2, 3
"""What the state holds: the interval's low end (reading: the code above it), its size, the next byte, a fault."""
_WIDTH = 64
_SMALL = np.uint64(2**48)
_NO_MESSAGE = "the bytes must be a message of this code, got others."
_BYTE, _LEAD, _ONE, _FULL = np.uint64(8), np.uint64(56), np.uint64(1), np.uint8(255)


@implements("boundlab_message_code")
class Message:
    """A writer of choices; or, given the bytes of a message, a reader of them.

    Each method takes the value to write and returns it; a reader ignores what it is given and returns what it finds.
    A reader stops where no message of the length of its bytes could go on: what it does is bounded by what it is given
    and by the sizes of sets and counts that cost nothing, which a description has to bound.

    Raises
    ------
    InvalidParameter
        By a writer, for a value outside of its range; by a reader, where the bytes are no message.

    Examples
    --------
    >>> writer = Message()
    >>> writer.number(10, 7), writer.whole(300)
    (7, 300)
    >>> reader = Message(writer.finish())
    >>> reader.number(10), reader.whole()
    (7, 300)
    """

    def __init__(self, data: bytes | None = None) -> None:
        """A writer, or a reader of `data`; what follows the message in `data` is not looked at."""
        self.reading = data is not None
        self._echo = None if data is None else Message()  # a reader writes down what it reads
        self.paid: dict[str, float] = {}
        self._state = np.array([0, 2**_WIDTH - 1, 0, 0], np.uint64)
        self._data = np.zeros(256, np.uint8) if data is None else np.array(np.frombuffer(data, np.uint8))
        if data is not None:
            self._state[_LOW] = int.from_bytes(data[:8].ljust(8, b"\0"), "big")
            self._state[_AT] = 8

    def number(self, n: int, value: int = 0) -> int:
        """One of 0..n-1, all alike: log2 n bits."""
        return int(self.numbers(n, 1, np.array([value]))[0])

    def numbers(self, n: int, count: int, values: np.ndarray | None = None) -> np.ndarray:
        """`count` of 0..n-1, all alike, 1 <= n <= 2^32: count log2 n bits; (count,) int64."""
        if self.reading and count * (n.bit_length() - 1) > 8 * (len(self._data) + 8):
            raise InvalidParameter(_NO_MESSAGE)  # before room is made for them
        found = self._values("values", values, count, n)
        self._room(4 * count)
        _numbers(self._state, self._data, found, n, self.reading)
        self._check()
        if self._echo:
            self._echo.numbers(n, count, found)
        return found

    def choice(self, weights: Sequence[int], value: int = 0) -> int:
        """One of 0..len(weights)-1 with probability weight / sum, whole weights >= 0 of sum at most 2^32.

        Raises InvalidParameter for a value of weight 0.
        """
        ends = list(accumulate(weights))
        if not ends or min(weights) < 0 or not 0 < ends[-1] <= MOST:
            raise InvalidParameter(f"weights must be whole numbers >= 0 of sum 1..{MOST}, got {weights!r}.")
        if self.reading:
            value = bisect_right(ends, int(_target(self._state, np.uint64(ends[-1]))))
        elif not 0 <= value < len(ends) or not weights[value]:
            raise InvalidParameter(f"a choice must be one of positive weight, got {value!r}.")
        self._room(4)
        start, size, total = (np.uint64(v) for v in (ends[value] - weights[value], weights[value], ends[-1]))
        _narrow(self._state, self._data, start, size, total, self.reading)
        self._check()
        if self._echo:
            self._echo.choice(weights, value)
        return value

    def subset(self, n: int, k: int, members: np.ndarray | None = None) -> np.ndarray:
        """A set of k of n places, all alike: log2 C(n, k) bits; (n,) bool."""
        if not 0 <= k <= n <= MOST:
            raise InvalidParameter(f"a set of {n} places must have 0..{n} members and up to {MOST} places, got {k}.")
        found = np.zeros(n, np.uint8)  # a byte each: where k is 0 or n, a short message may ask for many
        if not self.reading:
            found = np.array([] if members is None else members, bool).ravel().view(np.uint8)
            if (len(found), int(found.sum())) != (n, k):
                raise InvalidParameter(f"members must be {k} of {n} places, got {int(found.sum())} of {len(found)}.")
        self._room(n // 8 + 4 * min(k, n - k) + 8)
        _subset(self._state, self._data, found, k, self.reading)
        self._check()
        if self._echo:
            self._echo.subset(n, k, found)
        return found.view(bool)

    def letters(self, n: int, count: int, values: np.ndarray | None = None) -> np.ndarray:
        """`count` letters of 0..n-1 by the Dirichlet(1/2) mixture; (count,) int64.

        -log2 [Gamma(n/2) / Gamma(count + n/2) prod_j Gamma(c_j + 1/2) / Gamma(1/2)] bits for letter counts c_j: letter
        j comes next with probability (c_j + 1/2) / (t + n/2) after t letters. At most 2^20 different letters, and
        n + 2 count at most 2^32.
        """
        if n > LETTERS or n + 2 * count > MOST:
            raise InvalidParameter(f"a mixture must have up to {LETTERS} letters, got {n}, and {count} of them.")
        found = self._values("values", values, count, n)
        self._room(5 * count)
        _letters(self._state, self._data, found, n, self.reading)
        self._check()
        if self._echo:
            self._echo.letters(n, count, found)
        return found

    def whole(self, value: int = 1) -> int:
        """A whole number >= 1 by Elias' gamma code: 2 floor(log2 value) + 1 bits."""
        if not self.reading and not 1 <= value < MOST:
            raise InvalidParameter(f"a whole number must be in 1..{MOST - 1}, got {value!r}.")
        size = 0
        while self.number(2, int(value.bit_length() > size + 1)):
            size += 1
            if size == 32:
                raise InvalidParameter("a message must hold numbers below 2^32, got a larger one.")
        return (1 << size) | self.number(1 << size, value - (1 << size) if not self.reading else 0)

    @property
    def bits(self) -> float:
        """-log2 of the size of the interval: what has been written, or read, so far."""
        done = int(self._state[_AT]) - (8 if self.reading else 0)
        return 8.0 * done + _WIDTH - math.log2(int(self._state[_RANGE]))

    def book(self, name: str) -> None:
        """Add the bits since the last booking to ``paid[name]``."""
        self.paid[name] = self.paid.get(name, 0.0) + self.bits - math.fsum(self.paid.values())

    def finish(self) -> bytes:
        """The message: at most 2 bytes longer than -log2 of the probability of what was written.

        Of a reader, the message of what it has read: its data, unless something follows or it was not in this form.
        """
        if self._echo:
            return self._echo.finish()
        low, size, done = int(self._state[_LOW]), int(self._state[_RANGE]), int(self._state[_AT])
        data = self._data[:done].copy()
        for length in range(_WIDTH // 8 + 1):
            unit = 1 << (_WIDTH - 8 * length)
            first = -(-low // unit)
            if (first + 1) * unit <= low + size:
                if first >> (8 * length):
                    _carry(data, done)
                last = first % (1 << (8 * length))
                return data.tobytes() + last.to_bytes(length, "big")
        raise AssertionError("an interval of 2^48 holds a string of 3 bytes.")

    def _values(self, name: str, values: np.ndarray | None, count: int, n: int) -> np.ndarray:
        """A copy of the values to write, checked; or room for those to read."""
        if not 1 <= n <= MOST:
            raise InvalidParameter(f"an alphabet must have 1..{MOST} letters, got {n!r}.")
        if self.reading:
            return np.zeros(count, np.int64)
        found = np.array([] if values is None else values, np.int64).ravel()
        if len(found) != count or (count and not (found.min() >= 0 and found.max() < n)):
            raise InvalidParameter(f"{name} must be {count} numbers in 0..{n - 1}.")
        return found

    def _room(self, more: int) -> None:
        """Make sure that `more` bytes, and 8 at a time that are pending, can be written."""
        need = int(self._state[_AT]) + more + 16
        if not self.reading and need > len(self._data):
            self._data = np.concatenate([self._data, np.zeros(max(need - len(self._data), len(self._data)), np.uint8)])

    def _check(self) -> None:
        if self._state[_FAULT]:
            raise InvalidParameter(_NO_MESSAGE)


@njit(cache=True)
def _target(state, total):
    """Reading: which of `total` equal parts of the interval holds the code."""
    part = state[_LOW] // (state[_RANGE] // total)
    if part >= total:  # the sliver that rounding leaves at the upper end: no writer goes there
        state[_FAULT] = _ONE
        return total - _ONE
    return part


@njit(cache=True)
def _carry(data, end):
    """Add one to the number that the bytes before `end` are."""
    at = end - 1
    while data[at] == _FULL:
        data[at] = 0
        at -= 1
    data[at] += np.uint8(1)


@njit(cache=True)
def _narrow(state, data, start, size, total, reading):
    """Keep the parts start .. start + size - 1 of `total`, and move on by the bytes that are settled."""
    step = state[_RANGE] // total
    if reading:
        state[_LOW] -= step * start
    else:
        low = state[_LOW] + step * start
        if low < state[_LOW]:  # beyond 2^64: carry into what was written
            _carry(data, np.int64(state[_AT]))
        state[_LOW] = low
    state[_RANGE] = step * size
    while state[_RANGE] < _SMALL:
        at = np.int64(state[_AT])
        if reading:
            if at >= len(data) + 7:  # a message is at least one byte longer than what its writer had settled
                state[_FAULT] = _ONE
            state[_LOW] = (state[_LOW] << _BYTE) | (np.uint64(data[at]) if at < len(data) else np.uint64(0))
        else:
            data[at] = np.uint8(state[_LOW] >> _LEAD)
            state[_LOW] = state[_LOW] << _BYTE
        state[_AT] += _ONE
        state[_RANGE] = state[_RANGE] << _BYTE


@njit(cache=True)
def _numbers(state, data, values, n, reading):
    total = np.uint64(n)
    for i in range(len(values)):
        if state[_FAULT]:
            break
        start = _target(state, total) if reading else np.uint64(values[i])
        _narrow(state, data, start, _ONE, total, reading)
        values[i] = np.int64(start)


@njit(cache=True)
def _subset(state, data, members, k, reading):
    """Place by place: the next one is a member with probability (members left) / (places left)."""
    left = k
    for i in range(len(members)):
        if state[_FAULT]:
            break
        places = len(members) - i
        if left == 0 or left == places:
            members[i] = np.uint8(left > 0)
        else:
            total, share = np.uint64(places), np.uint64(left)
            if reading:
                members[i] = np.uint8(_target(state, total) < share)
            if members[i]:
                _narrow(state, data, np.uint64(0), share, total, reading)
            else:
                _narrow(state, data, share, total - share, total, reading)
        left -= np.int64(members[i])


@njit(cache=True)
def _letters(state, data, values, n, reading):
    """Letter j has weight 2 c_j + 1 of 2 t + n; the counts in a binary indexed tree."""
    tree = np.zeros(n + 1, np.int64)
    top = 1
    while 2 * top <= n:
        top *= 2
    for t in range(len(values)):
        if state[_FAULT]:
            break
        total = np.uint64(2 * t + n)
        if reading:
            wanted = np.int64(_target(state, total))
            j, half, below = 0, top, 0  # the largest j whose letters before it weigh at most `wanted`
            while half > 0:
                k = j + half
                if k <= n and below + 2 * tree[k] + half <= wanted:
                    j = k
                    below += 2 * tree[k] + half
                half //= 2
            values[t] = j
        j = values[t]
        start, k = np.int64(j), j
        while k > 0:
            start += 2 * tree[k]
            k -= k & -k
        own, k = np.int64(1), j + 1  # weight of letter j: what lies before j + 1, less what lies before j
        while k > 0:
            own += 2 * tree[k]
            k -= k & -k
        own -= start - j
        _narrow(state, data, np.uint64(start), np.uint64(own), total, reading)
        k = j + 1
        while k <= n:
            tree[k] += 1
            k += k & -k
