"""SiPP: what is kept, what is drawn, what the budget is, what is promised, and what is refused."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize

from boundlab import InvalidParameter, Layer, Network, SamplePlan, certify, compress, random_network, redraw, verify
from boundlab.compressors.calibration import LargestMeans, calibrate, every_second, largest_ratios
from boundlab.compressors.method import Compressor, LayerDraw, ModuleCompression
from boundlab.compressors.sipp import METHODS, SiPP, SiPPDet, SiPPHybrid, SiPPRand, SiPPThreshold
from boundlab.coresets.error_functions import bernstein_eps
from boundlab.coresets.sensitivity_sampling import Rule
from boundlab.coresets.threshold_sampling import threshold_probabilities
from boundlab.coresets.top_k import dropped_sum, patch_mean_sensitivities, patch_sensitivities
from boundlab.nets.groups import sign_groups
from boundlab.nets.module_net import ModuleNet
from boundlab.promises import Status
from boundlab.records import Law

NET = random_network((60, 20, 5), rng=0, bias=True)
POINTS = np.random.default_rng(1).uniform(0.0, 1.0, (300, 60))
WIDE = random_network((400, 5, 3), rng=0)
MANY = np.random.default_rng(12).uniform(0.0, 1.0, (60, 400))
NNZ, FIXED = 500, {"nnz": 500, "C": 2.0}
OURS: list[Compressor] = [
    SiPPDet(**FIXED),
    SiPPRand(**FIXED),
    SiPPRand(**FIXED, rule=Rule.BERNSTEIN),
    SiPPHybrid(**FIXED),
    SiPP(**FIXED),
    SiPPThreshold(**FIXED),
    SiPPThreshold(**FIXED, law=Law.POISSON),
]
PUBLISHED: list[Compressor] = [
    SiPPDet(nnz=NNZ, published=True),
    SiPPRand(nnz=NNZ, published=True),
    SiPPHybrid(nnz=NNZ, published=True),
]
every = pytest.mark.parametrize("method", OURS + PUBLISHED, ids=str)
ours = pytest.mark.parametrize("method", OURS, ids=str)


def row(*weights: float) -> Network:
    return Network(layers=(Layer(weight=np.array([weights]), bias=np.zeros(1), relu=False),))


def flat(plans: tuple[SamplePlan, ...], name: str) -> np.ndarray:
    return np.concatenate([getattr(p, name) for p in plans])


def of_sensitivities(plans: tuple[SamplePlan, ...]) -> tuple[np.ndarray, np.ndarray]:
    """All sensitivities of a net, and where its groups start."""
    values = np.concatenate([p.sensitivities.values for p in plans])
    return values, np.concatenate([[0], np.cumsum(np.concatenate([p.groups.edges for p in plans]))])


def test_det_keeps_the_global_top_of_all_sensitivities_with_their_own_weights() -> None:
    own = calibrate(NET, POINTS, 1.0, 0.05, theorem="").own
    smallest = np.sort(np.concatenate([s.values for s in own]))[-NNZ]
    small = compress(NET, SiPPDet(**FIXED), POINTS, rng=0)
    assert small.nnz == NNZ
    for layer, kept, s in zip(NET.layers, small.net.layers, own, strict=True):
        expected = np.zeros_like(layer.weight)
        at = (s.groups.spread(s.groups.neuron), s.groups.columns)
        expected[at] = np.where(s.values >= smallest, layer.weight[at], 0.0)
        assert np.array_equal(kept.weight, expected)


@pytest.mark.parametrize("nnz", [7, 150, 500, 1100, 1200, 1299])
def test_det_and_pivotal_keep_exactly_what_was_asked_for(nnz: int) -> None:
    for method in (SiPPDet(nnz=nnz, C=2.0), SiPPThreshold(nnz=nnz, C=2.0)):
        small = compress(NET, method, POINTS, rng=1)
        assert small.nnz == nnz
        assert small.missed == 0


@every
def test_the_budget_is_met_in_the_mean_to_less_than_one_edge(method: Compressor) -> None:
    small = compress(NET, method, POINTS, rng=1)
    assert NNZ - 1 < small.expected_nnz <= NNZ + 1e-6


@every
def test_a_budget_beyond_the_net_leaves_it_as_it_is(method: Compressor) -> None:
    large = type(method)(**{**vars(method), "nnz": 5000})
    small = compress(NET, large, POINTS, rng=1)
    assert small.unchanged
    assert all(np.array_equal(a.weight, b.weight) for a, b in zip(NET.layers, small.net.layers, strict=True))


@every
def test_a_layer_that_would_lose_everything_keeps_its_most_sensitive_edge(method: Compressor) -> None:
    wide = random_network((300, 4, 40, 3), rng=2)
    points = np.random.default_rng(3).uniform(0.5, 1.0, (60, 300))
    for nnz in (3, 4, 10):
        small = compress(wide, type(method)(**{**vars(method), "nnz": nnz}), points, rng=0)
        assert all(c.nnz >= 1 for c in small.coresets)
    with pytest.raises(InvalidParameter, match="at least one edge for each of 3 layers, got nnz=2"):
        compress(wide, type(method)(**{**vars(method), "nnz": 2}), points, rng=0)


@every
def test_dead_inputs_go_first_and_a_dead_layer_keeps_one_edge(method: Compressor) -> None:
    points = POINTS.copy()
    points[:, 30:] = 0.0
    small = compress(NET, method, points, rng=0)
    assert not small.net.layers[0].weight[:, 30:].any()
    dead = Network(layers=(Layer(weight=NET.layers[0].weight, bias=np.full(20, -1e3), relu=True), NET.layers[1]))
    small = compress(dead, method, points, rng=0)
    assert small.coresets[1].nnz == 1
    assert all(np.isfinite(p.eps).all() for p in small.plans)


@every
def test_rows_of_one_sign_and_groups_of_one_edge_are_fine(method: Compressor) -> None:
    net = Network(layers=(Layer(weight=np.array([[1.0, 2.0, 3.0], [-1.0, 4.0, 1.0]]), bias=np.zeros(2), relu=False),))
    small = compress(net, type(method)(**{**vars(method), "nnz": 4}), np.eye(3) + 0.5, rng=0)
    assert 1 <= small.nnz <= 6


@pytest.mark.parametrize("published", [False, True])
def test_the_allocation_is_a_solver_s_optimum(published: bool) -> None:
    net = random_network((40, 3, 2), rng=4)
    points = np.random.default_rng(5).uniform(0.0, 1.0, (20, 40))
    if published:
        plans = SiPPRand(nnz=60, delta=1e-3, published=True).plan(net, points)
        eps, log = flat(plans, "eps"), math.log(16 / 1e-3)
        cost = np.maximum(1.0, 3.0 * np.concatenate([p.sensitivities.total for p in plans])) * log
        drawn = np.concatenate([p.draws > 0 for p in plans])
        whole = cost * (2 * eps + 3) / (3 * eps * eps + 1e-300)  # eps = u + sqrt(u² + 3u), u = cost/(3 m)
        sizes, root = np.where(drawn, whole, np.concatenate([p.groups.edges for p in plans])), 3.0
    else:
        plans = SiPPThreshold(nnz=60, delta=1e-3, C=2.0).plan(net, points)
        sizes = flat(plans, "size") + flat(plans, "top")
        log = math.log(2 * len(sizes) / (1e-3 / 2))
        cost = np.maximum(1.0, 2.0 * np.concatenate([p.sensitivities.total for p in plans])) * log
        root = 6.0
    limit = np.concatenate([p.groups.edges for p in plans]).astype(float)
    weight = np.concatenate(
        [np.full(len(p.groups), 1.0 / layer.weight.shape[0]) for p, layer in zip(plans, net.layers, strict=True)]
    )
    assert sizes == pytest.approx(sizes.round(), abs=1e-6)
    assert sizes.round().sum() == 60

    def objective(m: np.ndarray) -> float:
        u = cost / (3 * m)
        return float(np.sum(weight * (u + np.sqrt(u * u + root * u))))

    start = limit * 60 / limit.sum()
    best = minimize(
        objective,
        start,
        method="SLSQP",
        bounds=[(1e-3, b) for b in limit],
        constraints={"type": "eq", "fun": lambda m: m.sum() - 60},
        options={"maxiter": 500, "ftol": 1e-12},
    )
    assert best.success
    assert np.abs(sizes - best.x).max() < 1.0  # rounding to whole numbers
    assert objective(sizes) <= best.fun * 1.005


def test_a_split_is_never_worse_than_keeping_only_or_drawing_only_as_many() -> None:
    plans, pivotal = (kind(nnz=900, C=2.0).plan(WIDE, MANY) for kind in (SiPP, SiPPThreshold))
    values, indptr = of_sensitivities(plans)
    sizes = (flat(pivotal, "size") + flat(pivotal, "top")).astype(np.int64)  # the same allocation
    keep = np.zeros(len(values), bool)
    for r, m in enumerate(sizes):
        at = np.arange(indptr[r], indptr[r + 1])
        keep[at[np.argsort(-values[at], kind="stable")[:m]]] = True
    kept = np.minimum(1.0, dropped_sum(values, indptr, keep, K=2.0))
    total = np.add.reduceat(values, indptr[:-1])
    events = np.concatenate([np.full(len(p.groups), 1 + (k > 0)) for k, p in enumerate(plans)])
    drawn = np.array(
        [bernstein_eps(total[[r]], sizes[[r]], 0.025 / len(sizes) / events[r], K=2.0)[0] for r in range(len(sizes))]
    )
    told = flat(plans, "eps")
    assert (told <= np.minimum(kept, drawn) * (1 + 1e-6)).all()
    assert (told < 0.9 * np.minimum(kept, drawn)).any()


def test_hybrid_promises_the_smaller_error_of_every_group() -> None:
    hybrid, rand = (kind(nnz=900, C=1.0).plan(WIDE, MANY) for kind in (SiPPHybrid, SiPPRand))
    values, indptr = of_sensitivities(hybrid)
    drawn = np.concatenate([p.draws > 0 for p in hybrid])
    kept = np.minimum(1.0, dropped_sum(values, indptr, np.concatenate([p.certain for p in hybrid])))
    assert 0 < drawn.sum() < len(drawn)
    assert flat(hybrid, "eps")[~drawn] == pytest.approx(kept[~drawn], rel=1e-6)
    assert flat(hybrid, "eps") == pytest.approx(np.minimum(flat(hybrid, "eps"), flat(rand, "eps")), rel=0.02, abs=1e-9)
    assert (flat(rand, "eps")[drawn] < 1).all()


def test_the_sharp_rule_promises_less_error_than_bernstein_s() -> None:
    kl, bernstein = (SiPPRand(**FIXED, rule=rule).plan(NET, POINTS) for rule in (Rule.KL, Rule.BERNSTEIN))
    assert (flat(kl, "eps") <= flat(bernstein, "eps") * (1 + 1e-6)).all()


@pytest.mark.parametrize("law", Law)
def test_every_law_draws_the_weights_in_the_mean(law: Law) -> None:
    """4000 draws; each of 12 edges within 6 standard errors: a false alarm has probability below 1e-6 (normal)."""
    net = row(*np.random.default_rng(6).uniform(0.5, 3.0, 12))
    points = np.random.default_rng(7).uniform(0.1, 1.0, (30, 12))
    method = SiPPRand(nnz=5, C=2.0) if law is Law.MULTINOMIAL else SiPPThreshold(nnz=5, C=2.0, law=law)
    plan = method.plan(net, points)[0]
    weight, rng, draws = net.layers[0].weight, np.random.default_rng(8), 4000
    drawn = LayerDraw(weight, plan)
    found = np.array([drawn(rng)[0] for _ in range(draws)])
    s = plan.sensitivities.values
    if law is Law.MULTINOMIAL:
        q = s / s.sum()
        spread = weight[0] * np.sqrt((1 - q) / q / plan.size[0])
        kept = 1 - (1 - q) ** plan.size[0]
    else:
        certain = plan.certain
        left = np.where(certain, 0.0, s)
        size = plan.size.astype(np.int64)
        pi = np.where(certain, 1.0, threshold_probabilities(left, np.array([0, 12]), size).probabilities)
        assert pi.sum() == pytest.approx(5)
        spread, kept = weight[0] * np.sqrt((1 - pi) / pi), pi
    assert (np.abs(found.mean(axis=0) - weight[0]) <= 6 * spread / math.sqrt(draws) + 1e-9).all()
    count = (found != 0).sum(axis=1)
    assert count.mean() == pytest.approx(kept.sum(), abs=6 * count.std() / math.sqrt(draws) + 1e-9)
    if law is Law.PIVOTAL:
        assert (count == 5).all()
    if law is Law.POISSON:  # variance sum pi (1 - pi), within 15 %: six standard errors of a variance of 4000 draws
        assert count.var() == pytest.approx((kept * (1 - kept)).sum(), rel=0.15)
        assert found[:, s.argmax()].all()


def test_a_poisson_plan_that_keeps_everything_draws_the_net_itself() -> None:
    small = compress(NET, SiPPThreshold(nnz=1300, law=Law.POISSON), POINTS, rng=0)
    assert small.nnz == 1300


def test_the_factor_is_the_conformal_quantile_of_the_other_half() -> None:
    seen = calibrate(NET, POINTS, None, 0.1, theorem="")
    half = POINTS[0::2]
    own = calibrate(NET, half, 1.0, 0.05, theorem="").own
    assert all(np.array_equal(a.values, b.values) for a, b in zip(seen.own, own, strict=True))
    ratios = []
    for x in POINTS[1::2]:
        worst, a = 0.0, x
        for layer, s in zip(NET.layers, own, strict=True):
            for r in range(len(s.groups)):
                at = slice(s.groups.indptr[r], s.groups.indptr[r + 1])
                terms = np.abs(layer.weight[s.groups.neuron[r], s.groups.columns[at]]) * a[s.groups.columns[at]]
                on = terms > 0
                worst = max(worst, float((terms[on] / terms.sum() / s.values[at][on]).max(initial=0.0)))
            a = layer(a[None])[0]
        ratios.append(worst)
    assert largest_ratios(NET, POINTS[1::2], own) == pytest.approx(np.array(ratios), rel=1e-9)
    assert math.isclose(seen.C, np.sort(ratios)[math.ceil(0.9 * 151) - 1], rel_tol=1e-9)


@ours
def test_too_few_points_give_no_factor_and_the_certificate_says_so(method: Compressor) -> None:
    free = type(method)(**{**vars(method), "C": None})
    small = compress(NET, free, POINTS[:40], rng=0)
    assert {p.K for p in small.plans} == {math.inf}
    assert all(np.isfinite(p.eps).all() and (p.eps[~p.exact] >= 1).all() for p in small.plans)
    promise = certify(small, POINTS[40:])
    assert promise.void
    assert not promise.met
    assert any(p.status is Status.VIOLATED and "K = inf" in p.evidence for p in promise.premises)
    assert verify(small, lambda rng, n: rng.uniform(0, 1, (n, 60)), max_trials=40).failures == 0


@ours
def test_a_certificate_adds_up_and_edges_that_are_kept_need_no_coins(method: Compressor) -> None:
    free = type(method)(**{**vars(method), "C": None})
    promise = certify(compress(NET, free, POINTS, rng=0), np.random.default_rng(9).uniform(0, 1, (2000, 60)))
    assert promise.theorem == "boundlab_theorem_b"
    assert promise.delta == pytest.approx(min(1.0, sum(promise.budget.values())))
    small = compress(NET, free, POINTS, rng=0)
    assert ("coins" in promise.budget) == any((p.draws > 0).any() for p in small.plans)
    assert method.name != "sipp-det" or "coins" not in promise.budget


@ours
def test_the_promise_is_upheld(method: Compressor) -> None:
    small = compress(NET, type(method)(**{**vars(method), "C": 3.0, "delta": 0.2}), POINTS, rng=0)
    found = verify(small, lambda rng, n: rng.uniform(0, 1, (n, 60)), max_trials=100)
    assert str(found.state) == "upheld"


@pytest.mark.parametrize("method", PUBLISHED, ids=str)
def test_what_is_refuted_certifies_nothing(method: Compressor) -> None:
    small = compress(NET, method, POINTS, rng=0)
    assert {p.theorem for p in small.plans} <= {"baykal2022_patch_mean", "baykal2022_error_function_in_code"}
    with pytest.raises(InvalidParameter, match="a theorem that certify knows, got 'baykal2022"):
        certify(small, POINTS)


def test_the_published_error_is_the_released_formula() -> None:
    plan = SiPPRand(nnz=20, delta=1e-4, published=True).plan(row(*np.ones(40)), np.eye(40) + 1.0)[0]
    total, m = plan.sensitivities.total[0], 20  # one group: it gets the whole budget
    alpha = 2 * 3.0 * math.log(8 * 2 / 1e-4) * total
    v = alpha / (3 * m)
    assert plan.eps[0] == pytest.approx(0.5 * (math.sqrt(v * v + 6 * v) + v), rel=1e-9)
    assert plan.K == 3.0


@every
def test_same_seed_same_net_and_the_input_is_not_changed(method: Compressor) -> None:
    before = [layer.weight.copy() for layer in NET.layers]
    one, two = (compress(NET, method, POINTS, rng=3) for _ in range(2))
    for a, b, c, d in zip(one.net.layers, two.net.layers, before, NET.layers, strict=True):
        assert np.array_equal(a.weight, b.weight)
        assert np.array_equal(c, d.weight)
    again = redraw(one, np.random.Generator(np.random.Philox(3)))
    assert all(np.array_equal(a.weight, b.weight) for a, b in zip(one.net.layers, again.layers, strict=True))


def conv() -> Any:
    from torch import manual_seed, nn

    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Sequential(nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())
            self.inner = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1, groups=2), nn.BatchNorm2d(6))
            self.last = nn.Linear(6, 3)

        def forward(self, x: Any) -> Any:
            x = self.first(x)
            return self.last((x + self.inner(x)).relu().mean((2, 3)))

    manual_seed(0)
    return Residual()


IMAGES = np.random.default_rng(10).normal(size=(24, 2, 5, 5))


@every
def test_a_residual_net_with_batch_norm_is_pruned_to_its_budget_and_not_certified(method: Compressor) -> None:
    module = conv()
    before = copy.deepcopy(module.state_dict())
    small = compress(module, type(method)(**{**vars(method), "nnz": 120}), IMAGES, rng=0)
    assert isinstance(small, ModuleCompression)
    assert all((before[k] == v).all() for k, v in module.state_dict().items())
    if method.name == "sipp-det" or (isinstance(method, SiPPThreshold) and method.law is Law.PIVOTAL):
        assert small.nnz == 120
    assert small.expected_nnz == pytest.approx(120, abs=1)
    assert np.isfinite(small.net(IMAGES)).all()
    assert "first.1.weight" in small.kept
    assert {p.theorem for p in small.plans} != {"boundlab_theorem_b"}
    untyped: Any = small
    with pytest.raises(InvalidParameter, match="does not speak of the whole net"):
        certify(untyped, IMAGES.reshape(24, -1))


@pytest.mark.parametrize("sizes", [(24,), (1, 23), (7, 7, 10), (2,) * 12])
def test_a_stream_of_batches_gives_the_same_plan_as_one_batch(sizes: tuple[int, ...]) -> None:
    def stream() -> Iterator[np.ndarray]:
        yield from np.split(IMAGES, np.cumsum(sizes)[:-1])

    for start in (0, 1):
        half = every_second(stream, start)
        assert callable(half)
        assert np.array_equal(np.concatenate(list(half())), IMAGES[start::2])
    net = ModuleNet(conv(), IMAGES)
    one, two = (calibrate(net, points, None, 0.1, theorem="") for points in (IMAGES, stream))
    assert math.isclose(one.C, two.C, rel_tol=1e-5)
    assert (one.signs, one.positions) == (two.signs, two.positions) == ((2, 1, 1, 1), (25, 25, 25, 1))
    for a, b in zip(one.own, two.own, strict=True):
        assert a.values == pytest.approx(b.values, rel=1e-5)


def test_the_released_code_s_sensitivities_are_means_over_patches() -> None:
    rng = np.random.default_rng(11)
    weight, patches = rng.normal(size=(3, 4)), rng.uniform(0, 1, (5, 7, 4))
    patches[0, :3] = 0.0
    means = LargestMeans(weight)
    means.see(patches[:2])
    means.see(patches[2:])
    found, groups = means.sensitivities(points=5, theorem="").values, sign_groups(weight)
    for r in range(len(groups)):
        at = slice(groups.indptr[r], groups.indptr[r + 1])
        terms = np.abs(weight[groups.neuron[r], groups.columns[at]]) * patches[:, :, groups.columns[at]]
        z = terms.sum(axis=2, keepdims=True)
        shares = np.divide(terms, z, out=np.zeros_like(terms), where=z > 0)
        assert found[at] == pytest.approx(patch_mean_sensitivities(shares), rel=1e-12)
        assert (found[at] <= patch_sensitivities(shares) + 1e-12).all()


@pytest.mark.parametrize(
    ("method", "text"),
    [
        (SiPP(nnz=0), "nnz must be a whole number of at least 1"),
        (SiPP(nnz=10, delta=1.0), r"delta must be in \(0, 1\)"),
        (SiPPDet(nnz=10, C=0.5), "C must be at least 1 and at most 1e9, or None, got C=0.5"),
        (SiPPDet(nnz=10, C=math.nan), "C must be at least 1"),
        (SiPPRand(nnz=10, rule=Rule.BINOMIAL), "rule must be kl or bernstein"),
        (SiPPThreshold(nnz=10, law=Law.MULTINOMIAL), "law must be pivotal or poisson"),
    ],
)
def test_arguments_out_of_range_are_refused(method: Compressor, text: str) -> None:
    with pytest.raises(InvalidParameter, match=text):
        compress(NET, method, POINTS, rng=0)


def test_names_are_unique() -> None:
    assert len({m.name for m in METHODS}) == len(METHODS) == 5


def test_a_stream_that_can_be_read_only_once_is_refused() -> None:
    used = iter([IMAGES])
    with pytest.raises(InvalidParameter, match="at least one point each time"):
        compress(conv(), SiPPDet(nnz=100), lambda: used, rng=0)


@pytest.mark.parametrize("distinct", [1, 5, 200])
def test_points_that_stand_in_both_halves_calibrate_no_factor(distinct: int) -> None:
    x = np.random.default_rng(0).random((distinct, 6))
    x = np.tile(np.repeat(x, 2, axis=0), (400 // distinct, 1))  # a point and its copy, in a row
    assert math.inf == calibrate(random_network((6, 3), rng=0), x, None, 0.05, theorem="baykal2022_sipp_det").C
    fresh = np.random.default_rng(1).random((800, 6))
    assert math.inf > calibrate(random_network((6, 3), rng=0), fresh, None, 0.05, theorem="baykal2022_sipp_det").C
