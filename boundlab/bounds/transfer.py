"""Certificates of the ORIGINAL net through its compression: where the two agree, one inherits the other's margin."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from boundlab._errors import InvalidParameter, PremiseViolated, matrix, positive
from boundlab._theory import implements
from boundlab.bounds.compressed_class import (
    compressed_risk,
    listed,
    margin_radius,
    margin_shift,
    original_risk,
    priced,
)
from boundlab.bounds.generalization_bound import (
    GeneralizationBound,
    Subject,
    chance,
    compression_of,
    evidence,
    telescope,
)
from boundlab.bounds.occam import MESSAGE_PREMISES
from boundlab.nets.deviation import spectral_deviation
from boundlab.nets.feedforward import feed_forward
from boundlab.nets.given_points import fingerprints, finite
from boundlab.network import Network
from boundlab.promises import Bound, Premise, Status, contaminated
from boundlab.records import Compression

LEVEL_NATS = 8.0 * math.log(2.0) * (1.0 + 1e-15)
"""Price of a coded deviation: one of 256 levels."""

_LEVELS = 2.0 ** (np.arange(-128, 128) / 8.0)


@implements("boundlab_unlabelled_transfer")
@dataclass(frozen=True, kw_only=True, eq=False)
class UnlabelledTransfer(GeneralizationBound):
    """Risk of the original net f, through its compression g and points without labels that neither has seen.

        R(f) <= Bin+( #{margin of g <= t}, n, delta P(g)/(2 G) ) + Bin+( #{shift > t}, u, delta/(2 G H) ),

    the first count on the n labelled examples, the second on the u unlabelled points, where the shift of a point is
    max_j (f_j - g_j) - min_j (f_j - g_j), at most sqrt(2) |f - g|_2. t is one of G thresholds and g one of H grids of a
    code: the choice is paid. The first of the G is 0, at which the second count is that of the points on which f and g
    do not say the same class, without a tie; the others are given.

    f and g are functions of real numbers: all counts are those of exact arithmetic, and where rounding leaves a point
    open, it counts.

    Parameters
    ----------
    delta : float
        In (0, 1); half of it for either sample.
    unlabelled : array (u, features)
        Fresh points from the distribution of the inputs, used neither in training nor in compression.
    thresholds : tuple of float
        Further values of t > 0, in units of the outputs, fixed before the data, none twice.
    name : str
        What a table calls it.

    Raises
    ------
    InvalidParameter
        If a parameter is out of its range, the points do not fit the net, or its outputs could overflow.
    PremiseViolated
        On evaluation, if it is asked about a net instead of the compression of one.

    Notes
    -----
    Ours; ``boundlab_unlabelled_transfer``. Where more unlabelled points are among the labelled examples or the
    calibration points than the examples repeat each other, a premise is violated: the bound is then void.
    """

    unlabelled: np.ndarray = field(repr=False)
    name: str = "transfer to the original, unlabelled points"
    thresholds: tuple[float, ...] = tuple(2.0 ** (k / 2.0) for k in range(-12, 20))

    def __post_init__(self) -> None:
        super().__post_init__()
        finite("unlabelled", self.unlabelled)
        object.__setattr__(self, "thresholds", listed("thresholds", self.thresholds))
        for t in self.thresholds:
            positive("a threshold", t)

    def __call__(self, net: Subject, x: Any, y: Any) -> Bound:
        """Evaluate every grid of the code and every threshold, and report the smallest bound; rounded up."""
        compression = compression_of(net)
        x, y = evidence(compression, x, y)
        f = compression.original
        fresh = matrix("unlabelled", self.unlabelled, columns=f.sizes[0])
        reach = np.maximum(np.abs([x.max(), x.min()]).max(), np.abs(fresh).max())[None, None]
        f.require_finite(reach)
        before, nets, n, u = feed_forward(f), priced(compression.net), len(x), len(fresh)
        outputs, off = before.enclosed(fresh)
        said, grid, candidates = outputs.argmax(axis=1), len(self.thresholds) + 1, []
        sure = before.certain_margins(fresh, said) > 0.0
        for g, nats in nets:
            g.require_finite(reach)
            after = feed_forward(g)
            own, (moved, more) = np.sort(after.certain_margins(x, y)), after.enclosed(fresh)
            apart = u - int(np.count_nonzero(sure & (after.certain_margins(fresh, said) > 0.0)))
            shifts = np.sort(margin_shift(outputs, moved, off + more))
            for t in (0.0, *self.thresholds):
                small = int(np.searchsorted(own, t, side="right"))
                far = u - int(np.searchsorted(shifts, t, side="right")) if t else apart
                value = original_risk(small, n, nats, far, u, self.delta, grid=grid, nets=len(nets))
                candidates.append((value, nats, t, small, far, g))
        value, nats, t, small, far, g = min(candidates, key=lambda c: c[:3])
        seen = min(value, small / n + far / u)
        unpriced = original_risk(small, n, 0.0, far, u, self.delta, grid=grid, nets=len(nets))
        return Bound(
            name=self.name,
            terms=telescope(
                ("margin loss of the compressed", "deviation on unlabelled points", "confidence", "description"),
                (small / n, seen, unpriced, value),
            ),
            delta=self.delta,
            theorem="boundlab_unlabelled_transfer",
            chance=chance(y),
            premises=(*MESSAGE_PREMISES, _freshness(compression, x, fresh), _choice(grid, len(nets))),
            facts={
                "threshold": t,
                "margin_errors": small,
                "deviating": far,
                "unlabelled": u,
                "nats": nats,
                "nnz": g.nnz,
                "errors": feed_forward(g).count_errors(x, y),
                "errors_of_the_original": before.count_errors(x, y),
                "n": n,
            },
        )


@implements("boundlab_spectral_transfer")
def coded_deviation(deviation: float) -> float:
    """Return the smallest of the 256 levels 2^(j/8), j = -128 ... 127, that is at least the deviation; else inf.

    Parameters
    ----------
    deviation : float
        At least 0.

    Returns
    -------
    float
        A level, which 8 bits name: at most 2^(1/8) times a deviation of 2^-16 or more.

    Raises
    ------
    InvalidParameter
        If the deviation is negative or no number.

    Examples
    --------
    >>> coded_deviation(0.9), coded_deviation(1e9)
    (0.9170040432046712, inf)
    """
    if not deviation >= 0.0:
        raise InvalidParameter(f"a deviation must be at least 0, got {deviation!r}.")
    j = int(np.searchsorted(_LEVELS, deviation, side="left"))
    return float(_LEVELS[j]) if j < len(_LEVELS) else math.inf


@implements("boundlab_spectral_transfer", "boundlab_spectral_deviation")
@dataclass(frozen=True, kw_only=True)
class SpectralTransfer(GeneralizationBound):
    """Risk of the original net f, through its compression g and their worst deviation on a ball.

        R(f) <= Bin+( #{margin of g <= sqrt(2) beta}, n, delta P(g)/256 ),

    beta the spectral recursion of `spectral_deviation` for |x| <= radius, rounded up to one of 256 levels. It needs no
    further points; but a product of spectral norms grows far above the differences that any input shows, and the bound
    is vacuous unless g is all but equal to f. f and g are functions of real numbers: the margins of g are those of
    exact arithmetic, and one that rounding leaves open counts as small.

    Parameters
    ----------
    delta : float
        In (0, 1).
    radius : float
        Euclidean norm, positive, that no input exceeds, seen or not: sqrt(features) for pixels in [0, 1].
    name : str
        What a table calls it.

    Raises
    ------
    InvalidParameter
        If a parameter is out of its range.
    PremiseViolated
        On evaluation, if it is asked about a net instead of a compression, or the compressed net has another shape.

    Notes
    -----
    Compression bounds of Suzuki et al. (2019) go this way, as we understand the papers; the constants are ours,
    ``boundlab_spectral_transfer``.
    """

    radius: float
    name: str = "transfer to the original, spectral norms"

    def __post_init__(self) -> None:
        super().__post_init__()
        positive("radius", self.radius)

    def __call__(self, net: Subject, x: Any, y: Any) -> Bound:
        """Evaluate every grid of the code and report the smallest bound; rounded up."""
        compression = compression_of(net)
        x, y = evidence(compression, x, y)
        f, n, candidates = compression.original, len(x), []
        _same_shape(f, compression.net)
        f.require_finite(x)
        for g, nats in priced(compression.net):
            beta = spectral_deviation(f, g, self.radius)
            level = coded_deviation(beta)
            t = margin_radius(level, norm="euclidean") if level < math.inf else math.inf
            g.require_finite(x)
            small = n - int(np.count_nonzero(feed_forward(g).certain_margins(x, y) > t))
            value = compressed_risk(small, 0, n, nats + LEVEL_NATS, self.delta)
            candidates.append((value, nats, small, beta, level, g))
        value, nats, small, beta, level, g = min(candidates, key=lambda c: c[:2])
        levels = [compressed_risk(small, 0, n, paid, self.delta) for paid in (0.0, LEVEL_NATS)]
        return Bound(
            name=self.name,
            terms=telescope(
                ("margin loss of the compressed", "confidence", "deviation", "description"), (small / n, *levels, value)
            ),
            delta=self.delta,
            theorem="boundlab_spectral_transfer",
            chance=chance(y),
            premises=(*MESSAGE_PREMISES, self._ball(x)),
            facts={
                "beta": beta,
                "coded_beta": level,
                "largest_seen": float(_lengths(f(x) - g(x)).max()),
                "margin_errors": small,
                "nats": nats,
                "nnz": g.nnz,
                "errors": feed_forward(g).count_errors(x, y),
                "errors_of_the_original": feed_forward(f).count_errors(x, y),
                "n": n,
            },
        )

    def _ball(self, x: np.ndarray) -> Premise:
        """What the examples say of the stated radius."""
        norms = _lengths(x) * (1.0 - 1e-12)  # an input on the sphere is inside
        outside = int(np.count_nonzero(norms > self.radius))
        return Premise(
            text=f"no input, seen or not, has a Euclidean norm above {self.radius:g}",
            status=Status.VIOLATED if outside else Status.ASSUMED,
            evidence=f"{outside} of {len(x)} examples lie outside; the largest norm is {norms.max():.4g}",
            numbers={"outside": outside},
        )


def _lengths(rows: np.ndarray) -> np.ndarray:
    """Euclidean norms of rows, whose squares may overflow."""
    top = np.abs(rows).max(axis=1)
    return top * np.linalg.norm(rows / np.where(top > 0.0, top, 1.0)[:, None], axis=1)


def _same_shape(f: Network, g: Network) -> None:
    if f.sizes != g.sizes:
        raise PremiseViolated(
            f"the spectral recursion compares nets of one shape, got {f.sizes} before and {g.sizes} after."
        )


def _freshness(compression: Compression, x: np.ndarray, fresh: np.ndarray) -> Premise:
    """Whether unlabelled points are among those that are known to have shaped a net, more than points repeat by nature.

    Where points are discrete, a fresh one is among n others about as often as one of the n is among the rest: that many
    are no evidence, nor are four standard deviations more.
    """
    digests, examples = fingerprints(fresh), Counter(fingerprints(x))
    seen, used = sum(d in examples for d in digests), sum(d in compression.calibration for d in digests)
    n, u, repeated = len(x), len(fresh), sum(count for count in examples.values() if count > 1)
    rate = repeated / n
    by_nature = rate + 4.0 * math.sqrt(rate * (1.0 - rate) * (1.0 / u + 2.0 / n))  # 2: repeats come in pairs
    return Premise(
        text="the unlabelled points are i.i.d., independent of the examples, and used in neither training, compression "
        "nor a choice of the net",
        status=Status.VIOLATED if contaminated(max(seen, used) - math.floor(by_nature * u), u) else Status.ASSUMED,
        evidence=f"{seen} of {u} are among the labelled examples, {used} among the calibration points; {repeated} of "
        f"the {n} examples repeat each other",
        numbers={"labelled": seen, "calibration": used, "repeated": repeated},
    )


def _choice(grid: int, nets: int) -> Premise:
    return Premise(
        text="the thresholds are fixed before the data",
        status=Status.ASSUMED,
        evidence=f"the choice among {grid}, the list and 0, is paid for on both samples, that among {nets} roundings "
        "of the compressed net by its price and on the unlabelled one",
    )
