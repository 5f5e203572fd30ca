"""Keeping neurons with m s >= t as they are and sampling the rest never raises a variance, nor the factor t/sqrt(m).

Statement. While the neuron with the largest s among the rest has m s >= t, t the sum over the rest, keep it exactly and
spend one draw on it: m -> m - 1, t -> t - s. This leaves D, kept, and m' draws with pr' = s/t' among the others. The
estimate stays unbiased; its variance at every input and output is at most that of m draws among all, and
t'/sqrt(m') <= t/sqrt(m), so that every error bound of that form holds with (t', m') and is not worse.

Proof. One step suffices. Let c_p = w_j(p) phi(p.x) be the contributions at some input, g = c of the kept neuron, s its
sensitivity, t' = t - s, f' the sum of c over the rest, and V = t' sum_rest c^2/s - f'^2 >= 0 (Cauchy-Schwarz). The
variance of m draws among all is, times m,
    (t' + s)(sum_rest c^2/s + g^2/s) - (f' + g)^2 = V (1 + s/t') + (sqrt(s/t') f' - sqrt(t'/s) g)^2 >= V t/t',
and that of m - 1 draws among the rest is V/(m - 1). V/(m - 1) <= V t/(m t') iff m t' <= (m - 1) t iff t <= m s. Also
t'^2/(m - 1) <= (t - t/m)^2/(m - 1) = t^2 (m - 1)/m^2 <= t^2/m. If m = 1, then s >= t leaves no rest. The set D depends
on s alone, not on the draws: given D the sample is one of m' draws from the rest. With m at least the number of neurons
all are kept, as the largest s is at least t/n.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab.coresets.activations import RELU
from boundlab.coresets.neuron_sampling import include, neuron_plan, reweight
from boundlab.coresets.uniform_error import fixed_inputs_error
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage, violated
from proofs_checks.mussay2020_unbiased import outcomes
from proofs_checks.mussay2020_vc_dimension import Real
from proofs_checks.proving import prove

THEOREM = Theorem(
    name="Deterministic inclusion of heavy neurons",
    source="ours",
    given=("s >= |contribution| at every input", "kept while m s >= t of the rest, the largest s first"),
    claim=r"\mathrm{Var}' \le \mathrm{Var}, \quad t'/\sqrt{m'} \le t/\sqrt m",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="coresets/neuron_sampling.py",
        old="(size - count) * s[order[count]] >= rest[count]",
        new="3 * (size - count) * s[order[count]] >= rest[count]",
    ),
    Mutation(
        file="coresets/neuron_sampling.py",
        old="factor[np.asarray(kept, bool)] = 1.0",
        new="factor[np.asarray(kept, bool)] += 2.0",
    ),
    Mutation(
        file="coresets/neuron_sampling.py",
        old="size=size - count if total > 0.0 else 0",
        new="size=size if total > 0.0 else 0",
    ),
    Mutation(file="coresets/neuron_sampling.py", old="if count == size < len(order):", new="if count > size:"),
)

Q = Fraction


def variance(c: list[Fraction], s: list[Fraction], m: int) -> Fraction:
    """Variance of m draws with pr = s/t: (1/m)(t sum c^2/s - f^2)."""
    t, f = sum(s, Q(0)), sum(c, Q(0))
    second = t * sum((a * a / b for a, b in zip(c, s, strict=True)), Q(0))
    return (second - f * f) / m if m else Q(0)


def by_hand(s: list[Fraction], m: int, factor: Fraction) -> tuple[set[int], int]:
    """The kept neurons and the draws left, as the statement says; `factor` times m in its condition."""
    rest = set(range(len(s)))
    while rest and m > 0:
        heavy = max(rest, key=lambda i: (s[i], -i))
        if factor * m * s[heavy] < sum((s[i] for i in rest), Q(0)):
            break
        rest.remove(heavy)
        m -= 1
    return set(range(len(s))) - rest, m if rest else 0


def symbolic() -> str:
    t, s, f, g, V = sp.symbols("t s f g V", positive=True)
    rest = (f**2 + V) / t  # sum c^2/s over the rest, t for t'
    whole = (t + s) * (rest + g**2 / s) - (f + g) ** 2
    parts = V * (1 + s / t) + (sp.sqrt(s / t) * f - sp.sqrt(t / s) * g) ** 2
    require(sp.simplify(sp.expand(whole) - sp.expand(parts)) == 0, "the variance, split into a square and V t/t'")
    m, x, y = Real("m"), Real("x"), Real("y")  # x = t, y = s
    prove(m * (x - y) <= (m - 1) * x, m > 1, x > y, y > 0, x <= m * y)
    prove((x - y) * (x - y) * m <= x * x * (m - 1), m > 1, x > y, y > 0, x <= m * y)
    return "m Var = V t/t' + square; m t' <= (m - 1) t and t'^2/(m - 1) <= t^2/m by z3, where t <= m s"


def case(rng: np.random.Generator) -> tuple[list[Fraction], list[Fraction], int]:
    """(sensitivities with heavy tails, contributions within them, m)."""
    n = int(rng.integers(2, 7))
    s = [Q(int(v)) ** 2 for v in rng.integers(1, 9, size=n)]
    c = [v * Q(int(k), 4) for v, k in zip(s, rng.integers(-4, 5, size=n), strict=True)]
    return s, c, int(rng.integers(1, n + 2))


def worse(s: list[Fraction], c: list[Fraction], m: int, kept: set[int], left: int) -> bool:
    """Whether keeping `kept` with `left` draws has a larger variance or a larger t/sqrt(m) than m draws."""
    rest = [i for i in range(len(s)) if i not in kept]
    if rest and not left:
        return True
    some = variance([c[i] for i in rest], [s[i] for i in rest], left)
    t, total = sum((s[i] for i in rest), Q(0)), sum(s, Q(0))
    return some > variance(c, s, m) or (left > 0 and t * t / left > total * total / m)


def exact() -> str:
    rng, kept_cases, equal = np.random.default_rng(74), 0, 0
    for _ in range(400):
        s, c, m = case(rng)
        rule = include(np.array([float(v) for v in s]), m)
        kept, left = by_hand(s, m, Q(1))
        require(set(np.flatnonzero(rule.kept).tolist()) == kept and rule.size == left, f"{s}, m={m}: {rule}, {kept}")
        require(not worse(s, c, m, kept, rule.size), f"worse at s = {s}, c = {c}, m = {m}")
        rest = sum((v for i, v in enumerate(s) if i not in kept), Q(0))
        require(rest <= Q(rule.total) <= rest * Q(1 + 1e-10), "t' must be the sum of the rest, rounded up")
        if m >= len(s):
            require(len(kept) == len(s), "with m >= n nothing is sampled")
        kept_cases += bool(kept)
        equal += len(kept) == len(s)
    # the estimate itself, every outcome: mean w, and the variance of the rest
    s, c, m = [Q(16), Q(2), Q(2), Q(1), Q(1)], [Q(-16), Q(2), Q(-1), Q(1, 2), Q(1)], 3
    rule = include(np.array([float(v) for v in s]), m)
    require(rule.kept.tolist() == [True, *[False] * 4] and rule.size == 2, "one is kept, two draws are left")
    w = np.array([[float(v) for v in c]])
    table = [
        (reweight(w, np.array([0, *k]), rule.probabilities, 2, kept=rule.kept)[0], float(p))
        for k, p in outcomes(2, [v / 6 for v in s[1:]])
    ]
    mean = np.sum([u * p for u, p in table], axis=0)
    require(np.allclose(mean, w[0], rtol=1e-12), f"E u = {mean}")
    spread = sum(p * (u.sum() - w.sum()) ** 2 for u, p in table)
    require(abs(spread - float(variance(c[1:], s[1:], 2))) < 1e-12, f"the variance is {spread}")
    require(all(u[0] == w[0, 0] for u, _ in table), "the kept weight is exact")
    for s_, m_ in (([1.0, 1e-17], 1), ([8.0, 1.0, 1e-17, 1e-18], 2)):  # a rest that is lost in the rounding of sums
        rule = include(np.array(s_), m_)
        require(rule.size > 0 and np.all(rule.kept | (rule.probabilities > 0)), f"{s_}: no draw is left for the rest")
    alike = include(np.full(6, 0.1), 6)
    require(bool(alike.kept.all()) and alike.size == 0, "m = n with equal s: all kept, whatever the rounding")
    return f"400 cases in fractions, {kept_cases} keep some, {equal} keep all: variance and t/sqrt(m) are never larger"


def errs(factor: float):
    """A trial: at a fixed input the error exceeds the Hoeffding bound of (t', m'), divided by `factor`."""
    rng = np.random.default_rng(75)
    points, w = np.logspace(-0.5, 1, 30)[:, None], rng.choice([-1.0, 1.0], size=(1, 30))
    plan = neuron_plan(points, w, RELU, 1.0)
    rule = include(plan.sensitivities, 25)
    require(bool(rule.kept.any()) and rule.size > 0, "some are kept, some are drawn")
    bound = fixed_inputs_error(rule.total, rule.size, 0.05, c0=plan.c0) / factor
    active = points[:, 0]  # at x = 1, where every contribution is s or -s

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        live = np.flatnonzero(rule.probabilities)
        rows = np.zeros((n, 30), int)
        rows[:, live] = rng.multinomial(rule.size, rule.probabilities[live], size=n)
        u = [reweight(w, c, rule.probabilities, rule.size, kept=rule.kept)[0] for c in rows]
        return np.abs((np.array(u) - w) @ active) > bound

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    return judge(errs(1.0), delta=0.05, trials=1_000 * effort, name="kept and drawn neurons, Hoeffding's bound")


def teeth() -> Evidence:
    rng = np.random.default_rng(76)
    cases = [case(rng) for _ in range(400)]

    def caught(factor: float) -> bool:
        f = Q(factor)
        return any(worse(s, c, m, *by_hand(s, m, f)) for s, c, m in cases)

    slack = smallest_sabotage(caught)
    require(violated(errs(2.5), delta=0.05, trials=500, name="the bound / 2.5"), "the bound / 2.5 was not caught")
    return Evidence(text=f"refuted: neurons kept where {slack:g} m s >= t; the bound divided by 2.5", slack=slack)
