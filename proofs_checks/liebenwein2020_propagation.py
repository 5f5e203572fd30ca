"""Where only W^{l+1} reads layer l, removing filter j of layer l is zeroing slice j of W^{l+1}; elsewhere it is not.

Statement. Let the channels of layer l be read by given layers only, each through its weights. The net without filter
j and its bias, and without slice j of EVERY reader, computes exactly what the net with zeros in these slices does. As
we understand the paper, and in the released code, slice j of the next layer alone decides. That is exact in a chain.

Proof. A reader's output is a sum over its input channels; a slice of zeros adds 0 whatever channel j holds, and so
does a slice that is absent. No other operation sees the channel, for it stands between layer l and its readers, where
what happens (ReLU, pooling, normalisation) happens to each channel for itself.

Counterexamples. A skip addition y = W² a + a reads every channel of a = relu(W¹ x) by the identity, which has no
slice of weights: with slice j of W² zero, y_j = a_j still depends on filter j. In a dense net a second layer reads a:
zeroing one slice and removing the filter changes what the other reads. So residual and dense nets need all readers,
or the heuristic of the released code, which removes what has no gradient on the calibration points.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import z3

from boundlab.nets.channels import remove_channels
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge
from proofs_checks.proving import counterexample, prove

THEOREM = Theorem(
    name="Removing the filters that nobody reads",
    source="Liebenwein et al. 2020, arXiv:1911.07412; item number not known to us; as we understand the paper; and in "
    "the released code (torchprune 2.2.0, commit 14b392c)",
    given=("the slices of the channel are removed from every layer that reads it", "no skip addition reads it"),
    claim=r"f(W^\ell_{-j}, b^\ell_{-j}, W^{r}_{:,-j}\ \forall\,\mathrm{readers}\ r) = "
    r"f(W^\ell, b^\ell, W^r|_{W^r_{:,j} = 0}\ \forall\,\mathrm{readers}\ r)",
    status="corrected",
    finding="The next layer's slice alone decides only in a chain: in residual and dense nets another layer or a skip "
    "addition reads the channel, and removing its filter changes the output.",
    ours="liebenwein2020_propagation",
)

MUTATIONS = (
    Mutation(
        file="nets/channels.py",
        old="return weight[keep], bias[keep], [r[:, keep] for r in readers]",
        new="return weight[keep], bias[: keep.sum()], [r[:, keep] for r in readers]",
    ),
    Mutation(
        file="nets/channels.py",
        old="return weight[keep], bias[keep], [r[:, keep] for r in readers]",
        new="return weight[keep], bias[keep], [r[:, -keep.sum() :] for r in readers]",
    ),
)

Net = tuple[np.ndarray, np.ndarray, list[np.ndarray]]


def conv(weight: np.ndarray, x: np.ndarray) -> np.ndarray:
    """A convolution along the last axis: weight (filters, channels, k), x (channels, length)."""
    windows = np.lib.stride_tricks.sliding_window_view(x, weight.shape[2], axis=1)  # (channels, places, k)
    return np.einsum("ijk,jpk->ip", weight, windows)


def hidden(net: Net, x: np.ndarray) -> np.ndarray:
    """The channels that are read: relu, then max-pooling of neighbours."""
    z = np.maximum(conv(net[0], x) + net[1][:, None], 0)
    return np.maximum(z[:, :-1], z[:, 1:])


def outputs(net: Net, x: np.ndarray, *, skip: bool = False) -> np.ndarray:
    """What all readers put out, one after the other; with `skip`, a 1x1 reader plus what it reads."""
    a = hidden(net, x)
    if skip:
        return conv(net[2][0], a) + a
    return np.concatenate([conv(reader, a).ravel() for reader in net[2]])


def draw(rng: np.random.Generator, readers: int, *, square: bool = False) -> tuple[Net, np.ndarray, np.ndarray]:
    """A net of whole numbers, an input, and the channels to keep: at least one, and not all."""
    filters = int(rng.integers(2, 6))
    weight = rng.integers(-3, 4, (filters, 2, 2))
    shape = (filters, filters, 1) if square else (3, filters, 2)
    net = weight, rng.integers(1, 4, filters), [rng.integers(-3, 4, shape) for _ in range(readers)]
    kept = rng.random(filters) < 0.5
    kept[rng.permutation(filters)[:2]] = (True, False)
    return net, rng.integers(0, 5, (2, 6)), kept


def zeroed(net: Net, kept: np.ndarray, which: slice = slice(None)) -> Net:
    """Zeros in the slices of some of the readers."""
    readers = [r.copy() for r in net[2]]
    for reader in readers[which]:
        reader[:, ~kept] = 0
    return net[0], net[1], readers


def removed(net: Net, kept: np.ndarray) -> Net:
    weight, bias, readers = remove_channels(net[0], net[1], net[2], kept)
    return weight, bias, readers


def symbolic() -> str:
    letters: Any = z3.Reals("w1 w2 a1 a2")
    w1, w2, a1, a2 = letters
    prove(z3.Implies(w2 == 0, w1 * a1 + w2 * a2 == w1 * a1))
    counterexample(z3.Implies(w2 == 0, w1 * a1 + w2 * a2 + a2 == w1 * a1))  # with a skip addition
    return "z3: a slice of zeros adds nothing whatever the channel holds, unless the channel is added as well"


def exact() -> str:
    rng = np.random.default_rng(1)
    for readers in (1, 2, 3):
        for _ in range(60):
            net, x, kept = draw(rng, readers)
            require(np.array_equal(outputs(zeroed(net, kept), x), outputs(removed(net, kept), x)), "all readers")
    # y = W² a + a: one input, two channels, the second one without weights in W²
    one = np.ones((2, 1, 1), int), np.zeros(2, int), [np.array([[[1], [0]], [[1], [0]]])]
    x = np.array([[1, 2]])
    with_filter = outputs(one, x, skip=True)
    without = outputs((one[0] * np.array([[[1]], [[0]]]), one[1], one[2]), x, skip=True)
    require(with_filter.ravel().tolist() == [4, 4] and without.ravel().tolist() == [4, 2], "the skip addition reads it")
    return "180 whole-number nets of 1, 2 and 3 readers: equal; W² a + a without filter 2: (4, 2) instead of (4, 4)"


def differs(*, readers: int, sliced: slice):
    """A trial: the net with zeros in the slices of some readers and the net without the filters differ."""

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        found = np.zeros(n, bool)
        for k in range(n):
            net, x, kept = draw(rng, readers)
            found[k] = not np.array_equal(outputs(zeroed(net, kept, sliced), x), outputs(removed(net, kept), x))
        return found

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    name = "filters removed: the next layer's slice alone, beside another reader"
    chain = judge(differs(readers=1, sliced=slice(None)), delta=0.02, trials=500 * effort, name="filters of a chain")
    dense = judge(
        differs(readers=2, sliced=slice(1)), delta=0.02, trials=200 * effort, name=name, expect="violated"
    )  # fmt: skip
    return Evidence(text=f"chain: {chain.text}; dense: {dense.text}", trials=chain.trials + dense.trials)


def teeth() -> Evidence:
    rng = np.random.default_rng(2)
    caught = {"one reader forgotten": 0, "the next filter instead": 0, "skip addition": 0}
    for _ in range(60):
        net, x, kept = draw(rng, 2)
        truth = outputs(removed(net, kept), x)
        caught["one reader forgotten"] += not np.array_equal(outputs(zeroed(net, kept, slice(1)), x), truth)
        caught["the next filter instead"] += not np.array_equal(outputs(zeroed(net, np.roll(kept, 1)), x), truth)
        net, x, kept = draw(rng, 1, square=True)
        silent = net[0] * kept[:, None, None], net[1] * kept, net[2]
        through = outputs(zeroed(net, kept), x, skip=True)
        caught["skip addition"] += not np.array_equal(through, outputs(zeroed(silent, kept), x, skip=True))
    require(all(v > 20 for v in caught.values()), f"a sabotage was missed: {caught}")
    return Evidence(text="caught of 60: " + ", ".join(f"{k} {v}" for k, v in caught.items()))
