"""Where the command line writes: tables on stdout, progress on stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

Progress = Callable[[float, str], None]


def stdout(*, stderr: bool = False) -> Any:
    """A console on stdout, or on stderr, 120 columns wide where that is no terminal."""
    from rich.console import Console

    class Ours(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # rich would end the process here, with an exit code of its own

    console = Ours(stderr=stderr, highlight=False)
    return console if console.is_terminal else Ours(stderr=stderr, highlight=False, width=120)


def table(rows: Sequence[Mapping[str, Any]], title: str | None = None) -> Any:
    """Rows of equal keys as a table for a console: numbers to the right, floats with four digits."""
    from rich.markup import escape
    from rich.table import Table

    found = Table(title=title, title_justify="left")
    for name, value in rows[0].items() if rows else ():
        found.add_column(name.replace("_", " "), justify="left" if isinstance(value, str) else "right")
    for row in rows:
        found.add_row(*(_shown(v) if isinstance(v, (float, int)) else escape(str(v)) for v in row.values()))
    return found


def _shown(value: float) -> str:
    """Four digits of a number, all of a whole one, and yes or no."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


@contextmanager
def reader_may_leave(stream: TextIO | None) -> Iterator[None]:
    """Write to a stream whose reader may close the pipe, or is not there: the rest goes nowhere, the work goes on."""
    try:
        yield
        if stream is not None:
            stream.flush()
    except BrokenPipeError:
        if stream is None:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@contextmanager
def progress() -> Iterator[Progress]:
    """Show one progress bar on stderr; on no terminal, one line whenever the text changes."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        last = [""]

        def line(share: float, text: str) -> None:
            if text != last[0]:
                last[0] = text
                with reader_may_leave(sys.stderr):
                    print(f"{share:4.0%}  {text}", file=sys.stderr)

        yield line
        return
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (
        BarColumn(bar_width=30),
        TextColumn("{task.percentage:3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=1.0)

        def update(share: float, text: str) -> None:
            bar.update(task, completed=share, description=text)

        yield update
