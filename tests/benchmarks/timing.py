"""How a pair is timed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

Task = Callable[[], object]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One row of the table: the same work done here and by a peer, in CPU seconds."""

    what: str
    ours: float
    peer: str
    theirs: float


def best_of(runs: int, task: Task) -> float:
    """CPU seconds of the shortest of several runs on one core; the first, which may compile, is not counted."""
    task()
    times = []
    for _ in range(runs):
        start = time.process_time()
        task()
        times.append(time.process_time() - start)
    return min(times)
