"""What is written gives the outputs of the net, and comes back as it was; nothing else is left on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx.reference
import pytest
import torch
from torch import nn
from torch.nn import functional

from boundlab._errors import InvalidParameter, UnsupportedLayer
from boundlab.nets.architectures import lenet5, resnet
from boundlab.nets.export import arrays_of, export, module_of_network
from boundlab.nets.load import load_network
from boundlab.nets.load_module import load_module
from boundlab.nets.module_net import ModuleNet
from boundlab.nets.onnx_graph import read_model
from boundlab.nets.sparse import dense_arrays, sparse_arrays
from boundlab.nets.toy import random_network
from boundlab.network import Layer, Network

NET = random_network((6, 5, 4, 3), rng=0, bias=True)
WHOLE = [".onnx", ".onnx.gz", ".pt2"]
IMAGE, SEQUENCE = (4, 8, 8), (4, 8)


def equal(one: Network, other: Network) -> bool:
    return one.digest == other.digest


def linear(net: Network) -> Network:
    """The same weights without a ReLU anywhere."""
    return Network(layers=tuple(Layer(weight=w.weight, bias=w.bias, relu=False) for w in net.layers))


# ------------------------------------------------------------------------------------------------------------ networks


@pytest.mark.parametrize("suffix", [*WHOLE, ".npz"])
def test_a_network_comes_back_to_the_last_bit(tmp_path: Path, suffix: str) -> None:
    told = export(NET, tmp_path / f"net{suffix}")
    assert equal(load_network(str(told.path)), NET)
    assert told.size == told.path.stat().st_size
    assert told.difference <= 1e-15
    assert [p.name for p in tmp_path.iterdir()] == [f"net{suffix}"]


def test_a_relu_after_the_last_layer_comes_back(tmp_path: Path) -> None:
    last = Layer(weight=NET.layers[-1].weight, bias=NET.layers[-1].bias, relu=True)
    net = Network(layers=(*NET.layers[:-1], last))
    for suffix in (*WHOLE, ".npz"):
        export(net, tmp_path / f"net{suffix}")
        assert equal(load_network(str(tmp_path / f"net{suffix}")), net)


@pytest.mark.parametrize("suffix", [*WHOLE, ".npz"])
def test_layers_without_relu_come_back(tmp_path: Path, suffix: str) -> None:
    export(linear(NET), tmp_path / f"net{suffix}")
    assert equal(load_network(str(tmp_path / f"net{suffix}")), linear(NET))


@pytest.mark.parametrize("relu", [np.array([1, 0, 0]), np.array([True, False]), np.array([[True, False, True]])])
def test_relus_that_are_no_boolean_for_each_layer_are_refused(tmp_path: Path, relu: np.ndarray) -> None:
    arrays: dict[str, Any] = {k: a for k, a in arrays_of(NET).items() if k[0] in "Wb"}
    np.savez(tmp_path / "net.npz", **arrays, relu=relu)
    with pytest.raises(InvalidParameter, match="must be 3 booleans"):
        load_network(str(tmp_path / "net.npz"))


def test_a_network_is_its_module() -> None:
    x = np.random.default_rng(0).standard_normal((9, 6))
    np.testing.assert_allclose(module_of_network(NET)(torch.from_numpy(x)).detach().numpy(), NET(x), rtol=1e-12)


# ------------------------------------------------------------------------------------------------------------- modules


class Written(nn.Module):
    """A forward pass given as a function of (self, x), and the parts that it may use."""

    def __init__(self, forward: Callable[[Any, torch.Tensor], Any]) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2), nn.BatchNorm2d(6)
        self.linear, self.layer_norm = nn.Linear(8, 5), nn.LayerNorm(8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.register_buffer("shift", torch.linspace(-1, 1, 8))
        self.written = forward

    def forward(self, x: torch.Tensor) -> Any:
        return self.written(self, x)


FORWARDS: dict[str, tuple[Callable[[Any, torch.Tensor], Any], tuple[int, ...]]] = {
    "convolution and batch norm": (lambda m, x: functional.relu(m.norm(m.conv(x))), IMAGE),
    "convolution, same": (lambda m, x: functional.conv2d(x, m.conv.weight.repeat(1, 2, 1, 2), padding="same"), IMAGE),
    "residual in place": (lambda m, x: m.norm(m.conv(x)).relu_().add_(1).mul(2), IMAGE),
    "max pool": (lambda m, x: functional.max_pool2d(x, 3, 2, 1, ceil_mode=True), IMAGE),
    "average pool": (lambda m, x: functional.avg_pool2d(x, (2, 4), padding=(1, 0)), IMAGE),
    "adaptive pool": (lambda m, x: functional.adaptive_avg_pool2d(x, (4, 2)).flatten(1), IMAGE),
    "option A": (lambda m, x: functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2)), IMAGE),
    "reflection": (lambda m, x: functional.pad(x, (1, 2, 0, 1), mode="reflect"), IMAGE),
    "one axis": (lambda m, x: functional.avg_pool1d(functional.max_pool1d(x, 2), 2), SEQUENCE),
    "convolution of sequences": (
        lambda m, x: functional.conv1d(x, m.conv.weight[:, :, 0].repeat(1, 2, 1), stride=2),
        SEQUENCE,
    ),
    "linear form": (
        lambda m, x: torch.addmm(m.linear.bias, x.mean(1), m.linear.weight.t(), beta=2, alpha=0.5),
        SEQUENCE,
    ),
    "limits": (
        lambda m, x: torch.maximum(torch.minimum(x, m.shift), -m.shift).exp().log() + functional.hardtanh(x),
        SEQUENCE,
    ),
    "linear of positions": (lambda m, x: m.linear(x), SEQUENCE),
    "attention": (lambda m, x: m.attention(x, x, x, need_weights=False)[0], SEQUENCE),
    "chunk and concatenation": (lambda m, x: torch.cat([*x.chunk(2, 1)[::-1], x.split([3, 1], 1)[0]], 1), SEQUENCE),
    "norm and gelu": (lambda m, x: functional.gelu(m.layer_norm(x)), SEQUENCE),
    "arithmetic": (lambda m, x: (2 - x) * m.shift / 3 + torch.add(x, m.shift.exp(), alpha=0.5) ** 2, SEQUENCE),
    "functions": (lambda m, x: x.sigmoid() + x.tanh() + x.abs().sqrt() + functional.silu(x) - x.clamp(-0.5), SEQUENCE),
    "more functions": (lambda m, x: functional.leaky_relu(x, 0.2) + functional.elu(x) + functional.relu6(x), SEQUENCE),
    "softmax": (lambda m, x: x.softmax(-1) + x.log_softmax(1) + functional.softplus(x), SEQUENCE),
    "means": (lambda m, x: x.mean((1, 2), keepdim=True) + x.sum(2, keepdim=True) + x.mean(1)[:, None], SEQUENCE),
    "places": (lambda m, x: x[:, -1] + x.transpose(1, 2).permute(0, 2, 1)[:, 0, :], SEQUENCE),
    "reshapes": (lambda m, x: x.view(len(x), -1).unflatten(1, (2, 16)).unsqueeze(1).squeeze(1), SEQUENCE),
    "products": (lambda m, x: (x @ x.transpose(1, 2)).bmm(x) @ m.linear.weight.t(), SEQUENCE),
}


@pytest.mark.parametrize("case", FORWARDS)
def test_a_written_module_gives_its_outputs_in_onnx_s_evaluator(tmp_path: Path, case: str) -> None:
    forward, shape = FORWARDS[case]
    rng = np.random.default_rng(2)
    net = Written(forward).eval()
    with torch.no_grad():
        for name, t in net.state_dict().items():
            if t.is_floating_point():
                values = rng.normal(size=t.shape)
                t.copy_(torch.from_numpy(np.abs(values) if "var" in name else values))
    told = export(net, tmp_path / "net.onnx", example=np.zeros((1, *shape)))
    assert told.difference <= 1e-5
    session: Any = onnx.reference.ReferenceEvaluator(read_model(str(told.path)))
    x = rng.standard_normal((5, *shape)).astype(np.float32)
    want = net(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(session.run(None, {"input": x})[0], want, atol=1e-5 * np.abs(want).max(), rtol=0)
    back = load_module(told.path)(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(back, want, atol=1e-5 * np.abs(want).max(), rtol=0)


@pytest.mark.parametrize("case", ["convolution and batch norm", "attention", "chunk and concatenation"])
def test_a_module_goes_through_pt2_and_back(tmp_path: Path, case: str) -> None:
    forward, shape = FORWARDS[case]
    net = Written(forward).eval()
    assert export(net, tmp_path / "net.pt2", example=np.zeros((1, *shape))).difference <= 1e-6
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((5, *shape))).float()
    loaded = torch.export.load(tmp_path / "net.pt2").module()(x)
    assert torch.equal(loaded, net(x))
    assert (load_module(tmp_path / "net.pt2")(x) - loaded).abs().max() <= 1e-5 * loaded.abs().max()


def test_a_compressed_module_is_exported_with_its_zeros(tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((3, 1, 28, 28))
    net = ModuleNet(lenet5(), x)
    thin = net.with_weights([np.where(np.abs(w.weight) > w.weight.std(), w.weight, 0) for w in net.layers])
    for suffix in (".onnx", ".pt2"):
        export(thin, tmp_path / f"net{suffix}", example=x)
        back = ModuleNet(load_module(tmp_path / f"net{suffix}"), x)
        assert [w.name for w in back.layers] == [w.name for w in net.layers]
        assert back.nnz == thin.nnz < net.nnz / 2
        np.testing.assert_allclose(back(x), thin(x), atol=1e-5 * np.abs(thin(x)).max())


def test_the_argument_and_torch_s_generator_are_left_alone(tmp_path: Path) -> None:
    net = resnet(8).train()
    before, state = torch.get_rng_state(), {k: t.clone() for k, t in net.state_dict().items()}
    export(net, tmp_path / "net.onnx", example=np.zeros((1, 3, 8, 8)))
    assert net.training
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(t, state[k]) for k, t in net.state_dict().items())


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (lambda m, x: torch.fft.rfft(x).real, "fft_rfft"),
        (lambda m, x: x.cumsum(1), "cumsum"),
        (lambda m, x: x * len(x), "depends on the number of points"),
        (lambda m, x: x if len(x) == 2 else x.relu(), "other numbers of points"),
        (lambda m, x: functional.gelu(x, approximate="tanh"), "gelu"),
        (lambda m, x: (x, x), "returns a tuple"),
    ],
)
def test_what_has_no_onnx_form_is_refused_by_name_and_no_file_is_left(
    tmp_path: Path, forward: Any, message: str
) -> None:
    with pytest.raises(UnsupportedLayer, match=message):
        export(Written(forward), tmp_path / "net.onnx", example=np.zeros((1, *SEQUENCE)))
    assert not list(tmp_path.iterdir())


def test_a_file_with_other_outputs_is_not_left_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from boundlab.nets import onnx_writing

    (tmp_path / "net.onnx").write_text("what stood there")
    monkeypatch.setitem(onnx_writing._WRITERS, "relu", onnx_writing._WRITERS["abs"])
    with pytest.raises(UnsupportedLayer, match="must have the outputs of the net"):
        export(NET, tmp_path / "net.onnx")
    assert (tmp_path / "net.onnx").read_text() == "what stood there"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("net", "name", "example", "message"),
    [
        (NET, "net.txt", None, "must be written as .onnx"),
        (lenet5(), "net.onnx", None, "example must have shape"),
        (lenet5(), "net.onnx", np.zeros((1, 3, 28, 28)), "must run"),
        (lenet5().half(), "net.onnx", np.zeros((1, 1, 28, 28)), "float32 or float64 throughout, got torch.float16"),
        ("net", "net.onnx", None, "got str"),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path: Path, net: Any, name: str, example: Any, message: str) -> None:
    with pytest.raises(InvalidParameter, match=message):
        export(net, tmp_path / name, example=example)
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------------------------------------------- sparse arrays


SPARSE = {
    "dense": np.arange(1.0, 7.0).reshape(2, 3),
    "sparse": np.where(np.arange(600).reshape(20, 30) % 97 == 5, np.float32(1.5), np.float32(0)),
    "signed zero and NaN": np.array([0.0] * 200 + [-0.0, np.nan, np.inf, 5e-324]),
    "all zero": np.zeros((300, 2), dtype=np.float32),
    "large": np.eye(1, 70_000, 69_999).reshape(-1),
    "number": np.array(0),
    "flag": np.array(False),
    "counts": np.eye(50, dtype=np.int64),
    "flags": np.eye(100, dtype=bool),
    "empty": np.zeros((0, 3)),
    "half": np.eye(64, dtype=np.float16),
}


def test_sparse_arrays_come_back_to_the_last_bit() -> None:
    stored = sparse_arrays(SPARSE)
    back = dense_arrays(stored)
    assert list(back) == list(SPARSE)
    for name, array in SPARSE.items():
        assert (back[name].dtype, back[name].shape) == (array.dtype, array.shape)
        assert back[name].tobytes() == array.tobytes()
    assert {key for key in stored if "@" not in key} == {"dense", "number", "flag", "empty"}
    assert stored["sparse@indices"].dtype == np.uint16
    assert stored["large@indices"].tolist() == [69_999]


@pytest.mark.parametrize(
    "parts",
    [
        {"w@indices": np.array([0])},
        {"w@shape": np.array([3]), "w@indices": np.array([0]), "w@values": np.array([1.0, 2.0])},
        {"w@shape": np.array([3]), "w@indices": np.array([3]), "w@values": np.array([1.0])},
        {"w@shape": np.array([3]), "w@indices": np.array([-1]), "w@values": np.array([1.0])},
        {"w@shape": np.array([3]), "w@indices": np.array([1, 1]), "w@values": np.array([1.0, 2.0])},
        {"w@shape": np.array([3.0]), "w@indices": np.array([1]), "w@values": np.array([1.0])},
        {"w@shape": np.array([1 << 40]), "w@indices": np.array([1]), "w@values": np.array([1.0])},
        {"w@other": np.array([0])},
    ],
)
def test_broken_sparse_arrays_are_refused(parts: dict[str, np.ndarray]) -> None:
    with pytest.raises(InvalidParameter, match="must"):
        dense_arrays(parts)


def test_a_name_with_an_at_sign_is_refused() -> None:
    with pytest.raises(InvalidParameter, match="without an '@'"):
        sparse_arrays({"a@b": np.zeros(1)})


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_a_thin_net_takes_little_room(tmp_path: Path, suffix: str) -> None:
    """One weight in 100 of 431,080 float32 ones, beside an index of at most 4 bytes and the 580 biases."""
    module = lenet5()
    with torch.no_grad():
        for p in module.parameters():
            if p.ndim > 1:
                p[torch.from_numpy(np.random.default_rng(0).uniform(size=p.shape) > 0.01)] = 0
    told = export(module, tmp_path / f"net{suffix}")
    assert told.difference == 0
    assert told.size < 431_080 * 0.012 * 8 + 580 * 4 + 10_000
    assert {k: a.tobytes() for k, a in arrays_of(load_module(told.path, "lenet5")).items()} == {
        k: a.tobytes() for k, a in arrays_of(module).items()
    }


def test_a_sparse_network_is_read_by_load_network(tmp_path: Path) -> None:
    net = random_network((40, 30, 3), rng=1)
    thin = net.with_weights([np.where(np.abs(w.weight) > 0.6, w.weight, 0) for w in net.layers])
    export(thin, tmp_path / "net.npz")
    assert equal(load_network(str(tmp_path / "net.npz")), thin)
