"""The arithmetic coder: writer against reader, against whole numbers of any size, borders, foreign bytes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boundlab._errors import InvalidParameter
from boundlab.codes.message import LETTERS, MOST, Message
from proofs_checks.boundlab_message_code import Cuts, carries, probability, reference, within

Step = tuple[str, tuple[Any, ...]]  # a choice, and what it is given; the value last

SIZES = st.one_of(st.integers(1, 9), st.sampled_from([255, 256, 257, 2**16, 2**31 + 1, MOST - 1, MOST]))


@st.composite
def steps(draw: st.DrawFn) -> Step:
    kind = draw(st.sampled_from(["number", "numbers", "choice", "subset", "letters", "whole"]))
    if kind == "whole":
        return kind, (draw(st.one_of(st.integers(1, 9), st.integers(1, MOST - 1), st.just(MOST - 1))),)
    if kind == "choice":
        weights = draw(st.lists(st.one_of(st.integers(0, 3), st.just(2**29)), min_size=1, max_size=4))
        weights[draw(st.integers(0, len(weights) - 1))] += 1
        return kind, (tuple(weights), draw(st.sampled_from([i for i, w in enumerate(weights) if w])))
    if kind == "subset":
        members = np.array(draw(st.lists(st.booleans(), max_size=20)), bool)
        return kind, (len(members), int(members.sum()), members)
    n = draw(st.integers(1, 6) if kind == "letters" else SIZES)
    value = st.one_of(st.integers(0, n - 1), st.just(n - 1), st.just(0))
    if kind == "number":
        return kind, (n, draw(value))
    values = draw(st.lists(value, max_size=20))
    return kind, (n, len(values), np.array(values, np.int64))


def walk(m: Any, given_: list[Step]) -> list[Any]:
    return [getattr(m, kind)(*arguments) for kind, arguments in given_]


def read(m: Message, given_: list[Step]) -> list[Any]:
    return [getattr(m, kind)(*arguments[:-1]) for kind, arguments in given_]


def alike(a: list[Any], b: list[Any]) -> bool:
    return len(a) == len(b) and all(np.array_equal(p, q) for p, q in zip(a, b, strict=True))


@settings(max_examples=200, deadline=None)
@given(given_=st.lists(steps(), max_size=12), behind=st.binary(max_size=12))
def test_what_is_written_is_read_and_is_what_whole_numbers_say(given_: list[Step], behind: bytes) -> None:
    writer, cuts = Message(), Cuts()
    written, _ = walk(writer, given_), walk(cuts, given_)
    data = writer.finish()
    assert data == reference(cuts.found) == writer.finish()
    assert within(data, probability(cuts.found), len(cuts.found))
    assert writer.bits <= 8 * len(data) < writer.bits + 9
    for tail in (b"", behind):
        reader = Message(data + tail)
        assert alike(read(reader, given_), written)
        assert reader.finish() == data
        assert reader.bits == writer.bits


@settings(max_examples=100, deadline=None)
@given(given_=st.lists(steps(), min_size=1, max_size=6), data=st.data())
def test_foreign_bytes_are_refused_or_are_another_message(given_: list[Step], data: st.DataObject) -> None:
    writer = Message()
    walk(writer, given_)
    message = writer.finish()
    foreign = data.draw(st.one_of(st.binary(max_size=30), st.integers(0, len(message) - 1).map(lambda n: message[:n])))
    reader = Message(foreign)
    try:
        found = read(reader, given_)
    except InvalidParameter:
        return
    again = Message()
    walk(again, [(kind, (*a[:-1], value)) for (kind, a), value in zip(given_, found, strict=True)])
    assert reader.finish() == again.finish()
    if foreign == message[: len(foreign)] and foreign != message:
        assert reader.finish() != foreign  # no message is the beginning of another one


@pytest.mark.parametrize("length", [1, 2, 7, 40])
def test_a_carry_runs_through_bytes_of_ones(length: int) -> None:
    # an interval around one half: its low end starts with 7f ff ff ... until the last choice lies above
    data = carries(length)
    assert data[0] == 0x80
    assert not any(data[1 : length - 2])


def test_format_1_says_a_fixed_description_in_these_bytes() -> None:
    # whoever changes these bytes changes the format: messages that were written before can be read no more
    m, cuts = Message(), Cuts()
    for to in (m, cuts):
        to.number(10, 7)
        to.numbers(3, 5, np.array([0, 1, 2, 0, 1]))
        to.choice((5, 0, 1, 10), 2)
        to.subset(9, 3, np.array([0, 1, 0, 0, 1, 0, 0, 0, 1], bool))
        to.letters(4, 8, np.array([0, 0, 0, 3, 0, 1, 0, 0]))
        to.whole(300)
        to.number(MOST, 4_000_000_000)
    assert m.finish().hex() == "b81512494a1be32c0a0496"
    assert reference(cuts.found) == m.finish()


def test_nothing_takes_one_byte_and_certain_choices_take_nothing() -> None:
    m = Message()
    assert m.finish() == b"\0"
    m.numbers(1, 1_000, np.zeros(1_000))
    m.subset(50, 0, np.zeros(50))
    m.subset(50, 50, np.ones(50))
    m.letters(1, 100, np.zeros(100))
    m.choice((0, 3), 1)
    m.numbers(7, 0)
    assert m.finish() == b"\0"
    assert m.bits == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(("value", "bits"), [(1, 1), (2, 3), (3, 3), (4, 5), (255, 15), (MOST - 1, 63)])
def test_elias_gamma_lengths(value: int, bits: int) -> None:
    m = Message()
    m.whole(value)
    assert m.bits == pytest.approx(bits, abs=1e-6)
    assert Message(m.finish()).whole() == value


def test_bits_are_those_of_the_laws() -> None:
    rng = np.random.default_rng(0)
    m = Message()
    m.numbers(10, 3_000, rng.integers(0, 10, size=3_000))
    m.book("numbers")
    members = rng.permutation(2_000) < 100
    m.subset(2_000, 100, members)
    m.book("sets")
    values = rng.integers(0, 2, size=500) * 5
    m.letters(8, 500, values)
    m.book("letters")
    seen = np.bincount(values, minlength=8)
    mixture = math.lgamma(4) - math.lgamma(504) + sum(math.lgamma(c + 0.5) - math.lgamma(0.5) for c in seen)
    assert m.paid["numbers"] == pytest.approx(3_000 * math.log2(10), abs=1e-6)
    assert m.paid["sets"] == pytest.approx(math.log2(math.comb(2_000, 100)), abs=1e-6)
    assert m.paid["letters"] == pytest.approx(-mixture / math.log(2), abs=1e-6)
    assert math.fsum(m.paid.values()) == pytest.approx(m.bits, abs=1e-9)


def test_long_messages_outgrow_the_first_buffer() -> None:
    rng = np.random.default_rng(1)
    values, members = rng.integers(0, MOST, size=3_000), rng.random(5_000) < 0.5
    m = Message()
    m.numbers(MOST, 3_000, values)
    m.subset(5_000, int(members.sum()), members)
    m.letters(300, 2_000, values[:2_000] % 300)
    r = Message(m.finish())
    assert np.array_equal(r.numbers(MOST, 3_000), values)
    assert np.array_equal(r.subset(5_000, int(members.sum())), members)
    assert np.array_equal(r.letters(300, 2_000), values[:2_000] % 300)
    assert 8 * len(m.finish()) < 3_000 * 32 + 5_000 + 2_000 * math.log2(300) + 2_000


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.number(3, 3), r"values must be 1 numbers in 0\.\.2"),
        (lambda m: m.number(3, -1), r"values must be 1 numbers in 0\.\.2"),
        (lambda m: m.number(0, 0), r"an alphabet must have 1\.\.4294967296 letters, got 0"),
        (lambda m: m.number(MOST + 1, 0), "an alphabet must have"),
        (lambda m: m.numbers(3, 2, np.array([1])), "values must be 2 numbers"),
        (lambda m: m.numbers(3, 2), "values must be 2 numbers"),
        (lambda m: m.choice((1, 0), 1), "a choice must be one of positive weight, got 1"),
        (lambda m: m.choice((1, 1), 2), "a choice must be one of positive weight, got 2"),
        (lambda m: m.choice((), 0), "weights must be whole numbers >= 0 of sum"),
        (lambda m: m.choice((0, 0), 0), "weights must be whole numbers"),
        (lambda m: m.choice((2, -1), 0), "weights must be whole numbers"),
        (lambda m: m.choice((MOST, 1), 0), "weights must be whole numbers"),
        (lambda m: m.subset(3, 2, np.array([1, 0, 0])), "members must be 2 of 3 places, got 1"),
        (
            lambda m: m.subset(3, 4, np.ones(4)),
            r"a set of 3 places must have 0\.\.3 members and up to 4294967296 places, got 4",
        ),
        (lambda m: m.subset(3, 2, np.array([1, 1])), "members must be 2 of 3 places, got 2 of 2"),
        (lambda m: m.letters(LETTERS + 1, 1, np.array([0])), "a mixture must have up to 1048576 letters"),
        (lambda m: m.letters(2, MOST, np.array([0])), "a mixture must have up to"),
        (lambda m: m.whole(0), r"a whole number must be in 1\.\.4294967295, got 0"),
        (lambda m: m.whole(MOST), "a whole number must be in"),
    ],
)
def test_what_cannot_be_written_is_refused(call, message: str) -> None:
    with pytest.raises(InvalidParameter, match=message):
        call(Message())


def test_a_reader_stops_behind_its_bytes() -> None:
    for data in (b"", b"\0", b"\0" * 9):
        reader = Message(data)
        with pytest.raises(InvalidParameter, match="the bytes must be a message of this code, got others"):
            [reader.number(2) for _ in range(200)]
    with pytest.raises(InvalidParameter, match="the bytes must be a message of this code"):
        Message(b"\0" * 20).numbers(2, 2**40)  # no room is made for them
    with pytest.raises(InvalidParameter, match="a message must hold numbers below"):
        Message(b"\xff\xff\xff\xff\xf0\0\0\0").whole()
    with pytest.raises(InvalidParameter, match="the bytes must be a message"):
        Message(b"\xff" * 12).number(3)


def test_a_reader_of_the_data_does_not_change_them() -> None:
    m = Message()
    m.number(10, 7)
    data = bytearray(m.finish())
    assert Message(bytes(data)).number(10) == 7
    assert bytes(data) == m.finish()
