"""The guides' examples run as they are printed."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from boundlab.claim_files import OPTIONS
from boundlab.verification import Claim

pytest_plugins = ["pytester"]

GUIDE = (Path(__file__).parents[1] / "docs" / "guarantees.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", GUIDE, re.M | re.S)


def blocks(language: str) -> list[str]:
    return [text for name, text in BLOCKS if name == language]


def test_the_python_examples_run_and_say_what_the_text_says() -> None:
    names: dict[str, Any] = {"__name__": "guide"}
    for text in blocks("python"):
        if not text.startswith(("# tests/", "# not run")):
            exec(text, names)
    assert str(names["verdict"].state) == "upheld"
    first = re.search(r"# upheld after (\d+) trials, with (\d+) failure", GUIDE)
    assert first is not None
    again = names["bl"].verify(names["bl"].Claim(name="Hoeffding, 100 coins", delta=0.0222), names["trial"])
    assert (again.trials, again.failures) == (int(first[1]), int(first[2]))


def test_the_ci_example_upholds_its_guarantee(pytester: pytest.Pytester) -> None:
    (test,) = [text for text in blocks("python") if text.startswith("# tests/test_projection.py")]
    pytester.makepyfile(test_projection=test)
    result = pytester.runpytest_subprocess("--guarantee-only", "--guarantee-budget=60s", "--guarantee-require=upheld")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*1 upheld*"])


def test_the_workflow_runs_options_that_exist(pytester: pytest.Pytester) -> None:
    (workflow,) = blocks("yaml")
    used = set(re.findall(r"--guarantee-[a-z-]+", workflow + GUIDE))
    known = pytester.runpytest_subprocess("--help").stdout.str()
    assert used
    assert {option for option in used if option not in known} == set()


def test_the_claim_file_has_the_tables_and_options_that_are_read() -> None:
    (text,) = blocks("toml")
    content = tomllib.loads(text)
    Claim(**content["claim"])
    assert set(content["run"]) <= {"trial", "inputs", *OPTIONS}
