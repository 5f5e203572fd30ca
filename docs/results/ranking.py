"""Which measures rank a family of small nets by their generalization gap: a few hundred MLPs on 2,000 MNIST images.

Writes ranking.json, ranking.md and ranking.png beside this file. Every net and every line that was found before by the
same source is kept in build/results, so that an interrupted run goes on. About forty minutes on two cores;
BOUNDLAB_DATA must name the data.

    python docs/results/ranking.py [--jobs 2]

All nets are trained by stochastic gradient descent with momentum to the same cross-entropy; those that do not reach it
in time are left out and counted.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from source_digest import digest

import boundlab as bl
from boundlab.bounds.measures import MEASURES, complexity_measures
from boundlab.nets.norms import frobenius_norm
from boundlab.ranking import Ranking, rank_measures

HERE = Path(__file__).parent
WORK = HERE.parents[1] / "build" / "results" / f"ranking_{digest(__file__)}"
AXES: dict[str, tuple[Any, ...]] = {
    "width": (32, 128),
    "depth": (1, 2, 3),
    "rate": (0.02, 0.08),
    "decay": (0.0, 3e-4),
    "batch": (32, 128),
}
SEEDS = 3
TRAINING = 2_000
TARGET = 0.02  # cross-entropy on all training images
EPOCHS = 500  # at most
RESAMPLES = 500
CONTROLS = 100  # coins for the values of the axes, of which one is shown
Job = dict[str, Any]


@cache
def mnist() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The first training images and all test images, 14 x 14 means of 2 x 2 pixels in [0, 1]."""
    data = bl.load_data("mnist")
    if data.x_train is None or data.y_train is None or data.x_test is None or data.y_test is None:
        raise SystemExit("BOUNDLAB_DATA must hold MNIST.")
    return {
        "training": (pooled(data.x_train[:TRAINING]), data.y_train[:TRAINING]),
        "test": (pooled(data.x_test), data.y_test),
    }


def pooled(x: np.ndarray) -> np.ndarray:
    """(points, 784) -> (points, 196)."""
    return x.reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4)).reshape(len(x), 196)


def start(job: Job) -> bl.Network:
    """The net before training: He's normal weights, biases of 0."""
    sizes = [196, *[job["width"]] * job["depth"], 10]
    return bl.random_network(sizes, rng=job["seed"])


def train(job: Job) -> tuple[bl.Network, int, float]:
    """The trained net, the epochs it took and the cross-entropy it reached."""
    import torch

    torch.set_num_threads(1)
    x, y = (torch.tensor(a, dtype=t) for a, t in zip(mnist()["training"], (torch.float32, torch.int64), strict=True))
    first = start(job)
    weights = [torch.tensor(layer.weight, dtype=torch.float32, requires_grad=True) for layer in first.layers]
    biases = [torch.zeros(len(w), requires_grad=True) for w in weights]
    optimizer = torch.optim.SGD([*weights, *biases], lr=job["rate"], momentum=0.9, weight_decay=job["decay"])
    rng, loss, epoch = np.random.default_rng([1, job["seed"]]), math.inf, 0

    def cross_entropy(chosen: torch.Tensor) -> torch.Tensor:
        a = x[chosen]
        for k, (w, b) in enumerate(zip(weights, biases, strict=True)):
            a = torch.nn.functional.linear(a, w, b)
            a = a.relu() if k < len(weights) - 1 else a
        return torch.nn.functional.cross_entropy(a, y[chosen])

    while loss > TARGET and epoch < EPOCHS and (epoch == 0 or math.isfinite(loss)):
        for chosen in torch.from_numpy(rng.permutation(len(x))).split(job["batch"]):
            optimizer.zero_grad()
            cross_entropy(chosen).backward()
            optimizer.step()
        epoch += 1
        with torch.inference_mode():
            loss = float(cross_entropy(torch.arange(len(x))))
    pairs = [(w.detach().double().numpy(), b.detach().double().numpy()) for w, b in zip(weights, biases, strict=True)]
    layers = [bl.Layer(weight=w, bias=b, relu=k < len(pairs) - 1) for k, (w, b) in enumerate(pairs)]
    return bl.Network(layers=tuple(layers)), epoch, loss


def occam(net: bl.Network) -> float:
    """The Occam bound in Hoeffding's form, which does not end at 1: the nets are too large for their 2,000 images."""
    return bl.bound(net, bl.Occam(), *mnist()["training"]).facts["occam_hoeffding"]


def distance(net: bl.Network, job: Job) -> float:
    """The Euclidean distance of all weights from where they started."""
    return math.hypot(
        *(frobenius_norm(a.weight - b.weight) for a, b in zip(net.layers, start(job).layers, strict=True))
    )


def coin(*key: Any) -> float:
    """A number that depends on the key alone."""
    return float(np.random.default_rng([ord(c) for c in repr(key)]).random())


def axis_coins(job: Job, k: int) -> float:
    """A coin for each value of each axis, added up: it depends on the hyper-parameters and knows nothing of the gap."""
    return sum(coin(k, axis, job[axis]) for axis in AXES)


MORE: dict[str, Callable[[bl.Network, Job], float]] = {
    "layers": lambda net, job: len(net.layers),
    "distance from the start": distance,
    "Occam bound": lambda net, job: occam(net),
    "a coin for each net": lambda net, job: coin(sorted(job.items())),
    "a coin for each setting": lambda net, job: coin(sorted((k, v) for k, v in job.items() if k != "seed")),
    "a coin for each value of each axis": lambda net, job: axis_coins(job, 0),
}
"""What is expected to grow with the gap, besides MEASURES. The coins know nothing: they show how far luck goes."""
NAMES = [*(measure.name for measure in MEASURES), *MORE]


def jobs() -> list[Job]:
    """All settings, each with every seed."""
    return [
        dict(zip((*AXES, "seed"), values, strict=True)) for values in itertools.product(*AXES.values(), range(SEEDS))
    ]


def run(job: Job) -> dict[str, Any]:
    """One line of the results; the net and the line are kept."""
    name = "_".join(f"{key}{value}" for key, value in job.items())
    line, stored = WORK / f"{name}.json", WORK / f"{name}.npz"
    row = json.loads(line.read_text(encoding="utf-8")) if line.exists() else {}
    if stored.exists() and "epochs" in row:
        net = bl.load_network(str(stored))
    else:
        net, epochs, loss = train(job)
        arrays = {f"{kind}{k}": a for k, layer in enumerate(net.layers) for kind, a in _arrays(layer)}
        np.savez(stored, allow_pickle=False, **arrays)
        row = job | {"epochs": epochs, "cross_entropy": loss, "reached": loss <= TARGET}
        row |= {f"{part}_error": net.errors(*points) / len(points[1]) for part, points in mnist().items()}
    if row["reached"]:  # the others are left out
        if any(measure.name not in row for measure in MEASURES):
            row |= complexity_measures(net, *mnist()["training"])
        row |= {name: float(of(net, job)) for name, of in MORE.items() if name not in row}
    line.write_text(json.dumps(row), encoding="utf-8")
    return row


def _arrays(layer: bl.Layer) -> tuple[tuple[str, np.ndarray], tuple[str, np.ndarray]]:
    return ("W", layer.weight.astype(np.float32)), ("b", layer.bias.astype(np.float32))


def controls(family: dict[str, Any]) -> tuple[float, float]:
    """The share of coins for the values of the axes with p <= 0.05, by tau and by granulated tau."""
    jobs = [dict(zip(AXES, values, strict=True)) for values in zip(*(family[axis] for axis in AXES), strict=True)]
    coins = {f"coins {k}": np.array([axis_coins(job, k) for job in jobs]) for k in range(CONTROLS)}
    found = rank_measures(family | coins, axes=list(AXES), measures=list(coins), resamples=99, progress=tell)
    small = np.array([(line.tau.p <= 0.05, line.granulated.p <= 0.05) for line in found.lines])
    return float(small[:, 0].mean()), float(small[:, 1].mean())


def page(rows: list[dict[str, Any]], found: Ranking, small: tuple[float, float]) -> str:
    """The results as Markdown."""
    head = [
        "measure",
        "τ",
        "p",
        "granulated τ",
        "p",
        "information",
        "p",
        "largest sign error",
        "mean",
        "wrong in",
        *AXES,
    ]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for one in sorted(found.lines, key=lambda one: -one.granulated.value):
        cells = [one.measure]
        for score in (one.tau, one.granulated, one.information):
            low, high = score.interval or (math.nan, math.nan)
            cells += [f"{score.value:.2f} ({low:.2f} … {high:.2f})", f"{score.p:.3f}"]
        cells += [
            f"{one.robust.value:.2f}",
            f"{one.sign_error:.2f}",
            f"{one.wrong:.0%}",
            *(f"{one.axes[axis]:+.2f}" for axis in AXES),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    gaps = sorted(row["test_error"] - row["training_error"] for row in rows if row["reached"])
    bounds = sorted(row["Occam bound"] for row in rows if row["reached"])
    perfect = sum(one.robust.value <= 0.5 for one in found.lines)
    return PAGE.format(
        table="\n".join(lines),
        nets=found.nets,
        left=len(rows) - found.nets,
        settings=found.settings,
        environments=found.environments,
        resamples=found.resamples,
        target=TARGET,
        training=TRAINING,
        axes="; ".join(f"{name} {', '.join(map(str, values))}" for name, values in AXES.items()),
        seeds=SEEDS,
        gaps=f"{gaps[0]:.1%} to {gaps[-1]:.1%}",
        bounds=f"{bounds[0]:.3f} to {bounds[-1]:.3f}",
        lines=len(found.lines),
        controls=CONTROLS,
        by_tau=f"{small[0]:.0%}",
        by_granulated=f"{small[1]:.0%}",
        best=max(found.lines, key=lambda one: one.granulated.value).measure,
        perfect={0: "No measure is", 1: "One measure is"}.get(perfect, f"{perfect} measures are"),
    )


PAGE = """# Which measures rank nets by their generalization gap

`make results` makes this page; all lines are in `ranking.json`. {nets} fully connected nets of {settings} settings were
trained on {training:,} MNIST images of 14 x 14 pixels until their cross-entropy there was at most {target}; {left} more
did not reach it and are left out. The settings are all combinations of {axes}, with {seeds} seeds each. The gap, test
error on 10,000 images less training error, runs from {gaps}.

**Correlation certifies nothing.** A measure that ranks these nets well bounds the risk of none of them, and may fail on
the next family; the Occam bound, in Hoeffding's form the one measure here that is a bound, runs from {bounds}.

![What the measures reach, and what they reach when their values are dealt out by luck](ranking.png)

{table}

- τ is Kendall's, over all pairs of nets; the granulated τ is over pairs that differ in one axis only, averaged over the
  axes, whose own means are the last columns. Ties count as 0.
- Information is what the sign of the measure's difference tells of the sign of the gap's, as a share of its entropy,
  given the values of both nets on two axes or fewer: the least over these sets. It does not see the direction.
- The largest sign error is over {environments} pairs of settings that differ in one axis only, with up to
  {seeds} x {seeds} pairs of nets each: 0 is always right, 1/2 a coin. {perfect} right at least every other time in each
  of them; "wrong in" is the share of them in which it is above 1/2, a tie of the measure being half an error.
- In brackets: the middle 95 % over {resamples} draws of random weights of the settings, a picture of noise without
  promised coverage. p: the share of {resamples} deals of the measure's values among the settings, itself included, that
  do at least as well, in either direction for τ; for one measure and one number each, so that among {lines} measures
  some small ones are luck.
- A small p says that the values are not exchangeable among the settings, which is less than that the measure knows the
  gap. A measure that is a function of the hyper-parameters is not exchangeable, whatever they have to do with the gap:
  of {controls} measures that add up a coin for each value of each axis, {by_tau} have p ≤ 0.05 by τ and {by_granulated}
  by the granulated τ, where a test of "it knows nothing" would show 5%. So a small p of a count of parameters or
  layers, or of a norm that the width decides, shows that it depends on the axes, and no more. The row of such a coin
  stands among the others.
- Above all others here stands "{best}", which these nets chose.
"""


def tell(share: float, text: str) -> None:
    """Show how far the ranking is."""
    sys.stderr.write(f"\r{share:.0%} {text:50}")


def main() -> None:
    """Train and measure what is missing, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2)
    asked = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    rows, begun, todo = [], time.monotonic(), jobs()
    with ProcessPoolExecutor(asked.jobs, mp_context=get_context("spawn")) as pool:
        for done, future in enumerate(as_completed([pool.submit(run, job) for job in todo]), 1):
            rows.append(future.result())
            sys.stderr.write(f"\r{done} of {len(todo)} nets after {time.monotonic() - begun:.0f} s")
    rows.sort(key=lambda row: [row[name] for name in (*AXES, "seed")])
    family = {name: np.array([row[name] for row in rows if row["reached"]]) for name in rows[0]}
    found = rank_measures(family, axes=list(AXES), measures=NAMES, resamples=RESAMPLES, progress=tell)
    (HERE / "ranking.json").write_text(json.dumps(rows, indent=0), encoding="utf-8")
    (HERE / "ranking.md").write_text(page(rows, found, controls(family)), encoding="utf-8")
    ax = found.plot()
    figure: Any = ax.figure
    figure.savefig(HERE / "ranking.png", dpi=120)


if __name__ == "__main__":
    main()
