"""The figures of an audit: one function each, on the axes that it is given."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from boundlab.findings import Audit
    from boundlab.promises import Bound
    from boundlab.verification.verdict import Verdict

# Okabe and Ito's palette, safe for colour-blind readers.
INK, GREY, BLUE, ORANGE, GREEN, RED, SKY = "#222222", "#8a8a8a", "#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9"


def plot_sample_sizes(audit: Audit, ax: Axes | None = None) -> Axes:
    """Draw the sample size of each rule per layer, on a log scale, beside the fan-in and what was needed."""
    ax = _axes(ax)
    series = [
        ("published", "published", BLUE, "o"),
        ("bernstein", "Bernstein", SKY, "s"),
        ("kl", "kl-Chernoff", GREEN, "D"),
        ("binomial", "binomial (necessary)", ORANGE, "v"),
        ("observed_need", "observed need, layer alone", RED, "*"),
    ]
    rows = audit.sample_sizes
    at = np.arange(len(rows))
    for key, label, colour, marker in series:
        values = np.array([_number(row.get(key)) for row in rows])
        shift = 0.11 * ([s[0] for s in series].index(key) - 2)
        size = 11 if marker == "*" else 7
        ax.plot(at + shift, values, marker, color=colour, label=label, markersize=size, linestyle="none")
    for k, row in enumerate(rows):
        ax.hlines(row["fan_in"], k - 0.4, k + 0.4, color=INK, linewidth=2, label="fan-in" if k == 0 else "")
    ax.set_yscale("log")
    ax.set_xticks(at, [f"layer {row['layer']}\nfan-in {row['fan_in']}" for row in rows])
    ax.set_ylabel("draws per group, median")
    ax.set_title("Every size above the bar is vacuous: keeping all edges is cheaper", loc="left", fontsize=10)
    ax.grid(axis="y", color="#dddddd")
    ax.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return ax


def plot_errors(audit: Audit, ax: Axes | None = None) -> Axes:
    """Draw the relative error promised by Theorem B and the one observed, against the share of weights kept."""
    ax = _axes(ax)
    kept = np.array([row["kept"] for row in audit.curve]) * 100
    promised = np.array([_number(row["promised"]) for row in audit.curve])
    observed = np.array([row["observed"] for row in audit.curve])
    high = np.array([row["observed_q95"] for row in audit.curve])
    ax.plot(kept, promised, "o-", color=BLUE, label="promised (Theorem B, median point)")
    ax.plot(kept, observed, "*-", color=RED, label="observed, median point", markersize=9)
    ax.fill_between(kept, observed, high, color=RED, alpha=0.2, linewidth=0, label="observed, up to the 95 % quantile")
    ax.axhline(1.0, color=INK, linewidth=1)
    ax.annotate(
        "above 1 a promise says nothing: the zero net keeps it",
        (kept.max(), 1.0),
        xytext=(0, 4),
        textcoords="offset points",
        fontsize=8,
        color=INK,
        ha="right",
    )
    ax.set_yscale("log")
    ax.set_xlabel("weights kept, %")
    ax.set_ylabel("relative error  ‖f̂ − f‖₁ / ‖f‖₁")
    ax.set_title("Promised against observed error")
    ax.grid(color="#dddddd")
    ax.legend(frameon=False, fontsize=8)
    return ax


def plot_bounds(audit: Audit, ax: Axes | None = None) -> Axes:
    """Draw every bound as a bar, stacked by its terms and cut at 1, with the test error as a line."""
    ax = plot_terms([(f"{bound.name}\n{which}", bound) for which, bound in audit.bounds], ax)
    if audit.test_error is not None:
        ax.axvline(audit.test_error, color=INK, linestyle="--", linewidth=1.2)
        ax.annotate(
            f"test error {audit.test_error:.2%}",
            (audit.test_error, -0.5),
            xytext=(4, 0),
            textcoords="offset points",
            fontsize=8,
        )
    ax.set_xlabel(f"upper bound on the risk ({audit.risk})")
    ax.set_title("Generalization bounds beside the test error")
    return ax


def plot_terms(bounds: Sequence[tuple[str, Bound]], ax: Axes | None = None) -> Axes:
    """Draw bounds as bars, stacked by their terms and cut at 1; vacuous ones say so."""
    ax = _axes(ax)
    palette = [BLUE, ORANGE, GREEN, SKY, GREY, RED]
    # letters of 7 points that fit into a bar of length 1, a little less than that
    letters = 10.0 * ax.get_position().width * ax.figure.get_figure(root=True).get_figwidth()
    for k, (_, bound) in enumerate(bounds):
        left = 0.0
        for j, (term, value) in enumerate(bound.terms):
            width = max(0.0, min(value, 1.0 - left))
            if width > 0.004:
                ax.barh(k, width, left=left, color=palette[j % len(palette)], height=0.55, edgecolor="white")
                if len(term) < letters * width:  # a name that its bar would cut off stands in the table alone
                    ax.text(left + width / 2, k, term, ha="center", va="center", fontsize=7, color="white")
            left += width
        size = f"{bound.raw:.3f}" if bound.raw < 10 else (f"{bound.raw:.1e}" if math.isfinite(bound.raw) else "∞")
        text = f"  {size}, vacuous" if bound.vacuous else f"  {size}"
        ax.text(min(1.0, left), k, text, va="center", fontsize=8, color=RED if bound.vacuous else INK)
    ax.set_yticks(range(len(bounds)), [name for name, _ in bounds], fontsize=8)
    ax.set_ylim(len(bounds) - 0.4, -0.7)
    ax.set_xlim(0, 1.28)
    ax.set_xticks([0, 0.25, 0.5, 0.75, 1.0])
    ax.set_xlabel("upper bound on the risk")
    return ax


def plot_evidence(verdict: Verdict, ax: Axes | None = None, *, title: str | None = None) -> Axes:
    """Draw the evidence of a verdict against the number of trials, with the lines that decide.

    A method without e-processes shows the share of failures instead, unknown ones counted and not, beside delta.
    """
    ax = _axes(ax)
    steps = np.array([(0, 0, 0), *verdict.path])
    of_a_set = verdict.claim.over.startswith(("x of a set", "coins, mean"))
    if verdict.method == "e-process" and not of_a_set:
        _draw_evidence(verdict, steps, ax)
    else:
        _draw_shares(verdict, steps, ax)
    ax.set_xlabel(f"trials over {verdict.claim.over}")
    ax.set_title(title or f"{verdict.claim.name}: {verdict.state}", fontsize=9)
    ax.grid(color="#dddddd")
    ax.legend(frameon=False, fontsize=8)
    return ax


def _draw_evidence(verdict: Verdict, steps: np.ndarray, ax: Axes) -> None:
    from boundlab.verification.judging.evidence import log_e_upheld, log_e_violated

    (n, k, u), (at_upheld, at_violated) = steps.T, verdict.claim.thresholds
    up, down = log_e_upheld(n, k + u, at_upheld) / math.log(10), log_e_violated(n, k, at_violated) / math.log(10)
    ax.plot(n, up, color=GREEN, label="evidence for the claim")
    ax.plot(n, down, color=RED, label="evidence against it")
    for alpha, colour, word in (
        (verdict.alpha_upheld, GREEN, "upheld"),
        (verdict.alpha_violated, RED, "violated"),
    ):
        level = -math.log10(alpha)
        ax.axhline(level, color=colour, linestyle="--", linewidth=1)
        ax.annotate(word, (0, level), xytext=(2, 3), textcoords="offset points", fontsize=8, color=colour)
    ax.set_ylim(bottom=max(-8.0, min(*up, *down) - 0.5))
    ax.set_ylabel("log₁₀ e-value")


def _draw_shares(verdict: Verdict, steps: np.ndarray, ax: Axes) -> None:
    n, k, u = steps[1:].T
    ax.plot(n, (k + u) / n, color=RED, label="failed or unknown")
    ax.plot(n, k / n, color=BLUE, label="failed")
    ax.axhline(verdict.delta, color=INK, linewidth=1, linestyle="--", label="delta")
    ax.set_ylabel("share of the trials")


def plot_tail(audit: Audit, ax: Axes | None = None) -> Axes:
    """Draw t P(Delta > t) per layer: flat lines mean a 1/t tail, under which Delta has no mean."""
    ax = _axes(ax)
    premise = next(p for p in audit.premises if p.text.startswith("Assumption 2"))
    colours = (BLUE, ORANGE, GREEN, RED, SKY, GREY, INK)
    layers = sorted({int(name.split(":")[0].split()[1]) for name in premise.numbers if name.startswith("layer")})
    for k, layer in enumerate(layers):
        prefix = f"layer {layer}: t P(Delta > t) at t = "
        curve = [(float(n.removeprefix(prefix)), v) for n, v in premise.numbers.items() if n.startswith(prefix)]
        t, value = zip(*curve, strict=True)
        value = [v if v > 0 else float("nan") for v in value]  # a level that no value exceeded
        ax.plot(t, value, "o-", color=colours[k % len(colours)], label=f"layer {layer}")
    ax.set_xscale("log")
    ax.set_ylim(bottom=0)
    ax.set_xlabel("t")
    ax.set_ylabel("t · P(Δ > t)")
    ax.set_title("Assumption 2 asks for curves that fall to 0; flat ones mean E Δ = ∞")
    ax.grid(color="#dddddd")
    ax.legend(frameon=False, fontsize=8)
    return ax


def _axes(ax: Axes | None) -> Axes:
    if ax is not None:
        return ax
    from matplotlib.figure import Figure

    return Figure(figsize=(7.2, 3.6), layout="constrained").subplots()


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
