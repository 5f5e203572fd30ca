"""How far the outputs of two nets can differ on a whole ball: a spectral recursion, biases included."""

from __future__ import annotations

import math

from boundlab._errors import InvalidParameter, positive
from boundlab._theory import implements
from boundlab.nets.norms import spectral_norm
from boundlab.network import Network


@implements("boundlab_spectral_deviation")
def spectral_deviation(original: Network, compressed: Network, radius: float) -> float:
    """Return a bound on |f(x) - g(x)|_2 for all |x|_2 <= radius.

        beta_l = |W_l| beta_{l-1} + |W_l - V_l| alpha_{l-1} + |b_l - c_l|,   alpha_l = |V_l| alpha_{l-1} + |c_l|,

    with alpha_0 = radius, beta_0 = 0, spectral norms of matrices and Euclidean norms of biases; W, b belong to f and
    V, c to g. ReLU is 1-Lipschitz and 0 at 0, so that it changes neither line. Without the last term of beta_l the
    bound is false as soon as biases differ.

    Parameters
    ----------
    original, compressed : Network
        Nets of one shape.
    radius : float, positive

    Returns
    -------
    float
        Rounded up.

    Raises
    ------
    InvalidParameter
        If the shapes or activations differ, or the radius is not positive.
    """
    alpha, beta = positive("radius", radius), 0.0
    if original.sizes != compressed.sizes or [w.relu for w in original.layers] != [w.relu for w in compressed.layers]:
        raise InvalidParameter(f"nets must have one shape, got {original.sizes} and {compressed.sizes}.")
    for f, g in zip(original.layers, compressed.layers, strict=True):
        shift = spectral_norm((f.bias - g.bias)[:, None])  # of a column, it is the Euclidean norm
        moved = spectral_norm(f.weight - g.weight) * alpha + shift
        beta = (spectral_norm(f.weight) * beta + moved) * (1.0 + 2.0**-50)
        alpha = (spectral_norm(g.weight) * alpha + spectral_norm(g.bias[:, None])) * (1.0 + 2.0**-50)
    return math.inf if math.isnan(beta) else float(beta)  # 0 times inf
