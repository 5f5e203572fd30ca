"""How a check proves an inequality on a whole range: ball arithmetic with subdivision, and z3 for polynomials.

A grid of floats is no proof. `prove_positive` encloses f on boxes that cover the range; `prove` asks z3 for a
counterexample over the reals and accepts nothing but "there is none".
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import flint
import z3

from proofs_checks import require

Real = int | Fraction


def ball(lo: Real, hi: Real) -> flint.arb:
    """A ball that contains [lo, hi]."""
    middle, radius = (Fraction(lo) + Fraction(hi)) / 2, (Fraction(hi) - Fraction(lo)) / 2
    spread = exact(radius)
    return exact(middle) + spread * flint.arb(0, 1)


def exact(value: Real) -> flint.arb:
    """A ball around a rational number, as tight as the working precision."""
    value = Fraction(value)
    return flint.arb(value.numerator) / flint.arb(value.denominator)


def prove_positive(
    f: Callable[..., flint.arb], *box: tuple[Real, Real], boxes: int = 100_000, precision: int = 80
) -> str:
    """Prove f > 0 on a closed box by ball arithmetic: split the widest side until each piece is enclosed above 0.

    f takes one arb for each (lo, hi) of rationals. A zero on the border must be divided out first: a ball around a
    zero is never positive. Raises AssertionError where f is enclosed at or below 0, or `boxes` pieces were not enough.
    """
    before = flint.ctx.prec
    flint.ctx.prec = precision
    try:
        todo = [tuple((Fraction(lo), Fraction(hi)) for lo, hi in box)]
        seen = 0
        while todo:
            piece = todo.pop()
            seen += 1
            require(seen <= boxes, f"not proved with {boxes} boxes; the last one was {_show(piece)}")
            value = f(*(ball(lo, hi) for lo, hi in piece))
            if value > 0:
                continue
            require(not value <= 0, f"f <= 0 on {_show(piece)}")
            side = max(range(len(piece)), key=lambda k: piece[k][1] - piece[k][0])
            lo, hi = piece[side]
            middle = (lo + hi) / 2
            todo += [(*piece[:side], half, *piece[side + 1 :]) for half in ((lo, middle), (middle, hi))]
        return f"{seen} boxes"
    finally:
        flint.ctx.prec = before


def prove(claim: Any, *given: Any, seconds: int = 20) -> None:
    """Prove with z3 that the claim follows from what is given, for all values of its variables.

    Raises AssertionError with z3's counterexample, or if z3 does not decide within `seconds`.
    """
    solver = z3.Solver()
    solver.set("timeout", seconds * 1000)
    solver.add(*given, z3.Not(claim))
    answer = solver.check()
    require(answer != z3.sat, f"z3 found a counterexample to {claim}: {solver.model() if answer == z3.sat else ''}")
    require(answer == z3.unsat, f"z3 did not decide {claim} within {seconds} s")


def counterexample(claim: Any, *given: Any, seconds: int = 20) -> Any:
    """A model in which the claim fails although everything given holds; AssertionError if z3 finds none."""
    solver = z3.Solver()
    solver.set("timeout", seconds * 1000)
    solver.add(*given, z3.Not(claim))
    require(solver.check() == z3.sat, f"z3 found no counterexample to {claim}")
    return solver.model()


def reals(names: str) -> list[Any]:
    """Real variables of z3, by names separated by blanks."""
    return list(z3.Reals(names))


def _show(piece: tuple[tuple[Fraction, Fraction], ...]) -> str:
    return " x ".join(f"[{float(lo):.6g}, {float(hi):.6g}]" for lo, hi in piece)
