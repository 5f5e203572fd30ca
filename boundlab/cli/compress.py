"""boundlab compress: any net smaller, written to a file, and what fresh points certify of it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from boundlab._errors import InvalidParameter, positive_int
from boundlab.cli.console import progress, stdout, table
from boundlab.promises import Certificate


def compress_net(args: argparse.Namespace) -> int:
    """Compress a net from a file, certify it on a hold-out, and write it."""
    from boundlab.cli.methods import method_named
    from boundlab.compressors import METHODS
    from boundlab.compressors.method import compress
    from boundlab.data import load_data
    from boundlab.files import writable
    from boundlab.holdout import certify_on_holdout
    from boundlab.nets.export import export
    from boundlab.network import Network

    count = positive_int("points", args.points)
    writable(Path(args.out))
    with progress() as tell:
        tell(0.0, f"reading {args.data}")
        data = load_data(args.data, scale=args.scale, shift=args.shift)
        if data.x_train is None or data.y_train is None:
            raise InvalidParameter("data must hold training points, got a box.")
        x = shaped(data.x_train[:count], args.shape)
        tell(0.1, f"reading {args.net}")
        net = net_of(args, x)
        defaults = {"nnz": max(1, net.nnz // 2), "labels": data.y_train[: len(x)]}
        if not any(word.startswith("--channels") for word in args.fields):
            defaults["parameters"] = net.parameters // 2
        method = method_named(args.method, args.fields, defaults, METHODS)
        tell(0.2, f"compressing by {method.name}")

        def seen(k: int, n: int) -> None:
            tell(0.2, f"compressing by {method.name}: pass {k}, {n:,} points seen")

        small = compress(net, method, x, rng=args.seed, record=args.record, progress=seen)
        certificate, rival = None, ""
        if data.x_test is not None:
            tell(0.7, f"certifying on {len(data.x_test)} points")
            fresh = shaped(data.x_test, args.shape)
            certificate = certify_on_holdout(small, fresh, independent=args.unseen_holdout)
            tell(0.8, "comparing with magnitude pruning")
            rival = _rival(small, x, fresh, certificate)
        tell(0.9, f"writing {args.out}")
        example = None if isinstance(small.net, Network) else x[:1]
        file = export(small.net, args.out, example=example)
    console = stdout()
    console.print(table(small.rows()))
    console.print(
        f"{method.name}: {small.nnz:,} of {net.nnz:,} weights, {small.net.parameters:,} parameters in the net."
    )
    if rival:
        console.print(rival)
    for name, reason in getattr(small, "kept", {}).items():
        console.print(f"  kept exactly: {name} ({reason})", highlight=False)
    for name, reason in getattr(small, "stay", {}).items():
        console.print(f"  keeps its channels: {name} ({reason})", highlight=False)
    if certificate is None:
        console.print("nothing is certified: the data have no test part.")
    if certificate is not None:
        word, error = "VOID" if certificate.void else "certified", certificate.error
        console.print(
            f"{word}: {certificate.claim} but on a share {certificate.delta:.3g} of fresh inputs (agreement seen "
            f"{error['agreement']:.2%}); relative error at most {error['relative_l1_limit']:.3g} but on "
            f"{error['exceeded_at_most']:.0%} of them; wrong with probability {certificate.confidence_delta:g}"
        )
        for premise in certificate.premises:
            console.print(f"  {premise.status}: {premise.text} ({premise.evidence})", markup=False, highlight=False)
    console.print(f"The net: {file.path}, {file.size:,} bytes; read back, its outputs differ by {file.difference:.2g}.")
    return 0


def net_of(args: argparse.Namespace, x: np.ndarray) -> Any:
    """A Network where a theorem can speak of it, else the module with its batch norms folded."""
    from boundlab._errors import UnsupportedLayer
    from boundlab.nets.folding import fold_batchnorm
    from boundlab.nets.load import as_network, load_network
    from boundlab.nets.load_module import load_module
    from boundlab.nets.module_net import ModuleNet

    if args.factory is None and x.ndim == 2 and Path(args.net).suffix == ".npz":  # W0, b0, ... as `export` writes them
        return load_network(args.net)
    module = load_module(args.net, args.factory)
    if x.ndim == 2:
        try:
            return as_network(module)
        except UnsupportedLayer as fact:
            stdout(stderr=True).print(f"No theorem covers this net: {fact}", markup=False)
    return ModuleNet(fold_batchnorm(module, x[:1]).module, x[:1])


def _rival(small: Any, x: np.ndarray, fresh: np.ndarray, certificate: Certificate) -> str:
    """How the largest weights, or the largest channels, fare at the same size: a method that promises nothing."""
    from boundlab.compressors.baselines import Magnitude
    from boundlab.compressors.filter_baselines import LargestFilters
    from boundlab.compressors.method import ChannelCompression, compress
    from boundlab.holdout import certify_on_holdout

    if isinstance(small, ChannelCompression):
        method, name = LargestFilters(parameters=small.net.parameters), "Keeping the largest channels"
    else:
        method, name = Magnitude(nnz=max(1, small.nnz)), "Magnitude pruning"
    other = certify_on_holdout(compress(small.original, method, x, rng=0), fresh)
    fact, shown = ("agreement", ".2%") if certificate.eps is None else ("observed_relative_l1_median", ".3g")
    own, ours = other.error[fact], certificate.error[fact]
    lead = own - ours if certificate.eps is None else ours - own
    word = "better" if lead > 0 else "worse" if lead < 0 else "alike"
    noun = "agreement seen" if certificate.eps is None else "median relative error"
    return f"{name} to the same size: {noun} {own:{shown}}, {word} ({ours:{shown}} here)."


def shaped(x: np.ndarray, shape: str | None) -> np.ndarray:
    """Points as the net reads them."""
    if shape is None:
        return x
    try:
        sizes = tuple(int(word) for word in shape.split(","))
        return x.reshape(len(x), *sizes)
    except ValueError:
        raise InvalidParameter(
            f"shape must be the sizes of one point, such as 1,28,28, with product {x.shape[1]}, got {shape!r}."
        ) from None
