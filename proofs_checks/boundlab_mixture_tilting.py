"""One mixture of tilts bounds the chance that some of several sums leaves its interval, by a cap that is a union bound.

Let event i be S_i >= s_i, where S_i is a sum of m_i draws, theta_i >= 0, L_i the log moment generating function of one
draw and B_i = e^(m_i L_i - theta_i s_i). A lower side is an upper one of -S, and events may share draws.

Proof. (1) Pick i with probability pi_i = B_i / sum_j B_j and tilt the draws of S_i. The likelihood ratio of this
mixture against the plain law is R = sum_i pi_i e^(theta_i S_i - m_i L_i) = sum_i e^(theta_i (S_i - s_i)) / sum_j B_j,
where every term is positive and one is at least 1 if some event happens. So w = 1/R <= sum_j B_j there, w / sum_j B_j
is 1 / sum_i e^(theta_i (S_i - s_i)) <= 1, and P(some event) = sum_j B_j E[share]. With caps that are rounded up,
C_i >= B_i, and pi_i proportional to C_i, R >= sum_i e^(theta_i (S_i - s_i)) / sum_j C_j: P <= sum_j C_j E[share].

(2) Let g be a power of two and k_j whole numbers with |v_j - g k_j| <= r for every j that can be drawn. Then S and
g K, K the sum of the k_J, differ by at most b = m r, so that S > s implies K >= floor((s - b)/g) + 1, and is implied by
K >= floor((s + b)/g) + 1. The first event, of exact whole numbers, is what the upper limit is of.

(3) If the law that is drawn from is within t of the exact mixture in total variation, means of values in [0, 1] differ
by at most t: adding t to an upper limit of the mean makes up for it. The law of m draws is within m times the distance
of one draw, and the law of independent neurons within the sum of theirs.

(4) A factor 1 + a (c - V)/(1 - c) rises with c, since its derivative is a (1 - V)/(1 - c)^2 >= 0, and 1 + a (V - c)/c
falls. So the evidence against a mean of at least c rises with c, the c's that it ever refutes form an interval up to 1,
and the true mean lies in it with probability at most alpha (Ville): its lower end is an upper limit, for all numbers of
values at once, also if the evidence is read at some of them only.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, cast

import flint
import numpy as np
import sympy as sp
import z3
from scipy.stats import binom

from boundlab.concentration.betting import log_e_mean_above, log_e_mean_below, mean_lower_limit, mean_upper_limit
from boundlab.concentration.tilting import SumTable, upper_tilt, whole_multiples
from boundlab.records import Groups, SamplePlan, Sensitivities
from boundlab.verification.rare import rare_failure, rare_failure_of
from boundlab.verification.tilted_sums import SampledSum, Tail, WholeSum, simulate
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage
from proofs_checks.proving import exact as enclosed
from proofs_checks.proving import prove, reals

THEOREM = Theorem(
    name="A mixture of tilts certifies rare events",
    source="ours; the tilt is Siegmund's (1976), the bets are Waudby-Smith and Ramdas's (2024)",
    given=(
        "S_i sums of i.i.d. draws, theta_i >= 0, event i: S_i >= s_i",
        "pi_i = B_i / sum_j B_j, B_i = exp(m_i L_i - theta_i s_i)",
        "the words of the generator are random",
    ),
    claim=r"\Pr\Big[\bigcup_i \{S_i \ge s_i\}\Big] = \sum_j B_j\,"
    r"\mathbb{E}_\pi\Big[\frac{1\{\exists i: S_i \ge s_i\}}{\sum_i e^{\theta_i (S_i - s_i)}}\Big] \le \sum_j B_j",
    status="holds",
)

TILTING, SUMS, BETTING = "concentration/tilting.py", "verification/tilted_sums.py", "concentration/betting.py"
MUTATIONS = (
    Mutation(file=TILTING, old="np.maximum(np.asarray(logsumexp(excess, axis=0)), 0.0)", new="excess.max(axis=0)"),
    Mutation(file=TILTING, old="blur=draws * Fraction", new="blur=Fraction"),
    Mutation(file=TILTING, old="- 61  # draws", new="- 66  # draws"),
    Mutation(file=TILTING, old="np.rint(v / step)", new="np.ceil(v / step)"),
    Mutation(file=TILTING, old="share * 2.0**64", new="share * 2.0**63"),
    Mutation(file=TILTING, old="len(self.counts) * 2.0**-51", new="len(self.counts) * 2.0**-60"),
    Mutation(file=TILTING, old="slack = 2.0**-48", new="slack = 2.0**-58"),
    Mutation(file=TILTING, old="float(seen.min()) < top else 0.0", new="float(seen.min()) < top else -1.0"),
    Mutation(file=TILTING, old="while k < last and word >= end[k]", new="while k < last and word > end[k] + 1"),
    Mutation(
        file=BETTING, old="STAKES / (1.0 - c), LOOKS).max() >= level", new="STAKES / (1.0 - c), LOOKS).max() >= 1"
    ),
    Mutation(file=BETTING, old="STAKES / c, LOOKS).max() >= level", new="STAKES / c, LOOKS).max() >= 1"),
    Mutation(file=BETTING, old="    return refuted\n", new="    return kept\n"),
    Mutation(file=SUMS, old=") + 1 - start", new=") + 2 - start"),
    Mutation(file=SUMS, old="for b in (-blur, blur)", new="for b in (blur, blur)"),
    Mutation(file=SUMS, old="+ Fraction(float(given.blur))", new=""),
    Mutation(
        file=SUMS,
        old="sure[i] = reached >= tail.edge, reached >= tail.sure",
        new="sure[i] = [reached >= tail.edge] * 2",
    ),
    Mutation(file=SUMS, old="(reached - tail.edge)", new="(reached - tail.edge - 1)"),
    Mutation(file=SUMS, old="which[picked == i] = law", new="which[picked == i] = 0"),
    Mutation(file=SUMS, old="np.asarray(logsumexp(log_caps)).item()", new="float(log_caps.max())"),
    Mutation(file=SUMS, old="tilt.slack for _, tail in mine)", new="tilt.slack * 0 for _, tail in mine)"),
    Mutation(
        file="verification/rare.py", old="mean_upper_limit(run.shares, level / len(strata))", new="run.shares.mean()"
    ),
    Mutation(file=SUMS, old="blur=blur + 2.0**-40", new="blur=2.0**-40"),
    Mutation(
        file="verification/rare.py",
        old="surely = mean_lower_limit(run.surely, level / len(strata))",
        new="surely = run.surely.mean()",
    ),
    Mutation(file="verification/rare.py", old="(1.0 + error[r]) * draw * z", new="(1.0 + 2 * error[r]) * draw * z"),
    Mutation(file="verification/rare.py", old="(1.0 - error[r]) * draw * z", new="(1.0 - 2 * error[r]) * draw * z"),
)


def symbolic() -> str:
    s1, s2, e1, e2, t1, t2, l1, l2 = sp.symbols("S1 S2 s1 s2 theta1 theta2 L1 L2", positive=True)
    caps = [sp.exp(l1 - t1 * e1), sp.exp(l2 - t2 * e2)]  # L stands for m L
    ratio = sum(
        cap / sum(caps) * sp.exp(t * s - mass)
        for cap, t, s, mass in zip(caps, (t1, t2), (s1, s2), (l1, l2), strict=True)
    )
    share = 1 / (sp.exp(t1 * (s1 - e1)) + sp.exp(t2 * (s2 - e2)))
    require(sp.simplify(1 / ratio / sum(caps) - share) == 0, "weight over cap = 1 / sum of e^(theta (S - s))")
    a, b, c, v, stake = reals("a b c v stake")
    prove(1 / (a + b) <= 1, a >= 1, b >= 0)
    rise = sp.diff(1 + sp.Symbol("a") * (sp.Symbol("c") - sp.Symbol("v")) / (1 - sp.Symbol("c")), sp.Symbol("c"))
    fall = sp.diff(1 + sp.Symbol("a") * (sp.Symbol("v") - sp.Symbol("c")) / sp.Symbol("c"), sp.Symbol("c"))
    A, C, V = sp.symbols("a c v")
    require(sp.simplify(rise - A * (1 - V) / (1 - C) ** 2) == 0 and sp.simplify(fall + A * V / C**2) == 0, "slopes")
    inside = [stake >= 0, stake <= 1, v >= 0, v <= 1, c > 0, c < 1]
    prove(z3.And(stake * (1 - v) >= 0, -stake * v <= 0), *inside)
    p, q = reals("p q")  # one atom of E_P V - E_Q V <= sum max(p - q, 0) = total variation
    prove((p - q) * v <= z3.If(p > q, p - q, 0), v >= 0, v <= 1)
    prove(z3.Implies(a > b, c > b - v), z3.And(a - c <= v, c - a <= v))  # S > s and |S - gK| <= b give gK > s - b
    return "weight/cap = 1/sum e^(theta (S-s)) <= 1; evidence rises in c; means differ by at most the total variation"


@dataclass
class Scripted:
    """A generator that returns what it was given: uniforms, or rows of words."""

    values: np.ndarray

    def random(self, n: int) -> np.ndarray:
        """The first n of the uniforms."""
        return self.values[:n]

    def integers(self, _low: int, _high: int, *, size: tuple[int, int], dtype: type) -> np.ndarray:
        """All the words, which must be those that are asked for."""
        require(size == self.values.shape and dtype is np.uint64, f"one word for each draw, asked for {size}")
        return self.values


FIRST = SampledSum(values=np.array([0.0, 1.0, 3.0]), q=np.array([0.5, 0.375, 0.125]), m=3, low=0.5, high=6.5)
SECOND = SampledSum(values=np.array([-2.0, 0.5]), q=np.array([0.25, 0.75]), m=2, low=-3.5, high=0.9)


def rough(low: float) -> SampledSum:
    """Values that share no step: 1e-18 and 4.33e-18 are rounded to 1 and 2 steps of 1.73e-18."""
    return SampledSum(values=np.array([1.0, 1e-18, 4.33e-18]), q=np.array([0.25, 0.25, 0.5]), m=2, low=low, high=1.5)


def sums_of(neuron: SampledSum):
    """All outcomes of a neuron's draws: indices, exact chance, exact sum."""
    for draw in itertools.product(range(len(neuron.values)), repeat=neuron.m):
        chance = math.prod((Fraction(float(neuron.q[j])) for j in draw), start=Fraction(1))
        yield draw, chance, sum((Fraction(float(neuron.values[j])) for j in draw), Fraction(0))


def fails(neuron: SampledSum, total: Fraction) -> bool:
    return not Fraction(float(neuron.low)) <= total <= Fraction(float(neuron.high))


def enumerated(neurons: list[SampledSum]) -> tuple[Fraction, float, float]:
    """P(some neuron fails), exactly, and what the shipped simulation says of it, upper and lower, over all outcomes."""
    read = [WholeSum.of(neuron) for neuron in neurons]
    tails = [(r, tail) for r, whole in enumerate(read) for tail in whole.tails.values() if isinstance(tail, Tail)]
    caps = np.array([tail.tilt.log_cap for _, tail in tails])
    picks = np.exp(caps - np.logaddexp.reduce(caps))
    middles = np.cumsum(picks) - picks / 2
    outcomes: list[tuple[Any, ...]] = list(itertools.product(range(len(tails)), *(list(sums_of(n)) for n in neurons)))
    script: list[Any] = [Scripted(np.array([middles[row[0]] for row in outcomes]))]
    chance, truth = np.array([picks[row[0]] for row in outcomes]), Fraction(0)
    for r, (neuron, whole) in enumerate(zip(neurons, read, strict=True)):
        mine = [i for i, (k, _) in enumerate(tails) if k == r]
        laws = np.stack([whole.law, *(tails[i][1].tilt.law for i in mine)])
        ends = SumTable.of(whole.counts, laws).ends
        multiples = whole_multiples(neuron.values, neuron.m).counts
        spot = np.searchsorted(whole.counts, multiples - multiples.min())  # equal values share a cell of the table
        require(len(set(spot)) == len(spot), "the instance has no equal values")
        law = np.array([mine.index(row[0]) + 1 if row[0] in mine else 0 for row in outcomes])
        draws = np.array([row[1 + r][0] for row in outcomes])  # (outcomes, m)
        script.append(Scripted(ends[law[:, None], spot[draws]] - np.uint64(1)))  # the last word of each cell
        chance = chance * laws[law[:, None], spot[draws]].prod(axis=1)
    for row in outcomes:
        if row[0] == 0 and any(fails(n, total) for n, (_, _, total) in zip(neurons, row[1:], strict=True)):
            truth += math.prod((p for _, p, _ in row[1:]), start=Fraction(1))
    found = simulate(read, tails, len(outcomes), cast(Any, script))
    require(bool(np.all((found.shares >= found.surely) & (found.shares <= 1.0))), "shares lie in [0, 1]")
    wanted = sum(max(t.tilt.slack for k, t in tails if k == r) for r in range(len(read)))
    wanted += sum(len(whole.counts) * whole.m * 2.0**-51 for whole in read)
    require(found.blur - 2.0**-40 >= wanted, "the distances of all neurons add up")
    cap = math.exp(found.log_cap)
    return truth, cap * float(chance @ found.shares), cap * float(chance @ found.surely)


def exact() -> str:
    for neurons in ([FIRST], [SECOND], [FIRST, SECOND], [SECOND, FIRST]):
        truth, upper, lower = enumerated(neurons)
        require(abs(upper - float(truth)) < 1e-11 and abs(lower - float(truth)) < 1e-11, f"{upper}, exact {truth}")
    for low, surely, below, perhaps in ((1.9e-18, 0, 0, 1), (3.5e-18, 0, 1, 5), (6e-18, 1, 5, 9)):  # sixteenths
        truth, upper, lower = enumerated([rough(low)])
        require(truth == Fraction(1 + below, 16), f"low = {low}: {truth}")
        require(
            abs(16 * lower - 1 - surely) < 1e-9 and abs(16 * upper - 1 - perhaps) < 1e-9, f"{low}: {lower}, {upper}"
        )
    rounding()
    laws()
    limits()
    layer()
    return "all outcomes of two neurons: cap x mean share = P(union); rounding, laws and limits enclosed; limits cover"


def rounding() -> None:
    values = np.array([1.0, 1e-10, 0.3, -0.7, 3e-19])
    for m in (1, 3, 1_000, 2**40):
        found = whole_multiples(values, m)
        worst = max(abs(Fraction(v) - Fraction(found.step) * int(k)) for v, k in zip(values, found.counts, strict=True))
        require(m * worst <= found.blur <= m * Fraction(found.step) / 2, f"m={m}: blur {found.blur}")
        require(m * int(np.abs(found.counts).max()) <= 2**61, f"m={m}: a sum may not fit")
    plain = SampledSum(values=FIRST.values, q=FIRST.q, m=3, low=0.5, high=6.5, blur=0.6)
    edges = [(t.edge, t.sure) for t in WholeSum.of(plain).tails.values() if isinstance(t, Tail)]
    require(edges == [(6, 8), (8, 10)], f"blur 0.6: sums from 5.9 on may fail, from 7.1 on do; mirrored below: {edges}")


def laws() -> None:
    """The table's law against the law given, and that against the exact tilt; the cap against the exact one."""
    rng = np.random.default_rng(0)
    m, v = 50, rng.random(40)
    q = rng.random(40) / 20
    q /= q.sum()
    for threshold in (0.2 * m, 0.7 * m, m * float(v.max())):
        found = upper_tilt(v, q, m, threshold)
        require(found.theta >= 0, f"theta = {found.theta}")
        table = SumTable.of(np.arange(40), found.law[None])
        ends = [0, *(int(e) for e in table.ends[0][:-1]), 2**64]
        drawn = [Fraction(b - a, 2**64) for a, b in itertools.pairwise(ends)]
        off = sum((abs(a - Fraction(float(b))) for a, b in zip(drawn, found.law, strict=True)), Fraction(0)) / 2
        require(0 < m * off <= Fraction(table.blur(m)), f"table off by {float(off)}, said {table.blur(m)}")
        with flint.ctx.workprec(200):
            p = [enclosed(Fraction(float(x)) / sum(Fraction(float(y)) for y in q)) for x in q]
            terms = [
                a * (enclosed(Fraction(found.theta)) * enclosed(Fraction(float(x)))).exp()
                for a, x in zip(p, v, strict=True)
            ]
            mass = sum(terms, flint.arb(0))
            gaps = [abs(enclosed(Fraction(float(x))) - t / mass) for x, t in zip(found.law, terms, strict=True)]
            require(bool(m * sum(gaps, flint.arb(0)) / 2 <= found.slack), "the float law is within slack of the tilt")
            cap = m * mass.log() - enclosed(Fraction(found.theta) * Fraction(threshold))
            require(bool(cap <= found.log_cap) and bool(found.log_cap - cap < 2 * found.slack), "cap rounded up")
    sure, truth = upper_tilt(np.array([0.0, 1.0]), np.array([0.9, 0.1]), 300, 300.0), 300 * math.log(0.1)
    require(truth < sure.log_cap < truth + 1e-6, f"tight at the largest sum, got {sure.log_cap - truth}")


def limits() -> None:
    """Every row of values: the limit is refuted, 0.2 % inside is not; coverage over all rows of an i.i.d. law."""
    law, alpha = {0.0: 0.5, 0.5: 0.2, 1.0: 0.3}, 0.3
    missed, told = np.zeros(2), 0
    for row in itertools.product(law, repeat=6):
        values, chance = np.array(row), math.prod(law[x] for x in row)
        up, down = mean_upper_limit(values, alpha), mean_lower_limit(values, alpha)
        missed += chance * np.array([up < 0.4, down > 0.4])
        for limit, evidence, inward in ((up, log_e_mean_below, 0.998), (down, log_e_mean_above, 1.002)):
            if 0 < limit < 1:
                told += 1
                require(evidence(values, limit)[-1] >= -math.log(alpha), f"{row}: {limit} is not refuted")
                require(evidence(values, limit * inward)[-1] < -math.log(alpha), f"{row}: {limit} is not the limit")
    require(bool(np.all(missed <= alpha) and np.all(missed > 0)) and told > 500, f"missed {missed}, told {told}")


def layer() -> None:
    """One group of two edges through a SamplePlan: a binomial."""
    groups = Groups(
        neuron=np.array([0]), sign=np.array([1], np.int8), indptr=np.array([0, 2]), columns=np.array([0, 1])
    )
    sens = Sensitivities(values=np.array([0.5, 0.75]), groups=groups, points=1, theorem="")
    plan = SamplePlan(
        layer=2, sensitivities=sens, size=np.array([400.0]), exact=np.array([False]), eps=np.array([0.5]), K=3.0,
        parts=1, condition=1.0, theorem="",
    )  # fmt: skip
    # w x = (1, 3), z = 4, q = (.4, .6), v = (2.5, 5): the estimate leaves (1 +- .07) 4 where Bin(400, .6) leaves
    # [195.2, 284.8]; at .1 on one side only it would leave elsewhere
    found = rare_failure_of(plan, np.array([[1.0, 3.0]]), np.array([1.0, 1.0]), eps=0.07, draws=2_000)
    side = {"above": float(binom.sf(284, 400, 0.6)), "below": float(binom.cdf(195, 400, 0.6))}
    for part in found.sides:
        truth = math.log(side[part.side])
        require(
            truth <= part.log_upper < truth + 0.5 and abs(part.log_estimate - truth) < 0.3, f"{part}: exact {truth}"
        )


def truth_of(neurons: list[tuple[int, float, int, int]]) -> float:
    """P(some Bin(m, p) leaves [low, high]), exactly."""
    single = [float(binom.sf(high, m, p) + binom.cdf(low - 1, m, p)) for m, p, low, high in neurons]
    return -math.expm1(sum(math.log1p(-p) for p in single))


ONE = [(600, 0.1, 22, 106)]
THREE = [(300, 0.1, 5, 64), (200, 0.3, 25, 99), (100, 0.5, 22, 78)]


def coins(neurons: list[tuple[int, float, int, int]]) -> list[SampledSum]:
    zero_one = np.array([0.0, 1.0])
    return [SampledSum(values=zero_one, q=np.array([1 - p, p]), m=m, low=low, high=high) for m, p, low, high in neurons]


def misses(neurons: list[tuple[int, float, int, int]], draws: int):
    truth, given = truth_of(neurons), coins(neurons)

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        found = (rare_failure(given, draws=draws, alpha=0.025, seed=int(rng.integers(2**62))) for _ in range(n))
        return np.array([not one.lower <= truth <= one.upper for one in found])

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    lines = []
    for label, neurons, trials in (("one neuron", ONE, 200), ("three neurons", THREE, 600)):
        found = judge(
            misses(neurons, 200), delta=0.05, trials=trials * effort, name=f"limits, {label}", expect="upheld"
        )
        truth, ours = truth_of(neurons), rare_failure(coins(neurons), draws=1_000)
        require(truth <= ours.upper < 2 * truth, f"{label}: {ours.upper} of {truth}")
        lines.append(
            f"{label}: 1,000 draws a stratum certify {ours.upper:.2e} of {truth:.2e}; limits miss: {found.text}"
        )
    return Evidence(text="; ".join(lines), trials=800 * effort)


def teeth() -> Evidence:
    truth = truth_of(THREE)
    limits = [rare_failure(coins(THREE), draws=1_000, seed=seed).upper for seed in range(12)]

    def caught(factor: float) -> bool:  # the cap understated by a factor
        return sum(limit / factor < truth for limit in limits) > 6

    slack = smallest_sabotage(caught)
    return Evidence(text=f"a cap understated by {slack:g} puts most limits of 1,000 draws below the truth", slack=slack)
