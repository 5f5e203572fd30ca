"""boundlab verify | trials: any claim, from a file."""

from __future__ import annotations

import argparse
import math
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from boundlab._errors import InvalidParameter, choice, one_line
from boundlab.cli.console import reader_may_leave, stdout, table
from boundlab.verification.claim import Claim
from boundlab.verification.judging.methods import Method, rule_for
from boundlab.verification.judging.rules import EProcesses
from boundlab.verification.run import verify
from boundlab.verification.verdict import State, Verdict

TRIAL_RAISED = 4

CLEAR = "\x1b[K"
"""What clears the rest of a terminal's line."""


def verify_claim(args: argparse.Namespace) -> int:
    """Run the claim of a file; the exit code says what came of it."""
    from boundlab.claim_files import executor_named, read_claim_file
    from boundlab.files import writable
    from boundlab.verification.run import Interrupted, replay

    asked = read_claim_file(args.claim)
    given = {"max_trials": args.max_trials, "max_seconds": args.max_seconds, "seed": args.seed, "record": args.record}
    options = dict(asked.options) | {name: value for name, value in given.items() if value is not None}
    if args.replay is not None:
        if args.replay < 0:
            raise InvalidParameter(f"--replay must be the index of a trial, from 0 on, got {args.replay}.")
        kept = {name: options[name] for name in ("seed", "batch") if name in options}
        try:
            print(replay(asked.claim, asked.trial, args.replay, inputs=asked.inputs, **kept))
        except Exception as fault:
            print(f"boundlab: trial {args.replay} raised {one_line(fault)}.", file=sys.stderr)
            return TRIAL_RAISED
        return 0
    if args.json not in (None, "-"):
        writable(Path(args.json))
    words = _words(asked.claim, options)
    executor, close = executor_named(args.executor)
    try:
        with _telling(words) as tell:
            verdict = verify(asked.claim, asked.trial, inputs=asked.inputs, executor=executor, progress=tell, **options)
    except Interrupted as stopped:
        again = "the same command goes on where they ended" if "record" in options else "--record FILE would keep them"
        print(f"boundlab: {stopped.verdict.trials} trials were run; {again}.", file=sys.stderr)
        return 130
    except Exception as fault:
        notes = getattr(fault, "__notes__", ())
        if not any(note.startswith("raised in trial") for note in notes):
            raise
        print(f"boundlab: {type(fault).__name__}: {fault}; {' '.join(notes)}", file=sys.stderr)
        return TRIAL_RAISED
    finally:
        close()
    apart = args.json == "-"
    if args.json is not None:
        text = verdict.to_json(None if apart else args.json)
        if apart:
            with reader_may_leave(sys.stdout):
                print(text, end="")
    with reader_may_leave(sys.stderr if apart else sys.stdout):
        _show(verdict, stdout(stderr=apart))
    return _code(verdict, args.require)


def _code(verdict: Verdict, require: str) -> int:
    if verdict.state is State.VIOLATED:
        return 1
    return 3 if require == "upheld" and verdict.state is State.UNDECIDED else 0


def _show(verdict: Verdict, console: Any) -> None:
    rate = f"{verdict.failures:,} failures and {verdict.unknown:,} unknown in {verdict.trials:,} trials"
    console.print(f"{verdict.claim.name}: {str(verdict.state).upper()} at delta = {verdict.delta:g}")
    console.print(f"  {rate} ({verdict.stopped_because}). {verdict.resolution}")
    for warning in verdict.warnings:
        console.print(f"  warning: {warning}")


@contextmanager
def _telling(words: Callable[[int, int, int], str]) -> Iterator[Callable[[int, int, int], None]]:
    """A line on stderr: renewed on a terminal and cleared at the end, every ten seconds elsewhere."""
    live, last = sys.stderr.isatty(), [time.monotonic() if not sys.stderr.isatty() else 0.0]

    def tell(trials: int, failures: int, unknown: int) -> None:
        now = time.monotonic()
        if now - last[0] < (0.1 if live else 10.0):
            return
        last[0] = now
        text = words(trials, failures, unknown)
        with reader_may_leave(sys.stderr):
            if live:
                print("\r" + text[: shutil.get_terminal_size().columns - 1], end=CLEAR, file=sys.stderr, flush=True)
            else:
                print(text, file=sys.stderr)

    try:
        yield tell
    finally:
        if live:
            with reader_may_leave(sys.stderr):
                print("\r", end=CLEAR, file=sys.stderr, flush=True)


def _words(claim: Claim, options: Mapping[str, Any]) -> Callable[[int, int, int], str]:
    """The counts, and where e-processes judge: the evidence so far, and what is still needed."""
    levels = {name: options.get(name, default) for name, default in (("alpha_upheld", 1e-3), ("alpha_violated", 1e-6))}
    rule = rule_for(claim, choice("method", options.get("method", Method.E_PROCESS), Method), **levels, budget=1)

    def words(trials: int, failures: int, unknown: int) -> str:
        text = f"{trials:,} trials, {failures:,} failures, {unknown:,} unknown"
        if not isinstance(rule, EProcesses) or not trials:
            return text
        found, more = rule.seen((trials, failures, unknown)), rule.about_more((trials, failures, unknown))
        for side, log_e in (("upheld", found.log_e_upheld), ("violated", found.log_e_violated)):
            text += f", log10 e {log_e / math.log(10):.1f} of {-math.log10(levels[f'alpha_{side}']):.3g} for {side}"
        return f"{text}, " + ("undecidable at this rate" if more is None else f"about {more:,} to go")

    return words


def solve_family(args: argparse.Namespace) -> int:
    """Search for the smallest size at which a promise is upheld; 0 if there is one, else 3."""
    import json

    from boundlab.claim_files import executor_named, function_named
    from boundlab.verification.solving import solve

    family = function_named(args.family)
    executor, close = executor_named(args.executor)
    try:
        found = solve(
            family,
            low=args.low,
            high=args.high,
            theory=args.theory,
            max_trials=args.max_trials,
            executor=executor,
            seed=args.seed,
            record=args.record,
        )
    finally:
        close()
    if args.json:
        print(json.dumps(found.to_dict(), indent=1, ensure_ascii=False))
    else:
        console = stdout()
        for row in found.rows():
            counts = f"{row['failures']:,} failures in {row['trials']:,} trials"
            console.print(f"m = {row[found.over]:,}: {row['state']}, {counts}")
        console.print(f"violated at m = {found.violated or 'none'}, upheld at m = {found.upheld or 'none'}")
        if found.theory is not None and found.upheld is not None:
            least, most = found.ratio
            console.print(
                f"the theorem's m = {found.theory:,} is between {least:.3g} and {most:.3g} times what is needed"
            )
    return 3 if found.upheld is None else 0


def trials(args: argparse.Namespace) -> int:
    """Print how many trials a verdict takes."""
    import json

    from boundlab.verification.planning import plan_trials

    plan = plan_trials(
        args.delta,
        ratio=tuple(args.ratio or (0.0, 0.5, 2.0)),
        alpha_upheld=args.alpha_upheld,
        alpha_violated=args.alpha_violated,
    )
    if args.json:
        print(json.dumps(plan.rows(), indent=1))
        return 0
    stdout().print(table(plan.rows(), f"Trials until a verdict on P(failure) <= {args.delta:g}"))
    return 0
