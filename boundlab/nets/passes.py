"""Passes over data that can be interrupted: what was seen is kept on disk, and the same call goes on from there.

A method that looks at points writes what it has seen so far as a `Pass`, and lets `look` show it the items. Whether
anything is kept, and where, is for the caller of `compress` to say: `recording` holds for all passes inside it.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from boundlab._errors import InvalidParameter, one_line
from boundlab.files import arrays_of_npz, draft_of, writable

Progress = Callable[[int, int], object]

KEEP_SECONDS, REST = 10.0, 20.0
"""How long may be lost when a recorded pass is interrupted; or so many times what writing takes, if that is longer."""


class Pass(ABC):
    """What was seen so far. Items are arrays with a first axis of points; they are seen in order, each once."""

    @abstractmethod
    def see(self, item: Any, /) -> None:
        """Take one item into account."""

    @abstractmethod
    def state(self) -> dict[str, np.ndarray]:
        """All that later items build on."""

    @abstractmethod
    def restore(self, state: Mapping[str, np.ndarray], /) -> None:
        """Take over what `state` told; it raises KeyError or ValueError where that does not fit."""


AnyPass = TypeVar("AnyPass", bound=Pass)


def look(seen: AnyPass, items: Iterable[np.ndarray]) -> AnyPass:
    """Show all items to a pass, but for those that a recorded run has seen before; return it.

    Raises
    ------
    InvalidParameter
        If a record does not fit the items: they must come again in the same order, cut as before.
    """
    course = _COURSE.get()
    if course is not None:
        course.look(seen, items)
        return seen
    for item in items:
        seen.see(item)
    return seen


@contextmanager
def recording(folder: str | Path | None, identity: str, progress: Progress | None) -> Iterator[None]:
    """Keep every pass inside in a file of `folder`, if one is given, and tell `progress`(pass from 1, points seen).

    `identity` says what the passes depend on; files of another one are refused. Passes are told apart by their number,
    so that what is inside must make the same ones each time.

    Raises
    ------
    InvalidParameter
        If no file can be written in `folder`, or one of another identity stands there.
    """
    if folder is not None:
        if Path(folder).exists() and not Path(folder).is_dir():
            raise InvalidParameter(f"a record of passes must be a folder, got {folder}.")
        writable(Path(folder) / "pass_1.npz")
    token = _COURSE.set(_Course(None if folder is None else Path(folder), identity, progress))
    try:
        yield
    finally:
        _COURSE.reset(token)


class _Course:
    """The passes of one call."""

    def __init__(self, folder: Path | None, identity: str, progress: Progress | None) -> None:
        self.folder, self.identity, self.progress = folder, identity, progress
        self.count = 0

    def look(self, seen: Pass, items: Iterable[np.ndarray]) -> None:
        self.count += 1
        record = None if self.folder is None else _File(self.folder / f"pass_{self.count}.npz", self.identity)
        done, points, over = (0, 0, False) if record is None else record.restore(seen)
        stream = iter(() if over else items)
        if not over and sum(len(item) for item in islice(stream, done)) != points:
            raise InvalidParameter("points must come again as when the record was made, cut into the same batches.")
        self._tell(points)
        for item in stream:
            seen.see(item)
            done, points = done + 1, points + len(item)
            if record is not None and record.due():
                record.write(seen, done, points, over=False)
            self._tell(points)
        if record is not None and not over:
            record.write(seen, done, points, over=True)

    def _tell(self, points: int) -> None:
        if self.progress is not None and points:
            self.progress(self.count, points)


class _File:
    """What is kept of one pass."""

    def __init__(self, path: Path, identity: str) -> None:
        self.path, self.identity = path, identity
        self._last, self._cost = time.monotonic(), 0.0

    def due(self) -> bool:
        return time.monotonic() - self._last >= max(KEEP_SECONDS, REST * self._cost)

    def write(self, seen: Pass, done: int, points: int, *, over: bool) -> None:
        start = time.monotonic()
        told: dict[str, Any] = {f"seen {name}": value for name, value in seen.state().items()}
        with draft_of(self.path) as draft:
            np.savez(draft, identity=np.array(self.identity), course=np.array([done, points, over], np.int64), **told)
        self._last = time.monotonic()
        self._cost = self._last - start

    def restore(self, seen: Pass) -> tuple[int, int, bool]:
        """Give a pass what was kept of it; return how many items and points that were, and whether those were all."""
        if not self.path.exists():
            return 0, 0, False
        stored = arrays_of_npz(str(self.path))
        if str(stored.get("identity", "")) != self.identity:
            raise InvalidParameter(f"a record must be one of the same net, method and points, got {self.path}.")
        try:
            done, points, over = (int(n) for n in stored["course"])
            seen.restore({name[5:]: value for name, value in stored.items() if name.startswith("seen ")})
        except (KeyError, TypeError, ValueError) as fault:
            raise InvalidParameter(f"{self.path} must be a whole record of a pass, got {one_line(fault)}.") from None
        return done, points, bool(over)


_COURSE: ContextVar[_Course | None] = ContextVar("course", default=None)
