"""One door to a chain: a fully connected net as it stands, a torch module by its graph."""

from __future__ import annotations

import numpy as np

from boundlab._errors import UnsupportedLayer
from boundlab.nets.feedforward import FeedForward, feed_forward
from boundlab.nets.module_net import ModuleNet
from boundlab.network import Network

_FIRST = 64  # points on which the chain and the module are compared


def as_feed_forward(net: Network | ModuleNet, x: np.ndarray) -> FeedForward:
    """View a net as a chain on flat points; a module is compared with its chain on the first points of x.

    Parameters
    ----------
    x : array (points, ...)
        As the net reads them.

    Raises
    ------
    UnsupportedLayer
        If a module is no chain of the operations that a message can name, or computes something else than its chain.
    PremiseViolated
        If it holds batch norms.
    """
    if isinstance(net, Network):
        net.require_finite(x)
        return feed_forward(net)
    from boundlab.nets.feedforward_of_module import feed_forward_of_module  # it needs torch

    chain = feed_forward_of_module(net.module, x.shape[1:])
    first = np.asarray(x[:_FIRST], np.float64)
    have, want = chain(first.reshape(len(first), -1)), net(x[:_FIRST])
    if have.shape != want.shape or not np.allclose(have, want, rtol=1e-3, atol=1e-3 * float(np.abs(want).max())):
        raise UnsupportedLayer("a module must compute what its chain computes, got other outputs.")
    return chain
