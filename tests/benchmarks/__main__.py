"""Time the compiled kernels against the plain ways of doing the same, and print the ratios."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import numpy as np
from rich.console import Console
from rich.table import Table

from boundlab.coresets.alias import draw_counts
from boundlab.nets.importance import sensitivities
from boundlab.network import Layer


def best_of(runs: int, task: Callable[[], object]) -> float:
    """The shortest of several runs, in seconds; the first, which may compile, is not counted."""
    task()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        task()
        times.append(time.perf_counter() - start)
    return min(times)


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


def main() -> None:
    """Run all pairs and print one table."""
    rng = np.random.default_rng(0)
    table = Table(title="boundlab against the plain way, same run, same machine")
    for name in ("what", "boundlab, ms", "peer", "peer, ms", "ratio"):
        table.add_column(name, justify="left" if name in ("what", "peer") else "right")

    weight, a = rng.normal(size=(300, 784)), np.maximum(rng.normal(size=(500, 784)), 0)
    layer = Layer(weight=weight, bias=np.zeros(300), relu=True)
    ours = best_of(5, lambda: sensitivities(layer, [a], theorem=""))
    plain = best_of(2, lambda: dense_sensitivities(weight, a))
    add(table, "sensitivities, 500 points, 784 x 300", ours, "numpy, neuron by neuron", plain)

    for m in (200, 20_000):
        q = rng.random((200, 784))
        q /= q.sum(axis=1, keepdims=True)
        indptr, size = np.arange(0, 200 * 784 + 1, 784), np.full(200, m)
        flat, generator = q.ravel(), np.random.default_rng(1)
        ours = best_of(5, partial(draw_counts, flat, indptr, size, generator))
        numpy = best_of(5, partial(generator.multinomial, size, q))
        add(table, f"draws, 200 groups of 784, m = {m:,}", ours, "numpy multinomial", numpy)
    Console(width=110).print(table)


def add(table: Table, what: str, ours: float, peer: str, theirs: float) -> None:
    """Add one pair to the table."""
    table.add_row(what, f"{ours * 1e3:.2f}", peer, f"{theirs * 1e3:.2f}", f"{theirs / ours:.1f}")


if __name__ == "__main__":
    main()
