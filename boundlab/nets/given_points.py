"""Points that a user gives, as a module reads them; what does not fit is refused at this border."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from boundlab._errors import InvalidParameter, one_line

if TYPE_CHECKING:
    import torch


def finite(name: str, value: Any) -> np.ndarray:
    """Return `value` as an array of finite real numbers with an axis of points, or raise InvalidParameter."""
    if np.ma.is_masked(value):
        raise InvalidParameter(f"{name} must have no masked entries, whose values are unknown, got some.")
    try:
        array = np.asarray(value)
    except Exception:
        raise InvalidParameter(f"{name} must be an array of numbers, got {type(value).__name__}.") from None
    if array.ndim < 1 or array.dtype.kind not in "buif":
        raise InvalidParameter(f"{name} must be numbers of shape (points, ...), got {array.dtype} of {array.shape}.")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InvalidParameter(f"{name} must be finite, got NaN or infinite entries.")
    return array


def fingerprints(points: np.ndarray) -> list[bytes]:
    """One 128-bit digest per point of (points, ...): equal points, equal digests, in whatever precision they come."""
    with np.errstate(over="ignore"):
        rows = np.ascontiguousarray(points, dtype=np.float32) + np.float32(0.0)  # one zero
    return [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in rows]


def tensor(module: torch.nn.Module, x: np.ndarray) -> torch.Tensor:
    """Points as a tensor of their own, as the module reads them: it may overwrite its input."""
    import torch

    kind = next((p.dtype for p in module.parameters()), torch.float32)
    if np.asarray(x).dtype.kind in "iu" and any(
        isinstance(m, (torch.nn.Embedding, torch.nn.EmbeddingBag)) for m in module.modules()
    ):
        kind = torch.int64
    return torch.tensor(np.ascontiguousarray(x), dtype=kind)


def run(module: torch.nn.Module, x: np.ndarray) -> Any:
    """The outputs of a module for points of the user's, or InvalidParameter."""
    given = tensor(module, x)
    if given.is_floating_point() and not given.isfinite().all():
        raise InvalidParameter(f"points must be finite as {given.dtype}, got entries that are too large.")
    try:
        return module(given)
    except InvalidParameter:
        raise
    except Exception as fault:  # whatever the module's own code raises
        raise InvalidParameter(f"a net must run on points of shape {x.shape}, got {one_line(fault)}.") from fault
