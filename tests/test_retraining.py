"""Pruning and retraining: what was removed stays removed, and a killed run goes on where it was."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from boundlab import InvalidParameter, Network, load_data, train_mlp
from boundlab.compressors.corenet import CoreNetBudget
from boundlab.compressors.method import ChannelCompressor, compress
from boundlab.nets.module_net import ModuleNet
from boundlab.records import Groups, SamplePlan, Sensitivities
from boundlab.retraining import Training, error_rate, fine_tune, prune_retrain, unweighted

Labelled = tuple[np.ndarray, np.ndarray]
QUICK = Training(epochs=3, lr=0.05, batch=32)


@pytest.fixture(scope="module")
def digits() -> tuple[Labelled, Labelled]:
    data = load_data("digits")
    assert data.x_train is not None
    assert data.y_train is not None
    assert data.x_test is not None
    assert data.y_test is not None
    return (data.x_train, data.y_train), (data.x_test, data.y_test)


@pytest.fixture(scope="module")
def net(digits: tuple[Labelled, Labelled]) -> Network:
    return train_mlp(*digits[0], hidden=(40, 20), epochs=15, rng=0)


class Conv(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = torch.nn.Conv2d(1, 6, 3, padding=1), torch.nn.BatchNorm2d(6)
        self.drop, self.last = torch.nn.Dropout(0.1), torch.nn.Linear(6 * 16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.nn.functional.max_pool2d(torch.relu(self.norm(self.conv(x))), 2)
        return self.last(self.drop(x.flatten(1)))


def conv_net(x: np.ndarray) -> ModuleNet:
    torch.manual_seed(0)
    return ModuleNet(Conv(), x)


def images(points: Labelled) -> Labelled:
    return points[0].reshape(-1, 1, 8, 8).astype(np.float32), points[1]


class EverySecond(ChannelCompressor):
    """Removes every second neuron, and counts the others twice."""

    name: ClassVar[str] = "every-second"

    def plan(self, network: Network, points: np.ndarray) -> tuple[SamplePlan, ...]:
        plans = []
        for k, space in enumerate(network.spaces):
            groups = Groups(
                neuron=np.zeros(1, np.int64),
                sign=np.ones(1, np.int8),
                indptr=np.array([0, space.size]),
                columns=np.arange(space.size),
            )
            values = (np.arange(space.size) % 2 == 0).astype(float)
            own = Sensitivities(values=values, groups=groups, points=len(points), unit="neuron", theorem="")
            one = np.ones(1)
            plans.append(
                SamplePlan(
                    layer=k + 2,
                    sensitivities=own,
                    size=0 * one,
                    exact=one < 0,
                    eps=one,
                    K=1.0,
                    parts=1,
                    condition=np.nan,
                    theorem="",
                    top=np.array([(space.size + 1) // 2]),
                )
            )
        return tuple(plans)


def test_training_helps_and_keeps_zeros(net: Network, digits: tuple[Labelled, Labelled]) -> None:
    small = compress(net, CoreNetBudget(nnz=net.nnz // 10), digits[0][0][:300], rng=1)
    tuned = fine_tune(small.net, digits[0], Training(epochs=10), rng=0)
    for before, after in zip(small.net.layers, tuned.layers, strict=True):
        assert not after.weight[before.weight == 0].any()
        assert (after.weight != before.weight).any()
    assert error_rate(tuned, digits[1]) < error_rate(small.net, digits[1]) / 2


def test_a_module_is_trained_on_with_its_batch_statistics(digits: tuple[Labelled, Labelled]) -> None:
    train, test = images(digits[0]), images(digits[1])
    net = conv_net(train[0][:1])
    before = copy.deepcopy(net.module.state_dict())
    sparse = net.with_weights(
        [np.where(np.abs(w.weight) > np.median(np.abs(w.weight)), w.weight, 0.0) for w in net.layers]
    )
    tuned = fine_tune(sparse, train, Training(epochs=2, lr=0.02), rng=3)
    assert all(torch.equal(value, before[name]) for name, value in net.module.state_dict().items()), (
        "nothing is changed"
    )
    assert error_rate(tuned, test) < 0.3 < error_rate(sparse, test)
    assert all(not b.weight[a.weight == 0].any() for a, b in zip(sparse.layers, tuned.layers, strict=True))
    running = dict(tuned.module.named_buffers())["norm.running_mean"]
    assert not torch.equal(running, before["norm.running_mean"])
    assert not tuned.module.training


def test_the_same_seed_gives_the_same_net_and_leaves_torch_alone(digits: tuple[Labelled, Labelled]) -> None:
    train = images(digits[0])
    net = conv_net(train[0][:1])
    state = torch.random.get_rng_state()
    first, second = (fine_tune(net, train, Training(epochs=1), rng=5) for _ in range(2))
    other = fine_tune(net, train, Training(epochs=1), rng=6)
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(np.array_equal(a.weight, b.weight) for a, b in zip(first.layers, second.layers, strict=True))
    assert any(not np.array_equal(a.weight, b.weight) for a, b in zip(first.layers, other.layers, strict=True))


@pytest.mark.parametrize("kind", ["network", "module"])
def test_a_killed_run_goes_on_to_the_same_net(
    kind: str, net: Network, digits: tuple[Labelled, Labelled], tmp_path: Path
) -> None:
    train = digits[0] if kind == "network" else images(digits[0])
    start = net if kind == "network" else conv_net(train[0][:1])
    whole = fine_tune(start, train, QUICK, rng=2)
    file = tmp_path / "run.npz"

    def kill(what: str, done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fine_tune(start, train, QUICK, rng=2, record=file, progress=kill)
    told: list[int] = []
    resumed = fine_tune(start, train, QUICK, rng=2, record=file, progress=lambda _, done, total: told.append(done))
    assert told == [3]
    assert all(np.array_equal(a.weight, b.weight) for a, b in zip(whole.layers, resumed.layers, strict=True))
    again = fine_tune(start, train, QUICK, rng=2, record=file)
    assert all(np.array_equal(a.weight, b.weight) for a, b in zip(whole.layers, again.layers, strict=True))
    for training, seed in ((QUICK, 3), (Training(epochs=4), 2)):
        with pytest.raises(InvalidParameter, match="same net, data, training and seed"):
            fine_tune(start, train, training, rng=seed, record=file)


def test_rounds_prune_further_and_resume(net: Network, digits: tuple[Labelled, Labelled], tmp_path: Path) -> None:
    methods = [CoreNetBudget(nnz=n) for n in (1_500, 700)]
    options: dict[str, Any] = {"training": Training(epochs=2), "judge": digits[1], "rng": 4}
    first = prune_retrain(net, methods, digits[0], **options, record=tmp_path)
    trained: list[str] = []
    again = prune_retrain(
        net, methods, digits[0], **options, record=tmp_path, progress=lambda what, *_: trained.append(what)
    )
    assert trained == ["round", "round"], "nothing is trained twice"
    assert first.rows() == again.rows()
    one, two = first.rounds
    assert one.nnz > two.nnz == first.net.nnz
    assert two.retrained < two.pruned
    assert first.original == error_rate(net, digits[1])
    assert prune_retrain(net, methods, digits[0], **options).rows() == first.rows()


def test_kept_weights_may_start_from_their_original_values(net: Network, digits: tuple[Labelled, Labelled]) -> None:
    small = compress(net, CoreNetBudget(nnz=900), digits[0][0][:300], rng=1)
    for own, layer, before in zip(unweighted(small).layers, small.net.layers, net.layers, strict=True):
        np.testing.assert_array_equal(own.weight, np.where(layer.weight != 0, before.weight, 0.0))


def test_a_smaller_net_stays_small(net: Network, digits: tuple[Labelled, Labelled]) -> None:
    small = compress(net, EverySecond(), digits[0][0][:100], rng=1)
    start = unweighted(small)
    assert isinstance(small.net, Network)
    assert isinstance(start, Network)
    assert small.net.sizes == start.sizes == (64, 20, 10, 10)
    found = prune_retrain(net, [EverySecond()], digits[0], training=QUICK, judge=digits[1], rng=0)
    assert isinstance(found.net, Network)
    assert found.net.sizes == (64, 20, 10, 10)
    assert found.rounds[0].parameters == 64 * 20 + 20 + 20 * 10 + 10 + 10 * 10 + 10
    assert found.rounds[0].retrained < 0.1


@pytest.mark.parametrize(
    "bad", [{"epochs": 0}, {"lr": 0.0}, {"momentum": 1.0}, {"weight_decay": -1.0}, {"batch": 0}, {"lr": float("nan")}]
)
def test_a_training_out_of_range_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameter):
        Training(**bad)


def test_training_that_diverges_is_refused(net: Network, digits: tuple[Labelled, Labelled]) -> None:
    with pytest.raises(InvalidParameter, match="must not diverge"):
        fine_tune(net, digits[0], Training(epochs=2, lr=1e30), rng=0)


def test_labels_must_fit(net: Network, digits: tuple[Labelled, Labelled]) -> None:
    with pytest.raises(InvalidParameter):
        fine_tune(net, (digits[0][0], digits[0][1] + 5), QUICK, rng=0)
    with pytest.raises(InvalidParameter, match="at least one method"):
        prune_retrain(net, [], digits[0], training=QUICK, judge=digits[1], rng=0)


def test_a_batch_of_one_trains_where_it_can(net: Network, digits: tuple[Labelled, Labelled]) -> None:
    few = digits[0][0][:40], digits[0][1][:40]
    tuned = fine_tune(net, few, Training(epochs=1, batch=1), rng=0)
    assert any((a.weight != b.weight).any() for a, b in zip(net.layers, tuned.layers, strict=True))
    with pytest.raises(InvalidParameter, match="at least 2"):
        fine_tune(conv_net(images(few)[0][:1]), images(few), Training(batch=1), rng=0)


def test_a_record_of_another_architecture_is_refused(digits: tuple[Labelled, Labelled], tmp_path: Path) -> None:
    few = digits[0][0][:200].astype(np.float32), digits[0][1][:200]
    torch.manual_seed(0)
    layers = torch.nn.Linear(64, 8), torch.nn.Linear(8, 10)
    one, other = (
        ModuleNet(torch.nn.Sequential(layers[0], act(), layers[1]), few[0][:1])
        for act in (torch.nn.ReLU, torch.nn.Tanh)
    )
    fine_tune(one, few, Training(epochs=1), rng=0, record=tmp_path / "deep" / "run.npz")
    with pytest.raises(InvalidParameter, match="same net"):
        fine_tune(other, few, Training(epochs=1), rng=0, record=tmp_path / "deep" / "run.npz")


def test_training_leaves_torchs_generator_alone(net: Network, digits: tuple[Labelled, Labelled]) -> None:
    state = torch.random.get_rng_state()
    fine_tune(net, (digits[0][0][:40], digits[0][1][:40]), Training(epochs=1), rng=0)
    assert torch.equal(state, torch.random.get_rng_state())
