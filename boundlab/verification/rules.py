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
from boundlab.verification.evidence import interval, log_e_upheld, log_e_violated, trials_if_no_failure
from boundlab.verification.verdict import State


class Outcome(IntEnum):
    """What a trial may answer. UNKNOWN (a timeout, a tie) counts against whichever verdict is claimed."""

    OK = 0
    FAILED = 1
    UNKNOWN = 2


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

    def read(self, answer: Any, n: int) -> np.ndarray:
        """Outcomes as int8: bool (True = failed) or the whole numbers 0, 1, 2."""
        array = np.asarray(answer)
        if array.shape != (n,):
            raise InvalidParameter(f"trial must return {n} outcomes, one per trial, got shape {array.shape}.")
        if array.dtype.kind not in "biu":
            raise InvalidParameter(f"outcomes must be bool or the whole numbers 0, 1, 2, got dtype {array.dtype}.")
        known = (array == Outcome.OK) | (array == Outcome.FAILED) | (array == Outcome.UNKNOWN)
        if not known.all():
            raise InvalidParameter(f"outcomes must be 0 ok, 1 failed or 2 unknown, got {array[~known][0]}.")
        return array.astype(np.int8)

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
class EProcesses(CountRule):
    """Upheld when M-(n, failed + unknown) >= 1/alpha_upheld, violated when M+(n, failed) >= 1/alpha_violated.

    `at_upheld` and `at_violated` are the rates that are judged: both delta, but for nested claims.
    """

    at_upheld: float
    at_violated: float
    alpha_upheld: float
    alpha_violated: float

    def __post_init__(self) -> None:
        for name in ("at_upheld", "at_violated", "alpha_upheld", "alpha_violated"):
            object.__setattr__(self, name, probability(name, getattr(self, name)))

    @implements("ville1939_e_process_pair", "boundlab_unknown_outcomes", "boundlab_nested_claim")
    def upheld(self, n: np.ndarray, k: np.ndarray) -> np.ndarray:
        """M-(n, k) >= 1/alpha_upheld."""
        return log_e_upheld(n, k, self.at_upheld) >= -math.log(self.alpha_upheld)

    @implements("ville1939_e_process_pair", "boundlab_unknown_outcomes", "boundlab_nested_claim")
    def violated(self, n: np.ndarray, k: np.ndarray) -> np.ndarray:
        """M+(n, k) >= 1/alpha_violated."""
        return log_e_violated(n, k, self.at_violated) >= -math.log(self.alpha_violated)

    def findings(self, tally: Any, state: State) -> Findings:
        """The confidence sequence by inversion, and both log e-values."""
        n, k, u = tally
        low, high = interval(n, k, u, alpha_upheld=self.alpha_upheld, alpha_violated=self.alpha_violated)
        # Verdict and limits are the same tests; where rounding parts them in the last bits, the verdict is followed.
        low = max(low, self.at_violated) if state is State.VIOLATED else low
        high = min(high, self.at_upheld) if state is State.UPHELD else high
        for_it = float(log_e_upheld(n, k + u, self.at_upheld))
        return Findings((low, high), for_it, float(log_e_violated(n, k, self.at_violated)))

    @property
    def fewest(self) -> int:
        """Failure-free trials that uphold the claim."""
        return trials_if_no_failure(self.at_upheld, self.alpha_upheld)
