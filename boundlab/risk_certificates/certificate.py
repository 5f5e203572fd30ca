"""The certificate: what is claimed, the net as a message, what was paid, and what has to be believed; as JSON."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from boundlab._errors import InvalidParameter, one_line, probability
from boundlab.files import write_atomically
from boundlab.records import Record, Row

FORMAT = "boundlab risk certificate 2"
LARGEST = 1 << 28
"""The most bytes that a certificate may have."""
MOST_TEXT = 200
"""The most characters of what the data are called."""


class Kind(StrEnum):
    """What the price of the net is."""

    OCCAM = "occam"  # its message: any net, however it was found
    SINGLE_DRAW = "single draw"  # ln Q/P: the one net that a law has drawn


@dataclass(frozen=True, kw_only=True)
class RiskCertificate(Record):
    """With probability at least 1 - delta over the n examples (and the draw), the net in `message` has risk <= `bound`.

    Occam: bound = Bin+(errors, n, delta 2^-8 bytes). Single draw, the best of N = 2^64:
    bound = kl^-1(errors/n, (ln Q/P + ln(N xi(n)/delta))/n), P = 2^-8 bytes of the message, Q the law. Errors are
    counted in exact arithmetic, ties too. How many laws were really asked for their draw nobody has to be believed: the
    file always pays for 2^64.

    Raises
    ------
    InvalidParameter
        If a count or a bound is out of its range, a law is missing or too many, or a description is not of printable
        text of up to 200 characters.
    """

    kind: Kind
    bound: float
    delta: float
    errors: int
    n: int
    classes: int  # that occur among the labels
    commonest: int  # labels of the class that occurs most often
    features: int
    message: bytes
    law: bytes  # empty for Occam
    paid: Mapping[str, Any]  # what the message says, in bits; the draw, in nats
    data: Mapping[str, str]  # name and digest of the examples

    def __post_init__(self) -> None:
        probability("delta", self.delta)
        if not 0 <= self.errors <= self.n or self.n < 1 or not 0.0 < self.bound <= 1.0:
            raise InvalidParameter(
                f"a certificate must have errors in 0..n and a bound in (0, 1], got {self.errors} of {self.n}, "
                f"{self.bound!r}."
            )
        if self.classes < 1 or not 1 <= self.commonest <= self.n:
            raise InvalidParameter(
                f"a certificate must have at least 1 class and 1..n labels of the commonest, got {self.classes} and "
                f"{self.commonest}."
            )
        if (self.kind is Kind.SINGLE_DRAW) != bool(self.law):
            raise InvalidParameter("a certificate must hold a law if, and only if, its net was drawn from one.")
        words = [*self.data.keys(), *self.data.values()]
        if not all(type(word) is str and word.isprintable() and len(word) <= MOST_TEXT for word in words):
            raise InvalidParameter(f"data must be described by printable text of up to {MOST_TEXT} characters.")

    @property
    def nats(self) -> float:
        """The price of the net, ln 1/P or ln Q/P."""
        return float(self.paid["nats"])

    @property
    def constant_error(self) -> float:
        """What always answering the commonest class gets wrong on the n examples."""
        return 1.0 - self.commonest / self.n

    @property
    def assumed(self) -> tuple[str, ...]:
        """What no file can show."""
        common = (
            "the n examples are i.i.d. from the distribution whose risk is bounded",
            "delta, the format of the message, the number of features, and what was done to a point before it became "
            "one, were fixed before the examples",
            "the kind of certificate, Occam or single draw, was fixed before the examples: the better one of both may "
            "fail twice as often",
            "errors are counted with IEEE doubles, rounded to nearest",
        )
        once = "a hash is as good as coins, and fewer than 2^64 laws were hashed, by anybody, before this one was kept"
        return (*common, once) if self.kind is Kind.SINGLE_DRAW else common

    @property
    def text(self) -> str:
        """The file: JSON with sorted keys, one way to write each certificate."""
        fields = {
            "format": FORMAT,
            "kind": str(self.kind),
            "claim": {
                "bound": self.bound,
                "delta": self.delta,
                "errors": self.errors,
                "n": self.n,
                "classes": self.classes,
                "commonest": self.commonest,
            },
            "features": self.features,
            "message": base64.b64encode(self.message).decode(),
            "law": base64.b64encode(self.law).decode(),
            "paid": dict(self.paid),
            "data": dict(self.data),
            "measured": "errors of the net in the message, in exact arithmetic; ties, and margins that rounding leaves "
            "open, are errors",
            "assumed": list(self.assumed),
        }
        return json.dumps(fields, indent=1, sort_keys=True, allow_nan=False) + "\n"

    def save(self, path: str | Path) -> Path:
        """Write the file, whole or not at all, and return its path."""
        target = Path(path)
        write_atomically({target: self.text})
        return target

    def rows(self) -> list[Row]:
        """One line."""
        return [
            {
                "kind": str(self.kind),
                "bound": self.bound,
                "delta": self.delta,
                "train_error": self.errors / self.n,
                "constant_error": self.constant_error,
                "n": self.n,
                "bytes": len(self.message),
                "nats": self.nats,
                "data": self.data.get("name", ""),
            }
        ]


def read_certificate(path: str | Path) -> RiskCertificate:
    """Read a certificate file, strictly: its bytes must be those that its content would be written with.

    Raises
    ------
    InvalidParameter
        If the file is none, larger than 2^28 bytes, of another format, or not in its one form.
    """
    if not Path(path).is_file():
        raise InvalidParameter(f"a certificate must be an existing file, got {path}.")
    if Path(path).stat().st_size > LARGEST:
        raise InvalidParameter(f"a certificate must have at most {LARGEST} bytes, got {Path(path).stat().st_size}.")
    try:
        text = Path(path).read_bytes().decode("ascii")
        found = json.loads(text)
        if found["format"] != FORMAT:
            raise InvalidParameter(f"a certificate must be of format {FORMAT!r}, got {str(found['format'])[:80]!r}.")
        certificate = _from_fields(found)
        same = certificate.text == text
    except InvalidParameter:
        raise
    except Exception as fault:
        raise InvalidParameter(f"{path} must be a certificate as boundlab writes it, got {one_line(fault)}.") from None
    if not same:
        raise InvalidParameter(f"{path} must be in the one form that boundlab writes, got another text.")
    return certificate


def _from_fields(found: dict[str, Any]) -> RiskCertificate:
    claim = found["claim"]
    for name in ("errors", "n", "classes", "commonest"):
        if type(claim[name]) is not int:
            raise InvalidParameter(f"{name} must be a whole number, got {claim[name]!r}.")
    for name in ("bound", "delta"):
        if type(claim[name]) is not float or not math.isfinite(claim[name]):
            raise InvalidParameter(f"{name} must be a finite number, got {claim[name]!r}.")
    if type(found["features"]) is not int or found["features"] < 1:
        raise InvalidParameter(f"features must be a whole number of at least 1, got {found['features']!r}.")
    paid, data = found["paid"], found["data"]
    if type(paid) is not dict or type(paid.get("nats")) is not float or not math.isfinite(paid["nats"]):
        raise InvalidParameter("paid must say the nats, a finite number.")
    return RiskCertificate(
        kind=Kind(found["kind"]),
        bound=claim["bound"],
        delta=claim["delta"],
        errors=claim["errors"],
        n=claim["n"],
        classes=claim["classes"],
        commonest=claim["commonest"],
        features=found["features"],
        message=_bytes(found["message"]),
        law=_bytes(found["law"]),
        paid=paid,
        data=data,
    )


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError, TypeError) as fault:
        raise InvalidParameter(f"a message must be base64, got {one_line(fault)}.") from None


def digest_of(x: np.ndarray, y: np.ndarray) -> str:
    """The blake2b-128 digest, in hex, of examples: points (n, features) as float64, labels (n,) as int64."""
    found = hashlib.blake2b(repr(x.shape).encode(), digest_size=16)
    found.update(np.ascontiguousarray(x, "<f8").data)
    found.update(np.ascontiguousarray(y, "<i8").data)
    return found.hexdigest()
