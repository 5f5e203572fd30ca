"""Run trials of a claim until the evidence decides, or the budget ends."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np

from boundlab._errors import InvalidParameter, choice, matrix, positive, positive_int
from boundlab.files import write_atomically
from boundlab.records import Compression
from boundlab.verification import health
from boundlab.verification.claim import Claim, Over
from boundlab.verification.engine import Work, in_order
from boundlab.verification.methods import Method, rule_for
from boundlab.verification.rules import Rule
from boundlab.verification.streams import stream
from boundlab.verification.verdict import State, Verdict

NOTED = 20
"""How many failing and how many unknown trials are remembered by their index."""

RECORD_SECONDS = 1.0
"""How often a record on disk is renewed."""


Sampler = Callable[[np.random.Generator, int], np.ndarray]


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during a run: `verdict` is what was decided so far, and `verdict.resume()` goes on."""

    def __init__(self, verdict: Verdict) -> None:
        """Keep the verdict, and say how to go on."""
        self.verdict = verdict
        super().__init__(
            f"interrupted after {verdict.trials} trials, {verdict.failures} failures: {verdict.state}; "
            "go on with .verdict.resume() of this exception (sys.last_value in a notebook)"
        )


@dataclass(frozen=True, kw_only=True)
class Run:
    """Everything that fixes the outcome of a run but its budget."""

    claim: Claim
    trial: Callable[[np.random.Generator, Any], Any]
    points: np.ndarray | None
    sampler: Sampler | None
    rule: Rule
    method: Method
    alphas: tuple[float, float]  # upheld, violated
    seed: int
    batch: int
    limit: float
    executor: Executor | int | None
    progress: Callable[[int, int, int], object] | None
    record: Path | None

    @property
    def identity(self) -> dict[str, Any]:
        """What a record on disk must agree with."""
        return {
            "claim": self.claim.id,
            "method": str(self.method),
            "alphas": list(self.alphas),
            "seed": self.seed,
            "batch": self.batch,
        }


@dataclass
class _Course:
    """How far a run has come; a JSON value."""

    tally: Any
    path: list[list[int]] = field(default_factory=list)
    failures: list[int] = field(default_factory=list)
    unknown: list[int] = field(default_factory=list)
    idle: int = 0
    state: str = State.UNDECIDED


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
    eps, delta : float or None
        For a Compression only: the relative error of the claim f̂ ∈ (1 ± eps) f, None for Theorem B's envelope; the
        failure probability, None for the compressor's.
    alpha_violated, alpha_upheld : float in (0, 1)
        The error level of each verdict.
    max_trials : int
        Budget in trials, at least 1.
    max_seconds : float or None
        Budget in wall-clock seconds. It alone can make the result depend on timing.
    executor : concurrent.futures.Executor, int or None
        Where trials run. A number w > 1: a pool of w spawned processes; 1: this process; None: this process, and
        after two seconds a pool of all cores if the trial can be sent to one.
    seed : int
        Root seed, at least 0.
    batch : int
        Trials per stream: trial(rng, batch) answers so many at once, which is quicker for cheap trials. It is part of
        the stream scheme: another batch draws other coins.
    method : Method or its text
        "e-process" (default), "spending", "fixed" or "repeated"; see `Method`.
    trial_seconds : float or None
        A trial that takes longer counts as unknown.
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
    claim, trial, inputs = _subject(subject, trial, inputs, eps, delta)
    budget, way = positive_int("max_trials", max_trials), choice("method", method, Method)
    seconds = math.inf if max_seconds is None else positive("max_seconds", max_seconds)
    if inputs is not None and claim.over is not Over.JOINT:
        raise InvalidParameter(f"inputs must be None but for 'coins,x', got inputs for a claim over '{claim.over}'.")
    if not isinstance(executor, Executor) and executor is not None:
        executor = positive_int("executor", executor)
    stream(claim.id, seed, 0)  # refuses a broken seed
    rule = rule_for(claim, way, alpha_upheld, alpha_violated, budget)
    fixed = Run(
        claim=claim,
        trial=trial,
        points=None if inputs is None or callable(inputs) else matrix("inputs", inputs),
        sampler=cast("Sampler", inputs) if callable(inputs) else None,
        rule=rule,
        method=way,
        alphas=(float(alpha_upheld), float(alpha_violated)),
        seed=int(seed),
        batch=positive_int("batch", batch),
        limit=math.inf if trial_seconds is None else positive("trial_seconds", trial_seconds),
        executor=executor,
        progress=progress,
        record=None if record is None else Path(record),
    )
    return _continue(fixed, _read(fixed), budget, seconds)


def _subject(subject: Any, trial: Any, inputs: Any, eps: float | None, delta: float | None) -> tuple[Claim, Any, Any]:
    """The claim, its trial and the inputs."""
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
    rng = stream(_stream_key(claim, size), seed, unit)
    if inputs is None:
        return trial(rng, size)
    if callable(inputs):
        return trial(rng, inputs(rng, size))
    points = matrix("inputs", inputs)[unit * size : (unit + 1) * size]
    if index >= len(matrix("inputs", inputs)):
        raise InvalidParameter(f"index must be below the number of inputs, got index={index}.")
    return trial(rng, points.copy())


def _stream_key(claim: Claim, batch: int) -> str:
    return claim.id if batch == 1 else f"{claim.id}*{batch}"


def _continue(fixed: Run, course: _Course, budget: int, seconds: float) -> Verdict:
    """Go on from a course until the rule decides or the budget ends."""
    rule, batch, start = fixed.rule, fixed.batch, time.monotonic()
    ends = {"max_trials": budget}
    if fixed.points is not None:
        ends["inputs used up"] = len(fixed.points)
    if rule.horizon is not None:
        ends["nothing more to see"] = rule.horizon
    stopped, limit = min(ends.items(), key=lambda end: end[1])
    work = Work(
        trial=fixed.trial,
        key=_stream_key(fixed.claim, batch),
        seed=fixed.seed,
        batch=batch,
        read=rule.read,
        unknown=rule.unknown,
        sampler=fixed.sampler,
        limit=fixed.limit,
    )
    done, saved = rule.counts(course.tally).trials, start
    blocks = in_order(
        work, fixed.points, done // batch, -(-limit // batch), executor=fixed.executor, deadline=start + seconds
    )
    try:
        if course.state == State.UNDECIDED and done < limit:
            for block in blocks:
                skip = max(0, done - block.first * batch)  # a budget may have ended inside a unit
                fresh = block.outcomes[skip : skip + limit - done]
                if len(fresh):
                    _take(rule, course, fresh)
                course.idle += block.idle
                done = rule.counts(course.tally).trials
                if fixed.progress is not None:
                    fixed.progress(*rule.counts(course.tally))
                if course.state != State.UNDECIDED or done >= limit:
                    break
                if block.error is not None:
                    _raise(fixed, *block.error)
                if fixed.record is not None and time.monotonic() - saved >= RECORD_SECONDS:
                    _write(fixed, course)
                    saved = time.monotonic()
            else:
                stopped = "max_seconds"
        if course.state != State.UNDECIDED:
            stopped = "decided"
    except KeyboardInterrupt:
        _write(fixed, course)
        raise Interrupted(_verdict(fixed, course, "interrupted", budget)) from None
    finally:
        blocks.close()
    _write(fixed, course)
    return _verdict(fixed, course, stopped, budget)


def _take(rule: Rule, course: _Course, outcomes: np.ndarray) -> None:
    """Let the rule look at a block's outcomes, and note the path and the trials that failed."""
    before = rule.counts(course.tally).trials
    state, course.tally, taken = rule.look(course.tally, outcomes)
    course.state, seen = str(state), outcomes[:taken]
    for noted, which in ((course.failures, rule.failed(seen)), (course.unknown, rule.undecided(seen))):
        noted.extend((before + np.flatnonzero(which)[: NOTED - len(noted)]).tolist())
    failures, unknown = np.cumsum(rule.failed(seen)), np.cumsum(rule.undecided(seen))
    base = course.path[-1] if course.path else [0, 0, 0]
    last = rule.counts(course.tally)
    start = last.failures - int(failures[-1]), last.unknown - int(unknown[-1])
    following = _next_step(base[0])
    while following <= before + taken:
        at = following - before - 1
        course.path.append([following, start[0] + int(failures[at]), start[1] + int(unknown[at])])
        following = _next_step(following)


def _next_step(n: int) -> int:
    """The trials at which the path is noted: every one up to 20, then rising by 5 %; no matter how long blocks are."""
    return n + 1 + n // 20


def _raise(fixed: Run, index: int, fault: BaseException) -> None:
    trials = f"trial {index}" if fixed.batch == 1 else f"trials {index} to {index + fixed.batch - 1}"
    fault.add_note(
        f"raised in {trials} of the claim '{fixed.claim.name}'; run it again with "
        f"boundlab.replay(claim, trial, {index}, seed={fixed.seed}, batch={fixed.batch})"
    )
    raise fault


def _verdict(fixed: Run, course: _Course, stopped: str, budget: int) -> Verdict:
    rule, counts, state = fixed.rule, fixed.rule.counts(course.tally), State(course.state)
    found = rule.findings(course.tally, state)

    def further(*, max_trials: int, max_seconds: float | None) -> Verdict:
        seconds = math.inf if max_seconds is None else positive("max_seconds", max_seconds)
        return _continue(fixed, _copy(course), positive_int("max_trials", max_trials), seconds)

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
        method=str(fixed.method),
        fewest=rule.fewest,
        path=tuple((n, k, u) for n, k, u in path),
        first_failures=tuple(course.failures),
        first_unknown=tuple(course.unknown),
        warnings=_warnings(fixed, course, budget),
        continuation=further,
    )


def _warnings(fixed: Run, course: _Course, budget: int) -> tuple[str, ...]:
    used = fixed.rule.counts(course.tally).trials
    found = (
        health.too_few_trials(budget, fixed.rule.fewest) if course.state == State.UNDECIDED else None,
        health.idle_streams(course.idle, -(-used // fixed.batch)),
        health.shared_inputs(fixed.points, used),
    )
    return tuple(text for text in found if text is not None)


def _copy(course: _Course) -> _Course:
    return _Course(**json.loads(json.dumps(vars(course))))


def _read(fixed: Run) -> _Course:
    """The course in the record on disk, or a fresh one."""
    if fixed.record is None or not fixed.record.exists():
        return _Course(tally=fixed.rule.start())
    try:
        stored = json.loads(fixed.record.read_text(encoding="utf-8"))
        identity, course = stored["run"], _Course(**stored["course"])
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise InvalidParameter(f"a record must be one that verify wrote, got {fixed.record}: {fault}.") from None
    if identity != fixed.identity:
        apart = [name for name, value in fixed.identity.items() if identity.get(name) != value]
        raise InvalidParameter(
            f"a record must belong to this run, got another {' and '.join(apart)} in {fixed.record}."
        )
    return course


def _write(fixed: Run, course: _Course) -> None:
    if fixed.record is not None:
        stored = {"schema": "boundlab.run/1", "run": fixed.identity, "course": vars(course)}
        write_atomically({fixed.record: json.dumps(stored, allow_nan=False) + "\n"})
