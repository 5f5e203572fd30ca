"""The coins of a block of trials, a function of the claim, the seed and the block's index only."""

from __future__ import annotations

import hashlib
import json

import numpy as np

from boundlab._errors import InvalidParameter


def stream(claim_id: str, seed: int, block: int) -> np.random.Generator:
    """Return the generator of one block: Philox4x64 with key = hash(claim id, seed) and counter = block 2^128.

    Each block has 2^128 counter steps of its own, so that streams of one key never overlap; keys of different claims
    or seeds are 128-bit hashes (blake2b).

    Parameters
    ----------
    claim_id : str
        The claim's `id`.
    seed : int
        The root seed, at least 0, of any length.
    block : int
        The block's index, in [0, 2^128).

    Returns
    -------
    numpy.random.Generator

    Raises
    ------
    InvalidParameter
        If seed or block is not a whole number in its range.

    Notes
    -----
    Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011), as implemented by numpy.

    Examples
    --------
    >>> stream("a", 0, 3).integers(1000) == stream("a", 0, 3).integers(1000)
    np.True_
    """
    for name, value, top in (("seed", seed, None), ("block", block, 1 << 128)):
        whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
        if not whole or value < 0 or (top is not None and value >= top):
            limit = "at least 0" if top is None else "in [0, 2**128)"
            raise InvalidParameter(f"{name} must be a whole number {limit}, got {name}={value!r}.")
    return np.random.Generator(np.random.Philox(key=_key(claim_id, seed), counter=int(block) << 128))


class Streams:
    """The streams of one claim and seed through one generator that is set anew: 1 us each instead of 10 us.

    `streams(k)` leaves the same draws to come as `stream(claim_id, seed, k)`; it takes the generator away from the
    stream before it.

    Examples
    --------
    >>> Streams("a", 0)(3).integers(1000) == stream("a", 0, 3).integers(1000)
    np.True_
    """

    def __init__(self, claim_id: str, seed: int) -> None:
        """Stand at the start of stream 0."""
        self._generator = stream(claim_id, seed, 0)
        self._start = dict(self._generator.bit_generator.state)  # nothing drawn: no buffered words
        self._counter = self._start["state"]["counter"] = np.zeros(4, np.uint64)

    def __call__(self, block: int) -> np.random.Generator:
        """The generator at the start of stream number `block`, in [0, 2^64)."""
        self._counter[2] = block
        self._generator.bit_generator.state = self._start
        return self._generator

    def untouched(self) -> bool:
        """Whether nothing was drawn since the stream was set."""
        now = self._generator.bit_generator.state
        same = np.array_equal(now["state"]["counter"], self._counter)
        return bool(same and now["buffer_pos"] == self._start["buffer_pos"] and now["has_uint32"] == 0)


def _key(claim_id: str, seed: int) -> int:
    text = json.dumps([claim_id, int(seed)], separators=(",", ":"))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "little")
