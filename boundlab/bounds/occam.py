"""The Occam bound: a net with a short description cannot have fitted its training data by luck."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from boundlab._errors import InvalidParameter, labels, matrix, positive, positive_int
from boundlab._theory import implements
from boundlab.bounds.compressed_class import ROUNDING
from boundlab.bounds.generalization_bound import (
    IID,
    GeneralizationBound,
    Subject,
    classifier,
    evidence,
    telescope,
)
from boundlab.codes.log_grid import LogGrid
from boundlab.concentration.binomial import tail_inverse
from boundlab.concentration.chernoff import kl_inverse
from boundlab.nets.as_feedforward import as_feed_forward
from boundlab.nets.feedforward import FeedForward
from boundlab.nets.net_message import NetMessage, encode
from boundlab.nets.on_codebook import on_log_grid
from boundlab.network import misclassified
from boundlab.promises import Bound, Premise, Status

_UP = 1.0 + 1e-14  # nats of complexity are rounded up past the error of a logarithm and three sums
_FIRST = 10_000  # examples by which one of several roundings is chosen


@implements("langford2005_occam_forms")
def occam_binomial(errors: int, n: int, nats: float) -> float:
    """Return Bin+(k, n, e^-nats) with nats = ln(1/P(h)) + ln(1/delta): the tightest form, for the 0-1 loss; rounded up.

    Parameters
    ----------
    errors : int
        k in 0..n, ties included.
    n : int
        Examples, >= 1.
    nats : float
        Finite and positive, rounded up by the caller.

    Raises
    ------
    InvalidParameter
        If an argument is out of its range.

    Notes
    -----
    Langford (JMLR 6, 2005), as we understand the paper; this and the three forms below are proved, with their order,
    in ``langford2005_occam_forms``.

    Examples
    --------
    >>> f"{occam_binomial(1_554, 60_000, 2_907.2):.4f}"
    '0.1075'
    """
    return tail_inverse(errors, n, -positive("nats", nats))


@implements("langford2005_occam_forms", "zhou2019_lambda_grid")
def occam_kl(errors: int, n: int, nats: float) -> float:
    """kl^-1(k/n, nats/n): the Chernoff form, for any loss in [0, 1]; otherwise as `occam_binomial`, never below it."""
    return kl_inverse(_risk(errors, n), positive("nats", nats) / n * _UP)


@implements("langford2005_occam_forms")
def occam_hoeffding(errors: int, n: int, nats: float) -> float:
    """k/n + sqrt(nats / (2n)): the Hoeffding form; never below `occam_kl`, may exceed 1."""
    return (_risk(errors, n) + math.sqrt(0.5 * positive("nats", nats) / n)) * _UP


@implements("langford2005_occam_forms")
def occam_realizable(n: int, nats: float) -> float:
    """1 - exp(-nats/n): what `occam_binomial` is where the classifier makes no error; rounded up."""
    return min(1.0, -math.expm1(-positive("nats", nats) / positive_int("n", n) * _UP) * _UP)


def _risk(errors: int, n: int) -> float:
    """The quotient k/n, moved up by its rounding."""
    if isinstance(errors, bool) or not 0 <= errors <= positive_int("n", n):
        raise InvalidParameter(f"errors must be a whole number in 0..{n}, got errors={errors!r}.")
    return min(1.0, math.nextafter(errors / n, math.inf)) if errors else 0.0


@dataclass(frozen=True, kw_only=True)
class MeasuredNet:
    """A net on a codebook, its message, and its errors on n examples."""

    message: NetMessage
    errors: int
    n: int
    classes: int  # that occur among the labels

    @classmethod
    def of(cls, net: FeedForward, x: np.ndarray, y: np.ndarray, **more: Any) -> Self:
        """Write the net, and count its errors."""
        return cls(message=encode(net), errors=net.count_errors(x, y), n=len(x), classes=len(np.unique(y)), **more)

    @classmethod
    def estimate(cls, net: FeedForward, x: np.ndarray, y: np.ndarray, n: int, **more: Any) -> Self:
        """The same, with the errors that n examples would have at the rate of these few.

        Whichever net is taken is paid for, so that an estimate may choose.
        """
        errors = round(misclassified(net(x), y) * n / len(x))
        return cls(message=encode(net), errors=errors, n=n, classes=len(np.unique(y)), **more)

    @property
    def chance(self) -> float:
        """Risk of a uniform guess among the classes that occur: outputs that no label names make no bound better."""
        return 1.0 - 1.0 / self.classes


class CodedNet(MeasuredNet):
    """The same, at the price of its message: all that an Occam bound needs."""

    def nats(self, delta: float) -> float:
        """The complexity ln 1/P + ln 1/delta, rounded up."""
        return (self.message.nats - math.log(delta)) * _UP

    def value(self, delta: float) -> float:
        """Bin+(k, n, delta P), rounded up."""
        return occam_binomial(self.errors, self.n, self.nats(delta))


@implements("langford2005_occam_binomial", "boundlab_net_message", "boundlab_certain_margins", "chernoff_kl_inverse")
@dataclass(frozen=True, kw_only=True)
class MessageBound(GeneralizationBound):
    """Risk of a net that is written down whole, from its errors on the training set and the length of the message.

    For a prefix code over nets, sum_h 2^-B(h) <= 1, that is fixed before the n examples, with probability at least
    1 - delta and for all nets h at once:  R(h) <= Bin+(k(h), n, delta 2^-B(h)), k(h) the errors of h on the n examples.
    However h was found - data-dependent sensitivities, fresh coins, the best of many - makes no difference.

    B(h) is eight times the bytes of a file from which `boundlab.nets.net_message.decode` rebuilds h, operations and
    sizes too. The net certified is the one in the file, in exact arithmetic: `coded` returns it. Give the examples the
    net was trained on, or any others: the bound holds for both.

    Raises
    ------
    UnsupportedLayer, PremiseViolated
        On evaluation, if the net is no chain that a message can name, or holds batch norms.

    Notes
    -----
    Langford (JMLR 6, 2005), the Occam's razor bound in its binomial-tail form, as we understand the paper; proved in
    ``langford2005_occam_binomial``. Always at most its Chernoff form ``facts["occam_kl"]``, and that at most its
    Hoeffding form ``facts["occam_hoeffding"]``, up to the rounding of each to the safe side.
    """

    @abstractmethod
    def rounded(self, net: FeedForward, x: np.ndarray, y: np.ndarray) -> Iterable[FeedForward]:
        """Nets on codebooks near `net`, of which the best is taken; x, y may be looked at."""

    def coded(self, net: Subject | FeedForward, x: Any, y: Any) -> CodedNet:
        """The net on a codebook with the smallest bound, its message, and its errors."""
        chain, x, y = chain_and_evidence(net, x, y)
        nets = list(self.rounded(chain, x, y))
        if len(nets) > 1:
            tried = [CodedNet.estimate(own, x[:_FIRST], y[:_FIRST], len(x)) for own in nets]
            best = min(range(len(nets)), key=lambda i: (tried[i].value(self.delta), tried[i].message.bits))
        else:
            best = 0
        return CodedNet.of(nets[best], x, y)

    def __call__(self, net: Subject | FeedForward, x: Any, y: Any) -> Bound:
        """Evaluate every rounding and report the smallest bound; rounded up."""
        return self.bound_of(self.coded(net, x, y))

    def bound_of(self, coded: CodedNet) -> Bound:
        """The bound of a net that was found before."""
        message, n = coded.message, coded.n
        header, support = (message.paid.get(part, 0.0) for part in ("header", "support"))
        paid = (header, header + support, float(message.bits))
        nats = (-math.log(self.delta) * _UP, *((bits * math.log(2.0) - math.log(self.delta)) * _UP for bits in paid))
        levels = [tail_inverse(coded.errors, n, -c) for c in (*nats[:-1], coded.nats(self.delta))]
        whole = coded.nats(self.delta)
        layers = message.net.layers
        return Bound(
            name=self.name,
            terms=telescope(
                ("empirical risk", "confidence", "header", "support", "values"), (coded.errors / n, *levels)
            ),
            delta=self.delta,
            theorem="langford2005_occam_binomial",
            chance=coded.chance,
            premises=MESSAGE_PREMISES,
            facts={
                "bits": message.bits,
                "header_bits": header,
                "support_bits": support,
                "value_bits": message.bits - header - support,
                "nats": message.nats,
                "occam_kl": occam_kl(coded.errors, n, whole),
                "occam_hoeffding": occam_hoeffding(coded.errors, n, whole),
                "nnz": sum(int(np.count_nonzero(layer.weight)) for layer in layers),
                "errors": coded.errors,
                "n": n,
            },
        )


@implements("boundlab_log_grid_code_kraft")
@dataclass(frozen=True, kw_only=True)
class Occam(MessageBound):
    """Risk of the net rounded to a logarithmic grid, from the length of its message; see `MessageBound`.

    Every weight becomes 0 or +-2^(k/s) for the s of `steps` with the smallest bound; the message names s.

    Parameters
    ----------
    delta : float
        In (0, 1).
    steps : tuple of int
        Grids to try, in steps per factor of 2. Each of 1, 2, 4, 8, 16, none twice.
    name : str
        What a table calls it.

    Raises
    ------
    InvalidParameter
        If delta or a grid is out of its range.
    """

    name: str = "Occam, log-grid code"
    steps: tuple[int, ...] = (1, 2, 4, 8)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.steps, tuple) or not self.steps or len(set(self.steps)) != len(self.steps):
            raise InvalidParameter(f"steps must hold at least one grid and none twice, got steps={self.steps!r}.")
        for steps in self.steps:
            LogGrid(steps)

    def rounded(self, net: FeedForward, x: np.ndarray, y: np.ndarray) -> Iterable[FeedForward]:
        """The net on each grid."""
        return (on_log_grid(net, steps) for steps in self.steps)


def chain_and_evidence(net: Subject | FeedForward, x: Any, y: Any) -> tuple[FeedForward, np.ndarray, np.ndarray]:
    """The net as a chain, the points flat, the labels: validated."""
    if not isinstance(net, FeedForward):
        x, y = evidence(net, x, y)
        net = as_feed_forward(classifier(net), x)
        x = x.reshape(len(x), -1).astype(np.float64)
    x = matrix("x", x, columns=net.features)
    return net, x, labels("y", y, points=len(x), classes=net.classes, present=1)


MESSAGE_PREMISES = (
    IID,
    Premise(
        text="the lengths of the code satisfy Kraft's inequality",
        status=Status.CHECKED,
        evidence="by construction: one message says operations, sizes, grids and weights, and no message is the "
        "beginning of another one (boundlab_message_code, boundlab_net_message)",
    ),
    Premise(
        text="the format of the message, delta and the number of features are fixed before the data",
        status=Status.ASSUMED,
        evidence="the format is the one of this version for all data; that no example shaped it cannot be seen in it",
    ),
    ROUNDING,
    Premise(
        text="what is done to a point before the net reads it is fixed before the data",
        status=Status.ASSUMED,
        evidence="a property of how the points were prepared; what a net does to them itself is in the message",
    ),
)
