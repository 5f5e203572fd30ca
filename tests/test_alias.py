"""Compiled draws: the law of every table exactly, the words of published generators, the same counts everywhere."""

from __future__ import annotations

import math
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from numba import njit

from boundlab import CoreNetAdditive, CoreNetBudget, Network, compress, random_network, redraw
from boundlab._errors import InvalidParameter
from boundlab.compressors.method import LayerDraw, Redraw
from boundlab.coresets import alias
from boundlab.coresets.alias import MULTINOMIAL_ABOVE, Multinomials, draw_counts
from boundlab.records import Compression
from boundlab.verification.joint import additive_trial, relative_trial
from boundlab.verification.judging.rules import Outcome

WORD = 2**64


def one_group(q: np.ndarray, size: int = 1) -> Multinomials:
    return Multinomials(q, np.array([0, len(q)]), np.array([size]))


def words(entries: np.ndarray) -> list[int]:
    """How many of the 2^64 words end at each edge of a table, in whole numbers.

    Word u falls in column k where k 2^64 <= u C < (k + 1) 2^64, and keeps k where u C - k 2^64 < 2^bits threshold_k.
    """
    n = len(entries)
    k, entry = np.arange(n).astype(object), entries.astype(object)
    own = entries & np.uint64((1 << (n - 1).bit_length()) - 1)
    coin = entry - own.astype(object)
    low, cut, high = -(-k * WORD // n), -(-(k * WORD + coin) // n), -(-(k + 1) * WORD // n)
    found = cut - low
    np.add.at(found, own.astype(np.int64), high - cut)
    return found.tolist()


def distance(got: list[int], q: np.ndarray) -> Fraction:
    """Total variation between a table's law and q/sum(q), exactly, with all q in units of 2^-1074."""
    share = [round(Fraction(v) * 2**1074) for v in q.tolist()]
    total = sum(share)
    return Fraction(sum(abs(w * total - s * WORD) for w, s in zip(got, share, strict=True)), 2 * WORD * total)


def promised(n: int) -> Fraction:
    return Fraction(1, 2**50) + Fraction(3 * 2 ** (n - 1).bit_length(), WORD)


def normalised(q: np.ndarray) -> np.ndarray:
    return q / q.sum()


def uneven(n: int, power: float, seed: int = 0, zeros: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return normalised(rng.random(n) ** power * (rng.random(n) >= zeros))


LAWS = {
    "one edge": np.ones(1),
    "two equal": np.full(2, 0.5),
    "a power of two": np.full(1024, 1 / 1024),
    "a point mass in a power of two": np.eye(16)[5],
    "a point mass at the end": np.eye(7)[6],
    "tenths": np.full(10, 0.1),
    "denormal": np.array([5e-324, 1.0, 1e-310, 5e-324]),
    "all scales": normalised(0.5 ** np.arange(1000.0)),
    "all scales, rising": normalised(0.5 ** np.arange(1000.0)[::-1]),
    "one against many": normalised(np.array([1e9] + [1.0] * 783)),
    "784 edges": uneven(784, 1),
    "784 uneven edges": uneven(784, 30),
    "785 edges, most of them zero": uneven(785, 3, zeros=0.9),
    "sum off by 1e-7": uneven(50, 1) * (1 + 1e-7),
    "2^16 + 1 edges": uneven(2**16 + 1, 4, zeros=0.1),
}


@pytest.mark.parametrize("q", LAWS.values(), ids=LAWS)
def test_the_law_of_a_table_is_within_the_stated_distance_of_q(q: np.ndarray) -> None:
    got = words(one_group(q).entries)
    assert sum(got) == WORD
    assert min(got) >= 0
    assert all(w == 0 for w in np.array(got, object)[q == 0])
    assert distance(got, q) <= promised(len(q))


def test_a_million_edges_keep_the_law() -> None:
    q = uneven(2**20, 8, zeros=0.2)
    got = np.array(words(one_group(q).entries), object)
    assert got.sum() == WORD
    assert not got[q == 0].any()
    gap = np.abs((got / WORD).astype(float) - normalised(q)).sum() / 2
    assert gap <= float(promised(2**20)) + 2**-52  # of the division


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8, 13])
def test_counting_words_agrees_with_trying_all_of_a_short_one(n: int) -> None:
    # the same arithmetic with words of 12 bits instead of 64
    bits, short = (n - 1).bit_length(), 2**12
    rng = np.random.default_rng(n)
    for _ in range(20):
        own = rng.integers(n, size=n)
        coin = rng.integers(short >> bits, size=n) << bits
        tried = np.zeros(n, int)
        for u in range(short):
            k, rest = divmod(u * n, short)
            tried[k if rest < coin[k] else own[k]] += 1
        k = np.arange(n)
        low, cut, high = -(-k * short // n), -(-(k * short + coin) // n), -(-(k + 1) * short // n)
        counted = cut - low
        np.add.at(counted, own, high - cut)
        assert counted.tolist() == tried.tolist()


# the words


def splitmix_reference(state: int) -> tuple[int, int]:
    state = (state + 0x9E3779B97F4A7C15) % WORD
    z = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % WORD
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % WORD
    return state, z ^ (z >> 31)


def test_splitmix_gives_the_published_words() -> None:
    # the first words at seed 1234567, as printed by the public-domain C program (Rosetta Code, "Pseudo-random numbers")
    want = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821]
    state, other, got = np.uint64(1234567), 1234567, []
    for _ in want:
        state, word = alias._splitmix(np.uint64(state))
        other, same = splitmix_reference(other)
        assert int(word) == same
        got.append(int(word))
    assert got == want


def test_xoshiro_gives_the_published_words() -> None:
    # the reference vector of the Rust crate rand_xoshiro, taken from the authors' C program at state 1, 2, 3, 4
    want = [41943041, 58720359, 3588806011781223, 3591011842654386, 9228616714210784205, 9973669472204895162]
    state, got = [np.uint64(v) for v in (1, 2, 3, 4)], []
    for _ in want:
        word, *state = alias._xoshiro(*(np.uint64(v) for v in state))
        got.append(int(word))
    assert got == want


def test_the_wide_product_is_that_of_whole_numbers() -> None:
    wide = alias._wide_product
    product = njit(lambda a, b: wide(a, b))
    rng = np.random.default_rng(0)
    numbers = [0, 1, 2**32, 2**63, WORD - 1, *rng.integers(2**64, size=20, dtype=np.uint64).tolist()]
    for a in numbers:
        for b in numbers:
            high, low = product(np.uint64(a), np.uint64(b))
            assert (int(high) << 64) + int(low) == a * b


def plain_counts(entries: list[int], size: int, key: int) -> list[int]:
    """The same draws, in Python's whole numbers."""
    n = len(entries)
    bits, state, s, counts = (n - 1).bit_length(), key, [], [0] * n
    for _ in range(4):
        state, word = splitmix_reference(state)
        s.append(word)

    def turn(x: int, k: int) -> int:
        return (x << k | x >> (64 - k)) % WORD

    for _ in range(size):
        word = (turn((s[0] + s[3]) % WORD, 23) + s[0]) % WORD
        t = (s[1] << 17) % WORD
        s[2] ^= s[0]
        s[3] ^= s[1]
        s[1] ^= s[2]
        s[0] ^= s[3]
        s[2] ^= t
        s[3] = turn(s[3], 45)
        k, coin = divmod(word * n, WORD)
        counts[k if coin < entries[k] >> bits << bits else entries[k] % 2**bits] += 1
    return counts


def test_draws_are_those_of_whole_number_arithmetic() -> None:
    sizes = {1: 3, 2: 50, 784: 2_000, 1000: 999, 1024: 500}
    q = np.concatenate([uneven(n, 3, zeros=0.3 if n > 2 else 0) for n in sizes])
    indptr = np.concatenate([[0], np.cumsum(list(sizes))])
    groups = Multinomials(q, indptr, np.array(list(sizes.values())))
    keys = np.random.default_rng(4).integers(0, 2**64, size=len(sizes), dtype=np.uint64)
    counts = groups.draw(np.random.default_rng(4))
    for r, m in enumerate(sizes.values()):
        group = slice(indptr[r], indptr[r + 1])
        assert counts[group].tolist() == plain_counts(groups.entries[group].tolist(), m, int(keys[r]))


# the counts


@pytest.mark.parametrize("per_edge", [2, MULTINOMIAL_ABOVE, MULTINOMIAL_ABOVE + 1], ids="{} per edge".format)
def test_seeded_counts_fit_q_by_pearsons_statistic(per_edge: int) -> None:
    # 300 groups of 200 edges; the sum of their Pearson statistics has mean 300 * 199 and the exact variance below
    # (Haldane 1937), and is nearly normal: 6.5 standard deviations are left once in 10^10
    q, m = uneven(200, 1) * 0.5 + 0.0025, 200 * per_edge
    indptr = np.arange(0, 300 * 200 + 1, 200)
    counts = draw_counts(np.tile(q, 300), indptr, np.full(300, m), np.random.default_rng(11)).reshape(300, 200)
    assert counts.sum(axis=1).tolist() == [m] * 300
    statistic = float(((counts - m * q) ** 2 / (m * q)).sum())
    variance = 300 * (2 * 199 + ((1 / q).sum() - 200**2 - 2 * 200 + 2) / m)
    assert abs(statistic - 300 * 199) <= 6.5 * math.sqrt(variance)


def test_zero_edges_are_never_drawn() -> None:
    q = np.concatenate([uneven(784, 2, seed=s, zeros=0.8) for s in range(20)])
    for m in (1, 784 * 20, 784 * (MULTINOMIAL_ABOVE + 1)):
        counts = draw_counts(q, np.arange(0, len(q) + 1, 784), np.full(20, m), np.random.default_rng(m))
        assert not counts[q == 0].any()
        assert counts.sum() == 20 * m


def test_edges_below_the_resolution_are_harmless() -> None:
    counts = draw_counts(LAWS["denormal"], np.array([0, 4]), np.array([200]), np.random.default_rng(0))
    assert counts.tolist() == [0, 200, 0, 0]


def test_a_single_edge_is_always_drawn_and_no_draws_are_no_counts() -> None:
    size = np.array([5, 0, 1000, 0, 2**40])
    q = np.array([1.0, np.nan, 1.0, -3.0, 1.0])  # a group without draws is not read
    assert draw_counts(q, np.arange(6), size, np.random.default_rng(0)).tolist() == size.tolist()
    none = draw_counts(np.zeros(0), np.zeros(1, int), np.zeros(0, int), np.random.default_rng(0))
    assert none.shape == (0,)


@pytest.mark.parametrize(
    "q", [[0.5, -0.1, 0.6], [np.nan, 0.5, 0.5], [0.0, 0.0, 0.0], [0.5, 0.5, 0.5], [np.inf, 0.0, 0.0], [0.3, 0.3, 0.3]]
)
def test_what_is_no_distribution_is_refused(q: list[float]) -> None:
    for m in (1, 10_000):
        with pytest.raises(InvalidParameter, match=r"at least 0 and sum to 1.* in group 1"):
            draw_counts(np.array([1.0, *q]), np.array([0, 1, 4]), np.array([1, m]), np.random.default_rng(0))
    with pytest.raises(InvalidParameter, match="sum to 1"):
        draw_counts(np.zeros(0), np.array([0, 0]), np.array([1]), np.random.default_rng(0))


def several(m: int) -> Multinomials:
    q = np.concatenate([uneven(n, 2) for n in range(1, 101)])
    return Multinomials(q, np.concatenate([[0], np.cumsum(np.arange(1, 101))]), np.full(100, m))


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_that_share_tables_draw_what_one_alone_draws(threads: int) -> None:
    groups = several(500)
    alone = [groups.draw(np.random.default_rng(seed)) for seed in range(40)]
    with ThreadPoolExecutor(threads) as pool:
        together = list(pool.map(lambda seed: groups.draw(np.random.default_rng(seed)), range(40)))
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))


def test_a_group_depends_on_its_own_key_only() -> None:
    groups = several(500)
    keys, counts = np.random.default_rng(1).integers(0, 2**64, size=100, dtype=np.uint64), np.zeros(5050, np.int64)
    for r in reversed(range(100)):
        alias._draw(groups.entries, groups.indptr[r : r + 2], groups.size[r : r + 1], keys[r : r + 1], counts)
    direct = several(500).draw(np.random.default_rng(1))
    one_by_one = MULTINOMIAL_ABOVE * np.diff(groups.indptr) >= 500
    same = np.repeat(one_by_one, np.diff(groups.indptr))
    assert np.array_equal(direct[same], counts[same])
    assert 0 < one_by_one.sum() < 100


@pytest.mark.parametrize("m", [0, 7, 5_000])
def test_tables_that_are_used_again_draw_what_new_ones_draw(m: int) -> None:
    groups, rng, other = several(m), np.random.default_rng(2), np.random.default_rng(2)
    copy = pickle.loads(pickle.dumps(groups))
    for _ in range(3):
        q, indptr, size = groups.probabilities, groups.indptr, groups.size
        assert np.array_equal(copy.draw(rng), draw_counts(q, indptr, size, other))


@pytest.mark.parametrize("m", [0, 7, 5_000])
def test_sums_are_those_of_the_counts(m: int) -> None:
    groups, rng = several(m), np.random.default_rng(3)
    worth, columns, a = rng.normal(size=5050), rng.integers(30, size=5050), rng.normal(size=30)
    counts = groups.draw(np.random.default_rng(9))
    got = groups.draw_sums(worth, columns, a, np.random.default_rng(9))
    terms = counts * worth * a[columns]
    want = [math.fsum(terms[i:j]) for i, j in zip(groups.indptr[:-1], groups.indptr[1:], strict=True)]
    size = np.add.reduceat(np.abs(terms), groups.indptr[:-1])
    assert np.all(np.abs(got - want) <= 105 * 2**-53 * size)


# nets drawn again

POINTS = np.random.default_rng(0).uniform(0, 1, (60, 300))
SIGNED = POINTS - 0.5


def made(net: Network, points: np.ndarray, share: float) -> Compression:
    return compress(net, CoreNetBudget(nnz=round(share * net.nnz)), points, rng=3)


NETS = {
    "positive": made(random_network((300, 20, 10, 3), rng=1, positive=True), POINTS, 0.3),
    "signed, with biases": made(random_network((300, 20, 10, 3), rng=2, bias=True), SIGNED, 0.3),
    "nearly exact": made(random_network((300, 20, 10, 3), rng=2, bias=True), SIGNED, 0.97),
    "unchanged": compress(random_network((300, 5, 2), rng=2, bias=True), CoreNetAdditive(), SIGNED, rng=0),
}
every = pytest.mark.parametrize("small", NETS.values(), ids=NETS)


@every
def test_the_seed_of_a_compression_redraws_it(small: Compression) -> None:
    def drawn_by(make: Redraw) -> list[bytes]:
        return [layer.weight.tobytes() for layer in make(np.random.Generator(np.random.Philox(small.seed))).layers]

    kept = Redraw(small)
    first, again, copy = drawn_by(kept), drawn_by(kept), drawn_by(pickle.loads(pickle.dumps(kept)))
    once = redraw(small, np.random.Generator(np.random.Philox(small.seed)))
    want = [layer.weight.tobytes() for layer in small.net.layers]
    assert want == first == again == copy == [layer.weight.tobytes() for layer in once.layers]


@every
def test_outputs_without_matrices_are_those_of_the_drawn_net(small: Compression) -> None:
    fresh, drawn, whole = Redraw(small), np.random.default_rng(5), np.random.default_rng(5)
    for x in POINTS[:10, None]:
        net = fresh(whole)
        size = [np.abs(x)]  # of the terms, all signs made positive
        for layer in net.layers:
            size.append(size[-1] @ np.abs(layer.weight).T + np.abs(layer.bias))
        np.testing.assert_array_less(np.abs(fresh.outputs(x, drawn) - net(x)), 2 * 350 * 2**-53 * size[-1] + 1e-300)
    assert drawn.integers(2**63) == whole.integers(2**63), "both ways use the same coins"


def test_outputs_take_one_point() -> None:
    with pytest.raises(InvalidParameter, match="x must be one point"):
        Redraw(NETS["positive"]).outputs(POINTS, np.random.default_rng(0))


def test_an_unchanged_net_has_error_zero_to_the_last_bit() -> None:
    small, rng = NETS["unchanged"], np.random.default_rng(6)
    assert small.unchanged
    for x in SIGNED[:, None]:
        assert np.array_equal(Redraw(small).outputs(x, rng), small.original(x))
    assert additive_trial(small)(rng, SIGNED).tolist() == [Outcome.OK] * 60
    assert relative_trial(small, 1e-300)(rng, SIGNED).tolist() == [Outcome.OK] * 60


def test_neurons_that_are_kept_exactly_are_equal_to_the_last_bit() -> None:
    small = NETS["nearly exact"]
    plan, layer = small.plans[0], small.original.layers[0]
    sampled = np.unique(plan.groups.neuron[~plan.exact])
    whole = np.setdiff1d(np.arange(20), sampled)
    assert 0 < len(whole) < 20
    for x in SIGNED[:, None]:
        z = LayerDraw(layer.weight, plan).products(x, np.random.default_rng(0)) + layer.bias
        assert np.array_equal(z[:, whole], layer.preactivation(x)[:, whole])
        assert not np.array_equal(z[:, sampled], layer.preactivation(x)[:, sampled])


@every
def test_a_trial_survives_pickling(small: Compression) -> None:
    for trial in (relative_trial(small, 0.2), additive_trial(small)):
        sent = pickle.loads(pickle.dumps(trial))
        want = trial(np.random.default_rng(7), SIGNED)
        assert sent(np.random.default_rng(7), SIGNED).tolist() == want.tolist()


def test_a_weight_beyond_float64_belongs_to_an_edge_that_is_never_drawn() -> None:
    small = NETS["positive"]
    plan = small.plans[0]
    values = plan.sensitivities.values.copy()
    values[::2] *= 1e-310  # w / (m q) overflows there
    plan = replace(plan, sensitivities=replace(plan.sensitivities, values=values))
    drawn = LayerDraw(small.original.layers[0].weight * 1e10, plan)
    weight = drawn(np.random.default_rng(0))
    assert np.isfinite(weight).all()
    assert not plan.groups.take(weight)[::2][~plan.groups.spread(plan.exact)[::2]].any()
    assert np.isfinite(drawn.products(POINTS[:1], np.random.default_rng(0))).all()
