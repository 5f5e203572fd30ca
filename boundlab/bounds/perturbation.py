"""The PAC-Bayes spectral margin bound of Neyshabur, Bhojanapalli and Srebro, a net whose weights are shaken: and ours.

The published form covers the balanced spectral norm of a net by a grid and splits a factor e² off for it. A net divided
by the product of its norms needs neither: all norms are at most 1, and gamma over that product is chosen and paid for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from boundlab._errors import InvalidParameter, positive, positive_int, probability
from boundlab._theory import implements
from boundlab.bounds.generalization_bound import Subject
from boundlab.bounds.norm_budgets import (
    Domain,
    MarginBound,
    best_margin,
    check_domain,
    examples,
    norm_bound,
    norm_product,
    radius,
    row,
)
from boundlab.bounds.pac_bayes import root_bound
from boundlab.promises import Bound

_UP = 1.0 + 1e-12


@implements("neyshabur2018_perturbation")
def perturbation_divergence(
    spectral: Sequence[float], frobenius: Sequence[float], radius: float, width: int, gamma: float
) -> float:
    """Return (42² e²/2) d² B² h ln(4hd) (prod |W_i|_2² / gamma²) sum |W_i|_F²/|W_i|_2² >= KL, rounded up.

    KL = sum |W_i|_F²/(2 sigma²) for balanced layers and the sigma of the perturbation; a factor e² of it pays for a
    spectral norm known within a factor 1 +- 1/d. Parameters and errors as in `perturbation_complexity`.
    """
    s, f = row("spectral", spectral), row("frobenius", frobenius)
    if s.shape != f.shape:
        raise InvalidParameter(f"spectral and frobenius must have one entry per layer, got {len(s)} and {len(f)}.")
    d, h = len(s), positive_int("width", width)
    scale = 42.0 * math.e * d * positive("radius", radius) * float(np.prod(s)) / positive("gamma", gamma)
    return 0.5 * (scale * scale) * h * math.log(4.0 * h * d) * float(((f / s) ** 2).sum()) * _UP


@implements("neyshabur2018_perturbation")
def perturbation_complexity(
    spectral: Sequence[float],
    frobenius: Sequence[float],
    radius: float,
    width: int,
    gamma: float,
    n: int,
    delta: float,
    *,
    paid: float = 0.0,
) -> float:
    """Return sqrt((2 KL + ln(8 n N/delta) + paid)/(2 (n - 1))), the published form: weights moved by Gaussians.

        KL <= (42² e²/2) d² B² h ln(4hd) (prod |W_i|_2² / gamma²) sum |W_i|_F²/|W_i|_2²,    N = d n^(1/(2d)).

    Parameters
    ----------
    spectral, frobenius : sequences of positive floats
        One entry per layer, d of them.
    radius : float
        B, the largest Euclidean norm of an input.
    width : int
        h, the largest layer size, the input's included.
    gamma : float
        The margin.
    n : int
        Examples, at least 2.
    delta : float in (0, 1)
    paid : float
        Nats of a choice that the data made, such as that of gamma.

    Returns
    -------
    float
        The whole term, confidence included, rounded up.

    Raises
    ------
    InvalidParameter
        If a value is out of range or the sequences differ in length.

    Notes
    -----
    Source: Neyshabur, Bhojanapalli and Srebro (2018), arXiv:1707.09564, Theorem 1, as we understand the paper;
    constants re-derived in ``proofs_checks/neyshabur2018_perturbation.py``.
    """
    kl = perturbation_divergence(spectral, frobenius, radius, width, gamma)
    d, size = len(spectral), positive_int("n - 1", n - 1) + 1
    cover = math.log(d) + math.log(size) / (2.0 * d)
    log_term = math.log(8.0 * size) + cover - math.log(probability("delta", delta)) + paid
    return math.sqrt((2.0 * kl + log_term) / (2.0 * (size - 1))) * _UP


@implements("neyshabur2018_perturbation")
def shaken_divergence(
    frobenius: Sequence[float], shapes: Sequence[tuple[int, int]], radius: float, gamma: float
) -> float:
    """Return the nats of noise that moves no margin of a net of norms at most 1 by more than gamma/2; rounded up.

        sum ((sqrt a_i + sqrt c_i + sqrt(2 ln 2))² |A_i|_F²/(2 u²) + ln 2),    u = (1 + gamma/(2 sqrt 2 B))^(1/d) - 1

    Gaussian noise on all entries of A_i, of standard deviation u over that sum of roots, has spectral norm at most u
    with probability 1/2 or more, and is drawn from what has; outputs then move by at most B ((1 + u)^d - 1).

    Parameters
    ----------
    frobenius : sequence of positive floats
        |A_i|_F, one per layer, d of them; |A_i|_2 is at most 1.
    shapes : sequence of pairs of int
        Rows a_i and columns c_i.
    radius : float
        B, the largest Euclidean norm of an input.
    gamma : float
        The margin.

    Raises
    ------
    InvalidParameter
        If a value is not positive or the sequences differ in length.

    Notes
    -----
    Ours; proved in ``proofs_checks/neyshabur2018_perturbation.py``.

    Examples
    --------
    >>> round(shaken_divergence([1.5, 1.2], [(10, 20), (2, 11)], 1.0, 0.1))
    366297
    """
    f, d = row("frobenius", frobenius), len(frobenius)
    if len(shapes) != d:
        raise InvalidParameter(f"frobenius and shapes must have one entry per layer, got {d} and {len(shapes)}.")
    moved = positive("gamma", gamma) / (2.0 * math.sqrt(2.0) * positive("radius", radius))
    if moved < 2.0**-1000:
        return math.inf
    u, tail = math.expm1(math.log1p(moved) / d), math.sqrt(2.0 * math.log(2.0))
    sizes = [math.sqrt(positive_int("rows", a)) + math.sqrt(positive_int("columns", c)) + tail for a, c in shapes]
    scale = math.hypot(*(size * float(value) for size, value in zip(sizes, f, strict=True))) / u
    return (0.5 * (scale * scale) + d * math.log(2.0)) * _UP


@implements("neyshabur2018_perturbation", "boundlab_norm_budgets")
@dataclass(frozen=True, kw_only=True)
class PerturbedWeights(MarginBound):
    """Risk from the margins, the spectral and the Frobenius norms of a net, and the radius B of its inputs.

        R_0 <= r_gamma + sqrt((KL + ln(2 sqrt n/delta) + nats)/(2n)),
        KL = sum ((sqrt a_i + sqrt c_i + sqrt(2 ln 2))² |A_i|_F²/|A_i|_2²/(2 u²) + ln 2),
        u = (1 + gamma/(2 sqrt 2 B prod |A_i|_2))^(1/d) - 1

    for matrices of a_i rows and c_i columns, the constant unit included, whose value behind each layer is chosen for
    the net. It holds for all weights at once, without budgets of norms; `nats` pay for gamma/prod |A_i|_2, one of
    2^(k/steps).

    Parameters
    ----------
    delta : float
        In (0, 1).
    name : str
        What a table calls it.
    steps : int
        Values of the grid from one power of 2 to the next, at least 1.
    domain : pair of float, optional
        The interval that each entry of each input lies in, such as (0, 1) for pixels; not read off the data. Without
        it B is the largest norm among the examples, and that no other input is larger is an assumed premise.

    Raises
    ------
    InvalidParameter
        If delta, steps or the domain is out of its range, or there is only one example.
    UnsupportedLayer
        If the net is no chain of operators (``operator_chain``).
    PremiseViolated
        If an example lies outside of the domain.

    Notes
    -----
    After Neyshabur, Bhojanapalli and Srebro (2018), Theorem 1, as we understand the paper; the constants are ours and
    far smaller (``neyshabur2018_perturbation``). A convolution enters as its unrolled matrix, all of whose entries are
    shaken.
    """

    name: str = "PAC-Bayes, perturbed weights"
    domain: Domain | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_domain(self.domain)

    def __call__(self, net: Subject, x: Any, y: Any) -> Bound:
        """Evaluate the bound at the best margin; rounded up."""
        found = examples(net, x, y)
        operators, n = found.chain.balanced, found.n
        largest, premise = radius(found, self.domain)
        shapes = [op.shape for op in operators]
        ratios = [op.frobenius / op.spectral * _UP if op.spectral else 1.0 for op in operators]

        def level(unit: float, nats: float) -> tuple[float, float]:
            divergence = shaken_divergence(ratios, shapes, largest, unit)
            complexity = math.sqrt(divergence / (2.0 * n)) * _UP
            return complexity, max(0.0, root_bound(0.0, divergence + nats, n, self.delta) - complexity) * _UP

        norm = norm_product([op.spectral for op in operators])
        chosen = best_margin(found.margins, norm, self.steps, level)
        facts = {
            "divergence": shaken_divergence(ratios, shapes, largest, chosen.normalised),
            "radius": largest,
            "depth": len(operators),
        }
        return norm_bound(
            self,
            found,
            chosen,
            "neyshabur2018_perturbation",
            premises=(premise,),
            facts=facts,
        )
