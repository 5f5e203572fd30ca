"""A PAC-Bayes bound with a prior learned from the first examples, beside the test-set bound on the same rest."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from boundlab._errors import InvalidParameter, positive_int
from boundlab._theory import implements
from boundlab.bounds.gaussian_posterior import GaussianPosterior, fit_posterior, gibbs_losses
from boundlab.bounds.generalization_bound import (
    GeneralizationBound,
    Subject,
    chance,
    classifier,
    count_errors,
    evidence,
)
from boundlab.bounds.gibbs import Gibbs, gibbs_bound, width_nats
from boundlab.bounds.informed_priors import break_even_risk
from boundlab.concentration.binomial import upper_limit
from boundlab.nets.given_points import fingerprints
from boundlab.nets.module_net import ModuleNet
from boundlab.network import Network
from boundlab.promises import Bound, Premise, Status, contaminated


@implements("boundlab_data_dependent_prior", "boundlab_gaussian_posterior", "boundlab_gibbs_monte_carlo")
@dataclass(frozen=True, kw_only=True)
class InformedPrior(GeneralizationBound):
    """Risk of a net drawn anew for each point, with a prior around a net that was trained on the first m examples.

    As `Gibbs` in its kl form, with N(prior, p_t^2) for the prior, and n = all examples but the first m: only those are
    counted, though the net itself may have been trained on all. Whoever holds n examples back may as well test the
    prior's net on them: ``facts["test_set_bound"]`` is what that gives, at the same delta, for one fixed net, and
    ``facts["break_even_risk"]`` is the limit of the Gibbs risk at which this bound would catch up.

    Parameters
    ----------
    delta : float
        In (0, 1).
    prior : Network or ModuleNet
        Trained on the first m of the examples alone, of the same architecture as the net that is asked about.
    prior_examples : int
        m >= 1; the first m rows of x and y.
    mc_share, pairs, per_net, seed : see `Gibbs`
    name : str
        What a table calls it.

    Raises
    ------
    InvalidParameter
        If an argument is out of its range, or, when called, if no example is left or the two nets do not match.
    PremiseViolated
        When called with a module that holds numbers outside of its parameters: batch norms have to be folded.

    Notes
    -----
    Data-dependent priors: Ambroladze, Parrado-Hernández and Shawe-Taylor (2006), Pérez-Ortiz et al. (JMLR 22, 2021), as
    we understand the papers; proved in ``boundlab_data_dependent_prior``.

    Examples
    --------
    >>> from boundlab.network import Layer
    >>> net = Network(layers=(Layer(weight=np.array([[1.0], [-1.0]]), bias=np.zeros(2), relu=False),))
    >>> x = np.linspace(-1.0, 1.0, 1_001)[np.random.default_rng(0).permutation(1_001), None]
    >>> found = InformedPrior(prior=net, prior_examples=501)(net, x, (x[:, 0] < 0).astype(int))
    >>> found.facts["n"], f"{found.value:.3f} {found.facts['test_set_bound']:.3f}"
    (500, '0.024 0.006')
    """

    prior: Network | ModuleNet
    prior_examples: int
    mc_share: float = 0.1
    pairs: int = 65_536
    per_net: int = 64
    seed: int = 0
    name: str = "PAC-Bayes kl (Gibbs), informed prior"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.prior, (Network, ModuleNet)):
            raise InvalidParameter(f"prior must be a net, got {type(self.prior).__name__}.")
        positive_int("prior_examples", self.prior_examples)
        self._gibbs()

    def posterior(self, net: Subject, x: Any, y: Any) -> GaussianPosterior:
        """The posterior whose risk is bounded."""
        x, y = self._rest(net, x, y)
        return fit_posterior(classifier(net), x, y, delta=self.delta, seed=self.seed, centre=self.prior)

    def __call__(self, net: Subject, x: Any, y: Any) -> Bound:
        """Bound the Gibbs risk from the examples that the prior has not seen, and test the prior's net on them."""
        early = set(fingerprints(np.asarray(x)[: self.prior_examples]))
        x, y = self._rest(net, x, y)
        n, method = len(x), self._gibbs()
        posterior, losses = gibbs_losses(
            classifier(net),
            x,
            y,
            delta=self.delta,
            seed=self.seed,
            pairs=self.pairs,
            per_net=self.per_net,
            centre=self.prior,
        )
        errors = count_errors(self.prior, x, y)
        found = gibbs_bound(method, posterior, losses, x, chance=chance(y), widths=width_nats(net))
        again = sum(digest in early for digest in fingerprints(x))
        trained = Premise(
            text=f"the prior's net depends on the first {self.prior_examples} examples alone, on none of the others",
            status=Status.VIOLATED if contaminated(again, n) else Status.ASSUMED,
            evidence="how it was trained the nets do not show; "
            f"{again} of the other {n} inputs are also among the first {self.prior_examples}",
            numbers={"repeated": float(again)},
        )
        rival = {
            "prior_examples": self.prior_examples,
            "test_set_errors": errors,
            "test_set_bound": upper_limit(errors, n, self.delta),
            "break_even_risk": break_even_risk(
                errors, found.facts["nats"], n, self.delta, delta_sample=found.facts["delta_sample"]
            ),
        }
        return replace(found, premises=(*found.premises, trained), facts=dict(found.facts) | rival)

    def _gibbs(self) -> Gibbs:
        return Gibbs(
            delta=self.delta,
            name=self.name,
            mc_share=self.mc_share,
            pairs=self.pairs,
            per_net=self.per_net,
            seed=self.seed,
        )

    def _rest(self, net: Subject, x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
        """The examples that the prior has not seen."""
        x, y = evidence(net, x, y)
        if self.prior_examples >= len(x):
            raise InvalidParameter(
                f"prior_examples must leave examples for the bound, got {self.prior_examples} of {len(x)}."
            )
        return x[self.prior_examples :], y[self.prior_examples :]
