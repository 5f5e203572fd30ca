"""Prune, retrain, prune again: masks are kept, every step can be resumed, and no theorem speaks of what comes out.

What was removed stays removed: weights that are 0 when training starts are 0 after every step. Removed neurons and
channels are gone anyway.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from boundlab._errors import InvalidParameter, labels, matrix, one_line, positive, positive_int
from boundlab.compressors.method import ChannelCompression, Compression, Method, ModuleCompression, compress
from boundlab.files import arrays_of_npz, draft_of, writable
from boundlab.nets.export import module_of_network
from boundlab.nets.given_points import finite, tensor
from boundlab.nets.module_net import ModuleNet, batches
from boundlab.nets.toy import one_thread
from boundlab.network import Layer, Network, misclassified
from boundlab.records import Record, Row

if TYPE_CHECKING:
    import torch

Net = Network | ModuleNet
AnyNet = TypeVar("AnyNet", bound=Net)
Labelled = tuple[np.ndarray, np.ndarray]
Progress = Callable[[str, int, int], object]


@dataclass(frozen=True, kw_only=True)
class Training:
    """Stochastic gradient descent on the cross-entropy, the learning rate falling to 0 along a cosine.

    `epochs` and `batch` are at least 1, `lr` is above 0, `momentum` in [0, 1), `weight_decay` at least 0.
    """

    epochs: int = 10
    lr: float = 0.05
    batch: int = 64
    momentum: float = 0.9
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        positive_int("epochs", self.epochs)
        positive_int("batch", self.batch)
        positive("lr", self.lr)
        if not isinstance(self.momentum, (int, float)) or not 0.0 <= self.momentum < 1.0:
            raise InvalidParameter(f"momentum must be in [0, 1), got momentum={self.momentum!r}.")
        if not isinstance(self.weight_decay, (int, float)) or not 0.0 <= self.weight_decay < float("inf"):
            raise InvalidParameter(f"weight_decay must be at least 0 and finite, got {self.weight_decay!r}.")


@dataclass(frozen=True, kw_only=True)
class Round:
    """One prune and retrain: weights and error rates before, after pruning and after training."""

    method: str
    nnz: int  # non-zero weights after pruning; training keeps them
    parameters: int  # all numbers that the net holds, biases too
    pruned: float  # error rate on the judged points right after pruning
    retrained: float  # and after training
    train: float  # error rate on the training points after training


@dataclass(frozen=True, kw_only=True, eq=False)
class Retrained(Record):
    """A net after some rounds, and what each of them did. `original` is the error rate that it started from."""

    net: Net
    original: float
    rounds: tuple[Round, ...]

    def rows(self) -> list[Row]:
        """One line per round."""
        return [asdict(r) for r in self.rounds]


def fine_tune(
    net: AnyNet,
    train: Labelled,
    training: Training,
    *,
    rng: int,
    record: str | Path | None = None,
    progress: Progress | None = None,
) -> AnyNet:
    """Train a net further; its zero weights stay zero. `net` is never changed.

    Parameters
    ----------
    net : Network or ModuleNet
    train : (x, y), inputs (points, ...) and labels 0 .. classes - 1
    training : how
    rng : seed of the order of the points, and of dropout where the module has any
    record : an .npz file written after each epoch; the same call then goes on from it, to the same result on the same
        machine. A file of another net, data, training or seed is refused.
    progress : called as ``progress("epoch", done, epochs)`` after each epoch

    Returns
    -------
    the same kind of net. A Network is trained in single precision, its batch statistics and dropout being none; a
    module trains in its own precision and in train mode, so that the statistics of its batch norms move.

    Raises
    ------
    InvalidParameter
        If the labels do not fit, training diverges (a weight is no longer finite), or `record` belongs to another call.
    """
    if not isinstance(training, Training):
        raise InvalidParameter(f"training must be a Training, got {type(training).__name__}.")
    x, y = _labelled(net, train)
    seed = _seed(rng)
    module, masks = _trainable(net)
    run = _Run(module, masks, training, seed, record, _identity(net, x, y, training, seed) if record else "")
    with one_thread() if isinstance(net, Network) else nullcontext():
        for epoch in range(run.done, training.epochs):
            run.epoch(x, y, epoch)
            if progress is not None:
                progress("epoch", epoch + 1, training.epochs)
    return _read_back(net, module)


def prune_retrain(
    net: Net,
    methods: Sequence[Method],
    train: Labelled,
    *,
    training: Training,
    judge: Labelled,
    points: np.ndarray | None = None,
    reweighted: bool = True,
    rng: int,
    record: str | Path | None = None,
    progress: Progress | None = None,
) -> Retrained:
    """Prune by each method in turn, and retrain after each: one method is one-shot, several are iterative pruning.

    Parameters
    ----------
    net : Network or ModuleNet
    methods : what to prune by in each round, such as ``[Magnitude(nnz=n) for n in (100_000, 50_000, 25_000)]``
    train : (x, y) to train on
    judge : (x, y) that error rates are told on; nothing is chosen by them here. What a user chooses by them is no
        longer judged by them.
    points : calibration points of the methods; the first 1,000 of the training points if not given
    reweighted : True starts training from the compressed weights, False from the original values of what was kept
    rng : seed; each round has streams of its own
    record : a folder that keeps finished rounds and the current one: the same call goes on from it
    progress : called as ``progress("round", done, rounds)`` and ``progress("epoch", done, epochs)``

    Raises
    ------
    InvalidParameter
        If there is no method, or as `compress` and `fine_tune` do.
    """
    if not isinstance(methods, Sequence) or not all(isinstance(m, Method) for m in methods):
        raise InvalidParameter(f"methods must be a list of compressors, got {type(methods).__name__}.")
    if not methods:
        raise InvalidParameter("methods must hold at least one method, got none.")
    _labelled(net, judge)
    x, _ = _labelled(net, train)
    calibration = x[:1000] if points is None else points
    folder = None if record is None else Path(record)
    seed = _seed(rng)
    if folder is not None:
        if folder.exists() and not folder.is_dir():
            raise InvalidParameter(f"a record of rounds must be a folder, got {folder}.")
        writable(folder / "round_0.npz")
        folder.mkdir(parents=True, exist_ok=True)
    original, rounds = error_rate(net, judge), []
    for k, method in enumerate(methods):
        own = int(np.random.SeedSequence([seed, k]).generate_state(1)[0])
        passes = None if folder is None else folder / f"round_{k}"
        small = compress(net, method, calibration, rng=own, record=passes)
        pruned = small.net if reweighted else unweighted(small)
        net = fine_tune(
            pruned,
            train,
            training,
            rng=own,
            record=None if folder is None else folder / f"round_{k}.npz",
            progress=progress,
        )
        rounds.append(
            Round(
                method=repr(method),
                nnz=net.nnz,
                parameters=net.parameters,
                pruned=error_rate(pruned, judge),
                retrained=error_rate(net, judge),
                train=error_rate(net, train),
            )
        )
        if progress is not None:
            progress("round", k + 1, len(methods))
    return Retrained(net=net, original=original, rounds=tuple(rounds))


def unweighted(compression: Compression | ModuleCompression | ChannelCompression) -> Net:
    """The compressed net with the original value of every weight that was kept: a start for training, no estimate."""
    if isinstance(compression, ChannelCompression):
        return compression.original.shrink([(s != 0).astype(np.float64) for s in compression.scales])
    weights = []
    for layer, coreset in zip(compression.original.layers, compression.coresets, strict=True):
        weight = np.zeros_like(layer.weight)
        weight[coreset.neuron, coreset.column] = layer.weight[coreset.neuron, coreset.column]
        weights.append(weight)
    return compression.original.with_weights(weights)


def error_rate(net: Net, points: Labelled) -> float:
    """The share of points that are classified wrongly; a tie or a NaN counts as an error."""
    x, y = _labelled(net, points)
    wrong, start = 0, 0
    for batch in batches(x):
        wrong += misclassified(net(batch), y[start : start + len(batch)])
        start += len(batch)
    return wrong / len(x)


class _Run:
    """A training run between two epochs: everything that the next one depends on."""

    def __init__(
        self,
        module: torch.nn.Module,
        masks: dict[str, torch.Tensor],
        training: Training,
        seed: int,
        record: str | Path | None,
        identity: str,
    ) -> None:
        import torch

        self.module, self.masks, self.training, self.seed = module, masks, training, seed
        self.record, self.identity, self.done = None if record is None else Path(record), identity, 0
        self.parameters = dict(module.named_parameters())
        self.norms = any(isinstance(m, torch.nn.modules.batchnorm._BatchNorm) for m in module.modules())
        if self.norms and training.batch == 1:
            raise InvalidParameter("batch must be at least 2 for a net with batch norms, got batch=1.")
        self.optimizer = torch.optim.SGD(
            self.parameters.values(), lr=training.lr, momentum=training.momentum, weight_decay=training.weight_decay
        )
        if self.record is not None and self.record.exists():
            self._restore(self.record)
        elif self.record is not None:
            writable(self.record)
            self.record.parent.mkdir(parents=True, exist_ok=True)

    def epoch(self, x: np.ndarray, y: np.ndarray, epoch: int) -> None:
        """One pass over the points, in an order that the seed and the number of the epoch fix."""
        import torch

        order = np.random.default_rng([self.seed, epoch]).permutation(len(x))
        for group in self.optimizer.param_groups:
            group["lr"] = self.training.lr * 0.5 * (1.0 + np.cos(np.pi * epoch / self.training.epochs))
        self.module.train()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(np.random.SeedSequence([self.seed, epoch, 1]).generate_state(1)[0]))
            for start in range(0, len(order), self.training.batch):
                chosen = order[start : start + self.training.batch]
                if len(chosen) == 1 and self.norms:
                    continue  # a batch norm has no statistics of one point
                self.optimizer.zero_grad()
                out = self.module(tensor(self.module, x[chosen]))
                torch.nn.functional.cross_entropy(out, torch.from_numpy(y[chosen])).backward()
                self.optimizer.step()
                with torch.no_grad():
                    for name, mask in self.masks.items():
                        self.parameters[name].mul_(mask)
        self.module.eval()
        if not all(bool(torch.isfinite(p).all()) for p in self.parameters.values()):
            raise InvalidParameter(
                f"training must not diverge, it did in epoch {epoch + 1} at lr={self.training.lr:g}."
            )
        self.done = epoch + 1
        if self.record is not None:
            self._write(self.record)

    def _write(self, path: Path) -> None:
        state = {f"module {name}": value.numpy() for name, value in self.module.state_dict().items()}
        for name, p in self.parameters.items():
            buffer = self.optimizer.state[p].get("momentum_buffer")
            if buffer is not None:
                state[f"momentum {name}"] = buffer.numpy()
        with draft_of(path) as draft:
            np.savez(draft, identity=np.array(self.identity), done=np.array(self.done), **state)

    def _restore(self, path: Path) -> None:
        import torch

        stored = arrays_of_npz(str(path))
        if str(stored.get("identity", "")) != self.identity:
            raise InvalidParameter(f"a record must be one of the same net, data, training and seed, got {path}.")
        try:
            self.done = int(stored["done"])
            parts = {k: torch.from_numpy(v) for k, v in stored.items() if k.startswith(("module ", "momentum "))}
            self.module.load_state_dict({k[7:]: v for k, v in parts.items() if k.startswith("module ")})
            for name, p in self.parameters.items():
                if f"momentum {name}" in parts:
                    self.optimizer.state[p]["momentum_buffer"] = parts[f"momentum {name}"].reshape(p.shape)
        except (KeyError, TypeError, ValueError, RuntimeError) as fault:
            raise InvalidParameter(f"{path} must be a whole record of a training run, got {one_line(fault)}.") from None
        if not 0 <= self.done <= self.training.epochs:
            raise InvalidParameter(f"a record must have at most {self.training.epochs} epochs, got {self.done}.")


def _trainable(net: Net) -> tuple[torch.nn.Module, dict[str, torch.Tensor]]:
    """A module with gradients, and for each parameter with zeros where a weight was removed a mask of them."""
    if isinstance(net, ModuleNet):
        module = copy.deepcopy(net.module)
        weights = net.weight_names
    else:
        module = module_of_network(net).float()  # without initial weights, which would move torch's generator
        weights = frozenset(name for name, _ in module.named_parameters() if name.endswith("weight"))
    for p in module.parameters():
        p.requires_grad_(True)
    masks = {name: (p != 0).to(p.dtype) for name, p in module.named_parameters() if name in weights}
    return module, {name: mask for name, mask in masks.items() if not bool(mask.all())}


def _read_back(net: Net, module: torch.nn.Module) -> Any:
    """The trained module as the kind of net that it came from."""
    import torch

    if isinstance(net, ModuleNet):
        return net.with_module(module)
    linear = [m for m in module if isinstance(m, torch.nn.Linear)] if isinstance(module, torch.nn.Sequential) else []
    pairs = [(m.weight.detach().double().numpy(), m.bias.detach().double().numpy()) for m in linear]
    return Network(
        layers=tuple(Layer(weight=w, bias=b, relu=own.relu) for own, (w, b) in zip(net.layers, pairs, strict=True))
    )


def _labelled(net: Net, points: Labelled) -> Labelled:
    if not isinstance(net, (Network, ModuleNet)):
        raise InvalidParameter(f"net must be a Network or a ModuleNet, got {type(net).__name__}.")
    try:
        x, y = points
    except (TypeError, ValueError):
        raise InvalidParameter("labelled points must be a pair (x, y), got something else.") from None
    x = finite("x", x)
    if not len(x):
        raise InvalidParameter("x must hold at least one point, got none.")
    if isinstance(net, Network):
        x = matrix("x", x, columns=net.sizes[0]).astype(x.dtype if x.dtype.kind == "f" else np.float64)
    shape = net(x[:1]).shape
    if len(shape) != 2:
        raise InvalidParameter(f"a net to train must give (points, classes), got shape {shape} for one point.")
    return x, labels("y", y, points=len(x), classes=shape[1])


def _seed(rng: int) -> int:
    if isinstance(rng, bool) or not isinstance(rng, (int, np.integer)) or rng < 0:
        raise InvalidParameter(f"rng must be a seed >= 0, got {rng!r}.")
    return int(rng)


def _identity(net: Net, x: np.ndarray, y: np.ndarray, training: Training, seed: int) -> str:
    """A digest of all that a training run depends on."""
    found = hashlib.blake2b(repr((net.digest, training, seed, x.shape, x.dtype)).encode(), digest_size=16)
    found.update(net(x[:8]).tobytes())
    found.update(np.ascontiguousarray(x).tobytes())
    found.update(np.ascontiguousarray(y).tobytes())
    return found.hexdigest()
