"""The figures of bounds compared and of measures ranked: one function each, on the axes that it is given."""

from __future__ import annotations

import math
from textwrap import fill
from typing import TYPE_CHECKING, Any

from boundlab.promises import Standing
from boundlab.report.figures import BLUE, GREEN, GREY, INK, ORANGE, RED

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from boundlab.comparing import Compared, Comparison
    from boundlab.ranking import Ranking

_SHARE = 0.68  # of the width that risks up to 1 get; what is beyond shares the rest, on a logarithmic scale
_STYLE = {  # colour, filled, hatch: each standing differs in two of them, so that grey print tells them apart
    str(Standing.NON_VACUOUS): (BLUE, True, ""),
    str(Standing.VACUOUS): (GREY, True, ""),
    str(Standing.MEASURE): (ORANGE, False, "...."),
    str(Standing.VOID): (RED, False, "////"),
}


def plot_comparison(comparison: Comparison, ax: Axes | None = None) -> Axes:
    """Draw every bound as a bar, best first: linear up to a risk of 1, logarithmic beyond.

    Each bar has its value and its standing beside it; training error, test error and chance are lines.
    """
    if ax is None:
        from matplotlib.figure import Figure

        height = 1.7 + 0.34 * len(comparison.lines)
        ax = Figure(figsize=(9.0, height), layout="constrained").subplots()
    order = [*_STYLE, "does not apply"]
    lines = sorted(comparison.lines, key=lambda line: (order.index(line.standing), _raw(line)))
    right = _scale(ax, max((_raw(line) for line in lines if _raw(line) < math.inf), default=1.0))
    ax.axvspan(comparison.chance, right, color="#f1f1f1", zorder=0)
    for k, line in enumerate(lines):
        _bar(ax, k, line, right)
    ax.set_yticks(range(len(lines)), [fill(line.name, 30) for line in lines], fontsize=8)
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(len(lines) - 0.4, -0.6)
    _marks(ax, comparison)
    ax.set_xlabel("upper bound on the risk" + ("" if right <= 1.0 else "; beyond 1 on a logarithmic scale"), fontsize=8)
    for side in ("top", "right", "left"):
        ax.spines[side].set_visible(False)
    return ax


def _raw(line: Compared) -> float:
    return math.inf if line.bound is None else line.bound.raw


def _scale(ax: Axes, largest: float) -> float:
    """Set the scale, and return where the axis ends."""
    decades = math.ceil(math.log10(largest)) if largest > 1.0 else 0
    if decades:
        # symlog is linear up to linthresh and gives that part linscale / 0.9 decades
        ax.set_xscale("symlog", linthresh=1.0, linscale=0.9 * decades * _SHARE / (1.0 - _SHARE), base=10)
        ax.axvline(1.0, color="#bbbbbb", linewidth=0.8, zorder=1)
    powers = sorted({math.ceil(decades / 2), decades} - {0})
    names = ["0", "50 %", "1", *(f"$10^{{{p}}}$" for p in powers)]
    ax.set_xticks([0.0, 0.5, 1.0, *(10.0**p for p in powers)], names, fontsize=8)
    ax.set_xticks([0.25, 0.75], minor=True)
    ax.set_xlim(0.0, 10.0**decades)
    return 10.0**decades


def _bar(ax: Axes, k: int, line: Compared, right: float) -> None:
    """One bar, with its value and standing in the right margin; a dotted line leads there."""
    colour, end = GREY, 0.0
    if line.bound is not None:
        colour, filled, hatch = _STYLE[line.standing]
        end = min(line.bound.raw, right)
        ax.barh(
            k,
            end,
            height=0.56,
            color=colour if filled else "white",
            edgecolor=colour,
            hatch=hatch,
            linewidth=1,
            zorder=2,
        )
    ax.plot([end, right], [k, k], ":", color="#cccccc", linewidth=0.8, zorder=1)
    ink = {BLUE: INK, GREY: "#6b6b6b", ORANGE: "#946600"}.get(colour, colour)
    bold = "bold" if line.standing == Standing.NON_VACUOUS else "normal"
    for text, at, aligned in ((_number(line), 44, "right"), (line.standing, 50, "left")):
        ax.annotate(
            text,
            (1.0, k),
            xycoords=("axes fraction", "data"),
            xytext=(at, 0),
            textcoords="offset points",
            ha=aligned,
            va="center",
            fontsize=8,
            color=ink,
            fontweight=bold,
        )


def _number(line: Compared) -> str:
    """A risk in percent, what exceeds 1 as a number."""
    if line.bound is None:
        return ""
    raw = line.bound.raw
    if math.isinf(raw):
        return "∞"
    if raw <= 1.0 and not line.bound.measure:
        return f"{math.ceil(1e4 * raw - 1e-9) / 100:.2f} %"  # rounded up, as the bound is
    if raw < 1e4:
        return f"{raw:.3g}" if raw < 100 else f"{raw:,.0f}"
    return f"{raw:.1e}".replace("e+0", "e").replace("e+", "e")


def _marks(ax: Axes, comparison: Comparison) -> None:
    """Lines for what was observed and for a guess; each label on a step of its own, so that none covers another."""
    marks = [
        ("training error", comparison.training_error, GREEN, "-"),
        ("test error", comparison.test_error, INK, "--"),
    ]
    marks += [("chance", comparison.chance, RED, ":")]
    known = [(name, at, colour, style) for name, at, colour, style in marks if at is not None]
    for step, (name, at, colour, style) in enumerate(reversed(known)):
        ax.axvline(at, color=colour, linestyle=style, linewidth=1.2, zorder=3)
        left = at < 0.5
        place = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
        up = {"arrowstyle": "-", "color": colour, "linestyle": style, "linewidth": 1.2, "shrinkA": 0, "shrinkB": 0}
        ax.annotate("", (at, 1.0), xytext=(0, 11 + 11 * step), arrowprops=up, **place)
        ax.annotate(
            f"{name} {at:.2%}".replace("%", " %"),
            (at, 1.0),
            xytext=(3 if left else -3, 3 + 11 * step),
            **place,
            ha="left" if left else "right",
            fontsize=8,
            color=colour,
        )


def plot_ranking(ranking: Ranking, ax: Axes | None = None) -> Axes:
    """Draw tau, granulated tau and information of every measure, the largest granulated tau first.

    The line through a mark is its interval, the grey bar behind it what it reaches when its values are dealt out
    among the settings. On the right: the largest sign error of an environment, and in how many of them the measure is
    wrong more often than right.
    """
    lines = sorted(ranking.lines, key=lambda line: -line.granulated.value)
    if ax is None:
        from matplotlib.figure import Figure

        ax = Figure(figsize=(9.0, 1.5 + 0.5 * len(lines)), layout="constrained").subplots()
    kinds = [("tau", BLUE, "o", "Kendall's τ"), ("granulated", RED, "D", "granulated τ")]
    kinds += [("information", GREEN, "s", "conditional information")]

    def beside(text: str, at: tuple[float, float], points: int, frame: Any, va: str = "center") -> None:
        ax.annotate(text, at, (points, 0), xycoords=frame, textcoords="offset points", ha="center", va=va, fontsize=8)

    for k, line in enumerate(lines):
        for shift, (name, colour, mark, label) in zip((-0.22, 0.0, 0.22), kinds, strict=True):
            score, told = getattr(line, name), label if k == 0 else ""
            ax.barh(k + shift, score.noise[1] - score.noise[0], 0.19, score.noise[0], color="#e2e2e2", zorder=1)
            if score.interval is not None:
                ax.plot(score.interval, [k + shift] * 2, color=colour, linewidth=1.4, zorder=2)
            ax.plot(score.value, k + shift, mark, color=colour, markersize=5, label=told, zorder=3)
        beside(f"{line.robust.value:.2f}", (1.0, k), 22, ("axes fraction", "data"))
        beside(f"{100 * line.wrong:.0f} %", (1.0, k), 62, ("axes fraction", "data"))
    beside("largest\nsign error", (1.0, 1.0), 22, "axes fraction", va="bottom")
    beside("wrong\nin", (1.0, 1.0), 62, "axes fraction", va="bottom")
    ax.axvline(0.0, color=INK, linewidth=0.8, zorder=1)
    ax.set_yticks(range(len(lines)), [fill(line.measure, 30) for line in lines], fontsize=8)
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(len(lines) - 0.45, -0.55)
    ax.set_xlim(-1.0, 1.0)
    ax.set_xticks([-1.0, -0.5, 0.0, 0.5, 1.0], ["-1", "-0.5", "0", "0.5", "1"], fontsize=8)
    ax.set_xlabel(
        "agreement with the generalization gap; grey: 95 % of deals of its values among the settings", fontsize=8
    )
    place: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (-0.02, 1.0), "borderaxespad": 0.1}
    ax.legend(frameon=False, fontsize=8, ncols=3, handletextpad=0.1, columnspacing=0.8, **place)
    for side in ("top", "right", "left"):
        ax.spines[side].set_visible(False)
    return ax
