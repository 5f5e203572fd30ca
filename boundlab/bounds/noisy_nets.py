"""A trained net with Gaussian noise on all of its numbers: fresh nets, and how often they err.

A fully connected net is drawn anew for each point, layer by layer, and counts as an error unless it is right in exact
arithmetic. Any other module is drawn as a whole, rounded to its own precision, and judged on a few points. Every
parameter takes noise; a buffer of numbers, such as the statistics of a batch norm, would stay outside of the
posterior and is refused.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from boundlab._errors import InvalidParameter, PremiseViolated
from boundlab._theory import implements
from boundlab.nets.given_points import run
from boundlab.nets.module_net import ModuleNet
from boundlab.nets.toy import one_thread
from boundlab.nets.unnamed_numbers import unnamed_numbers
from boundlab.network import Layer, Network, misclassified

if TYPE_CHECKING:
    import torch

_BLOCK = 4_096  # nets that are drawn at once


class NoisyNetwork:
    """A fully connected net with noise on its weights and biases: a fresh net for each point, in exact arithmetic."""

    search_pairs = 1_024
    coins = True  # losses are 0 or 1

    def __init__(self, net: Network) -> None:
        """Take the tensors apart."""
        self.net = net
        self.tensors: dict[str, np.ndarray] = {}
        for k, layer in enumerate(net.layers):
            self.tensors |= {f"weight {k}": layer.weight, f"bias {k}": layer.bias}

    @cached_property
    def _norms(self) -> list[tuple[float, float, float]]:
        """How far each layer can carry an error, and how large the numbers in it are: spectral, Frobenius, bias."""
        norm = np.linalg.norm
        return [
            (1.000001 * float(norm(w.weight, 2)), float(norm(w.weight)), float(norm(w.bias))) for w in self.net.layers
        ]

    @implements("boundlab_gibbs_monte_carlo")
    def losses(
        self,
        stds: Sequence[float],
        x: np.ndarray,
        y: np.ndarray,
        *,
        pairs: int,
        per_net: int,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """0 or 1 for each of `pairs` fresh nets, at least 2, on a point of its own; see `GaussianPosterior.losses`."""
        wrong = np.ones(max(2, pairs))
        for first in range(0, len(wrong), _BLOCK):
            chosen = rng.integers(len(x), size=min(_BLOCK, len(wrong) - first))
            wrong[first : first + len(chosen)] = self._wrong(stds, x[chosen], y[chosen], rng)
        return wrong

    def _wrong(self, stds: Sequence[float], a: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Whether each point's own net errs, or could: what it reads has the law N(W a + b, s^2 |a|^2 + t^2)."""
        error = np.zeros(len(a))  # distance (2-norm) of the computed a from that of exact arithmetic
        with np.errstate(over="ignore", invalid="ignore"):
            for layer, s, t, (top, frobenius, offset) in zip(
                self.net.layers, stds[::2], stds[1::2], self._norms, strict=True
            ):
                z = rng.standard_normal((len(a), len(layer.bias)))
                length, spread = np.sqrt(np.einsum("ij,ij->i", a, a)), np.sqrt(np.einsum("ij,ij->i", z, z))
                std = np.hypot(s * length, t)
                # s |a| moves by no more than s times what a moves by; n + 8 roundings for a sum of n products
                rounding = (a.shape[1] + 8) * 2.0**-52 * (frobenius * length + offset + std * spread)
                error = (top + s * spread) * error + rounding
                a = layer.preactivation(a) + std[:, None] * z
                a = np.maximum(a, 0.0) if layer.relu else a
            own = a[np.arange(len(y)), y]
            a[np.arange(len(y)), y] = -np.inf
            return ~(own - a.max(axis=1) > 3.0 * error)  # NaN and infinity are errors too

    def with_tensors(self, tensors: Sequence[np.ndarray]) -> Network:
        """The net with other weights and biases."""
        pairs = zip(self.net.layers, tensors[::2], tensors[1::2], strict=True)
        return Network(layers=tuple(Layer(weight=w, bias=b, relu=own.relu) for own, w, b in pairs))


class NoisyModule:
    """Any torch module with noise on all of its parameters: one net for a few points, in the module's precision."""

    search_pairs = 512
    coins = False  # losses are shares of errors

    def __init__(self, net: ModuleNet) -> None:
        """Refuse what the noise would not reach."""
        import torch

        self.net = net
        outside = [name for name, b in net.module.named_buffers() if b.numel()]
        if outside := outside + unnamed_numbers(net.module):
            raise PremiseViolated(
                "every number that the data may have shaped must lie inside the posterior, got "
                f"{', '.join(outside[:6])}{' ...' if len(outside) > 6 else ''} outside of it; "
                "fold batch norms first, with fold_batchnorm."
            )
        norms = torch.nn.modules.batchnorm._BatchNorm
        mixing = [name for name, m in net.module.named_modules() if isinstance(m, norms)]
        if mixing:  # with statistics of its own it would have buffers
            raise PremiseViolated(
                f"a classifier must treat each point by itself, got batch norms that read all: {', '.join(mixing[:6])}."
            )
        self.tensors = {name: p.detach().double().numpy() for name, p in net.module.named_parameters()}

    @implements("boundlab_gibbs_monte_carlo")
    def losses(
        self,
        stds: Sequence[float],
        x: np.ndarray,
        y: np.ndarray,
        *,
        pairs: int,
        per_net: int,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """The share of errors of each of `pairs` / `per_net` fresh nets, at least 2; see `GaussianPosterior.losses`."""
        import torch

        points = min(per_net, len(x))
        found = np.ones(max(2, pairs // points))
        for k in range(len(found)):
            drawn = zip(self.tensors, self.rounded(with_noise(self.tensors, stds, rng)), strict=True)
            chosen = rng.choice(len(x), size=points, replace=False)
            with one_thread(), torch.inference_mode():
                outputs = run(self.net.module, x[chosen], dict(drawn))
            found[k] = misclassified(outputs.double().numpy(), y[chosen]) / points
        return found

    def rounded(self, tensors: Sequence[np.ndarray]) -> list[torch.Tensor]:
        """The tensors in the precision of the module's own."""
        import torch

        own = self.net.module.parameters()
        return [torch.from_numpy(w).to(p.dtype) for p, w in zip(own, tensors, strict=True)]

    def with_tensors(self, tensors: Sequence[np.ndarray]) -> ModuleNet:
        """The net with other parameters, rounded to its precision."""
        import torch

        module = copy.deepcopy(self.net.module)
        with torch.no_grad():
            for p, w in zip(module.parameters(), self.rounded(tensors), strict=True):
                p.copy_(w)
        return self.net.with_module(module)


def noisy_net(net: Network | ModuleNet) -> NoisyNetwork | NoisyModule:
    """The net with its noise, or PremiseViolated where the noise cannot reach all of it."""
    return NoisyNetwork(net) if isinstance(net, Network) else NoisyModule(net)


def with_noise(tensors: Mapping[str, np.ndarray], stds: Sequence[float], rng: np.random.Generator) -> list[np.ndarray]:
    """Tensors with fresh noise."""
    return [np.asarray(w + s * rng.standard_normal(w.shape)) for w, s in zip(tensors.values(), stds, strict=True)]


def coins(purpose: str, seed: int, digest: str) -> np.random.Generator:
    """A Philox generator of its own for each purpose, seed and net or posterior: the key is their hash."""
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise InvalidParameter(f"seed must be a whole number of at least 0, got seed={seed!r}.")
    text = json.dumps(["boundlab posterior", purpose, int(seed), digest])
    key = hashlib.blake2b(text.encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(key, "little")))
