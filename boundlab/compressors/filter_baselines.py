"""What filter pruning compares with: filters at random, or those of the largest norm. None of them looks at data.

How many channels each space keeps is given, or follows from a budget: the same share of every space, rounded down but
at least one, the largest share that fits. Nothing is promised: eps = inf. Where a channel has filters in several
layers, as along residual additions, all of them together are its filter.

    UniformFilters   drawn without replacement, each counting size/kept times: unbiased
    L1Filters        sum |w|                  of the weights that put the channel out
    L2Filters        (sum w²)^(1/2)           of the same
    LargestFilters   their l2 norm times that of the weights that read the channel; no rescaling of a ReLU changes it
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from boundlab._errors import InvalidParameter
from boundlab.compressors.method import ChannelCompressor, Net
from boundlab.compressors.pfp import channel_plan, require_budget
from boundlab.nets.space_sensitivities import SpaceSensitivities, parameters_left, removable
from boundlab.network import Space
from boundlab.records import Law, SamplePlan


@dataclass(frozen=True, kw_only=True)
class FilterBaseline(ChannelCompressor):
    """Keeps the channels of the largest scores: the same share of every space, or as many as are asked for.

    parameters : at most so many numbers in all are left, of all spaces the same share
    channels : how many each space keeps, in the order of the net's `spaces`; given instead of `parameters`
    """

    parameters: int | None = None
    channels: tuple[int, ...] | None = None
    modules: ClassVar[bool] = True
    law: ClassVar[Law | None] = None

    def plan(self, network: Net, points: Any) -> tuple[SamplePlan, ...]:
        """Plan every space by its weights alone; the points are not looked at."""
        spaces = removable(network)
        plans = []
        for space, n in zip(spaces, self._kept(network, spaces), strict=True):
            own = SpaceSensitivities(
                space=space, values=self.scores(network, space), signs=1, filters=0, events=0, positions=0, points=0
            )
            top, draws = (n, 0) if self.law is None else (0, n)
            plans.append(channel_plan(own, top=top, draws=draws, law=self.law or Law.MULTINOMIAL))
        return tuple(plans)

    def _kept(self, network: Net, spaces: Sequence[Space]) -> Sequence[int]:
        if self.parameters is not None and self.channels is None:
            require_budget(network, self.parameters)
            return same_share(network, self.parameters)
        if self.channels is None or self.parameters is not None:
            raise InvalidParameter(
                f"either parameters or channels must be given, got {self.parameters!r} and {self.channels!r}."
            )
        sizes = [space.size for space in spaces]
        fits = len(self.channels) == len(sizes) and all(
            isinstance(n, (int, np.integer)) and not isinstance(n, bool) and 1 <= n <= size
            for n, size in zip(self.channels, sizes, strict=True)
        )
        if not fits:
            raise InvalidParameter(f"channels must be at least 1 and at most {sizes}, got {list(self.channels)}.")
        return self.channels

    @abstractmethod
    def scores(self, network: Net, space: Space) -> np.ndarray:
        """Return how much each channel counts, (size,) numbers >= 0."""


@dataclass(frozen=True, kw_only=True)
class UniformFilters(FilterBaseline):
    """Channels at random, each with the same probability."""

    name: ClassVar[str] = "uniform-filters"
    law: ClassVar[Law | None] = Law.PIVOTAL

    def scores(self, network: Net, space: Space) -> np.ndarray:
        """1 for each."""
        return np.ones(space.size)


@dataclass(frozen=True, kw_only=True)
class L1Filters(FilterBaseline):
    """The filters of the largest l1 norm. Source: Li et al. 2017 (arXiv:1608.08710), "FT" in PFP's tables.

    As we understand the papers.
    """

    name: ClassVar[str] = "l1-filters"

    def scores(self, network: Net, space: Space) -> np.ndarray:
        """Sum of absolute weights."""
        return np.abs(_put_out(network, space)).sum(axis=1)


@dataclass(frozen=True, kw_only=True)
class L2Filters(FilterBaseline):
    """The filters of the largest l2 norm, the criterion of SoftNet (He et al. 2018, arXiv:1808.06866).

    As we understand the paper, which trains on between prunings; here they are pruned once.
    """

    name: ClassVar[str] = "l2-filters"

    def scores(self, network: Net, space: Space) -> np.ndarray:
        """Euclidean norm of the weights."""
        return np.linalg.norm(_put_out(network, space), axis=1)


@dataclass(frozen=True, kw_only=True)
class LargestFilters(FilterBaseline):
    """The channels that are largest on both sides: l2 norm of what puts them out, times that of what reads them."""

    name: ClassVar[str] = "largest-filters"

    def scores(self, network: Net, space: Space) -> np.ndarray:
        """Product of the two norms."""
        read = [network.layers[k].weight[:, columns].transpose(1, 0, 2) for k, columns in space.readers]
        readers = np.concatenate([w.reshape(space.size, -1) for w in read], axis=1)
        return np.linalg.norm(_put_out(network, space), axis=1) * np.linalg.norm(readers, axis=1)


METHODS: tuple[type[FilterBaseline], ...] = (UniformFilters, L1Filters, L2Filters, LargestFilters)
"""The baselines, in the order of this page."""


def same_share(net: Net, parameters: int) -> list[int]:
    """Return how many channels each space keeps: max(1, ⌊t size⌋), with the largest share t in [0, 1] that fits.

    The shares at which a number changes are the fractions k/size; of all net sizes between them the largest that fits
    is found by bisection.

    Examples
    --------
    >>> from boundlab.nets.toy import random_network
    >>> same_share(random_network((5, 8, 8, 2), rng=0), 100)
    [6, 6]
    """
    sizes = [space.size for space in net.spaces]
    shares = sorted({(k / n, k, n) for n in set(sizes) for k in range(n + 1)})

    def kept(i: int) -> list[int]:
        _, k, n = shares[i]
        return [max(1, k * size // n) for size in sizes]

    low, high = 0, len(shares)  # what low gives fits
    while high - low > 1:
        mid = (low + high) // 2
        low, high = (mid, high) if parameters_left(net, kept(mid)) <= parameters else (low, mid)
    return kept(low)


def _put_out(net: Net, space: Space) -> np.ndarray:
    """The weights of all layers that put each channel out, (size, weights)."""
    return np.concatenate([net.layers[k].weight[rows].reshape(space.size, -1) for k, rows in space.writers], axis=1)
