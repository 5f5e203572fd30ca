"""Run the authors' own implementation of SiPP and PFP, torchprune 2.2.0, and write down what it computes.

    PYTHONPATH=<checkout>/src/torchprune python -m tests.reference.torchprune_run

writes tests/reference/torchprune.npz. README.md beside this file names the commit and what had to be worked around.
Nothing of torchprune is copied here: its classes are imported from the checkout and called.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import io
import sys
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

FILE = Path(__file__).with_name("torchprune.npz")
NETS = ("fc", "conv")
INPUTS = ("plain", "signed")
SETTINGS = ((1e-16, 3.0), (1.0, 3.0))
"""(delta_failure, c_constant): the library's defaults, and a delta so large that drawing beats keeping somewhere."""
EPS = (5.0, 500.0, 2000.0)
ROW, ROW_DRAWS, ROW_DELTA = 24, 5000, 1e-8
STEP = 1 / 8
"""Weights and points are multiples of this, so that no activation of these nets is rounded in single precision."""
TINY = 2.0**-26
"""A scale of the inputs at which torchprune's cut-off, the float32 epsilon 2^-23, stands where 8 stood before."""


def architecture(name: str) -> torch.nn.Module:
    """A small net, its weights not yet set: stride, padding, dilation and a pool in the convolutional one."""
    nn = torch.nn
    if name == "fc":
        return nn.Sequential(nn.Linear(120, 10), nn.ReLU(), nn.Linear(10, 8), nn.ReLU(), nn.Linear(8, 5))
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(6, 5, (3, 2), padding=(2, 1), dilation=2),
        nn.ReLU(),
        nn.MaxPool2d(2, stride=1),
        nn.Conv2d(5, 4, 2, bias=False),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(36, 3),
    )


def example(name: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The parameters of a net and its points, float32 from numpy's generator: (state, points by kind of input)."""
    rng = np.random.default_rng(NETS.index(name))
    state = {key: rng.normal(size=tuple(p.shape)) for key, p in architecture(name).state_dict().items()}
    first = state["0.weight"]
    first[0], first[1], first[2, 0] = np.abs(first[0]), -np.abs(first[1]), 0.0  # rows of one sign, weights that are 0
    shape = (24, 120) if name == "fc" else (6, 2, 9, 9)
    plain = rng.random(shape)
    if name == "fc":
        plain *= rng.random(shape) < 0.6
        plain[:, 0] *= rng.random(24) < 0.1  # an input that is rarely active, and one that never is
        plain[:, 1] = 0.0
    else:
        state |= {key: np.abs(value) + 1.0 for key, value in state.items() if key.endswith("bias")}  # few zeros behind
        plain[:, :, :, 5:] = 0.0  # half of each image is blank
    points = {"plain": plain, "signed": rng.normal(size=shape)}
    return rounded(state), rounded(points)


def rounded(group: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Multiples of STEP, as float32."""
    return {key: (np.round(value / STEP) * STEP).astype(np.float32) for key, value in group.items()}


def module(name: str, state: dict[str, np.ndarray]) -> torch.nn.Module:
    """The net with these parameters."""
    net = architecture(name)
    net.load_state_dict({key: torch.from_numpy(value) for key, value in state.items()})
    return net


@functools.cache
def place() -> Path | None:
    """The folder of torchprune's package on the path, or None; nothing of it is run."""
    spec = importlib.util.find_spec("torchprune")
    places = list(spec.submodule_search_locations or ()) if spec else []
    return Path(places[0]) if places and (Path(places[0]) / "method" / "sipp").is_dir() else None


@functools.cache
def library() -> Callable[[str], Any]:
    """Make an unchanged checkout importable; returns what imports a module of it by its name.

    Three packages' __init__ are passed over, which import every method, model and data set and with them torchvision,
    transformers and more; np.Inf gets its old name back; and cvxpy, if missing, is stood in for by `Expression`.
    """
    folder = place()
    if folder is None:
        raise ImportError("torchprune is not on the path.")
    for name, home in (("", folder), (".method", folder / "method"), (".util", folder / "util")):
        package = types.ModuleType(f"torchprune{name}")
        package.__path__ = [str(home)]
        sys.modules[package.__name__] = package
    np.__dict__["Inf"] = np.inf
    if importlib.util.find_spec("cvxpy") is None:
        sys.modules["cvxpy"] = stand_in()
    return lambda name: importlib.import_module(f"torchprune.{name}")


class Expression:
    """A formula that is evaluated when its value is asked for: all that torchprune's error function needs of cvxpy."""

    def __init__(self, compute: Callable[[], Any]) -> None:
        self.compute = compute

    @property
    def value(self) -> Any:
        return self.compute()

    @value.setter
    def value(self, number: Any) -> None:
        self.compute = lambda: number

    def project_and_assign(self, number: Any) -> None:
        self.value = number

    def __add__(self, other: Expression) -> Expression:
        return Expression(lambda: self.value + other.value)

    def __rmul__(self, factor: float) -> Expression:
        return Expression(lambda: factor * self.value)

    def __truediv__(self, divisor: float) -> Expression:
        return Expression(lambda: self.value / divisor)


def stand_in() -> types.ModuleType:
    """A module with the atoms of cvxpy that the error function uses; it cannot solve a problem."""
    atoms = types.ModuleType("cvxpy")
    vars(atoms).update(
        Variable=lambda n: Expression(lambda: np.full(n, np.nan)),
        Parameter=lambda n, nonneg: Expression(lambda: np.full(n, np.nan)),
        multiply=lambda a, b: Expression(lambda: a.value * b.value),
        inv_pos=lambda a: Expression(lambda: 1.0 / a.value),
        sqrt=lambda a: Expression(lambda: np.sqrt(a.value)),
        vstack=lambda rows: Expression(lambda: np.stack([row.value for row in rows])),
        norm=lambda a, axis: Expression(lambda: np.linalg.norm(a.value, axis=axis)),
    )
    return atoms


def tracked(method: str, net: torch.nn.Module, x: np.ndarray, *, delta: float = 1e-16, C: float = 3.0) -> Any:
    """A torchprune method ("SiPPNet", "SiPPNetRand", "PFPNet") behind its pass over the points: it holds trackers."""
    load = library()
    make = getattr(load("method.pfp" if method.startswith("PFP") else "method.sipp"), method)
    points = torch.utils.data.TensorDataset(torch.from_numpy(x), torch.zeros(len(x)))
    loader = torch.utils.data.DataLoader(points, batch_size=len(x))
    with contextlib.redirect_stdout(io.StringIO()):  # it prints a line for each point
        method_net = make(load("util.net").NetHandle(net), loader, None, delta_failure=delta, c_constant=C)
        method_net._start_preprocessing()
    return method_net


def arrays(tensors: Sequence[torch.Tensor]) -> list[np.ndarray]:
    """Copies, as numpy arrays."""
    return [t.detach().numpy().copy() for t in tensors]


def measured(net: torch.nn.Module, x: np.ndarray) -> dict[str, np.ndarray]:
    """Everything that is written down of one net and its points; the keys are explained in README.md."""
    out: dict[str, np.ndarray] = {}

    def note(key: str, tensors: Sequence[torch.Tensor]) -> None:
        out.update({f"{key}/{k}": v for k, v in enumerate(arrays(tensors))})

    det, rand, pfp = (tracked(name, net, x) for name in ("SiPPNet", "SiPPNetRand", "PFPNet"))
    layers = range(len(det._sens_trackers))
    note("mean", [t.sensitivity for t in det._sens_trackers])
    note("max", [t.sensitivity for t in rand._sens_trackers])
    note("channels", [t.sensitivity_in for t in pfp._sens_trackers])

    allocator = det._get_allocator()
    allocator.allocate_budget(weights_of(det) // 2)
    note("det_sizes", [allocator.get_num_samples(k) for k in layers])
    note("det_errors", [allocator._get_error_theoretical(k, allocator.get_num_samples(k)) for k in layers])
    out["det_constant"] = np.array(float(allocator._c_constant))

    make = library()("method.sipp.sipp_allocator")
    for s, (delta, C) in enumerate(SETTINGS):
        hybrid = make.SiPPHybridAllocator(rand._sens_trackers, delta, C)
        sampled = hybrid._allocator_rand
        sizes = [torch.clamp(sampled._extract(sampled._nnz, sampled._offsets, k) // 2, 1).int() for k in layers]
        note(f"sizes/{s}", sizes)
        note(f"eps/{s}", [sampled._get_error_theoretical(k, sizes[k].clone()) for k in layers])
        note(f"dropped/{s}", [hybrid._allocator_det._get_error_theoretical(k, sizes[k].clone()) for k in layers])
        sampled._allocation = torch.cat([size.flatten() for size in sizes])
        note(f"hybrid/{s}", [hybrid.get_num_samples(k).clone() for k in layers])
        note(f"hybrid_again/{s}", [hybrid.get_num_samples(k).clone() for k in layers])

    channels = pfp._get_allocator()
    with contextlib.redirect_stdout(io.StringIO()):
        channels.allocate_budget(weights_of(det) // 2)
    out["channel_eps"] = np.array(float(channels._arg_opt))
    out["channel_allocation"] = channels._allocation.numpy().copy()
    for e, eps in enumerate(EPS):
        out[f"channel_sizes/{e}"] = channels._get_sample_complexity(eps).numpy()
        out[f"channels_kept/{e}"] = channels._get_proposed_num_features(eps)[1].numpy()
    out["patches"] = np.array([t.num_patches for t in rand._sens_trackers])
    return out


def row() -> dict[str, np.ndarray]:
    """The claimed error of one row of ROW equal weights that reads as many unit vectors: s_j = 1, S = ROW."""
    net = torch.nn.Linear(ROW, 1, bias=False)
    net.weight.data.fill_(1.0)
    trackers = tracked("SiPPNetRand", net, np.eye(ROW, dtype=np.float32))._sens_trackers
    allocator = library()("method.sipp.sipp_allocator").SiPPRandAllocator(trackers, 8 * ROW_DELTA, 1.0)
    eps = allocator._get_error_theoretical(0, torch.full((2, 1), ROW_DRAWS, dtype=torch.int))
    return {"row/max/0": arrays([trackers[0].sensitivity])[0], "row/eps": eps[0].numpy()}


def weights_of(method_net: Any) -> int:
    """How many weights there are."""
    return int(method_net.compressed_net.compressible_size())


def reference() -> dict[str, np.ndarray]:
    """All arrays of the file."""
    out = row()
    for name in NETS:
        state, points = example(name)
        out |= {f"{name}/state/{key}": value for key, value in state.items()}
        for kind in INPUTS:
            out[f"{name}/{kind}/x"] = points[kind]
            out |= {f"{name}/{kind}/{k}": v for k, v in measured(module(name, state), points[kind]).items()}
        tiny = points["plain"] * np.float32(TINY)
        for key, method in (("mean", "SiPPNet"), ("max", "SiPPNetRand")):
            tracker = tracked(method, module(name, state), tiny)._sens_trackers[0]
            out[f"{name}/tiny/{key}/0"] = arrays([tracker.sensitivity])[0]
    return out


if __name__ == "__main__":
    np.savez_compressed(FILE, allow_pickle=False, **reference())
