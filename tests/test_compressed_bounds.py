"""Bounds through a compressed net, as classes: counts by hand, small worlds enumerated, premises that fail."""

from __future__ import annotations

import functools
import itertools
import math
import warnings
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import boundlab as bl
from boundlab._errors import InvalidParameter, PremiseViolated, UnsupportedLayer
from boundlab.bounds.arora_margin import AroraMargin, margin_losses
from boundlab.bounds.compressed_class import compressed_risk, margin_shift, priced
from boundlab.bounds.corenet_corollary import CoreNetCorollary
from boundlab.bounds.counted_corollary import CountedCorollary, counted_layers
from boundlab.bounds.fixed_features import LinearHead, linear_head_complexity
from boundlab.bounds.generalization_bound import GeneralizationBound
from boundlab.bounds.heavy_tailed import HeavyTailed, heavy_tailed
from boundlab.bounds.occam import Occam
from boundlab.bounds.sample_compression import SampleCompression, sample_compression
from boundlab.bounds.transfer import SpectralTransfer, UnlabelledTransfer, coded_deviation
from boundlab.codes.heavy_tail import kept_and_noise, stored
from boundlab.concentration.binomial import tail_inverse
from boundlab.nets.feedforward import feed_forward
from boundlab.nets.given_points import fingerprints
from boundlab.nets.margin import margins
from boundlab.nets.module_net import ModuleNet
from boundlab.nets.net_message import encode
from boundlab.nets.on_codebook import on_log_grid
from boundlab.network import Layer, Network
from boundlab.promises import Bound, Standing
from boundlab.records import Compression

CORNERS = np.array([[-2.0, -2.0], [2.0, 2.0]])


def compression(before: Network, after: Network) -> Compression:
    return Compression(original=before, net=after, coresets=(), compressor=None, seed=None)


def linear(rows: list[list[float]], bias: list[float] | None = None) -> Network:
    w = np.array(rows)
    return Network(layers=(Layer(weight=w, bias=np.zeros(len(w)) if bias is None else np.array(bias), relu=False),))


def moved(net: Network, by: float, rng: np.random.Generator) -> Network:
    """The net with all weights and biases moved by normal noise."""
    return Network(
        layers=tuple(
            Layer(
                weight=w.weight + by * rng.normal(size=w.weight.shape),
                bias=w.bias + by * rng.normal(size=w.bias.shape),
                relu=w.relu,
            )
            for w in net.layers
        )
    )


def blobs(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two normal clouds of spread 1.2 around (-2, -2) and (2, 2): the least risk is about 1 %."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    return CORNERS[y] + 1.2 * rng.normal(size=(n, 2)), y


@functools.cache
def trained() -> tuple[Network, np.ndarray, np.ndarray]:
    """A net 2-4-2 on 8000 points of the clouds, and these points."""
    x, y = blobs(8_000, 1)
    return bl.train_mlp(x, y, (4,), epochs=8, batch=256, rng=0), x, y


@functools.cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    found = bl.load_data("digits")
    assert found.x_train is not None
    assert found.y_train is not None
    return found.x_train, found.y_train


def terms_add_up(bound: Bound) -> bool:
    return bound.raw == math.fsum(v for _, v in bound.terms) and all(v >= 0 for _, v in bound.terms)


# ---- what a net costs


def test_a_finer_grid_costs_more_and_moves_the_outputs_less() -> None:
    net, x, _ = trained()
    nets, prices = zip(*priced(net), strict=True)
    assert list(prices) == sorted(prices)
    shifts = [margin_shift(net(x), g(x)).mean() for g in nets]
    assert shifts == sorted(shifts, reverse=True)


def test_a_margin_shift_is_attained_and_never_exceeded() -> None:
    rng = np.random.default_rng(0)
    f, g = rng.normal(size=(500, 4)), rng.normal(size=(500, 4))
    shift = margin_shift(f, g)
    each = np.stack([np.abs(margins(f, np.full(500, k)) - margins(g, np.full(500, k))) for k in range(4)])
    assert (each <= shift).all(), "margins never differ by more"
    d = np.array([[0.75, -0.5]])
    flat = np.zeros((1, 2))
    assert margins(flat, np.array([0]))[0] - margins(d, np.array([0]))[0] == -1.25
    assert margin_shift(flat, d)[0] == pytest.approx(1.25), "two classes attain it"
    assert (shift <= 2 * np.abs(f - g).max(axis=1) * (1 + 1e-12)).all()
    assert (shift <= math.sqrt(2) * np.linalg.norm(f - g, axis=1) * (1 + 1e-12)).all()


# ---- Arora et al.


@pytest.mark.parametrize("seed", range(8))
def test_arora_is_never_below_occam_of_the_compressed_net(seed: int) -> None:
    rng = np.random.default_rng(seed)
    f = bl.random_network((3, 4, 3), rng=rng, bias=True)
    x = rng.normal(size=(3_000, 3))
    y = f(x).argmax(axis=1)
    both = compression(f, moved(f, 0.1, rng))
    bound = AroraMargin()(both, x, y)
    assert bound.raw >= bound.facts["occam"] >= Occam()(both, x, y).raw * (1 - 1e-12)
    assert bound.facts["margin_losses"] >= bound.facts["errors"]
    assert terms_add_up(bound)


def test_every_error_of_the_compressed_net_is_counted_and_no_more_than_at_any_gamma() -> None:
    rng = np.random.default_rng(5)
    for _ in range(50):
        f, y = rng.normal(size=(30, 3)), rng.integers(0, 3, 30)
        g = f + rng.exponential(size=(30, 1)) * rng.normal(size=(30, 3))
        own, far, right = margins(f, y), np.abs(f - g).max(axis=1), margins(g, y)
        counts = [np.count_nonzero(own <= 2 * t) + np.count_nonzero(far > t) for t in (*far, 0.0, 0.3, 5.0)]
        lost = margin_losses(own, margin_shift(f, g), right)
        assert lost[right <= 0].all()
        assert lost.sum() == margin_losses(own, margin_shift(f, g), np.ones(30)).sum() <= min(counts)


def test_kinds_of_randomness_are_told_apart() -> None:
    net, x, y = trained()
    both = compression(net, net)
    coded, string = AroraMargin()(both, x, y), AroraMargin(message_nats=5.0, helper_seeds=100)(both, x, y)
    assert string.facts["nats"] == pytest.approx(5.0 + math.log(100))
    assert string.facts["nats"] < coded.facts["nats"], "an outcome that was not drawn beforehand is coded whole"
    assert AroraMargin(helper_seeds=100)(both, x, y).raw > coded.raw, "ln N is paid"
    assumed = {p.text for p in string.premises if p.status == "assumed"}
    assert any("helper strings" in text for text in assumed)
    assert any("probabilities computed from the data" in text for text in assumed)
    assert any("counted on the net as drawn" in p.text and p.status == "checked" for p in coded.premises)


def test_arora_is_non_vacuous_on_a_small_net_and_above_its_risk() -> None:
    net, x, y = trained()
    bound = AroraMargin()(compression(net, net), x, y)
    assert bound.standing is Standing.NON_VACUOUS
    fresh, labels = blobs(50_000, 2)
    worst = max(g.errors(fresh, labels) for g, _ in priced(net)) / 50_000
    assert worst < bound.raw < 0.2


# ---- certificates of the original


def test_transfer_is_the_smallest_of_its_thresholds() -> None:
    net, x, y = trained()
    small = moved(net, 0.02, np.random.default_rng(3))
    u, _ = blobs(1_000, 4)
    grid = (0.1, 0.4, 1.6, 6.4)
    bound = UnlabelledTransfer(unlabelled=u, thresholds=grid)(compression(net, small), x, y)
    values = []
    for g, nats in priced(small):  # five thresholds with 0 on both sides, four nets on the unlabelled one
        own, d = margins(g(x), y), net(u) - g(u)
        shifts = d.max(axis=1) - d.min(axis=1)
        far = {t: int((shifts > t).sum()) for t in grid} | {
            0.0: int((net(u).argmax(axis=1) != g(u).argmax(axis=1)).sum())
        }
        values += [
            tail_inverse(int((own <= t).sum()), 8_000, math.log(0.05 / 10) - nats)
            + tail_inverse(k, 1_000, math.log(0.05 / 40))
            for t, k in far.items()
        ]
    assert bound.raw == pytest.approx(min(values), rel=1e-9)
    assert bound.standing is Standing.NON_VACUOUS
    fresh, labels = blobs(50_000, 5)
    assert net.errors(fresh, labels) / 50_000 < bound.raw
    assert terms_add_up(bound)


def test_where_the_nets_agree_on_the_class_the_margin_says_so() -> None:
    """On every point, seen or not: a margin of g above the shift is a right answer of f."""
    net, _, _ = trained()
    x, y = blobs(20_000, 6)
    for g, _ in priced(net):
        sure = margins(g(x), y) > margin_shift(net(x), g(x))
        assert not net.errors(x[sure], y[sure])


def test_points_on_which_both_nets_say_the_same_class_need_no_margin() -> None:
    """The net g is f with outputs a thousand times smaller: no shift is small, and no class differs."""
    net, x, y = trained()
    last = net.layers[-1]
    small = Network(layers=(*net.layers[:-1], Layer(weight=last.weight / 1024, bias=last.bias / 1024, relu=False)))
    bound = UnlabelledTransfer(unlabelled=blobs(1_000, 4)[0])(compression(net, small), x, y)
    assert bound.facts["threshold"] == 0.0
    assert bound.standing is Standing.NON_VACUOUS
    fresh, labels = blobs(50_000, 5)
    assert net.errors(fresh, labels) / 50_000 < bound.raw


def test_discrete_points_that_coincide_are_no_violation() -> None:
    """Bits, points that single precision cannot tell apart, and half of the mass on three points.

    Four standard deviations are allowed to the excess: 46 draws, false alarms below 1 % in all.
    """
    net = linear([[1.0, 0.25, 0.25], [0.25, 1.0, 0.125]])

    def void(x: np.ndarray, fresh: np.ndarray) -> bool:
        method = UnlabelledTransfer(unlabelled=fresh, thresholds=(1.0,))
        return method(compression(net, net), x, (x[:, 1] > x[:, 0]).astype(int)).void

    rng = np.random.default_rng(0)
    for draw in (lambda n: rng.integers(0, 2, (n, 3)).astype(float), lambda n: 1e8 + rng.random((n, 3))):
        for n, u in ((3_000, 3_000), (3_000, 50), (50, 3_000)):
            assert not void(draw(n), draw(u))
    for _ in range(40):
        x, fresh = (
            np.where(rng.random((n, 1)) < 0.5, np.eye(3)[rng.integers(0, 3, n)], rng.random((n, 3))) for n in (300, 60)
        )
        assert not void(x, fresh)
        assert void(x, x[:60]), "all of them are among the examples"


def test_unlabelled_points_that_shaped_the_nets_void_the_bound() -> None:
    net, x, y = trained()
    u, _ = blobs(200, 7)
    both = compression(net, net)
    assert UnlabelledTransfer(unlabelled=u)(both, x, y).standing is not Standing.VOID
    seen = UnlabelledTransfer(unlabelled=np.concatenate([u, x[:3]]))(both, x, y)
    assert seen.standing is Standing.VOID
    assert any(p.numbers.get("labelled") == 3 for p in seen.premises)
    planned = replace(both, calibration=frozenset(fingerprints(u[:5])))
    used = UnlabelledTransfer(unlabelled=u)(planned, x, y)
    assert used.standing is Standing.VOID
    assert any(p.numbers.get("calibration") == 5 for p in used.premises)


def test_more_unlabelled_points_help() -> None:
    net, x, y = trained()
    few, many = (UnlabelledTransfer(unlabelled=blobs(u, 8)[0])(compression(net, net), x, y).raw for u in (50, 5_000))
    assert many < few


def test_spectral_transfer_on_nets_that_are_equal_and_on_a_ball_that_is_too_small() -> None:
    net, x, y = trained()
    finest = priced(net)[0][0]  # on every grid: coding moves nothing
    radius = float(np.linalg.norm(x, axis=1).max()) + 1.0
    same = SpectralTransfer(radius=radius)(compression(finest, finest), x, y)
    assert (same.facts["beta"], same.facts["coded_beta"]) == (0.0, 2.0**-16)
    assert same.standing is Standing.NON_VACUOUS
    assert terms_add_up(same)
    nats = min(price for _, price in priced(finest))
    errors = int((margins(finest(x), y) <= math.sqrt(2) * 2.0**-16).sum())
    assert same.raw == pytest.approx(compressed_risk(errors, 0, 8_000, nats + 8 * math.log(2), 0.05), rel=1e-9)
    assert SpectralTransfer(radius=0.5)(compression(finest, finest), x, y).standing is Standing.VOID


def test_spectral_deviation_is_above_every_deviation_seen() -> None:
    net, x, y = trained()
    bound = SpectralTransfer(radius=10.0)(compression(net, moved(net, 0.05, np.random.default_rng(1))), x, y)
    assert bound.facts["largest_seen"] <= bound.facts["beta"] <= bound.facts["coded_beta"]
    assert math.isinf(coded_deviation(1e300)), "beyond the last level the bound is 1"
    wild = SpectralTransfer(radius=1e6)(compression(net, moved(net, 1.0, np.random.default_rng(1))), x, y)
    assert wild.raw == 1.0
    assert wild.standing is Standing.VACUOUS


def test_the_compressed_net_must_have_the_shape_of_the_original() -> None:
    net, x, y = trained()
    other = bl.random_network((2, 3, 2), rng=0)
    with pytest.raises(PremiseViolated, match="one shape"):
        SpectralTransfer(radius=10.0)(compression(net, other), x, y)
    assert UnlabelledTransfer(unlabelled=blobs(50, 1)[0])(compression(net, other), x, y).raw > 0


# ---- what floats cannot tell


def cancelling() -> tuple[Network, np.ndarray, np.ndarray]:
    """A net whose outputs are 128 and 64, with labels 1: all errors, whatever floats make of 2^60 + 128 - 2^60."""
    return linear([[2.0**60, 128.0, -(2.0**60)], [0.0, 64.0, 0.0]]), np.ones((500, 3)), np.ones(500, int)


@pytest.mark.parametrize(
    "method",
    [
        AroraMargin(),
        AroraMargin(message_nats=0.0),
        UnlabelledTransfer(unlabelled=np.full((500, 3), 2.0)),
        SpectralTransfer(radius=2.0),
        HeavyTailed(multiples=(0.0,), value_bits=32),
        LinearHead(features_fixed=True),
        CountedCorollary(),
        CoreNetCorollary(),
    ],
)
def test_errors_that_rounding_hides_are_counted(method: GeneralizationBound) -> None:
    net, x, y = cancelling()
    assert feed_forward(net).count_errors(x, y) == 500
    both = bl.compress(net, bl.Magnitude(nnz=4), np.ones((1, 3)), rng=0)
    if isinstance(method, CoreNetCorollary):  # which needs a method with bounds on Delta
        both = bl.compress(net, bl.CoreNet(eps=0.5, delta=0.1), np.ones((1, 3)), rng=0)
    bound = method(both, x, y)
    assert bound.raw >= 1.0
    assert any("IEEE doubles" in p.text for p in bound.premises)


def test_the_deviation_of_cancelling_nets_is_not_hidden_either() -> None:
    """Exactly (129, 64) and (128, 64): both err, and the spectral deviation of 1 per unit input is true."""
    f, x, y = linear([[2.0**60, 129.0, -(2.0**60)], [0.0, 64.0, 0.0]]), np.ones((2_000, 3)), np.ones(2_000, int)
    assert SpectralTransfer(radius=math.sqrt(3))(compression(f, cancelling()[0]), x, y).raw == 1.0


@pytest.mark.parametrize("scale", [1e160, 1e250])
def test_large_weights_give_no_warning(scale: float) -> None:
    rng = np.random.default_rng(0)
    net, x = linear([[scale, 0.3 * scale], [0.2 * scale, scale]]), rng.random((50, 2))
    y = (x[:, 1] > x[:, 0]).astype(int)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for method in (AroraMargin(), SpectralTransfer(radius=2.0), LinearHead(features_fixed=True)):
            assert method(compression(net, net), x, y).raw > 0
        wide = SpectralTransfer(radius=1e308)(compression(net, net), x, y)
        assert [heavy_tailed(net, m, value_bits=32).kept for m in (0.0, 1.0)] == [4, 2]
    assert wide.raw == 1.0, "norms that overflow: equal layers times inf"


@pytest.mark.parametrize("delta", [1e-300, 1e-299])
def test_the_smallest_delta_is_shared_without_underflow(delta: float) -> None:
    net, x, y = trained()
    both = compression(net, net)
    for method in (
        UnlabelledTransfer(unlabelled=blobs(50, 1)[0], delta=delta),
        LinearHead(features_fixed=True, delta=delta),
    ):
        assert method(both, x, y).raw > replace(method, delta=0.05)(both, x, y).raw


# ---- the counted corollary


def drawn() -> tuple[Compression, np.ndarray, np.ndarray]:
    """A net sampled down to about 60 weights, and points that it labels."""
    net, x = bl.random_network((6, 8, 7, 3), rng=3, bias=True), np.random.default_rng(0).random((2_000, 6))
    small = bl.compress(net, bl.L1Sampling(nnz=60), x[:100], rng=0)
    assert isinstance(small, Compression)
    return small, x, net(x).argmax(axis=1)


def test_the_message_beside_the_counted_bound_is_of_the_net_on_the_grid_once_more() -> None:
    small, x, y = drawn()
    bound = CountedCorollary()(small, x, y)
    g = Network(layers=tuple(own.layer for own in counted_layers(small)))
    told = on_log_grid(feed_forward(g), 8)
    assert any(not np.array_equal(a.weight, b.weight) for a, b in zip(told.layers, g.layers, strict=True)), (
        "another net"
    )
    assert bound.facts["a_posteriori_errors"] == told.count_errors(x, y)
    assert bound.facts["errors"] == g.errors(x, y)
    assert bound.facts["a_posteriori_nats"] == encode(told).nats


def test_a_net_that_is_not_the_one_that_was_drawn_has_no_counted_bound() -> None:
    small, x, y = drawn()
    *first, last = small.net.layers
    for weight, bias in ((-last.weight, last.bias), (last.weight, last.bias + 1.0)):
        other = Network(layers=(*first, Layer(weight=weight, bias=bias, relu=False)))
        with pytest.raises(PremiseViolated, match="weights that were drawn"):
            CountedCorollary()(replace(small, net=other), x, y)


@pytest.mark.parametrize("scale", [1e-300, 1e-308, 1e-310])
def test_values_below_the_grid_are_no_edges(scale: float) -> None:
    net, x = linear([[scale, 0.3 * scale], [0.2 * scale, scale]]), np.random.default_rng(0).random((50, 2))
    y = (x[:, 1] > x[:, 0]).astype(int)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small = bl.compress(net, bl.Magnitude(nnz=4), x, rng=0)
        assert isinstance(small, Compression)
        own = counted_layers(small)[0]
        assert CountedCorollary()(small, x, y).standing is Standing.VACUOUS
    assert own.sizes.sum() == np.count_nonzero(own.layer.weight) == np.count_nonzero(net.layers[0].weight >= 2.0**-1022)


# ---- sample compression


def test_the_kept_examples_are_those_that_were_given() -> None:
    net, kept = linear([[1.0, 0.0], [0.0, 1.0]]), [2, 3]
    x, y = np.random.default_rng(0).random((50, 2)), np.zeros(50, int)
    method = SampleCompression(kept=kept)
    kept.append(3)
    assert method(net, x, y).facts["kept"] == 2
    with pytest.raises(InvalidParameter, match="must hold indices of examples"):
        SampleCompression(kept=np.array([2**64 - 1, 49], np.uint64))  # which would wrap round to the last one


def test_a_module_is_asked_whether_it_treats_each_point_by_itself() -> None:
    import torch

    class Centred(torch.nn.Module):
        def forward(self, a):
            return a - a.mean(dim=0)

    x, y = np.random.default_rng(0).random((40, 2)), np.zeros(40, int)
    head = torch.nn.Linear(2, 2)
    for first, void in ((torch.nn.Identity(), False), (Centred(), True)):
        net = ModuleNet(torch.nn.Sequential(first, head), x)
        for method in (SampleCompression(kept=(1,)), LinearHead(features_fixed=True)):
            bound = method(net, x, y)
            assert any("by itself" in p.text for p in bound.premises)
            assert bound.void == void


def test_sample_compression_holds_in_a_world_of_four_examples() -> None:
    """All 256 samples, all subsets: the rebuilt net says 1 where a kept example with label 1 stood."""
    cells = {(0, 0): Fraction(9, 50), (0, 1): Fraction(1, 50), (1, 0): Fraction(4, 50), (1, 1): Fraction(36, 50)}
    delta, broken = 0.9, Fraction(0)
    table: dict[tuple[object, ...], bool] = {}
    for sample in itertools.product(cells, repeat=4):
        x, y = np.eye(2)[[a for a, _ in sample]], np.array([b for _, b in sample])
        bad = False
        for k in range(4):
            for kept in itertools.combinations(range(4), k):
                ones = {sample[i][0] for i in kept if sample[i][1] == 1}
                net = linear([[0.0, 0.0], [1.0 if a in ones else -1.0 for a in (0, 1)]])
                others = tuple(sorted(sample[i] for i in range(4) if i not in kept))
                key = (tuple(ones), others, k)
                if key not in table:
                    risk = sum((m for (a, b), m in cells.items() if (a in ones) != (b == 1)), Fraction(0))
                    table[key] = risk > SampleCompression(kept=kept, delta=delta)(net, x, y).value
                bad |= table[key]
        broken += math.prod((cells[e] for e in sample), start=Fraction(bad))
    assert broken <= Fraction(delta)


def test_sample_compression_counts_the_others_only() -> None:
    x, y = digits()
    kept = np.random.default_rng(1).choice(len(x), 100, replace=False)
    net = bl.train_mlp(x[kept], y[kept], (16,), epochs=15, rng=0)
    bound = SampleCompression(kept=kept)(net, x, y)
    others = np.setdiff1d(np.arange(len(x)), kept)
    assert bound.facts["errors"] == net.errors(x[others], y[others])
    assert bound.raw == pytest.approx(sample_compression(int(bound.facts["errors"]), 100, len(x), 0.05), rel=1e-9)
    assert bound.standing is Standing.NON_VACUOUS
    paid = SampleCompression(kept=kept, message_nats=100 * math.log(2), ordered=True)(net, x, y)
    assert paid.raw > bound.raw
    assert terms_add_up(paid)
    assert any("rebuilt" in p.text and p.status == "assumed" for p in bound.premises)


# ---- heavy-tailed


def test_the_heavy_tailed_net_is_rounded_and_seeded() -> None:
    net, _, _ = trained()
    built = heavy_tailed(net, 1.0, value_bits=16, seed=4)
    for before, after in zip(net.layers, built.net.layers, strict=True):
        big = np.abs(before.weight) > math.sqrt(float(np.mean(before.weight**2)))
        assert np.array_equal(after.weight[big], before.weight[big].astype(np.float16).astype(float))
        assert np.array_equal(after.bias, before.bias.astype(np.float16).astype(float))
    assert built.kept == sum(int((np.abs(w.weight) > math.sqrt(np.mean(w.weight**2))).sum()) for w in net.layers)
    assert heavy_tailed(net, 1.0, seed=4).net.digest == built.net.digest != heavy_tailed(net, 1.0, seed=5).net.digest
    whole = heavy_tailed(net, 0.0, value_bits=32)
    assert whole.net.digest == net.digest, "all is kept: float32 weights are told exactly"


def test_values_beyond_a_small_float_are_cut_and_not_made_infinite() -> None:
    assert stored(np.array([1e9, -1e9]), 16).tolist() == [65504.0, -65504.0]
    made, kept = kept_and_noise(np.array([[1e9, 0.0]]), 1.0, np.ones((1, 2)), 16)
    assert (made.tolist(), kept) == ([[65504.0, 0.0]], 1)


def test_heavy_tailed_is_the_smallest_of_its_thresholds_and_pays_its_seeds() -> None:
    net, x, y = trained()
    bound = HeavyTailed()(net, x, y)
    each = [HeavyTailed(multiples=(m,))(net, x, y).raw for m in HeavyTailed().multiples]
    assert bound.raw == min(each)
    built = heavy_tailed(net, bound.facts["multiple"])
    few, many = (heavy_tailed(net, 1.0, value_bits=bits) for bits in (16, 32))
    kept = sum(math.log(w.weight.size + 1) + 32 * math.log(2) for w in net.layers)
    places = many.weight_nats - few.weight_nats - 16 * many.kept * math.log(2)
    assert abs(places) < 1e-9
    none = heavy_tailed(net, 1e9)
    assert none.weight_nats == pytest.approx(kept + math.log(2)), "one bit says 16 or 32 bits"
    assert bound.facts["errors"] == built.net.errors(x, y), "the errors of the net that was built"
    nats = built.weight_nats + built.bias_nats
    assert bound.raw == pytest.approx(compressed_risk(int(bound.facts["errors"]), 0, 8_000, nats, 0.05), rel=1e-9)
    assert bound.standing is Standing.NON_VACUOUS
    assert terms_add_up(bound)
    assert HeavyTailed(seeds=1_000)(net, x, y).raw > bound.raw


# ---- linear heads


def random_features(n: int, width: int) -> tuple[Network, np.ndarray, np.ndarray]:
    """A head on random ReLU features of two unit vectors, with labels that it tells apart."""
    rng = np.random.default_rng(9)
    x = np.tile(np.eye(2), (n // 2, 1))
    first = Layer(weight=rng.normal(size=(width, 2)) / width, bias=np.zeros(width), relu=True)
    gap = first(np.eye(2))[0] - first(np.eye(2))[1]
    head = Layer(weight=np.stack([gap, -gap]), bias=np.zeros(2), relu=False)
    return Network(layers=(first, head)), x, np.tile([0, 1], n // 2)


def test_a_head_on_fixed_features_has_a_bound_and_on_learned_ones_a_measure() -> None:
    net, x, y = random_features(400_000, 3)
    fixed, learned = (LinearHead(features_fixed=told)(net, x, y) for told in (True, False))
    assert fixed.standing is Standing.NON_VACUOUS
    assert learned.standing is Standing.MEASURE
    assert fixed.terms == learned.terms
    assert terms_add_up(fixed)


def test_a_head_is_found_at_the_end_of_a_sequential_module() -> None:
    import torch

    net, x, y = random_features(2_000, 5)
    first, last = torch.nn.Linear(2, 5), torch.nn.Linear(5, 2)
    with torch.no_grad():
        for module, layer in ((first, net.layers[0]), (last, net.layers[1])):
            module.weight.copy_(torch.tensor(layer.weight))
            module.bias.zero_()
    found = LinearHead(features_fixed=True)(ModuleNet(torch.nn.Sequential(first, torch.nn.ReLU(), last), x), x, y)
    assert found.raw == pytest.approx(LinearHead(features_fixed=True)(net, x, y).raw, rel=1e-5)
    for module in (torch.nn.Sequential(first, torch.nn.ReLU(), last, torch.nn.Tanh()), torch.nn.Linear(2, 2)):
        with pytest.raises(UnsupportedLayer, match="last"):
            LinearHead(features_fixed=True)(ModuleNet(module, x), x, y)
    with pytest.raises(UnsupportedLayer, match="ReLU"):
        LinearHead(features_fixed=True)(Network(layers=(*net.layers[:1], replace(net.layers[1], relu=True))), x, y)


def test_what_is_added_to_all_rows_of_a_head_changes_nothing() -> None:
    net, x, y = random_features(2_000, 5)
    *first, last = net.layers
    moved = Layer(weight=last.weight + np.arange(5.0), bias=last.bias + 3.0, relu=False)
    own, other = (LinearHead(features_fixed=True)(Network(layers=(*first, top)), x, y) for top in (last, moved))
    assert other.facts["head_norm"] == pytest.approx(own.facts["head_norm"], rel=1e-9)
    assert other.raw == pytest.approx(own.raw, rel=1e-9)


@pytest.mark.parametrize("exponent", [-540, 540])
def test_a_head_and_its_multiples_are_one_classifier_at_any_scale(exponent: int) -> None:
    """Weights whose squares underflow or overflow; the bias, the same for both classes, hides some of them."""
    rng = np.random.default_rng(0)
    cell, y = rng.integers(0, 600, 200), rng.integers(0, 2, 200)
    sign = np.zeros(600)
    np.add.at(sign, cell, 2 * y - 1)
    w, x = np.stack([-np.sign(sign), np.sign(sign)]), np.eye(600)[cell]
    found = [
        LinearHead(features_fixed=True, margins=(0.9,))(
            Network(layers=(Layer(weight=w * 2.0**e, bias=np.full(2, 1.5 * 2.0**e), relu=False),)), x, y
        )
        for e in (0, exponent)
    ]
    assert found[1].raw == pytest.approx(found[0].raw, rel=1e-9)
    assert found[1].facts["head_norm"] == pytest.approx(2.0**exponent * np.linalg.norm(w), rel=1e-9)
    assert found[0].raw > 0.5, "the labels are coins"


@pytest.mark.parametrize("scale", [1e-170, 1e170])
def test_features_of_any_scale_have_their_complexity(scale: float) -> None:
    plain = linear_head_complexity(np.ones((100, 3)), 2, 1.0, 1.0, 0.05)
    assert linear_head_complexity(np.full((100, 3), scale), 2, 1 / scale, 1.0, 0.05) == pytest.approx(plain, rel=1e-9)


@pytest.mark.parametrize("where", ["head", "whole"])
def test_a_hook_that_changes_the_outputs_is_refused(where: str) -> None:
    import torch

    _, x, y = random_features(2_000, 5)
    module = torch.nn.Sequential(torch.nn.Linear(2, 2))
    (module if where == "whole" else module[0]).register_forward_hook(lambda *given: 100 * given[2])
    with pytest.raises(UnsupportedLayer, match="outputs of the module"):
        LinearHead(features_fixed=True)(ModuleNet(module, x), x, y)


def test_a_head_of_zeros_says_nothing() -> None:
    _, x, y = trained()
    assert LinearHead(features_fixed=True)(linear([[0.0, 0.0], [0.0, 0.0]]), x, y).raw >= 1.0


# ---- borders


@pytest.mark.parametrize(
    "method", [AroraMargin(), UnlabelledTransfer(unlabelled=CORNERS), SpectralTransfer(radius=1.0)]
)
def test_a_net_alone_has_no_compression(method: GeneralizationBound) -> None:
    net, x, y = trained()
    with pytest.raises(PremiseViolated, match="compression"):
        method(net, x, y)


def test_a_module_has_no_heavy_tailed_bound() -> None:
    import torch

    _, x, y = trained()
    with pytest.raises(UnsupportedLayer, match="fully connected"):
        HeavyTailed()(ModuleNet(torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Tanh()), x[:1]), x, y)


@pytest.mark.parametrize(
    "build",
    [
        lambda: AroraMargin(helper_seeds=0),
        lambda: AroraMargin(message_nats=-1.0),
        lambda: AroraMargin(message_nats=math.inf),
        lambda: margin_shift(np.array([[math.nan, 1.0]]), np.zeros((1, 2))),
        lambda: AroraMargin(delta=0.0),
        lambda: UnlabelledTransfer(unlabelled=CORNERS, thresholds=()),
        lambda: UnlabelledTransfer(unlabelled=CORNERS, thresholds=(1.0, 1.0)),
        lambda: UnlabelledTransfer(unlabelled=CORNERS, thresholds=(0.0,)),
        lambda: UnlabelledTransfer(unlabelled=np.array([[math.nan]])),
        lambda: UnlabelledTransfer(unlabelled=np.zeros((3, 7)))(
            compression(trained()[0], trained()[0]), *trained()[1:]
        ),
        lambda: SpectralTransfer(radius=0.0),
        lambda: coded_deviation(-1.0),
        lambda: coded_deviation(math.nan),
        lambda: SampleCompression(kept=(1, 1)),
        lambda: SampleCompression(kept=(-1,)),
        lambda: SampleCompression(kept=np.array([0.5])),
        lambda: SampleCompression(kept=(1,), message_nats=-1.0),
        lambda: SampleCompression(kept=(8_000,))(*trained()),
        lambda: SampleCompression(kept=range(8_000))(*trained()),
        lambda: HeavyTailed(value_bits=8),
        lambda: HeavyTailed(multiples=()),
        lambda: HeavyTailed(multiples=(-1.0,)),
        lambda: HeavyTailed(seeds=0),
        lambda: HeavyTailed(seed=-1),
        lambda: heavy_tailed(trained()[0], -1.0),
        lambda: stored(np.zeros(2), 64),
        lambda: LinearHead(features_fixed=True, margins=()),
        lambda: LinearHead(features_fixed=True, margins=(1.0, 1.0)),
        lambda: LinearHead(features_fixed=True, margins=(-1.0,)),
        lambda: margin_shift(np.zeros((2, 3)), np.zeros((2, 2))),
        lambda: margin_shift(np.zeros((2, 1)), np.zeros((2, 1))),
    ],
)
def test_what_is_out_of_range_is_refused(build) -> None:
    with pytest.raises(InvalidParameter, match="must"):
        build()


def test_what_is_no_number_or_no_list_of_numbers_is_refused() -> None:
    calls: list[tuple[Any, dict[str, Any]]] = [
        *((AroraMargin, {"message_nats": wrong}) for wrong in ("a", [1.0], math.nan)),
        *((SampleCompression, {"kept": (1,), "message_nats": wrong}) for wrong in ("a", None, [1.0])),
        *(
            (UnlabelledTransfer, {"unlabelled": CORNERS, "thresholds": wrong})
            for wrong in (5, "a", ("a",), [[1], [1, 2]])
        ),
        *((LinearHead, {"features_fixed": True, "margins": wrong}) for wrong in (5, None, np.array([1.0, 1.0]))),
        *((CoreNetCorollary, {"margins": wrong}) for wrong in (5, ("a",))),
        *((HeavyTailed, {"multiples": wrong}) for wrong in (3, ("a",), (math.nan,))),
        (HeavyTailed, {"value_bits": [16]}),
    ]
    for kind, wrong in calls:
        with pytest.raises(InvalidParameter, match="must"):
            kind(**wrong)


def test_lists_may_be_given_as_arrays() -> None:
    given: Any = np.array([0.5, 2.0])
    assert LinearHead(features_fixed=True, margins=given) == LinearHead(features_fixed=True, margins=(0.5, 2.0))
    assert CoreNetCorollary(margins=given) == CoreNetCorollary(margins=(0.5, 2.0))
    assert UnlabelledTransfer(unlabelled=CORNERS, thresholds=given).thresholds == (0.5, 2.0)
    assert HeavyTailed(multiples=given) == HeavyTailed(multiples=(0.5, 2.0))
