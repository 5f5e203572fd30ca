"""What every bound on a risk shares: its fields, its validated evidence, terms that add up to no less than it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, TypeAlias

import numpy as np

from boundlab._errors import InvalidParameter, PremiseViolated, UnsupportedLayer, labels, matrix, probability
from boundlab.nets.given_points import finite
from boundlab.nets.module_net import ModuleNet
from boundlab.network import Network, misclassified
from boundlab.promises import Bound, Premise, Status
from boundlab.records import Compressed, Compression

Subject: TypeAlias = Compressed | Network | ModuleNet
"""What a bound is asked about: a net, or a net before and after its compression."""


class Sample(StrEnum):
    """Which examples a bound is evaluated on."""

    TRAINING = "training"  # those the net was trained on, or any others
    FRESH = "fresh"  # those that shaped neither the net nor its choice


@dataclass(frozen=True, kw_only=True)
class GeneralizationBound(ABC):
    """A theorem that turns a net and labelled points into an upper bound on a risk.

    `sample` says which points. Where the theorem does not cover the net, the call raises UnsupportedLayer or
    PremiseViolated; it never computes a number as if a premise held.

    Parameters
    ----------
    delta : float
        Probability, in (0, 1), over the points that the bound fails.
    name : str
        What a table calls it.

    Raises
    ------
    InvalidParameter
        If delta is not in (0, 1).
    """

    sample: ClassVar[Sample] = Sample.TRAINING

    delta: float = 0.05
    name: str = ""

    def __post_init__(self) -> None:
        probability("delta", self.delta)

    @abstractmethod
    def __call__(self, net: Subject, x: Any, y: Any) -> Bound:
        """Evaluate the bound on points x, shape (n, ...) as the net reads them, and labels y, shape (n,)."""


def classifier(subject: Subject) -> Network | ModuleNet:
    """The net that is asked about: of a compression, the compressed one."""
    net = getattr(subject, "net", subject)
    if not isinstance(net, (Network, ModuleNet)):
        raise InvalidParameter(f"a bound needs a net or a Compression, got {type(subject).__name__}.")
    return net


def fully_connected(subject: Subject) -> Network:
    """The same, or UnsupportedLayer where it is no fully connected ReLU net."""
    net = classifier(subject)
    if not isinstance(net, Network):
        kinds = ", ".join(dict.fromkeys(layer.kind for layer in net.layers))
        raise UnsupportedLayer(f"this bound covers fully connected ReLU nets, got a module of {kinds}.")
    return net


def compression_of(subject: Subject) -> Compression:
    """The compression of a fully connected net, or PremiseViolated where there is none."""
    classifier(subject)
    if not isinstance(subject, Compression):
        raise PremiseViolated(
            f"this bound speaks of the compression of a fully connected net, got {type(subject).__name__}."
        )
    return subject


def evidence(subject: Subject, x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Validate what every bound is given: finite points that the net can read, labels of its classes."""
    net = classifier(subject)
    x = matrix("x", x, columns=net.sizes[0]) if isinstance(net, Network) else finite("x", x)
    if not len(x):
        raise InvalidParameter("x must hold at least one point, got none.")
    return x, labels("y", y, points=len(x), classes=classes_of(net), present=1)


def classes_of(subject: Subject) -> int:
    """How many classes the net tells apart: its outputs."""
    net = classifier(subject)
    shape = (net.sizes[-1],) if isinstance(net, Network) else net(net.example).shape[1:]
    if len(shape) != 1 or shape[0] < 2:
        raise UnsupportedLayer(f"a classifier must have at least 2 outputs for each point, got shape {shape}.")
    return shape[0]


def chance(y: np.ndarray) -> float:
    """Risk of a uniform random guess among the classes that occur: outputs that no label names make no bound better."""
    return 1.0 - 1.0 / len(np.unique(y))


def count_errors(net: Network | ModuleNet, x: np.ndarray, y: np.ndarray) -> int:
    """Wrongly classified points, ties included, of a net whose outputs cannot overflow."""
    if isinstance(net, Network):
        net.require_finite(x)
    return misclassified(net(x), y)


_LOOK = 32  # points on which a module is asked twice

IID = Premise(
    text="the n examples are i.i.d. from the distribution whose risk is bounded",
    status=Status.ASSUMED,
    evidence="a property of how the examples were collected",
)


def alone(net: Network | ModuleNet, x: np.ndarray) -> tuple[Premise, ...]:
    """That a module treats each point by itself, always in the same way; what is done to arrays is known to.

    Looked at on the first points: each by itself, and all of them together, have to give the same outputs, up to the
    rounding of single precision. No look at points can show the opposite.
    """
    if isinstance(net, Network):
        return ()
    some = x[:_LOOK]
    together, apart = net(some), np.concatenate([net(some[k : k + 1]) for k in range(len(some))])
    moved = float(np.abs(together - apart).max())
    scale = float(np.abs(together).max())
    return (
        Premise(
            text="the module treats each point by itself, always in the same way",
            status=Status.ASSUMED if moved <= 1e-3 * scale else Status.VIOLATED,
            evidence=f"on {len(some)} points, together and one by one, outputs differ by {moved:.2g} of {scale:.2g}; "
            "the module's own code is not looked into",
            numbers={"moved": moved, "scale": scale},
        ),
    )


def telescope(names: Sequence[str], levels: Sequence[float]) -> tuple[tuple[str, float], ...]:
    """Terms whose sum, as floats, is the largest of the levels or one step above it.

    Term i is what level i adds to the largest level before it; the levels are the bound with one cause more each.
    """
    if any(math.isnan(level) for level in levels):
        raise InvalidParameter(f"the levels of a bound must be numbers, got {levels!r}.")
    terms: list[tuple[str, float]] = []
    reached = 0.0
    for name, level in zip(names, levels, strict=True):
        terms.append((name, max(0.0, level - reached)))
        reached = max(reached, level)
    while math.fsum(value for _, value in terms) < reached:  # the subtractions were rounded
        # One step of the largest term is felt by the sum; one step of a term that is 0 would not be, for ever.
        i = max(range(len(terms)), key=lambda i: terms[i][1])
        terms[i] = (terms[i][0], math.nextafter(terms[i][1], math.inf))
    return tuple(terms)
