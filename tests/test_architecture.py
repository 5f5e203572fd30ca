"""The house's layering, read from the imports: nothing points right."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = [
    {"_errors", "_theory"},
    {"files", "network"},
    {"records"},
    {"promises"},
    {"concentration", "codes", "data", "ledger", "rank_statistics"},
    {"coresets", "nets"},
    {"compressors", "bounds"},
    {"premises", "sizes", "retraining", "ranking", "risk_certificates"},
    {"certificates", "holdout", "comparing"},
    {"observe", "verification"},
    {"findings", "claim_files"},
    {"dealing", "report"},
    {"auditing"},
    {"cli", "pytest_plugin"},
]
RANK = {room: k for k, layer in enumerate(LAYERS) for room in layer}
NO_TORCH = {
    "ledger",
    "_errors",
    "_theory",
    "network",
    "records",
    "promises",
    "concentration",
    "coresets",
    "codes",
    "data",
}
FILES = sorted(p for p in (ROOT / "boundlab").rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(ROOT / "boundlab").parts[0].removesuffix(".py")


def imports(path: Path) -> list[tuple[str, bool]]:
    """Every imported module of a file, with whether the import stands inside a function."""
    found: list[tuple[str, bool]] = []

    def walk(node: ast.AST, inside: bool) -> None:
        for child in ast.iter_child_nodes(node):
            deeper = inside or isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            if isinstance(child, ast.Import):
                found.extend((alias.name, inside) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{path}: imports are absolute"
                module = child.module or ""
                found.extend((f"{module}.{a.name}" if module == "boundlab" else module, inside) for a in child.names)
            walk(child, deeper)

    walk(ast.parse(path.read_text(encoding="utf-8")), False)
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_import_points_right(path: Path) -> None:
    room = room_of(path)
    if room == "__init__":
        return
    assert room in RANK, f"{room} has no place in the layering"
    for module, inside in imports(path):
        if not module.startswith("boundlab."):
            continue
        other = module.split(".")[1]
        if other not in RANK:
            continue  # a name of boundlab/__init__, such as __version__
        picture = inside and other == "report"  # a record's plot() and to_html() may fetch its picture
        assert picture or other == room or RANK[other] < RANK[room], f"{path.name} ({room}) imports {module}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_heavy_libraries_are_imported_inside_functions(path: Path) -> None:
    for module, inside in imports(path):
        top = module.split(".")[0]
        assert top not in ("proofs_checks", "tests"), f"{path.name} imports {module}"
        if top == "torch":
            assert room_of(path) not in NO_TORCH, f"no torch left of nets: {path.name}"
        if top in ("pandas", "matplotlib", "torch", "sklearn", "onnx", "safetensors", "sympy"):
            guarded = inside or top in type_checking_only(path)
            assert guarded, f"{path.name} imports {module} at module level"


def type_checking_only(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            for child in ast.walk(node):
                if isinstance(child, ast.Import):
                    names |= {alias.name.split(".")[0] for alias in child.names}
                elif isinstance(child, ast.ImportFrom) and child.module:
                    names.add(child.module.split(".")[0])
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_library_asserts_nothing_prints_nothing_and_suppresses_nothing(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        assert not isinstance(node, ast.Assert), f"{path.name}:{node.lineno}: bare assert"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            assert room_of(path) == "cli", f"{path.name}:{node.lineno}: print"
        if isinstance(node, ast.ExceptHandler):
            passes = len(node.body) == 1 and isinstance(node.body[0], ast.Pass)
            assert not passes, f"{path.name}:{node.lineno}: an exception is swallowed"
    assert "ignore[" not in path.read_text(encoding="utf-8")


def test_no_room_without_a_name() -> None:
    for name in ("utils", "common", "base", "helpers", "core"):
        assert not [p for p in (ROOT / "boundlab").rglob("*") if p.stem == name], f"{name} is no name for a room"


def test_files_stay_small() -> None:
    long = {p.name: n for p in FILES if (n := len(p.read_text(encoding="utf-8").splitlines())) > 450}
    assert not long, f"over 450 lines: {long}"


def test_layers_are_those_of_the_architecture_page() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for room in RANK:
        assert room in page, f"docs/architecture.md does not mention {room}"
