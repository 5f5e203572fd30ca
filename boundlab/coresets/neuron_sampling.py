"""Sampling whole neurons by what they can contribute at worst on a domain of inputs: probabilities and reweighting.

A layer's neurons are points p (n, d), with or without a bias b; the next layer reads f_j(x) = sum_p w_j(p) phi(p.x+b).
One sequence of draws serves all k outputs, so that a neuron which is never drawn can be removed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from boundlab._errors import InvalidParameter, choice, matrix, positive, positive_int, probability
from boundlab._theory import implements
from boundlab.coresets.activations import Activation

ROUNDING = 1e-12
"""Relative enlargement of a computed supremum; covers the rounding of sums over up to 1000 terms."""


class Domain(StrEnum):
    """Where the inputs x lie; `radius` is beta for the first two and the side of the box for the third."""

    BALL = "ball"  # |x|_2 <= beta
    NONNEGATIVE = "nonnegative"  # |x|_2 <= beta and x >= 0
    BOX = "box"  # 0 <= x_i <= beta


@dataclass(frozen=True, kw_only=True)
class NeuronPlan:
    """With which probabilities the neurons of a layer are drawn, and the constants of the error bounds.

    sup (n,) : S(p) = sup |phi(p.x + b)| over the domain, rounded up
    om (n,) : max_j |w_j(p)|
    sensitivities (n,) : s = S om, and their sum `total` = t
    probabilities (n,) : s/t; zeros where t = 0, the layer then contributes nothing on the domain
    lam (n,) : rho |p| Lip/S(p) with rho the radius of a ball around the domain, Lip on what p.x + b can reach; 0 where
        S(p) = 0, inf for an activation that is not Lipschitz. 1 for ReLU without bias on a ball
    kap (k,) : (sum_p pr(p) (w_j(p) lam(p)/om(p))^2)^(1/2), rounded up; at most 1 for ReLU without bias on a ball
    c0 : the length of the range of w_j(p) phi(p.x + b)/s(p): 1 where w >= 0 and phi >= 0, else 2
    """

    sup: np.ndarray
    om: np.ndarray
    sensitivities: np.ndarray
    total: float
    probabilities: np.ndarray
    lam: np.ndarray
    kap: np.ndarray
    c0: float

    def __post_init__(self) -> None:
        for array in (self.sup, self.om, self.sensitivities, self.probabilities, self.lam, self.kap):
            array.setflags(write=False)


@implements("mussay2020_sup_sensitivity", "mussay2020_all_inputs")
def sup_sensitivities(
    points: np.ndarray,
    activation: Activation,
    *,
    radius: float,
    domain: Domain | str = Domain.BALL,
    bias: np.ndarray | None = None,
) -> np.ndarray:
    """Return S(p) = sup |phi(p.x + b)| over the domain, exact up to an upward rounding of 1e-12.

    p.x + b runs through [low, high], both ends attained:

        ball          b -/+ beta |p|_2                   nonnegative   b - beta |p_-|_2,  b + beta |p_+|_2
        box           b - beta |p_-|_1,  b + beta |p_+|_1

    so that S(p) = max |phi| over [low, high]; on a ball without bias S(p) = |phi(beta |p|)|. Beyond |x| <= beta nothing
    is promised. Where the bias is a column of `points`, the input is (x, 1) and beta^2 must contain the 1.

    Parameters
    ----------
    points : (n, d), one row of input weights per neuron
    activation : of `activations`
    radius : beta > 0
    domain : of `Domain`
    bias : (n,), zeros by default

    Raises InvalidParameter. Source: Mussay et al. 2020, arXiv:1907.04018, as we understand the paper (the ball).

    Examples
    --------
    >>> from boundlab.coresets.activations import RELU
    >>> p = np.array([[3.0, -4.0]])
    >>> [round(float(sup_sensitivities(p, RELU, radius=1, domain=d)[0]), 9) for d in Domain]
    [5.0, 3.0, 3.0]
    """
    return suprema(points, activation, radius, domain, bias)[0]


@implements("mussay2020_sup_sensitivity", "mussay2020_unbiased")
def neuron_plan(
    points: np.ndarray,
    weights: np.ndarray,
    activation: Activation,
    radius: float,
    domain: Domain | str = Domain.BALL,
    *,
    bias: np.ndarray | None = None,
) -> NeuronPlan:
    """Return the sampling plan of a layer: pr(p) proportional to S(p) max_j |w_j(p)|, shared by all k outputs.

    `weights` (k, n) are those of the next layer; the other parameters are those of `sup_sensitivities`.

    Raises InvalidParameter. Source: Mussay et al. 2020, arXiv:1907.04018, the per-layer algorithm as we understand it.

    Examples
    --------
    >>> from boundlab.coresets.activations import RELU
    >>> plan = neuron_plan(np.array([[3.0, 4.0], [0.0, 5.0]]), np.array([[1.0, 0.0], [0.5, -3.0]]), RELU, 2.0)
    >>> [round(float(v), 9) for v in (plan.total, *plan.probabilities, plan.c0)]
    [40.0, 0.25, 0.75, 2.0]
    """
    sup, lam = suprema(points, activation, radius, domain, bias)
    w = matrix("weights", weights, columns=len(sup))
    return assemble(sup, lam, w[:, None, :], nonneg=activation.nonneg)


def suprema(
    points: np.ndarray, activation: Activation, radius: float, domain: Domain | str, bias: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return S(p) and lam(p), both (n,), as `NeuronPlan` has them."""
    p, b = _neurons(points, bias)
    beta, domain = positive("radius", radius), choice("domain", domain, Domain)
    low, high = _reach(p, b, beta, domain)
    sup = _up(activation.largest(low, high))
    around = beta * math.sqrt(p.shape[1]) if domain is Domain.BOX else beta
    reach = np.maximum(np.abs(low), np.abs(high))
    moving = np.flatnonzero((sup > 0.0) & (reach > 0.0))
    lam = np.zeros(len(p))
    lam[moving] = around * np.linalg.norm(p[moving], axis=1) * activation.lipschitz(reach[moving]) / sup[moving]
    return sup, lam


def assemble(sup: np.ndarray, lam: np.ndarray, weights: np.ndarray, *, nonneg: bool) -> NeuronPlan:
    """Return the plan of suprema (n,) and weights (k, K, n), where each output reads a neuron at K offsets.

    om(p) = max_j sum_delta |w_j,delta(p)| and kap_j = sum_delta (sum_p pr (w_j,delta lam/om)^2)^(1/2).
    """
    size = np.abs(weights)
    om = size.sum(axis=1).max(axis=0)
    s = sup * om
    total = math.fsum(s)
    q = s / total if total > 0.0 else np.zeros_like(s)
    live = np.flatnonzero(q)
    share = size[:, :, live] / om[live] * lam[live]
    return NeuronPlan(
        sup=sup,
        om=om,
        sensitivities=s,
        total=total * (1.0 + ROUNDING),
        probabilities=q,
        lam=lam,
        kap=np.sqrt((share * share) @ q[live]).sum(axis=1) * (1.0 + ROUNDING),
        c0=1.0 if nonneg and bool(np.all(weights >= 0.0)) else 2.0,
    )


@implements("mussay2020_unbiased", "boundlab_deterministic_inclusion", "mussay2020_until_distinct")
def reweight(
    weights: np.ndarray, counts: np.ndarray, probabilities: np.ndarray, m: int, *, kept: np.ndarray | None = None
) -> np.ndarray:
    """Return u_j(p) = w_j(p) counts(p)/(m pr(p)), with mean w_j(p) over counts ~ Multinomial(m, pr); new array.

    Parameters
    ----------
    weights : (k, n), or (k, n, ...) for the kernels of a convolution
    counts : (n,) whole numbers that sum to m; draws until a number of DISTINCT neurons is seen are biased
    probabilities : (n,), zero only where counts are
    m : number of draws, fixed before the first; 0 where everything is kept
    kept : (n,) bool, neurons outside the sample that keep their weight exactly

    Raises InvalidParameter.

    Examples
    --------
    >>> reweight(np.array([[2.0, 3.0]]), np.array([1, 3]), np.array([0.25, 0.75]), 4)
    array([[2., 3.]])
    """
    c, q = np.asarray(counts, np.int64), np.asarray(probabilities, np.float64)
    if c.shape != q.shape or np.any(c < 0) or int(c.sum()) != m:
        raise InvalidParameter(f"counts must be >= 0, one per probability, with sum m, got sum {c.sum()} at m={m}.")
    if np.any((c > 0) & (q <= 0.0)):
        raise InvalidParameter("counts must be 0 where the probability is 0.")
    drawn = c > 0
    factor = np.zeros(len(q))
    factor[drawn] = c[drawn] / (m * q[drawn])
    if kept is not None:
        factor[np.asarray(kept, bool)] = 1.0
    w = np.asarray(weights, np.float64)
    return w * factor.reshape(1, -1, *(1,) * (w.ndim - 2))


@dataclass(frozen=True, kw_only=True)
class Inclusion:
    """Neurons kept as they are, and the draws among the rest: m' = `size`, t' = `total`, pr' = `probabilities`."""

    kept: np.ndarray  # (n,) bool
    size: int
    total: float
    probabilities: np.ndarray  # (n,), zero on the kept ones


@implements("boundlab_deterministic_inclusion")
def include(sensitivities: np.ndarray, m: int) -> Inclusion:
    """Return which neurons are kept exactly: those with m' s(p) >= t' of the rest, taken until none is left.

    Each kept neuron takes one of the m draws. The error bounds then hold with (t', m'); the variance is never larger.
    With m at or above the number of neurons of positive sensitivity, all are kept.

    Examples
    --------
    >>> rule = include(np.array([10.0, 1.0, 1.0, 1.0, 1.0]), 3)
    >>> rule.kept.tolist(), rule.size, round(rule.total, 9)
    ([True, False, False, False, False], 2, 4.0)
    """
    s, size = np.asarray(sensitivities, np.float64), positive_int("m", m)
    kept = np.zeros(len(s), bool)
    order = np.argsort(-s, kind="stable")[: int(np.count_nonzero(s > 0.0))]
    rest = np.cumsum(s[order][::-1])[::-1]  # sum of s from each place on
    count = len(order) if size >= len(order) else 0
    while count < len(order) and size - count > 0 and (size - count) * s[order[count]] >= rest[count]:
        count += 1
    if count == size < len(order):  # only rounding can hide a rest for which no draw is left
        count -= 1
    kept[order[:count]] = True
    left = np.where(kept, 0.0, s)
    total = math.fsum(left)
    return Inclusion(
        kept=kept,
        size=size - count if total > 0.0 else 0,
        total=total * (1.0 + ROUNDING),
        probabilities=left / total if total > 0.0 else left,
    )


@implements(
    "mussay2020_additive_theorem",
    "mussay2020_vc_dimension",
    "mussay2020_union_over_outputs",
    "mussay2020_dimension_factor",
)
def published_size(
    total: float, eps: float, delta: float, *, dimension: int, constant: float = 1.0, outputs: int = 1
) -> float:
    """Return the published m = c k t (d ln t + ln(1/delta))/eps^2, rounded up; refuted, kept to show it.

    It is claimed to give an additive error eps. It does not, whatever c is: w -> K w, eps -> K eps changes nothing but
    divides this m by K. d is the VC-dimension of a query space; no value of c is given.

    Parameters
    ----------
    total : t > 0
    eps, delta : additive error > 0; failure probability in (0, 1)
    dimension : d >= 1
    constant : c > 0
    outputs : k >= 1, the factor of the per-layer statement; 1 for one neuron

    Source: Mussay et al. 2020, arXiv:1907.04018, main theorem as we understand the paper; item not known to us.

    Examples
    --------
    >>> published_size(1000.0, 0.5, 0.01, dimension=2)
    73683.0
    """
    t, e = positive("total", total), positive("eps", eps)
    d, k = positive_int("dimension", dimension), positive_int("outputs", outputs)
    inner = d * math.log(t) + math.log(1.0 / probability("delta", delta))
    return float(max(1, math.ceil(positive("constant", constant) * k * t * inner / e / e)))


def _neurons(points: np.ndarray, bias: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    p = matrix("points", points)
    if bias is None:
        return p, np.zeros(len(p))
    b = matrix("bias", np.asarray(bias)[:, None])[:, 0] if np.ndim(bias) == 1 else None
    if b is None or len(b) != len(p):
        raise InvalidParameter(f"bias must have shape ({len(p)},), one per point, got {np.shape(bias)}.")
    return p, b


def _reach(p: np.ndarray, b: np.ndarray, beta: float, domain: Domain) -> tuple[np.ndarray, np.ndarray]:
    """The ends of the interval that p.x + b runs through, rounded outwards."""
    plus, minus = np.maximum(p, 0.0), np.maximum(-p, 0.0)
    if domain is Domain.BALL:
        up = down = beta * np.linalg.norm(p, axis=1)
    elif domain is Domain.NONNEGATIVE:
        up, down = beta * np.linalg.norm(plus, axis=1), beta * np.linalg.norm(minus, axis=1)
    else:
        up, down = beta * plus.sum(axis=1), beta * minus.sum(axis=1)
    return b - down - ROUNDING * (np.abs(b) + down), b + up + ROUNDING * (np.abs(b) + up)


def _up(values: np.ndarray) -> np.ndarray:
    return values * (1.0 + ROUNDING)
