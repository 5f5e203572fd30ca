"""How large m must really be: the smallest one at which a promise is upheld, beside the one that its theorem asks."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from boundlab._errors import InvalidParameter, positive_int, probability
from boundlab._theory import implements
from boundlab.promises import Premise, Status
from boundlab.records import Record, Row
from boundlab.verification.claim import Claim
from boundlab.verification.run import verify
from boundlab.verification.running.course import one_pool
from boundlab.verification.verdict import State, Verdict

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, kw_only=True)
class Tightness(Record):
    """Between which sizes the smallest one lies that keeps a promise, and how much more its theorem asks for.

    The chance that any of the verdicts is wrongly upheld is at most `alpha_upheld`, that any is wrongly violated at
    most `alpha_violated`. So the promise holds at `upheld`. That the smallest size at which it holds lies above
    `violated` needs the premise that the failure probability does not rise with the size; it is listed as assumed.
    """

    over: str  # the name of the size: "m"
    low: int
    high: int
    theory: int | None
    verdicts: tuple[tuple[int, Verdict], ...]  # (size, verdict) in the order in which they were asked for
    alpha_upheld: float
    alpha_violated: float
    premises: tuple[Premise, ...]

    @property
    def upheld(self) -> int | None:
        """The smallest size that was upheld, or None."""
        return min((m for m, verdict in self.verdicts if verdict.state is State.UPHELD), default=None)

    @property
    def violated(self) -> int | None:
        """The largest size that was violated, or None."""
        return max((m for m, verdict in self.verdicts if verdict.state is State.VIOLATED), default=None)

    @property
    def ratio(self) -> tuple[float, float]:
        """Limits of theory/(smallest size that keeps the promise), the second under the premise; 0 and inf: unknown."""
        if self.theory is None:
            return 0.0, math.inf
        least = 0.0 if self.upheld is None else float(np.nextafter(self.theory / self.upheld, 0.0))
        most = math.inf if self.violated is None else float(np.nextafter(self.theory / (self.violated + 1), math.inf))
        return least, most

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw each verdict's limits of the failure probability against the size."""
        from boundlab.report.guarantee_figures import plot_solving

        return plot_solving(self, ax)

    def rows(self) -> list[Row]:
        """One line per verdict, by rising size."""
        ordered = sorted(self.verdicts, key=lambda pair: pair[0])
        return [{self.over: m} | row for m, verdict in ordered for row in verdict.rows()]

    def to_dict(self) -> dict[str, Any]:
        """The bracket and all verdicts as JSON values."""
        return {
            "schema": "boundlab.tightness/1",
            "over": self.over,
            "low": self.low,
            "high": self.high,
            "theory": self.theory,
            "violated": self.violated,
            "upheld": self.upheld,
            "alpha_upheld": self.alpha_upheld,
            "alpha_violated": self.alpha_violated,
            "premises": [row for premise in self.premises for row in premise.rows()],
            "verdicts": [{"size": m, "verdict": verdict.to_dict()} for m, verdict in self.verdicts],
        }


@implements("boundlab_adaptive_claims")
def solve(
    family: Callable[[int], tuple[Claim, Any]],
    *,
    low: int,
    high: int,
    over: str = "m",
    theory: int | None = None,
    inputs: Callable[[np.random.Generator, int], np.ndarray] | None = None,
    alpha_violated: float = 1e-6,
    alpha_upheld: float = 1e-3,
    max_trials: int = 10_000,
    executor: Executor | int | None = None,
    seed: int = 0,
    batch: int = 1,
    trial_seconds: float | None = None,
    record: str | Path | None = None,
) -> Tightness:
    """Find by bisection the smallest size at which a promise is upheld.

    Asked are `high`, `low`, midpoints towards the smallest size that is upheld, and midpoints towards the largest that
    is violated: at most K = 2 ceil(log2(high - low)) + 2 sizes, each by `verify` at alpha/K on coins of its own.

    Parameters
    ----------
    family : callable
        family(m) -> (claim, trial), for m from `low` to `high`. The claim must name m among its parameters, so that
        each m has coins of its own.
    low, high : int
        At least 1, low < high. The search ends at once where `high` is not upheld, or `low` is.
    over : str
        The name of the size, for the record.
    theory : int or None
        The size that the theorem asks for, for the ratio.
    inputs : callable or None
        inputs(rng, n) -> n fresh points, handed to the trials as by `verify`. An array is refused: which m is asked
        next depends on what was seen, and points that were seen already would not be fresh.
    alpha_violated, alpha_upheld : float in (0, 1)
        The chance that any verdict is wrongly violated, or any wrongly upheld, over the whole search.
    max_trials : int
        Budget of each verdict.
    executor, seed, batch, trial_seconds
        As for `verify`.
    record : path or None
        A folder with one record per size: the same call goes on where a killed one stopped.

    Returns
    -------
    Tightness

    Raises
    ------
    InvalidParameter
        If an argument is out of range, or two sizes have the same claim.

    Notes
    -----
    Source: ``proofs_checks/boundlab_adaptive_claims.py``.

    Examples
    --------
    >>> def missed(m):  # m draws all miss an item of probability 0.05; at most 0.1 from m = 45 on
    ...     claim = Claim(name="the item is found", delta=0.1, parameters={"m": m})
    ...     return claim, lambda rng, n: rng.random(n) < 0.95**m
    >>> found = solve(missed, low=1, high=500, theory=100)
    >>> found.violated < 45 <= found.upheld, found.ratio[0] > 1.5
    (True, True)
    """
    bottom, top = positive_int("low", low), positive_int("high", high)
    if not bottom < top:
        raise InvalidParameter(f"low must be below high, got low={low} and high={high}.")
    if inputs is not None and not callable(inputs):
        raise InvalidParameter(
            "inputs must be a sampler inputs(rng, n): each size needs points of its own, got others."
        )
    levels = probability("alpha_upheld", alpha_upheld), probability("alpha_violated", alpha_violated)
    share = _share(bottom, top)
    verdicts: list[tuple[int, Verdict]] = []
    with one_pool(executor) as workers:

        def ask(m: int) -> State:
            claim, trial = family(m)
            if claim.id in {verdict.claim.id for _, verdict in verdicts}:
                raise InvalidParameter(f"family({m}) must name {over} among its claim's parameters, got a claim again.")
            verdict = verify(
                claim,
                trial,
                inputs=inputs,
                alpha_upheld=levels[0] * share,
                alpha_violated=levels[1] * share,
                max_trials=max_trials,
                executor=workers,
                seed=seed,
                batch=batch,
                trial_seconds=trial_seconds,
                record=None if record is None else Path(record) / f"{m}.json",
            )
            verdicts.append((m, verdict))
            return verdict.state

        _search(bottom, top, ask)
    return Tightness(
        over=over,
        low=bottom,
        high=top,
        theory=None if theory is None else positive_int("theory", theory),
        verdicts=tuple(verdicts),
        alpha_upheld=levels[0],
        alpha_violated=levels[1],
        premises=(_monotone(over),),
    )


def _share(low: int, high: int) -> float:
    """1/K for at most K = 2 ceil(log2(high - low)) + 2 verdicts, rounded down."""
    return (1.0 - 2.0**-50) / (2 * (high - low - 1).bit_length() + 2)


def _search(low: int, high: int, ask: Callable[[int], State]) -> None:
    """Ask for `high`, for `low`, and for midpoints: towards the smallest upheld, then the largest violated size."""
    if ask(high) is not State.UPHELD or (first := ask(low)) is State.UPHELD:
        return
    violated, not_violated = low, high  # no size between these two has been asked for yet
    while high - low > 1:
        middle = (low + high) // 2
        state = ask(middle)
        if state is State.UPHELD:
            high = middle
        else:
            low = middle
        if state is State.VIOLATED:
            violated, not_violated = middle, high
        else:
            not_violated = min(not_violated, middle)
    if first is not State.VIOLATED:
        return
    while not_violated - violated > 1:
        middle = (violated + not_violated) // 2
        if ask(middle) is State.VIOLATED:
            violated = middle
        else:
            not_violated = middle


def _monotone(over: str) -> Premise:
    return Premise(
        text=f"the failure probability does not rise with {over}",
        status=Status.ASSUMED,
        evidence=f"a bisection asks for too few sizes to test it; without it, the promise still holds at the {over} "
        "that was upheld",
    )
