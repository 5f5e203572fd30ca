"""The theorem ledger: one theorem per file, each with four checks that run.

A theorem file holds ``THEOREM``, four functions ``symbolic``, ``exact``, ``monte_carlo`` and ``teeth``, and in
``MUTATIONS`` the lines of shipped code that its checks guard, each with a way in which it could be wrong. A check
returns one line of evidence (``Evidence`` where numbers belong to it) or raises AssertionError; one that cannot exist
is ``not_applicable("reason")``. The checks call the functions that boundlab ships: retyping a formula tests nothing.

``python -m proofs_checks`` prints the ledger; ``judging.py`` and ``proving.py`` hold what the checks share.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Literal

CHECKS = ("symbolic", "exact", "monte_carlo", "teeth")
NOT_THEOREMS = ("__main__", "judging", "proving", "mutating", "recording", "pages")


@dataclass(frozen=True, kw_only=True)
class Theorem:
    """A statement, where it comes from, what it needs, and what we found of it."""

    name: str
    source: str  # paper, item, version; says so where the item's number is not known to us
    given: tuple[str, ...]
    claim: str
    status: Literal["holds", "corrected", "refuted", "vacuous"]
    finding: str = ""  # one sentence, where the status is not "holds": what is wrong, or how vacuous it is where
    ours: str = ""  # the slug of the statement that holds in its place, where there is one


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a check found: one line, and the numbers that the ledger shows by themselves."""

    text: str
    trials: int = 0  # monte_carlo: how many trials were judged
    slack: float | None = None  # teeth: the smallest sabotage that is caught, as a factor > 1


@dataclass(frozen=True, kw_only=True)
class Mutation:
    """A line of shipped code made wrong: the checks of the file that lists it must fail on it."""

    file: str  # below boundlab/, such as "coresets/alias.py"
    old: str  # occurs exactly once in that file
    new: str

    @property
    def path(self) -> Path:
        """The file in the checkout."""
        return Path(__file__).parents[1] / "boundlab" / self.file


@dataclass(frozen=True)
class NotApplicable:
    """A check that cannot exist, with the reason."""

    reason: str

    def __call__(self) -> str:
        """Return the reason, as the check's line of evidence."""
        return f"not applicable: {self.reason}"


def not_applicable(reason: str) -> Callable[[], str]:
    """A check that cannot exist."""
    return NotApplicable(reason)


def require(condition: object, message: str) -> None:
    """Raise AssertionError(message) unless the condition holds (kept under ``python -O``)."""
    if not condition:
        raise AssertionError(message)


def ledger() -> dict[str, ModuleType]:
    """Every theorem file, by slug."""
    names = sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name not in NOT_THEOREMS)
    return {name: importlib.import_module(f"{__name__}.{name}") for name in names}
