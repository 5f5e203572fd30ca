"""How often two rankings of trained nets agree: over all pairs, where one axis changes, given others, at worst."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np

from boundlab._errors import InvalidParameter

_ROUNDING = 1e-12
"""What gaps may differ by and count as tied, of the largest: errors are rates, whose differences are rounded."""


def kendall_tau(measure: Any, gap: Any) -> float:
    """Kendall's tau-a: the mean over all pairs of nets of sign(mu - mu') sign(g - g').

    A tie of either counts as 0, and its pair is counted: with ties |tau| stays below 1 (tau-b would divide them out).

    Parameters
    ----------
    measure : array (nets,), at least two; infinite values are allowed, NaN is not
    gap : array (nets,), finite and not all the same; what differs by 1e-12 of the largest, or by the rounding of its
        own precision, is tied

    Returns
    -------
    float
        In [-1, 1].

    Raises
    ------
    InvalidParameter
        If an argument breaks these rules.

    Examples
    --------
    >>> kendall_tau([1.0, 2.0, 3.0], [0.1, 0.3, 0.2])
    0.3333333333333333
    """
    pairs = pairs_of(gap, {})
    return pairs.tau(pairs.signs(numbers("measure", measure, pairs.nets)), pairs.weights())


def granulated_tau(measure: Any, gap: Any, axes: Mapping[str, Any]) -> tuple[float, dict[str, float]]:
    """The mean over the axes of psi, and psi of each: the mean tau of groups of nets in which that axis alone changes.

    A group holds the nets that agree in every other axis; its tau is over the pairs of nets that differ in this one, so
    that two seeds of one setting are no pair. A group without such a pair is left out.

    Parameters
    ----------
    measure, gap : as in `kendall_tau`
    axes : mapping from names to arrays (nets,), the value of each hyper-parameter

    Raises
    ------
    InvalidParameter
        If an argument breaks these rules, or an axis never changes alone.

    Notes
    -----
    Psi and psi_i of Jiang, Neyshabur, Mobahi, Krishnan and Bengio, "Fantastic generalization measures and where to find
    them" (2020), as we understand the paper, where each setting has one net.

    Examples
    --------
    >>> granulated_tau([1, 2, 3, 4], [0.1, 0.2, 0.4, 0.3], {"width": [8, 16, 8, 16], "depth": [1, 1, 2, 2]})
    (0.5, {'width': 0.0, 'depth': 1.0})
    """
    pairs = pairs_of(gap, axes)
    return pairs.granulated(pairs.signs(numbers("measure", measure, pairs.nets)), pairs.weights())


def conditional_information(measure: Any, gap: Any, given: Mapping[str, Any]) -> float:
    """I(V_mu; V_g | U) / H(V_g | U): how much of the sign of a gap's difference the sign of the measure's tells.

    V are the signs of the differences over ordered pairs of different nets, in {-1, 0, 1}: a tie is a value of its own.
    U holds the values that both nets have on the axes `given`. In [0, 1], plug-in estimates in nats. 1 means that the
    measure decides the sign, in whichever direction; many values of U with few pairs each push it up.

    Parameters
    ----------
    measure, gap : as in `kendall_tau`
    given : mapping from names to arrays (nets,); {} for no condition

    Returns
    -------
    float
        NaN where U leaves nothing to tell, H = 0.

    Raises
    ------
    InvalidParameter
        If an argument breaks these rules.

    Notes
    -----
    Jiang et al. (2020), as we understand the paper, who judge a measure by the least over all sets of at most two axes.
    The starting kit of the competition that followed, as we read it, also pairs each net with itself, as "smaller" on
    both sides: agreement that every measure gets for nothing.

    Examples
    --------
    >>> conditional_information([1, 2, 3], [0.1, 0.2, 0.3], {}), conditional_information([5, 5, 5], [0.1, 0.2, 0.3], {})
    (1.0, 0.0)
    """
    pairs = pairs_of(gap, given)
    names = tuple(given)
    return pairs.informed(pairs.signs(numbers("measure", measure, pairs.nets)), pairs.weights(), names)


def sign_errors(measure: Any, gap: Any, axes: Mapping[str, Any]) -> dict[str, float]:
    """The sign error of each environment: the mean of (1 - sign(mu - mu') sign(g - g')) / 2 over its pairs of nets.

    An environment is a pair of settings that differ in one axis only; its pairs take one net of each, any seeds. A tie
    of the measure is half an error; pairs with tied gaps have no sign to be told, and are left out. The robust sign
    error is the largest: a measure that is right on average may be wrong wherever one axis takes one step.

    Parameters
    ----------
    measure, gap : as in `kendall_tau`
    axes : as in `granulated_tau`

    Returns
    -------
    dict
        From "axis: value -> value | the others" to a number in [0, 1].

    Raises
    ------
    InvalidParameter
        If an argument breaks these rules, or no two settings with different gaps differ in one axis only.

    Notes
    -----
    Dziugaite, Drouin, Neal, Rajkumar, Caballero, Wang, Mitliagkas and Roy, "In search of robust measures of
    generalization" (2020), as we understand the paper; they also weigh pairs by how surely the test set tells their
    gaps apart, for which `rank_measures` has `resolution`.

    Examples
    --------
    >>> sign_errors([1, 2, 2], [0.1, 0.2, 0.3], {"width": [8, 16, 32]})
    {'width: 8 -> 16': 0.0, 'width: 8 -> 32': 0.0, 'width: 16 -> 32': 0.5}
    """
    pairs = pairs_of(gap, axes)
    found = pairs.errors(pairs.signs(numbers("measure", measure, pairs.nets)))
    return dict(zip(pairs.environment_names, found.tolist(), strict=True))


@dataclass(frozen=True, kw_only=True, eq=False)
class Pairs:
    """All pairs of nets: the signs of their gaps' differences, and in which axes they differ."""

    first: np.ndarray  # (pairs,)
    second: np.ndarray  # (pairs,)
    gaps: np.ndarray  # (pairs,) in -1, 0, 1
    axes: Mapping[str, np.ndarray]  # (nets,) codes 0, 1, ... of the values
    labels: Mapping[str, np.ndarray]  # the values of the codes
    nets: int

    @cached_property
    def blocks(self) -> list[np.ndarray]:
        """The nets of each setting, by index."""
        return [np.flatnonzero(self._setting == k) for k in range(int(self._setting.max()) + 1)]

    @cached_property
    def _setting(self) -> np.ndarray:
        return self._codes(tuple(self.axes))

    def _codes(self, names: Sequence[str]) -> np.ndarray:
        """One code per net, the same for nets that agree in these axes."""
        if not names:
            return np.zeros(self.nets, np.int64)
        return np.unique(np.column_stack([self.axes[n] for n in names]), axis=0, return_inverse=True)[1].ravel()

    @cached_property
    def _alone(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """For each axis the pairs in which it alone differs, and the group of each: a code of the other axes."""
        differ = {name: codes[self.first] != codes[self.second] for name, codes in self.axes.items()}
        count = np.sum(list(differ.values()), axis=0)
        found = {}
        for name in self.axes:
            chosen = np.flatnonzero(differ[name] & (count == 1))
            if not len(chosen):
                raise InvalidParameter(f"every axis must change alone between some nets, {name} never does.")
            others = self._codes([other for other in self.axes if other != name])
            found[name] = chosen, np.unique(others[self.first[chosen]], return_inverse=True)[1]
        return found

    @cached_property
    def _environments(self) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """The pairs with a sign to be told, the environment of each, and the environments' names."""
        chosen = np.sort(np.concatenate([own for own, _ in self._alone.values()])) if self.axes else np.zeros(0, int)
        chosen = chosen[self.gaps[chosen] != 0]
        if not len(chosen):
            raise InvalidParameter("two settings with different gaps must differ in one axis only, none do.")
        ends = np.sort(np.stack([self._setting[self.first[chosen]], self._setting[self.second[chosen]]]), axis=0)
        unique, which = np.unique(ends.T, axis=0, return_inverse=True)
        return chosen, which.ravel(), [self._told(int(a), int(b)) for a, b in unique]

    @property
    def environment_names(self) -> list[str]:
        """What changes in each environment, and what the other axes are."""
        return self._environments[2]

    def _told(self, one: int, other: int) -> str:
        ends = [{n: self.labels[n][codes[self.blocks[k][0]]] for n, codes in self.axes.items()} for k in (one, other)]
        changed = next(n for n in self.axes if ends[0][n] != ends[1][n])
        rest = ", ".join(f"{n} {value}" for n, value in ends[0].items() if n != changed)
        return f"{changed}: {ends[0][changed]} -> {ends[1][changed]}" + (f" | {rest}" if rest else "")

    @cached_property
    def _conditions(self) -> dict[tuple[str, ...], np.ndarray]:
        """For each set of at most two axes the first cell of each ordered pair's table, pairs forward, then back."""
        found = {}
        for size in range(3):
            for names in combinations(self.axes, size):
                found[names] = self._cells(names)
        return found

    def _cells(self, names: Sequence[str]) -> np.ndarray:
        codes = self._codes(names)
        one, other, values = codes[self.first], codes[self.second], int(codes.max()) + 1
        return 9 * np.concatenate([one * values + other, other * values + one])

    def signs(self, values: np.ndarray) -> np.ndarray:
        """The sign of each pair's difference; by comparisons, so that neither scale nor infinity matters."""
        one, other = values[self.first], values[self.second]
        return (one > other).astype(np.int64) - (one < other)

    def weights(self, rng: np.random.Generator | None = None) -> np.ndarray:
        """The weight of each pair: 1, or the product of exponential weights of the two settings."""
        if rng is None:
            return np.ones(len(self.first))
        own = rng.exponential(size=len(self.blocks))[self._setting]
        return own[self.first] * own[self.second]

    def deal(self, values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The values with the settings' places changed: seeds of one setting stay together, equal numbers of them."""
        dealt = values.copy()
        for size in {len(block) for block in self.blocks}:
            rows = np.stack([block for block in self.blocks if len(block) == size])
            dealt[rows] = values[rows[rng.permutation(len(rows))]]
        return dealt

    def tau(self, signs: np.ndarray, weights: np.ndarray) -> float:
        """Kendall's tau-a, weighted."""
        return float((weights * signs * self.gaps).sum() / weights.sum())

    def granulated(self, signs: np.ndarray, weights: np.ndarray) -> tuple[float, dict[str, float]]:
        """The mean over axes, and for each axis the mean over groups, of the group's tau; weights are of pairs."""
        agree, found = weights * signs * self.gaps, {}
        for name, (chosen, group) in self._alone.items():
            count = np.bincount(group)  # a group of more pairs counts no more than the others
            sums = [np.sum(np.bincount(group, values[chosen]) / count) for values in (agree, weights)]
            found[name] = float(sums[0] / sums[1])
        return float(np.mean(list(found.values()))), found

    def informed(self, signs: np.ndarray, weights: np.ndarray, names: tuple[str, ...]) -> float:
        """The normalised conditional information, given these axes; NaN where they leave nothing to tell."""
        first = self._conditions[names] if names in self._conditions else self._cells(names)
        inside = np.concatenate([3 * (signs + 1) + self.gaps + 1, 3 * (1 - signs) + 1 - self.gaps])
        table = np.bincount(first + inside, np.concatenate([weights, weights]), minlength=int(first.max()) + 9)
        table = table.reshape(-1, 3, 3) / table.sum()
        whole, of_u = _entropy(table), _entropy(table.sum(axis=(1, 2)))
        of_measure, of_gap = _entropy(table.sum(axis=2)), _entropy(table.sum(axis=1))
        left = of_gap - of_u
        return min(1.0, max(0.0, (of_measure + of_gap - whole - of_u) / left)) if left > 1e-12 else float("nan")

    def least_informed(self, signs: np.ndarray, weights: np.ndarray) -> tuple[tuple[str, ...], float]:
        """The least over sets of at most two axes; those that leave nothing to tell are left out."""
        found = [(value, names) for names in self._conditions if (value := self.informed(signs, weights, names)) >= 0]
        least = min(found, key=lambda each: each[0])  # the empty set is always among them: the gaps are not all tied
        return least[1], least[0]

    def errors(self, signs: np.ndarray) -> np.ndarray:
        """The sign error of each environment."""
        chosen, which, names = self._environments
        wrong = 0.5 * (1.0 - signs[chosen] * self.gaps[chosen])
        return np.bincount(which, wrong, len(names)) / np.bincount(which, minlength=len(names))

    def statistics(self, signs: np.ndarray, weights: np.ndarray) -> tuple[float, float, float, float]:
        """The four, in the order of STATISTICS."""
        return (
            self.tau(signs, weights),
            self.granulated(signs, weights)[0],
            self.least_informed(signs, weights)[1],
            float(self.errors(signs).max()),
        )


def pairs_of(gap: Any, axes: Mapping[str, Any], resolution: float = 0.0, rounding: float | None = None) -> Pairs:
    """All pairs of nets with these gaps and hyper-parameters; gaps that differ by at most `resolution` are tied.

    So are those that differ by at most `rounding`: what arithmetic may have added, unless given that of the largest gap
    in the precision in which it comes.
    """
    given, gap = gap, numbers("gap", gap, None)
    if not np.isfinite(gap).all() or len(gap) < 2:
        raise InvalidParameter(f"gap must hold at least two finite numbers, got {len(gap)}, not all finite or too few.")
    number = isinstance(resolution, (int, float, np.integer, np.floating)) and not isinstance(resolution, bool)
    if not number or not 0.0 <= resolution < np.inf:
        raise InvalidParameter(f"resolution must be at least 0 and finite, got resolution={resolution!r}.")
    codes, labels = {}, {}
    for name, values in axes.items():
        labels[name], codes[name] = _levels(name, values)
        if codes[name].shape != gap.shape:
            raise InvalidParameter(f"{name} must have shape ({len(gap)},), one value per net, got {codes[name].shape}.")
    first, second = np.triu_indices(len(gap), 1)
    with np.errstate(over="ignore"):
        apart = gap[first] - gap[second]
    lost = rounding_of(given) * float(np.abs(gap).max()) if rounding is None else rounding
    tied = max(float(resolution), lost)
    signs = (apart > tied).astype(np.int64) - (apart < -tied)
    if not signs.any():
        raise InvalidParameter(f"gaps must differ by more than {tied:g} between some nets, none do.")
    return Pairs(first=first, second=second, gaps=signs, axes=codes, labels=labels, nets=len(gap))


def rounding_of(values: Any) -> float:
    """The relative error of differences of these numbers: 1e-12, or more where they come in a lower precision."""
    kind = np.asarray(values).dtype
    return max(_ROUNDING, 64.0 * float(np.finfo(kind).eps)) if kind.kind == "f" else _ROUNDING


def _levels(name: str, values: Any) -> tuple[np.ndarray, np.ndarray]:
    """The values of an axis in order, and the place of each net's among them."""
    _require_no_mask(name, values)
    try:
        return np.unique(np.asarray(values), return_inverse=True)
    except (TypeError, ValueError):
        raise InvalidParameter(f"{name} must hold values of one kind, which have an order, got others.") from None


def _entropy(p: np.ndarray) -> float:
    p = p[p > 0]
    return float(-(p * np.log(p)).sum())


def _require_no_mask(name: str, values: Any) -> None:
    if np.ma.is_masked(values):
        raise InvalidParameter(f"{name} must have no masked entries, whose values are unknown, got some.")


def numbers(name: str, values: Any, nets: int | None) -> np.ndarray:
    """Validate one number per net, as float64; infinite ones are allowed."""
    _require_no_mask(name, values)
    try:
        if np.asarray(values).dtype.kind not in "buifO":
            raise TypeError
        array = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        raise InvalidParameter(f"{name} must be numbers, one per net, got {type(values).__name__}.") from None
    if array.ndim != 1 or nets not in (None, len(array)) or np.isnan(array).any():
        wanted = "(nets,)" if nets is None else f"({nets},)"
        raise InvalidParameter(
            f"{name} must have shape {wanted} and no NaN, got {array.shape} with {int(np.isnan(array).sum())} NaN."
        )
    return array
