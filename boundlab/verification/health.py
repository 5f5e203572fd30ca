"""Signs that a check is weaker than it looks: told beside the verdict, and never a part of it."""

from __future__ import annotations

import numpy as np

from boundlab.verification.running.blocks import CHECKED_STREAMS


def too_few_trials(budget: int, fewest: int) -> str | None:
    """A budget that cannot uphold the claim whatever happens."""
    if budget >= fewest:
        return None
    return f"too_few_trials: {budget} trials can never uphold the claim, it takes {fewest} without a failure"


def idle_streams(idle: int, units: int) -> str | None:
    """Trials that drew nothing from the generator they were given: their coins, if any, come from elsewhere."""
    if not idle:
        return None
    return (
        f"idle_streams: {idle} of the first {min(units, CHECKED_STREAMS)} trials drew nothing from their generator; "
        "coins from elsewhere are neither independent nor reproducible here"
    )


def shared_inputs(points: np.ndarray | None, used: int) -> str | None:
    """Inputs that are the same row again: a repeated point is no independent draw."""
    if points is None or used < 2:
        return None
    rows = np.ascontiguousarray(points[:used])
    distinct = len(np.unique(rows.view(f"V{rows.shape[1] * rows.itemsize}")))
    if distinct == used:
        return None
    return f"shared_inputs: {used - distinct} of {used} inputs repeat an earlier one; are they independent draws?"


def shared_coins(pairs: int, failures: int, trials: int, batch: int) -> str | None:
    """Failures that come in batches: trials of one batch have a coin in common, and count for less than they are.

    Of all pairs of failures, independent trials put a share (batch - 1)/(trials - 1) into one batch each.
    """
    if batch == 1 or trials <= batch or failures < 2:
        return None
    expected = failures * (failures - 1) / 2 * (batch - 1) / (trials - 1)
    units = trials / batch
    # The excess is about failures/(2 units) (X - units), X chi-squared with `units` degrees; above the bound of Laurent
    # and Massart (2000) with a chance of 1e-6. Twenty pairs more for failures that are few.
    if pairs <= expected + failures / units * ((14.0 * units) ** 0.5 + 14.0) + 20.0:
        return None
    return (
        f"shared_coins: {pairs} pairs of failures fell into one batch, where independent trials put about "
        f"{expected:.0f}; outcomes that share a coin are no independent trials"
    )
