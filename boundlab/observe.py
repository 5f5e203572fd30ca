"""What happens, beside what is promised: the sample size that was needed, the error that was made."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from boundlab.certificates import certify
from boundlab.compressors.corenet import CoreNetBudget
from boundlab.compressors.method import compress, draw_layer
from boundlab.network import Network
from boundlab.records import Row, SamplePlan, Sensitivities

Progress = Callable[[], None]


def observed_need(
    network: Network,
    index: int,
    own: Sensitivities,
    x: np.ndarray,
    *,
    eps: float,
    delta: float,
    rng: np.random.Generator,
    coins: int = 4,
    largest: float = 2.0**22,
) -> float:
    """Return the smallest median m at which the observed failure rate meets delta, sampling one layer alone.

    Layer `index` is sampled with m = ⌈c S⌉ in every group, the other layers are exact; a failure is an output outside
    (1 ± eps) f(x), over `coins` draws and all points x. c doubles until the rate is at most delta and is then narrowed
    to 10 %. This is an estimate of what is needed, no certificate. nan where c = `largest` does not suffice.

    Parameters
    ----------
    index : 0-based layer
    own : the sensitivities that the layer is sampled by
    x : (points, features)
    """
    read, f = network.inputs(x)[index], network(x)
    layer, rest = network.layers[index], network.layers[index + 1 :]

    def rate(c: float) -> float:
        plan = _free_plan(index, own, c)
        failed = 0
        for _ in range(coins):
            sampled = network.with_weights(
                [draw_layer(layer.weight, plan, rng) if k == index else w.weight for k, w in enumerate(network.layers)]
            ).layers[index]
            g = sampled(read)
            for after in rest:
                g = after(g)
            failed += int((np.abs(g - f) > eps * np.abs(f)).any(axis=1).sum())
        return failed / (coins * len(x))

    high = 1.0
    while rate(high) > delta:
        high *= 2.0
        if high > largest:
            return float("nan")
    low = high / 2.0
    while high > 1.1 * low:
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if rate(middle) > delta else (low, middle)
    return float(np.median(np.ceil(high * own.total)))


def error_curve(
    network: Network,
    points: np.ndarray,
    fresh: np.ndarray,
    *,
    shares: Sequence[float],
    delta: float,
    rng: np.random.Generator,
    tick: Progress = lambda: None,
) -> list[Row]:
    """Return, for budgets of several sizes, the relative error that Theorem B promises and the one observed.

    One row per share of the weights: kept, the delta of the promise, promised and observed relative l1 error (medians
    over fresh points, and the observed 95 % quantile), and the shares of decisions promised and kept.
    """
    rows = []
    for share in shares:
        method = CoreNetBudget(nnz=max(1, round(share * network.nnz)), delta=delta)
        small = compress(network, method, points, rng=rng)
        promise = certify(small, fresh)
        error = promise.error
        rows.append(
            {
                "kept": small.ratio,
                "delta": promise.delta,
                "promised": error["promised_relative_l1_median"],
                "observed": error["observed_relative_l1_median"],
                "observed_q95": error["observed_relative_l1_q95"],
                "decisions_promised": error["decisions_promised"],
                "decisions_kept": error["agreement"],
            }
        )
        tick()
    return rows


def _free_plan(index: int, own: Sensitivities, c: float) -> SamplePlan:
    """A plan that samples every group, also where that spares nothing: the law of the estimate, undisturbed."""
    rows = len(own.groups)
    return SamplePlan(
        layer=index + 2,
        sensitivities=own,
        size=np.ceil(c * own.total),
        exact=np.zeros(rows, bool),
        eps=np.full(rows, np.nan),
        K=1.0,
        parts=1,
        condition=float("nan"),
        theorem="",
    )
