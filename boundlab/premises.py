"""The premises of the published theorem, tested on data instead of believed."""

from __future__ import annotations

import math

import numpy as np

from boundlab._errors import InvalidParameter
from boundlab._theory import implements
from boundlab.compressors.constants import constants
from boundlab.concentration.binomial import upper_limit
from boundlab.nets.condition import LEVELS, condition_numbers, hill_index, tail_curve
from boundlab.nets.groups import parts
from boundlab.network import Network
from boundlab.promises import Premise, Status, contaminated

ALPHA = 0.01
"""Error level of each test of a premise (divided by the number of features that are tested)."""
UNSEEN = "the calibration and hold-out points were not used in training"


@implements("baykal2019_assumption_1")
def assumption_1(network: Network, x: np.ndarray, *, delta: float) -> Premise:
    """Test Assumption 1 (CDF of relative importance) on points that neither training nor S has seen.

    It asks F_j(M_j/K) <= exp(-1/K'), and F_j(M_j/K) >= P(a_j = 0), so that a feature whose activity is below
    1 - exp(-1/K') refutes it for EVERY K. A feature counts as refuting where the Clopper-Pearson upper limit of its
    activity, at level ALPHA over all features, is below that; features never active violate it formally.
    """
    threshold = -math.expm1(-1.0 / constants(network.sizes, delta).K)
    active = []  # per layer: on how many points each feature, or each part of a signed one, is above 0
    for layer, a in zip(network.layers, network.inputs(x), strict=True):
        used = np.flatnonzero(layer.weight.any(axis=0))  # a feature without an edge is no concern of the assumption
        active.append(np.concatenate([np.count_nonzero(part[:, used], axis=0) for part in parts(a)]))
    features = sum(len(counts) for counts in active)
    numbers: dict[str, float] = {"threshold": threshold}
    refuting = 0
    for k, counts in enumerate(active):
        below = {int(c): upper_limit(int(c), len(x), ALPHA / features) < threshold for c in np.unique(counts)}
        refutes = np.array([below[int(c)] and c > 0 for c in counts], bool)
        numbers[f"layer {k + 2}: share of features that refute it"] = float(refutes.mean()) if len(counts) else 0.0
        numbers[f"layer {k + 2}: share of features never active"] = float(np.mean(counts == 0)) if len(counts) else 0.0
        refuting += int(refutes.sum())
    return Premise(
        text="Assumption 1: every edge shows 1/K of its largest share with probability at least 1 - exp(-1/K')",
        status=Status.VIOLATED if refuting else Status.ASSUMED,
        evidence=f"{refuting} of {features} features are active on fewer than {threshold:.1%} of the inputs "
        f"({len(x)} fresh points, error level {ALPHA:g}): each refutes it for every K",
        numbers=numbers,
    )


@implements("baykal2019_assumption_2")
def assumption_2(network: Network, x: np.ndarray) -> Premise:
    """Test Assumption 2 (Delta sub-exponential) by its tail on fresh points.

    A sub-exponential Delta has t P(Delta > t) -> 0 exponentially and no finite tail index. Where a pre-activation
    takes both signs on a connected part of the data, P(Delta > t) >= c/t and Delta has no mean. The premise counts as
    violated where some Delta is infinite, or where the tail index is below 2 and t P(Delta > t) falls by less than a
    factor 10 from t = 10 to t = 1000. That is evidence without an error level: no sample refutes a tail.
    """
    numbers: dict[str, float] = {}
    heavy, infinite = [], 0
    for k, (layer, a) in enumerate(zip(network.layers, network.inputs(x), strict=True)):
        ratio = condition_numbers(layer, a).ravel()
        z = layer.preactivation(a)
        index, curve = hill_index(ratio), tail_curve(ratio)
        both = (z > 0).any(axis=0) & (z < 0).any(axis=0)
        numbers[f"layer {k + 2}: tail index"] = index
        numbers[f"layer {k + 2}: share of infinite Delta"] = float(np.mean(np.isinf(ratio)))
        numbers[f"layer {k + 2}: share of neurons with both signs"] = float(both.mean())
        numbers |= {f"layer {k + 2}: t P(Delta > t) at t = {t:g}": value for t, value in curve.items()}
        infinite += int(np.isinf(ratio).sum())
        if index < 2.0 and curve[1_000.0] > 0.1 * curve[10.0] > 0.0:
            heavy.append(index)
    first = ", ".join(f"{numbers[f'layer 2: t P(Delta > t) at t = {t:g}']:.2g}" for t in LEVELS)
    found = [f"{infinite} infinite values"] if infinite else []
    if heavy:
        found.append(f"tail index {min(heavy):.2f} to {max(heavy):.2f} where an exponential tail has none")
    return Premise(
        text="Assumption 2: Delta of every neuron is sub-exponential",
        status=Status.VIOLATED if found else Status.ASSUMED,
        evidence=f"{'; '.join(found) or 'no heavy tail seen'}; t P(Delta > t) in layer 2 at t = 10 ... 1e5: {first}",
        numbers=numbers,
    )


@implements("boundlab_holdout_certificate")
def not_calibrated_on(shared: int, points: int, *, repeated: int = 0) -> Premise:
    """State whether hold-out points are new: how many also calibrated the plan, and how many repeat others."""
    return Premise(
        text="the hold-out is an i.i.d. sample that the plan was not made on",
        status=Status.VIOLATED if contaminated(max(shared, repeated), points) else Status.ASSUMED,
        evidence=f"{shared} of {points} hold-out points also calibrated the plan"
        + (f", {repeated} repeat others" if repeated else ""),
        numbers={"shared": float(shared), "points": float(points), "repeated": float(repeated)},
    )


@implements("boundlab_holdout_certificate")
def unseen(independent: bool | None, *, overlap: int | None = None, points: int = 0, drawn: bool = False) -> Premise:
    """State whether the calibration points are independent of training: asked of the caller, checked where possible.

    `drawn`: they were drawn for this audit by a sampler that the caller gave.
    """
    if independent not in (True, False, None):
        raise InvalidParameter(f"the word on unseen points must be True, False or None, got {independent!r}.")
    if drawn and independent is None:
        return Premise(text=UNSEEN, status=Status.ASSUMED, evidence="the given sampler drew them for this audit")
    known = "" if overlap is None else f"; {overlap} of {points} points also occur in the training data"
    seen = independent is False or (overlap is not None and contaminated(overlap, points))
    status = Status.VIOLATED if seen else Status.ASSUMED
    said = {True: "the caller declares it", False: "the caller denies it", None: "nobody has declared it"}[independent]
    return Premise(
        text=UNSEEN,
        status=status,
        evidence=said + known,
        numbers={} if overlap is None else {"overlap": float(overlap)},
    )
