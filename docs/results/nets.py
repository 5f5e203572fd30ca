"""Every third-party net, by several methods: weights left, error before and after, what is certified, and the time.

Writes nets.json, nets.csv and nets.md beside this file; `make results` runs it. BOUNDLAB_DATA must name the folder of
nets.

    python docs/results/nets.py [--only NAME ...]

Each net loses half of its weights, or of its parameters where channels are removed; nothing is trained. Of 3,000 points
200 calibrate and the others are the hold-out. A line that was found before is kept in build/results, so that an
interrupted run goes on.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import boundlab as bl
from boundlab.compressors import baselines, sipp
from boundlab.compressors.method import Method, Net, compress
from boundlab.compressors.pfp import PFPBudget
from boundlab.holdout import certify_on_holdout
from boundlab.nets.load_module import load_module
from boundlab.nets.module_net import ModuleNet
from boundlab.retraining import error_rate

HERE = Path(__file__).parent
WORK = HERE.parents[1] / "build" / "results"
POINTS = 3_000
CALIBRATION = 200
BOXES = {"tll": (-2.0, 2.0), "nn4sys": (0.0, 1.0), "misc": (0.0, 1.0)}
"""Inputs of nets that come without data or a box: uniform in every coordinate, an assumption of this table."""

SCALES: dict[str, tuple[Any, Any]] = {
    "x/255": (0.0, 1.0),
    "(x/255-.1307)/.3081": (0.1307, 0.3081),
    "(x/255-.5)/.5": (0.5, 0.5),
    "(x/255-.2860)/.3530": (0.2860, 0.3530),
    "(x/255-(.485,.456,.406))/(.229,.224,.225)": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "(x/255-(.485,.456,.406))/.225": ((0.485, 0.456, 0.406), 0.225),
    "x/255, NHWC": (0.0, 1.0),
    "(x/255-(.4914,.4822,.4465))/(.2471,.2435,.2616)": ((0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)),
    "x/256 (caffe scale 0.00390625), NCHW": (0.0, 256 / 255),
}
"""What images x/255 are shifted and divided by before a net reads them, as index.json writes it."""

METHODS: dict[str, Callable[[Net], Method]] = {
    "magnitude": lambda net: baselines.Magnitude(nnz=net.nnz // 2),
    "SiPP, det": lambda net: sipp.SiPPDet(nnz=net.nnz // 2),
    "SiPP, threshold": lambda net: sipp.SiPPThreshold(nnz=net.nnz // 2),
    "SiPP, rand": lambda net: sipp.SiPPRand(nnz=net.nnz // 2),
    "CoreNet": lambda net: bl.CoreNetBudget(nnz=net.nnz // 2),
    "uniform": lambda net: baselines.Uniform(nnz=net.nnz // 2),
    "PFP": lambda net: PFPBudget(parameters=net.parameters // 2),
}


def root() -> Path:
    """The folder of nets."""
    if "BOUNDLAB_DATA" not in os.environ:
        raise SystemExit("BOUNDLAB_DATA must name a folder of data sets and nets.")
    return Path(os.environ["BOUNDLAB_DATA"]) / "nets"


@cache
def images(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Test images in [0, 1], flat, and labels."""
    data = bl.load_data(name)
    if data.x_test is None or data.y_test is None:
        raise SystemExit(f"{name} is missing in BOUNDLAB_DATA.")
    return data.x_test[:POINTS], data.y_test[:POINTS]


def read(entry: dict[str, Any]) -> Net:
    """The net of an entry of index.json."""
    source = str(root() / entry["file"])
    if entry["kind"] == "mlp":
        return bl.load_network(source, relu_after_last=bool(entry["relu_after_last"]))
    factory = {"torch_state_dict": entry["name"], "lenet5_caffe": "lenet5"}.get(entry["kind"])
    module = load_module(source, factory=factory)
    return ModuleNet(module, points(entry)[0][:1])


def points(entry: dict[str, Any]) -> tuple[np.ndarray, np.ndarray | None]:
    """Inputs as the net reads them, and labels where there are any."""
    name = entry["dataset"]
    if name not in ("mnist", "fashion_mnist", "cifar10"):
        return box(entry), None
    x, y = images(name)
    shift, scale = (np.reshape(v, (-1, 1, 1)) for v in SCALES[entry["input"]])
    x = (x.reshape(-1, *((3, 32, 32) if name == "cifar10" else (1, 28, 28))) - shift) / scale
    if "NHWC" in entry["input"]:
        x = x.transpose(0, 2, 3, 1)
    return (x.reshape(len(x), -1) if entry["kind"] == "mlp" else x.astype(np.float32)), y


def box(entry: dict[str, Any]) -> np.ndarray:
    """Uniform points of the net's box, or of the one assumed for its family."""
    rng = np.random.default_rng(0)
    if "input_domain" in entry:
        data = bl.load_data(f"{root() / 'index.json'}#{entry['name']}")
        if data.lower is None or data.upper is None:
            raise SystemExit(f"{entry['name']} must have an input box.")
        return rng.uniform(data.lower, data.upper, (POINTS, data.features))
    low, high = BOXES[entry["family"]]
    width = int(entry["arch"].split("-")[0]) if entry["kind"] == "mlp" else 2
    return rng.uniform(low, high, (POINTS, width)).astype(np.float64 if entry["kind"] == "mlp" else np.float32)


def lines(entry: dict[str, Any]) -> list[dict[str, Any]]:
    """One line for each method that can compress the net; one that cannot says why."""
    kept = WORK / f"net_{entry['family']}_{entry['name']}.json"
    if kept.exists():
        return json.loads(kept.read_text(encoding="utf-8"))
    net, (x, y) = read(entry), points(entry)
    fresh = x[CALIBRATION:]
    base = {"family": entry["family"], "net": entry["name"], "weights": net.nnz, "parameters": net.parameters}
    base["error before"] = None if y is None else error_rate(net, (fresh, y[CALIBRATION:]))
    rows = []
    for name, method in METHODS.items():
        start = time.monotonic()
        try:
            small = compress(net, method(net), x[:CALIBRATION], rng=0)
        except bl.BoundlabError as refusal:
            rows.append(base | {"method": name, "refused": str(refusal)})
            continue
        seconds = time.monotonic() - start
        certificate = certify_on_holdout(small, fresh)
        rows.append(
            base
            | {
                "method": name,
                "weights left": small.nnz,
                "parameters left": small.net.parameters,
                "error after": None if y is None else error_rate(small.net, (fresh, y[CALIBRATION:])),
                "decisions changed": 1.0 - certificate.error["agreement"],
                "certified": certificate.delta,
                "claim": certificate.claim,
                "relative error": certificate.error["relative_l1_limit"],
                "theorem": theorem(small, fresh),
                "seconds": seconds,
            }
        )
    kept.write_text(json.dumps(rows), encoding="utf-8")
    return rows


def theorem(small: Any, fresh: np.ndarray) -> str:
    """What the method's own theorem says of this net: its promise, or why it gives none."""
    try:
        found = bl.certify(small, fresh, independent=True)
    except bl.BoundlabError:
        return "none covers it"
    if found.void:
        return "void"
    promised = found.error.get("promised_relative_l1_median", found.eps)
    return f"{'vacuous' if found.vacuous else 'holds'}: {promised:.3g} at delta {found.delta:.3g}"


def page(rows: list[dict[str, Any]]) -> str:
    """The table as Markdown: one line per net, one column per method."""
    nets = list(dict.fromkeys((r["family"], r["net"]) for r in rows))
    found = {(r["family"], r["net"], r["method"]): r for r in rows}
    head = ["net", "weights", "error", *METHODS]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    wins = dict.fromkeys(METHODS, 0)
    for family, net in nets:
        own = {name: found[family, net, name] for name in METHODS}
        kind = {name: r["claim"].startswith("argmax") for name, r in own.items() if "refused" not in r}
        changed = {n: own[n]["decisions changed" if argmax else "relative error"] for n, argmax in kind.items()}
        least = min(changed.values())
        for name, value in changed.items():
            wins[name] += value == least
        first = next(iter(own.values()))
        before = first["error before"]
        cells = [f"{family}/{net}", f"{first['weights']:,}", "" if before is None else f"{before:.2%}"]
        cells += [_cell(r, least) for r in own.values()]
        lines.append("| " + " | ".join(cells) + " |")
    theorem = [r for r in rows if str(r.get("theorem", "")).startswith(("holds", "vacuous"))]
    holding = [r for r in theorem if r["theorem"].startswith("holds")]
    seconds = max((r["seconds"], f"{r['net']}, {r['method']}") for r in rows if "seconds" in r)
    return PAGE.format(
        table="\n".join(lines),
        nets=len(nets),
        lines=len(rows),
        points=POINTS - CALIBRATION,
        calibration=CALIBRATION,
        wins="; ".join(f"{name} {count}" for name, count in sorted(wins.items(), key=lambda w: -w[1])),
        theorem=len(theorem),
        void=sum(r.get("theorem") == "void" for r in rows),
        holding=len(holding),
        slowest=f"{seconds[0]:.0f} s ({seconds[1]})",
    )


PAGE = """# Nets that nobody here wrote

{nets} third-party nets, each with half of its weights removed (PFP: half of its parameters, by removing neurons or
channels), without any training. `make results` makes this page; all {lines} lines are in [nets.csv](nets.csv): weights
and parameters left, error before and after, decisions changed, what is certified, relative error and seconds.

A cell has the share of decisions that changed on {points:,} fresh points, and in brackets what is certified: with
probability 0.999 over these points, at most this share of all inputs is decided otherwise. For a net of one output
it has the relative error that is exceeded on at most 5 % of inputs. **Bold** is the least change of a line, seen on the
same points: what is certified holds for each cell that was chosen beforehand, not for the best one of a line. Every
sampling method is drawn once. That the nets' authors did not train on these test images is assumed.
{calibration} other points calibrated. "error" is the original net's, where there are labels.

The least change (error, for one output), counted over nets, ties for each: {wins}. Magnitude
pruning needs no data.

What the theorems say: {theorem} of all lines are covered by one that holds for whole nets (Theorem A or B, fully
connected nets only), and {holding} of these promises are not vacuous; on {void}
more lines a premise is violated. Where no theorem covers a net, the hold-out speaks. The slowest line took {slowest}.

{table}

— : the method refuses the net, with the reason in `nets.csv`. Inputs of ACAS Xu, the control nets, TLL, lindex and
KWS are uniform in their boxes, of which the last three are assumed (`nets.py`).
"""


def _cell(row: dict[str, Any], least: float) -> str:
    if "refused" in row:
        return "—"
    if not row["claim"].startswith("argmax"):
        return f"error {row['relative error']:.2g}"
    text = f"{row['decisions changed']:.2%} ({row['certified']:.2%})"
    return f"**{text}**" if row["decisions changed"] == least else text


def main() -> None:
    """Compress every net by every method."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", help="some nets; the page is printed, and no file changes")
    asked = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    entries = json.loads((root() / "index.json").read_text(encoding="utf-8"))
    rows = []
    for entry in entries:
        if asked.only and entry["name"] not in asked.only:
            continue
        sys.stderr.write(f"{entry['family']}/{entry['name']}\n")
        rows += lines(entry)
    if asked.only:
        sys.stdout.write(page(rows))
        return
    (HERE / "nets.json").write_text(json.dumps(rows, indent=0), encoding="utf-8")
    (HERE / "nets.csv").write_text(table(rows), encoding="utf-8")
    (HERE / "nets.md").write_text(page(rows), encoding="utf-8")


def table(rows: list[dict[str, Any]]) -> str:
    """All lines, with numbers as they are read: shares to four decimals, seconds to one."""
    digits = {"seconds": ".1f", "relative error": ".3g"}
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines.writerow(names)
    for row in rows:
        found = [(name, row.get(name)) for name in names]
        lines.writerow(format(v, digits.get(name, ".4f")) if isinstance(v, float) else v for name, v in found)
    return text.getvalue()


if __name__ == "__main__":
    main()
