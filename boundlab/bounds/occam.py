"""The Occam bound: a net with a short description cannot have fitted its training data by luck."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from boundlab._errors import InvalidParameter, positive, positive_int
from boundlab._theory import implements
from boundlab.bounds.generalization_bound import GeneralizationBound, chance, count_errors, evidence, telescope
from boundlab.codes.log_grid import CodeLength, LogGridCode
from boundlab.concentration.binomial import tail_inverse
from boundlab.concentration.chernoff import kl_inverse
from boundlab.records import Bound, Compression, Premise, Status

_UP = 1.0 + 1e-14  # nats of complexity are rounded up past the error of a logarithm and three sums


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


@implements("langford2005_occam_binomial", "boundlab_log_grid_code_kraft", "chernoff_kl_inverse")
@dataclass(frozen=True, kw_only=True)
class Occam(GeneralizationBound):
    """Risk of the compressed net, rounded to a grid, from its errors on the training set and its length in bits.

    For a code with sum_h 2^-B(h) <= 1 that is fixed before the n examples, with probability at least 1 - delta and
    for all nets h at once:  R(h) <= Bin+(k(h), n, delta 2^-B(h)), k(h) the errors of h on the n examples. However h
    was found - data-dependent sensitivities, fresh coins, the best of many - makes no difference.

    The net certified is ``LogGridCode(s).round(compression.net)``, not `compression.net` itself; s is the entry of
    `steps` with the smallest bound, reported in ``facts["steps"]``, and the choice is paid with log2(len(steps)) bits.
    Give the examples the net was trained on, or any others: the bound holds for both.

    Parameters
    ----------
    delta : float
        In (0, 1).
    steps : tuple of int
        Grids to try, in steps per factor of 2; fixed before the data. Each of 1, 2, 4, 8, 16, none twice.
    name : str
        What a table calls it.

    Raises
    ------
    InvalidParameter
        If delta or a grid is out of its range.

    Notes
    -----
    Langford (JMLR 6, 2005), the Occam's razor bound in its binomial-tail form, as we understand the paper; proved in
    ``langford2005_occam_binomial``. Always at most its Chernoff form ``facts["occam_kl"]``, and that at most its
    Hoeffding form ``facts["occam_hoeffding"]``, up to the rounding of each to the safe side.
    """

    name: str = "Occam, log-grid code"
    steps: tuple[int, ...] = (1, 2, 4, 8)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.steps or len(set(self.steps)) != len(self.steps):
            raise InvalidParameter(f"steps must hold at least one grid and none twice, got steps={self.steps!r}.")
        for steps in self.steps:
            LogGridCode(steps)

    def __call__(self, compression: Compression, x: Any, y: Any) -> Bound:
        """Evaluate every grid and report the smallest bound; rounded up."""
        x, y = evidence(compression, x, y)
        n, candidates = len(x), []
        for steps in self.steps:
            code = LogGridCode(steps)
            net = code.round(compression.net)
            errors, length = count_errors(net, x, y), code.length(net)
            value = tail_inverse(errors, n, -self._nats(length.total_bits))
            candidates.append((value, length.total_bits, steps, errors, net.nnz, length))
        _, _, steps, errors, nnz, length = min(candidates, key=lambda c: c[:2])
        return Bound(
            name=self.name,
            terms=self._terms(errors, n, length),
            delta=self.delta,
            theorem="langford2005_occam_binomial",
            chance=chance(compression),
            premises=self._premises(),
            facts=self._facts(errors, n, length) | {"steps": steps, "nnz": nnz, "errors": errors, "n": n},
        )

    def _nats(self, bits: float) -> float:
        """ln(1/delta) + B ln 2, with the choice of the grid in B; rounded up."""
        return (-math.log(self.delta) + (bits + math.log2(len(self.steps))) * math.log(2.0)) * _UP

    def _terms(self, errors: int, n: int, length: CodeLength) -> tuple[tuple[str, float], ...]:
        """Empirical risk, then what delta and each part of the description add to it."""
        paid = (length.header_bits, length.header_bits + length.support_bits, length.total_bits)
        nats = (-math.log(self.delta) * _UP, *(self._nats(bits) for bits in paid))
        levels = [tail_inverse(errors, n, -c) for c in nats]
        return telescope(("empirical risk", "confidence", "header", "support", "values"), (errors / n, *levels))

    def _facts(self, errors: int, n: int, length: CodeLength) -> dict[str, float]:
        nats = self._nats(length.total_bits)
        return {
            "bits": length.total_bits + math.log2(len(self.steps)),
            "header_bits": length.header_bits + math.log2(len(self.steps)),
            "support_bits": length.support_bits,
            "value_bits": length.value_bits,
            "occam_kl": occam_kl(errors, n, nats),
            "occam_hoeffding": occam_hoeffding(errors, n, nats),
        }

    def _premises(self) -> tuple[Premise, ...]:
        return (
            Premise(
                text="the n examples are i.i.d. from the distribution whose risk is bounded",
                status=Status.ASSUMED,
                evidence="a property of how the examples were collected",
            ),
            Premise(
                text="the code is fixed before the data, and its lengths satisfy Kraft's inequality",
                status=Status.CHECKED,
                evidence="by construction: it has no parameter but the grid, whose choice is paid "
                f"with {math.log2(len(self.steps)):g} bits; boundlab_log_grid_code_kraft enumerates it",
            ),
            Premise(
                text="layer sizes, activations and the list of grids are fixed before the data",
                status=Status.ASSUMED,
                evidence="the architecture is not coded; one chosen among M by looking at the data needs delta / M",
            ),
        )
