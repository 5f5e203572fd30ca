"""The ledger: nights in a row are one run, no more and no less."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from boundlab import Claim, Interrupted, InvalidParameter, Over, State, Verdict, verify
from boundlab.verification.evidence_ledger import EvidenceLedger
from boundlab.verification.fingerprint import code_fingerprint, versions
from boundlab.verification.judging.evidence import log_e_violated
from boundlab.verification.judging.lattice import absorption

CLAIM = Claim(name="a coin fails with probability at most 0.05", delta=0.05)


def coin(rng: np.random.Generator, n: int, rate: float = 0.05) -> np.ndarray:
    return rng.random(n) < rate


def bare(verdict: Verdict) -> dict[str, Any]:
    """All that a verdict says, less the budget that ended it."""
    return verdict.to_dict() | {"warnings": [], "stopped_because": ""}


def night(folder: Path, trials: int = 100, **changes: Any) -> Verdict:
    settings = {"code": "v1", "max_trials": trials, "executor": 1} | changes
    return EvidenceLedger(folder).verify(settings.pop("claim", CLAIM), settings.pop("trial", coin), **settings)


def journal(folder: Path) -> list[dict[str, Any]]:
    (path,) = folder.glob("*.jsonl")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


# one process


@pytest.mark.parametrize("batch", [1, 7])
def test_nights_in_a_row_are_one_run(tmp_path: Path, batch: int) -> None:
    verdicts = [night(tmp_path, 150, batch=batch) for _ in range(4)]
    assert [verdict.trials for verdict in verdicts] == [150, 300, 450, 600]
    assert bare(verdicts[-1]) == bare(verify(CLAIM, coin, max_trials=600, batch=batch, executor=1))
    nights = journal(tmp_path)[1:]
    assert [(line["from"], line["to"]) for line in nights] == [(0, 150), (150, 300), (300, 450), (450, 600)]
    assert nights[-1]["failures"] == verdicts[-1].failures
    assert all(line["versions"] == versions() for line in nights)


def test_a_decided_ledger_answers_without_new_trials(tmp_path: Path) -> None:
    first = night(tmp_path, 400, trial=partial(coin, rate=0.4))
    assert first.state is State.VIOLATED

    def never(rng: np.random.Generator, n: int) -> np.ndarray:
        raise AssertionError("a trial was run")

    second = night(tmp_path, 400, trial=never)
    assert bare(second) == bare(first)
    assert second.stopped_because == "decided"
    assert len(journal(tmp_path)) == 2


def test_resume_goes_on_in_the_ledger(tmp_path: Path) -> None:
    verdict = night(tmp_path, 100).resume(max_trials=250)
    assert verdict.trials == 250
    assert [(line["from"], line["to"]) for line in journal(tmp_path)[1:]] == [(0, 100), (100, 250)]
    assert night(tmp_path, 50).trials == 300


def test_given_inputs_are_used_up_once_over_all_nights(tmp_path: Path) -> None:
    points, seen = np.arange(30.0)[:, None], []

    def trial(rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
        seen.extend(x[:, 0].tolist())
        return rng.random(len(x)) < 0.05

    told = [night(tmp_path, 20, trial=trial, inputs=points).stopped_because for _ in range(3)]
    assert told == ["max_trials", "inputs used up", "inputs used up"]
    assert seen == points[:, 0].tolist()


@pytest.mark.parametrize(
    "change",
    [
        {"code": "v2"},
        {"seed": 1},
        {"batch": 2},
        {"alpha_violated": 1e-7},
        {"alpha_upheld": 1e-2},
        {"claim": Claim(name=CLAIM.name, delta=0.04)},
    ],
    ids=str,
)
def test_another_code_level_seed_batch_or_claim_is_another_process(tmp_path: Path, change: dict[str, Any]) -> None:
    night(tmp_path, 100)
    assert night(tmp_path, 60, **change).trials == 60
    assert night(tmp_path, 10).trials == 110
    assert len(EvidenceLedger(tmp_path).rows()) == 2


# nights that do not end by themselves


def test_an_interrupted_night_enters_with_the_trials_it_took(tmp_path: Path) -> None:
    def tired(rng: np.random.Generator, n: int) -> np.ndarray:
        outcomes = coin(rng, n)
        calls.append(1)
        if len(calls) == 40:
            raise KeyboardInterrupt
        return outcomes

    calls: list[int] = []
    with pytest.raises(Interrupted) as stopped:
        night(tmp_path, 1000, trial=tired)
    done = stopped.value.verdict.trials
    assert journal(tmp_path)[-1]["to"] == done < 40
    calls.extend([1] * 100)  # awake again
    assert stopped.value.verdict.resume(max_trials=200).trials == 200
    assert bare(night(tmp_path, 100)) == bare(verify(CLAIM, coin, max_trials=300, executor=1))


def test_a_killed_night_enters_with_what_it_had_written(tmp_path: Path) -> None:
    night(tmp_path, 100)
    (record,) = tmp_path.glob("*.json")
    verify(CLAIM, coin, max_trials=170, record=record, executor=1)  # what a killed process leaves: no line, a record
    assert night(tmp_path, 30).trials == 200
    lines = journal(tmp_path)[1:]
    assert [(line["from"], line["to"], "note" in line) for line in lines] == [
        (0, 100, False),
        (100, 170, True),
        (170, 200, False),
    ]


def test_a_second_process_is_refused_while_one_is_at_work(tmp_path: Path) -> None:
    def greedy(rng: np.random.Generator, n: int) -> np.ndarray:
        night(tmp_path, 10)
        return np.zeros(n, bool)

    with pytest.raises(
        InvalidParameter, match=r"one process at a time, got the lock .*\.lock of process \d+ on .*since"
    ):
        night(tmp_path, 10, trial=greedy)
    assert night(tmp_path, 10).trials == 10


def test_a_killed_process_keeps_no_lock(tmp_path: Path) -> None:
    night(tmp_path, 10)
    (path,) = tmp_path.glob("*.jsonl")
    holder = f"""
import os, pathlib, signal
from boundlab.verification.evidence_ledger import _Process
with _Process(pathlib.Path({str(path.with_suffix(""))!r})).held():
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", holder], check=False).returncode < 0
    assert night(tmp_path, 10).trials == 20


def test_a_night_killed_before_its_first_line_leaves_a_ledger_that_goes_on(tmp_path: Path) -> None:
    night(tmp_path, 10)
    (path,) = tmp_path.glob("*.jsonl")
    path.write_text("", encoding="utf-8")
    with pytest.raises(InvalidParameter, match="a journal must begin with its header"):
        EvidenceLedger(tmp_path).rows()
    assert night(tmp_path, 10).trials == 20
    assert [row["trials"] for row in EvidenceLedger(tmp_path).rows()] == [20]


def test_another_set_is_not_the_set_of_earlier_nights(tmp_path: Path) -> None:
    claim = Claim(name="share of a set", delta=0.3, over=Over.SET, population=200)
    sets = [np.zeros((200, 1)), np.repeat([[0.0], [1.0]], 100, axis=0)]
    settings = {"claim": claim, "trial": lambda rng, x: x[:, 0] > 0.5}
    assert night(tmp_path, 5, inputs=sets[0], **settings).trials == 5
    with pytest.raises(InvalidParameter, match="a record must belong to this run, got another members"):
        night(tmp_path, 5, inputs=sets[1], **settings)
    assert night(tmp_path, 5, inputs=sets[0], **settings).trials == 10


@pytest.mark.parametrize(
    "text", ["{}", "[]", "3", '{"course": 3}', '{"course": {"tally": [1], "state": "undecided"}}', '{"course": {}}']
)
def test_a_broken_record_is_refused(tmp_path: Path, text: str) -> None:
    night(tmp_path)
    (record,) = tmp_path.glob("*.json")
    record.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidParameter, match="a record must be one that verify wrote"):
        night(tmp_path)


# what is shown and merged


def test_rows_tell_where_each_process_stands(tmp_path: Path) -> None:
    verdict = [night(tmp_path) for _ in range(2)][-1]
    (row,) = EvidenceLedger(tmp_path).rows()
    assert (row["claim"], row["nights"], row["state"], row["code"]) == (CLAIM.name, 2, "undecided", "v1")
    assert (row["trials"], row["failures"], row["unknown"]) == (200, verdict.failures, verdict.unknown)
    assert (row["log_e_upheld"], row["log_e_violated"]) == (verdict.log_e_upheld, verdict.log_e_violated)
    assert EvidenceLedger(tmp_path / "nothing").rows() == []


def test_shares_are_continued_like_outcomes(tmp_path: Path) -> None:
    claim = Claim(name="mean share", delta=0.5, over=Over.SET_MEAN)

    def share(rng: np.random.Generator, n: int) -> np.ndarray:
        return rng.random(n) * 0.9

    verdict = [night(tmp_path, 10, claim=claim, trial=share) for _ in range(3)][-1]
    assert bare(verdict) == bare(verify(claim, share, max_trials=30, executor=1))


def test_a_merge_takes_the_longer_history_of_one_stream(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    night(here, 100)
    for _ in range(2):
        night(there, 80)
    night(there, 50, code="v2")
    assert EvidenceLedger(here).merge(EvidenceLedger(there)) == 2
    assert EvidenceLedger(here).merge(EvidenceLedger(there)) == 0
    assert EvidenceLedger(there).merge(EvidenceLedger(here)) == 0
    assert EvidenceLedger(here).rows() == EvidenceLedger(there).rows()
    assert bare(night(here, 40)) == bare(verify(CLAIM, coin, max_trials=200, executor=1))


def test_a_merge_of_two_seeds_is_refused_and_writes_nothing(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    night(here)
    night(there, code="v2")
    night(there, seed=5)
    with pytest.raises(InvalidParameter, match=r"must share \(seed, batch\), got \[\(0, 1\)\] and \(5, 1\)"):
        EvidenceLedger(here).merge(EvidenceLedger(there))
    assert len(EvidenceLedger(here).rows()) == 1


def test_a_merge_of_two_outcomes_of_one_stream_is_refused(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    night(here)
    night(there, trial=partial(coin, rate=0.2))
    with pytest.raises(InvalidParameter, match="one outcome per trial, got two histories"):
        EvidenceLedger(here).merge(EvidenceLedger(there))


# the code


def test_any_change_of_a_source_file_is_another_code(tmp_path: Path) -> None:
    def write(path: str, text: str) -> str:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
        return code_fingerprint(tmp_path)

    seen = [
        write("a.py", "x = 1"),
        write("a.py", "x = 2"),
        write("package/b.py", ""),
        write("package/c.py", ""),
        write("package/kernel.c", ""),
    ]
    assert len(set(seen)) == 5
    write("env/pyvenv.cfg", "")
    same = [write(".hidden/a.py", "x"), write("env/lib/a.py", "x"), write("data.csv", "1"), write("a.md", "")]
    assert set(same) == {seen[-1]}
    (tmp_path / "package" / "c.py").rename(tmp_path / "package" / "d.py")
    assert code_fingerprint(tmp_path) not in seen


def test_any_change_of_an_installed_package_is_another_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "path" / "lib-1.0.dist-info").mkdir(parents=True)
    (tmp_path / "there").mkdir()
    monkeypatch.syspath_prepend(tmp_path / "path")

    def write(name: str, text: str) -> str:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return code_fingerprint(tmp_path / "project")

    origin = json.dumps({"url": (tmp_path / "there").as_uri(), "dir_info": {"editable": True}})
    seen = [
        write("path/lib-1.0.dist-info/METADATA", "Name: lib\nVersion: 1.0\n"),
        write("path/lib-1.0.dist-info/METADATA", "Name: lib\nVersion: 1.1\n"),
        write("path/lib-1.0.dist-info/RECORD", "lib.py,sha256=aa,3\n"),
        write("path/lib-1.0.dist-info/RECORD", "lib.py,sha256=bb,3\n"),
        write("there/lib.py", "x = 1"),  # not known to be installed yet
        write("path/lib-1.0.dist-info/direct_url.json", origin),
        write("there/lib.py", "x = 2"),
    ]
    assert len(set(seen)) == len(seen) - 1
    assert seen[3] == seen[4]
    assert write("path/lib-1.0.dist-info/RECORD", "lib.py,sha256=bb,3\n../bin/lib,sha256=cc,3\n") == seen[-1]


def test_a_project_must_be_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InvalidParameter, match="root must be a folder, got"):
        code_fingerprint(tmp_path / "nothing")


# what it buys


def test_nights_in_a_ledger_find_what_no_single_night_finds() -> None:
    """Exact, by recursion: delta = .01 against a rate of .02, 500 trials a night, alpha = 1e-6."""
    n = np.arange(1, 7001)
    low, high = np.zeros_like(n), n.copy()  # the fewest failures that refute lie in (low, high], if n of n refute
    while np.any(high - low > 1):
        middle = (low + high) // 2
        refutes = log_e_violated(n, middle, 0.01) >= np.log(1e6)
        low, high = np.where(refutes, low, middle), np.where(refutes, middle, high)
    fewest = np.where(log_e_violated(n, high, 0.01) >= np.log(1e6), high, n + 1)

    def found(nights: int) -> float:
        return absorption(
            lambda n, k: np.zeros(k.shape, bool), lambda n, k: k >= fewest[n - 1], 0.02, 500 * nights
        ).high

    assert [round(found(1), 4), round(found(7), 2), round(found(14), 2)] == [0.0012, 0.44, 0.96]
