"""A batch norm goes where it changes no output, and stays, with the reason, where it would."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from boundlab._errors import InvalidParameter
from boundlab.nets.architectures import resnet
from boundlab.nets.folding import fold_batchnorm

IMAGES = np.random.default_rng(0).standard_normal((2, 3, 8, 8))
ROWS = np.random.default_rng(1).standard_normal((2, 3))
SEQUENCES = np.random.default_rng(2).standard_normal((2, 4, 3))


def seeded(module: nn.Module) -> nn.Module:
    rng = np.random.default_rng(5)
    with torch.no_grad():
        for name, t in module.state_dict().items():
            if t.is_floating_point():
                t.copy_(torch.from_numpy(rng.uniform(0.3, 2, t.shape) if "var" in name else rng.normal(size=t.shape)))
    return module


class Written(nn.Module):
    """A forward pass given as a function of (self, x), around a convolution and a batch norm."""

    def __init__(self, forward: Callable[[Any, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.conv, self.other = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 1)
        self.norm = nn.BatchNorm2d(3)
        self.written = forward

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.written(self, x)


EXACT = {
    "convolution": (nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()), IMAGES),
    "no bias": (nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4)), IMAGES),
    "groups, stride, padding": (
        nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1, groups=3, padding_mode="reflect"), nn.BatchNorm2d(6)),
        IMAGES,
    ),
    "no gamma and beta": (nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, affine=False)), IMAGES),
    "sequence": (nn.Sequential(nn.Conv1d(4, 5, 2, dilation=2), nn.BatchNorm1d(5)), SEQUENCES),
    "linear": (nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 2)), ROWS),
    "nested": (nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 1)), nn.Sequential(nn.BatchNorm2d(4))), IMAGES),
}


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("case", EXACT)
def test_outputs_stay_and_the_batch_norm_goes(case: str, double: bool) -> None:
    module, x = EXACT[case]
    kind = torch.float64 if double else torch.float32
    module = seeded(module).to(kind).train()
    state = {name: t.clone() for name, t in module.state_dict().items()}
    found = fold_batchnorm(module, x)
    assert len(found.folded) == 1
    assert not found.kept
    assert not [m for m in found.module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert all(p.dtype == kind for p in found.module.parameters())
    rows = torch.from_numpy(x).to(kind)
    want = module.eval()(rows)
    assert (found.module(rows) - want).abs().max() <= (1e-12 if double else 1e-5) * want.abs().max()
    assert all(torch.equal(t, state[name]) for name, t in module.state_dict().items()), "the argument changed"


@pytest.mark.parametrize(
    ("forward", "reason"),
    [
        (lambda m, x: m.norm(m.conv(x)) + 0 * m.conv(x), "called 2 times"),
        (lambda m, x: (lambda a: m.norm(a) + a)(m.conv(x)), "has 2 readers"),
        (lambda m, x: m.norm(m.conv(m.norm(x))), "called 2 times"),
        (lambda m, x: m.norm(torch.relu(m.conv(x))), "reads no layer"),
        (lambda m, x: m.conv(m.norm(x)), "reads no layer"),
        (lambda m, x: m.norm(m.conv(x)) * m.conv.weight.sum(), "reads the parameters"),
        (lambda m, x: m.norm(m.conv(x)) * m.norm.bias.sum(), "reads the parameters"),
        (lambda m, x: m.norm(m.conv(x)) if x.sum() > 0 else m.conv(x), "torch.fx cannot trace"),
        (lambda m, x: m.conv(x), "called 0 times"),
    ],
)
def test_a_batch_norm_that_cannot_go_stays_with_the_reason(forward: Any, reason: str) -> None:
    module = seeded(Written(forward))
    found = fold_batchnorm(module, IMAGES)
    assert not found.folded
    assert reason in found.kept["norm"]
    x = torch.from_numpy(IMAGES).float()
    assert torch.equal(found.module(x), module.eval()(x))


def test_a_layer_that_cannot_take_it_in_is_named() -> None:
    shared = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1))
    shared[2].weight = shared[0].weight
    for module, x, reason in (
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)), IMAGES, "no statistics"),
        (nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), SEQUENCES, "normalises positions"),
        (nn.Sequential(nn.ConvTranspose2d(3, 4, 3), nn.BatchNorm2d(4)), IMAGES, "reads a ConvTranspose2d"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4)), IMAGES, "reads a ReLU"),
        (shared, IMAGES, "is shared"),
        (nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3)), nn.BatchNorm2d(4)), IMAGES, "reads"),
    ):
        (told,) = fold_batchnorm(seeded(module), x).kept.values()
        assert reason in told


def test_all_19_batch_norms_of_a_residual_net_go() -> None:
    net = seeded(resnet(20))
    for name, t in net.state_dict().items():
        if "conv" in name:
            t *= 0.05
    x = np.random.default_rng(0).standard_normal((3, 3, 32, 32))
    found = fold_batchnorm(net, x)
    assert (len(found.folded), dict(found.kept)) == (19, {})
    rows = torch.from_numpy(x).float()
    want = net.eval()(rows)
    assert (found.module(rows) - want).abs().max() <= 1e-4 * want.abs().max()


def test_a_module_that_does_not_run_is_refused() -> None:
    with pytest.raises(InvalidParameter, match="must run on its example"):
        fold_batchnorm(nn.Linear(4, 2), ROWS)
