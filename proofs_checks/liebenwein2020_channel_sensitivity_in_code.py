"""The released code takes the largest share of a single WEIGHT for a channel's sensitivity: too small by up to k1 k2.

Statement refuted. "With s_j the maximum over filters, patches AND kernel positions of w_ijt U_jpt/z_ip, every
channel's term is at most s_j z_ip at the calibration points, and the sample size of the theorem suffices."

Counterexample. Two channels, two kernel positions, all activations 1: the weights (1, 1) on channel 1 and (2, 0) on
channel 2. The sum is 4 and either channel gives 2: both shares are 1/2. The code has s = (1/4, 1/2), S = 3/4 < 1, at
the very point it was calibrated on. With k1 k2 = 49 positions, channel 1 spread evenly over all and giving half the
sum, and 20 others on one position each, its sensitivity is 49 times too small; sampled at the theorem's size it makes
the layer miss its error far more often than delta, even at three times that size.

What holds. A maximum over the k1 k2 positions is at most their sum and at least its k1 k2-th part, so that the coded
s_j lies between s_j/(k1 k2) and s_j: C = k1 k2 repairs the premise. For k1 k2 = 1 the two agree. The code's own C = 3
and its size, 18 times larger than needed, hide the gap for small kernels without closing it.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import z3

from boundlab.coresets.alias import draw_counts
from boundlab.coresets.layer_budget import channel_size
from boundlab.nets.channels import channel_sensitivities, single_weight_sensitivities
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage
from proofs_checks.liebenwein2020_derandomised import layers, shares
from proofs_checks.proving import prove

THEOREM = Theorem(
    name="Channel sensitivity as coded",
    source="in the released code of Liebenwein et al. 2020, arXiv:1911.07412 (torchprune 2.2.0, commit 14b392c)",
    given=("s_j the largest share of a single weight, over filters, patches and kernel positions",),
    claim=r"x_{ijp} \le s_j z_{ip}\ \forall i, p \text{ of } \mathcal{S}",
    status="refuted",
    finding="A channel that spreads over k1 k2 kernel positions has up to k1 k2 times the coded sensitivity; then the "
    "premise fails at the calibration points themselves.",
    ours="liebenwein2020_channel_sensitivity",
)

MUTATIONS = (
    Mutation(
        file="nets/channels.py",
        old="    return _largest(w, u, summed=False)",
        new="    return _largest(w, u, summed=True)",
    ),
)

POSITIONS, OTHERS = 49, 20


def symbolic() -> str:
    letters: Any = z3.Reals("a b c top")
    a, b, c, top = letters
    maximum = (top >= a, top >= b, top >= c, z3.Or(top == a, top == b, top == c))
    prove(z3.And(top <= a + b + c, 3 * top >= a + b + c), a >= 0, b >= 0, c >= 0, *maximum)
    return "z3 for three positions: the largest is at most the sum and at least a third of it"


def tiny() -> tuple[np.ndarray, np.ndarray]:
    """The two channels of the counterexample."""
    return np.array([[[1.0, 1.0], [2.0, 0.0]]]), np.ones((1, 2, 2))


def exact() -> str:
    weight, patches = tiny()
    coded, defined = single_weight_sensitivities(weight, patches), channel_sensitivities(weight, patches)
    row = shares(weight, patches[0])[0]
    require(row == [Fraction(1, 2)] * 2, f"either channel must give half, got {row}")
    require(coded.round(12).tolist() == [0.25, 0.5] and defined.round(12).tolist() == [0.5, 0.5], f"{coded}, {defined}")
    require(coded.sum() < 1 and row[0] > Fraction(float(coded[0])), "the premise must fail at the calibration point")
    lowest = 1.0
    for w, u in layers(60, seed=8):
        s, single = channel_sensitivities(w, u), single_weight_sensitivities(w, u)
        k = w.shape[2]
        require(np.all(single <= s * (1 + 1e-12)) and np.all(single * k >= s * (1 - 1e-12)), "outside [s/(k1k2), s]")
        require(k > 1 or np.allclose(single, s, rtol=1e-14, atol=0), "for one position the two must agree")
        if np.any(s > 0):
            lowest = min(lowest, float((single[s > 0] / s[s > 0] * k).min()))
    return f"coded (1/4, 1/2) for shares (1/2, 1/2), S = 3/4; 60 layers in [s/(k1k2), s], lowest {lowest:.2f} s/(k1k2)"


def layer() -> tuple[np.ndarray, np.ndarray]:
    """One filter: channel 0 spread evenly over 49 positions with half the sum, 20 others on one position each."""
    weight = np.zeros((1, 1 + OTHERS, POSITIONS))
    weight[0, 0] = 1 / POSITIONS
    weight[0, 1:, 0] = 1 / OTHERS
    return weight, np.ones((1, 1 + OTHERS, POSITIONS))


def errs(s: np.ndarray, size: float, eps: float):
    """A trial: sampling channels by s errs by eps or more."""
    weight, patches = layer()
    terms = (weight[0] * patches[0]).sum(axis=1)
    p = s / s.sum()

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        at = np.arange(n + 1, dtype=np.int64) * len(p)
        counts = draw_counts(np.tile(p, n), at, np.full(n, int(size)), rng).reshape(n, len(p))
        return np.abs(counts @ (terms / p) / size - terms.sum()) >= eps * terms.sum()

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    eps, delta = 0.3, 0.01
    weight, patches = layer()
    coded, defined = single_weight_sensitivities(weight, patches), channel_sensitivities(weight, patches)
    generous = 3 * channel_size(float(coded.sum()), eps, delta, filters=1)  # three times the theorem's size
    name = "channels drawn by the coded sensitivities, three times the size"
    refuted = judge(errs(coded, generous, eps), delta=delta, trials=2_000 * effort, name=name, expect="violated")
    ours = errs(defined, channel_size(float(defined.sum()), eps, delta, filters=1), eps)
    upheld = judge(ours, delta=delta, trials=2_000 * effort, name="channels drawn by the defined sensitivities")
    return Evidence(text=f"{refuted.text}; as defined: {upheld.text}", trials=refuted.trials + upheld.trials)


def teeth() -> Evidence:
    weight, patches = layer()
    row, s = shares(weight, patches[0])[0], channel_sensitivities(weight, patches)

    def caught(factor: float) -> bool:
        return any(v > Fraction(float(t)) for v, t in zip(row, s / factor, strict=True))

    slack = smallest_sabotage(caught)
    repaired = POSITIONS * single_weight_sensitivities(weight, patches)
    require(np.all(repaired >= s * (1 - 1e-9)), "C = k1 k2 must repair the coded sensitivity here")
    almost = (POSITIONS - 1) * single_weight_sensitivities(weight, patches)
    require(row[0] > Fraction(float(almost[0])), "C = k1 k2 - 1 must not")
    text = f"the definition passes the counterexample; refuted: it divided by {slack:g}, the coded one times k1k2 - 1"
    return Evidence(text=text, slack=slack)
