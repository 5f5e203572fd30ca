"""The published JSON Schemas, and values held against them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import boundlab

FORMATS = ("verdict", "guarantees", "levels", "points", "crossed", "tightness", "audit")


def schema(name: str) -> dict[str, Any]:
    """The schema boundlab.<name>/1."""
    path = Path(boundlab.__file__).parent / "report" / f"{name}.schema.json"
    return json.loads(path.read_text(encoding="utf-8"))


def validate(value: Any, name: str) -> None:
    """Raise jsonschema.ValidationError where a value, written as JSON and read again, does not follow its schema."""
    from jsonschema import Draft202012Validator
    from referencing import Registry, Resource

    known = Registry().with_resources((s["$id"], Resource.from_contents(s)) for s in map(schema, FORMATS))
    told = json.loads(json.dumps(value, allow_nan=False))
    Draft202012Validator(schema(name), registry=known).validate(told)
