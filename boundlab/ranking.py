"""Does a measure rank nets as their generalization gap does? Kendall's tau, granulated, information, sign errors.

Correlation certifies nothing: a measure that ranks a whole family without fault bounds the risk of none of its nets,
and may fail on the next family. What is here says how often a measure was right, and how often one would have been
whose values are dealt out among the settings by luck.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from boundlab._errors import InvalidParameter, positive_int
from boundlab.rank_statistics import Pairs, numbers, pairs_of, rounding_of
from boundlab.records import Record, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STATISTICS = ("tau", "granulated", "information", "robust")
_LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class Score(Record):
    """One statistic of one measure, and how far it can be trusted.

    `interval` is the middle 95 % of the statistic when the settings of the family count more or less by luck (weights
    drawn from an exponential law, Rubin's Bayesian bootstrap): a picture of the noise that promises no coverage; None
    for `robust`, a maximum over pairs of settings that such weights do not move. `noise` is the middle 95 % of what the
    measure reaches when its values are dealt out among the settings anew, and `p` the share, itself included, of such
    deals that do at least as well: an exact test of "its values are exchangeable among the settings", for one measure
    and one statistic. That is more than "it knows nothing": a measure that depends on the hyper-parameters, as sizes do
    and most norms, is not exchangeable even where it says nothing of the gap, and its p is then often small. Rank a
    coin for each value of each axis beside it, to see how small.
    """

    value: float
    interval: tuple[float, float] | None
    noise: tuple[float, float]
    p: float

    def rows(self) -> list[Row]:
        """One line."""
        low, high = self.interval or (None, None)
        return [{"value": self.value, "low": low, "high": high, "noise": self.noise, "p": self.p}]


@dataclass(frozen=True, kw_only=True)
class Ranked(Record):
    """How one measure ranks the nets of a family."""

    measure: str
    tau: Score  # Kendall's, of all pairs: in [-1, 1]
    granulated: Score  # the mean over the axes of `axes`: in [-1, 1]
    axes: Mapping[str, float]  # the mean tau where this axis alone changes
    information: Score  # the least over conditioning sets, normalised: in [0, 1]; it does not see the direction
    given: tuple[str, ...]  # the conditioning set at which it is the least
    robust: Score  # the largest sign error of an environment: in [0, 1], 1/2 for a coin
    environment: str  # where the sign error is the largest, the first such
    sign_error: float  # the mean over environments
    wrong: float  # the share of environments where it is above 1/2

    def rows(self) -> list[Row]:
        """One line: each statistic with its interval and p, then the axes."""
        row: Row = {"measure": self.measure}
        for name in STATISTICS:
            score: Score = getattr(self, name)
            row |= {name: score.value}
            row |= (
                {}
                if score.interval is None
                else dict(zip((f"{name}_low", f"{name}_high"), score.interval, strict=True))
            )
            row[f"{name}_p"] = score.p
        more = {
            "sign_error": self.sign_error,
            "wrong": self.wrong,
            "given": ", ".join(self.given),
            "environment": self.environment,
        }
        return [row | more | {f"tau, {axis}": value for axis, value in self.axes.items()}]


@dataclass(frozen=True, kw_only=True)
class Ranking(Record):
    """How measures rank the nets of one family by their gap; `rank_measures` makes it. It certifies nothing."""

    lines: tuple[Ranked, ...]
    nets: int
    settings: int
    environments: int
    resamples: int

    def rows(self) -> list[Row]:
        """One line per measure."""
        return [row for line in self.lines for row in line.rows()]

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw every measure's statistics with their intervals, on what they reach when dealt out by luck."""
        from boundlab.report.bound_figures import plot_ranking

        return plot_ranking(self, ax)


def rank_measures(
    family: Any,
    *,
    axes: Sequence[str],
    measures: Sequence[str],
    training_error: str = "training_error",
    test_error: str = "test_error",
    resolution: float = 0.0,
    resamples: int = 500,
    rng: int | np.random.Generator = 0,
    progress: Callable[[float, str], None] | None = None,
) -> Ranking:
    """Judge by every statistic here how well measures rank the nets of a family by test error - training error.

    A measure is expected to grow with the gap. Whatever comes out certifies nothing.

    Parameters
    ----------
    family : pandas frame, or a mapping from names to arrays (nets,)
        One line per trained net.
    axes : sequence of str
        The columns of hyper-parameters. Nets that agree in all of them are seeds of one setting.
    measures : sequence of str
        The columns to judge; no NaN.
    training_error, test_error : str
        The columns of the errors, in [0, 1]. Gaps that differ by what rounding in their precision may add are tied.
    resolution : float
        Gaps that differ by no more than this count as tied, >= 0: what the test set cannot tell apart.
    resamples : int
        Draws behind each interval, and deals behind each p.
    rng : int or Generator
        The same seed, the same ranking.
    progress : callable, optional
        Called as ``progress(share, text)`` before each measure, and at the end.

    Returns
    -------
    Ranking
        One line per measure. The p values are for one measure and one statistic each, and test that its values are
        exchangeable among the settings, which is more than that it knows nothing; see `Score`.

    Raises
    ------
    InvalidParameter
        If a column is missing or breaks its rule, or an axis never changes alone.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> family = {"width": np.repeat([8, 16, 32], 4), "lr": np.tile([0.1, 0.1, 0.2, 0.2], 3)}
    >>> family |= {"training_error": np.zeros(12), "test_error": 0.01 * np.repeat([3, 2, 1], 4) + 1e-3 * rng.random(12)}
    >>> family |= {"width again": family["width"], "1/width": 1 / family["width"]}
    >>> found = rank_measures(family, axes=["width", "lr"], measures=["width again", "1/width"], resamples=50)
    >>> [(line.measure, round(line.tau.value, 3), line.axes["width"]) for line in found.lines]
    [('width again', -0.727, -1.0), ('1/width', 0.727, 1.0)]
    """
    tell = progress or (lambda share, text: None)
    rng = np.random.default_rng(rng)
    positive_int("resamples", resamples)
    columns = [_column(family, name) for name in (test_error, training_error)]
    rates: list[np.ndarray] = []  # in double precision before they are subtracted: small types wrap
    for name, column in zip((test_error, training_error), columns, strict=True):
        rates.append(rate := numbers(name, column, len(rates[0]) if rates else None))
        if not ((rate >= 0) & (rate <= 1)).all():
            raise InvalidParameter(f"{name} must be in [0, 1], got {rate.min():g}..{rate.max():g}.")
    if not axes or not measures:
        raise InvalidParameter(f"axes and measures must name at least one column each, got {axes!r} and {measures!r}.")
    lost = max(map(rounding_of, columns))  # errors are at most 1
    pairs = pairs_of(rates[0] - rates[1], {name: _column(family, name) for name in axes}, resolution, lost)
    found = []
    for k, name in enumerate(measures):
        tell(k / len(measures), name)
        values = numbers(name, _column(family, name), pairs.nets)
        found.append(_ranked(name, pairs, values, resamples, rng))
    tell(1.0, "done")
    return Ranking(
        lines=tuple(found),
        nets=pairs.nets,
        settings=len(pairs.blocks),
        environments=len(pairs.environment_names),
        resamples=resamples,
    )


def _ranked(name: str, pairs: Pairs, values: np.ndarray, resamples: int, rng: np.random.Generator) -> Ranked:
    signs, equal = pairs.signs(values), pairs.weights()
    errors, (given, _) = pairs.errors(signs), pairs.least_informed(signs, equal)
    observed = pairs.statistics(signs, equal)
    drawn = np.array([pairs.statistics(signs, pairs.weights(rng)) for _ in range(resamples)])
    dealt = np.array([pairs.statistics(pairs.signs(pairs.deal(values, rng)), equal) for _ in range(resamples)])
    tails = (0.5 - 0.5 * _LEVEL, 0.5 + 0.5 * _LEVEL)
    intervals, noise = np.nanquantile(drawn, tails, axis=0).T, np.nanquantile(dealt, tails, axis=0).T
    # tau counts in both directions, information when large, a sign error when small
    better = [abs, abs, float, lambda error: -error]
    scores = {}
    for k, statistic in enumerate(STATISTICS):
        reach = np.array([better[k](value) for value in dealt[:, k]])
        p = (1 + int(np.count_nonzero(~(reach < better[k](observed[k]) - 1e-12)))) / (1 + resamples)
        interval = None if statistic == "robust" else (float(intervals[k, 0]), float(intervals[k, 1]))
        own = (float(noise[k, 0]), float(noise[k, 1]))
        scores[statistic] = Score(value=observed[k], interval=interval, noise=own, p=p)
    return Ranked(
        measure=name,
        axes=pairs.granulated(signs, equal)[1],
        given=given,
        environment=pairs.environment_names[int(errors.argmax())],
        sign_error=float(errors.mean()),
        wrong=float(np.mean(errors > 0.5)),
        **scores,
    )


def _column(family: Any, name: str) -> Any:
    try:
        return family[name]
    except (KeyError, TypeError, IndexError):
        raise InvalidParameter(f"family must have a column {name!r}, it has none.") from None
