"""Nets on graphs: outputs against sums over neighbours, perturbations random and adversarial, and the bounds."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from scipy.stats import beta, chi2

from boundlab import InvalidParameter
from boundlab._errors import PremiseViolated
from boundlab.bounds.graph_nets import BITS, coded_graph_net, graph_occam, graph_pac_bayes, published_graph_bound
from boundlab.bounds.graph_noise import noise_spread
from boundlab.nets.graph_margins import GraphNet
from boundlab.nets.graphs import Graph, GraphConvolution, GraphDomain, gcn_perturbation
from boundlab.nets.message_passing import RELU, TANH, LipschitzMap, MessagePassing, message_passing_perturbation
from boundlab.nets.norms import spectral_norm
from boundlab.promises import Standing

EYE, ONE = np.eye(2), np.ones((1, 1))
PAIR = np.array([[0.0, 1.0], [1.0, 0.0]])


LINEAR = GraphConvolution(matrices=(np.array([[3.0, -3.0]]),))
PASSING = MessagePassing(features=np.array([[1.0, -1.0]]), neighbours=0.1 * EYE, readout=EYE, steps=2)


def sign_graphs(n: int) -> tuple[list[Graph], np.ndarray]:
    """Pairs of nodes whose feature is the class: a net of one layer has margin 6."""
    y = np.arange(n) % 2
    return [Graph(adjacency=PAIR, features=np.full((2, 1), 1.0 - 2.0 * c)) for c in y], y


def random_graph(rng: np.random.Generator, nodes: int = 7, features: int = 3, p: float = 0.5) -> Graph:
    a = np.triu((rng.random((nodes, nodes)) < p).astype(float), 1)
    x = rng.normal(size=(nodes, features))
    return Graph(adjacency=a + a.T, features=x / np.linalg.norm(x, axis=1, keepdims=True))


def convolution(rng: np.random.Generator) -> GraphConvolution:
    return GraphConvolution(matrices=tuple(rng.normal(size=s) for s in ((3, 4), (4, 4), (4, 2))))


def passing(rng: np.random.Generator) -> MessagePassing:
    own, other, top = (rng.normal(size=s) for s in ((3, 4), (4, 4), (4, 2)))
    return MessagePassing(features=own, neighbours=other / 4, readout=top, steps=3, rho=TANH, g=RELU)


def rebuilt(net: GraphNet, matrices: tuple[np.ndarray, ...]) -> GraphNet:
    if isinstance(net, GraphConvolution):
        return GraphConvolution(matrices=matrices)
    own, other, top = matrices
    return replace(net, features=own, neighbours=other, readout=top)


@pytest.mark.parametrize(
    "call",
    [
        lambda: Graph(adjacency=np.array([[0, 1], [0, 0]]), features=EYE),
        lambda: Graph(adjacency=EYE, features=EYE),
        lambda: Graph(adjacency=2 * PAIR, features=EYE),
        lambda: Graph(adjacency=PAIR, features=np.ones((3, 1))),
        lambda: Graph(adjacency=PAIR, features=np.full((2, 1), np.nan)),
        lambda: GraphConvolution(matrices=()),
        lambda: GraphConvolution(matrices=(EYE, ONE)),
        lambda: GraphConvolution(matrices=(EYE,))(Graph(adjacency=PAIR, features=np.ones((2, 1)))),
        lambda: GraphConvolution(matrices=(EYE,)).deviation([-0.1], 1.0, 1),
        lambda: GraphConvolution(matrices=(EYE,)).deviation([0.1, 0.1], 1.0, 1),
        lambda: GraphConvolution(matrices=(EYE,)).deviation([0.1], 0.0, 1),
        lambda: gcn_perturbation([EYE, EYE], [EYE, EYE], 1.0, 2),
        lambda: gcn_perturbation([EYE], [0.1 * EYE], 1.0, 0),
        lambda: gcn_perturbation([EYE], [np.ones((2, 1))], 1.0, 2),
        lambda: MessagePassing(features=ONE, neighbours=EYE, readout=ONE, steps=2),
        lambda: MessagePassing(features=ONE, neighbours=ONE, readout=ONE, steps=0),
        lambda: replace(PASSING, rho=LipschitzMap(name="shifted", function=lambda h: h + 1.0)),
        lambda: replace(PASSING, g=LipschitzMap(name="three channels", function=lambda h: h @ np.eye(3))),
        lambda: replace(PASSING, phi=LipschitzMap(name="sum", function=lambda h: h.sum(axis=1))),
        lambda: gcn_perturbation([np.full((2, 2), np.nan)], [np.zeros((2, 2))], 1.0, 1),
        lambda: LipschitzMap(name="flat", function=lambda h: h, constant=0.0),
        lambda: message_passing_perturbation(passing(np.random.default_rng(0)), 0.3, 1.0, 2),
        lambda: passing(np.random.default_rng(0)).deviation([0.1, 0.1, 0.1], 1.0, 0),
        lambda: GraphDomain(radius=0.0, degree=2),
        lambda: GraphDomain(radius=1.0, degree=0),
        lambda: coded_graph_net(GraphConvolution(matrices=(EYE,)), 1),
        lambda: graph_occam(
            GraphConvolution(matrices=(EYE,)), [Graph(adjacency=PAIR, features=EYE)] * 3, [0, 1, 1], bits=()
        ),
        lambda: graph_pac_bayes(GraphConvolution(matrices=(EYE,)), [], []),
        lambda: graph_occam(GraphConvolution(matrices=(ONE,)), *sign_graphs(3)),
    ],
)
def test_bad_input_is_refused(call) -> None:
    with pytest.raises(InvalidParameter, match="must"):
        call()


@pytest.mark.parametrize(
    ("bound", "changes"),
    [
        (graph_pac_bayes, {"domain": (1.0, 2)}),
        (graph_pac_bayes, {"y": [[0], [1, 0], 1]}),
        (graph_pac_bayes, {"graphs": 3}),
        (graph_occam, {"net": None}),
        (graph_occam, {"bits": 5}),
        (graph_occam, {"bits": (2, 2.5)}),
    ],
)
def test_arguments_of_another_kind_are_refused(bound: Any, changes: dict[str, Any]) -> None:
    graphs, y = sign_graphs(3)
    with pytest.raises(InvalidParameter, match="must"):
        bound(**{"net": LINEAR, "graphs": graphs, "y": y} | changes)


@pytest.mark.parametrize("bound", [graph_pac_bayes, graph_occam])
def test_labels_of_nodes_are_refused(bound) -> None:
    net, graph = GraphConvolution(matrices=(EYE,)), Graph(adjacency=PAIR, features=EYE)
    with pytest.raises(PremiseViolated, match="an example must be a whole graph"):
        bound(net, [graph], [0, 1])
    with pytest.raises(PremiseViolated, match="nodes of a graph are not independent"):
        bound(net, [graph, graph], [0, 1, 1, 0])


def test_outputs_are_those_of_sums_over_neighbours() -> None:
    rng = np.random.default_rng(1)
    graph, gcn, mpgnn = random_graph(rng), convolution(rng), passing(rng)
    nodes, near = range(7), [[j for j in range(7) if graph.adjacency[i, j]] for i in range(7)]
    h = [graph.features[i] for i in nodes]
    for w in gcn.matrices[:-1]:
        heard = [sum(h[j] / math.sqrt((len(near[i]) + 1) * (len(near[j]) + 1)) for j in (*near[i], i)) for i in nodes]
        h = [np.maximum(m @ w, 0) for m in heard]
    np.testing.assert_allclose(gcn(graph), sum(v @ gcn.matrices[-1] for v in h) / 7, rtol=1e-12)
    h = [np.zeros(4)] * 7
    for _ in range(3):
        heard = [np.tanh(sum((np.maximum(h[j], 0) for j in near[i]), np.zeros(4))) for i in nodes]
        h = [np.maximum(graph.features[i] @ mpgnn.features + heard[i] @ mpgnn.neighbours, 0) for i in nodes]
    np.testing.assert_allclose(mpgnn(graph), sum(v @ mpgnn.readout for v in h) / 7, rtol=1e-12)


@pytest.mark.parametrize("make", [convolution, passing])
def test_no_adversary_moves_the_output_beyond_the_deviation(make) -> None:
    """Hill climbing on the moves, each kept at its spectral norm; the limit holds for every one of them."""
    rng = np.random.default_rng(2)
    graph, net = random_graph(rng), make(rng)
    sizes = [0.3 * spectral_norm(w) for w in net.matrices]
    limit, degree = net.deviation(sizes, 1.0, graph.degree), graph.degree

    def gap(moves: list[np.ndarray]) -> float:
        moved = rebuilt(net, tuple(w + u for w, u in zip(net.matrices, moves, strict=True)))
        return float(np.linalg.norm(moved(graph) - net(graph)))

    def scaled(moves: list[np.ndarray]) -> list[np.ndarray]:
        return [u * (s / spectral_norm(u)) for u, s in zip(moves, sizes, strict=True)]

    moves = scaled([w.copy() for w in net.matrices])
    first = best = gap(moves)
    for _ in range(400):
        trial = scaled([u + 0.1 * s * rng.normal(size=u.shape) for u, s in zip(moves, sizes, strict=True)])
        if (value := gap(trial)) > best:
            moves, best = trial, value
    assert first < best <= limit
    assert net.deviation(sizes, 1.0, degree) <= net.deviation([1.1 * s for s in sizes], 1.0, degree)


def test_published_forms_are_never_below_ours() -> None:
    rng = np.random.default_rng(3)
    gcn, mpgnn = convolution(rng), passing(rng)
    for degree, eta in itertools.product((1, 4), (1e-6, 0.1, 0.25)):
        sizes = [eta * spectral_norm(w) for w in gcn.matrices]
        published = gcn_perturbation(gcn.matrices, [eta * w for w in gcn.matrices], 1.0, degree)
        assert gcn.deviation(sizes, 1.0, degree) <= published
        sizes = [eta * spectral_norm(w) for w in mpgnn.matrices]
        assert mpgnn.deviation(sizes, 1.0, degree) <= message_passing_perturbation(mpgnn, eta, 1.0, degree)


def test_one_layer_with_a_large_margin_is_certified_where_the_published_form_is_vacuous() -> None:
    graphs, y = sign_graphs(1_000)
    found = graph_pac_bayes(LINEAR, graphs, y)
    assert found.standing is Standing.NON_VACUOUS
    assert found.value < 0.15
    assert found.facts["published"] > 1
    assert found.raw >= found.value
    assert published_graph_bound(LINEAR, graphs, y, found.facts["gamma"], 0.05) >= found.facts["published"]


def test_a_graph_outside_the_domain_counts_as_an_error() -> None:
    graphs, y = sign_graphs(1_000)
    far = [*graphs[:-10], *(Graph(adjacency=g.adjacency, features=9 * g.features) for g in graphs[-10:])]
    domain = GraphDomain(radius=1.0 + 1e-9, degree=1)
    inside = graph_pac_bayes(LINEAR, graphs, y, domain=domain)
    found = graph_pac_bayes(LINEAR, far, y, domain=domain)
    assert (inside.facts["outside_domain"], found.facts["outside_domain"]) == (0, 10)
    assert found.value > inside.value + 0.01
    assert any("domain" in p.text for p in found.premises)
    assert graph_pac_bayes(LINEAR, far, y).facts["outside_domain"] == 0, "the grid holds them all, and pays"


def test_maps_of_the_caller_are_listed_as_assumed() -> None:
    graphs, y = sign_graphs(50)
    steep = LipschitzMap(name="2h", function=lambda h: 2 * h, constant=2.0)
    for bound in (graph_pac_bayes, graph_occam):
        assert not any("Lipschitz" in p.text for p in bound(PASSING, graphs, y).premises)
        assert any("Lipschitz" in p.text for p in bound(replace(PASSING, rho=steep), graphs, y).premises)


def test_a_net_of_zeros_is_vacuous() -> None:
    graphs, y = sign_graphs(40)
    zero = GraphConvolution(matrices=(np.zeros((1, 2)),))
    assert graph_pac_bayes(zero, graphs, y).standing is Standing.VACUOUS
    assert graph_occam(zero, graphs, y).facts["errors"] == 40, "ties are errors"
    assert math.isinf(published_graph_bound(zero, graphs, y, 1.0, 0.05))


def communities(n: int, seed: int) -> tuple[list[Graph], np.ndarray]:
    """Ten nodes of two kinds: neighbours are of one's own kind (class 1) or of any (class 0)."""
    rng, graphs = np.random.default_rng(seed), []
    y = rng.integers(2, size=n)
    for c in y:
        kind = rng.choice([-1.0, 1.0], size=10)
        same = np.equal.outer(kind, kind)
        chance = np.where(same, 0.8, 0.05) if c else np.full((10, 10), 0.4)
        a = np.triu((rng.random((10, 10)) < chance).astype(float), 1)
        graphs.append(Graph(adjacency=a + a.T, features=np.column_stack([kind, -kind, np.ones(10)]) / math.sqrt(3)))
    return graphs, y


def trained(graphs: list[Graph], y: np.ndarray) -> GraphConvolution:
    """A layer of random features, the best of ten, and a readout fitted by least squares."""
    rng, nets = np.random.default_rng(0), []
    for _ in range(10):
        first = rng.normal(size=(3, 6))
        hidden = GraphConvolution(matrices=(first, np.eye(6)))
        h = np.stack([hidden(g) for g in graphs])
        top = np.linalg.lstsq(h, np.eye(2)[y] - 0.5, rcond=None)[0]
        nets.append((int(np.sum((h @ top).argmax(axis=1) != y)), (first, top)))
    return GraphConvolution(matrices=min(nets, key=lambda pair: pair[0])[1])


def test_coded_weights_certify_a_trained_net_where_pac_bayes_is_vacuous() -> None:
    """Fresh graphs refute the certificate at a false-alarm rate of 1e-6 beside its own delta."""
    graphs, y = communities(1_000, seed=0)
    fresh, truth = communities(1_000, seed=1)
    net = trained(graphs, y)
    wide, coded = graph_pac_bayes(net, graphs, y), graph_occam(net, graphs, y)
    assert wide.standing is Standing.VACUOUS
    assert wide.facts["published"] > 10
    assert coded.standing is Standing.NON_VACUOUS
    assert coded.value < 0.25
    own, nats = coded_graph_net(net, int(coded.facts["bits_per_weight"]))
    assert nats / math.log(2) + math.log2(6) == pytest.approx(coded.facts["bits"])
    errors = sum(own(g)[c] <= own(g)[1 - c] for g, c in zip(fresh, truth, strict=True))
    assert coded.value >= beta.ppf(1e-6, errors, 1_000 - errors + 1), "the certificate is below the risk"


def test_message_passing_has_both_bounds() -> None:
    graphs, y = communities(200, seed=2)
    rng = np.random.default_rng(0)
    net = MessagePassing(
        features=rng.normal(size=(3, 4)),
        neighbours=rng.normal(size=(4, 4)) / 9,
        readout=rng.normal(size=(4, 2)),
        steps=2,
    )
    wide, coded = graph_pac_bayes(net, graphs, y), graph_occam(net, graphs, y)
    assert wide.standing is Standing.VACUOUS
    assert wide.facts["published"] > 100
    assert 0 < coded.facts["errors"] <= 200
    assert wide.facts["degree"] == max(g.degree for g in graphs)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_an_exact_tie_is_an_error_in_whatever_order_the_nodes_come(order: tuple[int, ...]) -> None:
    """1/10 + 2/10 + 3/10 of both outputs: the computed margin is 0 or above 0 or below, by the order alone."""
    features = np.array([[0.1, 0.3], [0.2, 0.2], [0.3, 0.1]])[list(order)]
    graphs = [Graph(adjacency=1.0 - np.eye(3), features=features)] * 300
    for y in ([0] * 300, [1] * 300):
        found = graph_occam(GraphConvolution(matrices=(EYE,)), graphs, y)
        assert (found.value, found.facts["errors"]) == (1.0, 300)
        assert graph_pac_bayes(GraphConvolution(matrices=(EYE,)), graphs, y).value == 1.0


def test_arrays_that_the_caller_changes_later_change_nothing() -> None:
    first, top, features, adjacency = EYE.copy(), np.array([[1.0, -1.0], [-1.0, 1.0]]), np.ones((2, 2)), PAIR.copy()
    net, graph = GraphConvolution(matrices=(first, top)), Graph(adjacency=adjacency, features=features)
    other = MessagePassing(features=first, neighbours=first, readout=top, steps=2)
    before = [*net.norms, *other.norms, graph.radius, graph.degree, *net(graph), *other(graph)]
    for array in (first, top, features, adjacency):
        array *= 100
    assert [*net.norms, *other.norms, graph.radius, graph.degree, *net(graph), *other(graph)] == before
    fresh = GraphConvolution(matrices=net.matrices)
    assert fresh.norms == net.norms, "the norms are those of the weights"
    with pytest.raises(ValueError, match="read-only"):
        net.matrices[0][0, 0] = 1.0
    with pytest.raises(ValueError, match="read-only"):
        graph.features[0, 0] = 1.0


def test_noise_on_a_row_is_bounded_by_the_quantile_of_its_length() -> None:
    for shapes in (((1, 2),), ((1, 1), (1, 7)), ((6, 2), (2, 2)), ((30, 40), (40, 3))):
        count = len(shapes)
        found = noise_spread(GraphConvolution(matrices=tuple(np.ones(s) for s in shapes)))
        for (r, c), norm in zip(shapes, found, strict=True):
            wide = math.sqrt(r) + math.sqrt(c) + math.sqrt(2 * math.log(2 * count))
            assert norm == pytest.approx(min(wide, math.sqrt(chi2.ppf(1 - 0.5 / count, r * c))), rel=1e-8)


def test_a_rescaled_net_has_the_same_bound_up_to_the_price_of_its_grids() -> None:
    """W_1 -> t W_1 is the same classifier, with the same divergence up to the steps of the grid."""
    y = np.arange(4_000) % 2
    graphs = [Graph(adjacency=PAIR, features=np.tile(EYE[c], (2, 1))) for c in y]
    top = np.array([[1.0, -1.0], [-1.0, 1.0]])
    for t in (1.0, 1e-3, 1e-12, 1e-100, 1e100):
        found = graph_pac_bayes(GraphConvolution(matrices=(t * EYE, top)), graphs, y)
        assert found.value < 0.13
        assert found.facts["divergence"] < 500


def test_graphs_at_the_edge_of_the_domain_are_inside_and_one_float_further_out_they_are_not() -> None:
    graphs, y = sign_graphs(300)
    for radius, outside in ((1.0, 0), (math.nextafter(1.0, 0.0), 300)):
        found = graph_pac_bayes(LINEAR, graphs, y, domain=GraphDomain(radius=radius, degree=1))
        assert found.facts["outside_domain"] == outside
    for last in (0.8, math.nextafter(0.8, 0.0)):  # 0.6² + 0.8² is above 1 in binary, by less than floats can tell
        graph = Graph(adjacency=PAIR, features=np.array([[0.6, last], [0.0, 0.0]]))
        exact = Fraction(0.6) ** 2 + Fraction(last) ** 2
        assert (graph in GraphDomain(radius=1.0, degree=1)) == (exact <= 1) == (last < 0.8)


def test_the_degree_of_a_domain_matters_to_message_passing_alone() -> None:
    y = np.arange(60) % 2
    graphs = [Graph(adjacency=1.0 - np.eye(3), features=np.full((3, 1), 1.0 - 2.0 * c)) for c in y]
    domain = GraphDomain(radius=2.0, degree=1)
    assert graph_pac_bayes(LINEAR, graphs, y, domain=domain).facts["outside_domain"] == 0
    assert graph_pac_bayes(PASSING, graphs, y, domain=domain).facts["outside_domain"] == 60


def test_what_the_caller_chose_is_listed_as_assumed() -> None:
    graphs, y = sign_graphs(50)

    def given(bound) -> list[str]:
        return [p.text for p in bound.premises if p.text.startswith("the given")]

    assert given(graph_occam(LINEAR, graphs, y)) == given(graph_occam(LINEAR, graphs, y, bits=list(BITS))) == []
    assert given(graph_occam(LINEAR, graphs, y, bits=(2,))) == [
        "the given bits per weight was fixed before the graphs were seen"
    ]
    assert given(graph_pac_bayes(LINEAR, graphs, y)) == []
    assert len(given(graph_pac_bayes(LINEAR, graphs, y, gamma=1.0))) == 1


def test_nothing_underflows_to_a_promise() -> None:
    graph = Graph(adjacency=PAIR, features=np.full((2, 1), 1e-200))
    assert graph.radius == pytest.approx(1e-200)
    assert graph not in GraphDomain(radius=1e-250, degree=1)
    tiny, half = [np.array([[1e-200]])] * 2, [np.array([[5e-201]])] * 2
    assert gcn_perturbation(tiny, half, 1e300, 1) == pytest.approx(math.e * 1e-100)
    one = np.array([[1e-200]])
    net = MessagePassing(features=one, neighbours=one, readout=one, steps=1)
    assert message_passing_perturbation(net, 0.5, 1e300, 1) == pytest.approx(math.e * 1e-100)


def shrunk(weight: float, steps: int) -> MessagePassing:
    return MessagePassing(features=np.array([[1.0, -1.0]]), neighbours=weight * EYE, readout=EYE, steps=steps)


@pytest.mark.parametrize(
    "net",
    [
        shrunk(1e-45, 6),
        shrunk(1e-80, 3),
        shrunk(0.0, 3),
        shrunk(3e4, 20),
        GraphConvolution(matrices=(np.array([[-1e150]]), np.array([[-1e150]]), np.array([[1e150, -1e150]]))),
        GraphConvolution(matrices=(1e-165 * ONE, np.array([[1e-155, -1e-155]]))),
        GraphConvolution(matrices=(np.array([[1.7e308, -1.7e308]]),)),
        GraphConvolution(matrices=(np.array([[5e-324, 0.0]]),)),
    ],
)
def test_weights_of_any_size_have_their_bounds(net: GraphNet) -> None:
    y = np.arange(40) % 2
    graphs = [Graph(adjacency=PAIR, features=np.full((2, 1), 0.5 - c)) for c in y]
    assert 0 < graph_pac_bayes(net, graphs, y).value <= 1
    assert 0 < graph_occam(net, graphs, y).value <= 1
    assert all(np.isfinite(w).all() for bits in BITS for w in coded_graph_net(net, bits)[0].matrices)
    assert graph_pac_bayes(net, graphs, y, gamma=1e-300).value == 1.0
