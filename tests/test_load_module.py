"""Modules come in from graphs and from arrays; nothing is unpickled but arrays, and no file fits by luck."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from boundlab._errors import InvalidParameter
from boundlab.nets.architectures import lenet5, resnet
from boundlab.nets.export import export
from boundlab.nets.load_module import load_module
from boundlab.nets.module_net import ModuleNet

STATE = lenet5(rng=4).state_dict()


def conv_net() -> nn.Module:
    """A factory; also a source, as its weights are fixed."""
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2))
    with torch.no_grad():
        for k, t in enumerate(net.state_dict().values()):
            t.copy_(torch.arange(1.0, t.numel() + 1).sin().abs().reshape(t.shape) + k)
    return net


def number() -> int:
    return 7


class Trap:
    """Its pickle writes a file when it is read."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        return open, (self.path, "w")


def same(module: nn.Module, state: dict[str, torch.Tensor]) -> bool:
    found = module.state_dict()
    return list(found) == list(state) and all(torch.equal(found[name], t) for name, t in state.items())


@pytest.mark.parametrize("suffix", [".th", ".pt", ".pth"])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: s,
        lambda s: {"state_dict": s, "best": 0.5, "epoch": 3},
        lambda s: {"model": {f"module.{k}": t for k, t in s.items()}},
        lambda s: {f"_orig_mod.module.{k}": t for k, t in s.items()},
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_a_state_is_found_in_what_people_save(tmp_path: Path, suffix: str, wrap: Any, zipped: bool) -> None:
    torch.save(wrap(STATE), tmp_path / f"net{suffix}", _use_new_zipfile_serialization=zipped)
    module = load_module(tmp_path / f"net{suffix}", "lenet5")
    assert same(module, STATE)
    assert not module.training


def test_arrays_come_from_npz_and_safetensors_by_torch_s_names_or_caffe_s(tmp_path: Path) -> None:
    arrays: dict[str, Any] = {name: t.numpy() for name, t in STATE.items()}
    np.savez(tmp_path / "net.npz", **arrays)
    caffe = {k.replace(".weight", "_W").replace(".bias", "_b"): a for k, a in arrays.items()}
    np.savez(tmp_path / "caffe.npz", **caffe)
    safetensors.torch.save_file(STATE, tmp_path / "net.safetensors")
    for file in ("net.npz", "caffe.npz", "net.safetensors"):
        assert same(load_module(tmp_path / file, "lenet5"), STATE)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_sparse_arrays_are_read_like_dense_ones(tmp_path: Path, suffix: str) -> None:
    module = lenet5(rng=4)
    with torch.no_grad():
        for p in module.parameters():
            p[torch.from_numpy(np.random.default_rng(0).uniform(size=p.shape) < 0.9)] = 0
    export(module, tmp_path / f"net{suffix}")
    assert same(load_module(tmp_path / f"net{suffix}", "lenet5"), module.state_dict())


def test_the_precision_of_the_file_is_kept(tmp_path: Path) -> None:
    torch.save({k: t.double() / 3 for k, t in STATE.items()}, tmp_path / "net.pt")
    assert same(load_module(tmp_path / "net.pt", "lenet5"), {k: t.double() / 3 for k, t in STATE.items()})


def test_a_factory_and_a_source_of_one_s_own() -> None:
    own = load_module("tests.test_load_module:conv_net")
    assert not own.training
    assert same(own, conv_net().state_dict())


def test_a_factory_of_one_s_own_fills_its_state(tmp_path: Path) -> None:
    torch.save(conv_net().state_dict(), tmp_path / "net.pt")
    assert same(load_module(tmp_path / "net.pt", "tests.test_load_module:conv_net"), conv_net().state_dict())


def test_old_files_without_counters_of_batches_fill_a_residual_net(tmp_path: Path) -> None:
    state = {f"module.{k}": t for k, t in resnet(20, rng=9).state_dict().items() if "num_batches" not in k}
    torch.save({"state_dict": state}, tmp_path / "net.th")
    found = load_module(tmp_path / "net.th", "resnet20").state_dict()
    assert all(torch.equal(found[k.removeprefix("module.")], t) for k, t in state.items())


@pytest.mark.parametrize("suffix", [".onnx", ".onnx.gz", ".pt2"])
def test_a_graph_needs_no_factory(tmp_path: Path, suffix: str) -> None:
    x = np.random.default_rng(0).standard_normal((3, 2, 4, 4))
    net = conv_net().eval()
    export(net, tmp_path / f"net{suffix}", example=x)
    seen = ModuleNet(load_module(tmp_path / f"net{suffix}"), x)
    assert [layer.kind for layer in seen.layers] == ["Conv2d", "Linear"]
    want = net(torch.from_numpy(x).float()).detach().double().numpy()
    np.testing.assert_allclose(seen(x), want, atol=1e-5 * np.abs(want).max())


def test_a_pt2_of_one_number_of_points_is_read_too(tmp_path: Path) -> None:
    net = conv_net().eval()
    program = torch.export.export(net, (torch.zeros(4, 2, 4, 4),), strict=False)
    torch.export.save(program, tmp_path / "net.pt2")
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((4, 2, 4, 4))).float()
    want = net(x)
    assert (load_module(tmp_path / "net.pt2")(x) - want).abs().max() <= 1e-5 * want.abs().max()


@pytest.mark.parametrize("name", ["net.pt", "net.npz", "net.onnx", "net.pt2", "net.safetensors"])
@pytest.mark.parametrize("writer", ["pickle", "torch.save"])
def test_code_in_a_file_is_never_run(tmp_path: Path, name: str, writer: str) -> None:
    trap, path = tmp_path / "sprung", tmp_path / name
    if writer == "pickle":
        path.write_bytes(pickle.dumps(Trap(str(trap))))
    else:
        torch.save({"state_dict": STATE, "more": Trap(str(trap))}, path)
    with pytest.raises(InvalidParameter, match=r"not be a pickle|could run code|whole file") as caught:
        load_module(path, "lenet5" if name not in ("net.onnx", "net.pt2") else None)
    assert not trap.exists()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "factory", "message"),
    [
        (STATE, None, "must come with factory, resnet20"),
        (STATE, "lenet6", "factory must be resnet20"),
        (STATE, "resnet20", "must hold exactly the state of resnet20"),
        ({k: t for k, t in STATE.items() if k != "ip2.bias"}, "lenet5", "Missing key.*ip2.bias"),
        (STATE | {"extra": torch.zeros(1)}, "lenet5", "Unexpected key.*extra"),
        (STATE | {"ip2.bias": torch.zeros(9)}, "lenet5", "size mismatch for ip2.bias"),
        ({"epoch": 3}, "lenet5", r"must hold a state.*int"),
        ([1.0, 2.0], "lenet5", r"must hold a state.*list"),
        (STATE, "tests.test_load_module:number", "must return a torch.nn.Module, got int"),
    ],
)
def test_a_state_that_does_not_fit_is_refused(tmp_path: Path, content: Any, factory: str | None, message: str) -> None:
    torch.save(content, tmp_path / "net.pt")
    with pytest.raises(InvalidParameter, match=message):
        load_module(tmp_path / "net.pt", factory)


@pytest.mark.parametrize(
    ("name", "factory", "message"),
    [
        ("absent.pt", "lenet5", "must be an existing file"),
        ("absent.onnx", None, "must be an existing file"),
        ("net.txt", None, "a module must come from .onnx"),
        ("net.onnx", "lenet5", "factory must be given only"),
        ("tests.test_load_module:number", None, "must return a torch.nn.Module, got int"),
        ("broken.pt", "lenet5", "nothing that could run code|whole file"),
        ("broken.npz", "lenet5", "npz file of plain arrays"),
        ("broken.safetensors", "lenet5", "whole safetensors file"),
    ],
)
def test_a_source_that_is_no_net_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, factory: str | None, message: str
) -> None:
    for file in ("net.txt", "net.onnx", "broken.pt", "broken.npz", "broken.safetensors"):
        (tmp_path / file).write_bytes(b"not a net at all")
    if ":" not in name:
        monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidParameter, match=message):
        load_module(name, factory)
