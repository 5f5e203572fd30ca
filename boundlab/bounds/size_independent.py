"""Bounds without a factor 2^depth, of Golowich, Rakhlin and Shamir: from Frobenius norms, and from l1 norms of rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from boundlab._errors import positive, positive_int
from boundlab._theory import implements
from boundlab.bounds.generalization_bound import Subject
from boundlab.bounds.norm_budgets import (
    MarginBound,
    best_margin,
    examples,
    neurons_by_themselves,
    norm_bound,
    norm_product,
    rademacher_confidence,
    row,
)
from boundlab.promises import Bound

_UP = 1.0 + 1e-12


@implements("golowich2018_frobenius")
def frobenius_complexity(frobenius: Sequence[float], data_norm: float, classes: int, gamma: float, n: int) -> float:
    """Return (4/gamma) sqrt(K) prod |W_i|_F |X|_F sqrt((1 + s)² + 2 + 2/s)/n, s = sqrt(2 (d - 1) ln 2), K classes.

    1 + s would do in the Rademacher complexity of one output; the margin of K outputs costs a vector contraction with
    sqrt(K) and a second moment of the supremum, which is the root: 1 for d = 1 layer.

    Raises
    ------
    InvalidParameter
        If a value is not positive.

    Notes
    -----
    Source: Golowich, Rakhlin and Shamir (2018), arXiv:1712.06541, Theorem 1, as we understand the paper, with d for our
    d - 1; that and the step to K outputs are ours, ``proofs_checks/golowich2018_frobenius.py``.
    """
    f, size = row("frobenius", frobenius), positive_int("n", n)
    s = math.sqrt(2.0 * (len(f) - 1) * math.log(2.0))
    factor = math.sqrt((1.0 + s) ** 2 + 2.0 + 2.0 / s) if s else 1.0
    single = factor * float(np.prod(f)) * positive("data_norm", data_norm) / size
    return 4.0 / positive("gamma", gamma) * math.sqrt(positive_int("classes", classes)) * single * _UP


@implements("golowich2018_l1")
def l1_complexity(mass: float, depth: int, column: float, dimension: int, classes: int, gamma: float, n: int) -> float:
    """Return (4/gamma) M |X|_(2,inf) sqrt(2 (d ln 2 + ln(D K)))/n for nets of l1 norms M, d layers and K outputs.

    M is the product of the largest row norms of the hidden layers and of the sum of all |weights| of the last; or the
    path norm, the sum over all paths to all outputs, which is at most that product.

    Parameters
    ----------
    mass : float
        M, positive.
    depth : int
        d, weight layers.
    column : float
        |X|_(2,inf), the largest Euclidean norm of one coordinate over the n examples.
    dimension, classes : int
        D inputs and K outputs.
    gamma : float
        The margin.
    n : int
        Examples.

    Returns
    -------
    float
        The complexity term, rounded up.

    Raises
    ------
    InvalidParameter
        If a value is not positive.

    Notes
    -----
    After Golowich, Rakhlin and Shamir (2018), arXiv:1712.06541, the l1 form, as we understand the paper: its
    (2/n) M sqrt(d + 1 + ln D) |X|_(2,inf) for one output is not below ours. K outputs cost ln K here, and no factor
    sqrt K; ``golowich2018_l1`` proves both.
    """
    logs = positive_int("depth", depth) * math.log(2.0)
    logs += math.log(positive_int("dimension", dimension) * positive_int("classes", classes))
    single = positive("mass", mass) * positive("column", column) * math.sqrt(2.0 * logs) / positive_int("n", n)
    return 4.0 / positive("gamma", gamma) * single * _UP


@implements("golowich2018_frobenius", "boundlab_norm_budgets")
@dataclass(frozen=True, kw_only=True)
class FrobeniusNorm(MarginBound):
    """Risk from the margins and the product of the Frobenius norms, with the root of the depth alone beside it.

        R_0 <= r_gamma + (4/gamma) sqrt(K) prod |A_i|_F |X|_F sqrt((1 + s)² + 2 + 2/s)/n
               + 3 sqrt((ln(2/delta) + nats)/(2n))

    with s = sqrt(2 (d - 1) ln 2), d layers and K classes; the root is 1 for d = 1. The class is that of nets with
    prod |A_i|_F <= 1; `nats` pay for gamma/prod |A_i|_F, one of 2^(k/steps). |X|_F is that of the examples. The value
    of the constant unit behind each layer is the best for this net, at no cost: the class holds them all.

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
        If delta or steps is out of its range.
    UnsupportedLayer
        If the net is no chain of operators (``operator_chain``), or holds a max pooling: the argument peels off
        neurons one by one.

    Notes
    -----
    Golowich, Rakhlin and Shamir (2018), Theorem 1, as we understand the paper; the step to K outputs is ours
    (``golowich2018_frobenius``).
    """

    name: str = "Frobenius norms and margins"

    def __call__(self, net: Subject, x: Any, y: Any) -> Bound:
        """Evaluate the bound at the best margin; rounded up."""
        found = examples(net, x, y)
        neurons_by_themselves(found, "the Frobenius bound")
        operators, size = found.chain.balanced, found.frobenius
        ones = [1.0] * len(operators)

        def level(unit: float, nats: float) -> tuple[float, float]:
            complexity = frobenius_complexity(ones, size, found.classes, unit, found.n)
            return complexity, rademacher_confidence(found.n, self.delta, paid=nats)

        norm = norm_product([op.frobenius for op in operators])
        chosen = best_margin(found.margins, norm, self.steps, level)
        facts = {"data_norm": size, "depth": len(operators)}
        return norm_bound(self, found, chosen, "golowich2018_frobenius", facts=facts)


@implements("golowich2018_l1", "boundlab_norm_budgets")
@dataclass(frozen=True, kw_only=True)
class L1Norm(MarginBound):
    """Risk from the margins and the product of l1 norms: the largest row of each hidden layer, all of the last.

        R_0 <= r_gamma + (4/gamma) M |X|_(2,inf) sqrt(2 (d ln 2 + ln(D K)))/n + 3 sqrt((ln(2/delta) + nats)/(2n)),
        M = |W_d|_(1,1) m_(d-1) + |b_d|_1,    m_i = max_j (|row j of W_i|_1 m_(i-1) + |b_ij|),    m_0 = 1

    M is the product at the best values m_i of the constant unit. Never below `PathNorm`, whose M is at most this one.
    Parameters, errors and `nats` as in `FrobeniusNorm`.

    Notes
    -----
    Golowich, Rakhlin and Shamir (2018), the l1 form, as we understand the paper; constants of ``golowich2018_l1``.
    """

    name: str = "l1 norms and margins"

    def __call__(self, net: Subject, x: Any, y: Any) -> Bound:
        """Evaluate the bound at the best margin; rounded up."""
        found = examples(net, x, y)
        neurons_by_themselves(found, "the l1 bound")
        depth, inputs, column = len(found.chain.operators), found.x.shape[1] + 1, found.column

        def level(unit: float, nats: float) -> tuple[float, float]:
            complexity = l1_complexity(1.0, depth, column, inputs, found.classes, unit, found.n)
            return complexity, rademacher_confidence(found.n, self.delta, paid=nats)

        chosen = best_margin(found.margins, found.chain.l1_norm, self.steps, level)
        facts = {"column_norm": column, "depth": depth}
        return norm_bound(self, found, chosen, "golowich2018_l1", facts=facts)
