"""From a compression to a certificate: which promise holds, by which theorem, under which premises, at which delta."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from boundlab import _errors
from boundlab._errors import InvalidParameter, PremiseViolated
from boundlab._theory import implements
from boundlab.compressors.constants import constants
from boundlab.compressors.corenet_neurons import Amplified, CoreNetPlus
from boundlab.compressors.method import ChannelCompression, fingerprints
from boundlab.concentration.binomial import upper_limit
from boundlab.nets.condition import condition_numbers
from boundlab.nets.groups import parts, sign_groups
from boundlab.nets.importance import exceeds
from boundlab.nets.propagate import envelope, relative_error
from boundlab.network import Layer, Network
from boundlab.premises import assumption_1, assumption_2, not_calibrated_on, unseen
from boundlab.promises import Certificate, Premise, Status
from boundlab.records import Compressed, Compression, SamplePlan, Sensitivities

CONFIDENCE = 1e-3
"""Probability that the hold-out sample misleads about the share of bad points; stated with every certificate."""


def certify(
    compression: Compression | ChannelCompression,
    points: np.ndarray,
    *,
    independent: bool | None = None,
    unused: Premise | None = None,
) -> Certificate:
    """Certify a compression by the theorem that its plan follows.

    Parameters
    ----------
    compression : what `compress` returned
    points : (points, features) fresh inputs: a hold-out that neither training nor the calibration has seen. The share
        of them that breaks a premise enters delta through its Clopper-Pearson limit.
    independent : the caller's word that calibration points and hold-out were not used in training; None: not declared
    unused : the same premise with its evidence, where the caller has more of it than a word

    Returns
    -------
    Certificate
        with delta = (coins) + (bad points), added up in `budget`; `met` tells whether the requested delta is kept.

    Raises
    ------
    InvalidParameter
        if `points` does not fit the net, or no theorem covers it: on modules other than fully connected nets, and for
        most methods that remove neurons, plans are statements about single sums; a published form that is refuted
        certifies nothing.
    """
    if isinstance(compression, Amplified):
        raise InvalidParameter("the best of several draws has no promise over coins: use certify_on_holdout.")
    if isinstance(compression, Compressed) and not any(p.theorem for p in compression.plans):
        raise InvalidParameter(
            f"a certificate needs a method with a theorem, got {compression.compressor.name}, which promises nothing: "
            "use certify_on_holdout, or verify with an eps and a delta of your own."
        )
    if not isinstance(compression, Compressed):
        raise InvalidParameter(f"a certificate needs a Compression, got {type(compression).__name__}.")
    theorem = compression.plans[0].theorem
    net, small = compression.original, compression.net
    thinned = isinstance(compression, Compression) or isinstance(compression.compressor, CoreNetPlus)
    if not (thinned and isinstance(net, Network) and isinstance(small, Network)):
        raise InvalidParameter(
            f"a certificate needs a fully connected net with thinned-out weights, or one by CoreNetPlus, got a "
            f"{type(compression).__name__} by {compression.compressor.name}: its plans follow {theorem!r}, which does "
            "not speak of the whole net."
        )
    x = _errors.matrix("points", points, columns=net.sizes[0])
    net.require_finite(x)
    small.require_finite(x)
    try:
        form = _FORMS[theorem]
    except KeyError:
        raise InvalidParameter(
            f"a plan must follow a theorem that certify knows, got {theorem!r}; it knows {', '.join(_FORMS)}."
        ) from None
    claim, budget, premises, error = form(compression, x)
    sampled = sum(int((~p.exact).sum()) for p in compression.plans)
    shared = sum(digest in compression.calibration for digest in fingerprints(x))
    return Certificate(
        claim=claim,
        eps=getattr(compression.compressor, "eps", None),
        delta=min(1.0, sum(budget.values())),
        requested_delta=compression.compressor.delta,
        theorem=theorem,
        premises=(unused or unseen(independent), not_calibrated_on(shared, len(x)), *premises),
        budget=budget,
        confidence_delta=CONFIDENCE if budget.get("bad points") else 0.0,
        sampled_share=sampled / max(1, sum(len(p.groups) for p in compression.plans)),
        error=error,
    )


Form = tuple[str, Mapping[str, float], tuple[Premise, ...], Mapping[str, float]]


@implements("baykal2019_network_compression")
def _published(compression: Compression, x: np.ndarray) -> Form:
    """The published theorem: its premises, tested; its delta, as printed."""
    net, method = compression.original, compression.compressor
    need = constants(net.sizes, method.delta).points
    have = compression.plans[0].sensitivities.points
    biased = sum(bool(layer.bias.any()) for layer in net.layers)
    widest, hidden = max(net.sizes), max(net.sizes[1:-1], default=max(net.sizes))
    premises = (
        assumption_1(net, x, delta=method.delta),
        assumption_2(net, x),
        Premise(
            text=f"|S| >= {need} calibration points",
            status=Status.CHECKED if have >= need else Status.VIOLATED,
            evidence=f"{have} were used",
        ),
        Premise(
            text="the union over the edges of a group and over the outputs is covered by eta*, the widest hidden layer",
            status=Status.CHECKED if widest <= hidden else Status.VIOLATED,
            evidence=f"eta* = {hidden}, the widest layer has {widest}",
        ),
        Premise(
            text="inputs are non-negative and there are no biases (kept exactly here)",
            status=Status.CHECKED if (x >= 0).all() and not biased else Status.VIOLATED,
            evidence=f"smallest input {x.min():.3g}; {biased} layers have biases",
        ),
    )
    budget = {} if compression.unchanged else {"as published": method.delta}
    return f"f̂(x) ∈ (1 ± {method.eps:g}) f(x) in every output", budget, premises, _errors_seen(compression, x)


@implements("boundlab_theorem_a")
def _relative(compression: Compression, x: np.ndarray) -> Form:
    """Theorem A: gamma_L <= eps unless a coin fails (delta/2) or x is bad (hold-out)."""
    net = compression.original
    bad = _bad_shares(compression, x) | _ill_conditioned(compression.plans, net.layers, net.inputs(x))
    return _within_eps(compression, x, bad)


@implements("boundlab_theorem_b", "boundlab_theorem_b_laws")
def _additive(compression: Compression, x: np.ndarray) -> Form:
    """Theorem B: |f̂ - f| <= e^L(x) unless a coin fails (delta/2) or x is bad (hold-out)."""
    bad = _bad_shares(compression, x)
    plans = compression.plans
    read, promised = envelope(compression.original, x, [p.groups for p in plans], [p.eps for p in plans])
    for plan, layer, e in zip(plans, compression.original.layers, read, strict=True):
        if np.isfinite(plan.K) and (plan.draws > 0).any() and e.any():
            bad |= exceeds(layer, e, _left_to_chance(plan), plan.K, plan.draws == 0)
    bad |= ~np.isfinite(promised).all(axis=1)
    budget, premise = _spend(compression, bad)
    promised = np.where(bad[:, None], np.inf, promised)  # a bad point is promised nothing
    f = compression.original(x)
    size = np.abs(f).sum(axis=1)
    relative = np.divide(promised.sum(axis=1), size, out=np.full(len(x), np.inf), where=size > 0)
    error = {
        "promised_relative_l1_median": float(np.quantile(relative, 0.5, method="higher")),
        "decisions_promised": float(np.mean(_decided(f, promised))) if f.shape[1] > 1 else 0.0,
        **_errors_seen(compression, x),
    }
    return "|f̂(x) - f(x)| ≤ e^L(x) in every output", budget, (*_unknown_factor(compression), premise), error


@implements("baykal2019_corenet_plus")
def _relative_neurons(compression: Any, x: np.ndarray) -> Form:
    """CoreNet+: gamma_L <= eps as by Theorem A, where no reader has a share above K s_j of a neuron."""
    plans, net = compression.plans, compression.original
    readers, read = net.layers[1:], net.inputs(x)[1:]
    bad = _ill_conditioned(plans, readers, read)
    for plan, layer, a in zip(plans, readers, read, strict=True):
        if not (plan.draws > 0).any():
            continue
        if plan.parts == 1:
            bad |= (a < 0).any(axis=1)
        groups = sign_groups(layer.weight)
        own = replace(plan.sensitivities, values=plan.sensitivities.values[groups.columns], groups=groups)
        for part in parts(a):
            bad |= exceeds(layer, part, own, plan.K, np.zeros(len(groups), bool))
    return _within_eps(compression, x, bad)


@implements("boundlab_theorem_a", "baykal2019_corenet_plus")
def _ill_conditioned(plans: Sequence[SamplePlan], layers: Sequence[Layer], read: Sequence[np.ndarray]) -> np.ndarray:
    """Which points have a condition number above its bound, from the first layer on that reads a sample."""
    bad, reached = np.zeros(len(read[0]), bool), False
    for plan, layer, a in zip(plans, layers, read, strict=True):
        reached = reached or bool((plan.draws > 0).any())
        if reached:
            bad |= (condition_numbers(layer, a) > plan.condition).any(axis=1)
    return bad


def _within_eps(compression: Any, x: np.ndarray, bad: np.ndarray) -> Form:
    """The claim that gamma_L <= eps; PremiseViolated where the recursion ends above it or a ReLU cannot keep it."""
    eps, plans = compression.compressor.eps, compression.plans
    worst = np.array([p.eps.max(initial=0.0) for p in plans])
    gamma = relative_error(worst, np.array([p.condition for p in plans]))
    if gamma[-1] > eps * (1 + 1e-9) or (gamma[:-1] >= 1).any():
        raise PremiseViolated(f"the recursion must end at eps={eps:g} or less, got {gamma[-1]:g}.")
    budget, premise = _spend(compression, bad)
    text = f"f̂(x) ∈ (1 ± {eps:g}) f(x) in every output"
    return text, budget, (premise,), {"gamma": float(gamma[-1]), **_errors_seen(compression, x)}


_FORMS: Mapping[str, Callable[[Any, np.ndarray], Form]] = {
    "baykal2019_corenet_plus": _relative_neurons,
    "baykal2019_network_compression": _published,
    "boundlab_theorem_a": _relative,
    "boundlab_theorem_b": _additive,
}


def _bad_shares(compression: Compression, x: np.ndarray) -> np.ndarray:
    """Which points have a share above K s_j of an edge not kept for certain, or a sign that the coins do not cover."""
    bad = np.zeros(len(x), bool)
    for plan, layer, a in zip(
        compression.plans, compression.original.layers, compression.original.inputs(x), strict=True
    ):
        if np.isfinite(plan.K) and not plan.exact.all():
            if plan.parts == 1 and (plan.draws > 0).any():
                bad |= (a < 0).any(axis=1)
            for part in parts(a):
                bad |= exceeds(layer, part, _left_to_chance(plan), plan.K, plan.exact)
    return bad


@implements("boundlab_theorem_b_laws")
def _left_to_chance(plan: SamplePlan) -> Sensitivities:
    """The sensitivities, with 1 where no premise is needed: no share exceeds it.

    An edge that is kept for certain cancels, and a group from which nothing is drawn never loses more than all it has.
    """
    free = plan.certain | plan.groups.spread((plan.draws == 0) & (plan.eps >= 1.0))
    return replace(plan.sensitivities, values=np.where(free, 1.0, plan.sensitivities.values))


def _unknown_factor(compression: Compression) -> tuple[Premise, ...]:
    """A premise that is violated where calibration gave no K; the errors then hold at every point, and are as large."""
    if all(np.isfinite(p.K) for p in compression.plans):
        return ()
    return (
        Premise(
            text="calibration bounds by which factor K a fresh share may exceed s_j",
            status=Status.VIOLATED,
            evidence="K = inf: too few points, or too many of them show an edge that the others never saw active",
        ),
    )


@implements("boundlab_holdout_certificate")
def _spend(compression: Compressed, bad: np.ndarray) -> tuple[dict[str, float], Premise]:
    """Share delta out: half of it for the coins, the Clopper-Pearson limit of the bad points on top."""
    count, points = int(bad.sum()), len(bad)
    premise = Premise(
        text="a fresh point has no share above K s_j, no Delta above its bound and no sign that was not planned",
        status=Status.CHECKED,
        evidence=f"{count} of {points} hold-out points break it",
        numbers={"bad": float(count), "points": float(points)},
    )
    if compression.unchanged:
        return {}, premise
    chance = any((p.draws > 0).any() for p in compression.plans)
    coins = {"coins": compression.compressor.delta / 2} if chance else {}
    return coins | {"bad points": upper_limit(count, points, CONFIDENCE)}, premise


def _errors_seen(compression: Any, x: np.ndarray) -> dict[str, float]:
    """Observed relative error and agreement of the one net that was drawn."""
    f, g = compression.original(x), compression.net(x)
    error, size = np.abs(g - f).sum(axis=1), np.abs(f).sum(axis=1)
    relative = np.divide(error, size, out=np.where(error > 0, np.inf, 0.0), where=size > 0)
    return {
        "observed_relative_l1_median": float(np.quantile(relative, 0.5, method="higher")),
        "observed_relative_l1_q95": float(np.quantile(relative, 0.95, method="higher")),
        "agreement": float(np.mean(f.argmax(axis=1) == g.argmax(axis=1))),
    }


def _decided(f: np.ndarray, e: np.ndarray) -> np.ndarray:
    """Whether |f̂ - f| <= e leaves the argmax where it is: f_top - e_top > f_i + e_i for all others."""
    top = f.argmax(axis=1)
    rows = np.arange(len(f))
    others = f + e
    others[rows, top] = -np.inf
    return (f - e)[rows, top] > others.max(axis=1)
