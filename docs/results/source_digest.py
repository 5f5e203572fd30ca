"""What a result that is kept on disk depends on: the source of the package, and the script that made it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import boundlab


def digest(*scripts: str | Path, package: str | Path = Path(boundlab.__file__).parent) -> str:
    """16 hex digits that change with the scripts, and with every source file of the package and its name."""
    root, found = Path(package), hashlib.sha256()
    for script in scripts:
        found.update(hashlib.sha256(Path(script).read_bytes()).digest())
    for path in sorted(root.rglob("*.py")):
        found.update(path.relative_to(root).as_posix().encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()[:16]
