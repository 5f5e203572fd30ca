"""``python -m proofs_checks``: print the ledger, run checks, or record a deep run of them."""

from __future__ import annotations

import argparse
import sys

from proofs_checks import ledger
from proofs_checks.pages import write_pages
from proofs_checks.recording import Failed, read, record_all, run


def main(argv: list[str] | None = None) -> int:
    """Return 0, 1 if a check failed or a mutation survived, 2 for an unknown theorem."""
    parser = argparse.ArgumentParser(prog="python -m proofs_checks", description=__doc__)
    parser.add_argument("keys", nargs="*", metavar="KEY", help="theorems (default: all)")
    parser.add_argument("--run", action="store_true", help="run the checks now and print what they find")
    parser.add_argument("--record", action="store_true", help="run them in depth, with mutations, and keep the results")
    parser.add_argument("--pages", action="store_true", help="write docs/theorems/ from the theorem files and results")
    parser.add_argument("--effort", type=int, default=1, help="factor on the Monte Carlo trials (default: 1)")
    parser.add_argument("--json", action="store_true", help="print the recorded ledger as JSON")
    args = parser.parse_args(argv)
    unknown = sorted(set(args.keys) - set(ledger()))
    if unknown:
        parser.error(f"a theorem must be a file of proofs_checks/, got {unknown[0]}")
    if args.record:
        failures = record_all(args.keys, effort=args.effort, tell=_say)
        write_pages()
        mutants = sum(len(row["mutants"]) for row in read())
        _say(f"{len(failures)} failed" if failures else f"all checks hold; {mutants} mutations of the code, all killed")
        return 1 if failures else 0
    if args.pages:
        _say(f"{write_pages()} pages")
        return 0
    if args.run:
        return _run(args.keys or list(ledger()), args.effort)
    from boundlab.cli import main as boundlab

    flags = ["--json"] if args.json else []
    return max(boundlab(["theorems", *flags, *key]) for key in ([[k] for k in args.keys] or [[]]))


def _run(keys: list[str], effort: int) -> int:
    failed = 0
    for key in keys:
        try:
            found = run(key, effort)
        except Failed as reason:
            failed += 1
            _say(f"FAILED {reason}")
            continue
        _say(key)
        for check in ("symbolic", "exact", "monte_carlo", "teeth"):
            _say(f"  {check:<11} {found[check]}")
    return 1 if failed else 0


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
