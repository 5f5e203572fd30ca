"""The verifier: it believes the file nothing but its message.

It rebuilds the net from the message, counts its errors on the examples it is given, and recomputes the bound: Occam's
in decimal arithmetic, term by term, every rounding against the claim, without the code that issued it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from typing import Any

import numpy as np

from boundlab._errors import InvalidParameter, labels, matrix
from boundlab._theory import implements
from boundlab.bounds.pac_bayes import log_xi
from boundlab.bounds.sampled_net import LAWS, SampledDraw, read_law
from boundlab.nets.net_message import decode, encode
from boundlab.records import Record, Row
from boundlab.risk_certificates.certificate import Kind, RiskCertificate, digest_of
from boundlab.risk_certificates.issuing import paid_of

_DIGITS = 40


@dataclass(frozen=True, kw_only=True)
class Checked(Record):
    """What a verifier found: `faults` is empty where the certificate is valid on the examples at hand."""

    certificate: RiskCertificate
    errors: int
    n: int
    nats: float
    paid: Mapping[str, Any]
    same_data: bool
    faults: tuple[str, ...]

    @property
    def vacuous(self) -> bool:
        """Whether the bound is no better than a uniform guess among the classes that occur."""
        return self.certificate.bound >= 1.0 - 1.0 / self.certificate.classes

    @property
    def valid(self) -> bool:
        """Whether the claim holds on the examples at hand, and the file says what was paid."""
        return not self.faults

    def to_dict(self) -> dict[str, Any]:
        """The answer for machines."""
        return {
            "valid": self.valid,
            "bound": self.certificate.bound,
            "vacuous": self.vacuous,
            "constant_error": self.certificate.constant_error,
            "delta": self.certificate.delta,
            "train_error": self.errors / self.n,
            "errors": self.errors,
            "n": self.n,
            "nats": self.nats,
            "kind": str(self.certificate.kind),
            "paid": dict(self.paid),
            "same_data": self.same_data,
            "faults": list(self.faults),
            "assumed": list(self.certificate.assumed),
        }

    def rows(self) -> list[Row]:
        """One line."""
        counted = {"train_error": self.errors / self.n, "nats": self.nats}
        return [{**self.certificate.rows()[0], **counted, "errors": self.errors, "valid": self.valid}]


@implements("boundlab_certificate_check", "boundlab_net_message", "boundlab_certain_margins", "boundlab_hashed_draw")
def check_certificate(certificate: RiskCertificate, x: Any, y: Any) -> Checked:
    """Verify a certificate on examples: decode, measure, recompute.

    Parameters
    ----------
    certificate : RiskCertificate
        As `read_certificate` gives it.
    x : array (n, features)
        The examples, prepared as they were when it was issued.
    y : array (n,)
        Their labels.

    Returns
    -------
    Checked
        Its `valid` and, if not, the reasons.

    Raises
    ------
    InvalidParameter
        If the message is no net, or the examples do not fit it.
    """
    if not isinstance(certificate, RiskCertificate):
        raise InvalidParameter(f"read_certificate gives the certificate to check, got {type(certificate).__name__}.")
    flat = x.reshape(len(x), math.prod(x.shape[1:])) if getattr(x, "ndim", 2) > 2 else x
    points = matrix("x", flat, columns=certificate.features)
    message = decode(certificate.message, certificate.features)
    own = labels("y", y, points=len(points), classes=message.net.classes, present=1)
    errors, n = message.net.count_errors(points, own), len(points)
    faults = []
    if n != certificate.n or errors > certificate.errors:
        faults.append(f"the net makes {errors} errors on {n} examples, not {certificate.errors} on {certificate.n}.")
    if certificate.classes != len(np.unique(own)):
        faults.append(f"the labels name {len(np.unique(own))} classes, not {certificate.classes}.")
    if certificate.commonest != np.bincount(own).max():
        faults.append(f"{np.bincount(own).max()} labels are of one class at most, not {certificate.commonest}.")
    paid = paid_of(message)
    if certificate.kind is Kind.OCCAM:
        nats = message.nats
        holds = tail_is_below(errors, n, certificate.bound, certificate.delta, message.bits)
    else:
        law = read_law(certificate.law, certificate.features)
        if encode(law.drawn()).data == encode(message.net).data:
            nats = SampledDraw(law=law, message=message, errors=errors, n=n, classes=certificate.classes).log_ratio
            paid |= {"log_probability": law.log_probability(message.net)}
            more = math.log(LAWS) * (1.0 + 2.0**-50)
            holds = divergence_is_above(errors, n, certificate.bound, certificate.delta, nats + more)
        else:
            faults.append("the net is not the one that the law draws.")
            nats, holds = message.nats, False
    if not holds:
        faults.append(f"a bound of {certificate.bound:.6g} does not follow from {errors} errors and {nats:.6g} nats.")
    paid["nats"] = nats
    if not _alike(dict(certificate.paid), paid):
        faults.append("what the file says was paid is not what its message costs.")
    return Checked(
        certificate=certificate,
        errors=errors,
        n=n,
        nats=nats,
        paid=paid,
        same_data=certificate.data.get("digest") == digest_of(points, own),
        faults=tuple(faults),
    )


@implements("boundlab_certificate_check")
def tail_is_below(k: int, n: int, p: float, delta: float, bits: int) -> bool:
    """Whether P[Bin(n, p) <= k] <= delta 2^-bits, for certain: then Bin+(k, n, delta 2^-bits) <= p.

    The sum of C(n, i) p^i (1-p)^(n-i) over i = k, k-1 ... 0 with 40 digits, every operation rounded up; what is left
    once a term is below 1e-45 of the sum is bounded by a geometric series. The right side is rounded down.
    """
    up, down = Context(prec=_DIGITS, rounding=ROUND_CEILING), Context(prec=_DIGITS, rounding=ROUND_FLOOR)
    for context in (up, down):
        context.Emax, context.Emin = 999_999_999_999_999_999, -999_999_999_999_999_999
    if p >= 1.0 or k >= n:
        return p >= 1.0
    q, other = Decimal(p), up.subtract(Decimal(1), Decimal(p))
    odds = up.divide(other, q)
    term = up.multiply(_power(up, q, k), _power(up, other, n - k))
    for i in range(1, min(k, n - k) + 1):
        term = up.divide(up.multiply(term, Decimal(n - i + 1)), Decimal(i))
    total, i = Decimal(0), k
    while i >= 0:
        total = up.add(total, term)
        # term(i-1) / term(i) = i (1-p) / ((n-i+1) p), which falls with i
        ratio = up.multiply(up.divide(Decimal(i), Decimal(n - i + 1)), odds)
        term = up.multiply(term, ratio)
        if ratio < 1 and term < total.scaleb(-45, up):
            total = up.add(total, up.divide(term, down.subtract(Decimal(1), ratio)))
            break
        i -= 1
    level = down.divide(Decimal(delta), _power(up, Decimal(2), bits))
    return total <= level


def divergence_is_above(k: int, n: int, p: float, delta: float, nats: float) -> bool:
    """Whether kl(k/n || p) >= (nats + ln(xi(n)/delta)) / n for certain, and p >= k/n: then kl^-1 <= p.

    With 40 digits, rounded down; ln xi(n) is the shipped upper bound of it.
    """
    if p >= 1.0:
        return True
    exact = Context(prec=_DIGITS + 20)
    slack = Decimal((0, (1,), 10 - _DIGITS))  # fewer than ten operations of 60 digits lose less
    r, q = exact.divide(Decimal(k), Decimal(n)), Decimal(p)
    if Decimal(k) >= exact.multiply(q, Decimal(n)):
        return False
    other, rest = exact.subtract(Decimal(1), r), exact.subtract(Decimal(1), q)
    first = exact.multiply(r, exact.ln(exact.divide(r, q))) if k else Decimal(0)
    second = exact.multiply(other, exact.ln(exact.divide(other, rest)))
    have = exact.multiply(exact.add(first, second), Decimal(n))
    want = exact.subtract(exact.add(Decimal(nats), Decimal(log_xi(n))), exact.ln(Decimal(delta)))
    lowered = exact.subtract(have, exact.multiply(slack, Decimal(n)))
    return lowered >= exact.add(want, exact.multiply(slack, exact.abs(want)))


def _power(context: Context, base: Decimal, exponent: int) -> Decimal:
    """base^exponent for base > 0 by squaring, each product rounded as the context does: the same side throughout."""
    found, square = Decimal(1), base
    while exponent:
        if exponent & 1:
            found = context.multiply(found, square)
        square = context.multiply(square, square)
        exponent >>= 1
    return found


def _alike(a: Any, b: Any) -> bool:
    """Equal, but for the last digits of numbers that are no whole ones."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_alike(a[k], b[k]) for k in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_alike, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-3)
    return type(a) is type(b) and a == b
