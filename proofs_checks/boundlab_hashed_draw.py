"""A net drawn by a hash of its own law and a counter is one draw of it; N = 2^64 draws pay ln N, and any may be kept.

Proof. Take the hash as a random oracle: its values at different inputs are independent coins, independent of the
examples S too. A law Q and a counter that are any function of S, found without asking the oracle there, give coins that
are fresh given S and Q: the premise of ``rivasplata2020_single_draw``. If up to N inputs are asked in turn, each a
function of S and of what the earlier draws gave, be it another law or the same one with another counter, each draw is
fresh given its own input, so each fails with probability at most delta/N; by the union bound all N draws, and so the
one that is kept, satisfy the bound with ln(N/delta) in the place of ln(1/delta). It does not matter who asked: with
N = 2^64, all that is left to believe is that nobody computes 2^64 hashes.
Each Q is written in one way. A row draws edge j with probability f_j/F, F their sum, and two rows of frequencies have
the same probabilities if and only if they are multiples of each other; of these just one has no common divisor. A layer
that draws nothing has m = 1 and no scales. So what is asked is counted by laws and counters, not by ways to write them.
Words beyond the last multiple of F are thrown away, so that each of the F parts of a row is hit alike, and edge j with
probability f_j/F exactly; the m draws of a row have the multinomial law.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab._errors import InvalidParameter
from boundlab.bounds.pac_bayes import log_xi
from boundlab.bounds.sampled_net import LAWS, SampledLaw, SampledNet, _below, _coins, law_of, read_law
from boundlab.bounds.single_draw import single_draw
from boundlab.codes.pyramid import PyramidLayer
from boundlab.nets.feedforward import FeedForward, Linear
from boundlab.risk_certificates import check_certificate, issue_certificate
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.boundlab_certain_margins import Plain
from proofs_checks.judging import judge, smallest_sabotage, violated

THEOREM = Theorem(
    name="A draw by a hash of its law",
    source="ours; the statement that one draw costs ln dQ/dP is Rivasplata et al. (2020), as we understand the paper",
    given=("a hash that is as good as a random function", "at most N = 2^64 laws, with their counters, are asked"),
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
        old='parts = [np.array([self.counter, len(self.norms), *self.norms], "<i8").tobytes()]',
        new='parts = [np.array([len(self.norms), *self.norms], "<i8").tobytes()]',
    ),
    Mutation(
        file="bounds/sampled_net.py",
        old="np.any(np.gcd.reduce(law.z[alive], axis=1) > 1)",
        new="np.any(np.gcd.reduce(law.z[alive], axis=1) > 2)",
    ),
    Mutation(
        file="bounds/sampled_net.py",
        old="law.levels[~alive].any() or m > 1 > alive.sum()",
        new="m > 1 > alive.sum()",
    ),
    Mutation(
        file="bounds/sampled_net.py",
        old="law.levels[~alive].any() or m > 1 > alive.sum()",
        new="law.levels[~alive].any()",
    ),
    Mutation(
        file="bounds/sampled_net.py",
        old="f //= np.maximum(np.gcd.reduce(f, axis=1, keepdims=True), 1)",
        new="f //= 1",
    ),
    Mutation(
        file="bounds/sampled_net.py",
        old="return single_draw(self.errors / self.n, self.log_ratio, self.n, delta, draws=LAWS)",
        new="return single_draw(self.errors / self.n, self.log_ratio, self.n, delta)",
    ),
    Mutation(
        file="risk_certificates/checking.py",
        old="more = math.log(LAWS) * (1.0 + 2.0**-50)",
        new="more = 0.0",
    ),
    Mutation(file="bounds/sampled_net.py", old="LAWS = 2**64", new="LAWS = 2**63"),
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


def law(frequencies: list[list[int]], m: int, level: int = 0, counter: int = 0) -> SampledLaw:
    """One layer, no biases."""
    z = np.array(frequencies, np.int64)
    layer = PyramidLayer(z=z, levels=np.full(len(z), level), bias=np.zeros(len(z)))
    net = FeedForward(features=z.shape[1], ops=(Linear(layer=layer),))
    return SampledLaw(frequencies=net, norms=(m,), counter=counter)


def symbolic() -> str:
    n, delta = sp.symbols("N delta", positive=True)
    require(sp.simplify(sp.Sum(delta / n, (sp.Symbol("i"), 1, n)).doit() - delta) == 0, "N levels of delta/N")
    difference = sp.expand_log(sp.log(n / delta) - sp.log(1 / delta), force=True)
    require(sp.simplify(difference - sp.log(n)) == 0, "the price of N draws")
    require(LAWS == 2**64 and sp.log(LAWS) < sp.Rational(4437, 100), "ln 2^64 is less than 44.37 nats")
    return "N levels delta/N add up to delta, at a price of ln N each, 44.4 nats for 2^64"


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
    written_once()
    price = paid()
    halves = law([[1, 1]], 2).draw(iter([np.array([0, 1], "<u8")])).layers[0]
    require(np.array_equal(halves.weight, [[1.0, 1.0]]), "one of two halves each")
    flat = [law([[1] * 8], 64, level).drawn().layers[0] for level in range(3)]
    counts = {tuple(w.z[0].tolist()) for w in flat if isinstance(w, PyramidLayer)}
    require(len(counts) > 1, "other laws have other coins")
    words = iter([np.array([2**64 - 1, 2**64 - 2, 5], "<u8")])
    require(_below(3 * 2**62, 1, words).tolist() == [5], "words beyond the last multiple are thrown away")
    require(np.array_equal(next(_coins(b"a")), next(_coins(b"a"))), "the same seed, the same coins")
    return (
        f"N draws paid: failure <= delta in 9 worlds; Q of all nets of two rows sums to 1, ln Q within {worst:.0e}; "
        f"each law is written once; issued and verified with {price:.2f} nats for 2^64 draws"
    )


def written_once() -> None:
    """Of all rows of two edges with one law, one is accepted; it is the one that weights are brought to."""
    seen: dict[Fraction, tuple[int, int]] = {}
    for a, b in itertools.product(range(13), repeat=2):
        try:
            own = law([[a, b]], 5 if a + b else 1)
        except InvalidParameter:
            continue
        key = Fraction(a, a + b) if a + b else Fraction(-1)
        require(key not in seen, f"{(a, b)} and {seen.get(key)} are one law")
        seen[key] = (a, b)
        if a + b:
            weight = np.ldexp([[float(a), -float(b)]], 3)
            found = law_of(own.frequencies.with_layers([Plain(weight=weight, bias=np.zeros(1))]), [5])
            parts = np.abs(found.frequencies.layers[0].weight)
            require(found.norms == (5,) and math.gcd(*_frequencies(found)) == 1, "weights give lowest terms")
            require(max(_frequencies(found)) <= 2**14 and parts.shape == (1, 2), "and frequencies up to 2^14")
    require(len(seen) == 1 + sum(math.gcd(a, b) == 1 for a, b in itertools.product(range(13), repeat=2)), "all laws")
    for frequencies, m, level in (([[0, 0]], 2, 0), ([[0, 0]], 1, 8), ([[0, 0], [1, 2]], 5, 8)):
        try:
            law(frequencies, m, level)
        except InvalidParameter:
            continue
        raise AssertionError(f"{frequencies} with m = {m} and level {level} was taken for a law's one form")
    dead = law_of(FeedForward(features=2, ops=(Linear(layer=Plain(weight=np.zeros((1, 2)), bias=np.ones(1))),)), [7])
    require(dead.norms == (1,), "a layer that draws nothing has m = 1")
    one = [law([[1] * 8], 64, counter=k) for k in range(5)]
    require(len({tuple(_frequencies_of(own.drawn())) for own in one}) == 5, "each counter has its own coins")
    drawn = one[3].drawn()
    require(len({own.log_probability(drawn) for own in one}) == 1, "and the law is the same")
    require(read_law(one[3].data, 8).counter == 3, "a counter is read back")


def _frequencies(own: SampledLaw) -> list[int]:
    return _frequencies_of(own.frequencies)


def _frequencies_of(net: FeedForward) -> list[int]:
    layer = net.layers[0]
    if not isinstance(layer, PyramidLayer):
        raise TypeError("a law draws whole numbers")
    return [int(v) for v in np.abs(layer.z).ravel()]


def paid() -> float:
    """What is issued pays ln 2^64, and the verifier takes nothing less."""
    rng = np.random.default_rng(0)
    x = rng.random((4_000, 3))
    y = (x[:, 0] < x[:, 1]).astype(int)
    weight = np.array([[1.0, -0.5, 0.0], [-0.5, 1.0, 0.0]])
    net = FeedForward(features=3, ops=(Linear(layer=Plain(weight=weight, bias=np.zeros(2))),))
    issued = issue_certificate(net, SampledNet(trials=1, tries=2), x, y)
    r, nats = issued.errors / issued.n, issued.nats
    require(issued.bound == single_draw(r, nats, issued.n, issued.delta, draws=2**64), "2^64 draws are paid")
    require(check_certificate(issued, x, y).valid, "what is issued is valid")
    for exponent in (0, 32, 63):
        less = single_draw(r, nats, issued.n, issued.delta, draws=2**exponent)
        require(not check_certificate(replace(issued, bound=less), x, y).valid, f"2^{exponent} draws paid for 2^64")
    return math.log(2**64)


def much_of_one_edge(others: int, bar: int):
    """A trial: the hash of one law more draws an edge of probability 1/(1 + others) at least `bar` times in 40."""

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        found = np.zeros(n, dtype=bool)
        for k in range(n):
            level = int(rng.integers(-8000, 8000))
            drawn = law([[1, -others]], 40, level, counter=int(rng.integers(0, 2**32))).drawn().layers[0]
            if not isinstance(drawn, PyramidLayer):
                raise TypeError("a law draws whole numbers")
            found[k] = drawn.z[0, 0] >= bar
        return found

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    bar = next(b for b in range(41) if tail(b) <= Fraction(DELTA))
    return judge(much_of_one_edge(3, bar), delta=DELTA, trials=2_000 * effort, name="one edge, by the hash")


def tail(bar: int) -> Fraction:
    """P[Bin(40, 1/4) >= bar]."""
    return sum((Fraction(math.comb(40, k) * 3 ** (40 - k), 4**40) for k in range(bar, 41)), Fraction(0))


def teeth() -> Evidence:
    unpaid = world_failure(80, 300, 1)
    require(unpaid > Fraction(DELTA), f"300 draws at the price of one fail with {float(unpaid)}")
    bar = next(b for b in range(41) if tail(b) <= Fraction(DELTA))
    wrong = much_of_one_edge(1, bar)  # edge probability 1/2 in the place of 1/4
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
