"""PFP (arXiv:1911.07412): filters removed by channel sensitivity, in the paper's three forms and two of ours.

A channel goes with all that belongs to it, and the net that is left is smaller and dense. What is promised is about
single sums: with probability 1 - delta, at a point whose shares are at most K s_j, the positive and the negative part
of every filter that reads a space errs by at most the share eps of itself, its inputs being the original ones. A filter
that reads several spaces errs by at most the sum of their eps. `liebenwein2020_network` carries this through a chain of
ReLU layers; through batch norms and residual additions nothing carries it, and a hold-out speaks.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

import numpy as np

from boundlab._errors import InvalidParameter, choice, positive, positive_int, probability
from boundlab._theory import implements
from boundlab.compressors.method import ChannelCompressor, Net
from boundlab.coresets.layer_budget import (
    channel_size,
    distinct_channels,
    published_channel_size,
    released_channel_size,
    smallest_eps,
)
from boundlab.coresets.partial_derandomisation import (
    best_split,
    derandomised_error,
    partial_eps,
    partial_size,
    rest_after,
)
from boundlab.coresets.threshold_sampling import certified_eps, threshold_probabilities
from boundlab.nets.channels import channel_sensitivities, single_weight_sensitivities
from boundlab.nets.space_sensitivities import SpaceSensitivities, parameters_left, removable, space_sensitivities
from boundlab.network import Space
from boundlab.records import Groups, Law, SamplePlan, Sensitivities


class Form(StrEnum):
    """How the channels of a space are chosen."""

    RANDOM = "random"
    """Draws with replacement; a channel drawn c times of m counts c/(m q) times. The paper's."""
    PARTIAL = "partial"
    """The largest ones as they are, draws from the rest; how many is chosen for the least error. The paper's idea."""
    DERANDOMISED = "derandomised"
    """The largest ones as they are, and nothing else. The paper's."""
    THRESHOLD = "threshold"
    """Each by its own coin, pi = min(1, s/tau), counting 1/pi times. Ours."""
    PIVOTAL = "pivotal"
    """The same pi, and exactly as many as planned. Ours."""


class Size(StrEnum):
    """Which number of draws goes with an eps; only the first comes with a proof of its constant."""

    DERIVED = "derived"
    PUBLISHED = "published"
    RELEASED = "released"


_LAWS = {Form.THRESHOLD: Law.POISSON, Form.PIVOTAL: Law.PIVOTAL}
_THEOREMS = {
    Form.RANDOM: "liebenwein2020_sample_size",
    Form.PARTIAL: "liebenwein2020_partial_derandomisation",
    Form.DERANDOMISED: "liebenwein2020_derandomised",
    Form.THRESHOLD: "boundlab_poisson_threshold",
    Form.PIVOTAL: "srinivasan2001_pivotal",
}


@implements(
    "liebenwein2020_sample_size",
    "liebenwein2020_partial_derandomisation",
    "liebenwein2020_derandomised",
    "boundlab_poisson_threshold",
    "srinivasan2001_pivotal",
)
@dataclass(frozen=True, kw_only=True)
class PFP(ChannelCompressor):
    """As many channels of each space as its `form` needs for the relative error eps at failure probability delta.

        random        m = ⌈(6 + 2 eps) K S ln(4 filters patches/delta)/(3 eps²)⌉ draws
        partial       k + m the least, m = ⌈(2 rho + 2 eps/3) A ln(...)/eps²⌉, A = K (S - S_k), rho = min(1, A)
        derandomised  the fewest with K sum_{dropped} s_j <= eps
        threshold     the fewest in the mean whose tail bound at eps is at most delta; pivotal likewise

    Half of delta pays for the coins, in equal parts for all spaces; the promise is for inputs with no share above
    K s_j. How many those are nobody has checked: ``certify_on_holdout`` speaks of the net that was drawn. Where m
    reaches the channels with s_j > 0 these are kept as they are; the others do nothing at the calibration points.
    `size` changes the draws of the form random, whose eps is then what these certify; `single_weights` takes the
    released code's sensitivities, for which no promise holds. eps > 0, delta in (0, 1), K >= 1.
    Source: PFP (arXiv:1911.07412), as we understand the paper.
    """

    eps: float = 0.5
    delta: float = 0.05
    K: float = 3.0
    form: Form = Form.RANDOM
    size: Size = Size.DERIVED
    single_weights: bool = False
    name: ClassVar[str] = "pfp"
    modules: ClassVar[bool] = True

    def plan(self, network: Net, points: Any) -> tuple[SamplePlan, ...]:
        """Plan every space of the original net by itself."""
        positive("eps", self.eps)
        rules = _Rules(self, removable(network))
        return rules.plans(network, points, lambda own: [rules.needed(s, self.eps) for s in own])


@implements("liebenwein2020_common_eps", "boundlab_within_row_split")
@dataclass(frozen=True, kw_only=True)
class PFPBudget(ChannelCompressor):
    """At most `parameters` numbers in the net that is left, biases and batch norms too; one common eps for all spaces.

    Each space gets the expected number of different channels among the draws that eps needs, for the smallest eps whose
    net fits, and spends it in its `form`. The forms derandomised and pivotal keep the budget in every draw; random and
    threshold in the mean of each space's channels, and partial never exceeds it. The eps of a plan is what its form
    certifies; it may exceed 1. The other fields are those of `PFP`.
    """

    parameters: int
    delta: float = 0.05
    K: float = 3.0
    form: Form = Form.DERANDOMISED
    size: Size = Size.DERIVED
    single_weights: bool = False
    name: ClassVar[str] = "pfp-budget"
    modules: ClassVar[bool] = True

    def plan(self, network: Net, points: Any) -> tuple[SamplePlan, ...]:
        """Plan all spaces of the original net with one common eps."""
        rules = _Rules(self, removable(network))
        require_budget(network, self.parameters)

        def kept(own: list[SpaceSensitivities], eps: float) -> list[int]:
            return [distinct_channels(s.values, rules.draws(s, eps)) for s in own]

        def split(own: list[SpaceSensitivities]) -> list[tuple[int, float]]:
            eps = smallest_eps(lambda e: parameters_left(network, kept(own, e)), self.parameters)
            return [rules.spent(s, n, eps) for s, n in zip(own, kept(own, eps), strict=True)]

        return rules.plans(network, points, split)


METHODS: tuple[type[ChannelCompressor], ...] = (PFP, PFPBudget)
"""This paper's compressors."""


def require_budget(net: Net, parameters: int) -> None:
    """Raise InvalidParameter where a budget is below what is left when each space keeps one channel."""
    least = parameters_left(net, [1] * len(net.spaces))
    if positive_int("parameters", parameters) < least:
        raise InvalidParameter(
            f"parameters must be at least {least}, what is left with one channel in each space, got {parameters}."
        )


def channel_plan(
    own: SpaceSensitivities,
    *,
    top: int,
    draws: float,
    eps: float = math.inf,
    K: float = 1.0,
    law: Law = Law.MULTINOMIAL,
    theorem: str = "",
    measured: str = "",
) -> SamplePlan:
    """Return the plan of one space: its channels are one group of edges, of which the `top` are certain.

    `theorem` is that of eps, `measured` that of the sensitivities; '' where there is none.
    """
    n = len(own.values)
    exact = top >= n
    return SamplePlan(
        layer=own.space.readers[0][0] + 2,
        sensitivities=Sensitivities(
            values=own.values,
            groups=Groups.single(n),
            points=own.points,
            unit="channel",
            theorem=measured,
        ),
        size=np.array([float(draws)]),
        exact=np.array([exact]),
        eps=np.array([0.0 if exact else eps]),
        K=K,
        parts=own.signs,
        condition=np.nan,
        theorem=theorem,
        law=law,
        top=np.array([top]),
    )


class _Rules:
    """From an eps or a number of channels to (certain ones, draws), and back to the eps that these certify."""

    def __init__(self, method: PFP | PFPBudget, spaces: Sequence[Space]) -> None:
        self.form, self.size = choice("form", method.form, Form), choice("size", method.size, Size)
        self.delta, self.K = probability("delta", method.delta) / 2 / len(spaces), method.K
        if not isinstance(self.K, (int, float)) or not 1.0 <= self.K <= 1e9:
            raise InvalidParameter(f"K must be at least 1 and at most 1e9, got K={self.K!r}.")
        self.single = method.single_weights

    def plans(
        self, net: Net, points: Any, split: Callable[[list[SpaceSensitivities]], list[tuple[int, float]]]
    ) -> tuple[SamplePlan, ...]:
        """Measure the sensitivities, and plan each space as `split` tells."""
        shares = single_weight_sensitivities if self.single else channel_sensitivities
        own = space_sensitivities(net, points, shares)
        return tuple(
            channel_plan(
                s,
                top=top,
                draws=draws,
                eps=math.inf if self.single else self.certified(s, top, draws),
                K=self.K,
                law=_LAWS.get(self.form, Law.MULTINOMIAL),
                theorem="" if self.single else _THEOREMS[self.form],
                measured="liebenwein2020_channel_sensitivity" + ("_in_code" if self.single else ""),
            )
            for s, (top, draws) in zip(own, split(own), strict=True)
        )

    def draws(self, own: SpaceSensitivities, eps: float) -> float:
        """The draws with replacement that go with an eps."""
        total = float(own.values.sum())
        if self.size is Size.PUBLISHED:
            return published_channel_size(total, eps, self.delta, filters=own.filters, K=self.K)
        if self.size is Size.RELEASED:
            kernel = own.space.readers[0][1].shape[1]
            return released_channel_size(total, eps, self.delta, patches=own.positions, kernel=kernel, C=self.K)
        sums = own.events // (2 * own.signs)  # filters x patches
        return channel_size(total, eps, self.delta, filters=sums, C=self.K, signed=own.signs == 2)

    def needed(self, own: SpaceSensitivities, eps: float) -> tuple[int, float]:
        """What certifies eps: the fewest of this form."""
        alive = int(np.count_nonzero(own.values))
        if self.form is Form.RANDOM:
            m = self.draws(own, eps)
            return (0, m) if m < alive else (alive, 0.0)
        if self.form is Form.DERANDOMISED:
            return int(np.argmax(derandomised_error(own.values, C=self.K) <= eps)), 0.0
        if self.form is Form.PARTIAL:
            m = partial_size(rest_after(own.values), eps, self.delta, C=self.K, events=own.events)
            k = int(np.argmin(np.arange(len(m)) + m))
            return k, float(m[k])
        few = range(1, alive)  # the error falls with their number
        u = bisect_left(few, -eps, key=lambda u: -self.certified(own, 0, u)) + 1
        return (0, float(u)) if u < alive else (alive, 0.0)

    def spent(self, own: SpaceSensitivities, kept: int, eps: float) -> tuple[int, float]:
        """What this form makes of a number of channels, which `eps` gave."""
        alive = int(np.count_nonzero(own.values))
        if kept >= alive or self.form is Form.DERANDOMISED:
            return kept, 0.0
        if self.form is Form.PARTIAL:
            found = best_split(own.values, kept, self.delta, C=self.K, events=own.events)
            return found.kept, float(found.draws)
        return 0, self.draws(own, eps) if self.form is Form.RANDOM else float(kept)

    def certified(self, own: SpaceSensitivities, top: int, draws: float) -> float:
        """The relative error of every sum that (certain ones, draws) promise, rounded up."""
        if draws == 0:
            return float(derandomised_error(own.values, C=self.K)[top])
        if self.form in _LAWS:
            n = len(own.values)
            found = threshold_probabilities(own.values, np.array([0, n]), np.array([int(draws)]))
            return float(certified_eps(found.tau, found.rest, self.delta / own.events, C=self.K)[0])
        rest = rest_after(own.values)[top]
        return float(partial_eps(rest, draws, self.delta, C=self.K, events=own.events))
