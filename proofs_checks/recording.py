"""Run every check in depth and keep what it found in ``boundlab/theorems.json``, which travels with the package."""

from __future__ import annotations

import datetime
import hashlib
import json
import pkgutil
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from functools import cache
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import boundlab
from boundlab._theory import IMPLEMENTED_BY
from boundlab.files import write_atomically
from proofs_checks import CHECKS, Evidence, NotApplicable, ledger
from proofs_checks.mutating import fate, listed, one_thread

ROOT = Path(__file__).parents[1]
DATA = ROOT / "boundlab" / "theorems.json"


class Failed(AssertionError):
    """A check that failed, or a mutation that no check noticed."""


def static(slug: str) -> dict[str, Any]:
    """What the theorem file states, before any check runs."""
    module = import_module(f"proofs_checks.{slug}")
    theorem = module.THEOREM
    return {
        "key": slug,
        "name": theorem.name,
        "statement": " ".join((module.__doc__ or "").strip().split("\n\n")[0].split()),
        "source": theorem.source,
        "given": list(theorem.given),
        "claim": theorem.claim,
        "status": theorem.status,
        "finding": theorem.finding,
        "ours": theorem.ours,
        "implemented_by": implemented_by(slug),
    }


def implemented_by(slug: str) -> list[str]:
    """The shipped objects that carry the theorem's mark, by qualified name."""
    return sorted(marks().get(slug, ()))


@cache
def marks() -> dict[str, list[str]]:
    """Every mark of the package, which is filled as its modules are imported."""
    for module in pkgutil.walk_packages(boundlab.__path__, "boundlab."):
        import_module(module.name)
    return IMPLEMENTED_BY


def run(slug: str, effort: int = 1) -> dict[str, Any]:
    """Run the four checks; Monte Carlo with `effort` times its trials. Raises Failed with the check's message."""
    module = import_module(f"proofs_checks.{slug}")
    found: dict[str, Any] = {"slack": None, "trials": 0}
    for check in CHECKS:
        call = getattr(module, check)
        deep = check == "monte_carlo" and not isinstance(call, NotApplicable)
        arguments = {"effort": effort} if deep else {}
        try:
            evidence = call(**arguments)
        except AssertionError as reason:
            raise Failed(f"{slug}: {check}: {reason}") from None
        if isinstance(evidence, Evidence):
            found[check] = evidence.text
            found["trials"] = max(found["trials"], evidence.trials)
            found["slack"] = evidence.slack if evidence.slack is not None else found["slack"]
        else:
            found[check] = evidence
    return found


def record(slug: str, effort: int, code: str) -> dict[str, Any]:
    """One entry of the data file: statement, evidence, the fate of every mutation. Raises Failed."""
    found = run(slug, effort)
    fates = [fate(*pair) for pair in listed([slug])]
    for each in fates:
        if not each.killed_by:
            raise Failed(str(each))
    return {
        **static(slug),
        **{check: found[check] for check in CHECKS},
        "slack": found["slack"],
        "trials": found["trials"],
        "mutants": [{**asdict(each.mutation), "killed_by": each.killed_by} for each in fates],
        "date": today(),
        "effort": effort,
        "code": code,
    }


def record_all(
    slugs: Iterable[str], *, effort: int, workers: int = 2, tell: Callable[[str], object] = lambda line: None
) -> list[str]:
    """Record the given theorems, or all; each entry is on disk as soon as it is known.

    An entry of the same code, effort and day is kept, so that an interrupted run goes on where it stopped. Returns what
    failed, one line each; the entries of failed theorems stay as they were.
    """
    chosen, code = sorted(slugs) or list(ledger()), code_fingerprint()
    kept = {row["key"]: row for row in read() if row["key"] in ledger()}
    fresh = (code, effort, today())
    todo = [s for s in chosen if tuple(kept.get(s, {}).get(k) for k in ("code", "effort", "date")) != fresh]
    tell(f"{len(chosen) - len(todo)} of {len(chosen)} are up to date")
    failures = []
    for slug, entry, seconds in _in_processes(todo, effort, code, workers):
        if isinstance(entry, str):
            failures.append(entry)
            tell(f"FAILED {entry}")
            continue
        kept[slug] = entry
        write(kept.values())
        killed = f", {len(entry['mutants'])} mutations killed" if entry["mutants"] else ""
        tell(f"{slug}: {entry['status']}, {entry['trials']} trials{killed} ({seconds:.0f} s)")
    return failures


def read() -> list[dict[str, Any]]:
    """The entries on disk."""
    return json.loads(DATA.read_text(encoding="utf-8")) if DATA.exists() else []


def write(entries: Iterable[dict[str, Any]]) -> None:
    """Write the data file, sorted by key, whole or not at all."""
    rows = sorted(entries, key=lambda row: row["key"])
    write_atomically({DATA: json.dumps(rows, indent=1, ensure_ascii=False) + "\n"})


def code_fingerprint() -> str:
    """A digest of the shipped code and of every check: what the evidence is about."""
    digest = hashlib.sha256()
    for room in ("boundlab", "proofs_checks"):
        for path in sorted((ROOT / room).rglob("*.py")):
            digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def today() -> str:
    """The date in UTC."""
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def _in_processes(
    slugs: list[str], effort: int, code: str, workers: int
) -> Iterator[tuple[str, dict[str, Any] | str, float]]:
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=one_thread) as pool:
        futures = [pool.submit(_timed, slug, effort, code) for slug in slugs]
        try:
            for future in as_completed(futures):
                yield future.result()
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _timed(slug: str, effort: int, code: str) -> tuple[str, dict[str, Any] | str, float]:
    start = time.monotonic()
    try:
        return slug, record(slug, effort, code), time.monotonic() - start
    except Failed as reason:
        return slug, str(reason), time.monotonic() - start
