"""Sessions as files: what was run, on what, and how each verdict compares with that of an earlier session."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from boundlab.pytest_plugin.settings import Settings
from boundlab.pytest_plugin.tables import Entry, aligned

SCHEMA = "boundlab.guarantees/1"
"""The format of a session's file; its JSON Schema is boundlab/report/guarantees.schema.json."""

FOLDER = ".guarantees"
"""Where --guarantee-save puts its files, below the root."""


def refuse_unwritable(settings: Settings) -> None:
    """Raise UsageError where the file of --guarantee-json cannot be written: before any test, not after all."""
    if settings.json is None:
        return
    from boundlab._errors import InvalidParameter
    from boundlab.files import writable

    try:
        writable(settings.json)
    except InvalidParameter as rule:
        raise pytest.UsageError(f"--guarantee-json: {rule}") from None


def write_all(settings: Settings, root: Path, entries: Sequence[Entry]) -> None:
    """Write the files that --guarantee-json and --guarantee-save ask for."""
    if settings.json is None and not settings.save:
        return
    from boundlab.files import write_atomically

    commit = _commit(root)
    text = json.dumps(session_dict(settings, commit, entries), indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    targets = [] if settings.json is None else [settings.json]
    if settings.save:
        name = "nocommit" if commit is None else commit["id"][:8] + ("_uncommitted" if commit["dirty"] else "")
        targets.append(root / FOLDER / f"{_next_number(root):04d}_{name}.json")
    write_atomically(dict.fromkeys(targets, text))


def session_dict(settings: Settings, commit: dict[str, Any] | None, entries: Sequence[Entry]) -> dict[str, Any]:
    """The session as JSON values."""
    from boundlab.verification.fingerprint import versions

    return {
        "schema": SCHEMA,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions() | {"pytest": pytest.__version__},
        "machine": {
            "system": platform.system(),
            "release": platform.release(),
            "machine": platform.machine(),
            "processor": platform.processor(),
            "python_implementation": platform.python_implementation(),
            "python_compiler": platform.python_compiler(),
            "cpus": os.cpu_count(),
        },
        "commit": commit,
        "options": {
            "budget_seconds": settings.budget,
            "max_trials": settings.max_trials,
            "alpha": settings.alpha,
            "conf": settings.conf,
            "seed": settings.seed,
            "require": settings.require,
            "executor": settings.executor,
            "health": settings.health,
            "suppress": list(settings.suppress),
            "ledger": settings.ledger is not None,
            "code": settings.code,
            "disable": settings.disable,
        },
        "guarantees": list(entries),
    }


def to_compare(settings: Settings, root: Path) -> dict[str, Any] | None:
    """The session that --guarantee-compare names; read before any test runs."""
    if settings.compare is None:
        return None
    if settings.compare == "last":
        saved = _saved(root)
        if not saved:
            raise pytest.UsageError(f"--guarantee-compare=last needs a saved session, got none in {FOLDER}/.")
        path = saved[-1]
    else:
        path = Path(settings.compare)
    try:
        session = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as fault:
        raise pytest.UsageError(f"--guarantee-compare must name a readable file, got {path}: {fault}.") from None
    if not _is_session(session):
        raise pytest.UsageError(f"--guarantee-compare must name a session's file of format {SCHEMA}, got {path}.")
    return session


def _is_session(told: Any) -> bool:
    """Whether a file holds what a comparison shows."""
    try:
        return told["schema"] == SCHEMA and bool(comparison(told, []))
    except (LookupError, TypeError, AttributeError):
        return False


def comparison(old: dict[str, Any], entries: Sequence[Entry]) -> list[str]:
    """A table of verdicts, old and new; what changed is marked."""
    before = {entry["test"]: entry["verdict"] for entry in old["guarantees"]}
    after = {entry["test"]: entry["verdict"] for entry in entries}
    rows = [["test", "old", "new", "trials old", "new", "fail old", "new", ""]]
    for test in [*after, *(name for name in before if name not in after)]:
        pair = before.get(test), after.get(test)
        states = [verdict["verdict"] if verdict else "-" for verdict in pair]
        trials = [str(verdict["trials"]) if verdict else "-" for verdict in pair]
        failures = [str(verdict["failures"]) if verdict else "-" for verdict in pair]
        mark = "" if states[0] == states[1] else "new" if pair[0] is None else "gone" if pair[1] is None else "changed"
        rows.append([test, *states, *trials, *failures, mark])
    commit = (old["commit"] or {"id": "no commit"})["id"][:8]
    return [f"compared with {old['date']}, {commit}", *(line.rstrip() for line in aligned(rows))]


def _saved(root: Path) -> list[Path]:
    return sorted((p for p in (root / FOLDER).glob("*.json") if p.name.partition("_")[0].isdecimal()), key=_number)


def _number(saved: Path) -> int:
    return int(saved.name.partition("_")[0])


def _next_number(root: Path) -> int:
    saved = _saved(root)
    return _number(saved[-1]) + 1 if saved else 1


def _commit(root: Path) -> dict[str, Any] | None:
    """The commit that is checked out at the root, and whether files differ from it."""

    def git(*args: str) -> str:
        return subprocess.run(["git", *args], cwd=root, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return {"id": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return None
