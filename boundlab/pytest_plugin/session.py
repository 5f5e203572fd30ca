"""What one run of pytest knows of its guarantees: how many there are, what came of them, where it is told."""

from __future__ import annotations

import json
import math
import os
import shlex
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from boundlab.pytest_plugin import run_file, tables
from boundlab.pytest_plugin.settings import read_settings

if TYPE_CHECKING:
    from concurrent.futures import Executor

ENTRY = "boundlab_guarantee"
"""The user property of a test's report that carries its verdict, as JSON, from a worker to the controller."""

NOTE = "boundlab_guarantee_note"
"""The user property that carries what a test without verdict found: {"kind": "replayed" or "calibrated", ...}."""

WORDS = {"replayed": "r", "calibrated": "c"}

PROJECT = (".git", "pyproject.toml", "setup.py", "setup.cfg")
"""What marks a project's folder: pytest's root may lie deeper, as where its settings are in tests/pytest.ini."""


class GuaranteeSession:
    """The hooks of one session; in a worker of xdist it runs checks, and its controller tells of them."""

    def __init__(self, config: pytest.Config) -> None:
        """Read the settings; refuse files that cannot be read or written before any test runs."""
        self.settings = read_settings(config)
        self.config = config
        self.worker = hasattr(config, "workerinput")
        self.entries: dict[str, dict[str, Any]] = {}  # by test: a test that is run again has one verdict
        self.notes: list[dict[str, Any]] = []
        self.checks = 0
        self._executor: tuple[Executor | int | None, Any] | None = None
        self._code: str | None = None
        self.compared = None
        if not self.worker:
            run_file.refuse_unwritable(self.settings)
            self.compared = run_file.to_compare(self.settings, config.rootpath)

    # which tests

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """--guarantee-only and --guarantee-skip."""
        if self.settings.only or self.settings.skip:
            kept = [item for item in items if is_guarantee(item) == self.settings.only]
            if len(kept) < len(items):
                gone = set(items) - set(kept)
                self.config.hook.pytest_deselected(items=[item for item in items if item in gone])
                items[:] = kept

    @pytest.hookimpl(tryfirst=True)  # before the terminal asks for the line below
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Count the checks that share the family's alpha: the same in every worker."""
        self.checks = sum(is_guarantee(item) and own_alpha(item) is None for item in session.items)

    @property
    def alpha_each(self) -> float:
        """The alpha of one check: all together spend no more than the family's."""
        each = self.settings.alpha / max(1, self.checks)
        return each if self.checks < 2 else math.nextafter(each, 0.0)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Give workers of xdist the controller's seed."""
        node.workerinput["guarantee_seed"] = self.settings.seed

    # running

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """A test that is marked and checks nothing is no passed test."""
        result = yield
        if item.get_closest_marker("guarantee") is not None and not any(
            name in (ENTRY, NOTE) for name, _ in item.user_properties
        ):
            pytest.fail("a test marked guarantee must call guarantee.check(trial), got no call.", pytrace=False)
        return result

    @property
    def executor(self) -> Executor | int | None:
        """Where trials run: opened by the first check, closed with the session."""
        if self._executor is None:
            from boundlab.claim_files import executor_named

            self._executor = executor_named(self.settings.executor)
        return self._executor[0]

    @property
    def code(self) -> str:
        """What names the code in the ledger."""
        if self._code is None:
            from boundlab.verification.fingerprint import code_fingerprint

            self._code = self.settings.code or code_fingerprint(self.project)
        return self._code

    @property
    def project(self) -> Path:
        """The folder whose source files are the code: the next one up from the root that holds a project."""
        root = self.config.rootpath
        return next((p for p in (root, *root.parents) if any((p / name).exists() for name in PROJECT)), root)

    # telling

    def pytest_report_header(self) -> str:
        """The profile and the error levels."""
        s = self.settings
        budget = "no limit in time" if s.budget is None else f"{s.budget:g} s"
        parts = [
            f"profile {'ci' if os.environ.get('CI') else 'local'}",
            f"alpha {s.alpha:g} for all checks together",
            f"conf {s.conf:g}",
            f"{budget} and {s.max_trials} trials each",
            f"seed {s.seed}",
            s.executor,
        ]
        if s.require == "upheld":
            parts.append("all must be upheld")
        if s.ledger is not None:
            parts.append("with a ledger")
        return "guarantees: " + ", ".join(parts)

    def pytest_report_collectionfinish(self, items: list[pytest.Item]) -> str | list[str]:
        """The alpha of each check."""
        own = [a for item in items if is_guarantee(item) and isinstance(a := own_alpha(item), float | int)]
        if not self.checks and not own:
            return []
        text = f"guarantees: {self.checks} checks share alpha, {self.alpha_each:.3g} each" if self.checks else ""
        on_top = f"{len(own)} with an alpha of their own, {sum(own):.3g} together" if own else ""
        return "; ".join(part for part in (text, on_top) if part)

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, Any] | None:
        """Upheld counts as passed, so that "N passed" stays right; undecided is a category of its own."""
        if report.when != "call" or report.failed or hasattr(report, "wasxfail"):
            return None
        found = dict(carried(report))
        if report.passed and ENTRY in found:
            if found[ENTRY]["smoke"]:
                return "passed", ".", "SMOKE"
            if found[ENTRY]["verdict"]["verdict"] == "undecided":
                return "undecided", "?", ("UNDECIDED", {"yellow": True})
            return "passed", ".", ("UPHELD", {"green": True})
        if report.skipped and NOTE in found:
            kind = found[NOTE]["kind"]
            return kind, WORDS[kind], (kind.upper(), {"yellow": True})
        return None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect verdicts where they are told: in the controller, whatever ran the test."""
        if self.worker or not (report.when == "call" or (report.when == "setup" and not report.passed)):
            return
        for name, value in carried(report):
            if name == ENTRY:
                self.entries[value["test"]] = value | {"outcome": report.outcome}
            else:
                self.notes.append(value)

    def interrupted(self, entry: dict[str, Any]) -> None:
        """Keep what Ctrl-C cut short, and say how to go on."""
        command = shlex.join(["pytest", *map(str, self.config.invocation_params.args)])
        again = (
            "the ledger holds its trials" if self.settings.ledger else "--guarantee-ledger=DIR would keep its trials"
        )
        text = f"interrupted; {again}; run the same once more: {command}"
        self.notes.append({"kind": "interrupted", "test": entry["test"], "text": text})
        self.entries[entry["test"]] = entry | {"outcome": "interrupted"}

    def pytest_sessionfinish(self) -> None:
        """Close the executor; write the files that were asked for."""
        if self._executor is not None:
            self._executor[1]()
        if not self.worker:
            entries = [*self.entries.values()]
            run_file.write_all(self.settings, self.config.rootpath, entries)
            summary = os.environ.get("GITHUB_STEP_SUMMARY")
            if summary and entries:
                self._add_to(Path(summary), tables.markdown(entries))

    def _add_to(self, page: Path, text: str) -> None:
        """Add to a page that CI shows; the verdicts stand without it."""
        try:
            with page.open("a", encoding="utf-8") as file:
                file.write(text)
        except OSError as fault:
            self.notes.append({"kind": "summary", "test": "$GITHUB_STEP_SUMMARY", "text": f"not written: {fault}"})

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """The table of verdicts, and what else was asked for."""
        entries = [*self.entries.values()]
        if not (entries or self.notes):
            return
        terminalreporter.write_sep("=", "guarantees")
        for line in tables.summary(entries, self.notes, quiet=self.config.get_verbosity() < 0):
            terminalreporter.write_line(line)
        if self.compared is not None:
            terminalreporter.write_line("")
            for line in run_file.comparison(self.compared, entries):
                terminalreporter.write_line(line)


SESSION = pytest.StashKey[GuaranteeSession]()


def is_guarantee(item: pytest.Item) -> bool:
    """Whether a test checks a guarantee: by its marker, or by a claim that it gives to the fixture."""
    return item.get_closest_marker("guarantee") is not None or "guarantee" in getattr(item, "fixturenames", ())


def marked(item: pytest.Item) -> dict[str, Any]:
    """The options of all of a test's markers; the closest one counts."""
    options: dict[str, Any] = {}
    for mark in reversed(list(item.iter_markers("guarantee"))):
        options |= mark.kwargs
    return options


def own_alpha(item: pytest.Item) -> Any:
    """The alpha that a test's marker sets, which is then no part of the family's."""
    return marked(item).get("alpha")


def carried(report: pytest.TestReport) -> list[tuple[str, Any]]:
    """What a test's report carries of us."""
    return [(name, json.loads(str(value))) for name, value in report.user_properties if name in (ENTRY, NOTE)]
