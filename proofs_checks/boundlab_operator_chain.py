"""A net with biases, convolutions and poolings is a chain of matrices without biases, whose norms can be had exactly.

Proof. (Biases.) Give the input one more coordinate, 1, each hidden layer the matrix [W, b; 0, 1] and the last [W, b]:
ReLU(1) = 1, and a pooling lets the coordinate pass, so that by induction every layer reads (a, 1) with a what it read
before. (Their unit.) It may as well be u_i > 0 behind layer i, u_0 = 1: [W_i, b_i/u_(i-1); 0, u_i/u_(i-1)] makes (W_i a
+ b_i, u_i) of (a, u_(i-1)); and 0 where no bias follows. With w_i = |W_i|_F², c_i = |b_i|², v_i = u_i², the product of
the squared Frobenius norms is prod (w_i v_(i-1) + c_i + v_i)/v_(i-1), a sum of exponentials in the ln v_i, and so
convex in them; in one v_i it is const (a + v_i)(w_(i+1) + c/v_i), a = w_i v_(i-1) + c_i, c = c_(i+1) + v_(i+1), least
at v_i² = a c/w_(i+1). A class of matrices holds the chain for every u, which may therefore be read off the weights.
(Convolutions.) Output p of offset t reads the entry s p + d t - before, or padding; the unrolled matrix holds each
kernel entry once for each p at which that entry is inside, along both axes independently: the squared norm of a row is
the sum over offsets inside of sum_c K²; likewise its l1 norm. (Their spectral norm.) The s x s shifted and thinned
copies of a channel turn stride s into stride 1; zeros in the place of wrapping are a circular convolution on a map with
room for the kernel, with some rows and columns left out (``sedghi2019_convolution_norm``), and leaving out rows or
columns lowers no norm below what is kept. For any a and t, |C a + beta t|² + (r t)² is at most the same with |C||a| and
|beta||t|, so that [C, beta; 0, r] has at most the norm of the 2 x 2 matrix of norms. (Max pooling.) |max u - max v| <=
max |u - v| <= |u - v|_2 in each window, and disjoint windows add: 1-Lipschitz, 0 at 0, positive-homogeneous. (Average
pooling.) The rows of P have kh kw entries 1/(kh kw) on disjoint windows, so P P^T = I/(kh kw): P is Q/sqrt(kh kw) with
|Q| = 1, linear. Q may stand among the 1-Lipschitz maps, and the matrix behind it is [W/sqrt(kh kw), b], with as many
columns as W; or it belongs to the matrix: |w P|_2 = |w|_2/sqrt(kh kw), |w P|_1 = |w|_1 and |W P|_2 = |W|_2/sqrt(kh kw)
are the same norms. Behind an affine layer the rows of P W are means of rows of W, over disjoint sets: their sum,
largest and root of squares are not larger than those of W, nor is |P W|_2. (Rounding.) A sum of t products in floating
point is off by at most ((1 + u)^(t + 2) - 1) times the sum of the magnitudes; layer after layer the factors multiply,
and the magnitudes are the net of the |weights| at |x|: a margin is off by at most twice that. Products that underflow
lose at most 2^-1074 each; inputs and biases of that net are raised by 2^-900, so that every sum of magnitudes is at
least that, and such losses are less than u times it. (Small weights.) What is not 0 counts as at least 2^-400, lest its
square vanishes: Frobenius, (2,1) and l1 norms only grow.
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
from boundlab.nets.operator_chain import Operator, operator_chain, unit_carried
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
        old="shift=np.repeat(_sizes(name, bias), places).reshape(after[1:])",
        new="shift=0.0 * np.repeat(_sizes(name, bias), places).reshape(after[1:])",
    ),
    Mutation(
        file="nets/operator_chain.py",
        old="dilation * np.arange(kernel) - before",
        new="dilation * np.arange(kernel)",
    ),
    Mutation(
        file="nets/operator_chain.py",
        old="return math.sqrt(math.fsum(self._rows.ravel()) + self.unit**2) * self._up",
        new="return math.sqrt(math.fsum(self._rows.ravel())) * self._up",
    ),
    Mutation(
        file="nets/operator_chain.py",
        old="return self.energy + (self.shift / (self.read or 1.0)) ** 2",
        new="return self.energy + self.shift**2",
    ),
    Mutation(
        file="nets/operator_chain.py",
        old="return self.norm(self.read or 1.0, self.unit)",
        new="return self.norm(1.0, self.unit)",
    ),
    Mutation(
        file="nets/operator_chain.py",
        old="unit=after / u if u else 0.0",
        new="unit=after if u else 0.0",
    ),
    Mutation(
        file="nets/operator_chain.py",
        old="math.sqrt(above) * math.sqrt(below / weight)",
        new="math.sqrt(above) * math.sqrt(below)",
    ),
    Mutation(
        file="nets/operator_chain.py",
        old="[float(any(biases[i:])) for i",
        new="[float(any(biases[i:i])) for i",
    ),
    Mutation(file="nets/operator_chain.py", old="_FAINT = 2.0**-900", new="_FAINT = 0.0"),
    Mutation(
        file="nets/operator_chain.py",
        old="return np.where(found > 0.0, np.maximum(found, _SMALL), 0.0)",
        new="return found",
    ),
    Mutation(
        file="nets/operator_chain.py",
        old="part.weight = nn.Parameter(part.weight.abs(), requires_grad=False)",
        new="part.weight.requires_grad_(False)",
    ),
    Mutation(
        file="nets/operator_chain.py",
        old="if own := [key for key in vars(module) if callable(getattr(type(module), key, None))]:",
        new="if own := [key for key in () if callable(getattr(type(module), key, None))]:",
    ),
    Mutation(
        file="nets/operator_chain.py",
        old='not {"weight", "bias"} <= module._parameters.keys()',
        new='not {"bias"} <= module._parameters.keys()',
    ),
    Mutation(
        file="nets/operator_chain.py",
        old="shift = math.sqrt(places) * frobenius_norm(bias[:, None]) / read * _UP",
        new="shift = frobenius_norm(bias[:, None]) / read * _UP",
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
    require(op.shape == whole.shape, f"{name}: shape {whole.shape}")
    near = 1 + Fraction(1, 10**9)
    square = Fraction(int((whole**2).sum()))
    require(
        square <= Fraction(op.frobenius) ** 2 <= square * near, f"{name}: Frobenius² {op.frobenius**2}, not {square}"
    )
    rows = np.abs(whole[: op.outputs])
    require(np.array_equal(op.mass.ravel(), rows[:, :-1].sum(axis=1)), f"{name}: l1 norms of rows")
    require(np.array_equal(op.shift.ravel(), rows[:, -1]), f"{name}: biases")
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
    above, below, weight, v = sp.symbols("a c w v", positive=True)
    product = (above + v) * (weight + below / v)
    best = sp.sqrt(above * below / weight)
    require(
        sp.simplify(sp.diff(product, v).subs(v, best)) == 0, "v² = a c/w is stationary, and the product convex in ln v"
    )
    read, behind, own, shift = sp.symbols("r u W b", positive=True)
    carried = sp.Matrix([[own, shift / read], [0, behind / read]]) * sp.Matrix([a, read])
    require(sp.simplify(carried - sp.Matrix([own * a + shift, behind])) == sp.zeros(2, 1), "(W a + b, u)")
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
    underflow()
    units()
    conv = nn.Conv2d(2, 2, 2)
    require(refused(conv, nn.MaxPool2d(3, stride=2), nn.Flatten(), nn.Linear(4, 2)), "windows that overlap")
    require(refused(conv, nn.ReLU(), nn.AvgPool2d(2), nn.ReLU(), nn.Flatten()), "an average between two activations")
    activation, frozen = nn.ReLU(), nn.Linear(60, 3, bias=False)
    vars(activation)["forward"] = lambda x: x.relu() * 200.0
    require(refused(nn.Flatten(), activation, nn.Linear(60, 2)), "an activation with a forward of its own")
    weight = frozen._parameters.pop("weight")
    frozen.register_buffer("weight", weight)
    require(refused(nn.Flatten(), frozen, nn.ReLU(), nn.Linear(3, 2)), "a weight that is no parameter")
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
        "spectral": float(np.linalg.norm(whole, 2)),
    }
    for name, value in exactly.items():
        got = getattr(op, name)
        require(value * (1 - 1e-13) <= got <= value * (1 + 1e-9), f"{name} behind a pool: {got}, not {value}")
    mass = np.abs(whole[:, :-1]).sum(axis=1)
    require(np.allclose(op.mass, mass, rtol=1e-12), f"l1 norms behind a pool: {op.mass}, not {mass}")
    require(chain.width == 9, "the columns behind the pool, and the unit")
    slope = math.sqrt(6) * np.linalg.norm(matrix / 6, 2)
    require(abs(slope - 1) < 1e-12, f"sqrt(kh kw) P must be 1-Lipschitz, its norm is {slope}")


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


def pair(first: np.ndarray, second: np.ndarray) -> Network:
    return Network(
        layers=(
            Layer(weight=first, bias=np.zeros(len(first)), relu=True),
            Layer(weight=second, bias=np.zeros(len(second)), relu=False),
        )
    )


def underflow() -> None:
    """Weights whose products or squares vanish, or are rounded to a few bits: norms, paths and margins."""
    tiny, many = 1e-162, 100
    net = pair(np.eye(many) * tiny, np.vstack([np.full(many, 2.2 * tiny), np.zeros(many)]))
    paths, chain = Fraction(tiny) * Fraction(2.2 * tiny) * many, operator_chain(net)
    require(paths <= Fraction(chain.path_norm), f"the path norm {chain.path_norm} is below the sum of all paths")
    require(paths <= Fraction(chain.l1_norm), f"the l1 norm {chain.l1_norm} is below the sum of all paths")
    for op, square in zip(chain.balanced, (many * Fraction(tiny) ** 2, many * Fraction(2.2 * tiny) ** 2), strict=True):
        require(square <= Fraction(op.frobenius) ** 2, f"{op.name}: Frobenius norm {op.frobenius} below {square}^(1/2)")
        require(square <= Fraction(op.group) ** 2, f"{op.name}: (2,1) norm {op.group} below the Frobenius norm")
    # each of 100 products is rounded down to 0 in the first output, the only one of the second is rounded up
    wide = np.eye(many + 1) * tiny
    ends = np.zeros((2, many + 1))
    ends[0, :many], ends[1, many] = 2.4 * tiny, 5 * tiny
    net, x = pair(wide, ends), np.ones((1, many + 1))
    got, first = net(x)[0], Fraction(tiny) * Fraction(2.4 * tiny) * many
    exactly = Fraction(tiny) * Fraction(5 * tiny) - first
    error = abs(exactly - (Fraction(got[1]) - Fraction(got[0])))
    require(error > 0, "nothing was lost: nothing was tested")
    require(error <= Fraction(operator_chain(net).rounding(x)), f"a margin of {float(got[1] - got[0])} is off by more")


def units() -> None:
    """Norms with the unit that was chosen against those of the matrices, and its product against that of others."""
    rng = np.random.default_rng(6)
    for _ in range(10):
        shapes, last = ((5, 4), (3, 5), (4, 3), (2, 4)), 3
        scale = np.ldexp(1.0, rng.integers(-6, 7, size=4))
        layers = [
            Layer(weight=t * rng.normal(size=s), bias=t * rng.normal(size=s[0]), relu=k < last)
            for k, (s, t) in enumerate(zip(shapes, scale, strict=True))
        ]
        net, x = Network(layers=tuple(layers)), rng.normal(size=(6, 4))
        chain = operator_chain(net)
        square = [(float((w.weight**2).sum()), float((w.bias**2).sum())) for w in layers]
        found = [1.0, *unit_carried([w for w, _ in square], [c for _, c in square]), 0.0]

        def product(u: list[float], square: list[tuple[float, float]] = square) -> float:
            return math.prod(math.sqrt(w + c / u[k] ** 2 + (u[k + 1] / u[k]) ** 2) for k, (w, c) in enumerate(square))

        read = np.column_stack([x, np.ones(6)])
        for k, (w, op) in enumerate(zip(layers, chain.balanced, strict=True)):
            whole = augmented(w.weight, w.bias / found[k], last=k == last)
            if k < last:
                whole[-1, -1] = found[k + 1] / found[k]
            read = np.maximum(read @ whole.T, 0.0) if k < last else read @ whole.T
            for name, value in (
                ("frobenius", np.linalg.norm(whole)),
                ("group", np.linalg.norm(whole, axis=1).sum()),
                ("spectral", np.linalg.norm(whole, 2)),
            ):
                got = getattr(op, name)
                require(value * (1 - 1e-13) <= got <= value * (1 + 1e-9), f"{name} with its unit: {got}, not {value}")
        require(np.allclose(read, net(x), rtol=1e-9, atol=1e-12 * np.abs(read).max()), "the chain is another function")
        others = [
            [1.0, *(u * v for u, v in zip(found[1:-1], move, strict=True)), 0.0]
            for move in 1 + rng.normal(size=(50, 3)) / 5
        ]
        for other in ([1.0, 1.0, 1.0, 1.0, 0.0], *others):
            if min(other[:-1]) > 0:
                require(product(found) <= product(other) * (1 + 1e-12), f"units {other} have a smaller product")
    free = operator_chain(pair(np.diag([3.0, 4.0]), np.array([[1.0, 2.0], [2.0, 0.0]])))
    for op, value in zip(free.balanced, (5.0, 3.0), strict=True):
        require(value <= op.frobenius <= value * (1 + 1e-9), f"without biases {op.frobenius}, not {value}")
    conv = convolutional((3, 3), 1, 1, 1, 1, 3)
    chain = operator_chain(ModuleNet(conv, np.zeros((1, *MAP))))
    one, own = chain.operators[0], chain.balanced[0]
    ratio = (own.frobenius**2 - own.unit**2) / (one.frobenius**2 - 1)
    require(abs(ratio - 1) < 1e-9 and own.spectral > 0, "the first layer reads the unit 1, whatever stands behind it")


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
