"""Claims in files: read strictly, run from the command line, with exit codes that a CI job can use."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from boundlab import Claim, EvidenceLedger, InvalidParameter, verify
from boundlab.claim_files import executor_named, read_claim_file
from boundlab.cli import main
from boundlab.cli.claims import _telling, _words

TRIALS = """
import numpy as np

def rarely(rng, n):
    return rng.random(n) < 0.001

def often(rng, n):
    return rng.random(n) < 0.3

def close(rng, n):
    return rng.random(n) < 0.04

def broken(rng, n):
    raise ZeroDivisionError("no such coin")

def above(rng, x):
    return x[:, 0] > 0.99

def inputs(rng, n):
    return rng.random((n, 2))

def missed(m):
    from boundlab import Claim
    claim = Claim(name="the item is found", delta=0.1, parameters={"m": m})
    return claim, lambda rng, n: rng.random(n) < 0.95**m
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "coin_trials_of_test.py").write_text(TRIALS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "coin_trials_of_test", raising=False)
    return tmp_path


def claim_file(folder: Path, trial: str, *lines: str, delta: float = 0.05) -> str:
    run = "\n".join([f'trial = "coin_trials_of_test:{trial}"', *lines])
    path = folder / "claim.toml"
    path.write_text(f'[claim]\nname = "a coin"\ndelta = {delta}\n\n[run]\n{run}\n', encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("trial", "words", "code", "word"),
    [
        ("rarely", [], 0, "UPHELD"),
        ("often", [], 1, "VIOLATED"),
        ("close", ["--max-trials", "50"], 0, "UNDECIDED"),
        ("close", ["--max-trials", "50", "--require", "upheld"], 3, "UNDECIDED"),
        ("rarely", ["--require", "upheld", "--executor", "process:2"], 0, "UPHELD"),
    ],
)
def test_the_exit_code_says_what_came_of_it(
    folder: Path, capsys: pytest.CaptureFixture[str], trial: str, words: list[str], code: int, word: str
) -> None:
    assert main(["verify", claim_file(folder, trial), *words]) == code
    assert word in capsys.readouterr().out


def test_the_command_gives_the_verdict_of_the_function(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", claim_file(folder, "close", "seed = 3", "max_trials = 400"), "--json", "-"]) == 0
    captured = capsys.readouterr()
    direct = verify(Claim(name="a coin", delta=0.05), lambda rng, n: rng.random(n) < 0.04, seed=3, max_trials=400)
    assert json.loads(captured.out) == direct.to_dict()
    assert "UNDECIDED" in captured.err


def test_a_trial_that_raises_ends_with_its_own_code_and_the_way_to_replay(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", claim_file(folder, "broken")]) == 4
    err = capsys.readouterr().err
    assert "ZeroDivisionError: no such coin" in err
    assert "trial 0" in err


def test_a_trial_is_replayed_by_its_index(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = claim_file(folder, "often")
    main(["verify", path, "--json", str(folder / "v.json")])
    first = json.loads((folder / "v.json").read_text(encoding="utf-8"))["first_failures"]
    capsys.readouterr()
    for index in range(first[-1] + 1):
        assert main(["verify", path, "--replay", str(index)]) == 0
        assert capsys.readouterr().out == ("[ True]\n" if index in first else "[False]\n")


def test_a_replayed_trial_that_raises_has_the_code_of_one_that_raised(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", claim_file(folder, "broken"), "--replay", "3"]) == 4
    assert main(["verify", claim_file(folder, "often"), "--replay", "-1"]) == 2
    assert capsys.readouterr().err == (
        "boundlab: trial 3 raised ZeroDivisionError: no such coin.\n"
        "boundlab: --replay must be the index of a trial, from 0 on, got -1.\n"
    )


@pytest.mark.parametrize(("trial", "code"), [("rarely", 0), ("often", 1), ("close", 3)])
@pytest.mark.parametrize("words", [[], ["--json", "-"]], ids=["table", "json"])
def test_a_reader_that_leaves_takes_nothing_from_the_exit_code(
    folder: Path, trial: str, code: int, words: list[str]
) -> None:
    command = [sys.executable, "-m", "boundlab.cli", "verify", claim_file(folder, trial, "max_trials = 150")]
    told = subprocess.Popen([*command, "--require", "upheld", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert told.stdout is not None
    told.stdout.close()
    assert told.wait() == code


def test_progress_that_nobody_reads_ends_no_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    now = time.monotonic() + 60.0
    with os.fdopen(writer, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        with _telling(lambda *counts: str(counts)) as tell:
            monkeypatch.setattr(time, "monotonic", lambda: now)
            tell(10, 0, 0)


def test_an_interrupted_run_says_how_to_go_on(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "coin_trials_of_test.py").write_text(
        "import itertools\ncalls = itertools.count()\n"
        "def tired(rng, n):\n    if next(calls) % 50 == 49: raise KeyboardInterrupt\n    return rng.random(n) < 0.04\n",
        encoding="utf-8",
    )
    for lines, words, way in (
        ([], [], "--record FILE would keep them"),
        ([], ["--record", "a.json"], "the same command goes on where they ended"),
        (['record = "b.json"'], [], "the same command goes on where they ended"),
    ):
        assert main(["verify", claim_file(folder, "tired", *lines), *words, "--executor", "serial"]) == 130
        assert f"trials were run; {way}." in capsys.readouterr().err


def test_inputs_are_drawn_for_each_trial(folder: Path) -> None:
    path = claim_file(folder, "above", 'inputs = "coin_trials_of_test:inputs"')
    assert main(["verify", path, "--require", "upheld"]) == 0


def test_a_record_goes_on_where_it_ended(folder: Path) -> None:
    path = claim_file(folder, "close")
    for budget in ("60", "200"):
        assert main(["verify", path, "--record", "kept.json", "--max-trials", budget, "--json", "in_two.json"]) == 0
    assert main(["verify", path, "--max-trials", "200", "--json", "at_once.json"]) == 0
    assert (folder / "in_two.json").read_bytes() == (folder / "at_once.json").read_bytes()


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("no toml", "readable TOML"),
        ("[claim]\nname = 'a'\ndelta = 0.1", r"the tables \[claim\] and \[run\]"),
        ("[claim]\nname = 'a'\ndelta = 0.1\n[run]\nmax_trials = 3", "must name a trial"),
        ("[claim]\nname = 'a'\ndelta = 0.1\n[run]\ntrial = 'm:f'\ncolour = 3", "may hold trial, inputs"),
        ("[claim]\nname = 'a'\n[run]\ntrial = 'm:f'", "must hold name and delta"),
        ("[claim]\nname = 'a'\ndelta = 0.1\nfoo = 1\n[run]\ntrial = 'm:f'", "must hold name and delta"),
        ("[claim]\nname = 'a'\ndelta = 2.0\n[run]\ntrial = 'coin_trials_of_test:rarely'", "delta must be in"),
        ("[claim]\nname = 'a'\ndelta = 0.1\n[run]\ntrial = 'no_such_module_here:f'", "must import and run"),
        ("[claim]\nname = 'a'\ndelta = 0.1\n[run]\ntrial = 'coin_trials_of_test'", "named as module:function"),
        ("[claim]\nname = 'a'\ndelta = 0.1\n[run]\ntrial = 'm:f'\nrecord = 3", "record in .run. must be a text, got 3"),
        ("[claim]\nname = 'a'\ndelta = 0.1\n[run]\ntrial = 'm:f'\nseed = true", "seed in .run. must be a whole number"),
        ("[claim]\nname = 'a'\ndelta = 0.1\n[run]\ntrial = 'm:f'\nmax_seconds = '3'", "must be a number, got '3'"),
        (
            "[claim]\nname = 'a'\ndelta = 0.1\ntheorem = 3\n[run]\ntrial = 'coin_trials_of_test:often'",
            "theorem must be",
        ),
        (
            "[claim]\nname = 'a'\ndelta = 0.1\nparameters = 3\n[run]\ntrial = 'coin_trials_of_test:often'",
            "as a mapping",
        ),
        ("[claim]\nname = 'a'\ndelta = 0.1\n[run]\ntrial = 3", "named as module:function"),
        ("[claim]\nname = 'a'\ndelta = 0.1\n[run]\ntrial = 'coin_trials_of_test:np'", "named as module:function"),
    ],
)
def test_a_broken_file_is_refused_with_the_rule(folder: Path, text: str, rule: str) -> None:
    (folder / "claim.toml").write_text(text, encoding="utf-8")
    with pytest.raises(InvalidParameter, match=rule):
        read_claim_file(folder / "claim.toml")


@pytest.mark.parametrize("text", ["", "threads", "process", "process:0", "process:x", "dask:", "serial:2"])
def test_an_unknown_executor_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameter, match="an executor must be"):
        executor_named(text)


def test_a_pipe_is_no_output_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file is written beside its place and moved there: root would lose a device such as /dev/null."""
    os.mkfifo("pipe")
    assert main(["verify", claim_file(folder, "rarely"), "--json", "pipe"]) == 2
    assert "must not be a device or a pipe" in capsys.readouterr().err
    assert Path("pipe").is_fifo()


def test_the_smallest_size_is_found_from_the_command_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["solve", "coin_trials_of_test:missed", "--low", "1", "--high", "200", "--max-trials", "600"]
    assert main([*words, "--theory", "100"]) == 0
    out = capsys.readouterr().out
    assert "violated at m = " in out
    assert "times what is needed" in out
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["violated"] < 45 <= found["upheld"], "0.95^m is at most 0.1 from m = 45 on"
    assert main(["solve", "coin_trials_of_test:missed", "--low", "1", "--high", "9", "--max-trials", "300"]) == 3


def test_files_of_verdicts_are_shown_and_compared(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = claim_file(folder, "close")
    for budget, name in (("50", "old.json"), ("4000", "new.json")):
        main(["verify", path, "--max-trials", budget, "--json", name])
    capsys.readouterr()
    assert main(["verdicts", "new.json"]) == 0
    assert "a coin" in capsys.readouterr().out
    new = json.loads((folder / "new.json").read_text(encoding="utf-8"))
    assert main(["verdicts", "new.json", "--compare", "old.json"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if "a coin" in line)
    assert new["verdict"] in line
    assert ("undecided" if new["verdict"] != "undecided" else "same") in line


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"schema": "other/1"}', '{"schema": 3}'])
def test_a_file_of_something_else_is_refused(folder: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    (folder / "other.json").write_text(text, encoding="utf-8")
    assert main(["verdicts", "other.json"]) == 2
    assert "a file of verdicts must" in capsys.readouterr().err


def test_a_ledger_is_shown_and_merged(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    claim = Claim(name="a coin", delta=0.05)
    for name, trials in (("one", 60), ("two", 90)):
        EvidenceLedger(folder / name).verify(claim, lambda rng, n: rng.random(n) < 0.04, code="c", max_trials=trials)
    assert main(["ledger", "one", "--merge", "two"]) == 0
    assert "1 processes taken over" in capsys.readouterr().out
    assert main(["ledger", "one", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["trials"] == 90
    assert main(["ledger", "three"]) == 2


def test_the_live_line_tells_the_evidence_and_what_is_still_needed() -> None:
    claim = Claim(name="coin", delta=0.05)
    words = _words(claim, {})
    # 146 failure-free trials uphold at 1e-3; M- = 1/2 (19/20)^-n + ..., so that half of 0.95^-100 is a lower limit
    assert words(100, 0, 0).endswith("about 46 to go")
    assert 10 ** float(words(100, 0, 0).split("log10 e ")[1].split(" of 3")[0]) * 1.2 >= 0.5 * 0.95**-100
    assert "about 46 to" not in words(100, 0, 1), "an unknown outcome counts against the claim"
    assert words(10**6, 50_000, 0).endswith("undecidable at this rate")
    assert words(0, 0, 0) == "0 trials, 0 failures, 0 unknown"
    assert _words(claim, {"method": "spending"})(100, 3, 0) == "100 trials, 3 failures, 0 unknown"
