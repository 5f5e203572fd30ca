"""Small networks made here: trained on a data set in seconds, or drawn at random for tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np

from boundlab._errors import InvalidParameter, labels, matrix, positive, positive_int
from boundlab.network import Layer, Network


def train_mlp(
    x: np.ndarray,
    y: np.ndarray,
    hidden: Sequence[int] = (32,),
    *,
    classes: int | None = None,
    epochs: int = 30,
    lr: float = 1e-2,
    batch: int = 64,
    weight_decay: float = 0.0,
    rng: int | np.random.Generator = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Network:
    """Train a ReLU network on labelled points with Adam and the cross-entropy, in single precision.

    All randomness (He's initial weights, the order of the points) comes from `rng`, so the same seed gives the same
    net on the same machine; torch's own generator is neither read nor seeded. The learning rate falls to 0 along a
    cosine.

    Parameters
    ----------
    x : array of shape (points, features)
        Inputs, finite; the net is trained on them as they are.
    y : array of shape (points,)
        Labels 0..classes-1.
    hidden : sequence of int
        Neurons of each hidden layer; () gives a linear classifier.
    classes : int, optional
        Outputs of the net, the largest label plus 1 if not given.
    epochs, batch : int
        Passes over the points, and points per step; at least 1.
    lr, weight_decay : float
        Adam's step, above 0, and its L2 penalty, at least 0.
    rng : int or numpy.random.Generator
        A seed, or a generator to draw from.
    progress : callable, optional
        Called as ``progress(done, total)`` after each epoch.

    Returns
    -------
    Network
        The trained weights, exactly, as float64.

    Raises
    ------
    InvalidParameter
        If an argument is outside its range, or training diverges (a weight is no longer finite).

    Examples
    --------
    >>> x = np.array([[0.0], [0.2], [0.8], [1.0]])
    >>> net = train_mlp(x, np.array([0, 0, 1, 1]), hidden=(4,), epochs=200)
    >>> net.sizes, net.errors(x, np.array([0, 0, 1, 1]))
    ((1, 4, 2), 0)
    """
    x = matrix("x", x)
    classes = _classes(y) if classes is None else positive_int("classes", classes)
    y = labels("y", y, points=len(x), classes=classes)
    sizes = [x.shape[1], *(positive_int("hidden", size) for size in hidden), classes]
    epochs, batch, lr = positive_int("epochs", epochs), positive_int("batch", batch), positive("lr", lr)
    if weight_decay != 0.0:
        weight_decay = positive("weight_decay", weight_decay)
    rng = np.random.default_rng(rng)
    weights = [rng.normal(0.0, np.sqrt(2.0 / n), (m, n)) for n, m in pairwise(sizes)]
    with one_thread():
        return _trained(
            x, y, weights, epochs=epochs, lr=lr, batch=batch, decay=weight_decay, rng=rng, progress=progress
        )


def random_network(
    sizes: Sequence[int], *, rng: int | np.random.Generator, positive: bool = False, bias: bool = False
) -> Network:
    """Draw a ReLU network at random, without a ReLU after its last layer.

    Parameters
    ----------
    sizes : sequence of int
        Neurons in each layer, the input first; at least two numbers.
    rng : int or numpy.random.Generator
        A seed, or a generator to draw from.
    positive : bool
        Weights uniform on (0.5, 1.5) / in, instead of normal with He's variance 2 / in.
    bias : bool
        Biases drawn like weights of one input, times 0.1, instead of 0.

    Returns
    -------
    Network
        In double precision.

    Examples
    --------
    >>> net = random_network((3, 5, 2), rng=0, positive=True)
    >>> net.sizes, bool((net.layers[0].weight > 0).all())
    ((3, 5, 2), True)
    """
    counts = [positive_int("sizes", size) for size in sizes]
    if len(counts) < 2:
        raise InvalidParameter(f"sizes must hold at least the inputs and the outputs, got {tuple(counts)}.")
    rng = np.random.default_rng(rng)

    def draw(*shape: int) -> np.ndarray:
        n = shape[-1] if len(shape) == 2 else 1
        return rng.uniform(0.5, 1.5, shape) / n if positive else rng.normal(0.0, np.sqrt(2.0 / n), shape)

    layers = []
    for k, (n, m) in enumerate(pairwise(counts)):
        weight = draw(m, n)
        layers.append(Layer(weight=weight, bias=0.1 * draw(m) if bias else np.zeros(m), relu=k < len(counts) - 2))
    return Network(layers=tuple(layers))


def _classes(y: Any) -> int:
    array = np.asarray(y)
    if array.size == 0 or not np.issubdtype(array.dtype, np.number) or not np.isfinite(array).all():
        raise InvalidParameter(f"y must hold whole numbers of at least 0, got {array.size} of dtype {array.dtype}.")
    return max(1, int(array.max()) + 1)


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep torch on one thread: small matrices gain nothing from more, and the order of sums stays the same."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _trained(
    x: np.ndarray,
    y: np.ndarray,
    weights: list[np.ndarray],
    *,
    epochs: int,
    lr: float,
    batch: int,
    decay: float,
    rng: np.random.Generator,
    progress: Callable[[int, int], None] | None,
) -> Network:
    import torch

    inputs, targets = torch.tensor(x, dtype=torch.float32), torch.tensor(y)
    ws = [torch.tensor(w, dtype=torch.float32, requires_grad=True) for w in weights]
    bs = [torch.zeros(len(w), requires_grad=True) for w in weights]
    optimizer = torch.optim.Adam([*ws, *bs], lr=lr, weight_decay=decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for epoch in range(epochs):
        order = torch.from_numpy(rng.permutation(len(x)))
        for chosen in order.split(batch):
            a = inputs[chosen]
            for k, (w, b) in enumerate(zip(ws, bs, strict=True)):
                a = torch.nn.functional.linear(a, w, b)
                a = a.relu() if k < len(ws) - 1 else a
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(a, targets[chosen]).backward()
            optimizer.step()
        schedule.step()
        if progress is not None:
            progress(epoch + 1, epochs)
    pairs = [(w.detach().double().numpy(), b.detach().double().numpy()) for w, b in zip(ws, bs, strict=True)]
    return Network(layers=tuple(Layer(weight=w, bias=b, relu=k < len(pairs) - 1) for k, (w, b) in enumerate(pairs)))
