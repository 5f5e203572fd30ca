"""The verdict on a whole table of outcomes, every coin tried on every input: what T x N dependent outcomes can tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from boundlab._errors import InvalidParameter, probability
from boundlab._theory import implements
from boundlab.concentration.two_sample import cross_upper_limit
from boundlab.records import Row
from boundlab.verification.judging.rules import Outcome, as_array, as_outcomes
from boundlab.verification.verdict import Judgement, State


@dataclass(frozen=True, kw_only=True)
class CrossedVerdict(Judgement):
    """What a table of T coins by N inputs says of P(failure) <= delta, over coins and inputs together.

    The sizes T and N must have been fixed before the first outcome was seen. `upheld` is wrong with probability at most
    `alpha_upheld`, `violated` with at most `alpha_violated`.
    """

    state: State
    delta: float
    coins: int  # T
    inputs: int  # N
    failures: int  # of T N outcomes
    unknown: int
    interval: tuple[float, float]  # limits of the failure probability, at the two alphas
    alpha_upheld: float
    alpha_violated: float

    @property
    def worth(self) -> int:
        """To how many independent trials the table is worth, at the least: min(T, N)."""
        return min(self.coins, self.inputs)

    def rows(self) -> list[Row]:
        """One line."""
        return [
            {
                "state": str(self.state),
                "coins": self.coins,
                "inputs": self.inputs,
                "failures": self.failures,
                "unknown": self.unknown,
                "worth": self.worth,
                "delta": self.delta,
                "low": self.interval[0],
                "high": self.interval[1],
            }
        ]

    def to_dict(self) -> dict[str, Any]:
        """The verdict as JSON values."""
        return {
            "schema": "boundlab.crossed/1",
            "delta": self.delta,
            "verdict": str(self.state),
            "coins": self.coins,
            "inputs": self.inputs,
            "worth": self.worth,
            "failures": self.failures,
            "unknown": self.unknown,
            "interval": list(self.interval),
            "alpha_upheld": self.alpha_upheld,
            "alpha_violated": self.alpha_violated,
        }


@implements("hoeffding1963_two_sample", "boundlab_pooled_outcomes", "boundlab_unknown_outcomes")
def verify_crossed(
    failures: Any, delta: float, *, alpha_violated: float = 1e-6, alpha_upheld: float = 1e-3
) -> CrossedVerdict:
    """Judge P(failure) <= delta from every one of T coins tried on every one of N inputs.

    Outcomes of one coin, and of one input, are dependent: the table has the precision of min(T, N) trials, not of T N.
    With mean f of the failed and g of the failed or unknown outcomes, and h = min(T, N),

        U = kl^-1(g, ln(1/alpha_upheld)/h),        L = 1 - kl^-1(1 - f, ln(1/alpha_violated)/h);

    upheld if U <= delta, violated if L > delta. It is one look at a table whose size was fixed beforehand: outcomes
    must not be added until it decides. For trials one after the other take `verify`, with fresh pairs or shares.

    Parameters
    ----------
    failures : array (T, N)
        Entry (t, i) tells of coin t at input i: bool (True = failed) or the whole numbers 0 ok, 1 failed, 2 unknown.
        Coins are i.i.d., inputs are i.i.d. from the law that the claim speaks of.
    delta : float in (0, 1)
        The failure probability that is claimed, over coins and inputs together.
    alpha_violated, alpha_upheld : float in (0, 1)
        The error level of each verdict.

    Returns
    -------
    CrossedVerdict

    Raises
    ------
    InvalidParameter
        If a level is out of range, or the outcomes are no such table.

    Notes
    -----
    Source: Hoeffding (1963), section 5b, as we understand the paper; ``proofs_checks/hoeffding1963_two_sample.py``. The
    lower limit is the upper one for the outcomes turned round.

    Examples
    --------
    >>> table = np.zeros((200, 1000), dtype=bool)
    >>> found = verify_crossed(table, 0.05)
    >>> str(found.state), found.worth, round(found.interval[1], 4)
    ('upheld', 200, 0.0339)
    """
    claimed = probability("delta", delta)
    table = as_array(failures, of="a table")
    if table.ndim != 2 or not table.size:
        raise InvalidParameter(f"failures must be a table (coins, inputs), got shape {table.shape}.")
    outcomes = as_outcomes(table.ravel(), table.size, of="a table").reshape(table.shape)
    failed, unknown = outcomes == Outcome.FAILED, outcomes == Outcome.UNKNOWN
    high = cross_upper_limit(failed | unknown, alpha_upheld)
    low = max(0.0, float(np.nextafter(1.0 - cross_upper_limit(~failed, alpha_violated), 0.0)))
    return CrossedVerdict(
        state=State.VIOLATED if low > claimed else State.UPHELD if high <= claimed else State.UNDECIDED,
        delta=claimed,
        coins=table.shape[0],
        inputs=table.shape[1],
        failures=int(failed.sum()),
        unknown=int(unknown.sum()),
        interval=(low, high),
        alpha_upheld=float(alpha_upheld),
        alpha_violated=float(alpha_violated),
    )
