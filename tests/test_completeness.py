"""Nothing is half there: every public name is documented and exported once, every theorem mark has its file."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import boundlab
from boundlab._theory import IMPLEMENTED_BY
from proofs_checks import ledger
from tests import cases
from tests.schemas import FORMATS, schema

ROOT = Path(__file__).parents[1]
NAMES = [(name, module) for module, names in boundlab.PUBLIC.items() for name in names]


def every_module() -> list[str]:
    return [m.name for m in pkgutil.walk_packages(boundlab.__path__, "boundlab.")]


@pytest.mark.parametrize(("name", "module"), NAMES)
def test_public_name_loads_lazily_from_its_home(name: str, module: str) -> None:
    value = getattr(boundlab, name)
    assert value is getattr(importlib.import_module(module), name)
    assert (value.__doc__ or "").strip(), f"{name} has no docstring"


@pytest.mark.parametrize(("name", "module"), NAMES)
def test_public_name_is_typed_and_in_the_api_page(name: str, module: str) -> None:
    source = (ROOT / "boundlab" / "__init__.py").read_text(encoding="utf-8")
    assert re.search(rf"from {module} import {name} as {name}\b", source), "type checkers do not see it"
    api = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert f"`{name}`" in api, "docs/api.md has no line on it"


def test_every_theorem_mark_has_its_file_and_every_file_its_mark() -> None:
    for module in every_module():
        importlib.import_module(module)
    files = set(ledger())
    assert set(IMPLEMENTED_BY) <= files, f"no file for {set(IMPLEMENTED_BY) - files}"
    assert files <= set(IMPLEMENTED_BY), f"nothing implements {files - set(IMPLEMENTED_BY)}"


def test_every_theorem_is_in_the_bibliography() -> None:
    entries = set(re.findall(r"^@\w+\{([^,]+),", (ROOT / "docs" / "references.bib").read_text(encoding="utf-8"), re.M))
    keys = {slug.split("_")[0] for slug in ledger()}
    own = {"boundlab"}
    missing = {k for k in keys - own if k not in entries and not any(e.startswith(k) for e in entries)}
    assert not missing, f"docs/references.bib has no entry for {missing}"


def test_every_compressor_and_bound_is_in_the_tables_of_cases() -> None:
    from boundlab.bounds import GeneralizationBound
    from boundlab.compressors import METHODS

    assert {type(m) for m in cases.METHODS} == set(METHODS)
    assert {type(b) for b in cases.BOUNDS} == set(_concrete(GeneralizationBound))
    names = [m.name for m in METHODS]
    assert len(set(names)) == len(names)
    assert all(dataclasses.is_dataclass(m) for m in METHODS)


def _concrete(kind: type) -> list[type]:
    """The classes below a class that can be built."""
    below = [deeper for own in kind.__subclasses__() for deeper in _concrete(own)]
    return below if inspect.isabstract(kind) else [kind, *below]


def test_the_changelog_has_the_version() -> None:
    assert boundlab.__version__ in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_every_format_that_is_written_has_a_schema() -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "boundlab").rglob("*.py"))
    own = {"evidence", "run"}  # read by boundlab alone
    assert set(re.findall(r"\bboundlab\.(\w+)/1\b", sources)) == {*FORMATS, *own}


@pytest.mark.parametrize("name", FORMATS)
def test_the_json_schema_documents_every_field(name: str) -> None:

    def walk(node: object, path: str) -> None:
        if isinstance(node, dict):
            for name, field in node.get("properties", {}).items():
                assert field.get("description") or "$ref" in field, f"{path}.{name} has no description"
                walk(field, f"{path}.{name}")
            for deeper in (node.get("items"), *node.get("anyOf", ())):
                walk(deeper, path + "[]")

    walk(schema(name), name)


def test_nothing_names_a_machine_path() -> None:
    suspicious = re.compile(r"(?<![\w.])/(?:work|tmp|root|home)/")
    for path in [
        *ROOT.glob("*.md"),
        *ROOT.glob("*.toml"),
        *(ROOT / "docs").rglob("*.md"),
        *ROOT.glob("boundlab/**/*.py"),
    ]:
        assert not suspicious.search(path.read_text(encoding="utf-8")), f"{path.name} names a path of a machine"
