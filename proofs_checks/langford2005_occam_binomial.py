"""The Occam bound in its binomial-tail form: a union over a code's words, each at its own level."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import sympy as sp
from scipy.stats import binom

from boundlab.bounds.occam import Occam
from boundlab.concentration.binomial import tail_inverse
from boundlab.network import Layer, Network
from boundlab.records import Compression
from proofs_checks import Theorem, require

THEOREM = Theorem(
    name="Occam bound, binomial tail",
    source="Langford, JMLR 6 (2005), Occam's razor bound; as we understand the paper, its number is not known to us",
    given=("n i.i.d. examples", "lengths B(h) with sum_h 2^-B(h) <= 1, fixed before them"),
    claim=r"\Pr[\exists h : R(h) > \mathrm{Bin}^+(k_h, n, \delta 2^{-B(h)})] \le \delta",
    status="holds",
)


def refuted(failures: int, trials: int, delta: float) -> bool:
    """Exact one-sided binomial test of P(failure) <= delta at level 1e-6."""
    return bool(binom.sf(failures - 1, trials, delta) < 1e-6)


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


def exact() -> str:
    delta, rates = 0.2, []
    for n, risks, bits in worlds():
        require(sum(Fraction(1, 2**b) for b in bits) == 1, "the code is not complete")
        rate = failure(n, risks, [math.log(delta) - b * math.log(2) for b in bits])
        require(rate <= Fraction(delta), f"failed with probability {float(rate)} > {delta}")
        rates.append(float(rate))
    return (
        f"{len(rates)} finite worlds, every outcome: failure {', '.join(f'{r:.3f}' for r in rates)} <= delta = {delta}"
    )


def smallest_uncaught(n: int, log_level: float) -> int:
    """How many error counts 0..k-1 put the bound below a risk of 1/2."""
    return sum(tail_inverse(k, n, log_level) < 0.5 for k in range(n // 2))


def best_of(trials: int, *, words: int, n: int) -> np.ndarray:
    """Fewest errors among `words` classifiers that guess fair coins: shape (trials,)."""
    rng = np.random.default_rng(20050)
    return np.array([rng.binomial(n, 0.5, size=words).min() for _ in range(trials)])


def guess(seed: int, *, d: int = 64, n: int = 400) -> tuple[Compression, np.ndarray, np.ndarray]:
    """Fair-coin labels, and the one-pixel classifier that agrees with them best: its true risk is 1/2."""
    rng = np.random.default_rng([20050, seed])
    x, y = rng.integers(0, 2, size=(n, d)).astype(np.float64), rng.integers(0, 2, size=n)
    weight = np.zeros((2, d))
    weight[1, np.argmax(((x > 0) == (y[:, None] > 0)).sum(axis=0))] = 1.0
    net = Network(layers=(Layer(weight=weight, bias=np.array([0.5, 0.0]), relu=False),))
    return Compression(net=net, original=net, coresets=(), compressor=None, seed=None), x, y


def monte_carlo() -> str:
    trials, words, n, delta = 3_000, 4_096, 200, 0.05
    below = smallest_uncaught(n, math.log(delta) - 12 * math.log(2))
    failures = int(np.count_nonzero(best_of(trials, words=words, n=n) < below))
    require(not refuted(failures, trials, delta), f"{failures} failures in {trials}")
    shipped = sum(Occam(delta=delta, steps=(1,))(*guess(i)).value < 0.5 for i in range(40))
    require(not refuted(shipped, 40, delta), f"the shipped bound failed {shipped} times in 40")
    return (
        f"best of {words} words: {failures} failures in {trials}, delta=0.05; Occam() on fitted nets: {shipped} of 40"
    )


def teeth() -> str:
    delta, trials, words, n = 0.05, 3_000, 4_096, 200
    fewest = best_of(trials, words=words, n=n)
    caught = []
    for name, level in {
        "half the bits": math.log(delta) - 6 * math.log(2),
        "no bits": math.log(delta),
        "delta x 10": math.log(10 * delta) - 12 * math.log(2),
    }.items():
        failures = int(np.count_nonzero(fewest < smallest_uncaught(n, level)))
        require(refuted(failures, trials, delta), f"{name}: {failures} failures in {trials} were not caught")
        caught.append(name)
    size, risks, bits = worlds()[0]
    require(failure(size, risks, [math.log(0.2)] * len(bits)) > Fraction(1, 5), "the dropped union was not caught")
    # the risk limit that forgets how the net was found: refuted on fitted nets
    naive = 0
    for i in range(40):
        facts = Occam(steps=(1,))(*guess(i)).facts
        naive += tail_inverse(int(facts["errors"]), int(facts["n"]), math.log(delta)) < 0.5
    require(refuted(naive, 40, delta), f"no complexity: {naive} of 40 were not caught")
    return f"refuted: {', '.join(caught)}; a limit without complexity fails on {naive} of 40 fitted nets"
