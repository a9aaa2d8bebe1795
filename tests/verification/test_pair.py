"""Any two models: inputs and outputs matched, differences named and mapped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from padaudit.formats.shape_options import InputShapes
from padaudit.verification.evidence import Status, Verification
from padaudit.verification.pair import verify_files
from padaudit.verification.runner import Limits

FLOAT = TensorProto.FLOAT
RNG = np.random.default_rng(7)
KERNELS = [RNG.integers(-3, 4, (4, 3, 3, 5)), RNG.integers(-3, 4, (5, 4, 2, 3))]


def conv(name: str, data: str, weight: str, output: str, **how: Any) -> onnx.NodeProto:
    return helper.make_node("Conv", [data, weight], [output], name=name, **how)


def save(
    path: Path,
    nodes: list[onnx.NodeProto],
    inputs: dict[str, list[Any]],
    outputs: list[str],
    weights: dict[str, Any] | None = None,
    kind: int = FLOAT,
) -> Path:
    stored = {"w0": KERNELS[0], "w1": KERNELS[1]} if weights is None else weights
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in inputs.items()],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [
            numpy_helper.from_array(np.asarray(value, np.float32), name)
            for name, value in stored.items()
        ],
    )
    for output in graph.output:
        output.type.tensor_type.elem_type = kind
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def two_convs(path: Path, second: dict[str, Any], first: dict[str, Any] | None = None) -> Path:
    """Two strided convolutions of a 3 x 10 x 13 image, named the same in every model."""
    nodes = [
        conv("one", "x", "w0", "a", strides=[2, 3], **(first or {"auto_pad": "SAME_UPPER"})),
        helper.make_node("Relu", ["a"], ["b"]),
        conv("two", "b", "w1", "y", **second),
    ]
    return save(path, nodes, {"x": [1, 3, 10, 13]}, ["y"])


def compared(first: Path, second: Path, **how: Any) -> Verification:
    return verify_files(first, second, InputShapes(), **how)


def test_the_first_differing_site_is_named_with_its_error_map(tmp_path: Path) -> None:
    right = two_convs(tmp_path / "a.onnx", {"auto_pad": "SAME_UPPER"})
    # Kernel 2 x 3 at stride 1: SAME_UPPER is 0 and 1 on the first axis, so this moves all rows.
    wrong = two_convs(tmp_path / "b.onnx", {"pads": [1, 1, 0, 1]})
    found = compared(right, wrong)
    assert (found.status, found.first_difference) == (Status.DIFFERENT, "two")
    assert found.error_map is not None
    assert found.error_map.shape == (1, 5, 5, 5)
    assert found.error_map.extent[0][0] == 0
    assert "'two'" in found.reason


def test_an_early_difference_is_named_before_what_follows_from_it(tmp_path: Path) -> None:
    right = two_convs(tmp_path / "a.onnx", {"auto_pad": "SAME_UPPER"})
    # Height 10, kernel 3, stride 2: 0 and 1; width 13, kernel 5, stride 3: 2 and 2.
    lower = two_convs(tmp_path / "b.onnx", {"auto_pad": "SAME_UPPER"}, {"pads": [1, 2, 0, 2]})
    assert compared(right, lower).first_difference == "one"
    same = two_convs(tmp_path / "c.onnx", {"pads": [0, 1, 1, 1]}, {"pads": [0, 2, 1, 2]})
    found = compared(right, same)
    assert (found.status, found.max_abs) == (Status.EQUIVALENT, 0.0)


def test_a_site_with_another_window_is_named_too(tmp_path: Path) -> None:
    right = two_convs(tmp_path / "a.onnx", {"auto_pad": "SAME_UPPER"}, {"pads": [1, 4, 1, 4]})
    other = {"pads": [1, 4, 1, 4], "dilations": [1, 2]}
    dilated = two_convs(tmp_path / "b.onnx", {"auto_pad": "SAME_UPPER"}, other)
    found = compared(right, dilated)
    assert (found.status, found.first_difference) == (Status.DIFFERENT, "one")
    assert "has the shape" in found.reason


def test_a_difference_at_the_last_column_only_is_mapped_there(tmp_path: Path) -> None:
    size, kernel = (6, 7), [3, 2]
    weights = {"w": np.arange(1, 7).reshape(1, 1, *kernel)}
    paths = []
    for name, width in (("a", 7), ("b", 6)):
        # The second model zeroes the last column first.
        mask = np.ones((1, 1, *size))
        mask[..., width:] = 0
        nodes = [
            helper.make_node("Mul", ["x", "mask"], ["m"]),
            conv("only", "m", "w", "y", pads=[1, 0, 1, 0]),
        ]
        paths.append(
            save(
                tmp_path / f"{name}.onnx",
                nodes,
                {"x": [1, 1, *size]},
                ["y"],
                {**weights, "mask": mask},
            )
        )
    where = compared(*paths).error_map
    assert where is not None
    assert where.extent == ((0, 5), (5, 5))
    assert (where.corner, where.interior) == (0.5, 0.0)


def test_inputs_are_matched_by_name_and_outputs_in_any_order(tmp_path: Path) -> None:
    shapes = {"x": [1, 2, 5, 6], "z": [1, 2, 5, 6]}
    nodes = [
        helper.make_node("Sub", ["x", "z"], ["d"], name="sub"),
        helper.make_node("Mul", ["x", "x"], ["s"], name="square"),
    ]
    first = save(tmp_path / "a.onnx", nodes, shapes, ["d", "s"], {})
    swapped = dict(reversed(shapes.items()))
    second = save(tmp_path / "b.onnx", nodes, swapped, ["s", "d"], {})
    assert compared(first, second).status is Status.EQUIVALENT
    renamed = [
        helper.make_node("Sub", ["p", "q"], ["e"], name="sub"),
        helper.make_node("Mul", ["p", "p"], ["t"], name="square"),
    ]
    named = {"p": shapes["x"], "q": shapes["z"]}
    by_order = save(tmp_path / "c.onnx", renamed, named, ["e", "t"], {})
    assert compared(first, by_order).status is Status.EQUIVALENT
    wrong_order = save(tmp_path / "d.onnx", renamed, dict(reversed(named.items())), ["e", "t"], {})
    guessed = compared(first, wrong_order)
    assert guessed.status is Status.EQUIVALENT
    (note,) = guessed.not_covered
    assert "matched by trying" in note and "'x' with 'p'" in note
    both = save(tmp_path / "e.onnx", renamed, dict(reversed(named.items())), ["t", "e"], {})
    found = compared(first, both)
    assert found.status is Status.EQUIVALENT
    assert any("what they hold: 'd' with 'e', 's' with 't'" in note for note in found.not_covered)


def test_no_order_of_the_inputs_hides_a_difference(tmp_path: Path) -> None:
    """Three inputs of one shape, weighted 1, 2 and 4 (or 5)."""

    def weighted(name: str, inputs: str, factors: dict[str, float]) -> Path:
        nodes = [helper.make_node("Mul", [key, f"w{key}"], [f"m{key}"]) for key in inputs]
        # Summed in the order of the factors, so that the sums are rounded alike.
        ordered = [f"m{key}" for key in sorted(factors, key=lambda key: factors[key])]
        nodes.append(helper.make_node("Sum", ordered, ["y"]))
        scales = {f"w{key}": value for key, value in factors.items()}
        return save(
            tmp_path / f"{name}.onnx", nodes, {key: [1, 2, 5] for key in inputs}, ["y"], scales
        )

    first = weighted("a", "abc", {"a": 1, "b": 2, "c": 4})
    found = compared(first, weighted("b", "def", {"d": 4, "e": 1, "f": 2}))
    assert found.status is Status.EQUIVALENT
    assert any("'a' with 'e', 'b' with 'f', 'c' with 'd'" in note for note in found.not_covered)
    other = compared(first, weighted("c", "def", {"d": 4, "e": 1, "f": 5}))
    assert other.status is Status.DIFFERENT
    assert not any("matched by trying" in note for note in other.not_covered)
    # Where names tell, they are believed.
    named = compared(first, weighted("d", "abc", {"a": 2, "b": 1, "c": 4}))
    assert named.status is Status.DIFFERENT
    # A name is not given away to an input that merely comes first.
    late = compared(first, weighted("e", "cad", {"c": 4, "a": 1, "d": 2}))
    assert late.status is Status.EQUIVALENT
    assert not any("matched by trying" in note for note in late.not_covered)


def in_channels_last(path: Path, pads: list[int]) -> Path:
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
        conv("one", "t", "w0", "a", strides=[2, 3], pads=pads),
        helper.make_node("Relu", ["a"], ["b"]),
        conv("two", "b", "w1", "c", auto_pad="SAME_UPPER"),
        helper.make_node("Transpose", ["c"], ["y"], perm=[0, 2, 3, 1]),
    ]
    return save(path, nodes, {"x": [1, 10, 13, 3]}, ["y"])


def test_channels_last_against_channels_first_is_found_out(tmp_path: Path) -> None:
    first = two_convs(tmp_path / "a.onnx", {"auto_pad": "SAME_UPPER"})
    right = in_channels_last(tmp_path / "b.onnx", [0, 2, 1, 2])
    found = compared(first, right)
    assert (found.status, found.max_abs) == (Status.EQUIVALENT, 0.0)
    assert "another layout" in found.evidence[0].detail
    swapped = in_channels_last(tmp_path / "c.onnx", [2, 0, 2, 1])
    wrong = compared(right, swapped)
    assert (wrong.status, wrong.first_difference) == (Status.DIFFERENT, "one")


def test_inputs_that_do_not_fit_are_a_difference(tmp_path: Path) -> None:
    def model(name: str, **shapes: list[int]) -> Path:
        nodes = [helper.make_node("Sum", list(shapes), ["y"])]
        return save(tmp_path / f"{name}.onnx", nodes, dict(shapes), ["y"], {})

    one = model("one", x=[2, 5])
    for other, reason in (
        (model("two", x=[2, 5], z=[2, 5]), "has 1 inputs and the second 2"),
        (model("wider", x=[2, 6]), "fits none of the second's: 'x' (2, 6)"),
        (model("deeper", x=[1, 2, 5]), "fits none of the second's: 'x' (1, 2, 5)"),
    ):
        found = compared(one, other)
        assert found.status is Status.DIFFERENT
        assert reason in found.reason


def test_the_users_inputs_decide_what_is_seen(tmp_path: Path) -> None:
    relu = save(
        tmp_path / "a.onnx", [helper.make_node("Relu", ["x"], ["y"])], {"x": ["N", 3]}, ["y"], {}
    )
    same = save(
        tmp_path / "b.onnx",
        [helper.make_node("Identity", ["x"], ["y"])],
        {"x": ["N", 3]},
        ["y"],
        {},
    )
    assert compared(relu, same).status is Status.DIFFERENT
    np.savez(tmp_path / "positive.npz", x=np.ones((70, 3), np.float32))
    found = compared(relu, same, inputs=tmp_path / "positive.npz")
    assert any("made-up inputs" in reason for reason in found.not_covered)
    assert found.status is Status.EQUIVALENT
    assert found.evidence[0].counts["inputs"] == 2
    np.savez(tmp_path / "mixed.npz", x=np.float32([[1, 2, 3], [1, -2, 3]]))
    assert compared(relu, same, inputs=tmp_path / "mixed.npz").status is Status.DIFFERENT


def test_a_sequence_input_is_declined_with_a_reason(tmp_path: Path) -> None:
    path = tmp_path / "sequence.onnx"
    tensor = helper.make_tensor_type_proto(FLOAT, [2])
    graph = helper.make_graph(
        [helper.make_node("ConcatFromSequence", ["s"], ["y"], axis=0)],
        "g",
        [helper.make_value_info("s", helper.make_sequence_type_proto(tensor))],
        [helper.make_tensor_value_info("y", FLOAT, [None])],
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    found = compared(path, path)
    assert found.status is Status.UNVERIFIED
    assert found.reason == "input 's' is a sequence, and only tensors can be made up"


@pytest.mark.parametrize("kind", ["BOOL", "STRING", "INT64", "UINT8", "DOUBLE", "FLOAT16"])
def test_inputs_of_every_element_type_are_made_up(kind: str, tmp_path: Path) -> None:
    code = getattr(TensorProto, kind)
    nodes = {
        "a": [helper.make_node("Identity", ["x"], ["y"])],
        "b": [helper.make_node("Concat", ["x", "x"], ["y"], axis=1)],
    }
    paths = [
        save(tmp_path / f"{name}.onnx", made, {"x": [2, 3]}, ["y"], {}, code)
        for name, made in nodes.items()
        for _ in [None]
    ]
    assert compared(paths[0], paths[0]).status is Status.EQUIVALENT
    assert compared(*paths).status is Status.DIFFERENT


def test_a_memory_limit_ends_a_run_and_says_so(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Expand", ["x", "shape"], ["big"]),
        helper.make_node("ReduceSum", ["big"], ["y"], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", FLOAT, [1])],
        [helper.make_tensor_value_info("y", FLOAT, [])],
        [numpy_helper.from_array(np.array([1 << 30]), "shape")],
    )
    path = tmp_path / "big.onnx"
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    found = compared(path, path, limits=Limits(120, 2048))
    assert found.status is Status.UNVERIFIED
    assert "ran out of memory (the limit is 2048 MiB)" in found.reason


FIXTURES = Path(__file__).parents[2] / "fixtures"


def shifted_onnx(path: Path) -> Path:
    """Return the digits in ONNX, with one pad of ``wide`` moved from behind to before."""
    model = onnx.load(FIXTURES / "digits.onnx")
    moved = next(
        attribute
        for node in model.graph.node
        for attribute in node.attribute
        if attribute.name == "pads" and attribute.ints[0] != attribute.ints[2]
    )
    moved.ints[0], moved.ints[2] = moved.ints[2], moved.ints[0]
    onnx.save(model, path)
    return path


def test_a_keras_model_is_compared_with_an_onnx_one(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow", reason="needs TensorFlow")
    same = compared(FIXTURES / "digits.h5", FIXTURES / "digits.onnx")
    assert same.status is Status.EQUIVALENT
    assert 0 < same.max_abs < 1e-4
    assert "rtol 0.0001 of the largest magnitude" in same.evidence[0].detail


@pytest.mark.slow
def test_the_layer_of_a_keras_model_that_a_port_gets_wrong_is_named(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow", reason="needs TensorFlow")
    wrong = compared(FIXTURES / "digits.h5", shifted_onnx(tmp_path / "wrong.onnx"))
    assert wrong.status is Status.DIFFERENT

    assert wrong.first_difference == "wide"
    assert wrong.error_map is not None
