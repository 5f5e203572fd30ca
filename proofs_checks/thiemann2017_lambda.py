"""The lambda PAC-Bayes bound holds for all lambda in (0, 2) at once; its best value is the quadratic bound.

Statement. With C = (KL(Q||P) + ln(2 sqrt(n)/delta))/n, with probability at least 1 - delta, for all Q and lambda in
(0, 2): R(Q) <= r(Q)/(1 - lambda/2) + C/(lambda (1 - lambda/2)).

Proof. From kl >= (p-q)^2/(2p) (see perezortiz2021_quadratic) p - q <= sqrt(2 p C) = 2 sqrt(lambda p/2) sqrt(C/lambda)
<= lambda p/2 + C/lambda, which is the claim. One event, that of the kl form, serves every lambda: none is paid. The
slope in lambda vanishes where r lambda^2/2 = C (1 - lambda), whose root in (0, 1] is 2/(sqrt(2r/C + 1) + 1); it is the
only one in (0, 2), the value tends to infinity at both ends, and at the root it is (sqrt(r + C/2) + sqrt(C/2))^2.
"""

from __future__ import annotations

import flint
import sympy as sp

from boundlab.bounds.pac_bayes import best_lambda, lambda_bound, quadratic_bound
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage, violated
from proofs_checks.maurer2004_kl import DELTA, LOG_WORDS, N, overfits
from proofs_checks.perezortiz2021_quadratic import RISK, TABLE, compare, enumerated, reals, relaxed_kl
from proofs_checks.proving import prove

THEOREM = Theorem(
    name="PAC-Bayes lambda bound",
    source="Thiemann, Igel, Wintenberger and Seldin, ALT 2017; item number not known to us; as we understand the paper",
    given=("n i.i.d. examples, loss in [0, 1]", "P fixed before them"),
    claim=r"\Pr[\exists Q, \lambda : R(Q) > r(Q)/(1-\lambda/2) + C/(\lambda(1-\lambda/2))] \le \delta",
    status="holds",
)

MUTATIONS = (
    Mutation(file="bounds/pac_bayes.py", old="budget / (lam * (1.0 - 0.5 * lam))", new="budget / (lam * (2.0 - lam))"),
    Mutation(file="bounds/pac_bayes.py", old="r / (1.0 - 0.5 * lam)", new="r * (1.0 - 0.5 * lam)"),
    Mutation(file="bounds/pac_bayes.py", old="math.sqrt(2.0 * r / budget + 1.0)", new="math.sqrt(r / budget + 1.0)"),
)


def symbolic() -> str:
    relaxed_kl()
    p, q, u, v, lam = reals("p q u v lam")  # u = sqrt(lam p/2), v = sqrt(C/lam)
    given = (lam > 0, lam < 2, u >= 0, v >= 0, 2 * u * u == lam * p, p >= q, q >= 0)
    prove(p * (1 - lam / 2) <= q + v * v, *given, (p - q) * (p - q) <= 4 * u * u * v * v)
    r, C, t, s = sp.symbols("r C lambda s", positive=True)
    value = r / (1 - t / 2) + C / (t * (1 - t / 2))
    slope = sp.together(sp.diff(value, t))
    zero = sp.simplify(slope * t**2 * (1 - t / 2) ** 2 - (r * t**2 / 2 - C * (1 - t)))
    require(zero == 0, "the slope has the sign of r lambda²/2 - C (1 - lambda), which rises in lambda")
    as_s = r.subs(r, C * (s**2 - 1) / 2)  # s = sqrt(2r/C + 1)
    best = value.subs({r: as_s, t: 2 / (s + 1)})
    require(sp.simplify((as_s * t**2 / 2 - C * (1 - t)).subs(t, 2 / (s + 1))) == 0, "the root")
    require(sp.simplify(best - C / 2 * (s + 1) ** 2) == 0, "the value there is (sqrt(r + C/2) + sqrt(C/2))²")
    return "z3: p(1 - lambda/2) <= q + C/lambda; one stationary point, 2/(sqrt(2r/C+1)+1), worth the quadratic bound"


def exact() -> str:
    for lam in (0.25, 1.0, 1.75):
        compare(
            lambda r, d, n, e, x=lam: lambda_bound(r, d, n, e, x),
            lambda r, c, x=lam: (r + c / x) / (1 - flint.arb(x) / 2),
        )
    for row in TABLE:
        best = lambda_bound(*row)
        require(abs(best / quadratic_bound(*row) - 1) < 1e-12, f"the best lambda at {row}")
        around = [lambda_bound(*row, lam=best_lambda(*row) * f) for f in (0.9, 0.99, 1.01, 1.1)]
        require(best <= min(around) * (1 + 1e-12), f"not the best lambda at {row}")
    rate = max(enumerated(lambda_bound), enumerated(lambda r, d, n, e: lambda_bound(r, d, n, e, 1.0)))
    return f"never below the kl form at {len(TABLE)} points; the best one is the quadratic bound; worlds {rate}"


def monte_carlo(effort: int = 1) -> Evidence:
    trial = overfits(lambda k: lambda_bound(k / N, LOG_WORDS, N, DELTA), RISK)
    return judge(trial, delta=DELTA, trials=2_000 * effort, name="lambda, best of e^1000", block=100_000)


def teeth() -> Evidence:
    def caught(factor: float) -> bool:
        trial = overfits(lambda k: lambda_bound(k / N, LOG_WORDS / factor, N, DELTA), RISK)
        return violated(trial, delta=DELTA, trials=1_000, name="KL divided")

    return Evidence(text="refuted: KL divided, at the best lambda", slack=smallest_sabotage(caught))
