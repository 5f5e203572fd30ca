"""One affine map on the codebook of a prefix code: what a code has to offer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import ClassVar, Self

import numpy as np

from boundlab.codes.message import Message


class CodedLayer(ABC):
    """Weights and biases that a message describes exactly; the description is written once for both ways.

    `weight` has shape (out, d) and `bias` shape (out,), float64; both follow from what the message says, by IEEE
    operations that give the same bits on every machine.
    """

    kind: ClassVar[int]
    """The number of the code in a message, 0..7."""

    weight: np.ndarray
    bias: np.ndarray

    @classmethod
    @abstractmethod
    def describe(cls, message: Message, out: int, d: int, layer: CodedLayer | None) -> Self:
        """Write the layer, or, where `message` reads, return the one that it holds (`layer` is None then).

        Raises
        ------
        InvalidParameter
            If the layer is of another code or not on the codebook, or the message is none of this code.
        """


def shortest(among: Iterable[int], write: Callable[[Message, int], object]) -> int:
    """The variant that takes the fewest bits, the smallest of equals: each is tried."""
    found = []
    for variant in among:
        trial = Message()
        write(trial, variant)
        found.append((trial.bits, variant))
    return min(found)[1]
