"""The claim of a compression, over fresh coins and a fresh input together, and the trial that tests it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from boundlab._errors import InvalidParameter, matrix, positive, probability
from boundlab._theory import implements
from boundlab.compressors.method import redraw
from boundlab.nets.groups import side_sums
from boundlab.nets.propagate import envelope
from boundlab.network import Network
from boundlab.records import Compression, Verdict
from boundlab.verification.claim import Claim
from boundlab.verification.run import Outcome, run

Trial = Callable[[np.random.Generator, np.ndarray], np.ndarray]
Inputs = np.ndarray | Callable[[np.random.Generator, int], np.ndarray]

ROUNDING = 1e-11
"""Share of the size of an output's terms within which float64 cannot tell a failure from a success."""


def verify(
    subject: Compression | Claim,
    data: Inputs | Trial,
    *,
    eps: float | None = None,
    delta: float | None = None,
    alpha_violated: float = 1e-6,
    alpha_upheld: float = 1e-3,
    max_trials: int = 10_000,
    max_seconds: float | None = None,
    rng: int = 0,
    progress: Callable[[int, int, int], object] | None = None,
) -> Verdict:
    """Try to refute a promise by simulation.

    Parameters
    ----------
    subject : a Compression, or any Claim
    data : fresh inputs for a Compression: an array (points, features) of which each point is used at most once, or
        inputs(rng, n) -> (n, features). For a Claim: its trial(rng, n) -> n outcomes.
    eps : relative error of the claim f̂ ∈ (1 ± eps) f; None: the promise is Theorem B's envelope
    delta : failure probability of the claim; None: the compressor's
    rng : root seed of the trials

    Returns
    -------
    Verdict
        upheld, violated or undecided; see `boundlab.verification.run`.
    """
    options = {
        "alpha_violated": alpha_violated,
        "alpha_upheld": alpha_upheld,
        "max_trials": max_trials,
        "max_seconds": max_seconds,
        "seed": rng,
        "progress": progress,
    }
    if isinstance(subject, Claim):
        if not callable(data):
            raise InvalidParameter("a Claim is verified by a trial function, got an array.")
        return run(subject, data, **options)
    if not isinstance(subject, Compression):
        raise InvalidParameter(f"subject must be a Compression or a Claim, got {type(subject).__name__}.")
    if not callable(data):
        data = matrix("data", data, columns=subject.original.sizes[0])
    if eps is not None:
        positive("eps", eps)
    delta = probability("delta", subject.compressor.delta if delta is None else delta)
    method = subject.compressor
    parameters = {"method": repr(method), "sizes": list(subject.original.sizes), "eps": eps}
    if eps is None:
        name = f"{method.name}: |f̂(x) - f(x)| ≤ e^L(x) in every output"
        trial = additive_trial(subject)
    else:
        name = f"{method.name}: f̂(x) ∈ (1 ± {eps:g}) f(x) in every output"
        trial = relative_trial(subject, eps)
    claim = Claim(name=name, delta=delta, over="coins,x", theorem=subject.plans[0].theorem, parameters=parameters)
    return run(claim, trial, inputs=data, **options)


@implements("boundlab_theorem_a")
def relative_trial(compression: Compression, eps: float) -> Trial:
    """Return a trial that fails where some output leaves (1 ± eps) f(x), each x with its own coins."""
    return _trial(compression, lambda x, f: eps * np.abs(f))


@implements("boundlab_theorem_b")
def additive_trial(compression: Compression) -> Trial:
    """Return a trial that fails where some output leaves f(x) ± e^L(x), each x with its own coins."""
    groups, eps = [p.groups for p in compression.plans], [p.eps for p in compression.plans]
    return _trial(compression, lambda x, f: envelope(compression.original, x, groups, eps)[1])


def _trial(compression: Compression, allowed: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Trial:
    original = compression.original
    kept = compression.unchanged

    def trial(rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
        outcomes = np.empty(len(x), np.int8)
        for k in range(len(x)):
            point = x[k : k + 1]
            net = compression.net if kept else redraw(compression, rng)
            f = original(point)
            error = np.abs(net(point) - f)
            outcomes[k] = _outcome(error, allowed(point, f), ROUNDING * _size(original, point))
        return outcomes

    return trial


def _outcome(error: np.ndarray, allowed: np.ndarray, blur: np.ndarray) -> int:
    """OK where every error is 0 or clearly allowed, FAILED where one is clearly not, else UNKNOWN."""
    if (error > allowed + blur).any():
        return Outcome.FAILED
    return Outcome.OK if ((error == 0.0) | (error <= allowed - blur)).all() else Outcome.UNKNOWN


def _size(network: Network, x: np.ndarray) -> np.ndarray:
    """sum_k |w_ik a_k| + |b_i| at the outputs: the scale of their rounding errors."""
    last = network.layers[-1]
    plus, minus = side_sums(last, np.abs(network.inputs(x)[-1]))
    return plus + minus + np.abs(last.bias)
