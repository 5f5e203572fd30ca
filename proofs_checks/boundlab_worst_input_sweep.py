"""The largest deviation of a reweighted ReLU layer on a disc is found exactly by a sweep over its angles, and it lies
between projected gradient ascent and a certified bound in every dimension.

Statement. D(x) = sum_p c_p ReLU(<p, x>) on the ball |x| <= r. (a) In the plane sup D is the largest of 0, of D at the
directions orthogonal to the points, and of r |g| over the gradients g of those arcs between them into which g points;
inf D likewise with -|g|; on its quarter x >= 0 the two axes are ends, too. (b) In every dimension, with N = sum of
c_p |p| and B = sqrt(N lambda_max(sum of c_p p p^T/|p|)) over the positive c_p (N+, B+) and over the -c_p of the
negative ones (N-, B-), |D| <= r max(N+, N-), |D| <= (r/2)(|sum_p c_p p| + max(B+, B-)), and B± <= N±.

Proof of (a). D is homogeneous, D(s x) = s D(x) for s >= 0, so that its extremes lie on the sphere, or are D(0) = 0.
The lines orthogonal to the points cut the circle into arcs of at most half a turn; on an arc no neuron switches, and
D(x) = <g, x> with g = sum of c_p p over the active ones. With |x| = r and the angle a between g and x this is
r |g| cos a, which rises to r |g| at a = 0 and falls on both sides: its maximum on the arc is there if a = 0 belongs to
the arc, else at an end. Neighbouring arcs differ by one term of g, since crossing the line of p toggles p only.

Proof of (b). Positive and negative terms have opposite signs: -sum of |c_p| ReLU over the negative ones <= D <= sum of
c_p ReLU over the positive ones, and ReLU(<p, x>) <= r |p|. For the second form ReLU(u) = u/2 + |u|/2: the linear halves
add up to <sum c_p p, x>/2, at most (r/2)|sum c_p p|. The sum of c_p |<p, x>| lies between minus the sum over the
negative and the sum over the positive ones; by Cauchy and Schwarz
(sum c_p |<p, x>|)² <= (sum c_p |p|)(sum c_p <p, x>²/|p|) <= N r² lambda_max = (r B)². And lambda_max is at most the
trace, which is N.

Ascent evaluates |D| at points of the ball only: it cannot exceed the supremum, and nothing more is claimed for it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab.coresets.worst_input import ascent_lower, ball_upper, plane_range, plane_sup
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage

THEOREM = Theorem(
    name="The worst input of a reweighted ReLU layer",
    source="ours",
    given=("ReLU neurons without bias, or with the bias as one more input", "the ball |x| <= r", "the plane for (a)"),
    claim=r"\sup_{|x|\le r}|D(x)| = r\max_{\mathrm{arcs}}|g|\ \mathrm{or\ at\ an\ end};\quad "
    r"\mathrm{ascent} \le \sup|D| \le r\min\{\max N_\pm,\ \tfrac12(|\textstyle\sum c_p p| + \max B_\pm)\}",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="coresets/worst_input.py",
        old="np.where((left >= 0) & (right >= 0), length, 0.0)",
        new="np.where((left >= 0) & (right >= 0), 0.0, 0.0)",
    ),
    Mutation(
        file="coresets/worst_input.py",
        old="split = 0.5 * (float(np.linalg.norm(c @ p)) + max(spectral for _, spectral in sides))",
        new="split = 0.5 * (float(np.linalg.norm(c @ p)) + min(spectral for _, spectral in sides))",
    ),
    Mutation(
        file="coresets/worst_input.py",
        old="(on == 0.0) | ((on > off) & (off > 0.0))",
        new="on > off",
    ),
    Mutation(
        file="coresets/worst_input.py",
        old="return radius * (min(plain, split) + float(_slack(p, c)))",
        new="return min(plain, split) + float(_slack(p, c))",
    ),
    Mutation(
        file="coresets/worst_input.py",
        old="stop = 0.5 * np.pi if nonnegative",
        new="stop = 0.4 * np.pi if nonnegative",
    ),
)

Point = tuple[int, int]
Row = Sequence[Fraction | int]


def dot(p: Point, x: tuple[Fraction | int, Fraction | int]) -> Fraction | int:
    return p[0] * x[0] + p[1] * x[1]


def gradient(points: Sequence[Point], c: Row, on: Sequence[bool]) -> tuple[Fraction, Fraction]:
    """The gradient of D where the neurons `on` are active."""
    active = [(w, p) for w, p, a in zip(c, points, on, strict=True) if a]
    return sum((Fraction(w) * p[0] for w, p in active), Fraction(0)), sum(
        (Fraction(w) * p[1] for w, p in active), Fraction(0)
    )


def candidates(points: Sequence[Point], c: Row) -> list[tuple[Fraction, Fraction]]:
    """Directions among which the extremes of D lie: both ends of every line of a switch, ± the gradients beside it."""
    found: list[tuple[Fraction, Fraction]] = []
    for p in points:
        for u in ((-p[1], p[0]), (p[1], -p[0])):
            found.append((Fraction(u[0]), Fraction(u[1])))
            for turn in ((-u[1], u[0]), (u[1], -u[0])):  # a step from u to either side, smaller than any number
                on = [dot(q, u) > 0 or (dot(q, u) == 0 and dot(q, turn) > 0) for q in points]
                g = gradient(points, c, on)
                found += [g, (-g[0], -g[1])]
    return [u for u in found if u != (0, 0)]


def exact_squares(points: Sequence[Point], c: Row, *, nonnegative: bool = False) -> tuple[Fraction, Fraction]:
    """(inf D)² and (sup D)² on the unit disc or its quarter x >= 0, as rationals: the extremes among the candidates."""
    low = high = Fraction(0)
    axes = [(Fraction(1), Fraction(0)), (Fraction(0), Fraction(1))]
    turns = [(-q[1], q[0]) for q in axes] if nonnegative else []
    for u in [*candidates([*points, *((int(a), int(b)) for a, b in turns)], [*c, *(0 for _ in turns)]), *axes]:
        if nonnegative and min(u) < 0:
            continue
        value = sum((Fraction(w) * max(0, dot(p, u)) for w, p in zip(c, points, strict=True)), Fraction(0))
        square = value * value / (u[0] * u[0] + u[1] * u[1])
        low, high = (max(low, square), high) if value < 0 else (low, max(high, square))
    return low, high


def integer_layer(rng: np.random.Generator) -> tuple[list[Point], list[int]]:
    """A few points with small whole entries, repeated, opposite and zero ones included."""
    n = int(rng.integers(1, 7))
    points = [(int(a), int(b)) for a, b in rng.integers(-2, 3, (n, 2))]
    return points, [int(v) for v in rng.integers(-3, 4, n)]


def random_layers(rng: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
    return rng.standard_normal((12, 2)), rng.standard_normal((rows, 12))


def symbolic() -> str:
    gx, gy, x, y = sp.symbols("g_x g_y x y", real=True)
    square = (gx**2 + gy**2) * (x**2 + y**2) - (gx * x + gy * y) ** 2
    require(sp.expand(square - (gx * y - gy * x) ** 2) == 0, "|g|²|x|² - <g,x>² must be the squared cross product")
    c = sp.symbols("c1:4", nonnegative=True)
    v = sp.symbols("v1:4", real=True)  # c_i stands for c_i |p_i|, v_i for |<p_i, x>|/|p_i|
    total = sum(ci for ci in c)
    moment = sum(ci * vi**2 for ci, vi in zip(c, v, strict=True))
    mean = sum(ci * vi for ci, vi in zip(c, v, strict=True))
    pairs = sum(c[i] * c[j] * (v[i] - v[j]) ** 2 for i, j in itertools.combinations(range(3), 2))
    require(sp.expand(total * moment - mean**2 - pairs) == 0, "Lagrange: N M - (sum)² must be a sum of squares")
    u = sp.symbols("u", real=True)
    for sign in (1, -1):
        side = sp.Symbol("s", positive=True)
        require(sp.simplify((u / 2 + sp.Abs(u) / 2 - sp.Max(0, u)).subs(u, sign * side)) == 0, "ReLU = u/2 + |u|/2")
    return "<g,x> <= |g||x| with equality on g's ray; N M - (sum)² = sum of c_i c_j (v_i - v_j)²; ReLU = u/2 + |u|/2"


def exact() -> str:
    rng, layers, largest = np.random.default_rng(50), 60, 0.0
    for k in range(layers):
        points, c = integer_layer(rng)
        p, row = np.array(points, float), np.array(c, float)
        below, above = exact_squares(points, c)
        low, high = plane_range(p, row[None])
        for got, want in ((-float(low[0]), below), (float(high[0]), above)):
            require(Fraction(got) ** 2 >= want, f"{got}² is below the exact {want}: {points}, {c}")
            require(got * got <= float(want) * (1 + 1e-12) + 1e-22, f"{got}² is above the exact {want}: {points}, {c}")
        for got, want in zip(plane_range(p, row[None], 3.0), (low, high), strict=True):
            require(abs(float(got[0] - 3 * want[0])) <= 1e-12 * abs(float(got[0])), "a radius of 3 must give 3 times")
        quarter = float(plane_sup(p, row[None], nonnegative=True)[0])
        inside = max(exact_squares(points, c, nonnegative=True))
        require(Fraction(quarter) ** 2 >= inside, f"x >= 0: {quarter}² is below the exact {inside}: {points}, {c}")
        require(quarter**2 <= float(inside) * (1 + 1e-12) + 1e-22, f"x >= 0: {quarter}² is above the exact {inside}")
        square = max(below, above)
        upper = ball_upper(p, row)
        require(Fraction(ball_upper(p, row, 3.0)) ** 2 >= 9 * square, "a radius of 3 must give at least 3 times")
        require(Fraction(upper) ** 2 >= square, f"upper bound {upper} is below the exact sqrt({square})")
        if k < 20:
            lower = ascent_lower(p, row, rng=rng, starts=4, steps=10)
            require(Fraction(lower) ** 2 <= square, f"lower bound {lower} is above the exact sqrt({square})")
            largest = max(largest, upper / lower if lower else 1.0)
    return (
        f"{layers} layers of whole numbers: sweep = enumeration over all arcs in fractions, and below every certified "
        f"bound; upper/ascent up to {largest:.2f} in 20"
    )


def escapes(share: float):
    """A trial: |D| at one of 400 directions exceeds `share` of the sweep's supremum, or that the certified bound."""

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        p, c = random_layers(rng, n)
        angle = np.append(rng.uniform(0, 2 * np.pi, 400), np.arctan2(p[:, 0], -p[:, 1]))
        seen = np.abs(c @ np.maximum(p @ np.stack([np.cos(angle), np.sin(angle)]), 0.0)).max(axis=1)
        sup = share * plane_sup(p, c)
        upper = np.array([ball_upper(p, row) for row in c])
        return (seen > sup) | (sup > upper)

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    return judge(escapes(1.0), delta=0.01, trials=1_000 * effort, name="random layers, sweep and certified bound")


def teeth() -> Evidence:
    rng = np.random.default_rng(51)
    layers = [integer_layer(rng) for _ in range(30)]

    def caught(factor: float) -> bool:
        lost = [
            Fraction(float(plane_sup(np.array(p, float), np.array([c], float))[0]) / factor) ** 2
            < max(exact_squares(p, c))
            for p, c in layers
        ]
        return any(lost)

    slack = smallest_sabotage(caught)
    shrunk = escapes(0.98)(np.random.default_rng(52), 200)
    require(np.any(shrunk), "a supremum 2% too small must be caught on the grid")
    ends_only = 0  # the sweep without the gradients inside the arcs
    for p, c in layers:
        ends = [u for q in p for u in ((-q[1], q[0]), (q[1], -q[0])) if u != (0, 0)]
        best = max(
            (
                Fraction(sum(w * max(0, int(dot(q, u))) for w, q in zip(c, p, strict=True))) ** 2
                / Fraction(u[0] * u[0] + u[1] * u[1])
                for u in ends
            ),
            default=Fraction(0),
        )
        ends_only += best < max(exact_squares(p, c))
    require(ends_only > 0, "a sweep over the arcs' ends alone must be caught")
    text = f"refuted: supremum divided by {slack:g} (exact), x 0.98 (grid), ends of arcs only (in {ends_only} of 30)"
    return Evidence(text=text, slack=slack)
