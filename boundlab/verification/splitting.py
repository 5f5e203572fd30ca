"""An estimate, never a verdict: adaptive multilevel splitting for the failure probability of a whole random net.

N states are scored; again and again the lowest ones are killed and replaced by copies of survivors that are moved at
random, but never down to the score of the killed. Each round multiplies the estimate by 1 - K/N, K the number killed.
Scores of counts are discrete: all states that tie for the lowest score are killed together. Killed one by one at a
factor 1 - 1/N each, they make an estimate that is inconsistent.

What is proved: if each replacement is a fresh, independent draw above the lowest score, the mean over all coins is p
exactly. Moves of a Markov chain only come near to such draws, and that voids the proof. So: no limit, no state, nothing
to require. `rare_failure` certifies, for a layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np

from boundlab._errors import InvalidParameter, positive, positive_int
from boundlab._theory import implements
from boundlab.coresets.alias import Multinomials
from boundlab.coresets.binomial_draws import draw_binomials
from boundlab.records import Compression, Record, Row
from boundlab.verification.running.streams import stream

T = TypeVar("T")
Particle = tuple[float, T]
"""A score, and the state that has it."""

SMALLEST = 1e-300
"""Below it an estimate would leave the range of float64."""


@dataclass(frozen=True, kw_only=True)
class SplittingEstimate(Record):
    """What splitting makes of P(score > level): a mean over independent runs, and no certificate.

    A run's value is 0 where it died out: all its states had the same score, at most `level`. Where all runs died out,
    the estimate is 0 and so is its standard error, and neither says that failing is impossible. `levels` holds for
    each run the score at which its estimate first fell to 1/2, 1/4, 1/8 ... or below. `evaluations` counts scores.
    """

    level: float
    values: tuple[float, ...]
    iterations: tuple[int, ...]
    levels: tuple[tuple[float, ...], ...]
    particles: int
    moves: int
    evaluations: int
    accepted: int  # moves that were not refused
    seed: int

    def __bool__(self) -> bool:
        raise TypeError("a SplittingEstimate is no verdict: read .estimate and .standard_error.")

    @property
    def estimate(self) -> float:
        """The mean of the runs."""
        return math.fsum(self.values) / len(self.values)

    @property
    def standard_error(self) -> float:
        """Of the mean, from the spread of the runs: it sees their variance, and nothing of a bias of the moves."""
        return float(np.std(self.values, ddof=1)) / math.sqrt(len(self.values))

    @property
    def died_out(self) -> int:
        """How many runs ended with 0."""
        return self.values.count(0.0)

    @property
    def acceptance(self) -> float:
        """The share of moves that were not refused; nan where no move was made. Near 0, copies hardly differ."""
        made = self.evaluations - self.particles * len(self.values)
        return self.accepted / made if made else math.nan

    @property
    def naive_trials(self) -> float:
        """How many plain trials have this standard error, if the estimate is right: p (1 - p)/se^2."""
        p, se = self.estimate, self.standard_error
        return (p / se) * ((1.0 - p) / se) if se > 0.0 else math.nan

    @property
    def statement(self) -> str:
        """What is estimated, and that it is not certified."""
        return (
            f"P(score > {self.level:g}) is estimated at {self.estimate:.3g}, standard error {self.standard_error:.2g} "
            f"over {len(self.values)} runs ({self.died_out} died out at 0). An estimate without certificate: "
            "moves of a Markov chain void the exact law under which it is unbiased. Only rare_failure certifies."
        )

    def rows(self) -> list[Row]:
        """One line."""
        return [
            {
                "level": self.level,
                "estimate": self.estimate,
                "standard_error": self.standard_error,
                "certified": False,
                "runs": len(self.values),
                "died_out": self.died_out,
                "iterations": sum(self.iterations),
                "evaluations": self.evaluations,
                "acceptance": self.acceptance,
                "naive_trials": self.naive_trials,
            }
        ]

    def to_dict(self) -> dict[str, Any]:
        """All fields, the estimate and the statement, as JSON values: each tuple as a list."""
        fields = asdict(self) | {"levels": [list(run) for run in self.levels]}
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}
        found = {"statement": self.statement, "certified": False, "estimate": self.estimate}
        return found | {"standard_error": self.standard_error, "died_out": self.died_out} | plain


def splitting_estimate(
    draw: Callable[[np.random.Generator], T],
    move: Callable[[np.random.Generator, T], T],
    score: Callable[[T], float],
    level: float,
    *,
    particles: int = 200,
    moves: int = 20,
    runs: int = 10,
    max_iterations: int = 100_000,
    seed: int = 0,
) -> SplittingEstimate:
    """Estimate P(score(X) > level), X = draw(rng), by adaptive multilevel splitting; an estimate, not a verdict.

        p^ = prod_i (1 - K_i/N),   K_i = #{states whose score is the lowest one of round i}, ties included

    Adaptive are the levels, which are the lowest scores met, and nothing else: not the moves, nor how many there are.

    Parameters
    ----------
    draw : rng -> state, the law of the coins
    move : (rng, state) -> another state, which leaves that law invariant; it must not change the state it is given
        A move to a score at or below the round's level is refused. This keeps the law above the level invariant if
        the move is reversible: X = draw(rng) and move(rng, X) have the same joint law in either order.
    score : state -> float, above -inf and not nan; the state fails where it is above `level`
    level : float, finite
    particles : int N, at least 2
        The relative variance of a run is about p^(-1/N) - 1 in the exact setting, for continuous scores, and larger
        with moves that mix slowly.
    moves : int, at least 1
        Moves of each copy, each one evaluation of `score`.
    runs : int, at least 2
        Independent repetitions, of which the mean and its standard error are taken.
    max_iterations : int, at least 1
        Rounds that a run may take; about N ln(1/p) are needed for continuous scores.
    seed : int, at least 0
        Run k draws its coins from ``stream("splitting", seed, k)`` alone.

    Returns
    -------
    SplittingEstimate

    Raises
    ------
    InvalidParameter
        If an argument is out of range, a score is nan or -inf, or a run reaches neither `level` nor extinction within
        `max_iterations` rounds and estimates above 1e-300.

    Notes
    -----
    Source: Bréhier, Gazeau, Goudenège, Lelièvre and Rousset (2016), as we understand the paper, and Walter (2015) on
    discrete scores; the static form with exact replacements is proved in ``proofs_checks/brehier2016_splitting.py``.

    Examples
    --------
    >>> def flip_one(rng, bits):
    ...     return np.where(np.arange(20) == rng.integers(20), rng.integers(2), bits)
    >>> found = splitting_estimate(lambda rng: rng.integers(2, size=20), flip_one, np.sum, 18, particles=100, moves=40)
    >>> bool(abs(found.estimate / (21 / 2**20) - 1) < 0.5)  # P(Bin(20, 1/2) > 18)
    True
    """
    if isinstance(level, bool) or not isinstance(level, (int, float, np.number)) or not math.isfinite(level):
        raise InvalidParameter(f"level must be finite, got level={level!r}.")
    for name, value, least in (("particles", particles, 2), ("runs", runs, 2)):
        if positive_int(name, value) < least:
            raise InvalidParameter(f"{name} must be at least {least}, got {name}={value}.")
    renew = Refusal(move, score, positive_int("moves", moves))
    most = positive_int("max_iterations", max_iterations)
    found = [
        split_once(draw, renew, score, level, stream("splitting", seed, k), particles=particles, max_iterations=most)
        for k in range(runs)
    ]
    return SplittingEstimate(
        level=float(level),
        values=tuple(run.value for run in found),
        iterations=tuple(len(run.killed) for run in found),
        levels=tuple(run.halvings for run in found),
        particles=int(particles),
        moves=renew.moves,
        evaluations=runs * particles + renew.tried,
        accepted=renew.accepted,
        seed=int(seed),
    )


@dataclass(frozen=True, kw_only=True)
class Descent:
    """One run: the lowest score of each round, and how many states had it."""

    particles: int
    levels: tuple[float, ...]
    killed: tuple[int, ...]

    @property
    def value(self) -> float:
        """The estimate: prod (1 - K/N)."""
        return math.prod((self.particles - k) / self.particles for k in self.killed)

    @property
    def halvings(self) -> tuple[float, ...]:
        """The level at which the estimate first fell to 2^-j or below, for j = 1, 2, ... as far as it is not 0."""
        shares = np.cumprod([(self.particles - k) / self.particles for k in self.killed if k < self.particles])
        deepest = int(-np.log2(shares[-1])) if len(shares) else 0
        first = np.searchsorted(-shares, -(2.0 ** -np.arange(1, deepest + 1)))
        return tuple(self.levels[i] for i in first)


@implements("brehier2016_splitting")
def split_once(
    draw: Callable[[np.random.Generator], T],
    renew: Callable[[np.random.Generator, Particle[T], float], Particle[T]],
    score: Callable[[T], float],
    level: float,
    rng: np.random.Generator,
    *,
    particles: int,
    max_iterations: int,
) -> Descent:
    """One run; renew(rng, survivor, floor) replaces a killed state, by one whose score is above `floor`.

    Its `value` has mean P(score > level) if every replacement is an independent draw of the law above `floor`.
    """
    swarm = [_scored(score, draw(rng)) for _ in range(particles)]
    scores = np.array([value for value, _ in swarm])
    levels, killed, share = [], [], 1.0
    while (floor := float(scores.min())) <= level:
        dead, alive = np.flatnonzero(scores <= floor), np.flatnonzero(scores > floor)
        levels.append(floor)
        killed.append(len(dead))
        share *= len(alive) / particles
        if not len(alive):
            break
        if len(killed) == max_iterations or share < SMALLEST:
            raise InvalidParameter(
                f"level must be reached within max_iterations={max_iterations} rounds and above {SMALLEST:g}, "
                f"got {floor:g} after {len(killed)} rounds, at an estimate of {share:g}; level={level:g}."
            )
        for k in dead:
            swarm[k] = renew(rng, swarm[alive[rng.integers(len(alive))]], floor)
            scores[k] = swarm[k][0]
    return Descent(particles=particles, levels=tuple(levels), killed=tuple(killed))


class Refusal:
    """`moves` moves of a copied survivor, each refused where the score would not be above the floor; counts them."""

    def __init__(self, move: Callable[[np.random.Generator, T], T], score: Callable[[T], float], moves: int) -> None:
        """Start counting."""
        self.move, self.score, self.moves = move, score, moves
        self.tried = self.accepted = 0

    def __call__(self, rng: np.random.Generator, particle: Particle[Any], floor: float) -> Particle[Any]:
        """The state after the moves, with its score."""
        for _ in range(self.moves):
            proposal = _scored(self.score, self.move(rng, particle[1]))
            if proposal[0] > floor:
                particle = proposal
                self.accepted += 1
        self.tried += self.moves
        return particle


def splitting_failure_of(
    compression: Compression,
    x: np.ndarray,
    eps: float,
    *,
    particles: int = 200,
    moves: int = 20,
    runs: int = 10,
    max_iterations: int = 100_000,
    seed: int = 0,
) -> SplittingEstimate:
    """Estimate P(some output of f^(x) leaves (1 +- eps) f(x)) over the coins of the whole net at one input x.

        score = max_i |f^_i(x) - f_i(x)| / |f_i(x)|

    A move redraws each single draw of each layer with probability 2^-u, u uniform, anew for each move and whatever
    the state: from a fresh net (u = 0) to a change of one draw in 256. Nothing is tuned to the acceptance rate.

    Parameters
    ----------
    compression : Compression, of which at least one group is sampled
    x : array (features,), finite
    eps : float, positive
    particles, moves, runs, max_iterations, seed : as for `splitting_estimate`

    Returns
    -------
    SplittingEstimate
        It says nothing of another input. An output with f_i(x) = 0 fails at any error.

    Raises
    ------
    InvalidParameter
        If x does not fit the net, or no group is sampled, or as for `splitting_estimate`.

    Notes
    -----
    Source: as for `splitting_estimate`; the move is reversible, ``proofs_checks/boundlab_thinned_redraw.py``. For one
    layer `rare_failure_of` gives a certified limit.
    """
    coins = NetCoins(compression, x)
    return splitting_estimate(
        coins.draw,
        coins.move,
        coins.error,
        positive("eps", eps),
        particles=particles,
        moves=moves,
        runs=runs,
        max_iterations=max_iterations,
        seed=seed,
    )


@implements("boundlab_thinned_redraw")
class NetCoins:
    """The coins of a compression as counts: how often each edge of a sampled group was drawn, all layers in a row."""

    def __init__(self, compression: Compression, x: np.ndarray) -> None:
        """Prepare the law of the counts, and f(x)."""
        from boundlab.compressors.method import Redraw

        self.net, self.x = compression.original, np.asarray(x, np.float64)
        if self.x.shape != self.net.sizes[:1] or not np.isfinite(self.x).all():
            raise InvalidParameter(
                f"x must be one finite point of {self.net.sizes[0]} features, got shape {self.x.shape}."
            )
        self.layers = Redraw(compression).layers
        laws = [layer.counts for layer in self.layers if isinstance(layer.counts, Multinomials)]
        if len(laws) < len(self.layers):
            raise InvalidParameter("the compression must draw with replacement, as CoreNet does, got another law.")
        self.size = np.concatenate([law.size for law in laws])
        if not self.size.any():
            raise InvalidParameter("the compression must sample some group, got only exact or dropped ones.")
        self.q = np.concatenate([law.probabilities for law in laws])
        self.indptr = np.concatenate([[0], np.cumsum(np.concatenate([np.diff(law.indptr) for law in laws]))])
        self.ends = np.cumsum([len(law.probabilities) for law in laws])[:-1]
        self.law = Multinomials(self.q, self.indptr, self.size)
        self.f = self.net(self.x[None, :])[0]

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Fresh counts."""
        return self.law.draw(rng)

    def move(self, rng: np.random.Generator, counts: np.ndarray) -> np.ndarray:
        """Each draw anew with probability 2^-u: Bin(c_j, 2^-u) draws leave edge j, and each group makes up for its own.

        Which draws leave depends on nothing, so that those who stay and those who come are draws of q as before.
        """
        leaving, drawn = np.zeros_like(counts), np.flatnonzero(counts)
        leaving[drawn] = draw_binomials(counts[drawn], 2.0 ** -rng.uniform(0.0, 8.0), rng)
        back = np.add.reduceat(leaving, self.indptr[:-1])
        return counts - leaving + Multinomials(self.q, self.indptr, back).draw(rng)

    def error(self, counts: np.ndarray) -> float:
        """The largest relative error of an output at x; 0/0 is 0."""
        a = self.x
        for layer, drawn, c in zip(self.net.layers, self.layers, np.split(counts, self.ends), strict=True):
            j = np.flatnonzero(c)
            terms = c[j] * drawn.worth[j] * a[drawn.columns[j]]
            z = drawn.kept @ a + np.bincount(drawn.row[j], terms, minlength=len(layer.bias)) + layer.bias
            a = np.maximum(z, 0.0) if layer.relu else z
        gap, size = np.abs(a - self.f), np.abs(self.f)
        return float(np.divide(gap, size, out=np.where(gap > 0, np.inf, 0.0), where=size > 0).max())


def _scored(score: Callable[[T], float], state: T) -> Particle[T]:
    value = float(score(state))
    if not value > -math.inf:
        raise InvalidParameter(f"score must be a number above -inf, got {value}.")
    return value, state
