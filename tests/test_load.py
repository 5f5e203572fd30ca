"""Nets come in exactly, or are refused in one line; nothing is unpickled on the way."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import textwrap
import zipfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.reference
import pytest
import safetensors.torch
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.nn import functional
from torch.nn.utils import prune

from boundlab._errors import BoundlabError, InvalidParameter, UnsupportedLayer
from boundlab.nets.load import as_network, load_network
from boundlab.nets.toy import random_network
from boundlab.network import Network

X = np.random.default_rng(7).standard_normal((20, 12))


def mlp(*sizes: int, last_relu: bool = False) -> nn.Sequential:
    """A plain module with seeded weights of its own: torch's generator is left alone."""
    rng = np.random.default_rng(len(sizes))
    parts: list[nn.Module] = []
    for n, m in pairwise(sizes):
        linear = nn.Linear(n, m)
        linear.weight.data = torch.tensor(rng.standard_normal((m, n)), dtype=torch.float32)
        linear.bias.data = torch.tensor(rng.standard_normal(m), dtype=torch.float32)
        parts += [linear, nn.ReLU()]
    return nn.Sequential(*(parts if last_relu else parts[:-1]))


class Written(nn.Module):
    """A forward pass given as a function of (self, x), around two linear layers 12 -> 8 -> 3."""

    def __init__(self, forward: Callable[[Any, torch.Tensor], Any]) -> None:
        super().__init__()
        inner = mlp(12, 8, 3)
        self.a, self.b = inner[0], inner[2]
        self.drop = nn.Dropout(0.5)
        self.norm = nn.BatchNorm1d(8)
        self.norm.running_mean = torch.linspace(-1, 1, 8)
        self.norm.running_var = torch.linspace(0.5, 2, 8)
        self.mean = torch.tensor(0.1307)
        self.register_buffer("std", torch.linspace(0.2, 0.9, 12))
        self.run = forward

    def forward(self, x: torch.Tensor) -> Any:
        return self.run(self, x)


WRITINGS: dict[str, Callable[[Any, torch.Tensor], Any]] = {
    "functional": lambda s, x: s.b(functional.relu(s.a(x))),
    "in_place": lambda s, x: s.b(functional.relu_(s.a(x))),
    "clamp": lambda s, x: s.b(s.a(x).clamp(min=0)),
    "relu_last": lambda s, x: functional.relu(s.b(functional.relu(s.a(x)))),
    "two_linear": lambda s, x: s.b(s.a(x)),
    "dropout": lambda s, x: s.b(s.drop(functional.relu(s.a(x)))),
    "view": lambda s, x: s.b(functional.relu(s.a(x.view(x.size(0), -1)))),
    "flatten": lambda s, x: s.b(functional.relu(s.a(torch.flatten(x, 1)))).reshape(-1, 3),
    "squeezed": lambda s, x: s.b(functional.relu(s.a(x.unsqueeze(1)))).squeeze(1),
    "permuted": lambda s, x: s.b(functional.relu(s.a(x.view(-1, 3, 4).permute(0, 2, 1).reshape(-1, 12)))),
    "normalised": lambda s, x: s.b(functional.relu(s.a((x - s.mean) / s.std))),
    "reversed": lambda s, x: s.b(functional.relu(1.0 - s.a(2.0 - x * 0.5))),
    "rescaled_after": lambda s, x: s.b(functional.relu(s.a(x) * 3.0 + 1.0) / 7.0) - s.mean,
    "batch_norm": lambda s, x: s.b(functional.relu(s.norm(s.a(x)))),
    "matmul": lambda s, x: x @ s.a.weight.t() @ s.b.weight.t() + s.b.bias,
    "addmm": lambda s, x: torch.addmm(s.b.bias, functional.relu(s.a(x)), s.b.weight.t(), beta=2.0, alpha=0.5),
    "column": lambda s, x: (s.b.weight @ functional.relu(s.a.weight @ x.t() + s.a.bias[:, None])).t(),
    "no_grad": lambda s, x: _no_grad(s, x),
    "single_precision": lambda s, x: s.b(functional.relu(s.a(x.float()))),
}


def _no_grad(s: Any, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return s.b(functional.relu(s.a(x)))


def _aliased(s: Any, x: torch.Tensor) -> torch.Tensor:
    hidden = s.a(x)
    view = hidden.view(-1, 8)
    hidden.relu_()
    return s.b(view)


REFUSED: dict[str, tuple[Callable[[Any, torch.Tensor], Any], str]] = {
    "residual": (lambda s, x: s.a(x) + functional.relu(s.a(x)), "aten.add"),
    "sigmoid": (lambda s, x: s.b(torch.sigmoid(s.a(x))), "aten.sigmoid"),
    "leaky": (lambda s, x: s.b(functional.leaky_relu(s.a(x))), "aten.leaky_relu"),
    "relu6": (lambda s, x: s.b(functional.relu6(s.a(x))), "aten.relu6"),
    "softmax": (lambda s, x: s.b(functional.relu(s.a(x))).softmax(1), "aten.softmax"),
    "live_dropout": (lambda s, x: s.b(functional.dropout(functional.relu(s.a(x)), 0.5)), "training mode"),
    "product": (lambda s, x: s.b(s.a(x) * s.a(x)), "aten.mul"),
    "relu_first": (lambda s, x: s.b(functional.relu(s.a(functional.relu(x)))), "before the first linear"),
    "mean": (lambda s, x: s.b(s.a(x)).mean(1), "aten.mean"),
    "mixed_batch": (lambda s, x: s.b(s.a(x.t().reshape(-1, 12))), "mixes the points"),
    "two_outputs": (lambda s, x: (s.a(x), s.a(x)), "returns a tuple"),
    "named_output": (lambda s, x: {"logits": s.a(x)}, "returns a dict"),
    "noise": (lambda s, x: s.a(x) + torch.randn(1, 8, dtype=x.dtype), "other outputs"),
    "aliased": (lambda s, x: _aliased(s, x), "other outputs"),
    "constant": (lambda s, x: s.b(s.a(torch.zeros(1, 12, dtype=x.dtype))), "does not depend"),
    "whole": (lambda s, x: s.b(s.a(x.long().to(x.dtype))), "aten"),
}


def one_line(error: BaseException) -> bool:
    return "\n" not in str(error) and str(error).endswith(".") and len(str(error)) < 700


def equal(left: Network, right: Network) -> bool:
    return len(left.layers) == len(right.layers) and all(
        np.array_equal(a.weight, b.weight) and np.array_equal(a.bias, b.bias) and a.relu == b.relu
        for a, b in zip(left.layers, right.layers, strict=True)
    )


# ------------------------------------------------------------------------------------------------------------- modules


@pytest.mark.parametrize("last_relu", [False, True])
def test_a_plain_module_keeps_its_weights_bit_for_bit(last_relu: bool) -> None:
    module = mlp(12, 9, 5, 3, last_relu=last_relu)
    net = as_network(module)
    linears = [part for part in module if isinstance(part, nn.Linear)]
    for layer, linear in zip(net.layers, linears, strict=True):
        assert np.array_equal(layer.weight, linear.weight.detach().numpy().astype(np.float64))
        assert np.array_equal(layer.bias, linear.bias.detach().numpy().astype(np.float64))
    assert [layer.relu for layer in net.layers] == [True, True, last_relu]


@pytest.mark.parametrize("name", WRITINGS)
def test_a_written_module_and_its_network_agree(name: str) -> None:
    module = Written(WRITINGS[name])
    before = {key: value.clone() for key, value in module.state_dict().items()}
    net = as_network(module)
    assert module.training  # the caller's module is not put in eval mode, nor changed
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    module.eval()
    want = np.stack([module(torch.tensor(x[None], dtype=torch.float32)).detach().numpy().ravel() for x in X])
    np.testing.assert_allclose(net(X), want, rtol=1e-4, atol=1e-4 * np.abs(want).max())


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_an_mlp_is_refused_by_name(name: str) -> None:
    forward, word = REFUSED[name]
    with pytest.raises(UnsupportedLayer, match=word) as caught:
        as_network(Written(forward))
    assert one_line(caught.value)


@pytest.mark.parametrize(
    ("module", "word"),
    [
        (nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 26 * 26, 10)), "Conv2d"),
        (nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.Flatten(), nn.Linear(64, 2)), "conv2d"),
        (nn.Sequential(nn.Flatten(), nn.MaxPool1d(2), nn.Linear(8, 2)), "(?i)max_?pool"),
        (nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)), "layer_norm"),
        (nn.Sequential(nn.Flatten()), "features must be given"),
        (nn.ModuleList([nn.Linear(4, 4)]), "must run"),
        (nn.Sequential(nn.LazyLinear(3)), "features must be given"),
        (nn.LSTM(4, 3), "returns a tuple"),
        (Written(lambda s, x: s.a(x) if x.sum() > 0 else -s.a(x)), "data-dependent"),
    ],
)
def test_modules_with_other_layers_are_refused_in_one_line(
    module: nn.Module, word: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises((UnsupportedLayer, InvalidParameter), match=word) as caught:
        as_network(module)
    assert one_line(caught.value)
    assert capfd.readouterr() == ("", "")  # torch's own log stays quiet


def test_a_module_that_wants_images_is_given_images() -> None:
    class Images(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = mlp(3 * 16, 4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            batch, channels, height, width = x.shape
            return self.inner(x.reshape(batch, channels * height * width))

    assert as_network(Images()).sizes == (48, 4, 2)


def test_features_stand_in_for_a_linear_layer_and_must_fit() -> None:
    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.ones(3, 2, 4)[:, 0])

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return functional.linear(x, self.w)

    assert as_network(Bare(), features=4).sizes == (4, 3)
    with pytest.raises(InvalidParameter, match="features must be the net's number of inputs, 4, got 5"):
        as_network(random_network((4, 2), rng=0), features=5)


def test_pruned_and_reparametrised_modules_come_in_as_they_run() -> None:
    module = mlp(12, 8, 3)
    prune.l1_unstructured(module[0], "weight", amount=0.5)
    nn.utils.parametrizations.weight_norm(module[2])
    net = as_network(module)
    assert np.count_nonzero(net.layers[0].weight) == 48
    np.testing.assert_allclose(net(X), module(torch.tensor(X).float()).detach().numpy(), rtol=1e-4, atol=1e-4)


def test_a_network_is_returned_as_it_is_and_anything_else_is_refused() -> None:
    net = random_network((4, 3, 2), rng=0)
    assert as_network(net) is net
    with pytest.raises(InvalidParameter, match="got list") as caught:
        as_network([1, 2])
    assert one_line(caught.value)


# ----------------------------------------------------------------------------------------------------------------- pt2


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("batch", [1, 5])
def test_a_pt2_file_gives_the_module_back(tmp_path: Path, dynamic: bool, batch: int) -> None:
    module = mlp(12, 8, 3, last_relu=True).eval()
    shapes = ({0: torch.export.Dim("points", min=1, max=99)},) if dynamic else None
    program = torch.export.export(module, (torch.zeros(batch + dynamic, 12),), dynamic_shapes=shapes)
    torch.export.save(program, tmp_path / "net.pt2")
    assert equal(load_network(str(tmp_path / "net.pt2")), as_network(module))


@pytest.mark.parametrize("name", ["view", "normalised", "in_place", "column", "single_precision", "batch_norm"])
def test_a_written_pt2_file_gives_the_module_back(tmp_path: Path, name: str) -> None:
    module = Written(WRITINGS[name]).eval()
    torch.export.save(torch.export.export(module, (torch.zeros(2, 12),), strict=False), tmp_path / "net.pt2")
    want = module(torch.tensor(X, dtype=torch.float32)).detach().numpy()
    np.testing.assert_allclose(load_network(str(tmp_path / "net.pt2"))(X), want, rtol=1e-4, atol=1e-3)


def test_a_pt2_file_of_a_conv_net_is_refused(tmp_path: Path) -> None:
    program = torch.export.export(nn.Sequential(nn.Conv2d(1, 1, 3)).eval(), (torch.zeros(1, 1, 8, 8),))
    torch.export.save(program, tmp_path / "net.pt2")
    with pytest.raises(UnsupportedLayer, match="got aten.conv2d in the graph".replace(".", r"\.")):
        load_network(str(tmp_path / "net.pt2"))


def test_a_pt2_file_runs_no_code_from_its_sample_inputs(tmp_path: Path) -> None:
    """torch.export.load falls back to a full unpickling of the sample inputs; ours never opens them."""
    program = torch.export.export(mlp(12, 8, 3).eval(), (torch.zeros(1, 12),))
    torch.export.save(program, tmp_path / "good.pt2")
    trap = tmp_path / "sprung"
    buffer = io.BytesIO()
    torch.save(Trap(str(trap)), buffer)
    with zipfile.ZipFile(tmp_path / "good.pt2") as good, zipfile.ZipFile(tmp_path / "bad.pt2", "w") as bad:
        for name in good.namelist():
            bad.writestr(name, buffer.getvalue() if "sample_inputs" in name else good.read(name))
    assert load_network(str(tmp_path / "bad.pt2")).sizes == (12, 8, 3)
    assert not trap.exists()


# -------------------------------------------------------------------------------------------------------------- pickles


class Trap:
    """Unpickling this makes a folder."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".th", ".pkl", ".bin", ".ckpt", ".joblib", ".onnx", ".npz", ".pt2"])
@pytest.mark.parametrize("writer", ["pickle", "torch.save"])
def test_a_pickle_is_refused_unopened_whatever_its_name(tmp_path: Path, suffix: str, writer: str) -> None:
    path, trap = tmp_path / f"net{suffix}", tmp_path / "sprung"
    if writer == "pickle":
        path.write_bytes(pickle.dumps(Trap(str(trap))))
    else:
        torch.save({"state": mlp(4, 2).state_dict(), "trap": Trap(str(trap))}, path)
    with pytest.raises(InvalidParameter, match="must not be a pickle") as caught:
        load_network(str(path))
    assert one_line(caught.value)
    assert not trap.exists()


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".onnx", ".onnx.gz", ".pt2"])
@pytest.mark.parametrize("content", [b"", b"x", b"not a net at all", pickle.dumps([1.5], 0), b"PK\x03\x04broken"])
def test_a_broken_file_is_one_line(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"net{suffix}"
    path.write_bytes(gzip.compress(content) if suffix.endswith(".gz") and content else content)
    with pytest.raises(InvalidParameter) as caught:
        load_network(str(path), factory="json:loads" if suffix == ".safetensors" else None)
    assert one_line(caught.value)


# ----------------------------------------------------------------------------------------------------------------- npz

W0, B0, W1, B1 = np.ones((3, 4)), np.zeros(3), np.ones((2, 3)), np.zeros(2)


@pytest.mark.parametrize(("stored", "given", "last"), [(None, False, False), (None, True, True), (1, False, True)])
def test_an_npz_net_keeps_its_arrays_and_its_last_relu(
    tmp_path: Path, stored: int | None, given: bool, last: bool
) -> None:
    extra = {} if stored is None else {"relu_after_last": np.array(stored)}
    np.savez(tmp_path / "net.npz", W0=W0, b0=B0, W1=W1, b1=B1, **extra, allow_pickle=True)
    net = load_network(str(tmp_path / "net.npz"), relu_after_last=given)
    assert [layer.relu for layer in net.layers] == [True, last]
    assert np.array_equal(net.layers[0].weight, W0)


@pytest.mark.parametrize(
    ("arrays", "word"),
    [
        ({}, "no array"),
        ({"W0": W0}, "nothing else, got W0"),
        ({"W0": W0, "b0": B0, "W2": W1, "b2": B1}, "nothing else"),
        ({"W0": W0, "b0": B0, "extra": B0}, "extra"),
        ({"W0": W0, "b0": B0, "W01": W1, "b01": B1}, "W01"),
        ({"W0": W0[0], "b0": B0}, "W0 .* 2 dimensions"),
        ({"W0": W0, "b0": W0}, "b0 .* 1 dimensions"),
        ({"W0": W0[:, :0], "b0": B0}, "none of them 0"),
        ({"W0": W0, "b0": B1}, r"b0 .* \(3,\)"),
        ({"W0": W0, "b0": B0, "W1": W1.T, "b1": B0}, "W1 .* 3 columns"),
        ({"W0": W0 * np.nan, "b0": B0}, "W0 .* got 12 NaN"),
        ({"W0": W0, "b0": B0 + np.inf}, "b0 .* finite"),
        ({"W0": W0.astype(complex), "b0": B0}, "complex128"),
        ({"W0": W0.astype(str), "b0": B0}, "real numbers"),
        ({"W0": W0.astype(object), "b0": B0}, "plain arrays"),
        ({"W0": W0, "b0": B0, "relu_after_last": np.array(2)}, "0 or 1"),
        ({"W0": W0, "b0": B0, "relu_after_last": np.array([0, 1])}, "0 or 1"),
    ],
)
def test_an_npz_net_that_breaks_a_rule_is_refused(tmp_path: Path, arrays: dict[str, Any], word: str) -> None:
    np.savez(tmp_path / "net.npz", **arrays, allow_pickle=True)
    with pytest.raises(InvalidParameter, match=word) as caught:
        load_network(str(tmp_path / "net.npz"))
    assert one_line(caught.value)


def test_flags_are_refused_where_they_say_nothing(tmp_path: Path) -> None:
    np.savez(tmp_path / "net.npz", W0=W0, b0=B0, relu_after_last=0)
    for source, flags, word in [
        ("net.onnx", {"relu_after_last": True}, "relu_after_last"),
        ("net.npz", {"factory": "a:b"}, "factory"),
        ("net.npz", {"relu_after_last": True}, "contradict"),
        ("net.txt", {}, "existing file"),
        ("missing.npz", {}, "existing file"),
    ]:
        with pytest.raises(InvalidParameter, match=word) as caught:
            load_network(str(tmp_path / source), **flags)
        assert one_line(caught.value)
    (tmp_path / "net.txt").write_text("weights")
    with pytest.raises(InvalidParameter, match="must come from"):
        load_network(str(tmp_path / "net.txt"))


# ------------------------------------------------------------------------------------------ functions and safetensors


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module of the user's, in the current folder."""
    name = "own_" + tmp_path.name.replace("-", "_")
    text = """
        import sys
        from torch import nn
        from boundlab.nets.toy import random_network

        def net(): return random_network((4, 3, 2), rng=0)
        def module(): return nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
        def number(): return 5
        def fails(): raise KeyError("two\\nlines")
        def leaves(): sys.exit(3)
        class Nets:
            net = staticmethod(net)
    """
    (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
    monkeypatch.chdir(tmp_path)
    return name


def test_a_function_of_the_current_folder_gives_the_net(own: str) -> None:
    assert equal(load_network(f"{own}:net"), random_network((4, 3, 2), rng=0))
    assert load_network(f"{own}:module").sizes == load_network(f"{own}:Nets.net").sizes == (4, 3, 2)


@pytest.mark.parametrize(
    ("name", "word"),
    [("fails", "KeyError: 'two"), ("leaves", "SystemExit: 3"), ("absent", "AttributeError"), ("number", "got int")],
)
def test_a_function_that_fails_is_one_line_with_its_exception(own: str, name: str, word: str) -> None:
    with pytest.raises(InvalidParameter, match=word) as caught:
        load_network(f"{own}:{name}")
    assert one_line(caught.value)


def test_a_module_that_is_not_there_is_one_line() -> None:
    with pytest.raises(InvalidParameter, match="ModuleNotFoundError"):
        load_network("no_such_module_here:net")


def test_safetensors_fill_the_module_that_the_factory_builds(own: str, tmp_path: Path) -> None:
    module = mlp(4, 3, 2)
    safetensors.torch.save_file(module.state_dict(), tmp_path / "net.safetensors")
    assert equal(load_network("net.safetensors", factory=f"{own}:module"), as_network(module))
    double = {key: value.double() / 3 for key, value in module.state_dict().items()}
    safetensors.torch.save_file(double, tmp_path / "double.safetensors")
    net = load_network("double.safetensors", factory=f"{own}:module")
    assert np.array_equal(net.layers[0].weight, double["0.weight"].numpy())  # the file's precision, not the module's


@pytest.mark.parametrize(
    ("factory", "state", "word"),
    [
        (None, {"0.weight": torch.ones(3, 4)}, "must come with factory"),
        ("number", {"0.weight": torch.ones(3, 4)}, "torch.nn.Module, got int"),
        ("module", {"0.weight": torch.ones(3, 4)}, "exactly the state"),
        ("module", mlp(4, 5, 2).state_dict(), "exactly the state"),
        ("module", {**mlp(4, 3, 2).state_dict(), "more": torch.ones(1)}, "exactly the state"),
    ],
)
def test_safetensors_that_do_not_fit_are_refused(
    own: str, tmp_path: Path, factory: str | None, state: dict[str, torch.Tensor], word: str
) -> None:
    safetensors.torch.save_file(state, tmp_path / "net.safetensors")
    with pytest.raises(InvalidParameter, match=word) as caught:
        load_network("net.safetensors", factory=factory and f"{own}:{factory}")
    assert one_line(caught.value)


# ---------------------------------------------------------------------------------------------------------------- onnx


def write_onnx(
    path: Path, nodes: list[Any], constants: dict[str, Any], shape: list[Any], *, opset: int = 13, outputs: int = 1
) -> str:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(f"y{k or ''}", TensorProto.FLOAT, ["any"]) for k in range(outputs)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=7)
    content = model.SerializeToString()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return str(path)


def f32(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


N = helper.make_node
ONNX: dict[str, tuple[list[Any], dict[str, Any], list[Any]]] = {
    "gemm": ([N("Gemm", ["x", "w", "b"], ["y"], alpha=0.5, beta=2.0, transB=1)], {"w": f32(3, 4), "b": f32(3)}, [1, 4]),
    "gemm_plain": ([N("Gemm", ["x", "w"], ["y"])], {"w": f32(4, 3)}, ["batch", 4]),
    "left": (
        [N("MatMul", ["w", "x"], ["a"]), N("Add", ["b", "a"], ["z"]), N("Relu", ["z"], ["y"])],
        {"w": f32(3, 4), "b": f32(3, 1)},
        [4, 1],
    ),
    "vector": ([N("MatMul", ["x", "w"], ["y"])], {"w": f32(4)}, [1, 4]),
    "shape": (
        [
            N("Sub", ["x", "m"], ["c"]),
            N("Div", ["c", "s"], ["d"]),
            N("Shape", ["d"], ["n"]),
            N("Gather", ["n", "zero"], ["n0"]),
            N("Concat", ["n0", "minus"], ["to"], axis=0),
            N("Reshape", ["d", "to"], ["r"]),
            N("MatMul", ["r", "w"], ["h"]),
            N("Dropout", ["h"], ["p"]),
            N("Mul", ["two", "p"], ["y"]),
        ],
        {
            "m": f32(1, 2, 1),
            "s": np.float32(3.5),
            "zero": np.array([0]),
            "minus": np.array([-1]),
            "w": f32(4, 3),
            "two": np.float32(2),
        },
        ["batch", 2, 2],
    ),
    "reordered": (
        [
            N("Transpose", ["x"], ["t"], perm=[0, 2, 1]),
            N("Flatten", ["t"], ["f"]),
            N("MatMul", ["f", "w"], ["h"]),
            N("Unsqueeze", ["h", "one"], ["u"]),
            N("Squeeze", ["u", "one"], ["q"]),
            N("Cast", ["q"], ["k"], to=TensorProto.FLOAT),
            N("Identity", ["k"], ["y"]),
        ],
        {"w": f32(6, 3), "one": np.array([1])},
        [1, 2, 3],
    ),
    "folded_weight": (
        [N("Transpose", ["w"], ["v"]), N("Neg", ["v"], ["n"]), N("MatMul", ["x", "n"], ["y"])],
        {"w": f32(3, 4)},
        [1, 4],
    ),
}


@pytest.mark.parametrize("name", ONNX)
@pytest.mark.parametrize("suffix", [".onnx", ".onnx.gz"])
def test_an_onnx_graph_and_its_network_agree(tmp_path: Path, name: str, suffix: str) -> None:
    nodes, constants, shape = ONNX[name]
    net = load_network(write_onnx(tmp_path / f"net{suffix}", nodes, constants, shape))
    (tmp_path / "plain.onnx").unlink(missing_ok=True)
    session = onnx.reference.ReferenceEvaluator(write_onnx(tmp_path / "plain.onnx", nodes, constants, shape))
    sizes = [1 if isinstance(size, str) else size for size in shape]
    for row in X[:, : net.sizes[0]]:
        (want,) = session.run(None, {"x": row.astype(np.float32).reshape(sizes)})
        np.testing.assert_allclose(
            net(row[None])[0], np.ravel(np.asarray(want, dtype=np.float64)), rtol=1e-4, atol=1e-4
        )


@pytest.mark.parametrize(
    ("nodes", "constants", "shape", "word"),
    [
        ([N("Softmax", ["x"], ["y"])], {}, [1, 4], "Softmax in the graph"),
        ([N("MatMul", ["x", "w"], ["h"]), N("LogSoftmax", ["h"], ["y"])], {"w": f32(4, 3)}, [1, 4], "LogSoftmax"),
        ([N("Conv", ["x", "w"], ["y"])], {"w": f32(1, 1, 3, 3)}, [1, 1, 8, 8], "Conv in the graph"),
        ([N("MatMul", ["x", "w"], ["h"]), N("Add", ["h", "x"], ["y"])], {"w": f32(4, 4)}, [1, 4], "Add in the graph"),
        ([N("MatMul", ["x", "w"], ["y"])], {"w": f32(4, 3)}, [1, 2, 4], "linear layer of shape"),
        ([N("Relu", ["x"], ["y"])], {}, [1, 4], "before the first linear"),
        ([N("MatMul", ["x", "w"], ["y"])], {"w": f32(4, 3)}, ["batch", "features"], "fixed number of features"),
        ([N("MatMul", ["x", "w"], ["y"])], {"w": f32(4, 3) * np.float32(np.nan)}, [1, 4], "finite"),
        ([N("MatMul", ["x", "w"], ["y"])], {}, [1, 4], "valid ONNX model"),
        ([N("NoSuchOp", ["x"], ["y"])], {}, [1, 4], "valid ONNX model"),
    ],
)
def test_an_onnx_graph_that_is_no_mlp_is_refused(
    tmp_path: Path, nodes: list[Any], constants: dict[str, Any], shape: list[Any], word: str
) -> None:
    with pytest.raises((InvalidParameter, UnsupportedLayer), match=word) as caught:
        load_network(write_onnx(tmp_path / "net.onnx", nodes, constants, shape))
    assert one_line(caught.value)


def test_a_truncated_onnx_file_is_one_line(tmp_path: Path) -> None:
    nodes, constants, shape = ONNX["gemm"]
    path = Path(write_onnx(tmp_path / "net.onnx", nodes, constants, shape))
    whole = path.read_bytes()
    for length in range(0, len(whole) - 1, 7):
        path.write_bytes(whole[:length])
        with pytest.raises((InvalidParameter, UnsupportedLayer)) as caught:
            load_network(str(path))
        assert one_line(caught.value)


def test_onnx_weights_in_a_missing_file_are_one_line(tmp_path: Path) -> None:
    nodes, constants, shape = ONNX["folded_weight"]
    path = write_onnx(tmp_path / "net.onnx", nodes, constants, shape)
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="weights", size_threshold=0)
    assert load_network(path).sizes == (4, 3)
    (tmp_path / "weights").unlink()
    with pytest.raises(InvalidParameter, match="external data") as caught:
        load_network(path)
    assert one_line(caught.value)


@pytest.mark.parametrize(("package", "source"), [("onnx", "net.onnx"), ("safetensors", "net.safetensors")])
def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, source: str) -> None:
    (tmp_path / source).write_bytes(b"anything")
    monkeypatch.setitem(__import__("sys").modules, package, None)
    monkeypatch.setitem(__import__("sys").modules, f"{package}.torch", None)
    with pytest.raises(InvalidParameter, match=f"needs the extra {package}: pip install 'boundlab"):
        load_network(str(tmp_path / source), factory="a:b" if package == "safetensors" else None)


# --------------------------------------------------------------------------------------------------- third-party files


def test_third_party_onnx_mlps_equal_their_published_arrays(boundlab_data: Path) -> None:
    """The .npz files were extracted by another program and compared with onnxruntime."""
    entries = json.loads((boundlab_data / "nets" / "index.json").read_text())
    mlps = [entry for entry in entries if entry["kind"] == "mlp" and "onnx" in entry]
    assert {entry["family"] for entry in mlps} >= {"mnist_fc", "eran_mnist_relu", "acasxu", "control"}
    for entry in mlps:
        root, last = boundlab_data / "nets", bool(entry["relu_after_last"])
        with np.load(root / entry["file"]) as stored:
            said = "relu_after_last" in stored.files
        arrays = load_network(str(root / entry["file"]), relu_after_last=last and not said)
        assert equal(load_network(str(root / entry["onnx"])), arrays), entry["name"]


def test_third_party_nets_of_other_kinds_load_or_are_refused(boundlab_data: Path) -> None:
    for entry in json.loads((boundlab_data / "nets" / "index.json").read_text()):
        path = str(boundlab_data / "nets" / entry["file"])
        if entry["family"] == "tll":
            assert load_network(path).sizes[0] == 2
        elif entry["kind"] == "onnx":
            with pytest.raises(UnsupportedLayer, match="Conv in the graph"):
                load_network(path)
        elif entry["kind"] != "mlp":
            with pytest.raises(BoundlabError) as caught:
                load_network(path)
            assert one_line(caught.value)
