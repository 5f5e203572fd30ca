"""boundlab demo | audit: the main job from the command line."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from boundlab._errors import InvalidParameter
from boundlab.cli.console import progress, stdout

if TYPE_CHECKING:
    from boundlab.compressors.method import Compressor
    from boundlab.findings import Audit


def demo(args: argparse.Namespace) -> int:
    """Train a small net on digits and audit it."""
    from boundlab.auditing import audit
    from boundlab.compressors.method import as_generator
    from boundlab.data import load_data
    from boundlab.nets.toy import train_mlp

    as_generator(args.seed)  # before anything slow
    _targets(args.out)
    data = load_data("digits")
    if data.x_train is None or data.y_train is None or data.x_test is None or data.y_test is None:
        raise InvalidParameter("digits must have a train and a test part, got only one of them.")
    with progress() as tell:
        net = train_mlp(
            data.x_train,
            data.y_train,
            hidden=(48, 24),
            rng=args.seed,
            progress=lambda done, total: tell(0.1 * done / total, "training a 64-48-24-10 net on digits"),
        )
        result = audit(
            net,
            train=(data.x_train, data.y_train),
            holdout=(data.x_test, data.y_test),
            unseen_holdout=True,
            rng=args.seed,
            progress=lambda share, text: tell(0.1 + 0.9 * share, text),
            source={"net": "a ReLU net trained by this demo", "data": "digits (scikit-learn)"},
        )
    return _finish(result, args.out)


def audit_net(args: argparse.Namespace) -> int:
    """Audit a net from files."""
    from boundlab import _errors
    from boundlab.auditing import audit
    from boundlab.data import load_data
    from boundlab.nets.load import load_network

    _errors.probability("delta", args.delta)  # before anything slow
    _errors.share("eps", args.eps)
    _targets(args.out)
    with progress() as tell:
        tell(0.0, f"reading {args.net}")
        net = load_network(args.net, factory=args.factory, relu_after_last=args.relu_after_last)
        methods = _methods(args, net.nnz)
        tell(0.01, f"reading {args.data}")
        data = load_data(args.data, scale=args.scale, shift=args.shift)
        box = data.lower is not None
        result = audit(
            net,
            train=None if box or data.x_train is None or data.y_train is None else (data.x_train, data.y_train),
            holdout=None if box or data.x_test is None or data.y_test is None else (data.x_test, data.y_test),
            inputs=data.sample if box else None,
            methods=methods,
            eps=args.eps,
            delta=args.delta,
            unseen_holdout=args.unseen_holdout,
            max_trials=args.max_trials,
            rng=args.seed,
            progress=lambda share, text: tell(0.02 + 0.98 * share, text),
            source={"net": args.net, "data": args.data},
        )
    return _finish(result, args.out)


def _targets(out: str) -> tuple[Path, Path]:
    """The page and the numbers, where both can be written."""
    from boundlab.files import writable

    page, data = Path(out) / "index.html", Path(out) / "audit.json"
    for target in (page, data):
        writable(target)
    return page, data


def _finish(result: Audit, out: str) -> int:
    from boundlab.files import write_atomically
    from boundlab.report.summary import headline, tables

    page, data = _targets(out)
    write_atomically({page: result.to_html(), data: result.to_json()})
    console = stdout()
    for table in tables(result):
        console.print(table)
    console.print(headline(result))
    console.print(f"\nThe page: {page}   The numbers: {data}")
    return 0


def _methods(args: argparse.Namespace, nnz: int) -> tuple[Compressor, ...] | None:
    """The named compressor, its dataclass fields given as flags; None: an audit's own four."""
    from boundlab.cli.methods import method_named
    from boundlab.compressors import CERTIFIED

    if args.method is None:
        if args.fields:
            raise InvalidParameter(f"a flag must be known without --method, got {args.fields[0]}.")
        return None
    defaults = {"eps": args.eps, "delta": args.delta, "nnz": max(1, nnz // 2)}
    return (method_named(args.method, args.fields, defaults, CERTIFIED),)
