"""Draws with replacement: 300 rows of 784 probabilities, prepared once, drawn many times."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from scipy.stats import sampling

from boundlab.coresets.alias import Multinomials, draw_counts
from tests.benchmarks.timing import Pair, Task, best_of

ROWS, COLUMNS = 300, 784


def pairs() -> Iterator[Pair]:
    """Our counts beside those of numpy, SciPy and torch; Poisson counts are another law, and only shown."""
    q = np.random.default_rng(0).random((ROWS, COLUMNS))
    q /= q.sum(axis=1, keepdims=True)
    indptr, rng = np.arange(0, ROWS * COLUMNS + 1, COLUMNS), np.random.default_rng(1)
    for m in (200, 2_000, 20_000):
        groups = Multinomials(q.ravel(), indptr, np.full(ROWS, m))
        ours = best_of(20, lambda groups=groups: groups.draw(rng))
        what = f"draws, 300 x 784, m = {m:,}: {ours / (ROWS * m) * 1e9:.2f} ns"
        for name, peer in peers(q, m, rng).items():
            yield Pair(what=what, ours=ours, peer=name, theirs=best_of(3, peer))
    many = Multinomials(q.ravel(), indptr, np.full(ROWS, 200_000))
    yield Pair(
        what="draws, 300 x 784, m = 200,000: conditional binomials",
        ours=best_of(5, lambda: many.draw(rng)),
        peer="numpy multinomial",
        theirs=best_of(3, lambda: rng.multinomial(200_000, q)),
    )
    fresh = best_of(5, lambda: draw_counts(q.ravel(), indptr, np.full(ROWS, 2_000), rng))
    yield Pair(
        what="the same at m = 2,000, tables and all",
        ours=fresh,
        peer="SciPy DiscreteAliasUrn",
        theirs=best_of(2, lambda: peers(q, 2_000, rng)["SciPy DiscreteAliasUrn"]()),
    )


def peers(q: np.ndarray, m: int, rng: np.random.Generator) -> dict[str, Task]:
    """What others offer for the same counts, shape (ROWS, COLUMNS)."""
    urns = [sampling.DiscreteAliasUrn(row, random_state=rng) for row in q]
    table, coins = torch.from_numpy(q), torch.Generator().manual_seed(2)
    first = torch.arange(ROWS)[:, None] * COLUMNS
    return {
        "numpy multinomial": lambda: rng.multinomial(m, q),
        "numpy Poisson (another law)": lambda: rng.poisson(m * q),
        "SciPy DiscreteAliasUrn": lambda: np.array([np.bincount(u.rvs(m), minlength=COLUMNS) for u in urns]),
        "torch multinomial + bincount": lambda: torch.bincount(
            (torch.multinomial(table, m, replacement=True, generator=coins) + first).ravel(), minlength=ROWS * COLUMNS
        ),
    }
