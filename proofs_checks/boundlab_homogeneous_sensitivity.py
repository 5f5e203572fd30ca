"""Without any ball: sampled ReLU neurons err by at most eps times the sum of om |<q, x>|, at EVERY x of the space.

Statement. ReLU neurons p (a bias is one of the d inputs), om(p) = max_j |w_j(p)|, F(x) = sum_q om(q) |<q, x>|,
s(p) >= sup_x om(p) |<p, x>|/F(x), t = sum s, pr = s/t, m independent draws. With probability at least 1 - delta, for
all k outputs j and all x:
 (a) if w >= 0: |f_j(x) - fhat_j(x)| <= eps F(x) for m of `boundlab_layer_cake` (m >= (4(1 + eps) t/eps²)((d+1)
     ln(2em/(d+1)) + ln(8k/delta))). Weights of both signs: twice the outputs, 2 eps.
 (b) if s comes from l1 Lewis weights (`cohen2015_lewis_weights`), so that t is the rank r: for all signs
     |f_j(x) - fhat_j(x)| <= F(x) (t/sqrt(m)) (1.5 kap_j + c0 sqrt(ln(2k/delta)/2)), kap_j² = sum pr (w_j/om)² <= 1:
     m = (r/eps)² (1.5 + c0 sqrt(ln(2k/delta)/2))² draws, free of the number of neurons and of d ln m.

Proof of (a). Fix x with F(x) > 0. h(q) = w_j(q) ReLU(<q, x>)/(s(q) F(x)) is in [0, 1], since w_j ReLU <= om |<q, x>| <=
s F. f_j = t F E h and fhat_j = t F P_m h. {h > r} is a half-space in the coordinates w_j q/s, as before, with
VC-dimension at most d + 1, for all x at once. The proof of `boundlab_layer_cake` gives
|f_j - fhat_j|/F <= eps max(1, f_j/F) = eps, as f_j <= F. Where F(x) = 0 both are 0.
Proof of (b). Let M = sum a a^T/tau over the rows a = om q, sigma, and c = max sigma/tau as in
`cohen2015_lewis_weights`: s = c sigma. Put y = M^(1/2) x and u = M^(-1/2) a/sigma, unit vectors. Then f_j = sum of
sigma a_j ReLU(<u, y>), a_j = w_j/om, and pr = sigma/sum sigma: the sensitivities of the ball |y| <= 1, where
`boundlab_relu_uniform` gives (sum sigma/sqrt(m)) (1.5 kap_j + ...) |y|. And |y| <= c F(x), as shown with the Lewis
weights; c sum sigma = t.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab.concentration.binomial import log_sf
from boundlab.coresets.absolute_sensitivity import lewis_sensitivities
from boundlab.coresets.alias import draw_counts
from boundlab.coresets.layer_cake import layer_cake_error, layer_cake_size, relative_deviation
from boundlab.coresets.uniform_error import relu_error, relu_size
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.boundlab_fixed_inputs import TINY, multinomial
from proofs_checks.cohen2015_lewis_weights import Point, integer_points, shares
from proofs_checks.judging import judge, smallest_sabotage, violated

THEOREM = Theorem(
    name="Sampled ReLU neurons at every input of the space",
    source="ours; from the layer cake, and from Lewis weights with the dimension-free bound",
    given=("ReLU; the bias is one of the d inputs", "s(p) >= sup_x om |<p, x>|/F(x); Lewis weights for (b)"),
    claim=r"\forall x\in\mathbb R^d: |f_j-\hat f_j| \le \epsilon\sum_q\omega(q)|\langle q,x\rangle|\ \mathrm{from}\ "
    r"m = \frac{r^2}{\epsilon^2}\Big(1.5 + c_0\sqrt{\ln(2k/\delta)/2}\Big)^2",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="coresets/absolute_sensitivity.py",
        old="s[moving] = sigma * float((sigma / tau).max()) * (1.0 + ROUNDING)",
        new="s[moving] = sigma**2 * float((sigma / tau).max()) * (1.0 + ROUNDING)",
    ),
    Mutation(
        file="coresets/uniform_error.py",
        old="_up(total * _width(c0) * math.sqrt(",
        new="_up(total * 0.5 * math.sqrt(",
    ),
)


def corners(points: np.ndarray) -> np.ndarray:
    """Inputs in 3 dimensions among which D/F has its extremes: those orthogonal to two points, both ways.

    On a cone between the planes of switches D and F are linear, and a ratio of linear functions is largest on a ray.
    """
    first, second = np.triu_indices(len(points), 1)
    x = np.cross(points[first], points[second])
    return np.vstack([x, -x])


def misses(share: float):
    """A trial: at the worst input of all an output errs by more than `share` of the bound times F; 24 rows, rank 3."""
    fixed, m, delta = np.random.default_rng(170), 60, 0.2
    p, w = fixed.standard_t(2, (24, 3)), fixed.standard_normal((3, 24))
    om = np.abs(w).max(axis=0)
    s = lewis_sensitivities(p * om[:, None])
    q = s / s.sum()
    kap = np.sqrt(((w / om) ** 2) @ q)
    bound = share * relu_error(float(s.sum()), kap, m, delta)
    x = corners(p)
    values = np.maximum(p @ x.T, 0.0)
    values = values / (om @ np.abs(p @ x.T))

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        indptr = np.arange(n + 1, dtype=np.int64) * 24
        counts = draw_counts(np.tile(q, n), indptr, np.full(n, m), rng).reshape(n, 1, 24)
        return np.any(np.abs((w * (1.0 - counts / (m * q))) @ values).max(axis=2) > bound, axis=1)

    return trial


def positive_misses(factor: float):
    """A trial: at the worst input the error of positive weights exceeds eps F after m/factor draws; the same rows."""
    fixed, eps, delta = np.random.default_rng(171), 0.5, 0.2
    p, w = fixed.standard_t(2, (24, 3)), np.abs(fixed.standard_normal(24))
    s = lewis_sensitivities(p * w[:, None])
    q = s / s.sum()
    m = math.ceil(layer_cake_size(float(s.sum()), eps, delta, dimension=3) / factor)
    x = corners(p)
    values = np.maximum(p @ x.T, 0.0) / (w @ np.abs(p @ x.T))

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        indptr = np.arange(n + 1, dtype=np.int64) * 24
        counts = draw_counts(np.tile(q, n), indptr, np.full(n, m), rng).reshape(n, 24)
        return np.any(np.abs((w * (1.0 - counts / (m * q))) @ values) > eps, axis=1)

    return trial


def worst_share(points: list[Point], c: list[Fraction], weights: list[int]) -> Fraction:
    """The exact sup over x of |D(x)|/F(x) in the plane: at some x orthogonal to a point, or along it."""
    worst = Fraction(0)
    for x in [t for q in points for t in ((-q[1], q[0]), (q[1], -q[0]), q, (-q[0], -q[1]))]:
        values = [p[0] * x[0] + p[1] * x[1] for p in points]
        total = sum(abs(w) * abs(v) for w, v in zip(weights, values, strict=True))
        if total:
            d = sum((a * max(0, v) for a, v in zip(c, values, strict=True)), Fraction(0))
            worst = max(worst, abs(d) / total)
    return worst


def line_fails(share: float) -> bool:
    """Whether an exact tail refutes `share` of (b) at delta = 1e-200: weights ±1 on a line, 10^6 draws."""
    m = 1_000_000
    s = lewis_sensitivities(np.array([[1.0], [1.0]]))
    error = share * float(relu_error(float(s.sum()), 1.0, m, TINY)[0])
    return log_sf(math.floor(m * (1 + error) / 2) + 1, m, 0.5)[0] + math.log(2) > math.log(TINY)


def symbolic() -> str:
    om, size, s, total = sp.symbols("omega v s F", positive=True)
    require(sp.simplify(om * size / (s * total)).subs(om * size, s * total) == 1, "h <= 1 where om |<q, x>| <= s F")
    sigma, c = sp.symbols("sigma c", positive=True)
    require(sp.simplify(sigma * c / (c * sigma) - 1) == 0, "s = c sigma leaves pr as it is")
    r, e, log_, c0 = sp.symbols("r epsilon L c_0", positive=True)
    unit = sp.Rational(3, 2) + c0 * sp.sqrt(log_ / 2)
    require(sp.simplify(r / sp.sqrt((r / e) ** 2 * unit**2) * unit - e) == 0, "m of (b) must give eps")
    a = sp.Symbol("a", positive=True)
    root = a * (a + sp.sqrt(a**2 + 4)) / 2  # layer cake at value 1
    require(sp.simplify(sp.expand(root**2 - a**2 * (1 + root))) == 0, "E = a sqrt(1 + E)")
    require(sp.simplify(e**2 - e**2 / (1 + e) * (1 + e)) == 0, "E = eps solves it at a² = eps²/(1 + eps)")
    return "s = c sigma keeps pr; E = a sqrt(1 + E) is eps at a² = eps²/(1 + eps); (r/eps)² (1.5 + ...)² gives eps"


def exact() -> str:
    sets, nearest, tails = 16, Fraction(0), 0
    for k in range(sets):
        rng = np.random.default_rng([172, k])
        points = integer_points(rng)[:4]
        weights = [int(v) for v in rng.choice([1, 2, 3] if k % 2 else [-2, -1, 1, 2], len(points))]
        rows = [(abs(w) * p[0], abs(w) * p[1]) for w, p in zip(weights, points, strict=True)]
        shipped = lewis_sensitivities(np.array(rows, float))
        true = shares(rows)
        require(all(Fraction(float(g)) >= v for g, v in zip(shipped, true, strict=True)), "s below the exact share")
        s = [Fraction(float(g)) for g in shipped]
        q = [v / sum(s) for v in s]
        c0, m = 2.0 - k % 2, 3
        for delta in (0.9, 0.5):
            bound = Fraction(float(relu_error(float(sum(s)), 1.0, m, delta, c0=c0)[0]))
            far = Fraction(0)
            for p, counts in multinomial(q, m):
                c = [w - w * n / (m * v) for w, n, v in zip(weights, counts, q, strict=True)]
                far += p * (worst_share(points, c, weights) > bound)
            require(far <= Fraction(delta), f"exact failure {far} at delta = {delta}: {points}, {weights}")
            tails += 1
        if k % 2:
            nearest = max(nearest, cake(points, weights, s, q))
    require(not line_fails(1.0), "an exact tail exceeds delta")
    for t, eps in ((3.0, 0.5), (10.0, 0.1)):
        m = layer_cake_size(t, eps, 0.1, dimension=5)
        require(0.9 * eps < float(layer_cake_error(1.0, t, m, 0.1, dimension=5)) <= eps * (1 + 1e-9), "m must give eps")
        require(relative_deviation(m, 0.1, vc=6) ** 2 * t <= eps**2 / (1 + eps) * (1 + 1e-9), "a² at m")
    free, dependent = relu_size(10.0, 0.5, 0.01), layer_cake_size(10.0, 0.5, 0.01, dimension=10)
    require(free < dependent, f"at rank 10 the bound from Lewis weights must need fewer draws: {free}, {dependent}")
    return (
        f"{sets} sets of whole rows, {tails} exact tails at the worst input of the plane; layer cake in units of F up "
        f"to {float(nearest):.3f} of its own bound; rank 10, eps = 1/2: m = {free:.0f} against {dependent:.0f}"
    )


def cake(points: list[Point], weights: list[int], s: list[Fraction], q: list[Fraction]) -> Fraction:
    """Check |f - fhat|² <= eta² t F max(f, fhat), eta of the outcome itself, for all draws; the largest ratio."""
    nearest, t = Fraction(0), sum(s, Fraction(0))
    for x, (_, counts) in itertools.product([(1, 2), (-2, 1), (3, -1), (-1, -3)], multinomial(q, 3)):
        active = [max(0, p[0] * x[0] + p[1] * x[1]) for p in points]
        total = sum(w * abs(p[0] * x[0] + p[1] * x[1]) for w, p in zip(weights, points, strict=True))
        if not total:
            continue
        h = [Fraction(w * z) / (v * total) for w, z, v in zip(weights, active, s, strict=True)]
        require(max(h) <= 1, "h must be at most 1")
        laws = (q, [Fraction(n, 3) for n in counts])
        f, fhat = (t * total * sum((a * b for a, b in zip(law, h, strict=True)), Fraction(0)) for law in laws)
        for (big, first), (small, second) in (((f, 0), (fhat, 1)), ((fhat, 1), (f, 0))):
            pairs = [
                tuple(sum((a for a, b in zip(laws[i], h, strict=True) if b > r), Fraction(0)) for i in (first, second))
                for r in {Fraction(0), *h}
            ]
            square = max(((a - b) ** 2 / a for a, b in pairs if a > b), default=Fraction(0))
            require(big <= small or (big - small) ** 2 <= square * t * total * big, "the layer cake fails")
            if big > small:
                nearest = max(nearest, (big - small) ** 2 / (square * t * total * big))
    return nearest


def monte_carlo(effort: int = 1) -> Evidence:
    runs = [
        judge(misses(1.0), delta=0.2, trials=200 * effort, name="rank 3, Lewis weights, both signs", block=100),
        judge(positive_misses(1.0), delta=0.2, trials=200 * effort, name="rank 3, positive weights", block=100),
    ]
    return Evidence(text="; ".join(run.text for run in runs), trials=sum(run.trials for run in runs))


def teeth() -> Evidence:
    slack = smallest_sabotage(lambda factor: line_fails(1 / factor))
    require(violated(misses(0.1), delta=0.2, trials=200, name="a tenth"), "a tenth of the bound must be caught")
    require(violated(positive_misses(500), delta=0.2, trials=200, name="m/500"), "m/500 must be caught")
    text = f"refuted: (b) divided by {slack:g} (exact, delta = {TINY:g}) and by 10 (rank 3); m of (a) divided by 500"
    return Evidence(text=text, slack=slack)
