"""Engines: the same verdict on any of them, bad trials told by their index, nothing left behind."""

from __future__ import annotations

import functools
import json
import multiprocessing
import os
import pickle
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from boundlab._errors import BoundlabError, InvalidParameter
from boundlab.verification import Claim, Interrupted, ProcessPool, State, replay, verify
from boundlab.verification.running import engine
from tests import engine_trials as trials
from tests.engine_trials import CLAIM, OPEN, At, Coin, DieOnce

linux = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
ROOT = Path(__file__).parents[1]
RATES = (CLAIM.delta / 2, CLAIM.delta, 2 * CLAIM.delta)
BUDGET: dict[str, Any] = {"max_trials": 500, "alpha_upheld": 0.05, "alpha_violated": 1e-3}


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPool]:
    with ProcessPool(2) as pool:
        pool.grace_seconds = 0.3
        yield pool


@functools.cache
def serial(rate: float, batch: int) -> str:
    return verify(CLAIM, Coin(rate), batch=batch, executor=1, **BUDGET).to_json()


def pids() -> list[int]:
    return [process.pid or 0 for process in multiprocessing.active_children()]


# one verdict, whatever computes it


@pytest.mark.parametrize("batch", [1, 16])
@pytest.mark.parametrize("rate", RATES)
def test_one_verdict_on_one_process_and_on_two(rate: float, batch: int, pool: ProcessPool) -> None:
    assert verify(CLAIM, Coin(rate), batch=batch, executor=pool, **BUDGET).to_json() == serial(rate, batch)


@pytest.mark.parametrize("batch", [1, 16])
@pytest.mark.parametrize("rate", RATES)
def test_one_verdict_on_64_threads_where_failing_trials_are_slow(rate: float, batch: int) -> None:
    with ThreadPoolExecutor(64) as threads:
        verdict = verify(CLAIM, Coin(rate, slow=0.01), batch=batch, executor=threads, **BUDGET)
    assert verdict.to_json() == serial(rate, batch)


@pytest.mark.parametrize("workers", [1, 3])
def test_one_verdict_on_any_number_of_processes(workers: int) -> None:
    with ProcessPool(workers) as pool:
        for rate in RATES:
            assert verify(CLAIM, Coin(rate), executor=pool, **BUDGET).to_json() == serial(rate, 1)


def test_one_verdict_on_a_foreign_pool() -> None:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as foreign:
        assert verify(CLAIM, Coin(0.05), executor=foreign, **BUDGET).to_json() == serial(0.05, 1)


@pytest.mark.parametrize("batch", [1, 16])
@pytest.mark.parametrize("step", [1, 7, 64])
def test_one_verdict_after_any_number_of_stops(step: int, batch: int) -> None:
    last = min(500, 30 * step)
    verdict = verify(CLAIM, Coin(0.05), batch=batch, executor=1, **{**BUDGET, "max_trials": step})
    while verdict.state is State.UNDECIDED and verdict.trials < last:
        verdict = verdict.resume(max_trials=min(last, verdict.trials + step))
    in_one = verify(CLAIM, Coin(0.05), batch=batch, executor=1, **{**BUDGET, "max_trials": last})
    assert verdict.to_json() == in_one.to_json()


def test_one_verdict_after_a_worker_was_killed() -> None:
    with ProcessPool(2) as pool:
        killed: list[int] = []

        def kill(done: int, failures: int, unknown: int) -> None:
            if done > 30 and len(killed) < 2:
                victim = next(pid for pid in pids() if pid not in killed)
                killed.append(victim)
                os.kill(victim, signal.SIGKILL)

        verdict = verify(CLAIM, Coin(0.05, seconds=0.002), executor=pool, progress=kill, **BUDGET)
        assert len(killed) == 2
    assert verdict.to_json() == serial(0.05, 1)


def test_a_trial_that_kills_its_worker_once_costs_nothing(pool: ProcessPool, tmp_path: Path) -> None:
    once = DieOnce(40, str(tmp_path / "mark"))
    verdict = verify(CLAIM, once, executor=pool, max_trials=120, **OPEN)
    assert (tmp_path / "mark").exists()
    assert verdict.to_json() == verify(CLAIM, Coin(0.04), executor=1, max_trials=120, **OPEN).to_json()


def test_sums_have_the_last_bits_of_one_thread_everywhere(pool: ProcessPool) -> None:
    limits: dict[str, Any] = {"max_trials": 12, "batch": 4, **OPEN}
    here = verify(CLAIM, trials.last_bit, executor=1, **limits)
    assert here.to_json() == verify(CLAIM, trials.last_bit, executor=pool, **limits).to_json()
    with ThreadPoolExecutor(2) as threads:
        assert here.to_json() == verify(CLAIM, trials.last_bit, executor=threads, **limits).to_json()


def test_idle_streams_are_counted_up_to_the_deciding_trial(pool: ProcessPool) -> None:
    claim, points = Claim(name="fails with probability at most 0.2", delta=0.2), np.arange(100.0)[:, None]
    found = [verify(claim, trials.coins_up_to_ten, inputs=points, alpha_upheld=0.05, executor=e) for e in (1, pool)]
    idle = found[0].trials - 10
    assert idle > 0
    assert found[0].to_json() == found[1].to_json()
    assert found[0].warnings[0].startswith(f"idle_streams: {idle} of the first {found[0].trials} trials drew nothing")


def test_global_coins_are_told(pool: ProcessPool) -> None:
    verdict = verify(CLAIM, trials.global_coins, executor=pool, max_trials=100, **OPEN)
    assert any("idle_streams: 32 of the first 32 trials drew nothing" in text for text in verdict.warnings)


# bad trials

BAD = [
    (trials.raise_value_error, ValueError, "a bug in the trial"),
    (trials.raise_two_arguments, Exception, "one and two"),
    (trials.raise_locked, Exception, "locked"),
    (trials.raise_stop_iteration, StopIteration, None),
    (trials.leave, BoundlabError, "a trial must return outcomes, it raised SystemExit: 0"),
    (trials.raise_generator_exit, BoundlabError, "a trial must return outcomes, it raised GeneratorExit"),
    (trials.recurse, RecursionError, "recursion"),
    (trials.want_too_much_memory, MemoryError, None),
    (trials.spawn, TypeError, "spawn"),
    (trials.floats, InvalidParameter, "whole numbers"),
    (trials.nans, InvalidParameter, "whole numbers"),
    (trials.too_many, InvalidParameter, "must return 1 outcomes"),
    (trials.threes, InvalidParameter, "0 ok, 1 failed or 2 unknown"),
    (trials.nothing, InvalidParameter, "must return 1 outcomes"),
]


@pytest.mark.parametrize("where", ["here", "pool", "threads"])
@pytest.mark.parametrize(("deed", "kind", "text"), BAD, ids=lambda value: getattr(value, "__name__", ""))
def test_a_bad_trial_is_an_error_with_its_index(
    deed: Callable[..., Any], kind: type[Exception], text: str | None, where: str, pool: ProcessPool
) -> None:
    with ThreadPoolExecutor(2) as threads:
        executor = {"here": 1, "pool": pool, "threads": threads}[where]
        with pytest.raises(kind, match=text) as told:
            verify(CLAIM, At(37, deed), executor=executor)
    hint = "raised in trial 37 of the claim 'fails with probability at most 0.05'; run it again with "
    assert hint + "boundlab.replay(claim, trial, 37, seed=0, batch=1)" in told.value.__notes__


def test_an_error_from_a_worker_keeps_its_traceback(pool: ProcessPool) -> None:
    with pytest.raises(ValueError, match="a bug") as told:
        verify(CLAIM, At(3, trials.raise_value_error), executor=pool)
    assert any("in raise_value_error" in note for note in told.value.__notes__)


def test_a_bad_batch_is_told_by_its_range_and_replays(pool: ProcessPool) -> None:
    bad = At(37, trials.raise_value_error)
    for executor in (1, pool):
        with pytest.raises(ValueError, match="a bug") as told:
            verify(CLAIM, bad, executor=executor, batch=16)
        assert "raised in trials 32 to 47 of the claim" in told.value.__notes__[-1]
    with pytest.raises(ValueError, match="a bug"):
        replay(CLAIM, bad, 32, batch=16)


def test_an_error_beyond_the_deciding_trial_never_surfaces(pool: ProcessPool) -> None:
    for executor in (1, pool):
        for deed in (trials.raise_value_error, trials.leave):
            assert verify(CLAIM, At(146, deed), executor=executor).trials == 146


def test_an_interrupt_that_a_worker_raises_is_the_trials_error(pool: ProcessPool) -> None:
    with pytest.raises(BoundlabError, match="it raised KeyboardInterrupt"):
        verify(CLAIM, At(37, trials.raise_keyboard_interrupt), executor=pool)


def test_an_answer_that_changes_later_counts_as_it_was(pool: ProcessPool) -> None:
    expected = verify(CLAIM, Coin(0.05), executor=1, **BUDGET)
    for executor in (1, pool):
        assert verify(CLAIM, trials.same_buffer, executor=executor, **BUDGET).to_json() == expected.to_json()


def test_a_trial_that_kills_its_worker_is_unknown(pool: ProcessPool) -> None:
    verdict = verify(CLAIM, At(37, trials.die), executor=pool, max_trials=100, **OPEN)
    assert (verdict.trials, verdict.failures, verdict.unknown, verdict.first_unknown) == (100, 0, 1, (37,))


@pytest.mark.parametrize(
    "deed", [trials.sleep, trials.turn_the_alarm_into_an_error, trials.answer_late], ids=lambda deed: deed.__name__
)
def test_a_trial_that_takes_too_long_is_unknown_on_any_engine(deed: Callable[..., Any], pool: ProcessPool) -> None:
    limits: dict[str, Any] = {"max_trials": 60, "trial_seconds": 0.2, **OPEN}
    found = [verify(CLAIM, At(37, deed), executor=executor, **limits) for executor in (1, pool)]
    assert found[0].to_json() == found[1].to_json()
    assert (found[0].trials, found[0].failures, found[0].first_unknown) == (60, 0, (37,))


@pytest.mark.parametrize("deed", [trials.loop_in_c, trials.sleep_through_anything], ids=lambda deed: deed.__name__)
def test_a_trial_that_no_alarm_ends_is_ended_with_its_worker(deed: Callable[..., Any], pool: ProcessPool) -> None:
    verdict = verify(CLAIM, At(2, deed), executor=pool, trial_seconds=0.2, max_trials=20, **OPEN)
    assert (verdict.trials, verdict.failures, verdict.first_unknown) == (20, 0, (2,))


def test_an_executor_that_cannot_end_a_hung_trial_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "GRACE_SECONDS", 0.1)
    free = threading.Event()
    with ThreadPoolExecutor(2) as threads:
        with pytest.raises(BoundlabError, match="this executor cannot end it") as told:
            verify(CLAIM, At(0, functools.partial(wait_for, free)), executor=threads, trial_seconds=0.2)
        free.set()
    assert "raised in trial 0 of" in told.value.__notes__[-1]


def wait_for(event: Any, rng: np.random.Generator, n: int) -> np.ndarray:
    event.wait()
    return np.zeros(n, dtype=bool)


def test_a_thread_that_ends_late_is_unknown() -> None:
    with ThreadPoolExecutor(2) as threads:
        verdict = verify(CLAIM, At(37, pause), executor=threads, trial_seconds=0.2, max_trials=60, **OPEN)
    assert verdict.first_unknown == (37,)


def pause(rng: np.random.Generator, n: int) -> np.ndarray:
    time.sleep(0.3)
    return np.ones(n, dtype=bool)


def test_a_timer_of_somebody_else_runs_on() -> None:
    rang: list[int] = []
    handler = signal.signal(signal.SIGALRM, lambda *_: rang.append(1))
    try:
        signal.setitimer(signal.ITIMER_REAL, 600.0)
        verify(CLAIM, Coin(0.0), trial_seconds=5.0, executor=1)
        assert 0.0 < signal.setitimer(signal.ITIMER_REAL, 0.01)[0] <= 600.0
        limit = time.monotonic() + 60.0
        while not rang and time.monotonic() < limit:
            time.sleep(0.02)
        assert rang
    finally:
        signal.signal(signal.SIGALRM, handler)


def test_a_verification_inside_a_trial_leaves_the_alarm_to_the_outer_one() -> None:
    def outer(rng: np.random.Generator, n: int) -> np.ndarray:
        verify(CLAIM, Coin(0.0, seconds=0.01), executor=1)
        return np.zeros(n, dtype=bool)

    assert verify(CLAIM, outer, trial_seconds=0.2, max_trials=2, executor=1).unknown == 2


def test_a_broken_executor_is_told_and_a_fresh_one_goes_on(tmp_path: Path) -> None:
    record = tmp_path / "run.json"
    with (
        ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as foreign,
        pytest.raises(BoundlabError, match="it is broken after"),
    ):
        verify(CLAIM, At(37, trials.die), executor=foreign, record=record)
    assert 0 < json.loads(record.read_text(encoding="utf-8"))["course"]["tally"][0] <= 37
    assert verify(CLAIM, Coin(0.0), executor=1, record=record).trials == 146


def test_a_trial_that_cannot_be_sent_is_told(pool: ProcessPool) -> None:
    with pytest.raises(InvalidParameter, match="a trial for other processes must be picklable"):
        verify(CLAIM, functools.partial(wait_for, threading.Lock()), executor=pool)


def test_a_trial_of_a_module_that_workers_lack_is_told(pool: ProcessPool, tmp_path: Path) -> None:
    (tmp_path / "only_here.py").write_text("def trial(rng, n):\n    return rng.random(n) < 0.0\n", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:  # the workers of this pool have started before
        patch.syspath_prepend(tmp_path)
        trial = __import__("only_here").trial
        with pytest.raises(InvalidParameter, match="must load in each of them, got ModuleNotFoundError"):
            verify(CLAIM, trial, executor=pool)


def test_a_closure_travels_by_value(pool: ProcessPool) -> None:
    pytest.importorskip("cloudpickle")
    rate = 0.05
    verdict = verify(CLAIM, lambda rng, n: rng.random(n) < rate, executor=pool, **BUDGET)
    assert verdict.to_json() == serial(0.05, 1)


# Ctrl-C


def start(executor: str, record: Path, seconds: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.engine_trials", executor, str(record), str(seconds)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def workers_of(program: subprocess.Popen[str]) -> list[int]:
    """The processes at work for a program, once some trials are done."""
    assert program.stdout is not None
    return json.loads(program.stdout.readline().removeprefix("workers "))


def outcome(program: subprocess.Popen[str]) -> tuple[list[str], str]:
    """The lines that a program printed before its verdict, and the verdict."""
    out, errors = program.communicate(timeout=30)
    assert (program.returncode, errors) == (0, "")
    lines, brace, verdict = out.partition("{")
    return lines.splitlines(), brace + verdict


def wait_for_end_of(workers: list[int]) -> None:
    limit = time.monotonic() + 5.0
    while any(alive(pid) for pid in workers):
        assert time.monotonic() < limit, "a worker outlives the program"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether a process runs: not gone, and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@linux
@pytest.mark.parametrize("executor", ["1", "2"])
def test_ctrl_c_keeps_what_was_decided_and_the_same_command_goes_on(executor: str, tmp_path: Path) -> None:
    record = tmp_path / "run.json"
    program = start(executor, record, 0.01)
    workers = workers_of(program)
    os.killpg(program.pid, signal.SIGINT)  # as a terminal does: every process of the group
    (told, left), text = outcome(program)
    verdict = json.loads(text)
    assert told.startswith(f"interrupted after {verdict['trials']} trials")
    assert told.endswith(f"the run is kept in {record}")
    assert left == "left []"
    assert verdict["stopped_because"] == "interrupted"
    assert 0 < verdict["trials"] < 400
    assert json.loads(record.read_text(encoding="utf-8"))["course"]["tally"][0] == verdict["trials"]
    wait_for_end_of(workers)
    assert outcome(start("1", record, 0.0))[1] == whole()


@functools.cache
def whole() -> str:
    return verify(CLAIM, Coin(0.05), executor=1, max_trials=400, **OPEN).to_json()


def test_ctrl_c_while_workers_start_makes_no_noise(tmp_path: Path) -> None:
    for seconds in (0.6, 0.8):
        program = start("2", tmp_path / "run.json", 0.01)
        time.sleep(seconds)
        os.killpg(program.pid, signal.SIGINT)
        _, errors = program.communicate(timeout=30)
        assert "spawn_main" not in errors, "a worker's traceback"


def test_an_interrupt_that_the_trial_catches_ends_the_run_all_the_same() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores Ctrl-C
    try:
        swallowed()
    finally:
        signal.signal(signal.SIGINT, before)


def swallowed() -> None:
    with pytest.raises(Interrupted) as told:
        verify(CLAIM, At(1, careless), executor=1)
    assert (told.value.verdict.trials, told.value.verdict.failures) == (1, 0)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert told.value.verdict.resume(max_trials=1).trials == 1


def careless(rng: np.random.Generator, n: int) -> np.ndarray:
    try:
        signal.raise_signal(signal.SIGINT)
    except BaseException:
        return np.ones(n, dtype=bool)
    return np.zeros(n, dtype=bool)


# nothing is left behind


@linux
def test_no_worker_outlives_its_program(tmp_path: Path) -> None:
    ends = (signal.SIGTERM, signal.SIGKILL)
    programs = [start("2", tmp_path / f"{end}.json", 0.05) for end in ends]
    for program, end in zip(programs, ends, strict=True):
        workers = workers_of(program)
        assert len(workers) == 2
        program.send_signal(end)
        program.communicate(timeout=30)
        wait_for_end_of(workers)


@linux
def test_one_verdict_after_the_whole_program_was_killed_at_random_moments(tmp_path: Path) -> None:
    record, moment = tmp_path / "run.json", random.Random(0)
    for executor in ("2", "1", "2"):
        program = start(executor, record, 0.004)
        workers = workers_of(program)
        time.sleep(moment.uniform(0.0, 0.2))
        program.kill()
        program.communicate(timeout=30)
        wait_for_end_of(workers)
    assert 0 < json.loads(record.read_text(encoding="utf-8"))["course"]["tally"][0] < 400
    assert outcome(start("1", record, 0.0))[1] == whole()


def test_no_process_is_left_after_a_run() -> None:
    before = pids()
    verify(CLAIM, Coin(0.05), executor=2, **BUDGET)
    verify(CLAIM, At(0, trials.sleep), executor=2, max_seconds=1.0)
    with pytest.raises(ValueError, match="a bug"):
        verify(CLAIM, At(0, trials.raise_value_error), executor=2)
    assert set(pids()) <= set(before)


@linux
def test_memory_is_steady_over_many_runs() -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]) * 4096

    heavy, sizes = trials.Heavy(np.zeros(1 << 17)), []
    with ThreadPoolExecutor(1) as threads:
        for k in range(200):
            verify(CLAIM, heavy, executor=threads if k % 2 else 1, batch=50)
            sizes.append(resident())
    assert sizes[-1] - sizes[50] < 4e6


# which engine


def test_the_clock_ends_a_run_on_every_engine(pool: ProcessPool) -> None:
    with ProcessPool(2) as own:
        own.submit(int).result()
        begin = time.monotonic()
        verdict = verify(CLAIM, At(0, trials.sleep), executor=own, max_seconds=0.5)
    assert (verdict.trials, verdict.stopped_because) == (0, "max_seconds")
    assert time.monotonic() - begin < 3.0
    for executor in (1, pool):
        begin = time.monotonic()
        verdict = verify(CLAIM, Coin(0.05, seconds=0.002), executor=executor, max_seconds=0.3, max_trials=9999, **OPEN)
        assert verdict.stopped_because == "max_seconds"
        assert time.monotonic() - begin < 3.0


@pytest.fixture
def quick_spill(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "SPILL_SECONDS", 0.05)
    monkeypatch.setattr(engine, "_processors", lambda: 2)


@pytest.mark.usefixtures("quick_spill")
def test_a_long_run_spills_into_processes_and_nobody_can_tell() -> None:
    seen: set[int] = set()
    before, limit = set(pids()), time.monotonic() + 120.0

    def look(*_: int) -> None:
        seen.update(set(pids()) - before)
        if len(seen) == 1 and time.monotonic() < limit:
            time.sleep(0.1)  # the first is not up yet: on a busy machine all might be done here before it is

    verdict = verify(CLAIM, Coin(0.05, 0.004), progress=look, max_trials=600, **OPEN)
    assert len(seen) == 2
    assert set(pids()) <= before
    assert verdict.to_json() == verify(CLAIM, Coin(0.05), executor=1, max_trials=600, **OPEN).to_json()


@pytest.mark.usefixtures("quick_spill")
def test_a_trial_that_depends_on_this_process_stays_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(rng: np.random.Generator, n: int) -> np.ndarray:
        time.sleep(0.004)
        return rng.random(n) < 0.05

    monkeypatch.setattr(trials, "PREPARED", [0.05])
    for trial in (slow, trials.needs_preparation):
        verdict = verify(CLAIM, trial, max_trials=300, **OPEN)
        assert verdict.to_json() == verify(CLAIM, Coin(0.05), executor=1, max_trials=300, **OPEN).to_json()


SCRIPT = """
import sys, time
sys.path.insert(0, {root!r})
from boundlab.verification import verify
from boundlab.verification.running import engine
from tests.engine_trials import CLAIM, OPEN, Coin
engine.SPILL_SECONDS, engine._processors = 0.05, lambda: 2

def mine(rng, n):
    time.sleep(0.002)
    return rng.random(n) < 0.05

print("runs")
print(verify(CLAIM, {trial}, max_trials=400, executor={executor}, **OPEN).failures)
"""


def run_scripts(folder: Path, texts: list[str]) -> list[tuple[str, str]]:
    """What scripts print and what they complain of; all run at once."""
    programs = []
    for k, text in enumerate(texts):
        script = folder / f"script{k}.py"
        script.write_text(text, encoding="utf-8")
        pipe = subprocess.PIPE
        programs.append(subprocess.Popen([sys.executable, script], stdout=pipe, stderr=pipe, text=True))
    return [program.communicate(timeout=30) for program in programs]


def test_a_script_without_guard_runs_once(tmp_path: Path) -> None:
    pytest.importorskip("cloudpickle")
    cases = (("mine", "None"), ("Coin(0.05, 0.002)", "None"), ("mine", "2"))
    texts = [SCRIPT.format(root=str(ROOT), trial=trial, executor=executor) for trial, executor in cases]
    assert run_scripts(tmp_path, texts) == [(f"runs\n{json.loads(whole())['failures']}\n", "")] * 3


def test_a_process_of_ours_runs_a_nested_pool_in_itself(pool: ProcessPool) -> None:
    assert pool.submit(engine._processors).result() == 1
    assert engine._processors() >= 1


def test_a_large_trial_is_sent_once_to_each_process(pool: ProcessPool) -> None:
    heavy = trials.Heavy(np.random.default_rng(0).random(1 << 20))  # 8 MB
    shared = pool.share(heavy)
    assert len(pickle.dumps(shared)) < 200, "what is sent with a task"
    assert pool.submit(ballast_of, shared).result() == float(heavy.ballast[-1])


def ballast_of(heavy: trials.Heavy) -> float:
    return float(heavy.ballast[-1])


def test_a_pool_refuses_no_workers_and_ends_what_is_queued() -> None:
    with pytest.raises(InvalidParameter, match="workers must be a whole number of at least 1"):
        ProcessPool(0)
    pool = ProcessPool(1)
    futures: list[Future[Any]] = [pool.submit(time.sleep, 30.0) for _ in range(3)]
    pool.shutdown(wait=False)
    assert all(future.done() for future in futures)
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(int)


GUARDED = """
import sys
sys.path.insert(0, {root!r})
sys.modules["cloudpickle"] = None
from boundlab.verification import verify
from tests.engine_trials import CLAIM, OPEN

def mine(rng, n):
    return rng.random(n) < 0.05

if {guard}:
    print(verify(CLAIM, mine, max_trials=400, executor=2, **OPEN).failures)
"""


def test_a_script_whose_trial_travels_by_name_needs_its_guard(tmp_path: Path) -> None:
    texts = [GUARDED.format(root=str(ROOT), guard=guard) for guard in ("__name__ == '__main__'", "True")]
    guarded, open_to_all = run_scripts(tmp_path, texts)
    assert guarded == (f"{json.loads(whole())['failures']}\n", "")
    assert "does the main part of the script stand under `if __name__" in open_to_all[1]
