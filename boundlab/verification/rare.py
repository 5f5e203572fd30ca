"""Certified rare events: a limit on a failure probability of 1e-12, or of 1e-300, from a thousand simulated sums.

A sampled neuron is a sum S of m i.i.d. draws v_J, J ~ q, that fails where it leaves [low, high]. Each tail is drawn
from its own exponential tilt; the weight of a failing outcome is at most Chernoff's bound B, and an e-process for means
in [0, 1] turns the weights, as shares of B, into a limit that holds at every number of simulated sums at once. Several
neurons share one mixture of tilts, whose cap is the union of their Chernoff bounds.

Rounding goes to the safe side. Sums are whole multiples of a power of two and exact; an outcome that rounding could
have moved across a limit counts as failing in the upper limit and as not failing in the lower one. What is drawn
differs from the exact tilt by a total variation that is added to the mean of the shares, and the cap is rounded up.
What is taken on trust: that the words of the generator (Philox) behave like random ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import logsumexp

from boundlab._errors import InvalidParameter, positive_int, probability
from boundlab._theory import implements
from boundlab.concentration.betting import mean_lower_limit, mean_upper_limit
from boundlab.concentration.multiplicative import lower_rate, upper_rate
from boundlab.concentration.tilting import SumTable, Tilt, union_shares, upper_tilt, whole_multiples
from boundlab.coresets.sensitivity_sampling import SLACK
from boundlab.records import Record, Row, SamplePlan
from boundlab.verification.streams import stream

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLOCK = 4096
"""Outcomes simulated at a time; each neuron has a stream of its own, so that the block size changes nothing."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SampledSum:
    """One sampled neuron: S = v_{J_1} + ... + v_{J_m} with J ~ q i.i.d. fails where S < low or S > high.

    Parameters
    ----------
    values : array (edges,), finite
        The value v_j of one draw of edge j.
    q : array (edges,), at least 0, sum 1 up to 1e-9
        The law of one draw is q divided by its sum.
    m : int, at least 1
    low, high : float, low <= high
        Limits of the sum; -inf or inf where a side cannot fail. They need not enclose the mean.
    blur : float, at least 0
        How far S, with the values given, may be from the sum that is meant.

    Raises
    ------
    InvalidParameter
        If one of these rules is broken.

    Examples
    --------
    >>> SampledSum(values=[0.0, 1.0], q=[0.9, 0.1], m=100, low=-np.inf, high=50).m
    100
    """

    values: np.ndarray
    q: np.ndarray
    m: int
    low: float
    high: float
    blur: float = 0.0

    def __post_init__(self) -> None:
        v, q = np.asarray(self.values, np.float64), np.asarray(self.q, np.float64)
        if v.ndim != 1 or not len(v) or v.shape != q.shape or not np.isfinite(v).all():
            raise InvalidParameter(f"values and q must be finite rows of one length, got shapes {v.shape}, {q.shape}.")
        if not (np.all(q >= 0) and abs(q.sum() - 1.0) <= 1e-9):
            raise InvalidParameter(f"q must be at least 0 and sum to 1, got sum {q.sum():.9g}, least {q.min():g}.")
        positive_int("m", self.m)
        if not float(self.low) <= float(self.high):
            raise InvalidParameter(f"low must be at most high, got [{self.low!r}, {self.high!r}].")
        if not 0.0 <= float(self.blur) < math.inf:
            raise InvalidParameter(f"blur must be finite and at least 0, got blur={self.blur!r}.")
        for name, value in (("values", v), ("q", q)):
            object.__setattr__(self, name, value)


@dataclass(frozen=True, kw_only=True)
class RareSide(Record):
    """One way to fail: one neuron, one side; logs are natural. `note` says why it is impossible, where it is."""

    neuron: int
    side: str
    theta: float
    log_chernoff: float
    log_bernstein: float
    log_estimate: float
    log_upper: float
    note: str = ""

    def rows(self) -> list[Row]:
        """One line; logarithms to base 10."""
        return [
            {
                "neuron": self.neuron,
                "side": self.side,
                "log10_estimate": self.log_estimate / math.log(10),
                "log10_upper": self.log_upper / math.log(10),
                "log10_chernoff": self.log_chernoff / math.log(10),
                "log10_bernstein": self.log_bernstein / math.log(10),
                "note": self.note,
            }
        ]


@dataclass(frozen=True, kw_only=True)
class RareFailure(Record):
    """What tilted simulation says of the chance that some sum leaves its interval; all logs are natural.

    `log_upper` is wrong with probability at most `alpha`, `log_lower` too, at whatever number of draws one looks;
    `log_estimate` is unbiased (before the logarithm) and no limit. `log_events` estimates the sum of the chances of
    the single sides, `log_chernoff` and `log_bernstein` are the sums of their bounds, proved without simulation, and
    `log_promised` is what a theorem says of every input, where one is known.
    """

    statement: str
    log_estimate: float
    log_lower: float
    log_upper: float
    log_events: float
    log_chernoff: float
    log_bernstein: float
    alpha: float
    draws: int
    seed: int
    sides: tuple[RareSide, ...]
    log_promised: float | None = None

    @property
    def estimate(self) -> float:
        """The estimate of the failure probability, no limit."""
        return math.exp(self.log_estimate)

    @property
    def lower(self) -> float:
        """A lower limit on the failure probability, rounded down."""
        return math.exp(self.log_lower) * (1.0 - 2.0**-40)

    @property
    def upper(self) -> float:
        """The certified limit on the failure probability, rounded up: 0 only where failing is impossible."""
        return _up(self.log_upper)

    @property
    def chernoff(self) -> float:
        """The cap: the sum of Chernoff's bounds over all sides, at most 1."""
        return _up(min(0.0, self.log_chernoff))

    @property
    def naive_trials(self) -> float:
        """How many untilted trials, all without a failure, the best fixed-n test needs for the same upper limit."""
        if not 0.0 < self.upper < 1.0:
            return 1.0 if self.upper else math.inf
        return float(np.ceil(math.log(self.alpha) / math.log1p(-self.upper)))

    def rows(self) -> list[Row]:
        """The looseness budget: from the limits on the truth to the bounds, each as a multiple of both."""
        lines = [
            ("certified lower limit", self.log_lower),
            ("estimate", self.log_estimate),
            ("certified upper limit", self.log_upper),
            ("sum over events (union bound), estimate", self.log_events),
            ("sum of Chernoff bounds", self.log_chernoff),
            ("sum of Bernstein bounds", self.log_bernstein),
        ]
        if self.log_promised is not None:
            lines.append(("theorem, for every input", self.log_promised))
        return [
            {
                "quantity": name,
                "log10": value / math.log(10),
                "probability": math.exp(min(0.0, value)),
                "times_estimate": _ratio(value, self.log_estimate),
                "times_upper": _ratio(value, self.log_upper),
            }
            for name, value in lines
        ]

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the looseness budget as bars on a log scale."""
        from boundlab.report.rare_figure import plot_looseness

        return plot_looseness(self, ax)


@implements("boundlab_mixture_tilting", "siegmund1976_tilting", "waudby_smith2024_bounded_mean")
def rare_failure(
    neurons: SampledSum | Sequence[SampledSum],
    *,
    draws: int = 1_000,
    alpha: float = 0.05,
    seed: int = 0,
    name: str = "rare failure",
) -> RareFailure:
    """Bound the chance that a sampled sum leaves its interval, or that some of several independent ones does.

        P(S > high) = B E[w 1{S > high}/B],   w = e^(m L(theta) - theta S) <= B on the event, S from the tilted law

    One neuron: each of its sides is simulated by itself, at level alpha over the number of sides that can fail. Several:
    one mixture, which tilts side i with probability B_i / sum_j B_j and leaves the other neurons as they are; the
    weight 1/sum_i pi_i e^(theta_i S_i - m_i L_i) is at most sum_i B_i where some neuron fails.

    Parameters
    ----------
    neurons : SampledSum, or a sequence of them that draw independently of each other
    draws : int, at least 1
        Simulated outcomes: per side for one neuron, in all for several. A call with more draws continues the same
        outcomes, so that one may look, add draws and look again: the limits hold for all looks together.
    alpha : float in (0, 1)
        The chance that `upper` is below the truth, and also that `lower` is above it.
    seed, name : int, at least 0, and str
        The coins are `stream(name, seed, ...)`: the same arguments give the same record.

    Returns
    -------
    RareFailure

    Raises
    ------
    InvalidParameter
        If there is no neuron, or draws, alpha or seed is out of range.

    Notes
    -----
    Source: Siegmund (1976) for the tilt, Waudby-Smith and Ramdas (2024) for the bets; the mixture and the slacks are
    ours, ``proofs_checks/boundlab_mixture_tilting.py``.

    Examples
    --------
    >>> from scipy.stats import binom
    >>> coin = SampledSum(values=np.array([0.0, 1.0]), q=np.array([0.9, 0.1]), m=1000, low=40, high=170)
    >>> truth = binom.sf(170, 1000, 0.1) + binom.cdf(39, 1000, 0.1)
    >>> found = rare_failure(coin, draws=500)
    >>> bool(1e-14 < found.lower < truth < found.upper < 2 * truth < found.chernoff)
    True
    """
    given = [neurons] if isinstance(neurons, SampledSum) else list(neurons)
    if not given or not all(isinstance(s, SampledSum) for s in given):
        raise InvalidParameter(f"neurons must be SampledSums, at least one, got {len(given)} of them or another kind.")
    count, level = positive_int("draws", draws), probability("alpha", alpha)
    read = [_Neuron.of(s) for s in given]
    possible = [(r, tail) for r, neuron in enumerate(read) for tail in neuron.tails if isinstance(tail, _Tail)]
    strata = [[pair] for pair in possible] if len(read) == 1 else [possible] if possible else []
    estimate, lower, upper, found = [-math.inf], [-math.inf], [-math.inf], {}
    for j, members in enumerate(strata):
        coins = [stream(name, seed, j * (1 + len(read)) + k) for k in range(1 + len(read))]
        run = _simulate(read, members, count, coins)
        limit = mean_upper_limit(run.shares, level / len(strata)) + run.blur
        surely = mean_lower_limit(run.surely, level / len(strata)) - run.blur
        upper.append(run.log_cap + min(0.0, _log_up(math.log(limit))))
        lower.append(run.log_cap - run.slack + math.log(surely) if surely > 0 else -math.inf)
        estimate.append(run.log_cap + _log(run.shares.mean()))
        for (r, tail), hits in zip(members, run.hits, strict=True):
            found[r, tail.side] = run.log_cap + _log(hits), upper[-1] if len(members) == 1 else tail.tilt.log_cap
    sides = tuple(_line(r, tail, found) for r, neuron in enumerate(read) for tail in neuron.tails)
    log_upper = min(0.0, _log_up(_sum(upper)))
    return RareFailure(
        statement=_statement(log_upper, level, given),
        log_estimate=min(0.0, _sum(estimate)),
        log_lower=_sum(lower),
        log_upper=log_upper,
        log_events=_sum([side.log_estimate for side in sides]),
        log_chernoff=_log_up(_sum([side.log_chernoff for side in sides])),
        log_bernstein=_log_up(_sum([side.log_bernstein for side in sides])),
        alpha=level,
        draws=count * len(strata),
        seed=seed,
        sides=sides,
    )


@implements("boundlab_mixture_tilting", "chernoff_multiplicative_kl")
def rare_failure_of(
    plan: SamplePlan,
    weight: np.ndarray,
    x: np.ndarray,
    *,
    eps: float | None = None,
    draws: int = 1_000,
    alpha: float = 0.05,
    seed: int = 0,
) -> RareFailure:
    """Bound the chance, over the coins of one layer's plan, that some sampled group's sum at x leaves (1 +- eps).

    Group r estimates z_r = sum_j |w_j| x_j by S/m_r, where v_j = |w_j| x_j / q_j. Groups that are kept exactly cannot
    fail, and a group that is dropped, since no calibration point activates it, makes no draws: neither is part of
    the event.

    Parameters
    ----------
    plan : SamplePlan
    weight : array (out, in), the layer's weights
    x : array (in,), at least 0, the layer's input; signed inputs: one call for each of the two parts
    eps : float, positive; None: what the plan promises each group, in which case `log_promised` holds the theorem's
        bound, unless x breaks its premise that shares are at most K s_j
    draws, alpha, seed : as for `rare_failure`

    Returns
    -------
    RareFailure
        Neurons are numbered as `sampled` groups are: the r-th group with draws to make.

    Raises
    ------
    InvalidParameter
        If x or weight does not fit the plan, x is negative somewhere, or the plan samples no group.

    Notes
    -----
    Source: ours, ``proofs_checks/boundlab_mixture_tilting.py``; the promise is Chernoff's bound in its kl form.
    """
    groups, q, m = plan.groups, plan.sensitivities.probabilities, plan.draws
    w, a = np.asarray(weight, np.float64), np.asarray(x, np.float64)
    columns, rows = int(groups.columns.max(initial=-1)), int(groups.neuron.max(initial=-1))
    if w.ndim != 2 or a.shape != w.shape[1:] or columns >= w.shape[1] or rows >= w.shape[0]:
        raise InvalidParameter(f"weight and x must fit the plan's layer, got shapes {w.shape} and {a.shape}.")
    if not (np.isfinite(a).all() and np.all(a >= 0)):
        raise InvalidParameter("x must be finite and at least 0: take one call for each part of a signed input.")
    if not m.any():
        raise InvalidParameter("the plan must sample some group, got only exact or dropped ones.")
    terms = np.abs(groups.take(w)) * a[groups.columns]
    error = plan.eps if eps is None else np.full(len(groups), positive("eps", eps))
    premise = np.all(terms <= plan.K * (1.0 + SLACK) * plan.sensitivities.values * groups.spread(groups.sums(terms)))
    neurons = []
    for r in np.flatnonzero(m):
        own = slice(groups.indptr[r], groups.indptr[r + 1])
        z, draw = math.fsum(terms[own]), int(m[r])
        values = np.divide(terms[own], q[own], out=np.zeros_like(terms[own]), where=q[own] > 0)
        low, high = (1.0 - error[r]) * draw * z, (1.0 + error[r]) * draw * z
        blur = 2.0**-49 * (draw * float(values.max()) + high)  # a few roundings of each value and of the limits
        neurons.append(SampledSum(values=values, q=q[own], m=draw, low=low, high=high, blur=blur))
    found = rare_failure(neurons, draws=draws, alpha=alpha, seed=seed, name=f"layer {plan.layer}")
    if eps is not None or not premise:
        return found
    sampled = m > 0
    p = np.minimum(1.0, 1.0 / (plan.sensitivities.total[sampled] * plan.K * (1.0 + SLACK)))
    rates = np.stack([upper_rate(p, error[sampled]), lower_rate(p, error[sampled])])
    return replace(found, log_promised=_log_up(float(logsumexp(-m[sampled] * rates))))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Tail:
    """One side that can fail: its sum, counted away from the other side, reaches `edge`; from `sure` on, certainly."""

    side: str
    edge: int
    sure: int
    tilt: Tilt
    log_bernstein: float


@dataclass(frozen=True, kw_only=True, eq=False)
class _Neuron:
    """A SampledSum in whole numbers: counts 0..width with their law, and its tails, or why one is impossible."""

    counts: np.ndarray
    law: np.ndarray
    m: int
    step: float
    tails: tuple[_Tail | str, _Tail | str]  # above, below

    @classmethod
    def of(cls, given: SampledSum) -> _Neuron:
        drawn = given.q > 0
        rounded = whole_multiples(given.values[drawn], given.m)
        counts, where = np.unique(rounded.counts, return_inverse=True)
        order, cuts = np.argsort(where, kind="stable"), np.flatnonzero(np.diff(np.sort(where))) + 1
        law = np.array([math.fsum(part) for part in np.split(given.q[drawn][order], cuts)])
        first, width = int(counts[0]), int(counts[-1] - counts[0])
        counts, law = counts - first, law / math.fsum(law)
        step, blur = Fraction(rounded.step), rounded.blur + Fraction(float(given.blur))

        def tail(above: bool) -> _Tail | str:
            limit = float(given.high if above else -given.low)
            start = given.m * (first if above else -first - width)  # of the smallest sum on this side
            if limit == math.inf:
                return "impossible: no limit on this side"
            if limit == -math.inf:
                edge = sure = 0
            else:  # the first whole number of steps above the limit, from the smallest sum on
                edge, sure = (math.floor((Fraction(limit) + b) / step) + 1 - start for b in (-blur, blur))
            if edge > given.m * width:
                return f"impossible: the sum never leaves [{given.low:g}, {given.high:g}] on this side"
            edge = max(0, edge)
            values = rounded.step * (counts if above else width - counts)
            found = upper_tilt(values, law, given.m, rounded.step * edge)
            return _Tail(
                side="above" if above else "below",
                edge=edge,
                sure=max(0, min(sure, given.m * width + 1)),
                tilt=found,
                log_bernstein=_log_bernstein(values, law, given.m, rounded.step * edge),
            )

        return cls(counts=counts, law=law, m=given.m, step=rounded.step, tails=(tail(True), tail(False)))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Run:
    """Simulated outcomes as shares of a cap; exp(log_cap) is at most exp(slack) above the exact cap."""

    shares: np.ndarray  # (n,)
    surely: np.ndarray  # (n,): 0 where rounding decides
    hits: np.ndarray  # (tails,): mean of the shares in which this tail fails
    log_cap: float
    slack: float
    blur: float  # by how much the mean of the shares can differ from that under the exact mixture


@implements("boundlab_mixture_tilting")
def _simulate(
    neurons: Sequence[_Neuron], tails: Sequence[tuple[int, _Tail]], draws: int, coins: Sequence[np.random.Generator]
) -> _Run:
    """Draw outcomes from the mixture of the tails' tilts; coins: one stream for the choice, one for each neuron."""
    log_caps = np.array([tail.tilt.log_cap for _, tail in tails])
    log_cap = float(logsumexp(log_caps))
    ends = np.cumsum(np.exp(log_caps - log_cap))[:-1]
    own = [[(i, tail) for i, (k, tail) in enumerate(tails) if k == r] for r in range(len(neurons))]
    tables = [_table(neuron, [tail for _, tail in mine]) for neuron, mine in zip(neurons, own, strict=True)]
    shares, surely, hits = np.empty(draws), np.empty(draws), np.zeros(len(tails))
    for first in range(0, draws, BLOCK):
        part = slice(first, min(first + BLOCK, draws))
        n = part.stop - first
        picked = np.searchsorted(ends, coins[0].random(n), side="right")
        excess, inside, sure = np.empty((len(tails), n)), *np.empty((2, len(tails), n), bool)
        for neuron, mine, table, rng in zip(neurons, own, tables, coins[1:], strict=True):
            which = np.zeros(n, np.int64)
            for law, (i, _) in enumerate(mine, 1):
                which[picked == i] = law
            sums = table.sums(neuron.m, which, rng)
            for i, tail in mine:
                reached = sums if tail.side == "above" else neuron.m * int(neuron.counts[-1]) - sums
                excess[i] = tail.tilt.theta * neuron.step * (reached - tail.edge)
                inside[i], sure[i] = reached >= tail.edge, reached >= tail.sure
        shares[part], surely[part] = union_shares(excess, inside), union_shares(excess, sure)
        hits += (shares[part] * inside).sum(axis=1)
    blur = sum(
        table.blur(neuron.m) + max((tail.tilt.slack for _, tail in mine), default=0.0)
        for neuron, mine, table in zip(neurons, own, tables, strict=True)
    )
    slack = 2.0**-40 + 3.0 * max(tail.tilt.slack for _, tail in tails)
    return _Run(
        shares=shares, surely=surely, hits=hits / draws, log_cap=log_cap, slack=slack, blur=blur + 2.0**-40
    )


def _table(neuron: _Neuron, tails: Sequence[_Tail]) -> SumTable:
    return SumTable.of(neuron.counts, np.stack([neuron.law, *(tail.tilt.law for tail in tails)]))


def _log_bernstein(values: np.ndarray, law: np.ndarray, m: int, threshold: float) -> float:
    """Log of Bernstein's bound exp(-t^2/(2 m var + 2 b t/3)), b = max v - mean, on S >= m mean + t; rounded up."""
    mean = float(values @ law)
    t, b = threshold - m * mean, float(values.max()) - mean
    if t <= 0:
        return 0.0
    return -t * t / (2.0 * m * float(law @ (values - mean) ** 2) + 2.0 * b * t / 3.0) * (1.0 - 2.0**-30)


def _line(r: int, tail: _Tail | str, found: dict[tuple[int, str], tuple[float, float]]) -> RareSide:
    raise NotImplementedError


def _statement(log_upper: float, alpha: float, given: Sequence[SampledSum]) -> str:
    one = f"P(S leaves [{given[0].low:g}, {given[0].high:g}])"
    event = one if len(given) == 1 else f"P(some of {len(given)} sums leaves its interval)"
    if log_upper == -math.inf:
        return f"{event} = 0: no sum of m draws lies outside."
    return (
        f"{event} <= {_printed_up(log_upper)} over the draws of q; wrong with probability at most {alpha:g} over the "
        "simulation, at whatever number of simulated outcomes one looks."
    )
