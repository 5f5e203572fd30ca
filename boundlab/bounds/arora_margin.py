"""Compression implies generalization: the compressed net is bounded through the margins of the original."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from boundlab._errors import positive_int
from boundlab._theory import implements
from boundlab.bounds.compressed_class import ROUNDING, SHAPE, compressed_risk, margin_shift, priced, told
from boundlab.bounds.generalization_bound import (
    IID,
    GeneralizationBound,
    Subject,
    chance,
    compression_of,
    evidence,
    telescope,
)
from boundlab.bounds.occam import MESSAGE_PREMISES
from boundlab.nets.feedforward import feed_forward
from boundlab.network import Network
from boundlab.promises import Bound, Premise, Status
from boundlab.records import Compression

_UP = 1.0 + 1e-14
_FIRST = 10_000  # examples by which the code's grid is chosen


@implements("arora2018_random_failures", "arora2018_margin")
def margin_losses(own: np.ndarray, moved: np.ndarray, certain: np.ndarray) -> np.ndarray:
    """Return on which points the compressed net g may be wrong: where its move reaches the margin of the original f.

    Where g moves all margins of a point by less than the margin of f, it is right. At every gamma, that is at most the
    points on which f has margin at most 2 gamma and those on which g deviates by more than gamma, together.

    Parameters
    ----------
    own : array (points,)
        Margins of f, or lower bounds of them.
    moved : array (points,), at least 0
        By how much g moves the margins of each point at most, as `margin_shift`.
    certain : array (points,)
        Lower bounds of the margins of g in exact arithmetic: a point where this is not above 0 counts in any case.

    Returns
    -------
    array (points,) of bool

    Examples
    --------
    >>> margin_losses(np.array([5.0, 3.0, 0.1]), np.array([1.0, 18.0, 2.0]), np.array([4.0, 2.0, 0.1])).tolist()
    [False, True, True]
    """
    return ~((own > moved) & (certain > 0.0))


@implements("arora2018_random_failures", "arora2018_margin", "arora2018_helper_string")
@dataclass(frozen=True, kw_only=True)
class AroraMargin(GeneralizationBound):
    """Risk of the compressed net g from the margins of the original f, on the examples that f was trained on.

        R(g) <= Bin+( k, n, delta P(g) ),    k = #{margin of f <= shift},   shift = max_j (f - g)_j - min_j (f - g)_j,

    for all g at once, with probability at least 1 - delta. k is at most the published #{margin of f <= 2 gamma} +
    #{max_j |f_j - g_j| > gamma}, for every gamma. It is never below the errors of g, so that the Occam bound of g
    itself, ``facts["occam"]``, is never larger: what the theorem adds is the reason why g is right. g is a function of
    real numbers: whatever rounding leaves open counts as an error.

    Three kinds of randomness in a compression are told apart:

    1. bits that are fixed before the data, a *helper string*, are free; the best of N strings costs ln N;
    2. what was drawn with probabilities computed from the data or from the trained weights is a function of the data:
       a seed does not make it free, its *outcome* is paid for. So it is here, unless `message_nats` is given: g is
       coded whole, whoever drew it;
    3. a guarantee that fails for some inputs enters with the training points where it did fail for the net as drawn.
       They are counted, not bounded.

    The net certified is the compressed net as a code holds it (``priced``), not the original.

    Parameters
    ----------
    delta : float
        In (0, 1).
    helper_seeds : int
        N >= 1: helper strings, fixed before the data, among which the compression was chosen by looking.
    message_nats : float, optional
        -ln of the prior of g given its helper string, at least 0: for a compression that is rebuilt from the string
        and from a message, such as the coefficients of random projections. The net certified is then
        ``compression.net`` as it is, and that the message has this price is assumed. None, the default: g is coded
        whole, a helper string saves nothing, and ln N is paid all the same.
    name : str
        What a table calls it.

    Raises
    ------
    InvalidParameter
        If a parameter is out of its range.
    PremiseViolated
        On evaluation, if it is asked about a net instead of the compression of one.

    Notes
    -----
    Source: Arora, Ge, Neyshabur and Zhang (2018), arXiv:1802.05296, Theorem 2.1, as we understand the paper, which has
    the margin gamma in the place of 2 gamma; with that it is false (``arora2018_margin``).
    """

    name: str = "Arora et al., margins of the original"
    helper_seeds: int = 1
    message_nats: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        positive_int("helper_seeds", self.helper_seeds)
        if self.message_nats is not None:
            told("message_nats", self.message_nats)

    def __call__(self, net: Subject, x: Any, y: Any) -> Bound:
        """Pick the code's grid with the smallest bound; rounded up."""
        compression = compression_of(net)
        x, y = evidence(compression, x, y)
        n, original = len(x), compression.original
        original.require_finite(x)
        f, own, outcomes = original(x), feed_forward(original).certain_margins(x, y), self._outcomes(compression)

        def counted(g: Network, points: int) -> tuple[int, int]:
            """Margins lost and errors of g among the first points."""
            g.require_finite(x)
            certain = feed_forward(g).certain_margins(x[:points], y[:points])
            lost = margin_losses(own[:points], margin_shift(f[:points], g(x[:points])), certain)
            return int(np.count_nonzero(lost)), points - int(np.count_nonzero(certain > 0.0))

        def estimate(outcome: tuple[Network, float]) -> float:
            """Whichever is taken is paid for, so that an estimate may choose."""
            first = min(n, _FIRST)
            return compressed_risk(round(counted(outcome[0], first)[0] * n / first), 0, n, outcome[1], self.delta)

        g, nats = min(outcomes, key=estimate) if len(outcomes) > 1 else outcomes[0]
        losses, errors = counted(g, n)
        value = compressed_risk(losses, 0, n, nats, self.delta)
        wrong = n - int(np.count_nonzero(own > 0.0))
        return Bound(
            name=self.name,
            terms=telescope(
                ("risk of the original", "margins lost", "confidence", "description"),
                (wrong / n, losses / n, compressed_risk(losses, 0, n, 0.0, self.delta), value),
            ),
            delta=self.delta,
            theorem="arora2018_random_failures",
            chance=chance(y),
            premises=self._premises(losses, n),
            facts={
                "margin_losses": losses,
                "nats": nats,
                "nnz": g.nnz,
                "errors": errors,
                "errors_of_the_original": wrong,
                "n": n,
                "occam": compressed_risk(errors, 0, n, nats, self.delta),
            },
        )

    def _outcomes(self, compression: Compression) -> list[tuple[Network, float]]:
        """The nets that can be certified, each with its price; rounded up."""
        choice = math.log(self.helper_seeds) * _UP
        if self.message_nats is not None:
            return [(compression.net, (self.message_nats + choice) * _UP)]
        return [(g, (nats + choice) * _UP) for g, nats in priced(compression.net)]

    def _premises(self, losses: int, n: int) -> tuple[Premise, ...]:
        """What is known of the examples, of the code, and of each of the three kinds of randomness."""
        counted = Premise(
            text="where the compression fails on an input, the failure is counted on the net as drawn",
            status=Status.CHECKED,
            evidence=f"{losses} of {n} examples deviate by as much as the original's margin, or it has none",
            numbers={"losses": losses},
        )
        if self.message_nats is None:
            outcome = Premise(
                text="what was drawn by looking at the data or the weights is paid for",
                status=Status.CHECKED,
                evidence="the compressed net is coded whole, whatever drew it, and no helper string is used",
            )
            return *MESSAGE_PREMISES, outcome, counted
        return (
            IID,
            SHAPE,
            ROUNDING,
            Premise(
                text=f"the net is rebuilt from a message of {self.message_nats:g} nats and one of {self.helper_seeds} "
                "helper strings that are fixed before the data",
                status=Status.ASSUMED,
                evidence="a property of the compression, which its result does not show",
            ),
            Premise(
                text="the message holds all that was drawn with probabilities computed from the data or the weights",
                status=Status.ASSUMED,
                evidence="the seed of such a draw is no helper string: the net then depends on seed and data",
            ),
            counted,
        )
