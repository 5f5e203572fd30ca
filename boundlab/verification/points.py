"""Claims at fixed inputs: the worst one that a search finds, or a list of given ones."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from boundlab._errors import InvalidParameter, matrix, probability
from boundlab._theory import implements
from boundlab.records import Row
from boundlab.verification.claim import Claim, Over
from boundlab.verification.run import verify
from boundlab.verification.running.course import one_pool
from boundlab.verification.running.streams import stream
from boundlab.verification.trials import AtPoint, Draw, Fails
from boundlab.verification.verdict import Judgement, State, Verdict


@implements("boundlab_adaptive_claims")
def searched_point(claim: Claim, search: Callable[[np.random.Generator], Any], *, seed: int = 0) -> np.ndarray:
    """Return the point that a search finds, on coins that no trial of the claim will use.

    The coins on which a point looked worst are biased against it; the verdict at that point must come from fresh ones:

        x = searched_point(claim, search);  verify(claim, AtPoint(draw, fails, x))

    Fresh coins leave the verdict's levels as they are, however hard and however cleverly was searched. It speaks of
    this x only.

    Parameters
    ----------
    claim : Claim
        Over "coins | x fixed".
    search : callable
        search(rng) -> x, shape (features,); all its coins must come from `rng`.
    seed : int
        The root seed of the run that follows, at least 0.

    Returns
    -------
    array (features,)

    Raises
    ------
    InvalidParameter
        If the claim is over another quantifier, or the search returns anything but one finite point.

    Notes
    -----
    Source: ``proofs_checks/boundlab_adaptive_claims.py``.

    Examples
    --------
    >>> claim = Claim(name="holds at every x", delta=0.05, over="coins | x fixed")
    >>> searched_point(claim, lambda rng: np.array([1.0, 2.0]))
    array([1., 2.])
    """
    _pointwise(claim)
    point = matrix("search(rng)", np.atleast_2d(search(stream(f"{claim.id}*search", seed, 0))))
    if len(point) != 1:
        raise InvalidParameter(f"search(rng) must return one point, shape (features,), got {len(point)} points.")
    return point[0]


@dataclass(frozen=True, kw_only=True, eq=False)
class PointVerdicts(Judgement):
    """One verdict for each of K listed points, each at alpha/K: all of them are right but for the two alphas.

    `alpha_upheld` bounds the chance that any point is wrongly upheld, `alpha_violated` that any is wrongly violated.
    Of points that are not listed nothing is said.
    """

    claim: Claim
    points: np.ndarray  # (K, features)
    verdicts: tuple[Verdict, ...]
    alpha_upheld: float
    alpha_violated: float

    @property
    def state(self) -> State:
        """Violated if the claim is at some point, upheld if it is at every one."""
        states = [v.state for v in self.verdicts]
        if State.VIOLATED in states:
            return State.VIOLATED
        return State.UPHELD if all(s is State.UPHELD for s in states) else State.UNDECIDED

    def rows(self) -> list[Row]:
        """One line per point."""
        return [{"point": k} | row for k, verdict in enumerate(self.verdicts) for row in verdict.rows()]

    def to_dict(self) -> dict[str, Any]:
        """All verdicts as JSON values."""
        return {
            "schema": "boundlab.points/1",
            "claim": self.claim.to_dict() | {"id": self.claim.id},
            "verdict": str(self.state),
            "alpha_upheld": self.alpha_upheld,
            "alpha_violated": self.alpha_violated,
            "points": self.points.tolist(),
            "verdicts": [verdict.to_dict() for verdict in self.verdicts],
        }


@implements("boundlab_adaptive_claims")
def verify_at_points(
    claim: Claim,
    draw: Draw,
    fails: Fails,
    points: Any,
    *,
    alpha_violated: float = 1e-6,
    alpha_upheld: float = 1e-3,
    max_trials: int = 10_000,
    executor: Executor | int | None = None,
    seed: int = 0,
) -> PointVerdicts:
    """Judge a pointwise claim at each of K listed points, on coins of its own, at alpha/K.

    Parameters
    ----------
    claim : Claim
        Over "coins | x fixed".
    draw, fails : callable
        draw(rng) draws an artefact; fails(artefact, x) answers for each row of x.
    points : array (K, features)
        Listed before any coin was drawn, or found on other coins.
    alpha_violated, alpha_upheld : float in (0, 1)
        The chance that any point is wrongly violated, or any wrongly upheld.
    max_trials : int
        Budget for each point.
    executor, seed
        As for `verify`.

    Returns
    -------
    PointVerdicts

    Raises
    ------
    InvalidParameter
        If an argument is out of range or the claim is over another quantifier.

    Notes
    -----
    Source: ``proofs_checks/boundlab_adaptive_claims.py``.

    Examples
    --------
    >>> claim = Claim(name="|noise x| <= 4", delta=0.05, over="coins | x fixed")
    >>> found = verify_at_points(
    ...     claim, lambda rng: rng.normal(), lambda c, x: np.abs(c * x[:, 0]) > 4, [[0.5], [4.0]]
    ... )
    >>> [str(verdict.state) for verdict in found.verdicts]
    ['upheld', 'violated']
    """
    _pointwise(claim)
    listed = matrix("points", points)
    levels = probability("alpha_violated", alpha_violated), probability("alpha_upheld", alpha_upheld)
    share = [level / len(listed) * (1.0 - 2.0**-50) for level in levels]
    with one_pool(executor) as workers:
        verdicts = tuple(
            verify(
                _at(claim, x),
                AtPoint(draw, fails, x),
                alpha_violated=share[0],
                alpha_upheld=share[1],
                max_trials=max_trials,
                executor=workers,
                seed=seed,
            )
            for x in listed
        )
    return PointVerdicts(
        claim=claim, points=listed, verdicts=verdicts, alpha_upheld=levels[1], alpha_violated=levels[0]
    )


def _at(claim: Claim, x: np.ndarray) -> Claim:
    """The claim at this point: another id, and so other coins, for each point."""
    digest = hashlib.blake2b(x.tobytes(), digest_size=16).hexdigest()
    return replace(claim, parameters={**claim.parameters, "point": digest})


def _pointwise(claim: Claim) -> None:
    if claim.over is not Over.POINT:
        raise InvalidParameter(f"a claim at a point must be over '{Over.POINT}', got one over '{claim.over}'.")
