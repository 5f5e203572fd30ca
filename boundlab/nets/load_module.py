"""A torch module from what users have: an ONNX or .pt2 graph, or a file of arrays and the architecture they fit."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from boundlab._errors import InvalidParameter, UnsupportedLayer, one_line
from boundlab.files import arrays_of_npz, call_named, readable_file
from boundlab.nets.architectures import ARCHITECTURES
from boundlab.nets.onnx_module import EPS, module_of_model
from boundlab.nets.sparse import dense_arrays

if TYPE_CHECKING:
    import torch

STATES = (".th", ".pt", ".pth", ".safetensors", ".npz")
"""Files of arrays, which need an architecture."""

WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
"""Under which of these names a file of more than a state keeps it."""


def load_module(source: str | os.PathLike[str], factory: str | None = None) -> torch.nn.Module:
    """Read a torch module, in eval mode, from a file, or have a function of yours give one.

    Parameters
    ----------
    source : str or path
        ``FILE.onnx`` or ``FILE.onnx.gz``; ``FILE.pt2`` as ``torch.export.save`` writes it; a state with `factory`:
        ``FILE.th``, ``FILE.pt``, ``FILE.pth`` of arrays alone, ``FILE.safetensors`` or ``FILE.npz``, dense or with
        sparse arrays (see `nets.export`); or ``module:function``, importable from here, which returns a trained module.
    factory : str, optional
        What the state is of: resnet20, resnet32, resnet44, resnet56, resnet110, lenet5, or ``module:function`` that
        builds an untrained module. The file must hold exactly its state. The names may all begin with "module." or
        "_orig_mod.", the state may stand under "state_dict" or "model" in the file, and in an .npz file a weight may
        be named "conv1_W" for conv1.weight and a bias "conv1_b".

    Returns
    -------
    torch.nn.Module
        In the precision of the file. What comes from a graph has been compared with that graph on random points.

    Raises
    ------
    InvalidParameter
        If the source is missing, broken, of an unknown kind, does not fit the factory, or would have to be unpickled:
        .th, .pt and .pth are read by ``torch.load(weights_only=True)``, which admits arrays and plain containers only.
    UnsupportedLayer
        If a graph holds an operator, named in the message, that has no torch form here.

    Examples
    --------
    >>> import tempfile
    >>> from boundlab.nets.architectures import lenet5
    >>> from boundlab.nets.export import export
    >>> path = f"{tempfile.mkdtemp()}/net.npz"
    >>> written = export(lenet5(rng=1), path)
    >>> [name for name, _ in load_module(path, "lenet5").named_children()]
    ['conv1', 'pool1', 'conv2', 'pool2', 'flatten', 'ip1', 'relu1', 'ip2']
    """
    if not isinstance(source, (str, os.PathLike)) or not isinstance(factory, (str, type(None))):
        raise InvalidParameter(f"source and factory must be text, got {source!r} and {factory!r}.")
    source = os.fspath(source)
    suffix = "".join(Path(source).suffixes[-2:]) if source.endswith(".gz") else Path(source).suffix
    if factory is not None and suffix not in STATES:
        raise InvalidParameter(f"factory must be given only for a file of arrays, got it for {source}.")
    if re.fullmatch(r"[\w.]+:[\w.]+", source):
        return _module(call_named(source), source)
    if suffix in (".th", ".pt", ".pth"):
        state = _restricted(source)
    else:
        readable_file(source, "net")
        if suffix in (".onnx", ".onnx.gz"):
            from boundlab.nets.onnx_module import module_of_onnx

            return module_of_onnx(source)
        if suffix == ".pt2":
            return _pt2(source)
        if suffix not in STATES:
            kinds = f".onnx, .onnx.gz, .pt2, {', '.join(STATES)} or module:function"
            raise InvalidParameter(f"a module must come from {kinds}, got {source}.")
        state = _arrays(source, suffix)
    if factory is None:
        known = ", ".join(ARCHITECTURES)
        raise InvalidParameter(f"a file of arrays must come with factory, {known} or module:function, got {source}.")
    return _filled(factory, state, source)


def _module(found: Any, source: str) -> torch.nn.Module:
    import torch

    if not isinstance(found, torch.nn.Module):
        raise InvalidParameter(f"{source} must return a torch.nn.Module, got {type(found).__name__}.")
    return found.eval()


def _filled(factory: str, state: Mapping[str, torch.Tensor], source: str) -> torch.nn.Module:
    """The module that the factory builds, with the state of the file."""
    import torch

    if factory in ARCHITECTURES:
        module = ARCHITECTURES[factory]()
    elif ":" in factory:
        module = _module(call_named(factory), factory)
    else:
        raise InvalidParameter(f"factory must be {', '.join(ARCHITECTURES)} or module:function, got {factory!r}.")
    tied: dict[int, list[str]] = {}
    for name, p in module.named_parameters(remove_duplicate=False):
        tied.setdefault(id(p), []).append(name)
    try:
        module.load_state_dict(dict(state), strict=True, assign=True)  # assign: the file's precision is kept
    except Exception as error:
        raise InvalidParameter(f"{source} must hold exactly the state of {factory}, got {one_line(error)}.") from None
    for first, *others in tied.values():  # `assign` gave each name a tensor of its own
        held = module.get_parameter(first)
        for name in others:
            owner, _, leaf = name.rpartition(".")
            if torch.equal(held, module.get_parameter(name)):
                setattr(module.get_submodule(owner), leaf, held)
    return module.eval()


def _restricted(source: str) -> dict[str, torch.Tensor]:
    """The state in a file of torch.save, read by the unpickler that knows arrays and plain containers only."""
    import pickle

    import torch

    if not Path(source).is_file():
        raise InvalidParameter(f"a net must be an existing file or module:function, got {source}.")
    try:
        found = torch.load(source, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InvalidParameter(
            f"a file of arrays must hold nothing that could run code when it is read, got {one_line(error)}."
        ) from None
    except Exception as error:
        raise InvalidParameter(f"{source} must be a whole file of torch.save, got {one_line(error)}.") from None
    for name in WRAPPERS:
        if isinstance(found, Mapping) and isinstance(found.get(name), Mapping):
            found = found[name]
            break
    if not isinstance(found, Mapping) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        kinds = sorted({type(v).__name__ for v in found.values()}) if isinstance(found, Mapping) else [type(found)]
        raise InvalidParameter(f"{source} must hold a state, tensors by their names, got {kinds}.")
    state = {str(name): value for name, value in found.items()}
    for prefix in ("_orig_mod.", "module."):  # of torch.compile and of DataParallel
        if state and all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def _arrays(source: str, suffix: str) -> dict[str, torch.Tensor]:
    """The state in a file of plain arrays, dense or sparse."""
    import torch

    if suffix == ".npz":
        arrays = dense_arrays(arrays_of_npz(source))
        if not any("." in name for name in arrays):  # caffe's names
            arrays = {re.sub("_W$", ".weight", re.sub("_b$", ".bias", name)): array for name, array in arrays.items()}
    else:
        try:
            from safetensors.torch import load_file
        except ImportError:
            rule = "reading .safetensors needs the extra safetensors: pip install 'boundlab[safetensors]'."
            raise InvalidParameter(rule) from None
        try:
            state = load_file(source)
        except Exception as error:
            raise InvalidParameter(f"{source} must be a whole safetensors file, got {one_line(error)}.") from None
        if not any("@" in name for name in state):
            return state  # also of types that numpy does not know
        arrays = dense_arrays({name: tensor.numpy() for name, tensor in state.items()})
    try:
        return {
            name: torch.from_numpy(array if array.flags.writeable else array.copy()) for name, array in arrays.items()
        }
    except TypeError as error:
        raise InvalidParameter(f"{source} must hold arrays that torch knows, got {one_line(error)}.") from None


def _pt2(source: str) -> torch.nn.Module:
    """A .pt2 graph by way of its ONNX form, in which weights stand in layers; checked against the graph itself."""
    import torch

    from boundlab.nets.onnx_writing import model_of_graphs
    from boundlab.nets.pt2_graph import graph_of_pt2

    try:
        import onnx
    except ImportError:
        raise InvalidParameter("a module from .pt2 needs the extra onnx: pip install 'boundlab[onnx]'.") from None
    del onnx
    graph = graph_of_pt2(source)
    other = replace(graph, shape=(graph.shape[0] + 1, *graph.shape[1:]))
    try:
        with torch.no_grad():
            other.run(torch.zeros(other.shape, dtype=graph.dtype))
    except RuntimeError:
        other = graph  # it was exported for one number of points
    module = module_of_model(model_of_graphs(graph, other))
    x = torch.from_numpy(np.random.default_rng(0).standard_normal(graph.shape)).to(graph.dtype)
    with torch.no_grad():
        got, want = module(x).double(), graph.run(x).double()
    if got.shape != want.shape or not (got - want).abs().max() <= EPS * want.abs().max():
        raise UnsupportedLayer(
            f"a module must have the outputs of the graph that it is read from, {source} has others."
        )
    return module
