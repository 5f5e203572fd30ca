"""Truncated singular value decomposition: each matrix becomes the product of two smaller ones, which are dense.

    W ~ (U_r sqrt(D_r)) (sqrt(D_r) V_r^T),     r (out + in) weights instead of out x in

Ranks follow from one threshold t, the same for all layers: a component is kept if its share of the layer's energy
sum_k sigma_k², divided by the out + in weights that it costs, is at least t, and t is the smallest that the budget
allows. A layer keeps at least one component, and one whose factors would be no smaller is kept as it is. Nothing is
promised about the outputs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from boundlab._errors import InvalidParameter, positive_int
from boundlab.coresets.layer_budget import smallest_eps
from boundlab.nets.module_net import ModuleNet
from boundlab.network import Layer, Network
from boundlab.records import Record, Row

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class SVD:
    """Low-rank factors of every layer, with at most `nnz` weights in all; biases are kept and not counted.

    A linear layer becomes two, the first without bias and activation. A convolution becomes one into r channels, of the
    same kernel, stride, padding and dilation, and a 1 x 1 convolution; with groups, each group has its own factors and
    all have the same rank. A layer that is kept whole counts its non-zero weights, factors count all of theirs; whole
    stays also a layer whose weights the module reads without calling it, and the result's rows say so.

    Source: Denton et al. 2014 for the idea, with the simplest unfolding of a kernel, (out, in · kernel); as we
    understand the paper. The common threshold is ours: with one on the discarded share alone, small layers lose most.
    """

    nnz: int
    name: ClassVar[str] = "svd"
    modules: ClassVar[bool] = True

    def factorise(self, network: Network | ModuleNet) -> LowRank:
        """Return the net of factors; `network` is not changed.

        Raises
        ------
        InvalidParameter
            If not even rank 1 in every layer fits into `nnz`.

        Examples
        --------
        >>> from boundlab.nets.toy import random_network
        >>> small = SVD(nnz=500).factorise(random_network((40, 30, 4), rng=0))
        >>> small.net.sizes, small.nnz
        ((40, 5, 30, 4), 470)
        """
        if not isinstance(network, (Network, ModuleNet)):
            raise InvalidParameter(f"network must be a Network or a ModuleNet, got {type(network).__name__}.")
        read: frozenset[int] = frozenset()
        if isinstance(network, Network):
            stacks = [layer.weight[None] for layer in network.layers]
        else:
            stacks = [np.stack([network.layers[k].weight for k in own]) for own in network.modules.values()]
            read = _read_elsewhere(network)
        ranks, lost = common_ranks(stacks, self.nnz, whole=read)
        pairs = [None if r is None else _factors(w, r) for w, r in zip(stacks, ranks, strict=True)]
        net = _network(network, pairs) if isinstance(network, Network) else _module(network, pairs)
        return LowRank(
            net=net,
            original=network,
            compressor=self,
            ranks=ranks,
            lost=lost,
            sizes=tuple(_size(w, r) for w, r in zip(stacks, ranks, strict=True)),
            read=read,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class LowRank(Record):
    """A net before and after its layers were factorised; one rank for each layer, or module of a ModuleNet."""

    net: Network | ModuleNet
    original: Network | ModuleNet
    compressor: SVD
    ranks: tuple[int | None, ...]  # None: kept as it is
    lost: tuple[float, ...]  # the share of sum sigma² that is discarded, ||W - W_r||²/||W||² in Frobenius' norm
    sizes: tuple[int, ...]  # weights after
    read: frozenset[int]  # layers that stay whole because their module does not run with another in their place

    @property
    def nnz(self) -> int:
        """Weights after: all entries of the factors, and the non-zero ones of the layers that are kept whole."""
        return sum(self.sizes)

    @property
    def ratio(self) -> float:
        """Weights after, as a share of the original's non-zero weights."""
        return self.nnz / max(1, self.original.nnz)

    @property
    def missed(self) -> int:
        """Weights below (-) the number asked for: ranks are whole numbers."""
        return self.nnz - self.compressor.nnz

    def rows(self) -> list[Row]:
        """One line per layer or module."""
        names = [str(k) for k in range(len(self.ranks))]
        if isinstance(self.original, ModuleNet):
            names = list(self.original.modules)
        told = zip(names, self.ranks, self.sizes, self.lost, strict=True)
        return [
            {"name": n, "rank": r, "weights": size, "lost": lost, "replaceable": k not in self.read}
            for k, (n, r, size, lost) in enumerate(told)
        ]


def common_ranks(
    stacks: Sequence[np.ndarray], nnz: int, *, whole: Collection[int] = ()
) -> tuple[tuple[int | None, ...], tuple[float, ...]]:
    """Return the rank of each layer, None where it stays whole, and the share of its energy that is discarded.

        r_l = max(1, #{k : sigma_k² / sum_k sigma_k² >= t (out + in)}),     t as small as the budget allows

    A singular value below max(out, in) 2^-52 of the largest is rounding and counts as 0.

    Parameters
    ----------
    stacks : one array (groups, out, in) for each layer; the groups of a layer share one rank and one energy
    nnz : int, weights allowed in all: groups r (out + in) for factors, the non-zero ones of a layer that stays whole
    whole : the numbers of layers that must stay whole

    Raises
    ------
    InvalidParameter
        If not even rank 1 in every layer fits.

    Examples
    --------
    >>> w = np.outer([2.0, 1.0, 1.0, 1.0, 1.0], np.ones(5))
    >>> ranks, lost = common_ranks([w[None], np.eye(5)[None]], 20)
    >>> ranks, np.round(lost, 9).tolist()
    ((1, None), [0.0, 0.0])
    """
    energies = []
    for w in stacks:
        sigma = np.linalg.svd(w, compute_uv=False)  # (groups, min(out, in))
        real = sigma > max(w.shape[1:]) * 2.0**-52 * sigma.max()
        energies.append((np.where(real, sigma, 0.0) ** 2).sum(axis=0))

    def ranks(t: float) -> list[int | None]:
        found: list[int | None] = []
        for k, (w, energy) in enumerate(zip(stacks, energies, strict=True)):
            least = t * energy.sum() * sum(w.shape[1:])
            r = max(1, int(np.count_nonzero((energy >= least) & (energy > 0))))
            found.append(r if _size(w, r) < np.count_nonzero(w) and k not in whole else None)
        return found

    def size(t: float) -> float:
        return float(sum(_size(w, r) for w, r in zip(stacks, ranks(t), strict=True)))

    chosen = ranks(smallest_eps(size, positive_int("nnz", nnz)))
    lost = [0.0 if r is None else float(e[r:].sum() / e.sum()) for r, e in zip(chosen, energies, strict=True)]
    return tuple(chosen), tuple(lost)


def _size(w: np.ndarray, rank: int | None) -> int:
    """Weights of a layer as factors of a rank, or as it is."""
    return int(np.count_nonzero(w)) if rank is None else len(w) * rank * (w.shape[1] + w.shape[2])


def _factors(w: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """First (groups, rank, in) and second (groups, out, rank) factor, of equal size."""
    u, sigma, vt = np.linalg.svd(w, full_matrices=False)
    root = np.sqrt(sigma[:, :rank])
    return root[:, :, None] * vt[:, :rank], u[:, :, :rank] * root[:, None, :]


def _network(net: Network, pairs: Sequence[tuple[np.ndarray, np.ndarray] | None]) -> Network:
    layers: list[Layer] = []
    for layer, pair in zip(net.layers, pairs, strict=True):
        if pair is None:
            layers.append(layer)
            continue
        first, second = pair[0][0], pair[1][0]
        layers.append(Layer(weight=first, bias=np.zeros(len(first)), relu=False))
        layers.append(Layer(weight=second, bias=layer.bias, relu=layer.relu))
    return Network(layers=tuple(layers))


def _module(net: ModuleNet, pairs: Sequence[tuple[np.ndarray, np.ndarray] | None]) -> ModuleNet:
    return net.with_modules(
        {
            name: _two(net.module.get_submodule(name), *pair)
            for name, pair in zip(net.modules, pairs, strict=True)
            if pair is not None
        }
    )


def _read_elsewhere(net: ModuleNet) -> frozenset[int]:
    """The modules without which the net does not run: it reads their weights instead of calling them alone."""
    import torch

    def runs(names: Iterable[str]) -> bool:
        wrapped = {name: torch.nn.Sequential(net.module.get_submodule(name)) for name in names}
        try:
            net.with_modules(wrapped)(net.example)
        except Exception:  # whatever the module's own code makes of it
            return False
        return True

    return frozenset() if runs(net.modules) else frozenset(k for k, n in enumerate(net.modules) if not runs([n]))


def _two(m: Any, first: np.ndarray, second: np.ndarray) -> torch.nn.Module:
    """Two modules of the kind of m, (groups, rank, in) and (groups, out, rank), for the one."""
    import torch

    groups, rank, _ = first.shape
    blank: Any = torch.nn.utils.skip_init  # without its coins: the weights are overwritten
    kind, wide = type(m), groups * rank
    bias, dtype = m.bias is not None, m.weight.dtype
    if isinstance(m, torch.nn.Linear):
        inner = blank(torch.nn.Linear, m.in_features, wide, bias=False, dtype=dtype)
        outer = blank(torch.nn.Linear, wide, m.out_features, bias=bias, dtype=dtype)
    else:
        shape = {"stride": m.stride, "padding": m.padding, "dilation": m.dilation}
        inner = blank(kind, m.in_channels, wide, m.kernel_size, groups=groups, bias=False, dtype=dtype, **shape)
        outer = blank(kind, wide, m.out_channels, 1, groups=groups, bias=bias, dtype=dtype)
    with torch.no_grad():
        inner.weight.copy_(torch.from_numpy(first).reshape(inner.weight.shape))
        outer.weight.copy_(torch.from_numpy(second).reshape(outer.weight.shape))
        if bias:
            outer.bias.copy_(m.bias)
    return torch.nn.Sequential(inner, outer)
