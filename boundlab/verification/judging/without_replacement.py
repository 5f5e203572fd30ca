"""The failing share of one finite set, its members drawn without replacement: exact once all of them were seen."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from boundlab._errors import positive_int, probability
from boundlab._theory import implements
from boundlab.concentration.finite_population import log_e_at_least, log_e_at_most
from boundlab.verification.judging.boundaries import Boundaries, first_where, monotone_boundaries
from boundlab.verification.judging.rules import CountRule, Findings
from boundlab.verification.verdict import State


@dataclass(frozen=True, kw_only=True)
class WithoutReplacement(CountRule):
    """Judges "K of N members fail, K/N <= delta" by evidence against K > delta N, and against K <= delta N.

    Both priors are beta-binomial, on a scale of 1/delta and 1/(2 delta) (at most N), the first with half its weight at
    K = 0: as in the e-process pair, for a finite set. Where few members are left, evidence is certain, and infinite.
    """

    delta: float
    population: int
    alpha_upheld: float
    alpha_violated: float

    def __post_init__(self) -> None:
        for name in ("delta", "alpha_upheld", "alpha_violated"):
            object.__setattr__(self, name, probability(name, getattr(self, name)))
        object.__setattr__(self, "population", positive_int("population", self.population))

    @property
    def allowed(self) -> int:
        """The most members that may fail: the whole part of delta N, with the float delta as the rational it is."""
        return math.floor(Fraction(self.delta) * self.population)

    @implements("waudby_smith2020_without_replacement")
    def upheld(self, n: np.ndarray, k: np.ndarray) -> np.ndarray:
        """Whether "more than delta N fail" is refuted at alpha_upheld."""
        return self._log_e_above(n, k, self.allowed) >= -math.log(self.alpha_upheld)

    @implements("waudby_smith2020_without_replacement")
    def violated(self, n: np.ndarray, k: np.ndarray) -> np.ndarray:
        """Whether "at most delta N fail" is refuted at alpha_violated."""
        return self._log_e_at_most(n, k, self.allowed) >= -math.log(self.alpha_violated)

    def boundaries(self, last: int) -> Boundaries:
        """Both kinds of evidence are monotone in n and in k once they are above 0."""
        return monotone_boundaries(self.upheld, self.violated, last)

    def findings(self, tally: Any, state: State) -> Findings:
        """Limits of K/N, rounded outwards: the counts that neither kind of evidence refutes; and both log e-values.

        upheld iff the upper limit is at most delta; violated only if the lower one is at least delta. The verdict does
        not move them: it is the same comparison of whole numbers.
        """
        n, k, u = self.counts(tally)
        size, level = self.population, -math.log(self.alpha_upheld)
        most = first_where(lambda count: bool(self._log_e_above(n, k + u, count) >= level), 0, size)
        level = -math.log(self.alpha_violated)
        least = first_where(lambda count: bool(self._log_e_at_most(n, k, count) < level), 0, size)
        limits = _below(Fraction(least, size)), 0.0 - _below(-Fraction(most, size))  # a plain minus would make -0.0
        return Findings(
            limits,
            float(self._log_e_above(n, k + u, self.allowed)),
            float(self._log_e_at_most(n, k, self.allowed)),
        )

    @property
    def horizon(self) -> int:
        """The whole set."""
        return self.population

    @property
    def fewest(self) -> int:
        """Failure-free trials that uphold the claim."""
        return first_where(lambda n: bool(self.upheld(np.asarray(n), np.asarray(0))), 0, self.population)

    def _log_e_above(self, n: Any, k: Any, count: int) -> np.ndarray:
        """Log evidence against "more than `count` members fail"; against nothing at all if count = N."""
        if count == self.population:
            return np.full(np.shape(n), np.inf)
        return log_e_at_least(k, n, self.population, count + 1, scale=min(1.0 / self.delta, self.population))

    def _log_e_at_most(self, n: Any, k: Any, count: int) -> np.ndarray:
        return log_e_at_most(k, n, self.population, count, scale=max(1.0, min(0.5 / self.delta, self.population)))


def _below(share: Fraction) -> float:
    """The largest float that is at most a share."""
    near = float(share)
    return near if Fraction(near) <= share else math.nextafter(near, -math.inf)
