"""The bounds whose violation rate is judged by simulation: each in a world with known risk, beside its sabotage."""

from __future__ import annotations

import math
from functools import cache, partial

import numpy as np

from boundlab.bounds.catoni import catoni, catoni_grid, catoni_unpaid, lambda_grid
from boundlab.bounds.length_priors import length_nats, published_universal_nats
from boundlab.bounds.occam import occam_binomial, occam_hoeffding, occam_kl
from boundlab.bounds.pac_bayes import Root, lambda_bound, pac_bayes_kl, quadratic_bound, refined_pinsker, root_bound
from boundlab.bounds.sample_compression import sample_compression
from boundlab.bounds.single_draw import single_draw, single_draw_catoni
from boundlab.bounds.test_set import screened_interval, screened_limit
from boundlab.concentration.approximate import wald_upper
from boundlab.concentration.binomial import tail_inverse, upper_limit
from tests.net_worlds import net_cases
from tests.worlds import (
    THRESHOLDS,
    Case,
    best_drawn,
    chained,
    counted,
    drawn_coreset,
    drawn_weights,
    families,
    faultless,
    flipped,
    folded,
    informed,
    intervals,
    located,
    looked_up,
    smuggled,
    strings,
    threshold_nats,
    thresholds,
    tilted,
    vote,
)

WIDE, NARROW = 0.2, 0.05  # delta where the world is extremal, so that tightness shows, and elsewhere
BETAS = tuple(float(b) for b in np.geomspace(0.05, 12.0, 16))
MANY = len(THRESHOLDS)


def occam_cases() -> list[Case]:
    """Countable classes: the four forms, on independent strings and on coded thresholds."""
    n, log_inverse = 1_000, -math.log(WIDE)
    unpaid = strings(lambda k, length: upper_limit(k, n, WIDE), n)
    forms = {
        "binomial tail": (occam_binomial, {"lengths at weight 1/l² over l >= 1": published_universal_nats}),
        "Chernoff": (occam_kl, {}),
        "Hoeffding": (occam_hoeffding, {}),
    }

    def paid(form, price):
        return strings(lambda k, length: form(k, n, price(length) + log_inverse), n)

    cases = [
        Case(
            bound=f"Occam, {name}",
            world="strings, the smallest bound",
            delta=WIDE,
            theorem="langford2005_occam_forms",
            says=paid(form, length_nats),
            sabotage={"choice unpaid": unpaid, **{what: paid(form, price) for what, price in wrong.items()}},
        )
        for name, (form, wrong) in forms.items()
    ]
    few, noisy = 200, 0.45
    return [
        *cases,
        Case(
            bound="Occam, no error",
            world="strings just above the bound",
            delta=WIDE,
            theorem="langford2005_occam_forms",
            says=faultless(length_nats, 60, WIDE),
            sabotage={"lengths at weight 1/l² over l >= 1": faultless(published_universal_nats, 60, WIDE)},
        ),
        Case(
            bound="Occam, binomial tail",
            world="thresholds on a dyadic grid, an adversary",
            delta=WIDE,
            theorem="langford2005_occam_binomial",
            says=thresholds(lambda k, b: occam_binomial(k, few, threshold_nats(b) + log_inverse), few, noisy),
            sabotage={
                "choice unpaid, fewest errors": thresholds(lambda k, b: upper_limit(k, few, WIDE), few, noisy, erm=True)
            },
        ),
    ]


def tested_cases() -> list[Case]:
    """Fresh examples, and examples that were not kept."""
    n, noise = 200, 0.45
    rare = upper_limit(0, n, NARROW) * (1 + 1e-9)
    paid, unpaid = (cache(lambda k, m=m: screened_interval(k, n, WIDE, models=m)[0]) for m in (MANY, 1))
    return [
        Case(
            bound="test set, 127 models screened",
            world="thresholds fixed before the test, an adversary",
            delta=WIDE,
            theorem="langford2005_test_set",
            says=thresholds(lambda k, b: screened_limit(k, n, WIDE, models=MANY), n, noise),
            sabotage={"screening unpaid": thresholds(lambda k, b: screened_limit(k, n, WIDE), n, noise, erm=True)},
        ),
        Case(
            bound="test set, lower limit",
            world="thresholds fixed before the test, an adversary",
            delta=WIDE,
            theorem="langford2005_test_set",
            says=thresholds(lambda k, b: paid(k), n, noise, lower=True),
            sabotage={"screening unpaid": thresholds(lambda k, b: unpaid(k), n, noise, lower=True)},
        ),
        Case(
            bound="test set, one model",
            world="risk just above the limit without an error",
            delta=NARROW,
            theorem="clopper_pearson1934",
            says=counted(lambda k: upper_limit(k, n, NARROW), n, rare),
            sabotage={"normal limit": counted(lambda k: float(wald_upper(np.array(k), n, NARROW)), n, rare)},
            tight=True,
        ),
        Case(
            bound="sample compression, 2 kept",
            world="intervals between two examples, fewest errors",
            delta=NARROW,
            theorem="floyd1995_sample_compression",
            says=intervals(lambda e: sample_compression(e, 2, n, NARROW), n, 0.05),
            sabotage={
                "choice of the two unpaid": intervals(lambda e: tail_inverse(e, n - 2, math.log(NARROW)), n, 0.0),
                "a weight from all examples unpaid": smuggled(NARROW),
            },
        ),
    ]


def gibbs_cases() -> list[Case]:
    """PAC-Bayes: the forms, priors from data, what a Gibbs bound does not say, the estimate of a Gibbs risk."""
    n = 200
    forms = [
        ("PAC-Bayes-kl", "maurer2004_kl", pac_bayes_kl),
        *(
            (f"McAllester's root, {form}", "mcallester2003_root", partial(root_bound, form=form))
            for form in (Root.MAURER_2004, Root.MCALLESTER_2003, Root.LIAO_2021, Root.LOTFI_2022)
        ),
        ("quadratic", "perezortiz2021_quadratic", quadratic_bound),
        ("λ bound", "thiemann2017_lambda", lambda_bound),
        ("refined Pinsker", "boundlab_refined_pinsker", refined_pinsker),
        ("Catoni, β = 1", "catoni2007_fixed_beta", partial(catoni, beta=1.0)),
        ("Catoni, 16 β paid", "boundlab_catoni_grid", partial(catoni_grid, betas=BETAS)),
        ("Catoni, λ grid", "zhou2019_lambda_grid", lambda_grid),
    ]
    located_bound = located(lambda r, d: pac_bayes_kl(r, d, 50, NARROW), 50)
    smooth = "prior and posterior are smooth in two numbers: no training set of 50 points overfits by the bound's slack"
    kl_theorem = "maurer2004_kl"
    return [
        *families(forms, n, NARROW),
        Case(
            bound="PAC-Bayes-kl",
            world="Gaussian location, conjugate posterior",
            delta=NARROW,
            theorem=kl_theorem,
            says=located_bound,
            batch=150,
            reason=smooth,
        ),
        Case(
            bound="PAC-Bayes-kl, prior from half",
            world="table of 100 inputs, Gaussian posterior",
            delta=NARROW,
            theorem="boundlab_data_dependent_prior",
            says=informed(n, NARROW),
            batch=150,
            sabotage={"the prior saw the other half": informed(n, NARROW, peeks=True)},
        ),
        Case(
            bound="recursive PAC-Bayes, 2 steps",
            world="table of 100 inputs, Gaussian posteriors",
            delta=NARROW,
            theorem="wu2024_recursive",
            says=chained(400, NARROW),
            batch=150,
            sabotage={"first step not bounded": chained(400, NARROW, unpaid=True)},
        ),
        Case(
            bound="majority vote, 2 R(Q)",
            world="a vote that is wrong by a little",
            delta=NARROW,
            theorem="langford2002_gibbs_vote",
            says=vote(NARROW, doubled=True),
            sabotage={"Gibbs bound for the vote": vote(NARROW, doubled=False)},
        ),
        Case(
            bound="PAC-Bayes-kl",
            world="fold, one Gaussian weight",
            delta=NARROW,
            theorem=kl_theorem,
            says=folded(NARROW),
            batch=150,
            sabotage={"printed for the mean weights": folded(NARROW, mean_net=True)},
        ),
        Case(
            bound="PAC-Bayes-kl, r(Q) from 3 nets",
            world="fold, one Gaussian weight",
            delta=NARROW,
            theorem="maurer2009_empirical_bernstein",
            says=folded(NARROW, draws=3),
            batch=150,
            sabotage={"mean of the 3 for r(Q)": folded(NARROW, draws=3, paid=False)},
        ),
    ]


def drawn_cases() -> list[Case]:
    """One draw is certified: what its coins must not know."""
    n, few, high = 400, 20, 0.25
    lams = range(1, 101)
    return [
        Case(
            bound="single draw",
            world="coins, the extremal posterior",
            delta=NARROW,
            theorem="rivasplata2020_single_draw",
            says=tilted(lambda k, ratio: single_draw(k / n, ratio, n, NARROW), n, NARROW / 1.001, 1_000),
            sabotage={
                "no ξ(n)": tilted(
                    lambda k, ratio: catoni_unpaid(k / n, max(0.0, ratio), n, NARROW), n, 2 * NARROW, 1_000
                )
            },
            tight=True,
        ),
        Case(
            bound="single draw, best of 1,000",
            world="coins, posterior = prior",
            delta=NARROW,
            theorem="rivasplata2020_single_draw",
            says=best_drawn(n, NARROW, 1_000, 1_000),
            sabotage={"choice among the draws unpaid": best_drawn(n, NARROW, 1_000, 1)},
        ),
        Case(
            bound="single draw, Gaussian",
            world="table of 100 inputs",
            delta=NARROW,
            theorem="rivasplata2020_single_draw",
            says=drawn_weights(200, NARROW),
            batch=150,
            sabotage={"coins that the training knew": drawn_weights(200, NARROW, reused=True)},
        ),
        Case(
            bound="single draw, 16 β paid",
            world="coins, the extremal posterior",
            delta=high,
            theorem="boundlab_catoni_grid",
            says=tilted(lambda k, ratio: single_draw_catoni(k / few, ratio, few, high, BETAS), few),
            sabotage={
                "best of all β unpaid": tilted(
                    lambda k, ratio: catoni_unpaid(k / few, max(0.0, ratio), few, high), few
                ),
                "best λ of 1..100 unpaid": tilted(
                    lambda k, ratio: min(catoni(k / few, max(0.0, ratio), few, high, lam / few) for lam in lams), few
                ),
            },
        ),
        Case(
            bound="single draw of a coreset",
            world="table of 30 inputs, 20 draws",
            delta=NARROW,
            theorem="boundlab_bits_back",
            says=drawn_coreset(60, NARROW),
            batch=150,
            sabotage={"a seed makes the outcome free": drawn_coreset(60, NARROW, seed_is_free=True)},
        ),
    ]


def compressed_cases() -> list[Case]:
    """Through a compression: to the compressed net, and to the original one."""
    return [
        Case(
            bound="margins of the original, 2 γ",
            world="outputs that move by 9/10 γ",
            delta=NARROW,
            theorem="arora2018_margin",
            says=flipped(NARROW, 2.0),
            sabotage={"margins up to γ": flipped(NARROW, 1.0)},
        ),
        Case(
            bound="transfer, unlabelled points",
            world="a table that differs where it saw nothing",
            delta=NARROW,
            theorem="boundlab_unlabelled_transfer",
            says=looked_up(NARROW, fresh=True),
            sabotage={"points of the training": looked_up(NARROW, fresh=False)},
        ),
    ]


def cases() -> list[Case]:
    """All of them."""
    return [
        *occam_cases(),
        *tested_cases(),
        *gibbs_cases(),
        *drawn_cases(),
        *compressed_cases(),
        *net_cases(),
    ]
