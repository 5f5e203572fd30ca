"""The theorem ledger: what was proved, what was refuted, and what the last deep run of the checks found.

The checks live beside the package, in ``proofs_checks/``; their results travel with it, in ``theorems.json``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.resources import files

from boundlab._errors import InvalidParameter
from boundlab.records import Record, Row

CHECKS = ("symbolic", "exact", "monte_carlo", "teeth")
STATUSES = ("holds", "corrected", "refuted", "vacuous")


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """A line of shipped code made wrong, and the check that failed on it."""

    file: str
    old: str
    new: str
    killed_by: str


@dataclass(frozen=True, kw_only=True, eq=False)
class LedgerEntry(Record):
    """One theorem: its statement, its status, and the evidence of its four checks.

    `status` is "holds"; "corrected" (`ours` names the statement that holds in its place); "refuted" (the file holds a
    counterexample); or "vacuous" (true, and without content on real nets). `finding` says what is wrong or how vacuous
    it is. `symbolic`, `exact`, `monte_carlo` and `teeth` are the lines of evidence of the deep run of `date`, `trials`
    how many trials Monte Carlo judged, and `slack` the smallest factor by which the statement may be sabotaged and is
    caught (None where the sabotage has no factor).
    """

    key: str
    name: str
    statement: str
    source: str
    given: tuple[str, ...]
    claim: str
    status: str
    finding: str
    ours: str
    implemented_by: tuple[str, ...]
    symbolic: str
    exact: str
    monte_carlo: str
    teeth: str
    slack: float | None
    trials: int
    mutants: tuple[Mutant, ...]
    date: str
    effort: int
    code: str

    def rows(self) -> list[Row]:
        """One row per check: its name and its line of evidence."""
        return [{"check": check, "evidence": getattr(self, check)} for check in CHECKS]

    def to_dict(self) -> Row:
        """The entry as JSON values."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True, eq=False)
class Ledger(Record):
    """Every theorem, by key; ``ledger["baykal2019_assumption_2"]`` is one entry."""

    entries: tuple[LedgerEntry, ...]

    def rows(self) -> list[Row]:
        """One row per theorem: key, status, name, slack, trials, date."""
        names = ("key", "status", "name", "slack", "trials", "date")
        return [{name: getattr(entry, name) for name in names} for entry in self.entries]

    def __getitem__(self, key: str) -> LedgerEntry:
        for entry in self.entries:
            if entry.key == key:
                return entry
        from difflib import get_close_matches

        near = get_close_matches(key, [entry.key for entry in self.entries], n=3, cutoff=0.3)
        hint = f"; near it: {', '.join(near)}" if near else ""
        raise InvalidParameter(f"a theorem must be a key of the ledger, got {key!r}{hint}.")

    def __iter__(self) -> Iterator[LedgerEntry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def count(self, status: str) -> int:
        """How many theorems have that status."""
        return sum(entry.status == status for entry in self.entries)


def theorems() -> Ledger:
    """Return the theorem ledger, with the evidence of the last deep run of every check.

    Returns
    -------
    Ledger
        Iterable over its entries, indexed by key.

    Examples
    --------
    >>> theorems()["baykal2019_assumption_2"].status
    'refuted'
    """
    found = json.loads(files("boundlab").joinpath("theorems.json").read_text(encoding="utf-8"))
    return Ledger(entries=tuple(_entry(row) for row in found))


def _entry(row: Row) -> LedgerEntry:
    lists = {"given": tuple(row["given"]), "implemented_by": tuple(row["implemented_by"])}
    return LedgerEntry(**{**row, **lists, "mutants": tuple(Mutant(**m) for m in row["mutants"])})
