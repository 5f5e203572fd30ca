"""Make shipped code wrong, one line at a time, and see whether the checks notice: ``python -m proofs_checks.mutating``.

Each theorem file lists in ``MUTATIONS`` the lines that it guards. A mutation is written into a copy of the code, where
the file's checks run in a process of their own: it is killed when one of them fails, and survives when all pass.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from proofs_checks import CHECKS, Mutation, ledger

ROOT = Path(__file__).parents[1]
SECONDS = 300
RUN = """
import importlib, sys
import boundlab, proofs_checks
assert boundlab.__file__.startswith(sys.argv[2]), boundlab.__file__
module = importlib.import_module("proofs_checks." + sys.argv[1])
for check in sys.argv[3:]:
    try:
        getattr(module, check)()
    except Exception as reason:
        line = str(reason).strip().splitlines() or [""]
        print(f"{check}: {type(reason).__name__}: {line[0][:200]}")
        sys.exit(9)
"""


@dataclass(frozen=True, kw_only=True)
class Fate:
    """What became of one mutation."""

    slug: str
    mutation: Mutation
    killed_by: str  # the check and what it said; empty for a survivor

    def __str__(self) -> str:
        change = f"{self.slug}: {self.mutation.file}: {self.mutation.old.strip()!r} -> {self.mutation.new.strip()!r}"
        return f"{'killed  ' if self.killed_by else 'SURVIVED'} {change} | {self.killed_by}"


def listed(slugs: Iterable[str] = ()) -> list[tuple[str, Mutation]]:
    """Every mutation of the given theorem files, or of all."""
    wanted = set(slugs)
    return [
        (slug, mutation)
        for slug, module in ledger().items()
        if not wanted or slug in wanted
        for mutation in getattr(module, "MUTATIONS", ())
    ]


def fate(slug: str, mutation: Mutation) -> Fate:
    """Run the checks of one theorem file against the mutated code; a run without an end counts as killed.

    The checks must pass on the code as it is; `main` and the deep run make sure of that first.
    """
    return Fate(slug=slug, mutation=mutation, killed_by=failure(slug, mutation))


def failure(slug: str, mutation: Mutation | None) -> str:
    """The first check of a theorem file that fails in a copy of the code, mutated or not; empty if all pass."""
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        copy = Path(folder).resolve()
        for room in ("boundlab", "proofs_checks"):
            shutil.copytree(ROOT / room, copy / room)
        if mutation is not None:
            path = copy / "boundlab" / mutation.file
            text = path.read_text(encoding="utf-8")
            path.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
        command = [sys.executable, "-c", RUN, slug, str(copy), *CHECKS]
        try:
            done = subprocess.run(
                command, cwd=copy, env=_environment(copy), capture_output=True, text=True, timeout=SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            return f"no end within {SECONDS} s"
    if done.returncode == 0:
        return ""
    return done.stdout.strip() if done.returncode == 9 else (done.stderr.strip().splitlines() or ["?"])[-1]


def fates(slugs: Iterable[str] = (), *, workers: int = 2) -> Iterable[Fate]:
    """The fate of every listed mutation, in order."""
    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(lambda pair: fate(*pair), listed(slugs))


def one_thread() -> None:
    """Keep the numerical libraries of this process to one thread: the work is spread over processes."""
    for name in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")


def _environment(copy: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(copy), "PYTHONSAFEPATH": "1"}


def main(slugs: list[str]) -> int:
    """Print the fate of each mutation; 1 if one survives."""
    survivors = 0
    one_thread()
    for slug in slugs or ledger():
        if found := failure(slug, None):
            sys.stdout.write(f"FAILS UNMUTATED {slug}: {found}\n")
            return 1
    for result in fates(slugs):
        survivors += not result.killed_by
        sys.stdout.write(f"{result}\n")
        sys.stdout.flush()
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
