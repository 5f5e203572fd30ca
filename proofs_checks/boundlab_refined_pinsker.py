"""R(Q) <= r + sqrt(2 r C) + 2C, C = (KL + ln(2 sqrt(n)/delta))/n: readable, and never below the quadratic bound.

Proof. The quadratic bound, proved in perezortiz2021_quadratic, is (sqrt(r + C/2) + sqrt(C/2))^2 = r + C + 2 sqrt(C/2)
sqrt(r + C/2), and sqrt(r + C/2) <= sqrt(r) + sqrt(C/2) makes it at most r + C + sqrt(2 r C) + C. It is sharp at r = 0,
where both are 2C, and beats Pinsker's r + sqrt(C/2) wherever sqrt(2r) + 2 sqrt(C) < sqrt(1/2), so for small risks.
"""

from __future__ import annotations

import math

from boundlab.bounds.pac_bayes import quadratic_bound, refined_pinsker, root_bound
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage, violated
from proofs_checks.maurer2004_kl import DELTA, LOG_WORDS, N, overfits
from proofs_checks.perezortiz2021_quadratic import RISK, TABLE, budget, compare, enumerated, reals, relaxed_kl
from proofs_checks.proving import prove

THEOREM = Theorem(
    name="Refined Pinsker form of the PAC-Bayes bound",
    source="ours in this form; the step from kl >= (p-q)^2/(2p) is folklore",
    given=("n i.i.d. examples, loss in [0, 1]", "P fixed before them"),
    claim=r"\Pr[\exists Q : R(Q) > r(Q) + \sqrt{2 r(Q) C} + 2C] \le \delta",
    status="holds",
)

MUTATIONS = (
    Mutation(file="bounds/pac_bayes.py", old="(r + root + 2.0 * budget)", new="(r + root)"),
    Mutation(
        file="bounds/pac_bayes.py", old="root = math.sqrt(2.0 * r * budget)", new="root = math.sqrt(0.5 * r * budget)"
    ),
)


def symbolic() -> str:
    relaxed_kl()
    a, s, t = reals("a s t")  # a = sqrt(r), t = sqrt(C/2), s = sqrt(r + C/2)
    given = (a >= 0, s >= 0, t >= 0, s * s == a * a + t * t)
    prove((s + t) * (s + t) <= a * a + 2 * a * t + 4 * t * t, *given)
    return "z3: (sqrt(r + C/2) + sqrt(C/2))² <= r + sqrt(2rC) + 2C for all r, C >= 0"


def exact() -> str:
    most = compare(refined_pinsker, lambda r, c: r + (2 * r * c).sqrt() + 2 * c)
    better = 0
    for row in TABLE:
        value = refined_pinsker(*row)
        require(quadratic_bound(*row) <= value * (1 + 1e-12), f"below the quadratic bound at {row}")
        small = math.sqrt(2 * row[0]) + 2 * math.sqrt(float(budget(*row[1:]).mid())) < math.sqrt(0.5) - 1e-9
        require(not small or row[2] == 1 or value < root_bound(*row), f"not below Pinsker's root at {row}")
        better += small
    rate = enumerated(refined_pinsker)
    return f"never below the kl form, at most {most:.3f} above; below Pinsker's root at {better} points; worlds {rate}"


def monte_carlo(effort: int = 1) -> Evidence:
    trial = overfits(lambda k: refined_pinsker(k / N, LOG_WORDS, N, DELTA), RISK)
    return judge(trial, delta=DELTA, trials=2_000 * effort, name="refined, best of e^1000", block=100_000)


def teeth() -> Evidence:
    def caught(factor: float) -> bool:
        trial = overfits(lambda k: refined_pinsker(k / N, LOG_WORDS / factor, N, DELTA), RISK)
        return violated(trial, delta=DELTA, trials=1_000, name="KL divided")

    return Evidence(text="refuted: KL divided", slack=smallest_sabotage(caught))
