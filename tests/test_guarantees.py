"""The promises, end to end: what compress plans and certify promises, verify tries to break.

Every verdict is seeded. `upheld` is wrong with probability at most 1e-3, `violated` with at most 1e-6, in all
guarantees of a session together. Each promise is also sabotaged, by sizes that are too small, to see that a false one
is refuted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import beta

from boundlab import (
    Certificate,
    Compression,
    Compressor,
    CoreNet,
    CoreNetAdditive,
    CoreNetBudget,
    CoreNetRelative,
    InvalidParameter,
    Layer,
    Network,
    Premise,
    Rule,
    Schedule,
    State,
    Status,
    Verdict,
    certify,
    compress,
    random_network,
    redraw,
    verify,
)
from boundlab._errors import PremiseViolated
from boundlab.certificates import CONFIDENCE
from boundlab.nets.propagate import envelope
from boundlab.premises import unseen
from boundlab.pytest_plugin.checking import Guarantee

DELTA = 0.1
FEATURES = 1200


def sparse(rng: np.random.Generator, n: int) -> np.ndarray:
    """A quarter of the features at 1, the others at 0: as hard to sample as the total sensitivity allows."""
    return (rng.random((n, FEATURES)) < 0.25).astype(float)


def dense(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.uniform(0.5, 1.5, (n, FEATURES))


def signed(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.uniform(-1.0, 1.0, (n, FEATURES))


SHARP_NET = random_network((FEATURES, 1), rng=1, positive=True)  # one group: the theorem has nothing else to give away
DEEP_NET = random_network((FEATURES, 5, 3, 2), rng=2, positive=True, bias=True)
SIGNED_NET = random_network((FEATURES, 5, 2), rng=3, bias=True)

relative = CoreNetRelative(eps=0.75, delta=DELTA, K=1.25)
additive = CoreNetAdditive(eps=0.6, delta=DELTA, K=1.25)
budget = CoreNetBudget(nnz=150, delta=DELTA, K=1.25)
CERTIFIED: dict[str, tuple[Compressor, float | None]] = {
    "relative, kl, optimal": (relative, 0.75),
    "relative, bernstein": (replace(relative, rule=Rule.BERNSTEIN), 0.75),
    "relative, sharp": (replace(relative, schedule=Schedule.SHARP), 0.75),
    "additive, kl": (additive, None),
    "additive, bernstein": (replace(additive, rule=Rule.BERNSTEIN), None),
    "budget": (budget, None),
}
certified = pytest.mark.parametrize(("method", "eps"), CERTIFIED.values(), ids=CERTIFIED)


def made(net: Network, method: Compressor, inputs: Any = sparse, points: int = 250) -> Compression:
    x: np.ndarray = inputs(np.random.default_rng(11), points)
    return compress(net, method, x, rng=12)


def sabotaged(small: Compression, factor: float) -> Compression:
    """The same promise with sizes divided by a factor."""
    fewer = [
        replace(c, plan=replace(c.plan, size=np.maximum(1.0, np.ceil(c.plan.size / factor)))) for c in small.coresets
    ]
    return replace(small, coresets=tuple(fewer))


# failure rates


@pytest.mark.guarantee(max_trials=600)
@certified
def test_failure_rate_of_a_certified_promise_is_below_delta(
    guarantee: Guarantee, method: Compressor, eps: float | None
) -> None:
    small = made(SHARP_NET, method)
    promise = certify(small, sparse(np.random.default_rng(13), 2000))
    assert promise.sampled_share == 1.0
    assert promise.met
    verdict = guarantee.check(small, inputs=sparse, eps=eps, sabotage=sabotaged(small, 20)).require(State.UPHELD)
    assert verdict.delta == DELTA
    assert verdict.interval[1] <= DELTA


@certified
def test_sizes_divided_by_twenty_are_refuted(method: Compressor, eps: float | None) -> None:
    small = sabotaged(made(SHARP_NET, method), 20)
    verdict = verify(small, sparse, eps=eps, max_trials=600).require(State.VIOLATED)
    assert verdict.interval[0] >= DELTA


@pytest.mark.guarantee(max_trials=400)
@pytest.mark.parametrize("inputs", [sparse, dense])
@pytest.mark.parametrize("schedule", [Schedule.SHARP, Schedule.OPTIMAL])
def test_relative_promise_of_a_deep_net_is_upheld(guarantee: Guarantee, inputs: Any, schedule: Schedule) -> None:
    method = CoreNetRelative(eps=1.0, delta=DELTA, K=1.25, schedule=schedule)
    small = made(DEEP_NET, method, inputs)
    assert certify(small, inputs(np.random.default_rng(13), 2000)).sampled_share > 0.4
    guarantee.check(small, inputs=inputs, eps=1.0).require(State.UPHELD)


@pytest.mark.guarantee(max_trials=400)
@pytest.mark.parametrize("inputs", [sparse, dense, signed])
@pytest.mark.parametrize("method", [CoreNetAdditive(eps=1.2, delta=DELTA, K=1.5), CoreNetBudget(nnz=3000, delta=DELTA)])
def test_additive_promise_of_a_signed_net_is_upheld(guarantee: Guarantee, inputs: Any, method: Compressor) -> None:
    small = made(SIGNED_NET, method, inputs)
    promise = certify(small, inputs(np.random.default_rng(13), 2000))
    assert promise.sampled_share > 0.5
    assert promise.met
    guarantee.check(small, inputs=inputs).require(State.UPHELD)


@pytest.mark.guarantee(max_trials=400)
def test_published_promise_is_kept_because_nothing_is_removed(guarantee: Guarantee) -> None:
    small = made(SHARP_NET, CoreNet(eps=1.0, delta=DELTA))
    assert certify(small, sparse(np.random.default_rng(13), 100)).vacuous
    verdict = guarantee.check(small, inputs=sparse, eps=1.0).require(State.UPHELD)
    assert verdict.failures == 0


@pytest.mark.guarantee(max_trials=600)
def test_an_envelope_that_is_too_small_is_refuted(guarantee: Guarantee) -> None:
    small = made(SHARP_NET, additive)
    plan = small.plans[0]
    tight = replace(small, coresets=(replace(small.coresets[0], plan=replace(plan, eps=plan.eps / 4)),))
    guarantee.check(small, inputs=sparse, sabotage=tight).require(State.UPHELD)


def test_a_relative_claim_beyond_the_promise_is_refuted() -> None:
    verify(made(SHARP_NET, relative), sparse, eps=0.02, max_trials=600).require(State.VIOLATED)


def test_same_seed_same_verdict() -> None:
    small = sabotaged(made(SHARP_NET, additive), 6)
    first, second = (verify(small, sparse, max_trials=200, seed=4) for _ in range(2))
    assert counts(first) == counts(second)
    assert counts(first) != counts(verify(small, sparse, max_trials=200, seed=5))


def counts(verdict: Verdict) -> tuple[Any, ...]:
    return verdict.trials, verdict.failures, verdict.unknown, verdict.state, verdict.path


def test_given_points_are_used_once() -> None:
    small = made(SHARP_NET, relative)
    verdict = verify(small, sparse(np.random.default_rng(20), 30), eps=0.75)
    assert (verdict.trials, verdict.state, verdict.stopped_because) == (30, State.UNDECIDED, "inputs used up")


# envelopes


@pytest.mark.parametrize("inputs", [sparse, dense, signed])
@pytest.mark.parametrize("net", [DEEP_NET, SIGNED_NET], ids=["positive", "signed"])
def test_envelope_is_above_the_error_of_every_trial(net: Network, inputs: Any) -> None:
    small, rng = made(net, CoreNetBudget(nnz=2500, delta=0.01, K=2.0), inputs), np.random.default_rng(14)
    x = inputs(rng, 200)
    told = envelope(net, x, [p.groups for p in small.plans], [p.eps for p in small.plans])[1]
    f, worst = net(x), 0.0
    for _ in range(30):
        error = np.abs(redraw(small, rng)(x) - f)
        assert np.all(error <= told)
        worst = max(worst, float((error / told).max()))
    assert 0.0 < worst < 1.0


def test_envelope_of_exact_groups_is_zero() -> None:
    small = made(SIGNED_NET, CoreNetBudget(nnz=10**6, delta=DELTA), signed)
    x = signed(np.random.default_rng(15), 20)
    assert not envelope(SIGNED_NET, x, [p.groups for p in small.plans], [p.eps for p in small.plans])[1].any()


def test_promised_decisions_are_kept() -> None:
    net = Network(
        layers=(
            Layer(weight=np.vstack([np.full(FEATURES, 8.0), np.full(FEATURES, 1.0)]), bias=np.zeros(2), relu=False),
        )
    )
    small = made(net, CoreNetAdditive(eps=0.5, delta=DELTA, K=1.25))
    promise = certify(small, sparse(np.random.default_rng(16), 500))
    assert promise.error["decisions_promised"] == 1.0
    assert promise.error["agreement"] == 1.0


# certificates


@certified
def test_budget_of_a_certificate_adds_up_to_its_delta(method: Compressor, eps: float | None) -> None:
    small, points = made(SHARP_NET, method), 700
    promise = certify(small, sparse(np.random.default_rng(17), points))
    assert promise.budget["coins"] == DELTA / 2
    assert promise.delta == pytest.approx(sum(promise.budget.values()), rel=1e-15)
    bad = int(promise.premises[-1].numbers["bad"])
    limit = float(beta.ppf(1 - CONFIDENCE, bad + 1, points - bad))  # Clopper-Pearson, by another implementation
    assert promise.budget["bad points"] == pytest.approx(limit, rel=1e-9)
    assert promise.confidence_delta == CONFIDENCE
    assert promise.requested_delta == DELTA
    assert promise.eps == getattr(method, "eps", None)


@pytest.mark.parametrize("points", [10, 130, 140, 2000])
def test_a_small_hold_out_cannot_keep_the_requested_delta(points: int) -> None:
    promise = certify(made(SHARP_NET, additive), sparse(np.random.default_rng(17), points))
    # 1 - alpha^{1/n} <= delta/2 needs n >= 135 points without a bad one
    assert promise.met == (points >= 135)


def test_nothing_sampled_costs_no_delta() -> None:
    promise = certify(made(SHARP_NET, CoreNetAdditive(eps=1e-4)), sparse(np.random.default_rng(17), 50))
    assert dict(promise.budget) == {}
    assert promise.delta == promise.confidence_delta == 0.0
    assert promise.vacuous


def test_bad_points_of_another_distribution_are_found() -> None:
    small = made(SHARP_NET, additive)
    rng = np.random.default_rng(18)
    mixed = sparse(rng, 400)
    mixed[:100, 60:] = 0.0  # a quarter of the points has its mass on few features: shares 20 times as large
    promise = certify(small, mixed)
    assert promise.premises[-1].numbers == {"bad": 100.0, "points": 400.0}
    assert 0.25 < promise.budget["bad points"] < 0.35
    assert not promise.met
    assert certify(small, mixed[:100]).delta == 1.0
    assert certify(small, mixed[:100]).vacuous


def test_bad_points_are_those_with_a_share_above_k_times_its_sensitivity() -> None:
    small, x = made(SHARP_NET, replace(additive, K=1.0)), sparse(np.random.default_rng(19), 300)
    weight, plan = SHARP_NET.layers[0].weight[0], small.plans[0]
    share = x * weight / (x @ weight)[:, None]  # (points, features)
    bad = int((share > plan.K * plan.sensitivities.values * (1 + 1e-10)).any(axis=1).sum())
    assert 0 < bad < 300
    assert certify(small, x).premises[-1].numbers["bad"] == bad
    wider = replace(small, coresets=(replace(small.coresets[0], plan=replace(plan, K=1.25)),))
    assert certify(wider, x).premises[-1].numbers["bad"] == 0


def test_condition_numbers_above_their_bound_make_a_point_bad() -> None:
    net = DEEP_NET.with_weights(
        [DEEP_NET.layers[0].weight, DEEP_NET.layers[1].weight, np.array([[1.0, 1, 1], [1, 1, -1]])]
    )
    small, x = made(net, CoreNetRelative(eps=1.0, delta=0.5, K=1.25), dense), dense(np.random.default_rng(21), 600)
    z, a = net(x), net.inputs(x)[2]
    ratio = (a @ np.abs(net.layers[2].weight).T / np.abs(z)).max(axis=1)
    assert any((p.draws > 0).any() for p in small.plans)
    above = int((ratio > small.plans[2].condition).sum())
    assert 0 < above < 600
    assert certify(small, x).premises[-1].numbers["bad"] == above


def test_relative_certificate_refuses_a_plan_that_does_not_end_at_eps() -> None:
    small = made(DEEP_NET, CoreNetRelative(eps=0.9, delta=DELTA, K=1.25), dense)
    worse = replace(small, coresets=tuple(replace(c, plan=replace(c.plan, eps=3 * c.plan.eps)) for c in small.coresets))
    with pytest.raises(PremiseViolated, match=r"the recursion must end at eps=0\.9"):
        certify(worse, dense(np.random.default_rng(22), 50))


def test_a_plan_of_an_unknown_theorem_is_refused() -> None:
    small = made(SHARP_NET, additive)
    other = replace(small, coresets=(replace(small.coresets[0], plan=replace(small.plans[0], theorem="hearsay")),))
    with pytest.raises(InvalidParameter, match="a theorem that certify knows, got 'hearsay'"):
        certify(other, sparse(np.random.default_rng(22), 50))


@pytest.mark.parametrize(("independent", "void"), [(None, False), (True, False), (False, True)])
def test_reused_points_void_a_certificate(independent: bool | None, void: bool) -> None:
    promise = certify(made(SHARP_NET, additive), sparse(np.random.default_rng(17), 500), independent=independent)
    assert promise.void == void
    assert promise.met == (not void)


@pytest.mark.parametrize(
    ("overlap", "status"),
    [(None, Status.ASSUMED), (0, Status.ASSUMED), (9, Status.ASSUMED), (10, Status.VIOLATED), (100, Status.VIOLATED)],
)
def test_many_points_found_in_the_training_data_overrule_the_callers_word(overlap: int | None, status: Status) -> None:
    assert unseen(True, overlap=overlap, points=1000).status is status


def test_a_holdout_that_calibrated_the_plan_voids_the_certificate() -> None:
    points = sparse(np.random.default_rng(31), 400)
    small = compress(SHARP_NET, additive, points, rng=0)
    assert certify(small, points, independent=True).void
    assert not certify(small, sparse(np.random.default_rng(32), 400), independent=True).void


def test_the_published_certificate_is_void_where_its_premises_fail() -> None:
    x = signed(np.random.default_rng(23), 500)
    promise = certify(made(SIGNED_NET, CoreNet(eps=1.0, delta=DELTA), signed), x)
    violated = [p.text for p in promise.premises if p.status is Status.VIOLATED]
    assert promise.void
    assert not promise.met
    assert any("non-negative" in text for text in violated)
    assert any("Assumption 2" in text for text in violated)
    assert any("eta*" in text for text in violated)


def certificate(**changes: Any) -> Certificate:
    values: dict[str, Any] = {
        "claim": "c",
        "eps": 0.5,
        "delta": 0.04,
        "requested_delta": 0.05,
        "theorem": "boundlab_theorem_a",
        "premises": (),
        "budget": {"coins": 0.025, "bad points": 0.015},
        "sampled_share": 0.5,
    }
    return Certificate(**(values | changes))


BROKEN = (Premise(text="p", status=Status.VIOLATED, evidence=""),)
ASSUMED = (Premise(text="p", status=Status.ASSUMED, evidence=""),)
LOGIC: list[tuple[Mapping[str, Any], tuple[bool, bool, bool]]] = [  # changes -> vacuous, void, met
    ({}, (False, False, True)),
    ({"premises": ASSUMED}, (False, False, True)),
    ({"premises": BROKEN}, (False, True, False)),
    ({"delta": 0.05}, (False, False, True)),
    ({"delta": 0.06}, (False, False, False)),
    ({"delta": 1.0}, (True, False, False)),
    ({"sampled_share": 0.0}, (True, False, True)),
    ({"eps": 1.0}, (True, False, True)),
    ({"eps": None}, (False, False, True)),
    ({"eps": None, "error": {"promised_relative_l1_median": 0.9}}, (False, False, True)),
    ({"eps": None, "error": {"promised_relative_l1_median": 1.0}}, (True, False, True)),
    ({"eps": 2.0, "error": {"promised_relative_l1_median": 0.9}}, (False, False, True)),
]


@pytest.mark.parametrize(("changes", "expected"), LOGIC, ids=[str(c) for c, _ in LOGIC])
def test_vacuous_void_and_met_mean_what_they_say(changes: Mapping[str, Any], expected: tuple[bool, bool, bool]) -> None:
    promise = certificate(**changes)
    assert (promise.vacuous, promise.void, promise.met) == expected
    row = promise.rows()[0]
    assert (row["vacuous"], row["void"], row["met"]) == expected
