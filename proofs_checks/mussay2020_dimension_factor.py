"""For ReLU the factor d of the published size is not needed: the fan-in can grow without end at the same error.

Corrected: "m >= (c t/eps^2)(d ln t + ln(1/delta))" grows with the VC-dimension d, about the fan-in. An additive error
takes (t/eps)^2 times a constant and ln(2k/delta), with no d, n or VC-dimension in it.

Proof. (Padding) Append coordinates that no neuron reads. Every p.x, S(p), pr, t and the law of fhat stay the same, and
the supremum of |f - fhat| over the ball too, since the new coordinates only shorten the others. The published m grows
by (d' ln t + L)/(d ln t + L), L = ln(1/delta), without end.
(Orthonormal neurons, where d is used in full.) p_i = e_i, i = 1..n, in R^n, beta = 1, t = sum |w_i|. With v = w - u,
sup over the ball of +-D(x) = +-sum v_i ReLU(x_i) is |v_+|_2 and |v_-|_2, attained along v_+ and v_-: computable in any
dimension. E |v|^2 = sum of the variances of the u_i = (t^2/m)(1 - sum pr^2) <= t^2/m, whatever n is. The dimension-free
bound and its proof stand in the file named below; here its size is compared in 1000 dimensions, where the published
size is larger at c = 1, and its error is judged.

The price is t^2 in the place of t, which an additive error needs anyway. Both sizes are vacuous on a real layer: for a
64-32-10 net trained on scikit-learn's digits, and an eps as large as the largest output, the published size with c = 1
and ours both exceed the number of neurons, and at a tenth of that eps by factors above 1000.
"""

from __future__ import annotations

import math
import warnings
from fractions import Fraction

import numpy as np
import sympy as sp
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

from boundlab.coresets.activations import RELU
from boundlab.coresets.neuron_cleanup import append_bias
from boundlab.coresets.neuron_sampling import NeuronPlan, neuron_plan, published_size, reweight
from boundlab.coresets.uniform_error import relu_error, relu_size
from proofs_checks import Evidence, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage, violated
from proofs_checks.mussay2020_unbiased import outcomes

THEOREM = Theorem(
    name="The dimension in the coreset size",
    source="Mussay et al. 2020, arXiv:1907.04018, main theorem as we understand the paper; item number not known to us",
    given=("phi is ReLU", "the error is additive, uniform over |x| <= beta"),
    claim=r"m = \Omega\Big(\frac{t}{\epsilon^2}\,d\ln t\Big)",
    status="corrected",
    finding="The factor d can be dropped for ReLU: idle inputs multiply the published size and change nothing else; "
    "for a tenth of the largest output both sizes are vacuous on a net for the digits, above 1000 draws for each of "
    "its 32 neurons.",
    ours="boundlab_relu_uniform",
)

DELTA, N = 0.05, 1_000
TOTAL, EPS = 20.0, 2.0


def symbolic() -> str:
    d, t, m = sp.symbols("d t m", positive=True)
    L = sp.Symbol("L", positive=True)
    ratio = (2 * d * sp.log(t) + L) / (d * sp.log(t) + L)
    require(sp.limit(ratio, d, sp.oo) == 2, "twice the fan-in, twice the published size")
    q = sp.symbols("q1:4", positive=True)
    variance = sum((t * v) ** 2 * v * (1 - v) / v**2 / m for v in q)  # u_i = w_i c_i/(m pr_i), |w_i| = t pr_i
    want = t**2 / m * (q[0] + q[1] + q[2] - q[0] ** 2 - q[1] ** 2 - q[2] ** 2)
    require(sp.simplify(sp.expand(variance) - sp.expand(want)) == 0, "E |w - u|^2 = (t^2/m)(1 - sum pr^2)")
    return "E |w - u|^2 = (t^2/m)(1 - sum pr^2) for orthonormal neurons of any number; the published m doubles with d"


def supremum(v: np.ndarray) -> np.ndarray:
    """Sup over the unit ball of |sum v_i ReLU(x_i)| for each row v."""
    parts = [np.sqrt((np.maximum(side, 0.0) ** 2).sum(axis=-1)) for side in (v, -v)]
    return np.maximum(*parts)


def digits_sizes(share: float) -> tuple[float, float]:
    """(published with c = 1, ours) for the 32 hidden neurons of a net for the digits, eps a share of max |f|."""
    x, y = load_digits(return_X_y=True)
    x = np.asarray(x, np.float64) / 16.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fifteen epochs are no convergence, and none is wanted
        net = MLPClassifier((32,), max_iter=15, learning_rate_init=0.01, random_state=0).fit(x, y)
    points, w = append_bias(net.coefs_[0].T, net.intercepts_[0]), net.coefs_[1].T
    inputs = append_bias(x, np.ones(len(x)))
    plan = neuron_plan(points, w, RELU, float(np.linalg.norm(inputs, axis=1).max()))
    eps = share * float(np.abs(np.maximum(inputs @ points.T, 0.0) @ w.T).max())
    ours = relu_size(plan.total, eps, DELTA, outputs=len(w), kap=float(plan.kap.max()))
    return published_size(plan.total, eps, DELTA, dimension=points.shape[1] + 1), ours


def exact() -> str:
    rng = np.random.default_rng(67)
    points, w = rng.integers(-4, 5, size=(4, 2)).astype(float), np.array([[1.0, -2.0, 3.0, 1.0]])
    wide = np.concatenate([points, np.zeros((4, 500))], axis=1)
    plans = [neuron_plan(p, w, RELU, 1.5) for p in (points, wide)]
    require(np.array_equal(plans[0].probabilities, plans[1].probabilities), "padding leaves pr as it is")
    require(plans[0].total == plans[1].total and np.array_equal(plans[0].kap, plans[1].kap), "and t and kap")
    sizes = [published_size(plans[0].total, 1.0, DELTA, dimension=d) for d in (3, 503)]
    require(sizes[1] > 50 * sizes[0], f"the published sizes are {sizes}")
    # orthonormal neurons: every outcome, the supremum along v_+ and v_-, its mean square
    n, m = 4, 3
    even = np.full((1, n), 1.0)
    plan = neuron_plan(np.eye(n), even, RELU, 1.0)
    square = 0.0
    for counts, p in outcomes(m, [Fraction(1, n)] * n):
        v = (even - reweight(even, np.array(counts), plan.probabilities, m))[0]
        square += float(p) * float(v @ v)
        x = rng.normal(size=(50, n))
        x = np.concatenate([x, np.maximum(v, 0)[None], np.maximum(-v, 0)[None]])
        norm = np.linalg.norm(x, axis=1, keepdims=True)
        values = np.abs(np.maximum(x / np.where(norm > 0, norm, 1.0), 0.0) @ v)
        require(abs(values.max() - supremum(v)) < 1e-12 and np.argmax(values) >= 50, "attained along v_+ or v_-")
    require(abs(square - n * n / m * (1 - 1 / n)) < 1e-12, f"E |v|^2 is {square}")
    large, small = digits_sizes(1.0), digits_sizes(0.1)
    require(min(large) > 2 * 32 and min(small) > 1_000 * 32, f"the sizes on the digits are {large} and {small}")
    return (
        f"500 idle inputs: same pr, t, kap, the published m from {sizes[0]:.0f} to {sizes[1]:.0f}; "
        f"digits, eps = max |f|/10: published {small[0]:.2g}, ours {small[1]:.2g} draws of 32 neurons"
    )


def plan_of(n: int) -> tuple[NeuronPlan, np.ndarray]:
    """N orthonormal neurons with weights of both signs, t = 20."""
    raw = np.random.default_rng(68).normal(size=(1, n))
    w = raw / np.abs(raw).sum() * TOTAL
    return neuron_plan(np.eye(n), w, RELU, 1.0), w


def errs(m: int):
    """A trial: the exact supremum of the error over the ball of R^1000 exceeds eps."""
    plan, w = plan_of(N)

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        rows = rng.multinomial(m, plan.probabilities, size=n)
        v = np.array([(w - reweight(w, c, plan.probabilities, m))[0] for c in rows])
        return supremum(v) > EPS

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    plan, _ = plan_of(N)
    ours = int(relu_size(plan.total, EPS, DELTA, c0=plan.c0, kap=float(plan.kap.max())))
    published = published_size(plan.total, EPS, DELTA, dimension=N)
    require(published > 4 * ours, f"ours {ours}, published {published}")
    judged = judge(errs(ours), delta=DELTA, trials=300 * effort, name="our m in 1000 dimensions")
    return Evidence(text=f"d = 1000: m = {ours}, published {published:.0f}: {judged.text}", trials=300 * effort)


def teeth() -> Evidence:
    plan, _ = plan_of(N)
    ours = relu_size(plan.total, EPS, DELTA, c0=plan.c0, kap=float(plan.kap.max()))
    error = float(relu_error(plan.total, plan.kap, ours, DELTA, c0=plan.c0)[0])
    require(error <= EPS, f"the error of our m is {error}")

    def caught(factor: float) -> bool:
        return violated(errs(max(1, math.floor(ours / factor))), delta=DELTA, trials=100, name="fewer draws")

    slack = smallest_sabotage(caught)
    text = f"our m divided by {slack:g} is caught in 1000 dimensions"
    return Evidence(text=text, slack=slack)
