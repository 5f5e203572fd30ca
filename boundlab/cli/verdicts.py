"""boundlab verdicts | ledger: what earlier runs said."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from boundlab._errors import InvalidParameter, one_line
from boundlab.cli.console import stdout

COLUMNS = ("claim", "delta", "verdict", "trials", "failures", "unknown", "low", "high", "stopped because")


def show(args: argparse.Namespace) -> int:
    """Print the verdicts of a file as a table, beside those of an older one if it is given."""
    new = _verdicts(args.file)
    old = {name: told["verdict"] for name, told in _verdicts(args.compare)} if args.compare else None
    rows = []
    for name, told in new:
        low, high = told["interval"]
        row = [name, f"{told['claim']['delta']:g}", told["verdict"]]
        row += [f"{told[field]:,}" for field in ("trials", "failures", "unknown")]
        row += [f"{low:.4g}", f"{high:.4g}", told["stopped_because"]]
        rows.append(row if old is None else [*row, _change(old.get(name), told["verdict"])])
    names = {name for name, _ in new}
    gone = [] if old is None else [[name, *[""] * (len(COLUMNS) - 1), "gone"] for name in old if name not in names]
    _print(COLUMNS if old is None else (*COLUMNS, "before"), [*rows, *gone])
    return 0


def ledger(args: argparse.Namespace) -> int:
    """Print a ledger's processes, after taking over another ledger's if one is given."""
    from boundlab.verification.evidence_ledger import EvidenceLedger

    for folder in (args.folder, *([args.merge] if args.merge else [])):
        if not Path(folder).is_dir():
            raise InvalidParameter(f"a ledger must be an existing folder, got {folder}.")
    kept = EvidenceLedger(args.folder)
    if args.merge:
        stdout().print(f"{kept.merge(EvidenceLedger(args.merge))} processes taken over from {args.merge}.")
    rows = kept.rows()
    if args.json:
        print(json.dumps(rows, indent=1, ensure_ascii=False))
        return 0
    _print(
        [name.replace("_", " ") for name in rows[0]] if rows else ["claim"],
        [[str(v) for v in r.values()] for r in rows],
    )
    return 0


def _verdicts(path: str) -> list[tuple[str, dict[str, Any]]]:
    """(name, verdict) of a verdict's JSON file, or of each test in a session's."""
    try:
        told = json.loads(Path(path).read_text(encoding="utf-8"))
        if told["schema"].startswith("boundlab.verdict/"):
            return [(told["claim"]["name"], told)]
        if told["schema"].startswith("boundlab.guarantees/"):
            return [(entry["test"], entry["verdict"]) for entry in told["guarantees"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
        raise InvalidParameter(
            f"a file of verdicts must be one that boundlab wrote, got {path}: {one_line(fault)}."
        ) from None
    raise InvalidParameter(f"a file of verdicts must hold a verdict or a session, got {told['schema']!r} in {path}.")


def _change(before: str | None, now: str) -> str:
    return "new" if before is None else "same" if before == now else before


def _print(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table()
    for name in columns:
        table.add_column(
            name, justify="right" if name in ("delta", "trials", "failures", "unknown", "low", "high") else "left"
        )
    for row in rows:
        table.add_row(*map(escape, row))
    stdout().print(table)
