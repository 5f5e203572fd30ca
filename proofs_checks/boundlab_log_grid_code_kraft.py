"""Kraft's inequality for the log-grid code: no set of nets shares more than one unit of probability.

Proof. Each line of the length is -log2 of a conditional probability, given what the lines before it say: 1/(n+1) for
the size k of a subset of n places and 1/C(n, k) for the subset; 2^-(2 floor(log2 m) + 1) for a whole number m >= 1,
which sums to 1 (Elias' gamma code), after the zig-zag map for a signed one; 1/2 for each sign; for the levels 1/M each,
or Krichevsky and Trofimov's mixture, the product of the next-symbol probabilities (c_j + 1/2)/(t + M/2), whose sum over
j is 1. The support inside the alive rows and columns, given their two sets, is a subset of rows x columns places. So
the product over lines and layers is a probability (sub-)distribution for each of the eight variants. The shortest of
eight lengths plus 3 bits has 2^-length = max/8 of the eight probabilities, at most their mean, which sums to at most 1.
For a net drawn from any source P, P(length <= -log2 P(net) - b) <= 2^-b: sum P 1{P <= 2^-b 2^-length} <= 2^-b.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator
from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab.codes.log_grid import VARIANTS, CodeLength, LogGridCode
from boundlab.network import Layer, Network
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage, violated

THEOREM = Theorem(
    name="Kraft inequality of the log-grid code",
    source="ours; the parts are Elias' gamma code (1975) and the Krichevsky-Trofimov mixture (1981)",
    given=("layer sizes, activations and steps known to the decoder",),
    claim=r"\sum_h 2^{-B(h)} \le 1 \text{ over all nets on the grid}",
    status="holds",
)


MUTATIONS = (
    Mutation(
        file="codes/log_grid.py",
        old="return math.log2(len(VARIANTS)) + header + count + bias_count,",
        new="return header + count + bias_count,",
    ),
    Mutation(
        file="codes/log_grid.py",
        old="where + bias_where, q + values[name[1]]",
        new="where + bias_where, values[name[1]]",
    ),
    Mutation(
        file="codes/log_grid.py",
        old="where + bias_where, q + values[name[1]]",
        new="where, q + values[name[1]]",
    ),
    Mutation(
        file="codes/log_grid.py",
        old="header = _elias_gamma(2 * low if low > 0 else 1 - 2 * low) + _elias_gamma(width)",
        new="header = _elias_gamma(2 * low if low > 0 else 1 - 2 * low)",
    ),
)


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
    return "sum of 2^-gamma(m) is 1; the Dirichlet(1/2) mixture is a product of next-symbol probabilities of sum 1"


def gamma_probability(m: int) -> Fraction:
    return Fraction(1, 2 ** (2 * (m.bit_length() - 1) + 1))


def probability(levels: np.ndarray, out: int, d: int) -> tuple[Fraction, Fraction]:
    """Probabilities of one layer, all variants together and the best alone: `levels` holds None for 0, else sign, k."""
    entries = levels[: out * d].reshape(out, d)
    used = np.array([[e is not None for e in row] for row in entries])
    bias = [e is not None for e in levels[out * d :]]

    def subset(n: int, k: int) -> Fraction:
        return Fraction(1, (n + 1) * math.comb(n, k))

    rows, columns = int(used.any(axis=1).sum()), int(used.any(axis=0).sum())
    supports = {
        "whole": subset(out * d, int(used.sum())),
        "alive": subset(out, rows) * subset(d, columns) * subset(rows * columns, int(used.sum())),
        "rows": math.prod((subset(d, int(k)) for k in used.sum(axis=1)), start=Fraction(1)),
        "columns": math.prod((subset(out, int(k)) for k in used.sum(axis=0)), start=Fraction(1)),
    }
    exponents = [e[1] for e in levels if e is not None]
    values = {"uniform": Fraction(1), "adaptive": Fraction(1)}
    if exponents:
        low, width = min(exponents), max(exponents) - min(exponents) + 1
        common = gamma_probability(2 * low if low > 0 else 1 - 2 * low) * gamma_probability(width)
        common *= Fraction(1, 2 ** len(exponents))
        adaptive, seen = Fraction(1), Counter[int]()
        for t, k in enumerate(exponents):
            adaptive *= (seen[k] + Fraction(1, 2)) / (t + Fraction(width, 2))
            seen[k] += 1
        values = {"uniform": common * Fraction(1, width ** len(exponents)), "adaptive": common * adaptive}
    each = [supports[s] * values[v] for s, v in VARIANTS]
    own = subset(out, sum(bias)) / len(VARIANTS)
    return own * sum(each, Fraction(0)), own * max(each)


def nets(out: int, d: int, steps: int, reach: int) -> Iterator[tuple[np.ndarray, CodeLength]]:
    """Every one-layer net with exponents -reach..reach, and its length under the shipped code."""
    code = LogGridCode(steps)
    alphabet = [None, *itertools.product((1, -1), range(-reach, reach + 1))]
    value = {e: 0.0 if e is None else e[0] * 2.0 ** (e[1] / steps) for e in alphabet}
    for choice in itertools.product(alphabet, repeat=out * (d + 1)):
        levels = np.empty(len(choice), dtype=object)
        levels[:] = choice
        w = np.array([value[e] for e in choice])
        layer = Layer(weight=w[: out * d].reshape(out, d), bias=w[out * d :], relu=False)
        yield levels, code.length(code.round(Network(layers=(layer,))))


SHAPES = ((1, 1, 1, 3), (1, 2, 2, 1), (2, 1, 1, 0))  # out, in, steps, reach


def exact() -> str:
    lines = []
    for out, d, steps, reach in SHAPES:
        shipped, prior, count = Fraction(0), Fraction(0), 0
        for levels, length in nets(out, d, steps, reach):
            mass, (p, best) = Fraction(2.0**-length.total_bits), probability(levels, out, d)
            require(mass <= best, f"{length.total_bits} bits claim more than the probability {float(best)}")
            shipped, prior, count = shipped + mass, prior + p, count + 1
        require(shipped <= prior <= 1, f"Kraft sum {float(shipped)}, prior {float(prior)}")
        lines.append(f"{count} nets of {out}x{d}: {float(shipped):.3f} <= {float(prior):.3f} <= 1")
    return "; ".join(lines)


def saved(share: float):
    """A trial: a net from a known source is coded 3 bits shorter than the source's own -log2 probability."""
    code = LogGridCode(2)

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        found = np.zeros(n, dtype=bool)
        for k in range(n):
            w = np.array([0.0, 1.0, -1.0, 2.0])[rng.integers(0, 4, size=12)]  # two bits each
            length = code.length(Network(layers=(Layer(weight=w[:9].reshape(3, 3), bias=w[9:], relu=True),)))
            found[k] = share * length.total_bits <= 2.0 * 12 - 3.0
        return found

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    return judge(saved(1.0), delta=0.125, trials=1_000 * effort, name="3 bits below the source")


def teeth() -> Evidence:
    lengths = [[length for _, length in nets(*shape)] for shape in ((1, 1, 1, 12), (2, 1, 1, 0))]

    def kraft(bits: Callable[[CodeLength], float]) -> float:
        return max(sum(2.0 ** -bits(length) for length in world) for world in lengths)

    slack = smallest_sabotage(lambda factor: kraft(lambda length: length.total_bits / factor) > 1)
    sums = {
        "support not paid": kraft(lambda length: length.value_bits),
        "header not paid": kraft(lambda length: length.support_bits + length.value_bits),
    }
    for name, total in sums.items():
        require(total > 1.0, f"{name}: the Kraft sum {total} was not caught")
    require(violated(saved(0.5), delta=0.125, trials=300, name="half the bits"), "half the bits were not caught")
    shown = ", ".join(f"{name} (Kraft sum {total:.2f})" for name, total in sums.items())
    return Evidence(text=f"refuted: bits divided by {slack:g}; {shown}; half the bits, by draws", slack=slack)
