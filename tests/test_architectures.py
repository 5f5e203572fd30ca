"""The architectures compute what their papers say, and hold the weights that others published."""

from __future__ import annotations

import copy
import pickle
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from boundlab._errors import InvalidParameter
from boundlab.data import load_data
from boundlab.nets.architectures import ARCHITECTURES, lenet5, resnet
from boundlab.nets.load_module import load_module
from boundlab.nets.module_net import ModuleNet


class Block(nn.Module):
    """He et al. 2016, figure 2 and option A of section 4.2, written out independently."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.out, self.stride = out, 1 if width == out else 2
        self.conv1 = nn.Conv2d(width, out, 3, self.stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shortcut = x
        if self.stride == 2:
            shortcut = x.new_zeros(len(x), self.out, x.shape[2] // 2, x.shape[3] // 2)
            quarter = self.out // 4
            shortcut[:, quarter : quarter + x.shape[1]] = x[:, :, ::2, ::2]
        inner = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(inner)) + shortcut)


class Twin(nn.Module):
    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        widths = [(16, 16), (16, 32), (32, 64)]
        for k, (width, out) in enumerate(widths, 1):
            setattr(self, f"layer{k}", nn.Sequential(Block(width, out), *(Block(out, out) for _ in range(blocks - 1))))
        self.linear = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu(self.bn1(self.conv1(x)))
        x = self.get_submodule("layer3")(self.get_submodule("layer2")(self.get_submodule("layer1")(x)))
        return self.linear(x.mean((2, 3)))


def seeded(module: nn.Module) -> nn.Module:
    """Statistics and weights that no default has, so that nothing cancels."""
    rng = np.random.default_rng(3)
    with torch.no_grad():
        for name, t in module.state_dict().items():
            if t.is_floating_point():
                values = torch.from_numpy(rng.uniform(0.5, 1.5, t.shape) if "var" in name else rng.normal(size=t.shape))
                t.copy_(values if t.ndim < 2 else 0.1 * values)
    return module.eval()


@pytest.mark.parametrize("depth", [8, 20, 56])
def test_a_residual_net_computes_what_its_definition_does(depth: int) -> None:
    twin, net = seeded(Twin((depth - 2) // 6)), resnet(depth)
    net.load_state_dict(twin.state_dict())
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 3, 32, 32))).float()
    with torch.inference_mode():
        want = twin(x)
        assert (net(x) - want).abs().max() <= 1e-4 * want.abs().max()


def test_lenet5_computes_what_its_definition_does() -> None:
    net, rng = lenet5(rng=2), np.random.default_rng(0)
    x = torch.from_numpy(rng.standard_normal((2, 1, 28, 28))).float()
    p = dict(net.named_parameters())
    with torch.inference_mode():
        a = functional.max_pool2d(functional.conv2d(x, p["conv1.weight"], p["conv1.bias"]), 2)
        a = functional.max_pool2d(functional.conv2d(a, p["conv2.weight"], p["conv2.bias"]), 2)
        a = functional.relu(a.reshape(2, 800) @ p["ip1.weight"].T + p["ip1.bias"])
        want = a @ p["ip2.weight"].T + p["ip2.bias"]
        assert (net(x) - want).abs().max() <= 1e-5 * want.abs().max()


@pytest.mark.parametrize("name", ["resnet20", "lenet5"])
def test_initial_weights_are_he_s_and_torch_s_generator_is_left_alone(name: str) -> None:
    before = torch.get_rng_state()
    net, again = ARCHITECTURES[name](), ARCHITECTURES[name]()
    assert torch.equal(torch.get_rng_state(), before)
    for (key, t), other in zip(net.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(t, other), key
        if t.ndim > 1 and t.numel() > 2000:  # the standard deviation of a normal sample of n: error 1 / sqrt(2 n)
            assert float(t.std()) == pytest.approx((2 / t[0].numel()) ** 0.5, rel=5 / (2 * t.numel()) ** 0.5)


def test_another_seed_gives_other_weights() -> None:
    one, other = resnet(8, rng=0), resnet(8, rng=1)
    assert not torch.equal(one.get_parameter("conv1.weight"), other.get_parameter("conv1.weight"))


def test_a_residual_net_can_be_copied_pickled_and_trained() -> None:
    net = resnet(8)
    x = torch.zeros(2, 3, 32, 32)
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert torch.equal(twin(x), net(x))
    net.train()(x + torch.arange(2.0).reshape(2, 1, 1, 1)).sum().backward()
    assert all(p.grad is not None for p in net.parameters())


@pytest.mark.parametrize("depth", [2, 7, 21, 0, -4, 20.0])
def test_a_depth_that_is_not_6n_plus_2_is_refused(depth: int) -> None:
    with pytest.raises(InvalidParameter, match="depth must be"):
        resnet(depth)


@cache
def first_images(source: str, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """The first 500 test images and their labels."""
    data = load_data(source, scale=scale)
    assert data.x_test is not None
    assert data.y_test is not None
    return data.x_test[:500], data.y_test[:500]


@pytest.mark.parametrize(
    ("file", "name", "layers", "accuracy"),
    [
        ("akamaster_resnet/resnet20.th", "resnet20", 20, 0.9173),
        ("akamaster_resnet/resnet56.th", "resnet56", 56, 0.9339),
        ("lenet5/dns_original.npz", "lenet5", 4, 0.9909),
    ],
)
def test_published_weights_classify_as_published(
    boundlab_data: Path, file: str, name: str, layers: int, accuracy: float
) -> None:
    """500 test images: their share of right ones is within 4 standard deviations of that of all 10,000."""
    net = load_module(boundlab_data / "nets" / file, name)
    if name == "lenet5":
        x, y = first_images("mnist", 255 / 256)
        x = x.reshape(-1, 1, 28, 28)
    else:
        x, y = first_images("cifar10", 1.0)
        mean, deviation = (np.array(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        x = (x.reshape(-1, 3, 32, 32) - mean) / deviation
    seen = ModuleNet(net, x[:1])
    assert len(seen.layers) == layers
    assert set(seen.kept.values()) <= {"BatchNorm2d is no linear or convolutional layer", "biases are kept exactly"}
    right = float((seen(x).argmax(axis=1) == y).mean())
    assert abs(right - accuracy) <= 4 * (accuracy * (1 - accuracy) / 500) ** 0.5
