"""CoreNet's generalization corollary, un-Õ'd: what its constants are, and that the size they ask for suffices."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import sympy as sp
from scipy.stats import binom

from boundlab.bounds.corenet_corollary import log_size
from proofs_checks import Theorem, require

THEOREM = Theorem(
    name="Generalization corollary of CoreNet, explicit constants",
    source="arXiv:1804.05345, corollary on generalization; as we understand the paper, which hides the constants in Õ "
    "and whose item number is not known to us",
    given=(
        "n i.i.d. examples, inputs >= 0, Delta_i(x) <= Delta^l and shares <= K s_j at each of them",
        "a retained weight described by its position among N_E and a float32 value",
    ),
    claim=r"L_0(\hat f) \le L_\gamma(f) + \sqrt{(q \ln r + \ln(2/\delta))/(2n)}, \quad "
    r"q = 128 (L-1)^2 B^2 K \ln(8\eta n/\delta') \gamma^{-2} \sum_\ell (\Delta^{\ell\to})^2 \sum_i S_i^\ell",
    status="vacuous",
)


def refuted(failures: int, trials: int, delta: float) -> bool:
    """Exact one-sided binomial test of P(failure) <= delta at level 1e-6."""
    return bool(binom.sf(failures - 1, trials, delta) < 1e-6)


def symbolic() -> str:
    L, B, K, log, gamma, forward, S = sp.symbols("L B K log gamma Delta S", positive=True)
    eps = gamma / (2 * B)
    eps_layer = eps / (2 * (L - 1) * forward)
    size = 8 * K * S * log / eps_layer**2
    require(sp.simplify(size - 128 * (L - 1) ** 2 * B**2 * K * log * forward**2 * S / gamma**2) == 0, "128")
    require(sp.simplify(size - 32 * (L - 1) ** 2 * K * log * forward**2 * S / eps**2) == 0, "32")
    return (
        "8 K S ln(.)/eps_l^2 with eps_l = eps/(2(L-1)Delta) and eps = gamma/(2B) is 128 (L-1)^2 B^2 K S ln(.)/gamma^2"
    )


def exact() -> str:
    # margin lemma: |g_i - f_i| <= eps |f_i| and f_y - f_i > gamma = 2 eps B for all i imply g_y > g_i
    values, eps = [Fraction(i, 3) for i in range(-4, 5)], Fraction(1, 4)
    met = 0
    for f in itertools.product(values, repeat=2):
        gamma = 2 * eps * max(abs(v) for v in f)
        worst = (f[0] - eps * abs(f[0])) - (f[1] + eps * abs(f[1]))
        if f[0] - f[1] > gamma:
            met += 1
            require(worst > 0, f"the margin lemma fails at {f}")
    # the shipped size against whole-number arithmetic
    conditions, totals, layers = [3, 2, 5], [7, 11, 13], 3
    forward = [30, 10, 5]
    whole = 128 * layers**2 * 4**2 * 6 * sum(d * d * s for d, s in zip(forward, totals, strict=True))
    shipped = log_size(conditions, totals, K=6.0, eta=20, n=100, delta=0.1, ratio=4.0)
    want = math.log(whole) + math.log(math.log(8 * 20 * 100 / 0.1))
    require(abs(shipped - want) < 1e-12, f"{shipped} against {want}")
    return f"margin lemma on {met} pairs of outputs; log_size agrees with integers to 1e-12"


def failures(share: float, trials: int = 400) -> tuple[int, float]:
    """Draw a one-layer net at `share` of the corollary's size; count trials in which an output errs by over eps.

    Two classes, positive weights for one and negative for the other, so that Delta = 1 and S is the only quantity.
    """
    rng = np.random.default_rng(2019)
    n, fan_in, delta, eps = 20, 300, 0.1, 0.5
    x, w = rng.random((n, fan_in)) + 0.2, np.stack([rng.random(fan_in), -rng.random(fan_in)])
    shares = np.abs(w)[:, None, :] * x / (np.abs(w)[:, None, :] * x).sum(axis=2, keepdims=True)  # (out, n, in)
    s = shares.max(axis=1)
    S = s.sum(axis=1)
    f = x @ w.T
    q = math.exp(log_size([1.0], [float(S.sum())], K=1.0, eta=2, n=n, delta=delta, ratio=1 / (2 * eps)))
    wrong = np.zeros(trials, dtype=bool)
    for i in range(2):
        m = math.ceil(share * q * S[i] / S.sum())
        counts = rng.multinomial(m, s[i] / S[i], size=trials)  # (trials, in)
        drawn = (counts * (w[i] * S[i] / (m * s[i]))) @ x.T  # (trials, n)
        wrong |= (np.abs(drawn - f[:, i]) > eps * np.abs(f[:, i])).any(axis=1)
    return int(np.count_nonzero(wrong)), q


def monte_carlo() -> str:
    count, q = failures(1.0)
    require(not refuted(count, 400, 0.1), f"{count} of 400 draws err by more than eps")
    return f"{count} of 400 draws of size q = {q:.0f} err by more than eps at one of 20 points, delta = 0.1"


def teeth() -> str:
    shares = (1e-3, 1e-4)
    counts = [failures(share)[0] for share in shares]
    for share, count in zip(shares, counts, strict=True):
        require(refuted(count, 400, 0.1), f"{share:g} of the size: {count} of 400 were not caught")
    # half the margin: the lemma needs 2 eps B
    f, eps = (Fraction(4, 3), Fraction(1)), Fraction(1, 4)
    kept = f[0] * (1 - eps) > f[1] * (1 + eps)
    require(f[0] - f[1] == eps * f[0] and not kept, "a margin of eps B was not caught")
    lines = ", ".join(f"{share:g} of the size ({count} of 400)" for share, count in zip(shares, counts, strict=True))
    return f"refuted: {lines}; a margin of eps B"
