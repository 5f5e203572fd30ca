"""Channels of a torch module: which can be removed, who reads them, and the smaller module without them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from boundlab._errors import UnsupportedLayer
from boundlab.nets.module_net import ModuleNet
from boundlab.network import Space


def spaces(net: ModuleNet) -> tuple[Space, ...]:
    """Return the channels that can be removed."""
    raise UnsupportedLayer(f"channels of a {type(net.module).__name__} cannot be removed yet.")


def shrink(net: ModuleNet, scales: Sequence[np.ndarray]) -> ModuleNet:
    """Return the smaller net."""
    raise UnsupportedLayer(
        f"channels of a {type(net.module).__name__} cannot be removed yet, got {len(scales)} spaces."
    )
