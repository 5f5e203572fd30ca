"""Time the compiled kernels against the plain ways of doing the same, on one core, and print the ratios."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numba
import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from boundlab.nets.importance import sensitivities
from boundlab.network import Layer
from tests.benchmarks import binomial, draws, torchprune, trials
from tests.benchmarks.timing import Pair, best_of


def dense_sensitivities(weight: np.ndarray, a: np.ndarray) -> np.ndarray:
    """The formula with numpy, one neuron at a time (the whole tensor would not fit)."""
    best = np.zeros_like(weight)
    for i, row in enumerate(weight):
        for side in (np.maximum(row, 0), np.maximum(-row, 0)):
            terms = a * side
            z = terms.sum(axis=1, keepdims=True)
            share = np.divide(terms, z, out=np.zeros_like(terms), where=z > 0)
            best[i] = np.maximum(best[i], share.max(axis=0))
    return best


def sensitivity_pairs() -> Iterator[Pair]:
    """The largest shares of 500 points."""
    rng = np.random.default_rng(0)
    weight, a = rng.normal(size=(300, 784)), np.maximum(rng.normal(size=(500, 784)), 0)
    layer = Layer(weight=weight, bias=np.zeros(300), relu=True)
    yield Pair(
        what="sensitivities, 500 points, 784 x 300",
        ours=best_of(5, lambda: sensitivities(layer, [a], theorem="")),
        peer="numpy, neuron by neuron",
        theirs=best_of(2, lambda: dense_sensitivities(weight, a)),
    )


def main() -> None:
    """Run all pairs and print one table."""
    table = Table(title="boundlab against the plain way, same run, same machine, one core")
    for name in ("what", "boundlab, ms", "peer", "peer, ms", "ratio"):
        table.add_column(name, justify="left" if name in ("what", "peer") else "right")
    numba.set_num_threads(1)
    torch.set_num_threads(1)
    with threadpool_limits(1):
        for pair in itertools.chain(
            sensitivity_pairs(), torchprune.pairs(), draws.pairs(), trials.pairs(), binomial.pairs()
        ):
            ours, theirs = f"{pair.ours * 1e3:.2f}", f"{pair.theirs * 1e3:.2f}"
            table.add_row(pair.what, ours, pair.peer, theirs, f"{pair.theirs / pair.ours:.1f}")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
