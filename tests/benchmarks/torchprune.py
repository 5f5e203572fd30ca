"""Sensitivities of all weights beside torchprune 2.2.0, the authors' own code, if it is on PYTHONPATH."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from boundlab.compressors.calibration import calibrate
from boundlab.nets.module_net import ModuleNet
from tests.benchmarks.timing import Pair, best_of
from tests.reference.torchprune_run import place, tracked

nn = torch.nn


def nets() -> Iterator[tuple[str, torch.nn.Module, tuple[int, ...]]]:
    """Name, net and the shape of its points: 152 are what the authors' rule asks of LeNet-300-100."""
    yield (
        "LeNet-300-100, 152 points",
        nn.Sequential(nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10)),
        (152, 784),
    )
    yield (
        "conv 16-32-32 and linear, 64 points",
        nn.Sequential(
            nn.Conv2d(3, 16, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(512, 10),
        ),
        (64, 3, 32, 32),
    )


def pairs() -> Iterator[Pair]:
    """One whole pass over the points each, from the module to the sensitivities."""
    if place() is None:
        print("torchprune: missing; tests/reference/README.md tells how to put it on PYTHONPATH")
        return
    rng = np.random.default_rng(0)
    for name, net, shape in nets():
        for p in net.parameters():
            p.data = torch.from_numpy(rng.normal(size=tuple(p.shape), scale=0.1).astype(np.float32))
        x = (rng.random(shape) * (rng.random(shape) < 0.2)).astype(np.float32)  # as dark as MNIST
        yield Pair(
            what=f"sensitivities, {name}",
            ours=best_of(5, lambda net=net, x=x: calibrate(ModuleNet(net, x), x, 1.0, 0.05, theorem="")),
            peer="torchprune 2.2.0",
            theirs=best_of(1, lambda net=net, x=x: tracked("SiPPNetRand", net, x)),
        )
