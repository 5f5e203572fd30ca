"""Condition numbers of pre-activations, Delta_i(x) = sum_k |w_ik a_k| / |sum_k w_ik a_k + b_i|, and their tail."""

from __future__ import annotations

import numpy as np

from boundlab._theory import implements
from boundlab.network import Layer, Network

LEVELS = (10.0, 100.0, 1_000.0, 10_000.0, 100_000.0)


@implements("baykal2019_assumption_2", "baykal2022_signs_and_bias")
def condition_numbers(layer: Layer, a: np.ndarray) -> np.ndarray:
    """Return Delta_i(x), shape (points, out); inf where only the denominator vanishes, and 0/0 := 1.

    With a bias the pre-activation in the denominator includes it and the sum does not, so values below 1 occur.
    """
    size = np.abs(a) @ np.abs(layer.weight).T
    value = np.abs(layer.preactivation(a))
    ratio = np.divide(size, value, out=np.full_like(size, np.inf), where=value > 0)
    return np.where((size == 0) & (value == 0), 1.0, ratio)


def condition_quantiles(network: Network, points: np.ndarray, delta: float) -> np.ndarray:
    """Return, per layer, the quantile of max_i Delta_i at 1 - delta/(4 (L-1)) on the points (rounded up to a point).

    Taken over all layers, about delta/4 of fresh points exceed one of them: the share that Theorem A can afford.
    """
    level = 1.0 - delta / (4.0 * len(network.layers))
    worst = (
        condition_numbers(layer, a).max(axis=1) for layer, a in zip(network.layers, network.inputs(points), strict=True)
    )
    return np.array([np.quantile(w, level, method="higher") for w in worst])


def hill_index(sample: np.ndarray, *, share: float = 0.01) -> float:
    """Return Hill's estimate of the tail index alpha in P(X > t) ~ t^-alpha, from the largest `share` of the sample.

    A variable with alpha <= 1 has no mean; one with an exponential moment would show alpha growing without limit.
    nan where fewer than ten values are above the threshold.
    """
    values = np.sort(sample[np.isfinite(sample) & (sample > 0)])
    k = int(share * len(values))
    if k < 10 or values[-k - 1] <= 0:
        return float("nan")
    logs = np.log(values[-k:] / values[-k - 1])
    return float(1.0 / logs.mean()) if logs.mean() > 0 else float("inf")


def tail_curve(sample: np.ndarray, levels: tuple[float, ...] = LEVELS) -> dict[float, float]:
    """Return t P(X > t) at each level t: flat for a 1/t tail, falling to 0 for any tail with a finite mean."""
    return {t: float(t * np.mean(sample > t)) for t in levels}
