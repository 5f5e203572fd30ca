"""Where trials run: our own pool of processes, and thin adapters to clusters."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from typing import Any

from boundlab._errors import positive_int

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


class ProcessPool(Executor):
    """A pool of spawned processes that outlives its workers: a broken or hung pool is replaced by a fresh one.

    Each worker uses one thread for linear algebra, so that `workers` of them fill `workers` cores.

    Parameters
    ----------
    workers : int
        Processes, at least 1.

    Raises
    ------
    InvalidParameter
        If workers is not a whole number of at least 1.

    Examples
    --------
    >>> with ProcessPool(2) as pool:  # doctest: +SKIP
    ...     verdict = verify(claim, trial, executor=pool)
    """

    def __init__(self, workers: int) -> None:
        """Check the number; processes start with the first task."""
        self._max_workers = positive_int("workers", workers)
        self._lock = threading.Lock()
        self._pool = self._fresh()

    def _fresh(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            self._max_workers, mp_context=multiprocessing.get_context("spawn"), initializer=_one_thread
        )

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Schedule fn(*args, **kwargs); a broken pool is replaced first."""
        with self._lock:
            try:
                return self._pool.submit(fn, *args, **kwargs)
            except BrokenExecutor:
                self._pool = self._fresh()
                return self._pool.submit(fn, *args, **kwargs)

    def restart(self, *, hung: bool = False) -> None:
        """Replace hung workers by fresh ones, or do nothing: a broken pool is replaced at the next submit."""
        if hung:
            with self._lock:
                _kill(self._pool)
                self._pool = self._fresh()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the workers. Without a wait, those at work are killed: what they compute is wanted by nobody."""
        with self._lock:
            if not wait:
                _kill(self._pool)
            self._pool.shutdown(wait=wait, cancel_futures=cancel_futures)

    def __exit__(self, *exc: object) -> None:
        self.shutdown(wait=False, cancel_futures=True)


def _kill(pool: ProcessPoolExecutor) -> None:
    for process in list((getattr(pool, "_processes", None) or {}).values()):
        process.kill()


def _one_thread() -> None:
    """A worker's start: one thread of linear algebra, and Ctrl-C is the parent's business."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in THREADS:
        os.environ[name] = "1"
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)  # libraries that numpy has loaded already
