"""Kraft's inequality for the pyramid code: rows of whole numbers times a scale, as messages of one description.

Proof. A layer is a walk: 1/7 for the variant; then z, the scales of the rows that are not 0, the biases. Scales and
biases are levels as in `boundlab_log_grid_code_kraft`, scales without a sign. For z by spheres: how many rows are not 0
and which, 1/2 for whether their norms are all equal, Elias' gamma of one norm or of each; of a row of norm m the number
k of its non-zeros by a law on 1..min(d, m), then the places 1/C(d, k), the k - 1 ends of the parts of m among m - 1
gaps 1/C(m-1, k-1), the signs 2^-k: a positive row of parts and its ends say the same. With the law C(d, k) C(m-1, k-1)
2^k / N(d, m) each row has probability 1/N(d, m) (`fischer1986_pyramid_code`); with 1/min(d, m) it is the price of
`boundlab_support_first_code`. The coder takes whole weights v_k = 1 + floor(c_k V/N), V = 2^32 - K, for K counts c_k of
sum N: none is 0, their sum is at most V + K = 2^32, and v_k / sum v >= (c_k/N) V/2^32, a loss of at most K/2^32. For z
by letters: Elias' gamma of the largest magnitude and one, a class for each column by Krichevsky and Trofimov's mixture,
the magnitudes of each class by one of its own, the signs of those that are not 0.
Each of these sums to at most 1 given what was said before; the rest is `boundlab_message_code`.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache

import numpy as np
from scipy.special import gammaln

from boundlab.codes.counts import sphere_nats, support_first_nats
from boundlab.codes.message import MOST, Message
from boundlab.codes.pyramid import CONTEXTS, SCALES, PyramidLayer, _row, _sizes
from proofs_checks import Evidence, Mutation, Theorem, not_applicable, require
from proofs_checks.boundlab_log_grid_code_kraft import (
    gamma_probability,
    level_probabilities,
    mixture_probability,
    same,
    subset_probability,
)
from proofs_checks.boundlab_message_code import kraft, prefix_free, refused, within
from proofs_checks.fischer1986_pyramid_code import vectors
from proofs_checks.judging import smallest_sabotage
from proofs_checks.proving import prove, reals

THEOREM = Theorem(
    name="Kraft inequality of the pyramid code",
    source="ours; the parts are Fischer's sphere count (1986), Elias' gamma code (1975) and the Krichevsky-Trofimov "
    "mixture (1981), as we understand the papers",
    given=("layer sizes known to the decoder",),
    claim=r"\sum_h 2^{-B(h)} \le 1 \text{ over all layers of whole numbers with scales}, \quad "
    r"-\log_2 P(h) \le B(h) < -\log_2 P(h) + 10",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="codes/pyramid.py",
        old="variant = message.number(_VARIANTS, 0 if layer is None else layer.variant)",
        new="variant = 0 if layer is None else layer.variant",
    ),
    Mutation(
        file="codes/pyramid.py",
        old="return tuple(1 + c * room // total for c in counts)",
        new="return tuple(1 + (c * room // total) // 2 for c in counts)",
    ),
    Mutation(
        file="codes/pyramid.py",
        old="        counts.append(counts[-1] * (2 * (d - k) * (m - k)) // (k * (k + 1)))  # exact",
        new="        counts.append(counts[-1] * ((d - k) * (m - k)) // (k * (k + 1)))",
    ),
    Mutation(
        file="codes/pyramid.py",
        old="return shortest(range(0 if small else _LETTERS, _VARIANTS)",
        new="return shortest(range(1 if small else _LETTERS, _VARIANTS)",
    ),
    Mutation(
        file="codes/pyramid.py",
        old="same = message.number(2, int(own.min() == own.max()))",
        new="same = message.number(2, 0)",
    ),
    Mutation(
        file="codes/pyramid.py",
        old="ends = message.subset(m - 1, k - 1, ends)",
        new="ends = message.numbers(2, m - 1, ends) > 0",
    ),
    Mutation(
        file="codes/pyramid.py",
        old="width = message.whole(1 if size is None else int(size.max(initial=0)) + 1)",
        new="width = message.whole(1 if size is None else int(size.max(initial=0)) + 9)",
    ),
    Mutation(
        file="codes/pyramid.py",
        old="        if not np.isfinite(found.weight).all():",
        new="        if False:",
    ),
    Mutation(file="codes/pyramid.py", old="adaptive=True, signed=False)", new="adaptive=True, signed=True)"),
)

LEVEL, BIASES = (0, -9), (0.0, -1.0, 2.0)


def symbolic() -> str:
    c, N, K, v = reals("c N K v")
    share = c * (2**32 - K) / N
    prove(v <= share + 1, v - 1 <= share)  # the sum of the v_k: at most sum of share + K = 2^32
    prove(v * N >= c * (2**32 - K), v > share, c >= 1, c <= N, K >= 1, K <= 2**14)
    S, p = reals("S p")  # against the law c/N: v/S, S <= 2^32
    prove(v * N * 2**32 >= c * (2**32 - K) * S, v * N >= c * (2**32 - K), S <= 2**32, S > 0, c >= 1, c <= N, K <= 2**14)
    prove(p * (1 - Fraction(1, 2**18)) <= p * (1 - K / 2**32), p > 0, K <= 2**14)
    for d, m in itertools.product(range(1, 9), repeat=2):  # the recursion of the counts is exact
        for k in range(1, min(d, m)):
            one, two = (math.comb(d, j) * math.comb(m - 1, j - 1) * 2**j for j in (k, k + 1))
            require(two * k * (k + 1) == one * 2 * (d - k) * (m - k), f"counts at d={d}, m={m}, k={k}")
    return "whole weights of sum at most 2^32 lose at most 2^-18; c_(k+1)/c_k = 2(d-k)(m-k)/(k(k+1))"


def counted(d: int, m: int) -> dict[int, int]:
    """How many points of the sphere have k non-zeros: by listing them."""
    return Counter(sum(v != 0 for v in z) for z in vectors(d, m))


@lru_cache
def sizes_law(d: int, m: int) -> dict[int, Fraction]:
    """The law of k in whole numbers, from the counts of the listed points."""
    counts = counted(d, m)
    total, room = sum(counts.values()), 2**32 - len(counts)
    weights = {k: 1 + int(Fraction(counts[k] * room, total)) for k in sorted(counts)}
    return {k: Fraction(w, sum(weights.values())) for k, w in weights.items()}


def by_rows(z: np.ndarray, *, sphere: bool) -> Fraction:
    out, d = z.shape
    norms = [int(m) for m in np.abs(z).sum(axis=1) if m]
    found = subset_probability(out, len(norms))
    if norms:
        told = norms[:1] if len(set(norms)) == 1 else norms
        found *= Fraction(1, 2) * math.prod((gamma_probability(m) for m in told), start=Fraction(1))
    for row in z[z.any(axis=1)]:
        m, k = int(np.abs(row).sum()), int(np.count_nonzero(row))
        found *= sizes_law(d, m)[k] if sphere else Fraction(1, min(d, m))
        found *= Fraction(1, math.comb(d, k) * math.comb(m - 1, k - 1) * 2**k)
    return found


def by_letters(z: np.ndarray, classes: int) -> Fraction:
    """With the best of all classes of the columns."""
    width = int(np.abs(z).max()) + 1
    best = max(
        mixture_probability(list(of), classes)
        * math.prod(
            (mixture_probability(np.abs(z[:, np.array(of) == c]).ravel().tolist(), width) for c in range(classes)),
            start=Fraction(1),
        )
        for of in itertools.product(range(classes), repeat=z.shape[1])
    )
    return best * gamma_probability(width) * Fraction(1, 2 ** int(np.count_nonzero(z)))


@lru_cache
def best_of(rows: tuple[tuple[int, ...], ...]) -> Fraction:
    """The whole numbers by the best of the 7 variants."""
    z = np.array(rows)
    variants = [by_rows(z, sphere=True), by_rows(z, sphere=False)]
    variants += [by_letters(z, classes) for classes in range(1, CONTEXTS + 1)]
    return max(variants) / len(variants)


def probability(layer: PyramidLayer) -> Fraction:
    """Of the best variant."""
    scales = level_probabilities([int(k) for k in layer.levels[layer.z.any(axis=1)]], signed=False)["adaptive"]
    biased = layer.bias[layer.bias != 0]
    levels = level_probabilities([int(8 * math.log2(abs(b))) for b in biased])["adaptive"]
    z = best_of(tuple(map(tuple, layer.z.tolist())))
    return z * scales * subset_probability(len(layer.bias), len(biased)) * levels


def layers(out: int, d: int, reach: int, levels: tuple[int, ...], biases: tuple[float, ...]) -> Iterator[PyramidLayer]:
    """Every layer with whole numbers -reach..reach; rows of zeros have level 0."""
    for entries in itertools.product(range(-reach, reach + 1), repeat=out * d):
        z = np.array(entries).reshape(out, d)
        choices = [levels if row.any() else (0,) for row in z]
        for own in itertools.product(*choices):
            for bias in itertools.product(biases, repeat=out):
                yield PyramidLayer(z=z, levels=np.array(own), bias=np.array(bias))


WORLDS = ((1, 1, 6, LEVEL, BIASES), (1, 2, 2, LEVEL, BIASES), (2, 1, 1, LEVEL, BIASES), (1, 3, 1, (0,), (0.0,)))


def written(layer: PyramidLayer) -> Message:
    writer, (out, d) = Message(), layer.z.shape
    PyramidLayer.describe(writer, out, d, layer)
    return writer


def exact() -> str:
    lines = []
    for world in WORLDS:
        out, d = world[:2]
        messages = []
        for layer in layers(*world):
            writer, best = written(layer), probability(layer)
            data = writer.finish()
            require(writer.bits <= 1e-3 - math.log2(best), f"more bits than {best} asks for")
            require(within(data, best, 100), f"{len(data)} bytes for the probability {float(best)}")
            reader = Message(data)
            found = PyramidLayer.describe(reader, out, d, None)
            require(reader.finish() == data and np.array_equal(found.z, layer.z), f"{layer.z} comes back")
            require(np.array_equal(found.levels, layer.levels) and same(found.bias, layer.bias), "scales and biases")
            require(same(found.weight, layer.weight), "the same weights")
            require(same(found.weight, layer.z * SCALES.magnitudes(layer.levels)[:, None]), "z times its scale")
            messages.append(data)
        require(prefix_free(messages), f"{out} x {d}: a message is the beginning of another one")
        require(kraft(messages) <= 1, f"{out} x {d}: Kraft sum {float(kraft(messages))}")
        lines.append(f"{len(messages)} layers of {out} x {d}: {float(kraft(messages)):.4f}")
    for d, m in itertools.product(range(1, 5), range(1, 6)):
        weights, law = _sizes(d, m), sizes_law(d, m)
        require(sum(weights) <= MOST and [Fraction(w, sum(weights)) for w in weights] == list(law.values()), "weights")
        N = sum(counted(d, m).values())
        for k, c in counted(d, m).items():
            require(law[k] >= Fraction(c, N) * (1 - Fraction(min(d, m), 2**32)), f"the law of k at d={d}, m={m}, k={k}")
    beyond = PyramidLayer(z=np.array([[2]]), levels=np.array([1024 * 8 - 1]), bias=np.zeros(1))
    require(refused(lambda: written(beyond)), "a weight beyond the floats must be refused")
    return "; ".join(lines) + f"; {prices()}"


def prices() -> str:
    """Rows against the closed-form prices, letters against the Dirichlet formula; bits above them."""
    rng, worst = np.random.default_rng(1986), 0.0
    for d, m in ((1, 1), (7, 3), (30, 200), (200, 30), (150, 400)):
        z = np.bincount(rng.integers(0, d, size=m), minlength=d) * rng.choice((-1, 1), size=d)
        for variant, nats in ((0, sphere_nats(z)), (1, support_first_nats(z))):
            writer = Message()
            _row(writer, variant, z, m)
            excess, choices = writer.bits - nats / math.log(2.0), d + 2 * m + 1
            require(excess <= choices * 1.5 * 2.0**-16 + 2.0**-17, f"a row of {d}, norm {m}: {excess} bits more")
            require(excess >= -1e-3, f"a row of {d}, norm {m}, variant {variant}: {-excess} bits less than its price")
            worst = max(worst, excess)
    for n, count in ((2, 50), (9, 300), (40, 20)):
        values = rng.integers(0, n, size=count) * (rng.random(count) < 0.5)
        seen = np.bincount(values, minlength=n)
        parts = (gammaln(n / 2) - gammaln(count + n / 2), (gammaln(seen + 0.5) - gammaln(0.5)).sum())
        writer = Message()
        writer.letters(n, count, values)
        excess = writer.bits + float(sum(parts)) / math.log(2.0)
        require(-1e-9 <= excess <= count * 1.5 * 2.0**-16 + 1e-9, f"{count} letters of {n}: {excess} bits more")
        worst = max(worst, excess)
    return f"rows and letters at most {worst:.1g} bits above their formulas"


monte_carlo = not_applicable("a statement about sets of strings, on which no probability is claimed")


def teeth() -> Evidence:
    messages = [written(layer).finish() for layer in layers(1, 1, 60, (0,), (0.0,))]

    def caught(factor: float) -> bool:
        return sum(2.0 ** (-8 * len(m) / factor) for m in messages) > 1

    slack = smallest_sabotage(caught)
    require(not prefix_free(m[1:] for m in messages), "what comes first not paid was not caught")
    return Evidence(text=f"refuted: bits divided by {slack:g}, the first byte left out", slack=slack)
