"""ONNX graphs run as torch modules: every operator against ONNX's own evaluator, and nets that others wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx.reference
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from boundlab._errors import InvalidParameter, UnsupportedLayer
from boundlab.nets.architectures import resnet
from boundlab.nets.export import export
from boundlab.nets.folding import fold_batchnorm
from boundlab.nets.module_net import ModuleNet
from boundlab.nets.onnx_module import module_of_model, module_of_onnx
from boundlab.nets.onnx_operators import OPERATORS

RNG = np.random.default_rng(11)
IMAGE, ROW, SEQUENCE = (3, 8, 8), (6,), (4, 6)


def drawn(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def whole(*numbers: int) -> np.ndarray:
    return np.array(numbers, dtype=np.int64)


def model(
    nodes: list[Any],
    constants: dict[str, np.ndarray],
    shape: tuple[int, ...],
    *,
    opset: int = 17,
    points: int | str = "n",
    outputs: int = 1,
) -> onnx.ModelProto:
    """A graph from x to y."""
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [points, *shape])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "yz"[:outputs]],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def node(kind: str, *inputs: str, out: str = "y", **attributes: Any) -> Any:
    return helper.make_node(kind, ["x", *inputs], out.split(), **attributes)


def norm(channels: int) -> dict[str, np.ndarray]:
    return {"g": drawn(channels), "b": drawn(channels), "m": drawn(channels), "v": np.abs(drawn(channels)) + 1}


# nodes, constants, the shape of a point, opset
CASES: dict[str, tuple[list[Any], dict[str, np.ndarray], tuple[int, ...], int]] = {
    "Conv": ([node("Conv", "w", "b")], {"w": drawn(4, 3, 3, 3), "b": drawn(4)}, IMAGE, 17),
    "Conv: all attributes": (
        [node("Conv", "w", strides=[2, 1], pads=[1, 0, 1, 0], dilations=[1, 2], group=3)],
        {"w": drawn(6, 1, 2, 3)},
        IMAGE,
        17,
    ),
    "Conv: more zeros after": ([node("Conv", "w", pads=[0, 1, 2, 1])], {"w": drawn(4, 3, 3, 3)}, IMAGE, 9),
    "Conv: same upper": (
        [node("Conv", "w", auto_pad="SAME_UPPER", strides=[2, 2])],
        {"w": drawn(4, 3, 3, 3)},
        IMAGE,
        9,
    ),
    "Conv: same lower": ([node("Conv", "w", auto_pad="SAME_LOWER")], {"w": drawn(4, 3, 2, 2)}, IMAGE, 9),
    "Conv: one axis": ([node("Conv", "w")], {"w": drawn(5, 4, 3)}, SEQUENCE, 17),
    "Conv: three axes": ([node("Conv", "w")], {"w": drawn(2, 3, 2, 2, 2)}, (3, 4, 4, 4), 17),
    "Gemm": ([node("Gemm", "w", "b", transB=1)], {"w": drawn(5, 6), "b": drawn(5)}, ROW, 17),
    "Gemm: factors": ([node("Gemm", "w", "b", alpha=0.5, beta=2.0)], {"w": drawn(6, 5), "b": drawn(1, 5)}, ROW, 17),
    "Gemm: one number added": ([node("Gemm", "w", "b", beta=3.0)], {"w": drawn(6, 5), "b": drawn(1)}, ROW, 17),
    "MatMul and Add": (
        [node("MatMul", "w", out="p"), helper.make_node("Add", ["b", "p"], ["y"])],
        {"w": drawn(6, 5), "b": drawn(5)},
        SEQUENCE,
        17,
    ),
    "MatMul whose product has two readers": (
        [
            node("MatMul", "w", out="p"),
            helper.make_node("Add", ["p", "b"], ["q"]),
            helper.make_node("Mul", ["p", "q"], ["y"]),
        ],
        {"w": drawn(6, 5), "b": drawn(5)},
        ROW,
        17,
    ),
    "MatMul from the left": ([helper.make_node("MatMul", ["w", "x"], ["y"])], {"w": drawn(5, 4)}, SEQUENCE, 17),
    "MatMul by a stack": ([node("MatMul", "w")], {"w": drawn(1, 6, 5)}, SEQUENCE, 17),
    "attention": (
        [
            node("MatMul", "q", out="a"),
            node("Transpose", perm=[0, 2, 1], out="t"),
            helper.make_node("MatMul", ["a", "t"], ["s"]),
            helper.make_node("Softmax", ["s"], ["p"], axis=-1),
            helper.make_node("MatMul", ["p", "x"], ["y"]),
        ],
        {"q": drawn(6, 6)},
        SEQUENCE,
        17,
    ),
    "Pad: inputs": ([node("Pad", "p", "c")], {"p": whole(0, 1, 0, 2, 0, 0, 1, 3), "c": drawn(1)}, IMAGE, 17),
    "Pad: attributes": ([node("Pad", pads=[0, 0, 1, 2, 0, 0, 0, 1], value=0.5)], {}, IMAGE, 9),
    "Pad: reflect": ([node("Pad", "p", mode="reflect")], {"p": whole(0, 0, 1, 2, 0, 0, 0, 1)}, IMAGE, 17),
    "Pad: edge": ([node("Pad", "p", mode="edge")], {"p": whole(0, 0, 1, 2, 0, 0, 0, 1)}, IMAGE, 17),
    "MaxPool": ([node("MaxPool", kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 0])], {}, IMAGE, 17),
    "MaxPool: ceil": ([node("MaxPool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)], {}, IMAGE, 17),
    "AveragePool": ([node("AveragePool", kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 0])], {}, IMAGE, 17),
    "AveragePool: zeros count": (
        [node("AveragePool", kernel_shape=[2, 2], pads=[0, 0, 1, 1], count_include_pad=1)],
        {},
        IMAGE,
        17,
    ),
    "GlobalAveragePool": ([node("GlobalAveragePool")], {}, IMAGE, 17),
    "GlobalMaxPool": ([node("GlobalMaxPool")], {}, IMAGE, 17),
    "BatchNormalization": ([node("BatchNormalization", "g", "b", "m", "v", epsilon=0.01)], norm(3), IMAGE, 9),
    "BatchNormalization of rows": ([node("BatchNormalization", "g", "b", "m", "v")], norm(6), ROW, 17),
    "LayerNormalization": (
        [node("LayerNormalization", "g", "b", axis=1, epsilon=0.1)],
        {"g": drawn(4, 6), "b": drawn(4, 6)},
        SEQUENCE,
        17,
    ),
    "LayerNormalization: no bias": ([node("LayerNormalization", "g")], {"g": drawn(6)}, SEQUENCE, 17),
    "Reshape": ([node("Reshape", "s")], {"s": whole(-1, 12, 2)}, SEQUENCE, 17),
    "Reshape: copied sizes": ([node("Reshape", "s")], {"s": whole(0, 0, -1, 1)}, SEQUENCE, 17),
    "Flatten": ([node("Flatten")], {}, IMAGE, 17),
    "Flatten: two axes before": ([node("Flatten", axis=2)], {}, SEQUENCE, 17),
    "Shape of a batch": (
        [
            node("Shape", out="s"),
            helper.make_node("Gather", ["s", "zero"], ["n"]),
            helper.make_node("Unsqueeze", ["n", "axis"], ["m"]),
            helper.make_node("Concat", ["m", "rest"], ["t"], axis=0),
            node("Reshape", "t"),
        ],
        {"zero": np.array(0), "axis": whole(0), "rest": whole(-1)},
        IMAGE,
        17,
    ),
    "Transpose": ([node("Transpose", perm=[0, 2, 3, 1])], {}, IMAGE, 17),
    "Squeeze and Unsqueeze": (
        [node("Unsqueeze", "a", out="u"), helper.make_node("Squeeze", ["u", "c"], ["y"])],
        {"a": whole(1, -1), "c": whole(1)},
        SEQUENCE,
        17,
    ),
    "Squeeze and Unsqueeze: attributes": (
        [node("Unsqueeze", axes=[2], out="u"), helper.make_node("Squeeze", ["u"], ["y"], axes=[2])],
        {},
        SEQUENCE,
        9,
    ),
    "Concat and Split": (
        [node("Split", out="p q", axis=2), helper.make_node("Concat", ["q", "x", "p"], ["y"], axis=2)],
        {},
        SEQUENCE,
        13,
    ),
    "Split: sizes": (
        [node("Split", "s", out="p q", axis=1), helper.make_node("Concat", ["q", "p"], ["y"], axis=1)],
        {"s": whole(1, 3)},
        SEQUENCE,
        13,
    ),
    "Slice": (
        [node("Slice", "s", "e", "a", "t")],
        {"s": whole(1, -3), "e": whole(2**31, -1), "a": whole(2, 1), "t": whole(2, 1)},
        IMAGE,
        17,
    ),
    "Slice: attributes": ([node("Slice", starts=[1], ends=[3], axes=[1])], {}, SEQUENCE, 9),
    "Gather": ([node("Gather", "i", axis=1)], {"i": whole(2, -1, 0)}, SEQUENCE, 17),
    "Gather: one": ([node("Gather", "i", axis=2)], {"i": np.array(-2)}, SEQUENCE, 17),
    "ReduceMean": ([node("ReduceMean", axes=[2, 3], keepdims=0)], {}, IMAGE, 17),
    "ReduceSum": ([node("ReduceSum", "a")], {"a": whole(-1)}, SEQUENCE, 17),
    "Dropout": ([node("Dropout")], {}, ROW, 17),
    "Cast": ([node("Cast", to=TensorProto.DOUBLE, out="c"), helper.make_node("Cast", ["c"], ["y"], to=1)], {}, ROW, 17),
    "Clip: inputs": ([node("Clip", "", "h")], {"h": np.array(0.5, dtype=np.float32)}, ROW, 17),
    "Clip: attributes": ([node("Clip", min=-0.5, max=0.25)], {}, ROW, 9),
    "Softmax": ([node("Softmax", axis=1)], {}, SEQUENCE, 17),
    "Softmax: old": ([node("Softmax")], {}, ROW, 9),
    "LogSoftmax": ([node("LogSoftmax")], {}, ROW, 17),
    "LeakyRelu": ([node("LeakyRelu", alpha=0.2)], {}, ROW, 17),
    "Elu": ([node("Elu", alpha=0.7)], {}, ROW, 17),
    **{
        kind: ([node(kind)], {}, ROW, 17)
        for kind in ("Relu", "Softplus", "Neg", "Abs", "Exp", "Erf", "Sigmoid", "Tanh")
    },
    **{kind: ([node(kind)], {}, ROW, 17) for kind in ("Sin", "Cos", "Reciprocal", "Identity")},
    **{kind: ([node(kind, "c")], {"c": drawn(6)}, ROW, 17) for kind in ("Add", "Sub", "Mul", "Div", "Min", "Max")},
    "Sub from a constant": ([helper.make_node("Sub", ["c", "x"], ["y"])], {"c": drawn(6)}, ROW, 17),
    "Log, Sqrt, Pow": (
        [
            node("Exp", out="e"),
            helper.make_node("Sqrt", ["e"], ["r"]),
            helper.make_node("Pow", ["r", "three"], ["p"]),
            helper.make_node("Log", ["p"], ["y"]),
        ],
        {"three": np.array(3.0, dtype=np.float32)},
        ROW,
        17,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_module_and_onnx_s_evaluator_agree(case: str) -> None:
    nodes, constants, shape, opset = CASES[case]
    proto = model(nodes, constants, shape, opset=opset)
    module = module_of_model(proto)
    if case == "BatchNormalization":
        proto = model(nodes, constants, shape, opset=15)  # for opset 9 the evaluator mixes in the batch's statistics
    evaluator: Any = onnx.reference.ReferenceEvaluator(proto)
    for points in (1, 5):
        x = np.random.default_rng(points).standard_normal((points, *shape)).astype(np.float32)
        want = evaluator.run(None, {"x": x})[0]
        got = module(torch.from_numpy(x)).detach().numpy()
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, want, atol=1e-5 * np.abs(want).max(), rtol=0)


def test_every_operator_has_a_case() -> None:
    assert set(OPERATORS) == {n.op_type for nodes, *_ in CASES.values() for n in nodes}


def test_weights_stand_in_layers_with_their_names() -> None:
    nodes = [
        node("Conv", "body.0.weight", "body.0.bias", out="a"),
        helper.make_node("Flatten", ["a"], ["f"]),
        helper.make_node("Gemm", ["f", "head.weight"], ["h"], transB=1),
        helper.make_node("MatMul", ["h", "a/b:0"], ["m"]),
        helper.make_node("Add", ["m", "bias"], ["n"]),
        helper.make_node("Mul", ["n", "scale"], ["o"]),
        helper.make_node("MatMul", ["o", "graph.weight"], ["y"]),
    ]
    constants = {"body.0.weight": drawn(2, 3, 8, 8), "body.0.bias": drawn(2), "head.weight": drawn(4, 2)}
    constants |= {"a/b:0": drawn(4, 3), "bias": drawn(3), "scale": drawn(3), "graph.weight": drawn(3, 2)}
    net = ModuleNet(module_of_model(model(nodes, constants, IMAGE)), np.zeros((1, *IMAGE)))
    assert [layer.name for layer in net.layers] == ["body.0", "head", "a_b_0", "graph_1"]
    np.testing.assert_array_equal(net.layers[2].weight, constants["a/b:0"].T)
    np.testing.assert_array_equal(net.layers[2].bias, constants["bias"])
    assert set(net.kept) == {"body.0.bias", "a_b_0.bias", "scale"}
    assert net.parameters == sum(a.size for a in constants.values())


def test_a_weight_that_is_used_twice_is_one_layer_or_a_shared_parameter() -> None:
    twice = [node("MatMul", "w", out="a"), helper.make_node("MatMul", ["a", "w"], ["y"])]
    net = ModuleNet(module_of_model(model(twice, {"w": drawn(6, 6)}, ROW)), np.zeros((1, *ROW)))
    assert [layer.name for layer in net.layers] == ["w"]
    assert net.parameters == 36
    biased = [
        node("Gemm", "w", "b", out="a"),
        helper.make_node("Gemm", ["a", "w", "c"], ["r"]),
        helper.make_node("Gemm", ["r", "v"], ["y"]),
    ]
    constants = {"w": drawn(6, 6), "b": drawn(6), "c": drawn(6), "v": drawn(6, 6)}
    net = ModuleNet(module_of_model(model(biased, constants, ROW)), np.zeros((1, *ROW)))
    assert [layer.name for layer in net.layers] == ["v"]
    assert net.kept["w.weight"] == net.kept["w_1.weight"] == "the weight is shared by w, w_1"


def test_a_graph_for_one_point_takes_many() -> None:
    nodes = [node("Reshape", "s", out="r"), helper.make_node("Gemm", ["r", "w"], ["y"])]
    module = module_of_model(model(nodes, {"s": whole(1, -1), "w": drawn(24, 2)}, SEQUENCE, points=1))
    assert module(torch.zeros(5, *SEQUENCE)).shape == (5, 2)


@pytest.mark.parametrize(
    ("nodes", "constants", "settings", "message"),
    [
        ([node("Hardmax")], {}, {}, "got Hardmax in the graph"),
        ([node("MaxPool", out="y z", kernel_shape=[2])], {}, {"outputs": 2}, "2 outputs"),
        ([node("MaxPool", kernel_shape=[3], pads=[0, 1])], {}, {}, r"MaxPool with pads of \[0\] before and \[1\]"),
        ([node("Conv", "k")], {"k": drawn(2, 5, 2)}, {}, "Conv in the graph"),
        ([node("Softmax", axis=0)], {}, {}, "several points at once"),
        ([node("Transpose", perm=[1, 0, 2])], {}, {"shape": (4, 2)}, "gives outputs of shape"),
        ([node("ReduceSum", "a")], {"a": whole(0)}, {"points": 1}, "several points"),
        (
            [node("Slice", "a", "b", "c", "d")],
            {"a": whole(3), "b": whole(-9), "c": whole(1), "d": whole(-1)},
            {},
            "step",
        ),
        ([node("Identity")], {}, {"shape": ()}, "does not count points"),
        ([helper.make_node("Identity", ["c"], ["y"])], {"c": drawn(3)}, {}, "does not depend on the input"),
        (
            [node("Cast", to=TensorProto.INT64, out="i"), helper.make_node("Cast", ["i"], ["y"], to=1)],
            {},
            {},
            "Cast to",
        ),
    ],
)
def test_what_has_no_torch_form_is_refused_by_name(
    nodes: list[Any], constants: dict[str, np.ndarray], settings: dict[str, Any], message: str
) -> None:
    given: dict[str, Any] = {"shape": SEQUENCE} | settings
    with pytest.raises(UnsupportedLayer, match=message):
        module_of_model(model(nodes, constants, **given))


def test_dynamic_sizes_and_broken_files_are_refused(tmp_path: Path) -> None:
    proto = model([node("Relu")], {}, SEQUENCE)
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "length"
    with pytest.raises(InvalidParameter, match="fixed number of features"):
        module_of_model(proto)
    (tmp_path / "bad.onnx").write_bytes(b"no net")
    with pytest.raises(InvalidParameter, match="valid ONNX model"):
        module_of_onnx(str(tmp_path / "bad.onnx"))


def test_a_residual_net_without_batch_norms_goes_through_onnx_and_back(tmp_path: Path) -> None:
    x = np.random.default_rng(1).standard_normal((2, 3, 16, 16))
    net = fold_batchnorm(resnet(8), x).module
    export(net, tmp_path / "net.onnx", example=x)
    back = module_of_onnx(str(tmp_path / "net.onnx"))
    assert {k: v.shape for k, v in back.state_dict().items()} == {k: v.shape for k, v in net.state_dict().items()}
    for name, t in net.state_dict().items():
        assert torch.equal(back.state_dict()[name], t), name


def test_every_third_party_net_is_seen_layer_by_layer(boundlab_data: Path) -> None:
    """Numbers of weight layers as the files' Conv, Gemm and MatMul nodes count them."""
    entries = [e for e in json.loads((boundlab_data / "nets/index.json").read_text()) if e["kind"] == "onnx"]
    assert len(entries) == 8
    for entry in entries:
        module: Any = module_of_onnx(str(boundlab_data / "nets" / entry["file"]))
        (start,) = [n for n in module.graph.nodes if n.op == "placeholder"]
        del start
        shape = {"cifar10": (3, 32, 32), "mnist": (1, 28, 28), None: (2,)}[entry["dataset"]]
        shape = (32, 32, 3) if "NHWC" in entry["input"] else shape
        net = ModuleNet(module, np.zeros((2, *shape)))
        layers = {"marabou_cifar10_small": 5, "oval_cifar_base_kw": 4, "vnncomp21_resnet_2b": 8, "Convnet_avgpool": 2}
        layers |= {"eran_mnist_convSmallRELU__Point": 4, "tll_N8_0_0": 14, "tll_N8_0_1": 14, "tll_N16_1_0": 18}
        assert len(net.layers) == layers[entry["name"]]
        assert set(net.kept.values()) <= {"biases are kept exactly"}
