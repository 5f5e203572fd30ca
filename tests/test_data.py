"""Data sets come in as float64 points or boxes, or are refused in one line; the small nets made here are repeatable."""

from __future__ import annotations

import gzip
import json
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.datasets
import torch

from boundlab._errors import InvalidParameter
from boundlab.data import DataSet, load_data
from boundlab.nets.toy import random_network, train_mlp

X = np.arange(12.0).reshape(4, 3)
Y = np.array([0, 1, 2, 1])


def one_line(error: BaseException) -> bool:
    return "\n" not in str(error) and str(error).endswith(".") and len(str(error)) < 700


def array(value: np.ndarray | None) -> np.ndarray:
    assert value is not None
    return value


# --------------------------------------------------------------------------------------------------- named data sets


def test_digits_are_scikit_learns_split_the_same_way_every_time() -> None:
    data, again = load_data("digits"), load_data("digits")
    x, y = sklearn.datasets.load_digits(return_X_y=True)
    assert array(data.x_train).shape == (1100, 64)
    assert array(data.x_test).shape == (697, 64)
    assert np.array_equal(array(data.x_train), array(again.x_train))
    rows = {(*row, label) for row, label in zip(np.asarray(x) / 16, y, strict=True)}
    for points, labels in ((data.x_train, data.y_train), (data.x_test, data.y_test)):
        assert rows >= {(*row, label) for row, label in zip(array(points), array(labels), strict=True)}


def test_scale_and_shift_give_what_the_net_reads() -> None:
    plain, mapped = load_data("digits"), load_data("digits", scale=2.0, shift=-1.0)
    for name in ("x_train", "x_test"):
        assert np.array_equal(getattr(mapped, name), 2.0 * getattr(plain, name) - 1.0)
    assert np.array_equal(array(mapped.y_test), array(plain.y_test))


@pytest.mark.parametrize(
    "flags", [{"scale": 0.0}, {"scale": np.nan}, {"shift": np.inf}, {"scale": "2"}, {"shift": True}]
)
def test_scale_and_shift_must_be_finite_numbers(flags: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameter, match=next(iter(flags))) as caught:
        load_data("digits", **flags)
    assert one_line(caught.value)


@pytest.mark.parametrize(
    ("name", "train", "features", "mean", "first"),
    [
        # Means and first labels as published with the data sets; CIFAR-10: .49140, .48216, .44653 by colour.
        ("mnist", 60000, 784, 0.1307, [5, 0, 4, 1, 9]),
        ("fashion_mnist", 60000, 784, 0.2860, [9, 0, 0, 3, 0]),
        ("cifar10", 50000, 3072, (0.49140 + 0.48216 + 0.44653) / 3, [6, 9, 9, 4, 1]),
    ],
)
def test_image_sets_have_their_published_means(
    boundlab_data: Path, name: str, train: int, features: int, mean: float, first: list[int]
) -> None:
    assert (boundlab_data / name).is_dir()
    data = load_data(name)
    assert array(data.x_train).shape == (train, features)
    assert array(data.x_test).shape == (10000, features)
    assert float(array(data.x_train).mean()) == pytest.approx(mean, abs=1e-4)
    assert array(data.y_train)[:5].tolist() == first
    if name == "cifar10":  # flattened colour plane by colour plane
        planes = array(data.x_train).reshape(-1, 3, 1024).mean(axis=(0, 2))
        np.testing.assert_allclose(planes, [0.49140, 0.48216, 0.44653], atol=1e-5)


def test_without_the_folder_openml_is_asked_and_its_failure_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*_: Any, **__: Any) -> Any:
        raise OSError("no route\nto host")

    monkeypatch.delenv("BOUNDLAB_DATA", raising=False)
    monkeypatch.setattr(sklearn.datasets, "fetch_openml", no_network)
    with pytest.raises(InvalidParameter, match=r"BOUNDLAB_DATA.*OpenML.*no route to host") as caught:
        load_data("mnist")
    assert one_line(caught.value)


def test_openml_images_are_split_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels, labels = np.zeros((60003, 2)), np.array(["0", "1"] * 30001 + ["0"])
    pixels[-1] = 255
    monkeypatch.delenv("BOUNDLAB_DATA", raising=False)
    monkeypatch.setattr(sklearn.datasets, "fetch_openml", lambda *_, **__: (pixels, labels))
    data = load_data("mnist")
    assert array(data.x_test).tolist() == [[0, 0], [0, 0], [1, 1]]


@pytest.mark.parametrize(
    "content",
    [b"", b"not gzip", gzip.compress(b"\x00\x00\x08\x03short"), gzip.compress(b"abc")],
    ids=["empty", "no gzip", "a short header", "no header"],  # gzip writes the time into its bytes
)
def test_broken_image_files_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    (tmp_path / "mnist").mkdir()
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (tmp_path / "mnist" / f"{name}-ubyte.gz").write_bytes(content)
    monkeypatch.setenv("BOUNDLAB_DATA", str(tmp_path))
    with pytest.raises(InvalidParameter, match="whole files of mnist") as caught:
        load_data("mnist")
    assert one_line(caught.value)


# ----------------------------------------------------------------------------------------------------- users' points


def test_npz_points_are_taken_as_they_are_and_flattened(tmp_path: Path) -> None:
    images = np.arange(4 * 2 * 3, dtype=np.uint8).reshape(4, 2, 3)
    np.savez(tmp_path / "own.npz", x_train=images, y_train=Y.astype(float), x_test=images[:1], y_test=Y[:1])
    data = load_data(str(tmp_path / "own.npz"))
    assert array(data.x_train).tolist() == images.reshape(4, 6).tolist()  # uint8 is not divided by 255
    assert array(data.x_train).dtype == np.float64
    assert array(data.y_train).dtype == np.int64
    assert (data.name, data.features, array(data.x_test).shape) == ("own", 6, (1, 6))


@pytest.mark.parametrize(
    ("arrays", "word"),
    [
        ({}, "got nothing"),
        ({"x": X, "y": Y}, "got x, y"),
        ({"x_train": X}, "must hold x_train, y_train"),
        ({"x_train": X, "y_train": Y, "x_test": X}, "x_test and y_test"),
        ({"x_train": X, "y_train": Y, "extra": Y}, "extra"),
        ({"x_train": X, "y_train": Y, "lo": Y, "hi": Y}, "hi, lo"),
        ({"x_train": X, "y_train": Y[:3]}, r"y_train .* \(4,\)"),
        ({"x_train": X, "y_train": Y[:, None]}, "one label per point"),
        ({"x_train": X, "y_train": Y + 0.5}, "whole numbers"),
        ({"x_train": X, "y_train": Y * np.nan}, "whole numbers"),
        ({"x_train": X, "y_train": (Y + 1) * np.inf}, "whole numbers|0..2"),
        ({"x_train": X, "y_train": Y - 1}, "got -1"),
        ({"x_train": X, "y_train": Y.astype(str)}, "whole numbers"),
        ({"x_train": X, "y_train": Y * 0}, "two classes, got only class 0"),
        ({"x_train": X[:0], "y_train": Y[:0]}, "at least one point"),
        ({"x_train": X[0], "y_train": Y}, r"\(points, features\)"),
        ({"x_train": X * np.nan, "y_train": Y}, "finite, got"),
        ({"x_train": X.astype(complex), "y_train": Y}, "complex128"),
        ({"x_train": X.astype(str), "y_train": Y}, "real numbers"),
        ({"x_train": X.astype(object), "y_train": Y}, "plain arrays"),
        ({"x_train": X, "y_train": Y, "x_test": X[:, :2], "y_test": Y}, "x_test must have 3 features"),
    ],
)
def test_npz_points_that_break_a_rule_are_refused(tmp_path: Path, arrays: dict[str, Any], word: str) -> None:
    np.savez(tmp_path / "own.npz", **arrays, allow_pickle=True)
    with pytest.raises(InvalidParameter, match=word) as caught:
        load_data(str(tmp_path / "own.npz"))
    assert one_line(caught.value)


@pytest.mark.parametrize("name", ["own.npz", "own.json", "own.csv", "own.pkl"])
@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe", b"PK\x03\x04", b"[[[["])
def test_a_missing_or_broken_file_is_one_line(tmp_path: Path, name: str, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidParameter) as caught:
        load_data(str(tmp_path / name))
    assert one_line(caught.value)


def test_a_pickle_with_another_name_is_refused(tmp_path: Path) -> None:
    torch.save({"x_train": torch.ones(2, 2)}, tmp_path / "own.npz")
    with pytest.raises(InvalidParameter, match="must not be a pickle"):
        load_data(str(tmp_path / "own.npz"))


def test_an_unknown_name_is_refused_in_one_line() -> None:
    with pytest.raises(InvalidParameter, match="existing file or module:function, got imagenet") as caught:
        load_data("imagenet")
    assert one_line(caught.value)


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = "data_" + tmp_path.name.replace("-", "_")
    text = """
        import numpy as np
        from boundlab.data import DataSet

        x, y = np.eye(3), np.array([0, 1, 1])
        def pair(): return x, y
        def four(): return x, y, x, y
        def named(): return {"x_train": x.tolist(), "y_train": y.tolist()}
        def dataset(): return DataSet(name="mine", x_train=x, y_train=y)
        def box(): return {"lo": [0, 0], "hi": [1, 2]}
        def three(): return x, y, x
        def number(): return 5
        def fails(): raise RuntimeError("no\\ndata")
    """
    (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
    monkeypatch.chdir(tmp_path)
    return name


@pytest.mark.parametrize("name", ["pair", "four", "named", "dataset"])
def test_a_function_of_the_current_folder_gives_the_points(own: str, name: str) -> None:
    data = load_data(f"{own}:{name}", scale=3.0)
    assert np.array_equal(array(data.x_train), 3 * np.eye(3))
    assert (data.x_test is not None) == (name == "four")


def test_a_function_may_give_a_box(own: str) -> None:
    assert array(load_data(f"{own}:box").upper).tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("name", "word"), [("three", "got 3"), ("number", "got int"), ("fails", "RuntimeError: no data")]
)
def test_a_function_that_gives_something_else_is_refused(own: str, name: str, word: str) -> None:
    with pytest.raises(InvalidParameter, match=word) as caught:
        load_data(f"{own}:{name}")
    assert one_line(caught.value)


# -------------------------------------------------------------------------------------------------------------- boxes

ENTRIES = [
    {"name": "first", "input_domain": {"lo": [0, 10], "hi": [4, 10], "mean": [2, 0], "range": 2, "note": "any"}},
    {"name": "second", "input_domain": "as first"},
    {"name": "third", "input_domain": "as second"},
    {"name": "loop", "input_domain": "as loop"},
    {"name": "lost", "input_domain": "as nobody"},
    {"name": "odd", "input_domain": "like first"},
    {"name": "bare"},
    {"name": "twice", "input_domain": {"lo": [0], "hi": [1]}},
    {"name": "twice", "input_domain": {"lo": [0], "hi": [2]}},
]


@pytest.mark.parametrize("name", ["first", "second", "third"])
def test_a_box_is_found_by_name_and_mapped_to_the_nets_input(tmp_path: Path, name: str) -> None:
    (tmp_path / "index.json").write_text(json.dumps(ENTRIES))
    box = load_data(f"{tmp_path / 'index.json'}#{name}")
    assert array(box.lower).tolist() == [-1.0, 5.0]
    assert array(box.upper).tolist() == [1.0, 5.0]
    flipped = load_data(f"{tmp_path / 'index.json'}#{name}", scale=-1.0, shift=1.0)
    assert array(flipped.lower).tolist() == [0.0, -4.0]
    assert array(flipped.upper).tolist() == [2.0, -4.0]


@pytest.mark.parametrize("name", ["loop", "lost", "odd", "bare", "twice", "absent"])
def test_a_name_without_one_box_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "index.json").write_text(json.dumps(ENTRIES))
    with pytest.raises(InvalidParameter, match="must") as caught:
        load_data(f"{tmp_path / 'index.json'}#{name}")
    assert one_line(caught.value)


@pytest.mark.parametrize("suffix", [".json", ".npz"])
def test_a_file_may_be_one_box_and_samples_stay_inside(tmp_path: Path, suffix: str) -> None:
    box = {"lo": [0.0, -1.0, 3.0], "hi": [1.0, 1.0, 3.0]}
    path = tmp_path / f"box{suffix}"
    path.write_text(json.dumps(box)) if suffix == ".json" else np.savez(path, lo=box["lo"], hi=box["hi"])
    data = load_data(str(path))
    x = data.sample(np.random.default_rng(0), 500)
    assert (data.features, x.shape) == (3, (500, 3))
    assert (x >= data.lower).all()
    assert (x <= data.upper).all()
    assert np.array_equal(x, data.sample(np.random.default_rng(0), 500))
    assert np.ptp(x, axis=0)[:2].min() > 0.9


@pytest.mark.parametrize(
    ("box", "word"),
    [
        ({"lo": [0, 0], "hi": [1]}, "equal lengths"),
        ({"lo": [0, 2], "hi": [1, 1]}, "must not be below lower, got 1 < 2 at coordinate 1"),
        ({"lo": [0, 1], "hi": [0, 1]}, "positive width"),
        ({"lo": [], "hi": []}, "shape"),
        ({"lo": [[0]], "hi": [1]}, "shape"),
        ({"lo": [0, None], "hi": [1, 1]}, "finite"),
        ({"lo": ["a"], "hi": [1]}, "numbers"),
        ({"lo": [0], "hi": [1e999]}, "finite"),
        ({"lo": [0], "hi": [1], "mean": 0, "range": 0}, "range must be finite and positive"),
        ({"lo": [0], "hi": [1], "mean": [0, 1]}, "mean and range"),
        ({"lo": [0]}, "box lo, hi"),
        ([1, 2], "got a list"),
        (3, "must hold a box"),
    ],
)
def test_a_box_that_breaks_a_rule_is_refused(tmp_path: Path, box: Any, word: str) -> None:
    (tmp_path / "box.json").write_text(json.dumps(box))
    with pytest.raises(InvalidParameter, match=word) as caught:
        load_data(str(tmp_path / "box.json"))
    assert one_line(caught.value)


def test_a_data_set_is_points_or_a_box() -> None:
    with pytest.raises(InvalidParameter, match="both or neither"):
        DataSet(name="none")
    with pytest.raises(InvalidParameter, match="both or neither"):
        DataSet(name="both", x_train=X, y_train=Y, lower=np.zeros(3), upper=np.ones(3))
    with pytest.raises(InvalidParameter, match="together"):
        DataSet(name="half", lower=np.zeros(3))
    with pytest.raises(InvalidParameter, match="sample must be asked of a box"):
        DataSet(name="points", x_train=X, y_train=Y).sample(np.random.default_rng(0), 3)


def test_published_boxes_are_found_by_name(boundlab_data: Path) -> None:
    """ACAS Xu: heading angles of -pi..pi are read as -0.5..0.5 by the net."""
    box = load_data(f"{boundlab_data / 'nets' / 'index.json'}#acasxu_2_4")
    np.testing.assert_allclose(array(box.lower)[1:], [-0.5] * 4, atol=1e-6)
    np.testing.assert_allclose(array(box.upper)[1:], [0.5] * 4, atol=1e-6)


# ----------------------------------------------------------------------------------------------------------- toy nets


def test_a_small_net_learns_digits_and_the_same_seed_gives_the_same_net() -> None:
    data = load_data("digits")
    x, y = array(data.x_train), array(data.y_train)
    told: list[tuple[int, int]] = []
    state = torch.random.get_rng_state()
    net = train_mlp(x, y, hidden=(48, 24), progress=lambda done, total: told.append((done, total)))
    assert torch.equal(state, torch.random.get_rng_state())  # torch's own generator is left alone
    assert net.sizes == (64, 48, 24, 10)
    assert net.errors(array(data.x_test), array(data.y_test)) <= 0.06 * 697
    assert told == [(k + 1, 30) for k in range(30)]
    again = train_mlp(x, y, hidden=(48, 24), rng=np.random.default_rng(0))
    other = train_mlp(x, y, hidden=(48, 24), rng=1, epochs=1)
    assert all(np.array_equal(a.weight, b.weight) for a, b in zip(net.layers, again.layers, strict=True))
    assert not np.array_equal(net.layers[0].weight, other.layers[0].weight)


@pytest.mark.parametrize(
    "flags",
    [
        {"epochs": 0},
        {"lr": 0.0},
        {"lr": np.nan},
        {"batch": 1.5},
        {"hidden": (0,)},
        {"weight_decay": -1.0},
        {"classes": 2},
    ],
)
def test_training_refuses_what_is_out_of_range(flags: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameter) as caught:
        train_mlp(X, Y, **flags)
    assert one_line(caught.value)


@pytest.mark.parametrize("y", [Y[:2], Y * 0, Y - 1, Y * 0.5, np.array([]), np.array(["a"] * 4)])
def test_training_refuses_labels_that_are_none(y: np.ndarray) -> None:
    with pytest.raises(InvalidParameter) as caught:
        train_mlp(X, y)
    assert one_line(caught.value)


def test_random_networks_have_the_signs_and_the_biases_asked_for() -> None:
    positive = random_network((6, 5, 4, 2), rng=3, positive=True, bias=True)
    assert positive.sizes == (6, 5, 4, 2)
    assert [layer.relu for layer in positive.layers] == [True, True, False]
    assert all((layer.weight > 0).all() and (layer.bias > 0).all() for layer in positive.layers)
    plain = random_network((6, 5, 2), rng=3)
    assert all((layer.bias == 0).all() for layer in plain.layers)
    assert (plain.layers[0].weight < 0).any()
    with pytest.raises(InvalidParameter, match="sizes"):
        random_network((3,), rng=0)
