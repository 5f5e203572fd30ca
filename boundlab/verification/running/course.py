"""A run of trials under any rule: what fixes its outcome, how far it has come, its file on disk, and how it goes on."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np

from boundlab._errors import InvalidParameter, matrix, positive, positive_int
from boundlab.files import write_atomically
from boundlab.verification import health
from boundlab.verification.claim import Claim, Over
from boundlab.verification.judging.rules import Rule
from boundlab.verification.running.blocks import Block, Fault, Work
from boundlab.verification.running.engine import in_order
from boundlab.verification.running.executors import ProcessPool
from boundlab.verification.running.streams import stream
from boundlab.verification.verdict import State, Verdict

NOTED = 20
"""How many failing and how many unknown trials are remembered by their index."""

RECORD_SECONDS = 1.0
"""How often a record on disk is renewed."""

INTERRUPTED = "interrupted"
"""Why a run stopped that Ctrl-C ended."""


Sampler = Callable[[np.random.Generator, int], np.ndarray]


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during a run: `verdict` is what was decided so far, and `verdict.resume()` goes on."""

    def __init__(self, verdict: Verdict, record: Path | None = None) -> None:
        """Keep the verdict, and say how to go on."""
        self.verdict = verdict
        again = "" if record is None else f", or with the same call again: the run is kept in {record}"
        super().__init__(
            f"interrupted after {verdict.trials} trials, {verdict.failures} failures: {verdict.state}; "
            f"go on with .verdict.resume() of this exception (sys.last_value in a notebook){again}"
        )


@dataclass(frozen=True, kw_only=True)
class Run:
    """Everything that fixes the outcome of a run but its budget."""

    claim: Claim
    trial: Callable[[np.random.Generator, Any], Any]
    points: np.ndarray | None
    sampler: Sampler | None
    rule: Rule
    method: str
    told: Callable[[Run, Course, str, int], Any]  # (run, course, why it stopped, budget) -> its record
    alphas: tuple[float, float]  # upheld, violated
    seed: int
    batch: int
    limit: float
    executor: Executor | int | None
    progress: Callable[[int, int, int], object] | None
    record: Path | None

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What a record on disk must agree with; a finite set too, since its trials speak of no other one."""
        told = {
            "claim": self.claim.id,
            "method": self.method,
            "alphas": list(self.alphas),
            "seed": self.seed,
            "batch": self.batch,
            "horizon": self.rule.horizon,  # of a fixed size: with another one the same trials would be a second look
        }
        if self.claim.over is Over.SET and self.points is not None:
            told["members"] = hashlib.blake2b(self.points.tobytes(), digest_size=16).hexdigest()
        return told


@dataclass
class Course:
    """How far a run has come; a JSON value."""

    tally: Any
    path: list[list[int]] = field(default_factory=list)
    failures: list[int] = field(default_factory=list)
    unknown: list[int] = field(default_factory=list)
    idle: int = 0
    pairs: int = 0  # pairs of failures in one batch
    state: str = State.UNDECIDED


def judged(
    claim: Claim,
    trial: Any,
    rule: Rule,
    *,
    told: Callable[[Run, Course, str, int], Any],
    method: str,
    inputs: Any,
    alphas: tuple[float, float],
    max_trials: int,
    max_seconds: float | None,
    executor: Executor | int | None,
    seed: int,
    batch: int,
    trial_seconds: float | None,
    record: str | Path | None,
    progress: Callable[[int, int, int], object] | None,
) -> Any:
    """Run trials under any rule and return what `told` makes of them: what `verify` and its relatives share."""
    budget = positive_int("max_trials", max_trials)
    seconds = math.inf if max_seconds is None else positive("max_seconds", max_seconds)
    check = getattr(trial, "check", None)
    if check is not None:  # a trial that knows its quantifier refuses a claim over another one
        check(claim)
    if not isinstance(executor, Executor) and executor is not None:
        executor = positive_int("executor", executor)
    stream(claim.id, seed, 0)  # refuses a broken seed
    fixed = Run(
        claim=claim,
        trial=trial,
        points=points_of(claim, inputs, seed),
        sampler=cast("Sampler", inputs) if callable(inputs) else None,
        rule=rule,
        method=method,
        told=told,
        alphas=(float(alphas[0]), float(alphas[1])),
        seed=int(seed),
        batch=positive_int("batch", batch),
        limit=math.inf if trial_seconds is None else positive("trial_seconds", trial_seconds),
        executor=executor,
        progress=progress,
        record=None if record is None else Path(record),
    )
    return _continue(fixed, _read(fixed), budget, seconds)


@contextlib.contextmanager
def one_pool(executor: Executor | int | None) -> Iterator[Executor | int | None]:
    """The same executor for several runs: a number of processes becomes one pool that is kept between them."""
    if executor is None or isinstance(executor, Executor) or positive_int("executor", executor) == 1:
        yield executor
    else:
        with ProcessPool(executor) as pool:
            yield pool


def points_of(claim: Claim, inputs: Any, seed: int) -> np.ndarray | None:
    """An array's points in the order of their trials; a finite set's members in a random one."""
    whole = inputs is not None and not callable(inputs)
    if claim.over is Over.SET:
        if not whole:
            raise InvalidParameter(f"inputs must be the members of the set for '{claim.over}', got {inputs!r}.")
        return _shuffled(claim, inputs, seed)
    if inputs is not None and claim.over is not Over.JOINT:
        raise InvalidParameter(
            f"inputs must be None but for 'coins,x' and a finite set, got inputs for a claim over '{claim.over}'."
        )
    return matrix("inputs", inputs) if whole else None


def _shuffled(claim: Claim, inputs: Any, seed: int) -> np.ndarray:
    members = matrix("inputs", inputs)
    if len(members) != claim.population:
        raise InvalidParameter(f"inputs must be all {claim.population} members of the set, got {len(members)}.")
    return stream(f"{claim.id}*order", seed, 0).permutation(members)


def most_trials(budget: int, inputs: Any) -> int:
    """The trials that there can be: after the last of them a test of fixed size looks."""
    return min(budget, len(inputs)) if hasattr(inputs, "__len__") else budget


def stream_key(claim: Claim, batch: int) -> str:
    """What its streams are keyed by, beside the seed: another batch draws other coins."""
    return claim.id if batch == 1 else f"{claim.id}*{batch}"


def _continue(fixed: Run, course: Course, budget: int, seconds: float) -> Any:
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
        key=stream_key(fixed.claim, batch),
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
                course = _after(rule, course, block, batch, limit)
                done = rule.counts(course.tally).trials
                if fixed.progress is not None:
                    fixed.progress(*rule.counts(course.tally))
                if course.state != State.UNDECIDED or done >= limit:
                    break
                if block.fault is not None:
                    _raise(fixed, block.fault)
                if fixed.record is not None and time.monotonic() - saved >= RECORD_SECONDS:
                    _write(fixed, course)
                    saved = time.monotonic()
            else:
                stopped = "max_seconds"
        if course.state != State.UNDECIDED:
            stopped = "decided"
    except KeyboardInterrupt:
        stopped = INTERRUPTED
    finally:
        blocks.close()
        _write(fixed, course)
    found = fixed.told(fixed, course, stopped, budget)
    if stopped == INTERRUPTED:
        raise Interrupted(found, fixed.record)
    return found


def _after(rule: Rule, course: Course, block: Block, batch: int, limit: int) -> Course:
    """The course after a block's outcomes up to the deciding one; a new one, so that Ctrl-C leaves no half of it."""
    before = rule.counts(course.tally)
    skip = max(0, before.trials - block.first * batch)  # a budget may have ended inside a unit
    outcomes = block.outcomes[skip : skip + limit - before.trials]
    if not len(outcomes):
        return course
    state, tally, taken = rule.look(course.tally, outcomes)
    seen, end = outcomes[:taken], before.trials + taken
    failed, undecided = rule.failed(seen), rule.undecided(seen)
    last, failures, unknown = rule.counts(tally), np.cumsum(failed), np.cumsum(undecided)
    start = last.failures - int(failures[-1]), last.unknown - int(unknown[-1])
    path = [*course.path]
    following = _next_step(path[-1][0] if path else 0)
    while following <= end:
        at = following - before.trials - 1
        path.append([following, start[0] + int(failures[at]), start[1] + int(unknown[at])])
        following = _next_step(following)
    return Course(
        tally=tally,
        path=path,
        failures=_noted(course.failures, before.trials, failed),
        unknown=_noted(course.unknown, before.trials, undecided),
        idle=course.idle + sum(before.trials <= unit * batch < end for unit in block.idle),
        pairs=course.pairs + _pairs(before.trials, failed, batch),
        state=str(state),
    )


def _noted(noted: list[int], before: int, which: np.ndarray) -> list[int]:
    return [*noted, *(before + np.flatnonzero(which)[: NOTED - len(noted)]).tolist()]


def _pairs(before: int, failed: np.ndarray, batch: int) -> int:
    """Pairs of failures that fell into one batch."""
    if batch == 1:
        return 0
    each = np.bincount((before + np.flatnonzero(failed)) // batch - before // batch)
    return int((each * (each - 1) // 2).sum())


def _next_step(n: int) -> int:
    """The trials at which the path is noted: every one up to 20, then rising by 5 %; no matter how long blocks are."""
    return n + 1 + n // 20


def _raise(fixed: Run, fault: Fault) -> None:
    first, inputs = fault.trial, "" if fixed.points is None and fixed.sampler is None else "inputs=inputs, "
    trials = f"trial {first}" if fixed.batch == 1 else f"trials {first} to {first + fixed.batch - 1}"
    fault.exception.add_note(
        f"raised in {trials} of the claim '{fixed.claim.name}'; run it again with "
        f"boundlab.replay(claim, trial, {first}, {inputs}seed={fixed.seed}, batch={fixed.batch})"
    )
    raise fault.exception


def further(fixed: Run, course: Course) -> Callable[..., Any]:
    """How a record's `resume` goes on from this course."""

    def go_on(*, max_trials: int, max_seconds: float | None) -> Any:
        done = fixed.rule.counts(course.tally).trials
        if course.state == State.UNDECIDED and done == fixed.rule.horizon:
            raise InvalidParameter(
                f"a run must end with its last trial: {done} were fixed beforehand, or are all there is, got a resume."
            )
        seconds = math.inf if max_seconds is None else positive("max_seconds", max_seconds)
        return _continue(fixed, _copy(course), positive_int("max_trials", max_trials), seconds)

    return go_on


def warnings(fixed: Run, course: Course, budget: int) -> tuple[str, ...]:
    """Signs that a run is weaker than it looks; the members of a set need no coins, and may be equal."""
    used, drawn = fixed.rule.counts(course.tally).trials, fixed.claim.over is not Over.SET
    most = most_trials(budget, fixed.points)
    found = (
        health.too_few_trials(most, fixed.rule.fewest) if course.state == State.UNDECIDED else None,
        health.idle_streams(course.idle, -(-used // fixed.batch)) if drawn else None,
        health.shared_inputs(fixed.points, used) if drawn else None,
        health.shared_coins(course.pairs, fixed.rule.counts(course.tally).failures, used, fixed.batch)
        if drawn
        else None,
    )
    return tuple(text for text in found if text is not None)


def _copy(course: Course) -> Course:
    return Course(**json.loads(json.dumps(vars(course))))


def _read(fixed: Run) -> Course:
    """The course in the record on disk, or a fresh one."""
    if fixed.record is None or not fixed.record.exists():
        return Course(tally=fixed.rule.start())
    try:
        stored = json.loads(fixed.record.read_text(encoding="utf-8"))
        identity, course = stored["run"], Course(**stored["course"])
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise InvalidParameter(f"a record must be one that verify wrote, got {fixed.record}: {fault}.") from None
    if identity != fixed.identity:
        apart = [name for name, value in fixed.identity.items() if identity.get(name) != value]
        raise InvalidParameter(
            f"a record must belong to this run, got another {' and '.join(apart)} in {fixed.record}."
        )
    return course


def _write(fixed: Run, course: Course) -> None:
    if fixed.record is not None and fixed.rule.counts(course.tally).trials:
        stored = {"schema": "boundlab.run/1", "run": fixed.identity, "course": vars(course)}
        write_atomically({fixed.record: json.dumps(stored, allow_nan=False) + "\n"})
