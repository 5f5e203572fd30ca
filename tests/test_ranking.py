"""Measures against gaps: every statistic against another implementation, plain enumeration, or a table done by hand."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from scipy.stats import kendalltau
from sklearn.metrics import mutual_info_score

from boundlab._errors import InvalidParameter
from boundlab.rank_statistics import conditional_information, granulated_tau, kendall_tau, sign_errors
from boundlab.ranking import STATISTICS, rank_measures


def sign(a: float, b: float) -> int:
    return int(a > b) - int(a < b)


def grid(seeds: int = 2, noise: float = 0.3, seed: int = 0) -> dict[str, np.ndarray]:
    """A family on a full grid of width x depth x rate, with a gap that falls with width and rises with depth."""
    rng = np.random.default_rng(seed)
    rows = list(itertools.product((8, 16, 32), (1, 2), (0.1, 0.2), range(seeds)))
    width, depth, rate, _ = (np.array(column) for column in zip(*rows, strict=True))
    gap = 0.02 * depth - 0.01 * np.log2(width) + 0.01 * noise * rng.normal(size=len(rows)) + 0.1
    training = np.round(0.05 * rng.random(len(rows)), 3)
    return {
        "width": width,
        "depth": depth,
        "rate": rate,
        "training_error": training,
        "test_error": training + np.round(gap, 4),
        "depth again": depth + 0.0,
        "coin": rng.random(len(rows)),
        "gap itself": np.round(gap, 4),
    }


AXES: tuple[str, ...] = ("width", "depth", "rate")


def axes_of(family: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: family[name] for name in AXES}


@pytest.mark.parametrize("seed", range(5))
def test_tau_is_scipys_where_nothing_ties(seed: int) -> None:
    a, b = np.random.default_rng(seed).random((2, 30))
    expected: Any = kendalltau(a, b)
    assert kendall_tau(a, b) == pytest.approx(expected.statistic, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_with_ties_tau_is_scipys_with_its_correction_undone(seed: int) -> None:
    a, b = np.random.default_rng(seed).integers(0, 4, (2, 25))
    pairs = len(a) * (len(a) - 1) / 2
    untied = [pairs - sum(c * (c - 1) / 2 for c in np.unique(v, return_counts=True)[1]) for v in (a, b)]
    expected: Any = kendalltau(a, b)  # tau-b: divided by the root of both numbers of untied pairs
    assert kendall_tau(a, b) == pytest.approx(expected.statistic * math.sqrt(untied[0] * untied[1]) / pairs, abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_every_statistic_is_what_plain_enumeration_finds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    family = grid(seed=seed)
    keep = rng.permutation(24)[:20]  # no full grid
    family = {name: values[keep] for name, values in family.items()}
    measure, gap = rng.integers(0, 6, 20), rng.integers(0, 5, 20) / 100
    settings = list(zip(*axes_of(family).values(), strict=True))

    def agree(i: int, j: int) -> int:
        return sign(measure[i], measure[j]) * sign(gap[i], gap[j])

    pairs = list(itertools.combinations(range(20), 2))
    assert kendall_tau(measure, gap) == pytest.approx(float(Fraction(sum(agree(*p) for p in pairs), len(pairs))))
    psi = {}
    for k, name in enumerate(AXES):
        groups: dict[Any, list[int]] = {}
        for i, j in pairs:
            changed = [a != b for a, b in zip(settings[i], settings[j], strict=True)]
            if changed[k] and sum(changed) == 1:
                groups.setdefault(settings[i][:k] + settings[i][k + 1 :], []).append(agree(i, j))
        psi[name] = float(np.mean([np.mean(group) for group in groups.values()]))
    whole, each = granulated_tau(measure, gap, axes_of(family))
    assert each == pytest.approx(psi)
    assert whole == pytest.approx(np.mean(list(psi.values())))
    environments: dict[Any, list[float]] = {}
    for i, j in pairs:
        differ = sum(a != b for a, b in zip(settings[i], settings[j], strict=True))
        if differ == 1 and gap[i] != gap[j]:
            environments.setdefault(frozenset((settings[i], settings[j])), []).append((1 - agree(i, j)) / 2)
    found = sign_errors(measure, gap, axes_of(family))
    assert sorted(found.values()) == pytest.approx(sorted(np.mean(e) for e in environments.values()))


@pytest.mark.parametrize("seed", range(3))
def test_information_is_sklearns_in_each_cell_of_the_condition(seed: int) -> None:
    family = grid(seed=seed)
    rng = np.random.default_rng(seed)
    measure, gap = rng.integers(0, 8, 24), rng.integers(0, 8, 24)
    for names in ((), ("width",), ("width", "rate")):
        cells: dict[Any, list[tuple[int, int]]] = {}
        for i, j in itertools.permutations(range(24), 2):
            at = tuple((family[n][i], family[n][j]) for n in names)
            cells.setdefault(at, []).append((sign(measure[i], measure[j]), sign(gap[i], gap[j])))
        information = entropy = 0.0
        for signs in cells.values():
            of_measure, of_gap = zip(*signs, strict=True)
            information += len(signs) / (24 * 23) * mutual_info_score(of_measure, of_gap)
            entropy += len(signs) / (24 * 23) * mutual_info_score(of_gap, of_gap)
        found = conditional_information(measure, gap, {n: family[n] for n in names})
        assert found == pytest.approx(information / entropy, abs=1e-9)


def test_information_of_a_table_done_by_hand() -> None:
    """Ranks 1, 2, 3, 4 against 1, 2, 4, 3: of 12 ordered pairs 10 agree, so I/H = 1 - h(1/6) in bits."""
    h = -(math.log2(1 / 6) / 6 + 5 * math.log2(5 / 6) / 6)
    assert conditional_information([1, 2, 3, 4], [0.1, 0.2, 0.4, 0.3], {}) == pytest.approx(1 - h)


def test_the_condition_can_explain_a_measure_away() -> None:
    """Depth decides the gap; a measure that is depth knows everything, and nothing once depth is known."""
    family = grid(seeds=1, noise=0.0)
    gap = 0.01 * family["depth"] + 1e-4 * np.arange(12)
    assert kendall_tau(family["depth"], gap) > 0.5
    assert conditional_information(family["depth"], gap, {}) > 0.3
    assert conditional_information(family["depth"], gap, {"depth": family["depth"]}) == pytest.approx(0.0, abs=1e-12)


def test_a_condition_that_decides_the_sign_leaves_nothing_to_tell() -> None:
    """Two nets, told apart by the condition: the entropy is 0, and the quotient no number."""
    assert math.isnan(conditional_information([1, 2], [0.1, 0.2], {"width": [8, 16]}))


def test_a_net_paired_with_itself_would_look_like_information() -> None:
    """What not to compute: self-pairs counted as "smaller" on both sides, as a widespread scoring program does.

    Ranks 1, 2, 3, 4 against 2, 4, 1, 3: of 12 ordered pairs each combination of signs has 3, so that nothing is told.
    With 4 self-pairs the table is (7, 3, 3, 3) of 16, and something seems to be.
    """
    measure, gap = [1, 2, 3, 4], [0.2, 0.4, 0.1, 0.3]
    assert kendall_tau(measure, gap) == 0.0
    assert conditional_information(measure, gap, {}) == pytest.approx(0.0, abs=1e-12)
    signs = [(sign(measure[i], measure[j]) or -1, sign(gap[i], gap[j]) or -1) for i in range(4) for j in range(4)]
    by_hand = (7 * math.log(7 * 16 / 100) + 6 * math.log(3 * 16 / 60) + 3 * math.log(3 * 16 / 36)) / 16
    assert mutual_info_score(*zip(*signs, strict=True)) == pytest.approx(by_hand)
    assert by_hand > 0.019


@pytest.mark.parametrize("change", [np.exp, np.log, lambda m: 3.0 * m - 1e6, lambda m: m**-1 * -1.0])
def test_a_monotone_change_of_the_measure_changes_nothing(change: Any) -> None:
    family = grid()
    measure, gap, axes = 1.0 + family["coin"], family["gap itself"], axes_of(family)
    moved = change(measure)
    assert kendall_tau(moved, gap) == kendall_tau(measure, gap)
    assert granulated_tau(moved, gap, axes) == granulated_tau(measure, gap, axes)
    assert sign_errors(moved, gap, axes) == sign_errors(measure, gap, axes)
    assert conditional_information(moved, gap, axes) == conditional_information(measure, gap, axes)


def test_turning_the_measure_round_turns_the_signs_and_keeps_the_information() -> None:
    family = grid()
    measure, gap, axes = family["coin"], family["gap itself"], axes_of(family)
    assert kendall_tau(-measure, gap) == -kendall_tau(measure, gap)
    assert granulated_tau(-measure, gap, axes)[0] == pytest.approx(-granulated_tau(measure, gap, axes)[0])
    turned = sign_errors(-measure, gap, axes)
    assert turned == pytest.approx({name: 1 - error for name, error in sign_errors(measure, gap, axes).items()})
    for given in ({}, {"width": axes["width"]}):
        one, other = (conditional_information(m, gap, given) for m in (measure, -measure))
        assert one == pytest.approx(other)


def test_the_order_of_the_nets_does_not_matter() -> None:
    family, order = grid(), np.random.default_rng(3).permutation(24)
    mixed = {name: values[order] for name, values in family.items()}
    one, other = (rank_measures(f, axes=AXES, measures=["coin"], resamples=10).lines[0] for f in (family, mixed))
    for name in STATISTICS:
        assert getattr(one, name).value == pytest.approx(getattr(other, name).value)
    assert one.axes == pytest.approx(other.axes)


def test_an_infinite_measure_is_the_largest_and_ties_with_itself() -> None:
    assert kendall_tau([1.0, math.inf, math.inf], [0.1, 0.2, 0.3]) == pytest.approx(2 / 3)


def test_rounding_of_the_gaps_makes_no_order() -> None:
    """0.03 - 0.01 and 0.02 - 0 differ in the last bit, and are the same gap."""
    assert 0.03 - 0.01 != 0.02
    family = {
        "training_error": [0.01, 0.0, 0.0],
        "test_error": [0.03, 0.02, 0.05],
        "width": [8, 16, 32],
        "m": [2, 1, 3],
    }
    found = rank_measures(family, axes=["width"], measures=["m"], resamples=5).lines[0]
    assert found.tau.value == pytest.approx(2 / 3)


@pytest.mark.parametrize("kind", [np.uint8, bool, np.int64, np.float32, np.float64])
def test_the_type_of_the_errors_changes_nothing(kind: type) -> None:
    """Gaps -1, 0, 1, 1 are ranked 1, 2, 3, 4: five of six pairs agree and one ties, in small types that wrap too."""
    family = {"training_error": np.array([1, 0, 0, 0], kind), "test_error": np.array([0, 0, 1, 1], kind)}
    family |= {"width": [1, 2, 3, 4], "m": [1, 2, 3, 4]}
    assert rank_measures(family, axes=["width"], measures=["m"], resamples=5).lines[0].tau.value == pytest.approx(5 / 6)


def test_rounding_in_single_precision_makes_no_order() -> None:
    training, test = np.array([0.2, 0.1, 0.0], np.float32), np.array([0.3, 0.2, 0.5], np.float32)
    assert float(test[0] - training[0]) != float(test[1] - training[1])
    family = {"width": [1, 2, 3], "m": [2, 1, 3], "training_error": training, "test_error": test}
    assert rank_measures(family, axes=["width"], measures=["m"], resamples=5).lines[0].tau.value == pytest.approx(2 / 3)
    assert kendall_tau([2, 1, 3], test - training) == pytest.approx(2 / 3)


@pytest.mark.parametrize("scale", [1e-300, 1e-14, 1.0, 1e300])
def test_the_scale_of_the_gaps_does_not_matter(scale: float) -> None:
    assert kendall_tau([1, 2, 3], scale * np.array([-1.0, 0.5, 1.5])) == 1.0
    assert kendall_tau([1, 2, 3], scale * np.array([1.0, 1.0 + 1e-13, 1.5])) == pytest.approx(2 / 3)


def test_gaps_below_the_resolution_tie() -> None:
    family = {"training_error": np.zeros(3), "test_error": [0.10, 0.11, 0.20], "width": [8, 16, 32], "m": [2, 1, 3]}
    taus = [
        rank_measures(family, axes=["width"], measures=["m"], resolution=r, resamples=5).lines[0].tau.value
        for r in (0.0, 0.02)
    ]
    assert taus == pytest.approx([1 / 3, 2 / 3])


def test_a_perfect_measure_has_full_marks_and_its_opposite_none() -> None:
    family = grid(seeds=1)
    family["opposite"] = -family["gap itself"]
    found = rank_measures(family, axes=AXES, measures=["gap itself", "opposite"], resamples=40)
    perfect, opposite = found.lines
    assert (perfect.tau.value, perfect.granulated.value, perfect.robust.value, perfect.sign_error) == (
        1.0,
        1.0,
        0.0,
        0.0,
    )
    assert (opposite.tau.value, opposite.robust.value) == (-1.0, 1.0)
    assert perfect.information.value == opposite.information.value == pytest.approx(1.0)
    assert perfect.tau.interval == (1.0, 1.0)
    assert perfect.tau.p == perfect.robust.p == pytest.approx(1 / 41)


def test_the_information_of_a_ranking_is_the_least_over_all_conditions() -> None:
    family = grid()
    line = rank_measures(family, axes=AXES, measures=["depth again"], resamples=5).lines[0]
    gap = family["test_error"] - family["training_error"]
    each = {
        names: conditional_information(family["depth again"], np.round(gap, 6), {n: family[n] for n in names})
        for size in range(3)
        for names in itertools.combinations(AXES, size)
    }
    assert line.information.value == pytest.approx(min(each.values()), abs=1e-12)
    assert each[line.given] == pytest.approx(line.information.value, abs=1e-12)


def test_a_coin_for_each_value_of_an_axis_has_a_small_p_though_it_knows_nothing() -> None:
    """The limit of p: it tests that values are exchangeable among the settings, which such coins are not.

    The gap rises with depth in every family; a coin for the two depths, right or wrong, always reaches the largest
    |granulated tau| of the depths, and p <= 0.1 far more often than in one of ten families.
    """
    small = 0
    for seed in range(20):
        family = grid(seed=seed)
        coins = np.random.default_rng([8, seed]).random(2)
        family["m"] = coins[family["depth"] - 1]
        line = rank_measures(family, axes=AXES, measures=["m"], resamples=39, rng=seed).lines[0]
        assert abs(line.axes["depth"]) == 1.0
        small += line.granulated.p <= 0.1
    assert small >= 10, small


def test_a_measure_whose_values_are_exchangeable_among_the_settings_is_rarely_found_to_know_something() -> None:
    """A p <= 0.1 has probability at most 0.1 for each statistic: of 60 families at most 13 may show it.

    P(Bin(60, 0.1) > 13) < 0.4 %, for each of four statistics: false alarms below 1.6 %; the seeds are fixed.
    """
    small = dict.fromkeys(STATISTICS, 0)
    for seed in range(60):
        rng = np.random.default_rng([7, seed])
        width, rate = np.repeat([8, 16, 32, 64], 4), np.tile([1, 1, 2, 2], 4)
        family = {"width": width, "rate": rate, "training_error": np.zeros(16), "test_error": rng.random(16)}
        family["m"] = (10 * rng.random((4, 2))[:, [0, 0, 1, 1]].ravel()) + 0.1 * rng.random(16)  # seeds stay together
        line = rank_measures(family, axes=["width", "rate"], measures=["m"], resamples=39, rng=seed).lines[0]
        for name in STATISTICS:
            small[name] += getattr(line, name).p <= 0.1
    assert max(small.values()) <= 13, small


def test_seeds_of_one_setting_stay_together_when_values_are_dealt_anew() -> None:
    """A measure of the setting alone: dealt among the 12 settings its tau is spread far more than among 48 nets."""
    family = grid(seeds=4)
    family["setting"] = np.repeat(np.random.default_rng(0).random(12), 4)
    found = rank_measures(family, axes=AXES, measures=["setting", "coin"], resamples=200, rng=1)
    setting, coin = (line.tau.noise[1] - line.tau.noise[0] for line in found.lines)
    assert setting > 1.3 * coin


def test_same_seed_same_ranking_and_a_frame_does_as_well() -> None:
    family = grid()
    one, other = (
        rank_measures(f, axes=AXES, measures=["coin", "depth again"], resamples=20, rng=5)
        for f in (family, pd.DataFrame(family))
    )
    pd.testing.assert_frame_equal(one.to_frame(), other.to_frame())
    assert (one.nets, one.settings) == (24, 12)
    assert {"measure", "tau", "tau_low", "granulated_p", "information", "robust", "tau, depth"} <= set(one.to_frame())


def test_the_environment_with_the_largest_error_is_named() -> None:
    family = {"width": [8, 16, 8, 16], "rate": [1, 1, 2, 2], "training_error": np.zeros(4)}
    family |= {"test_error": [0.1, 0.2, 0.3, 0.4], "m": [1, 2, 4, 3]}
    line = rank_measures(family, axes=["width", "rate"], measures=["m"], resamples=5).lines[0]
    assert (line.robust.value, line.environment) == (1.0, "width: 8 -> 16 | rate 2")


def test_progress_is_told_and_an_interruption_passes() -> None:
    told: list[tuple[float, str]] = []
    rank_measures(grid(), axes=AXES, measures=["coin"], resamples=3, progress=lambda *t: told.append(t))
    assert told == [(0.0, "coin"), (1.0, "done")]

    def stop(share: float, text: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rank_measures(grid(), axes=AXES, measures=["coin"], progress=stop)


def broken(**changes: Any) -> dict[str, Any]:
    return grid() | changes


@pytest.mark.parametrize(
    ("family", "options", "rule"),
    [
        (broken(), {"measures": ["absent"]}, "family must have a column 'absent'"),
        (broken(coin=np.full(24, np.nan)), {}, "coin must have shape"),
        (broken(coin=["a"] * 24), {}, "coin must be numbers"),
        (broken(coin=np.ones(5)), {}, "coin must have shape"),
        (broken(coin=["1"] * 24), {}, "coin must be numbers"),
        (broken(coin=np.ma.masked_array(np.ones(24), np.arange(24) == 3)), {}, "coin must have no masked entries"),
        (broken(rate=np.ma.masked_array(np.ones(24), np.arange(24) == 3)), {}, "rate must have no masked entries"),
        (broken(test_error=np.ma.masked_array(np.ones(24), np.arange(24) == 3)), {}, "test_error must have no masked"),
        (broken(rate=np.array([None, "a"] * 12, object)), {}, "rate must hold values of one kind"),
        (broken(training_error=["0"] * 24), {}, "training_error must be numbers"),
        (broken(training_error=np.zeros(5)), {}, "training_error must have shape"),
        (broken(rate=np.ones(3)), {}, "rate must have shape"),
        (broken(test_error=np.full(24, 1.5)), {}, "test_error must be in"),
        (broken(rate=np.ones(24)), {}, "every axis must change alone between some nets, rate never does"),
        (broken(test_error=np.ones(24), training_error=np.zeros(24)), {}, "gaps must differ"),
        (broken(), {"resolution": -1.0}, "resolution must be at least 0"),
        (broken(), {"resolution": "0"}, "resolution must be at least 0"),
        (broken(), {"resamples": 0}, "resamples must be"),
        (broken(), {"measures": []}, "axes and measures must name at least one column"),
    ],
)
def test_a_broken_family_is_refused(family: dict[str, Any], options: dict[str, Any], rule: str) -> None:
    with pytest.raises(InvalidParameter, match=rule):
        rank_measures(family, **{"axes": AXES, "measures": ["coin"], **options})


def test_the_figure_shows_every_measure_with_its_interval() -> None:
    found = rank_measures(grid(), axes=AXES, measures=["coin", "depth again", "gap itself"], resamples=20)
    figure = Figure(figsize=(7, 3), layout="constrained")
    ax = found.plot(figure.subplots())
    assert [label.get_text() for label in ax.get_yticklabels()] == ["gap itself", "depth again", "coin"]
    figure.draw_without_rendering()
    for text in (*ax.texts, *ax.get_yticklabels()):
        box = text.get_window_extent()
        assert min(box.x0, box.y0) >= -1, text.get_text()
        assert (box.p1 <= np.array(figure.bbox.size) + 1).all(), text.get_text()
    assert found.plot().figure is not figure
