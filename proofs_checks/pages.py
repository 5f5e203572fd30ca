"""The ledger as pages: ``docs/theorems/<key>.md``, one per theorem, and an index."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

from boundlab.files import write_atomically
from proofs_checks import CHECKS
from proofs_checks.recording import read

FOLDER = Path(__file__).parents[1] / "docs" / "theorems"
TITLES = {"symbolic": "Symbolic", "exact": "Exact", "monte_carlo": "Monte Carlo", "teeth": "Teeth"}
MEANING = {
    "holds": "true as stated; the checks run",
    "corrected": "the published form is wrong or loose; the statement that holds stands beside it",
    "refuted": "false; the file holds a counterexample",
    "vacuous": "true, and without content on real nets; the file measures that",
}
HEADER = "<!-- written by `python -m proofs_checks --pages`; edit the theorem file instead -->"


def write_pages() -> int:
    """Write every page, remove those of theorems that are gone; the number of pages."""
    pages = render()
    for old in FOLDER.glob("*.md"):
        if old.name not in pages:
            old.unlink()
    write_atomically({FOLDER / name: text for name, text in pages.items()})
    return len(pages)


def render() -> dict[str, str]:
    """Every page by file name."""
    entries = read()
    return {"index.md": index(entries)} | {f"{entry['key']}.md": page(entry) for entry in entries}


def index(entries: list[dict[str, Any]]) -> str:
    """The table of all theorems."""
    counts = {status: sum(e["status"] == status for e in entries) for status in MEANING}
    mutants = sum(len(e["mutants"]) for e in entries)
    trials = sum(e["trials"] for e in entries)
    lines = [
        HEADER,
        "",
        "# The theorem ledger",
        "",
        f"{len(entries)} statements, each with checks that run: "
        + ", ".join(f"{n} {status}" for status, n in counts.items())
        + ".",
        "",
        *(f"- **{status}**: {text}." for status, text in MEANING.items()),
        "",
        f"The evidence is that of the deep runs: {trials:,} Monte Carlo trials, and {mutants} lines of shipped code "
        "made wrong one at a time, each noticed by a check of the theorem that guards it. *Slack* is the smallest "
        "factor by which the statement may be sabotaged and is caught.",
        "",
        "| theorem | status | slack | trials | run of |",
        "|---|---|--:|--:|---|",
    ]
    for e in entries:
        slack = "–" if e["slack"] is None else f"{e['slack']:.3g}"
        trials_ = f"{e['trials']:,}" if e["trials"] else "–"
        name = f"[{_escape(e['name'])}]({e['key']}.md)<br>`{e['key']}`"
        lines.append(f"| {name} | {e['status']} | {slack} | {trials_} | {e['date']} |")
    return "\n".join(lines) + "\n"


def page(entry: dict[str, Any]) -> str:
    """One theorem: statement, premises, proof, code, evidence."""
    key = entry["key"]
    proof = (import_module(f"proofs_checks.{key}").__doc__ or "").strip()
    lines = [HEADER, "", f"# {_escape(entry['name'])}", "", f"**{entry['status']}**: {MEANING[entry['status']]}."]
    if entry["finding"]:
        lines += ["", f"**Finding.** {_escape(entry['finding'])}"]
    if entry["ours"]:
        other = f"[`{entry['ours']}`]({entry['ours']}.md)"
        lines += ["", f"**What holds in its place.** {'The statement below' if entry['ours'] == key else other}."]
    lines += ["", f"**Source.** {_escape(entry['source'])}", "", "**Premises.**", ""]
    lines += [f"- {_escape(premise)}" for premise in entry["given"]]
    lines += ["", "**Claim.**", "", "$$", entry["claim"], "$$", "", "## Statement and proof", "", *_prose(proof)]
    lines += ["", "## Where it is used", ""]
    lines += [f"- [`{name}`](../../{_file(name)})" for name in entry["implemented_by"]]
    lines += [
        "",
        f"## Evidence of {entry['date']}",
        "",
        f"The checks are [`proofs_checks/{key}.py`](../../proofs_checks/{key}.py); this is the deep run, with "
        f"{entry['effort']} times the trials of the tests. `python -m proofs_checks --run {key}` runs them here.",
        "",
        "| check | found |",
        "|---|---|",
        *(f"| {TITLES[check]} | {_cell(entry[check])} |" for check in CHECKS),
    ]
    if entry["slack"] is not None:
        lines += ["", f"Slack: {entry['slack']:.3g}. A smaller sabotage is not caught at this effort."]
    if entry["mutants"]:
        lines += ["", "Shipped code made wrong, and the check that noticed:", "", "| file | line | made | noticed by |"]
        lines += ["|---|---|---|---|"]
        lines += [
            f"| {m['file']} | {_code(m['old'])} | {_code(m['new'])} | {_cell(m['killed_by'])} |"
            for m in entry["mutants"]
        ]
    return "\n".join(lines) + "\n"


def _file(name: str) -> str:
    """The path of the file that defines a qualified name."""
    root = FOLDER.parents[1]
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        for path in (root.joinpath(*parts[:length]).with_suffix(".py"), root.joinpath(*parts[:length], "__init__.py")):
            if path.is_file():
                return path.relative_to(root).as_posix()
    raise FileNotFoundError(name)


def _prose(text: str) -> list[str]:
    """A docstring as Markdown: paragraphs and lists without their line breaks, indented formulas as they stand."""
    found: list[str] = []
    for block in text.split("\n\n"):
        kind = ""  # of the line before: paragraph, item or formula
        for line in block.splitlines():
            item = re.match(r"([*-]|[A-Z]\d|\(\w+\)|\d+\.)\s+", line)
            indented = line.startswith("    ") and kind != "item"
            if item:
                label = item[1] + " " if item[1] not in "*-" else ""
                found += ["", f"- {label}{_escape(line[item.end() :].strip())}"]
            elif indented:
                found += [line] if kind == "formula" else ["", line]
            elif kind in ("paragraph", "item"):
                found[-1] += " " + _escape(line.strip())
            else:
                found += ["", _escape(line.strip())]
            kind = (
                "item" if item or (kind == "item" and line.startswith(" ")) else "formula" if indented else "paragraph"
            )
    return found[1:]


def _escape(text: str) -> str:
    """Text whose formulas Markdown must not read as its own marks."""
    return re.sub(r"([\\`*_\[\]<>|$~#])", r"\\\1", text)


def _cell(text: str) -> str:
    return _escape(" ".join(text.split()))


def _code(text: str) -> str:
    return f"`` {' '.join(text.replace('|', chr(92) + '|').split())} ``"
