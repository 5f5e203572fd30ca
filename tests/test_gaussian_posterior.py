"""PAC-Bayes bounds of a trained net: whose risk, what is paid, what is refused, known risks, shared estimates."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from boundlab._errors import InvalidParameter, PremiseViolated
from boundlab.bounds import gaussian_posterior
from boundlab.bounds.drawn_net import DrawnNet
from boundlab.bounds.gaussian_posterior import GaussianPosterior, fit_posterior
from boundlab.bounds.generalization_bound import GeneralizationBound
from boundlab.bounds.gibbs import Gibbs, PacBayesForm
from boundlab.bounds.informed import InformedPrior
from boundlab.bounds.noisy_nets import coins, noisy_net
from boundlab.bounds.pac_bayes import log_xi, pac_bayes_kl
from boundlab.bounds.parameter_count import StoredBits
from boundlab.bounds.single_draw import single_draw
from boundlab.bounds.test_set import TestSet
from boundlab.compressors.method import compress
from boundlab.compressors.pfp import PFPBudget
from boundlab.concentration.binomial import upper_limit
from boundlab.concentration.chernoff import kl_inverse
from boundlab.nets.folding import fold_batchnorm
from boundlab.nets.module_net import ModuleNet
from boundlab.nets.toy import random_network, train_mlp
from boundlab.network import Layer, Network
from boundlab.promises import Standing, Status

ALL: list[GeneralizationBound] = [
    *(Gibbs(form=form, pairs=2_000) for form in PacBayesForm),
    DrawnNet(),
    DrawnNet(form=PacBayesForm.CATONI_GRID),
]


@pytest.fixture(scope="module")
def digits() -> tuple[Network, np.ndarray, np.ndarray]:
    from sklearn import datasets

    x, y = datasets.load_digits(return_X_y=True)
    x, y = np.asarray(x, dtype=np.float64) / 16.0, np.asarray(y, dtype=np.int64)
    return train_mlp(x, y, (16,), epochs=30, weight_decay=1e-3), x, y


def task(n: int = 300, seed: int = 0) -> tuple[Network, np.ndarray, np.ndarray]:
    """A random net and its own labels, a tenth of them replaced."""
    rng = np.random.default_rng(seed)
    net, x = random_network((3, 6, 3), rng=rng, bias=True), rng.normal(size=(n, 3))
    y = np.where(rng.random(n) < 0.1, rng.integers(3, size=n), net(x).argmax(axis=1))
    y[:3] = np.arange(3)
    return net, x, y


def linear(rows: list[list[float]], bias: list[float] | None = None) -> Network:
    w = np.array(rows)
    return Network(layers=(Layer(weight=w, bias=np.array(bias or [0.0] * len(w)), relu=False),))


def convolutional(seed: int = 0, *, norm: bool = False) -> torch.nn.Module:
    torch.manual_seed(seed)
    parts = [torch.nn.Conv1d(1, 3, 3), *([torch.nn.BatchNorm1d(3)] if norm else [])]
    return torch.nn.Sequential(*parts, torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(12, 2))


def test_a_small_net_on_digits_is_certified_and_says_of_whom(digits) -> None:
    found, drawn = Gibbs()(*digits), DrawnNet()(*digits)
    assert found.standing is drawn.standing is Standing.NON_VACUOUS
    assert any("drawn anew from the posterior for each point" in p.text for p in found.premises)
    assert any("drawn with seed 0" in p.text for p in drawn.premises)
    assert not any(p.status is Status.VIOLATED for p in (*found.premises, *drawn.premises))
    net, x, y = digits
    assert net.errors(x, y) / len(x) < 0.05 < found.facts["gibbs_estimate"] < found.facts["gibbs_limit"] < found.value


@pytest.mark.parametrize("method", ALL, ids=lambda m: m.name)
def test_terms_add_up_and_the_theorem_is_named(method: GeneralizationBound) -> None:
    net, x, y = task()
    found = method(net, x, y)
    assert all(value >= 0 for _, value in found.terms)
    assert found.raw == math.fsum(value for _, value in found.terms)
    assert (found.name, found.delta) == (method.name, method.delta)
    assert found.chance == pytest.approx(2 / 3)
    assert found.theorem in ("rivasplata2020_single_draw", "boundlab_catoni_grid") or isinstance(method, Gibbs)


def test_names_differ_and_follow_the_form() -> None:
    assert len({m.name for m in ALL}) == len(ALL)
    assert replace(Gibbs(), form=PacBayesForm.QUADRATIC).name == "PAC-Bayes quadratic (Gibbs)"
    assert replace(DrawnNet(name="mine"), form=PacBayesForm.CATONI_GRID).name == "mine"


def test_the_kl_form_is_its_formula_and_the_smallest_of_its_relaxations() -> None:
    net, x, y = task()
    bounds = {form: Gibbs(form=form, pairs=2_000)(net, x, y) for form in PacBayesForm}
    best = bounds[PacBayesForm.KL]
    nats = best.facts["nats"]
    want = kl_inverse(best.facts["gibbs_limit"], (nats + log_xi(300) - math.log(best.facts["delta_sample"])) / 300)
    assert best.raw == pytest.approx(want, rel=1e-9)
    assert Fraction(best.facts["delta_sample"]) + Fraction(best.facts["delta_mc"]) <= Fraction(0.05)
    for form in ("mcallester2003", "refined_pinsker", "quadratic", "lambda"):
        assert best.raw <= bounds[PacBayesForm(form)].raw * (1 + 1e-12)
    assert len({b.facts["gibbs_estimate"] for b in bounds.values()}) == 1, "one estimate for all forms"


def test_one_search_and_one_estimate_serve_all_forms(monkeypatch) -> None:
    net, x, y = task(seed=1)
    calls = []
    search = gaussian_posterior._search
    monkeypatch.setattr(gaussian_posterior, "_search", lambda *a: calls.append(1) or search(*a))
    rows = [method(net, x, y) for method in ALL]
    assert len(calls) == 1
    y[0] = (y[0] + 1) % 3  # the same arrays with other contents are other examples
    assert Gibbs(pairs=2_000)(net, x, y).raw != rows[0].raw
    assert len(calls) == 2


def test_the_same_seed_gives_the_same_bound_and_another_seed_other_coins() -> None:
    net, x, y = task()
    first, again = DrawnNet().draw(net, x, y), DrawnNet().draw(net, x, y)
    other = DrawnNet(seed=1).draw(net, x, y)
    assert isinstance(first, Network)
    assert first.digest == again.digest != other.digest
    assert DrawnNet()(net, x, y).facts["errors"] == first.errors(x, y)
    assert coins("a", 0, "b").random() != coins("a", 1, "b").random()
    assert coins("a", 0, "b").random() != coins("c", 0, "b").random()


def test_the_drawn_net_pays_for_every_draw_that_was_looked_at() -> None:
    net, x, y = task()
    one, best = DrawnNet()(net, x, y), DrawnNet(draws=256)(net, x, y)
    nats = one.facts["log_ratio"]
    assert best.raw > one.raw
    assert best.raw == pytest.approx(single_draw(one.facts["errors"] / 300, nats, 300, 0.05, draws=256), rel=1e-12)
    assert one.facts["kl"] == pytest.approx(one.raw, rel=1e-12)


def test_a_conjugate_gaussian_toy_of_known_risk() -> None:
    """Fair labels on 100 cells: every net errs on half of them, however well a draw has learnt the sample by heart.

    The bound fails with probability at most delta = 0.05; 12 or more failures of 100 would have probability 0.004.
    """
    rng, failures = np.random.default_rng(0), 0
    for seed in range(100):
        cell, label = rng.integers(100, size=60), rng.integers(2, size=60)
        votes = np.bincount(cell, weights=2.0 * label - 1.0, minlength=100)
        q = GaussianPosterior(net=linear([(-votes).tolist(), votes.tolist()]), stds=(-8, -192))
        drawn, ratio = q.draw(np.random.default_rng(seed))
        assert isinstance(drawn, Network)
        r = drawn.errors(np.eye(100)[cell], label) / 60
        assert single_draw(r, 0.0, 60, 0.05) < 0.5, "unpaid, the bound would fail on every sample"
        failures += single_draw(r, ratio, 60, 0.05) < 0.5
    assert failures < 12


def test_noise_has_the_standard_deviation_that_is_paid_for() -> None:
    """Not the variance as a standard deviation. 40 000 draws, 5 standard errors: wrong once in 10^6."""
    net = linear([[0.0] * 200] * 200)
    q = GaussianPosterior(net=net, stds=(-16, -192))
    drawn, _ = q.draw(np.random.default_rng(0))
    assert isinstance(drawn, Network)
    assert drawn.layers[0].weight.std() == pytest.approx(0.25, rel=5 / math.sqrt(80_000))


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e-8, 1e8, 1e100])
def test_any_scale_of_weights_gives_a_number(scale: float) -> None:
    """What not to compute: the index of a prior scale beyond its grid, whose logarithm is a NaN."""
    net, x, y = task(n=50)
    moved = Network(layers=tuple(Layer(weight=scale * w.weight, bias=scale * w.bias, relu=w.relu) for w in net.layers))
    for method in (Gibbs(pairs=500), Gibbs(pairs=500, form=PacBayesForm.LAMBDA_GRID), DrawnNet()):
        found = method(moved, x, y)
        assert 0.0 < found.value <= 1.0
        assert math.isfinite(found.facts["nats"])


def test_a_net_that_never_errs_by_a_wide_margin_is_cheap() -> None:
    x = np.repeat([[1.0], [-1.0]], 2_000, axis=0)
    found = Gibbs()(linear([[1.0], [-1.0]]), x, (x[:, 0] < 0).astype(int))
    assert found.value < 0.01
    assert found.facts["gibbs_estimate"] < 1e-3


def test_a_tie_of_the_mean_net_is_broken_by_the_noise_and_counted() -> None:
    x, y = np.ones((50, 1)), np.zeros(50, dtype=int)
    found = Gibbs(pairs=2_000)(linear([[1.0], [1.0]]), x, y)
    assert 0.4 < found.facts["gibbs_estimate"] < 0.6
    assert found.vacuous


def test_a_convolutional_net_is_covered_and_drawn_in_its_own_precision() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 1, 6))
    net = ModuleNet(convolutional(), x)
    y = net(x).argmax(axis=1)
    y[:2] = [0, 1]
    found, method = Gibbs(pairs=2_000, per_net=20)(net, x, y), DrawnNet()
    assert found.facts["draws"] == 100
    drawn = method.draw(net, x, y)
    assert isinstance(drawn, ModuleNet)
    assert next(drawn.module.parameters()).dtype == torch.float32
    errors = int((drawn(x).argmax(axis=1) != y).sum())
    assert method(net, x, y).facts["errors"] == errors
    assert any("module's own precision" in p.evidence for p in found.premises)


def test_numbers_outside_of_the_posterior_are_refused_until_they_are_folded() -> None:
    x = np.random.default_rng(0).normal(size=(40, 1, 6))
    module, y = convolutional(norm=True), np.arange(40) % 2
    for method in (Gibbs(), DrawnNet()):
        with pytest.raises(PremiseViolated, match=r"1\.running_mean, 1\.running_var.*fold_batchnorm"):
            method(ModuleNet(module, x), x, y)
    folded = ModuleNet(fold_batchnorm(module.eval(), x).module, x)
    assert 0 < Gibbs(pairs=640)(folded, x, y).value <= 1


def test_hidden_constants_and_norms_over_the_batch_are_refused() -> None:
    x, y = np.zeros((4, 1, 6)), np.arange(4) % 2

    class Shifted(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.shift = convolutional(), torch.tensor([0.3])

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.body(x + self.shift)

    with pytest.raises(PremiseViolated, match="got shift outside"):
        Gibbs()(ModuleNet(Shifted(), x), x, y)
    bare = convolutional(norm=True)
    bare.register_module("1", torch.nn.BatchNorm1d(3, affine=False, track_running_stats=False))
    with pytest.raises(PremiseViolated, match=r"each point by itself, got .*: 1"):
        DrawnNet()(ModuleNet(bare, x), x, y)


def test_a_layer_norm_takes_noise_like_every_parameter() -> None:
    body = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.LayerNorm(6), torch.nn.ReLU(), torch.nn.Linear(6, 2))
    own = noisy_net(ModuleNet(body, np.zeros((1, 4))))
    assert list(own.tensors) == [name for name, _ in body.named_parameters()]


def test_an_informed_prior_counts_the_rest_and_stands_beside_the_test_set_bound(digits) -> None:
    net, x, y = digits
    prior = train_mlp(x[:900], y[:900], (16,), epochs=20, weight_decay=1e-3)
    method = InformedPrior(prior=prior, prior_examples=900, pairs=10_000)
    found, same = method(net, x, y), method(prior, x, y)
    errors = prior.errors(x[900:], y[900:])
    assert found.facts["n"] == len(x) - 900
    assert found.facts["test_set_bound"] == upper_limit(errors, len(x) - 900, 0.05)
    assert same.facts["nats"] < 8 * 4 * math.log(2), "the prior itself costs less than naming a scale for each tensor"
    assert same.raw > same.facts["test_set_bound"]
    assert found.raw > pac_bayes_kl(found.facts["gibbs_limit"], 0.0, len(x) - 900, 0.05)
    assert any("first 900 examples" in p.text and p.status is Status.ASSUMED for p in found.premises)
    assert method.posterior(net, x, y).centre is prior


def test_an_unknown_form_is_refused() -> None:
    form: Any = "hoeffding"
    with pytest.raises(InvalidParameter, match="form must be one of kl"):
        Gibbs(form=form)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Gibbs(delta=0.0),
        lambda: Gibbs(beta=0.0),
        lambda: Gibbs(mc_share=1.0),
        lambda: Gibbs(pairs=0),
        lambda: DrawnNet(form=PacBayesForm.QUADRATIC),
        lambda: DrawnNet(draws=0),
        lambda: InformedPrior(prior=linear([[1.0], [0.0]]), prior_examples=0),
        lambda: InformedPrior(prior=linear([[1.0], [0.0]]), prior_examples=50)(*task(50)),
        lambda: InformedPrior(prior=linear([[1.0], [0.0]]), prior_examples=5)(*task(50)),
        lambda: Gibbs(seed=-1)(*task(50)),
        lambda: GaussianPosterior(net=linear([[1.0], [0.0]]), stds=(0,)),
        lambda: GaussianPosterior(net=linear([[1.0], [0.0]]), stds=(0, 64)),
        lambda: GaussianPosterior(net=linear([[1.0], [0.0]]), stds=tuple(np.array([0.5, 0.0]))),
    ],
)
def test_what_is_out_of_range_is_refused(make) -> None:
    with pytest.raises(InvalidParameter, match="must"):
        make()


def test_the_choice_of_noise_is_the_best_that_it_tried() -> None:
    net, x, y = task()
    q = fit_posterior(net, x, y, delta=0.05, seed=0)
    rng = np.random.default_rng(0)

    def value(shift: int) -> float:
        moved = GaussianPosterior(net=net, stds=tuple(j + shift for j in q.stds))
        losses = moved.losses(x, y, pairs=20_000, per_net=1, rng=rng)
        return pac_bayes_kl(float(losses.mean()), moved.complexity, len(x), 0.05)

    assert value(0) < min(value(-24), value(24))


class Memory(torch.nn.Module):
    """A net that keeps what it has seen in a place of its own choosing, and looks it up."""

    def __init__(self, keep: str) -> None:
        super().__init__()
        self.head, table = torch.nn.Linear(1, 2), torch.ones(50)
        if keep == "buffer":
            self.register_buffer("table", table.to(torch.int8))
        else:
            self.table = {"list": [table], "dict": {"a": table}, "array": table.numpy()}[keep]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x)


@pytest.mark.parametrize("keep", ["buffer", "list", "dict", "array"])
def test_a_table_that_the_noise_does_not_reach_is_refused_wherever_it_is_kept(keep: str) -> None:
    net, x, y = ModuleNet(Memory(keep), np.zeros((1, 1))), np.zeros((10, 1)), np.arange(10) % 2
    for method in (Gibbs(), DrawnNet(), *([] if keep == "buffer" else [StoredBits()])):
        with pytest.raises(PremiseViolated, match="table"):
            method(net, x, y)


class Always(torch.nn.Module):
    """Noise that is never turned off."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.randn_like(x)


class Centred(torch.nn.Module):
    """A net that reads the batch: it subtracts its mean."""

    def __init__(self) -> None:
        super().__init__()
        self.head = torch.nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x - x.mean(0))


@pytest.mark.parametrize(
    "module", [Centred(), torch.nn.Sequential(torch.nn.Linear(3, 2), Always())], ids=["batch", "coins"]
)
def test_a_module_that_does_not_treat_each_point_by_itself_violates_the_premise(module: torch.nn.Module) -> None:
    x = np.random.default_rng(0).normal(size=(100, 3))
    y = (x[:, 0] > 0).astype(int)
    for method in (TestSet(), DrawnNet(), StoredBits()):
        assert method(ModuleNet(module, x[:1]), x, y).standing is Standing.VOID


def test_the_losses_of_a_fully_connected_net_are_coins_with_the_exact_limit() -> None:
    net, x, y = task()
    facts = Gibbs(pairs=2_000)(net, x, y).facts
    assert facts["gibbs_limit"] == upper_limit(round(2_000 * facts["gibbs_estimate"]), 2_000, facts["delta_mc"])


def test_the_widths_that_a_compression_left_are_paid() -> None:
    net, x, y = task()
    small = compress(net, PFPBudget(parameters=30), x, rng=0)
    for method in (Gibbs(pairs=2_000), DrawnNet()):
        assert method(small, x, y).facts["width_nats"] == pytest.approx(math.log(6 + 1))
        assert method(net, x, y).facts["width_nats"] == 0


def test_an_informed_prior_that_saw_copies_of_the_rest_violates_its_premise() -> None:
    net, x, y = task(150)
    x, y = np.tile(x, (2, 1)), np.tile(y, 2)
    found = InformedPrior(prior=net, prior_examples=150, pairs=500)(net, x, y)
    assert found.standing is Standing.VOID


def test_the_break_even_risk_is_where_the_two_bounds_meet() -> None:
    net, x, y = task()
    for share in (0.1, 0.5, 0.9):
        facts = InformedPrior(prior=net, prior_examples=100, pairs=500, mc_share=share)(net, x, y).facts
        there = pac_bayes_kl(facts["break_even_risk"], facts["nats"], 200, facts["delta_sample"])
        assert there == pytest.approx(facts["test_set_bound"], rel=1e-6) or facts["break_even_risk"] == 0
