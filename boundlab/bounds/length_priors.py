"""What a description in l bits is worth as a prior: the price of its length, and the bonus for permuted copies."""

from __future__ import annotations

import math

import numpy as np

from boundlab._errors import positive_int
from boundlab._theory import implements
from boundlab.network import Network

_UP = 1.0 + 1e-14  # past the error of a handful of roundings


@implements("kraft1949_length_prior")
def length_nats(bits: int) -> float:
    """Return ln 1/P of a non-empty string under P = 2^-l / (l (l+1)), l its length in bits; rounded up.

    2^-l alone adds up to 1 on every length: only the words of a prefix code may use it. The weights 1/(l (l+1)) add up
    to 1 over l >= 1.

    Parameters
    ----------
    bits : int
        l >= 1.

    Returns
    -------
    float
        Nats.

    Raises
    ------
    InvalidParameter
        If bits is not a whole number of at least 1.

    Examples
    --------
    >>> f"{length_nats(4_000) / math.log(2):.2f}"
    '4023.93'
    """
    bits = positive_int("bits", bits)
    return (bits * math.log(2.0) + math.log(bits) + math.log(bits + 1.0)) * _UP


@implements("lotfi2022_universal_prior")
def published_universal_nats(bits: int) -> float:
    """Return (l + 2 log2 l) ln 2, the published length of a self-delimiting string of l bits; kept to show.

    The weights 1/l^2 add up to pi^2/6 = 1.645 over l >= 1, which is no prior, and to 0.645 over l >= 2, which is one.
    Take `length_nats`. Parameters and errors as there; rounded up.
    """
    bits = positive_int("bits", bits)
    return (bits * math.log(2.0) + 2.0 * math.log(bits)) * _UP


@implements("boundlab_permutation_bonus")
def permutation_bonus(net: Network) -> float:
    """Return ln of a lower bound on the distinct nets that permuting hidden units makes of `net`; rounded down.

    sum over the hidden layers of ln(h! / prod of multiplicities!), the multiplicity being the number of units with the
    same *incoming* weights and bias. Where the code's length does not change under the permutations, the function has
    at least that many times the prior mass of one net: subtract the bonus from ln 1/P. Allowed only where all copies
    compute the same function bit for bit, as they do if the decoder sorts the units before the net is built.

    Parameters
    ----------
    net : Network
        Its last layer is not permuted.

    Returns
    -------
    float
        Nats, at least 0.

    Examples
    --------
    >>> from boundlab.network import Layer
    >>> hidden = Layer(weight=np.array([[1.0], [2.0], [3.0]]), bias=np.zeros(3), relu=True)
    >>> top = Layer(weight=np.ones((1, 3)), bias=np.zeros(1), relu=False)
    >>> f"{permutation_bonus(Network(layers=(hidden, top))):.4f}"  # ln 3!
    '1.7918'
    """
    total = 0.0
    for layer in net.layers[:-1]:
        incoming = np.column_stack([layer.weight, layer.bias]) + 0.0  # -0.0 becomes 0.0: equal units stay equal
        _, multiplicity = np.unique(incoming, axis=0, return_counts=True)
        gain = math.lgamma(len(incoming) + 1.0)
        loss = math.fsum(math.lgamma(m + 1.0) for m in multiplicity.tolist())
        total += max(0.0, gain - loss - 1e-14 * (gain + loss))
    return total / _UP
