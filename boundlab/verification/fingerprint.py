"""Which code a run was of: a digest of sources and packages, so that evidence for one is not taken for another."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from boundlab._errors import InvalidParameter

SOURCES = (".py", ".pyx", ".pxd", ".pyi", ".c", ".cc", ".cpp", ".cu", ".h", ".hpp", ".rs", ".f90")
"""Suffixes of the files that count as code."""

PACKAGES = ("boundlab", "numpy", "scipy", "numba", "torch")
"""What a trial's coins and arithmetic rest on, beside the code of the project."""


def code_fingerprint(root: str | os.PathLike[str]) -> str:
    """Return the blake2b-128 digest, in hex, of all source files below a folder and of every package they can import.

    All source files count, not only those of modules that are loaded: what a trial imports later is part of it, and
    which modules are loaded at some moment depends on what ran before. Hidden folders, `node_modules`, virtual
    environments and links to folders are left out. An installed package counts by its version and the hashes of its
    code that the installer recorded, one that is installed for development by its source files. Data files are not
    code: a trial that reads them should name their digest in its claim's parameters. Code that lies elsewhere, on
    PYTHONPATH say, is not seen.

    Parameters
    ----------
    root : path
        The project's folder.

    Raises
    ------
    InvalidParameter
        If there is no such folder.
    """
    folder, digest = Path(root), hashlib.blake2b(digest_size=16)
    if not folder.is_dir():
        raise InvalidParameter(f"root must be a folder, got {folder}.")
    packages, projects = _installed()
    for place in (folder, *(p for p in projects if not p.is_relative_to(folder.resolve()))):
        for path in _sources(place):
            content = path.read_bytes()
            digest.update(json.dumps([path.relative_to(place).as_posix(), len(content)]).encode())
            digest.update(content)
    digest.update(json.dumps([platform.python_version(), packages]).encode())
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that coins and arithmetic rest on, as far as installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def _installed() -> tuple[list[list[str]], list[Path]]:
    """Name, version and hashes of every package that is installed, and the folders of those for development."""
    packages, projects = [], set[Path]()
    for package in importlib.metadata.distributions():
        files = sorted(line for line in (package.read_text("RECORD") or "").splitlines() if _is_code(line))
        packages.append([str(package.metadata["Name"]), str(package.version), *files])
        origin = json.loads(package.read_text("direct_url.json") or "{}")
        if origin.get("dir_info", {}).get("editable") and (place := _folder_of(origin["url"])).is_dir():
            projects.add(place.resolve())
    return sorted(packages), sorted(projects)


def _is_code(recorded: str) -> bool:
    """Whether a line of a RECORD, "path,hash,size", is of a file that is code."""
    return recorded.partition(",")[0].endswith((*SOURCES, ".so", ".pyd"))


def _folder_of(url: str) -> Path:
    return Path(url2pathname(urlsplit(url).path))


def _sources(folder: Path) -> Iterator[Path]:
    """Source files below a folder, in an order that is the same on every machine."""
    for path in sorted(folder.iterdir(), key=lambda p: p.name):
        if path.is_dir():
            environment = (path / "pyvenv.cfg").exists() or (path / "conda-meta").exists()
            if not (environment or path.is_symlink() or path.name.startswith(".") or path.name == "node_modules"):
                yield from _sources(path)
        elif path.suffix in SOURCES and path.is_file():
            yield path
