"""A whole trial: fresh coins for every layer of a positive 784-300-100-10 net and one input, against the original."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from boundlab import CoreNetBudget, compress, random_network
from boundlab.records import Compression
from boundlab.verification.joint import additive_trial, relative_trial
from tests.benchmarks.timing import Pair, Task, best_of

EPS, DRAWS = 0.5, 2_000


def sampled_everywhere(sizes: tuple[int, ...]) -> Compression:
    """A compression of a positive net with DRAWS draws for each neuron, also where that spares nothing."""
    net = random_network(sizes, rng=1, positive=True)
    small = compress(net, CoreNetBudget(nnz=net.nnz // 10), np.random.default_rng(0).random((200, sizes[0])), rng=3)

    def free(coreset):
        groups = len(coreset.plan.groups)
        return replace(
            coreset, plan=replace(coreset.plan, size=np.full(groups, float(DRAWS)), exact=np.zeros(groups, bool))
        )

    return replace(small, coresets=tuple(free(c) for c in small.coresets))


def pairs() -> Iterator[Pair]:
    """The trials that `verify` runs beside plain ones, in trials per second."""
    small = sampled_everywhere((784, 300, 100, 10))
    x, rng = np.random.default_rng(4).random((1, 784)), np.random.default_rng(5)
    relative, additive = relative_trial(small, EPS), additive_trial(small)
    ours = best_of(300, lambda: relative(rng, x))
    for name, peer in peers(small, x).items():
        yield Pair(
            what=f"trial, 410 x {DRAWS:,} draws: {1 / ours:.0f}/s", ours=ours, peer=name, theirs=best_of(5, peer)
        )
    ours = best_of(300, lambda: additive(rng, x))
    plain = best_of(5, peers(small, x)["numpy"])
    yield Pair(
        what=f"trial with Theorem B's envelope: {1 / ours:.0f}/s", ours=ours, peer="numpy, without", theirs=plain
    )


def peers(small: Compression, x: np.ndarray) -> dict[str, Task]:
    """The relative trial with what numpy and torch offer, the worth of a draw prepared as ours is."""
    rng, coins = np.random.default_rng(6), torch.Generator().manual_seed(6)
    layers, tensors = [], []
    for layer, plan in zip(small.original.layers, small.plans, strict=True):
        q = plan.sensitivities.probabilities.reshape(layer.weight.shape)
        worth = np.divide(layer.weight, DRAWS * q, out=np.zeros_like(q), where=q > 0)
        layers.append((q, worth, layer.relu))
        tensors.append((torch.from_numpy(q), torch.from_numpy(worth), layer.relu))
    f, point = small.original(x)[0], torch.from_numpy(x[0])
    target = torch.from_numpy(f)

    def numpy_trial() -> bool:
        a = x[0]
        for q, worth, relu in layers:
            z = (rng.multinomial(DRAWS, q) * worth) @ a
            a = np.maximum(z, 0.0) if relu else z
        return bool((np.abs(a - f) > EPS * np.abs(f)).any())

    def torch_trial() -> bool:
        a = point
        for q, worth, relu in tensors:
            drawn = torch.multinomial(q, DRAWS, replacement=True, generator=coins)
            counts = torch.zeros_like(q).scatter_add_(1, drawn, torch.ones(1, dtype=q.dtype).expand(drawn.shape))
            z = (counts * worth) @ a
            a = torch.relu(z) if relu else z
        return bool(((a - target).abs() > EPS * target.abs()).any())

    return {"numpy": numpy_trial, "torch": torch_trial}
