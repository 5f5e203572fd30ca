"""A Gaussian posterior around a trained net, a prior that is a mixture of scales, and nets drawn from the posterior.

The posterior Q adds to every number of tensor t independent noise of standard deviation s_t = 2^(j/8); s_t is free. The
prior P has, for each tensor, the centre 0 (or a net that saw other examples), and is the mixture, with equal weights,
of the Gaussians of standard deviation 2^(j/8), j = -192..63: no scale has to be chosen. None of what is computed here
is a statement about the net with the mean weights.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from boundlab._errors import InvalidParameter
from boundlab._theory import implements
from boundlab.bounds.noisy_nets import NoisyModule, NoisyNetwork, coins, noisy_net, with_noise
from boundlab.bounds.pac_bayes import pac_bayes_kl
from boundlab.bounds.single_draw import total_nats
from boundlab.concentration.binomial import upper_limit
from boundlab.concentration.empirical_bernstein import monte_carlo_limit
from boundlab.nets.module_net import ModuleNet
from boundlab.network import Network
from boundlab.promises import Premise, Status

T = TypeVar("T")

LOWEST, HIGHEST = -192, 63
"""The grid of standard deviations: 2^(j/8) for these and all j between, 256 values."""

_GRID = np.arange(LOWEST, HIGHEST + 1)
_INVERSE_SQUARES = 4.0 ** (-_GRID / 8)

_SHIFTS = range(-64, 17, 4)  # noise to try, beside the root mean square of each tensor, in eighths of a power of two
_STEPS = (16, 16, 8, 8, 4, 4)  # then, tensor by tensor
_TRIED = 120  # posteriors, at most: a module may have hundreds of tensors
_PER_NET = 64  # points that the search judges each net of a module on
_UP = 1.0 + 1e-14  # past the error of a handful of roundings
_KEPT: dict[str, tuple[Hashable, Any]] = {}


@dataclass(frozen=True, kw_only=True, eq=False)
class GaussianPosterior:
    """Q = N(w, s_t^2) around the numbers w of a net, P = sum_j 2^-8 N(c, 4^(j/8)), tensor by tensor; s_t = 2^(j/8).

    Parameters
    ----------
    net : Network or ModuleNet
        Its weights and biases, or all parameters of the module, are the means of Q.
    centre : Network, ModuleNet or None
        The means of P: a net of the same architecture that the n examples did not shape, or 0.
    stds : tuple of int
        The exponents j of s_t, in -192..63, in the order of `tensors`.

    Raises
    ------
    InvalidParameter
        If an exponent is off the grid, or the centre has other tensors than the net.
    PremiseViolated
        If the net holds numbers that no noise reaches, or batch norms that read the whole batch.

    Notes
    -----
    Proved in ``boundlab_gaussian_posterior``.

    Examples
    --------
    >>> from boundlab.network import Layer
    >>> layer = Layer(weight=np.array([[2.0], [0.0]]), bias=np.zeros(2), relu=False)
    >>> q = GaussianPosterior(net=Network(layers=(layer,)), stds=(0, -16))
    >>> f"{q.complexity:.4f}"
    '6.6834'
    """

    net: Network | ModuleNet
    centre: Network | ModuleNet | None = None
    stds: tuple[int, ...]

    def __post_init__(self) -> None:
        given = tuple(self.stds)
        if len(given) != len(self.tensors) or not all(isinstance(j, (int, np.integer)) for j in given):
            raise InvalidParameter(f"stds must hold {len(self.tensors)} whole numbers, got {given!r}.")
        if not all(LOWEST <= j <= HIGHEST for j in given):
            raise InvalidParameter(f"stds must be exponents in {LOWEST}..{HIGHEST}, got {given!r}.")
        object.__setattr__(self, "stds", tuple(int(j) for j in given))

    @cached_property
    def noisy(self) -> NoisyNetwork | NoisyModule:
        """The net with its noise."""
        return noisy_net(self.net)

    @cached_property
    def centres(self) -> list[np.ndarray]:
        """The means of P, tensor by tensor."""
        return _centres(self.noisy, self.centre)

    @property
    def tensors(self) -> Mapping[str, np.ndarray]:
        """The means of Q by name, float64."""
        return self.noisy.tensors

    @property
    def complexity(self) -> float:
        """An upper bound of KL(Q||P) in nats; rounded up."""
        pairs = zip(self.tensors.values(), self.centres, strict=True)
        return _divergence([_span(m, c) for m, c in pairs], self.stds)

    @property
    def premise(self) -> Premise:
        """That the prior's scales are fixed before the examples; its centre too, where it is 0."""
        centre = "its centre is 0" if self.centre is None else "of its centre nothing is known here"
        return Premise(
            text="the scales of the prior are fixed before the n examples",
            status=Status.CHECKED,
            evidence=f"by construction: a mixture of {HIGHEST - LOWEST + 1} scales for each of {len(self.tensors)} "
            f"tensors; {centre}",
        )

    @property
    def digest(self) -> str:
        """The blake2b-128 digest, in hex, of both nets and all standard deviations."""
        centre = None if self.centre is None else self.centre.digest
        text = json.dumps([self.net.digest, centre, self.stds])
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def losses(self, x: np.ndarray, y: np.ndarray, *, pairs: int, per_net: int, rng: np.random.Generator) -> np.ndarray:
        """Independent draws of a variable in [0, 1] whose mean, given the examples, is at least r(Q).

        Parameters
        ----------
        x, y : arrays, shapes (n, ...) and (n,)
            The examples, checked.
        pairs : int
            Pairs of a net and a point that are evaluated.
        per_net : int
            Points on which each net of a module is judged, drawn without replacement; a fully connected net is drawn
            anew for each point.
        rng : Generator
            Coins that nothing else has used.

        Returns
        -------
        array, shape (pairs,) or (pairs // per_net,) and at least 2
            Shares of errors, ties included.
        """
        stds = [2.0 ** (j / 8) for j in self.stds]
        return self.noisy.losses(stds, x, y, pairs=pairs, per_net=per_net, rng=rng)

    def risk_limit(self, losses: np.ndarray, delta: float) -> float:
        """An upper limit of r(Q) from what `losses` gave; exact where they are coins; rounded up."""
        if self.noisy.coins:
            return upper_limit(int(losses.sum()), len(losses), delta)
        return monte_carlo_limit(losses, delta)

    def draw(self, rng: np.random.Generator) -> tuple[Network | ModuleNet, float]:
        """One net from Q, and ln dQ/dP of it in nats; rounded up.

        The ratio is the larger of those at the weights drawn and at the same weights in the net's precision.
        """
        stds = [2.0 ** (j / 8) for j in self.stds]
        drawn = with_noise(self.tensors, stds, rng)
        net = self.noisy.with_tensors(drawn)
        shipped = noisy_net(net).tensors.values()
        return net, max(self.log_ratio(drawn), self.log_ratio(list(shipped)))

    @implements("boundlab_gaussian_posterior")
    def log_ratio(self, tensors: Sequence[np.ndarray]) -> float:
        """Return ln dQ/dP at other values of all tensors, in nats; rounded up."""
        rows = zip(tensors, self.tensors.values(), self.stds, self.centres, strict=True)
        return total_nats(*(_nats(_span(w, c), 0.0, _surprise(w, m, 2.0 ** (s / 8)), s) for w, m, s, c in rows))


def fit_posterior(
    net: Network | ModuleNet,
    x: np.ndarray,
    y: np.ndarray,
    *,
    delta: float,
    seed: int,
    centre: Network | ModuleNet | None = None,
) -> GaussianPosterior:
    """Choose the noise by the PAC-Bayes-kl bound, estimated with coins of its own on a sample of the examples.

    First one factor for all tensors, relative to their root mean squares, then one tensor after the other, the largest
    first. Any choice is a posterior: nothing has to be paid for it, and none of its coins is used again.

    Parameters
    ----------
    net, centre : Network or ModuleNet
        See `GaussianPosterior`.
    x, y : arrays
        The examples, checked.
    delta : float
        Of the bound that the noise is to suit.
    seed : int
        At least 0.

    Raises
    ------
    PremiseViolated
        If the net holds real numbers that no noise reaches.
    InvalidParameter
        If the centre is a net of another architecture, or seed is not a whole number of at least 0.
    """
    key = _key(net, x, y, delta, seed, centre)
    return _once("posterior", key, lambda: _search(net, x, y, delta, seed, centre))


def gibbs_losses(
    net: Network | ModuleNet,
    x: np.ndarray,
    y: np.ndarray,
    *,
    delta: float,
    seed: int,
    pairs: int,
    per_net: int,
    centre: Network | ModuleNet | None = None,
) -> tuple[GaussianPosterior, np.ndarray]:
    """`fit_posterior`, and fresh draws from its outcome, by coins that no part of the choice has used.

    Parameters and errors as there; `pairs` and `per_net`, and what comes back, as in `GaussianPosterior.losses`.
    """
    key = _key(net, x, y, delta, seed, centre)
    posterior = _once("posterior", key, lambda: _search(net, x, y, delta, seed, centre))

    def draws() -> np.ndarray:
        rng = coins("Gibbs risk", seed, posterior.digest)
        return posterior.losses(x, y, pairs=pairs, per_net=per_net, rng=rng)

    return posterior, _once("losses", (*key, pairs, per_net), draws)


def _search(
    net: Network | ModuleNet,
    x: np.ndarray,
    y: np.ndarray,
    delta: float,
    seed: int,
    centre: Network | ModuleNet | None,
) -> GaussianPosterior:
    own = noisy_net(net)
    tensors = list(own.tensors.values())
    spans = [_span(m, c) for m, c in zip(tensors, _centres(own, centre), strict=True)]
    scales = [_exponent(max(_span(m, np.zeros(1))[1], rms)) for m, (_, rms) in zip(tensors, spans, strict=True)]
    digest, tried = net.digest, 0

    def score(stds: list[int]) -> tuple[float, float]:
        nonlocal tried
        tried += 1
        rng = coins("posterior", seed, digest)  # the same for all, so that only the noise differs
        noise = [2.0 ** (j / 8) for j in stds]
        losses = own.losses(noise, x, y, pairs=own.search_pairs, per_net=_PER_NET, rng=rng)
        nats = _divergence(spans, stds)
        return pac_bayes_kl(float(losses.mean()), nats, len(x), delta), nats

    candidates = [[_clipped(j + shift) for j in scales] for shift in _SHIFTS]
    best, stds = min((score(c), c) for c in candidates)
    for step in _STEPS:
        for t in sorted(range(len(stds)), key=lambda t: -spans[t][0]):
            for move in (step, -step):
                other = [*stds[:t], _clipped(stds[t] + move), *stds[t + 1 :]]
                if tried < _TRIED and other != stds and (found := score(other)) < best:
                    best, stds = found, other
    return GaussianPosterior(net=net, centre=centre, stds=tuple(stds))


def _key(
    net: Network | ModuleNet,
    x: np.ndarray,
    y: np.ndarray,
    delta: float,
    seed: int,
    centre: Network | ModuleNet | None,
) -> tuple[Hashable, ...]:
    """What a posterior is a function of; what is kept holds the nets, so that their ids are not given away."""
    examples = hashlib.sha256(repr((x.shape, x.dtype)).encode())
    for array in (x, y):
        examples.update(np.ascontiguousarray(array).data)
    return id(net), net.digest, examples.digest(), delta, seed, id(centre), centre and centre.digest


def _once(kind: str, key: Hashable, make: Callable[[], T]) -> T:
    """The result of `make`, a function of the key alone: the last of each kind is kept, as several bounds share it."""
    if _KEPT.get(kind, (None,))[0] != key:
        _KEPT[kind] = (key, make())
    return _KEPT[kind][1]


def _divergence(spans: Sequence[tuple[int, float]], stds: Sequence[int]) -> float:
    """The price of all tensors in nats, from the entries of each and the root mean square of their distances."""
    return total_nats(*(_nats((d, rms), 2.0 ** (s / 8), float(d), s) for (d, rms), s in zip(spans, stds, strict=True)))


@implements("boundlab_gaussian_posterior")
def _nats(span: tuple[int, float], std: float, own: float, s: int) -> float:
    """-ln sum_j 2^-8 exp(-K_j), K_j = d ln(p_j/s) + d (m^2 + std^2)/(2 p_j^2) - own/2, p_j = 2^(j/8); rounded up.

    With m the root mean square of the d distances from the centre: for `own` = d and `std` = s, K_j is the divergence
    from part j; for the sum of squares of a draw's noise, in units of s, and `std` = 0, it is the log-ratio to part j.
    """
    size, rms = span
    with np.errstate(over="ignore", under="ignore"):
        logs, squares = (
            size * (_GRID - s) * (math.log(2.0) / 8.0),
            0.5 * size * (rms * rms + std * std) * _INVERSE_SQUARES,
        )
        parts = logs + squares - 0.5 * own + 1e-14 * (np.abs(logs) + squares + 0.5 * own)
    least = float(parts.min())
    if math.isinf(least):
        return least
    nats = least + 8.0 * math.log(2.0) - math.log(math.fsum(np.exp(least - parts)))
    return nats + 1e-14 * (abs(least) + 12.0)


def _surprise(w: np.ndarray, mean: np.ndarray, std: float) -> float:
    """The sum of squares of the noise w - mean in units of its standard deviation; less what rounding it to w added."""
    z = ((w - mean) / std).ravel()
    moved = np.abs(z) * (np.abs(w) + np.abs(mean)).ravel() * (2.0**-51 / std)
    return max(0.0, math.fsum(np.square(z)) - math.fsum(moved))


def _span(values: np.ndarray, centre: np.ndarray) -> tuple[int, float]:
    """How many numbers, and the root mean square of their distances from the centre, rounded up."""
    with np.errstate(over="ignore"):
        distance = np.abs(values - centre)
    top = float(distance.max(initial=0.0))
    if top == 0.0 or math.isinf(top):
        return distance.size, top
    return distance.size, top * math.sqrt(math.fsum(np.square(distance / top).ravel()) / distance.size) * _UP


def _exponent(value: float) -> int:
    """The j of the grid with 2^(j/8) at or below the value, or the nearest."""
    return _clipped(math.floor(8.0 * math.log2(min(value, 2.0**100)))) if value else LOWEST


def _clipped(j: int) -> int:
    return min(HIGHEST, max(LOWEST, j))


def _centres(own: NoisyNetwork | NoisyModule, centre: Network | ModuleNet | None) -> list[np.ndarray]:
    """The means of P, tensor by tensor."""
    if centre is None:
        return [np.zeros(1)] * len(own.tensors)
    if type(centre) is not type(own.net):
        raise InvalidParameter(f"the prior's net must be a {type(own.net).__name__}, got {type(centre).__name__}.")
    other = noisy_net(centre).tensors
    if {k: w.shape for k, w in other.items()} != {k: w.shape for k, w in own.tensors.items()}:
        raise InvalidParameter("the prior's net must have the tensors of the net, in name and shape, got others.")
    return list(other.values())
