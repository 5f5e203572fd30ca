"""Claims, streams and runs: the same coins everywhere, the right verdicts, nothing counted twice."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from scipy.stats import binom

from boundlab._errors import InvalidParameter
from boundlab.verification import Claim, Outcome, State, log_e_upheld, log_e_violated, stream, verify

CLAIM = Claim(name="fails with probability at most 0.05", delta=0.05)


def coin(rate: float):
    return lambda rng, n: rng.random(n) < rate


def constant(value: int):
    return lambda rng, n: np.full(n, value, dtype=np.int8)


def test_equal_claims_have_equal_ids_and_any_change_gives_another() -> None:
    base = {"name": "a", "delta": 0.1, "theorem": "t", "parameters": {"m": 3, "eps": 0.1}}
    ids = {Claim(**base).id, Claim(**{**base, "parameters": {"eps": 0.1, "m": 3}}).id}
    assert len(ids) == 1
    for key, value in (("name", "b"), ("delta", 0.2), ("theorem", ""), ("over", "coins | x fixed"), ("parameters", {})):
        ids.add(Claim(**{**base, key: value}).id)
    assert len(ids) == 6


def test_the_id_does_not_change_between_releases() -> None:
    # blake2b-128 of {"delta":0.1,"name":"a","over":"coins,x","parameters":{},"theorem":""}, by coreutils' b2sum -l 128.
    assert Claim(name="a", delta=0.1).id == "0bf75d2ee3cf142c52ed2c2e44f7d21f"


def test_a_claim_keeps_its_own_copy_of_the_parameters() -> None:
    mine = {"sizes": [1, 2]}
    claim = Claim(name="a", delta=0.1, parameters=mine)
    before = claim.id
    mine["sizes"].append(3)
    assert claim.id == before
    assert hash(claim) == hash(Claim(name="a", delta=0.1, parameters={"sizes": [1, 2]}))


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"over": "coins, some x"}, "over must be"),
        ({"delta": 1.0}, "delta must be in"),
        ({"name": ""}, "name must be"),
        ({"parameters": {"eps": math.nan}}, "parameters must be JSON"),
        ({"parameters": {"net": object()}}, "parameters must be JSON"),
        ({"parameters": {1: 2}}, "parameters must have text keys"),
    ],
)
def test_a_broken_claim_is_refused(change: dict, rule: str) -> None:
    with pytest.raises(InvalidParameter, match=rule):
        Claim(**{"name": "a", "delta": 0.1, **change})


def test_streams_repeat_and_differ_by_claim_seed_and_block() -> None:
    draws = [stream(c, s, b).integers(2**63) for c in ("a", "b") for s in (0, 1, 2**70) for b in (0, 1, 2**100)]
    assert len(set(draws)) == 18
    assert stream("b", 2**70, 2**100).integers(2**63) == draws[-1]


def test_a_block_starts_where_philox_says() -> None:
    here = stream("a", 0, 5).bit_generator.state["state"]
    assert here["counter"].tolist() == [0, 0, 5, 0]


@pytest.mark.parametrize(("seed", "block"), [(-1, 0), (0, -1), (0, 2**128), (1.5, 0), (True, 0)])
def test_a_broken_seed_or_block_is_refused(seed, block) -> None:
    with pytest.raises(InvalidParameter, match="must be a whole number"):
        stream("a", seed, block)


@pytest.mark.parametrize("block", [1, 7, 16, 1000])
def test_a_sure_outcome_gives_the_same_verdict_at_any_block_size(block: int) -> None:
    upheld = verify(CLAIM, constant(Outcome.OK), batch=block)
    assert (upheld.state, upheld.trials, upheld.stopped_because) == (State.UPHELD, 146, "decided")
    violated = verify(CLAIM, constant(Outcome.FAILED), batch=block)
    assert violated.state is State.VIOLATED
    assert violated.trials == violated.failures == violated.path[-1][0]
    assert log_e_violated(violated.trials, violated.trials, 0.05) >= math.log(1e6)
    assert log_e_violated(violated.trials - 1, violated.trials - 1, 0.05) < math.log(1e6)


def test_the_same_seed_gives_the_same_verdict_and_path() -> None:
    first, again = (verify(CLAIM, coin(0.04), seed=3, max_trials=500) for _ in range(2))
    assert first == again
    assert first.path != verify(CLAIM, coin(0.04), seed=4, max_trials=500).path


def test_trials_after_the_deciding_one_are_not_counted() -> None:
    def late(rng, n):
        return np.arange(n) >= 146

    verdict = verify(CLAIM, late, batch=500)
    assert (verdict.state, verdict.trials, verdict.failures) == (State.UPHELD, 146, 0)
    assert verdict.path[-1] == (146, 0, 0)


def test_true_claims_are_not_violated_and_sabotaged_ones_are() -> None:
    # alpha .05 on each side, 150 seeded runs; a run refutes the library only if the binomial tail falls below 1e-6.
    wrong = 0
    for seed in range(150):
        states = verify(
            CLAIM, coin(0.05), seed=seed, max_trials=400, batch=200, alpha_violated=0.05, alpha_upheld=0.05
        ).state
        wrong += states is State.VIOLATED
    assert binom.sf(wrong - 1, 150, 0.05) > 1e-6
    assert all(verify(CLAIM, coin(0.01), seed=s, batch=200).state is State.UPHELD for s in range(10))
    assert all(verify(CLAIM, coin(0.15), seed=s, batch=200).state is State.VIOLATED for s in range(10))


def test_unknown_outcomes_count_against_either_verdict() -> None:
    verdict = verify(CLAIM, constant(Outcome.UNKNOWN), max_trials=300)
    assert (verdict.state, verdict.failures, verdict.unknown) == (State.UNDECIDED, 0, 300)
    assert verdict.interval == (0.0, 1.0)
    assert verdict.log_e_upheld == log_e_upheld(300, 300, 0.05) < 0
    assert verdict.log_e_violated == log_e_violated(300, 0, 0.05) < 0


def test_verdict_and_interval_agree() -> None:
    for rate in (0.0, 0.02, 0.05, 0.2):
        for seed in range(5):
            v = verify(CLAIM, coin(rate), seed=seed, max_trials=400, alpha_upheld=0.05, alpha_violated=0.05)
            assert (v.interval[1] <= 0.05) == (v.state is State.UPHELD)
            assert (v.interval[0] >= 0.05) == (v.state is State.VIOLATED)


def test_a_budget_that_cannot_decide_says_so() -> None:
    verdict = verify(Claim(name="a", delta=0.01), constant(Outcome.OK), max_trials=100)
    assert (verdict.state, verdict.trials, verdict.stopped_because) == (State.UNDECIDED, 100, "max_trials")
    assert "744" in verdict.resolution
    assert "100 trials cannot uphold delta = 0.01" in verdict.resolution
    assert verdict.path[-1] == (100, 0, 0), "the last block is shorter"


@pytest.mark.parametrize("rate", [0.0, 0.01, 0.05, 0.2])
def test_printed_limits_promise_no_more_than_the_limits(rate: float) -> None:
    verdict = verify(CLAIM, coin(rate), max_trials=2000)
    printed = [float(text) for text in re.findall(r"\d\.\d+(?=[;,\]])", verdict.resolution)]
    (low, high), state = verdict.interval, verdict.state
    if state is State.UPHELD:
        assert high <= printed[0] < high * 1.01
    elif state is State.VIOLATED:
        assert low >= printed[0] > low * 0.99
    else:
        assert printed[0] <= low <= high <= printed[1]


def test_each_input_is_used_once_and_in_order() -> None:
    points, seen = np.arange(50.0).reshape(50, 1), []

    def trial(rng, x):
        seen.extend(x[:, 0])
        x[:] = -1
        return np.zeros(len(x), dtype=bool)

    verdict = verify(CLAIM, trial, inputs=points)
    assert verdict.stopped_because == "inputs used up"
    assert seen == list(range(50))
    assert np.array_equal(points[:, 0], np.arange(50)), "a trial that writes to its x must not change the caller's"


def test_an_input_sampler_never_runs_out() -> None:
    verdict = verify(CLAIM, lambda rng, x: x[:, 0] < 0.01, inputs=lambda rng, n: rng.random((n, 2)))
    assert verdict.state is State.UPHELD


def test_the_clock_ends_a_run_after_a_block() -> None:
    verdict = verify(CLAIM, constant(Outcome.OK), max_seconds=1e-9)
    assert (verdict.stopped_because, verdict.trials) == ("max_seconds", 1)


def test_progress_sees_what_the_path_keeps() -> None:
    seen = []
    verdict = verify(CLAIM, coin(0.03), max_trials=100, progress=lambda *counts: seen.append(counts))
    assert seen[-1] == verdict.path[-1] == (100, verdict.failures, 0)
    assert [n for n, _, _ in verdict.path] == [
        *range(1, 21),
        *[22, 24, 26, 28, 30, 32, 34, 36, 38, 40, 43, 46, 49, 52, 55, 58, 61, 65, 69, 73, 77, 81, 86, 91, 96, 100],
    ]


@pytest.mark.parametrize(
    "answer",
    [
        np.zeros(15, dtype=bool),
        np.zeros((16, 1), dtype=bool),
        np.full(16, 3),
        np.full(16, -1),
        np.full(16, np.nan),
        np.zeros(16),
        ["ok"] * 16,
        None,
        True,
    ],
)
def test_anything_but_outcomes_is_refused(answer) -> None:
    with pytest.raises(InvalidParameter, match=r"outcomes"):
        verify(CLAIM, lambda rng, n: answer, batch=16)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"alpha_upheld": 0.0}, "alpha_upheld must be in"),
        ({"alpha_violated": 1.0}, "alpha_violated must be in"),
        ({"max_trials": 0}, "max_trials must be"),
        ({"batch": 0}, "batch must be"),
        ({"max_seconds": 0.0}, "max_seconds must be"),
        ({"seed": -1}, "seed must be"),
        ({"inputs": np.zeros((0, 2))}, "inputs must have shape"),
        ({"inputs": np.full((4, 2), np.nan)}, "inputs must be finite"),
        ({"inputs": lambda rng, n: np.zeros((n + 1, 2))}, "must return n = 1 points"),
    ],
)
def test_a_broken_argument_is_refused(change: dict, rule: str) -> None:
    with pytest.raises(InvalidParameter, match=rule):
        verify(CLAIM, lambda rng, n: np.zeros(1, dtype=bool), **change)


def test_inputs_do_not_go_with_a_fixed_x() -> None:
    with pytest.raises(InvalidParameter, match="inputs must be None but for"):
        verify(Claim(name="a", delta=0.1, over="coins | x fixed"), coin(0.0), inputs=np.zeros((9, 1)))


def test_a_crash_in_a_trial_is_not_an_outcome() -> None:
    def crash(rng, n):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        verify(CLAIM, crash)


def test_inputs_that_can_never_decide_are_told() -> None:
    verdict = verify(
        Claim(name="a", delta=0.01), lambda rng, x: rng.random(len(x)) < 0, inputs=np.arange(50.0)[:, None]
    )
    assert [text for text in verdict.warnings if text.startswith("too_few_trials: 50 trials")]


def test_masked_inputs_are_refused() -> None:
    x = np.ma.masked_array(np.ones((30, 2)), mask=np.eye(30, 2, dtype=bool))
    with pytest.raises(InvalidParameter, match="no masked entries"):
        verify(CLAIM, lambda rng, x: x[:, 0] > 1, inputs=x)
