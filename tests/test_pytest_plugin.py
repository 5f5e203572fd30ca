"""The pytest plugin, seen from outside: sessions of pytest inside a test, and what they tell."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from boundlab import Claim, State, replay, verify
from boundlab.pytest_plugin.settings import HEALTH, OPTIONS
from boundlab.pytest_plugin.tables import STATES
from boundlab.verification.planning import detectable
from tests.schemas import validate

pytest_plugins = ["pytester"]

Run = Callable[..., pytest.RunResult]

COINS = """
from functools import partial
import numpy as np
import pytest

def coin(rng, n, rate=0.0):
    return rng.random(n) < rate
"""

FOUR = (
    COINS
    + """
@pytest.mark.guarantee(delta=.05)
@pytest.mark.parametrize("rate", [0.0, 0.01, 0.045, 0.1])
def test_rate(guarantee, rate):
    guarantee.check(partial(coin, rate=rate))

def test_plain():
    pass
"""
)
"""Two that are upheld, one near the threshold, one that is violated, and a test that is no guarantee."""


@pytest.fixture(scope="module", autouse=True)
def imported() -> None:
    """An inner session takes away with it what it imports first; numpy and numba bear no second import."""
    for name in ("pytest_plugin.checking", "verification.evidence_ledger", "verification.joint"):
        importlib.import_module(f"boundlab.{name}")
    detectable(0.05, 10)


@pytest.fixture
def session(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs pytest on a test file, in this process and with no plugin but ours."""
    for name in ("CI", "GITHUB_STEP_SUMMARY", "PYTEST_ADDOPTS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def run(source: str, *args: str, **files: str) -> pytest.RunResult:
        pytester.makepyfile(test_it=source, **files)
        ours = ("-p", "boundlab.pytest_plugin", "-p", "no:cacheprovider", "-W", "ignore:Module already imported")
        return pytester.runpytest_inprocess(*ours, "--guarantee-max-trials=2000", *args)

    return run


def check(call: str = "coin", *, options: str = "delta=.05", before: str = "") -> str:
    """A file with one guarantee."""
    return (
        f"{COINS}\n{before}\n@pytest.mark.guarantee({options})\ndef test_it(guarantee):\n    guarantee.check({call})\n"
    )


def verdicts(session: Run, source: str, *args: str) -> dict[str, dict[str, Any]]:
    """The entries of a session's JSON by test."""
    session(source, "--guarantee-json=out.json", *args)
    return {entry["test"]: entry for entry in json.loads(Path("out.json").read_text(encoding="utf-8"))["guarantees"]}


def coin(rng: np.random.Generator, n: int, rate: float = 0.0) -> np.ndarray:
    return rng.random(n) < rate


# verdicts


def test_upheld_counts_as_passed_and_undecided_has_its_own_category(session: Run) -> None:
    result = session(FOUR)
    result.assert_outcomes(passed=3, failed=1)
    assert result.parseoutcomes()["undecided"] == 1
    result.stdout.fnmatch_lines(
        [
            "test_it.py ..[?]F.*",
            "guarantee violated: * failures in * trials, claimed rate <= 0.05; e-value 10^* reaches 1/alpha, alpha = "
            "2.5e-07; first failing trials *; replay: pytest 'test_it.py::test_rate[[]0.1[]]' --guarantee-seed=0 "
            "--guarantee-replay=*",
            "test  *claim  trials  fail *rate *verdict  log10 e-  log10 e+ *stopped",
            "test_it.py::test_rate[[]0.0[]]    <= 0.05     146     0  0.00e+00     upheld       3.0 * decided",
            "test_it.py::test_rate[[]0.045[]]  <= 0.05    2000  * undecided * max_trials",
            "test_it.py::test_rate[[]0.1[]]    <= 0.05 * violated * decided",
            "1 failed, 2 upheld, 1 undecided",
            "*1 failed, 3 passed, 1 undecided in *",
        ]
    )
    assert "Traceback" not in result.stdout.str()


def test_verbose_mode_spells_the_verdicts(session: Run) -> None:
    lines = session(FOUR, "-v").outlines
    words = [match[1] for line in lines if (match := re.match(r"test_it.py::test\S+ (\w+)", line))]
    assert words[:5] == ["UPHELD", "UPHELD", "UNDECIDED", "FAILED", "PASSED"]


def test_a_quiet_session_leaves_out_what_is_upheld(session: Run) -> None:
    lines = session(FOUR, "-q").outlines
    start = next(k for k, line in enumerate(lines) if " guarantees " in line)
    shown = [line.split()[0] for line in lines[start + 1 : start + 5]]
    assert shown == ["test", "test_it.py::test_rate[0.045]", "test_it.py::test_rate[0.1]", "1"]


def test_the_verdict_is_that_of_verify(session: Run) -> None:
    found = verdicts(session, FOUR)
    for rate in (0.0, 0.01, 0.045, 0.1):
        name = f"test_it.py::test_rate[{rate}]"
        claim = Claim(name=name, delta=0.05, parameters={"rate": str(rate)})
        told = found[name]["verdict"]
        settings = {"max_trials": 2000, "alpha_violated": told["alpha_violated"], "executor": 1}
        assert told == verify(claim, partial(coin, rate=rate), **settings).to_dict()


def test_undecided_fails_where_upheld_is_required(session: Run) -> None:
    result = session(FOUR, "--guarantee-require=upheld")
    result.assert_outcomes(passed=3, failed=2)
    result.stdout.fnmatch_lines(
        ["guarantee undecided: * in 2000 trials, claimed rate <= 0.05 (max_trials). *probability lies in *"]
    )


def test_a_failing_trial_can_be_replayed_by_the_command_that_is_told(
    session: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = "\n".join(session(check("partial(coin, rate=.3)")).outlines)
    command = re.search(r"replay: pytest (\S+) (\S+) (--guarantee-replay=(\d+))", told)
    assert command is not None
    result = session(check("partial(coin, rate=.3)"), command[1], command[2], command[3], "-v")
    assert result.parseoutcomes() == {"replayed": 1}
    result.stdout.fnmatch_lines(["*REPLAYED*", f"test_it.py::test_it: trial {command[4]} returned array([[] True[]])"])
    Path("deep").mkdir()
    monkeypatch.chdir("deep")  # a command is told as it works from where pytest was called
    told = session(check("partial(coin, rate=.3)"), "..", f"--rootdir={Path('..').resolve()}").stdout
    told.fnmatch_lines(["*replay: pytest ../test_it.py::test_it *"])
    claim = Claim(name="test_it.py::test_it", delta=0.05)
    assert replay(claim, partial(coin, rate=0.3), int(command[4])).tolist() == [True]


def test_an_exception_in_a_trial_is_an_error_with_its_index(session: Run) -> None:
    broken = (
        "def broken(rng, n):\n    if rng.random() < .2: raise ValueError('out of range')\n    return coin(rng, n)\n"
    )
    result = session(check("broken", before=broken))
    result.assert_outcomes(failed=1)
    line = next(line for line in result.outlines if "or with: pytest" in line)
    index = int(line.rpartition("=")[2])
    result.stdout.fnmatch_lines(["E *ValueError: out of range", f"E *raised in trial {index} of the claim*"])
    session(check("broken", before=broken), f"--guarantee-replay={index}").stdout.fnmatch_lines(["*out of range"])
    session(check("broken", before=broken), "--guarantee-replay=0").stdout.fnmatch_lines(["*trial 0 returned*"])


def test_an_expected_violation_is_an_expected_failure(session: Run) -> None:
    source = check("partial(coin, rate=.5)").replace("@pytest", "@pytest.mark.xfail(strict=True)\n@pytest", 1)
    session(source).assert_outcomes(xfailed=1)
    session(source.replace("rate=.5", "rate=0")).assert_outcomes(failed=1)


def test_calibration_of_small_deltas_looks_ahead_no_further_than_it_can(session: Run) -> None:
    result = session(check(options="delta=1e-7"), "--guarantee-calibrate")
    result.stdout.fnmatch_lines(
        [
            "*in 95 % of runs; 74* trials uphold it if none fails (*), and more than 1000000 trials refute a rate of "
            "2e-07"
        ]
    )


def test_a_compression_stands_for_its_own_promise(session: Run) -> None:
    before = """
from boundlab import CoreNetAdditive, compress, random_network
small = compress(random_network((30, 1), rng=0, positive=True), CoreNetAdditive(eps=.6, delta=.1),
                 np.random.default_rng(0).random((20, 30)), rng=0)
def inputs(rng, n):
    return rng.random((n, 30))
"""
    found = verdicts(session, check("small, inputs=inputs", options="", before=before))
    told = found["test_it.py::test_it"]["verdict"]
    assert (told["verdict"], told["claim"]["delta"]) == ("upheld", 0.1)
    assert told["claim"]["parameters"]["test"] == "test_it.py::test_it"
    result = session(check("small", options="", before=before))
    result.stdout.fnmatch_lines(["E*InvalidParameter: a Compression is checked on inputs, got none."])


# the family's alpha


def test_alpha_is_split_over_the_checks_that_are_left_after_deselection(session: Run) -> None:
    for args, count in (
        ((), 4),
        (
            (
                "-k",
                "0.0 and rate",
            ),
            3,
        ),
        (("--guarantee-alpha=1e-4",), 4),
    ):
        result = session(FOUR, "--guarantee-json=out.json", *args)
        each = [e["verdict"]["alpha_violated"] for e in json.loads(Path("out.json").read_text())["guarantees"]]
        family = 1e-4 if "--guarantee-alpha=1e-4" in args else 1e-6
        assert len(each) == count
        assert 0.999999 * family < sum(each) <= family
        result.stdout.fnmatch_lines(
            [f"guarantees: *alpha {family:g} for all checks*", f"guarantees: {count} checks share alpha, *"]
        )


def test_a_check_with_an_alpha_of_its_own_is_no_part_of_the_family(session: Run) -> None:
    source = FOUR + "@pytest.mark.guarantee(delta=.05, alpha=1e-3)\ndef test_own(guarantee): guarantee.check(coin)\n"
    session(source).stdout.fnmatch_lines(["guarantees: 4 checks share alpha, *; 1 with an alpha of their own, 0.001 *"])
    found = verdicts(session, source)
    assert found["test_it.py::test_own"]["verdict"]["alpha_violated"] == 1e-3
    others = [e["verdict"]["alpha_violated"] for name, e in found.items() if "own" not in name]
    assert 0.999999e-6 < sum(others) <= 1e-6


def test_a_check_that_was_not_counted_is_refused(session: Run) -> None:
    source = COINS + "from boundlab import Claim\n@pytest.mark.parametrize('k', range(3))\ndef test_it(request, k):\n"
    source += "    request.getfixturevalue('guarantee').check(coin, claim=Claim(name=str(k), delta=.05))\n"
    result = session(source)
    result.assert_outcomes(failed=3)  # each would have had the alpha of all
    result.stdout.fnmatch_lines(
        ["E*InvalidParameter: a test must have the fixture guarantee among its arguments, or *"]
    )


# what a marker and a call must be


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (check(options=""), "a guarantee must state its delta, got a marker without one and no claim."),
        (check(options="delta=.05, alpha='1e-3'"), "alpha_violated must be a number, got '1e-3'."),
        (check(options="delta=2"), "delta must be in (0, 1), got delta=2."),
        (check(options=".05"), "the options of a guarantee must be named, got 0.05 without name."),
        (check(options="detla=.05"), "the options of a guarantee are delta, over, *, got 'detla'."),
        (check(options="delta=.05, over='x'"), "over must be one of *, got 'x'."),
        (check("'coin'"), "a trial must be a function or a Compression, got str."),
        (check("coin, eps=.1"), "eps belongs to a Compression, got eps=0.1 for a trial."),
        (check("coin); guarantee.check(coin"), "guarantee.check must be called once in a test, *"),
        (check("coin, claim=__import__('boundlab').Claim(name='c', delta=.1)"), "a claim states its own delta, *"),
    ],
)
def test_what_breaks_a_rule_is_told_with_the_rule(session: Run, source: str, told: str) -> None:
    result = session(source)
    assert result.ret != 0
    result.stdout.fnmatch_lines([f"E*InvalidParameter: {told}"])


def test_a_marked_test_without_a_check_fails(session: Run) -> None:
    result = session(COINS + "@pytest.mark.guarantee(delta=.05)\ndef test_it(guarantee): pass\n")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["a test marked guarantee must call guarantee.check(trial), got no call."])


def test_a_claim_of_its_own_needs_no_marker(session: Run) -> None:
    source = (
        COINS
        + "from boundlab import Claim\nclaim = Claim(name='a coin', delta=.1)\ndef test_it(guarantee):\n"
        + "    assert guarantee.check(coin, claim=claim).trials == 71\n"
    )
    result = session(source)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["guarantees: 1 checks share alpha, 1e-06 each"])


def test_markers_of_a_class_and_a_test_add_up(session: Run) -> None:
    source = (
        COINS
        + "@pytest.mark.guarantee(delta=.05, max_trials=50)\nclass TestIt:\n"
        + "    @pytest.mark.guarantee(max_trials=60, name='a coin', theorem='t', parameters={'m': 3})\n"
        + "    def test_it(self, guarantee): guarantee.check(coin)\n"
    )
    (entry,) = verdicts(session, source).values()
    claim = {k: entry["verdict"]["claim"][k] for k in ("name", "delta", "theorem", "parameters")}
    parameters = {"test": "test_it.py::TestIt::test_it", "m": 3}
    assert claim == {"name": "a coin", "delta": 0.05, "theorem": "t", "parameters": parameters}
    assert entry["verdict"]["trials"] == 60


def test_parameters_are_texts_without_addresses(session: Run) -> None:
    source = (
        COINS
        + "import enum\nclass Kind(enum.Enum):\n    A = 'a'\n"
        + "@pytest.mark.guarantee(delta=.05)\n@pytest.mark.parametrize('value', [2, 'two', coin, Kind.A, object()])\n"
        + "def test_it(guarantee, value): guarantee.check(coin)\n"
    )
    told = [entry["verdict"]["claim"]["parameters"]["value"] for entry in verdicts(session, source).values()]
    assert told == ["2", "two", "coin", "a", "object"]


def test_the_coins_of_a_test_are_the_same_in_every_process(pytester: pytest.Pytester) -> None:
    source = (
        COINS + "@pytest.mark.guarantee(delta=.05)\n@pytest.mark.parametrize('value', [{'a', 'b', 'c', 'd', 'e'}])\n"
    )
    pytester.makepyfile(source + "def test_it(guarantee, value): guarantee.check(partial(coin, rate=.3))\n")
    told = []
    for seed in "12":  # of Python's hashes, and thereby of the order of a set
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--guarantee-json=out.json"]
        subprocess.run(command, capture_output=True, check=False, env={**os.environ, "PYTHONHASHSEED": seed})
        told.append(json.loads(Path("out.json").read_text(encoding="utf-8"))["guarantees"][0]["verdict"])
    assert told[0] == told[1]


# power


def test_a_sabotaged_trial_must_be_refuted(session: Run) -> None:
    found = verdicts(session, check("coin, sabotage=partial(coin, rate=.4)"))
    entry = found["test_it.py::test_it"]
    assert (entry["outcome"], entry["verdict"]["verdict"], entry["sabotage"]["verdict"]) == (
        "passed",
        "upheld",
        "violated",
    )


def test_a_check_that_cannot_tell_a_broken_trial_is_powerless(session: Run) -> None:
    found = detectable(0.05, 2000)
    result = session(check("coin, sabotage=partial(coin, rate=.06)"))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "powerless: the sabotaged trial must be refuted, got * failures in 2000 trials against a claimed rate "
            f"<= 0.05 (undecided, max_trials); 2000 trials refute a rate of {found.violated} times 0.05 and uphold one "
            f"of {found.upheld} times that in 95 % of runs",
            "1 failed",
        ]
    )


def test_calibration_tells_power_and_passes_nothing(session: Run) -> None:
    result = session(FOUR, "--guarantee-calibrate", "-v")
    assert result.parseoutcomes() == {"calibrated": 4, "passed": 1}
    result.stdout.fnmatch_lines(
        [
            "*CALIBRATED*",
            "test_it.py::test_rate[[]0.1[]]: about * trials/s, 2000 in the budget: 2000 trials refute a rate of * "
            f"times 0.05 and uphold one of {detectable(0.05, 2000).upheld} times that in 95 % of runs; 146 trials "
            "uphold it if none fails (* s), and 1* trials refute a rate of 0.1",
        ]
    )
    assert not {"UPHELD", "FAILED", "UNDECIDED"} & set(result.stdout.str().split())


# signs of a weak check

WEAK = {
    "too_few_trials": check(options="delta=.001"),
    "idle_streams": check("lambda rng, n: np.arange(n) < 0"),
    "shared_inputs": check("lambda rng, x: rng.random(len(x)) < 0, inputs=np.ones((200, 2))"),
    "shared_coins": check("lambda rng, n: np.full(n, rng.random() < .5)", options="delta=.5, batch=4"),
    "constant_outcome": check("lambda rng, n: rng.random(n) < 2", options="delta=.05, max_trials=3"),
    "nonfinite": check("lambda rng, n: np.log(rng.random(n) - 1.5) > 0"),
    "slow_trial": check(
        "slow", before="import time\ndef slow(rng, n):\n    time.sleep(.02)\n    return rng.random(n) < 0\n"
    ),
}


@pytest.mark.parametrize("name", WEAK)
def test_a_weak_check_is_told_unless_its_sign_is_suppressed(session: Run, name: str) -> None:
    args = ("-Wignore::RuntimeWarning", "--guarantee-budget=100ms" if name == "slow_trial" else "--guarantee-budget=5s")
    first = session(WEAK[name], *args)
    first.stdout.fnmatch_lines([f"test_it.py::test_it: {name}: *"])
    assert first.ret == 0
    quiet = session(WEAK[name], *args, f"--guarantee-suppress={name}").stdout.str()
    assert f"test_it: {name}:" not in quiet
    result = session(WEAK[name], *args, "--guarantee-health=error")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"a weak check:*{name}: *"])


def test_every_sign_has_its_test_and_a_sound_check_has_none(session: Run) -> None:
    assert set(WEAK) == set(HEALTH)
    assert all(entry["health"] == [] for entry in verdicts(session, FOUR).values())


def test_a_warning_of_numpy_is_still_given(session: Run) -> None:
    result = session(WEAK["nonfinite"], "-Werror::RuntimeWarning")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E*RuntimeWarning: invalid value encountered in a trial"])


# options


@pytest.mark.parametrize(
    ("option", "text", "value"),
    [
        ("budget", "5s", 5.0),
        ("budget", "2m", 120.0),
        ("budget", "1h", 3600.0),
        ("budget", "250ms", 0.25),
        ("budget", "1.5", 1.5),
        ("budget", "none", None),
        ("budget", "9" * 400, "a time such as 5s, 2m or 1h, or none"),
        ("budget", "0s", "a time such as 5s, 2m or 1h, or none"),
        ("budget", "5 apples", "a time such as 5s, 2m or 1h, or none"),
        ("max-trials", "20", 20),
        ("max-trials", "0", "a whole number of at least 1"),
        ("alpha", "1e-9", 1e-9),
        ("alpha", "1", r"a number in \(0, 1\)"),
        ("conf", "x", r"a number in \(0, 1\)"),
        ("seed", "claim", "claim"),
        ("seed", "-3", "claim, fresh or a whole number of at least 0"),
        ("require", "upheld", "upheld"),
        ("require", "violated", "one of not-violated, upheld"),
        ("executor", "process:8", "process:8"),
        ("executor", "process:0", "serial, process:N or dask:ADDRESS"),
        ("replay", "0", 0),
        ("replay", "-1", "the index of a trial, from 0 on"),
    ],
)
def test_options_are_read_or_refused(option: str, text: str, value: Any) -> None:
    (found,) = (o for o in OPTIONS if o.name == option)
    if isinstance(value, str) and value != text:
        with pytest.raises(ValueError, match=f"^{value}$"):
            found.read(text)
    else:
        assert found.read(text) == value


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["--guarantee-alpha=2"], "*--guarantee-alpha must be a number in (0, 1), got '2'."),
        (["--guarantee-suppress=sloth"], "*--guarantee-suppress must be names out of *, got 'sloth'."),
        (
            ["--guarantee-only", "--guarantee-skip"],
            "*--guarantee-only must not be given together with --guarantee-skip*",
        ),
        (["--guarantee-ledger=l", "--guarantee-seed=fresh"], "*--guarantee-ledger must not be given together with*"),
        (["--guarantee-json=."], "*--guarantee-json: an output file must not be a folder, got *"),
        (["--guarantee-compare=last"], "*--guarantee-compare=last needs a saved session, got none in .guarantees/."),
        (
            ["--guarantee-compare=empty.json"],
            "*--guarantee-compare must name a session's file of format *, got empty.json.",
        ),
        (["--guarantee-compare=test_it.py"], "*--guarantee-compare must name a readable file, got test_it.py: *"),
    ],
)
def test_options_that_make_no_sense_are_refused_before_any_test(session: Run, args: list[str], told: str) -> None:
    Path("empty.json").write_text('{"schema": "boundlab.guarantees/1"}', encoding="utf-8")
    result = session(FOUR, *args)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([told])


def test_the_ini_file_sets_options_and_the_command_line_overrides_them(pytester: pytest.Pytester, session: Run) -> None:
    ini = "[pytest]\nguarantee_alpha = 1e-3\nguarantee_require = upheld\nguarantee_suppress = too_few_trials\n"
    pytester.makeini(ini)
    result = session(check(options="delta=.001"), "--guarantee-alpha=1e-2")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["guarantees: profile local, alpha 0.01 for all checks*, all must be upheld"])
    assert "too_few_trials" not in result.stdout.str()
    pytester.makeini(ini.replace("1e-3", "yes"))
    told = session(check()).stderr
    told.fnmatch_lines(["*guarantee_alpha must be a number in (0, 1), got 'yes'."])


def test_only_skip_and_disable(session: Run) -> None:
    session(FOUR, "--guarantee-only").assert_outcomes(passed=2, failed=1, deselected=1)
    session(FOUR, "--guarantee-skip").assert_outcomes(passed=1, deselected=4)
    result = session(FOUR, "--guarantee-disable", "--guarantee-require=upheld", "--guarantee-health=error", "-v")
    result.assert_outcomes(passed=5)
    result.stdout.fnmatch_lines(["*SMOKE*", "test_it.py::test_rate[[]0.0[]] * 8 * smoke *", "4 smoke"])


def test_the_profile_and_the_seed_are_in_the_header(session: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    seeds = set()
    for _ in range(2):
        result = session(check(), "--guarantee-seed=fresh", "--guarantee-json=out.json")
        (line,) = (line for line in result.outlines if line.startswith("guarantees: profile ci"))
        told = json.loads(Path("out.json").read_text(encoding="utf-8"))
        seed = told["options"]["seed"]
        assert f"seed {seed}," in line
        assert told["guarantees"][0]["verdict"]["stream"]["seed"] == seed
        seeds.add(seed)
    assert len(seeds) == 2


def test_other_tests_may_use_our_words(session: Run) -> None:
    session("def test_it(record_property): record_property('guarantee', 'of origin')\n").assert_outcomes(passed=1)


# where it runs


def test_workers_of_xdist_find_the_same_and_their_controller_tells_it(session: Run) -> None:
    result = session(FOUR, "-p", "xdist", "-n2", "--guarantee-seed=fresh", "--guarantee-save")
    result.assert_outcomes(passed=3, failed=1)
    assert result.parseoutcomes()["undecided"] == 1
    result.stdout.fnmatch_lines(["1 failed, 2 upheld, 1 undecided"])
    (saved,) = Path(".guarantees").glob("*.json")
    told = json.loads(saved.read_text(encoding="utf-8"))
    seed = told["options"]["seed"]
    alone = verdicts(session, FOUR, f"--guarantee-seed={seed}")
    assert {entry["test"]: entry["verdict"] for entry in told["guarantees"]} == {
        test: entry["verdict"] for test, entry in alone.items()
    }
    assert {entry["verdict"]["stream"]["seed"] for entry in alone.values()} == {seed} != {0}


def test_a_pool_of_processes_is_shared_and_finds_the_same(session: Run) -> None:
    alone = verdicts(session, FOUR)
    there = verdicts(session, FOUR, "--guarantee-executor=process:2", "--guarantee-budget=1m")
    assert {k: v["verdict"] for k, v in there.items()} == {k: v["verdict"] for k, v in alone.items()}


def test_the_plugin_imports_nothing_but_pytest() -> None:
    code = "import sys, boundlab.pytest_plugin; print({'numpy', 'scipy', 'torch', 'numba'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_a_check_of_a_function_imports_no_compressor(pytester: pytest.Pytester) -> None:
    seen = "    import sys\n    assert not {'torch', 'numba', 'matplotlib', 'pandas'} & set(sys.modules)\n"
    pytester.makepyfile(check() + seen)
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)


# files


def test_the_json_of_a_session_follows_its_schema(session: Run) -> None:
    session(FOUR, "--guarantee-json=deep/out.json")
    told = json.loads(Path("deep/out.json").read_text(encoding="utf-8"))
    validate(told, "guarantees")
    assert [e["outcome"] for e in told["guarantees"]] == ["passed", "passed", "passed", "failed"]
    session(check("coin, sabotage=partial(coin, rate=.4)"), "--guarantee-json=out.json", "--guarantee-disable")
    validate(json.loads(Path("out.json").read_text(encoding="utf-8")), "guarantees")


@pytest.mark.parametrize(
    "claim",
    [
        Claim(name="joint", delta=0.2),
        Claim(name="nested", delta=0.2, over="coins, P_x", gamma=0.1),
        Claim(name="nothing fails", delta=1e-3, parameters={"m": [1, 2]}),
    ],
    ids=lambda claim: claim.name,
)
def test_the_json_of_a_verdict_follows_its_schema(claim: Claim) -> None:
    for rate in (0.0, 0.5):
        validate(verify(claim, partial(coin, rate=rate), max_trials=50, executor=1).to_dict(), "verdict")


def test_saved_sessions_are_numbered_and_compared(session: Run) -> None:
    session(FOUR, "--guarantee-save")
    changed = FOUR.replace("[0.0, 0.01, 0.045, 0.1]", "[0.0, 0.01, 0.045, 0.9]").replace(
        "partial(coin, rate=rate)", "partial(coin, rate=0.9 if rate == 0.01 else rate)"
    )
    result = session(changed, "--guarantee-save", "--guarantee-compare=last")
    assert sorted(p.name for p in Path(".guarantees").iterdir()) == ["0001_nocommit.json", "0002_nocommit.json"]
    result.stdout.fnmatch_lines(
        [
            "compared with *, no commi",
            "test  *old *new *trials old *new *fail old *new",
            "test_it.py::test_rate[[]0.0[]] *upheld *upheld *146 *146 *0 *0",
            "test_it.py::test_rate[[]0.01[]] *upheld *violated *changed",
            "test_it.py::test_rate[[]0.9[]] *- *violated *new",
            "test_it.py::test_rate[[]0.1[]] *violated *- *gone",
        ]
    )


def test_a_saved_session_names_its_commit(session: Run) -> None:
    git = partial(subprocess.run, check=True, capture_output=True, text=True)
    git(["git", "init", "-q"])
    git(["git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "first"])
    session(check(), "--guarantee-save")
    commit = git(["git", "rev-parse", "HEAD"]).stdout.strip()
    (saved,) = Path(".guarantees").iterdir()
    assert saved.name == f"0001_{commit[:8]}_uncommitted.json"
    assert json.loads(saved.read_text(encoding="utf-8"))["commit"] == {"id": commit, "dirty": True}


def test_the_table_is_added_to_the_summary_of_github(session: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Path("summary.md").absolute()
    page.write_text("before\n", encoding="utf-8")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page))
    session(FOUR, "-k", "0.0 or plain")
    lines = page.read_text(encoding="utf-8").splitlines()
    assert lines[:3] == ["before", "### Guarantees", ""]
    assert lines[3].startswith("| test | claim | trials | fail |")
    assert lines[5].startswith("| `test_it.py::test_rate[0.0]` | <= 0.05 | 146 | 0 | 0.00e+00 | upheld |")
    assert "2 upheld, 1 undecided" in lines
    session(check().replace("def test_it(", "@pytest.mark.parametrize('f', ['a|<b>'])\ndef test_it(f, "))
    assert page.read_text(encoding="utf-8").splitlines()[-4].startswith("| `test_it.py::test_it[a\\|<b>]` |")
    lines = page.read_text(encoding="utf-8").splitlines()
    session("def test_plain(): pass")
    assert page.read_text(encoding="utf-8").splitlines() == lines


def test_a_summary_that_cannot_be_written_is_told_and_breaks_nothing(
    session: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "no/such/folder.md")
    result = session(check())
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["$GITHUB_STEP_SUMMARY: not written: *"])


def test_a_saved_session_has_the_next_number(session: Run) -> None:
    Path(".guarantees").mkdir()
    for name in ("9999_nocommit.json", "10000_nocommit.json"):
        (Path(".guarantees") / name).write_text("kept", encoding="utf-8")
    session(check(), "--guarantee-save")
    assert (Path(".guarantees") / "10000_nocommit.json").read_text(encoding="utf-8") == "kept"
    assert (Path(".guarantees") / "10001_nocommit.json").exists()


# the ledger


def test_a_ledger_continues_the_evidence_of_earlier_sessions(session: Run) -> None:
    args = ("--guarantee-ledger=nights", "--guarantee-max-trials=60")
    trials, states = [], []
    for _ in range(4):
        (entry,) = verdicts(session, check(), *args).values()
        trials.append(entry["verdict"]["trials"])
        states.append(entry["verdict"]["verdict"])
        assert entry["health"] == []
    assert trials == [60, 120, 146, 146]
    assert states == ["undecided", "undecided", "upheld", "upheld"]
    (entry,) = verdicts(session, check(before="# other code"), *args).values()
    assert entry["verdict"]["trials"] == 60
    (entry,) = verdicts(session, check(before="# still other code"), *args, "--guarantee-code=v1").values()
    (entry,) = verdicts(session, check(before="# and other code"), *args, "--guarantee-code=v1").values()
    assert entry["verdict"]["trials"] == 120


def test_two_tests_of_one_claim_have_a_ledger_each(session: Run) -> None:
    source = COINS + "from boundlab import Claim\nclaim = Claim(name='c', delta=.05)\n"
    source += "".join(f"def test_{k}(guarantee): guarantee.check(coin, claim=claim)\n" for k in "ab")
    found = verdicts(session, source, "--guarantee-ledger=nights", "--guarantee-max-trials=60")
    assert [entry["verdict"]["trials"] for entry in found.values()] == [60, 60]


def test_a_ledger_starts_anew_with_code_above_the_root(pytester: pytest.Pytester) -> None:
    (pytester.path / "pyproject.toml").touch()
    (pytester.path / "tests").mkdir()
    (pytester.path / "tests" / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    (pytester.path / "tests" / "test_it.py").write_text(check(), encoding="utf-8")
    trials = []
    for text in ("", "# other code"):
        (pytester.path / "subject.py").write_text(text, encoding="utf-8")
        args = ("--guarantee-ledger=nights", "--guarantee-max-trials=60", "--guarantee-json=out.json")
        pytester.runpytest_subprocess("-p", "no:cacheprovider", *args, "tests")
        trials.append(json.loads(Path("out.json").read_text(encoding="utf-8"))["guarantees"][0]["verdict"]["trials"])
    assert trials == [60, 60]


def test_a_ledger_refuses_a_test_whose_code_it_does_not_see(
    pytester: pytest.Pytester, session: Run, tmp_path_factory: pytest.TempPathFactory
) -> None:
    away = tmp_path_factory.mktemp("elsewhere") / "test_away.py"
    away.write_text(check(), encoding="utf-8")
    args = (str(away), f"--rootdir={pytester.path}", "--guarantee-ledger=nights")
    result = session(FOUR, *args)
    result.stdout.fnmatch_lines(["E*InvalidParameter: a test with a ledger must lie in *, got *test_away.py; *"])
    session(FOUR, *args, "--guarantee-code=v1").assert_outcomes(passed=1)


def test_a_ledger_takes_e_processes_only(session: Run) -> None:
    result = session(check(options="delta=.05, method='fixed'"), "--guarantee-ledger=nights")
    result.stdout.fnmatch_lines(["E*InvalidParameter: a ledger goes on with e-processes only, got method='fixed'."])


def test_an_interrupted_session_keeps_what_was_decided(session: Run) -> None:
    tired = """
calls = []
def tired(rng, n):
    calls.append(1)
    if len(calls) == 100:
        raise KeyboardInterrupt
    return coin(rng, n)
"""
    args = ("--guarantee-ledger=nights", "--guarantee-json=out.json", "--guarantee-code=v1")
    result = session(check("tired", before=tired), *args)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    (entry,) = json.loads(Path("out.json").read_text(encoding="utf-8"))["guarantees"]
    done = entry["verdict"]["trials"]
    assert 0 < done < 100
    assert entry["outcome"] == "interrupted"
    result.stdout.fnmatch_lines(
        [
            "test_it.py::test_it: interrupted; the ledger holds its trials; run the same once more: pytest *nights*",
            "1 undecided",
        ]
    )
    (entry,) = verdicts(session, check("coin", before=tired), *args, "--guarantee-max-trials=10").values()
    assert entry["verdict"]["trials"] == done + 10


def test_tables_count_every_state_of_the_library() -> None:
    assert {str(state) for state in State} <= set(STATES)
