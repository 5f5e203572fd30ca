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
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import logsumexp

from boundlab._errors import InvalidParameter, positive, positive_int, probability
from boundlab._theory import implements
from boundlab.concentration.betting import mean_lower_limit, mean_upper_limit
from boundlab.concentration.multiplicative import lower_rate, upper_rate
from boundlab.coresets.sensitivity_sampling import SLACK
from boundlab.records import Law, Record, Row, SamplePlan
from boundlab.verification.running.streams import stream
from boundlab.verification.tilted_sums import SampledSum, Tail, WholeSum, simulate

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, kw_only=True)
class RareSide(Record):
    """One way to fail: one neuron, one side; logs are natural. `note` says why it is impossible, where it is.

    `log_upper` is this side's part of the certified limit where it was simulated by itself, else Chernoff's bound.
    """

    neuron: int
    side: str
    theta: float = 0.0
    log_chernoff: float = -math.inf
    log_bernstein: float = -math.inf
    log_estimate: float = -math.inf
    log_upper: float = -math.inf
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
        """The estimate of the failure probability, no limit; below 1e-308 see `log_estimate`."""
        return math.exp(self.log_estimate)

    @property
    def lower(self) -> float:
        """A lower limit on the failure probability, rounded down."""
        return float(np.nextafter(math.exp(self.log_lower) * (1.0 - 2.0**-40), 0.0))

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
            ("certified lower limit", self.log_lower, self.lower),
            ("estimate", self.log_estimate, self.estimate),
            ("certified upper limit", self.log_upper, self.upper),
            ("sum over events (union bound), estimate", self.log_events, math.exp(min(0.0, self.log_events))),
            ("sum of Chernoff bounds", self.log_chernoff, self.chernoff),
            ("sum of Bernstein bounds", self.log_bernstein, _up(min(0.0, self.log_bernstein))),
        ]
        if self.log_promised is not None:
            lines.append(("theorem, shares up to K s", self.log_promised, _up(min(0.0, self.log_promised))))
        return [
            {
                "quantity": name,
                "log10": value / math.log(10),
                "probability": shown,
                "times_estimate": _ratio(value, self.log_estimate),
                "times_upper": _ratio(value, self.log_upper),
            }
            for name, value, shown in lines
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

    One neuron: each of its sides is simulated by itself, at level alpha over the number of sides that can fail.
    Several: one mixture, which tilts side i with probability pi_i = B_i / sum_j B_j and leaves the other neurons as
    they are; the weight 1/sum_i pi_i e^(theta_i S_i - m_i L_i) is at most sum_i B_i where some neuron fails.

    Parameters
    ----------
    neurons : SampledSum, or a sequence of them that draw independently of each other
    draws : int, at least 1
        Simulated outcomes: per side for one neuron, in all for several. A call with more draws continues the same
        outcomes, so that one may look, add draws and look again: the limits hold for all looks together.
    alpha : float in (0, 1)
        The chance that `upper` is below the truth, and also that `lower` is above it.
    seed, name : int, at least 0, and str
        The coins are `stream(name, seed, ...)`: the same arguments give the same outcomes on every machine, and the
        same record up to the last digits of its logarithms.

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
    read = [WholeSum.of(s) for s in given]
    every = [(r, side, tail) for r, neuron in enumerate(read) for side, tail in neuron.tails.items()]
    possible = [(r, tail) for r, _, tail in every if isinstance(tail, Tail)]
    strata = [[pair] for pair in possible] if len(read) == 1 else [possible] if possible else []
    estimate, lower, upper, found = [-math.inf], [-math.inf], [-math.inf], {}
    for j, members in enumerate(strata):
        coins = [stream(name, seed, j * (1 + len(read)) + k) for k in range(1 + len(read))]
        run = simulate(read, members, count, coins)
        limit = mean_upper_limit(run.shares, level / len(strata)) + run.blur
        surely = mean_lower_limit(run.surely, level / len(strata)) - run.blur
        upper.append(run.log_cap + min(0.0, _log_up(math.log(limit))))
        lower.append(run.log_cap - run.slack + math.log(surely) if surely > 0 else -math.inf)
        estimate.append(run.log_cap + _log(run.shares.mean()))
        for (r, tail), hits in zip(members, run.hits, strict=True):
            found[r, tail.side] = run.log_cap + _log(hits), upper[-1] if len(members) == 1 else tail.tilt.log_cap
    sides = tuple(
        RareSide(neuron=r, side=side, note=tail)
        if isinstance(tail, str)
        else RareSide(
            neuron=r,
            side=side,
            theta=tail.tilt.theta,
            log_chernoff=min(0.0, tail.tilt.log_cap),
            log_bernstein=min(0.0, tail.log_bernstein),
            log_estimate=min(0.0, found[r, side][0]),
            log_upper=min(0.0, found[r, side][1]),
        )
        for r, side, tail in every
    )
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
        The `neuron` of a side is the group's number in the plan.

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
    if plan.law is not Law.MULTINOMIAL or (plan.certain & groups.spread(m > 0)).any():
        raise InvalidParameter("the plan must draw with replacement from all edges of a group, as CoreNet does.")
    terms = np.abs(groups.take(w)) * a[groups.columns]
    error = plan.eps if eps is None else np.full(len(groups), positive("eps", eps))
    sampled = np.flatnonzero(m)
    neurons = []
    for r in sampled:
        own = slice(groups.indptr[r], groups.indptr[r + 1])
        z, draw = math.fsum(terms[own]), int(m[r])
        values = np.divide(terms[own], q[own], out=np.zeros_like(terms[own]), where=q[own] > 0)
        low, high = (1.0 - error[r]) * draw * z, (1.0 + error[r]) * draw * z
        blur = 2.0**-49 * (draw * float(values.max()) + high)  # a few roundings of each value and of the limits
        neurons.append(SampledSum(values=values, q=q[own], m=draw, low=low, high=high, blur=blur))
    found = rare_failure(neurons, draws=draws, alpha=alpha, seed=seed, name=f"layer {plan.layer}")
    sides = tuple(replace(side, neuron=int(sampled[side.neuron])) for side in found.sides)
    left = f" Not part of it: {int(plan.exact.sum())} exact groups, {int((m + plan.exact == 0).sum())} dropped ones."
    found = replace(found, sides=sides, statement=found.statement + left)
    limit = plan.K * (1.0 + SLACK) * plan.sensitivities.values * groups.spread(groups.sums(terms))
    if eps is not None or np.any((terms > limit) & groups.spread(m > 0)):
        return found
    p = np.minimum(1.0, 1.0 / (plan.sensitivities.total[sampled] * plan.K * (1.0 + SLACK)))
    rates = np.stack([upper_rate(p, error[sampled]), lower_rate(p, error[sampled])])
    return replace(found, log_promised=_log_up(np.asarray(logsumexp(-m[sampled] * rates)).item()))


def _statement(log_upper: float, alpha: float, given: Sequence[SampledSum]) -> str:
    one = f"P(S leaves [{given[0].low:g}, {given[0].high:g}])"
    event = one if len(given) == 1 else f"P(some of {len(given)} sums leaves its interval)"
    if log_upper == -math.inf:
        return f"{event} = 0: no sum of m draws lies outside."
    return (
        f"{event} <= {_printed_up(log_upper)} over the draws of q; wrong with probability at most {alpha:g} over the "
        "simulation, at whatever number of simulated outcomes one looks."
    )


def _printed_up(log_value: float) -> str:
    """The number with three digits, rounded up, however small it is."""
    if log_value >= 0.0:
        return "1"
    log10 = log_value / math.log(10)
    power = math.floor(log10)
    digits = math.ceil(10.0 ** (log10 - power + 2) * (1.0 + 2.0**-30))
    return f"{digits / 100:.2f}e{power}" if power < -4 else f"{digits * 10.0 ** (power - 2):.3g}"


def _up(log_value: float) -> float:
    """The exponential, rounded up: positive where the logarithm is finite."""
    return 0.0 if log_value == -math.inf else min(1.0, float(np.nextafter(math.exp(log_value) * (1.0 + 2.0**-40), 1.0)))


def _log_up(value: float) -> float:
    """A logarithm with an allowance for the rounding of the sums that made it."""
    return value + 2.0**-40 + 2.0**-50 * abs(value) if value > -math.inf else value


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf


def _sum(logs: Sequence[float]) -> float:
    return float(np.logaddexp.reduce(np.array(logs)))


def _ratio(log_value: float, log_unit: float) -> float:
    gap = log_value - log_unit if log_unit > -math.inf else math.inf
    return math.exp(gap) if gap < 700 else math.inf
