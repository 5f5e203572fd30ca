"""What is claimed: P(failure) <= delta, over which randomness, by which theorem."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from boundlab._errors import InvalidParameter, probability

QUANTIFIERS = ("coins,x", "coins | x fixed")
"""Over what a trial may be random: fresh coins and a fresh input together, or fresh coins at one fixed input."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """The claim P(failure) <= delta.

    Parameters
    ----------
    name : str
        What a reader is told, not empty.
    delta : float in (0, 1)
        The failure probability that the theorem promises.
    over : {"coins,x", "coins | x fixed"}
        The randomness of one trial. "coins,x" draws fresh coins and a fresh input in every trial; "coins | x fixed"
        draws fresh coins for one input, and its verdict says nothing of other inputs.
    theorem : str
        The slug of the theorem behind the promise, or "".
    parameters : mapping of str to JSON values
        What else sets this claim apart from others: the method, m, eps, a fingerprint of the net.

    Raises
    ------
    InvalidParameter
        If delta is outside (0, 1), `over` is another quantifier, the name is empty or the parameters are not JSON.

    Examples
    --------
    >>> Claim(name="relative error at most 0.1", delta=0.05).over
    'coins,x'
    """

    name: str
    delta: float
    over: str = "coins,x"
    theorem: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise InvalidParameter(f"name must be a text that is not empty, got name={self.name!r}.")
        object.__setattr__(self, "delta", probability("delta", self.delta))
        if self.over not in QUANTIFIERS:
            allowed = " or ".join(repr(q) for q in QUANTIFIERS)
            raise InvalidParameter(f"over must be {allowed}, got over={self.over!r}.")
        if not all(isinstance(key, str) for key in self.parameters):
            raise InvalidParameter(f"parameters must have text keys, got {list(self.parameters)!r}.")
        try:
            text = json.dumps(dict(self.parameters), allow_nan=False)
        except (TypeError, ValueError) as reason:
            raise InvalidParameter(f"parameters must be JSON values, got {reason}.") from None
        object.__setattr__(self, "parameters", json.loads(text))  # a deep copy: the caller's mapping stays theirs

    @property
    def id(self) -> str:
        """The blake2b-128 digest, in hex, of the claim's canonical JSON: equal claims on any machine, equal ids."""
        fields = {
            "name": self.name,
            "delta": self.delta,
            "over": self.over,
            "theorem": self.theorem,
            "parameters": self.parameters,
        }
        text = json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
