"""Points that a user gives, as a module reads them; what does not fit is refused at this border."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from boundlab._errors import InvalidParameter, one_line

if TYPE_CHECKING:
    import torch

_SMALL, _LARGE = 2.0**-100, 2.0**100  # single precision has digits to spare between them


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
    """One 128-bit digest per point of (points, ...): equal points, equal digests, in whatever precision they come.

    What single precision cannot tell apart has one digest too; points beyond its range are first brought into it, each
    by the power of two of its largest entry.
    """
    with np.errstate(over="ignore"):
        rows = np.ascontiguousarray(points, dtype=np.float32) + np.float32(0.0)  # one zero
    found = []
    for given, row in zip(points, rows, strict=True):
        top, salt = float(np.abs(row).max(initial=0.0)), b""
        if not _SMALL < top < _LARGE and np.any(given):
            exponent = math.frexp(float(np.abs(np.asarray(given, np.float64)).max()))[1]
            row = np.ldexp(np.asarray(given, np.float64), -exponent).astype(np.float32) + np.float32(0.0)
            salt = exponent.to_bytes(2, "little", signed=True)
        found.append(hashlib.blake2b(row.tobytes() + salt, digest_size=16).digest())
    return found


def tensor(module: torch.nn.Module, x: np.ndarray) -> torch.Tensor:
    """Points as a tensor of their own, as the module reads them: it may overwrite its input."""
    import torch

    kind = next((p.dtype for p in module.parameters()), torch.float32)
    if np.asarray(x).dtype.kind in "iu" and any(
        isinstance(m, (torch.nn.Embedding, torch.nn.EmbeddingBag)) for m in module.modules()
    ):
        kind = torch.int64
    wide = np.asarray(x).dtype.itemsize > 8  # long doubles, which torch does not know
    return torch.tensor(np.ascontiguousarray(x, np.float64 if wide else x.dtype.newbyteorder("=")), dtype=kind)


def run(module: torch.nn.Module, x: np.ndarray, tensors: dict[str, torch.Tensor] | None = None) -> Any:
    """The outputs of a module for points of the user's, or InvalidParameter; `tensors` in the place of its own."""
    import torch

    given = tensor(module, x)
    if given.is_floating_point() and not given.isfinite().all():
        raise InvalidParameter(f"points must be finite as {given.dtype}, got entries that are too large.")
    try:
        return module(given) if tensors is None else torch.func.functional_call(module, tensors, (given,))
    except InvalidParameter:
        raise
    except Exception as fault:  # whatever the module's own code raises
        raise InvalidParameter(f"a net must run on points of shape {x.shape}, got {one_line(fault)}.") from fault
