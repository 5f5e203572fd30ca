"""Points drawn without replacement: the prior-to-posterior ratio is a martingale, and it ends at the exact count.

Proof. Let K of N points fail and let pi be a law on K fixed before the draws. Under K, the likelihood of the first n
outcomes is L_n(K), and sum_J pi(J) L_n(J)/L_n(K) is a likelihood ratio of two laws of the same sequence: a martingale
of mean 1 under K. Its minimum over K >= count is below the ratio at the true K, so that it reaches 1/alpha with
probability at most alpha if at least `count` points fail; the same for K <= count. At n = N the likelihood of every
other K vanishes: the answer is exact.

A beta-binomial prior is K ~ Bin(N, q), q ~ Beta(1, b). Given q, draws without replacement from Bin(N, q) points are
independent of rate q: C(N, J) C(J, k) C(N-J, n-k) = C(N, n) C(n, k) C(N-n, J-k), and the sum over J is a binomial one.
So k failures in n draws have the chance C(n, k) b B(k+1, n-k+b); b = 1 is the uniform prior, with 1/(n+1).

P(k | K+1) >= P(k | K) iff k (N+1) >= n (K+1): the likelihood rises in K up to its mode and falls from there on, so that
the minimum over K >= count stands at the larger, over K <= count at the smaller, of the mode and `count`. At the mode
the ratio is at most 1, a mean over a maximum. With the mode below `count`, one failure more changes the ratio by a
factor of at most 1 iff k (N+b+1) <= (count+1) (n+b), k counting it, which the mode's place implies. Against K <= count
this factor is at least 1 from there on, and the evidence is cut at 0 before; we know of no case where that acts. So
evidence above 0 falls with k in the first case and rises in the second, and unknown outcomes are covered. One success
more works the other way.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import flint
import numpy as np
import sympy as sp

from boundlab.concentration.finite_population import log_e_at_least, log_e_at_most, upper_count
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage
from proofs_checks.proving import prove, reals

THEOREM = Theorem(
    name="Failures in a finite set, drawn without replacement",
    source="Waudby-Smith and Ramdas (2020), arXiv:2006.04347; item numbers not known to us; as we understand the "
    "paper; the spike, the place of the minimum and its monotonicity are ours",
    given=("K of N points fail", "uniform draws without replacement"),
    claim=r"K \ge c \Rightarrow \Pr\Big[\exists n: \min_{K' \ge c} "
    r"\textstyle\sum_J \pi(J) L_n(J)/L_n(K') \ge 1/\alpha\Big] \le \alpha, and the same with \le c",
    status="holds",
)

FILE = "concentration/finite_population.py"
MUTATIONS = (
    Mutation(
        file=FILE,
        old="_log_beta_binomial(failed, drawn, b)) - math.log(2.0)",
        new="_log_beta_binomial(failed, drawn, b))",
    ),
    Mutation(
        file=FILE,
        old="worst = np.maximum(_mode(failed, drawn, size), np.maximum(least, failed))",
        new="worst = np.maximum(_mode(failed, drawn, size) + 1, np.maximum(least, failed))",
    ),
    Mutation(
        file=FILE,
        old="worst = np.minimum(_mode(failed, drawn, size), np.minimum(most,",
        new="worst = np.minimum(_mode(failed, drawn, size) - 1, np.minimum(most,",
    ),
    Mutation(file=FILE, old="betaln(k + 1.0, n - k + b) + math.log(b)", new="betaln(k + 1.0, n - k + b)"),
    Mutation(file=FILE, old="2.0**-48 * size *", new="0.0 *"),
    Mutation(
        file=FILE,
        old='np.log(probability("alpha", alpha)) - _slack(size)',
        new='np.log(probability("alpha", alpha)) + 0.01',
    ),
    Mutation(
        file=FILE,
        old="_log_cdf(k, n, middle, size) > level",
        new="_log_cdf(k - 1, n, middle, size) > level",
    ),
)


def hypergeometric(k: int, n: int, K: int, N: int) -> Fraction:
    return Fraction(math.comb(K, k) * math.comb(N - K, n - k), math.comb(N, n))


def ratio(k: int, n: int, N: int, count: int, b: int = 1, *, least: bool = True) -> Fraction | None:
    """The exact minimum of the ratio over K >= count, or over K <= count; None where there is no such K."""
    ways = Fraction(math.factorial(k) * math.factorial(n - k + b - 1), math.factorial(n + b))  # B(k + 1, n - k + b)
    mean = math.comb(n, k) * b * ways
    mean = Fraction(1, 2) * (int(k == 0) + mean) if least else mean
    own = [hypergeometric(k, n, K, N) for K in (range(count, N + 1) if least else range(count + 1))]
    return mean / max(own) if any(own) else None


def symbolic() -> str:
    N, n, k, J = sp.symbols("N n k J", integer=True, positive=True)
    left = sp.binomial(N, J) * sp.binomial(J, k) * sp.binomial(N - J, n - k)
    right = sp.binomial(N, n) * sp.binomial(n, k) * sp.binomial(N - n, J - k)
    require(sp.simplify(sp.gammasimp((left / right).rewrite(sp.gamma))) == 1, "the terms of the sum over J")
    q, b = sp.symbols("q b", positive=True)
    for draws in range(5):
        for j in range(draws + 1):
            chance = sp.integrate(sp.expand(q**j * (1 - q) ** (draws - j)) * b * (1 - q) ** (b - 1), (q, 0, 1))
            form = b * sp.gamma(j + 1) * sp.gamma(draws - j + b) / sp.gamma(draws + 1 + b)
            require(sp.simplify(sp.gammasimp(chance / form)) == 1, f"b B({j} + 1, {draws} - {j} + b)")
    K = sp.symbols("K", positive=True)
    rise = (K + 1) * (N - K - n + k) - (K + 1 - k) * (N - K)  # P(k | K+1)/P(k | K) - 1, times what is positive
    require(sp.expand(rise - (k * (N + 1) - n * (K + 1))) == 0, "the likelihood's slope in K")
    failure = k * (N - n - K + k) - (K - k + 1) * (n - k + b)  # one more failure, the k-th: prior's chance against K's
    require(sp.expand(failure - (k * (N + b + 1) - (K + 1) * (n + b))) == 0, "the ratio's slope in k")
    success = (n - k + b) * (N - n) - (N - n - K + k) * (n + 1 + b)  # one more success: prior's chance against K's
    require(sp.expand(success - (K * (n + 1 + b) - (N - n) - k * (N + b + 1))) == 0, "the ratio's slope in n")
    return f"the terms of the sum, the mode of the likelihood, both slopes of the ratio; {_slopes()}"


def _slopes() -> str:
    """The signs of the slopes where evidence is above 0, by z3 on the reals."""
    N, n, k, K, b, kb = reals("N n k K b kb")
    inside = [n <= N, n >= 1, k >= 0, K >= 0, b >= 1]
    prove(k <= K, *inside, k * (N + 1) < K * n)
    prove(k * (N + 1) + kb <= (K + 1) * (n + b), *inside, k * (N + 1) < K * n, kb <= K * b, K * b >= 0)
    # one success more, K >= count: kb = k b < K b n/(N + 1), and b >= N/count
    prove(
        K * b + K * n + K - (N - n) - k * (N + 1) - kb >= 0,
        *inside,
        k * (N + 1) <= K * n,
        K * b >= N,
        kb * (N + 1) <= K * b * n,
    )
    # one success more, K <= count < N, where k (N + b + 1) >= (count + 1) (n + b)
    left = reals("left")[0]
    prove(K * (n + 1 + b) - (N - n) - left <= 0, *inside, K <= N, left >= (K + 1) * (n + b))
    return "z3: their signs"


def exact() -> str:
    N, worst = 7, Fraction(0)
    for K, alpha in itertools.product(range(N + 1), (Fraction(1, 2), Fraction(1, 4))):
        miss = ever = Fraction(0)
        for failing in itertools.combinations(range(N), K):  # positions of the failures in the order of drawing
            path = np.cumsum([i in failing for i in range(N)])
            hit = bool((log_e_at_least(path, np.arange(1, N + 1), N, K) >= math.log(1 / alpha)).any()) if K else False
            ever += Fraction(int(hit), math.comb(N, K))
            miss += Fraction(int(upper_count(int(path[2]), 3, N, float(alpha)) < K), math.comb(N, K))
        require(ever <= alpha and miss <= alpha, f"K = {K}: ever {ever}, fixed n {miss} at alpha {alpha}")
        worst = max(worst, ever / alpha)
    for b, n, k, count in itertools.product((1, 3, 10), range(N + 1), range(N + 1), range(N + 1)):
        if k > n:
            continue
        for least, shipped in ((True, log_e_at_least), (False, log_e_at_most)):
            want, got = ratio(k, n, N, count, b, least=least), float(shipped(k, n, N, count, scale=b))
            cut = not least and k * (N + b + 1) < (count + 1) * (n + b)
            truth = math.inf if want is None else min(math.log(want), 0.0 if cut else math.inf)
            require(got <= truth <= got + 1e-8 or got == truth, f"{k, n, count, b, least}: {got}, {truth}")
    levels()
    monotone()
    require([upper_count(k, N, N, 0.05) for k in range(N + 1)] == list(range(N + 1)), "all points seen: exact")
    large()
    return f"N = 7, every K and order: at most {float(worst):.2f} alpha; all ratios equal and monotone; exact at n = N"


def levels() -> None:
    """P(evidence ever >= 1/alpha) <= alpha at every true K, both sides and several scales, in fractions."""
    N = 12
    for b, count, least in itertools.product((1, 4, 30), range(1, N), (True, False)):
        shipped, level = (log_e_at_least, log_e_at_most)[not least], math.log(4)
        for K in range(count, N + 1) if least else range(count + 1):
            alive, crossed = {0: Fraction(1)}, Fraction(0)
            for n in range(1, N + 1):
                following: dict[int, Fraction] = {}
                for k, mass in alive.items():
                    for more, chance in ((1, Fraction(K - k, N - n + 1)), (0, Fraction(N - n + 1 - K + k, N - n + 1))):
                        following[k + more] = following.get(k + more, Fraction(0)) + mass * chance
                alive = {k: m for k, m in following.items() if m}
                for k in [k for k in alive if shipped(k, n, N, count, scale=b) >= level]:
                    crossed += alive.pop(k)
            require(crossed <= Fraction(1, 4), f"K = {K}, count {count}, b = {b}, {least}: {float(crossed)}")


def monotone() -> None:
    """Evidence above 0 falls with k and rises with n against K >= count, and the other way round against K <= count."""
    N = 24
    n, k = np.array([(n, k) for n in range(N + 1) for k in range(n + 1)]).T
    for count, scale in itertools.product((1, 2, 5, 12, 20), (1.0, 4.8, 24.0)):
        for sign, shipped in ((1, log_e_at_least), (-1, log_e_at_most)):
            table = np.full((N + 1, N + 1), np.nan)
            table[n, k] = sign * np.minimum(np.maximum(shipped(k, n, N, count, scale=scale), 0.0), 1e6)
            require(not np.any(np.diff(table, axis=1) > 1e-8), f"count {count}, scale {scale}: in k")
            if sign < 0 or scale >= N / count:
                require(not np.any(np.diff(table, axis=0) < -1e-8), f"count {count}, scale {scale}: in n")


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
                told = float(log_e_at_least(k, n, N, K))
                require(bool(told <= (flint.arb(1) / (2 * (n + 1))).log() - own), f"{k, n, N, K}: {told} is rounded up")
                a, b, c = (flint.arb(v).lgamma() for v in (k + 1, n - k + N // 2, n + 1 + N // 2))
                mean = log_choose(n, k) + a + b - c + flint.arb(N // 2).log()
                told = float(log_e_at_most(k, n, N, K, scale=N // 2))  # here K is the mode, or beyond it
                seen = max(k, min(K, k * (N + 1) // n))
                own = log_choose(seen, k) + log_choose(N - seen, n - k) - log_choose(N, n)
                require(bool(told <= mean - own), f"{k, n, N, K}: {told} is rounded up")
            n, k = int(rng.integers(50, 500)), int(rng.integers(0, 4))
            K = upper_count(k, n, N, 0.05) + 1  # the first one that is excluded
            tail = sum((log_choose(K, j) + log_choose(N - K, n - j) - log_choose(N, n)).exp() for j in range(k + 1))
            require(bool(tail <= 0.05), f"{K} of {N} are excluded at a tail of {tail}")


def wrong(K: int, N: int = 400, alpha: float = 0.1):
    """Evidence of 1/alpha or more at some n against "at least K fail", though exactly K do."""
    looks, level = np.arange(10, N, 10), math.log(1 / alpha)

    def ever(failures: np.ndarray) -> bool:
        return bool((log_e_at_least(failures[looks - 1], looks, N, K) >= level).any())

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
                hypergeometric(k, 20, K, N) * Fraction(math.exp(min(700.0, float(log_e_at_least(k, 20, N, count)))))
                for k in range(K + 1)
            ),
            Fraction(0),
        )
        return mean > 1

    slack = smallest_sabotage(caught)
    return Evidence(
        text=f"evidence against {slack:g} times the true count has expectation above 1, exactly", slack=slack
    )
