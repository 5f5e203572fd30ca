"""Try to refute a promise: claims, evidence, verdicts."""

from boundlab.verification.claim import Claim
from boundlab.verification.evidence import interval, log_e_upheld, log_e_violated, trials_if_no_failure
from boundlab.verification.joint import verify
from boundlab.verification.run import Outcome
from boundlab.verification.run import run as verify_claim
from boundlab.verification.streams import stream

__all__ = [
    "Claim",
    "Outcome",
    "interval",
    "log_e_upheld",
    "log_e_violated",
    "stream",
    "trials_if_no_failure",
    "verify",
    "verify_claim",
]
