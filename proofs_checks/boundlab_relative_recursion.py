"""How a relative error travels through a layer: gamma_l = Delta^l (eps_l + gamma_{l-1} + eps_l gamma_{l-1}).

Proof. Write z = z⁺ - z⁻ + b, the two parts being sums of non-negative terms. If every activation that is read lies in
(1 ± gamma) a and each part, taken at the original a, lies in (1 ± eps) of itself, then each part lies in
(1 ± eps)(1 ± gamma) of itself, hence within t = eps + gamma + eps gamma of it, for non-negative weights keep order.
So |ẑ - z| <= t (z⁺ + z⁻) = t Delta |z|. With t Delta < 1 the new value has the sign of z, and a ReLU either hands both
on or stops both. A bias that is kept cancels in ẑ - z; it can make Delta smaller than 1.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import z3

from boundlab.nets.condition import condition_numbers
from boundlab.nets.propagate import relative_error
from boundlab.nets.toy import random_network
from boundlab.network import Layer, Network
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import smallest_sabotage
from proofs_checks.proving import counterexample, prove, reals

THEOREM = Theorem(
    name="The recursion of relative errors",
    source="ours; CoreNet (arXiv:1804.05345) bounds it by 2(l-1) eps_l, as we understand the paper; item number not "
    "known to us",
    given=(
        "each part of each neuron's sum, at the original activations, is kept within (1 ± eps_l)",
        "sum_k |w_ik a_k| <= Delta^l |z_i^l| for every neuron",
        "gamma_l < 1 in front of every ReLU",
    ),
    claim=r"|\hat z^\ell - z^\ell| \le \gamma_\ell |z^\ell|,\quad"
    r"\gamma_\ell = \Delta^\ell(\epsilon_\ell + \gamma_{\ell-1} + \epsilon_\ell\gamma_{\ell-1}),\ \gamma_1 = 0",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="nets/propagate.py",
        old="float(c) * (e + gamma + e * gamma) * (1.0 + ROUNDING)",
        new="float(c) * (e + gamma) * (1.0 + ROUNDING)",
    ),
    Mutation(
        file="nets/propagate.py",
        old="float(c) * (e + gamma + e * gamma) * (1.0 + ROUNDING)",
        new="float(c) * (e + gamma + e * gamma) * (1.0 - ROUNDING)",
    ),
    Mutation(file="nets/propagate.py", old="gamma = 0.0 if e == 0.0 == gamma else", new="gamma = 0.0 if e == 0.0 else"),
)

Vector = Sequence[Fraction]
Step = Callable[[Fraction, Fraction, Fraction], Fraction]  # (eps, Delta, gamma before) -> gamma


def ours(e: Fraction, d: Fraction, g: Fraction) -> Fraction:
    return d * (e + g + e * g)


def path(eps: list[Fraction], condition: list[Fraction], step: Step = ours) -> list[Fraction]:
    """The recursion in rational arithmetic."""
    found = [Fraction(0)]
    for e, d in zip(eps, condition, strict=True):
        found.append(step(e, d, found[-1]))
    return found[1:]


def chain(eps: list[Fraction], condition: list[Fraction]) -> list[Fraction]:
    """The errors of a net with one neuron per layer: each weight is Delta^l, each bias 1 - Delta^l, every value 1."""
    value, errors = Fraction(1), []
    for e, d in zip(eps, condition, strict=True):
        value = d * (1 + e) * value + (1 - d)
        errors.append(abs(value - 1))
    return errors


def instances(count: int, seed: int) -> list[tuple[list[Fraction], list[Fraction]]]:
    rng, found = random.Random(seed), []
    for _ in range(count):
        depth = rng.randint(1, 7)
        eps = [Fraction(rng.randint(0, 64), 64) * Fraction(1, 2 ** rng.randint(0, 30)) for _ in range(depth)]
        found.append((eps, [Fraction(rng.randint(1, 4096), 2 ** rng.randint(2, 12)) for _ in range(depth)]))
    return found


def fails(step: Step) -> int:
    """In how many of 500 one-neuron nets the true error exceeds what a recursion promises."""
    return sum(
        any(t > p for t, p in zip(chain(eps, d), path(eps, d, step), strict=True)) for eps, d in instances(500, seed=1)
    )


def inner(w: dict[int, Fraction], a: Vector) -> Fraction:
    return sum((v * a[j] for j, v in w.items()), Fraction(0))


def forward(net: Network, x: Vector) -> list[Fraction]:
    """The outputs in rational arithmetic."""
    a = list(x)
    for layer in net.layers:
        z = [
            sum((Fraction(v) * t for v, t in zip(row, a, strict=True)), Fraction(b))
            for row, b in zip(layer.weight.tolist(), layer.bias.tolist(), strict=True)
        ]
        a = [max(Fraction(0), v) for v in z] if layer.relu else z
    return a


def tiny_net(rng: random.Random, *, negative: float = 0.4, bias: bool = False) -> Network:
    """A net of two layers and small whole weights, with some zeros."""
    n, h, k = rng.choice([(2, 2, 1), (2, 3, 1), (3, 2, 1), (2, 2, 2)])
    layers = []
    for fan_in, out, relu in ((n, h, True), (h, k, False)):
        weight = [
            [rng.choice([0, 1, 1, 2, 3]) * (-1 if rng.random() < negative else 1) for _ in range(fan_in)]
            for _ in range(out)
        ]
        shift = [rng.choice([-1, 0, 1]) if bias else 0 for _ in range(out)]
        layers.append(Layer(weight=np.array(weight, float), bias=np.array(shift, float), relu=relu))
    return Network(layers=tuple(layers))


def symbolic() -> str:
    e, g, r, s = reals("eps gamma r s")
    plus, minus, up, down = reals("plus minus up down")  # up and down: the new values of the two parts
    t = e + g + e * g
    small = (e >= 0, g >= 0, -e <= r, r <= e, -g <= s, s <= g)
    prove(z3.And((1 + r) * (1 + s) - 1 <= t, 1 - (1 + r) * (1 + s) <= t), *small)
    near = (plus >= 0, minus >= 0, e >= 0, _within(up, plus, e * plus), _within(down, minus, e * minus))
    prove(_within(up - down, plus - minus, e * (plus + minus)), *near)
    relu_up, relu_plus = z3.If(up > 0, up, 0), z3.If(plus > 0, plus, 0)
    size = z3.If(plus > 0, plus, -plus)
    prove(_within(relu_up, relu_plus, g * relu_plus), _within(up, plus, g * size), g >= 0, g < 1)
    found = counterexample(_within(relu_up, relu_plus, g * relu_plus), _within(up, plus, g * size), g >= 0, g <= 2)
    return (
        "z3: (1 ± eps)(1 ± gamma) lies in 1 ± (eps + gamma + eps gamma), |z_hat - z| <= t (z+ + z-), a ReLU keeps "
        f"gamma < 1; without gamma < 1 it does not: gamma = {found[g]}"
    )


def _within(moved: Any, value: Any, by: Any) -> Any:
    return z3.And(moved - value <= by, value - moved <= by)


def exact() -> str:
    loosest, shrinking = Fraction(1), 0
    for eps, condition in instances(1000, seed=2):
        truth = path(eps, condition)
        shipped = relative_error(np.array([float(e) for e in eps]), np.array([float(d) for d in condition]))
        shrinking += any(d < 1 for d in condition)
        for told, gamma, attained in zip(shipped, truth, chain(eps, condition), strict=True):
            require(attained == gamma, f"a net with one neuron per layer must attain {gamma}, it has {attained}")
            require(Fraction(float(told)) >= gamma, f"relative_error gives {told}, below the exact {float(gamma)}")
            if gamma:
                loosest = max(loosest, Fraction(float(told)) / gamma)
            else:
                require(told == 0.0, f"no error must stay no error, got {told}")
    require(loosest < 1 + Fraction(1, 10**10), f"relative_error is loose by {float(loosest)}")
    require(shrinking > 100, "condition numbers below 1, as biases make them, must occur")
    return f"1000 chains, {shrinking} with a Delta < 1: attained exactly; float64 above by {float(loosest - 1):.1e}"


def perturbed(net: Network, eps: np.ndarray, rng: np.random.Generator, far: bool) -> Network:
    """Each weight moved by at most eps_l of itself; at the ends of the range if `far`."""
    weights = []
    for layer, e in zip(net.layers, eps, strict=True):
        shift = rng.uniform(-1, 1, layer.weight.shape)
        weights.append(layer.weight * (1 + e * (np.sign(shift) if far else shift)))
    return net.with_weights(weights)


def monte_carlo(effort: int = 1) -> Evidence:
    rng, worst, used = np.random.default_rng(5), 0.0, 0
    for k in range(2_000 * effort):
        sizes = (int(rng.integers(1, 6)), *rng.integers(1, 5, size=int(rng.integers(1, 4))).tolist(), 2)
        net = random_network(sizes, rng=rng, bias=bool(k % 2))
        x = rng.uniform(0, 1, (1, sizes[0]))
        condition = np.array([condition_numbers(w, a).max() for w, a in zip(net.layers, net.inputs(x), strict=True)])
        eps = 10.0 ** rng.uniform(-4, -1) * rng.uniform(0, 1, len(condition))
        gamma = relative_error(eps, condition)
        if not np.all(gamma[:-1] < 1) or not 0 < gamma[-1] < np.inf:
            continue
        used += 1
        f = net(x)
        error = np.abs(perturbed(net, eps, rng, far=bool(k % 3))(x) - f)
        require(np.all(error <= gamma[-1] * np.abs(f) + 1e-12), f"net {k}: error {error} beyond {gamma[-1]} of {f}")
        worst = max(worst, float((error[f != 0] / (gamma[-1] * np.abs(f[f != 0]))).max(initial=0.0)))
    require(used > 600 * effort, f"only {used} nets had gamma < 1")
    text = f"{used} random nets, half with biases: no output beyond gamma, the worst at {worst:.3f} gamma"
    return Evidence(text=text, trials=used)


def teeth() -> Evidence:
    slack = smallest_sabotage(lambda factor: fails(lambda e, d, g: ours(e, d, g) / Fraction(factor)) > 0)
    sabotaged = {
        "without eps gamma": fails(lambda e, d, g: d * (e + g)),
        "without Delta": fails(lambda e, d, g: e + g + e * g),
        "Delta on eps alone": fails(lambda e, d, g: d * e + g + e * g),
    }
    for name, count in sabotaged.items():
        require(count > 0, f"the recursion {name} was not caught")
    # gamma = 2 in front of a ReLU: z = -1 becomes +1, within 2 |z| of it; behind the ReLU there is 1 instead of 0.
    z, moved, gamma = Fraction(-1), Fraction(1), Fraction(2)
    require(abs(moved - z) <= gamma * abs(z), "the moved value must lie in (1 ± gamma) z")
    require(abs(max(moved, 0) - max(z, 0)) > gamma * max(z, 0), "a ReLU must break gamma = 2")
    shown = ", ".join(f"{name} {count}" for name, count in sabotaged.items())
    return Evidence(text=f"caught in 500 chains: gamma/{slack:g}, {shown}; gamma = 2 breaks at a ReLU", slack=slack)
