"""A torch module as weight matrices: patches times weights are its own outputs, and all else is kept and named."""

from __future__ import annotations

import copy
import itertools
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from boundlab._errors import InvalidParameter
from boundlab.nets import patches as patches_module
from boundlab.nets.gradients import gradients
from boundlab.nets.module_net import ModuleNet

CONVOLUTIONS: list[tuple[type[Any], dict[str, Any]]] = [
    (kind, options | {"groups": groups})
    for kind, options, groups in itertools.product(
        (nn.Conv1d, nn.Conv2d, nn.Conv3d),
        (
            {"kernel_size": 1},
            {"kernel_size": 3},
            {"kernel_size": 3, "stride": 2, "padding": 1},
            {"kernel_size": 2, "dilation": 2, "padding": 2},
            {"kernel_size": 3, "dilation": 2, "stride": 2, "padding": 3},
            {"kernel_size": 3, "padding": "same"},
            {"kernel_size": 2, "padding": "same"},  # one zero more behind than before
            {"kernel_size": 4, "padding": "same", "dilation": 2},
            {"kernel_size": 2, "padding": "valid", "stride": 2},
            {"kernel_size": 3, "bias": False},
        ),
        (1, 2, 4),
    )
]


def seeded(make: Callable[[], nn.Module], *, double: bool = True) -> Any:
    """A module with weights of its own generator, in eval mode."""
    module = make().eval()
    coins = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.randn(p.shape, generator=coins) * 0.3)
    return module.double() if double else module


def inputs(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def seen_by(net: ModuleNet, points: Any) -> list[np.ndarray]:
    """All patches that each layer reads, blocks put together."""
    blocks: list[list[np.ndarray]] = [[] for _ in net.layers]
    net.visit(points, lambda k, block: blocks[k].append(block))
    return [np.concatenate(own) for own in blocks]


def from_patches(net: ModuleNet, points: Any) -> list[np.ndarray]:
    """Patches times weights plus bias, (points, positions, out) for every layer."""
    return [p @ w.weight.T + w.bias for p, w in zip(seen_by(net, points), net.layers, strict=True)]


def torch_outputs(module: nn.Module, x: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return module(torch.tensor(x)).numpy()


def state(module: nn.Module) -> list[tuple[str, bytes]]:
    return [(name, tensor.detach().numpy().tobytes()) for name, tensor in module.state_dict().items()]


# patches


@pytest.mark.parametrize(("kind", "options"), CONVOLUTIONS, ids=lambda v: getattr(v, "__name__", None))
def test_patches_times_weights_are_the_outputs_of_a_convolution(kind: type[Any], options: dict[str, Any]) -> None:
    if options.get("stride", 1) != 1 and options.get("padding") == "same":
        pytest.skip("torch has no such convolution")
    dims = {nn.Conv1d: 1, nn.Conv2d: 2, nn.Conv3d: 3}[kind]
    module = seeded(lambda: kind(4, 8, **options))
    x = inputs(3, 4, *(7, 6, 5)[:dims])
    net = ModuleNet(module, x)
    want = torch_outputs(module, x).reshape(3, 8, -1).transpose(0, 2, 1)
    assert len(net.layers) == options["groups"]
    np.testing.assert_allclose(np.concatenate(from_patches(net, x), axis=2), want, atol=1e-12)


def test_patches_of_an_anisotropic_convolution() -> None:
    module = seeded(lambda: nn.Conv2d(4, 6, (3, 2), stride=(1, 2), padding=(2, 1), dilation=(2, 3), groups=2))
    x = inputs(2, 4, 9, 8)
    want = torch_outputs(module, x).reshape(2, 6, -1).transpose(0, 2, 1)
    np.testing.assert_allclose(np.concatenate(from_patches(ModuleNet(module, x), x), axis=2), want, atol=1e-12)


@pytest.mark.parametrize("shape", [(5, 6), (5, 3, 6), (2, 3, 4, 6)])
def test_a_linear_layer_reads_one_patch_per_position(shape: tuple[int, ...]) -> None:
    module = seeded(lambda: nn.Linear(6, 4))
    x = inputs(*shape)
    (found,) = from_patches(ModuleNet(module, x), x)
    np.testing.assert_allclose(found, torch_outputs(module, x).reshape(shape[0], -1, 4), atol=1e-13)


def test_layers_without_a_batch_axis_are_one_point() -> None:
    class Squeezed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.linear = nn.Conv1d(2, 3, 2), nn.Linear(6, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.stack([self.linear(self.conv(one).flatten()) for one in x])

    module, x = seeded(Squeezed), inputs(2, 2, 3)
    conv, linear = from_patches(ModuleNet(module, x), x)
    assert conv.shape == (2, 2, 3)
    np.testing.assert_allclose(linear[:, 0], torch_outputs(module, x), atol=1e-13)


def test_blocks_of_patches_put_together_are_the_patches_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    module = seeded(lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(2), nn.Linear(16, 5)))
    x = inputs(7, 2, 6, 6)
    whole = seen_by(ModuleNet(module, x), x)
    monkeypatch.setattr(patches_module, "BLOCK", 700)  # 288 entries a point: two points a block
    sizes: list[int] = []
    ModuleNet(module, x).visit(x, lambda k, block: sizes.append(len(block)) if k == 0 else None)
    assert sizes == [2, 2, 2, 1]
    for one, other in zip(whole, seen_by(ModuleNet(module, x), x), strict=True):
        assert np.array_equal(one, other)


def test_patches_are_the_callers_to_keep() -> None:
    module = seeded(lambda: nn.Sequential(nn.Linear(3, 3), nn.ReLU(inplace=True), nn.Linear(3, 2)))
    x = inputs(4, 3)
    net, kept = ModuleNet(module, x), []

    def see(k: int, block: np.ndarray) -> None:
        kept.append(block.copy())
        block[:] = np.nan

    net.visit(x, see)
    assert np.array_equal(kept[0][:, 0], x)
    assert np.isfinite(kept[1]).all(), "what a method does to its patches must not reach the net"


# which layers there are


def test_layers_come_in_the_order_of_their_first_call() -> None:
    class Backwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last, self.first = nn.Linear(4, 2), nn.Linear(3, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(self.first(x))

    net = ModuleNet(seeded(Backwards), inputs(1, 3))
    assert [layer.name for layer in net.layers] == ["first", "last"]


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.a(self.a(x))


def test_a_layer_that_is_called_twice_shows_what_it_reads_both_times() -> None:
    module, x = seeded(Twice), inputs(4, 3)
    net = ModuleNet(module, x)
    (read,) = seen_by(net, x)
    assert len(net.layers) == 1
    assert np.array_equal(read[:4, 0], x)
    np.testing.assert_allclose(read[4:, 0], torch_outputs(module.a, x), atol=1e-14)


def test_a_module_in_two_places_is_one_layer_and_both_places_change() -> None:
    shared = nn.Linear(3, 3)
    module, x = seeded(lambda: nn.Sequential(shared, nn.ReLU(), shared)), inputs(4, 3)
    net = ModuleNet(module, x)
    assert [layer.name for layer in net.layers] == ["0"]
    zero = net.with_weights([np.zeros((3, 3))])
    np.testing.assert_allclose(zero(x), np.tile(net.layers[0].bias, (4, 1)))


def test_layers_that_are_never_called_are_kept_and_named() -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attend = nn.MultiheadAttention(8, 2, batch_first=True)
            self.out = nn.Linear(8, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.out(self.attend(x, x, x)[0])

    module, x = seeded(Attention), inputs(2, 5, 8)
    net = ModuleNet(module, x)
    assert [layer.name for layer in net.layers] == ["out"]
    assert net.kept["attend.out_proj.weight"] == "the forward pass does not call this layer"
    assert "MultiheadAttention" in net.kept["attend.in_proj_weight"]
    (found,) = from_patches(net, x)
    np.testing.assert_allclose(found, torch_outputs(module, x), atol=1e-12)


def test_every_parameter_is_compressed_or_named_in_kept() -> None:
    module = seeded(lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True))
    x = inputs(2, 5, 8)
    net = ModuleNet(module, x)
    compressed = {f"{layer.name}.weight" for layer in net.layers}
    assert compressed == {"linear1.weight", "linear2.weight"}
    assert compressed | set(net.kept) == {name for name, _ in module.named_parameters()}
    np.testing.assert_allclose(net(x), torch_outputs(module, x), atol=1e-12)


def test_shared_weights_are_kept_and_say_by_whom() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.out, self.free = nn.Embedding(5, 3), nn.Linear(3, 5, bias=False), nn.Linear(3, 3)
            self.out.weight = self.embed.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.out(self.free(self.embed(x)).mean(1))

    module = seeded(Tied)
    tokens = np.array([[0, 4, 2], [1, 1, 3]])
    net = ModuleNet(module, tokens)
    assert [layer.name for layer in net.layers] == ["free"]
    assert net.kept["out.weight"] == "the weight is shared by embed, out"
    assert net.parameters == 15 + 12
    np.testing.assert_allclose(net(tokens), torch_outputs(module, tokens), atol=1e-14)


@pytest.mark.parametrize(
    "computed",
    [
        nn.utils.parametrizations.weight_norm,
        nn.utils.parametrizations.spectral_norm,
        lambda m: prune.l1_unstructured(m, "weight", 3),
        nn.utils.weight_norm,
    ],
    ids=["parametrised weight norm", "parametrised spectral norm", "pruning", "weight norm"],
)
@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_weights_that_are_computed_from_others_are_kept(computed: Callable[[nn.Module], nn.Module]) -> None:
    module = seeded(lambda: nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)))
    computed(module[0])
    module.eval()
    x = inputs(3, 3)
    module(torch.tensor(x))  # now the weight may be a tensor with a history
    net = ModuleNet(module, x)
    assert [layer.name for layer in net.layers] == ["2"]
    assert net.kept["0.bias"] == "the weight is computed from other parameters"
    np.testing.assert_allclose(net(x), torch_outputs(module, x), atol=1e-13)
    again = net.with_weights([np.zeros((2, 4))])
    np.testing.assert_allclose(again(x), np.tile(net.layers[0].bias, (3, 1)))


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (nn.ConvTranspose1d(2, 2, 3), "ConvTranspose1d is no linear or convolutional layer"),
        (nn.Conv1d(2, 2, 3, padding=1, padding_mode="circular"), "padding_mode is 'circular'"),
        (nn.BatchNorm1d(2), "BatchNorm1d is no linear or convolutional layer"),
    ],
    ids=["transposed", "padded", "norm"],
)
def test_other_layers_are_kept_with_the_reason(layer: nn.Module, reason: str) -> None:
    module = seeded(lambda: nn.Sequential(layer, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(2, 2)))
    net = ModuleNet(module, inputs(1, 2, 6))
    assert net.kept["0.weight"] == reason
    assert [layer.name for layer in net.layers] == ["3"]


def test_a_forward_of_its_own_is_not_guessed() -> None:
    class Doubled(nn.Linear):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return 2.0 * super().forward(input)

    patched = nn.Linear(3, 3)
    patched.forward = lambda input: nn.Linear.forward(patched, input) + 1.0
    net = ModuleNet(nn.Sequential(Doubled(3, 3), patched, nn.Linear(3, 2)), inputs(1, 3))
    assert [layer.name for layer in net.layers] == ["2"]
    assert net.kept["0.weight"] == "Doubled has a forward of its own"
    assert net.kept["1.weight"] == "Linear has a forward of its own"


def test_a_layer_called_by_keyword_is_seen() -> None:
    class Keyword(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(3, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.a(input=x)

    module, x = seeded(Keyword), inputs(4, 3)
    (found,) = from_patches(ModuleNet(module, x), x)
    np.testing.assert_allclose(found[:, 0], torch_outputs(module, x), atol=1e-14)


def test_a_lone_layer_is_a_net() -> None:
    net = ModuleNet(seeded(lambda: nn.Linear(3, 2)), inputs(1, 3))
    assert [layer.name for layer in net.layers] == [""]
    assert set(net.kept) == {"bias"}
    assert net.modules == {"": (0,)}


def test_an_expert_that_no_point_reaches_shows_nothing() -> None:
    class Experts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.plus, self.minus = nn.Linear(2, 2), nn.Linear(2, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            up = x[:, 0] > 0
            return torch.cat([self.plus(x[up]), self.minus(x[~up])])

    net = ModuleNet(seeded(Experts), np.ones((1, 2)))
    shown: list[int] = []
    net.visit(np.ones((3, 2)), lambda k, block: shown.append(k))
    assert shown == [0]


# precision, batches, mutation


@pytest.mark.parametrize("double", [False, True])
def test_a_net_computes_in_the_modules_own_precision(double: bool) -> None:
    module = seeded(lambda: nn.Sequential(nn.Conv1d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(9, 2)), double=double)
    x = inputs(6, 2, 5)
    net = ModuleNet(module, x.astype(np.float32))  # of any precision
    want = torch_outputs(module, x if double else x.astype(np.float32))
    assert net(x).dtype == np.float64
    np.testing.assert_allclose(net(x), want, atol=1e-14 if double else 1e-6)
    assert {p.dtype for p in net.module.parameters()} == {torch.float64 if double else torch.float32}
    for layer, own in zip(net.layers, (module[0], module[3]), strict=True):
        assert np.array_equal(layer.weight.ravel(), own.weight.detach().double().numpy().ravel()), "exactly"


def test_new_weights_are_rounded_once_and_the_layer_says_so() -> None:
    net = ModuleNet(seeded(lambda: nn.Conv1d(4, 4, 3, groups=2), double=False), inputs(1, 4, 5))
    new = [inputs(*layer.weight.shape, seed=k) for k, layer in enumerate(net.layers)]
    changed = net.with_weights(w for w in new)
    for layer, w in zip(changed.layers, new, strict=True):
        assert np.array_equal(layer.weight, w.astype(np.float32).astype(np.float64))
    stored = changed.module.get_parameter("weight").double().numpy()
    assert np.array_equal(stored.reshape(4, -1), np.concatenate([layer.weight for layer in changed.layers]))


def test_new_weights_must_fit_and_be_finite() -> None:
    net = ModuleNet(seeded(lambda: nn.Linear(3, 2), double=False), inputs(1, 3))
    with pytest.raises(InvalidParameter, match=r"must be \(2, 3\), got \(3, 2\)"):
        net.with_weights([np.zeros((3, 2))])
    with pytest.raises(InvalidParameter, match=r"must be finite as torch\.float32"):
        net.with_weights([np.full((2, 3), 1e39)])


def batches_of(x: np.ndarray, cuts: list[int]) -> Callable[[], Iterator[np.ndarray]]:
    return lambda: iter(np.split(x, cuts))


@pytest.mark.parametrize("cuts", [[1, 2, 3], [0, 5, 5], [6]])
def test_batches_show_what_one_batch_shows(cuts: list[int]) -> None:
    module = seeded(
        lambda: nn.Sequential(nn.Conv2d(1, 2, 2, groups=1), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))
    )
    x, y = inputs(7, 1, 3, 3), np.array([0, 1, 2, 0, 1, 2, 2])
    net = ModuleNet(module, x)
    for one, other in zip(seen_by(net, x), seen_by(net, batches_of(x, cuts)), strict=True):
        np.testing.assert_allclose(other, one, atol=1e-14)
    for one, other in zip(gradients(net, x, y), gradients(net, batches_of(x, cuts), y), strict=True):
        np.testing.assert_allclose(other, one, atol=1e-14)


def test_long_arrays_are_run_in_batches_with_the_same_outputs() -> None:
    module, x = seeded(lambda: nn.Linear(3, 2)), inputs(600, 3)
    net = ModuleNet(module, x)
    np.testing.assert_allclose(net(x), torch_outputs(module, x), atol=1e-14)
    assert net(x[:0]).shape == (0, 2)


def test_a_used_up_iterator_is_refused() -> None:
    net = ModuleNet(seeded(lambda: nn.Linear(3, 2)), inputs(1, 3))
    once = iter([inputs(2, 3)])
    net.visit(lambda: once, lambda k, block: None)
    with pytest.raises(InvalidParameter, match="at least one point each time"):
        net.visit(lambda: once, lambda k, block: None)


def test_nothing_that_is_given_is_ever_changed() -> None:
    module = nn.Sequential(nn.ReLU(inplace=True), nn.Conv1d(2, 2, 2), nn.BatchNorm1d(2), nn.Dropout(), nn.Flatten())
    module.append(nn.Linear(4, 2)).double().train()
    before, x = state(copy.deepcopy(module)), inputs(5, 2, 3)
    points = x.copy()
    net = ModuleNet(module, x)
    net(x)
    net.visit(x, lambda k, block: None)
    gradients(net, x, np.array([0, 1, 0, 1, 1]))
    changed = net.with_weights([np.zeros_like(layer.weight) for layer in net.layers])
    replaced = net.with_modules({"5": nn.Sequential(nn.Linear(4, 1), nn.Linear(1, 2)).double()})
    assert state(module) == before
    assert module.training
    assert all(p.requires_grad and p.grad is None for p in module.parameters())
    assert np.array_equal(x, points), "an input that is overwritten in place must be a copy"
    assert state(net.module) == before, "the net itself does not change either"
    assert (changed.nnz, net.nnz, len(replaced.layers)) == (0, 16, 3)


def test_no_coin_of_torch_is_used() -> None:
    module = seeded(lambda: nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5), nn.Linear(3, 2)))
    chance, x = torch.get_rng_state(), inputs(4, 3)
    net = ModuleNet(module.train(), x)
    assert np.array_equal(net(x), net(x))
    gradients(net, x, np.array([0, 1, 0, 1]))
    assert torch.equal(chance, torch.get_rng_state())


def test_read_only_points_are_read_without_a_warning() -> None:
    net, x = ModuleNet(seeded(lambda: nn.Linear(3, 2)), inputs(1, 3)), inputs(4, 3)
    x.setflags(write=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net(x)
        net.visit(x[::-1], lambda k, block: None)


# other modules in a module's place


def test_a_module_is_replaced_wherever_it_is_used() -> None:
    shared = nn.Linear(3, 3)
    module, x = seeded(lambda: nn.Sequential(shared, nn.Sequential(nn.ReLU(), shared))), inputs(4, 3)
    twice = nn.Linear(3, 3).double()
    with torch.no_grad():
        twice.weight.copy_(2 * module[0].weight)
        twice.bias.copy_(module[0].bias)
    net = ModuleNet(module, x)
    changed = net.with_modules({"0": twice})
    np.testing.assert_allclose(changed(x), net.with_weights([2 * net.layers[0].weight])(x), atol=1e-13)
    assert net.with_modules({}).nnz == net.nnz


def test_groups_of_a_convolution_are_numbered_under_its_name() -> None:
    module = seeded(lambda: nn.Sequential(nn.Conv1d(4, 4, 2, groups=2), nn.Conv1d(4, 2, 1)))
    net = ModuleNet(module, inputs(1, 4, 3))
    assert net.modules == {"0": (0, 1), "1": (2,)}
    assert [layer.name for layer in net.layers] == ["0[0]", "0[1]", "1"]


# gradients


def loss_of(net: ModuleNet, x: np.ndarray, y: np.ndarray) -> float:
    f = net(x)
    top = f.max(axis=1)
    return float((np.log(np.exp(f - top[:, None]).sum(axis=1)) + top - f[np.arange(len(y)), y]).mean())


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Sequential(nn.Conv1d(4, 4, 2, groups=2), nn.Tanh(), nn.Flatten(), nn.Linear(8, 3)),
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(12, 3), Twice()),
    ],
    ids=["groups", "called twice"],
)
def test_gradients_are_difference_quotients_of_the_mean_loss(make: Callable[[], nn.Module]) -> None:
    module, x, y, h = seeded(make), inputs(5, 4, 3), np.array([0, 2, 1, 1, 0]), 1e-6
    net = ModuleNet(module, x)
    weights = [layer.weight for layer in net.layers]
    for k, slope in enumerate(gradients(net, x, y)):
        for i, j in itertools.product(*map(range, slope.shape)):
            ends = []
            for side in (h, -h):
                moved = [w.copy() for w in weights]
                moved[k][i, j] += side
                ends.append(loss_of(net.with_weights(moved), x, y))
            assert slope[i, j] == pytest.approx((ends[0] - ends[1]) / (2 * h), abs=1e-8)


def test_gradients_work_under_inference_mode() -> None:
    module, x, y = seeded(lambda: nn.Linear(3, 2)), inputs(4, 3), np.array([0, 1, 1, 0])
    want = gradients(ModuleNet(module, x), x, y)
    with torch.inference_mode():
        found = gradients(ModuleNet(module, x), x, y)
    assert np.array_equal(want[0], found[0])


@pytest.mark.parametrize(
    ("labels", "match"),
    [
        ([0, 1, 0], "one label per point"),
        ([0, 1, 0, 1, 1], "of at least one point, got"),
        ([0, 1, 0, 2], r"0\.\.1"),
        ([0, 1, 0, 0.5], "whole numbers"),
        ([[0, 1, 0, 1]], "labels must have shape"),
    ],
)
def test_labels_must_fit_the_points(labels: list[Any], match: str) -> None:
    net = ModuleNet(seeded(lambda: nn.Linear(3, 2)), inputs(1, 3))
    with pytest.raises(InvalidParameter, match=match):
        gradients(net, inputs(4, 3), np.array(labels))


def test_a_net_without_classes_or_slopes_has_no_gradients() -> None:
    class Frozen(nn.Linear):
        pass

    class Blind(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = Frozen(3, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                return self.a(x)

    labels = np.zeros(2, int)
    for module, x in ((nn.Linear(3, 1), inputs(2, 3)), (nn.Linear(3, 2), inputs(2, 4, 3)), (Blind(), inputs(2, 3))):
        with pytest.raises(InvalidParameter, match=r"a net with gradients must give \(points, classes >= 2\)"):
            gradients(ModuleNet(module, x), x, labels)


# what is refused


class Pair(nn.Linear):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return (super().__call__(*args, **kwargs),) * 2


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: nn.Linear(3, 2).bfloat16(), "float32 or float64"),
        (
            lambda: nn.utils.vector_to_parameters(torch.full((8,), np.nan), (m := nn.Linear(3, 2)).parameters()) or m,
            "finite",
        ),
        (lambda: nn.LazyLinear(2), "can be copied"),
        (lambda: nn.Linear(4, 2), "must run on its example"),
        (lambda: nn.Sequential(nn.LayerNorm(3)), "at least one linear or convolutional layer"),
        (lambda: Pair(3, 2), "must give one tensor, got tuple"),
        (lambda: 3, r"must be a torch\.nn\.Module, got int"),
    ],
    ids=["half precision", "NaN", "lazy", "wrong shape", "no layer", "two outputs", "no module"],
)
def test_what_cannot_be_compressed_is_refused_at_the_door(make: Callable[[], Any], match: str) -> None:
    with pytest.raises(InvalidParameter, match=match):
        ModuleNet(make(), inputs(1, 3))
