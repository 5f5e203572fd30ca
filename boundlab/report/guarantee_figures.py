"""The figures of verified guarantees: one function each, on the axes that it is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from boundlab._errors import InvalidParameter, probability
from boundlab._theory import implements
from boundlab.report.figures import BLUE, GREEN, GREY, INK, ORANGE, RED, SKY, _axes
from boundlab.verification.claim import Over
from boundlab.verification.judging.evidence import lower_limit, upper_limit
from boundlab.verification.judging.methods import Method, rule_for
from boundlab.verification.verdict import State

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from boundlab.verification.levels import Levels
    from boundlab.verification.solving import Tightness
    from boundlab.verification.verdict import Verdict

COLOUR = {State.UPHELD: GREEN, State.VIOLATED: RED, State.UNDECIDED: ORANGE}


def plot_levels(levels: Levels, ax: Axes | None = None, *, alpha: float = 0.05) -> Axes:
    """Draw P(U < u) - u against u: above 0 the theorem fails more often than it says.

    The band holds at all u together and at whatever moment the run ended, but for a chance alpha. Only one side counts:
    a curve far below 0 is a loose theorem, not a wrong one.
    """
    ax = _axes(ax)
    u, failed, low, high = _band(levels, alpha)
    ax.fill_between(u, low - u, high - u, color=SKY, alpha=0.3, linewidth=0, label=f"{1 - alpha:.0%} band")
    ax.plot(u, failed - u, color=BLUE, label="observed, less what is allowed")
    wrong = low > u
    ax.plot(u[wrong], (failed - u)[wrong], ".", color=RED, label="fails too often" if wrong.any() else "")
    ax.axhline(0.0, color=INK, linewidth=1)
    _marks(ax, levels, lambda delta, share: (delta, share - delta))
    ax.set_xlabel("u, the level of the theorem")
    ax.set_ylabel("P(U < u) − u")
    ax.set_title(f"{levels.claim.name}: {levels.state} in {levels.trials} trials", fontsize=9)
    ax.grid(color="#dddddd")
    ax.legend(frameon=False, fontsize=8)
    return ax


def plot_tail_of_levels(
    levels: Levels, ax: Axes | None = None, *, eps: Callable[[float], float] | None = None, alpha: float = 0.05
) -> Axes:
    """Draw the error's tail P(error > eps(delta)) on log axes beside the theorem's, which is delta.

    With eps(delta), the x axis is the error; without it, delta itself. The band is that of `plot_levels`.
    """
    ax = _axes(ax)
    u, failed, low, high = _band(levels, alpha)
    inside = u < 1.0
    at = u if eps is None else np.array([eps(float(level)) if level < 1.0 else np.nan for level in u])
    floor = 0.3 / max(1, levels.trials)  # log axes have no 0
    order = np.argsort(at[inside])
    x, shown = at[inside][order], lambda share: np.maximum(share[inside][order], floor)
    ax.fill_between(x, shown(low), shown(high), color=SKY, alpha=0.3, linewidth=0, label=f"{1 - alpha:.0%} band")
    ax.plot(x, np.where(failed[inside][order] > 0, failed[inside][order], np.nan), color=BLUE, label="observed")
    ax.plot(x, u[inside][order], color=INK, linestyle="--", label="the theorem")
    _marks(ax, levels, lambda delta, share: (delta if eps is None else eps(delta), max(share, floor)))
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("delta" if eps is None else "error")
    ax.set_ylabel("P(failure at delta)" if eps is None else "P(error > x)")
    ax.set_title(f"{levels.claim.name}: {levels.state} in {levels.trials} trials", fontsize=9)
    ax.grid(color="#dddddd")
    ax.legend(frameon=False, fontsize=8)
    return ax


def plot_plane(verdict: Verdict, ax: Axes | None = None) -> Axes:
    """Draw the run in the plane of trials and failures, with the borders at which its method decides.

    Where outcomes were unknown, the path is a band: from the failures alone up to failures and unknown together.
    A claim about shares has no such plane, and is refused.
    """
    if verdict.claim.over is Over.SET_MEAN:
        raise InvalidParameter(f"a plane of counts needs outcomes that are 0 or 1, got a claim over '{Over.SET_MEAN}'.")
    ax = _axes(ax)
    method = Method(verdict.method)
    last = max(verdict.trials, verdict.fewest if method is not Method.FIXED else verdict.trials, 1)
    rule = rule_for(verdict.claim, method, verdict.alpha_upheld, verdict.alpha_violated, last)
    low, high = rule.boundaries(min(last, rule.horizon or last))
    n = np.arange(len(low))
    ax.plot(n, np.where(low >= 0, low, np.nan), color=GREEN, linewidth=1, drawstyle="steps-post", label="upheld below")
    ax.plot(
        n, np.where(high <= n, high, np.nan), color=RED, linewidth=1, drawstyle="steps-post", label="violated above"
    )
    trials, failures, unknown = np.array([(0, 0, 0), *verdict.path]).T
    ax.fill_between(trials, failures, failures + unknown, color=GREY, alpha=0.4, linewidth=0)
    ax.plot(trials, failures, color=INK, label="this run")
    ax.plot(n, verdict.delta * n, color=INK, linewidth=1, linestyle=":", label="delta times trials")
    ax.set_ylim(-0.5, 1.6 * max(float(failures[-1] + unknown[-1]), verdict.delta * last, 4.0))
    ax.set_xlabel(f"trials over {verdict.claim.over}")
    ax.set_ylabel("failures")
    ax.set_title(f"{verdict.claim.name}: {verdict.state}", fontsize=9)
    ax.grid(color="#dddddd")
    ax.legend(frameon=False, fontsize=8)
    return ax


def plot_verdicts(
    found: Sequence[Sequence[Verdict]],
    rows: Sequence[object],
    columns: Sequence[object],
    ax: Axes | None = None,
    *,
    names: tuple[str, str] = ("", ""),
) -> Axes:
    """Draw a table of verdicts, one cell each: the state by colour and letter, undecided cells hatched.

    `rows` and `columns` label the cells, `names` the axes. Each verdict has its own error levels: for a statement about
    the whole table, split them over its cells beforehand, or judge the evidence by `judging.many`.
    """
    if not found or any(len(line) != len(columns) for line in found) or len(found) != len(rows):
        raise InvalidParameter(
            f"a table of verdicts must have shape ({len(rows)}, {len(columns)}), as its labels have."
        )
    from matplotlib.patches import Rectangle

    ax = _axes(ax)
    for i, line in enumerate(found):
        for j, verdict in enumerate(line):
            hatch = "///" if verdict.state is State.UNDECIDED else None
            colour = COLOUR[verdict.state]
            ax.add_patch(
                Rectangle((j - 0.5, i - 0.5), 1, 1, facecolor=colour, edgecolor="white", hatch=hatch, alpha=0.75)
            )
            ax.text(j, i, f"{verdict.failures}/{verdict.trials}", ha="center", va="center", fontsize=8)
    ax.set_xlim(-0.5, len(columns) - 0.5)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xticks(range(len(columns)), [str(c) for c in columns])
    ax.set_yticks(range(len(rows)), [str(r) for r in rows])
    ax.set_xlabel(names[1])
    ax.set_ylabel(names[0])
    for state, colour in COLOUR.items():
        ax.add_patch(Rectangle((0, 0), 0, 0, facecolor=colour, alpha=0.75, label=str(state)))
    ax.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, 1.12), ncols=3)
    return ax


def plot_solving(found: Tightness, ax: Axes | None = None) -> Axes:
    """Draw the limits of the failure probability at each size that was asked for, and the bracket that they leave."""
    ax, delta = _axes(ax), found.verdicts[0][1].delta
    for state, colour in COLOUR.items():
        some = [(m, v) for m, v in found.verdicts if v.state is state]
        if some:
            middle = np.array([(v.failures + v.unknown / 2) / max(1, v.trials) for _, v in some])
            reach = np.array([v.interval for _, v in some])
            sides = np.maximum([middle - reach[:, 0], reach[:, 1] - middle], 0.0)
            at = [m for m, _ in some]
            ax.errorbar(at, middle, sides, fmt="o", color=colour, label=str(state), capsize=3, markersize=4)
    ax.axhline(delta, color=INK, linewidth=1, linestyle="--", label="delta")
    if found.theory is not None:
        ax.axvline(found.theory, color=GREY, linewidth=1.5, label=f"the theorem's {found.over}")
    ax.set_xscale("log")
    ax.set_yscale("symlog", linthresh=delta / 10)  # a limit of 0 has its place too
    ax.set_ylim(bottom=0.0)
    ax.set_xlabel(found.over)
    ax.set_ylabel("failure probability")
    bracket = f"violated at {found.violated or 'none'}, upheld at {found.upheld or 'none'}"
    ax.set_title(f"the smallest {found.over} that keeps the promise: {bracket}", fontsize=9)
    ax.grid(color="#dddddd")
    ax.legend(frameon=False, fontsize=8)
    return ax


def plot_tightness(found: Sequence[tuple[float, Tightness]], ax: Axes | None = None) -> Axes:
    """Draw theory/needed against eps, with the limits that the verdicts leave: at 1 a theorem is tight."""
    if not found or any(t.theory is None or t.upheld is None for _, t in found):
        raise InvalidParameter("tightness is drawn for solved sizes with the theorem's beside them, got one without.")
    ax = _axes(ax)
    eps = np.array([e for e, _ in found])
    order = np.argsort(eps)
    low, high = np.array([t.ratio for _, t in found]).T
    ax.plot(eps[order], low[order], "o-", color=BLUE, label="at least")
    ax.plot(eps[order], np.where(np.isfinite(high[order]), high[order], np.nan), "v--", color=SKY, label="at most")
    ax.axhline(1.0, color=INK, linewidth=1)
    ax.set_yscale("log")
    ax.set_xlabel("eps")
    ax.set_ylabel(f"{found[0][1].over} of the theorem / {found[0][1].over} needed")
    ax.set_title("How much more than needed the theorem asks for", fontsize=9)
    ax.grid(color="#dddddd")
    ax.legend(frameon=False, fontsize=8)
    return ax


@implements("darling1967_confidence_sequence")
def _band(levels: Levels, alpha: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """u, the share with U < u, and limits of P(U < u) that hold at all these u and at every n together, up to alpha.

    A confidence sequence at each of the G points, at alpha/(2 G) a side. The band of Dvoretzky, Kiefer and Wolfowitz
    would not do: it holds at one n fixed beforehand, and is too wide to say anything where delta is small.
    """
    part = probability("alpha", alpha) / (2 * len(levels.curve))
    u, k = (np.array(column) for column in zip(*levels.curve, strict=True))
    n = np.full(len(k), float(levels.trials))
    low = lower_limit(n, k.astype(np.float64), part)
    high = upper_limit(n, (k + levels.unknown).astype(np.float64), part)
    return u, k / max(1, levels.trials), low, high


def _marks(ax: Axes, levels: Levels, place: Callable[[float, float], tuple[float, float]]) -> None:
    for state, colour in COLOUR.items():
        at = [place(v.delta, v.failures / max(1, levels.trials)) for v in levels.levels if v.state is state]
        if at:
            x, y = zip(*at, strict=True)
            ax.plot(x, y, "o", color=colour, markersize=5, linestyle="none", label=str(state))
