"""How many trials a claim needs, and what a number of trials can tell: exact laws, before any trial is run."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from boundlab._errors import InvalidParameter, choice, positive, positive_int, probability
from boundlab._theory import implements
from boundlab.records import Record, Row
from boundlab.verification.claim import Claim
from boundlab.verification.judging.boundaries import Boundaries, first_where
from boundlab.verification.judging.fixed_size import power_size
from boundlab.verification.judging.lattice import StoppingLaw, stopping_law
from boundlab.verification.judging.methods import Method, rule_for

BUDGET = 600.0
"""Trials that a plan looks ahead where no budget is given, in units of 1/delta."""

LONGEST = 20_000_000
"""The most trials that an exact law is followed for: about 1 GB."""

FINENESS = 10_000
"""`detectable` finds a failure probability to one part in so many of delta."""


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """What a run of at most `max_trials` trials will come to if failures have probability `rate`."""

    ratio: float
    rate: float  # ratio delta; for a finite set a whole number of its members
    max_trials: int
    mean: float  # trials; a run that the budget ends counts with the whole budget
    median: int | None  # trials by which half of all runs are decided; None where the budget ends before
    quantile: int | None  # the same for the share `power` of all runs
    upheld: float
    violated: float
    undecided: float


@dataclass(frozen=True, kw_only=True)
class TrialPlan(Record):
    """Exact numbers of trials for a claim, one run for each true failure probability that was asked for."""

    delta: float
    method: Method
    alpha_upheld: float
    alpha_violated: float
    power: float
    fewest: int  # trials that uphold the claim if none fails
    runs: tuple[PlannedRun, ...]
    trials_per_second: float | None = None

    def rows(self) -> list[Row]:
        """One line for each failure probability; seconds are those of the quantile."""
        speed = self.trials_per_second
        return [
            {
                "ratio": run.ratio,
                "rate": run.rate,
                "mean": run.mean,
                "median": run.median,
                f"{self.power:.0%}": run.quantile,
                "upheld": run.upheld,
                "violated": run.violated,
                "undecided": run.undecided,
            }
            | ({} if speed is None else {"seconds": None if run.quantile is None else run.quantile / speed})
            for run in self.runs
        ]


@dataclass(frozen=True, kw_only=True)
class Detectable(Record):
    """What a number of trials can tell: the failure probabilities that it calls by name with probability `power`."""

    delta: float
    trials: int
    method: Method
    power: float
    upheld: float | None  # the largest rate/delta that is upheld; None where not even failure-free trials do
    violated: float | None  # the smallest rate/delta that is violated; None where not even failing trials do

    def rows(self) -> list[Row]:
        """One line."""
        named = {"upheld up to": self.upheld, "violated from": self.violated}
        return [{"delta": self.delta, "trials": self.trials, "power": self.power} | named]


def plan_trials(
    subject: Claim | float,
    *,
    ratio: ArrayLike = (0.0, 0.5, 2.0),
    alpha_violated: float = 1e-6,
    alpha_upheld: float = 1e-3,
    method: Method | str = Method.E_PROCESS,
    max_trials: int | None = None,
    power: float = 0.95,
    trials_per_second: float | None = None,
) -> TrialPlan:
    """Return how many trials `verify` will take, by the exact law of its stopping time.

    The walk (n, k) of trials and failures is followed step by step until it meets a boundary of the rule. Trials are
    taken as independent and without unknown outcomes.

    Parameters
    ----------
    subject : Claim or float in (0, 1)
        The claim, or its delta for a claim over coins and x. For "coins, P_x" the rate is that of failed trials; for
        "coins, mean over a set" shares are taken as 0 or 1; for "x of a set | coins fixed" it is the share of members
        that fail, rounded to a whole number of them.
    ratio : float or several, each at least 0
        True failure probabilities, in units of delta.
    alpha_violated, alpha_upheld : float in (0, 1)
        The error level of each verdict.
    method : Method or its text
        See `Method`. "fixed" without a budget: each ratio has the smallest size with the wanted power.
    max_trials : int or None
        Budget; None: 600/delta, or the whole set.
    power : float in (0, 1)
        The share of runs that `quantile` speaks of.
    trials_per_second : float or None
        A speed, for a column of seconds.

    Returns
    -------
    TrialPlan

    Raises
    ------
    InvalidParameter
        If an argument is out of range, a ratio times delta exceeds 1, a fixed size is asked for at ratio 1, or the
        budget exceeds LONGEST.

    Notes
    -----
    Source: the recursion of ``proofs_checks/boundlab_boundary_rules.py``. Time grows like (trials)^1.5 delta^.5: half a
    second for three ratios at delta = .001.

    Examples
    --------
    >>> plan = plan_trials(0.05, ratio=(0.0, 2.0), alpha_violated=0.05, alpha_upheld=0.05)
    >>> [(run.median, run.quantile) for run in plan.runs]
    [(68, 68), (144, 483)]
    """
    claim, way = _claim(subject), choice("method", method, Method)
    wanted, speed = probability("power", power), trials_per_second
    ratios = np.atleast_1d(np.asarray(ratio)).tolist()
    if not ratios or not all(isinstance(r, int | float) and r >= 0.0 and r * claim.delta <= 1.0 for r in ratios):
        raise InvalidParameter(f"ratio must be at least 0 and at most 1/delta, got ratio={ratio!r}.")
    fewest = rule_for(claim, way, alpha_upheld, alpha_violated, 1).fewest
    if max_trials is None and way is Method.FIXED:
        sizes = [_size(claim, r, alpha_upheld, alpha_violated, wanted) for r in ratios]
    else:
        ahead = claim.population or math.ceil(BUDGET / claim.delta)
        sizes = [ahead if max_trials is None else positive_int("max_trials", max_trials)] * len(ratios)
    designs = {size: _Design.of(claim, way, alpha_upheld, alpha_violated, size) for size in sizes}
    return TrialPlan(
        delta=claim.delta,
        method=way,
        alpha_upheld=float(alpha_upheld),
        alpha_violated=float(alpha_violated),
        power=wanted,
        fewest=fewest,
        runs=tuple(_run(designs[size], r, wanted) for r, size in zip(ratios, sizes, strict=True)),
        trials_per_second=None if speed is None else positive("trials_per_second", speed),
    )


@implements("boundlab_boundary_rules")
def detectable(
    subject: Claim | float,
    trials: int,
    *,
    power: float = 0.95,
    alpha_violated: float = 1e-6,
    alpha_upheld: float = 1e-3,
    method: Method | str = Method.E_PROCESS,
) -> Detectable:
    """Return which failure probabilities `trials` trials tell from delta, each with probability `power` or more.

    P(violated) rises and P(upheld) falls with the failure probability, so that bisection finds both ends.

    Parameters
    ----------
    subject : Claim or float in (0, 1)
        As for `plan_trials`.
    trials : int
        Budget, at least 1.
    power : float in (0, 1)
        The probability of the verdict.
    alpha_violated, alpha_upheld, method : as for `verify`

    Returns
    -------
    Detectable
        Ratios to delta, to one part in FINENESS and rounded to the safe side: `violated` up, `upheld` down.

    Raises
    ------
    InvalidParameter
        If an argument is out of range, or the method does not go with the claim.

    Notes
    -----
    Source: ``proofs_checks/boundlab_boundary_rules.py``.

    Examples
    --------
    >>> found = detectable(0.05, 2_500)
    >>> found.upheld, found.violated
    (0.5506, 1.6953)
    """
    claim, way = _claim(subject), choice("method", method, Method)
    budget, wanted = positive_int("trials", trials), probability("power", power)
    design = _Design.of(claim, way, alpha_upheld, alpha_violated, budget)
    parts = FINENESS if claim.population is None else claim.population * claim.delta  # of a ratio of 1
    stop = claim.population + 1 if claim.population else math.floor(FINENESS / claim.delta) + 1
    above = first_where(lambda m: float(design.law(m / parts).high.sum()) >= wanted, 0, stop)
    below = first_where(lambda m: float(design.law(m / parts).low.sum()) < wanted, 0, stop) - 1
    return Detectable(
        delta=claim.delta,
        trials=budget,
        method=way,
        power=wanted,
        upheld=None if below < 0 else below / parts,
        violated=None if above == stop else above / parts,
    )


@dataclass(frozen=True)
class _Design:
    """A claim with the boundaries of its rule up to the last trial."""

    claim: Claim
    boundaries: Boundaries

    @classmethod
    def of(cls, claim: Claim, method: Method, alpha_upheld: float, alpha_violated: float, trials: int) -> _Design:
        rule = rule_for(claim, method, alpha_upheld, alpha_violated, trials)
        last = min(trials, rule.horizon or trials)
        if last > LONGEST:
            raise InvalidParameter(
                f"the budget of a plan must be at most {LONGEST} trials, got {last}; numbers of trials scale with "
                "1/delta, so that a plan for a larger delta tells them."
            )
        return cls(claim, rule.boundaries(last))

    def law(self, ratio: float) -> StoppingLaw:
        """When trials that fail with this probability, in units of delta, are decided, and how."""
        return stopping_law(self.boundaries, min(1.0, ratio * self.claim.delta), population=self.claim.population)


def _run(design: _Design, ratio: float, power: float) -> PlannedRun:
    delta, size, law = design.claim.delta, design.claim.population, design.law(ratio)
    return PlannedRun(
        ratio=ratio,
        rate=ratio * delta if size is None else round(ratio * delta * size) / size,
        max_trials=len(law.low) - 1,
        mean=law.mean,
        median=law.quantile(0.5),
        quantile=law.quantile(power),
        upheld=float(law.low.sum()),
        violated=float(law.high.sum()),
        undecided=law.neither,
    )


def _size(claim: Claim, ratio: float, alpha_upheld: float, alpha_violated: float, power: float) -> int:
    """The smallest fixed size at which the verdict that is right has the wanted power."""
    rate, (at_upheld, at_violated) = ratio * claim.delta, claim.thresholds
    if rate < at_upheld:
        return power_size(at_upheld, rate, alpha_upheld, power)
    if rate > at_violated:
        return power_size(at_violated, rate, alpha_violated, power)
    raise InvalidParameter(f"ratio must be other than 1 for a fixed size without max_trials, got ratio={ratio!r}.")


def _claim(subject: Claim | float) -> Claim:
    return subject if isinstance(subject, Claim) else Claim(name="a plan", delta=subject)
