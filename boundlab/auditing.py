"""The main job: compress, certify, bound and verify one net."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from boundlab import _errors
from boundlab._errors import InvalidParameter
from boundlab.bounds import CoreNetCorollary, GeneralizationBound, Occam, TestSet
from boundlab.certificates import certify
from boundlab.compressors.baselines import Magnitude
from boundlab.compressors.constants import constants
from boundlab.compressors.corenet import CoreNet, CoreNetAdditive, CoreNetBudget, CoreNetRelative
from boundlab.compressors.method import Compressor, as_generator, compress
from boundlab.dealing import Deal, Labelled, Sampler, deal
from boundlab.findings import Audit, Tested
from boundlab.holdout import certify_on_holdout
from boundlab.nets.load import as_network
from boundlab.network import Network
from boundlab.observe import error_curve, observed_need
from boundlab.premises import assumption_1, assumption_2, unseen
from boundlab.promises import Bound, Certificate, Premise
from boundlab.records import Compression
from boundlab.sizes import group_sizes, sample_sizes, schedules
from boundlab.verification.run import verify

if TYPE_CHECKING:
    import torch

CURVE = (0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.95)
"""Budgets, as shares of the weights, at which promised and observed error are compared."""

Progress = Callable[[float, str], None]


def audit(
    net: Network | torch.nn.Module,
    *,
    train: Labelled | None = None,
    holdout: Labelled | None = None,
    inputs: Sampler | None = None,
    methods: Sequence[Compressor] | None = None,
    eps: float = 0.5,
    delta: float = 0.05,
    unseen_holdout: bool | None = None,
    max_trials: int = 10_000,
    rng: int | np.random.Generator = 0,
    progress: Progress | None = None,
    source: Mapping[str, str] | None = None,
) -> Audit:
    """Audit one trained net: sample sizes, premises, certificates, bounds and verdicts.

    Parameters
    ----------
    net : a fully connected ReLU net
    train : (x, y) the training data; the Occam bounds are computed on them
    holdout : (x, y) points that training never saw. A third calibrates, a third certifies, a third gives the verdicts'
        fresh inputs; the test-set bound uses the last two thirds, on which no compressed net depends
    inputs : inputs(rng, n) -> (n, features), instead of data: fresh inputs without end, labelled by the net itself, so
        that every risk is a disagreement with the original net
    methods : compressors; None: the four forms of CoreNet, the budget at half of the weights
    eps, delta : the promise that is asked for
    unseen_holdout : your word that training never saw the hold-out; None is reported as "nobody has declared it"
    max_trials : budget of each verdict
    rng : seed of everything random
    progress : progress(share done, what is done now)
    source : names of net and data, for the report

    Raises
    ------
    InvalidParameter, UnsupportedLayer
        if net, data or numbers break a rule; nothing is written.
    """
    _errors.probability("delta", delta)
    _errors.share("eps", eps)
    tell = progress or (lambda share, text: None)
    network = as_network(net)
    if methods is not None and not all(isinstance(m, Compressor) for m in methods):
        raise InvalidParameter(f"methods must be Compressors such as CoreNet(), got {methods!r}.")
    generator = as_generator(rng)[1]
    seed = int(rng) if isinstance(rng, (int, np.integer)) else None
    trials_seed = int(generator.integers(2**32)) if seed is None else seed
    tell(0.0, "splitting the data")
    parts = deal(network, train, holdout, inputs, generator)
    declared = False if parts.reused else unseen_holdout
    if methods is None:
        methods = (
            CoreNet(eps=eps, delta=delta),
            CoreNetRelative(eps=eps, delta=delta),
            CoreNetAdditive(eps=eps, delta=delta),
            CoreNetBudget(nnz=max(1, network.nnz // 2), delta=delta),
        )
    notes = list(parts.notes)

    if network.nnz == 0:
        raise InvalidParameter("a net to audit must have at least one non-zero weight, got none.")
    guess = 1.0 - 1.0 / network.sizes[-1]
    if parts.test_error is not None and parts.test_error >= 0.9 * guess > 0.0:
        notes.append(
            f"the net errs on {parts.test_error:.1%} of the hold-out, hardly less than a guess: "
            "are the inputs scaled as in training (scale, shift)?"
        )

    tell(0.03, "testing the premises")
    unused = unseen(declared, overlap=parts.overlap, points=parts.counts["holdout"], drawn=callable(parts.inputs))
    premises = (
        unused,
        assumption_1(network, parts.certify, delta=delta),
        assumption_2(network, parts.certify),
    )
    tell(0.08, "computing sample sizes")
    published = CoreNet(eps=eps, delta=delta).plan(network, parts.calibrate)
    each = group_sizes(network, published, eps=eps, delta=delta)
    table = sample_sizes(network, each)
    plan_rows = schedules(network, published, parts.calibrate, eps=eps, delta=delta)
    for k, row in enumerate(table):
        tell(0.12 + 0.2 * k / len(table), f"finding the sample size that layer {k + 2} needs")
        row["observed_need"] = observed_need(
            network, k, published[k].sensitivities, parts.fresh(generator, 1000), eps=eps, delta=delta, rng=generator
        )

    compressions: list[Compression] = []
    certificates: list[Certificate] = []
    verdicts: list[Tested] = []
    for k, method in enumerate(methods):
        at = 0.32 + 0.4 * k / len(methods)
        tell(at, f"{method.name}: compressing")
        small = compress(network, method, parts.calibrate, rng=generator)
        tell(at + 0.1 / len(methods), f"{method.name}: certifying")
        promise = certify(small, parts.certify, unused=unused)
        compressions.append(small)
        certificates.append(promise)
        additive = promise.theorem == "boundlab_theorem_b"
        for claim_eps in (None, eps) if additive else (promise.eps,):
            tell(at + 0.2 / len(methods), f"{method.name}: trying to break the promise")
            verdict = verify(small, parts.inputs, eps=claim_eps, max_trials=max_trials, seed=trials_seed)
            promised = promise.met and (claim_eps is None or not additive)
            verdicts.append(Tested(verdict=verdict, promised=promised, trivial=small.unchanged))

    tell(0.71, "comparing with magnitude pruning")
    agreement: dict[int, float] = {}  # by the number of weights, which several methods may share
    for nnz in {small.nnz for small in compressions}:
        rival = compress(network, Magnitude(nnz=max(1, nnz)), parts.calibrate, rng=0)
        agreement[nnz] = certify_on_holdout(rival, parts.certify).error["agreement"]

    tell(0.72, "evaluating the bounds")
    bounds = _bounds(compressions, parts, unused, delta)
    if parts.labelled is None:
        notes.append("no Occam bound: it needs training labels, or a net with two outputs to disagree with")
    if parts.test is None:
        notes.append("no test-set bound: it needs labels that training has not seen")
    tell(0.82, "comparing promised and observed error")
    done = iter(range(1, len(CURVE) + 1))
    curve = error_curve(
        network,
        parts.calibrate[:1000],
        parts.certify[:1000],
        shares=CURVE,
        delta=delta,
        rng=generator,
        tick=lambda: tell(0.82 + 0.18 * next(done) / len(CURVE), "comparing promised and observed error"),
    )
    tell(1.0, "done")
    return Audit(
        settings={
            "eps": eps,
            "delta": delta,
            "seed": seed,
            "max_trials": max_trials,
            "methods": [repr(m) for m in methods],
        },
        net={
            "source": (source or {}).get("net", ""),
            "sizes": list(network.sizes),
            "weights": network.nnz,
            "relu_after_last": network.layers[-1].relu,
        },
        data={"source": (source or {}).get("data", ""), **parts.counts},
        risk=parts.risk,
        test_error=parts.test_error,
        constants={v: vars(constants(network.sizes, delta, variant=v)) for v in ("published", "repaired", "sharp")},
        sample_sizes=table,
        group_sizes=each,
        schedules=plan_rows,
        premises=premises,
        compressions=tuple(compressions),
        certificates=tuple(certificates),
        magnitude=tuple(agreement[small.nnz] for small in compressions),
        bounds=tuple(bounds),
        verdicts=tuple(verdicts),
        curve=curve,
        notes=tuple(notes),
    )


def _bounds(compressions: Sequence[Compression], parts: Deal, unused: Premise, delta: float) -> list[tuple[str, Bound]]:
    """Each bound on the original net, and on every compressed net that differs from it."""
    found: list[tuple[str, Bound]] = []
    seen_original = False
    for small in compressions:
        same = small.unchanged
        if same and seen_original and not isinstance(small.compressor, CoreNet):
            continue
        name = "original" if same else small.compressor.name
        kinds: list[tuple[GeneralizationBound, Labelled | None]] = []
        if not (same and seen_original):
            kinds += [(TestSet(delta=delta), parts.test), (Occam(delta=delta), parts.labelled)]
        if isinstance(small.compressor, CoreNet):
            kinds.append((CoreNetCorollary(delta=delta), parts.labelled))
        for kind, sample in kinds:
            if sample is not None:
                # Occam bounds the net on the grid of its code, the corollary one that is drawn for it alone
                rounded = ", rounded" if isinstance(kind, Occam) else ""
                which = "drawn at eps = gamma/(2B)" if isinstance(kind, CoreNetCorollary) else name
                bound = kind(small, *sample)
                if isinstance(kind, TestSet):
                    known = (unused, *bound.premises[1:])  # the premise that it assumes first, with what is known of it
                    bound = replace(bound, premises=known)
                found.append((which + rounded, bound))
        seen_original = seen_original or same
    return found
