"""What simulated trials say of a claim."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Context
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from boundlab._errors import GuaranteeViolated, InvalidParameter
from boundlab.files import write_atomically
from boundlab.records import Record, Row
from boundlab.verification.claim import Claim

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SCHEMA = "boundlab.verdict/1"
"""The format of `Verdict.to_dict`; its JSON Schema is boundlab/report/verdict.schema.json."""


class State(StrEnum):
    """What the evidence says of a claim."""

    UPHELD = "upheld"
    VIOLATED = "violated"
    UNDECIDED = "undecided"


class Judgement(Record):
    """What all verdicts share: three states, none of which is a truth value."""

    def __bool__(self) -> bool:
        raise TypeError(f"a {type(self).__name__} has three states: compare .state.")


@dataclass(frozen=True, kw_only=True)
class Verdict(Judgement):
    """What simulated trials say of the claim P(failure) <= delta.

    `upheld` is wrong with probability at most `alpha_upheld`, `violated` with probability at most `alpha_violated`,
    at whatever moment one looks. `unknown` outcomes count against whichever verdict is claimed. All fields but a
    budget in seconds are functions of claim, seed and trial: the same on any number of workers.
    """

    claim: Claim
    state: State
    trials: int
    failures: int
    unknown: int
    interval: tuple[float, float]  # limits of the failure probability, at the two alphas
    log_e_upheld: float  # nan where the method has no e-process
    log_e_violated: float
    alpha_upheld: float
    alpha_violated: float
    stopped_because: str
    seed: int
    batch: int = 1  # trials per stream
    method: str = "e-process"
    fewest: int = 0  # trials that uphold the claim if none fails
    path: tuple[tuple[int, int, int], ...] = ()  # (trials, failures, unknown) at rising trials
    first_failures: tuple[int, ...] = ()  # indices of the first failing trials, for a replay
    first_unknown: tuple[int, ...] = ()
    warnings: tuple[str, ...] = ()
    continuation: Callable[..., Verdict] | None = field(default=None, repr=False, compare=False)

    @property
    def delta(self) -> float:
        """The failure probability that is claimed."""
        return self.claim.delta

    @property
    def resolution(self) -> str:
        """One sentence: what this many trials can tell."""
        low, high = _digits(self.interval[0], ROUND_FLOOR), _digits(self.interval[1], ROUND_CEILING)
        if self.state is State.VIOLATED:
            return f"The failure probability is at least {low}, and delta = {self.delta:g}."
        if self.state is State.UPHELD:
            return f"The failure probability is at most {high}; {self.fewest} trials without a failure are the fewest."
        if self.trials < self.fewest:
            return (
                f"{self.trials} trials cannot uphold delta = {self.delta:g}: "
                f"even without a failure it needs {self.fewest}."
            )
        return (
            f"{self.fewest} failure-free trials would have been enough; the failure probability lies in "
            f"[{low}, {high}], with delta = {self.delta:g} inside."
        )

    def require(self, state: State | str = State.UPHELD) -> Verdict:
        """Return self if the state is the wanted one, else raise GuaranteeViolated."""
        if self.state != state:
            raise GuaranteeViolated(
                f"the claim '{self.claim.name}' must be {state}, it is {self.state}: "
                f"{self.failures} failures and {self.unknown} unknown in {self.trials} trials "
                f"against delta={self.delta:g}."
            )
        return self

    def resume(self, *, max_trials: int | None = None, max_seconds: float | None = None) -> Verdict:
        """Go on where this run stopped, on the same streams: the verdict is that of one longer run.

        Parameters
        ----------
        max_trials : int or None
            The new budget, counted from the first trial on; None: twice the trials so far, or no limit where
            `max_seconds` is given.
        max_seconds : float or None
            Seconds to add.

        Raises
        ------
        InvalidParameter
            If this verdict was read from a file, so that its trial is not at hand.
        """
        return go_on(self, max_trials, max_seconds)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw both e-processes against the number of trials."""
        from boundlab.report.figures import plot_evidence

        return plot_evidence(self, ax)

    def plot_plane(self, ax: Axes | None = None) -> Axes:
        """Draw the run in the plane of trials and failures, with the borders at which its method decides."""
        from boundlab.report.guarantee_figures import plot_plane

        return plot_plane(self, ax)

    def rows(self) -> list[Row]:
        """One line."""
        return [
            {
                "claim": self.claim.name,
                "state": str(self.state),
                "trials": self.trials,
                "failures": self.failures,
                "unknown": self.unknown,
                "delta": self.delta,
                "low": self.interval[0],
                "high": self.interval[1],
                "stopped_because": self.stopped_because,
            }
        ]

    def to_dict(self) -> dict[str, Any]:
        """The verdict as JSON values; nan becomes null and infinity "inf". Counts are whole numbers, never rates."""
        return {
            "schema": SCHEMA,
            "claim": self.claim.to_dict() | {"id": self.claim.id},
            "verdict": str(self.state),
            "trials": self.trials,
            "failures": self.failures,
            "unknown": self.unknown,
            "interval": list(self.interval),
            "log_e_upheld": _json_number(self.log_e_upheld),
            "log_e_violated": _json_number(self.log_e_violated),
            "alpha_upheld": self.alpha_upheld,
            "alpha_violated": self.alpha_violated,
            "method": self.method,
            "fewest": self.fewest,
            "stopped_because": self.stopped_because,
            "stream": {"generator": "philox4x64-10", "seed": self.seed, "batch": self.batch},
            "path": [list(step) for step in self.path],
            "first_failures": list(self.first_failures),
            "first_unknown": list(self.first_unknown),
            "warnings": list(self.warnings),
        }

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return the verdict as JSON text, and write it to `path` if one is given."""
        text = json.dumps(self.to_dict(), indent=1, allow_nan=False, ensure_ascii=False) + "\n"
        if path is not None:
            write_atomically({Path(path): text})
        return text


def go_on(verdict: Any, max_trials: int | None, max_seconds: float | None) -> Any:
    """Continue the run that a verdict came from; see `Verdict.resume`."""
    if verdict.continuation is None:
        raise InvalidParameter("a verdict to resume must come from a run in this process, got one without trial.")
    if max_trials is None:
        max_trials = 2 * max(1, verdict.trials) if max_seconds is None else 2**62
    return verdict.continuation(max_trials=max_trials, max_seconds=max_seconds)


def _json_number(value: float) -> float | str | None:
    """A number, null for nan (a method without e-process), "inf" for certainty (a whole finite set was seen)."""
    return None if math.isnan(value) else "inf" if math.isinf(value) else value


def _digits(limit: float, rounding: str) -> str:
    """Three digits, rounded to the safe side: a printed limit promises no more than the limit."""
    return f"{float(Context(prec=3, rounding=rounding).create_decimal_from_float(limit)):g}"
