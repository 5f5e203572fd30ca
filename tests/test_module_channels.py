"""Channels of modules: which go together, which must stay, and a smaller net that computes what zeros would."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from boundlab._errors import InvalidParameter, UnsupportedLayer
from boundlab.compressors.filter_baselines import L1Filters
from boundlab.compressors.method import compress
from boundlab.nets.architectures import resnet
from boundlab.nets.module_channels import shrink, spaces, untouchable
from boundlab.nets.module_net import ModuleNet
from boundlab.nets.space_sensitivities import parameters_left


class Does(nn.Module):
    """A module of named parts and a function of them."""

    def __init__(self, forward: Callable[[Any, torch.Tensor], torch.Tensor], **parts: Any) -> None:
        super().__init__()
        self.does = forward
        for name, part in parts.items():
            if isinstance(part, nn.Parameter):
                self.register_parameter(name, part)
            else:
                self.add_module(name, part)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.does(self, x)


def conv(inputs: int, outputs: int, size: int = 3, **settings: Any) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, padding=size // 2, **settings)


def block(inputs: int, outputs: int, stride: int = 1) -> Does:
    """A residual block; its shortcut is a convolution where the shape changes."""
    shortcut = (
        nn.Identity() if stride == 1 else nn.Sequential(conv(inputs, outputs, 1, stride=2), nn.BatchNorm2d(outputs))
    )

    def forward(m: Any, x: torch.Tensor) -> torch.Tensor:
        out = m.bn2(m.conv2(functional.relu(m.bn1(m.conv1(x)))))
        out += m.shortcut(x)
        return torch.relu_(out)

    return Does(
        forward,
        conv1=conv(inputs, outputs, stride=stride, bias=False),
        bn1=nn.BatchNorm2d(outputs),
        conv2=conv(outputs, outputs, bias=False),
        bn2=nn.BatchNorm2d(outputs),
        shortcut=shortcut,
    )


def sequential() -> nn.Module:
    return nn.Sequential(
        conv(3, 6), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), conv(6, 5), nn.ELU(), nn.Dropout(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(20, 7), nn.Hardswish(), nn.Linear(7, 4),
    )  # fmt: skip


def residual() -> nn.Module:
    return nn.Sequential(
        conv(3, 6), nn.BatchNorm2d(6), nn.ReLU(), block(6, 6), block(6, 8, 2), block(8, 8), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(8, 4),
    )  # fmt: skip


def dense() -> nn.Module:
    def forward(m: Any, x: torch.Tensor) -> torch.Tensor:
        x = m.stem(x)
        x = torch.cat([x, m.conv1(torch.relu(m.bn1(x)))], 1)
        x = torch.cat([x, m.conv2(torch.relu(m.bn2(x)))], 1)
        return m.linear(torch.relu(m.bn3(x)).mean((2, 3)))

    return Does(
        forward, stem=conv(3, 4), bn1=nn.BatchNorm2d(4), conv1=conv(4, 3), bn2=nn.BatchNorm2d(7), conv2=conv(7, 3),
        bn3=nn.BatchNorm2d(10), linear=nn.Linear(10, 4),
    )  # fmt: skip


def inception() -> nn.Module:
    def forward(m: Any, x: torch.Tensor) -> torch.Tensor:
        ways = [m.one(x), m.three(torch.relu(m.before(x))), functional.max_pool2d(m.stem(x), 3, 1, 1), x]
        return m.linear(torch.flatten(functional.gelu(torch.cat(ways, dim=1)), 1))

    return Does(
        forward, one=conv(3, 4, 1), before=conv(3, 5, 1), three=conv(5, 6), stem=conv(3, 2), linear=nn.Linear(960, 4)
    )  # fmt: skip


def grouped() -> nn.Module:
    return nn.Sequential(
        conv(3, 8, 1), nn.BatchNorm2d(8), nn.ReLU(), conv(8, 12, groups=4), nn.BatchNorm2d(12), nn.ReLU(),
        conv(12, 6, 1), nn.PReLU(6), conv(6, 6, groups=6, bias=False), nn.BatchNorm2d(6), nn.ReLU6(), conv(6, 4, 1),
        nn.AdaptiveMaxPool2d(1), nn.Flatten(),
    )  # fmt: skip


def squeezed() -> nn.Module:
    """A block whose channels are weighed by a small net that reads their means."""

    def forward(m: Any, x: torch.Tensor) -> torch.Tensor:
        x = m.conv(x)
        weighed = x * torch.sigmoid(m.up(torch.relu(m.down(x.mean((2, 3), keepdim=True)))))
        return m.last(weighed * m.gamma).amax((-1, -2))

    return Does(
        forward, conv=conv(3, 6), down=conv(6, 3, 1), up=conv(3, 6, 1), last=conv(6, 4, 1),
        gamma=nn.Parameter(torch.linspace(0.5, 2, 6).reshape(6, 1, 1)),
    )  # fmt: skip


def attention() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(2), Does(lambda m, x: x.transpose(1, 2)),
        nn.Linear(3, 8), nn.TransformerEncoderLayer(8, 2, 10, batch_first=True, activation="gelu"), nn.Linear(8, 4),
    )  # fmt: skip


def decoder() -> nn.Module:
    def forward(m: Any, x: torch.Tensor) -> torch.Tensor:
        fine = torch.relu(m.fine(x))
        coarse = torch.relu(m.coarse(functional.max_pool2d(fine, 2)))
        up = functional.interpolate(coarse, scale_factor=2, mode="nearest")
        return m.out(torch.cat([up, fine], 1)).sum((2, 3))

    return Does(forward, fine=conv(3, 4), coarse=conv(4, 6), out=conv(10, 4))


def channels_last() -> nn.Module:
    """What TensorFlow's nets become: channels stand last, and their pixels far apart behind the flattening."""
    return nn.Sequential(
        conv(3, 5), nn.ReLU(), Does(lambda m, x: x.permute(0, 2, 3, 1)), nn.Flatten(), nn.Linear(320, 6),
        Does(lambda m, x: x.unsqueeze(1)), nn.Flatten(1), nn.Linear(6, 4),
    )  # fmt: skip


def called_twice() -> nn.Module:
    """One layer on two paths: what it puts out is one space, and what it reads too."""

    def forward(m: Any, x: torch.Tensor) -> torch.Tensor:
        a, b = m.first(x), m.second(x)
        return m.last(torch.relu(m.shared(a)).flatten(1) + m.shared(b).flatten(1))

    return Does(forward, first=conv(3, 4), second=conv(3, 4), shared=conv(4, 5), last=nn.Linear(5 * 64, 4))


ZOO: dict[str, tuple[Callable[[], nn.Module], dict[str, int], dict[str, str]]] = {
    # builder, {space: channels}, {layer that stays: a part of the reason}
    "sequential": (sequential, {"0": 6, "4": 5, "9": 7}, {"11": "outputs"}),
    "residual": (
        residual,
        {"0 + 3.conv2": 6, "3.conv1": 6, "4.conv1": 8, "4.conv2 + 4.shortcut.0 + 5.conv2": 8, "5.conv1": 8},
        {"8": "outputs"},
    ),
    "dense": (dense, {"stem": 4, "conv1": 3, "conv2": 3}, {"linear": "outputs"}),
    "inception": (inception, {"one": 4, "before": 5, "three": 6, "stem": 2}, {"linear": "outputs"}),
    "grouped": (grouped, {"0": 4, "6": 6}, {"11": "outputs"}),
    "squeezed": (squeezed, {"conv + up": 6, "down": 3}, {"last": "outputs"}),
    "attention": (
        attention,
        {"3.linear1": 10},
        {"2": "in_proj_weight reads them and is no weight layer", "3.linear2": "layer_norm", "4": "outputs"},
    ),
    "decoder": (decoder, {"fine": 4, "coarse": 6}, {"out": "outputs"}),
    "channels_last": (channels_last, {"0": 5, "4": 6}, {"7": "outputs"}),
    "called_twice": (called_twice, {"first + second": 4, "shared": 5}, {"last": "outputs"}),
    "option_a": (
        lambda: resnet(8),
        {"layer1.0.conv1": 16, "layer2.0.conv1": 32, "layer3.0.conv1": 64},
        {
            "conv1": "pad",
            "layer1.0.conv2": "pad",
            "layer2.0.conv2": "pad",
            "layer3.0.conv2": "pad",
            "linear": "outputs",
        },
    ),
}


def net_of(build: Callable[[], nn.Module], shape: tuple[int, ...] = (3, 8, 8)) -> ModuleNet:
    """A net in double precision with statistics and shifts of its own, none of them 0 or 1."""
    torch.manual_seed(5)
    module = build().double().eval()
    rng = torch.Generator().manual_seed(7)
    for m in module.modules():
        if isinstance(m, nn.BatchNorm2d) and m.running_mean is not None and m.running_var is not None:
            for tensor, low in (
                (m.running_mean, -0.3),
                (m.running_var, 0.5),
                (m.weight.data, 0.5),
                (m.bias.data, -0.4),
            ):
                tensor.copy_(torch.rand(tensor.shape, generator=rng, dtype=torch.float64) + low)
    return ModuleNet(module, np.random.default_rng(1).standard_normal((1, *shape)))


Known = tuple[ModuleNet, dict[str, int], dict[str, str]]


@pytest.fixture(params=ZOO, scope="module")
def known(request: pytest.FixtureRequest) -> Known:
    build, found, stay = ZOO[request.param]
    return net_of(build), found, stay


def points(net: ModuleNet) -> np.ndarray:
    return np.random.default_rng(2).standard_normal((4, *net.example.shape[1:]))


def random_scales(net: ModuleNet, seed: int) -> list[np.ndarray]:
    """About half of the channels are gone, the others count up to twice, or with the other sign."""
    rng = np.random.default_rng(seed)
    found = [rng.uniform(-2, 2, s.size) * (rng.random(s.size) < 0.5) for s in net.spaces]
    for scale in found:
        scale[rng.integers(len(scale))] = 1.5
    return found


def columns_scaled(net: ModuleNet, scales: list[np.ndarray]) -> ModuleNet:
    weights = [layer.weight.copy() for layer in net.layers]
    for space, scale in zip(net.spaces, scales, strict=True):
        for k, columns in space.readers:
            weights[k][:, columns] *= scale[:, None]
    return net.with_weights(weights)


def test_the_spaces_are_those_that_one_reads_off_the_module(known: Known) -> None:
    net, found, stay = known
    assert {s.name: s.size for s in spaces(net)} == found
    reasons = untouchable(net)
    assert reasons.keys() == stay.keys()
    for name, part in stay.items():
        assert part in reasons[name], reasons[name]


def test_every_weight_layer_is_in_a_space_or_named(known: Known) -> None:
    net, _, _ = known
    put_out = {net.layers[k].name for s in net.spaces for k, _ in s.writers}
    of_groups = {layer.name.partition("[")[0] for layer in net.layers if "[" in layer.name}
    assert put_out | set(untouchable(net)) | of_groups == {layer.name.partition("[")[0] for layer in net.layers}


@pytest.mark.parametrize("seed", range(3))
def test_the_smaller_net_computes_what_scaled_columns_do(known: Known, seed: int) -> None:
    net, _, _ = known
    x, scales = points(net), random_scales(net, seed)
    small, want = shrink(net, scales), columns_scaled(net, scales)(x)
    assert small.parameters < net.parameters
    assert np.abs(small(x) - want).max() <= 1e-12 * max(1.0, np.abs(want).max())
    assert np.abs(want - net(x)).max() > 1e-3 * np.abs(want).max()  # something was at stake


def test_parameters_left_are_those_of_the_net_that_is_left(known: Known) -> None:
    net, _, _ = known
    for seed in range(3):
        scales = random_scales(net, seed)
        kept = [int(np.count_nonzero(s)) for s in scales]
        assert parameters_left(net, kept) == shrink(net, scales).parameters
    assert parameters_left(net, [s.size for s in net.spaces]) == net.parameters


def test_shrinking_changes_nothing_of_the_net_before(known: Known) -> None:
    net, _, _ = known
    before = copy.deepcopy(net.module.state_dict())
    scales = random_scales(net, 0)
    kept = [s.copy() for s in scales]
    shrink(net, scales)
    assert all(torch.equal(value, before[name]) for name, value in net.module.state_dict().items())
    assert all(np.array_equal(a, b) for a, b in zip(scales, kept, strict=True))


def test_a_smaller_net_can_be_shrunk_again_and_its_modules_know_their_sizes(known: Known) -> None:
    net, _, _ = known
    scales = random_scales(net, 0)
    small = shrink(net, scales)
    left = {s.name: int(np.count_nonzero(scale)) for s, scale in zip(net.spaces, scales, strict=True)}
    again = {s.name: s.size for s in small.spaces}
    assert {name: again.get(name) for name in left if left[name] > 1} == {name: n for name, n in left.items() if n > 1}
    for m in small.module.modules():
        if isinstance(m, nn.Conv2d):
            assert m.weight.shape[:2] == (m.out_channels, m.in_channels // m.groups)
        if isinstance(m, nn.Linear):
            assert m.weight.shape == (m.out_features, m.in_features)
        if isinstance(m, nn.BatchNorm2d):
            assert len(m.weight) == m.num_features


@pytest.mark.parametrize("which", ["inside a block", "the stream"])
def test_removed_channels_are_as_if_masked_in_the_forward_pass(which: str) -> None:
    net = net_of(residual)
    space = "3.conv1" if which == "inside a block" else "0 + 3.conv2"
    scales = [np.ones(s.size) for s in net.spaces]
    mask = np.array([1.0, 0, 0.5, 0, 2, 1])
    scales[[s.name for s in net.spaces].index(space)] = mask
    module = copy.deepcopy(net.module)
    by = torch.from_numpy(mask).reshape(-1, 1, 1)
    parts: dict[str, Any] = dict(module.named_modules())
    if which == "inside a block":
        parts["3.conv2"].register_forward_pre_hook(lambda m, args: (args[0] * by,))
    else:  # all who read the stream between the first layer and the block that changes the shape
        for reader in ("3.conv1", "4.conv1", "4.shortcut.0"):
            parts[reader].register_forward_pre_hook(lambda m, args: (args[0] * by,))
    x = points(net)
    with torch.no_grad():
        want = module(torch.from_numpy(x)).numpy()
    assert np.abs(shrink(net, scales)(x) - want).max() < 1e-12


@pytest.mark.parametrize("build", [residual, grouped, attention])
def test_a_smaller_net_can_be_exported_and_computes_the_same(build: Callable[[], nn.Module]) -> None:
    net = net_of(build)
    small, x = shrink(net, random_scales(net, 0)), points(net)
    with torch.no_grad():
        exported = torch.export.export(small.module, (torch.from_numpy(x),), strict=False).module()
        assert np.abs(exported(torch.from_numpy(x)).numpy() - small(x)).max() < 1e-12


def test_readers_of_a_space_are_all_layers_that_read_it_and_where() -> None:
    net = net_of(dense)
    names = {layer.name: k for k, layer in enumerate(net.layers)}
    first = net.spaces[1]  # three channels behind the four of the stem
    assert first.name == "conv1"
    assert [k for k, _ in first.readers] == [names["conv2"], names["linear"]]
    assert first.readers[0][1].tolist() == [list(range(9 * j, 9 * j + 9)) for j in (4, 5, 6)]
    assert first.readers[1][1].ravel().tolist() == [4, 5, 6]
    assert first.own == 5  # its bias, and weight and bias of the norms bn2 and bn3


def test_groups_go_as_a_whole_with_their_inputs() -> None:
    net = net_of(grouped)
    small = shrink(net, [np.array([1.0, 0, 0, 1]), np.array([1.0, 0, 1, 1, 0, 1])])
    parts: dict[str, Any] = dict(small.module.named_modules())
    assert [tuple(parts[k].weight.shape) for k in ("0", "3", "6", "8", "11")] == [
        (4, 3, 1, 1), (6, 2, 3, 3), (4, 6, 1, 1), (4, 1, 3, 3), (4, 4, 1, 1)
    ]  # fmt: skip
    assert (parts["3"].groups, parts["8"].groups) == (2, 4)


def test_a_space_that_would_lose_everything_keeps_one_channel_that_counts_nothing() -> None:
    net = net_of(sequential)
    scales = [np.zeros(6), np.ones(5), np.ones(7)]
    small, x = shrink(net, scales), points(net)
    assert small.layers[0].weight.shape[0] == 1
    assert not small.layers[1].weight.any()
    assert np.abs(small(x) - columns_scaled(net, scales)(x)).max() < 1e-12


def stays(forward: Callable[[Any, torch.Tensor], torch.Tensor], **parts: Any) -> dict[str, str]:
    net = net_of(lambda: Does(forward, **parts))
    assert not net.spaces
    return dict(untouchable(net))


@pytest.mark.parametrize(
    ("forward", "reason"),
    [
        (lambda m, x: m.b(torch.relu(m.a(x)).view(-1, 4 * 64)), "the module's own code fixes their number"),
        (lambda m, x: m.b(m.a(x)[:, :3].repeat(1, 2, 1, 1)[:, :4].flatten(1)), "slice reads them"),
        (lambda m, x: m.b(functional.group_norm(m.a(x), 2).flatten(1)), "group_norm reads them"),
        (lambda m, x: m.b(torch.softmax(m.a(x), 1).flatten(1)), "softmax reads them"),
        (lambda m, x: m.b(m.a(x).cumsum(1).flatten(1)), "cumsum reads them"),
        (lambda m, x: m.b((m.a(x) + torch.arange(4.0).reshape(4, 1, 1)).flatten(1)), "keeps all of its entries"),
        (lambda m, x: m.b(m.a(x).flatten(1)) + m.a(x).mean(), "mean reads them"),
        (lambda m, x: m.b((m.a(x) * m.a.weight.sum()).flatten(1)), "a.weight is also read by sum"),
        (lambda m, x: m.b(m.a(x).flatten(1) + functional.pad(x, (0, 0, 0, 0, 0, 1)).flatten(1)), "keeps all"),
        (lambda m, x: m.b(m.a(x).reshape(len(x), 2, 2, 8, 8).transpose(1, 2).flatten(1)), "reshape reads them"),
        (lambda m, x: m.b((m.a(x) @ m.a(x).transpose(2, 3)).flatten(1)), "matmul reads them"),
        (lambda m, x: m.b(functional.linear(m.a(x), torch.eye(8).double()).flatten(1)), "its weight is computed"),
    ],
)  # fmt: skip
def test_what_cannot_be_handled_stays_and_is_named(
    forward: Callable[[Any, torch.Tensor], torch.Tensor], reason: str
) -> None:
    told = stays(forward, a=conv(3, 4), b=nn.Linear(256, 2))
    assert reason in told["a"]
    assert "outputs" in told["b"]


def test_layers_of_other_kinds_keep_what_they_read() -> None:
    told = stays(
        lambda m, x: m.b(m.t(torch.relu(m.a(x))).flatten(1)),
        a=conv(3, 4),
        t=nn.ConvTranspose2d(4, 4, 3, padding=1),
        b=nn.Linear(256, 2),
    )
    assert "conv_transpose2d reads them" in told["a"]
    mirrored = conv(4, 4, padding_mode="reflect")
    told = stays(lambda m, x: m.b(m.t(m.a(x)).mean((2, 3))), a=conv(3, 4), t=mirrored, b=nn.Linear(4, 2))
    assert "padding_mode is 'reflect'" in told["a"]


def test_weights_that_two_layers_share_keep_their_channels() -> None:
    def build() -> nn.Module:
        module = Does(
            lambda m, x: m.c(torch.relu(m.b(torch.relu(m.a(x))).flatten(1))),
            a=conv(3, 3), b=conv(3, 3, bias=False), c=nn.Linear(192, 2),
        )  # fmt: skip
        parts: Any = module
        parts.b.weight = parts.a.weight
        return module

    net = net_of(build)
    assert not net.spaces
    assert [layer.name for layer in net.layers] == ["c"]


def test_a_part_of_a_layers_channels_may_stay() -> None:
    def forward(m: Any, x: torch.Tensor) -> torch.Tensor:
        one, two = m.a(x), m.b(x)
        return m.c(torch.cat([one, two], 1) + functional.pad(two, (0, 0, 0, 0, 4, 0))).mean((2, 3))

    told = untouchable(net_of(lambda: Does(forward, a=conv(3, 4), b=conv(3, 4), c=conv(8, 2))))
    assert {"a", "b", "c"} == set(told)


def test_channels_that_nobody_reads_and_single_ones_stay() -> None:
    told = stays(lambda m, x: m.b((m.a(x) * 0 + m.c(x)).flatten(1)), a=conv(3, 1), b=nn.Linear(64, 2), c=conv(3, 1))
    assert told["a"] == told["c"] == "it is a single one"
    told = stays(lambda m, x: m.b(x.flatten(1)) + 0 * len(m.a(x)), a=conv(3, 4), b=nn.Linear(192, 2))
    assert told["a"] == "no weight layer reads them"


def test_a_module_without_a_graph_is_refused_and_told_what_still_works() -> None:
    net = net_of(lambda: Does(lambda m, x: m.b(m.a(x).flatten(1)) * (2 if float(x.sum()) > 0 else 1),
                              a=conv(3, 4), b=nn.Linear(256, 2)))  # fmt: skip
    with pytest.raises(UnsupportedLayer, match=r"torch.export can read the module's graph, got .*thin out weights"):
        spaces(net)


def test_scales_that_do_not_fit_are_refused() -> None:
    net = net_of(sequential)
    with pytest.raises(InvalidParameter, match=r"scales must have shapes \[\(6,\), \(5,\), \(7,\)\]"):
        shrink(net, [np.ones(6)])
    with pytest.raises(InvalidParameter, match="scales must be finite"):
        shrink(net, [np.full(6, np.nan), np.ones(5), np.ones(7)])


def test_one_and_three_dimensions_are_like_two() -> None:
    for kind, norm, shape in ((nn.Conv1d, nn.BatchNorm1d, (2, 9)), (nn.Conv3d, nn.BatchNorm3d, (2, 5, 5, 5))):

        def build(kind: Any = kind, norm: Any = norm) -> nn.Module:
            return nn.Sequential(kind(2, 5, 3, dilation=1, stride=2), norm(5), nn.ReLU(), kind(5, 3, 2), nn.Flatten())

        net = net_of(build, shape)
        assert [(s.name, s.size) for s in net.spaces] == [("0", 5)]
        scales, x = random_scales(net, 1), points(net)
        assert np.abs(shrink(net, scales)(x) - columns_scaled(net, scales)(x)).max() < 1e-12


def test_a_trained_residual_net_loses_filters_and_keeps_running(boundlab_data: Path) -> None:
    module = resnet(20)
    file = boundlab_data / "nets" / "akamaster_resnet" / "resnet20.th"
    state = torch.load(file, map_location="cpu", weights_only=True)["state_dict"]
    module.load_state_dict({name.removeprefix("module."): value for name, value in state.items()})
    x = np.random.default_rng(0).standard_normal((2, 3, 32, 32))
    net = ModuleNet(module, x)
    assert [s.size for s in net.spaces] == [16] * 3 + [32] * 3 + [64] * 3
    small = compress(net, L1Filters(parameters=200_000), x, rng=0)
    assert 190_000 < small.net.parameters <= 200_000
    want = columns_scaled(net, list(small.scales))(x)
    assert np.abs(small.net(x) - want).max() < 1e-4 * np.abs(want).max()
