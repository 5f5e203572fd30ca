"""The Occam bound of a net in whole numbers: its rows rounded to spheres, as fine as pays."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np

from boundlab._errors import positive_int
from boundlab._theory import implements
from boundlab.bounds.occam import CodedNet, MessageBound
from boundlab.nets.feedforward import FeedForward, Reshape
from boundlab.nets.on_codebook import Feedback, on_pyramid

NORMS = tuple(round(2.0 ** (k / 2)) for k in range(2, 27))
"""Norms that rows are tried at: 2, 3, 4, 6, 8 ... 8192."""
DEAD_ZONES = (0.5, 0.6, 0.7, 0.8)
_START = 10  # norm 64


@implements("boundlab_pyramid_code_kraft")
@dataclass(frozen=True, kw_only=True)
class OccamPyramid(MessageBound):
    """Risk of the net in whole numbers times a scale for each row, from the length of its message; see `MessageBound`.

    Layer by layer a norm m: row w becomes (|w|_1 / m) z with z near m w / |w|_1, rounded to the nearest point of the
    sphere, or column by column with the errors fed back (`with_feedback`). Norms and dead zones are searched for,
    one after the other, on the first examples. The message says z and the scales, so that nothing else is to be paid.

    Parameters
    ----------
    delta : float
        In (0, 1).
    points : int
        How many examples the search and the feedback look at.
    trials : int
        How many roundings the search may try.
    feedback : bool
        Whether errors of rounding are fed back; without it, every row is rounded to its nearest point.
    name : str
        What a table calls it.

    Raises
    ------
    InvalidParameter
        If delta, points or trials are out of range.
    """

    name: str = "Occam, pyramid code"
    points: int = 5_000
    trials: int = 60
    feedback: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        positive_int("points", self.points)
        positive_int("trials", self.trials)

    def rounded(self, net: FeedForward, x: np.ndarray, y: np.ndarray) -> Iterable[FeedForward]:
        """The rounding that is best on the first points."""
        inner, first = behind_front(net, x[: self.points])
        labels = y[: self.points]
        feedback = Feedback(inner, first) if self.feedback else None

        def at(place: tuple[int, ...]) -> FeedForward:
            norms, zone = [NORMS[k] for k in place[:-1]], DEAD_ZONES[place[-1]]
            return on_pyramid(inner, norms) if feedback is None else feedback.rounded(norms, dead_zone=zone)

        def value(place: tuple[int, ...]) -> float:
            return CodedNet.estimate(at(place), first, labels, len(x)).value(self.delta)

        ends = (*[len(NORMS)] * len(net.layers), len(DEAD_ZONES) if self.feedback else 1)
        best = descend(value, (*[_START] * len(net.layers), 0), ends, self.trials)
        return [net.with_layers(at(best).layers)]


def behind_front(net: FeedForward, x: np.ndarray) -> tuple[FeedForward, np.ndarray]:
    """The net behind its first operations without weights, and what it reads there, flat: (points, features)."""
    front, shape = net.front, net.shapes[len(net.front)]
    if not front:
        return net, x
    read = np.concatenate([_through(front, block) for block in np.array_split(x, 1 + len(x) // 4096)])
    start = (Reshape(into=shape),) if len(shape) == 3 else ()
    inner = replace(net, features=int(np.prod(shape)), ops=(*start, *net.ops[len(front) :]))
    return inner, read.reshape(len(x), -1)


def _through(front: tuple[Callable[[np.ndarray], np.ndarray], ...], a: np.ndarray) -> np.ndarray:
    for op in front:
        a = op(a)
    return a


def descend(
    value: Callable[[tuple[int, ...]], float], start: tuple[int, ...], ends: tuple[int, ...], trials: int
) -> tuple[int, ...]:
    """Return a place in 0..ends-1 on each axis that no step along one axis improves, or the best of `trials` places.

    Steps of 2, then of 1; a step that improves is repeated.
    """
    seen = {start: value(start)}
    best = start
    for step in (2, 1):
        moved = True
        while moved:
            moved = False
            for axis in range(len(start)):
                for way in (step, -step):
                    while True:
                        there = (*best[:axis], best[axis] + way, *best[axis + 1 :])
                        if not 0 <= there[axis] < ends[axis] or (there not in seen and len(seen) >= trials):
                            break
                        if there not in seen:
                            seen[there] = value(there)
                        if not seen[there] < seen[best]:
                            break
                        best, moved = there, True
    return best
