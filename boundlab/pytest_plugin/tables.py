"""What is told of verdicts, as text: the table, its markdown, and one paragraph for each way to fail."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

COLUMNS = ("test", "claim", "trials", "fail", "rate", "verdict", "log10 e-", "log10 e+", "stopped")
STATES = ("violated", "upheld", "undecided", "smoke")
Entry = dict[str, Any]


def summary(entries: Sequence[Entry], notes: Sequence[dict[str, Any]], *, quiet: bool = False) -> list[str]:
    """The lines of the terminal's summary; a quiet one leaves out what passed as upheld."""
    shown = [e for e in entries if not (quiet and e["outcome"] == "passed" and e["verdict"]["verdict"] == "upheld")]
    lines = aligned([COLUMNS, *map(_cells, shown)]) if shown else []
    lines += [f"{entry['test']}: {text}" for entry in entries for text in entry["health"]]
    lines += [f"{note['test']}: {note['text']}" for note in notes]
    return [*lines, totals(entries)] if entries else lines


def totals(entries: Sequence[Entry]) -> str:
    """How many failed, and of the others how many are upheld and how many undecided: "1 failed, 2 upheld"."""
    failed = sum(entry["outcome"] == "failed" for entry in entries)
    others = [_state(entry) for entry in entries if entry["outcome"] != "failed"]
    counts = [("failed", failed), *((state, others.count(state)) for state in STATES)]
    return ", ".join(f"{count} {name}" for name, count in counts if count)


def markdown(entries: Sequence[Entry]) -> str:
    """The table as markdown, for a page that a CI system shows."""
    rows = [[_code(test), *cells] for test, *cells in map(_cells, entries)]
    head = [f"| {' | '.join(COLUMNS)} |", "|" + " --- |" * len(COLUMNS)]
    body = [f"| {' | '.join(row)} |" for row in rows]
    signs = [f"- `{entry['test']}`: {text}" for entry in entries for text in entry["health"]]
    return "\n".join(["### Guarantees", "", *head, *body, "", totals(entries), "", *signs, ""])


def _code(name: str) -> str:
    """A test's name as markdown in a table, where it may hold any sign, such as those of `<lambda>`."""
    return f"`{name}`".replace("|", "\\|")


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns of one width each: the first to the left, the others to the right."""
    widths = [max(len(row[c]) for row in rows) for c in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(w) if c == 0 else cell.rjust(w) for c, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def _cells(entry: Entry) -> list[str]:
    """One line. The rate is there to be looked at only: counts are what is kept."""
    verdict = entry["verdict"]
    n, k, unknown = verdict["trials"], verdict["failures"], verdict["unknown"]
    return [
        entry["test"],
        f"<= {verdict['claim']['delta']:g}",
        str(n),
        f"{k}" + (f"+{unknown}?" if unknown else ""),
        f"{k / n:.2e}" if n else "-",
        _state(entry),
        log10(verdict["log_e_upheld"]),
        log10(verdict["log_e_violated"]),
        verdict["stopped_because"],
    ]


def _state(entry: Entry) -> str:
    """The verdict; of a few trials only, that it was one of a few trials."""
    state = entry["verdict"]["verdict"]
    return "smoke" if entry["smoke"] and state != "violated" else state


def log10(log_e: float | str | None) -> str:
    """A log e-value to base ten, one digit, rounded down."""
    if log_e is None or isinstance(log_e, str):
        return "-" if log_e is None else log_e
    return f"{math.floor(10 * log_e / math.log(10)) / 10:.1f}"


def violated(verdict: dict[str, Any], replay: str) -> str:
    """One paragraph on a guarantee that is violated."""
    level = f"{verdict['alpha_violated']:.3g}"
    if verdict["log_e_violated"] is None:
        evidence = f"refuted at level {level} by the method {verdict['method']}"
    else:
        evidence = f"e-value 10^{log10(verdict['log_e_violated'])} reaches 1/alpha, alpha = {level}"
    first = ", ".join(map(str, verdict["first_failures"][:3]))
    return (
        f"guarantee violated: {_counted(verdict)}, claimed rate <= {verdict['claim']['delta']:g}; {evidence}; "
        f"first failing trials {first}; replay: {replay}"
    )


def powerless(verdict: dict[str, Any], reason: str) -> str:
    """One paragraph on a check that does not refute a broken trial."""
    return (
        f"powerless: the sabotaged trial must be refuted, got {_counted(verdict)} against a claimed rate <= "
        f"{verdict['claim']['delta']:g} ({verdict['verdict']}, {verdict['stopped_because']}); {reason}"
    )


def not_upheld(verdict: dict[str, Any], resolution: str) -> str:
    """One paragraph on a guarantee that is undecided where upheld was required."""
    return (
        f"guarantee undecided: {_counted(verdict)}, claimed rate <= {verdict['claim']['delta']:g} "
        f"({verdict['stopped_because']}). {resolution}"
    )


def _counted(verdict: dict[str, Any]) -> str:
    unknown = f" and {verdict['unknown']} unknown" if verdict["unknown"] else ""
    return f"{verdict['failures']} failures{unknown} in {verdict['trials']} trials"
