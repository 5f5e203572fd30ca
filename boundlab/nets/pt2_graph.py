"""The graph in a .pt2 archive, read entry by entry: ``torch.export.load`` unpickles what it finds, this does not."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from boundlab._errors import InvalidParameter, UnsupportedLayer, one_line
from boundlab.nets.chain import unsupported
from boundlab.nets.torch_graph import Graph, Op, Ref

if TYPE_CHECKING:
    import torch


def graph_of_pt2(path: str) -> Graph:
    """Read a .pt2 archive as ``torch.export.save`` of torch 2.9 or newer writes it; nothing is unpickled."""
    try:
        with zipfile.ZipFile(path) as archive:
            return _archive(archive)
    except (
        zipfile.BadZipFile,
        KeyError,
        IndexError,
        TypeError,
        AttributeError,
        ValueError,
        RuntimeError,
        OSError,
    ) as e:
        if isinstance(e, (InvalidParameter, UnsupportedLayer)):
            raise
        raise InvalidParameter(
            f"a .pt2 file must be an archive that torch.export.save of torch 2.9 or newer wrote, got {one_line(e)}."
        ) from None


def _archive(archive: zipfile.ZipFile) -> Graph:
    names = archive.namelist()
    models = [name for name in names if re.fullmatch(r"[^/]+/models/[^/]+\.json", name)]
    if len(models) != 1:
        raise ValueError(f"an archive with {len(models)} models")
    root, _, model = models[0].removesuffix(".json").split("/")
    byte_order = f"{root}/byteorder"
    if byte_order in names and archive.read(byte_order) != b"little":
        raise ValueError("an archive that is not little-endian")
    program = json.loads(archive.read(models[0]))
    stored: dict[str, torch.Tensor] = {}
    for kind in ("weights", "constants"):
        folder = f"{root}/data/{kind}"
        config = json.loads(archive.read(f"{folder}/{model}_{kind}_config.json"))["config"]
        for name, payload in config.items():
            if payload["use_pickle"] or payload["tensor_meta"] is None:
                raise InvalidParameter(f"a .pt2 file must hold its tensors unpickled, got {name} as a pickle.")
            stored[name] = _tensor(archive.read(f"{folder}/{payload['path_name']}"), payload["tensor_meta"])
    return _graph(program["graph_module"], stored)


def _graph(module: dict[str, Any], stored: Mapping[str, torch.Tensor]) -> Graph:
    constants: dict[str, torch.Tensor] = {}
    names: dict[str, str] = {}
    inputs: list[str] = []
    for spec in module["signature"]["input_specs"]:
        ((kind, body),) = spec.items()
        if kind == "user_input":
            inputs.append(body["arg"]["as_tensor"]["name"])
        elif kind in ("parameter", "buffer", "tensor_constant"):
            names[body["arg"]["name"]] = body[f"{kind}_name"]
            constants[body["arg"]["name"]] = stored[body[f"{kind}_name"]]
        else:
            raise unsupported(f"an input of kind {kind}")
    graph = module["graph"]
    outputs = graph["outputs"]
    if len(inputs) != 1 or len(outputs) != 1:
        raise unsupported(f"a module with {len(inputs)} inputs and {len(outputs)} outputs")
    sizes = [size.get("as_int", 0) for size in graph["tensor_values"][inputs[0]]["sizes"]]
    if 0 in sizes[1:] or sizes == [0]:
        raise InvalidParameter(f"a net must have a fixed number of features, got input sizes {sizes}, 0 for dynamic.")
    return Graph(
        ops=tuple(op for node in graph["nodes"] for op in _op(node)),
        constants=constants,
        input=inputs[0],
        shape=tuple(size or 2 for size in sizes),  # a dynamic batch is walked with two points
        output=outputs[0]["as_tensor"]["name"],
        names=names,
    )


def _op(node: dict[str, Any]) -> Iterator[Op]:
    """Yield the operation of a node, or nothing where it gives no value (an assertion about sizes)."""
    target = node["target"].removeprefix("torch.ops.")
    args = tuple(_argument(item["arg"]) for item in node["inputs"] if item["kind"] != 2)
    kwargs = {item["name"]: _argument(item["arg"]) for item in node["inputs"] if item["kind"] == 2}
    outputs = [output.popitem() for output in map(dict, node["outputs"])]
    target = target if "." in target else f"operator.{target}"
    if len(outputs) == 1 and outputs[0][0] != "as_tensors":
        value = outputs[0][1]
        name = value.get("name") or value.get("as_name") if isinstance(value, dict) else None
        if name:
            yield Op(str(name), target, args, kwargs)
        return
    names = [item["name"] for kind, value in outputs for item in (value if kind == "as_tensors" else [value])]
    if names:  # several results: one operation, and one for each that picks it
        together = "/".join(names)
        yield Op(together, target, args, kwargs)
        yield from (Op(name, "_operator.getitem", (Ref(together), k), {}) for k, name in enumerate(names))


def _argument(argument: dict[str, Any]) -> Any:
    """Return one argument of a stored node."""
    ((kind, value),) = argument.items()
    if kind in ("as_int", "as_ints", "as_float", "as_floats", "as_bool", "as_bools", "as_string"):
        return value
    if kind == "as_tensor":
        return Ref(value["name"])
    if kind == "as_tensors":
        return [Ref(item["name"]) for item in value]
    if kind == "as_optional_tensor":
        return _argument(value)
    if kind == "as_sym_int":
        return value["as_int"] if "as_int" in value else Ref(value["as_name"])
    if kind == "as_sym_ints":
        return [item["as_int"] if "as_int" in item else Ref(item["as_name"]) for item in value]
    if kind == "as_scalar_type":
        return _dtypes()[value]
    return None  # as_none, and layouts, devices and memory formats, which change no value


def _dtypes() -> dict[int, torch.dtype]:
    """Return the numbers of the archive's format for the dtypes that can occur in a net."""
    import torch

    floating = {6: torch.float16, 7: torch.float32, 8: torch.float64, 13: torch.bfloat16}
    return floating | {1: torch.uint8, 2: torch.int8, 3: torch.int16, 4: torch.int32, 5: torch.int64, 12: torch.bool}


def _tensor(data: bytes, meta: dict[str, Any]) -> torch.Tensor:
    import torch

    size, stride = ([item["as_int"] for item in meta[key]] for key in ("sizes", "strides"))
    if not data:
        return torch.zeros(size, dtype=_dtypes()[meta["dtype"]])
    flat = torch.frombuffer(bytearray(data), dtype=_dtypes()[meta["dtype"]])
    return torch.as_strided(flat, size, stride, meta["storage_offset"]["as_int"]).clone()
