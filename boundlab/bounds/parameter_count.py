"""Bounds by counting: how many weights there are, through a cover of them, and how many bits they are stored in."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from boundlab._errors import InvalidParameter, PremiseViolated, positive, positive_int, probability
from boundlab._theory import implements
from boundlab.bounds.generalization_bound import (
    IID,
    GeneralizationBound,
    Subject,
    alone,
    chance,
    classifier,
    count_errors,
    evidence,
    telescope,
)
from boundlab.bounds.norm_budgets import (
    Domain,
    MarginBound,
    best_margin,
    check_domain,
    examples,
    norm_bound,
    norm_product,
    radius,
)
from boundlab.bounds.occam import occam_binomial, occam_hoeffding
from boundlab.concentration.binomial import tail_inverse
from boundlab.nets.module_net import ModuleNet
from boundlab.nets.unnamed_numbers import unnamed_numbers
from boundlab.network import Network
from boundlab.promises import Bound, Premise, Status

_UP = 1.0 + 1e-12


@implements("long2020_parameter_count")
def lipschitz_cover_complexity(parameters: int, lipschitz: float, n: int, delta: float, *, paid: float = 0.0) -> float:
    """Return 2/n + sqrt((W ln(3 Lambda n) + ln(1/delta) + paid)/(2n)): a Lambda-Lipschitz loss in W weights.

    The loss is in [0, 1]. A cover of the unit ball of weights at 1/(Lambda n) has at most (3 Lambda n)^W points; the
    loss moves by at most 1/n to the nearest one, on the sample and in the mean. `paid` are the nats of a choice that
    the data made.

    Raises
    ------
    InvalidParameter
        If a value is out of range; Lambda n must be at least 1.

    Notes
    -----
    Source: after Long and Sedghi (2020), arXiv:1905.12600, whose absolute constant is not specified, as we understand
    the paper; this explicit form is ours, ``proofs_checks/long2020_parameter_count.py``.
    """
    size, lam = positive_int("n", n), positive("lipschitz", lipschitz)
    if lam * size < 1.0:
        raise InvalidParameter(f"lipschitz * n must be at least 1, got {lam * size!r}.")
    nats = positive_int("parameters", parameters) * math.log(3.0 * lam * size) - math.log(probability("delta", delta))
    nats += paid
    return (2.0 / size + math.sqrt(nats / (2.0 * size))) * _UP


@implements("long2020_parameter_count")
def weight_lipschitz(depth: int, radius: float, gamma: float) -> float:
    """Return Lambda = sqrt(2) d B/gamma: how fast the ramp of the margin moves with the weights of a net of d layers.

    In the norm max_i |A_i - A'_i|_2 on nets with all |A_i|_2 <= 1, on inputs of norm at most B: the outputs move by at
    most B sum |A_i - A'_i|_2, the margin by sqrt 2 times that, the ramp by 1/gamma times that; rounded up.

    Raises
    ------
    InvalidParameter
        If a value is not positive.
    """
    return math.sqrt(2.0) * positive_int("depth", depth) * positive("radius", radius) / positive("gamma", gamma) * _UP


@implements("long2020_parameter_count", "boundlab_norm_budgets")
@dataclass(frozen=True, kw_only=True)
class ParameterCover(MarginBound):
    """Risk from the margins, the spectral norms and the number W of parameters: those of a kernel count once.

        R_0 <= r_gamma + 2/n + sqrt((W ln(3 Lambda n) + ln(1/delta) + nats)/(2n)),
        Lambda = sqrt(2) d B prod |A_i|_2/gamma

    The class is that of nets with |A_i|_2 <= 1, parametrised linearly by weights, biases and, in each hidden layer, the
    weight of the constant unit. `nats` pay for gamma/prod |A_i|_2, one of 2^(k/steps).

    Parameters
    ----------
    delta : float
        In (0, 1).
    name : str
        What a table calls it.
    steps : int
        Values of the grid from one power of 2 to the next, at least 1.
    domain : pair of float, optional
        As in `PerturbedWeights`.

    Raises
    ------
    InvalidParameter
        If delta, steps or the domain is out of its range.
    UnsupportedLayer
        If the net is no chain of operators (``operator_chain``).
    PremiseViolated
        If an example lies outside of the domain.

    Notes
    -----
    After Long and Sedghi (2020), as we understand the paper: its absolute constant is not specified, this form has none
    (``long2020_parameter_count``).
    """

    name: str = "number of parameters, by a cover"
    domain: Domain | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_domain(self.domain)

    def __call__(self, net: Subject, x: Any, y: Any) -> Bound:
        """Evaluate the bound at the best margin; rounded up."""
        found = examples(net, x, y)
        operators, n = found.chain.balanced, found.n
        largest, premise = radius(found, self.domain)
        parameters = sum(op.parameters for op in operators) + len(operators) - 1

        def level(unit: float, nats: float) -> tuple[float, float]:
            # what is Lipschitz is so with a larger constant too, and the cover asks for 1/n at least
            slope = max(weight_lipschitz(len(operators), largest, unit), 1.0 / n * _UP)
            complexity = 2.0 / n + math.sqrt(parameters * math.log(3.0 * slope * n) / (2.0 * n))
            total = lipschitz_cover_complexity(parameters, slope, n, self.delta, paid=nats)
            return complexity, max(0.0, total - complexity) * _UP

        norm = norm_product([op.spectral for op in operators])
        chosen = best_margin(found.margins, norm, self.steps, level)
        facts = {"parameters": parameters, "radius": largest, "depth": len(operators)}
        return norm_bound(
            self,
            found,
            chosen,
            "long2020_parameter_count",
            premises=(premise,),
            facts=facts,
        )


@implements("langford2005_occam_forms")
@dataclass(frozen=True, kw_only=True)
class StoredBits(GeneralizationBound):
    """Risk of any net from the bits that its numbers take as they are stored, 32 each in single precision.

        R <= Bin+(k, n, delta 2^(-B)),    B = 32 (parameters and buffers)

    The code of fixed length that every trained net already comes in: what any compression has to beat. A fully
    connected net pays one bit more, for whether 32 bits hold all of its numbers or 64 are needed.

    Parameters
    ----------
    delta : float
        In (0, 1).
    name : str
        What a table calls it.

    Notes
    -----
    Langford (JMLR 6, 2005), as we understand the paper; ``facts["occam_hoeffding"]`` is r + sqrt((B ln 2 +
    ln(1/delta))/(2n)), which may exceed 1.
    """

    name: str = "stored bits"

    def __call__(self, net: Subject, x: Any, y: Any) -> Bound:
        """Count errors and bits, and invert the binomial tail; rounded up."""
        own = classifier(net)
        x, y = evidence(net, x, y)
        n, errors, bits = len(x), count_errors(own, x, y), stored_bits(own)
        confidence = -math.log(self.delta) * _UP
        nats = (confidence + bits * math.log(2.0)) * _UP
        value = occam_binomial(errors, n, nats)
        return Bound(
            name=self.name,
            terms=telescope(
                ("empirical risk", "confidence", "bits"), (errors / n, tail_inverse(errors, n, -confidence), value)
            ),
            delta=self.delta,
            theorem="langford2005_occam_forms",
            chance=chance(y),
            premises=(
                IID,
                Premise(
                    text="everything but parameters and buffers is fixed before the data: operations, sizes, precision",
                    status=Status.ASSUMED,
                    evidence="the architecture is not coded; one chosen among M by looking at the data needs delta / M",
                ),
                *alone(own, x),
                Premise(
                    text="the code is fixed before the data, and its lengths satisfy Kraft's inequality",
                    status=Status.CHECKED,
                    evidence=f"by construction: each number in its own place, {bits} bits for every such net",
                ),
            ),
            facts={
                "bits": bits,
                "nats": nats,
                "errors": errors,
                "n": n,
                "occam_hoeffding": occam_hoeffding(errors, n, nats),
            },
        )


def stored_bits(net: Network | ModuleNet) -> int:
    """Return the bits of all numbers of a net: a module's parameters and buffers, or weights and biases and 1 bit.

    Raises
    ------
    PremiseViolated
        If a module keeps tensors that are neither: what is stored of it does not hold them.
    """
    if isinstance(net, ModuleNet):
        if outside := unnamed_numbers(net.module):
            raise PremiseViolated(
                "every number of a net must be a parameter or a buffer for its bits to be counted, got others in "
                f"{', '.join(outside[:6])}{' ...' if len(outside) > 6 else ''}."
            )
        stored = (*net.module.parameters(), *net.module.buffers())
        return sum(8 * t.numel() * t.element_size() for t in stored)
    arrays = [a for layer in net.layers for a in (layer.weight, layer.bias)]
    with np.errstate(over="ignore"):
        single = all(np.array_equal(a, a.astype(np.float32)) for a in arrays)
    return (32 if single else 64) * net.parameters + 1
