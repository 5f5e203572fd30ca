"""The norm of a convolution is the largest over frequencies; the flattened kernel's norm is smaller, and no bound.

Proof. A circular convolution commutes with shifts, so that the Fourier transform makes it block diagonal: one matrix
(out, in) per frequency, K_hat(f) = sum over offsets t of K_t e^(-2 pi i f.t); its norm is the largest of theirs. At the
flattened kernel F = [K_t]: on one patch the convolution acts as F, hence |F| <= |conv| (a unit patch whose windows do
not overlap), and K_hat(f) = F (e^(-2 pi i f.t) I)_t, the second factor of norm sqrt(kh kw), hence
|conv| <= sqrt(kh kw) |F|. Both ends are attained: one offset only, and K = all ones of one channel.
"""

from __future__ import annotations

import math

import numpy as np
import sympy as sp

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
