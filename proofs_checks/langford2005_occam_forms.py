"""The four forms of the Occam bound: binomial tail <= Chernoff-kl <= Hoeffding always, and a closed form at no error.

Statement. P is fixed before the n i.i.d. examples, sum_h P(h) <= 1, c(h) = ln 1/P(h) + ln 1/delta. With probability at
least 1 - delta, for all h at once, each of: (a) R <= r + sqrt(c/(2n)); (b) R <= kl^-1(r, c/n), for any loss in [0, 1];
(c) R <= Bin+(nr, n, e^-c), for the 0-1 loss; (d) R <= 1 - e^(-c/n) where r = 0. And (c) <= (b) <= (a), (d) = (c).

Proof. Each is a one-sided tail at level delta P(h), and the union over h spends delta. (b): for p >= q and t >= 0
P[Bin(n, p) <= qn] <= (E e^{-tX} e^{tq})^n, whose minimum over t is e^{-n kl(q||p)}. At p = kl^-1(q, c/n) this is e^-c,
so that p lies outside of what Bin+ keeps: (c) <= (b). Pinsker, kl >= 2(p-q)^2, gives (b) <= (a); the slope in p of the
difference is (p-q)(1-2p)^2/(p(1-p)) and both vanish at p = q. For r = 0 the tail is (1-p)^n = e^-c.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import flint
import sympy as sp

from boundlab.bounds.occam import occam_binomial, occam_hoeffding, occam_kl, occam_realizable
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage, violated
from proofs_checks.maurer2004_kl import DELTA, LOG_WORDS, N, overfits, worlds
from proofs_checks.proving import exact as ball_of

THEOREM = Theorem(
    name="Occam bound, four forms and their order",
    source="Langford, JMLR 6 (2005), Occam's razor bound; Chernoff (1952) and Hoeffding (1963) for the tails; as we "
    "understand the papers, item numbers not known to us",
    given=("n i.i.d. examples", "sum_h P(h) <= 1, P fixed before them", "0-1 loss for (c) and (d)"),
    claim=r"\mathrm{Bin}^+(nr, n, \delta P) \le \mathrm{kl}^{-1}(r, \tfrac{c}{n}) \le r + \sqrt{\tfrac{c}{2n}},\ "
    r"c = \ln\tfrac{1}{\delta P(h)}",
    status="holds",
)

MUTATIONS = (
    Mutation(file="bounds/occam.py", old='-positive("nats", nats))', new='-0.99 * positive("nats", nats))'),
    Mutation(file="bounds/occam.py", old='positive("nats", nats) / n * _UP)', new='positive("nats", nats) / n - 1e-4)'),
    Mutation(
        file="bounds/occam.py",
        old='math.sqrt(0.5 * positive("nats", nats) / n)',
        new='math.sqrt(0.25 * positive("nats", nats) / n)',
    ),
    Mutation(file="bounds/occam.py", old="math.nextafter(errors / n, math.inf)", new="errors / (n + 1e-6)"),
)


def tail(k: int, n: int, p: Fraction) -> Fraction:
    return sum((math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k + 1)), Fraction(0))


def kl_ball(q: Fraction, p: float) -> flint.arb:
    """kl(q||p) of a rational q < 1 and a float p in (0, 1), in ball arithmetic."""
    share, rest, x = ball_of(q), ball_of(1 - q), flint.arb(p)
    return (share * (share / x).log() if q else flint.arb(0)) + rest * (rest / (1 - x)).log()


def symbolic() -> str:
    p, q, t = sp.symbols("p q t", positive=True)
    kl = q * sp.log(q / p) + (1 - q) * sp.log((1 - q) / (1 - p))
    pinsker = (p - q) * (1 - 2 * p) ** 2 / (p * (1 - p))
    require(sp.simplify(sp.diff(kl - 2 * (p - q) ** 2, p) - pinsker) == 0, "slope of kl - 2(p-q)²")
    x = p * (1 - q) / (q * (1 - p))  # e^t at the minimum, at least 1 where p >= q
    require(sp.factor(x - 1 - (p - q) / (q * (1 - p))) == 0, "the minimum lies at t >= 0")
    exponent = q * sp.log(t) + sp.log(1 - p + p / t)  # ln of the moment bound for one example, t for e^t
    slope = sp.simplify(sp.diff(exponent, t) * t * (t * (1 - p) + p) - (q * (1 - p) * t - p * (1 - q)))
    require(slope == 0, "the exponent falls up to x and rises after it")
    require(sp.simplify(1 - p + p / x - (1 - p) / (1 - q)) == 0, "the second logarithm at the minimum")
    worth = sp.expand_log(q * sp.log(x) + sp.log((1 - p) / (1 - q)) + kl, force=True)
    require(sp.expand(worth) == 0, "the minimum is -kl")
    return "min over t >= 0 of the exponent is -kl(q||p), and kl >= 2(p-q)²: (c) <= (b) <= (a) for all k, n, c"


def exact() -> str:
    cases = 0
    for n, nats in itertools.product((1, 3, 8, 20), (0.05, 1.0, 6.0, 40.0)):
        level = Fraction(math.exp(-nats)) * (1 + Fraction(1, 10**14))
        for k in range(n):
            values = [form(k, n, nats) for form in (occam_binomial, occam_kl, occam_hoeffding)]
            for value in values:
                require(value >= 1.0 or tail(k, n, Fraction(value)) <= level, f"tail above delta P at {k}/{n}, {nats}")
            with flint.ctx.workprec(120):
                certified = values[1] >= 1.0 or kl_ball(Fraction(k, n), values[1]) >= flint.arb(nats) / n
                root = (flint.arb(nats) / (2 * n)).sqrt() + ball_of(Fraction(k, n))
                require(certified and root < values[2], f"(b) or (a) is rounded down at {k}/{n}, {nats}")
            require(values[0] <= values[1] * (1 + 1e-12) and values[1] <= values[2] * (1 + 1e-12), f"order {values}")
            cases += 1
        realizable = occam_realizable(n, nats)
        require((1 - Fraction(realizable)) ** n <= level, f"realizable at n={n}")
        require(abs(realizable / occam_binomial(0, n, nats) - 1) < 1e-9, f"(d) is (c) at n={n}, {nats}")
    rates = []
    for world in worlds():
        for form in (occam_binomial, occam_kl, occam_hoeffding):
            nats = [math.log(2) - math.log(p) for p in world.prior]
            limits = [[form(e, world.n, c) for e in range(world.n + 1)] for c in nats]
            rate = sum(
                (w for w, e in world.samples() if any(limits[h][e[h]] < R for h, R in enumerate(world.risks))),
                Fraction(0),
            )
            require(rate <= Fraction(1, 2), f"failed with probability {float(rate)}")
            rates.append(float(rate))
    return f"(c) <= (b) <= (a) and each tail <= delta P in {cases} cases; worlds fail {max(rates):.3f} <= 1/2 at most"


def monte_carlo(effort: int = 1) -> Evidence:
    """The best of e^1000 guesses: the union bound is then almost an equality."""
    trial = overfits(lambda k: occam_binomial(k, N, LOG_WORDS - math.log(DELTA)))
    return judge(trial, delta=DELTA, trials=20_000 * effort, name="occam", block=100_000, expect="not violated")


def teeth() -> Evidence:
    def caught(factor: float) -> bool:
        trial = overfits(lambda k: occam_binomial(k, N, LOG_WORDS - math.log(DELTA * factor)))
        return violated(trial, delta=DELTA, trials=100_000, name="delta multiplied")

    slack = smallest_sabotage(caught)
    for form in (occam_kl, occam_hoeffding):
        trial = overfits(lambda k, form=form: form(k, N, (LOG_WORDS - math.log(DELTA)) / 1.05))
        require(violated(trial, delta=DELTA, trials=1_000, name="nats divided"), f"{form.__name__}: nats / 1.05")
    return Evidence(text=f"refuted: delta times {slack:g} in (c); nats divided by 1.05 in (b) and (a)", slack=slack)
