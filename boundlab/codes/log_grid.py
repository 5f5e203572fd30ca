"""A code for sparse nets whose weights are +-2^(k/steps): lengths in bits that satisfy Kraft's inequality."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln

from boundlab._errors import InvalidParameter
from boundlab._theory import implements
from boundlab.network import Layer, Network
from boundlab.records import Record, Row

STEPS = (1, 2, 4, 8, 16)
VARIANTS = tuple(itertools.product(("whole", "alive", "rows", "columns"), ("uniform", "adaptive")))

_UP = 1.0 + 1e-12  # every length is rounded up: sums, logarithms of whole numbers
_GAMMALN_SLACK = 64 * 2.0**-52  # relative error allowed for gammaln; measured below 8 roundoffs


@dataclass(frozen=True, kw_only=True)
class CodeLength(Record):
    """Bits that describe a net whose layer sizes and activations are known; real numbers, -log2 of a prior."""

    header_bits: float  # which variant, how many entries, which levels
    support_bits: float  # where the non-zero entries stand
    value_bits: float  # their signs and levels
    variants: tuple[tuple[str, str], ...]  # for each layer: how the support and how the levels are coded

    @property
    def total_bits(self) -> float:
        """All bits, rounded up."""
        return math.fsum((self.header_bits, self.support_bits, self.value_bits)) * _UP

    def rows(self) -> list[Row]:
        """One line."""
        return [
            {
                "header_bits": self.header_bits,
                "support_bits": self.support_bits,
                "value_bits": self.value_bits,
                "total_bits": self.total_bits,
                "variants": ", ".join("/".join(v) for v in self.variants),
            }
        ]


@implements("boundlab_log_grid_code_kraft", "boundlab_rounding_containment")
@dataclass(frozen=True)
class LogGridCode:
    r"""Every weight and bias is 0 or +-2^(k/steps) with whole k.

    For each layer, with `out` rows and d = in columns of weights, the shortest of eight variants, named by 3 bits:

    * support of the weights, ``whole``: log2(N+1) for their number q of N = out d, log2 C(N, q) for the set;
      ``alive``: first the rows and the columns that hold any, each set as log2(n+1) + log2 C(n, a), then ``whole``
      within them; ``rows`` (``columns``): for each row with q_i weights log2(d+1) + log2 C(d, q_i) (the same down
      the columns). The support of the bias is one more set of `out` places.
    * levels, for the weights and biases together, if any: k_min by Elias-gamma of its zig-zag image,
      M = k_max - k_min + 1 by Elias-gamma; then one bit for each sign, and ``uniform``: q log2 M, or ``adaptive``:
      the Dirichlet(1/2) mixture -log2 [Gamma(M/2) / Gamma(q + M/2) prod_j Gamma(c_j + 1/2) / Gamma(1/2)] for level
      counts c_j.

    Each line is -log2 of a probability, hence sum over nets of 2^-length <= 1 (Kraft). The layer sizes, the
    activations, `steps` and this list of variants are known to the decoder, so they must be fixed before the data.

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
    A level is built from IEEE square roots, products and powers of 2, so encoder and decoder agree to the last bit.
    The adaptive mixture is Krichevsky and Trofimov's, the whole code a sharpened form of what Zhou et al. (2019)
    and Lotfi et al. (2022) pay, as we understand the papers. Kraft's inequality is checked in
    ``boundlab_log_grid_code_kraft``.
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
                Layer(weight=self._nearest(layer.weight), bias=self._nearest(layer.bias), relu=layer.relu)
                for layer in network.layers
            )
        )

    def length(self, network: Network) -> CodeLength:
        """Bits for a net on the grid, never fewer than -log2 of its probability under the code.

        Raises
        ------
        InvalidParameter
            If a weight or bias is not on the grid: call `round` first.
        """
        parts = [self._layer(layer, index) for index, layer in enumerate(network.layers)]
        header, support, value = (math.fsum(p[k] for p, _ in parts) * _UP for k in range(3))
        return CodeLength(
            header_bits=header, support_bits=support, value_bits=value, variants=tuple(name for _, name in parts)
        )

    def _layer(self, layer: Layer, index: int) -> tuple[tuple[float, float, float], tuple[str, str]]:
        """Return (header, support, value) bits of the shortest variant, and its name."""
        entries = np.concatenate([layer.weight.ravel(), layer.bias])
        magnitudes = np.abs(entries[entries != 0])
        levels = self._levels(magnitudes)
        if not np.array_equal(self._magnitudes(levels), magnitudes):
            off = int(np.count_nonzero(self._magnitudes(levels) != magnitudes))
            raise InvalidParameter(
                f"every weight and bias must be 0 or a power of 2^(1/{self.steps}), "
                f"got {off} of {magnitudes.size} others in layer {index}: round the net first."
            )
        q = int(magnitudes.size)
        supports = _support_bits(layer.weight != 0)
        bias_count, bias_where = _set_bits(len(layer.bias), int(np.count_nonzero(layer.bias)))
        header, values = _value_bits(levels) if q else (0.0, {"uniform": 0.0, "adaptive": 0.0})

        def bits(name: tuple[str, str]) -> tuple[float, float, float]:
            count, where = supports[name[0]]
            return math.log2(len(VARIANTS)) + header + count + bias_count, where + bias_where, q + values[name[1]]

        best = min(VARIANTS, key=lambda name: sum(bits(name)))
        return bits(best), best

    def _nearest(self, w: np.ndarray) -> np.ndarray:
        used = np.abs(w) >= 2.0**-1022
        magnitudes = np.zeros(w.shape)
        magnitudes[used] = self._magnitudes(self._levels(np.abs(w[used])))
        return np.copysign(magnitudes, np.where(used, w, 0.0))

    def _levels(self, magnitudes: np.ndarray) -> np.ndarray:
        """Whole k with 2^(k/steps) nearest on the logarithmic scale, within what a normal float holds."""
        k = np.rint(self.steps * np.log2(magnitudes)).astype(np.int64)
        return np.clip(k, -1022 * self.steps, 1024 * self.steps - 1)

    def _magnitudes(self, levels: np.ndarray) -> np.ndarray:
        """2^(k/steps): a fraction of an octave from the table below, times a power of 2 (exact)."""
        octave, fraction = np.divmod(levels, self.steps)
        return np.ldexp(_fractions(self.steps)[fraction], octave)


def _fractions(steps: int) -> np.ndarray:
    """2^(r/steps) for r = 0..steps-1, from square roots and products alone: the same bits on every machine."""
    table, root = np.ones(1), 2.0
    while len(table) < steps:
        root = math.sqrt(root)
        table = np.column_stack([table, table * root]).ravel()
    return table


def _support_bits(used: np.ndarray) -> dict[str, tuple[float, float]]:
    """For each way to code the non-zero pattern (out, d): bits for the counts, bits for the places."""
    out, d = used.shape
    by_row, by_column, q = used.sum(axis=1), used.sum(axis=0), int(np.count_nonzero(used))
    rows, columns = int(np.count_nonzero(by_row)), int(np.count_nonzero(by_column))
    alive = [_set_bits(out, rows), _set_bits(d, columns), _set_bits(rows * columns, q)]
    return {
        "whole": _set_bits(used.size, q),
        "alive": (sum(count for count, _ in alive), sum(where for _, where in alive)),
        "rows": (out * math.log2(d + 1), float(_log2_choose(d, by_row).sum())),
        "columns": (d * math.log2(out + 1), float(_log2_choose(out, by_column).sum())),
    }


def _set_bits(n: int, k: int) -> tuple[float, float]:
    """Bits for the size k of a subset of n places, and for the subset of that size."""
    return math.log2(n + 1), float(_log2_choose(n, k))


def _value_bits(levels: np.ndarray) -> tuple[float, dict[str, float]]:
    """Return header bits (which levels occur) and the bits for the sequence of levels, for each variant."""
    low, high = int(levels.min()), int(levels.max())
    width, q = high - low + 1, levels.size
    counts = np.unique(levels, return_counts=True)[1]
    logs = np.concatenate([[gammaln(q + width / 2), -gammaln(width / 2)], gammaln(0.5) - gammaln(counts + 0.5)])
    sizes = abs(logs[0]) + abs(logs[1]) + np.abs(gammaln(counts + 0.5)).sum() + len(counts) * gammaln(0.5)
    adaptive = max(0.0, float(logs.sum() + _GAMMALN_SLACK * sizes) / math.log(2.0))
    header = _elias_gamma(2 * low if low > 0 else 1 - 2 * low) + _elias_gamma(width)
    return header, {"uniform": q * math.log2(width), "adaptive": adaptive if width > 1 else 0.0}


def _elias_gamma(m: int) -> int:
    """Bits of Elias' gamma code for a whole number m >= 1."""
    return 2 * m.bit_length() - 1


def _log2_choose(n: int, k: np.ndarray | int) -> np.ndarray:
    """log2 C(n, k), rounded up."""
    k = np.asarray(k)
    a, b, c = gammaln(n + 1.0), gammaln(k + 1.0), gammaln(n - k + 1.0)
    bits = (a - b - c + _GAMMALN_SLACK * (a + b + c)) / math.log(2.0)
    return np.where((k == 0) | (k == n), 0.0, bits)
