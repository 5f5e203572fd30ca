"""Bits per token: the range of the loss, documents as examples, Markov sources whose true bits are known exactly."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from boundlab import InvalidParameter
from boundlab.bounds.bits_per_token import (
    ALPHAS,
    bits_per_token_bound,
    hoeffding_bits,
    smoothed_bits,
    smoothed_range,
    subsampled_hoeffding_bits,
    token_error_bound,
    top_k_misses,
)
from boundlab.promises import Bound, Standing, Status

HALF = [np.full(5, 0.5)] * 20
MISSES = [np.array([True, False])] * 20


@pytest.mark.parametrize(
    "call",
    [
        lambda: smoothed_range(1, 0.5),
        lambda: smoothed_range(9, 0.0),
        lambda: smoothed_bits(np.array([1.1]), 9, 0.5),
        lambda: smoothed_bits(np.array([np.nan]), 9, 0.5),
        lambda: smoothed_bits(np.array([]), 9, 0.5),
        lambda: hoeffding_bits(3.0, 0, 1.0, 0.05, vocabulary=9, alpha=0.5),
        lambda: hoeffding_bits(3.0, 9, -1.0, 0.05, vocabulary=9, alpha=0.5),
        lambda: subsampled_hoeffding_bits(3.0, 9, 8, 1.0, 0.05, vocabulary=9, alpha=0.5),
        lambda: bits_per_token_bound(HALF, -1.0, vocabulary=9),
        lambda: bits_per_token_bound(HALF, math.inf, vocabulary=9),
        lambda: bits_per_token_bound(HALF, 1.0, 1.0, vocabulary=9),
        lambda: bits_per_token_bound(HALF, 1.0, vocabulary=9, alphas=()),
        lambda: bits_per_token_bound(HALF, 1.0, vocabulary=9, alphas=(0.5, 0.5)),
        lambda: bits_per_token_bound(HALF, 1.0, vocabulary=9, population=19),
        lambda: bits_per_token_bound(HALF[:1], 1.0, vocabulary=9),
        lambda: bits_per_token_bound([*HALF, np.array([])], 1.0, vocabulary=9),
        lambda: bits_per_token_bound([np.full((5, 5), 0.5)] * 3, 1.0, vocabulary=9),
        lambda: token_error_bound(MISSES, 1.0, vocabulary=9, k=9),
        lambda: token_error_bound([np.array([0.5])] * 3, 1.0, vocabulary=9),
        lambda: token_error_bound(MISSES[:1], 1.0, vocabulary=9),
        lambda: top_k_misses(np.ones((2, 3)), np.array([0, 3]), 1),
        lambda: top_k_misses(np.ones((2, 3)), np.array([0, 1]), 3),
        lambda: top_k_misses(np.full((1, 3), np.nan), np.array([0]), 1),
        lambda: hoeffding_bits(math.nan, 10, 1.0, 0.05, vocabulary=9, alpha=0.5),
        lambda: hoeffding_bits(-50.0, 10, 1.0, 0.05, vocabulary=9, alpha=0.5),
        lambda: subsampled_hoeffding_bits(math.inf, 9, 10, 1.0, 0.05, vocabulary=9, alpha=0.5),
        lambda: bits_per_token_bound([np.full(5, 0.5 + 1j)] * 20, 1.0, vocabulary=9),
        lambda: bits_per_token_bound([np.array(["0.5"])] * 20, 1.0, vocabulary=9),
    ],
)
def test_bad_input_is_refused(call) -> None:
    with pytest.raises(InvalidParameter, match="must"):
        call()


@pytest.mark.parametrize(
    ("call", "arguments", "options"),
    [
        (hoeffding_bits, ("6", 10, 1.0, 0.05), {"vocabulary": 9, "alpha": 0.5}),
        (hoeffding_bits, (6.0, 10, "1", 0.05), {"vocabulary": 9, "alpha": 0.5}),
        (bits_per_token_bound, (5, 1.0), {"vocabulary": 9}),
        (bits_per_token_bound, ([[0.5, [0.1]], [0.2]], 1.0), {"vocabulary": 9}),
        (bits_per_token_bound, (HALF, 1.0), {"vocabulary": 9, "alphas": 0.5}),
        (token_error_bound, ([[True], [[True], [False, True]]], 1.0), {"vocabulary": 9}),
        (top_k_misses, ("abc", np.array([0, 1, 2]), 1), {}),
        (top_k_misses, (np.eye(3), np.array([0, 1, 2]), 1.5), {}),
    ],
)
def test_arguments_of_another_kind_are_refused(call: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameter, match="must"):
        call(*arguments, **options)


def test_what_padding_hides_is_no_token() -> None:
    """Five tokens of probability 0.1 and 45 places of padding: read as tokens, the bits would be below 1."""
    hidden = np.arange(50) >= 5
    padded = [np.ma.masked_array(np.where(hidden, 1.0, 0.1), hidden)] * 2_000
    missed = [np.ma.masked_array(~hidden, hidden)] * 2_000
    for call in (
        lambda: bits_per_token_bound(padded, 10.0, vocabulary=50),
        lambda: token_error_bound(missed, 10.0, vocabulary=50),
        lambda: smoothed_bits(padded[0], 50, 0.5),
        lambda: top_k_misses(np.ma.masked_array(np.eye(3), np.eye(3) > 0), np.arange(3), 1),
        lambda: top_k_misses(np.eye(3), np.ma.masked_array(np.arange(3), np.arange(3) == 1), 1),
    ):
        with pytest.raises(InvalidParameter, match="must have no masked entries"):
            call()
    cut = bits_per_token_bound([row.compressed() for row in padded], 10.0, vocabulary=50)
    assert cut.facts["bits"] > math.log2(10)
    assert token_error_bound([row.compressed() for row in missed], 10.0, vocabulary=50).value == 1.0


def test_what_the_caller_chose_is_listed_as_assumed() -> None:
    def chosen(bound: Bound) -> list[Status]:
        return [p.status for p in bound.premises if p.text.endswith("fixed before the documents were seen")]

    assert chosen(bits_per_token_bound(HALF, 1.0, vocabulary=9)) == []
    assert chosen(bits_per_token_bound(HALF, 1.0, vocabulary=9, alphas=list(ALPHAS))) == []
    assert chosen(bits_per_token_bound(HALF, 1.0, vocabulary=9, alphas=np.array([0.123]))) == [Status.ASSUMED]
    assert chosen(token_error_bound(MISSES, 1.0, vocabulary=9)) == [Status.ASSUMED]


def test_the_smallest_delta_is_enough_for_every_alpha() -> None:
    found = bits_per_token_bound([np.full(5, 0.5)] * 20_000, 1.0, 1e-300, vocabulary=50)
    assert found.facts["bits"] < found.facts["hoeffding_bits"] < found.facts["chance_bits"]


def test_the_nats_are_all_that_is_paid_beside_delta() -> None:
    """A model without a miss: the limit of the kl form is 1 - exp(-paid/n), and only ln(1/delta) is not of the nats."""
    found = token_error_bound([np.zeros(9, bool)] * 500, 10.0, vocabulary=30)
    paid = -500 * math.log1p(-found.value)
    assert found.facts["nats"] + math.log(20) == pytest.approx(paid, rel=1e-6)


def test_the_uniform_guess_of_gpt2_costs_15_62_bits() -> None:
    """The published random-guess row beside the bound of 12.12 bits for GPT-2 small (Lotfi et al. 2024)."""
    flat = [np.full(30, 1 / 50_257)] * 1_000
    found = bits_per_token_bound(flat, 0.0, vocabulary=50_257)
    assert round(found.facts["chance_bits"], 2) == 15.62
    assert found.facts["chance_bits"] == pytest.approx(15.617, abs=5e-4)
    assert found.standing is Standing.VACUOUS, "no better than guessing"
    assert found.facts["bits"] > found.facts["chance_bits"]


def test_the_loss_fills_its_range_and_is_not_in_zero_to_delta() -> None:
    low, high = smoothed_range(50_257, 0.5)
    bits = smoothed_bits(np.linspace(0, 1, 101), 50_257, 0.5)
    assert low <= bits.min() < bits.max() <= high
    assert low == pytest.approx(1, abs=1e-4)
    assert bits.max() > (high - low) + 0.9
    assert np.all(np.diff(bits) < 0)


def test_a_document_counts_once_however_long_it_is() -> None:
    sure, unsure = np.full(1, 0.9), np.full(999, 0.1)
    found = bits_per_token_bound([sure, unsure] * 50, 0.0, vocabulary=9, alphas=(0.1,))
    own = [-math.log2(0.9 * p + 0.1 / 9) for p in (0.9, 0.1)]
    assert found.facts["empirical_bits"] == pytest.approx(sum(own) / 2, rel=1e-9)
    assert (found.facts["n"], found.facts["tokens"]) == (100, 50_000)


def test_a_subsample_costs_more_than_all_documents_and_less_than_the_published_form() -> None:
    documents = [np.full(5, p) for p in np.linspace(0.2, 0.9, 2_000)]
    every = bits_per_token_bound(documents, 50.0, vocabulary=30)
    part = bits_per_token_bound(documents[::4], 50.0, vocabulary=30, population=2_000)
    assert every.facts["bits"] < part.facts["bits"] < part.facts["hoeffding_bits"]
    assert every.facts["bits"] < every.facts["hoeffding_bits"]
    assert part.standing is Standing.NON_VACUOUS
    assert len(part.premises) == len(every.premises) + 1
    assert part.terms[1][0] == "subsampling"


def test_a_rare_alpha_is_paid() -> None:
    good = [np.full(5, 0.9)] * 3_000
    few = bits_per_token_bound(good, 5.0, vocabulary=30, alphas=(0.1,))
    many = bits_per_token_bound(good, 5.0, vocabulary=30, alphas=(0.1, *(1 - 2.0**-k for k in range(3, 40))))
    assert many.facts["alpha"] == 0.1
    assert many.facts["bits"] > few.facts["bits"]
    assert many.facts["nats"] - few.facts["nats"] == pytest.approx(math.log(38))


def test_ties_are_misses_and_k_counts() -> None:
    scores = np.array([[3.0, 2.0, 1.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    tokens = np.array([1, 0, 2])
    assert top_k_misses(scores, tokens, 1).tolist() == [True, True, True]
    assert top_k_misses(scores, tokens, 2).tolist() == [False, False, True]
    found = token_error_bound([np.zeros(9, bool)] * 500, 10.0, vocabulary=30, k=3)
    assert found.chance == pytest.approx(0.9)
    assert found.value == pytest.approx(1 - math.exp(-(10 + math.log(20) + math.log(2)) / 500), rel=1e-6)
    assert token_error_bound([np.ones(9, bool)] * 500, 10.0, vocabulary=30).standing is Standing.VACUOUS


V, T, LEVELS = 8, 40, 16


@dataclass(frozen=True)
class Source:
    """Documents of T tokens of a Markov chain that starts uniformly: their expected bits are exact."""

    move: np.ndarray  # (V, V)

    def documents(self, n: int, rng: np.random.Generator) -> np.ndarray:
        rows = np.empty((n, T), np.int64)
        rows[:, 0] = rng.integers(V, size=n)
        steps = np.cumsum(self.move, axis=1)
        for t in range(1, T):
            rows[:, t] = np.minimum((rng.random(n)[:, None] >= steps[rows[:, t - 1]]).sum(axis=1), V - 1)
        return rows

    def visits(self) -> np.ndarray:
        """Expected number of moves i -> j in a document."""
        at, total = np.full(V, 1 / V), np.zeros((V, V))
        for _ in range(1, T):
            total += at[:, None] * self.move
            at = at @ self.move
        return total

    def bits(self, model: np.ndarray, alpha: float) -> float:
        first = -math.log2((1 - alpha) / V + alpha / V)
        return float((first + (self.visits() * -np.log2((1 - alpha) * model + alpha / V)).sum()) / T)


def source(seed: int) -> Source:
    return Source(move=np.random.default_rng(seed).dirichlet(np.full(V, 0.3), size=V))


def fitted(rows: np.ndarray) -> tuple[np.ndarray, float]:
    """Bigram probabilities in sixteenths, coded as one of the compositions of 16 for each row; and nats."""
    counts = np.zeros((V, V))
    np.add.at(counts, (rows[:, :-1].ravel(), rows[:, 1:].ravel()), 1)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1) * LEVELS
    whole = np.floor(share)
    for row, wanted in zip(whole, share, strict=True):
        rest = int(LEVELS - row.sum())
        row[np.argsort(row - wanted, kind="stable")[:rest]] += 1
        row[0] += LEVELS - row.sum()
    return whole / LEVELS, V * math.log(math.comb(LEVELS + V - 1, V - 1))


def probabilities(model: np.ndarray, rows: np.ndarray) -> list[np.ndarray]:
    first = np.full((len(rows), 1), 1 / V)
    return list(np.concatenate([first, model[rows[:, :-1], rows[:, 1:]]], axis=1))


def test_a_fitted_bigram_model_is_certified_below_guessing_and_above_its_true_bits() -> None:
    """30 sources at delta = 0.05; more failures than 9 have a probability below 1e-5 if the bound holds."""
    rng, failures = np.random.default_rng(7), 0
    for seed in range(30):
        world = source(seed)
        rows = world.documents(2_000, rng)
        model, nats = fitted(rows)
        found = bits_per_token_bound(probabilities(model, rows), nats, vocabulary=V)
        failures += found.facts["bits"] < world.bits(model, found.facts["alpha"])
        assert found.standing is Standing.NON_VACUOUS
        assert found.facts["bits"] < found.facts["hoeffding_bits"]
    assert binom.sf(9, 30, 0.05) < 1e-5
    assert failures <= 9


def test_more_documents_bring_the_bound_to_the_true_bits() -> None:
    rng, world = np.random.default_rng(3), source(1)
    rows = world.documents(20_000, rng)
    model, nats = fitted(rows)
    entropy = float((world.visits() * -np.log2(np.maximum(world.move, 1e-300))).sum() + 3) / T
    gaps = []
    for n in (1_000, 4_000, 20_000):
        found = bits_per_token_bound(probabilities(model, rows[:n]), nats, vocabulary=V)
        true = world.bits(model, found.facts["alpha"])
        assert entropy <= true <= found.facts["bits"] < 3
        gaps.append(found.facts["bits"] - true)
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] < 0.15
    missed = [np.concatenate([[True], row]) for row in wrong(model, rows[:4_000])]
    found = token_error_bound(missed, nats, vocabulary=V)
    moves = world.visits() / (T - 1)
    best = model.argmax(axis=1)
    unique = (model == model.max(axis=1, keepdims=True)).sum(axis=1) == 1
    right = sum(moves[i, best[i]] for i in range(V) if unique[i])
    truth = (1 + (T - 1) * (1 - right)) / T
    assert truth <= found.value < found.chance


def wrong(model: np.ndarray, rows: np.ndarray) -> np.ndarray:
    flat = top_k_misses(model[rows[:, :-1].ravel()], rows[:, 1:].ravel(), 1)
    return flat.reshape(len(rows), T - 1)
