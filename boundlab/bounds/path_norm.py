"""Bounds in the path norm, which rescaling a neuron does not change: published, and without the factor 2^depth."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from boundlab._errors import positive, positive_int
from boundlab._theory import implements
from boundlab.bounds.generalization_bound import Subject
from boundlab.bounds.norm_budgets import (
    MarginBound,
    best_margin,
    examples,
    neurons_by_themselves,
    norm_bound,
    rademacher_confidence,
)
from boundlab.bounds.size_independent import l1_complexity
from boundlab.promises import Bound

_UP = 1.0 + 1e-12


@implements("neyshabur2015_path_norm")
def path_complexity(path: float, depth: int, largest_input: float, dimension: int, n: int) -> float:
    """Return 2^(d-1) phi_1 |x|_inf sqrt(2 ln(2D)/n): the Rademacher complexity of one output under a path-norm budget.

    With D K in the place of D, it holds for K outputs with signs of their own, whose path norms sum to phi_1.

    Parameters
    ----------
    path : float
        phi_1, the sum over paths of the products of |weights|.
    depth : int
        d, the number of weight layers.
    largest_input : float
        The largest absolute entry of an input.
    dimension : int
        D, the number of inputs; times the number of outputs.
    n : int
        Examples.

    Raises
    ------
    InvalidParameter
        If a value is not positive.

    Notes
    -----
    Source: Neyshabur, Tomioka and Srebro (2015), arXiv:1503.00036, as we understand the paper;
    ``proofs_checks/neyshabur2015_path_norm.py``.
    """
    layers = positive_int("depth", depth)
    linear = positive("largest_input", largest_input) * math.sqrt(
        2.0 * math.log(2.0 * positive_int("dimension", dimension))
    )
    return 2.0 ** (layers - 1) * positive("path", path) * linear / math.sqrt(positive_int("n", n)) * _UP


@implements("neyshabur2015_path_norm", "golowich2018_l1", "boundlab_norm_budgets")
@dataclass(frozen=True, kw_only=True)
class PathNorm(MarginBound):
    """Risk from the margins and the path norm phi, the sum over all paths to all outputs of the products of |weights|.

        R_0 <= r_gamma + (4/gamma) phi |X|_(2,inf) sqrt(2 (d ln 2 + ln(D K)))/n + 3 sqrt((ln(2/delta) + nats)/(2n))

    Rescaled so that each hidden neuron reads weights of l1 norm 1, the net has phi as the l1 norm of its last layer:
    the l1 bound then holds with phi in the place of a product of norms. The published term, (4/gamma) phi 2^(d-1)
    |x|_inf sqrt(2 ln(2DK)/n) after the step to K outputs, is ``facts["published_complexity"]``.

    Parameters
    ----------
    delta : float
        In (0, 1).
    name : str
        What a table calls it.
    steps : int
        Values 2^(k/steps) of gamma/phi from one power of 2 to the next, at least 1; `nats` pay for the choice of k.

    Raises
    ------
    InvalidParameter
        If delta or steps is out of its range.
    UnsupportedLayer
        If the net is no chain of operators (``operator_chain``), or holds a max pooling.

    Notes
    -----
    Neyshabur, Tomioka and Srebro (2015), as we understand the paper, with the peeling of Golowich, Rakhlin and Shamir
    (2018) in the place of its factor 2^(d-1); ``golowich2018_l1``.
    """

    name: str = "path norm and margins"

    def __call__(self, net: Subject, x: Any, y: Any) -> Bound:
        """Evaluate the bound at the best margin; rounded up."""
        found = examples(net, x, y)
        neurons_by_themselves(found, "the path-norm bound")
        depth, inputs, column = len(found.chain.operators), found.x.shape[1] + 1, found.column

        def level(unit: float, nats: float) -> tuple[float, float]:
            complexity = l1_complexity(1.0, depth, column, inputs, found.classes, unit, found.n)
            return complexity, rademacher_confidence(found.n, self.delta, paid=nats)

        chosen = best_margin(found.margins, found.chain.path_norm, self.steps, level)
        entry = max(1.0, float(found.x.max()), -float(found.x.min()))
        published = 4.0 / chosen.normalised * path_complexity(1.0, depth, entry, inputs * found.classes, found.n)
        facts = {"column_norm": column, "depth": depth, "published_complexity": published * _UP}
        return norm_bound(self, found, chosen, "golowich2018_l1", facts=facts)
