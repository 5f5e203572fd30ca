"""The thread from a line of code to the theorem that it relies on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

IMPLEMENTED_BY: dict[str, list[str]] = {}
"""slug -> qualified names of the shipped objects that rely on it (filled at import)."""


def implements(*slugs: str) -> Callable[[T], T]:
    """Mark a function or class as relying on the theorems ``proofs_checks/<slug>.py``.

    The mark costs nothing at run time; ``tests/test_completeness.py`` fails on a slug without its file.
    """

    def mark(item: T) -> T:
        name = f"{getattr(item, '__module__', '?')}.{getattr(item, '__qualname__', '?')}"
        for slug in slugs:
            IMPLEMENTED_BY.setdefault(slug, []).append(name)
        return item

    return mark
