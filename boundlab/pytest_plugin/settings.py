"""The options of a session: from the command line, else from the ini file, else by default. Nothing but pytest here."""

from __future__ import annotations

import argparse
import math
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

HEALTH = (
    "too_few_trials",
    "idle_streams",
    "shared_inputs",
    "shared_coins",
    "constant_outcome",
    "nonfinite",
    "slow_trial",
)
"""What a check can be warned of, by the names that --guarantee-suppress takes."""

SMOKE_TRIALS = 8
"""Trials of each check under --guarantee-disable."""


@dataclass(frozen=True, kw_only=True)
class Option:
    """An option that has a value: --guarantee-NAME on the command line, guarantee_NAME in the ini file."""

    name: str
    read: Callable[[str], Any]
    help: str
    default: str | None = None
    metavar: str | None = None
    ini: bool = True

    @property
    def key(self) -> str:
        """The name as an attribute and in an ini file."""
        return "guarantee_" + self.name.replace("-", "_")


def _seconds(text: str) -> float | None:
    """5s, 2m, 1h, 500ms, a bare number of seconds, or none."""
    if text == "none":
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|)", text)
    seconds = float(match[1]) * {"ms": 1e-3, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0}[match[2]] if match else 0.0
    if not 0.0 < seconds < math.inf:
        raise ValueError("a time such as 5s, 2m or 1h, or none")
    return seconds


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ValueError("a whole number of at least 1")
    return int(text)


def _index(text: str) -> int:
    if not text.isdecimal():
        raise ValueError("the index of a trial, from 0 on")
    return int(text)


def _level(text: str) -> float:
    try:
        level = float(text)
    except ValueError:
        level = 0.0
    if not 1e-300 <= level < 1.0:
        raise ValueError("a number in (0, 1)")
    return level


def _seed(text: str) -> str:
    if text not in ("claim", "fresh") and not text.isdecimal():
        raise ValueError("claim, fresh or a whole number of at least 0")
    return text


def _root(seed: str) -> int:
    """The root of all streams. Streams are keyed by the claim too, so that root 0 is a seed of each claim's own."""
    return secrets.randbits(48) if seed == "fresh" else 0 if seed == "claim" else int(seed)


def _one_of(*choices: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in choices:
            raise ValueError(f"one of {', '.join(choices)}")
        return text

    return read


def _executor(text: str) -> str:
    if not re.fullmatch(r"serial|process:[1-9]\d*|dask:.+", text):
        raise ValueError("serial, process:N or dask:ADDRESS")
    return text


def _health_names(text: str) -> tuple[str, ...]:
    names = tuple("idle_streams" if name == "duplicate_streams" else name for name in re.split(r"[\s,]+", text) if name)
    if not set(names) <= set(HEALTH):
        raise ValueError(f"names out of {', '.join(HEALTH)}")
    return names


def _text(text: str) -> str:
    if not text:
        raise ValueError("a text that is not empty")
    return text


OPTIONS = (
    Option(name="budget", read=_seconds, default="5s", metavar="TIME", help="time for each check: 5s, 2m, 1h or none"),
    Option(name="max-trials", read=_count, default="100000", metavar="N", help="trials for each check"),
    Option(
        name="alpha",
        read=_level,
        default="1e-6",
        metavar="P",
        help="P(any false 'violated' in the session), split evenly over the checks",
    ),
    Option(name="conf", read=_level, default="1e-3", metavar="P", help="P(a false 'upheld') of each check"),
    Option(
        name="seed",
        read=_seed,
        default="claim",
        metavar="SEED",
        help="claim (the same trials in every session), fresh (others), or a whole number",
    ),
    Option(
        name="require",
        read=_one_of("not-violated", "upheld"),
        default="not-violated",
        metavar="STATE",
        help="what a check must be: not-violated or upheld",
    ),
    Option(
        name="executor",
        read=_executor,
        default="serial",
        metavar="WHERE",
        help="where trials run: serial, process:N or dask:ADDRESS",
    ),
    Option(name="ledger", read=Path, metavar="DIR", help="go on with the evidence of earlier sessions in this folder"),
    Option(
        name="code",
        read=_text,
        metavar="TEXT",
        help="for the ledger: names the code (default: a digest of the project and of all installed packages)",
    ),
    Option(
        name="health",
        read=_one_of("warn", "error"),
        default="warn",
        metavar="HOW",
        help="what a sign of a weak check does: warn or error",
    ),
    Option(name="json", read=Path, metavar="PATH", help="write all verdicts to this file", ini=False),
    Option(
        name="compare",
        read=_text,
        metavar="PATH",
        help="show verdicts beside those of a file, or of the last saved one: PATH or last",
        ini=False,
    ),
    Option(name="replay", read=_index, metavar="INDEX", help="run one trial again and show what it returns", ini=False),
)

FLAGS = {
    "save": "write all verdicts to a new file in .guarantees/",
    "disable": f"run {SMOKE_TRIALS} trials of each check: undecided is enough, whatever else is required",
    "only": "run guarantees only",
    "skip": "run everything but guarantees",
    "calibrate": "no verdicts: tell what each check could find in its budget",
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The values of all options."""

    budget: float | None
    max_trials: int
    alpha: float
    conf: float
    seed: int
    require: str
    executor: str
    ledger: Path | None
    code: str | None
    health: str
    json: Path | None
    compare: str | None
    replay: int | None
    save: bool
    disable: bool
    only: bool
    skip: bool
    calibrate: bool
    suppress: tuple[str, ...]

    @property
    def judges(self) -> bool:
        """Whether checks are judged at all."""
        return self.replay is None and not (self.calibrate or self.disable)


def add_options(parser: pytest.Parser) -> None:
    """Register all options with pytest."""
    group = parser.getgroup("guarantee", "guarantees, checked by simulation (boundlab)")
    for option in OPTIONS:
        default = f" (default {option.default})" if option.default else ""
        group.addoption(
            f"--guarantee-{option.name}",
            dest=option.key,
            metavar=option.metavar,
            type=_reader(option),
            help=option.help + default,
        )
        if option.ini:
            parser.addini(option.key, option.help + default, type="string", default=option.default or "")
    for name, text in FLAGS.items():
        group.addoption(f"--guarantee-{name}", dest=f"guarantee_{name}", action="store_true", help=text)
    group.addoption(
        "--guarantee-suppress",
        dest="guarantee_suppress",
        action="append",
        metavar="NAME",
        type=_reader(SUPPRESS),
        help=SUPPRESS.help,
    )
    parser.addini(SUPPRESS.key, SUPPRESS.help, type="string", default="")


SUPPRESS = Option(
    name="suppress",
    read=_health_names,
    metavar="NAME",
    help=f"a sign of a weak check that is not to be told, out of {', '.join(HEALTH)}; may be repeated",
)


def _reader(option: Option) -> Callable[[str], Any]:
    """For argparse: the rule that a text breaks becomes the error's text."""

    def read(text: str) -> Any:
        try:
            return option.read(text)
        except ValueError as rule:
            raise argparse.ArgumentTypeError(f"--guarantee-{option.name} must be {rule}, got {text!r}.") from None

    return read


def read_settings(config: pytest.Config) -> Settings:
    """Return the settings of a session; in a worker of xdist, those of its controller.

    Raises
    ------
    pytest.UsageError
        If a value in the ini file breaks its rule, or options exclude one another.
    """
    values: dict[str, Any] = {name: config.getoption(f"guarantee_{name}") for name in FLAGS}
    for option in OPTIONS:
        given = config.getoption(option.key)
        if given is None and option.ini:
            given = _of_ini(config, option)
        values[option.name.replace("-", "_")] = given
    named = config.getoption(SUPPRESS.key) or [_of_ini(config, SUPPRESS) or ()]
    values["suppress"] = tuple(name for names in named for name in names)
    _refuse_what_excludes(values)
    values["seed"] = getattr(config, "workerinput", {}).get("guarantee_seed", _root(values["seed"]))
    for name in ("ledger", "json"):
        if values[name] is not None:
            values[name] = config.invocation_params.dir / values[name]
    return Settings(**values)


def _of_ini(config: pytest.Config, option: Option) -> Any:
    text = config.getini(option.key)
    if not text:
        return None
    try:
        value = option.read(text)
    except ValueError as rule:
        raise pytest.UsageError(f"{option.key} must be {rule}, got {text!r}.") from None
    return config.rootpath / value if isinstance(value, Path) else value


def _refuse_what_excludes(values: dict[str, Any]) -> None:
    exclusive = (
        ("--guarantee-only", values["only"], "--guarantee-skip", values["skip"]),
        ("--guarantee-disable", values["disable"], "--guarantee-calibrate", values["calibrate"]),
        ("--guarantee-replay", values["replay"] is not None, "--guarantee-disable", values["disable"]),
        ("--guarantee-replay", values["replay"] is not None, "--guarantee-calibrate", values["calibrate"]),
        ("--guarantee-ledger", values["ledger"] is not None, "--guarantee-seed=fresh", values["seed"] == "fresh"),
    )
    for first, one, second, other in exclusive:
        if one and other:
            raise pytest.UsageError(f"{first} must not be given together with {second}, got both.")
