"""An explicit size for SVM coresets: m = (4(1+eps) t/eps²) [(D+1) ln(2em/(D+1)) + ln(8/delta)] draws are enough: ours.

Statement. D coordinates of w; s_p valid bounds for the hinges alone, of sum t; m independent draws with q_p = s_p/t,
v_p = u_p count_p/(m q_p), the regulariser kept as it is. With probability 1 - delta, |F_C(w) - F(P, w)| <= eps F(P, w)
for every w at once. For the whole objective (V/U) |w|²/2 + ... the bracket has one more term, ln(2m + 1).

Proof. g_w(p) = u_p lam h(p, w)/(s_p F(P, w)) is in [0, 1] by the definition of s. Its mean is E g = a/t, where a <= 1
is the hinges' share of F, and its sample mean is G/t, where G is their share in the coreset: |F_C - F| = F |G - a|.
Relative deviations (Vapnik and Chervonenkis; Anthony and Shawe-Taylor): with S(2m) ways to cut 2m points by the ranges
{g > r}, with probability 1 - 8 S(2m) e^(-eta² m/4) all of them have P - P_m <= eta sqrt P and P_m - P <= eta sqrt P_m.
Integrate over the levels r in [0, 1]: E g = int P(g > r) dr, and int sqrt P <= sqrt(int P) by Jensen, so that a - G <=
e sqrt a and G - a <= e sqrt G with e = eta sqrt t. If e² <= eps²/(1 + eps), then a - G <= e <= eps, and G > a + eps
would give G - e sqrt G > a, for x - e sqrt x rises beyond e²/4 and is at least a at a + eps. The ranges have S(2m) <=
(2em/(D+1))^(D+1) (``tukan2021_vc_dimension``), and eta² = (4/m)(ln S(2m) + ln(8/delta)).

For N queries that do not see the draws, Bernstein's inequality is enough: a draw's estimate of G is in [0, t] with
mean a <= 1 and variance at most t a, so that m = (2 t/eps²)(1 + eps/3) ln(2N/delta).
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import sympy as sp
import z3

from boundlab.coresets.svm.objective import objective
from boundlab.coresets.svm.sampling import draw_weights
from boundlab.coresets.svm.sensitivity import clusters_of, sensitivities
from boundlab.coresets.svm.size import certified_eps, coreset_size, fixed_query_size, log_growth
from boundlab.coresets.svm.worst_query import extremes, minimum, search
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.boundlab_svm_sensitivity import reals
from proofs_checks.judging import FACTORS, judge, smallest_sabotage, violated
from proofs_checks.proving import exact as around
from proofs_checks.proving import prove

THEOREM = Theorem(
    name="Explicit size of an SVM coreset",
    source="ours; the relative deviations are from Vapnik and Chervonenkis and from Anthony and Shawe-Taylor, as we "
    "understand them",
    given=(
        "s_p valid sensitivity bounds, t their sum",
        "m independent draws with probabilities s_p/t",
        "D coordinates",
    ),
    claim=r"m \ge \frac{4(1+\epsilon)t}{\epsilon^2}\Big[(D+1)\ln\frac{2em}{D+1} + \ln\frac8\delta\Big] \Rightarrow "
    r"\Pr[\forall w: |F_C(w) - F(P,w)| \le \epsilon F(P,w)] \ge 1-\delta",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="coresets/svm/size.py",
        old='square = 4.0 * positive("total", total) * events / size',
        new='square = 2.0 * positive("total", total) * events / size',
    ),
    Mutation(
        file="coresets/svm/size.py",
        old="+ math.log(8.0 / probability(",
        new="+ math.log(1.0 / probability(",
    ),
    Mutation(
        file="coresets/svm/size.py",
        old='events = math.log(2.0 * positive_int("queries", queries) / probability("delta", delta))',
        new='events = math.log(2.0 / probability("delta", delta))',
    ),
    Mutation(
        file="coresets/svm/worst_query.py",
        old="np.linalg.norm(direction[:slope])",
        new="np.linalg.norm(direction)",
    ),
)

PAIR = (np.array([1.0, -1.0]), np.array([2.0, 2.0]), 100.0)
"""(z, u, lam) of two contradicting points: their sensitivities are nearly 1 each, t = 2."""


def pair_bounds(hinge_only: bool) -> np.ndarray:
    """The shipped sensitivity bounds of the pair, each point a cluster of its own."""
    z, u, lam = PAIR
    opt = minimum(z, u, lam=lam)[1]
    return sensitivities(clusters_of(z[:, None], u, [0, 1]), lam=lam, opt=opt, hinge_only=hinge_only)


def pair_failure(size: int, eps: float, hinge_only: bool) -> float:
    """P(some query errs by more than eps) after `size` draws from the pair: a sum over all counts of a binomial."""
    z, u, lam = PAIR
    k = np.arange(size + 1)
    v = np.stack([k, size - k], axis=1) * 2 * u / size  # q = 1/2 each
    bad = extremes(z, u, v, lam=lam, share=1.0 if hinge_only else None).error > eps
    log = np.array([math.lgamma(size + 1) - math.lgamma(j + 1) - math.lgamma(size - j + 1) for j in k])
    return float(np.exp(log - size * math.log(2))[bad].sum())


def needed(total: Fraction, eps: Fraction, delta: Fraction, m: int, D: int) -> bool:
    """Whether m is at least the right-hand side of the theorem, hinge only, decided by ball arithmetic."""
    one = around(1)
    inside = (D + 1) * (around(Fraction(2 * m, D + 1)).log() + one) + around(8 / delta).log()
    return bool(around(m) >= around(4 * (1 + eps) * total / eps**2) * inside)


def symbolic() -> str:
    a, s, e, eps, x = reals("a s e eps x")  # s = sqrt G, x = sqrt a
    given = (e > 0, eps > 0, e * e * (1 + eps) == eps * eps, a >= 0, a <= 1, s >= 0)
    prove(s * s - a <= eps, *given, s * s - a <= e * s)
    prove(a - s * s <= eps, *given, x >= 0, x * x == a, a - s * s <= e * x)
    square, q = sp.symbols("e2 epsilon", positive=True)
    roots = sp.solve(sp.Eq(q**2, square * (1 + q)), q)
    require(any(sp.simplify(r - (square + sp.sqrt(square**2 + 4 * square)) / 2) == 0 for r in roots), "the inverse")
    t, m, c = sp.symbols("t m c", positive=True)
    want = 4 * (1 + q) * t / q**2 * c
    require(sp.simplify((4 * t * c / m).subs(m, want) - q**2 / (1 + q)) == 0, "e² = eps²/(1 + eps) at that m")
    # Bernstein with range t and variance t: m eps²/(2 t + 2 t eps/3) = ln(2N/delta)
    log = sp.symbols("L", positive=True)
    bernstein = (2 * t / q**2) * (1 + q / 3) * log
    require(sp.simplify(bernstein * q**2 / (2 * t + 2 * t * q / 3) - log) == 0, "Bernstein's m")
    low, high = reals("low high")  # Jensen on two levels: the mean of roots is at most the root of the mean
    prove(z3.Implies(z3.And(low >= 0, high >= 0), (low + high) ** 2 / 4 <= (low * low + high * high) / 2))
    return "both tails from e² = eps²/(1+eps) (z3); eps = (e² + sqrt(e⁴ + 4e²))/2; Bernstein's m"


def exact() -> str:
    for total, eps, delta, D in itertools.product((2, 50, 1000), (0.05, 0.5, 1.0), (0.3, 1e-6), (1, 9, 301)):
        m = int(coreset_size(float(total), eps, delta, dimension=D))
        fact = (Fraction(total), Fraction(eps), Fraction(delta))
        require(needed(*fact, m, D), f"m = {m} must satisfy the inequality")
        require(not needed(*fact, math.floor(m * (1 - 1e-9)) - 1, D), f"m = {m} must be the smallest")
        back = certified_eps(float(total), float(m), delta, dimension=D)
        require(back <= eps and back > 0.9 * eps, f"certified eps {back} at m for {eps}")
        whole = coreset_size(float(total), eps, delta, dimension=D, hinge_only=False)
        extra = math.log(2 * whole + 1) + log_growth(whole, D) + math.log(8 / delta)
        require(whole >= 4 * (1 + eps) * total / eps**2 * extra * (1 - 1e-9), "the whole objective needs ln(2m+1) more")
        n = Fraction(int(fixed_query_size(float(total), eps, delta, queries=7)))
        right = around(2 * fact[0] / fact[1] ** 2 * (1 + fact[1] / 3)) * around(14 / fact[2]).log()
        require(
            bool(around(n) >= right) and bool(around(n - 1) < right * (1 + around(Fraction(1, 10**9)))), "Bernstein"
        )
    z, u, v = np.array([[2.0, 1.0], [0.5, 1.0], [0.2, -1.0]]), np.ones(3), np.array([2.0, 0.0, 1.0])
    error, w = search(z, u, v, lam=1.0, rng=np.random.default_rng(122), intercept=True, starts=8, refine=0)
    pair = [float(objective(z, a, w, lam=1.0, intercept=True, total=3.0)) for a in (v, u)]
    require(
        abs(abs(pair[0] / pair[1] - 1) - error) < 1e-9, f"the search's error must be that of its query: {error}, {w}"
    )
    worst = 0.0
    for eps, delta, hinge_only in itertools.product((0.3, 0.8), (0.3, 0.01), (False, True)):
        t = float(pair_bounds(hinge_only).sum())
        m = int(coreset_size(t, eps, delta, dimension=1, hinge_only=hinge_only))
        worst = max(worst, pair_failure(m, eps, hinge_only) / delta)
        fixed = int(fixed_query_size(t, eps, delta))
        k = np.arange(fixed + 1)  # at w = -1, where the first point has all of the hinge: a nearly fair coin
        law = np.exp(
            [math.lgamma(fixed + 1) - math.lgamma(j + 1) - math.lgamma(fixed - j + 1) - fixed * math.log(2) for j in k]
        )
        tail = float(law[np.abs(2 * k / fixed - 1) > eps].sum())
        require(tail <= delta, f"Bernstein's m = {fixed} fails with probability {tail}")
    require(worst <= 1, f"an exact failure probability is {worst} times delta")
    return f"54 sizes are the smallest (balls); pair of points, all counts: failure at most {worst:.1e} delta"


def worst_errors(share: float):
    """A trial in one dimension: `share` of m draws err by more than eps = 1/2 at the exact worst query."""
    rng = np.random.default_rng(121)
    z, u = np.r_[rng.normal(1, 0.3, 10), rng.normal(0.4, 0.8, 10)], np.ones(20)
    bound = sensitivities(clusters_of(z[:, None], u, np.repeat([0, 1], 10)), lam=1.0, opt=minimum(z, u, lam=1.0)[1])
    m = math.ceil(share * coreset_size(float(bound.sum()), 0.5, 0.1, dimension=1, hinge_only=False))

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        return extremes(z, u, draw_weights(u, bound, m, rng, coresets=n), lam=1.0).error > 0.5

    return trial


def two_dimensions(rng: np.random.Generator, n: int) -> np.ndarray:
    """Trials with an intercept, d = 1: the worst query that a search finds, at the whole size."""
    z = np.column_stack([rng.normal(1, 0.5, 12), np.ones(12)]) * np.repeat([1.0, -1.0], 6)[:, None]
    bound, u = np.ones(12), np.ones(12)  # a share is at most 1: valid without any further look
    m = math.ceil(coreset_size(12.0, 0.5, 0.1, dimension=2, hinge_only=False))
    v = draw_weights(u, bound, m, rng, coresets=n)
    return np.array([search(z, u, row, lam=1.0, rng=rng, intercept=True, starts=8, refine=0)[0] > 0.5 for row in v])


def monte_carlo(effort: int = 1) -> Evidence:
    one = judge(worst_errors(1.0), delta=0.1, trials=1_000 * effort, name="coreset size, one dimension")
    two = judge(two_dimensions, delta=0.1, trials=100 * effort, name="coreset size, with intercept")
    return Evidence(text=f"exact worst query: {one.text}; searched: {two.text}", trials=1_100 * effort)


def teeth() -> Evidence:
    t = float(pair_bounds(True).sum())
    m = coreset_size(t, 0.5, 0.3, dimension=1)

    def caught(factor: float) -> bool:
        return pair_failure(max(1, math.ceil(m / factor)), 0.5, True) > 0.3

    slack = smallest_sabotage(caught, (*FACTORS, 150, 200, 300, 400))
    fixed = fixed_query_size(2.0, 0.5, 0.3)

    def coin(draws: int):
        return lambda rng, n: np.abs(2 * rng.binomial(draws, 0.5, n) / draws - 1) > 0.5

    cut = [
        f for f in FACTORS if violated(coin(max(1, math.ceil(fixed / f))), delta=0.3, trials=2_000, name="Bernstein")
    ]
    require(bool(cut) and not violated(coin(int(fixed)), delta=0.3, trials=2_000, name="Bernstein"), "Bernstein's m")
    text = (
        f"two points, exact law: m = {m:g} divided by {slack:g} fails; Bernstein's m = {fixed:g} divided by {cut[0]:g}"
    )
    return Evidence(text=text, slack=slack)
