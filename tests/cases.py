"""The tables that the tests are parametrised over: a new method is one row here."""

from __future__ import annotations

from boundlab.bounds import CoreNetCorollary, GeneralizationBound, Occam, TestSet
from boundlab.compressors.corenet import CoreNet, CoreNetAdditive, CoreNetBudget, CoreNetRelative
from boundlab.compressors.method import Compressor

COMPRESSORS: list[Compressor] = [
    CoreNet(eps=0.5, delta=0.1),
    CoreNetRelative(eps=0.5, delta=0.1),
    CoreNetAdditive(eps=0.5, delta=0.1),
    CoreNetBudget(nnz=200, delta=0.1),
]

BOUNDS: list[GeneralizationBound] = [TestSet(delta=0.05), Occam(delta=0.05), CoreNetCorollary(delta=0.05)]
