"""One eps for all layers is the min-max allocation, and bisection of whole numbers finds what a root search finds.

Statement. Let layer l need n_l(e) channels for the error e, a falling step function, and let the size of the net grow
with every n_l. Then the smallest common e at which the net fits into a budget is the smallest possible largest error
of any allocation n that fits: with eps_l(n) = min {e : n_l(e) <= n}, it is min {max_l eps_l(n_l) : size(n) <= B}.

Proof. Let n fit with e* = max_l eps_l(n_l). At the common error e* every layer needs n_l(e*) <= n_l(eps_l(n_l)) <=
n_l, so the common allocation fits as well. Conversely, the common allocation at e has the largest error at most e.
For PFP n_l(e) is the expected number of different channels among m_l(e) draws, rounded up, within [1, channels]: m_l
falls with e (liebenwein2020_sample_size), and 1 - (1-p)^m grows with m. The size sum_l n_l n_{l+1} k_l grows with
each n. The net fits for all e from some e on. Positive float64 numbers are ordered as the whole numbers of their bits
are, so that 62 halvings end at the smallest float64 that fits; a root search on a step function ends at the same
step, within its tolerance, on either side of it.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import sympy as sp
from scipy.optimize import brentq

from boundlab.coresets.layer_budget import ChannelLayer, channel_size, common_eps, kept_channels, smallest_eps
from proofs_checks import Evidence, Mutation, Theorem, not_applicable, require
from proofs_checks.judging import smallest_sabotage

THEOREM = Theorem(
    name="A common error for all layers",
    source="Liebenwein et al. 2020, arXiv:1911.07412, allocation over layers; item number not known to us; as we "
    "understand the paper; the search is ours",
    given=("each layer's number of channels falls with its error", "the size grows with every number of channels"),
    claim=r"\min\{e : \mathrm{size}(n(e)) \le B\} = \min\{\max_\ell \epsilon_\ell(n_\ell) : \mathrm{size}(n) \le B\}",
    status="holds",
)

MUTATIONS = (
    Mutation(file="coresets/layer_budget.py", old="math.ceil(distinct * (1.0 - ROUNDING))", new="math.floor(distinct)"),
    Mutation(
        file="coresets/layer_budget.py",
        old="filters=layer.filters, patches=layer.patches, C=C)",
        new="filters=layer.filters, C=C)",
    ),
    Mutation(
        file="coresets/layer_budget.py",
        old="return sum(int(k) * out * layer.kernel for",
        new="return sum(int(k) * out for",
    ),
    Mutation(
        file="coresets/layer_budget.py",
        old="""        if size(float(np.int64(middle).view(np.float64))) <= budget:
            high = middle""",
        new="""        if size(float(np.int64(middle).view(np.float64))) <= 1.05 * budget:
            high = middle""",
    ),
    Mutation(
        file="coresets/layer_budget.py",
        old="outputs = [*(int(k) for k in kept[1:]), layers[-1].filters]",
        new="outputs = [*(int(k) for k in kept[1:]), int(kept[-1])]",
    ),
)

DELTA = 0.01


def chain(seed: int) -> list[ChannelLayer]:
    """Three layers of 4, 5 and 3 channels."""
    rng = np.random.default_rng(seed)
    widths, kernels = (4, 5, 3, 6), (9, 4, 1)
    return [
        ChannelLayer(values=rng.uniform(0.01, 1, w) ** 3, filters=out, kernel=k, patches=7)
        for w, out, k in zip(widths, widths[1:], kernels, strict=False)
    ]


def weights(layers: list[ChannelLayer], kept: tuple[int, ...]) -> int:
    """The number of weights, counted anew."""
    outputs = (*kept[1:], layers[-1].filters)
    return sum(k * out * layer.kernel for k, out, layer in zip(kept, outputs, layers, strict=True))


def needed(layer: ChannelLayer) -> dict[int, float]:
    """eps_l(n) for every number of channels."""
    return {
        n: smallest_eps(lambda e: int(kept_channels([layer], e, DELTA)[0]), n) for n in range(1, len(layer.values) + 1)
    }


def best(layers: list[ChannelLayer], budget: int) -> float:
    """The smallest largest error of all allocations that fit, one after the other."""
    errors = [needed(layer) for layer in layers]
    return min(
        max(e[n] for e, n in zip(errors, kept, strict=True))
        for kept in itertools.product(*(list(e) for e in errors))
        if weights(layers, kept) <= budget
    )


def symbolic() -> str:
    e, c, m = sp.symbols("epsilon c m", positive=True)
    fall = sp.factor(-sp.diff(c * (6 + 2 * e) / e**2, e))
    require(fall.is_positive, f"the draws fall with eps, by {fall}")
    q = sp.symbols("q", positive=True)  # 1 - p = 1/(1 + q) in (0, 1)
    grow = sp.diff(1 - (1 / (1 + q)) ** m, m)
    require(sp.simplify(grow - sp.log(1 + q) * (1 + q) ** (-m)) == 0, f"distinct channels grow with m, by {grow}")
    require(sp.log(1 + q).is_positive, "ln(1 + q) > 0")
    return "m falls with eps, the expected distinct channels grow with m"


def exact() -> str:
    checked = 0
    for seed in range(3):
        layers = chain(seed)
        full = weights(layers, tuple(len(layer.values) for layer in layers))
        least = weights(layers, (1, 1, 1))
        for budget in (least, least + 17, full // 3, weights(layers, (2, 3, 2)), full - 1):
            found = common_eps(layers, budget, DELTA)
            require(found == best(layers, budget), f"{found} against the best of all, {best(layers, budget)}")
            kept = tuple(int(k) for k in kept_channels(layers, found, DELTA))
            require(weights(layers, kept) <= budget, f"{kept} does not fit into {budget}")
            for layer, count in zip(layers, kept, strict=True):  # what is kept holds the draws that eps needs
                total = float(layer.values.sum())
                m = channel_size(total, found, DELTA, filters=layer.filters, patches=layer.patches)
                expected = float(-np.expm1(m * np.log1p(-layer.values / total)).sum())
                require(expected * (1 - 1e-9) <= count < max(1, expected) + 1, f"{count} kept for {expected}")
            checked += 1

            def excess(log: float, chain: list[ChannelLayer] = layers, B: int = budget) -> float:
                return weights(chain, tuple(int(k) for k in kept_channels(chain, float(np.exp(log)), DELTA))) - B - 0.5

            logarithm: Any = brentq(excess, -20, 20, xtol=1e-13)
            root = float(np.exp(logarithm))
            require(abs(root / found - 1) < 1e-11, f"a root search finds {root}, the bisection {found}")
    return f"{checked} budgets: the best of all allocations to the last bit, and the root of brentq to 1e-11"


monte_carlo = not_applicable("an allocation without randomness; liebenwein2020_sample_size judges the draws")


def teeth() -> Evidence:
    layers = chain(5)
    budget = weights(layers, (2, 3, 2))
    found = common_eps(layers, budget, DELTA)

    def fits(e: float) -> bool:
        return weights(layers, tuple(int(k) for k in kept_channels(layers, e, DELTA))) <= budget

    slack = smallest_sabotage(lambda factor: not fits(found / factor))
    require(not fits(float(np.nextafter(found, 0))), "the next smaller float64 fits as well")
    even = [needed(layer)[max(1, len(layer.values) // 2)] for layer in layers]  # half the channels of each layer
    require(max(even) > found, f"half of each layer has the largest error {max(even)}, not above {found}")
    return Evidence(text=f"refuted: eps divided by {slack:g}, or by one ulp; the same share of each layer", slack=slack)
