"""The Occam bound in its binomial-tail form: a union over a code's words, each at its own level.

Proof. For one net h fixed before the sample, k_h ~ Bin(n, R(h)), and R(h) > Bin+(k_h, n, delta 2^-B(h)) has probability
at most delta 2^-B(h) (the inversion of a test, `clopper_pearson1934`). A union over all words of the code leaves
delta sum_h 2^-B(h) <= delta by Kraft's inequality. As the event is about all h at once, the net may be chosen by
looking at the sample: also the grid, which its message names. B(h) is eight for each byte of the message of h
(`boundlab_net_message`), and k_h may be any upper limit of the errors of h, ties and what rounding leaves open among
them (`boundlab_certain_margins`): Bin+ rises with k.
Chernoff's form of the limit is never below the binomial one, and Hoeffding's never below Chernoff's, for
kl(q || p) >= 2 (p - q)^2: the difference vanishes at p = q and its slope in p has the sign of p - q.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab.bounds.occam import Occam
from boundlab.concentration.binomial import tail_inverse
from boundlab.nets.net_message import decode
from boundlab.network import Layer, Network
from boundlab.records import Compression
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage, violated

THEOREM = Theorem(
    name="Occam bound, binomial tail",
    source="Langford, JMLR 6 (2005), Occam's razor bound; as we understand the paper, its number is not known to us",
    given=("n i.i.d. examples", "lengths B(h) with sum_h 2^-B(h) <= 1, fixed before them"),
    claim=r"\Pr[\exists h : R(h) > \mathrm{Bin}^+(k_h, n, \delta 2^{-B(h)})] \le \delta",
    status="holds",
)


MUTATIONS = (
    Mutation(
        file="bounds/occam.py",
        old="return (self.message.nats - math.log(delta)) * _UP",
        new="return (0.5 * self.message.nats - math.log(delta)) * _UP",
    ),
    Mutation(
        file="bounds/occam.py",
        old="return CodedNet.of(nets[best], x, y)",
        new="return CodedNet(message=encode(nets[best]), errors=chain.count_errors(x, y), n=len(x), classes=2)",
    ),
    Mutation(
        file="bounds/occam.py",
        old="levels = [tail_inverse(coded.errors, n, -c) for c in (*nats[:-1], coded.nats(self.delta))]",
        new="levels = [tail_inverse(coded.errors, n, -c) for c in (*nats[:-1], nats[2])]",
    ),
    Mutation(
        file="bounds/occam.py",
        old="errors=net.count_errors(x, y), n=len(x)",
        new="errors=net.count_errors(x, y), n=2 * len(x)",
    ),
)

DELTA = 0.05


def symbolic() -> str:
    p, q = sp.symbols("p q", positive=True)
    kl = q * sp.log(q / p) + (1 - q) * sp.log((1 - q) / (1 - p))
    slope = sp.simplify(sp.diff(kl - 2 * (p - q) ** 2, p) - (p - q) * (1 - 2 * p) ** 2 / (p * (1 - p)))
    require(slope == 0, "slope of kl - 2 (p-q)^2")
    require(sp.simplify((kl - 2 * (p - q) ** 2).subs(p, q)) == 0, "kl and 2 (p-q)^2 touch at p = q")
    return "kl >= 2 (p-q)^2: the slope of the difference is (p-q)(1-2p)^2/(p(1-p)); so Chernoff's form <= Hoeffding's"


def failure(n: int, risks: list[Fraction], log_levels: list[float]) -> Fraction:
    """P[some h fails], exactly, where the errors of different h are independent."""
    kept = Fraction(1)
    for risk, level in zip(risks, log_levels, strict=True):
        good = sum(
            (
                math.comb(n, k) * risk**k * (1 - risk) ** (n - k)
                for k in range(n + 1)
                if risk <= Fraction(tail_inverse(k, n, level))
            ),
            Fraction(0),
        )
        kept *= good
    return 1 - kept


def worlds() -> list[tuple[int, list[Fraction], list[int]]]:
    """Examples, risks, code lengths in bits (Kraft sum 1)."""
    equal = [4] * 16
    unequal = [1, 2, 3, 4, 5, 6, 7, 7]
    return [
        (20, [Fraction(1, 2)] * 16, equal),
        (12, [Fraction(i + 1, 17) for i in range(16)], equal),
        (20, [Fraction(1, 2)] * 8, unequal),
        (15, [Fraction(1, i + 2) for i in range(8)], unequal),
    ]


def shipped() -> str:
    """What Occam() reports is the level that its message pays for, on the net that the message holds."""
    worst, moved = 0.0, 0
    for seed in range(6):
        small, x, y = guess(seed, scale=(1.0, 1.98)[seed % 2])  # 0.99 is rounded to 1 on every grid: a tie
        method = Occam(delta=DELTA, steps=(1, 2))
        data, bound, n = method.coded(small, x, y).message.data, method(small, x, y), len(x)
        f = decode(data, x.shape[1]).net(x)
        errors = int(np.count_nonzero(f[np.arange(n), y] <= f[np.arange(n), 1 - y]))
        require(bound.facts["errors"] == errors, "the errors must be those of the net in the message")
        moved += errors != small.net.errors(x, y)
        least = tail_inverse(errors, n, math.log(DELTA) - 8 * len(data) * math.log(2))
        require(bound.raw >= least * (1 - 1e-12), f"the bound {bound.raw} is below the level {least} of its bytes")
        alone = [Occam(delta=DELTA, steps=(steps,))(small, x, y).raw for steps in (1, 2)]
        require(bound.raw == min(alone), f"the better grid costs nothing more: {bound.raw} of {alone}")
        require(bound.facts["occam_kl"] >= least * (1 - 1e-9), "Chernoff's form must not be below the binomial one")
        require(bound.facts["occam_hoeffding"] >= bound.facts["occam_kl"] * (1 - 1e-9), "Hoeffding's form must be last")
        worst = max(worst, bound.raw - least)
    require(worst < 1e-9 and moved > 0, f"the bound is loose by {worst}; rounding changed {moved} error counts")
    return f"Occam() is the level of its bytes on the net in its message, within {worst:.0e}"


def exact() -> str:
    delta, rates = 0.2, []
    for n, risks, bits in worlds():
        require(sum(Fraction(1, 2**b) for b in bits) == 1, "the code is not complete")
        rate = failure(n, risks, [math.log(delta) - b * math.log(2) for b in bits])
        require(rate <= Fraction(delta), f"failed with probability {float(rate)} > {delta}")
        rates.append(float(rate))
    told = ", ".join(f"{r:.3f}" for r in rates)
    return f"{len(rates)} finite worlds, every outcome: failure {told} <= delta = {delta}; {shipped()}"


def best_of(words: int, n: int, log_level: float):
    """A trial: the best of `words` fair-coin classifiers has a bound below its risk of 1/2."""
    below = sum(tail_inverse(k, n, log_level) < 0.5 for k in range(n // 2))  # error counts 0..below-1 do that

    def trial(rng: np.random.Generator, count: int) -> np.ndarray:
        return rng.binomial(n, 0.5, size=(count, words)).min(axis=1) < below

    return trial


def guess(seed: int, *, d: int = 64, n: int = 400, scale: float = 1.0) -> tuple[Compression, np.ndarray, np.ndarray]:
    """Fair-coin labels, and the one-pixel classifier that agrees with them best: its true risk is 1/2."""
    rng = np.random.default_rng([20050, seed])
    x, y = rng.integers(0, 2, size=(n, d)).astype(np.float64), rng.integers(0, 2, size=n)
    weight = np.zeros((2, d))
    weight[1, np.argmax(((x > 0) == (y[:, None] > 0)).sum(axis=0))] = 1.0
    net = Network(layers=(Layer(weight=weight, bias=np.array([0.5 * scale, 0.0]), relu=False),))
    return Compression(net=net, original=net, coresets=(), compressor=None, seed=None), x, y


def monte_carlo(effort: int = 1) -> Evidence:
    words, n = 1_024, 140
    level = math.log(DELTA) - 10 * math.log(2)
    found = judge(best_of(words, n, level), delta=DELTA, trials=4_000 * effort, name=f"best of {words} words")

    def fitted(rng: np.random.Generator, count: int) -> np.ndarray:
        seeds = rng.integers(0, 2**32, size=count)
        return np.array([Occam(delta=DELTA, steps=(1,))(*guess(int(s))).raw < 0.5 for s in seeds])

    shipped_bound = judge(fitted, delta=DELTA, trials=150 * effort, name="Occam() on fitted nets")
    return Evidence(
        text=f"best of {words} words: {found.text}; Occam() on fitted nets: {shipped_bound.text}",
        trials=found.trials + shipped_bound.trials,
    )


def teeth() -> Evidence:
    n, bits = 12, [1, 2, 3, 3]
    levels = [math.log(DELTA) - b * math.log(2) for b in bits]

    def caught(factor: float) -> bool:
        """Whether delta times `factor` is refuted by the world in which each risk lies just above a limit."""
        sabotaged = [level + math.log(factor) for level in levels]
        risks = [Fraction(tail_inverse(1, n, level)) + Fraction(1, 10**15) for level in sabotaged]
        return failure(n, risks, sabotaged) > Fraction(DELTA)

    slack = smallest_sabotage(caught)
    words, size = 1_024, 200
    for name, level in (("half the bits", math.log(DELTA) - 5 * math.log(2)), ("no bits", math.log(DELTA))):
        found = violated(best_of(words, size, level), delta=DELTA, trials=400, name=name)
        require(found, f"{name} were not caught")
    world, risks, lengths = worlds()[0]
    require(failure(world, risks, [math.log(0.2)] * len(lengths)) > Fraction(1, 5), "the dropped union was not caught")
    naive = 0  # the risk limit that forgets how the net was found: refuted on fitted nets
    for i in range(20):
        facts = Occam(steps=(1,))(*guess(i)).facts
        naive += tail_inverse(int(facts["errors"]), int(facts["n"]), math.log(DELTA)) < 0.5
    require(naive > 10, f"no complexity: {naive} of 20 were not caught")
    text = (
        f"refuted: delta x {slack:g} (exactly), half the bits, no bits, no union; no complexity fails on {naive} of 20"
    )
    return Evidence(text=text, slack=slack)
