"""CoreNet's generalization corollary with its constants written out, and with what its proof leaves open."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from boundlab._errors import InvalidParameter, PremiseViolated, positive
from boundlab._theory import implements
from boundlab.bounds.compressed_class import ROUNDING, listed
from boundlab.bounds.generalization_bound import (
    GeneralizationBound,
    Subject,
    chance,
    compression_of,
    evidence,
    telescope,
)
from boundlab.nets.condition import condition_numbers
from boundlab.nets.feedforward import feed_forward
from boundlab.nets.importance import exceeds
from boundlab.promises import Bound, Premise, Status
from boundlab.records import Compression, SamplePlan

_BITS = 32  # of a retained value: a float32
_BLOCK = 4096  # points at a time, to bound the memory of the premise check
_UP = 1.0 + 1e-12


@implements("baykal2019_generalization_corollary", "baykal2019_many_points", "boundlab_margin_lemma")
def log_size(
    conditions: Sequence[float], totals: Sequence[float], *, K: float, eta: int, n: int, delta: float, ratio: float
) -> float:
    """Natural logarithm of the corollary's size bound q, ceilings left out; inf where it has no finite value.

    q = 32 (L-1)^2 K ln(8 eta n / delta) / eps^2 * sum_l (Delta^{l->})^2 sum_i S_i^l  with  eps = gamma / (2 B), i.e.
    q = 128 (L-1)^2 B^2 K ln(8 eta n / delta) / gamma^2 * sum_l (Delta^{l->})^2 sum_i S_i^l

    Parameters
    ----------
    conditions : sequence of float
        Delta^l of the L-1 weight matrices in order; below 1 it counts as 1, which the published induction needs as
        soon as there are biases. Delta^{l->} is their product from l to the last.
    totals : sequence of float
        sum_i S_i^l of the same matrices, S_i^l adding both signs.
    K, eta, n, delta : float
        Assumption 1's constant; neurons outside the input; points at which the promise is to hold at once; the
        probability that it does not.
    ratio : float
        B / gamma, B the largest |output| on the points.

    Raises
    ------
    InvalidParameter
        If there is no layer, the lists do not match, or a number is NaN or out of its range.

    Notes
    -----
    Theorem "network compression" of arXiv:1804.05345 with delta / n in place of delta, as we understand the paper.

    Examples
    --------
    >>> q = math.exp(log_size([1.0], [1.0], K=1 / math.log(8 / 0.05), eta=1, n=1, delta=0.05, ratio=0.5))
    >>> f"{q:.6f}"  # 32 / eps^2 at eps = 1 and K ln(8/delta) = 1
    '32.000000'
    """
    layers = len(conditions)
    if not layers or len(totals) != layers or np.isnan([*conditions, *totals]).any():
        raise InvalidParameter(
            f"conditions and totals must be one number for each layer, got {conditions!r} and {totals!r}."
        )
    if not (positive("K", K) and 0.0 < delta < 1.0 and ratio >= 0.0 and min(eta, n) >= 1):
        raise InvalidParameter(
            f"delta must be in (0, 1), ratio at least 0, eta and n at least 1, "
            f"got {delta!r}, {ratio!r}, {eta!r} and {n!r}."
        )
    with np.errstate(divide="ignore", over="ignore"):
        onward = np.cumsum(np.log(np.maximum(np.asarray(conditions, dtype=np.float64), 1.0))[::-1])[::-1]
        sums = np.asarray(totals, dtype=np.float64)
        terms = np.where(sums > 0, 2.0 * np.where(sums > 0, onward, 0.0) + np.log(sums), -np.inf)
        constant = math.log(128.0) + 2.0 * math.log(layers) + math.log(math.log(8.0 * eta * n / delta))
        return float(constant + math.log(K) + 2.0 * np.log(ratio) + np.logaddexp.reduce(terms))


@implements("baykal2019_generalization_corollary", "boundlab_margin_lemma")
@dataclass(frozen=True, kw_only=True)
class CoreNetCorollary(GeneralizationBound):
    """Risk of a net compressed by CoreNet, from the margins of the original net: the published corollary, un-Õ'd.

    L_0(f^) <= L_gamma(f) + sqrt(((q + R + 1) ln r + 32 eta ln 2 + ln(2 G / delta)) / (2 n)), q as in `log_size`, with
    ln r = ln N_E + 32 ln 2 for the position and the float32 value of a retained weight (N_E edges), R groups for the
    ceilings, 1 for the number itself, eta biases, and G margins to choose from. L_gamma(f) is the share of points with
    f_y <= gamma + max_{i != y} f_i, in exact arithmetic; what rounding leaves open counts. Half of delta pays for the
    coins at all n points, half for the sample; each half is shared by the G margins.

    The net certified is the one that CoreNet draws with eps = gamma / (2 B) at failure probability delta / (2 G n),
    which is neither the original nor `compression.net`. The bound exceeds 1 by many orders of magnitude.

    Parameters
    ----------
    delta : float
        In (0, 1).
    margins : tuple of float
        gamma > 0 in units of the outputs, fixed before the data, none twice. Margins of 2 B or more, at which eps
        would reach 1, are passed over; where all are, the margin loss is 1 and the bound trivially true.
    name : str
        What a table calls it.

    Raises
    ------
    InvalidParameter
        If delta or a margin is out of its range.
    PremiseViolated
        On evaluation, if the method that compressed the net used no bound on Delta^l for some layer.

    Notes
    -----
    The corollary on generalization of arXiv:1804.05345, whose number is not known to us and whose constants the paper
    hides in Õ; this form is ours. Its gaps are listed as premises.
    """

    name: str = "CoreNet corollary"
    margins: tuple[float, ...] = tuple(2.0**k for k in range(-4, 11))

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "margins", listed("margins", self.margins))
        for gamma in self.margins:
            positive("a margin", gamma)

    def __call__(self, net: Subject, x: Any, y: Any) -> Bound:
        """Evaluate every margin and report the smallest bound; finite or inf, rounded up."""
        compression = compression_of(net)
        x, y = evidence(compression, x, y)
        plans = _plans(compression)
        original, n, share = compression.original, len(x), self.delta / (2.0 * len(self.margins))
        original.require_finite(x)
        chain = feed_forward(original)
        own, (f, off) = chain.certain_margins(x, y), chain.enclosed(x)
        B, eta, edges = (
            float((np.abs(f) + off).max()),
            sum(original.sizes[1:]),
            sum(w.weight.size for w in original.layers),
        )
        K = max(p.K for p in plans)
        groups = sum(len(p.groups) for p in plans)
        candidates = []
        # at gamma >= 2 B eps reaches 1, which the theorem does not cover, and the margin loss is 1
        for gamma in [g for g in self.margins if g < 2.0 * B] or self.margins:
            log_q = log_size(
                [p.condition for p in plans],
                [float(p.sensitivities.total.sum()) for p in plans],
                K=K,
                eta=eta,
                n=n,
                delta=share,
                ratio=B / gamma,
            )
            loss = (n - int(np.count_nonzero(own > gamma))) / n
            gap = _gap(log_q, groups, edges=edges, eta=eta, n=n, delta=share)
            candidates.append((loss + gap, loss, gap, gamma, log_q))
        _, loss, gap, gamma, log_q = min(candidates)
        q = _exp(log_q)
        return Bound(
            name=self.name,
            terms=telescope(("margin loss", "gap"), (loss, loss + gap)),
            delta=self.delta,
            theorem="baykal2019_generalization_corollary",
            chance=chance(y),
            premises=_premises(compression, plans, x, q=q, edges=edges),
            facts={
                "q": q,
                "log10_q": log_q / math.log(10.0),
                "N_E": edges,
                "B": B,
                "gamma": gamma,
                "K": K,
                "L": len(original.sizes),
                "n": n,
                "gap_of_counting_all_parameters": _gap(-math.inf, edges, edges=1, eta=eta, n=n, delta=self.delta),
            },
        )


def _plans(compression: Compression) -> list[SamplePlan]:
    plans = sorted(compression.plans, key=lambda p: p.layer)
    layers = len(compression.original.layers)
    if len(plans) != layers or any(math.isnan(p.condition) for p in plans):
        known = sum(not math.isnan(p.condition) for p in plans)
        raise PremiseViolated(
            f"CoreNet's corollary needs a plan with a bound on Delta^l for each of the {layers} layers, "
            f"got {known} such plans: use a method of relative error, as CoreNet is."
        )
    return plans


def _gap(log_q: float, more: int, *, edges: int, eta: int, n: int, delta: float) -> float:
    """sqrt(((q + more + 1) ln r + 32 eta ln 2 + ln(1/delta)) / (2 n)), in logarithms; rounded up."""
    value = _BITS * math.log(2.0)
    retained = float(np.logaddexp(log_q, math.log(more + 1.0))) + math.log(math.log(edges) + value)
    rest = math.log(eta * value - math.log(delta))
    return _exp(0.5 * (float(np.logaddexp(retained, rest)) - math.log(2.0 * n))) * _UP


def _exp(exponent: float) -> float:
    """e^exponent, inf where it overflows."""
    return math.exp(exponent) if exponent < 709.0 else math.inf


def _premises(
    compression: Compression, plans: list[SamplePlan], x: np.ndarray, *, q: float, edges: int
) -> tuple[Premise, ...]:
    """The premises of any such bound, then the gaps G1 to G6 of the published argument."""
    signed, bad = bool((x < 0).any()), _bad_points(compression, plans, x)
    return (
        Premise(
            text="the n examples are i.i.d.; sizes, activations and margins are fixed before them",
            status=Status.ASSUMED,
            evidence="a property of how the examples and the net's shape were chosen",
        ),
        ROUNDING,
        Premise(
            text="inputs are non-negative",
            status=Status.VIOLATED if signed else Status.CHECKED,
            evidence=f"{np.count_nonzero(x < 0)} of {x.size} entries are negative",
        ),
        Premise(
            text="G1: retained positions depend on the data, so no helper string holds them",
            status=Status.CHECKED,
            evidence="repaired: each retained weight pays ln N_E for its position",
        ),
        Premise(
            text="G2: retained values are real numbers that depend on the data",
            status=Status.ASSUMED,
            evidence=f"repaired by paying {_BITS} bits for each value and bias; assumed: rounding to float32 leaves "
            "every output within eps",
        ),
        Premise(
            text="G3: the compression has to be accurate at all n examples at once",
            status=Status.CHECKED,
            evidence="repaired: its failure probability is divided by n",
        ),
        Premise(
            text="G4: the bound holds for a compressed net, not for the original",
            status=Status.CHECKED,
            evidence="stated: the net drawn at eps = gamma / (2 B), a sample that nobody has to draw",
        ),
        Premise(
            text="G5: at every example Delta_i(x) <= Delta^l and each share is at most K s_j, though theta saw them",
            status=Status.VIOLATED if bad or signed else Status.CHECKED,
            evidence=f"{bad} of {len(x)} examples break it" if not signed else "undefined for negative inputs",
            numbers={"share": bad / len(x)},
        ),
        Premise(
            text="G6: q below N_E, without which counting all parameters is better (validity does not need it)",
            status=Status.CHECKED,
            evidence=f"q = {q:.3g} against N_E = {edges}: {'useful' if q < edges else 'useless'}",
        ),
    )


def _bad_points(compression: Compression, plans: list[SamplePlan], x: np.ndarray) -> int:
    """Examples at which some Delta_i exceeds its bound; if none does, those with a share above K s_j."""
    wide = shares = 0
    for start in range(0, len(x), _BLOCK):
        read = compression.original.inputs(x[start : start + _BLOCK])
        triples = list(zip(plans, compression.original.layers, read, strict=True))
        broken = np.zeros(len(read[0]), dtype=bool)
        for plan, layer, a in triples:
            broken |= condition_numbers(layer, a).max(axis=1) > plan.condition * (1.0 + 1e-10)
        wide += int(np.count_nonzero(broken))
        if wide == 0:
            for plan, layer, a in triples:
                broken |= exceeds(layer, a, plan.sensitivities, plan.K, np.zeros(len(plan.groups), dtype=bool))
            shares += int(np.count_nonzero(broken))
    return wide or shares
