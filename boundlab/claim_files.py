"""A claim in a file: what is claimed, the trial that tests it, and its budget, as TOML."""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from boundlab._errors import InvalidParameter, one_line
from boundlab.files import named
from boundlab.verification.claim import Claim

OPTIONS = {
    "max_trials": int,
    "max_seconds": int | float,
    "alpha_upheld": int | float,
    "alpha_violated": int | float,
    "seed": int,
    "batch": int,
    "method": str,
    "trial_seconds": int | float,
    "record": str,
}
"""What the table [run] may hold beside `trial` and `inputs`, as `verify` takes it."""

KINDS = {int: "a whole number", int | float: "a number", str: "a text"}


@dataclass(frozen=True, kw_only=True)
class ClaimFile:
    """A claim, its trial, its inputs and the options of its run."""

    claim: Claim
    trial: Callable[..., Any]
    inputs: Callable[..., Any] | None
    options: Mapping[str, Any]


def read_claim_file(source: str | os.PathLike[str]) -> ClaimFile:
    """Read a claim file; the functions it names are imported, with the current folder importable.

    The table [claim] holds the fields of `Claim`; the table [run] holds `trial`, and perhaps `inputs`, as
    "module:function", and options of `verify`.

    Raises
    ------
    InvalidParameter
        If the file is no TOML, a table or a field is unknown or missing, or a function cannot be imported.
    """
    path = Path(source)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as fault:
        raise InvalidParameter(f"a claim file must be readable TOML, got {path}: {one_line(fault)}.") from None
    if set(content) != {"claim", "run"} or not all(isinstance(table, dict) for table in content.values()):
        raise InvalidParameter(f"a claim file must have the tables [claim] and [run], got {sorted(content)} in {path}.")
    told, run = content["claim"], dict(content["run"])
    unknown = [name for name in run if name not in {"trial", "inputs", *OPTIONS}]
    if unknown:
        known = ", ".join(["trial", "inputs", *OPTIONS])
        raise InvalidParameter(f"[run] may hold {known}, got {unknown[0]!r}.")
    for name, kind in OPTIONS.items():
        if name in run and (isinstance(run[name], bool) or not isinstance(run[name], kind)):
            raise InvalidParameter(f"{name} in [run] must be {KINDS[kind]}, got {run[name]!r}.")
    if "trial" not in run:
        raise InvalidParameter("[run] must name a trial as module:function, got none.")
    fields = Claim.__dataclass_fields__
    if (stray := [name for name in told if name not in fields]) or not {"name", "delta"} <= set(told):
        raise InvalidParameter(
            f"[claim] must hold name and delta, and may hold {', '.join(fields)}, got {stray or [*told]}."
        )
    return ClaimFile(
        claim=Claim(**told),
        trial=function_named(run.pop("trial")),
        inputs=function_named(run.pop("inputs")) if "inputs" in run else None,
        options=run,
    )


def executor_named(text: str | None) -> tuple[Executor | int | None, Callable[[], None]]:
    """Return the executor of a text, and what closes it: "serial", "process:8", "dask:tcp://HOST:PORT" or None.

    Raises
    ------
    InvalidParameter
        If the text is none of these.
    """
    if text is None:
        return None, lambda: None
    kind, _, where = text.partition(":")
    if kind == "serial" and not where:
        return 1, lambda: None
    if kind == "process" and where.isdigit() and int(where) > 0:
        from boundlab.verification.running.executors import ProcessPool

        pool = ProcessPool(int(where))
        return pool, lambda: pool.shutdown(wait=False, cancel_futures=True)
    if kind == "dask" and where:
        from boundlab.verification.running.clusters import dask_executor

        executor = dask_executor(where)
        return executor, lambda: executor.shutdown(wait=False)
    raise InvalidParameter(f"an executor must be serial, process:N or dask:ADDRESS, got {text!r}.")


def function_named(source: Any) -> Callable[..., Any]:
    """Return the function of a "module:function" text, with the current folder importable for worker processes too.

    Raises
    ------
    InvalidParameter
        If there is no such function, or its module raises.
    """
    _import_from(os.getcwd())
    found = named(source) if isinstance(source, str) else None
    if not callable(found):
        raise InvalidParameter(f"a function must be named as module:function, got {source!r}.")
    return found


def _import_from(folder: str) -> None:
    """Make a folder importable for good: worker processes import the trial from it too."""
    if folder not in sys.path:
        sys.path.insert(0, folder)
