"""What a net that lost neurons promises at ALL inputs of a ball, beside what the drawn net does at the worst one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from boundlab._errors import InvalidParameter, probability
from boundlab._theory import implements
from boundlab.compressors.method import ChannelCompression
from boundlab.compressors.neuron_coresets import (
    HiddenLayer,
    Importance,
    NeuronMethod,
    hidden_layers,
    layer_delta,
    left_to_chance,
    lewis_bound,
    sampling_error,
)
from boundlab.compressors.worst_case import WorstCase, worst_case_error
from boundlab.coresets.absolute_sensitivity import multiplicative_share
from boundlab.coresets.layer_coreset import passed_on
from boundlab.network import Network
from boundlab.promises import Premise, Status
from boundlab.records import Law, Record, Row, SamplePlan

UP = 1.0 + 1e-12


@dataclass(frozen=True, kw_only=True, eq=False)
class SupPromise(Record):
    """|f_i(x) - fhat_i(x)| <= errors[i] for all |x|_2 <= radius and all i, except with probability delta over coins.

    `trivial` is a distance that some input of the ball shows between f and the constant net that puts out its last
    bias: a promise at or above it is kept by that net, too, and is vacuous. `published` names the published claim
    behind the number of draws where that is false; the errors here do not rely on it.
    """

    radius: float
    delta: float
    errors: np.ndarray  # (outputs,)
    sampling: tuple[np.ndarray, ...]  # for each hidden layer, the error of its draws at each reader
    plans: tuple[SamplePlan, ...]
    trivial: float
    published: str | None

    @property
    def error(self) -> float:
        """The largest of the errors."""
        return float(self.errors.max())

    @property
    def vacuous(self) -> bool:
        """True where the constant net keeps the promise, too, or nothing is drawn."""
        return not self.error < self.trivial or all(p.exact.all() for p in self.plans)

    def rows(self) -> list[Row]:
        """One line for each hidden layer, and one for the outputs."""
        hidden = [
            {
                "layer": plan.layer,
                "neurons": len(plan.sensitivities.values),
                "total": float(plan.sensitivities.total[0]),
                "draws": float(plan.size[0]),
                "certain": int(plan.certain.sum()),
                "error": float(own.max()),
            }
            for plan, own in zip(self.plans, self.sampling, strict=True)
        ]
        last = {"layer": "output", "error": self.error, "vacuous": self.vacuous, "published": self.published}
        return [*hidden, last]


@implements("boundlab_independent_neuron_layers", "mussay2020_layer_order")
def sup_promise(compression: ChannelCompression, *, delta: float | None = None) -> SupPromise:
    """Return what the plans of a neuron coreset promise at the outputs, for all inputs of its ball at once.

        D^1 = 0,    D^{k+1} = e^k + B^k,    |ahat^k - a^k| <= D^k entry by entry

    e^k is the error of layer k's draws on what the ORIGINAL net reads, B^k >= sum_j |w_ij| c_j D^k_j bounds what the
    drawn neurons make of the errors that reach them. Neither needs the coins of another layer, so that the order of the
    layers does not matter. H draws and H - 1 sums share delta equally.

    Parameters
    ----------
    compression : by a method of ``neuron_coresets``
    delta : in (0, 1), the method's by default

    Returns
    -------
    SupPromise, rounded up; inf where a layer is drawn without replacement.

    Raises
    ------
    InvalidParameter
        If the compression is by another method, or delta is out of its range.

    Notes
    -----
    Ours; proved in ``boundlab_independent_neuron_layers``.
    """
    net, method = _network(compression), _method(compression)
    total = probability("delta", method.delta if delta is None else delta)
    layers = hidden_layers(net, method.radius)
    own = layer_delta(total, len(layers))
    reached, sampling = np.zeros(net.sizes[1]), []
    for hidden, plan in zip(layers, compression.plans, strict=True):
        sampling.append(sampling_error(hidden, plan, Importance(method.importance), own))
        passes = np.zeros(len(hidden.weights))
        if not reached.any():
            pass
        elif plan.exact[0]:
            passes = np.abs(hidden.weights) @ reached * UP
        elif plan.law is Law.MULTINOMIAL and np.isfinite(reached).all():
            passes = passed_on(hidden.weights, reached, left_to_chance(plan), own)
        else:
            passes = np.full(len(hidden.weights), np.inf)
        reached = (sampling[-1] + passes) * UP
    constant = net.with_weights([*(w.weight for w in net.layers[:-1]), np.zeros_like(net.layers[-1].weight)])
    return SupPromise(
        radius=method.radius,
        delta=total,
        errors=reached,
        sampling=tuple(sampling),
        plans=compression.plans,
        trivial=worst_case_error(net, constant, method.radius, nodes=0).lower,
        published=method.refuted,
    )


def full_size(compression: ChannelCompression) -> Network:
    """Return the compressed net in the original's shape: the same function, zeros in the columns of removed neurons."""
    net = _network(compression)
    first, *others = net.layers
    scaled = [layer.weight * scale for layer, scale in zip(others, compression.scales, strict=True)]
    return net.with_weights([first.weight, *scaled])


@implements("boundlab_ball_branch_and_bound")
def worst_case(
    compression: ChannelCompression,
    radius: float | None = None,
    *,
    points: np.ndarray | None = None,
    nodes: int | None = None,
    rng: int | np.random.Generator = 0,
) -> WorstCase:
    """Return how far the net that WAS drawn is from the original at the worst input of a ball; see `worst_case_error`.

    No probability is left: whatever the method, the upper bound holds for this net. `radius` is the method's by
    default, for those of ``neuron_coresets``.
    """
    beta = _method(compression).radius if radius is None else radius
    return worst_case_error(_network(compression), full_size(compression), beta, points=points, nodes=nodes, rng=rng)


@dataclass(frozen=True, kw_only=True, eq=False)
class EverywhereError(Record):
    """One hidden layer at EVERY input a of the whole space: |f_i(a) - fhat_i(a)| <= errors[i] F(a), i its readers.

    F(a) = sum_p om(p) |<p, (a, 1)>|, om = max_i |w_i|; except with probability delta over the coins, all readers and
    all a at once. Where all weights are >= 0 and `kappa` > 0, it is also at most errors[i]/kappa times
    sum_p om(p) ReLU(<p, (a, 1)>): with one reader, a relative error of f itself.
    """

    layer: int
    rank: float  # the sum of the sensitivities: close to the rank of the neurons; n means that no neuron can be spared
    neurons: int
    delta: float
    errors: np.ndarray
    kappa: float
    premises: tuple[Premise, ...]

    @property
    def relative(self) -> np.ndarray | None:
        """errors/kappa, where the premises of a relative error hold."""
        if any(p.status is not Status.CHECKED for p in self.premises):
            return None
        return self.errors / self.kappa * UP

    @property
    def vacuous(self) -> bool:
        """True where dropping every neuron keeps the promise: an error of F is one of 1."""
        return not float(self.errors.max(initial=0.0)) < 1.0

    def rows(self) -> list[Row]:
        """One line."""
        relative = self.relative
        return [
            {
                "layer": self.layer,
                "neurons": self.neurons,
                "rank": self.rank,
                "error": float(self.errors.max()),
                "kappa": self.kappa,
                "relative": None if relative is None else float(relative.max()),
                "vacuous": self.vacuous,
            }
        ]


@implements("boundlab_homogeneous_sensitivity", "tukan2022_multiplicative")
def everywhere_errors(compression: ChannelCompression, *, delta: float | None = None) -> list[EverywhereError]:
    """Return, for each hidden layer by itself, its error at every input of the whole space: no ball is needed.

    For methods with ``importance=Importance.LEWIS``. The premise of a relative error, kappa > 0, is checked by a linear
    program; delta is shared as by `sup_promise`.

    Raises
    ------
    InvalidParameter
        If the compression is by another method, or delta is out of its range.

    Notes
    -----
    The relative error that is published for this (arXiv:2209.08554, as others summarise it) is false in general:
    ``tukan2022_multiplicative``. Ours; proved in ``boundlab_homogeneous_sensitivity``.
    """
    method = _method(compression)
    if Importance(method.importance) is not Importance.LEWIS:
        raise InvalidParameter("an error at every input needs importance=Importance.LEWIS, got the largest on a ball.")
    total = probability("delta", method.delta if delta is None else delta)
    layers = hidden_layers(_network(compression), method.radius)
    own = layer_delta(total, len(layers))
    return [_everywhere(h, p, own) for h, p in zip(layers, compression.plans, strict=True)]


def _everywhere(hidden: HiddenLayer, plan: SamplePlan, delta: float) -> EverywhereError:
    chance = left_to_chance(plan)
    errors = np.zeros(len(hidden.weights))
    if not plan.exact[0] and chance.probabilities.any():
        errors += np.inf
        if plan.law is Law.MULTINOMIAL and chance.size:
            errors = lewis_bound(hidden, chance).error(chance.size, delta)
    rows = hidden.points * hidden.om[:, None]
    kappa = multiplicative_share(rows) if rows.any() else 0.0
    signs = bool(np.all(hidden.weights >= 0.0))
    premises = (
        Premise(
            text="kappa = inf over a of sum om ReLU(<p, a>) / sum om |<p, a>| > 0",
            status=Status.CHECKED if kappa > 0.0 else Status.VIOLATED,
            evidence=f"a linear program: kappa >= {kappa:.4g}",
            numbers={"kappa": kappa},
        ),
        Premise(
            text="all outgoing weights are >= 0",
            status=Status.CHECKED if signs else Status.VIOLATED,
            evidence="read off the weights",
        ),
    )
    return EverywhereError(
        layer=plan.layer,
        rank=float(plan.sensitivities.total[0]),
        neurons=len(rows),
        delta=delta,
        errors=errors,
        kappa=kappa,
        premises=premises,
    )


def _network(compression: ChannelCompression) -> Network:
    net = compression.original
    if not isinstance(net, Network):
        raise InvalidParameter(f"a fully connected net is needed, got {type(net).__name__}.")
    return net


def _method(compression: ChannelCompression) -> NeuronMethod:
    method = compression.compressor
    if not isinstance(method, NeuronMethod):
        raise InvalidParameter(f"a compression by a neuron coreset is needed, got one by {type(method).__name__}.")
    return method
