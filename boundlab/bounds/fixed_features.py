"""Bounds for a linear head on features that were fixed before the data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from boundlab._errors import InvalidParameter, UnsupportedLayer, positive, positive_int, probability
from boundlab._theory import implements
from boundlab.bounds.compressed_class import ROUNDING, listed
from boundlab.bounds.generalization_bound import (
    IID,
    GeneralizationBound,
    Subject,
    alone,
    chance,
    classifier,
    evidence,
    telescope,
)
from boundlab.nets.feedforward import FeedForward, Linear, feed_forward
from boundlab.nets.module_net import ModuleNet
from boundlab.nets.norms import frobenius_norm
from boundlab.network import Network
from boundlab.promises import Bound, Premise, Status


@implements("lei2015_gaussian_complexity")
def linear_head_complexity(
    features: np.ndarray,
    classes: int,
    budget: float,
    lipschitz: float,
    delta: float,
    *,
    largest_loss: float = 1.0,
    grid: int = 1,
) -> float:
    """Return (2 L sqrt(pi)/n) Lambda sqrt((c - 1) sum |phi_i|²) + 3 B sqrt(ln(2 G/delta)/(2n)).

    The rows of W may be moved by one vector without moving a margin: what counts is P W, W less the mean of its rows.
    The Gaussian complexity of the heads {x -> W phi(x): |P W|_F <= Lambda} with c classes is Lambda E |P sum_i g_i
    phi_i^T|_F, at most Lambda sqrt((c - 1) sum |phi_i|²) by Jensen; the loss is L-Lipschitz in the margin, at most B.

    Parameters
    ----------
    features : array (n, p)
        phi(x_i); phi must be fixed before the sample. On learned features the value is a measure, not a bound.
    classes : int
        c, at least 2.
    budget : float
        Lambda, fixed before the sample.
    lipschitz : float
        L: 1/gamma for the ramp loss of margin gamma.
    delta : float in (0, 1)
    largest_loss : float
        B.
    grid : int
        G, how many losses could have been chosen.

    Returns
    -------
    float
        Rounded up.

    Raises
    ------
    InvalidParameter
        If a value is out of range or the features are not a finite matrix.

    Notes
    -----
    Source: Lei, Dogan, Binder and Kloft (2015), arXiv:1506.04359, as we understand the paper; the constants and the
    evaluation of the Gaussian complexity are ours, ``proofs_checks/lei2015_gaussian_complexity.py``.
    """
    phi = np.asarray(features, np.float64)
    if phi.ndim != 2 or not phi.size or not np.all(np.isfinite(phi)):
        raise InvalidParameter(f"features must be a finite matrix (n, p), got shape {phi.shape}.")
    n, c = len(phi), positive_int("classes - 1", classes - 1) + 1
    gaussian = positive("budget", budget) * math.sqrt(c - 1) * frobenius_norm(phi)
    slope, top = positive("lipschitz", lipschitz), positive("largest_loss", largest_loss)
    confidence = 3.0 * top * _deviation(n, probability("delta", delta), positive_int("grid", grid))
    return (2.0 * slope * math.sqrt(math.pi) / n * gaussian + confidence) * (1.0 + 1e-12)


def _deviation(n: int, delta: float, grid: int) -> float:
    """sqrt(ln(2 G/delta)/(2n))."""
    return math.sqrt((math.log(2.0 * grid) - math.log(delta)) / (2.0 * n))


@implements("lei2015_gaussian_complexity")
@dataclass(frozen=True, kw_only=True)
class LinearHead(GeneralizationBound):
    """Risk of a net as a linear head W on the features phi that its other layers compute.

        R <= (1/n) sum_i ramp(m_i/(|P W|_F gamma)) + (2 sqrt(pi)/(gamma n)) sqrt((c - 1) sum |phi_i|²)
                + 3 sqrt(ln(2 G/delta)/(2n))

    with the margins m_i of W phi, ramp(z) = 1 for z <= 0, 0 for z >= 1 and 1 - z between, c classes, P W = W less the
    mean of its rows, and gamma one of G values of a list. The bias is a column of W whose feature is 1. Since margins
    are divided by |P W|_F, no budget for the norm has to be fixed before the data.

    W phi is taken in exact arithmetic, and a Network as a function of real numbers; of a module phi is what its other
    layers compute.

    It is a bound where the features were fixed before the sample: drawn at random, or learned from other data. On
    features that were learned from the sample it is a measure only, and says so.

    Parameters
    ----------
    delta : float
        In (0, 1).
    features_fixed : bool
        Whether all layers but the last were fixed before the sample.
    margins : tuple of float
        gamma > 0, fixed before the data, none twice.
    name : str
        What a table calls it.

    Raises
    ------
    InvalidParameter
        If a parameter is out of its range.
    UnsupportedLayer
        On evaluation, if the net does not end in a linear layer: a Network, or a ModuleNet of a Sequential; or if a
        module gives other outputs than that layer, as one with a hook may.

    Notes
    -----
    Source: Lei, Dogan, Binder and Kloft (2015), arXiv:1506.04359, as we understand the paper;
    ``lei2015_gaussian_complexity``.
    """

    features_fixed: bool
    name: str = "linear head on features"
    margins: tuple[float, ...] = tuple(2.0 ** (k / 2.0) for k in range(-12, 13))

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "margins", listed("margins", self.margins))
        for gamma in self.margins:
            positive("a margin", gamma)

    def __call__(self, net: Subject, x: Any, y: Any) -> Bound:
        """Evaluate every margin and report the smallest bound; rounded up."""
        own = classifier(net)
        x, y = evidence(own, x, y)
        phi, head, m = head_of(own, x, y)
        n, classes, grid, candidates = len(x), len(head), len(self.margins), []
        norm = min(frobenius_norm(head), frobenius_norm(head - head.mean(axis=0)))  # any shift is a bound of |P W|
        scaled = m / norm if norm > 0.0 else m
        for gamma in self.margins:
            ramp = float(np.clip(1.0 + 2.0**-50 - scaled / gamma, 0.0, 1.0).mean()) * (1.0 + 1e-12)
            gap = linear_head_complexity(phi, classes, 1.0, 1.0 / gamma, self.delta, grid=grid)
            candidates.append((ramp + gap, ramp, gamma))
        value, ramp, gamma = min(candidates)
        confidence = 3.0 * _deviation(n, self.delta, grid)
        return Bound(
            name=self.name,
            terms=telescope(("ramp loss", "confidence", "complexity"), (ramp, ramp + confidence, value)),
            delta=self.delta,
            theorem="lei2015_gaussian_complexity",
            chance=chance(y),
            premises=(IID, ROUNDING, self._fixed(), _list_of(grid), *alone(own, x)),
            measure="" if self.features_fixed else "the features were learned from the same sample",
            facts={
                "gamma": gamma,
                "head_norm": norm,
                "feature_norm": frobenius_norm(phi) / math.sqrt(n),
                "errors": n - int(np.count_nonzero(m > 0.0)),
                "n": n,
            },
        )

    def _fixed(self) -> Premise:
        return Premise(
            text="all layers but the last were fixed before the sample",
            status=Status.ASSUMED if self.features_fixed else Status.VIOLATED,
            evidence=f"stated by features_fixed={self.features_fixed}",
        )


def head_of(net: Network | ModuleNet, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what the last layer of a net reads, its weights, and lower bounds of the margins of their product.

    Returns
    -------
    tuple of array (n, p + 1), array (c, p + 1), array (n,)
        The sizes |phi|, of a Network rounded up to those of exact arithmetic, with a column of ones; W with the biases.

    Raises
    ------
    UnsupportedLayer
        If the net does not end in a linear layer, is a module whose forward pass is code of its own, or has other
        outputs than that layer gives.
    """
    last = net.layers[-1]
    if isinstance(net, Network):
        if net.layers[-1].relu:
            raise UnsupportedLayer("a linear head must be the last step of the net, got a ReLU after it.")
        net.require_finite(x)
        chain = feed_forward(net)
        read, off = FeedForward(features=chain.features, ops=chain.ops[:-1]).enclosed(x)
        phi, m = np.abs(read) + off, chain.certain_margins(x, y)
    else:
        _require_linear_end(net)
        seen: list[np.ndarray] = []
        net.visit(x, lambda k, block: seen.append(block[:, 0]) if k == len(net.layers) - 1 else None)
        phi = np.concatenate(seen)
        head = FeedForward(features=phi.shape[1], ops=(Linear(layer=last),))
        have, want = head(phi), net(x)
        if not np.allclose(have, want, rtol=1e-3, atol=1e-3 * float(np.abs(want).max())):
            raise UnsupportedLayer("a linear head must give the outputs of the module, got others.")
        phi, m = np.abs(phi), head.certain_margins(phi, y)
    ones = np.ones(len(phi))
    return np.column_stack([phi, ones]), np.column_stack([last.weight, last.bias]), m


def _require_linear_end(net: ModuleNet) -> None:
    from torch import nn

    module = net.module
    plain = isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward
    name, end = list(module.named_children())[-1] if plain else ("", None)
    if type(end) is not nn.Linear or net.layers[-1].name != name:
        kind = type(module).__name__ if end is None else f"{type(end).__name__} at its end"
        raise UnsupportedLayer(f"a linear head must be the last module of a Sequential, got {kind}.")


def _list_of(count: int) -> Premise:
    return Premise(
        text="the margins are fixed before the data",
        status=Status.ASSUMED,
        evidence=f"the choice among the {count} of the list is paid for",
    )
