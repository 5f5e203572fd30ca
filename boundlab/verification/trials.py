"""Trials from two functions, one class for each quantifier: who shares whose coins is decided here, not by accident.

`draw(rng)` draws an artefact, one randomised compression say, from fresh coins; `fails(artefact, x)` answers for each
row of x, shape (n, features), whether the guarantee fails there: n bools, or whole numbers 0 ok, 1 failed, 2 unknown.
What one trial is follows from the quantifier; `verify` refuses a trial for a claim over another one.

| claim over | trial | one trial is |
|---|---|---|
| "coins,x" | `FreshPairs` | a fresh artefact on a fresh input |
| "coins \\| x fixed" | `AtPoint` | a fresh artefact on the one input |
| "coins, all x" | `Everywhere`, `Searched` | a fresh artefact on all inputs |
| "coins, P_x" | `Nested` | a fresh artefact, whose failure rate is judged on fresh inputs |
| "coins, mean over a set" | `SharedInputs` | a fresh artefact and the share of a set on which it fails |
| "x of a set \\| coins fixed" | `OverSet` | one artefact on the next member of the set |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from boundlab._errors import InvalidParameter, matrix, positive_int
from boundlab._theory import implements
from boundlab.verification.claim import Claim, Over
from boundlab.verification.judging.evidence import trials_if_no_failure
from boundlab.verification.judging.rules import EProcesses, Outcome, as_outcomes
from boundlab.verification.running.blocks import drawn
from boundlab.verification.verdict import State

Draw = Callable[[np.random.Generator], Any]
Fails = Callable[[Any, np.ndarray], Any]
Inputs = Callable[[np.random.Generator, int], np.ndarray]

BLOCK = 4096
"""The most inner inputs that a nested trial draws at a time."""


class _Quantified:
    """What the trials of this file share: they know which claims they answer."""

    over: ClassVar[Over]

    def check(self, claim: Claim) -> None:
        """Raise InvalidParameter for a claim over another quantifier."""
        _same_quantifier(claim, self)


@implements("boundlab_quantifiers")
@dataclass(frozen=True, eq=False)
class FreshPairs(_Quantified):
    """For "coins,x": each input meets an artefact of its own, so that trials share neither coins nor inputs.

    Parameters
    ----------
    draw, fails : callable
        See the head of this file. `verify` hands in the inputs: verify(claim, FreshPairs(draw, fails), inputs=...).

    Examples
    --------
    >>> from boundlab.verification import verify
    >>> noise = FreshPairs(lambda rng: rng.normal(), lambda shift, x: np.abs(shift * x[:, 0]) > 4)
    >>> claim = Claim(name="|noise x| <= 4", delta=0.05)
    >>> str(verify(claim, noise, inputs=lambda rng, n: rng.random((n, 1))).state)
    'upheld'
    """

    draw: Draw
    fails: Fails
    over: ClassVar[Over] = Over.JOINT

    def __call__(self, rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
        """Outcomes of one trial for each row of x."""
        if np.ndim(x) != 2:
            raise InvalidParameter("fresh pairs must be given inputs, a sampler or an array: verify(..., inputs=...).")
        return np.concatenate([_answers(self.fails, self.draw(rng), x[k : k + 1]) for k in range(len(x))])


@implements("boundlab_quantifiers")
@dataclass(frozen=True, eq=False)
class AtPoint(_Quantified):
    """For "coins | x fixed": a fresh artefact per trial, always at the one point.

    Parameters
    ----------
    draw, fails : callable
        See the head of this file.
    x : array (features,)
        Chosen before the verdict's coins, or by a search on others: see `searched_point`.
    """

    draw: Draw
    fails: Fails
    x: np.ndarray
    over: ClassVar[Over] = Over.POINT

    def __post_init__(self) -> None:
        object.__setattr__(self, "x", matrix("x", np.atleast_2d(self.x)))  # (1, features)
        if len(self.x) != 1:
            raise InvalidParameter(f"x must be one point, shape (features,), got {len(self.x)} points.")

    def __call__(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Outcomes of n trials."""
        return np.concatenate([_answers(self.fails, self.draw(rng), self.x) for _ in range(n)])


@implements("boundlab_quantifiers")
@dataclass(frozen=True, eq=False)
class Everywhere(_Quantified):
    """For "coins, all x" where the inputs are finitely many: a trial fails if its artefact fails at some point.

    Parameters
    ----------
    draw, fails : callable
        See the head of this file.
    points : array (points, features)
        All inputs that the claim speaks of; a sample of more of them is no substitute, see `Searched`.
    """

    draw: Draw
    fails: Fails
    points: np.ndarray
    over: ClassVar[Over] = Over.EVERYWHERE

    def __post_init__(self) -> None:
        object.__setattr__(self, "points", matrix("points", self.points))

    def __call__(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Outcomes of n trials: failed if any point fails, else unknown if any is unknown, else ok."""
        answers = (_answers(self.fails, self.draw(rng), self.points) for _ in range(n))
        return np.array([_worst(found) for found in answers], np.int8)


@implements("boundlab_quantifiers", "boundlab_unknown_outcomes")
@dataclass(frozen=True, eq=False)
class Searched(_Quantified):
    """For "coins, all x" where the inputs are too many to try: a search refutes, only a certificate confirms.

    A point that the search finds makes the trial fail. Finding none is unknown, never ok, so that without `covers` the
    claim can be violated or undecided only.

    Parameters
    ----------
    draw : callable
        See the head of this file.
    search : callable
        search(artefact, rng) -> bool: whether an input was found at which this artefact fails.
    covers : callable or None
        covers(artefact) -> bool: whether an analytic bound (intervals, Lipschitz) proves that it fails nowhere.

    Raises
    ------
    InvalidParameter
        From a trial in which a failing input was found and `covers` holds: the certificate is then wrong.
    """

    draw: Draw
    search: Callable[[Any, np.random.Generator], bool]
    covers: Callable[[Any], bool] | None = None
    over: ClassVar[Over] = Over.EVERYWHERE

    def __call__(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Outcomes of n trials."""
        return np.array([self._one(rng) for _ in range(n)], np.int8)

    def _one(self, rng: np.random.Generator) -> Outcome:
        artefact = self.draw(rng)
        found = _bit("search(artefact, rng)", self.search(artefact, rng))
        covered = self.covers is not None and _bit("covers(artefact)", self.covers(artefact))
        if found and covered:
            raise InvalidParameter(
                "covers(artefact) must be false where an input fails, got true beside such an input."
            )
        return Outcome.FAILED if found else Outcome.OK if covered else Outcome.UNKNOWN


@implements("boundlab_quantifiers", "boundlab_nested_claim")
@dataclass(frozen=True, eq=False)
class Nested:
    """For "coins, P_x": each artefact is judged on fresh inputs of its own; made by `nested_trial`.

    With R the artefact's failure rate over inputs: ok when an e-process at level `beta_upper` shows R <= gamma, failed
    when one at level `beta_lower` shows R > gamma, unknown when `max_inputs` end first. Both are looked at after each
    input, so that clear-cut artefacts take few.
    """

    draw: Draw
    fails: Fails
    inputs: Inputs
    max_inputs: int
    rule: EProcesses  # the inner one: at gamma, with the levels beta_upper and beta_lower
    fewest: int = field(init=False)  # inputs that show R <= gamma if none fails
    over: ClassVar[Over] = Over.NESTED

    def __post_init__(self) -> None:
        fewest = trials_if_no_failure(self.rule.at_upheld, self.rule.alpha_upheld)
        object.__setattr__(self, "fewest", fewest)
        if positive_int("max_inputs", self.max_inputs) < fewest:
            raise InvalidParameter(
                f"max_inputs must be at least {fewest}, which show the rate to be at most "
                f"gamma = {self.rule.at_upheld:g} if none fails, got {self.max_inputs}."
            )

    def check(self, claim: Claim) -> None:
        """Raise InvalidParameter for a claim over another quantifier, or with another gamma, beta_upper, beta_lower."""
        _same_quantifier(claim, self)
        if _inner_rule(claim) != self.rule:
            raise InvalidParameter("a nested trial must have its claim's gamma, beta_upper and beta_lower, got others.")

    def __call__(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Outcomes of n trials."""
        return np.array([self._one(rng) for _ in range(n)], np.int8)

    def _one(self, rng: np.random.Generator) -> Outcome:
        artefact, tally, block = self.draw(rng), self.rule.start(), self.fewest
        while (used := self.rule.counts(tally).trials) < self.max_inputs:
            block = min(block, self.max_inputs - used)
            state, tally, _ = self.rule.look(tally, _answers(self.fails, artefact, drawn(self.inputs, rng, block)))
            if state is not State.UNDECIDED:
                return Outcome.OK if state is State.UPHELD else Outcome.FAILED
            block = min(2 * block, BLOCK)
        return Outcome.UNKNOWN


def nested_trial(claim: Claim, draw: Draw, fails: Fails, inputs: Inputs, max_inputs: int) -> Nested:
    """Return the trial of a nested claim: one artefact per trial, judged at the claim's gamma and inner levels.

    Parameters
    ----------
    claim : Claim
        Over "coins, P_x".
    draw, fails : callable
        See the head of this file.
    inputs : callable
        inputs(rng, n) -> n fresh points, shape (n, features).
    max_inputs : int
        The most inputs for one artefact, at least as many as show a rate of at most gamma if none fails.

    Returns
    -------
    Nested
        For verify(claim, trial), with the same claim.

    Raises
    ------
    InvalidParameter
        If the claim is over another quantifier, or max_inputs can never show that an artefact is good.

    Notes
    -----
    Source: ``proofs_checks/boundlab_nested_claim.py``.

    Examples
    --------
    >>> from boundlab.verification import verify
    >>> claim = Claim(name="at most 1 in 10 inputs fails", delta=0.2, over="coins, P_x", gamma=0.1)
    >>> trial = nested_trial(
    ...     claim,
    ...     lambda rng: rng.random() / 20,  # the artefact is its own failure rate here
    ...     lambda rate, x: x[:, 0] < rate,
    ...     lambda rng, n: rng.random((n, 1)),
    ...     max_inputs=2_000,
    ... )
    >>> str(verify(claim, trial).state)
    'upheld'
    """
    return Nested(draw, fails, inputs, max_inputs, _inner_rule(claim))


@implements("boundlab_quantifiers", "waudby_smith2024_bounded_mean")
@dataclass(frozen=True, eq=False)
class SharedInputs(_Quantified):
    """For "coins, mean over a set": a trial is one artefact and the share of the set's points on which it fails.

    Outcomes of one artefact are dependent, and count as one trial with an answer in [0, 1], not as many. The claim
    speaks of the set, not of the law that its points came from.

    Parameters
    ----------
    draw, fails : callable
        See the head of this file.
    points : array (points, features)
        The whole set.
    """

    draw: Draw
    fails: Fails
    points: np.ndarray
    over: ClassVar[Over] = Over.SET_MEAN

    def __post_init__(self) -> None:
        object.__setattr__(self, "points", matrix("points", self.points))

    def __call__(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Failing shares of n artefacts; nan where a point's outcome is unknown."""
        answers = (_answers(self.fails, self.draw(rng), self.points) for _ in range(n))
        return np.array([np.nan if (o == Outcome.UNKNOWN).any() else np.mean(o == Outcome.FAILED) for o in answers])


@implements("boundlab_quantifiers", "waudby_smith2020_without_replacement")
@dataclass(frozen=True, eq=False)
class OverSet(_Quantified):
    """For "x of a set | coins fixed": one given artefact on the members of a set, each at most once.

    `verify` is handed the members as `inputs` and tries them in a random order that claim and seed fix.

    Parameters
    ----------
    artefact : object
        Drawn beforehand; the verdict speaks of it alone.
    fails : callable
        See the head of this file.

    Examples
    --------
    >>> from boundlab.verification import verify
    >>> digits = np.arange(1000.0)[:, None]
    >>> claim = Claim(name="at most 5 %", delta=0.05, over="x of a set | coins fixed", population=1000)
    >>> verify(claim, OverSet(20, lambda k, x: x[:, 0] < k), inputs=digits, max_trials=1000).failures <= 20
    True
    """

    artefact: Any
    fails: Fails
    over: ClassVar[Over] = Over.SET

    def __call__(self, rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
        """Outcomes of one trial for each row of x."""
        return _answers(self.fails, self.artefact, x)


def _same_quantifier(claim: Claim, trial: _Quantified | Nested) -> None:
    if claim.over is not trial.over:
        raise InvalidParameter(
            f"a claim over '{claim.over}' must have a trial of its own, "
            f"got {type(trial).__name__}, a trial over '{trial.over}'."
        )


def _inner_rule(claim: Claim) -> EProcesses:
    gamma, up, down = claim.gamma, claim.beta_upper, claim.beta_lower
    if gamma is None or up is None or down is None:
        raise InvalidParameter(f"a nested trial must have a claim over '{Over.NESTED}', got one over '{claim.over}'.")
    return EProcesses(at_upheld=gamma, at_violated=gamma, alpha_upheld=up, alpha_violated=down)


def _answers(fails: Fails, artefact: Any, x: np.ndarray) -> np.ndarray:
    return as_outcomes(fails(artefact, x), len(x), of="fails(artefact, x)")


def _worst(outcomes: np.ndarray) -> Outcome:
    if (outcomes == Outcome.FAILED).any():
        return Outcome.FAILED
    return Outcome.UNKNOWN if (outcomes == Outcome.UNKNOWN).any() else Outcome.OK


def _bit(name: str, answer: Any) -> bool:
    if not isinstance(answer, (bool, np.bool_)):
        raise InvalidParameter(f"{name} must be a bool, got {answer!r}.")
    return bool(answer)
