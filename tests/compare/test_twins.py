"""Operators of equal weights: towers that share them, blocks that are not trained yet."""

from __future__ import annotations

import random
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

sys.path.insert(0, str(Path(__file__).parents[1]))
from onnx_models import weights

from padaudit.compare.align import Alignment, align
from padaudit.compare.differences import differences
from padaudit.compare.result import Sameness
from padaudit.compare.run import compare_files
from padaudit.compare.units import units_of
from padaudit.formats.shape_options import InputShapes
from padaudit.rewriting.run import load

CHANNELS = 6
SIZES = {"x": (1, CHANNELS, 19, 24), "z": (1, CHANNELS, 22, 15)}


@dataclass(frozen=True)
class Node:
    """A convolution of one operand, or the sum of two."""

    name: str
    reads: tuple[str, ...]
    kernel: int = 0


def written(
    nodes: Sequence[Node], inputs: Iterable[str], prefix: str, trained: int | None
) -> ModelProto:
    """Return a network whose convolutions all have one weight, or weights of their own."""
    rng = np.random.default_rng(trained)
    listed: list[NodeProto] = []
    tensors: list[TensorProto] = []
    read = {name for node in nodes for name in node.reads}
    new = {node.name: f"{prefix}{place}" for place, node in enumerate(nodes)}
    for node in nodes:
        operands = [new.get(name, name) for name in node.reads]
        name = new[node.name]
        if node.kernel:
            shape = (CHANNELS, CHANNELS, node.kernel, node.kernel)
            values = np.full(shape, 0.1) if trained is None else rng.standard_normal(shape)
            tensors.append(numpy_helper.from_array(values.astype(np.float32), f"{name}_weights"))
            operands.append(tensors[-1].name)
        half = node.kernel // 2
        pads = {"pads": [half] * 4} if node.kernel else {}
        op_type = "Conv" if node.kernel else "Add"
        listed.append(helper.make_node(op_type, operands, [name], node.name, **pads))
    shape = SIZES["x"]
    given_inputs = [helper.make_tensor_value_info(name, 1, shape) for name in inputs]
    ends = [new[node.name] for node in nodes if node.name not in read]
    results = [helper.make_tensor_value_info(name, 1, None) for name in ends]
    graph = helper.make_graph(listed, "net", given_inputs, results, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def shuffled(nodes: Sequence[Node], rng: random.Random) -> list[Node]:
    """Return nodes in another order of execution."""
    waiting, names = list(nodes), {node.name for node in nodes}
    found: list[Node] = []
    while waiting:
        done = {node.name for node in found}
        ready = [node for node in waiting if all(r in done or r not in names for r in node.reads)]
        found.append(rng.choice(ready))
        waiting.remove(found[-1])
    return found


def network(rng: random.Random) -> list[Node]:
    """Return 3 to 24 convolutions and sums on x and z."""
    nodes: list[Node] = []
    held = ["x", "z"]
    for place in range(rng.randint(3, 24)):
        name = f"node{place}"
        if rng.random() < 0.25:
            nodes.append(Node(name, tuple(rng.sample(held[-6:], 2))))
        else:
            nodes.append(Node(name, (rng.choice(held[-4:]),), rng.choice((1, 3))))
        held.append(name)
    return nodes


def aligned(folder: Path, original: ModelProto, port: ModelProto) -> Alignment:
    sides = []
    for name, proto in (("original.onnx", original), ("port.onnx", port)):
        (folder / name).write_bytes(proto.SerializeToString())
        sides.append(units_of(load(folder / name, InputShapes())))
    return align(*sides)


@settings(max_examples=25)
@given(seed=st.integers(0, 2**20), trained=st.booleans())
def test_pairs_have_paired_neighbours(seed: int, trained: bool) -> None:
    """A port of another order, with the same weight everywhere or none in common."""
    rng = random.Random(seed)
    nodes = network(rng)
    seeds = (seed, seed + 1) if trained else (None, None)
    original = written(nodes, ("x", "z"), "a", seeds[0])
    port = written(shuffled(nodes, rng), ("z", "x"), "b", seeds[1])
    with tempfile.TemporaryDirectory() as folder:
        alignment = aligned(Path(folder), original, port)
    assert not alignment.original and not alignment.port
    partner = {a.position: b.position for a, b in alignment.pairs}
    for a, b in alignment.pairs:
        assert {partner[place] for place in a.before} == b.before
        assert {partner[place] for place in a.after} == b.after
        assert a.reads == b.reads and a.form == b.form


def towers(order: Sequence[str], pads: dict[str, list[int]]) -> ModelProto:
    """Return two convolutions with the same weights on either input."""
    nodes = []
    for source in order:
        for place in (1, 2):
            name = f"{source}{place}"
            operands = [source if place == 1 else f"{source}1", f"w{place}"]
            label = name if order[0] == "x" else f"Conv_{len(nodes)}"
            nodes.append(
                helper.make_node("Conv", operands, [name], label, strides=[2, 2], pads=pads[name])
            )
    shapes = [helper.make_tensor_value_info(name, 1, SIZES[name]) for name in ("x", "z")]
    results = [helper.make_tensor_value_info(f"{source}2", 1, None) for source in order]
    kernels = [weights((CHANNELS, CHANNELS, 3, 3), f"w{place}", seed=place) for place in (1, 2)]
    graph = helper.make_graph(nodes, "towers", shapes, results, kernels)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


RIGHT = {"x1": [1, 0, 1, 1], "x2": [0, 1, 1, 1], "z1": [0, 1, 1, 1], "z2": [1, 0, 0, 1]}


@pytest.mark.parametrize("wrong", RIGHT)
def test_a_tower_is_told_from_its_twin_by_what_it_hangs_on(wrong: str, tmp_path: Path) -> None:
    """The port lists the tower of the other input first."""
    bad = RIGHT | {wrong: RIGHT[wrong][2:] + RIGHT[wrong][:2]}
    (item,) = differences(aligned(tmp_path, towers("xz", RIGHT), towers("zx", bad)))
    assert item.original.id == wrong
    assert item.port.id == f"Conv_{['z1', 'z2', 'x1', 'x2'].index(wrong)}"


def test_a_wrong_tower_is_corrected(tmp_path: Path) -> None:
    original, port = tmp_path / "original.onnx", tmp_path / "port.onnx"
    aligned(tmp_path, towers("xz", RIGHT), towers("zx", RIGHT | {"z1": [1, 0, 1, 1]}))
    result = compare_files(original, port, InputShapes())
    assert [item.original.id for item in result.differences] == ["z1"]
    assert result.after is not None and result.after.max_abs == 0


def test_inputs_of_other_names_are_told_by_what_reads_them(tmp_path: Path) -> None:
    """The port lists its inputs, of one shape, in another order."""

    def difference_of(first: str, second: str, order: Sequence[int]) -> ModelProto:
        names = (first, second)
        nodes = [
            helper.make_node("Conv", [names[side], f"w{side}"], [f"c{side}"], pads=[side, 0, 1, 2])
            for side in order
        ]
        nodes += [
            helper.make_node("GlobalAveragePool", [f"c{side}"], [f"m{side}"]) for side in order
        ]
        nodes.append(helper.make_node("Sub", ["m0", "m1"], ["y"]))
        inputs = [helper.make_tensor_value_info(names[side], 1, SIZES["x"]) for side in order]
        kernels = [weights((4, CHANNELS, 3, 3), f"w{side}", seed=side) for side in (0, 1)]
        result = helper.make_tensor_value_info("y", 1, None)
        graph = helper.make_graph(nodes, "difference", inputs, [result], kernels)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    paths = tmp_path / "original.onnx", tmp_path / "port.onnx"
    original, port = difference_of("left", "right", (0, 1)), difference_of("p", "q", (1, 0))
    for path, proto in zip(paths, (original, port), strict=True):
        path.write_bytes(proto.SerializeToString())
    result = compare_files(*paths, InputShapes())
    assert result.status is Sameness.SAME
    assert "'p' is 'left', 'q' is 'right'" in result.notes[0]
