"""The single-draw PAC-Bayes bound: one net is drawn from the posterior, and that net is certified."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from boundlab._errors import InvalidParameter, positive_int
from boundlab._theory import implements
from boundlab.bounds.gaussian_posterior import GaussianPosterior, fit_posterior
from boundlab.bounds.generalization_bound import (
    IID,
    GeneralizationBound,
    Subject,
    chance,
    classifier,
    count_errors,
    evidence,
    telescope,
)
from boundlab.bounds.gibbs import BETAS, PacBayesForm, net_premises, width_nats
from boundlab.bounds.noisy_nets import coins
from boundlab.bounds.single_draw import single_draw, single_draw_catoni
from boundlab.nets.module_net import ModuleNet
from boundlab.network import Network
from boundlab.promises import Bound, Premise, Status


@implements("boundlab_gaussian_posterior", "rivasplata2020_single_draw", "boundlab_catoni_grid")
@dataclass(frozen=True, kw_only=True)
class DrawnNet(GeneralizationBound):
    """Risk of one net that is drawn from a Gaussian around the trained weights: of `draw(net, x, y)`, not of `net`.

    With probability at least 1 - delta over the n examples and the draw h:  R(h) <= kl^-1(r(h), (ln (dQ/dP)(h) + ln(N
    xi(n)/delta)) / n), where r(h) is counted on all n examples: no Monte Carlo. Prior and posterior are those of
    `Gibbs`. The net drawn may be stored and shipped, as it is; a change of it, or a choice
    among several, is not covered but for the best of `draws`.

    Parameters
    ----------
    delta : float
        In (0, 1).
    form : PacBayesForm
        ``KL``, or ``CATONI_GRID``: ln 64 for 64 temperatures in the place of ln xi(n).
    draws : int
        N >= 1, fixed beforehand: how many seeds were looked at, or could have been, before this one was kept.
    seed : int
        At least 0; it draws the net again, on the same machine and versions. The stream is keyed by a hash of the
        posterior too, so that no seed of a training is used a second time.
    name : str
        What a table calls it.

    Raises
    ------
    InvalidParameter
        If an argument is out of its range.
    PremiseViolated
        When called with a module that holds numbers outside of its parameters: batch norms have to be folded.

    Notes
    -----
    Rivasplata, Kuzborskij, Szepesvári and Shawe-Taylor (2020), after Catoni (2007) and Blanchard and Fleuret (2007), as
    we understand the papers; proved in ``rivasplata2020_single_draw``.

    Examples
    --------
    >>> import numpy as np
    >>> from boundlab.network import Layer
    >>> net = Network(layers=(Layer(weight=np.array([[1.0], [-1.0]]), bias=np.zeros(2), relu=False),))
    >>> x = np.linspace(-1.0, 1.0, 1_000)[:, None]
    >>> y = (x[:, 0] < 0).astype(int)
    >>> found, drawn = DrawnNet()(net, x, y), DrawnNet().draw(net, x, y)
    >>> f"{found.value:.2f}", drawn.errors(x, y) == found.facts["errors"]
    ('0.01', True)
    """

    form: PacBayesForm = PacBayesForm.KL
    draws: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.form not in (PacBayesForm.KL, PacBayesForm.CATONI_GRID):
            raise InvalidParameter(f"form must be kl or catoni_grid for one draw, got {self.form!r}.")
        positive_int("draws", self.draws)
        names = {PacBayesForm.KL: "PAC-Bayes kl (drawn net)", PacBayesForm.CATONI_GRID: "Catoni, paid grid (drawn net)"}
        if self.name in ("", *names.values()):  # also after `replace`
            object.__setattr__(self, "name", names[self.form])

    def posterior(self, net: Subject, x: Any, y: Any) -> GaussianPosterior:
        """The posterior that the net is drawn from."""
        x, y = evidence(net, x, y)
        return fit_posterior(classifier(net), x, y, delta=self.delta, seed=self.seed)

    def draw(self, net: Subject, x: Any, y: Any) -> Network | ModuleNet:
        """The net that the bound speaks of: the same for the same arguments."""
        return self._draw(self.posterior(net, x, y))[0]

    def _draw(self, posterior: GaussianPosterior) -> tuple[Network | ModuleNet, float]:
        return posterior.draw(coins("drawn net", self.seed, posterior.digest))

    def __call__(self, net: Subject, x: Any, y: Any) -> Bound:
        """Draw the net, count its errors on all examples, and invert; rounded up."""
        x, y = evidence(net, x, y)
        n, posterior = len(x), self.posterior(net, x, y)
        drawn, ratio = self._draw(posterior)
        errors = count_errors(drawn, x, y)
        widths = width_nats(net)
        nats = math.fsum((ratio, widths)) + 1e-15 * (abs(ratio) + widths)
        limits = {form: self._limit(form, errors / n, nats, n) for form in _FORMS}
        value = limits[self.form]
        levels = (errors / n, *(self._limit(self.form, errors / n, paid, n) for paid in (0.0, widths)))
        return Bound(
            name=self.name,
            terms=telescope(
                ("empirical risk", "confidence", "widths", "log ratio"),
                (*(min(level, value) for level in levels), value),
            ),
            delta=self.delta,
            theorem=_FORMS[self.form],
            chance=chance(y),
            premises=(
                Premise(
                    text=f"the risk is that of the net drawn with seed {self.seed}, which `draw` gives, unchanged",
                    status=Status.CHECKED,
                    evidence="its errors are counted on the examples; of the net with the mean weights nothing is said",
                ),
                Premise(
                    text=f"at most {self.draws} draws were looked at before this one was kept",
                    status=Status.ASSUMED,
                    evidence="the best of N draws, over all runs and seeds, costs ln N",
                ),
                IID,
                posterior.premise,
                *net_premises(posterior.net, x),
            ),
            facts={
                "n": n,
                "errors": errors,
                "nats": nats,
                "log_ratio": ratio,
                "complexity": posterior.complexity,
                "width_nats": widths,
                "draws": self.draws,
                "seed": self.seed,
            }
            | {str(form): limit for form, limit in limits.items()},
        )

    def _limit(self, form: PacBayesForm, risk: float, nats: float, n: int) -> float:
        if form == PacBayesForm.KL:
            return single_draw(risk, nats, n, self.delta, draws=self.draws)
        return single_draw_catoni(risk, nats, n, self.delta, BETAS, draws=self.draws)


_FORMS = {
    PacBayesForm.KL: "rivasplata2020_single_draw",
    PacBayesForm.CATONI_GRID: "boundlab_catoni_grid",
}
