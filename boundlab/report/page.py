"""The report: one self-contained HTML page, figures inline as SVG, nothing fetched from elsewhere."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from boundlab.report import figures
from boundlab.report.summary import bound_word, certificate_word, headline, magnitude_word, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from boundlab.findings import Audit
    from boundlab.promises import Bound
    from boundlab.records import Row

Column = tuple[str, Callable[[Any], str]]
WORDS = ("vacuous", "violated", "void", "upheld", "checked", "holds")


def page(audit: Audit) -> str:
    """Return the whole page as HTML text."""
    style = files("boundlab.report").joinpath("style.css").read_text(encoding="utf-8")
    sizes = "-".join(str(n) for n in audit.net["sizes"])
    sections = [
        f"<h1>Audit of a {sizes} network</h1>",
        f"<p class='soft'>{escape(audit.net['source'])} on {escape(audit.data['source'])} · promise asked for: "
        f"ε = {audit.settings['eps']:g}, δ = {audit.settings['delta']:g} · seed {audit.settings['seed']}</p>",
        f"<p class='lead'>{escape(headline(audit))}</p>",
        *(f"<p class='soft'>Note: {escape(note)}.</p>" for note in audit.notes),
        _methods(audit),
        _sizes(audit),
        _premises(audit),
        _errors(audit),
        _bounds(audit),
        _verdicts(audit),
        _appendix(audit),
    ]
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>boundlab: audit of a {sizes} network</title><style>{style}</style></head>"
        f"<body>{''.join(sections)}</body></html>\n"
    )


def _methods(audit: Audit) -> str:
    rows = [
        {**row, "word": certificate_word(c), "total": c.delta, "asked": c.requested_delta}
        for row, c in zip(audit.rows(), audit.certificates, strict=True)
    ]
    columns: list[Column] = [
        ("method", lambda r: r["method"]),
        ("weights kept", lambda r: f"{r['kept']:,} of {r['weights']:,}"),
        ("missed", lambda r: f"{r['missed']:+,}" if r["missed"] else "0"),
        ("sampled", lambda r: f"{r['sampled_share']:.1%}"),
        ("promise", lambda r: r["promise"].removesuffix(" in every output")),
        ("δ (asked)", lambda r: f"{r['total']:.3g} ({r['asked']:g})"),
        ("certificate", lambda r: r["word"]),
        ("observed error", lambda r: f"{r['observed_relative_l1_median']:.3g}"),
        ("same decision (by magnitude)", lambda r: f"{r['agreement']:.1%} ({r['magnitude_agreement']:.1%})"),
    ]
    return (
        "<h2>What each method keeps and promises</h2>"
        + _table(rows, columns)
        + "<p class='soft'>A group is one neuron and one sign of its weights. Where m reaches a group's number of "
        "edges, the group is kept exactly; with every group kept the promise is that of the original net. A group that "
        "no calibration point activates is dropped. A promise is on every output, and its δ is over fresh coins and a "
        "fresh input together: the one net that was drawn fails on at most a share √δ of the inputs, with probability "
        "at least 1 − √δ over the coins. “Observed error” is the median of ‖f̂ − f‖₁/‖f‖₁ on fresh points; “by "
        f"magnitude” is magnitude pruning to as many weights, which promises nothing. {magnitude_word(audit)}</p>"
    )


def _sizes(audit: Audit) -> str:
    columns: list[Column] = [
        ("layer", lambda r: str(r["layer"])),
        ("groups", lambda r: f"{r['rows']:,}"),
        ("fan-in", lambda r: f"{r['fan_in']:,}"),
        ("edges, median", lambda r: number(r["edges_median"])),
        ("S, median", lambda r: number(r["total_median"])),
        ("ε of the layer", lambda r: number(r["eps"])),
        ("published", lambda r: number(r["published"])),
        ("Bernstein", lambda r: number(r["bernstein"])),
        ("kl", lambda r: number(r["kl"])),
        ("binomial", lambda r: number(r["binomial"])),
        ("observed need", _need),
        ("vacuous share", lambda r: f"{r['vacuous_share']:.0%}"),
    ]
    return (
        "<h2>Sample sizes against fan-in</h2>"
        + _figure(lambda: figures.plot_sample_sizes(audit))
        + _table(audit.sample_sizes, columns)
        + "<p class='soft'>The four sizes differ in the inequality alone; binomial is necessary for some group, and no "
        "certificate. The observed need is the smallest m, sampling that layer alone, at which the observed rate of "
        "outputs outside (1 ± ε)f meets δ. Layers are numbered as in the paper: layer 1 is the input.</p>"
    )


def _need(row: Row) -> str:
    need = row.get("observed_need")
    return number(need) if need is not None and need == need else "not met"  # NaN: the largest m tried did not do


def _premises(audit: Audit) -> str:
    columns: list[Column] = [
        ("premise", lambda p: p.text),
        ("status", lambda p: str(p.status)),
        ("evidence", lambda p: p.evidence),
    ]
    return (
        "<h2>Premises, tested on the data</h2>"
        + _table(audit.premises, columns)
        + _figure(lambda: figures.plot_tail(audit))
    )


def _errors(audit: Audit) -> str:
    return "<h2>Promised against observed error</h2>" + _figure(lambda: figures.plot_errors(audit))


def _bounds(audit: Audit) -> str:
    if not audit.bounds:
        return "<h2>Generalization bounds</h2><p>None: see the note above.</p>"
    columns: list[Column] = [
        ("bound", lambda b: b[1].name),
        ("net", lambda b: b[0]),
        ("value", _bound_value),
        ("δ", lambda b: f"{b[1].delta:g}"),
        ("terms", lambda b: " + ".join(f"{n} {number(v)}" for n, v in b[1].terms)),
        ("premises violated", lambda b: "; ".join(p.text for p in b[1].premises if p.status == "violated") or "none"),
    ]
    return (
        "<h2>Generalization bounds</h2>"
        + _figure(lambda: figures.plot_bounds(audit))
        + _table(audit.bounds, columns)
        + "<p class='soft'>Each bound spends its own δ; holding all of them at once costs the sum.</p>"
    )


def _bound_value(pair: tuple[str, Bound]) -> str:
    word = bound_word(pair[1])
    value = number(pair[1].raw) if pair[1].vacuous else f"{pair[1].value:.4f}"
    return f"{value} ({word})" if word else value


def _verdicts(audit: Audit) -> str:
    columns: list[Column] = [
        ("claim", lambda t: t.verdict.claim.name.removesuffix(" in every output")),
        ("promised", lambda t: "yes" if t.promised else "no"),
        ("verdict", lambda t: str(t.verdict.state) + (" (the original net)" if t.trivial else "")),
        ("failures / trials", lambda t: f"{t.verdict.failures:,} / {t.verdict.trials:,}"),
        ("unknown", lambda t: f"{t.verdict.unknown:,}"),
        ("δ", lambda t: f"{t.verdict.delta:g}"),
        ("rate lies in", lambda t: f"[{t.verdict.interval[0]:.3g}, {t.verdict.interval[1]:.3g}]"),
        ("stopped by", lambda t: t.verdict.stopped_because),
    ]
    telling = [t.verdict for t in audit.verdicts if not t.trivial] or [t.verdict for t in audit.verdicts[:1]]
    first = audit.verdicts[0].verdict if audit.verdicts else None
    levels = (
        f"“Upheld” is wrong with probability at most {first.alpha_upheld:g}, “violated” with at most "
        f"{first.alpha_violated:g}, however long one looks."
        if first is not None
        else ""
    )
    return (
        "<h2>Verdicts: trying to break the promise</h2>"
        + _table(audit.verdicts, columns)
        + f"<p class='soft'>Each trial draws fresh coins and a fresh input. {levels} A claim that "
        "nobody promises is tested to show what a refutation looks like.</p>"
        + "".join(_figure(lambda v=v: figures.plot_evidence(v)) for v in telling[:3])
    )


def _appendix(audit: Audit) -> str:
    names = list(audit.constants["published"])
    constants: list[Column] = [
        ("constant", lambda n: n),
        *((v, lambda n, v=v: number(audit.constants[v][n])) for v in audit.constants),
    ]
    schedule: list[Column] = [
        ("Δ from", lambda r: r["condition_from"]),
        ("schedule", lambda r: r["schedule"]),
        ("layer", lambda r: str(r["layer"])),
        ("Δ", lambda r: number(r["condition"])),
        ("ε of the layer", lambda r: number(r["eps"])),
        ("kl size, K = 1", lambda r: number(r["kl"])),
        ("vacuous share", lambda r: f"{r['vacuous_share']:.0%}"),
    ]
    return (
        "<h2>Constants of the theory</h2>"
        + _table(names, constants)
        + "<h2>Schedules</h2>"
        + _table(audit.schedules, schedule)
        + "<p class='soft'>Every figure of this page is in audit.json beside it.</p>"
    )


def _table(rows: Sequence[Any], columns: Sequence[Column]) -> str:
    """A table whose columns of words stand left and whose columns of numbers stand right."""
    cells = [[cell(row) for row in rows] for _, cell in columns]
    words = [k == 0 or any(sum(map(str.isalpha, value)) > 4 for value in column) for k, column in enumerate(cells)]
    head = "".join(
        f"<th class='text'>{escape(name)}</th>" if words[k] else f"<th>{escape(name)}</th>"
        for k, (name, _) in enumerate(columns)
    )
    body = []
    for row in zip(*cells, strict=True):
        kinds = (" ".join(filter(None, ["text" if words[k] else "", _status(v)])) for k, v in enumerate(row))
        body.append("".join(f"<td class='{kind}'>{escape(v)}</td>" for kind, v in zip(kinds, row, strict=True)))
    lines = "".join(f"<tr>{line}</tr>" for line in body)
    return f"<div class='scroll'><table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>"


def _status(value: str) -> str:
    """The class of a cell that starts or ends with a word that has a colour."""
    if "original net" in value:
        return ""
    parts = value.replace("(", "").replace(")", "").split()
    return next((w for w in WORDS if parts and w in (parts[0], parts[-1])), "")


def _figure(draw: Callable[[], Axes]) -> str:
    """Draw onto a figure of its own and return it as inline SVG, the same bytes on every run."""
    import matplotlib as mpl

    with mpl.rc_context({"svg.hashsalt": "boundlab", "svg.fonttype": "path", "font.size": 9}):
        figure = draw().get_figure(root=True)
        if figure is None:
            raise RuntimeError("a figure must have axes on a figure.")
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    return f"<figure>{svg[svg.index('<svg') :]}</figure>"
