"""Every bound of the catalogue on a few trained nets that nobody here wrote, and on one that is trained here.

Writes bounds_compared.md and bounds_compared.png beside this file; `make results` runs it. BOUNDLAB_DATA must name the
folder of data sets and nets. What is finished is kept in build/results and serves the same source only, so that an
interrupted run goes on. About six minutes.

    python docs/results/bounds_compared.py [--only NAME ...]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from source_digest import digest

import boundlab as bl
from boundlab.bounds.fixed_features import LinearHead
from boundlab.bounds.generalization_bound import Sample
from boundlab.bounds.transfer import SpectralTransfer
from boundlab.comparing import CATALOGUE, Compared, Comparison, compare
from boundlab.compressors.method import Net
from boundlab.nets.load_module import load_module
from boundlab.nets.module_net import ModuleNet
from boundlab.promises import Bound, Premise, Status

HERE = Path(__file__).parent
WORK = HERE.parents[1] / "build" / "results" / f"bounds_compared_{digest(__file__)}"
NETS = (
    "mnist_nnet/sisl_mnist_small",
    "mnist_nnet/neurify_mnist50",
    "lenet300/ridiculousJoe_dense",
    "lenet300/ridiculousJoe_pruned",
    "fashion_mlp/Viranshu-30",
    "mnist_conv/eran_mnist_convSmallRELU__Point",
    "digits, trained here",
)
"""A linear net, small and large ones, one that its author pruned, another data set, convolutions, few examples."""
SCALES = {"x/255": (0.0, 1.0), "(x/255-.1307)/.3081": (0.1307, 0.3081)}
"""What images in [0, 1] are shifted and divided by, as index.json writes it."""
DELTA = 0.05
CALIBRATION = 200
KINDS = {(kind if isinstance(kind, type) else type(kind)).__name__: kind for kind in CATALOGUE}
Points = tuple[np.ndarray, np.ndarray]


def read(name: str) -> tuple[Net, Points, Points, float]:
    """A net, its training and its test examples as it reads them, and the largest size that an entry can have."""
    if name.startswith("digits"):
        training, test = images("digits")
        return bl.train_mlp(*training, hidden=(32,), epochs=60, rng=0), training, test, 1.0
    root = Path(os.environ["BOUNDLAB_DATA"]) / "nets"
    entries = json.loads((root / "index.json").read_text(encoding="utf-8"))
    entry = next(e for e in entries if f"{e['family']}/{e['name']}" == name)
    shift, scale = SCALES[entry["input"]]
    largest = max(shift, 1.0 - shift) / scale
    training, test = (((x - shift) / scale, y) for x, y in images(entry["dataset"]))
    if entry["kind"] == "mlp":
        net = bl.load_network(str(root / entry["file"]), relu_after_last=bool(entry["relu_after_last"]))
        return net, training, test, largest
    training, test = ((x.reshape(-1, 1, 28, 28).astype(np.float32), y) for x, y in (training, test))
    return ModuleNet(load_module(str(root / entry["file"])), training[0][:1]), training, test, largest


def images(name: str) -> tuple[Points, Points]:
    """Training and test points of a data set, flat, in [0, 1]."""
    data = bl.load_data(name)
    if data.x_train is None or data.y_train is None or data.x_test is None or data.y_test is None:
        raise SystemExit(f"BOUNDLAB_DATA must hold {name}.")
    return (data.x_train, data.y_train), (data.x_test, data.y_test)


def compared(name: str) -> Comparison:
    """All bounds on one net; kept on disk."""
    kept = WORK / f"{name.replace('/', '_').replace(', ', '_').replace(' ', '_')}.json"
    if kept.exists():
        return restored(json.loads(kept.read_text(encoding="utf-8")))
    net, training, (x, y), largest = read(name)
    # CoreNet calibrates on fresh points; half of the others test the net, the rest serves the transfer without labels
    half = CALIBRATION + (len(x) - CALIBRATION) // 2
    subject, bounds = net, [*CATALOGUE, LinearHead(features_fixed=False)]
    if isinstance(net, bl.Network):
        small = bl.compress(net, bl.CoreNet(), x[:CALIBRATION], rng=0)
        if not small.unchanged:
            raise SystemExit(f"{name}: the page says that CoreNet leaves the net as it is, which it does not.")
        subject, bounds = small, [*bounds, SpectralTransfer(radius=largest * math.sqrt(net.sizes[0]))]
    found = compare(
        subject,
        *training,
        test=(x[CALIBRATION:half], y[CALIBRATION:half]),
        unlabelled=x[half:],
        delta=DELTA,
        bounds=bounds,
        progress=lambda share, text: tell(f"{name}: {share:4.0%} {text}"),
    )
    kept.write_text(json.dumps(stored(found)), encoding="utf-8")
    return found


def tell(text: str) -> None:
    """One line that says how far things are."""
    sys.stderr.write(f"\r{text:100.100}")


def stored(found: Comparison) -> dict[str, Any]:
    """A comparison as JSON."""
    told = {k: v for k, v in vars(found).items() if k != "lines"}
    lines = []
    for line in found.lines:
        bound = None if line.bound is None else asdict(line.bound)
        lines.append(vars(line) | {"kind": line.kind.__name__, "bound": bound})
    return told | {"lines": lines}


def restored(told: Any) -> Comparison:
    """What `stored` wrote."""
    lines = []
    for line in told["lines"]:
        kind = KINDS[line["kind"]]
        bound = line["bound"]
        if bound is not None:
            premises = tuple(Premise(**(p | {"status": Status(p["status"])})) for p in bound["premises"])
            bound = Bound(**(bound | {"premises": premises, "terms": tuple(map(tuple, bound["terms"]))}))
        lines.append(Compared(**(line | {"kind": kind if isinstance(kind, type) else type(kind), "bound": bound})))
    return Comparison(**(told | {"lines": tuple(lines)}))


def number(line: Compared) -> str:
    """A risk, or what exceeds 1; rounded up."""
    if line.bound is None:
        return ""
    raw = line.bound.raw
    if raw <= 1.0 and not line.bound.measure:
        return f"{math.ceil(1e4 * raw - 1e-9) / 100:.2f} %"
    return f"{raw:.2g}"


def table(name: str, found: Comparison) -> str:
    """One net as Markdown."""
    fresh = "" if found.test_error is None else f", {found.test_error:.2%} on {found.test_points:,} fresh ones"
    best = found.best(Sample.TRAINING)
    says = (
        "no bound from the training examples is non-vacuous"
        if best is None
        else (f"the best bound from the training examples is {number(best)} ({best.name}), for {best.certifies}")
    )
    head = f"## {name}\n\nErrors: {found.training_error:.2%} of {found.points:,} training examples{fresh}; {says}.\n\n"
    lines = ["| bound | value | standing | whose risk | nats | premises | s |", "|---|---|---|---|---|---|---|"]
    for line in found.lines:
        row = line.rows()[0]
        nats = "" if row["nats"] is None else f"{row['nats']:,.0f}"
        told = row["premises"] or row["remark"]
        cells = [line.name, number(line), line.standing, line.certifies, nats, told, f"{line.seconds:.1f}"]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return head + "\n".join(lines)


PAGE = """# Every bound, on nets that nobody here wrote

`make results` makes this page. Each line holds with probability {confidence:.0%} on its own; all lines of a net
together only at the sum of their deltas, and so does the best of them. What a number certifies stands beside it: often
not the net itself. For the bounds of compressions, fully connected nets went through CoreNet at the sample sizes of its
theorem, calibrated on {calibration} test images that serve nothing else; it keeps every weight, so that "the net" is
the one that its authors trained. Half of the other test images test it, and half serve without labels. That no author
trained on test images is assumed.

Of {lines} lines {good} are non-vacuous, {vacuous} vacuous, {measures} measures only, {void} rest on a violated premise,
and {none} do not apply to the net.

![Every bound on every net: linear up to a risk of 1, logarithmic beyond](bounds_compared.png)

{tables}
"""


def main() -> None:
    """Compare what is missing, then write the page and the figure."""
    from matplotlib.figure import Figure

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", help="some nets; the page is printed, and no file changes")
    asked = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    found = {name: compared(name) for name in NETS if not asked.only or name in asked.only}
    standings = [line.standing for one in found.values() for line in one.lines]
    kinds = ("non-vacuous", "vacuous", "measure only", "premise violated", "does not apply")
    counts = dict(zip(("good", "vacuous", "measures", "void", "none"), map(standings.count, kinds), strict=True))
    page = PAGE.format(
        confidence=1.0 - DELTA,
        calibration=CALIBRATION,
        lines=len(standings),
        tables="\n\n".join(table(name, one) for name, one in found.items()),
        **counts,
    )
    if asked.only:
        sys.stdout.write(page)
        return
    heights = [2.0 + 0.3 * len(one.lines) for one in found.values()]
    figure = Figure(figsize=(9.0, sum(heights)), layout="constrained")
    axes = figure.subplots(len(found), 1, height_ratios=heights, squeeze=False)[:, 0]
    for ax, (name, one) in zip(axes, found.items(), strict=True):
        one.plot(ax).set_title(name, fontsize=10, pad=38, loc="left")
    figure.savefig(HERE / "bounds_compared.png", dpi=110)
    (HERE / "bounds_compared.md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
