"""Complexity measures of trained nets: numbers that rank nets and bound nothing.

What published studies correlate with the gap between risk and empirical risk. Each keeps the norms honest (a
convolution is its unrolled operator, a bias a weight of the constant unit) and leaves out what would make it a bound:
constants, logarithms, the price of having chosen it by looking at the data.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from boundlab._errors import InvalidParameter, positive, positive_int, share
from boundlab.bounds.generalization_bound import (
    IID,
    GeneralizationBound,
    Subject,
    chance,
    classifier,
    evidence,
    fully_connected,
    telescope,
)
from boundlab.bounds.norm_budgets import Examples, examples
from boundlab.nets.module_net import ModuleNet
from boundlab.network import Layer, Network, misclassified
from boundlab.promises import Bound

DRAWS = 5
"""Directions in which weights are shaken to find how flat the training error is."""
POINTS = 1_000
"""Examples, the first ones, that the costly measures look at."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """A net with its training examples, and what several measures share."""

    net: Network | ModuleNet
    x: np.ndarray
    y: np.ndarray
    found: Examples
    rng: int

    @cached_property
    def margin(self) -> float:
        """The 10 % quantile of the margins: at most a tenth of the examples is below it."""
        return float(np.quantile(self.found.margins, 0.1))

    @cached_property
    def spectral(self) -> np.ndarray:
        """Spectral norms, one per layer; upper bounds where the layer is a convolution."""
        return np.array([op.spectral for op in self.found.chain.operators])

    @cached_property
    def frobenius(self) -> np.ndarray:
        """Frobenius norms of the unrolled operators."""
        return np.array([op.frobenius for op in self.found.chain.operators])

    @cached_property
    def group(self) -> np.ndarray:
        """|A^T|_{2,1} of the unrolled operators."""
        return np.array([op.group for op in self.found.chain.operators])


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One number of a trained net, larger for nets that are expected to generalize worse."""

    name: str
    formula: str
    source: str
    of: Callable[[Trained], float]


def _over_margin(log_value: float, t: Trained) -> float:
    """Return ln(value/gamma), infinite where a tenth of the examples is misclassified."""
    return log_value - math.log(t.margin) if t.margin > 0 else math.inf


def _product(values: np.ndarray) -> float:
    """Return ln of the product."""
    return math.fsum(map(_log, values))


def _ratios(of: np.ndarray, t: Trained, power: float) -> float:
    """Return the sum over the layers of (of_i/s_i)^power."""
    return float(np.sum(np.divide(of, t.spectral, out=np.zeros_like(of), where=t.spectral > 0) ** power))


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf


def _inverse_square(value: float) -> float:
    """Return 1/value², infinite where the value is not positive, or too small."""
    inverse = 1.0 / value if value > 0 else math.inf
    return inverse * inverse


MEASURES: tuple[Measure, ...] = (
    Measure(
        name="parameters",
        formula="W",
        source="weights and biases, a kernel's once",
        of=lambda t: float(sum(op.parameters for op in t.found.chain.operators)),
    ),
    Measure(
        name="inverse margin",
        formula="1/gamma²",
        source="Jiang et al. (2020), as we understand the paper",
        of=lambda t: _inverse_square(t.margin),
    ),
    Measure(
        name="product of spectral norms over margin",
        formula="ln(prod s_i/gamma)",
        source="Bartlett, Foster and Telgarsky (2017), a factor of it",
        of=lambda t: _over_margin(_product(t.spectral), t),
    ),
    Measure(
        name="product of Frobenius norms over margin",
        formula="ln(prod f_i/gamma)",
        source="Golowich, Rakhlin and Shamir (2018), without constants",
        of=lambda t: _over_margin(_product(t.frobenius), t),
    ),
    Measure(
        name="sum of Frobenius ratios",
        formula="sum f_i²/s_i²",
        source="Neyshabur, Bhojanapalli and Srebro (2018), a factor of it: the stable ranks",
        of=lambda t: _ratios(t.frobenius, t, 2.0),
    ),
    Measure(
        name="spectral norms and Frobenius ratios over margin",
        formula="ln(prod s_i sqrt(sum f_i²/s_i²)/gamma)",
        source="Neyshabur, Bhojanapalli and Srebro (2018), without constants",
        of=lambda t: _over_margin(_product(t.spectral) + 0.5 * _log(_ratios(t.frobenius, t, 2.0)), t),
    ),
    Measure(
        name="spectral norms and (2,1) ratios over margin",
        formula="ln(prod s_i (sum (b_i/s_i)^(2/3))^(3/2)/gamma)",
        source="Bartlett, Foster and Telgarsky (2017), without constants",
        of=lambda t: _over_margin(_product(t.spectral) + 1.5 * _log(_ratios(t.group, t, 2.0 / 3.0)), t),
    ),
    Measure(
        name="path norm over margin",
        formula="ln(phi/gamma)",
        source="Neyshabur, Tomioka and Srebro (2015), without constants",
        of=lambda t: _over_margin(_log(t.found.chain.path_norm), t),
    ),
    Measure(
        name="parameter norm",
        formula="sum |W_i|² + |b_i|²",
        source="weights and biases as they are stored: a kernel's once, no distance from the start of training",
        of=lambda t: _parameter_norm(t.net),
    ),
    Measure(
        name="flatness",
        formula="1/sigma², N(0, sigma²) on each parameter costs 10 points of training accuracy",
        source="PAC-Bayes as in Jiang et al. (2020), as we understand the paper; sigma is the standard deviation",
        of=lambda t: flatness(t.net, t.x, t.y, rng=t.rng) ** -2.0,
    ),
    Measure(
        name="relative flatness",
        formula="1/sigma², N(0, sigma² w²) on each parameter w costs 10 points of training accuracy",
        source="the same with noise in proportion to each parameter",
        of=lambda t: flatness(t.net, t.x, t.y, rng=t.rng, relative=True) ** -2.0,
    ),
)


def complexity_measures(net: Subject, x: Any, y: Any, *, rng: int = 0) -> dict[str, float]:
    """Evaluate all of ``MEASURES`` on a net and its training examples.

    Parameters
    ----------
    net : Network, ModuleNet or compression
        A chain of operators (``operator_chain``).
    x, y : arrays
        Its training examples.
    rng : int
        Seed of the directions in which `flatness` shakes the weights: the same for all nets that are compared.

    Returns
    -------
    dict
        Name -> number, in the order of ``MEASURES``; inf where a margin is not positive.

    Raises
    ------
    InvalidParameter
        If the examples do not fit, or rng is no whole number of at least 0.
    UnsupportedLayer
        If the net is no chain of operators.

    Examples
    --------
    >>> from boundlab import random_network
    >>> x = np.random.default_rng(0).random((50, 4))
    >>> net = random_network((4, 6, 3), rng=0)
    >>> complexity_measures(net, x, net(x).argmax(axis=1))["parameters"]
    51.0
    """
    own = classifier(net)
    found = examples(net, x, y)
    x, y = evidence(net, x, y)
    trained = Trained(net=own, x=x, y=y, found=found, rng=rng)
    return {measure.name: measure.of(trained) for measure in MEASURES}


def flatness(
    net: Network | ModuleNet,
    x: np.ndarray,
    y: np.ndarray,
    *,
    rng: int = 0,
    loss: float = 0.1,
    relative: bool = False,
    draws: int = DRAWS,
    points: int = POINTS,
) -> float:
    """Return the standard deviation sigma of Gaussian noise on the parameters at which the accuracy falls by `loss`.

    The noise is sigma z, z standard normal, one z for each of `draws` directions that stay the same while sigma is
    searched; with `relative` it is sigma |w| z. The loss is the mean over the draws.

    Parameters
    ----------
    net : Network or ModuleNet
    x, y : arrays
        Examples; the first `points` of them are used.
    rng : int
        Seed of the directions.
    loss : float
        In (0, 1].
    relative : bool
        Noise in proportion to each parameter.
    draws, points : int
        At least 1.

    Returns
    -------
    float
        To 1 %; between 1e-6 and 1e3, the end where the loss is not reached in between.

    Raises
    ------
    InvalidParameter
        If a number is out of its range.
    """
    share("loss", loss)
    if isinstance(rng, bool) or not isinstance(rng, (int, np.integer)) or rng < 0:
        raise InvalidParameter(f"rng must be a whole number of at least 0, got rng={rng!r}.")
    x, y = x[: positive_int("points", points)], y[:points]
    at_rest = misclassified(net(x), y)
    seeds = np.random.SeedSequence(rng).spawn(positive_int("draws", draws))

    def lost(sigma: float) -> float:
        moved = (shaken(net, sigma, np.random.default_rng(seed), relative=relative) for seed in seeds)
        return sum(misclassified(m(x), y) - at_rest for m in moved) / (draws * len(y))

    low, high = 1e-6, 1e3
    while high > 1.01 * low:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if lost(middle) < loss else (low, middle)
    return low


def shaken(
    net: Network | ModuleNet, sigma: float, rng: np.random.Generator, *, relative: bool = False
) -> Network | ModuleNet:
    """Return the net with Gaussian noise of standard deviation `sigma`, or sigma |w|, on each weight and bias w.

    Raises
    ------
    InvalidParameter
        If sigma is not positive.
    """
    positive("sigma", sigma)

    def noisy(w: np.ndarray) -> np.ndarray:
        return w + rng.normal(scale=sigma, size=w.shape) * (np.abs(w) if relative else 1.0)

    if isinstance(net, Network):
        moved = tuple(Layer(weight=noisy(w.weight), bias=noisy(w.bias), relu=w.relu) for w in net.layers)
        return Network(layers=moved)
    import torch

    module = copy.deepcopy(net.module)
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.tensor(noisy(p.double().numpy())))
    return ModuleNet(module, net.example)


def _parameter_norm(net: Network | ModuleNet) -> float:
    if isinstance(net, Network):
        return math.fsum(float(np.sum(a**2)) for w in net.layers for a in (w.weight, w.bias))
    return math.fsum(float(p.double().pow(2).sum()) for p in net.module.parameters())


@dataclass(frozen=True, kw_only=True)
class AroraCapacity(GeneralizationBound):
    """The capacity of the noise-stability theorem of Arora et al.: a measure only, for it is stated up to logarithms.

        r_gamma + sqrt(c² d² max |f(x)|² sum_i 1/(mu_i² mu_i->²) / (gamma² n))

    With the preactivations x^i = A_i phi(x^(i-1)) of the net with its constant unit: the layer cushion
    mu_i = min |A_i phi(x^(i-1))|/(|A_i|_F |phi(x^(i-1))|), the interlayer cushion mu_i-> = min over j > i of
    |J x^i|/(|J|_F |x^i|), J the Jacobian of x^j in x^i, and at most 1/sqrt(h_i); the contraction
    c = max |x^i|/|phi(x^i)|; minima over the first `points` examples. gamma is the 10 % quantile of the margins.

    Parameters
    ----------
    delta : float
        In (0, 1); no confidence is spent, as nothing is promised.
    name : str
        What a table calls it.
    points : int
        Examples, the first ones, that cushions are measured on.

    Raises
    ------
    InvalidParameter
        If delta or points is out of its range.
    UnsupportedLayer
        If the net is not fully connected.

    Notes
    -----
    Arora, Ge, Neyshabur and Zhang (2018), arXiv:1802.05296, Theorem 4.1, as we understand the paper. It speaks of a
    compressed net, not of this one, and needs smoothness between layers, which is not measured here.
    """

    name: str = "noise stability"
    points: int = POINTS

    def __post_init__(self) -> None:
        super().__post_init__()
        positive_int("points", self.points)

    def __call__(self, net: Subject, x: Any, y: Any) -> Bound:
        """Evaluate cushions and capacity; infinite where an example is not certain of its class."""
        own = fully_connected(net)
        found = examples(net, x, y)
        x, y = evidence(net, x, y)
        margin = float(np.quantile(found.margins, 0.1))
        cushions, interlayer, contraction = noise_stability(own, x[: self.points])
        largest = float(_sizes(own(x)).max())
        stable = min(margin, *cushions, *interlayer) > 0.0 and math.isfinite(contraction)
        spread = sum(_inverse_square(a) * _inverse_square(b) for a, b in zip(cushions, interlayer, strict=True))
        depth = len(own.layers)
        capacity = contraction * depth * largest * math.sqrt(spread / found.n) / margin if stable else math.inf
        loss = int(np.searchsorted(found.margins, margin, side="right")) / found.n
        return Bound(
            name=self.name,
            terms=telescope(("margin loss", "capacity"), (loss, loss + capacity)),
            delta=self.delta,
            theorem="",
            chance=chance(y),
            premises=(IID,),
            facts={
                "capacity": capacity,
                "margin": margin,
                "contraction": contraction,
                "largest_output": largest,
                "points": min(self.points, found.n),
                "n": found.n,
                **{f"cushion_{k}": value for k, value in enumerate(cushions, 1)},
                **{f"interlayer_cushion_{k}": value for k, value in enumerate(interlayer, 1)},
            },
            measure="Theorem 4.1 of Arora et al. hides constants and logarithms, and speaks of a compressed net",
        )


def noise_stability(net: Network, x: np.ndarray) -> tuple[list[float], list[float], float]:
    """Return layer cushions, smallest interlayer cushions and the activation contraction of Arora et al. on points x.

    Definitions and source in `AroraCapacity`; one cushion per layer, that of the last layer to itself 1/sqrt(classes).
    """
    last = len(net.layers) - 1
    weights = [_augmented(w.weight, w.bias, last=k == last) for k, w in enumerate(net.layers)]
    read = np.column_stack([x, np.ones(len(x))])
    cushions, contraction, before, active = [], 1.0, [], []
    for weight, layer in zip(weights, net.layers, strict=True):
        z = read @ weight.T  # (points, out)
        cushions.append(_smallest(_sizes(z), float(np.linalg.norm(weight)) * _sizes(read)))
        before.append(z)
        active.append(z > 0 if layer.relu else np.ones_like(z, dtype=bool))
        read = np.maximum(z, 0.0) if layer.relu else z
        if weight is not weights[-1]:
            squeezed = _smallest(_sizes(read), _sizes(z))
            contraction = max(contraction, 1.0 / squeezed if squeezed > 0 else math.inf)
    interlayer = [1.0 / math.sqrt(len(w)) for w in weights]
    for start in range(0, len(x), 64):
        block = slice(start, start + 64)
        for i in range(last):
            jacobian = active[i][block][:, None, :] * weights[i + 1]  # (points, out, in): of x^(i+2) in x^(i+1)
            for j in range(i + 1, last + 1):
                if j > i + 1:
                    jacobian = np.matmul(weights[j] * active[j - 1][block][:, None, :], jacobian)
                sizes = np.sqrt(np.einsum("poi,poi->p", jacobian, jacobian)) * _sizes(before[i][block])
                interlayer[i] = min(interlayer[i], _smallest(_sizes(before[j][block]), sizes))
    return cushions, interlayer, contraction


def _augmented(weight: np.ndarray, bias: np.ndarray, *, last: bool) -> np.ndarray:
    """[W, b; 0, 1], or [W, b] of the last layer."""
    whole = np.column_stack([weight, bias])
    return whole if last else np.vstack([whole, np.eye(1, whole.shape[1], whole.shape[1] - 1)])


def _sizes(rows: np.ndarray) -> np.ndarray:
    """The Euclidean norm of each row; divided by its largest entry first, its squares do not overflow."""
    top = np.maximum(np.abs(rows).max(axis=1), np.finfo(np.float64).tiny)
    return np.linalg.norm(rows / top[:, None], axis=1) * top


def _smallest(top: np.ndarray, bottom: np.ndarray) -> float:
    """The smallest of the quotients; 0/0, a layer that puts out nothing, counts as 0."""
    return float(np.divide(top, bottom, out=np.zeros_like(top), where=bottom > 0).min())
