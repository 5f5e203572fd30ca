"""Where trials run on other machines: thin executors over dask.distributed and, for Slurm, submitit."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Mapping, MutableMapping
from concurrent.futures import Executor, Future, InvalidStateError
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from boundlab._errors import BoundlabError, InvalidParameter, positive, positive_int
from boundlab.verification.running.engine import GRACE_SECONDS
from boundlab.verification.running.executors import WorkerLost, portable

POLL_SECONDS = 0.5
"""How often the jobs of a batch system are looked at."""

ANSWER_SECONDS = 5.0
"""How long a dask worker may take to say what it is at."""

FILE_SECONDS = 15.0
"""How long after a job's end its result may take to appear on a shared file system."""


def dask_executor(cluster: Any) -> DaskExecutor:
    """Return an executor for `verify` on a dask cluster.

    Parameters
    ----------
    cluster : str or distributed.Client
        The scheduler's address, or a client that is connected to it and stays open.

    Raises
    ------
    InvalidParameter
        If dask.distributed is not installed, or the client is an asynchronous one.

    Examples
    --------
    >>> with dask_executor("tcp://10.0.0.1:8786") as executor:  # doctest: +SKIP
    ...     verdict = verify(claim, trial, executor=executor)
    """
    try:
        from distributed import Client
    except ImportError:
        raise InvalidParameter("dask_executor needs dask.distributed: pip install 'boundlab[dask]'.") from None
    if not isinstance(cluster, (str, Client)):
        raise InvalidParameter(f"cluster must be an address or a distributed.Client, got {type(cluster).__name__}.")
    client = Client(cluster, set_as_default=False) if isinstance(cluster, str) else cluster
    if client.asynchronous:
        raise InvalidParameter("cluster must be a synchronous distributed.Client, got an asynchronous one.")
    return DaskExecutor(client, owned=isinstance(cluster, str))


class DaskExecutor(Executor):
    """Tasks on a dask cluster; see `dask_executor`."""

    def __init__(self, client: Any, *, owned: bool) -> None:
        """Take the client; an owned one is closed in the end."""
        self._client, self._owned = client, owned
        self.grace_seconds = GRACE_SECONDS
        self._tasks = client.get_executor(pure=False, retries=3)  # pure: equal calls would be one
        self._keys: WeakKeyDictionary[Future[Any], str] = WeakKeyDictionary()

    @property
    def workers(self) -> int:
        """Threads of all workers that there are now."""
        return sum(self._client.nthreads().values())

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Schedule fn(*args, **kwargs)."""
        key = f"boundlab-{uuid.uuid4().hex}"
        future = self._tasks.submit(fn, *args, key=key, **kwargs)
        self._keys[future] = key
        return future

    def share(self, value: Any) -> Any:
        """Return a dask future of `value`: workers fetch it once, and the scheduler can make it again."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sending large graph", UserWarning)  # it is sent once, as advised
            return self._client.submit(_same, value, key=f"boundlab-shared-{uuid.uuid4().hex}", retries=3)

    def running(self, future: Future[Any]) -> bool:
        """Whether a worker is at work on it, or so deep in it that it does not answer."""
        try:
            return bool(self._at_work(future))
        except TimeoutError:
            return True

    def kill(self, future: Future[Any]) -> None:
        """Give a task up, and let the nanny of its worker put a fresh one in its place."""
        for worker in self._at_work(future):
            known = self._client.scheduler_info()["workers"].get(worker, {})
            if known.get("nanny") is None:
                raise BoundlabError(f"a dask worker must have a nanny that can end a hung trial, {worker} has none.")
            future.cancel()
            self._client.run(_kill_worker, workers=[worker], nanny=True)

    def _at_work(self, future: Future[Any]) -> list[str]:
        ask, keys = self._client.scheduler.call_stack, [self._keys[future]]
        try:
            return list(self._client.sync(ask, keys=keys, callback_timeout=ANSWER_SECONDS))
        except KeyError:  # on its way to the scheduler
            return []

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the executor and an owned client; the cluster stays."""
        self._tasks.shutdown(wait=wait and not cancel_futures)
        if self._owned:
            self._client.close()


def _same(value: Any) -> Any:
    return value


def _kill_worker(dask_worker: Any) -> None:
    """In a nanny, which dask hands in under this name."""
    if dask_worker.pid is not None:
        os.kill(dask_worker.pid, signal.SIGKILL)


def submitit_executor(
    folder: str | Path,
    *,
    cluster: str = "slurm",
    jobs: int = 8,
    block_seconds: float = 60.0,
    parameters: Mapping[str, Any] | None = None,
) -> SubmititExecutor:
    """Return an executor for `verify` that runs each block of trials as a job of a batch system, through submitit.

    A job that is preempted is queued again; one that is lost otherwise is submitted again. What is still queued or at
    work when the run ends is cancelled.

    Parameters
    ----------
    folder : path
        A folder on a file system that all machines share, for what is sent to jobs and what they answer.
    cluster : str
        "slurm", or "local" for processes on this machine.
    jobs : int
        Jobs that may be at work at once, at least 1; as many more are queued.
    block_seconds : float
        Seconds that a job aims at, above 0: long beside what a queue takes.
    parameters : mapping or None
        For ``submitit.AutoExecutor.update_parameters``, such as {"timeout_min": 30, "slurm_partition": "cpu"}.

    Raises
    ------
    InvalidParameter
        If submitit is not installed, or a number is out of range.

    Examples
    --------
    >>> with submitit_executor("shared/jobs", jobs=100) as executor:  # doctest: +SKIP
    ...     verdict = verify(claim, trial, executor=executor)
    """
    try:
        import submitit
    except ImportError:
        raise InvalidParameter("submitit_executor needs submitit: pip install 'boundlab[slurm]'.") from None
    queue = submitit.AutoExecutor(folder=Path(folder), cluster=cluster)
    queue.update_parameters(**(parameters or {}))
    patience = 0.0 if cluster == "local" else FILE_SECONDS
    return SubmititExecutor(
        queue, positive_int("jobs", jobs), block_seconds=positive("block_seconds", block_seconds), patience=patience
    )


class SubmititExecutor(Executor):
    """Tasks as jobs of a batch system; see `submitit_executor`."""

    def __init__(self, queue: Any, jobs: int, *, block_seconds: float, patience: float) -> None:
        """Take a submitit executor; a thread looks at its jobs."""
        self.workers, self.block_seconds, self.grace_seconds = jobs, block_seconds, GRACE_SECONDS
        self._queue, self._patience = queue, patience
        self._jobs: dict[Future[Any], Any] = {}
        self._files: list[Path] = []
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._poll, daemon=True)
        self._watch.start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Schedule fn(*args, **kwargs)."""
        future: Future[Any] = Future()
        job = self._queue.submit(_Job(), fn, *args, **kwargs)
        future.add_done_callback(lambda ended: job.cancel(check=False) if ended.cancelled() else None)
        self._jobs[future] = job
        return future

    def share(self, value: Any) -> Any:
        """Write `value` into the folder, and return what stands for it among the arguments of tasks."""
        path = Path(self._queue.folder).absolute() / f"shared-{uuid.uuid4().hex}.pkl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pickle.dumps(value))
        self._files.append(path)
        return _Stored(path)

    def running(self, future: Future[Any]) -> bool:
        """Whether its job has left the queue."""
        job = self._jobs.get(future)
        return job is not None and job.state == "RUNNING"

    def kill(self, future: Future[Any]) -> None:
        """Cancel its job."""
        future.cancel()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Wait for the jobs, or cancel them."""
        for future in list(self._jobs):
            if cancel_futures or not wait:
                future.cancel()
            else:
                future.exception()
        self._over.set()
        self._watch.join()
        for path in self._files:
            path.unlink(missing_ok=True)

    def __exit__(self, *exc: object) -> None:
        self.shutdown(wait=False)

    def _poll(self) -> None:
        """In a thread: look at the jobs until the end."""
        ended: WeakKeyDictionary[Future[Any], float] = WeakKeyDictionary()
        while not self._over.wait(POLL_SECONDS):
            for future, job in list(self._jobs.items()):
                try:
                    over = future.cancelled() or self._ended(future, job, ended)
                except Exception as fault:  # of the batch system: without this thread nobody would be told
                    over = True
                    with contextlib.suppress(InvalidStateError):  # cancelled just now
                        future.set_exception(fault)
                if over:
                    del self._jobs[future]

    def _ended(self, future: Future[Any], job: Any, ended: MutableMapping[Future[Any], float]) -> bool:
        """Whether a job has ended; then its future has what it returned."""
        if not job.done():
            return False
        there, now = job.paths.result_pickle.exists(), time.monotonic()
        if not there and now - ended.setdefault(future, now) < self._patience:
            return False
        if future.set_running_or_notify_cancel():
            if there:
                future.set_result(job.result())
            else:
                future.set_exception(WorkerLost(f"job {job.job_id} ended without a result."))
        return True


@dataclass(frozen=True)
class _Stored:
    """A value in a file of the shared folder; in a job it is the value itself."""

    path: Path

    def __reduce__(self) -> tuple[Any, ...]:
        return _read, (str(self.path),)


def _read(path: str) -> Any:
    return pickle.loads(Path(path).read_bytes())


class _Job:
    """What a job calls: its task in a thread, so that a signal of the batch system never hits a trial."""

    def __call__(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        answer: Future[Any] = Future()

        def run() -> None:
            try:
                answer.set_result(fn(*args, **kwargs))
            except BaseException as fault:
                answer.set_exception(portable(fault))

        threading.Thread(target=run, daemon=True).start()
        return answer.result()

    def checkpoint(self, *args: Any, **kwargs: Any) -> Any:
        """The same task again, when the job is preempted."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, *args, **kwargs)
