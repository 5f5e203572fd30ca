"""One layer of neurons with any admitted activation: drawn once for all readers, with what is promised on a ball.

Nets of several layers (``compressors.neuron_coresets``) have ReLU and linear layers only; here a layer by itself may
have every activation of ``activations``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from boundlab._errors import InvalidParameter, matrix, positive, positive_int, probability
from boundlab._theory import implements
from boundlab.coresets.activations import Activation
from boundlab.coresets.alias import draw_counts
from boundlab.coresets.neuron_sampling import Domain, Inclusion, NeuronPlan, include, neuron_plan, reweight
from boundlab.coresets.uniform_error import (
    ROUNDING,
    direction_spread,
    fixed_inputs_error,
    lipschitz_error,
    relu_error,
    relu_error_bousquet,
)


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerCoreset:
    """A layer with some of its neurons drawn: fhat_j(x) = sum_p weights[j, p] phi(<p, x> + b), zeros where removed.

    weights (k, n) : the reweighted outgoing weights
    kept (n,) : which neurons are left
    error (k,) : on the domain |f_j - fhat_j| <= error_j for all x and all j, except with probability delta over the
        draws; inf where the activation is not Lipschitz, so that no theorem here covers all inputs at once
    plan, inclusion : how it was drawn
    """

    weights: np.ndarray
    kept: np.ndarray
    error: np.ndarray
    delta: float
    plan: NeuronPlan
    inclusion: Inclusion


@implements("mussay2020_sup_sensitivity", "mussay2020_unbiased", "boundlab_deterministic_inclusion")
def layer_coreset(
    points: np.ndarray,
    weights: np.ndarray,
    activation: Activation,
    *,
    radius: float,
    size: int,
    delta: float = 0.05,
    domain: Domain | str = Domain.BALL,
    bias: np.ndarray | None = None,
    rng: np.random.Generator,
) -> LayerCoreset:
    """Draw `size` neurons of one layer, with replacement and by sup-sensitivity; heavy ones are kept as they are.

    Parameters
    ----------
    points : (n, d), input weights of the neurons
    weights : (k, n), outgoing weights
    activation : any of `activations`
    radius, domain, bias : as for `neuron_plan`
    size : draws, at least 1; from n on all neurons are kept
    delta : in (0, 1)
    rng : numpy Generator

    Returns
    -------
    LayerCoreset, its `error` from `sup_bound`: whatever the activation, by the corrected theorems.

    Raises
    ------
    InvalidParameter
        If an argument is out of its range.

    Source: Mussay et al. 2020, arXiv:1907.04018, as we understand the paper; the inclusion and the error are ours.

    Examples
    --------
    >>> from boundlab.coresets.activations import TANH
    >>> rng = np.random.default_rng(0)
    >>> p, w = rng.normal(size=(50, 3)), rng.normal(size=(2, 50))
    >>> drawn = layer_coreset(p, w, TANH, radius=1.0, size=20, rng=rng)
    >>> int(drawn.kept.sum()) <= 20, drawn.error.shape
    (True, (2,))
    """
    probability("delta", delta)
    plan = neuron_plan(points, weights, activation, radius, domain, bias=bias)
    rule = include(plan.sensitivities, positive_int("size", size))
    n, q = len(plan.sup), rule.probabilities
    counts = draw_counts(q, np.array([0, n]), np.array([rule.size]), rng) if rule.size else np.zeros(n, np.int64)
    drawn = reweight(weights, counts, q, rule.size, kept=rule.kept)
    bound = sup_bound(plan, rule, points, weights, activation=activation, domain=domain, biased=bias is not None)
    error = bound.error(max(1, rule.size), delta)
    return LayerCoreset(
        weights=drawn, kept=rule.kept | (counts > 0), error=error, delta=delta, plan=plan, inclusion=rule
    )


@implements("boundlab_relu_uniform", "boundlab_relu_bousquet", "boundlab_lipschitz_uniform")
@dataclass(frozen=True, kw_only=True, eq=False)
class SupBound:
    """What m draws promise on a whole domain: `error` of m, and `size` for an error; made by `sup_bound`.

    total : t of what is left to chance, 0 where nothing is
    kap : (k,), one for each output; inf where the activation is not Lipschitz
    c0 : 1 where all w_j >= 0 and phi >= 0, else 2
    relu : ReLU without a separate bias, which has the better constants
    nonnegative : the inputs are >= 0
    spread : of Bousquet's form; None where it is not proved
    scale : (k,) or a number, by which an error is multiplied
    """

    total: float
    kap: np.ndarray
    c0: float
    relu: bool
    nonnegative: bool = False
    spread: float | None = None
    scale: float = 1.0

    def error(self, size: float, delta: float) -> np.ndarray:
        """Return a bound on |f_j - fhat_j| for all x of the domain and all k outputs, w.p. >= 1 - delta; (k,).

        ReLU: `relu_error` or `relu_error_bousquet`, the one whose largest value is smaller, which no draw decides.
        Any other: `lipschitz_error`. inf where the activation is not Lipschitz.
        """
        if self.total == 0.0:
            return np.zeros(len(self.kap))
        if not np.isfinite(self.kap).all():
            return np.full(len(self.kap), np.inf)
        t, kap, c0 = self.total, self.kap, self.c0
        if not self.relu:
            return lipschitz_error(t, kap, size, delta, c0=c0) * self.scale
        found = relu_error(t, kap, size, delta, c0=c0, nonnegative=self.nonnegative)
        if self.spread is not None:
            other = relu_error_bousquet(t, kap, size, delta, spread=self.spread, c0=c0, nonnegative=self.nonnegative)
            found = other if other.max() < found.max() else found
        return found * (self.scale * (1.0 + ROUNDING))

    def size(self, eps: float, delta: float) -> float:
        """Return the smallest m with error(m) <= eps at every output, a whole number >= 1; inf if none up to 1e18."""
        positive("eps", eps)
        low, high = 0.0, 1.0
        while self.error(high, delta).max() > eps:
            low, high = high, 2.0 * high
            if high > 1e18:
                return math.inf
        while high - low > 1.0:
            middle = float(np.floor(0.5 * (low + high)))
            if not low < middle < high:
                break
            low, high = (middle, high) if self.error(middle, delta).max() > eps else (low, middle)
        return high


@implements("boundlab_relu_uniform", "boundlab_relu_bousquet", "boundlab_lipschitz_uniform")
def sup_bound(
    plan: NeuronPlan,
    inclusion: Inclusion,
    points: np.ndarray,
    weights: np.ndarray,
    *,
    activation: Activation,
    domain: Domain | str = Domain.BALL,
    biased: bool = False,
) -> SupBound:
    """Return the bound for draws among what an inclusion leaves to chance.

    Parameters
    ----------
    plan : of `neuron_plan`
    inclusion : of `include`: t' and pr' of the rest
    points, weights, activation, domain : what the plan was made from
    biased : whether the plan has a bias beside the points

    Raises InvalidParameter.
    """
    w, rest = matrix("weights", weights, columns=len(plan.sup)), inclusion.probabilities > 0.0
    share = np.zeros_like(w)
    share[:, rest] = np.abs(w[:, rest]) / plan.om[rest]
    lam = plan.lam[rest]
    finite = bool(np.isfinite(lam).all())
    if finite:
        share[:, rest] *= lam
    kap = np.sqrt((share * share) @ inclusion.probabilities) * (1.0 + ROUNDING)
    relu = activation.name == "relu" and not biased
    p = in_fewer_dimensions(matrix("points", points))
    spread = direction_spread(p, share.max(axis=0)[None], inclusion.probabilities)[0] if relu else None
    return SupBound(
        total=inclusion.total if rest.any() else 0.0,
        kap=kap if finite else np.full(len(w), np.inf),
        c0=plan.c0,
        relu=relu,
        nonnegative=domain == Domain.NONNEGATIVE,
        spread=None if spread is None else float(spread),
    )


def in_fewer_dimensions(points: np.ndarray) -> np.ndarray:
    """Return n points with the same inner products, (n, min(n, d)): what a norm or an eigenvalue needs of them."""
    n, d = points.shape
    return np.asarray(np.linalg.qr(points.T, mode="r")).T if n < d else points


@implements("boundlab_independent_neuron_layers", "boundlab_fixed_inputs")
def passed_on(weights: np.ndarray, errors: np.ndarray, inclusion: Inclusion, delta: float) -> np.ndarray:
    """Return a bound on sum_p |w_j(p)| c_p e_p for all k outputs at once, w.p. >= 1 - delta; c_p counts neuron p.

    What the errors e_p of the neurons (fixed before the draws) become once the neurons are drawn: mean
    sum_p |w_j(p)| e_p, and Bernstein's deviation of m' draws of |w_j(p)| e_p/pr'(p). Where pr' = 0, c_p = 0.

    Parameters
    ----------
    weights : (k, n)
    errors : (n,) >= 0
    inclusion : of `include`
    delta : in (0, 1)

    Raises InvalidParameter.
    """
    terms = np.abs(matrix("weights", weights)) * np.asarray(errors, np.float64)
    if not np.all(np.isfinite(terms) & (terms >= 0.0)):
        raise InvalidParameter("errors must be finite and at least 0.")
    q = inclusion.probabilities
    bound = terms[:, inclusion.kept].sum(axis=1)
    largest = np.divide(terms, q, out=np.zeros_like(terms), where=q > 0.0).max(axis=1)
    mean = terms[:, q > 0.0].sum(axis=1)
    for j in np.flatnonzero(largest > 0.0):
        spread = float(largest[j] * mean[j])
        deviation = fixed_inputs_error(
            float(largest[j]), inclusion.size, delta, outputs=len(terms), c0=1.0, variance=spread
        )
        bound[j] += mean[j] + deviation
    return bound * (1.0 + ROUNDING)
