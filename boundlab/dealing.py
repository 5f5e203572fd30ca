"""Who uses which points: no point serves two ends that must be independent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from boundlab import _errors
from boundlab._errors import InvalidParameter
from boundlab.compressors.method import fingerprints
from boundlab.findings import CLASSIFICATION, DISAGREEMENT
from boundlab.network import Network
from boundlab.records import Row

LABELLED, CALIBRATE, CERTIFY = 20_000, 2_000, 5_000
"""Inputs drawn from a box for each use, as far as `ENTRIES` numbers of memory allow."""
ENTRIES = 20_000_000

Labelled = tuple[np.ndarray, np.ndarray]
Sampler = Callable[[np.random.Generator, int], np.ndarray]


@dataclass(frozen=True, kw_only=True, eq=False)
class Deal:
    """The points of an audit by use."""

    calibrate: np.ndarray  # S: sensitivities
    certify: np.ndarray  # T: the share of bad points
    inputs: np.ndarray | Sampler  # fresh inputs of the verdicts
    labelled: Labelled | None  # Occam's sample
    test: Labelled | None  # the test-set bound's sample: T and the verdicts' points, never S
    test_error: float | None
    risk: str
    reused: bool  # the hold-out is a part of the training data
    overlap: int | None
    counts: Row
    notes: tuple[str, ...]

    def fresh(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Some of the verdicts' inputs, for an estimate that enters no verdict."""
        return self.inputs(rng, n) if callable(self.inputs) else self.inputs[:n]


def deal(
    network: Network,
    train: Labelled | None,
    holdout: Labelled | None,
    inputs: Sampler | None,
    rng: np.random.Generator,
) -> Deal:
    """Deal the points out; state every rule that the data break."""
    width, classes = network.sizes[0], network.sizes[-1]
    if inputs is not None and not callable(inputs):
        raise InvalidParameter(f"inputs must be a function of (rng, n), got {type(inputs).__name__}.")
    if inputs is not None:
        if train is not None or holdout is not None:
            raise InvalidParameter("an audit takes either data or inputs(rng, n), got both.")
        return _from_sampler(network, inputs, rng)
    if train is None and holdout is None:
        raise InvalidParameter("an audit needs train=(x, y), holdout=(x, y) or inputs=sampler, got none of them.")
    notes = []
    x, y = _labelled("train", train, width, classes) if train is not None else (None, None)
    if holdout is not None:
        xh, yh = _labelled("holdout", holdout, width, classes)
        overlap = None if x is None else _count_common(x, xh)
        reused = False
    else:
        if x is None or y is None:
            raise InvalidParameter("an audit needs train=(x, y) or holdout=(x, y), got none of them.")
        (xh, yh), overlap, reused = (x, y), None, True
        notes.append(
            "no hold-out was given: calibration points come from the training data, so every relative "
            "certificate and the test-set bound lose their premise; only the Occam bounds keep theirs"
        )
    network.require_finite(xh)
    if len(xh) < 30:
        raise InvalidParameter(f"an audit needs at least 30 hold-out points, got {len(xh)}.")
    order = rng.permutation(len(xh))
    a, b = len(xh) // 3, 2 * (len(xh) // 3)
    s, t, v = order[:a], order[a:b], order[b:]
    rest = order[a:]
    return Deal(
        calibrate=xh[s],
        certify=xh[t],
        inputs=xh[v],
        labelled=None if x is None or y is None else (x, y),
        test=None if reused else (xh[rest], yh[rest]),
        test_error=None if reused else network.errors(xh, yh) / len(xh),
        risk=CLASSIFICATION,
        reused=reused,
        overlap=overlap,
        counts={
            "train": 0 if x is None else len(x),
            "holdout": len(xh),
            "calibrate": len(s),
            "certify": len(t),
            "fresh": len(v),
        },
        notes=tuple(notes),
    )


def _from_sampler(network: Network, inputs: Sampler, rng: np.random.Generator) -> Deal:
    width = network.sizes[0]

    def draw(n: int) -> np.ndarray:
        drawn = inputs(rng, min(n, max(100, ENTRIES // width)))
        drawn = _errors.matrix("inputs(rng, n)", drawn, columns=width)
        network.require_finite(drawn)
        return drawn

    x, test = draw(LABELLED), draw(LABELLED)
    y, test_y = network(x).argmax(axis=1), network(test).argmax(axis=1)
    enough = network.sizes[-1] > 1 and len(np.unique(y)) > 1 and len(np.unique(test_y)) > 1
    calibrate, certify = draw(CALIBRATE), draw(CERTIFY)
    return Deal(
        calibrate=calibrate,
        certify=certify,
        inputs=inputs,
        labelled=(x, y) if enough else None,
        test=(test, test_y) if enough else None,
        test_error=network.errors(test, test_y) / len(test) if enough else None,
        risk=DISAGREEMENT,
        reused=False,
        overlap=None,
        counts={
            "train": len(x) if enough else 0,
            "holdout": len(test),
            "calibrate": len(calibrate),
            "certify": len(certify),
            "fresh": None,
        },
        notes=("inputs are drawn fresh from the given distribution and labelled by the net itself",),
    )


def _labelled(name: str, pair: Labelled, width: int, classes: int) -> Labelled:
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise InvalidParameter(f"{name} must be a pair (x, y), got {type(pair).__name__}.")
    x = _errors.matrix(f"{name} x", pair[0], columns=width)
    return x, _errors.labels(f"{name} y", pair[1], points=len(x), classes=classes)


def _count_common(x: np.ndarray, other: np.ndarray) -> int:
    """How many rows of `other` occur in `x`, bit for bit."""
    known = set(fingerprints(x))
    return sum(digest in known for digest in fingerprints(other))
