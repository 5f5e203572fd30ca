"""boundlab bound and boundlab check, as a user calls them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import boundlab as bl
from boundlab.cli import main


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A linear classifier of the digits, by least squares."""
    data = bl.load_data("digits")
    assert data.x_train is not None
    assert data.y_train is not None
    x = np.column_stack([data.x_train, np.ones(len(data.x_train))])
    w = np.linalg.lstsq(x, 4.0 * np.eye(10)[data.y_train], rcond=None)[0].T
    path = tmp_path_factory.mktemp("net") / "net.npz"
    np.savez(path, W0=w[:, :64], b0=w[:, 64])
    return path


def test_what_bound_writes_check_accepts(net: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cert = tmp_path / "net.cert"
    assert main(["bound", "--net", str(net), "--data", "digits", "--save", str(cert)]) == 0
    out = capsys.readouterr().out
    assert "non-vacuous" in out
    assert "assumed: the n examples are i.i.d." in out
    assert "on the test part" in out
    assert main(["check", str(cert), "--data", "digits"]) == 0
    assert "VALID" in capsys.readouterr().out
    assert main(["check", str(cert), "--data", "digits", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"valid", "bound", "delta", "train_error", "nats", "paid"} <= found.keys()
    assert found["valid"] is True
    assert found["bound"] < 0.9
    assert found["paid"]["bits"] == 8 * len(bl.read_certificate(cert).message)


@pytest.mark.parametrize("method", ["occam-log-grid", "single-draw"])
def test_every_method_issues_what_check_accepts(
    method: str, net: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cert = tmp_path / "net.cert"
    asked = ["bound", "--net", str(net), "--data", "digits", "--method", method, "--save", str(cert), "--json"]
    assert main(asked) == 0
    assert json.loads(capsys.readouterr().out)["kind"] == ("single draw" if method == "single-draw" else "occam")
    assert main(["check", str(cert), "--data", "digits"]) == 0


def test_a_false_certificate_ends_with_one(net: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cert = tmp_path / "net.cert"
    main(["bound", "--net", str(net), "--data", "digits", "--method", "occam-log-grid", "--save", str(cert)])
    own = bl.read_certificate(cert)
    cert.write_text(own.text.replace(f'"bound": {own.bound!r}', '"bound": 0.01'))
    capsys.readouterr()
    assert main(["check", str(cert), "--data", "digits"]) == 1
    assert "NOT VALID: a bound of 0.01 does not follow" in capsys.readouterr().out


def test_images_are_pooled_and_rescaled_in_the_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng, path = np.random.default_rng(0), tmp_path / "net.npz"
    np.savez(path, W0=rng.normal(size=(10, 16)), b0=np.zeros(10))
    cert = tmp_path / "net.cert"
    asked = ["bound", "--net", str(path), "--data", "digits", "--method", "occam-log-grid", "--save", str(cert)]
    assert main([*asked, "--shape", "1,8,8", "--pool", "2", "--scale", "2", "--shift", "-1"]) == 0
    assert "VACUOUS" in capsys.readouterr().out
    own = bl.read_certificate(cert)
    names = [type(op).__name__ for op in bl.decode(own.message, own.features).net.ops]
    assert names == ["Reshape", "AveragePool", "Rescale", "Linear"]
    assert main(["check", str(cert), "--data", "digits"]) == 0


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--method", "magic"], "method must be one of occam, occam-pyramid"),
        (["--delta", "2"], "delta must be in (0, 1)"),
        (["--shape", "1,8,9"], "shape must be channels,height,width with product 64"),
        (["--pool", "2"], "a pool needs the shape"),
        (["--save", "/"], "an output file must not be a folder"),
    ],
)
def test_bad_input_is_one_line_and_two(
    more: list[str], message: str, net: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bound", "--net", str(net), "--data", "digits", *more]) == 2
    assert message in capsys.readouterr().err


def test_a_file_that_is_no_certificate_is_refused(net: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(net), "--data", "digits"]) == 2
    assert "must be a certificate as boundlab writes it" in capsys.readouterr().err
