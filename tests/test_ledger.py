"""The recorded ledger is that of the theorem files, and reads well from the command line."""

from __future__ import annotations

import json

import pytest

from boundlab import InvalidParameter, theorems
from boundlab.cli import main
from boundlab.ledger import CHECKS, STATUSES
from proofs_checks import NotApplicable, ledger
from proofs_checks.pages import FOLDER, render
from proofs_checks.recording import static

LEDGER = ledger()


def test_every_theorem_is_recorded_and_nothing_else() -> None:
    recorded = [entry.key for entry in theorems()]
    assert recorded == sorted(LEDGER), "run: python -m proofs_checks --record KEY"
    assert len(recorded) >= 60


@pytest.mark.parametrize("slug", LEDGER)
def test_the_record_states_what_the_theorem_file_states(slug: str) -> None:
    entry = theorems()[slug].to_dict()
    for field, value in static(slug).items():
        said = entry[field]
        assert (list(said) if isinstance(said, tuple) else said) == value, (
            f"{field}: python -m proofs_checks --record {slug}"
        )


@pytest.mark.parametrize("slug", LEDGER)
def test_the_record_has_the_evidence_of_a_deep_run(slug: str) -> None:
    entry, module = theorems()[slug], LEDGER[slug]
    assert entry.effort >= 5
    assert entry.status in STATUSES
    for check in CHECKS:
        line = getattr(entry, check)
        assert line
        assert line.startswith("not applicable: ") == isinstance(getattr(module, check), NotApplicable)
    assert (entry.trials > 0) != isinstance(module.monte_carlo, NotApplicable)
    listed = [(m.file, m.old, m.new) for m in getattr(module, "MUTATIONS", ())]
    assert [(m.file, m.old, m.new) for m in entry.mutants] == listed
    assert all(m.killed_by for m in entry.mutants)


def test_at_least_thirty_wrong_lines_are_noticed() -> None:
    assert len({(m.file, m.old, m.new) for entry in theorems() for m in entry.mutants}) >= 30


def test_the_pages_are_those_of_the_record() -> None:
    pages = render()
    assert {path.name for path in FOLDER.glob("*.md")} == set(pages), "run: python -m proofs_checks --pages"
    for name, text in pages.items():
        assert (FOLDER / name).read_text(encoding="utf-8") == text, f"{name}: python -m proofs_checks --pages"


def test_the_command_prints_one_object_per_theorem(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["theorems", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["key"] for row in rows} == set(LEDGER)
    for row in rows:
        assert {"key", "name", "source", "status", *CHECKS, "slack"} <= set(row)
    assert main(["theorems", "--json", "baykal2019_assumption_2"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["status"] == "refuted"


def test_the_command_prints_a_table_and_one_theorem_whole(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["theorems"]) == 0
    table = capsys.readouterr().out
    assert all(slug in table for slug in LEDGER)
    assert main(["theorems", "baykal2019_assumption_2"]) == 0
    assert "monte_carlo" in capsys.readouterr().out


def test_an_unknown_theorem_gets_its_neighbours(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["theorems", "baykal2019_asumption_2"]) == 2
    assert "baykal2019_assumption_2" in capsys.readouterr().err
    with pytest.raises(InvalidParameter, match="key of the ledger"):
        theorems()["no such theorem"]


def test_the_ledger_is_a_record() -> None:
    book = theorems()
    assert sum(book.count(status) for status in STATUSES) == len(book) == len(book.to_frame())
    assert len(book["baykal2019_assumption_2"].to_frame()) == len(CHECKS)
