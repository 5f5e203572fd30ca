"""Heavy-tailed compression, priced: the largest weights are sent, the others are noise from a seed known beforehand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from boundlab._errors import InvalidParameter, positive_int
from boundlab._theory import implements
from boundlab.bounds.compressed_class import ROUNDING, SHAPE, listed
from boundlab.bounds.generalization_bound import (
    IID,
    GeneralizationBound,
    Subject,
    chance,
    count_errors,
    evidence,
    fully_connected,
    telescope,
)
from boundlab.codes.heavy_tail import FLOATS, heavy_tail_nats, kept_and_noise, stored
from boundlab.concentration.binomial import tail_inverse
from boundlab.nets.feedforward import feed_forward
from boundlab.network import Layer, Network
from boundlab.promises import Bound, Premise, Status

_UP = 1.0 + 1e-14
_FIRST = 10_000  # examples by which the multiple is chosen: whichever it is has been paid for


@dataclass(frozen=True, kw_only=True, eq=False)
class HeavyTailedNet:
    """A net of kept weights and noise, and its price under a prior that is fixed before the data."""

    net: Network
    kept: int  # of all weights
    weight_nats: float  # bits of a value, number, places and values of kept weights, mean and spread of the noise
    bias_nats: float  # all biases; both rounded up


@implements("shin2021_heavy_tail")
def heavy_tailed(net: Network, multiple: float, *, value_bits: int = 16, seed: int = 0) -> HeavyTailedNet:
    """Build the net whose weights above `multiple` times the root mean square of their matrix are kept, the rest noise.

    Parameters
    ----------
    net : Network
    multiple : float
        At least 0. It only picks what is kept, and is no part of the price.
    value_bits : int
        16 or 32: of each kept weight and of each bias; all biases are kept.
    seed : int
        Of the noise, drawn layer by layer with numpy's default generator.

    Returns
    -------
    HeavyTailedNet

    Raises
    ------
    InvalidParameter
        If the multiple is negative or the bits are others.

    Notes
    -----
    Source: Shin (2021), as we understand the paper, which computes no bound; ``shin2021_heavy_tail``.
    """
    if not multiple >= 0.0:
        raise InvalidParameter(f"multiple must be at least 0, got {multiple!r}.")
    rng, layers, kept, nats, biases = np.random.default_rng(seed), [], 0, math.log(2.0), 0  # ln 2: 16 bits or 32
    for layer in net.layers:
        top = float(np.abs(layer.weight).max()) or 1.0  # divided out: squares may overflow
        threshold = multiple * top * float(np.sqrt(np.mean((layer.weight / top) ** 2)))
        noise = rng.standard_normal(layer.weight.shape)
        with np.errstate(over="ignore"):  # a spread beyond the floats is cut, as values are
            weight, own = kept_and_noise(layer.weight, threshold, noise, value_bits)
        kept += own
        nats += heavy_tail_nats(own, layer.weight.size, value_bits)
        biases += layer.bias.size
        layers.append(Layer(weight=weight, bias=stored(layer.bias, value_bits), relu=layer.relu))
    return HeavyTailedNet(
        net=Network(layers=tuple(layers)),
        kept=kept,
        weight_nats=nats * _UP,
        bias_nats=biases * value_bits * math.log(2.0) * _UP,
    )


@implements("shin2021_heavy_tail", "langford2005_occam_binomial")
@dataclass(frozen=True, kw_only=True)
class HeavyTailed(GeneralizationBound):
    """Risk of a net whose large weights are those of the given net and whose others are Gaussian noise.

        R(h) <= Bin+( errors of h, n, delta P(h)/N ),
        ln 1/P(h) = ln 2 + sum over layers of ln(D + 1) + ln C(D, q) + (bits q + 32) ln 2 + bits (biases) ln 2

    for q of D entries kept. The net certified is h, the one built: with the kept values rounded, mean and spread of
    the noise rounded to 16 bits, and its own errors counted, in exact arithmetic: one that rounding leaves open counts.
    The threshold that picked the kept entries is no part of the message: the reader does not need it, and so it may be
    chosen by looking, free of charge. Whether values have 16 bits or 32 is the first ln 2.

    Parameters
    ----------
    delta : float
        In (0, 1).
    multiples : sequence of float
        Thresholds to try, at least 0, in units of the root mean square of each matrix.
    value_bits : int
        16 or 32.
    seed : int
        Of the noise, at least 0, fixed before the data.
    seeds : int
        N >= 1: seeds among which this one was chosen by looking.
    name : str
        What a table calls it.

    Raises
    ------
    InvalidParameter
        If a parameter is out of its range, or outputs could overflow.
    UnsupportedLayer
        On evaluation, for a net that is not fully connected.

    Notes
    -----
    Source: Shin (2021), as we understand the paper, in the framework of Arora et al. (2018); the paper's count leaves
    mean and spread of the noise unpaid, which is wrong (``shin2021_heavy_tail``).
    """

    name: str = "heavy-tailed, kept weights and seeded noise"
    multiples: Sequence[float] = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0, 8.0)
    value_bits: int = 16
    seed: int = 0
    seeds: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "multiples", listed("multiples", self.multiples))
        if not all(m >= 0.0 for m in self.multiples):
            raise InvalidParameter(f"multiples must hold no number below 0, got {self.multiples!r}.")
        if self.value_bits not in tuple(FLOATS):
            raise InvalidParameter(f"value_bits must be one of {tuple(FLOATS)}, got {self.value_bits!r}.")
        positive_int("seeds", self.seeds)
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or self.seed < 0:
            raise InvalidParameter(f"seed must be a whole number of at least 0, got seed={self.seed!r}.")

    def __call__(self, net: Subject, x: Any, y: Any) -> Bound:
        """Build the net for every multiple and report the smallest bound; rounded up."""
        own = fully_connected(net)
        x, y = evidence(own, x, y)
        own.require_finite(x)
        n, first, candidates = len(x), min(len(x), _FIRST), []
        confidence = (math.log(self.seeds) - math.log(self.delta)) * _UP
        for multiple in self.multiples:
            built = heavy_tailed(own, multiple, value_bits=self.value_bits, seed=self.seed)
            nats = built.weight_nats + built.bias_nats
            errors = round(count_errors(built.net, x[:first], y[:first]) * n / first)
            candidates.append((tail_inverse(errors, n, -(confidence + nats) * _UP), nats, multiple, built))
        _, nats, multiple, built = min(candidates, key=lambda c: c[:3])
        errors = feed_forward(built.net).count_errors(x, y)
        value = tail_inverse(errors, n, -(confidence + nats) * _UP)
        levels = [tail_inverse(errors, n, -paid * _UP) for paid in (confidence, confidence + built.weight_nats)]
        entries = sum(layer.weight.size for layer in own.layers)
        return Bound(
            name=self.name,
            terms=telescope(("empirical risk", "confidence", "weights", "biases"), (errors / n, *levels, value)),
            delta=self.delta,
            theorem="shin2021_heavy_tail",
            chance=chance(y),
            premises=(IID, SHAPE, ROUNDING, self._seeded(), _PAID),
            facts={
                "multiple": multiple,
                "kept": built.kept,
                "kept_share": built.kept / entries,
                "nats": nats,
                "errors": errors,
                "errors_of_the_net_given": feed_forward(own).count_errors(x, y),
                "n": n,
            },
        )

    def _seeded(self) -> Premise:
        chosen = f"one of {self.seeds} seeds, whose choice is paid for" if self.seeds > 1 else f"the seed {self.seed}"
        return Premise(
            text=f"the noise comes from {chosen}, fixed before the data",
            status=Status.ASSUMED,
            evidence="the seed is a helper string; that it was fixed beforehand cannot be seen in it",
        )


_PAID = Premise(
    text="whatever of the net depends on the data is in the message",
    status=Status.CHECKED,
    evidence="by construction: bits of a value, places and values of the kept weights, all biases, mean and spread of "
    "the noise",
)
