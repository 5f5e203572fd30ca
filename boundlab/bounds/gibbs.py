"""PAC-Bayes bounds of a trained net: the risk of nets drawn from a Gaussian around its weights, in eight forms."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from boundlab._errors import choice, positive, positive_int, probability
from boundlab._theory import implements
from boundlab.bounds.catoni import catoni, catoni_grid, lambda_grid
from boundlab.bounds.gaussian_posterior import GaussianPosterior, fit_posterior, gibbs_losses
from boundlab.bounds.generalization_bound import (
    IID,
    GeneralizationBound,
    Subject,
    alone,
    chance,
    classifier,
    evidence,
    telescope,
)
from boundlab.bounds.pac_bayes import (
    Root,
    lambda_bound,
    pac_bayes_kl,
    quadratic_bound,
    refined_pinsker,
    root_bound,
)
from boundlab.nets.module_net import ModuleNet
from boundlab.network import Network
from boundlab.promises import Bound, Premise, Status

_UP = 1.0 + 1e-14  # past the error of a handful of roundings
BETAS = tuple(0.05 * 2.0 ** (k / 8) for k in range(64))
"""The paid grid of Catoni's temperatures: 0.05 to 11.7."""


class PacBayesForm(StrEnum):
    """How a risk, a divergence and a confidence become a bound."""

    KL = "kl"  # Maurer and Seeger, with the exact xi(n): never above the next four
    MCALLESTER_2003 = "mcallester2003"
    REFINED_PINSKER = "refined_pinsker"
    QUADRATIC = "quadratic"
    LAMBDA = "lambda"
    CATONI = "catoni"  # at one temperature, fixed beforehand
    CATONI_GRID = "catoni_grid"  # at the best of 64, which is paid
    LAMBDA_GRID = "lambda_grid"  # as published by Zhou et al. and in PACTL


@dataclass(frozen=True, kw_only=True)
class _Formula:
    name: str
    theorem: str
    value: Callable[[float, float, int, float, float], float]  # of risk, nats, n, delta and beta


_FORMULAS = {
    PacBayesForm.KL: _Formula(
        name="PAC-Bayes kl (Gibbs)",
        theorem="maurer2004_kl",
        value=lambda r, nats, n, delta, _: pac_bayes_kl(r, nats, n, delta),
    ),
    PacBayesForm.MCALLESTER_2003: _Formula(
        name="PAC-Bayes McAllester 2003 (Gibbs)",
        theorem="mcallester2003_root",
        value=lambda r, nats, n, delta, _: root_bound(r, nats, n, delta, Root.MCALLESTER_2003),
    ),
    PacBayesForm.REFINED_PINSKER: _Formula(
        name="PAC-Bayes refined Pinsker (Gibbs)",
        theorem="boundlab_refined_pinsker",
        value=lambda r, nats, n, delta, _: refined_pinsker(r, nats, n, delta),
    ),
    PacBayesForm.QUADRATIC: _Formula(
        name="PAC-Bayes quadratic (Gibbs)",
        theorem="perezortiz2021_quadratic",
        value=lambda r, nats, n, delta, _: quadratic_bound(r, nats, n, delta),
    ),
    PacBayesForm.LAMBDA: _Formula(
        name="PAC-Bayes lambda (Gibbs)",
        theorem="thiemann2017_lambda",
        value=lambda r, nats, n, delta, _: lambda_bound(r, nats, n, delta),
    ),
    PacBayesForm.CATONI: _Formula(name="Catoni (Gibbs)", theorem="catoni2007_fixed_beta", value=catoni),
    PacBayesForm.CATONI_GRID: _Formula(
        name="Catoni, paid grid (Gibbs)",
        theorem="boundlab_catoni_grid",
        value=lambda r, nats, n, delta, _: catoni_grid(r, nats, n, delta, BETAS),
    ),
    PacBayesForm.LAMBDA_GRID: _Formula(
        name="Catoni, lambda grid as published (Gibbs)",
        theorem="zhou2019_lambda_grid",
        value=lambda r, nats, n, delta, _: lambda_grid(r, nats, n, delta),
    ),
}


@implements("boundlab_gaussian_posterior", "boundlab_gibbs_monte_carlo", "maurer2004_kl")
@dataclass(frozen=True, kw_only=True)
class Gibbs(GeneralizationBound):
    """Risk of a net drawn anew for each point from a Gaussian around the trained weights; not that of the trained net.

    With probability at least 1 - delta over the n examples and the Monte Carlo coins:  R(Q) <= B(r, KL(Q||P), n,
    delta_sample), r an upper limit, at delta_mc, of the risk of Q on the examples; delta = delta_sample + delta_mc, and
    B is the inequality that `form` names. The prior is centred at 0 and is, for each tensor, a mixture of 256 standard
    deviations; those of the posterior are chosen by the bound itself (`fit_posterior`).

    Nothing is said of the net with the mean weights, that is, of `net`: use `DrawnNet` for one fixed net. Two forms at
    once are two certificates, each with a delta of its own.

    Parameters
    ----------
    delta : float
        In (0, 1).
    form : PacBayesForm
        The inequality.
    beta : float
        The temperature of Catoni's form, > 0, fixed before the examples; other forms have none.
    mc_share : float
        delta_mc / delta, in (0, 1).
    pairs : int
        Pairs of a net and a point for the Monte Carlo estimate, >= 1; at least 2 nets are drawn.
    per_net : int
        Points on which one net of a torch module is judged; a fully connected net is drawn anew for each point.
    seed : int
        At least 0; of the coins. A seed chosen among M by looking at the bound needs delta / M.
    name : str
        What a table calls it.

    Raises
    ------
    InvalidParameter
        If an argument is out of its range.
    PremiseViolated
        When called with a module that holds numbers outside of its parameters: batch norms have to be folded.
    UnsupportedLayer
        When called with a net that is no classifier.

    Notes
    -----
    Each form is proved in the theorem file that the bound names, the estimate in ``boundlab_gibbs_monte_carlo``. A
    fully connected net is judged as in exact arithmetic, where what rounding could change counts as an error; a module
    in its own precision, with weights that are rounded to it.

    Examples
    --------
    >>> from boundlab.network import Layer
    >>> net = Network(layers=(Layer(weight=np.array([[1.0], [-1.0]]), bias=np.zeros(2), relu=False),))
    >>> x = np.linspace(-1.0, 1.0, 1_000)[:, None]
    >>> found = Gibbs()(net, x, (x[:, 0] < 0).astype(int))
    >>> f"{found.value:.2f}", found.standing
    ('0.02', <Standing.NON_VACUOUS: 'non-vacuous'>)
    """

    form: PacBayesForm = PacBayesForm.KL
    beta: float = 1.0
    mc_share: float = 0.1
    pairs: int = 65_536
    per_net: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        choice("form", self.form, PacBayesForm)
        positive("beta", self.beta)
        probability("mc_share", self.mc_share)
        positive_int("pairs", self.pairs)
        positive_int("per_net", self.per_net)
        if self.name in ("", *(formula.name for formula in _FORMULAS.values())):  # also after `replace`
            object.__setattr__(self, "name", _FORMULAS[self.form].name)

    def posterior(self, net: Subject, x: Any, y: Any) -> GaussianPosterior:
        """The posterior whose risk is bounded."""
        x, y = evidence(net, x, y)
        return fit_posterior(classifier(net), x, y, delta=self.delta, seed=self.seed)

    def __call__(self, net: Subject, x: Any, y: Any) -> Bound:
        """Choose the noise, estimate the Gibbs risk with fresh coins, and evaluate the form; rounded up."""
        x, y = evidence(net, x, y)
        posterior, losses = gibbs_losses(
            classifier(net), x, y, delta=self.delta, seed=self.seed, pairs=self.pairs, per_net=self.per_net
        )
        return gibbs_bound(self, posterior, losses, x, chance=chance(y), widths=width_nats(net))


def gibbs_bound(
    method: Gibbs,
    posterior: GaussianPosterior,
    losses: np.ndarray,
    x: np.ndarray,
    *,
    chance: float,
    widths: float,
) -> Bound:
    """The bound of a posterior from the examples and independent draws of its losses on them; rounded up."""
    formula, n = _FORMULAS[method.form], len(x)
    mc = method.delta * method.mc_share * (1.0 - 1e-15)
    sample = method.delta * (1.0 - method.mc_share) * (1.0 - 1e-15)
    estimate, limit = float(losses.mean()), posterior.risk_limit(losses, mc)
    whole = (posterior.complexity + widths) * _UP
    levels = [formula.value(limit, nats, n, sample, method.beta) for nats in (0.0, widths, whole)]
    return Bound(
        name=method.name,
        terms=telescope(
            ("risk of the draws", "Monte Carlo", "confidence", "widths", "divergence"),
            (estimate, limit, *levels),
        ),
        delta=method.delta,
        theorem=formula.theorem,
        chance=chance,
        premises=(
            Premise(
                text="the risk is that of a net drawn anew from the posterior for each point, not of the mean net",
                status=Status.CHECKED,
                evidence="by definition of the Gibbs risk; langford2002_gibbs_vote has a mean net that errs everywhere",
            ),
            IID,
            posterior.premise,
            Premise(
                text="form, temperature and seed are fixed before the examples",
                status=Status.ASSUMED,
                evidence=f"{method.form}, beta = {method.beta:g}, seed {method.seed}; one of M costs delta / M",
            ),
            *net_premises(posterior.net, x),
        ),
        facts={
            "n": n,
            "gibbs_estimate": estimate,
            "gibbs_limit": limit,
            "draws": len(losses),
            "nats": whole,
            "width_nats": widths,
            "delta_sample": sample,
            "delta_mc": mc,
            "seed": method.seed,
        },
    )


def width_nats(subject: Subject) -> float:
    """Return ln of how many widths a removal of neurons or channels could have left, 0 for other nets; rounded up."""
    return math.fsum(math.log(len(scale) + 1) for scale in getattr(subject, "scales", ())) * _UP


def net_premises(net: Network | ModuleNet, x: np.ndarray) -> tuple[Premise, ...]:
    """What is taken on trust of the architecture and of the coins, and in which arithmetic a net is judged."""
    return (
        Premise(
            text="the architecture, with every number in it that is no parameter, is fixed before the data",
            status=Status.ASSUMED,
            evidence="neither it nor the preparation of the inputs is in the posterior, and one among M needs "
            "delta / M; the widths that a removal of neurons has left are paid",
        ),
        Premise(
            text="the coins are independent of the examples and of the training",
            status=Status.ASSUMED,
            evidence="Philox, keyed by purpose, seed and net; its normal numbers are taken as exact; a net is judged "
            + ("as in exact arithmetic" if isinstance(net, Network) else "in the module's own precision"),
        ),
        *alone(net, x),
    )
