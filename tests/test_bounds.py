"""Generalization bounds: published numbers, orderings, terms, premises, what they refuse."""

from __future__ import annotations

import dataclasses
import itertools
import math
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from boundlab._errors import InvalidParameter, PremiseViolated, UnsupportedLayer
from boundlab.bounds import CoreNetCorollary, GeneralizationBound, Occam, TestSet, bound
from boundlab.bounds.corenet_corollary import log_size
from boundlab.bounds.generalization_bound import telescope
from boundlab.bounds.test_set import repeats
from boundlab.codes.log_grid import LogGrid, LogGridLayer
from boundlab.compressors.corenet import CoreNet
from boundlab.compressors.method import compress
from boundlab.concentration.binomial import tail_inverse, upper_limit
from boundlab.nets.importance import sensitivities
from boundlab.nets.module_net import ModuleNet
from boundlab.nets.net_message import decode
from boundlab.network import Layer, Network
from boundlab.promises import Status
from boundlab.records import Compression, Coreset, SamplePlan

ALL = [TestSet(), Occam(), CoreNetCorollary()]


def make_net(sizes: tuple[int, ...], seed: int = 0) -> Network:
    rng = np.random.default_rng(seed)
    shapes = list(itertools.pairwise(sizes))
    return Network(
        layers=tuple(
            Layer(weight=rng.normal(size=(o, i)), bias=0.1 * rng.normal(size=o), relu=k < len(shapes) - 1)
            for k, (i, o) in enumerate(shapes)
        )
    )


def compression(net: Network, points: np.ndarray, *, condition: float = math.inf, K: float = 1.0) -> Compression:
    """A compression that keeps every weight, with the plans of `points` and one bound on Delta for all layers."""
    coresets = []
    for k, (layer, a) in enumerate(zip(net.layers, net.inputs(points), strict=True)):
        own = sensitivities(layer, [a], theorem="baykal2019_empirical_sensitivity")
        ones = np.ones(len(own.groups))
        plan = SamplePlan(
            layer=k + 2,
            sensitivities=own,
            size=ones,
            exact=ones > 0,
            eps=0 * ones,
            K=K,
            parts=1,
            condition=condition,
            theorem="baykal2019_network_compression",
        )
        neuron, column = np.nonzero(layer.weight)
        coresets.append(Coreset(neuron=neuron, column=column, weights=layer.weight[neuron, column], plan=plan))
    return Compression(net=net, original=net, coresets=tuple(coresets), compressor=None, seed=0)


def task(n: int = 400, sizes: tuple[int, ...] = (6, 8, 3), noise: float = 0.1, **options: float):
    """A net, points in [0, 1], and its own labels with a share of them replaced."""
    rng = np.random.default_rng(1)
    net, x = make_net(sizes), rng.random((n, sizes[0]))
    y = np.where(rng.random(n) < noise, rng.integers(0, sizes[-1], size=n), net(x).argmax(axis=1))
    y[: sizes[-1]] = np.arange(sizes[-1])
    return compression(net, x, **options), x, y


def bare(net: Network) -> Compression:
    return Compression(net=net, original=net, coresets=(), compressor=None, seed=None)


def linear(rows: list[list[float]]) -> Network:
    w = np.array(rows)
    return Network(layers=(Layer(weight=w, bias=np.zeros(len(w)), relu=False),))


@pytest.mark.parametrize(("k", "n", "percent"), [(0, 10_000, 0.0300), (100, 10_000, 1.180), (450, 10_000, 4.856)])
def test_published_test_set_bounds(k: int, n: int, percent: float) -> None:
    x = np.tile([[1.0, 0.0], [0.0, 1.0]], (n // 2, 1))
    y = np.tile([0, 1], n // 2)
    y[:k] = 1 - y[:k]
    found = TestSet()(bare(linear([[1.0, 0.0], [0.0, 1.0]])), x, y)
    assert found.facts["errors"] == k
    assert 100 * found.value == pytest.approx(percent, abs=6e-4 if percent > 1 else 6e-5)
    assert found.facts["lower_limit"] <= k / n < found.value


def test_points_that_calibrated_a_compression_are_not_fresh() -> None:
    small, x, y = task()
    seen = compress(small.original, CoreNet(eps=0.9), x[:50], rng=0)
    wrong = int((seen.net(x[50:]).argmax(axis=1) != y[50:]).sum())
    found = TestSet()(seen, x, y).facts
    assert (found["seen"], found["errors"]) == (50, 50 + wrong)
    assert found["lower_limit"] <= wrong / len(x)


def test_copies_are_reported_and_labels_with_masks_refused() -> None:
    small, x, y = task()
    net = small.original
    assert TestSet()(net, np.tile(x, (3, 1)), np.tile(y, 3)).facts["copies"] == 2 * len(x)
    assert repeats(np.zeros((4, 2, 2, 2)), np.array([0, 1, 1, 0])) == 2
    assert repeats(np.array([[2**53], [2**53 + 1]]), np.zeros(2, int)) == 0
    with pytest.raises(InvalidParameter, match="masked"):
        TestSet()(net, x, np.ma.masked_array(y, mask=True))


def test_a_level_that_is_no_number_is_refused() -> None:
    with pytest.raises(InvalidParameter, match="numbers"):
        telescope(("a", "b"), (0.1, math.nan))


def test_a_tie_counts_as_an_error() -> None:
    x, y = np.ones((4, 2)), np.array([0, 1, 0, 1])
    assert TestSet()(bare(linear([[1.0, 1.0], [1.0, 1.0]])), x, y).facts["errors"] == 4


@pytest.mark.parametrize("method", ALL, ids=lambda m: m.name)
def test_terms_add_up_and_are_not_negative(method: GeneralizationBound) -> None:
    small, x, y = task(condition=1e3)
    found = bound(small, method, x, y)
    assert all(value >= 0 for _, value in found.terms)
    assert found.raw == math.fsum(v for _, v in found.terms)
    assert found.delta == method.delta
    assert found.name == method.name
    assert found.chance == pytest.approx(2 / 3)
    assert found.premises
    assert all(p.evidence for p in found.premises)


def test_occam_is_the_binomial_tail_at_the_price_of_the_message() -> None:
    small, x, y = task(n=5_000)
    found, coded = Occam(steps=(4,))(small, x, y), Occam(steps=(4,)).coded(small, x, y)
    net = LogGrid(4).round(small.net)
    bits, errors = 8 * len(coded.message.data), net.errors(x, y)
    assert coded.errors == found.facts["errors"] == errors
    assert coded.n == len(x)
    assert found.facts["bits"] == bits
    assert found.raw == pytest.approx(tail_inverse(errors, len(x), math.log(0.05) - bits * math.log(2)), rel=1e-9)
    assert found.raw >= tail_inverse(errors, len(x), math.log(0.05) - bits * math.log(2)) * (1 - 1e-15)
    assert found.raw == pytest.approx(coded.value(0.05), rel=1e-12)
    assert [name for name, _ in found.terms] == ["empirical risk", "confidence", "header", "support", "values"]
    assert found.terms[0][1] == errors / len(x)
    assert sum(found.facts[f"{part}_bits"] for part in ("header", "support", "value")) == pytest.approx(bits)
    assert found.facts["nnz"] == sum(np.count_nonzero(w.weight) for w in net.layers)
    assert not found.vacuous
    assert not found.void


def test_the_net_certified_is_the_one_in_the_message() -> None:
    small, x, y = task(n=2_000)
    coded = Occam().coded(small, x, y)
    read = decode(coded.message.data, 6)
    assert read.net.count_errors(x, y) == coded.errors
    f = read.net(x)
    others = np.where(np.arange(3) == y[:, None], -np.inf, f).max(axis=1)
    assert np.count_nonzero(f[np.arange(len(x)), y] <= others) == coded.errors
    assert read.data == coded.message.data
    assert read.bits == Occam()(small, x, y).facts["bits"]


@pytest.mark.parametrize("n", [50, 400, 5_000, 60_000])
def test_binomial_at_most_chernoff_at_most_hoeffding(n: int) -> None:
    found = Occam()(*task(n=n))
    assert found.value <= found.facts["occam_kl"] * (1 + 1e-9)
    assert found.facts["occam_kl"] <= found.facts["occam_hoeffding"] * (1 + 1e-9)


def test_occam_is_above_the_limit_that_forgets_the_code() -> None:
    small, x, y = task(n=5_000)
    found = Occam()(small, x, y)
    assert found.value > upper_limit(int(found.facts["errors"]), len(x), 0.05)


def test_occam_reports_the_best_grid_and_the_choice_stands_in_the_message() -> None:
    small, x, y = task(n=5_000)
    every = Occam(steps=(1, 2, 4, 8))(small, x, y)
    alone = {s: Occam(steps=(s,))(small, x, y) for s in (1, 2, 4, 8)}
    assert every.raw == min(b.raw for b in alone.values())  # which grid is said anyway: 1 of 5 for each layer
    coded = Occam(steps=(1, 2, 4, 8)).coded(small, x, y)
    (steps,) = {layer.steps for layer in coded.message.net.layers if isinstance(layer, LogGridLayer)}
    assert alone[steps].raw == every.raw


def linear_module(*parts: Any) -> tuple[Any, np.ndarray, np.ndarray]:
    """A module on images of 1 x 4 x 4 as a ModuleNet, with points and its own labels."""
    import torch

    rng = np.random.default_rng(2)
    module = torch.nn.Sequential(*parts)
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.from_numpy(rng.normal(size=tuple(p.shape))))
    x = rng.random((400, 1, 4, 4)).astype(np.float32)
    net = ModuleNet(module, x)
    return net, x, np.where(rng.random(400) < 0.05, 0, net(x).argmax(axis=1))


def test_occam_takes_convolutions() -> None:
    from torch import nn

    parts = (nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 3))
    net, x, y = linear_module(*parts)
    found, coded = Occam()(net, x, y), Occam().coded(net, x, y)
    assert found.facts["errors"] == decode(coded.message.data, 16).net.count_errors(x.reshape(400, -1), y)
    assert found.facts["bits"] == 8 * len(coded.message.data)
    assert found.facts["nnz"] == 18 + 24
    assert found.chance == pytest.approx(1 - 1 / len(np.unique(y)))
    assert 0 < found.raw < 1


def test_occam_refuses_what_a_message_cannot_say() -> None:
    from torch import nn

    net, x, y = linear_module(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))
    with pytest.raises(PremiseViolated, match="must be part of the message, got the statistics of 1"):
        Occam()(net, x, y)
    net, x, y = linear_module(nn.Flatten(), nn.Linear(16, 3), nn.Sigmoid())
    with pytest.raises(UnsupportedLayer, match="operations that a message can name, got Sigmoid"):
        Occam()(net, x, y)

    hooked = nn.Linear(16, 3)
    net, x, y = linear_module(nn.Flatten(), nn.Linear(16, 3))
    hooked.register_forward_hook(lambda _m, _x, out: 2 * out + 1)  # no graph shows it
    net.module = nn.Sequential(nn.Flatten(), hooked)
    with pytest.raises(UnsupportedLayer, match="a module must compute what its chain computes"):
        Occam()(net, x, y)


def test_a_sparser_net_has_a_smaller_bound_at_equal_errors() -> None:
    x = np.random.default_rng(0).random((2_000, 20))
    sparse = np.zeros((2, 20))
    sparse[0, 0] = sparse[1, 1] = 1.0
    y = (x[:, 1] > x[:, 0]).astype(int)
    dense = sparse + 2.0**-40
    few, many = (Occam()(bare(linear(w.tolist())), x, y) for w in (sparse, dense))
    assert few.facts["errors"] == many.facts["errors"]
    assert few.value < many.value


def test_occam_falls_with_delta_and_is_vacuous_on_few_points() -> None:
    small, x, y = task(n=5_000)
    values = [Occam(delta=d)(small, x, y).raw for d in (1e-9, 0.01, 0.5)]
    assert values == sorted(values, reverse=True)
    assert Occam()(small, x[:20], y[:20]).vacuous


def test_log_size_by_hand() -> None:
    # one layer, eps = 1, S = 1: 32 K ln(8 eta n / delta); two layers: (L-1)^2 = 4 and Delta forward = (6, 3)
    one = math.log(32 * math.log(80))
    assert log_size([1.0], [1.0], K=1.0, eta=1, n=1, delta=0.1, ratio=0.5) == pytest.approx(one, rel=1e-14)
    two = math.log(128 * 4 * 9 * 5 * math.log(8 * 7 * 11 / 0.1) * (36 * 2 + 9 * 3))
    assert log_size([2.0, 3.0], [2.0, 3.0], K=5.0, eta=7, n=11, delta=0.1, ratio=3.0) == pytest.approx(two, rel=1e-13)


def test_log_size_at_the_ends() -> None:
    settings_ = {"K": 1.0, "eta": 1, "n": 1, "delta": 0.1, "ratio": 1.0}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert log_size([math.inf, 2.0], [1.0, 1.0], **settings_) == math.inf
        assert log_size([math.inf], [0.0], **settings_) == -math.inf
        assert 1_000 < log_size([1e200, 1e200], [1.0, 1.0], **settings_) < math.inf
        assert log_size([0.1], [1.0], **settings_) == log_size([1.0], [1.0], **settings_)  # below 1 counts as 1


def test_the_corollary_is_vacuous_finite_and_says_why() -> None:
    small, x, y = task(condition=1e4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = CoreNetCorollary()(small, x, y)
    assert found.vacuous
    assert 1e3 < found.raw < math.inf
    assert [name for name, _ in found.terms] == ["margin loss", "gap"]
    assert found.facts["q"] > 1e6 * found.facts["N_E"]
    assert found.facts["gamma"] in CoreNetCorollary().margins
    assert found.facts["L"] == 3
    assert found.facts["gamma"] < 2 * found.facts["B"]
    assert dict(CoreNetCorollary(margins=(1e9,))(small, x, y).terms)["margin loss"] == 1
    assert [p.text[:2] for p in found.premises[3:]] == ["G1", "G2", "G3", "G4", "G5", "G6"]


def test_the_gap_by_hand() -> None:
    small, x, y = task(condition=1e4)
    method = CoreNetCorollary(margins=(0.5,))
    found = method(small, x, y)
    n, share, nats = len(x), 0.05 / 2, 32 * math.log(2)
    q = math.exp(
        log_size(
            [1e4, 1e4],
            [float(p.sensitivities.total.sum()) for p in small.plans],
            K=1.0,
            eta=11,
            n=n,
            delta=share,
            ratio=float(np.abs(small.original(x)).max()) / 0.5,
        )
    )
    groups = sum(len(p.groups) for p in small.plans)
    cost = (q + groups + 1) * (math.log(6 * 8 + 8 * 3) + nats) + 11 * nats - math.log(share)
    assert found.facts["q"] == pytest.approx(q, rel=1e-12)
    assert dict(found.terms)["gap"] == pytest.approx(math.sqrt(cost / (2 * n)), rel=1e-9)
    f = small.original(x)
    others = np.where(np.arange(3) == y[:, None], -np.inf, f).max(axis=1)
    assert dict(found.terms)["margin loss"] == np.mean(f[np.arange(n), y] <= 0.5 + others)


@pytest.mark.parametrize("condition", [math.inf, 1e200])
def test_a_corollary_beyond_the_floats_is_infinite_without_a_warning(condition: float) -> None:
    small, x, y = task(condition=condition)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = CoreNetCorollary()(small, x, y)
    assert found.raw == math.inf or found.raw > 1e150
    assert found.value == 1.0
    assert found.vacuous


def test_gap_five_is_checked_on_the_examples() -> None:
    def fifth(found) -> Status:
        return next(p.status for p in found.premises if p.text.startswith("G5"))

    small, x, y = task(condition=math.inf)
    assert fifth(CoreNetCorollary()(small, x, y)) is Status.CHECKED  # the plans saw exactly these points
    narrow, x, y = task(condition=1.0)
    found = CoreNetCorollary()(narrow, x, y)
    assert fifth(found) is Status.VIOLATED
    assert found.void
    few = compression(small.net, x[:3], condition=math.inf)  # shares of other points exceed those of three
    assert fifth(CoreNetCorollary()(few, x, y)) is Status.VIOLATED
    signed = x - 0.5
    assert CoreNetCorollary()(compression(small.net, x, condition=math.inf), signed, y).void


def test_a_method_without_condition_numbers_is_refused() -> None:
    small, x, y = task(condition=math.nan)
    with pytest.raises(PremiseViolated, match=r"bound on Delta\^l for each of the 2 layers, got 0 such plans"):
        CoreNetCorollary()(small, x, y)
    with pytest.raises(PremiseViolated, match="got 0 such plans"):
        CoreNetCorollary()(bare(small.net), x, y)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
@example([4.04790979200174e-07, 0.0012242476675085978, 0.0078125, 0.0])  # a last term of 0 cannot make up a step
def test_telescoping_terms_reach_the_largest_level(levels: list[float]) -> None:
    terms = telescope([str(i) for i in range(len(levels))], levels)
    total = math.fsum(v for _, v in terms)
    assert max(levels) <= total <= max(levels) * (1 + 1e-15) + 1e-300
    assert all(v >= 0 for _, v in terms)


@pytest.mark.parametrize("method", ALL, ids=lambda m: m.name)
def test_evidence_is_validated(method: GeneralizationBound) -> None:
    small, x, y = task(n=30, condition=10.0)
    weights: Any = small.net.layers[0].weight
    with pytest.raises(InvalidParameter, match="a bound needs a net or a Compression, got ndarray"):
        method(weights, x, y)
    with pytest.raises(InvalidParameter, match="x must have 6 features, as the net does, got 5"):
        method(small, x[:, :5], y)
    with pytest.raises(InvalidParameter, match="y must have shape"):
        method(small, x, y[:-1])
    with pytest.raises(InvalidParameter, match=r"y must be in 0\.\.2"):
        method(small, x, y + 1)
    huge = small.net.with_weights([w.weight * 1e200 for w in small.net.layers])
    with pytest.raises(InvalidParameter, match="outputs must stay below 1e300, they may reach"):
        method(dataclasses.replace(small, net=huge, original=huge), x, y)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TestSet(delta=1.5), r"delta must be in \(0, 1\), got delta=1.5"),
        (lambda: Occam(delta=0.0), r"delta must be in \(0, 1\)"),
        (lambda: Occam(steps=()), r"at least one grid and none twice, got steps=\(\)"),
        (lambda: Occam(steps=(2, 2)), "none twice"),
        (lambda: Occam(steps=(3,)), r"steps must be one of \(1, 2, 4, 8, 16\)"),
        (lambda: CoreNetCorollary(margins=()), "at least one number and none twice"),
        (lambda: CoreNetCorollary(margins=(0.0,)), "a margin must be finite and positive"),
    ],
)
def test_parameters_are_validated(make, message: str) -> None:
    with pytest.raises(InvalidParameter, match=message):
        make()


def test_the_verb_refuses_what_is_no_bound() -> None:
    small, x, y = task(n=30)
    method: Any = "occam"
    with pytest.raises(InvalidParameter, match=r"method must be a GeneralizationBound such as Occam\(\), got str"):
        bound(small, method, x, y)
