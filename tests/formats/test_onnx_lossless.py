"""A rewrite changes the nodes that it must, and not a byte of anything else."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

import padaudit
from padaudit.errors import InputError

sys.path.insert(0, str(Path(__file__).parent))
import onnx_bytes as ob
from onnx_bytes import attribute, conv, entry, fixed64, graph, model, node, rec, tensor, weight

FIXTURES = sorted((Path(__file__).parents[2] / "fixtures").glob("*.onnx"))
LIGHT = sorted((Path(onnx.__file__).parent / "backend/test/data/light").glob("light_*.onnx"))
STYLES = ("pad", "attrs")
SIZES = (1, 4095, 4096, 4097, 100_000)
"""Around the size above which the reader leaves a tensor in the file."""


def rewritten(folder: Path, data: bytes, name: str = "m", **options: Any) -> bytes:
    """Return the bytes that a rewrite makes of a model's bytes."""
    source, target = folder / f"{name}.onnx", folder / f"{name}.out.onnx"
    source.write_bytes(data)
    result = padaudit.rewrite(source, target, **{"verify": "none", **options})
    assert result.written
    assert source.read_bytes() == data
    return target.read_bytes()


# --- models that are odd, but right -------------------------------------------------------

UNKNOWN = rec(50, 7) + rec(1000, "text") + fixed64(1001, 2**63 + 5) + rec(1002, 1.5)
"""Fields that no version of ONNX has, of every wire type, small and large numbers."""
LAST_FIELD = rec(2**29 - 1, b"\x00\xff")
PROPS = rec(14, entry("key", "value")) + rec(14, entry("key", "other value"))
RELU = node("Relu", ["y"], ["z"], name="relu", extra=rec(NODE_DOC := ob.NODE["doc_string"], "doc"))


def one_conv(
    auto_pad: str,
    *graph_extra: bytes,
    model_extra: bytes = b"",
    conv_extra: bytes = b"",
    attributes: tuple[bytes, ...] = (),
) -> bytes:
    nodes = [conv("x", "y", *attributes, auto_pad=auto_pad, extra=conv_extra), RELU]
    return model(graph(nodes, [weight()], *graph_extra, outputs=["z"]), model_extra)


def initializer(*parts: bytes) -> bytes:
    return rec(ob.GRAPH["initializer"], b"".join(parts))


def sparse(name: str, *extra: bytes) -> bytes:
    return ob.message(
        ob.SPARSE,
        *extra,
        values=tensor(name, (2,), raw_data=struct.pack("<2f", 3.0, -1.0)),
        indices=tensor(f"{name}_at", (2,), ob.INT64, int64_data=[1, 4]),
        dims=[7],
    )


def training(*extra: bytes) -> bytes:
    step = graph(
        [node("Identity", ["lr"], ["out"], name="step")], [tensor("lr", (), float_data=0.5)]
    )
    return ob.message(
        ob.TRAINING,
        *extra,
        initialization=step,
        algorithm=step,
        initialization_binding=entry("w", "out"),
        update_binding=entry("w", "out"),
    )


def function(name: str, *extra: bytes, nodes: tuple[bytes, ...] = ()) -> bytes:
    body = nodes or (node("Relu", ["a"], ["c"], name="inner"),)
    return ob.message(
        ob.FUNCTION,
        *extra,
        name=name,
        input="a",
        output="c",
        node=body,
        opset_import=rec(2, 17),
        domain="local",
    )


def reversed_fields(content: bytes) -> bytes:
    """Return a message with its fields from the last number to the first; lists keep order."""
    found = sorted(ob.records(content), key=lambda record: -record.number)
    return b"".join(record.raw for record in found)


def odd_order(auto_pad: str) -> bytes:
    """Initializers between nodes, the name at the end, attributes before inputs."""
    step = [
        initializer(tensor("unused", (3,), raw_data=bytes(12))),
        rec(1, reversed_fields(conv(auto_pad=auto_pad))),
        rec(12, ob.value_info("z", None)),
        initializer(reversed_fields(weight())),
        rec(10, "doc of the graph"),
        rec(1, RELU),
        rec(11, ob.INPUT),
        initializer(tensor("also unused", (1,), float_data=[2.0])),
        rec(2, "g"),
    ]
    return b"".join([rec(7, b"".join(step)), rec(8, rec(2, 17)), PROPS, rec(2, "maker"), rec(1, 8)])


def other_encodings(auto_pad: str) -> bytes:
    """Numbers of attributes, dims and shapes packed; over-long tags, lengths and numbers."""
    strides = rec(1, "strides") + ob.packed(8, [3, 2]) + rec(20, 7, width=3)
    padding = [attribute("auto_pad", s=auto_pad)] if auto_pad else []
    step = node("Conv", ["x", "w"], ["y"], strides, *padding, name="conv")
    values = ob.packed(1, [4, 2, 4, 3]) + b"".join(
        item.raw for item in ob.records(weight()) if item.number != 1
    )
    unpacked = tensor("unpacked", (3,), ob.INT64, int64_data=[1, -2, 3])
    inner = [
        rec(1, step, width=4),
        rec(1, RELU, tag_width=2),
        initializer(values),
        rec(5, unpacked, width=5),
        rec(5, rec(1, 2, width=9) + rec(2, 1, width=4) + rec(8, "wide") + rec(9, bytes(8))),
        rec(2, "g", width=3),
        rec(11, ob.INPUT, width=5, tag_width=3),
        rec(12, ob.value_info("z", None)),
    ]
    return rec(1, 8, width=10) + rec(8, rec(2, 17, width=2), width=3) + rec(7, b"".join(inner))


def repeated_singulars(auto_pad: str) -> bytes:
    """Singular fields twice: the last one holds."""
    step = rec(4, "Relu") + rec(3, "first") + conv(auto_pad=auto_pad)
    twice = tensor("twice", (2,), raw_data=[bytes(8), struct.pack("<2f", 1.0, 2.0)])
    inner = graph([step, RELU], [weight(), twice], rec(2, "h"), rec(2, "g"), outputs=["z"])
    return rec(6, "one") + rec(1, 3) + model(inner, rec(6, "two"), rec(2, ""), rec(2, "maker"))


def empty_parts(auto_pad: str) -> bytes:
    """Records of length 0: an optional input, an empty doc string, domain and tensor."""
    extra = rec(ob.NODE["input"], "") + rec(ob.NODE["doc_string"], "") + rec(ob.NODE["domain"], "")
    return one_conv(
        auto_pad, initializer(tensor("none", (0,), raw_data=b"")), rec(10, ""), conv_extra=extra
    )


def foreign(auto_pad: str) -> bytes:
    """Custom nodes with attributes of every kind, in domains of their own."""
    everything = [
        attribute("f", f=1.5),
        attribute("i", i=-3),
        attribute("s", s=b"\xff\x00"),
        attribute("t", t=tensor("t", (2,), raw_data=bytes(8)) + UNKNOWN),
        attribute("floats", floats=[1.0, -2.5]),
        attribute("ints", ints=[-1, 2**62]),
        attribute("strings", strings=[b"a", b"\xfe"]),
        attribute("tensors", tensors=[tensor("t0", (1,), int32_data=[5]), tensor("t1", (0,))]),
        attribute("sparse", sparse_tensor=sparse("sv")),
        attribute("sparses", sparse_tensors=[sparse("s1"), sparse("s2")]),
        rec(1, "untyped") + rec(3, 4),
        rec(1, "new kind") + rec(20, 77) + UNKNOWN,
    ]
    custom = node("Custom", ["y"], ["u"], *everything, name="custom", domain="my.domain")
    nodes = [conv(auto_pad=auto_pad), RELU, custom]
    imports = rec(8, rec(1, "my.domain") + rec(2, 3) + UNKNOWN)
    return model(graph(nodes, [weight()], outputs=["z", "u"]), imports)


ODD: dict[str, Callable[[str], bytes]] = {
    "unknown fields: model": lambda pad: one_conv(pad, model_extra=UNKNOWN + LAST_FIELD),
    "unknown fields: graph": lambda pad: one_conv(pad, UNKNOWN, LAST_FIELD),
    "unknown fields: touched node": lambda pad: one_conv(pad, conv_extra=UNKNOWN + LAST_FIELD),
    "unknown fields: its attribute": lambda pad: one_conv(
        pad, attributes=(attribute("group", i=1) + UNKNOWN,)
    ),
    "unknown fields: other node": lambda pad: one_conv(
        pad, rec(1, node("Abs", ["z"], ["a"], attribute("q", i=1) + UNKNOWN, extra=UNKNOWN))
    ),
    "unknown fields: tensor": lambda pad: one_conv(
        pad, initializer(UNKNOWN, tensor("t", (1,), float_data=[1.0]), UNKNOWN)
    ),
    "unknown fields: large tensor": lambda pad: one_conv(
        pad,
        initializer(UNKNOWN, tensor("t", (2000,), raw_data=bytes(range(250)) * 32), LAST_FIELD),
    ),
    "unknown fields: function": lambda pad: one_conv(
        pad, model_extra=rec(25, function("f", UNKNOWN)) + rec(8, rec(1, "local") + rec(2, 1))
    ),
    "unknown fields: types": lambda pad: one_conv(
        pad, rec(13, ob.value_info("y", (1, 4, 6, 7)) + UNKNOWN), rec(13, rec(1, "q") + UNKNOWN)
    ),
    "metadata": lambda pad: one_conv(
        pad,
        rec(16, entry("graph", "1") + UNKNOWN),
        initializer(tensor("t", (0,)), rec(16, entry("tensor", "1"))),
        model_extra=PROPS + rec(25, function("f", rec(14, entry("function", "1")))),
        conv_extra=rec(9, entry("node", "1")) + rec(9, entry("node", "2")),
    ),
    "doc strings": lambda pad: one_conv(
        pad,
        rec(10, "graph \N{SNOWMAN}"),
        initializer(tensor("t", (0,), doc_string="tensor")),
        model_extra=rec(6, "model " * 900),
        conv_extra=rec(NODE_DOC, "node " * 900),
    ),
    "quantization annotations": lambda pad: one_conv(
        pad, rec(14, rec(1, "y") + rec(2, entry("SCALE_TENSOR", "w") + UNKNOWN) + UNKNOWN)
    ),
    "training info": lambda pad: one_conv(
        pad, model_extra=rec(20, training()) + rec(20, training(UNKNOWN))
    ),
    "sparse initializers": lambda pad: one_conv(
        pad, rec(15, sparse("s1", UNKNOWN)), rec(15, sparse("s2"))
    ),
    "odd order": odd_order,
    "other encodings": other_encodings,
    "repeated singular fields": repeated_singulars,
    "empty parts": empty_parts,
    "foreign nodes": foreign,
}


@pytest.mark.parametrize("case", ODD)
def test_the_odd_models_are_models(case: str) -> None:
    """The cases themselves: protobuf reads them, and the Conv is where it should be."""
    proto = onnx.load_model_from_string(ODD[case]("SAME_UPPER"))
    found = {item.name: item for item in proto.graph.node}["conv"]
    assert found.op_type == "Conv"
    assert {item.name for item in found.attribute} >= {"auto_pad", "strides"}


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("case", ODD)
def test_nothing_to_do_leaves_every_byte(case: str, style: str, tmp_path: Path) -> None:
    data = ODD[case]("")
    assert rewritten(tmp_path, data, style=style) == data


@pytest.mark.parametrize("path", FIXTURES + LIGHT, ids=lambda path: path.stem)
def test_rewriting_real_models_adds_nodes_and_keeps_the_rest(path: Path, tmp_path: Path) -> None:
    data = path.read_bytes()
    for style in STYLES:
        target = tmp_path / f"{style}.onnx"
        result = padaudit.rewrite(path, target, style=style, verify="none")
        after = target.read_bytes()
        if not result.plan.edits:
            assert after == data
            continue
        assert after != data
        names = {ob.text(item, ob.NODE["name"]) for item in ob.all_of(data, "node")}
        touched = {edit.site.op.name for edit in result.plan.edits}
        touched |= {""} if touched - names else set()
        added = ob.compare(data, after, touched)
        ob.assert_only_nodes_and_constants(added)
        computed = any(edit.pads is None for edit in result.plan.edits)
        assert style == "pad" or computed or not added


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("case", ODD)
def test_only_the_touched_node_changes(case: str, style: str, tmp_path: Path) -> None:
    data = ODD[case]("SAME_UPPER")
    before = padaudit.check(_file(tmp_path, data)).sites
    after = rewritten(tmp_path, data, style=style)
    added = ob.compare(data, after, {"conv"})
    ob.assert_only_nodes_and_constants(added)
    assert bool(added) == (style == "pad")
    (site,) = padaudit.check(_file(tmp_path, after)).sites
    assert not site.implicit
    assert site.id == before[0].id
    proto = onnx.load_model_from_string(after)
    found = {item.name: item for item in proto.graph.node}["conv"]
    pads = [list(item.ints) for item in found.attribute if item.name == "pads"]
    assert pads == ([[1, 0, 1, 1]] if style == "attrs" else [])


def _file(folder: Path, data: bytes) -> Path:
    path = folder / "given.onnx"
    path.write_bytes(data)
    return path


def test_the_padded_numbers_of_an_odd_model_are_right(tmp_path: Path) -> None:
    """The output runs, and computes what it did: not only bytes are kept."""
    for case in ("odd order", "other encodings", "repeated singular fields"):
        path = _file(tmp_path, ODD[case]("SAME_UPPER"))
        result = padaudit.rewrite(path, tmp_path / "out.onnx", verify="auto")
        assert result.written
        assert result.verification.status.value == "equivalent", case


# --- bodies and functions -----------------------------------------------------------------


def branch(label: str, inner: bytes, output: str, *extra: bytes) -> bytes:
    weights = tensor(f"{output}_unused", (3,), raw_data=bytes(12)) + UNKNOWN
    body = graph([inner], [weights], *extra, inputs=[], outputs=[output])
    return attribute(f"{label}_branch", g=body) + UNKNOWN


def nested(depth: int) -> bytes:
    """Return a model whose Conv is ``depth`` bodies deep, with things around it at each level."""
    inner = conv("x", "t0")
    for level in range(depth):
        then = branch("then", inner, f"t{level}", rec(10, f"level {level}"), UNKNOWN)
        identity = node("Identity", ["x"], [f"e{level}"], name=f"id{level}")
        other = branch("else", identity, f"e{level}")
        output = f"t{level + 1}" if level < depth - 1 else "y"
        inner = node("If", ["c"], [output], then, other, name=f"if{level}", extra=UNKNOWN)
    condition = tensor("c", (), 9, int32_data=[1])
    return model(graph([inner], [weight(), condition], UNKNOWN), UNKNOWN)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("depth", [1, 2, 5])
def test_around_a_node_in_a_body_nothing_changes(depth: int, style: str, tmp_path: Path) -> None:
    data = nested(depth)
    after = rewritten(tmp_path, data, style=style)
    added = ob.compare(data, after, {"conv"})
    ob.assert_only_nodes_and_constants(added)
    assert bool(added) == (style == "pad")
    (site,) = padaudit.check(_file(tmp_path, after)).sites
    assert not site.implicit


@pytest.mark.parametrize("style", STYLES)
def test_around_a_node_in_a_function_nothing_changes(style: str, tmp_path: Path) -> None:
    inside = (
        node("Constant", [], ["k"], attribute("value", t=weight()), name="k") + UNKNOWN,
        conv("a", "c", weight="k"),
    )
    functions = rec(25, function("other", UNKNOWN)) + rec(25, function("f", UNKNOWN, nodes=inside))
    call = node("f", ["x"], ["y"], name="call", domain="local")
    imports = rec(8, rec(1, "local") + rec(2, 1))
    data = model(graph([call]), functions, PROPS, imports, UNKNOWN)
    after = rewritten(tmp_path, data, style=style)
    added = ob.compare(data, after, {"conv"})
    ob.assert_only_nodes_and_constants(added)
    assert {holder for holder, _ in added} <= {"function"}
    (site,) = padaudit.check(_file(tmp_path, after)).sites
    assert not site.implicit


def test_several_edits_at_several_levels_keep_what_is_between(tmp_path: Path) -> None:
    """Edits whose lengths depend on each other, in one file."""
    inner = ob.records(ob.records(nested(2))[1].value)
    chosen = next(item for item in inner if item.number == 1)
    nodes = [
        conv("x", "p", name="first"),
        node("Abs", ["p"], ["q"], name="abs", extra=UNKNOWN),
        conv("x", "r", name="second", auto_pad="SAME_LOWER"),
    ]
    records = [*(rec(1, item) for item in nodes), *(item.raw for item in inner), UNKNOWN]
    data = model(b"".join(records), UNKNOWN)
    assert chosen.raw in data
    for style in STYLES:
        after = rewritten(tmp_path, data, style=style)
        added = ob.compare(data, after, {"first", "second", "conv"})
        ob.assert_only_nodes_and_constants(added)
        assert len(padaudit.check(_file(tmp_path, after)).sites) == 3
        assert not any(site.implicit for site in padaudit.check(_file(tmp_path, after)).sites)


def test_a_length_may_need_more_bytes_than_before(tmp_path: Path) -> None:
    """Also the number of the length's own bytes changes, where a message was just below 16384."""
    seen = set()
    for size in [*range(60), *range(15_300, 16_100, 8)]:
        data = one_conv("SAME_UPPER", rec(10, "d" * size))
        after = rewritten(tmp_path, data)
        ob.assert_only_nodes_and_constants(ob.compare(data, after, {"conv"}))
        lengths = [len(ob.only(item, 7)) for item in (data, after)]
        seen.add(tuple(len(ob.varint(length)) for length in lengths))
    assert (2, 3) in seen


# --- every tensor's values ----------------------------------------------------------------


def payloads(size: int) -> list[bytes]:
    """Return tensors with about ``size`` bytes of values in each of the fields for them."""
    numbers = [(index * 37 + 11) % 127 for index in range(size)]
    floats = [float(number) for number in numbers[: max(size // 4, 1)]]
    few = numbers[: min(size // 2, 3000)]
    wide = numbers[: max(size // 8, 1)]
    return [
        tensor("raw", (size,), ob.INT8, raw_data=bytes(numbers)),
        tensor("float", (len(floats[:3000]),), float_data=floats[:3000]),
        tensor("float packed", (len(floats),), rec(4, struct.pack(f"<{len(floats)}f", *floats))),
        tensor("int32", (len(few),), ob.INT32, int32_data=few),
        tensor("int32 packed", (size,), ob.INT32, ob.packed(5, numbers)),
        tensor("int64", (size,), ob.INT64, ob.packed(7, numbers)),
        tensor("int64 negative", (2,), ob.INT64, int64_data=[-1, -(2**63)]),
        tensor("double", (len(wide),), ob.DOUBLE, rec(10, struct.pack(f"<{len(wide)}d", *wide))),
        tensor("uint64", (size,), ob.UINT64, ob.packed(11, numbers)),
        tensor("string", (1,), ob.STRING, string_data=bytes(numbers)),
        tensor("strings", (2,), ob.STRING, string_data=[b"", bytes(numbers)]),
    ]


def _constants(tensors: list[bytes], suffix: str = "") -> list[bytes]:
    named = [(f"k{index}{suffix}", item) for index, item in enumerate(tensors)]
    return [
        node("Constant", [], [name], attribute("value", t=item), name=name) for name, item in named
    ]


def in_initializers(tensors: list[bytes]) -> bytes:
    return one_conv("SAME_UPPER", *map(initializer, tensors))


def in_constants(tensors: list[bytes]) -> bytes:
    nodes = [conv(), *_constants(tensors)]
    return model(graph(nodes, [weight()]))


def in_lists(tensors: list[bytes]) -> bytes:
    custom = node("Custom", ["x"], ["u"], attribute("many", tensors=tensors), name="u", domain="my")
    return model(graph([custom, conv()], [weight()]), rec(8, rec(1, "my") + rec(2, 1)))


def in_the_touched_node(tensors: list[bytes]) -> bytes:
    return one_conv("SAME_UPPER", attributes=(attribute("extra", tensors=tensors),))


def in_sparse_values(tensors: list[bytes]) -> bytes:
    at = tensor("at", (1,), ob.INT64, int64_data=[0])
    parts = [
        rec(15, ob.message(ob.SPARSE, values=item, indices=at, dims=[200_000])) for item in tensors
    ]
    return one_conv("SAME_UPPER", *parts)


def in_sparse_indices(tensors: list[bytes]) -> bytes:
    one = [tensor(f"v{index}", (1,), float_data=[1.0]) for index in range(len(tensors))]
    parts = [
        rec(15, ob.message(ob.SPARSE, values=value, indices=item, dims=[200_000]))
        for value, item in zip(one, tensors, strict=True)
    ]
    return one_conv("SAME_UPPER", *parts)


def in_bodies(tensors: list[bytes]) -> bytes:
    body = graph([*_constants(tensors, "b"), conv("x", "t")], tensors, inputs=[], outputs=["t"])
    other = graph([node("Identity", ["x"], ["e"])], tensors, inputs=[], outputs=["e"])
    branches = [attribute("then_branch", g=body), attribute("else_branch", g=other)]
    choice = node("If", ["c"], ["y"], *branches, name="if")
    return model(graph([choice], [weight(), tensor("c", (), 9, int32_data=[0])]))


def in_functions(tensors: list[bytes]) -> bytes:
    inside = (*_constants(tensors), conv("a", "c", weight="w"))
    given = [attribute(f"d{index}", t=item) for index, item in enumerate(tensors)]
    body = ob.message(
        ob.FUNCTION, name="f", input=["a", "w"], output="c", node=inside,
        opset_import=rec(2, 17), domain="local", attribute_proto=given,
    )  # fmt: skip
    call = node("f", ["x", "w"], ["y"], name="call", domain="local")
    return model(graph([call], [weight()]), rec(25, body), rec(8, rec(1, "local") + rec(2, 1)))


def in_training_info(tensors: list[bytes]) -> bytes:
    step = graph([], tensors, inputs=[], outputs=[])
    info = ob.message(ob.TRAINING, initialization=step, algorithm=step)
    return one_conv("SAME_UPPER", model_extra=rec(20, info))


PLACES: dict[str, Callable[[list[bytes]], bytes]] = {
    "initializers": in_initializers,
    "Constant attributes": in_constants,
    "lists of tensors": in_lists,
    "the touched node": in_the_touched_node,
    "sparse values": in_sparse_values,
    "sparse indices": in_sparse_indices,
    "bodies": in_bodies,
    "functions": in_functions,
    "training info": in_training_info,
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("place", PLACES)
def test_every_tensor_keeps_its_values(place: str, size: int, tmp_path: Path) -> None:
    tensors = payloads(size)
    data = PLACES[place](tensors)
    for style in STYLES:
        after = rewritten(tmp_path, data, style=style)
        assert b"padaudit.bytes" not in after
        ob.assert_only_nodes_and_constants(ob.compare(data, after, {"conv"}))
        before, found = (ob.all_of(item, "tensor") for item in (data, after))
        for item in tensors:
            assert place == "the touched node" or found.count(item) == before.count(item) > 0


def test_the_limit_of_small_tensors_is_no_edge(tmp_path: Path) -> None:
    """Tensor messages of every size around 4096 bytes, not only values of such sizes."""
    for size in range(4080, 4110):
        filler = size - len(tensor("t", (1,), float_data=[2.5], doc_string="d" * 4000)) + 4000
        item = tensor("t", (1,), float_data=[2.5], doc_string="d" * filler)
        assert len(item) == size
        data = one_conv("SAME_UPPER", initializer(item))
        after = rewritten(tmp_path, data)
        ob.assert_only_nodes_and_constants(ob.compare(data, after, {"conv"}))


def test_values_given_twice_are_kept_twice(tmp_path: Path) -> None:
    """A large raw_data field twice, with unknown fields before, between and after."""
    first, second = bytes([1]) * 6000, bytes([2]) * 6000
    content = b"".join(
        [rec(60, 1), rec(1, 1500), rec(9, first), UNKNOWN, rec(2, 1), rec(9, second), rec(8, "t")]
    )
    data = one_conv("SAME_UPPER", initializer(content, LAST_FIELD))
    after = rewritten(tmp_path, data)
    ob.assert_only_nodes_and_constants(ob.compare(data, after, {"conv"}))
    found = {item.name: item for item in onnx.load_model_from_string(after).graph.initializer}
    assert found["t"].raw_data == second


def test_the_weights_of_the_touched_node_stay(tmp_path: Path) -> None:
    """A weight above the limit is referenced while the kernel's shape is read from it."""
    large = tensor("w", (90, 2, 4, 3), raw_data=struct.pack("<2160f", *map(float, range(2160))))
    data = model(graph([conv()], [large]))
    for style in STYLES:
        after = rewritten(tmp_path, data, style=style)
        assert ob.all_of(after, "tensor").count(large) == 1
        (site,) = padaudit.check(_file(tmp_path, after)).sites
        assert tuple(site.window.kernel_shape) == (4, 3)


# --- messages that are split, or merged ---------------------------------------------------


def test_a_group_is_kept_or_refused(tmp_path: Path) -> None:
    """The wire types 3 and 4, which no tool writes any more, around two fields."""
    group = ob.varint(70 << 3 | 3) + rec(1, 5) + rec(2, "in") + ob.varint(70 << 3 | 4)
    source, target = tmp_path / "m.onnx", tmp_path / "out.onnx"
    source.write_bytes(one_conv("SAME_UPPER", model_extra=group))
    try:
        padaudit.rewrite(source, target, verify="none")
    except InputError as error:
        refusal = str(error)
    else:
        refusal = ""
    assert bool(refusal) != target.exists()
    assert str(source) in refusal or target.read_bytes().endswith(group)


def test_a_graph_in_two_records_is_merged_or_refused(tmp_path: Path) -> None:
    """Protobuf merges a message field that is there twice; half a model must never come out."""
    whole = graph([conv(), RELU], [weight()], outputs=["z"])
    halves = [b"", b""]
    for index, record in enumerate(ob.records(whole)):
        halves[index % 2] += record.raw
    data = rec(1, 8) + rec(7, halves[0]) + rec(8, rec(2, 17)) + rec(7, halves[1])
    wanted = onnx.load_model_from_string(data)
    assert len(wanted.graph.node) == 2
    source, target = tmp_path / "m.onnx", tmp_path / "out.onnx"
    source.write_bytes(data)
    try:
        result = padaudit.rewrite(source, target, verify="none")
    except InputError as error:
        refusal = str(error)
    else:
        refusal = ""
    if refusal:
        assert str(source) in refusal
        assert not target.exists()
        return
    assert len(result.plan.edits) == 1
    assert not any(site.implicit for site in padaudit.check(target).sites)
    after = onnx.load(target)
    assert [item.op_type for item in after.graph.node] == ["Pad", "Conv", "Relu"]
    assert wanted.graph.initializer[0] in list(after.graph.initializer)
    assert list(after.graph.input) == list(wanted.graph.input)


def test_a_tensor_attribute_in_two_records_is_kept(tmp_path: Path) -> None:
    """Protobuf merges the two halves of ``t``; untouched, they stay two halves."""
    big = bytes(range(256)) * 20
    split = rec(1, "value") + rec(5, rec(1, 5120) + rec(2, ob.INT8)) + rec(5, rec(9, big))
    constant = node("Constant", [], ["k"], split + rec(20, 4), name="k")
    data = model(graph([constant, conv()], [weight()]))
    after = rewritten(tmp_path, data)
    ob.assert_only_nodes_and_constants(ob.compare(data, after, {"conv"}))
    value = onnx.load_model_from_string(after).graph.node
    (kept,) = [item.attribute[0].t for item in value if item.name == "k"]
    assert (list(kept.dims), kept.raw_data) == ([5120], big)


def test_trailing_and_leading_unknown_records_stay_where_they_are(tmp_path: Path) -> None:
    data = UNKNOWN + LAST_FIELD + ob.conv_model() + UNKNOWN
    after = rewritten(tmp_path, data)
    assert after.startswith(UNKNOWN + LAST_FIELD)
    assert after.endswith(UNKNOWN)


# --- the same again -----------------------------------------------------------------------


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("case", ODD)
def test_rewriting_twice_changes_nothing(case: str, style: str, tmp_path: Path) -> None:
    once = rewritten(tmp_path, ODD[case]("SAME_UPPER"), "once", style=style)
    assert rewritten(tmp_path, once, "twice", style=style) == once


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_rewriting_a_fixture_twice_changes_nothing(path: Path, tmp_path: Path) -> None:
    for style in STYLES:
        once = rewritten(tmp_path, path.read_bytes(), "once", style=style)
        assert rewritten(tmp_path, path.read_bytes(), "again", style=style) == once
        assert rewritten(tmp_path, once, "twice", style=style) == once


def test_the_output_does_not_depend_on_the_process(tmp_path: Path) -> None:
    """Same bytes whatever the seed of Python's hashes, the file's name and the folder."""
    path = next(item for item in FIXTURES if item.stem == "auto-pad-nested")
    outputs = []
    for seed in ("1", "2"):
        folder = tmp_path / seed
        folder.mkdir()
        source = folder / f"model{seed}.onnx"
        source.write_bytes(path.read_bytes())
        command = [sys.executable, "-m", "padaudit", "rewrite", "--explicit", str(source)]
        done = subprocess.run(
            [*command, "--verify", "none", "-o", str(folder / "out.onnx")],
            env={**os.environ, "PYTHONHASHSEED": seed, "NO_COLOR": "1"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        outputs.append((folder / "out.onnx").read_bytes())
    assert outputs[0] == outputs[1]


# --- memory -------------------------------------------------------------------------------

MEASURED = """
import runpy, sys
try:
    runpy.run_module("padaudit", run_name="__main__", alter_sys=True)
finally:
    lines = open("/proc/self/status").read().splitlines()
    peak = next(line for line in lines if line.startswith("VmHWM"))
    open(sys.argv[-1] + ".peak", "w").write(peak.split()[1])
"""
"""Peak resident memory of the process itself (getrusage includes what was before its exec)."""


def peak_megabytes(*arguments: str | Path) -> float:
    """Return the peak memory of a command; its last argument must name a file to write beside."""
    if not Path("/proc/self/status").exists():
        pytest.skip("/proc/self/status is missing: the peak of a process can't be read")
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *map(str, arguments)],
        env={**os.environ, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    assert "Traceback" not in done.stderr
    return int(Path(f"{arguments[-1]}.peak").read_text()) / 1024


def large_model(path: Path, megabytes: int = 300) -> int:
    """Write a model whose initializer has ``megabytes`` of raw data; return where they begin."""
    size = megabytes << 20
    head = rec(1, size // 4) + rec(2, 1) + rec(8, "big")
    data_tag = ob.varint(9 << 3 | 2) + ob.varint(size)
    tensor_tag = ob.varint(5 << 3 | 2) + ob.varint(len(head) + len(data_tag) + size)
    before = graph([conv()], [weight()])
    inside = before + tensor_tag + head + data_tag
    after = rec(10, "behind the weights") + UNKNOWN
    start = rec(1, 8) + rec(8, rec(2, 17)) + ob.varint(7 << 3 | 2)
    start += ob.varint(len(inside) + size + len(after)) + inside
    with path.open("wb") as file:
        file.write(start)
        chunk = bytes(range(256)) * 4096
        for _ in range(megabytes):
            file.write(chunk)
        file.write(after + UNKNOWN)
    return len(start)


def test_memory_does_not_grow_with_the_weights(tmp_path: Path) -> None:
    path, target = tmp_path / "big.onnx", tmp_path / "out.onnx"
    try:
        at = large_model(path)
        assert peak_megabytes("check", path) < 150
        rewrite = ["rewrite", "--explicit", "--verify", "none", path, "-o", target]
        assert peak_megabytes(*rewrite) < 150
        grown = target.stat().st_size - path.stat().st_size
        assert 0 < grown < 2000
        with path.open("rb") as old, target.open("rb") as new:
            old.seek(at - 20)
            new.seek(new.read(9000).index(old.read(20)) + 20)
            for _ in range(300):
                assert new.read(1 << 20) == old.read(1 << 20)
    finally:
        path.unlink(missing_ok=True)
        target.unlink(missing_ok=True)
