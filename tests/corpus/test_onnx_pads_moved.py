"""``--hoist`` (pads of convolutions become Pad nodes) and folding Pads back by ``--style attrs``.

Both change nothing in what a model computes; the amounts and results come from `golden`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import golden
import numpy as np
import pytest
from onnx import ModelProto, NodeProto, helper, numpy_helper
from onnx_corpus import LATEST, Array, body, function, ints, model, node, tensor, value
from ort_worker import OnnxRuntime

import padaudit
from padaudit.errors import UsageError

SHAPE = (1, 2, 13, 11)
WEIGHT, SECOND = ints((3, 2, 4, 3), 1), ints((2, 3, 3, 2), 2)
DATA = ints(SHAPE)


def rewritten(proto: ModelProto, folder: Path, **how: Any) -> ModelProto:
    """Rewrite through files; a second time changes no byte."""
    source, target, again = (folder / f"{name}.onnx" for name in ("in", "out", "again"))
    source.write_bytes(proto.SerializeToString())
    how = {"verify": "site", **how}
    result = padaudit.rewrite(source, target, **how)
    assert result.written, result.verification
    assert not padaudit.rewrite(target, again, **{**how, "verify": "none"}).plan.edits
    assert again.read_bytes() == target.read_bytes()
    if not result.plan.edits:
        assert target.read_bytes() == source.read_bytes()
    return ModelProto.FromString(target.read_bytes())


def attribute(made: NodeProto, name: str) -> Any:
    found = [item for item in made.attribute if item.name == name]
    return helper.get_attribute_value(found[0]) if found else None


def types(proto: ModelProto) -> list[str]:
    return [made.op_type for made in proto.graph.node if made.op_type != "Constant"]


def pad_amounts(proto: ModelProto, pad: NodeProto) -> list[int]:
    given = {item.name: item for item in proto.graph.initializer}
    if len(pad.input) > 1:
        return [int(number) for number in numpy_helper.to_array(given[pad.input[1]])]
    return list(attribute(pad, "pads"))


# --- hoisting -----------------------------------------------------------------------------


def two_convs(opset: int = 17, ir: int = 8) -> ModelProto:
    """Return a Conv of unequal pads and one of equal pads, and a pool with pads."""
    nodes = [
        node("Conv", "x w", "h", "unequal", strides=[2, 3], pads=[1, 0, 2, 1]),
        node("Conv", "h v", "c", "equal", pads=[2, 1, 2, 1]),
        node("MaxPool", "c", "y", "pool", kernel_shape=[3, 2], pads=[0, 1, 2, 0]),
    ]
    return model(
        nodes, {"x": SHAPE}, [tensor("w", WEIGHT), tensor("v", SECOND)], opset=opset, ir=ir
    )


def result_of_two_convs() -> Array:
    first = golden.conv(DATA, WEIGHT, strides=[2, 3], mode=[1, 0, 2, 1])
    second = golden.conv(first, SECOND, mode=[2, 1, 2, 1])
    return golden.max_pool(second, [3, 2], mode=[0, 1, 2, 0])[0]


@pytest.mark.parametrize(("opset", "ir"), [(9, 4), (11, 3), (17, 8), (LATEST, 10)])
@pytest.mark.parametrize("hoist", ["asymmetric", "all"])
def test_pads_of_convolutions_become_nodes(
    hoist: str, opset: int, ir: int, tmp_path: Path, runtime: OnnxRuntime
) -> None:
    after = rewritten(two_convs(opset, ir), tmp_path, hoist=hoist)
    pads = [made for made in after.graph.node if made.op_type == "Pad"]
    told = {made.name: attribute(made, "pads") for made in after.graph.node}
    assert told["unequal"] is None
    assert told["pool"] == [0, 1, 2, 0]
    if hoist == "asymmetric":
        assert types(after) == ["Pad", "Conv", "Conv", "MaxPool"]
        assert told["equal"] == [2, 1, 2, 1]
    else:
        assert types(after) == ["Pad", "Conv", "Pad", "Conv", "MaxPool"]
        assert told["equal"] is None
    if ir > 3:
        amounts = [[0, 0, 1, 0, 0, 0, 2, 1], [0, 0, 2, 1, 0, 0, 2, 1]]
        assert [pad_amounts(after, pad) for pad in pads] == amounts[: len(pads)]
    ((got,),) = runtime.run(after.SerializeToString(), [{"x": DATA}])
    np.testing.assert_array_equal(got, result_of_two_convs())


@pytest.mark.parametrize("verify", ["site", "auto"])
def test_hoisting_makes_implicit_convolutions_explicit_too(
    verify: str, tmp_path: Path, runtime: OnnxRuntime
) -> None:
    nodes = [
        node("Conv", "x w", "h", "same", strides=[2, 3], auto_pad="SAME_LOWER"),
        node("Conv", "h v", "y", "told", auto_pad="NOTSET", pads=[0, 1, 1, 0]),
    ]
    proto = model(nodes, {"x": SHAPE}, [tensor("w", WEIGHT), tensor("v", SECOND)])
    after = rewritten(proto, tmp_path, hoist="asymmetric", verify=verify)
    assert types(after) == ["Pad", "Conv", "Pad", "Conv"]
    ((got,),) = runtime.run(after.SerializeToString(), [{"x": DATA}])
    between = golden.conv(DATA, WEIGHT, strides=[2, 3], mode="SAME_LOWER")
    np.testing.assert_array_equal(got, golden.conv(between, SECOND, mode=[0, 1, 1, 0]))


def test_hoisting_pads_of_open_size(tmp_path: Path, runtime: OnnxRuntime) -> None:
    made = node("Conv", "x w", "y", "conv", strides=[2, 3], pads=[1, 0, 2, 1])
    proto = model([made], {"x": ("N", 2, "H", "W")}, [tensor("w", WEIGHT)])
    after = rewritten(proto, tmp_path, hoist="asymmetric")
    assert types(after) == ["Pad", "Conv"]
    for size in ((13, 11), (12, 10), (4, 3)):
        data = ints((2, 2, *size))
        ((got,),) = runtime.run(after.SerializeToString(), [{"x": data}])
        expected = golden.conv(data, WEIGHT, strides=[2, 3], mode=[1, 0, 2, 1])
        np.testing.assert_array_equal(got, expected)


def test_nothing_to_hoist_changes_nothing(tmp_path: Path) -> None:
    made = node("Conv", "x w", "y", "conv", pads=[1, 2, 1, 2])
    proto = model([made], {"x": SHAPE}, [tensor("w", WEIGHT)])
    assert rewritten(proto, tmp_path, hoist="asymmetric") == proto


def test_hoisting_excludes_the_style_that_does_the_opposite(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        rewritten(two_convs(), tmp_path, hoist="all", style="attrs")


def test_hoisted_pads_fold_back_into_the_same_attributes(tmp_path: Path) -> None:
    proto = two_convs()
    there = rewritten(proto, tmp_path, hoist="all")
    back = rewritten(there, tmp_path, style="attrs")
    assert types(back) == types(proto)
    for before, after in zip(proto.graph.node, back.graph.node, strict=True):
        assert attribute(after, "pads") == attribute(before, "pads")


def test_the_constants_of_a_folded_pad_go_with_it(tmp_path: Path) -> None:
    """What another node reads stays, and so does a result of the graph."""
    nodes = [
        node("Pad", "x p", "q", "one"),
        node("Conv", "q w", "a", "c1"),
        node("Pad", "a p", "b", "two"),
        node("Conv", "b v", "y", "c2"),
    ]
    amounts = tensor("p", [0, 0, 1, 2, 0, 0, 3, 0])
    given = [amounts, tensor("w", WEIGHT), tensor("v", SECOND)]

    def names(proto: ModelProto) -> list[str]:
        out = rewritten(proto, tmp_path, style="attrs", verify="none")
        assert types(out)[:2] == ["Conv", "Conv"]
        return [item.name for item in out.graph.initializer]

    assert names(model(nodes, {"x": SHAPE}, given)) == ["w", "v"]
    reader = node("Identity", "p", "z", "reader")
    assert names(model([*nodes, reader], {"x": SHAPE}, given)) == ["p", "w", "v"]
    proto = model(nodes, {"x": SHAPE}, given)
    proto.graph.output.append(helper.make_tensor_value_info("p", 7, (8,)))
    assert names(proto) == ["p", "w", "v"]


# --- folding ------------------------------------------------------------------------------


def padded(
    amounts: Sequence[int] = (0, 0, 1, 0, 0, 0, 2, 3),
    *,
    fill: float | None = 0.0,
    opset: int = 17,
    ir: int = 8,
    more: Sequence[NodeProto] = (),
    outputs: Sequence[str] = ("y",),
    conv: dict[str, Any] | None = None,
    **pad: Any,
) -> ModelProto:
    """Return a Pad in front of a Conv."""
    parts = [tensor("w", WEIGHT)]
    if opset < 11:
        given = {"pads": amounts, **({} if fill is None else {"value": fill}), **pad}
        first = node("Pad", "x", "p", "pad", **given)
    else:
        parts.append(tensor("amounts", amounts, np.int64))
        names = "x amounts"
        if fill is not None:
            parts.append(tensor("fill", fill, np.float32))
            names += " fill"
        first = node("Pad", names, "p", "pad", **pad)
    second = node("Conv", "p w", "y", "conv", **(conv or {"strides": [2, 3]}))
    return model([first, second, *more], {"x": SHAPE}, parts, outputs, opset=opset, ir=ir)


FOLDED: dict[str, tuple[Callable[[], ModelProto], list[int]]] = {
    "zero": (padded, [1, 0, 2, 3]),
    "value-left-out": (lambda: padded(fill=None), [1, 0, 2, 3]),
    "mode-told": (lambda: padded(mode="constant"), [1, 0, 2, 3]),
    "opset-9": (lambda: padded(opset=9, ir=4), [1, 0, 2, 3]),
    "opset-11-ir-3": (lambda: padded(opset=11, ir=3), [1, 0, 2, 3]),
    "newest-opset": (lambda: padded(opset=LATEST, ir=10), [1, 0, 2, 3]),
    "added-to-own-pads": (
        lambda: padded(conv={"strides": [2, 3], "pads": [2, 1, 0, 1]}),
        [3, 1, 2, 4],
    ),
    "valid": (
        lambda: padded(conv={"strides": [2, 3], "auto_pad": "VALID"}),
        [1, 0, 2, 3],
    ),
    "in-front-of-same": (
        lambda: padded(conv={"strides": [2, 3], "auto_pad": "SAME_UPPER"}),
        [2, 0, 3, 4],
    ),
}


@pytest.mark.parametrize("name", FOLDED)
def test_a_zero_pad_of_one_convolution_goes_into_its_pads(
    name: str, tmp_path: Path, runtime: OnnxRuntime
) -> None:
    build, pads = FOLDED[name]
    after = rewritten(build(), tmp_path, style="attrs")
    assert types(after) == ["Conv"]
    (conv,) = (made for made in after.graph.node if made.op_type == "Conv")
    assert list(conv.input) == ["x", "w"]
    assert attribute(conv, "pads") == pads
    assert attribute(conv, "auto_pad") in (None, b"NOTSET")
    ((got,),) = runtime.run(after.SerializeToString(), [{"x": DATA}])
    np.testing.assert_array_equal(got, golden.conv(DATA, WEIGHT, strides=[2, 3], mode=pads))


def test_a_pad_in_front_of_a_convolution_of_open_size_is_folded(
    tmp_path: Path, runtime: OnnxRuntime
) -> None:
    parts = [tensor("w", WEIGHT), tensor("amounts", [0, 0, 1, 0, 0, 0, 0, 1], np.int64)]
    nodes = [node("Pad", "x amounts", "p", "pad"), node("Conv", "p w", "y", "conv")]
    proto = model(nodes, {"x": (1, 2, "H", "W")}, parts)
    after = rewritten(proto, tmp_path, style="attrs")
    assert types(after) == ["Conv"]
    for size in ((13, 11), (5, 6)):
        data = ints((1, 2, *size))
        ((got,),) = runtime.run(after.SerializeToString(), [{"x": data}])
        np.testing.assert_array_equal(got, golden.conv(data, WEIGHT, mode=[1, 0, 0, 1]))


def test_a_pad_in_a_function_of_two_sizes_is_folded(tmp_path: Path, runtime: OnnxRuntime) -> None:
    inside = [
        node("Constant", "", "p", "amounts", value_ints=[0, 0, 1, 0, 0, 0, 2, 3]),
        node("Pad", "a p", "b", "pad"),
        node("Conv", "b k", "c", "conv", auto_pad="SAME_UPPER", strides=[2, 3]),
    ]
    made = function("Padded", "a k", "c", inside)
    calls = [node("Padded", f"x{i} w", f"y{i}", f"call{i}", domain="local") for i in (0, 1)]
    shapes = {"x0": (1, 2, 13, 11), "x1": (1, 2, 12, 9)}
    proto = model(
        calls, shapes, [tensor("w", WEIGHT)], ["y0", "y1"], domains=["local"], functions=[made]
    )
    after = rewritten(proto, tmp_path, style="attrs")
    assert [item.domain for item in after.graph.node] == ["local", "local"]
    inner = [item.op_type for item in after.functions[0].node if item.op_type != "Constant"]
    assert inner == ["Conv"]
    feeds = {name: ints(shape) for name, shape in shapes.items()}
    expected = []
    for data in feeds.values():
        more = np.pad(data, ((0, 0), (0, 0), (1, 2), (0, 3)))
        expected.append(golden.conv(more, WEIGHT, strides=[2, 3]))
    (got,) = runtime.run(after.SerializeToString(), [feeds])
    for have, want in zip(got, expected, strict=True):
        np.testing.assert_array_equal(have, want)


def test_a_pad_whose_amounts_are_a_constant_node_is_folded(
    tmp_path: Path, runtime: OnnxRuntime
) -> None:
    nodes = [
        node("Constant", "", "amounts", "amounts", value_ints=[0, 0, 2, 1, 0, 0, 0, 1]),
        node("Pad", "x amounts", "p", "pad"),
        node("Conv", "p w", "y", "conv"),
    ]
    after = rewritten(model(nodes, {"x": SHAPE}, [tensor("w", WEIGHT)]), tmp_path, style="attrs")
    assert types(after) == ["Conv"]
    ((got,),) = runtime.run(after.SerializeToString(), [{"x": DATA}])
    np.testing.assert_array_equal(got, golden.conv(DATA, WEIGHT, mode=[2, 1, 0, 1]))


def test_the_pad_that_style_pad_writes_is_folded_by_style_attrs(
    tmp_path: Path, runtime: OnnxRuntime
) -> None:
    made = node("Conv", "x w", "y", "conv", strides=[2, 3], auto_pad="SAME_LOWER")
    proto = model([made], {"x": SHAPE}, [tensor("w", WEIGHT)])
    there = rewritten(proto, tmp_path, style="pad")
    back = rewritten(there, tmp_path, style="attrs")
    assert types(back) == ["Conv"]
    amounts = golden.same_amounts(SHAPE[2:], (4, 3), (2, 3), (1, 1), lower=True)
    flat = [pair[end] for end in (0, 1) for pair in amounts]
    assert attribute(back.graph.node[0], "pads") == flat
    ((got,),) = runtime.run(back.SerializeToString(), [{"x": DATA}])
    np.testing.assert_array_equal(got, golden.conv(DATA, WEIGHT, strides=[2, 3], mode=flat))


def fed(name: str) -> ModelProto:
    """Return a Pad one of whose inputs is a default that the caller may replace."""
    proto = padded()
    proto.graph.input.append(value("amounts", (8,), 7) if name == "amounts" else value("fill", ()))
    return proto


NOT_FOLDED: dict[str, Callable[[], ModelProto]] = {
    "value-not-zero": lambda: padded(fill=0.5),
    "value-not-zero-opset-9": lambda: padded(fill=-1.0, opset=9, ir=4),
    "two-consumers": lambda: padded(more=[node("Relu", "p", "z", "relu")], outputs=["y", "z"]),
    "two-convolutions": lambda: padded(
        more=[node("Conv", "p w", "z", "other")], outputs=["y", "z"]
    ),
    "graph-output": lambda: padded(outputs=["y", "p"]),
    "batch-axis": lambda: padded((1, 0, 1, 0, 0, 0, 2, 3)),
    "reflect": lambda: padded(mode="reflect"),
    "edge": lambda: padded(mode="edge"),
    "cropping": lambda: padded((0, 0, -1, 0, 0, 0, 2, 3)),
    "amounts-may-be-fed": lambda: fed("amounts"),
    "value-may-be-fed": lambda: fed("fill"),
}


@pytest.mark.parametrize("name", NOT_FOLDED)
def test_any_other_pad_stays(name: str, tmp_path: Path) -> None:
    proto = NOT_FOLDED[name]()
    assert rewritten(proto, tmp_path, style="attrs") == proto


def test_a_pad_of_the_channel_axis_stays(tmp_path: Path) -> None:
    parts = [tensor("w", ints((3, 4, 2, 2), 1)), tensor("amounts", [0, 1, 1, 0, 0, 1, 0, 2])]
    nodes = [node("Pad", "x amounts", "p", "pad"), node("Conv", "p w", "y", "conv")]
    proto = model(nodes, {"x": SHAPE}, parts)
    assert rewritten(proto, tmp_path, style="attrs") == proto


@pytest.mark.parametrize("style", ["pad", "auto"])
def test_other_styles_fold_nothing(style: str, tmp_path: Path) -> None:
    proto = padded()
    assert rewritten(proto, tmp_path, style=style) == proto


def test_a_pad_read_in_a_branch_too_stays(tmp_path: Path) -> None:
    """The second reader stands in a body, where a list of the graph's own nodes misses it."""
    inner = {
        label: body(label, [node(op, "p", label, op)], [value(label, None)])
        for label, op in (("then_branch", "Neg"), ("else_branch", "Abs"))
    }
    proto = padded(more=[node("If", "choose", "z", "choice", **inner)], outputs=["y", "z"])
    proto.graph.input.append(value("choose", (), 9))
    assert rewritten(proto, tmp_path, style="attrs") == proto


def test_a_zero_pad_of_a_max_pool_stays(tmp_path: Path) -> None:
    """Zeros can be the maximum; pads of a MaxPool never are."""
    parts = [tensor("amounts", [0, 0, 1, 0, 0, 0, 1, 1], np.int64)]
    nodes = [
        node("Pad", "x amounts", "p", "pad"),
        node("MaxPool", "p", "y", "pool", kernel_shape=[3, 2]),
    ]
    proto = model(nodes, {"x": SHAPE}, parts)
    assert rewritten(proto, tmp_path, style="attrs") == proto


# --- freezing -----------------------------------------------------------------------------


@pytest.mark.parametrize("freeze", [False, True])
def test_freeze_writes_the_given_sizes(freeze: bool, tmp_path: Path, runtime: OnnxRuntime) -> None:
    made = node("Conv", "x w", "y", "conv", strides=[2, 3], auto_pad="SAME_UPPER")
    proto = model([made], {"x": ("N", 2, "H", None)}, [tensor("w", WEIGHT)])
    after = rewritten(proto, tmp_path, style="pad", freeze=freeze, input_shapes={"x": SHAPE})
    dims = [dim.dim_value for dim in after.graph.input[0].type.tensor_type.shape.dim]
    assert dims == (list(SHAPE) if freeze else [0, 2, 0, 0])
    assert types(after) == ["Pad", "Conv"]
    ((got,),) = runtime.run(after.SerializeToString(), [{"x": DATA}])
    np.testing.assert_array_equal(got, golden.conv(DATA, WEIGHT, strides=[2, 3]))
