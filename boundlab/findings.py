"""Everything that one audit found, in one record: rows, JSON, the page."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from boundlab.files import write_atomically
from boundlab.promises import Bound, Certificate, Premise
from boundlab.records import Compression, Record, Row
from boundlab.verification.verdict import Verdict

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SCHEMA = "boundlab.audit/1"
CLASSIFICATION = "classification error"
DISAGREEMENT = "disagreement with the original net"


@dataclass(frozen=True, kw_only=True)
class Tested:
    """A verdict, and what it is on."""

    verdict: Verdict
    promised: bool  # False: nobody promises the claim; it is tested to show what a refutation looks like
    trivial: bool  # every group is kept: the net is the original, and the claim holds of itself


@dataclass(frozen=True, kw_only=True, eq=False)
class Audit(Record):
    """Everything that one audit found; `to_dict` is the documented JSON, `to_html` the page."""

    settings: Row
    net: Row
    data: Row
    risk: str
    test_error: float | None
    constants: Row
    sample_sizes: list[Row]  # one per layer
    group_sizes: list[Row]  # one per group
    schedules: list[Row]
    premises: tuple[Premise, ...]
    compressions: tuple[Compression, ...]
    certificates: tuple[Certificate, ...]
    magnitude: tuple[float, ...]  # of each method: how often magnitude pruning to as many weights decides as the net
    bounds: tuple[tuple[str, Bound], ...]  # (which net, bound)
    verdicts: tuple[Tested, ...]
    curve: list[Row]
    notes: tuple[str, ...]

    @property
    def labelled(self) -> bool:
        """True where the risk is about given labels, False where it is about the net's own."""
        return self.risk == CLASSIFICATION

    def rows(self) -> list[Row]:
        """One line per method: what it kept, what is promised, what is seen."""
        lines = []
        for small, promise, rival in zip(self.compressions, self.certificates, self.magnitude, strict=True):
            lines.append(
                {
                    "method": small.compressor.name,
                    "weights": small.original.nnz,
                    "kept": small.nnz,
                    "missed": small.missed,
                    "sampled_share": promise.sampled_share,
                    "promise": promise.claim,
                    "delta": promise.delta,
                    "vacuous": promise.vacuous,
                    "void": promise.void,
                    **promise.error,
                    "magnitude_agreement": rival,
                }
            )
        return lines

    def to_dict(self) -> Row:
        """The audit as JSON values: NaN and infinities become null; see docs/audit-json.md for each field."""
        return _plain(
            {
                "schema": SCHEMA,
                "settings": self.settings,
                "net": self.net,
                "data": self.data,
                "risk": self.risk,
                "test_error": self.test_error,
                "constants": self.constants,
                "sample_sizes": self.sample_sizes,
                "group_sizes": self.group_sizes,
                "schedules": self.schedules,
                "premises": [
                    {**p.rows()[0], "numbers": [{"name": k, "value": v} for k, v in p.numbers.items()]}
                    for p in self.premises
                ],
                "compressions": [
                    {**row, "layers": small.rows()} for row, small in zip(self.rows(), self.compressions, strict=True)
                ],
                "certificates": [
                    {
                        "method": small.compressor.name,
                        **c.rows()[0],
                        "budget": dict(c.budget),
                        "error": dict(c.error),
                        "premises": [p.rows()[0] for p in c.premises],
                    }
                    for small, c in zip(self.compressions, self.certificates, strict=True)
                ],
                "bounds": [
                    {
                        "name": b.name,
                        "net": which,
                        "value": b.value,
                        "raw": b.raw,
                        "delta": b.delta,
                        "vacuous": b.vacuous,
                        "void": b.void,
                        "theorem": b.theorem,
                        "terms": [{"name": n, "value": v} for n, v in b.terms],
                        "facts": dict(b.facts),
                        "premises": [p.rows()[0] for p in b.premises],
                    }
                    for which, b in self.bounds
                ],
                "verdicts": [
                    {
                        **t.verdict.rows()[0],
                        "promised": t.promised,
                        "trivial": t.trivial,
                        "alpha_upheld": t.verdict.alpha_upheld,
                        "alpha_violated": t.verdict.alpha_violated,
                        "log_e_upheld": t.verdict.log_e_upheld,
                        "log_e_violated": t.verdict.log_e_violated,
                        "resolution": t.verdict.resolution,
                        "seed": t.verdict.seed,
                        "path": [list(step) for step in t.verdict.path],
                    }
                    for t in self.verdicts
                ],
                "curve": self.curve,
                "notes": list(self.notes),
            }
        )

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the sample sizes of the theory beside the fan-in and what was needed."""
        from boundlab.report.figures import plot_sample_sizes

        return plot_sample_sizes(self, ax)

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return the JSON text, and write it to `path` (atomically) where one is given."""
        text = json.dumps(self.to_dict(), indent=1, allow_nan=False, ensure_ascii=False) + "\n"
        if path is not None:
            write_atomically({Path(path): text})
        return text

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return the report as one self-contained page, and write it to `path` (atomically) where one is given."""
        from boundlab.report.page import page

        text = page(self)
        if path is not None:
            write_atomically({Path(path): text})
        return text

    def _repr_html_(self) -> str:
        return self.to_html()


def _plain(value: Any) -> Any:
    """JSON values only: numpy scalars unwrapped, NaN and infinities to null."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
