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
    alone,
    chance,
    classifier,
    count_errors,
    evidence,
    telescope,
)
from boundlab.concentration.binomial import lower_limit, upper_limit
from boundlab.nets.given_points import fingerprints
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
    """How many examples (x, y) are copies of an earlier one: shapes (n, ...) and (n,).

    A copy is no independent example: counted as one it multiplies n without adding information.
    """
    rows = zip(np.ascontiguousarray(x).reshape(len(y), -1) + np.zeros((), x.dtype), y.tolist(), strict=True)
    return len(y) - len({(row.tobytes(), label) for row, label in rows})


def _each(delta: float, models: int) -> float:
    """The level delta / M of each of M statements, rounded down."""
    return probability("delta", delta) / positive_int("models", models) * (1.0 - 1e-15)


@implements("clopper_pearson1934", "boundlab_validity_rules")
@dataclass(frozen=True, kw_only=True)
class TestSet(GeneralizationBound):
    """Risk of any net from k errors on n examples that shaped neither it nor the choice of it.

    R(net) <= Bin+(k, n, delta) with probability at least 1 - delta over the examples: the exact binomial limit, to
    which every bound from training data has to be compared. Ties count as errors. For the best of M nets, screened on
    the same examples, use delta / M.

    An example that shaped the net, by training or by a compression, is not fresh: those that are known by their digest
    count as errors, whatever the net makes of them, so that the bound holds for any that have slipped in (k is then at
    least what it would be on the examples in whose place they stand). ``facts["lower_limit"]`` is a statement of its
    own at delta: both together, `screened_interval`.

    Parameters
    ----------
    delta : float
        In (0, 1).
    name : str
        What a table calls it.
    seen : frozenset of bytes
        Digests (``boundlab.nets.given_points.fingerprints``) of points that shaped the net; those that calibrated a
        compression are known.

    Notes
    -----
    Clopper and Pearson (1934); as a bound on a classifier Langford, "Tutorial on practical prediction theory for
    classification", JMLR 6 (2005), as we understand the papers.
    """

    __test__ = False  # the name is the field's: pytest collects no test from it

    sample = Sample.FRESH
    name: str = "test set"
    seen: frozenset[bytes] = frozenset()

    def __call__(self, net: Subject, x: Any, y: Any) -> Bound:
        """Count errors on the test points and invert the binomial tail; rounded up."""
        x, y = evidence(net, x, y)
        own, n = classifier(net), len(x)
        shaped = self.seen | getattr(net, "calibration", frozenset())
        known = np.array([digest in shaped for digest in fingerprints(x)]) if shaped else np.zeros(n, bool)
        errors = int(known.sum()) + (count_errors(own, x[~known], y[~known]) if not known.all() else 0)
        value = upper_limit(errors, n, self.delta)
        return Bound(
            name=self.name,
            terms=telescope(("empirical risk", "confidence"), (errors / n, value)),
            delta=self.delta,
            theorem="clopper_pearson1934",
            chance=chance(y),
            premises=(
                Premise(
                    text="points not known to be seen were never used in training, compression or the choice",
                    status=Status.ASSUMED,
                    evidence=f"{int(known.sum())} of {n} are known to be seen, and count as errors; of the others, the "
                    "points do not show it",
                    numbers={"seen": float(known.sum())},
                ),
                IID,
                *alone(own, x),
            ),
            facts={"errors": errors, "n": n, "seen": int(known.sum()), "copies": repeats(x, y)}
            | {"lower_limit": lower_limit(errors - int(known.sum()), n, self.delta)},
        )
