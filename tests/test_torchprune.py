"""Our numbers beside those of the authors' own code, torchprune 2.2.0: equal where both are right, explained where not.

tests/reference/torchprune.npz holds what its classes computed; README.md beside it says how. Theirs are in single
precision; no activation of these nets is rounded in it, so that both sides measure the same numbers.
"""

from __future__ import annotations

import copy
import math
from functools import cache

import numpy as np
import pytest
from scipy.stats import binom

from boundlab.compressors.calibration import calibrate
from boundlab.coresets.allocation import expected_distinct, top_sizes
from boundlab.coresets.error_functions import bernstein_eps, hybrid_error, published_eps
from boundlab.coresets.layer_budget import released_channel_size
from boundlab.coresets.top_k import dropped_sum, keep_largest, patch_mean_sensitivities, patch_sensitivities
from boundlab.nets.channels import channel_sensitivities, single_weight_sensitivities
from boundlab.nets.groups import parts, sign_groups
from boundlab.nets.module_net import ModuleNet
from boundlab.records import Groups, Sensitivities
from tests.reference.torchprune_run import (
    EPS,
    FILE,
    INPUTS,
    NETS,
    ROW,
    ROW_DELTA,
    ROW_DRAWS,
    SETTINGS,
    TINY,
    module,
    place,
    reference,
)

THEIRS = dict(np.load(FILE))
CASES = [pytest.param(name, kind, id=f"{name}-{kind}") for name in NETS for kind in INPUTS]
CONVOLUTIONS = [pytest.param("conv", kind, id=f"conv-{kind}") for kind in INPUTS]
CUT_OFF = 2.0**-23
CLOSE = 1e-5  # relative, entry by entry


@cache
def net_of(name: str) -> ModuleNet:
    start = f"{name}/state/"
    state = {key.removeprefix(start): value for key, value in THEIRS.items() if key.startswith(start)}
    return ModuleNet(module(name, state), THEIRS[f"{name}/plain/x"])


@cache
def ours(name: str, kind: str) -> list[Sensitivities]:
    return list(calibrate(net_of(name), THEIRS[f"{name}/{kind}/x"], 1.0, 0.05, theorem="baykal2022_sipp_det").own)


@cache
def vectors(name: str, kind: str) -> list[np.ndarray]:
    """What each layer reads: (points or their two parts, patches, in) >= 0."""
    net = net_of(name)
    seen: list[list[np.ndarray]] = [[] for _ in net.layers]
    net.visit(THEIRS[f"{name}/{kind}/x"], lambda k, u: seen[k].append(np.concatenate(parts(u))))
    return [np.concatenate(blocks) for blocks in seen]


def shares(weight: np.ndarray, u: np.ndarray, *, above: float = 0.0) -> np.ndarray:
    """g_j(x, p) by its definition, (points, patches, edges) in the order of the groups; 0 where z <= above."""
    groups = sign_groups(weight)
    blocks = []
    for neuron, first, last in zip(groups.neuron, groups.indptr, groups.indptr[1:], strict=False):
        columns = groups.columns[first:last]
        terms = np.abs(weight[neuron, columns]) * u[:, :, columns]
        z = terms.sum(axis=2, keepdims=True)
        blocks.append(np.divide(terms, z, out=np.zeros_like(terms), where=z > above))
    return np.concatenate(blocks, axis=2)


def edges(weight: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Their tensor of one number per weight, read along our edges."""
    return sign_groups(weight).take(theirs.reshape(weight.shape).astype(np.float64))


def per_group(groups: Groups, theirs: np.ndarray) -> np.ndarray:
    """Their (2, filters) numbers, positive signs first, as one number for each of our groups."""
    return theirs[(groups.sign < 0).astype(np.int64), groups.neuron]


def kernel(name: str, k: int) -> int:
    return math.prod(net_of(name).layers[k].shape[2:])


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_no_activation_of_these_nets_is_rounded_in_single_precision(name: str, kind: str) -> None:
    x, net = THEIRS[f"{name}/{kind}/x"], net_of(name)
    double = ModuleNet(copy.deepcopy(net.module).double(), x)
    exact: list[np.ndarray] = []
    double.visit(x, lambda k, u: exact.append(u))
    seen: list[np.ndarray] = []
    net.visit(x, lambda k, u: seen.append(u))
    assert all((a == b).all() for a, b in zip(exact, seen, strict=True))
    assert (double(x) == net(x)).all()


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_weight_sensitivities_are_those_of_the_released_code(name: str, kind: str) -> None:
    """Every entry, zeros too. Neither side counts a bias, and both split a signed input into two parts."""
    assert any(layer.bias.any() for layer in net_of(name).layers)
    for k, (layer, own) in enumerate(zip(net_of(name).layers, ours(name, kind), strict=True)):
        theirs = THEIRS[f"{name}/{kind}/max/{k}"]
        assert own.values == pytest.approx(edges(layer.weight, theirs), rel=CLOSE, abs=0)
        assert not theirs.reshape(layer.weight.shape)[layer.weight == 0].any()


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_the_deterministic_methods_mean_over_patches_is_what_we_name_so(name: str, kind: str) -> None:
    for k, (layer, u) in enumerate(zip(net_of(name).layers, vectors(name, kind), strict=True)):
        theirs = edges(layer.weight, THEIRS[f"{name}/{kind}/mean/{k}"])
        assert patch_mean_sensitivities(shares(layer.weight, u)) == pytest.approx(theirs, rel=CLOSE, abs=0)
        if u.shape[1] == 1:  # one patch: no difference
            assert ours(name, kind)[k].values == pytest.approx(theirs, rel=CLOSE, abs=0)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_the_deterministic_budget_and_its_error_are_those_of_the_released_code(name: str, kind: str) -> None:
    """With its own (mean) sensitivities. It was asked for C = 3 and computes with C = 1, half of all weights kept."""
    layers = net_of(name).layers
    values = [edges(layer.weight, THEIRS[f"{name}/{kind}/mean/{k}"]) for k, layer in enumerate(layers)]
    groups = [sign_groups(layer.weight) for layer in layers]
    starts = np.cumsum([0, *(len(v) for v in values)])
    indptr = np.concatenate([[0], *(g.indptr[1:] + s for g, s in zip(groups, starts, strict=False))])
    sizes = top_sizes(np.concatenate(values), indptr, net_of(name).nnz // 2)
    theirs = [per_group(g, THEIRS[f"{name}/{kind}/det_sizes/{k}"]) for k, g in enumerate(groups)]
    assert sizes.tolist() == np.concatenate(theirs).tolist()
    assert THEIRS[f"{name}/{kind}/det_constant"] == 1.0
    for k, (g, value, size) in enumerate(zip(groups, values, theirs, strict=True)):
        lost = dropped_sum(value, g.indptr, keep_largest(value, g.indptr, size))
        # theirs adds in single precision, one number after the other
        assert lost == pytest.approx(per_group(g, THEIRS[f"{name}/{kind}/det_errors/{k}"]), rel=CLOSE, abs=0)


@pytest.mark.parametrize(("name", "kind"), CONVOLUTIONS)
def test_the_mean_over_patches_promises_less_error_than_a_calibration_patch_has(name: str, kind: str) -> None:
    """What is kept and what is promised are both its own. With the largest share over patches the promise holds."""
    at_1, at_3, small_total = 0, 0, 0
    for k, (layer, u) in enumerate(zip(net_of(name).layers, vectors(name, kind), strict=True)):
        groups, g = sign_groups(layer.weight), shares(layer.weight, u)
        mean = edges(layer.weight, THEIRS[f"{name}/{kind}/mean/{k}"])
        keep = keep_largest(mean, groups.indptr, per_group(groups, THEIRS[f"{name}/{kind}/det_sizes/{k}"]))
        lost = np.array([groups.sums(row) for row in np.where(keep, 0.0, g).reshape(-1, g.shape[-1])]).max(axis=0)
        promised = per_group(groups, THEIRS[f"{name}/{kind}/det_errors/{k}"])
        assert (lost <= dropped_sum(patch_sensitivities(g), groups.indptr, keep)).all()
        if u.shape[1] == 1:
            assert (lost <= promised * (1 + CLOSE)).all()
        at_1 += np.count_nonzero(lost > promised * (1 + CLOSE))
        at_3 += np.count_nonzero(lost > 3 * promised * (1 + CLOSE))
        # where any sum is positive, the shares at that patch add up to 1; their means over patches need not
        alive = groups.sums(g.max(axis=(0, 1))) > 0
        assert (ours(name, kind)[k].total[alive] >= 1 - 1e-12).all()
        small_total += np.count_nonzero(groups.sums(mean)[alive] < 1 - CLOSE)
    assert at_1 > 0  # with the C = 1 that it computes with
    assert at_3 > 0  # and with the C = 3 that it was asked for
    assert small_total > 0


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_channel_sensitivities_of_the_released_code_are_those_of_single_weights(name: str, kind: str) -> None:
    """Too small where a kernel has several positions: some channel's share at a calibration patch is larger."""
    exceeded = 0
    for k, (layer, u) in enumerate(zip(net_of(name).layers, vectors(name, kind), strict=True)):
        positions = kernel(name, k)
        weight = layer.weight.reshape(len(layer.weight), -1, positions)
        patches = u.reshape(-1, *weight.shape[1:])
        theirs = THEIRS[f"{name}/{kind}/channels/{k}"].astype(np.float64)
        assert single_weight_sensitivities(weight, patches) == pytest.approx(theirs, rel=CLOSE, abs=0)
        right = channel_sensitivities(weight, patches)
        if positions == 1:
            assert right == pytest.approx(theirs, rel=CLOSE, abs=0)
        else:
            assert (right >= theirs * (1 - CLOSE)).all()
            assert (right <= positions * theirs * (1 + CLOSE)).all()
            exceeded += np.count_nonzero(right > theirs * (1 + CLOSE))
    assert (exceeded > 0) == (name == "conv")


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_the_filter_methods_sizes_follow_from_the_size_that_we_name_released(name: str, kind: str) -> None:
    """At three eps, and on both sides of the jump at which its search for half of the weights ends, far above 1."""

    def kept(eps: float) -> tuple[list[float], list[int]]:
        sizes, channels = [], []
        for k, patches in enumerate(THEIRS[f"{name}/{kind}/patches"]):
            s = THEIRS[f"{name}/{kind}/channels/{k}"].astype(np.float64)
            sizes.append(released_channel_size(s.sum(), eps, 1e-16, patches=int(patches), kernel=kernel(name, k)))
            channels.append(math.ceil(expected_distinct(s / s.sum(), np.array([0, len(s)]), np.array(sizes[-1:]))[0]))
        return sizes, channels

    for e, eps in enumerate(EPS):
        theirs = THEIRS[f"{name}/{kind}/channel_sizes/{e}"], THEIRS[f"{name}/{kind}/channels_kept/{e}"]
        assert kept(eps) == tuple(t.tolist() for t in theirs)
    root, found = float(THEIRS[f"{name}/{kind}/channel_eps"]), THEIRS[f"{name}/{kind}/channel_allocation"]
    assert root > 200
    assert (found <= kept(root * (1 - CLOSE))[1]).all()
    assert (found >= kept(root * (1 + CLOSE))[1]).all()


@pytest.mark.parametrize("setting", range(len(SETTINGS)))
@pytest.mark.parametrize(("name", "kind"), CASES)
def test_the_randomised_error_is_the_one_that_we_name_published(name: str, kind: str, setting: int) -> None:
    """Its logarithm is ln(8 (P+1) k1k2/delta). Half of the variance term is missing: Bernstein's eps is larger."""
    delta, C = SETTINGS[setting]
    ratios = []
    for k, own in enumerate(ours(name, kind)):
        events = 4 * (int(THEIRS[f"{name}/{kind}/patches"][k]) + 1) * kernel(name, k)
        size = per_group(own.groups, THEIRS[f"{name}/{kind}/sizes/{setting}/{k}"])
        theirs = per_group(own.groups, THEIRS[f"{name}/{kind}/eps/{setting}/{k}"])
        assert published_eps(own.total, size, delta / events, K=C) == pytest.approx(theirs, rel=CLOSE, abs=0)
        some = theirs > 0
        assert (some == (own.total > 0)).all()
        ratios.append(bernstein_eps(own.total, size, delta / events, K=C)[some] / theirs[some])
    ratio = np.concatenate(ratios)
    assert ratio.min() > 1.0
    assert ratio.max() < math.sqrt(2)


def test_the_randomised_error_fails_far_more_often_than_it_claims() -> None:
    """At a calibration point of a row of equal weights the estimate is ROW/N times a binomial count: exact tails."""
    assert THEIRS["row/max/0"].ravel().tolist() == [1.0] * ROW
    claimed, right = float(THEIRS["row/eps"][0]), bernstein_eps(np.array([float(ROW)]), ROW_DRAWS, ROW_DELTA)[0]
    assert published_eps(np.array([float(ROW)]), ROW_DRAWS, ROW_DELTA)[0] == pytest.approx(claimed, rel=CLOSE)

    def failure(eps: float) -> float:
        mean = ROW_DRAWS / ROW
        above, below = math.floor((1 + eps) * mean), math.ceil((1 - eps) * mean) - 1
        return float(binom.sf(above, ROW_DRAWS, 1 / ROW) + binom.cdf(below, ROW_DRAWS, 1 / ROW))

    assert failure(claimed) > 100 * ROW_DELTA
    assert failure(right) < ROW_DELTA


@pytest.mark.parametrize("setting", range(len(SETTINGS)))
@pytest.mark.parametrize(("name", "kind"), CASES)
def test_the_hybrid_choice_is_the_released_codes_first_reading(name: str, kind: str, setting: int) -> None:
    """It writes its choice into the sizes it was given; a second reading takes what was to be drawn for nothing."""
    delta, C = SETTINGS[setting]
    for k, own in enumerate(ours(name, kind)):
        events = 4 * (int(THEIRS[f"{name}/{kind}/patches"][k]) + 1) * kernel(name, k)
        size, first, second, lost = (
            per_group(own.groups, THEIRS[f"{name}/{kind}/{key}/{setting}/{k}"])
            for key in ("sizes", "hybrid", "hybrid_again", "dropped")
        )
        dropped = dropped_sum(own.values, own.groups.indptr, keep_largest(own.values, own.groups.indptr, size), K=C)
        assert dropped == pytest.approx(lost, rel=CLOSE, abs=0)
        kept, _ = hybrid_error(dropped, published_eps(own.total, size, delta / events, K=C))
        assert np.where(kept, size, -size).tolist() == first.tolist()
        assert np.where(kept, size, 0).tolist() == second.tolist()


def test_the_two_settings_show_both_choices() -> None:
    signs = np.sign(np.concatenate([v.ravel() for key, v in THEIRS.items() if "/hybrid/" in key]))
    assert set(signs.tolist()) == {-1, 1}


@pytest.mark.parametrize("name", NETS)
def test_the_cut_off_of_sums_makes_the_released_code_depend_on_units(name: str) -> None:
    """A sum of at most 1.19e-7 counts as infinite there. Shares have no unit; ours are the same at every scale."""
    layer, x = net_of(name).layers[0], THEIRS[f"{name}/plain/x"] * np.float32(TINY)
    own = calibrate(net_of(name), x, 1.0, 0.05, theorem="baykal2022_sipp_det").own[0]
    assert own.values == pytest.approx(ours(name, "plain")[0].values, rel=1e-12, abs=0)
    g = shares(layer.weight, vectors(name, "plain")[0] * TINY, above=CUT_OFF)
    largest, mean = (edges(layer.weight, THEIRS[f"{name}/tiny/{key}/0"]) for key in ("max", "mean"))
    assert patch_sensitivities(g) == pytest.approx(largest, rel=CLOSE, abs=0)
    assert patch_mean_sensitivities(g) == pytest.approx(mean, rel=CLOSE, abs=0)
    assert (largest < own.values * (1 - CLOSE)).any()


def test_the_file_is_what_the_released_code_computes() -> None:
    if place() is None:
        pytest.skip("torchprune is not on PYTHONPATH; see tests/reference/README.md")
    fresh = reference()
    assert fresh.keys() == THEIRS.keys()
    for key, value in fresh.items():
        assert value == pytest.approx(THEIRS[key], rel=1e-6, abs=0), key
