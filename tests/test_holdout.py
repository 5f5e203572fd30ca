"""What fresh points alone certify of one compressed net: exact limits, whatever the net is made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.stats import binom

from boundlab import InvalidParameter, Network, Status, random_network
from boundlab.compressors.corenet import CoreNetBudget
from boundlab.compressors.method import compress
from boundlab.holdout import CONFIDENCE, certify_on_holdout
from boundlab.network import Layer
from boundlab.records import Record, Row


@dataclass(frozen=True)
class Pair(Record):
    """Two nets, one of which stands for the other."""

    original: Network
    net: Network

    def rows(self) -> list[Row]:
        return []


def linear(*rows: list[float]) -> Network:
    return Network(layers=(Layer(weight=np.array(rows), bias=np.zeros(len(rows)), relu=False),))


IDENTITY = linear([1.0, 0.0], [0.0, 1.0])


def test_limits_are_clopper_pearsons_and_an_order_statistic() -> None:
    # the second net decides otherwise where x_1 < x_0 < 2 x_1, which these points do 3 times in 400
    x = np.outer(np.linspace(1.0, 2.0, 400), [3.0, 1.0])  # the nets are homogeneous
    x[:3] = np.outer([1.0, 1.1, 1.2], [1.5, 1.0])
    found = certify_on_holdout(Pair(IDENTITY, linear([1.0, 0.0], [0.0, 2.0])), x)
    assert binom.cdf(3, 400, found.delta) <= CONFIDENCE / 2
    assert binom.cdf(3, 400, found.delta - 1e-9) > CONFIDENCE / 2
    assert found.over == "x"
    assert found.error["agreement"] == 1 - 3 / 400
    # the error is 1/4 of |f| at the common points and 1/2.5 at three: at share .05 rank 397 of 400 is enough
    assert binom.sf(396, 400, 0.95) <= CONFIDENCE / 2
    assert found.error["relative_l1_limit"] == pytest.approx(0.25)
    assert certify_on_holdout(Pair(IDENTITY, linear([1.0, 0.0], [0.0, 2.0])), x, share=0.001).error[
        "relative_l1_limit"
    ] == float("inf"), "400 points cannot tell a share of 1/1000"


def test_one_output_is_certified_by_its_error() -> None:
    x = np.random.default_rng(1).random((500, 2))
    found = certify_on_holdout(Pair(linear([1.0, 1.0]), linear([1.1, 1.1])), x)
    assert found.delta == 0.05
    assert found.eps == pytest.approx(0.1)
    assert float(found.claim.split("≤ ")[1].split(" ")[0]) == found.eps, "not rounded down"


def test_calibration_points_are_no_holdout() -> None:
    net, x = random_network((6, 8, 3), rng=0), np.random.default_rng(2).random((300, 6))
    small = compress(net, CoreNetBudget(nnz=40), x, rng=0)
    assert certify_on_holdout(small, x).void
    fresh = certify_on_holdout(small, np.random.default_rng(3).random((300, 6)), independent=True)
    assert not fresh.void
    assert [p.status for p in fresh.premises] == [Status.ASSUMED] * 2
    in_batches = certify_on_holdout(small, lambda: np.split(np.random.default_rng(3).random((300, 6)), 3))
    assert (in_batches.delta, dict(in_batches.error)) == (fresh.delta, dict(fresh.error))


def test_repeated_points_are_no_sample_and_stored_precision_hides_nothing() -> None:
    pair = Pair(IDENTITY, linear([1.0, 0.0], [0.0, 2.0]))
    assert certify_on_holdout(pair, np.repeat(np.random.default_rng(0).random((5, 2)), 400, axis=0)).void
    net, x = random_network((6, 8, 3), rng=0), np.random.default_rng(2).random((300, 6)).astype(np.float32)
    assert certify_on_holdout(compress(net, CoreNetBudget(nnz=40), x, rng=0), x.astype(np.float64)).void
    assert certify_on_holdout(compress(net, CoreNetBudget(nnz=40), x.astype(np.float64), rng=0), x).void


def test_a_certificate_that_a_guess_would_get_is_vacuous() -> None:
    x = np.random.default_rng(5).random((300, 2))
    assert certify_on_holdout(Pair(IDENTITY, linear([0.0, 1.0], [1.0, 0.0])), x).vacuous, "every decision is changed"
    assert not certify_on_holdout(Pair(IDENTITY, linear([1.0, 0.0], [0.0, 1.001])), x).vacuous


def test_bad_input_is_refused() -> None:
    pair = Pair(IDENTITY, IDENTITY)
    with pytest.raises(InvalidParameter, match="at least one point"):
        certify_on_holdout(pair, np.zeros((0, 2)))
    with pytest.raises(InvalidParameter, match="finite"):
        certify_on_holdout(pair, np.array([[np.inf, 0.0]]))
    with pytest.raises(InvalidParameter, match="share"):
        certify_on_holdout(pair, np.ones((3, 2)), share=1.0)
