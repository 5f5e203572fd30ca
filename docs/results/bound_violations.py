"""How often each generalization bound is broken, in worlds where the true risk is known, and its sabotage beside it.

Writes bound_violations.json, .md and .png beside this file. `make results` runs it; what is finished is kept in
build/results, so that an interrupted run goes on. A few minutes on two cores.

    python docs/results/bound_violations.py [--jobs 2] [--sets 10000]

The worlds and the bounds are those of tests/violation_cases.py, whose short form is a test.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from source_digest import digest

from boundlab.concentration.binomial import lower_limit, upper_limit
from boundlab.verification import Method, verify

if TYPE_CHECKING:
    from tests.worlds import Case

HERE = Path(__file__).parent
WORLDS = [HERE.parents[1] / "tests" / f"{name}.py" for name in ("violation_cases", "worlds", "net_worlds")]
WORK = HERE.parents[1] / "build" / "results" / f"bound_violations_{digest(__file__, *WORLDS)}"
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
FEWER = 5  # sets of trained nets are so many times fewer

Job = tuple[str, str, int]  # case, sabotage or "", training sets


@cache
def cases() -> dict[str, Case]:
    """All cases by name; they live with the tests."""
    if str(HERE.parents[1]) not in sys.path:
        sys.path.insert(0, str(HERE.parents[1]))
    from tests.violation_cases import cases as listed

    return {case.name: case for case in listed()}


def run(job: Job) -> dict[str, Any]:
    """One line of the results; kept on disk."""
    name, sabotage, sets = job
    kept = WORK / f"{re.sub(r'[^a-zA-Z0-9.]+', '-', f'{name} {sabotage}')}_{sets}.json"
    if kept.exists():
        return json.loads(kept.read_text(encoding="utf-8"))
    row = {"case": name, "sabotage": sabotage} | _run(cases()[name], sabotage, sets)
    kept.write_text(json.dumps(row), encoding="utf-8")
    return row


def _run(case: Case, sabotage: str, sets: int) -> dict[str, Any]:
    from tests.worlds import trial

    says = case.sabotage[sabotage] if sabotage else case.says
    start = time.monotonic()
    found = verify(
        case.claim(sabotage), trial(says), max_trials=sets, batch=case.batch, method=Method.FIXED, executor=1
    )
    risk, bound = says(np.random.default_rng(0), min(1_000, sets // 5))
    n, k = found.trials, found.failures
    return {
        "bound": case.bound,
        "world": case.world,
        "theorem": case.theorem,
        "delta": case.delta,
        "sets": n,
        "broken": k,
        "unknown": found.unknown,
        "verdict": str(found.state),
        "interval": [lower_limit(k, n, 0.025), upper_limit(k + found.unknown, n, 0.025)],
        "median_bound": float(np.median(bound)),
        "gap": [float(q) for q in np.quantile(np.minimum(bound, 1.0) - risk, QUANTILES)],
        "seconds": round(time.monotonic() - start, 1),
    }


def jobs(sets: int) -> list[Job]:
    """All lines, the slow ones first."""
    found = [
        (name, what, sets // FEWER if case.batch == 40 else sets)
        for name, case in cases().items()
        for what in ("", *case.sabotage)
    ]
    return sorted(found, key=lambda job: (cases()[job[0]].batch, found.index(job)))


def page(rows: list[dict[str, Any]]) -> str:
    """The results as Markdown."""
    by = {(row["case"], row["sabotage"]): row for row in rows}
    lines, honest = [], [by[name, ""] for name in cases()]
    for name, case in cases().items():
        own, wrong = by[name, ""], [by[name, what] for what in case.sabotage]
        cells = [
            case.bound,
            case.world,
            f"{case.delta:g}",
            f"{own['sets']:,}",
            _rate(own),
            own["verdict"],
            f"{own['median_bound']:.3g}",
            "; ".join(f"{row['sabotage']}: {row['broken'] / row['sets']:.1%}, {row['verdict']}" for row in wrong)
            or "none is exposed",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    reasons: dict[str, list[str]] = {}
    for case in cases().values():
        if case.reason:
            reasons.setdefault(case.reason, []).append(f"{case.bound} ({case.world})")
    caught = [by[name, what]["verdict"] for name, case in cases().items() for what in case.sabotage]
    return PAGE.format(
        table="\n".join(lines),
        bounds=len(honest),
        violated=sum(row["verdict"] == "violated" for row in honest),
        upheld=sum(row["verdict"] == "upheld" for row in honest),
        undecided="; ".join(row["case"] for row in honest if row["verdict"] == "undecided") or "none",
        sabotage=len(caught),
        caught=sum(state == "violated" for state in caught),
        sets=f"{sum(row['sets'] for row in rows):,}",
        reasons="\n".join(f"- {', '.join(names)}: {reason}." for reason, names in reasons.items()),
    )


def _rate(row: dict[str, Any]) -> str:
    low, high = row["interval"]
    return f"{row['broken'] / row['sets']:.2%} [{low:.2%}, {high:.2%}]"


PAGE = """# How often a bound is broken

`make results` makes this page; every line is one of `bound_violations.json`. A generalization bound promises that over
training sets, and over the draw of a net where one is drawn, P[true risk > bound] ≤ δ. Here the true risk is known, and
thousands of training sets are drawn in each world ({sets} in all): the functions that boundlab ships are asked each
time, and `bl.verify` judges the promise with one exact test (*violated* is wrong with probability at most 10⁻⁶,
*upheld* with at most 10⁻³). Beside each bound stands the same bound with something left unpaid.

Of {bounds} bounds, {violated} are violated and {upheld} upheld. Undecided, because the rate is near δ: {undecided}.
Of {sabotage} sabotaged versions {caught} are called violated.

![Violation rates in units of delta, and what the bounds leave between them and the risk](bound_violations.png)

Intervals are Clopper and Pearson's, 95 %. The bound is the median over training sets, and vacuous where it is near 1 or
above: a rate of 0 then says little. In worlds made to be extremal the rate comes near δ, so that less would not do.

| bound | world | δ | training sets | broken | verdict | median bound | sabotage: broken, verdict |
|---|---|---|---|---|---|---|---|
{table}

## What no simulation exposes

{reasons}

Three faults that are found in released code leave no trace in any simulation of this size;
`tests/test_what_not_to_compute.py` shows each with numbers:

- the midpoint of the last bracket as the inverse of kl: it lies below the root by a relative 10⁻⁵ or less, and some
  10¹² training sets would be needed to see the failure probability move;
- ln(2√n)/δ in the place of ln(2√n/δ): the number is larger, so the bound holds, and is loose without need;
- δ spent twice, once on the estimate of r(Q) and once on the bound: ξ(n) and Chernoff's inequality leave more unused
  than the second δ takes. Two exact limits at δ each do fail together too often.
"""


def figure(rows: list[dict[str, Any]]) -> None:
    """Violation rates over delta, and quantiles of bound minus risk."""
    from matplotlib.figure import Figure

    by = {(row["case"], row["sabotage"]): row for row in rows}
    names, least = list(cases()), 3e-3
    drawing = Figure(figsize=(13, 0.27 * len(names) + 1.4), layout="constrained")
    left, right = drawing.subplots(1, 2, sharey=True, width_ratios=[1.5, 1])
    for y, name in enumerate(names):
        case = cases()[name]
        for what in ("", *case.sabotage):
            row = by[name, what]
            colour, mark = ("#d55e00", "x") if what else ("#0072b2", "o")
            low, high = (max(least, value / case.delta) for value in row["interval"])
            left.plot([low, high], [y, y], color=colour, linewidth=1.6, solid_capstyle="butt")
            if row["broken"]:
                left.plot(row["broken"] / row["sets"] / case.delta, y, mark, color=colour, markersize=5)
        q = by[name, ""]["gap"]
        right.plot([q[0], q[4]], [y, y], color="#0072b2", linewidth=1)
        right.plot([q[1], q[3]], [y, y], color="#0072b2", linewidth=4, solid_capstyle="butt")
        right.plot(q[2], y, "o", color="#0072b2", markersize=5)
    left.axvline(1.0, color="#444444", linewidth=1)
    right.axvline(0.0, color="#444444", linewidth=1)
    left.set(xscale="log", xlim=(least, 25), xlabel="violation rate / δ, 95 % intervals")
    left.set_title("broken: blue as shipped, orange sabotaged", loc="left", fontsize=10)
    right.set(xlabel="min(bound, 1) - true risk; quantiles 5 to 95 %")
    right.set_title("what the shipped bound leaves", loc="left", fontsize=10)
    left.set_yticks(range(len(names)), [_short(name) for name in names], fontsize=7)
    left.set_ylim(len(names) - 0.4, -0.6)
    for ax in (left, right):
        ax.grid(color="#dddddd", linewidth=0.5)
        ax.set_axisbelow(True)
    drawing.savefig(HERE / "bound_violations.png", dpi=110)


def _short(name: str) -> str:
    return name if len(name) <= 78 else f"{name[:77]}…"


def main() -> None:
    """Run what is missing, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--sets", type=int, default=10_000)
    asked = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    listed, rows, start = jobs(asked.sets), [], time.monotonic()
    with ProcessPoolExecutor(asked.jobs, mp_context=get_context("spawn")) as pool:
        for done, future in enumerate(as_completed([pool.submit(run, job) for job in listed]), 1):
            rows.append(future.result())
            told = f"\r{done} of {len(listed)} lines, {time.monotonic() - start:.0f} s "
            sys.stderr.write(told)
    sys.stderr.write("\n")
    order = {
        (name, what): k for k, (name, what) in enumerate((n, w) for n, c in cases().items() for w in ("", *c.sabotage))
    }
    rows.sort(key=lambda row: order[row["case"], row["sabotage"]])
    (HERE / "bound_violations.json").write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (HERE / "bound_violations.md").write_text(page(rows), encoding="utf-8")
    figure(rows)


if __name__ == "__main__":
    main()
