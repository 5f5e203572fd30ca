"""From which error on a group of edges can lose any of them: below it every plan keeps the group exactly."""

from __future__ import annotations

import numpy as np

from boundlab._errors import InvalidParameter, choice, probability
from boundlab._theory import implements
from boundlab.coresets.sensitivity_sampling import SLACK, Rule, certified_eps

ROUNDING = 1e-11


@implements("boundlab_no_removal_detector")
def smallest_eps(
    edges: np.ndarray, total: np.ndarray, delta: float, *, K: float = 1.0, rule: Rule = Rule.KL
) -> np.ndarray:
    """Return the smallest eps at which `sample_size` is below the number of edges, so that sampling can spare one.

        kl          the eps that edges - 1 draws certify
        bernstein   the root of eps² (edges - 1) = (2 + 2 eps/3) S K ln(2/delta)

    At any smaller eps the group is kept exactly. Above 1 the promise is void of content: the zero group keeps it too.

    Parameters
    ----------
    edges : array (R,), whole numbers >= 1; with one edge nothing can be spared, and the result is inf
    total : array (R,), total sensitivities S >= 0; where S = 0 nothing is drawn, and the result is 0
    delta : float in (0, 1), failure probability of one group
    K : float >= 1, by how much a share may exceed its sensitivity
    rule : kl or bernstein

    Returns
    -------
    array (R,), >= 0, rounded up

    Raises
    ------
    InvalidParameter
        If an argument is out of its range, or the rule has no such inverse.

    Notes
    -----
    ``proofs_checks/boundlab_no_removal_detector.py``.

    Examples
    --------
    >>> fan_in, S = np.array([784, 300, 100]), np.array([16.1, 14.4, 8.3])
    >>> smallest_eps(fan_in, S, 2 * np.exp(-9.7), rule=Rule.BERNSTEIN).round(2)
    array([0.7 , 1.13, 1.57])
    """
    edges, s = np.broadcast_arrays(np.asarray(edges, np.float64), np.asarray(total, np.float64))
    rule, delta = choice("rule", rule, Rule), probability("delta", delta)
    if rule not in (Rule.KL, Rule.BERNSTEIN):
        raise InvalidParameter(f"rule must be kl or bernstein, got {rule}.")
    if not (np.all(edges >= 1) and np.all(s >= 0) and 1 <= K < np.inf):
        raise InvalidParameter(f"edges >= 1, S >= 0 and a finite K >= 1 are needed, got K={K!r}.")
    spare = np.maximum(edges - 1.0, 1.0)
    if rule is Rule.KL:
        eps = certified_eps(s, spare, delta, K=K)
    else:
        a = s * K * (1.0 + SLACK) * np.log(2.0 / delta)
        eps = (a / 3.0 + np.sqrt(a * a / 9.0 + 2.0 * a * spare)) / spare * (1.0 + ROUNDING)
    return np.where(s == 0, 0.0, np.where(edges > 1, eps, np.inf))
