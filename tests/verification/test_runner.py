"""Models run in a child process: results, errors, crashes, timeouts."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import convert_model_to_external_data

from padaudit import subprocesses
from padaudit.verification import runner
from padaudit.verification.runner import Job, RunOutcome, run

pytestmark = pytest.mark.usefixtures("cold")
CONVOLUTION = helper.make_node(
    "Conv", ["x", "w"], ["y"], name="conv", auto_pad="SAME_UPPER", dilations=[2, 2]
)
WEIGHTS = numpy_helper.from_array(np.ones((1, 1, 3, 3), np.float32), "w")
IMAGE = {"x": np.ones((1, 1, 8, 8), np.float32)}
VECTOR = {"x": np.array([1.0, -2.0], np.float32)}


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[tuple[str, int, list[Any] | None]] = (("x", TensorProto.FLOAT, None),),
    outputs: Sequence[tuple[str, int]] = (("y", TensorProto.FLOAT),),
    initializers: Sequence[onnx.TensorProto] = (),
) -> bytes:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(*item) for item in inputs],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs],
        initializers,
    )
    opsets = [helper.make_opsetid("", 17)]
    proto = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    return bytes(proto.SerializeToString())


def unary(op_type: str, **attributes: Any) -> bytes:
    return model([helper.make_node(op_type, ["x"], ["y"], **attributes)])


def endless_loop() -> bytes:
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["keep"], ["again"]),
            helper.make_node("Neg", ["v"], ["w"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("keep", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", TensorProto.FLOAT, [2]),
        ],
        [
            helper.make_tensor_value_info("again", TensorProto.BOOL, []),
            helper.make_tensor_value_info("w", TensorProto.FLOAT, [2]),
        ],
    )
    true = numpy_helper.from_array(np.array(True), "true")
    loop = helper.make_node("Loop", ["", "true", "x"], ["y"], body=body)
    return model([loop], [("x", TensorProto.FLOAT, [2])], initializers=[true])


NEGATE = Job(unary("Neg"), (VECTOR,))


def assert_negated(outcome: RunOutcome) -> None:
    assert outcome.error is None and outcome.outputs is not None
    assert outcome.outputs[0][0].tolist() == [-1.0, 2.0]


def test_outputs_come_per_feed_and_in_order() -> None:
    nodes = [helper.make_node("Neg", ["x"], ["y"]), helper.make_node("Abs", ["x"], ["a/b:0"])]
    two = model(nodes, outputs=[("y", TensorProto.FLOAT), ("a/b:0", TensorProto.FLOAT)])
    feeds = (VECTOR, {"x": np.array(3.0, np.float32)})
    (both, one) = run([Job(two, feeds), Job(two, feeds, outputs=("a/b:0",))])
    assert both.outputs is not None and one.outputs is not None
    assert both.output_names == ("y", "a/b:0")
    assert [[array.tolist() for array in arrays] for arrays in both.outputs] == [
        [[-1.0, 2.0], [1.0, 2.0]],
        [-3.0, 3.0],
    ]
    assert one.output_names == ("a/b:0",)
    assert one.outputs[1][0].tolist() == 3.0
    assert not both.crashed
    assert both.runtime.startswith("onnxruntime ") and both.runtime.endswith(" CPU")


def test_no_jobs_start_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "_run_worker", None)
    assert run([]) == []


def test_refused_model_is_an_error_and_not_a_crash() -> None:
    refused = Job(model([CONVOLUTION], initializers=[WEIGHTS]), (IMAGE,))
    broken = Job(b"not a model", (VECTOR,))
    wrong_input = Job(unary("Neg"), ({"z": VECTOR["x"]},))
    outcomes = run([refused, broken, wrong_input, NEGATE])
    assert "INVALID_ARGUMENT" in str(outcomes[0].error) and "conv" in str(outcomes[0].error)
    assert all(item.error and not item.crashed and not item.outputs for item in outcomes[:3])
    assert_negated(outcomes[3])


def test_model_file_with_external_data_is_read_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"], kernel_shape=[3, 3])
    proto = onnx.ModelProto.FromString(model([node], initializers=[WEIGHTS]))
    convert_model_to_external_data(proto, location="weights.bin", size_threshold=0)
    onnx.save(proto, tmp_path / "m.onnx")
    monkeypatch.chdir(tmp_path)
    (outcome,) = run([Job(Path("m.onnx"), (IMAGE,))])
    assert outcome.outputs is not None, outcome.error
    assert (outcome.outputs[0][0] == 9.0).all()


def test_every_type_survives_the_journey() -> None:
    cases: list[tuple[int, Any]] = [
        (TensorProto.FLOAT16, np.array([1.5, -2.0], np.float16)),
        (TensorProto.BFLOAT16, np.array([1.5, -2.0], ml_dtypes.bfloat16)),
        (TensorProto.DOUBLE, np.array([1e300, np.nan])),
        (TensorProto.INT64, np.array([2**62, -1])),
        (TensorProto.BOOL, np.array([True, False])),
        (TensorProto.STRING, np.array(["cat", "a longer one"])),
        (TensorProto.FLOAT, np.zeros((0, 2), np.float32)),
        (TensorProto.FLOAT, np.arange(6, dtype=np.float32).reshape(2, 3).T),
    ]
    node = helper.make_node("Identity", ["x"], ["y"])
    jobs = [
        Job(model([node], [("x", kind, None)], [("y", kind)]), ({"x": x},)) for kind, x in cases
    ]
    for (_, values), outcome in zip(cases, run(jobs), strict=True):
        assert outcome.outputs is not None, outcome.error
        assert outcome.outputs[0][0].dtype == values.dtype
        np.testing.assert_array_equal(outcome.outputs[0][0], values)


def test_output_that_is_no_tensor_is_named() -> None:
    sequence = model([helper.make_node("SequenceConstruct", ["x"], ["y"])])
    proto = onnx.ModelProto.FromString(sequence)
    proto.graph.output[0].CopyFrom(
        helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, None)
    )
    (outcome,) = run([Job(proto.SerializeToString(), (VECTOR,))])
    assert outcome.error == "output 'y' is a sequence, and only tensors can be compared"


POOL_INPUT = {"x": np.ones((1, 16, 4, 4), np.float32)}


def test_known_crash_of_onnxruntime_is_reported() -> None:
    window: dict[str, Any] = {"kernel_shape": [3, 3], "dilations": [3, 3], "auto_pad": "SAME_UPPER"}
    pool = helper.make_node("MaxPool", ["x"], ["y"], **window)
    shaped = model([pool], [("x", TensorProto.FLOAT, [1, 16, 4, 4])])
    lethal = Job(shaped, (POOL_INPUT,), optimize=True)
    first, crashed, plain, last = run(
        [NEGATE, lethal, Job(shaped, (POOL_INPUT,)), NEGATE], timeout=60
    )
    if not crashed.crashed:
        pytest.skip("this build of onnxruntime does not crash on a dilated SAME MaxPool")
    assert crashed.error == "onnxruntime died with SIGFPE: it divided by zero"
    assert crashed.outputs is None and crashed.runtime == first.runtime
    assert not plain.crashed
    assert_negated(first)
    assert_negated(last)


def test_endless_model_is_stopped_and_the_others_run() -> None:
    started = time.monotonic()
    first, stopped, last = run([NEGATE, Job(endless_loop(), (VECTOR,)), NEGATE], timeout=2)
    assert time.monotonic() - started < 20
    assert stopped.error == "onnxruntime was stopped after 2 s, the timeout for one job"
    assert stopped.crashed
    assert_negated(first)
    assert_negated(last)


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS is not enforced there")
def test_memory_limit_is_an_error_of_the_greedy_job() -> None:
    size = numpy_helper.from_array(np.array([2**31]), "n")
    node = helper.make_node("ConstantOfShape", ["n"], ["y"])
    greedy = Job(model([node], (), initializers=[size]), ({},))
    outcome, last = run([greedy, NEGATE], memory_mb=2000)
    assert outcome.error == "onnxruntime ran out of memory (the limit is 2000 MiB)"
    assert outcome.outputs is None
    assert_negated(last)


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS is not enforced there")
def test_memory_that_is_too_little_to_start_is_told_from_a_missing_package() -> None:
    (outcome,) = run([NEGATE], memory_mb=20)
    assert outcome.outputs is None and outcome.error is not None
    assert "could not be started" in outcome.error
    assert outcome.error.endswith("(the limit is 20 MiB)")
    assert "not installed" not in outcome.error


def dying_worker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: str) -> None:
    """Let the worker run a piece of code instead of a job whose only input is ``die``."""
    script = tmp_path / "dying.py"
    script.write_text(
        textwrap.dedent("""
        import os, signal, sys
        from pathlib import Path
        from padaudit.verification import worker
        run_job = worker._run_job
        def run_or_die(onnxruntime, folder, job, threads):
            if job.feeds == [["die"]]:
                CODE
            return run_job(onnxruntime, folder, job, threads)
        worker._run_job = run_or_die
        worker.main(Path(sys.argv[1]))
        """).replace("CODE", code)
    )
    monkeypatch.setattr(
        subprocesses, "module_command", lambda _, folder: [sys.executable, script, folder]
    )


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "onnxruntime died with SIGSEGV"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "onnxruntime died with SIGKILL"),
        ("os.abort()", "onnxruntime died with SIGABRT"),
        ("sys.exit('enough')", "onnxruntime ended with exit code 1: enough"),
    ],
    ids=["segfault", "killed", "abort", "exit"],
)
def test_death_fails_one_job_and_says_how(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: str, error: str
) -> None:
    dying_worker(monkeypatch, tmp_path, code)
    lethal = Job(unary("Neg"), ({"die": VECTOR["x"]},))
    crashed, alive = run([lethal, NEGATE])
    assert crashed.crashed and str(crashed.error).startswith(error)
    assert_negated(alive)


def test_several_deaths_fail_their_own_jobs_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    dying_worker(monkeypatch, tmp_path, "os._exit(7)")
    lethal = Job(unary("Neg"), ({"die": VECTOR["x"]},))
    outcomes = run([NEGATE, lethal, lethal, NEGATE, lethal])
    assert [item.crashed for item in outcomes] == [False, True, True, False, True]
    assert_negated(outcomes[3])


def test_worker_that_does_not_start_fails_every_job_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command = [sys.executable, "-c", "import nope"]
    monkeypatch.setattr(subprocesses, "module_command", lambda *_: command)
    outcomes = run([NEGATE, NEGATE])
    assert {item.error for item in outcomes} == {
        "onnxruntime could not be started: it ended with exit code 1: "
        "ModuleNotFoundError: No module named 'nope'"
    }


def test_missing_onnxruntime_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    missing = "raise ModuleNotFoundError('no such package', name='onnxruntime')"
    (tmp_path / "onnxruntime.py").write_text(missing)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    outcomes = run([NEGATE, NEGATE])
    assert all("onnxruntime, which is not installed" in str(item.error) for item in outcomes)
    assert not any(item.crashed for item in outcomes)


def test_modules_in_the_working_directory_are_not_imported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('planted')")
    monkeypatch.chdir(tmp_path)
    assert_negated(run([NEGATE])[0])


def test_parent_does_not_import_onnxruntime() -> None:
    code = "import sys, padaudit.verification.runner; sys.exit('onnxruntime' in sys.modules)"
    root = Path(runner.__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


def test_nothing_is_left_on_disk_and_no_telemetry_is_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # onnxruntime's telemetry, where it is on, starts by writing an identifier to TMPDIR.
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    run([NEGATE])
    assert not list(tmp_path.iterdir())
