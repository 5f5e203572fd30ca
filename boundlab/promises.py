"""The nouns of what is promised: a premise and its status, a certificate of a compression, a bound on a risk."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from boundlab._theory import implements
from boundlab.records import Record, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CONTAMINATED = 0.01
"""Share of points found among points that they must be independent of, from which on that premise counts as violated;
data sets repeat a point now and then by nature."""


class Status(StrEnum):
    """How far a premise is secured."""

    CHECKED = "checked"
    ASSUMED = "assumed"
    VIOLATED = "violated"


@dataclass(frozen=True, kw_only=True)
class Premise(Record):
    """One condition of a theorem, with its status and the evidence for it."""

    text: str
    status: Status
    evidence: str
    numbers: Mapping[str, float] = field(default_factory=dict)

    def rows(self) -> list[Row]:
        """One line."""
        return [{"premise": self.text, "status": str(self.status), "evidence": self.evidence}]


@implements("boundlab_holdout_certificate")
def contaminated(shared: int, points: int) -> bool:
    """Whether so many of the points are shared that chance repeats no longer explain it."""
    return shared > 0 and shared >= CONTAMINATED * points


@dataclass(frozen=True, kw_only=True)
class Certificate(Record):
    """A promise: `claim` fails with probability at most `delta` over fresh coins and a fresh input together.

    It is no statement about all inputs of the one net that was drawn: of that one it says that with probability at
    least 1 - sqrt(delta) over the coins the claim fails on at most a share sqrt(delta) of the inputs (Markov). A net
    picked among several draws has no promise. Where `over` is "x" it speaks of the one net that was drawn.

    `budget` shares `delta` out over its causes and adds up to it; `confidence_delta` is the chance that the hold-out
    sample, from which a part of the budget was estimated, misleads. `sampled_share` is the share of groups that are
    not kept exactly, but sampled or, where no calibration point activates them, dropped: at 0 the net is the original.
    """

    claim: str
    over: str = "coins,x"
    eps: float | None
    delta: float
    requested_delta: float
    theorem: str
    premises: tuple[Premise, ...]
    budget: Mapping[str, float]
    confidence_delta: float = 0.0
    sampled_share: float
    chance: float = 1.0  # the delta that a net which knows nothing reaches
    error: Mapping[str, float] = field(default_factory=dict)

    @property
    def vacuous(self) -> bool:
        """True where the promise says nothing: no group is sampled, delta reaches chance, or the promised error 1.

        A promised error is relative: at 1 or more, the zero net would keep the promise too.
        """
        typical = self.error.get("promised_relative_l1_median", self.eps if self.eps is not None else 0.0)
        return self.sampled_share == 0 or not self.delta < self.chance or not typical < 1

    @property
    def void(self) -> bool:
        """True where a premise is violated, so that the theorem promises nothing here."""
        return any(p.status is Status.VIOLATED for p in self.premises)

    @property
    def met(self) -> bool:
        """True where the promise holds at the requested delta: not void, and delta <= requested_delta."""
        return not self.void and self.delta <= self.requested_delta

    def rows(self) -> list[Row]:
        """One line."""
        return [
            {
                "claim": self.claim,
                "over": self.over,
                "theorem": self.theorem,
                "eps": self.eps,
                "delta": self.delta,
                "requested_delta": self.requested_delta,
                "confidence_delta": self.confidence_delta,
                "sampled_share": self.sampled_share,
                "vacuous": self.vacuous,
                "void": self.void,
                "met": self.met,
            }
        ]


class Standing(StrEnum):
    """What a bound is worth on the net at hand."""

    NON_VACUOUS = "non-vacuous"
    VACUOUS = "vacuous"
    MEASURE = "measure only"
    VOID = "premise violated"


@dataclass(frozen=True, kw_only=True)
class Bound(Record):
    """An upper bound on a risk in [0, 1]; its terms add up to `raw`, and `value` is `raw` cut at 1.

    `delta` is the probability over the sample that the bound fails. `chance` is the risk of a uniform random guess,
    1 - 1/classes: a bound at or above it is vacuous. `measure`, where it is not empty, says why the number bounds
    nothing: a constant that nobody knows, a class that the data chose.
    """

    name: str
    terms: tuple[tuple[str, float], ...]
    delta: float
    theorem: str
    chance: float = 1.0
    premises: tuple[Premise, ...] = ()
    facts: Mapping[str, float] = field(default_factory=dict)
    measure: str = ""

    @property
    def raw(self) -> float:
        """The sum of the terms."""
        return math.fsum(value for _, value in self.terms)

    @property
    def value(self) -> float:
        """The bound, at most 1."""
        return min(1.0, self.raw)

    @property
    def vacuous(self) -> bool:
        """True where the bound is no better than a random guess."""
        return not self.raw < self.chance

    @property
    def void(self) -> bool:
        """True where a premise is violated."""
        return any(p.status is Status.VIOLATED for p in self.premises)

    @property
    def standing(self) -> Standing:
        """Non-vacuous, vacuous, a measure only, or void."""
        if self.measure:
            return Standing.MEASURE
        if self.void:
            return Standing.VOID
        return Standing.VACUOUS if self.vacuous else Standing.NON_VACUOUS

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the bound as a bar, stacked by its terms and cut at 1."""
        from boundlab.report.figures import plot_terms

        return plot_terms([(self.name, self)], ax)

    def rows(self) -> list[Row]:
        """One line, with the terms spelled out."""
        return [
            {
                "name": self.name,
                "value": self.value,
                "standing": str(self.standing),
                "delta": self.delta,
                "vacuous": self.vacuous,
                "void": self.void,
                "terms": " + ".join(f"{name} {value:.4g}" for name, value in self.terms),
                "theorem": self.theorem,
            }
        ]
