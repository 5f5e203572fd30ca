"""Bounds for a linear head on features that were fixed before the data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from boundlab._errors import InvalidParameter, UnsupportedLayer, positive, positive_int, probability
from boundlab._theory import implements
from boundlab.bounds.generalization_bound import (
    IID,
    GeneralizationBound,
    Subject,
    chance,
    classifier,
    evidence,
    telescope,
)
from boundlab.nets import margin
from boundlab.nets.module_net import ModuleNet
from boundlab.nets.norms import frobenius_norm
from boundlab.network import Network
from boundlab.promises import Bound, Premise, Status


@implements("lei2015_gaussian_complexity")
def linear_head_complexity(
    features: np.ndarray, classes: int, budget: float, lipschitz: float, delta: float, *, largest_loss: float = 1.0
) -> float:
    """Return (2 L sqrt(2 pi)/n) Lambda sqrt(c sum |phi_i|²) + 3 B sqrt(ln(2/delta)/(2n)).

    The Gaussian complexity of the heads {x -> W phi(x): |W|_F <= Lambda} with c classes is E |sum_i g_i phi_i^T|_F
    Lambda, at most Lambda sqrt(c sum |phi_i|²) by Jensen; the loss is L-Lipschitz in the margin and at most B.

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
    Source: Lei, Dogan, Binder and Kloft (2015), arXiv:1506.04359, as we understand the paper; the evaluation of the
    Gaussian complexity is ours, ``proofs_checks/lei2015_gaussian_complexity.py``.
    """
    phi = np.asarray(features, np.float64)
    if phi.ndim != 2 or not phi.size or not np.all(np.isfinite(phi)):
        raise InvalidParameter(f"features must be a finite matrix (n, p), got shape {phi.shape}.")
    n, c = len(phi), positive_int("classes - 1", classes - 1) + 1
    gaussian = positive("budget", budget) * math.sqrt(c * float((phi**2).sum()))
    slope, top = positive("lipschitz", lipschitz), positive("largest_loss", largest_loss)
    confidence = 3.0 * top * math.sqrt(math.log(2.0 / probability("delta", delta)) / (2.0 * n))
    return (2.0 * slope * math.sqrt(2.0 * math.pi) / n * gaussian + confidence) * (1.0 + 1e-12)


@implements("lei2015_gaussian_complexity")
@dataclass(frozen=True, kw_only=True)
class LinearHead(GeneralizationBound):
    """Risk of a net as a linear head W on the features phi that its other layers compute.

        R <= (1/n) sum_i ramp(m_i/(|W|_F gamma)) + (2 sqrt(2 pi)/(gamma n)) sqrt(c sum |phi_i|²)
                + 3 sqrt(ln(2 G/delta)/(2n))

    with the margins m_i of the net, ramp(z) = 1 for z <= 0, 0 for z >= 1 and 1 - z between, c classes, and gamma one
    of G values of a list. The bias is a column of W whose feature is 1. Since margins are divided by |W|_F, no budget
    for the norm has to be fixed before the data.

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
        On evaluation, if the net does not end in a linear layer: a Network, or a ModuleNet of a Sequential.

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
        if not self.margins or len(set(self.margins)) != len(self.margins):
            raise InvalidParameter(f"margins must hold at least one value and none twice, got {self.margins!r}.")
        for gamma in self.margins:
            positive("a margin", gamma)

    def __call__(self, net: Subject, x: Any, y: Any) -> Bound:
        """Evaluate every margin and report the smallest bound; rounded up."""
        own = classifier(net)
        x, y = evidence(own, x, y)
        phi, head = head_of(own, x)
        n, classes, norm, share = len(x), len(head), frobenius_norm(head), self.delta / len(self.margins)
        m, candidates = margin.margins(own(x), y), []
        scaled = m / norm if norm > 0.0 else m
        for gamma in self.margins:
            ramp = float(np.clip(1.0 - scaled / gamma, 0.0, 1.0).mean()) * (1.0 + 1e-12)
            gap = linear_head_complexity(phi, classes, 1.0, 1.0 / gamma, share)
            candidates.append((ramp + gap, ramp, gamma))
        value, ramp, gamma = min(candidates)
        confidence = 3.0 * math.sqrt(math.log(2.0 / share) / (2.0 * n))
        return Bound(
            name=self.name,
            terms=telescope(("ramp loss", "confidence", "complexity"), (ramp, ramp + confidence, value)),
            delta=self.delta,
            theorem="lei2015_gaussian_complexity",
            chance=chance(y),
            premises=(IID, self._fixed(), _list_of(len(self.margins))),
            measure="" if self.features_fixed else "the features were learned from the same sample",
            facts={
                "gamma": gamma,
                "head_norm": norm,
                "feature_norm": float(np.sqrt((phi**2).sum(axis=1).mean())),
                "errors": int(np.count_nonzero(m <= 0.0)),
                "n": n,
            },
        )

    def _fixed(self) -> Premise:
        return Premise(
            text="all layers but the last were fixed before the sample",
            status=Status.ASSUMED if self.features_fixed else Status.VIOLATED,
            evidence=f"stated by features_fixed={self.features_fixed}",
        )


def head_of(net: Network | ModuleNet, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what the last layer of a net reads, (n, p + 1) with a column of ones, and its weights, (c, p + 1).

    Raises
    ------
    UnsupportedLayer
        If the net does not end in a linear layer, or is a module whose forward pass is code of its own.
    """
    last = net.layers[-1]
    if isinstance(net, Network):
        if net.layers[-1].relu:
            raise UnsupportedLayer("a linear head must be the last step of the net, got a ReLU after it.")
        net.require_finite(x)
        phi = net.inputs(x)[-1]
    else:
        _require_linear_end(net)
        seen: list[np.ndarray] = []
        net.visit(x, lambda k, block: seen.append(block[:, 0]) if k == len(net.layers) - 1 else None)
        phi = np.concatenate(seen)
    return np.column_stack([phi, np.ones(len(phi))]), np.column_stack([last.weight, last.bias])


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
