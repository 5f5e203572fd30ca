"""Two mixtures of likelihood ratios at delta: each verdict is wrong with probability at most its alpha.

Proof. For an alternative q the product of q/delta for each failure and (1-q)/(1-delta) for each success grows in one
step by the factor p q/delta + (1-p)(1-q)/(1-delta) in the mean, p being the failure's chance given the past. That is
linear in p, 1 at p = delta, with the slope (q-delta)/(delta(1-delta)): for q <= delta it is at most 1 while p >= delta,
for q >= delta while p <= delta. So each product is a non-negative supermartingale of start 1 under its null, and so is
a mixture of them over q with a fixed law: M- over [0, delta], M+ over [delta, 1]. Ville's inequality bounds the
probability that it ever reaches 1/alpha by alpha, whatever the rule that ends the run. The two nulls share p = delta
alone, so that no union over the two verdicts is needed: at each p only one of them can be wrong.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import mpmath
import numpy as np
import sympy as sp
from scipy.special import betainc

from boundlab.verification import log_e_upheld, log_e_violated, trials_if_no_failure
from boundlab.verification.judging.evidence import SPIKE
from boundlab.verification.judging.lattice import absorption
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage

THEOREM = Theorem(
    name="An e-process pair for P(failure) <= delta",
    source="Ville, Étude critique de la notion de collectif (1939), the inequality for nonnegative martingales (item "
    "number not known to us); this pair of priors and its closed form are ours",
    given=(
        "X_1, X_2, ... in {0, 1}",
        "given the past, X_i may have any law that the null in the claim allows",
    ),
    claim="If P(X_i=1 | past) >= delta for all i, then P(exists n: M-_n >= 1/alpha) <= alpha; "
    "if P(X_i=1 | past) <= delta for all i, then P(exists n: M+_n >= 1/alpha) <= alpha.",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="verification/judging/evidence.py",
        old="spike = np.where(k == 0, math.log(SPIKE) - n * log_rest, -np.inf)",
        new="spike = np.where(k == 0, -n * log_rest, -np.inf)",
    ),
    Mutation(
        file="verification/judging/evidence.py",
        old="return _down(np.fmax(-math.log(2.0) + kernel, -np.log1p((n - k) / b)), n)",
        new="return _down(np.fmax(kernel, -np.log1p((n - k) / b)), n)",
    ),
    Mutation(
        file="verification/judging/evidence.py",
        old="return np.where(n == 0, 0.0, log_e - 8 * _EPS * (1 + np.abs(log_e)))",
        new="return np.where(n == 0, 0.0, log_e + 8e-12 * (1 + np.abs(log_e)))",
    ),
)

Hit = Callable[[np.ndarray, np.ndarray], np.ndarray]  # (n, k) -> bool: is the verdict given here?


def first_k(rises: Hit, cap: int) -> np.ndarray:
    """The smallest k at which a condition that rises with k holds, n + 1 where there is none, for n = 0..cap."""
    n = np.arange(cap + 1)
    low, high = np.zeros(cap + 1, dtype=np.int64), n + 1
    while np.any(low < high):
        middle = (low + high) // 2
        holds = rises(n, np.minimum(middle, n)) | (middle > n)
        low, high = np.where(holds, low, np.minimum(middle + 1, high)), np.where(holds, middle, high)
    return low


def ever(p: float, upheld: Hit, violated: Hit, cap: int) -> tuple[float, float]:
    """Exact probabilities of each verdict within `cap` trials of rate p, looking after every trial."""
    low, high = first_k(lambda n, k: ~upheld(n, k), cap), first_k(violated, cap)
    found = absorption(lambda n, k: k < low[n], lambda n, k: k >= high[n], p, cap)
    return found.low, found.high


def pair(delta: float, alpha: float) -> tuple[Hit, Hit]:
    """The two shipped verdicts at one alpha; alpha times 10 is the pair with evidence that is 10 times too large."""
    level = -math.log(alpha)
    return (
        lambda n, k: log_e_upheld(n, k, delta) >= level,
        lambda n, k: log_e_violated(n, k, delta) >= level,
    )


def never(n: np.ndarray, k: np.ndarray) -> np.ndarray:
    """No verdict."""
    return np.zeros(np.broadcast(n, k).shape, dtype=bool)


def _mixtures(n: int, k: int, d: Fraction) -> tuple[Fraction, Fraction]:
    """M- and M+ as fractions, by term-wise integration; 1/(2d) must be whole."""
    b = int(1 / (2 * d))
    ratio = d**k * (1 - d) ** (n - k)
    below = sum(Fraction(math.comb(n - k, j) * (-1) ** j, k + j + 1) * d ** (k + j + 1) for j in range(n - k + 1))
    y = b - 1 + n - k
    above = sum(Fraction(math.comb(k, j) * (-1) ** j, y + j + 1) * (1 - d) ** (y + j + 1) for j in range(k + 1))
    spike = Fraction(SPIKE) if k == 0 else Fraction(0)
    low = spike / ratio + (1 - Fraction(SPIKE)) * below / d / ratio
    return low, b * above / (1 - d) ** b / ratio


def symbolic() -> str:
    p, q, d, b, u = sp.symbols("p q delta b u", positive=True)
    step = p * q / d + (1 - p) * (1 - q) / (1 - d)
    require(sp.simplify(step.subs(p, d) - 1) == 0, "the one-step mean must be 1 at p = delta")
    require(
        sp.simplify(sp.diff(step, p) - (q - d) / (d * (1 - d))) == 0, "the slope in p must have the sign of q - delta"
    )
    mass = sp.integrate(b * u ** (b - 1), (u, 0, 1 - d))
    require(sp.simplify(mass - (1 - d) ** b) == 0, "Beta(1, b) must put mass (1-delta)^b on [delta, 1]")
    n, k, B, tail = sp.symbols("n k B I", positive=True)
    mixture = b * B * tail / (1 - d) ** b / (d**k * (1 - d) ** (n - k))
    shipped = b * d * (B * d ** (-k - 1) * (1 - d) ** (k - n - b)) * tail
    require(sp.simplify(sp.powsimp(sp.expand_power_base(mixture / shipped), force=True)) == 1, "M+ in terms of G")
    mixture = B * tail / d / (d**k * (1 - d) ** (n - k))
    shipped = (1 - d) * (B * d ** (-k - 1) * (1 - d) ** (k - n - 1)) * tail
    require(sp.simplify(sp.powsimp(mixture / shipped, force=True)) == 1, "M- in terms of G")
    return "one-step mean linear in p, 1 at p = delta, slope of sign q - delta; both closed forms equal their mixtures"


def exact() -> str:
    worst = 0.0
    with mpmath.workdps(50):
        for d in (Fraction(1, 4), Fraction(1, 8), Fraction(1, 16)):  # floats without error, b = 2, 4, 8
            for n in range(13):
                exacts = [_mixtures(n, k, d) for k in range(n + 1)]
                weights = [math.comb(n, k) * d**k * (1 - d) ** (n - k) for k in range(n + 1)]
                for side, shipped in enumerate((log_e_upheld, log_e_violated)):
                    values = shipped(n, np.arange(n + 1), float(d))
                    mean = sum(w * m[side] for w, m in zip(weights, exacts, strict=True))
                    require(mean == 1, f"E_delta[M] must be 1, it is {mean}")
                    p = d / 2 if side else 2 * d  # inside the null
                    inside = sum(math.comb(n, k) * p**k * (1 - p) ** (n - k) * m[side] for k, m in enumerate(exacts))
                    require(inside <= 1, f"E_p[M] must be at most 1, it is {inside} at p = {p}")
                    rounded = math.fsum(float(w) * math.exp(v) for w, v in zip(weights, values, strict=True))
                    require(abs(rounded - 1) < 1e-12, f"E_delta[shipped M] must be 1, it is {rounded}")
                    for value, m in zip(values, exacts, strict=True):
                        truth = mpmath.log(mpmath.mpf(m[side].numerator) / m[side].denominator)
                        lost = float(truth - mpmath.mpf(float(value)))
                        require(lost >= 0, f"the shipped evidence exceeds the exact one by {-lost}")
                        worst = max(worst, lost)
    require(worst < 1e-12, f"the shipped evidence loses {worst}")
    rates = []
    for inverse in (10, 20):
        upheld, violated = ever(1 / inverse, *pair(1 / inverse, 0.05), 300 * inverse)
        require(0.044 <= upheld <= 0.046, f"false upheld must be .044 to .046, it is {upheld}")
        require(0.0325 <= violated <= 0.0345, f"false violated must be .033 to .034, it is {violated}")
        rates.append(f"delta 1/{inverse}: {upheld:.4f} upheld, {violated:.4f} violated")
    for d, alpha in ((Fraction(1, 10), Fraction(1, 20)), (Fraction(1, 100), Fraction(1, 1000))):
        n = trials_if_no_failure(float(d), float(alpha))
        enough = [_no_failure(m, d) * alpha >= 1 for m in (n - 1, n)]
        require(enough == [False, True], f"{n} must be the first failure-free run that upholds")
    return f"E_delta[M] = 1, evidence lost below {worst:.1e}; false verdicts at alpha .05, " + "; ".join(rates)


def _no_failure(n: int, d: Fraction) -> Fraction:
    rest = (1 - d) ** n
    return Fraction(SPIKE) / rest + (1 - Fraction(SPIKE)) * (1 - rest * (1 - d)) / ((n + 1) * d * rest)


def dependent(side: int, delta: float, alpha: float, cap: int):
    """A trial: a path ends in the wrong verdict (0 upheld, 1 violated) although its rate stays on the null's side.

    The null binds the law given the past only: here the rate jumps with the last outcome.
    """
    upheld, violated = pair(delta, alpha)
    low, high = first_k(lambda n, k: ~upheld(n, k), cap), first_k(violated, cap)
    jumped = delta * (1.2, 0.8)[side]

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        k, last, wrong = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
        for m in range(1, cap + 1):
            last = rng.random(n) < np.where(last, jumped, delta)
            k += last
            wrong |= k < low[m] if side == 0 else k >= high[m]
        return wrong

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    found = [
        judge(dependent(side, 0.05, 0.05, 1_000), delta=0.05, trials=3_000 * effort, name=name, expect="not violated")
        for side, name in enumerate(("false upheld", "false violated"))
    ]
    text = f"dependent paths, verdicts at alpha .05; wrongly upheld: {found[0].text}; violated: {found[1].text}"
    return Evidence(text=text, trials=sum(e.trials for e in found))


def teeth() -> Evidence:
    d, alpha = 0.05, 0.05

    def caught(factor: float) -> bool:
        """Whether evidence `factor` times too large gives a verdict that is wrong too often, exactly."""
        return max(ever(d, *pair(d, factor * alpha), 1_000)) > alpha

    slack = smallest_sabotage(caught)

    def clopper_pearson(n: np.ndarray, k: np.ndarray) -> np.ndarray:
        return (k > 0) & (betainc(np.maximum(k, 1), n - np.maximum(k, 1) + 1.0, d) <= alpha)

    peeking = ever(d, never, clopper_pearson, 200)[1]
    require(0.20 <= peeking <= 0.22, f"Clopper-Pearson after each of 200 trials must fail in 21 %, it is {peeking}")
    text = f"refuted exactly: evidence x {slack:g}; Clopper-Pearson after each of 200 trials: {peeking:.3f} wrong"
    return Evidence(text=text, slack=slack)
