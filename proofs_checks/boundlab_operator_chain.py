"""A net with biases, convolutions and poolings is a chain of matrices without biases, whose norms can be had exactly.

Proof. (Biases.) Give the input one more coordinate, 1, each hidden layer the matrix [W, b; 0, 1] and the last [W, b]:
ReLU(1) = 1, and a pooling lets the coordinate pass, so that by induction every layer reads (a, 1) with a what it read
before. (Convolutions.) Output p of offset t reads the entry s p + d t - before, or padding; the unrolled matrix holds
each kernel entry once for each p at which that entry is inside, along both axes independently: the squared norm of a
row is the sum over offsets inside of sum_c K²; likewise its l1 norm. (Their spectral norm.) The s x s shifted and
thinned copies of a channel turn stride s into stride 1; zeros in the place of wrapping are a circular convolution on a
map with room for the kernel, with some rows and columns left out (``sedghi2019_convolution_norm``), and leaving out
rows or columns lowers no norm below what is kept. For any u and t, |C u + beta t|² + t² is at most the same with |C||u|
and |beta||t|, so that [C, beta; 0, 1] has at most the norm of the 2 x 2 matrix of norms. (Max pooling.) |max u - max v|
<= max |u - v| <= |u - v|_2 in each window, and disjoint windows add: 1-Lipschitz, 0 at 0, positive-homogeneous.
(Average pooling.) The rows of P have kh kw entries 1/(kh kw) on disjoint windows, so P P^T = I/(kh kw): |w P|_2 =
|w|_2/sqrt(kh kw), |w P|_1 = |w|_1 and |W P|_2 = |W|_2/sqrt(kh kw) exactly. Behind an affine layer the rows of P W are
means of rows of W, over disjoint sets: their sum, largest and root of squares are not larger than those of W, nor is
|P W|_2. (Rounding.) A sum of t products in floating point is off by at most ((1 + u)^(t + 2) - 1) times the sum of the
magnitudes; layer after layer the factors multiply, and the magnitudes are the net of the |weights| at |x|: a margin is
off by at most twice that.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy as sp
import z3

from boundlab._errors import UnsupportedLayer
from boundlab.nets.module_net import ModuleNet
from boundlab.nets.norms import padded_convolution_norm
from boundlab.nets.operator_chain import Operator, operator_chain
from boundlab.network import Layer, Network
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage
from proofs_checks.proving import counterexample, prove, reals

if TYPE_CHECKING:
    from torch import nn

THEOREM = Theorem(
    name="A convolutional net as a chain of matrices",
    source="ours; the constant unit, unrolled convolutions and their norms are common knowledge",
    given=("Linear, Conv2d with padding of zeros, ReLU, poolings whose windows do not overlap",),
    claim=r"f(x) = A_d\,\sigma_{d-1}(A_{d-1}\cdots\sigma_1(A_1(x,1))), \quad A_i = \begin{pmatrix}W_i & b_i\\0 & 1"
    r"\end{pmatrix},\ \sigma_i\ \text{1-Lipschitz and homogeneous}",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="nets/operator_chain.py",
        old='energy = np.einsum("ph,ohw,qw->opq", seen[0], squares, seen[1]) + (bias**2)[:, None, None]',
        new='energy = np.einsum("ph,ohw,qw->opq", seen[0], squares, seen[1])',
    ),
    Mutation(
        file="nets/operator_chain.py",
        old="dilation * np.arange(kernel) - before",
        new="dilation * np.arange(kernel)",
    ),
    Mutation(
        file="nets/operator_chain.py",
        old="return math.sqrt(math.fsum(self.energy.ravel()) + (not self.last)) * self._up",
        new="return math.sqrt(math.fsum(self.energy.ravel())) * self._up",
    ),
    Mutation(
        file="nets/operator_chain.py",
        old="shift = math.sqrt(places * math.fsum(bias**2)) * _UP",
        new="shift = math.sqrt(math.fsum(bias**2)) * _UP",
    ),
    Mutation(
        file="nets/operator_chain.py",
        old="return 1.0 / math.sqrt(math.prod(kernel)) * (1.0 + 4.0 * _U)",
        new="return 1.0 / math.prod(kernel)",
    ),
    Mutation(
        file="nets/operator_chain.py",
        old="return 2.0 * top * self._relative",
        new="return 0.0 * top * self._relative",
    ),
    Mutation(
        file="nets/operator_chain.py",
        old="overlap = min(s - k for s, k in zip(stride, kernel, strict=True)) < 0",
        new="overlap = False",
    ),
    Mutation(
        file="nets/norms.py",
        old='rows = -(-(positive_int("height", height) - 1) // sh) + k.shape[2]',
        new='rows = k.shape[2] + 0 * positive_int("height", height)',
    ),
    Mutation(
        file="nets/norms.py",
        old='columns = -(-(positive_int("width", width) - 1) // sw) + k.shape[3]',
        new='columns = k.shape[3] + 0 * positive_int("width", width)',
    ),
    Mutation(
        file="nets/norms.py",
        old="where[axis] = slice(0, gap * (k.shape[axis] - 1) + 1, gap)",
        new="where[axis] = slice(0, k.shape[axis])",
    ),
)

CASES = (  # kernel, stride, padding, dilation, groups
    ((3, 3), 1, 0, 1, 1),
    ((3, 3), 1, 1, 1, 2),
    ((3, 2), (2, 1), (1, 2), 1, 1),
    ((2, 2), 2, 0, 1, 1),
    ((1, 1), 2, 0, 1, 1),
    ((3, 3), 3, 4, 1, 1),
    ((2, 3), (1, 2), 0, (3, 1), 2),
    ((3, 3), 1, "same", 2, 1),
)
MAP = (2, 6, 5)


def unrolled(m: Any, size: tuple[int, int, int]) -> np.ndarray:
    """The matrix of a convolution, entry by entry, from its definition and not through torch."""
    kernel, (_, height, width) = m.weight.detach().double().numpy(), size
    out, inside, kh, kw = kernel.shape
    if m.padding == "same":
        total = [d * (k - 1) for d, k in zip(m.dilation, (kh, kw), strict=True)]
        top, left, below, right = total[0] // 2, total[1] // 2, total[0] - total[0] // 2, total[1] - total[1] // 2
    else:
        top, left = below, right = m.padding
    rows = (height + top + below - m.dilation[0] * (kh - 1) - 1) // m.stride[0] + 1
    columns = (width + left + right - m.dilation[1] * (kw - 1) - 1) // m.stride[1] + 1
    matrix = np.zeros((out, rows, columns, *size))
    for o, p, q, c, a, b in itertools.product(*map(range, (out, rows, columns, inside, kh, kw))):
        y, x = m.stride[0] * p + m.dilation[0] * a - top, m.stride[1] * q + m.dilation[1] * b - left
        if 0 <= y < height and 0 <= x < width:
            matrix[o, p, q, o // (out // m.groups) * inside + c, y, x] += kernel[o, c, a, b]
    return matrix.reshape(out * rows * columns, -1)


def whole_numbers(module: nn.Sequential, seed: int) -> nn.Sequential:
    """The module with small whole numbers as parameters."""
    import torch

    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.tensor(rng.integers(-3, 4, size=tuple(p.shape)).astype(np.float32)))
    return module


def convolutional(kernel: Any, stride: Any, padding: Any, dilation: Any, groups: int, seed: int) -> nn.Sequential:
    import torch
    from torch import nn

    conv = nn.Conv2d(2, 4, kernel, stride=stride, padding=padding, dilation=dilation, groups=groups)
    found = conv(torch.zeros(1, *MAP))
    return whole_numbers(nn.Sequential(conv, nn.ReLU(), nn.Flatten(), nn.Linear(found.numel(), 2)), seed)


def augmented(matrix: np.ndarray, bias: np.ndarray, *, last: bool) -> np.ndarray:
    whole = np.column_stack([matrix, bias])
    return whole if last else np.vstack([whole, np.eye(1, whole.shape[1], whole.shape[1] - 1)])


def compare(op: Operator, whole: np.ndarray, name: str) -> float:
    """All norms of an operator against those of its matrix of whole numbers; spectral/exact."""
    require((op.outputs + (not op.last), op.inputs + 1) == whole.shape, f"{name}: shape {whole.shape}")
    near = 1 + Fraction(1, 10**9)
    square = Fraction(int((whole**2).sum()))
    require(
        square <= Fraction(op.frobenius) ** 2 <= square * near, f"{name}: Frobenius² {op.frobenius**2}, not {square}"
    )
    mass = Fraction(int(np.abs(whole).sum()))
    require(mass <= Fraction(op.total_mass) <= mass * near, f"{name}: all |entries| {op.total_mass}, not {mass}")
    row = Fraction(int(np.abs(whole).sum(axis=1).max()))
    require(row <= Fraction(op.row_mass) <= row * near, f"{name}: largest row {op.row_mass}, not {row}")
    group = math.fsum(math.sqrt(v) for v in (whole**2).sum(axis=1))
    require(group <= op.group <= group * (1 + 1e-9), f"{name}: (2,1) norm {op.group}, not {group}")
    exactly = float(np.linalg.norm(whole, 2))
    require(exactly * (1 - 1e-13) <= op.spectral, f"{name}: spectral norm {op.spectral} below {exactly}")
    return op.spectral / exactly


def refused(*modules: nn.Module, shape: tuple[int, ...] = MAP) -> bool:
    from torch import nn

    try:
        operator_chain(ModuleNet(nn.Sequential(*modules), np.zeros((1, *shape))))
    except UnsupportedLayer:
        return True
    return False


def symbolic() -> str:
    def larger(a: Any, b: Any) -> Any:
        return z3.If(a > b, a, b)

    u1, u2, v1, v2, t = reals("u1 u2 v1 v2 t")
    gap = larger(larger(u1 - v1, v1 - u1), larger(u2 - v2, v2 - u2))
    difference = larger(u1, u2) - larger(v1, v2)
    prove(z3.And(difference <= gap, -difference <= gap))
    prove(gap * gap <= (u1 - v1) ** 2 + (u2 - v2) ** 2)
    prove(larger(t * u1, t * u2) == t * larger(u1, u2), t >= 0)
    overlapping = (larger(u1, u2) - larger(v1, v2)) ** 2 + (larger(u2, t) - larger(v2, t)) ** 2
    counterexample(overlapping <= (u1 - v1) ** 2 + (u2 - v2) ** 2, u1 == v1)
    w1, w2 = sp.symbols("w1 w2", real=True)
    pool = sp.Matrix(2, 8, lambda r, c: sp.Rational(1, 4) if c // 4 == r else 0)
    require(pool * pool.T == sp.eye(2) / 4, "P P^T = I/4 for 2 x 2 windows")
    row = sp.Matrix([[w1, w2]]) * pool
    require(sp.simplify((row * row.T)[0] - (w1**2 + w2**2) / 4) == 0, "|w P|² = |w|²/4")
    c, beta, a, b = sp.symbols("c beta a b", real=True)  # one output: (c a + beta b)² + b²
    bound = (sp.Abs(c) * sp.Abs(a) + sp.Abs(beta) * sp.Abs(b)) ** 2 - (c * a + beta * b) ** 2
    require(sp.simplify(sp.expand(bound) - 2 * (sp.Abs(a * b * beta * c) - a * b * beta * c)) == 0, "block norms")
    s, i, j, p = sp.symbols("s i j p", integer=True)
    require(sp.expand((s * p + (s * j + i)) - (s * (p + j) + i)) == 0, "offset s j + i reads copy i at p + j")
    for size, step, before in itertools.product(range(1, 9), range(1, 4), range(4)):
        touched = {(before + k) // step for k in range(size)}
        require(len(touched) <= -(-(size - 1) // step) + 1, "a map of H entries touches ceil((H - 1)/s) + 1 blocks")
    return "max pooling 1-Lipschitz and homogeneous; P P^T = I/4; block norms; stride as stride 1 on thinned copies"


def exact() -> str:
    from torch import nn

    rng, worst = np.random.default_rng(0), 1.0
    for seed, case in enumerate(CASES):
        module = convolutional(*case, seed)
        x = rng.integers(-2, 3, size=(3, *MAP)).astype(float)
        chain = operator_chain(ModuleNet(module, x))
        conv: Any = module[0]
        linear: Any = module[3]
        matrix, bias = unrolled(conv, MAP), conv.bias.detach().double().numpy()
        bias = np.repeat(bias, len(matrix) // len(bias))
        first = augmented(matrix, bias, last=False)
        last = augmented(linear.weight.detach().double().numpy(), linear.bias.detach().double().numpy(), last=True)
        flat = np.column_stack([x.reshape(3, -1), np.ones(3)])
        same = np.maximum(flat @ first.T, 0.0) @ last.T
        require(np.array_equal(chain.net(x), same), f"{case}: the chain of matrices is another function")
        worst = max(worst, compare(chain.operators[0], first, str(case)), compare(chain.operators[1], last, "Linear"))
        paths = np.abs(last) @ (np.abs(first) @ np.ones(first.shape[1]))
        require(paths.sum() <= chain.path_norm <= paths.sum() * (1 + 1e-9), f"{case}: path norm {chain.path_norm}")
        require(chain.operators[0].parameters == conv.weight.numel() + 4, "a kernel's entries count once")
        require(chain.width == 1 + max(matrix.shape), f"{case}: width {chain.width}")
    large_maps()
    pooled_layers()
    rounding()
    conv = nn.Conv2d(2, 2, 2)
    require(refused(conv, nn.MaxPool2d(3, stride=2), nn.Flatten(), nn.Linear(4, 2)), "windows that overlap")
    require(refused(conv, nn.ReLU(), nn.AvgPool2d(2), nn.ReLU(), nn.Flatten()), "an average between two activations")
    return f"{len(CASES)} convolutions equal their matrices; spectral norms at most {worst:.2f} times theirs"


def large_maps() -> None:
    """Kernels whose norm shows on a large map only, and thinned copies that a dilation leaves out."""
    import torch
    from torch import nn

    for shape, size, stride, dilation in (
        ((3, 1), (1, 24, 1), 1, 1),  # |1 + z - z²| is sqrt 5 at z = i, and 2 at most at the cube roots of 1
        ((1, 3), (1, 1, 24), 1, 1),
        ((3, 3), (1, 16, 16), 2, 2),
    ):
        conv = nn.Conv2d(1, 1, shape, stride=stride, dilation=dilation, bias=False)
        values = np.ones(9) if shape == (3, 3) else np.array([1.0, 1.0, -1.0])
        with torch.no_grad():
            conv.weight.copy_(torch.tensor(values.reshape(1, 1, *shape)))
        exactly = float(np.linalg.norm(unrolled(conv, size), 2))
        kernel, steps, gaps = values.reshape(1, 1, *shape), (stride, stride), (dilation, dilation)
        got = padded_convolution_norm(kernel, *size[1:], stride=steps, dilation=gaps)
        require(exactly <= got <= 1.2 * exactly, f"{shape}, stride {stride}: {got} for {exactly}")


def pooled_layers() -> None:
    """An average pool in front of a layer, entry by entry."""
    from torch import nn

    linear = nn.Linear(2 * 2 * 2, 3)
    pool = nn.AvgPool2d((3, 2))
    module = whole_numbers(nn.Sequential(nn.ReLU(), pool, nn.Flatten(), linear), 5)
    matrix = np.zeros((8, 60))
    for c, y, x in itertools.product(range(2), range(6), range(4)):
        matrix[(c * 2 + y // 3) * 2 + x // 2, (c * 6 + y) * 5 + x] = 1
    points = np.random.default_rng(1).integers(-6, 7, size=(2, *MAP)) * 6.0
    weight, bias = linear.weight.detach().double().numpy(), linear.bias.detach().double().numpy()
    chain = operator_chain(ModuleNet(module, points))
    same = np.maximum(points.reshape(2, -1), 0.0) @ (weight @ matrix / 6).T + bias
    require(np.allclose(chain.net(points), same, rtol=1e-12), "the pool as a matrix")
    whole, op = np.column_stack([weight @ matrix / 6, bias]), chain.operators[0]
    exactly = {
        "frobenius": float(np.linalg.norm(whole)),
        "group": float(np.linalg.norm(whole, axis=1).sum()),
        "row_mass": float(np.abs(whole).sum(axis=1).max()),
        "total_mass": float(np.abs(whole).sum()),
        "spectral": float(np.linalg.norm(whole, 2)),
    }
    for name, value in exactly.items():
        got = getattr(op, name)
        require(value * (1 - 1e-13) <= got <= value * (1 + 1e-9), f"{name} behind a pool: {got}, not {value}")


def rounding() -> None:
    """Margins of nets whose sums cancel, against fractions."""
    rng, seen = np.random.default_rng(4), 0.0
    for _ in range(20):
        w, v = rng.normal(size=(6, 9)) * 1e3, rng.normal(size=(2, 6))
        net = Network(
            layers=(
                Layer(weight=w, bias=rng.normal(size=6), relu=True),
                Layer(weight=v, bias=rng.normal(size=2), relu=False),
            )
        )
        x = rng.normal(size=(1, 9))
        chain, got = operator_chain(net), net(x)[0]
        hidden = [
            max(Fraction(0), sum((Fraction(a) * Fraction(b) for a, b in zip(row, x[0], strict=True)), Fraction(c)))
            for row, c in zip(w, net.layers[0].bias, strict=True)
        ]
        out = [
            sum((Fraction(a) * b for a, b in zip(row, hidden, strict=True)), Fraction(c))
            for row, c in zip(v, net.layers[1].bias, strict=True)
        ]
        error = abs((out[0] - out[1]) - (Fraction(got[0]) - Fraction(got[1])))
        require(error <= Fraction(chain.rounding(x)), f"a margin is off by {float(error)}")
        seen = max(seen, float(error))
    require(seen > 0, "no margin was rounded: nothing was tested")


def beyond(factor: float):
    """Random kernels, strides and paddings, the worst image found by power steps: is |K x| above the claimed norm?"""
    import torch
    from torch import nn

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        out = np.empty(n, bool)
        for k in range(n):
            stride = int(rng.integers(1, 4))
            conv = nn.Conv2d(2, 2, 3, stride=stride, padding=int(rng.integers(0, 3)), bias=False)
            with torch.no_grad():
                conv.weight.copy_(torch.tensor(np.abs(rng.normal(size=(2, 2, 3, 3)))))
            matrix, x = unrolled(conv, (2, 6, 6)), np.ones(72)
            for _ in range(10):
                x = matrix.T @ (matrix @ x)
                x /= np.linalg.norm(x)
            kernel = conv.weight.detach().double().numpy()
            claimed = padded_convolution_norm(kernel, 6, 6, stride=(stride, stride))
            out[k] = np.linalg.norm(matrix @ x) > claimed / factor
        return out

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    return judge(beyond(1.0), delta=0.1, trials=100 * effort, name="unrolled convolutions")


def teeth() -> Evidence:
    import torch
    from torch import nn

    conv = nn.Conv2d(1, 1, 3, stride=2, padding=1, bias=False)
    with torch.no_grad():
        conv.weight.fill_(1.0)
    top = float(np.linalg.norm(unrolled(conv, (1, 16, 16)), 2))
    kernel = np.ones((1, 1, 3, 3))
    slack = smallest_sabotage(lambda factor: padded_convolution_norm(kernel, 16, 16, stride=(2, 2)) / factor < top)
    return Evidence(text=f"the norm of a strided convolution divided by {slack:g} is exceeded", slack=slack)
