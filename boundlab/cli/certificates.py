"""boundlab bound and boundlab check: a certificate of one net's risk, issued and verified."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from decimal import ROUND_CEILING, Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from boundlab._errors import BoundlabError, InvalidParameter, one_line, probability
from boundlab.cli.console import progress, reader_may_leave, stdout, table

if TYPE_CHECKING:
    from boundlab.data import DataSet
    from boundlab.nets.feedforward import FeedForward
    from boundlab.risk_certificates import Checked, RiskCertificate

METHODS = ("occam", "occam-pyramid", "occam-log-grid", "single-draw", "all")


def bound_net(args: argparse.Namespace) -> int:
    """Issue a certificate of the risk of a net from a file, and say what it costs."""
    from boundlab.files import writable
    from boundlab.risk_certificates import issue_certificate

    if args.method == "all":
        return _compare(args)
    if args.figure:
        raise InvalidParameter("--figure draws all bounds: it needs --method all.")
    methods = _methods(args.method, probability("delta", args.delta))
    if args.save:
        writable(Path(args.save))
    with progress() as tell:
        tell(0.0, f"reading {args.data}")
        data, x, y = _examples(args)
        tell(0.1, f"reading {args.net}")
        chain = _chain(args, x)
        found: list[RiskCertificate] = []
        left_out: dict[str, str] = {}
        for k, method in enumerate(methods):
            tell(0.2 + 0.7 * k / len(methods), f"{method.name}: looking for the message with the smallest bound")
            try:
                found.append(issue_certificate(chain, method, x, y, data=str(args.data)))
            except BoundlabError as fault:
                left_out[method.name] = str(fault)
                if not found and method is methods[-1]:
                    raise
        best = min(found, key=lambda certificate: certificate.bound)
        if args.save:
            tell(0.95, f"writing {args.save}")
            best.save(args.save)
    if args.json:
        more = {"paid": dict(best.paid), "assumed": list(best.assumed), "left_out": left_out}
        print(json.dumps({**best.rows()[0], **more}, indent=2))
        return 0
    _say_table(best.rows())
    print(
        f"The risk of the net in the message is at most {up(best.bound)} except with probability {best.delta:g} "
        f"({_worth(best)}); it makes {best.errors:,} errors on {best.n:,} examples."
    )
    layers = ", ".join(f"{bits:,.0f}" for bits in best.paid["layers"])
    print(f"  paid: {len(best.message):,} bytes; bits by layer: {layers}")
    for name, fault in left_out.items():
        print(f"  left out: {name}: {fault}")
    _say_tested(best, data)
    _say_assumed(best)
    if args.save:
        again = shlex.join(["boundlab", "check", args.save, "--data", args.data])
        print(f"Written to {args.save}; verify it with: {again}")
    return 0


def check_file(args: argparse.Namespace) -> int:
    """Verify a certificate file on examples: exit code 0 where it is valid, 1 where it is not.

    The code is the verdict, whoever reads the words; it is neither where the check does not come to its end.
    """
    try:
        found = _checked(args)
        with reader_may_leave(sys.stdout):
            if args.json:
                print(json.dumps(found.to_dict(), indent=2))
            else:
                _say_checked(found)
    except BoundlabError:
        raise
    except Exception as fault:
        raise InvalidParameter(f"a check must come to its end, got {one_line(fault)}.") from fault
    return 0 if found.valid else 1


def _checked(args: argparse.Namespace) -> Checked:
    from boundlab.risk_certificates import check_certificate, read_certificate

    certificate = read_certificate(args.certificate)
    with progress() as tell:
        tell(0.0, f"reading {args.data}")
        _, x, y = _examples(args)
        tell(0.3, "rebuilding the net and counting its errors")
        return check_certificate(certificate, x, y)


def _compare(args: argparse.Namespace) -> int:
    """Every bound of the catalogue on the net, as one table."""
    from boundlab.cli.compress import net_of, shaped
    from boundlab.comparing import compare
    from boundlab.files import draft_of, writable

    if args.save or args.pool != 1:
        raise InvalidParameter("--save and --pool need one method, got all.")
    if args.figure:
        writable(Path(args.figure))
    with progress() as tell:
        tell(0.0, f"reading {args.data}")
        data, x, y = _examples(args, scale=args.scale, shift=args.shift)
        x = shaped(x, args.shape)
        test = None
        if data.x_test is not None and data.y_test is not None:
            test = shaped(data.x_test, args.shape), data.y_test
        net = net_of(args, x[:1])
        found = compare(net, x, y, test=test, delta=args.delta, progress=tell)
    if args.figure:
        from matplotlib.figure import Figure

        drawing = Figure(figsize=(9, 7), layout="constrained")
        found.plot(drawing.subplots())
        with draft_of(Path(args.figure)) as draft:
            drawing.savefig(draft, dpi=120)
    if args.json:
        print(json.dumps(found.rows(), indent=2, default=str))
        return 0
    shown = ("bound", "raw", "standing", "certifies", "nats", "seconds")
    console = stdout()
    console.print(table([{name: "" if row[name] is None else row[name] for name in shown} for row in found.rows()]))
    console.print(
        f"error on the training examples: {found.training_error:.2%}; each line holds at delta = {args.delta:g}"
    )
    for line in found.lines:
        if line.remark:
            console.print(f"  {line.name}: {line.remark}", markup=False, highlight=False)
    return 0


def _say_checked(found: Checked) -> None:
    certificate = found.certificate
    _say_table(found.rows())
    if found.valid:
        print(
            f"VALID: the net in the file has a risk of at most {up(certificate.bound)} except with probability "
            f"{certificate.delta:g} ({_worth(certificate)}): {found.errors:,} errors on {found.n:,} examples, "
            f"{found.nats:,.1f} nats."
        )
        _say_assumed(certificate)
    for fault in found.faults:
        print(f"NOT VALID: {fault}")
    if not found.same_data:
        print("  these are not the examples, or not the order of them, that it was issued on")


def _say_table(rows: list[dict[str, Any]]) -> None:
    """The rows, their bounds rounded up."""
    stdout().print(table([{**row, "bound": up(row["bound"])} for row in rows]))


def _say_assumed(certificate: RiskCertificate) -> None:
    if certificate.bound >= certificate.constant_error:
        print(
            f"  always answering the commonest class is wrong on {certificate.constant_error:.2%} of the examples; the "
            "bound is not below that"
        )
    for text in certificate.assumed:
        print(f"  assumed: {text}")


def up(risk: float) -> str:
    """A risk in percent, two digits behind the point, never below it."""
    return f"{Decimal(risk).quantize(Decimal('0.0001'), ROUND_CEILING) * 100:.2f}%"


def _worth(certificate: RiskCertificate) -> str:
    chance = 1.0 - 1.0 / certificate.classes
    return "VACUOUS: no better than a guess" if certificate.bound >= chance else "non-vacuous"


def _methods(name: str, delta: float) -> list[Any]:
    from boundlab.bounds.occam import Occam
    from boundlab.bounds.occam_pyramid import OccamPyramid
    from boundlab.bounds.sampled_net import SampledNet

    kinds = {
        "occam": [OccamPyramid(delta=delta), Occam(delta=delta)],
        "occam-pyramid": [OccamPyramid(delta=delta)],
        "occam-log-grid": [Occam(delta=delta)],
        "single-draw": [SampledNet(delta=delta)],
    }
    if name not in kinds:
        raise InvalidParameter(f"method must be one of {', '.join(METHODS)}, got {name}.")
    return kinds[name]


def _examples(
    args: argparse.Namespace, *, scale: float = 1.0, shift: float = 0.0
) -> tuple[DataSet, np.ndarray, np.ndarray]:
    """A data set, and its labelled training examples: as the data give them, or scaled and shifted."""
    from boundlab.data import load_data

    data = load_data(args.data, scale=scale, shift=shift)
    if data.x_train is None or data.y_train is None:
        raise InvalidParameter("data must hold labelled training examples, got none.")
    return data, data.x_train, data.y_train


def _say_tested(certificate: RiskCertificate, data: DataSet) -> None:
    """What fresh examples say of the same net: the truth is near it, and no bound from training data is below it."""
    from boundlab.concentration.binomial import upper_limit
    from boundlab.nets.net_message import decode

    if data.x_test is None or data.y_test is None:
        return
    net = decode(certificate.message, certificate.features).net
    known = data.y_test < net.classes  # a class that the net does not know is always an error
    errors = net.count_errors(data.x_test[known], data.y_test[known]) + int((~known).sum())
    n, limit = len(data.y_test), upper_limit(errors, len(data.y_test), certificate.delta)
    print(
        f"  on the test part, which played no role, it makes {errors:,} errors in {n:,}, {errors / n:.2%}: if training "
        f"never saw it, that alone certifies {up(limit)}"
    )


def _chain(args: argparse.Namespace, x: np.ndarray) -> FeedForward:
    """The net of the file with all that is done to a point before it, as one chain."""
    from boundlab._errors import UnsupportedLayer
    from boundlab.nets.feedforward import feed_forward
    from boundlab.nets.load import load_network
    from boundlab.nets.prepared import prepared

    shape = _sizes(args.shape, x.shape[1])
    front = {"shape": shape, "pool": args.pool, "scale": args.scale, "shift": args.shift}
    if args.factory is None or Path(args.net).suffix == ".safetensors":
        try:
            return prepared(feed_forward(load_network(args.net, factory=args.factory)), **front)
        except UnsupportedLayer:
            if shape is None:
                raise
    return prepared(_images_chain(args, x, shape), **front)


def _images_chain(args: argparse.Namespace, x: np.ndarray, shape: tuple[int, ...] | None) -> FeedForward:
    """A net of convolutions, its batch norms folded: their statistics are in the message then."""
    from boundlab.nets.as_feedforward import as_feed_forward
    from boundlab.nets.feedforward import AveragePool
    from boundlab.nets.folding import fold_batchnorm
    from boundlab.nets.load_module import load_module
    from boundlab.nets.module_net import ModuleNet

    if shape is None:
        raise InvalidParameter("a net of convolutions needs --shape, the channels, height and width of an image.")
    reads = AveragePool(size=args.pool)(x[:64].reshape(-1, *shape)) * args.scale + args.shift
    return as_feed_forward(
        ModuleNet(fold_batchnorm(load_module(args.net, args.factory), reads[:1]).module, reads), reads
    )


def _sizes(shape: str | None, features: int) -> tuple[int, ...] | None:
    if shape is None:
        return None
    try:
        sizes = tuple(int(word) for word in shape.split(","))
    except ValueError:
        sizes = ()
    if len(sizes) != 3 or min(sizes) < 1 or int(np.prod(sizes)) != features:
        raise InvalidParameter(f"shape must be channels,height,width with product {features}, got {shape!r}.")
    return sizes
