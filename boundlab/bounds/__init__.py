"""One file per generalization bound: evidence in, an upper bound on the risk out."""

from __future__ import annotations

from typing import Any

from boundlab._errors import InvalidParameter
from boundlab.bounds.corenet_corollary import CoreNetCorollary
from boundlab.bounds.generalization_bound import GeneralizationBound, Subject
from boundlab.bounds.occam import Occam
from boundlab.bounds.test_set import TestSet
from boundlab.promises import Bound

__all__ = ["CoreNetCorollary", "GeneralizationBound", "Occam", "TestSet", "bound"]


def bound(net: Subject, method: GeneralizationBound, x: Any, y: Any) -> Bound:
    """Bound the risk of a net.

    Parameters
    ----------
    net : Network, ModuleNet or compression
        Of a compression most methods speak of the compressed net; their docstrings say so.
    method : GeneralizationBound
        Which theorem: ``Occam()`` and ``CoreNetCorollary()`` take the training examples, ``TestSet()`` fresh ones.
    x : array-like, shape (n, features)
        The examples.
    y : array-like of int, shape (n,)
        Their labels, 0..classes-1.

    Returns
    -------
    Bound
        Its terms, premises and facts; the method's docstring says which net is certified.

    Raises
    ------
    InvalidParameter
        If an argument is not what the method needs.
    PremiseViolated
        If the method's theorem does not cover this net or compression.
    UnsupportedLayer
        If the net holds what the method does not cover.
    """
    if not isinstance(method, GeneralizationBound):
        raise InvalidParameter(f"method must be a GeneralizationBound such as Occam(), got {type(method).__name__}.")
    return method(net, x, y)
