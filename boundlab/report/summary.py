"""The audit in words and in one terminal table."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from boundlab.promises import Bound, Certificate, Status

if TYPE_CHECKING:
    from rich.console import RenderableType

    from boundlab.findings import Audit


def certificate_word(certificate: Certificate) -> str:
    """One word on a certificate: void beats vacuous beats missed beats holds."""
    if certificate.sampled_share == 0:
        return "vacuous (nothing sampled)"
    if certificate.void:
        return "void (a premise is violated)"
    if certificate.vacuous:
        return "vacuous (promised error or δ of 1 or more)"
    return "holds" if certificate.met else "holds, but δ is above the one asked for"


def bound_word(bound: Bound) -> str:
    """One word on a bound: vacuous beats void beats nothing to say."""
    return "vacuous" if bound.vacuous else "void" if bound.void else ""


def magnitude_word(audit: Audit) -> str:
    """Where magnitude pruning to as many weights changes fewer decisions, and where more."""
    rows = [r for r in audit.rows() if r["agreement"] != r["magnitude_agreement"]]
    better = [r["method"] for r in rows if r["magnitude_agreement"] > r["agreement"]]
    worse = [r["method"] for r in rows if r["magnitude_agreement"] < r["agreement"]]
    told = [f"{word} decisions than {', '.join(own)}" for word, own in (("fewer", better), ("more", worse)) if own]
    return f"It changes {' and '.join(told)}." if told else "It changes as many decisions."


def headline(audit: Audit) -> str:
    """The one sentence that a referee would write."""
    solid, reasons = [], []
    for small, c in zip(audit.compressions, audit.certificates, strict=True):
        if c.met and not c.vacuous:
            solid.append(small.compressor.name)
        elif c.sampled_share == 0:
            reasons.append("the sizes that the theorems ask for exceed the fan-in")
        elif c.void:
            reasons.append("a premise is violated")
        elif c.vacuous:
            reasons.append("the promised error exceeds the size of the output")
        else:
            reasons.append("too many hold-out points break a premise")
    if solid:
        first = f"A certificate that says something: {', '.join(solid)}."
    else:
        first = f"No certificate says anything here: {'; '.join(dict.fromkeys(reasons))}."
    useful = [f"{b.name} ({which}) {b.value:.4f}" for which, b in audit.bounds if not b.vacuous and not b.void]
    second = f" Non-vacuous bounds on the {audit.risk}: {', '.join(useful)}." if useful else ""
    if audit.bounds and not useful:
        void = any(b.void for _, b in audit.bounds)
        second = f" Every bound on the {audit.risk} is {'vacuous or lacks a premise' if void else 'vacuous'}."
    third = ""
    if audit.test_error is not None and audit.labelled:
        seen = audit.premises[0].status is Status.VIOLATED
        third = f" {'Error on a hold-out that training saw' if seen else 'Test error'}: {audit.test_error:.2%}."
    return first + second + third


def tables(audit: Audit) -> list[RenderableType]:
    """The audit's tables for a terminal (rich renderables)."""
    from rich.table import Table

    sizes = Table(title="Sample sizes, median per group", title_justify="left")
    for name in ("layer", "groups", "fan-in", "S", "published", "Bernstein", "kl", "binomial", "needed", "vacuous"):
        sizes.add_column(name, justify="right")
    for r in audit.sample_sizes:
        sizes.add_row(
            str(r["layer"]),
            f"{r['rows']:,}",
            f"{r['fan_in']:,}",
            *(number(r[k]) for k in ("total_median", "published", "bernstein", "kl", "binomial", "observed_need")),
            f"{r['vacuous_share']:.0%}",
        )
    methods = Table(title="What each method keeps and promises", title_justify="left")
    for name, side in (
        ("method", "left"),
        ("kept", "right"),
        ("δ", "right"),
        ("certificate", "left"),
        ("error", "right"),
        ("same decision", "right"),
        ("by magnitude", "right"),
    ):
        methods.add_column(name, justify="left" if side == "left" else "right")
    for r, c in zip(audit.rows(), audit.certificates, strict=True):
        methods.add_row(
            r["method"],
            f"{r['kept'] / r['weights']:.1%}",
            f"{c.delta:.3g}",
            certificate_word(c),
            f"{r['observed_relative_l1_median']:.3g}",
            f"{r['agreement']:.1%}",
            f"{r['magnitude_agreement']:.1%}",
        )
    premises = Table(title="Premises of the published theorem", title_justify="left")
    for name in ("premise", "status", "evidence"):
        premises.add_column(name)
    for p in audit.premises:
        premises.add_row(p.text, str(p.status), p.evidence)
    bounds = Table(title=f"Bounds on the {audit.risk}", title_justify="left")
    for name in ("bound", "net"):
        bounds.add_column(name)
    for name in ("value", "δ", ""):
        bounds.add_column(name, justify="right")
    for which, b in audit.bounds:
        bounds.add_row(b.name, which, f"{b.value:.4f}", f"{b.delta:g}", bound_word(b))
    verdicts = Table(title="Verdicts", title_justify="left")
    for name in ("claim", "promised", "verdict"):
        verdicts.add_column(name)
    for name in ("failures / trials", "δ"):
        verdicts.add_column(name, justify="right")
    for tested in audit.verdicts:
        v = tested.verdict
        word = f"{v.state} (the original net)" if tested.trivial else str(v.state)
        verdicts.add_row(
            v.claim.name, "yes" if tested.promised else "no", word, f"{v.failures:,} / {v.trials:,}", f"{v.delta:g}"
        )
    return [sizes, methods, premises, *([bounds] if audit.bounds else []), verdicts]


def number(value: float | None) -> str:
    """A number as a reader wants it: 12,345 and 1.2e+09, never 12 digits."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if math.isinf(value):
        return "∞"
    if abs(value) >= 1e6 or (value != 0 and abs(value) < 1e-3):
        return f"{value:.1e}"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.4g}"
