"""Labelled points and input boxes: the data that a guarantee is asked about."""

from __future__ import annotations

import gzip
import io
import json
import math
import os
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from boundlab._errors import InvalidParameter, matrix, one_line, positive_int
from boundlab.files import arrays_of_npz, call_named, readable_file


@dataclass(frozen=True, kw_only=True, eq=False)
class DataSet:
    """Training points, and test points if there are any; or a box of inputs, `lower` and `upper` only.

    Raises InvalidParameter where an array is not finite, empty, or at odds with another.
    """

    name: str
    x_train: np.ndarray | None = None  # (points, features) float64
    y_train: np.ndarray | None = None  # (points,) int64, at least two classes
    x_test: np.ndarray | None = None
    y_test: np.ndarray | None = None
    lower: np.ndarray | None = None  # (features,) float64, lower <= upper
    upper: np.ndarray | None = None

    def __post_init__(self) -> None:
        for one, other in (("x_train", "y_train"), ("x_test", "y_test"), ("lower", "upper")):
            if (getattr(self, one) is None) != (getattr(self, other) is None):
                raise InvalidParameter(f"{one} and {other} must be given together, got only one of them.")
        if (self.x_train is None) == (self.lower is None) or (self.x_train is None and self.x_test is not None):
            raise InvalidParameter("a data set must hold either training points or a box, got both or neither.")
        if self.lower is not None:
            self._set_box()
            return
        columns = None
        for part in ("train", "test"):
            x = getattr(self, f"x_{part}")
            if x is not None:
                x = _flattened(f"x_{part}", x, columns)
                columns = x.shape[1]
                object.__setattr__(self, f"x_{part}", x)
                y = _labels(f"y_{part}", getattr(self, f"y_{part}"), len(x))
                object.__setattr__(self, f"y_{part}", y)
        if self.y_train is not None and self.y_train.min() == self.y_train.max():
            raise InvalidParameter(f"y_train must hold at least two classes, got only class {self.y_train[0]}.")

    @property
    def features(self) -> int:
        """Numbers per input point."""
        array = self.lower if self.x_train is None else self.x_train
        return 0 if array is None else array.shape[-1]

    def sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Return `n` points drawn uniformly from the box, shape (n, features)."""
        n = positive_int("n", n)
        if self.lower is None or self.upper is None:
            raise InvalidParameter(f"sample must be asked of a box, got the points of {self.name}.")
        return rng.uniform(self.lower, self.upper, (n, self.features))

    def _set_box(self) -> None:
        bounds = []
        for name in ("lower", "upper"):
            bound = _numbers(name, getattr(self, name))
            if bound.ndim != 1 or bound.size == 0:
                raise InvalidParameter(f"{name} must have shape (features,), got {bound.shape}.")
            bound = matrix(name, bound[None])
            bounds.append(bound[0])
            object.__setattr__(self, name, bound[0])
        lower, upper = bounds
        if lower.shape != upper.shape:
            raise InvalidParameter(f"lower and upper must have equal lengths, got {lower.size} and {upper.size}.")
        if (upper < lower).any():
            k = int(np.argmax(upper < lower))
            raise InvalidParameter(f"upper must not be below lower, got {upper[k]:g} < {lower[k]:g} at coordinate {k}.")
        with np.errstate(over="ignore"):
            if not np.isfinite(upper - lower).all():
                raise InvalidParameter("a box must have a finite width in every coordinate, got one above 1e308.")
        if (upper == lower).all():
            raise InvalidParameter("a box must have a positive width in at least one coordinate, got a single point.")


def load_data(source: str, *, scale: float = 1.0, shift: float = 0.0) -> DataSet:
    """Read a data set; the points are what the net reads: scale * x + shift, in double precision.

    Parameters
    ----------
    source : str
        ``digits`` (in scikit-learn, 8 x 8 pixels divided by 16; 1100 training and 697 test points); ``mnist``,
        ``fashion_mnist``, ``cifar10`` (pixels divided by 255; read from the folder named by $BOUNDLAB_DATA, or else
        from OpenML, with scikit-learn's cache); ``FILE.npz`` with x_train, y_train[, x_test, y_test] used as they
        are, or with a box lo, hi[, mean, range]; ``FILE.json`` with such a box, or ``FILE.json#NAME`` for the
        "input_domain" of the entry so named in a list; or ``module:function``, importable from here, which returns a
        DataSet, a dict with the names above, or a tuple in the order above. Points of more than one dimension are
        flattened; CIFAR-10 is flattened colour plane by colour plane, as torch does it.
    scale, shift : float
        Finite numbers, `scale` not 0: a net trained on (x - 0.5) / 0.5 reads ``scale=2, shift=-1``. A box with mean
        and range is first mapped to (x - mean) / range.

    Returns
    -------
    DataSet
        `x_*` of shape (points, features), float64, and `y_*`, int64; or a box.

    Raises
    ------
    InvalidParameter
        If the source is missing, broken, a pickle, or of an unknown kind, or breaks a rule of `DataSet`.

    Examples
    --------
    >>> data = load_data("digits")
    >>> data.x_train.shape, data.x_test.shape, float(data.x_train.max())
    ((1100, 64), (697, 64), 1.0)
    """
    source = os.fspath(source)
    for name, value in (("scale", scale), ("shift", shift)):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise InvalidParameter(f"{name} must be a finite number, got {value!r}.")
    if scale == 0:
        raise InvalidParameter("scale must not be 0, which makes all points equal, got scale=0.")
    return _scaled(_read(source), float(scale), float(shift))


def _read(source: str) -> DataSet:
    if source == "digits":
        return _digits()
    if source in _IMAGES:
        return _images(source)
    if re.fullmatch(r"[\w.]+:[\w.]+", source):
        return _from_object(call_named(source), source)
    file, _, entry = source.rpartition("#") if re.search(r"\.json#.", source) else (source, "", "")
    readable_file(file, "data set")
    if file.endswith(".npz"):
        return _from_names(arrays_of_npz(file), Path(file).stem, source)
    if file.endswith(".json"):
        return _from_names(_domain(file, entry), entry or Path(file).stem, source)
    kinds = f"digits, {', '.join(_IMAGES)}, .npz, .json or module:function"
    raise InvalidParameter(f"a data set must come from {kinds}, got {source}.")


def _scaled(data: DataSet, scale: float, shift: float) -> DataSet:
    if scale == 1.0 and shift == 0.0:
        return data
    with np.errstate(over="ignore", invalid="ignore"):  # DataSet refuses what overflows
        if data.lower is not None and data.upper is not None:
            ends = [scale * end + shift for end in (data.lower, data.upper)]
            return DataSet(name=data.name, lower=np.minimum(*ends), upper=np.maximum(*ends))
        x_train, x_test = (None if x is None else scale * x + shift for x in (data.x_train, data.x_test))
    return DataSet(name=data.name, x_train=x_train, y_train=data.y_train, x_test=x_test, y_test=data.y_test)


# ------------------------------------------------------------------------------------------------- what users bring


def _from_object(found: Any, source: str) -> DataSet:
    """Turn what a function returned into a DataSet."""
    if isinstance(found, DataSet):
        return found
    if isinstance(found, tuple):
        if len(found) not in (2, 4):
            raise InvalidParameter(f"{source} must return 2 or 4 arrays in a tuple, got {len(found)}.")
        found = dict(zip(("x_train", "y_train", "x_test", "y_test"), found, strict=False))
    if not isinstance(found, Mapping):
        raise InvalidParameter(f"{source} must return a DataSet, a dict or a tuple, got {type(found).__name__}.")
    return _from_names(found, source, source)


def _from_names(arrays: Mapping[str, Any], name: str, source: str) -> DataSet:
    """Turn named arrays, points or a box, into a DataSet; other names are refused beside points."""
    points = ("x_train", "y_train", "x_test", "y_test")
    if {"lo", "hi"} <= set(arrays) and not set(points) & set(arrays):
        return _box(arrays, name)
    if not {"x_train", "y_train"} <= set(arrays) or set(arrays) - set(points):
        found = ", ".join(sorted(map(str, arrays))[:12]) or "nothing"
        rule = "must hold x_train, y_train[, x_test, y_test] or a box lo, hi[, mean, range]"
        raise InvalidParameter(f"{source} {rule}, got {found}.")
    return DataSet(name=name, **{key: arrays[key] for key in points if key in arrays})


def _box(arrays: Mapping[str, Any], name: str) -> DataSet:
    """Map lo and hi to the net's input, (x - mean) / range."""
    lo, hi = (_numbers(key, arrays[key]) for key in ("lo", "hi"))
    mean, width = (_numbers(key, arrays.get(key, default)) for key, default in (("mean", 0.0), ("range", 1.0)))
    if not (np.isfinite(width).all() and (width > 0).all()):
        raise InvalidParameter(f"range must be finite and positive, got a smallest value of {np.min(width):g}.")
    DataSet(name=name, lower=lo, upper=hi)  # the rules hold for what was given, not only for what it becomes
    try:
        lower, upper = (np.broadcast_to((end - mean) / width, np.shape(end)) for end in (lo, hi))
    except ValueError:
        raise InvalidParameter(
            f"mean and range must be numbers or have {lo.size} entries, as lo has, got {mean.size} and {width.size}."
        ) from None
    return DataSet(name=name, lower=lower, upper=upper)


def _domain(file: str, entry: str) -> Mapping[str, Any]:
    """Return the box in a JSON file: the file itself, or the "input_domain" of the entry so named."""
    try:
        content = json.loads(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidParameter(f"{file} must be a JSON file, got {one_line(error)}.") from None
    if not entry:
        if not isinstance(content, Mapping):
            raise InvalidParameter(f"{file} must hold a box lo, hi, or be asked as {file}#NAME, got a list.")
        return content
    if not isinstance(content, list):
        raise InvalidParameter(f"{file} must be a list of entries to be asked for #{entry}, got one entry.")
    seen: list[str] = []
    while True:
        named = [item for item in content if isinstance(item, Mapping) and item.get("name") == entry]
        if not named:
            raise InvalidParameter(f"{file} must hold an entry named {entry}, got none.")
        domains = [item["input_domain"] for item in named if item.get("input_domain") is not None]
        if len(domains) != 1:
            raise InvalidParameter(f"{entry} in {file} must have one input_domain, got {len(domains)}.")
        seen.append(entry)
        if isinstance(domains[0], Mapping):
            return domains[0]
        entry = str(domains[0]).removeprefix("as ")
        if not str(domains[0]).startswith("as ") or entry in seen:
            raise InvalidParameter(f"{seen[-1]} in {file} must lead to a box, got input_domain {domains[0]!r}.")


def _numbers(name: str, value: Any) -> np.ndarray:
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InvalidParameter(f"{name} must be numbers that float64 can hold, got {type(value).__name__}.") from None


def _flattened(name: str, value: Any, columns: int | None) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype.kind not in "buif":
        raise InvalidParameter(f"{name} must hold real numbers, got dtype {array.dtype}.")
    if array.ndim > 2 and array.size:
        array = array.reshape(len(array), -1)
    if array.size == 0:
        raise InvalidParameter(f"{name} must hold at least one point of at least one feature, got {array.shape}.")
    array = matrix(name, array)
    if columns is not None and array.shape[1] != columns:
        raise InvalidParameter(f"{name} must have {columns} features, as x_train has, got {array.shape[1]}.")
    return array


def _labels(name: str, value: Any, points: int) -> np.ndarray:
    array = np.asarray(value)
    if array.shape != (points,):
        raise InvalidParameter(f"{name} must have shape ({points},), one label per point, got {array.shape}.")
    if array.dtype.kind not in "uif" or not np.array_equal(array, np.floor(array)):
        raise InvalidParameter(f"{name} must hold whole numbers, got dtype {array.dtype}.")
    if not (array.min() >= 0 and array.max() < 2**31):
        raise InvalidParameter(f"{name} must be in 0..2^31-1, got {array.min():g}..{array.max():g}.")
    return array.astype(np.int64)


# ---------------------------------------------------------------------------------------------------- named data sets


def _digits() -> DataSet:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    x, y = np.asarray(x) / 16.0, np.asarray(y)
    order = np.random.default_rng(0).permutation(len(x))
    train, test = order[:-697], order[-697:]
    return DataSet(name="digits", x_train=x[train], y_train=y[train], x_test=x[test], y_test=y[test])


def _images(name: str) -> DataSet:
    """Read a set of images, from $BOUNDLAB_DATA if that is set, else from OpenML."""
    path = Path(os.environ.get("BOUNDLAB_DATA", "")) / name
    reader, openml, train = _IMAGES[name]
    if "BOUNDLAB_DATA" in os.environ and path.is_dir():
        try:
            x_train, y_train, x_test, y_test = reader(path)
        except InvalidParameter:
            raise
        except Exception as error:
            raise InvalidParameter(f"{path} must hold whole files of {name}, got {one_line(error)}.") from None
    else:
        x, y = _fetched(name, openml)
        x_train, y_train, x_test, y_test = x[:train], y[:train], x[train:], y[train:]
    parts = {"y_train": y_train, "y_test": y_test}
    for key, pixels in (("x_train", x_train), ("x_test", x_test)):
        array = np.asarray(pixels).reshape(len(pixels), -1).astype(np.float64)
        array /= 255.0
        parts[key] = array
    return DataSet(name=name, **parts)


def _fetched(name: str, openml: str) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import fetch_openml

    try:
        x, y = fetch_openml(openml, version=1, as_frame=False, return_X_y=True, parser="auto")
        return np.asarray(x), np.asarray(y).astype(np.int64)
    except Exception as error:
        rule = f"{name} must be a folder in $BOUNDLAB_DATA, or be fetched from OpenML"
        raise InvalidParameter(f"{rule}, got no such folder and {one_line(error)}.") from None


Four = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def _idx_folder(folder: Path) -> Four:
    """Read the four IDX files of MNIST and of Fashion-MNIST."""
    files = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    x_train, y_train, x_test, y_test = (_idx(folder / f"{file}-ubyte.gz") for file in files)
    return x_train, y_train, x_test, y_test


def _idx(path: Path) -> np.ndarray:
    data = gzip.decompress(path.read_bytes())
    if data[:3] != b"\x00\x00\x08":
        raise ValueError(f"{path.name} without the header of an IDX file of bytes")
    sizes = np.frombuffer(data, ">u4", count=data[3], offset=4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(tuple(int(size) for size in sizes))


def _cifar_folder(folder: Path) -> Four:
    """Read lossless WebP sheets of 32 x 32 images, and their labels."""
    with np.load(folder / "cifar10_labels.npz", allow_pickle=False) as stored:
        y_train, y_test = stored["train"], stored["test"]
    return _sheets(folder / "cifar10_train.zip"), y_train, _sheets(folder / "cifar10_test.zip"), y_test


def _sheets(path: Path) -> np.ndarray:
    try:
        from PIL import Image
    except ImportError:
        raise InvalidParameter("reading cifar10 needs Pillow: pip install pillow.") from None
    images = []
    with zipfile.ZipFile(path) as archive:
        for name in sorted(name for name in archive.namelist() if name.endswith(".webp")):
            sheet = np.asarray(
                Image.open(io.BytesIO(archive.read(name))).convert("RGB")
            )  # (rows * 32, columns * 32, 3)
            rows, columns = sheet.shape[0] // 32, sheet.shape[1] // 32
            tiles = sheet.reshape(rows, 32, columns, 32, 3).transpose(0, 2, 4, 1, 3)
            images.append(tiles.reshape(rows * columns, 3, 32, 32))
    return np.concatenate(images)


_IMAGES: dict[str, tuple[Callable[[Path], Four], str, int]] = {  # reader, name on OpenML, training points
    "mnist": (_idx_folder, "mnist_784", 60000),
    "fashion_mnist": (_idx_folder, "Fashion-MNIST", 60000),
    "cifar10": (_cifar_folder, "CIFAR_10", 50000),
}
