"""What every bound of the table has to keep: one net, one sample, the same questions."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from boundlab._errors import InvalidParameter
from boundlab.bounds.generalization_bound import GeneralizationBound, Sample
from boundlab.compressors.corenet import CoreNet
from boundlab.compressors.method import compress
from boundlab.nets.toy import random_network
from boundlab.promises import Standing, Status
from boundlab.records import Compression
from tests.cases import BOUND_SIZES, BOUNDS

EVERY = pytest.mark.parametrize("method", BOUNDS, ids=lambda m: type(m).__name__)


@pytest.fixture(scope="module")
def world() -> tuple[Compression, np.ndarray, np.ndarray]:
    """A net, kept whole by CoreNet, on 400 points, a tenth of them with another label than the net's."""
    rng = np.random.default_rng(3)
    net, x = random_network(BOUND_SIZES, rng=0), rng.random((400, 6))
    y = np.where(rng.random(400) < 0.1, rng.integers(0, 3, 400), net(x).argmax(axis=1))
    y[:3] = range(3)
    small = compress(net, CoreNet(eps=0.5, delta=0.1), x[:50], rng=0)
    assert isinstance(small, Compression)
    return small, x, y


@EVERY
def test_terms_add_up_and_everything_is_told(
    method: GeneralizationBound, world: tuple[Compression, np.ndarray, np.ndarray]
) -> None:
    found = method(*world)
    assert found.name
    assert found.raw == math.fsum(v for _, v in found.terms)
    assert all(value >= 0 for _, value in found.terms)
    assert found.delta == method.delta
    assert found.chance == pytest.approx(2 / 3)
    assert found.premises
    assert all(p.text and p.evidence for p in found.premises)
    assert all(math.isfinite(v) or v in (math.inf, -math.inf) for v in found.facts.values())
    assert bool(found.theorem) or found.standing is Standing.MEASURE
    assert any(p.status is Status.ASSUMED and "i.i.d." in p.text for p in found.premises) or found.measure


@EVERY
def test_the_same_question_has_the_same_answer(
    method: GeneralizationBound, world: tuple[Compression, np.ndarray, np.ndarray]
) -> None:
    assert method(*world).terms == method(*world).terms


@EVERY
def test_less_confidence_is_never_dearer(
    method: GeneralizationBound, world: tuple[Compression, np.ndarray, np.ndarray]
) -> None:
    if method(*world).measure:
        pytest.skip("a measure has no delta")
    assert replace(method, delta=1e-6)(*world).raw >= method(*world).raw * (1 - 1e-9)


@EVERY
def test_a_bound_is_at_least_the_error_on_its_own_examples(
    method: GeneralizationBound, world: tuple[Compression, np.ndarray, np.ndarray]
) -> None:
    # labels as bad as can be: whatever net is certified errs on most of the points, and no bound may be below chance
    small, x, _ = world
    worst = (small.net(x).argmin(axis=1)).astype(np.int64)
    found = method(small, x, worst)
    assert found.measure or found.raw > 1 / 3


@EVERY
def test_bad_evidence_is_refused(
    method: GeneralizationBound, world: tuple[Compression, np.ndarray, np.ndarray]
) -> None:
    small, x, y = world
    with pytest.raises(InvalidParameter):
        method(small, x[:, :5], y)
    with pytest.raises(InvalidParameter):
        method(small, x, y[:-1])
    with pytest.raises(InvalidParameter):
        method(small, x, y + 1)
    bad = x.copy()
    bad[0, 0] = math.nan
    with pytest.raises(InvalidParameter):
        method(small, bad, y)


def test_only_the_test_set_asks_for_fresh_examples() -> None:
    assert [type(m).__name__ for m in BOUNDS if m.sample is Sample.FRESH] == ["TestSet"]
