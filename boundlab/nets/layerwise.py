"""Additive errors along a net whose layers are compressed one after the other, from the input to the output.

Delta_l is the l2 error of the outputs of layer l over all its neurons. Removing neurons of layer l replaces the next
matrix W by What, with an l2 error of at most e_l on every input of the radius that the layer's coreset was made for.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from boundlab._errors import InvalidParameter, PremiseViolated, positive
from boundlab._theory import implements

ROUNDING = 1e-12


@implements("boundlab_layerwise_propagation", "mussay2020_layer_order")
def layer_deltas(
    norms: Sequence[float], errors: Sequence[float], *, lipschitz: float = 1.0, linear_last: bool = True
) -> np.ndarray:
    """Return Delta_1..Delta_L: Delta_1 = 0, Delta_{l+1} = Lip (|W^{l+1}|_2 Delta_l + e_l), rounded up.

    The layers are compressed bottom-up: the neurons of layer l that are sampled are the rows of What^l, already
    reduced. The W^{l+1} are the ORIGINAL matrices. No other order is covered.

    Parameters
    ----------
    norms : (L-1,), |W^2|_2 .. |W^L|_2 of the original net, >= 0
    errors : (L-1,), e_1 .. e_{L-1} >= 0; sqrt(k) eps where eps holds for each of the k outputs of the next layer
    lipschitz : Lipschitz constant of the activation
    linear_last : whether layer L has no activation

    Raises InvalidParameter.

    Examples
    --------
    >>> [round(float(v), 9) for v in layer_deltas([9.0, 2.0, 3.0], [0.5, 0.25, 1.0])]
    [0.0, 0.5, 1.25, 4.75]
    """
    w, e = _vector("norms", norms), _vector("errors", errors)
    if len(w) != len(e) or not (np.isfinite(lipschitz) and lipschitz > 0.0):
        raise InvalidParameter(
            f"norms and errors must have one length and lipschitz be positive, got {len(w)}, {len(e)}, {lipschitz!r}."
        )
    path = [0.0]
    for k, (norm, error) in enumerate(zip(w, e, strict=True)):
        slope = 1.0 if linear_last and k == len(w) - 1 else lipschitz
        step = slope * (norm * path[-1] + error) if path[-1] > 0.0 else slope * error
        path.append(float(step) * (1.0 + ROUNDING))
    return np.array(path)


@implements("boundlab_layerwise_propagation", "mussay2020_all_inputs")
def norm_reach(
    norms: Sequence[float], bias_norms: Sequence[float], radius: float, *, lipschitz: float = 1.0
) -> np.ndarray:
    """Return bounds on the l2 norms of the inputs of layers 1..L over all |x| <= radius: R_{l+1} = Lip (|W| R_l + |b|).

    For phi(0) = 0. This is what "for all inputs" costs: the radius grows with the product of the norms. Rounded up.
    Raises InvalidParameter.

    Examples
    --------
    >>> [round(float(v), 9) for v in norm_reach([2.0, 3.0], [1.0, 0.0], 5.0)]
    [5.0, 11.0, 33.0]
    """
    w, b = _vector("norms", norms), _vector("bias_norms", bias_norms)
    if len(w) != len(b) or not (np.isfinite(lipschitz) and lipschitz > 0.0):
        raise InvalidParameter(
            f"norms and bias_norms must have one length, lipschitz be positive, got {len(w)}, {len(b)}, {lipschitz!r}."
        )
    path = [positive("radius", radius)]
    for norm, bias in zip(w, b, strict=True):
        path.append(float(lipschitz * (norm * path[-1] + bias)) * (1.0 + ROUNDING))
    return np.array(path)


@implements("boundlab_layerwise_propagation")
def check_radii(radii: Sequence[float], reach: Sequence[float], deltas: Sequence[float]) -> None:
    """Raise PremiseViolated unless beta_l >= reach_l + Delta_{l-1} for each layer l whose neurons were sampled.

    Parameters
    ----------
    radii : beta_l, the radius of the ball that the coreset of layer l was made for
    reach : bounds on the norm of what layer l reads in the ORIGINAL net, for all inputs promised
    deltas : l2 errors of what layer l reads, Delta_{l-1}; 0 for the first compressed layer

    Where the bias is a column of the points, radii and reach are those of (x, 1).

    Examples
    --------
    >>> check_radii([1.0, 4.0], [1.0, 3.5], [0.0, 0.5])
    """
    beta, r, d = _vector("radii", radii), _vector("reach", reach), _vector("deltas", deltas)
    if not len(beta) == len(r) == len(d):
        raise InvalidParameter(f"radii, reach and deltas must have one length, got {len(beta)}, {len(r)}, {len(d)}.")
    short = np.flatnonzero(beta < r + d)
    if short.size:
        k = int(short[0])
        raise PremiseViolated(
            f"radius must be at least reach + Delta, got {beta[k]:g} < {r[k]:g} + {d[k]:g} at sampled layer {k + 1}."
        )


def _vector(name: str, values: Sequence[float]) -> np.ndarray:
    array = np.asarray(values, np.float64)
    if array.ndim != 1 or not (np.isfinite(array).all() and np.all(array >= 0.0)):
        raise InvalidParameter(f"{name} must be a sequence of finite numbers >= 0, got {values!r}.")
    return array
