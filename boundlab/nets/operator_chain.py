"""A net as a chain of affine operators between 1-Lipschitz maps, biases absorbed: what norm-based bounds are stated in.

The published theorems know no biases. A unit that is always 1 takes them in, exactly: x -> (x, 1), each hidden
[W, b; 0, 1] followed by ReLU (ReLU(1) = 1), the last [W, b]. Behind a hidden layer it may as well be any u > 0, read
off the weights: [W, b/u'; 0, u/u'] is the same net, and has other norms. All norms here are those of the augmented
operators. A convolution is its unrolled matrix, never its flattened kernel; a pooling of windows that do not overlap is
1-Lipschitz.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from boundlab._errors import InvalidParameter, UnsupportedLayer
from boundlab._theory import implements
from boundlab.nets.module_net import ModuleNet
from boundlab.nets.norms import frobenius_norm, padded_convolution_norm, spectral_norm
from boundlab.network import Layer, Network

if TYPE_CHECKING:
    import torch

_UP = 1.0 + 1e-12
_U = 2.0**-53
_SMALL, _LARGE = 2.0**-400, 2.0**300  # squares of what is between them neither vanish nor overflow
_FAINT = 2.0**-900  # far above all that products lose when they underflow
_KNOWN = "Linear, Conv2d, ReLU, AvgPool2d, MaxPool2d, Flatten, Dropout and Identity"


@implements("boundlab_operator_chain")
@dataclass(frozen=True, kw_only=True, eq=False)
class Operator:
    """One augmented affine operator, [W, b/u'; 0, u/u'] or, where it is the last, [W, b/u']; every norm is rounded up.

    The constant unit is u' where it reads it, and u behind it; u' = 0 where no bias follows that would need it.
    """

    name: str
    inputs: int  # columns of W, behind an average pool that stands before it
    outputs: int  # rows of W
    parameters: int  # numbers that can be chosen: a kernel's and a bias's, not the unrolled entries
    terms: int  # addends of one output
    last: bool
    energy: np.ndarray  # squared Euclidean norm of each row of W
    mass: np.ndarray  # l1 norm of each row of W
    shift: np.ndarray  # |b| of each row
    norm: Callable[[float, float], float]  # u', u/u' -> an upper bound on the spectral norm
    read: float = 1.0  # u'
    unit: float  # u/u', 0 for the last

    @cached_property
    def spectral(self) -> float:
        """An upper bound on the spectral norm."""
        return self.norm(self.read or 1.0, self.unit)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns, the constant unit included."""
        return self.outputs + (not self.last), self.inputs + 1

    @property
    def frobenius(self) -> float:
        """The root of the sum of all squared entries."""
        return math.sqrt(math.fsum(self._rows.ravel()) + self.unit**2) * self._up

    @property
    def group(self) -> float:
        """|.^T|_{2,1}: the sum of the Euclidean norms of the rows."""
        return (math.fsum(np.sqrt(self._rows).ravel()) + self.unit) * self._up

    @property
    def _rows(self) -> np.ndarray:
        return self.energy + (self.shift / (self.read or 1.0)) ** 2

    @property
    def _up(self) -> float:
        return _UP + 4.0 * self.terms * _U  # past the rounding of the sums over a row


@implements("boundlab_operator_chain")
@dataclass(frozen=True, kw_only=True, eq=False)
class Chain:
    """The operators of a net in order, the constant unit 1 behind each, and the net itself in double precision."""

    operators: tuple[Operator, ...]
    net: Network | ModuleNet
    majorant: Network | ModuleNet  # all weights and biases replaced by their absolute values, biases raised a little
    shape: tuple[int, ...]  # of one point
    additions: int  # addends of one output, layer after layer
    pools: tuple[str, ...]  # the max poolings, which mix neurons: not every theorem covers them

    @property
    def width(self) -> int:
        """The largest number of rows or columns, the constant unit included; columns behind an average pool."""
        return max(max(op.shape) for op in self.operators)

    @cached_property
    def balanced(self) -> tuple[Operator, ...]:
        """The operators of the same net with the constant unit at which their Frobenius norms have the least product.

        A net rescaled layer by layer has the same norms but for a factor that they share; without biases the unit goes.
        """
        squares = [(math.fsum(op.energy.ravel()), math.fsum((op.shift**2).ravel())) for op in self.operators]
        units = (1.0, *unit_carried(*zip(*squares, strict=True)), 0.0)
        return tuple(
            replace(op, read=u, unit=after / u if u else 0.0)
            for op, u, after in zip(self.operators, units, units[1:], strict=False)
        )

    @property
    def l1_norm(self) -> float:
        """The product of the largest l1 norms of a row, and of the sum of all |entries| of the last, at the best unit.

        That is behind each hidden layer the largest value that a neuron can have where |x| <= 1, the unit at most 1.
        """
        *hidden, last = self.operators
        reach = 1.0
        with np.errstate(over="ignore", invalid="ignore"):
            for op in hidden:
                reach = float((op.mass * reach + op.shift + _FAINT).max())
            total = float(np.sum(last.mass * reach + last.shift + _FAINT))
        return total * (1.0 + self._relative + 4.0 * last.mass.size * _U)

    @property
    def path_norm(self) -> float:
        """The sum over all paths, to all outputs, of the products of |weights|; a bias is a path from the unit."""
        return float(np.sum(self._reached(np.ones((1, *self.shape)))))

    def rounding(self, x: np.ndarray) -> float:
        """Bound how far a computed margin on the points x can be from that of the net in exact arithmetic.

        Each sum of t products adds a relative error of (t + 2) u to the majorant, the net of the |weights|, and what is
        lost below 2^-1074, far less than what its biases are raised by.
        """
        reach = np.maximum(x.max(axis=0).astype(np.float64), -x.min(axis=0).astype(np.float64))[None]
        top = float(self._reached(reach + _FAINT).max())
        if not top < 1e300:
            raise InvalidParameter(f"the net's outputs must stay below 1e300, they may reach {top:g}.")
        return 2.0 * top * self._relative

    def _reached(self, x: np.ndarray) -> np.ndarray:
        """The outputs of the majorant, rounded up past their sum; infinite or NaN where they are too large."""
        with np.errstate(over="ignore", invalid="ignore"):
            found = self.majorant(x)
            return found * (1.0 + self._relative + 4.0 * found.size * _U)

    @property
    def _relative(self) -> float:
        return 4.0 * (self.additions + 3 * len(self.operators)) * _U


@implements("boundlab_operator_chain")
def unit_carried(weights: Sequence[float], biases: Sequence[float]) -> list[float]:
    """Return what the constant unit should be behind each hidden layer, for squared norms w_i of W_i and c_i of b_i.

    With v = u², the product of (w_i v_(i-1) + c_i + v_i)/v_(i-1) is convex in the logarithms of v; it is minimised in
    one v_i after the other: v_i² = (w_i v_(i-1) + c_i)(c_(i+1) + v_(i+1))/w_(i+1). 0 where no bias follows.

    Examples
    --------
    >>> unit_carried([8.0, 2.0], [1.0, 4.5]), unit_carried([8.0, 2.0], [1.0, 0.0])
    ([2.1213203435596424], [0.0])
    """
    v = [1.0] + [float(any(biases[i:])) for i in range(1, len(weights))] + [0.0]  # v_0 .. v_d
    for i in list(range(1, len(weights))) * 1_000:
        above, below, weight = weights[i - 1] * v[i - 1] + biases[i - 1], biases[i] + v[i + 1], weights[i]
        if v[i] and above and weight:  # else the layer before it puts out 0, or the next reads nothing
            v[i] = min(max(math.sqrt(above) * math.sqrt(below / weight), 2.0**-200), 2.0**200)
    return [math.sqrt(value) for value in v[1:-1]]


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
        spectral norms of convolutions are upper bounds. An average P over kh x kw in front of an affine layer is
        P = Q/sqrt(kh kw), Q 1-Lipschitz: the operator is [W/sqrt(kh kw), b], and in l1 norms [W, b].

    Raises
    ------
    UnsupportedLayer
        If the module holds anything else.
    InvalidParameter
        If a weight is 2^300 or larger.

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
    majorant = tuple(Layer(weight=np.abs(w.weight), bias=np.abs(w.bias) + _FAINT, relu=w.relu) for w in net.layers)
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
    for _, m in _steps("", majorant):
        part: Any = m
        if type(m) in (nn.Linear, nn.Conv2d):
            part.weight = nn.Parameter(part.weight.abs(), requires_grad=False)
            part.bias = nn.Parameter(torch.tensor(np.abs(_bias(m)) + _FAINT), requires_grad=False)
    return Chain(
        operators=tuple(operators),
        additions=sum(op.terms for op in operators) + averaged,
        net=ModuleNet(module, net.example),
        majorant=ModuleNet(majorant, net.example),
        shape=shape,
        pools=tuple(pools),
    )


def _steps(name: str, module: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Module]]:
    """The modules of a nested Sequential in order; a hook or a method of its own could change what one computes."""
    from torch import nn

    if module._forward_hooks or module._forward_pre_hooks:
        raise UnsupportedLayer(f"the chain must have no hooks, {name or 'the module'} has one.")
    if own := [key for key in vars(module) if callable(getattr(type(module), key, None))]:
        raise UnsupportedLayer(
            f"modules must compute what their class does, {name or 'the module'} has its own {own[0]}."
        )
    if type(module) in (nn.Linear, nn.Conv2d) and not {"weight", "bias"} <= module._parameters.keys():
        raise UnsupportedLayer(f"weight and bias must be parameters, those of {name or 'the module'} are not.")
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
    sizes = _sizes(name, weight)

    def norm(read: float, unit: float) -> float:
        augmented = np.column_stack([credit * weight, bias / read])
        return spectral_norm(np.vstack([augmented, unit * np.eye(1, columns + 1, columns)]) if unit else augmented)

    return Operator(
        name=name,
        inputs=columns,
        outputs=out,
        parameters=weight.size + free,
        terms=columns + 1,
        last=last,
        energy=np.einsum("ij,ij->i", credit * sizes, credit * sizes),
        mass=sizes.sum(axis=1),
        shift=_sizes(name, bias),
        norm=norm,
        unit=float(not last),
    )


def _sizes(name: str, values: np.ndarray) -> np.ndarray:
    """|values|; what is not 0 is raised to 2^-400 at least, lest its square vanishes: sums of squares only grow."""
    found = np.abs(values)
    if not found.max() < _LARGE:
        raise InvalidParameter(f"weights must be below 2^300, {name} has one of {found.max():g}.")
    return np.where(found > 0.0, np.maximum(found, _SMALL), 0.0)


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
    sizes = _sizes(name, kernel)

    def rows(of: np.ndarray) -> np.ndarray:
        return np.einsum("ph,ohw,qw->opq", seen[0], of, seen[1])  # of (out, kh, kw), over what each position sees

    def norm(read: float, unit: float) -> float:
        own = max(
            padded_convolution_norm(credit * k, before[2], before[3], stride=m.stride, dilation=m.dilation)
            for k in np.split(kernel, m.groups)
        )
        shift = math.sqrt(places) * frobenius_norm(bias[:, None]) / read * _UP
        return spectral_norm(np.array([[own, shift], [0.0, unit]]))

    return Operator(
        name=name,
        inputs=math.prod(before[1:]),
        outputs=math.prod(after[1:]),
        parameters=kernel.size + (0 if m.bias is None else m.bias.numel()),
        terms=math.prod(kernel.shape[1:]) + 1,
        last=last,
        energy=rows(((credit * sizes) ** 2).sum(axis=1)),
        mass=rows(sizes.sum(axis=1)),
        shift=np.repeat(_sizes(name, bias), places).reshape(after[1:]),
        norm=norm,
        unit=float(not last),
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
