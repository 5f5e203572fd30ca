"""How a check judges trials and sabotage: by the e-processes that boundlab ships."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from boundlab.verification.judging.evidence import interval, log_e_upheld, log_e_violated
from boundlab.verification.running.streams import stream
from proofs_checks import Evidence, require

ALPHA_UPHELD, ALPHA_VIOLATED = 1e-3, 1e-6
FACTORS = (1.01, 1.02, 1.05, 1.1, 1.2, 1.35, 1.5, 1.75, 2, 2.5, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64, 100)


def judge(
    trial: Callable[[np.random.Generator, int], np.ndarray],
    *,
    delta: float,
    trials: int,
    name: str,
    expect: Literal["upheld", "violated", "not violated"] = "upheld",
    seed: int = 0,
    block: int = 1_000,
) -> Evidence:
    """Judge P(failure) <= delta on `trials` trials; trial(rng, n) returns n outcomes, True where it failed.

    All trials are drawn, and the evidence is read once at the end: "upheld" is wrong with probability at most 1e-3,
    "violated" at most 1e-6. "not violated" is for a rate at delta itself, on which neither verdict can be asked for.
    Raises AssertionError on another verdict than the expected one.
    """
    failures = sum(
        int(np.count_nonzero(_outcomes(trial, stream(name, seed, k), min(block, trials - first))))
        for k, first in enumerate(range(0, trials, block))
    )
    text = describe(failures, trials, delta)
    got = verdict(failures, trials, delta)
    fine = got != "violated" if expect == "not violated" else got == expect
    require(fine, f"{name}: {text}, expected {expect}")
    return Evidence(text=text, trials=trials)


def verdict(failures: int, trials: int, delta: float) -> Literal["upheld", "violated", "undecided"]:
    """The verdict of the two e-processes on P(failure) <= delta."""
    if float(log_e_violated(trials, failures, delta)) >= -math.log(ALPHA_VIOLATED):
        return "violated"
    return "upheld" if float(log_e_upheld(trials, failures, delta)) >= -math.log(ALPHA_UPHELD) else "undecided"


def violated(trial: Callable[[np.random.Generator, int], np.ndarray], *, delta: float, trials: int, name: str) -> bool:
    """Whether the evidence of `trials` trials refutes P(failure) <= delta: how teeth catch a sabotage."""
    failures = int(np.count_nonzero(_outcomes(trial, stream(name, 1, 0), trials)))
    return verdict(failures, trials, delta) == "violated"


def describe(failures: int, trials: int, delta: float) -> str:
    """Failures, trials, delta, the verdict and the limits of the failure probability, in one line."""
    low, high = interval(trials, failures, 0, alpha_upheld=ALPHA_UPHELD, alpha_violated=ALPHA_VIOLATED)
    state = verdict(failures, trials, delta)
    limit = f"rate >= {low:.3g}" if state == "violated" else f"rate <= {high:.3g}"
    return f"{failures} failures in {trials} trials at delta = {delta:g}: {state}, {limit}"


def smallest_sabotage(caught: Callable[[float], bool], factors: Sequence[float] = FACTORS) -> float:
    """The smallest of the rising factors at which a sabotage is caught; the factor 1 must not be caught.

    Raises AssertionError if nothing is caught, or the unsabotaged statement is.
    """
    require(not caught(1.0), "the statement itself is caught: factor 1")
    for factor in factors:
        if caught(factor):
            return float(factor)
    raise AssertionError(f"no sabotage up to a factor {factors[-1]} is caught")


def _outcomes(trial: Callable[[np.random.Generator, int], np.ndarray], rng: np.random.Generator, n: int) -> np.ndarray:
    outcomes = np.asarray(trial(rng, n))
    require(outcomes.shape == (n,) and outcomes.dtype == bool, f"a trial must return {n} bools, got {outcomes.shape}")
    return outcomes
