"""Redrawing each single draw with a probability that depends on nothing leaves multinomial counts reversible.

Let c be the counts of m independent draws of q, and let each draw be made again, independently of everything, with
probability phi; c' are the counts afterwards.

Proof. One draw J and what becomes of it, J', have E[t_J s_J'] = sum_j q_j t_j ((1-phi) s_j + phi sum_i q_i s_i), which
is (1-phi) sum_j q_j t_j s_j + phi (q.t)(q.s): symmetric in t and s. The m pairs are independent, so that the joint
generating function of (c, c') is the m-th power: (c, c') and (c', c) have the same law, and with t = 1 the law of c' is
that of c. Given c, the draws on edge j that are made again are Bin(c_j, phi), independently, and the new ones are a
multinomial of their number: the counts suffice. Groups are independent, and a mixture over phi, whose law does not
depend on c, keeps the symmetry. So does refusing all moves out of a set A, on A: P(c = a, c' = b) is symmetric for a, b
in A, and staying put is.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from functools import cache

import numpy as np
import sympy as sp
from scipy.integrate import quad

from boundlab.compressors.corenet import CoreNetBudget
from boundlab.compressors.method import compress
from boundlab.network import Layer, Network
from boundlab.verification.splitting import NetCoins
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage, violated

THEOREM = Theorem(
    name="Redrawn multinomial counts",
    source="ours",
    given=("c ~ Multinomial(m, q) in each group", "each draw is made again with probability phi, independently of c"),
    claim=r"\Pr[c = a, c' = b] = \Pr[c = b, c' = a]",
    status="holds",
)

FILE = "verification/splitting.py"
MUTATIONS = (
    Mutation(file=FILE, old="return counts - leaving + Multinomials(self.q,", new="return Multinomials(self.q,"),
    Mutation(
        file=FILE,
        old="Multinomials(self.q, self.indptr, back)",
        new="Multinomials(self.q[::-1].copy(), self.indptr, back)",
    ),
    Mutation(
        file=FILE, old="2.0 ** -rng.uniform(0.0, 8.0), rng)", new="1.0 / float(1 + counts[drawn].max() % 3), rng)"
    ),
)


def multinomial(counts: tuple[int, ...], q: tuple[Fraction, ...]) -> Fraction:
    ways = math.factorial(sum(counts)) // math.prod(math.factorial(c) for c in counts)
    return ways * math.prod((p**c for p, c in zip(q, counts, strict=True)), start=Fraction(1))


def all_counts(m: int, edges: int) -> list[tuple[int, ...]]:
    return [c for c in itertools.product(range(m + 1), repeat=edges) if sum(c) == m]


def kernel(c: tuple[int, ...], phi: Fraction, q: tuple[Fraction, ...]) -> dict[tuple[int, ...], Fraction]:
    """The law of c' given c: Bin(c_j, phi) leave each edge, and a multinomial of their number comes back."""
    found: dict[tuple[int, ...], Fraction] = {}
    for gone in itertools.product(*(range(n + 1) for n in c)):
        leave = math.prod(
            (math.comb(n, g) * phi**g * (1 - phi) ** (n - g) for n, g in zip(c, gone, strict=True)), start=Fraction(1)
        )
        for back in all_counts(sum(gone), len(c)):
            after = tuple(n - g + b for n, g, b in zip(c, gone, back, strict=True))
            found[after] = found.get(after, Fraction(0)) + leave * multinomial(back, q)
    return found


@cache
def coins() -> NetCoins:
    """One sampled neuron of three edges."""
    layer = Layer(weight=np.array([[1.0, 2.0, 4.0]]), bias=np.zeros(1), relu=False)
    compression = compress(Network(layers=(layer,)), CoreNetBudget(nnz=2), np.array([[3.0, 2.0, 1.5]]), rng=0)
    return NetCoins(compression, np.ones(3))


def symbolic() -> str:
    q, t, s = (sp.symbols(f"{name}:3", positive=True) for name in "qts")
    phi = sp.Symbol("phi")
    law = dict(zip(q, (*q[:2], 1 - q[0] - q[1]), strict=True))
    mixed = sp.Add(*(p * v for p, v in zip(q, s, strict=True)))
    pair = sp.Add(*(p * u * ((1 - phi) * v + phi * mixed) for p, u, v in zip(q, t, s, strict=True)))
    swapped = pair.subs(dict(zip((*t, *s), (*s, *t), strict=True)), simultaneous=True)
    require(sp.expand(pair - swapped) == 0, "E[t_J s_J'] is symmetric")
    alone = pair.subs(dict.fromkeys(t, 1)) - mixed
    require(sp.expand(alone.subs(law, simultaneous=True)) == 0, "J' has the law of J")
    return "the generating function of a draw and what becomes of it is symmetric, and its margin is q"


def exact() -> str:
    q, pairs = (Fraction(1, 2), Fraction(1, 3), Fraction(1, 6)), 0
    for m, phi in itertools.product((1, 2, 3), (Fraction(1, 5), Fraction(1, 2), Fraction(1))):
        moves = {c: kernel(c, phi, q) for c in all_counts(m, 3)}
        for a, b in itertools.product(moves, repeat=2):
            there, back = multinomial(a, q) * moves[a].get(b, 0), multinomial(b, q) * moves[b].get(a, 0)
            require(there == back, f"m = {m}, phi = {phi}: {a} to {b} has {there}, back {back}")
            pairs += 1
    rng, net = np.random.default_rng(0), coins()
    counts = net.draw(rng)
    for _ in range(200):
        counts = net.move(rng, counts)
        require(counts.sum() == net.size.sum() and counts.min() >= 0, f"{counts}: no counts of {net.size} draws")
    return f"{pairs} pairs of counts of up to 3 draws are as likely in either order; shipped moves keep each total"


def events() -> list[tuple[str, float]]:
    """Names and exact chances of: c' all on the heaviest edge, on no edge but the lightest two, both c and c' there."""
    q, m = coins().q, int(coins().size[0])
    top = int(np.argmax(q))
    both = quad(lambda u: q[top] ** m * (1 - 2.0**-u * (1 - q[top])) ** m / 8, 0, 8)[0]
    return [("all", float(q[top] ** m)), ("none", float((1 - q[top]) ** m)), ("both", both)]


def happens(name: str, opposite: bool, steps: int = 1, wrong: float = 1.0):
    """A trial of one event, or of its opposite, on shipped draws and moves; `wrong` above 1 refuses steps down."""
    net, top, m = coins(), int(np.argmax(coins().q)), int(coins().size[0])

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        outcome = np.empty(n, bool)
        for k in range(n):
            before = after = net.draw(rng)
            for _ in range(steps):
                proposal = net.move(rng, after)
                if wrong == 1 or proposal[top] >= after[top] or rng.random() < 1 / wrong:
                    after = proposal
            all_there, none_there = after[top] == m, after[top] == 0
            found = {"all": all_there, "none": none_there, "both": all_there and before[top] == m}[name]
            outcome[k] = found != opposite
        return outcome

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    trials, lines = 4_000 * effort, []
    for name, chance in events():
        for opposite, delta in ((False, chance), (True, 1 - chance)):
            found = judge(
                happens(name, opposite),
                delta=delta,
                trials=trials,
                name=f"{name} {opposite}",
                expect="not violated",
            )
            lines.append(found.text)
    return Evidence(text=f"six events at their exact chances, none refuted; the first: {lines[0]}", trials=6 * trials)


def teeth() -> Evidence:
    name, chance = events()[0]

    def caught(factor: float) -> bool:
        return violated(happens(name, False, 5, factor), delta=chance, trials=3_000, name="uphill")

    slack = smallest_sabotage(caught, (1.5, 2, 3, 5))
    return Evidence(text=f"refusing 1 - 1/{slack:g} of the steps down moves the law of the counts", slack=slack)
