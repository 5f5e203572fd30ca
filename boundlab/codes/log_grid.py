"""A code for sparse nets whose weights are +-2^(k/steps): a message, both ways, that names each of them exactly."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Self

import numpy as np

from boundlab._errors import InvalidParameter
from boundlab._theory import implements
from boundlab.codes.coded_layer import CodedLayer, shortest
from boundlab.codes.message import Message
from boundlab.network import Layer, Network

STEPS = (1, 2, 4, 8, 16)
SUPPORTS = ("whole", "alive", "rows", "columns")
VARIANTS = tuple(itertools.product(SUPPORTS, ("uniform", "adaptive")))


@implements("boundlab_rounding_containment")
@dataclass(frozen=True)
class LogGrid:
    r"""The codebook: 0 and +-2^(k/steps) with whole k.

    Parameters
    ----------
    steps : int
        Grid points for each factor of 2: 1, 2, 4, 8 or 16.

    Raises
    ------
    InvalidParameter
        If `steps` is not in the list.

    Notes
    -----
    A level is built from IEEE square roots, products and powers of 2, so that writer and reader agree to the last bit.
    """

    steps: int

    def __post_init__(self) -> None:
        if self.steps not in STEPS or isinstance(self.steps, bool):
            raise InvalidParameter(f"steps must be one of {STEPS}, got steps={self.steps!r}.")

    def round(self, network: Network) -> Network:
        """The net on the grid: each weight and bias moves to the nearest level on the logarithmic scale.

        A relative error of at most 2^(1/(2 steps)) - 1 for sizes in [2^-1022, 2^1023]; 0 stays 0, what lies below the
        smallest normal float (2^-1022) becomes 0, and signs are kept. A net on the grid is returned unchanged in value.
        """
        return Network(
            layers=tuple(
                Layer(weight=self.nearest(layer.weight), bias=self.nearest(layer.bias), relu=layer.relu)
                for layer in network.layers
            )
        )

    def nearest(self, w: np.ndarray) -> np.ndarray:
        """Each entry's nearest level on the logarithmic scale, with its sign; the same shape."""
        used = np.abs(w) >= 2.0**-1022
        magnitudes = np.zeros(w.shape)
        magnitudes[used] = self.magnitudes(self.levels(np.abs(w[used])))
        return np.where(w < 0, -magnitudes, magnitudes) + 0.0  # no negative zero, which the support cannot tell

    def levels(self, magnitudes: np.ndarray) -> np.ndarray:
        """Whole k with 2^(k/steps) nearest on the logarithmic scale, within what a normal float holds."""
        k = np.rint(self.steps * np.log2(magnitudes)).astype(np.int64)
        return np.clip(k, -1022 * self.steps, 1024 * self.steps - 1)

    def magnitudes(self, levels: np.ndarray) -> np.ndarray:
        """2^(k/steps): a fraction of an octave from the table below, times a power of 2 (exact)."""
        octave, fraction = np.divmod(levels, self.steps)
        return np.ldexp(_fractions(self.steps)[fraction], octave)

    def describe(
        self, message: Message, values: np.ndarray | None, count: int, *, adaptive: bool, signed: bool = True
    ) -> np.ndarray:
        """Write or read `count` entries that are not 0: their range, their signs, their levels; (count,) float64.

        k_min by Elias' gamma of its zig-zag image, M = k_max - k_min + 1 by Elias' gamma; one bit for each sign, where
        entries are `signed`; the levels uniform, count log2 M bits, or by the Dirichlet(1/2) mixture.

        Raises
        ------
        InvalidParameter
            If an entry is not on the grid, or the message names a level that no normal float has.
        """
        own = None if values is None else self._levels_of(values)
        if not count:
            return np.zeros(0)
        low, high = (0, 0) if own is None else (int(own.min()), int(own.max()))
        image = message.whole(2 * low if low > 0 else 1 - 2 * low)
        low, width = image // 2 if image % 2 == 0 else -(image // 2), message.whole(high - low + 1)
        if low < -1022 * self.steps or low + width > 1024 * self.steps:
            raise InvalidParameter(f"a message must name levels of normal floats, got 2^({low} / {self.steps}).")
        message.book("header")
        signs = message.numbers(1 + signed, count, None if values is None else values < 0)
        write = message.letters if adaptive else message.numbers
        found = low + write(width, count, None if own is None else own - low)
        message.book("values")
        return np.where(signs == 1, -1.0, 1.0) * self.magnitudes(found)

    def _levels_of(self, values: np.ndarray) -> np.ndarray:
        levels = self.levels(np.where(np.isfinite(values), np.abs(values), 1.0))
        off = int(np.count_nonzero(self.magnitudes(levels) != np.abs(values)))
        if off:
            raise InvalidParameter(
                f"every weight and bias must be 0 or a power of 2^(1/{self.steps}), "
                f"got {off} of {len(values)} others: round the net first."
            )
        return levels


@implements("boundlab_log_grid_code_kraft", "boundlab_rounding_containment")
@dataclass(frozen=True, kw_only=True, eq=False)
class LogGridLayer(CodedLayer):
    r"""Every weight and bias is 0 or +-2^(k/steps) with whole k.

    After `steps`, uniform among the five, the shortest of eight variants, named by 3 bits:

    * support of the weights, ``whole``: log2(N+1) bits for their number q of N = out d, log2 C(N, q) for the set;
      ``alive``: first the rows and the columns that hold any, each set as log2(n+1) + log2 C(n, a), then ``whole``
      within them; ``rows`` (``columns``): for each row with q_i weights log2(d+1) + log2 C(d, q_i) (the same down
      the columns). The support of the bias is one more set of `out` places.
    * signs and levels of the weights and biases together, ``uniform`` or ``adaptive``, as in `LogGrid.describe`.

    Notes
    -----
    The adaptive mixture is Krichevsky and Trofimov's, the whole code a sharpened form of what Zhou et al. (2019)
    and Lotfi et al. (2022) pay, as we understand the papers.
    """

    kind = 0

    steps: int
    weight: np.ndarray
    bias: np.ndarray

    @classmethod
    def describe(cls, message: Message, out: int, d: int, layer: CodedLayer | None) -> Self:
        """Write or read a layer; see `CodedLayer`."""
        if layer is not None and not isinstance(layer, cls):
            raise InvalidParameter(f"a layer to write must be a {cls.__name__}, got {type(layer).__name__}.")
        steps = STEPS[message.number(len(STEPS), 0 if layer is None else STEPS.index(LogGrid(layer.steps).steps))]
        weight, bias = (None, None) if layer is None else (layer.weight, layer.bias)
        variant = message.number(len(VARIANTS), 0 if layer is None else _shortest(layer))
        support, levels = VARIANTS[variant]
        message.book("header")
        used = _support(message, support, None if weight is None else np.not_equal(weight, 0), out, d)
        biased = _subset(message, None if bias is None else np.not_equal(bias, 0), out)
        own = None if weight is None or bias is None else np.concatenate([weight[used], bias[biased]])
        q = int(np.count_nonzero(used))
        count = q + int(np.count_nonzero(biased))
        found = LogGrid(steps).describe(message, own, count, adaptive=levels == "adaptive")
        w, b = np.zeros((out, d)), np.zeros(out)
        w[used], b[biased] = found[:q], found[q:]
        return cls(steps=steps, weight=w, bias=b)


def _shortest(layer: LogGridLayer) -> int:
    """The variant with the fewest bits: support and levels do not mix, so each is chosen by itself."""
    out, d = layer.weight.shape
    used = layer.weight != 0
    support = shortest(range(len(SUPPORTS)), lambda m, v: _support(m, SUPPORTS[v], used, out, d))
    entries, grid = np.concatenate([layer.weight[used], layer.bias[layer.bias != 0]]), LogGrid(layer.steps)
    levels = shortest(range(2), lambda m, v: grid.describe(m, entries, len(entries), adaptive=v == 1))
    return 2 * support + levels


def _support(message: Message, variant: str, used: np.ndarray | None, out: int, d: int) -> np.ndarray:
    """The non-zero pattern (out, d)."""
    if variant == "whole":
        return _subset(message, None if used is None else used.ravel(), out * d).reshape(out, d)
    if variant == "columns":
        return _support(message, "rows", None if used is None else used.T, d, out).T
    found = np.zeros((out, d), dtype=bool)
    if variant == "rows":
        for i in range(out):
            found[i] = _subset(message, None if used is None else used[i], d)
        return found
    rows = _subset(message, None if used is None else np.asarray(used.any(axis=1)), out)
    columns = _subset(message, None if used is None else np.asarray(used.any(axis=0)), d)
    living = np.ix_(rows, columns)
    inside = _subset(message, None if used is None else used[living].ravel(), int(rows.sum()) * int(columns.sum()))
    found[living] = inside.reshape(int(rows.sum()), int(columns.sum()))
    return found


def _subset(message: Message, members: np.ndarray | None, n: int) -> np.ndarray:
    """A set of n places: first its size, uniform on 0..n, then the set, uniform given its size; (n,) bool."""
    size = message.number(n + 1, 0 if members is None else int(np.count_nonzero(members)))
    message.book("header")
    found = message.subset(n, size, members)
    message.book("support")
    return found


def _fractions(steps: int) -> np.ndarray:
    """2^(r/steps) for r = 0..steps-1, from square roots and products alone: the same bits on every machine."""
    table, root = np.ones(1), 2.0
    while len(table) < steps:
        root = math.sqrt(root)
        table = np.column_stack([table, table * root]).ravel()
    return table
