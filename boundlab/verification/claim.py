"""What is claimed: P(failure) <= delta, over which randomness, by which theorem."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from boundlab._errors import InvalidParameter, choice, positive_int, probability
from boundlab.verification.nested import nested_thresholds


class Over(StrEnum):
    """Over what one trial is random, and therefore what a verdict speaks of."""

    JOINT = "coins,x"
    """P over fresh coins and a fresh input together: both are drawn in every trial."""
    POINT = "coins | x fixed"
    """P over fresh coins at one fixed input; a verdict says nothing of other inputs."""
    EVERYWHERE = "coins, all x"
    """P over coins that some x fails: a trial draws coins and answers for all x, ok only if every x was covered."""
    NESTED = "coins, P_x"
    """P over coins that the failure rate over x, given the coins, exceeds gamma; see `Claim.gamma`."""
    SET_MEAN = "coins, mean over a set"
    """P over coins and a uniform member of one given set: a trial draws coins and answers the failing share."""
    SET = "x of a set | coins fixed"
    """The failing share of one finite set, its members drawn without replacement; see `Claim.population`."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """The claim P(failure) <= delta.

    Parameters
    ----------
    name : str
        What a reader is told, not empty.
    delta : float in (0, 1)
        The failure probability that the theorem promises.
    over : Over or its text
        The randomness of one trial: "coins,x" (fresh coins and a fresh input), "coins | x fixed", "coins, all x",
        "coins, P_x" (the failure rate given the coins exceeds gamma), "coins, mean over a set" (a trial answers a
        share in [0, 1]), "x of a set | coins fixed" (without replacement).
    theorem : str
        The slug of the theorem behind the promise, or "".
    parameters : mapping of str to JSON values
        What else sets this claim apart from others: the method, m, eps, a fingerprint of the net.
    gamma : float in (0, 1)
        For "coins, P_x", and only there: the failure rate that given coins may have.
    beta_upper, beta_lower : float in (0, 1)
        For "coins, P_x": the levels of the limits by which a trial judges its coins (default .01 and delta/100).
    population : int
        For "x of a set | coins fixed", and only there: the members of the set.

    Raises
    ------
    InvalidParameter
        If delta is outside (0, 1), `over` is another quantifier, the name is empty, the parameters are not JSON, or
        gamma or population is missing or out of place.

    Examples
    --------
    >>> str(Claim(name="relative error at most 0.1", delta=0.05).over)
    'coins,x'
    """

    name: str
    delta: float
    over: Over | str = Over.JOINT
    theorem: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict, hash=False)
    gamma: float | None = None
    beta_upper: float | None = None
    beta_lower: float | None = None
    population: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise InvalidParameter(f"name must be a text that is not empty, got name={self.name!r}.")
        object.__setattr__(self, "delta", probability("delta", self.delta))
        object.__setattr__(self, "over", choice("over", self.over, Over))
        if not isinstance(self.theorem, str):
            raise InvalidParameter(f"theorem must be a text, got theorem={self.theorem!r}.")
        if not isinstance(self.parameters, Mapping) or not all(isinstance(key, str) for key in self.parameters):
            raise InvalidParameter(f"parameters must have text keys, as a mapping, got {self.parameters!r}.")
        try:
            text = json.dumps(dict(self.parameters), allow_nan=False)
        except (TypeError, ValueError) as reason:
            raise InvalidParameter(f"parameters must be JSON values, got {reason}.") from None
        object.__setattr__(self, "parameters", json.loads(text))  # a deep copy: the caller's mapping stays theirs
        self._set_nested()
        if (self.population is not None) != (self.over is Over.SET):
            raise InvalidParameter(f"population must be given for {str(Over.SET)!r} only, got {self.population!r}.")
        if self.population is not None:
            object.__setattr__(self, "population", positive_int("population", self.population))

    def _set_nested(self) -> None:
        nested = self.over is Over.NESTED
        if (self.gamma is not None) != nested:
            raise InvalidParameter(f"gamma must be given for {str(Over.NESTED)!r} only, got gamma={self.gamma!r}.")
        if self.gamma is not None:
            object.__setattr__(self, "gamma", probability("gamma", self.gamma))
        for name, default in (("beta_upper", 0.01), ("beta_lower", self.delta / 100.0)):
            value = getattr(self, name)
            if value is not None and not nested:
                raise InvalidParameter(f"{name} must be given for {str(Over.NESTED)!r} only, got {name}={value!r}.")
            if nested:
                object.__setattr__(self, name, default if value is None else probability(name, value))

    @property
    def thresholds(self) -> tuple[float, float]:
        """The rates at which `upheld` and `violated` are judged: delta and delta, apart for a nested claim."""
        if self.beta_upper is None or self.beta_lower is None:
            return self.delta, self.delta
        return nested_thresholds(self.delta, self.beta_upper, self.beta_lower)

    def to_dict(self) -> dict[str, Any]:
        """The claim as JSON values; fields that its quantifier does not use are left out."""
        fields = {
            "name": self.name,
            "delta": self.delta,
            "over": str(self.over),
            "theorem": self.theorem,
            "parameters": dict(self.parameters),
        }
        extra = ("gamma", "beta_upper", "beta_lower", "population")
        return fields | {name: value for name in extra if (value := getattr(self, name)) is not None}

    @property
    def id(self) -> str:
        """The blake2b-128 digest, in hex, of the claim's canonical JSON: equal claims on any machine, equal ids."""
        text = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
