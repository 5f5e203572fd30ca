"""How a net's relative error is shared out over its layers: the published split, a sharp one and an optimal one.

Proof. With Delta >= 1 put u_l = gamma_l Delta^{l+1->}, so that gamma_l <= u_l and u_L = gamma_L. The recursion becomes
u_l = u_{l-1} + Delta^{l->} eps_l (1 + gamma_{l-1}), hence 1 + u_l <= (1 + u_{l-1})(1 + Delta^{l->} eps_l) and
1 + gamma_L <= prod_l (1 + Delta^{l->} eps_l). Equal shares (1 + eps)^{1/(L-1)} - 1 make the product 1 + eps; shares
that add up to ln(1 + eps) keep it below exp(ln(1 + eps)). The published shares eps/(2 (L-1)) are half as large: their
product is at most e^{eps/2} <= 1 + eps on (0, 1], so that they hold with at most sqrt(e) - 1 = 0.65 of eps used up.
The split that minimises sum_l c_l/eps_l² for a given sum_l Delta^{l->} eps_l is the stationary point of a convex
function on a simplex, so that it is the only minimum.
"""

from __future__ import annotations

import math
from fractions import Fraction

import flint
import numpy as np
import sympy as sp

from boundlab.nets.propagate import Schedule, downstream, layer_errors, relative_error
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage
from proofs_checks.proving import prove_positive

THEOREM = Theorem(
    name="Layer-wise errors that end at eps",
    source="CoreNet (arXiv:1804.05345), Algorithm 1, eps_l = eps / (2 (L-1) Delta^{l->}), as we understand the paper; "
    "item number not known to us. The other two are ours",
    given=("eps in (0, 1]", "Delta^l >= 1 for every layer: without biases always, with them after raising to 1"),
    claim=r"\gamma_L \le \epsilon \text{ for } \epsilon_\ell = \frac{\epsilon}{2(L-1)\Delta^{\ell\to}}, \quad"
    r"\frac{(1+\epsilon)^{1/(L-1)}-1}{\Delta^{\ell\to}}, \quad"
    r"\sigma\frac{(c_\ell/\Delta^{\ell\to})^{1/3}}{\sum_k c_k^{1/3}(\Delta^{k\to})^{2/3}},\ \sigma=\ln(1+\epsilon)",
    status="corrected",
    finding="The published shares are half of what the recursion allows: they end at 0.50 to 0.65 of eps, and sizes "
    "are up to 4 times too large.",
    ours="baykal2019_layer_schedule",
)

MUTATIONS = (
    Mutation(
        file="nets/propagate.py",
        old="return np.expm1(np.log1p(eps) / depth) / chain",
        new="return eps / depth / chain",
    ),
    Mutation(
        file="nets/propagate.py",
        old="condition = np.maximum(np.asarray(condition, np.float64), 1.0)",
        new="condition = np.asarray(condition, np.float64)",
    ),
    Mutation(
        file="nets/propagate.py",
        old="if relative_error(mid * shape, condition)[-1] <= eps:",
        new="if relative_error(mid * shape, condition)[-1] <= 1.01 * eps:",
    ),
)


def end(eps: np.ndarray, condition: np.ndarray) -> Fraction:
    """gamma_L of shipped floats, exactly."""
    gamma = Fraction(0)
    for e, d in zip(eps.tolist(), condition.tolist(), strict=True):
        gamma = Fraction(d) * (Fraction(e) + gamma + Fraction(e) * gamma)
    return gamma


def draw(rng: np.random.Generator, low: float = 0.0) -> tuple[float, np.ndarray, np.ndarray]:
    """(eps, condition numbers 10^low..10^3, costs) for one to seven layers."""
    depth = int(rng.integers(1, 8))
    eps = 1.0 if rng.random() < 0.2 else float(10 ** rng.uniform(-3, 0))
    spread = rng.choice([0.0, 0.01, 3.0])  # all Delta = 1, near 1, up to 1000
    return eps, 10 ** rng.uniform(low, max(spread, low), depth), 10 ** rng.uniform(0, 6, depth)


def split(sigma: float, condition: np.ndarray, cost: np.ndarray) -> np.ndarray:
    """The optimal shares for a given sigma."""
    d = downstream(condition)
    return sigma * np.cbrt(cost / d) / np.sum(np.cbrt(cost) * np.cbrt(d) ** 2)


def symbolic() -> str:
    e, g, s = sp.symbols("e gamma s", nonnegative=True)  # e = Delta^{l->} eps_l, u_{l-1} = gamma_{l-1} + s
    u = g + s
    gap = (1 + u) * (1 + e) - (1 + u + e * (1 + g))
    require(sp.expand(gap - e * s) == 0, "1 + u_l <= (1 + u_{l-1})(1 + e), slack e (u - gamma)")
    # the published induction: eps_l + gamma + eps_l gamma <= 2 (l-1) eps_l where gamma = 2 (l-2) eps_l <= 1
    k = sp.symbols("k", positive=True)
    slack = 2 * (k + 1) * e - (e + 2 * k * e + e * 2 * k * e)
    require(sp.factor(slack - e * (1 - 2 * k * e)) == 0, "the published step has slack eps (1 - 2 (l-2) eps)")
    x = sp.symbols("x", positive=True)
    require(sp.simplify(sp.exp(sp.log(1 + x)) - 1 - x) == 0, "sigma = ln(1 + eps)")
    a, b, c, d, lam = sp.symbols("a b c d lambda", positive=True)
    first, second = (c / (lam * a)) ** sp.Rational(1, 3), (d / (lam * b)) ** sp.Rational(1, 3)
    for cost, chain, share in ((c, a, first), (d, b, second)):  # Lagrange: -2 c/eps^3 + 2 lambda Delta = 0
        require(sp.simplify(-2 * cost / share**3 + 2 * lam * chain) == 0, "the optimal split is stationary")
    y = sp.symbols("y", positive=True)
    second = sp.diff(c / y**2, y, 2)
    require(sp.simplify(second - 6 * c / y**4) == 0, "and c/eps² is convex, so that it is the minimum")
    # published: (1 + eps/(2d))^d <= e^{eps/2} <= 1 + eps on [0, 1], for 1 + eps - e^{eps/2} vanishes at 0 and rises
    half = sp.exp(x / 2)
    require(sp.diff(1 + x - half, x) == 1 - half / 2 and (1 + x - half).subs(x, 0) == 0, "the slope 1 - e^{eps/2}/2")
    boxes = prove_positive(lambda v: 1 - (v / 2).exp() / flint.arb(2), (0, 1))
    used = (
        1 + x / (2 * k)
    ) ** k  # rises to its limit, for ln(1 + y)/y falls: its slope has the sign of y/(1+y) - ln(1+y)
    require(sp.limit(used, k, sp.oo) == half, "(1 + eps/(2d))^d tends to e^{eps/2}")
    fall = x / (1 + x) - sp.log(1 + x)
    require(fall.subs(x, 0) == 0 and sp.simplify(sp.diff(fall, x) + x / (1 + x) ** 2) == 0, "ln(1 + y)/y falls")
    return (
        "1 + u_l <= (1 + u_{l-1})(1 + Delta eps); published slack eps (1 - 2(l-2) eps), e^{eps/2} <= 1 + eps on [0, 1] "
        f"({boxes}); the optimal split is stationary and the cost convex"
    )


def exact() -> str:
    rng = np.random.default_rng(2019)
    used: dict[Schedule, list[float]] = {s: [] for s in Schedule}
    for _ in range(300):
        eps, condition, cost = draw(rng)
        for schedule in Schedule:
            shares = layer_errors(eps, condition, cost, schedule)
            gamma = end(shares, condition)
            require(gamma <= Fraction(eps), f"{schedule} ends at {float(gamma)} > {eps} for Delta = {condition}")
            told = relative_error(shares, condition)
            require(Fraction(float(told[-1])) >= gamma, "relative_error is below the exact recursion")
            require(bool((told[:-1] < 1).all()), f"{schedule}: gamma reaches 1 in front of a ReLU, {told}")
            used[schedule].append(float(gamma / Fraction(eps)))
    low, high = min(used[Schedule.PUBLISHED]), max(used[Schedule.PUBLISHED])
    require(low > 0.5 - 1e-9 and high < math.sqrt(math.e) - 1, f"the published shares reach {low} to {high} of eps")
    require(min(used[Schedule.OPTIMAL]) > 1 - 1e-6, "the optimal split must use up eps")
    require(max(used[Schedule.SHARP]) > 1 - 1e-9, "the sharp shares are attained at Delta = 1")
    told = ", ".join(f"{s} {min(used[s]):.3f} to {max(used[s]):.3f}" for s in Schedule)
    return f"300 nets, L <= 8, Delta <= 1000, exact recursion: part of eps that is reached: {told}"


def costs() -> tuple[float, float, float]:
    """(least and largest size of sharp over published, largest of optimal over sharp); no nearby split is cheaper."""
    rng, gains, beaten = np.random.default_rng(7), [], 0.0
    for _ in range(100):
        eps, condition, cost = draw(rng)
        size = {s: float(np.sum(cost / layer_errors(eps, condition, cost, s) ** 2)) for s in Schedule}
        require(size[Schedule.SHARP] <= size[Schedule.PUBLISHED] * 0.5243, "sharp must save what sqrt(e)-1 says")
        gains.append(size[Schedule.SHARP] / size[Schedule.PUBLISHED])
        beaten = max(beaten, size[Schedule.OPTIMAL] / size[Schedule.SHARP])
        best = layer_errors(eps, condition, cost, Schedule.OPTIMAL)
        for _ in range(10):
            other = best * np.exp(rng.normal(0, 0.1, len(best)))
            other *= np.sum(best * downstream(condition)) / np.sum(other * downstream(condition))
            require(np.sum(cost / other**2) >= size[Schedule.OPTIMAL] * (1 - 1e-9), "a better split was found")
    require(min(gains) > 0.2499, "sharp cannot save more than a factor 4")
    return min(gains), max(gains), beaten


def outside(stretch: float = 1.0):
    """A trial: a random net of Delta = 1 whose layers err by exactly `stretch` eps_l, up or down, leaves (1 ± eps).

    The layers are single positive weights, where an error of eps_l in each is all that the schedule allows; the
    directions are fair coins, and one net in 2^depth meets the worst case.
    """

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        depth, eps = 3, float(rng.uniform(0.05, 1))
        errors = layer_errors(eps, np.ones(depth), np.ones(depth), Schedule.SHARP)
        signs = rng.choice([-1.0, 1.0], size=(n, depth))
        return np.abs(np.prod(1 + stretch * signs * errors, axis=1) - 1) > eps

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    low, high, beaten = costs()
    own = judge(outside(), delta=0.01, trials=2_000 * effort, name="layers err by eps_l", block=100)
    text = (
        f"layers off by exactly eps_l: {own.text}; sum of c/eps²: sharp {low:.2f} to {high:.2f} of published, "
        f"optimal up to {beaten:.2f}"
    )
    return Evidence(text=text, trials=own.trials)


def teeth() -> Evidence:
    rng = np.random.default_rng(3)
    over = unclamped = naive = 0
    worst = 0.0
    for _ in range(250):
        eps, condition, cost = draw(rng)
        over += end(split(eps, condition, cost), condition) > Fraction(eps)
        naive += end(np.full(len(condition), eps / len(condition)) / downstream(condition), condition) > Fraction(eps)
        _, small, cost = draw(rng, low=-0.7)  # Delta from 0.2: a bias does that
        share = np.expm1(np.log1p(eps) / len(small))
        gamma = end(share / downstream(small), small)
        unclamped += gamma > Fraction(eps) * (1 + Fraction(1, 10**6))
        worst = max(worst, float(gamma / Fraction(eps)))
        for schedule in Schedule:
            require(end(layer_errors(eps, small, cost, schedule), small) <= Fraction(eps), f"{schedule} with Delta < 1")
    require(over > 50, f"sigma = eps must violate eps, it did in {over} of 250")
    require(naive > 50, f"eps/(L-1) must violate eps, it did in {naive} of 250")
    require(unclamped > 20, f"Delta < 1 that is not raised to 1 must violate eps, it did in {unclamped} of 250")

    def caught(factor: float) -> bool:  # Delta = 1, where the sharp shares use up eps
        shares = layer_errors(0.5, np.ones(4), np.ones(4), Schedule.SHARP)
        return end(factor * shares, np.ones(4)) > Fraction(1, 2)

    slack = smallest_sabotage(caught)
    require(outside(1.05)(rng, 400).any(), "5 % more in each layer was not caught")
    text = (
        f"shares times {slack:g}; of 250 nets sigma = eps in {over}, shares eps/(L-1) in {naive}, Delta < 1 not "
        f"raised to 1 in {unclamped} (up to {worst:.1f} eps)"
    )
    return Evidence(text=text, slack=slack)
