"""One coreset, drawn once: paid at ln Q/P of the draw, the entropy of its coins given back.

Row by row m edges are drawn with replacement in proportion to |w_j|; the counts, with the signs of the weights and one
scale, are the row of the net. The law Q of the counts may depend on the data in any way. What is drawn is determined by
Q itself: its coins are a hash of it and of a counter. Whoever does not like a draw may ask for another one, or another
law for its own, and keep the best: every draw pays ln 2^64, for more laws than anybody can hash.
"""

from __future__ import annotations

import hashlib
import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from boundlab._errors import InvalidParameter, positive_int
from boundlab._theory import implements
from boundlab.bounds.generalization_bound import GeneralizationBound, Subject, telescope
from boundlab.bounds.occam import MESSAGE_PREMISES, MeasuredNet, chain_and_evidence
from boundlab.bounds.occam_pyramid import NORMS, behind_front, descend
from boundlab.bounds.pac_bayes import log_xi
from boundlab.bounds.single_draw import single_draw, total_nats
from boundlab.codes.counts import draw_log_probability
from boundlab.codes.pyramid import SCALES, PyramidLayer
from boundlab.nets.feedforward import FeedForward
from boundlab.nets.net_message import decode, encode
from boundlab.nets.on_codebook import scale_levels
from boundlab.network import misclassified
from boundlab.promises import Bound, Premise, Status

LAWS = 2**64
"""N: laws, by their counters too, of which any rule may keep one; fewer can be hashed by anybody."""
DRAWS = 2**26
"""The most edges that a law draws."""
FORMAT = b"boundlab sampled net 2"
"""Part of what the coins are a hash of: another format would be another draw."""
_RESOLUTION = 1 << 14  # the largest frequency of a row
_FEW = 4  # draws with the fewest errors, whose prices are compared too
_UP = 1.0 + 1e-14


@implements("boundlab_hashed_draw")
@dataclass(frozen=True, kw_only=True, eq=False)
class SampledLaw:
    """Q: for each layer how often each edge is drawn, the number of draws of a row, and all that is not drawn.

    `frequencies` is a chain whose layers hold, in the place of counts, whole frequencies with the signs of the weights:
    a row draws edge j with probability |f_j| / sum |f|. `norms` are the draws m of each layer's rows. `counter` tells
    apart the draws that one law may be asked for. Nothing else does: each Q is written in one way only.

    Raises
    ------
    InvalidParameter
        If the frequencies of a row have a common divisor, a layer that draws nothing has m > 1, a row that draws
        nothing has a scale, or all rows together draw more than 2^26 edges.
    """

    frequencies: FeedForward
    norms: tuple[int, ...]
    counter: int = 0

    def __post_init__(self) -> None:
        layers = self.frequencies.layers
        if {type(layer) for layer in layers} != {PyramidLayer} or len(layers) != len(self.norms) or min(self.norms) < 1:
            raise InvalidParameter(
                f"a law must have draws for each of its {len(layers)} layers, got {len(self.norms)} numbers of them."
            )
        draws = 0
        for law, m in zip(self._laws, self.norms, strict=True):
            alive = law.z.any(axis=1)
            if np.any(np.gcd.reduce(law.z[alive], axis=1) > 1) or law.levels[~alive].any() or m > 1 > alive.sum():
                raise InvalidParameter(
                    "a law must be in lowest terms: frequencies of a row without a common divisor, one draw and no "
                    "scale where there are none, got others."
                )
            draws += m * int(alive.sum())
        if draws > DRAWS:
            raise InvalidParameter(f"a law must make up to {DRAWS} draws, got {draws}.")

    @property
    def data(self) -> bytes:
        """The law as bytes, `read_law` reads it: counter, how many norms, the norms, the message of the frequencies."""
        head = np.array([self.counter, len(self.norms), *self.norms], "<u4").tobytes()
        return head + encode(self.frequencies).data

    def drawn(self) -> FeedForward:
        """The one net that this law draws: its coins are SHAKE-256 of `FORMAT` and of all numbers of the law."""
        return self.draw(_coins(FORMAT + self.numbers))

    @property
    def numbers(self) -> bytes:
        """All that the law says, as whole numbers of 64 bits: the same on every machine, however it is compressed."""
        parts = [np.array([self.counter, len(self.norms), *self.norms], "<i8").tobytes()]
        sizes = [{k: np.array(v).tolist() for k, v in vars(op).items() if k != "layer"} for op in self.frequencies.ops]
        kinds = [(op.kind, sorted(own.items())) for op, own in zip(self.frequencies.ops, sizes, strict=True)]
        parts.append(repr(kinds).encode())
        for law in self._laws:
            parts += [np.array(law.z.shape, "<i8").tobytes(), law.z.astype("<i8").tobytes()]
            parts += [law.levels.astype("<i8").tobytes(), law.bias.astype("<f8").tobytes()]
        return b"".join(parts)

    def draw(self, coins: Iterator[np.ndarray]) -> FeedForward:
        """A net by given coins: arrays of uniform 64-bit words."""
        layers = [_draw(layer, m, coins) for layer, m in zip(self._laws, self.norms, strict=True)]
        return self.frequencies.with_layers(layers)

    def log_probability(self, net: FeedForward) -> float:
        """The log-probability ln Q(net), rounded up; -inf for a net that it does not draw."""
        total, size = [], 0.0
        for law, own, m in zip(self._laws, net.layers, self.norms, strict=True):
            if not isinstance(own, PyramidLayer) or not _agree(law, own, m):
                return -math.inf
            for f, z in zip(np.abs(law.z), own.z, strict=True):
                if f.any():
                    total.append(draw_log_probability(np.abs(z), f / f.sum()))
                    size += m  # f / f.sum() is rounded: m logarithms move by 2^-52 each
        return math.fsum(total) + 2.0**-51 * (size + math.fsum(map(abs, total)))

    @property
    def _laws(self) -> list[PyramidLayer]:
        return [layer for layer in self.frequencies.layers if isinstance(layer, PyramidLayer)]


def read_law(data: bytes, features: int) -> SampledLaw:
    """Read the bytes of a law on points of `features` numbers.

    Raises
    ------
    InvalidParameter
        If they are none, or not in the one form that `SampledLaw` asks for.
    """
    counter, count = (int.from_bytes(data[k : k + 4], "little") for k in (0, 4))
    if count > 10_000 or len(data) < 8 + 4 * count:
        raise InvalidParameter(f"a law must hold the draws of each layer and a message, got {len(data)} bytes.")
    norms = tuple(int(m) for m in np.frombuffer(data[8 : 8 + 4 * count], "<u4"))
    return SampledLaw(frequencies=decode(data[8 + 4 * count :], features).net, norms=norms, counter=counter)


@dataclass(frozen=True, kw_only=True)
class SampledDraw(MeasuredNet):
    """The net that a law drew, at the price of that draw."""

    law: SampledLaw

    @property
    def log_ratio(self) -> float:
        """The price ln Q/P of the net, P = 256^-bytes of its message; rounded up."""
        return total_nats(self.message.nats, self.law.log_probability(self.message.net))

    def value(self, delta: float) -> float:
        """kl^-1(k/n, (ln Q/P + ln(N xi(n)/delta))/n) with N = 2^64, rounded up."""
        return single_draw(self.errors / self.n, self.log_ratio, self.n, delta, draws=LAWS)


@implements("rivasplata2020_single_draw", "boundlab_bits_back", "boundlab_hashed_draw", "boundlab_certain_margins")
@dataclass(frozen=True, kw_only=True)
class SampledNet(GeneralizationBound):
    """Risk of one coreset of the net, drawn by a hash of its own law.

    With probability at least 1 - delta over the n examples and the draws, for all of N = 2^64 draws

        R(h) <= kl^-1( r(h), (ln Q(h)/P(h) + ln(N xi(n)/delta)) / n ),      P(h) = 256^-bytes of the message of h

    Numbers of draws are searched for on the first examples, then the best of `tries` draws of one law is kept. Scales,
    biases, signs, numbers of draws and sizes are functions of the data and cost what the message takes; the counts cost
    ln Q/P, message less surprise. The net certified is the one drawn: `drawn` returns it.

    Parameters
    ----------
    delta : float
        In (0, 1).
    points, trials : int
        How many examples the search looks at, how many numbers of draws it tries.
    tries : int
        How many draws of the law that is found are looked at; all of them are paid.
    name : str
        What a table calls it.

    Raises
    ------
    InvalidParameter
        If delta, points, trials or tries are out of range.

    Notes
    -----
    Rivasplata et al. (2020), as we understand the paper; ``rivasplata2020_single_draw``, ``boundlab_bits_back``.
    """

    name: str = "single draw, sampled coreset"
    points: int = 5_000
    trials: int = 40
    tries: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        positive_int("points", self.points)
        positive_int("trials", self.trials)
        positive_int("tries", self.tries)

    def drawn(self, net: Subject | FeedForward, x: Any, y: Any) -> SampledDraw:
        """Find the law, draw the net, count its errors."""
        chain, x, y = chain_and_evidence(net, x, y)
        inner, first = behind_front(chain, x[: self.points])
        labels = y[: self.points]

        def at(place: tuple[int, ...]) -> SampledLaw:
            return law_of(chain, [NORMS[k] for k in place])

        def drawn(law: SampledLaw) -> FeedForward:
            return inner.with_layers(law.drawn().layers)

        def value(law: SampledLaw) -> float:
            return SampledDraw.estimate(drawn(law), first, labels, len(x), law=law).value(self.delta)

        places, rows = len(chain.layers), sum(len(layer.weight) for layer in chain.layers)
        top = max(1, sum(m * rows <= DRAWS for m in NORMS))  # norms that all rows can have
        best = at(descend(lambda place: value(at(place)), (min(14, top - 1),) * places, (top,) * places, self.trials))
        laws = (replace(best, counter=k) for k in range(self.tries))
        few = heapq.nsmallest(_FEW, laws, key=lambda law: misclassified(drawn(law)(first), labels))
        law = min(few, key=value)  # the prices of draws of one law differ less than their errors do
        return SampledDraw.of(law.drawn(), x, y, law=law)

    def __call__(self, net: Subject | FeedForward, x: Any, y: Any) -> Bound:
        """Find the law, draw, and evaluate the bound; rounded up."""
        return self.bound_of(self.drawn(net, x, y))

    def bound_of(self, drawn: SampledDraw) -> Bound:
        """The bound of a net that was drawn before."""
        n, ratio = drawn.n, drawn.log_ratio
        empty = single_draw(drawn.errors / n, 0.0, n, self.delta, draws=LAWS)
        return Bound(
            name=self.name,
            terms=telescope(
                ("empirical risk", "confidence", "draw"), (drawn.errors / n, empty, drawn.value(self.delta))
            ),
            delta=self.delta,
            theorem="rivasplata2020_single_draw",
            chance=drawn.chance,
            premises=(
                *MESSAGE_PREMISES,
                Premise(
                    text="fewer than 2^64 laws were asked for their draw, by anybody, before this one was kept",
                    status=Status.ASSUMED,
                    evidence="the coins are a hash of the law and its counter, taken to be as good as any; 2^64 draws "
                    "are paid, more than can be made",
                ),
            ),
            facts={
                "nats": ratio,
                "message_nats": drawn.message.nats,
                "log_probability": drawn.law.log_probability(drawn.message.net),
                "log_xi": log_xi(n),
                "occam_of_the_outcome": (drawn.message.nats - math.log(self.delta)) * _UP,
                "log_laws": math.log(LAWS),
                "errors": drawn.errors,
                "n": n,
            },
        )


def law_of(net: FeedForward, norms: list[int]) -> SampledLaw:
    """Frequencies in proportion to |w_j|, in lowest terms; scales |w|_1 / m and biases on their grids.

    The largest frequency of a row is 2^14, or what a common divisor leaves of it; m is 1 where no row draws anything.
    """
    layers = []
    for own, m in zip(net.layers, norms, strict=True):
        size = np.abs(own.weight)
        top = size.max(axis=1, keepdims=True)
        f = np.rint(_RESOLUTION * np.divide(size, top, out=np.zeros_like(size), where=top > 0)).astype(np.int64)
        f //= np.maximum(np.gcd.reduce(f, axis=1, keepdims=True), 1)
        z = np.where(own.weight < 0, -f, f)
        layers.append(PyramidLayer(z=z, levels=scale_levels(own.weight, m), bias=SCALES.nearest(own.bias)))
    drawn = tuple(m if layer.z.any() else 1 for layer, m in zip(layers, norms, strict=True))
    return SampledLaw(frequencies=net.with_layers(layers), norms=drawn)


def _draw(law: PyramidLayer, m: int, coins: Iterator[np.ndarray]) -> PyramidLayer:
    z = np.zeros_like(law.z)
    for i, f in enumerate(law.z):
        ends = np.cumsum(np.abs(f))
        if ends[-1]:
            edges = np.searchsorted(ends, _below(int(ends[-1]), m, coins), side="right")
            z[i] = np.sign(f) * np.bincount(edges, minlength=len(f))
    return PyramidLayer(z=z, levels=law.levels, bias=law.bias)


def _below(n: int, count: int, coins: Iterator[np.ndarray]) -> np.ndarray:
    """`count` whole numbers, uniform below n: words beyond the last multiple of n are thrown away."""
    last = np.uint64((2**64 // n) * n - 1)
    found, left = [np.zeros(0, np.uint64)], count
    while left > 0:
        words = next(coins)
        found.append(words[words <= last][:left])
        left -= len(found[-1])
    return (np.concatenate(found) % np.uint64(n)).astype(np.int64)


def _coins(seed: bytes) -> Iterator[np.ndarray]:
    """Blocks of 64-bit words: SHAKE-256 of the seed's digest and the number of the block."""
    key = hashlib.sha256(seed).digest()
    for block in range(2**63):
        yield np.frombuffer(hashlib.shake_256(key + block.to_bytes(8, "big")).digest(4096), "<u8")
    raise AssertionError("2^63 blocks are never used up.")


def _agree(law: PyramidLayer, own: PyramidLayer, m: int) -> bool:
    """Whether the law draws such a layer: its signs, m draws in each row that has any, its scales and biases."""
    drawn = np.abs(own.z).sum(axis=1)
    return bool(
        own.z.shape == law.z.shape
        and np.all((own.z == 0) | (np.sign(own.z) == np.sign(law.z)))
        and np.array_equal(drawn, np.where(law.z.any(axis=1), m, 0))
        and np.array_equal(own.levels[drawn > 0], law.levels[drawn > 0])
        and np.array_equal(own.bias, law.bias)
    )
