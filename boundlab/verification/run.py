"""Run trials of a claim until the evidence decides, or the budget ends."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from decimal import ROUND_CEILING, ROUND_FLOOR, Context
from typing import Any

import numpy as np

from boundlab._errors import InvalidParameter, matrix, positive, positive_int, probability
from boundlab._theory import implements
from boundlab.records import State, Verdict
from boundlab.verification.claim import Claim
from boundlab.verification.evidence import interval, log_e_upheld, log_e_violated, trials_if_no_failure
from boundlab.verification.streams import stream


class Outcome:
    """What a trial may answer. UNKNOWN (a timeout, a tie) counts against whichever verdict is claimed."""

    OK = 0
    FAILED = 1
    UNKNOWN = 2


@implements("ville1939_e_process_pair", "boundlab_unknown_outcomes")
def run(
    claim: Claim,
    trial: Callable[[np.random.Generator, Any], Any],
    *,
    inputs: Any = None,
    alpha_violated: float = 1e-6,
    alpha_upheld: float = 1e-3,
    max_trials: int = 10_000,
    max_seconds: float | None = None,
    seed: int = 0,
    block: int = 16,
    progress: Callable[[int, int, int], object] | None = None,
) -> Verdict:
    """Draw trials of a claim, one block after the other, and stop at the first trial whose evidence decides.

    upheld when M-(n, failed + unknown) >= 1/alpha_upheld, violated when M+(n, failed) >= 1/alpha_violated, undecided
    when the budget ends first. The evidence is looked at after each trial in index order, and trials of a block after
    the deciding one are not counted. Each verdict is wrong with probability at most its own alpha, whatever ends the
    run.

    Parameters
    ----------
    claim : Claim
        What is claimed.
    trial : callable
        Without `inputs`, trial(rng, n) runs n independent trials. With `inputs`, trial(rng, x) runs one trial for each
        row of x, shape (n, features). Returns n outcomes: bool (True = failed) or whole numbers 0 ok, 1 failed,
        2 unknown. All coins must come from `rng`. An exception that it raises ends the run.
    inputs : array (points, features), callable or None
        An array's points, independent draws of the input, are used in order and at most once. A callable
        inputs(rng, n) draws n fresh points, shape (n, features).
    alpha_violated, alpha_upheld : float in (0, 1)
        The error level of each verdict.
    max_trials : int
        Budget in trials, at least 1.
    max_seconds : float or None
        Budget in wall-clock seconds, looked at after each block. It alone can make the result depend on timing.
    seed : int
        Root seed, at least 0.
    block : int
        Trials per stream. It is part of the stream scheme: another size draws other coins.
    progress : callable or None
        progress(trials, failures, unknown) is called after each block.

    Returns
    -------
    Verdict
        `stopped_because` is "e-value", "max_trials", "inputs used up" or "max_seconds".

    Raises
    ------
    InvalidParameter
        If an argument is out of range, `inputs` come with a claim for a fixed x, or `trial` returns anything but n
        outcomes.

    Notes
    -----
    A budget or an input array that is no multiple of `block` makes the last block shorter; under a larger budget that
    block is drawn anew. Source: ``proofs_checks/ville1939_e_process_pair.py``.

    Examples
    --------
    >>> claim = Claim(name="a coin of rate 0.001 fails with probability at most 0.05", delta=0.05)
    >>> verdict = run(claim, lambda rng, n: rng.random(n) < 0.001)
    >>> str(verdict.state), verdict.trials, verdict.stopped_because
    ('upheld', 146, 'e-value')
    """
    alphas = probability("alpha_upheld", alpha_upheld), probability("alpha_violated", alpha_violated)
    budget, size = positive_int("max_trials", max_trials), positive_int("block", block)
    need = trials_if_no_failure(claim.delta, alphas[0])
    seconds = math.inf if max_seconds is None else positive("max_seconds", max_seconds)
    if inputs is not None and claim.over != "coins,x":
        raise InvalidParameter(f"inputs must be None where x is fixed, got inputs for a claim over {claim.over!r}.")
    points = None if inputs is None or callable(inputs) else matrix("inputs", inputs)
    source = points if points is not None else inputs
    limit = budget if points is None else min(budget, len(points))

    counts, path, state = (0, 0, 0), [], State.UNDECIDED
    stopped = "max_trials" if limit == budget else "inputs used up"
    start = time.monotonic()
    for first, n, rng in _blocks(claim, seed, size, limit):
        outcomes = _outcomes(trial(rng, n if source is None else _draw(source, rng, first, n)), n)
        state, counts = _look(counts, outcomes, claim.delta, *alphas)
        path.append(counts)
        if progress is not None:
            progress(*counts)
        if state is not State.UNDECIDED:
            stopped = "e-value"
            break
        if time.monotonic() - start >= seconds and counts[0] < limit:
            stopped = "max_seconds"
            break
    return _verdict(claim, state, counts, alphas, stopped, int(seed), tuple(path), need)


def _blocks(claim: Claim, seed: int, size: int, limit: int) -> Iterator[tuple[int, int, np.random.Generator]]:
    """First trial, number of trials and coins of each block."""
    for index, first in enumerate(range(0, limit, size)):
        yield first, min(size, limit - first), stream(claim.id, seed, index)


def _draw(source: Any, rng: np.random.Generator, first: int, n: int) -> np.ndarray:
    if not callable(source):
        return source[first : first + n].copy()  # a trial that writes to its x must not change later ones
    x = matrix("inputs(rng, n)", source(rng, n))
    if len(x) != n:
        raise InvalidParameter(f"inputs(rng, n) must return n = {n} points, got {len(x)}.")
    return x


def _outcomes(answer: Any, n: int) -> np.ndarray:
    array = np.asarray(answer)
    if array.shape != (n,):
        raise InvalidParameter(f"trial must return {n} outcomes, one per trial, got shape {array.shape}.")
    if array.dtype.kind not in "biu":
        raise InvalidParameter(f"outcomes must be bool or the whole numbers 0, 1, 2, got dtype {array.dtype}.")
    known = (array == Outcome.OK) | (array == Outcome.FAILED) | (array == Outcome.UNKNOWN)
    if not known.all():
        raise InvalidParameter(f"outcomes must be 0 ok, 1 failed or 2 unknown, got {array[~known][0]}.")
    return array.astype(np.int64)


def _look(
    counts: tuple[int, int, int], outcomes: np.ndarray, delta: float, alpha_upheld: float, alpha_violated: float
) -> tuple[State, tuple[int, int, int]]:
    """Look at the evidence after each trial of a block; the first crossing decides, violated before upheld."""
    trials = counts[0] + np.arange(1, len(outcomes) + 1)
    failures = counts[1] + np.cumsum(outcomes == Outcome.FAILED)
    unknown = counts[2] + np.cumsum(outcomes == Outcome.UNKNOWN)
    violated = log_e_violated(trials, failures, delta) >= -math.log(alpha_violated)
    upheld = log_e_upheld(trials, failures + unknown, delta) >= -math.log(alpha_upheld)
    crossed = violated | upheld
    last = int(np.argmax(crossed)) if crossed.any() else len(outcomes) - 1
    state = State.VIOLATED if violated[last] else State.UPHELD if upheld[last] else State.UNDECIDED
    return state, (int(trials[last]), int(failures[last]), int(unknown[last]))


def _verdict(
    claim: Claim,
    state: State,
    counts: tuple[int, int, int],
    alphas: tuple[float, float],
    stopped: str,
    seed: int,
    path: tuple[tuple[int, int, int], ...],
    need: int,
) -> Verdict:
    trials, failures, unknown = counts
    low, high = interval(trials, failures, unknown, alpha_upheld=alphas[0], alpha_violated=alphas[1])
    # Verdict and limits are the same tests; where rounding parts them in the last bits, the verdict is followed.
    low = max(low, claim.delta) if state is State.VIOLATED else low
    high = min(high, claim.delta) if state is State.UPHELD else high
    return Verdict(
        claim=claim.name,
        state=state,
        delta=claim.delta,
        trials=trials,
        failures=failures,
        unknown=unknown,
        interval=(low, high),
        log_e_upheld=float(log_e_upheld(trials, failures + unknown, claim.delta)),
        log_e_violated=float(log_e_violated(trials, failures, claim.delta)),
        alpha_upheld=alphas[0],
        alpha_violated=alphas[1],
        stopped_because=stopped,
        seed=seed,
        path=path,
        resolution=_resolution(claim.delta, state, trials, (low, high), need),
    )


def _resolution(delta: float, state: State, trials: int, limits: tuple[float, float], need: int) -> str:
    """One sentence: what this many trials can tell; `need` failure-free ones would uphold the claim."""
    low, high = _digits(limits[0], ROUND_FLOOR), _digits(limits[1], ROUND_CEILING)
    if state is State.VIOLATED:
        return f"The failure probability is at least {low}, and delta = {delta:g}."
    if state is State.UPHELD:
        return f"The failure probability is at most {high}; {need} trials without a failure are the fewest."
    if trials < need:
        return f"{trials} trials cannot uphold delta = {delta:g}: even without a failure it needs {need}."
    return (
        f"{need} failure-free trials would have been enough; the failure probability lies in [{low}, {high}], "
        f"with delta = {delta:g} inside."
    )


def _digits(limit: float, rounding: str) -> str:
    """Three digits, rounded to the safe side: a printed limit promises no more than the limit."""
    return f"{float(Context(prec=3, rounding=rounding).create_decimal_from_float(limit)):g}"
