"""The scripts that make the pages of results: what they keep on disk serves the source that made it, and no other."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

RESULTS = Path(__file__).parents[1] / "docs" / "results"


def script(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, RESULTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_result_on_disk_belongs_to_the_source_that_made_it(tmp_path: Path) -> None:
    package, maker, digest = tmp_path / "package", tmp_path / "maker.py", script("source_digest").digest
    (package / "room").mkdir(parents=True)
    (package / "room" / "idea.py").write_text("x = 1\n")
    maker.write_text("y = 1\n")
    seen = [digest(maker, package=package), digest(maker, package=package)]
    assert seen[0] == seen[1]
    (package / "room" / "idea.py").write_text("x = 2\n")
    seen.append(digest(maker, package=package))
    (package / "room" / "idea.py").rename(package / "room" / "other.py")
    seen.append(digest(maker, package=package))
    (package / "room" / "new.py").touch()
    seen.append(digest(maker, package=package))
    maker.write_text("y = 2\n")
    seen.append(digest(maker, package=package))
    assert len(set(seen[1:])) == 5, "every change of the source is another one"


@pytest.mark.parametrize("name", ["ranking", "bounds_compared"])
def test_a_page_keeps_its_parts_by_the_digest_of_the_source(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(RESULTS))  # as for a script that is run from there
    page = script(name)
    assert page.WORK.name == f"{name}_{page.digest(RESULTS / f'{name}.py')}"
