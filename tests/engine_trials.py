"""Trials that worker processes import, good and bad ones, and a program that runs one until it is stopped."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from boundlab.verification import Claim, Interrupted, stream, verify

CLAIM = Claim(name="fails with probability at most 0.05", delta=0.05)
OPEN: dict[str, Any] = {"alpha_upheld": 1e-300, "alpha_violated": 1e-300}  # nothing is decided: the budget ends the run


@dataclass(frozen=True)
class Coin:
    """Fails at a rate; `seconds` is what a trial takes, `slow` what one takes on top that fails."""

    rate: float
    seconds: float = 0.0
    slow: float = 0.0

    def __call__(self, rng: np.random.Generator, n: int) -> np.ndarray:
        failed = rng.random(n) < self.rate
        if self.seconds or self.slow:
            time.sleep(self.seconds + self.slow * bool(failed.any()))
        return failed


@dataclass(frozen=True)
class Heavy:
    """A coin with a ballast, as a trial that holds a net."""

    ballast: np.ndarray

    def __call__(self, rng: np.random.Generator, n: int) -> np.ndarray:
        return rng.random(n) < 0.01


@dataclass(frozen=True)
class At:
    """Does a deed in the unit that holds trial `index` of CLAIM at seed 0, and is ok everywhere else."""

    index: int
    deed: Callable[[np.random.Generator, int], Any]
    seconds: float = 0.0

    def __call__(self, rng: np.random.Generator, n: int) -> Any:
        time.sleep(self.seconds)
        key = CLAIM.id if n == 1 else f"{CLAIM.id}*{n}"
        if rng.random() == stream(key, 0, self.index // n).random():
            return self.deed(rng, n)
        return np.zeros(n, dtype=bool)


class TwoArguments(Exception):
    """Cannot be unpickled: pickle calls it with the one argument that it hands on."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} and {second}")


class Locked(Exception):
    """Cannot be pickled."""

    def __init__(self) -> None:
        super().__init__("locked")
        self.lock = threading.Lock()


def raise_value_error(rng: np.random.Generator, n: int) -> None:
    raise ValueError("a bug in the trial")


def raise_two_arguments(rng: np.random.Generator, n: int) -> None:
    raise TwoArguments("one", "two")


def raise_locked(rng: np.random.Generator, n: int) -> None:
    raise Locked


def leave(rng: np.random.Generator, n: int) -> None:
    sys.exit(0)


def raise_keyboard_interrupt(rng: np.random.Generator, n: int) -> None:
    raise KeyboardInterrupt


def raise_stop_iteration(rng: np.random.Generator, n: int) -> None:
    raise StopIteration


def raise_generator_exit(rng: np.random.Generator, n: int) -> None:
    raise GeneratorExit


def recurse(rng: np.random.Generator, n: int) -> Any:
    return recurse(rng, n)


def want_too_much_memory(rng: np.random.Generator, n: int) -> Any:
    return np.empty(1 << 60, dtype=np.int8)


def spawn(rng: np.random.Generator, n: int) -> Any:
    return rng.spawn(1)[0].random(n) < 0.5


def floats(rng: np.random.Generator, n: int) -> np.ndarray:
    return np.zeros(n)


def nans(rng: np.random.Generator, n: int) -> np.ndarray:
    return np.full(n, np.nan)


def too_many(rng: np.random.Generator, n: int) -> np.ndarray:
    return np.zeros(n + 1, dtype=bool)


def threes(rng: np.random.Generator, n: int) -> np.ndarray:
    return np.full(n, 3)


def nothing(rng: np.random.Generator, n: int) -> None:
    return None


def die(rng: np.random.Generator, n: int) -> None:
    os._exit(7)


def sleep(rng: np.random.Generator, n: int) -> None:
    time.sleep(60.0)


def loop_in_c(rng: np.random.Generator, n: int) -> None:
    re.match(r"(a|a)*b", "a" * 40)  # holds the interpreter's lock for hours: no signal handler runs


def sleep_through_anything(rng: np.random.Generator, n: int) -> None:
    while True:
        try:
            time.sleep(60.0)
        except BaseException as swallowed:
            del swallowed


def turn_the_alarm_into_an_error(rng: np.random.Generator, n: int) -> None:
    try:
        time.sleep(60.0)
    except BaseException:
        raise ValueError("swallowed") from None


def answer_late(rng: np.random.Generator, n: int) -> np.ndarray:
    try:
        time.sleep(60.0)
    except BaseException as swallowed:
        del swallowed
    return np.ones(n, dtype=bool)


BUFFER = np.zeros(1, dtype=np.int8)


def same_buffer(rng: np.random.Generator, n: int) -> np.ndarray:
    """Returns the same array each time, with another content."""
    BUFFER[0] = rng.random() < 0.05
    return BUFFER


def last_bit(rng: np.random.Generator, n: int) -> np.ndarray:
    """Hangs on the last bits of a product that two threads add up in another order than one."""
    product = rng.standard_normal((100, 2000)) @ rng.standard_normal((2000, 50))
    return (product.view(np.int64) & 1).sum(axis=1)[:n] % 2 == 1


def global_coins(rng: np.random.Generator, n: int) -> np.ndarray:
    return np.random.random(n) < 0.05


def coins_up_to_ten(rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
    return np.array([value < 10.0 and rng.random() < 0.0 for value in x[:, 0]])


def one_coin() -> float:
    return float(np.random.random())


PREPARED: list[float] = []


def needs_preparation(rng: np.random.Generator, n: int) -> np.ndarray:
    """Depends on what the main process put into a global of this module."""
    return rng.random(n) < PREPARED[0]


@dataclass(frozen=True)
class DieOnce:
    """Kills its worker in one trial, unless a file says that it did so before."""

    index: int
    mark: str

    def __call__(self, rng: np.random.Generator, n: int) -> np.ndarray:
        first = rng.random()
        if first == stream(CLAIM.id, 0, self.index).random() and not Path(self.mark).exists():
            Path(self.mark).touch()
            os._exit(1)
        return np.array([first < 0.04])


def main(executor: str, record: str, seconds: str) -> None:
    """Verify a claim of 400 trials until the end or Ctrl-C, and print the verdict and the processes at work."""
    from boundlab.verification.running import course

    course.RECORD_SECONDS = 0.02
    shown = False

    def show(trials: int, failures: int, unknown: int) -> None:
        nonlocal shown
        if trials > 5 and not shown:
            shown = True
            sys.stdout.write(f"workers {[p.pid for p in multiprocessing.active_children()]}\n")
            sys.stdout.flush()

    try:
        verdict = verify(
            CLAIM,
            Coin(0.05, float(seconds)),
            executor=int(executor),
            record=record,
            max_trials=400,
            progress=show,
            **OPEN,
        )
    except Interrupted as interrupted:
        sys.stdout.write(f"{interrupted}\n")
        verdict = interrupted.verdict
    sys.stdout.write(f"left {[p.pid for p in multiprocessing.active_children()]}\n{verdict.to_json()}")


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background of a shell ignores Ctrl-C
    main(*sys.argv[1:])
