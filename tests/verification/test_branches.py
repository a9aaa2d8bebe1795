"""Branches and loop bodies that no run came to: reached if possible, told, and not trusted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, numpy_helper, parser

from padaudit.cli.app import cli
from padaudit.formats.shape_options import InputShapes
from padaudit.rewriting.options import Options
from padaudit.rewriting.run import load, rewrite_file
from padaudit.verification.evidence import Status, Verification
from padaudit.verification.model_level import feeds_of, input_specs
from padaudit.verification.pair import verify_files
from padaudit.verification.reach import Reach, reached
from padaudit.verification.steering import steered

RNG = np.random.default_rng(3)
WEIGHTS = {
    "w": RNG.integers(-3, 4, (2, 2, 2, 3)).astype(np.float32),
    "v": RNG.integers(-3, 4, (2, 2, 2, 3)).astype(np.float32),
    "zero": np.float32(0),
    "far": np.float32(1e9),
}
RIGHT, MOVED, AUTO = "pads = [0, 1, 1, 1]", "pads = [1, 1, 0, 1]", 'auto_pad = "SAME_UPPER"'
HEAD = '<ir_version: 8, opset_import: ["" : 17, "own" : 1]>'
X = "float[1, 2, 5, 7]"


def net(body: str, inputs: str = f"{X} x", functions: str = "") -> ModelProto:
    model = parser.parse_model(f"{HEAD} g ({inputs}) => ({X} y) {{ {body} }} {functions}")
    used = {name for name in WEIGHTS if name in body}
    stored = [numpy_helper.from_array(np.asarray(WEIGHTS[name]), name) for name in sorted(used)]
    model.graph.initializer.extend(stored)
    return model


def branch(nodes: str, output: str) -> str:
    return f"graph = b () => (float[1, 2, 5, 7] {output}) {{ {nodes} }}"


def choice(pads: str, bound: str, data: str = "x", weight: str = "w") -> ModelProto:
    """An If whose first branch is a convolution, for sums of the input above a bound."""
    taken = branch(f"[inner] t = Conv <{pads}> ({data}, {weight})", "t")
    other = branch("[other] e = Conv <" + RIGHT + "> (x, w)", "e")
    return net(
        f"""s = ReduceSum <keepdims = 0> (x)
            on = Greater (s, {bound})
            h = Mul (x, x)
            [iff] y = If (on) <then_branch: {taken}, else_branch: {other}>"""
    )


def verified(
    folder: Path, first: ModelProto, second: ModelProto, inputs: Path | None = None
) -> Verification:
    names = folder / "a.onnx", folder / "b.onnx"
    for name, model in zip(names, (first, second), strict=True):
        onnx.save(model, name)
    return verify_files(*names, InputShapes(), inputs=inputs)


def counted(folder: Path, model: ModelProto, with_steering: bool = False) -> Reach:
    onnx.save(model, folder / "m.onnx")
    feeds = feeds_of(input_specs(model, InputShapes()))
    feeds = [*feeds, *steered(feeds[0])] if with_steering else feeds[:1]
    found = reached(load(folder / "m.onnx", InputShapes()), feeds, 60.0)
    assert found is not None
    return found


def passes(reach: Reach) -> dict[str, int]:
    pairs = zip(reach.bodies, reach.passes, strict=True)
    return {"/".join(body.path): count for body, count in pairs}


def test_a_branch_for_the_other_sign_is_reached(tmp_path: Path) -> None:
    models = [choice(pads, "zero") for pads in (RIGHT, MOVED)]
    for model in models:
        model.graph.node[1].op_type = "Less"
    found = verified(tmp_path, *models)
    assert found.status is Status.DIFFERENT
    assert found.first_difference == "iff/then_branch/inner"
    assert not found.not_covered


def test_a_branch_that_was_never_taken_and_differs_is_unverified(tmp_path: Path) -> None:
    found = verified(tmp_path, choice(RIGHT, "far"), choice(MOVED, "far"))
    assert found.status is Status.UNVERIFIED
    assert "then_branch of 'iff' was never taken, and it is not the same" in found.reason
    (note,) = found.not_covered
    assert note.startswith("then_branch of 'iff' was never taken: ")
    assert "--inputs" in note


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (choice(RIGHT, "far"), choice(RIGHT, "far")),
        (choice(AUTO, "far"), choice("pads = [0, 1, 1, 1], strides = [1, 1]", "far")),
    ],
)
def test_one_that_is_the_same_in_both_is_told(
    tmp_path: Path, first: ModelProto, second: ModelProto
) -> None:
    found = verified(tmp_path, first, second)
    assert found.status is Status.EQUIVALENT
    assert [note.split(":")[0] for note in found.not_covered] == [
        "then_branch of 'iff' was never taken"
    ]
    assert "1 of 2 branches and loop bodies run" in found.evidence[0].detail


def test_names_do_not_count_but_weights_and_what_is_read_from_outside_do(tmp_path: Path) -> None:
    first = choice(RIGHT, "far", "h")
    renamed = ModelProto()
    renamed.CopyFrom(first)
    renamed.graph.node[2].output[0] = "other_name"
    renamed.graph.node[3].attribute[0].g.node[0].input[0] = "other_name"
    assert verified(tmp_path, first, renamed).status is Status.EQUIVALENT
    outside = ModelProto()
    outside.CopyFrom(first)
    outside.graph.node[2].op_type = "Add"
    assert verified(tmp_path, first, outside).status is Status.UNVERIFIED
    assert verified(tmp_path, first, choice(RIGHT, "far", "h", "v")).status is Status.UNVERIFIED


def test_the_users_inputs_lead_there(tmp_path: Path) -> None:
    far = np.full((1, 2, 5, 7), 1e8, np.float32)
    for name, values in (("far", far), ("near", -far)):
        np.savez(tmp_path / f"{name}.npz", x=values)
    models = choice(RIGHT, "far"), choice(MOVED, "far")
    assert verified(tmp_path, *models, tmp_path / "far.npz").status is Status.DIFFERENT
    assert verified(tmp_path, *models, tmp_path / "near.npz").status is Status.UNVERIFIED


def test_branches_whose_tensors_share_their_names(tmp_path: Path) -> None:
    def shared(pads: str) -> ModelProto:
        model = choice(RIGHT, "zero")
        other = next(item for item in model.graph.node[3].attribute if item.name == "else_branch")
        other.g.CopyFrom(choice(pads, "zero").graph.node[3].attribute[0].g)
        other.g.node[0].name = "other"
        return model

    found = verified(tmp_path, shared(RIGHT), shared(MOVED))
    assert found.first_difference == "iff/else_branch/other", found.reason
    assert "can't be looked at" not in found.reason


def test_weights_beside_the_model_count(tmp_path: Path) -> None:
    for folder, weight in (("a", "w"), ("b", "v"), ("c", "w")):
        (tmp_path / folder).mkdir()
        model, path = choice(RIGHT, "far", "x", weight), tmp_path / folder / "m.onnx"
        onnx.save(model, path, save_as_external_data=True, size_threshold=0, location="m.bin")
    paths = [tmp_path / folder / "m.onnx" for folder in "abc"]
    found = [verify_files(paths[0], path, InputShapes()).status for path in paths[1:]]
    assert found == [Status.UNVERIFIED, Status.EQUIVALENT]


def test_exit_code_and_evidence_tell_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [str(tmp_path / name) for name in ("a.onnx", "b.onnx", "e.json")]
    for name, pads in zip(names, (RIGHT, MOVED), strict=False):
        onnx.save(choice(pads, "far"), name)
    assert cli.main(["verify", *names[:2], "--evidence", names[2]], standalone_mode=False) == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert "not covered: then_branch of 'iff' was never taken" in shown
    told = json.loads(Path(names[2]).read_text())["verification"]
    assert told["status"] == "unverified"
    assert "never taken" in told["not_covered"][0]
    counts = {item["body"]: item["passes"] for item in told["evidence"][0]["setup"]["control_flow"]}
    assert counts == {"then_branch": 0, "else_branch": told["evidence"][0]["inputs"]}


def test_a_rewrite_rests_on_its_operators_where_no_run_leads(tmp_path: Path) -> None:
    onnx.save(choice(AUTO, "far"), tmp_path / "a.onnx")
    result = rewrite_file(tmp_path / "a.onnx", tmp_path / "b.onnx", Options())
    verdict = result.verification
    assert result.written and verdict.status is Status.EQUIVALENT
    assert {item.level for item in verdict.evidence} == {"definition", "site", "model"}
    assert any("then_branch of 'iff' was never taken" in note for note in verdict.not_covered)
    found = verify_files(tmp_path / "a.onnx", tmp_path / "b.onnx", InputShapes())
    assert found.status is Status.EQUIVALENT, found.reason
    wrong = onnx.load(tmp_path / "b.onnx")
    (taken,) = (item.g for item in wrong.graph.node[-1].attribute if item.name == "then_branch")
    pads = next(node for node in taken.node if node.op_type == "Pad").input[1]
    for tensor in (*wrong.graph.initializer, *taken.initializer):
        if tensor.name == pads:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor)[::-1], pads))
    for node in (*wrong.graph.node, *taken.node):
        if pads in node.output:
            values = numpy_helper.to_array(node.attribute[0].t)[::-1]
            node.attribute[0].t.CopyFrom(numpy_helper.from_array(values.copy()))
    found = verified(tmp_path, onnx.load(tmp_path / "a.onnx"), wrong)
    assert found.status is Status.UNVERIFIED


def nested(pads: str, outer: str, inner: str) -> ModelProto:
    deep = branch(f"[deep] d = Conv <{pads}> (x, w)", "d")
    plain = branch("p = Neg (x)", "p")
    other = branch("o = Abs (x)", "o")
    around = branch(
        f"""in = Greater (s, {inner})
            [two] t = If (in) <then_branch: {deep}, else_branch: {plain}>""",
        "t",
    )
    return net(
        f"""s = ReduceSum <keepdims = 0> (x)
            on = Greater (s, {outer})
            [one] y = If (on) <then_branch: {around}, else_branch: {other}>"""
    )


def test_nested_branches_are_told_apart(tmp_path: Path) -> None:
    reach = counted(tmp_path, nested(RIGHT, "zero", "far"), with_steering=True)
    counts = passes(reach)
    assert counts["one/then_branch/two/then_branch"] == 0
    assert counts["one/then_branch"] == counts["one/then_branch/two/else_branch"] > 0
    assert counts["one/then_branch"] + counts["one/else_branch"] == len(reach.ran)
    assert [body.name for body in reach.missed] == ["then_branch of 'one/then_branch/two'"]
    outer = counted(tmp_path, nested(RIGHT, "far", "zero"), with_steering=True)
    assert [body.name for body in outer.missed] == ["then_branch of 'one'"]
    found = verified(tmp_path, nested(RIGHT, "zero", "far"), nested(MOVED, "zero", "far"))
    assert found.status is Status.UNVERIFIED


def looped(pads: str, count: str) -> ModelProto:
    return net(
        f"""s = ReduceSum <keepdims = 0> (x)
            on = Greater (s, far)
            few = Cast <to = 7> (on)
            [loop] y = Loop ({count}, , x) <body: graph = b (int64 i, bool go, {X} a)
                => (bool again, {X} c) {{
                    again = Identity (go)
                    [step] c = Conv <{pads}> (a, w) }}>""",
        f"{X} x, int64 n",
    )


def test_a_loop_without_a_pass(tmp_path: Path) -> None:
    assert passes(counted(tmp_path, looped(RIGHT, "few"))) == {"loop/body": 0}
    found = verified(tmp_path, looped(RIGHT, "few"), looped(MOVED, "few"))
    assert found.status is Status.UNVERIFIED
    assert "body of 'loop' made no pass" in found.reason
    assert verified(tmp_path, looped(RIGHT, "n"), looped(MOVED, "n")).status is Status.DIFFERENT


def test_passes_of_a_scan_are_counted(tmp_path: Path) -> None:
    model = net(
        f"""r = Identity (rows)
            [scan] last, all = Scan <num_scan_inputs = 1, scan_output_axes = [1], body: graph = b
                ({X} a, float[3] row) => ({X} c, float[3] again) {{
                    again = Identity (row)
                    [step] c = Conv <{RIGHT}> (a, w) }}> (x, r)
            y = Identity (last)""",
        f"{X} x, float[6, 3] rows",
    )
    reach = counted(tmp_path, model)
    assert passes(reach) == {"scan/body": 6}
    assert reach.bodies[0].settled


def alternating(bound: int) -> ModelProto:
    """A loop of five passes that takes a branch in those before a bound."""
    early = branch(f"[early] t = Conv <{RIGHT}> (a, w)", "t")
    late = branch("e = Neg (a)", "e")
    return net(
        f"""five = Constant <value = int64 {{5}}> ()
            bound = Constant <value = int64 {{{bound}}}> ()
            [loop] y = Loop (five, , x) <body: graph = b (int64 i, bool go, {X} a)
                => (bool again, {X} c) {{
                    again = Identity (go)
                    on = Less (i, bound)
                    [iff] c = If (on) <then_branch: {early}, else_branch: {late}> }}>"""
    )


@pytest.mark.parametrize("bound", [0, 2, 5])
def test_branches_that_change_from_pass_to_pass_are_counted(tmp_path: Path, bound: int) -> None:
    assert passes(counted(tmp_path, alternating(bound))) == {
        "loop/body": 5,
        "loop/body/iff/then_branch": bound,
        "loop/body/iff/else_branch": 5 - bound,
    }


def test_each_call_of_a_function_is_counted(tmp_path: Path) -> None:
    taken = branch(f"[conv] t = Conv <{RIGHT}> (a, k)", "t")
    other = branch("e = Neg (a)", "e")
    function = f"""<domain: "own", opset_import: ["" : 17]> pick (a, k, on) => (c) {{
        [iff] c = If (on) <then_branch: {taken}, else_branch: {other}> }}"""
    model = net(
        """s = ReduceSum <keepdims = 0> (x)
           near = Less (s, far)
           not_near = Not (near)
           [first] h = own.pick (x, w, near)
           [second] y = own.pick (h, w, not_near)""",
        functions=function,
    )
    assert passes(counted(tmp_path, model)) == {
        "first/iff/then_branch": 1,
        "first/iff/else_branch": 0,
        "second/iff/then_branch": 0,
        "second/iff/else_branch": 1,
    }


def test_what_no_input_can_lead_to_is_nothing_to_tell(tmp_path: Path) -> None:
    """Of an If on a fixed size, an optimiser keeps one branch."""
    taken = branch(f"[inner] t = Conv <{RIGHT}> (x, w)", "t")
    other = branch(f"[other] e = Conv <{MOVED}> (x, v)", "e")
    first = net(
        f"""shape = Shape (x)
            size = Size (shape)
            four = Constant <value = int64 {{4}}> ()
            on = Equal (size, four)
            [iff] y = If (on) <then_branch: {taken}, else_branch: {other}>"""
    )
    simple = net(f"[inner] y = Conv <{RIGHT}> (x, w)")
    for pair in ((first, simple), (simple, first)):
        found = verified(tmp_path, *pair)
        assert found.status is Status.EQUIVALENT, found
        assert not found.not_covered


def test_a_branch_without_a_counterpart_is_unverified(tmp_path: Path) -> None:
    simple = net(f"[other] y = Conv <{RIGHT}> (x, w)")
    for pair in ((choice(MOVED, "far"), simple), (simple, choice(MOVED, "far"))):
        found = verified(tmp_path, *pair)
        assert found.status is Status.UNVERIFIED
        assert "none that is like it" in found.reason


@pytest.mark.parametrize("wanted", ["a, not_b", "b, not_a", "not_a, not_b"])
def test_every_setting_of_two_switches_is_tried(tmp_path: Path, wanted: str) -> None:
    def switched(pads: str) -> ModelProto:
        taken = branch(f"[inner] t = Conv <{pads}> (x, w)", "t")
        other = branch("e = Neg (x)", "e")
        return net(
            f"""not_a = Not (a)
                not_b = Not (b)
                on = And ({wanted})
                [iff] y = If (on) <then_branch: {taken}, else_branch: {other}>""",
            f"{X} x, bool a, bool b",
        )

    found = verified(tmp_path, switched(RIGHT), switched(MOVED))
    assert found.status is Status.DIFFERENT
    assert found.first_difference == "iff/then_branch/inner"


def test_inputs_that_a_model_refuses_are_left_out(tmp_path: Path) -> None:
    """An index of 16 is none of a tensor of two rows."""

    def indexed(pads: str) -> ModelProto:
        taken = branch(f"[inner] t = Conv <{pads}> (x, w)", "t")
        other = branch("e = Neg (x)", "e")
        return net(
            f"""flags = Constant <value = bool[2] {{0, 1}}> ()
                on = Gather (flags, n)
                [iff] y = If (on) <then_branch: {taken}, else_branch: {other}>""",
            f"{X} x, int64 n",
        )

    found = verified(tmp_path, indexed(AUTO), indexed(RIGHT))
    assert found.status is Status.EQUIVALENT
    assert not found.not_covered
    assert verified(tmp_path, indexed(RIGHT), indexed(MOVED)).status is Status.DIFFERENT


def test_further_inputs_keep_shapes_and_types() -> None:
    import ml_dtypes

    types: Sequence[object] = (np.float16, ml_dtypes.bfloat16, np.uint8, np.int64, np.bool_, "U1")
    feed = {str(kind): np.ones((2, 3)).astype(kind) for kind in types}  # type: ignore[call-overload]
    further = steered(feed)
    assert len(further) == 5
    for made in further:
        assert set(made) == set(feed)
        for name, array in made.items():
            assert array.shape == (2, 3)
            assert array.dtype.kind == feed[name].dtype.kind
            assert array.dtype == feed[name].dtype or array.dtype.kind == "U"


@pytest.mark.parametrize("dtype", [np.bool_, np.int64, np.uint8, np.float32])
def test_further_inputs_of_scalars_are_arrays(dtype: type[np.generic]) -> None:
    """onnxruntime refuses NumPy's scalars, which operations on arrays without axes return."""
    further = steered({"x": np.zeros((), dtype)})
    assert len(further) == 5
    for made in further:
        assert isinstance(made["x"], np.ndarray)
        assert made["x"].shape == ()
