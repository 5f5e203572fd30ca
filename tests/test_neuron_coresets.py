"""Neurons removed without data: what is drawn, what is promised on a ball, and what the drawn net does at the worst."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from boundlab import Claim, InvalidParameter, Layer, Network, Over, random_network, verify
from boundlab._errors import UnsupportedLayer
from boundlab.compressors.method import LayerDraw, compress
from boundlab.compressors.neuron_coresets import (
    Importance,
    NeuronCoreset,
    NeuronCoresetBudget,
    NeuronCoresetPublished,
    NeuronMethod,
    hidden_layers,
)
from boundlab.compressors.sup_promise import everywhere_errors, full_size, sup_promise, worst_case
from boundlab.compressors.worst_case import deviation_upper, worst_case_error
from boundlab.coresets import activations as acts
from boundlab.coresets.layer_coreset import layer_coreset
from boundlab.coresets.neuron_sampling import published_size
from boundlab.coresets.uniform_error import relu_error
from boundlab.coresets.worst_input import plane_sup
from boundlab.promises import Status
from boundlab.records import Law
from boundlab.verification.trials import Everywhere

NET = random_network((2, 60, 40, 3), rng=0, bias=True)
POINTS = np.random.default_rng(1).normal(size=(20, 2)) / 4.0
RADIUS = 2.0
ALL_ACTIVATIONS = (
    acts.RELU,
    acts.LEAKY_RELU,
    acts.SIGMOID,
    acts.TANH,
    acts.SOFTPLUS,
    acts.ELU,
    acts.GELU,
    acts.SILU,
)


def one_hidden(first: list[list[float]], last: list[list[float]], bias: list[float] | None = None) -> Network:
    w, v = np.array(first), np.array(last)
    b = np.zeros(len(w)) if bias is None else np.array(bias)
    layers = (Layer(weight=w, bias=b, relu=True), Layer(weight=v, bias=np.zeros(len(v)), relu=False))
    return Network(layers=layers)


def test_sensitivities_are_the_largest_contribution_on_the_ball() -> None:
    net = one_hidden([[3.0, 4.0], [0.0, 1.0]], [[1.0, -2.0], [-0.5, 1.0]])
    hidden = hidden_layers(net, math.sqrt(3.0))[0]  # with the bias's 1 the ball has radius 2
    assert hidden.sensitivities(Importance.SUP) == pytest.approx([10.0, 4.0])


def test_radii_grow_with_the_norms_of_the_layers_before() -> None:
    net = random_network((3, 5, 4, 2), rng=2, bias=True)
    first, second = hidden_layers(net, 1.5)
    want = np.linalg.norm(net.layers[0].weight, 2) * 1.5 + np.linalg.norm(net.layers[0].bias)
    assert first.reach == pytest.approx(1.5)
    assert second.reach == pytest.approx(want)
    assert second.reach >= want


@pytest.mark.parametrize("law", list(Law))
@pytest.mark.parametrize("importance", list(Importance))
def test_a_budget_is_met_in_the_mean_and_the_smaller_net_is_the_larger_one_with_zeros(
    law: Law, importance: Importance
) -> None:
    method = NeuronCoresetBudget(radius=RADIUS, share=0.4, law=law, importance=importance)
    kept = []
    for seed in range(30):
        drawn = compress(NET, method, POINTS, rng=seed)
        kept.append([c.nnz for c in drawn.coresets])
        assert isinstance(drawn.net, Network)
        assert np.allclose(full_size(drawn)(POINTS), drawn.net(POINTS), rtol=1e-9, atol=1e-9)
        assert drawn.net.sizes[1:3] == tuple(kept[-1])
    expected = [p.expected_distinct.sum() for p in method.plan(NET, POINTS)]
    assert all(e <= 0.4 * n + 1e-9 for e, n in zip(expected, (60, 40), strict=True))
    # 30 draws of at most 24 neurons, standard deviation below 3: 6 standard errors, false alarm below 1e-8
    assert np.mean(kept, axis=0) == pytest.approx(expected, abs=6 * 3 / math.sqrt(30))


def test_size_by_theorem_keeps_everything_where_it_exceeds_the_neurons() -> None:
    drawn = compress(NET, NeuronCoreset(radius=RADIUS, eps=0.5), POINTS, rng=0)
    assert drawn.unchanged
    promise = sup_promise(drawn)
    assert promise.error == 0.0
    assert promise.vacuous
    assert worst_case(drawn, nodes=0).upper == 0.0


def test_size_by_theorem_is_the_smallest_that_the_error_allows() -> None:
    net = random_network((2, 4000, 1), rng=3)
    method = NeuronCoreset(radius=1.0, eps=60.0, delta=0.1)
    plan = method.plan(net, np.zeros((1, 2)))[0]
    m = float(plan.size[0])
    assert not plan.exact[0]
    assert plan.eps[0] <= 60.0
    hidden = hidden_layers(net, 1.0)[0]
    om = np.abs(net.layers[1].weight[0])
    t = float(hidden.radius * np.linalg.norm(net.layers[0].weight, axis=1) @ om)
    assert plan.sensitivities.total[0] == pytest.approx(t)
    assert m <= math.ceil((t / 60.0 * (1.5 + 2.0 * math.sqrt(math.log(20.0) / 2.0))) ** 2) + 1  # T2 alone asks for this


def test_the_published_size_is_called_false_and_promises_only_what_holds() -> None:
    net = random_network((2, 4000, 1), rng=3)
    method = NeuronCoresetPublished(radius=1.0, eps=30.0, delta=0.1)
    plan = method.plan(net, np.zeros((1, 2)))[0]
    t = float(plan.sensitivities.total[0])
    assert plan.size[0] == published_size(t, 30.0, 0.1, dimension=3)
    assert plan.eps[0] > 30.0  # what the theorem claims, and what is promised
    drawn = compress(net, method, np.zeros((1, 2)), rng=0)
    assert sup_promise(drawn).published == "mussay2020_additive_theorem"


def test_the_published_size_misses_its_own_error() -> None:
    """Half of the weight at +1, half at -1: at both ends of the ball the error is far above what is claimed."""
    n = 2000
    net = one_hidden([[1.0]] * (n // 2) + [[-1.0]] * (n // 2), [[10.0] * n])
    method = NeuronCoresetPublished(radius=1.0, eps=70.0, delta=0.05)
    plan = method.plan(net, np.zeros((1, 1)))[0]
    assert not plan.exact[0]
    assert plan.eps[0] > 70.0
    draw = LayerDraw(np.ones((1, n)), plan)
    read = np.maximum(net.layers[0].weight[:, 0] * np.array([[1.0], [-1.0]]), 0.0) * net.layers[1].weight

    def fails(c: np.ndarray, x: np.ndarray) -> np.ndarray:
        return np.full(len(x), np.abs(read @ (c - 1.0)).max() > 70.0)

    claim = Claim(name="published size", delta=0.05, over=Over.EVERYWHERE)
    trial = Everywhere(lambda rng: draw(rng)[0], fails, np.zeros((1, 1)))
    verdict = verify(claim, trial, max_trials=300, executor=1)  # wrong with probability at most 1e-6
    assert str(verdict.state) == "violated"


def test_each_layer_can_have_a_share_of_its_own() -> None:
    hidden = NET.sizes[1:-1]
    for law in Law:
        method = NeuronCoresetBudget(radius=RADIUS, share=(0.5, *(1.0 for _ in hidden[1:])), law=law)
        net = compress(NET, method, POINTS, rng=0).net
        assert isinstance(net, Network)
        first, *others = net.sizes[1:-1]
        assert first == hidden[0] // 2 if law is Law.PIVOTAL else 1 <= first < hidden[0]
        assert tuple(others) == hidden[1:]
    with pytest.raises(InvalidParameter, match=f"share must be one number or {len(hidden)} of them, got 5"):
        compress(NET, NeuronCoresetBudget(radius=RADIUS, share=(0.5,) * 5), POINTS, rng=0)


def everywhere(method: NeuronCoresetBudget, share: float = 1.0):
    """Trials of the promise of a one-hidden-layer net in the plane: the exact supremum over the ball, by the sweep."""
    rng = np.random.default_rng(4)
    net = one_hidden(rng.normal(size=(40, 1)).tolist(), rng.normal(size=(2, 40)).tolist(), rng.normal(size=40).tolist())
    drawn = compress(net, method, np.zeros((1, 1)), rng=0)
    bound = sup_promise(drawn).errors * share
    plan = drawn.plans[0]
    draw, weights = LayerDraw(np.ones((1, 40)), plan), net.layers[1].weight
    points = hidden_layers(net, method.radius)[0].points  # (neurons, 2): weight and bias
    radius = hidden_layers(net, method.radius)[0].radius

    def fails(c: np.ndarray, x: np.ndarray) -> np.ndarray:
        sup = plane_sup(points, weights * (c - 1.0), radius)
        return np.full(len(x), bool(np.any(sup > bound)))

    return Everywhere(lambda coins: draw(coins)[0], fails, np.zeros((1, 2)))


def test_the_promise_holds_at_the_worst_input_and_a_quarter_of_it_does_not() -> None:
    method = NeuronCoresetBudget(radius=1.5, share=0.5, delta=0.1)
    claim = Claim(name="sup over the ball", delta=0.1, over=Over.EVERYWHERE)
    kept = verify(claim, everywhere(method), max_trials=400, executor=1)  # wrong with probability at most 1e-3
    assert str(kept.state) == "upheld"
    broken = verify(claim, everywhere(method, 0.1), max_trials=400, executor=1)  # wrong with probability at most 1e-6
    assert str(broken.state) == "violated"


@pytest.mark.parametrize("seed", range(4))
def test_promise_upper_and_lower_stand_in_their_order(seed: int) -> None:
    method = NeuronCoresetBudget(radius=RADIUS, share=0.5, importance=Importance.SUP)
    drawn = compress(NET, method, POINTS, rng=seed)
    found = worst_case(drawn, points=POINTS, nodes=20)
    x = np.random.default_rng(seed).normal(size=(500, 2))
    x *= RADIUS / np.maximum(RADIUS, np.linalg.norm(x, axis=1, keepdims=True))
    assert isinstance(drawn.net, Network)
    at_points = np.abs(NET(x) - drawn.net(x)).max()
    at_x = np.abs(NET(found.x[None]) - drawn.net(found.x[None])).max()
    assert np.linalg.norm(found.x) <= RADIUS
    assert found.lower <= at_x * (1 + 1e-9)
    assert found.lower == pytest.approx(at_x)
    assert at_points <= found.upper
    assert found.lower <= found.upper <= deviation_upper(NET, full_size(drawn), RADIUS).max()
    assert found.lower <= sup_promise(drawn).error  # fails with probability at most delta, and by far less


def test_branch_and_bound_agrees_with_the_sweep_in_the_plane() -> None:
    rng = np.random.default_rng(5)
    for _ in range(4):
        p, w = rng.normal(size=(10, 2)), rng.normal(size=(2, 10))
        c = rng.integers(0, 3, 10)
        f = one_hidden(p.tolist(), w.tolist())
        found = worst_case_error(f, f.with_weights([p, w * c]), 3.0)
        assert found.exact == pytest.approx(plane_sup(p, w * (1.0 - c), 3.0).max(), rel=3e-6)


def test_branch_and_bound_agrees_with_a_fine_grid_on_two_hidden_layers() -> None:
    f = random_network((1, 5, 4, 1), rng=6, bias=True)
    g = f.with_weights([w.weight * (1.0 if k == 0 else 1.5) for k, w in enumerate(f.layers)])
    found = worst_case_error(f, g, 2.0)
    x = np.linspace(-2.0, 2.0, 200_001)[:, None]
    steep = sum(math.prod(np.linalg.norm(w.weight, 2) for w in net.layers) for net in (f, g))
    on_grid = np.abs(f(x) - g(x)).max()
    assert found.exact is not None
    assert on_grid <= found.exact <= (on_grid + steep * 1e-5) * (1 + 1e-6)


def test_no_branch_and_bound_leaves_the_closed_form() -> None:
    drawn = compress(NET, NeuronCoresetBudget(radius=RADIUS, share=0.5), POINTS, rng=0)
    found = worst_case(drawn, nodes=0)
    assert found.nodes == 0
    assert found.upper == deviation_upper(NET, full_size(drawn), RADIUS).max()
    assert found.exact is None


def test_without_replacement_nothing_is_promised_before_the_draw() -> None:
    drawn = compress(NET, NeuronCoresetBudget(radius=RADIUS, share=0.5, law=Law.PIVOTAL), POINTS, rng=0)
    promise = sup_promise(drawn)
    assert promise.error == math.inf
    assert promise.vacuous
    assert math.isfinite(worst_case(drawn, nodes=0).upper)


def test_lewis_weights_hold_at_every_input_however_large() -> None:
    rng = np.random.default_rng(7)
    net = one_hidden(
        rng.normal(size=(300, 2)).tolist(), rng.random((1, 300)).tolist(), (0.1 * rng.normal(size=300)).tolist()
    )
    method = NeuronCoresetBudget(radius=5.0, share=0.6, importance=Importance.LEWIS, delta=0.05)
    drawn = compress(net, method, np.zeros((1, 2)), rng=0)
    told = everywhere_errors(drawn)[0]
    assert told.rank == pytest.approx(3.0, rel=1e-3)  # two weights and a bias
    assert all(p.status is Status.CHECKED for p in told.premises)
    assert told.relative is not None
    x = rng.normal(size=(200, 2)) * 10.0 ** rng.integers(-2, 7, (200, 1))
    p, om = hidden_layers(net, 5.0)[0].points, net.layers[1].weight[0]
    z = np.column_stack([x, np.ones(200)]) @ p.T
    assert isinstance(drawn.net, Network)
    error = np.abs(net(x) - drawn.net(x))[:, 0]
    assert (error <= told.errors[0] * (np.abs(z) @ om) * (1 + 1e-9)).all()
    assert (error <= told.relative[0] * net(x)[:, 0] * (1 + 1e-9)).all()
    want = relu_error(told.rank, 1.0, float(drawn.plans[0].draws[0]), 0.05, c0=1.0)
    assert told.errors[0] <= want[0] * (1 + 1e-6)


def test_neurons_in_general_position_cannot_be_spared_and_the_premise_fails() -> None:
    net = random_network((20, 12, 2), rng=8)  # fewer neurons than inputs: each is the only one at some input
    method = NeuronCoresetBudget(radius=1.0, share=0.5, importance=Importance.LEWIS)
    told = everywhere_errors(compress(net, method, np.zeros((1, 20)), rng=0))[0]
    assert told.rank == pytest.approx(12.0)
    assert told.kappa == 0.0
    assert told.relative is None
    assert told.vacuous


@pytest.mark.parametrize("activation", ALL_ACTIVATIONS, ids=lambda a: a.name)
def test_one_layer_of_any_activation_keeps_its_promise_on_the_ball(activation: acts.Activation) -> None:
    rng = np.random.default_rng(9)
    p, w, b = rng.normal(size=(400, 3)), rng.normal(size=(2, 400)), rng.normal(size=400)
    x = rng.normal(size=(300, 3))
    x *= 2.0 / np.maximum(2.0, np.linalg.norm(x, axis=1, keepdims=True))
    for bias in (None, b):
        drawn = layer_coreset(p, w, activation, radius=2.0, size=200, bias=bias, delta=1e-3, rng=rng)
        z = activation.value(x @ p.T + (0.0 if bias is None else bias))
        assert (np.abs(z @ (w - drawn.weights).T) <= drawn.error).all()
        assert not drawn.weights[:, ~drawn.kept].any()
        assert drawn.kept.sum() <= 200


def test_one_layer_is_kept_where_draws_reach_its_neurons_and_a_step_has_no_promise() -> None:
    rng = np.random.default_rng(10)
    p, w = rng.normal(size=(20, 3)), rng.normal(size=(2, 20))
    whole = layer_coreset(p, w, acts.SIGMOID, radius=1.0, size=20, rng=rng)
    assert np.array_equal(whole.weights, w)
    assert not whole.error.any()
    assert np.isinf(layer_coreset(p, w, acts.STEP, radius=1.0, size=5, rng=rng).error).all()


@pytest.mark.parametrize(
    "method",
    [NeuronCoreset(radius=1.0), NeuronCoresetPublished(radius=1.0), NeuronCoresetBudget(radius=1.0, share=0.5)],
    ids=lambda m: m.name,
)
def test_linear_hidden_layers_and_dead_neurons_are_served(method: NeuronMethod) -> None:
    rng = np.random.default_rng(11)
    layers = (
        Layer(weight=rng.normal(size=(6, 2)), bias=np.zeros(6), relu=False),
        Layer(
            weight=np.vstack([rng.normal(size=(3, 6)), np.zeros((1, 6))]),
            bias=np.array([0.0, 0.0, 0.0, -1.0]),
            relu=True,
        ),
        Layer(weight=rng.normal(size=(2, 4)), bias=np.zeros(2), relu=False),
    )
    drawn = compress(Network(layers=layers), method, np.zeros((1, 2)), rng=0)
    found = worst_case(drawn)
    assert found.lower <= found.upper
    assert found.lower <= sup_promise(drawn).error or drawn.unchanged


@pytest.mark.parametrize(
    "call",
    [
        lambda: compress(NET, NeuronCoreset(radius=0.0), POINTS, rng=0),
        lambda: compress(NET, NeuronCoreset(radius=1e-3), POINTS, rng=0),
        lambda: compress(NET, NeuronCoreset(radius=2.0, delta=1.0), POINTS, rng=0),
        lambda: compress(NET, NeuronCoreset(radius=2.0, eps=0.0), POINTS, rng=0),
        lambda: compress(NET, NeuronCoresetBudget(radius=2.0, share=0.0), POINTS, rng=0),
        lambda: worst_case_error(NET, random_network((2, 5, 3), rng=0), 1.0),
        lambda: worst_case_error(NET, NET, 0.0),
        lambda: worst_case_error(NET, NET, 1.0, nodes=-1),
        lambda: everywhere_errors(compress(NET, NeuronCoreset(radius=2.0), POINTS, rng=0)),
        lambda: layer_coreset(np.eye(2), np.eye(2), acts.RELU, radius=1.0, size=0, rng=np.random.default_rng(0)),
    ],
)
def test_the_border_refuses(call) -> None:
    with pytest.raises(InvalidParameter):
        call()


def test_lewis_weights_refuse_a_linear_hidden_layer() -> None:
    net = Network(layers=(Layer(weight=np.eye(2), bias=np.zeros(2), relu=False), NET.layers[0]))
    with pytest.raises(UnsupportedLayer):
        compress(net, NeuronCoreset(radius=2.0, importance=Importance.LEWIS), POINTS, rng=0)


@pytest.mark.parametrize("outgoing", [(2.0**53, 0.5, -(2.0**53)), (1e8, 0.1, -1e8)])
def test_a_certified_limit_survives_neurons_that_cancel(outgoing: tuple[float, ...]) -> None:
    # three equal neurons max(x, 0): together they put out (a + b + c) x, which rounding alone can turn into 0
    f = Network(
        layers=(
            Layer(weight=np.ones((3, 1)), bias=np.zeros(3), relu=True),
            Layer(weight=np.array([outgoing]), bias=np.zeros(1), relu=False),
        )
    )
    g = Network(layers=(f.layers[0], Layer(weight=np.zeros((1, 3)), bias=np.zeros(1), relu=False)))
    found = worst_case_error(f, g, 1.0, nodes=200)
    truth = float(sum(map(Fraction, outgoing)))
    assert found.lower <= truth <= found.upper


def test_a_search_finds_no_error_between_equal_nets() -> None:
    rng = np.random.default_rng(0)
    first, second, order = rng.normal(size=(5, 2)) * 1e8, rng.normal(size=(4, 5)), rng.permutation(5)
    last = Layer(weight=rng.normal(size=(1, 4)), bias=np.zeros(1), relu=False)

    def net(rows: np.ndarray) -> Network:
        layers = (first[rows], second[:, rows])
        return Network(layers=(*(Layer(weight=w, bias=np.zeros(len(w)), relu=True) for w in layers), last))

    assert worst_case_error(net(np.arange(5)), net(order), 1.0, nodes=0).lower == 0.0
