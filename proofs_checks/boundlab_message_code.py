"""The arithmetic coder: messages of one description are prefix-free, and at most 9 bits (and 2^-16 each) too long.

Statement. A description walks through choices, each a law in whole numbers of sum T <= 2^32 that may depend on the
choices before it; P is the product of the probabilities taken, N their number. Over all walks the byte strings that the
coder ends with satisfy sum 256^-bytes <= 1, none is a beginning of another one, and
-log2 P <= 8 bytes < -log2 P + 9 + N log2(1/(1 - 2^-16)) + 2^-63.

Proof. The state is the interval [low, low + R) / 2^(64 + 8 done), R in [2^48, 2^64), at first [0, 1 - 2^-64). A choice
cuts [0, R) into T pieces of s = floor(R/T) and a sliver; part i of the law keeps the pieces start_i ..
start_i + size_i - 1. Different parts are disjoint and lie in [0, s T) inside [0, R): by induction the intervals of
different walks are disjoint. Shifting R and low by a byte, until R is at least 2^48 again, changes no interval. As
R - T < s T, a choice keeps at least size_i/T (1 - T/R), at least (1 - 2^-16) of its probability, and at most size_i/T.
The end takes the least L with an x such that [x, x + 1) 256^-(done + L) lies in the interval: all continuations of the
message do. So messages are cylinders in disjoint intervals: prefix-free, of total length at most 1. L exists, since
an interval of at least two units holds a whole one, and 2^48 holds 256 units of L = 3. With L - 1 there was
none: R < 2 * 2^(64 - 8 (L - 1)), and 8 (done + L) + log2(R / 2^(64 + 8 done)) < 9.
A reader that has shifted in more bytes than len - 1 is at no message of len bytes, for L >= 1 always (1 - 2^-64 < 1).
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp

from boundlab._errors import InvalidParameter
from boundlab.codes.message import Message
from proofs_checks import Evidence, Mutation, Theorem, not_applicable, require
from proofs_checks.judging import smallest_sabotage
from proofs_checks.proving import prove, reals

THEOREM = Theorem(
    name="Kraft's inequality of the arithmetic coder, and its excess",
    source="ours; a range coder with carries, whose end keeps all continuations inside",
    given=("one description, walked by writer and reader", "laws in whole numbers of sum at most 2^32"),
    claim=r"\sum 256^{-\mathrm{bytes}} \le 1, \quad "
    r"-\log_2 P \le 8\,\mathrm{bytes} < -\log_2 P + 9 + N \log_2\frac{1}{1-2^{-16}} + 2^{-63}",
    status="holds",
)

MUTATIONS = (
    Mutation(file="codes/message.py", old="_carry(data, np.int64(state[_AT]))", new="pass"),
    Mutation(file="codes/message.py", old="        data[at] = 0\n        at -= 1", new="        at -= 1"),
    Mutation(
        file="codes/message.py",
        old="if (first + 1) * unit <= low + size:",
        new="if first * unit < low + size:",
    ),
    Mutation(file="codes/message.py", old="if first >> (8 * length):", new="if False:"),
    Mutation(file="codes/message.py", old="data = self._data[:done].copy()", new="data = self._data[:done]"),
    Mutation(file="codes/message.py", old="_SMALL = np.uint64(2**48)", new="_SMALL = np.uint64(2**40)"),
    Mutation(file="codes/message.py", old="    if part >= total:", new="    if part > total:"),
    Mutation(file="codes/message.py", old="if at >= len(data) + 7:", new="if False:"),
    Mutation(file="codes/message.py", old="            tree[k] += 1", new="            tree[k] += 2"),
    Mutation(
        file="codes/message.py",
        old="_narrow(state, data, np.uint64(0), share, total, reading)",
        new="_narrow(state, data, np.uint64(0), share + _ONE, total, reading)",
    ),
    Mutation(
        file="codes/message.py",
        old="return (1 << size) | self.number(1 << size,",
        new="return (1 << size) | self.number(2 << size,",
    ),
)

Cut = tuple[int, int, int]  # start, size, total

LOSS = Fraction(1, 2**16)


class Cuts:
    """The same choices as `Message`, written down as the parts of whole numbers that they take."""

    def __init__(self) -> None:
        """Nothing taken so far."""
        self.found: list[Cut] = []

    def number(self, n: int, value: int) -> int:
        """One of n, all alike."""
        self.found.append((value, 1, n))
        return value

    def numbers(self, n: int, count: int, values: np.ndarray) -> np.ndarray:
        """Each one of n, all alike."""
        require(len(values) == count, "as many as said")
        self.found += [(int(v), 1, n) for v in values]
        return values

    def choice(self, weights: Sequence[int], value: int) -> int:
        """One by its weight."""
        self.found.append((sum(weights[:value]), weights[value], sum(weights)))
        return value

    def subset(self, n: int, k: int, members: np.ndarray) -> np.ndarray:
        """Place by place; what is certain is no choice."""
        for i, member in enumerate(members):
            left, places = k - int(sum(members[:i])), n - i
            if 0 < left < places:
                self.found.append((0, left, places) if member else (left, places - left, places))
        return members

    def letters(self, n: int, count: int, values: np.ndarray) -> np.ndarray:
        """Each by weight 2 c + 1, c its count so far."""
        require(len(values) == count, "as many as said")
        seen = Counter[int]()
        for t, value in enumerate(int(v) for v in values):
            before = sum(2 * seen[j] + 1 for j in range(value))
            self.found.append((before, 2 * seen[value] + 1, 2 * t + n))
            seen[value] += 1
        return values

    def whole(self, value: int) -> int:
        """As many ones as it has bits after the first, a zero, those bits."""
        size = value.bit_length() - 1
        self.found += [(1, 1, 2)] * size + [(0, 1, 2), (value - 2**size, 1, 2**size)]
        return value


def reference(cuts: Iterable[Cut]) -> bytes:
    """The message by whole numbers of any size: no carry, no buffer."""
    low, size, done = 0, 2**64 - 1, 0
    for start, part, total in cuts:
        step = size // total
        low, size = low + step * start, step * part
        while size < 2**48:
            low, size, done = 256 * low, 256 * size, done + 1
    for length in itertools.count():
        unit = 256 ** (8 - length)
        first = -(-low // unit)
        if (first + 1) * unit <= low + size:
            return first.to_bytes(done + length, "big")
    raise AssertionError


def probability(cuts: Iterable[Cut]) -> Fraction:
    return math.prod((Fraction(size, total) for _, size, total in cuts), start=Fraction(1))


def prefix_free(messages: Iterable[bytes]) -> bool:
    """Whether all differ and none is a beginning of another: sorted, a beginning stands before what it begins."""
    ordered = sorted(messages)
    return not any(b.startswith(a) for a, b in itertools.pairwise(ordered))


def kraft(messages: Iterable[bytes]) -> Fraction:
    return sum((Fraction(1, 256 ** len(m)) for m in messages), Fraction(0))


def within(data: bytes, law: Fraction, choices: int) -> bool:
    """Whether the length is what the theorem says, for the probability `law` and that many choices."""
    mass = Fraction(1, 256 ** len(data))
    return mass <= law and mass > law / 512 * (1 - LOSS) ** choices * (1 - Fraction(1, 2**63))


# Descriptions: each walks with a writer, a reader or `Cuts`, and gives back what it has written or read.


def mixed(m: Any, v: Any = (0, 0, (), None, 1)) -> Any:
    """A number, a law with an impossible value, a set whose size is told, letters as many as it has, a whole number."""
    a = m.number(3, v[0])
    b = m.choice((2, 0, 5, 1), v[1])
    c = m.subset(3, m.number(4, sum(v[2])), np.array(v[2], bool))
    d = m.letters(a + 1, 3, None if v[3] is None else np.array(v[3]))
    return a, b, tuple(c.tolist()), tuple(d.tolist()), m.whole(v[4])


def mixed_values() -> list[Any]:
    sets = [tuple(map(bool, s)) for s in itertools.product((0, 1), repeat=3)]
    return [
        (a, b, c, d, w)
        for a in range(3)
        for b in (0, 2, 3)
        for c in sets
        for d in itertools.product(range(a + 1), repeat=3)
        for w in range(1, 5)
    ]


def skewed(m: Any, v: Any = (0,) * 5) -> Any:
    """Likely and unlikely values next to each other, at the largest total: 2^32."""
    return tuple(m.choice((2**32 - 3, 1, 2), value) for value in v)


def thirds(m: Any, v: Any = (0,) * 7) -> Any:
    return tuple(m.numbers(3, 7, np.array(v)).tolist())


WORLDS: tuple[tuple[Callable[..., Any], list[Any]], ...] = (
    (mixed, mixed_values()),
    (skewed, list(itertools.product(range(3), repeat=5))),
    (thirds, list(itertools.product(range(3), repeat=7))),
)


def written(describe: Callable[..., Any], v: Any) -> tuple[bytes, list[Cut]]:
    """The message of a value, and the cuts that it should be made of."""
    writer, cuts = Message(), Cuts()
    require(describe(writer, v) == v == describe(cuts, v), f"{describe.__name__}: a writer returns what it writes")
    require(writer.finish() == writer.finish(), f"{describe.__name__} {v}: the end changes nothing")
    return writer.finish(), cuts.found


def symbolic() -> str:
    R, T, s, start, size, low, unit, x = reals("R T s start size low unit x")
    cut = (s * T <= R, s * T + T > R, T >= 1, T <= 2**32, R >= 2**48)
    prove(s * (start + size) <= R, *cut, start >= 0, size >= 1, start + size <= T, s >= 0)
    p = reals("p")[0]  # p = s T
    prove(p >= R * (1 - LOSS), p <= R, p + T > R, T <= 2**32, R >= 2**48)
    # the end: x = ceil(low / unit) in units; an interval of two units or more holds [x, x + 1)
    y = reals("y")[0]  # x unit
    prove(y + unit <= low + R, y >= low, y < low + unit, 2 * unit <= R, unit > 0)
    prove(2 * unit <= R, R >= 2**48, unit == 2**40)
    prove(512 * x > R, 2 * unit > R, unit == 256 * x)  # x: the unit of one byte more; log2 512 = 9
    j, c, t, M = sp.symbols("j c t M", positive=True)
    require(sp.summation(2**j * sp.Rational(1, 2) ** (2 * j + 1), (j, 0, sp.oo)) == 1, "Elias' gamma sums to 1")
    counts = sp.symbols("c1:5", nonnegative=True)
    weights, total = [2 * ck + 1 for ck in counts], 2 * sp.Add(*counts) + len(counts)
    require(sp.expand(sp.Add(*weights) - total) == 0, "weights 2 c + 1 sum to 2 t + n")
    ratio = sp.gamma(c + sp.Rational(3, 2)) / sp.gamma(c + sp.Rational(1, 2))
    require(sp.simplify(sp.expand_func(ratio) - c - sp.Rational(1, 2)) == 0, "the mixture telescopes in the counts")
    whole = sp.gamma(t + M / 2) / sp.gamma(t + 1 + M / 2)
    require(sp.simplify(sp.gammasimp(whole) * (t + M / 2)) == 1, "the mixture telescopes in the length")
    places, left = sp.symbols("n k", positive=True, integer=True)
    one = sp.binomial(places - 1, left - 1) / sp.binomial(places, left)
    require(sp.simplify(sp.gammasimp(one.rewrite(sp.gamma)) - left / places) == 0, "a set, place by place")
    return "parts lie inside and lose at most 2^-16; the end is inside, 9 bits at most; mixture, sets, gamma sum to 1"


def carries(length: int) -> bytes:
    """A walk whose interval straddles one half until the last choice goes above it: a carry through `length` bytes."""
    low, size, done = Fraction(0), 2**64 - 1, 0
    writer, cuts, scale = Message(), list[Cut](), Fraction(1, 2**64)
    while done < length:
        step = size // 3
        value = min(2, int((Fraction(1, 2) - low) / scale) // step)  # the third that holds one half
        writer.number(3, value)
        cuts.append((value, 1, 3))
        low, size = low + step * value * scale, step
        while size < 2**48:
            size, scale, done = size * 256, scale / 256, done + 1
    above = int((Fraction(1, 2) - low) / scale) * 2**20 // size + 1
    writer.number(2**20, min(above, 2**20 - 1))
    cuts.append((min(above, 2**20 - 1), 1, 2**20))
    data = writer.finish()
    require(data == reference(cuts), f"{data.hex()} against {reference(cuts).hex()}")
    reader = Message(data)
    require([reader.number(total) for _, _, total in cuts] == [start for start, _, _ in cuts], "what was written")
    return data


def refused(call: Callable[[], object]) -> bool:
    try:
        call()
    except InvalidParameter:
        return True
    return False


def exact() -> str:
    lines = []
    for describe, values in WORLDS:
        name, messages = describe.__name__, []
        for v in values:
            data, cuts = written(describe, v)
            require(data == reference(cuts), f"{name} {v}: {data.hex()} against {reference(cuts).hex()}")
            require(within(data, probability(cuts), len(cuts)), f"{name} {v}: {len(data)} bytes")
            reader = Message(data + b"\xff\x00garbage")
            require(describe(reader) == v and reader.finish() == data, f"{name} {v}: read back, with garbage behind it")
            messages.append(data)
        require(prefix_free(messages), f"{name}: a message is the beginning of another one")
        require(kraft(messages) <= 1, f"{name}: Kraft sum {float(kraft(messages))}")
        lines.append(f"{name}: {len(messages)} messages, Kraft sum {float(kraft(messages)):.4f}")
    ran = [carries(length) for length in range(1, 12)]
    require(all(m[0] == 0x80 and set(m[1:-4]) <= {0} for m in ran), "a carry through bytes of 0xff leaves 0x80 00 00")
    require(refused(lambda: Message(b"\xff" * 12).choice((1, 1, 1))), "the sliver belongs to no message")
    zeros = Message(b"\0")
    require(refused(lambda: [zeros.number(2) for _ in range(1_000)]), "a reader must stop behind its bytes")
    return "; ".join(lines) + f"; carries through up to {max(map(len, ran)) - 4} bytes"


monte_carlo = not_applicable("a statement about sets of strings, on which no probability is claimed")


def teeth() -> Evidence:
    writer = Message()
    writer.numbers(2, 16, np.zeros(16, np.int64))
    bits = 8 * len(writer.finish())

    def caught(factor: float) -> bool:  # all 2^16 messages of 16 bits have lengths within a byte of each other
        return 2.0**16 * 2.0 ** (-bits / factor) > 1.0

    slack = smallest_sabotage(caught)
    describe, values = WORLDS[2]
    messages = [written(describe, v)[0] for v in values]
    cut_short, unpaid = [m[:-1] for m in messages], [m.rstrip(b"\0") for m in messages]
    require(not prefix_free(cut_short), "one byte less was not caught")
    require(not prefix_free(unpaid), "zeros left out at the end were not caught")
    return Evidence(text=f"refuted: bits divided by {slack:g}, a byte less, zeros left out at the end", slack=slack)
