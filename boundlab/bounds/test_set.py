"""The test-set bound: what fresh examples alone say of a fixed net."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from boundlab._theory import implements
from boundlab.bounds.generalization_bound import GeneralizationBound, chance, count_errors, evidence, telescope
from boundlab.concentration.binomial import lower_limit, upper_limit
from boundlab.records import Bound, Compression, Premise, Status


@implements("clopper_pearson1934")
@dataclass(frozen=True, kw_only=True)
class TestSet(GeneralizationBound):
    """Risk of the compressed net from k errors on n examples that shaped neither it nor the choice of it.

    R(net) <= Bin+(k, n, delta) with probability at least 1 - delta over the examples: the exact binomial limit, to
    which every bound from training data has to be compared. The net certified is `compression.net`, ties counted as
    errors. For the best of M nets, screened on the same examples, use delta / M.

    Notes
    -----
    Clopper and Pearson (1934); as a bound on a classifier Langford, "Tutorial on practical prediction theory for
    classification", JMLR 6 (2005), as we understand the papers.
    """

    __test__ = False  # the name is the field's: pytest collects no test from it

    name: str = "test set"

    def __call__(self, compression: Compression, x: Any, y: Any) -> Bound:
        """Count errors on the test points and invert the binomial tail; rounded up."""
        x, y = evidence(compression, x, y)
        n, errors = len(x), count_errors(compression.net, x, y)
        value = upper_limit(errors, n, self.delta)
        return Bound(
            name=self.name,
            terms=telescope(("empirical risk", "confidence"), (errors / n, value)),
            delta=self.delta,
            theorem="clopper_pearson1934",
            chance=chance(compression),
            premises=(
                Premise(
                    text="the points were never used in training, compression or the choice of the net",
                    status=Status.ASSUMED,
                    evidence="a property of how the points were used, which the points do not show",
                ),
                Premise(
                    text="the points are i.i.d. from the distribution whose risk is bounded",
                    status=Status.ASSUMED,
                    evidence="a property of how the points were collected",
                ),
            ),
            facts={"errors": errors, "n": n, "lower_limit": lower_limit(errors, n, self.delta)},
        )
