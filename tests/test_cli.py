"""The command line as a user meets it: one line for bad input, nothing half-written, exit codes."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from boundlab._errors import InvalidParameter
from boundlab.cli import main
from boundlab.cli.methods import method_named
from boundlab.compressors import METHODS

RNG = np.random.default_rng(0)
GOOD_NET = {"W0": RNG.normal(size=(6, 4)), "b0": np.zeros(6), "W1": RNG.normal(size=(3, 6)), "b1": np.zeros(3)}
GOOD_DATA = {
    "x_train": RNG.random((90, 4)),
    "y_train": np.arange(90) % 3,
    "x_test": RNG.random((120, 4)),
    "y_test": np.arange(120) % 3,
}


def save(path: Path, arrays: dict[str, np.ndarray]) -> str:
    np.savez(path, **cast(Any, arrays))
    return str(path)


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    try:
        code = main(words)
    except SystemExit as end:
        code = int(end.code or 0)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def audit_words(folder: Path, net: dict[str, np.ndarray], data: dict[str, np.ndarray]) -> list[str]:
    return [
        "audit",
        *("--net", save(folder / "good.npz", net)),
        *("--data", save(folder / "points.npz", data)),
        *("--out", str(folder / "out")),
        *("--max-trials", "200"),
    ]


def test_an_audit_writes_the_page_and_the_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, *audit_words(tmp_path, GOOD_NET, GOOD_DATA))
    assert code == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["audit.json", "index.html"]
    found = json.loads((tmp_path / "out" / "audit.json").read_text(encoding="utf-8"))
    assert found["net"]["sizes"] == [4, 6, 3]
    assert "Sample sizes" in out
    assert "100%" in err, "progress goes to stderr"


def test_a_method_takes_its_fields_as_flags(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = audit_words(tmp_path, GOOD_NET, GOOD_DATA)
    code, _, _ = run(capsys, *words, "--method", "budget", "--nnz", "20", "--K=2")
    assert code == 0
    found = json.loads((tmp_path / "out" / "audit.json").read_text(encoding="utf-8"))
    assert found["settings"]["methods"] == ["CoreNetBudget(nnz=20, delta=0.05, K=2.0)"]


def changed(base: dict[str, np.ndarray], **changes: np.ndarray | None) -> dict[str, np.ndarray]:
    merged = {**base, **changes}
    return {k: v for k, v in merged.items() if v is not None}


def spoiled(array: np.ndarray, value: float) -> np.ndarray:
    copy = array.astype(float)
    copy.flat[0] = value
    return copy


BAD = {
    "a weight that does not fit": (changed(GOOD_NET, W1=np.ones((3, 5))), GOOD_DATA, []),
    "a NaN weight": (changed(GOOD_NET, W0=spoiled(GOOD_NET["W0"], np.nan)), GOOD_DATA, []),
    "an infinite weight": (changed(GOOD_NET, W0=spoiled(GOOD_NET["W0"], np.inf)), GOOD_DATA, []),
    "a missing bias": (changed(GOOD_NET, b1=None), GOOD_DATA, []),
    "NaN data": (GOOD_NET, changed(GOOD_DATA, x_train=spoiled(GOOD_DATA["x_train"], np.nan)), []),
    "infinite data": (GOOD_NET, changed(GOOD_DATA, x_test=spoiled(GOOD_DATA["x_test"], np.inf)), []),
    "data of another width": (GOOD_NET, changed(GOOD_DATA, x_train=np.ones((90, 5))), []),
    "labels out of range": (GOOD_NET, changed(GOOD_DATA, y_test=np.arange(120) % 4), []),
    "negative labels": (GOOD_NET, changed(GOOD_DATA, y_test=np.arange(120) % 3 - 1), []),
    "a single class": (GOOD_NET, changed(GOOD_DATA, y_train=np.zeros(90, int)), []),
    "an empty data set": (GOOD_NET, changed(GOOD_DATA, x_train=np.ones((0, 4)), y_train=np.ones(0, int)), []),
    "labels of another length": (GOOD_NET, changed(GOOD_DATA, y_train=np.arange(80) % 3), []),
    "half a test part": (GOOD_NET, changed(GOOD_DATA, y_test=None), []),
    "eps of zero": (GOOD_NET, GOOD_DATA, ["--eps", "0"]),
    "eps above one": (GOOD_NET, GOOD_DATA, ["--eps", "1.5"]),
    "delta of one": (GOOD_NET, GOOD_DATA, ["--delta", "1"]),
    "delta that is no number": (GOOD_NET, GOOD_DATA, ["--delta", "x"]),
    "NaN delta": (GOOD_NET, GOOD_DATA, ["--delta", "nan"]),
    "an unknown method": (GOOD_NET, GOOD_DATA, ["--method", "magic"]),
    "an unknown field": (GOOD_NET, GOOD_DATA, ["--method", "budget", "--schedule", "sharp"]),
    "an unknown flag": (GOOD_NET, GOOD_DATA, ["--magic", "1"]),
    "a field that is no number": (GOOD_NET, GOOD_DATA, ["--method", "budget", "--nnz", "many"]),
    "a negative budget": (GOOD_NET, GOOD_DATA, ["--method", "budget", "--nnz", "-3"]),
    "an unknown rule": (GOOD_NET, GOOD_DATA, ["--method", "relative", "--rule", "magic"]),
    "a rule that certifies nothing": (GOOD_NET, GOOD_DATA, ["--method", "relative", "--rule", "binomial"]),
    "a K below one": (GOOD_NET, GOOD_DATA, ["--method", "relative", "--K", "0.5"]),
    "a negative seed": (GOOD_NET, GOOD_DATA, ["--seed", "-1"]),
    "no trial": (GOOD_NET, GOOD_DATA, ["--max-trials", "0"]),
    "an infinite scale": (GOOD_NET, GOOD_DATA, ["--scale", "inf"]),
    "a ReLU flag for a factory": (GOOD_NET, GOOD_DATA, ["--net", "os:getcwd"]),
    "a net that does not exist": (GOOD_NET, GOOD_DATA, ["--net", "nowhere.npz"]),
    "data that do not exist": (GOOD_NET, GOOD_DATA, ["--data", "nowhere.npz"]),
    "a data set of no known name": (GOOD_NET, GOOD_DATA, ["--data", "imagenet"]),
}


@pytest.mark.parametrize("fault", BAD)
def test_bad_input_ends_with_one_line_exit_code_2_and_no_file(
    fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net, data, more = BAD[fault]
    code, out, err = run(capsys, *audit_words(tmp_path, net, data), *more)
    assert code == 2
    last = [line for line in err.splitlines() if not line.lstrip()[:4].strip().endswith("%")]
    assert len(last) == 1, err
    assert last[0].startswith("boundlab")
    assert out == ""
    assert not (tmp_path / "out").exists(), "nothing is half-written"


@pytest.mark.parametrize("name", ["net.onnx", "net.npz", "net.pt2", "net.pt", "net.pkl", "net.safetensors"])
@pytest.mark.parametrize("content", ["pickle", "rubbish", "empty"])
def test_a_pickle_or_a_broken_file_is_refused(
    name: str, content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = {"pickle": pickle.dumps({"W0": 1}), "rubbish": b"\x08\x07garbage" * 50, "empty": b""}[content]
    (tmp_path / name).write_bytes(text)
    words = audit_words(tmp_path, GOOD_NET, GOOD_DATA)
    code, _, err = run(capsys, *words, "--net", str(tmp_path / name))
    assert code == 2
    assert "Traceback" not in err
    assert not (tmp_path / "out").exists()


def test_a_truncated_onnx_file_is_refused(
    boundlab_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = (boundlab_data / "nets" / "control" / "cartpole.onnx").read_bytes()
    for share in (0.1, 0.5, 0.99):
        (tmp_path / "cut.onnx").write_bytes(whole[: int(share * len(whole))])
        code, _, err = run(capsys, *audit_words(tmp_path, GOOD_NET, GOOD_DATA), "--net", str(tmp_path / "cut.onnx"))
        assert code == 2, f"{share}: {err}"
        assert not (tmp_path / "out").exists()


def test_plan_prints_the_constants_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "plan", "--sizes", "784,300,100,10", "--delta", "0.1", "--json")
    found = json.loads(out)
    assert code == 0
    assert set(found["published"]) >= {"eta", "eta_star", "K", "lambda_star", "points", "kappa"}
    assert (found["published"]["points"], found["repaired"]["points"]) == (189, 200)


def test_plan_prints_sample_sizes(capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "plan",
        "--sizes",
        "784,300,100,10",
        "--delta",
        "0.1",
        "--total",
        "1.6",
        "--eps",
        "0.5",
        "--K",
        "1",
        "--json",
    ]
    code, out, _ = run(capsys, *words)
    sizes = json.loads(out)["sample_sizes"]
    assert code == 0
    assert (sizes["published"], sizes["bernstein"]) == (533, 156)
    assert sizes["binomial"] <= sizes["kl"] <= sizes["bernstein"]


@pytest.mark.parametrize(
    "words",
    [
        ["plan", "--sizes", "784", "--delta", "0.1"],
        ["plan", "--sizes", "784,0", "--delta", "0.1"],
        ["plan", "--sizes", "784,x", "--delta", "0.1"],
        ["plan", "--sizes", "784,10", "--delta", "2"],
        ["plan", "--sizes", "784,10", "--delta", "0.1", "--total", "3"],
        ["plan", "--sizes", "784,10", "--delta", "0.1", "--total", "-3", "--eps", "0.5"],
        ["plan", "--sizes", "784,10", "--delta", "0.1", "--magic"],
        ["nothing"],
        [],
    ],
)
def test_a_bad_command_is_one_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, *words)
    assert code == 2
    assert len(err.splitlines()) == 1
    assert out == ""


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys, boundlab.cli as c\n"
        "try: c.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numba', 'scipy', 'pandas', 'matplotlib', 'numpy'} & set(sys.modules)\n"
        "print(sorted(heavy), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr.strip().endswith("[]") or done.stderr.strip() == "['numpy']"


def test_compress_writes_a_net_that_reads_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from boundlab import load_network

    words = ["compress", "--net", "tests.test_cli:small_module", "--data", save(tmp_path / "d.npz", GOOD_DATA)]
    out = tmp_path / "small.onnx"
    code, told, err = run(capsys, *words, "--method", "magnitude", "--nnz", "12", "--out", str(out))
    assert (code, "magnitude: 12 of 42 weights" in told) == (0, True), told + err
    assert "certified: argmax" in told
    assert load_network(str(out)).nnz == 12
    code, told, err = run(capsys, *words, "--method", "pfp-budget", "--parameters", "30", "--out", str(out))
    assert code == 0
    assert sum(w.weight.size + w.bias.size for w in load_network(str(out)).layers) <= 30
    code, told, err = run(capsys, *words, "--method", "snip", "--nnz", "12", "--out", str(tmp_path / "s.npz"))
    assert code == 0, "labels come with the data"
    for wrong in (
        ["--method", "nothing"],
        ["--method", "magnitude", "--eps", "0.1"],
        ["--method", "magnitude", "--nnz", "many"],
        ["--method", "magnitude", "--shape", "5,5"],
        ["--method", "magnitude", "--points", "0"],
    ):
        code, told, err = run(capsys, *words, *wrong, "--out", str(tmp_path / "no.onnx"))
        assert (code, told, err.count("boundlab: ")) == (2, "", 1), wrong
        assert not (tmp_path / "no.onnx").exists()


def small_module() -> Any:
    import torch

    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.ReLU(), torch.nn.Linear(6, 3))


def test_a_field_of_several_numbers_is_a_list_with_commas() -> None:
    for text, share in (("0.5", 0.5), ("0.5,1", (0.5, 1.0))):
        method: Any = method_named("neuron-coreset-budget", ["--share", text], {"radius": 1.0}, METHODS)
        assert method.share == share
    filters: Any = method_named("l2-filters", ["--channels", "20,10"], {}, METHODS)
    assert filters.channels == (20, 10)
    with pytest.raises(InvalidParameter, match="channels must be of type int, got 'many'"):
        method_named("l2-filters", ["--channels", "20,many"], {}, METHODS)
