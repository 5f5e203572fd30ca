"""A Cholesky factorisation that runs to its end certifies an upper bound on a spectral norm, in floating point.

Proof. A has m rows and k >= m columns, u = 2^-53. The computed product G is off by at most k u/(1 - k u) |A||A^T|
entrywise, in norm at most k u/(1 - k u) |A|_F² <= k m u/(1 - k u) |A|². T = c I - G is rounded on its diagonal alone,
by at most u c. If the factorisation of T runs to its end, R^T R = T + D with |D| <= g |R^T||R|, g = (m + 1)u/(1 -
(m + 1)u) (Higham, Accuracy and stability of numerical algorithms, Theorem 10.3, cited and not proved here); so |D| <=
g |R|_F² and |R|_F² = tr(T + D) <= m c (1 + u) + g |R|_F². R^T R is positive semidefinite, so that
c I - A A^T is at least -(|D| + u c + k m u/(1 - k u) |A|²) I, that is
|A|² (1 - a) <= c (1 + b), a = k m u/(1 - k u), b = u + m (1 + u) g/(1 - g). With s = (m + 1)(k + m + 2) u <= 1/100 the
quotients by 1 - k u and 1 - g cost less than 3 %: a + b <= 1.03 (k m + m (m + 1) + 1) u <= 1.03 s, and
(1 + b)/(1 - a) <= 1 + 2 s.
Dividing by a power of two first brings the largest entry to [1/2, 1), so that c >= 1/4 and nothing overflows. It is
exact but for entries below 2^-1022, which it and their products move by less than 2^-1074 each: far less than what the
last factor, 1 + 10^-12, has to spare. Multiplying back is exact, or rounds among the subnormal numbers by less than the
one step that is added; a norm beyond 2^1024 is called infinite.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab.nets.norms import exceeds, frobenius_norm, group_norm, spectral_norm
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage
from proofs_checks.proving import prove, reals

THEOREM = Theorem(
    name="A certified upper bound on a spectral norm",
    source="after Rump, 'Verification of positive definiteness' (2006), as we understand the paper; Higham, 'Accuracy "
    "and stability of numerical algorithms', Theorem 10.3; constants ours",
    given=("(m + 1)(k + m + 2) u <= 1/100", "products summed in any order, without fast matrix multiplication"),
    claim=r"\text{Cholesky of } cI - AA^T \text{ succeeds} \Rightarrow \|A\|_2^2 \le c\,(1 + 2(m+1)(k+m+2)u)",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="nets/norms.py",
        old="square = float(np.linalg.eigvalsh(gram)[-1]) * (1.0 + slack)",
        new="square = 1.1 * float(np.linalg.eigvalsh(gram)[-1])",
    ),
    Mutation(
        file="nets/norms.py",
        old="return raised(math.sqrt(square * (1.0 + slack)), exponent)",
        new="return math.ldexp(math.sqrt(square), exponent) * (1.0 - 2.0 * slack)",
    ),
    Mutation(file="nets/norms.py", old="a = a if a.shape[0] <= a.shape[1] else a.T", new="a = a[: a.shape[1]]"),
    Mutation(
        file="nets/norms.py",
        old="difference[np.diag_indices_from(gram)] += square",
        new="difference[np.diag_indices_from(gram)] += 1.01 * square",
    ),
    Mutation(file="nets/norms.py", old="difference = -gram", new="difference = -0.99 * gram"),
    Mutation(file="nets/norms.py", old="np.linalg.cholesky(difference)", new="np.linalg.cholesky(difference + gram)"),
    Mutation(
        file="nets/norms.py",
        old="return np.ldexp(a, -exponent), exponent",
        new="return a, 0",
    ),
    Mutation(file="nets/norms.py", old="return math.nextafter(found, math.inf)", new="return found"),
    Mutation(file="nets/norms.py", old="return math.inf", new="return 0.0"),
)


def above(matrix: np.ndarray, claimed: float) -> bool:
    """Whether claimed² I - A A^T is positive definite, by elimination in fractions: claimed > |A|."""
    rows = [[Fraction(int(v)) for v in row] for row in matrix.tolist()]
    square = Fraction(claimed) ** 2
    m = len(rows)
    left = [
        [square * (i == j) - sum((a * b for a, b in zip(rows[i], rows[j], strict=True)), Fraction(0)) for j in range(m)]
        for i in range(m)
    ]
    for k in range(m):
        if left[k][k] <= 0:
            return False
        for i in range(k + 1, m):
            factor = left[i][k] / left[k][k]
            for j in range(k, m):
                left[i][j] -= factor * left[k][j]
    return True


def symbolic() -> str:
    k, m = sp.symbols("k m", integer=True, positive=True)
    spare = sp.expand((m + 1) * (k + m + 2) - (k * m + m * (m + 1) + 1))
    require(sp.expand(spare - (k + 2 * m + 1)) == 0, "the allowance holds the leading terms, with k + 2 m + 1 to spare")
    a, b, s = reals("a b s")
    prove(1 + b <= (1 + 2 * s) * (1 - a), a >= 0, b >= 0, s <= 0.01, a + b <= 1.03 * s)
    t = reals("t")[0]
    prove(1.03 * (1 - t) >= 1, t >= 0, t <= 0.005)  # k u and (m + 1) u are at most s/(m + 1) <= 1/200
    prove(1.006 * (1 - t) >= 1, t >= 0, t <= 0.005)  # twice for g/(1 - g) (1 + u)
    require(1.006**2 <= 1.03, "both together")
    return "(m + 1)(k + m + 2) holds k m + m (m + 1) + 1; z3: (1 + b)/(1 - a) <= 1 + 2 s"


def exact() -> str:
    rng, most = np.random.default_rng(3), 0.0
    for trial in range(60):
        shape = (int(rng.integers(1, 6)), int(rng.integers(1, 6)))
        matrix = rng.integers(-9, 10, size=shape) * (1 if trial % 3 else rng.integers(0, 2, size=shape))
        if not matrix.any():
            matrix[0, 0] = 1
        claimed = spectral_norm(matrix.astype(float))
        require(above(matrix, claimed), f"{matrix.tolist()}: {claimed} is not above the norm")
        require(not above(matrix, claimed * (1 - 1e-10)), f"{matrix.tolist()}: {claimed} is far above the norm")
        gram, square = (matrix @ matrix.T).astype(float), claimed**2
        require(exceeds(square, gram), f"{matrix.tolist()}: {square} is above")
        require(not exceeds(square * (1 - 1e-3), gram), f"{matrix.tolist()}: {square} (1 - 1/1000) is not above")
        most = max(most, claimed / float(np.linalg.norm(matrix, 2)) - 1)
    require(spectral_norm(np.zeros((2, 3))) == 0.0, "the norm of 0")
    one = np.outer(np.ones(200), np.ones(300))  # norm sqrt 60000, all other singular values 0
    require(60_000 <= Fraction(spectral_norm(one)) ** 2 <= 60_000 * (1 + Fraction(1, 10**9)), "a matrix of rank one")
    for scale in (-1_000, 1_000):  # squares of the entries would be 0 or infinite
        value = spectral_norm(np.ldexp(np.eye(3), scale))
        require(Fraction(2) ** scale < Fraction(value) < Fraction(2) ** scale * Fraction(11, 10), "no overflow")
    for entries in ([1, 1], [1, 2, 2], [3, 5], [7, 1, 1]):  # times 2^-1074: what is not whole must be rounded up
        for norm in (spectral_norm, frobenius_norm, group_norm):
            value = Fraction(norm(np.ldexp([entries], -1074).astype(float))) * 2**1074
            require(sum(v * v for v in entries) <= value**2 <= (sum(entries) + 2) ** 2, f"{norm.__name__}: {value}")
    for norm in (spectral_norm, frobenius_norm, group_norm):
        tiny = Fraction(norm(np.full((3, 3), 1e-170))) / Fraction(1e-170)  # 3, 3 and 3 sqrt 3
        require(9 <= tiny**2 <= 28, f"{norm.__name__} of entries whose squares vanish: {float(tiny)}")
        require(norm(np.full((2, 2), 1.7e308)) == np.inf, f"{norm.__name__}: too large for a float")
    return f"60 matrices of whole numbers certified in fractions, at most {most:.1e} above the norm"


def beyond(factor: float):
    """Random matrices and the best of 30 power steps: is |A v|/|v| above the claimed norm?"""

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        out = np.empty(n, bool)
        for i in range(n):
            a = rng.normal(size=(8, 12))
            v = rng.normal(size=12)
            for _ in range(30):
                v = a.T @ (a @ v)
                v /= np.linalg.norm(v)
            out[i] = np.linalg.norm(a @ v) > spectral_norm(a) / factor
        return out

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    return judge(beyond(1.0), delta=0.01, trials=1_000 * effort, name="power steps")


def teeth() -> Evidence:
    matrix = np.array([[1, 2], [3, 4]])
    slack = smallest_sabotage(lambda factor: not above(matrix, spectral_norm(matrix.astype(float)) / factor))
    return Evidence(text=f"the norm divided by {slack:g} is refuted in fractions", slack=slack)
