"""Worlds in which the true risk of every classifier is known, and what each bound says there of a training set.

A `Case` is one bound in one world. Its sampler draws n training sets, lets a learner or an adversary choose, and
returns n true risks and n bounds; the bound is broken where the risk is larger. Beside it stand sabotaged versions of
the same bound, and a reason where none can be exposed. The worlds:

- *strings*: 2^l classifiers for each description length l, whose errors are independent;
- *thresholds* and *intervals* on [0, 1] with noisy labels, the thresholds coded on a dyadic grid;
- *table*: d inputs, one weight for each, sign(w_j) is the class: Gaussian posteriors have closed forms;
- *coins*: new inputs for ever, labels are fair coins, the prior is uniform on all functions;
- *Gaussian location*: points from N(theta, 1) and the loss 1 - exp(-(w-z)^2/2), prior and posterior conjugate;
- *fold*: one Gaussian weight, f(x) = |w x| - c.

Nets are in ``net_worlds.py``.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.special import ndtr, ndtri
from scipy.stats import binom

from boundlab.bounds.compressed_class import compressed_risk, original_risk
from boundlab.bounds.informed_priors import recursive_step
from boundlab.bounds.occam import occam_realizable
from boundlab.bounds.pac_bayes import majority_vote, pac_bayes_kl
from boundlab.bounds.sample_compression import sample_compression
from boundlab.bounds.single_draw import gaussian_kl, gaussian_log_ratio, single_draw
from boundlab.codes.counts import disintegrated_nats, log_sphere_size
from boundlab.concentration.chernoff import kl
from boundlab.concentration.empirical_bernstein import monte_carlo_limit
from boundlab.verification import Claim, Outcome

Drawn = tuple[np.ndarray, np.ndarray]  # true risk and bound of each training set
Sampler = Callable[[np.random.Generator, int], Drawn]
TIE = 1e-12  # a risk within so much of its bound: floats cannot tell


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """P[true risk > bound] <= delta over training sets, and the draw where there is one."""

    bound: str
    world: str
    delta: float
    theorem: str
    says: Sampler
    sabotage: Mapping[str, Sampler] = field(default_factory=dict)
    reason: str = ""  # why no sabotage can be exposed
    tight: bool = False  # its rate is so near delta that a short run cannot uphold it, and some no run
    short: bool = True  # quick enough for the short form
    batch: int = 500  # training sets drawn at once

    @property
    def name(self) -> str:
        return f"{self.bound}: {self.world}"

    def claim(self, sabotage: str = "") -> Claim:
        name = f"{self.name}, {sabotage}" if sabotage else self.name
        return Claim(name=name, delta=self.delta, theorem=self.theorem)


def trial(says: Sampler) -> Callable[[np.random.Generator, int], np.ndarray]:
    """A trial for `verify`: one training set each; a bound of at least 1 holds, whatever the risk."""

    def run(rng: np.random.Generator, n: int) -> np.ndarray:
        risk, bound = says(rng, n)
        tied = np.where(np.abs(risk - bound) <= TIE, Outcome.UNKNOWN, np.where(risk > bound, Outcome.FAILED, 0))
        return np.where(bound >= 1.0, Outcome.OK, tied).astype(np.int8)

    return run


def tabled(limit: Callable[..., float]) -> Callable[..., np.ndarray]:
    """The limit of whole numbers, elementwise; each combination is worked out once."""
    known = functools.cache(limit)

    def look(*columns: np.ndarray) -> np.ndarray:
        rows = np.broadcast_arrays(*columns)
        found = [known(*row) for row in zip(*(c.ravel().tolist() for c in rows), strict=True)]
        return np.array(found).reshape(rows[0].shape)

    return look


def worst(risks: np.ndarray, bounds: np.ndarray) -> Drawn:
    """The adversary's choice in each row: where the bound is most below the risk. Both (sets, choices)."""
    risks = np.broadcast_to(risks, bounds.shape)
    row, chosen = np.arange(len(bounds)), np.argmin(bounds - risks, axis=1)
    return risks[row, chosen], bounds[row, chosen]


# --- strings -------------------------------------------------------------------------------------------------------

LENGTHS = np.arange(1, 13)


def strings(limit: Callable[[int, int], float], n: int, risk: float = 0.3) -> Sampler:
    """All strings have the same risk, the one with the smallest limit(errors, length) is chosen.

    The fewest of M independent counts is at most k with probability 1 - (1 - F(k))^M: drawn by inversion.
    """
    look, cdf, many = tabled(limit), binom.cdf(np.arange(n + 1), n, risk), 2.0**LENGTHS

    def says(rng: np.random.Generator, sets: int) -> Drawn:
        level = -np.expm1(np.log1p(-rng.random((sets, len(LENGTHS)))) / many)
        return np.full(sets, risk), look(np.searchsorted(cdf, level), LENGTHS).min(axis=1)

    return says


def faultless(price: Callable[[int], float], n: int, delta: float) -> Sampler:
    """Strings whose risk is just above their bound without an error; whoever finds one without error quotes it."""
    bounds = np.array([occam_realizable(n, price(int(length)) - math.log(delta)) for length in LENGTHS])
    risks = bounds * (1 + 1e-9)
    some = -np.expm1(2.0**LENGTHS * np.log1p(-((1 - risks) ** n)))  # P[some string of that length makes no error]

    def says(rng: np.random.Generator, sets: int) -> Drawn:
        found = rng.random((sets, len(LENGTHS))) < some
        return worst(np.where(found, risks, 0.0), np.where(found, bounds, 1.0))

    return says


def counted(limit: Callable[[int], float], n: int, risk: float) -> Sampler:
    """One classifier with that risk, fixed before its n examples."""
    look = tabled(limit)
    return lambda rng, sets: (np.full(sets, risk), look(rng.binomial(n, risk, size=sets)))


# --- thresholds and intervals --------------------------------------------------------------------------------------

CELLS, TRUE_CELL = 128, 43
THRESHOLDS = np.arange(1, CELLS)  # x >= j / 128 is class 1
LEVELS = 7 - np.log2(THRESHOLDS & -THRESHOLDS).astype(int)  # j / 128 in lowest terms has the denominator 2^level


def threshold_nats(level: int) -> float:
    """1/(b (b+1)) for the level b, then one of its 2^(b-1) odd numerators: -ln of that, the sum is below 1."""
    return math.log(level * (level + 1)) + (level - 1) * math.log(2.0)


def thresholds(
    limit: Callable[[int, int], float], n: int, noise: float, *, erm: bool = False, lower: bool = False
) -> Sampler:
    """All 127 thresholds on n examples; limit(errors, level), chosen by the adversary or by the fewest errors.

    `lower`: the limit is one from below, told as an upper limit 1 - limit of the accuracy 1 - risk.
    """
    look = tabled(limit)
    risks = noise + (1 - 2 * noise) * np.abs(THRESHOLDS - TRUE_CELL) / CELLS

    def says(rng: np.random.Generator, sets: int) -> Drawn:
        cell = rng.integers(CELLS, size=(sets, n))
        label = (cell >= TRUE_CELL) ^ (rng.random((sets, n)) < noise)
        place = np.arange(sets)[:, None] * 2 * CELLS + 2 * cell + label
        counts = np.bincount(place.ravel(), minlength=2 * CELLS * sets).reshape(sets, CELLS, 2)
        below = counts.cumsum(axis=1)[:, :-1]  # (sets, thresholds, label): of the examples left of the threshold
        errors = below[..., 1] + counts[..., 0].sum(axis=1)[:, None] - below[..., 0]
        bounds = look(errors, LEVELS)
        if erm:
            best = errors.argmin(axis=1)
            return risks[best], bounds[np.arange(sets), best]
        return worst(1 - risks, 1 - bounds) if lower else worst(risks, bounds)

    return says


def intervals(limit: Callable[[int], float], n: int, tilt: float) -> Sampler:
    """Class 1 between two kept examples, chosen by the fewest errors; limit(errors on the others).

    Class 1 has probability 1/2 + tilt on [1/4, 3/4] and 1/2 - tilt elsewhere; the empirical risk is least where the
    sum of the signs of the labels between the two is largest.
    """
    look = tabled(limit)

    def inside(x: np.ndarray) -> np.ndarray:  # how much of [0, x] lies in [1/4, 3/4]
        return np.clip(x - 0.25, 0.0, 0.5)

    def says(rng: np.random.Generator, sets: int) -> Drawn:
        x = np.sort(rng.random((sets, n)), axis=1)
        y = rng.random((sets, n)) < 0.5 + np.where(np.abs(x - 0.5) < 0.25, tilt, -tilt)
        before = np.concatenate([np.zeros((sets, 1)), np.cumsum(2 * y - 1, axis=1)], axis=1)
        starts = before[:, : n - 1]  # an interval from i to j > i scores before[j + 1] - before[i]
        first = np.maximum.accumulate(
            np.where(starts == np.minimum.accumulate(starts, axis=1), np.arange(n - 1), 0), axis=1
        )
        row = np.arange(sets)
        j = (before[:, 2:] - np.take_along_axis(starts, first, axis=1)).argmax(axis=1)
        i, j = first[row, j], j + 1
        ends = y[row, i].astype(int) + y[row, j]
        ones, score = y.sum(axis=1), before[row, j + 1] - before[row, i]
        errors = (ones - score).astype(int) - (2 - ends)  # wrong outside and inside, without the two kept
        a, b = x[row, i], x[row, j]
        right = inside(b) - inside(a)  # of the interval, where class 1 is likelier
        wrong = (b - a) - right
        return 0.5 - tilt * (right - wrong) - tilt * ((0.5 - wrong) - (0.5 - right)), look(errors)

    return says


def smuggled(delta: float) -> Sampler:
    """Labels are fair coins; a weight made from all 40 of them rides along with one kept example, unpaid."""

    def says(rng: np.random.Generator, sets: int) -> Drawn:
        y = rng.integers(0, 2, size=(sets, 40))
        weight = (y << np.arange(40)).sum(axis=1)
        errors = ((weight[:, None] >> np.arange(40) & 1) != y)[:, 1:].sum(axis=1)
        return np.full(sets, 0.5), tabled(lambda e: sample_compression(e, 1, 40, delta))(errors)

    return says


# --- table: one weight for each of d inputs ------------------------------------------------------------------------


@dataclass(frozen=True)
class Table:
    """d inputs, all equally likely; the class of input j is +1 with probability `lean` (even j) or 1 - lean (odd j)."""

    inputs: int
    lean: float

    @property
    def law(self) -> np.ndarray:
        """Probability of +1 at each input."""
        return np.where(np.arange(self.inputs) % 2, 1 - self.lean, self.lean)

    def sample(self, rng: np.random.Generator, sets: int, n: int) -> np.ndarray:
        """Counts (sets, inputs, 2): of the classes -1 and +1 at each input."""
        cells = np.stack([1 - self.law, self.law], axis=1).ravel() / self.inputs
        return rng.multinomial(n, cells, size=sets).reshape(sets, self.inputs, 2)

    def risk(self, plus: np.ndarray) -> np.ndarray:
        """Risk of a classifier that says +1 with probability `plus` (sets, inputs)."""
        return (self.law * (1 - plus) + (1 - self.law) * plus).mean(axis=1)


def empirical(counts: np.ndarray, plus: np.ndarray) -> np.ndarray:
    """The same on a sample."""
    share = (counts[..., 1] * (1 - plus) + counts[..., 0] * plus).sum(axis=1) / counts.sum(axis=(1, 2))
    return np.clip(share, 0.0, 1.0)


def votes(counts: np.ndarray) -> np.ndarray:
    """The class that is seen more often at each input, 0 where neither is."""
    return np.sign(counts[..., 1] - counts[..., 0]).astype(float)


WIDE = Table(inputs=100, lean=0.6)
STRENGTHS = (0.5, 1.0, 2.0)  # of the posterior's mean, of which the adversary takes one


def gibbs(limit: Callable[[float, float], float], n: int, *, own_prior: bool = False) -> Sampler:
    """Q = N(a vote, 1), P = N(0, 1); limit(r(Q), KL). `own_prior` centres P on the same votes, as no prior may."""

    def says(rng: np.random.Generator, sets: int) -> Drawn:
        counts = WIDE.sample(rng, sets, n)
        risks, bounds = np.empty((sets, len(STRENGTHS))), np.empty((sets, len(STRENGTHS)))
        for k, a in enumerate(STRENGTHS):
            mean = a * votes(counts)
            r, risks[:, k] = empirical(counts, ndtr(mean)), WIDE.risk(ndtr(mean))
            paid = [gaussian_kl(m, 1.0, 1.0, m if own_prior else 0.0) for m in mean]
            bounds[:, k] = [limit(e, d) for e, d in zip(r.tolist(), paid, strict=True)]
        return worst(risks, bounds)

    return says


def informed(n: int, delta: float, *, peeks: bool = False) -> Sampler:
    """P = N(a vote, 1) from the first half, Q from all; the second half measures. `peeks`: P has seen it too."""

    def says(rng: np.random.Generator, sets: int) -> Drawn:
        early, late = WIDE.sample(rng, sets, n // 2), WIDE.sample(rng, sets, n // 2)
        mean = 2.0 * votes(early + late)
        prior = mean if peeks else 2.0 * votes(early)
        paid = [gaussian_kl(m, 1.0, 1.0, p) for m, p in zip(mean, prior, strict=True)]
        r = empirical(late, ndtr(mean)).tolist()
        bounds = [pac_bayes_kl(e, d, n // 2, delta) for e, d in zip(r, paid, strict=True)]
        return WIDE.risk(ndtr(mean)), np.array(bounds)

    return says


def chained(n: int, delta: float, *, unpaid: bool = False) -> Sampler:
    """Two steps: Q_1 from the first quarter, Q_2 from all, its excess loss on the rest. `unpaid`: B_1 is r(Q_1)."""
    early_size, gamma = n // 4, 0.5

    def one(counts: tuple[np.ndarray, np.ndarray], first: np.ndarray, last: np.ndarray) -> float:
        early, late = counts
        r = float(empirical(early[None], ndtr(first)[None])[0])
        level = r if unpaid else pac_bayes_kl(r, gaussian_kl(first, 1.0, 1.0), early_size, 0.5 * delta)
        shares = np.zeros(3)
        for label, sign in ((0, 1.0), (1, -1.0)):
            a, b = ndtr(sign * last), ndtr(sign * first)  # how often h and h' err on that class
            shares += [late[:, label] @ p for p in (1 - (1 - a) * b, a, a * (1 - b))]
        at_least = tuple(np.clip(shares / late.sum(), 0.0, 1.0).tolist())
        return recursive_step(
            level, at_least, gaussian_kl(last, 1.0, 1.0, first), n - early_size, delta, steps=2, gamma=gamma
        )

    def says(rng: np.random.Generator, sets: int) -> Drawn:
        early, late = WIDE.sample(rng, sets, early_size), WIDE.sample(rng, sets, n - early_size)
        first, last = 2.0 * votes(early), 2.0 * votes(early)
        last = np.where(first == 0, 0.3 * votes(late), last)
        bounds = [one((e, t), a, b) for e, t, a, b in zip(early, late, first, last, strict=True)]
        return WIDE.risk(ndtr(last)), np.array(bounds)

    return says


def vote(delta: float, *, doubled: bool) -> Sampler:
    """Q errs on half of the inputs a little more often than not: its majority vote errs on all of these."""
    world, n = Table(inputs=10, lean=1.0), 1_000
    right = np.where(np.arange(10) % 2, -1.0, 1.0)
    mean = np.where(np.arange(10) < 5, -0.03, 2.0) * right
    paid = gaussian_kl(mean, 1.0, 1.0)

    def says(rng: np.random.Generator, sets: int) -> Drawn:
        r = empirical(world.sample(rng, sets, n), np.broadcast_to(ndtr(mean), (sets, 10)))
        bounds = np.array([pac_bayes_kl(e, paid, n, delta) for e in r.tolist()])
        risk = world.risk((mean > 0)[None].astype(float))[0]
        return np.full(sets, risk), np.array([majority_vote(b) for b in bounds]) if doubled else bounds

    return says


def drawn_weights(n: int, delta: float, *, reused: bool = False) -> Sampler:
    """One w ~ Q = N(mean, 1). `reused`: the training knew the coins u of w = mean + u and moved the mean by them."""

    def says(rng: np.random.Generator, sets: int) -> Drawn:
        counts, coins = WIDE.sample(rng, sets, n), rng.normal(size=(sets, WIDE.inputs))
        wanted = votes(counts)
        mean = np.where(coins * wanted < 0, 1e-3 * wanted - coins, 0.0) if reused else 2.0 * wanted
        w = mean + coins
        r = empirical(counts, (w > 0).astype(float)).tolist()
        bounds = [
            single_draw(e, gaussian_log_ratio(v, m, 1.0, 1.0), n, delta) for e, v, m in zip(r, w, mean, strict=True)
        ]
        return WIDE.risk((w > 0).astype(float)), np.array(bounds)

    return says


def drawn_coreset(n: int, delta: float, *, seed_is_free: bool = False) -> Sampler:
    """Weights from the votes, 20 draws with p ~ |weight|: the counts are the net; no weight, no class: an error."""
    world, draws = Table(inputs=30, lean=0.8), 20
    prior = log_sphere_size(30, draws)

    def says(rng: np.random.Generator, sets: int) -> Drawn:
        counts = world.sample(rng, sets, n)
        weight = np.where((counts[..., 1] == counts[..., 0]), 1e-3, counts[..., 1] - counts[..., 0])
        p = np.abs(weight) / np.abs(weight).sum(axis=1, keepdims=True)
        z = (np.sign(weight) * rng.multinomial(draws, p)).astype(int)
        wrong = np.stack([z >= 0, z <= 0], axis=2)  # on the classes -1 and +1
        r = ((counts * wrong).sum(axis=(1, 2)) / n).tolist()
        risk = (np.stack([1 - world.law, world.law], axis=1) * wrong).sum(axis=2).mean(axis=1)
        nats = [0.0 if seed_is_free else disintegrated_nats(a, b, prior) for a, b in zip(z, p, strict=True)]
        return risk, np.array([single_draw(e, k, n, delta) for e, k in zip(r, nats, strict=True)])

    return says


def looked_up(delta: float, *, fresh: bool) -> Sampler:
    """The net g says +1 everywhere, f as well on the inputs that its training saw, and the contrary on all others.

    `fresh`: the 200 unlabelled points that compare f and g are new, not those that f was made from.
    """
    world, n, noise = Table(inputs=100, lean=0.5), 100, 0.1
    limit = tabled(lambda errors, apart, u: original_risk(errors, n, 0.0, apart, u, delta))

    def says(rng: np.random.Generator, sets: int) -> Drawn:
        counts = world.sample(rng, sets, n).sum(axis=2)
        unseen = (counts == 0).mean(axis=1)
        errors = rng.binomial(n, noise, size=sets)  # of g, whose margin is large
        size = 200 if fresh else n
        apart = rng.binomial(size, unseen) if fresh else np.zeros(sets, int)
        return noise + (1 - 2 * noise) * unseen, limit(errors, apart, np.full(sets, size))

    return says


def flipped(delta: float, factor: float) -> Sampler:
    """Outputs of f are +-3/4 gamma, those of g 9/10 gamma away and contrary; margins counted up to factor gamma."""
    n, noise = 200, 0.05
    limit = tabled(lambda small: compressed_risk(small, 0, n, 0.0, delta))

    def says(rng: np.random.Generator, sets: int) -> Drawn:
        wrong = rng.binomial(n, noise, size=sets)  # of f; its margin on the others is 3/2 gamma
        return np.full(sets, 1 - noise), limit(wrong if factor < 1.5 else np.full(sets, n))

    return says


# --- coins ---------------------------------------------------------------------------------------------------------


def tilted(limit: Callable[[int, float], float], n: int, share: float = 1.0, classes: int = 2) -> Sampler:
    """A share of the draws comes from P e^(n kl(r || R))/xi(n), the rest from a set without prior mass.

    P is uniform on all functions, labels are fair dice, R = 1 - 1/classes; limit(errors, ln dQ/dP).
    """
    risk, k = 1 - 1 / classes, np.arange(n + 1)
    law = binom.pmf(k, n, k / n)  # of the errors under the tilt, up to xi(n), its sum
    ratios = [math.log(share) + n * kl(j / n, risk) - math.log(law.sum()) for j in k]
    bounds, ends = np.array([limit(int(j), ratio) for j, ratio in zip(k, ratios, strict=True)]), np.cumsum(law)

    def says(rng: np.random.Generator, sets: int) -> Drawn:
        errors = np.minimum(np.searchsorted(ends, rng.random(sets) * ends[-1]), n)
        return np.full(sets, risk), np.where(rng.random(sets) < share, bounds[errors], 1.0)

    return says


def best_drawn(n: int, delta: float, draws: int, paid: int) -> Sampler:
    """Q = P: every draw has ln dQ/dP = 0; the one of `draws` with the fewest errors is shown, `paid` are paid for."""
    cdf = binom.cdf(np.arange(n + 1), n, 0.5)
    limit = tabled(lambda k: single_draw(k / n, 0.0, n, delta, draws=paid))

    def says(rng: np.random.Generator, sets: int) -> Drawn:
        level = -np.expm1(np.log1p(-rng.random(sets)) / draws)
        return np.full(sets, 0.5), limit(np.searchsorted(cdf, level))

    return says


# --- Gaussian location, fold ---------------------------------------------------------------------------------------


def located(limit: Callable[[float, float], float], n: int, theta: float = 1.0) -> Sampler:
    """Points z ~ N(theta, 1), loss 1 - exp(-(w-z)^2/2), P = N(0, 1), Q the conjugate posterior of n points."""
    spread = 1.0 / (n + 1)

    def says(rng: np.random.Generator, sets: int) -> Drawn:
        z = rng.normal(theta, 1.0, size=(sets, n))
        mean = z.sum(axis=1) * spread
        r = 1 - (np.exp(-0.5 * (mean[:, None] - z) ** 2 / (1 + spread)) / math.sqrt(1 + spread)).mean(axis=1)
        risk = 1 - np.exp(-0.5 * (mean - theta) ** 2 / (2 + spread)) / math.sqrt(2 + spread)
        paid = [gaussian_kl(m, math.sqrt(spread), 1.0) for m in mean]
        return risk, np.array([limit(e, d) for e, d in zip(r.tolist(), paid, strict=True)])

    return says


def folded(delta: float, *, draws: int = 0, paid: bool = True, mean_net: bool = False) -> Sampler:
    """f(x) = |w x| - c, x = +-1, Q = P = N(0, 1): a share of 0.3 of the nets errs on the class that all points have.

    The labels are noisy, 5 %. With `draws` the Gibbs risk on the sample is estimated by so many nets, and `paid` by
    half of delta; `mean_net` quotes the Gibbs bound for the net with the mean weight 0, which errs everywhere.
    """
    n, noise, share = 500, 0.05, 0.3
    half = abs(float(ndtri((1 - share) / 2)))  # c: P[|w| <= c] = share
    gibbs_risk = share * (1 - noise) + (1 - share) * noise

    def one(rng: np.random.Generator, flips: int) -> float:
        q = flips / n
        if not draws:
            return pac_bayes_kl(share * (1 - q) + (1 - share) * q, 0.0, n, delta)
        bad = np.abs(rng.normal(size=draws)) <= half
        values = np.where(bad, 1 - q, q)
        if not paid:
            return pac_bayes_kl(float(values.mean()), 0.0, n, delta)
        return pac_bayes_kl(monte_carlo_limit(values, 0.5 * delta), 0.0, n, 0.5 * delta)

    def says(rng: np.random.Generator, sets: int) -> Drawn:
        bounds = np.array([one(rng, int(flips)) for flips in rng.binomial(n, noise, size=sets)])
        return np.full(sets, 1 - noise if mean_net else gibbs_risk), bounds

    return says


def families(limits: Sequence[tuple[str, str, Callable[..., float]]], n: int, delta: float) -> list[Case]:
    """PAC-Bayes bounds limit(r, KL, n, delta), each on the table of 100 inputs, beside a prior chosen on the sample."""
    return [
        Case(
            bound=name,
            world="table of 100 inputs, Gaussian posterior",
            delta=delta,
            theorem=theorem,
            says=gibbs(lambda r, d, limit=limit: limit(r, d, n, delta), n),
            sabotage={
                "prior chosen on the sample": gibbs(lambda r, d, limit=limit: limit(r, d, n, delta), n, own_prior=True)
            },
        )
        for name, theorem, limit in limits
    ]
