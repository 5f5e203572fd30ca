"""The theorem ledger: one theorem per file, each with four checks that run.

A theorem file holds ``THEOREM`` and four functions ``symbolic``, ``exact``, ``monte_carlo`` and ``teeth``. A check
returns one line of evidence or raises AssertionError; one that cannot exist is ``not_applicable("reason")``.
The checks call the functions that boundlab ships: retyping a formula would test nothing.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Literal

CHECKS = ("symbolic", "exact", "monte_carlo", "teeth")


@dataclass(frozen=True, kw_only=True)
class Theorem:
    """A statement, where it comes from, what it needs, and what we found of it."""

    name: str
    source: str  # paper, item, version; says so where the item's number is not known to us
    given: tuple[str, ...]
    claim: str
    status: Literal["holds", "corrected", "refuted", "vacuous"]
    ours: str = ""  # the slug of the corrected statement, where there is one


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
    names = sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))
    return {name: importlib.import_module(f"{__name__}.{name}") for name in names}
