"""The command line: from boundlab demo to boundlab ledger, as `boundlab --help` lists them.

Nothing heavy is imported until a command runs. Bad input ends with one line on stderr, exit code 2, and no file.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from typing import NoReturn

from boundlab import __version__
from boundlab._errors import BoundlabError
from boundlab.cli.console import reader_may_leave

Command = Callable[[argparse.Namespace], int]

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
        with reader_may_leave(sys.stdout):
            return args.run(args)
        return 0  # its reader left in the middle of a table; the files are written, and no code here is a verdict
    except (BoundlabError, OSError) as fault:
        with suppress(OSError):  # nowhere to say it: the code has to do
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
    demo.set_defaults(run=_command("audit", "demo"), takes_fields=False)

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
    audit.set_defaults(run=_command("audit", "audit_net"), takes_fields=True)

    smaller = commands.add_parser(
        "compress",
        help="compress any net, convolutional or residual too, and write it to a file",
        epilog="Every field of the method is a flag too: --nnz 20000, --parameters 50000, --law pivotal. The budget is "
        "half of the weights, or of the parameters, if it is not given.",
    )
    smaller.add_argument(
        "--net", required=True, help="FILE.onnx, FILE.pt2, a file of arrays with --factory, or module:factory"
    )
    smaller.add_argument("--factory", help="what a file of arrays is of: resnet20 ... lenet5, or module:function")
    smaller.add_argument("--data", required=True, help=DATA)
    smaller.add_argument("--shape", help="sizes of one point, as the net reads it: 3,32,32 (default: a flat vector)")
    smaller.add_argument("--scale", type=float, default=1.0, help="the net reads scale * x + shift (default: 1)")
    smaller.add_argument("--shift", type=float, default=0.0, help="images are x in [0, 1] before that (default: 0)")
    smaller.add_argument("--points", type=int, default=256, help="training points to calibrate with (default: 256)")
    smaller.add_argument(
        "--unseen-holdout",
        action=argparse.BooleanOptionalAction,
        help="declare that training never saw the test part; undeclared, the certificate says so",
    )
    smaller.add_argument("--method", required=True, help="a method by name, such as magnitude, sipp or pfp-budget")
    smaller.add_argument("--seed", type=int, default=0, help="seed of the coins (default: 0)")
    smaller.add_argument("--record", help="folder that keeps what was seen: a killed run goes on with the same command")
    smaller.add_argument(
        "--out", required=True, help="FILE.onnx, .pt2, or .npz or .safetensors, which store zeros sparse"
    )
    smaller.set_defaults(run=_command("compress", "compress_net"), takes_fields=True)

    bound = commands.add_parser(
        "bound",
        help="bound the risk of a trained net from its training data, as a certificate",
        epilog="Everything that the net does to a point, and everything that was chosen, is in the message that the "
        "certificate holds: it pays eight bits for each byte. Data come as numbers in [0, 1]; a mean and a spread of "
        "the training set, given as --scale and --shift, are folded into the first layer, so that they are paid too.",
    )
    bound.add_argument("--net", required=True, help=NET)
    bound.add_argument(
        "--data", required=True, help="labelled examples, the training part of: " + DATA.split(";\nor")[0]
    )
    bound.add_argument(
        "--method",
        default="occam",
        help="occam (the better one of occam-pyramid and occam-log-grid) or "
        "single-draw, one coreset drawn by a hash (default: occam); all: every bound of the literature, as a table",
    )
    bound.add_argument("--delta", type=float, default=0.05, help="failure probability, in (0, 1) (default: 0.05)")
    bound.add_argument("--factory", help="what a file of arrays is of: lenet5, or module:function")
    bound.add_argument("--shape", help="channels,height,width of a point, where the net or a pool reads images")
    bound.add_argument("--pool", type=int, default=1, help="average pool in front of the net (default: 1, none)")
    bound.add_argument("--scale", type=float, default=1.0, help="the net reads scale * x + shift (default: 1)")
    bound.add_argument("--shift", type=float, default=0.0, help="images are x in [0, 1] before that (default: 0)")
    bound.add_argument("--figure", metavar="FILE", help="with --method all: draw every bound, .png or .svg")
    bound.add_argument("--save", metavar="FILE.cert", help="write the certificate")
    bound.add_argument("--json", action="store_true", help="print JSON")
    bound.set_defaults(run=_command("certificates", "bound_net"), takes_fields=False)

    check = commands.add_parser(
        "check",
        help="verify a certificate: rebuild the net, count its errors, recompute the bound",
        epilog="Exit codes: 0 valid, 1 not valid, 2 bad input or no verdict.",
    )
    check.add_argument("certificate", metavar="FILE.cert", help="as boundlab bound --save writes it")
    check.add_argument("--data", required=True, help="the examples that it speaks of, as for boundlab bound")
    check.add_argument("--json", action="store_true", help="print JSON")
    check.set_defaults(run=_command("certificates", "check_file"), takes_fields=False)

    plan = commands.add_parser("plan", help="the constants of the theory, before any net exists")
    plan.add_argument("--sizes", required=True, help="layer sizes, input first: 784,300,100,10")
    plan.add_argument("--delta", type=float, required=True, help="failure probability, in (0, 1)")
    plan.add_argument("--total", type=float, help="total sensitivity S of one group; with --eps: sample sizes")
    plan.add_argument("--eps", type=float, help="relative error of that group, in (0, 1]")
    plan.add_argument("--K", type=float, help="constant K of the sample sizes (default: ln(eta eta*))")
    plan.add_argument("--json", action="store_true", help="print JSON")
    plan.set_defaults(run=_command("theory", "plan"), takes_fields=False)

    theorems = commands.add_parser("theorems", help="the theorem ledger: what holds, what is refuted, and why")
    theorems.add_argument("key", nargs="?", metavar="KEY", help="one theorem whole (default: a table of all)")
    theorems.add_argument("--json", action="store_true", help="print JSON: a list with one object per theorem")
    theorems.set_defaults(run=_command("theory", "theorems_of"), takes_fields=False)

    verify = commands.add_parser(
        "verify",
        help="try to refute a claim by trials",
        epilog="Exit codes: 0 the requirement is met, 1 violated, 2 bad input, 3 undecided where upheld was required, "
        "4 a trial raised an exception or gave no outcome, 130 interrupted.",
    )
    verify.add_argument(
        "claim", metavar="CLAIM.toml", help="the claim, its trial and its budget; see docs/guarantees.md"
    )
    verify.add_argument(
        "--require", choices=("not-violated", "upheld"), default="not-violated", help="(default: %(default)s)"
    )
    verify.add_argument("--executor", help="serial, process:N or dask:tcp://HOST:PORT (default: all cores if it pays)")
    verify.add_argument("--max-trials", type=int, help="budget in trials (default: the file's, else 10000)")
    verify.add_argument("--max-seconds", type=float, help="budget in seconds (default: the file's, else none)")
    verify.add_argument("--seed", type=int, help="root seed (default: the file's, else 0)")
    verify.add_argument("--record", help="JSON file that keeps the run: a killed one goes on with the same command")
    verify.add_argument("--replay", type=int, metavar="TRIAL", help="run this one trial again and print its answer")
    verify.add_argument("--json", metavar="PATH", help="write the verdict as JSON; - for stdout")
    verify.set_defaults(run=_command("claims", "verify_claim"), takes_fields=False)

    trials = commands.add_parser("trials", help="how many trials a verdict takes, before any is run")
    trials.add_argument("--delta", type=float, required=True, help="failure probability of the claim, in (0, 1)")
    trials.add_argument("--ratio", type=float, nargs="*", help="true rates as multiples of delta (default: 0 0.5 2)")
    trials.add_argument("--alpha-upheld", type=float, default=1e-3, help="error level of upheld (default: 1e-3)")
    trials.add_argument("--alpha-violated", type=float, default=1e-6, help="error level of violated (default: 1e-6)")
    trials.add_argument("--json", action="store_true", help="print JSON")
    trials.set_defaults(run=_command("claims", "trials"), takes_fields=False)

    solve = commands.add_parser("solve", help="the smallest size at which a promise is upheld")
    solve.add_argument("family", metavar="MODULE:FUNCTION", help="function(m) -> (claim, trial)")
    solve.add_argument("--low", type=int, required=True, help="smallest size to ask for")
    solve.add_argument("--high", type=int, required=True, help="largest size to ask for")
    solve.add_argument("--theory", type=int, help="the size that the theorem asks for")
    solve.add_argument("--max-trials", type=int, default=10_000, help="budget of each verdict (default: 10000)")
    solve.add_argument("--seed", type=int, default=0, help="root seed (default: 0)")
    solve.add_argument("--executor", help="serial, process:N or dask:tcp://HOST:PORT")
    solve.add_argument(
        "--record", metavar="FOLDER", help="keeps the runs: a killed search goes on with the same command"
    )
    solve.add_argument("--json", action="store_true", help="print JSON")
    solve.set_defaults(run=_command("claims", "solve_family"), takes_fields=False)

    verdicts = commands.add_parser("verdicts", help="what earlier runs said, beside still earlier ones")
    verdicts.add_argument("file", metavar="FILE.json", help="of verify --json, or of pytest --guarantee-json")
    verdicts.add_argument("--compare", metavar="OLD.json", help="an earlier file of the same kind")
    verdicts.set_defaults(run=_command("verdicts", "show"), takes_fields=False)

    ledger = commands.add_parser("ledger", help="the evidence that a folder has gathered over many nights")
    ledger.add_argument("folder", help="of pytest --guarantee-ledger")
    ledger.add_argument("--merge", metavar="FOLDER", help="first take over what this ledger knows beyond that one")
    ledger.add_argument("--json", action="store_true", help="print JSON")
    ledger.set_defaults(run=_command("verdicts", "ledger"), takes_fields=False)
    return parser


def _command(module: str, name: str) -> Command:
    """A command that is imported when it runs."""
    return lambda args: getattr(import_module(f"boundlab.cli.{module}"), name)(args)
