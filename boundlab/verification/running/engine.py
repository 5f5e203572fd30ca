"""Outcomes in index order, whatever computes them: this process, any `concurrent.futures.Executor`, or our own pool.

A *unit* is one stream: `batch` trials (1 by default). Workers are sent blocks of units; the length of a block follows
the clock and changes no result, because a unit's coins depend on claim, seed and the unit's index only. Results are
handed on in index order: deciding in order of completion is biased where failing trials are slower.

A lost worker costs nothing: its block is sent again in smaller pieces, and only a unit that is lost three times, twice
of them while nothing else runs, becomes unknown. An exception of the trial ends the run when its turn comes, with the
trial's index; a trial that is longer than its limit is unknown.
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
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from boundlab._errors import BoundlabError, InvalidParameter, one_line
from boundlab.verification.running.blocks import Block, Fault, Work, run_block
from boundlab.verification.running.executors import ProcessPool

ATTEMPTS = 3
"""How often a unit is tried by itself before a lost worker makes it unknown."""

BLOCK_SECONDS = 0.2
"""What a block aims at, a hundred times the overhead of a cluster's task; an executor's `block_seconds` goes first."""

HERE_SECONDS = 0.1
"""What a block in this process aims at."""

BLOCK_TRIALS, BLOCK_BYTES = 1 << 18, 1 << 22
"""What a block holds at most: its trials are judged at once, a few hundred bytes for each, and its inputs are sent."""

SPILL_SECONDS = 2.0
"""How long a run without executor stays in this process, before it goes on in a pool of processes."""

GRACE_SECONDS = 60.0
"""How long after twice its time a block counts as hung where no alarm could end a trial, its first imports included; an
executor's `grace_seconds` goes first."""

LOSSES = {
    *("KilledWorker", "CommClosedError"),  # dask
    *("UncompletedJobError",),  # submitit
    *("WorkerCrashedError", "NodeDiedError", "LocalRayletDiedError", "ObjectLostError", "OutOfMemoryError"),  # Ray
}
"""The exceptions that mean a lost worker."""


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
    span = _Span(work, points, first, stop, deadline)
    with contextlib.suppress(_Deadline):
        if isinstance(executor, Executor):
            yield from _there(span, _Crew(executor, work))
        elif executor == 1:
            yield from _here(span)
        elif executor is None:
            yield from _spilling(span)
        else:
            work = work.sendable()
            with ProcessPool(executor, main=callable(work.trial) or callable(work.sampler)) as pool:
                yield from _there(span, _Crew(pool, work))


class _Deadline(Exception):
    """The time of the run is up."""


@dataclass
class _Span:
    """The units [first, stop) that are still to be handed out."""

    work: Work
    points: np.ndarray | None
    first: int
    stop: int
    deadline: float
    units: int = 1  # of the next block

    def next(self) -> tuple[int, int, np.ndarray | None]:
        """The next block's first unit, number of units and inputs."""
        first, units = self.first, min(self.units, self.stop - self.first)
        self.first += units
        return first, units, self.inputs(first, units)

    def inputs(self, first: int, units: int) -> np.ndarray | None:
        """The points of these units."""
        n = self.work.batch
        return None if self.points is None else self.points[first * n : (first + units) * n]

    def learn(self, block: Block, seconds: float) -> None:
        """Let the next block last so many seconds, but grow by steps: of 4, or where blocks are long by fewer ones."""
        if block.units:
            fitting, growth = int(block.units * seconds / max(block.seconds, 1e-6)), max(4, int(seconds))
            point = 1 if self.points is None else self.points[0].nbytes
            most = min(BLOCK_TRIALS, BLOCK_BYTES // point) // self.work.batch
            self.units = max(1, min(growth * block.units, fitting, most))

    def check(self) -> None:
        """Raise _Deadline when the time is up."""
        if time.monotonic() >= self.deadline:
            raise _Deadline


def _here(span: _Span, until: Callable[[], bool] = lambda: False) -> Iterator[Block]:
    """In this process."""
    while span.first < span.stop and not until():
        with _heeded_ctrl_c():
            block = run_block(span.work, *span.next())
        yield block
        span.check()
        span.learn(block, HERE_SECONDS)


def _spilling(span: _Span) -> Iterator[Block]:
    """In this process, and after a while in a pool of all cores, if the trial answers there what it does here."""
    spill, last = time.monotonic() + SPILL_SECONDS, None
    for last in _here(span, until=lambda: time.monotonic() >= spill):
        yield last
    cores = _processors()
    if last is not None and cores > 1 and span.first < span.stop and span.work.travels():
        with ProcessPool(cores) as pool:
            crew = _Crew(pool, span.work)
            again = crew.submit(last.first, last.units, span.inputs(last.first, last.units))
            yield from _here(span, until=again.done)  # until the pool is up
            if again.done() and _equal(again, last):
                yield from _there(span, crew)
    yield from _here(span)


def _equal(again: Future[Block], block: Block) -> bool:
    """Whether a block had the same outcomes elsewhere: a trial may depend on what only this process has."""
    if again.exception() is not None:
        return False
    there = again.result()
    return there.fault is None and np.array_equal(there.outcomes, block.outcomes, equal_nan=True)


def _processors() -> int:
    """Cores for a pool of our own; 1 inside a worker of somebody else's."""
    if multiprocessing.parent_process() is not None:
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _there(span: _Span, crew: _Crew, *, grows: bool = True) -> Iterator[Block]:
    """On an executor: two blocks per worker in flight, handed on in index order."""
    pending: deque[_Task] = deque()
    try:
        while span.first < span.stop or pending:
            while span.first < span.stop and len(pending) < crew.width():
                pending.append(crew.task(*span.next()))
            try:
                block = crew.result(pending[0], span)
            except _Lost as loss:
                yield from _again(span, crew, pending[0], loss)
            else:
                yield block
                if grows:
                    span.learn(block, crew.block_seconds)
            pending.popleft()
            span.check()
    finally:
        for task in pending:
            task.future.cancel()


def _again(span: _Span, crew: _Crew, task: _Task, loss: _Lost) -> Iterator[Block]:
    """A lost block in pieces; of a single unit, what it answers while nothing else runs, or that it is unknown."""
    first, units, inputs = task.block
    if units > 1:
        pieces = replace(span, first=first, stop=first + units, units=math.isqrt(units))
        yield from _there(pieces, crew, grows=False)
        return
    for _ in range(0 if loss.hung else ATTEMPTS - 1):
        crew.drain(span)
        try:
            yield crew.result(crew.task(first, units, inputs), span)
        except _Lost as again:
            loss = again
            if loss.hung:
                break
        else:
            return
    if not loss.hung:
        crew.check(span, first)
    n = span.work.batch if inputs is None else len(inputs)
    yield Block(first=first, units=1, outcomes=np.full(n, span.work.unknown))


class _Lost(Exception):
    """A block that no answer will come for: its worker died, or was ended because it hung."""

    def __init__(self, *, hung: bool = False) -> None:
        self.hung = hung


@dataclass(frozen=True)
class _Task:
    """A block in flight: its first unit, units and inputs, and its future."""

    block: tuple[int, int, np.ndarray | None]
    future: Future[Block]


class _Crew:
    """An executor, with what it may offer beyond `submit`.

    workers : how many tasks run at once.
    block_seconds : how long a task should be.
    grace_seconds : how long after its time a task counts as hung.
    share(value) : what stands for the value among a task's arguments, so that it is sent once and not with each task.
    running(future) : whether a worker is at work on it, where its own `running` does not tell.
    kill(future) : ends the worker that is at work on it.
    """

    def __init__(self, executor: Executor, work: Work) -> None:
        self._executor = executor
        self._work = work if isinstance(executor, ThreadPoolExecutor) else work.sendable()
        self._shared: Any = None
        self._flying: set[Future[Any]] = set()
        self._width, self._counted = 0, -math.inf
        self.block_seconds = float(getattr(executor, "block_seconds", BLOCK_SECONDS))
        self._grace = float(getattr(executor, "grace_seconds", GRACE_SECONDS))

    def width(self) -> int:
        """Blocks in flight; workers may come and go."""
        if time.monotonic() > self._counted + 1.0:
            executor, cores = self._executor, os.cpu_count()
            workers = getattr(executor, "workers", None) or getattr(executor, "_max_workers", None) or cores or 1
            self._width, self._counted = 2 * int(workers), time.monotonic()
        return self._width

    def task(self, first: int, units: int, inputs: np.ndarray | None) -> _Task:
        return _Task((first, units, inputs), self.submit(first, units, inputs))

    def submit(self, first: int, units: int, inputs: np.ndarray | None) -> Future[Block]:
        if self._shared is None:
            self._shared = self._share()
        try:
            future = self._executor.submit(run_block, self._shared, first, units, inputs)
        except BrokenExecutor as fault:
            future = Future()
            future.set_exception(fault)
        self._flying.add(future)
        future.add_done_callback(self._flying.discard)
        return future

    def _share(self) -> Any:
        share = getattr(self._executor, "share", None)
        try:
            return self._work if share is None else share(self._work)
        except (pickle.PicklingError, AttributeError, TypeError) as fault:
            raise _unpicklable(fault) from fault

    def result(self, task: _Task, span: _Span) -> Block:
        """The block; _Lost where none will come, _Deadline where the time is up."""
        patience, began = 2.0 * (span.work.limit * span.work.batch + self.block_seconds) + self._grace, None
        while not wait([task.future], timeout=max(0.0, min(1.0, patience, span.deadline - time.monotonic()))).done:
            span.check()
            if math.isinf(patience):
                continue
            if began is None:
                began = time.monotonic() if self._running(task.future) else None
            elif time.monotonic() >= began + patience:
                return self._hung(task, span)
        try:
            fault = task.future.exception()
        except CancelledError as cancelled:
            fault = cancelled
        if fault is None:
            return task.future.result()
        if _is_loss(fault):
            self._shared = None  # it may be lost, too
            raise _Lost
        return _stopped(task, span, _told(fault))

    def _running(self, future: Future[Any]) -> bool:
        running = getattr(self._executor, "running", None)
        return future.running() if running is None else running(future)

    def _hung(self, task: _Task, span: _Span) -> Block:
        kill = getattr(self._executor, "kill", None)
        if kill is None:
            return _stopped(
                task,
                span,
                BoundlabError(
                    f"a trial must end within {span.work.limit:g} seconds, one does not, and this executor cannot end "
                    "it; a ProcessPool can."
                ),
            )
        kill(task.future)
        raise _Lost(hung=True)

    def drain(self, span: _Span) -> None:
        """Wait until nothing runs: a unit that is lost then is to blame for it."""
        while wait(list(self._flying), timeout=1.0).not_done:
            span.check()

    def check(self, span: _Span, first: int) -> None:
        """Raise where the executor, and not a unit, is to blame for a loss."""
        for _ in range(ATTEMPTS):
            with contextlib.suppress(BrokenExecutor, CancelledError):
                ping = self._executor.submit(_answer)
                while not wait([ping], timeout=1.0).done:
                    span.check()
                if ping.exception() is None:
                    return
        raise BoundlabError(
            f"an executor must take work, but it is broken after {first * span.work.batch} trials; run again with a "
            "fresh one to go on."
        )


def _answer() -> None:
    """What an executor is asked that may be broken."""


def _stopped(task: _Task, span: _Span, fault: BaseException) -> Block:
    """A block that ends the run when its turn comes."""
    first = task.block[0]
    return Block(first=first, units=0, outcomes=np.empty(0), fault=Fault(first * span.work.batch, fault))


def _is_loss(fault: BaseException) -> bool:
    """Whether the infrastructure failed, not the work; a cluster's exceptions are known by their names."""
    lost = (BrokenExecutor, CancelledError, ConnectionError, EOFError)
    return isinstance(fault, lost) or type(fault).__name__ in LOSSES


def _told(fault: BaseException) -> BaseException:
    if isinstance(fault, BoundlabError):
        return fault
    if isinstance(fault, (pickle.PicklingError, AttributeError, TypeError)):
        return _unpicklable(fault)
    told = BoundlabError(f"an executor must answer with a block of outcomes, got {one_line(fault)}.")
    told.__cause__ = fault
    return told


def _unpicklable(fault: BaseException) -> InvalidParameter:
    return InvalidParameter(
        "a trial for other processes must be picklable: a function of an importable module, or a functools.partial "
        f"or dataclass of one, got {one_line(fault)}."
    )


@contextlib.contextmanager
def _heeded_ctrl_c() -> Iterator[None]:
    """A Ctrl-C that the trial catches ends the run all the same: what that trial answers is not its outcome."""
    default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not default or threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed: list[int] = []

    def press(number: int, frame: object) -> None:
        pressed.append(number)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, press)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if pressed:
        raise KeyboardInterrupt
