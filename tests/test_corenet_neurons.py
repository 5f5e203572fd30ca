"""CoreNet+ and CoreNet++: neurons drawn for all readers, candidates chosen on held-out points, free clean-up."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from boundlab import (
    Claim,
    CoreNetBudget,
    InvalidParameter,
    Layer,
    Network,
    Over,
    Rule,
    certify,
    random_network,
    verify,
)
from boundlab.compressors.corenet_neurons import (
    CoreNetPlus,
    CoreNetPlusBudget,
    CoreNetPlusPlus,
    amplify,
    clean_network,
)
from boundlab.compressors.method import LayerDraw, compress
from boundlab.coresets.amplification import FACTOR, candidates
from boundlab.nets.groups import side_sums
from boundlab.verification.trials import AtPoint
from proofs_checks.baykal2019_unbiased_reweighting import outcomes

NET = random_network((8, 200, 60, 3), rng=0, positive=True, bias=True)
POINTS = np.random.default_rng(1).uniform(0.5, 1.5, (60, 8))
FRESH = np.random.default_rng(2).uniform(0.5, 1.5, (200, 8))


def two_layers(first: np.ndarray, last: np.ndarray) -> Network:
    return Network(
        layers=(
            Layer(weight=first, bias=np.zeros(len(first)), relu=True),
            Layer(weight=last, bias=np.zeros(len(last)), relu=False),
        )
    )


def test_a_neuron_counts_by_its_largest_share_in_any_reader() -> None:
    net = two_layers(np.eye(3), np.array([[1.0, 1.0, 2.0], [0.0, -3.0, 1.0]]))
    plan = CoreNetPlusBudget(share=0.5).plan(net, np.ones((1, 3)))[0]
    assert plan.sensitivities.unit == "neuron"
    assert plan.sensitivities.values == pytest.approx([1 / 4, 1.0, 1.0])  # -3 is alone on its side, 1 on the other


def test_size_of_the_specification_with_all_signed_sums() -> None:
    """⌈(2 + 2 eps/3) K S ln(4 out/delta_l)/eps²⌉ where every reader has weights of both signs; first layer exact."""
    rng = np.random.default_rng(3)
    net = two_layers(rng.random((50, 4)), rng.normal(size=(5, 50)))
    method = CoreNetPlus(eps=0.9, delta=0.2, K=2.0)
    plan = method.plan(net, rng.random((30, 4)))[0]
    e = (0.9 / plan.condition) * (1 - 1e-10)  # one sampled layer: Delta eps_1 = eps
    S = plan.sensitivities.total[0]
    want = (2 + 2 * e / 3) * 2.0 * S * math.log(4 * 5 / 0.1) / e**2
    assert want * (1 - 1e-6) <= plan.size[0] <= want * (1 + 1e-6) + 1
    assert plan.exact[0]
    assert not plan.eps[0]


def test_kl_asks_for_fewer_draws_than_bernstein() -> None:
    sizes = [CoreNetPlus(rule=rule, K=1.0).plan(NET, POINTS) for rule in (Rule.KL, Rule.BERNSTEIN)]
    assert all(a.size[0] <= b.size[0] for a, b in zip(*sizes, strict=True))


@pytest.mark.parametrize("share", [0.05, 0.3, 0.8])
def test_a_budget_keeps_its_share_in_the_mean(share: float) -> None:
    method = CoreNetPlusBudget(share=share)
    plans = method.plan(NET, POINTS)
    for plan, n in zip(plans, (200, 60), strict=True):
        assert plan.expected_distinct.sum() <= share * n + 1e-9
        assert plan.expected_distinct.sum() >= share * n - 1.0
    drawn = compress(NET, method, POINTS, rng=0)
    assert isinstance(drawn.net, Network)
    assert drawn.net.sizes[1:3] == tuple(c.nnz for c in drawn.coresets)


def test_the_whole_share_is_the_original() -> None:
    drawn = compress(NET, CoreNetPlusBudget(share=1.0), POINTS, rng=0)
    assert drawn.unchanged
    assert isinstance(drawn.net, Network)
    assert drawn.net.digest == NET.digest


def test_signed_sums_fail_no_more_than_delta_over_all_coins() -> None:
    w = np.array([[2.0, 1.0, 1.0], [1.0, -1.0, 2.0]])
    net, x = two_layers(np.eye(3), w), np.ones((1, 3))
    plan = CoreNetPlusBudget(share=0.67, delta=0.9, K=1.0).plan(net, x)[0]
    s = [Fraction(float(v)) for v in plan.sensitivities.values]
    q, m = [v / sum(s) for v in s], 6
    eps = 0.8
    plus, minus = np.maximum(w, 0.0), np.maximum(-w, 0.0)
    truth = np.concatenate([plus.sum(axis=1), minus.sum(axis=1)])
    far = Fraction(0)
    for counts, p in outcomes(m, q):
        c = np.array([float(Fraction(k) / (m * v)) for k, v in zip(counts, q, strict=True)])
        sums = np.concatenate([plus @ c, minus @ c])
        far += p * bool(np.any(np.abs(sums - truth) > eps * truth * (1 + 1e-9)))
    S = float(sum(s))
    bound = 2 * 3 * math.exp(-m * eps**2 / ((2 + 2 * eps / 3) * S))  # three live sums, two tails each
    assert 0 < far <= min(1.0, bound)


def signed_sums_fail(factor: float) -> tuple[AtPoint, float]:
    """Trials of one layer at a calibration point: 800 equal neurons, 8 readers of 100 each, m divided by a factor."""
    net = two_layers(np.eye(800), np.kron(np.eye(8), np.ones(100)))
    x, delta, eps = np.ones((1, 800)), 0.2, 0.5
    plan = CoreNetPlus(eps=eps, delta=2 * delta, K=1.0, rule=Rule.KL).plan(net, x)[0]
    assert not plan.exact[0]
    draw = LayerDraw(np.ones((1, 800)), replace(plan, size=np.ceil(plan.size / factor)))
    last = net.layers[1].weight

    def fails(c: np.ndarray, point: np.ndarray) -> np.ndarray:
        sums = np.maximum(point, 0.0) @ (last * c).T
        return np.any(np.abs(sums - 100.0) > eps * 100.0, axis=1)

    return AtPoint(lambda rng: draw(rng)[0], fails, x), delta


def test_corenet_plus_keeps_its_promise_and_a_third_of_the_draws_does_not() -> None:
    for factor, state in ((1.0, "upheld"), (3.0, "violated")):
        trial, delta = signed_sums_fail(factor)
        claim = Claim(name=f"signed sums, m / {factor}", delta=delta, over=Over.POINT)
        verdict = verify(claim, trial, max_trials=2000, executor=1)  # wrong with probability at most 1e-3 and 1e-6
        assert str(verdict.state) == state


def test_plus_plus_draws_without_the_logarithm() -> None:
    plans = CoreNetPlusPlus(eps=0.5, delta=1e-6, K=2.0).plan(NET, POINTS)
    assert [p.size.tolist() for p in plans] == [
        p.size.tolist() for p in CoreNetPlusPlus(eps=0.5, delta=0.5, K=2.0).plan(NET, POINTS)
    ]
    S = plans[1].sensitivities.total
    assert plans[1].size == pytest.approx(np.ceil((2.0 * S - 1.0) * (FACTOR / 0.5) ** 2), abs=1)


def test_the_best_candidate_is_no_worse_than_the_mean_and_its_errors_are_what_is_told() -> None:
    drawn = compress(NET, CoreNetPlusPlus(eps=0.5, K=1.2, delta=0.1), POINTS, rng=0)
    best = amplify(drawn, FRESH, rng=1)
    groups = sum(int((p.draws > 0).sum()) for p in best.plans)
    assert best.tau == candidates(0.05 / groups)
    for plan, observed, single, promised in zip(best.plans, best.observed, best.single, best.promised, strict=True):
        assert (observed <= single * (1 + 1e-12)).all()
        assert (observed <= promised).all()
        assert (promised[plan.exact] == 0.0).all()
    layer, small = best.original.layers[1], best.net.layers[1]
    a = best.original.inputs(FRESH)[1]
    plan = best.plans[1]
    plus, minus = side_sums(layer.weight, a)
    plus_hat, _ = side_sums(small.weight, a)
    size, K = plan.sensitivities.values.reshape(60, 200), plan.K
    good = (layer.weight[None] * a[:, None, :] <= K * size[None] * plus[:, :, None] * (1 + 1e-12)).all(axis=2)
    error = (np.abs(plus_hat - plus) / plus * good).sum(axis=0) / good.sum(axis=0)
    assert not minus.any()
    assert error == pytest.approx(best.observed[1])


def test_few_candidates_promise_nothing_and_no_held_out_point_calibrates() -> None:
    drawn = compress(NET, CoreNetPlusPlus(eps=0.5, K=1.2), POINTS, rng=0)
    few = amplify(drawn, FRESH[:5], rng=1, tau=2)
    sampled = [p.draws > 0 for p in few.plans]
    assert all(np.isinf(v[s]).all() for v, s in zip(few.promised, sampled, strict=True))
    with pytest.raises(InvalidParameter):
        amplify(drawn, POINTS[:5], rng=1)


def mean_error_exceeds(factor: float, m: int = 40) -> AtPoint:
    """Trials of the mean error of the best of tau candidates: one row of 60 equal edges, K S = 1 + spread."""
    n, seen = 60, 20
    inputs = (np.argsort(np.random.default_rng(4).random((100, n)), axis=1) < seen).astype(float)
    bound = FACTOR * math.sqrt((n / seen - 1.0) / m) / factor
    tau = candidates(0.05)

    def draw(rng: np.random.Generator) -> np.ndarray:
        return rng.multinomial(m, np.full(n, 1 / n), size=tau) * (n / m)

    def fails(c: np.ndarray, x: np.ndarray) -> np.ndarray:
        error = np.abs(c @ inputs.T / seen - 1.0).mean(axis=1).min()
        return np.full(len(x), error > bound)

    return AtPoint(draw, fails, np.zeros((1, 1)))


def test_the_average_guarantee_of_the_best_candidate_has_teeth() -> None:
    claim = Claim(name="mean error of the best candidate", delta=0.05, over=Over.POINT)
    assert str(verify(claim, mean_error_exceeds(1.0), max_trials=400, executor=1).state) == "upheld"
    assert str(verify(claim, mean_error_exceeds(2.0), max_trials=400, executor=1).state) == "violated"


def test_clean_up_never_changes_the_outputs() -> None:
    rng = np.random.default_rng(5)
    for seed in range(5):
        net = random_network((4, 12, 10, 3), rng=seed, bias=True)
        first, second, last = net.layers
        w, b = first.weight.copy(), first.bias.copy()
        w[3], b[3] = 2.0 * w[0], 2.0 * b[0]  # collinear
        w[5] = 0.0  # a constant
        v = second.weight.copy()
        v[:, 7] = 0.0  # no-one reads it
        u = last.weight.copy()
        u[:, 2] = 0.0
        layers = (
            Layer(weight=w, bias=b, relu=True),
            Layer(weight=v, bias=second.bias, relu=True),
            Layer(weight=u, bias=last.bias, relu=False),
        )
        dirty = Network(layers=layers)
        clean = clean_network(dirty)
        assert clean.sizes == (4, 9, 9, 3)
        x = rng.normal(size=(50, 4))
        assert np.allclose(clean(x), dirty(x), rtol=1e-12, atol=1e-12)
        assert clean_network(clean).digest == clean.digest


def test_clean_up_goes_back_through_the_layers_and_keeps_an_empty_one() -> None:
    net = random_network((3, 6, 5, 2), rng=6)
    dead = net.with_weights([net.layers[0].weight, net.layers[1].weight, np.zeros((2, 5))])
    clean = clean_network(dead)
    assert clean.sizes == (3, 1, 1, 2)
    assert np.array_equal(clean(POINTS[:, :3]), dead(POINTS[:, :3]))


def test_clean_up_after_compression_is_free() -> None:
    drawn = compress(NET, CoreNetPlusBudget(share=0.1), POINTS, rng=3)
    assert isinstance(drawn.net, Network)
    assert np.allclose(clean_network(drawn.net)(POINTS), drawn.net(POINTS), rtol=1e-12)


@pytest.mark.parametrize(
    "call",
    [
        lambda: compress(NET, CoreNetPlus(eps=1.5), POINTS, rng=0),
        lambda: compress(NET, CoreNetPlus(delta=0.0), POINTS, rng=0),
        lambda: compress(NET, CoreNetPlus(rule=Rule.BINOMIAL), POINTS, rng=0),
        lambda: compress(NET, CoreNetPlusBudget(share=1.5), POINTS, rng=0),
        lambda: compress(NET, CoreNetPlusPlus(K=0.5), POINTS, rng=0),
        lambda: amplify(compress(NET, CoreNetBudget(nnz=500), POINTS, rng=0), FRESH, rng=0, tau=0),
        lambda: amplify(compress(NET, CoreNetBudget(nnz=500), POINTS, rng=0), FRESH[:, :2], rng=0),
    ],
)
def test_the_border_refuses(call) -> None:
    with pytest.raises(InvalidParameter):
        call()


# the certificate of CoreNet+

LEVEL = Network(  # neurons that hardly differ: few of them stand for all
    layers=(
        Layer(weight=np.random.default_rng(0).uniform(0.9, 1.1, (6000, 3)), bias=np.zeros(6000), relu=True),
        Layer(weight=np.random.default_rng(1).uniform(0.9, 1.1, (2, 6000)), bias=np.zeros(2), relu=False),
    )
)
CALM = np.random.default_rng(2).uniform(0.9, 1.1, (400, 3))


def test_a_certificate_of_neurons_holds_over_coins_and_inputs() -> None:
    method = CoreNetPlus(eps=0.1, delta=0.2, K=1.2)
    fresh = np.random.default_rng(3).uniform(0.9, 1.1, (4000, 3))
    f, failures = LEVEL(fresh), 0
    for seed in range(20):
        small = compress(LEVEL, method, CALM, rng=seed)
        assert 500 < small.coresets[0].nnz < 3000
        found = certify(small, fresh, independent=True)
        assert found.budget["coins"] == 0.1
        assert 0.0 < found.budget["bad points"] < 0.003, "none of 4000 points is bad"
        assert found.delta == pytest.approx(sum(found.budget.values()))
        assert found.error["gamma"] <= 0.1
        assert not found.void
        failures += bool((np.abs(small.net(fresh) - f) > 0.1 * f).any())
    assert failures <= 0.1 * 20


def test_a_neuron_that_takes_more_than_its_share_makes_a_point_bad() -> None:
    first = np.vstack([LEVEL.layers[0].weight, [0.0, 0.0, 1.0]])  # the last one reads what was never there before
    last = np.hstack([LEVEL.layers[1].weight, [[40.0], [0.0]]])
    calm = np.column_stack([CALM[:, :2], np.full(len(CALM), 0.01)])
    small = compress(two_layers(first, last), CoreNetPlus(eps=0.3, delta=0.2, K=1.2), calm, rng=0)
    wild = calm[:200] + 0.0
    wild[:50, 2] = 100.0
    found = certify(small, wild + 1e-9, independent=True)
    assert found.premises[-1].numbers == {"bad": 50.0, "points": 200.0}
    shares = last[0, -1] * wild[:50, 2] / (np.maximum(wild[:50] @ first.T, 0.0) @ last[0])
    assert (shares > 1.2 * small.plans[0].sensitivities.values[-1]).all()


def test_a_condition_number_above_its_bound_makes_a_point_bad() -> None:
    """Many neurons each for x_1 and x_2: Delta = (2 x_1 + x_2)/|2 x_1 - x_2|, and no share is ever larger."""
    n = 40_000
    first = np.vstack([np.tile([1.0, 0.0], (n, 1)), np.tile([0.0, 1.0], (n, 1))])
    last = np.concatenate([np.full(n, 2.0), np.full(n, -1.0)])[None]
    net = two_layers(first, last)
    small = compress(net, CoreNetPlus(eps=0.9, delta=0.5, K=1.0), np.array([[1.0, 0.5]] * 20), rng=0)
    assert (small.plans[0].draws > 0).all()
    assert small.plans[0].condition == pytest.approx(2.5 / 1.5)
    found = certify(small, np.array([[1.0, 0.4], [1.0, 0.6], [1.0, 1.9]]), independent=True)
    assert found.premises[-1].numbers == {"bad": 2.0, "points": 3.0}


def test_what_speaks_of_single_sums_only_is_not_certified() -> None:
    small = compress(NET, CoreNetPlusBudget(share=0.5), POINTS, rng=0)
    with pytest.raises(InvalidParameter, match="or one by CoreNetPlus, got a ChannelCompression by corenet-plus-bu"):
        certify(small, FRESH)
