"""If every output is within (1 ± eps) of the original's and the relative margin exceeds eps, the class is kept.

Proof. |g_j - f_j| <= eps |f_j| gives g_y - g_j >= f_y - f_j - eps (|f_y| + |f_j|), positive for every j exactly where
rho(x) = min_j (f_y - f_j)/(|f_y| + |f_j|) exceeds eps. So r_0(g) <= share{rho <= eps} + phi, phi the share of
points on which (1 ± eps) fails for the net as drawn. At rho = eps the statement stops: f = (1, 1/3), eps = 1/2 allows
g = (1/2, 1/2), a tie. Three roundings, a sum, a difference and a quotient, are covered by 2^-51 of |rho|, downwards.
Where |f_y| + |f_j| is beyond the largest float, rho is taken to be -1, the least it can be.
"""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np

from boundlab.bounds.compressed_class import relative_margins
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage
from proofs_checks.proving import counterexample, prove, reals

THEOREM = Theorem(
    name="The margin that a relative error leaves",
    source="ours; what the generalization corollary of CoreNet (arXiv:1804.05345) needs, as we understand the paper",
    given=("|g_j(x) - f_j(x)| <= eps |f_j(x)| for every output j", "rho(x) > eps"),
    claim=r"\rho(x) = \min_{j\ne y}\frac{f_y-f_j}{|f_y|+|f_j|} > \epsilon \Rightarrow \arg\max g(x) = y",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="bounds/compressed_class.py",
        old="size = np.abs(own) + np.abs(f)",
        new="size = np.maximum(np.abs(own), np.abs(f))",
    ),
    Mutation(
        file="bounds/compressed_class.py",
        old="rho = gap.min(axis=1)",
        new="rho = gap.max(axis=1, where=np.isfinite(gap), initial=-1.0)",
    ),
    Mutation(
        file="bounds/compressed_class.py",
        old="return rho - np.abs(rho) * 2.0**-51",
        new="return rho + 0.0 * np.abs(rho)",
    ),
    Mutation(
        file="bounds/compressed_class.py",
        old="gap = np.divide(own - f, size,",
        new="gap = np.divide(np.abs(own - f), size,",
    ),
    Mutation(file="bounds/compressed_class.py", old="gap[np.isinf(size)] = -1.0", new="gap[np.isinf(size)] = 1.0"),
    Mutation(
        file="bounds/compressed_class.py",
        old="out=np.zeros_like(f), where=size > 0)",
        new="out=np.ones_like(f), where=size > 0)",
    ),
)

GRID = [Fraction(n, 2) for n in range(-4, 5)]


def by_hand(f: tuple[Fraction, ...], y: int) -> Fraction:
    return min(
        (f[y] - v) / (abs(f[y]) + abs(v)) if abs(f[y]) + abs(v) else Fraction(0) for j, v in enumerate(f) if j != y
    )


def kept(f: tuple[Fraction, ...], y: int, eps: Fraction) -> bool:
    """Whether the worst corner of the box |g_j - f_j| <= eps |f_j| still has its only maximum at y."""
    low = f[y] - eps * abs(f[y])
    return all(low > v + eps * abs(v) for j, v in enumerate(f) if j != y)


def symbolic() -> str:
    fy, fj, gy, gj, eps, sy, sj = reals("fy fj gy gj eps sy sj")
    sizes = [sy >= fy, sy >= -fy, sj >= fj, sj >= -fj]  # sy >= |fy|, sj >= |fj|
    moves = [gy - fy <= eps * sy, fy - gy <= eps * sy, gj - fj <= eps * sj, fj - gj <= eps * sj, eps >= 0]
    prove(gy > gj, *sizes, *moves, fy - fj > eps * (sy + sj))
    model = counterexample(gy > gj, *sizes, *moves, sy == fy, sj == fj, fy - fj == eps * (sy + sj), eps > 0, fj > 0)
    require(model is not None, "at rho = eps a tie must be possible")
    return "z3: f_y - f_j > eps (|f_y| + |f_j|) keeps g_y > g_j for all moves; at equality a tie exists"


def exact() -> str:
    checked = 0
    for f in itertools.product(GRID, repeat=2):
        for eps in (Fraction(0), Fraction(1, 4), Fraction(1, 2), Fraction(1)):
            rho = by_hand(f, 0)
            require((rho > eps) == kept(f, 0, eps), f"f = {f}, eps = {eps}: rho = {rho}")
            got = float(relative_margins(np.array([[float(v) for v in f]]), np.array([0]))[0])
            require(rho - Fraction(1, 10**12) <= Fraction(got) <= rho, f"f = {f}: rho {got} against {rho}")
            checked += 1
    for f in itertools.product(GRID[::2], repeat=3):
        for y in range(3):
            got = float(relative_margins(np.array([[float(v) for v in f]]), np.array([y]))[0])
            require(rho_close(got, by_hand(f, y)), f"f = {f}, y = {y}")
            checked += 1
    rng = np.random.default_rng(11)
    for f in rng.normal(size=(300, 3)):  # entries of 53 bits: rounded down, never up
        got = float(relative_margins(f[None], np.array([0]))[0])
        require(rho_close(got, by_hand(tuple(Fraction(v) for v in f), 0)), f"f = {f}: {got}")
        checked += 1
    for f in ((1.7e308, 1.6e308), (-1.7e308, 1.7e308), (1.7e308, -1.0)):  # the first two sums are no floats
        got = Fraction(float(relative_margins(np.array([f]), np.array([0]))[0]))
        require(got <= by_hand(tuple(Fraction(v) for v in f), 0), f"f = {f}: {float(got)}")
    tie = (Fraction(1), Fraction(1, 3))
    require(by_hand(tie, 0) == Fraction(1, 2) and not kept(tie, 0, Fraction(1, 2)), "at rho = eps a tie is possible")
    return f"{checked} exact cases: rho > eps exactly where the worst corner keeps the class; a tie at rho = eps"


def rho_close(got: float, want: Fraction) -> bool:
    return want - Fraction(1, 10**12) <= Fraction(got) <= want


def lost(factor: float):
    """Four outputs moved by factor eps at random corners, at points with rho > eps: is the class lost?"""
    eps = 0.2

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        f = rng.normal(size=(4 * n, 4))
        y = f.argmax(axis=1)
        f = f[relative_margins(f, y) > eps][:n]
        require(len(f) == n, "4 n points must hold n of large margin")
        y = f.argmax(axis=1)
        worst = np.where(np.arange(4) == y[:, None], -1.0, 1.0)
        return (f + factor * eps * np.abs(f) * worst).argmax(axis=1) != y

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    return judge(lost(1.0), delta=0.01, trials=2_000 * effort, name="moves within eps")


def teeth() -> Evidence:
    def caught(factor: float) -> bool:
        return bool(lost(factor)(np.random.default_rng(0), 4_000).any())

    slack = smallest_sabotage(caught)
    return Evidence(text=f"moves {slack:g} times eps lose a class", slack=slack)
