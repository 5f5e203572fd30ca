"""What a hold-out alone certifies of one compressed net, whatever it is made of and however it was made.

No theorem of sampling speaks here: the net is fixed, the points are fresh, and two of its error rates have exact
limits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from boundlab._errors import InvalidParameter, probability
from boundlab._theory import implements
from boundlab.compressors.method import fingerprints
from boundlab.concentration.binomial import upper_limit
from boundlab.concentration.conformal import conditional_index
from boundlab.nets.module_net import Batches, batches
from boundlab.premises import not_calibrated_on, unseen
from boundlab.promises import Certificate
from boundlab.records import Compressed, Record

CONFIDENCE = 1e-3
"""Probability that the hold-out misleads, half of it for each of the two limits."""


@implements("boundlab_holdout_certificate", "vovk2012_training_conditional")
def certify_on_holdout(
    compression: Compressed | Record,
    points: np.ndarray | Batches,
    *,
    share: float = 0.05,
    independent: bool | None = None,
) -> Certificate:
    """Certify one compressed net by fresh points: how often it decides otherwise, and how far its outputs are off.

        P_x(argmax f̂(x) != argmax f(x)) <= U(v),      P_x(|f̂ - f|_1 > r |f|_1) <= share

    with U(v) the Clopper-Pearson limit of v changed decisions among n points, and r the smallest order statistic of the
    n relative errors that is a limit at that share. Both hold at once with probability 1 - CONFIDENCE over the points.

    Parameters
    ----------
    compression : what `compress` returned, for any net and any method; it needs `original`, `net` and `calibration`
    points : (points, ...) fresh inputs as the net reads them, or a function without arguments that returns batches:
        an i.i.d. sample that neither training nor calibration has seen
    share : in (0, 1), the share of inputs on which the error may be larger than r; also what counts as asked for where
        the method has no delta of its own
    independent : the caller's word that training has not seen the points; None: not declared

    Returns
    -------
    Certificate
        over x alone, for the one net that was drawn. `delta` is U(v), or `share` for a net of one output, whose argmax
        says nothing; `error` has "relative_l1_limit" (r; inf where n is too small to tell) and "exceeded_at_most".

    Raises
    ------
    InvalidParameter
        If there is no point, or an output is not finite.

    Notes
    -----
    Source: Clopper and Pearson 1934; ``proofs_checks/boundlab_holdout_certificate.py`` and
    ``vovk2012_training_conditional.py``. A net that was picked among several by these points has no such certificate.
    """
    original, net, calibration = _parts(compression)
    probability("share", share)
    changed, shared, width, ratios, seen = 0, 0, 0, [], set()
    for batch in batches(points):
        if not np.isfinite(batch).all():
            raise InvalidParameter("points must be finite, got NaN or infinite entries.")
        f, g = original(batch), net(batch)
        if not (np.isfinite(f).all() and np.isfinite(g).all()):
            raise InvalidParameter("outputs must be finite on the hold-out, got NaN or infinite ones.")
        if f.ndim != 2 or g.shape != f.shape:
            raise InvalidParameter(f"outputs must have shape (points, outputs), got {f.shape} and {g.shape}.")
        width = f.shape[1]
        changed += int(np.count_nonzero(f.argmax(axis=1) != g.argmax(axis=1)))
        digests = fingerprints(batch)
        shared += sum(digest in calibration for digest in digests)
        seen.update(digests)
        error, size = np.abs(g - f).sum(axis=1), np.abs(f).sum(axis=1)
        ratios.append(np.divide(error, size, out=np.where(error > 0, np.inf, 0.0), where=size > 0))
    relative = np.sort(np.concatenate(ratios)) if ratios else np.zeros(0)
    n = len(relative)
    if not n:
        raise InvalidParameter("points must hold at least one point, got none.")
    k = conditional_index(n, share, CONFIDENCE / 2)
    limit = float(relative[k - 1]) if k <= n else float("inf")
    decides = width > 1
    delta = upper_limit(changed, n, CONFIDENCE / 2) if decides else share
    return Certificate(
        claim="argmax f̂(x) = argmax f(x)" if decides else f"|f̂(x) - f(x)| ≤ {limit!r} |f(x)|",
        over="x",
        eps=None if decides else limit,
        delta=delta,
        requested_delta=getattr(getattr(compression, "compressor", None), "delta", share),
        theorem="boundlab_holdout_certificate",
        premises=(
            unseen(independent),
            not_calibrated_on(shared, n, repeated=n - len(seen)),
        ),
        budget={"changed decisions" if decides else "larger errors": delta},
        confidence_delta=CONFIDENCE,
        sampled_share=0.0 if getattr(compression, "unchanged", False) else 1.0,
        chance=1.0 - 1.0 / width if decides else 1.0,
        error={
            "relative_l1_limit": limit,
            "exceeded_at_most": share,
            "observed_relative_l1_median": float(relative[(n - 1) // 2]),
            "agreement": 1.0 - changed / n,
        },
    )


def _parts(compression: Any) -> tuple[Callable[..., np.ndarray], Callable[..., np.ndarray], frozenset[bytes]]:
    try:
        return compression.original, compression.net, getattr(compression, "calibration", frozenset())
    except AttributeError:
        raise InvalidParameter(
            f"a certificate needs what compress returned, got {type(compression).__name__}."
        ) from None
