"""The main job, end to end, on embedded data and on third-party nets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import boundlab as bl

SCHEMA = json.loads((Path(bl.__file__).parent / "report" / "audit.schema.json").read_text(encoding="utf-8"))


Pair = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def digits() -> tuple[Pair, Pair]:
    """The train and the test part, each as (x, y)."""
    data = bl.load_data("digits")
    assert data.x_train is not None
    assert data.y_train is not None
    assert data.x_test is not None
    assert data.y_test is not None
    return (data.x_train, data.y_train), (data.x_test, data.y_test)


@pytest.fixture(scope="module")
def net(digits: tuple[Pair, Pair]) -> bl.Network:
    return bl.train_mlp(*digits[0], hidden=(24, 16), epochs=15, rng=0)


@pytest.fixture(scope="module")
def audit(net: bl.Network, digits: tuple[Pair, Pair]) -> bl.Audit:
    return bl.audit(
        net,
        train=digits[0],
        holdout=digits[1],
        unseen_holdout=True,
        rng=3,
    )


def test_the_json_follows_its_schema(audit: bl.Audit) -> None:
    import jsonschema

    jsonschema.validate(json.loads(audit.to_json()), SCHEMA)


def test_the_json_has_the_promised_rows(audit: bl.Audit, net: bl.Network) -> None:
    found = audit.to_dict()
    columns = ("layer", "rows", "fan_in", "total_median", "published", "bernstein", "kl", "binomial", "vacuous_share")
    assert len(found["sample_sizes"]) == len(net.layers)
    for row in found["sample_sizes"]:
        assert set(columns) <= set(row)
        assert row["binomial"] <= row["kl"] <= row["bernstein"] <= row["published"]
    for verdict in found["verdicts"]:
        assert verdict["state"] in ("upheld", "violated", "undecided")
        assert isinstance(verdict["failures"], int)
    assert 0 < found["test_error"] < 0.2


def test_the_terms_of_every_bound_add_up(audit: bl.Audit) -> None:
    for _, bound in audit.bounds:
        assert sum(v for _, v in bound.terms) == pytest.approx(bound.raw)
        assert bound.value <= 1
        assert bound.vacuous == (bound.raw >= bound.chance)


def test_the_published_theorem_is_vacuous_and_its_premises_are_refuted(audit: bl.Audit) -> None:
    assert all(row["vacuous_share"] == 1 for row in audit.sample_sizes)
    published = audit.certificates[0]
    assert published.vacuous
    assert published.void
    statuses = {p.text.split(":")[0]: str(p.status) for p in audit.premises}
    assert statuses["Assumption 2"] == "violated"


def test_what_promises_nothing_relative_is_refuted(audit: bl.Audit) -> None:
    states = {t.verdict.claim.name: str(t.verdict.state) for t in audit.verdicts}
    refuted = [claim for claim, state in states.items() if state == "violated"]
    assert refuted == [c for c in states if c.startswith("corenet-budget: f̂(x) ∈")]


def test_the_same_seed_gives_the_same_audit(net: bl.Network, digits: tuple[Pair, Pair], audit: bl.Audit) -> None:
    again = bl.audit(
        net,
        train=digits[0],
        holdout=digits[1],
        unseen_holdout=True,
        rng=3,
    )
    assert again.to_json() == audit.to_json()


def test_the_page_is_one_self_contained_file(audit: bl.Audit, tmp_path: Path) -> None:
    page = tmp_path / "deep" / "report.html"
    text = audit.to_html(page)
    assert page.read_text(encoding="utf-8") == text
    assert text.count("<svg") >= 5
    assert 'src="http' not in text
    assert "<script" not in text
    assert "vacuous" in text
    assert not list(page.parent.glob(".*")), "no draft is left behind"


def test_the_headline_calls_a_vacuous_audit_vacuous(audit: bl.Audit) -> None:
    from boundlab.report.summary import headline

    assert headline(audit).startswith("No certificate says anything here")


def test_a_wide_net_has_a_certificate_that_says_something() -> None:
    wide = bl.random_network((4000, 4, 2), rng=0, positive=True)
    audit = bl.audit(
        wide,
        inputs=lambda rng, n: rng.uniform(0.5, 1.5, (n, 4000)),
        methods=(bl.CoreNetRelative(eps=1.0, delta=0.1),),
        eps=1.0,
        delta=0.1,
        rng=0,
        max_trials=200,
    )
    promise = audit.certificates[0]
    assert promise.sampled_share > 0
    assert promise.met
    assert not promise.void
    assert str(audit.verdicts[0].verdict.state) == "upheld"
    assert not audit.verdicts[0].trivial


NETS = (
    ("mnist_fc/mnist-net_256x2.onnx", "mnist"),
    ("eran_mnist_relu/mnist_relu_3_50.onnx", "mnist"),
    ("acasxu/acasxu_1_1.onnx", "acasxu_1_1"),
    ("control/cartpole.onnx", "cartpole"),
)


@pytest.mark.parametrize(("file", "data"), NETS)
def test_a_third_party_net_audits_without_change(file: str, data: str, boundlab_data: Path) -> None:
    net = bl.load_network(str(boundlab_data / "nets" / file))
    source = data if data == "mnist" else str(boundlab_data / "nets" / f"index.json#{data}")
    given = bl.load_data(source)
    if given.x_train is None:
        audit = bl.audit(net, inputs=given.sample, rng=0, max_trials=300)
        assert audit.data["fresh"] is None, "fresh inputs never run out"
        assert "drew them for this audit" in audit.premises[0].evidence
    else:
        assert given.y_train is not None
        assert given.x_test is not None
        assert given.y_test is not None
        train = (given.x_train[:3000], given.y_train[:3000])
        audit = bl.audit(net, train=train, holdout=(given.x_test[:1500], given.y_test[:1500]), rng=0, max_trials=300)
        assert audit.test_error is not None
        assert audit.test_error < 0.06
    assert audit.net["relu_after_last"] == ("eran" in file)
    broken = [t.verdict.claim.name for t in audit.verdicts if t.promised and str(t.verdict.state) == "violated"]
    assert not broken, "a promise was broken"
    json.loads(audit.to_json())


def test_without_a_holdout_the_premise_is_violated_and_said_so(net: bl.Network, digits: tuple[Pair, Pair]) -> None:
    audit = bl.audit(net, train=digits[0], rng=0, max_trials=100)
    assert str(audit.premises[0].status) == "violated"
    assert audit.test_error is None
    assert all(c.void for c in audit.certificates)
    assert "test set" not in {b.name for _, b in audit.bounds}
    assert any("hold-out" in note for note in audit.notes)


def test_training_points_in_the_holdout_are_found(net: bl.Network, digits: tuple[Pair, Pair]) -> None:
    x, y = digits[0]
    audit = bl.audit(net, train=(x, y), holdout=(x[:300], y[:300]), unseen_holdout=True, rng=0, max_trials=100)
    assert str(audit.premises[0].status) == "violated"
    assert "300 of 300" in audit.premises[0].evidence


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"delta": 0.0}, "delta must be in (0, 1)"),
        ({"delta": 1.0}, "delta must be in (0, 1)"),
        ({"eps": 1.5}, "eps must be in (0, 1]"),
        ({"eps": 0.0}, "eps must be in (0, 1]"),
        ({"rng": -1}, "rng must be"),
        ({"holdout": None, "train": None}, "an audit needs"),
    ],
)
def test_bad_numbers_are_refused_in_one_line(
    net: bl.Network, digits: tuple[Pair, Pair], change: dict[str, Any], rule: str
) -> None:
    arguments: dict[str, Any] = {
        "train": digits[0],
        "holdout": digits[1],
        **change,
    }
    with pytest.raises(bl.InvalidParameter) as fault:
        bl.audit(net, **arguments)
    assert rule in str(fault.value)
    assert "\n" not in str(fault.value)
