"""How much a neuron can matter to the layer that reads it: its largest share over readers, signs and points."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from boundlab._theory import implements
from boundlab.nets.importance import sensitivities
from boundlab.network import Layer


@implements("baykal2019_corenet_plus")
def neuron_sensitivities(layer: Layer, vectors: Sequence[np.ndarray]) -> np.ndarray:
    """Return s_j = max over points, reading neurons i and signs of |w_ij| a_j / z_i^±, one number for each input.

        1 <= sum_j s_j <= min(in, 2 out points)      where some point activates some group

    A neuron with s_j = 0 contributes nothing on these points. The sum is at least the total sensitivity of every group
    of the layer, so that one sequence of draws of neurons needs more draws than a single group, and serves them all.

    Parameters
    ----------
    layer : weight (out, in): the layer that READS the neurons
    vectors : arrays (points, in), all entries >= 0: what it reads

    Returns
    -------
    (in,) float64 in [0, 1]

    Notes
    -----
    CoreNet+ of arXiv:1804.05345 samples neurons; the paper's constants are not known to us, and this definition is
    ours. It is that of `channel_sensitivities` for filters of one position, from the kernels of single edges.

    Examples
    --------
    >>> layer = Layer(weight=np.array([[1.0, 3.0], [2.0, -1.0]]), bias=np.zeros(2), relu=True)
    >>> neuron_sensitivities(layer, [np.array([[1.0, 1.0]])]).tolist()
    [1.0, 1.0]
    """
    own = sensitivities(layer, vectors, theorem="baykal2019_corenet_plus")
    best = np.zeros(layer.weight.shape[1])
    np.maximum.at(best, own.groups.columns, own.values)
    return best
