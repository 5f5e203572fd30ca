"""The theorem ledger in the terminal: a table of all entries, and one entry whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from boundlab.ledger import CHECKS, STATUSES

if TYPE_CHECKING:
    from rich.console import RenderableType

    from boundlab.ledger import Ledger, LedgerEntry

COLOURS = {"holds": "green", "corrected": "yellow", "refuted": "red", "vacuous": "magenta"}


def overview(ledger: Ledger) -> list[RenderableType]:
    """One line per theorem: key, status, name, slack, trials; then what the statuses and numbers mean."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=f"The theorem ledger: {len(ledger)} statements", title_justify="left", pad_edge=False)
    table.add_column("key", no_wrap=True)
    table.add_column("status", no_wrap=True)
    table.add_column("theorem")
    table.add_column("slack", justify="right", no_wrap=True)
    table.add_column("trials", justify="right", no_wrap=True)
    for e in ledger:
        slack = "–" if e.slack is None else f"{e.slack:.3g}"
        status = Text(e.status, style=COLOURS[e.status])
        table.add_row(e.key, status, Text(e.name), slack, f"{e.trials:,}" if e.trials else "–")
    counts = ", ".join(f"{ledger.count(status)} {status}" for status in STATUSES)
    mutants = sum(len(e.mutants) for e in ledger)
    dates = sorted({e.date for e in ledger})
    when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    return [
        table,
        Text(f"{counts}. Deep runs of {when}; {mutants} lines of shipped code made wrong, all noticed."),
        Text("Slack: the smallest sabotage that is caught. One theorem whole: boundlab theorems KEY"),
    ]


def details(entry: LedgerEntry) -> list[RenderableType]:
    """One theorem whole: statement, premises, claim, status, code, evidence."""
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    status = Text.assemble((entry.status, f"bold {COLOURS[entry.status]}"), (f"  {entry.finding}", ""))
    parts: list[RenderableType] = [Text(entry.name, style="bold"), status, Text(""), Text(entry.statement), Text("")]
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(no_wrap=True, style="dim")
    table.add_column()
    rows = [("key", entry.key), ("source", entry.source)]
    rows += [("given" if k == 0 else "", premise) for k, premise in enumerate(entry.given)]
    rows += [("claim", entry.claim)]
    rows += [("instead", "as proved in its file" if entry.ours == entry.key else entry.ours)] if entry.ours else []
    rows += [("used by" if k == 0 else "", name) for k, name in enumerate(entry.implemented_by)]
    for left, right in rows:
        table.add_row(left, Text(right))
    evidence = Table(show_header=False, pad_edge=False, title=f"evidence of {entry.date}", title_justify="left")
    evidence.add_column(no_wrap=True)
    evidence.add_column()
    for check in CHECKS:
        evidence.add_row(check, Text(getattr(entry, check)))
    if entry.slack is not None:
        evidence.add_row("slack", f"{entry.slack:.3g}")
    if entry.mutants:
        evidence.add_row("mutations", f"{len(entry.mutants)} lines of shipped code made wrong, all noticed")
    return [*parts, table, Padding(evidence, (1, 0, 0, 0))]
