"""From one layer's relative error to the output: the relative recursion and the additive envelope."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import numpy as np

from boundlab._errors import choice, share
from boundlab._theory import implements
from boundlab.nets.groups import per_side, side_sums
from boundlab.network import Network
from boundlab.records import Groups

ROUNDING = 1e-12


class Schedule(StrEnum):
    """How the output's error is shared out over the layers."""

    PUBLISHED = "published"
    SHARP = "sharp"
    OPTIMAL = "optimal"


def downstream(condition: np.ndarray) -> np.ndarray:
    """Return Delta^{l->} = prod_{k >= l} Delta^k for each layer, from the per-layer condition numbers."""
    with np.errstate(over="ignore"):
        return np.cumprod(np.asarray(condition, np.float64)[::-1])[::-1]


@implements("boundlab_relative_recursion", "baykal2019_neuron_value", "baykal2019_layer_wise")
def relative_error(eps: np.ndarray, condition: np.ndarray) -> np.ndarray:
    """Return gamma_l = Delta^l (eps_l + gamma_{l-1} + eps_l gamma_{l-1}), gamma of the input 0; rounded up.

    `eps` and `condition` have one entry per weight matrix. The result is a promise only while gamma < 1 before the
    last layer: a ReLU keeps a relative error below 1, and no larger one.
    """
    gamma, path = 0.0, []
    for e, c in zip(eps, condition, strict=True):
        gamma = 0.0 if e == 0.0 == gamma else float(c) * (e + gamma + e * gamma) * (1.0 + ROUNDING)
        path.append(gamma)
    return np.array(path)


@implements(
    "boundlab_relative_recursion", "baykal2019_layer_schedule", "baykal2022_network", "boundlab_optimal_layer_split"
)
def layer_errors(eps: float, condition: np.ndarray, cost: np.ndarray, schedule: Schedule) -> np.ndarray:
    """Return eps_l for each weight matrix, so that the output's relative error is at most eps.

        published   eps / (2 (L-1) Delta^{l->})
        sharp       ((1 + eps)^{1/(L-1)} - 1) / Delta^{l->}
        optimal     sigma (c_l / Delta^{l->})^{1/3} / sum_k c_k^{1/3} (Delta^{k->})^{2/3}

    Parameters
    ----------
    eps : in (0, 1]
    condition : (L-1,) bounds on Delta^l; values below 1 are raised to 1, which the closed forms need
    cost : (L-1,) c_l = sum over the layer's groups of S; only `optimal` uses it

    Notes
    -----
    `optimal` minimises sum_l c_l/eps_l², which the sample sizes follow. sigma = ln(1 + eps) is sufficient; the largest
    sigma that the exact recursion allows is found by bisection. With infinite condition numbers the result is 0 and
    every size infinite.
    """
    share("eps", eps)
    schedule = choice("schedule", schedule, Schedule)
    condition = np.maximum(np.asarray(condition, np.float64), 1.0)
    chain, depth = downstream(condition), len(condition)
    if not np.isfinite(chain).all():
        return np.zeros(depth)
    if schedule is Schedule.PUBLISHED:
        return eps / (2.0 * depth) / chain
    if schedule is Schedule.SHARP:
        return np.expm1(np.log1p(eps) / depth) / chain * (1.0 - depth * 2 * ROUNDING)
    weight = np.cbrt(np.maximum(np.asarray(cost, np.float64), 1.0))
    shape = weight / np.cbrt(chain) / np.sum(weight * np.cbrt(chain) ** 2)
    low, high = float(np.log1p(eps)), float(eps) * (1.0 + 1e-9)
    for _ in range(50):
        mid = 0.5 * (low + high)
        if relative_error(mid * shape, condition)[-1] <= eps:
            low = mid
        else:
            high = mid
    return low * shape * (1.0 - 2 * depth * ROUNDING)


@implements("boundlab_theorem_b")
def envelope(
    network: Network, x: np.ndarray, groups: Sequence[Groups], eps: Sequence[np.ndarray]
) -> tuple[list[np.ndarray], np.ndarray]:
    """Return the additive envelope: (what each layer reads with which error, error of the outputs).

        e_i^l(x) = sum_± [ eps_i± z_i^±(x) + (1 + eps_i±) |W^±| e^{l-1}(x) ],     e^1 = 0

    computed from the ORIGINAL net. With signed activations z^± takes |a|. Behind a ReLU, e_i is 0 where
    z_i(x) + e_i(x) <= 0, for then both nets put out 0 there.

    Parameters
    ----------
    network : the original net
    x : (points, features)
    groups, eps : per layer, the sampled groups and their relative errors (R,), 0 where kept exactly; they may cover
        only the first layers

    Returns
    -------
    inputs : list of (points, in), the envelope of what each covered layer reads (zeros for the first); rounded up
    output : (points, out), the envelope of what the last covered layer puts out
    """
    a, e, read = x, np.zeros_like(x), []
    for layer, group, rel in zip(network.layers, groups, eps, strict=False):
        read.append(e)
        plus, minus = per_side(group, rel, layer.weight.shape[0])
        own_plus, own_minus = side_sums(layer.weight, np.abs(a))
        passed_plus, passed_minus = side_sums(layer.weight, e) if e.any() else (0.0, 0.0)
        bound = plus * own_plus + minus * own_minus + (1.0 + plus) * passed_plus + (1.0 + minus) * passed_minus
        e = bound * (1.0 + ROUNDING)
        z = layer.preactivation(a)
        if layer.relu:
            size = own_plus + own_minus + np.abs(layer.bias)
            e = np.where(z + e <= -ROUNDING * size, 0.0, e)
            a = np.maximum(z, 0.0)
        else:
            a = z
    return read, e
