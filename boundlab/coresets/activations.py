"""Activations whose largest absolute value on a ball is known in closed form, with what a uniform bound needs of them.

For each one, S(r) = max over |z| <= r of |phi(z)| and lam(r) = r Lip(phi on [-r, r])/S(r). S(r) = |phi(r)| for all of
them: those that rise with |phi(-z)| <= |phi(z)|, and GELU and SiLU, which first fall but never below -phi(-z).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, ndtr

from boundlab._errors import InvalidParameter
from boundlab._theory import implements

Function = Callable[[np.ndarray], np.ndarray]
ROOT_2 = math.sqrt(2.0)
GELU_TROUGH = -0.7517915246935645
SILU_TROUGH = -1.2784645427610738
SILU_STEEPEST = 2.399357280520548


@implements("mussay2020_sup_sensitivity")
@dataclass(frozen=True, kw_only=True)
class Activation:
    """An activation phi with its S(r), its lam(r) and its value at 0.

    Parameters
    ----------
    name : as errors and reports call it
    value : phi, elementwise on float64 arrays
    sup : S(r) = max over |z| <= r of |phi(z)|, for r >= 0
    lam : r Lip(phi on [-r, r])/S(r), for r >= 0; inf where phi is not Lipschitz, its limit at r = 0
    at_zero : phi(0)
    nonneg : whether phi >= 0 everywhere
    trough : where phi turns from falling to rising; -inf for one that never falls
    homogeneous : whether phi(c z) = c phi(z) for all c > 0

    Source: the admissible activations of Mussay et al. 2020, arXiv:1907.04018, as we understand the paper; the table
    of S and lam is ours.

    Examples
    --------
    >>> float(RELU.sup(np.array(3.0))), float(SIGMOID.at_zero), float(centred(SIGMOID).at_zero)
    (3.0, 0.5, 0.0)
    """

    name: str
    value: Function
    sup: Function
    lam: Function
    at_zero: float
    nonneg: bool
    trough: float = -math.inf
    homogeneous: bool = False

    def largest(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Return max |phi(z)| over low <= z <= high: at an end, or at the trough where that lies between them."""
        ends = np.maximum(np.abs(self.value(low)), np.abs(self.value(high)))
        return np.maximum(ends, np.abs(self.value(np.clip(self.trough, low, high))))

    def lipschitz(self, r: np.ndarray) -> np.ndarray:
        """Return the Lipschitz constant of phi on [-r, r], r > 0."""
        return self.lam(r) * self.sup(r) / r


def _relu(z: np.ndarray) -> np.ndarray:
    return np.maximum(z, 0.0)


def _leaky_relu(z: np.ndarray) -> np.ndarray:
    return np.where(z > 0.0, z, 0.01 * np.asarray(z))


def _identity(r: np.ndarray) -> np.ndarray:
    return np.asarray(r, np.float64) + 0.0


def _one(r: np.ndarray) -> np.ndarray:
    return np.ones_like(np.asarray(r, np.float64))


def _ratio(numerator: np.ndarray, denominator: np.ndarray, r: np.ndarray) -> np.ndarray:
    """numerator/denominator, and its limit 1 at r = 0."""
    return np.where(r > 0.0, numerator / np.where(r > 0.0, denominator, 1.0), 1.0)


def _tanh_lam(r: np.ndarray) -> np.ndarray:
    return _ratio(r, np.tanh(r), r)


def _sigmoid_lam(r: np.ndarray) -> np.ndarray:
    return r / (4.0 * expit(r))


def _centred_sigmoid(z: np.ndarray) -> np.ndarray:
    return 0.5 * np.tanh(0.5 * np.asarray(z))


def _centred_sigmoid_lam(r: np.ndarray) -> np.ndarray:
    return _tanh_lam(0.5 * np.asarray(r))


def _softplus(z: np.ndarray) -> np.ndarray:
    return np.logaddexp(0.0, z)


def _softplus_lam(r: np.ndarray) -> np.ndarray:
    return r * expit(r) / _softplus(r)


def _centred_softplus(z: np.ndarray) -> np.ndarray:
    """ln((1 + e^z)/2), without cancellation near 0."""
    z = np.asarray(z, np.float64)
    return np.maximum(z, 0.0) + np.log1p(0.5 * np.expm1(-np.abs(z)))


def _centred_softplus_lam(r: np.ndarray) -> np.ndarray:
    return _ratio(r * expit(r), _centred_softplus(r), r)


def _elu(z: np.ndarray) -> np.ndarray:
    return np.where(z > 0.0, z, np.expm1(np.minimum(z, 0.0)))


def _gelu(z: np.ndarray) -> np.ndarray:
    return z * ndtr(z)


def _gelu_lam(r: np.ndarray) -> np.ndarray:
    steepest = np.minimum(r, ROOT_2)  # phi' = Phi(z) + z Phi'(z) rises up to sqrt(2); phi'(-z) = 1 - phi'(z)
    slope = ndtr(steepest) + steepest * np.exp(-0.5 * steepest * steepest) / math.sqrt(2.0 * math.pi)
    return slope / ndtr(r)


def _silu(z: np.ndarray) -> np.ndarray:
    return z * expit(z)


def _silu_lam(r: np.ndarray) -> np.ndarray:
    steepest = np.minimum(r, SILU_STEEPEST)
    slope = expit(steepest) * (1.0 + steepest * expit(-steepest))
    return slope / expit(r)


def _step(z: np.ndarray) -> np.ndarray:
    return (np.asarray(z) > 0.0).astype(np.float64)


def _never(r: np.ndarray) -> np.ndarray:
    return np.where(np.asarray(r) > 0.0, np.inf, 0.0)


RELU = Activation(name="relu", value=_relu, sup=_identity, lam=_one, at_zero=0.0, nonneg=True, homogeneous=True)
LEAKY_RELU = Activation(
    name="leaky_relu", value=_leaky_relu, sup=_identity, lam=_one, at_zero=0.0, nonneg=False, homogeneous=True
)
SIGMOID = Activation(name="sigmoid", value=expit, sup=expit, lam=_sigmoid_lam, at_zero=0.5, nonneg=True)
TANH = Activation(name="tanh", value=np.tanh, sup=np.tanh, lam=_tanh_lam, at_zero=0.0, nonneg=False)
SOFTPLUS = Activation(
    name="softplus", value=_softplus, sup=_softplus, lam=_softplus_lam, at_zero=math.log(2.0), nonneg=True
)
ELU = Activation(name="elu", value=_elu, sup=_identity, lam=_one, at_zero=0.0, nonneg=False)
GELU = Activation(name="gelu", value=_gelu, sup=_gelu, lam=_gelu_lam, at_zero=0.0, nonneg=False, trough=GELU_TROUGH)
SILU = Activation(name="silu", value=_silu, sup=_silu, lam=_silu_lam, at_zero=0.0, nonneg=False, trough=SILU_TROUGH)
STEP = Activation(name="step", value=_step, sup=_step, lam=_never, at_zero=0.0, nonneg=True)

_CENTRED = {
    "sigmoid": Activation(
        name="centred sigmoid",
        value=_centred_sigmoid,
        sup=_centred_sigmoid,
        lam=_centred_sigmoid_lam,
        at_zero=0.0,
        nonneg=False,
    ),
    "softplus": Activation(
        name="centred softplus",
        value=_centred_softplus,
        sup=_centred_softplus,
        lam=_centred_softplus_lam,
        at_zero=0.0,
        nonneg=False,
    ),
}


@implements("boundlab_neuron_cleanup")
def centred(activation: Activation) -> Activation:
    """Return psi = phi - phi(0), for which a neuron with zero input weights contributes nothing.

    The constant part sum_p w_j(p) phi(0) belongs into the next layer's bias; `neuron_cleanup.clean` puts it there.
    An activation with phi(0) = 0 is returned as it is. Raises InvalidParameter for one whose centred form is not known.

    Examples
    --------
    >>> centred(SIGMOID).name, centred(RELU).name
    ('centred sigmoid', 'relu')
    """
    if activation.at_zero == 0.0:
        return activation
    if activation.name not in _CENTRED:
        raise InvalidParameter(f"activation must have a known centred form, got {activation.name}.")
    return _CENTRED[activation.name]
