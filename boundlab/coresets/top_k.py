"""Keep the m most sensitive edges of a group and drop the others: what is kept, and what the dropped ones can cost.

A group is one neuron and one sign: z = sum of the terms w_j u_j >= 0 with shares g_j = w_j u_j / z, and s_j is the
largest share on the points of S. Nothing is drawn and nothing is rescaled: (z - z_hat)/z is the dropped shares' sum.
"""

from __future__ import annotations

import numpy as np

from boundlab._errors import InvalidParameter
from boundlab._theory import implements

_UNIT = 2.0**-52


@implements("baykal2022_sipp_det")
def keep_largest(values: np.ndarray, indptr: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Return which edges are kept: in each group the `size[r]` with the largest values, the first ones among equals.

    Parameters
    ----------
    values : (edges,) float64, sensitivities >= 0
    indptr : (R + 1,) int64, group r stands at ``indptr[r]:indptr[r + 1]``
    size : (R,) whole numbers >= 0, edges to keep; a group with fewer edges is kept whole

    Returns
    -------
    (edges,) bool. Time O(edges log edges).

    Notes
    -----
    The deterministic method of Baykal et al. (2022), arXiv:1910.05422, as we understand the paper.

    Examples
    --------
    >>> keep_largest(np.array([0.2, 0.7, 0.7, 0.1, 0.9]), np.array([0, 3, 5]), np.array([1, 1])).tolist()
    [False, True, False, False, True]
    """
    group = _groups(values, indptr)
    order = np.lexsort((-values, group))  # stable: equals stay in their order
    rank = np.arange(len(values)) - indptr[group[order]]
    keep = np.zeros(len(values), bool)
    keep[order] = rank < np.asarray(size)[group[order]]
    return keep


@implements("baykal2022_sipp_det")
def dropped_sum(values: np.ndarray, indptr: np.ndarray, keep: np.ndarray, *, K: float = 1.0) -> np.ndarray:
    """Return K times the sum of the dropped edges' sensitivities, rounded up: the relative error of each group.

        0 <= z - z_hat <= K (sum of s_j over the dropped j) z        where no share exceeds K s_j

    It may exceed 1 and then says nothing, for 0 <= z_hat <= z in any case.

    Parameters
    ----------
    values : (edges,) float64, sensitivities >= 0
    indptr : (R + 1,) int64, the groups
    keep : (edges,) bool, as from `keep_largest`; any choice that is fixed before the point is seen will do
    K : float >= 1 or inf, by how much a share may exceed its sensitivity; inf certifies groups without loss only

    Returns
    -------
    (R,) float64; 0 exactly where all edges with a positive sensitivity are kept, and then a dropped edge with s = 0
    is one that no point with shares below K s uses

    Raises
    ------
    InvalidParameter
        If K is below 1 or NaN.

    Notes
    -----
    Baykal et al. (2022), arXiv:1910.05422, deterministic method, as we understand the paper.

    Examples
    --------
    >>> shares, groups = np.array([0.5, 0.25, 0.125]), np.array([0, 3])
    >>> f"{dropped_sum(shares, groups, np.array([True, False, False]), K=2.0)[0]:.4f}"
    '0.7500'
    """
    if not K >= 1.0:
        raise InvalidParameter(f"K must be at least 1, got K={K!r}.")
    lost = np.bincount(_groups(values, indptr), np.where(keep, 0.0, values), minlength=len(indptr) - 1)
    slack = 1.0 + (np.diff(indptr) + 4.0) * _UNIT  # one rounding for each addition, and a few more
    return np.where(lost > 0.0, K * np.where(lost > 0.0, lost, 1.0) * slack, 0.0)


@implements("boundlab_max_of_sums")
def dropped_shares(shares: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the share of the sum that is lost at each point when the m largest values are kept, for every m at once.

        h_m(x) = sum of g_j(x) over the edges beyond the m largest values,        m = 0..edges

    This is the relative error at x itself, not a bound on it; one cumulative sum for each point.

    Parameters
    ----------
    shares : (points, edges) float64, g_j(x) in [0, 1] of one group; a patch counts as a point
    values : (edges,) float64, what the edges are ordered by, the first ones first among equals

    Returns
    -------
    (points, edges + 1) float64, rounded up; column m belongs to m kept edges

    Raises
    ------
    InvalidParameter
        If the shapes do not fit.

    Notes
    -----
    Ours. A maximum of h_m over the points is below the sum of the edges' maxima that `dropped_sum` takes.

    Examples
    --------
    >>> h = dropped_shares(np.array([[0.5, 0.5, 0.0], [0.5, 0.0, 0.5]]), np.array([0.5, 0.5, 0.5]))
    >>> h.round(3).max(axis=0).tolist()
    [1.0, 0.5, 0.5, 0.0]
    """
    if shares.ndim != 2 or values.shape != shares.shape[1:]:
        raise InvalidParameter(f"one value for each edge is needed, got shapes {shares.shape} and {values.shape}.")
    order = np.argsort(-values, kind="stable")
    lost = np.zeros((len(shares), len(values) + 1))
    lost[:, :-1] = np.cumsum(shares[:, order[::-1]], axis=1)[:, ::-1]
    return lost * (1.0 + (len(values) + 2.0) * _UNIT)


@implements("boundlab_max_of_sums")
def nested_ratio(fresh: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return max over m of h_m(x)/reference_m for each point: the score whose quantile covers all sizes m at once.

    Parameters
    ----------
    fresh : (points, edges + 1), h_m(x) as from `dropped_shares`, at points that the order and the reference ignore
    reference : (edges + 1,), such as the maximum of h_m over S; 0/0 counts as 0, a positive over 0 as inf

    Returns
    -------
    (points,) float64 >= 0, to be handed to `boundlab.concentration.conformal.conformal_factor`

    Examples
    --------
    >>> nested_ratio(np.array([[1.0, 0.6, 0.0]]), np.array([1.0, 0.5, 0.0])).tolist()
    [1.2]
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(fresh > 0.0, fresh / reference, 0.0)
    return ratio.max(axis=1)


@implements("boundlab_det_rescaling")
def centred(eps: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    """Return (factor, error): the factor 1/(1 - eps/2) centres a sum in [(1-eps) z, z], with error eps/(2 - eps).

    The error is that of the float factor that is returned, rounded up.

    Parameters
    ----------
    eps : float or array in [0, 1], the relative loss that is certified; at 1 nothing is gained

    Raises
    ------
    InvalidParameter
        If eps is outside [0, 1].

    Notes
    -----
    Ours; no other factor has a smaller error over the whole of [(1-eps) z, z].

    Examples
    --------
    >>> factor, error = centred(0.5)
    >>> f"{float(factor):.6f} {float(error):.6f}"
    '1.333333 0.333333'
    """
    eps = np.asarray(eps, np.float64)
    if not ((eps >= 0.0) & (eps <= 1.0)).all():
        raise InvalidParameter(f"eps must be in [0, 1], got eps={eps!r}.")
    factor = 1.0 / (1.0 - 0.5 * eps)
    above = factor - 1.0  # exact, for 1 <= factor <= 2
    below = (factor * eps - above) * (1.0 + 8.0 * _UNIT)  # 1 - factor (1 - eps)
    return factor, np.maximum(above, below)


@implements("baykal2022_patch_mean")
def patch_mean_sensitivities(shares: np.ndarray) -> np.ndarray:
    """Return the largest mean over the patches of an image's shares; refuted as a bound, kept to show.

    A sum of dropped values says nothing on the patch with the largest loss, and the total may be below 1.

    Parameters
    ----------
    shares : (points, patches, edges) float64 in [0, 1], g_j(x, p), all 0 where the patch's sum is 0

    Returns
    -------
    (edges,) float64, max over x of the mean over p

    Notes
    -----
    The deterministic method in the released code of Baykal et al. (2022), arXiv:1910.05422.

    Examples
    --------
    >>> patch_mean_sensitivities(np.eye(4)[None]).tolist()
    [0.25, 0.25, 0.25, 0.25]
    """
    return np.asarray(shares, np.float64).mean(axis=1).max(axis=0)


@implements("baykal2022_sipp_det", "baykal2022_patch_mean")
def patch_sensitivities(shares: np.ndarray) -> np.ndarray:
    """Return the largest share over points and patches: each patch counts as a point, and the bound holds for each.

    Parameters and returns as in `patch_mean_sensitivities`.

    Examples
    --------
    >>> patch_sensitivities(np.eye(4)[None]).tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    return np.asarray(shares, np.float64).max(axis=(0, 1))


def _groups(values: np.ndarray, indptr: np.ndarray) -> np.ndarray:
    """The group of each edge; InvalidParameter where a value is no sensitivity or the groups do not cover the edges."""
    if values.ndim != 1 or not (values >= 0).all():
        raise InvalidParameter(f"values must be a row of numbers >= 0 without NaN, got shape {values.shape}.")
    if indptr[0] != 0 or indptr[-1] != len(values) or (np.diff(indptr) < 0).any():
        raise InvalidParameter(f"indptr must rise from 0 to {len(values)}, the number of edges.")
    return np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
