"""boundlab plan | theorems: the theory, before any net exists."""

from __future__ import annotations

import argparse
import math
from typing import Any

from boundlab._errors import InvalidParameter
from boundlab.cli.console import stdout


def plan(args: argparse.Namespace) -> int:
    """Print CoreNet's constants and sample sizes."""
    import json

    from boundlab import _errors
    from boundlab.compressors.constants import constants

    try:
        sizes = [int(part) for part in args.sizes.split(",")]
    except ValueError:
        raise InvalidParameter(f"sizes must be whole numbers like 784,300,100,10, got {args.sizes!r}.") from None
    if args.K is not None and args.total is None:
        raise InvalidParameter("--K must come with --total and --eps, got it alone.")
    if (args.total is None) != (args.eps is None):
        raise InvalidParameter("sample sizes need both --total and --eps, got one of them.")
    found: dict[str, Any] = {
        v: vars(constants(sizes, args.delta, variant=v)) for v in ("published", "repaired", "sharp")
    }
    if args.total is not None:
        import numpy as np

        from boundlab.coresets.sensitivity_sampling import Rule, sample_size

        total, eps = _errors.positive("total", args.total), _errors.positive("eps", args.eps)
        known = constants(sizes, args.delta)
        K = known.K if args.K is None else _errors.positive("K", args.K)
        row_delta = args.delta / (4 * known.eta)
        found["sample_sizes"] = {
            str(rule): _whole(sample_size(np.array([total]), eps, row_delta, K=K, rule=rule)[0]) for rule in Rule
        }
    if args.json:
        print(json.dumps(found, indent=1, allow_nan=False))
        return 0
    from rich.table import Table

    from boundlab.report.summary import number

    table = Table(
        title=f"CoreNet's constants for {'-'.join(map(str, sizes))}, delta = {args.delta:g}", title_justify="left"
    )
    for name in ("constant", "published", "repaired", "sharp"):
        table.add_column(name, justify="left" if name == "constant" else "right")
    for name in found["published"]:
        table.add_row(name, *(number(found[v][name]) for v in ("published", "repaired", "sharp")))
    console = stdout()
    console.print(table)
    if "sample_sizes" in found:
        line = ", ".join(
            f"{rule} {number(math.inf if m is None else float(m))}" for rule, m in found["sample_sizes"].items()
        )
        console.print(f"Draws for one group with S = {args.total:g}, eps = {args.eps:g}: {line}.")
        console.print("The binomial number is necessary for the worst group; it certifies nothing.")
    return 0


def theorems_of(args: argparse.Namespace) -> int:
    """Print the theorem ledger, or one entry of it."""
    import json

    from boundlab.ledger import theorems

    ledger = theorems()
    if args.json:
        chosen = ledger if args.key is None else [ledger[args.key]]
        print(json.dumps([entry.to_dict() for entry in chosen], indent=1, ensure_ascii=False, allow_nan=False))
        return 0
    from boundlab.report.theorems import details, overview

    console = stdout()
    for part in overview(ledger) if args.key is None else details(ledger[args.key]):
        console.print(part)
    return 0


def _whole(value: float) -> int | float | None:
    """A sample size for JSON: null where no number of draws suffices."""
    return int(value) if value < 2**53 else float(value) if math.isfinite(value) else None
