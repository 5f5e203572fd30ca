"""The union over norms and margins: how a bound for a class that is fixed before the data speaks of a trained net.

A theorem on margins bounds the risk of every net of a class F_k that is fixed before the sample, at a margin gamma_k.
With prior weights that sum to at most 1, and delta w_k for the k-th of them, all hold at once, and the data may choose
k. The weights of the nets are positive-homogeneous layers, so that f and f/M classify alike, M > 0, and f/M has a norm
of at most 1 where M is at least the product of norms of f: the margin in units of M is all that has to be chosen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from boundlab._errors import InvalidParameter, PremiseViolated, UnsupportedLayer, positive_int, probability
from boundlab._theory import implements
from boundlab.bounds.generalization_bound import (
    IID,
    GeneralizationBound,
    Subject,
    chance,
    classifier,
    evidence,
    telescope,
)
from boundlab.nets.margin import margins
from boundlab.nets.norms import raised
from boundlab.nets.operator_chain import Chain, operator_chain
from boundlab.promises import Bound, Premise, Status

_UP = 1.0 + 1e-12
_OCTAVES = 1_000  # of the grid that are searched, on either side of 1

Level: TypeAlias = Callable[[float, float], tuple[float, float]]
"""(gamma/M, nats paid for the choice) -> complexity and confidence, rounded up, for nets of norm 1."""
Domain: TypeAlias = tuple[float, float]
"""The interval that each entry of each input lies in."""


@implements("boundlab_norm_budgets")
def budget_nats(k: int) -> float:
    """Return ln(1/w_k), w_k = 2/(3 (|k| + 1)(|k| + 2)): the weights of all whole numbers k sum to 1; rounded up.

    Examples
    --------
    >>> [round(budget_nats(k), 3) for k in (0, 1, -1, 100)]
    [1.099, 2.197, 2.197, 9.646]
    """
    return math.log(3 * (abs(k) + 1) * (abs(k) + 2) // 2) * _UP


@implements("boundlab_norm_budgets")
def budget(value: float, steps: int) -> tuple[float, float]:
    """Return the smallest 2^(k/steps) that is at least `value`, and its price in nats.

    Raises
    ------
    InvalidParameter
        If the value is not positive or beyond 2^1000.

    Examples
    --------
    >>> budget(5.0, 2)[0], budget(4.0, 2)[0]
    (5.656854249492381, 4.0)
    """
    if not 2.0**-_OCTAVES <= value <= 2.0**_OCTAVES:
        raise InvalidParameter(f"a norm must be in [2^-{_OCTAVES}, 2^{_OCTAVES}], got {value:g}.")
    k = math.floor(positive_int("steps", steps) * math.log2(value)) - 1
    while _grid(k, steps) < value:
        k += 1
    return _grid(k, steps), budget_nats(k)


@implements("bartlett2017_spectral", "golowich2018_frobenius", "golowich2018_l1", "neyshabur2015_path_norm")
def rademacher_confidence(n: int, delta: float, *, paid: float = 0.0) -> float:
    """Return 3 sqrt((ln(2/delta) + paid)/(2n)): the confidence term of a bound through empirical Rademacher complexity.

    `paid` are the nats of a choice that the data made; rounded up.
    """
    nats = math.log(2.0 / probability("delta", delta)) + paid
    return 3.0 * math.sqrt(nats / (2.0 * positive_int("n", n))) * _UP


@dataclass(frozen=True, kw_only=True, eq=False)
class Examples:
    """A net as a chain, and what the examples show of it."""

    chain: Chain
    margins: np.ndarray  # sorted; lowered by `allowance`, what rounding may have added to a computed margin
    allowance: float
    x: np.ndarray  # (n, features), the constant unit left out
    classes: int
    chance: float

    @property
    def n(self) -> int:
        """How many."""
        return len(self.margins)

    @property
    def squares(self) -> np.ndarray:
        """Squared Euclidean norm of each input, the constant unit included, rounded up."""
        found = np.empty(self.n)
        for start in range(0, self.n, 1_024):  # a block at a time: x may be of whole numbers, and large
            block = self.x[start : start + 1_024].astype(np.float64)
            found[start : start + 1_024] = np.einsum("ij,ij->i", block, block)
        return (found + 1.0) * self._up

    @property
    def frobenius(self) -> float:
        """|(X, 1)|_F, rounded up."""
        return math.sqrt(math.fsum(self.squares)) * _UP

    @property
    def column(self) -> float:
        """The largest Euclidean norm of a column of (X, 1): of one coordinate over all examples; rounded up."""
        total = np.zeros(self.x.shape[1])
        for start in range(0, self.n, 1_024):
            block = self.x[start : start + 1_024].astype(np.float64)
            total += np.einsum("ij,ij->j", block, block)
        return math.sqrt(max(float(total.max()), float(self.n))) * self._up

    @property
    def _up(self) -> float:
        return _UP + 4.0 * (max(self.x.shape) + 2) * 2.0**-53


@dataclass(frozen=True, kw_only=True)
class MarginBound(GeneralizationBound):
    """A bound at a margin that the data choose, one of M 2^(k/steps); `steps` is at least 1."""

    steps: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        positive_int("steps", self.steps)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The margin that gives the smallest bound, and what it costs."""

    margin_errors: int  # examples whose margin is not certainly above `margin`
    normalised: float  # gamma/M, one of the grid
    margin: float  # gamma, in units of the net's outputs
    norm: float  # M
    complexity: float
    confidence: float
    nats: float  # paid for the choice of margin and budgets
    total: float


def examples(subject: Subject, x: Any, y: Any) -> Examples:
    """Read the net as a chain, and compute its outputs once, in double precision.

    Raises
    ------
    InvalidParameter
        If the points or labels do not fit, the shape of a point is not that of the net's example, or outputs may
        overflow.
    UnsupportedLayer
        If the net is no chain of operators.
    """
    net = classifier(subject)
    chain = operator_chain(net)
    x, y = evidence(net, x, y)
    if x.shape[1:] != chain.shape:  # a convolution on maps of another size is another matrix
        raise InvalidParameter(f"points must have the shape of the net's example, {chain.shape}, got {x.shape[1:]}.")
    allowance = chain.rounding(x)
    outputs = chain.net(x)
    return Examples(
        chain=chain,
        margins=np.sort(margins(outputs, y)) - allowance,
        allowance=allowance,
        x=x.reshape(len(x), -1),
        classes=outputs.shape[1],
        chance=chance(y),
    )


@implements("boundlab_norm_budgets")
def best_margin(own: np.ndarray, norm: float, steps: int, level: Level, *, nats: float = 0.0) -> Choice:
    """Return the margin of the grid gamma = M 2^(k/steps) at which the bound is smallest, its choice paid.

    Parameters
    ----------
    own : array (n,)
        Margins, rising, rounded down.
    norm : float
        M, at least the product of norms of the net, raised to 2^-1000 where it is smaller; 0 for the net that is 0.
    steps : int
        Of the grid, to a factor of 2.
    level : callable
        (gamma/M, nats) -> (complexity, confidence) for nets of norm 1.
    nats : float
        Paid for other choices.

    Raises
    ------
    InvalidParameter
        If the norm is above 2^1000, or 0 for a net that is not.
    """
    positive = own[own > 0]
    if not 0.0 <= norm <= 2.0**_OCTAVES or (norm == 0.0 and len(positive)):
        raise InvalidParameter(
            f"the norm of a net must be at most 2^{_OCTAVES}, and 0 only if the net is, got {norm:g}."
        )
    scale = max(norm, 2.0**-_OCTAVES)  # any M that is not below the product will do
    ends = (float(positive[0]) / scale, float(positive[-1]) / scale) if len(positive) else (1.0, 1.0)
    low, high = (round(steps * min(max(math.log2(max(v, 2.0**-1022)), -_OCTAVES), _OCTAVES)) for v in ends)
    best: Choice | None = None
    for k in range(low - 2, high + 3):
        unit, paid = _grid(k, steps), nats + budget_nats(k)
        margin = math.nextafter(unit * scale, math.inf)
        errors = int(np.searchsorted(own, margin, side="right"))
        complexity, confidence = level(unit, paid)
        total = errors / len(own) + complexity + confidence
        if best is None or (total < best.total and errors < len(own)):  # at errors = n nothing is left to bound
            best = Choice(
                margin_errors=errors,
                normalised=unit,
                margin=margin,
                norm=norm,
                complexity=complexity,
                confidence=confidence,
                nats=paid,
                total=total,
            )
    if best is None:
        raise InvalidParameter("margins must be finite, got NaN.")
    return best


def norm_product(norms: Sequence[float]) -> float:
    """Return the product of norms, rounded up at every scale: 0 where one of them is 0, at most inf."""
    parts = [math.frexp(norm) for norm in norms]
    return raised(math.prod(mantissa for mantissa, _ in parts), sum(exponent for _, exponent in parts))


def norm_bound(
    method: MarginBound,
    found: Examples,
    chosen: Choice,
    theorem: str,
    *,
    premises: Sequence[Premise] = (),
    facts: Mapping[str, float] | None = None,
) -> Bound:
    """The bound at the chosen margin: margin loss, complexity, confidence, with the premises that all of them share."""
    loss = chosen.margin_errors / found.n
    levels = (loss, (loss + chosen.complexity) * _UP, chosen.total * _UP)
    return Bound(
        name=method.name,
        terms=telescope(("margin loss", "complexity", "confidence"), levels),
        delta=method.delta,
        theorem=theorem,
        chance=found.chance,
        premises=(
            IID,
            Premise(
                text="the architecture is fixed before the data: depth, widths, kernels and poolings",
                status=Status.ASSUMED,
                evidence="one chosen among M by looking at the data needs delta / M",
            ),
            Premise(
                text="margin and norms come from a class that is fixed before the data",
                status=Status.CHECKED,
                evidence=f"by construction: values 2^(k/{method.steps}), prior weights 2/(3(|k|+1)(|k|+2)) that sum "
                f"to 1, {chosen.nats:.3g} nats paid for the choice",
                numbers={"nats": chosen.nats},
            ),
            Premise(
                text="layers without biases, activations positive-homogeneous",
                status=Status.CHECKED,
                evidence="biases are weights of a constant unit; norms are those of the matrices with it",
            ),
            Premise(
                text="margins are those of the net in exact arithmetic",
                status=Status.CHECKED,
                evidence=f"double precision, each lowered by {found.allowance:.2g}, a bound on all rounding errors",
                numbers={"allowance": found.allowance},
            ),
            *premises,
        ),
        facts={
            "margin_errors": chosen.margin_errors,
            "n": found.n,
            "margin": chosen.margin,
            "normalised_margin": chosen.normalised,
            "norm": chosen.norm,
            "complexity": chosen.complexity,
            "confidence": chosen.confidence,
            "budget_nats": chosen.nats,
            **(facts or {}),
        },
    )


def radius(found: Examples, domain: Domain | None) -> tuple[float, Premise]:
    """Return B, at least the Euclidean norm of (x, 1) for every input x that can come, and the premise that it is.

    From the domain, the interval that each entry lies in, or else from the examples themselves.

    Raises
    ------
    PremiseViolated
        If an example lies outside of the domain.
    """
    largest = math.sqrt(float(found.squares.max())) * _UP
    text = "every input that can come has Euclidean norm at most B"
    if domain is None:
        shown = "B is the largest among these n examples, which shows nothing of others: give the domain"
        return largest, Premise(text=text, status=Status.ASSUMED, evidence=shown, numbers={"B": largest})
    low, high = float(found.x.min()), float(found.x.max())
    if not domain[0] <= low <= high <= domain[1]:
        raise PremiseViolated(
            f"each entry of an input must lie in the domain [{domain[0]:g}, {domain[1]:g}], got {low:g}..{high:g}."
        )
    top = math.hypot(math.sqrt(found.x.shape[1]) * max(abs(domain[0]), abs(domain[1])), 1.0) * _UP
    shown = f"B for entries in [{domain[0]:g}, {domain[1]:g}], as stated; all n examples lie there"
    return top, Premise(text=text, status=Status.ASSUMED, evidence=shown, numbers={"B": top})


def neurons_by_themselves(found: Examples, argument: str) -> None:
    """Raise UnsupportedLayer where a max pooling mixes neurons, which the argument named does not allow."""
    if found.chain.pools:
        raise UnsupportedLayer(
            f"{argument} needs activations of single neurons, {found.chain.pools[0]} is a MaxPool2d."
        )


def check_domain(domain: Domain | None) -> None:
    """Raise InvalidParameter unless the domain is None or an interval."""
    if domain is None:
        return
    ends = np.asarray(domain)
    if ends.shape != (2,) or ends.dtype.kind not in "iuf" or not -math.inf < ends[0] <= ends[1] < math.inf:
        raise InvalidParameter(f"domain must be an interval (lo, hi), got domain={domain!r}.")


def row(name: str, values: Sequence[float]) -> np.ndarray:
    """Return `values` as a row of positive numbers, one per layer, or raise InvalidParameter."""
    found = np.asarray(values, np.float64)
    if found.ndim != 1 or not len(found) or not np.all(found > 0) or not np.all(np.isfinite(found)):
        raise InvalidParameter(f"{name} must be a row of positive numbers, got {values!r}.")
    return found


def _grid(k: int, steps: int) -> float:
    return 2.0 ** (k / steps)
