"""Keeping the channels of the largest s_j, unscaled, loses at most C times the sum of the dropped s_j, in every filter.

Statement. Let every filter i, patch p and sign have a sum z_ip = sum_j x_ijp of non-negative channel terms with x_ijp
<= C s_j z_ip. If the channels in D are dropped and the others kept with weight 1, then in all of them at once 0 <= z
- ẑ <= C (sum_D s_j) z. Nothing is drawn. Among all sets of k kept channels the k largest s_j give the least bound.

Proof. z_ip - ẑ_ip = sum_{j in D} x_ijp, which is at least 0 and at most C sum_D s_j z_ip; s_j knows no filter, so one
number does for all. The bound is attained where all dropped shares are at their maximum at one filter and patch. The
channels may be chosen at will; only x_ijp <= C s_j z_ip must hold at the new point. For C = 1 and n + 1 exchangeable
points of which n calibrate, it holds for all d channels with probability at least 1 - d/(n+1): each channel's largest
share is at the new point with probability at most 1/(n+1).
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import z3

from boundlab.coresets.partial_derandomisation import derandomised_error
from boundlab.nets.channels import channel_sensitivities
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage
from proofs_checks.proving import prove

THEOREM = Theorem(
    name="Derandomised channel selection",
    source="Liebenwein et al. 2020, arXiv:1911.07412, the variant without draws; item number not known to us; "
    "as we understand the paper",
    given=("0 <= x_ijp <= C s_j z_ip for every filter i, channel j, patch p and sign",),
    claim=r"0 \le z_{ip} - \hat z_{ip} \le C \Big(\sum_{j\ \mathrm{dropped}} s_j\Big) z_{ip} \quad \forall i, p",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="coresets/partial_derandomisation.py",
        old="return sums * _inflation(C) * (1.0 + ROUNDING)",
        new="return sums * (1.0 + ROUNDING)",
    ),
    Mutation(
        file="coresets/partial_derandomisation.py",
        old="smallest_first = np.cumsum(np.sort(s, axis=-1), axis=-1)",
        new="smallest_first = np.maximum.accumulate(np.sort(s, axis=-1), axis=-1)",
    ),
)

Layer = tuple[np.ndarray, np.ndarray]  # whole weights (filters, channels, positions), patches (n, channels, positions)


def layers(count: int, seed: int) -> list[Layer]:
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        i, j, t, n = (int(v) for v in rng.integers([1, 2, 1, 2], [4, 6, 4, 5]))
        found.append((rng.integers(-3, 4, (i, j, t)).astype(float), rng.integers(0, 4, (n, j, t)).astype(float)))
    return found


def shares(weight: np.ndarray, patch: np.ndarray) -> list[list[Fraction]]:
    """The channels' shares of every filter and sign that is not 0 at one patch, in rational arithmetic."""
    found = []
    for side in (np.maximum(weight, 0), np.maximum(-weight, 0)):
        for row in side:
            terms = [sum((Fraction(float(a)) * Fraction(float(b)) for a, b in zip(w, u, strict=True)), Fraction(0))
                     for w, u in zip(row, patch, strict=True)]  # fmt: skip
            if total := sum(terms):
                found.append([v / total for v in terms])
    return found


def symbolic() -> str:
    letters: Any = z3.Reals("x1 x2 s1 s2 C z s3")
    x1, x2, s1, s2, C, z, s3 = letters
    inside = (z > 0, C >= 1, s1 >= 0, s2 >= 0, x1 >= 0, x2 >= 0, x1 <= C * s1 * z, x2 <= C * s2 * z)
    prove(z3.And(x1 + x2 >= 0, x1 + x2 <= C * (s1 + s2) * z), *inside)  # one more channel dropped, hence any number
    prove(s1 + s2 <= s1 + s3, s2 <= s3)  # dropping a smaller one instead
    return "z3: two dropped channels lose at most C (s1 + s2) z, and so on; a smaller dropped s_j gives a smaller bound"


def exact() -> str:
    attained, losses = 0, 0
    for k, (weight, patches) in enumerate(layers(40, seed=1)):
        points = patches if k % 2 else patches[:-1]  # the last point is new in half of the layers
        s = channel_sensitivities(weight, points)
        order = np.argsort(-s, kind="stable")
        at = [row for patch in patches for row in shares(weight, patch)]
        ratios = [v / Fraction(float(s[j])) for row in at for j, v in enumerate(row) if v and s[j]]
        if any(v for row in at for j, v in enumerate(row) if not s[j]):
            continue  # a channel that was silent on the calibration points: no C holds
        C = float(max([*ratios, Fraction(1)]) * (1 + Fraction(1, 10**12)))
        told = derandomised_error(s, C=C)
        for kept in range(len(s) + 1):
            worst = max((sum((row[j] for j in order[kept:]), Fraction(0)) for row in at), default=Fraction(0))
            require(worst <= Fraction(float(told[kept])), f"{float(worst)} lost, {told[kept]} promised")
            attained += bool(worst) and kept > 0 and float(worst) > 0.999 * told[kept]
            losses += bool(worst)
        require(told[-1] == 0.0, "all kept, nothing lost")
    require(attained > 5, f"the bound was attained {attained} times only")
    return f"40 layers, every number of kept channels: {losses} losses, {attained} of them at the bound"


def monte_carlo(effort: int = 1) -> Evidence:
    n, d, delta = 79, 8, 0.1  # d/(n+1) = .1

    def trial(rng: np.random.Generator, count: int) -> np.ndarray:
        g = rng.exponential(size=(count, n + 1, d)) ** 3
        g /= g.sum(axis=2, keepdims=True)
        s, new = g[:, :n].max(axis=1), g[:, n]
        order = np.argsort(-s, axis=1)
        lost = np.cumsum(np.take_along_axis(new, order, axis=1)[:, ::-1], axis=1)[:, ::-1]
        return np.any(lost > derandomised_error(s)[:, :d], axis=1)

    return judge(trial, delta=delta, trials=1_000 * effort, name="a fresh point, 79 calibration points, every k")


def teeth() -> Evidence:
    even = np.ones((1, 4, 1)), np.ones((1, 4, 1))  # every channel has a quarter
    row = shares(even[0], even[1][0])[0]

    def caught(factor: float) -> bool:
        told = derandomised_error(channel_sensitivities(*even)) / factor
        return any(sum(row[k:], Fraction(0)) > Fraction(float(told[k])) for k in range(4))

    slack = smallest_sabotage(caught)
    weight, u = np.array([[[1.0], [1.0]], [[9.0], [1.0]]]), np.ones((1, 2, 1))
    first = channel_sensitivities(weight[:1], u)  # the sensitivities of one filter for all of them
    lost = shares(weight, u[0])[1][0]
    require(lost > Fraction(float(derandomised_error(first)[1])), "another filter's sensitivities were not caught")
    s = channel_sensitivities(weight, u)
    smallest_kept = shares(weight, u[0])[1][int(np.argmax(s))]
    require(smallest_kept > Fraction(float(derandomised_error(np.array([0.1, 0.9]))[1])), "dropping the largest")
    text = f"refuted: the bound divided by {slack:g}, one filter's sensitivities for all, the largest s_j dropped"
    return Evidence(text=text, slack=slack)
