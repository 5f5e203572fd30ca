"""A block of trials: what a worker is told, how it runs them one stream after the other, and what it answers."""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from boundlab._errors import BoundlabError, InvalidParameter, matrix, one_line
from boundlab.verification.running.executors import portable
from boundlab.verification.running.streams import Streams

CHECKED_STREAMS = 32
"""Of the first units it is looked at whether the trial drew from its stream at all."""

AGAIN_SECONDS = 1.0
"""How often the alarm of an overdue trial is repeated, for trials that catch everything."""


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
        """The same work with trial and sampler pickled once; as it is where they cannot be."""
        packed = {name: _packed(getattr(self, name)) for name in ("trial", "sampler")}
        return replace(self, **{name: value for name, value in packed.items() if value is not None})

    def prepare(self) -> None:
        """Load the trial, which may import much, before its clock runs."""
        for value in (self.trial, self.sampler):
            _unpacked(value)

    def travels(self) -> bool:
        """Whether another process that runs another script can load all of it by name."""
        return all(pickled(value) is not None for value in (self.trial, self.sampler, self.read))


@dataclass(frozen=True)
class Fault:
    """What ended a block early: the first trial of the unit, and what it raised."""

    trial: int
    exception: BaseException

    def __reduce__(self) -> tuple[Any, ...]:
        told = portable(self.exception)
        return _arrived, (self.trial, pickle.dumps(told), one_line(self.exception), told.__notes__)


def _arrived(trial: int, data: bytes, line: str, notes: list[str]) -> Fault:
    """A fault from another process; its exception may be of a module that only that one has."""
    exception: BaseException = BoundlabError(line)
    with contextlib.suppress(Exception):
        exception = pickle.loads(data)
    exception.__notes__ = notes
    return Fault(trial, exception)


@dataclass(frozen=True, kw_only=True)
class Block:
    """The outcomes of units [first, first + units)."""

    first: int
    units: int
    outcomes: np.ndarray
    idle: tuple[int, ...] = ()  # units that drew nothing from their stream, among the first ones of all
    fault: Fault | None = None  # what ended it early
    seconds: float = 0.0


class _Overdue(BaseException):
    """A trial ran past its limit; no `except Exception` of the trial may catch it."""


def run_block(work: Work, first: int, units: int, inputs: np.ndarray | None) -> Block:
    """Run units [first, first + units) and return their outcomes: a whole task, also on another machine."""
    trial, sampler, streams = _unpacked(work.trial), _unpacked(work.sampler), Streams(work.key, work.seed)
    start = time.monotonic()
    found: list[np.ndarray] = []
    idle: list[int] = []
    fault = None
    with _ONE_THREAD, _Alarm(work.limit) as alarm:
        for unit in range(first, first + units):
            rng, x = streams(unit), None
            if inputs is not None:  # a copy: a trial that writes to its x must not change later ones
                x = inputs[(unit - first) * work.batch : (unit - first + 1) * work.batch].copy()
            n = work.batch if x is None else len(x)
            try:
                alarm.on(n)
                if sampler is not None:
                    x = drawn(sampler, rng, n)
                outcomes = work.read(trial(rng, n if x is None else x), n)
                alarm.off()
            except BaseException as raised:
                if not alarm.rang(raised):
                    if _passes(raised):
                        raise
                    fault = Fault(unit * work.batch, _told(raised))
                    break
                outcomes = np.full(n, work.unknown)
            found.append(outcomes)
            if unit < CHECKED_STREAMS and streams.untouched():
                idle.append(unit)
    return Block(
        first=first,
        units=len(found),
        outcomes=np.concatenate(found) if found else np.empty(0),
        idle=tuple(idle),
        fault=fault,
        seconds=time.monotonic() - start,
    )


class _Alarm:
    """Ends a trial at its limit: at once in a main thread with SIGALRM, elsewhere when it returns.

    A timer that runs already, of a test runner or of a verification around this one, is set aside for the block.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._due = math.inf
        main = threading.current_thread() is threading.main_thread()
        self._rings = not math.isinf(limit) and main and hasattr(signal, "setitimer")

    def __enter__(self) -> _Alarm:
        if self._rings:
            self._since = time.monotonic()
            self._timer = signal.setitimer(signal.ITIMER_REAL, 0.0)
            self._handler = signal.signal(signal.SIGALRM, self._ring)
        return self

    def __exit__(self, *exc: object) -> None:
        if self._rings:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            signal.signal(signal.SIGALRM, self._handler)
            left, interval = self._timer
            if left > 0.0:
                signal.setitimer(signal.ITIMER_REAL, max(1e-3, left - (time.monotonic() - self._since)), interval)

    def on(self, trials: int) -> None:
        """Give so many trials their time."""
        if not math.isinf(self._limit):
            self._due = time.monotonic() + trials * self._limit
            if self._rings:
                signal.setitimer(signal.ITIMER_REAL, trials * self._limit, AGAIN_SECONDS)

    def off(self) -> None:
        """Raise if they took longer, also where nothing rang."""
        if not math.isinf(self._limit):
            if self._rings:
                signal.setitimer(signal.ITIMER_REAL, 0.0)
            if time.monotonic() > self._due:
                raise _Overdue

    def rang(self, raised: BaseException) -> bool:
        """Whether the trials that ended by an exception had taken longer, whatever they made of the alarm."""
        if self._rings:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
        return time.monotonic() > self._due or (isinstance(raised, _Overdue) and not math.isinf(self._limit))

    def _ring(self, number: int, frame: object) -> None:
        raise _Overdue


class _OneThread:
    """Linear algebra on one thread for as long as a block runs anywhere in this process.

    With two threads a sum is added up in another order than with one, so that its last bits differ: an outcome that
    hangs on them would depend on the machine, and on how many workers share it.
    """

    def __init__(self) -> None:
        self._lock, self._blocks, self._before = threading.Lock(), 0, None

    def __enter__(self) -> None:
        limited = _libraries(len(sys.modules)).limit(limits=1)  # OpenMP counts for each thread: every block sets it
        with self._lock:
            self._blocks += 1
            self._before = self._before or limited

    def __exit__(self, *exc: object) -> None:
        with self._lock:
            self._blocks -= 1
            if self._blocks == 0 and self._before is not None:
                self._before.restore_original_limits()
                self._before = None


_ONE_THREAD = _OneThread()


@lru_cache(maxsize=1)
def _libraries(modules: int) -> Any:
    """The libraries for linear algebra that are loaded; looked for again when there are more modules."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def _passes(raised: BaseException) -> bool:
    """Whether an exception is not the trial's: Ctrl-C, or the alarm of a verification around this one."""
    here = threading.current_thread() is threading.main_thread() and multiprocessing.parent_process() is None
    return isinstance(raised, _Overdue) or (isinstance(raised, KeyboardInterrupt) and here)


def _told(raised: BaseException) -> BaseException:
    """What a trial raised; what would end this program is told as an error."""
    if not isinstance(raised, (SystemExit, KeyboardInterrupt, GeneratorExit)):
        return raised
    told = BoundlabError(f"a trial must return outcomes, it raised {one_line(raised)}.")
    told.__cause__ = raised
    return told


def drawn(inputs: Callable[[np.random.Generator, int], Any], rng: np.random.Generator, n: int) -> np.ndarray:
    """Return n fresh points of a sampler, shape (n, features), or raise InvalidParameter."""
    array = matrix("inputs(rng, n)", inputs(rng, n))
    if len(array) != n:
        raise InvalidParameter(f"inputs(rng, n) must return n = {n} points, got {len(array)}.")
    return array


def _packed(value: Any) -> bytes | None:
    """Pickled, with cloudpickle's help where it is installed; None where it cannot be."""
    if value is None or isinstance(value, bytes):
        return None
    data = pickled(value)
    if data is None:
        with contextlib.suppress(Exception):
            import cloudpickle

            return cloudpickle.dumps(value)
    return data


def pickled(value: Any) -> bytes | None:
    """Pickled by name, or None: another process has another __main__."""
    with contextlib.suppress(Exception):
        data = pickle.dumps(value)
        return None if b"__main__" in data else data
    return None


def _unpacked(value: Any) -> Any:
    if not isinstance(value, bytes):
        return value
    try:
        return _loaded(value)
    except Exception as fault:
        raise InvalidParameter(
            f"a trial for other processes must load in each of them, got {one_line(fault)}."
        ) from fault


@lru_cache(maxsize=8)
def _loaded(data: bytes) -> Any:
    """A trial is unpickled once per worker, so that what it prepares is kept between blocks."""
    return pickle.loads(data)
