"""A compressor by its name, with the fields of its dataclass as flags."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, TypeVar

from boundlab._errors import InvalidParameter
from boundlab.compressors.method import Method

AnyMethod = TypeVar("AnyMethod", bound=Method)


def method_named(
    name: str, flags: Sequence[str], defaults: Mapping[str, Any], among: Sequence[type[AnyMethod]]
) -> AnyMethod:
    """Build the method of this name, or of a unique end of it; defaults of fields that it does not have are ignored.

    Raises
    ------
    InvalidParameter
        If there is no such method, or a flag is none of its fields, or a field without default is missing.
    """
    fits = [m for m in among if m.name == name] or [m for m in among if m.name.endswith("-" + name)]
    if len(fits) != 1:
        raise InvalidParameter(f"method must be one of {', '.join(m.name for m in among)}, got {name!r}.")
    kind, given = fits[0], _pairs(flags)
    types = typing.get_type_hints(kind)
    fields = dataclasses.fields(typing.cast(Any, kind))
    names = [f.name for f in fields]
    unknown = [flag for flag in given if flag not in names]
    if unknown:
        raise InvalidParameter(f"{kind.name} takes --{', --'.join(names)}, got --{unknown[0]}.")
    values = {field: value for field, value in defaults.items() if field in names}
    values |= {field: _convert(field, text, types[field]) for field, text in given.items()}
    for field in fields:
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and field.name not in values:
            raise InvalidParameter(f"{kind.name} needs --{field.name}, got none.")
    return kind(**values)


def _pairs(words: Sequence[str]) -> dict[str, str]:
    """Read --name value and --name=value."""
    found, rest = {}, list(words)
    while rest:
        word = rest.pop(0)
        name, has_value, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or not name or not (has_value or rest):
            raise InvalidParameter(f"a method's fields must be given as --name value, got {word!r}.")
        found[name.replace("-", "_")] = value if has_value else rest.pop(0)
    return found


def _convert(name: str, text: str, kind: Any) -> Any:
    """Read a field's value; of several kinds that it may have, a tuple where the text lists values by commas."""
    several = () if typing.get_origin(kind) is tuple else typing.get_args(kind)
    kinds = [k for k in several if k is not type(None)] or [kind]
    lists = [k for k in kinds if typing.get_origin(k) is tuple]
    if lists and ("," in text or lists == kinds):
        return tuple(_convert(name, part, typing.get_args(lists[0])[0]) for part in text.split(","))
    kind = next(k for k in kinds if k not in lists)
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise InvalidParameter(f"{name} must be true or false, got {text!r}.")
        return text.lower() == "true"
    try:
        return kind(text)
    except (TypeError, ValueError):
        known = f"one of {', '.join(kind)}" if issubclass(kind, StrEnum) else f"of type {kind.__name__}"
        raise InvalidParameter(f"{name} must be {known}, got {text!r}.") from None
