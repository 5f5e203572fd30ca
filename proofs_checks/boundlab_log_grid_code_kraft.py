"""Kraft's inequality for the log-grid code: no set of layers shares more than one unit of probability.

Proof. A layer is a walk through choices, each with a law that depends on what was said before: 1/5 for the grid, 1/8
for the variant; 1/(n+1) for the size k of a subset of n places and 1/C(n, k) for the subset; 2^-(2 floor(log2 m) + 1)
for a whole number m >= 1, which sums to 1 (Elias' gamma code), after the zig-zag map for a signed one; 1/2 for each
sign; for the levels 1/M each, or Krichevsky and Trofimov's mixture, the product of the next-symbol probabilities
(c_j + 1/2)/(t + M/2), whose sum over j is 1. The support inside the alive rows and columns, given their two sets, is a
subset of rows x columns places. So the messages are those of one description: prefix-free, of total 256^-bytes at most
1, and longer than -log2 P of the variant taken by at most 9 bits and the loss (`boundlab_message_code`). A layer has
eight messages, of which the shortest is written; a choice of one for each layer keeps the sum at most 1.
For a layer drawn from any source P, P(8 bytes <= -log2 P(layer) - b) <= 2^-b: sum P 1{P <= 2^-b 256^-bytes} <= 2^-b.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab.codes.log_grid import STEPS, VARIANTS, LogGrid, LogGridLayer
from boundlab.codes.message import Message
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.boundlab_message_code import kraft, prefix_free, refused, within
from proofs_checks.judging import judge, smallest_sabotage, violated

THEOREM = Theorem(
    name="Kraft inequality of the log-grid code",
    source="ours; the parts are Elias' gamma code (1975) and the Krichevsky-Trofimov mixture (1981)",
    given=("layer sizes known to the decoder",),
    claim=r"\sum_h 2^{-B(h)} \le 1 \text{ over all layers on the grids}, \quad "
    r"-\log_2 P(h) \le B(h) < -\log_2 P(h) + 10",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="codes/log_grid.py",
        old="variant = message.number(len(VARIANTS), 0 if layer is None else _shortest(layer))",
        new="variant = 0 if layer is None else _shortest(layer)",
    ),
    Mutation(file="codes/log_grid.py", old="return 2 * support + levels", new="return 2 * support"),
    Mutation(
        file="codes/log_grid.py",
        old="image = message.whole(2 * low if low > 0 else 1 - 2 * low)",
        new="image = message.whole(2 * low if low > 0 else 1 + 2 * low)",
    ),
    Mutation(
        file="codes/log_grid.py",
        old="signs = message.numbers(1 + signed,",
        new="signs = message.numbers(9 + signed,",
    ),
    Mutation(
        file="codes/log_grid.py",
        old="if low < -1022 * self.steps or low + width > 1024 * self.steps:",
        new="if False:",
    ),
    Mutation(
        file="codes/log_grid.py",
        old="return np.where(w < 0, -magnitudes, magnitudes) + 0.0",
        new="return np.where(w < 0, -magnitudes, magnitudes)",
    ),
    Mutation(
        file="codes/log_grid.py",
        old="        root = math.sqrt(root)",
        new="        root = root**0.5 * (1 + 2.0**-52)",
    ),
)

Entry = tuple[int, int] | None  # sign and level; None for 0

SHAPES = ((1, 1, (1, 2), 3), (1, 2, (2,), 1), (2, 1, (1, 16), 0))  # out, d, grids, levels -reach..reach


def symbolic() -> str:
    j, c, t, M = sp.symbols("j c t M", positive=True)
    require(sp.summation(2**j * sp.Rational(1, 2) ** (2 * j + 1), (j, 0, sp.oo)) == 1, "Elias gamma")
    counts = sp.symbols("c1:5", nonnegative=True)
    step = sp.Add(*[(ck + sp.Rational(1, 2)) / (sp.Add(*counts) + sp.Integer(len(counts)) / 2) for ck in counts])
    require(sp.simplify(step) == 1, "the mixture's next-symbol probabilities")
    ratio = sp.gamma(c + sp.Rational(3, 2)) / sp.gamma(c + sp.Rational(1, 2))
    total = sp.gamma(t + M / 2) / sp.gamma(t + 1 + M / 2)
    require(sp.simplify(sp.expand_func(ratio) - c - sp.Rational(1, 2)) == 0, "the mixture telescopes in the counts")
    require(sp.simplify(sp.gammasimp(total) * (t + M / 2)) == 1, "the mixture telescopes in the length")
    zigzag = sorted(2 * k if k > 0 else 1 - 2 * k for k in range(-50, 51))
    require(zigzag == list(range(1, 102)), "the zig-zag map is one to one onto the whole numbers from 1")
    return "sum of 2^-gamma(m) is 1; the Dirichlet(1/2) mixture is a product of next-symbol probabilities of sum 1"


def gamma_probability(m: int) -> Fraction:
    return Fraction(1, 2 ** (2 * (m.bit_length() - 1) + 1))


def signed_probability(k: int) -> Fraction:
    return gamma_probability(2 * k if k > 0 else 1 - 2 * k)


def subset_probability(n: int, k: int) -> Fraction:
    return Fraction(1, (n + 1) * math.comb(n, k))


def mixture_probability(letters: list[int], width: int) -> Fraction:
    """Krichevsky and Trofimov's, one letter after the other."""
    found, seen = Fraction(1), Counter[int]()
    for t, k in enumerate(letters):
        found *= (seen[k] + Fraction(1, 2)) / (t + Fraction(width, 2))
        seen[k] += 1
    return found


def level_probabilities(levels: list[int], *, signed: bool = True) -> dict[str, Fraction]:
    """Range, signs and levels of entries that are not 0, uniform or by the mixture."""
    if not levels:
        return {"uniform": Fraction(1), "adaptive": Fraction(1)}
    low, width = min(levels), max(levels) - min(levels) + 1
    common = signed_probability(low) * gamma_probability(width) * Fraction(1, 2 ** (signed * len(levels)))
    adaptive = mixture_probability([k - low for k in levels], width)
    return {"uniform": common / width ** len(levels), "adaptive": common * adaptive}


def probabilities(entries: tuple[Entry, ...], out: int, d: int) -> dict[tuple[str, str], Fraction]:
    """Of one layer under each variant: the weights row by row, then the biases."""
    used = np.array([e is not None for e in entries[: out * d]]).reshape(out, d)
    biased = sum(e is not None for e in entries[out * d :])
    rows, columns = int(used.any(axis=1).sum()), int(used.any(axis=0).sum())
    q = int(used.sum())
    supports = {
        "whole": subset_probability(out * d, q),
        "alive": subset_probability(out, rows) * subset_probability(d, columns) * subset_probability(rows * columns, q),
        "rows": math.prod((subset_probability(d, int(k)) for k in used.sum(axis=1)), start=Fraction(1)),
        "columns": math.prod((subset_probability(out, int(k)) for k in used.sum(axis=0)), start=Fraction(1)),
    }
    values = level_probabilities([e[1] for e in entries if e is not None])
    own = subset_probability(out, biased) / len(VARIANTS) / len(STEPS)
    return {(s, v): own * supports[s] * values[v] for s, v in VARIANTS}


def layers(out: int, d: int, grids: tuple[int, ...], reach: int) -> Iterator[tuple[tuple[Entry, ...], LogGridLayer]]:
    """Every layer of a shape with levels -reach..reach on each of the grids."""
    alphabet: list[Entry] = [None, *itertools.product((1, -1), range(-reach, reach + 1))]
    for steps in grids:
        value = {e: 0.0 if e is None else e[0] * float(LogGrid(steps).magnitudes(np.array(e[1]))) for e in alphabet}
        for entries in itertools.product(alphabet, repeat=out * (d + 1)):
            w = np.array([value[e] for e in entries])
            yield entries, LogGridLayer(steps=steps, weight=w[: out * d].reshape(out, d), bias=w[out * d :])


def message(layer: LogGridLayer) -> bytes:
    return written(layer).finish()


def written(layer: LogGridLayer) -> Message:
    writer, (out, d) = Message(), layer.weight.shape
    LogGridLayer.describe(writer, out, d, layer)
    return writer


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """Equal bit for bit, which tells 0 from -0 too."""
    return a.dtype == b.dtype == np.float64 and a.shape == b.shape and a.tobytes() == b.tobytes()


def skewed() -> int:
    """Layers on which each of the variants is best: the interval is that of the best one."""
    rng, won = np.random.default_rng(2), Counter[tuple[str, str]]()
    for k in range(80):
        used = rng.random((6, 9)) < rng.choice((0.1, 0.5, 1.0))
        if k % 4 == 1:
            used &= (rng.random(6) < 0.3)[:, None] & (rng.random(9) < 0.3)
        if k % 4 > 1:
            used = rng.random((6, 9)) < rng.choice((0.02, 0.98), size=(6, 1) if k % 4 == 2 else (1, 9))
        levels = rng.choice((0, 1, 7), p=(0.9, 0.08, 0.02) if k % 8 < 4 else (0.3, 0.4, 0.3), size=(6, 9))
        entries = tuple((1, int(v)) if u else None for v, u in zip(levels.ravel(), used.ravel(), strict=True))
        law = probabilities((*entries, *[None] * 6), 6, 9)
        best = max(law.values())
        won[max(law, key=lambda v: law[v])] += 1
        layer = LogGridLayer(steps=1, weight=np.where(used, 2.0**levels, 0.0), bias=np.zeros(6))
        off = written(layer).bits + math.log2(best)
        require(-1e-9 <= off <= 400 * 2.0**-15, f"{off} bits more than the best variant")
    require(len(won) == len(VARIANTS), f"of the variants only {sorted(won)} are ever best")
    return sum(won.values())


def exact() -> str:
    lines = []
    for out, d, grids, reach in SHAPES:
        messages = []
        for entries, layer in layers(out, d, grids, reach):
            data, best = message(layer), max(probabilities(entries, out, d).values())
            require(within(data, best, 100), f"{len(data)} bytes for the probability {float(best)}")
            reader = Message(data)
            found = LogGridLayer.describe(reader, out, d, None)
            require(found.steps == layer.steps and reader.finish() == data, "the grid and the bytes come back")
            require(same(found.weight, layer.weight) and same(found.bias, layer.bias), f"{entries} comes back")
            messages.append(data)
        require(prefix_free(messages), f"{out} x {d}: a message is the beginning of another one")
        require(kraft(messages) <= 1, f"{out} x {d}: Kraft sum {float(kraft(messages))}")
        lines.append(f"{len(messages)} layers of {out} x {d}: {float(kraft(messages)):.4f}")
    for steps in STEPS:  # a level is 2^(k/s) to within 3 roundings; powers of 2 are exact; the ends of the range
        k = np.arange(-3 * steps, 3 * steps + 1)
        for level, size in zip(k.tolist(), LogGrid(steps).magnitudes(k).tolist(), strict=True):
            ratio = Fraction(size) ** steps / Fraction(2) ** level
            require(abs(ratio - 1) <= Fraction(3 * steps, 2**53), f"2^({level}/{steps}) is {size!r}")
        ends = LogGrid(steps).nearest(np.array([-0.0, -(2.0**-1030), 2.0**-1022, -np.finfo(float).max]))
        require(same(ends[:3], np.array([0.0, 0.0, 2.0**-1022])) and ends[3] <= -(2.0**1023), "the ends of the range")
        writer = Message()
        writer.number(len(STEPS), STEPS.index(steps))
        for n, value in ((len(VARIANTS), 0), (2, 1), (2, 0)):  # one weight, no bias, at a level beyond the floats
            writer.number(n, value)
        writer.whole(2 * 1024 * steps)
        writer.whole(1)
        writer.number(2)
        foreign = writer.finish()
        require(refused(lambda d=foreign: LogGridLayer.describe(Message(d), 1, 1, None)), "a level beyond the floats")
    return "; ".join(lines) + f"; the best variant on {skewed()} layers"


def saved(share: float):
    """A trial: a layer from a known source is coded 3 bits shorter than the source's own -log2 probability."""

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        found = np.zeros(n, dtype=bool)
        for k in range(n):
            w = np.array([0.0, 1.0, -1.0, 2.0])[rng.integers(0, 4, size=72)]  # two bits each
            layer = LogGridLayer(steps=2, weight=w[:64].reshape(8, 8), bias=w[64:])
            found[k] = share * 8 * len(message(layer)) <= 2.0 * 72 - 3.0
        return found

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    return judge(saved(1.0), delta=0.125, trials=300 * effort, name="3 bits below the source")


def teeth() -> Evidence:
    worlds = [[message(layer) for _, layer in layers(*shape)] for shape in ((1, 1, (1,), 4), (2, 1, (1,), 0))]

    def caught(factor: float) -> bool:
        return any(sum(2.0 ** (-8 * len(m) / factor) for m in world) > 1 for world in worlds)

    slack = smallest_sabotage(caught)
    require(not prefix_free(m[1:] for m in worlds[0]), "grid, variant and supports not paid were not caught")
    require(violated(saved(0.5), delta=0.125, trials=200, name="half the bits"), "half the bits were not caught")
    return Evidence(text=f"refuted: bits divided by {slack:g}, the first byte left out, half the bits", slack=slack)
