"""Outcomes in index order, whatever computes them: this process, any `concurrent.futures.Executor`, or our own pool.

A *unit* is one stream: `batch` trials (1 by default). Workers are sent blocks of units; the length of a block follows
the clock and changes no result, because a unit's coins depend on claim, seed and the unit's index only. Results are
handed on in index order: deciding in order of completion is biased where failing trials are slower.

A lost worker costs nothing: its blocks are sent again, one unit at a time, and only a unit that is lost three times
becomes unknown. An exception of the trial ends the run when its turn comes, with the trial's index; a trial that is
longer than its limit is unknown.
"""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Executor, Future, wait
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from boundlab._errors import BoundlabError, InvalidParameter, matrix, one_line
from boundlab.verification.executors import ProcessPool
from boundlab.verification.streams import Streams

ATTEMPTS = 3
"""How often a unit is tried alone before a lost worker makes it unknown."""

BLOCK_SECONDS = 0.2
"""What a block aims at: a hundred times the overhead of a cluster's task."""

SPILL_SECONDS = 2.0
"""How long a run without executor stays in this process, before it goes on in a pool of processes."""

GRACE_SECONDS = 30.0
"""How long after three times a trial's limit a block counts as lost, where no alarm could end it."""

CHECKED_STREAMS = 32
"""Of the first units it is looked at whether the trial drew from its stream at all."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a worker must know of a run; the same for all of its blocks."""

    trial: Any  # a callable, or its pickled bytes
    key: str  # the claim's id, with the batch where it is not 1
    seed: int
    batch: int
    read: Callable[[Any, int], np.ndarray]  # a rule's `read`: the answer as outcomes
    unknown: float  # the outcome of a trial without an answer
    sampler: Any = None  # inputs(rng, n), or its pickled bytes
    limit: float = math.inf  # seconds per trial

    def sendable(self) -> Work:
        """The same work with trial and sampler pickled once; as it is where they cannot be (threads need no pickle)."""
        packed = {name: _packed(getattr(self, name)) for name in ("trial", "sampler")}
        return replace(self, **{name: value for name, value in packed.items() if value is not None})


@dataclass(frozen=True, kw_only=True)
class Block:
    """The outcomes of units [first, first + units); `error` is the exception that ended it early, and where."""

    first: int
    units: int
    outcomes: np.ndarray
    idle: int = 0  # units among the first ones that drew nothing from their stream
    error: tuple[int, BaseException] | None = None  # (trial, what it raised)
    seconds: float = 0.0


class _Overdue(BaseException):
    """A trial ran past its limit; no `except Exception` of the trial may catch it."""


def run_block(work: Work, first: int, units: int, inputs: np.ndarray | None) -> Block:
    """Run units [first, first + units) and return their outcomes: a whole task, also on another machine."""
    start = time.monotonic()
    trial, sampler = _unpacked(work.trial), _unpacked(work.sampler)
    streams, found, idle, error = Streams(work.key, work.seed), [], 0, None
    for unit in range(first, first + units):
        rng, x = streams(unit), None
        if inputs is not None:  # a copy: a trial that writes to its x must not change later ones
            x = inputs[(unit - first) * work.batch : (unit - first + 1) * work.batch].copy()
        n, began = work.batch if x is None else len(x), time.monotonic()
        try:
            with _alarm(work.limit * n):
                if sampler is not None:
                    x = _drawn(sampler(rng, n), n)
                outcomes = work.read(trial(rng, n if x is None else x), n)
            if time.monotonic() - began > work.limit * n:
                raise _Overdue
            found.append(outcomes)
        except _Overdue:
            found.append(np.full(n, work.unknown))
        except Exception as fault:  # the trial's own: told with its index when its turn comes
            error = (unit * work.batch, fault)
            break
        idle += unit < CHECKED_STREAMS and streams.untouched()
    whole = np.concatenate(found) if found else np.empty(0)
    return Block(
        first=first, units=len(found), outcomes=whole, idle=idle, error=error, seconds=time.monotonic() - start
    )


def in_order(
    work: Work,
    points: np.ndarray | None,
    first: int,
    stop: int,
    *,
    executor: Executor | int | None,
    deadline: float,
) -> Generator[Block]:
    """Yield the blocks of units [first, stop) in index order, until the deadline (of time.monotonic)."""
    if isinstance(executor, Executor):
        yield from _there(work.sendable(), points, first, stop, executor, deadline)
        return
    if executor is None:
        spill = time.monotonic() + SPILL_SECONDS
        for block in _here(work, points, first, stop, deadline, until=spill):
            yield block
            first = block.first + block.units
        if first >= stop or time.monotonic() >= deadline:
            return
        executor = _processors() if _travels(work) else 1
    if executor == 1:
        yield from _here(work, points, first, stop, deadline)
    else:
        with ProcessPool(executor) as pool:
            yield from _there(work.sendable(), points, first, stop, pool, deadline)


def _processors() -> int:
    """Cores for a pool of our own; 1 inside a worker of somebody else's."""
    return (os.cpu_count() or 1) if multiprocessing.parent_process() is None else 1


def _travels(work: Work) -> bool:
    """Whether another process can load the trial by its name, and a fresh one does."""
    packed = [_pickled(value) for value in (work.trial, work.sampler) if value is not None]
    if _processors() == 1 or any(data is None for data in packed):
        return False
    with ProcessPool(1) as probe:
        answer = probe.submit(_loads, packed)
        return answer.exception() is None


def _loads(packed: list[bytes]) -> None:
    for data in packed:
        _loaded(data)


def _here(
    work: Work, points: np.ndarray | None, first: int, stop: int, deadline: float, until: float = math.inf
) -> Iterator[Block]:
    """In this process: blocks that last about a tenth of a second."""
    units = 1
    while first < stop and time.monotonic() < until:
        units = min(units, stop - first)
        block = run_block(work, first, units, _slice(work, points, first, units))
        yield block
        if time.monotonic() >= deadline:
            return
        first += units
        units = _next_length(units, block.seconds, 0.1)


def _there(
    work: Work, points: np.ndarray | None, first: int, stop: int, executor: Executor, deadline: float
) -> Iterator[Block]:
    """On an executor: two blocks per worker in flight, handed on in index order."""
    width = 2 * _workers(executor)
    pending: deque[_Task] = deque()
    units, following = 1, first
    try:
        while following < stop or pending:
            while following < stop and len(pending) < width:
                length = min(units, stop - following)
                pending.append(_Task(following, length, _slice(work, points, following, length)))
                pending[-1].submit(work, executor)
                following += length
            block = pending[0].result(work, executor, deadline)
            if block is None:  # the deadline
                return
            pending.popleft()
            yield block
            if time.monotonic() >= deadline:
                return
            if block.units:
                units = _next_length(block.units, block.seconds, BLOCK_SECONDS)
    finally:
        for task in pending:
            task.cancel()


class _Task:
    """A block in flight: submitted, and submitted again unit by unit if its worker is lost."""

    def __init__(self, first: int, units: int, inputs: np.ndarray | None) -> None:
        self.first, self.units, self.inputs = first, units, inputs
        self.future: Future[Block] | None = None
        self.since = 0.0

    def submit(self, work: Work, executor: Executor) -> None:
        self.since = time.monotonic()
        try:
            self.future = executor.submit(run_block, work, self.first, self.units, self.inputs)
        except BrokenExecutor:
            self.future = None  # seen as lost when its turn comes

    def cancel(self) -> None:
        if self.future is not None:
            self.future.cancel()

    def result(self, work: Work, executor: Executor, deadline: float) -> Block | None:
        """The block, or None at the deadline. Lost units are sent again; see the module's text."""
        block, lost = self._await(work, executor, deadline)
        if not lost:
            return block
        if self.units > 1:  # find the unit that is to blame
            parts = []
            for k in range(self.units):
                n = work.batch
                own = None if self.inputs is None else self.inputs[k * n : (k + 1) * n]
                single = _Task(self.first + k, 1, own)
                single.submit(work, executor)
                part = single.result(work, executor, deadline)
                if part is None:
                    return None
                parts.append(part)
                if part.error is not None:
                    break
            return _joined(parts)
        for _ in range(ATTEMPTS - 1):
            _restart(executor)
            self.submit(work, executor)
            if self.future is None:
                raise BoundlabError(
                    f"an executor must take work, but it is broken after {self.first * work.batch} trials; "
                    "run again with a fresh one to go on."
                )
            block, lost = self._await(work, executor, deadline)
            if not lost:
                return block
        n = work.batch if self.inputs is None else len(self.inputs)
        return Block(
            first=self.first, units=1, outcomes=np.full(n, work.unknown), seconds=time.monotonic() - self.since
        )

    def _await(self, work: Work, executor: Executor, deadline: float) -> tuple[Block | None, bool]:
        """(block, lost): None and False at the deadline; lost where no answer will come."""
        if self.future is None:
            _restart(executor)
            return None, True
        hung = math.inf if math.isinf(work.limit) else self.since + 3 * work.limit * work.batch + GRACE_SECONDS
        while True:
            until = min(deadline, hung)
            timeout = None if math.isinf(until) else max(0.0, until - time.monotonic())
            done, _ = wait([self.future], timeout=timeout, return_when=FIRST_COMPLETED)
            if done:
                break
            if time.monotonic() >= deadline:
                return None, False
            if time.monotonic() >= hung:
                self.future.cancel()
                _restart(executor, hung=True)
                return None, True
        try:
            return self.future.result(), False
        except BaseException as fault:
            if not _is_loss(fault):
                raise _told(fault) from fault
            _restart(executor)
            return None, True


def _joined(parts: list[Block]) -> Block:
    return Block(
        first=parts[0].first,
        units=sum(p.units for p in parts),
        outcomes=np.concatenate([p.outcomes for p in parts]),
        idle=sum(p.idle for p in parts),
        error=parts[-1].error,
        seconds=sum(p.seconds for p in parts),
    )


def _is_loss(fault: BaseException) -> bool:
    """Whether the infrastructure failed, not the work; dask's exceptions are known by name, without importing it."""
    lost = (BrokenExecutor, CancelledError, ConnectionError, EOFError)
    return isinstance(fault, lost) or type(fault).__name__ in ("KilledWorker", "CommClosedError")


def _told(fault: BaseException) -> BaseException:
    if isinstance(fault, (pickle.PicklingError, AttributeError, TypeError)):
        return InvalidParameter(
            "a trial for other processes must be picklable: a function of an importable module, or a functools.partial "
            f"or dataclass of one, got {one_line(fault)}."
        )
    return fault


def _restart(executor: Executor, *, hung: bool = False) -> None:
    """Ask an executor that can (our own pool) for fresh workers."""
    restart = getattr(executor, "restart", None)
    if restart is not None:
        restart(hung=hung)


def _workers(executor: Executor) -> int:
    return int(getattr(executor, "_max_workers", None) or os.cpu_count() or 1)


def _next_length(units: int, seconds: float, target: float) -> int:
    """At most four times as long as the last block, at most `target` seconds."""
    fitting = units * target / max(seconds, 1e-6)
    return max(1, min(4 * units, int(fitting), 1 << 16))


def _slice(work: Work, points: np.ndarray | None, first: int, units: int) -> np.ndarray | None:
    return None if points is None else points[first * work.batch : (first + units) * work.batch]


def _drawn(x: Any, n: int) -> np.ndarray:
    array = matrix("inputs(rng, n)", x)
    if len(array) != n:
        raise InvalidParameter(f"inputs(rng, n) must return n = {n} points, got {len(array)}.")
    return array


def _packed(value: Any) -> bytes | None:
    """Pickled, with cloudpickle's help where it is installed; None where it cannot be."""
    if value is None:
        return None
    data = _pickled(value)
    if data is None:
        with contextlib.suppress(Exception):
            import cloudpickle

            return cloudpickle.dumps(value)
    return data


def _pickled(value: Any) -> bytes | None:
    """Pickled by name, or None: another process has another __main__."""
    with contextlib.suppress(Exception):
        data = pickle.dumps(value)
        return None if b"__main__" in data else data
    return None


def _unpacked(value: Any) -> Any:
    return _loaded(value) if isinstance(value, bytes) else value


@lru_cache(maxsize=8)
def _loaded(data: bytes) -> Any:
    """A trial is unpickled once per worker, so that what it prepares is kept between blocks."""
    return pickle.loads(data)


@contextlib.contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Raise _Overdue inside the block after so many seconds, where the system can (a main thread, with SIGALRM)."""
    able = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
    if math.isinf(seconds) or not able:
        yield
        return

    def ring(number: int, frame: object) -> None:
        raise _Overdue

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
