"""The fixture: one call judges trials of a guarantee, and the test fails where the evidence refutes it."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import shlex
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from boundlab._errors import InvalidParameter
from boundlab.pytest_plugin import tables
from boundlab.pytest_plugin.session import ENTRY, NOTE, GuaranteeSession, is_guarantee, marked
from boundlab.pytest_plugin.settings import SMOKE_TRIALS
from boundlab.records import Compression
from boundlab.verification.claim import Claim
from boundlab.verification.judging.methods import Method
from boundlab.verification.run import Interrupted, replay, subject_of, verify
from boundlab.verification.verdict import State, Verdict

OF_CLAIM = ("delta", "over", "name", "theorem", "parameters", "gamma")
OF_RUN = ("max_trials", "alpha", "batch", "trial_seconds", "method")
CALIBRATION_SECONDS = 0.5
"""How long --guarantee-calibrate measures how quick trials are."""

PLANNED = 600.0, 1_000_000
"""How many trials it looks ahead: so many in units of 1/delta, but no more than that."""

Trial = Callable[..., Any]


class Guarantee:
    """What the fixture `guarantee` is: the options of the test's marker, and `check`."""

    def __init__(self, item: pytest.Item, session: GuaranteeSession) -> None:
        """Read the marker."""
        self._item, self._session, self._settings = item, session, session.settings
        self._options, self._called = marked(item), False
        # its own name for itself: an item's nodeid may carry more, such as the group of a run with xdist
        self._test = item.nodeid if item.parent is None else f"{item.parent.nodeid}::{item.name}"
        if not is_guarantee(item):
            raise InvalidParameter(
                "a test must have the fixture guarantee among its arguments, or be marked, so that it is counted among "
                "those that share alpha before the first is judged; got it by request.getfixturevalue."
            )
        for mark in item.iter_markers("guarantee"):
            if mark.args:
                raise InvalidParameter(f"the options of a guarantee must be named, got {mark.args[0]!r} without name.")
        if stray := [name for name in self._options if name not in OF_CLAIM + OF_RUN]:
            raise InvalidParameter(f"the options of a guarantee are {', '.join(OF_CLAIM + OF_RUN)}, got {stray[0]!r}.")

    def check(
        self,
        trial: Trial | Compression,
        *,
        inputs: Any = None,
        claim: Claim | None = None,
        sabotage: Trial | Compression | None = None,
        eps: float | None = None,
    ) -> Verdict:
        """Judge trials until the evidence decides or the session's budget ends; fail if the guarantee is violated.

        Parameters
        ----------
        trial : callable or Compression
            trial(rng, n) runs n independent trials, or with inputs trial(rng, x) one for each row of x, and returns n
            outcomes, as for `boundlab.verify`. A Compression stands for its own promise and needs inputs.
        inputs : array (points, features), callable or None
            As for `boundlab.verify`.
        claim : Claim or None
            What is claimed; None: what the marker states, under the test's name.
        sabotage : callable, Compression or None
            A broken version, which must be refuted within the same budget: a check that cannot tell it is powerless,
            and fails.
        eps : float or None
            For a Compression only, as for `boundlab.verify`.

        Returns
        -------
        Verdict
            Upheld or undecided; with --guarantee-require=upheld, upheld.

        Raises
        ------
        InvalidParameter
            If it is called twice in one test (each check has its own share of alpha: parametrise the test), or an
            argument is out of place.
        """
        __tracebackhide__ = True
        if self._called:
            raise InvalidParameter(
                "guarantee.check must be called once in a test, since each check has its own share of alpha, "
                "got a second call; parametrise the test."
            )
        self._called = True
        stated, runs, points = self._subject(trial, inputs, claim, eps)
        if self._settings.replay is not None:
            self._replay(stated, runs, points, self._settings.replay)
        if self._settings.calibrate:
            self._calibrate(stated, runs, points)
        (verdict, entry), broken = self._judged(stated, runs, points), None
        try:
            if sabotage is not None and verdict.state is not State.VIOLATED and self._settings.judges:
                broken = self._verdict(*self._subject(sabotage, inputs, claim, eps))
                entry["sabotage"] = broken.to_dict()
        except Interrupted:
            self._session.interrupted(entry)
            raise
        finally:
            self._item.user_properties.append((ENTRY, json.dumps(entry)))
        if failure := self._failure(verdict, broken, entry["health"]):
            pytest.fail(failure, pytrace=False)
        return verdict

    # what is claimed

    def _subject(self, trial: Any, inputs: Any, claim: Claim | None, eps: float | None) -> tuple[Claim, Trial, Any]:
        """The claim, its trial, the inputs."""
        options, test = self._options, self._test
        parameters = {name: _text(value) for name, value in self._parametrisation.items()}
        if claim is not None:
            if said := [name for name in OF_CLAIM if name in options]:
                raise InvalidParameter(f"a claim states its own {said[0]}, got one in the marker too.")
        elif not isinstance(trial, Compression):
            if "delta" not in options:
                raise InvalidParameter("a guarantee must state its delta, got a marker without one and no claim.")
            told: dict[str, Any] = {"name": test} | {name: options[name] for name in OF_CLAIM if name in options}
            told["parameters"] = parameters | ({"test": test} if "name" in options else {}) | told.get("parameters", {})
            claim = Claim(**told)
        if isinstance(trial, Compression):
            if inputs is None:
                raise InvalidParameter("a Compression is checked on inputs, got none.")
            own, runs, inputs = subject_of(trial, inputs, None, eps, options.get("delta"))
            unique = {**own.parameters, **parameters, "test": test, **options.get("parameters", {})}
            claim = claim or replace(own, name=options.get("name", own.name), parameters=unique)
            return claim, runs, inputs
        if eps is not None:
            raise InvalidParameter(f"eps belongs to a Compression, got eps={eps!r} for a trial.")
        if claim is None or not callable(trial):
            raise InvalidParameter(f"a trial must be a function or a Compression, got {type(trial).__name__}.")
        return claim, trial, inputs

    @property
    def _parametrisation(self) -> dict[str, Any]:
        spec = getattr(self._item, "callspec", None)
        return {} if spec is None else dict(spec.params)

    # running

    @property
    def _run(self) -> dict[str, Any]:
        """The options of a run, whatever its claim."""
        options, settings = self._options, self._settings
        return {
            "alpha_violated": options.get("alpha", self._session.alpha_each),
            "alpha_upheld": settings.conf,
            "max_trials": SMOKE_TRIALS if settings.disable else options.get("max_trials", settings.max_trials),
            "max_seconds": settings.budget,
            "executor": self._session.executor,
            "seed": settings.seed,
            "batch": options.get("batch", 1),
            "trial_seconds": options.get("trial_seconds"),
        }

    def _verdict(self, claim: Claim, trial: Trial, inputs: Any) -> Verdict:
        __tracebackhide__ = True
        method = self._options.get("method", Method.E_PROCESS)
        return verify(claim, trial, inputs=inputs, method=method, **self._run)

    def _recorded(self, claim: Claim, trial: Trial, inputs: Any) -> Verdict:
        """A verdict on all evidence in the ledger; without a ledger, on that of this run."""
        __tracebackhide__ = True
        folder = self._settings.ledger
        if folder is None or self._settings.disable:
            return self._verdict(claim, trial, inputs)
        from boundlab.verification.evidence_ledger import EvidenceLedger

        if (method := self._options.get("method", Method.E_PROCESS)) != Method.E_PROCESS:
            raise InvalidParameter(f"a ledger goes on with e-processes only, got method={str(method)!r}.")
        project, path = self._session.project.resolve(), self._item.path.resolve()
        if self._settings.code is None and not path.is_relative_to(project):
            raise InvalidParameter(
                f"a test with a ledger must lie in {project}, whose source files name the code, got {path}; "
                "--guarantee-code=TEXT names it by hand."
            )
        code = f"{self._session.code} {self._test}"  # two tests of one claim are two trials, hence two files
        return EvidenceLedger(folder).verify(claim, trial, code=code, inputs=inputs, **self._run)

    def _judged(self, claim: Claim, trial: Trial, inputs: Any) -> tuple[Verdict, dict[str, Any]]:
        __tracebackhide__ = True
        start = time.monotonic()

        def entry(verdict: Verdict, invalid: int = 0) -> dict[str, Any]:
            seconds = time.monotonic() - start
            return {
                "test": self._test,
                "seconds": round(seconds, 6),
                "smoke": self._settings.disable,
                "health": self._health(verdict, seconds, invalid),
                "sabotage": None,
                "verdict": verdict.to_dict(),
            }

        try:
            with _invalid_operations() as invalid:
                verdict = self._recorded(claim, trial, inputs)
        except Interrupted as stopped:
            self._session.interrupted(entry(stopped.verdict))  # pytest makes no report of this test
            raise
        except Exception as fault:
            self._explain(fault)
            raise
        return verdict, entry(verdict, len(invalid))

    def _explain(self, fault: Exception) -> None:
        """Say how to run the trial again that raised, and what a NaN means."""
        for note in getattr(fault, "__notes__", ()):
            if at := re.match(r"raised in trials? (\d+)", note):
                fault.add_note(f"or with: {self._replay_command(int(at[1]))}")
                break
        if isinstance(fault, FloatingPointError) or re.search(r"\bnan\b|finite", str(fault), re.IGNORECASE):
            fault.add_note("nonfinite: the trial met NaN or infinite numbers, which are no outcome")

    # what came of it

    def _failure(self, verdict: Verdict, broken: Verdict | None, health: list[str]) -> str | None:
        """Why the test fails, in one paragraph, or None."""
        settings = self._settings
        if verdict.state is State.VIOLATED:
            return tables.violated(verdict.to_dict(), self._replay_command(min(verdict.first_failures, default=0)))
        if broken is not None and broken.state is State.UPHELD:
            return tables.powerless(broken.to_dict(), "it keeps the guarantee, so it is not broken enough")
        if broken is not None and broken.state is State.UNDECIDED:
            levels = {"alpha_violated": broken.alpha_violated, "alpha_upheld": broken.alpha_upheld}
            trials = max(1, broken.trials)
            return tables.powerless(broken.to_dict(), _finds(broken.claim, trials, broken.method, levels))
        if settings.require == "upheld" and settings.judges and verdict.state is not State.UPHELD:
            return tables.not_upheld(verdict.to_dict(), verdict.resolution)
        if settings.health == "error" and health:
            return "a weak check: " + "; ".join(health)
        return None

    def _replay_command(self, index: int) -> str:
        file = os.path.relpath(self._item.path, self._item.config.invocation_params.dir)
        test = "::".join([Path(file).as_posix(), *self._test.split("::")[1:]])
        return f"pytest {shlex.quote(test)} --guarantee-seed={self._settings.seed} --guarantee-replay={index}"

    def _health(self, verdict: Verdict, seconds: float, invalid: int) -> list[str]:
        """Signs of a weak check that are not suppressed."""
        if self._settings.disable:
            return []
        n, nights = verdict.trials, self._settings.ledger is not None
        found = [text for text in verdict.warnings if not (nights and text.startswith("too_few_trials"))]
        if n > 1 and n in (verdict.failures, verdict.unknown):
            what = "failed" if verdict.failures else "had no outcome"
            found.append(f"constant_outcome: all {n} trials {what}: is it the trial that is broken?")
        elif n > 1 and not verdict.failures + verdict.unknown and any(t.startswith("idle_streams") for t in found):
            found.append(
                f"constant_outcome: none of {n} trials failed, and some drew no coins that could have mattered"
            )
        if invalid:
            found.append(f"nonfinite: {invalid} invalid operations in trials; a comparison with NaN is no failure")
        if verdict.stopped_because == "max_seconds" and 0 < n < verdict.fewest and not nights:
            found.append(
                f"slow_trial: {n} trials took {seconds:.3g} s, and the fewest that uphold it are {verdict.fewest}: "
                f"--guarantee-budget={math.ceil(seconds * verdict.fewest / n)}s"
            )
        return [text for text in found if text.partition(":")[0] not in self._settings.suppress]

    # without a verdict

    def _replay(self, claim: Claim, trial: Trial, inputs: Any, index: int) -> None:
        """Show what one trial returns, and end the test."""
        batch = self._options.get("batch", 1)
        answer = replay(claim, trial, index, inputs=inputs, seed=self._settings.seed, batch=batch)
        self._end("replayed", f"trial {index} returned {answer!r}")

    def _calibrate(self, claim: Claim, trial: Trial, inputs: Any) -> None:
        """Tell what the check could find in its budget, by exact law, and end the test: no luck is taken for a pass."""
        from boundlab.verification.planning import plan_trials

        run, method, start = self._run, self._options.get("method", Method.E_PROCESS), time.monotonic()
        budget, levels = run["max_seconds"], {name: run[name] for name in ("alpha_violated", "alpha_upheld")}
        run["max_seconds"] = min(CALIBRATION_SECONDS, budget or CALIBRATION_SECONDS)
        tried = verify(claim, trial, inputs=inputs, method=method, **run).trials
        pace = max(1, tried) / (time.monotonic() - start)
        limits = [run["max_trials"], *([] if budget is None else [max(1, int(pace * budget))])]
        trials = min(limits if inputs is None or callable(inputs) else [*limits, len(inputs)])
        ahead = claim.population or min(PLANNED[1], math.ceil(PLANNED[0] / claim.delta))
        plan = plan_trials(claim, ratio=min(2.0, 1 / claim.delta), method=method, max_trials=ahead, **levels)
        (double,) = plan.runs
        needed = f"more than {ahead} trials" if double.quantile is None else f"{double.quantile} trials"
        self._end(
            "calibrated",
            f"about {float(f'{pace:.2g}'):,g} trials/s, {trials} in the budget: "
            f"{_finds(claim, trials, method, levels)}; {plan.fewest} trials uphold it if none fails "
            f"({plan.fewest / pace:.2g} s), and {needed} refute a rate of {double.rate:g}",
        )

    def _end(self, kind: str, text: str) -> None:
        note = {"kind": kind, "test": self._test, "text": text}
        self._item.user_properties.append((NOTE, json.dumps(note)))
        pytest.skip(f"{kind}: {text}")


@contextlib.contextmanager
def _invalid_operations() -> Iterator[list[str]]:
    """Note operations of numpy in this process that make a NaN out of numbers; their warning is given as ever.

    A NaN is dangerous where it is silent: `error > bound` is False for it, which is the outcome "ok".
    """
    seen: list[str] = []
    before = np.geterr()["invalid"]

    def note(kind: str, flag: int) -> None:
        seen.append(kind)
        if before == "warn":
            warnings.warn(f"{kind} encountered in a trial", RuntimeWarning, stacklevel=2)

    if before in ("warn", "ignore"):
        with np.errstate(invalid="call", call=note):
            yield seen
    else:
        yield seen


def _text(value: Any) -> str:
    """A parameter's value as text that is the same in every process: no addresses, no sets, nothing long."""
    if isinstance(value, Enum):
        return str(value.value)
    name = getattr(value, "__qualname__", None)
    if isinstance(name, str):
        return name
    text = value if isinstance(value, str) else repr(value)
    told = isinstance(value, str) or not re.search(r" at 0x|\{", text)  # the order of a set differs between processes
    return text if told and len(text) <= 200 else type(value).__qualname__


def _finds(claim: Claim, trials: int, method: str, levels: dict[str, float]) -> str:
    """Which rates so many trials tell from delta."""
    from boundlab.verification.planning import detectable

    found = detectable(claim, trials, method=method, **levels)
    if found.violated is None:
        return f"{trials} trials refute no rate at all in 95 % of runs"
    upheld = "" if found.upheld is None else f" and uphold one of {found.upheld:g} times that"
    return f"{trials} trials refute a rate of {found.violated:g} times {claim.delta:g}{upheld} in 95 % of runs"
