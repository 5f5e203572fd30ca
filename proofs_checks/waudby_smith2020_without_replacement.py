"""Points drawn without replacement: the prior-to-posterior ratio is a martingale, and it ends at the exact count.

Proof. Let K of N points fail and let pi be a law on K fixed before the draws. Under K, the likelihood of the first n
outcomes is L_n(K), and sum_J pi(J) L_n(J)/L_n(K) is a likelihood ratio of two laws of the same sequence: a martingale
of mean 1 under K. Its minimum over K >= count is below the ratio at the true K, so that it reaches 1/alpha with
probability at most alpha if at least `count` points fail. With pi half a spike at 0 and half uniform the mean
likelihood of k failures is ([k = 0] + 1/(n+1))/2, since sum_J C(J,k) C(N-J,n-k) = C(N+1,n+1). At n = N the likelihood
of every other K vanishes: the answer is exact.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import flint
import numpy as np
import sympy as sp

from boundlab.concentration.finite_population import log_e_at_least, upper_count
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage

THEOREM = Theorem(
    name="Failures in a finite set, drawn without replacement",
    source="Waudby-Smith and Ramdas (2020), arXiv:2006.04347; item numbers not known to us; as we understand the "
    "paper; the spike is ours",
    given=("K of N points fail", "uniform draws without replacement"),
    claim=r"K \ge c \Rightarrow \Pr\Big[\exists n: \min_{K' \ge c} "
    r"\textstyle\sum_J \pi(J) L_n(J)/L_n(K') \ge 1/\alpha\Big] \le \alpha",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="concentration/finite_population.py",
        old="mean = 0.5 * ((k == 0) + 1.0 / (n + 1.0))",
        new="mean = 0.5 * ((k == 0) + 1.0)",
    ),
    Mutation(file="concentration/finite_population.py", old="- likelihood.max())", new="- likelihood.min())"),
    Mutation(file="concentration/finite_population.py", old="2.0**-48 * size *", new="0.0 *"),
    Mutation(
        file="concentration/finite_population.py",
        old='np.log(probability("alpha", alpha)) - _slack(size)',
        new='np.log(probability("alpha", alpha)) + 0.01',
    ),
    Mutation(
        file="concentration/finite_population.py",
        old="_log_cdf(k, n, middle, size) > level",
        new="_log_cdf(k - 1, n, middle, size) > level",
    ),
)


def hypergeometric(k: int, n: int, K: int, N: int) -> Fraction:
    return Fraction(math.comb(K, k) * math.comb(N - K, n - k), math.comb(N, n))


def ratio(k: int, n: int, N: int, count: int) -> Fraction | None:
    """The exact minimum of the ratio over K >= count; None where `count` is impossible."""
    mean = Fraction(1, 2) * (int(k == 0) + Fraction(1, n + 1))
    own = [hypergeometric(k, n, K, N) for K in range(count, N + 1)]
    return mean / max(own) if any(own) else None


def symbolic() -> str:
    # The identity counts choices of n + 1 marks out of N + 1 by the place of the (k+1)-th mark: J places lie before it.
    # Or: sum over J of C(J, k) x^J is x^k/(1-x)^(k+1); the coefficients of x^N in a product of two of these agree.
    N, n, k = sp.symbols("N n k", integer=True, nonnegative=True)
    x = sp.symbols("x", positive=True)

    def series(marks: sp.Expr) -> sp.Expr:
        return x**marks / (1 - x) ** (marks + 1)

    require(sp.simplify(series(k) * series(n - k) * x / series(n + 1) - 1) == 0, "x^(n+1)/(1-x)^(n+2) but for one x")
    ratio_k = sp.simplify(series(k + 1) / series(k) - x / (1 - x))  # C(J+1, k+1) - C(J, k+1) = C(J, k), Pascal's rule
    require(ratio_k == 0, "each column of Pascal's triangle is x/(1-x) times the one before; the first is 1/(1-x)")
    for size, draws in itertools.product(range(1, 9), repeat=2):
        for j in range(min(draws, size) + 1):
            if draws <= size:
                total = sum(math.comb(J, j) * math.comb(size - J, draws - j) for J in range(size + 1))
                require(total == math.comb(size + 1, draws + 1), "sum over J of C(J,k) C(N-J,n-k)")
    require(
        sp.simplify(sp.gammasimp((sp.binomial(N + 1, n + 1) / sp.binomial(N, n)).rewrite(sp.gamma)) - (N + 1) / (n + 1))
        == 0,
        "(N+1)/(n+1)",
    )
    return (
        "sum_J C(J,k) C(N-J,n-k) = C(N+1,n+1): choose the (k+1)-th of n+1 marks first; the mean likelihood is 1/(n+1)"
    )


def exact() -> str:
    N, worst = 7, Fraction(0)
    for K, alpha in itertools.product(range(N + 1), (Fraction(1, 2), Fraction(1, 4))):
        miss = ever = Fraction(0)
        for failing in itertools.combinations(range(N), K):  # positions of the failures in the order of drawing
            path = np.cumsum([i in failing for i in range(N)])
            hit = (
                any(log_e_at_least(int(path[n - 1]), n, N, K) >= math.log(1 / alpha) for n in range(1, N + 1))
                if K
                else False
            )
            ever += Fraction(int(hit), math.comb(N, K))
            miss += Fraction(int(upper_count(int(path[2]), 3, N, float(alpha)) < K), math.comb(N, K))
        require(ever <= alpha and miss <= alpha, f"K = {K}: ever {ever}, fixed n {miss} at alpha {alpha}")
        worst = max(worst, ever / alpha)
    for n, k, count in itertools.product(range(1, N + 1), range(N + 1), range(N + 1)):
        if k > n:
            continue
        want, got = ratio(k, n, N, count), log_e_at_least(k, n, N, count)
        require(
            got == math.inf if want is None else got <= math.log(want) <= got + 1e-8, f"{k, n, count}: {got}, {want}"
        )
    require([upper_count(k, N, N, 0.05) for k in range(N + 1)] == list(range(N + 1)), "all points seen: exact")
    large()
    return f"N = 7, every K and order: at most {float(worst):.2f} alpha; all ratios equal; exact at n = N"


def large() -> None:
    """Large sets, against ball arithmetic: the evidence is rounded down, and the limit keeps its level."""
    rng = np.random.default_rng(7)

    def log_choose(n: int, k: int) -> flint.arb:
        a, b, c = (flint.arb(v + 1).lgamma() for v in (n, k, n - k))
        return a - b - c

    with flint.ctx.workprec(160):
        for N in (10**3, 10**6, 10**9):
            for _ in range(40):
                n = int(rng.integers(20, 900))
                k = int(rng.integers(1, n))
                K = N - (n - k) - int(rng.integers(0, 50))  # few hypotheses are left: the least of them is the worst
                own = log_choose(K, k) + log_choose(N - K, n - k) - log_choose(N, n)
                told = log_e_at_least(k, n, N, K)
                require(bool(told <= (flint.arb(1) / (2 * (n + 1))).log() - own), f"{k, n, N, K}: {told} is rounded up")
            n, k = int(rng.integers(50, 500)), int(rng.integers(0, 4))
            K = upper_count(k, n, N, 0.05) + 1  # the first one that is excluded
            tail = sum((log_choose(K, j) + log_choose(N - K, n - j) - log_choose(N, n)).exp() for j in range(k + 1))
            require(bool(tail <= 0.05), f"{K} of {N} are excluded at a tail of {tail}")


def wrong(K: int, N: int = 400, alpha: float = 0.1):
    """Evidence of 1/alpha or more at some n against "at least K fail", though exactly K do."""
    looks, level = range(10, N, 10), math.log(1 / alpha)

    def ever(failures: np.ndarray) -> bool:
        return any(log_e_at_least(int(failures[m - 1]), m, N, K) >= level for m in looks)

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        return np.array([ever(np.cumsum(rng.permutation(N) < K)) for _ in range(n)])

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    found = judge(wrong(20), delta=0.1, trials=200 * effort, name="without replacement")
    return Evidence(text=f"20 of 400 fail, looked at 39 times: {found.text}", trials=found.trials)


def teeth() -> Evidence:
    def caught(
        factor: float,
    ) -> bool:  # the hypothesis off by a factor: "at least factor K fail" is false, its evidence may grow
        N, K = 60, 6
        count = math.ceil(K * factor)
        mean = sum(
            (
                hypergeometric(k, 20, K, N) * Fraction(math.exp(min(700.0, log_e_at_least(k, 20, N, count))))
                for k in range(K + 1)
            ),
            Fraction(0),
        )
        return mean > 1

    slack = smallest_sabotage(caught)
    return Evidence(
        text=f"evidence against {slack:g} times the true count has expectation above 1, exactly", slack=slack
    )
