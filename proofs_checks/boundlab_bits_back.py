"""A fresh draw need not pay its code length: the price is ln Q(c)/P(z), its code length less what the coins decided.

Proof. The disintegrated bound pays ln (dQ/dP)(h) for the one network drawn from Q. With Q the multinomial law of the
counts and P a prior on z fixed before the data, that is ln Q(c) - ln P(z) <= -ln P(z), since Q(c) <= 1 and the
signs, those of the weights, are given. With P the multinomial of pi the factorials cancel: the price is
sum_j c_j ln(p_j/pi_j), of mean m KL(p || pi), which is m (ln 2d - H(p)) for uniform pi on 2d signed edges. The mean of
ln Q(c)/P(z) is KL(Q || P) >= 0. It holds for one fresh draw: picking among draws must be paid.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab.bounds.pac_bayes import log_xi
from boundlab.codes.counts import disintegrated_nats, draw_log_probability, multinomial_nats, sphere_nats
from boundlab.concentration.chernoff import kl_inverse
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage, violated

THEOREM = Theorem(
    name="Bits back for sampled counts",
    source="ours, from the disintegrated bound of Rivasplata et al. (2020); as we understand the paper",
    given=("one fresh draw c ~ Multinomial(m, p)", "p may depend on the data", "prior P on z fixed before the data"),
    claim=r"\ln\frac{Q(c)}{P(z)} \le -\ln P(z), \qquad "
    r"\mathbb{E}\Big[\sum_j c_j\ln\frac{p_j}{\pi_j}\Big] = m\,\mathrm{KL}(p\|\pi)",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="codes/counts.py",
        old="return prior_nats * (1.0 + 2.0**-51) + draw_log_probability(z, p)",
        new="return prior_nats * (1.0 + 2.0**-51) + 2 * draw_log_probability(z, p)",
    ),
    Mutation(
        file="codes/counts.py",
        old="return arrangements + draws + slack + more + 1e-12",
        new="return draws + slack + more + 1e-12",
    ),
    Mutation(
        file="codes/counts.py",
        old="return arrangements + draws + slack + more + 1e-12",
        new="return arrangements + draws - slack - more - 1e-12",
    ),
)

P = (Fraction(1, 2), Fraction(1, 3), Fraction(1, 6))


def laws(m: int) -> dict[tuple[int, ...], Fraction]:
    """Every count vector of m draws with its probability."""
    out: dict[tuple[int, ...], Fraction] = {}
    for draw in itertools.product(range(3), repeat=m):
        key = tuple(draw.count(j) for j in range(3))
        out[key] = out.get(key, Fraction(0)) + math.prod((P[j] for j in draw), start=Fraction(1))
    return out


def symbolic() -> str:
    m, c1, c2, p1, p2, q1, q2 = sp.symbols("m c1 c2 p1 p2 q1 q2", positive=True)
    same = sp.log(sp.gamma(m + 1)) - sp.log(sp.gamma(c1 + 1)) - sp.log(sp.gamma(c2 + 1))
    price = (same + c1 * sp.log(p1) + c2 * sp.log(p2)) - (same + c1 * sp.log(q1) + c2 * sp.log(q2))
    want = c1 * (sp.log(p1) - sp.log(q1)) + c2 * (sp.log(p2) - sp.log(q2))
    require(sp.simplify(price - want) == 0, "the factorials cancel")
    mean = want.subs({c1: m * p1, c2: m * p2})
    require(
        sp.simplify(mean - m * (p1 * (sp.log(p1) - sp.log(q1)) + p2 * (sp.log(p2) - sp.log(q2)))) == 0, "m KL(p||pi)"
    )
    return "factorials cancel against a multinomial prior; E c_j = m p_j makes the mean m KL(p || pi)"


def exact() -> str:
    p = np.array([float(v) for v in P])
    for m in (1, 2, 4):
        mean = kl = 0.0
        for c, chance in laws(m).items():
            z = np.array(c)
            got = draw_log_probability(z, p)
            require(math.log(chance) <= got <= math.log(chance) + 1e-9, f"ln Q of {c}")
            price = disintegrated_nats(z, p, sphere_nats(z))
            require(math.log(chance) + sphere_nats(z) <= price <= sphere_nats(z) + 1e-9, f"price of {c}")
            mean += float(chance) * disintegrated_nats(z, p, multinomial_nats(z))
            kl += float(chance) * price
        want = m * sum(float(v) * math.log(float(v) * 6) for v in P)
        require(abs(mean - want) < 1e-9, f"m = {m}: mean price {mean}, m KL(p || pi) = {want}")
        require(kl >= 0, "the mean price is a divergence")
        saved = math.fsum(float(q) * -math.log(q) for q in laws(m).values())
    short = [float(v) * (1.0 - 9e-10) for v in P]  # a sum off by 1e-9 is divided out
    for c, chance in laws(3).items():
        got = draw_log_probability(np.array(c), np.array(short))
        require(math.log(chance) <= got <= math.log(chance) + 1e-9, f"ln Q of {c} under a law of sum 1 - 9e-10")
    many, half = 1_000_003, Fraction(1, 2)  # C(m, 1)/2^m: a difference of gammaln of size 10^7
    got = draw_log_probability(np.array([many - 1, 1]), np.array([0.5, 0.5]))
    want = math.log(many) + many * math.log(half)
    require(want <= got <= want + 1e-4, f"ln Q of a million draws is {got}, exactly {want}")
    return f"every count of 1, 2, 4 draws: priced from above, never more than its code; 4 draws save {saved:.2f} nats"


N, EDGES = 20, 1_024


def world(heat: float, *, credit: float = 1.0, best_of: int = 1):
    """1,024 classifiers on N fair labels, one draw from Q ~ exp(-heat errors): is the bound below the risk 1/2?

    The coins are credited `credit` times; with best_of > 1 the best of several draws is shown at the price of one.
    """
    prior = sphere_nats(np.eye(1, EDGES, dtype=np.int64)[0])
    budget = log_xi(N) + math.log(10.0)

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        out = np.empty(n, bool)
        for i in range(n):
            errors = rng.binomial(N, 0.5, size=EDGES)
            p = np.exp(-heat * (errors - errors.min()))
            p = p / p.sum()
            drawn = rng.choice(EDGES, size=best_of, p=p)
            j = int(drawn[np.argmin(errors[drawn])])
            z = np.eye(1, EDGES, j, dtype=np.int64)[0]
            nats = disintegrated_nats(z, p, prior) + (credit - 1.0) * draw_log_probability(z, p)
            out[i] = kl_inverse(errors[j] / N, max(0.0, nats + budget) / N) < 0.5
        return out

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    found = judge(world(1.0), delta=0.1, trials=500 * effort, name="one fresh draw")
    many = judge(world(0.0, best_of=1_024), delta=0.1, trials=100, name="the best of many draws", expect="violated")
    text = f"data-dependent law, one draw: {found.text}; the best of 1,024 draws: {many.text}"
    return Evidence(text=text, trials=found.trials)


def teeth() -> Evidence:
    p = np.array([float(v) for v in P])

    def caught(factor: float) -> bool:  # the coins credited `factor` times: the mean price falls below the divergence
        worth = 0.0
        for c, chance in laws(3).items():
            z = np.array(c)
            worth += float(chance) * math.exp(
                -(disintegrated_nats(z, p, sphere_nats(z)) + (factor - 1) * draw_log_probability(z, p))
            )
        return worth > 1.0 + 1e-9  # E_Q[P/Q] <= 1 is what makes the price valid

    slack = smallest_sabotage(caught)
    require(violated(world(0.5, credit=2.0), delta=0.1, trials=200, name="credited twice"), "2 ln Q was not caught")
    text = f"crediting the coins {slack:g} times breaks E_Q[P/Q] <= 1, exactly; twice, the bound itself"
    return Evidence(text=text, slack=slack)
