"""The command line: boundlab demo | audit | plan.

Nothing heavy is imported until a command runs. Bad input ends with one line on stderr, exit code 2, and no file.
"""

from __future__ import annotations

import argparse
import sys
import types
import typing
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from boundlab import __version__
from boundlab._errors import BoundlabError, InvalidParameter

if TYPE_CHECKING:
    from boundlab.auditing import Progress
    from boundlab.compressors.method import Compressor
    from boundlab.findings import Audit
    from boundlab.network import Network

NET = """the trained net: FILE.onnx, FILE.pt2 (torch.export), FILE.safetensors with --factory, FILE.npz with
W0, b0, W1, b1, ... (W is out x in), or module:factory"""
DATA = """digits, mnist, fashion_mnist or cifar10; FILE.npz with x_train, y_train[, x_test, y_test]; module:function;
or an input box, from which inputs are drawn uniformly: FILE.npz or FILE.json with lo, hi[, mean, range],
or INDEX.json#NAME for one entry of a list"""


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Print one line and exit with 2."""
        self.exit(2, f"{self.prog}: {message}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code: 0 done, 2 bad input, 130 interrupted."""
    args = build_parser().parse_args(argv)
    try:
        return args.run(args)
    except (BoundlabError, OSError) as fault:
        print(f"boundlab: {' '.join(str(fault).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("boundlab: interrupted; nothing was written.", file=sys.stderr)
        return 130


def build_parser() -> Parser:
    """Return the parser of the whole command line."""
    parser = Parser(
        prog="boundlab",
        description="Provable compression of neural networks, told honestly: compress, certify, bound, verify.",
    )
    parser.add_argument("--version", action="version", version=f"boundlab {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="train a small net on scikit-learn's digits and audit it")
    demo.add_argument("--out", default="report", help="folder for index.html and audit.json (default: report)")
    demo.add_argument("--seed", type=int, default=0, help="seed of everything random (default: 0)")
    demo.set_defaults(run=_demo)

    audit = commands.add_parser("audit", help="audit a trained net on your data")
    audit.add_argument("--net", required=True, help=NET)
    audit.add_argument("--data", required=True, help=DATA)
    audit.add_argument("--factory", help="module:function that builds the net of a .safetensors file")
    audit.add_argument("--relu-after-last", action="store_true", help="an .npz net has a ReLU after its last layer too")
    audit.add_argument("--scale", type=float, default=1.0, help="the net reads scale * x + shift (default: 1)")
    audit.add_argument("--shift", type=float, default=0.0, help="images are x in [0, 1] before that (default: 0)")
    audit.add_argument(
        "--unseen-holdout",
        action=argparse.BooleanOptionalAction,
        help="declare that training never saw the test part; undeclared, the report says so",
    )
    audit.add_argument(
        "--method",
        help="one compressor, by name or unique end of it: corenet-published, corenet-certified-relative, "
        "corenet-certified-additive, corenet-budget (default: all)",
    )
    audit.add_argument("--eps", type=float, default=0.5, help="relative error asked for, in (0, 1] (default: 0.5)")
    audit.add_argument("--delta", type=float, default=0.05, help="failure probability, in (0, 1) (default: 0.05)")
    audit.add_argument("--nnz", type=int, help="budget: non-zero weights to keep (default: half)")
    audit.add_argument("--K", type=float, help="by how much a fresh point's share may exceed its sensitivity")
    audit.add_argument("--rule", help="inequality of the sample size: published, bernstein or kl")
    audit.add_argument("--schedule", help="how the error is shared over layers: published, sharp or optimal")
    audit.add_argument("--max-trials", type=int, default=10_000, help="budget of each verdict (default: 10000)")
    audit.add_argument("--seed", type=int, default=0, help="seed of everything random (default: 0)")
    audit.add_argument("--out", required=True, help="folder for index.html and audit.json")
    audit.set_defaults(run=_audit)

    plan = commands.add_parser("plan", help="the constants of the theory, before any net exists")
    plan.add_argument("--sizes", required=True, help="layer sizes, input first: 784,300,100,10")
    plan.add_argument("--delta", type=float, required=True, help="failure probability, in (0, 1)")
    plan.add_argument("--total", type=float, help="total sensitivity S of one group; with --eps: sample sizes")
    plan.add_argument("--eps", type=float, help="relative error of that group, in (0, 1]")
    plan.add_argument("--K", type=float, help="constant K of the sample sizes (default: ln(eta eta*))")
    plan.add_argument("--json", action="store_true", help="print JSON")
    plan.set_defaults(run=_plan)
    return parser


def _demo(args: argparse.Namespace) -> int:
    from boundlab.auditing import audit
    from boundlab.data import load_data
    from boundlab.nets.toy import train_mlp

    data = load_data("digits")
    if data.x_train is None or data.y_train is None or data.x_test is None or data.y_test is None:
        raise InvalidParameter("digits must have a train and a test part, got only one of them.")
    with _progress() as tell:
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


def _audit(args: argparse.Namespace) -> int:
    from boundlab import _errors
    from boundlab.auditing import audit
    from boundlab.data import load_data
    from boundlab.nets.load import load_network

    _errors.probability("delta", args.delta)  # before anything slow
    with _progress() as tell:
        tell(0.0, f"reading {args.net}")
        net = load_network(args.net, factory=args.factory, relu_after_last=args.relu_after_last)
        methods = None if args.method is None else (_method(args, net),)
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


def _plan(args: argparse.Namespace) -> int:
    import json

    from boundlab import _errors
    from boundlab.compressors.constants import constants

    try:
        sizes = [int(part) for part in args.sizes.split(",")]
    except ValueError:
        raise InvalidParameter(f"sizes must be whole numbers like 784,300,100,10, got {args.sizes!r}.") from None
    if (args.total is None) != (args.eps is None):
        raise InvalidParameter("sample sizes need both --total and --eps, got one of them.")
    found: dict[str, Any] = {
        v: vars(constants(sizes, args.delta, variant=v)) for v in ("published", "repaired", "sharp")
    }
    if args.total is not None:
        import numpy as np

        from boundlab.coresets.sensitivity_sampling import Rule, sample_size

        total, eps = _errors.positive("total", args.total), _errors.positive("eps", args.eps)
        known = constants(sizes, args.delta)
        K = known.K if args.K is None else _errors.positive("K", args.K)
        row_delta = args.delta / (4 * known.eta)
        found["sample_sizes"] = {
            str(rule): _whole(sample_size(np.array([total]), eps, row_delta, K=K, rule=rule)[0]) for rule in Rule
        }
    if args.json:
        print(json.dumps(found, indent=1))
        return 0
    from rich.table import Table

    from boundlab.report.summary import number

    table = Table(
        title=f"CoreNet's constants for {'-'.join(map(str, sizes))}, delta = {args.delta:g}", title_justify="left"
    )
    for name in ("constant", "published", "repaired", "sharp"):
        table.add_column(name, justify="left" if name == "constant" else "right")
    for name in found["published"]:
        table.add_row(name, *(number(found[v][name]) for v in ("published", "repaired", "sharp")))
    console = _console()
    console.print(table)
    if "sample_sizes" in found:
        line = ", ".join(f"{rule} {number(float(m))}" for rule, m in found["sample_sizes"].items())
        console.print(f"Draws for one group with S = {args.total:g}, eps = {args.eps:g}: {line}.")
        console.print("The binomial number is necessary for the worst group; it certifies nothing.")
    return 0


def _finish(result: Audit, out: str) -> int:
    from boundlab.report.summary import headline, tables

    folder = Path(out)
    page, data = folder / "index.html", folder / "audit.json"
    html = result.to_html()
    result.to_json(data)
    from boundlab.files import write_atomically

    write_atomically(page, html)
    console = _console()
    for table in tables(result):
        console.print(table)
    console.print(headline(result))
    console.print(f"\nThe page: {page}   The numbers: {data}")
    return 0


def _method(args: argparse.Namespace, net: Network) -> Compressor:
    """Build the named compressor from the flags that are fields of its dataclass."""
    import dataclasses

    from boundlab.compressors import METHODS

    fits = [m for m in METHODS if m.name == args.method] or [m for m in METHODS if m.name.endswith("-" + args.method)]
    if len(fits) != 1:
        names = ", ".join(m.name for m in METHODS)
        raise InvalidParameter(f"method must be one of {names}, got {args.method!r}.")
    kind = fits[0]
    hints = typing.get_type_hints(kind)
    given: dict[str, Any] = {}
    for field in dataclasses.fields(typing.cast(Any, kind)):
        value = getattr(args, field.name, None)
        if field.name == "nnz" and value is None:
            value = max(1, net.nnz // 2)
        if value is not None:
            given[field.name] = _convert(field.name, value, hints[field.name])
    unused = [n for n in ("nnz", "K", "rule", "schedule") if getattr(args, n) is not None and n not in given]
    if unused:
        raise InvalidParameter(f"{kind.name} takes {', '.join(given)}, got --{unused[0]}.")
    return kind(**given)


def _convert(name: str, value: Any, kind: Any) -> Any:
    if isinstance(kind, types.UnionType) or not (isinstance(kind, type) and issubclass(kind, StrEnum)):
        return value
    try:
        return kind(value)
    except ValueError:
        raise InvalidParameter(f"{name} must be one of {', '.join(kind)}, got {value!r}.") from None


def _whole(value: float) -> int | float:
    return int(value) if value < 2**53 else float(value)


def _console() -> Any:
    from rich.console import Console

    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=120)


@contextmanager
def _progress() -> Iterator[Progress]:
    """Show one progress bar on stderr; on no terminal, one line whenever the text changes."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        last = [""]

        def line(share: float, text: str) -> None:
            if text != last[0]:
                last[0] = text
                print(f"{share:4.0%}  {text}", file=sys.stderr, flush=True)

        yield line
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    with Progress(
        BarColumn(bar_width=30),
        TextColumn("{task.percentage:3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
        console=console,
        transient=True,
    ) as bar:
        task = bar.add_task("", total=1.0)
        yield _updater(lambda share, text: bar.update(task, completed=share, description=text))


def _updater(update: Callable[[float, str], None]) -> Progress:
    return update


if __name__ == "__main__":
    sys.exit(main())
