"""The norm of a convolution is the largest over frequencies; the flattened kernel's norm is smaller, and no bound.

Proof. A circular convolution commutes with shifts, so that the Fourier transform makes it block diagonal: one matrix
(out, in) per frequency, K_hat(f) = sum over offsets t of K_t e^(-2 pi i f.t); its norm is the largest of theirs. At the
flattened kernel F = [K_t]: an image that vanishes outside one window gives there F times the patch, and only more
elsewhere, hence |F| <= |conv|; and K_hat(f) = F (e^(-2 pi i f.t) I)_t, the second factor of norm sqrt(kh kw), hence
|conv| <= sqrt(kh kw) |F|. Both ends are attained: one offset only, and K = all ones of one channel. With zero padding
in the place of wrapping around, embed the image into a map larger by kh - 1 and kw - 1: nothing wraps onto it, so that
the norm is at most that of the circular convolution there.
"""

from __future__ import annotations

import math

import numpy as np
import sympy as sp

from boundlab._errors import InvalidParameter
from boundlab.nets.norms import convolution_norm, flattened_kernel_norm
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage

THEOREM = Theorem(
    name="The flattened kernel's norm as the norm of a convolution",
    source="the operator norm: Sedghi, Gupta and Long (2019), arXiv:1805.10408, as we understand the paper; the "
    "flattened norm: released code of several works on norm-based bounds",
    given=("a convolution of stride 1", "the spectral norm of the kernel as a matrix (out, in kh kw) used as its norm"),
    claim=r"\|K * x\|_2 \le \|K_{\rm flat}\|_2\,\|x\|_2",
    status="refuted",
    finding="a 3 x 3 kernel of ones has flattened norm 3 and operator norm 9: short by up to sqrt(kh kw)",
    ours="sedghi2019_convolution_norm",
)

MUTATIONS = (
    Mutation(
        file="nets/norms.py",
        old="np.linalg.norm(frequencies, 2, axis=(-2, -1)).max()",
        new="np.linalg.norm(frequencies, 2, axis=(-2, -1)).mean()",
    ),
    Mutation(
        file="nets/norms.py", old="np.fft.fft2(k, (height, width))", new="np.fft.fft2(k, (height, width), norm='ortho')"
    ),
    Mutation(file="nets/norms.py", old="axis=(-2, -1)).max()), exponent)", new="axis=(-2, -1))[0, 0]), exponent)"),
    Mutation(
        file="nets/norms.py",
        old="axis=(-2, -1)).max()), exponent)",
        new="axis=(-2, -1)).max()) * (1.0 - 2e-12), exponent)",
    ),
    Mutation(
        file="nets/norms.py",
        old="if k.shape[2] > height or k.shape[3] > width:",
        new="if k.shape[2] > height and k.shape[3] > width:",
    ),
)


def circulant(kernel: np.ndarray, height: int, width: int) -> np.ndarray:
    """The matrix of the circular convolution, entry by entry."""
    out, inside, kh, kw = kernel.shape
    matrix = np.zeros((out * height * width, inside * height * width))
    for o in range(out):
        for c in range(inside):
            for y in range(height):
                for x in range(width):
                    for a in range(kh):
                        for b in range(kw):
                            row = (o * height + y) * width + x
                            column = (c * height + (y + a) % height) * width + (x + b) % width
                            matrix[row, column] += kernel[o, c, a, b]
    return matrix


def symbolic() -> str:
    # |(e^(i phi_t) I)_t| = sqrt(number of offsets): the Gram matrix is sum of e^(i phi) e^(-i phi) = kh kw
    phi = sp.symbols("phi1:10", real=True)
    gram = [sp.simplify(sp.exp(sp.I * p) * sp.exp(-sp.I * p)) for p in phi]
    require(gram == [1] * 9, "nine offsets: the second factor has norm 3")
    n, t, f = sp.symbols("n t f", integer=True, positive=True)
    shift = sp.exp(-2 * sp.pi * sp.I * f * (t + 1) / n) / sp.exp(-2 * sp.pi * sp.I * f * t / n)
    require(sp.simplify(shift - sp.exp(-2 * sp.pi * sp.I * f / n)) == 0, "a shift multiplies a wave by a constant")
    k, root = sp.symbols("k0:3", real=True), sp.exp(2 * sp.pi * sp.I / 3)  # three places: every wave, all kernels
    circular = sp.Matrix(3, 3, lambda y, x: k[(x - y) % 3])
    for wave in range(3):
        value = sum(k[a] * root ** (wave * a) for a in range(3))
        image = sp.Matrix([root ** (wave * y) for y in range(3)])
        rest = (circular * image - value * image).applyfunc(lambda v: sp.simplify(sp.expand(v, complex=True)))
        require(rest == sp.zeros(3, 1), f"wave {wave} must be an eigenvector")
    return "waves are eigenvectors of shifts; |K_hat| <= |F| sqrt(kh kw) since sum e^(i phi) e^(-i phi) = kh kw"


def exact() -> str:
    ones = np.ones((1, 1, 3, 3))
    require(9 <= convolution_norm(ones, 5, 5) < 9 + 1e-9 and abs(flattened_kernel_norm(ones) - 3) < 1e-12, "9 and 3")
    flat_image = np.full((5, 5), 1.0)
    moved = circulant(ones, 5, 5) @ flat_image.ravel()
    require(np.array_equal(moved, np.full(25, 9.0)), "the constant image is multiplied by 9, in whole numbers")
    point = np.zeros((2, 3, 2, 2))
    point[:, :, 0, 0] = [[1, 2, 0], [0, 1, 1]]
    require(abs(convolution_norm(point, 4, 4) - flattened_kernel_norm(point)) < 1e-9, "one offset: both agree")
    rng, worst = np.random.default_rng(7), 1.0
    for shape, size in (((2, 3, 2, 3), (4, 5)), ((1, 2, 3, 3), (3, 3)), ((3, 1, 1, 2), (2, 4))):
        kernel = rng.integers(-3, 4, size=shape).astype(float)
        want = float(np.linalg.norm(circulant(kernel, *size), 2))
        got, flat = convolution_norm(kernel, *size), flattened_kernel_norm(kernel)
        require(want * (1 - 1e-12) <= got <= want * (1 + 1e-9), f"{shape}: {got} against the matrix {want}")
        require(
            flat <= got * (1 + 1e-9) and got <= math.sqrt(shape[2] * shape[3]) * flat * (1 + 1e-9), "between the two"
        )
        worst = max(worst, got / flat)
        kh, kw = shape[2:]
        larger = circulant(kernel, size[0] + kh - 1, size[1] + kw - 1)
        inside = np.zeros((size[0] + kh - 1, size[1] + kw - 1), bool)
        inside[: size[0], : size[1]] = True
        padded = larger[:, np.tile(inside.ravel(), shape[1])]  # images that are 0 outside of the map
        roof = convolution_norm(kernel, size[0] + kh - 1, size[1] + kw - 1)
        require(float(np.linalg.norm(padded, 2)) <= roof, f"{shape}: zero padding above {roof}")
    wave = np.array([[[[1.0, -1.0]]]])  # x_y - x_(y+1): norm 2 at the fastest wave, 0 at the constant one
    require(2 <= convolution_norm(wave, 1, 4) < 2 + 1e-9, "the largest frequency need not be 0")
    try:
        convolution_norm(np.ones((1, 1, 1, 3)), 4, 2)
        require(False, "a kernel wider than the map must be refused")
    except InvalidParameter:
        pass
    return f"ones: operator 9, flattened 3; three kernels equal their matrices; operator/flattened up to {worst:.2f}"


def beyond(norm, factor: float = 1.0):
    """Random 3 x 3 kernels, the worst image found by ten power steps: is |K x| above the claimed norm?"""

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        out = np.empty(n, bool)
        for i in range(n):
            kernel = np.abs(rng.normal(size=(2, 2, 3, 3)))
            matrix = circulant(kernel, 4, 4)
            x = np.ones(matrix.shape[1])
            for _ in range(10):
                x = matrix.T @ (matrix @ x)
                x /= np.linalg.norm(x)
            out[i] = np.linalg.norm(matrix @ x) > norm(kernel) / factor
        return out

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    flat = judge(beyond(flattened_kernel_norm), delta=0.5, trials=60 * effort, name="flattened norm", expect="violated")
    judge(beyond(lambda k: convolution_norm(k, 4, 4)), delta=0.1, trials=80 * effort, name="operator norm")
    return Evidence(text=f"flattened norm exceeded: {flat.text}; the operator norm never", trials=140 * effort)


def teeth() -> Evidence:
    kernel = np.abs(np.random.default_rng(1).normal(size=(2, 2, 3, 3)))
    top = float(np.linalg.norm(circulant(kernel, 4, 4), 2))
    slack = smallest_sabotage(lambda factor: convolution_norm(kernel, 4, 4) / factor < top)
    return Evidence(text=f"the operator norm divided by {slack:g} is exceeded", slack=slack)
