"""Every check of every theorem file runs."""

from __future__ import annotations

import pytest

from proofs_checks import CHECKS, NotApplicable, Theorem, ledger

LEDGER = ledger()


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("slug", LEDGER)
def test_theorem(slug: str, check: str) -> None:
    evidence = getattr(LEDGER[slug], check)()
    assert isinstance(evidence, str)
    assert evidence, "a check returns its line of evidence"


@pytest.mark.parametrize("slug", LEDGER)
def test_every_file_states_a_theorem_and_at_least_two_checks_that_run(slug: str) -> None:
    module = LEDGER[slug]
    assert isinstance(module.THEOREM, Theorem)
    running = [c for c in CHECKS if not isinstance(getattr(module, c), NotApplicable)]
    assert len(running) >= 2
    assert not isinstance(module.teeth, NotApplicable), "no teeth, no theorem"
