"""Rows of whole numbers times a scale: what sampling, pyramid rounding and rounding with feedback leave behind.

Row i of the matrix is s_i z_i with s_i = 2^(k_i/8). The counts of m draws from the edges of a neuron, with the signs of
its weights, are such a z, with |z_1| + ... + |z_d| = m: a point of the l1 sphere, Fischer's pyramid.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Self

import numpy as np

from boundlab._errors import InvalidParameter, positive_int
from boundlab._theory import implements
from boundlab.codes.coded_layer import CodedLayer, shortest
from boundlab.codes.log_grid import LogGrid
from boundlab.codes.message import LETTERS, MOST, Message

SCALES = LogGrid(8)
"""Scales and biases are 2^(k/8), up to the sign."""
CONTEXTS = 5
"""The most classes of columns."""
LARGEST = 2**14
"""The longest row, and the largest norm, that is coded as a point of a sphere: so many terms has the law of k."""
_SPHERE, _SUPPORT_FIRST, _LETTERS = 0, 1, 2
_VARIANTS = 2 + CONTEXTS


@implements("boundlab_pyramid_code_kraft", "fischer1986_pyramid_code", "boundlab_support_first_code")
@dataclass(frozen=True, kw_only=True, eq=False)
class PyramidLayer(CodedLayer):
    r"""Weight row i is 2^(levels_i/8) z_i, z whole numbers; the biases are 0 or +-2^(k/8).

    Scales of the rows and biases are coded as in `LogGrid.describe`; rows of zeros have no scale. Then z, by the
    shortest of 7 variants, named by log2 7 bits:

    * ``sphere``, for d and norms up to 2^14: the norms m_i = |z_i|_1, one for all rows where they are equal; then each
      row uniformly among the N(d, m_i) points of its sphere: the number k of its non-zeros with probability
      C(d, k) C(m-1, k-1) 2^k / N(d, m), where they are, how m is composed of k positive parts, the signs;
    * ``support first``: the same with k uniform on 1..min(d, m_i);
    * ``letters`` with 1 to 5 classes of columns: the class of each column by the Dirichlet(1/2) mixture, then for
      each class the magnitudes in it by a mixture of their own; one bit for each sign.

    Parameters
    ----------
    z : (out, d) whole numbers below 2^20
    levels : (out,) whole numbers, of rows that are not 0
    bias : (out,) float64 on the grid 2^(k/8)

    Notes
    -----
    Fischer (1986) for the sphere, Krichevsky and Trofimov (1981) for the mixture, as we understand the papers.
    """

    kind = 1

    z: np.ndarray
    levels: np.ndarray
    bias: np.ndarray
    weight: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        with np.errstate(over="ignore"):  # `describe` refuses what is beyond the floats
            object.__setattr__(self, "weight", self.z * SCALES.magnitudes(self.levels)[:, None])

    @cached_property
    def variant(self) -> int:
        """The variant of the code with the fewest bits: what takes longest, so that it is found once."""
        return _shortest(self.z.astype(np.int64))

    @classmethod
    def describe(cls, message: Message, out: int, d: int, layer: CodedLayer | None) -> Self:
        """Write or read a layer; see `CodedLayer`."""
        if layer is not None and not isinstance(layer, cls):
            raise InvalidParameter(f"a layer to write must be a {cls.__name__}, got {type(layer).__name__}.")
        own = None if layer is None else _checked(layer, out, d)
        variant = message.number(_VARIANTS, 0 if layer is None else layer.variant)
        message.book("header")
        z = _rows(message, variant, own, out, d)
        alive = z.any(axis=1)
        scales = None if layer is None else SCALES.magnitudes(layer.levels[alive])
        count = int(alive.sum())
        levels = np.zeros(out, np.int64)
        levels[alive] = SCALES.levels(SCALES.describe(message, scales, count, adaptive=True, signed=False))
        size = message.number(out + 1, 0 if layer is None else int(np.count_nonzero(layer.bias)))
        biased = message.subset(out, size, None if layer is None else layer.bias != 0)
        bias = np.zeros(out)
        bias[biased] = SCALES.describe(message, None if layer is None else layer.bias[biased], size, adaptive=True)
        found = cls(z=z, levels=levels, bias=bias)
        if not np.isfinite(found.weight).all():
            raise InvalidParameter("a message must name finite weights, got one beyond the floats.")
        return found


@implements("fischer1986_pyramid_code")
def nearest_on_sphere(w: np.ndarray, m: int) -> np.ndarray:
    """Return the whole numbers z with |z|_1 = m nearest to m w / |w|_1 in the Euclidean norm; a row of zeros stays 0.

    Parameters
    ----------
    w : array (..., d), finite
    m : int
        At least 1.

    Notes
    -----
    Rounding down and giving what is missing to the largest remainders; of equal ones the first.

    Examples
    --------
    >>> nearest_on_sphere(np.array([0.5, -0.3, 0.1]), 4).tolist()
    [2, -1, 1]
    """
    m = positive_int("m", m)
    rows = np.atleast_2d(np.asarray(w, np.float64))
    size = np.abs(rows)
    total = size.sum(axis=1, keepdims=True)
    exact = np.divide(size * m, total, out=np.zeros_like(size), where=total > 0)
    z = np.floor(exact)
    missing = np.where(total[:, 0] > 0, m - z.sum(axis=1), 0).astype(np.int64)
    order = np.argsort(z - exact, axis=1, kind="stable")
    rank = np.argsort(order, axis=1, kind="stable")
    z += rank < missing[:, None]
    return (np.where(rows < 0, -z, z)).astype(np.int64).reshape(np.shape(w))


def _checked(layer: PyramidLayer, out: int, d: int) -> np.ndarray:
    z = np.asarray(layer.z)
    fits = z.shape == (out, d) and np.issubdtype(z.dtype, np.integer) and np.all(np.abs(z) < LETTERS)
    if not fits or layer.levels.shape != (out,) or layer.bias.shape != (out,):
        raise InvalidParameter(f"z must be {out} x {d} whole numbers below {LETTERS}, got {z.dtype}, {z.shape}.")
    if not np.all((layer.levels >= -1022 * SCALES.steps) & (layer.levels < 1024 * SCALES.steps)):
        raise InvalidParameter(f"scales must be normal floats, got levels {layer.levels.min()}..{layer.levels.max()}.")
    return z.astype(np.int64)


def _shortest(z: np.ndarray) -> int:
    """The variant with the fewest bits; rows that are too long are coded by letters alone."""
    small = z.shape[1] <= LARGEST and int(np.abs(z).sum(axis=1).max()) <= LARGEST
    return shortest(range(0 if small else _LETTERS, _VARIANTS), lambda m, v: _rows(m, v, z, *z.shape))


def _rows(message: Message, variant: int, z: np.ndarray | None, out: int, d: int) -> np.ndarray:
    """The matrix of whole numbers; a reader is given none."""
    if variant >= _LETTERS:
        return _by_letters(message, variant - _LETTERS + 1, z, out, d)
    if d > LARGEST:
        raise InvalidParameter(f"rows on a sphere must have a length up to {LARGEST}, got {d}.")
    norms = _norms(message, np.zeros(out, np.int64) if z is None else np.abs(z).sum(axis=1))
    found, none = np.zeros((out, d), np.int64), np.zeros(d, np.int64)
    for i in np.flatnonzero(norms):
        found[i] = _row(message, variant, none if z is None else z[i], int(norms[i]))
    return found


def _norms(message: Message, norms: np.ndarray) -> np.ndarray:
    """The l1 norms of the rows: which are 0; whether the others are all equal; one for all, or one for each."""
    out = len(norms)
    size = message.number(out + 1, int(np.count_nonzero(norms)))
    alive = message.subset(out, size, norms > 0)
    found = np.zeros(out, np.int64)
    if size:
        own = norms[alive]
        same = message.number(2, int(own.min() == own.max()))
        if same:
            found[alive] = message.whole(max(1, int(own[0])))
        else:
            found[alive] = [message.whole(max(1, int(m))) for m in own]
    message.book("header")
    if int(found.max()) > LARGEST:
        raise InvalidParameter(f"rows on a sphere must have a norm up to {LARGEST}, got {found.max()}.")
    return found


def _row(message: Message, variant: int, z: np.ndarray, m: int) -> np.ndarray:
    """One row of norm m."""
    d, top = len(z), min(len(z), m)
    wanted = max(1, int(np.count_nonzero(z))) - 1
    k = 1 + (message.choice(_sizes(d, m), wanted) if variant == _SPHERE else message.number(top, wanted))
    used = message.subset(d, k, z != 0)
    message.book("support")
    ends = np.zeros(m - 1, dtype=bool)  # where a part of m ends, but for the last one
    if not message.reading:
        ends[np.cumsum(np.abs(z[used]))[:-1] - 1] = True
    ends = message.subset(m - 1, k - 1, ends)
    parts = np.diff(np.concatenate([[0], np.flatnonzero(ends) + 1, [m]]))
    signs = message.numbers(2, k, (z[used] < 0).astype(np.int64))
    message.book("values")
    found = np.zeros(d, np.int64)
    found[used] = np.where(signs == 1, -parts, parts)
    return found


@lru_cache(maxsize=512)
def _sizes(d: int, m: int) -> tuple[int, ...]:
    """Weights of k = 1..min(d, m) in proportion to C(d, k) C(m-1, k-1) 2^k, none 0, of sum at most 2^32."""
    counts = [2 * d]
    for k in range(1, min(d, m)):
        counts.append(counts[-1] * (2 * (d - k) * (m - k)) // (k * (k + 1)))  # exact
    total, room = sum(counts), MOST - len(counts)
    return tuple(1 + c * room // total for c in counts)


def _by_letters(message: Message, classes: int, z: np.ndarray | None, out: int, d: int) -> np.ndarray:
    """Magnitudes class by class, the classes being those of the columns; then the signs."""
    size = None if z is None else np.abs(z)
    width = message.whole(1 if size is None else int(size.max(initial=0)) + 1)
    message.book("header")
    of = message.letters(classes, d, None if size is None else _classes(size, classes))
    message.book("support")
    found = np.zeros((out, d), np.int64)
    for c in range(classes):
        own = of == c
        letters = message.letters(width, out * int(own.sum()), None if size is None else size[:, own])
        found[:, own] = letters.reshape(out, -1)
    used = found > 0
    signs = message.numbers(2, int(used.sum()), None if z is None else (z[used] < 0).astype(np.int64))
    found[used] *= 1 - 2 * signs
    message.book("values")
    return found


def _classes(size: np.ndarray, classes: int) -> np.ndarray:
    """Columns of zeros in class 0, the others by quantiles of their sums; any classes would do."""
    sums = size.sum(axis=0)
    of = np.zeros(len(sums), np.int64)
    alive = sums > 0
    if classes > 1 and alive.any():
        edges = np.quantile(sums[alive], np.linspace(0.0, 1.0, classes)[1:-1])
        of[alive] = 1 + np.searchsorted(edges, sums[alive], side="right")
    return of
