"""The figure of a rare failure: how much each bound gives away."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from boundlab.verification.rare import RareFailure

from boundlab.report.figures import BLUE, GREEN, GREY, INK, ORANGE, SKY

COLOURS = {"certified upper limit": GREEN, "estimate": GREY, "certified lower limit": GREY}


def plot_looseness(failure: RareFailure, ax: Axes | None = None) -> Axes:
    """Draw -log10 of each bound as a bar from 1 down to it; the limits that hold the truth stand out."""
    if ax is None:
        from matplotlib.figure import Figure

        ax = Figure(figsize=(7.2, 3.6), layout="constrained").subplots()
    rows = [row for row in failure.rows() if math.isfinite(row["log10"])]
    others = iter((ORANGE, SKY, BLUE, INK))
    for k, row in enumerate(rows):
        colour = COLOURS.get(row["quantity"]) or next(others)
        width = -min(0.0, row["log10"])
        ax.barh(k, width, color=colour, height=0.6)
        number = f"{10 ** (row['log10'] % 1):.2g}e{math.floor(row['log10'])}"  # however small
        ax.text(width, k, f" {number}, {row['times_estimate']:.3g} x the estimate", va="center", fontsize=8)
    ax.set_yticks(range(len(rows)), [row["quantity"] for row in rows], fontsize=8)
    ax.invert_yaxis()
    ax.set_xlim(0, 1.6 * max([1.0, *(-row["log10"] for row in rows)]))
    ax.set_xlabel("- log10 of the failure probability: a shorter bar gives more away")
    ax.set_title("What each bound says of the failure probability", loc="left", fontsize=10)
    return ax
