"""Arrays of which most entries are 0, stored as indices and values; what comes back is the same to the last bit.

An array NAME is stored as it is, or, where that takes fewer bytes, as three:

    NAME@shape      (dimensions,) int64
    NAME@indices    (entries,) places in the array laid out row by row, ascending, in the smallest unsigned type
    NAME@values     (entries,) what stands there, in the array's own type

A negative zero and a NaN are entries; only places whose bits are all 0 are left out.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from boundlab._errors import InvalidParameter

_PARTS = ("shape", "indices", "values")


def sparse_arrays(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what to store for `arrays`: each as it is, or as shape, indices and values where that is smaller.

    Parameters
    ----------
    arrays : mapping of str to array
        Of numbers or booleans; no name may hold an "@".

    Returns
    -------
    dict of str to array
        `dense_arrays` gives back the same arrays, bit for bit.

    Raises
    ------
    InvalidParameter
        If a name holds an "@".

    Examples
    --------
    >>> stored = sparse_arrays({"w": np.array([[0.0, 0.0, 0.0, 2.5], [0.0, 0.0, 0.0, 0.0]])})
    >>> stored["w@indices"], stored["w@values"]
    (array([3], dtype=uint8), array([2.5]))
    """
    stored: dict[str, np.ndarray] = {}
    for name, given in arrays.items():
        if "@" in name:
            raise InvalidParameter(f"a name to store must be without an '@', got {name!r}.")
        array = np.array(given, order="C")
        bits = array.reshape(-1).view(np.uint8).reshape(array.size, array.itemsize)
        places = np.flatnonzero(bits.any(axis=1))
        indices = places.astype(np.min_scalar_type(max(0, array.size - 1)))
        parts = (np.array(array.shape, dtype=np.int64), indices, array.reshape(-1)[places])
        if array.ndim and sum(part.nbytes for part in parts) < array.nbytes:
            stored |= {f"{name}@{part}": value for part, value in zip(_PARTS, parts, strict=True)}
        else:
            stored[name] = array
    return stored


def dense_arrays(stored: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays that `sparse_arrays` was given; arrays that never were sparse are returned as they are.

    Raises
    ------
    InvalidParameter
        If a part is missing, or indices are not ascending places of the array.
    """
    arrays: dict[str, np.ndarray] = {}
    for key, found in stored.items():
        name, at, part = key.partition("@")
        if not at:
            arrays[key] = found
        elif part not in _PARTS or any(f"{name}@{other}" not in stored for other in _PARTS):
            raise InvalidParameter(f"a sparse array must be stored as {', '.join(_PARTS)}, got {key} without another.")
        elif part == "shape":
            arrays[name] = _dense(name, *(stored[f"{name}@{other}"] for other in _PARTS))
    return arrays


def _dense(name: str, shape: np.ndarray, indices: np.ndarray, values: np.ndarray) -> np.ndarray:
    whole = shape.ndim == indices.ndim == values.ndim == 1 and shape.dtype.kind in "iu" and indices.dtype.kind in "iu"
    if not (whole and len(indices) == len(values) and (shape >= 0).all()):
        raise InvalidParameter(f"{name} must be stored as whole numbers and as many values as indices, got others.")
    places, size = indices.astype(np.int64), int(np.prod(shape, dtype=object))
    if len(places) and (places[0] < 0 or places[-1] >= size or (np.diff(places) <= 0).any()):
        raise InvalidParameter(f"{name} must have ascending indices below its {size} entries, got others.")
    if size > 1 << 34:
        raise InvalidParameter(f"{name} must have at most 2**34 entries, got {size}.")
    try:
        array = np.zeros(size, dtype=values.dtype)
    except MemoryError:
        raise InvalidParameter(f"{name} must fit into memory, got {size} entries.") from None
    array[places] = values
    return array.reshape(shape)
