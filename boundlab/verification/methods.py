"""Which rule judges a claim: the e-processes by default, others by name or because the quantifier asks for them."""

from __future__ import annotations

from enum import StrEnum

from boundlab.verification.claim import Claim
from boundlab.verification.rules import EProcesses, Rule


class Method(StrEnum):
    """How 0/1 outcomes are judged."""

    E_PROCESS = "e-process"
    """Two e-processes in closed form: any moment may end the run, evidence may be continued."""


def rule_for(claim: Claim, method: Method, alpha_upheld: float, alpha_violated: float, budget: int) -> Rule:
    """Return the rule by which a run of `budget` trials judges the claim."""
    at_upheld, at_violated = claim.thresholds
    return EProcesses(
        at_upheld=at_upheld, at_violated=at_violated, alpha_upheld=alpha_upheld, alpha_violated=alpha_violated
    )
