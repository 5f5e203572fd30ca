"""Every bound in a world with known risk: no simulation refutes it, and its sabotage is refuted.

All runs are seeded. Were they not, a bound that holds would be called violated with probability at most 1e-6 each, and
one that is upheld here wrongly so with at most 1e-3 (`verify`). ``docs/results/bound_violations.py`` is the long form.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import proofs_checks
from boundlab.verification import State, Verdict, verify
from tests.violation_cases import cases
from tests.worlds import Case, Sampler, trial

CASES = {case.name: case for case in cases()}
SHORT = [name for name, case in CASES.items() if case.short]
SABOTAGE = [(name, what) for name in SHORT for what in CASES[name].sabotage]


def judged(case: Case, says: Sampler, sabotage: str = "") -> Verdict:
    most = 12_000 if case.batch == 500 else 400
    return verify(case.claim(sabotage), trial(says), max_trials=most, batch=case.batch, executor=1)


@pytest.mark.parametrize("name", SHORT)
def test_a_bound_fails_no_more_often_than_it_says(name: str) -> None:
    case = CASES[name]
    found = judged(case, case.says)
    assert found.state is not State.VIOLATED, found.resolution
    assert case.tight or found.state is State.UPHELD, found.resolution


@pytest.mark.parametrize(("name", "what"), SABOTAGE)
def test_a_sabotaged_bound_is_caught(name: str, what: str) -> None:
    case = CASES[name]
    judged(case, case.sabotage[what], what).require(State.VIOLATED)


def test_a_bound_without_sabotage_says_why() -> None:
    assert len(CASES) == len(cases()), "two cases of one name"
    assert [name for name, case in CASES.items() if bool(case.sabotage) == bool(case.reason)] == []


@pytest.mark.parametrize("slug", sorted({case.theorem for case in CASES.values()}))
def test_a_theorem_of_a_case_has_its_file(slug: str) -> None:
    assert (Path(proofs_checks.__file__).parent / f"{slug}.py").exists()
