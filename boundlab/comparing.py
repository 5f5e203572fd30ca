"""Every bound that applies to one trained net, side by side: values, standing, premises, price, and whose risk."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from boundlab._errors import BoundlabError, InvalidParameter, UnsupportedLayer, probability
from boundlab.bounds.arora_margin import AroraMargin
from boundlab.bounds.corenet_corollary import CoreNetCorollary
from boundlab.bounds.counted_corollary import CountedCorollary
from boundlab.bounds.drawn_net import DrawnNet
from boundlab.bounds.fixed_features import LinearHead
from boundlab.bounds.generalization_bound import (
    GeneralizationBound,
    Sample,
    Subject,
    chance,
    classifier,
    count_errors,
    evidence,
)
from boundlab.bounds.gibbs import Gibbs
from boundlab.bounds.heavy_tailed import HeavyTailed
from boundlab.bounds.informed import InformedPrior
from boundlab.bounds.measures import AroraCapacity
from boundlab.bounds.occam import Occam
from boundlab.bounds.occam_pyramid import OccamPyramid
from boundlab.bounds.parameter_count import ParameterCover, StoredBits
from boundlab.bounds.path_norm import PathNorm
from boundlab.bounds.perturbation import PerturbedWeights
from boundlab.bounds.sample_compression import SampleCompression
from boundlab.bounds.sampled_net import SampledNet
from boundlab.bounds.size_independent import FrobeniusNorm, L1Norm
from boundlab.bounds.spectral import SpectralMargin
from boundlab.bounds.test_set import TestSet
from boundlab.bounds.transfer import SpectralTransfer, UnlabelledTransfer
from boundlab.nets.given_points import fingerprints, finite
from boundlab.nets.load import as_network
from boundlab.nets.module_net import ModuleNet
from boundlab.network import Network
from boundlab.promises import Bound, Premise, Standing, Status
from boundlab.records import Compressed, Record, Row

if TYPE_CHECKING:
    import torch
    from matplotlib.axes import Axes

Asked: TypeAlias = GeneralizationBound | type[GeneralizationBound]
"""A bound, or the class of one that cannot be built before there is evidence for it."""

CATALOGUE: Mapping[Asked, str] = {
    TestSet(): "the net itself",
    # counting and coding
    Occam(): "the net, rounded to a logarithmic grid",
    OccamPyramid(): "the net, rounded to whole numbers",
    StoredBits(): "the net itself",
    ParameterCover(): "the net itself",
    HeavyTailed(): "the net's large weights, with seeded noise for the others",
    SampleCompression: "the net itself",
    # PAC-Bayes
    DrawnNet(): "one net, drawn around the weights",
    SampledNet(): "one net, its edges drawn in proportion to their weights",
    Gibbs(): "nets drawn anew around the weights, their mean risk",
    InformedPrior: "nets drawn anew around the weights, their mean risk",
    # through a compression
    AroraMargin(): "the compressed net, rounded to a logarithmic grid",
    CountedCorollary(): "the compressed net, values of draws on a logarithmic grid",
    CoreNetCorollary(): "a net that CoreNet draws at eps = gamma / (2 B)",
    UnlabelledTransfer: "the original net",
    SpectralTransfer: "the original net",
    # norms and margins
    SpectralMargin(): "the net itself",
    PerturbedWeights(): "the net itself",
    FrobeniusNorm(): "the net itself",
    L1Norm(): "the net itself",
    PathNorm(): "the net itself",
    LinearHead: "the net itself",
    AroraCapacity(): "none",
}
"""Every bound, and the net whose risk it bounds; of a compression, "the net" is the compressed one."""

DOES_NOT_APPLY = "does not apply"


@dataclass(frozen=True, kw_only=True)
class Compared(Record):
    """One line of a comparison: what a bound says of the net, or why it says nothing.

    `certifies` tells whose risk is bounded, which is not always the net's; `remark` why the bound does not apply, or
    why its number bounds nothing.
    """

    name: str
    kind: type[GeneralizationBound]
    certifies: str
    bound: Bound | None  # None where it does not apply
    remark: str
    seconds: float

    @property
    def standing(self) -> str:
        """Non-vacuous, vacuous, measure only, premise violated, or does not apply."""
        return DOES_NOT_APPLY if self.bound is None else str(self.bound.standing)

    @property
    def nats(self) -> float | None:
        """What the bound pays for the choice of the net, where its facts tell: a code length or a divergence."""
        facts: Mapping[str, float] = {} if self.bound is None else self.bound.facts
        return facts.get("nats", facts["bits"] * math.log(2.0) if "bits" in facts else None)

    def rows(self) -> list[Row]:
        """One line; `value` is the bound cut at 1, or the raw number of what is a measure only."""
        bound, row = self.bound, {"bound": self.name, "standing": self.standing, "certifies": self.certifies}
        if bound is not None:
            told = bound.rows()[0]
            row |= {
                "value": bound.raw if bound.measure else bound.value,
                "raw": bound.raw,
                "terms": told["terms"],
                "delta": bound.delta,
                "nats": self.nats,
                "premises": _summary(bound.premises),
                "theorem": bound.theorem,
            }
        return [{name: row.get(name) for name in COLUMNS} | {"seconds": self.seconds, "remark": self.remark}]


COLUMNS = ("bound", "value", "standing", "certifies", "raw", "terms", "delta", "nats", "premises", "theorem")


@dataclass(frozen=True, kw_only=True)
class Comparison(Record):
    """What every bound says of one net, in the order of the catalogue; `compare` makes it.

    Each line holds at its own delta. **The lines do not hold together at that delta**: all at once they hold with
    probability at least 1 - `together`, by the union bound. A line that was picked because its value is the smallest,
    as `best` picks it, has to pay for that: it holds at `together` too, which is at most `delta` where `joint` is True.
    """

    lines: tuple[Compared, ...]
    delta: float
    joint: bool
    chance: float
    errors: int  # of the net on the training examples, ties included
    points: int
    test_errors: int | None  # None without fresh examples
    test_points: int | None

    @property
    def training_error(self) -> float:
        """Share of the training examples on which the net errs."""
        return self.errors / self.points

    @property
    def test_error(self) -> float | None:
        """Share of the fresh examples on which the net errs, where there are any."""
        return self.test_errors / self.test_points if self.test_errors is not None and self.test_points else None

    @property
    def test_bound(self) -> Bound | None:
        """The test-set bound, which every other one has to be compared with; None where it is not among the lines."""
        return next((line.bound for line in self.lines if line.kind is TestSet), None)

    @property
    def together(self) -> float:
        """The sum of the deltas of all lines that are bounds: one of them fails with at most this probability."""
        bounds = [line.bound for line in self.lines if line.bound is not None and not line.bound.measure]
        return min(1.0, math.fsum(bound.delta for bound in bounds))

    def best(self, sample: Sample | None = None) -> Compared | None:
        """The smallest non-vacuous bound, of all or of those that use training or fresh examples; None without one.

        The lines may speak of different nets: see `certifies`.
        """
        found = [
            (line.bound.raw, k)
            for k, line in enumerate(self.lines)
            if line.bound is not None
            and line.bound.standing is Standing.NON_VACUOUS
            and sample in (None, line.kind.sample)
        ]
        return self.lines[min(found)[1]] if found else None

    def rows(self) -> list[Row]:
        """One line per bound."""
        return [row for line in self.lines for row in line.rows()]

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw every bound as a bar: linear up to a risk of 1, logarithmic beyond."""
        from boundlab.report.bound_figures import plot_comparison

        return plot_comparison(self, ax)


def compare(
    net: Subject | torch.nn.Module,
    x: Any,
    y: Any,
    *,
    test: tuple[Any, Any] | None = None,
    unlabelled: Any = None,
    delta: float = 0.05,
    bounds: Sequence[Asked] | None = None,
    joint: bool = False,
    seed: int = 0,
    progress: Callable[[float, str], None] | None = None,
) -> Comparison:
    """Evaluate every bound of the catalogue on one trained net: one table, one figure.

    A bound whose theorem does not cover the net is a line that says why. Each bound is evaluated at `delta` on its own:
    every line holds with probability at least 1 - delta, but all lines together only at the sum of their deltas, and
    so does the best of them. With `joint` each of the k bounds gets delta / k, whether it applies or not, and then all
    lines hold at once with probability at least 1 - delta.

    Parameters
    ----------
    net : Network, ModuleNet, compression or torch.nn.Module
        The trained net. Of a compression most bounds speak of the compressed net; a module that is no fully connected
        ReLU net is taken as a ModuleNet, which fewer theorems cover.
    x : array-like, shape (n, ...)
        The examples that the net was trained on, as it reads them.
    y : array-like of int, shape (n,)
        Their labels, 0..classes-1.
    test : pair of arrays, optional
        Fresh examples and their labels, which shaped neither the net nor its choice. Those that are found among the
        training inputs count as errors in the bounds that use them.
    unlabelled : array-like, shape (u, ...), optional
        Fresh inputs without labels, for the bounds of the catalogue that ask for them.
    delta : float
        In (0, 1): the probability that a line fails, or with `joint` that any of them does.
    bounds : sequence of GeneralizationBound, optional
        Instead of the catalogue; at least one, under different names. Their delta is replaced. Of a class of which an
        instance is there too, the instance is taken: ``[*CATALOGUE, SampleCompression(kept=kept)]`` is the whole
        catalogue, one of them with the evidence that it needs.
    joint : bool
        Whether delta is split evenly over the bounds.
    seed : int
        Coins of the bounds of the catalogue that draw any: the same seed, the same table.
    progress : callable, optional
        Called as ``progress(share, text)`` before each bound, and at the end.

    Returns
    -------
    Comparison
        One line per bound, with the training error and, where `test` is given, the test error.

    Raises
    ------
    InvalidParameter
        If data, delta or `bounds` break these rules.
    UnsupportedLayer
        If the net is no classifier of at least two classes.

    Examples
    --------
    >>> from boundlab.network import Layer
    >>> own = Layer(weight=np.array([[1.0, 0.0], [0.0, 1.0]]), bias=np.zeros(2), relu=False)
    >>> x = np.random.default_rng(0).random((2000, 2))
    >>> found = compare(Network(layers=(own,)), x, x.argmax(axis=1), bounds=[TestSet(), Occam(), CoreNetCorollary()])
    >>> [(line.name, line.standing) for line in found.lines]
    [('test set', 'does not apply'), ('Occam, log-grid code', 'non-vacuous'), ('CoreNet corollary', 'does not apply')]
    """
    probability("delta", delta)
    tell = progress or (lambda share, text: None)
    subject = _subject(net, x)
    training = evidence(subject, x, y)
    fresh = None if test is None else _fresh(subject, test)
    asked = _asked(CATALOGUE if bounds is None else bounds)
    each = math.nextafter(delta / len(asked), 0.0) if joint else delta  # down: the k shares add up to at most delta
    given = {"delta": each, "seed": seed} | ({} if unlabelled is None else {"unlabelled": unlabelled})
    given |= {} if fresh is None else {"seen": frozenset(fingerprints(training[0]))}
    chosen = [_built(method, given) for method in asked]
    names = [name for name, _ in chosen]
    if len(set(names)) < len(names):
        raise InvalidParameter(f"bounds must have different names, got {names}.")
    tell(0.0, "counting errors")
    own = classifier(subject)
    errors, test_errors = count_errors(own, *training), None if fresh is None else count_errors(own, *fresh)
    lines = []
    for k, (name, method) in enumerate(chosen):
        tell(k / len(chosen), name)
        start, kind = time.perf_counter(), _kind(asked[k])
        found = _evaluated(method, subject, fresh if kind.sample is Sample.FRESH else training)
        bound = found if isinstance(found, Bound) else None
        lines.append(
            Compared(
                name=name,
                kind=kind,
                certifies=_CERTIFIED.get(kind, "see its docstring"),
                bound=bound,
                remark=found if isinstance(found, str) else found.measure,
                seconds=time.perf_counter() - start,
            )
        )
    tell(1.0, "done")
    return Comparison(
        lines=tuple(lines),
        delta=delta,
        joint=joint,
        chance=chance(y),
        errors=errors,
        points=len(training[1]),
        test_errors=test_errors,
        test_points=None if fresh is None else len(fresh[1]),
    )


def _kind(method: Asked) -> type[GeneralizationBound]:
    return method if isinstance(method, type) else type(method)


_CERTIFIED = {_kind(method): certifies for method, certifies in CATALOGUE.items()}


def _asked(bounds: Iterable[Asked]) -> list[Asked]:
    """The bounds to evaluate: of a class that is there as an instance too, the instance."""
    known = list(bounds)
    for method in known:
        if not issubclass(_kind(method), GeneralizationBound):
            raise InvalidParameter(f"bounds must be GeneralizationBounds such as Occam(), got {method!r}.")
    instances = {type(method) for method in known}
    asked = [method for method in known if not (isinstance(method, type) and method in instances)]
    if not asked:
        raise InvalidParameter("bounds must hold at least one bound, got none.")
    return asked


def _built(method: Asked, given: Mapping[str, Any]) -> tuple[str, GeneralizationBound | str]:
    """The name of a bound, and the bound with the delta that it gets; or what is missing to build it."""
    own = {f.name: f for f in fields(method)}
    known = {name: value for name, value in given.items() if name in own}
    if isinstance(method, GeneralizationBound):
        catalogued = any(method is other for other in CATALOGUE)
        own_word = {"delta": given["delta"]} | {name: value for name, value in known.items() if name == "seen"}
        method = replace(method, **(known if catalogued else own_word))
        return method.name, method
    required = [name for name, f in own.items() if f.default is MISSING and f.default_factory is MISSING]
    missing = [name for name in required if name not in known]
    if missing:
        needs = "=..., ".join(missing)
        return method.name or method.__name__, f"needs {method.__name__}({needs}=...) among the bounds"
    method = method(**known)
    return method.name, method


def _subject(net: Any, x: Any) -> Subject:
    """The net as bounds know it: a Network where it can be one, else the module, which fewer theorems cover."""
    if isinstance(net, (Network, ModuleNet, Compressed)):
        return net
    points = finite("x", x)
    if points.ndim == 2:
        try:
            return as_network(net, features=points.shape[1])
        except UnsupportedLayer:
            return ModuleNet(net, points[:1])
    return ModuleNet(net, points[:1])


def _fresh(subject: Subject, test: Any) -> tuple[np.ndarray, np.ndarray]:
    if not isinstance(test, tuple) or len(test) != 2:
        raise InvalidParameter(f"test must be a pair (x, y) of fresh examples, got {type(test).__name__}.")
    try:
        return evidence(subject, *test)
    except InvalidParameter as fault:
        raise InvalidParameter(f"test=(x, y): {fault}") from None


def _evaluated(
    method: GeneralizationBound | str, subject: Subject, sample: tuple[np.ndarray, np.ndarray] | None
) -> Bound | str:
    """The bound, or why it does not apply."""
    if isinstance(method, str):
        return method
    if sample is None:
        return "needs fresh examples: test=(x, y)"
    try:
        return method(subject, *sample)
    except BoundlabError as fact:  # net and examples were checked before: it is this theorem that they do not suit
        return str(fact)


def _summary(premises: Sequence[Premise]) -> str:
    """How many premises are checked and assumed, and which are violated."""
    counts = [(sum(p.status is status for p in premises), status) for status in (Status.CHECKED, Status.ASSUMED)]
    told = [f"{count} {status}" for count, status in counts if count]
    return "; ".join([", ".join(told), *(f"violated: {p.text}" for p in premises if p.status is Status.VIOLATED)])
