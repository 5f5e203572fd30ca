"""The quadratic PAC-Bayes bound is the kl form relaxed by kl(q||p) >= (p-q)^2/(2p), and never below it.

Statement. With rho = (KL(Q||P) + ln(2 sqrt(n)/delta))/(2n), R(Q) <= (sqrt(r(Q) + rho) + sqrt(rho))^2 for all Q at once
with probability at least 1 - delta.

Proof. For q <= p the slope in p of kl(q||p) - (p-q)^2/(2p) is (p-q)[(p-q) + p(p+q)] / (2 p^2 (1-p)) >= 0 and the value
at p = q is 0, hence kl >= (p-q)^2/(2p). The kl form with xi(n) <= 2 sqrt(n) gives (p-q)^2 <= 2 p C, C = 2 rho, that is
p - sqrt(2C) sqrt(p) - q <= 0; the larger root in sqrt(p) is sqrt(C/2) + sqrt(q + C/2). As every kl^-1(q, C) satisfies
the relaxed inequality, the kl form is never above the quadratic one: train with this, certify with that.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import flint
import sympy as sp
import z3

from boundlab.bounds.pac_bayes import pac_bayes_kl, quadratic_bound
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage, violated
from proofs_checks.maurer2004_kl import DELTA, LOG_WORDS, N, failure, overfits, worlds
from proofs_checks.proving import prove

THEOREM = Theorem(
    name="Quadratic PAC-Bayes bound",
    source="Perez-Ortiz, Rivasplata, Shawe-Taylor and Szepesvari, JMLR 22 (2021), f_quad; item number not known to us; "
    "as we understand the paper",
    given=("n i.i.d. examples, loss in [0, 1]", "P fixed before them"),
    claim=r"\Pr[\exists Q : R(Q) > (\sqrt{r(Q) + \rho} + \sqrt\rho)^2] \le \delta",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="bounds/pac_bayes.py",
        old="0.5 * _budget(divergence, n, delta)",
        new="0.25 * _budget(divergence, n, delta)",
    ),
    Mutation(
        file="bounds/pac_bayes.py",
        old="(math.sqrt(r + rho) + math.sqrt(rho)) ** 2",
        new="(r + rho + math.sqrt(rho) ** 2)",
    ),
)

RISK = 0.07
TABLE = tuple(itertools.product((0.0, 1e-6, 0.02, 0.3), (0.0, 1.0, 1_000.0), (1, 7, 60_000), (0.9, 0.05, 1e-9)))


def budget(divergence: float, n: int, delta: float) -> flint.arb:
    """(KL + ln(2 sqrt(n)/delta)) / n in ball arithmetic."""
    return (flint.arb(divergence) + (2 * flint.arb(n).sqrt() / flint.arb(delta)).log()) / n


def reals(names: str) -> list[Any]:
    """Real variables of z3, whose operators are beyond a type checker."""
    return z3.Reals(names)


def relaxed_kl() -> None:
    """Prove kl(q||p) >= (p-q)²/(2p) for 0 <= q <= p < 1."""
    p, q = sp.symbols("p q", positive=True)
    kl = q * sp.log(q / p) + (1 - q) * sp.log((1 - q) / (1 - p))
    slope = (p - q) * ((p - q) + p * (p + q)) / (2 * p**2 * (1 - p))
    require(sp.simplify(sp.diff(kl - (p - q) ** 2 / (2 * p), p) - slope) == 0, "slope of kl - (p-q)²/(2p)")
    at_zero = -sp.log(1 - p) - p / 2
    require(at_zero.subs(p, 0) == 0 and sp.simplify(sp.diff(at_zero, p) - (1 + p) / (2 * (1 - p))) == 0, "q = 0")


def compare(
    shipped: Callable[[float, float, int, float], float], ball: Callable[[flint.arb, flint.arb], flint.arb]
) -> float:
    """Check a relaxation against ball arithmetic and against the kl form; the largest excess over the kl form."""
    most = 0.0
    for r, divergence, n, delta in TABLE:
        value, kl_form = shipped(r, divergence, n, delta), pac_bayes_kl(r, divergence, n, delta)
        over = flint.arb(value) - ball(flint.arb(r), budget(divergence, n, delta))
        require(over > 0 and over < 1e-12 * (1 + value), f"rounded wrongly at {(r, divergence, n, delta)}")
        require(kl_form <= value * (1 + 1e-12), f"below the kl form at {(r, divergence, n, delta)}")
        most = max(most, value - kl_form if value < 1 else 0.0)
    return most


def enumerated(shipped: Callable[[float, float, int, float], float]) -> Fraction:
    """Largest exact failure probability on two finite worlds at delta = 1/2."""
    rate = max(failure(world, lambda r, d, w=world: shipped(r, d, w.n, 0.5)) for world in worlds()[::2])
    require(rate <= Fraction(1, 2), f"failed with probability {float(rate)}")
    return rate


def symbolic() -> str:
    relaxed_kl()
    p, q, s, t, w = reals("p q s t w")
    C = 2 * t * t  # t = sqrt(rho), s = sqrt(q + rho), w = sqrt(p)
    given = (p == w * w, s * s == q + t * t, q >= 0, t >= 0, s >= 0, w >= 0, p >= q, (p - q) * (p - q) <= 2 * p * C)
    prove(w <= s + t, *given)
    return "slope of kl - (p-q)²/(2p) is (p-q)[(p-q)+p(p+q)]/(2p²(1-p)) >= 0; z3: (p-q)² <= 2pC gives p <= the square"


def exact() -> str:
    most = compare(quadratic_bound, lambda r, c: ((r + c / 2).sqrt() + (c / 2).sqrt()) ** 2)
    rate = enumerated(quadratic_bound)
    return f"at most {most:.4f} above the kl form at {len(TABLE)} points, never below; worlds: {float(rate):.3f} <= 1/2"


def monte_carlo(effort: int = 1) -> Evidence:
    trial = overfits(lambda k: quadratic_bound(k / N, LOG_WORDS, N, DELTA), RISK)
    return judge(trial, delta=DELTA, trials=2_000 * effort, name="quadratic, best of e^1000", block=100_000)


def teeth() -> Evidence:
    def caught(factor: float) -> bool:
        trial = overfits(lambda k: quadratic_bound(k / N, LOG_WORDS / factor, N, DELTA), RISK)
        return violated(trial, delta=DELTA, trials=1_000, name="KL divided")

    return Evidence(text="refuted: KL divided", slack=smallest_sabotage(caught))
