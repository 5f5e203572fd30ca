"""What crosses the border to disk: files are read without unpickling, and written whole or not at all."""

from __future__ import annotations

import importlib
import os
import re
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from boundlab._errors import BoundlabError, InvalidParameter, one_line

PICKLES = (".pt", ".pth", ".th", ".pkl", ".pickle", ".bin", ".ckpt", ".joblib")
"""Suffixes of files that are pickles as a rule: refused unread."""


def call_named(source: str) -> Any:
    """Import ``module:function`` with the current folder importable, call it without arguments, return its result.

    Raises
    ------
    InvalidParameter
        If there is no such function, or it raises: the message names the exception.
    """
    return _imported(source, lambda found: found())


def named(source: str) -> Any:
    """Import ``module:name`` with the current folder importable and return it.

    Raises
    ------
    InvalidParameter
        If there is no such name, or the module raises: the message names the exception.
    """
    return _imported(source, lambda found: found)


def _imported(source: str, use: Callable[[Any], Any]) -> Any:
    module, _, name = source.partition(":")
    if not module or not name or not re.fullmatch(r"[\w.]+", module + name):
        raise InvalidParameter(f"a function must be named as module:function, got {source!r}.")
    with _current_folder_importable():
        try:
            found: Any = importlib.import_module(module)
            for part in name.split("."):
                found = getattr(found, part)
            return use(found)
        except BoundlabError:
            raise
        except (Exception, SystemExit) as error:
            raise InvalidParameter(
                f"{source} must import and run without an exception, got {one_line(error)}."
            ) from error


def readable_file(source: str, noun: str) -> None:
    """Raise InvalidParameter unless `source` is an existing file that is not a pickle, by its name and its content."""
    path = Path(source)
    if path.suffix.lower() in PICKLES:
        raise InvalidParameter(f"a {noun} must not be a pickle, which can run any code, got {source}.")
    if not path.is_file():
        raise InvalidParameter(f"a {noun} must be an existing file or module:function, got {source}.")
    try:
        pickled = _is_pickle(path)
    except OSError as error:
        raise InvalidParameter(f"a {noun} must be a readable file, got {one_line(error)}.") from None
    if pickled:
        raise InvalidParameter(f"a {noun} must not be a pickle, which can run any code, got one inside {source}.")


def arrays_of_npz(source: str) -> dict[str, np.ndarray]:
    """Return all arrays of an .npz file, none of them unpickled, or raise InvalidParameter."""
    try:
        with np.load(source, allow_pickle=False) as stored:
            if not isinstance(stored, np.lib.npyio.NpzFile):
                raise ValueError("a single array")
            return {key: stored[key] for key in stored.files}
    except Exception as error:
        raise InvalidParameter(f"{source} must be an .npz file of plain arrays, got {one_line(error)}.") from None


def _is_pickle(path: Path) -> bool:
    """Whether the content is a pickle (protocol 2 or newer), or a zip file with a pickle in it, as of torch.save."""
    with path.open("rb") as file:
        head = file.read(2)
        file.seek(-1, os.SEEK_END) if head else None
        last = file.read(1)
    if len(head) == 2 and head[0] == 0x80 and 2 <= head[1] <= 5 and last == b".":
        return True
    if not zipfile.is_zipfile(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith((".pkl", ".pickle")) for name in archive.namelist())
    except zipfile.BadZipFile:
        return False


@contextmanager
def _current_folder_importable() -> Iterator[None]:
    folder = os.getcwd()
    added = folder not in sys.path
    if added:
        sys.path.insert(0, folder)
        importlib.invalidate_caches()
    try:
        yield
    finally:
        if added and folder in sys.path:
            sys.path.remove(folder)


def write_atomically(texts: Mapping[Path, str]) -> None:
    """Write all texts, or none: a reader sees the old files or the new ones, never a half of one.

    All drafts are written before the first one takes its place.
    """
    drafts = {target: target.with_name(f".{target.name}.{os.getpid()}.tmp") for target in texts}
    try:
        for target, draft in drafts.items():
            writable(target)
            target.parent.mkdir(parents=True, exist_ok=True)
            draft.write_bytes(texts[target].encode("utf-8", "backslashreplace"))  # the same line ends everywhere
        for target, draft in drafts.items():
            draft.replace(target)
    finally:
        for draft in drafts.values():
            draft.unlink(missing_ok=True)


@contextmanager
def draft_of(target: Path) -> Iterator[Path]:
    """Yield the name of a draft beside the target; once it is written and found good, it takes the target's place."""
    target.parent.mkdir(parents=True, exist_ok=True)
    suffixes = "".join(target.suffixes[-2:]) if target.suffix == ".gz" else target.suffix
    draft = target.with_name(f".{target.name}.{os.getpid()}{suffixes}")
    try:
        yield draft
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def writable(target: Path) -> None:
    """Raise InvalidParameter where no file can be written at `target`; called before long work."""
    if target.is_dir():
        raise InvalidParameter(f"an output file must not be a folder, got {target}.")
    if target.exists() and not target.is_file():  # a new file would take its place
        raise InvalidParameter(f"an output file must not be a device or a pipe, got {target}.")
    folder = next(p for p in target.absolute().parents if p.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise InvalidParameter(f"an output folder must be writable, got {folder}.")
