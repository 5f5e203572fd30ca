"""SNIP (arXiv:1810.02340): keep the weights that the loss feels most; one pass over labelled data, no training.

    s_ij = |w_ij dL/dw_ij|,     L the mean cross-entropy on the labelled points

is by how much, to first order, the loss moves as w_ij is switched off. It is meant for a net before it is trained, and
says nothing about the outputs: no theorem.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from boundlab._errors import InvalidParameter
from boundlab.compressors.baselines import largest_of_all, scored
from boundlab.compressors.method import Batches, Compressor, Net
from boundlab.nets.gradients import gradients
from boundlab.records import SamplePlan


@dataclass(frozen=True, kw_only=True, eq=False)
class SNIP(Compressor):
    """Keep the `nnz` weights of largest |w dL/dw| in all layers together, exactly `nnz`; each layer keeps its largest.

    `labels` are those of the points that `compress` is given, in their order: (points,), whole numbers 0..classes-1.

    Source: Lee, Ajanthan and Torr 2019, arXiv:1810.02340, with one pass over all points instead of one batch, as we
    understand the paper. Their scores add up to 1; that factor changes no order.
    """

    nnz: int
    labels: np.ndarray = field(repr=False)
    name: ClassVar[str] = "snip"
    modules: ClassVar[bool] = True

    def plan(self, network: Net, points: np.ndarray | Batches) -> tuple[SamplePlan, ...]:
        """Plan all layers by one threshold on the connection sensitivities."""
        slopes = gradients(network, points, self.labels)
        if not any(g.any() for g in slopes):
            raise InvalidParameter("the loss must have a gradient, got 0 in every weight: nothing can be ranked.")
        return largest_of_all(
            [
                scored(layer.weight, np.abs(layer.weight * g), points=len(self.labels))
                for layer, g in zip(network.layers, slopes, strict=True)
            ],
            self.nnz,
        )
