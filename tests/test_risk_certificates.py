"""Certificates as files: issued, read strictly, verified by somebody who believes nothing but the message."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import boundlab as bl
from boundlab._errors import InvalidParameter, PremiseViolated, UnsupportedLayer
from boundlab.bounds import sampled_net
from boundlab.bounds.occam import Occam
from boundlab.bounds.occam_pyramid import OccamPyramid, descend
from boundlab.bounds.sampled_net import SampledDraw, SampledLaw, SampledNet, law_of, read_law
from boundlab.bounds.single_draw import single_draw
from boundlab.codes.pyramid import PyramidLayer
from boundlab.nets.feedforward import AveragePool, FeedForward, Linear, Relu, Rescale, Reshape, feed_forward
from boundlab.nets.module_net import ModuleNet
from boundlab.nets.net_message import decode, encode
from boundlab.nets.prepared import prepared
from boundlab.network import Layer, Network
from boundlab.risk_certificates import RiskCertificate, check_certificate, issue_certificate, read_certificate

CERTIFICATES = Path(__file__).parents[1] / "docs" / "results" / "certificates"
METHODS = [OccamPyramid(trials=8), Occam(), SampledNet(trials=4, tries=4)]


@pytest.fixture(scope="module")
def world() -> tuple[Network, np.ndarray, np.ndarray]:
    """Two classes told apart by one direction, 4,000 points, and a net that nearly knows it."""
    rng = np.random.default_rng(0)
    x = rng.random((4_000, 6))
    y = ((x[:, 0] + x[:, 1] > x[:, 2] + x[:, 3]) ^ (rng.random(4_000) < 0.05)).astype(np.int64)
    direction = np.array([1.0, 1.0, -1.0, -1.0, 0.02, -0.01])
    hidden = Layer(weight=np.stack([-direction, direction]), bias=np.array([0.01, 0.0]), relu=True)
    return Network(layers=(hidden, Layer(weight=np.eye(2), bias=np.zeros(2), relu=False))), x, y


@pytest.fixture(scope="module")
def issued(world: tuple[Network, np.ndarray, np.ndarray]) -> list[RiskCertificate]:
    return [issue_certificate(world[0], method, *world[1:], data="a world") for method in METHODS]


def test_a_certificate_is_accepted_on_its_own_examples(
    world: tuple[Network, np.ndarray, np.ndarray], issued: list[RiskCertificate], tmp_path: Path
) -> None:
    for certificate in issued:
        found = check_certificate(read_certificate(certificate.save(tmp_path / "net.cert")), *world[1:])
        assert found.valid, found.faults
        assert found.same_data
        assert found.errors == certificate.errors
        assert certificate.bound < 0.5
        assert found.to_dict()["train_error"] == certificate.errors / 4_000


def test_what_is_written_is_read_back_whole(issued: list[RiskCertificate], tmp_path: Path) -> None:
    for certificate in issued:
        again = read_certificate(certificate.save(tmp_path / "net.cert"))
        assert again == certificate
        assert again.save(tmp_path / "again.cert").read_bytes() == (tmp_path / "net.cert").read_bytes()


def test_a_bound_below_the_issued_one_is_refused(
    world: tuple[Network, np.ndarray, np.ndarray], issued: list[RiskCertificate]
) -> None:
    for certificate in issued:
        for share in (1e-9, 1e-3, 0.5):
            found = check_certificate(replace(certificate, bound=certificate.bound * (1 - share)), *world[1:])
            assert not found.valid
            assert "does not follow" in " ".join(found.faults)
        assert check_certificate(replace(certificate, bound=1.0), *world[1:]).valid


def test_fewer_errors_and_smaller_prices_than_the_true_ones_are_refused(
    world: tuple[Network, np.ndarray, np.ndarray], issued: list[RiskCertificate]
) -> None:
    for certificate in issued:
        found = check_certificate(replace(certificate, errors=0), *world[1:])
        assert certificate.errors > 0
        assert "errors on" in found.faults[0]
        cheaper = replace(certificate, paid={**certificate.paid, "bits": certificate.paid["bits"] - 8})
        assert "what the file says was paid" in check_certificate(cheaper, *world[1:]).faults[0]
        smaller = replace(certificate, delta=certificate.delta / 2)
        assert not check_certificate(smaller, *world[1:]).valid


def test_other_examples_are_judged_for_what_they_are(
    world: tuple[Network, np.ndarray, np.ndarray], issued: list[RiskCertificate]
) -> None:
    _, x, y = world
    assert not check_certificate(issued[0], x, 1 - y).valid
    assert "on 100 examples" in check_certificate(issued[0], x[:100], y[:100]).faults[0]
    turned = check_certificate(issued[0], x[::-1], y[::-1])
    assert turned.valid
    assert not turned.same_data


def test_a_net_that_its_law_does_not_draw_is_refused(
    world: tuple[Network, np.ndarray, np.ndarray], issued: list[RiskCertificate]
) -> None:
    drawn = issued[2]
    law = read_law(drawn.law, drawn.features)
    other = replace(law, norms=(law.norms[0] + 1, *law.norms[1:]))
    found = check_certificate(replace(drawn, law=other.data), *world[1:])
    assert found.faults[0] == "the net is not the one that the law draws."
    with pytest.raises(InvalidParameter, match="a law if, and only if"):
        replace(drawn, law=b"")
    another = replace(drawn, law=replace(law, counter=law.counter + 1).data)
    assert check_certificate(another, *world[1:]).faults[0] == "the net is not the one that the law draws."


def test_a_single_draw_pays_for_more_laws_than_anybody_can_hash(
    world: tuple[Network, np.ndarray, np.ndarray], issued: list[RiskCertificate]
) -> None:
    own = issued[2]
    at = {draws: single_draw(own.errors / own.n, own.nats, own.n, own.delta, draws=draws) for draws in (1, 2**64)}
    assert own.bound == at[2**64] > at[1]
    assert not check_certificate(replace(own, bound=at[1]), *world[1:]).valid
    assert any("fewer than 2^64 laws were hashed, by anybody" in text for text in own.assumed)
    bound = SampledNet(trials=1, tries=1)(*world)
    assert any("fewer than 2^64 laws" in premise.text for premise in bound.premises)


def test_whoever_reads_a_certificate_is_told_that_its_kind_must_not_be_chosen_by_the_data(
    issued: list[RiskCertificate],
) -> None:
    for certificate in issued:
        assert any("the kind of certificate, Occam or single draw, was fixed" in text for text in certificate.assumed)


def test_of_several_draws_the_one_with_the_smallest_bound_is_kept(
    world: tuple[Network, np.ndarray, np.ndarray],
) -> None:
    net, x, y = world
    found = SampledNet(trials=1, tries=6).drawn(net, x, y)
    laws = [replace(found.law, counter=k) for k in range(6)]
    values = [SampledDraw.of(law.drawn(), x, y, law=law).value(0.05) for law in laws]
    assert len(set(values)) > 1
    assert found.value(0.05) == min(values)
    assert found.law.counter == int(np.argmin(values))


def scaled(law: SampledLaw, layer: int, factor: int) -> FeedForward:
    """The frequencies, those of one layer multiplied."""
    own = [found for found in law.frequencies.layers if isinstance(found, PyramidLayer)]
    own[layer] = PyramidLayer(z=own[layer].z * factor, levels=own[layer].levels, bias=own[layer].bias)
    return law.frequencies.with_layers(own)


def test_a_law_that_is_written_in_another_way_is_refused_so_that_coins_cannot_be_had_again(
    world: tuple[Network, np.ndarray, np.ndarray],
) -> None:
    law = law_of(feed_forward(world[0]), [20, 20])
    assert np.abs(law.frequencies.layers[1].weight).astype(bool).sum(axis=1).tolist() == [1, 1]  # one edge in a row
    for layer, factor in ((0, 3), (1, 2)):
        frequencies = scaled(law, layer, factor)
        with pytest.raises(InvalidParameter, match="a law must be in lowest terms"):
            SampledLaw(frequencies=frequencies, norms=law.norms)
        head = np.array([0, 2, *law.norms], "<u4").tobytes()
        assert read_law(head + encode(law.frequencies).data, 6).data == law.data
        with pytest.raises(InvalidParameter, match="a law must be in lowest terms"):
            read_law(head + encode(frequencies).data, 6)
    doubled = Network(layers=tuple(replace(own, weight=2 * own.weight, bias=own.bias) for own in world[0].layers))
    other = law_of(feed_forward(doubled), [20, 20])
    for a, b in zip(law.frequencies.layers, other.frequencies.layers, strict=True):
        assert isinstance(a, PyramidLayer)
        assert isinstance(b, PyramidLayer)
        assert np.array_equal(a.z, b.z)
    with pytest.raises(InvalidParameter, match="a law must be in lowest terms"):
        SampledLaw(frequencies=scaled(law, 0, 0), norms=law.norms)


def test_no_law_is_issued_that_its_reader_would_refuse(
    world: tuple[Network, np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampled_net, "DRAWS", 600)  # four rows of 256, where the search begins, are more
    own = issue_certificate(world[0], SampledNet(trials=8, tries=2), *world[1:])
    assert check_certificate(own, *world[1:]).valid
    assert sum(2 * m for m in read_law(own.law, own.features).norms) <= 600
    with pytest.raises(InvalidParameter, match="a law must make up to 600 draws, got 602"):
        law_of(feed_forward(world[0]), [1, 300])


@pytest.mark.parametrize(
    "name", ["/data/" + "l" * 300 + "/d.npz", "b\udcd8d.npz", "a\u00a0b.npz", "two\nlines", "Ü.npz"]
)
def test_whatever_the_data_are_called_the_certificate_is_read_again(
    name: str, world: tuple[Network, np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    net, x, y = world
    own = issue_certificate(net, Occam(steps=(1,)), x[:300], y[:300], data=name)
    again = read_certificate(own.save(tmp_path / "net.cert"))
    assert again == own
    assert check_certificate(again, x[:300], y[:300]).valid
    assert again.data["name"].endswith(name[-4:])
    if not name.isprintable() or len(name) > 200:
        with pytest.raises(InvalidParameter, match="data must be described by printable text of up to 200 characters"):
            replace(own, data={**own.data, "name": name})


def test_masked_ragged_and_empty_examples_are_refused(
    world: tuple[Network, np.ndarray, np.ndarray], issued: list[RiskCertificate]
) -> None:
    _, x, y = world
    hidden = np.ma.array(x, mask=np.ones(x.shape, bool))
    images = x.reshape(-1, 1, 2, 3)
    assert check_certificate(issued[0], images, y).valid
    for points, own, message in (
        (hidden, y, "x must have no masked entries"),
        (hidden.reshape(-1, 1, 2, 3), y, "x must have no masked entries"),
        (x, np.ma.array(y, mask=True), "y must have no masked entries"),
        (images[:0], y, "at least one point"),
        ([[1.0, 2.0], [3.0]], y, "x must be an array of numbers"),
    ):
        with pytest.raises(InvalidParameter, match=message):
            check_certificate(issued[0], points, own)


def test_the_error_of_the_commonest_class_stands_beside_the_bound(
    world: tuple[Network, np.ndarray, np.ndarray],
) -> None:
    net, x, _ = world
    y = (np.arange(4_000) % 20 == 0).astype(int)  # one in twenty is of class 1
    own = issue_certificate(net, Occam(steps=(1,)), x, y)
    found = check_certificate(own, x, y)
    assert found.valid
    assert own.rows()[0]["constant_error"] == found.rows()[0]["constant_error"] == pytest.approx(0.05)
    assert found.to_dict()["constant_error"] == pytest.approx(0.05)
    wrong = check_certificate(replace(own, commonest=own.commonest - 1), x, y)
    assert wrong.faults == ("3800 labels are of one class at most, not 3799.",)


def test_a_certificate_has_the_same_bytes_on_every_machine(issued: list[RiskCertificate], tmp_path: Path) -> None:
    path = issued[0].save(tmp_path / "net.cert")
    assert path.read_bytes() == issued[0].text.encode("ascii")
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    with pytest.raises(InvalidParameter, match="must be in the one form that boundlab writes"):
        read_certificate(path)


def test_git_leaves_the_line_ends_of_certificates_alone() -> None:
    root = CERTIFICATES.parents[2]
    if shutil.which("git") is None or not (root / ".git").exists():
        pytest.skip("no git checkout")
    asked = ["git", "check-attr", "text", "docs/results/certificates/mnist_post_hoc.cert"]
    assert subprocess.run(asked, cwd=root, capture_output=True, text=True, check=True).stdout.endswith("text: unset\n")


def test_every_flipped_byte_is_detected_or_harmless(
    world: tuple[Network, np.ndarray, np.ndarray], issued: list[RiskCertificate], tmp_path: Path
) -> None:
    # harmless: what the file then claims is true all the same, as another name of the data or a larger count of errors
    net, x, y = world
    x, y = x[:500], y[:500]
    certificate = issue_certificate(net, Occam(steps=(1,)), x, y, data="a world")
    text = certificate.text.encode()
    path, rng = tmp_path / "net.cert", np.random.default_rng(1)
    for at in rng.choice(len(text), size=300, replace=False):
        flipped = bytearray(text)
        flipped[at] ^= 1 << int(rng.integers(0, 7))
        path.write_bytes(bytes(flipped))
        try:
            found = check_certificate(read_certificate(path), x, y)
        except InvalidParameter:
            continue
        own = found.certificate
        if found.valid:
            message = decode(own.message, own.features)
            assert message.net.count_errors(x, y) <= own.errors
            assert Occam(delta=own.delta).coded(message.net, x, y).n == own.n
            assert own.bound >= bl.Occam(delta=own.delta).coded(net, x, y).value(own.delta) * (1 - 1e-9)


def test_files_that_are_no_certificates_are_refused(issued: list[RiskCertificate], tmp_path: Path) -> None:
    path = tmp_path / "net.cert"
    fields = json.loads(issued[0].text)
    broken = {
        "not JSON": "{",
        "a list": "[]",
        "another format": json.dumps(fields | {"format": "boundlab risk certificate 3"}),
        "no claim": json.dumps({k: v for k, v in fields.items() if k != "claim"}),
        "another layout": json.dumps(fields),
        "one more field": json.dumps(fields | {"more": 1}, indent=1, sort_keys=True) + "\n",
        "a count as text": issued[0].text.replace(f'"n": {issued[0].n}', f'"n": "{issued[0].n}"'),
        "no number": issued[0].text.replace(f'"delta": {issued[0].delta}', '"delta": NaN'),
    }
    for text in broken.values():
        path.write_text(text)
        with pytest.raises(InvalidParameter):
            read_certificate(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidParameter, match="must be a certificate as boundlab writes it"):
        read_certificate(path)
    with pytest.raises(InvalidParameter, match="existing file"):
        read_certificate(tmp_path / "none.cert")


def test_batch_norms_are_refused_and_folded_ones_certified() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.random((300, 1, 6, 6)).astype(np.float32), rng.integers(0, 3, 300)
    torch.manual_seed(0)
    parts = [torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2), torch.nn.ReLU(), torch.nn.Flatten()]
    module = torch.nn.Sequential(*parts, torch.nn.Linear(32, 3)).eval()
    with pytest.raises(PremiseViolated, match="what is computed from the data must be part of the message"):
        issue_certificate(ModuleNet(module, x), Occam(), x, y)
    folded = bl.fold_batchnorm(module, x[:1]).module
    assert check_certificate(issue_certificate(ModuleNet(folded, x), Occam(), x, y), x.reshape(300, -1), y).valid


def test_a_residual_net_is_refused() -> None:
    class Block(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = torch.nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.inner(x)

    x, y = np.random.default_rng(0).random((20, 4)), np.arange(20) % 4
    with pytest.raises(UnsupportedLayer, match="read the one before it alone"):
        issue_certificate(ModuleNet(Block(), x), Occam(), x, y)


def test_preparation_is_part_of_the_chain() -> None:
    rng = np.random.default_rng(0)
    net = feed_forward(bl.random_network((9, 4, 3), rng=0))
    x = rng.random((50, 36))
    pooled = x.reshape(50, 3, 2, 3, 2).mean(axis=(2, 4)).reshape(50, 9)
    chain = prepared(net, shape=(1, 6, 6), pool=2)
    assert np.allclose(chain(x), net(pooled), atol=1e-14)
    assert [type(op) for op in chain.ops] == [Reshape, AveragePool, Linear, Relu, Linear]
    doubled = prepared(net, shape=(1, 6, 6), pool=2, scale=2.0, shift=-1.0)
    assert [(op.factor, op.offset, op.halvings) for op in doubled.ops if isinstance(op, Rescale)] == [(2, -1, 0)]
    assert np.allclose(doubled(x), net(2 * pooled - 1), atol=1e-13)
    folded = prepared(net, scale=1 / 0.3081, shift=-0.1307 / 0.3081)  # computed from data: it becomes weights
    assert [type(op) for op in folded.ops] == [Linear, Relu, Linear]
    assert np.allclose(folded(pooled), net((pooled - 0.1307) / 0.3081), atol=1e-12)
    images = FeedForward(features=9, ops=(Reshape(into=(1, 3, 3)), AveragePool(size=1), *net.ops))
    with pytest.raises(InvalidParameter, match="no message says them"):
        prepared(images, scale=0.3)
    with pytest.raises(InvalidParameter, match="a pool needs the shape"):
        prepared(net, pool=2)


def test_the_search_finds_the_lowest_place_of_a_bowl_within_its_trials() -> None:
    tried: list[tuple[int, ...]] = []

    def bowl(place: tuple[int, ...]) -> float:
        tried.append(place)
        return (place[0] - 7) ** 2 + (place[1] - 2) ** 2 + 0.5 * (place[0] - 7) * (place[1] - 2)

    assert descend(bowl, (0, 9), (10, 10), 100) == (7, 2)
    assert len(tried) == len(set(tried))
    tried.clear()
    descend(bowl, (0, 9), (10, 10), 5)
    assert len(tried) == 5


def test_a_law_draws_with_its_frequencies_and_keeps_the_rest(world: tuple[Network, np.ndarray, np.ndarray]) -> None:
    chain = feed_forward(world[0])
    law = law_of(chain, [1_000, 7])
    net = law.drawn()
    for own, f, m in zip(net.layers, law.frequencies.layers, law.norms, strict=True):
        scale = np.abs(own.weight).max(axis=1, initial=0.0)
        assert np.all((own.weight == 0) | (np.sign(own.weight) == np.sign(f.weight)))
        assert np.array_equal(own.bias, f.bias)
        assert (scale > 0).all()
        assert m in (1_000, 7)
    weights = np.abs(world[0].layers[0].weight)
    drawn = np.abs(net.layers[0].weight)
    # each row has 1,000 draws: five standard deviations, one false alarm in a million for each of twelve
    share, p = drawn / drawn.sum(axis=1, keepdims=True), weights / weights.sum(axis=1, keepdims=True)
    assert np.all(np.abs(share - p) < 5 * np.sqrt(p * (1 - p) / 1_000) + 2**-13)


@pytest.mark.parametrize("path", sorted(CERTIFICATES.glob("*.cert")), ids=lambda p: p.stem)
def test_committed_certificates_are_valid(path: Path) -> None:
    if not Path(os.environ.get("BOUNDLAB_DATA", "")).joinpath("mnist").is_dir():
        pytest.skip("$BOUNDLAB_DATA does not name a folder with MNIST")
    data = bl.load_data("mnist")
    certificate = read_certificate(path)
    found = check_certificate(certificate, data.x_train, data.y_train)
    assert found.valid, found.faults
    assert found.same_data
    assert certificate.bound < 0.22


def test_there_are_committed_certificates() -> None:
    assert {"mnist_post_hoc", "mnist_post_hoc_single_draw"} <= {p.stem for p in CERTIFICATES.glob("*.cert")}
