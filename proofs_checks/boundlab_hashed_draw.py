"""A net drawn by a hash of its own law is one draw of it; whoever looks at N draws before choosing pays ln N.

Proof. Take the hash as a random oracle: its values at different inputs are independent coins, independent of the
examples S too. A law Q that is any function of S, found without asking the oracle at Q, is drawn from with coins that
are fresh given S and Q: the premise of ``rivasplata2020_single_draw``. If N laws Q_1, Q_2 ... are asked in turn, each a
function of S and of what the earlier draws gave, each draw is fresh given its own law, so each fails with probability
at most delta/N; by the union bound all N draws, and so the one that is kept, satisfy the bound with ln(N/delta) in the
place of ln(1/delta). Words beyond the last multiple of F are thrown away, so that each of the F parts of a row
is hit alike, and edge j with probability f_j/F exactly; the m draws of a row have the multinomial law.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab.bounds.pac_bayes import log_xi
from boundlab.bounds.sampled_net import SampledLaw, _below, _coins, read_law
from boundlab.bounds.single_draw import single_draw
from boundlab.codes.pyramid import PyramidLayer
from boundlab.nets.feedforward import FeedForward, Linear
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage, violated

THEOREM = Theorem(
    name="A draw by a hash of its law",
    source="ours; the statement that one draw costs ln dQ/dP is Rivasplata et al. (2020), as we understand the paper",
    given=("a hash that is as good as a random function", "N laws asked, each without knowing its own draw"),
    claim=r"\Pr\left[\exists i \le N: R(h_i) > \mathrm{kl}^{-1}\left(r(h_i), \frac{1}{n}\left("
    r"\ln\frac{Q_i(h_i)}{P(h_i)} + \ln\frac{N\xi(n)}{\delta}\right)\right)\right] \le \delta",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="bounds/sampled_net.py",
        old="last = np.uint64((2**64 // n) * n - 1)",
        new="last = np.uint64(2**64 - 1)",
    ),
    Mutation(
        file="bounds/sampled_net.py",
        old='edges = np.searchsorted(ends, _below(int(ends[-1]), m, coins), side="right")',
        new='edges = np.searchsorted(ends, _below(int(ends[-1]), m, coins), side="left")',
    ),
    Mutation(
        file="bounds/sampled_net.py",
        old="return self.draw(_coins(FORMAT + self.numbers))",
        new="return self.draw(_coins(FORMAT))",
    ),
    Mutation(
        file="bounds/sampled_net.py",
        old="total.append(draw_log_probability(np.abs(z), f / f.sum()))",
        new="total = [draw_log_probability(np.abs(z), f / f.sum())]",
    ),
    Mutation(
        file="bounds/sampled_net.py",
        old="and np.array_equal(drawn, np.where(law.z.any(axis=1), m, 0))",
        new="",
    ),
)

DELTA = 0.1


def law(frequencies: list[list[int]], m: int, level: int = 0) -> SampledLaw:
    """One layer, no biases."""
    z = np.array(frequencies, np.int64)
    layer = PyramidLayer(z=z, levels=np.full(len(z), level), bias=np.zeros(len(z)))
    return SampledLaw(frequencies=FeedForward(features=z.shape[1], ops=(Linear(layer=layer),)), norms=(m,))


def symbolic() -> str:
    n, delta = sp.symbols("N delta", positive=True)
    require(sp.simplify(sp.Sum(delta / n, (sp.Symbol("i"), 1, n)).doit() - delta) == 0, "N levels of delta/N")
    difference = sp.expand_log(sp.log(n / delta) - sp.log(1 / delta), force=True)
    require(sp.simplify(difference - sp.log(n)) == 0, "the price of N draws")
    return "N levels delta/N add up to delta, at a price of ln N each"


def world_failure(n: int, draws: int, paid: int) -> Fraction:
    """P[one of `draws` fair-coin classifiers, drawn by independent laws, has a bound below 1/2], exactly."""
    bad = sum(math.comb(n, k) for k in range(n + 1) if single_draw(k / n, 0.0, n, DELTA, draws=paid) < 0.5)
    return 1 - (1 - Fraction(bad, 2**n)) ** draws


def exact() -> str:
    for n, draws in itertools.product((10, 40, 80), (1, 3, 30)):
        require(world_failure(n, draws, draws) <= Fraction(DELTA), f"n={n}, {draws} draws, paid")
    given, m = law([[3, -1, 0], [1, 1, -2]], 3), 3
    total, worst = Fraction(0), 0.0
    rows = [
        [z for z in itertools.product(range(4), repeat=3) if sum(z) == m],
        [z for z in itertools.product(range(4), repeat=3) if sum(z) == m],
    ]
    signs = np.sign(given.frequencies.layers[0].weight).astype(np.int64)
    for a, b in itertools.product(*rows):
        z = np.array([a, b]) * signs
        own = PyramidLayer(z=z, levels=np.zeros(2, np.int64), bias=np.zeros(2))
        found = given.log_probability(given.frequencies.with_layers([own]))
        p = Fraction(1)
        for f, c in zip(([3, 1, 0], [1, 1, 2]), (a, b), strict=True):
            p *= math.factorial(m)
            for j in range(3):
                p *= Fraction(f[j], 4) ** c[j] / math.factorial(c[j])
        if p == 0 or not np.array_equal(np.abs(z), np.array([a, b])):
            require(p == 0 and found == -math.inf, f"{z} cannot be drawn, got ln Q = {found}")
            continue
        require(math.log(p) <= found <= math.log(p) + 1e-9, f"ln Q of {z}: {found} against {math.log(p)}")
        total, worst = total + p, max(worst, found - math.log(p))
    require(total == 1, "the law of the nets sums to 1")
    few = PyramidLayer(z=np.array([[1, 0, 0], [1, 1, 0]]), levels=np.zeros(2, np.int64), bias=np.zeros(2))
    require(given.log_probability(given.frequencies.with_layers([few])) == -math.inf, "too few draws have no mass")
    again = read_law(given.data, 3)
    require(again.data == given.data, "a law is read back byte for byte")
    require(np.array_equal(again.drawn().layers[0].weight, given.drawn().layers[0].weight), "and draws the same net")
    halves = law([[1, 1]], 2).draw(iter([np.array([0, 1], "<u8")])).layers[0]
    require(np.array_equal(halves.weight, [[1.0, 1.0]]), "one of two halves each")
    flat = [law([[1] * 8], 64, level).drawn().layers[0] for level in range(3)]
    counts = {tuple(w.z[0].tolist()) for w in flat if isinstance(w, PyramidLayer)}
    require(len(counts) > 1, "other laws have other coins")
    words = iter([np.array([2**64 - 1, 2**64 - 2, 5], "<u8")])
    require(_below(3 * 2**62, 1, words).tolist() == [5], "words beyond the last multiple are thrown away")
    require(np.array_equal(next(_coins(b"a")), next(_coins(b"a"))), "the same seed, the same coins")
    return f"N draws paid: failure <= delta in 9 worlds; Q of all nets of two rows sums to 1, ln Q within {worst:.0e}"


def much_of_one_edge(frequency: int, bar: int):
    """A trial: the hash of one law more draws an edge of probability 1/4 at least `bar` times in 40."""

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        found = np.zeros(n, dtype=bool)
        for k in range(n):
            level = int(rng.integers(-8000, 8000))
            other = int(rng.integers(1, 2**17))
            drawn = law([[frequency * other, -3 * other]], 40, level).drawn().layers[0]
            if not isinstance(drawn, PyramidLayer):
                raise TypeError("a law draws whole numbers")
            found[k] = drawn.z[0, 0] >= bar
        return found

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    bar = next(b for b in range(41) if tail(b) <= Fraction(DELTA))
    return judge(much_of_one_edge(1, bar), delta=DELTA, trials=2_000 * effort, name="one edge, by the hash")


def tail(bar: int) -> Fraction:
    """P[Bin(40, 1/4) >= bar]."""
    return sum((Fraction(math.comb(40, k) * 3 ** (40 - k), 4**40) for k in range(bar, 41)), Fraction(0))


def teeth() -> Evidence:
    unpaid = world_failure(80, 300, 1)
    require(unpaid > Fraction(DELTA), f"300 draws at the price of one fail with {float(unpaid)}")
    bar = next(b for b in range(41) if tail(b) <= Fraction(DELTA))
    wrong = much_of_one_edge(3, bar)  # edge probability 1/2 in the place of 1/4
    require(violated(wrong, delta=DELTA, trials=300, name="other frequencies"), "other frequencies unseen")
    n = 80

    def caught(factor: float) -> bool:
        level = (log_xi(n) - math.log(DELTA)) / factor
        bad = sum(math.comb(n, k) for k in range(n + 1) if n * _kl(k / n) > level and 2 * k < n)
        return Fraction(bad, 2**n) > Fraction(DELTA)

    slack = smallest_sabotage(caught)
    return Evidence(
        text=f"300 draws at the price of one fail with probability {float(unpaid):.2f}; the level divided by {slack:g}",
        slack=slack,
    )


def _kl(r: float) -> float:
    """kl(r || 1/2)."""
    return math.log(2.0) + sum(v * math.log(v) for v in (r, 1.0 - r) if v > 0)
