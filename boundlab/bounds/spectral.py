"""The spectrally normalised margin bound of Bartlett, Foster and Telgarsky: every constant, every choice paid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from boundlab._errors import InvalidParameter, positive, positive_int
from boundlab._theory import implements
from boundlab.bounds.generalization_bound import Subject
from boundlab.bounds.norm_budgets import (
    MarginBound,
    best_margin,
    budget,
    examples,
    norm_bound,
    norm_product,
    rademacher_confidence,
    row,
)
from boundlab.promises import Bound

_UP = 1.0 + 1e-12


@implements("bartlett2017_spectral")
def spectral_complexity(
    spectral: Sequence[float], group: Sequence[float], data_norm: float, width: int, gamma: float, n: int
) -> float:
    """Return 8/n^(3/2) + C |X|_F (ln n + ln(2d)/4) sqrt(ln 2W²)/(gamma n) prod s_i (sum (b_i/s_i)^(2/3))^(3/2).

    C = 36 sqrt 2, for a margin moves by at most sqrt 2 times the Euclidean norm of what the outputs move by; 72 where
    that is not used. d is the number of layers; ln(2d)/4 pays for the whole numbers of terms in Maurey's lemma, which
    the published form drops.

    Parameters
    ----------
    spectral, group : sequences of positive floats
        s_i >= |W_i|_2 and b_i >= |W_i^T|_{2,1}, one per layer.
    data_norm : float
        |X|_F, the root of the summed squared Euclidean norms of the n inputs.
    width : int
        W, the largest layer size, the input's included.
    gamma : float
        The margin, fixed before the data.
    n : int
        Examples, at least 2.

    Returns
    -------
    float
        The complexity term, rounded up.

    Raises
    ------
    InvalidParameter
        If a value is not positive, n is below 2 or the sequences differ in length.

    Notes
    -----
    Source: Bartlett, Foster and Telgarsky (2017), arXiv:1706.08498, Theorem 1.1, as we understand the paper; constants
    re-derived in ``proofs_checks/bartlett2017_spectral.py``.
    """
    s, b = row("spectral", spectral), row("group", group)
    if s.shape != b.shape:
        raise InvalidParameter(f"spectral and group must have one entry per layer, got {len(s)} and {len(b)}.")
    size, margin = positive_int("n - 1", n - 1) + 1, positive("gamma", gamma)
    log_cover = math.log(2.0 * positive_int("width", width) ** 2)
    product = float(np.prod(s) * ((b / s) ** (2.0 / 3.0)).sum() ** 1.5)
    logs = math.log(size) + math.log(2.0 * len(s)) / 4.0
    spread = positive("data_norm", data_norm) * logs * math.sqrt(log_cover) / (margin * size)
    return (8.0 / size**1.5 + 36.0 * math.sqrt(2.0) * spread * product) * _UP


@implements("bartlett2017_spectral", "boundlab_norm_budgets")
@dataclass(frozen=True, kw_only=True)
class SpectralMargin(MarginBound):
    """Risk from the margins, the spectral norms s_i and the (2,1) norms b_i of a net with d layers.

        R_0 <= r_gamma + 8/n^(3/2) + 36 sqrt 2 |X|_F (ln n + ln(2d)/4) sqrt(ln 2W²)/(gamma n) T
               + 3 sqrt((ln(2/delta) + nats)/(2n))

    with T = prod s_i (sum (b_i/s_i)^(2/3))^(3/2), W the largest layer size, the constant unit included.
    The class is that of nets with |A_i|_2 <= 1 and |A_i^T|_{2,1} <= 2^(k_i/steps); `nats` pay for the k_i, the smallest
    that hold the net's b_i/s_i, and for gamma/prod s_i, also one of 2^(k/steps). |X|_F is that of the n examples: the
    theorem bounds the Rademacher complexity on the sample itself, so that no budget is needed for it.

    Parameters
    ----------
    delta : float
        In (0, 1).
    name : str
        What a table calls it.
    steps : int
        Values of the grid from one power of 2 to the next, at least 1.

    Raises
    ------
    InvalidParameter
        If delta or steps is out of its range, or there is only one example.
    UnsupportedLayer
        If the net is no chain of operators (``operator_chain``).

    Notes
    -----
    Bartlett, Foster and Telgarsky (2017), Theorem 1.1, as we understand the paper, with reference matrices 0; vacuous
    for every net up to n = 400,000 (``bartlett2017_spectral``).
    """

    name: str = "spectral norms and margins"

    def __call__(self, net: Subject, x: Any, y: Any) -> Bound:
        """Evaluate the bound at the best margin; rounded up."""
        found = examples(net, x, y)
        operators, width, size = found.chain.balanced, found.chain.width, found.frobenius
        # rescaled so that each |A_i|_2 <= 1; no norm is 0 but for a net that is 0, which any budgets hold
        ratios = [op.group / op.spectral * _UP if op.spectral else 1.0 for op in operators]
        budgets = [budget(ratio, self.steps) for ratio in ratios]
        ones, group = [1.0] * len(operators), [value for value, _ in budgets]

        def level(unit: float, nats: float) -> tuple[float, float]:
            complexity = spectral_complexity(ones, group, size, width, unit, found.n)
            return complexity, rademacher_confidence(found.n, self.delta, paid=nats)

        norm = norm_product([op.spectral for op in operators])
        chosen = best_margin(found.margins, norm, self.steps, level, nats=sum(nats for _, nats in budgets))
        facts = {"data_norm": size, "width": width, "depth": len(operators)}
        facts |= {f"group_budget_{k}": value for k, value in enumerate(group, 1)}
        return norm_bound(self, found, chosen, "bartlett2017_spectral", facts=facts)
