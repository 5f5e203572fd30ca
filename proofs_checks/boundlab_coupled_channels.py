"""Channels that are added, concatenated or grouped go together; without them a net computes what zeros at readers do.

Statement. Let the values of a net be made of channels, each with a label, by operations of four kinds: layers that
read labels through columns of weights; operations that act on each channel by itself, with parameters of its own (a
batch norm, an activation, pooling, a product with a number for each channel); sums, of channels of equal labels; and
grouped convolutions, all channels of a group and all that it reads having one label. Concatenating and flattening move
labels along. Let D be a set of labels, none at an output. If all readers have zeros in the columns of D, the net
without the rows, parameters, groups and columns of D computes the same; if they have the factor t_j in the columns of
j, so does the net whose columns are multiplied. It has sum over weight matrices of rows x columns that are left, and
what the labels that are left have besides.

Proof. By induction along the graph, a channel without a label in D is the same in both nets: a layer reads D through
zeros only; an operation on single channels, and a sum, makes it from channels of its own label; so does a grouped
convolution, whose groups lie in D as a whole or not at all. Outputs have no label in D. A batch norm's shift is a part
of its channel: removed is the channel, not the weights that put it out.

What does not fit (a normalisation across channels, a slice, a pad or a view whose sizes are written in code) lets its
labels stay. Two summands with different labels, one of them removed, would leave a sum of fewer channels.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import z3

from boundlab.nets.module_channels import shrink
from boundlab.nets.module_net import ModuleNet
from boundlab.nets.space_sensitivities import parameters_left
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge
from proofs_checks.proving import counterexample, prove

THEOREM = Theorem(
    name="Channels that go together",
    source="ours; PFP's released code (torchprune 2.2.0, commit 14b392c) zeroes what has no gradient on the "
    "calibration points instead",
    given=(
        "added channels have equal labels, and so have those of a group and what it reads",
        "the columns of the labels are removed from every layer that reads them",
    ),
    claim=r"f_{-D} = f|_{W^r_{:,D} = 0\ \forall\,\mathrm{readers}\ r}, \qquad "
    r"|\theta_{-D}| = \sum_\ell r_\ell c_\ell + \sum_{j \notin D} o_j",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="nets/module_channels.py",
        old="cut = (cut.double() * by).to(tensor.dtype)",
        new="cut = (cut.double() + 0 * by).to(tensor.dtype)",
    ),
    Mutation(file="nets/channel_graph.py", old="self.unite(own.ids, most.ids)", new="self.unite(own.ids, own.ids)"),
    Mutation(
        file="nets/channel_graph.py",
        old="self.unite(together, np.full(len(together), together[0]))",
        new="self.unite(together, together)",
    ),
    Mutation(
        file="nets/channel_graph.py",
        old="np.tile(np.repeat(found.ids, inner), outer)",
        new="np.tile(found.ids, inner * outer)",
    ),
    Mutation(
        file="nets/space_sensitivities.py",
        old="columns[k] -= gone * own.shape[1]",
        new="columns[k] -= gone",
    ),
    Mutation(file="nets/space_sensitivities.py", old="left -= gone * space.own", new="left -= gone"),
)

SIZES = {"stem": 4, "inner": 3, "long + short": 2}  # of the last one, groups of two channels


@cache
def net() -> ModuleNet:
    """A residual block with a convolution in its shortcut, then a grouped convolution beside what it reads."""
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.inner = nn.Conv2d(2, 4, 3), nn.Conv2d(4, 3, 1)
            self.long, self.short = nn.Conv2d(3, 4, 1, bias=False), nn.Conv2d(4, 4, 1)
            self.norm = nn.BatchNorm2d(4, eps=0.0)
            self.group = nn.Conv2d(4, 6, 2, padding=1, groups=2)
            self.last = nn.Linear(6 * 9 + 4 * 4, 3)

        def forward(self, x: Any) -> Any:
            a = torch.relu(self.stem(x))
            b = torch.relu(self.norm(self.long(torch.relu(self.inner(a))) + self.short(a)))
            return self.last(torch.cat([torch.relu(self.group(b)).flatten(1), b.flatten(1)], 1))

    module = Net().double().eval()
    for p in module.parameters():
        p.requires_grad_(False).copy_(torch.arange(p.numel(), dtype=torch.float64).reshape(p.shape) % 5 - 1)
    return ModuleNet(module, np.arange(32.0).reshape(1, 2, 4, 4) % 7)


def random_net(rng: np.random.Generator) -> ModuleNet:
    """The same net with other whole weights."""
    return net().with_weights(rng.integers(-2, 4, layer.weight.shape).astype(float) for layer in net().layers)


def by_hand(own: ModuleNet, scales: list[np.ndarray]) -> dict[str, np.ndarray]:
    """What each reader's columns are multiplied with, written down for this net."""
    stem, inner, groups = scales
    pairs = np.repeat(groups, 2)  # of the sum's four channels
    last = np.concatenate([np.repeat(groups, 3 * 9), np.repeat(pairs, 4)])
    return {"inner": stem, "short": stem, "long": inner, "last": last}


def scaled(own: ModuleNet, factors: dict[str, np.ndarray]) -> ModuleNet:
    return own.with_weights(layer.weight * factors.get(layer.name, 1.0) for layer in own.layers)


def draw(rng: np.random.Generator) -> tuple[ModuleNet, list[np.ndarray], np.ndarray]:
    """A net, whole factors for its channels, some of them 0 but not all, and two inputs."""
    scales = [rng.integers(0, 3, n).astype(float) for n in SIZES.values()]
    for scale in scales:
        scale[rng.permutation(len(scale))[:2]] = (0.0, 2.0)
    return random_net(rng), scales, rng.integers(-3, 4, (2, 2, 4, 4)).astype(float)


def symbolic() -> str:
    letters: Any = z3.Reals("w1 w2 x1 x2 y1 y2")
    w1, w2, x1, x2, y1, y2 = letters
    f1, f2 = (z3.Function(name, z3.RealSort(), z3.RealSort()) for name in ("f1", "f2"))
    both = w1 * f1(x1 + y1) + w2 * f2(x2 + y2)
    prove(z3.Implies(w2 == 0, both == w1 * f1(x1 + y1)))
    counterexample(z3.Implies(z3.And(x2 == 0, w2 != 0), both == w1 * f1(x1 + y1)))  # one summand's channel alone
    return "z3: a sum's channel with zeros at its reader adds nothing; without one of its summands it still does"


def exact() -> str:
    found = {space.name: space.size for space in net().spaces}
    require(found == SIZES, f"the spaces are {found}")
    rng = np.random.default_rng(0)
    for _ in range(60):
        own, scales, x = draw(rng)
        small = shrink(own, scales)
        want = scaled(own, by_hand(own, scales))(x)
        require(np.array_equal(small(x), want), "whole numbers, and the outputs differ")
        kept = [int(np.count_nonzero(scale)) for scale in scales]
        require(parameters_left(own, kept) == small.parameters, "another number of parameters is left")
    return "60 nets of whole numbers, with factors 0, 1 and 2: equal outputs, and as many parameters as are counted"


def differs(rng: np.random.Generator, n: int) -> np.ndarray:
    """A trial: the smaller net and the one with scaled columns differ."""
    found = np.zeros(n, bool)
    for k in range(n):
        own, scales, x = draw(rng)
        found[k] = not np.array_equal(shrink(own, scales)(x), scaled(own, by_hand(own, scales))(x))
    return found


def monte_carlo(effort: int = 1) -> Evidence:
    return judge(differs, delta=0.02, trials=500 * effort, name="channels of a residual, grouped, concatenating net")


def teeth() -> Evidence:
    rng = np.random.default_rng(1)
    caught = {"a reader forgotten": 0, "one summand alone": 0, "half of a group": 0, "the next channel": 0}
    for _ in range(40):
        own, scales, x = draw(rng)
        truth, factors = shrink(own, scales)(x), by_hand(own, scales)
        caught["a reader forgotten"] += not np.array_equal(scaled(own, factors | {"short": np.ones(4)})(x), truth)
        silent = [w.weight.copy() for w in own.layers]
        names = [w.name for w in own.layers]
        silent[names.index("long")][np.repeat(scales[2] == 0, 2)] = 0.0
        partly = {k: v for k, v in factors.items() if k != "last"}
        caught["one summand alone"] += not np.array_equal(scaled(own.with_weights(silent), partly)(x), truth)
        half = factors["last"].copy()
        half[6 * 9 :] = 1.0
        caught["half of a group"] += not np.array_equal(scaled(own, factors | {"last": half})(x), truth)
        moved = by_hand(own, [np.roll(scale, 1) for scale in scales])
        caught["the next channel"] += not np.array_equal(scaled(own, moved)(x), truth)
    require(all(v > 30 for v in caught.values()), f"a sabotage was missed: {caught}")
    return Evidence(text="caught of 40: " + ", ".join(f"{k} {v}" for k, v in caught.items()))
