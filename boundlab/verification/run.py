"""Run trials of a claim until the evidence decides, or the budget ends."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, cast

import numpy as np

from boundlab._errors import InvalidParameter, choice, matrix, positive_int
from boundlab.records import Compression
from boundlab.verification.claim import Claim
from boundlab.verification.judging.methods import Method, rule_for
from boundlab.verification.running.blocks import drawn
from boundlab.verification.running.course import (
    Course,
    Interrupted,
    Run,
    further,
    judged,
    most_trials,
    points_of,
    stream_key,
    warnings,
)
from boundlab.verification.running.streams import stream
from boundlab.verification.verdict import State, Verdict

__all__ = ["Interrupted", "replay", "verify"]


def verify(
    subject: Claim | Compression,
    trial: Any,
    *,
    inputs: Any = None,
    eps: float | None = None,
    delta: float | None = None,
    alpha_violated: float = 1e-6,
    alpha_upheld: float = 1e-3,
    max_trials: int = 10_000,
    max_seconds: float | None = None,
    executor: Executor | int | None = None,
    seed: int = 0,
    batch: int = 1,
    method: Method | str = Method.E_PROCESS,
    trial_seconds: float | None = None,
    record: str | Path | None = None,
    progress: Callable[[int, int, int], object] | None = None,
) -> Verdict:
    """Draw trials of a claim and stop at the first whose evidence decides.

    upheld when M-(n, failed + unknown) >= 1/alpha_upheld, violated when M+(n, failed) >= 1/alpha_violated, undecided
    when the budget ends first. The evidence is looked at after each trial in index order. Each verdict is wrong with
    probability at most its own alpha, whatever ends the run. Trial i draws from a stream of its own, a function of
    claim, seed and i: the verdict does not depend on the executor.

    Parameters
    ----------
    subject : Claim or Compression
        What is claimed, and over which randomness; a Compression stands for its own promise over coins and x.
    trial : callable; for a Compression its fresh inputs
        Without `inputs`, trial(rng, n) runs n independent trials. With `inputs`, trial(rng, x) runs one trial for each
        row of x, shape (n, features). Returns n outcomes: bool (True = failed) or whole numbers 0 ok, 1 failed,
        2 unknown; for "coins, mean over a set" shares in [0, 1], nan = unknown. All coins must come from `rng`. An
        exception that it raises ends the run, with a note that names the trial. For other processes it must be
        picklable: a function of a module, or a functools.partial or a dataclass of such.
    inputs : array (points, features), callable or None
        An array's points, independent draws of the input, are used in order and at most once. A callable
        inputs(rng, n) draws n fresh points, shape (n, features). For a Compression they take the place of `trial`.
        For "x of a set | coins fixed": the members, which are tried in a random order that is fixed by the seed.
    eps, delta : float or None
        For a Compression only: the relative error of the claim f̂ ∈ (1 ± eps) f, None for Theorem B's envelope; the
        failure probability, None for the compressor's.
    alpha_violated, alpha_upheld : float in (0, 1)
        The error level of each verdict.
    max_trials : int
        Budget in trials, at least 1.
    max_seconds : float or None
        Budget in wall-clock seconds. It and `trial_seconds` alone can make the result depend on timing.
    executor : concurrent.futures.Executor, int or None
        Where trials run, each on one thread of linear algebra. A number w > 1: a pool of w spawned processes; 1: this
        process; None: this process, and after two seconds a pool of all cores if the trial answers the same there.
        For clusters see `dask_executor` and `submitit_executor` in ``boundlab.verification.running.clusters``.
    seed : int
        Root seed, at least 0.
    batch : int
        Trials per stream: trial(rng, batch) answers so many at once, which is quicker for cheap trials. It is part of
        the stream scheme: another batch draws other coins.
    method : Method or its text
        "e-process" (default), "spending", "fixed" or "repeated"; see `Method`.
    trial_seconds : float or None
        A trial that takes longer counts as unknown, and is ended where it runs in a main thread or a `ProcessPool`.
    record : path or None
        A JSON file that holds the run, renewed each second: the same call goes on where a killed one stopped.
    progress : callable or None
        progress(trials, failures, unknown) is called after each block.

    Returns
    -------
    Verdict
        `stopped_because` is "decided", "max_trials", "inputs used up", "nothing more to see", "max_seconds" or
        "interrupted".

    Raises
    ------
    InvalidParameter
        If an argument is out of range, `inputs` do not go with the claim, `trial` returns anything but n outcomes, or
        `record` holds another run.
    Interrupted
        On Ctrl-C; it carries the verdict so far.

    Notes
    -----
    Source: ``proofs_checks/ville1939_e_process_pair.py``.

    Examples
    --------
    >>> claim = Claim(name="a coin of rate 0.001 fails with probability at most 0.05", delta=0.05)
    >>> verdict = verify(claim, lambda rng, n: rng.random(n) < 0.001)
    >>> str(verdict.state), verdict.trials, verdict.stopped_because
    ('upheld', 146, 'decided')
    """
    claim, trial, inputs = subject_of(subject, trial, inputs, eps, delta)
    budget, way = positive_int("max_trials", max_trials), choice("method", method, Method)
    return judged(
        claim,
        trial,
        rule_for(claim, way, alpha_upheld, alpha_violated, most_trials(budget, inputs)),
        told=_verdict,
        method=str(way),
        inputs=inputs,
        alphas=(alpha_upheld, alpha_violated),
        max_trials=budget,
        max_seconds=max_seconds,
        executor=executor,
        seed=seed,
        batch=batch,
        trial_seconds=trial_seconds,
        record=record,
        progress=progress,
    )


def subject_of(subject: Any, trial: Any, inputs: Any, eps: float | None, delta: float | None) -> tuple[Claim, Any, Any]:
    """The claim, its trial and the inputs; a Compression states its own claim, and its inputs stand for the trial."""
    if isinstance(subject, Compression):
        from boundlab.verification.joint import joint_claim  # the harness alone needs no kernels

        if inputs is not None:
            raise InvalidParameter("the inputs of a Compression must come in the place of the trial, got both.")
        if not callable(trial):
            trial = matrix("inputs", trial, columns=subject.original.sizes[0])
        return *joint_claim(subject, eps, delta), trial
    if not isinstance(subject, Claim):
        raise InvalidParameter(f"subject must be a Compression or a Claim, got {type(subject).__name__}.")
    if eps is not None or delta is not None:
        raise InvalidParameter("eps and delta belong to a Compression; a Claim has its own, got them for a Claim.")
    if not callable(trial):
        raise InvalidParameter(f"a Claim is verified by a trial function, got {type(trial).__name__}.")
    return subject, trial, inputs


def replay(
    claim: Claim,
    trial: Callable[[np.random.Generator, Any], Any],
    index: int,
    *,
    inputs: Any = None,
    seed: int = 0,
    batch: int = 1,
) -> Any:
    """Run one trial of a run again, with the coins and the input that it had, and return what `trial` returns.

    Parameters
    ----------
    claim, trial, inputs, seed, batch : as in the run
    index : int
        The trial's index, from 0 on; with a batch, the whole batch that holds it is run.

    Raises
    ------
    InvalidParameter
        If the index is negative or beyond the inputs.

    Examples
    --------
    >>> claim = Claim(name="a fair coin", delta=0.5)
    >>> bool(replay(claim, lambda rng, n: rng.random(n) < 0.5, 7)[0]) in (True, False)
    True
    """
    unit, size = (positive_int("index + 1", index + 1) - 1) // positive_int("batch", batch), batch
    rng = stream(stream_key(claim, size), seed, unit)
    if inputs is None:
        return trial(rng, size)
    if callable(inputs):
        return trial(rng, drawn(inputs, rng, size))
    points = cast("np.ndarray", points_of(claim, inputs, seed))
    if index >= len(points):
        raise InvalidParameter(f"index must be below the number of inputs, got index={index}.")
    return trial(rng, points[unit * size : (unit + 1) * size].copy())


def _verdict(fixed: Run, course: Course, stopped: str, budget: int) -> Verdict:
    rule, counts, state = fixed.rule, fixed.rule.counts(course.tally), State(course.state)
    found = rule.findings(course.tally, state)
    path = [*course.path]
    if counts.trials and (not path or path[-1][0] != counts.trials):
        path.append(list(counts))
    return Verdict(
        claim=fixed.claim,
        state=state,
        trials=counts.trials,
        failures=counts.failures,
        unknown=counts.unknown,
        interval=found.interval,
        log_e_upheld=found.log_e_upheld,
        log_e_violated=found.log_e_violated,
        alpha_upheld=fixed.alphas[0],
        alpha_violated=fixed.alphas[1],
        stopped_because=stopped,
        seed=fixed.seed,
        batch=fixed.batch,
        method=fixed.method,
        fewest=rule.fewest,
        path=tuple((n, k, u) for n, k, u in path),
        first_failures=tuple(course.failures),
        first_unknown=tuple(course.unknown),
        warnings=warnings(fixed, course, budget),
        continuation=further(fixed, course),
    )
