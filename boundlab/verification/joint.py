"""The claim of a compression, over fresh coins and a fresh input together, and the trial that tests it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from boundlab._errors import InvalidParameter, positive, probability
from boundlab._theory import implements
from boundlab.compressors.corenet_neurons import Amplified
from boundlab.compressors.method import Redraw
from boundlab.nets.groups import side_sums
from boundlab.nets.propagate import envelope
from boundlab.network import Layer, Network
from boundlab.records import Compression, Groups
from boundlab.verification.claim import Claim
from boundlab.verification.judging.rules import Outcome

Trial = Callable[[np.random.Generator, np.ndarray], np.ndarray]

MEAN = "baykal2019_corenet_plus_plus"
"""The theorem whose plans speak of mean errors."""

ROUNDING = 1e-11
"""Share of the size of an output's terms within which float64 cannot tell a failure from a success."""


def joint_claim(compression: Compression, eps: float | None, delta: float | None) -> tuple[Claim, Trial]:
    """Return the promise of a compression as a claim, and the trial that tests it on inputs x, shape (n, features).

    `eps` is the relative error of f̂ ∈ (1 ± eps) f, or None for Theorem B's envelope; `delta` None is the compressor's.
    """
    method = compression.compressor
    if not compression.plans[0].theorem and (eps is None or delta is None):
        raise InvalidParameter(f"eps and delta must both be given for {method.name}, which promises nothing by itself.")
    if isinstance(compression, Amplified):
        raise InvalidParameter("the best of several draws has no promise over coins: use certify_on_holdout.")
    if eps is None and any(np.isinf(p.eps).any() for p in compression.plans if p.theorem == MEAN):
        raise InvalidParameter(f"eps must be given for {method.name}: its plans promise a mean error, and no envelope.")
    if eps is not None:
        positive("eps", eps)
    failing = probability("delta", method.delta if delta is None else delta)
    parameters = {"method": repr(method), "net": compression.original.digest, "eps": eps}
    if eps is None:
        name = f"{method.name}: |f̂(x) - f(x)| ≤ e^L(x) in every output"
        trial = additive_trial(compression)
    else:
        name = f"{method.name}: f̂(x) ∈ (1 ± {eps:g}) f(x) in every output"
        trial = relative_trial(compression, eps)
    claim = Claim(name=name, delta=failing, theorem=compression.plans[0].theorem, parameters=parameters)
    return claim, trial


@implements("boundlab_theorem_a")
def relative_trial(compression: Compression, eps: float) -> Trial:
    """Return a trial that fails where some output leaves (1 ± eps) f(x), each x with its own coins."""
    return partial(_trial, compression.original, Redraw(compression), partial(_share, eps))


@implements("boundlab_theorem_b")
def additive_trial(compression: Compression) -> Trial:
    """Return a trial that fails where some output leaves f(x) ± e^L(x), each x with its own coins."""
    groups, eps = [p.groups for p in compression.plans], [p.eps for p in compression.plans]
    allowed = partial(_envelope, compression.original, groups, eps)
    return partial(_trial, compression.original, Redraw(compression), allowed)


def _share(eps: float, x: np.ndarray, f: np.ndarray) -> np.ndarray:
    return eps * np.abs(f)


def _envelope(
    original: Network, groups: Sequence[Groups], eps: Sequence[np.ndarray], x: np.ndarray, f: np.ndarray
) -> np.ndarray:
    return envelope(original, x, groups, eps)[1]


def _trial(
    original: Network,
    drawn: Redraw,
    allowed: Callable[[np.ndarray, np.ndarray], np.ndarray],
    rng: np.random.Generator,
    x: np.ndarray,
) -> np.ndarray:
    """One outcome for each row of x, each with its own coins; all arguments before `rng` can be pickled.

    ROUNDING is 90,000 roundings of 2^-53; a term meets at most n + 6 of them in a layer of n inputs.
    """
    outcomes, last = np.empty(len(x), np.int8), original.layers[-1]
    for k in range(len(x)):
        point = x[k : k + 1]
        read = original.inputs(point)[-1]
        f = last(read)
        error = np.abs(drawn.outputs(point, rng) - f)
        outcomes[k] = _outcome(error, allowed(point, f), ROUNDING * _size(last, read))
    return outcomes


def _outcome(error: np.ndarray, allowed: np.ndarray, blur: np.ndarray) -> int:
    """OK where every error is 0 or clearly allowed, FAILED where one is clearly not, else UNKNOWN."""
    if (error > allowed + blur).any():
        return Outcome.FAILED
    return Outcome.OK if ((error == 0.0) | (error <= allowed - blur)).all() else Outcome.UNKNOWN


def _size(last: Layer, read: np.ndarray) -> np.ndarray:
    """sum_k |w_ik a_k| + |b_i| at the outputs: the scale of their rounding errors."""
    plus, minus = side_sums(last.weight, np.abs(read))
    return plus + minus + np.abs(last.bias)
