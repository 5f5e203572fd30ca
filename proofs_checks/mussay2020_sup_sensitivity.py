"""The largest |phi(p.x + b)| over a ball, its non-negative part or a box is known in closed form, and is attained.

Statement. Let p.x + b run through [low, high] while x runs through the domain. Then S(p) = max |phi| over [low, high];
on the ball |x| <= beta without bias S(p) = |phi(beta |p|)| for each shipped activation: ReLU, leaky ReLU, ELU, sigmoid,
tanh, softplus, GELU, SiLU, step, and the centred sigmoid and softplus.

Proof. The domain is connected and x -> p.x + b continuous, so its image is an interval with attained ends. On the ball
they are b -/+ beta |p| (Cauchy-Schwarz, attained at -/+ beta p/|p|). For x >= 0 as well, p.x <= p_+.x <= beta |p_+|,
attained at beta p_+/|p_+| >= 0; in the box p.x <= beta sum p_+, at a vertex; the lower ends follow by -p.
On [-r, r]: if phi rises and |phi(-z)| <= phi(z) for z >= 0, the maximum of |phi| is phi(r). The condition holds with
1 - e^-z <= z for ELU, by phi(-z) = 1 - phi(z) <= 1/2 <= phi(z) for the sigmoid, because it is odd for tanh and the
centred sigmoid, by phi >= 0 for ReLU, step and softplus, and by psi(z) + psi(-z) = ln((1 + cosh z)/2) >= 0 for the
centred softplus. GELU and SiLU are z g(z) with g a distribution function, g(z) + g(-z) = 1: for z >= 0 z g(z) rises and
|phi(-z)| = z (1 - g(z)) <= z g(z). An activation whose |phi| falls somewhere on [0, inf) is not covered: sin has
|sin(pi)| = 0, but the maximum 1 on [-pi, pi].

The column lam(r) = r Lip(phi on [-r, r])/S(r) is 1 for ReLU, leaky ReLU and ELU, r/tanh r, r/(4 sig(r)), at most 1 for
the softplus, as ln(1 + e^r) > r, and at most 1.23 centred: for r <= 0.46 by S >= r/2 and sig(r) <= 1/2 + r/4, for
r >= 3.71 by S >= r - ln 2, between by balls. For z g(z) with density g' the slope is g + z g', and the slope at
-z is 1 minus that at z, which is at least 1/2: the steepest point of [-r, r] is the steepest of [0, r]. The slope's
derivative is g'(2 - z^2) for GELU, and g'(2 - z tanh(z/2)) for SiLU: it rises up to one z*, so lam(r) = 1 + r g'/g(r)
up to z* and falls from there on. lam <= 1.295 for GELU and <= 1.279 for SiLU, proved on [0, z*] by ball arithmetic.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import sympy as sp
from flint import arb, ctx

from boundlab.coresets import activations as acts
from boundlab.coresets.activations import Activation, centred
from boundlab.coresets.neuron_sampling import Domain, neuron_plan, sup_sensitivities
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage
from proofs_checks.proving import exact as number
from proofs_checks.proving import prove_positive

THEOREM = Theorem(
    name="Sup-sensitivity of a neuron",
    source="Mussay et al. 2020, arXiv:1907.04018; item number not known to us; as we understand the paper, phi there "
    "is non-negative and non-decreasing; the other activations and the two smaller domains are ours",
    given=("x in a ball, its part x >= 0, or a box [0, beta]^d", "phi one of the shipped activations"),
    claim=r"\sup_{\|x\|\le\beta}|\varphi(p\cdot x)| = |\varphi(\beta\|p\|)|, \text{ attained}",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="coresets/neuron_sampling.py",
        old="up, down = beta * plus.sum(axis=1), beta * minus.sum(axis=1)",
        new="up, down = beta * plus.max(axis=1), beta * minus.max(axis=1)",
    ),
    Mutation(
        file="coresets/activations.py",
        old="return np.maximum(ends, np.abs(self.value(np.clip(self.trough, low, high))))",
        new="return ends",
    ),
    Mutation(
        file="coresets/neuron_sampling.py",
        old="share = size[:, :, live] / om[live] * lam[live]",
        new="share = size[:, :, live] / om[live] * lam[live] / 2.0",
    ),
    Mutation(
        file="coresets/neuron_sampling.py",
        old="around = beta * math.sqrt(p.shape[1]) if domain is Domain.BOX else beta",
        new="around = beta",
    ),
    Mutation(
        file="coresets/neuron_sampling.py",
        old="c0=1.0 if nonneg and bool(np.all(weights >= 0.0)) else 2.0",
        new="c0=1.0 if nonneg else 2.0",
    ),
    Mutation(
        file="coresets/neuron_sampling.py",
        old="c0=1.0 if nonneg and bool(np.all(weights >= 0.0)) else 2.0",
        new="c0=1.0 if bool(np.all(weights >= 0.0)) else 2.0",
    ),
    Mutation(file="coresets/activations.py", old="steepest = np.minimum(r, ROOT_2)", new="steepest = np.asarray(r)"),
)

SHIPPED = (
    *(acts.RELU, acts.LEAKY_RELU, acts.ELU, acts.SIGMOID, acts.TANH, acts.SOFTPLUS, acts.GELU, acts.SILU, acts.STEP),
    *(centred(acts.SIGMOID), centred(acts.SOFTPLUS)),
)


def sig(z: arb) -> arb:
    return 1 / (1 + (-z).exp())


def normal(z: arb) -> arb:
    return (1 + (z / arb(2).sqrt()).erf()) / 2


def density(z: arb) -> arb:
    return (-z * z / 2).exp() / (2 * arb.pi()).sqrt()


def soft(z: arb) -> arb:
    return (1 + z.exp()).log()


def softly(z: arb) -> arb:
    return soft(z) - arb(2).log()


def gelu_slope(z: arb) -> arb:
    return normal(z) + z * density(z)


def silu_slope(z: arb) -> arb:
    return sig(z) * (1 + z * sig(-z))


# phi and its Lipschitz constant on [-r, r], as balls; the sign of z is known
ORACLES: dict[str, tuple[Callable[[arb], arb], Callable[[arb], arb]]] = {
    "relu": (lambda z: z if z > 0 else arb(0), lambda r: arb(1)),
    "leaky_relu": (lambda z: z if z > 0 else z / 100, lambda r: arb(1)),
    "elu": (lambda z: z if z > 0 else z.exp() - 1, lambda r: arb(1)),
    "sigmoid": (sig, lambda r: arb(1) / 4),
    "tanh": (lambda z: z.tanh(), lambda r: arb(1)),
    "softplus": (soft, sig),
    "centred sigmoid": (lambda z: sig(z) - arb(1) / 2, lambda r: arb(1) / 4),
    "centred softplus": (softly, sig),
    "gelu": (lambda z: z * normal(z), lambda r: gelu_slope(r if r < arb(2).sqrt() else arb(2).sqrt())),
    "silu": (lambda z: z * sig(z), lambda r: silu_slope(r if r < STEEPEST else STEEPEST)),
}
STEEPEST = arb("2.399357280520546767832739697")
BOUNDS = {"gelu": 1.295, "silu": 1.279, "centred softplus": 1.23, "softplus": 1.0}


def symbolic() -> str:
    z, r = sp.symbols("z r", nonnegative=True)
    x, y, a, b = sp.symbols("x y a b", real=True)
    gap = (x**2 + y**2) * (a**2 + b**2) - (a * x + b * y) ** 2
    require(sp.expand(gap - (a * y - b * x) ** 2) == 0, "Cauchy-Schwarz as a square, 0 at x parallel to p")
    elu = z - 1 + sp.exp(-z)
    require(elu.subs(z, 0) == 0 and sp.simplify(sp.diff(elu, z) - (1 - sp.exp(-z))) == 0, "1 - e^-z <= z")
    s = 1 / (1 + sp.exp(-z))
    require(sp.simplify(s + s.subs(z, -z) - 1) == 0, "sig(z) + sig(-z) = 1")
    require(sp.simplify(sp.Rational(1, 4) - s * (1 - s) - (s - sp.Rational(1, 2)) ** 2) == 0, "sig' <= 1/4")
    pair = (1 + sp.exp(z)) * (1 + sp.exp(-z)) / 4 - (1 + sp.cosh(z)) / 2
    require(sp.simplify(pair.rewrite(sp.exp)) == 0, "psi(z) + psi(-z) = ln((1 + cosh z)/2)")
    root = (1 + sp.exp(r)) / 2 - sp.exp(r / 2) * sp.cosh(r / 2)
    require(sp.simplify(root.rewrite(sp.exp)) == 0, "the centred softplus is r/2 + ln cosh(r/2)")
    g = sp.Function("g")(x)
    require(sp.diff(x * g, x, 2) == 2 * sp.diff(g, x) + x * sp.diff(g, x, 2), "the slope of z g(z)")
    bell = sp.exp(-(x**2) / 2)
    require(sp.simplify(2 * bell + x * sp.diff(bell, x) - bell * (2 - x**2)) == 0, "GELU is steepest at sqrt(2)")
    hill = s * (1 - s)
    turn = 2 * hill + z * sp.diff(hill, z) - hill * (2 - z * sp.tanh(z / 2).rewrite(sp.exp))
    require(sp.simplify(turn) == 0, "SiLU is steepest where z tanh(z/2) = 2")
    boxes = (
        prove_positive(lambda t: number(Fraction(295, 1000)) - t * density(t) / normal(t), (0, Fraction(3, 2))),
        prove_positive(lambda t: number(Fraction(279, 1000)) - t * sig(-t), (0, Fraction(12, 5))),
        prove_positive(lambda t: t * (t / 2).tanh() - 2, (Fraction(12, 5), 3)),  # z* < 2.4, and it rises beyond
        prove_positive(
            lambda t: number(Fraction(123, 100)) * softly(t) - t * sig(t), (Fraction(46, 100), Fraction(371, 100))
        ),
    )
    far = sp.Rational(123, 100) * (r - sp.log(2)) - r
    require(far.subs(r, sp.Rational(371, 100)) > 0 and sp.diff(far, r) > 0, "centred softplus beyond 3.71")
    return f"lam <= 1.295 (GELU), 1.279 (SiLU), 1.23 (centred softplus) by {', '.join(boxes)}; S by symmetry and sign"


def enclosed(activation: Activation, r: Fraction) -> None:
    """The shipped S(r) and lam(r) against balls; the shipped value at -r stays below S."""
    phi, slope = ORACLES[activation.name]
    high, at, radius = phi(number(r)), np.array(float(r)), number(r)
    lam = radius * slope(radius) / high
    for name, got, want in (("S", activation.sup(at), high), ("lam", activation.lam(at), lam)):
        near = abs(number(Fraction(float(got))) - want) <= want * arb("1e-13")
        require(bool(near), f"{activation.name}: {name}({r}) = {float(got)!r}, the ball is {want}")
    require(bool(abs(phi(number(-r))) <= high + arb("1e-30")), f"{activation.name}: |phi(-{r})| exceeds phi({r})")
    limit = BOUNDS.get(activation.name, math.inf)
    require(float(activation.lam(at)) <= limit, f"{activation.name}: lam({r}) exceeds {limit}")


def relu_on(domain: Domain, p: list[Fraction], b: Fraction, beta: Fraction) -> Fraction:
    """Return sup ReLU(p.x + b), exactly: at the attaining input, or over all vertices of the box."""
    if domain is Domain.BOX:
        ends = [b + sum(c * beta * v for c, v in zip(p, x, strict=True)) for x in itertools.product((0, 1), repeat=3)]
        return max(Fraction(0), *ends)
    towards = [max(c, Fraction(0)) for c in p] if domain is Domain.NONNEGATIVE else p
    square = sum((c * c for c in towards), Fraction(0))
    norm = Fraction(math.isqrt(square.numerator), math.isqrt(square.denominator))
    require(norm * norm == square, "the instance must have rational norms")
    if norm == 0:
        return max(Fraction(0), b)
    x = [beta * c / norm for c in towards]
    return max(Fraction(0), b + sum(c * v for c, v in zip(p, x, strict=True)))


ROWS = ((3, -4, 0), (-12, 3, 4), (2, 3, 6), (-8, -15, 0), (-1, -4, 8), (0, 0, 0), (9, 12, -20))


def exact() -> str:
    before, ctx.prec = ctx.prec, 150
    try:
        radii = [Fraction(k, 16) for k in (1, 5, 12, 16, 22, 24, 38, 40, 100, 400)]
        for activation, r in itertools.product(SHIPPED, radii):
            if activation is not acts.STEP:
                enclosed(activation, r)
    finally:
        ctx.prec = before
    points, cases = np.array(ROWS, float), 0
    for beta, shift, domain in itertools.product((Fraction(1), Fraction(7, 4)), (Fraction(0), Fraction(-3, 2)), Domain):
        bias = np.full(len(ROWS), float(shift))
        got = sup_sensitivities(points, acts.RELU, radius=float(beta), domain=domain, bias=bias)
        for row, value in zip(ROWS, got, strict=True):
            want = relu_on(domain, [Fraction(v) for v in row], shift, beta)
            scale = 60 * beta
            require(want <= Fraction(float(value)) <= want + scale * Fraction(1, 10**11), f"{domain}: {row} {value}")
            cases += 1
    plan = neuron_plan(points, np.ones((1, len(ROWS))), acts.RELU, 1.0)
    require(plan.probabilities[5] == 0 and plan.lam[5] == 0 and plan.c0 == 1.0, "a zero neuron is never drawn")
    live = plan.probabilities > 0
    require(
        np.allclose(plan.lam[live], 1, atol=1e-11) and 1 - 1e-11 < plan.kap[0] < 1 + 1e-11, "lam = kap = 1 for ReLU"
    )
    constants()
    return (
        f"S and lam of {len(SHIPPED) - 1} activations inside balls at {len(radii)} radii; {cases} suprema in fractions"
    )


def constants() -> None:
    """The plan's c0 and lam against what they bound, on a grid of the reach of p.x + b: they may never be too small."""
    rng = np.random.default_rng(72)
    for activation, domain, sign in itertools.product(SHIPPED, Domain, (1.0, -1.0)):
        points, bias, w = rng.normal(size=(2, 3)), rng.normal(size=2), np.array([[1.0, sign]])
        plan = neuron_plan(points, w, activation, 1.5, domain, bias=bias)
        low, high = np.empty(2), np.empty(2)
        for i, (p, b) in enumerate(zip(points, bias, strict=True)):
            sides = [np.maximum(side, 0.0) for side in (-p, p)] if domain is not Domain.BALL else [p, p]
            down, up = (1.5 * (v.sum() if domain is Domain.BOX else float(np.linalg.norm(v))) for v in sides)
            low[i], high[i] = b - down, b + up
        z = np.linspace(low, high, 201)
        values = activation.value(z)
        live = plan.sensitivities > 0
        require(not values[:, ~live].any(), f"{activation.name}, {domain}: a neuron of S = 0 contributes")
        terms = (w[0] * values)[:, live] / plan.sensitivities[live]
        length = max(terms.max(initial=0.0), 0.0) - min(terms.min(initial=0.0), 0.0)
        require(length <= plan.c0 + 1e-9, f"{activation.name}, {domain}: a range of {length} at c0 = {plan.c0}")
        slope = np.abs(np.diff(values, axis=0) / np.diff(z, axis=0)).max(axis=0)
        around = 1.5 * (math.sqrt(3.0) if domain is Domain.BOX else 1.0)
        need = (around * np.linalg.norm(points, axis=1) * slope)[live] / plan.sup[live]
        require(
            np.all(need <= plan.lam[live] * (1 + 1e-9)), f"{activation.name}, {domain}: lam {plan.lam} below {need}"
        )


def neurons() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(70)
    return rng.normal(size=(12, 3)) * np.logspace(-1, 1, 12)[:, None], rng.normal(size=12)


def inputs(rng: np.random.Generator, n: int, domain: Domain, beta: float, points: np.ndarray) -> np.ndarray:
    """Inputs of the domain, half of them towards a neuron's weights: the places where the supremum is attained."""
    x = rng.normal(size=(n, 3))
    towards = rng.integers(0, len(points), size=n)
    x = np.where(rng.random((n, 1)) < 0.5, x, points[towards] * rng.choice([-1.0, 1.0], size=(n, 1)))
    if domain is Domain.BOX:
        return np.where(rng.random((n, 1)) < 0.5, rng.random((n, 3)), x > 0) * beta
    x = np.maximum(x, 0.0) if domain is Domain.NONNEGATIVE else x
    norm = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.where(norm > 0, norm, 1.0) * (beta * np.sqrt(rng.choice([0.3, 1 - 1e-13], size=(n, 1))))


def exceeds(share: float = 1.0) -> Callable[[np.random.Generator, int], np.ndarray]:
    """A trial: one input at which some neuron under some activation exceeds its S for `share` of the radius."""
    (points, bias), beta = neurons(), 1.5
    sup = {
        (a.name, d): sup_sensitivities(points, a, radius=share * beta, domain=d, bias=bias)
        for a in SHIPPED
        for d in Domain
    }

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        bad = np.zeros(n, bool)
        for domain in Domain:
            z = inputs(rng, n, domain, beta, points) @ points.T + bias
            for activation in SHIPPED:
                bad |= (np.abs(activation.value(z)) > sup[activation.name, domain]).any(axis=1)
        return bad

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    return judge(exceeds(), delta=0.01, trials=2_000 * effort, name="no neuron exceeds its supremum")


def teeth() -> Evidence:
    def caught(factor: float) -> bool:
        return bool(exceeds(1 / factor)(np.random.default_rng(71), 500).any())

    slack = smallest_sabotage(caught)
    sine = Activation(
        name="sine", value=np.sin, sup=lambda r: np.abs(np.sin(r)), lam=lambda r: r, at_zero=0.0, nonneg=False
    )
    S = float(sup_sensitivities(np.array([[1.0]]), sine, radius=math.pi)[0])
    require(S < 1e-9, "the formula |phi(beta |p|)| of the sine")
    require(abs(math.sin(math.pi / 2)) > 1e9 * S, "an activation that is not covered must break the formula")
    dip = float(np.abs(acts.GELU.value(np.array(acts.GELU.trough))))
    ends = np.abs(acts.GELU.value(np.array([-3.0, -0.1])))
    shipped = float(acts.GELU.largest(np.array(-3.0), np.array(-0.1)))
    require(shipped == dip > 2 * float(ends.max()), "GELU on [-3, -0.1]: the ends alone miss the trough")
    text = (
        f"refuted: the radius divided by {slack:g}; |phi(beta |p|)| for the sine (0 for 1); GELU's ends without trough"
    )
    return Evidence(text=text, slack=slack)
