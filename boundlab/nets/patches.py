"""Patches: the vectors that the rows of a linear or convolutional layer are multiplied with, one for each place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

BLOCK = 1 << 22
"""Entries of the largest block of patches that is ever laid out."""


def patches(m: Any, x: torch.Tensor, group: int) -> Iterator[np.ndarray]:
    """The patches of one group that a layer reads, (points, positions, in) float64, in blocks of points."""
    import torch

    if isinstance(m, torch.nn.Linear):
        places = int(np.prod(x.shape[1:-1]))
        rows = x.reshape(x.shape[0] if x.ndim > 1 else 1, places, x.shape[-1])
        step = max(1, BLOCK // max(1, places * x.shape[-1]))
        for start in range(0, len(rows), step):
            yield rows[start : start + step].to(torch.float64, copy=True).numpy()
        return
    dims = len(m.kernel_size)
    x = x if x.ndim == dims + 2 else x[None]
    width = m.in_channels // m.groups
    x = x[:, group * width : (group + 1) * width]
    before, after = _padding(m)
    flat = [side for pair in zip(reversed(before), reversed(after), strict=True) for side in pair]
    x = torch.nn.functional.pad(x, flat)
    spans = [d * (k - 1) + 1 for d, k in zip(m.dilation, m.kernel_size, strict=True)]
    for axis, (span, stride, dilation) in enumerate(zip(spans, m.stride, m.dilation, strict=True)):
        x = x.unfold(2 + axis, span, stride)[..., ::dilation]
    # (points, channels, *places, *kernel) -> (points, places, channels * kernel)
    x = x.permute(0, *range(2, 2 + dims), 1, *range(2 + dims, 2 + 2 * dims))
    places = int(np.prod(x.shape[1 : 1 + dims]))
    inner = width * int(np.prod(m.kernel_size))
    step = max(1, BLOCK // max(1, places * inner))
    for start in range(0, len(x), step):
        block = x[start : start + step]
        yield block.reshape(len(block), places, inner).to(torch.float64, copy=True).numpy()


def _padding(m: Any) -> tuple[list[int], list[int]]:
    """Zeros before and after each axis; for "same" the longer side is the one after, as torch has it."""
    if m.padding == "valid":
        return [0] * len(m.kernel_size), [0] * len(m.kernel_size)
    if m.padding == "same":
        total = [d * (k - 1) for d, k in zip(m.dilation, m.kernel_size, strict=True)]
        return [t // 2 for t in total], [t - t // 2 for t in total]
    return list(m.padding), list(m.padding)
