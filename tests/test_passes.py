"""An interrupted compression goes on where it stood, to the same coreset; a record of another call is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from boundlab import InvalidParameter, random_network
from boundlab.compressors.baselines import Magnitude
from boundlab.compressors.corenet import CoreNetBudget
from boundlab.compressors.method import Method, compress
from boundlab.compressors.sipp import SiPPDet
from boundlab.compressors.snip import SNIP
from boundlab.nets import importance, passes
from tests import cases
from tests.test_every_method import IMAGES, NET, X, module, weights

LOOKS = [m for m in cases.METHODS if m.modules]
on_modules = pytest.mark.parametrize("method", LOOKS, ids=lambda m: m.name)
every = pytest.mark.parametrize("method", cases.METHODS, ids=lambda m: m.name)


class Stop(KeyboardInterrupt):
    pass


@pytest.fixture(autouse=True)
def kept_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "KEEP_SECONDS", 0.0)
    monkeypatch.setattr(passes, "REST", 0.0)
    monkeypatch.setattr(importance, "VECTORS", 16)


def batches() -> Iterator[np.ndarray]:
    yield from np.split(IMAGES, [7, 20, 33, 50])


def told_by(run: Callable[[passes.Progress], Any]) -> tuple[Any, list[tuple[int, int]]]:
    """What a run returns, and what its progress told."""
    told: list[tuple[int, int]] = []
    return run(lambda k, n: told.append((k, n))), told


def resumed(run: Callable[[passes.Progress], Any], stops: list[tuple[int, int]]) -> Any:
    """What comes of a run that is interrupted at each of the stops, and goes on from there."""
    for stop in stops:
        told: list[tuple[int, int]] = []

        def at(k: int, n: int, told: list[tuple[int, int]] = told, stop: tuple[int, int] = stop) -> None:
            told.append((k, n))
            if (k, n) == stop:
                raise Stop

        with pytest.raises(Stop):
            run(at)
        assert told[-1] == stop
        own = [n for k, n in told if k == stop[0]]
        assert len(own) <= 2, "what was there when the record was opened, and one batch more"
    return run(lambda k, n: None)


@on_modules
def test_a_stream_goes_on_after_every_batch(method: Method, tmp_path: Path) -> None:
    whole, told = told_by(lambda tell: compress(module(), method, batches, rng=3, progress=tell))

    def run(tell: passes.Progress) -> Any:
        return compress(module(), method, batches, rng=3, record=tmp_path / "record", progress=tell)

    assert weights(resumed(run, told).net) == weights(whole.net)
    _, again = told_by(run)
    assert again == [max(t for t in told if t[0] == k) for k in sorted({k for k, _ in told})], "no batch is seen again"


@every
def test_a_fully_connected_net_goes_on_after_every_block(method: Method, tmp_path: Path) -> None:
    whole, told = told_by(lambda tell: compress(NET, method, X, rng=3, progress=tell))

    def run(tell: passes.Progress) -> Any:
        return compress(NET, method, X, rng=3, record=tmp_path / "record", progress=tell)

    assert weights(resumed(run, told).net) == weights(whole.net)


def test_a_record_serves_other_seeds(tmp_path: Path) -> None:
    method = CoreNetBudget(nnz=200)
    compress(NET, method, X, rng=0, record=tmp_path)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    second = compress(NET, method, X, rng=1, record=tmp_path)
    assert weights(second.net) == weights(compress(NET, method, X, rng=1).net)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()} == before


def test_a_method_that_looks_at_nothing_keeps_nothing(tmp_path: Path) -> None:
    compress(NET, Magnitude(nnz=50), X, rng=0, record=tmp_path / "record")
    assert not (tmp_path / "record").exists()


@pytest.mark.parametrize(
    ("net", "method", "points"),
    [
        (random_network((20, 12, 8, 3), rng=5, bias=True), SiPPDet(nnz=200), X),
        (NET, SiPPDet(nnz=201), X),
        (NET, replace(CoreNetBudget(nnz=200), K=2.0), X),
        (NET, SNIP(nnz=200, labels=np.arange(len(X)) % 2), X),
        (NET, SiPPDet(nnz=200), X[::-1]),
        (NET, SiPPDet(nnz=200), X + 1e-12),
    ],
    ids=["net", "budget", "method", "labels", "order", "points"],
)
def test_a_record_of_another_call_is_refused(net: Any, method: Method, points: np.ndarray, tmp_path: Path) -> None:
    own: Method = SNIP(nnz=200, labels=np.arange(len(X)) % 3) if isinstance(method, SNIP) else SiPPDet(nnz=200)
    compress(NET, own, X, rng=0, record=tmp_path)
    with pytest.raises(InvalidParameter, match="a record must be one of the same net, method and points, got "):
        compress(net, method, points, rng=0, record=tmp_path)


def test_other_batches_are_refused(tmp_path: Path) -> None:
    def stop(k: int, n: int) -> None:
        if n >= 20:
            raise Stop

    with pytest.raises(Stop):
        compress(module(), SiPPDet(nnz=200, C=1.0), batches, rng=0, record=tmp_path, progress=stop)
    with pytest.raises(InvalidParameter, match="cut into the same batches"):
        compress(module(), SiPPDet(nnz=200, C=1.0), lambda: np.split(IMAGES, 10), rng=0, record=tmp_path)


def test_a_damaged_record_is_refused(tmp_path: Path) -> None:
    compress(NET, SiPPDet(nnz=200), X, rng=0, record=tmp_path)
    path = tmp_path / "pass_1.npz"
    stored = dict(np.load(path))
    np.savez(path, **{k: v for k, v in stored.items() if k != "seen best 0"})
    with pytest.raises(InvalidParameter, match=r"pass_1.npz must be a whole record of a pass, got KeyError"):
        compress(NET, SiPPDet(nnz=200), X, rng=0, record=tmp_path)
    path.write_bytes(b"no archive")
    with pytest.raises(InvalidParameter, match=r"pass_1.npz"):
        compress(NET, SiPPDet(nnz=200), X, rng=0, record=tmp_path)


def test_a_record_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(InvalidParameter, match="a record of passes must be a folder, got "):
        compress(NET, SiPPDet(nnz=200), X, rng=0, record=tmp_path / "file")
