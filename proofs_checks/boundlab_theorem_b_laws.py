"""Theorem B holds whichever way a group's edges are chosen: the largest kept, a split, Poisson or pivotal coins.

Statement. Let each group of a net keep some edges with their own weights (fixed before x and the coins) and choose
among the others by one of the laws below, w' >= 0 being the new |weights|. With eps per group as stated, the envelope
e^L of boundlab_theorem_b holds but for probability delta_B over the coins and the bad points. A point is bad only if
an edge that is NOT kept for certain has a share above K s_j: of the activations, and, in a group from which edges are
drawn, of the error passed on.

    nothing drawn          eps = min(1, K (sum of the dropped s_j)); at eps = 1 no point is bad for this group
    N draws from the rest  eps of boundlab_within_row_split at delta_B/groups, all tails counted as events
    Poisson, pivotal       eps with events * failure(tau, rest, eps) <= delta_B/groups
    K unknown (inf)        eps = max(1, 1/min q), q_j = s_j/(sum of s over the rest): at every point and for all coins

Proof. The proof of Theorem B asks two things of a group at the two fixed vectors of a point, |sum w' a - sum w a| <=
eps sum w a for the parts of the activations, and sum w' e <= (1 + eps) sum w e for the error passed on. (1) Edges kept
with their own weights cancel in both; what is left are the terms of the rest, r <= z in sum, which need the premise,
the others do not. (2) Nothing drawn: 0 <= r <= min(1, K dropped) z for a, and sum w' e <= sum w e for any e >= 0,
whatever its shares. (3) Draws: the tails of boundlab_within_row_split, boundlab_poisson_threshold and
srinivasan2001_pivotal hold for any fixed vector of terms in [0, K s_j z], so for e as well as for a, and a union over
the n parts (both tails) and e (upper tail) is at most n + 1 two-sided events. (4) w'_j <= w_j/q_j for each law (c_j <=
N; pi_j >= q_j), so that each term, and the sum over the rest, lies in [0, 1/min q] times its own, as r does in [0, r].
Nothing in the induction over the layers looks at the law.

With C from one half of the calibration points (vovk2005_split_conformal) the plan still depends on calibration points
alone: what it promises at a fresh point is for the hold-out to confirm.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import z3

from boundlab import Layer, Network, certify, compress, random_network
from boundlab.compressors.method import Compressor
from boundlab.compressors.sipp import SiPP, SiPPDet, SiPPHybrid, SiPPRand, SiPPThreshold
from boundlab.concentration.multiplicative import lower_rate, upper_rate
from boundlab.coresets.sensitivity_sampling import Rule
from boundlab.coresets.threshold_sampling import bernstein_failure, failure, threshold_probabilities
from boundlab.nets.propagate import envelope
from boundlab.records import Compression, Law, SamplePlan
from boundlab.verification.joint import additive_trial
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.boundlab_poisson_threshold import chances
from proofs_checks.boundlab_relative_recursion import forward, inner
from proofs_checks.boundlab_theorem_a import Tiny, failing, sparse_inputs
from proofs_checks.boundlab_theorem_b import cases
from proofs_checks.horvitz1952_unbiased import law as poisson_law
from proofs_checks.judging import judge, smallest_sabotage, violated
from proofs_checks.proving import prove, reals
from proofs_checks.srinivasan2001_pivotal import pivotal_law

THEOREM = Theorem(
    name="Theorem B for edges kept, split, and drawn without replacement",
    source="ours; for the methods of Baykal et al. 2022, arXiv:1910.05422, as we understand the paper",
    given=(
        "the coins are independent of x, given the calibration points",
        "each group's eps bounds all its tails together by delta_B / groups",
        "x is good: no share above K s_j of an edge that is not kept for certain",
    ),
    claim=r"\Pr_{\hat\theta,x}[\exists i: |\hat f_i(x) - f_i(x)| > e_i^L(x)] \le \delta_B + \Pr_x[x\ \mathrm{is\ bad}]",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="compressors/sipp.py",
        old="return delta / 2 / max(1, len(seen.edges))",
        new="return delta / max(1, len(seen.edges))",
    ),
    Mutation(
        file="compressors/calibration.py",
        old="per_layer = np.array(self.signs) * np.array(self.positions)",
        new="per_layer = np.array(self.positions)",
    ),
    Mutation(
        file="compressors/calibration.py",
        old="per_layer[1:] += self.passed",
        new="per_layer[1:] += 0 * int(self.passed)",
    ),
    Mutation(
        file="compressors/sipp.py",
        old="lost = np.minimum(1.0, dropped_sum(seen.values, seen.indptr, kept, K=seen.factor))",
        new="lost = np.minimum(1.0, dropped_sum(seen.values, seen.indptr, kept))",
    ),
    Mutation(file="compressors/sipp.py", old="share / events[at][0], C=seen.factor", new="share, C=seen.factor"),
    Mutation(
        file="compressors/sipp.py",
        old="partial_eps(rest[at], draws[at], share, C=seen.factor, events=int(events[at][0]))",
        new="partial_eps(rest[at], draws[at], share, C=seen.factor)",
    ),
    Mutation(
        file="compressors/sipp.py",
        old="eps, lost = np.maximum(1.0, growth), np.ones_like(lost)",
        new="eps = np.maximum(1.0, growth)",
    ),
    Mutation(
        file="certificates.py",
        old="free = plan.certain | plan.groups.spread((plan.draws == 0) & (plan.eps >= 1.0))",
        new="free = plan.certain | plan.groups.spread(plan.eps >= 1.0)",
    ),
    Mutation(
        file="certificates.py",
        old="free = plan.certain | plan.groups.spread((plan.draws == 0) & (plan.eps >= 1.0))",
        new="free = plan.certain | plan.groups.spread(plan.draws == 0)",
    ),
)


def methods(nnz: int, delta: float, C: float | None) -> list[Compressor]:
    """Every form of the shipped methods that claims Theorem B."""
    return [
        SiPPDet(nnz=nnz, delta=delta, C=C),
        SiPPRand(nnz=nnz, delta=delta, C=C),
        SiPPRand(nnz=nnz, delta=delta, C=C, rule=Rule.BERNSTEIN),
        SiPPHybrid(nnz=nnz, delta=delta, C=C),
        SiPP(nnz=nnz, delta=delta, C=C),
        SiPPThreshold(nnz=nnz, delta=delta, C=C),
        SiPPThreshold(nnz=nnz, delta=delta, C=C, law=Law.POISSON),
    ]


def outcomes(plan: SamplePlan, weight: np.ndarray, group: int) -> Iterator[tuple[Fraction, dict[int, Fraction]]]:
    """(probability, |weights| by column) for each outcome of one group's law, in rational arithmetic."""
    groups, m, certain = plan.groups, int(plan.draws[group]), plan.certain
    edges = range(groups.indptr[group], groups.indptr[group + 1])
    own = {e: Fraction(abs(float(weight[groups.neuron[group], groups.columns[e]]))) for e in edges}
    kept = {int(groups.columns[e]): own[e] for e in edges if certain[e]}
    rest = [e for e in edges if not certain[e] and plan.sensitivities.values[e] > 0]
    s = [Fraction(float(plan.sensitivities.values[e])) for e in rest]
    if not m or not rest:
        yield Fraction(1), kept
    elif plan.law is Law.MULTINOMIAL:
        q = [v / sum(s) for v in s]
        for drawn in itertools.combinations_with_replacement(range(len(rest)), m):
            counts = [drawn.count(j) for j in range(len(rest))]
            chance = math.prod((p**c for p, c in zip(q, counts, strict=True)), start=Fraction(math.factorial(m)))
            chance /= math.prod(math.factorial(c) for c in counts)
            new = {int(groups.columns[e]): own[e] * c / (m * p) for e, c, p in zip(rest, counts, q, strict=True) if c}
            yield chance, kept | new
    else:
        pi = chances(s, m)
        sets = pivotal_law(pi).items() if plan.law is Law.PIVOTAL else poisson_law(pi)
        for on, chance in sets if plan.law is Law.PIVOTAL else [(tuple(k), c) for k, c in sets]:
            new = {int(groups.columns[e]): own[e] / p for e, p, k in zip(rest, pi, on, strict=True) if k}
            yield chance, kept | new


@dataclass(frozen=True, kw_only=True)
class Mixed(Tiny):
    """A tiny net whose groups follow plans of any law."""

    plans: tuple[SamplePlan, ...]

    def outcomes(self, layer: int, group: int) -> Iterator[tuple[Fraction, dict[int, Fraction]]]:
        """As in `Tiny`, by the plan's law."""
        return outcomes(self.plans[layer], self.net.layers[layer].weight, group)


def symbolic() -> str:
    kept, rest, new, eps, growth = reals("kept rest new eps growth")
    size = (kept >= 0, rest >= 0, new >= 0, eps >= 0)
    z = kept + rest
    prove(z3.And(kept - z <= 0, z - kept <= eps * z), *size, rest <= eps * z)  # nothing drawn, and any error passed on
    prove(z - kept <= z, *size)  # never more than all: eps = 1 needs no premise
    prove(z3.And(new - rest <= growth * z, rest - new <= growth * z), *size, growth >= 1, new <= growth * rest)
    small, q, p, m = reals("small q p m")
    prove(p >= q, q > 0, q <= 1, m >= 1, z3.Or(p == 1, p == m * q))  # pi = min(1, m q) on the rest
    prove(rest / q <= rest / small, small > 0, small <= q, rest >= 0)
    return "z3: kept edges cancel; nothing drawn loses at most all; no law raises a weight above 1/min q"


def exact() -> str:
    return f"{single_rows()}; {nets_of_any_law()}; {plans_keep()}; {bad_points()}"


def single_rows() -> str:
    """The shipped plans of one neuron, all coins: P(error > eps) <= delta/2 at good points; none at all for K = inf."""
    rng, used, failing_, sure = random.Random(4), 0, 0, 0
    for k in range(40):
        weight = np.array([[rng.choice([-2, 1, 1, 2, 3, 5]) for _ in range(5)]], float)
        net = Network(layers=(Layer(weight=weight, bias=np.zeros(1), relu=False),))
        points = np.array([[rng.randint(0, 4) for _ in range(5)] for _ in range(4)], float)
        x = np.array([[rng.randint(0, 4) for _ in range(5)]], float)
        for method in methods(3, 0.9, 2.0 if k % 3 else None):
            plans = method.plan(net, points)
            if float(plans[0].size.max()) > 4:
                continue
            tiny = Mixed(net=net, own=(plans[0].sensitivities,), draws=(), plans=plans)
            known = math.isfinite(plans[0].K)
            if known and _beyond(plans[0], weight, x[0]):
                continue
            allowed = Fraction(float(envelope(net, x, [plans[0].groups], [plans[0].eps])[1][0, 0]))
            point = [Fraction(v) for v in x[0].tolist()]
            z = forward(net, point)[0]
            law = tiny.neuron(0, 0, lambda *_: True)
            require(sum((p for p, _, _ in law), Fraction(0)) == 1, "the outcomes add up to 1")
            rate = sum((p for p, w, _ in law if abs(inner(w, point) - z) > allowed), Fraction(0))
            require(rate <= (Fraction(9, 20) if known else 0), f"{method}: P(fail) = {float(rate)} at {weight}, {x}")
            used, failing_, sure = used + known, failing_ + (rate > 0), sure + (not known)
    require(used > 60 and sure > 40 and failing_ > 3, f"only {used} rows with a known factor, {sure} without")
    return f"{used} rows with all coins, {failing_} can fail, none above delta/2; {sure} with K = inf never fail"


def _beyond(plan: SamplePlan, weight: np.ndarray, a: np.ndarray) -> bool:
    """Whether an edge that is not certain has a share above K s_j, written down anew; never where all may be lost."""
    groups, certain = plan.groups, plan.certain
    for r in range(len(groups)):
        if plan.draws[r] == 0 and plan.eps[r] >= 1:
            continue
        edges = np.arange(groups.indptr[r], groups.indptr[r + 1])
        terms = np.abs(weight[groups.neuron[r], groups.columns[edges]]) * a[groups.columns[edges]]
        limit = plan.K * plan.sensitivities.values[edges] * terms.sum() * (1 + 1e-9)
        if np.any(~certain[edges] & (terms > limit)):
            return True
    return False


def nets_of_any_law() -> str:
    """Tiny nets, two layers, every group by a law drawn at random: P(fail) <= sum of the events, no surprise."""
    rng, used = random.Random(3), 0
    for tiny, x, out, good in cases(60, seed=21):
        plans = []
        for k, own in enumerate(tiny.own):
            live = own.groups.sums((own.values > 0).astype(float)).astype(int)
            top = np.array([rng.randint(0, int(n)) for n in live])
            left = live - top
            size = np.array([rng.randint(0, max(0, int(n) - 1)) for n in left])
            plans.append(
                SamplePlan(
                    layer=k + 2,
                    sensitivities=own,
                    size=size.astype(float),
                    exact=np.zeros(len(top), bool),
                    eps=np.zeros(len(top)),
                    K=1.0,
                    parts=1,
                    condition=math.nan,
                    theorem="",
                    law=rng.choice(list(Law)),
                    top=top,
                )
            )
        mixed = Mixed(net=tiny.net, own=tiny.own, draws=tiny.draws, plans=tuple(plans))
        rows = [(k, r) for k, s in enumerate(tiny.own) for r in range(len(s.groups))]
        bound = sum((mixed.row_failure(*row, good) for row in rows), Fraction(0))
        rate, surprise = mixed.failure(x, out, good)
        require(not surprise, "an output leaves the envelope although no event fails")
        require(rate <= bound, f"P(fail) = {rate} exceeds the sum of the events {bound}")
        used += bound > 0
    require(used >= 20, f"only {used} nets whose events can fail")
    return f"{used} nets of mixed laws: no output fails unless an event does"


def spent(plan: SamplePlan, passes: bool) -> float:
    """What the shipped bounds leave to chance in one layer, all groups and tails; eps of undrawn groups is checked."""
    groups, n, m, total = plan.groups, plan.parts, plan.draws, 0.0
    certain = plan.certain
    left = np.where(certain, 0.0, plan.sensitivities.values)
    rest = groups.sums(left)
    for r in np.flatnonzero(m == 0):
        own = slice(groups.indptr[r], groups.indptr[r + 1])
        lost = sum((Fraction(float(v)) for v in left[own]), Fraction(0)) * Fraction(plan.K)
        require(plan.eps[r] >= min(1, lost), f"eps = {plan.eps[r]} of an undrawn group is below {float(lost)}")
    for r in np.flatnonzero(m > 0):
        own, eps = slice(groups.indptr[r], groups.indptr[r + 1]), float(plan.eps[r])
        if plan.law is Law.MULTINOMIAL:
            bounds = [(n + passes) * float(bernstein_failure(rest[r] / m[r], rest[r], eps, C=plan.K))]
            if not certain[own].any():
                p = np.array(1.0 / (rest[r] * plan.K))
                up, down = upper_rate(p, np.array(eps)), lower_rate(p, np.array(eps))
                bounds.append(float((n + passes) * np.exp(-m[r] * up) + n * np.exp(-m[r] * down)))
            total += 0.0 if eps >= plan.K * rest[r] else min(bounds)
        else:
            found = threshold_probabilities(left[own], np.array([0, own.stop - own.start]), m[[r]])
            total += (n + passes) * float(failure(found.tau, found.rest, eps, C=plan.K)[0])
    return total


def signed_inputs(rng: np.random.Generator, n: int, width: int = 2000) -> np.ndarray:
    return rng.uniform(-1.0, 1.0, (n, width))


def plans_keep() -> str:
    """What the shipped plans spend on coins, on signed inputs: many short rows with errors passed on; few long rows."""
    told = []
    for sizes, nnz, C in (((300, 150, 150), 25_000, 2.0), ((2000, 3, 2), 2_500, 1.0)):
        net, long = random_network(sizes, rng=5), sizes[0] == 2000
        points = signed_inputs(np.random.default_rng(6), 40, sizes[0])
        for method in methods(nnz, 0.2, C):
            plans = method.plan(net, points)
            total = sum(spent(plan, k > 0) for k, plan in enumerate(plans))
            require(total <= 0.1 * (1 + 1e-6), f"{method.name} spends {total}, more than 0.1")
            drawn = any((p.draws > 0).any() for p in plans)
            require(drawn == (total > 0), f"{method.name} draws, and spends {total}")
            require(not long or drawn or method.name == "sipp-det", f"{method.name} must draw from long rows")
            if not long and method.name == "sipp-threshold":
                require(total > 0.099, f"{method.name} spends {total} only")
            told += [f"{method.name} {total:.3f}"] if long and drawn else []
    return f"plans spend of 0.1: {', '.join(told)}"


def bad_points() -> str:
    """What the shipped certificate counts as bad, against the premise written down anew."""
    net = random_network((8, 6, 2), rng=1, positive=True)
    rng = np.random.default_rng(9)
    points, fresh = rng.uniform(0.5, 1.0, (30, 8)), rng.uniform(0.45, 1.05, (300, 8))
    told, spared = [], 0
    for method in methods(40, 0.2, 1.0):
        small = compress(net, method, points, rng=3)
        bad, strict = np.zeros(300, bool), np.zeros(300, bool)
        groups, eps = [p.groups for p in small.plans], [p.eps for p in small.plans]
        passed = envelope(net, fresh, groups, eps)[0]
        for plan, layer, a, e in zip(small.plans, net.layers, net.inputs(fresh), passed, strict=True):
            bad |= [_beyond(plan, layer.weight, v) for v in a]
            nothing = replace(plan, top=np.zeros_like(plan.draws), size=np.ones_like(plan.size))
            strict |= [_beyond(nothing, layer.weight, v) for v in a]
            drawn = np.repeat(plan.draws > 0, plan.groups.edges)
            some = replace(plan, sensitivities=replace(plan.sensitivities, values=plan.sensitivities.values.copy()))
            some.sensitivities.values[~drawn] = 1.0  # only groups with draws ask for the error's shares
            bad |= [_beyond(some, layer.weight, v) for v in e]
        counted = certify(small, fresh).premises[-1].numbers["bad"]
        require(counted == bad.sum(), f"{method.name}: the certificate counts {counted} bad points, not {bad.sum()}")
        told.append(int(bad.sum()))
        spared += int(strict.sum()) > told[-1]
    require(max(told) > 0 and spared > 0, f"bad points {told} tell nothing")
    return f"bad points {told} of 300 as counted"


def monte_carlo(effort: int = 1) -> Evidence:
    net = random_network((2000, 6, 3), rng=5, bias=True)
    points, fresh = signed_inputs(np.random.default_rng(6), 200), signed_inputs(np.random.default_rng(7), 1000)
    lines, trials = [], 0
    for method in methods(9000, 0.2, 1.5):
        small = compress(net, method, points, rng=8)
        promise = certify(small, fresh)
        require(
            promise.sampled_share > 0.5 and promise.met, f"{method.name}: groups must be sampled, the hold-out good"
        )
        require(method.name == "sipp-det" or "coins" in promise.budget, f"{method.name} must draw")
        trial = failing(additive_trial(small), signed_inputs)
        found = judge(trial, delta=0.2, trials=60 * effort, name=f"{method}")
        lines.append(f"{method.name} {found.text}")
        trials += found.trials
    return Evidence(text="2000-6-3, signed weights and inputs, biases: " + "; ".join(lines), trials=trials)


def tighter(small: Compression, factor: float) -> Compression:
    """The same plans with every eps divided by a factor."""
    return replace(
        small, coresets=tuple(replace(c, plan=replace(c.plan, eps=c.plan.eps / factor)) for c in small.coresets)
    )


def teeth() -> Evidence:
    net = random_network((2000, 1), rng=1, positive=True)
    points, slacks = sparse_inputs(np.random.default_rng(2), 300), []
    for method in methods(1000, 0.1, 1.25):
        small = compress(net, method, points, rng=3)
        require(method.name == "sipp-det" or (small.plans[0].draws > 0).any(), f"{method.name} must draw")

        def caught(factor: float, small: Compression = small) -> bool:
            trial = failing(additive_trial(tighter(small, factor)), sparse_inputs)
            return violated(trial, delta=0.1, trials=60, name="Theorem B by other laws")

        slacks.append((smallest_sabotage(caught, (2, 3, 4, 6, 8, 12, 16)), method.name))
    dead = Network(layers=(Layer(weight=np.array([[1.0, 1.0, 2.0]]), bias=np.zeros(1), relu=False),))
    small = compress(dead, SiPPDet(nnz=2, C=1.0), np.array([[1.0, 2.0, 0.0], [2.0, 1.0, 0.0]]), rng=0)
    require(small.plans[0].eps[0] == 0.0, "an edge that no point activates costs nothing")
    seen = certify(small, np.array([[1.0, 1.0, 1.0]])).premises[-1].numbers["bad"]
    require(seen == 1, "a point that activates a dropped edge with s = 0 must be bad")
    largest = max(slacks)[0]
    each = ", ".join(f"{name} {slack:g}" for slack, name in slacks)
    return Evidence(text=f"violated when eps is divided by: {each}; a dead edge that wakes up is bad", slack=largest)
