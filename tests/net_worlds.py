"""Tiny nets on 49 inputs with a known law: the risk of any net is an exact sum.

The inputs are the points of a 7 x 7 grid on [-1, 1]^2, all equally likely, with a constant 1 beside them in the
place of biases. Class 1 has probability 0.7 above the diagonal and 0.3 elsewhere. Nets 3-5-2 are trained on N examples
by plain gradient descent, many sets at a time, long enough to fit part of the noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy.special import expit

import boundlab as bl
from boundlab.bounds.arora_margin import AroraMargin
from boundlab.bounds.compressed_class import compressed_risk, priced
from boundlab.bounds.drawn_net import DrawnNet
from boundlab.bounds.fixed_features import LinearHead
from boundlab.bounds.generalization_bound import GeneralizationBound
from boundlab.bounds.heavy_tailed import HeavyTailed, heavy_tailed
from boundlab.bounds.occam import MessageBound, Occam
from boundlab.bounds.occam_pyramid import OccamPyramid
from boundlab.bounds.parameter_count import ParameterCover, StoredBits
from boundlab.bounds.path_norm import PathNorm
from boundlab.bounds.perturbation import PerturbedWeights
from boundlab.bounds.sample_compression import SampleCompression
from boundlab.bounds.size_independent import FrobeniusNorm, L1Norm
from boundlab.bounds.spectral import SpectralMargin
from boundlab.bounds.test_set import TestSet
from boundlab.bounds.transfer import UnlabelledTransfer
from boundlab.concentration.binomial import upper_limit
from boundlab.nets.feedforward import FeedForward
from boundlab.nets.margin import margins
from boundlab.network import Layer, Network
from tests.worlds import Case, Drawn, Sampler, tabled

SIDE, HIDDEN, N, KEPT = 7, 5, 100, 15
STEPS, RATE = 200, 0.7
GRID = np.stack(np.meshgrid(*2 * [np.linspace(-1.0, 1.0, SIDE)]), axis=-1).reshape(-1, 2)
POINTS = np.column_stack([GRID, np.ones(len(GRID))])  # (49, 3)
LAW = np.where(GRID.sum(axis=1) > 0.1, 0.7, 0.3)  # of class 1
WIDE = 0.2

Judge = Callable[[Network, np.ndarray, np.ndarray, np.random.Generator], tuple[float, float]]


def risk_of(wrong: np.ndarray) -> float:
    """From wrong (2, 49), whether class 0 and class 1 are got wrong at each input; ties are errors."""
    return float(((1 - LAW) * wrong[0] + LAW * wrong[1]).mean())


def true_risk(net: Network) -> float:
    return risk_of(np.stack([margins(net(POINTS), np.full(len(POINTS), label)) <= 0.0 for label in (0, 1)]))


def sample(rng: np.random.Generator, sets: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Which inputs and classes, both (sets, n)."""
    which = rng.integers(len(POINTS), size=(sets, n))
    return which, (rng.random((sets, n)) < LAW[which]).astype(int)


def counts(which: np.ndarray, y: np.ndarray) -> np.ndarray:
    """How often each input has each class: (sets, 49, 2)."""
    sets, cells = len(y), 2 * len(POINTS)
    place = np.arange(sets)[:, None] * cells + 2 * which + y
    return np.bincount(place.ravel(), minlength=cells * sets).reshape(sets, len(POINTS), 2)


def trained(rng: np.random.Generator, which: np.ndarray, y: np.ndarray, *, fixed_features: bool) -> list[Network]:
    """A net for each row of examples, by full gradients of the cross entropy; its outputs are -v/2 and v/2.

    `fixed_features`: the first layer is the same for all, and stays.
    """
    sets, points = len(y), len(POINTS)
    first, v = rng.normal(size=(sets, HIDDEN, 3)), rng.normal(size=(sets, HIDDEN))
    if fixed_features:
        first[:] = np.random.default_rng(0).normal(size=(HIDDEN, 3))
    share = counts(which, y) / y.shape[1]
    for _ in range(STEPS):
        hidden = np.maximum(first.reshape(-1, 3) @ POINTS.T, 0.0).reshape(sets, HIDDEN, points)
        slope = share.sum(axis=2) * expit((v[:, None] @ hidden)[:, 0]) - share[..., 1]  # (sets, points)
        back = v[..., None] * slope[:, None] * (hidden > 0)
        v = v - RATE * (hidden @ slope[..., None])[..., 0]
        if not fixed_features:
            first = first - RATE * (back.reshape(-1, points) @ POINTS).reshape(first.shape)
    return [net_of(w, np.stack([-0.5 * u, 0.5 * u])) for w, u in zip(first, v, strict=True)]


def net_of(*weights: np.ndarray) -> Network:
    """A net without biases."""
    last = len(weights) - 1
    return Network(layers=tuple(Layer(weight=w, bias=np.zeros(len(w)), relu=k < last) for k, w in enumerate(weights)))


def nets(judge: Judge, *, trained_on: int = N, fixed_features: bool = False) -> Sampler:
    """Train a net on the first `trained_on` of N examples, and judge it on all of them: (risk, bound)."""

    def says(rng: np.random.Generator, sets: int) -> Drawn:
        which, y = sample(rng, sets, N)
        found = trained(rng, which[:, :trained_on], y[:, :trained_on], fixed_features=fixed_features)
        rows = [judge(net, POINTS[w], own, rng) for net, w, own in zip(found, which, y, strict=True)]
        risk, bound = np.array(rows).T
        return risk, bound

    return says


def errors(net: Network, x: np.ndarray, y: np.ndarray) -> int:
    return int(np.count_nonzero(margins(net(x), y) <= 0.0))


def chain_risk(chain: FeedForward) -> float:
    """Of a net that is defined in exact arithmetic; what rounding leaves open is an error, as `count_errors` has it."""
    labels = (np.full(len(POINTS), label) for label in (0, 1))
    return risk_of(np.stack([~(chain.certain_margins(POINTS, label) > 0.0) for label in labels]))


def coded(bound: MessageBound, *, paid: bool = True) -> Judge:
    """The net that a message names; unpaid: the test-set limit of the same errors."""

    def judge(net: Network, x: np.ndarray, y: np.ndarray, _: np.random.Generator) -> tuple[float, float]:
        own = bound.coded(net, x, y)
        return chain_risk(own.message.net), own.value(WIDE) if paid else upper_limit(own.errors, N, WIDE)

    return judge


def as_it_is(bound: GeneralizationBound) -> Judge:
    """A bound on the risk of the trained net itself; above 1 where it is vacuous."""
    return lambda net, x, y, _: (true_risk(net), bound(net, x, y).raw)


def drawn(net: Network, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """`DrawnNet` with fresh coins, on the net that is drawn."""
    bound = DrawnNet(delta=WIDE, seed=int(rng.integers(2**62)))
    found = bound.draw(net, x, y)
    if not isinstance(found, Network):
        raise TypeError(f"a Network is drawn from a Network, got {type(found).__name__}.")
    return true_risk(found), bound(net, x, y).value


def tested(*, fresh: bool) -> Judge:
    """`TestSet` on 60 fresh examples, or on those that the net was trained on."""

    def judge(net: Network, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
        if fresh:
            which, labels = sample(rng, 1, N)
            x, y = POINTS[which[0]], labels[0]
        return true_risk(net), TestSet(delta=WIDE)(net, x, y).value

    return judge


def kept(*, counted: bool) -> Judge:
    """`SampleCompression` of a net trained on the first 15; `counted`: these are tested, too, and nothing is paid."""

    def judge(net: Network, x: np.ndarray, y: np.ndarray, _: np.random.Generator) -> tuple[float, float]:
        if counted:
            return true_risk(net), upper_limit(errors(net, x, y), N, WIDE)
        return true_risk(net), SampleCompression(delta=WIDE, kept=range(KEPT))(net, x, y).value

    return judge


def compressed(*, paid: bool) -> Judge:
    """`AroraMargin` of the net with 16 of its 25 weights; unpaid: a seed explains the outcome, no code is needed."""

    def judge(net: Network, x: np.ndarray, y: np.ndarray, _: np.random.Generator) -> tuple[float, float]:
        small = bl.compress(net, bl.Magnitude(nnz=20), x, rng=0)
        if not paid:
            return true_risk(small.net), upper_limit(errors(small.net, x, y), N, WIDE)
        found = AroraMargin(delta=WIDE)(small, x, y)
        certified = min(priced(small.net), key=lambda pair: abs(pair[1] - found.facts["nats"]))
        return true_risk(certified[0]), found.value

    return judge


def helped(strings: int, *, paid: bool) -> Sampler:
    """Nets 3-5-2 with random weights, from helper strings fixed before the data; the one with the fewest errors."""
    rng = np.random.default_rng(1)
    made = [net_of(rng.normal(size=(HIDDEN, 3)), rng.normal(size=(2, HIDDEN))) for _ in range(strings)]
    wrong = np.array([[margins(net(POINTS), np.full(len(POINTS), label)) <= 0.0 for net in made] for label in (0, 1)])
    risks = np.array([risk_of(wrong[:, k]) for k in range(strings)])
    limit = tabled(lambda k: compressed_risk(k, 0, N, math.log(strings) if paid else 0.0, WIDE))

    def says(rng: np.random.Generator, sets: int) -> Drawn:
        which, y = sample(rng, sets, N)
        found = sum(wrong[label].astype(int) @ counts(which, y)[..., label].T for label in (0, 1))  # (strings, sets)
        best = np.argmin(found, axis=0)
        return risks[best], limit(np.min(found, axis=0))

    return says


def transferred(net: Network, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """`UnlabelledTransfer` from the net with 12 weights to the whole one, through 500 fresh inputs."""
    small = bl.compress(net, bl.Magnitude(nnz=12), x, rng=0)
    fresh = POINTS[rng.integers(len(POINTS), size=500)]
    return true_risk(net), UnlabelledTransfer(delta=WIDE, unlabelled=fresh, thresholds=(1.0,))(small, x, y).value


def heavy(net: Network, x: np.ndarray, y: np.ndarray, _: np.random.Generator) -> tuple[float, float]:
    """`HeavyTailed` at one threshold: weights above the root mean square of their matrix are kept."""
    built = heavy_tailed(net, 1.0).net
    return true_risk(built), HeavyTailed(delta=WIDE, multiples=(1.0,))(net, x, y).value


DOMAIN = (-1.0, 1.0)  # every entry of every input
NORMS = (
    ("spectral norms", "bartlett2017_spectral", SpectralMargin(delta=WIDE)),
    ("perturbed weights", "neyshabur2018_perturbation", PerturbedWeights(delta=WIDE, domain=DOMAIN)),
    ("Frobenius norms", "golowich2018_frobenius", FrobeniusNorm(delta=WIDE)),
    ("l1 norms", "golowich2018_l1", L1Norm(delta=WIDE)),
    ("path norm", "neyshabur2015_path_norm", PathNorm(delta=WIDE)),
    ("parameters, by a cover", "long2020_parameter_count", ParameterCover(delta=WIDE, domain=DOMAIN)),
    ("parameters, stored bits", "langford2005_occam_binomial", StoredBits(delta=WIDE)),
)
VACUOUS = (
    "the bound is above 0.99 for every net here: no training set can break it, nor a version that is wrong by a "
    "constant factor"
)
DEAR = (
    "the description costs about as many nats as there are examples, and a mistake in the rest hides behind it; it "
    "shows in the other worlds of the same theorem"
)


def case(bound: str, theorem: str, judge: Judge, *, reason: str = "", **sabotage: Judge) -> Case:
    """A case of trained nets."""
    return Case(
        bound=bound,
        world="trained nets 3-5-2",
        delta=WIDE,
        theorem=theorem,
        says=nets(judge),
        sabotage={what.replace("_", " "): nets(wrong) for what, wrong in sabotage.items()},
        reason=reason,
        batch=40,
    )


def net_cases() -> list[Case]:
    """Every bound that speaks of a trained net."""
    grid, pyramid = Occam(delta=WIDE, steps=(1,)), OccamPyramid(delta=WIDE, trials=4, feedback=False)
    occam, fresh = "langford2005_occam_binomial", tested(fresh=True)
    linear = as_it_is(LinearHead(delta=WIDE, features_fixed=True))
    return [
        case("Occam, log grid", occam, coded(grid), code_unpaid=coded(grid, paid=False)),
        replace(
            case("Occam, pyramid code", occam, coded(pyramid), code_unpaid=coded(pyramid, paid=False)), short=False
        ),
        replace(
            case("test set", "clopper_pearson1934", fresh, tested_on_the_training_set=tested(fresh=False)), tight=True
        ),
        replace(
            case("sample compression, 15 kept", "floyd1995_sample_compression", kept(counted=False)),
            says=nets(kept(counted=False), trained_on=KEPT),
            sabotage={"the 15 tested, too, and unpaid": nets(kept(counted=True), trained_on=KEPT)},
        ),
        case(
            "Arora et al., margins",
            "arora2018_random_failures",
            compressed(paid=True),
            outcome_of_a_seed_unpaid=compressed(paid=False),
        ),
        Case(
            bound="Arora et al., best of 1,000 helper strings",
            world="random nets 3-5-2, fewest errors",
            delta=WIDE,
            theorem="arora2018_helper_string",
            says=helped(1_000, paid=True),
            sabotage={"choice of the string unpaid": helped(1_000, paid=False)},
        ),
        case("transfer, unlabelled points", "boundlab_unlabelled_transfer", transferred, reason=DEAR),
        case("heavy-tailed", "shin2021_heavy_tail", heavy, reason=DEAR),
        replace(case("single draw, Gaussian", "rivasplata2020_single_draw", drawn, reason=DEAR), short=False),
        replace(
            case("linear head", "lei2015_gaussian_complexity", linear, reason=VACUOUS),
            says=nets(linear, fixed_features=True),
        ),
        *(case(name, theorem, as_it_is(bound), reason=VACUOUS) for name, theorem, bound in NORMS),
    ]
