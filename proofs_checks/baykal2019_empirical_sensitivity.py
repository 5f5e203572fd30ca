"""Empirical sensitivities: the shipped ones obey the definition, and the maximum over a sample covers a fresh point.

Proof. s_j <= M/K iff every one of n i.i.d. points has g_j <= M/K, which has probability F_j(M/K)^n; under Assumption 1
this is at most e^(-n/K'), and at most delta/(8 eta eta*) at n = K' ln(8 eta eta*/delta). Otherwise K s_j > M >= g_j(x)
for almost every x. Without any assumption: of n + 1 exchangeable points at most one exceeds all others, and the fresh
one is it with probability at most 1/(n+1). Shares sum to 1, hence 1 <= S = sum_j max_x g_j <= min(|W|, n).
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab.nets.groups import side_sums
from boundlab.nets.importance import exceeds, sensitivities
from boundlab.network import Layer
from boundlab.records import Sensitivities
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage, violated

THEOREM = Theorem(
    name="Empirical sensitivity",
    source="Baykal et al. 2019, arXiv:1804.05345; item number not known to us",
    given=("activations >= 0", "n calibration points and the fresh one i.i.d., independent of the net"),
    claim=r"\Pr[s_j \le M_j/K] = F_j(M_j/K)^n, \quad \Pr[g_j(x) > s_j] \le 1/(n+1), \quad 1 \le S \le \min(|W|, n)",
    status="holds",
)

MUTATIONS = (
    Mutation(file="nets/importance.py", old="row[j] = share if share > row[j] else row[j]", new="row[j] = share"),
    Mutation(
        file="nets/importance.py",
        old="_max_times(np.ascontiguousarray(a), _inverse(plus), _inverse(minus)",
        new="_max_times(np.ascontiguousarray(a), _inverse(plus + minus), _inverse(plus + minus)",
    ),
    Mutation(
        file="nets/importance.py",
        old="hit |= share > limit[i, j] * total",
        new="hit |= share > 2.0 * limit[i, j] * total",
    ),
)

SLUG = "baykal2019_empirical_sensitivity"
Shares = dict[tuple[int, int], list[Fraction]]  # (neuron, column) -> the share at each point


def layer(weight: np.ndarray) -> Layer:
    return Layer(weight=weight, bias=np.zeros(len(weight)), relu=True)


def shares(weight: np.ndarray, a: np.ndarray) -> Shares:
    """The definition, in fractions: integers in; 0/0 := 0."""
    found: Shares = {}
    for i, j in zip(*np.nonzero(weight), strict=True):
        same = np.flatnonzero(np.sign(weight[i]) == np.sign(weight[i, j]))
        own: list[Fraction] = []
        for x in a:
            total = sum(abs(int(weight[i, k])) * int(x[k]) for k in same)
            own.append(Fraction(abs(int(weight[i, j])) * int(x[j]), total) if total else Fraction(0))
        found[int(i), int(j)] = own
    return found


def by_edge(s: Sensitivities) -> dict[tuple[int, int], float]:
    """Shipped sensitivities by (neuron, column)."""
    neurons = s.groups.spread(s.groups.neuron)
    return {(int(i), int(j)): float(v) for i, j, v in zip(neurons, s.groups.columns, s.values, strict=True)}


def mismatch(s: Sensitivities, truth: Shares) -> float:
    """Largest relative gap between sensitivities and the definition; inf where an edge is missing or a zero is not."""
    got = by_edge(s)
    if set(got) != set(truth):
        return float("inf")
    gaps = [0.0]
    for edge, own in truth.items():
        want = max(own)
        gaps.append(abs(float(Fraction(got[edge]) / want - 1)) if want else (float("inf") if got[edge] else 0.0))
    return max(gaps)


def tiny(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A small integer layer with zeros of weight and of activation, and one to four points."""
    out, width, points = (int(v) for v in rng.integers(1, 5, size=3))
    return rng.integers(-4, 5, size=(out, width)), rng.integers(0, 4, size=(points, width))


def symbolic() -> str:
    n, K, L = sp.symbols("n K L", positive=True)
    require(sp.simplify(sp.exp(-n / K).subs(n, K * sp.log(L)) - 1 / L) == 0, "e^(-n/K') = 1/L at n = K' ln L")
    require(sp.diff(sp.exp(-n / K), n).is_negative, "more points only help")
    t, M = sp.symbols("t M", positive=True)
    F = sp.integrate(1 / M, (t, 0, M / K))
    require(sp.simplify(F - 1 / K) == 0, "uniform shares: F(M/K) = 1/K")
    require(sp.simplify(sp.exp(-1 / (1 / sp.log(K))) - 1 / K) == 0, "K' = 1/ln K is what uniform shares have")
    g = sp.symbols("g1:4", nonnegative=True)
    require(sp.simplify(sp.Add(*[v / sp.Add(*g) for v in g]) - 1) == 0, "shares sum to 1")
    return "F^n <= e^(-n/K') = delta/(8 eta eta*) at n = K' ln(8 eta eta*/delta); uniform shares have K' = 1/ln K"


def exact() -> str:
    rng = np.random.default_rng(70)
    worst, edges = 0.0, 0
    for _ in range(100):
        w, a = tiny(rng)
        if not w.any():
            continue
        truth, s = shares(w, a), sensitivities(layer(w), [a.astype(float)], theorem=SLUG)
        worst, edges = max(worst, mismatch(s, truth)), edges + len(truth)
        for r, total in enumerate(s.total):
            count, own = s.groups.edges[r], s.groups
            rows = [truth[int(own.neuron[r]), int(j)] for j in own.columns[own.indptr[r] : own.indptr[r + 1]]]
            sums = {sum(column) for column in zip(*rows, strict=True)}
            require(sums <= {Fraction(0), Fraction(1)}, f"shares sum to {sums}")
            low = 1.0 if Fraction(1) in sums else 0.0
            require(low - 1e-15 <= total <= min(count, len(a)) * (1 + 1e-15), f"S = {total} of {count} edges")
        # each point in turn is the fresh one: an edge is exceeded by at most one of them
        for own in truth.values():
            beaten = sum(own[k] > max([*own[:k], *own[k + 1 :]], default=Fraction(1)) for k in range(len(own)))
            require(beaten <= 1, f"{beaten} of {len(own)} points exceed all others")
    require(worst < 1e-15, f"a sensitivity is off by {worst}")
    # two edges, a_2 = 1: the share of the first is a/(a + 1) with a in {0, 1, 3}; every sample of n points
    support, n, K = {0: Fraction(1, 2), 1: Fraction(1, 3), 3: Fraction(1, 6)}, 4, Fraction(2)
    rare = Fraction(0)
    for sample in itertools.product(support, repeat=n):
        a = np.array([[v, 1] for v in sample], float)
        s = by_edge(sensitivities(layer(np.ones((1, 2))), [a], theorem=SLUG))[0, 0]
        if s <= float(Fraction(3, 4) / K):
            p = Fraction(1)
            for v in sample:
                p *= support[v]
            rare += p
    require(rare == support[0] ** n, f"P(s <= M/K) must be F(M/K)^n = {support[0] ** n}, it is {rare}")
    return f"{edges} sensitivities within {worst:.0e} of fractions, each beaten at most once; P(s <= M/K) = F^{n}"


def dense(w: np.ndarray, a: np.ndarray) -> np.ndarray:
    """Brute force over a (points, out, in) tensor."""
    best = np.zeros_like(w)
    for side in (w > 0, w < 0):
        part = np.abs(w) * side * a[:, None, :]
        total = part.sum(axis=2, keepdims=True)
        best = np.maximum(best, np.divide(part, total, out=np.zeros_like(part), where=total > 0).max(axis=0))
    return best


def fresh_exceeds(points: int, *, share: float = 1.0):
    """A trial: a fresh point's share exceeds the shipped s of one edge, taken over `share` of the points.

    A row of two edges with inputs of its own is one trial, two hundred of them make a layer.
    """
    rows, used = 200, math.ceil(share * points)
    many = layer(np.kron(np.eye(rows), np.ones(2)))

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        found = np.empty(0, bool)
        while len(found) < n:
            a = rng.pareto(1.2, size=(used + 1, 2 * rows))
            s = sensitivities(many, [a[:used]], theorem=SLUG)
            fresh = sensitivities(many, [a[-1:]], theorem=SLUG)  # of one point: its shares
            found = np.concatenate([found, fresh.values[::2] > s.values[::2]])
        return found[:n]

    return trial


ROOM, K_PRIME, LOSS = 2.0, 1.6, 0.05  # uniform shares: F(M/2) = 1/2 <= e^(-1/1.6) = 0.535
ADVERTISED = math.ceil(K_PRIME * math.log(1 / LOSS))


def too_low(points: int):
    """A trial: the shipped s of an edge whose share is uniform on (0, 1) stays at or below M/K = 1/2."""
    rows = 200
    many = layer(np.kron(np.eye(rows), np.ones(2)))

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        found = np.empty(0, bool)
        while len(found) < n:
            u = rng.random((points, rows))
            a = np.stack([u, 1 - u], axis=2).reshape(points, -1)
            found = np.concatenate([found, sensitivities(many, [a], theorem=SLUG).values[::2] <= 1 / ROOM])
        return found[:n]

    return trial


def brute_force() -> float:
    """The largest gap between the kernels and a plain tensor, on layers of random shapes."""
    rng, worst = np.random.default_rng(71), 0.0
    for points, out, width in ((1, 3, 5), (63, 20, 30), (65, 9, 40), (200, 17, 33)):
        w = rng.normal(size=(out, width)) * (rng.random((out, width)) < 0.8)
        a = rng.pareto(2, size=(points, width)) * (rng.random((points, width)) < 0.5)
        s = sensitivities(layer(w), [a], theorem=SLUG)
        want = s.groups.take(dense(w, a))
        require(np.allclose(s.values, want, rtol=1e-12, atol=0), "the kernel disagrees with brute force")
        worst = max(worst, float(np.abs(s.values - want).max()))
        fresh = rng.pareto(2, size=(50, width))
        plus, minus = side_sums(layer(w).weight, fresh)
        limit = np.zeros_like(w)
        limit[s.groups.spread(s.groups.neuron), s.groups.columns] = s.values
        totals = np.where(w > 0, plus[:, :, None], minus[:, :, None])
        broken = (np.abs(w) * fresh[:, None, :] > 2 * (1 + 1e-10) * limit * totals).any(axis=(1, 2))
        got = exceeds(layer(w), fresh, s, 2.0, np.zeros(len(s.groups), bool))
        require(np.array_equal(got, broken), "exceeds disagrees with brute force")
    return worst


def monte_carlo(effort: int = 1) -> Evidence:
    worst = brute_force()
    low = judge(too_low(ADVERTISED), delta=LOSS, trials=8_000 * effort, name="s <= M/2")
    beaten = judge(
        fresh_exceeds(9), delta=0.1, trials=3_000 * effort, name="a fresh point beats nine", expect="not violated"
    )
    text = (
        f"kernels within {worst:.0e} of brute force; s <= M/2 at n = {ADVERTISED}: {low.text}; a fresh share "
        f"above all of 9 (exactly 1/10): {beaten.text}"
    )
    return Evidence(text=text, trials=low.trials + beaten.trials)


def teeth() -> Evidence:
    rng = np.random.default_rng(73)
    w, a = np.array([[1, 2, 3, -1]]), rng.integers(1, 5, size=(6, 4))
    truth, s = shares(w, a), sensitivities(layer(w), [a.astype(float)], theorem=SLUG)
    both = np.abs(w) * a / (np.abs(w) * a).sum(axis=1, keepdims=True)  # signs mixed up
    mean = [float(sum(own, Fraction(0)) / len(own)) for own in truth.values()]
    sabotaged = {"signs mixed": both.max(axis=0), "mean for max": np.array(mean), "a point left out": None}
    for name, values in sabotaged.items():
        if values is None:
            last = truth[0, 0].index(max(truth[0, 0]))
            other = sensitivities(layer(w), [np.delete(a, last, axis=0).astype(float)], theorem=SLUG)
        else:
            other = Sensitivities(values=values, groups=s.groups, points=6, theorem=SLUG)
        require(mismatch(other, truth) > 1e-3, f"{name} was not caught")

    def caught(factor: float) -> bool:
        fewer = fresh_exceeds(30, share=1 / factor)
        return violated(fewer, delta=1 / 31, trials=2_400, name=f"30 points divided by {factor}")

    slack = smallest_sabotage(caught, factors=(2, 2.5, 3, 4))
    few = too_low(ADVERTISED - 2)
    require(violated(few, delta=LOSS, trials=2_000, name="two points fewer"), "two points fewer were not caught")
    text = f"refuted: {', '.join(sabotaged)}; 30 points divided by {slack:g}; {ADVERTISED - 2} points for {ADVERTISED}"
    return Evidence(text=text, slack=slack)
