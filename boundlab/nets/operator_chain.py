"""A net as a chain of affine operators between 1-Lipschitz maps, biases absorbed: what norm-based bounds are stated in.

The published theorems know no biases. A unit that is always 1 takes them in, exactly: x -> (x, 1), each hidden
[W, b; 0, 1] followed by ReLU (ReLU(1) = 1), the last [W, b]. All norms here are those of the augmented operators. A
convolution is its unrolled matrix, never its flattened kernel; a pooling of windows that do not overlap is 1-Lipschitz.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from boundlab._errors import InvalidParameter, UnsupportedLayer
from boundlab._theory import implements
from boundlab.nets.module_net import ModuleNet
from boundlab.nets.norms import padded_convolution_norm, spectral_norm
from boundlab.network import Layer, Network

if TYPE_CHECKING:
    import torch

_UP = 1.0 + 1e-12
_U = 2.0**-53
_KNOWN = "Linear, Conv2d, ReLU, AvgPool2d, MaxPool2d, Flatten, Dropout and Identity"


@implements("boundlab_operator_chain")
@dataclass(frozen=True, kw_only=True, eq=False)
class Operator:
    """One augmented affine operator, [W, b; 0, 1] or, where it is the `last`, [W, b]; every norm is rounded up."""

    name: str
    inputs: int  # columns of W, b
    outputs: int  # rows of W
    parameters: int  # numbers that can be chosen: a kernel's and a bias's, not the unrolled entries
    terms: int  # addends of one output
    last: bool
    energy: np.ndarray  # squared Euclidean norm of each row of [W, b]
    mass: np.ndarray  # l1 norm of each row of [W, b]
    norm: Callable[[], float]  # an upper bound on the spectral norm: computed when it is asked for

    @cached_property
    def spectral(self) -> float:
        """An upper bound on the spectral norm."""
        return self.norm()

    @property
    def frobenius(self) -> float:
        """The root of the sum of all squared entries."""
        return math.sqrt(math.fsum(self.energy.ravel()) + (not self.last)) * self._up

    @property
    def group(self) -> float:
        """|.^T|_{2,1}: the sum of the Euclidean norms of the rows."""
        return (math.fsum(np.sqrt(self.energy).ravel()) + (not self.last)) * self._up

    @property
    def row_mass(self) -> float:
        """The largest l1 norm of a row."""
        return max(float(self.mass.max()), float(not self.last)) * self._up

    @property
    def total_mass(self) -> float:
        """The sum of all |entries|."""
        return (math.fsum(self.mass.ravel()) + (not self.last)) * self._up

    @property
    def _up(self) -> float:
        return _UP + 4.0 * self.terms * _U  # past the rounding of the sums over a row


@implements("boundlab_operator_chain")
@dataclass(frozen=True, kw_only=True, eq=False)
class Chain:
    """The operators of a net in order, and the net itself in double precision."""

    operators: tuple[Operator, ...]
    net: Network | ModuleNet
    majorant: Network | ModuleNet  # all weights and biases replaced by their absolute values
    shape: tuple[int, ...]  # of one point
    additions: int  # addends of one output, layer after layer
    pools: tuple[str, ...]  # the max poolings, which mix neurons: not every theorem covers them

    @property
    def features(self) -> int:
        """Entries of one point, without the constant unit."""
        return math.prod(self.shape)

    @property
    def width(self) -> int:
        """The largest number of rows or columns, the constant unit included."""
        return 1 + max(max(op.inputs, op.outputs) for op in self.operators)

    @property
    def path_norm(self) -> float:
        """The sum over all paths, to all outputs, of the products of |weights|; a bias is a path from the unit."""
        return math.fsum(self.majorant(np.ones((1, *self.shape))).ravel()) * (1.0 + self._relative)

    def rounding(self, x: np.ndarray) -> float:
        """Bound how far a computed margin on the points x can be from that of the net in exact arithmetic.

        Each sum of t products adds a relative error of (t + 2) u to the majorant, the net of the |weights|.
        """
        reach = np.maximum(x.max(axis=0).astype(np.float64), -x.min(axis=0).astype(np.float64))[None]
        top = float(self.majorant(reach).max()) * (1.0 + self._relative)
        if not top < 1e300:
            raise InvalidParameter(f"the net's outputs must stay below 1e300, they may reach {top:g}.")
        return 2.0 * top * self._relative

    @property
    def _relative(self) -> float:
        return 4.0 * (self.additions + 3 * len(self.operators)) * _U


def operator_chain(net: Network | ModuleNet) -> Chain:
    """Read a net as a chain of operators.

    Parameters
    ----------
    net : Network or ModuleNet
        A module must be a ``torch.nn.Sequential``, nested or not, of Linear, Conv2d (zero padding, any stride,
        dilation and groups), ReLU, AvgPool2d and MaxPool2d (windows that do not overlap), Flatten, Dropout, Identity.
        An average pool must stand directly before or after an affine layer.

    Returns
    -------
    Chain
        Frobenius, (2,1) and l1 norms are those of the unrolled operators, counted offset by offset at the border;
        spectral norms of convolutions are upper bounds. Poolings in front of an affine layer are part of it: as
        P P^T = I/(kh kw) for the average over kh x kw, the rows of W P have norms |w|_2/sqrt(kh kw) and |w|_1.

    Raises
    ------
    UnsupportedLayer
        If the module holds anything else.

    Examples
    --------
    >>> from boundlab import random_network
    >>> chain = operator_chain(random_network((4, 3, 2), rng=0))
    >>> [(op.inputs, op.outputs, op.parameters) for op in chain.operators], chain.width
    ([(4, 3, 15), (3, 2, 8)], 5)
    """
    return _of_network(net) if isinstance(net, Network) else _of_module(net)


def _of_network(net: Network) -> Chain:
    last = len(net.layers) - 1
    operators = tuple(
        _linear(f"layer {k}", layer.weight, layer.bias, last=k == last, credit=1.0, free=layer.bias.size)
        for k, layer in enumerate(net.layers)
    )
    majorant = tuple(Layer(weight=np.abs(w.weight), bias=np.abs(w.bias), relu=w.relu) for w in net.layers)
    return Chain(
        operators=operators,
        additions=sum(op.terms for op in operators),
        net=net,
        majorant=Network(layers=majorant),
        shape=(net.sizes[0],),
        pools=(),
    )


def _of_module(net: ModuleNet) -> Chain:
    import torch
    from torch import nn

    module = copy.deepcopy(net.module).double()
    steps = list(_steps("", module))
    affine = [k for k, (_, m) in enumerate(steps) if type(m) in (nn.Linear, nn.Conv2d)]
    a = torch.tensor(np.ascontiguousarray(net.example), dtype=torch.float64)
    shape, pools, operators, averaged = tuple(a.shape[1:]), [], [], 0
    credit, fresh = 1.0, False  # the norm of the average pools since the last map; does an affine layer stand before?
    stranded = ""  # an average pool that no affine layer stands before
    for k, (name, m) in enumerate(steps):
        before = tuple(a.shape)
        a = _run(m, a, name)
        if type(m) in (nn.Linear, nn.Conv2d):
            read = _read_linear if type(m) is nn.Linear else _read_convolution
            operators.append(read(name, m, before, tuple(a.shape), last=k == affine[-1], credit=credit))
            credit, fresh, stranded = 1.0, True, ""
        elif type(m) is nn.AvgPool2d:
            credit *= _average(name, m, before)
            averaged += math.prod(_pair(m.kernel_size)) + 3
            stranded = stranded if fresh else name
        elif type(m) in (nn.ReLU, nn.MaxPool2d):
            _directly_at_an_affine_layer(stranded)
            credit, fresh = 1.0, False
            if type(m) is nn.MaxPool2d:
                pools.append(_maximum(name, m, before))
        elif type(m) is nn.Flatten:
            if m.start_dim % len(before) < 1:
                raise UnsupportedLayer(f"a Flatten must keep the axis of points, {name} does not.")
        elif type(m) not in (nn.Identity, nn.Dropout, nn.Dropout2d):
            hint = " (fold_batchnorm folds it)" if "BatchNorm" in type(m).__name__ else ""
            raise UnsupportedLayer(f"the chain must consist of {_KNOWN}, {name} is a {type(m).__name__}{hint}.")
    _directly_at_an_affine_layer(stranded)
    majorant = copy.deepcopy(module)
    with torch.no_grad():
        for p in majorant.parameters():
            p.abs_()
    return Chain(
        operators=tuple(operators),
        additions=sum(op.terms for op in operators) + averaged,
        net=ModuleNet(module, net.example),
        majorant=ModuleNet(majorant, net.example),
        shape=shape,
        pools=tuple(pools),
    )


def _steps(name: str, module: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Module]]:
    """The modules of a nested Sequential in order; a hook could change what they compute."""
    from torch import nn

    if module._forward_hooks or module._forward_pre_hooks:
        raise UnsupportedLayer(f"the chain must have no hooks, {name or 'the module'} has one.")
    if type(module) is nn.Sequential:
        for child, m in module._modules.items():  # named_children would skip the second use of a module
            if m is not None:
                yield from _steps(f"{name}.{child}" if name else child, m)
    elif name:
        yield name, module
    else:
        raise UnsupportedLayer(f"the module must be a torch.nn.Sequential of {_KNOWN}, got {type(module).__name__}.")


def _run(m: Any, a: torch.Tensor, name: str) -> torch.Tensor:
    import torch

    with torch.inference_mode():
        found = m(a)
    if not isinstance(found, torch.Tensor):
        raise UnsupportedLayer(f"each part of the chain must give one tensor, {name} gives {type(found).__name__}.")
    return found


def _read_linear(
    name: str, m: Any, before: tuple[int, ...], _after: tuple[int, ...], *, last: bool, credit: float
) -> Operator:
    if len(before) != 2:
        raise UnsupportedLayer(f"a Linear must read one vector per point, {name} reads shape {before[1:]}.")
    free = 0 if m.bias is None else m.bias.numel()
    return _linear(name, _array(m.weight), _bias(m), last=last, credit=credit, free=free)


def _linear(name: str, weight: np.ndarray, bias: np.ndarray, *, last: bool, credit: float, free: int) -> Operator:
    """[credit W, b] in the energies and the spectral norm, [W, b] in the l1 norms."""
    out, columns = weight.shape
    augmented = np.column_stack([credit * weight, bias])
    energy = np.einsum("ij,ij->i", augmented, augmented)
    if not last:
        augmented = np.vstack([augmented, np.eye(1, columns + 1, columns)])
    return Operator(
        name=name,
        inputs=columns,
        outputs=out,
        parameters=weight.size + free,
        terms=columns + 1,
        last=last,
        energy=energy,
        mass=np.abs(weight).sum(axis=1) + np.abs(bias),
        norm=partial(spectral_norm, augmented),
    )


def _read_convolution(
    name: str, m: Any, before: tuple[int, ...], after: tuple[int, ...], *, last: bool, credit: float
) -> Operator:
    if len(before) != 4 or m.padding_mode != "zeros":
        raise UnsupportedLayer(
            f"a Conv2d must read images (channels, height, width) with padding of zeros, {name} reads shape "
            f"{before[1:]} with padding_mode {m.padding_mode!r}."
        )
    kernel, bias = _array(m.weight), _bias(m)  # (out, in/groups, kh, kw)
    places = after[2] * after[3]
    seen = [
        _inside(size, k, found, stride=s, before=p, dilation=d)
        for size, k, found, s, p, d in zip(
            before[2:], kernel.shape[2:], after[2:], m.stride, _padding(m), m.dilation, strict=True
        )
    ]
    squares, sizes = ((kernel * credit) ** 2).sum(axis=1), np.abs(kernel).sum(axis=1)  # (out, kh, kw)
    energy = np.einsum("ph,ohw,qw->opq", seen[0], squares, seen[1]) + (bias**2)[:, None, None]
    mass = np.einsum("ph,ohw,qw->opq", seen[0], sizes, seen[1]) + np.abs(bias)[:, None, None]

    def norm() -> float:
        own = max(
            padded_convolution_norm(credit * k, before[2], before[3], stride=m.stride, dilation=m.dilation)
            for k in np.split(kernel, m.groups)
        )
        shift = math.sqrt(places * math.fsum(bias**2)) * _UP
        return spectral_norm(np.array([[own, shift]] if last else [[own, shift], [0.0, 1.0]]))

    return Operator(
        name=name,
        inputs=math.prod(before[1:]),
        outputs=math.prod(after[1:]),
        parameters=kernel.size + (0 if m.bias is None else m.bias.numel()),
        terms=math.prod(kernel.shape[1:]) + 1,
        last=last,
        energy=energy,
        mass=mass,
        norm=norm,
    )


@implements("boundlab_operator_chain")
def _inside(size: int, kernel: int, found: int, *, stride: int, before: int, dilation: int) -> np.ndarray:
    """1 where an output position sees an entry of the map through an offset of the kernel, 0 where it sees padding.

    Shape (found, kernel), along one axis.
    """
    seen = stride * np.arange(found)[:, None] + dilation * np.arange(kernel) - before
    return ((seen >= 0) & (seen < size)).astype(np.float64)


def _padding(m: Any) -> tuple[int, int]:
    """Zeros before the first row and column."""
    if isinstance(m.padding, str):  # "same" puts the smaller half before
        spread = [d * (k - 1) if m.padding == "same" else 0 for d, k in zip(m.dilation, m.kernel_size, strict=True)]
        return spread[0] // 2, spread[1] // 2
    return m.padding


def _average(name: str, m: Any, before: tuple[int, ...]) -> float:
    """The norm 1/sqrt(kh kw) of an average over windows that do not overlap, rounded up."""
    kernel, stride = _pair(m.kernel_size), _pair(m.stride)
    if len(before) != 4 or min(s - k for s, k in zip(stride, kernel, strict=True)) < 0 or any(_pair(m.padding)):
        raise UnsupportedLayer(f"windows of an AvgPool2d must not overlap or be padded, {name} is {m}.")
    if m.ceil_mode or m.divisor_override:
        raise UnsupportedLayer(f"an AvgPool2d must have whole windows and their own mean, {name} is {m}.")
    return 1.0 / math.sqrt(math.prod(kernel)) * (1.0 + 4.0 * _U)


def _maximum(name: str, m: Any, before: tuple[int, ...]) -> str:
    """The name of a max pooling whose windows do not overlap: |max u - max v| <= |u - v| in each, disjoint ones add."""
    kernel, stride = _pair(m.kernel_size), _pair(m.stride)
    overlap = min(s - k for s, k in zip(stride, kernel, strict=True)) < 0
    if len(before) != 4 or overlap or _pair(m.dilation) != (1, 1):
        raise UnsupportedLayer(f"windows of a MaxPool2d must not overlap or be dilated, {name} is {m}.")
    return name


def _directly_at_an_affine_layer(stranded: str) -> None:
    if stranded:
        raise UnsupportedLayer(
            f"an AvgPool2d must stand directly before or after an affine layer, {stranded} does not."
        )


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


def _array(p: Any) -> np.ndarray:
    return p.detach().numpy()


def _bias(m: Any) -> np.ndarray:
    return np.zeros(len(m.weight)) if m.bias is None else _array(m.bias)
