"""All levels of one theorem at once: a bound eps(delta) is a curve, and every trial tells of the whole of it.

A trial answers U in [0, 1], the largest delta at which the theorem would still have covered the error it observed: at
level delta it failed if and only if U < delta. The theorem holds at every level if and only if P(U < u) <= u for all u.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from boundlab._errors import GuaranteeViolated, InvalidParameter, probability
from boundlab._theory import implements
from boundlab.records import Row
from boundlab.verification.claim import Claim, Over
from boundlab.verification.judging.evidence import lower_limit, upper_limit
from boundlab.verification.judging.rules import Counts, EProcesses, Findings, Outcome, Rule, agreeing, as_array
from boundlab.verification.running.course import Course, Run, further, judged, warnings
from boundlab.verification.verdict import Judgement, State, go_on

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HALVINGS = 12
"""Levels by default: the claim's delta and its halves."""


@dataclass(frozen=True, kw_only=True)
class Level:
    """One level of a theorem: its verdict, and the trial that decided it (0: none did)."""

    delta: float
    state: State
    decided: int
    failures: int
    interval: tuple[float, float]  # limits of P(U < delta) that hold at all levels and all times together


@dataclass(frozen=True, kw_only=True)
class Levels(Judgement):
    """What trials say of a theorem at each of J levels, all from the same trials.

    The chance that any level is wrongly upheld is at most `alpha_upheld`, that any is wrongly violated at most
    `alpha_violated`, at whatever moment one looks.
    """

    claim: Claim
    state: State
    trials: int
    unknown: int
    levels: tuple[Level, ...]  # falling in delta
    curve: tuple[tuple[float, int], ...]  # (u, trials with U < u) at rising u
    alpha_upheld: float
    alpha_violated: float
    stopped_because: str
    seed: int
    batch: int = 1
    first_failures: tuple[int, ...] = ()  # trials that failed at the largest level, for a replay
    warnings: tuple[str, ...] = ()
    continuation: Callable[..., Levels] | None = field(default=None, repr=False, compare=False)

    @property
    def failures(self) -> int:
        """Trials that failed at the largest level."""
        return self.levels[0].failures

    def require(self, state: State | str = State.UPHELD) -> Levels:
        """Return self if the state is the wanted one, else raise GuaranteeViolated."""
        if self.state != state:
            told = "; ".join(f"{v.state} at {v.delta:g} ({v.failures})" for v in self.levels)
            raise GuaranteeViolated(
                f"the claim '{self.claim.name}' must be {state} at all levels, it is {self.state}: "
                f"in {self.trials} trials, with their failures, {told}."
            )
        return self

    def resume(self, *, max_trials: int | None = None, max_seconds: float | None = None) -> Levels:
        """Go on where this run stopped, as `Verdict.resume` does."""
        return go_on(self, max_trials, max_seconds)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw P(U < u) - u against u: above 0 the theorem fails more often than it says."""
        from boundlab.report.guarantee_figures import plot_levels

        return plot_levels(self, ax)

    def plot_tail(self, ax: Axes | None = None, *, eps: Callable[[float], float] | None = None) -> Axes:
        """Draw the error's tail on log axes beside the theorem's, given eps(delta); without it, against delta."""
        from boundlab.report.guarantee_figures import plot_tail_of_levels

        return plot_tail_of_levels(self, ax, eps=eps)

    def rows(self) -> list[Row]:
        """One line per level."""
        return [
            {
                "claim": self.claim.name,
                "delta": level.delta,
                "state": str(level.state),
                "decided": level.decided,
                "trials": self.trials,
                "failures": level.failures,
                "unknown": self.unknown,
                "low": level.interval[0],
                "high": level.interval[1],
            }
            for level in self.levels
        ]

    def to_dict(self) -> dict[str, Any]:
        """All levels as JSON values, counts as whole numbers."""
        return {
            "schema": "boundlab.levels/1",
            "claim": self.claim.to_dict() | {"id": self.claim.id},
            "verdict": str(self.state),
            "trials": self.trials,
            "unknown": self.unknown,
            "levels": [
                {
                    "delta": v.delta,
                    "verdict": str(v.state),
                    "decided": v.decided,
                    "failures": v.failures,
                    "interval": list(v.interval),
                }
                for v in self.levels
            ],
            "curve": [list(step) for step in self.curve],
            "alpha_upheld": self.alpha_upheld,
            "alpha_violated": self.alpha_violated,
            "stopped_because": self.stopped_because,
            "stream": {"generator": "philox4x64-10", "seed": self.seed, "batch": self.batch},
            "first_failures": list(self.first_failures),
            "warnings": list(self.warnings),
        }


@implements("boundlab_all_levels")
@dataclass(frozen=True, kw_only=True)
class AllLevels(Rule):
    """One pair of e-processes per level, each at alpha/J, on the same trials: the first crossing is a level's verdict.

    Violated as soon as any level is, upheld once every level is. A tally holds `below`, the trials with U < u on a
    grid of u that has the levels among it.
    """

    levels: tuple[float, ...]  # falling
    alpha_upheld: float
    alpha_violated: float

    def __post_init__(self) -> None:
        for name in ("alpha_upheld", "alpha_violated"):
            object.__setattr__(self, name, probability(name, getattr(self, name)))

    @property
    def share(self) -> tuple[float, float]:
        """The two error levels of one level's verdict, rounded down."""
        part = (1.0 - 2.0**-50) / len(self.levels)
        return self.alpha_upheld * part, self.alpha_violated * part

    def read(self, answer: Any, n: int) -> np.ndarray:
        """U as float64 in [0, 1], nan = unknown."""
        array = as_array(answer)
        if array.shape != (n,) or array.dtype.kind != "f":
            raise InvalidParameter(
                f"trial must return {n} levels as floats, the largest delta that covers each trial's error, "
                f"got shape {array.shape} of dtype {array.dtype}."
            )
        outside = ~((array >= 0.0) & (array <= 1.0) | np.isnan(array))
        if outside.any():
            raise InvalidParameter(f"levels must be in [0, 1], or nan for unknown, got {array[outside][0]}.")
        return array.astype(np.float64)

    def start(self) -> Any:
        """No trial, and no level decided."""
        none = [0] * len(self.levels)
        states = [str(State.UNDECIDED)] * len(none)
        return {"trials": 0, "unknown": 0, "below": [0] * len(_grid(self.levels)), "decided": none, "states": states}

    def look(self, tally: Any, outcomes: np.ndarray) -> tuple[State, Any, int]:
        """Look at every open level after each trial; the first violated one ends the run, or the last upheld one."""
        looks = {
            j: self._rule(j).look([tally["trials"], k, tally["unknown"]], _failed_at(self.levels[j], outcomes))
            for j, k in enumerate(self._failures(tally))
            if tally["states"][j] == State.UNDECIDED
        }
        red = [taken for state, _, taken in looks.values() if state is State.VIOLATED]
        if red:
            taken = min(red)
        elif all(state is State.UPHELD for state, _, _ in looks.values()):
            taken = max(taken for _, _, taken in looks.values())
        else:
            taken = len(outcomes)
        states, decided = list(tally["states"]), list(tally["decided"])
        for j, (state, (trials, _, _), at) in looks.items():
            if state is not State.UNDECIDED and at <= taken:
                states[j], decided[j] = str(state), trials
        seen = outcomes[:taken]
        known = np.sort(seen[~np.isnan(seen)])
        below = np.searchsorted(known, _grid(self.levels), side="left")  # U < u, strictly
        after = {
            "trials": tally["trials"] + taken,
            "unknown": tally["unknown"] + len(seen) - len(known),
            "below": [old + int(new) for old, new in zip(tally["below"], below, strict=True)],
            "decided": decided,
            "states": states,
        }
        whole = State.VIOLATED if State.VIOLATED in states else State.UNDECIDED
        return (State.UPHELD if set(states) == {State.UPHELD} else whole), after, taken

    def counts(self, tally: Any) -> Counts:
        """Trials, failures at the largest level, unknown."""
        return Counts(tally["trials"], self._failures(tally)[0], tally["unknown"])

    def findings(self, tally: Any, state: State) -> Findings:
        """The limits at the largest level."""
        return Findings(self.found(tally)[0].interval)

    @implements("darling1967_confidence_sequence")
    def found(self, tally: Any) -> tuple[Level, ...]:
        """Each level's verdict and limits; these hold at all times, so that a decided level keeps what decided it."""
        failures, states = self._failures(tally), [State(state) for state in tally["states"]]
        n, k = np.full(len(failures), float(tally["trials"])), np.array(failures, np.float64)
        high = upper_limit(n, k + tally["unknown"], self.share[0]).tolist()
        low = lower_limit(n, k, self.share[1]).tolist()
        return tuple(
            Level(
                delta=delta,
                state=states[j],
                decided=tally["decided"][j],
                failures=failures[j],
                interval=agreeing((low[j], high[j]), states[j], delta),
            )
            for j, delta in enumerate(self.levels)
        )

    def failed(self, outcomes: np.ndarray) -> np.ndarray:
        """Failures at the largest level."""
        return outcomes < self.levels[0]

    def undecided(self, outcomes: np.ndarray) -> np.ndarray:
        """Outcomes that are nan."""
        return np.isnan(outcomes)

    @property
    def unknown(self) -> float:
        """Nan."""
        return math.nan

    @property
    def fewest(self) -> int:
        """Failure-free trials that uphold every level."""
        return self._rule(-1).fewest  # the smallest level takes the most

    def _rule(self, j: int) -> EProcesses:
        delta, (up, down) = self.levels[j], self.share
        return EProcesses(at_upheld=delta, at_violated=delta, alpha_upheld=up, alpha_violated=down)

    def _failures(self, tally: Any) -> list[int]:
        return [tally["below"][_grid(self.levels).index(delta)] for delta in self.levels]


def verify_levels(
    claim: Claim,
    trial: Callable[[np.random.Generator, Any], Any],
    *,
    levels: Sequence[float] | None = None,
    inputs: Any = None,
    alpha_violated: float = 1e-6,
    alpha_upheld: float = 1e-3,
    max_trials: int = 10_000,
    max_seconds: float | None = None,
    executor: Executor | int | None = None,
    seed: int = 0,
    batch: int = 1,
    trial_seconds: float | None = None,
    record: str | Path | None = None,
    progress: Callable[[int, int, int], object] | None = None,
) -> Levels:
    """Judge a theorem at J levels of its failure probability at once, all on the same trials.

    At each level delta the two e-processes judge P(U < delta) <= delta at alpha/J (Bonferroni), after every trial. A
    level's verdict is its first crossing. The run ends when any level is violated, or every one upheld.

    Parameters
    ----------
    claim : Claim
        The theorem at its largest level, `claim.delta`; over "coins,x", "coins | x fixed" or "coins, all x".
    trial : callable
        trial(rng, n) -> n floats U in [0, 1], or trial(rng, x) with `inputs`, one per row of x: the largest delta at
        which the theorem still covers the error that this trial observed, 0 where none does; nan = unknown. For a
        theorem with a tail bound, U is that bound at the observed error, a p-value; see also `largest_level`.
    levels : sequence of float in (0, claim.delta], or None
        The levels that are judged, claim.delta among them. None: claim.delta 2^-j for j = 0 ... 11.
    inputs, max_trials, max_seconds, executor, seed, batch, trial_seconds, record, progress
        As for `verify`.
    alpha_violated, alpha_upheld : float in (0, 1)
        The chance that any level is wrongly violated, or any wrongly upheld.

    Returns
    -------
    Levels

    Raises
    ------
    InvalidParameter
        If an argument is out of range, or `trial` returns anything but n floats in [0, 1] or nan.
    Interrupted
        On Ctrl-C; it carries the verdict so far.

    Notes
    -----
    Source: ``proofs_checks/boundlab_all_levels.py``.

    Examples
    --------
    >>> claim = Claim(name="P(|X| > t) <= exp(-t^2/2) for X >= 0", delta=0.5)
    >>> too_wide = lambda rng, n: np.exp(-np.abs(2.0 * rng.normal(size=n)) ** 2 / 2)
    >>> verdict = verify_levels(claim, too_wide)
    >>> str(verdict.state), verdict.trials < 500
    ('violated', True)
    """
    if claim.over not in (Over.JOINT, Over.POINT, Over.EVERYWHERE):
        raise InvalidParameter(
            f"all levels are judged over '{Over.JOINT}', '{Over.POINT}' or '{Over.EVERYWHERE}', got '{claim.over}'."
        )
    rule = AllLevels(levels=_falling(claim, levels), alpha_upheld=alpha_upheld, alpha_violated=alpha_violated)
    return judged(
        claim,
        trial,
        rule,
        told=_levels,
        method=f"levels {' '.join(map(repr, rule.levels))}",
        inputs=inputs,
        alphas=(alpha_upheld, alpha_violated),
        max_trials=max_trials,
        max_seconds=max_seconds,
        executor=executor,
        seed=seed,
        batch=batch,
        trial_seconds=trial_seconds,
        record=record,
        progress=progress,
    )


def largest_level(errors: Any, levels: Sequence[float], eps: Sequence[float]) -> np.ndarray:
    """Return the U of each error for a theorem that is given as a table: the largest listed delta with eps >= error.

    Parameters
    ----------
    errors : array (n,)
        What was observed; nan stays nan, an unknown outcome.
    levels : sequence of float in (0, 1]
        Where the table stands.
    eps : sequence of float
        The bound at each level, which must not rise with delta.

    Returns
    -------
    array (n,)
        0 where no listed level covers the error. It is exact at the listed levels, those that should be judged.

    Raises
    ------
    InvalidParameter
        If the table is ragged, empty or rises, or the errors are no row.

    Examples
    --------
    >>> largest_level([0.1, 1.0, 9.0], [0.5, 0.25, 0.125], [0.4, 1.0, 1.5]).tolist()
    [0.5, 0.25, 0.0]
    """
    at, bound = np.asarray(levels, np.float64), np.asarray(eps, np.float64)
    if at.ndim != 1 or at.shape != bound.shape or not len(at) or not np.all((at > 0.0) & (at <= 1.0)):
        raise InvalidParameter(
            f"levels in (0, 1] and eps must be rows of one length, got {at.shape} and {bound.shape}."
        )
    order = np.argsort(at)
    if np.isnan(bound).any() or np.any(np.diff(bound[order]) > 0.0):
        raise InvalidParameter(f"eps must not rise with delta, got {bound[order].tolist()} at {at[order].tolist()}.")
    error = np.asarray(errors, np.float64)
    if error.ndim != 1:
        raise InvalidParameter(f"errors must be a row of numbers, got shape {error.shape}.")
    covered = np.where(error[:, None] <= bound[None, :], at[None, :], 0.0).max(axis=1)  # (n,)
    return np.where(np.isnan(error), np.nan, covered)


def _levels(fixed: Run, course: Course, stopped: str, budget: int) -> Levels:
    rule, tally = fixed.rule, course.tally
    if not isinstance(rule, AllLevels):
        raise InvalidParameter(f"a run of all levels must have their rule, got {type(rule).__name__}.")
    return Levels(
        claim=fixed.claim,
        state=State(course.state),
        trials=tally["trials"],
        unknown=tally["unknown"],
        levels=rule.found(tally),
        curve=tuple(zip(_grid(rule.levels), tally["below"], strict=True)),
        alpha_upheld=rule.alpha_upheld,
        alpha_violated=rule.alpha_violated,
        stopped_because=stopped,
        seed=fixed.seed,
        batch=fixed.batch,
        first_failures=tuple(course.failures),
        warnings=warnings(fixed, course, budget),
        continuation=further(fixed, course),
    )


def _falling(claim: Claim, levels: Sequence[float] | None) -> tuple[float, ...]:
    if levels is None:
        return tuple(claim.delta * 2.0**-j for j in range(HALVINGS))
    found = tuple(sorted({probability("a level", level) for level in levels}, reverse=True))
    if not found or found[0] != claim.delta:
        raise InvalidParameter(f"the largest level must be the claim's delta = {claim.delta:g}, got {list(levels)!r}.")
    return found


@lru_cache(maxsize=8)
def _grid(levels: tuple[float, ...]) -> tuple[float, ...]:
    """Where the law of U is noted, rising: the levels, every 1/32, and four to an octave below the smallest level."""
    octaves = math.ceil(-math.log2(levels[-1])) + 2
    return tuple(sorted({*levels, *(j / 32 for j in range(1, 33)), *(2.0 ** (-j / 4) for j in range(4 * octaves))}))


def _failed_at(delta: float, outcomes: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(outcomes), Outcome.UNKNOWN, outcomes < delta).astype(np.int8)
