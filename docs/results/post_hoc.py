"""Certificates of nets that were trained without a thought of any: brought into a message as they stand.

Writes post_hoc.json, post_hoc.md, a figure and the two best certificates beside this file. What is finished is kept in
build/results, so that an interrupted run goes on. A quarter of an hour on two cores.

    python docs/results/post_hoc.py [--quick]

No net here was chosen by its test error. An Occam bound holds for all messages at once, so that the best line is as
good as any other; a sampled coreset pays for 2^64 draws, so that the best of them is too.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import boundlab as bl
from boundlab.bounds.occam import MessageBound, Occam, occam_binomial
from boundlab.bounds.occam_pyramid import OccamPyramid
from boundlab.bounds.sampled_net import SampledNet
from boundlab.cli.certificates import up
from boundlab.concentration.binomial import upper_limit
from boundlab.nets.feedforward import AveragePool, FeedForward, feed_forward
from boundlab.nets.net_message import decode
from boundlab.nets.prepared import prepared
from boundlab.retraining import Training, fine_tune
from boundlab.risk_certificates import check_certificate, issue_certificate, read_certificate

HERE = Path(__file__).parent
WORK = HERE.parents[1] / "build" / "results"
TRAINING = Training(epochs=20, lr=0.2, batch=100, weight_decay=5e-4)
WIDTHS = (12, 16, 24, 32)
DRAWN = "sampled coreset, a draw"
TRIES = 512  # draws of each law: all of 2^64 are paid
METHODS: dict[str, Callable[[], MessageBound | SampledNet]] = {
    "pyramid, nearest point": lambda: OccamPyramid(feedback=False, name="pyramid, nearest point"),
    "pyramid, errors fed back": lambda: OccamPyramid(name="pyramid, errors fed back"),
    "logarithmic grid": lambda: Occam(name="logarithmic grid"),
    DRAWN: lambda: SampledNet(name=DRAWN, tries=TRIES),
}
THEIRS = (
    "mnist_nnet/sisl_mnist_small",
    "mnist_nnet/sisl_mnist1",
    "mnist_nnet/marabou_mnist10x10",
    "lenet300/ridiculousJoe_pruned",
    "lenet300/dns_original",
)
ZHOU = 0.46
"""Zhou et al. (2019), their LeNet-5 on MNIST, trained, pruned and quantised for it, as we understand the paper."""


class Parts(NamedTuple):
    """A data set in two parts."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


@cache
def mnist() -> Parts:
    """Training images and labels, test images and labels."""
    data = bl.load_data("mnist")
    if data.x_train is None or data.y_train is None or data.x_test is None or data.y_test is None:
        raise SystemExit("MNIST is missing: BOUNDLAB_DATA must name a folder that has it.")
    return Parts(data.x_train, data.y_train, data.x_test, data.y_test)


def ours(width: int, seed: int) -> FeedForward:
    """A 196-width-10 net on images pooled to 14 x 14, by plain stochastic gradient descent."""
    data = mnist()
    pooled = AveragePool(size=2)(data.x_train.reshape(-1, 1, 28, 28)).reshape(len(data.x_train), -1)
    record = WORK / f"post_hoc_{width}_{seed}.npz"
    net = bl.random_network((196, width, 10), rng=seed)
    trained = fine_tune(net, (pooled.astype(np.float32), data.y_train), TRAINING, rng=seed, record=record)
    return prepared(feed_forward(trained), shape=(1, 28, 28), pool=2)


def theirs(name: str) -> FeedForward:
    """A net that somebody else trained, with its own preparation of the images folded in."""
    root = Path(os.environ["BOUNDLAB_DATA"]) / "nets"
    entry = next(e for e in json.loads((root / "index.json").read_text()) if e["file"] == f"{name}.npz")
    found = re.search(r"x/255-([\d.]+)\)/([\d.]+)", entry["input"])
    mean, spread = (float(v) for v in found.groups()) if found else (0.0, 1.0)
    net = feed_forward(bl.load_network(str(root / entry["file"])))
    return prepared(net, scale=1.0 / spread, shift=-mean / spread)


def line(what: str, chain: Callable[[], FeedForward], method: str) -> dict[str, Any]:
    """One certificate, issued, checked, and kept on disk."""
    kept = WORK / f"post_hoc_{re.sub(r'[^a-z0-9]+', '-', f'{what} {method}'.lower())}"
    if kept.with_suffix(".json").exists():
        return json.loads(kept.with_suffix(".json").read_text(encoding="utf-8"))
    start, data, net = time.monotonic(), mnist(), chain()
    certificate = issue_certificate(net, METHODS[method](), data.x_train, data.y_train, data="mnist")
    certificate.save(kept.with_suffix(".cert"))
    seconds = time.monotonic() - start
    found = check_certificate(read_certificate(kept.with_suffix(".cert")), data.x_train, data.y_train)
    coded = decode(certificate.message, certificate.features).net
    test = coded.count_errors(data.x_test, data.y_test)
    row = {
        "net": what,
        "parameters": sum(w.weight.size + w.bias.size for w in net.layers),
        "method": method,
        "bound": certificate.bound,
        "valid": found.valid,
        "error_before": net.count_errors(data.x_train, data.y_train) / certificate.n,
        "error": certificate.errors / certificate.n,
        "test_error": test / len(data.y_test),
        "test_bound": upper_limit(test, len(data.y_test), certificate.delta),
        "bytes": len(certificate.message),
        "nats": certificate.nats,
        "seconds": round(seconds, 1),
    }
    kept.with_suffix(".json").write_text(json.dumps(row), encoding="utf-8")
    return row


def page(rows: list[dict[str, Any]]) -> str:
    """The page, from the numbers."""
    best = min((r for r in rows if r["method"] != DRAWN), key=lambda r: r["bound"])
    drawn = min((r for r in rows if r["method"] == DRAWN), key=lambda r: r["bound"])
    plain = min((r for r in rows if r["method"] == "pyramid, nearest point"), key=lambda r: r["bound"])
    large = min((r for r in rows if r["parameters"] > 200_000), key=lambda r: r["bound"])
    dense = min((r for r in rows if r["net"] == "lenet300/dns_original"), key=lambda r: r["bound"])
    lines = "\n".join(
        f"| {r['net']} | {r['parameters']:,} | {r['method']} | {r['error_before']:.2%} | {r['error']:.2%} | "
        f"{r['bytes']:,} | {r['nats']:,.0f} | {_shown(r['bound'])} | {r['test_error']:.2%} | {r['seconds']:,.0f} |"
        for r in rows
    )
    epochs = TRAINING.epochs
    return f"""# Certificates of nets as they stand

MNIST, 60,000 training images, delta = .05, priors fixed before the data. Nothing was trained for its bound: the nets
were brought into a message (`boundlab bound`) and measured. Every certificate was checked again (`boundlab check`), in
exact arithmetic; operations, sizes, what is done to the images and weights are all in the message. Vacuous bounds, at
90 % or more, are set in italics; all are rounded up. `python docs/results/post_hoc.py` makes this page.

* Best: **{up(best["bound"])}**, {best["net"]}, {best["method"]}, {best["bytes"]:,} bytes
  ([the certificate](certificates/mnist_post_hoc.cert)); error {best["error"]:.2%} on the training images,
  {best["test_error"]:.2%} on the test images, which alone certify {up(best["test_bound"])}.
* By rounding every row to the nearest point of its sphere: {up(plain["bound"])}.
* By sampling edges with coins from a hash, the best of {TRIES} draws of each net, ln 2^64 paid:
  {up(drawn["bound"])}, {drawn["net"]} ([the certificate](certificates/mnist_post_hoc_single_draw.cert)).
* Best of the nets with more than 200,000 parameters: {_shown(large["bound"])}, {large["net"]}; another such net, not
  pruned by its author: {_shown(dense["bound"])}.
* To compare: {ZHOU:.0%}, Zhou et al. (2019) for a LeNet-5 that was pruned, retrained and quantised for its bound, as we
  understand the paper.

Our nets: 196-h-10 on images pooled to 14 x 14, {epochs} epochs of stochastic gradient descent with weight decay
{TRAINING.weight_decay:g}. The others are third-party nets; the mean and the spread of the training images that some of
them subtract and divide by are folded into their first layer, and so paid.

![Bound against what was certified](post_hoc.png)

| net | parameters | into a message by | error before | error after | bytes | nats paid | bound | test error | s |
|---|---|---|---|---|---|---|---|---|---|
{lines}

Errors before and after are on the training images. The nats of a draw are ln Q/P, which can be far below its message;
44.4 more pay for the choice among 2^64 draws. Sampled nets carry the noise of their coins, which is what makes them
cheap: their bounds are worth less than that of a net whose errors of rounding are fed back.
"""


def _shown(bound: float) -> str:
    return f"**{up(bound)}**" if bound < 0.9 else f"*{up(bound)}*"


def figure(rows: list[dict[str, Any]]) -> None:
    """One mark for each certificate: bound against bytes, by how the net got into its message."""
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(8.5, 4.8), layout="constrained")
    ax = drawing.subplots()
    styles = dict(zip(METHODS, [("#0072b2", "o"), ("#d55e00", "s"), ("#999999", "^"), ("#009e73", "D")], strict=True))
    for method, (colour, mark) in styles.items():
        own = [r for r in rows if r["method"] == method]
        ax.plot([r["nats"] for r in own], [r["bound"] for r in own], mark, color=colour, markersize=5, label=method)
    nats = np.geomspace(200, 900_000, 300)
    for error in (0.02, 0.05, 0.1):
        ax.plot(nats, [occam(round(error * 60_000), v) for v in nats], color="#bbbbbb", linewidth=0.8, zorder=0)
        ax.text(
            nats[0], occam(round(error * 60_000), nats[0]), f"{error:.0%} error ", ha="right", va="center", fontsize=8
        )
    ax.axhline(ZHOU, color="#444444", linewidth=1, linestyle="--")
    ax.text(115, ZHOU, "Zhou et al. 2019, a LeNet-5", ha="left", va="bottom", fontsize=8)
    ax.axhline(0.9, color="#444444", linewidth=1)
    ax.text(115, 0.9, "a guess", ha="left", va="bottom", fontsize=8)
    ax.set(xscale="log", xlabel="nats paid for the net", ylabel="bound on its risk", ylim=(0, 1.02), xlim=(110, 1e6))
    ax.yaxis.set_major_formatter(lambda v, _: f"{v:.0%}")
    ax.grid(color="#eeeeee", linewidth=0.5)
    ax.legend(frameon=False, fontsize=8, loc="lower right")
    drawing.savefig(HERE / "post_hoc.png", dpi=120)


def occam(errors: int, nats: float) -> float:
    """The bound of so many errors in 60,000 at such a price."""
    return occam_binomial(errors, 60_000, nats - np.log(0.05))


def main() -> None:
    """Run what is missing, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one seed of the smallest net only, and no page")
    quick = parser.parse_args().quick
    WORK.mkdir(parents=True, exist_ok=True)
    nets: dict[str, Callable[[], FeedForward]] = {
        f"196-{width}-10, seed {seed}": lambda width=width, seed=seed: ours(width, seed)
        for width in WIDTHS[: 1 if quick else None]
        for seed in range(1 if quick else 3)
    }
    nets |= {} if quick else {name: lambda name=name: theirs(name) for name in THEIRS}
    rows, start = [], time.monotonic()
    for what, chain in nets.items():
        for method in METHODS:
            rows.append(line(what, chain, method))
            sys.stderr.write(f"{time.monotonic() - start:6.0f} s  {what}, {method}: {rows[-1]['bound']:.2%}\n")
    if quick:
        return
    for name, among in (("", True), ("_single_draw", False)):
        own = [r for r in rows if (r["method"] != DRAWN) is among]
        best = min(own, key=lambda r: r["bound"])
        source = WORK / f"post_hoc_{re.sub(r'[^a-z0-9]+', '-', (best['net'] + ' ' + best['method']).lower())}.cert"
        (HERE / "certificates").mkdir(exist_ok=True)
        (HERE / "certificates" / f"mnist_post_hoc{name}.cert").write_bytes(source.read_bytes())
    (HERE / "post_hoc.json").write_text(json.dumps(rows, indent=0) + "\n", encoding="utf-8")
    (HERE / "post_hoc.md").write_text(page(rows), encoding="utf-8")
    figure(rows)


if __name__ == "__main__":
    main()
