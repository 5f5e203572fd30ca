"""From a net and its examples to a certificate."""

from __future__ import annotations

from typing import Any

import numpy as np

from boundlab._errors import InvalidParameter
from boundlab.bounds.generalization_bound import Subject
from boundlab.bounds.occam import CodedNet, MessageBound, chain_and_evidence
from boundlab.bounds.sampled_net import SampledDraw, SampledNet
from boundlab.nets.feedforward import FeedForward
from boundlab.nets.net_message import NetMessage
from boundlab.risk_certificates.certificate import MOST_TEXT, Kind, RiskCertificate, digest_of


def issue_certificate(
    net: Subject | FeedForward, method: MessageBound | SampledNet, x: Any, y: Any, *, data: str = ""
) -> RiskCertificate:
    """Bring a net into a message, measure it, and certify its risk.

    Parameters
    ----------
    net : Network, ModuleNet, compression or FeedForward
    method : OccamPyramid, Occam or SampledNet
        How the net is brought onto a codebook, and what its price is. It holds delta.
    x : array (n, ...)
        The examples, as the net reads them; whatever is done to raw data before that must be fixed before the data.
    y : array (n,)
        Their labels.
    data : str
        What the examples are called in the file: its last 200 characters, what cannot be printed with backslashes.

    Returns
    -------
    RiskCertificate
        ``.save("net.cert")`` writes it; `check_certificate` accepts it on the same examples.

    Raises
    ------
    PremiseViolated
        If the net holds what no message says, such as the statistics of batch norms.
    UnsupportedLayer
        If it is no chain of operations that a message can name.
    """
    if not isinstance(method, (MessageBound, SampledNet)):
        raise InvalidParameter(f"method must be OccamPyramid(), Occam() or SampledNet(), got {type(method).__name__}.")
    chain, points, labels = chain_and_evidence(net, x, y)
    if isinstance(method, SampledNet):
        found: CodedNet | SampledDraw = method.drawn(chain, points, labels)
        kind, law, nats = Kind.SINGLE_DRAW, found.law.data, found.log_ratio
        extra = {"log_probability": found.law.log_probability(found.message.net)}
    else:
        found = method.coded(chain, points, labels)
        kind, law, nats, extra = Kind.OCCAM, b"", found.message.nats, {}
    message = found.message
    return RiskCertificate(
        kind=kind,
        bound=found.value(float(method.delta)),
        delta=float(method.delta),
        errors=found.errors,
        n=found.n,
        classes=found.classes,
        commonest=int(np.bincount(labels).max()),
        features=message.net.features,
        message=message.data,
        law=law,
        paid={**paid_of(message), **extra, "nats": nats},
        data={"name": _printable(str(data))[-MOST_TEXT:], "digest": digest_of(points, labels)},
    )


def paid_of(message: NetMessage) -> dict[str, Any]:
    """What the message says, in bits: all together, by layers, and by what is said; each to a thousandth."""
    parts = {name: round(bits, 3) for name, bits in sorted(message.paid.items())}
    return {"bits": message.bits, "layers": [round(bits, 3) for bits in message.layer_bits], **parts}


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
