"""A `Network` from what users have: a torch module, a file, or a function of theirs. Nothing is ever unpickled."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from boundlab._errors import InvalidParameter
from boundlab.files import arrays_of_npz, call_named, readable_file
from boundlab.nets.load_module import load_module
from boundlab.nets.sparse import dense_arrays
from boundlab.network import Layer, Network


def as_network(net: Any, *, features: int | None = None) -> Network:
    """Return `net` as a Network: itself, or the layers of a fully connected torch module.

    Parameters
    ----------
    net : Network or torch.nn.Module
        A module is copied, put in eval mode and exported with ``torch.export``; it is never changed. Its forward may
        hold linear layers, ReLU, dropout, batch norm on rows, changes of shape, and elementwise arithmetic with
        constants, which is folded: W (s x + t) + b = (W diag s) x + (W t + b).
    features : int, optional
        Numbers per input point; the first ``torch.nn.Linear`` tells it if not given. A module that wants square
        images of 1 or 3 channels is given them.

    Returns
    -------
    Network
        Its outputs agree with the module's, both in double precision, on 8 random inputs, to 1e-6 of the largest.

    Raises
    ------
    InvalidParameter
        If `net` is neither, cannot be run, or has other than `features` inputs.
    UnsupportedLayer
        If the module is not a fully connected ReLU network, or its layers give other outputs than the module.

    Examples
    --------
    >>> import torch
    >>> module = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    >>> as_network(module).sizes
    (4, 3, 2)
    """
    if isinstance(net, Network):
        network = net
    else:
        import torch

        if not isinstance(net, torch.nn.Module):
            raise InvalidParameter(f"net must be a boundlab Network or a torch.nn.Module, got {type(net).__name__}.")
        from boundlab.nets.torch_graph import network_of_module

        network = network_of_module(net, features=features)
    if features is not None and network.sizes[0] != features:
        raise InvalidParameter(f"features must be the net's number of inputs, {network.sizes[0]}, got {features}.")
    return network


def load_network(source: str, *, factory: str | None = None, relu_after_last: bool = False) -> Network:
    """Read a Network from a file, or have a function of yours give one.

    Parameters
    ----------
    source : str
        ``FILE.onnx`` or ``FILE.onnx.gz``; ``FILE.pt2`` as ``torch.export.save`` writes it; ``FILE.safetensors`` with
        `factory`; ``FILE.npz`` with W0, b0, W1, b1, ... (W of shape (out, in), ReLU between the layers, and
        optionally the scalar relu_after_last, or `relu`, one boolean for each layer), dense or sparse as `export`
        writes it; or ``module:function``, importable from here, whose result is a
        Network or a trained ``torch.nn.Module``.
    factory : str, optional
        ``module:function`` that builds the untrained module of a .safetensors file; the file must hold exactly its
        state.
    relu_after_last : bool
        Whether a ReLU follows the last layer of an .npz file; every other source says so itself.

    Returns
    -------
    Network
        In double precision. What is walked from a graph has been compared with that graph on random inputs.

    Raises
    ------
    InvalidParameter
        If the source is missing, broken, a pickle, or of an unknown kind, or your function fails.
    UnsupportedLayer
        If it is not a fully connected ReLU network.
    """
    source = os.fspath(source)
    suffix = "".join(Path(source).suffixes[-2:]) if source.endswith(".gz") else Path(source).suffix
    if factory is not None and suffix != ".safetensors":
        raise InvalidParameter(f"factory must be given only for a .safetensors file, got it for {source}.")
    if relu_after_last and suffix != ".npz":
        raise InvalidParameter(f"relu_after_last must be given only for an .npz file, got it for {source}.")
    if re.fullmatch(r"[\w.]+:[\w.]+", source):
        return as_network(call_named(source))
    readable_file(source, "net")
    if suffix == ".npz":
        return _npz(source, relu_after_last)
    if suffix == ".safetensors":
        return _safetensors(source, factory)
    if suffix == ".pt2":
        from boundlab.nets.pt2_graph import graph_of_pt2
        from boundlab.nets.torch_graph import network_of_graph

        return network_of_graph(graph_of_pt2(source))
    if suffix in (".onnx", ".onnx.gz"):
        from boundlab.nets.onnx_graph import network_of_onnx

        return network_of_onnx(source)
    kinds = ".onnx, .onnx.gz, .pt2, .safetensors, .npz or module:function"
    raise InvalidParameter(f"a net must come from {kinds}, got {source}.")


def _npz(source: str, relu_after_last: bool) -> Network:
    stored = dense_arrays(arrays_of_npz(source))
    relus = stored.pop("relu", None)
    last = stored.pop("relu_after_last", None) if relus is None else np.ravel(relus)[-1:]
    relu_last = _last_relu(last, relu_after_last, source)
    depth = max(1, (len(stored) + 1) // 2)
    relu = [True] * (depth - 1) + [relu_last] if relus is None else relus.tolist()
    if relus is not None and (relus.dtype != bool or relus.shape != (depth,)):
        raise InvalidParameter(f"relu of {source} must be {depth} booleans, got {relus.dtype}{relus.shape}.")
    wanted = [f"{letter}{k}" for k in range(depth) for letter in "Wb"]
    if set(stored) != set(wanted):
        found = ", ".join(sorted(stored)[:12]) or "no array"
        raise InvalidParameter(f"{source} must hold W0, b0, W1, b1, ... and nothing else, got {found}.")
    layers, inputs = [], 0
    for k in range(depth):
        weight, bias = stored[f"W{k}"], stored[f"b{k}"]
        for name, array, ndim in ((f"W{k}", weight, 2), (f"b{k}", bias, 1)):
            _require_numbers(source, name, array, ndim)
        out, columns = weight.shape
        if k and columns != inputs:
            raise InvalidParameter(f"W{k} of {source} must have {inputs} columns, the rows of W{k - 1}, got {columns}.")
        if bias.shape != (out,):
            raise InvalidParameter(f"b{k} of {source} must have shape ({out},), the rows of W{k}, got {bias.shape}.")
        inputs = out
        layers.append(Layer(weight=weight, bias=bias, relu=relu[k]))
    return Network(layers=tuple(layers))


def _require_numbers(source: str, name: str, array: np.ndarray, ndim: int) -> None:
    if array.ndim != ndim or array.size == 0:
        raise InvalidParameter(f"{name} of {source} must have {ndim} dimensions, none of them 0, got {array.shape}.")
    if not (np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer)):
        raise InvalidParameter(f"{name} of {source} must hold real numbers, got dtype {array.dtype}.")
    bad = array.size - int(np.isfinite(array).sum())
    if bad:
        raise InvalidParameter(f"{name} of {source} must be finite, got {bad} NaN or infinite of {array.size} entries.")


def _last_relu(stored: np.ndarray | None, given: bool, source: str) -> bool:
    if stored is None:
        return given
    if stored.size != 1 or stored.dtype.kind not in "buif" or stored.reshape(()).item() not in (0, 1):
        raise InvalidParameter(
            f"relu_after_last of {source} must be one value, 0 or 1, got {stored.dtype}{stored.shape}."
        )
    own = bool(stored.reshape(()).item())
    if given and not own:
        raise InvalidParameter(f"relu_after_last must not contradict {source}, which says 0, got True.")
    return own


def _safetensors(source: str, factory: str | None) -> Network:
    if factory is None:
        raise InvalidParameter(f"a .safetensors file must come with factory='module:function', got none for {source}.")
    return as_network(load_module(source, factory))
