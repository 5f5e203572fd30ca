"""boundlab bound and boundlab check, as a user calls them."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

import boundlab as bl
from boundlab import risk_certificates
from boundlab.cli import main
from boundlab.cli.certificates import up


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


@pytest.fixture(scope="module")
def certificates(net: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """A true certificate of the digits and a false one, by the exit codes of their checks."""
    folder = tmp_path_factory.mktemp("certificates")
    true, false = folder / "true.cert", folder / "false.cert"
    assert (
        main(["bound", "--net", str(net), "--data", "digits", "--method", "occam-log-grid", "--save", str(true)]) == 0
    )
    own = bl.read_certificate(true)
    false.write_text(own.text.replace(f'"bound": {own.bound!r}', '"bound": 0.01'), encoding="ascii")
    return {0: true, 1: false}


@pytest.mark.parametrize("words", [[], ["--json"]], ids=["table", "json"])
def test_a_reader_that_leaves_takes_nothing_from_the_verdict(certificates: dict[int, Path], words: list[str]) -> None:
    command = [sys.executable, "-m", "boundlab.cli", "check", str(certificates[1]), "--data", "digits", *words]
    told = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert told.stdout is not None
    told.stdout.close()
    assert told.wait() == 1


@pytest.mark.parametrize("code", [0, 1])
def test_a_verdict_needs_no_reader(certificates: dict[int, Path], code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)  # as Python has it where the stream is closed
    assert main(["check", str(certificates[code]), "--data", "digits"]) == code


def test_a_check_that_comes_to_no_end_is_no_verdict(
    certificates: dict[int, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(risk_certificates, "check_certificate", full)
    assert main(["check", str(certificates[0]), "--data", "digits"]) == 2
    assert "a check must come to its end, got MemoryError: no room." in capsys.readouterr().err


@pytest.mark.parametrize("name", ["m[/red].cert", "a[bold].cert", "two words :smile:.cert"])
def test_the_name_of_a_file_is_printed_as_it_is(
    name: str, net: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cert = tmp_path / name
    asked = ["bound", "--net", str(net), "--data", "digits", "--method", "occam-log-grid", "--save", str(cert)]
    assert main(asked) == 0
    assert f"Written to {cert}; verify it with: boundlab check '{cert}' --data digits" in capsys.readouterr().out
    assert cert.is_file()


def test_a_percentage_is_never_below_the_risk_and_at_most_a_hundredth_above() -> None:
    assert up(0.08750000000000001) == "8.76%"
    assert [up(v) for v in (0.3, 0.0875, 1.0)] == ["30.00%", "8.75%", "100.00%"]
    for k in range(10_000):
        risk = k / 10_000
        for _ in range(4):
            risk = math.nextafter(risk, 2.0)
            shown = Decimal(up(risk).removesuffix("%")) / 100
            assert Decimal(risk) <= shown < Decimal(risk) + Decimal("0.00010001")


def test_the_table_shows_no_less_than_the_bound(
    certificates: dict[int, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    main(["check", str(certificates[0]), "--data", "digits"])
    assert f"│ {up(bl.read_certificate(certificates[0]).bound)} │" in capsys.readouterr().out


@pytest.mark.filterwarnings("error")
def test_a_code_that_cannot_hold_the_net_is_left_out_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    x, weight = rng.normal(size=(300, 6)), rng.normal(size=(5, 6))
    data, net, cert = tmp_path / "data.npz", tmp_path / "net.npz", tmp_path / "net.cert"
    np.savez(data, x_train=1e200 * x, y_train=(x[:, 0] > 0).astype(int))
    np.savez(net, W0=weight, b0=np.zeros(5), W1=rng.normal(size=(2, 5)), b1=np.zeros(2))
    asked = ["bound", "--net", str(net), "--data", str(data), "--save", str(cert)]
    assert main(asked) == 0
    assert "left out: Occam, pyramid code: second moments of what a layer reads must be fin" in capsys.readouterr().out
    assert main([*asked, "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)["left_out"]) == ["Occam, pyramid code"]
    assert main(["check", str(cert), "--data", str(data)]) == 0
    np.savez(net, W0=weight / np.abs(weight).max() * 1.7e308, b0=np.zeros(5), W1=np.ones((2, 5)), b1=np.zeros(2))
    assert main([*asked, "--method", "single-draw"]) == 2
    assert "m times the sum of a row's weights must be finite, got an overflow." in capsys.readouterr().err


def test_a_bound_above_the_error_of_a_constant_answer_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, net, cert = tmp_path / "data.npz", tmp_path / "net.npz", tmp_path / "net.cert"
    np.savez(data, x_train=np.random.default_rng(0).random((4_000, 2)), y_train=(np.arange(4_000) % 20 == 0) * 1)
    np.savez(net, W0=np.zeros((2, 2)), b0=np.array([1.0, 0.5]))  # it always answers class 0
    assert main(["bound", "--net", str(net), "--data", str(data), "--save", str(cert)]) == 0
    said = "always answering the commonest class is wrong on 5.00% of the examples; the bound is not below that"
    out = capsys.readouterr().out
    assert "non-vacuous" in out
    assert said in out
    assert main(["check", str(cert), "--data", str(data)]) == 0
    assert said in capsys.readouterr().out


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
