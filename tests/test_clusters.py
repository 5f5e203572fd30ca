"""Clusters: a real dask cluster and real submitit jobs give the verdict of one process, also when one is killed."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from boundlab._errors import BoundlabError, InvalidParameter
from boundlab.verification import Claim, verify
from boundlab.verification.running import clusters
from boundlab.verification.running.clusters import DaskExecutor, dask_executor, submitit_executor
from tests import engine_trials as trials
from tests.engine_trials import CLAIM, OPEN, At, Coin, Heavy

pytestmark = pytest.mark.filterwarnings("ignore:Port 8787 is already in use")
RATES = (CLAIM.delta / 2, CLAIM.delta, 2 * CLAIM.delta)
BUDGET: dict[str, Any] = {"max_trials": 500, "alpha_upheld": 0.05, "alpha_violated": 1e-3}


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    distributed, dask = pytest.importorskip("distributed"), pytest.importorskip("dask")
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),  # each death reaches us
        dask.config.set({"distributed.deploy.lost-worker-timeout": "1 h"}),  # a worker may take long to come back
        distributed.LocalCluster(host="127.0.0.1", silence_logs=50, **options) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.fixture
def dask(client: Any) -> Iterator[DaskExecutor]:
    client.wait_for_workers(2, timeout=120)
    with dask_executor(client) as executor:
        yield executor


@pytest.mark.parametrize("batch", [1, 16])
@pytest.mark.parametrize("rate", RATES)
def test_one_verdict_on_dask(rate: float, batch: int, dask: DaskExecutor) -> None:
    here = verify(CLAIM, Coin(rate), batch=batch, executor=1, **BUDGET)
    assert verify(CLAIM, Coin(rate), batch=batch, executor=dask, **BUDGET).to_json() == here.to_json()


@pytest.mark.parametrize("rate", RATES)
def test_one_verdict_on_dask_while_a_worker_is_killed(rate: float, dask: DaskExecutor, client: Any) -> None:
    victims, killed = list(client.run(os.getpid).values()), []

    def kill(done: int, failures: int, unknown: int) -> None:
        if done > 10 and not killed:
            killed.append(victims[0])
            os.kill(victims[0], signal.SIGKILL)

    claim = Claim(name="fails with probability at most 0.05", delta=0.05)
    limits: dict[str, Any] = {"max_trials": 150, **OPEN}
    verdict = verify(claim, Coin(rate, seconds=0.004), executor=dask, progress=kill, **limits)
    assert killed
    assert verdict.to_json() == verify(claim, Coin(rate), executor=1, **limits).to_json()


def test_a_bad_trial_on_dask_is_told_by_its_index(dask: DaskExecutor) -> None:
    for deed, kind, text in (
        (trials.raise_value_error, ValueError, "a bug in the trial"),
        (trials.raise_locked, BoundlabError, "Locked: locked"),
        (trials.leave, BoundlabError, "it raised SystemExit: 0"),
        (trials.raise_keyboard_interrupt, BoundlabError, "it raised KeyboardInterrupt"),
    ):
        with pytest.raises(kind, match=text) as told:
            verify(CLAIM, At(37, deed), executor=dask)
        assert "raised in trial 37 of the claim" in told.value.__notes__[-1]


def test_equal_calls_on_dask_are_different_tasks(dask: DaskExecutor) -> None:
    calls = [dask.submit(trials.one_coin) for _ in range(20)]
    assert len({call.result() for call in calls}) == 20


def test_a_message_to_dask_is_small_however_large_the_trial(dask: DaskExecutor) -> None:
    heavy = Heavy(np.random.default_rng(0).random(1 << 20))  # 8 MB
    shared = dask.share(heavy)
    assert len(shared.key) < 100, "what is sent with a task"
    assert dask.submit(ballast_of, shared).result() == float(heavy.ballast[-1])
    verdict = verify(CLAIM, heavy, executor=dask)
    assert verdict.to_json() == verify(CLAIM, heavy, executor=1).to_json()


def ballast_of(heavy: Heavy) -> float:
    return float(heavy.ballast[-1])


def test_a_trial_that_hangs_on_dask_is_unknown(dask: DaskExecutor) -> None:
    dask.grace_seconds = 0.3
    verdict = verify(CLAIM, At(0, trials.sleep), executor=dask, trial_seconds=0.2, max_trials=5, **OPEN)
    assert (verdict.trials, verdict.first_unknown) == (5, (0,))


def test_a_trial_that_kills_its_dask_worker_is_unknown(dask: DaskExecutor) -> None:
    verdict = verify(CLAIM, At(1, trials.die), executor=dask, max_trials=12, **OPEN)
    assert (verdict.trials, verdict.failures, verdict.first_unknown) == (12, 0, (1,))


def test_what_is_no_cluster_is_refused() -> None:
    pytest.importorskip("distributed")
    with pytest.raises(InvalidParameter, match=r"must be an address or a distributed.Client, got int"):
        dask_executor(3)


# submitit


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[clusters.SubmititExecutor]:
    pytest.importorskip("submitit")
    with submitit_executor(tmp_path / "jobs", cluster="local", jobs=2, block_seconds=30.0) as executor:
        yield executor


@pytest.mark.parametrize("rate", [0.05])
def test_one_verdict_on_jobs_of_which_one_is_killed(rate: float, jobs: clusters.SubmititExecutor) -> None:
    killed: list[int] = []
    over = threading.Event()

    def kill() -> None:
        while not over.wait(0.05):
            for job in list(jobs._jobs.values()):
                children = Path(f"/proc/{job.job_id}/task/{job.job_id}/children")
                if children.exists() and (found := children.read_text(encoding="utf-8").split()):
                    killed.append(int(found[0]))
                    os.kill(killed[0], signal.SIGKILL)
                    return

    killer = threading.Thread(target=kill)
    killer.start()
    limits: dict[str, Any] = {"max_trials": 40, **OPEN}
    try:
        verdict = verify(CLAIM, Coin(rate, seconds=0.01), executor=jobs, **limits)
    finally:
        over.set()
        killer.join()
    assert killed
    assert verdict.to_json() == verify(CLAIM, Coin(rate), executor=1, **limits).to_json()


def test_a_batch_system_that_does_not_answer_ends_the_run(
    jobs: clusters.SubmititExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(self: Any) -> bool:
        raise OSError("the queue does not answer")

    monkeypatch.setattr("submitit.local.local.LocalJob.done", gone)
    with pytest.raises(BoundlabError, match="got OSError: the queue does not answer"):
        verify(CLAIM, Coin(0.05), executor=jobs, max_trials=40, **OPEN)
