"""The test-set bound: what fresh examples alone say of a fixed net."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from boundlab._errors import positive_int, probability
from boundlab._theory import implements
from boundlab.bounds.generalization_bound import (
    IID,
    GeneralizationBound,
    Sample,
    Subject,
    chance,
    classifier,
    count_errors,
    evidence,
    telescope,
)
from boundlab.concentration.binomial import lower_limit, upper_limit
from boundlab.promises import Bound, Premise, Status


@implements("langford2005_test_set", "boundlab_validity_rules")
def screened_limit(errors: int, n: int, delta: float, *, models: int = 1) -> float:
    """Bin+(k, n, delta / M): an upper limit of the risk of the best, or any, of M nets tested on the same n examples.

    Parameters
    ----------
    errors : int
        k in 0..n, ties included.
    n : int
        Fresh examples, >= 1.
    delta : float
        In (0, 1), for all M statements together.
    models : int
        M >= 1: every net whose errors on these examples could have influenced the choice.

    Returns
    -------
    float
        In (0, 1], rounded up.

    Raises
    ------
    InvalidParameter
        If an argument is out of its range.

    Notes
    -----
    Langford (JMLR 6, 2005), as we understand the paper; proved in ``langford2005_test_set``.

    Examples
    --------
    >>> f"{screened_limit(100, 10_000, 0.05):.3%}", f"{screened_limit(100, 10_000, 0.05, models=20):.3%}"
    ('1.180%', '1.313%')
    """
    return upper_limit(errors, n, _each(delta, models))


@implements("langford2005_test_set")
def screened_interval(errors: int, n: int, delta: float, *, models: int = 1) -> tuple[float, float]:
    """Two-sided limits of the risks of M nets, delta / (2M) on each side; the lower one, rounded down, refutes claims.

    Parameters and errors as in `screened_limit`.

    Examples
    --------
    >>> "{:.3%} {:.3%}".format(*screened_interval(100, 10_000, 0.05))
    '0.814% 1.215%'
    """
    alpha = 0.5 * _each(delta, models)
    return lower_limit(errors, n, alpha), upper_limit(errors, n, alpha)


@implements("boundlab_validity_rules")
def repeats(x: np.ndarray, y: np.ndarray) -> int:
    """How many examples (x, y) are copies of an earlier one: shapes (n, features) and (n,).

    A copy is no independent example: counted as one it multiplies n without adding information.
    """
    return len(y) - len(np.unique(np.column_stack([x, y]) + 0.0, axis=0))


def _each(delta: float, models: int) -> float:
    """The level delta / M of each of M statements, rounded down."""
    return probability("delta", delta) / positive_int("models", models) * (1.0 - 1e-15)


@implements("clopper_pearson1934")
@dataclass(frozen=True, kw_only=True)
class TestSet(GeneralizationBound):
    """Risk of any net from k errors on n examples that shaped neither it nor the choice of it.

    R(net) <= Bin+(k, n, delta) with probability at least 1 - delta over the examples: the exact binomial limit, to
    which every bound from training data has to be compared. Ties count as errors. For the best of M nets, screened on
    the same examples, use delta / M.

    Notes
    -----
    Clopper and Pearson (1934); as a bound on a classifier Langford, "Tutorial on practical prediction theory for
    classification", JMLR 6 (2005), as we understand the papers.
    """

    __test__ = False  # the name is the field's: pytest collects no test from it

    sample = Sample.FRESH
    name: str = "test set"

    def __call__(self, net: Subject, x: Any, y: Any) -> Bound:
        """Count errors on the test points and invert the binomial tail; rounded up."""
        x, y = evidence(net, x, y)
        n, errors = len(x), count_errors(classifier(net), x, y)
        value = upper_limit(errors, n, self.delta)
        return Bound(
            name=self.name,
            terms=telescope(("empirical risk", "confidence"), (errors / n, value)),
            delta=self.delta,
            theorem="clopper_pearson1934",
            chance=chance(y),
            premises=(
                Premise(
                    text="the points were never used in training, compression or the choice of the net",
                    status=Status.ASSUMED,
                    evidence="a property of how the points were used, which the points do not show",
                ),
                IID,
            ),
            facts={"errors": errors, "n": n, "lower_limit": lower_limit(errors, n, self.delta)},
        )
