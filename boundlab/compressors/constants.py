"""CoreNet's constants, which exist before any net does: as published, repaired, and as sharp as the proofs allow."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from boundlab._errors import InvalidParameter, positive_int, probability
from boundlab._theory import implements


@dataclass(frozen=True, kw_only=True)
class Constants:
    """The constants of CoreNet's Algorithm 1 for a net of given layer sizes.

    eta : neurons outside the input; eta_star : the widest layer that the union bounds count; K : Assumption 1's
    constant, by convention ln(eta eta_star_published); lambda_star : Assumption 2's, K/2; points : |S|; kappa : the
    allowance on top of the sample mean of Delta.
    """

    eta: int
    eta_star: int
    K: float
    lambda_star: float
    points: int
    kappa: float
    log_row: float  # ln(8 eta / delta): the logarithm in m


@implements("baykal2019_constants", "baykal2019_eta_star", "baykal2019_condition_estimate")
def constants(sizes: Sequence[int], delta: float, *, variant: str = "published") -> Constants:
    """Return CoreNet's constants for layer sizes (input first) and failure probability delta.

    published
        eta* counts hidden layers only; |S| = ⌈K ln(8 eta eta*/delta)⌉ and
        kappa = sqrt(2 lambda*) + 2 lambda* ln(8 eta eta*/delta).
    repaired
        the same with eta* the widest of ALL layers inside the logarithms: the union over the edges of a group needs
        eta* >= fan-in, and the one over outputs eta* >= their number. K and lambda* are conventions that no proof sets.
    sharp
        one union over all edges, |S| = ⌈K ln(max(4 N, 8 eta)/delta)⌉ with N the number of edges, and the sharper
        single-point tail, kappa = sqrt(2 lambda*) + lambda* (ln(8 eta/delta) + 1).

    For the few nets with eta eta* < e, K is raised to 1 (lambda* to 1/2), which the lemma on kappa needs. A net without
    hidden layers has eta* := the widest of all layers; the paper leaves it undefined.

    All logarithms are natural. Source: arXiv:1804.05345, Algorithm 1, as we understand the paper.
    """
    sizes = [positive_int("a layer size", n) for n in sizes]
    probability("delta", delta)
    if max(sizes) > 10**12:
        raise InvalidParameter(f"a layer size must be at most 10^12, got one of {len(str(max(sizes)))} digits.")
    if len(sizes) < 2:
        raise InvalidParameter(f"a net has at least an input and an output size, got {len(sizes)} sizes.")
    eta = sum(sizes[1:])
    hidden = max(sizes[1:-1], default=max(sizes))
    K = max(1.0, math.log(eta * hidden))
    lambda_star = K / 2.0
    widest = hidden if variant == "published" else max(sizes)
    union = math.log(8.0 * eta * widest / delta)
    kappa = math.sqrt(2 * lambda_star) + 2 * lambda_star * union
    if variant == "sharp":
        edges = sum(a * b for a, b in itertools.pairwise(sizes))
        union = math.log(max(4.0 * edges, 8.0 * eta) / delta)
        kappa = math.sqrt(2 * lambda_star) + lambda_star * (math.log(8.0 * eta / delta) + 1.0)
    elif variant not in ("published", "repaired"):
        raise InvalidParameter(f"variant must be published, repaired or sharp, got {variant!r}.")
    return Constants(
        eta=eta,
        eta_star=widest,
        K=K,
        lambda_star=lambda_star,
        points=math.ceil(K * union),
        kappa=kappa,
        log_row=math.log(8.0 * eta / delta),
    )
