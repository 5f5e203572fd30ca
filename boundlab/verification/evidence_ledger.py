"""Evidence that outlives a run: the same e-process, continued night after night.

P(M+ >= 1/alpha at some trial) <= alpha holds for one process looked at as often as one likes, so a claim that one
night cannot decide may be continued the next: one process, its trials numbered through, one threshold for its life. Six
hundred trials in three nights are six hundred trials in one. What keeps that true:

- every trial that was run and recorded enters, whatever came of the night: red, undecided, interrupted or killed;
- no stream is used twice: night after night the trials go on at the next index of one seed;
- another code, level, seed or batch is another process and opens another file: evidence for the code of yesterday says
  nothing of today's.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from boundlab._errors import InvalidParameter, positive_int, probability
from boundlab._theory import implements
from boundlab.files import writable, write_atomically
from boundlab.records import Record, Row
from boundlab.verification.claim import Claim
from boundlab.verification.fingerprint import versions
from boundlab.verification.judging.methods import Method, rule_for
from boundlab.verification.judging.rules import Counts, Findings
from boundlab.verification.run import Interrupted, verify
from boundlab.verification.verdict import State, Verdict

SCHEMA = "boundlab.evidence/1"
"""The format of a journal: JSON lines, the first of them a header."""


@dataclass(frozen=True)
class EvidenceLedger(Record):
    """A folder of runs that are continued: one process for each claim, code, pair of levels, seed and batch.

    Parameters
    ----------
    folder : path
        Where the files are; made with the first run. Each process has its record (``.json``, as `verify` keeps it) and
        its journal (``.jsonl``: a header, then a line per night).

    Examples
    --------
    >>> import tempfile
    >>> claim = Claim(name="a coin of rate 0.001 fails with probability at most 0.05", delta=0.05)
    >>> trial = lambda rng, n: rng.random(n) < 0.001
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     nights = [EvidenceLedger(folder).verify(claim, trial, code="v1", max_trials=60) for _ in range(4)]
    >>> [(verdict.trials, str(verdict.state)) for verdict in nights]
    [(60, 'undecided'), (120, 'undecided'), (146, 'upheld'), (146, 'upheld')]
    """

    folder: Path | str

    @implements("ville1939_e_process_pair")
    def verify(
        self,
        claim: Claim,
        trial: Callable[..., Any],
        *,
        code: str,
        inputs: Any = None,
        alpha_violated: float = 1e-6,
        alpha_upheld: float = 1e-3,
        max_trials: int = 10_000,
        max_seconds: float | None = None,
        executor: Executor | int | None = None,
        seed: int = 0,
        batch: int = 1,
        trial_seconds: float | None = None,
        progress: Callable[[int, int, int], object] | None = None,
    ) -> Verdict:
        """Go on with the recorded process by up to `max_trials` trials, or return its verdict if it has one.

        The verdict is that of one run of all trials so far: wrong with probability at most alpha, however many nights
        there are. The e-process is the only method that may be continued so.

        Parameters
        ----------
        code : str
            Names the code whose trials these are (`code_fingerprint`); another text opens another file.
        max_trials : int
            Trials to add, at least 1.
        claim, trial, inputs and all others : as in `verify`
            An array of inputs is used up once over all nights: trial i takes its row i.

        Raises
        ------
        InvalidParameter
            If an argument is out of range, another process holds this file, or the file is not one of a ledger.
        Interrupted
            On Ctrl-C; what was decided is in the ledger.
        """
        key = _Key(
            claim=claim,
            code=code,
            alpha_violated=probability("alpha_violated", alpha_violated),
            alpha_upheld=probability("alpha_upheld", alpha_upheld),
            seed=seed,
            batch=positive_int("batch", batch),
        )
        more, process = positive_int("max_trials", max_trials), _Process(Path(self.folder) / key.name)

        def go_on(*, max_trials: int, max_seconds: float | None) -> Verdict:
            return again(max_trials=max_trials - process.counts(key).trials, max_seconds=max_seconds)

        again = partial(
            self.verify,
            claim,
            trial,
            code=code,
            inputs=inputs,
            alpha_violated=alpha_violated,
            alpha_upheld=alpha_upheld,
            executor=executor,
            seed=seed,
            batch=batch,
            trial_seconds=trial_seconds,
            progress=progress,
        )
        with process.held():
            process.open(key)
            before = process.counts(key)
            try:
                verdict = verify(
                    claim,
                    trial,
                    inputs=inputs,
                    alpha_violated=alpha_violated,
                    alpha_upheld=alpha_upheld,
                    max_trials=before.trials + more,
                    max_seconds=max_seconds,
                    executor=executor,
                    seed=seed,
                    batch=batch,
                    trial_seconds=trial_seconds,
                    progress=progress,
                    record=process.record,
                )
            except Interrupted as stopped:
                raise Interrupted(replace(stopped.verdict, continuation=go_on)) from None
            finally:
                process.note(key, before)
        return replace(verdict, continuation=go_on)

    def rows(self) -> list[Row]:
        """One line per process, by claim and code."""
        return [process.row() for process in self._processes()]

    def merge(self, other: EvidenceLedger) -> int:
        """Take over what another ledger knows beyond this one; return how many processes were new or longer.

        A process that both have is one process, since its trials are functions of claim, seed and index: the longer
        record holds the shorter. Two seeds of one claim and code are two processes, and no sum, product or maximum of
        their evidence is the evidence of either: pooled counts are an e-process only in an order that was fixed before
        the first trial, and the larger of two e-values is none. So they are refused, before anything is written.

        Raises
        ------
        InvalidParameter
            If the other ledger has another seed for a claim and code of this one, or the same seed with other outcomes
            (the trials are then no function of their coins), or its files are in use.
        """
        mine = {process.path.name: process for process in self._processes()}
        streams: dict[tuple[str, str], set[tuple[int, int]]] = {}
        for process in mine.values():
            streams.setdefault(process.key.subject, set()).add(process.key.stream)
        newer = []
        for process in other._processes():
            key, own = process.key, mine.get(process.path.name)
            known = streams.get(key.subject, {key.stream})
            if key.stream not in known:
                raise InvalidParameter(
                    f"two ledgers of one claim and code must share (seed, batch), got {sorted(known)} and {key.stream}"
                    f" for '{key.claim.name}': the evidence of two streams cannot be pooled afterwards."
                )
            if own is None:
                newer.append(process)
            elif not process.is_start_of(own):
                if not own.is_start_of(process):
                    raise InvalidParameter(
                        f"one stream must have one outcome per trial, got two histories of '{key.claim.name}' with "
                        f"seed {key.seed}: the trial draws coins from elsewhere."
                    )
                newer.append(process)
        for process in newer:
            copy = _Process(Path(self.folder) / process.path.name)
            with process.held(), copy.held():
                texts = {path: path.read_text(encoding="utf-8") for path in (process.record, process.journal)}
                write_atomically({copy.path.parent / path.name: text for path, text in texts.items()})
        return len(newer)

    def _processes(self) -> list[_Process]:
        folder = Path(self.folder)
        return [_Process(p.with_suffix("")) for p in sorted(folder.glob("*.jsonl")) if p.with_suffix(".json").exists()]


@dataclass(frozen=True, kw_only=True)
class _Key:
    """What fixes a process, and with it the name of its files."""

    claim: Claim
    code: str
    alpha_violated: float
    alpha_upheld: float
    seed: int
    batch: int

    def to_dict(self) -> dict[str, Any]:
        return vars(self) | {"claim": self.claim.to_dict(), "method": str(Method.E_PROCESS)}

    @property
    def subject(self) -> tuple[str, str]:
        return self.claim.id, self.code

    @property
    def stream(self) -> tuple[int, int]:
        return self.seed, self.batch

    @property
    def name(self) -> str:
        text = json.dumps(self.to_dict(), sort_keys=True)
        return f"{self.claim.id}-{hashlib.blake2b(text.encode(), digest_size=8).hexdigest()}"


@dataclass(frozen=True)
class _Process:
    """The files of one process: record, journal and lock."""

    path: Path  # without a suffix

    @property
    def record(self) -> Path:
        return self.path.with_suffix(".json")

    @property
    def journal(self) -> Path:
        return self.path.with_suffix(".jsonl")

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep the files to this process; a second one is refused, since it would run the same trials again."""
        lock = self.path.with_suffix(".lock")
        writable(lock)
        lock.parent.mkdir(parents=True, exist_ok=True)
        with lock.open(
            "a", encoding="utf-8"
        ) as file:  # the file stays; the lock ends with its process, even a killed one
            if not _locked(file.fileno()):
                raise InvalidParameter(
                    f"a ledger's file must be used by one process at a time, got the lock {lock} of {_holder(lock)}."
                )
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()} since {_now()}\n")
            file.flush()
            yield

    def open(self, key: _Key) -> None:
        """Start a journal where there is none, or an empty one."""
        if not self.journal.exists() or not self.journal.stat().st_size:
            self._append({"schema": SCHEMA, **key.to_dict()})

    def note(self, key: _Key, before: Counts) -> None:
        """Enter the trials since the last line; a line of its own for what a killed night left behind."""
        last = max((line["to"] for line in self.lines()[1:]), default=0)
        after, state, _ = self.standing(key)
        if last < before.trials:
            self._append(_night(last, before) | {"note": "a run that did not end by itself"})
        if before.trials < after.trials:
            self._append(_night(before.trials, after) | {"verdict": state, "versions": versions()})

    def _append(self, line: dict[str, Any]) -> None:
        with self.journal.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, allow_nan=False) + "\n")

    def lines(self) -> list[dict[str, Any]]:
        """The journal."""
        try:
            return [json.loads(line) for line in self.journal.read_text(encoding="utf-8").splitlines()]
        except (OSError, ValueError) as fault:
            raise InvalidParameter(f"a journal must be JSON lines, got {self.journal}: {fault}.") from None

    @property
    def key(self) -> _Key:
        """The key in the journal's header."""
        try:
            header = self.lines()[0]
            claim = Claim(**header["claim"])
            fields = {name: header[name] for name in ("code", "alpha_violated", "alpha_upheld", "seed", "batch")}
        except (LookupError, TypeError) as fault:
            raise InvalidParameter(f"a journal must begin with its header, got {self.journal}: {fault}.") from None
        return _Key(claim=claim, **fields)

    def course(self) -> dict[str, Any]:
        """How far the recorded run has come, as `verify` writes it."""
        try:
            return json.loads(self.record.read_text(encoding="utf-8"))["course"]
        except (OSError, ValueError, LookupError, TypeError) as fault:
            raise self._no_record(fault) from None

    def _no_record(self, fault: Exception) -> InvalidParameter:
        return InvalidParameter(f"a record must be one that verify wrote, got {self.record}: {fault}.")

    def standing(self, key: _Key) -> tuple[Counts, str, Findings | None]:
        """Counts, state and findings of the record; none of a night that has not begun."""
        if not self.record.exists():
            return Counts(), str(State.UNDECIDED), None
        rule, course = rule_for(key.claim, Method.E_PROCESS, key.alpha_upheld, key.alpha_violated, 2**53), self.course()
        try:
            tally, state = course["tally"], State(course["state"])
            return rule.counts(tally), str(state), rule.findings(tally, state)
        except (ValueError, LookupError, TypeError) as fault:
            raise self._no_record(fault) from None

    def counts(self, key: _Key) -> Counts:
        """Trials, failures and unknown outcomes on record."""
        return self.standing(key)[0]

    def is_start_of(self, other: _Process) -> bool:
        """Whether the other record begins with this one."""
        mine, theirs = self.course(), other.course()
        n, m = (process.counts(process.key).trials for process in (self, other))
        noted = all(mine[name] == [i for i in theirs[name] if i < n] for name in ("failures", "unknown"))
        return n <= m and noted and mine["path"] == theirs["path"][: len(mine["path"])]

    def row(self) -> Row:
        """The process as one line."""
        key, nights = self.key, self.lines()[1:]
        counts, state, found = self.standing(key)
        return {
            "claim": key.claim.name,
            "delta": key.claim.delta,
            "code": key.code[:12],
            "seed": key.seed,
            "nights": len(nights),
            "first": nights[0]["date"][:10] if nights else "",
            "last": nights[-1]["date"][:10] if nights else "",
            "trials": counts.trials,
            "failures": counts.failures,
            "unknown": counts.unknown,
            "state": state,
            "log_e_upheld": 0.0 if found is None else found.log_e_upheld,
            "log_e_violated": 0.0 if found is None else found.log_e_violated,
            "alpha_violated": key.alpha_violated,
            "alpha_upheld": key.alpha_upheld,
        }


def _night(start: int, counts: Counts) -> dict[str, Any]:
    """Trials [from, to) of a night; failures and unknown outcomes are those of all trials up to its end."""
    return {
        "date": _now(),
        "from": start,
        "to": counts.trials,
        "failures": counts.failures,
        "unknown": counts.unknown,
    }


def _locked(handle: int) -> bool:
    """Lock an open file, or answer that another process has it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _holder(lock: Path) -> str:
    try:
        return lock.read_text(encoding="utf-8").strip() or "a process that has just begun"
    except OSError:
        return "a process that has just ended"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
