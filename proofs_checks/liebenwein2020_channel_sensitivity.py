"""The largest share over all filters bounds every filter's term of a channel, and the shares' sum S is at least 1.

Statement. Let x_ijp be the inner product of filter i's weights of one sign on channel j with patch p, over the kernel
positions, z_ip = sum_j x_ijp, and s_j = max over filters, patches of the calibration points and signs of x_ijp/z_ip,
0/0 := 0. At every calibration point x_ijp <= s_j z_ip for every filter; at a new point x_ijp <= C s_j z_ip follows if
the point's own largest share g_j is at most C s_j. With S = sum s_j: S <= min(channels, filters x patches x signs),
and S >= 1 if any sum is not 0. With p_j = s_j/S a sampled channel's reweighted term is at most C S z_ip in every
filter at once: one draw serves the layer.

Proof. A maximum is at least each of what it is taken over. x_ijp <= z_ip, so s_j <= 1. For a sum that is not 0 the
shares add up to 1, and each is at most s_j: 1 <= S. max <= sum over filters, patches and signs, and each of those
adds up to 0 or 1 over j. x_ijp/p_j <= C s_j z_ip S/s_j = C S z_ip.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import z3

from boundlab.coresets.alias import draw_counts
from boundlab.coresets.layer_budget import channel_size
from boundlab.nets.channels import BLOCK, channel_sensitivities
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage, violated
from proofs_checks.liebenwein2020_derandomised import layers, shares
from proofs_checks.proving import prove

THEOREM = Theorem(
    name="Channel sensitivity",
    source="Liebenwein et al. 2020, arXiv:1911.07412, definition of the channel sensitivity; item number not known to "
    "us; as we understand the paper",
    given=("patches with entries >= 0, or split into two parts", "each sign of the weights for itself"),
    claim=r"x_{ijp} \le s_j z_{ip}\ \forall i, p \text{ of } \mathcal{S}, \quad "
    r"1 \le S = \sum_j s_j \le \min(\mathrm{channels}, \mathrm{filters} \cdot \mathrm{patches} \cdot \mathrm{signs})",
    status="holds",
)

MUTATIONS = (
    Mutation(file="nets/channels.py", old="range(0, len(u), step)", new="range(0, len(u) // step * step or 1, step)"),
    Mutation(
        file="nets/channels.py",
        old="for side in (np.maximum(w, 0.0), np.maximum(-w, 0.0)):",
        new="for side in (np.maximum(w, 0.0),):",
    ),
    Mutation(
        file="nets/channels.py",
        old="best = np.maximum(best, share.max(axis=(1, 2)))",
        new="best = np.maximum(best, share.max(axis=1).mean(axis=1))",
    ),
)


def symbolic() -> str:
    letters: Any = z3.Reals("x1 x2 y1 y2 s1 s2 C g")
    x1, x2, y1, y2, s1, s2, C, g = letters  # two filters, two channels
    signs = (x1 >= 0, x2 >= 0, y1 >= 0, y2 >= 0, x1 + x2 > 0, y1 + y2 > 0)
    top = (s1 * (x1 + x2) >= x1, s1 * (y1 + y2) >= y1, s2 * (x1 + x2) >= x2, s2 * (y1 + y2) >= y2)
    prove(s1 + s2 >= 1, *signs, *top)
    prove(x1 <= C * s1 * (x1 + x2), *signs, *top, x1 <= g * (x1 + x2), g <= C * s1)
    total, z, x, s = letters[:4]
    prove(x * total <= C * s * total * z, x >= 0, s > 0, total >= s, z > 0, x <= C * s * z, C >= 1)
    return "z3: S >= 1; a share within C s_j bounds the term; x S/s_j <= C S z"


def exact() -> str:
    rows, ends = 0, set()
    plain = (np.ones((1, 3, 1)), np.ones((1, 3, 1)))  # S = 1
    apart = (np.eye(3)[:, :, None], np.ones((1, 3, 1)))  # S = the channels
    for weight, patches in [plain, apart, *layers(60, seed=4)]:
        s = channel_sensitivities(weight, patches)
        at = [row for patch in patches for row in shares(weight, patch)]
        top = [max((row[j] for row in at), default=Fraction(0)) for j in range(len(s))]
        for told, truth in zip(s, top, strict=True):
            require(truth <= Fraction(float(told)) <= truth * (1 + Fraction(1, 10**12)), f"{told} for {float(truth)}")
        rows += len(at)
        if at:
            require(1 <= sum(top) <= min(len(s), len(at)), f"S = {sum(top)} with {len(s)} channels")
            ends |= {"low"} if sum(top) == 1 else {"high"} if sum(top) == len(s) else set()
    require(len(ends) == 2, f"both ends of S must occur, got {ends}")
    rng, width = np.random.default_rng(5), 64
    weight, patches = rng.normal(size=(width, width, 1)), rng.random((1_100, width, 1))
    require(len(patches) % (BLOCK // width**2) and len(patches) > 2 * BLOCK // width**2, "several blocks and a rest")
    one = np.max([channel_sensitivities(weight, patches[k : k + 100]) for k in range(0, 1_100, 100)], axis=0)
    require(np.allclose(channel_sensitivities(weight, patches), one, rtol=1e-13, atol=0), "parts and all disagree")
    patches[-1] = np.eye(width)[:, :1]  # only the last patch gives channel 0 everything
    require(channel_sensitivities(weight, patches)[0] == 1.0, "the last patch was not looked at")
    return f"62 layers, {rows} sums: each s_j the exact maximum, rounded up; 1 <= S <= min(channels, sums)"


def errs(*, sensitivity: float, share: float = 1.0):
    """A trial: one draw of channels fails some filter's error bound; one s_j divided by `sensitivity`."""
    rng = np.random.default_rng(6)
    weight = np.abs(rng.normal(size=(6, 12, 4))) ** 2
    weight[0, 0] = weight[0].sum() * 0.3  # filter 0 lives on channel 0
    patch = np.abs(rng.normal(size=(1, 12, 4)))
    s = channel_sensitivities(weight, patch)
    s[0] /= sensitivity
    p, eps, delta = s / s.sum(), 0.5, 0.1
    m = int(np.ceil(share * channel_size(float(s.sum()), eps, 2 * delta, filters=6)))  # one sign: half the events
    terms = np.einsum("ijt,jt->ij", weight, patch[0])
    z = terms.sum(axis=1)

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        counts = draw_counts(np.tile(p, n), np.arange(n + 1, dtype=np.int64) * 12, np.full(n, m), rng).reshape(n, 12)
        return np.any(np.abs(counts @ (terms / p).T / m - z) >= eps * z, axis=1)

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    trial = errs(sensitivity=1.0)
    return judge(trial, delta=0.1, trials=2_000 * effort, name="6 filters of 12 channels, one draw for all")


def teeth() -> Evidence:
    cases = layers(30, seed=7)

    def caught(factor: float) -> bool:
        for weight, patches in cases:
            s = channel_sensitivities(weight, patches) / factor
            if any(v > Fraction(float(s[j])) for p in patches for row in shares(weight, p) for j, v in enumerate(row)):
                return True
        return False

    slack = smallest_sabotage(caught)
    halved = violated(errs(sensitivity=8.0), delta=0.1, trials=2_000, name="one sensitivity too small")
    require(halved, "a channel that one filter lives on, at an eighth of its sensitivity, was not caught")
    return Evidence(text=f"refuted: s_j divided by {slack:g} on a layer; one s_j at an eighth, in draws", slack=slack)
