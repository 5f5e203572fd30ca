"""All bounds side by side: every line is what the bound says alone, what does not apply says why, nothing is hidden."""

from __future__ import annotations

import importlib
import inspect
import math
import pkgutil
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

import boundlab.bounds
from boundlab._errors import InvalidParameter, UnsupportedLayer
from boundlab.bounds.corenet_corollary import CoreNetCorollary
from boundlab.bounds.drawn_net import DrawnNet
from boundlab.bounds.generalization_bound import GeneralizationBound, Sample
from boundlab.bounds.measures import AroraCapacity
from boundlab.bounds.occam import Occam
from boundlab.bounds.parameter_count import StoredBits
from boundlab.bounds.sample_compression import SampleCompression
from boundlab.bounds.spectral import SpectralMargin
from boundlab.bounds.test_set import TestSet
from boundlab.bounds.transfer import SpectralTransfer, UnlabelledTransfer
from boundlab.comparing import CATALOGUE, Compared, Comparison, compare
from boundlab.compressors.corenet import CoreNet, CoreNetBudget
from boundlab.compressors.method import compress
from boundlab.nets.module_net import ModuleNet
from boundlab.nets.toy import random_network
from boundlab.network import Layer, Network
from boundlab.promises import Bound, Premise, Status
from boundlab.report.figures import plot_terms

SOME = [TestSet(), Occam(steps=(1,)), StoredBits(), SpectralMargin(), AroraCapacity(), CoreNetCorollary()]


def task(n: int = 400, *, signed: bool = False) -> tuple[Network, np.ndarray, np.ndarray]:
    """A net, points, and its own labels, one in ten replaced."""
    rng = np.random.default_rng(1)
    net = random_network((5, 6, 3), rng=0)
    x = rng.random((n, 5)) - 0.5 * signed
    y = np.where(rng.random(n) < 0.1, rng.integers(0, 3, n), net(x).argmax(axis=1))
    return net, x, y


def by_name(found: Comparison) -> dict[str, Compared]:
    return {line.name: line for line in found.lines}


def test_every_line_is_what_its_bound_says_alone() -> None:
    net, x, y = task()
    small = compress(net, CoreNet(eps=0.9), x[:50], rng=0)
    found = compare(small, x[:300], y[:300], test=(x[300:], y[300:]), delta=0.1, bounds=SOME)
    assert [line.name for line in found.lines] == [method.name for method in SOME]
    for line, method in zip(found.lines, SOME, strict=True):
        part = slice(300, 400) if method.sample is Sample.FRESH else slice(0, 300)
        alone = replace(method, delta=0.1)(small, x[part], y[part])
        assert line.bound is not None
        assert (line.bound.terms, line.bound.delta, line.bound.facts) == (alone.terms, 0.1, alone.facts)
        assert line.bound.premises[: len(alone.premises)] == alone.premises
        assert line.standing == str(alone.standing)


def test_errors_are_those_of_the_net_and_ties_count() -> None:
    net, x, y = task()
    found = compare(net, x[:300], y[:300], test=(x[300:], y[300:]), bounds=[StoredBits()])
    assert found.training_error == np.mean(net(x[:300]).argmax(axis=1) != y[:300])
    assert found.test_error == np.mean(net(x[300:]).argmax(axis=1) != y[300:])
    dead = net.with_weights([0.0 * layer.weight for layer in net.layers])
    assert compare(dead, x, y, bounds=[StoredBits()]).training_error == 1.0
    assert (found.chance, found.points, found.test_points) == (1 - 1 / 3, 300, 100)


def test_of_a_compression_the_errors_are_those_of_the_compressed_net() -> None:
    net, x, y = task()
    small = compress(net, CoreNetBudget(nnz=6), x[:50], rng=0)
    found = compare(small, x, y, bounds=[StoredBits()])
    assert found.errors == small.net.errors(x, y) != net.errors(x, y)


def test_without_fresh_examples_the_line_says_so() -> None:
    net, x, y = task()
    found = compare(net, x, y, bounds=[TestSet(), StoredBits()])
    line = by_name(found)["test set"]
    assert (line.bound, line.standing) == (None, "does not apply")
    assert "fresh examples" in line.remark
    assert found.test_bound is found.test_error is None
    assert "test set" in found.to_frame().to_string()


def test_a_theorem_that_does_not_cover_the_net_says_why() -> None:
    import torch

    module = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(8, 3))
    x = np.random.default_rng(0).random((60, 1, 4, 4))
    y = np.arange(60) % 3
    found = by_name(compare(module, x, y, bounds=[AroraCapacity(), CoreNetCorollary(), StoredBits()]))
    assert "fully connected" in found["noise stability"].remark
    assert "compression" in found["CoreNet corollary"].remark
    assert found["stored bits"].bound is not None
    same = by_name(compare(ModuleNet(module, x[:1]), x, y, bounds=[StoredBits()]))
    assert same["stored bits"].bound == found["stored bits"].bound


def test_a_fully_connected_module_is_compared_as_the_network_that_it_is() -> None:
    import torch

    net, x, y = task()
    linears = [torch.nn.Linear(5, 6), torch.nn.Linear(6, 3)]
    module = torch.nn.Sequential(linears[0], torch.nn.ReLU(), linears[1]).double()
    with torch.no_grad():
        for linear, layer in zip(linears, net.layers, strict=True):
            linear.weight.copy_(torch.tensor(layer.weight))
            linear.bias.copy_(torch.tensor(layer.bias))
    bounds = [Occam(steps=(1,)), AroraCapacity()]
    one, other = (compare(subject, x, y, bounds=bounds) for subject in (module, net))
    assert [line.bound for line in one.lines] == [line.bound for line in other.lines]
    images = compare(torch.nn.Sequential(torch.nn.Flatten(), module), x.reshape(-1, 1, 5), y, bounds=[StoredBits()])
    assert images.errors == one.errors


def test_each_bound_has_delta_to_itself_and_together_is_their_sum() -> None:
    net, x, y = task()
    found = compare(net, x[:300], y[:300], test=(x[300:], y[300:]), delta=0.1, bounds=SOME)
    assert {line.bound.delta for line in found.lines if line.bound is not None} == {0.1}
    assert found.together == pytest.approx(0.4)  # not the measure, and not the corollary, which does not apply
    assert not found.joint


@pytest.mark.parametrize("delta", [0.05, 0.1, 1 / 3, 0.7])
@pytest.mark.parametrize("k", [1, 3, 6])
def test_joint_shares_add_up_to_no_more_than_delta(delta: float, k: int) -> None:
    net, x, y = task(60)
    found = compare(net, x, y, test=(x[:5], y[:5]), delta=delta, bounds=SOME[:k], joint=True)
    shares = [Fraction(line.bound.delta) for line in found.lines if line.bound is not None]
    assert sum(shares) <= Fraction(delta)
    assert min(shares) * k > Fraction(delta) * Fraction(1 - 1e-12)
    assert found.joint
    assert found.together <= delta


def test_joint_bounds_are_never_below_the_ones_that_hold_alone() -> None:
    net, x, y = task()
    given: dict[str, Any] = {"test": (x[300:], y[300:]), "bounds": SOME}
    alone, joint = (compare(net, x[:300], y[:300], joint=joint, **given) for joint in (False, True))
    for one, other in zip(alone.lines, joint.lines, strict=True):
        if one.bound is not None and other.bound is not None:
            assert other.bound.raw >= one.bound.raw


def test_test_examples_among_the_training_examples_count_as_errors() -> None:
    net, x, y = task()
    clean = compare(net, x[:300], y[:300], test=(x[300:], y[300:]), bounds=[TestSet()]).lines[0].bound
    wrong = net(x).argmax(axis=1) != y
    for method in (TestSet, TestSet()):
        dirty = compare(net, x[:300], y[:300], test=(x[298:], y[298:]), bounds=[method]).lines[0].bound
        assert clean is not None
        assert dirty is not None
        assert (clean.facts["seen"], dirty.facts["seen"]) == (0, 2)
        assert clean.facts["errors"] == wrong[300:].sum()
        assert dirty.facts["errors"] == wrong[300:].sum() + 2


def test_a_memorised_test_set_certifies_nothing() -> None:
    """Fair-coin labels, a net that knows the training examples by heart, and half of the fresh ones among them."""
    rng = np.random.default_rng(3)
    cells, label = np.eye(200), rng.integers(0, 2, 200)
    weight = np.zeros((2, 200))
    weight[label[:100], np.arange(100)] = 1.0
    net = Network(layers=(Layer(weight=weight, bias=np.zeros(2), relu=False),))
    found = compare(net, cells[:100], label[:100], test=(cells[50:150], label[50:150]), bounds=[TestSet()])
    assert found.lines[0].standing == "vacuous"


def test_a_bound_that_the_examples_do_not_suit_leaves_the_others_standing() -> None:
    net, x, y = task()
    tiny = Network(layers=tuple(replace(layer, weight=layer.weight * 1e-200) for layer in net.layers))
    for own, points, labels in ((tiny, x, y), (net, x[:1], y[:1]), (net, x * 1e160, y)):
        found = compare(own, points, labels)
        assert len(found.lines) == len(CATALOGUE)
        assert all(line.bound is not None or line.remark for line in found.lines)


def test_the_best_bound_is_the_smallest_that_is_not_vacuous() -> None:
    net, x, y = task(4000)
    found = compare(net, x[:3000], y[:3000], test=(x[3000:], y[3000:]), bounds=SOME)
    best, trained = found.best(), found.best(Sample.TRAINING)
    values = {line.name: line.bound.raw for line in found.lines if line.standing == "non-vacuous" and line.bound}
    assert best is not None
    assert best.name == min(values, key=lambda name: values[name]) == "test set"
    assert trained is not None
    assert trained.name == "Occam, log-grid code"
    assert found.best(Sample.FRESH) == best
    assert found.test_bound == best.bound
    assert compare(net, x[:20], y[:20], bounds=[StoredBits()]).best() is None


def test_a_measure_has_its_raw_number_and_a_bound_is_cut_at_one() -> None:
    net, x, y = task()
    rows = {row["bound"]: row for row in compare(net, x, y, bounds=SOME).rows()}
    assert rows["noise stability"]["value"] == rows["noise stability"]["raw"] > 1
    assert rows["spectral norms and margins"]["value"] == 1.0 < rows["spectral norms and margins"]["raw"]
    assert "hides constants" in rows["noise stability"]["remark"]
    assert rows["Occam, log-grid code"]["nats"] == pytest.approx(
        Occam(steps=(1,))(net, x, y).facts["bits"] * math.log(2), rel=1e-9
    )


def test_a_bound_that_needs_evidence_says_which_and_an_instance_takes_its_place() -> None:
    net, x, y = task()
    small = compress(net, CoreNetBudget(nnz=30), x[:50], rng=0)
    classes: list[Any] = [UnlabelledTransfer, SpectralTransfer, SampleCompression, StoredBits()]
    rng = np.random.default_rng(5)
    without = compare(small, x, y, bounds=classes)
    assert [line.remark for line in without.lines[:3]] == [
        "needs UnlabelledTransfer(unlabelled=...) among the bounds",
        "needs SpectralTransfer(radius=...) among the bounds",
        "needs SampleCompression(kept=...) among the bounds",
    ]
    instance = SpectralTransfer(radius=math.sqrt(5))
    found = compare(small, x, y, unlabelled=rng.random((100, 5)), bounds=[*classes, instance])
    assert [line.name for line in found.lines] == [
        UnlabelledTransfer.name,
        "sample compression",
        "stored bits",
        instance.name,
    ]
    assert [line.bound is None for line in found.lines] == [False, True, False, False]
    assert {line.certifies for line in found.lines if line.kind is SpectralTransfer} == {"the original net"}


def test_the_seed_is_that_of_the_catalogue_and_an_instance_keeps_its_own() -> None:
    net, x, y = task()
    own = DrawnNet(seed=3)
    line = compare(net, x, y, seed=1, delta=0.1, bounds=[own]).lines[0]
    assert line.bound == replace(own, delta=0.1)(net, x, y)
    catalogued = next(method for method in CATALOGUE if isinstance(method, DrawnNet))
    line = compare(net, x, y, seed=1, bounds=[catalogued]).lines[0]
    assert line.bound == DrawnNet(seed=1)(net, x, y) != DrawnNet(seed=0)(net, x, y)


def concrete() -> set[type[GeneralizationBound]]:
    """Every bound that can be evaluated, of all modules."""
    found = set()
    for module in pkgutil.walk_packages(boundlab.bounds.__path__, "boundlab.bounds."):
        for value in vars(importlib.import_module(module.name)).values():
            if inspect.isclass(value) and issubclass(value, GeneralizationBound) and not inspect.isabstract(value):
                found.add(value)
    return found


def test_every_bound_is_in_the_catalogue_with_the_net_that_it_certifies() -> None:
    kinds = {method if isinstance(method, type) else type(method) for method in CATALOGUE}
    assert kinds == concrete()
    assert all(CATALOGUE.values())


def test_the_whole_catalogue_on_one_compression_twice_the_same() -> None:
    net, x, y = task(300)
    small = compress(net, CoreNetBudget(nnz=30), x[:20], rng=0)
    unlabelled = np.random.default_rng(5).random((100, 5))
    one, other = (
        compare(small, x[:200], y[:200], test=(x[200:], y[200:]), unlabelled=unlabelled, joint=True) for _ in range(2)
    )
    assert [line.bound for line in one.lines] == [line.bound for line in other.lines]
    assert len(one.lines) == len(CATALOGUE)
    assert one.together <= one.delta
    for line in one.lines:
        assert line.bound is None or (line.bound.raw >= 0 and line.bound.delta <= 0.05), line.name
        assert line.bound is not None or line.remark, line.name
    assert list(one.to_frame().columns) == list(one.rows()[0])
    assert "Occam" in one._repr_html_()


def test_progress_goes_from_0_to_1_and_an_interruption_passes() -> None:
    net, x, y = task(50)
    told: list[tuple[float, str]] = []
    compare(net, x, y, bounds=SOME, progress=lambda share, text: told.append((share, text)))
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    assert [text for _, text in told[1:-1]] == [method.name for method in SOME]

    def stop(share: float, text: str) -> None:
        if share > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare(net, x, y, bounds=SOME, progress=stop)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"x": np.ones((3, 4))}, "x must have 5 features"),
        ({"x": np.full((40, 5), np.nan)}, "x must be finite"),
        ({"y": np.full(40, 7)}, "y must be in 0..2"),
        ({"test": (np.ones((3, 4)), [0, 1, 2])}, r"test=\(x, y\): x must have"),
        ({"test": np.ones((3, 5))}, "test must be a pair"),
        ({"delta": 1.0}, "delta must be in"),
        ({"bounds": []}, "bounds must hold at least one"),
        ({"bounds": [Occam(), Occam(steps=(1,))]}, "bounds must have different names"),
        ({"bounds": ["occam"]}, "bounds must be GeneralizationBounds"),
        ({"net": "a net"}, "net must be"),
    ],
)
def test_bad_data_is_refused(change: dict[str, Any], rule: str) -> None:
    net, x, y = task(40)
    given = {"net": net, "x": x, "y": y, "bounds": [StoredBits()]} | change
    with pytest.raises(InvalidParameter, match=rule):
        compare(**given)


def test_a_net_of_one_output_is_no_classifier() -> None:
    net = random_network((5, 4, 1), rng=0)
    with pytest.raises(UnsupportedLayer, match="at least 2 outputs"):
        compare(net, np.ones((3, 5)), [0, 0, 0], bounds=[StoredBits()])


def made_up() -> Comparison:
    """Every standing, values from 1 % to infinity, and a long name."""
    violated = (Premise(text="inputs are non-negative", status=Status.VIOLATED, evidence="seen"),)
    told = [
        ("a bound with a name that does not fit on one line of the figure", 0.314, "", ()),
        ("the best", 0.012, "", ()),
        ("above chance", 0.93, "", ()),
        ("large", 3.8e12, "", ()),
        ("infinite", math.inf, "", ()),
        ("a measure", 57_000.0, "constants are hidden", ()),
        ("broken", 5.4, "", violated),
        ("absent", None, "", ()),
    ]
    lines = []
    for name, raw, measure, premises in told:
        given: dict[str, Any] = {"terms": (("all", raw),), "measure": measure, "premises": premises}
        bound = None if raw is None else Bound(name=name, delta=0.05, theorem="", chance=0.9, **given)
        lines.append(Compared(name=name, kind=Occam, certifies="the net", bound=bound, remark="", seconds=0.1))
    counts: dict[str, Any] = {"errors": 1, "points": 1000, "test_errors": 3, "test_points": 1000}
    return Comparison(lines=tuple(lines), delta=0.05, joint=False, chance=0.9, **counts)


@pytest.mark.parametrize("width", [5.5, 9.0])
def test_the_figure_shows_the_best_first_and_nothing_is_cut_off(width: float) -> None:
    figure = Figure(figsize=(width, 4.5), layout="constrained")
    ax = made_up().plot(figure.subplots())
    figure.draw_without_rendering()
    names = [label.get_text().replace("\n", " ") for label in ax.get_yticklabels()]
    assert names[:4] == ["the best", made_up().lines[0].name, "above chance", "large"]
    assert names[-1] == "absent"
    texts = [text.get_text() for text in ax.texts]
    assert {"1.20 %", "31.40 %", "93.00 %", "3.8e12", "∞", "5.7e4", "5.4"} <= set(texts)
    assert {"training error 0.10 %", "test error 0.30 %", "chance 90.00 %"} <= set(texts)
    boxes = [t.get_window_extent() for t in (*ax.texts, *ax.get_yticklabels(), ax.xaxis.label) if t.get_text()]
    assert min(min(box.x0, box.y0) for box in boxes) >= -1
    assert max((box.p1 - np.array(figure.bbox.size)).max() for box in boxes) <= 1
    marks = [t.get_window_extent() for t in ax.texts if "error" in t.get_text() or "chance" in t.get_text()]
    assert not any(a.overlaps(b) for a in marks for b in marks if a is not b)


def test_risks_are_on_a_linear_scale_and_what_exceeds_one_is_ordered_by_magnitude() -> None:
    ax = made_up().plot()
    at = [float(ax.transData.transform((v, 0))[0]) for v in (0.0, 0.25, 0.5, 1.0, 1e3, 1e6)]
    steps = np.diff(at)
    assert steps[0] == pytest.approx(steps[1]) == pytest.approx(steps[2] / 2)
    assert steps[3] == pytest.approx(steps[4])
    assert min(steps) > 0


def test_a_figure_of_risks_alone_ends_at_one() -> None:
    found = made_up()
    ax = replace(found, lines=found.lines[:3]).plot()
    assert ax.get_xlim() == (0.0, 1.0)


def test_no_name_of_a_term_is_longer_than_its_bar() -> None:
    terms = (("empirical risk", 0.03), ("a rather long name of a term", 0.14), ("values", 0.4))
    bound = Bound(name="b", terms=terms, delta=0.05, theorem="", chance=0.9)
    figure = Figure(figsize=(5.0, 2.0), layout="constrained")
    ax = plot_terms([("b", bound)], figure.subplots())
    figure.draw_without_rendering()
    bars = [patch.get_window_extent() for patch in ax.patches]
    named = {t.get_text(): t.get_window_extent() for t in ax.texts if t.get_text() in dict(terms)}
    assert set(named) == {"values"}
    assert any(bar.x0 <= named["values"].x0 and named["values"].x1 <= bar.x1 for bar in bars)
