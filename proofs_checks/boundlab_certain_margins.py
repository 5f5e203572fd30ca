"""Margins in exact arithmetic, bounded from floats: what a count of errors may rest on.

Statement. Let every sum of k products be computed in float64, in any order, with or without fused operations, to
nearest. If `certain_margins` is above 0 at a point, the chain's outputs in exact arithmetic, on the float64 numbers of
its weights and of the point, have f_y > f_j for all j != y.

Proof. u = 2^-53, gamma_k = k u/(1 - k u). A product of k factors 1 + d_i, |d_i| <= u, lies in 1 +- gamma_k (Higham,
lemma 3.1: by induction, (1 + gamma_k)(1 + u) <= 1 + gamma_(k+1)), and gamma_k <= k u (1 + 2^-20) for k u <= 2^-21. In a
sum of d products and a bias each term passes at most d + 1 roundings, in whatever order: the computed row is off by
gamma_(d+1) (|W| |a| + |b|) from the exact one on the computed inputs a, and that by |W| e from the one on the exact
inputs, where |a - a*| <= e. Means of s^2 numbers: s^2 roundings. f a + c: two, and a power of 2 is exact. max(., 0),
and the maximum over a window, move by at most the largest move: max x_i - max y_i <= max (x_i - y_i). What underflows
is lost below 2^-1074 a time: e is 2^-1000 or more from the start, before any weight can enlarge what was lost. The
bound itself is a sum of products of numbers >= 0 in float64, low by a factor of at most 1 - gamma_(d+6): (1 + 2^-20)
makes up for it. The margin f_y - f_j - (e_y + e_j) takes four roundings, each at most u (1 + u) times what it rounds: 4
u (|f_y| + |f_j|) and some of e, which 2^-20 e is more than.
An operation whose result is no finite number has no bound: its e is inf from there on, so that a maximum, which would
turn -inf into 0, hides nothing; an e of inf or NaN leaves the margin -inf.
Every bound of an operation grows with each |a| and each e: from the largest |a| of each entry over a block of points it
bounds the errors of all of them, which is how a count begins.
A tie in exact arithmetic has margin 0, which no lower bound above 0 can have. Whoever sums in another order may leave
other points open, never decide one against another.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp

from boundlab.nets.feedforward import (
    AveragePool,
    Convolution,
    FeedForward,
    Linear,
    MaxPool,
    Op,
    Relu,
    Rescale,
    Reshape,
)
from boundlab.network import Layer
from proofs_checks import Evidence, Mutation, Theorem, not_applicable, require
from proofs_checks.judging import smallest_sabotage
from proofs_checks.proving import prove, reals

THEOREM = Theorem(
    name="Margins of a chain in exact arithmetic, bounded from floats",
    source="ours; running error analysis with gamma_k of Higham, Accuracy and Stability of Numerical Algorithms "
    "(2002), lemma 3.1, as we understand the book",
    given=(
        "IEEE float64, to nearest, with gradual underflow",
        "sums of products in any order, not by a fast matrix product",
        "rows of fewer than 2^32 weights",
    ),
    claim=r"\text{certain margin} > 0 \Rightarrow f_y > \max_{j \ne y} f_j \text{ in exact arithmetic}",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="nets/feedforward.py",
        old="return ((e + g * np.abs(a)) @ weight.T + g * bias) * _SAFE + _TINY",
        new="return (e @ weight.T + g * bias) * _SAFE + _TINY",
    ),
    Mutation(
        file="nets/feedforward.py",
        old="return ((e + g * np.abs(a)) @ weight.T + g * bias) * _SAFE + _TINY",
        new="return (g * np.abs(a) @ weight.T + g * bias) * _SAFE + _TINY",
    ),
    Mutation(
        file="nets/feedforward.py",
        old="return ((e + g * np.abs(a)) @ weight.T + g * bias) * _SAFE + _TINY",
        new="return ((e + g * np.abs(a)) @ weight.T) * _SAFE + _TINY",
    ),
    Mutation(
        file="nets/feedforward.py",
        old="return _sums(self.reads(a), self.reads(e), np.abs(self.layer.weight), np.abs(self.layer.bias))",
        new="return _sums(self.reads(a), self.reads(e), self.layer.weight, np.abs(self.layer.bias))",
    ),
    Mutation(
        file="nets/feedforward.py",
        old="found = _sums(self._windows(a), self._windows(e), np.abs(self.layer.weight), np.abs(self.layer.bias))",
        new="found = _sums(self._windows(a), self._windows(e), self.layer.weight, np.abs(self.layer.bias))",
    ),
    Mutation(
        file="nets/feedforward.py",
        old='"""No more than before: it moves no two numbers apart."""\n        return e',
        new='"""No more than before: it moves no two numbers apart."""\n        return 0.2 * e',
    ),
    Mutation(
        file="nets/feedforward.py",
        old="return self(e + _unit(self.size**2 + 1) * np.abs(a)) * _SAFE + _TINY",
        new="return self(e) * _SAFE + _TINY",
    ),
    Mutation(
        file="nets/feedforward.py",
        old='"""The largest error in the window."""\n        return self(e)',
        new='"""The largest error in the window."""\n        return -self(-e)',
    ),
    Mutation(
        file="nets/feedforward.py",
        old="found = abs(self.factor) * (e + _unit(2) * np.abs(a)) + _unit(2) * abs(self.offset)",
        new="found = (e + _unit(2) * np.abs(a)) + _unit(2) * abs(self.offset)",
    ),
    Mutation(
        file="nets/feedforward.py",
        old="found = abs(self.factor) * (e + _unit(2) * np.abs(a)) + _unit(2) * abs(self.offset)",
        new="found = abs(self.factor) * e",
    ),
    Mutation(
        file="nets/feedforward.py",
        old="e = np.full_like(sizes(a), _TINY)",
        new="e = np.zeros_like(sizes(a))",
    ),
    Mutation(
        file="nets/feedforward.py",
        old="e = np.where(np.isfinite(sizes(a)), e, np.inf)",
        new="pass",
    ),
    Mutation(
        file="nets/feedforward.py",
        old="gap = f[at, y][:, None] - f - (e[at, y][:, None] + e) * _SAFE - _TINY",
        new="gap = f[at, y][:, None] - f - e * _SAFE - _TINY",
    ),
    Mutation(
        file="nets/feedforward.py",
        old="gap = f[at, y][:, None] - f - (e[at, y][:, None] + e) * _SAFE - _TINY",
        new="gap = f[at, y][:, None] - f - _TINY",
    ),
    Mutation(
        file="nets/feedforward.py",
        old="return np.abs(a).max(axis=0, keepdims=True) if together else a",
        new="return np.abs(a).min(axis=0, keepdims=True) if together else a",
    ),
    Mutation(
        file="nets/feedforward.py",
        old="np.where(np.isnan(gap), -np.inf, gap).min(axis=1)",
        new="np.where(np.isnan(gap), np.inf, gap).min(axis=1)",
    ),
)

U = Fraction(1, 2**53)


@dataclass(frozen=True, kw_only=True, eq=False)
class Plain:
    """Weights and biases on no codebook."""

    weight: np.ndarray
    bias: np.ndarray


def symbolic() -> str:
    k, u = sp.symbols("k u", positive=True)
    gamma = k * u / (1 - k * u)
    step = gamma.subs(k, k + 1) - ((1 + gamma) * (1 + u) - 1)
    factored = (k + 1) * u**2 / ((1 - k * u) * (1 - (k + 1) * u))
    require(sp.simplify(step - factored) == 0, "(1 + gamma_k)(1 + u) <= 1 + gamma_(k+1) for (k + 1) u < 1")
    ku, low, d = reals("ku low d")
    prove((1 - low) * (1 - d) >= 1 - low - d, low >= 0, d >= 0)  # below: (1 - u)^k >= 1 - k u, by induction
    prove(ku <= ku * (1 + Fraction(1, 2**20)) * (1 - ku), ku >= 0, ku <= Fraction(1, 2**21))
    w, a, exact, e = reals("w a exact e")
    size = [e >= 0, a - exact <= e, exact - a <= e]
    prove(w * a - w * exact <= w * e, w >= 0, *size)  # |w| e for one term; a sum of terms adds up
    prove(w * exact - w * a <= w * e, w >= 0, *size)
    x1, x2, y1, y2 = reals("x1 x2 y1 y2")
    near = [x1 - y1 <= e, y1 - x1 <= e, x2 - y2 <= e, y2 - x2 <= e]
    prove(x1 - y1 <= e, x1 >= x2, y1 >= y2, *near)  # the maxima at the same place
    prove(x1 - y2 <= e, x1 >= x2, y2 >= y1, *near)  # and at different places
    margin()
    return "gamma_k by induction; maxima move by at most e; four roundings of the margin, by z3"


def margin() -> None:
    """Whatever the roundings, the shipped margin is at most the exact one: linear in what each rounding may do."""
    fy, fj, Fy, Fj, ey, ej, s, s1, s2, s3, c, out = reals("fy fj Fy Fj ey ej s s1 s2 s3 c out")
    absy, absj = reals("absy absj")
    tiny, safe = Fraction(1, 2**1000), Fraction(1, 2**20)

    def near(computed: Any, true: Any, share: Fraction = U) -> list[Any]:
        """|computed - true| <= share |true|, for either sign."""
        return [
            (computed - true <= share * true) | (computed - true <= -share * true),
            (true - computed <= share * true) | (true - computed <= -share * true),
        ]

    rules = [ey >= 0, ej >= 0, Fy - fy <= ey, fy - Fy <= ey, Fj - fj <= ej, fj - Fj <= ej]
    rules += [(absy == fy) | (absy == -fy), absy >= fy, absy >= -fy]
    rules += [(absj == fj) | (absj == -fj), absj >= fj, absj >= -fj]
    rules += near(s, fy - fj)
    rules += [s1 >= (ey + ej) * (1 + safe) * (1 - 3 * U), s1 <= (ey + ej) * (1 + safe) * (1 + 3 * U)]
    rules += near(s2, s - s1) + near(s3, s2 - tiny)
    rules += [c >= 4 * U * (1 + safe) * (absy + absj + ej) * (1 - 4 * U)]
    rules += [c <= 4 * U * (1 + safe) * (absy + absj + ej) * (1 + 4 * U)]
    rules += near(out, s3 - c)
    prove(out <= Fy - Fj, *rules, seconds=60)


def exactly(net: FeedForward, x: np.ndarray) -> list[Any]:
    """The outputs of one point after each operation, in fractions: nested lists."""
    a: Any = [Fraction(float(v)) for v in x]
    found = []
    for op in net.ops:
        a = _after(op, a)
        found.append(a)
    return found


def _after(op: Op, a: Any) -> Any:
    if isinstance(op, Linear):
        flat = list(_flat(a))
        return [_row(w, b, flat) for w, b in zip(op.layer.weight, op.layer.bias, strict=True)]
    if isinstance(op, Convolution):
        rows = zip(op.layer.weight, op.layer.bias, strict=True)
        return [_slide(a, op.size, op.stride, op.padding, row) for row in rows]
    if isinstance(op, Relu):
        return _each(a, lambda v: max(v, Fraction(0)))
    if isinstance(op, Rescale):
        return _each(a, lambda v: (op.factor * v + op.offset) / 2**op.halvings)
    if isinstance(op, Reshape):
        flat = iter(list(_flat(a)))
        channels, height, width = op.into
        return [[[next(flat) for _ in range(width)] for _ in range(height)] for _ in range(channels)]
    if isinstance(op, AveragePool):
        return [_slide([image], op.size, op.size, 0, None) for image in a]
    if isinstance(op, MaxPool):
        return [_slide([image], op.size, op.stride, 0, max) for image in a]
    raise AssertionError(op)


def _row(w: Iterable[float], b: float, values: list[Fraction]) -> Fraction:
    terms = (Fraction(float(v)) * value for v, value in zip(w, values, strict=True))
    return sum(terms, Fraction(float(b)))


def _slide(images: Any, size: int, stride: int, padding: int, what: Any) -> Any:
    """Windows of all images together, each summed with weights, averaged (None) or its largest number taken (max)."""
    height, width = len(images[0]), len(images[0][0])

    def at(image: Any, i: int, j: int) -> Fraction:
        return image[i][j] if 0 <= i < height and 0 <= j < width else Fraction(0)

    def value(top: int, left: int) -> Fraction:
        seen = [at(m, top + i, left + j) for m in images for i in range(size) for j in range(size)]
        if what is None:
            return sum(seen, Fraction(0)) / len(seen)
        return max(seen) if what is max else _row(what[0], what[1], seen)

    tops = range(-padding, height + padding - size + 1, stride)
    return [[value(i, j) for j in range(-padding, width + padding - size + 1, stride)] for i in tops]


def _each(a: Any, f: Any) -> Any:
    return [_each(v, f) for v in a] if isinstance(a, list) else f(a)


def _flat(a: Any) -> Iterator[Fraction]:
    if isinstance(a, list):
        for v in a:
            yield from _flat(v)
    else:
        yield a


def chains(rng: np.random.Generator) -> list[FeedForward]:
    """Small chains of all operations, with weights of very different sizes."""

    def layer(out: int, d: int) -> Plain:
        spread = 10.0 ** rng.integers(-6, 7, size=(out, d))
        return Plain(weight=rng.normal(size=(out, d)) * spread, bias=rng.normal(size=out))

    image = Reshape(into=(2, 5, 4))
    return [
        FeedForward(features=6, ops=(Linear(layer=layer(5, 6)), Relu(), Linear(layer=layer(3, 5)))),
        FeedForward(
            features=40,
            ops=(
                Rescale(factor=3, offset=-1, halvings=2),
                image,
                Convolution(layer=layer(3, 18), size=3, stride=2, padding=1),
                Relu(),
                MaxPool(size=2, stride=1),
                Linear(layer=layer(3, 6)),
            ),
        ),
        FeedForward(
            features=40,
            ops=(image, AveragePool(size=2), Convolution(layer=layer(2, 2), size=1), Linear(layer=layer(2, 8))),
        ),
        FeedForward(
            features=9,
            ops=(
                Reshape(into=(1, 3, 3)),
                Convolution(layer=layer(2, 4), size=2, stride=1, padding=2),
                AveragePool(size=3),
                Linear(layer=layer(4, 8)),
                Rescale(factor=-5, offset=7, halvings=0),
            ),
        ),
    ]


def enclosed(net: FeedForward, x: np.ndarray) -> int:
    """How many numbers were compared: each, after each operation, is within its bound of the exact one."""
    checked = 0
    a, e = x, np.zeros_like(x)
    truth = [exactly(net, point) for point in x]
    for k, op in enumerate(net.ops):
        a, e = op(a), op.error(a, e)
        for point in range(len(x)):
            for computed, bound, true in zip(a[point].ravel(), e[point].ravel(), _flat(truth[point][k]), strict=True):
                off = abs(Fraction(float(computed)) - true)
                require(off <= Fraction(float(bound)), f"{type(op).__name__}: {float(off)} above {float(bound)}")
                checked += 1
    return checked


def margins(net: FeedForward, x: np.ndarray, y: np.ndarray) -> int:
    """How many margins are certain; each is at most the exact one."""
    found = net.certain_margins(x, y)
    for point, label, own in zip(x, y, found, strict=True):
        if own > -np.inf:
            f = exactly(net, point)[-1]
            true = min(f[label] - v for j, v in enumerate(f) if j != label)
            require(Fraction(float(own)) <= true, f"a margin of {own} is claimed, {float(true)} is true")
    require(net.count_errors(x, y) == np.count_nonzero(~(found > 0)), "what is not certain is an error")
    return int(np.count_nonzero(found > 0))


def one(weight: list[list[float]], bias: list[float] | None = None) -> Linear:
    w = np.array(weight)
    return Linear(layer=Plain(weight=w, bias=np.zeros(len(w)) if bias is None else np.array(bias)))


def cancelling(rng: np.random.Generator) -> Iterator[tuple[FeedForward, np.ndarray]]:
    """Sums of which nothing but rounding is left, in many orders; the other class has output 0."""
    cases = ([1.0, 1e16, -1e16], [1.0, -(2.0**53), 2.0**53, 1.0], [0.1] * 10 + [-1.0], [3.0, 1e300, -1e300, -2.9])
    for terms in (*cases, [1.0, *[2.0**-53] * 16]):  # the last loses nearly all that it may, where the 1 comes first
        ones, zeros, point = [1.0] * len(terms), [0.0] * len(terms), np.ones((1, 1))
        for _ in range(12):
            row = rng.permutation(terms)
            yield FeedForward(features=len(row), ops=(one([ones, zeros]), Relu())), row[None]
            yield FeedForward(features=1, ops=(one(row[:, None].tolist()), one([ones, zeros]))), point
            yield FeedForward(features=1, ops=(one([[1.0]] * len(row)), one([row.tolist(), zeros]))), point


def overflows() -> Iterator[tuple[FeedForward, np.ndarray, int]]:
    """Chains whose floats overflow although the outputs are small or even; the label that the floats may favour."""
    x = np.full((1, 5), 1.7e308)
    signs = one([[-1.0, -1.0, 1.0, 1.0, 1.0]])  # 1.7e308 in exact arithmetic
    yield FeedForward(features=5, ops=(signs, Relu(), one([[-1.0], [0.0]], [1.0, 0.0]))), x, 0
    yield FeedForward(features=5, ops=(one([[1.0] * 5, [1.0] * 5]),)), x, 0
    yield FeedForward(features=5, ops=(one([[1.0] * 5, [0.0] * 5]), one([[0.0, 1.0], [0.0, 0.0]], [1.0, 0.0]))), x, 0
    pooled = one([[-1.0, -1.0, 1.0, 1.0, 1.0], [0.0] * 5, [0.0] * 5, [0.0] * 5])
    image = (pooled, Reshape(into=(1, 2, 2)), MaxPool(size=2, stride=2))
    yield FeedForward(features=5, ops=(*image, one([[-1.0], [0.0]], [1.0, 0.0]))), x, 0
    yield FeedForward(features=5, ops=(Rescale(factor=2**31), one([[0.0] * 5, [0.0] * 5], [1.0, 0.0]))), x, 0


def exact() -> str:
    rng = np.random.default_rng(1961)
    compared = certain = decided = 0
    for _ in range(4):
        for net in chains(rng):
            x = rng.normal(size=(4, net.features)) * 10.0 ** rng.integers(-3, 4, size=(4, 1))
            y = rng.integers(0, net.classes, size=4)
            compared += enclosed(net, x)
            certain += margins(net, x, y)
            best = net(x).argmax(axis=1)
            decided += margins(net, x, best)
    require(decided > 40 and certain < decided, "most margins of the largest output must be certain")
    open_ = 0
    for net, x in cancelling(rng):
        compared += enclosed(net, x)
        for label in (0, 1):
            open_ += 1 - margins(net, x, np.array([label]))
    require(open_ > 100, "what is left of a cancelled sum is not certain")
    for net, x, label in overflows():
        require(not margins(net, x, np.array([label])), "an overflow must not be certain")
    ties(rng)
    return f"{compared} numbers within their bounds, {decided} certain margins below the exact ones, {open_} left open"


def ties(rng: np.random.Generator) -> None:
    """An exact tie is an error, whatever the order of the inputs; what is certain stays so in any order."""
    # the smallest floats times the largest weights, nearly cancelling: what a product loses is then enlarged
    rng, sure = np.random.default_rng(4), 0
    row = rng.uniform(1.0, 2.0, 6) * 2.0**1015 * np.array([1, -1, 1, -1, 1, -1])
    chain = FeedForward(
        features=6, ops=(Linear(layer=Layer(weight=np.stack([row, 0 * row]), bias=np.zeros(2), relu=False)),)
    )
    for _ in range(300):
        whole = [int(v) for v in rng.integers(1, 2**50, 6)]
        whole[-1] = abs(
            round(sum(Fraction(w) * k for w, k in zip(row[:-1], whole[:-1], strict=True)) / Fraction(row[-1]))
        )
        exactly = sum((Fraction(w) * k for w, k in zip(row, whole, strict=True)), Fraction(0))
        point = np.ldexp(np.array([whole], float), -1074)
        for label, right in ((0, exactly > 0), (1, exactly < 0)):
            certain = bool(chain.certain_margins(point, np.array([label]))[0] > 0)
            require(right or not certain, "a margin of subnormal points")
            sure += certain
    # 1e16 + 3 - 1e16 is 4 in floats, in this order, and never beats 3.5: whichever points stand beside it
    for signs in ((1.0, 1.0, -1.0), (1.0, -1.0, 1.0), (-1.0, 1.0, 1.0)):
        weight = np.array([signs, (0.0, 0.0, 0.0)])
        own = FeedForward(features=3, ops=(Linear(layer=Layer(weight=weight, bias=np.array([0.0, 3.5]), relu=False)),))
        large = np.where(np.arange(3) == 1, 3.0, 1e16) if signs[1] > 0 else np.array([1e16, 1e16, 3.0])
        for point in (large, large[::-1]):
            counted = own.count_errors(np.array([point, np.zeros(3)]), np.zeros(2, np.int64))
            require(counted == 2 or float(point @ weight[0]) > 4, "one bound for all points is that of the largest")
    for _ in range(20):
        row = rng.normal(size=12)
        order = rng.permutation(12)
        net = FeedForward(features=12, ops=(one([row.tolist(), row.tolist()]),))
        x = rng.normal(size=(3, 12))
        require(net.count_errors(x, np.zeros(3, np.int64)) == 3, "a tie is an error")
        twice = [row.tolist(), row[order].tolist()]  # the same sum in another order, from inputs given twice
        both = FeedForward(features=24, ops=(one([[*twice[0], *[0.0] * 12], [*[0.0] * 12, *twice[1]]]),))
        pair = np.hstack([x, x[:, order]])
        for label in (0, 1):
            require(both.count_errors(pair, np.full(3, label)) == 3, "a tie in another order is an error")
        gap = np.array([[*row], [*(row + 1e-9 * rng.normal(size=12))]])
        wins = []
        for shuffled in (np.arange(12), order, order[::-1]):
            net = FeedForward(features=12, ops=(one(gap[:, shuffled].tolist()),))
            wins.append([net.certain_margins(x[:, shuffled], np.full(3, label)) > 0 for label in (0, 1)])
        for first, second in itertools.combinations(wins, 2):
            require(not (first[0] & second[1]).any() and not (first[1] & second[0]).any(), "two orders disagree")


monte_carlo = not_applicable("the bound holds for every input; no probability is claimed")


def teeth() -> Evidence:
    """The smallest divisor of all bounds at which a cancelled sum lies outside of them."""
    worst = Fraction(0)
    for terms in itertools.chain(([1.0, 2.0**-53 * (1 - 2.0**-20)],), ([1.0, *[2.0**-53] * n] for n in (2, 4, 8, 16))):
        for order in (terms, terms[::-1]):
            net = FeedForward(features=len(order), ops=(one([[1.0] * len(order), [0.0] * len(order)]),))
            x = np.array([order])
            f, e = net.ops[0](x)[0, 0], net.ops[0].error(x, np.zeros_like(x))[0, 0]
            worst = max(worst, abs(Fraction(float(f)) - exactly(net, x[0])[0][0]) / Fraction(float(e)))
    slack = smallest_sabotage(lambda factor: worst > 1 / Fraction(factor))
    net = FeedForward(features=3, ops=(one([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]]),))
    x = np.array([[1e16, 1.0, -1e16]])
    naive = net(x)[0]
    require(naive[0] != 1.0 or net(x[:, ::-1])[0, 0] != 1.0, "plain floats must be wrong on a cancelled sum")
    return Evidence(text=f"refuted: bounds divided by {slack:g}; plain floats give {naive[0]:g} for 1", slack=slack)
