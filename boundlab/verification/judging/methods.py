"""Which rule judges a claim: the e-processes by default, others by name or because the quantifier asks for them."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from boundlab._errors import InvalidParameter
from boundlab.verification.claim import Claim, Over
from boundlab.verification.judging.rules import EProcesses, RateRule

if TYPE_CHECKING:
    from boundlab.verification.judging.bounded_mean import BoundedMean
    from boundlab.verification.judging.without_replacement import WithoutReplacement


class Method(StrEnum):
    """How 0/1 outcomes are judged.

    The numbers are trials in units of 1/delta, for small delta and alpha = .05: where none fails, and the mean at
    failure probabilities of delta/2 and of 2 delta.
    """

    E_PROCESS = "e-process"
    """Two e-processes in closed form: any moment may end a run, and evidence may be continued later. 3.4; 25; 10."""
    SPENDING = "spending"
    """Boundaries that spend each error level by a plan: no evidence, no limits but the verdict's own. 4.2; 21; 9."""
    FIXED = "fixed"
    """One exact test after `max_trials` trials, nothing before it and nothing after. 3.0; 31 and 16 at power .95."""
    REPEATED = "repeated"
    """Clopper-Pearson limits at looks 1.25 times apart: the simplest, good for a cross-check. 3.7; 41; 14."""


def rule_for(
    claim: Claim, method: Method, alpha_upheld: float, alpha_violated: float, budget: int
) -> RateRule | WithoutReplacement | BoundedMean:
    """Return the rule by which a run of `budget` trials judges the claim.

    Claims over a finite set have e-processes of their own, and no other method.

    Raises
    ------
    InvalidParameter
        If the method does not go with the claim's quantifier, or a level is out of range.
    """
    # Rules are imported where they are needed: a default run loads no compiler.
    alphas = {"alpha_upheld": alpha_upheld, "alpha_violated": alpha_violated}
    if claim.over in (Over.SET, Over.SET_MEAN):
        if method is not Method.E_PROCESS:
            raise InvalidParameter(
                f"method must be '{Method.E_PROCESS}' for a claim over '{claim.over}', got '{method}'."
            )
        if claim.population is not None:
            from boundlab.verification.judging.without_replacement import WithoutReplacement

            return WithoutReplacement(delta=claim.delta, population=claim.population, **alphas)
        from boundlab.verification.judging.bounded_mean import BoundedMean

        return BoundedMean(delta=claim.delta, **alphas)
    at_upheld, at_violated = claim.thresholds
    judged = alphas | {"at_upheld": at_upheld, "at_violated": at_violated}
    of_claim = claim.delta if claim.over is Over.NESTED else None
    if method is Method.SPENDING:
        from boundlab.verification.judging.spending import ErrorSpending

        return ErrorSpending(delta=of_claim, **judged)
    if method is Method.FIXED:
        from boundlab.verification.judging.fixed_size import FixedSize

        return FixedSize(delta=of_claim, size=budget, **judged)
    if method is Method.REPEATED:
        from boundlab.verification.judging.repeated import RepeatedLimits

        return RepeatedLimits(delta=of_claim, **judged)
    return EProcesses(delta=of_claim, **judged)
