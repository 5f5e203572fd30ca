"""Try to refute a promise: claims, evidence, verdicts. Needs numpy and scipy only until a net is verified."""

from boundlab.verification.claim import Claim, Over
from boundlab.verification.judging.evidence import interval, log_e_upheld, log_e_violated, trials_if_no_failure
from boundlab.verification.judging.methods import Method
from boundlab.verification.judging.rules import Outcome
from boundlab.verification.run import Interrupted, replay, verify
from boundlab.verification.running.executors import ProcessPool
from boundlab.verification.running.streams import stream
from boundlab.verification.verdict import State, Verdict

__all__ = [
    "Claim",
    "Interrupted",
    "Method",
    "Outcome",
    "Over",
    "ProcessPool",
    "State",
    "Verdict",
    "interval",
    "log_e_upheld",
    "log_e_violated",
    "replay",
    "stream",
    "trials_if_no_failure",
    "verify",
]
