"""Where trials run on this machine: a pool of spawned processes, of which any may die at any time."""

from __future__ import annotations

import contextlib
import functools
import itertools
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import traceback
import types
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as readable
from queue import Empty, LifoQueue
from typing import Any
from weakref import WeakKeyDictionary

from boundlab._errors import BoundlabError, one_line, positive_int

LIFE = """
import os
for name in ("OMP", "OPENBLAS", "MKL", "NUMBA"):
    os.environ[name + "_NUM_THREADS"] = "1"
from boundlab.verification.running.executors import serve
serve(pipe)
"""
"""What a worker executes: libraries read these variables when they are loaded, which our own modules do."""

STARTS = 5
"""How many processes may die in a row before they begin with a task."""

KEPT = 4
"""How many shared values a process keeps: the latest ones."""

_STARTING = threading.Lock()  # a start hides __main__ for a moment: one at a time
_ARRIVED: dict[int, Any] = {}  # in a worker: the shared values that it was sent


class WorkerLost(BrokenExecutor):
    """The process that was at work on a task died."""


class ProcessPool(Executor):
    """A pool of spawned processes; one that dies or is killed costs the task that it ran, and is replaced.

    Each process uses one thread for linear algebra, so that `workers` of them fill `workers` cores. They end with the
    process that started them, and leave Ctrl-C to it; the end of a `with` block ends them at once, whatever they do.
    A shared value with a method `prepare` is prepared where it arrives, before a task counts as running.

    Parameters
    ----------
    workers : int
        Processes, at least 1.
    main : bool
        Whether they import the script that is running, as the processes of `multiprocessing` do. Only tasks that are
        pickled by name from the script itself need it; its main part must then stand under
        ``if __name__ == "__main__":``.

    Raises
    ------
    InvalidParameter
        If workers is not a whole number of at least 1.

    Examples
    --------
    >>> with ProcessPool(2) as pool:  # doctest: +SKIP
    ...     verdict = verify(claim, trial, executor=pool)
    """

    def __init__(self, workers: int, *, main: bool = False) -> None:
        """Check the number; a process starts with a task that finds no idle one."""
        self.workers = positive_int("workers", workers)
        self.grace_seconds = 5.0
        self._main = main
        self._threads = ThreadPoolExecutor(self.workers, thread_name_prefix="boundlab")  # each minds one process
        self._lock = threading.Lock()
        self._processes: set[_Process] = set()
        self._posts: LifoQueue[_Process | None] = LifoQueue()  # idle processes above vacant posts
        for _ in range(self.workers):
            self._posts.put(None)
        self._tasks: WeakKeyDictionary[Future[Any], _Task] = WeakKeyDictionary()
        self._keys = itertools.count()
        self._over = self._killed = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Schedule fn(*args, **kwargs)."""
        task = _Task((fn, args, kwargs))
        if not self._over:  # a process starts here, while the caller does nothing else
            with contextlib.suppress(Empty):
                self._man(self._posts.get_nowait())
        future = self._threads.submit(self._run, task)
        self._tasks[future] = task
        return future

    def share(self, value: Any) -> Any:
        """Return what stands for `value` among the arguments of tasks: a process is sent the value once."""
        return _Shared(next(self._keys), pickle.dumps(value))

    def running(self, future: Future[Any]) -> bool:
        """Whether a process has begun with a task, and all that the task shares is loaded there."""
        task = self._tasks.get(future)
        return task is not None and task.begun

    def kill(self, future: Future[Any]) -> None:
        """End the process that is at work on a task, if one is; the task is lost."""
        with self._lock:
            task = self._tasks.get(future)
            if task is not None and task.process is not None:
                task.process.kill()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes. Without a wait, those at work are killed: what they compute is wanted by nobody."""
        with self._lock:
            self._over, self._killed = True, self._killed or not wait
            doomed = [] if wait else list(self._processes)
        for process in doomed:
            process.kill()
            self._posts.put(None)  # for a thread that waits for a post
        self._threads.shutdown(cancel_futures=cancel_futures or not wait)
        for process in self._processes:
            process.end()
        self._processes.clear()

    def __exit__(self, *exc: object) -> None:
        self.shutdown(wait=False)

    def _run(self, task: _Task) -> Any:
        """In a thread: hand the task to an idle process, or to a new one."""
        process = self._posts.get()
        try:
            for start in range(STARTS):
                process = self._manned(process)
                with self._lock:
                    task.process = process
                try:
                    return process.answer(task)
                except WorkerLost:  # one that died before it began says nothing of the task
                    if task.begun or start == STARTS - 1:
                        raise
        finally:
            with self._lock:
                task.process = None
            self._posts.put(process)

    def _man(self, process: _Process | None) -> None:
        """Start a process for a vacant post."""
        try:
            process = self._manned(process)
        finally:
            self._posts.put(process)

    def _manned(self, process: _Process | None) -> _Process:
        """The process of a post, a fresh one where it has none or a dead one."""
        if process is not None and process.alive():
            return process
        if self._killed:
            raise WorkerLost("the pool was shut down.")
        fresh = _Process(self._main)
        with self._lock:
            self._processes = {known for known in self._processes if known is not process} | {fresh}
            if self._killed:
                fresh.kill()
        return fresh


@dataclass
class _Task:
    """fn, args and kwargs, and the process that is at work on them."""

    call: tuple[Any, ...]
    process: _Process | None = None
    begun: bool = False


@dataclass(frozen=True)
class _Shared:
    """A value that tasks share, pickled once: in a worker it is the value itself, which was sent ahead."""

    key: int
    data: bytes

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrived, (self.key,)


def _arrived(key: int) -> Any:
    return _ARRIVED[key]


class _Process:
    """A spawned process and the pipe to it."""

    def __init__(self, main: bool) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=exec, args=(LIFE, {"pipe": theirs}), daemon=True)
        with _STARTING, _undisturbed(), contextlib.nullcontext() if main else _without_main():
            self._process.start()
        theirs.close()
        self._up = False
        self._sent: list[int] = []

    def _greet(self) -> None:
        """Wait until it is up; one that cannot start is no lost worker, for no other one could."""
        try:
            self._up, _ = self._receive()
        except WorkerLost:
            if (self._process.exitcode or 0) <= 0:  # killed
                raise
            raise BoundlabError(
                f"a worker process must start, but it ended with exit code {self._process.exitcode}; does the main "
                'part of the script stand under `if __name__ == "__main__":`?'
            ) from None

    def answer(self, task: _Task) -> Any:
        """What the task returns, or raise what it raises."""
        if not self._up:
            self._greet()
        shared = [value for value in task.call[1] if isinstance(value, _Shared)]
        fresh = {value.key: value.data for value in shared if value.key not in self._sent}
        data = pickle.dumps((fresh, pickle.dumps(task.call)))
        self._sent = [*self._sent, *fresh][-KEPT:]
        try:
            self._pipe.send_bytes(data)
        except OSError:
            self.kill()
            raise WorkerLost("a worker process was gone before its task came.") from None
        self._receive()
        task.begun = True
        good, value = self._receive()
        if good:
            return value
        raise value

    def _receive(self) -> Any:
        try:
            while not readable([self._pipe], 1.0):
                if not self.alive() and not self._pipe.poll():  # where a child of its own holds the pipe open
                    raise EOFError
            data = self._pipe.recv_bytes()
        except (EOFError, OSError):
            self.kill()
            raise WorkerLost(f"a worker process died at work, exit code {self._process.exitcode}.") from None
        return pickle.loads(data)

    def alive(self) -> bool:
        return self._process.is_alive()

    def kill(self) -> None:
        self._process.kill()
        self._process.join()

    def end(self) -> None:
        """Let it end by itself, which is quick unless a trial left threads behind."""
        self._pipe.close()
        self._process.join(5.0)
        self.kill()


def serve(pipe: Connection) -> None:
    """A worker's life: tasks until the pipe closes."""
    _settle()
    begun = functools.partial(pipe.send, None)
    with contextlib.suppress(EOFError, OSError):  # of the pipe: nobody is there to answer to
        pipe.send((True, None))
        while True:
            received = pipe.recv_bytes()
            try:
                data = pickle.dumps((True, _done(received, begun)))
            except BaseException as fault:  # SystemExit, too, is the task's and not the worker's
                data = pickle.dumps((False, portable(fault)))
            pipe.send_bytes(data)


def _done(received: bytes, begun: Callable[[], None]) -> Any:
    """What a task returns; `begun` is called between what loads it and itself."""
    try:
        fresh, message = pickle.loads(received)
        for key in fresh:
            _ARRIVED[key] = pickle.loads(fresh[key])
            getattr(_ARRIVED[key], "prepare", bool)()
        for key in list(_ARRIVED)[:-KEPT]:
            del _ARRIVED[key]
        fn, args, kwargs = pickle.loads(message)
    finally:
        begun()
    return fn(*args, **kwargs)


def _settle() -> None:
    """Ctrl-C is the parent's business, and its end is ours."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    multiprocessing.current_process().daemon = False  # a trial may have processes of its own
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """A process that starts here inherits a blocked SIGINT: Ctrl-C cannot hit it before it ignores it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # its start would lift the block
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """A process that starts here does not import the script: one without a guard would run again in each."""
    script = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


def portable(fault: BaseException) -> Exception:
    """Return an exception that survives pickling and stops nobody but the run, with the traceback as a note."""
    text = "".join(traceback.format_exception(fault)).rstrip()
    known: BaseException | None = None
    if isinstance(fault, Exception):
        with contextlib.suppress(Exception):
            known = pickle.loads(pickle.dumps(fault))
    found = known if isinstance(known, Exception) and type(known) is type(fault) else BoundlabError(one_line(fault))
    found.add_note(f"raised in a worker:\n{text}")
    return found
