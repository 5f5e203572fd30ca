"""One file per paper: who matters, and how many draws suffice.

The families stand in the order of the papers; a file's METHODS are its compressors.
"""

from boundlab.compressors import (
    baselines,
    corenet,
    corenet_neurons,
    filter_baselines,
    neuron_coresets,
    pfp,
    sipp,
    snip,
)
from boundlab.compressors.method import Compressor, Method

CERTIFIED: tuple[type[Compressor], ...] = corenet.METHODS + sipp.METHODS
"""Methods that a theorem on whole nets speaks of, on fully connected nets."""

METHODS: tuple[type[Method], ...] = (
    *CERTIFIED,
    *corenet_neurons.METHODS,
    corenet_neurons.CoreNetPlusPlus,
    *neuron_coresets.METHODS,
    *pfp.METHODS,
    *baselines.BASELINES,
    snip.SNIP,
    *filter_baselines.METHODS,
)
"""All methods."""

__all__ = ["CERTIFIED", "METHODS"]
