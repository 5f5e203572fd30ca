"""How outcomes, taken in order, become a verdict: the interface of every rule, and the e-process pair."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np

from boundlab._errors import InvalidParameter, probability
from boundlab._theory import implements
from boundlab.verification.judging.boundaries import Boundaries, first_where, monotone_boundaries
from boundlab.verification.judging.evidence import interval, log_e_upheld, log_e_violated, trials_if_no_failure
from boundlab.verification.verdict import State


class Outcome(IntEnum):
    """What a trial may answer. UNKNOWN (a timeout, a tie) counts against whichever verdict is claimed."""

    OK = 0
    FAILED = 1
    UNKNOWN = 2


def as_array(answer: Any, *, of: str = "trial") -> np.ndarray:
    """Return an answer as an array, or raise InvalidParameter: what a mask hides is no outcome."""
    try:
        array = np.asarray(answer)
    except ValueError as fault:
        raise InvalidParameter(f"{of} must give an array, got a ragged {type(answer).__name__}.") from fault
    if np.ma.is_masked(answer):
        raise InvalidParameter(f"{of} must give an outcome for each trial, got {np.ma.count_masked(answer)} masked.")
    return array


def as_outcomes(answer: Any, n: int, *, of: str = "trial") -> np.ndarray:
    """Return n outcomes as int8 from bools (True = failed) or whole numbers 0, 1, 2, or raise InvalidParameter."""
    array = as_array(answer, of=of)
    if array.shape != (n,):
        pooled = (
            "; outcomes that share coins or inputs are no independent trials: "
            "claim 'coins, mean over a set', or judge the whole table by verify_crossed"
        )
        raise InvalidParameter(
            f"{of} must return {n} outcomes, one each, got shape {array.shape}{pooled if array.ndim > 1 else ''}."
        )
    if array.dtype.kind == "b":
        return array.astype(np.int8)
    if array.dtype.kind not in "iu":
        share = "; shares are outcomes for 'coins, mean over a set' only" if array.dtype.kind == "f" else ""
        raise InvalidParameter(f"outcomes must be bool or the whole numbers 0, 1, 2, got dtype {array.dtype}{share}.")
    outside = (array < 0) | (array > 2)
    if outside.any():
        raise InvalidParameter(f"outcomes must be 0 ok, 1 failed or 2 unknown, got {array[outside][0]}.")
    return array.astype(np.int8)


class Counts(NamedTuple):
    """Trials, failures and unknown outcomes so far."""

    trials: int = 0
    failures: int = 0
    unknown: int = 0


class Rule(ABC):
    """From outcomes in index order to a verdict. A tally is a JSON value, so that a run can be put away and resumed."""

    @abstractmethod
    def read(self, answer: Any, n: int) -> np.ndarray:
        """Return a trial's answer as n outcomes, shape (n,), or raise InvalidParameter."""

    @abstractmethod
    def start(self) -> Any:
        """The tally of no trial."""

    @abstractmethod
    def look(self, tally: Any, outcomes: np.ndarray) -> tuple[State, Any, int]:
        """Take outcomes one after the other up to the first that decides: (state, tally, outcomes taken)."""

    @abstractmethod
    def counts(self, tally: Any) -> Counts:
        """Trials, failures and unknown outcomes of a tally."""

    @abstractmethod
    def findings(self, tally: Any, state: State) -> Findings:
        """What a verdict says beside its state."""

    @abstractmethod
    def failed(self, outcomes: np.ndarray) -> np.ndarray:
        """Which outcomes are failures."""

    @abstractmethod
    def undecided(self, outcomes: np.ndarray) -> np.ndarray:
        """Which outcomes are unknown."""

    @property
    @abstractmethod
    def unknown(self) -> float:
        """The outcome of a trial without an answer."""

    @property
    def horizon(self) -> int | None:
        """The trial after which nothing more can be said, or None."""
        return None

    @property
    @abstractmethod
    def fewest(self) -> int:
        """The smallest number of trials that can uphold the claim."""


class Findings(NamedTuple):
    """Limits of the failure probability, and the evidence for and against; nan where a rule has none."""

    interval: tuple[float, float]
    log_e_upheld: float = math.nan
    log_e_violated: float = math.nan


class CountRule(Rule):
    """A rule that looks at (n, k) only: n trials, k of them failed.

    `upheld` is asked with k = failed + unknown and `violated` with k = failed, so that an unknown outcome counts
    against both.
    """

    @abstractmethod
    def upheld(self, n: np.ndarray, k: np.ndarray) -> np.ndarray:
        """Whether n trials with k failures uphold the claim; elementwise on whole numbers."""

    @abstractmethod
    def violated(self, n: np.ndarray, k: np.ndarray) -> np.ndarray:
        """Whether n trials with k failures refute the claim; elementwise on whole numbers."""

    @abstractmethod
    def boundaries(self, last: int) -> Boundaries:
        """Where the rule decides, for n = 0, 1, ..., last: upheld iff k <= low[n], violated iff k >= high[n]."""

    def read(self, answer: Any, n: int) -> np.ndarray:
        """Outcomes as int8: bool (True = failed) or the whole numbers 0, 1, 2."""
        return as_outcomes(answer, n)

    def start(self) -> Any:
        """No trial: [0, 0, 0]."""
        return list(Counts())

    def counts(self, tally: Any) -> Counts:
        """The tally is the three counts."""
        return Counts(*tally)

    def failed(self, outcomes: np.ndarray) -> np.ndarray:
        """Outcomes that are 1."""
        return outcomes == Outcome.FAILED

    def undecided(self, outcomes: np.ndarray) -> np.ndarray:
        """Outcomes that are 2."""
        return outcomes == Outcome.UNKNOWN

    @property
    def unknown(self) -> float:
        """2."""
        return float(Outcome.UNKNOWN)

    def look(self, tally: Any, outcomes: np.ndarray) -> tuple[State, Any, int]:
        """Look after each outcome; the first crossing decides, violated before upheld."""
        n, k, u = tally
        trials = n + np.arange(1, len(outcomes) + 1)
        failures = k + np.cumsum(outcomes == Outcome.FAILED)
        unknown = u + np.cumsum(outcomes == Outcome.UNKNOWN)
        violated = self.violated(trials, failures)
        upheld = self.upheld(trials, failures + unknown)
        crossed = violated | upheld
        last = int(np.argmax(crossed)) if crossed.any() else len(outcomes) - 1
        state = State.VIOLATED if violated[last] else State.UPHELD if upheld[last] else State.UNDECIDED
        return state, [int(trials[last]), int(failures[last]), int(unknown[last])], last + 1


@dataclass(frozen=True, kw_only=True)
class RateRule(CountRule):
    """A count rule for independent trials: two one-sided tests of one failure rate, each at its own threshold.

    `at_upheld` and `at_violated` are the rates that are judged: both delta, but for a nested claim. There the trials
    show bits whose rates lie on either side of p, and `delta` is what is claimed of p itself.
    """

    at_upheld: float
    at_violated: float
    alpha_upheld: float
    alpha_violated: float
    delta: float | None = None

    def __post_init__(self) -> None:
        for name in ("at_upheld", "at_violated", "alpha_upheld", "alpha_violated"):
            object.__setattr__(self, name, probability(name, getattr(self, name)))

    @abstractmethod
    def seen(self, tally: Any) -> Findings:
        """Limits of the rates that the trials show, and the evidence."""

    def findings(self, tally: Any, state: State) -> Findings:
        """Limits of what the claim speaks of, in agreement with the verdict."""
        found = self.seen(tally)
        claimed = self.at_upheld if self.delta is None else self.delta
        return found._replace(interval=agreeing(self._of_the_claim(*found.interval), state, claimed))

    @implements("boundlab_nested_claim")
    def _of_the_claim(self, low: float, high: float) -> tuple[float, float]:
        """Limits of p: P(Z^U) >= (1 - beta_U) p and P(Z^L) <= p + beta_L (1 - p), solved for p and rounded outwards."""
        if self.delta is None:
            return low, high
        # 1 - beta_U = at_upheld/delta and 1 - beta_L = (1 - at_violated)/(1 - delta), up to rounding to the safe side.
        above = high * (self.delta / self.at_upheld) * (1.0 + 2.0**-50)
        below = (1.0 - low) * ((1.0 - self.delta) / (1.0 - self.at_violated)) * (1.0 + 2.0**-50)
        return max(0.0, math.nextafter(1.0 - below, -1.0)), min(1.0, above)


def agreeing(limits: tuple[float, float], state: State, delta: float) -> tuple[float, float]:
    """Limits with low >= delta iff the claim is violated and high <= delta iff it is upheld.

    A verdict is itself a limit at its level. Limits and verdict are the same tests, or the limits are the weaker ones:
    only rounding can let a limit claim more than the verdict, and then the verdict is followed.
    """
    low, high = limits
    low = max(low, delta) if state is State.VIOLATED else min(low, math.nextafter(delta, 0.0))
    high = min(high, delta) if state is State.UPHELD else max(high, math.nextafter(delta, 1.0))
    return low, high


class BoundaryRule(RateRule):
    """A rate rule that is given by its boundaries."""

    @implements("boundlab_boundary_rules", "boundlab_nested_claim")
    def upheld(self, n: np.ndarray, k: np.ndarray) -> np.ndarray:
        """Whether k <= low[n]."""
        return k <= self.boundaries(int(np.max(n))).low[n]

    @implements("boundlab_boundary_rules", "boundlab_nested_claim")
    def violated(self, n: np.ndarray, k: np.ndarray) -> np.ndarray:
        """Whether k >= high[n]."""
        return k >= self.boundaries(int(np.max(n))).high[n]


@dataclass(frozen=True, kw_only=True)
class EProcesses(RateRule):
    """Upheld when M-(n, failed + unknown) >= 1/alpha_upheld, violated when M+(n, failed) >= 1/alpha_violated."""

    @implements("ville1939_e_process_pair", "boundlab_unknown_outcomes", "boundlab_nested_claim")
    def upheld(self, n: np.ndarray, k: np.ndarray) -> np.ndarray:
        """M-(n, k) >= 1/alpha_upheld."""
        return log_e_upheld(n, k, self.at_upheld) >= -math.log(self.alpha_upheld)

    @implements("ville1939_e_process_pair", "boundlab_unknown_outcomes", "boundlab_nested_claim")
    def violated(self, n: np.ndarray, k: np.ndarray) -> np.ndarray:
        """M+(n, k) >= 1/alpha_violated."""
        return log_e_violated(n, k, self.at_violated) >= -math.log(self.alpha_violated)

    def boundaries(self, last: int) -> Boundaries:
        """Both are monotone in n and in k: a success raises M- and lowers M+, a failure the other way round."""
        return monotone_boundaries(self.upheld, self.violated, last)

    def seen(self, tally: Any) -> Findings:
        """The confidence sequence by inversion, and both log e-values."""
        n, k, u = tally
        limits = interval(n, k, u, alpha_upheld=self.alpha_upheld, alpha_violated=self.alpha_violated)
        for_it = float(log_e_upheld(n, k + u, self.at_upheld))
        return Findings(limits, for_it, float(log_e_violated(n, k, self.at_violated)))

    def about_more(self, tally: Any) -> int | None:
        """About how many more trials decide if the rates stay as they are; None if 1,000 times as many would not."""
        n, k, u = tally

        def decided(more: int) -> bool:
            grown = (n + more) / n
            upheld = self.upheld(np.asarray(n + more), np.asarray(round((k + u) * grown)))
            return bool(upheld | self.violated(np.asarray(n + more), np.asarray(round(k * grown))))

        found = first_where(decided, 1, 1_000 * n + 1)
        return None if found > 1_000 * n else found

    @property
    def fewest(self) -> int:
        """Failure-free trials that uphold the claim."""
        return trials_if_no_failure(self.at_upheld, self.alpha_upheld)
