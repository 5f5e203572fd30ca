"""Every check of every theorem file runs."""

from __future__ import annotations

import inspect

import pytest

from proofs_checks import CHECKS, Evidence, Mutation, NotApplicable, Theorem, ledger

LEDGER = ledger()


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("slug", LEDGER)
def test_theorem(slug: str, check: str) -> None:
    module = LEDGER[slug]
    evidence = getattr(module, check)()
    if isinstance(getattr(module, check), NotApplicable):
        assert evidence
        return
    text = evidence.text if isinstance(evidence, Evidence) else evidence
    assert isinstance(text, str)
    assert text, "a check returns its line of evidence"
    if check == "monte_carlo":
        assert evidence.trials > 0, "Monte Carlo says how many trials it judged"
    if check == "teeth":
        assert isinstance(evidence, Evidence)
        assert evidence.slack is None or evidence.slack > 1


@pytest.mark.parametrize("slug", LEDGER)
def test_every_file_states_a_theorem_and_demonstrates_its_status(slug: str) -> None:
    module = LEDGER[slug]
    theorem = module.THEOREM
    assert isinstance(theorem, Theorem)
    running = [c for c in CHECKS if not isinstance(getattr(module, c), NotApplicable)]
    assert len(running) >= 2
    assert not isinstance(module.teeth, NotApplicable), "no teeth, no theorem"
    if "monte_carlo" in running:
        assert list(inspect.signature(module.monte_carlo).parameters) == ["effort"], "trials grow with the effort"
    if theorem.status == "holds":
        assert not theorem.finding, "a theorem that holds needs no finding"
    else:
        assert theorem.finding, f"{theorem.status}: say what is wrong, or how vacuous it is where"
    if theorem.status == "corrected":
        assert theorem.ours, "corrected: the statement that holds stands beside it"
    assert not theorem.ours or theorem.ours in LEDGER


@pytest.mark.parametrize("slug", LEDGER)
def test_every_mutation_names_one_line_of_shipped_code(slug: str) -> None:
    for mutation in getattr(LEDGER[slug], "MUTATIONS", ()):
        assert isinstance(mutation, Mutation)
        assert mutation.path.read_text(encoding="utf-8").count(mutation.old) == 1, mutation
        assert mutation.old != mutation.new
