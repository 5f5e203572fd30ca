"""The command line: boundlab demo | audit | plan | theorems.

Nothing heavy is imported until a command runs. Bad input ends with one line on stderr, exit code 2, and no file.
"""

from __future__ import annotations

import argparse
import io
import math
import os
import sys
import typing
from collections.abc import Iterator, Sequence
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
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without Greek letters still gets its table
    parser = build_parser()
    args, args.fields = parser.parse_known_args(argv)
    if args.fields and not args.takes_fields:
        parser.error(f"every argument must be known, got {' '.join(args.fields)}.")
    try:
        code = args.run(args)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader has left; the files are written
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
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
    demo.set_defaults(run=_demo, takes_fields=False)

    audit = commands.add_parser(
        "audit",
        help="audit a trained net on your data",
        epilog="With --method, every field of that method is a flag too: --nnz 20000, --K 1, --rule bernstein, "
        "--schedule sharp. Without it, the four forms of CoreNet are audited, the budget at half of the weights.",
    )
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
    audit.add_argument("--max-trials", type=int, default=10_000, help="budget of each verdict (default: 10000)")
    audit.add_argument("--seed", type=int, default=0, help="seed of everything random (default: 0)")
    audit.add_argument("--out", required=True, help="folder for index.html and audit.json")
    audit.set_defaults(run=_audit, takes_fields=True)

    plan = commands.add_parser("plan", help="the constants of the theory, before any net exists")
    plan.add_argument("--sizes", required=True, help="layer sizes, input first: 784,300,100,10")
    plan.add_argument("--delta", type=float, required=True, help="failure probability, in (0, 1)")
    plan.add_argument("--total", type=float, help="total sensitivity S of one group; with --eps: sample sizes")
    plan.add_argument("--eps", type=float, help="relative error of that group, in (0, 1]")
    plan.add_argument("--K", type=float, help="constant K of the sample sizes (default: ln(eta eta*))")
    plan.add_argument("--json", action="store_true", help="print JSON")
    plan.set_defaults(run=_plan, takes_fields=False)

    theorems = commands.add_parser("theorems", help="the theorem ledger: what holds, what is refuted, and why")
    theorems.add_argument("key", nargs="?", metavar="KEY", help="one theorem whole (default: a table of all)")
    theorems.add_argument("--json", action="store_true", help="print JSON: a list with one object per theorem")
    theorems.set_defaults(run=_theorems, takes_fields=False)
    return parser


def _demo(args: argparse.Namespace) -> int:
    from boundlab.auditing import audit
    from boundlab.compressors.method import as_generator
    from boundlab.data import load_data
    from boundlab.nets.toy import train_mlp

    as_generator(args.seed)  # before anything slow
    _targets(args.out)
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
    _errors.share("eps", args.eps)
    _targets(args.out)
    with _progress() as tell:
        tell(0.0, f"reading {args.net}")
        net = load_network(args.net, factory=args.factory, relu_after_last=args.relu_after_last)
        methods = _methods(args, net)
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
    if args.K is not None and args.total is None:
        raise InvalidParameter("--K must come with --total and --eps, got it alone.")
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
        print(json.dumps(found, indent=1, allow_nan=False))
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
        line = ", ".join(
            f"{rule} {number(math.inf if m is None else float(m))}" for rule, m in found["sample_sizes"].items()
        )
        console.print(f"Draws for one group with S = {args.total:g}, eps = {args.eps:g}: {line}.")
        console.print("The binomial number is necessary for the worst group; it certifies nothing.")
    return 0


def _theorems(args: argparse.Namespace) -> int:
    import json

    from boundlab.ledger import theorems

    ledger = theorems()
    if args.json:
        chosen = ledger if args.key is None else [ledger[args.key]]
        print(json.dumps([entry.to_dict() for entry in chosen], indent=1, ensure_ascii=False, allow_nan=False))
        return 0
    from boundlab.report.theorems import details, overview

    console = _console()
    for part in overview(ledger) if args.key is None else details(ledger[args.key]):
        console.print(part)
    return 0


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
    console = _console()
    for table in tables(result):
        console.print(table)
    console.print(headline(result))
    console.print(f"\nThe page: {page}   The numbers: {data}")
    return 0


def _methods(args: argparse.Namespace, net: Network) -> tuple[Compressor, ...] | None:
    """Build the named compressor: its dataclass fields are the flags it takes. None: an audit's own four."""
    import dataclasses

    from boundlab.compressors import METHODS

    given = _pairs(args.fields)
    if args.method is None:
        if given:
            raise InvalidParameter(f"a flag must be known without --method, got --{next(iter(given))}.")
        return None
    fits = [m for m in METHODS if m.name == args.method] or [m for m in METHODS if m.name.endswith("-" + args.method)]
    if len(fits) != 1:
        names = ", ".join(m.name for m in METHODS)
        raise InvalidParameter(f"method must be one of {names}, got {args.method!r}.")
    kind = fits[0]
    types = typing.get_type_hints(kind)
    fields = [f.name for f in dataclasses.fields(typing.cast(Any, kind))]
    unknown = [name for name in given if name not in fields]
    if unknown:
        raise InvalidParameter(f"{kind.name} takes --{', --'.join(fields)}, got --{unknown[0]}.")
    values = {"eps": args.eps, "delta": args.delta, "nnz": max(1, net.nnz // 2)}
    values = {name: value for name, value in values.items() if name in fields}
    values |= {name: _convert(name, text, types[name]) for name, text in given.items()}
    return (kind(**values),)


def _pairs(words: Sequence[str]) -> dict[str, str]:
    """Read --name value and --name=value."""
    found, rest = {}, list(words)
    while rest:
        word = rest.pop(0)
        name, has_value, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or not name or not (has_value or rest):
            raise InvalidParameter(f"a method's fields must be given as --name value, got {word!r}.")
        found[name.replace("-", "_")] = value if has_value else rest.pop(0)
    return found


def _convert(name: str, text: str, kind: type) -> Any:
    try:
        return kind(text)
    except ValueError:
        known = f"one of {', '.join(kind)}" if issubclass(kind, StrEnum) else f"of type {kind.__name__}"
        raise InvalidParameter(f"{name} must be {known}, got {text!r}.") from None


def _whole(value: float) -> int | float | None:
    """A sample size for JSON: null where no number of draws suffices."""
    return int(value) if value < 2**53 else float(value) if math.isfinite(value) else None


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
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (
        BarColumn(bar_width=30),
        TextColumn("{task.percentage:3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=1.0)

        def update(share: float, text: str) -> None:
            bar.update(task, completed=share, description=text)

        yield update


if __name__ == "__main__":
    sys.exit(main())
