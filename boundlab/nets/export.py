"""Nets to files: ONNX, .pt2, and weights stored sparse; no file is left that gives other outputs than the net."""

from __future__ import annotations

import gzip
import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from boundlab._errors import BoundlabError, InvalidParameter, UnsupportedLayer, one_line
from boundlab.files import arrays_of_npz, draft_of, writable
from boundlab.nets.module_net import ModuleNet
from boundlab.nets.sparse import dense_arrays, sparse_arrays
from boundlab.network import Network

if TYPE_CHECKING:
    import torch

    from boundlab.nets.torch_graph import Graph

Run = Callable[[np.ndarray], np.ndarray]

POINTS = 7
"""Random points on which a written file is run."""


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A file that was written, and how far its outputs were from the net's."""

    path: Path
    size: int  # bytes
    difference: float  # the largest on the random points, as a share of the largest output; 0 where bits were compared


def export(
    net: Network | ModuleNet | torch.nn.Module, path: str | os.PathLike[str], *, example: np.ndarray | None = None
) -> Exported:
    """Write a net to a file, once the draft of the file has been read back and gives the outputs of the net.

    Parameters
    ----------
    net : Network, ModuleNet or torch.nn.Module
        never changed; a Network is written in double precision, a module in its own, in eval mode
    path : str or path
        ``FILE.onnx``, ``FILE.onnx.gz`` or ``FILE.pt2``: the whole net, its weights dense. ``FILE.npz`` or
        ``FILE.safetensors``: its arrays alone, stored as indices and values where that is smaller (see `nets.sparse`);
        for a Network W0, b0, W1, ... as `load_network` reads them, for a module its state.
    example : array, optional
        (points, ...) inputs as the module reads them, only their shape counts; needed for a module in .onnx and .pt2

    Returns
    -------
    Exported
        The file takes any number of points at once. On 7 random ones, given one, two and four at a time, its outputs
        differ from the net's by at most 1e-4 of the largest, 1e-9 in double precision: .onnx in ONNX's reference
        evaluator, .pt2 operation by operation. Sparse arrays come back to the last bit.

    Raises
    ------
    InvalidParameter
        If the file cannot be written, the kind is unknown, or an argument is missing.
    UnsupportedLayer
        If the format has no form for an operation, named in the message, or the outputs differ; no file is left.

    Examples
    --------
    >>> import tempfile
    >>> from boundlab.nets.toy import random_network
    >>> folder = tempfile.mkdtemp()
    >>> export(random_network((4, 3, 2), rng=0), f"{folder}/net.npz").difference
    0.0
    """
    target = Path(path)
    kind = "".join(target.suffixes[-2:]) if target.suffix == ".gz" else target.suffix
    writers = {".onnx": _onnx, ".onnx.gz": _onnx, ".pt2": _pt2}
    writable(target)
    if kind in (".npz", ".safetensors"):
        return _sparse(net, target, kind)
    if kind not in writers:
        raise InvalidParameter(f"a net must be written as .onnx, .onnx.gz, .pt2, .npz or .safetensors, got {target}.")
    module, shape = _module(net, example)
    return writers[kind](module, shape, target)


def _module(net: Any, example: np.ndarray | None) -> tuple[Any, tuple[int, ...]]:
    """A copy of the net as a torch module in eval mode, and the shape of one point."""
    import torch

    from boundlab.nets.torch_graph import copied

    if isinstance(net, Network):
        return module_of_network(net), (net.sizes[0],)
    module = net.module if isinstance(net, ModuleNet) else net
    if not isinstance(module, torch.nn.Module):
        raise InvalidParameter(f"net must be a Network, a ModuleNet or a torch.nn.Module, got {type(net).__name__}.")
    if example is None or np.ndim(example) < 2:
        raise InvalidParameter(f"example must have shape (points, ...), got {np.shape(example) if example else None}.")
    return copied(module), tuple(np.shape(example)[1:])


def module_of_network(net: Network) -> torch.nn.Module:
    """Return the linear layers and ReLUs of a Network as a ``torch.nn.Sequential`` in double precision.

    Examples
    --------
    >>> from boundlab.nets.toy import random_network
    >>> [type(part).__name__ for part in module_of_network(random_network((4, 3, 2), rng=0)).children()]
    ['Linear', 'ReLU', 'Linear']
    """
    import torch
    from torch import nn

    parts: list[nn.Module] = []
    for layer in net.layers:
        out, inputs = layer.weight.shape
        linear = nn.Linear(inputs, out, device="meta")  # without initial weights, which would be drawn
        linear.weight, linear.bias = (nn.Parameter(torch.from_numpy(a.copy())) for a in (layer.weight, layer.bias))
        parts += [linear, nn.ReLU()] if layer.relu else [linear]
    return nn.Sequential(*parts).eval()


# -------------------------------------------------------------------------------------------------------- whole nets


def _onnx(module: Any, shape: tuple[int, ...], target: Path) -> Exported:
    try:
        import onnx.reference
    except ImportError:
        raise InvalidParameter("writing .onnx needs the extra onnx: pip install 'boundlab[onnx]'.") from None
    from boundlab.nets.onnx_graph import read_model
    from boundlab.nets.onnx_writing import model_of_graphs

    dtype = _dtype(module)
    one, other = (_graph(module, (points, *shape), dtype) for points in (2, 3))
    model = model_of_graphs(one, other)
    data = model.SerializeToString()
    with draft_of(target) as draft:
        draft.write_bytes(gzip.compress(data, mtime=0) if target.suffix == ".gz" else data)
        read = read_model(str(draft))
        session: Any = onnx.reference.ReferenceEvaluator(read)

        def run(x: np.ndarray) -> np.ndarray:
            return session.run(None, {read.graph.input[0].name: x})[0]

        found = _difference(module, run, shape, dtype)
    return Exported(path=target, size=target.stat().st_size, difference=found)


def _pt2(module: Any, shape: tuple[int, ...], target: Path) -> Exported:
    import torch

    from boundlab.nets.pt2_graph import graph_of_pt2
    from boundlab.nets.torch_graph import quiet

    dtype = _dtype(module)
    data, dynamic = io.BytesIO(), {0: torch.export.Dim.AUTO}
    try:
        with quiet(), torch.no_grad():
            example = torch.zeros((2, *shape), dtype=dtype)
            program = torch.export.export(module, (example,), dynamic_shapes=(dynamic,), strict=False)
            torch.export.save(program, data)
    except Exception as error:
        raise UnsupportedLayer(f"a net to write as .pt2 must run under torch.export, got {one_line(error)}.") from None
    with draft_of(target) as draft:
        draft.write_bytes(data.getvalue())
        graph = graph_of_pt2(str(draft))
        found = _difference(module, _runner(graph, dtype), shape, dtype)
    return Exported(path=target, size=target.stat().st_size, difference=found)


def _runner(graph: Graph, dtype: torch.dtype) -> Run:
    import torch

    return lambda x: graph.run(torch.from_numpy(x).to(dtype)).detach().numpy()


def _dtype(module: Any) -> torch.dtype:
    import torch

    found = {p.dtype for p in module.state_dict().values() if p.is_floating_point()}
    if len(found) > 1 or found - {torch.float32, torch.float64}:
        kinds = ", ".join(sorted(map(str, found)))
        raise InvalidParameter(f"a net to write must be float32 or float64 throughout, got {kinds}.")
    return found.pop() if found else torch.float32


def _graph(module: Any, shape: tuple[int, ...], dtype: torch.dtype) -> Graph:
    import torch

    from boundlab.nets.torch_graph import graph_of_module, quiet

    try:
        with quiet():
            return graph_of_module(module, torch.zeros(shape, dtype=dtype))
    except BoundlabError:
        raise
    except Exception as error:  # whatever the module's own code or torch.export raises
        raise InvalidParameter(
            f"a module must run, and run under torch.export, on an input of shape {shape}, got {one_line(error)}."
        ) from None


def _difference(module: Any, run: Run, shape: tuple[int, ...], dtype: torch.dtype) -> float:
    """The largest difference on random points, given one, two and four at a time, or UnsupportedLayer."""
    import torch

    x = np.random.default_rng(0).standard_normal((POINTS, *shape)).astype(str(dtype).removeprefix("torch."))
    with torch.inference_mode():
        parts = [module(torch.tensor(part)) for part in np.split(x, (1, 3))]
    if not all(isinstance(p, torch.Tensor) and p.ndim and len(p) == n for p, n in zip(parts, (1, 2, 4), strict=True)):
        raise UnsupportedLayer("a net to write must give one tensor of shape (points, ...), got something else.")
    want = np.concatenate([p.numpy() for p in parts])
    try:
        got = np.concatenate([np.asarray(run(part)) for part in np.split(x, (1, 3))])
    except Exception as error:
        raise UnsupportedLayer(f"a written net must run as it is read back, got {one_line(error)}.") from None
    eps = 1e-9 if dtype == torch.float64 else 1e-4
    if got.shape != want.shape:
        raise UnsupportedLayer(f"a written net must have outputs of shape {want.shape}, got {got.shape}.")
    largest = float(np.abs(want).max())
    found = float(np.abs(got.astype(np.float64) - want).max())
    if not found <= eps * largest:
        raise UnsupportedLayer(f"a written net must have the outputs of the net, got a difference of {found:.3g}.")
    return found / largest if largest else 0.0


# ------------------------------------------------------------------------------------------------------ arrays alone


def _sparse(net: Any, target: Path, kind: str) -> Exported:
    arrays = arrays_of(net)
    stored = sparse_arrays(arrays)
    data = io.BytesIO()
    if kind == ".npz":
        named: dict[str, Any] = stored
        np.savez_compressed(data, **named)
    else:
        try:
            from safetensors.numpy import save
        except ImportError:
            rule = "writing .safetensors needs the extra safetensors: pip install 'boundlab[safetensors]'."
            raise InvalidParameter(rule) from None
        data.write(save(stored))
    with draft_of(target) as draft:
        draft.write_bytes(data.getvalue())
        if kind == ".npz":
            read = arrays_of_npz(str(draft))
        else:
            from safetensors.numpy import load_file

            read = load_file(draft)
        back = dense_arrays(read)
        same = set(back) == set(arrays) and all(
            (back[name].dtype, back[name].shape, back[name].tobytes()) == (array.dtype, array.shape, array.tobytes())
            for name, array in arrays.items()
        )
        if not same:
            raise InvalidParameter(f"{target} must hold the arrays of the net to the last bit, got others back.")
    return Exported(path=target, size=target.stat().st_size, difference=0.0)


def arrays_of(net: Network | ModuleNet | torch.nn.Module) -> dict[str, np.ndarray]:
    """Return the arrays of a net by name: W0, b0, ... and relu_after_last of a Network, the state of a module.

    Where a hidden layer of a Network has no ReLU, `relu` says of each layer whether it has one.

    Raises
    ------
    InvalidParameter
        If a tensor has no numpy form.
    """
    if isinstance(net, Network):
        arrays = {}
        for k, layer in enumerate(net.layers):
            arrays |= {f"W{k}": layer.weight, f"b{k}": layer.bias}
        relu = np.array([layer.relu for layer in net.layers])
        return arrays | ({"relu_after_last": relu[-1:].reshape(())} if relu[:-1].all() else {"relu": relu})
    module = net.module if isinstance(net, ModuleNet) else net
    try:
        return {name: t.detach().cpu().numpy() for name, t in module.state_dict().items()}
    except (TypeError, AttributeError, ValueError, RuntimeError) as error:
        raise InvalidParameter(f"the state of a net must be tensors that numpy knows, got {one_line(error)}.") from None
