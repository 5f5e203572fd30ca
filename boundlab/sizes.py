"""Sample sizes of the theory, layer by layer, beside the fan-in that they would have to stay below."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from boundlab.compressors.constants import constants
from boundlab.coresets.sensitivity_sampling import Rule, sample_size
from boundlab.nets.condition import condition_quantiles
from boundlab.nets.propagate import Schedule, layer_errors
from boundlab.network import Network
from boundlab.records import Row, SamplePlan


def group_sizes(network: Network, plans: Sequence[SamplePlan], *, eps: float, delta: float) -> list[Row]:
    """Return one row per group: S and m by each rule, at the published eps_l, delta share and K.

    The four sizes differ in the inequality alone; `binomial` is what the extremal group needs and no certificate. A
    group is `vacuous` where even the kl size is at least its number of edges, so that nothing can be left out. `plans`
    are the published ones.
    """
    known = constants(network.sizes, delta)
    errors = layer_errors(eps, np.array([p.condition for p in plans]), np.ones(len(plans)), Schedule.PUBLISHED)
    rows: list[Row] = []
    for plan, error in zip(plans, errors, strict=True):
        total = plan.sensitivities.total
        size = {r: sample_size(total, error, delta / (4 * known.eta), K=known.K, rule=r) for r in Rule}
        for k, row in enumerate(plan.sensitivities.rows()):
            sizes = {str(rule): float(m[k]) for rule, m in size.items()}
            rows.append(
                {"layer": plan.layer, **row, "eps": float(error), **sizes, "vacuous": sizes["kl"] >= row["edges"]}
            )
    return rows


def sample_sizes(network: Network, groups: Sequence[Row]) -> list[Row]:
    """Return one row per layer: the medians of `group_sizes`, beside the fan-in, and the share of vacuous groups."""
    rows = []
    for k, layer in enumerate(network.layers):
        own = [row for row in groups if row["layer"] == k + 2]
        median = (
            {name: float(np.median([row[name] for row in own])) for name in ("edges", "total", "eps", *Rule)}
            if own
            else {}
        )
        rows.append(
            {
                "layer": k + 2,
                "rows": len(own),
                "fan_in": layer.weight.shape[1],
                "edges_median": median.get("edges", 0.0),
                "total_median": median.get("total", 0.0),
                "eps": median.get("eps", 0.0),
                **{str(rule): median.get(rule, 0.0) for rule in Rule},
                "vacuous_share": float(np.mean([row["vacuous"] for row in own])) if own else 0.0,
            }
        )
    return rows


def schedules(
    network: Network, plans: Sequence[SamplePlan], points: np.ndarray, *, eps: float, delta: float, K: float = 1.0
) -> list[Row]:
    """Return one row per source of Delta, schedule and layer: eps_l and the kl size that it leads to.

    Sources: the published sample mean plus kappa, which is no upper bound on a fresh point's Delta; and the quantile
    of max_i Delta_i at 1 - delta/(4 (L-1)) on the calibration points, which Theorem A uses.
    """
    own = [p.sensitivities for p in plans]
    cost = np.array([s.total.sum() for s in own])
    mean = np.array([p.condition for p in plans])
    sources = {"published mean + kappa": mean, "quantile": condition_quantiles(network, points, delta)}
    events = sum(len(s.groups) for s in own)
    rows = []
    for source, condition in sources.items():
        for schedule in Schedule:
            errors = layer_errors(eps, condition, cost, schedule)
            for plan, s, error, c in zip(plans, own, errors, condition, strict=True):
                m = sample_size(s.total, error, delta / 2 / events, K=K)
                rows.append(
                    {
                        "condition_from": source,
                        "schedule": str(schedule),
                        "layer": plan.layer,
                        "condition": float(c),
                        "eps": float(error),
                        "kl": float(np.median(m)),
                        "vacuous_share": float(np.mean(m >= s.groups.edges)),
                    }
                )
    return rows
